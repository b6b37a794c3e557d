#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Traces: tshark dissects every PDU, with the name of the client it belongs to;
a reader who does not keep up loses packets and disturbs nobody; and the debug
log and the static probes tell of the same PDUs."""

import json
import os
import pty
import re
import signal
import socket
import struct
import subprocess
import time

import pcapng
from harness import (PATIENCE, Process, check, check_equal, defer, installed,
                     main, program, run, split_portal, test, tmp,
                     wait_until)
from iscsimuxd import Daemon, RpcError, session
from muxclient import READ, Mux, command
from muxrig import Rig
from pcapng import IN, OUT, Capture, blocks, details, dissect, stream
from scripted import Scripted
from target_client import Target

INQUIRY = bytes([0x12, 0, 0, 0, 96, 0])
DIGESTS = {"header_digest": ["CRC32C"], "data_digest": ["CRC32C"]}
DIGEST_OPTIONS = ("--header-digest", "crc32c", "--data-digest", "crc32c")


def work(rig, names, blocks_of_each=64):
    """Clients of these names write and read back what they wrote."""
    clients = [rig.mux(name=name) for name in names]
    for index, mux in enumerate(clients):
        data = bytes([index + 1]) * 512 * blocks_of_each
        mux.write(index * 1000, data)
        check_equal(mux.read(index * 1000, blocks_of_each), data, "data")
        mux.run(command(mux.itt(), INQUIRY, 96, READ)).good()
    return clients


def check_packets(packets, local, peer):
    """Every packet is an iSCSI PDU, whole, from one end to the other."""
    for packet in packets:
        opcode = int(packet["iscsi.opcode"].split(";")[0], 16)
        inbound = bool(opcode & 0x20)
        check_equal(packet["_ws.malformed"], "", f"malformed: {packet}")
        check_equal(packet["frame.packet_flags_direction"],
                    IN if inbound else OUT, f"direction of {packet}")
        family = "ipv6" if ":" in local[0] else "ipv4"
        ends = [(packet[f"exported_pdu.{family}_{end}"],
                 int(packet[f"exported_pdu.{end}_port"]))
                for end in ("src", "dst")]
        check_equal(ends, [peer, local] if inbound else [local, peer],
                    f"ends of {packet}")


def check_matched(packets):
    """Responses and data are matched to the command with their tag."""
    commands = {}
    matched = 0
    for packet in packets:
        opcode = int(packet["iscsi.opcode"].split(";")[0], 16)
        tag = packet["iscsi.initiatortasktag"]
        if opcode == 1:
            check(packet["scsi_sbc.opcode"], f"no CDB in {packet}")
            commands[tag] = packet["frame.number"]
        elif opcode in (0x05, 0x21, 0x25) and tag in commands:
            check_equal(packet["iscsi.request_frame"], commands[tag],
                        f"request of {packet}")
            matched += 1
    return matched


def without_nops(packets):
    """The packets that are no NOP: the daemon has its own."""
    return [packet for packet in packets
            if packet["iscsi.opcode"] not in ("0x00", "0x20")]


def session_ends(rig):
    """Local and peer address of the session."""
    shown = rig.show()
    return split_portal(shown["local"]), split_portal(shown["peer"])


def pdus(rig):
    """PDUs of the session so far."""
    stats = rig.stats()
    return stats["pdus_in"] + stats["pdus_out"]


# --- what is in a trace

@test("every PDU is dissected, matched, and has its client's name")
def every_pdu():
    names = ["backup", "b\u00e4r", "three"]
    rig = Rig(*DIGEST_OPTIONS, session_keys=DIGESTS)
    capture = Capture(rig.daemon)
    before = pdus(rig)
    clients = work(rig, names)
    rig.wait_idle()
    total = pdus(rig) - before
    packets = capture.finish()
    check(total <= len(packets) <= pdus(rig) - before,
          f"{len(packets)} packets of {total} PDUs")
    check_packets(packets, *session_ends(rig))
    check(check_matched(packets) >= 3 * len(names), "too few matches")
    pid = os.getpid()
    comments = [packet["frame.comment"] for packet in without_nops(packets)]
    wanted = [f"client {name} (pid {pid})" for name in names]
    check_equal(list(dict.fromkeys(comments)), wanted, "comments, in order")
    check_equal({packet["frame.interface_name"] for packet in packets},
                {"ram"}, "interfaces")
    operations = {code for packet in packets
                  for code in packet["scsi_sbc.opcode"].split(";") if code}
    check_equal(operations, {"0x12", "0x88", "0x8a"}, "CDBs")
    for packet in packets:
        check(packet["iscsi.headerdigest32"], f"no header digest: {packet}")
        if int(packet["iscsi.datasegmentlength"], 0) > 0:
            check(packet["iscsi.datadigest32"], f"no data digest: {packet}")
    text = details(capture.path)
    check("Bad CRC32" not in text, "tshark finds a bad digest")
    check(text.count("Good CRC32") >= len(packets), "digests not checked")
    for mux in clients:
        mux.close()


@test("a login is in the trace, and what the daemon itself says")
def login_is_traced():
    rig = Rig()
    capture = Capture(rig.daemon)
    logins = rig.stats()["logins"]
    rig.order("drop")
    rig.daemon.wait_call(
        lambda told: told["sessions"]["ram"]["logins"] > logins,
        "another login", "stats.get")
    rig.order("ping")
    rig.daemon.wait_call(
        lambda told: told["traces"][0]["packets"] >= 6, "six packets",
        "trace.list")
    packets = capture.finish()
    opcodes = [packet["iscsi.opcode"] for packet in packets]
    check_equal(opcodes, ["0x03", "0x23"] * 2 + ["0x20", "0x00"], "opcodes")
    check_packets(packets, *session_ends(rig))
    check("InitiatorName=" in packets[0]["iscsi.keyvalue"], "no login keys")
    check_equal({packet["frame.comment"] for packet in packets}, {""},
                "comments")


def answer_login(peer, request, text):
    """A Login Response of the security stage with this text."""
    header = bytearray(48)
    header[0] = 0x23
    header[5:8] = len(text).to_bytes(3, "big")
    header[8:14] = request.bhs[8:14]
    struct.pack_into(">IIIII", header, 16, request.itt, 0, peer.statsn, 1, 32)
    peer.statsn += 1
    peer.socket.sendall(bytes(header) + text + bytes(-len(text) % 4))


@test("secrets of a login are masked, their length is kept")
def secrets():
    target = Scripted()
    daemon = Daemon(session("disk", target.portal, target.iqn,
                            reconnect_interval="100ms"), log_level="debug")
    peer = target.accept()
    request = peer.receive(3)
    capture = Capture(daemon)
    secret = b"0xSecretChallenge"
    text = b"CHAP_A=5\0CHAP_I=7\0CHAP_C=" + secret + b"\0CHAP_R=geheim\0"
    answer_login(peer, request, text)
    daemon.wait_call(lambda told: told["traces"][0]["packets"] > 0,
                     "a packet", "trace.list")
    capture.finish()
    with open(capture.path, "rb") as file:
        raw = file.read()
    check(b"Secret" not in raw and b"geheim" not in raw,
          "a secret is in the trace")
    masked = text.replace(secret, b"x" * len(secret))
    check(masked.replace(b"geheim", b"xxxxxx") in raw,
          "the rest of the text is not")
    check("Secret" not in daemon.log() and "geheim" not in daemon.log(),
          "a secret is in the log")


@test("headers alone: the file stays small, the lengths are the true ones")
def headers():
    rig = Rig(*DIGEST_OPTIONS, session_keys=DIGESTS)
    capture = Capture(rig.daemon, "--headers")
    whole = Capture(rig.daemon)
    work(rig, ["one"])
    packets = capture.finish()
    full = whole.finish()
    check_equal([packet["frame.len"] for packet in packets],
                [packet["frame.len"] for packet in full], "true lengths")
    check_equal({packet["frame.cap_len"] for packet in packets},
                {str(56 + 48 + 4)}, "captured lengths")
    check_matched(packets)
    check(all(packet["iscsi.headerdigest32"] for packet in packets),
          "no header digests")


@test("PDUs longer than a packet may be are cut, and the file is read whole")
def big_data():
    rig = Rig("--max-burst", "4M", session_keys={
        "max_recv_data_segment_length": "1M", "max_burst_length": "4M"})
    capture = Capture(rig.daemon)
    mux = rig.mux(name="big")
    mux.write(0, b"b" * (3 << 20))
    check_equal(mux.read(0, 6144), b"b" * (3 << 20), "data")
    packets = capture.finish()
    check_packets(packets, *session_ends(rig))
    check_matched(packets)
    longest = max(packets, key=lambda packet: int(packet["frame.len"]))
    check_equal((longest["frame.len"], longest["frame.cap_len"]),
                (str(56 + 48 + (1 << 20)), "262144"), "longest packet")


@test("a session over IPv6")
def ipv6():
    rig = Rig("--portal", "[::1]:0")
    capture = Capture(rig.daemon)
    work(rig, ["six"])
    packets = capture.finish()
    check_packets(packets, *session_ends(rig))
    check_equal(packets[0]["exported_pdu.ipv6_src"], "::1", "source")
    check(check_matched(packets) > 0, "nothing is matched")


@test("-s: one session of two; and there must be such a session")
def one_session():
    targets = [Target(), Target()]
    daemon = Daemon(*(session(name, target.portals[0], target.iqn)
                      for name, target in zip(("a", "b"), targets)))
    for name in "a", "b":
        daemon.wait_up(name)
    one = Capture(daemon, "-s", "b")
    both = Capture(daemon)
    for name in "a", "b":
        Mux(daemon, name, name=f"of-{name}").works()
    packets = one.finish()
    check_equal({(packet["frame.interface_name"],
                  packet["frame.comment"].split()[1]) for packet in packets},
                {("b", "of-b")}, "whose packets")
    packets = both.finish(signal.SIGTERM)
    check_equal({packet["frame.interface_name"] for packet in packets},
                {"a", "b"}, "interfaces")
    done = daemon.iscsimuxctl("trace", "-w", tmp("x"), "-s", "c",
                              check_status=1)
    check('no session "c"' in done.stderr, f"it says {done.stderr!r}")


# --- readers

@test("a reader who does not read loses packets and disturbs nobody")
def slow_reader():
    rig = Rig()
    control = rig.daemon.control()
    number, reader = stream(control)
    mux = rig.mux(name="busy")
    data = os.urandom(1 << 20)
    for _ in range(12):
        mux.write(0, data)
        check_equal(mux.read(0, 2048), data, "data")
    told = control.call("trace.list")["traces"]
    check_equal([each["id"] for each in told], [number], "traces")
    check(told[0]["dropped"] > 0 and told[0]["packets"] > 0,
          f"nothing was dropped: {told}")
    stats = control.call("stats.get")
    check_equal(stats["worker"]["trace"],
                {"running": 1, "packets": told[0]["packets"],
                 "dropped": told[0]["dropped"]}, "stats.get")
    check_equal(stats["sessions"]["ram"]["downs"], 0, "times it was down")

    raw = bytearray()
    reader.settimeout(30 * PATIENCE)
    while len(raw) < told[0]["unread_bytes"]:
        raw += reader.recv(1 << 20)
    wait_until(lambda: control.call("trace.list")["traces"][0]
               ["unread_bytes"] == 0, "the buffer to be empty")
    mux.works()
    stopped = control.call("trace.stop", id=number)
    while more := reader.recv(1 << 20):
        raw += more
    check_equal(stopped["dropped"], told[0]["dropped"], "dropped")
    path = tmp("slow.pcapng")
    with open(path, "wb") as file:
        file.write(raw)
    packets = dissect(path)
    check_equal(len(packets), stopped["packets"], "packets in the file")
    counts = [int(packet["frame.drop_count"] or 0) for packet in packets]
    check_equal(sum(counts), stopped["dropped"], "drop counts in the file")
    last = blocks(bytes(raw))[-1]
    check_equal((last.kind, pcapng.number(last, 5)),
                (5, stopped["dropped"]), "statistics at the end")
    check_equal(control.call("trace.list"), {"traces": []}, "traces")


@test("a trace ends when its reader goes, or the daemon")
def ends():
    rig = Rig()
    control = rig.daemon.control()
    _, reader = stream(control)
    reader.close()
    wait_until(lambda: not control.call("trace.list")["traces"],
               "the trace to end")
    capture = Capture(rig.daemon)
    local, peer = session_ends(rig)
    work(rig, ["last"])
    rig.daemon.stop()
    capture.expect_exit(1)
    check("the daemon ended the trace" in capture.log(), "it does not say")
    packets = dissect(capture.path)
    check_equal(packets[-1]["iscsi.opcode"], "0x26", "the last PDU")
    check_packets(packets, local, peer)


@test("a pipe into tshark, live")
def live():
    rig = Rig()
    for options in ((), ("-w", "-")):
        tshark = installed("tshark")
        trace = Process([program("ISCSIMUXCTL"), "trace", *options],
                        env=rig.daemon.client_env(), stdout=subprocess.PIPE)
        reader = Process([tshark, "-n", "-l", "-i", "-", "-c", "8", "-T",
                          "fields", "-e", "iscsi.opcode", "-e",
                          "frame.comment"], stdin=trace.popen.stdout)
        trace.popen.stdout.close()
        rig.daemon.wait_call(lambda told: told["traces"], "a trace",
                             "trace.list")
        mux = rig.mux(name="live")
        end = time.monotonic() + 60 * PATIENCE
        while reader.alive():
            check(time.monotonic() < end, "tshark sees nothing")
            mux.works()
        reader.expect_exit(0)
        check_equal(reader.log().count("\tclient live"), 8, "packets seen")
        # tshark is gone, and that is noticed without a packet.
        trace.expect_exit(1)
        check("nobody reads it" in trace.log() or "Broken pipe" in
              trace.log(), f"it says {trace.log()!r}")
        wait_until(lambda: not rig.daemon.call("trace.list")["traces"],
                   "the trace to end")
        mux.close()


@test("what can not be written ends the trace with status 1")
def cannot_write():
    rig = Rig()
    full = Process([program("ISCSIMUXCTL"), "trace", "-w", "/dev/full"],
                   env=rig.daemon.client_env())
    full.expect_exit(1)
    check("/dev/full: No space left on device" in full.log(),
          f"it says {full.log()!r}")
    done = rig.daemon.iscsimuxctl("trace", "-w", "/nowhere/x", check_status=1)
    check("/nowhere/x: No such file" in done.stderr, done.stderr)
    wait_until(lambda: not rig.daemon.call("trace.list")["traces"],
               "the trace to end")


@test("a stuck reader of the pipe does not hold the end of the trace up")
def stuck_output():
    rig = Rig()
    ours, theirs = os.pipe()
    defer(lambda: os.close(ours))
    trace = Process([program("ISCSIMUXCTL"), "trace"],
                    env=rig.daemon.client_env(), stdout=theirs)
    os.close(theirs)
    rig.daemon.wait_call(lambda told: told["traces"], "a trace", "trace.list")
    mux = rig.mux(name="x")
    mux.write(0, bytes(1 << 20))
    trace.signal(signal.SIGINT)
    rig.daemon.wait_call(lambda told: not told["traces"] or
                         told["traces"][0]["stopped"], "the trace to stop",
                         "trace.list")
    check(trace.alive(), "the rest was not waited for")
    trace.signal(signal.SIGINT)
    trace.expect_exit(1)
    check("interrupted" in trace.log(), f"it says {trace.log()!r}")


@test("not to a terminal; and the usage errors")
def usage():
    rig = Rig()
    ours, theirs = pty.openpty()
    defer(lambda: os.close(ours))
    defer(lambda: os.close(theirs))
    for options in ((), ("-w", "-")):
        done = rig.daemon.iscsimuxctl("trace", *options, check_status=2,
                                      capture_output=False, stdout=theirs,
                                      stderr=subprocess.PIPE)
        check("-w" in done.stderr and "wireshark" in done.stderr,
              f"it says {done.stderr!r}")
    for args in (("trace", "x"), ("info", "-w", "x"), ("stats", "--headers"),
                 ("trace", "list", "-s", "ram"), ("trace", "-w")):
        rig.daemon.iscsimuxctl(*args, check_status=2)
    done = rig.daemon.iscsimuxctl("trace", "list")
    check("no traces" in done.stdout, f"it says {done.stdout!r}")
    _, reader = stream(rig.daemon.control(), session="ram", headers=True)
    done = rig.daemon.iscsimuxctl("trace", "list")
    check(re.search(r"^ *1 +ram +0 +0 +\d+ +headers$", done.stdout, re.M),
          f"it says {done.stdout!r}")
    told = json.loads(rig.daemon.iscsimuxctl("-j", "trace", "list").stdout)
    check_equal(told["traces"][0]["session"], "ram", "session")
    reader.close()


@test("what is no UNIX stream socket is refused; a file could block")
def no_files():
    rig = Rig()
    control = rig.daemon.control()
    with open("/dev/null", "wb") as null, socket.socket() as tcp:
        for fds in ([], [null.fileno()], [tcp.fileno()],
                    [null.fileno(), null.fileno()]):
            try:
                control.call_with_fds(fds, "trace.start")
                check(False, f"{len(fds)} descriptors were taken")
            except RpcError as error:
                check_equal(error.code, -32600, "code")
    check_equal(control.call("trace.list"), {"traces": []}, "traces")


# --- the other two hooks

LINE = re.compile(r"ram: (sent|received) ([A-Za-z -]+), "
                  r"ITT 0x([0-9a-f]{8})(?:, (CmdSN|StatSN) (\d+))?, "
                  r"(\d+) bytes(?:, client (\S+) \(pid (\d+)\))?$", re.M)


@test("the debug log has a line for every PDU, with the same numbers")
def debug_log():
    rig = Rig()
    rig.daemon.iscsimux("inquiry", "ram/0")
    check(not LINE.search(rig.daemon.log()), "PDUs in the log by default")
    rig.daemon.call("log.set", level="debug")
    capture = Capture(rig.daemon)
    work(rig, ["logged"])
    rig.wait_idle()
    rig.daemon.call("log.set", level="info")
    packets = capture.finish()
    names = {"SCSI Command": "0x01", "SCSI Data-Out": "0x05",
             "SCSI Response": "0x21", "SCSI Data-In": "0x25",
             "Ready To Transfer": "0x31"}
    lines = [match.groups() for match in LINE.finditer(rig.daemon.log())
             if not match[2].startswith("NOP")]
    packets = without_nops(packets)
    check_equal(len(lines), len(packets), "lines, as packets")
    for line, packet in zip(lines, packets):
        way, name, itt, what, sn, length, client, pid = line
        check_equal((way, names[name], itt, int(length), client, pid),
                    ("sent" if packet["frame.packet_flags_direction"] == OUT
                     else "received", packet["iscsi.opcode"].split(";")[0],
                     packet["iscsi.initiatortasktag"][2:],
                     int(packet["iscsi.datasegmentlength"], 0), "logged",
                     str(os.getpid())), f"{line} and {packet}")
        if what:
            field = "iscsi.cmdsn" if what == "CmdSN" else "iscsi.statsn"
            check_equal(int(sn), int(packet[field], 0), f"{what} of {line}")
    check({line[3] for line in lines} == {"CmdSN", "StatSN", None},
          "not all kinds of numbers")


@test("the static probes are there, with five arguments each")
def probes():
    with open(os.path.join(os.environ["TEST_HELPERS"], "..", "config.h"),
              encoding="utf-8") as file:
        built = "#define HAVE_SDT 1" in file.read()
    notes = run([installed("readelf"), "-n", program("ISCSIMUXD")]).stdout
    found = re.findall(r"Provider: iscsimuxd\s+Name: (\S+)\s+Location: \S+ "
                       r"Base: \S+ Semaphore: 0x0+\s+Arguments: (.+)", notes)
    wanted = ["pdu__receive", "pdu__send"] if built else []
    check_equal(sorted({name for name, _ in found}), wanted, "probes")
    for name, arguments in found:
        check_equal(len(arguments.split()), 5, f"arguments of {name}")


main()
