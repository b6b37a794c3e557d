#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Whose is a PDU of a raw connection: expectations, free tags, what nobody
waits for, and a client that does not read."""

import os
import time

from harness import (check, check_equal, check_since, main, scaled, test,
                     wait_until)
from iscsimuxd import session
from muxclient import (DATA_IN, ERROR, EVENT, FINAL, LOGOUT, NONE, NOP_IN,
                       NOP_OUT, OK, PDU, R2T, REJECT, SCSI, SCSI_RSP,
                       TEST_UNIT_READY, TEXT, TEXT_RSP, TMF_RSP,
                       WANT_UNSOLICITED, Mux, bhs, command, data_out, nop_out,
                       read16, text_request, tlv, tmf)
from rawclient import FREE_ITT, LOGOUT_RSP, Raw, expect_tlv
from rawrig import OddRig, RamRig, same

DEPTH = 64
IN_ALL = 32 << 20


def logged_in(**keys):
    """A rig whose raw connection is logged in."""
    return OddRig(**keys).connect().login()


# --- Expectations

@test("none: sent, and its cookie bears nothing")
def expect_none():
    odd = logged_in()
    for pdu in (command(9, TEST_UNIT_READY), nop_out(9), text_request(9),
                tmf(9, 5), bhs(LOGOUT, itt=9), bhs(0x10, itt=9)):
        odd.raw.put(pdu)
        request = odd.peer.receive()
        check_equal(odd.raw.settled().pending, 0, "pending")
        odd.peer.respond(request, SCSI_RSP)
        msg = odd.raw.unsolicited(SCSI_RSP, unmatched=True)
        check_equal(msg.itt, 9, "ITT of what nobody waits for")
        check_equal(odd.raw.state().live, 0, "live tasks")


@test("one: the first PDU with its tag is the end, whatever it is")
def expect_one():
    odd = logged_in()
    for itt, opcode in enumerate((SCSI_RSP, DATA_IN, R2T, NOP_IN, TEXT_RSP,
                                  TMF_RSP, 0x3c, 0x23, LOGOUT_RSP)):
        task = odd.raw.submit(command(itt, TEST_UNIT_READY), expect="one")
        request = odd.peer.receive(SCSI)
        odd.peer.send(opcode, request.itt, flags=0)
        odd.peer.send(opcode, request.itt, flags=0)
        odd.raw.finish(task)
        check_equal((len(task.pdus), task.pdu.opcode), (1, opcode), "PDUs")
        odd.raw.unsolicited(opcode, unmatched=True)
        check_equal(odd.raw.state().pending, 0, "pending")


@test("many: all up to the last PDU of the task, for each kind")
def expect_many():
    odd = logged_in()
    middle = {SCSI: ((DATA_IN, 0), (R2T, FINAL), (DATA_IN, FINAL),
                     (0x3c, FINAL)),
              TEXT: ((TEXT_RSP, 0x40), (TEXT_RSP, 0)),
              0x1c: ((DATA_IN, 0), (0x3c, FINAL))}
    for pdu, last, flags in (
            (command(9, TEST_UNIT_READY), SCSI_RSP, FINAL),
            (command(9, TEST_UNIT_READY), DATA_IN, FINAL | 1),
            (nop_out(9), NOP_IN, FINAL), (tmf(9, 5), TMF_RSP, FINAL),
            (text_request(9), TEXT_RSP, FINAL),
            (bhs(LOGOUT, itt=9), LOGOUT_RSP, FINAL),
            (bhs(0x1c, itt=9), SCSI_RSP, FINAL)):
        for expect in ("many", None if pdu[0] & 0x3f < 0x10 else "many"):
            task = odd.raw.submit(pdu, expect=expect)
            request = odd.peer.receive()
            steps = middle.get(request.opcode, ())
            for opcode, step_flags in steps:
                odd.peer.send(opcode, 9, flags=step_flags, consume=False)
            check_equal(odd.raw.state().pending, 1, "pending")
            odd.peer.send(last, 9, flags=flags)
            odd.raw.finish(task)
            check_equal([each.opcode for each in task.pdus],
                        [each for each, _ in steps] + [last], "PDUs")
            odd.peer.send(last, 9, flags=flags)
            odd.raw.unsolicited(last, unmatched=True)


@test("without the TLV a request opens a task, a continuation does not")
def expect_auto():
    odd = logged_in()
    raw, peer = odd.raw, odd.peer
    task = raw.submit(text_request(9, b"SendTargets=All\0"))
    peer.receive(TEXT)
    peer.send(TEXT_RSP, 9, b"x", flags=0, word5=5)
    # The same tag again: belongs to the open task, as data for an R2T does.
    raw.put(text_request(9, b"", 5), expect=None)
    peer.receive(TEXT)
    raw.put(data_out(9, 5, 0, b"data"), expect=None)
    peer.receive(5)
    raw.put(command(9, TEST_UNIT_READY), expect=None)
    peer.receive(SCSI)
    raw.put(nop_out(NONE), expect=None)
    peer.receive(NOP_OUT, acks=True)
    check_equal(raw.state().pending, 1, "pending")
    peer.send(TEXT_RSP, 9, b"y")
    raw.finish(task)
    check_equal([each.data for each in task.pdus], [b"x", b"y"], "texts")


@test("a reserved tag and that of an open task open nothing")
def bad_tags():
    odd = logged_in()
    raw, peer = odd.raw, odd.peer
    task = raw.submit(command(9, TEST_UNIT_READY))
    peer.receive(SCSI)
    for expect in ("one", "many"):
        for pdu in (command(9, TEST_UNIT_READY), nop_out(9),
                    data_out(9, 1, 0, b"data"), command(NONE, b"\0"),
                    nop_out(NONE)):
            raw.refused(pdu, "bad-initiator-task-tag", expect=expect,
                        literal=True)
    peer.quiet()
    peer.send(SCSI_RSP, 9, word5=0)
    raw.finish(task)
    for bad in (tlv(2, b"\0"), tlv(2, b"\4"), tlv(2, b""), tlv(2, b"\1\1"),
                tlv(3, b"\0"), tlv(4, bytes(8)), tlv(4, b"\4" + bytes(8)),
                tlv(5, bytes(16)), tlv(1, bytes(3)),
                expect_tlv("one") + expect_tlv("one"), FREE_ITT * 2):
        raw.error(raw.put(command(9, TEST_UNIT_READY), literal=True,
                          expect=None, tlvs=bad), "bad-payload")
    peer.quiet()
    task = raw.submit(command(9, TEST_UNIT_READY), tlvs=tlv(0x8003, b"?"))
    peer.respond(peer.receive(SCSI))
    raw.finish(task)


@test("those TLVs are not for a session")
def not_on_a_session():
    here = RamRig()
    other = OddRig(session("disk", here.portal, here.target.iqn))
    other.daemon.wait_up("disk")
    raw = Raw(other.daemon)
    raw.attach("disk")
    raw.shared = True
    for bad in (expect_tlv("one"), expect_tlv("none"), FREE_ITT,
                tlv(4, b"\1" + bytes(8))):
        task = raw.submit(command(9, TEST_UNIT_READY), tlvs=bad)
        raw.finish(task)
        check(task.outcome.kind == ERROR and task.outcome.reason in
              ("bad-payload", "not-supported"), f"TLV {bad.hex()}: {task}")
    raw.works()


@test("a tag that nobody waits for is the client's to use anew")
def tag_again():
    odd = logged_in()
    raw, peer = odd.raw, odd.peer

    def one():
        task = raw.submit(command(9, TEST_UNIT_READY), expect="one")
        peer.receive(SCSI)
        peer.send(DATA_IN, 9, flags=0, consume=False)
        raw.finish(task)

    def none():
        raw.put(command(9, TEST_UNIT_READY))
        peer.receive(SCSI)

    def cancelled():
        task = raw.submit(command(9, TEST_UNIT_READY))
        peer.receive(SCSI)
        raw.cancel(task)
        raw.finish(task)

    for before in (one, none, cancelled):
        for expect in ("one", "many", None):
            before()
            task = raw.submit(command(9, TEST_UNIT_READY), expect=expect)
            peer.respond(peer.receive(SCSI))
            raw.finish(task).good()
            check_equal((raw.state().pending, raw.state().live), (0, 0),
                        "pending, live")


# --- Free tags

@test("a free tag is told first, is nobody's, and is on the wire")
def free_tags():
    odd = logged_in()
    raw, peer = odd.raw, odd.peer
    mine = [raw.submit(command(itt, TEST_UNIT_READY)) for itt in range(8)]
    free = [raw.submit(command(3, TEST_UNIT_READY), free=True)
            for _ in range(scaled(600, 100))]
    wire_tags = [peer.receive(SCSI).itt for _ in mine + free]
    raw.ping()
    check_equal(wire_tags, [task.itt for task in mine + free],
                "tags on the wire, as told")
    check_equal(len(set(wire_tags)), len(wire_tags), "different tags")
    check(NONE not in wire_tags, "the reserved tag")
    # Some end, their tags may come again, those that live may not.
    for task in free[::2]:
        peer.send(SCSI_RSP, task.itt, word5=0)
    raw.finish(*free[::2])
    live = {task.itt for task in mine + free[1::2]}
    again = [raw.submit(command(0, TEST_UNIT_READY), free=True)
             for _ in range(300)]
    for task in again:
        check(peer.receive(SCSI).itt not in live, "the tag of a live task")
    for task in mine + free[1::2] + again:
        raw.receive_tag(task)
        peer.send(SCSI_RSP, task.itt, word5=0)
    raw.finish()
    check_equal(raw.state().pending, 0, "pending")


@test("a cancelled task's tag is not given to another while it is answered")
def free_tag_after_cancel():
    odd = logged_in()
    raw, peer = odd.raw, odd.peer
    task = raw.submit(command(0, TEST_UNIT_READY), free=True)
    tag = peer.receive(SCSI).itt
    check_equal(raw.expect(OK, raw.cancel(task)).kind, OK, "CANCEL")
    raw.finish(task)
    for _ in range(100):
        raw.submit(command(0, TEST_UNIT_READY), free=True)
        check(peer.receive(SCSI).itt != tag, "the tag of a live task")
    peer.send(SCSI_RSP, tag, word5=0)
    raw.unsolicited(SCSI_RSP, unmatched=True)


@test("a free tag for what expects nothing is told all the same")
def free_tag_of_none():
    odd = logged_in()
    task = odd.raw.submit(nop_out(7), free=True, expect="one")
    check_equal(odd.peer.receive(NOP_OUT).itt, odd.raw.receive_tag(task),
                "tag on the wire")
    cookie = odd.raw.put(nop_out(7), free=True, expect="none")
    request = odd.peer.receive(NOP_OUT)
    told = odd.raw.answer_to(cookie)
    check_equal(told.itt, request.itt, "tag on the wire")
    check(request.itt not in (NONE, task.itt), "a tag that is not free")


# --- CANCEL, deadlines

@test("CANCEL only stops the waiting")
def cancel():
    odd = logged_in()
    raw, peer = odd.raw, odd.peer
    for by_itt in (False, True):
        task = raw.submit(command(9, TEST_UNIT_READY))
        peer.receive(SCSI)
        cookie = raw.cancel(itt=9) if by_itt else raw.cancel(task)
        check_equal(raw.expect(OK, cookie).kind, OK, "CANCEL")
        raw.finish(task)
        check_equal((task.outcome.outcome, task.outcome.reason,
                     task.outcome.not_sent, task.outcome.tmf),
                    ("aborted", "cancelled", False, 0xff), "outcome")
        peer.quiet()
        told = raw.state()
        check_equal((told.pending, told.live), (0, 1), "pending, live")
        raw.error(raw.cancel(task), "no-such-task")
        raw.error(raw.cancel(itt=9), "no-such-task")
        peer.send(DATA_IN, 9, b"data", flags=0, consume=False)
        raw.unsolicited(DATA_IN, unmatched=True)
        check_equal(raw.state().live, 1, "live")
        peer.send(SCSI_RSP, 9, word5=0)
        raw.unsolicited(SCSI_RSP, unmatched=True)
        check_equal(raw.state().live, 0, "live")


@test("a deadline ends the waiting, its own or that of OPEN")
def deadlines():
    odd = OddRig()
    odd.connect(deadline=20000).login()
    raw, peer = odd.raw, odd.peer
    start = time.monotonic()
    task = raw.submit(command(9, TEST_UNIT_READY), deadline=80)
    patient = raw.submit(command(10, TEST_UNIT_READY))
    for _ in range(2):
        peer.receive(SCSI)
    raw.finish(task)
    check_since(start, 0.08)
    check_equal((task.outcome.outcome, task.outcome.reason),
                ("timed-out", "deadline"), "outcome")
    peer.quiet()
    peer.send(SCSI_RSP, 9, word5=0)
    raw.unsolicited(SCSI_RSP, unmatched=True)
    peer.send(SCSI_RSP, 10, word5=0)
    raw.finish(patient)
    check_equal(patient.outcome, None, "the other")
    raw.close()
    odd.connect().login()
    odd.raw.shut()
    odd.connect(odd.raw, deadline=60)
    task = odd.raw.login_request(odd.target.iqn)
    odd.peer.receive()
    odd.raw.finish(task)
    check_equal(task.outcome.outcome, "timed-out", "the deadline of OPEN")


@test("what was not sent when it is cancelled is sent all the same")
def cancel_unsent():
    odd = logged_in()
    raw, peer = odd.raw, odd.peer
    tasks = [raw.submit(command(i, b"\x8a", 1 << 18, 0x20, bytes(1 << 18)))
             for i in range(40)]
    wait_until(lambda: raw.state().unsent > 1 << 20, "unsent bytes")
    raw.cancel(tasks[-1])
    raw.finish(tasks[-1])
    check_equal(tasks[-1].outcome.outcome, "aborted", "outcome")
    for task in tasks:
        check_equal(peer.receive(SCSI).itt, task.itt, "ITT")
    peer.send(SCSI_RSP, tasks[-1].itt, word5=0)
    raw.unsolicited(SCSI_RSP, unmatched=True)


# --- Rejects and unsolicited PDUs

@test("a Reject goes to the task that its header names")
def rejects():
    odd = logged_in()
    raw, peer = odd.raw, odd.peer
    task = raw.submit(command(9, TEST_UNIT_READY))
    request = peer.receive(SCSI)
    # Of a Data-Out of the task: it goes on.
    peer.send(REJECT, NONE, data_out(9, 1, 0, b"")[:48], response=9)
    check_equal(raw.answer_to(task.cookie).opcode, REJECT, "opcode")
    check(not task.done, "a Reject of data ended the task")
    # Of somebody's else: nobody's.
    peer.send(REJECT, NONE, bhs(SCSI, itt=10), response=9)
    raw.unsolicited(REJECT)
    # Too short to tell whose.
    peer.send(REJECT, NONE, request.bhs[:47], response=9)
    raw.unsolicited(REJECT)
    peer.send(REJECT, NONE, request.bhs, response=4)
    raw.finish(task)
    check_equal((task.pdu.opcode, task.pdu.data), (REJECT, request.bhs),
                "the end")
    check_equal(raw.state().live, 0, "live")


@test("PDUs with the reserved tag come to whom asked, else are counted")
def unsolicited():
    for events, wanted in ((NONE, True), (WANT_UNSOLICITED, True),
                           (NONE & ~WANT_UNSOLICITED, False), (0, False)):
        odd = OddRig().connect(events=events).login()
        kinds = (NOP_IN, 0x32, REJECT)
        for i in range(60):
            odd.peer.send(kinds[i % 3], NONE, bytes(48) if i % 3 == 2 else
                          b"", word5=i, tail=bytes([0, 0, 0, 0, 255]))
        odd.peer.send(SCSI_RSP, 5, word5=0)
        if wanted:
            for i in range(60):
                msg = odd.raw.unsolicited(kinds[i % 3])
                check_equal(msg.word5, i, "the order")
        # Bit 8 says nothing of PDUs that have a tag.
        odd.raw.unsolicited(SCSI_RSP, unmatched=True)
        odd.raw.ping()
        check_equal([msg for msg in odd.raw.inbox if msg.kind == PDU], [],
                    "PDUs")
        check(not odd.peer.closed_now(), "the connection is gone")
        told = odd.control.call("client.list")["clients"]
        check_equal([each["unwanted_pdus"] for each in told],
                    [0 if wanted else 60], "PDUs counted as not wanted")


@test("on a session a copy goes to each client that asked, and to no other")
def unsolicited_shared():
    here = RamRig()
    other = OddRig(session("disk", here.portal, here.target.iqn))
    other.daemon.wait_up("disk")
    asks = Mux(other.daemon, "disk", events=WANT_UNSOLICITED)
    also = Mux(other.daemon, "disk", events=NONE)
    silent = Mux(other.daemon, "disk", events=NONE & ~WANT_UNSOLICITED)
    for _ in range(2):
        here.order("ping")
    here.order("async 255 1 2 3")
    for mux in (asks, also):
        for opcode in (NOP_IN, NOP_IN, 0x32):
            msg = mux._next(lambda msg: msg.kind == PDU, "a copy")
            check_equal((msg.opcode, msg.cookie, msg.flags), (opcode, 0, 0),
                        "copy")
        mux.works()
    silent.works()
    check_equal([msg.kind for msg in silent.inbox if msg.kind == PDU], [],
                "PDUs of who did not ask")
    check_equal(also.event("async-message").code, 255, "the event")
    check_equal([msg for msg in asks.inbox if msg.kind == EVENT], [],
                "events of who asked for PDUs alone")


# --- A client that does not read

class Flood:
    """Sends a PDU again and again, as fast as the daemon reads."""

    def __init__(self, peer, pdu):
        self.peer = peer
        self.pdu = pdu
        self.sent = 0
        self.rest = b""
        peer.socket.setblocking(False)

    def push(self, limit):
        """Sends up to limit PDUs in all; whether the socket is full."""
        while self.sent < limit or self.rest:
            if not self.rest:
                self.rest = memoryview(self.pdu)
                self.sent += 1
            try:
                self.rest = self.rest[self.peer.socket.send(self.rest):]
            except BlockingIOError:
                return True
        return False

    def stuck(self, limit, works):
        """Pushes until the daemon takes no more; how many went out.

        works() has a round trip with the daemon between two tries: a socket
        that is as full after some of them is one that nobody reads.
        """
        still = 0
        while still < 20:
            before = self.sent, len(self.rest)
            check(self.push(limit), f"the daemon takes all of {self.sent}")
            works()
            still = still + 1 if (self.sent, len(self.rest)) == before else 0
        return self.sent


def bystander(odd):
    """Another client with a connection to a target of its own."""
    other = RamRig()
    raw = Raw(odd.daemon, other.portal, name="bystander")
    raw.login(other.target.iqn)
    raw.works()
    return raw


def stop_reading(odd, pdu, task, limit, room):
    """Floods; checks the limit, the bystander and that it goes on."""
    other = bystander(odd)
    flood = Flood(odd.peer, pdu)
    sent = flood.stuck(limit, other.works)
    check(odd.held() <= room, f"the daemon holds {odd.held()} bytes")
    other.write(0, bytes(65536))
    # It goes on, whole and in order, when the client reads.
    got = 0
    while got < sent:
        flood.push(sent)
        msg = odd.raw.receive(timeout=0.01)
        if msg is not None and msg.kind == PDU:
            check_equal(msg.cookie, task.cookie if task else 0, "cookie")
            same(msg.payload, pdu, "a PDU that waited")
            got += 1
    odd.peer.socket.setblocking(True)
    return sent


@test("64 PDUs of a task that nobody reads stop the connection, not others")
def depth_of_task():
    odd = logged_in()
    task = odd.raw.submit(command(9, read16(0, 1), 8192, 0x40))
    odd.peer.receive(SCSI)
    # 8 KiB each: the socket of the client holds few of them.
    data = os.urandom(8192)
    head = odd.peer.pdu(DATA_IN, 9, b"", flags=0, consume=False, length=8192)
    sent = stop_reading(odd, head + data, task, 4000, 4 << 20)
    check(sent > DEPTH, f"only {sent} PDUs were taken")
    odd.peer.send(SCSI_RSP, 9, word5=0)
    odd.raw.finish(task)


@test("64 PDUs of no task, too")
def depth_of_none():
    odd = logged_in()
    data = os.urandom(8192)
    for itt in (NONE, 77):
        head = odd.peer.pdu(NOP_IN, itt, b"", consume=False, length=8192)
        sent = stop_reading(odd, head + data, None, 4000, 4 << 20)
        check(sent > DEPTH, f"only {sent} PDUs were taken")


@test("32 MiB in all stop the connection, whatever the tasks")
def bytes_in_all():
    odd = OddRig().connect().login("MaxRecvDataSegmentLength=1048576")
    other = bystander(odd)
    raw, peer = odd.raw, odd.peer
    tasks = [raw.submit(command(i, read16(0, 1), 1 << 20, 0x40))
             for i in range(100)]
    for _ in tasks:
        peer.receive(SCSI)
    data = os.urandom(1 << 20)
    stream = b"".join(peer.pdu(DATA_IN, i, b"", flags=0, consume=False,
                               length=1 << 20) + data for i in range(100))
    flood = Flood(peer, stream)
    flood.stuck(1, other.works)
    taken = len(stream) - len(flood.rest)
    check(taken >= 24 << 20, f"it stopped after {taken} bytes")
    check(odd.held() <= IN_ALL + (8 << 20), f"it holds {odd.held()} bytes")
    other.works()
    got = 0
    while got < len(tasks):
        flood.push(1)
        msg = raw.receive(timeout=0.01)
        if msg is not None and msg.kind == PDU:
            check_equal((msg.itt, len(msg.data)), (got, 1 << 20), "PDU")
            check(msg.data == data, "data")
            got += 1
    peer.socket.setblocking(True)
    raw.shut()


@test("a client that is closed with all that waiting leaves nothing")
def nothing_left():
    odd = logged_in()
    task = odd.raw.submit(command(9, read16(0, 1), 8192, 0x40))
    odd.peer.receive(SCSI)
    other = bystander(odd)
    head = odd.peer.pdu(DATA_IN, 9, b"", flags=0, consume=False, length=8192)
    Flood(odd.peer, head + bytes(8192)).stuck(4000, other.works)
    check(odd.held() > 0, "nothing is held")
    odd.raw.close()
    odd.peer.socket.setblocking(True)
    odd.peer.closed()
    other.works()
    other.close()
    odd.wait_clean()
    check(not task.done, "who read the end?")


@test("no tasks, slabs, descriptors are left of many clients")
def no_leak():
    here = RamRig()
    first = here.descriptors()
    for i in range(scaled(50, 10)):
        raw = here.raw()
        tasks = [raw.submit(command(0, TEST_UNIT_READY), free=True)
                 for _ in range(16)]
        if i % 3 == 0:
            raw.finish()
        elif i % 3 == 1:
            raw.shut()
            for task in tasks:
                check_equal(task.done, True, "every task has its end")
        raw.close()
    wait_until(lambda: here.descriptors() == first, "descriptors back")
    here.wait_clean()


main()
