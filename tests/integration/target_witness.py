#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Witnesses of the RAM target that share no code with it.

libiscsi logs in, writes and verifies; literal bytes are compared with literal
bytes; tshark dissects what went over the wire.
"""

import os
import re
import socket
import struct

from harness import (Skip, check, check_equal, installed, main, run, scaled,
                     shared, test, tmp)
from target_client import NONE, Session, Target, Wire, crc32c, write10

IQN = Target.iqn


# --- libiscsi

def witness():
    """The path of our libiscsi program; skips without it."""
    path = os.path.join(os.environ.get("TEST_HELPERS", "tests"),
                        "target/witness_libiscsi")
    if not os.access(path, os.X_OK):
        raise Skip("built without libiscsi")
    return path


@shared
def two_portals():
    return Target("--luns", 2, "--portal", "127.0.0.1:0", "--portal",
                  "[::1]:0", portals=2)


@test("iscsi-ls, iscsi-inq and iscsi-readcapacity16 see two disks")
def tools():
    target = two_portals()
    for portal in target.portals:
        found = run([installed("iscsi-ls"), "-s", f"iscsi://{portal}"]).stdout
        check_equal(len(re.findall(r"^Lun:\d +Type:DIRECT_ACCESS", found,
                                   re.MULTILINE)), 4, f"LUNs in {found}")
        for name in target.portals:
            check(f"Target:{IQN} Portal:{name},1" in found,
                  f"{name} is missing in {found}")
        url = f"iscsi://{portal}/{IQN}/1"
        inquiry = run([installed("iscsi-inq"), url]).stdout
        check("Vendor:ISCSIMUX" in inquiry, inquiry)
        serial = run([installed("iscsi-inq"), "-e", 1, "-c", 0x80, url])
        check("RAM00000001" in serial.stdout, serial.stdout)
        capacity = run([installed("iscsi-readcapacity16"), url]).stdout
        check("Total size:67108864" in capacity, capacity)
    target.check_no_error()


def verify(target, *args):
    size = scaled(16)
    for portal in target.portals:
        for lun in (0, 1):
            done = run([witness(), portal, IQN, lun, size, *args])
            check(f"read {size << 20} bytes, all the same" in done.stdout,
                  done.stdout)
    target.check_no_error()


# libiscsi counts a StatSN for each R2T: hence --lenient, which lets that pass.
COMBINATIONS = [("yes", "yes"), ("yes", "no"), ("no", "yes"), ("no", "no")]


@test("libiscsi writes and verifies, all InitialR2T and ImmediateData")
def libiscsi_plain():
    for r2t, immediate in COMBINATIONS:
        target = Target("--luns", 2, "--portal", "127.0.0.1:0", "--portal",
                        "[::1]:0", "--lenient", "--initial-r2t", r2t,
                        "--immediate-data", immediate, portals=2)
        verify(target)
        counters = target.counters()
        check(counters["r2ts"] > 0, "no R2T was sent")
        check_equal(counters["r2ts_open"], 0, "R2Ts without data")
        target.stop()


@test("libiscsi writes and verifies with header digests")
def libiscsi_digest():
    target = Target("--luns", 2, "--header-digest", "crc32c", "--lenient",
                    "--portal", "127.0.0.1:0", "--portal", "[::1]:0",
                    portals=2)
    verify(target, "header")


@test("libiscsi writes and verifies with small bursts and 4096-byte blocks")
def libiscsi_small():
    target = Target("--luns", 2, "--max-recv-dsl", "8K", "--first-burst",
                    "16K", "--max-burst", "64K", "--block-size", 4096,
                    "--phase-collapse", "no", "--max-outstanding-r2t", 16,
                    "--lenient")
    verify(target)


@test("qemu-io writes and verifies")
def qemu():
    target = two_portals()
    done = run([installed("qemu-io"), "-f", "raw", "-c", "write -P 0x5a 0 4M",
                "-c", "read -P 0x5a 0 4M", f"iscsi://{target.portals[0]}/"
                f"{IQN}/0"])
    check("Pattern verification failed" not in done.stdout, done.stdout)


# --- Literal bytes

@test("CRC32C of this file gives the vectors of RFC 7143")
def digests():
    vectors = {
        bytes(32): "aa36918a",
        b"\xff" * 32: "43aba862",
        bytes(range(32)): "4e79dd46",
        bytes(range(31, -1, -1)): "5cdb3f11",
        bytes.fromhex("01c00000 00000000 00000000 00000000 14000000 00000400"
                      "00000014 00000018 28000000 00000000 02000000 00000000"):
            "563a96d9",
    }
    for data, digest in vectors.items():
        check_equal(crc32c(data).hex(), digest, f"digest of {data.hex()}")


# The target is told where StatSN begins and how wide the window is, so that
# every byte of its answers is known: StatSN 1000 and up; ExpCmdSN follows the
# requests' CmdSN, MaxCmdSN is ExpCmdSN + 16 - 1 less the commands in hand.

LOGIN = """
    43 87 00 00  00 LLLLLL  80 00 00 00 00 01 00 00  00 00 00 01
    00 00 00 00  00 00 00 07  00 00 00 00
    00000000 00000000 00000000 00000000"""
LOGIN_ANSWER = """
    23 87 00 00  00 LLLLLL  80 00 00 00 00 01 00 01  00 00 00 01
    00 00 00 00  00 00 10 00  00 00 00 07  00 00 00 16
    0000 0000 00000000 00000000"""
LOGIN_TEXT = (
    b"InitiatorName=iqn.2026-01.org.example:literal\0"
    b"TargetName=iqn.2026-01.org.example:ram\0"
    b"SessionType=Normal\0HeaderDigest=CRC32C,None\0DataDigest=CRC32C\0"
    b"InitialR2T=Yes\0ImmediateData=No\0MaxBurstLength=0x1000\0"
    b"FirstBurstLength=4096\0MaxRecvDataSegmentLength=1024\0"
    b"MaxOutstandingR2T=8\0ErrorRecoveryLevel=2\0X-com.example.key=1\0")
LOGIN_ANSWER_TEXT = (
    b"HeaderDigest=CRC32C\0DataDigest=CRC32C\0InitialR2T=Yes\0"
    b"ImmediateData=No\0MaxBurstLength=4096\0FirstBurstLength=4096\0"
    b"MaxOutstandingR2T=4\0ErrorRecoveryLevel=0\0"
    b"X-com.example.key=NotUnderstood\0"
    b"TargetPortalGroupTag=1\0MaxRecvDataSegmentLength=262144\0")

# (sent or heard, BHS in hexadecimal, data)
BLOCKS = bytes(range(256)) * 12
DIALOGUE = [
    # TEST UNIT READY of LUN 1: good.
    ("sent", """01 81 00 00  00 000000  00 01 0000 00000000  00000002
        00000000  00000007  00001001  000000000000 00000000000000000000""",
     b""),
    ("heard", """21 80 00 00  00 000000  0000000000000000  00000002
        00000000  00001001  00000008  00000017  00000000 00000000 00000000""",
     b""),
    # WRITE(10) of 6 blocks at LBA 5: one R2T that carries, but does not take
    # StatSN 1002; the window is one smaller while the command is in hand.
    ("sent", """01 a1 00 00  00 000000  00 01 0000 00000000  00000003
        00000c00  00000008  00001002  2a 00 00000005 00 0006 00 000000000000
        """, b""),
    ("heard", """31 80 00 00  00 000000  0001000000000000  00000003
        00000001  00001002  00000009  00000017  00000000 00000000 00000c00""",
     b""),
    ("sent", """05 00 00 00  00 000401  0001000000000000  00000003
        00000001  00000000  00001002  00000000 00000000 00000000 00000000""",
     BLOCKS[:1025]),
    ("sent", """05 80 00 00  00 0007ff  0001000000000000  00000003
        00000001  00000000  00001002  00000000 00000001 00000401 00000000""",
     BLOCKS[1025:]),
    ("heard", """21 80 00 00  00 000000  0000000000000000  00000003
        00000000  00001002  00000009  00000018  00000001 00000000 00000000""",
     b""),
    # READ(10) of 3 of those blocks with room for 2000 bytes: two Data-In of
    # at most 1024 bytes, status in the last; 464 bytes remain unread (U), so
    # Residual Count tells of the 2000 bytes asked for.
    ("sent", """01 c1 00 00  00 000000  00 01 0000 00000000  00000004
        000007d0  00000009  00001003  28 00 00000005 00 0003 00 000000000000
        """, b""),
    ("heard", """25 00 00 00  00 000400  0000000000000000  00000004
        ffffffff  00000000  0000000a  00000018  00000000 00000000 00000000""",
     BLOCKS[:1024]),
    ("heard", """25 83 00 00  00 000200  0000000000000000  00000004
        ffffffff  00001003  0000000a  00000019  00000001 00000400 000001d0""",
     BLOCKS[1024:1536]),
    # The same with room for 700 bytes only: overflow (O), 836 more.
    ("sent", """01 c1 00 00  00 000000  00 01 0000 00000000  00000005
        000002bc  0000000a  00001004  28 00 00000005 00 0003 00 000000000000
        """, b""),
    ("heard", """25 85 00 00  00 0002bc  0000000000000000  00000005
        ffffffff  00001004  0000000b  0000001a  00000000 00000000 00000344""",
     BLOCKS[:700]),
    # READ(10) beyond the end: CHECK CONDITION 5/21/00, all of it residual.
    ("sent", """01 c1 00 00  00 000000  00 01 0000 00000000  00000006
        00000200  0000000b  00001005  28 00 00020000 00 0001 00 000000000000
        """, b""),
    ("heard", """21 82 00 02  00 000014  0000000000000000  00000006
        00000000  00001005  0000000c  0000001b  00000000 00000000 00000200""",
     bytes.fromhex("0012 7000 0500 0000 000a 0000 0000 2100 0000 0000")),
    # A ping with 5 bytes of data, immediate: CmdSN stays.
    ("sent", """40 80 00 00  00 000005  0000000000000000  00000007
        ffffffff  0000000c  00001006  00000000 00000000 00000000 00000000""",
     b"hello"),
    ("heard", """20 80 00 00  00 000005  0000000000000000  00000007
        ffffffff  00001006  0000000c  0000001b  00000000 00000000 00000000""",
     b"hello"),
    # Logout: close the session.
    ("sent", """46 80 00 00  00 000000  0000000000000000  00000008
        00000000  0000000c  00001007  00000000 00000000 00000000 00000000""",
     b""),
    ("heard", """26 80 00 00  00 000000  0000000000000000  00000008
        00000000  00001007  0000000c  0000001b  00000000 0002 0000 00000000
        """, b""),
]


def literal(template, length):
    """A BHS from hexadecimal; LLLLLL becomes the length."""
    return bytes.fromhex(template.replace("LLLLLL", f"{length:06x}"))


def heard(wire, header, data, what):
    """Receives one PDU and compares all its bytes."""
    pdu = wire.receive()
    check_equal(pdu.bhs.hex(" ", 4), header.hex(" ", 4), f"BHS of {what}")
    check_equal(pdu.data.hex(" ", 4), data.hex(" ", 4), f"data of {what}")


def dialogue(target):
    """Plays LOGIN and DIALOGUE; returns what went over the wire."""
    with Wire(target.portals[0]) as wire:
        wire.send(literal(LOGIN, len(LOGIN_TEXT)), LOGIN_TEXT)
        heard(wire, literal(LOGIN_ANSWER, len(LOGIN_ANSWER_TEXT)),
              LOGIN_ANSWER_TEXT, "Login Response")
        wire.header_digest = wire.data_digest = True
        for number, (who, header, data) in enumerate(DIALOGUE):
            header = literal(header, len(data))
            if who == "sent":
                wire.send(header, data)
            else:
                heard(wire, header, data, f"step {number}")
        check_equal(wire.expect_close(), [], "PDUs after the logout")
        return wire.log


def literal_target():
    return Target("--luns", 2, "--first-statsn", 0x1000, "--queue-depth", 16)


@test("every byte of a session with digests is as the RFC has it")
def literal_bytes():
    target = literal_target()
    dialogue(target)
    target.check_no_error()


class Dribble(Session):
    """Every byte in a segment of its own."""

    def send_raw(self, raw):
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in raw:
            super().send_raw(bytes([byte]))


@test("bytes that come one by one are the same PDUs")
def dribble():
    target = Target()
    keys = ("HeaderDigest=CRC32C", "DataDigest=CRC32C")
    with Dribble(target.portals[0], *keys) as session:
        data = bytes(range(256)) * 4
        itt = session.command(write10(3, 2), 1024, data)
        session.good(itt)
        check(session.read(3, 2) == data, "other data came back")
    target.check_no_error()


@test("data with digests is right at every length and padding")
def paddings():
    target = Target("--data-digest", "crc32c", "--header-digest", "crc32c")
    with Session(target.portals[0], "HeaderDigest=CRC32C",
                 "DataDigest=CRC32C",
                 "MaxRecvDataSegmentLength=65536") as session:
        for length in list(range(1, 9)) + [4095, 4096, 65533]:
            data = bytes(i * 7 & 0xff for i in range(length))
            itt = session.request(0x40, data, word5=NONE)
            pong = session.expect(0x20)
            check_equal((pong.itt, pong.word5), (itt, NONE), "tags of pong")
            check(pong.data == data, f"{length} bytes came back differently")
            # Padding need not be zero (section 11.1), the digest covers it.
            itt = session.next_itt()
            header = ping(session, itt, length)
            dirty = data + b"\xff" * (-length % 4)
            session.send_raw(header + crc32c(header) + dirty + crc32c(dirty))
            check(session.expect(0x20).data == data,
                  f"{length} bytes with dirty padding")
    target.check_no_error()


def ping(session, itt, length):
    """The BHS of an immediate NOP-Out."""
    return struct.pack(">BBHI8xIIII16x", 0x40, 0x80, 0, length, itt, NONE,
                       session.cmdsn, session.expstatsn)


# --- tshark

def pcap(log):
    """A capture file of PDUs with the dissector's name in front."""
    path = tmp("wire.pcap")
    with open(path, "wb") as file:
        file.write(struct.pack("<IHHiIII", 0xa1b2c3d4, 2, 4, 0, 0, 262144,
                               252))
        for number, (out, raw) in enumerate(log):
            ports = (40000, 3260) if out else (3260, 40000)
            tags = (struct.pack(">HH8s", 12, 8, b"iscsi") +
                    struct.pack(">HHI", 20, 4, 0x7f000001) +
                    struct.pack(">HHI", 21, 4, 0x7f000001) +
                    struct.pack(">HHI", 24, 4, 2) +
                    struct.pack(">HHI", 25, 4, ports[0]) +
                    struct.pack(">HHI", 26, 4, ports[1]) +
                    struct.pack(">HH", 0, 0))
            size = len(tags) + len(raw)
            file.write(struct.pack("<IIII", 1, number, size, size) + tags +
                       raw)
    return path


@test("tshark dissects the session: opcodes, digests, nothing malformed")
def tshark():
    tool = installed("tshark")
    log = dialogue(literal_target())
    path = pcap(log)
    fields = run([tool, "-r", path, "-T", "fields", "-e", "iscsi.opcode",
                  "-e", "iscsi.initiatortasktag"]).stdout.split("\n")
    wanted = [f"0x{raw[0] & 0x3f:02x}\t0x{raw[16:20].hex()}"
              for _, raw in log]
    check_equal(fields[:len(wanted)], wanted, "opcodes and tags")
    verbose = run([tool, "-r", path, "-V"]).stdout
    for word in ("Malformed", "Bad CRC", "incorrect"):
        check(word not in verbose, f"tshark says {word}:\n{verbose}")
    # All PDUs after the login have a header digest, those with data two.
    digests = sum(1 + (len(raw) > 52) for _, raw in log[2:])
    check_equal(len(re.findall(r"Good CRC32", verbose)), digests,
                "good digests")


main()
