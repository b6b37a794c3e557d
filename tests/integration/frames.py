#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""What is said on the data socket that should not be: every wrong frame gets
one clear answer, costs its client at most, and nobody else anything."""

import array
import os
import socket
import struct

from harness import (Skip, check, check_equal, main, scaled, shared, test,
                     wait_until)
from iscsimuxd import Daemon, session
from muxclient import (ATTACH, ATTACHED, CANCEL, DATA_MAX, ERROR, F_FATAL,
                       F_FD, F_MORE, F_SYNTHETIC, F_TLV, F_UNMATCHED, F_VOID,
                       GOODBYE, HELLO, LIST, LISTING, NONE, OUTCOME,
                       PAYLOAD_MAX, PING, PONG, SMALL, SUBMIT, TEST_UNIT_READY,
                       WELCOME, WRITE, Forked, Mux, attach, bhs, command,
                       data_out, deadline_tlv, frame, hello, tlv, write16)
from muxrig import Rig

TUR = command(7, TEST_UNIT_READY)


@shared
def rig():
    """One target and daemon for all tests that do not change them."""
    return Rig()


@shared
def bystander():
    """A client that must never notice anything."""
    return rig().mux(name="bystander")


def fds():
    """How many file descriptors the daemon has open."""
    return len(os.listdir(f"/proc/{rig().daemon.pid}/fd"))


def unattached():
    """A client that said HELLO and no more."""
    return Mux(rig().daemon)


def raw():
    """A client that said nothing."""
    return Mux(rig().daemon, raw=True)


# --- HELLO

@test("HELLO agrees on a version")
def versions():
    for low, high in ((1, 1), (0, 1), (1, 9), (0, NONE & 0xffff)):
        mux = raw()
        cookie = mux.send(HELLO, hello(low, high, features=1 << 63))
        msg = mux.answer_to(cookie)
        check_equal((msg.kind, msg.version, msg.features),
                    (WELCOME, 1, 0), f"answer to {low} to {high}")
        check_equal((msg.payload_max, msg.data_max, msg.tasks_max),
                    (PAYLOAD_MAX, DATA_MAX, 1024), "limits of WELCOME")
        mux.ping()
    for low, high in ((2, 2), (2, 0xffff), (0, 0)):
        mux = raw()
        mux.send(HELLO, hello(low, high))
        mux.fatal("no-common-version")
    bystander().works()


@test("a bad HELLO, or none, ends the connection")
def bad_hello():
    for payload in (b"", b"iMUX", hello()[:-1], hello(magic=0x694d5559),
                    hello(2, 1), hello(name="x" * 64), hello(name=b"\xff"),
                    hello(name="new\nline"), hello(name="nul\0"),
                    hello() + tlv(0x7fff, b""), hello() + b"\x80\x00\x00"):
        mux = raw()
        mux.send(HELLO, payload)
        mux.fatal("hello-expected")
    for kind in (ATTACH, SUBMIT, PING, LIST, CANCEL, 0x40, 0x41, 0x80, 0xffff,
                 0):
        mux = raw()
        mux.send(kind, TUR)
        mux.fatal("hello-expected")
    bystander().works()


@test("TLVs that may be ignored are ignored")
def ignorable():
    mux = raw()
    mux.send(HELLO, hello() + tlv(0x8000, b"") + tlv(0xffff, b"later"))
    mux.expect(WELCOME)
    payload = attach("ram") + tlv(0x8001, bytes(300))
    check_equal(mux.answer_to(mux.send(ATTACH, payload)).kind, ATTACHED,
                "answer to ATTACH")
    check_equal(mux.answer_to(mux.send(LIST, tlv(0x9000, b"x"))).kind,
                LISTING, "answer to LIST")


# --- Lengths

@test("a frame that is too long ends the connection")
def too_long():
    for length in (SMALL + 1, PAYLOAD_MAX, 0xffffffff):
        mux = raw()
        mux.send(HELLO, hello(), length=length)
        mux.fatal("too-long")
    mux = raw()
    room = SMALL - len(hello()) - 4
    mux.send(HELLO, hello() + tlv(0x8000, bytes(room)))
    mux.expect(WELCOME)
    for kind in (SUBMIT, PING, 0x7f, 0x80):
        for length in (PAYLOAD_MAX + 1, 0x80000000):
            mux = unattached()
            mux.send(kind, length=length)
            mux.fatal("too-long")
    bystander().works()


@test("a small frame above 4096 bytes costs itself only")
def small_too_long():
    mux = rig().mux()
    for kind in (PING, LIST, CANCEL, ATTACH, HELLO):
        mux.error(mux.send(kind, bytes(SMALL + 1)), "too-long")
        mux.error(mux.send(kind, bytes(PAYLOAD_MAX)), "too-long")
    mux.works()


# --- Types and flags

@test("unknown types are refused, those from 0x80 ignored")
def types():
    mux = rig().mux()
    for kind in (0, 7, 8, 0x0f, 0x10, 0x1f, 0x3f, 0x40, *range(0x41, 0x4c),
                 0x7f):
        for payload in (b"", bytes(5000)):
            msg = mux.error(mux.send(kind, payload), "unknown-type")
            check_equal((msg.flags, msg.frame_type), (0, kind), "ERROR")
    for kind in (0x80, 0x81, 0xff, 0x100, 0x8000, 0xffff):
        mux.send(kind, bytes(5000), flags=0xfffb)
        mux.send(kind)
        mux.ping()
    check_equal(list(mux.inbox), [], "answers to ignorable frames")
    mux.works()


@test("flags that a type does not have are refused")
def flags():
    mux = rig().mux()
    payloads = {HELLO: hello(), ATTACH: attach("ram"), LIST: b"", PING: b"",
                CANCEL: struct.pack(">BQ", 0, 1), SUBMIT: TUR}
    for kind, payload in payloads.items():
        for flag in (F_MORE, F_VOID, F_FATAL, F_SYNTHETIC, F_UNMATCHED, F_TLV,
                     0x80, 0x8000):
            if kind == SUBMIT and flag in (F_MORE, F_VOID, F_TLV):
                continue
            mux.error(mux.send(kind, payload, flags=flag), "bad-flags")
    cookie = mux.send(SUBMIT, TUR, flags=F_MORE | F_VOID)
    mux.error(cookie, "bad-flags")
    mux.send(SUBMIT, TUR, cookie, F_VOID)
    mux.works()


# --- States

@test("frames out of order are wrong-state")
def order():
    mux = unattached()
    mux.error(mux.send(HELLO, hello()), "wrong-state")
    mux.error(mux.send(SUBMIT, TUR), "wrong-state")
    mux.error(mux.send(CANCEL, struct.pack(">BQ", 0, 3)), "no-such-task")
    mux.error(mux.send(CANCEL, struct.pack(">BQ", 1, 7)), "no-such-task")
    check_equal(mux.attach("ram").kind, ATTACHED, "answer to ATTACH")
    mux.error(mux.send(ATTACH, attach("ram")), "wrong-state")
    mux.error(mux.send(HELLO, hello()), "wrong-state")
    mux.works()


@test("everything may be sent without waiting")
def pipelined():
    mux = raw()
    task = mux.task(TUR, cookie=3)
    mux.requests |= {1, 2}
    mux.send_raw(frame(HELLO, hello(), 1) + frame(ATTACH, attach("ram"), 2) +
                 frame(SUBMIT, TUR, 3))
    mux.expect(WELCOME, 1)
    mux.expect(ATTACHED, 2)
    mux.finish(task).good()


@test("ATTACH is refused for a reason, and may be tried again")
def attaching():
    mux = unattached()
    for payload, reason in (
            (attach("nosuch"), "no-such-session"),
            (attach(""), "no-such-session"), (attach("x" * 224), "bad-payload"),
            (attach("x" * 64), "no-such-session"),
            (attach("ra\x07m"), "bad-payload"), (b"", "bad-payload"),
            (attach("ram")[:-1], "bad-payload"),
            (attach("ram") + tlv(1, b""), "bad-payload"),
            (attach("ram", flags=4), "bad-payload"),
            (attach("ram", flags=0x80000000), "bad-payload"),
            (attach("ram", access=0x20), "bad-payload"),
            (attach("ram", access=0x8000001f), "bad-payload")):
        mux.error(mux.send(ATTACH, payload), reason)
    msg = mux.attach("ram", access=0x1f)
    check_equal((msg.kind, msg.state, msg.access, msg.tasks_max,
                 msg.inbound_max, msg.outbound_max),
                (ATTACHED, "up", 0x1f, 1024, 64 << 20, 16 << 20), "ATTACHED")
    mux.works()


@test("who is not permitted sees no session, not even its name")
def not_permitted():
    if os.getuid() != 0:
        raise Skip("needs root, to become somebody else")
    daemon = Daemon(session("ram", rig().target.portals[0], rig().target.iqn),
                    data_socket_mode="0666",
                    initiator_name="iqn.2026-01.org.example:another")

    def nobody(report):
        os.chdir(os.path.dirname(daemon.data_socket))
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
        mux = Mux(os.path.basename(daemon.data_socket))
        mux.error(mux.send(ATTACH, attach("ram")), "no-such-session")
        mux.error(mux.send(ATTACH, attach("other")), "no-such-session")
        check_equal(mux.answer_to(mux.send(LIST)).entries, [], "LISTING")
        mux.ping()
        report("seen")
    Forked(nobody).said("seen")


@test("an exclusive client is alone")
def exclusive():
    daemon = Daemon(session("ram", rig().target.portals[0], rig().target.iqn),
                    initiator_name="iqn.2026-01.org.example:exclusive")
    daemon.wait_up("ram")
    first = Mux(daemon, "ram")
    second = Mux(daemon)
    second.error(second.send(ATTACH, attach("ram", flags=1)), "busy")
    first.close()
    wait_until(lambda: second.attach("ram", flags=1).kind == ATTACHED,
               "the session to be free")
    second.works()
    third = Mux(daemon)
    third.error(third.send(ATTACH, attach("ram")), "busy")
    second.close()
    wait_until(lambda: third.attach("ram").kind == ATTACHED,
               "the exclusive client to be gone")
    third.works()


# --- File descriptors

def send_fds(mux, data, count):
    """One sendmsg of data with count descriptors."""
    null = os.open("/dev/null", os.O_RDONLY)
    rights = array.array("i", [null] * count)
    mux.socket.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS,
                                 rights)])
    os.close(null)


@test("file descriptors where none belong are closed, and bad-fd")
def descriptors():
    bystander().works()
    before = fds()
    for count in (1, 2, 32, 33, 250):
        for flag in (F_FD, 0):
            for data in (frame(PING, b"", 5, flag),
                         frame(SUBMIT, TUR, 6, flag),
                         frame(0x80, bytes(100), 6, flag)):
                mux = rig().mux()
                mux.requests |= {5, 6}
                send_fds(mux, data, count)
                mux.fatal("bad-fd")
    # One that comes with a part of a header may belong to that frame.
    mux = rig().mux()
    mux.requests.add(5)
    send_fds(mux, frame(PING, b"", 5)[:5], 1)
    mux.send_raw(frame(PING, b"", 5)[5:])
    mux.fatal("bad-fd")
    wait_until(lambda: fds() == before, "all descriptors to be closed")
    mux = raw()
    mux.requests |= {0, 1}
    send_fds(mux, frame(HELLO, hello(), 1), 1)
    mux.fatal("bad-fd")
    mux = rig().mux()
    send_fds(mux, frame(SUBMIT, TUR, 6)[30:40], 3)
    check_equal(mux.farewell()[-1].reason, "bad-fd", "GOODBYE")
    wait_until(lambda: fds() == before, "all descriptors to be closed")
    bystander().works()


@test("flag FD without a descriptor is bad-fd")
def flag_without_fd():
    for kind, payload in ((PING, b""), (LIST, b""), (SUBMIT, TUR),
                          (ATTACH, attach("ram")),
                          (CANCEL, struct.pack(">BQ", 0, 1))):
        mux = rig().mux()
        mux.send(kind, payload, flags=F_FD)
        mux.fatal("bad-fd")
    mux = raw()
    mux.send(HELLO, hello(), flags=F_FD)
    mux.fatal("bad-fd")


@test("many clients that come and go leave no descriptor")
def come_and_go():
    bystander().works()
    before = fds()
    for _ in range(scaled(100, 10)):
        raw().close()
        rig().mux().close()
    wait_until(lambda: fds() == before, "all descriptors to be closed")


# --- The stream

@test("a stream that comes byte by byte is understood")
def dribble():
    mux = raw()
    data = bytes(range(256)) * 2
    write = command(9, write16(100, 1), 512, WRITE, data)
    task = mux.task(write, 4)
    tur = mux.task(TUR, 5)
    mux.requests |= {1, 2, 3, 6}
    stream = (frame(HELLO, hello(), 1) + frame(PING, b"pong", 2) +
              frame(ATTACH, attach("ram"), 3) +
              frame(SUBMIT, write[:300], 4, F_MORE) + frame(0x90, bytes(9)) +
              frame(SUBMIT, write[300:] + deadline_tlv(60000), 4, F_TLV) +
              frame(SUBMIT, TUR, 5) + frame(0x42, b"", 6))
    mux.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
    for byte in stream:
        mux.send_raw(bytes([byte]))
    mux.finish(task).good()
    mux.finish(tur).good()
    mux.expect(WELCOME)
    mux.expect(PONG)
    mux.expect(ATTACHED)
    mux.error(6, "unknown-type")
    check_equal(mux.read(100, 1), data, "what the dribble wrote")


@test("half a frame and the end of the stream")
def half_frames():
    whole = frame(SUBMIT, command(9, write16(0, 8), 4096, WRITE, bytes(4096)),
                  9)
    for cut in (1, 15, 16, 17, 63, 64, 65, len(whole) - 1):
        mux = rig().mux()
        mux.send_raw(whole[:cut])
        mux.close()
    mux = rig().mux()
    mux.send_raw(frame(SUBMIT, command(9, write16(0, 8), 4096, WRITE,
                                       bytes(4096))[:2000], 9, F_MORE))
    mux.close()
    wait_until(lambda: len(rig().clients()) <= 1, "those clients to be gone")
    rig().wait_idle()
    bystander().works()


@test("half of the stream closed is the client gone")
def half_close():
    order = rig().order
    order("hold reads")
    mux = rig().mux()
    mux.start_read(0, 8)
    rig().wait_tasks(1)
    mux.ping()
    mux.socket.shutdown(socket.SHUT_WR)
    check_equal(mux.farewell(), [], "frames after the end")
    order("release")
    rig().wait_idle()
    bystander().works()


# --- PING, LIST, CANCEL

@test("PING and PONG, LIST and LISTING")
def ping_list():
    for mux in (unattached(), rig().mux()):
        for data in (b"", b"x", bytes(range(64))):
            mux.ping(data)
        mux.error(mux.send(PING, bytes(65)), "bad-payload")
        msg = mux.answer_to(mux.send(LIST))
        check_equal((msg.kind, msg.entries),
                    (LISTING, [("up", 0x1f, "ram", rig().target.iqn)]),
                    "LISTING")
        mux.error(mux.send(LIST, b"x"), "bad-payload")
        mux.error(mux.send(LIST, tlv(2, b"")), "bad-payload")


@test("a LISTING of many sessions travels in several frames")
def long_listing():
    iqn = "iqn.2026-01.org.example:" + "t" * 199
    names = [f"session-{i:03}-" + "n" * 50 for i in range(60)]
    daemon = Daemon(*(session(name, "127.0.0.1:1", iqn) for name in names),
                    log_level="error")
    mux = Mux(daemon)
    cookie = mux.send(LIST)
    entries = []
    flags = []
    while not flags or flags[-1]:
        msg = mux.answer_to(cookie)
        entries += msg.entries
        flags.append(msg.flags)
    check_equal([entry[2] for entry in entries], names, "names")
    check(len(flags) > 2, "one frame was enough")
    check_equal(set(flags[:-1]), {F_MORE}, "flags of all but the last")


@test("a CANCEL that says nothing is bad-payload")
def bad_cancel():
    mux = rig().mux()
    for payload in (b"", bytes(8), bytes(10), struct.pack(">BQ", 2, 0),
                    struct.pack(">BQ", 1, 1 << 32)):
        mux.error(mux.send(CANCEL, payload), "bad-payload")
    mux.error(mux.cancel(12345), "no-such-task")
    mux.error(mux.cancel(itt=NONE), "no-such-task")
    mux.works()


# --- PDUs and frames

@test("lengths in a BHS that disagree with the frame")
def lengths():
    mux = rig().mux()
    long = command(9, write16(0, 1), 512, WRITE, bytes(512))
    for pdu in (b"", TUR[:47], TUR + b"x", command(9, bytes(6), length=4),
                bhs(1, 0xa0, 0, 9, 512, length=4) + bytes(8),
                bhs(1, 0xa0, 0, 9, 512, length=8) + bytes(4),
                bhs(1, 0x81, 0, 9, ahs=2),
                bhs(1, 0x81, 0, 9, ahs=1) + bytes(8),
                bhs(1, 0x81, 0, 9, ahs=255, length=0xffffff) + bytes(1020),
                data_out(9, 1, 0, b"x", length=2),
                bhs(0x3f, length=0xffffff), long + bytes(4), long[:-1]):
        mux.error(mux.send(SUBMIT, pdu), "lengths-disagree")
    mux.works()


@test("fragments that disagree get one ERROR in all")
def bad_fragments():
    mux = rig().mux()
    pdu = command(9, write16(0, 4), 2048, WRITE, bytes(2048))
    bad = (
        # MORE on a frame that completes the PDU
        [(pdu, F_MORE), (b"x", F_MORE), (b"", 0)],
        [(TUR, F_MORE), (b"", F_VOID)],
        # no MORE on one that does not
        [(pdu[:500], 0)], [(pdu[:500], F_MORE), (pdu[500:700], 0)],
        # a fragment without data, a first one without a whole header
        [(pdu[:48], F_MORE), (pdu[48:], 0)],
        [(pdu[:47], F_MORE), (pdu[47:], 0)],
        [(pdu[:500], F_MORE), (b"", F_MORE), (pdu[500:], 0)],
        # more than the BHS announces
        [(pdu[:500], F_MORE), (pdu[500:] + b"x", 0)],
        [(pdu[:500], F_MORE), (bytes(4000), F_MORE), (bytes(9000), F_MORE),
         (b"", 0)],
        # TLVs before the last
        [(pdu[:500] + deadline_tlv(0), F_MORE | F_TLV), (pdu[500:], 0)],
        # a void frame with TLVs
        [(pdu[:500], F_MORE), (deadline_tlv(0), F_VOID | F_TLV)])
    for frames in bad:
        cookie = mux.cookie()
        for payload, flag in frames:
            mux.send(SUBMIT, payload, cookie, flag)
        mux.error(cookie, "lengths-disagree")
        mux.ping()
        check_equal(list(mux.inbox), [], f"more answers to {frames}")
    # flags that no SUBMIT has: the PDU is refused, not only the frame
    for frames in ([(pdu[:500], F_MORE), (pdu[500:], 0x80)],
                   [(pdu[:500], F_MORE), (pdu[500:700], F_MORE | F_FATAL),
                    (pdu[700:], 0)]):
        cookie = mux.cookie()
        for payload, flag in frames:
            mux.send(SUBMIT, payload, cookie, flag)
        mux.error(cookie, "bad-flags")
        mux.ping()
        check_equal(list(mux.inbox), [], f"more answers to {frames}")
        mux.run(pdu, cookie=cookie).good()
    mux.run(pdu).good()


@test("fragments of several PDUs interleave; VOID takes one back")
def fragments():
    mux = rig().mux()
    data = [os.urandom(8192) for _ in range(8)]
    parts = []
    tasks = []
    for i, written in enumerate(data):
        pdu = command(i + 1, write16(16 * i, 16), 8192, WRITE, written)
        tasks.append(mux.task(pdu))
        parts.append(mux.fragments(pdu, tasks[-1].cookie, 1 + 700 * (i + 1)))
    victim = command(99, write16(0, 16), 8192, WRITE, bytes(8192))
    void = mux.fragments(victim, mux.cookie(), 1000)
    void[4] = frame(SUBMIT, b"gone", mux.next_cookie, F_VOID)
    del void[5:]
    parts.append(void)
    while any(parts):
        for queue in parts:
            if queue:
                mux.send_raw(queue.pop(0))
    for task in tasks:
        mux.finish(task).good()
    for i, written in enumerate(data):
        check(mux.read(16 * i, 16) == written, f"write {i} differs")
    mux.send(SUBMIT, b"", mux.cookie(), F_VOID)
    mux.expect(ERROR)
    mux.send(SUBMIT, TUR, mux.cookie(), F_VOID)
    mux.ping()
    check_equal(list(mux.inbox), [], "answers to VOID")


@test("PDUs of a megabyte travel in fragments, both ways")
def megabyte():
    large = Rig("--max-recv-dsl", "1M", "--first-burst", "1M",
                session_keys={"max_recv_data_segment_length": "1M",
                              "max_burst_length": "1M",
                              "first_burst_length": "1M"})
    mux = large.mux()
    check_equal((mux.attached.send_dsl, mux.attached.recv_dsl),
                (1 << 20, 1 << 20), "limits")
    for size in (1000, 65536, DATA_MAX):
        data = os.urandom(1 << 20)
        task = mux.task(command(5, write16(0, 2048), 1 << 20, WRITE, data))
        mux.send_raw(b"".join(mux.fragments(
            command(5, write16(0, 2048), 1 << 20, WRITE, data), task.cookie,
            size)))
        mux.finish(task).good()
        read = mux.start_read(0, 2048)
        mux.finish(read).good()
        check(bytes(read.data) == data, f"fragments of {size} differ")
        check_equal(read.pdu.dsl, 1 << 20, "data of the one Data-In")
    mux.error(mux.send(SUBMIT, command(5, write16(0, 1024), 1 << 19, WRITE,
                                       bytes(DATA_MAX + 1))),
              "lengths-disagree")
    mux.works()


@test("more than 64 PDUs begun cost the connection")
def many_partial():
    mux = rig().mux()
    pdu = command(9, write16(0, 1), 512, WRITE, bytes(512))
    for cookie in range(100, 164):
        mux.send(SUBMIT, pdu[:100], cookie, F_MORE)
    mux.works()
    mux.send(SUBMIT, pdu[100:], 100, 0)
    mux.tasks[100] = mux.task(pdu, 100)
    mux.finish(mux.tasks[100]).good()
    mux.send(SUBMIT, pdu[:100], 100, F_MORE | 0)
    mux.ended.clear()
    mux.send(SUBMIT, pdu[:100], 200, F_MORE)
    mux.fatal("over-quota")
    rig().wait_idle()
    bystander().works()


@test("fragments that exceed the outbound quota are refused once")
def partial_quota():
    mux = rig().mux()
    pdu = bhs(1, 0xa1, 0, 9, 1 << 23, length=(1 << 23)) + bytes(DATA_MAX)
    more = bytes(DATA_MAX)
    cookies = [mux.cookie() for _ in range(3)]
    for cookie in cookies[:2]:
        mux.send(SUBMIT, pdu, cookie, F_MORE)
        for _ in range(30):
            mux.send(SUBMIT, more, cookie, F_MORE)
    mux.send(SUBMIT, more[:-1000], cookies[0], F_MORE)
    mux.send(SUBMIT, pdu, cookies[2], F_MORE)
    mux.send(SUBMIT, more, cookies[2], F_MORE)
    mux.ping()
    check(16 << 20 >= rig().clients()[-1]["outbound_bytes"] > 15 << 20,
          f"charged: {rig().clients()}")
    mux.send(SUBMIT, more, cookies[2], F_MORE)
    mux.error(cookies[2], "over-quota")
    for _ in range(30):
        mux.send(SUBMIT, more, cookies[2], F_MORE)
    mux.send(SUBMIT, b"", cookies[2])
    for cookie in cookies[:2]:
        mux.send(SUBMIT, b"", cookie, F_VOID)
    mux.ping()
    check_equal(list(mux.inbox), [], "further answers")
    rig().wait_idle()
    mux.works()


@test("TLVs of a SUBMIT: the deadline, unknown ones, wrong ones")
def tlvs():
    mux = rig().mux()
    for good in (b"", deadline_tlv(0), deadline_tlv(60000),
                 tlv(0x8000, bytes(200)) + deadline_tlv(60000),
                 deadline_tlv(60000) + tlv(0xfffe, b""),
                 tlv(0x8123, bytes(1020))):
        task = mux.task(TUR)
        mux.send(SUBMIT, TUR + good, task.cookie, F_TLV)
        mux.finish(task).good()
    for bad in (tlv(2, b""), tlv(0, b""), tlv(0x7fff, bytes(4)),
                tlv(1, b""), tlv(1, bytes(3)), tlv(1, bytes(8)), b"\0",
                tlv(0x8000, bytes(9))[:-1], b"\x80\0\xff\xff"):
        mux.error(mux.send(SUBMIT, TUR + bad, flags=F_TLV), "bad-payload")
    mux.error(mux.send(SUBMIT, TUR + tlv(0x8123, bytes(1021)), flags=F_TLV),
              "lengths-disagree")
    mux.error(mux.send(SUBMIT, TUR + deadline_tlv(60000)),
              "lengths-disagree")
    mux.works()


# --- Floods

def flood(mux, data, name):
    """Sends copies of data until the daemon does not read them any more;
    returns how many bytes the socket took."""
    mine = os.getpid()
    taken = 0
    view = memoryview(data)

    def paused():
        nonlocal view, taken
        try:
            sent = mux.socket.send(view)
            taken += sent
            view = view[sent:] or memoryview(data)
            return False
        except BlockingIOError:
            return any(c["paused"] for c in rig().clients()
                       if c["name"] == name and c["pid"] == mine)
    wait_until(paused, f"{name} to be paused")
    return taken


@test("a flood without reading stops the flooder and nobody else")
def floods():
    for name, one in (("pings", frame(PING, bytes(64), 1)),
                      ("lists", frame(LIST, b"", 1)),
                      ("errors", frame(7, b"", 1)),
                      ("refusals", frame(SUBMIT, bhs(3, itt=5), 1)),
                      ("cancels", frame(CANCEL, bytes(9), 1))):
        mux = rig().mux(name=name)
        taken = flood(mux, one * 100, name)
        memory = rig().control.call("stats.get")["worker"]
        check(memory["pool"]["bytes_out"] < 256 << 10,
              f"{name}: the daemon holds {memory}")
        for lba in range(scaled(20, 2)):
            bystander().works()
            bystander().read(lba, 8)
        answers = 0
        mux.requests.add(1)
        mux.tasks[1] = None
        while answers < taken // len(one):
            got = mux._frame(None)
            check(got is not None, f"{name}: answer {answers} is missing")
            check(got[0] in (PONG, LISTING, ERROR, OUTCOME),
                  f"{name}: answer {got}")
            answers += 1
        wait_until(lambda: not any(c["paused"] for c in rig().clients()),
                   f"{name} to be read again")
        mux.close()
    bystander().works()


@test("a client that is gone while it floods leaves nothing")
def flood_and_go():
    mux = rig().mux(name="gone")
    flood(mux, frame(PING, bytes(64), 1) * 100, "gone")
    mux.close()
    wait_until(lambda: len(rig().clients()) <= 1, "the flooder to be gone")
    rig().wait_idle()
    bystander().works()


@test("after all this nothing is charged and nothing was dropped")
def in_the_end():
    rig().wait_idle()
    check_equal(rig().stats()["downs"], 0, "lost connections")
    rig().target.check_no_error()
    bystander().ping()


main()
