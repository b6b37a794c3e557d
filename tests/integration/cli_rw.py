#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""iscsimux read and write: data, files, pipes, limits, interruptions."""

import fcntl
import json
import os
import pty
import random
import re
import signal
import struct
import subprocess
import termios

from harness import (TIMEOUT, check, check_equal, main, program, scaled,
                     shared, test, tmp, wait_until)
from iscsimuxd import Daemon, session
from targets import RamTarget, Tgt
from target_client import Session, Target, write10

SIZE = 8 << 20
FAST = {"reconnect_interval": "100ms", "default_time2wait": "0s"}


@shared
def setup():
    """A daemon with a disk of each block length."""
    small = RamTarget("--size", SIZE, "--luns", 2)
    large = RamTarget("--size", SIZE, "--block-size", 4096)
    daemon = Daemon(session("disk", small.portals[0], small.iqn),
                    session("big", large.portals[0], large.iqn))
    daemon.wait_up("disk")
    daemon.wait_up("big")
    return daemon


def faulty(*args):
    """A target that takes orders and a daemon that is logged in to it."""
    target = Target("--size", SIZE, *args)
    daemon = Daemon(session("disk", target.portals[0], target.iqn, **FAST))
    daemon.wait_up("disk")
    return target, daemon


def held(target, count):
    """Waits until the target holds so many commands."""
    def ready():
        told = target.order("sessions")["sessions"]
        return bool(told) and told[0]["tasks"] == count
    wait_until(ready, f"{count} commands at the target")


def pipe_full(client):
    """Waits until nobody can write to the client's standard output."""
    def full():
        here = fcntl.ioctl(client.popen.stdout, termios.FIONREAD, bytes(4))
        return struct.unpack("i", here)[0] >= 65536
    wait_until(full, "a full pipe")


def read_held(target, daemon, *args):
    """A read of 4 KiB each, 8 of which the target holds, and what came first.

    READ CAPACITY would be held like any read, so the client first fills its
    pipe and then gets room for eight more.
    """
    def answers():
        told = target.order("sessions")["sessions"]
        return told[0]["pdus_out"].get("25", 0)
    before = answers()
    client = daemon.start_iscsimux("read", "disk", "-b", "4K", "-q", 8, *args,
                                   stdout=subprocess.PIPE)
    wait_until(lambda: answers() == before + 1 + 16 + 8,
               "answers for the pipe and the queue")
    pipe_full(client)
    target.order("hold reads")
    first = client.popen.stdout.read(32768)
    held(target, 8)
    return client, first


def noise(size, seed=1):
    """Bytes that repeat nowhere."""
    return random.Random(seed).randbytes(size)


def file_of(data):
    """The path of a new file with these bytes."""
    path = tmp("data")
    with open(path, "wb") as file:
        file.write(data)
    return path


def content(path):
    """All bytes of a file."""
    with open(path, "rb") as file:
        return file.read()


def fails(daemon, status, pattern, *args, **options):
    """Runs the client, which must fail so and say so."""
    done = daemon.iscsimux(*args, check_status=status, **options)
    error = done.stderr
    if isinstance(error, bytes):
        error = error.decode()
    check(re.search(pattern, error), f"stderr lacks {pattern!r}: {error!r}")
    return done


@test("what was written is read back: files, both block lengths")
def files():
    daemon = setup()
    data = noise(scaled(SIZE, 65536, 4096))
    source, copy = file_of(data), tmp("copy")
    for name in ("disk", "big"):
        done = daemon.iscsimux("write", name, source)
        check(re.match(rf"{len(data)} bytes \(.*\) written in .*/s\n$",
                       done.stdout), done.stdout)
        done = daemon.iscsimux("read", name, "-l", len(data), copy)
        check(re.match(rf"{len(data)} bytes \(.*\) read in .*/s\n$",
                       done.stdout), done.stdout)
        check(content(copy) == data, f"{name}: other data")


@test("pipes at both ends, odd pieces, one block to many, LUN 1")
def pipes():
    daemon = setup()
    for size in (512, 65536, 65536 + 512, 1 << 20):
        data = noise(size, size)
        daemon.iscsimux("write", "disk/1", "-", input=data, text=False)
        done = daemon.iscsimux("read", "disk/1", "--length", size, text=False)
        check(done.stdout == data, f"{size} bytes: other data")
        check_equal(done.stderr.decode().split()[0], str(size), "stderr")


@test("a pipe that gives a few bytes at a time is written in whole blocks")
def trickle():
    daemon = setup()
    data = noise(3 * 4096)
    client = daemon.start_iscsimux("write", "big", stdin=subprocess.PIPE)
    for at in range(0, len(data), 1000):
        client.popen.stdin.write(data[at:at + 1000])
        client.popen.stdin.flush()
    client.popen.stdin.close()
    client.expect_exit(0)
    check(daemon.iscsimux("read", "big", "-l", "12K",
                          text=False).stdout == data, "other data")


@test("--offset and --length in bytes, with suffixes; all else stays")
def extents():
    daemon = setup()
    whole = bytearray(noise(SIZE))
    daemon.iscsimux("write", "disk", file_of(whole))
    for offset, size in ((512, 512), (65536 - 512, 1024), (SIZE - 512, 512),
                         (1 << 20, 300 * 512)):
        piece = noise(size, offset)
        whole[offset:offset + size] = piece
        daemon.iscsimux("write", "disk", "-o", offset, file_of(piece))
        check(daemon.iscsimux("read", "disk", "-o", offset, "-l", size,
                              text=False).stdout == piece, f"at {offset}")
    check(daemon.iscsimux("read", "disk", text=False).stdout == whole,
          "the rest changed")
    done = daemon.iscsimux("read", "disk", "-o", "1m", "-l", "2K", text=False)
    check(done.stdout == whole[1 << 20:(1 << 20) + 2048], "suffixes")
    daemon.iscsimux("write", "disk", "-o", "4K", "-l", "1K",
                    file_of(noise(8192)))
    whole[4096:5120] = noise(8192)[:1024]
    check(daemon.iscsimux("read", "disk", "-l", "16K", text=False).stdout ==
          whole[:16384], "--length of a longer input")


@test("any chunk and queue depth gives the same data")
def shapes():
    daemon = setup()
    data = noise(100 * 512)
    for chunk, depth in ((512, 1), (512, 1024), ("3K", 7), ("16M", 1)):
        daemon.iscsimux("write", "disk", "-b", chunk, "-q", depth,
                        file_of(data))
        daemon.iscsimux("write", "disk", "-o", "1M", "-b", chunk, "-q", depth,
                        file_of(data[::-1]))
        done = daemon.iscsimux("read", "disk", "-l", len(data), "-b", chunk,
                               "-q", depth, text=False)
        check(done.stdout == data, f"chunk {chunk}, queue depth {depth}")


@test("every way to send data: InitialR2T, ImmediateData, short bursts")
def bursts():
    data = noise(300 * 1024)
    for r2t in ("yes", "no"):
        for immediate in ("yes", "no"):
            target = RamTarget("--initial-r2t", r2t, "--immediate-data",
                               immediate, "--max-recv-dsl", 4096,
                               "--max-burst", 16384, "--first-burst", 8192)
            daemon = Daemon(session("disk", target.portals[0], target.iqn,
                                    header_digest="CRC32C",
                                    data_digest="CRC32C"))
            daemon.iscsimux("write", "disk", "--verify", file_of(data))
            check(daemon.iscsimux("read", "disk", "-l", len(data),
                                  text=False).stdout == data,
                  f"InitialR2T={r2t} ImmediateData={immediate}")


@test("nothing to do is no failure; JSON has the numbers")
def numbers():
    daemon = setup()
    done = daemon.iscsimux("write", "disk", file_of(b""), "--json")
    check_equal(json.loads(done.stdout)["bytes"], 0, "bytes")
    daemon.iscsimux("write", "disk", input="")
    daemon.iscsimux("read", "disk", "-o", SIZE)
    daemon.iscsimux("read", "disk", "-l", 0)
    told = json.loads(daemon.iscsimux("write", "disk", "-w", "-o", "1K", "-j",
                                      file_of(bytes(4096))).stdout)
    check_equal((told["bytes"], told["offset"], told["block_length"],
                 told["verified"]), (4096, 1024, 512, True), "JSON")
    check(told["seconds"] > 0 and told["bytes_per_second"] > 0, "no rate")
    done = daemon.iscsimux("read", "disk", "-l", "1K", "-j", text=False)
    check_equal(len(done.stdout), 1024, "data on standard output")
    check_equal(json.loads(done.stderr)["bytes"], 1024, "JSON beside it")


@test("unaligned or oversized: refused before anything is written")
def refused():
    daemon = setup()
    daemon.iscsimux("write", "big", file_of(bytes(SIZE)))
    short, long = file_of(noise(4096 + 512)), file_of(noise(SIZE + 4096))
    some = file_of(noise(4096))
    for status, pattern, args in (
            (2, "--offset 512 is no multiple of the block length, 4096",
             ("-o", 512, some)),
            (2, "--length 1 is no multiple", ("-l", 1, some)),
            (2, "--chunk 512 is no multiple", ("-b", 512, some)),
            (2, "--offset 9437184 is beyond the end", ("-o", "9M", some)),
            (2, "--offset plus --length 8392704 is beyond the end",
             ("-o", "4K", "-l", "8M", some)),
            (1, "the input has 4608 bytes, which is no multiple", (short,)),
            (1, "the input has 8392704 bytes, but", (long,)),
            (1, "the input has 4096 bytes, but .* there are 0",
             ("-o", "8M", some)),
            (1, "the input has only 4096 of the 8192 bytes",
             ("-l", "8K", some)),
            (1, "Is a directory", ("/",)),
            (1, "No such file", ("/nonexistent",))):
        done = fails(daemon, status, pattern, "write", "big", "-v", *args)
        check("Write(16)" not in done.stderr, f"{args}: a PDU went out")
    with open(short, "rb") as file:
        file.seek(512)
        daemon.iscsimux("write", "big", stdin=file)
        file.seek(1024)
        fails(daemon, 1, "the input has 3584 bytes", "write", "big",
              stdin=file)
    for args in (("-o", "8M", "-l", "4K"), ("-l", "8193K"), ("-o", "1K")):
        copy = tmp("copy")
        done = fails(daemon, 2, "beyond the end|no multiple", "read", "big",
                     *args, copy)
        check(not os.path.exists(copy), f"{args}: the file was made")
    done = daemon.iscsimux("read", "big", "-o", "4K", text=False)
    check(done.stdout == bytes(SIZE - 4096), "something was written")


@test("a pipe that ends within a block, early, or too late")
def pipe_ends():
    daemon = setup()
    data = noise(70000)
    done = fails(daemon, 1, r"its last 368 bytes were not written, 69632 "
                 r"bytes \(68 KiB\) were", "write", "disk", "-j", input=data,
                 text=False)
    check_equal(json.loads(done.stdout)["rest"], 368, "rest in JSON")
    check(daemon.iscsimux("read", "disk", "-l", 69632, text=False).stdout ==
          data[:69632], "the whole blocks")
    fails(daemon, 1, r"ended too early: 1024 of 4096 bytes .*written",
          "write", "disk", "-l", "4K", input=data[:1024], text=False)
    fails(daemon, 1, r"larger than what is there .*: 1024 bytes .* written",
          "write", "disk", "-o", SIZE - 1024, input=data, text=False)
    check(daemon.iscsimux("read", "disk", "-o", SIZE - 1024,
                          text=False).stdout == data[:1024], "up to the end")
    daemon.iscsimux("write", "disk", "-o", SIZE - 1024, input=data[:1024],
                    text=False)
    daemon.iscsimux("write", "disk", "-l", "1K", input=data, text=False)


@test("--verify finds what differs")
def verify():
    target, daemon = faulty()
    daemon.iscsimux("write", "disk", "-w", file_of(noise(1 << 20)))
    client = daemon.start_iscsimux("write", "disk", "-w", "-v", "-l", "4K",
                                   stdin=subprocess.PIPE)
    client.wait_line("^<- SCSI Data-In")
    target.order("hold reads")
    client.popen.stdin.write(noise(4096))
    client.popen.stdin.close()
    held(target, 1)
    other = bytearray(noise(4096))
    other[1000] ^= 1
    with Session(target.portals[0], name="iqn.2026-01.org.example:other",
                 isid=0x800000000002) as writer:
        writer.good(writer.command(write10(0, 8), 4096, bytes(other)))
    target.order("release")
    client.expect_exit(1)
    check("first at offset 1000" in client.log(), client.log())


@test("an interrupted write finishes what is under way and says how far it "
      "came")
def write_interrupted():
    target, daemon = faulty()
    data = noise(1 << 20)
    target.order("hold writes")
    client = daemon.start_iscsimux("write", "disk", "-b", "4K", "-q", 4, "-o",
                                   "64K", file_of(data))
    held(target, 4)
    client.signal(signal.SIGINT)
    target.order("release")
    client.expect_exit(1)
    check("interrupted: 16384 of 1048576 bytes (16 KiB) written, in order "
          "from offset 65536" in client.log(), client.log())
    check(daemon.iscsimux("read", "disk", "-o", "64K", "-l", "20K",
                          text=False).stdout == data[:16384] + bytes(4096),
          "that is not what was written")


@test("interrupted twice it does not wait: status 4, the bytes in doubt")
def write_abandoned():
    target, daemon = faulty()
    target.order("hold writes")
    client = daemon.start_iscsimux("write", "disk", "-b", "4K", "-q", 4, "-j",
                                   file_of(noise(1 << 20)), stdout=None)
    held(target, 4)
    client.signal(signal.SIGINT)
    client.signal(signal.SIGTERM)
    client.expect_exit(4)
    check("interrupted: 0 of 1048576 bytes" in client.log(), client.log())
    check("16384 bytes from offset 0 to 16383" in client.log(), client.log())
    told = json.loads(client.log()[client.log().index("{"):
                                   client.log().rindex("}") + 1])
    check_equal(told["doubt"], {"offset": 0, "length": 16384}, "doubt")
    target.order("release")


@test("an interrupted read does not wait for the target and says how far it "
      "came")
def read_interrupted():
    target, daemon = faulty()
    data = noise(SIZE)
    daemon.iscsimux("write", "disk", file_of(data))
    client, first = read_held(target, daemon)
    client.signal(signal.SIGTERM)
    rest = client.popen.stdout.read()
    client.expect_exit(1)
    check(first + rest == data[:98304], "other data")
    check(f"interrupted: 98304 of {SIZE} bytes (96 KiB) read" in client.log(),
          client.log())


@test("a reader that stalls holds up nobody, and gets everything")
def slow_reader():
    daemon = setup()
    data = noise(2 << 20)
    daemon.iscsimux("write", "disk", file_of(data))
    client = daemon.start_iscsimux("read", "disk", "-l", "2M",
                                   stdout=subprocess.PIPE)
    pipe_full(client)
    daemon.iscsimux("capacity", "disk")
    check(client.popen.stdout.read() == data, "other data")
    client.expect_exit(0)


@test("an interrupt ends the wait for a reader, too")
def stalled_reader():
    daemon = setup()
    client = daemon.start_iscsimux("read", "disk", stdout=subprocess.PIPE)
    pipe_full(client)
    client.signal(signal.SIGINT)
    client.expect_exit(1)
    check(f"interrupted: 65536 of {SIZE} bytes" in client.log(), client.log())
    client.popen.stdout.close()


@test("an output that fails: status 1 and why")
def bad_output():
    daemon = setup()
    fails(daemon, 1, "cannot write the output: No space left", "read", "disk",
          "/dev/full")
    fails(daemon, 1, "No such file", "read", "disk", "/nonexistent/x")
    client = daemon.start_iscsimux("read", "disk", stdout=subprocess.PIPE)
    client.popen.stdout.close()
    client.expect_exit(1)
    check("cannot write the output: Broken pipe" in client.log(),
          client.log())


@test("the connection is lost under reads: they are sent again")
def read_again():
    target, daemon = faulty()
    data = noise(1 << 20)
    daemon.iscsimux("write", "disk", file_of(data))
    client, first = read_held(target, daemon, "-l", len(data), "-v")
    target.order("hold none")
    target.order("drop")
    check(first + client.popen.stdout.read() == data, "other data")
    client.expect_exit(0)
    check(re.search("event session-down", client.log()), client.log())


@test("the connection is lost under writes: status 4, the bytes in doubt")
def write_unknown():
    target, daemon = faulty()
    target.order("hold writes")
    client = daemon.start_iscsimux("write", "disk", "-b", "4K", "-q", 3, "-o",
                                   "8K", file_of(noise(1 << 20)))
    held(target, 3)
    target.order("drop")
    client.expect_exit(4)
    log = client.log()
    check("nobody knows whether all of the 12288 bytes from offset 8192 to "
          "20479 were written" in log, log)
    check("0 of 1048576 bytes written before that" in log, log)


@test("the connection is lost under writes behind the window: only those that "
      "were sent are in doubt")
def write_not_sent():
    target, daemon = faulty("--queue-depth", 2)
    target.order("hold writes")
    client = daemon.start_iscsimux("write", "disk", "-b", "4K", "-q", 8, "-j",
                                   file_of(noise(32768)))
    held(target, 2)
    target.order("drop")
    client.expect_exit(4)
    told = json.loads(client.log()[client.log().index("{"):
                                   client.log().rindex("}") + 1])
    check_equal(told["doubt"], {"offset": 0, "length": 8192}, "doubt")


@test("a session that is gone for good: status 1 after --timeout, with the "
      "reason")
def gone():
    target, daemon = faulty()
    client, _ = read_held(target, daemon, "-t", 1)
    target.order("refuse-login 3 1")
    target.order("drop")
    client.popen.stdout.read()
    client.expect_exit(1)
    log = client.log()
    check(re.search(r"session disk did not come up within 1 s: .*unavailable",
                    log), log)
    check(f"98304 of {SIZE} bytes (96 KiB) read before that" in log, log)


@test("a target that does not answer: status 1 for reads, 4 for writes")
def silent():
    target, daemon = faulty()
    target.order("hold all")
    fails(daemon, 1, "did not answer in time", "capacity", "disk", "-t", 1)
    target.order("release")
    target.order("hold writes")
    fails(daemon, 4, "did not answer in time", "write", "disk", "-t", 1,
          file_of(bytes(4096)))
    target.order("release")
    client, _ = read_held(target, daemon, "-t", 1)
    client.popen.stdout.read()
    client.expect_exit(1)
    check("read at offset 98304: the target did not answer in time" in
          client.log(), client.log())


@test("the daemon dies: status 4 for writes; reads wait for it, then status 3")
def daemon_dies():
    target, daemon = faulty()
    target.order("hold writes")
    client = daemon.start_iscsimux("write", "disk", "-b", "4K", "-q", 2,
                                   file_of(bytes(8192)))
    held(target, 2)
    daemon.crash()
    client.expect_exit(4)
    target, daemon = faulty()
    client, _ = read_held(target, daemon, "-t", 1)
    daemon.crash()
    client.popen.stdout.read()
    client.expect_exit(3)
    check("nobody listens" in client.log(), client.log())


@test("a unit attention is no failure")
def conditions():
    target, daemon = faulty()
    data = noise(1 << 20)
    for order in ("ua 0 0x29 0", "ua 0 0x2a 0x01"):
        target.order(order)
        daemon.iscsimux("write", "disk", file_of(data))
        target.order(order)
        check(daemon.iscsimux("read", "disk", "-l", "1M",
                              text=False).stdout == data, "other data")


@test("a command that is rejected: status 1 and why")
def rejected():
    target, daemon = faulty()
    path = file_of(bytes(4096))
    target.order("reject-next 1 0x09 consume")
    fails(daemon, 1, "iscsimux: .*invalid PDU field", "capacity", "disk")
    check_equal(daemon.iscsimux("write", "disk", path).stderr, "", "stderr")


def until(master, pattern):
    """What a terminal shows up to a match of the pattern."""
    seen = b""

    def matches():
        nonlocal seen
        try:
            seen += os.read(master, 65536)
        except BlockingIOError:
            pass
        return re.search(pattern, seen)
    wait_until(matches, f"{pattern!r} on the terminal", TIMEOUT)
    return seen


@test("on a terminal it shows progress and rate, and cleans up behind itself")
def progress():
    target, daemon = faulty()
    target.order("hold writes")
    path = file_of(bytes(SIZE))
    master, slave = pty.openpty()
    os.set_blocking(master, False)
    with subprocess.Popen([program("ISCSIMUX"), "write", "disk", path],
                          stderr=slave, stdout=subprocess.DEVNULL,
                          env={**os.environ, **daemon.client_env()}) as client:
        until(master, rb"\r\x1b\[K0 B of 8 MiB, 0 %, 0 B/s")
        target.order("release")
        check_equal(client.wait(), 0, "exit status")
    seen = until(master, rb"\r\x1b\[K$")
    check(b"\n" not in seen, f"a line was left: {seen!r}")
    os.close(slave)
    os.close(master)


@test("data do not go to a terminal")
def terminal():
    daemon = setup()
    master, slave = pty.openpty()
    fails(daemon, 2, "standard output is a terminal", "read", "disk",
          capture_output=False, stdout=slave, stderr=subprocess.PIPE)
    os.close(slave)
    os.close(master)


@test("tgt gets and gives the same data")
def tgt():
    target = Tgt()
    iqn = "iqn.2026-01.org.example:cli"
    target.add_target(iqn, size=4 << 20)
    daemon = Daemon(session("disk", target.portal, iqn))
    data = noise(4 << 20)
    daemon.iscsimux("write", "disk/1", "--verify", file_of(data))
    check(daemon.iscsimux("read", "disk/1", text=False).stdout == data,
          "other data")
    fails(daemon, 2, "beyond the end", "read", "disk/1", "-o", "5M")


main()
