#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Text exchanges of several clients on one connection, which can have only
one at a time."""

import struct

from harness import check, check_equal, main, scaled, test, wait_until
from iscsimuxd import Daemon, session
from muxclient import (ABORT_TASK, ASYNC, FINAL, IMMEDIATE, LOGOUT, NONE,
                       OUTCOME, TEST_UNIT_READY, TEXT, TEXT_RSP, TMF, TMF_RSP,
                       Forked, Mux, bhs, command, deadline_tlv, text_request,
                       tmf)
from muxrig import Rig
from scripted import Scripted

MORE = 0x40


class Odd:
    """A scripted target, a daemon on it, two clients."""

    def __init__(self, **keys):
        self.target = Scripted()
        self.daemon = Daemon(session("odd", self.target.portal,
                                     self.target.iqn, logout_timeout="100ms",
                                     reconnect_interval="100ms"), **keys)
        self.peer = self.target.login()
        self.daemon.wait_up("odd")
        self.mux = Mux(self.daemon, "odd")
        self.other = Mux(self.daemon, "odd")

    def idle(self):
        """Waits until no tag is in use."""
        self.daemon.wait_session("odd", lambda s: s["tasks"] == 0, "idle")


def next_text(mux, task):
    """Waits for one more Text Response (or the end) of the task."""
    seen = len(task.texts)
    while len(task.texts) == seen and not task.done:
        mux._progress("a Text Response")
    return task.texts[-1] if task.texts else None


def exchange(mux, itt, text=b"SendTargets=\0"):
    """A whole exchange; the text that came."""
    task = mux.submit(text_request(itt, text))
    while not task.done:
        answer = next_text(mux, task)
        if not task.done:
            check(answer.bflags & FINAL == 0, "F bit")
            mux.submit_data(text_request(itt, b"", answer.word5))
    check(task.outcome is None, f"ended with {task.outcome}")
    mux._forget([task])
    return b"".join(answer.data for answer in task.texts), len(task.texts)


@test("SendTargets in one PDU, and in many")
def send_targets():
    for split, least in ((8192, 1), (7, 5)):
        rig = Rig("--text-split", str(split))
        mux = rig.mux()
        wanted = (f"TargetName={rig.target.iqn}\0"
                  f"TargetAddress={rig.target.portals[0]},1\0").encode()
        for text in (b"SendTargets=\0",
                     f"SendTargets={rig.target.iqn}\0".encode()):
            got, pdus = exchange(mux, 5, text)
            check_equal(got, wanted, "text")
            check(pdus >= least, f"{pdus} PDUs")
        check_equal(exchange(mux, 5, b"SendTargets=All\0")[0],
                    b"SendTargets=Reject\0", "text")
        mux.works()
        rig.wait_idle()


@test("many clients ask at once, each gets its own answer")
def at_once():
    rig = Rig("--text-split", "10")

    def body(parent):
        mux = Mux(rig.daemon, "ram")
        parent("ready")
        for _ in range(scaled(50, 3)):
            text, _ = exchange(mux, 7)
            check(rig.target.iqn.encode() in text and
                  text.endswith(b",1\0"), f"text {text}")
            mux.works()
        parent("done")
    clients = [Forked(body) for _ in range(4)]
    for client in clients:
        client.said("done")
    rig.wait_idle()


@test("the next Text Request waits for the end of the exchange")
def one_at_a_time():
    odd = Odd()
    mux, other, peer = odd.mux, odd.other, odd.peer
    first = mux.submit(text_request(5))
    request = peer.receive(TEXT)
    check_equal((request.word5, request.flags, request.data),
                (NONE, FINAL, b"SendTargets=\0"), "the Text Request")
    second = other.submit(text_request(5))
    peer.respond(request, TEXT_RSP, data=b"one", flags=MORE, word5=0x71)
    next_text(mux, first)
    other.ping()
    peer.quiet()
    # The continuation is not behind the other's request.
    mux.submit_data(text_request(5, b"", 0x71))
    more = peer.receive(TEXT)
    check_equal((more.itt, more.word5, more.data, more.flags),
                (request.itt, 0x71, b"", FINAL), "the continuation")
    # Commands are not held up.
    task = other.submit(command(9, TEST_UNIT_READY))
    peer.respond(peer.receive())
    other.finish(task).good()
    peer.respond(more, TEXT_RSP, data=b"two")
    mux.finish(first)
    check_equal([t.data for t in first.texts], [b"one", b"two"], "texts")
    theirs = peer.receive(TEXT)
    check(theirs.itt != request.itt, "the same tag again")
    peer.respond(theirs, TEXT_RSP, data=b"three")
    other.finish(second)
    check_equal(second.pdu.data, b"three", "text")
    odd.idle()


@test("continuations that continue nothing")
def bad_continuations():
    odd = Odd()
    mux, other, peer = odd.mux, odd.other, odd.peer
    task = mux.submit(text_request(5))
    request = peer.receive(TEXT)
    mux.data_error(text_request(5, b"", 0x71), "bad-target-transfer-tag")
    peer.respond(request, TEXT_RSP, data=b"x", flags=MORE, word5=0x71)
    next_text(mux, task)
    for pdu, reason in (
            (text_request(5, b"", 0x72), "bad-target-transfer-tag"),
            (text_request(6, b"", 0x71), "no-such-task"),
            (text_request(5, b"SendTargets=\0", 0x71), "bad-field"),
            (text_request(5, b"", 0x71, opcode=TEXT | IMMEDIATE),
             "bad-field"),
            (bhs(TEXT, FINAL, 0, 5, 0x71, ahs=1) + bytes(4),
             "lengths-disagree")):
        mux.data_error(pdu, reason)
    other.data_error(text_request(5, b"", 0x71), "no-such-task")
    mux.refused(text_request(5), "bad-initiator-task-tag")
    mux.submit_data(text_request(5, b"", 0x71))
    peer.receive(TEXT)
    mux.data_error(text_request(5, b"", 0x71), "bad-target-transfer-tag")
    peer.respond(request, TEXT_RSP, data=b"y")
    mux.finish(task)
    mux.data_error(text_request(5, b"", 0x71), "no-such-task")
    odd.idle()


@test("a client dies in the middle of an exchange")
def dies():
    rig = Rig("--text-split", "10")
    other = rig.mux()

    def body(parent):
        mux = Mux(rig.daemon, "ram")
        task = mux.submit(text_request(5))
        next_text(mux, task)
        parent("begun")
        mux.receive()
    for _ in range(scaled(10, 2)):
        dying = Forked(body)
        dying.said("begun")
        waiting = other.submit(text_request(5))
        other.ping()
        dying.kill()
        text = next_text(other, waiting)
        while not waiting.done:
            other.submit_data(text_request(5, b"", text.word5))
            text = next_text(other, waiting)
        check(waiting.texts[-1].data.endswith(b"\0"), "the last text")
        other.finish(waiting)
    check_equal((rig.stats()["orphans"], rig.stats()["downs"]),
                (scaled(10, 2), 0), "orphans, downs")
    rig.wait_idle()


@test("exchanges end by CANCEL, deadline, or for want of a continuation")
def ended():
    rig = Rig("--text-split", "10", session_keys={
        "text_timeout": "300ms"})
    mux, other = rig.mux(), rig.mux()
    for how, outcome, reason in (("cancel", "aborted", "cancelled"),
                                 ("deadline", "timed-out", "deadline"),
                                 ("stall", "timed-out", "no-data-for-r2t")):
        task = mux.submit(text_request(5), tlvs=deadline_tlv(
            100 if how == "deadline" else 0))
        answer = next_text(mux, task)
        if how == "cancel":
            mux.cancel(task)
            late = mux.submit_data(text_request(5, b"", answer.word5))
            check(mux.answer_to(late).reason in (
                "bad-target-transfer-tag", "no-such-task"), "late request")
        mux.finish(task)
        check_equal((task.outcome.kind, task.outcome.outcome,
                     task.outcome.reason, task.outcome.not_sent),
                    (OUTCOME, outcome, reason, False), how)
        check(exchange(other, 5)[0], "no text")
        check(exchange(mux, 5)[0], "no text")
    rig.wait_idle()


@test("a client's ABORT TASK ends its own exchange")
def aborted():
    odd = Odd()
    mux, other, peer = odd.mux, odd.other, odd.peer
    for response, ends in ((5, False), (0, True), (1, True)):
        task = mux.submit(text_request(5))
        request = peer.receive(TEXT)
        waiting = other.submit(text_request(5))
        abort = mux.submit(tmf(6, ABORT_TASK, 5))
        got = peer.receive(TMF)
        check_equal((got.word5, got.word8), (request.itt, request.cmdsn),
                    "Referenced Task Tag, RefCmdSN")
        peer.respond(got, TMF_RSP, response=response)
        mux.finish(abort)
        check_equal(abort.pdu.response, response, "response")
        if not ends:
            check(not task.done, f"ended with {task.outcome}")
            peer.respond(request, TEXT_RSP, data=b"x")
        mux.finish(task)
        if ends:
            check_equal((task.outcome.outcome, task.outcome.reason),
                        ("aborted", "cancelled"), "outcome")
        peer.respond(peer.receive(TEXT), TEXT_RSP, data=b"y")
        other.finish(waiting)
        odd.idle()


@test("more text than a client is charged for costs the session")
def too_much():
    odd = Odd()
    mux, peer = odd.mux, odd.peer
    task = mux.submit(text_request(5))
    request = peer.receive(TEXT)
    for part in range(8):
        peer.respond(request, TEXT_RSP, data=bytes(8192), flags=MORE,
                     word5=0x71)
        next_text(mux, task)
        mux.submit_data(text_request(5, b"", 0x71))
        request = peer.receive(TEXT)
    peer.respond(request, TEXT_RSP, data=b"x", word5=NONE)
    peer.closed()
    mux.finish(task)
    check_equal((task.outcome.outcome, task.outcome.reason),
                ("unknown", "connection-lost"), "outcome")
    check("text" in mux.event("session-down").text, "why")


@test("a target asks for a negotiation: the session goes on")
def negotiation():
    rig = Rig()
    mux = rig.mux()
    rig.order("hold reads")
    read = mux.start_read(0, 8, itt=1)
    rig.wait_target(lambda c: c["commands"] == 1, "the read")
    rig.order("async 4 0 0 20")
    check_equal(mux.event("async-message").code, 4, "AsyncEvent")
    wait_until(lambda: rig.target.order("sessions")["sessions"][0]["pdus_in"]
               .get("04") == 1, "a Text Request")
    check(exchange(mux, 5)[0], "no text")
    rig.order("release")
    mux.finish(read).good()
    check_equal(rig.stats()["downs"], 0, "downs")
    rig.wait_idle()


def ask_for_negotiation(peer, seconds):
    """Sends the message; the daemon's Text Request."""
    peer.send(ASYNC, NONE, word5=0,
              tail=struct.pack(">BBHHH", 4, 0, 0, 0, seconds))
    request = peer.receive(TEXT)
    check_equal((request.word5, request.flags, request.data, request.lun),
                (NONE, FINAL, b"", 0), "the Text Request")
    return request


@test("a negotiation goes to its end before the next Text Request")
def negotiation_in_rounds():
    odd = Odd()
    mux, peer = odd.mux, odd.peer
    request = ask_for_negotiation(peer, 60)
    task = mux.submit(text_request(5))
    mux.ping()
    peer.quiet()
    peer.respond(request, TEXT_RSP, data=b"X-a=1\0TargetAlias=b\0", flags=0,
                 word5=0x71)
    more = peer.receive(TEXT)
    check_equal((more.itt, more.word5, more.data, more.flags),
                (request.itt, 0x71, b"X-a=NotUnderstood\0", FINAL),
                "the continuation")
    peer.respond(more, TEXT_RSP)
    theirs = peer.receive(TEXT)
    check_equal(theirs.data, b"SendTargets=\0", "the client's request")
    peer.respond(theirs, TEXT_RSP, data=b"one")
    mux.finish(task)
    check_equal(task.pdu.data, b"one", "text")
    odd.idle()


@test("a negotiation that no session can have, or none: a new login")
def negotiation_or_login():
    odd = Odd()
    for seconds, text in ((60, b"MaxRecvDataSegmentLength=512\0"),
                          (60, b"MaxBurstLength=512\0"), (2, None)):
        request = ask_for_negotiation(odd.peer, seconds)
        if text is not None:
            odd.peer.respond(request, TEXT_RSP, data=text)
        odd.peer.receive(LOGOUT)
        odd.peer.socket.close()
        odd.peer = odd.target.login()
        odd.daemon.wait_up("odd")
    odd.idle()


main()
