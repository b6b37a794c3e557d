#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Speed as ratios: the same work through the daemon and in process.

Runs alternate A B A B against one RAM target, after one pair that does not
count. What is printed is the median and the spread of the ratio of each pair,
because on a shared machine no single time means anything. Two spinners of
class SCHED_IDLE keep the CPUs from halting between requests; the figures say
whether they ran. The status is 1 if a ratio misses its floor. What a hanging
session costs another one is told by hang.py: figures with a goal, no floor.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                "..", "integration"))

from harness import Failure, Process, run, scaled  # noqa: E402
from iscsimuxd import Daemon, session  # noqa: E402
from targets import RamTarget  # noqa: E402

import hang  # noqa: E402

FLOORS = {"R 4K QD32": 0.7}


def bench():
    """The program that does the work."""
    return os.path.join(os.environ["TEST_HELPERS"], "bench", "iscsimux-bench")


def cpu_us(pid):
    """User and system time of a process so far, in microseconds."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * 1e6 / os.sysconf("SC_CLK_TCK")


class Setup:
    """A RAM target full of stamps, a daemon with a session to it, spinners."""

    def __init__(self, spinners):
        self.target = RamTarget("--size", "32M")
        portal = self.target.portals[0]
        self.daemon = Daemon(session("ram", portal, self.target.iqn))
        self.daemon.wait_up("ram")
        self.mux = ["mux", self.daemon.data_socket, "ram"]
        self.peer = ["libiscsi", portal, self.target.iqn]
        self.spinners = 0
        self.once(self.mux, "-w", "-f", "-s", "65536", "-n", "512")
        if spinners:
            self.spin()

    def spin(self):
        for cpu in sorted(os.sched_getaffinity(0)):
            Process(["taskset", "-c", str(cpu), bench(), "spin"], "spinner")
            self.spinners += 1

    def once(self, end, *options):
        """One run; its figures, the daemon's CPU time added."""
        before = cpu_us(self.daemon.popen.pid)
        done = run([bench(), *options, *end], timeout=300)
        figures = json.loads(done.stdout)
        if end is self.mux:
            used = cpu_us(self.daemon.popen.pid) - before
            figures["cpu_us"] += used / figures["ops"]
        return figures


def point(setup, name, pairs, *options):
    """Alternates both ends; returns what bench.json says of this point."""
    setup.once(setup.mux, *options)
    setup.once(setup.peer, *options)
    ours, theirs = [], []
    for number in range(pairs):
        ours.append(setup.once(setup.mux, *options))
        theirs.append(setup.once(setup.peer, *options))
        print(f"# {name} pair {number + 1}: daemon {ours[-1]['iops']:.0f}, "
              f"libiscsi {theirs[-1]['iops']:.0f} operations a second",
              file=sys.stderr)
    ratios = sorted(a["iops"] / b["iops"] for a, b in zip(ours, theirs))
    cpu = statistics.median(a["cpu_us"] / b["cpu_us"]
                            for a, b in zip(ours, theirs))
    p50 = statistics.median(a["p50_us"] / b["p50_us"]
                            for a, b in zip(ours, theirs))
    value = statistics.median(ratios)
    floor = FLOORS.get(name)
    return {"name": name, "value": round(value, 3),
            "spread": [round(ratios[0], 3), round(ratios[-1], 3)],
            "pairs": pairs, "floor": floor, "cpu": round(cpu, 3),
            "p50": round(p50, 3), "spinners": setup.spinners,
            "met": floor is None or value >= floor}


def table(points):
    """The figures as Markdown."""
    lines = ["| point | ratio to libiscsi | spread | floor | CPU | p50 |",
             "|---|---|---|---|---|---|"]
    for p in points:
        lines.append(f"| {p['name']} | {p['value']:.2f} | "
                     f"{p['spread'][0]:.2f} to {p['spread'][1]:.2f} | "
                     f"{p['floor'] or ''} | {p['cpu']:.2f} | "
                     f"{p['p50']:.2f} |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--count", type=int, default=scaled(100000, 1000))
    parser.add_argument("--only-hang", action="store_true",
                        help="only what a hanging session costs another one")
    parser.add_argument("--no-spinners", action="store_true")
    parser.add_argument("--json", default="bench.json", metavar="FILE")
    args = parser.parse_args()
    setup = Setup(not args.no_spinners)
    count = str(args.count)
    points = [] if args.only_hang else [
        point(setup, "R 4K QD32", args.pairs, "-n", count),
        point(setup, "W 4K QD32", args.pairs, "-n", count, "-w"),
    ]
    hung = hang.points(setup, args.pairs, "-n", count)
    with open(args.json, "w", encoding="utf-8") as file:
        json.dump({"goals": points + hung, "machine": " ".join(os.uname())}, file,
                  indent=1)
        file.write("\n")
    print(f"{args.pairs} pairs, {setup.spinners} spinners")
    if points:
        print("\nA ratio above 1 is faster than libiscsi in process, CPU "
              "(client and daemon)\nand p50 below 1 are better than it\n")
        print(table(points))
    print("\nOne session while another one of the same daemon hangs; below "
          "1.5 is the goal\n")
    print(hang.table(hung))
    return 0 if all(p["met"] for p in points) else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (Failure, subprocess.SubprocessError, OSError) as error:
        sys.exit(f"run.py: {error}")
