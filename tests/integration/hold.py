#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Clients that attached with HOLD: what they had queued when the session went
down is sent when it is up again, once, or ends once, and as it should.

A relay counts every stamped block on its way to the target.
"""

import signal

from harness import check, check_equal, main, test
from iscsimuxd import Daemon, session
from muxclient import (IMMEDIATE, LUN_RESET, NOP_OUT, OUTCOME, TEST_UNIT_READY,
                       TMF_RSP, WRITE, Mux, command, data_out, deadline_tlv,
                       nop_out, tmf, write16)
from relay import BLOCK, Relay, stamp
from target_client import Target

HOLD = 2
ABORT_TASK = 1
DEPTH = 2


class Case:
    """A target that takes two commands, a relay, a daemon, two clients."""

    def __init__(self, recovery_timeout="60m", **keys):
        self.target = Target("--queue-depth", str(DEPTH))
        self.relay = Relay(self.target.portals[0])
        self.daemon = Daemon(session("ram", self.relay.portal,
                                     self.target.iqn,
                                     recovery_timeout=recovery_timeout,
                                     reconnect_interval="100ms",
                                     reconnect_max="200ms",
                                     default_time2wait="0s"), **keys)
        self.daemon.wait_up("ram")
        self.mux = Mux(self.daemon, "ram", flags=HOLD)
        self.plain = Mux(self.daemon, "ram")
        self.serial = 0
        self.written = []

    def write(self, mux, **options):
        """Starts a write of one block that is like no other."""
        self.serial += 1
        task = mux.start_write(self.serial, stamp(self.serial, 0),
                               immediate=BLOCK, **options)
        task.serial = self.serial
        self.written.append(task)
        return task

    def fill(self):
        """Closes the window: the writes that the target has."""
        self.target.order("hold all")
        sent = [self.write(self.mux) for _ in range(DEPTH)]
        self.daemon.wait_session("ram", lambda shown: shown["window"] == 0,
                                 "to have a closed window")
        for task in sent:
            task.sent = True
        return sent

    def lose(self, sent=()):
        """The target dies, and with it what it had."""
        self.target.kill()
        self.relay.cut()
        down = self.mux.event("session-down")
        check(down.text, "no reason")
        self.plain.event("session-down")
        for task in sent:
            ended(self.mux.finish(task), "unknown", "connection-lost", False)
        self.daemon.wait_down("ram")

    def return_as(self, *options):
        """Another target takes its place; EVENT session-up."""
        self.target = Target(*options)
        self.relay.point_to(self.target.portals[0])
        up = self.mux.event("session-up")
        check_equal(up.generation, 2, "generation")
        self.plain.event("session-up")
        return up

    def waiting(self, count):
        """The session has that many tasks, and nobody heard of them."""
        self.mux.ping()
        check_equal(self.daemon.call("session.show", session="ram")["tasks"],
                    count, "tasks of the session")

    def finish(self):
        """Both clients are still served, and each block was sent once."""
        self.mux.works()
        self.plain.works()
        self.daemon.wait_session("ram", lambda shown: shown["tasks"] == 0,
                                 "to have no tasks")
        self.daemon.wait_call(
            lambda told: all(c["inbound_bytes"] == c["outbound_bytes"] == 0
                             for c in told["clients"]),
            "all charges to be given back", "client.list")
        self.target.check_no_error()
        self.relay.cut()
        for task in self.written:
            sent = getattr(task, "sent", False) or task.pdu is not None
            check_equal(self.relay.stamps[task.serial, 0], 1 if sent else 0,
                        f"times that write {task.serial} was sent")


def ended(task, outcome, reason, not_sent=True):
    """The task must have ended with this OUTCOME; it."""
    check(task.outcome is not None and task.outcome.kind == OUTCOME,
          f"ended with {task.outcome or task.pdu}")
    got = task.outcome
    check_equal((got.outcome, got.reason, got.not_sent),
                (outcome, reason, not_sent), f"outcome ({got.text})")
    return got


@test("the target restarts: what was queued is sent once, in its order")
def restart():
    case = Case()
    sent = case.fill()
    held = [case.write(case.mux) for _ in range(4)]
    lost = [case.write(case.plain) for _ in range(4)]
    case.mux.ping()
    case.plain.ping()
    case.lose(sent)
    for task in lost:
        ended(case.plain.finish(task), "not-sent", "connection-lost")
    held += [case.write(case.mux) for _ in range(3)]
    case.waiting(7)
    # Without HOLD nothing waits, nor does what is about this moment.
    ended(case.plain.finish(case.write(case.plain)), "not-sent",
          "session-down")
    for pdu in (nop_out(case.mux.itt()), tmf(case.mux.itt(), LUN_RESET)):
        check(pdu[0] & IMMEDIATE, "no immediate")
        ended(case.mux.run(pdu), "not-sent", "session-down")
    ping = case.mux.submit(nop_out(case.mux.itt(), opcode=NOP_OUT))
    up = case.return_as("--queue-depth", str(DEPTH))
    check(up.first_burst > 0, "no limits")
    case.mux.finish(ping, *held)
    for task in held:
        task.good()
        check_equal(case.mux.read(task.serial, 1), stamp(task.serial, 0),
                    "what was written")
    check("held requests go on" in case.daemon.log(), "no line in the log")
    case.finish()


@test("the target does not come back in time")
def time_is_over():
    case = Case(recovery_timeout="500ms")
    sent = case.fill()
    held = [case.write(case.mux) for _ in range(4)]
    case.mux.ping()
    case.lose(sent)
    for task in held:
        got = ended(case.mux.finish(task), "not-sent", "session-down")
        check("recovery-timeout" in got.text, got.text)
    ended(case.mux.finish(case.write(case.mux)), "not-sent", "session-down")
    case.return_as()
    case.finish()


@test("the target comes back with other limits")
def other_limits():
    case = Case()
    sent = case.fill()
    big = case.mux.start_write(100, bytes(4 * BLOCK), immediate=4 * BLOCK)
    held = [case.write(case.mux) for _ in range(2)]
    case.mux.ping()
    case.lose(sent)
    up = case.return_as("--first-burst", str(BLOCK))
    check_equal(up.first_burst, BLOCK, "FirstBurstLength")
    got = ended(case.mux.finish(big), "refused", "data-limit")
    check("other limits" in got.text and "FirstBurstLength" in got.text,
          got.text)
    case.mux.finish(*held)
    for task in held:
        task.good()
    case.finish()


@test("CANCEL, ABORT TASK, deadlines and death while the session is down")
def ends():
    case = Case()
    sent = case.fill()
    case.lose(sent)
    held = [case.write(case.mux) for _ in range(4)]
    late = case.write(case.mux, tlvs=deadline_tlv(200))
    ended(case.mux.finish(late), "timed-out", "deadline")
    case.mux.cancel(held[0])
    ended(case.mux.finish(held[0]), "aborted", "cancelled")
    abort = case.mux.run(tmf(case.mux.itt(), ABORT_TASK, held[1].itt))
    check_equal((abort.pdu.opcode, abort.pdu.response), (TMF_RSP, 0),
                "response to ABORT TASK")
    ended(case.mux.finish(held[1]), "aborted", "cancelled")
    case.waiting(2)
    dying = Mux(case.daemon, "ram", flags=HOLD)
    for _ in range(3):
        case.write(dying)
    dying.ping()
    case.waiting(5)
    dying.close()
    case.daemon.wait_session("ram", lambda shown: shown["tasks"] == 2,
                             "to have the tasks of the living")
    case.return_as()
    case.mux.finish(*held[2:])
    for task in held[2:]:
        task.good()
    case.finish()


@test("an admin stops the session meanwhile, or removes it")
def stopped():
    for method in ("session.logout", "session.remove"):
        case = Case()
        case.lose(case.fill())
        held = [case.write(case.mux) for _ in range(2)]
        case.mux.ping()
        case.daemon.call(method, session="ram")
        for task in held:
            ended(case.mux.finish(task), "not-sent", "connection-lost")
        if method == "session.logout":
            ended(case.mux.finish(case.write(case.mux)), "not-sent",
                  "session-down")


@test("the daemon does not wait for them to stop")
def drained():
    case = Case(drain_timeout="60m")
    case.lose(case.fill())
    held = [case.write(case.mux) for _ in range(2)]
    case.mux.ping()
    case.daemon.signal(signal.SIGTERM)
    for task in held:
        got = ended(case.mux.finish(task), "not-sent", "session-down")
        check("draining" in got.text, got.text)
    case.daemon.expect_exit(0)


@test("data for an R2T of the connection that is lost is an ERROR")
def old_data():
    case = Case()
    out = bytes(4 * BLOCK)
    tasks = [(mux, mux.start_write(0, out, manual=True))
             for mux in (case.mux, case.plain)]
    asked = [mux.wait_r2ts(task) for mux, task in tasks]
    case.lose()
    for mux, task in tasks:
        ended(mux.finish(task), "unknown", "connection-lost", False)
    pdus = [data_out(task.itt, r2t.word5, 0, out)
            for (_, task), r2t in zip(tasks, asked)]
    for (mux, _), pdu in zip(tasks, pdus):
        mux.data_error(pdu, "no-such-task")
    case.return_as()
    for (mux, task), pdu in zip(tasks, pdus):
        mux.data_error(pdu, "no-such-task")
        # Nor does a new task with that tag want it unasked.
        again = mux.submit(command(task.itt, write16(0, 4), len(out), WRITE))
        fresh = mux.wait_r2ts(again)
        if fresh.word5 != int.from_bytes(pdu[20:24], "big"):
            mux.data_error(pdu, "bad-target-transfer-tag")
        mux.submit_data(data_out(again.itt, fresh.word5, 0, out))
        mux.finish(again).good()
    case.finish()


@test("the unsolicited data of a write wait with it")
def burst():
    case = Case()
    sent = case.fill()
    data = b"".join(stamp(900 + i, 0) for i in range(4))
    itt = case.mux.itt()
    task = case.mux.submit(command(itt, write16(900, 4), len(data), WRITE,
                                   data[:BLOCK], final=False))
    case.mux.submit_data(data_out(itt, 0xffffffff, BLOCK,
                                  data[BLOCK:2 * BLOCK], 0, False))
    case.mux.ping()
    case.lose(sent)
    case.mux.submit_data(data_out(itt, 0xffffffff, 2 * BLOCK,
                                  data[2 * BLOCK:3 * BLOCK], 1, False))
    case.return_as()
    case.mux.submit_data(data_out(itt, 0xffffffff, 3 * BLOCK,
                                  data[3 * BLOCK:], 2, True))
    case.mux.finish(task).good()
    check_equal(case.mux.read(900, 4), data, "what was written")
    for i in range(4):
        check_equal(case.relay.stamps[900 + i, 0], 1, "times it was sent")
    case.finish()


if __name__ == "__main__":
    main()
