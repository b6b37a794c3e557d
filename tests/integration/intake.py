#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""What a target sends for a task is counted: real ones count as the daemon
does, and one that leaves out a PDU loses its session, as the log explains."""

import os

from harness import check, check_equal, main, test, wait_until
from iscsimuxd import Daemon, session
from muxclient import (READ, SCSI_RSP, TEST_UNIT_READY, Mux, command,
                       lun_number, read16)
from scripted import Scripted
from targets import Istgt, Tgt

SMALL = {"max_recv_data_segment_length": "4K", "max_burst_length": "8K",
         "first_burst_length": "4K", "max_outstanding_r2t": 4}
LENGTH = 65536
BEYOND = 1 << 30


def counts(target, iqn, lun):
    """Reads of many Data-Ins, writes of many R2Ts, good ones and refused."""
    for solicited in (True, False):
        daemon = Daemon(session("disk", target.portal, iqn,
                                initial_r2t=solicited,
                                immediate_data=not solicited, **SMALL))
        daemon.wait_up("disk")
        mux = Mux(daemon, "disk")
        # It may meet the unit attention of the power-on.
        mux.run(command(1, TEST_UNIT_READY, lun=lun))
        mux.works(lun)
        data = os.urandom(LENGTH)
        immediate = 0 if solicited else 4096
        task = mux.finish(mux.start_write(0, data, lun=lun,
                                          immediate=immediate))
        task.good()
        check_equal([(r2t.datasn, r2t.offset) for r2t in task.r2ts],
                    [(sn, immediate + 8192 * sn) for sn in range(8)],
                    "R2TSN and Buffer Offset of the R2Ts")
        task = mux.finish(mux.start_read(0, LENGTH // 512, lun=lun))
        task.good()
        check(bytes(task.data) == data, "what was read")
        for task in (mux.start_read(BEYOND, LENGTH // 512, lun=lun),
                     mux.start_write(BEYOND, data, lun=lun,
                                     immediate=immediate)):
            check_equal(mux.finish(task).pdu.status, 2, "status")
        # Less data than was expected.
        inquiry = bytes((0x12, 0, 0, 0, 96, 0))
        task = mux.run(command(1, inquiry, LENGTH, READ, lun=lun))
        task.good()
        check(36 <= task.got <= 96, f"INQUIRY data: {task.got} bytes")
        mux.works(lun)
        stats = daemon.call("stats.get", session="disk")
        check_equal(stats["sessions"]["disk"]["downs"], 0, "downs")


@test("tgt counts as the daemon does")
def tgt_counts():
    iqn = "iqn.2026-01.org.example:tgt"
    tgt = Tgt()
    tgt.add_target(iqn)
    counts(tgt, iqn, lun_number(1))


@test("istgt counts as the daemon does")
def istgt_counts():
    target = Istgt()
    counts(target, target.iqn, 0)


@test("a lost Data-In: the log has the PDUs before it; then all is well")
def lost_data_in():
    target = Scripted()
    daemon = Daemon(session("odd", target.portal, target.iqn,
                            reconnect_interval="10ms"))
    peer = target.login()
    mux = Mux(daemon, "odd")
    daemon.wait_up("odd")
    task = mux.submit(command(7, read16(0, 8), 4096, READ))
    request = peer.receive()
    peer.data_in(request, bytes(1024), final=False)
    request.next_datasn += 1
    request.next_offset += 1024
    peer.data_in(request, bytes(2048))
    peer.closed()
    mux.finish(task)
    check_equal((task.outcome.outcome, task.got), ("unknown", 1024),
                "what the client got")
    why = "DataSN of a Data-In is 2, expected 1: a PDU was lost"
    check(why in task.outcome.text, task.outcome.text)
    wait_until(lambda: "the PDUs before that" in daemon.log(), "the log")
    tail = daemon.log().split(why)[1]
    check_equal(tail.count(f"received SCSI Data-In ITT {request.itt:#010x}"),
                2, "Data-Ins in the log")
    peer = target.login()
    mux.event("session-up")
    task = mux.submit(command(7, read16(0, 8), 4096, READ))
    request = peer.receive()
    for _ in range(4):
        peer.data_in(request, bytes(1024), final=False)
    peer.respond(request, SCSI_RSP, tail=b"\0\0\0\4")
    mux.finish(task).good()


main()
