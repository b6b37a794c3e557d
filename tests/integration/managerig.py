# SPDX-License-Identifier: ISC
"""What tests that manage sessions share: a daemon to be managed, its file."""

from harness import check_equal, wait_until
from iscsimuxd import Daemon, RpcError, session
from targets import RamTarget


def daemon_and_target(*sessions, target=None, **keys):
    """A daemon, its control socket, and a target for its sessions."""
    target = target or RamTarget()
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


def rewrite(daemon, target, *sessions, more="", **keys):
    """Writes another configuration for the daemon; more is text."""
    text = daemon.daemon_section(keys) + "".join(
        session(name, target.portals[0], target.iqn, **its)
        for name, its in sessions) + more
    with open(daemon.config_path, "w", encoding="utf-8") as file:
        file.write(text)
