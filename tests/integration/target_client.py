# SPDX-License-Identifier: ISC
"""An iSCSI initiator in a few lines, for the witnesses of the RAM target.

It shares nothing with proto/: headers are built and read here, and CRC32C is
computed by a table of this file. It sends exactly what it is told, right or
wrong.
"""

import json
import socket
import struct

from harness import (PATIENCE, TIMEOUT, Failure, check, check_equal,
                     split_portal, tmp)
from targets import RamTarget

INITIATOR = "iqn.2026-01.org.example:literal"
NONE = 0xffffffff


def _table():
    table = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82f63b78 if crc & 1 else 0)
        table.append(crc)
    return table


_TABLE = _table()


def crc32c(data):
    """The digest of data as its four bytes on the wire."""
    crc = 0xffffffff
    for byte in data:
        crc = crc >> 8 ^ _TABLE[(crc ^ byte) & 0xff]
    return struct.pack("<I", crc ^ 0xffffffff)


def pad(data):
    """data with zeroes up to a multiple of four."""
    return data + bytes(-len(data) % 4)


def text(*pairs):
    """Login or Text data of "Key=value" strings."""
    return b"".join(pair.encode() + b"\0" for pair in pairs)


def bhs(opcode, flags=0x80, lun=0, itt=0, word5=0, cmdsn=0, expstatsn=0,
        tail=b"", length=0, byte2=0):
    """48 bytes; word5 is EDTL, TTT or the like; tail follows ExpStatSN."""
    head = struct.pack(">BBBBB3sQIIII", opcode, flags, byte2, 0, 0,
                       length.to_bytes(3, "big"), lun, itt, word5, cmdsn,
                       expstatsn)
    return (head + tail).ljust(48, b"\0")


class Pdu:
    """A PDU as it came: bhs and data, without digests and padding."""

    def __init__(self, header, data):
        self.bhs = header
        self.data = data
        self.opcode = header[0] & 0x3f
        self.flags = header[1]
        self.response = header[2]
        self.status = header[3]
        (self.lun, self.itt, self.word5, self.statsn, self.expcmdsn,
         self.maxcmdsn, self.datasn, self.offset,
         self.word11) = struct.unpack(">Q8I", header[8:])

    def __repr__(self):
        return f"<{self.bhs.hex(' ', 4)} + {len(self.data)} bytes>"


class Closed(Failure):
    """The target has closed the connection."""

    def __init__(self):
        super().__init__("the target has closed the connection")


class Wire:
    """A TCP connection that speaks in PDUs and keeps what it heard."""

    def __init__(self, portal):
        host, port = split_portal(portal)
        self.socket = socket.create_connection((host, port),
                                               TIMEOUT * PATIENCE)
        self.header_digest = False
        self.data_digest = False
        self.sent = []
        self.heard = []
        self.log = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def frame(self, header, data=b""):
        """The bytes of a PDU on the wire, digests as they are on now."""
        raw = header + (crc32c(header) if self.header_digest else b"")
        if data:
            raw += pad(data)
            if self.data_digest:
                raw += crc32c(pad(data))
        return raw

    def send(self, header, data=b""):
        """Sends a PDU; the header says what lengths it says."""
        self.send_raw(self.frame(header, data))

    def send_raw(self, raw):
        """Sends bytes."""
        self.log.append((True, raw))
        try:
            self.socket.sendall(raw)
        except (BrokenPipeError, ConnectionResetError):
            raise Closed from None

    def _read(self, count):
        got = b""
        while len(got) < count:
            try:
                more = self.socket.recv(count - len(got))
            except ConnectionResetError:
                more = b""
            except socket.timeout:
                raise Failure(f"waited in vain for {count} bytes of the "
                              f"target, got {got.hex(' ', 4)}") from None
            if not more:
                raise Closed
            got += more
        return got

    def receive(self):
        """The next PDU; its digests must be right."""
        raw = header = self._read(48)
        check_equal(header[4], 0, "TotalAHSLength")
        if self.header_digest:
            digest = self._read(4)
            check_equal(digest, crc32c(header), f"digest of {header.hex()}")
            raw += digest
        length = int.from_bytes(header[5:8], "big")
        data = self._read(length + -length % 4)
        raw += data
        if self.data_digest and length:
            digest = self._read(4)
            check_equal(digest, crc32c(data), "data digest")
            raw += digest
        self.log.append((False, raw))
        return Pdu(header, data[:length])

    def expect(self, opcode):
        """The next PDU, which must be of that opcode."""
        pdu = self.receive()
        check_equal(pdu.opcode, opcode, f"opcode of {pdu}")
        return pdu

    def expect_close(self):
        """Reads until the target closes; returns the PDUs before that."""
        pdus = []
        try:
            while True:
                pdus.append(self.receive())
        except Closed:
            return pdus


class Session(Wire):
    """A logged-in Wire that counts CmdSN, ExpStatSN and ITT."""

    def __init__(self, portal, *keys, name=INITIATOR, isid=0x800000000001,
                 discovery=False):
        super().__init__(portal)
        self.cmdsn = 1
        self.expstatsn = 0
        self.itt = 0x100
        self.isid = isid
        pairs = [f"InitiatorName={name}"]
        if discovery:
            pairs.append("SessionType=Discovery")
        else:
            pairs.append(f"TargetName={RamTarget.iqn}")
        answer = self.login(text(*pairs, *keys))
        check_equal(answer.bhs[36:38], b"\0\0", "login status")
        self.keys = dict(pair.split("=", 1) for pair in
                         answer.data.decode().split("\0") if pair)
        self.header_digest = self.keys.get("HeaderDigest") == "CRC32C"
        self.data_digest = self.keys.get("DataDigest") == "CRC32C"

    def login(self, data, flags=0x87):
        """One Login Request; returns the answer."""
        self.send(bhs(0x43, flags, self.isid << 16, 1, 0, self.cmdsn,
                      self.expstatsn, length=len(data)), data)
        answer = self.expect(0x23)
        self.expstatsn = answer.statsn + 1
        return answer

    def next_itt(self):
        """An ITT that was not used yet."""
        self.itt += 1
        return self.itt

    def request(self, opcode, data=b"", **fields):
        """Sends a request with the numbers it should have; its ITT."""
        fields.setdefault("itt", self.next_itt())
        fields.setdefault("cmdsn", self.cmdsn)
        fields.setdefault("expstatsn", self.expstatsn)
        fields.setdefault("length", len(data))
        self.send(bhs(opcode, **fields), data)
        if not opcode & 0x40:
            self.cmdsn = fields["cmdsn"] + 1
        return fields["itt"]

    def command(self, cdb, edtl=0, data=b"", flags=None, immediate=False,
                **fields):
        """Sends a SCSI Command; R or W as edtl and data suggest."""
        if flags is None:
            flags = 0x81
            if edtl:
                flags |= 0x20 if cdb[0] in WRITES else 0x40
        return self.request(0x41 if immediate else 0x01, data, flags=flags,
                            word5=edtl, tail=cdb.ljust(16, b"\0"), **fields)

    def data_out(self, itt, ttt, data, offset, datasn=0, final=True, lun=0,
                 **fields):
        """Sends one Data-Out."""
        fields.setdefault("expstatsn", self.expstatsn)
        self.send(bhs(0x05, 0x80 if final else 0, lun, itt, ttt,
                      length=len(data),
                      tail=struct.pack(">III", 0, datasn, offset), **fields),
                  data)

    def receive(self):
        """The next PDU; keeps ExpStatSN by the rules of RFC 7143."""
        pdu = super().receive()
        takes = (pdu.opcode in (0x21, 0x22, 0x24, 0x26, 0x32, 0x3f) or
                 pdu.opcode == 0x20 and pdu.itt != NONE or
                 pdu.opcode == 0x25 and pdu.flags & 1)
        if takes:
            check_equal(pdu.statsn, self.expstatsn, f"StatSN of {pdu}")
            self.expstatsn = (pdu.statsn + 1) & NONE
        elif pdu.opcode in (0x20, 0x31):
            check_equal(pdu.statsn, self.expstatsn, f"StatSN of {pdu}")
        return pdu

    def good(self, itt):
        """The response of a task without data, which must be good."""
        pdu = self.expect(0x21)
        check_equal((pdu.itt, pdu.status), (itt, 0), f"ITT, status of {pdu}")
        return pdu

    def read(self, lba, blocks, size=512):
        """READ(10); the data."""
        itt = self.command(read10(lba, blocks), blocks * size)
        data = b""
        while True:
            pdu = self.expect(0x25)
            check_equal(pdu.itt, itt, "ITT of Data-In")
            check_equal(pdu.offset, len(data), "Buffer Offset of Data-In")
            data += pdu.data
            if pdu.flags & 1:
                check_equal(pdu.status, 0, "status in Data-In")
                return data


WRITES = (0x0a, 0x2a, 0x2f, 0x8a, 0xaa, 0x89, 0x41, 0x93, 0x42)
TEST_UNIT_READY = bytes(6)


def read10(lba, blocks):
    """The CDB."""
    return struct.pack(">BBIBHB", 0x28, 0, lba, 0, blocks, 0)


def write10(lba, blocks):
    """The CDB."""
    return struct.pack(">BBIBHB", 0x2a, 0, lba, 0, blocks, 0)


class Target(RamTarget):
    """The RAM target with its control socket."""

    def __init__(self, *args, **options):
        self.control = tmp("target.control")
        super().__init__("--control", self.control, *args, **options)

    def order(self, line):
        """Sends a command, returns the answer, which must be ok."""
        answer = self.ask(line)
        check(answer.pop("ok"), f"{line}: {answer}")
        return answer

    def ask(self, line):
        """Sends a command, returns the answer."""
        with self.calling(line) as answer:
            return answer()

    def calling(self, line):
        """Sends a command; a context whose value reads the answer."""
        return _Call(self.control, line)

    def counters(self):
        """All counters by name."""
        return self.order("counters")

    def check_no_error(self):
        """Fails the test if the target has seen a protocol error."""
        counters = self.counters()
        check_equal(counters["protocol_errors"], 0,
                    f"protocol errors ({counters['last_error']})")


class _Call:
    def __init__(self, path, line):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(TIMEOUT * PATIENCE)
        self.socket.connect(path)
        self.socket.sendall(line.encode() + b"\n")

    def __enter__(self):
        return self.answer

    def __exit__(self, *_):
        self.socket.close()

    def answer(self):
        """Waits for the line of JSON."""
        with self.socket.makefile("r", encoding="utf-8") as file:
            return json.loads(file.readline())
