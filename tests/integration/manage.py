#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Sessions that come, go, start and stop while the daemon runs."""

import signal

from harness import check, check_equal, main, test, wait_until
from iscsimuxd import Daemon, RpcError, session
from muxclient import Mux
from targets import RamTarget


def daemon_and_target(*sessions, **keys):
    """A daemon, its control socket, and a target for its sessions."""
    target = RamTarget()
    daemon = Daemon(*[session(name, target.portals[0], target.iqn, **more)
                      for name, more in sessions], **keys)
    return daemon, daemon.control(), target


def place(target, **more):
    """The keys that every session needs."""
    return {"portal": target.portals[0], "target": target.iqn, **more}


def refused(call, method, code, field, **params):
    """The message of an error that blames this field."""
    try:
        call(method, **params)
    except RpcError as error:
        check_equal(error.code, code, f"code of: {error.message}")
        check_equal((error.data or {}).get("field"), field,
                    f"field of: {error.message}")
        return error.message
    raise AssertionError(f"{method} {params} was not refused")


def wait_state(control, name, state):
    """Waits for the state of a session."""
    wait_until(lambda: control.call("session.show", session=name)["state"]
               == state, f"session {name} {state}")


def names(control):
    """All sessions there are."""
    return [each["name"] for each in
            control.call("session.list")["sessions"]]


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


# --- config.reload and SIGHUP

def rewrite(daemon, target, *sessions, **keys):
    """Writes another configuration for the daemon."""
    text = daemon.daemon_section(keys) + "".join(
        session(name, target.portals[0], target.iqn, **more)
        for name, more in sessions)
    with open(daemon.config_path, "w", encoding="utf-8") as file:
        file.write(text)


@test("a reload touches only what changed")
def reload():
    """A session that is equal by value stays up, with its clients."""
    daemon, control, target = daemon_and_target(
        ("same", {"max_burst_length": "256K"}), ("other", {}), ("gone", {}))
    for name in ("same", "other", "gone"):
        wait_state(control, name, "up")
    control.call("session.add", session="added",
                 config=place(target, isid="800000000001"))
    wait_state(control, "added", "up")
    same, other = Mux(daemon, "same"), Mux(daemon, "other")
    rewrite(daemon, target, ("same", {"max_burst_length": 262144}),
            ("other", {"max_burst_length": "128K"}), ("new", {}),
            client_tasks=77)
    answer = control.call("config.reload")
    check_equal(answer, {"added": ["new"], "removed": ["gone"],
                         "changed": ["other"], "access": [], "skipped": [],
                         "settings": ["client-tasks"], "restart": []},
                "what changed")
    wait_until(lambda: names(control) == ["same", "other", "added", "new"],
               "the new sessions")
    other.event("session-down")
    other.event("session-up")
    other.works()
    same.works()
    stats = control.call("stats.get")["sessions"]
    check_equal([stats[name]["logins"] for name in ("same", "other")],
                [1, 2], "logins")
    check_equal(control.call("daemon.info")["limits"]["client_tasks"], 77,
                "client_tasks")


@test("a faulty file is refused whole, with all its errors")
def reload_faulty():
    """By config.reload and by SIGHUP."""
    daemon, control, target = daemon_and_target(("disk", {}))
    wait_state(control, "disk", "up")
    rewrite(daemon, target, ("new", {"colour": "red", "isid": "x"}))
    try:
        control.call("config.reload")
        raise AssertionError("was not refused")
    except RpcError as error:
        check_equal(error.code, -32004, "code")
        check_equal(len(error.data["errors"]), 2, "errors")
    daemon.signal(signal.SIGHUP)
    daemon.wait_line("refused, 2 errors", count=2)
    check_equal(names(control), ["disk"], "sessions")
    stats = control.call("stats.get")["sessions"]["disk"]
    check_equal(stats["logins"], 1, "logins")


@test("SIGHUP reloads; access rules change without a login")
def sighup():
    """Repeated reloads of one file do nothing."""
    daemon, control, target = daemon_and_target(("disk", {}))
    wait_state(control, "disk", "up")
    rewrite(daemon, target,
            ("disk", {"access": {"users": ["12345"], "allow": ["all"]}}))
    daemon.signal(signal.SIGHUP)
    daemon.wait_line("reload: disk: access rules changed")
    daemon.wait_line("reload: done")
    check(not any(control.call("config.reload").values()),
          "the same file changed something")
    check_equal(control.call("stats.get")["sessions"]["disk"]["logins"], 1,
                "logins")


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


if __name__ == "__main__":
    main()
