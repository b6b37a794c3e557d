# SPDX-License-Identifier: ISC
"""What a session costs another one of the same daemon while it hangs.

Two daemons on one RAM target: one has a working session alone, the other has
beside it a session whose name look-up, connect or login never ends. Runs
alternate; the figure is the ratio of their 99th percentiles. Beside it stands
the longest that any request took, for a rare stop of the loop does not change
a percentile.
"""

import os
import shutil
import socket
import statistics
import sys

from harness import connects, defer, installed, tmp, wait_until
from iscsimuxd import Daemon, session

GOAL = 1.5
IQN = "iqn.2026-01.org.example:nobody"
RESOLV_CONF = "/etc/resolv.conf"
# In a mount namespace of its own; $0 takes the place of the file.
MOUNT = f'mount --bind "$0" {RESOLV_CONF} && exec "$@"'


class Silent:
    """A socket that is bound to a port of loopback and says nothing."""

    def __init__(self, kind):
        self.socket = socket.socket(socket.AF_INET, kind)
        self.socket.bind(("127.0.0.1", 0))
        defer(self.socket.close)
        self.name = "127.0.0.1:%d" % self.socket.getsockname()[1]


def look_up():
    """A portal whose name a silent server is asked for; what starts the
    daemon so that it asks that server."""
    server = Silent(socket.SOCK_DGRAM)
    path = tmp("resolv.conf")
    with open(path, "w", encoding="ascii") as file:
        file.write(f"nameserver {server.name}\n")
    wrapper = (installed("unshare"), "--mount", "sh", "-c", MOUNT, path)

    def asked():
        server.socket.settimeout(30)
        return server.socket.recv(512)
    return "nowhere.example:3260", wrapper, asked


def connect():
    """A portal that answers no SYN: nobody takes from its full queue."""
    server = Silent(socket.SOCK_STREAM)
    server.socket.listen(0)
    for _ in range(4):
        filler = socket.socket()
        filler.setblocking(False)
        filler.connect_ex(server.socket.getsockname())
        defer(filler.close)
    return server.name, (), lambda: None


def login():
    """A portal that accepts, and never answers a Login Request."""
    server = Silent(socket.SOCK_STREAM)
    server.socket.listen(64)
    return server.name, (), lambda: connects(server.socket.getsockname())


HANGS = {"look-up": (look_up, "connecting"),
         "connect": (connect, "connecting"), "login": (login, "login")}


def possible(name):
    """Whether this machine lets that be measured; says why not."""
    if name != "look-up":
        return True
    missing = None
    if os.getuid() != 0:
        missing = "needs root"
    elif shutil.which("unshare") is None or not os.path.exists(RESOLV_CONF):
        missing = f"needs unshare(1) and {RESOLV_CONF}"
    if missing:
        print(f"# R 4K QD32 p99, {name} hangs: not measured, {missing}",
              file=sys.stderr)
    return missing is None


def point(setup, name, pairs, *options):
    """The ratio for one kind of hanging; see the head of this file."""
    make, state = HANGS[name]
    portal, wrapper, begun = make()
    target = setup.target.portals[0], setup.target.iqn
    alone = Daemon(session("alone", *target))
    beside = Daemon(session("beside", *target),
                    session("hung", portal, IQN, connect_timeout="60m",
                            login_timeout="60m", reconnect_interval="100ms"),
                    wrapper=wrapper)
    ends = []
    for daemon, used in ((alone, "alone"), (beside, "beside")):
        daemon.wait_up(used)
        ends.append(["mux", daemon.data_socket, used])
        setup.once(ends[-1], *options)
    begun()
    ratios = []
    longest = [0, 0]
    for number in range(pairs):
        wait_until(lambda: beside.call("session.show", session="hung")
                   ["state"] == state, f"the {name} to hang")
        base, other = (setup.once(end, *options) for end in ends)
        ratios.append(other["p99_us"] / base["p99_us"])
        longest = [max(longest[0], base["max_us"]),
                   max(longest[1], other["max_us"])]
        print(f"# {name} hangs, pair {number + 1}: p99 {base['p99_us']:.0f} "
              f"us alone, {other['p99_us']:.0f} us beside it",
              file=sys.stderr)
    for daemon in (alone, beside):
        daemon.stop()
    value = statistics.median(ratios)
    return {"name": f"R 4K QD32 p99, {name} hangs", "value": round(value, 3),
            "spread": [round(min(ratios), 3), round(max(ratios), 3)],
            "pairs": pairs, "goal": GOAL, "met": value <= GOAL,
            "longest_us": longest}


def points(setup, pairs, *options):
    """All of them."""
    return [point(setup, name, pairs, *options) for name in HANGS
            if possible(name)]


def table(figures):
    """The figures as Markdown."""
    lines = ["| point | ratio to the same without | spread | goal | "
             "longest, without and with, ms |", "|---|---|---|---|---|"]
    for p in figures:
        lines.append(f"| {p['name']} | {p['value']:.2f} | "
                     f"{p['spread'][0]:.2f} to {p['spread'][1]:.2f} | "
                     f"{p['goal']} | {p['longest_us'][0] / 1000:.1f}, "
                     f"{p['longest_us'][1] / 1000:.1f} |")
    return "\n".join(lines)
