#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""iSCSIProtocolLevel 2: its negotiation, and what RFC 7144 adds with it."""

from harness import check, check_equal, main, test
from iscsimuxd import Daemon, session
from muxclient import (FINAL, F_SYNTHETIC, READ, TEST_UNIT_READY,
                       TMF_RSP, Mux, command, read16, tmf)
from muxrig import Rig
from scripted import Scripted

HOLD = 2
QUERY_TASK, QUERY_TASK_SET, NEXUS_RESET, QUERY_EVENT = 9, 10, 11, 12
COMPLETE, NO_LUN, SUCCEEDED = 0, 2, 7
LUN_7 = 7 << 48
NEXUS_LOSS = 0x2907


def rig_at_2():
    """Target and daemon that both know level 2."""
    return Rig("--luns", "2", "--protocol-level", "2",
               session_keys={"protocol_level": 2})


def odd_at_2(**options):
    """A scripted target at level 2, its connection, and a client."""
    target = Scripted()
    daemon = Daemon(session("odd", target.portal, target.iqn,
                            logout_timeout="100ms", protocol_level=2,
                            reconnect_interval="100ms"))
    peer = target.login()
    daemon.wait_up("odd")
    return target, peer, Mux(daemon, "odd", **options)


def said(mux, pdu, response, flags=0):
    """The function must have this response; its PDU."""
    task = mux.run(pdu)
    check(task.pdu is not None, f"ended with {task.outcome}")
    check_equal((task.pdu.opcode, task.pdu.response, task.pdu.flags),
                (TMF_RSP, response, flags), f"response {task.pdu}")
    return task.pdu


@test("the level comes of both sides, and session.show tells it")
def levels():
    for ours, theirs, level in ((1, "1", 1), (1, "2", 1), (2, "1", 1),
                                (2, "2", 2)):
        rig = Rig("--protocol-level", theirs,
                  session_keys={"protocol_level": ours})
        check_equal(rig.show()["negotiated"]["protocol_level"], level,
                    f"level of {ours} and {theirs}")
        rig.mux().works()


@test("level 1 is not said; a target may refuse the key or not know it")
def refusals():
    for level, answer in ((1, None), (2, "NotUnderstood"), (2, "Reject"),
                          (2, "Irrelevant"), (2, "1")):
        target = Scripted()
        daemon = Daemon(session("odd", target.portal, target.iqn,
                                logout_timeout="100ms",
                                protocol_level=level))
        peer = target.login(iSCSIProtocolLevel=answer)
        check_equal(peer.keys.get("iSCSIProtocolLevel"),
                    "2" if level == 2 else None, "the offer")
        daemon.wait_up("odd")
        shown = daemon.call("session.show", session="odd")
        check_equal(shown["negotiated"]["protocol_level"], 1, answer)


@test("QUERY TASK: own tasks only, and nothing ends")
def query_task():
    rig = rig_at_2()
    rig.order("hold reads")
    mux, other = rig.mux(), rig.mux()
    mine = mux.start_read(0, 8, itt=1)
    theirs = other.start_read(0, 8, itt=2)
    rig.wait_target(lambda c: c["commands"] == 2, "the reads")
    said(mux, tmf(9, QUERY_TASK, 1), SUCCEEDED)
    check_equal(rig.target.counters()["tmfs"], 1, "TMFs at the target")
    said(mux, tmf(9, QUERY_TASK, 2), COMPLETE, F_SYNTHETIC)
    said(mux, tmf(9, QUERY_TASK, 9), COMPLETE, F_SYNTHETIC)
    check_equal(rig.target.counters()["tmfs"], 1, "TMFs at the target")
    check(not mine.done and not theirs.done, "a task ended")
    rig.order("release")
    mux.finish(mine).good()
    other.finish(theirs).good()
    rig.wait_idle()


@test("QUERY TASK SET and QUERY ASYNCHRONOUS EVENT of a LUN")
def query_lun():
    rig = rig_at_2()
    rig.order("hold reads")
    mux, other = rig.mux(), rig.mux()
    read = other.start_read(0, 8)
    rig.wait_target(lambda c: c["commands"] == 1, "the read")
    said(mux, tmf(9, QUERY_TASK_SET), SUCCEEDED)
    said(mux, tmf(9, QUERY_TASK_SET, lun=1 << 48), COMPLETE)
    said(mux, tmf(9, QUERY_TASK_SET, lun=LUN_7), NO_LUN)
    said(mux, tmf(9, QUERY_EVENT, lun=1 << 48), COMPLETE)
    rig.order("ua 1 0x2a 0x09")
    told = said(mux, tmf(9, QUERY_EVENT, lun=1 << 48), SUCCEEDED)
    check_equal(told.bhs[8:11], b"\x06\x2a\x09",
                "Additional Response Information")
    check(not read.done, "the read ended")
    rig.order("release")
    other.finish(read).good()
    for client in (mux, other):
        client.ping()
        check_equal(list(client.inbox), [], "EVENTs")
    rig.wait_idle()


@test("I_T NEXUS RESET ends the tasks of all clients, and the session goes on")
def nexus_reset():
    rig = rig_at_2()
    rig.order("hold reads")
    mux, other, idle = rig.mux(), rig.mux(), rig.mux()
    mine = mux.start_read(0, 8)
    theirs = [other.start_read(0, 8, lun=lun << 48) for lun in (0, 1)]
    rig.wait_target(lambda c: c["commands"] == 3, "the reads")
    said(mux, tmf(9, NEXUS_RESET), COMPLETE)
    for client, task, reason in ((mux, mine, "cancelled"),
                                 *((other, task, "reset-by-another-client")
                                   for task in theirs)):
        client.finish(task)
        got = task.outcome
        check_equal((got.outcome, got.reason, got.tmf),
                    ("aborted", reason, 0), got.text)
        check("ended by I_T NEXUS RESET by client" in got.text, got.text)
    for client in (other, idle):
        check_equal(client.event("reset").code, NEXUS_RESET, "EVENT reset")
    rig.order("release")
    check_equal(mux.run(command(1, TEST_UNIT_READY)).pdu.status, 2, "status")
    check_equal(other.event("unit-attention").code, NEXUS_LOSS, "ASC, ASCQ")
    mux.works()
    check_equal(rig.show()["negotiated"]["generation"], 1, "generation")
    rig.wait_idle()


@test("a target that drops the connection after I_T NEXUS RESET")
def nexus_lost():
    target, peer, mux = odd_at_2()
    read = mux.start_read(0, 8)
    peer.receive()
    reset = mux.submit(tmf(9, NEXUS_RESET))
    request = peer.receive()
    check_equal(request.flags, FINAL | NEXUS_RESET, "the function")
    peer.respond(request, TMF_RSP)
    peer.socket.close()
    mux.finish(read, reset)
    check_equal((read.outcome.outcome, read.outcome.reason),
                ("aborted", "cancelled"), read.outcome.text)
    check_equal((reset.pdu.opcode, reset.pdu.response), (TMF_RSP, COMPLETE),
                "the response")
    mux.event("session-down")
    target.login()
    mux.event("session-up")


@test("below level 2: refused, with what to do; the permission comes first")
def refused():
    for keys, options, words in (
            ({}, ("--protocol-level", "2"), "set protocol-level = 2"),
            ({"protocol_level": 2}, (), "agreed to 1 only")):
        rig = Rig(*options, session_keys=keys)
        mux = rig.mux()
        for function in (QUERY_TASK, QUERY_TASK_SET, NEXUS_RESET,
                         QUERY_EVENT):
            got = mux.refused(tmf(9, function), "not-supported")
            check(words in got.text and "iSCSIProtocolLevel 2" in got.text,
                  got.text)
        check_equal(rig.target.counters()["tmfs"], 0, "TMFs at the target")
        mux.works()


@test("queries need no permission, I_T NEXUS RESET needs 'reset'")
def permission():
    rig = rig_at_2()
    mux = rig.mux(access=1 | 2)
    said(mux, tmf(9, QUERY_TASK, 5), COMPLETE, F_SYNTHETIC)
    said(mux, tmf(9, QUERY_TASK_SET), COMPLETE)
    said(mux, tmf(9, QUERY_EVENT), COMPLETE)
    got = mux.refused(tmf(9, NEXUS_RESET), "not-permitted")
    check("'reset'" in got.text, got.text)
    mux.works()


@test("the Command Priority goes out at level 2, and only there")
def priority():
    target, peer, mux = odd_at_2(flags=HOLD)

    def start():
        return mux.submit(command(mux.itt(), read16(0, 8), 4096, READ,
                                  byte2=0x70))

    first = start()
    request = peer.receive()
    check_equal(request.bhs[2], 0x70, "at level 2")
    peer.data_in(request, bytes(4096))
    mux.finish(first).good()
    # Accepted before the login that leads to less.
    peer.socket.close()
    mux.event("session-down")
    held = start()
    peer = target.login(iSCSIProtocolLevel="1")
    request = peer.receive()
    check_equal(request.bhs[2], 0, "at level 1")
    peer.data_in(request, bytes(4096))
    mux.finish(held).good()


main()
