#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""The device server and the task management of the RAM target."""

import os
import struct

from harness import check, check_equal, main, test, wait_until
from target_client import (NONE, TEST_UNIT_READY, Session, Target, read10,
                           write10)

LUN1 = 1 << 48


def sense_of(pdu):
    """Sense key and ASC, ASCQ of a CHECK CONDITION: "5 2100"."""
    check_equal((pdu.opcode, pdu.status), (0x21, 2), f"opcode, status {pdu}")
    return f"{pdu.data[4] & 15:x} {pdu.data[14:16].hex()}"


def fails(s, cdb, wanted, edtl=0, data=b"", lun=0):
    """The command must end with that sense."""
    s.command(cdb, edtl, data, lun=lun)
    pdu = s.receive()
    check_equal(sense_of(pdu), wanted, f"sense of {cdb.hex()}")
    check_equal((pdu.flags & 6, pdu.word11), (2 if edtl else 0, edtl),
                f"residual of {cdb.hex()}")


def parameters(s, cdb, room=4096, lun=0, flags=None):
    """The parameter list a command answers with."""
    itt = s.command(cdb, room, flags=flags, lun=lun)
    pdu = s.expect(0x25)
    check_equal((pdu.itt, pdu.status), (itt, 0), "ITT, status")
    check_equal(pdu.flags & 6, 2 if len(pdu.data) < room else 0, "residual")
    return pdu.data


def rw(opcode, lba, blocks):
    """A READ or WRITE CDB of any length."""
    if opcode < 0x20:
        return struct.pack(">BBHBB", opcode, lba >> 16, lba & 0xffff, blocks,
                           0)
    if opcode < 0x60:
        return struct.pack(">BBIBHB", opcode, 0, lba, 0, blocks, 0)
    if opcode < 0xa0:
        return struct.pack(">BBQIBB", opcode, 0, lba, blocks, 0, 0)
    return struct.pack(">BBIIBB", opcode, 0, lba, blocks, 0, 0)


@test("READ and WRITE of 6, 10, 12 and 16 bytes mean the same blocks")
def read_write():
    for size in (512, 4096):
        target = Target("--block-size", size)
        with Session(target.portals[0], "InitialR2T=No") as s:
            for number, write in enumerate((0x0a, 0x2a, 0xaa, 0x8a)):
                data = os.urandom(2 * size)
                s.good(s.command(rw(write, 7 + number, 2), 2 * size, data))
                for read in (0x08, 0x28, 0xa8, 0x88):
                    s.command(rw(read, 7 + number, 2), 2 * size)
                    check(s.expect(0x25).data == data,
                          f"{read:02x} after {write:02x} differs")
            whole = os.urandom(256 * size)
            for lba in range(0, 256, 8):
                s.good(s.command(write10(lba, 8), 8 * size,
                                 whole[lba * size:(lba + 8) * size]))
            # TRANSFER LENGTH 0 of READ(6) are 256 blocks.
            s.command(rw(0x08, 0, 0), 256 * size)
            got = b""
            while len(got) < 256 * size:
                pdu = s.expect(0x25)
                check_equal(pdu.offset, len(got), "Buffer Offset")
                got += pdu.data
            check(got == whole, "256 blocks differ")
        target.check_no_error()


@test("a write in pieces of every size: bursts, R2Ts, Data-In sequences")
def bursts():
    target = Target("--max-outstanding-r2t", 3)
    keys = ("InitialR2T=No", "FirstBurstLength=1536", "MaxBurstLength=2560",
            "MaxOutstandingR2T=2", "MaxRecvDataSegmentLength=1024")
    with Session(target.portals[0], *keys) as s:
        data = os.urandom(16 * 512)
        itt = s.command(write10(100, 16), len(data), data[:512], flags=0x21)
        s.data_out(itt, NONE, data[512:1024], 512, final=False)
        s.data_out(itt, NONE, data[1024:1536], 1024, 1)
        first = s.expect(0x31)
        second = s.expect(0x31)
        check_equal([(r.datasn, r.offset, r.word11) for r in (first, second)],
                    [(0, 1536, 2560), (1, 4096, 2560)], "the first R2Ts")
        s.data_out(itt, first.word5, data[1536:1537], 1536, final=False)
        s.data_out(itt, first.word5, data[1537:4096], 1537, 1)
        third = s.expect(0x31)
        check_equal((third.datasn, third.offset, third.word11),
                    (2, 6656, 1536), "the third R2T")
        s.data_out(itt, second.word5, data[4096:6656], 4096)
        s.data_out(itt, third.word5, data[6656:], 6656)
        check_equal(s.good(itt).datasn, 3, "ExpDataSN counts the R2Ts")
        itt = s.command(read10(100, 16), len(data))
        pdus = [s.expect(0x25) for _ in range(10)]
        check_equal([(p.datasn, p.offset, len(p.data), p.flags) for p in pdus],
                    [(0, 0, 1024, 0), (1, 1024, 1024, 0),
                     (2, 2048, 512, 0x80), (3, 2560, 1024, 0),
                     (4, 3584, 1024, 0), (5, 4608, 512, 0x80),
                     (6, 5120, 1024, 0), (7, 6144, 1024, 0),
                     (8, 7168, 512, 0x80), (9, 7680, 512, 0x81)], "Data-In")
        check(b"".join(p.data for p in pdus) == data, "other data came back")
    target.check_no_error()


@test("without phase collapse status comes in a SCSI Response")
def no_collapse():
    target = Target("--phase-collapse", "no")
    with Session(target.portals[0], "MaxRecvDataSegmentLength=512") as s:
        itt = s.command(read10(0, 3), 1536)
        check_equal([s.expect(0x25).flags for _ in range(3)], [0, 0, 0x80],
                    "flags")
        check_equal(s.good(itt).datasn, 3, "ExpDataSN")


@test("residuals tell of too much and too little")
def residuals():
    target = Target()
    with Session(target.portals[0]) as s:
        for edtl, flags, residual in ((512, 4, 512), (2048, 2, 1024)):
            itt = s.command(write10(0, 2), edtl, bytes(edtl))
            pdu = s.good(itt)
            check_equal((pdu.flags & 6, pdu.word11), (flags, residual), "W")
        itt = s.command(read10(0, 2), 0, flags=0xc1)
        pdu = s.good(itt)
        check_equal((pdu.flags & 6, pdu.word11), (4, 1024), "no room at all")
    target.check_no_error()


@test("what cannot be is refused with the right sense")
def refused():
    target = Target("--luns", 2)
    with Session(target.portals[0]) as s:
        blocks = (64 << 20) // 512
        fails(s, bytes([0xc0]), "5 2000")
        fails(s, bytes([0x04, 0, 0, 0, 0, 0]), "5 2000")
        fails(s, read10(blocks, 1), "5 2100", 512)
        fails(s, read10(blocks - 1, 2), "5 2100", 1024)
        fails(s, rw(0x88, 2 ** 64 - 1, 2), "5 2100", 1024)
        fails(s, write10(blocks, 1), "5 2100", 512, bytes(512))
        fails(s, bytes([0, 0, 0, 0, 0, 4]), "5 2400")
        fails(s, TEST_UNIT_READY, "5 2500", lun=2 << 48)
        fails(s, TEST_UNIT_READY, "5 2500", lun=LUN1 | 1)
        fails(s, bytes([0x12, 1, 0x99, 0, 255, 0]), "5 2400", 255)
    target.check_no_error()


@test("a failed write still takes its unsolicited data")
def failed_write():
    target = Target()
    with Session(target.portals[0], "InitialR2T=No",
                 "FirstBurstLength=1024") as s:
        blocks = (64 << 20) // 512
        itt = s.command(write10(blocks, 4), 2048, bytes(512), flags=0x21)
        s.data_out(itt, NONE, bytes(512), 512)
        check_equal(sense_of(s.receive()), "5 2100", "sense")
        s.good(s.command(TEST_UNIT_READY))
    target.check_no_error()


@test("INQUIRY, REPORT LUNS, MODE SENSE, capacity and the like")
def inquiries():
    target = Target("--luns", 3, "--size", "1G", "--block-size", 4096)
    with Session(target.portals[0]) as s:
        inquiry = parameters(s, bytes([0x12, 0, 0, 0, 255, 0]))
        check_equal((len(inquiry), inquiry[8:16]), (36, b"ISCSIMUX"), "INQ")
        none = parameters(s, bytes([0x12, 0, 0, 0, 255, 0]), lun=9 << 48)
        check_equal(none[0], 0x7f, "peripheral of no LUN")
        check_equal(len(parameters(s, bytes([0x12, 0, 0, 0, 5, 0]))), 5,
                    "cut to the allocation length")
        pages = parameters(s, bytes([0x12, 1, 0, 0, 255, 0]))[4:]
        check_equal(pages.hex(), "008083b0b1", "pages")
        for page in pages:
            got = parameters(s, bytes([0x12, 1, page, 0, 255, 0]), lun=LUN1)
            check_equal((got[1], len(got) - 4),
                        (page, int.from_bytes(got[2:4], "big")), "page")
        luns = parameters(s, struct.pack(">BBBxxxIxx", 0xa0, 0, 0, 4096))
        check_equal(luns.hex(), "0000001800000000" "0000000000000000"
                    "0001000000000000" "0002000000000000", "LUNs")
        check_equal(parameters(s, bytes([0x25]).ljust(10, b"\0"), 8).hex(),
                    "0003ffff00001000", "READ CAPACITY(10)")
        long = parameters(s, bytes([0x9e, 0x10]) + bytes(8) +
                          bytes([0, 0, 0, 32, 0, 0]), 32)
        check_equal(long[:12].hex(), "000000000003ffff00001000", "(16)")
        check_equal(parameters(s, bytes([0x1a, 8, 8, 0, 255, 0]))[4:6].hex(),
                    "0812", "MODE SENSE(6)")
        mode = parameters(s, bytes([0x5a, 0, 0x3f, 0, 0, 0, 0, 0, 255, 0]))
        check_equal((int.from_bytes(mode[:2], "big") + 2, mode[16]),
                    (len(mode), 8), "MODE SENSE(10)")
        check_equal(parameters(s, bytes([3, 0, 0, 0, 18, 0]))[2], 0, "sense")
        check_equal(parameters(s, bytes([0x5e]) + bytes(6) +
                               bytes([0, 8, 0])).hex(), "0" * 16, "PR IN")
        for cdb in (bytes([0x35]).ljust(10, b"\0"), bytes([0x16, 0, 0, 0, 0,
                    0]), bytes([0x17, 0, 0, 0, 0, 0]),
                    bytes([0x91]).ljust(16, b"\0")):
            s.good(s.command(cdb))
    target.check_no_error()


@test("VERIFY, COMPARE AND WRITE, WRITE SAME and UNMAP")
def block_commands():
    target = Target()
    with Session(target.portals[0]) as s:
        data = os.urandom(512)
        s.good(s.command(write10(5, 1), 512, data))
        verify = struct.pack(">BBIBHB", 0x2f, 2, 5, 0, 1, 0)
        s.good(s.command(verify, 512, data))
        fails(s, verify, "e 1d00", 512, bytes(512))
        s.good(s.command(struct.pack(">BBIBHB", 0x2f, 0, 5, 0, 1, 0)))
        compare = struct.pack(">BBQ3xBBB", 0x89, 0, 5, 1, 0, 0)
        fails(s, compare, "e 1d00", 1024, bytes(1024))
        check(s.read(5, 1) == data, "the block has changed")
        s.good(s.command(compare, 1024, data + bytes(range(256)) * 2))
        check(s.read(5, 1) == bytes(range(256)) * 2, "it has not")
        s.good(s.command(struct.pack(">BBIBHB", 0x41, 0, 8, 0, 4, 0), 512,
                         data))
        check(s.read(7, 6) == bytes(512) + data * 4 + bytes(512), "WRITE SAME")
        unmap = struct.pack(">HHxxxxQIxxxx", 22, 16, 9, 2)
        s.good(s.command(bytes([0x42]) + bytes(6) + bytes([0, 24, 0]), 24,
                         unmap))
        check(s.read(8, 4) == data + bytes(1024) + data, "UNMAP")
    target.check_no_error()


@test("a write to blocks on their way out does not spoil their digests")
def overwritten():
    target = Target()
    keys = ("HeaderDigest=CRC32C", "DataDigest=CRC32C", "ImmediateData=No",
            "MaxRecvDataSegmentLength=262144")
    # More than socket buffers hold, so that a PDU is partly sent.
    count = 40
    size = 256 << 10
    with Session(target.portals[0], *keys, name="iqn.a:1") as reader, \
            Session(target.portals[0], "FirstBurstLength=262144",
                    name="iqn.b:2") as writer:
        for _ in range(count):
            reader.command(read10(0, 512), size)
        wait_until(lambda: target.counters()["commands"] == count, "reads")
        writer.good(writer.command(write10(0, 512), size, b"\xff" * size))
        for number in range(count):
            data = reader.expect(0x25).data
            check(set(data) <= {0, 255}, f"bytes of read {number}")
        check(data == b"\xff" * size, "the last read shows old data")
    target.check_no_error()


# --- Task management

def manage(s, function, itt=NONE, lun=0, cmdsn=0):
    """Sends a task management request; its ITT."""
    return s.request(0x42, flags=0x80 | function, word5=itt, lun=lun,
                     tail=struct.pack(">I", cmdsn))


def managed(s, itt, response):
    """Its response comes next."""
    pdu = s.expect(0x22)
    check_equal((pdu.itt, pdu.response), (itt, response), "ITT, response")


@test("ABORT TASK: a task that is there, one that is not, one that was")
def abort_task():
    target = Target()
    with Session(target.portals[0], "ImmediateData=No") as s:
        target.order("hold reads")
        itt = s.command(read10(0, 1), 512)
        managed(s, manage(s, 1, itt, cmdsn=s.cmdsn - 1), 0)
        managed(s, manage(s, 1, itt, cmdsn=s.cmdsn - 1), 1)
        managed(s, manage(s, 1, 0x999, cmdsn=s.cmdsn - 1), 1)
        # The tag is free again; nothing comes for the aborted task.
        target.order("release")
        s.good(s.command(TEST_UNIT_READY, itt=itt))
        # Data for a write that was aborted is taken and ignored.
        itt = s.command(write10(0, 4), 2048)
        r2t = s.expect(0x31)
        managed(s, manage(s, 1, itt, cmdsn=s.cmdsn - 1), 0)
        check_equal(target.counters()["r2ts_open"], 1, "R2Ts open")
        s.data_out(itt, r2t.word5, b"\xff" * 512, 0, final=False)
        s.data_out(itt, r2t.word5, b"", 512, 1)
        check_equal(s.read(0, 4), bytes(2048), "the disk")
        check_equal(target.counters()["r2ts_open"], 0, "R2Ts open")
        # R2Ts of a single aborted task may stay unanswered.
        itt = s.command(write10(0, 4), 2048)
        s.expect(0x31)
        managed(s, manage(s, 1, itt, cmdsn=s.cmdsn - 1), 0)
        s.good(s.command(TEST_UNIT_READY, itt=itt))
        # An immediate command has no CmdSN: RefCmdSN is the request's own.
        target.order("hold all")
        itt = s.command(TEST_UNIT_READY, immediate=True)
        managed(s, manage(s, 1, itt, cmdsn=s.cmdsn), 0)
    target.check_no_error()
    check_equal(target.counters()["aborted_tasks"], 4, "aborted tasks")


@test("ABORT TASK SET waits until R2Ts are answered, and spares other LUNs")
def abort_task_set():
    target = Target("--luns", 2)
    with Session(target.portals[0], "ImmediateData=No") as s:
        target.order("hold reads")
        other = s.command(read10(0, 1), 512, lun=LUN1)
        s.command(read10(0, 1), 512)
        itt = s.command(write10(0, 4), 2048)
        r2t = s.expect(0x31)
        tmf = manage(s, 2)
        ping = s.request(0x40, word5=NONE)
        check_equal(s.receive().itt, ping, "ITT of what came before the R2T")
        s.data_out(itt, r2t.word5, bytes(0), 0)
        managed(s, tmf, 0)
        target.order("release")
        check_equal(s.expect(0x25).itt, other, "ITT of the spared task")
    target.check_no_error()


@test("CLEAR TASK SET and resets reach other sessions and leave attentions")
def resets():
    target = Target("--luns", 2)
    with Session(target.portals[0], name="iqn.a:1") as one, \
            Session(target.portals[0], name="iqn.b:2") as two:
        target.order("hold reads")
        two.command(read10(0, 1), 512)
        managed(one, manage(one, 4), 0)
        one.good(one.command(TEST_UNIT_READY))
        fails(two, TEST_UNIT_READY, "6 2f00")
        two.command(read10(0, 1), 512, lun=LUN1)
        managed(one, manage(one, 5, lun=LUN1), 0)
        one.good(one.command(TEST_UNIT_READY))
        fails(one, TEST_UNIT_READY, "6 2903", lun=LUN1)
        fails(two, TEST_UNIT_READY, "6 2903", lun=LUN1)
        two.good(two.command(TEST_UNIT_READY))
        for function in (6, 7):
            target.order("hold reads")
            two.command(read10(0, 1), 512)
            managed(one, manage(one, function), 0)
            target.order("release")
            for s in (one, two):
                for lun in (0, LUN1):
                    parameters(s, bytes([0x12, 0, 0, 0, 255, 0]), lun=lun)
                    fails(s, TEST_UNIT_READY, "6 2903", lun=lun)
                    s.good(s.command(TEST_UNIT_READY, lun=lun))
        managed(one, manage(one, 5, lun=5 << 48), 2)
        for function in (3, 8, 11):
            managed(one, manage(one, function), 5)
    check_equal(target.counters()["aborted_tasks"], 4, "aborted tasks")
    target.check_no_error()


@test("a reset by another session in the midst of a write's own PDU")
def reset_in_pdu():
    target = Target()
    with Session(target.portals[0], name="iqn.a:1") as one, \
            Session(target.portals[0], name="iqn.b:2") as two:
        itt = one.next_itt()
        header = struct.pack(">BBxxIQIIII", 1, 0xa1, 512, 0, itt, 512,
                             one.cmdsn, one.expstatsn) + write10(0, 1)
        raw = one.frame(header.ljust(48, b"\0"), bytes(512))
        one.send_raw(raw[:300])
        one.cmdsn += 1
        wait_until(lambda: target.counters()["commands"], "the command")
        managed(two, manage(two, 5), 0)
        one.send_raw(raw[300:])
        fails(one, TEST_UNIT_READY, "6 2903")
    target.check_no_error()


main()
