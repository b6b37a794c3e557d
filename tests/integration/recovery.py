#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Targets that die under load: what their clients are told, and what is sent.

Four clients write and read all the time, through a relay that sees every PDU.
The target is killed and set up anew again and again, or the connection is cut
or frozen. Every task has one end, which is true; no write is sent twice; the
session comes back and no client has to attach again.
"""

import time

from harness import (PATIENCE, check, check_equal, main, scaled, test,
                     wait_until)
from iscsimuxd import Daemon, session
from recovery_load import Load
from relay import Relay
from target_client import Target
from targets import Istgt, Tgt

RETRY = "100ms"
BACK = 5
# Seconds from a target that is there again to a session that is up: a retry,
# and a login on a busy machine.
DIGESTS = {"header_digest": "CRC32C", "data_digest": "CRC32C"}


class Case:
    """A target, by way of a relay; a daemon; a load on it."""

    def __init__(self, portal, iqn, keys=None, **load):
        self.relay = Relay(portal)
        self.daemon = Daemon(session("disk", self.relay.portal, iqn,
                                     reconnect_interval=RETRY,
                                     default_time2wait="0s",
                                     **(keys or {})))
        self.daemon.wait_up("disk")
        self.load = Load(self.daemon, "disk", **load)
        self.slowest = 0

    def progress(self, count=100):
        """Waits until so many more tasks have ended well."""
        begun = self.load.good()
        wait_until(lambda: self.load.good() >= begun + count,
                   f"{count} tasks to end well")

    def stats(self):
        """The session's counters."""
        return self.daemon.call("stats.get",
                                session="disk")["sessions"]["disk"]

    def wait_downs(self, count):
        """Waits until the session was lost that many times."""
        wait_until(lambda: self.stats()["downs"] == count,
                   f"the session to be lost {count} times")

    def wait_back(self, logins):
        """Waits until the session is up for the logins-th time."""
        begun = time.monotonic()
        wait_until(lambda: self.stats()["logins"] == logins,
                   f"login {logins}")
        self.slowest = max(self.slowest, time.monotonic() - begun)
        check(self.slowest < BACK * PATIENCE,
              f"back after {self.slowest:.1f} s")

    def finish(self, label, downs):
        """Ends the load and looks at everything."""
        self.progress()
        self.load.stop()
        stats = self.stats()
        check_equal((stats["downs"], stats["logins"]), (downs, downs + 1),
                    "losses and logins")
        self.load.check_events(stats)
        self.relay.cut()
        self.load.check_sent(self.relay)
        kinds = self.load.kinds
        print(f"# {label}: {downs} losses, back after {self.slowest:.2f} s "
              f"at most; " + ", ".join(f"{kinds[kind]} {kind}"
                                       for kind in sorted(kinds)))
        check(kinds.get("unknown", 0) > 0, "nothing was on the wire")
        check_equal(self.daemon.stop(), 0, "exit status of the daemon")
        log = self.daemon.log()
        check("still in use" not in log, "the daemon lost count")


def restarts(label, case, kill, start, count):
    """Kills the target and sets it up anew, count times, under load.

    start() makes another one; its portal.
    """
    for number in range(1, count + 1):
        case.progress()
        kill()
        case.wait_downs(number)
        case.relay.point_to(start())
        case.wait_back(number + 1)
    case.finish(label, count)


@test("tgt restarted twenty times under load from four clients")
def tgt():
    iqn = "iqn.2026-01.org.example:stay"
    targets = []

    def start():
        images = {1: targets[-1].images[1, 1]} if targets else None
        targets.append(Tgt())
        targets[-1].add_target(iqn, images=images, digests=True)
        return targets[-1].portal
    case = Case(start(), iqn, DIGESTS, lun=1)
    restarts("tgt", case, lambda: targets[-1].kill(), start, scaled(20, 3))


@test("istgt restarted twenty times under load from four clients")
def istgt():
    targets = [Istgt()]

    def start():
        targets.append(Istgt(image=targets[-1].image))
        return targets[-1].portal
    case = Case(targets[0].portal, Istgt.iqn, DIGESTS)
    restarts("istgt", case, lambda: targets[-1].kill(), start, scaled(20, 3))


@test("the RAM target restarted twenty times under load from four clients")
def ram():
    targets = [Target("--size", "64M")]

    def start():
        targets.append(Target("--size", "64M"))
        return targets[-1].portals[0]
    case = Case(targets[0].portals[0], Target.iqn, keeps=False)
    restarts("RAM", case, lambda: targets[-1].kill(), start, scaled(20, 3))
    targets[-1].check_no_error()


@test("the connection cut under load: no write is sent twice")
def cuts():
    target = Target("--size", "64M", "--header-digest", "crc32c",
                    "--data-digest", "crc32c", "--queue-depth", "8")
    case = Case(target.portals[0], target.iqn, DIGESTS)
    count = scaled(40, 5)
    for number in range(1, count + 1):
        case.progress(20)
        case.relay.cut()
        case.wait_downs(number)
        case.wait_back(number + 1)
    case.finish("cut", count)
    check(case.load.kinds.get("not-sent", 0) > 0, "nothing was in the queue")
    target.check_no_error()


main()
