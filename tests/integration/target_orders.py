#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""What a test can order from the RAM target's control socket happens."""

import struct

from harness import Failure, check, check_equal, main, test, wait_until
from target_client import (NONE, TEST_UNIT_READY, Session, Target,
                           Wire, bhs, read10, text, write10)

DIGESTS = ("HeaderDigest=CRC32C", "DataDigest=CRC32C")


def silent(session):
    """Fails unless the target has nothing to say: a ping comes back next."""
    itt = session.request(0x40, word5=NONE)
    check_equal(session.receive().itt, itt, "ITT of what came next")


@test("sessions and counters are told, unknown orders refused")
def sessions():
    target = Target()
    with Session(target.portals[0], name="iqn.a:1"), \
            Session(target.portals[0], name="iqn.b:2") as second:
        second.read(0, 4)
        told = target.order("sessions")
        check_equal([s["initiator"] for s in told["sessions"]],
                    ["iqn.a:1", "iqn.b:2"], "names")
        check_equal(told["sessions"][1]["pdus_in"], {"01": 1, "03": 1}, "in")
        check_equal(told["sessions"][1]["pdus_out"], {"23": 1, "25": 1}, "out")
    wait_until(lambda: target.order("sessions")["count"] == 0, "no session")
    check_equal(target.counters()["logins"], 2, "logins")
    check(not target.ask("dance")["ok"], "dance was accepted")
    check("commands" in target.ask("help"), "no help")


@test("held commands are answered when they are released")
def hold():
    target = Target()
    with Session(target.portals[0]) as s:
        for what, cdb, edtl, data in (
                ("reads", read10(0, 1), 512, b""),
                ("writes", write10(0, 1), 512, bytes(512)),
                ("all", TEST_UNIT_READY, 0, b"")):
            target.order(f"hold {what}")
            itt = s.command(cdb, edtl, data)
            silent(s)
            check_equal(target.order("sessions")["sessions"][0]["tasks"], 1,
                        "tasks held")
            target.order("release")
            check_equal(s.receive().itt, itt, "ITT of the released")
        target.order("hold reads")
        s.good(s.command(TEST_UNIT_READY))
        target.order("hold none")
    target.check_no_error()


@test("R2Ts are held and released")
def hold_r2t():
    target = Target()
    with Session(target.portals[0], "ImmediateData=No") as s:
        target.order("hold r2t")
        itt = s.command(write10(0, 2), 1024)
        silent(s)
        target.order("release")
        r2t = s.expect(0x31)
        s.data_out(itt, r2t.word5, bytes(1024), 0)
        s.good(itt)
    target.check_no_error()


@test("all connections are dropped; the next login works")
def drop():
    target = Target()
    with Session(target.portals[0]) as one, \
            Session(target.portals[0], name="iqn.b:2") as two:
        check_equal(target.order("drop")["dropped"], 2, "dropped")
        check_equal(one.expect_close() + two.expect_close(), [], "PDUs")
    with Session(target.portals[0]) as s:
        s.good(s.command(TEST_UNIT_READY))


@test("logins are refused with the status that was ordered, until told no")
def refuse_login():
    target = Target()
    target.order("refuse-login 3 1")
    for _ in range(2):
        with Wire(target.portals[0]) as wire:
            wire.send(bhs(0x43, 0x87, lun=0x8000000000010000))
            answer = wire.expect(0x23)
            check_equal(answer.bhs[36:38].hex(), "0301", "status")
            wire.expect_close()
    target.order("refuse-login no")
    with Session(target.portals[0]) as s:
        s.good(s.command(TEST_UNIT_READY))


@test("a ping asks for its tags and LUN back")
def ping():
    target = Target()
    with Session(target.portals[0]) as s:
        with target.calling("ping 0001020304050607") as answer:
            nop = s.expect(0x20)
            check_equal((nop.itt, nop.lun), (NONE, 0x0001020304050607),
                        "ITT, LUN of the ping")
            check(nop.word5 != NONE, "the ping has no TTT")
            s.request(0x40, itt=NONE, word5=nop.word5, lun=nop.lun)
            pong = answer()["pongs"][0]
        check_equal((pong["itt"], pong["ttt"], pong["lun"]),
                    (NONE, nop.word5, "0001020304050607"), "pong")
        with target.calling("ping") as answer:
            s.expect(0x20)
            s.socket.close()
            check(answer()["pongs"][0]["gone"], "not gone")
    target.check_no_error()


@test("async messages carry event and parameters and take a StatSN")
def asynchronous():
    target = Target()
    with Session(target.portals[0]) as s:
        target.order("async 1 0 0 15")
        message = s.expect(0x32)
        check_equal(message.itt, NONE, "ITT")
        check_equal(message.bhs[36:44].hex(), "010000000000000f", "event")
        target.order("async 0 0x2a01 0 0")
        message = s.expect(0x32)
        check_equal(message.data[:2].hex(), "0012", "SenseLength")
        check_equal(message.data[14:16].hex(), "2a01", "ASC, ASCQ")
        s.good(s.command(TEST_UNIT_READY))
    target.check_no_error()


def window(pdu):
    """Commands that may be sent after this PDU."""
    return (pdu.maxcmdsn - pdu.expcmdsn + 1) & NONE


@test("a Reject with the header, CmdSN taken")
def reject_consume():
    target = Target()
    with Session(target.portals[0]) as s:
        target.order("reject-next 1 9 consume")
        itt = s.command(TEST_UNIT_READY)
        reject = s.expect(0x3f)
        check_equal((reject.itt, reject.response), (NONE, 9), "ITT, reason")
        check_equal(struct.unpack(">I", reject.data[16:20])[0], itt,
                    "ITT of the header inside")
        check_equal(reject.expcmdsn, s.cmdsn, "ExpCmdSN")
        s.good(s.command(TEST_UNIT_READY))
    target.check_no_error()


def make_gap(target, s):
    """A rejected command whose CmdSN is missing and two behind it."""
    target.order("reject-next 1 0x0a gap")
    s.command(TEST_UNIT_READY)
    reject = s.expect(0x3f)
    check_equal(reject.expcmdsn, s.cmdsn - 1, "ExpCmdSN of the Reject")
    first = s.command(write10(0, 1), 512, bytes(range(256)) * 2)
    second = s.command(read10(0, 1), 512)
    itt = s.request(0x40, word5=NONE)
    pong = s.receive()
    check_equal((pong.itt, pong.expcmdsn), (itt, reject.expcmdsn),
                "ITT, ExpCmdSN of the pong")
    return reject.expcmdsn, first, second


def after_gap(s, first, second):
    """What waited behind the gap is done, in order."""
    s.good(first)
    data = s.expect(0x25)
    check_equal((data.itt, data.data), (second, bytes(range(256)) * 2),
                "ITT and data of the read")
    check_equal(data.expcmdsn, s.cmdsn, "ExpCmdSN")
    s.good(s.command(TEST_UNIT_READY))


@test("a Reject that leaves a gap in CmdSN; a NOP-Out plugs it")
def reject_gap():
    target = Target()
    with Session(target.portals[0]) as s:
        missing, first, second = make_gap(target, s)
        following = s.cmdsn
        itt = s.request(0x00, word5=NONE, cmdsn=missing)
        s.cmdsn = following
        check_equal(s.expect(0x20).itt, itt, "ITT of the pong")
        after_gap(s, first, second)
    target.check_no_error()


@test("a gap in CmdSN is plugged by ABORT TASK with RefCmdSN")
def reject_gap_abort():
    target = Target()
    with Session(target.portals[0]) as s:
        missing, first, second = make_gap(target, s)
        s.request(0x42, flags=0x81, word5=s.itt - 3,
                  tail=struct.pack(">I", missing))
        check_equal(s.expect(0x22).response, 0, "response")
        after_gap(s, first, second)
    target.check_no_error()


@test("a rejected Data-Out fails its command with 0B/47/05")
def reject_data_out():
    target = Target()
    with Session(target.portals[0], "ImmediateData=No") as s:
        itt = s.command(write10(0, 1), 512)
        target.order("reject-next 5 2 consume")
        s.data_out(itt, s.expect(0x31).word5, bytes(512), 0)
        check_equal(s.expect(0x3f).response, 2, "reason")
        answer = s.expect(0x21)
        check_equal((answer.itt, answer.status), (itt, 2), "ITT, status")
        check_equal((answer.data[4], answer.data[14:16].hex()), (0xb, "4705"),
                    "sense")
    target.check_no_error()


@test("a unit attention comes once to each session")
def unit_attention():
    target = Target("--luns", 2)
    with Session(target.portals[0], name="iqn.a:1") as one, \
            Session(target.portals[0], name="iqn.b:2") as two:
        target.order("ua 1 0x2a 0x09")
        for s in (one, two):
            s.good(s.command(TEST_UNIT_READY))
            s.command(TEST_UNIT_READY, lun=1 << 48)
            answer = s.expect(0x21)
            check_equal((answer.status, answer.data[4],
                         answer.data[14:16].hex()), (2, 6, "2a09"), "sense")
            s.good(s.command(TEST_UNIT_READY, lun=1 << 48))


@test("the window narrows without MaxCmdSN going back, and widens")
def narrow():
    target = Target("--queue-depth", 4)
    with Session(target.portals[0]) as s:
        check_equal(window(s.good(s.command(TEST_UNIT_READY))), 4, "window")
        target.order("window 0")
        nop = s.expect(0x20)
        check_equal((nop.itt, nop.word5), (NONE, NONE), "tags of the NOP-In")
        for left in (3, 2, 1, 0):
            check_equal(window(s.good(s.command(TEST_UNIT_READY))), left,
                        "window")
        target.order("window 2")
        check_equal(window(s.expect(0x20)), 2, "window")
        target.order("hold all")
        held = [s.command(TEST_UNIT_READY) for _ in range(2)]
        pong = s.request(0x40, word5=NONE)
        answer = s.expect(0x20)
        check_equal((answer.itt, window(answer)), (pong, 0), "ITT, window")
        target.order("release")
        check_equal(window(s.good(held[0])), 1, "window")
        check_equal(window(s.good(held[1])), 2, "window")
        target.order("window 0")
        s.expect(0x20)
        s.good(s.command(TEST_UNIT_READY))
        s.good(s.command(TEST_UNIT_READY))
        s.command(TEST_UNIT_READY)
        check_equal(s.expect_close(), [], "PDUs after a CmdSN too many")
    check("above MaxCmdSN" in target.counters()["last_error"], "no error")


@test("the connection breaks after so many bytes")
def drop_after():
    target = Target()
    with Session(target.portals[0]) as s:
        target.order("fault drop-after 1000")
        s.command(read10(0, 4), 2048)
        got = b""
        while True:
            try:
                more = s.socket.recv(4096)
            except ConnectionResetError:
                more = b""
            if not more:
                break
            got += more
        check_equal(len(got), 1000, "bytes that came")
    with Session(target.portals[0]) as s:
        check_equal(s.read(0, 4), bytes(2048), "data")


@test("digests of Data-In are spoilt once")
def corrupt():
    target = Target()
    for what, message in (("header", "digest of"), ("data", "data digest")):
        with Session(target.portals[0], *DIGESTS) as s:
            s.good(s.command(TEST_UNIT_READY))
            check_equal(s.read(0, 1), bytes(512), "data")
            target.order(f"corrupt {what}")
            try:
                s.read(0, 1)
            except Failure as failure:
                check(message in str(failure), str(failure))
            else:
                raise Failure(f"{what} digest is right")
    target.check_no_error()


@test("a stalled target reads nothing and goes on later")
def stall():
    target = Target()
    with Session(target.portals[0]) as s:
        target.order("stall on")
        itts = [s.command(TEST_UNIT_READY) for _ in range(3)]
        before = target.counters()["pdus_in"]
        check_equal(before, 1, "PDUs before the stall")
        target.order("stall off")
        for itt in itts:
            s.good(itt)
    target.check_no_error()


@test("a response bears an ITT that was never used")
def wrong_itt():
    target = Target()
    with Session(target.portals[0]) as s:
        target.order("wrong-itt")
        itt = s.command(TEST_UNIT_READY)
        check(s.expect(0x21).itt != itt, "the ITT is right")
        s.good(s.command(TEST_UNIT_READY))


# --- Login and text, by options

@test("a new login of the same initiator and ISID ends the old session")
def reinstatement():
    target = Target()
    with Session(target.portals[0]) as old:
        with Session(target.portals[0], isid=0x800000000002) as other:
            with Session(target.portals[0]) as new:
                check_equal(old.expect_close(), [], "PDUs of the old session")
                new.good(new.command(TEST_UNIT_READY))
            other.good(other.command(TEST_UNIT_READY))


@test("StatSN wraps around")
def statsn_wrap():
    target = Target("--first-statsn", 0xfffffffe)
    with Session(target.portals[0]) as s:
        for _ in range(4):
            s.good(s.command(TEST_UNIT_READY))
    target.check_no_error()


@test("text goes in pieces with the C bit, both ways")
def split():
    target = Target("--text-split", 7, "--portal", "127.0.0.1:0", "--portal",
                    "[::1]:0", portals=2)
    with SplitSession(target.portals[1], discovery=True) as s:
        check_equal(s.keys["MaxRecvDataSegmentLength"], "262144", "declared")
        ask = text("SendTargets=All")
        itt = s.request(0x04, ask[:5], flags=0x40, word5=NONE)
        answer = s.expect(0x24)
        check_equal((answer.flags, answer.data), (0, b""), "first answer")
        s.request(0x04, ask[5:], itt=itt, word5=answer.word5)
        told = b""
        while True:
            answer = s.expect(0x24)
            told += answer.data
            if answer.flags & 0x80:
                break
            check_equal(answer.flags, 0x40, "flags")
            check(len(answer.data) == 7 and answer.word5 != NONE, f"{answer}")
            s.request(0x04, itt=itt, word5=answer.word5)
        check_equal(answer.word5, NONE, "TTT of the last")
        check_equal(told, text(f"TargetName={target.iqn}", *[
            f"TargetAddress={portal},1" for portal in target.portals]), "text")
        s.request(0x46)
        s.expect(0x26)
    target.check_no_error()


class SplitSession(Session):
    """Sends its login text in pieces and collects the answer's."""

    def login(self, data, flags=0x87):
        pieces = [data[at:at + 20] for at in range(0, len(data), 20)]
        for piece in pieces[:-1]:
            answer = super().login(piece, 0x44)
            check_equal((answer.flags, answer.data), (4, b""), "answer to C")
        answer = super().login(pieces[-1], flags)
        told = answer.data
        while not answer.flags & 0x80:
            more = answer.flags & 0x40
            answer = super().login(b"", 0x04 if more else 0x87)
            told += answer.data
        answer.data = told
        return answer


@test("the target proposes what the defaults would get wrong")
def propose():
    target = Target("--max-burst", "64K", "--first-burst", "4K",
                    "--immediate-data", "no", "--data-digest", "crc32c")
    with ProposedSession(target.portals[0]) as s:
        told = target.order("sessions")["sessions"][0]
        check_equal([told[key] for key in ("max_burst", "first_burst",
                                           "immediate_data", "data_digest",
                                           "header_digest", "initial_r2t")],
                    [65536, 2048, False, True, False, True], "agreed")
        s.data_digest = True
        check_equal(s.read(0, 1), bytes(512), "data")
    target.check_no_error()


class ProposedSession(Session):
    """Offers nothing and answers what the target offers."""

    def login(self, data, flags=0x87):
        answer = super().login(data, flags)
        check_equal(answer.flags, 4, "flags while keys are open")
        told = answer.data.decode()
        for pair in ("MaxBurstLength=65536", "FirstBurstLength=4096",
                     "ImmediateData=No", "DataDigest=CRC32C"):
            check(pair in told, f"{pair} is not in {told}")
        check("InitialR2T" not in told, told)
        return super().login(text("MaxBurstLength=65536", "ImmediateData=No",
                                  "FirstBurstLength=2048",
                                  "DataDigest=CRC32C"), flags)


@test("SIGUSR1 prints the counters")
def sigusr1():
    target = Target()
    target.signal(10)
    target.wait_line(r'^\{.*"protocol_errors":0')


main()
