# SPDX-License-Identifier: ISC
"""A client with a raw connection, made from section 17 of PROTOCOL.md.

It is a Mux and as strict: every task that it opened has exactly one end, by
what it said it expects. It counts CmdSN and ExpStatSN and writes them into
what it submits, unless literal=True.

    raw = Raw(daemon, portal)
    raw.login(target.iqn, "HeaderDigest=CRC32C")
    raw.read(0, 8)
    raw.share("disk")
"""

import collections
import os
import socket
import struct

from harness import check, check_equal
from muxclient import (ATTACHED, DATA_IN, DATA_OUT, ERROR, EVENT, F_FD,
                       F_MORE, F_UNMATCHED, FINAL, IMMEDIATE, LOGIN, LOGOUT,
                       NONE, NOP_IN, NOP_OUT, OK, OUTCOME, PDU, SCSI, SMALL,
                       SNACK, SUBMIT, TEXT, TMF, Msg, Mux, Task, bhs,
                       data_out, deadline_tlv, frame, string, tlv)

OPEN, ADOPT, SET, GET, EXPORT, SHARE, UNSHARE, CLOSE = range(0x10, 0x18)
STATE, EXPORTED, TAG = 0x50, 0x51, 0x52
FEATURE_RAW = 1

LOGIN_RSP, LOGOUT_RSP = 0x23, 0x26
INITIATOR = "iqn.2026-01.org.example:raw"
ISID = b"\x80\0\0\0\0\x51"

# Flags of SET, STATE, ADOPT.
HEADER_DIGEST, DATA_DIGEST, BIG_ENDIAN, MANUAL, SHOW_DIGESTS, UNCHECKED = (
    1, 2, 4, 8, 16, 32)
INITIAL_R2T, IMMEDIATE_DATA, DISCOVERY, NUMBERS, ADOPTED = (
    0x100, 0x200, 0x400, 0x800, 0x1000)
RECV_DSL, SEND_DSL, READ_DEADLINE, WRITE_DEADLINE = (
    0x10000, 0x20000, 0x40000, 0x80000)
UNREAD_MAX = 17825792

EXPECT = {"none": 1, "one": 2, "many": 3}
OPENERS = (NOP_OUT, SCSI, TMF, LOGIN, TEXT, LOGOUT)
LISTED_SHARED, LISTED_ADOPTED = 1, 2


# --- Bytes

class Params:
    """What is known of a raw connection, by name."""

    FORMAT = struct.Struct(">B10I6sH")
    NAMES = ("phase flags recv_dsl send_dsl max_burst first_burst max_r2t "
             "cmdsn exp_cmdsn max_cmdsn exp_statsn isid tsih").split()

    def __init__(self, **values):
        for name in self.NAMES:
            setattr(self, name, values.pop(name, 0))
        self.isid = self.isid or bytes(6)
        self.target = values.pop("target", "")
        check(not values, f"no such parameters: {values}")

    def __repr__(self):
        return repr(vars(self))

    def __eq__(self, other):
        return vars(self) == vars(other)

    def pack(self):
        """As on the data socket."""
        return self.FORMAT.pack(*(getattr(self, name) for name in
                                  self.NAMES)) + string(self.target)

    @classmethod
    def unpack(cls, raw):
        """Those at the start of raw, and where they end."""
        values = dict(zip(cls.NAMES, cls.FORMAT.unpack_from(raw)))
        length = raw[cls.FORMAT.size]
        end = cls.FORMAT.size + 1 + length
        check(end <= len(raw), "a string longer than its payload")
        values["target"] = raw[end - length:end].decode()
        return cls(**values), end


def open_payload(portal, timeout=0, deadline=0, events=NONE):
    """The payload of OPEN."""
    return struct.pack(">III", timeout, deadline, events) + string(portal)


def set_payload(mask=0, flags=0, recv_dsl=0, send_dsl=0, read_deadline=0,
                write_deadline=0):
    """The payload of SET."""
    return struct.pack(">6I", mask, flags, recv_dsl, send_dsl, read_deadline,
                       write_deadline)


def adopt_payload(params, unread=b"", here=None, deadline=0, events=NONE,
                  length=None):
    """The payload of the first ADOPT: here bytes of unread are in it."""
    return (struct.pack(">II", deadline, events) + params.pack() +
            struct.pack(">I", len(unread) if length is None else length) +
            unread[:here])


def expect_tlv(what):
    """The TLV that says how many responses are expected."""
    return tlv(2, bytes([EXPECT[what]]))


FREE_ITT = tlv(3, b"")


def digest_tlv(header=None, data=None):
    """The TLV with digests of one's own, four bytes each."""
    return tlv(4, bytes([(header is not None) | (data is not None) << 1]) +
               (header or bytes(4)) + (data or bytes(4)))


def login_pdu(text, itt=1, flags=FINAL | 7, isid=ISID, tsih=0, cmdsn=1,
              expstatsn=0, opcode=LOGIN | IMMEDIATE):
    """A Login Request: operational stage to full feature phase."""
    lun = int.from_bytes(isid + tsih.to_bytes(2, "big"), "big")
    return bhs(opcode, flags, lun, itt, 0, length=len(text), cmdsn=cmdsn,
               expstatsn=expstatsn) + text


def login_text(target, *pairs, name=INITIATOR):
    """Data of a Login Request; target None: a discovery session."""
    first = [f"InitiatorName={name}"]
    first += [f"TargetName={target}", "SessionType=Normal"] if target else \
        ["SessionType=Discovery"]
    return b"".join(pair.encode() + b"\0" for pair in [*first, *pairs])


def numbered(pdu, cmdsn, expstatsn):
    """pdu with these numbers."""
    return pdu[:24] + struct.pack(">II", cmdsn, expstatsn) + pdu[32:]


# --- Frames of the daemon

class RawMsg(Msg):
    """A frame of the daemon, those of raw connections, too."""

    def __init__(self, kind, flags, cookie, payload):
        super().__init__(kind, flags, cookie, payload)
        self.fd = None
        if kind == STATE:
            self._state()
        elif kind == TAG:
            check_equal(len(payload), 4, "length of TAG")
            self.itt = int.from_bytes(payload, "big")

    def _state(self):
        self.params, at = Params.unpack(self.payload)
        (self.read_deadline, self.write_deadline, self.bytes_in,
         self.bytes_out, self.pdus_in, self.pdus_out, self.pending, self.live,
         self.unsent) = struct.unpack_from(">IIQQQQIIQ", self.payload, at)
        at += 56
        texts = []
        for _ in range(2):
            length = self.payload[at]
            texts.append(self.payload[at + 1:at + 1 + length].decode())
            at += 1 + length
        check_equal(at, len(self.payload), "length of STATE")
        self.local, self.peer = texts

    @property
    def login_done(self):
        """Of a Login Response: whether it ends the login, well or badly."""
        return self.bhs[36] != 0 or (self.bflags & 0x83) == 0x83


class RawTask(Task):
    """A task of a raw connection; expect is one or many.

    With free its ITT is None until TAG has come. All its PDUs are in pdus.
    """

    def __init__(self, cookie, request, out, expect, free):
        super().__init__(cookie, request, out)
        self.expect = expect
        self.free = free
        self.pdus = []
        if free:
            self.itt = None

    def take(self, pdu):
        """Notes a PDU; whether it is the final one."""
        self.pdus.append(pdu)
        final = super().take(pdu)
        if pdu.opcode == LOGIN_RSP:
            final = pdu.login_done
        elif pdu.opcode == LOGOUT_RSP:
            final = True
        return final or self.expect == "one"


# --- The client

class Raw(Mux):
    """A connection to the data socket that may have a raw connection.

    With portal it is opened. shared: it is a client of a session now.
    """

    message = RawMsg

    def __init__(self, daemon, portal=None, name="raw", **wanted):
        self.fds = collections.deque()
        self.label = name
        self.shared = False
        self.default_deadline = 0
        self.cmdsn = 1
        self.expstatsn = 0
        self.send_dsl = 8192
        self.keys = {}
        self.unsharing = set()
        self.tagged = set()
        super().__init__(daemon, features=FEATURE_RAW, name=name)
        check_equal(self.welcome.features, FEATURE_RAW, "features agreed")
        if portal is not None:
            answer = self.open(portal, **wanted)
            check_equal(answer.kind, OK, f"answer to OPEN ({answer})")

    def close(self):
        """Ends the connection to the daemon; idempotent."""
        super().close()
        while self.fds:
            os.close(self.fds.popleft())

    # --- frames

    def _recv(self):
        more, control, flags, _ = self.socket.recvmsg(
            1 << 18, socket.CMSG_SPACE(4 * 16), socket.MSG_CMSG_CLOEXEC)
        check(not flags & socket.MSG_CTRUNC, "descriptors were lost")
        for level, kind, data in control:
            check_equal((level, kind), (socket.SOL_SOCKET, socket.SCM_RIGHTS),
                        "a control message")
            self.fds.extend(struct.unpack(f"{len(data) // 4}i", data))
        return more

    def _account(self, msg):
        if msg.flags & F_FD:
            check_equal(msg.kind, EXPORTED, f"flag FD on {msg}")
            check(self.fds, "flag FD without a descriptor")
            msg.fd = self.fds.popleft()
        if msg.kind == TAG:
            self._tag(msg)
            return
        task = self.tasks.get(msg.cookie)
        if isinstance(task, RawTask) and task.itt is None:
            check(msg.kind in (ERROR, OUTCOME), f"before TAG: {msg}")
            if msg.kind == OUTCOME:
                check_equal(msg.outcome, "refused", f"before TAG: {msg}")
                task.itt = msg.itt
        super()._account(msg)
        if msg.kind == PDU and not self.shared:
            self._count(msg)
        elif msg.kind == ATTACHED:
            self.shared = True
        elif msg.kind == STATE and msg.cookie in self.unsharing:
            self.shared = False

    def _tag(self, msg):
        if msg.cookie in self.tagged:
            self.tagged.remove(msg.cookie)
            check(msg.itt not in self.itts | {NONE: None}, f"taken: {msg}")
            return
        task = self.tasks.get(msg.cookie)
        check(task is not None and not task.done, f"TAG of no task: {msg}")
        check(task.free and task.itt is None, f"a second TAG: {msg}")
        check(not task.pdus, f"TAG after a PDU: {msg}")
        check(msg.itt != NONE, "the reserved tag")
        check(msg.itt not in self.itts, f"the tag of an open task: {msg}")
        task.itt = msg.itt
        self.itts[msg.itt] = task

    def _unsolicited(self, msg):
        if self.shared or not msg.flags & F_UNMATCHED:
            super()._unsolicited(msg)
            return
        check(msg.itt != NONE, f"the reserved ITT is not unmatched: {msg}")
        check(msg.itt not in self.itts, f"unmatched, but of a task: {msg}")

    def _count(self, pdu):
        """Keeps ExpStatSN by RFC 7143 (row B1 of the matrix)."""
        takes = (pdu.opcode not in (DATA_IN, NOP_IN, 0x31) or
                 pdu.opcode == NOP_IN and pdu.itt != NONE or
                 pdu.opcode == DATA_IN and pdu.bflags & 1)
        if takes:
            self.expstatsn = (pdu.statsn + 1) & NONE

    # --- PDUs

    def number(self, pdu):
        """pdu with the numbers that are due; CmdSN goes on."""
        opcode = pdu[0] & 0x3f
        if opcode in (DATA_OUT, SNACK):
            return numbered(pdu, 0, self.expstatsn)
        pdu = numbered(pdu, self.cmdsn, self.expstatsn)
        if not pdu[0] & IMMEDIATE:
            self.cmdsn = (self.cmdsn + 1) & NONE
        return pdu

    def _tlvs(self, expect, free=False, deadline=None, digests=None):
        return ((expect_tlv(expect) if expect else b"") +
                (FREE_ITT if free else b"") +
                (deadline_tlv(deadline) if deadline is not None else b"") +
                (digests or b""))

    def submit(self, pdu, cookie=None, out=None, tlvs=b"", expect=None,
               free=False, deadline=None, digests=None, literal=False):
        """Submits a PDU that opens a task; the Task."""
        if self.shared:
            return super().submit(pdu, cookie, out, tlvs)
        if not literal:
            pdu = self.number(pdu)
        task = RawTask(self.cookie() if cookie is None else cookie, pdu, out,
                       expect or "many", free)
        self.tasks[task.cookie] = task
        if not free:
            self.itts.setdefault(task.itt, task)
        tlvs += self._tlvs(expect, free, deadline, digests)
        self.send_raw(b"".join(self.fragments(pdu, task.cookie, tlvs=tlvs)))
        return task

    def put(self, pdu, expect="none", literal=False, digests=None,
            free=False, tlvs=b""):
        """Submits a PDU that opens no task; its cookie."""
        if not literal:
            pdu = self.number(pdu)
        cookie = self.cookie()
        self.requests.add(cookie)
        if free:
            self.tagged.add(cookie)
        tlvs += self._tlvs(expect, free, digests=digests)
        self.send_raw(b"".join(self.fragments(pdu, cookie, tlvs=tlvs)))
        return cookie

    def answer(self, task, r2t, size=None):
        """Answers an R2T from task.out in Data-Outs of size bytes."""
        if self.shared:
            super().answer(task, r2t, size)
            return
        size = size or self.send_dsl
        end = r2t.offset + r2t.word11
        frames = []
        for sn, at in enumerate(range(r2t.offset, end, size)):
            part = bytes(task.out[at:min(at + size, end)])
            cookie = self.cookie()
            self.requests.add(cookie)
            frames.append(frame(SUBMIT, self.number(data_out(
                task.itt, r2t.word5, at, part, sn, at + size >= end,
                r2t.lun)), cookie))
        self.send_raw(b"".join(frames))

    def receive_tag(self, task):
        """The ITT of a task, which the daemon may have yet to tell."""
        while task.itt is None:
            self._progress(f"TAG of cookie {task.cookie}")
        return task.itt

    def unsolicited(self, opcode=None, unmatched=False):
        """The next PDU with cookie 0."""
        flags = F_UNMATCHED if unmatched else 0
        msg = self._next(lambda msg: msg.kind == PDU and msg.cookie == 0 and
                         msg.flags & F_UNMATCHED == flags,
                         "a PDU with cookie 0")
        if opcode is not None:
            check_equal(msg.opcode, opcode, f"opcode of {msg}")
        return msg

    # --- the connection

    def open(self, portal, events=NONE, **options):
        """OPEN; the answer."""
        self.events = events
        self._begin()
        return self.answer_to(self.send(OPEN, open_payload(
            portal, events=events, **options)))

    def _begin(self):
        self.cmdsn, self.expstatsn, self.send_dsl = 1, 0, 8192

    def login_request(self, target, *keys, itt=1, isid=ISID, name=INITIATOR):
        """Submits a whole login in one request; its Task."""
        return self.submit(login_pdu(login_text(target, *keys, name=name),
                                     itt, isid=isid))

    def login(self, target, *keys, **fields):
        """Logs in, in as many requests as the target wants; the final PDU."""
        task = self.login_request(target, *keys, **fields)
        seen = 0
        while True:
            while not task.done and len(task.pdus) == seen:
                self._progress("a Login Response")
            if task.done:
                return self.logged_in(self.finish(task))
            seen += 1
            check(seen < 8, f"a login without end: {task.pdus[-1].data}")
            self.put(login_pdu(b"", task.itt, isid=fields.get("isid", ISID)))

    def logged_in(self, task):
        """Takes note of a login that has ended well; the final PDU."""
        check(task.pdu is not None, f"the login ended with {task.outcome}")
        answer = task.pdu
        check_equal((answer.opcode, answer.bhs[36:38]), (LOGIN_RSP, b"\0\0"),
                    f"status of the login ({answer})")
        text = b"".join(pdu.data for pdu in task.pdus)
        self.keys = dict(pair.split("=", 1) for pair in
                         text.decode().split("\0") if pair)
        self.send_dsl = int(self.keys.get("MaxRecvDataSegmentLength", 8192))
        return answer

    def set_raw(self, **fields):
        """SET with these fields; the answer."""
        return self.answer_to(self.send(SET, set_payload(**fields)))

    def set(self, mask, flags=None, **fields):
        """SET, which must be OK: these flags, all on unless flags says."""
        answer = self.set_raw(mask=mask, flags=mask & 0x3f if flags is None
                              else flags, **fields)
        check_equal(answer.kind, OK, f"answer to SET ({answer})")

    def state(self):
        """GET; STATE."""
        return self.expect(STATE, self.send(GET))

    def settled(self):
        """STATE, once all that was submitted is with the kernel."""
        while True:
            state = self.state()
            if state.unsent == 0:
                return state

    def shut(self):
        """CLOSE; the EVENT closed, which comes before OK."""
        cookie = self.send(CLOSE)
        answer = self.answer_to(cookie)
        check_equal(answer.kind, OK, f"answer to CLOSE ({answer})")
        told = [msg for msg in self.inbox if msg.kind == EVENT and
                msg.event == "closed"]
        check_equal([msg.code for msg in told], [0], "EVENT closed before OK")
        self.inbox.remove(told[0])
        return told[0]

    def over(self, errno, bytes_in=None, bytes_out=None):
        """The EVENT closed with this errno (or one of these)."""
        errnos = errno if isinstance(errno, tuple) else (errno,)
        event = self.event("closed")
        check(event.code in errnos, f"errno of {event}, wanted {errnos}")
        check(event.text, "no text for people")
        check_equal(event.count, 1, "count of EVENT closed")
        if bytes_in is not None:
            check_equal(event.bytes_in, bytes_in, "bytes received")
        if bytes_out is not None:
            check_equal(event.bytes_out, bytes_out, "bytes sent")
        return event

    # --- descriptors

    def send_fds(self, raw, fds):
        """Sends bytes with descriptors on the first one."""
        rights = struct.pack(f"{len(fds)}i", *fds)
        self.socket.setblocking(True)
        try:
            sent = self.socket.sendmsg([raw], [(socket.SOL_SOCKET,
                                                socket.SCM_RIGHTS, rights)])
        finally:
            self.socket.setblocking(False)
        self.send_raw(raw[sent:])

    def adopt(self, connection, params=None, unread=b"", size=SMALL,
              events=NONE, deadline=0):
        """ADOPT of a socket with unread bytes, size at most in a frame.

        The answer. The caller's descriptor stays open.
        """
        params = params or Params()
        self.events = events
        self._begin()
        self.cmdsn, self.expstatsn = params.cmdsn, params.exp_statsn
        self.send_dsl = params.send_dsl or self.send_dsl
        cookie = self.cookie()
        self.requests.add(cookie)
        fields = len(adopt_payload(params))
        here = min(max(size - fields, 0), len(unread))
        cuts = list(range(here, len(unread), size))
        self.send_fds(frame(ADOPT, adopt_payload(
            params, unread, here, deadline, events), cookie,
            F_FD | (F_MORE if cuts else 0)), [connection.fileno()])
        for at in cuts:
            more = at + size < len(unread)
            self.send_raw(frame(ADOPT, unread[at:at + size], cookie,
                                F_MORE if more else 0))
        return self.answer_to(cookie)

    def export(self):
        """EXPORT; a socket, its Params and the unread bytes."""
        cookie = self.send(EXPORT)
        msg = self.answer_to(cookie)
        check_equal(msg.kind, EXPORTED, f"answer to EXPORT ({msg})")
        check(msg.fd is not None, "EXPORTED without a descriptor")
        connection = socket.socket(fileno=msg.fd)
        params, at = Params.unpack(msg.payload)
        unread = int.from_bytes(msg.payload[at:at + 4], "big")
        data = msg.payload[at + 4:]
        check(len(msg.payload) <= SMALL, "a long frame with a descriptor")
        while msg.flags & F_MORE:
            msg = self.expect(EXPORTED, cookie)
            check(msg.fd is None, "a second descriptor")
            data += msg.payload
        check_equal(len(data), unread, "unread bytes")
        return connection, params, data

    # --- sharing

    def share(self, name):
        """SHARE; the answer."""
        answer = self.answer_to(self.send(SHARE, string(name)))
        if answer.kind == ATTACHED:
            self.attached = answer
        return answer

    def unshare(self):
        """UNSHARE; the answer."""
        cookie = self.send(UNSHARE)
        self.unsharing.add(cookie)
        answer = self.answer_to(cookie)
        if answer.kind == STATE:
            self.cmdsn = answer.params.cmdsn
            self.expstatsn = answer.params.exp_statsn
            self.send_dsl = answer.params.send_dsl or 8192
        return answer
