#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Write the seed inputs of fuzz_pdu and fuzz_frame.

    tests/fuzz/make_corpus.py [--check] [FOLDER]

FOLDER is tests/fuzz/corpus by default.  Inputs under other names, found by a
fuzzer say, are left alone.  With --check nothing is written: the status is 1
if a stored input is not as this program would write it.
"""

import pathlib
import struct
import sys

CRC_TABLE = []
for index in range(256):
    for _ in range(8):
        index = index >> 1 ^ (0x82F63B78 if index & 1 else 0)
    CRC_TABLE.append(index)


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ CRC_TABLE[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


# --- PDUs.  A framing is a string of h (header digest), d (data digest),
# b (big-endian), u (no limit); s in the second one: there is a switch.

FRAMING_BITS = {"h": 0x01, "d": 0x02, "b": 0x04, "u": 0x08, "s": 0x80}
SENDERS = {"target": 0x00, "initiator": 0x10, "anyone": 0x20}


def bits(framing):
    return sum(FRAMING_BITS[letter] for letter in framing)


def digest(data, framing):
    return struct.pack(">I" if "b" in framing else "<I", crc32c(data))


def pdu(opcode, data=b"", framing="", ahs=b"", pad=0, flags=0x80, dsl=None):
    """One PDU as it is on the wire."""
    length = len(data) if dsl is None else dsl
    bhs = struct.pack(">BBHI", opcode, flags, 0,
                      len(ahs) // 4 << 24 | length)
    bhs += struct.pack(">QIIIIII8x", 0, 1, 0xFFFFFFFF, 2, 3, 4, 5)
    wire = bhs + ahs
    if "h" in framing:
        wire += digest(wire, framing)
    padded = data + bytes([pad]) * (-len(data) % 4)
    wire += padded
    if "d" in framing and data:
        wire += digest(padded, framing)
    return wire


def pdu_input(sender, framing, stream, cut=6, second=""):
    return bytes([SENDERS[sender] | bits(framing), cut, bits(second)]) + stream


def flip(wire, at):
    """The same with one bit of the byte at `at` changed."""
    changed = bytearray(wire)
    changed[at] ^= 0x10
    return bytes(changed)


EXTENDED_CDB = bytes([0, 5, 1, 0]) + b"\x7f\x01\x02\x03"
BIDI_LENGTH = bytes([0, 5, 2, 0, 0, 0, 2, 0])


def target_stream(framing):
    return b"".join((
        pdu(0x21, framing=framing),
        pdu(0x25, b"hello", framing),
        pdu(0x31, framing=framing),
        pdu(0x20, b"ping", framing),
        pdu(0x3F, bytes(range(48)), framing),
    ))


def pdu_inputs():
    for framing in ("", "h", "d", "hd", "hb", "db", "hdb"):
        name = framing or "plain"
        yield "target-" + name, pdu_input("target", framing,
                                          target_stream(framing))
        yield "dribble-" + name, pdu_input(
            "target", framing, target_stream(framing), cut=0)
        yield "initiator-" + name, pdu_input("initiator", framing, b"".join((
            pdu(0x01, framing=framing, flags=0xC1),
            pdu(0x41, b"data!", framing, EXTENDED_CDB, flags=0xA1),
            pdu(0x01, framing=framing, ahs=EXTENDED_CDB + BIDI_LENGTH,
                flags=0xE1),
            pdu(0x05, b"abc", framing),
        )))
    # The final Login Response, and then digests.
    for second in ("sh", "sd", "shd", "shdb"):
        yield "switch-" + second[1:], pdu_input(
            "target", "", pdu(0x23, b"A=B\0", flags=0x87) +
            pdu(0x25, b"seven.!", second) + pdu(0x21, b"x" * 6, second),
            second=second)
    yield "switch-back", pdu_input(
        "target", "hd", pdu(0x25, b"abcde", "hd") + pdu(0x25, b"abcde"),
        second="s")
    for framing in ("hd", "hdb"):
        good = pdu(0x25, b"hello", framing)
        yield "bad-header-digest-" + framing, pdu_input(
            "target", framing, good + flip(good, 49))
        yield "bad-data-digest-" + framing, pdu_input(
            "target", framing, good + flip(good, len(good) - 1))
        yield "padding-not-zero-" + framing, pdu_input(
            "target", framing, pdu(0x25, b"abc", framing, pad=0xFF) +
            pdu(0x25, b"a", framing, pad=0x20))
    yield "wrong-order", pdu_input("target", "hdb", pdu(0x25, b"hello", "hd"))
    yield "padding-not-zero", pdu_input(
        "target", "", pdu(0x25, b"abc", pad=0xFF))
    yield "over-limit", pdu_input("target", "", pdu(0x25, bytes(65)))
    yield "over-limit-digest", pdu_input(
        "target", "h", pdu(0x25, bytes(65), "h"))
    yield "longest-claim", pdu_input(
        "target", "", pdu(0x25, b"abc", dsl=0xFFFFFF))
    yield "unlimited", pdu_input("target", "u", pdu(0x25, bytes(range(200))))
    yield "cut-in-header", pdu_input("target", "hd", target_stream("hd")[:30])
    yield "cut-in-data", pdu_input("target", "hd", target_stream("hd")[:107])
    yield "cut-in-digest", pdu_input("target", "hd",
                                     target_stream("hd")[:50])
    yield "initiator-bad-ahs", pdu_input(
        "initiator", "", pdu(0x01, ahs=bytes([0, 9, 1, 0])))
    yield "initiator-ahs-on-nop", pdu_input(
        "initiator", "h", pdu(0x00, framing="h", ahs=BIDI_LENGTH))
    yield "target-ahs", pdu_input(
        "target", "h", pdu(0x25, b"abc", "h", ahs=bytes(1020)))
    yield "opcode-of-target", pdu_input("initiator", "", pdu(0x21))
    yield "opcode-reserved", pdu_input("target", "", pdu(0x2F))
    yield "anyone-vendor", pdu_input(
        "anyone", "", pdu(0x3D, b"vendor") + pdu(0x1C, b"vendor"))


# --- Frames (PROTOCOL.md).

FLAG_MORE, FLAG_VOID, FLAG_FD, FLAG_FATAL, FLAG_TLV = 1, 2, 4, 8, 0x40


def frame(kind, payload=b"", flags=0, cookie=1):
    return struct.pack(">IHHQ", len(payload), kind, flags, cookie) + payload


def string(text):
    return bytes([len(text)]) + text


def tlv(kind, value=b""):
    return struct.pack(">HH", kind, len(value)) + value


def frame_input(*frames, cut=5):
    return bytes([cut]) + b"".join(frames)


def hello(tail=b"", name=b"demo"):
    return frame(0x01, struct.pack(">IHHQ", 0x694D5558, 1, 1, 1) +
                 string(name) + tail)


def params():
    return struct.pack(">7I", 1, 3, 8192, 262144, 262144, 65536, 1)


def raw_params(phase=1, flags=0x0101, target=b"iqn.2001-04.example:disk"):
    return (struct.pack(">B10I", phase, flags, 262144, 8192, 262144, 65536, 1,
                        5, 4, 68, 9) + b"\x80\0\0\0\0\1" +
            struct.pack(">H", 1) + string(target))


def submit(data=b"", flags=0, tlvs=b"", kind=0x03, dsl=None):
    return frame(kind, pdu(0x01, dsl=len(data) if dsl is None else dsl) +
                 data + tlvs, flags)


def event(kind, text=b"", tail=b""):
    return frame(0x49, struct.pack(">BIQI", kind, 1, 0, 0x2900) + params() +
                 string(text) + tail)


DIGESTS = tlv(4, b"\x03" + bytes(range(8)))


def client_inputs():
    attach = frame(0x02, struct.pack(">4I", 0, 1, 30000, 0x7F) +
                   string(b"disk"))
    cancels = (frame(0x04, struct.pack(">BQ", by, value))
               for by, value in ((0, 7), (1, 0xFFFF), (1, 1 << 32), (2, 0)))
    ignorable = tlv(0x8001, b"\1\2") + tlv(0x7FFF)
    yield "client", frame_input(hello(), attach, submit(), *cancels,
                                frame(0x05), frame(0x06, b"ping"))
    yield "client-dribble", frame_input(hello(), attach, submit(), cut=0)
    yield "hello-tlvs", frame_input(hello(ignorable),
                                    hello(tlv(0x8001, b"\1\2")),
                                    hello(b"\0"), hello(b"\x80\x01\0\x09"))
    yield "hello-versions", frame_input(
        frame(0x01, struct.pack(">IHHQ", 0x694D5558, 2, 1, 0) + b"\0"),
        frame(0x01, b"iMUY" + bytes(13)), frame(0x01, b"iMU"))
    yield "attach-bits", frame_input(
        frame(0x02, struct.pack(">4I", 0x20, 0, 0, 0) + string(b"a")),
        frame(0x02, struct.pack(">4I", 0, 4, 0, 0) + string(b"a")),
        frame(0x02, struct.pack(">4I", 0, 0, 0, 0) + string(b"a" * 64)))
    yield "utf8", frame_input(
        hello(name="gr\u00f6\u00dfe \u20ac \U0001f4be".encode()),
        *(frame(0x4A, b"\0\1" + string(bad)) for bad in (
            b"a\x1b[2J", b"\xc0\x80", b"\xe0\x80\x80", b"\xed\xa0\x80",
            b"\xf0\x80\x80\x80", b"\xf4\x90\x80\x80", b"\xc2\x85", b"\xff",
            b"\xe2\x82", b"\xc3(", b"\x7f")))
    yield "fragments", frame_input(
        submit(b"01", FLAG_MORE, dsl=12), frame(0x03, b"234567", FLAG_MORE),
        frame(0x03, b"89ab" + tlv(1, b"\0\0\x27\x10"), FLAG_TLV))
    yield "void", frame_input(submit(b"01", FLAG_MORE, dsl=12),
                              frame(0x03, b"", FLAG_VOID), submit(),
                              submit(flags=FLAG_VOID | FLAG_MORE))
    yield "fragments-wrong", frame_input(
        submit(b"0123", FLAG_MORE, dsl=4), submit(b"0", dsl=4),
        submit(b"", FLAG_MORE, dsl=4), submit(b"01234", dsl=4),
        submit(b"0", FLAG_MORE | FLAG_TLV, dsl=4), frame(0x03, b"short"))
    yield "submit-ahs", frame_input(
        frame(0x03, pdu(0x01, b"abcd", ahs=EXTENDED_CDB)),
        frame(0x03, pdu(0x01, ahs=EXTENDED_CDB)[:50]))
    yield "too-long", frame_input(frame(0x06), frame(0x01, bytes(5000))[:16])
    yield "unknown-types", frame_input(frame(0x33, b"\0"), frame(0x85, b"x"),
                                       frame(0xFFFF), frame(0))


def daemon_inputs():
    yield "welcome", frame_input(
        frame(0x41, struct.pack(">HQ3I", 1, 1, 263216, 262144, 256) +
              string(b"iscsimuxd")),
        frame(0x42, struct.pack(">BIIQQ", 3, 31, 256, 1 << 26, 1 << 26) +
              params()))
    yield "outcomes", frame_input(
        *(frame(0x44, struct.pack(">BBBHI", outcome, 1, 0xFF, reason, 5) +
                string(b"gone")) for outcome, reason in (
                    (1, 19), (2, 21), (3, 24), (4, 22), (5, 99))),
        frame(0x45))
    yield "errors", frame_input(
        frame(0x46, struct.pack(">HH", 12, 4) + string(b"no"), FLAG_FATAL),
        frame(0x46, struct.pack(">HH", 12, 4) + string(b"")),
        frame(0x4A, b"\0\x19" + string(b"bye")), frame(0x48, b"ping"))
    yield "events", frame_input(*(event(kind, b"UA") for kind in range(9)))
    yield "event-closed", frame_input(
        event(7, b"", tlv(0x8009) + tlv(5, bytes(range(16)))),
        event(7, b"", tlv(5, bytes(15))), event(3, b"", tlv(5, bytes(16))),
        event(7, b"", tlv(6)))
    entry = b"\3\2\0\0\0\x1f" + string(b"disk") + string(b"iqn.x")
    yield "listing", frame_input(
        frame(0x47, b"\0\2" + entry + b"\0\0\0\0\0\1" + string(b"b") +
              string(b""), FLAG_MORE),
        frame(0x47, b"\0\0"), frame(0x47, b"\0\2" + entry), frame(0x47))
    yield "pdus", frame_input(
        submit(b"abc", kind=0x43), submit(b"abc", 0x10 | 0x20, kind=0x43),
        submit(b"abc", FLAG_TLV, DIGESTS, kind=0x43))


def raw_inputs():
    yield "open", frame_input(
        frame(0x10, struct.pack(">3I", 5000, 0, 0x180) +
              string(b"[2001:db8::1]:3260")),
        frame(0x10, struct.pack(">3I", 0, 0, 0) + string(b"")),
        frame(0x10, b"\0"))
    adopt = struct.pack(">II", 0, 0x1FF)
    yield "adopt", frame_input(
        frame(0x11, adopt + raw_params() + struct.pack(">I", 0), FLAG_FD),
        frame(0x11, adopt + raw_params() + struct.pack(">I", 9) + b"bytes",
              FLAG_FD | FLAG_MORE), frame(0x11, b"rest"))
    yield "adopt-wrong", frame_input(
        frame(0x11, adopt + raw_params(flags=0x1000) + bytes(4)),
        frame(0x11, adopt + raw_params(phase=2) + bytes(4)),
        frame(0x11, adopt + raw_params() + bytes(4) + b"more"),
        frame(0x11, adopt + raw_params() + b"\xff" * 4),
        frame(0x11, adopt + raw_params(target=b"\n") + bytes(4)))
    yield "set", frame_input(
        frame(0x12, struct.pack(">6I", 0xF003F, 0x0015, 65536, 0, 1, 2)),
        frame(0x12, struct.pack(">6I", 0x1, 0x2, 0, 0, 0, 0)),
        frame(0x12, struct.pack(">6I", 0x100, 0, 0, 0, 0, 0)),
        frame(0x12, struct.pack(">6I", 0x10000, 0, 1 << 24, 0, 0, 0)))
    yield "requests", frame_input(frame(0x13), frame(0x14), frame(0x16),
                                  frame(0x17), frame(0x17, tlv(0x8000)),
                                  frame(0x17, tlv(1)))
    yield "share", frame_input(frame(0x15, string(b"disk-2")),
                               frame(0x15, string(b"x" * 64)),
                               frame(0x15, string(b"a") + tlv(0x8002, b"z")))
    yield "state", frame_input(
        frame(0x50, raw_params(flags=0x1F15) +
              struct.pack(">II4QIIQ", 0, 10, 1, 2, 3, 4, 5, 6, 7) +
              string(b"127.0.0.1:40000") + string(b"127.0.0.1:3260")))
    yield "exported", frame_input(
        frame(0x51, raw_params() + struct.pack(">I", 48) + bytes(48),
              FLAG_FD), frame(0x51, raw_params() + b"\0\0\0\1ab"))
    yield "tag", frame_input(frame(0x52, b"\0\0\0\7"), frame(0x52, b"\0"))
    options = (tlv(1, b"\0\0\x27\x10"), tlv(2, b"\2"), tlv(3), DIGESTS)
    yield "submit-options", frame_input(
        submit(b"", FLAG_TLV, b"".join(options)),
        submit(b"abc", FLAG_TLV, tlv(0x8003, b"x") + tlv(2, b"\3")),
        *(submit(b"", FLAG_TLV, option) for option in options))
    yield "submit-options-wrong", frame_input(
        *(submit(b"", FLAG_TLV, option) for option in (
            tlv(1, b"\0"), tlv(2, b"\0"), tlv(2, b"\4"), tlv(3, b"x"),
            tlv(4, b"\4" + bytes(8)), tlv(4, b"\1"), tlv(5), tlv(3) * 2,
            tlv(2, b"\1")[:3])))


def inputs():
    for name, data in pdu_inputs():
        yield "pdu/" + name, data
    for part in (client_inputs, daemon_inputs, raw_inputs):
        for name, data in part():
            yield "frame/" + name, data


def main():
    args = sys.argv[1:]
    check = "--check" in args
    args = [arg for arg in args if arg != "--check"]
    top = pathlib.Path(args[0] if args else
                       pathlib.Path(__file__).with_name("corpus"))
    wrong = 0
    for name, data in inputs():
        path = top / name
        if not check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        elif not path.exists() or path.read_bytes() != data:
            print(f"{name}: not as make_corpus.py writes it")
            wrong = 1
    return wrong


if __name__ == "__main__":
    sys.exit(main())
