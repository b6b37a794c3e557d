#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Sessions that come, go, start and stop while the daemon runs."""

import socket

from harness import check, check_equal, main, scaled, test, wait_until
from managerig import (daemon_and_target, names, place, refused, rewrite,
                       wait_state)
from muxclient import Mux
from target_client import Target


@test("session.add makes a session that logs in and is used")
def add():
    """The same request again is no error and makes no second one."""
    daemon, control, target = daemon_and_target()
    config = place(target, access={"users": ["0"], "allow": ["all"]})
    for created in (True, False):
        answer = control.call("session.add", session="new", config=config)
        check_equal(answer["session"], "new", "session")
        check_equal(answer["created"], created, "created")
    wait_state(control, "new", "up")
    check_equal(names(control), ["new"], "sessions")
    Mux(daemon, "new").works()


@test("session.add holds to every rule of the file and names the key")
def add_wrong():
    """Nothing is added."""
    _daemon, control, target = daemon_and_target()
    good = place(target)
    for wrong, field, text in (
            ({"portal": target.portals[0]}, "target", "missing"),
            ({**good, "portal": "::1"}, "portal", "brackets"),
            ({**good, "colour": "red"}, "colour", "unknown key"),
            ({**good, "max-clients": "3"}, "max-clients", "belongs in"),
            ({**good, "login-timeout": "15"}, "login-timeout", "not a time"),
            ({**good, "login-timeout": 15}, "login-timeout", "string"),
            ({**good, "login-timeout": ["1s"]}, "login-timeout", "one value"),
            ({**good, "header-digest": ["CRC32C", "MD5"]}, "header-digest",
             "no digest"),
            ({**good, "first-burst-length": "1M"}, "first-burst-length",
             "must not be more"),
            ({**good, "isid": "c00000000000"}, "isid", "reserved"),
            ({**good, "access": [{"allow": ["all"]}]}, "access",
             "names nobody"),
            ({**good, "access": [{"users": ["0"]}]}, "allow", "missing"),
            ({**good, "access": "root"}, "access", "object")):
        message = refused(control.call, "session.add", -32602, field,
                          session="new", config=wrong)
        check(text in message, f"{wrong}: {message}")
    refused(control.call, "session.add", -32602, "session", session="a b",
            config=good)
    check_equal(names(control), [], "sessions")


@test("a target at a portal has one session unless an ISID is given")
def add_twice():
    """Two that would throw each other out are refused in any case."""
    _daemon, control, target = daemon_and_target(("disk", {}))
    refused(control.call, "session.add", -32003, "session", session="disk",
            config={**place(target), "login-timeout": "9s"})
    message = refused(control.call, "session.add", -32003, "target",
                      session="other", config=place(target))
    check("disk" in message, message)
    isid = control.call("session.show", session="disk")["isid"]
    refused(control.call, "session.add", -32003, "isid", session="other",
            config=place(target, isid=isid))
    control.call("session.add", session="other",
                 config=place(target, isid="800000000007"))
    wait_state(control, "other", "up")
    check_equal(names(control), ["disk", "other"], "sessions")


@test("logout leaves clients attached, login brings the session back")
def logout_and_login():
    """The client hears of both and does not attach again."""
    daemon, control, _target = daemon_and_target(("disk", {}))
    wait_state(control, "disk", "up")
    mux = Mux(daemon, "disk")
    mux.works()
    control.call("session.logout", session="disk")
    wait_state(control, "disk", "stopped")
    check_equal(control.call("session.show", session="disk")["clients"], 1,
                "clients")
    mux.event("session-down")
    control.call("session.logout", session="disk")
    control.call("session.login", session="disk")
    mux.event("session-up")
    mux.works()


@test("a session with startup = manual waits for session.login")
def manual():
    """Added or configured."""
    _daemon, control, target = daemon_and_target(
        ("disk", {"startup": "manual"}))
    control.call("session.add", session="new", config=place(
        target, startup="manual", isid="800000000001"))
    for name in ("disk", "new"):
        check_equal(control.call("session.show", session=name)["state"],
                    "stopped", f"state of {name}")
        control.call("session.login", session=name)
        wait_state(control, name, "up")


@test("session.remove logs out and says goodbye to the clients")
def remove():
    """The name is free after that."""
    daemon, control, target = daemon_and_target(("disk", {}))
    wait_state(control, "disk", "up")
    mux = Mux(daemon, "disk")
    control.call("session.remove", session="disk")
    goodbye = mux.farewell()[-1]
    check("removed" in goodbye.text, f"no reason given: {goodbye}")
    wait_until(lambda: names(control) == [], "no session")
    refused(control.call, "session.login", -32002, "session", session="disk")
    control.call("session.add", session="disk", config=place(target))
    wait_state(control, "disk", "up")


@test("many adds of one name at once give one session")
def add_at_once():
    """One of them has created it, and the target sees one login."""
    target = Target()
    daemon, _control, _ = daemon_and_target(target=target)
    admins = [daemon.control() for _ in range(scaled(32, 8))]
    for admin in admins:
        admin.send_call("session.add", session="new", config=place(target))
    created = [admin.result()["created"] for admin in admins]
    check_equal(created.count(True), 1, "created")
    wait_state(admins[0], "new", "up")
    check_equal(names(admins[0]), ["new"], "sessions")
    check_equal(len(target.order("sessions")["sessions"]), 1,
                "sessions of the target")


@test("iscsimuxctl logs out and in, removes and reloads")
def ctl():
    """A faulty file is exit status 1."""
    daemon, control, target = daemon_and_target(("disk", {}))
    wait_state(control, "disk", "up")
    daemon.iscsimuxctl("session", "logout", "disk")
    wait_state(control, "disk", "stopped")
    daemon.iscsimuxctl("session", "login", "disk")
    wait_state(control, "disk", "up")
    rewrite(daemon, target, ("disk", {}), ("new", {}))
    check("added: new" in daemon.iscsimuxctl("reload").stdout, "nothing added")
    daemon.iscsimuxctl("session", "remove", "new")
    rewrite(daemon, target, ("disk", {"colour": "red"}))
    done = daemon.iscsimuxctl("reload", check_status=1)
    check("colour" in done.stderr, done.stderr)


@test("iscsimuxctl adds a session and waits until it is up")
def ctl_add():
    """Values may be lists, and access rules; what is wrong is said."""
    daemon, control, target = daemon_and_target()
    words = [f"{key}={value}" for key, value in place(target).items()]
    done = daemon.iscsimuxctl(
        "-W", "session", "add", "new", *words, "header-digest=CRC32C",
        "header-digest=None", "access.users=0", "access.users=65534",
        "access.allow=all")
    check_equal(done.stdout, "session new: up\n", "what was printed")
    told = control.call("session.show", session="new")
    check_equal((told["state"], told["negotiated"]["header_digest"]),
                ("up", "CRC32C"), "state, digest")
    for status, given, text in (
            (2, ["new", "portal"], "not KEY=VALUE: portal"),
            (2, ["new", "=x"], "not KEY=VALUE: =x"),
            (2, [], "missing: session"),
            (2, ["\udcff", *words], "no UTF-8: session"),
            (1, ["other", *words], "session new"),
            (1, ["other", "colour=red", *words], "colour"),
            (1, ["other", *words, "access.allow=all"], "names nobody")):
        done = daemon.iscsimuxctl("session", "add", *given,
                                  check_status=status)
        check(text in done.stderr, f"{given}: {done.stderr}")
    check_equal(names(control), ["new"], "sessions")


@test("--wait: up is status 0; a login that fails, and one too slow, are 1")
def ctl_wait():
    """The error that counts is shown."""
    target = Target()
    daemon, control, _ = daemon_and_target(
        ("disk", {"startup": "manual", "reconnect_interval": "10m",
                  "reconnect_max": "10m"}),
        ("other", {"startup": "manual", "isid": "800000000001"}),
        target=target)
    done = daemon.iscsimuxctl("--wait", "session", "login", "disk")
    check_equal(done.stdout, "session disk: up\n", "what was printed")
    target.kill()
    wait_state(control, "disk", "down")
    done = daemon.iscsimuxctl("-W", "reconnect", "disk", check_status=1)
    check("session disk is not up, but down: " in done.stderr and
          "refused" in done.stderr, done.stderr)
    silent = socket.create_server(("127.0.0.1", int(target.portals[0].rpartition(":")[2])))
    done = daemon.iscsimuxctl("-W", "-t", "0.5", "session", "login", "other",
                              check_status=1)
    check("session other is not up in time, but login" in done.stderr,
          done.stderr)
    silent.close()
    daemon.iscsimuxctl("-W", "session", "list", check_status=2)


if __name__ == "__main__":
    main()
