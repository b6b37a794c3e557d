# SPDX-License-Identifier: ISC
"""A relay between daemon and target that reads every PDU it passes on.

It counts what writes are made of over all connections, and cuts or freezes a
connection where it is told to: at a byte, or at a PDU. It shares nothing with
proto/. Everything but __init__() and what says so runs in a thread of its own.

    relay = Relay(target.portals[0])
    daemon = Daemon(session("ram", relay.portal, target.iqn))
    ...
    relay.cut()
    check_equal(relay.stamps[serial, 0], 1, "times that it was sent")

A block of 512 bytes that begins with stamp(serial, block) is counted.
"""

import collections
import select
import socket
import struct
import threading

from harness import PATIENCE, TIMEOUT, Failure, check, defer, split_portal
from muxclient import DATA_OUT, FINAL, LOGIN, LOGOUT, SCSI

TO_TARGET, TO_DAEMON = 0, 1
LOGIN_RSP = 0x23
BLOCK = 512
CHUNK = 1 << 18
BACKLOG = 1 << 20
# Bytes that wait for one end before the other is read no more.

CUT, HALF, FREEZE, HALF_FREEZE = "cut", "half", "freeze", "half-freeze"
# What on_pdu may ask for, before the PDU is passed on, or half of it.

WRITE16 = 0x8a
MAGIC = b"stamp of"
STAMP = struct.Struct(">8sQI")


def stamp(serial, block):
    """A block that is like no other."""
    return STAMP.pack(MAGIC, serial, block).ljust(BLOCK, b"%")


def serial_of(block):
    """The serial in a stamped block, 0 in one of zeroes."""
    magic, serial, _ = STAMP.unpack_from(block)
    check(magic == MAGIC or not any(block), f"no stamp: {block[:20].hex()}")
    return serial


class Pdu:
    """A PDU in passing; of a half one only what had come."""

    def __init__(self, direction, raw, data):
        self.direction = direction
        self.raw = raw
        self.data = data
        self.opcode = raw[0] & 0x3f
        self.flags = raw[1]
        self.cdb = raw[32:48]

    def __repr__(self):
        way = "to target" if self.direction == TO_TARGET else "to daemon"
        return f"<{way}: {self.raw[:48].hex(' ', 4)}>"


class Link:
    """One connection of the daemon and the one to the target for it.

    stage is connected, security, operational, full-feature or logout; count
    has the PDUs of each direction, passed the bytes.
    """

    def __init__(self, number, ours, theirs, cut):
        self.number = number
        self.ends = (ours, theirs)
        self.cut = cut
        self.stage = "connected"
        self.count = [0, 0]
        self.passed = [0, 0]
        self.unparsed = (bytearray(), bytearray())
        self.unsent = (bytearray(), bytearray())
        self.text = b""
        self.digests = [0, 0]
        self.frozen = self.ending = self.closed = False
        for each in self.ends:
            each.setblocking(False)
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def reads(self, direction):
        """Whether more is to be read in that direction."""
        return not (self.closed or self.frozen or self.ending or
                    len(self.unsent[direction]) > BACKLOG)

    def next_pdu(self, direction, partial=False):
        """Takes the next whole PDU off what is unparsed, or None.

        partial: what is there of it, if its header is.
        """
        raw = self.unparsed[direction]
        if len(raw) < 48:
            return None
        at = 48 + 4 * raw[4] + self.digests[0]
        length = int.from_bytes(raw[5:8], "big")
        size = at + length + -length % 4
        if length:
            size += self.digests[1]
        if len(raw) < size and not partial:
            return None
        pdu = Pdu(direction, bytes(raw[:size]), bytes(raw[at:at + length]))
        del raw[:size]
        return pdu

    def follow(self, pdu):
        """Keeps the stage, and the digests that come with it."""
        self.count[pdu.direction] += 1
        if pdu.opcode == LOGIN:
            self.stage = ("security", "operational")[pdu.flags >> 2 & 1]
        elif pdu.opcode == LOGOUT:
            self.stage = "logout"
        elif pdu.opcode == LOGIN_RSP and pdu.direction == TO_DAEMON:
            self.text += pdu.data
            if pdu.flags & FINAL and pdu.flags & 3 == 3 and not pdu.raw[36]:
                self.stage = "full-feature"
                keys = self.text.split(b"\0")
                for number, key in enumerate((b"HeaderDigest=CRC32C",
                                              b"DataDigest=CRC32C")):
                    self.digests[number] = 4 if key in keys else 0


class Relay:
    """Listens at portal and connects to target, a (host, port).

    on_pdu(link, pdu) is called in the relay's thread before each PDU goes on
    and may return what is to be done instead. cuts has one element for each
    connection to come: None, or after how many bytes of which direction it is
    cut, as (direction, bytes). links are all connections so far; stamps has
    the times that each (serial, block) was sent, writes those of each LBA.
    """

    def __init__(self, portal, on_pdu=None):
        self.target = split_portal(portal)
        self.on_pdu = on_pdu
        self.cuts = collections.deque()
        self.links = []
        self.stamps = collections.Counter()
        self.writes = collections.Counter()
        self.orders = collections.deque()
        self.failure = None
        self.ended = False
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.portal = "127.0.0.1:%d" % self.listener.getsockname()[1]
        self.woken, self.wake = socket.socketpair()
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()
        defer(self.end)

    # --- for the test's thread

    def order(self, what):
        """Runs what() in the relay's thread; its value."""
        done = threading.Event()
        told = []

        def run():
            told.append(what())
            done.set()
        self.orders.append(run)
        self.wake.send(b"!")
        check(done.wait(TIMEOUT * PATIENCE) and self.failure is None,
              f"the relay does not work: {self.failure}")
        return told[0]

    def cut(self):
        """Ends all connections; whatever was sent before is counted."""
        self.order(lambda: [self._close(link) for link in self.links])

    def freeze(self, frozen=True):
        """Reads and passes on no more on the connections of now."""
        def freeze():
            for link in self.links:
                link.frozen = frozen
        self.order(freeze)

    def point_to(self, portal):
        """Another portal for connections to come."""
        self.order(lambda: setattr(self, "target", split_portal(portal)))

    def last(self):
        """The newest connection."""
        return self.order(lambda: self.links[-1] if self.links else None)

    def end(self):
        """Closes everything."""
        self.ended = True
        self.wake.send(b"!")
        self.thread.join()
        for each in (self.listener, self.woken, self.wake):
            each.close()
        if self.failure is not None:
            raise Failure(f"the relay failed: {self.failure!r}")

    # --- the thread

    def _serve(self):
        try:
            while not self.ended:
                self._turn()
        except Exception as error:  # told by end()
            self.failure = error
            self.listener.close()
        for link in self.links:
            self._close(link)

    def _turn(self):
        """Waits for something to do, and does it."""
        live = [link for link in self.links if not link.closed]
        reading = {link.ends[d]: (link, d) for link in live for d in (0, 1)
                   if link.reads(d)}
        writing = {link.ends[1 - d]: (link, d) for link in live
                   for d in (0, 1) if link.unsent[d]}
        ready, room, _ = select.select(
            [self.listener, self.woken, *reading], writing, [])
        for each in room:
            self._flush(*writing[each])
        for each in ready:
            if each is self.listener:
                self._accept()
            elif each is self.woken:
                each.recv(1 << 12)
                while self.orders:
                    self.orders.popleft()()
            else:
                self._read(*reading[each])

    def _accept(self):
        ours, _ = self.listener.accept()
        try:
            theirs = socket.create_connection(self.target, 5)
        except OSError:
            ours.close()
            return
        self.links.append(Link(len(self.links), ours, theirs,
                               self.cuts.popleft() if self.cuts else None))

    def _read(self, link, direction):
        """Reads in a direction, up to where it has to be cut."""
        if not link.reads(direction):
            return
        most = CHUNK
        if link.cut is not None and link.cut[0] == direction:
            most = min(most, link.cut[1] - link.passed[direction])
        try:
            data = link.ends[direction].recv(most)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._end(link)
            return
        link.passed[direction] += len(data)
        link.unparsed[direction].extend(data)
        self._pass(link, direction)
        if link.cut == (direction, link.passed[direction]):
            link.unsent[direction].extend(link.unparsed[direction])
            self._flush(link, direction)
            self._end(link)

    def _pass(self, link, direction):
        """Passes on the PDUs that are whole, as on_pdu wants."""
        while not (link.frozen or link.ending or link.closed):
            pdu = link.next_pdu(direction)
            if pdu is None:
                break
            link.follow(pdu)
            self._count(pdu)
            action = self.on_pdu and self.on_pdu(link, pdu)
            whole = action is None
            half = action in (HALF, HALF_FREEZE)
            link.unsent[direction].extend(
                pdu.raw if whole else pdu.raw[:half * len(pdu.raw) // 2])
            link.frozen = action in (FREEZE, HALF_FREEZE)
            if action in (CUT, HALF):
                self._flush(link, direction)
                self._end(link)
                return
        self._flush(link, direction)

    def _count(self, pdu):
        """Counts what a write consists of."""
        if pdu.direction != TO_TARGET:
            return
        if pdu.opcode == SCSI and pdu.cdb[0] == WRITE16:
            self.writes[int.from_bytes(pdu.cdb[2:10], "big")] += 1
        if pdu.opcode in (SCSI, DATA_OUT):
            for at in range(0, len(pdu.data) - STAMP.size + 1, BLOCK):
                magic, serial, block = STAMP.unpack_from(pdu.data, at)
                if magic == MAGIC:
                    self.stamps[serial, block] += 1

    def _flush(self, link, direction):
        """Writes what waits to be written in a direction."""
        unsent = link.unsent[direction]
        try:
            while unsent and not link.closed:
                del unsent[:link.ends[1 - direction].send(unsent)]
        except BlockingIOError:
            return
        except OSError:
            unsent.clear()
            self._end(link)
        if link.ending and not any(link.unsent):
            self._close(link)

    def _end(self, link):
        """Closes, as soon as the daemon has what it is to have."""
        link.ending = True
        link.unsent[TO_TARGET].clear()
        if not link.unsent[TO_DAEMON]:
            self._close(link)

    def _close(self, link):
        """Closes both ends; what the daemon has sent and nobody read was
        sent nevertheless."""
        if link.closed:
            return
        link.closed = True
        unread = link.unparsed[TO_TARGET]
        try:
            while True:
                more = link.ends[TO_TARGET].recv(CHUNK)
                if not more:
                    break
                unread.extend(more)
        except OSError:
            pass
        while True:
            pdu = link.next_pdu(TO_TARGET) or link.next_pdu(TO_TARGET, True)
            if pdu is None:
                break
            self._count(pdu)
        for end in link.ends:
            end.close()
