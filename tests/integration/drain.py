#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""daemon.drain and SIGTERM: open tasks may end, and nothing new begins."""

import signal
import time

from harness import check, check_equal, check_since, main, test
from iscsimuxd import RpcError
from muxclient import (ABORT_TASK, ERROR, GOODBYE, OUTCOME, TEST_UNIT_READY,
                       Mux, command, tmf)
from muxrig import Rig
from rawclient import Raw

LONG = 3600000


def held(reads=2, **keys):
    """A rig with so many reads that its target holds, and their client."""
    rig = Rig(**keys)
    rig.order("hold reads")
    mux = rig.mux()
    tasks = [mux.start_read(0, 8) for _ in range(reads)]
    rig.wait_target(lambda c: c["commands"] == reads, "the reads")
    return rig, mux, tasks


def said_goodbye(mux):
    """The last frame must be GOODBYE shutting-down."""
    last = mux.farewell()[-1]
    check_equal((last.kind, last.reason), (GOODBYE, "shutting-down"),
                "the last frame")


def ended(task, outcome):
    """The task must have ended so, for the daemon stopped."""
    check(task.done and task.outcome is not None, "no outcome")
    check_equal((task.outcome.kind, task.outcome.outcome,
                 task.outcome.reason), (OUTCOME, outcome, "shutting-down"),
                "how it ended")


@test("open tasks end, and meanwhile nothing new begins")
def drain():
    """Then goodbye, Logout, and exit status 0."""
    rig, mux, tasks = held()
    daemon, control = rig.daemon, rig.daemon.control()
    idle, raw = Mux(daemon), Raw(daemon)
    check_equal(control.call("daemon.drain", timeout_ms=LONG),
                {"draining": True}, "answer")
    told = control.call("daemon.info")
    check_equal((told["draining"], told["stopping"]), (True, False), "info")
    mux.refused(command(mux.itt(), TEST_UNIT_READY), "shutting-down")
    for answer in (idle.attach("ram"), raw.open(rig.target.portals[0])):
        check_equal((answer.kind, answer.reason), (ERROR, "shutting-down"),
                    "ATTACH, OPEN")
    said_goodbye(Mux(daemon, raw=True))
    for method, params in (("config.reload", {}),
                           ("session.login", {"session": "ram"}),
                           ("session.add", {"session": "new", "config": {
                               "portal": "127.0.0.1",
                               "target": rig.target.iqn}})):
        try:
            control.call(method, **params)
            raise AssertionError(f"{method} was not refused")
        except RpcError as error:
            check_equal(error.code, -32001, f"{method}: {error}")
    check(daemon.alive(), "the daemon did not wait")
    rig.order("hold none")
    rig.order("release")
    mux.finish(*tasks)
    for task in tasks:
        task.good()
    for client in (mux, idle):
        said_goodbye(client)
    daemon.expect_exit(0)
    check_equal(rig.target.counters()["logouts"], 1, "Logout Requests")


@test("a client may abort what the daemon waits for")
def abort():
    """Task management is let through."""
    rig, mux, (task,) = held(1)
    rig.daemon.call("daemon.drain", timeout_ms=LONG)
    done = mux.run(tmf(mux.itt(), ABORT_TASK, task.itt))
    check_equal((done.pdu is not None and done.pdu.response), 0, "response")
    rig.daemon.expect_exit(0)


@test("when the time is over the daemon stops with tasks open")
def timeout():
    """iscsimuxctl, and a second one that sets another end."""
    for first in (None, "3600"):
        rig, mux, tasks = held()
        if first:
            done = rig.daemon.iscsimuxctl("drain", first)
            check("draining" in done.stdout, done.stdout)
        start = time.monotonic()
        rig.daemon.iscsimuxctl("drain", "0.2")
        said_goodbye(mux)
        check_since(start, 0.2)
        for task in tasks:
            ended(task, "unknown")
        rig.daemon.expect_exit(0)
        check("2 tasks are still open" in rig.daemon.log(), "no such line")
    done = rig.daemon.iscsimuxctl("drain", "soon", check_status=2)
    check("no time in seconds: soon" in done.stderr, done.stderr)


@test("SIGTERM drains for drain-timeout, a second one does not wait")
def sigterm():
    """Without open tasks the first one does not wait, either."""
    rig, mux, tasks = held(drain_timeout="60m")
    rig.daemon.signal(signal.SIGTERM)
    rig.daemon.wait_line("draining: 2 open tasks have 3600000 ms")
    mux.refused(command(mux.itt(), TEST_UNIT_READY), "shutting-down")
    check(not any(task.done for task in tasks), "a task has ended")
    rig.daemon.signal(signal.SIGHUP)
    rig.daemon.wait_line("SIGHUP: the daemon is stopping")
    rig.daemon.signal(signal.SIGTERM)
    rig.daemon.expect_exit(1)
    check("without Logout" in rig.daemon.log(), "no such line")
    rig = Rig(drain_timeout="60m")
    rig.mux().works()
    rig.daemon.signal(signal.SIGTERM)
    rig.daemon.expect_exit(0)


@test("the first SIGTERM in a drain that was asked for is no second one")
def sigterm_in_a_drain():
    """It waits for drain-timeout, or for less if the drain ends earlier."""
    for asked, keys in ((LONG, {"drain_timeout": "200ms"}),
                        (300, {"drain_timeout": "60m"})):
        rig, mux, tasks = held(**keys)
        rig.daemon.call("daemon.drain", timeout_ms=asked)
        rig.daemon.signal(signal.SIGTERM)
        said_goodbye(mux)
        for task in tasks:
            ended(task, "unknown")
        rig.daemon.expect_exit(0)
        check_equal(rig.target.counters()["logouts"], 1, "Logout Requests")
    rig, mux, tasks = held(drain_timeout="60m")
    rig.daemon.call("daemon.drain", timeout_ms=LONG)
    rig.daemon.signal(signal.SIGTERM)
    rig.daemon.wait_line("draining: 2 open tasks", count=2)
    rig.daemon.signal(signal.SIGTERM)
    rig.daemon.expect_exit(1)


@test("daemon.stop ends a drain")
def stop():
    """With Logout."""
    rig, mux, tasks = held()
    control = rig.daemon.control()
    control.call("daemon.drain", timeout_ms=LONG)
    control.call("daemon.stop")
    said_goodbye(mux)
    for task in tasks:
        ended(task, "unknown")
    rig.daemon.expect_exit(0)
    check_equal(rig.target.counters()["logouts"], 1, "Logout Requests")


if __name__ == "__main__":
    main()
