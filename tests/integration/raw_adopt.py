#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""TCP sockets that come to the daemon logged in, and leave it again."""

import errno
import os
import random
import socket
import tempfile

from harness import (PATIENCE, TIMEOUT, Process, Skip, check, check_equal,
                     main, test, wait_until)
from muxclient import (DATA_OUT, ERROR, F_FD, F_MORE, NOP_IN, OK, PDU, SCSI,
                       SCSI_RSP, SUBMIT, TEST_UNIT_READY, Forked, Mux, bhs,
                       command, frame, lun_number)
from rawclient import (ADOPT, ADOPTED, DATA_DIGEST, EXPORT, HEADER_DIGEST,
                       INITIAL_R2T, LISTED_ADOPTED, LISTED_SHARED, NUMBERS,
                       UNREAD_MAX, Params, Raw, adopt_payload, login_pdu,
                       login_text)
from rawrig import (OddRig, RamRig, connection_to, listed, ping, raw_rule, same,
                    seen_by_nobody, shared_by, wire)
from targets import Istgt, Tgt


class Foreign(Process):
    """libiscsi logs in and gives its socket away."""

    def __init__(self, portal, iqn, lun, *options):
        helper = os.path.join(os.environ["TEST_HELPERS"], "integration",
                              "adopt_libiscsi")
        if not os.access(helper, os.X_OK):
            raise Skip("built without libiscsi")
        self.ours, theirs = socket.socketpair()
        super().__init__([helper, portal, iqn, lun, *options], "foreign",
                         stdin=theirs, status_wanted=None)
        theirs.close()

    def socket(self):
        """The TCP socket that it gives away."""
        self.wait_line("^sent$")
        _, fds, _, _ = socket.recv_fds(self.ours, 1, 4)
        check_equal(len(fds), 1, "descriptors")
        return socket.socket(fileno=fds[0])

    def leave(self):
        """Lets it exit, without a Logout."""
        self.ours.shutdown(socket.SHUT_RDWR)
        self.ours.close()
        self.expect_exit(0)


def foreign_params(iqn, **values):
    """What is known of a login of libiscsi; its numbers are not."""
    return Params(**{"phase": 1, "flags": INITIAL_R2T, "recv_dsl": 262144,
                     "send_dsl": 8192, "max_burst": 65536,
                     "first_burst": 65536, "max_r2t": 1, "target": iqn,
                     **values})


def carry(daemon, name, lun, seed):
    """A process that writes and reads back by the session name."""
    def body(report):
        mux = Mux(daemon, name)
        data = random.Random(seed).randbytes(64 * 512)
        where = lun_number(lun)
        mux.write(1000, data, lun=where)
        check(mux.read(1000, 64, lun=where) == data, "what was read differs")
        report("carried")
        while not report.asks():
            mux.works(lun=where)
        report("done")
    return Forked(body)


def adopt_foreign(portal, iqn, lun, sessions, *options):
    """libiscsi logs in, the daemon adopts, another process carries PDUs."""
    foreign = Foreign(portal, iqn, lun, *options)
    given = foreign.socket()
    rig = OddRig()
    raw = Raw(rig.daemon)
    flags = INITIAL_R2T | (HEADER_DIGEST if options else 0)
    check_equal(raw.adopt(given, foreign_params(iqn, flags=flags)).kind, OK,
                "answer to ADOPT")
    given.close()
    told = raw.state()
    check_equal((told.params.phase, told.params.flags & (ADOPTED | NUMBERS),
                 told.peer), (1, ADOPTED, portal), "STATE")
    shared_by(raw, "adopted")
    check_equal(sessions(), 1, "sessions of the target")
    check_equal(listed(raw), {"adopted": LISTED_SHARED | LISTED_ADOPTED},
                "LISTING")
    other = carry(rig.daemon, "adopted", lun, 1)
    other.said("carried")
    foreign.leave()
    # The giver's end of it was only a duplicate.
    other.ask("done")
    data = random.Random(1).randbytes(64 * 512)
    check(raw.read(1000, 64, lun=lun_number(lun)) == data, "read differs")
    check_equal(sessions(), 1, "sessions of the target")
    raw.close()
    other.kill()
    wait_until(lambda: sessions() == 0, "the session to end")
    rig.wait_clean()


# --- Foreign sockets

@test("libiscsi logs in to the RAM target, and others carry PDUs over it")
def foreign_ram():
    target = RamRig("--lenient").target
    for options in ((), ("header",)):
        adopt_foreign(target.portals[0], target.iqn, 0,
                      lambda: target.order("sessions")["count"], *options)


@test("libiscsi logs in to tgt, the same")
def foreign_tgt():
    target = Tgt()
    iqn = "iqn.2026-01.org.example:adopt"
    tid = target.add_target(iqn)
    adopt_foreign(target.portal, iqn, 1, lambda: target.sessions(tid))


@test("on istgt: logged in by a raw client, exported, adopted, shared")
def istgt():
    target = Istgt()
    rig = OddRig()
    raw = Raw(rig.daemon, target.portal)
    raw.login(target.iqn, "HeaderDigest=CRC32C", "DataDigest=CRC32C",
              "MaxRecvDataSegmentLength=65536")
    for _ in range(3):
        raw.run(command(raw.itt(), TEST_UNIT_READY))
    given, params, unread = raw.export()
    check_equal((params.phase, params.flags & 0x803, params.target, unread),
                (1, 0x803, target.iqn, b""), "EXPORTED")
    raw.close()
    # To another daemon, which knows nothing but what it is told.
    elsewhere = OddRig()
    second = Raw(elsewhere.daemon)
    check_equal(second.adopt(given, params).kind, OK, "answer to ADOPT")
    given.close()
    shared_by(second, "adopted")
    carry(elsewhere.daemon, "adopted", 0, 2).said("carried")
    second.works()
    check_equal(target.sessions(), 1, "sessions of the target")


@test("a socket before its login: the client logs in over it")
def before_login():
    rig = RamRig()
    raw = Raw(rig.daemon)
    connection = connection_to(rig.portal)
    check_equal(raw.adopt(connection).kind, OK, "answer to ADOPT")
    raw.login(rig.target.iqn, "HeaderDigest=CRC32C")
    raw.works()
    check_equal(raw.state().params.flags & ADOPTED, ADOPTED, "flags")
    raw.shut()
    # The daemon has closed its descriptor, ours still is one.
    check_equal(raw.open(rig.portal).kind, OK, "answer to OPEN")
    check_equal(raw.state().params.flags & ADOPTED, 0, "flags")
    connection.close()


@test("a socket that blocks, or stops to, holds up nobody")
def blocking():
    rig = OddRig()
    other = RamRig()
    bystander = Raw(rig.daemon, other.portal)
    bystander.login(other.target.iqn)
    connection = connection_to(rig.target.portal)
    peer = rig.target.accept()
    raw = Raw(rig.daemon)
    connection.setblocking(True)
    raw.adopt(connection, Params(phase=1))
    for i in range(40):
        connection.setblocking(bool(i & 1))
        raw.put(bhs(DATA_OUT, length=262144) + bytes(262144))
        bystander.works()
    check(raw.state().unsent > 0, "all was sent to nobody")
    connection.setblocking(True)
    for _ in range(40):
        peer.receive(DATA_OUT)
    peer.socket.sendall(ping())
    raw.unsolicited(NOP_IN)
    bystander.works()


# --- EXPORT

def exported_at(rig, stream, cut, digests):
    """Logs in, sends cut bytes of stream, exports; the socket and all."""
    rig.digests(*digests)
    before = rig.raw.state().bytes_in
    rig.peer.socket.sendall(stream[:cut])
    while rig.raw.state().bytes_in - before < cut:
        pass
    return rig.raw.export()


@test("EXPORT in the middle of a PDU: the receiver completes it, any byte")
def export_half():
    rig = OddRig()
    second = OddRig()
    digests = (True, True)
    head = bytearray(ping(b"abcde"))
    head[4] = 2
    stream = wire(bytes(head), b"abcde", digests, ahs=b"AHS-here")
    for cut in range(1, len(stream)):
        given, params, unread = exported_at(rig, stream, cut, digests)
        same(unread, stream[:cut], f"unread after {cut} bytes")
        check_equal(params.flags & 3, 3, "digests")
        rig.raw.close()
        # Somebody who has nothing to do with the daemon reads on.
        if cut % 2:
            rig.peer.socket.sendall(stream[cut:])
            given.settimeout(TIMEOUT * PATIENCE)
            rest = b""
            while len(rest) < len(stream) - cut:
                rest += given.recv(1000)
            same(unread + rest, stream, "the PDU")
            given.close()
            continue
        # Or another daemon.
        raw = Raw(second.daemon)
        check_equal(raw.adopt(given, params, unread).kind, OK, "ADOPT")
        given.close()
        rig.peer.socket.sendall(stream[cut:])
        msg = raw.unsolicited(NOP_IN)
        same(msg.payload, bytes(head) + b"AHS-here" + b"abcde", "the PDU")
        raw.close()


@test("EXPORT with half of a long PDU, in frames of 4096 bytes, and back")
def export_long():
    rig = OddRig()
    data = os.urandom(262144)
    stream = wire(ping(data), data, (True, True))
    for cut in (4000, 4096, 5000, 100000, len(stream) - 1):
        rig.connect().login("HeaderDigest=CRC32C", "DataDigest=CRC32C",
                            "MaxRecvDataSegmentLength=262144")
        before = rig.raw.state().bytes_in
        rig.peer.socket.sendall(stream[:cut])
        while rig.raw.state().bytes_in - before < cut:
            pass
        given, params, unread = rig.raw.export()
        same(unread, stream[:cut], "unread")
        for size in (4096, 1000):
            check_equal(rig.raw.adopt(given, params, unread, size).kind, OK,
                        "answer to ADOPT")
            given.close()
            given, params, again = rig.raw.export()
            same(again, unread, "unread again")
        check_equal(rig.raw.adopt(given, params, unread).kind, OK, "ADOPT")
        given.close()
        rig.peer.socket.sendall(stream[cut:])
        same(rig.raw.unsolicited(NOP_IN).data, data, "data")
        rig.raw.close()


@test("EXPORT ends tasks, and the client may begin anew")
def export_tasks():
    rig = OddRig().connect().login()
    raw, peer = rig.raw, rig.peer
    before = rig.descriptors()
    task = raw.submit(command(9, TEST_UNIT_READY))
    request = peer.receive(SCSI)
    raw.settled()
    given, params, unread = raw.export()
    check(task.done, "EXPORTED before the end of the task")
    check_equal(task.outcome.outcome, "unknown", "outcome")
    check_equal((params.cmdsn, params.exp_statsn, unread),
                (2, peer.statsn, b""), "numbers")
    check_equal(rig.descriptors(), before - 1, "descriptors of the daemon")
    answer = raw.answer_to(raw.send(EXPORT))
    check_equal(answer.reason, "wrong-state", "a second EXPORT")
    rig.connect(raw)
    raw.shut()
    # The first one is as it was.
    check_equal(raw.adopt(given, params).kind, OK, "answer to ADOPT")
    given.close()
    peer.respond(request)
    raw.unsolicited(SCSI_RSP, unmatched=True)


@test("EXPORT is refused in the middle of a write, and of a login")
def export_busy():
    rig = OddRig().connect()
    raw, peer = rig.raw, rig.peer
    task = raw.submit(login_pdu(login_text(rig.target.iqn), flags=0x44))
    peer.receive(3)
    raw.error(raw.send(EXPORT), "busy")
    peer.send(0x23, 1, flags=4, word5=0, tail=bytes(12))
    check_equal(raw.answer_to(task.cookie).opcode, 0x23, "opcode")
    raw.error(raw.send(EXPORT), "busy")
    raw.put(login_pdu(b""))
    rig.target.login(peer=peer)
    raw.logged_in(raw.finish(task))
    for _ in range(40):
        raw.put(bhs(DATA_OUT, length=262144) + bytes(262144))
    wait_until(lambda: raw.state().unsent, "unsent bytes")
    raw.error(raw.send(EXPORT), "busy")
    for _ in range(40):
        peer.receive(DATA_OUT)
    raw.settled()
    raw.export()[0].close()
    # Before the login has begun there is nothing to lose.
    rig.connect()
    given, params, unread = rig.raw.export()
    check_equal((params.phase, unread), (0, b""), "EXPORTED")
    given.close()


# --- ADOPT

@test("what was read already is parsed as if it had just arrived")
def unread():
    rig = OddRig()
    for digests, flags in (((False, False), 0),
                           ((True, True), HEADER_DIGEST | DATA_DIGEST)):
        data = os.urandom(3000)
        pdus = [(ping(data[:n], ttt=n), data[:n]) for n in
                (0, 1, 5, 3000, 100, 2999)]
        stream = b"".join(wire(*pdu, digests) for pdu in pdus)
        for size, tail in ((4096, 0), (200, 0), (4096, 30), (1, 13)):
            part = stream if size > 1 else stream[:400]
            part = part[:len(part) - tail]
            connection = connection_to(rig.target.portal)
            peer = rig.target.accept()
            raw = Raw(rig.daemon)
            check_equal(raw.adopt(connection, Params(phase=1, flags=flags),
                                  part, size).kind, OK, "answer to ADOPT")
            connection.close()
            peer.socket.sendall(stream[len(part):])
            for head, segment in pdus:
                msg = raw.unsolicited(NOP_IN)
                same(msg.payload, head + segment, "a PDU")
            raw.close()


@test("unread bytes that are no PDU end it like others")
def unread_bad():
    rig = OddRig()
    for flags, stream, code in (
            (0, bhs(SCSI), errno.EPROTO),
            (HEADER_DIGEST, ping() + bytes(4), errno.EBADMSG),
            (DATA_DIGEST, ping(b"data") + b"data" + bytes(4),
             errno.EBADMSG)):
        connection = connection_to(rig.target.portal)
        rig.peer = rig.target.accept()
        rig.raw = Raw(rig.daemon)
        check_equal(rig.raw.adopt(connection, Params(phase=1, flags=flags),
                                  stream).kind, OK, "answer to ADOPT")
        connection.close()
        rig.gone(code)
        check_equal([msg for msg in rig.raw.inbox if msg.kind == PDU], [],
                    "PDUs")


@test("what is no connected TCP socket is refused and closed")
def bad_sockets():
    rig = OddRig()
    before = rig.descriptors()
    raw = Raw(rig.daemon)
    pair = socket.socketpair()
    pipe = os.pipe()
    listening = socket.create_server(("127.0.0.1", 0))
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.connect(listening.getsockname())
    fresh = socket.socket()
    with tempfile.TemporaryFile() as file, open(pipe[0], "rb") as read_end, \
            open(pipe[1], "wb") as write_end, \
            open("/dev/null", "rb") as null:
        for each in (file, read_end, write_end, null, pair[0], udp,
                     listening, fresh):
            answer = raw.adopt(each)
            check_equal((answer.kind, answer.reason, answer.flags),
                        (ERROR, "bad-fd", 0), f"answer for {each}")
            answer = raw.adopt(each, unread=bytes(10000))
            check_equal(answer.reason, "bad-fd", f"answer for {each}")
            raw.ping()
            check_equal(list(raw.inbox), [], "a second answer")
            check_equal(rig.descriptors(), before + 1, f"after {each}")
    for each in (*pair, udp, listening, fresh):
        each.close()
    check_equal(rig.connect(raw).raw.state().params.phase, 0, "phase")


@test("a descriptor where none belongs, or none where one does")
def bad_descriptors():
    rig = OddRig()
    base = rig.descriptors()
    connection = connection_to(rig.target.portal)
    adopt = frame(ADOPT, adopt_payload(Params(phase=1)), 5, F_FD)
    plain = frame(ADOPT, adopt_payload(Params(phase=1)), 5)
    for data, fds in ((adopt, 0), (plain, 1), (adopt, 2), (adopt, 3),
                      (frame(SUBMIT, bhs(SCSI, itt=1), 5), 1),
                      (frame(6, b"ping", 5), 1)):
        raw = Raw(rig.daemon)
        raw.requests.add(5)
        if fds:
            raw.send_fds(data, [connection.fileno()] * fds)
        else:
            # What is behind it says that no descriptor will come.
            raw.send_raw(data + frame(6, b"ping", 5))
        raw.fatal("bad-fd")
        wait_until(lambda: rig.descriptors() == base, "descriptors back")
    # Flag FD on what may not carry one: a bad flag, and it is closed.
    raw = Raw(rig.daemon)
    raw.requests.add(5)
    raw.send_fds(frame(SUBMIT, bhs(SCSI, itt=1), 5, F_FD),
                 [connection.fileno()])
    answer = raw.receive()
    check_equal((answer.kind, answer.reason in ("bad-flags", "bad-fd")),
                (ERROR, True), f"answer {answer}")
    raw.close()
    wait_until(lambda: rig.descriptors() == base, "descriptors back")
    connection.close()


@test("an ADOPT that is wrong, or at the wrong time, closes what came")
def bad_adopt():
    rig = OddRig()
    base = rig.descriptors()
    connection = connection_to(rig.target.portal)
    rig.target.accept()
    raw = Raw(rig.daemon)
    cookie = 1000
    for payload in (
            b"", adopt_payload(Params(phase=2)),
            adopt_payload(Params(phase=1))[:-1],
            adopt_payload(Params(flags=0x40)),
            adopt_payload(Params(flags=ADOPTED)),
            adopt_payload(Params(flags=0x10000)),
            adopt_payload(Params(target="x" * 224)),
            adopt_payload(Params(), b"abc", length=2),
            adopt_payload(Params(), length=UNREAD_MAX + 1)):
        cookie += 1
        raw.requests.add(cookie)
        raw.send_fds(frame(ADOPT, payload, cookie, F_FD),
                     [connection.fileno()])
        raw.error(cookie, "bad-payload")
        check_equal(rig.descriptors(), base + 1, "descriptors")
    raw.requests.add(999)
    raw.send_fds(frame(ADOPT, adopt_payload(Params(), b"abc", length=4), 999,
                       F_FD), [connection.fileno()])
    raw.error(999, "lengths-disagree")
    check_equal(rig.descriptors(), base + 1, "descriptors")
    check_equal(raw.adopt(connection, Params(phase=1)).kind, OK, "ADOPT")
    answer = raw.adopt(connection, Params(phase=1))
    check_equal(answer.reason, "wrong-state", "a second ADOPT")
    check_equal(rig.descriptors(), base + 2, "descriptors")
    raw.shut()
    # A stream that breaks off.
    raw.send_fds(frame(ADOPT, adopt_payload(Params(phase=1), bytes(20), 10),
                       2000, F_FD | F_MORE), [connection.fileno()])
    raw.ping()
    raw.close()
    wait_until(lambda: rig.descriptors() == base, "descriptors back")
    # And the daemon never wrote or read a byte of it.
    rig.connect().login()
    connection.close()


@test("unchecked and portals hold for ADOPT, too")
def adopt_rules():
    for portals, flags, wanted in ((["127.0.0.1:1"], 0, "not-permitted"),
                                   (["127.0.0.1:*"], 0x20, "not-permitted"),
                                   (["127.0.0.1:*"], 0x1f, None)):
        rig = OddRig(raw_rule(users=["nobody"], portals=portals),
                     data_socket_mode="0666")

        def nobody(path, flags=flags, wanted=wanted, rig=rig):
            raw = Raw(path)
            with connection_to(rig.target.portal) as connection:
                answer = raw.adopt(connection, Params(phase=1, flags=flags))
            check_equal(getattr(answer, "reason", None), wanted,
                        f"answer to ADOPT ({answer})")
            if wanted is None:
                check_equal(raw.state().params.flags, 0x1f | ADOPTED,
                            "flags")
        seen_by_nobody(rig.daemon, nobody)
        check_equal(Raw(rig.daemon).adopt(connection_to(rig.target.portal),
                                          Params(flags=0x3f)).kind, OK,
                    "who is trusted")


main()
