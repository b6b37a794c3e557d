#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Raw connections: who gets one, what can be set, and how they end."""

import errno
import os
import socket
import struct
import time

from harness import (PATIENCE, check, check_equal, check_since, free_port,
                     main, shared, test, wait_until)
from iscsimuxd import session
from muxclient import (ATTACH, ATTACHED, DATA_IN, ERROR, F_MORE, FINAL, NONE,
                       OK, SCSI_RSP, SUBMIT, TEST_UNIT_READY, Forked, Mux,
                       attach, bhs, command, string, tlv)
from rawclient import (ADOPT, BIG_ENDIAN, CLOSE, DATA_DIGEST, EXPORT, GET,
                       HEADER_DIGEST, MANUAL, OPEN, READ_DEADLINE, RECV_DSL,
                       SEND_DSL, SET, SHARE, SHOW_DIGESTS, STATE, UNCHECKED,
                       UNSHARE, WRITE_DEADLINE, Params, Raw, adopt_payload,
                       login_pdu, login_text, open_payload, set_payload)
from rawrig import (OddRig, RamRig, connection_to, ping, raw_rule,
                    seen_by_nobody)

ALL_FRAMES = ((OPEN, open_payload("127.0.0.1:3260")), (GET, b""),
              (SET, set_payload()), (EXPORT, b""), (SHARE, string("x")),
              (UNSHARE, b""), (CLOSE, b""))


@shared
def rig():
    """A RAM target and a daemon."""
    return RamRig()


# --- OPEN

@test("a portal that refuses, a name that is none, an address that is none")
def refused():
    raw = Raw(rig().daemon)
    for portal in (f"127.0.0.1:{free_port()}", f"[::1]:{free_port('::1')}",
                   "no-such-host.invalid:3260"):
        answer = raw.open(portal, timeout=20000)
        check_equal((answer.kind, answer.reason), (ERROR, "connect-failed"),
                    f"answer for {portal}")
        check(answer.text, "no text for people")
    for portal in ("", ":3260", "127.0.0.1:0", "127.0.0.1:65536",
                   "127.0.0.1:x", "[::1", "[::1]3260", "[]:3260"):
        raw.error(raw.send(OPEN, open_payload(portal)), "bad-field")
    for payload in (b"", open_payload("127.0.0.1:1")[:-1],
                    open_payload(b"127.0.0.1\0:1"), open_payload(b"\xff:1"),
                    open_payload("127.0.0.1:1") + b"x",
                    open_payload("127.0.0.1:1") + tlv(1, bytes(4))):
        raw.error(raw.send(OPEN, payload), "bad-payload")
    check_equal(raw.open(rig().portal).kind, OK, "the answer after all this")


@test("a portal that does not answer: only as long as the client wants")
def timeout():
    full = socket.socket()
    full.bind(("127.0.0.1", 0))
    full.listen(0)
    fillers = []
    # One more than the backlog: from then on the kernel answers no SYN.
    for _ in range(3):
        filler = socket.socket()
        filler.setblocking(False)
        filler.connect_ex(full.getsockname())
        fillers.append(filler)
    raw = Raw(rig().daemon)
    start = time.monotonic()
    answer = raw.open(f"127.0.0.1:{full.getsockname()[1]}", timeout=300)
    check_since(start, 0.3)
    check(time.monotonic() - start < 5 * PATIENCE, "too late")
    check_equal((answer.kind, answer.reason), (ERROR, "connect-failed"),
                "the answer")
    # A client that goes meanwhile leaves nothing behind.
    before = rig().descriptors()
    other = Raw(rig().daemon)
    other.send(OPEN, open_payload(f"127.0.0.1:{full.getsockname()[1]}",
                                  20000))
    other.send(SUBMIT, login_pdu(login_text("x")), cookie=77)
    other.error(77, "wrong-state")
    wait_until(lambda: rig().descriptors() > before, "the socket")
    other.close()
    wait_until(lambda: rig().descriptors() == before, "no socket")
    check_equal(raw.open(rig().portal).kind, OK, "the answer after that")
    for filler in fillers:
        filler.close()
    full.close()


@test("without the feature these frames are unknown, whatever is in them")
def no_feature():
    mux = Mux(rig().daemon)
    check_equal(mux.welcome.features, 0, "features")
    for kind, payload in ALL_FRAMES:
        mux.error(mux.send(kind, payload), "unknown-type")
        mux.error(mux.send(kind, b"nonsense"), "unknown-type")
    mux.error(mux.send(ADOPT, adopt_payload(Params())), "unknown-type")
    for answer in (STATE, 0x51, 0x52):
        mux.error(mux.send(answer), "unknown-type")
    mux.ping()
    raw = Raw(rig().daemon)
    for answer in (STATE, 0x51, 0x52, 0x18, 0x1f):
        raw.error(raw.send(answer), "unknown-type")


@test("the features agreed are those that both know")
def features():
    mux = Mux(rig().daemon, features=0xffffffffffffffff)
    check_equal(mux.welcome.features, 1, "features")


@test("before OPEN, after OPEN, after ATTACH: what comes at the wrong time")
def wrong_state():
    raw = Raw(rig().daemon)
    for kind, payload in ALL_FRAMES[1:]:
        raw.error(raw.send(kind, payload), "wrong-state")
    raw.error(raw.put(login_pdu(login_text("x"))), "wrong-state")
    check_equal(raw.open(rig().portal).kind, OK, "answer to OPEN")
    raw.error(raw.send(*ALL_FRAMES[0]), "wrong-state")
    raw.error(raw.send(ATTACH, attach("ram")), "wrong-state")
    raw.error(raw.send(SHARE, string("ram")), "wrong-state")
    raw.error(raw.send(UNSHARE), "wrong-state")
    raw.login(rig().target.iqn)
    raw.works()
    raw.error(raw.send(*ALL_FRAMES[0]), "wrong-state")
    raw.shut()
    for kind, payload in ALL_FRAMES[1:]:
        raw.error(raw.send(kind, payload), "wrong-state")
    check_equal(raw.open(rig().portal).kind, OK, "answer to another OPEN")
    raw.login(rig().target.iqn)
    raw.works()


@test("a client of a session has no raw connection, and the other way")
def one_of_two():
    target = rig().target
    other = RamRig(config=(session("disk", target.portals[0], target.iqn),),
                   initiator_name="iqn.2026-01.org.example:one-of-two")
    other.daemon.wait_up("disk")
    raw = Raw(other.daemon)
    check_equal(raw.attach("disk").kind, ATTACHED, "answer to ATTACH")
    raw.shared = True
    for kind, payload in ALL_FRAMES:
        raw.error(raw.send(kind, payload), "wrong-state")
    raw.works()
    # Raw first, then a session, over one connection to the daemon.
    second = Raw(other.daemon, other.portal)
    second.shut()
    check_equal(second.attach("disk").kind, ATTACHED, "answer to ATTACH")
    second.shared = True
    second.works()


@test("payloads and flags that are wrong cost one frame")
def bad_frames():
    raw = Raw(rig().daemon, rig().portal)
    for kind in (GET, EXPORT, UNSHARE, CLOSE):
        raw.error(raw.send(kind, b"x"), "bad-payload")
        raw.error(raw.send(kind, tlv(1, b"")), "bad-payload")
    for flags in (F_MORE, 2, 0x10, 0x20, 0x40, 0x80):
        for kind, payload in ALL_FRAMES:
            raw.error(raw.send(kind, payload, flags=flags), "bad-flags")
    for payload in (b"", set_payload()[:-1], set_payload() + b"x",
                    set_payload(flags=HEADER_DIGEST),
                    set_payload(mask=DATA_DIGEST, flags=HEADER_DIGEST),
                    set_payload(mask=0x40), set_payload(mask=0x100),
                    set_payload(mask=0x100000), set_payload(mask=0x80000000),
                    set_payload(mask=RECV_DSL, recv_dsl=1 << 24)):
        raw.error(raw.send(SET, payload), "bad-payload")
    check_equal(raw.expect(STATE, raw.send(GET, tlv(0x8001, b"?")))
                .params.phase, 0, "phase")
    raw.login(rig().target.iqn)
    for name in ("", "a/b", "a b", "x" * 64):
        answer = raw.answer_to(raw.send(SHARE, string(name)))
        check(answer.kind == ERROR and answer.reason in
              ("bad-payload", "bad-field"), f"SHARE {name!r}: {answer}")
    raw.works()


# --- who may

def outcome(raw, portal):
    """What OPEN comes to, in a word; it is closed again."""
    answer = raw.open(portal)
    if answer.kind == OK:
        raw.shut()
        return "ok"
    return answer.reason


@test("without a rule only root and the daemon's own user may")
def no_rule():
    here = RamRig(data_socket_mode="0666")
    raw = Raw(here.daemon)
    check_equal(outcome(raw, here.portal), "ok", "who runs the daemon")

    def nobody(path):
        theirs = Raw(path)
        check_equal(outcome(theirs, here.portal), "not-permitted", "nobody")
        with connection_to(here.portal) as tcp:
            check_equal(theirs.adopt(tcp).reason, "not-permitted", "ADOPT")
        theirs.ping()
    seen_by_nobody(here.daemon, nobody)


@test("rules: users and portals, as resolved; any of several will do")
def rules():
    here = RamRig()
    port = here.portal.rsplit(":", 1)[1]
    user = "nobody"
    for text, portal, wanted in (
            ([raw_rule(users=[user], portals=[f"127.0.0.1/32:{port}"])],
             here.portal, "ok"),
            ([raw_rule(users=[user], portals=[f"127.0.0.1/32:{port}"])],
             f"localhost:{port}", "ok"),
            ([raw_rule(users=[user], portals=[f"127.0.0.1/32:{port}"])],
             f"127.0.0.2:{port}", "not-permitted"),
            ([raw_rule(users=[user], portals=["127.0.0.1/32:1"])],
             here.portal, "not-permitted"),
            ([raw_rule(users=[user], portals=["192.0.2.0/24:*"])],
             f"localhost:{port}", "not-permitted"),
            ([raw_rule(users=["root"])], here.portal, "not-permitted"),
            ([raw_rule(users=["root"]), raw_rule(users=[user])],
             here.portal, "ok"),
            ([raw_rule(users=[user], portals=["192.0.2.0/24:*"]),
              raw_rule(users=[user], portals=[f"127.0.0.0/8:{port}"])],
             here.portal, "ok"),
            ([raw_rule(users=None, groups=["nogroup"])], here.portal, "ok"),
            ([raw_rule(users=None, groups=["daemon"])], here.portal,
             "not-permitted")):
        daemon = OddRig(*text, data_socket_mode="0666").daemon

        def nobody(path, portal=portal, wanted=wanted, text=text):
            check_equal(outcome(Raw(path), portal), wanted,
                        f"OPEN {portal} with {text}")
        seen_by_nobody(daemon, nobody)
        daemon.stop()


@test("unchecked needs a rule that says so, or to be trusted")
def unchecked_rule():
    both = UNCHECKED | MANUAL
    for config, wanted in (((raw_rule(users=["nobody"]),), "not-permitted"),
                           ((raw_rule(users=["nobody"], unchecked=False),),
                            "not-permitted"),
                           ((raw_rule(users=["nobody"], unchecked=True),
                             raw_rule(users=["nobody"])), None)):
        odd = OddRig(*config, data_socket_mode="0666")

        def nobody(path, wanted=wanted, odd=odd):
            raw = Raw(path, odd.target.portal)
            cookie = raw.send(SET, set_payload(both, both))
            if wanted is not None:
                raw.error(cookie, wanted)
            else:
                check_equal(raw.answer_to(cookie).kind, OK, "answer to SET")
            check_equal(raw.state().params.flags & both,
                        0 if wanted else both, "flags")
        seen_by_nobody(odd.daemon, nobody)
        odd.connect().raw.set(UNCHECKED)


# --- SET, GET

@test("the state: addresses, counters, what the login negotiated")
def state():
    odd = OddRig().connect()
    raw, peer = odd.raw, odd.peer
    told = raw.state()
    check_equal((told.peer, told.local), (odd.target.portal, "%s:%d" %
                                          peer.socket.getpeername()),
                "addresses")
    check_equal((told.params.phase, told.params.flags, told.bytes_in,
                 told.bytes_out, told.pdus_in, told.pdus_out, told.pending,
                 told.live, told.unsent, told.read_deadline,
                 told.write_deadline, told.params.target),
                (0, 0) + 9 * (0,) + ("",), "a new connection")
    odd.login("InitialR2T=Yes", "ImmediateData=Yes", "MaxBurstLength=16384",
              "FirstBurstLength=4096", "MaxOutstandingR2T=3",
              "MaxRecvDataSegmentLength=12288",
              answers={"MaxRecvDataSegmentLength": "2048"})
    told = raw.state()
    params = told.params
    check_equal((params.phase, params.recv_dsl, params.send_dsl,
                 params.max_burst, params.first_burst, params.max_r2t,
                 params.tsih, params.target, params.isid.hex()),
                (1, 12288, 2048, 16384, 4096, 3, 7, odd.target.iqn,
                 "800000000051"), "what was negotiated")
    check_equal(params.flags, 0x0b00, "flags")
    check_equal((params.cmdsn, params.exp_cmdsn, params.max_cmdsn,
                 params.exp_statsn), (1, 1, 32, peer.statsn), "numbers")
    check_equal((told.pdus_in, told.pdus_out), (1, 1), "PDUs")
    check(told.bytes_in > 48 and told.bytes_out > 48, "bytes")
    # They go on with the traffic.
    first = raw.submit(command(9, TEST_UNIT_READY))
    request = peer.receive(1)
    after = raw.settled()
    check_equal((after.params.cmdsn, after.pending, after.live,
                 after.bytes_out - told.bytes_out, after.pdus_out),
                (2, 1, 1, 48, 2), "after a command")
    peer.respond(request)
    raw.finish(first)
    after = raw.state()
    check_equal((after.params.exp_cmdsn, after.params.exp_statsn,
                 after.pending, after.live, after.bytes_in - told.bytes_in,
                 after.pdus_in),
                (2, peer.statsn, 0, 0, 48, 2), "after its response")


@test("everything that SET changes, GET shows; the rest stays")
def set_and_get():
    odd = OddRig(raw_rule(unchecked=True)).connect().login()
    raw = odd.raw
    before = raw.state().params.flags & ~0x3f
    for mask in (HEADER_DIGEST, DATA_DIGEST, BIG_ENDIAN, MANUAL,
                 SHOW_DIGESTS, UNCHECKED):
        raw.set(mask)
        check_equal(raw.state().params.flags, before | mask, "one flag")
        raw.set(mask, 0)
        check_equal(raw.state().params.flags, before, "no flag")
    raw.set(0x3f)
    check_equal(raw.state().params.flags, before | 0x3f, "all flags")
    raw.set(BIG_ENDIAN | RECV_DSL, 0, recv_dsl=4321)
    told = raw.state().params
    check_equal((told.flags, told.recv_dsl, told.send_dsl),
                (before | 0x3b, 4321, 262144), "flags, lengths")
    raw.set(SEND_DSL, send_dsl=513, recv_dsl=99)
    told = raw.state().params
    check_equal((told.recv_dsl, told.send_dsl), (4321, 513), "lengths")
    raw.set(SEND_DSL | RECV_DSL)
    told = raw.state().params
    check_equal((told.recv_dsl, told.send_dsl), (0, 0), "no limits")
    raw.set(READ_DEADLINE | WRITE_DEADLINE, read_deadline=50000,
            write_deadline=1 << 31)
    told = raw.state()
    check(40000 < told.read_deadline <= 50000, "read deadline")
    check((1 << 31) - 10000 < told.write_deadline <= 1 << 31, "the other")
    raw.set(READ_DEADLINE, write_deadline=7)
    told = raw.state()
    check_equal(told.read_deadline, 0, "read deadline")
    check(told.write_deadline > 0, "write deadline")
    raw.set(0)


@test("a read deadline ends the connection, unless it is moved")
def read_deadline():
    odd = OddRig().connect().login()
    raw = odd.raw
    raw.set(READ_DEADLINE, read_deadline=60000)
    task = raw.submit(command(9, TEST_UNIT_READY))
    odd.peer.receive(1)
    raw.set(READ_DEADLINE, read_deadline=0)
    raw.ping()
    start = time.monotonic()
    raw.set(READ_DEADLINE, read_deadline=150)
    odd.gone(errno.ETIMEDOUT)
    check_since(start, 0.15)
    check_equal(raw.finish(task).outcome.outcome, "unknown", "outcome")
    # The client can begin anew, and the deadline is not inherited.
    odd.connect(raw)
    check_equal(raw.state().read_deadline, 0, "read deadline")


@test("a write deadline matters when there is something to write")
def write_deadline():
    odd = OddRig().connect().login()
    raw = odd.raw
    start = time.monotonic()
    raw.set(WRITE_DEADLINE, write_deadline=100)
    wait_until(lambda: time.monotonic() - start > 0.15, "the deadline")
    odd.peer.send(0x20, NONE, word5=NONE, consume=False)
    check_equal(raw.unsolicited().opcode, 0x20, "what came after it")
    task = raw.submit(command(9, TEST_UNIT_READY))
    odd.gone(errno.ETIMEDOUT)
    raw.finish(task)
    check_equal((task.outcome.outcome, task.outcome.not_sent),
                ("not-sent", True), "outcome")


# --- the end

@test("every way in which a connection ends, with errno and bytes")
def ends():
    odd = OddRig()

    def begin(*keys):
        odd.connect().login(*keys)
        told = odd.raw.settled()
        return told.bytes_in, told.bytes_out

    got, sent = begin()
    odd.peer.socket.shutdown(socket.SHUT_WR)
    odd.gone(errno.ECONNRESET, bytes_in=got, bytes_out=sent)

    got, sent = begin()
    odd.peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                               struct.pack("ii", 1, 0))
    odd.peer.socket.close()
    odd.raw.over(errno.ECONNRESET, bytes_in=got, bytes_out=sent)

    got, sent = begin()
    odd.peer.socket.sendall(ping(b"half")[:47])
    odd.peer.socket.shutdown(socket.SHUT_WR)
    odd.gone(errno.ECONNRESET, bytes_in=got + 47, bytes_out=sent)

    got, sent = begin("HeaderDigest=CRC32C")
    odd.peer.socket.sendall(ping() + bytes(4))
    odd.gone(errno.EBADMSG, bytes_in=got + 52, bytes_out=sent)

    got, sent = begin("DataDigest=CRC32C")
    odd.peer.socket.sendall(ping(b"data") + b"data" + bytes(4))
    odd.gone(errno.EBADMSG, bytes_in=got + 56, bytes_out=sent)

    got, sent = begin()
    odd.peer.socket.sendall(ping(bytes(8193)))
    odd.gone(errno.EPROTO, bytes_in=got + 48, bytes_out=sent)

    got, sent = begin()
    odd.peer.socket.sendall(bhs(0x01))
    odd.gone(errno.EPROTO, bytes_in=got + 48, bytes_out=sent)

    got, sent = begin()
    event = odd.raw.shut()
    check_equal((event.bytes_in, event.bytes_out), (got, sent), "bytes")
    odd.peer.closed()


@test("EVENT closed comes to who asked for no event, too")
def closed_unasked():
    odd = OddRig().connect(events=0).login()
    odd.peer.socket.close()
    odd.raw.over(errno.ECONNRESET)


@test("over IPv6, addresses in brackets")
def ipv6():
    here = RamRig("--portal", "[::1]:0")
    raw = here.raw()
    told = raw.state()
    check_equal((told.peer, told.local.rsplit(":", 1)[0]),
                (here.portal, "[::1]"), "addresses")
    raw.works()


@test("the end of the connection ends its tasks, sent or not, once")
def tasks_end():
    odd = OddRig()
    for close in (True, False):
        odd.connect().login()
        raw, peer = odd.raw, odd.peer
        sent = [raw.submit(command(i, TEST_UNIT_READY)) for i in range(3)]
        for _ in sent:
            peer.receive(1)
        big = [raw.submit(command(100 + i, b"\x8a", 1 << 18, 0x20,
                                  bytes(1 << 18))) for i in range(40)]
        wait_until(lambda r=raw: r.state().unsent > 1 << 20,
                   "what the kernel does not take")
        if close:
            raw.shut()
        else:
            peer.socket.close()
            raw.over(errno.ECONNRESET)
        raw.finish()
        for task in sent:
            check_equal(task.outcome.outcome, "unknown", "a command sent")
        check_equal((big[-1].outcome.outcome, big[-1].outcome.not_sent),
                    ("not-sent", True), "the last write")
        check_equal({task.outcome.outcome for task in big},
                    {"unknown", "not-sent"}, "outcomes of writes")
        check_equal({(task.outcome.outcome == "not-sent") ==
                     task.outcome.not_sent for task in big}, {True}, "flags")


@test("a client that goes takes its connection along, whatever it does")
def killed():
    here = RamRig()
    before = here.descriptors()

    def body(report):
        raw = here.raw()
        here.order("hold all")
        raw.submit(command(9, TEST_UNIT_READY))
        raw.settled()
        report("submitted")
        os.read(report.listen, 1)
    client = Forked(body)
    client.said("submitted")
    check_equal(len(here.target_sessions()), 1, "sessions of the target")
    client.kill()
    wait_until(lambda: not here.target_sessions(),
               "the target to see the end")
    here.order("release")
    wait_until(lambda: here.descriptors() == before, "descriptors back")
    here.wait_clean()


@test("a daemon that stops says so and closes the connection")
def daemon_stops():
    odd = OddRig().connect().login()
    odd.raw.submit(command(9, TEST_UNIT_READY))
    odd.peer.receive(1)
    check_equal(odd.daemon.stop(), 0, "exit status of the daemon")
    last = odd.raw.farewell()[-1]
    check_equal(last.reason, "shutting-down", f"the last frame ({last})")
    odd.peer.closed()


@test("by hand: login, a write with R2Ts, a read, a logout")
def by_hand():
    here = RamRig("--initial-r2t", "yes", "--max-burst", "4096",
                  "--immediate-data", "no")
    for digest in ("None", "CRC32C"):
        raw = here.raw(f"HeaderDigest={digest}", f"DataDigest={digest}",
                       "InitialR2T=Yes", "ImmediateData=No",
                       "MaxBurstLength=4096", "FirstBurstLength=4096",
                       "MaxOutstandingR2T=4")
        check_equal([(each["header_digest"], each["data_digest"]) for each
                     in here.target_sessions()], [(digest == "CRC32C",) * 2],
                    "digests at the target")
        data = os.urandom(64 * 512)
        write = raw.finish(raw.start_write(8, data)).good()
        check_equal(len(write.r2ts), 8, "R2Ts")
        check(raw.read(8, 64) == data, "what was read differs")
        opcodes = {pdu.opcode for pdu in raw.tasks[max(raw.tasks)].pdus}
        check(DATA_IN in opcodes or SCSI_RSP in opcodes, "opcodes")
        logout = raw.run(bhs(0x46, FINAL, 0, 5))
        check_equal((logout.pdu.opcode, logout.pdu.response), (0x26, 0),
                    "answer to Logout")
        raw.over(errno.ECONNRESET)
        wait_until(lambda: not here.target_sessions(), "the target")
        raw.close()
    here.wait_clean()


main()
