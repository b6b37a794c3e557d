#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Tags, sequence numbers, windows: who gets what a target says, and what
becomes of a target that says what it should not."""

import os
import random
import struct
import time

from harness import check, check_equal, main, scaled, test
from iscsimuxd import Daemon, session
from muxclient import (ABORT_TASK, DATA_IN, DATA_OUT, FINAL, LUN_RESET, NONE,
                       NOP_IN, NOP_OUT, R2T, READ, REJECT, SCSI, SCSI_RSP,
                       TEST_UNIT_READY, TEXT_RSP, TMF, TMF_RSP, WRITE, Forked,
                       Mux, bhs, command, data_out, lun_number, nop_out,
                       read16, text_request, tmf, write16)
from muxrig import Rig
from scripted import Scripted


class Odd:
    """A scripted target, a daemon with the session "odd" on it, a client."""

    def __init__(self, login=None, session_keys=None, client=True, **keys):
        self.target = Scripted()
        self.daemon = Daemon(session("odd", self.target.portal,
                                     self.target.iqn,
                                     reconnect_interval="100ms",
                                     logout_timeout="100ms",
                                     **(session_keys or {})), **keys)
        self.peer = self.target.login(**(login or {}))
        self.daemon.wait_up("odd")
        self.mux = Mux(self.daemon, "odd") if client else None

    def stats(self):
        """The session's counters."""
        return self.daemon.call("stats.get", session="odd")["sessions"]["odd"]

    def show(self):
        """session.show of the session."""
        return self.daemon.call("session.show", session="odd")

    def start(self, pdu, **options):
        """Submits; the Task and the request as it came."""
        task = self.mux.submit(pdu, **options)
        return task, self.peer.receive()

    def works(self):
        """A command goes there and back."""
        task, request = self.start(command(self.mux.itt(), TEST_UNIT_READY))
        self.peer.respond(request)
        self.mux.finish(task).good()

    def relogin(self, **login):
        """The next login, after the connection was lost."""
        self.peer = self.target.login(**login)
        self.daemon.wait_up("odd")


# --- Tags

def same_tags(daemon, area, seed, count):
    """What each of several clients does: writes and reads of its own blocks
    under the same Initiator Task Tags as the others."""
    def body(report):
        rand = random.Random(seed)
        mux = Mux(daemon, "ram")
        size = 256
        shadow = bytearray(rand.randbytes(size * 512))
        mux.write(area * size, bytes(shadow))
        report("ready")
        for _ in range(count // 32):
            tasks = []
            for itt in range(32):
                lba = itt * 8 + rand.randrange(8)
                blocks = rand.randrange(1, 9 - lba % 8)
                span = slice(lba * 512, (lba + blocks) * 512)
                if rand.random() < 0.5:
                    shadow[span] = rand.randbytes(blocks * 512)
                    tasks.append((mux.start_write(
                        area * size + lba, bytes(shadow[span]), itt=itt,
                        immediate=rand.choice((0, 512 * blocks)) if
                        mux.attached.immediate_data else 0), None))
                else:
                    tasks.append((mux.start_read(area * size + lba, blocks,
                                                 itt=itt), span))
            for task, span in tasks:
                mux.finish(task).good()
                check(span is None or task.data == shadow[span],
                      "read another's data")
            mux.tasks.clear()
        report("done")
    return body


@test("clients with the same tags never see each other's data")
def same_itts():
    for split in ((), ("--phase-collapse", "no", "--immediate-data", "no")):
        rig = Rig(*split, session_keys={
            "max_recv_data_segment_length": "1K"} if split else {})
        clients = [Forked(same_tags(rig.daemon, area, 100 + area,
                                    scaled(2560, 96)))
                   for area in range(4)]
        for client in clients:
            client.said("done")
        rig.wait_idle()


@test("tags and numbers are the daemon's, all else is the client's")
def rewriting():
    odd = Odd()
    mux, peer = odd.mux, odd.peer
    lun = 0x4001000200030004
    cdb = bytes(range(0x88, 0x98))
    ahs = b"\0\5\2\0\1\2\3\4"
    pdu = bhs(0x81, 0xc4, lun, 0xfeedface, 0x12345, cdb, ahs=2,
              byte2=0xaa, byte3=0xbb, cmdsn=0xdead, expstatsn=0xbeef) + ahs
    task, request = odd.start(pdu)
    wanted = bytearray(pdu[:48])
    wanted[0] = 1
    wanted[2:4] = b"\0\0"
    wanted[16:20] = request.bhs[16:20]
    wanted[24:32] = struct.pack(">II", 1, peer.statsn)
    check_equal(request.bhs.hex(), wanted.hex(), "BHS at the target")
    check_equal(request.ahs, ahs, "AHS at the target")
    check(request.itt not in (0xfeedface, NONE), "the client's tag went out")
    peer.send(DATA_IN, request.itt, b"some", flags=0x02, response=0x5a,
              lun=lun, word5=0x1234, consume=False, statsn=0x7777,
              tail=struct.pack(">III", 0, 0, 0xabd))
    first = mux.answer_to(task.cookie)
    check_equal((first.datasn, first.offset, first.word11), (0, 0, 0xabd),
                "the first Data-In, numbers")
    peer.send(DATA_IN, request.itt, b"more", flags=0x02, response=0x5a,
              lun=lun, word5=0x1234, consume=False, statsn=0x7777,
              tail=struct.pack(">III", 1, 4, 0xabc))
    msg = mux.answer_to(task.cookie)
    check_equal(msg.bhs[:16] + msg.bhs[20:24],
                b"\x25\x02\x5a\0\0\0\0\4" + lun.to_bytes(8, "big") +
                struct.pack(">I", 0x1234), "Data-In at the client")
    check_equal((msg.itt, msg.statsn, msg.datasn, msg.offset, msg.word11),
                (0xfeedface, 0x7777, 1, 4, 0xabc), "Data-In, numbers")
    peer.respond(request, flags=0x86, status=2, response=0x80,
                 data=b"\0\4abcd", tail=struct.pack(">III", 9, 8, 7),
                 word5=0xcafe)
    mux.finish(task)
    got = task.pdu
    check_equal((got.bflags, got.status, got.response, got.data, got.datasn,
                 got.offset, got.word11, got.word5),
                (0x86, 2, 0x80, b"\0\4abcd", 9, 8, 7, 0xcafe),
                "SCSI Response at the client")


@test("Data-Out has the wire's tag and the R2T's, and no CmdSN")
def data_out_rewritten():
    odd = Odd(login={"ImmediateData": "No", "InitialR2T": "Yes",
                     "MaxRecvDataSegmentLength": "1024"})
    mux, peer = odd.mux, odd.peer
    lun = lun_number(5)
    data = os.urandom(4096)
    one, first = odd.start(command(7, write16(0, 8), 4096, WRITE, lun=lun))
    two, second = odd.start(command(8, write16(8, 8), 4096, WRITE, lun=lun))
    peer.r2t(first, 0x77, 0, 4096)
    peer.r2t(second, 0x78, 0, 4096)
    for task in (two, one):
        mux.wait_r2ts(task)
    # B7: across tasks in any order.
    for task, request, ttt in ((two, second, 0x78), (one, first, 0x77)):
        for sn in range(4):
            part = data[1024 * sn:1024 * (sn + 1)]
            mux.submit_data(data_out(task.itt, ttt, 1024 * sn, part, sn,
                                     sn == 3, lun, cmdsn=0x99,
                                     expstatsn=0x98, opcode=0x85))
            got = peer.receive(DATA_OUT)
            check_equal(got.bhs, bhs(5, FINAL if sn == 3 else 0, lun,
                                     request.itt, ttt,
                                     struct.pack(">III", 0, sn, 1024 * sn),
                                     1024, cmdsn=0, expstatsn=peer.statsn),
                        "Data-Out at the target")
            check_equal(got.data, part, "data at the target")
        peer.respond(request)
        mux.finish(task).good()


# --- Sequence numbers

def unacknowledged(rig, mux):
    """StatSNs that the target has no word of, right behind a command.

    Two seconds later the daemon acknowledges by itself.
    """
    while True:
        begun = time.monotonic()
        mux.works()
        told = rig.session_of_target()
        if time.monotonic() - begun < 1:
            return (told["statsn"] - told["acked_statsn"]) & NONE


@test("ExpStatSN advances with what consumes a StatSN, and nothing else")
def statsn():
    rig = Rig("--text-split", "16", "--immediate-data", "no",
              "--initial-r2t", "yes", "--first-statsn", "0xfffffffa",
              session_keys={"max_recv_data_segment_length": "512"})
    mux = rig.mux()

    def data_in():
        mux.read(0, 4)

    def text():
        task = mux.submit(text_request(9))
        while not task.done:
            seen = len(task.texts)
            while len(task.texts) == seen:
                mux._progress("a Text Response")
            if not task.done:
                mux.submit_data(text_request(9, b"", task.texts[-1].word5))
        check(len(task.texts) > 2, "one Text Response")

    def reject():
        rig.order("reject-next 0x01 0x09 consume")
        check_equal(mux.run(command(9, TEST_UNIT_READY)).pdu.opcode, REJECT,
                    "opcode")

    def reset():
        check_equal(mux.run(tmf(9, LUN_RESET)).pdu.response, 0, "response")
        check_equal(mux.run(command(9, TEST_UNIT_READY)).pdu.status, 2,
                    "status")

    def unit_attention():
        rig.order("ua 0 0x2a 0x01")
        check_equal(mux.run(command(9, TEST_UNIT_READY)).pdu.status, 2,
                    "status")

    for row in (lambda: mux.works(), data_in, text, reject, unit_attention,
                lambda: mux.write(0, bytes(4096)),
                lambda: mux.run(nop_out(9, b"data")),
                lambda: mux.run(nop_out(9, b"", NOP_OUT)),
                reset, unit_attention,
                lambda: rig.order("ping 0123456789abcdef"),
                lambda: rig.order("window 200"),
                lambda: rig.order("async 255 1 2 3")):
        row()
        check_equal(unacknowledged(rig, mux), 1,
                    "StatSN not acknowledged by a command")
    check_equal(rig.stats()["downs"], 0, "lost connections")


@test("data that came with status in a PDU of its own")
def no_phase_collapse():
    rig = Rig("--phase-collapse", "no",
              session_keys={"max_recv_data_segment_length": "512"})
    mux = rig.mux()
    data = os.urandom(64 * 512)
    mux.write(0, data)
    check(mux.read(0, 64) == data, "what was read")
    task = mux.start_read(0, 64)
    mux.finish(task)
    check_equal(task.pdu.opcode, SCSI_RSP, "the final PDU")
    check_equal(unacknowledged(rig, mux), 1, "StatSNs")


@test("CmdSNs go out in order, immediates take none")
def cmdsn():
    odd = Odd()
    mux, peer = odd.mux, odd.peer
    other = Mux(odd.daemon, "odd")
    tasks = []
    for i in range(12):
        for client in (mux, other):
            tasks.append((client, client.submit(
                command(i, TEST_UNIT_READY))))
    nop = mux.submit(nop_out(99))
    seen = []
    while len(seen) < 25:
        request = peer.receive()
        if request.opcode == NOP_OUT:
            check_equal((request.immediate, request.cmdsn),
                        (True, peer.expcmdsn), "CmdSN of the immediate")
            peer.respond(request, NOP_IN)
        else:
            peer.respond(request)
        seen.append(request)
    for client, task in tasks:
        client.finish(task).good()
    mux.finish(nop)
    check_equal(peer.expcmdsn, 25, "the next CmdSN")
    odd.works()


@test("the window of the login, a window of one, stale windows")
def windows():
    odd = Odd(login={"window": 1})
    mux, peer = odd.mux, odd.peer
    tasks = [mux.submit(command(i, TEST_UNIT_READY)) for i in range(6)]
    first = peer.receive(SCSI)
    mux.ping()
    peer.quiet()
    check_equal(odd.show()["window"], 0, "window")
    # B18: a MaxCmdSN below ExpCmdSN - 1 says nothing, a smaller one less.
    peer.send(NOP_IN, NONE, consume=False, expcmdsn=9, maxcmdsn=7)
    peer.send(NOP_IN, NONE, consume=False, expcmdsn=2, maxcmdsn=0x80000002)
    peer.send(NOP_IN, NONE, consume=False, expcmdsn=1, maxcmdsn=0)
    peer.quiet()
    # One more, by a NOP-In that asks for nothing.
    peer.send(NOP_IN, NONE, consume=False, expcmdsn=2, maxcmdsn=2)
    second = peer.receive(SCSI)
    peer.quiet()
    # By an R2T-less response of another task; a later, smaller one is stale.
    peer.send(SCSI_RSP, first.itt, word5=0, expcmdsn=3, maxcmdsn=4)
    peer.send(SCSI_RSP, second.itt, word5=0, expcmdsn=3, maxcmdsn=2)
    third, fourth = peer.receive(SCSI), peer.receive(SCSI)
    peer.quiet()
    # A closed window does not hold up immediates.
    nop = mux.submit(nop_out(50))
    request = peer.receive(NOP_OUT)
    peer.send(NOP_IN, request.itt, expcmdsn=5, maxcmdsn=4)
    mux.finish(nop)
    peer.quiet()
    peer.send(SCSI_RSP, third.itt, word5=0, expcmdsn=5, maxcmdsn=6)
    for request in (fourth, peer.receive(SCSI), peer.receive(SCSI)):
        peer.respond(request)
    for task in tasks:
        mux.finish(task).good()


@test("a target that takes one command at a time")
def window_of_one():
    rig = Rig("--queue-depth", "1")
    clients = [rig.mux() for _ in range(4)]
    data = [os.urandom(65536) for _ in clients]
    writes = [[mux.start_write(lba, data[i][:4096], immediate=4096)
               for lba in range(1000 * i, 1000 * i + 8 * 16, 8)]
              for i, mux in enumerate(clients)]
    reads = [[mux.start_read(1000 * i + 8 * n, 8) for n in range(16)]
             for i, mux in enumerate(clients)]
    for i, mux in enumerate(clients):
        for task in writes[i] + reads[i]:
            mux.finish(task).good()
        for task in reads[i]:
            check(bytes(task.data) == data[i][:4096], f"client {i} read")
    rig.wait_idle()


@test("a window of zero queues requests until it opens")
def zero_window():
    rig = Rig("--queue-depth", "2")
    rig.order("window 0")
    mux = rig.mux()
    tasks = [mux.submit(command(i, TEST_UNIT_READY)) for i in range(5)]
    mux.finish(tasks[0]).good()
    mux.finish(tasks[1]).good()
    mux.ping()
    check_equal([task.done for task in tasks], [True] * 2 + [False] * 3,
                "ended")
    check_equal(rig.show()["window"], 0, "window")
    mux.cancel(tasks[3])
    mux.finish(tasks[3])
    check_equal((tasks[3].outcome.outcome, tasks[3].outcome.not_sent),
                ("aborted", True), "cancelled while it waited")
    rig.order("window 8")
    mux.finish(tasks[2]).good()
    mux.finish(tasks[4]).good()
    rig.wait_idle()


@test("statuses are acknowledged when nothing else is sent")
def idle_ack():
    odd = Odd()
    odd.works()
    request = odd.peer.receive(NOP_OUT, acks=True)
    check_equal((request.immediate, request.itt, request.word5,
                 request.expstatsn, request.data),
                (True, NONE, NONE, odd.peer.statsn, b""), "the NOP-Out")
    odd.works()


# --- What nobody asked for

@test("pings are answered with their LUN and TTT")
def pings():
    rig = Rig()
    mux, curious = rig.mux(events=0xff), rig.mux()
    luns = ("0000000000000000", "0123456789abcdef", "ffffffffffffffff")
    for lun in luns:
        rig.order(f"ping {lun}")
    mux.works()
    curious.works()
    check_equal(rig.stats()["pings_answered"], 3, "pings answered")
    check_equal(list(mux.inbox), [], "what the client saw")
    check_equal([(msg.opcode, msg.lun) for msg in curious.inbox],
                [(NOP_IN, int(lun, 16)) for lun in luns],
                "what a client saw that asked for unsolicited PDUs")
    odd = Odd()
    odd.peer.send(NOP_IN, NONE, b"ping data", lun=0x8765432112345678,
                  word5=0x4711, consume=False)
    request = odd.peer.receive(NOP_OUT)
    check_equal((request.immediate, request.flags, request.lun, request.itt,
                 request.word5, request.data),
                (True, FINAL, 0x8765432112345678, NONE, 0x4711, b""),
                "the answer")
    odd.works()


@test("data where none belongs is dropped")
def no_data_wanted():
    odd = Odd(login={"ImmediateData": "No", "InitialR2T": "Yes"})
    mux, peer = odd.mux, odd.peer
    task, request = odd.start(command(7, write16(0, 1), 512, WRITE),
                              out=bytes(512))
    peer.r2t(request, 1, 0, 512, data=b"what is this?")
    mux.wait_r2ts(task)
    peer.receive(DATA_OUT)
    check_equal(task.r2ts[0].dsl, 0, "data of the R2T")
    peer.respond(request)
    mux.finish(task).good()
    task, request = odd.start(tmf(8, LUN_RESET))
    peer.respond(request, TMF_RSP, data=b"more")
    mux.finish(task)
    check_equal(task.pdu.dsl, 0, "data of the TMF Response")
    check_equal(odd.stats()["ignored_data"], 17, "bytes ignored")
    odd.works()


@test("reserved bits and vendors' opcodes")
def vendors():
    odd = Odd()
    mux, peer = odd.mux, odd.peer
    task, request = odd.start(READ_8)
    peer.send(0x3c, NONE, consume=False)
    peer.send(0x3d, request.itt, b"vendor", consume=False)
    msg = mux.answer_to(task.cookie)
    check_equal((msg.opcode, msg.data, task.done), (0x3d, b"vendor", False),
                "the vendor's PDU")
    peer.respond(request, SCSI_RSP | 0xc0, word5=0)
    mux.finish(task).good()
    odd.works()


@test("a failure of the target is not good status")
def target_failure():
    odd = Odd()
    task, request = odd.start(command(7, TEST_UNIT_READY))
    odd.peer.respond(request, response=1, status=0)
    odd.mux.finish(task)
    check_equal((task.pdu.response, task.pdu.status), (1, 0), "Response")
    odd.works()


# --- Targets that break the protocol

READ_8 = command(7, read16(0, 8), 4096, READ)
WRITE_8 = command(7, write16(0, 8), 4096, WRITE)
TUR = command(7, TEST_UNIT_READY)

BROKEN = (
    ("a tag never used", TUR,
     lambda peer, r: peer.send(SCSI_RSP, r.itt ^ 0x5a5a5, word5=0),
     "never used"),
    ("a NOP-In for a command", TUR,
     lambda peer, r: peer.respond(r, NOP_IN), "answered"),
    ("a TMF Response for a command", TUR,
     lambda peer, r: peer.respond(r, TMF_RSP), "answered"),
    ("a Text Response for a command", TUR,
     lambda peer, r: peer.respond(r, TEXT_RSP), "answered"),
    ("a Logout Response for a command", TUR,
     lambda peer, r: peer.respond(r, 0x26), "answered"),
    ("a Login Response for a command", TUR,
     lambda peer, r: peer.respond(r, 0x23), "answered"),
    ("a SCSI Response for a NOP-Out", nop_out(7),
     lambda peer, r: peer.respond(r), "answered"),
    ("Data-In for a NOP-Out", nop_out(7),
     lambda peer, r: peer.data_in(r, b""), "answered"),
    ("a NOP-In for a Text Request", text_request(7),
     lambda peer, r: peer.respond(r, NOP_IN), "answered"),
    ("a SCSI Response for task management", tmf(7, LUN_RESET),
     lambda peer, r: peer.respond(r), "answered"),
    ("a SCSI Response with the reserved tag", TUR,
     lambda peer, r: peer.send(SCSI_RSP, NONE, word5=0), "reserved tag"),
    ("an initiator's opcode", TUR,
     lambda peer, r: peer.respond(r, SCSI), "opcode 0x01"),
    ("a reserved opcode", TUR,
     lambda peer, r: peer.respond(r, 0x2f), "opcode 0x2f"),
    ("a StatSN too high", TUR,
     lambda peer, r: peer.respond(r, statsn=peer.statsn + 1), "StatSN"),
    ("a StatSN too low", TUR,
     lambda peer, r: peer.respond(r, statsn=peer.statsn - 1), "StatSN"),
    ("more data than EDTL", READ_8,
     lambda peer, r: peer.data_in(r, bytes(4097)), "4097 bytes"),
    ("data for a command without any", TUR,
     lambda peer, r: peer.data_in(r, b"x"), "1 bytes"),
    ("more than EDTL in two PDUs", READ_8,
     lambda peer, r: (peer.data_in(r, bytes(4096), final=False),
                      peer.data_in(r, b"x")), "4097 bytes"),
    ("too many PDUs", READ_8,
     lambda peer, r: [peer.data_in(r, b"x", final=False)
                      for _ in range(25)], "25 PDUs"),
    ("a Data-In left out", READ_8,
     lambda peer, r: (peer.data_in(r, bytes(512), final=False),
                      peer.data_in(r, bytes(512), sn=2)),
     "DataSN of a Data-In is 2, expected 1: a PDU was lost"),
    ("a Data-In twice", READ_8,
     lambda peer, r: [peer.data_in(r, bytes(512), 0, 0, final=False)
                      for _ in range(2)],
     "DataSN of a Data-In is 0, expected 1"),
    ("data left out", READ_8,
     lambda peer, r: (peer.data_in(r, bytes(512), final=False),
                      peer.data_in(r, bytes(512), 1024)),
     "Buffer Offset of a Data-In is 1024, expected 512"),
    ("the last Data-In left out", READ_8,
     lambda peer, r: (peer.data_in(r, bytes(512), final=False),
                      peer.respond(r, tail=struct.pack(">I", 2))),
     "ExpDataSN of a SCSI Response is 2, expected 1"),
    ("an R2T left out", WRITE_8,
     lambda peer, r: peer.r2t(r, 5, 0, 512, 1),
     "R2TSN of an R2T is 1, expected 0"),
    ("an R2T that goes back", WRITE_8,
     lambda peer, r: (peer.r2t(r, 5, 512, 512), peer.r2t(r, 6, 0, 512)),
     "R2T for 512 bytes at 0"),
    ("a SCSI Response with 5000 bytes of sense", TUR,
     lambda peer, r: peer.respond(r, data=bytes(5000)), "5000 bytes"),
    ("data above our limit", READ_8,
     lambda peer, r: peer.data_in(r, b"", length=262145), "above the limit"),
    ("an R2T beyond EDTL", WRITE_8,
     lambda peer, r: peer.r2t(r, 5, 4000, 97), "R2T"),
    ("an R2T for nothing", WRITE_8,
     lambda peer, r: peer.r2t(r, 5, 0, 0), "R2T"),
    ("an R2T without a tag", WRITE_8,
     lambda peer, r: peer.r2t(r, NONE, 0, 512), "R2T"),
    ("an R2T with another LUN", WRITE_8,
     lambda peer, r: peer.r2t(r, 5, 0, 512, lun=1), "R2T"),
    ("an R2T that wraps", WRITE_8,
     lambda peer, r: peer.r2t(r, 5, 0xffffff00, 512), "R2T"),
    ("more R2Ts than MaxOutstandingR2T", WRITE_8,
     lambda peer, r: [peer.r2t(r, n, 512 * n, 512, n)
                      for n in range(4)], "R2T"),
    ("more than MaxBurstLength", command(7, write16(0, 1024), 1 << 19, WRITE),
     lambda peer, r: peer.r2t(r, 5, 0, (1 << 18) + 1), "R2T"),
    ("a Text Response that leads nowhere", text_request(7),
     lambda peer, r: peer.respond(r, TEXT_RSP, flags=0, word5=NONE),
     "Text Response"),
    ("the end of the stream inside a PDU", READ_8,
     lambda peer, r: (peer.socket.sendall(peer.pdu(SCSI_RSP, r.itt)[:20]),
                      peer.socket.shutdown(1)), "middle of a PDU"),
    ("the end of the stream", READ_8,
     lambda peer, r: peer.socket.shutdown(1), "closed by the target"))


@test("a target that breaks the protocol loses its session, and gets it back")
def broken_targets():
    odd = Odd()
    mux = odd.mux
    for generation, (what, pdu, act, why) in enumerate(BROKEN, 2):
        task, request = odd.start(pdu)
        act(odd.peer, request)
        odd.peer.closed()
        mux.finish(task)
        check(task.outcome is not None, f"{what}: ended with {task.pdu}")
        check_equal((task.outcome.outcome, task.outcome.reason,
                     task.outcome.not_sent),
                    ("unknown", "connection-lost", False), what)
        check(why in task.outcome.text, f"{what}: {task.outcome.text}")
        check(why in mux.event("session-down").text, f"{what}: EVENT")
        odd.relogin()
        check_equal(mux.event("session-up").generation, generation,
                    f"{what}: generation")
        odd.works()
    check_equal(odd.stats()["downs"], len(BROKEN), "downs")


@test("PDUs for tags that are free again are dropped and counted")
def stale():
    odd = Odd()
    mux, peer = odd.mux, odd.peer
    task, request = odd.start(command(7, TEST_UNIT_READY))
    peer.respond(request)
    mux.finish(task).good()
    peer.respond(request)
    peer.data_in(request, bytes(5), final=False)
    peer.r2t(request, 5, 0, 512)
    odd.works()
    check_equal(odd.stats()["stale_pdus"], 3, "dropped")
    # The same for a task that was aborted.
    task, request = odd.start(READ_8)
    mux.cancel(task)
    abort = peer.receive(TMF)
    check_equal((abort.immediate, abort.flags, abort.lun, abort.word5,
                 abort.cmdsn, abort.word8),
                (True, FINAL | ABORT_TASK, request.lun, request.itt,
                 peer.expcmdsn, request.cmdsn), "the ABORT TASK")
    peer.data_in(request, bytes(512), final=False)
    peer.respond(abort, TMF_RSP)
    mux.finish(task)
    check_equal((task.outcome.outcome, task.outcome.tmf), ("aborted", 0),
                "outcome")
    peer.data_in(request, bytes(4096))
    odd.works()
    check_equal(odd.stats()["stale_pdus"], 4, "dropped")
    check_equal(odd.stats()["downs"], 0, "downs")


@test("the response wins against the abort; the tag waits for the abort")
def response_first():
    odd = Odd()
    mux, peer = odd.mux, odd.peer
    task, request = odd.start(READ_8)
    mux.cancel(task)
    abort = peer.receive(TMF)
    peer.data_in(request, bytes(4096))
    mux.finish(task).good()
    check_equal(odd.show()["tasks"], 2, "tags in use")
    # The client may use its own tag again at once.
    again, second = odd.start(READ_8)
    peer.data_in(request, bytes(4096))
    peer.data_in(second, b"\1" * 4096)
    mux.finish(again).good()
    check_equal(bytes(again.data), b"\1" * 4096, "data of the second")
    peer.respond(abort, TMF_RSP, response=1)
    odd.works()
    odd.daemon.wait_session("odd", lambda s: s["tasks"] == 0, "idle")
    check_equal(odd.stats()["stale_pdus"], 1, "dropped")


@test("a wrong tag of the target costs its session once")
def wrong_itt():
    rig = Rig(broken=True)
    mux, other = rig.mux(), rig.mux()
    rig.order("wrong-itt")
    task = mux.start_read(0, 8)
    mux.finish(task)
    check_equal(task.outcome.outcome, "unknown", "outcome")
    for client in (mux, other):
        client.event("session-down")
        check_equal(client.event("session-up").generation, 2, "generation")
    mux.works()
    other.works()
    rig.wait_idle()
    check_equal(rig.target.counters()["protocol_errors"], 0, "errors")


# --- Limits and digests of the transport

@test("digests begin with the first byte after the login")
def digests_begin():
    odd = Odd({"extra": lambda peer: peer.pdu(
                   NOP_IN, NONE, lun=5, word5=9, consume=False),
               "HeaderDigest": "CRC32C", "DataDigest": "CRC32C"},
              {"header_digest": "CRC32C", "data_digest": "CRC32C"})
    request = odd.peer.receive(NOP_OUT)
    check_equal((request.word5, request.lun), (9, 5), "answer to the ping")
    odd.works()
    task, request = odd.start(command(7, read16(0, 1), 512, READ))
    odd.peer.data_in(request, bytes(511), final=False)
    odd.peer.data_in(request, b"!")
    odd.mux.finish(task).good()
    check_equal(bytes(task.data), bytes(511) + b"!", "data")


@test("each direction has a limit of its own")
def limits_of_directions():
    odd = Odd({"MaxRecvDataSegmentLength": "512"},
              {"max_recv_data_segment_length": "4K"})
    mux, peer = odd.mux, odd.peer
    check_equal((mux.attached.send_dsl, mux.attached.recv_dsl), (512, 4096),
                "limits")
    check_equal(peer.keys["MaxRecvDataSegmentLength"], "4096", "declared")
    mux.refused(command(7, write16(0, 2), 1024, WRITE, bytes(513)),
                "data-limit")
    task, request = odd.start(command(7, write16(0, 2), 1024, WRITE,
                                      bytes(512)))
    peer.respond(request)
    mux.finish(task).good()
    task, request = odd.start(READ_8)
    peer.data_in(request, bytes(4096))
    mux.finish(task).good()
    task, request = odd.start(command(7, read16(0, 16), 8192, READ))
    peer.data_in(request, b"", length=4097)
    peer.closed()
    mux.finish(task)
    check_equal(task.outcome.outcome, "unknown", "outcome")


@test("several R2Ts of a task are answered in their order")
def several_r2ts():
    rig = Rig("--max-outstanding-r2t", "4", "--initial-r2t", "yes",
              "--immediate-data", "no",
              session_keys={"max_outstanding_r2t": 4,
                            "max_burst_length": "8K",
                            "first_burst_length": "8K"})
    mux = rig.mux()
    data = os.urandom(8 * 8192)
    task = mux.start_write(0, data, manual=True)
    mux.wait_r2ts(task, 4)
    first, second = task.r2ts[:2]
    mux.data_error(data_out(task.itt, second.word5, second.offset,
                            data[8192:16384]), "bad-target-transfer-tag")
    task.out = data
    for r2t in list(task.r2ts):
        mux.answer(task, r2t, 3000)
    mux.finish(task).good()
    check_equal([r2t.offset for r2t in task.r2ts],
                [8192 * n for n in range(8)], "offsets")
    check(mux.read(0, 128) == data, "what was read")


main()
