# SPDX-License-Identifier: ISC
"""A client of the data socket in Python, made from PROTOCOL.md alone.

It shares nothing with proto/ and libiscsimux: every byte is packed and read
here. It sends exactly what it is told, right or wrong, and keeps one rule for
every test: no frame may bear the cookie of a task that has ended, and none a
cookie that was never used.

    mux = Mux(daemon, "disk")
    mux.write(0, data)
    check_equal(mux.read(0, 8), data, "what was read")
"""

import collections
import os
import select
import socket
import struct
import time

from harness import PATIENCE, TIMEOUT, Failure, check, check_equal, defer

MAGIC = 0x694d5558
HEADER = struct.Struct(">IHHQ")
NONE = 0xffffffff
SMALL = 4096
DATA_MAX = 262144
PAYLOAD_MAX = 48 + 1020 + DATA_MAX + 1024

HELLO, ATTACH, SUBMIT, CANCEL, LIST, PING = 1, 2, 3, 4, 5, 6
WELCOME, ATTACHED, PDU, OUTCOME, OK, ERROR, LISTING, PONG, EVENT, GOODBYE = (
    range(0x41, 0x4b))
F_MORE, F_VOID, F_FD, F_FATAL, F_SYNTHETIC, F_UNMATCHED, F_TLV = (
    1, 2, 4, 8, 16, 32, 64)

REASONS = """none bad-frame unknown-type bad-flags bad-payload too-long bad-fd
no-common-version hello-expected wrong-state no-such-session not-permitted
no-such-task opcode-not-allowed lengths-disagree bad-initiator-task-tag
bad-target-transfer-tag bad-field data-limit over-quota session-down cancelled
deadline reset-by-another-client connection-lost shutting-down hello-timeout
client-stalled removed-by-admin no-data-for-r2t not-supported busy
internal-error connect-failed would-reinstate""".split()
OUTCOMES = ["none", "refused", "not-sent", "unknown", "aborted", "timed-out"]
EVENTS = """session-up session-down parameters async-message unit-attention
reset events-lost closed""".split()
WANT_UNSOLICITED = 1 << 8
STATES = ["down", "connecting", "login", "up", "logout"]

# RFC 7143 section 11: requests and what answers them.
NOP_OUT, SCSI, TMF, LOGIN, TEXT, DATA_OUT, LOGOUT, SNACK = (
    0, 1, 2, 3, 4, 5, 6, 0x10)
NOP_IN, SCSI_RSP, TMF_RSP, TEXT_RSP, DATA_IN, R2T, ASYNC, REJECT = (
    0x20, 0x21, 0x22, 0x24, 0x25, 0x31, 0x32, 0x3f)
IMMEDIATE = 0x40
FINAL, READ, WRITE = 0x80, 0x40, 0x20
SIMPLE = 1


# --- Bytes

def string(text):
    """A string of the protocol: its length in one byte, then the bytes."""
    raw = text if isinstance(text, bytes) else text.encode()
    return bytes([len(raw)]) + raw


def tlv(kind, value):
    """One TLV."""
    return struct.pack(">HH", kind, len(value)) + value


def deadline_tlv(milliseconds):
    """The TLV that a SUBMIT may have on a session."""
    return tlv(1, struct.pack(">I", milliseconds))


def tlvs_of(raw):
    """The TLVs of which raw consists, by type; each stands there once."""
    found = {}
    while raw:
        check(len(raw) >= 4, f"half a TLV: {raw.hex()}")
        kind, length = struct.unpack_from(">HH", raw)
        check(len(raw) >= 4 + length, f"half a TLV: {raw.hex()}")
        check(kind not in found, f"TLV {kind:#x} twice")
        found[kind] = raw[4:4 + length]
        raw = raw[4 + length:]
    return found


def frame(kind, payload=b"", cookie=0, flags=0, length=None):
    """A frame; length, where given, is what its header claims."""
    if length is None:
        length = len(payload)
    return HEADER.pack(length, kind, flags, cookie) + payload


def hello(low=1, high=1, features=0, name="test", magic=MAGIC):
    """The payload of a HELLO."""
    return struct.pack(">IHHQ", magic, low, high, features) + string(name)


def attach(session, access=0, flags=0, deadline=0, events=NONE):
    """The payload of an ATTACH."""
    return struct.pack(">IIII", access, flags, deadline,
                       events) + string(session)


def bhs(opcode, flags=FINAL, lun=0, itt=0, word5=0, tail=b"", length=0,
        ahs=0, byte2=0, byte3=0, cmdsn=0, expstatsn=0):
    """48 bytes of a BHS; word5 is bytes 20 to 23, tail bytes 32 and on."""
    head = struct.pack(">BBBBB3sQIIII", opcode, flags, byte2, byte3, ahs,
                       length.to_bytes(3, "big"), lun, itt, word5, cmdsn,
                       expstatsn)
    return (head + tail).ljust(48, b"\0")


def command(itt, cdb, edtl=0, flags=0, data=b"", lun=0, **fields):
    """A SCSI Command with its immediate data; flags: READ, WRITE."""
    fields.setdefault("length", len(data))
    final = fields.pop("final", True)
    return bhs(fields.pop("opcode", SCSI),
               flags | SIMPLE | (FINAL if final else 0), lun, itt, edtl,
               cdb.ljust(16, b"\0"), **fields) + data


def data_out(itt, ttt, offset, data, datasn=0, final=True, lun=0, **fields):
    """A Data-Out."""
    fields.setdefault("length", len(data))
    return bhs(fields.pop("opcode", DATA_OUT), FINAL if final else 0, lun,
               itt, ttt, struct.pack(">III", 0, datasn, offset),
               **fields) + data


def tmf(itt, function, rtt=NONE, lun=0, opcode=TMF | IMMEDIATE):
    """A Task Management Function Request."""
    return bhs(opcode, FINAL | function, lun, itt, rtt)


def nop_out(itt, data=b"", opcode=NOP_OUT | IMMEDIATE, ttt=NONE, lun=0):
    """A NOP-Out."""
    return bhs(opcode, FINAL, lun, itt, ttt, length=len(data)) + data


def text_request(itt, text=b"SendTargets=\0", ttt=NONE, flags=FINAL,
                 opcode=TEXT):
    """A Text Request."""
    return bhs(opcode, flags, 0, itt, ttt, length=len(text)) + text


TEST_UNIT_READY = bytes(6)
ABORT_TASK, ABORT_TASK_SET, CLEAR_ACA, CLEAR_TASK_SET, LUN_RESET = (
    1, 2, 3, 4, 5)
WARM_RESET, COLD_RESET = 6, 7


def read16(lba, blocks):
    """The CDB of READ(16)."""
    return struct.pack(">BBQIBB", 0x88, 0, lba, blocks, 0, 0)


def write16(lba, blocks):
    """The CDB of WRITE(16)."""
    return struct.pack(">BBQIBB", 0x8a, 0, lba, blocks, 0, 0)


def lun_number(number):
    """A LUN by its number, as in a BHS."""
    return number << 48


# --- Frames of the daemon

class Msg:
    """A frame of the daemon, with the fields of its payload by name."""

    def __init__(self, kind, flags, cookie, payload):
        self.kind = kind
        self.flags = flags
        self.cookie = cookie
        self.payload = payload
        parse = {WELCOME: self._welcome, ATTACHED: self._attached,
                 PDU: self._pdu, OUTCOME: self._outcome, ERROR: self._error,
                 LISTING: self._listing, EVENT: self._event,
                 GOODBYE: self._goodbye}.get(kind)
        if parse is not None:
            parse()

    def __repr__(self):
        shown = {key: value for key, value in vars(self).items()
                 if key not in ("payload", "data", "entries")}
        return f"{shown} + {len(self.payload)} bytes"

    def _string(self, at, end=True):
        length = self.payload[at]
        raw = self.payload[at + 1:at + 1 + length]
        check_equal(len(raw), length, "length of a string")
        if end:
            check_equal(at + 1 + length, len(self.payload),
                        f"length of the payload of frame {self.kind:#x}")
        return raw.decode()

    def _welcome(self):
        (self.version, self.features, self.payload_max, self.data_max,
         self.tasks_max) = struct.unpack_from(">HQIII", self.payload)
        self.name = self._string(22)

    def _params(self, at, payload=None):
        names = ("generation", "param_flags", "send_dsl", "recv_dsl",
                 "max_burst", "first_burst", "max_r2t")
        for name, value in zip(names, struct.unpack_from(
                ">7I", payload or self.payload, at)):
            setattr(self, name, value)
        self.initial_r2t = bool(self.param_flags & 1)
        self.immediate_data = bool(self.param_flags & 2)

    def copy_params(self, msg):
        """Takes over what another message says of the session."""
        self._params(17, msg.payload)

    def _attached(self):
        check_equal(len(self.payload), 53, "length of ATTACHED")
        (state, self.access, self.tasks_max, self.inbound_max,
         self.outbound_max) = struct.unpack_from(">BIIQQ", self.payload)
        self.state = STATES[state]
        self._params(25)

    def _pdu(self):
        raw = self.payload
        self.opcode = raw[0] & 0x3f
        self.bflags = raw[1]
        self.response, self.status = raw[2], raw[3]
        self.dsl = int.from_bytes(raw[5:8], "big")
        (self.lun, self.itt, self.word5, self.statsn, self.expcmdsn,
         self.maxcmdsn, self.datasn, self.offset,
         self.word11) = struct.unpack_from(">Q8I", raw, 8)
        self.bhs = raw[:48]
        at = 48 + 4 * raw[4]
        self.ahs = raw[48:at]
        self.data = raw[at:]
        self.tlvs = {}
        if self.flags & F_TLV:
            self.data, tlvs = self.data[:self.dsl], self.data[self.dsl:]
            check(tlvs, "flag TLV without one")
            self.tlvs = tlvs_of(tlvs)
        check_equal(len(self.data), self.dsl, "data of a PDU and its DSL")

    def _outcome(self):
        out, self.oflags, self.tmf, reason, self.itt = struct.unpack_from(
            ">BBBHI", self.payload)
        self.outcome = OUTCOMES[out]
        self.reason = REASONS[reason]
        self.not_sent = bool(self.oflags & 1)
        self.text = self._string(9)

    def _error(self):
        reason, self.frame_type = struct.unpack_from(">HH", self.payload)
        self.reason = REASONS[reason]
        self.text = self._string(4)

    def _goodbye(self):
        self.reason = REASONS[int.from_bytes(self.payload[:2], "big")]
        self.text = self._string(2)

    def _event(self):
        kind, self.count, self.lun, self.code = struct.unpack_from(
            ">BIQI", self.payload)
        self.event = EVENTS[kind]
        self._params(17)
        self.text = self._string(45, end=False)
        self.tlvs = tlvs_of(self.payload[46 + self.payload[45]:])
        check_equal(list(self.tlvs), [5] if self.event == "closed" else [],
                    f"TLVs of EVENT {self.event}")
        if self.event == "closed":
            self.bytes_in, self.bytes_out = struct.unpack(">QQ", self.tlvs[5])

    def _listing(self):
        count = int.from_bytes(self.payload[:2], "big")
        self.entries = []
        self.listing_flags = {}
        at = 2
        for _ in range(count):
            state, flags, access = struct.unpack_from(">BBI", self.payload,
                                                      at)
            at += 6
            texts = []
            for _ in range(2):
                texts.append(self._string(at, end=False))
                at += 1 + self.payload[at]
            self.entries.append((STATES[state], access, *texts))
            self.listing_flags[texts[0]] = flags
        check_equal(at, len(self.payload), "length of LISTING")


class Gone(Exception):
    """The daemon has closed the connection."""


class Task:
    """A task of the client and what came of it.

    done: its end has come, as pdu (the final one) or outcome. data is what
    was read. R2Ts are answered from `out` unless that is None; all are kept
    in r2ts.
    """

    def __init__(self, cookie, request, out):
        self.cookie = cookie
        self.opcode = request[0] & 0x3f
        self.itt = int.from_bytes(request[16:20], "big")
        self.lun = int.from_bytes(request[8:16], "big")
        edtl = int.from_bytes(request[20:24], "big")
        reads = self.opcode == SCSI and request[1] & READ
        self.data = bytearray(min(edtl, 64 << 20) if reads else 0)
        self.got = 0
        self.out = out
        self.r2ts = []
        self.texts = []
        self.done = False
        self.pdu = None
        self.outcome = None

    def take(self, pdu):
        """Notes a PDU; whether it is the final one."""
        if pdu.opcode == DATA_IN:
            self.data[pdu.offset:pdu.offset + pdu.dsl] = pdu.data
            self.got += pdu.dsl
            return bool(pdu.bflags & 1)
        if pdu.opcode == R2T:
            self.r2ts.append(pdu)
        elif pdu.opcode == TEXT_RSP:
            self.texts.append(pdu)
            return bool(pdu.bflags & FINAL)
        elif pdu.opcode == REJECT:
            return pdu.data[0] & 0x3f == self.opcode
        return pdu.opcode in (SCSI_RSP, NOP_IN, TMF_RSP)

    def good(self):
        """Fails the test unless it ended with status GOOD; itself."""
        check(self.done, "the task has not ended")
        check(self.outcome is None, f"the task ended with {self.outcome}")
        check_equal((self.pdu.opcode in (SCSI_RSP, DATA_IN),
                     self.pdu.response if self.pdu.opcode == SCSI_RSP else 0,
                     self.pdu.status), (True, 0, 0),
                    f"response and status of {self.pdu}")
        return self


class Mux:
    """A connection to the data socket, attached to session if that is given.

    raw=True says no HELLO. The connection is closed at the end of the test.
    """

    message = Msg

    def __init__(self, daemon, session=None, raw=False, name="test",
                 features=0, **wanted):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(daemon if isinstance(daemon, str)
                            else daemon.data_socket)
        self.socket.setblocking(False)
        self.buffer = bytearray()
        self.partial = {}
        self.inbox = collections.deque()
        self.tasks = {}
        self.itts = {}
        self.ended = set()
        self.requests = set()
        self.events = 0
        self.next_cookie = 1
        self.next_itt = 1
        self.welcome = self.attached = None
        defer(self.close)
        if raw:
            return
        self.send(HELLO, hello(name=name, features=features))
        self.welcome = self.expect(WELCOME)
        if session is not None:
            self.attached = self.attach(session, **wanted)
            check_equal(self.attached.kind, ATTACHED,
                        f"answer to ATTACH ({self.attached})")

    def close(self):
        """Ends the connection; idempotent."""
        self.socket.close()

    # --- sending

    def send_raw(self, raw):
        """Sends bytes; reads meanwhile, if the daemon takes no more."""
        view = memoryview(raw)
        end = time.monotonic() + TIMEOUT * PATIENCE
        while view:
            try:
                view = view[self.socket.send(view):]
            except BlockingIOError:
                check(time.monotonic() < end, "the daemon reads no more")
                select.select([self.socket], [self.socket], [], 1)
                self._fill(0)
            except (BrokenPipeError, ConnectionResetError):
                raise Gone from None

    def cookie(self):
        """A cookie that was not used yet."""
        self.next_cookie += 1
        return self.next_cookie

    def itt(self):
        """An ITT that no open task has."""
        self.next_itt += 1
        return self.next_itt

    def send(self, kind, payload=b"", cookie=None, flags=0, length=None):
        """Sends a frame; returns its cookie."""
        if cookie is None:
            cookie = self.cookie()
        self.requests.add(cookie)
        self.send_raw(frame(kind, payload, cookie, flags, length))
        return cookie

    def fragments(self, pdu, cookie, size=DATA_MAX, tlvs=b""):
        """The SUBMIT frames of a PDU."""
        head = 48 + 4 * pdu[4]
        cuts = list(range(head + size, len(pdu), size))
        frames = []
        for start, end in zip([0, *cuts], [*cuts, len(pdu)]):
            last = end == len(pdu)
            flags = 0 if last else F_MORE
            if last and tlvs:
                flags |= F_TLV
            frames.append(frame(SUBMIT, pdu[start:end] +
                                (tlvs if last else b""), cookie, flags))
        return frames

    def task(self, pdu, cookie=None, out=None):
        """Notes that a task is about to be submitted; the Task."""
        task = Task(self.cookie() if cookie is None else cookie, pdu, out)
        self.tasks[task.cookie] = task
        self.itts[task.itt] = task
        return task

    def submit(self, pdu, cookie=None, out=None, tlvs=b""):
        """Submits a PDU that opens a task; the Task."""
        task = self.task(pdu, cookie, out)
        self.send_raw(b"".join(self.fragments(pdu, task.cookie, tlvs=tlvs)))
        return task

    def submit_data(self, pdu, cookie=None):
        """Submits a Data-Out or a Text continuation; its cookie."""
        if cookie is None:
            cookie = self.cookie()
        self.requests.add(cookie)
        self.send_raw(b"".join(self.fragments(pdu, cookie)))
        return cookie

    def cancel(self, task=None, itt=None):
        """CANCEL by cookie, or by ITT; its own cookie."""
        if itt is None:
            value = task if isinstance(task, int) else task.cookie
            return self.send(CANCEL, struct.pack(">BQ", 0, value))
        return self.send(CANCEL, struct.pack(">BQ", 1, itt))

    # --- receiving

    def _fill(self, timeout=None):
        """Reads from the socket once; whether something came."""
        if timeout is None:
            timeout = TIMEOUT * PATIENCE
        try:
            if timeout > 0:
                select.select([self.socket], [], [], timeout)
            more = self._recv()
        except BlockingIOError:
            return False
        except ConnectionResetError:
            more = b""
        if not more:
            raise Gone
        self.buffer += more
        return True

    def _recv(self):
        """What the socket has now."""
        return self.socket.recv(1 << 18)

    def _frame(self, timeout):
        """The next whole frame, or None when the time is over."""
        while True:
            if len(self.buffer) >= 16:
                length, kind, flags, cookie = HEADER.unpack_from(self.buffer)
                check(length <= PAYLOAD_MAX, f"a frame of {length} bytes")
                if len(self.buffer) >= 16 + length:
                    payload = bytes(self.buffer[16:16 + length])
                    del self.buffer[:16 + length]
                    return kind, flags, cookie, payload
            if not self._fill(timeout):
                return None

    def receive(self, timeout=None):
        """The next message, whole; None when timeout is over.

        Tasks have taken note of it, and R2Ts that are answered by the client
        on its own have been.
        """
        while True:
            got = self._frame(timeout)
            if got is None:
                if timeout is None:
                    raise Failure("waited in vain for a frame of the daemon")
                return None
            kind, flags, cookie, payload = got
            if kind == PDU and flags & F_VOID:
                self.partial.pop(cookie, None)
                continue
            if kind == PDU:
                payload = self.partial.pop(cookie, b"") + payload
                if flags & F_MORE:
                    self.partial[cookie] = payload
                    continue
            msg = self.message(kind, flags, cookie, payload)
            self._account(msg)
            return msg

    def _account(self, msg):
        """Keeps the rule of one end; see the head of this file."""
        if msg.kind in (EVENT, GOODBYE):
            check_equal(msg.cookie, 0, f"cookie of {msg}")
            if msg.kind == EVENT and msg.event == "session-up":
                self.attached.copy_params(msg)
            return
        if msg.kind == PDU and msg.cookie == 0:
            self._unsolicited(msg)
            return
        task = self.tasks.get(msg.cookie)
        if msg.kind in (PDU, OUTCOME):
            check(msg.cookie not in self.ended,
                  f"a frame of a task that has ended: {msg}")
            check(task is not None, f"a frame of no task: {msg}")
            itt = task.itt if msg.kind == PDU and msg.opcode == REJECT \
                else msg.itt
            check_equal(itt, task.itt, f"ITT of {msg}")
        if msg.kind == PDU:
            if task.take(msg):
                task.pdu = msg
                self._end(task)
            elif msg.opcode == R2T and task.out is not None:
                self.answer(task, msg)
        elif msg.kind == OUTCOME:
            task.outcome = msg
            self._end(task)
        elif msg.kind == ERROR and task is not None:
            check(msg.cookie not in self.ended, f"a second end: {msg}")
            task.outcome = msg
            self._end(task)
        elif msg.cookie != 0:
            check(msg.cookie in self.requests, f"an answer to nothing: {msg}")

    def _unsolicited(self, msg):
        """A PDU with cookie 0: the target's own, and asked for."""
        check(self.events & WANT_UNSOLICITED, f"not asked for: {msg}")
        check_equal((msg.itt, msg.flags & ~F_TLV), (NONE, 0),
                    f"ITT, flags of {msg}")

    def _end(self, task):
        task.done = True
        self.ended.add(task.cookie)
        if self.itts.get(task.itt) is task:
            del self.itts[task.itt]

    def answer(self, task, r2t, size=None):
        """Answers an R2T from task.out in Data-Outs of size bytes."""
        size = size or min(self.attached.send_dsl, DATA_MAX)
        end = r2t.offset + r2t.word11
        frames = []
        for sn, at in enumerate(range(r2t.offset, end, size)):
            part = bytes(task.out[at:min(at + size, end)])
            cookie = self.cookie()
            self.requests.add(cookie)
            frames.append(frame(SUBMIT, data_out(
                task.itt, r2t.word5, at, part, sn, at + size >= end,
                r2t.lun), cookie))
        self.send_raw(b"".join(frames))

    def _next(self, wanted, what):
        """The first message that wanted() likes; others stay in inbox."""
        for msg in self.inbox:
            if wanted(msg):
                self.inbox.remove(msg)
                return msg
        while True:
            try:
                msg = self.receive()
            except Gone:
                raise Failure(f"the daemon closed the connection, waited for "
                              f"{what}; unread: {list(self.inbox)}") from None
            except Failure as failure:
                raise Failure(f"{failure}: {what}; unread: "
                              f"{list(self.inbox)[-5:]}") from None
            if wanted(msg):
                return msg
            self.inbox.append(msg)

    def expect(self, kind, cookie=None):
        """The next message of that kind (and cookie)."""
        return self._next(lambda msg: msg.kind == kind and
                          (cookie is None or msg.cookie == cookie),
                          f"frame {kind:#x}")

    def answer_to(self, cookie):
        """The next message with that cookie."""
        return self._next(lambda msg: msg.cookie == cookie,
                          f"an answer to cookie {cookie}")

    def error(self, cookie, reason):
        """The ERROR for that cookie, which must have this reason."""
        msg = self.answer_to(cookie)
        check_equal((msg.kind, getattr(msg, "reason", None)),
                    (ERROR, reason), f"answer {msg}")
        return msg

    def event(self, name):
        """The next EVENT of that name."""
        return self._next(lambda msg: msg.kind == EVENT and
                          msg.event == name, f"EVENT {name}")

    def farewell(self):
        """Reads to the end of the connection; the messages before it."""
        msgs = list(self.inbox)
        self.inbox.clear()
        try:
            while True:
                msgs.append(self.receive())
        except Gone:
            return msgs

    def fatal(self, reason, goodbye=None):
        """The connection must end with ERROR FATAL and GOODBYE."""
        msgs = self.farewell()
        check(len(msgs) >= 2, f"frames before the end: {msgs}")
        check_equal([(msg.kind, msg.flags, msg.reason) for msg in msgs[-2:]],
                    [(ERROR, F_FATAL, reason),
                     (GOODBYE, 0, goodbye or reason)], "the last frames")
        return msgs[:-2]

    def ping(self, data=b"alive"):
        """PING and its PONG: everything sent before has been read."""
        cookie = self.send(PING, data)
        check_equal(self.expect(PONG, cookie).payload, data, "PONG")

    # --- tasks

    def attach(self, session, **wanted):
        """Sends ATTACH; the answer."""
        self.events = wanted.get("events", NONE)
        self.attached = self.answer_to(
            self.send(ATTACH, attach(session, **wanted)))
        return self.attached

    def finish(self, *tasks):
        """Receives until these tasks (or all) have ended; the first."""
        tasks = tasks or list(self.tasks.values())
        for task in tasks:
            while not task.done:
                self._progress(f"the end of cookie {task.cookie}")
        self._forget(tasks)
        return tasks[0] if tasks else None

    def _forget(self, tasks):
        """Drops the PDUs of these tasks from the inbox."""
        cookies = {task.cookie for task in tasks}
        self.inbox = collections.deque(
            msg for msg in self.inbox if msg.cookie not in cookies)

    def _progress(self, what):
        try:
            msg = self.receive()
        except Gone:
            raise Failure(f"the daemon closed the connection, waited for "
                          f"{what}; unread: {list(self.inbox)}") from None
        except Failure as failure:
            raise Failure(f"{failure}: {what}; unread "
                          f"{list(self.inbox)[-5:]}") from None
        if msg.cookie not in self.tasks:
            self.inbox.append(msg)

    def wait_r2ts(self, task, count=1):
        """Receives until the task has that many R2Ts; the last of them."""
        while len(task.r2ts) < count:
            check(not task.done, f"the task ended: {task.outcome or task.pdu}")
            self._progress(f"R2T {count} of cookie {task.cookie}")
        return task.r2ts[count - 1]

    def run(self, pdu, **options):
        """Submits and waits for the end; the Task."""
        return self.finish(self.submit(pdu, **options))

    def refused(self, pdu, reason, **options):
        """Submits what must be refused for that reason; the OUTCOME."""
        task = self.run(pdu, **options)
        check(task.outcome is not None and task.outcome.kind == OUTCOME,
              f"not refused, but {task.outcome or task.pdu}")
        check_equal((task.outcome.outcome, task.outcome.reason,
                     task.outcome.not_sent), ("refused", reason, True),
                    f"outcome ({task.outcome.text})")
        check(task.outcome.text, "no text for people")
        return task.outcome

    def data_error(self, pdu, reason):
        """Submits a PDU of no new task, which must be an ERROR."""
        return self.error(self.submit_data(pdu), reason)

    def start_read(self, lba, blocks, size=512, itt=None, **options):
        """Submits READ(16); the Task."""
        itt = self.itt() if itt is None else itt
        return self.submit(command(itt, read16(lba, blocks), blocks * size,
                                   READ, **options))

    def start_write(self, lba, data, size=512, itt=None, immediate=0,
                    manual=False, tlvs=b"", **options):
        """Submits WRITE(16) with immediate bytes of data; the Task."""
        itt = self.itt() if itt is None else itt
        return self.submit(command(itt, write16(lba, len(data) // size),
                                   len(data), WRITE, data[:immediate],
                                   **options),
                           out=None if manual else data, tlvs=tlvs)

    def read(self, lba, blocks, size=512, **options):
        """READ(16); the data."""
        task = self.finish(self.start_read(lba, blocks, size, **options))
        task.good()
        check_equal(task.got, blocks * size, "bytes read")
        return bytes(task.data)

    def write(self, lba, data, size=512, **options):
        """WRITE(16)."""
        self.finish(self.start_write(lba, data, size, **options)).good()

    def works(self, lun=0):
        """Fails the test unless the session takes a command."""
        self.run(command(self.itt(), TEST_UNIT_READY, lun=lun)).good()


# --- Other processes

class Forked:
    """A client in a process of its own: runs body(parent) until killed.

    parent(text) in the child tells the parent, which waits for it by
    said(text); parent.asks() says whether the parent has called ask().
    """

    class _Parent:
        def __init__(self, tell, listen):
            self.tell = tell
            self.listen = listen

        def __call__(self, text):
            os.write(self.tell, (text + "\n").encode())

        def asks(self):
            """Whether the parent asks for something; each is seen once."""
            ready, _, _ = select.select([self.listen], [], [], 0)
            return bool(ready and os.read(self.listen, 1))

    def __init__(self, body):
        self.pipe, tell = os.pipe()
        listen, self.orders = os.pipe()
        self.said_so_far = ""
        self.pid = os.fork()
        if self.pid == 0:
            status = 1
            try:
                os.close(self.pipe)
                os.close(self.orders)
                body(self._Parent(tell, listen))
                status = 0
            except BaseException as error:  # whatever it is, tell it
                os.write(tell, f"failed: {error!r}\n".encode())
            finally:
                os._exit(status)
        os.close(tell)
        os.close(listen)
        self.ended = False
        defer(self.kill)

    def said(self, text):
        """Waits until the child reports this line; forgets what was before."""
        text += "\n"
        while text not in self.said_so_far:
            more = os.read(self.pipe, 4096).decode()
            self.said_so_far += more
            check(more and "failed: " not in more,
                  f"the forked client said {self.said_so_far!r}")
        self.said_so_far = self.said_so_far.split(text, 1)[1]

    def ask(self, text):
        """Asks the child; waits until it reports this line."""
        os.write(self.orders, b"?")
        self.said(text)

    def kill(self, signal_number=9):
        """Ends it by a signal; idempotent."""
        if self.ended:
            return
        self.ended = True
        os.kill(self.pid, signal_number)
        os.waitpid(self.pid, 0)
        os.close(self.pipe)
        os.close(self.orders)
