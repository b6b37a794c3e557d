#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""What a client may not submit on a shared session: each refusal in turn,
in every combination of InitialR2T and ImmediateData, and the target never
hears of one."""

import os

from harness import check, check_equal, main, test
from muxclient import (ABORT_TASK, ABORT_TASK_SET, CLEAR_ACA, CLEAR_TASK_SET,
                       COLD_RESET, FINAL, F_SYNTHETIC, IMMEDIATE, LOGIN,
                       LOGOUT, LUN_RESET, NONE, NOP_OUT, READ, SCSI, SNACK,
                       TEST_UNIT_READY, TEXT, TMF, TMF_RSP, WARM_RESET, WRITE,
                       bhs, command, data_out, lun_number, nop_out, read16,
                       text_request, tmf, write16)
from muxrig import Rig

MODES = [(initial, immediate) for initial in ("no", "yes")
         for immediate in ("no", "yes")]
BURST = 16384
DSL = 8192


def rig_of(initial="no", immediate="yes", *more):
    """A rig of that mode with small limits."""
    return Rig("--initial-r2t", initial, "--immediate-data", immediate,
               "--max-recv-dsl", str(DSL), "--luns", "2", *more,
               session_keys={"first_burst_length": str(BURST),
                             "max_burst_length": str(2 * BURST)})


class Unheard:
    """What is submitted inside of it must not reach the target."""

    def __init__(self, rig):
        self.rig = rig

    def __enter__(self):
        self.before = self.rig.session_of_target()["pdus_in"]

    def __exit__(self, kind, *_):
        if kind is None:
            check_equal(self.rig.session_of_target()["pdus_in"], self.before,
                        "PDUs that reached the target")


def write_cdb(length):
    """WRITE(16) of length bytes at LBA 0."""
    return write16(0, length // 512)


@test("opcodes that a shared session has not")
def opcodes():
    rig = rig_of()
    mux = rig.mux()
    with Unheard(rig):
        for opcode in (LOGIN, LOGIN | IMMEDIATE, LOGOUT, LOGOUT | IMMEDIATE):
            mux.refused(bhs(opcode, itt=5), "opcode-not-allowed")
        for opcode in (SNACK, SNACK | IMMEDIATE, 0x07, 0x1c, 0x1f, 0x20, 0x21,
                       0x25, 0x31, 0x32, 0x3c, 0x3f):
            mux.data_error(bhs(opcode, itt=5), "opcode-not-allowed")
    mux.works()
    # Bit 7 is reserved, the target must not see it.
    mux.run(command(5, TEST_UNIT_READY, opcode=SCSI | 0x80)).good()
    mux.run(command(5, TEST_UNIT_READY, byte2=0xff, byte3=0xff)).good()


@test("the Initiator Task Tag: reserved, and twice")
def tags():
    rig = rig_of()
    mux, other = rig.mux(), rig.mux()
    with Unheard(rig):
        for pdu in (command(NONE, TEST_UNIT_READY), nop_out(NONE),
                    tmf(NONE, LUN_RESET), tmf(NONE, ABORT_TASK, 1),
                    text_request(NONE), bhs(LOGOUT, itt=NONE)):
            mux.refused(pdu, "bad-initiator-task-tag")
    rig.order("hold all")
    held = mux.submit(command(5, TEST_UNIT_READY))
    zero = mux.submit(command(0, TEST_UNIT_READY))
    theirs = other.submit(command(5, TEST_UNIT_READY))
    rig.wait_tasks(3)
    for pdu in (command(5, TEST_UNIT_READY), nop_out(5), text_request(5),
                tmf(5, LUN_RESET), tmf(5, ABORT_TASK, 5), nop_out(0)):
        mux.refused(pdu, "bad-initiator-task-tag")
    rig.order("release")
    for client, task in ((mux, held), (mux, zero), (other, theirs)):
        client.finish(task).good()
    mux.run(command(5, TEST_UNIT_READY)).good()


@test("flags and lengths of a SCSI Command")
def commands():
    for mode in MODES:
        rig = rig_of(*mode)
        mux = rig.mux()
        with Unheard(rig):
            for pdu, reason in (
                    (command(5, TEST_UNIT_READY, opcode=SCSI | IMMEDIATE),
                     "bad-field"),
                    (command(5, read16(0, 1), 512, READ | WRITE),
                     "not-supported"),
                    (command(5, read16(0, 1), 512, 0), "bad-field"),
                    (command(5, TEST_UNIT_READY, 0, 4), "bad-field"),
                    (command(5, read16(0, 1), 512, READ, b"x"), "bad-field"),
                    (command(5, TEST_UNIT_READY, 0, 0, b"x"), "bad-field"),
                    (command(5, TEST_UNIT_READY, final=False), "bad-field"),
                    (command(5, read16(0, 1), 512, READ, final=False),
                     "bad-field"),
                    (command(5, write_cdb(4 * DSL), 4 * DSL, WRITE,
                             bytes(DSL + 1)), "data-limit"),
                    (command(5, write_cdb(512), 512, WRITE, bytes(513)),
                     "data-limit"),
                    (command(5, write_cdb(512), 0, WRITE, bytes(1)),
                     "data-limit"),
                    (bhs(SCSI, 0x81, 0, 5, ahs=1) + b"\0\x02\x01\0",
                     "lengths-disagree"),
                    (bhs(SCSI, 0x81, 0, 5, ahs=2) + b"\xff\xff\x02\0" +
                     bytes(4), "lengths-disagree"),
                    (bhs(SCSI, 0x81, 0, 5, ahs=255) + bytes(1016) +
                     b"\0\2\1\0",
                     "lengths-disagree")):
                mux.refused(pdu, reason)
            if mode[1] == "no":
                mux.refused(command(5, write_cdb(512), 512, WRITE,
                                    bytes(512)), "data-limit")
            if mode[0] == "yes":
                mux.refused(command(5, write_cdb(512), 512, WRITE,
                                    final=False), "data-limit")
            elif mode[1] == "yes":
                mux.refused(command(5, write_cdb(512), 512, WRITE, bytes(512),
                                    final=False), "bad-field")
        # A bidirectional length without the bits: only the header counts.
        mux.run(bhs(SCSI, 0x81, 0, 5, ahs=2) + b"\0\5\2\0\0\0\0\0").good()
        mux.works()
        rig.wait_idle()


@test("every allowed way to write, in every mode")
def ways():
    for initial, immediate in MODES:
        rig = rig_of(initial, immediate)
        mux = rig.mux()
        check_equal((mux.attached.initial_r2t, mux.attached.immediate_data),
                    (initial == "yes", immediate == "yes"), "mode")
        for length in (512, DSL, BURST, BURST + 512, 5 * BURST):
            for first in (0, 512, DSL):
                for burst in (False, True):
                    if (first and immediate == "no" or first > length or
                            burst and (initial == "yes" or
                                       first >= min(length, BURST))):
                        continue
                    data = os.urandom(length)
                    write_one(mux, data, first, burst)
                    check(mux.read(0, length // 512) == data,
                          f"{initial} {immediate} {length} {first} {burst}: "
                          "read something else")
        rig.wait_idle()
        rig.target.stop()


def write_one(mux, data, first, burst):
    """A write with immediate bytes and, with burst, unsolicited data."""
    pdu = command(5, write_cdb(len(data)), len(data), WRITE, data[:first],
                  final=not burst)
    task = mux.submit(pdu, out=data)
    end = min(len(data), BURST)
    if burst:
        for sn, at in enumerate(range(first, end, DSL)):
            part = data[at:min(at + DSL, end)]
            mux.submit_data(data_out(5, NONE, at, part, sn,
                                     at + len(part) == end))
    mux.finish(task).good()
    asked = sum(r2t.word11 for r2t in task.r2ts)
    check_equal(asked, len(data) - (end if burst else first),
                "bytes asked for")


@test("task management: the I bit, functions, tags")
def management():
    rig = rig_of()
    mux = rig.mux()
    with Unheard(rig):
        for pdu, reason in (
                (tmf(5, LUN_RESET, opcode=TMF), "bad-field"),
                (tmf(5, ABORT_TASK, 3, opcode=TMF), "bad-field"),
                (bhs(TMF | IMMEDIATE, ABORT_TASK, 0, 5, 3), "bad-field"),
                (tmf(5, LUN_RESET, rtt=3), "bad-field"),
                (tmf(5, ABORT_TASK_SET, rtt=0), "bad-field"),
                (tmf(5, CLEAR_TASK_SET, rtt=0), "bad-field"),
                (tmf(5, CLEAR_ACA, rtt=0), "bad-field"),
                (tmf(5, WARM_RESET, rtt=0), "bad-field"),
                (tmf(5, 0), "not-supported"),
                (tmf(5, COLD_RESET, rtt=0), "bad-field"),
                (tmf(5, 8, rtt=3), "not-supported"),
                (tmf(5, 9, rtt=3), "not-supported"),
                (tmf(5, 10), "not-supported"),
                (tmf(5, 11), "not-supported"),
                (tmf(5, 12), "not-supported"),
                (tmf(5, 0x7f), "not-supported"),
                (bhs(TMF | IMMEDIATE, 0x85, 0, 5, NONE, length=4) + bytes(4),
                 "lengths-disagree"),
                (bhs(TMF | IMMEDIATE, 0x85, 0, 5, NONE, ahs=1) + bytes(4),
                 "lengths-disagree")):
            mux.refused(pdu, reason)
        task = mux.run(tmf(5, ABORT_TASK, 77))
        check_equal((task.pdu.opcode, task.pdu.flags, task.pdu.response),
                    (TMF_RSP, F_SYNTHETIC, 1), "ABORT TASK of no task")
    mux.works()


@test("NOP-Out: pings are the daemon's")
def nops():
    rig = rig_of()
    mux = rig.mux()
    with Unheard(rig):
        mux.refused(nop_out(5, ttt=7), "bad-target-transfer-tag")
        mux.refused(nop_out(5, ttt=0, opcode=NOP_OUT),
                    "bad-target-transfer-tag")
        mux.refused(nop_out(NONE, ttt=7), "bad-initiator-task-tag")
        mux.refused(nop_out(5, bytes(DSL + 1)), "data-limit")
        mux.refused(bhs(NOP_OUT, 0, 0, 5, NONE), "bad-field")
        mux.refused(bhs(NOP_OUT, FINAL, 0, 5, NONE, ahs=1) + bytes(4),
                    "lengths-disagree")
    for opcode in (NOP_OUT, NOP_OUT | IMMEDIATE):
        for data in (b"", b"x", os.urandom(DSL)):
            check_equal(mux.run(nop_out(5, data, opcode)).pdu.data, data,
                        "data of the NOP-In")


@test("Text Requests: SendTargets and nothing else")
def texts():
    rig = rig_of()
    mux = rig.mux()
    with Unheard(rig):
        for pdu, reason in (
                (text_request(5, opcode=TEXT | IMMEDIATE), "bad-field"),
                (text_request(5, flags=0), "bad-field"),
                (text_request(5, flags=0x40), "bad-field"),
                (text_request(5, flags=0xc0), "bad-field"),
                (text_request(5, b"MaxRecvDataSegmentLength=512\0"),
                 "not-permitted"),
                (text_request(5, b"SendTargets=\0X-a=b\0"), "not-permitted"),
                (text_request(5, b"SendTargets=" + bytes(300)), "data-limit"),
                (text_request(5, b"SendTargets\0"), "bad-payload"),
                (text_request(5, b"=\0"), "bad-payload"),
                (bhs(TEXT, FINAL, 0, 5, NONE, ahs=1) + bytes(4),
                 "lengths-disagree")):
            mux.refused(pdu, reason)
        mux.data_error(text_request(5, b"", ttt=9), "no-such-task")
    task = mux.run(text_request(5))
    check(rig.target.iqn.encode() in task.pdu.data, "targets")


def bad_data(mux, itt, ttt, at, rest, lun=0):
    """Every wrong answer to an R2T (or to the rest of a burst)."""
    part = bytes(min(rest, DSL))
    last = len(part) == rest
    for pdu, reason in (
            (data_out(itt, ttt ^ 1, at, part, 0, last, lun),
             "bad-target-transfer-tag"),
            (data_out(itt, ttt, at + 512, part[512:], 0, last, lun),
             "bad-field"),
            (data_out(itt, ttt, at - 512 if at else NONE, part, 0, last, lun),
             "bad-field"),
            (data_out(itt, ttt, at, part, 1, last, lun), "bad-field"),
            (data_out(itt, ttt, at, part, NONE, last, lun), "bad-field"),
            (data_out(itt, ttt, at, part, 0, not last, lun), "bad-field"),
            (data_out(itt, ttt, at, b"", 0, False, lun), "bad-field"),
            (data_out(itt, ttt, at, b"", 0, True, lun), "bad-field"),
            (data_out(itt, ttt, at, bytes(DSL + 1), 0, False, lun),
             "data-limit"),
            (bhs(5, FINAL, lun, itt, ttt, ahs=1) + bytes(4),
             "lengths-disagree"),
            (data_out(itt + 1, ttt, at, part, 0, last, lun), "no-such-task")):
        mux.data_error(pdu, reason)
    if ttt != NONE:
        mux.data_error(data_out(itt, ttt, at, part, 0, last, lun ^ 1 << 48),
                       "bad-field")
        mux.data_error(data_out(itt, NONE, at, part, 0, last, lun),
                       "bad-target-transfer-tag")


@test("Data-Out that answers no R2T, or not as it should")
def data_for_r2t():
    for mode in MODES:
        rig = rig_of(*mode, "--max-outstanding-r2t", "1")
        mux, other = rig.mux(), rig.mux()
        data = os.urandom(3 * BURST)
        lun = lun_number(1)
        rig.order("hold r2t")
        task = mux.start_write(0, data, itt=5, manual=True, lun=lun)
        rig.wait_tasks(1)
        mux.data_error(data_out(5, 1, 0, data[:512], lun=lun),
                       "bad-target-transfer-tag")
        mux.data_error(data_out(5, NONE, 0, data[:512], lun=lun),
                       "bad-target-transfer-tag")
        rig.order("release")
        r2t = mux.wait_r2ts(task)
        check_equal((r2t.offset, r2t.word11, r2t.lun), (0, 2 * BURST, lun),
                    "R2T")
        with Unheard(rig):
            bad_data(mux, 5, r2t.word5, 0, r2t.word11, lun)
            other.data_error(data_out(5, r2t.word5, 0, data[:DSL], 0, False,
                                      lun), "no-such-task")
        mux.submit_data(data_out(5, r2t.word5, 0, data[:DSL], 0, False, lun))
        rig.wait_target(lambda c: c["data_out"] == 1, "the Data-Out")
        for pdu in (data_out(5, r2t.word5, 0, data[:DSL], 0, False, lun),
                    data_out(5, r2t.word5, DSL, data[:DSL], 0, False, lun),
                    data_out(5, r2t.word5, DSL, data[:DSL], 1, True, lun)):
            mux.data_error(pdu, "bad-field")
        for sn in range(1, 4):
            mux.submit_data(data_out(5, r2t.word5, sn * DSL,
                                     data[sn * DSL:(sn + 1) * DSL], sn,
                                     sn == 3, lun))
        second = mux.wait_r2ts(task, 2)
        mux.data_error(data_out(5, r2t.word5, 2 * BURST, data[:DSL], 4,
                                False, lun), "bad-target-transfer-tag")
        task.out = data
        mux.answer(task, second)
        mux.finish(task).good()
        mux.data_error(data_out(5, second.word5, 2 * BURST, data[:DSL], 0,
                                False, lun), "no-such-task")
        check(mux.read(0, 96, lun=lun) == data, "what was read")
        rig.wait_idle()
        rig.target.stop()


@test("unsolicited data that is not as announced")
def data_of_burst():
    for immediate in ("no", "yes"):
        rig = rig_of("no", immediate)
        mux, other = rig.mux(), rig.mux()
        data = os.urandom(BURST)
        first = 512 if immediate == "yes" else 0
        for lba in (0, 100):
            task = mux.submit(command(5, write16(lba, 32), BURST, WRITE,
                                      data[:first], final=False))
            rig.wait_tasks(1)
            bad_data(mux, 5, NONE, first, BURST - first)
            other.data_error(data_out(5, NONE, first, data[first:DSL], 0,
                                      False), "no-such-task")
            # The LUN of an unsolicited Data-Out is the daemon's to fill in.
            mux.submit_data(data_out(5, NONE, first, data[first:DSL], 0,
                                     False, lun_number(1)))
            mux.data_error(data_out(5, NONE, DSL, data[DSL:], 1, False),
                           "bad-field")
            mux.submit_data(data_out(5, NONE, DSL, data[DSL:], 1, True))
            mux.finish(task).good()
            mux.data_error(data_out(5, NONE, DSL, data[DSL:], 2, True),
                           "no-such-task")
            check(mux.read(lba, 32) == data, "what was read")
        rig.wait_idle()


@test("Data-Out of a task that takes none")
def data_of_others():
    rig = rig_of()
    mux = rig.mux()
    rig.order("hold all")
    tasks = [mux.start_read(0, 8, itt=5),
             mux.submit(command(6, TEST_UNIT_READY))]
    rig.wait_tasks(2)
    with Unheard(rig):
        mux.data_error(data_out(5, 0, 0, bytes(512)),
                       "bad-target-transfer-tag")
        mux.data_error(data_out(6, NONE, 0, bytes(512)),
                       "bad-target-transfer-tag")
        mux.data_error(text_request(5, b"", ttt=9), "no-such-task")
        mux.data_error(data_out(NONE, 0, 0, bytes(512)), "no-such-task")
    rig.order("release")
    for task in tasks:
        mux.finish(task).good()
    rig.wait_idle()


main()
