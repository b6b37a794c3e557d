#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""ATTACH by the name of the target instead of the session's."""

from harness import check, check_equal, main, test
from iscsimuxd import Daemon, session
from muxclient import ATTACH, ATTACHED, ERROR, Mux, attach
from rawrig import RamRig, seen_by_nobody, shared_by
from target_client import Target

NO_SUCH = "no-such-session"


def refusal(mux, name, reason):
    """ATTACH by that name must be an ERROR; its text."""
    return mux.error(mux.send(ATTACH, attach(name)), reason).text


@test("all who name the target get its one session")
def by_target():
    target = Target()
    daemon = Daemon(session("ram", target.portals[0], target.iqn))
    daemon.wait_up("ram")
    muxes = [Mux(daemon) for _ in range(3)]
    names = (target.iqn, target.iqn.upper(), "ram")
    cookies = [mux.send(ATTACH, attach(name))
               for mux, name in zip(muxes, names)]
    for mux, cookie in zip(muxes, cookies):
        mux.attached = mux.answer_to(cookie)
        check_equal((mux.attached.kind, mux.attached.state),
                    (ATTACHED, "up"), f"answer {mux.attached}")
        mux.works()
    clients = daemon.call("client.list")["clients"]
    check_equal([client["session"] for client in clients], ["ram"] * 3,
                "sessions of the clients")
    check_equal(len(daemon.call("session.list")["sessions"]), 1, "sessions")
    check_equal(target.order("sessions")["count"], 1, "at the target")
    # A part of the name, and more than it, are other names.
    nobody = Mux(daemon)
    for name in (target.iqn[:-1], target.iqn + "x", target.iqn.split(":")[0]):
        refusal(nobody, name, NO_SUCH)
    done = daemon.iscsimux("capacity", target.iqn + "/0")
    check(f"session {target.iqn}" not in done.stderr, done.stderr)
    check_equal(done.stdout, daemon.iscsimux("capacity", "ram/0").stdout,
                "iscsimux capacity")
    target.check_no_error()


@test("a name as long as iSCSI allows")
def longest():
    iqn = "iqn.2026-01.org.example:".ljust(223, "x")
    target = Target("--target-name", iqn)
    daemon = Daemon(session("ram", target.portals[0], iqn))
    daemon.wait_up("ram")
    Mux(daemon, iqn).works()
    daemon.iscsimux("wait", iqn)


@test("two sessions with that target: the answer names both")
def ambiguous():
    target = Target()
    daemon = Daemon(*(session(name, target.portals[0], target.iqn)
                      for name in ("one", "two")))
    for name in ("one", "two"):
        daemon.wait_up(name)
    mux = Mux(daemon)
    text = refusal(mux, target.iqn, "bad-field")
    check_equal(text, f"{target.iqn} is the target of the sessions one and "
                "two: attach to one of these names", "text")
    done = daemon.iscsimux("capacity", target.iqn, check_status=1)
    check("the sessions one and two" in done.stderr, done.stderr)
    daemon.call("session.remove", session="one")
    daemon.wait_call(lambda told: len(told["sessions"]) == 1,
                     "the session to be gone", "session.list")
    check_equal(mux.attach(target.iqn).kind, ATTACHED, "the one that is left")
    mux.works()


@test("a session that a client may not use is not there")
def access():
    away = "iqn.2026-01.org:other"
    target, other = Target(), Target("--target-name", away)
    nobody = {"users": ["nobody"], "allow": ["all"]}
    daemon = Daemon(session("mine", target.portals[0], target.iqn),
                    session("theirs", target.portals[0], target.iqn,
                            access=nobody),
                    session("other", other.portals[0], away),
                    data_socket_mode="0666")
    for name in ("mine", "theirs", "other"):
        daemon.wait_up(name)

    def look(path):
        mux = Mux(path)
        check_equal(refusal(mux, away, NO_SUCH),
                    refusal(mux, "iqn.2026-01.org:none", NO_SUCH), "texts")
        check_equal(mux.attach(target.iqn).kind, ATTACHED, "answer")
        mux.works()

    seen_by_nobody(daemon, look)
    check("attached to session theirs" in daemon.log(), "not theirs")
    check("attached to session mine" not in daemon.log(), "mine")


@test("what a client shared has its own name only")
def shared():
    rig = RamRig()
    raw = shared_by(rig.raw())
    mux = Mux(rig.daemon)
    answer = mux.answer_to(mux.send(ATTACH, attach(rig.target.iqn)))
    check_equal((answer.kind, answer.reason), (ERROR, NO_SUCH), f"{answer}")
    check_equal(mux.attach("shared").kind, ATTACHED, "by its own name")
    mux.works()
    raw.works()


if __name__ == "__main__":
    main()
