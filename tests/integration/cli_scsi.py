#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""iscsimux and what targets answer: statuses, sense data, odd devices."""

import json
import re
import socket
import struct
import threading

from harness import check, check_equal, defer, main, test, tmp
from iscsimuxd import Daemon, session

GOOD, CHECK, BUSY, CONFLICT, FULL = 0x00, 0x02, 0x08, 0x18, 0x28
DECLARED = {"InitiatorName", "InitiatorAlias", "TargetName", "SessionType",
            "MaxRecvDataSegmentLength"}


def sense(key, asc, ascq=0, information=None):
    """Sense data in fixed format (SPC-4 section 4.5.3)."""
    valid = 0x80 if information is not None else 0
    return struct.pack(">BBBIB4xBB4x", 0x70 | valid, 0, key, information or 0,
                       10, asc, ascq)


class ScriptedTarget:
    """A target of one connection whose every answer is a function's.

    answer(cdb) returns (status, data or sense data); after it cdbs has them.
    Writes are asked to send everything with the command.
    """

    iqn = "iqn.2026-01.org.example:scripted"

    def __init__(self, answer):
        self.answer = answer
        self.cdbs = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.portal = "127.0.0.1:%d" % self.listener.getsockname()[1]
        self.statsn = 1
        self.stream = None
        threading.Thread(target=self.serve, daemon=True).start()
        defer(self.listener.close)

    def serve(self):
        """Serves connections until the listener is closed."""
        while True:
            try:
                self.stream, _ = self.listener.accept()
            except OSError:
                return
            try:
                while True:
                    self.one_pdu()
            except (OSError, EOFError):
                self.stream.close()

    def receive(self, count):
        """Exactly count bytes."""
        data = b""
        while len(data) < count:
            more = self.stream.recv(count - len(data))
            if not more:
                raise EOFError
            data += more
        return data

    def send(self, opcode, flags, request, data=b"", **words):
        """One PDU to the initiator: ITT of the request, all counters."""
        cmdsn = struct.unpack(">I", request[24:28])[0]
        if not request[0] & 0x40:
            cmdsn += 1
        header = bytearray(struct.pack(
            ">BBBBI8s4sIIII12x", opcode, flags, 0, words.get("status", 0),
            len(data), request[8:16] if opcode == 0x23 else bytes(8),
            request[16:20], words.get("ttt", 0), self.statsn, cmdsn,
            cmdsn + 63))
        struct.pack_into(">I", header, 44, words.get("residual", 0))
        self.statsn += 1
        self.stream.sendall(bytes(header) + data + bytes(-len(data) % 4))

    def one_pdu(self):
        """Receives a PDU and answers it."""
        request = self.receive(48)
        size = int.from_bytes(request[5:8], "big")
        data = self.receive(size + -size % 4)[:size]
        opcode = request[0] & 0x3f
        if opcode == 0x03:
            self.login(request, data)
        elif opcode == 0x01:
            self.command(request)
        elif opcode == 0x00 and request[16:20] != b"\xff\xff\xff\xff":
            self.send(0x20, 0x80, request, data, ttt=0xffffffff)
        elif opcode == 0x06:
            self.send(0x26, 0x80, request)

    def login(self, request, data):
        """Agrees to everything but digests and authentication."""
        keys = dict(pair.split("=", 1) for pair in
                    data.decode().rstrip("\0").split("\0") if pair)
        answer = ["TargetPortalGroupTag=1"] if "TargetName" in keys else []
        for key, value in keys.items():
            if key.endswith("Digest") or key == "AuthMethod":
                answer.append(f"{key}=None")
            elif key == "ImmediateData":
                answer.append(f"{key}=Yes")
            elif key not in DECLARED:
                answer.append(f"{key}={value}")
        text = "".join(pair + "\0" for pair in answer).encode()
        header = bytearray(request)
        if request[1] & 0x83 == 0x83 and request[14:16] == b"\0\0":
            header[14:16] = b"\0\1"
        self.send(0x23, request[1], bytes(header), text)

    def command(self, request):
        """Lets answer() decide."""
        cdb = request[32:48]
        self.cdbs.append(cdb)
        wanted = struct.unpack(">I", request[20:24])[0]
        status, data = self.answer(cdb)
        if status == CHECK:
            self.send(0x21, 0x80, request,
                      struct.pack(">H", len(data)) + data, status=status)
        elif status != GOOD or not request[1] & 0x40:
            self.send(0x21, 0x80, request, status=status)
        else:
            short = wanted - len(data)
            self.send(0x25, 0x83 if short else 0x81, request, data,
                      ttt=0xffffffff, residual=short)


def disk(blocks, size, read=None):
    """answer() of a disk that knows READ CAPACITY(16)."""
    def answer(cdb):
        if cdb[0] == 0x9e:
            return GOOD, struct.pack(">QI20x", blocks - 1, size)
        if cdb[0] == 0x88:
            lba, count = struct.unpack(">QI", cdb[2:14])
            return read(lba, count) if read else (GOOD, bytes(count * size))
        return GOOD, b""
    return answer


def start(answer):
    """A scripted target and a daemon that is logged in to it."""
    target = ScriptedTarget(answer)
    daemon = Daemon(session("disk", target.portal, target.iqn))
    daemon.wait_up("disk")
    return target, daemon


@test("READ CAPACITY(10) serves where (16) is unknown")
def capacity_10():
    def answer(cdb):
        if cdb[0] == 0x25:
            return GOOD, struct.pack(">II", 2047, 512)
        if cdb[0] == 0x9e:
            return CHECK, sense(5, 0x20)
        return GOOD, bytes(512 * struct.unpack(">I", cdb[10:14])[0])
    target, daemon = start(answer)
    told = json.loads(daemon.iscsimux("capacity", "disk", "-j").stdout)
    check_equal((told["bytes"], "protection" in told), (1 << 20, False),
                "JSON")
    check_equal([cdb[0] for cdb in target.cdbs], [0x9e, 0x25], "commands")
    done = daemon.iscsimux("read", "disk", "-o", "1020K", text=False)
    check_equal(len(done.stdout), 4096, "bytes")


@test("a capacity that makes no sense is none")
def capacity_wrong():
    for blocks, size in ((1 << 64, 512), (1 << 60, 4096), (8, 0)):
        _, daemon = start(disk(blocks, size))
        done = daemon.iscsimux("read", "disk", "/dev/null", check_status=1)
        check("makes no sense" in done.stderr, done.stderr)
    _, daemon = start(lambda cdb: (GOOD, b"\0\0\0"))
    for command in ("capacity", "luns", "inquiry"):
        done = daemon.iscsimux(command, "disk", check_status=1)
        check("too short" in done.stderr, done.stderr)


@test("blocks of any length: 520 bytes")
def blocks_520():
    _, daemon = start(disk(100, 520))
    daemon.iscsimux("read", "disk", "-b", 5200, "/dev/null")
    done = daemon.iscsimux("read", "disk", "-b", "64K", "/dev/null",
                           check_status=2)
    check("--chunk 65536 is no multiple of the block length, 520" in
          done.stderr, done.stderr)


@test("BUSY and TASK SET FULL: sent again")
def busy():
    left = {}

    def read(lba, count):
        tries = left.setdefault(lba, [FULL, BUSY, GOOD])
        status = tries.pop(0)
        return status, bytes(count * 512) if status == GOOD else b""
    target, daemon = start(disk(8192, 512, read))
    done = daemon.iscsimux("read", "disk", "-q", 4, text=False)
    check_equal(len(done.stdout), 4 << 20, "bytes")
    check_equal([cdb[0] for cdb in target.cdbs].count(0x88), 3 * 64, "reads")


@test("BUSY for ever: status 1 after --timeout, in words")
def busy_for_ever():
    _, daemon = start(disk(8192, 512, lambda lba, count: (BUSY, b"")))
    done = daemon.iscsimux("read", "disk", "-t", 1, "/dev/null",
                           check_status=1)
    check(re.search(r"answered with status Busy \(0x08\)", done.stderr),
          done.stderr)
    _, daemon = start(lambda cdb: (BUSY, b""))
    done = daemon.iscsimux("luns", "disk", "-t", 1, check_status=1)
    check("status Busy (0x08)" in done.stderr, done.stderr)


@test("RESERVATION CONFLICT: status 1 at once, in words")
def conflict():
    target, daemon = start(disk(8192, 512, lambda lba, count:
                                (CONFLICT, b"")))
    done = daemon.iscsimux("read", "disk", "-q", 1, "/dev/null",
                           check_status=1)
    check("status Reservation Conflict (0x18)" in done.stderr, done.stderr)
    check_equal(len(target.cdbs), 2, "commands")


@test("a medium error says where, and what came before it is kept")
def medium_error():
    def read(lba, count):
        if lba <= 1000 < lba + count:
            return CHECK, sense(3, 0x11, 0, 1000)
        return GOOD, bytes([lba // 128 & 0xff]) * (count * 512)
    _, daemon = start(disk(8192, 512, read))
    copy = tmp("copy")
    done = daemon.iscsimux("read", "disk", "--json", copy, check_status=1)
    check(re.search(r"read at offset 458752: Medium Error, Unrecovered read "
                    r"error \(03/11/00\), at 1000; 458752 of 4194304 bytes",
                    done.stderr), done.stderr)
    told = json.loads(done.stdout)
    check_equal((told["bytes"], told["error"]["scsi"]["sense_key"]),
                (458752, 3), "JSON")
    with open(copy, "rb") as file:
        check(file.read() == b"".join(bytes([n]) * 65536 for n in range(7)),
              "what came before")


@test("a unit attention without end is not asked for ever")
def attention():
    target, daemon = start(lambda cdb: (CHECK, sense(6, 0x29)))
    done = daemon.iscsimux("capacity", "disk", check_status=1)
    check("Unit Attention, Power on, reset" in done.stderr, done.stderr)
    check_equal(len(target.cdbs), 16, "commands")
    target, daemon = start(disk(8, 512, lambda lba, count:
                                (CHECK, sense(6, 0x29))))
    done = daemon.iscsimux("read", "disk", "/dev/null", check_status=1)
    check("Unit Attention" in done.stderr, done.stderr)
    check_equal(len(target.cdbs), 17, "commands")


@test("data that are missing are not made up")
def short_data():
    _, daemon = start(disk(8, 512, lambda lba, count: (GOOD, bytes(512))))
    done = daemon.iscsimux("read", "disk", "/dev/null", check_status=1)
    check("moved 512 of 4096 bytes and says that all is well" in done.stderr,
          done.stderr)


@test("what a target calls itself cannot drive the terminal")
def names():
    data = bytes([0, 0, 6, 2, 31, 0, 0, 0]) + b"\x1b[31mEVL" + \
        b"a\rb\nc\x00\xff\x9b".ljust(16) + b"1.0 "
    _, daemon = start(lambda cdb: (GOOD, data))
    done = daemon.iscsimux("inquiry", "disk")
    check(re.search(r"^vendor +\.\[31mEVL$", done.stdout, re.MULTILINE),
          done.stdout)
    check(re.search(r"^product +a\.b\.c\.\.\.$", done.stdout, re.MULTILINE),
          done.stdout)
    check_equal(json.loads(daemon.iscsimux("inquiry", "disk", "-j").stdout)
                ["vendor"], ".[31mEVL", "vendor")


@test("pages whose lengths disagree are read no further than they go")
def damaged_pages():
    pages = {0x83: b"\0\x83\0\x08\x02\x01\0\xc8abcd",
             0x80: b"\0\x80\0\xff1234",
             0x00: b"\0\0\xff\xff\0\x80",
             0xb0: b"\0\xb0\0\x3c" + bytes(10),
             0xb2: b"\0\xb2\0\x01\0"}
    _, daemon = start(lambda cdb: (GOOD, pages[cdb[2]]))
    for page in pages:
        daemon.iscsimux("inquiry", "disk", "-p", page)
        daemon.iscsimux("inquiry", "disk", "-p", page, "-j")
    _, daemon = start(lambda cdb: (GOOD, b"\0\x81\0\0"))
    done = daemon.iscsimux("inquiry", "disk", "-p", "serial", check_status=1)
    check("answered with VPD page 0x81" in done.stderr, done.stderr)


@test("many LUNs, and those that are no plain number")
def many_luns():
    count = 1000
    luns = [struct.pack(">H6x", n if n < 256 else 0x4000 | n)
            for n in range(count - 2)]
    luns += [struct.pack(">Q", 0x0001000200000000),
             struct.pack(">Q", 0xc101000000000000)]

    def answer(cdb):
        data = struct.pack(">I4x", 8 * count) + b"".join(luns)
        return GOOD, data[:struct.unpack(">I", cdb[6:10])[0]]
    target, daemon = start(answer)
    told = json.loads(daemon.iscsimux("luns", "disk", "-j").stdout)["luns"]
    check_equal([each["lun"] for each in told],
                list(range(count - 2)) + [None, None], "LUNs")
    check_equal(len(target.cdbs), 2, "commands")
    _, daemon = start(lambda cdb: (GOOD, b"\xff\xff\xff\xff" + bytes(4)))
    done = daemon.iscsimux("luns", "disk", check_status=1)
    check("too many" in done.stderr, done.stderr)


main()
