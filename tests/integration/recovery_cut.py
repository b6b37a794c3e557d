#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""A shared session, cut after every byte of its login and of an exchange.

The exchange is a write by R2T and a read, of a block each, with digests on.
Whatever the byte: each task has one end, which is true, the client is told
and stays attached, buffers are back in the pool, the session comes up again.
"""

import concurrent.futures

from harness import check, check_equal, main, scaled, test, wait_until
from iscsimuxd import Daemon, session
from muxclient import OUTCOME, READ, WRITE, Mux, command, read16, write16
from relay import TO_DAEMON, TO_TARGET, Relay, serial_of, stamp
from target_client import Target

RETRY = "0s"
WORKERS = 6
# Sessions that are cut, each of a daemon and a target of its own.
SMALL = {"max_recv_data_segment_length": 512, "max_burst_length": 512,
         "first_burst_length": 512, "header_digest": "CRC32C",
         "data_digest": "CRC32C"}


class Sweep:
    """Target, relay, daemon, and the client that stays."""

    def __init__(self):
        self.target = Target("--max-recv-dsl", "512", "--max-burst", "512",
                             "--first-burst", "512", "--initial-r2t", "yes",
                             "--immediate-data", "no", "--header-digest",
                             "crc32c", "--data-digest", "crc32c")
        self.relay = Relay(self.target.portals[0])
        self.daemon = Daemon(session("cut", self.relay.portal,
                                     self.target.iqn,
                                     reconnect_interval=RETRY,
                                     default_time2wait="0s", **SMALL))
        self.daemon.wait_up("cut")
        self.control = self.daemon.control()
        self.mux = Mux(self.daemon, "cut")
        self.serial = 0
        self.on_disk = {0}
        self.quiet = self.held()

    def held(self):
        """What the daemon has lent: bytes of slabs, PDUs, messages."""
        told = self.control.call("stats.get")["worker"]
        return (told["pool"]["bytes_out"], told["pool"]["slices_out"],
                told["pdus_queued"], told["messages_queued"])

    def write(self):
        """Writes a block that is new; whether the target said good."""
        mux = self.mux
        self.serial += 1
        task = mux.finish(mux.submit(
            command(mux.itt(), write16(0, 1), 512, WRITE),
            out=stamp(self.serial, 0)))
        kind = self.kind_of(task)
        if kind == "good":
            self.on_disk = {self.serial}
        elif kind == "unknown":
            self.on_disk.add(self.serial)
        wanted = {"good": (1,), "not-sent": (0,)}.get(kind, (0, 1))
        sent = self.relay.stamps[self.serial, 0]
        check(sent in wanted, f"{kind}, but sent {sent} times")
        return kind == "good"

    def read(self):
        """Reads the block; whether the target said good."""
        mux = self.mux
        task = mux.finish(mux.submit(command(mux.itt(), read16(0, 1), 512,
                                             READ)))
        good = self.kind_of(task) == "good"
        if good:
            check(serial_of(task.data) in self.on_disk, "what was read")
        return good

    def kind_of(self, task):
        """good, not-sent or unknown; fails on all else."""
        if task.outcome is None:
            task.good()
            return "good"
        end = task.outcome
        check_equal((end.kind, bool(end.text)), (OUTCOME, True), f"{end}")
        check((end.outcome, end.reason) in
              (("unknown", "connection-lost"), ("not-sent", "connection-lost"),
               ("not-sent", "session-down")), f"ended with {end}")
        check_equal(end.not_sent, end.outcome == "not-sent", f"{end}")
        return end.outcome

    def comes_up(self, generation):
        """Waits for the EVENT; nothing must be lent then."""
        event = self.mux.event("session-up")
        check_equal(event.generation, generation, "generation")
        # A client that was idle when its last data went keeps a slab until
        # it says something.
        self.mux.ping()
        wait_until(lambda: self.held() == self.quiet,
                   f"what was lent to be {self.quiet} again")

    def run(self, cuts, login):
        """Cuts the connections to come, one after the other."""
        self.relay.order(lambda: self.relay.cuts.extend([*cuts, None]))
        self.relay.cut()
        self.mux.event("session-down")
        generation = 1
        for cut in cuts:
            if not logs_in(cut, login):
                continue
            generation += 1
            self.comes_up(generation)
            whole = self.write() and self.read()
            check(not whole or cut[0] == TO_DAEMON, f"{cut} changed nothing")
            self.mux.event("session-down")
        self.comes_up(generation + 1)
        check(self.write() and self.read(), "nothing is cut any more")
        self.finish(cuts, generation)

    def finish(self, cuts, generation):
        """What everybody has counted, and the end of the daemon."""
        stats = self.control.call("stats.get",
                                  session="cut")["sessions"]["cut"]
        check_equal((stats["logins"], stats["downs"]),
                    (generation + 1, generation), "logins and losses")
        check_equal(stats["login_failures"], len(cuts) + 1 - generation,
                    "logins that were cut")
        clients = self.control.call("client.list")["clients"]
        check_equal([each["id"] for each in clients], [clients[0]["id"]],
                    "the client")
        check_equal(self.daemon.stop(), 0, "exit status of the daemon")
        check("still in use" not in self.daemon.log(),
              "the daemon lost count")


def logs_in(cut, login):
    """Whether a connection that is cut there comes to be a session."""
    direction, count = cut
    return count > login[direction] - (direction == TO_DAEMON)


def lengths():
    """Bytes of the login and of all, in each direction."""
    sweep = Sweep()
    link = sweep.relay.last()
    login = tuple(link.passed)
    check(sweep.write() and sweep.read(), "the exchange")
    return login, tuple(link.passed)


def arrange(cuts, login):
    """Cuts of a login and others in turns: the other ones show that the
    session comes back."""
    late = [cut for cut in cuts if logs_in(cut, login)]
    early = [cut for cut in cuts if not logs_in(cut, login)]
    arranged = []
    while late or early:
        for some in (early, late):
            if some:
                arranged.append(some.pop(0))
    return arranged


@test("a shared session, cut after every byte of each direction")
def every_byte():
    login, whole = lengths()
    cuts = [(direction, count) for direction in (TO_TARGET, TO_DAEMON)
            for count in range(1, whole[direction] + 1)]
    cuts = cuts[::round(1000 / scaled(1000, 30))]
    print(f"# {len(cuts)} cuts, of {login} bytes of login and {whole} in all")
    sweeps = [Sweep() for _ in range(WORKERS)]
    with concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
        list(pool.map(
            lambda number: sweeps[number].run(
                arrange(cuts[number::WORKERS], login), login),
            range(WORKERS)))


main()
