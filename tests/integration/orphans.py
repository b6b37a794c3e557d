#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""What a client leaves behind when it dies: its tasks are aborted one by one,
what the target waits for is given, tags and charges come back, and nobody
else notices."""

import os
import random

from harness import check, check_equal, main, scaled, test
from iscsimuxd import Daemon, session
from muxclient import (ABORT_TASK, DATA_OUT, FINAL, LUN_RESET, NONE, NOP_IN,
                       NOP_OUT, TEST_UNIT_READY, TEXT, TMF, TMF_RSP, WRITE,
                       Forked, Mux, command, data_out, lun_number, nop_out,
                       text_request, tmf, write16)
from muxrig import Rig
from scripted import Scripted
from targets import Tgt

PART = 4096
BURST = 32768
SIZE = 4 * BURST


def victim(daemon, name, lun=0, unsolicited=True):
    """A client with 64 commands in flight: reads; writes that wait for the
    data of an R2T, or for half of it. Behind these, unsent, writes without
    half of the unsolicited data they announced."""
    def body(report):
        mux = Mux(daemon, name)
        cdb = write16(4096, SIZE // 512)
        part = bytes(PART)
        for itt in range(32):
            mux.start_read(4096, 128, itt=itt, lun=lun)
        writes = [mux.submit(command(itt, cdb, SIZE, WRITE, lun=lun))
                  for itt in range(32, 64)]
        for number, task in enumerate(writes):
            r2t = mux.wait_r2ts(task)
            for sn in range(number % 3):
                mux.submit_data(data_out(task.itt, r2t.word5,
                                         r2t.offset + sn * PART, part, sn,
                                         False, lun))
        for itt in range(64, 72 if unsolicited else 64):
            mux.submit(command(itt, cdb, SIZE, WRITE, part, lun, final=False))
            mux.submit_data(data_out(itt, NONE, PART, part, 0, False, lun))
        mux.ping()
        report("in flight")
        while True:
            mux.receive()
    return body


def bystander(daemon, name, area, lun=0, reads=True):
    """A client that writes, and reads what it wrote; any error is its end.
    When asked it reports two rounds later."""
    def body(parent):
        rand = random.Random(area)
        mux = Mux(daemon, name)
        parent("ready")
        left = -1
        while True:
            data = rand.randbytes(16384)
            mux.write(area, data, lun=lun)
            if reads:
                check(mux.read(area, 32, lun=lun) == data, "read another's")
            mux.works(lun=lun)
            mux.tasks.clear()
            if parent.asks():
                left = 3
            left -= 1
            if left == 0:
                parent("well")
    return body


@test("64 commands in flight when a client is killed, again and again")
def killed():
    for more in ((), ("--initial-r2t", "yes", "--max-outstanding-r2t", "2")):
        rig = Rig("--max-recv-dsl", "8K", *more, session_keys={
            "first_burst_length": "32K", "max_burst_length": "32K",
            "max_outstanding_r2t": 2})
        rig.order("hold reads")
        others = [Forked(bystander(rig.daemon, "ram", area, reads=False))
                  for area in (0, 1000)]
        for other in others:
            other.said("ready")
        for turn in range(1, scaled(10, 2) + 1):
            dying = Forked(victim(rig.daemon, "ram", unsolicited=not more))
            dying.said("in flight")
            dying.kill()
            rig.wait_target(lambda c, n=turn: c["aborted_tasks"] == 64 * n,
                            "64 tasks to be aborted")
            for other in others:
                other.ask("well")
            rig.daemon.wait_session(
                "ram", lambda shown: shown["orphans"] == 0, "without orphans")
        stats = rig.stats()
        check_equal((stats["orphans"], stats["aborts_sent"], stats["downs"],
                     stats["outcomes"]["unknown"]),
                    (64 * turn, 64 * turn, 0, 0), "orphans, ABORT TASKs")
        for other in others:
            other.kill()
        rig.wait_idle()
        rig.order("release")
        rig.wait_target(lambda c: c["r2ts_open"] == 0, "no open R2T")
        check_equal(rig.session_of_target()["tasks"], 0, "tasks at the target")
        rig.mux().works()
        rig.target.check_no_error()


@test("the same against tgt")
def killed_tgt():
    iqn = "iqn.2026-01.org.example:tgt"
    tgt = Tgt()
    tid = tgt.add_target(iqn)
    daemon = Daemon(session("tgt", tgt.portal, iqn,
                            first_burst_length="32K", max_burst_length="32K"))
    daemon.wait_up("tgt")
    lun = lun_number(1)
    mux = Mux(daemon, "tgt")
    unsolicited = not mux.attached.initial_r2t
    # The first command meets the unit attention of the power-on.
    mux.run(command(1, TEST_UNIT_READY, lun=lun))
    mux.works(lun)
    others = [Forked(bystander(daemon, "tgt", area, lun))
              for area in (0, 1000)]
    for _ in range(scaled(3, 1)):
        dying = Forked(victim(daemon, "tgt", lun, unsolicited))
        dying.said("in flight")
        dying.kill()
        for other in others:
            other.ask("well")
        daemon.wait_session("tgt", lambda shown: shown["orphans"] == 0,
                            "without orphans")
    for other in others:
        other.kill()
    daemon.wait_session("tgt", lambda shown: shown["tasks"] == 0, "idle")
    stats = daemon.call("stats.get", session="tgt")["sessions"]["tgt"]
    check_equal((stats["downs"], stats["outcomes"]["unknown"]), (0, 0),
                "lost connections")
    check(stats["aborts_sent"] > 0, "no ABORT TASK was sent")
    check_equal(tgt.sessions(tid), 1, "sessions of tgt")
    check("still in use" not in daemon.log(), "the daemon lost count")


@test("aborts go out one at a time, each R2T is answered behind its own")
def one_by_one():
    target = Scripted()
    daemon = Daemon(session("odd", target.portal, target.iqn,
                            logout_timeout="100ms"))
    peer = target.login(ImmediateData="No", InitialR2T="Yes")
    daemon.wait_up("odd")
    mux, other = Mux(daemon, "odd"), Mux(daemon, "odd")
    lun = 0x0123456789abcdef
    mux.start_read(0, 8, lun=lun)
    fed = mux.start_write(0, bytes(8192), manual=True, lun=lun)
    mux.start_write(0, bytes(8192), manual=True, lun=lun)
    mux.start_write(0, bytes(8192), manual=True, lun=lun)
    requests = [peer.receive() for _ in range(4)]
    peer.r2t(requests[1], 0x71, 1024, 4096)
    r2t = mux.wait_r2ts(fed)
    mux.submit_data(data_out(fed.itt, r2t.word5, 1024, bytes(512), 0, False,
                             lun))
    mux.submit_data(data_out(fed.itt, r2t.word5, 1536, bytes(512), 1, False,
                             lun))
    peer.receive(DATA_OUT)
    peer.receive(DATA_OUT)
    mux.close()
    wanted = [(True, FINAL | ABORT_TASK, lun, r.itt, r.cmdsn)
              for r in requests]

    def abort(number):
        got = peer.receive(TMF)
        check_equal((got.immediate, got.flags, got.lun, got.word5, got.word8),
                    wanted[number], f"ABORT TASK {number}")
        return got

    def cut(number, ttt, datasn, offset):
        got = peer.receive(DATA_OUT)
        check_equal((got.flags, got.data, got.lun, got.itt, got.word5,
                     got.datasn, got.offset),
                    (FINAL, b"", lun, requests[number].itt, ttt, datasn,
                     offset), "the Data-Out that ends the R2T")
    first = abort(0)
    peer.r2t(requests[2], 0x72, 0, 8192)
    peer.quiet()
    # Others go on meanwhile.
    task = other.submit(command(1, TEST_UNIT_READY))
    peer.respond(peer.receive())
    other.finish(task).good()
    # A response of its own does not free the tag, for the abort names it.
    peer.respond(requests[0])
    peer.quiet()
    peer.respond(first, TMF_RSP, response=1)
    second = abort(1)
    cut(1, 0x71, 2, 2048)
    peer.quiet()
    # R2Ts behind the abort are answered at once.
    peer.r2t(requests[1], 0x73, 5120, 3072)
    cut(1, 0x73, 0, 5120)
    peer.respond(second, TMF_RSP)
    third = abort(2)
    cut(2, 0x72, 0, 0)
    # The target does not abort it, and still asks: it is still answered.
    peer.respond(third, TMF_RSP, response=255)
    fourth = abort(3)
    peer.respond(fourth, TMF_RSP)
    peer.r2t(requests[2], 0x74, 0, 512)
    cut(2, 0x74, 0, 0)
    shown = daemon.wait_session("odd", lambda s: s["tasks"] == 1,
                                "to have one task")
    check_equal(shown["orphans"], 1, "orphans")
    peer.respond(requests[2], status=2)
    daemon.wait_session("odd", lambda s: s["tasks"] == 0, "idle")
    other.ping()
    check_equal(list(other.inbox), [], "what the other client saw")


@test("requests that were not sent are dropped, and leave no gap")
def unsent():
    rig = Rig("--queue-depth", "4")
    rig.order("hold reads")
    mux = rig.mux()
    sent = [mux.start_read(0, 8) for _ in range(4)]
    rig.wait_tasks(4)
    mux.ping()
    rig.wait_target(lambda c: c["commands"] == 4, "four commands")

    def body(report):
        dying = rig.mux()
        for itt in range(64):
            if itt % 2:
                dying.start_read(0, 8, itt=itt)
            else:
                dying.start_write(0, bytes(4096), itt=itt, immediate=4096)
        dying.submit(nop_out(100, b"", NOP_OUT))
        dying.submit(text_request(101))
        dying.ping()
        report("queued")
        dying.receive()
    dying = Forked(body)
    dying.said("queued")
    rig.wait_tasks(70)
    dying.kill()
    rig.wait_tasks(4)
    check_equal(rig.stats()["orphans"], 0, "orphans")
    rig.order("release")
    for task in sent:
        mux.finish(task).good()
    mux.works()
    check_equal((rig.target.counters()["commands"], rig.stats()["plugs"]),
                (5, 0), "commands at the target, NOP-Outs in their place")
    rig.wait_idle()


@test("orphans stay charged to their user until the target has answered")
def charges():
    rig = Rig(client_tasks=80, uid_factor=1)
    rig.order("hold reads")
    dying = Forked(victim(rig.daemon, "ram"))
    dying.said("in flight")
    rig.order("stall on")
    dying.kill()
    rig.daemon.wait_session("ram", lambda s: s["orphans"] == 64, "64 orphans")
    mux = rig.mux()
    tasks = [mux.submit(command(itt, TEST_UNIT_READY)) for itt in range(16)]
    outcome = mux.refused(command(16, TEST_UNIT_READY), "over-quota")
    check("user" in outcome.text and "80" in outcome.text, outcome.text)
    rig.order("stall off")
    for task in tasks:
        mux.finish(task).good()
    rig.wait_idle()
    rig.order("release")
    rig.order("hold all")
    tasks = [mux.submit(command(itt, TEST_UNIT_READY)) for itt in range(80)]
    rig.wait_tasks(80)
    rig.order("release")
    for task in tasks:
        mux.finish(task).good()
    rig.wait_idle()


@test("orphans that can not be aborted are waited for, then the session ends")
def not_abortable():
    target = Scripted()
    daemon = Daemon(session("odd", target.portal, target.iqn,
                            logout_timeout="100ms",
                            reconnect_interval="100ms"),
                    abort_timeout="500ms")
    peer = target.login()
    daemon.wait_up("odd")
    other = Mux(daemon, "odd")
    for pdu, answer in ((nop_out(1, b"x"), NOP_IN),
                        (tmf(1, LUN_RESET), TMF_RSP)):
        mux = Mux(daemon, "odd")
        mux.submit(pdu)
        request = peer.receive()
        mux.close()
        daemon.wait_session("odd", lambda s: s["orphans"] == 1, "one orphan")
        peer.respond(request, answer)
        daemon.wait_session("odd", lambda s: s["tasks"] == 0, "idle")
    mux = Mux(daemon, "odd")
    mux.submit(text_request(1))
    request = peer.receive(TEXT)
    mux.close()
    abort = peer.receive(TMF)
    check_equal((abort.word5, abort.word8), (request.itt, request.cmdsn),
                "the ABORT TASK")
    theirs = other.submit(text_request(1))
    peer.quiet()
    peer.respond(abort, TMF_RSP, response=1)
    request = peer.receive(TEXT)
    peer.respond(request, 0x24, data=b"TargetName=x\0")
    other.finish(theirs)
    for pdu in (tmf(1, LUN_RESET), nop_out(1)):
        mux = Mux(daemon, "odd")
        mux.submit(pdu)
        peer.receive()
        mux.close()
        peer.closed()
        check("no answer to" in other.event("session-down").text, "why")
        peer = target.login()
        daemon.wait_up("odd")
    task = other.submit(command(1, TEST_UNIT_READY))
    peer.respond(peer.receive())
    other.finish(task).good()


@test("a client that goes while the session is down leaves nothing")
def while_down():
    rig = Rig()
    mux = rig.mux()
    rig.order("hold reads")
    rig.order("refuse-login 3 1")
    tasks = [mux.start_read(0, 8) for _ in range(8)]
    rig.wait_tasks(8)
    rig.order("drop")
    for task in tasks:
        mux.finish(task)
    dying = Forked(lambda report: (Mux(rig.daemon, "ram"), report("attached"),
                                   os.read(os.pipe()[0], 1)))
    dying.said("attached")
    dying.kill()
    mux.close()
    rig.wait_idle()
    rig.order("refuse-login no")
    rig.order("release")
    rig.daemon.wait_up("ram")
    rig.mux().works()


main()
