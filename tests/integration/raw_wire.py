#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""The bytes of a raw connection: nothing rewritten, digests, limits, and the
login that is read as it passes."""

import errno
import os
import random
import struct

from harness import check, check_equal, main, scaled, test
from muxclient import (DATA_OUT, F_VOID, FINAL, LOGIN, LOGOUT, NONE, NOP_IN,
                       NOP_OUT, PDU, REJECT, SCSI, SUBMIT, TEST_UNIT_READY,
                       TEXT, TMF, bhs, command, frame, nop_out, text_request)
from rawclient import (BIG_ENDIAN, DATA_DIGEST, HEADER_DIGEST, LOGIN_RSP,
                       MANUAL, RECV_DSL, SEND_DSL, SHOW_DIGESTS, UNCHECKED,
                       digest_tlv, login_pdu, login_text)
from rawrig import OddRig, big_endian, ping, raw_rule, same, wire
from target_client import crc32c

FOUR = ((False, False), (True, False), (False, True), (True, True))
TO_TARGET = (*range(0x00, 0x07), 0x10, 0x1c, 0x1d, 0x1e)
TO_CLIENT = (*range(0x20, 0x27), 0x31, 0x32, 0x3c, 0x3d, 0x3e, 0x3f)


def noise(rand, opcode, length, ahs=0):
    """A BHS of which all is random but opcode, lengths and what makes its
    opcode what it is: a Reject of nothing, a NOP-Out and a Text Request that
    begin an exchange."""
    raw = bytearray(rand.randbytes(48))
    raw[0] = opcode | raw[0] & 0xc0
    raw[4] = ahs // 4
    raw[5:8] = length.to_bytes(3, "big")
    if opcode == REJECT:
        raw[16:20] = b"\xff\xff\xff\xff"
    if opcode in (NOP_OUT, TEXT):
        raw[20:24] = b"\xff\xff\xff\xff"
    return bytes(raw)


def order_of(odd, big):
    """Sets the byte order of digests; the function that makes them."""
    odd.raw.set(BIG_ENDIAN, BIG_ENDIAN if big else 0)
    return big_endian if big else crc32c


# --- Nothing rewritten

@test("to the target: every opcode goes as it is, with the right digests")
def literal_out():
    rand = random.Random(36)
    odd = OddRig()
    for digests in FOUR:
        odd.digests(*digests)
        for big in (False, True):
            order = order_of(odd, big)
            for opcode in TO_TARGET:
                for length in (0, 1, 4, rand.randrange(5, 8193)):
                    ahs = rand.randrange(0, 256) * 4 if opcode == SCSI else 0
                    data = rand.randbytes(length)
                    pdu = noise(rand, opcode, length, ahs)
                    chain = b""
                    if ahs:
                        chain = struct.pack(">HB", ahs - 3, 2) + \
                            rand.randbytes(ahs - 3)
                    odd.raw.put(pdu + chain + data, literal=True)
                    wanted = wire(pdu, data, digests, order, ahs=chain)
                    same(odd.peer.take(len(wanted)), wanted,
                         f"opcode {opcode:#x} at the target")
        check_equal(odd.raw.state().pending, 0, "tasks")
        odd.raw.shut()
        odd.raw.close()


@test("to the client: every opcode comes as it is")
def literal_in():
    rand = random.Random(37)
    odd = OddRig()
    for digests in FOUR:
        odd.digests(*digests)
        for big in (False, True):
            order = order_of(odd, big)
            for opcode in TO_CLIENT:
                for length in (0, 1, 4, rand.randrange(5, 8193)):
                    ahs = rand.choice((0, 4, 1020))
                    data = rand.randbytes(length)
                    pdu = noise(rand, opcode, length, ahs)
                    chain = rand.randbytes(ahs)
                    odd.peer.socket.sendall(wire(pdu, data, digests, order,
                                                 ahs=chain))
                    msg = odd.raw.unsolicited(unmatched=opcode != REJECT)
                    same(msg.payload, pdu + chain + data,
                         f"opcode {opcode:#x} at the client")
        odd.raw.shut()
        odd.raw.close()


@test("a task's PDUs are the bytes of the client and of the target")
def literal_task():
    rand = random.Random(38)
    odd = OddRig().connect().login()
    for opcode, answer in ((SCSI, 0x21), (NOP_OUT, NOP_IN), (TMF, 0x22),
                           (TEXT, 0x24), (LOGOUT, 0x26)):
        for itt in (0, 1, 0x80000000, 0xfffffffe, rand.getrandbits(31)):
            pdu = bytearray(noise(rand, opcode, 16) + rand.randbytes(16))
            pdu[16:20] = itt.to_bytes(4, "big")
            task = odd.raw.submit(bytes(pdu), literal=True)
            same(odd.peer.take(64), bytes(pdu), f"opcode {opcode:#x}")
            back = bytearray(noise(rand, answer, 0))
            back[1] |= FINAL
            back[16:20] = itt.to_bytes(4, "big")
            odd.peer.socket.sendall(back)
            odd.raw.finish(task)
            same(task.pdu.payload, bytes(back), f"opcode {answer:#x}")


@test("a PDU in fragments is whole or not there")
def fragments():
    odd = OddRig().connect().login()
    raw, peer = odd.raw, odd.peer
    data = os.urandom(5000)
    void, whole = (bhs(DATA_OUT, itt=itt, length=5000) + data
                   for itt in (1, 2))
    cookies = raw.cookie(), raw.cookie()
    frames = [raw.fragments(pdu, cookie, size=1000)
              for pdu, cookie in zip((void, whole), cookies)]
    raw.requests.update(cookies)
    for i in range(4):
        raw.send_raw(frames[0][i] + frames[1][i])
    raw.ping()
    peer.quiet()
    raw.send_raw(frame(SUBMIT, data[:10], cookies[0], F_VOID))
    raw.send_raw(frames[1][4])
    same(peer.take(len(whole)), whole, "the one that was not taken back")
    raw.put(bhs(DATA_OUT, itt=3))
    check_equal(peer.receive(DATA_OUT).itt, 3, "the next")


@test("pings are the client's business, and so is every number")
def nothing_of_its_own():
    odd = OddRig().connect().login()
    odd.peer.send(NOP_IN, NONE, word5=0x77, consume=False)
    check_equal(odd.raw.unsolicited(NOP_IN).word5, 0x77, "TTT of the ping")
    odd.peer.send(0x32, NONE, response=0, tail=bytes([0, 0, 0, 0, 255]))
    odd.raw.unsolicited(0x32)
    odd.peer.send(REJECT, NONE, bytes(48), response=4)
    odd.raw.unsolicited(REJECT)
    # Statuses with a gap, a window that closes: no concern of the daemon's.
    for statsn, expcmdsn, maxcmdsn in ((5, 0, 0), (0x80000000, 9, 1),
                                       (1, 1, 0)):
        odd.peer.send(NOP_IN, NONE, word5=1, statsn=statsn,
                      expcmdsn=expcmdsn, maxcmdsn=maxcmdsn, consume=False)
        msg = odd.raw.unsolicited(NOP_IN)
        check_equal((msg.statsn, msg.expcmdsn, msg.maxcmdsn),
                    (statsn, expcmdsn, maxcmdsn), "numbers")
    odd.raw.ping()
    odd.peer.quiet()
    odd.raw.put(bhs(NOP_OUT | 0x40, FINAL, 0, NONE, 0x77, cmdsn=0xdead,
                    expstatsn=0xbeef), literal=True)
    request = odd.peer.take(48)
    check_equal(request[16:32].hex(), "ffffffff000000770000dead0000beef",
                "the client's answer to the ping")


# --- The login

@test("the first byte after the final Login Response has the new digests")
def one_segment():
    odd = OddRig()
    pdu = ping(b"tail!")
    for digests in FOUR:
        odd.digests(*digests, extra=wire(pdu, b"tail!", digests))
        msg = odd.raw.unsolicited(NOP_IN)
        same(msg.payload, pdu + b"tail!", "the PDU behind the login")
        odd.raw.close()


@test("the same, cut in two at every byte")
def one_segment_split():
    odd = OddRig()
    pdu = ping(b"tail!")
    sent = []

    def whole(peer):
        sent.append(peer)
        return wire(pdu, b"tail!", (True, True))

    def cut_at(at):
        def send_login(raw):
            peer = odd.peer
            peer.whole = len(raw)
            peer.socket.sendall(raw[:at])
            while odd.raw.state().bytes_in < min(at, len(raw)):
                pass
            peer.socket.sendall(raw[at:])
        return send_login

    at, length = 1, 2
    step = max(1, round(1 / scaled(100, 10) * 100))
    while at < length:
        odd.connect()
        odd.peer.send_login = cut_at(at)
        odd.login("HeaderDigest=CRC32C", "DataDigest=CRC32C", extra=whole)
        length = odd.peer.whole
        msg = odd.raw.unsolicited(NOP_IN)
        same(msg.payload, pdu + b"tail!", f"cut at {at}")
        odd.raw.close()
        at += step
    check(length > 150, "the login was not cut")


@test("a login of many PDUs: keys that continue, stages, a refusal")
def long_login():
    odd = OddRig().connect()
    raw, peer = odd.raw, odd.peer
    text = login_text(odd.target.iqn, "HeaderDigest=CRC32C",
                      "MaxRecvDataSegmentLength=20480", "X-noise=" + "x" * 99)
    # C bit: a key is cut anywhere. Only the last one has T.
    pieces = [text[:7], text[7:60], text[60:130], text[130:]]
    # The answer, too: digests must not begin in between.
    answer = b"HeaderDigest=CRC32C\0MaxRecvDataSegmentLength=4096\0"
    answers = [(b"", 4), (b"", 4), (b"", 4), (answer[:9], 0x44),
               (answer[9:], 0x87)]
    task = raw.submit(login_pdu(pieces[0], itt=5, flags=0x44))
    for sn, (said, flags) in enumerate(answers):
        if sn:
            piece = (pieces + [b""])[sn]
            raw.put(login_pdu(piece, itt=5, flags=0x87 if sn > 2 else 0x44))
        check_equal(peer.receive(LOGIN).data, (pieces + [b""])[sn], "request")
        check_equal(raw.state().params.phase, 0, "phase")
        peer.send(LOGIN_RSP, 5, said, flags=flags, word5=0, tail=bytes(12),
                  lun=0x0000800000510009)
        while len(task.pdus) == sn:
            raw._progress("a Login Response")
        check_equal((task.pdus[sn].data, task.done), (said, sn == 4),
                    "response")
    params = raw.state().params
    check_equal((params.phase, params.flags & 3, params.recv_dsl,
                 params.send_dsl, params.target),
                (1, HEADER_DIGEST, 20480, 4096, odd.target.iqn), "STATE")
    peer.header_digest = True
    raw.put(bhs(NOP_OUT | 0x40, FINAL, 0, NONE, NONE))
    peer.receive(NOP_OUT, acks=True)


@test("a login that fails switches nothing, and the next may do")
def failed_login():
    odd = OddRig().connect()
    raw, peer = odd.raw, odd.peer
    task = raw.login_request(odd.target.iqn, "HeaderDigest=CRC32C")
    peer.receive(LOGIN)
    peer.send(LOGIN_RSP, 1, b"HeaderDigest=CRC32C\0", flags=0x87, word5=0,
              tail=b"\2\1" + bytes(10), consume=False)
    msg = raw.finish(task).pdu
    check_equal(msg.bhs[36:38], b"\2\1", "status")
    check_equal((raw.state().params.phase, raw.state().params.flags & 3),
                (0, 0), "phase, digests")
    raw.refused(command(9, TEST_UNIT_READY), "opcode-not-allowed")
    # What was chosen, not what was offered, counts.
    odd.login("HeaderDigest=CRC32C,None", "DataDigest=CRC32C,None",
              answers={"HeaderDigest": "None"})
    check_equal(raw.state().params.flags & 3, DATA_DIGEST, "digests")


@test("before the login is through: Login Requests of 8192 bytes, no more")
def before_login_out():
    odd = OddRig().connect()
    raw, peer = odd.raw, odd.peer
    for pdu in (command(9, TEST_UNIT_READY), nop_out(9),
                bhs(TMF | 0x40, 0x85, itt=9), text_request(9),
                bhs(LOGOUT, itt=9)):
        raw.refused(pdu, "opcode-not-allowed", literal=True)
    for opcode in (DATA_OUT, 0x10, 0x1c, 0x1f, 0x07):
        raw.error(raw.put(bhs(opcode), literal=True), "opcode-not-allowed")
    raw.refused(login_pdu(bytes(8193)), "data-limit", literal=True)
    raw.error(raw.put(login_pdu(bytes(8193)), literal=True), "data-limit")
    peer.quiet()
    raw.put(login_pdu(bytes(8192)), literal=True)
    same(peer.take(48 + 8192), login_pdu(bytes(8192)), "8192 bytes of login")


@test("before the login is through a target has Login Responses and Rejects")
def before_login_in():
    odd = OddRig()
    for opcode in TO_CLIENT:
        odd.connect()
        odd.peer.socket.sendall(ping(opcode=opcode))
        if opcode in (LOGIN_RSP, REJECT):
            msg = odd.raw.unsolicited(opcode)
            check_equal(msg.opcode, opcode, "opcode")
        else:
            odd.gone(errno.EPROTO, bytes_in=48)
        check_equal([msg for msg in odd.raw.inbox if msg.kind == PDU], [],
                    "PDUs")
        odd.raw.close()
    odd.connect()
    data = os.urandom(8192)
    head = ping(data, opcode=LOGIN_RSP)
    odd.peer.socket.sendall(head + data)
    same(odd.raw.unsolicited().data, data, "8192 bytes")
    # One more: at once, without waiting for a byte of them.
    odd.peer.socket.sendall(ping(bytes(8193), opcode=LOGIN_RSP))
    odd.gone(errno.EPROTO)


@test("after the login each direction has the limit that was declared")
def limits():
    odd = OddRig()
    for ours, theirs in ((1024, 4096), (65536, 512), (None, 8192)):
        keys = [] if ours is None else [f"MaxRecvDataSegmentLength={ours}"]
        odd.connect().login(*keys, answers={"MaxRecvDataSegmentLength":
                                            str(theirs)})
        ours = ours or 8192
        params = odd.raw.state().params
        check_equal((params.recv_dsl, params.send_dsl), (ours, theirs),
                    "limits of STATE")
        data = os.urandom(max(ours, theirs) + 1)
        for pdu in (command(9, b"\x8a", theirs, 0x20, data[:theirs + 1]),):
            odd.raw.refused(pdu, "data-limit", literal=True)
        odd.raw.error(odd.raw.put(bhs(DATA_OUT, length=theirs + 1) +
                                  data[:theirs + 1]), "data-limit")
        odd.peer.quiet()
        pdu = bhs(DATA_OUT, length=theirs) + data[:theirs]
        odd.raw.put(pdu, literal=True)
        same(odd.peer.take(len(pdu)), pdu, "what may be sent")
        odd.peer.socket.sendall(wire(ping(data[:ours]), data[:ours]))
        same(odd.raw.unsolicited(NOP_IN).data, data[:ours], "longest PDU")
        odd.peer.socket.sendall(ping(bytes(ours + 1)))
        odd.gone(errno.EPROTO)
        odd.raw.close()


@test("SET changes the limits; 0 is none, up to what a header can say")
def set_limits():
    odd = OddRig().connect().login()
    raw, peer = odd.raw, odd.peer
    raw.set(RECV_DSL | SEND_DSL, recv_dsl=100, send_dsl=200)
    raw.error(raw.put(bhs(DATA_OUT, length=201) + bytes(201)), "data-limit")
    peer.socket.sendall(wire(ping(bytes(100)), bytes(100)))
    raw.unsolicited(NOP_IN)
    raw.set(RECV_DSL | SEND_DSL)
    data = os.urandom(scaled(1 << 24, 1 << 20) - 1)
    peer.socket.settimeout(None)
    send_all(peer, raw, wire(ping(data), data))
    same(raw.unsolicited(NOP_IN).data, data, "a long PDU")
    cookie = raw.cookie()
    raw.requests.add(cookie)
    pdu = bhs(DATA_OUT, length=len(data)) + data
    wanted = wire(pdu[:48], data)
    got = bytearray()
    peer.socket.setblocking(False)
    for frame in raw.fragments(pdu, cookie):
        raw.send_raw(frame)
        collect(peer, got)
    peer.socket.settimeout(60)
    got += peer.take(len(wanted) - len(got))
    same(bytes(got), wanted, "the same to the target")


def collect(peer, got):
    """Reads what is there."""
    try:
        while True:
            got += peer.socket.recv(1 << 20)
    except BlockingIOError:
        pass


def send_all(peer, raw, data):
    """Sends much to the daemon while the client reads."""
    view = memoryview(data)
    peer.socket.setblocking(False)
    while view:
        try:
            view = view[peer.socket.send(view[:1 << 18]):]
        except BlockingIOError:
            msg = raw.receive(timeout=0.001)
            if msg is not None:
                raw.inbox.append(msg)
    peer.socket.setblocking(True)


# --- Digests

@test("the padding is what it is: digests cover the bytes as received")
def padding():
    odd = OddRig()
    for digests in ((False, True), (True, True)):
        odd.digests(*digests)
        for data in (b"1", b"12", b"123", b"12345"):
            odd.peer.socket.sendall(wire(ping(data), data, digests,
                                         padding=b"\xff" * (-len(data) % 4)))
            check_equal(odd.raw.unsolicited(NOP_IN).data, data, "data")
        odd.raw.close()


@test("a bad header digest ends it before its length is believed")
def bad_header():
    odd = OddRig()
    for flip in (0, 1, 5, 6, 7, 20, 47, 48, 51):
        odd.digests(True, False)
        raw = bytearray(wire(ping(), digests=(True, False)))
        raw[flip] ^= 0x81
        # Nothing follows: who waits for data waits for ever.
        odd.peer.socket.sendall(raw)
        odd.gone(errno.EBADMSG)
        check_equal([msg for msg in odd.raw.inbox if msg.kind == PDU], [],
                    "PDUs delivered")
        odd.raw.close()
    # With AHS the digest comes behind it.
    odd.digests(True, False)
    head = bytearray(ping())
    head[4] = 255
    raw = bytearray(wire(bytes(head), digests=(True, False),
                         ahs=bytes(1020)))
    raw[700] ^= 1
    odd.peer.socket.sendall(raw)
    odd.gone(errno.EBADMSG)


@test("a PDU with a bad data digest is never complete, short or long")
def bad_data():
    odd = OddRig()
    for length in (1, 4, 5000, 300000, 800000):
        for big in (False, True):
            odd.digests(False, True, answers={})
            odd.raw.set(RECV_DSL, recv_dsl=0)
            order = order_of(odd, big)
            task = odd.raw.submit(command(9, TEST_UNIT_READY, 800000, 0x40))
            odd.peer.header_digest = odd.peer.data_digest = False
            odd.peer.receive(SCSI)
            data = os.urandom(length)
            head = ping(data, 9, opcode=0x25)
            raw = bytearray(wire(head, data, (False, True), order))
            raw[-1] ^= 0x10
            send_all(odd.peer, odd.raw, raw)
            odd.gone(errno.EBADMSG)
            odd.raw.finish(task)
            check_equal((task.pdus, task.outcome.outcome), ([], "unknown"),
                        "PDUs of the task, outcome")
            check_equal([msg for msg in odd.raw.inbox if msg.kind == PDU],
                        [], "other PDUs")
            odd.raw.close()


@test("the wrong byte order is a bad digest")
def wrong_order():
    odd = OddRig()
    for big in (False, True):
        odd.digests(True, True)
        order_of(odd, big)
        odd.peer.socket.sendall(wire(ping(), digests=(True, True),
                                     order=crc32c if big else big_endian))
        odd.gone(errno.EBADMSG)
        odd.raw.close()


@test("show-digests: the words as they came, behind each PDU")
def show_digests():
    odd = OddRig()
    for digests in FOUR[1:]:
        for big in (False, True):
            odd.digests(*digests)
            odd.raw.set(SHOW_DIGESTS)
            order = order_of(odd, big)
            for data in (b"", b"abc", os.urandom(8000)):
                odd.peer.socket.sendall(wire(ping(data), data, digests,
                                             order))
                msg = odd.raw.unsolicited(NOP_IN)
                check_equal(msg.data, data, "data")
                header = order(ping(data)) if digests[0] else bytes(4)
                word = order(data + bytes(-len(data) % 4))
                has = digests[1] and bool(data)
                if not digests[0] and not has:
                    check_equal(msg.tlvs.get(4, bytes(9)), bytes(9), "TLV")
                    continue
                check_equal(msg.tlvs.get(4, b"").hex(), (
                    bytes([digests[0] | has << 1]) + header +
                    (word if has else bytes(4))).hex(), "TLV of digests")
            odd.raw.set(SHOW_DIGESTS, 0)
            odd.peer.socket.sendall(wire(ping(), b"", digests, order))
            check_equal(odd.raw.unsolicited(NOP_IN).tlvs, {}, "TLVs")
            odd.raw.close()


@test("SET digests: from the next PDU on, in both directions")
def set_digests():
    odd = OddRig().connect().login()
    raw, peer = odd.raw, odd.peer
    rand = random.Random(5)
    now = [False, False]
    for _ in range(40):
        bit = rand.randrange(2)
        now[bit] = not now[bit]
        raw.set((HEADER_DIGEST, DATA_DIGEST)[bit],
                (HEADER_DIGEST, DATA_DIGEST)[bit] if now[bit] else 0)
        data = rand.randbytes(rand.randrange(1, 9))
        pdu = bhs(DATA_OUT, length=len(data))
        raw.put(pdu + data, literal=True)
        wanted = wire(pdu, data, now)
        same(peer.take(len(wanted)), wanted, f"with digests {now}")
        peer.socket.sendall(wire(ping(data), data, now))
        check_equal(raw.unsolicited(NOP_IN).data, data, "data")


@test("manual: nothing behind the login is parsed until the next SET")
def manual():
    odd = OddRig()
    for digests in FOUR:
        for together in (False, True):
            odd.connect()
            odd.raw.set(MANUAL)
            late = wire(ping(b"late"), b"late", digests)
            odd.login("HeaderDigest=CRC32C" if digests[0] else
                      "HeaderDigest=None", "DataDigest=CRC32C" if digests[1]
                      else "DataDigest=None", "MaxRecvDataSegmentLength=512",
                      extra=late if together else b"")
            if not together:
                odd.peer.socket.sendall(late)
            told = odd.raw.state()
            check_equal((told.pdus_in, told.params.flags & 3),
                        (1, 0), "PDUs, digests")
            check_equal([msg for msg in odd.raw.inbox if msg.kind == PDU],
                        [], "PDUs delivered")
            wanted = digests[0] | digests[1] << 1
            odd.raw.set(HEADER_DIGEST | DATA_DIGEST, wanted)
            check_equal(odd.raw.unsolicited(NOP_IN).data, b"late", "data")
            odd.raw.put(bhs(DATA_OUT, length=3) + b"abc", literal=True)
            pdu = wire(bhs(DATA_OUT, length=3), b"abc", digests)
            same(odd.peer.take(len(pdu)), pdu, "to the target")
            odd.raw.close()


# --- unchecked

@test("unchecked lifts what it says, and what arrives still has its limit")
def unchecked():
    odd = OddRig(raw_rule(unchecked=True)).connect()
    raw, peer = odd.raw, odd.peer
    raw.refused(command(9, TEST_UNIT_READY), "opcode-not-allowed",
                literal=True)
    raw.set(UNCHECKED)
    pdu = command(9, TEST_UNIT_READY)
    raw.put(pdu, literal=True)
    same(peer.take(48), pdu, "a command before the login")
    pdu = login_pdu(os.urandom(9000), itt=7)
    raw.put(pdu, literal=True)
    same(peer.take(len(pdu)), pdu, "a long login")
    peer.socket.sendall(ping())
    raw.unsolicited(NOP_IN)
    odd.login("MaxRecvDataSegmentLength=512",
              answers={"MaxRecvDataSegmentLength": "512"})
    pdu = bhs(DATA_OUT, length=5000) + os.urandom(5000)
    raw.put(pdu, literal=True)
    same(peer.take(len(pdu)), pdu, "more than the target takes")
    peer.socket.sendall(ping(bytes(513)))
    odd.gone(errno.EPROTO)
    raw.close()


@test("digest words of one's own arrive, where digests are on")
def own_digests():
    odd = OddRig(raw_rule(unchecked=True))
    for digests in FOUR:
        odd.digests(*digests)
        raw, peer = odd.raw, odd.peer
        pdu = bhs(DATA_OUT, length=3)
        raw.error(raw.put(pdu + b"abc", digests=digest_tlv(b"1234")),
                  "not-permitted")
        raw.refused(command(9, TEST_UNIT_READY), "not-permitted",
                    digests=digest_tlv(b"1234"))
        raw.set(UNCHECKED)
        for header, data in ((b"head", b"data"), (b"head", None),
                             (None, b"data"), (None, None)):
            raw.put(pdu + b"abc", literal=True,
                    digests=digest_tlv(header, data))
            wanted = pdu
            if digests[0]:
                wanted += header or crc32c(pdu)
            wanted += b"abc\0"
            if digests[1]:
                wanted += data or crc32c(b"abc\0")
            same(peer.take(len(wanted)), wanted, "own digests")
        raw.close()


main()
