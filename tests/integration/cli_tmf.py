#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""iscsimux abort and reset: what they print, whom they reach, who may."""

import json
import os
import re
import shutil

from harness import (Skip, check, check_equal, main, program, run, shared,
                     test, tmpdir)
from iscsimuxd import Daemon, session
from muxclient import TMF, TMF_RSP
from muxrig import Rig
from scripted import Scripted
from targets import RamTarget, Tgt

NOBODY = "65534"


@shared
def setup():
    """A daemon with a session on the RAM target."""
    target = RamTarget("--luns", 2)
    daemon = Daemon(session("disk", target.portals[0], target.iqn,
                            reconnect_interval="100ms"))
    daemon.wait_up("disk")
    return daemon


def shows(done, pattern, where="stderr"):
    """Fails unless what a program printed matches."""
    printed = getattr(done, where)
    check(re.search(pattern, printed, re.MULTILINE),
          f"{where} lacks {pattern!r}: {printed!r}")


@test("each function, its response in words and as JSON")
def functions():
    daemon = setup()
    for args, name in (
            (("abort", "disk/0"), "ABORT TASK SET"),
            (("abort", "disk/1", "--clear-task-set"), "CLEAR TASK SET"),
            (("reset", "disk/1"), "LOGICAL UNIT RESET"),
            (("reset", "disk", "--target", "warm"), "TARGET WARM RESET"),
            (("reset", "disk", "-T", "cold"), "TARGET COLD RESET")):
        daemon.wait_up("disk")
        done = daemon.iscsimux(*args)
        check_equal(done.stdout, f"{name}: function complete\n", "stdout")
    daemon.wait_call(lambda s: s["sessions"]["disk"]["downs"] == 1,
                     "the cold reset", "stats.get", session="disk")
    daemon.wait_up("disk")
    told = json.loads(daemon.iscsimux("reset", "disk/0", "--json").stdout)
    check_equal((told["function"], told["response"], told["response_name"]),
                ("LOGICAL UNIT RESET", 0, "function complete"), "JSON")


@test("a response that is no success: status 1 and its words")
def failures():
    daemon = setup()
    shows(daemon.iscsimux("reset", "disk/7", check_status=1),
          "^iscsimux: LOGICAL UNIT RESET: LUN does not exist$")
    shows(daemon.iscsimux("abort", "disk/0", "--clear-aca", check_status=1),
          "^iscsimux: CLEAR ACA: task management function not supported$")


@test("the functions of RFC 7144: a query's yes and no, the reset of a nexus")
def level_2():
    target = RamTarget("--luns", 2, "--protocol-level", 2)
    daemon = Daemon(session("disk", target.portals[0], target.iqn,
                            protocol_level=2))
    daemon.wait_up("disk")
    for args, said in (
            (("query", "disk/1"), "QUERY TASK SET: function complete"),
            (("query", "disk/1", "--event"),
             "QUERY ASYNCHRONOUS EVENT: function complete"),
            (("reset", "disk", "-T", "nexus"),
             "I_T NEXUS RESET: function complete"),
            (("query", "disk/1", "-E"),
             "QUERY ASYNCHRONOUS EVENT: function succeeded")):
        check_equal(daemon.iscsimux(*args).stdout, f"{said}\n", "stdout")
    shows(daemon.iscsimux("query", "disk/7", check_status=1),
          "^iscsimux: QUERY TASK SET: LUN does not exist$")
    shows(setup().iscsimux("query", "disk/1", check_status=1),
          "QUERY TASK SET needs iSCSIProtocolLevel 2.*protocol-level = 2")


@test("no response: status 4; the session stays")
def no_response():
    target = Scripted()
    daemon = Daemon(session("odd", target.portal, target.iqn,
                            logout_timeout="100ms"))
    peer = target.login()
    daemon.wait_up("odd")
    done = daemon.iscsimux("reset", "odd/0", "-t", "0.2", check_status=4)
    shows(done, "^iscsimux: LOGICAL UNIT RESET: ")
    peer.respond(peer.receive(TMF), TMF_RSP)
    daemon.wait_session("odd", lambda s: s["tasks"] == 0, "no task")
    check(daemon.call("session.show", session="odd")["up"], "it is down")


@test("what is no right command line: status 2")
def usage():
    daemon = setup()
    for args, why in ((("reset", "disk"), "which LUN"),
                      (("abort", "disk"), "which LUN"),
                      (("reset", "disk/0", "-T", "warm"), "all LUNs"),
                      (("reset", "disk", "-T", "hot"), "warm, cold or nexus"),
                      (("query", "disk"), "which LUN"),
                      (("reset", "disk/0", "-T", "nexus"), "all LUNs"),
                      (("abort", "disk/0", "-C", "-K"), "exclude"),
                      (("abort", "disk/0", "-T", "cold"), "does not go")):
        shows(daemon.iscsimux(*args, check_status=2), why)


@test("another client's task ends, and it is told by whom")
def others():
    rig = Rig()
    rig.order("hold reads")
    mux = rig.mux()
    read = mux.start_read(0, 8, itt=1)
    rig.wait_target(lambda c: c["commands"] == 1, "the read")
    rig.daemon.iscsimux("reset", "ram/0")
    mux.finish(read)
    check_equal((read.outcome.outcome, read.outcome.reason),
                ("aborted", "reset-by-another-client"), "outcome")
    check(re.search(r"LOGICAL UNIT RESET of LUN 0x0{16} by client iscsimux",
                    read.outcome.text), read.outcome.text)
    rig.order("release")
    rig.wait_idle()


def as_nobody(daemon, *args, **options):
    """Runs the client as a user without any rights."""
    if os.getuid() != 0:
        raise Skip("only root can become someone else")
    prefix = [shutil.which("setpriv") or "/nonexistent", "--reuid", NOBODY,
              "--regid", NOBODY, "--clear-groups", program("ISCSIMUX")]
    os.chmod(tmpdir(), 0o711)
    if run([*prefix, "--version"], check_status=None).returncode != 0:
        raise Skip("nobody cannot run the program where it is")
    return run([*prefix, *args], env=daemon.client_env(), **options)


@test("without the access 'reset': status 3; all else works")
def permission():
    target = RamTarget()
    rules = {"may-not": ["write"], "may": ["write", "reset"]}
    daemon = Daemon(*(session(name, target.portals[0], target.iqn,
                              access={"users": [NOBODY], "allow": allow})
                      for name, allow in rules.items()),
                    data_socket_mode="0666")
    for name in rules:
        daemon.wait_up(name)
    for args in (("reset", "may-not/0"), ("abort", "may-not/0"),
                 ("abort", "may-not/0", "-C"), ("abort", "may-not/0", "-K"),
                 ("reset", "may-not", "-T", "warm"),
                 ("reset", "may-not", "-T", "cold"),
                 ("reset", "may-not", "-T", "nexus")):
        shows(as_nobody(daemon, *args, check_status=3), "access 'reset' to "
              r"session may-not, by a rule with allow = \{ write, reset \}")
    as_nobody(daemon, "capacity", "may-not/0")
    as_nobody(daemon, "reset", "may/0")


@test("tgt resets a logical unit")
def tgt():
    target = Tgt()
    iqn = "iqn.2026-01.org.example:tmf"
    target.add_target(iqn, size=1 << 20)
    daemon = Daemon(session("tgt", target.portal, iqn))
    daemon.wait_up("tgt")
    check_equal(daemon.iscsimux("reset", "tgt/1").stdout,
                "LOGICAL UNIT RESET: function complete\n", "stdout")
    daemon.iscsimux("capacity", "tgt/1")


main()
