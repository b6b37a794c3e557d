#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Rejects: whose they are, what they end, and the CmdSN that the target may
or may not have counted."""

import os
import random

from harness import check, check_equal, main, scaled, test
from iscsimuxd import Daemon, session
from muxclient import (ABORT_TASK, LUN_RESET, NONE, NOP_IN, NOP_OUT, REJECT,
                       SCSI, SCSI_RSP, TEST_UNIT_READY, TEXT, TMF, WRITE, Mux,
                       command, data_out, nop_out, text_request, tmf, write16)
from muxrig import Rig
from scripted import Scripted

MODES = ("consume", "gap")


class Odd:
    """A scripted target, a daemon on it, two clients."""

    def __init__(self, window=32):
        self.target = Scripted()
        self.daemon = Daemon(session("odd", self.target.portal,
                                     self.target.iqn, logout_timeout="100ms",
                                     reconnect_interval="100ms"))
        self.peer = self.target.login(window=window)
        self.daemon.wait_up("odd")
        self.mux = Mux(self.daemon, "odd")
        self.other = Mux(self.daemon, "odd")

    def reject(self, request, reason=9, length=48, **fields):
        """Rejects a PDU of the daemon."""
        self.peer.send(REJECT, NONE, request.bhs[:length], response=reason,
                       **fields)

    def stats(self):
        """The session's counters."""
        return self.daemon.call("stats.get", session="odd")["sessions"]["odd"]

    def works(self):
        """A command goes there and back."""
        task = self.mux.submit(command(99, TEST_UNIT_READY))
        self.peer.respond(self.peer.receive(SCSI))
        self.mux.finish(task).good()

    def idle(self):
        """Waits until no tag is in use."""
        self.daemon.wait_session("odd", lambda s: s["tasks"] == 0, "idle")


def rejected(task, pdu, reason):
    """The task must have ended with a Reject that holds the client's PDU."""
    check(task.outcome is None, f"ended with {task.outcome}")
    check_equal((task.pdu.opcode, task.pdu.response, task.pdu.data.hex()),
                (REJECT, reason, pdu[:48].hex()), "the Reject")


@test("a rejected request ends with the Reject, in the client's own terms")
def requests():
    for mode in MODES:
        rig = Rig()
        mux, other = rig.mux(), rig.mux()
        numbers = {"cmdsn": 0x11223344, "expstatsn": 0x55667788}
        for opcode, pdu, plugged in (
                (SCSI, command(5, TEST_UNIT_READY, **numbers), True),
                (SCSI, command(5, write16(0, 1), 512, WRITE, bytes(512),
                               **numbers), True),
                (NOP_OUT, nop_out(5, b"data"), False),
                (NOP_OUT, nop_out(5, b"data", NOP_OUT), True),
                (TEXT, text_request(5), True),
                (TMF, tmf(5, LUN_RESET), False)):
            before = rig.stats()
            rig.order(f"reject-next {opcode:#x} 0x09 {mode}")
            task = mux.run(pdu)
            rejected(task, pdu, 9)
            mux.works()
            other.works()
            after = rig.stats()
            check_equal((after["rejects"] - before["rejects"],
                         after["plugs"] - before["plugs"]),
                        (1, int(plugged and mode == "gap")),
                        f"Rejects and NOP-Outs for {pdu.hex()}")
        check_equal(rig.stats()["downs"], 0, "downs")
        rig.wait_idle()


@test("a rejected ABORT TASK has the client's Referenced Task Tag")
def abort_task():
    rig = Rig()
    mux = rig.mux()
    rig.order("hold reads")
    read = mux.start_read(0, 8, itt=0x77)
    rig.wait_target(lambda c: c["commands"] == 1, "the read")
    rig.order("reject-next 0x02 0x05 consume")
    pdu = tmf(5, ABORT_TASK, 0x77)
    task = mux.run(pdu)
    check_equal(task.pdu.data[:24].hex(), pdu[:24].hex(), "embedded header")
    check(not read.done, "the task ended")
    # The daemon's own: the end of the task is all that is left to wait for.
    rig.order("reject-next 0x02 0x05 consume")
    mux.cancel(read)
    mux.finish(read)
    check_equal((read.outcome.outcome, read.outcome.tmf), ("aborted", 255),
                "outcome")
    rig.wait_tasks(1)
    rig.order("release")
    rig.wait_idle()
    mux.works()


@test("a rejected Data-Out does not end its task")
def data_outs():
    rig = Rig("--initial-r2t", "yes", "--immediate-data", "no")
    mux = rig.mux()
    rig.order("reject-next 0x05 0x02 consume")
    data = os.urandom(4096)
    task = mux.start_write(0, data, manual=True, itt=0x5)
    r2t = mux.wait_r2ts(task)
    pdu = data_out(5, r2t.word5, 0, data)
    mux.submit_data(pdu)
    msg = mux.answer_to(task.cookie)
    while msg.opcode != REJECT:
        msg = mux.answer_to(task.cookie)
    check_equal((msg.response, msg.data.hex()), (2, pdu[:48].hex()),
                "the Reject")
    mux.finish(task)
    check_equal((task.pdu.opcode, task.pdu.status), (SCSI_RSP, 2),
                "the end of the task")
    mux.works()
    rig.wait_idle()


@test("several Rejects at once: the target is asked, then told")
def several():
    for mode in MODES:
        odd = Odd()
        mux, other, peer = odd.mux, odd.other, odd.peer
        tasks = [mux.submit(command(itt, TEST_UNIT_READY))
                 for itt in range(6)]
        requests = [peer.receive(SCSI) for _ in tasks]
        counted = 7 if mode == "consume" else 2
        # The second, the third and the fifth were not to its liking.
        for number in (2, 1, 4):
            odd.reject(requests[number], expcmdsn=counted)
        for number in (1, 2, 4):
            mux.finish(tasks[number])
            rejected(tasks[number], command(number, TEST_UNIT_READY), 9)
        probe = peer.receive(NOP_OUT)
        check_equal((probe.immediate, probe.itt != NONE, probe.word5,
                     probe.cmdsn), (True, True, NONE, 7), "the probe")
        late = other.submit(command(9, TEST_UNIT_READY))
        other.ping()
        peer.quiet()
        check_equal(probe.data, b"", "data of the probe")
        peer.expcmdsn = 7
        peer.respond(probe, NOP_IN, expcmdsn=counted)
        if mode == "gap":
            # CmdSN 2 and 3 first; the target has 4 already, then 5.
            for cmdsn, then in ((2, 3), (3, 5), (5, 7)):
                peer.expcmdsn = cmdsn
                plug = peer.receive(NOP_OUT)
                check_equal((plug.immediate, plug.itt != NONE, plug.word5,
                             plug.cmdsn), (False, True, NONE, cmdsn), "plug")
                peer.quiet(0.02)
                peer.respond(plug, NOP_IN, expcmdsn=then)
            peer.expcmdsn = 7
        got = peer.receive(SCSI)
        for request in (requests[0], requests[3], requests[5], got):
            peer.respond(request)
        for number in (0, 3, 5):
            mux.finish(tasks[number]).good()
        other.finish(late).good()
        check_equal(odd.stats()["plugs"], 3 if mode == "gap" else 0, "plugs")
        odd.works()
        odd.idle()


@test("Rejects of what is not ours are nobody's")
def strangers():
    odd = Odd()
    mux, peer = odd.mux, odd.peer
    task = mux.submit(command(5, TEST_UNIT_READY))
    request = peer.receive()
    for data in (request.bhs[:16] + b"\0\1\2\3" + request.bhs[20:],
                 request.bhs[:16] + b"\xff\xff\xff\xff" + request.bhs[20:],
                 request.bhs[:47], b"", request.bhs[:20]):
        peer.send(REJECT, NONE, data, response=4)
    peer.respond(request)
    mux.finish(task).good()
    odd.works()
    check_equal((odd.stats()["rejects"], odd.stats()["downs"]), (5, 0),
                "Rejects, downs")
    # The numbers of a Reject count: it consumed its StatSN.
    odd.reject(request, statsn=peer.statsn + 1)
    peer.closed()
    check("StatSN" in mux.event("session-down").text, "why")


@test("a Reject of the daemon's own NOP-Out costs the session")
def own_probe():
    odd = Odd()
    mux, peer = odd.mux, odd.peer
    task = mux.submit(command(5, TEST_UNIT_READY))
    odd.reject(peer.receive(SCSI), expcmdsn=1)
    mux.finish(task)
    odd.reject(peer.receive(NOP_OUT), expcmdsn=1)
    peer.closed()
    check("NOP-Out" in mux.event("session-down").text, "why")
    odd.peer = odd.target.login()
    mux.event("session-up")
    odd.works()


@test("a target that rejects everything loses its session")
def everything():
    odd = Odd(window=128)
    mux, peer = odd.mux, odd.peer
    tasks = [mux.submit(command(itt, TEST_UNIT_READY)) for itt in range(70)]
    requests = [peer.receive(SCSI) for _ in tasks]
    for request in requests[:65]:
        odd.reject(request, expcmdsn=1)
    peer.closed()
    mux.finish(*tasks)
    for task in tasks[:64]:
        check_equal(task.pdu.opcode, REJECT, "end")
    for task in tasks[66:]:
        check_equal(task.outcome.outcome, "unknown", "outcome")
    check("rejects everything" in mux.event("session-down").text, "why")
    odd.peer = odd.target.login()
    mux.event("session-up")
    odd.works()


@test("Rejects under load, in both modes of target")
def under_load():
    for mode in MODES:
        rig = Rig()
        rand = random.Random(11)
        muxes = [rig.mux() for _ in range(3)]
        ends = [0, 0]
        for _ in range(scaled(20, 3)):
            tasks = []
            for mux in muxes:
                for number in range(16):
                    tasks.append((mux, rand.choice((
                        lambda m=mux: m.start_read(0, 8),
                        lambda m=mux: m.start_write(0, bytes(4096)),
                        lambda m=mux: m.submit(command(
                            m.itt(), TEST_UNIT_READY))))()))
                    if number == 8 and rand.random() < 0.5:
                        rig.order(f"reject-next 0x01 0x09 {mode}")
                    if rand.random() < 0.1:
                        mux.cancel(tasks[-1][1])
            for mux, task in tasks:
                mux.finish(task)
                if task.outcome is not None:
                    check_equal(task.outcome.outcome, "aborted", "outcome")
                elif task.pdu.opcode == REJECT:
                    ends[1] += 1
                else:
                    task.good()
                    ends[0] += 1
            for mux in muxes:
                mux.ping()
                mux.inbox.clear()
                mux.tasks.clear()
        check(all(ends), f"ends {ends}")
        for mux in muxes:
            mux.works()
        rig.wait_idle()
        check_equal(rig.stats()["downs"], 0, "downs")


main()
