# SPDX-License-Identifier: ISC
"""A target that does what a test tells it to, PDU by PDU, right or wrong.

    target = Scripted()
    daemon = Daemon(session("odd", target.portal, target.iqn))
    peer = target.login()
    request = peer.receive(SCSI)
    peer.respond(request)
"""

import select
import socket
import struct

from harness import PATIENCE, TIMEOUT, Failure, check_equal, defer
from muxclient import (DATA_IN, FINAL, LOGIN, NONE, NOP_OUT, R2T, SCSI_RSP,
                       TMF_RSP)
from target_client import bhs as raw_bhs
from target_client import crc32c, pad

DECLARED = ("InitiatorName", "InitiatorAlias", "SessionType", "TargetName",
            "MaxRecvDataSegmentLength")


class Request:
    """A PDU of the daemon."""

    def __init__(self, header, ahs, data):
        self.bhs = header
        self.ahs = ahs
        self.data = data
        self.opcode = header[0] & 0x3f
        self.immediate = bool(header[0] & 0x40)
        self.flags = header[1]
        (self.lun, self.itt, self.word5, self.cmdsn, self.expstatsn,
         self.word8, self.datasn, self.offset) = struct.unpack_from(
             ">Q7I", header, 8)
        self.cdb = header[32:48]
        # Only acknowledges statuses: a NOP-Out that asks for nothing.
        self.is_ack = (header[0] == NOP_OUT | 0x40 and
                       (self.itt, self.word5) == (NONE, NONE))
        # What the target counts: the next DataSN, its place, the next R2TSN.
        self.next_datasn = self.next_offset = self.next_r2tsn = 0

    def __repr__(self):
        return f"<{self.bhs.hex(' ', 4)} + {len(self.data)} bytes>"


class Peer:
    """The one connection; counts StatSN and the window unless told."""

    def __init__(self, connection):
        self.socket = connection
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.settimeout(TIMEOUT * PATIENCE)
        self.statsn = 0x1000
        self.expcmdsn = 1
        self.window = 32
        self.header_digest = self.data_digest = False
        self.keys = {}

    def _read(self, count):
        got = b""
        while len(got) < count:
            try:
                more = self.socket.recv(count - len(got))
            except ConnectionResetError:
                more = b""
            except socket.timeout:
                raise Failure("waited in vain for a PDU of the daemon, got "
                              f"{got.hex(' ', 4)}") from None
            if not more:
                raise EOFError
            got += more
        return got

    def take(self, count):
        """The next bytes, whatever they are."""
        try:
            return self._read(count)
        except EOFError:
            raise Failure(f"the daemon closed the connection, waited for "
                          f"{count} bytes") from None

    def receive(self, opcode=None, acks=False):
        """The next PDU, which must be of that opcode.

        The NOP-Outs by which a session acknowledges statuses come whenever a
        test is slow; they are passed over but for acks.
        """
        request = self._request(f"opcode {opcode}")
        while request.is_ack and not acks:
            request = self._request(f"opcode {opcode}")
        if opcode is not None:
            check_equal(request.opcode, opcode, f"opcode of {request}")
        if not request.immediate and request.opcode not in (5, 0x10):
            check_equal(request.cmdsn, self.expcmdsn, f"CmdSN of {request}")
            self.expcmdsn = (self.expcmdsn + 1) & NONE
        return request

    def _request(self, what):
        try:
            header = self._read(48)
        except EOFError:
            raise Failure("the daemon closed the connection, waited for "
                          f"{what}") from None
        ahs = self._read(4 * header[4])
        if self.header_digest:
            check_equal(self._read(4), crc32c(header + ahs), "header digest")
        length = int.from_bytes(header[5:8], "big")
        data = self._read(length + -length % 4)
        check_equal(data[length:], bytes(-length % 4), "padding")
        if self.data_digest and length:
            check_equal(self._read(4), crc32c(data), "data digest")
        return Request(header, ahs, data[:length])

    def send_login(self, raw):
        """Sends a Login Response and what goes with it."""
        self.socket.sendall(raw)

    def quiet(self, seconds=0.05, acks=False):
        """Fails the test if the daemon sends anything meanwhile."""
        while select.select([self.socket], [], [], seconds)[0]:
            request = self._request("silence")
            if acks or not request.is_ack:
                raise Failure(f"the daemon sent {request}")

    def closed_now(self):
        """Whether the daemon has closed the connection."""
        ready, _, _ = select.select([self.socket], [], [], 0)
        return bool(ready) and not self.socket.recv(1, socket.MSG_PEEK)

    def closed(self):
        """Waits until the daemon closes the connection."""
        try:
            while self._read(1):
                pass
        except EOFError:
            self.socket.close()

    def frame(self, header, data=b""):
        """The bytes of a PDU on the wire."""
        raw = header + (crc32c(header) if self.header_digest else b"")
        if data:
            raw += pad(data)
            if self.data_digest:
                raw += crc32c(pad(data))
        return raw

    def pdu(self, opcode, itt, data=b"", flags=FINAL, word5=NONE, consume=True,
            status=0, response=0, lun=0, tail=b"", **numbers):
        """A PDU with the numbers it should have, or others, as bytes."""
        numbers.setdefault("statsn", self.statsn)
        numbers.setdefault("expcmdsn", self.expcmdsn)
        numbers.setdefault("maxcmdsn", (self.expcmdsn + self.window - 1) &
                           NONE)
        numbers.setdefault("length", len(data))
        if consume:
            self.statsn = (self.statsn + 1) & NONE
        header = struct.pack(
            ">BBBBB3sQIIIII", opcode, flags, response, status, 0,
            numbers["length"].to_bytes(3, "big"), lun, itt, word5,
            numbers["statsn"], numbers["expcmdsn"], numbers["maxcmdsn"])
        return self.frame((header + tail).ljust(48, b"\0"), data)

    def send(self, *args, **fields):
        """Sends a PDU; see pdu()."""
        self.socket.sendall(self.pdu(*args, **fields))

    def respond(self, request, opcode=SCSI_RSP, **fields):
        """Answers a request; word5 is 0 in what has no TTT there."""
        if opcode in (SCSI_RSP, TMF_RSP):
            fields.setdefault("word5", 0)
        self.send(opcode, request.itt, **fields)

    def data_in(self, request, data, offset=None, sn=None, final=True,
                **fields):
        """Sends a Data-In, the next if not told; final: with status GOOD."""
        if sn is None:
            sn = request.next_datasn
        if offset is None:
            offset = request.next_offset
        request.next_datasn = sn + 1
        request.next_offset = offset + len(data)
        self.send(DATA_IN, request.itt, data, FINAL | 1 if final else 0,
                  consume=final, tail=struct.pack(">III", sn, offset, 0),
                  **fields)

    def r2t(self, request, ttt, offset, length, sn=None, **fields):
        """Sends an R2T, with the next R2TSN if not told."""
        if sn is None:
            sn = request.next_r2tsn
        request.next_r2tsn = sn + 1
        fields.setdefault("lun", request.lun)
        self.send(R2T, request.itt, word5=ttt, consume=False,
                  tail=struct.pack(">III", sn, offset, length), **fields)


class Scripted:
    """Listens; login() accepts the daemon's next connection."""

    iqn = "iqn.2026-01.org.example:scripted"

    def __init__(self):
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.socket.settimeout(TIMEOUT * PATIENCE)
        self.portal = f"127.0.0.1:{self.socket.getsockname()[1]}"
        defer(self.socket.close)

    def accept(self):
        """The next connection, before its login."""
        try:
            connection, _ = self.socket.accept()
        except socket.timeout:
            raise Failure("the daemon did not connect") from None
        defer(connection.close)
        return Peer(connection)

    def login(self, extra=b"", peer=None, **answers):
        """Accepts and logs in: answers as asked, but for keys in answers.

        extra goes out in the same segment as the last Login Response. With
        peer that connection is logged in.
        """
        peer = peer or self.accept()
        peer.window = answers.pop("window", peer.window)
        while True:
            request = peer.receive(LOGIN)
            keys = dict(pair.split("=", 1) for pair in
                        request.data.decode().split("\0") if pair)
            peer.keys.update(keys)
            reply = {key: answers.get(key, value.split(",")[0])
                     for key, value in keys.items() if key not in DECLARED}
            stage = request.flags & 3
            if request.flags >> 2 & 3 == 1:
                reply["MaxRecvDataSegmentLength"] = answers.get(
                    "MaxRecvDataSegmentLength", "262144")
            elif stage == 3:
                raise Failure("login without operational stage")
            text = b"".join(f"{key}={value}\0".encode()
                            for key, value in reply.items())
            raw = raw_bhs(0x23, request.flags, length=len(text))
            header = bytearray(raw)
            header[8:14] = request.bhs[8:14]
            header[14:16] = b"\0\7"
            struct.pack_into(">IIIII", header, 16, request.itt, 0,
                             peer.statsn, 1, peer.window)
            peer.statsn += 1
            peer.expcmdsn = 1
            raw = bytes(header) + pad(text)
            done = bool(request.flags & FINAL) and stage == 3
            if done:
                peer.header_digest = reply.get("HeaderDigest") == "CRC32C"
                peer.data_digest = reply.get("DataDigest") == "CRC32C"
                raw += extra(peer) if callable(extra) else extra
            peer.send_login(raw)
            if done:
                return peer
