#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Eight processes share one session and never see each other's data.

Each writes a pattern of its own to its own part of one LUN at queue depth 32,
reads it back and compares every word. What is on the target's disk is read
from there, too, where it is a file. The target says how many sessions it has.
"""

import array
import os
import sys

from harness import check, check_equal, main, scaled, test
from iscsimuxd import Daemon, session
from sharing_worker import Worker
from target_client import Target
from targets import Istgt, Tgt

CLIENTS = 8
MIB = 1 << 20
MIXED = (4096, 65536, 262144, 512, 1 << 20)
MASK = (1 << 64) - 1


def size_of(mebibytes):
    """Bytes of one client's part: scaled, whole 64 KiB."""
    return scaled(mebibytes * MIB, 1 << 18, 1 << 16)


def pattern(seed, at):
    """The word at byte `at` of the LUN, as share_worker.c makes it."""
    z = (seed * 0xd1342543de82ef95 + at * 0x9e3779b97f4a7c15) & MASK
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9 & MASK
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb & MASK
    return z ^ (z >> 31)


def disk_checksum(path, worker):
    """The sum of a part of a file, after a look at words here and there."""
    words = array.array("Q")
    with open(path, "rb") as file:
        file.seek(worker.start_at)
        words.frombytes(file.read(worker.length))
    if sys.byteorder != "little":
        words.byteswap()
    for index in range(0, len(words), max(len(words) // 500, 1)):
        check_equal(words[index],
                    pattern(worker.seed, worker.start_at + 8 * index),
                    f"word {index} of client {worker.seed} in {path}")
    return f"{sum(words) & MASK:016x}"


def share(daemon, length, count_sessions, label, clients=CLIENTS, **options):
    """Runs the clients together; returns the workers and their results.

    count_sessions() asks the target, once all clients have attached and once
    more when they are done.
    """
    workers = [Worker(daemon, number, length, **options)
               for number in range(clients)]
    for worker in workers:
        worker.wait_line("^ready$")
    check_equal(count_sessions(), 1, "sessions of the target, all attached")
    listed = daemon.call("client.list", session="disk")["clients"]
    check_equal(sorted(each["name"] for each in listed),
                sorted(f"share-{worker.seed}" for worker in workers),
                "clients that the daemon lists")
    for worker in workers:
        worker.start()
    results = [worker.result() for worker in workers]
    check_equal(count_sessions(), 1, "sessions of the target, all done")
    stats = daemon.call("stats.get", session="disk")["sessions"]["disk"]
    check_equal(stats["logins"], 1, "logins")
    check_equal(stats["downs"], 0, "times the session was lost")
    check_equal(len({result["read"] for result in results}), clients,
                "checksums that differ from each other")
    print(f"# {label}: {clients} x {length / MIB:.2f} MiB, write "
          f"{rate(results, length, 0):.0f} MiB/s, read "
          f"{rate(results, length, 1):.0f} MiB/s")
    return workers, results


def rate(results, length, part):
    """MiB/s of all clients together, writing (part 0) or reading (1)."""
    start = min(result["times"][part] for result in results)
    end = max(result["times"][part + 1] for result in results)
    return len(results) * length / MIB / (end - start)


def digests(on):
    """Keys of a session that wants digests, or does not."""
    wanted = "CRC32C" if on else "None"
    return {"header_digest": wanted, "data_digest": wanted}


def check_digests(daemon, on):
    """Fails unless digests were negotiated as wanted."""
    shown = daemon.call("session.show", session="disk")["negotiated"]
    wanted = "CRC32C" if on else "None"
    for key in ("header_digest", "data_digest"):
        check_equal(shown[key], wanted, f"negotiated {key}")


# --- tgt

def share_tgt(on):
    """Eight clients against tgt, with or without digests."""
    length = size_of(64)
    tgt = Tgt()
    tid = tgt.add_target("iqn.2026-01.org.example:share",
                         size=CLIENTS * length, digests=on)
    daemon = Daemon(session("disk", tgt.portal,
                            "iqn.2026-01.org.example:share", **digests(on)))
    daemon.wait_up("disk")
    check_digests(daemon, on)
    workers, results = share(daemon, length, lambda: tgt.sessions(tid),
                             f"tgt, digests {'on' if on else 'off'}", lun=1)
    for worker, result in zip(workers, results):
        check_equal(disk_checksum(tgt.images[tid, 1], worker),
                    result["written"], "checksum of the target's file")
    check_equal(daemon.stop(), 0, "exit status of the daemon")
    check_equal(tgt.sessions(tid), 0, "sessions of the target at the end")


@test("tgt: eight clients on one session, 64 MiB each, no digests")
def tgt_plain():
    share_tgt(False)


@test("tgt: eight clients on one session, 64 MiB each, digests")
def tgt_digests():
    share_tgt(True)


# --- istgt

@test("istgt: eight clients on one session")
def istgt():
    length = size_of(4)
    target = Istgt(size=f"{CLIENTS * size_of(4) // MIB + 1}MB")
    daemon = Daemon(session("disk", target.portal, target.iqn,
                            **digests(True)))
    daemon.wait_up("disk")
    check_digests(daemon, True)
    workers, results = share(daemon, length, target.sessions, "istgt")
    path = os.path.join(os.path.dirname(target.config), "disk.img")
    for worker, result in zip(workers, results):
        check_equal(disk_checksum(path, worker), result["written"],
                    "checksum of the target's file")


# --- The RAM target

def share_ram(length, label, *options, keys=None, sizes=(65536,), block=512,
              portal="127.0.0.1:0"):
    """Eight clients against the RAM target; returns its one session."""
    target = Target("--portal", portal, "--size", CLIENTS * length,
                    "--block-size", block, *options)
    daemon = Daemon(session("disk", target.portals[0], target.iqn,
                            **(keys or {})))
    daemon.wait_up("disk")
    share(daemon, length, lambda: target.order("sessions")["count"], label,
          sizes=sizes, block=block)
    told = target.order("sessions")["sessions"][0]
    target.check_no_error()
    check_equal(target.counters()["tolerated"], 0, "faults let pass")
    check_equal(target.counters()["r2ts_open"], 0, "R2Ts without data")
    check_equal(daemon.stop(), 0, "exit status of the daemon")
    return told, target.counters()


def share_ram_digests(on):
    """Eight clients against the RAM target, with or without digests."""
    wanted = "crc32c" if on else "none"
    told, _ = share_ram(size_of(64), f"RAM, digests {'on' if on else 'off'}",
                        "--header-digest", wanted, "--data-digest", wanted,
                        keys=digests(on))
    check_equal(told["header_digest"], int(on), "header digest of the target")
    check_equal(told["data_digest"], int(on), "data digest of the target")


@test("RAM target: eight clients, 64 MiB each, no digests")
def ram_plain():
    share_ram_digests(False)


@test("RAM target: eight clients, 64 MiB each, digests")
def ram_digests():
    share_ram_digests(True)


def share_ram_data_out(initial_r2t, immediate_data, portal):
    """One of the combinations of InitialR2T and ImmediateData."""
    def word(yes):
        return "yes" if yes else "no"
    length = size_of(4)
    told, counters = share_ram(
        length, f"{portal} InitialR2T={word(initial_r2t)} "
        f"ImmediateData={word(immediate_data)}",
        "--initial-r2t", word(initial_r2t),
        "--immediate-data", word(immediate_data), portal=portal,
        sizes=(65536, 131072, 4096), keys=digests(True))
    check_equal(told["initial_r2t"], int(initial_r2t), "InitialR2T")
    check_equal(told["immediate_data"], int(immediate_data), "ImmediateData")
    if initial_r2t:
        check(counters["r2ts"] > 0, "no R2T was sent")
    if not immediate_data:
        check(counters["data_out"] > 0, "no Data-Out was sent")


@test("IPv4: InitialR2T and ImmediateData in all combinations")
def data_out_ipv4():
    for initial_r2t in (False, True):
        for immediate_data in (False, True):
            share_ram_data_out(initial_r2t, immediate_data, "127.0.0.1:0")


@test("IPv6: InitialR2T and ImmediateData in all combinations")
def data_out_ipv6():
    for initial_r2t in (False, True):
        for immediate_data in (False, True):
            share_ram_data_out(initial_r2t, immediate_data, "[::1]:0")


@test("the smallest lengths that can be negotiated")
def smallest_lengths():
    for both in ("no", "yes"):
        told, _ = share_ram(
            size_of(1), f"512 byte bursts, InitialR2T={both}",
            "--max-recv-dsl", 512, "--max-burst", 512, "--first-burst", 512,
            "--initial-r2t", both,
            keys={"max_recv_data_segment_length": 512,
                  "max_burst_length": 512, "first_burst_length": 512})
        for key in ("max_recv_dsl", "max_burst", "first_burst"):
            check_equal(told[key], 512, key)


@test("the target takes 262144 bytes a PDU and the daemon 8192, and reverse")
def limits_by_direction():
    for target, ours in ((262144, 8192), (8192, 262144)):
        told, _ = share_ram(size_of(2), f"{target} out, {ours} in",
                            "--max-recv-dsl", target, sizes=(262144,),
                            keys={"max_recv_data_segment_length": ours,
                                  **digests(True)})
        check_equal(told["max_recv_dsl"], ours, "limit of the initiator")


@test("blocks of 4096 bytes")
def large_blocks():
    share_ram(size_of(4), "4096 byte blocks", block=4096,
              sizes=(65536, 4096, 1 << 20))


@test("requests of 512 bytes to 1 MiB between each other")
def mixed_sizes():
    share_ram(size_of(8), "512 to 1048576 bytes", sizes=MIXED,
              keys=digests(True))


@test("a target that takes four commands at a time")
def small_window():
    share_ram(size_of(2), "window of 4", "--queue-depth", 4)


main()
