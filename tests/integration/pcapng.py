# SPDX-License-Identifier: ISC
"""Traces: begun over the control socket or by iscsimuxctl, read by tshark.

capture() has iscsimuxctl write a file; Capture.finish() ends it and gives its
packets as tshark dissects them, a dictionary of fields each.
"""

import collections
import re
import signal
import socket
import struct

from harness import (Process, check, check_equal, defer, installed, program,
                     run, tmp)

# What is asked of tshark for every packet.
FIELDS = """frame.number frame.len frame.cap_len frame.comment
frame.interface_name frame.packet_flags_direction frame.drop_count
exported_pdu.ipv4_src exported_pdu.ipv4_dst exported_pdu.ipv6_src
exported_pdu.ipv6_dst exported_pdu.src_port exported_pdu.dst_port
iscsi.opcode iscsi.initiatortasktag iscsi.request_frame iscsi.cmdsn
iscsi.statsn iscsi.datasegmentlength iscsi.headerdigest32
iscsi.datadigest32 iscsi.keyvalue scsi_sbc.opcode scsi.lun
_ws.malformed""".split()
OUT, IN = "0x00000002", "0x00000001"
BIG = ("-o", "iscsi.bogus_pdu_max_data_len:16777215")
# Wireshark takes no PDU with more than 256 KiB of data for one by itself.


def dissect(path, *options):
    """The packets of a file as dictionaries of FIELDS, as text."""
    args = [installed("tshark"), "-n", *BIG, *options, "-r", path, "-T",
            "fields", "-E", "separator=\t", "-E", "occurrence=a", "-E",
            "aggregator=;"]
    for field in FIELDS:
        args += ["-e", field]
    done = run(args)
    for line in done.stderr.splitlines():
        check("Running as user" in line or not line.strip(),
              f"tshark says {line!r}")
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    return [dict(zip(FIELDS, row)) for row in rows]


def details(path, *options):
    """All that tshark has to say of a file."""
    return run([installed("tshark"), "-n", *BIG, *options, "-r", path,
                "-V"]).stdout


class Capture(Process):
    """iscsimuxctl trace, which has begun."""

    def __init__(self, daemon, *options, path=None):
        self.path = path or tmp("trace.pcapng")
        self.daemon = daemon
        before = len(self.traces())
        super().__init__([program("ISCSIMUXCTL"), "trace", "-w", self.path,
                          *options], "iscsimuxctl", daemon.client_env())
        self.daemon.wait_call(lambda told: len(told["traces"]) > before,
                              "the trace to begin", "trace.list")

    def traces(self):
        """trace.list."""
        return self.daemon.call("trace.list")["traces"]

    def finish(self, number=signal.SIGINT, dropped=0):
        """Ends it; returns its packets by tshark."""
        self.signal(number)
        self.expect_exit(0)
        told = re.search(r"^(\d+) packets, (\d+) dropped$", self.log(), re.M)
        check(told, f"iscsimuxctl says {self.log()!r}")
        check_equal(int(told[2]), dropped, "dropped packets")
        packets = dissect(self.path)
        check_equal(len(packets), int(told[1]), "packets in the file")
        return packets


def stream(control, **params):
    """Begins a trace over a control connection; its id and the socket."""
    ours, theirs = socket.socketpair()
    defer(ours.close)
    with theirs:
        told = control.call_with_fds([theirs.fileno()], "trace.start",
                                     **params)
    return told["id"], ours


Block = collections.namedtuple("Block", "kind body options")
FIXED = {0x0a0d0d0a: 16, 1: 8, 5: 12}


def _options(raw):
    found = {}
    while len(raw) >= 4:
        code, length = struct.unpack_from("<HH", raw)
        if code == 0:
            break
        found[code] = raw[4:4 + length]
        raw = raw[4 + (length + 3 & ~3):]
    return found


def blocks(raw):
    """The blocks of a stream, which must be whole."""
    found = []
    while raw:
        kind, length = struct.unpack_from("<II", raw)
        check(len(raw) >= length, "the last block is not whole")
        check_equal(struct.unpack_from("<I", raw, length - 4)[0], length,
                    "length at the end of a block")
        body = raw[8:length - 4]
        skip = FIXED.get(kind)
        if kind == 6:
            skip = 20 + (struct.unpack_from("<I", body, 12)[0] + 3 & ~3)
        found.append(Block(kind, body, _options(body[skip:])))
        raw = raw[length:]
    return found


def number(block, code):
    """A 64-bit option, 0 if it is not there."""
    return int.from_bytes(block.options.get(code, b""), "little")
