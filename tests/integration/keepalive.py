#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Signs of life: pings of the daemon, Logouts that a target asks for, and
what is told of the latest PDUs."""

import os
import signal

from harness import check, check_equal, main, test, wait_until
from iscsimuxd import Daemon, session
from muxrig import Rig
from scripted import Scripted
from targets import Tgt

OFTEN = {"keepalive_interval": "100ms", "keepalive_timeout": "10s"}


def counted(daemon, name="disk"):
    """The session's counters."""
    return daemon.call("stats.get", session=name)["sessions"][name]


@test("tgt answers pings, and the session stays")
def pings_of_tgt():
    tgt = Tgt()
    tgt.add_target("iqn.2026-01.org.example:tgt")
    daemon = Daemon(session("disk", tgt.portal, "iqn.2026-01.org.example:tgt",
                            **OFTEN))
    daemon.wait_up("disk")
    wait_until(lambda: counted(daemon)["pings_sent"] >= 5, "five pings")
    check_equal(counted(daemon)["downs"], 0, "connections lost")


@test("the RAM target finds nothing wrong with pings")
def pings_of_ram():
    rig = Rig(session_keys=OFTEN)
    wait_until(lambda: rig.stats()["pings_sent"] >= 5, "five pings")
    rig.mux().works()
    check_equal(rig.stats()["downs"], 0, "connections lost")


@test("a target that is frozen is given up, and found again")
def frozen():
    rig = Rig(session_keys={"keepalive_interval": "100ms",
                            "keepalive_timeout": "500ms"}, broken=True)
    mux = rig.mux()
    os.kill(rig.target.pid, signal.SIGSTOP)
    try:
        told = mux.event("session-down")
    finally:
        os.kill(rig.target.pid, signal.SIGCONT)
    check("the target is silent" in told.text, told.text)
    mux.event("session-up")
    mux.works()


@test("the target asks for a Logout and gets it")
def logout_is_asked_for():
    rig = Rig()
    mux = rig.mux()
    rig.order("async 1 0 0 20")
    told = mux.event("async-message")
    check_equal(told.text, "the target asks for a Logout within 20 s", "text")
    check("Logout within 20 s" in mux.event("session-down").text, "why")
    mux.event("session-up")
    mux.works()
    check_equal(rig.target.counters()["logouts"], 1, "Logouts")


@test("async-logout = drop: no Logout, and it logs in again")
def logout_as_drop():
    rig = Rig(session_keys={"async_logout": "drop"})
    mux = rig.mux()
    rig.order("async 1 0 0 20")
    mux.event("async-message")
    check("async-logout is drop" in mux.event("session-down").text, "why")
    mux.event("session-up")
    mux.works()
    check_equal(rig.target.counters()["logouts"], 0, "Logouts")


@test("session show --headers: the PDUs of the wire, the oldest first")
def headers():
    rig = Rig()
    rig.mux().works()
    told = rig.control.call("session.show", session="ram", headers=True)
    listed = told["headers"]
    check_equal([(h["direction"], h["pdu"]) for h in listed[:2]],
                [("sent", "Login Request"), ("received", "Login Response")],
                "the first two")
    check(all(len(h["bhs"]) == 96 for h in listed), "bytes of a header")
    check("headers" not in rig.show(), "headers that nobody asked for")
    lines = rig.daemon.iscsimuxctl("session", "show", "--headers",
                                   "ram").stdout.splitlines()
    check_equal(len(lines), len(listed) + 1, f"lines of {lines}")
    check("Login Request" in lines[1] and "sent" in lines[1], lines[1])
    rig.daemon.iscsimuxctl("session", "list", "--headers", check_status=2)


@test("a target that breaks the protocol: the log has the PDUs before that")
def headers_in_the_log():
    target = Scripted()
    daemon = Daemon(session("odd", target.portal, target.iqn,
                            reconnect_interval="60s"))
    peer = target.login()
    daemon.wait_up("odd")
    peer.send(0x21, 0x00100000)
    wait_until(lambda: "received SCSI Response ITT 0x00100000" in
               daemon.log(), "the PDU in the log")
    check("sent Login Request" in daemon.log(), "the Login in the log")


main()
