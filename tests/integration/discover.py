#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Discovery: SendTargets of several targets, session.discover, and the
commands that ask for it."""

import json
import os
import signal

from harness import (check, check_equal, free_port, main, program, run,
                     test, tmp)
from iscsimuxd import Daemon, session
from scripted import Scripted
from targets import Istgt, RamTarget, Tgt

LOGIN = 0x03
TEXT = 0x04


def rows(done):
    """The cells of a table that was printed, without its headings."""
    lines = done.stdout.splitlines()
    check_equal(lines[0].split()[:3], ["TARGET", "PORTAL", "GROUP"],
                "headings")
    return [line.split() for line in lines[1:]]


def found(answer):
    """What session.discover found, as tuples."""
    return [(each["target"], each["portal"], each["portal_group"])
            for each in answer["targets"]]


@test("discover shows targets, portals and groups, as a table and as JSON")
def table_and_json():
    target = RamTarget("--advertise", RamTarget.iqn + "=[2001:db8::7]:3261,2",
                       "--advertise", "iqn.2026-01.org.example:far=far.example",
                       "--advertise", "iqn.2026-01.org.example:here")
    portal = target.portals[0]
    wanted = [(RamTarget.iqn, portal, 1),
              (RamTarget.iqn, "[2001:db8::7]:3261", 2),
              ("iqn.2026-01.org.example:far", "far.example:3260", None),
              ("iqn.2026-01.org.example:here", portal, None)]
    daemon = Daemon()
    lines = [[t, p, "-" if g is None else str(g)] for t, p, g in wanted]
    check_equal(rows(daemon.iscsimux("discover", portal)), lines, "table")
    check_equal(rows(daemon.iscsimuxctl("discover", portal)), lines,
                "table of iscsimuxctl")
    told = json.loads(daemon.iscsimux("discover", portal, "--json").stdout)
    check_equal(found(told), wanted, "JSON")
    check_equal((told["portal"], told["redirects"]), (portal, 0), "where")
    check_equal(daemon.call("session.list")["sessions"], [], "sessions")


@test("an answer over many PDUs is whole, cut in pairs or between them")
def many_pdus():
    names = [f"iqn.2026-01.org.example:disk-{i}" for i in range(300)]
    more = [word for i, name in enumerate(names) for word in
            ("--advertise", f"{name}=192.0.2.{i % 250}:3260,{i}")]
    wanted = [(name, f"192.0.2.{i % 250}:3260", i)
              for i, name in enumerate(names)]
    for options in (("--text-split", 7), ("--text-split", 100),
                    ("--text-split", 100, "--text-whole"),
                    ("--text-split", 8192)):
        target = RamTarget(*options, *more)
        daemon = Daemon()
        answer = daemon.call("session.discover", portal=target.portals[0])
        check_equal(found(answer)[1:], wanted, f"with {options}")
        target.stop()


@test("a portal at an IPv6 address is asked, and told in brackets")
def ipv6():
    target = RamTarget("--portal", "[::1]:0", "--portal", "127.0.0.1:0",
                       portals=2)
    daemon = Daemon()
    check_equal(rows(daemon.iscsimux("discover", target.portals[0])),
                [[target.iqn, portal, "1"] for portal in target.portals],
                "table")


@test("tgt is asked")
def tgt():
    target = Tgt()
    target.add_target("iqn.2026-01.org.example:one")
    target.add_target("iqn.2026-01.org.example:two")
    target.add_target("iqn.2026-01.org.example:hidden", open_to_all=False)
    daemon = Daemon()
    check_equal(rows(daemon.iscsimux("discover", target.portal)),
                [[f"iqn.2026-01.org.example:{name}", target.portal, "1"]
                 for name in ("one", "two")], "table")


@test("istgt is asked, which answers Irrelevant and counts no Text Request")
def istgt():
    target = Istgt()
    daemon = Daemon()
    check_equal(rows(daemon.iscsimux("discover", target.portal)),
                [[target.iqn, target.portal, "1"]], "table")


@test("CHAP of discovery has credentials of its own")
def chap():
    target = RamTarget("--chap-user", "portal-user", "--chap-secret",
                       "a secret of a portal")
    path = tmp("secret")
    with open(path, "w", encoding="utf-8") as file:
        os.fchmod(file.fileno(), 0o600)
        file.write("a secret of a portal\n")
    portal = target.portals[0]
    keys = {"discovery_chap_user": "portal-user",
            "discovery_chap_secret_file": path, "startup": "manual"}
    daemon = Daemon(session("mine", portal, target.iqn, **keys),
                    session("bare", portal, target.iqn, startup="manual",
                            isid="800000000009"))
    check_equal(rows(daemon.iscsimux("discover", "-a", "mine", portal)),
                [[target.iqn, portal, "1"]], "table")
    done = daemon.iscsimux("discover", portal, check_status=1)
    check("authentication" in done.stderr, done.stderr)
    done = daemon.iscsimux("discover", "-a", "bare", portal, check_status=2)
    check("discovery-chap-user" in done.stderr, done.stderr)


@test("--login adds a session for each target, under a name of its own")
def login():
    target = RamTarget()
    portal = target.portals[0]
    target.stop()
    target = RamTarget(
        "--portal", portal,
        "--advertise", f"{RamTarget.iqn}=192.0.2.1",
        "--advertise", f"iqn.2026-01.org.example:a:ram={portal}",
        "--advertise", f"iqn.2026-01.org.example:x y/z={portal}"
        .replace(" ", "_"),
        "--advertise", f"iqn.2026-01.org.other={portal}")
    daemon = Daemon()
    wanted = [
        [RamTarget.iqn, portal, "1", "ram", "added"],
        [RamTarget.iqn, "192.0.2.1:3260", "-", "-", "-"],
        ["iqn.2026-01.org.example:a:ram", portal, "-", "ram-2", "added"],
        ["iqn.2026-01.org.example:x_y/z", portal, "-", "-", "failed"],
        ["iqn.2026-01.org.other", portal, "-", "iqn.2026-01.org.other",
         "added"]]
    done = daemon.iscsimux("discover", "--login", portal, check_status=1)
    got = [row for row in rows(done) if row[0].startswith("iqn.")]
    check_equal(got, wanted, "table")
    check_equal([each["name"] for each in
                 daemon.call("session.list")["sessions"]],
                ["ram", "ram-2", "iqn.2026-01.org.other"], "sessions")
    daemon.wait_up("ram")


@test("--login again changes nothing and is no failure")
def login_again():
    target = RamTarget()
    daemon = Daemon(session("mine", target.portals[0], target.iqn))
    for _ in range(2):
        told = json.loads(daemon.iscsimux("discover", "-jL",
                                          target.portals[0]).stdout)
        check_equal(told["targets"][0]["result"], "there already", "result")
        check("mine" in told["targets"][0]["message"], str(told))
    other = Daemon()
    for result in ("added", "there already"):
        told = json.loads(other.iscsimux("discover", "-jL",
                                         target.portals[0]).stdout)
        check_equal(told["targets"][0]["session"], "ram", "session")
        check_equal(told["targets"][0]["result"], result, "result")
    check_equal(len(other.call("session.list")["sessions"]), 1, "sessions")


@test("what fails is told, with the status that the manual gives it")
def failures():
    daemon = Daemon()
    nobody = f"127.0.0.1:{free_port()}"
    silent = Scripted()
    for status, words, args, text in (
            (1, [], [nobody], "refused"),
            (1, ["-t", "0.2"], [silent.portal], "timed out waiting for a "
             "Login Response"),
            (2, [], ["::1"], "brackets"),
            (2, [], [], "which portal"),
            (2, [], [nobody, "more"], "unexpected argument"),
            (2, ["--hex"], [nobody], "--hex"),
            (1, ["-a", "none"], [nobody], "no session"),
            (3, ["-S", "/nonexistent/socket"], [nobody], "/nonexistent")):
        done = daemon.iscsimux("discover", *words, *args,
                               check_status=status)
        check(text in done.stderr, f"{words} {args}: {done.stderr}")
        check_equal(done.stdout, "", "standard output")
    done = daemon.iscsimux("discover", "-j", nobody, check_status=1)
    check("refused" in json.loads(done.stdout)["error"]["message"],
          done.stdout)


@test("the login is one of discovery; Ctrl-C ends it")
def the_login():
    daemon = Daemon()
    target = Scripted()
    asker = daemon.start_iscsimux("discover", target.portal,
                                  status_wanted=-signal.SIGINT)
    peer = target.login()
    check_equal(peer.keys.get("SessionType"), "Discovery", "SessionType")
    check("TargetName" not in peer.keys, "a TargetName was sent")
    check_equal((peer.keys["HeaderDigest"], peer.keys["DataDigest"]),
                ("None", "None"), "digests")
    check_equal(peer.receive(TEXT).data, b"SendTargets=All\0", "text")
    asker.signal(signal.SIGINT)
    peer.closed()
    asker.wait()
    check_equal(daemon.call("session.list")["sessions"], [], "sessions")


@test("who asks and goes away ends the discovery")
def caller_goes():
    daemon = Daemon()
    target = Scripted()
    asker = daemon.start_iscsimux("discover", "-t", "3600", target.portal)
    peer = target.accept()
    peer.receive(LOGIN)
    asker.kill()
    peer.closed()
    check(run([program("ISCSIMUXCTL"), "info"],
              env=daemon.client_env()).returncode == 0, "the daemon is ill")


if __name__ == "__main__":
    main()
