#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Attempts to log in again: their limit, and those that an admin asks for."""

from harness import check, check_equal, free_port, main, test
from iscsimuxd import Daemon, RpcError, session
from target_client import Target


def expect_refusal(call, words):
    """The call is answered by an error that contains the words."""
    try:
        call()
    except RpcError as error:
        check(words in str(error), f"{words!r} is not in {str(error)!r}")
        return
    check(False, "it was not refused")


@test("reconnect-limit: it gives up, and comes back when told to")
def gives_up():
    target = Target()
    target.order("refuse-login 3 1")
    daemon = Daemon(session("disk", target.portals[0], target.iqn,
                            reconnect_interval="0s", reconnect_limit="3"))
    shown = daemon.wait_session("disk", lambda told: told["given_up"],
                                "to give up")
    check_equal((shown["state"], shown["attempts"], shown["next_try_ms"]),
                ("down", 3, 0), "session.show")
    check("given up after 3 attempts" in daemon.log(), "no such line")
    listed = daemon.iscsimuxctl("session", "list").stdout
    check("only when told to" in listed, listed)
    target.order("refuse-login no")
    told = daemon.iscsimuxctl("reconnect", "disk")
    check_equal((told.returncode, told.stdout),
                (0, "session disk: connecting\n"), "iscsimuxctl reconnect")
    check_equal(daemon.wait_up("disk")["attempts"], 0, "attempts")
    target.check_no_error()


@test("session.reconnect does not wait for the next try")
def does_not_wait():
    target = Target()
    target.order("refuse-login 2 3")
    daemon = Daemon(session("disk", target.portals[0], target.iqn,
                            reconnect_interval="60m", reconnect_max="60m"))
    shown = daemon.wait_session("disk", lambda told: told["next_try_ms"],
                                "to wait")
    check(shown["next_try_ms"] > 40 * 60000, f"{shown['next_try_ms']}")
    target.order("refuse-login no")
    daemon.call("session.reconnect", session="disk")
    daemon.wait_up("disk")
    expect_refusal(lambda: daemon.call("session.reconnect", session="disk"),
                   "not down and waiting, but up")
    expect_refusal(lambda: daemon.call("session.reconnect", session="no"),
                   "there is no session")
    target.check_no_error()


@test("of several portals the one that answers is used, and shown")
def several_portals():
    target = Target()
    dead = f"127.0.0.1:{free_port()}"
    daemon = Daemon(session("disk", [dead, target.portals[0]], target.iqn,
                            reconnect_interval="60m", reconnect_max="60m"))
    shown = daemon.wait_up("disk")
    check_equal(shown["portal"], target.portals[0], "portal")
    check_equal(daemon.call("stats.get")["sessions"]["disk"]
                ["login_failures"], 1, "failed attempts")
    target.check_no_error()


main()
