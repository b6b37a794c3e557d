#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""config.reload and SIGHUP: only what changed is touched."""

import functools
import os
import signal

from harness import check, check_equal, main, scaled, test, wait_until
from iscsimuxd import Daemon, RpcError, session
from managerig import (daemon_and_target, names, place, refused, rewrite,
                       wait_state)
from muxclient import (ATTACHED, LOGOUT, LUN_RESET, TEST_UNIT_READY, Forked,
                       Mux, command, tmf)
from rawclient import Raw
from rawrig import as_nobody, raw_rule, shared_by
from scripted import Scripted
from targets import RamTarget

LOGOUT_RSP = 0x26
NOTHING = {"added": [], "removed": [], "changed": [], "access": [],
           "skipped": [], "settings": [], "restart": []}


def logins(control, *wanted):
    """How often these sessions have logged in."""
    stats = control.call("stats.get")["sessions"]
    return [stats[name]["logins"] for name in wanted]


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


@test("a client that lost all access is told so and disconnected")
def lost_access():
    """The others stay, and so does the session."""
    nobody = {"access": {"users": ["65534"], "allow": ["all"]}}
    daemon, control, target = daemon_and_target(
        ("disk", nobody), ("other", nobody), data_socket_mode="0666")
    for name in ("disk", "other"):
        wait_state(control, name, "up")

    def body(path, report):
        mux, other = Mux(path, "disk"), Mux(path, "other")
        mux.works()
        report("attached")
        last = mux.farewell()[-1]
        check_equal(last.reason, "not-permitted", "reason of GOODBYE")
        check("access rules" in last.text, f"no reason given: {last}")
        other.works()
        check(Mux(path).attach("disk").kind != ATTACHED, "let in again")
        report("done")
    theirs = as_nobody(daemon, body)
    theirs.said("attached")
    mine = Mux(daemon, "disk")
    rewrite(daemon, target, ("disk", {}), ("other", nobody),
            data_socket_mode="0666")
    check_equal(control.call("config.reload"), {**NOTHING,
                                                "access": ["disk"]},
                "what changed")
    theirs.said("done")
    mine.works()
    check_equal(logins(control, "disk", "other"), [1, 1], "logins")


@test("a client that lost a part of its access is refused that part")
def narrowed():
    """It stays attached, and the rest goes on; more is for those to come."""
    def rule(*levels):
        return {"access": {"users": ["65534"], "allow": levels}}
    daemon, control, target = daemon_and_target(
        ("disk", rule("write", "reset")), data_socket_mode="0666")
    wait_state(control, "disk", "up")

    def body(path, report):
        mux = Mux(path, "disk")
        check(mux.run(tmf(1, LUN_RESET)).pdu is not None, "no reset")
        # The unit attention of that.
        mux.run(command(2, TEST_UNIT_READY))
        report("reset")
        while not report.asks():
            mux.works()
        mux.refused(tmf(1, LUN_RESET), "not-permitted")
        mux.works()
        check(Mux(path, "disk").attached.access != mux.attached.access,
              "access of who comes later")
        report("refused")
        while not report.asks():
            mux.works()
        mux.refused(tmf(1, LUN_RESET), "not-permitted")
        check(Mux(path, "disk").run(tmf(1, LUN_RESET)).pdu is not None,
              "no reset")
        report("done")
    theirs = as_nobody(daemon, body)
    theirs.said("reset")
    for levels, said in ((("write",), "refused"),
                         (("write", "reset"), "done")):
        rewrite(daemon, target, ("disk", rule(*levels)),
                data_socket_mode="0666")
        check_equal(control.call("config.reload"),
                    {**NOTHING, "access": ["disk"]}, "what changed")
        theirs.ask(said)
    check_equal(logins(control, "disk"), [1], "logins")


@test("access rules that change with other keys hold when the session is back")
def narrowed_anew():
    """One client loses a part of its access, another one all."""
    def block(levels, **keys):
        return {"access": {"users": ["65534"], "allow": levels}, **keys}
    daemon, control, target = daemon_and_target(
        ("disk", block(["write", "reset"])), ("other", block(["all"])),
        data_socket_mode="0666")
    for name in ("disk", "other"):
        wait_state(control, name, "up")

    def body(path, report):
        mux, other = Mux(path, "disk"), Mux(path, "other")
        other.works()
        check(mux.run(tmf(1, LUN_RESET)).pdu is not None, "no reset")
        # The unit attention of that.
        mux.run(command(2, TEST_UNIT_READY))
        report("attached")
        last = other.farewell()[-1]
        check_equal(last.reason, "not-permitted", "reason of GOODBYE")
        mux.event("session-up")
        mux.refused(tmf(3, LUN_RESET), "not-permitted")
        mux.works()
        report("done")
    theirs = as_nobody(daemon, body)
    theirs.said("attached")
    mine = Mux(daemon, "other")
    rewrite(daemon, target,
            ("disk", block(["write"], max_burst_length="128K")),
            ("other", {"max_burst_length": "128K"}), data_socket_mode="0666")
    check_equal(control.call("config.reload"),
                {**NOTHING, "changed": ["disk", "other"]}, "what changed")
    theirs.said("done")
    mine.event("session-up")
    mine.works()


@test("reloads under load disturb no task of a session that stays")
def under_load():
    """The session beside it logs in anew each time."""
    daemon, control, target = daemon_and_target(("same", {}), ("other", {}))
    for name in ("same", "other"):
        wait_state(control, name, "up")

    def load(base, parent):
        mux = Mux(daemon, "same")
        data = os.urandom(64 * 512)
        places = range(base, base + 8 * 64, 64)
        parent("ready")
        while not parent.asks():
            writes = [mux.start_write(lba, data) for lba in places]
            mux.finish(*writes)
            for task in writes:
                task.good()
            for lba in places:
                check(mux.read(lba, 64) == data, "what was read")
        mux.ping()
        check_equal([msg for msg in mux.inbox if hasattr(msg, "event")], [],
                    "events")
        parent("all good")
    clients = [Forked(functools.partial(load, 1024 * number))
               for number in range(2)]
    for client in clients:
        client.said("ready")
    rounds = scaled(20, 4)
    for turn in range(rounds):
        rewrite(daemon, target, ("same", {}),
                ("other", {"max_burst_length": f"{128 << turn % 2}K",
                           "max_outstanding_r2t": 2}))
        check_equal(control.call("config.reload"),
                    {**NOTHING, "changed": ["other"]}, "what changed")
        wait_until(lambda: logins(control, "other") == [turn + 2],
                   "the next login")
    for client in clients:
        client.ask("all good")
    check_equal(logins(control, "same"), [1], "logins")


@test("a reload while a session logs out counts for its next login")
def pending_logout():
    """Also if it takes back that it is to be removed."""
    target = Scripted()
    target.portals = [target.portal]
    daemon, control, _ = daemon_and_target(
        ("odd", {"max_burst_length": "128K"}), target=target)
    peer = target.login()
    check_equal(peer.keys["MaxBurstLength"], "131072", "MaxBurstLength")
    for size, ask in (("64K", "session.logout"), ("32K", "session.remove")):
        wait_state(control, "odd", "up")
        control.call(ask, session="odd")
        request = peer.receive(LOGOUT)
        rewrite(daemon, target, ("odd", {"max_burst_length": size,
                                         "first_burst_length": "8K"}))
        changed = control.call("config.reload")
        check_equal(changed["added"] + changed["changed"], ["odd"], "changed")
        check_equal(control.call("config.reload"), NOTHING, "again")
        if ask == "session.logout":
            wait_state(control, "odd", "logout")
            check("not down and waiting, but logout" in refused(
                control.call, "session.reconnect", -32001, "session",
                session="odd"), "reason")
            control.call("session.login", session="odd")
        peer.respond(request, LOGOUT_RSP, word5=0)
        peer.closed()
        peer = target.login()
        check_equal(peer.keys["MaxBurstLength"], str(int(size[:-1]) << 10),
                    "MaxBurstLength")


@test("a session that clients share is left as it is by a reload")
def shared():
    """Its configuration counts when the last of them has gone."""
    manual = {"startup": "manual"}
    target = RamTarget()
    daemon = Daemon(session("disk", target.portals[0], target.iqn, **manual),
                    raw_rule())
    control = daemon.control()
    owners = []
    for name, isid in (("disk", 1), ("ad-hoc", 2)):
        raw = Raw(daemon, target.portals[0])
        raw.login(target.iqn, isid=bytes([0x80, 0, 0, 0, 0, isid]))
        owners.append(shared_by(raw, name))
    rewrite(daemon, target, ("disk", {"max_burst_length": "128K", **manual}),
            ("ad-hoc", {}))
    check_equal(control.call("config.reload"),
                {**NOTHING, "skipped": ["disk", "ad-hoc"],
                 "settings": ["raw"]}, "what changed")
    for raw, name in zip(owners, ("disk", "ad-hoc")):
        other = Mux(daemon, name)
        for client in (raw, other):
            client.works()
            client.close()
    wait_until(lambda: names(control) == ["disk"], "the end of one")
    wait_state(control, "disk", "stopped")
    changed = control.call("config.reload")
    check_equal((changed["changed"], changed["added"]),
                (["disk"], ["ad-hoc"]), "what changed")


@test("new access rules bind who shares a session that has a block")
def shared_access():
    """Whoever shares it goes on."""
    target = RamTarget()
    nobody = {"access": {"users": ["65534"], "allow": ["all"]},
              "startup": "manual"}
    daemon = Daemon(session("disk", target.portals[0], target.iqn, **nobody),
                    raw_rule(), data_socket_mode="0666")
    control = daemon.control()
    raw = Raw(daemon, target.portals[0])
    raw.login(target.iqn, isid=bytes([0x80, 0, 0, 0, 0, 1]))
    shared_by(raw, "disk")

    def body(path, report):
        mux = Mux(path, "disk")
        mux.works()
        report("attached")
        last = mux.farewell()[-1]
        check_equal(last.reason, "not-permitted", "reason of GOODBYE")
        report("done")
    theirs = as_nobody(daemon, body)
    theirs.said("attached")
    rewrite(daemon, target, ("disk", {"startup": "manual"}), more=raw_rule(),
            data_socket_mode="0666")
    check_equal(control.call("config.reload"),
                {**NOTHING, "access": ["disk"]}, "what changed")
    theirs.said("done")
    raw.works()
    check_equal(control.call("config.reload"), NOTHING, "again")


@test("a change that would throw another session out is skipped")
def clash():
    """Both stay as they are."""
    daemon, control, target = daemon_and_target(("disk", {}))
    control.call("session.add", session="added",
                 config=place(target, isid="800000000001"))
    for name in ("disk", "added"):
        wait_state(control, name, "up")
    rewrite(daemon, target, ("disk", {"isid": "800000000001"}))
    check_equal(control.call("config.reload"),
                {**NOTHING, "skipped": ["disk"]}, "what changed")
    check_equal(logins(control, "disk", "added"), [1, 1], "logins")
    for name in ("disk", "added"):
        Mux(daemon, name).works()
    control.call("session.remove", session="added")
    wait_until(lambda: names(control) == ["disk"], "the end of the other")
    check_equal(control.call("config.reload")["changed"], ["disk"], "changed")
    wait_until(lambda: logins(control, "disk") == [2], "the next login")


@test("new limits are for new clients")
def limits():
    """A client that is there is told the ones that it has."""
    daemon, control, target = daemon_and_target(("disk", {}), client_tasks=5)
    wait_state(control, "disk", "up")
    old = Mux(daemon)
    rewrite(daemon, target, ("disk", {}), client_tasks=7)
    check_equal(control.call("config.reload")["settings"], ["client-tasks"],
                "settings")
    for mux, tasks in ((old, 5), (Mux(daemon), 7)):
        check_equal((mux.welcome.tasks_max, mux.attach("disk").tasks_max),
                    (tasks, tasks), "tasks of a client")


if __name__ == "__main__":
    main()
