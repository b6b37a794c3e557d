#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""A target that goes, or falls silent, at every stage of a session.

A relay cuts or freezes the connection at a PDU: before it is passed on or in
the middle of it. Real targets are stopped by SIGSTOP. Each time the session
is in the state that the manual says, within its deadline, every task has its
end, and the session comes back.
"""

import os
import signal
import time

from harness import (PATIENCE, check, check_equal, main, scaled, test,
                     wait_until)
from iscsimuxd import Daemon, session
from muxclient import (DATA_IN, DATA_OUT, LOGIN, LOGOUT, OUTCOME, R2T, SCSI,
                       SCSI_RSP, Mux, deadline_tlv)
from relay import (CUT, FREEZE, HALF, HALF_FREEZE, LOGIN_RSP, TO_DAEMON,
                   TO_TARGET, Relay)
from target_client import Target
from targets import Istgt, Tgt

RETRY = "100ms"
# Seconds that what a deadline ends may be late, on a busy machine.
SLACK = 5
LOGOUT_RSP = 0x26
# Milliseconds of a deadline that is waited for.
SHORT = int(300 * PATIENCE)
LONG = "10m"
DATA = bytes(range(256)) * 32


class Rule:
    """What a relay does at the number-th PDU of an opcode of a connection."""

    def __init__(self):
        self.wanted = None
        self.left = 0
        self.fired = []
        self.seen = []

    def set(self, direction, opcode, number, action, times=1):
        """From now on, so many times."""
        self.fired.clear()
        self.seen.clear()
        self.wanted = (direction, opcode, number, action)
        self.left = times

    def __call__(self, link, pdu):
        self.seen.append((link, pdu.direction, pdu.opcode))
        if not self.left:
            return None
        direction, opcode, number, action = self.wanted
        if self.seen[-1] != (link, direction, opcode) or \
                self.seen.count(self.seen[-1]) != number + 1:
            return None
        self.left -= 1
        self.fired.append(time.monotonic())
        return action

    def wait(self, times=1):
        """Waits until it has been applied so often."""
        wait_until(lambda: len(self.fired) >= times,
                   f"the relay to do {self.wanted}")


class Rig:
    """The RAM target, whose answers to a login are short, behind a relay."""

    def __init__(self, wait=True, options=("--text-split", "64"), rule=None,
                 **keys):
        self.target = Target("--initial-r2t", "yes", *options)
        self.rule = rule or Rule()
        self.relay = Relay(self.target.portals[0], self.rule)
        daemon_keys = {"abort_timeout": f"{SHORT}ms"}
        self.daemon = Daemon(
            session("disk", self.relay.portal, self.target.iqn,
                    **{"reconnect_interval": RETRY,
                       "default_time2wait": "0s",
                       "login_timeout": f"{SHORT}ms",
                       "logout_timeout": f"{SHORT}ms",
                       "immediate_data": False, **keys}), **daemon_keys)
        self.control = self.daemon.control()
        if wait:
            self.daemon.wait_up("disk")

    def stats(self):
        """The session's counters."""
        return self.control.call("stats.get",
                                 session="disk")["sessions"]["disk"]

    def show(self):
        """session.show of the session."""
        return self.control.call("session.show", session="disk")

    def wait_failures(self, count):
        """Waits until so many logins have failed; session.show then."""
        wait_until(lambda: self.stats()["login_failures"] >= count,
                   f"{count} logins to fail")

    def works(self):
        """Fails unless the session is up, or comes up, and does its work."""
        self.daemon.wait_up("disk")
        mux = Mux(self.daemon, "disk")
        mux.write(0, DATA)
        check(mux.read(0, len(DATA) // 512) == DATA, "what was read")
        mux.close()

    def end(self):
        """Stops the daemon, which must end well and have got all back."""
        check_equal(self.daemon.stop(), 0, "exit status of the daemon")
        check("still in use" not in self.daemon.log(),
              "the daemon lost count")


def in_time(start, milliseconds, what):
    """Fails if a deadline that began at start is over for too long."""
    took = time.monotonic() - start
    check(took < milliseconds / 1000 + SLACK * PATIENCE,
          f"{what} after {took:.1f} s, at {milliseconds} ms")


def login_places():
    """(direction, opcode, number) of each PDU of a login."""
    rig = Rig()
    places = []
    for _, direction, opcode in rig.rule.seen:
        if opcode in (LOGIN, LOGIN_RSP):
            number = sum(place[0] == direction for place in places)
            places.append((direction, opcode, number))
    rig.end()
    check(len(places) > 6, f"a short login: {places}")
    every = round(1000 / scaled(1000, 150))
    return places[::every]


def last_answer(places):
    """The final Login Response, which logs in although nothing follows."""
    return [place for place in places if place[0] == TO_DAEMON][-1]


# --- Login

@test("cut at every PDU of the first login, and of one after a loss")
def login_cut():
    places = login_places()
    rig = Rig()
    for place in places:
        for action in (CUT, HALF):
            before = rig.stats()
            rig.rule.set(*place, action)
            rig.relay.cut()
            rig.rule.wait()
            rig.daemon.wait_session(
                "disk", lambda told: told["up"] and
                told["negotiated"]["generation"] == before["logins"] + 1,
                f"to be back after {action} at {place}")
            after = rig.stats()
            check_equal((after["login_failures"], after["downs"]),
                        (before["login_failures"] + 1, before["downs"] + 1),
                        f"failed logins, losses, {action} at {place}")
    rig.works()
    rig.end()
    for place in places:
        rule = Rule()
        rule.set(*place, CUT)
        rig = Rig(rule=rule, login_timeout=LONG)
        check_equal((rig.stats()["login_failures"], rig.stats()["downs"]),
                    (1, 0), f"failed logins, losses, cut at {place}")
        rig.end()


@test("frozen at every PDU of a login: login-timeout ends it")
def login_frozen():
    places = login_places()
    rig = Rig()
    for place in places:
        for action in (FREEZE, HALF_FREEZE):
            failures = rig.stats()["login_failures"]
            rig.rule.set(*place, action)
            rig.relay.cut()
            rig.rule.wait()
            start = rig.rule.fired[0]
            rig.wait_failures(failures + 1)
            in_time(start, SHORT, "the login failed")
            rig.daemon.wait_up("disk")
            check_equal(rig.stats()["login_failures"], failures + 1,
                        f"failed logins, {action} at {place}")
    check_equal(rig.daemon.log().count(
        f"login: login took longer than {SHORT} ms"),
        rig.stats()["login_failures"], "what the log says of them")
    rig.works()
    rig.end()


@test("the state is login as long as the target says nothing")
def login_state():
    rule = Rule()
    rule.set(TO_DAEMON, LOGIN_RSP, 0, FREEZE)
    rig = Rig(wait=False, rule=rule, login_timeout=LONG)
    rule.wait()
    mux = Mux(rig.daemon, "disk")
    check_equal((mux.attached.state, rig.show()["state"]),
                ("login", "login"), "states")
    task = mux.finish(mux.start_read(0, 1))
    check_equal((task.outcome.outcome, task.outcome.reason),
                ("not-sent", "session-down"), "outcome")
    rig.relay.freeze(False)
    rig.relay.cut()
    mux.event("session-up")
    mux.works()
    rig.end()


@test("one fault after the other during recovery: each costs one attempt")
def recovery_fails():
    places = login_places()
    rig = Rig()
    mux = Mux(rig.daemon, "disk")
    task = mux.start_write(0, DATA, manual=True)
    mux.wait_r2ts(task)
    rig.rule.set(*places[0], CUT, times=3)
    rig.relay.cut()
    mux.finish(task)
    check_equal((task.outcome.outcome, task.outcome.reason),
                ("unknown", "connection-lost"), "outcome of the write")
    mux.event("session-down")
    rig.rule.wait(3)
    mux.event("session-up")
    for place in places:
        rig.rule.set(*place, HALF, times=2)
        rig.relay.cut()
        mux.event("session-down")
        rig.rule.wait(2)
        mux.event("session-up")
    mux.write(0, DATA)
    stats = rig.stats()
    check_equal((stats["login_failures"], stats["downs"], stats["logins"]),
                (3 + 2 * len(places), 1 + len(places), 2 + len(places)),
                "failed logins, losses, logins")
    check_equal([msg for msg in mux.inbox if msg.kind == OUTCOME], [],
                "more outcomes")
    rig.end()


# --- Full feature phase

WORK = {"a write's command": (TO_TARGET, SCSI, 0),
        "an R2T": (TO_DAEMON, R2T, 0),
        "the first Data-Out": (TO_TARGET, DATA_OUT, 0),
        "a later Data-Out": (TO_TARGET, DATA_OUT, 3),
        "the response": (TO_DAEMON, SCSI_RSP, 0),
        "a read's command": (TO_TARGET, SCSI, 1),
        "the first Data-In": (TO_DAEMON, DATA_IN, 0),
        "a later Data-In": (TO_DAEMON, DATA_IN, 3)}
SMALL = {"max_burst_length": 2048, "first_burst_length": 512,
         "max_recv_data_segment_length": 1024}
SMALL_TARGET = ("--max-recv-dsl", "1024")


def work(mux, tlvs=b""):
    """A write, then a read; the task that did not end well."""
    for start in (lambda: mux.start_write(0, DATA, tlvs=tlvs),
                  lambda: mux.start_read(0, len(DATA) // 512)):
        task = mux.finish(start())
        if task.outcome is not None:
            return task
        task.good()
    return None


@test("cut at every PDU of a write and of a read: unknown, then up again")
def work_cut():
    rig = Rig(options=SMALL_TARGET, **SMALL)
    mux = Mux(rig.daemon, "disk")
    for what, place in WORK.items():
        for action in (CUT, HALF):
            rig.rule.set(*place, action)
            task = work(mux)
            check(task is not None, f"{what}: nothing happened")
            check_equal((task.outcome.outcome, task.outcome.reason,
                         task.outcome.not_sent),
                        ("unknown", "connection-lost", False),
                        f"outcome, {action} at {what}")
            mux.event("session-down")
            mux.event("session-up")
            check_equal(work(mux), None, f"the same after {what}")
    rig.end()


@test("frozen at every PDU of a write: the deadline, then abort-timeout")
def work_frozen():
    rig = Rig(options=SMALL_TARGET, **SMALL)
    mux = Mux(rig.daemon, "disk")
    for what, place in list(WORK.items())[:scaled(5, 2)]:
        for action in (FREEZE, HALF_FREEZE):
            rig.rule.set(*place, action)
            task = work(mux, deadline_tlv(SHORT))
            check(task is not None, f"{what}: nothing happened")
            mux.event("session-down")
            in_time(rig.rule.fired[0], 2 * SHORT, "the session was lost")
            check_equal((task.outcome.outcome, task.outcome.reason,
                         task.outcome.not_sent),
                        ("unknown", "connection-lost", False),
                        f"outcome, {action} at {what}")
            check(f"no answer to ABORT TASK for {SHORT} ms" in
                  task.outcome.text, task.outcome.text)
            mux.event("session-up")
            check_equal(work(mux), None, f"the same after {what}")
    rig.end()


# --- Logout

@test("cut or frozen at either PDU of the logout: the daemon ends in time")
def logout():
    for place in ((TO_TARGET, LOGOUT, 0), (TO_DAEMON, LOGOUT_RSP, 0)):
        for action in (CUT, HALF, FREEZE, HALF_FREEZE):
            rig = Rig()
            rig.rule.set(*place, action)
            start = time.monotonic()
            rig.end()
            check_equal(len(rig.rule.fired), 1, "logouts")
            in_time(start, SHORT, f"{action} at {place}: the daemon ended")
            check_equal("no answer to the Logout Request" in
                        rig.daemon.log(), action in (FREEZE, HALF_FREEZE),
                        f"what the log says, {action} at {place}")


# --- Real targets

def stop(target):
    """SIGSTOP; when this returns, no thread of the target runs any more."""
    target.signal(signal.SIGSTOP)
    wait_until(lambda: os.waitid(os.P_PID, target.pid,
                                 os.WSTOPPED | os.WNOHANG),
               f"{target.name} to stop")


def stopped(target, portal, iqn, lun=0, login=3 * SHORT):
    """Stops a target by SIGSTOP: before a login, and with a task open.

    Few retries, for it has to work off all of them when it goes on; login
    is the login-timeout in milliseconds.
    """
    stop(target)
    daemon = Daemon(session("disk", portal, iqn, reconnect_interval="1s",
                            login_timeout=f"{login}ms"),
                    abort_timeout=f"{SHORT}ms")
    told = daemon.wait_session("disk", lambda told: told["last_error"],
                               "to fail its login")
    check("took longer than" in told["last_error"], told["last_error"])
    check(not told["up"], f"{told}")
    mux = Mux(daemon, "disk")
    target.signal(signal.SIGCONT)
    mux.event("session-up")
    lun <<= 48
    # A target tells of its start first.
    mux.finish(mux.start_read(0, 8, lun=lun))
    mux.read(0, 8, lun=lun)
    stop(target)
    start = time.monotonic()
    task = mux.finish(mux.start_write(0, DATA, lun=lun,
                                      tlvs=deadline_tlv(SHORT)))
    in_time(start, 2 * SHORT, "the write ended")
    check_equal((task.outcome.outcome, task.outcome.reason),
                ("unknown", "connection-lost"), "outcome")
    mux.event("session-down")
    target.signal(signal.SIGCONT)
    mux.event("session-up")
    mux.finish(mux.start_read(0, 8, lun=lun))
    mux.write(0, DATA, lun=lun)
    check(mux.read(0, len(DATA) // 512, lun=lun) == DATA, "what was read")
    check_equal(daemon.stop(), 0, "exit status of the daemon")


@test("SIGSTOP of the RAM target, before a login and with a write open")
def stopped_ram():
    target = Target()
    stopped(target, target.portals[0], target.iqn)


@test("SIGSTOP of tgt")
def stopped_tgt():
    target = Tgt()
    target.add_target("iqn.2026-01.org.example:stay")
    stopped(target, target.portal, "iqn.2026-01.org.example:stay", lun=1)


@test("SIGSTOP of istgt")
def stopped_istgt():
    target = Istgt()
    # It takes over a second to drop the connection that was there before; a
    # single Login Request may take 10 s.
    stopped(target, target.portal, target.iqn, login=min(15 * SHORT, 9000))


main()
