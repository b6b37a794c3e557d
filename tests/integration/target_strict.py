#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""The RAM target finds the mistakes of an initiator.

Each mistake is made once on a session of its own: the target must say what is
wrong, count it and close. Tests of the daemon rely on that when they assert
that no protocol error was counted.
"""

import struct

from harness import check, check_equal, main, shared, test
from target_client import (INITIATOR, NONE, TEST_UNIT_READY, Session, Target,
                           Wire, bhs, read10, text, write10)

MISTAKES = []


def mistake(message, *keys, discovery=False):
    """Registers a function that makes a mistake, and what is then said."""
    def register(function):
        MISTAKES.append((function, message, keys, discovery))
        return function
    return register


@shared
def target():
    return Target("--luns", 2, "--max-recv-dsl", "64K", "--queue-depth", 8,
                  "--protocol-level", 2)


# --- Sequence numbers

@mistake("duplicate: CmdSN")
def cmdsn_twice(s):
    s.good(s.command(TEST_UNIT_READY))
    s.command(TEST_UNIT_READY, cmdsn=s.cmdsn - 1)


@mistake("gap: CmdSN")
def cmdsn_gap(s):
    s.command(TEST_UNIT_READY, cmdsn=s.cmdsn + 1)


@mistake("above MaxCmdSN")
def cmdsn_outside_window(s):
    s.command(TEST_UNIT_READY, cmdsn=s.cmdsn + 8)


@mistake("immediate opcode 0x02 with CmdSN")
def cmdsn_of_immediate(s):
    s.request(0x42, flags=0x85, word5=NONE, cmdsn=s.cmdsn + 1)


@mistake("ExpStatSN")
def expstatsn_beyond(s):
    s.command(TEST_UNIT_READY, expstatsn=s.expstatsn + 1)


@mistake("ExpStatSN")
def expstatsn_back(s):
    s.good(s.command(TEST_UNIT_READY))
    s.good(s.command(TEST_UNIT_READY))
    s.command(TEST_UNIT_READY, expstatsn=s.expstatsn - 2)


# --- Tags and opcodes

@mistake("that is in use")
def itt_twice(s):
    itt = s.command(write10(0, 8), 4096)
    s.expect(0x31)
    s.command(TEST_UNIT_READY, itt=itt)


@mistake("with ITT ffffffff")
def itt_reserved(s):
    s.command(TEST_UNIT_READY, itt=NONE)


@mistake("opcode")
def opcode_of_target(s):
    s.request(0x21)


@mistake("opcode")
def opcode_reserved(s):
    s.request(0x0b)


@mistake("opcode 0x03 in full feature phase")
def login_again(s):
    s.request(0x43, flags=0x87)


@mistake("opcode 0x10 in full feature phase")
def snack(s):
    s.request(0x10)


@mistake("DataSegmentLength")
def data_too_long(s):
    s.request(0x40, word5=NONE, length=65537)


@mistake("bad Additional Header Segment")
def ahs_of_nop(s):
    header = bytearray(bhs(0x40, itt=9, word5=NONE, cmdsn=s.cmdsn,
                           expstatsn=s.expstatsn))
    header[4] = 2
    s.send(bytes(header))


@mistake("EDTL 512 without R or W")
def edtl_without_direction(s):
    s.command(TEST_UNIT_READY, 512, flags=0x81)


@mistake("Logout Request with data")
def logout_with_data(s):
    s.request(0x46, b"1234")


@mistake("Text Request continues nothing")
def text_continued(s):
    s.request(0x04, word5=17)


@mistake("NOP-Out without tag and I bit")
def nop_not_immediate(s):
    s.request(0x00, itt=NONE, word5=NONE)


@mistake("NOP-Out answers no ping")
def nop_unasked(s):
    s.request(0x40, itt=NONE, word5=17)


@mistake("NOP-Out with both tags")
def nop_both_tags(s):
    s.request(0x40, word5=17)


@mistake("NOP-Out in discovery", discovery=True)
def nop_in_discovery(s):
    s.request(0x40, word5=NONE)


@mistake("opcode 0x01 in discovery", discovery=True)
def command_in_discovery(s):
    s.command(TEST_UNIT_READY)


# --- Data-Out. The write has two R2Ts of 2048 bytes outstanding.

def write(s, number=0):
    """(ITT, TTT) of a write of 8 blocks of LUN 1, TTT of that R2T."""
    itt = s.command(write10(0, 8), 4096, lun=1 << 48)
    return itt, [s.expect(0x31).word5 for _ in range(2)][number]


def data_mistake(message):
    return mistake(message, "InitialR2T=Yes", "MaxOutstandingR2T=4",
                   "MaxBurstLength=2048")


@data_mistake("Data-Out of unknown ITT")
def data_of_nobody(s):
    s.data_out(77, 1, bytes(512), 0)


@data_mistake("Data-Out with TTT")
def data_wrong_ttt(s):
    itt, ttt = write(s)
    s.data_out(itt, ttt + 100, bytes(2048), 0, lun=1 << 48)


@data_mistake("Data-Out with another LUN")
def data_wrong_lun(s):
    itt, ttt = write(s)
    s.data_out(itt, ttt, bytes(2048), 0, lun=0)


@data_mistake("Buffer Offset 512, not 0")
def data_wrong_offset(s):
    itt, ttt = write(s)
    s.data_out(itt, ttt, bytes(1536), 512, lun=1 << 48)


@data_mistake("DataSN 1, not 0")
def data_wrong_datasn(s):
    itt, ttt = write(s)
    s.data_out(itt, ttt, bytes(2048), 0, datasn=1, lun=1 << 48)


@data_mistake("2560 bytes, the R2T wants 2048")
def data_above_r2t(s):
    itt, ttt = write(s)
    s.data_out(itt, ttt, bytes(2560), 0, lun=1 << 48)


@data_mistake("F bit 1 with 512 of 2048")
def data_final_early(s):
    itt, ttt = write(s)
    s.data_out(itt, ttt, bytes(512), 0, lun=1 << 48)


@data_mistake("F bit 0 with 2048 of 2048")
def data_never_final(s):
    itt, ttt = write(s)
    s.data_out(itt, ttt, bytes(2048), 0, final=False, lun=1 << 48)


@data_mistake("the first of 2 R2Ts has")
def r2t_order(s):
    itt, ttt = write(s, 1)
    s.data_out(itt, ttt, bytes(2048), 2048, lun=1 << 48)


@data_mistake("unsolicited Data-Out of ITT")
def data_unasked(s):
    itt, _ = write(s)
    s.data_out(itt, NONE, bytes(512), 0)


@data_mistake("command without F bit with InitialR2T=Yes")
def unsolicited_forbidden(s):
    s.command(write10(0, 8), 4096, flags=0x21)


@mistake("immediate data with ImmediateData=No", "ImmediateData=No")
def immediate_forbidden(s):
    s.command(write10(0, 1), 512, bytes(512))


@mistake("bytes of immediate data", "FirstBurstLength=1024")
def immediate_above_burst(s):
    s.command(write10(0, 8), 4096, bytes(1536))


@mistake("bytes of immediate data")
def immediate_above_edtl(s):
    s.command(write10(0, 8), 512, bytes(1024))


@mistake("data of a command without W")
def immediate_of_read(s):
    s.command(read10(0, 1), 512, bytes(512))


@mistake("command without F and W bit")
def read_without_final(s):
    s.command(read10(0, 1), 512, flags=0x41)


@mistake("but all data is there", "InitialR2T=No")
def nothing_follows(s):
    s.command(write10(0, 1), 512, bytes(512), flags=0x21)


@mistake("F bit 1 with 512 of 1024 unsolicited", "InitialR2T=No",
         "FirstBurstLength=1024")
def burst_too_short(s):
    s.data_out(s.command(write10(0, 8), 4096, flags=0x21), NONE, bytes(512), 0)


@mistake("unsolicited data above", "InitialR2T=No", "FirstBurstLength=1024")
def burst_too_long(s):
    s.data_out(s.command(write10(0, 8), 4096, flags=0x21), NONE, bytes(2048),
               0)


# --- Task management

@mistake("with a Referenced Task Tag")
def reset_with_tag(s):
    s.request(0x42, flags=0x85, word5=5)


def abort(s, itt, refcmdsn, lun=0, function=1):
    s.request(0x42, flags=0x80 | function, word5=itt, lun=lun,
              tail=struct.pack(">I", refcmdsn))


@mistake("ABORT TASK with RefCmdSN")
def abort_wrong_cmdsn(s):
    itt = s.command(write10(0, 8), 4096)
    s.expect(0x31)
    abort(s, itt, s.cmdsn)


@mistake("ABORT TASK with another LUN")
def abort_wrong_lun(s):
    itt = s.command(write10(0, 8), 4096)
    s.expect(0x31)
    abort(s, itt, s.cmdsn - 1, 1 << 48)


LEVEL_2 = "iSCSIProtocolLevel=2"
QUERY_TASK = 9


@mistake("QUERY TASK with another LUN or RefCmdSN", LEVEL_2)
def query_wrong_cmdsn(s):
    itt = s.command(write10(0, 8), 4096)
    s.expect(0x31)
    abort(s, itt, s.cmdsn, function=QUERY_TASK)


@mistake("QUERY TASK with another LUN or RefCmdSN", LEVEL_2)
def query_wrong_lun(s):
    itt = s.command(write10(0, 8), 4096)
    s.expect(0x31)
    abort(s, itt, s.cmdsn - 1, 1 << 48, QUERY_TASK)


@mistake("task management function 11 with a Referenced Task Tag", LEVEL_2)
def nexus_reset_with_tag(s):
    abort(s, 5, 0, function=11)


# --- Digests

DIGESTS = ("HeaderDigest=CRC32C", "DataDigest=CRC32C")


@mistake("header digest", *DIGESTS)
def header_digest(s):
    raw = bytearray(s.frame(bhs(0x01, 0x81, itt=9, cmdsn=s.cmdsn,
                                expstatsn=s.expstatsn)))
    raw[50] ^= 1
    s.send_raw(bytes(raw))


@mistake("data digest", *DIGESTS)
def data_digest(s):
    raw = bytearray(s.frame(bhs(0x40, itt=9, word5=NONE, cmdsn=s.cmdsn,
                                expstatsn=s.expstatsn, length=4), b"data"))
    raw[-1] ^= 1
    s.send_raw(bytes(raw))
    reject = s.expect(0x3f)
    check_equal((reject.response, reject.data), (2, bytes(raw[:48])),
                "reason and header of the Reject")


def run_mistake(function, message, keys, discovery):
    """Makes one mistake and looks at what became of it."""
    before = target().counters()["protocol_errors"]
    with Session(target().portals[0], *keys, discovery=discovery) as session:
        function(session)
        check_equal(session.expect_close(), [], "PDUs before the close")
    after = target().counters()
    check_equal(after["protocol_errors"], before + 1, "protocol errors")
    check(message in after["last_error"],
          f"{message!r} is not in {after['last_error']!r}")
    check("protocol error: [127.0.0.1:" in target().log(), "nothing is said")


for entry in MISTAKES:
    test(f"found: {entry[0].__name__}")(
        lambda entry=entry: run_mistake(*entry))


# --- Login

NAMES = (f"InitiatorName={INITIATOR}", f"TargetName={Target.iqn}")


def refused(status, *pairs, flags=0x87, **fields):
    """One Login Request that must end with that status and the close."""
    data = text(*pairs)
    with Wire(target().portals[0]) as wire:
        wire.send(bhs(0x43, flags, itt=1, cmdsn=1, length=len(data),
                      **{"lun": 0x8000000000010000, **fields}), data)
        answer = wire.expect(0x23)
        check_equal(answer.bhs[36:38].hex(), status, f"status for {pairs}")
        check_equal(wire.expect_close(), [], "PDUs after the refusal")


@test("logins that cannot be are refused with the status of the RFC")
def login_status():
    logins = target().counters()["logins"]
    refused("0207", NAMES[0])
    refused("0207", NAMES[1])
    refused("0203", NAMES[0], "TargetName=iqn.2026-01.org.example:none")
    refused("0201", *NAMES, "AuthMethod=CHAP", flags=0x81)
    refused("0200", *NAMES, "InitialR2T=No", "InitialR2T=No")
    refused("0200", *NAMES, "InitialR2T=Maybe")
    refused("0200", *NAMES, "MaxBurstLength=511")
    refused("0200", *NAMES, "MaxBurstLength=512", "FirstBurstLength=513")
    refused("0200", *NAMES, "HeaderDigest=CRC32C", flags=0x81)
    refused("0200", *NAMES, "no equals sign")
    refused("0209", *NAMES, "SessionType=Odd")
    refused("020a", *NAMES, lun=0x8000000000010007)
    check_equal(target().counters()["logins"], logins, "logins")


def login_mistake(message, *requests):
    """Sends Login Requests, or worse; the last one must be found wrong."""
    before = target().counters()["protocol_errors"]
    with Wire(target().portals[0]) as wire:
        for request in requests[:-1]:
            wire.send(request, text(*NAMES))
            wire.expect(0x23)
        wire.send(requests[-1], text(*NAMES))
        check_equal(wire.expect_close(), [], "PDUs before the close")
    after = target().counters()
    check_equal(after["protocol_errors"], before + 1, "protocol errors")
    check(message in after["last_error"], after["last_error"])


@test("mistakes during login are found")
def login_mistakes():
    fields = {"lun": 0x8000000000010000, "itt": 1, "cmdsn": 1,
              "length": len(text(*NAMES))}
    first = bhs(0x43, 0x04, **fields)
    login_mistake("without I bit", bhs(0x03, 0x87, **fields))
    login_mistake("opcode 0x01 during login", bhs(0x01, 0x81, **fields))
    login_mistake("flags c7", bhs(0x43, 0xc7, **fields))
    login_mistake("flags 84", bhs(0x43, 0x84, **fields))
    again = {**fields, "expstatsn": 0x00c0ffef}
    login_mistake("changes ITT", first, bhs(0x43, 0x87, **{**again, "itt": 2}))
    login_mistake("changes ITT", first,
                  bhs(0x43, 0x87, **{**again, "cmdsn": 2}))
    login_mistake("in stage 0, not 1", first, bhs(0x43, 0x81, **again))
    login_mistake("ExpStatSN", first,
                  bhs(0x43, 0x87, **{**again, "expstatsn": 5}))


main()
