# SPDX-License-Identifier: ISC
"""A RAM target, a daemon with the session "ram" on it, and what both say."""

from harness import check, check_equal, defer, wait_until
from iscsimuxd import Daemon, session
from muxclient import Mux
from target_client import Target


class Rig:
    """Target and daemon, with the session up.

    At the end of the test the target must not have seen a protocol error
    (unless broken=True) and the daemon must have got back all it lent.
    options go to the target's command line, keys of session into that
    section, other keys into the daemon's.
    """

    def __init__(self, *options, session_keys=None, broken=False, **keys):
        self.daemon = None
        defer(self._nothing_left)
        self.target = Target("--size", "64M", *options)
        if not broken:
            defer(self.check_target)
        keys_of_session = {"reconnect_interval": "100ms",
                           **(session_keys or {})}
        self.daemon = Daemon(session("ram", self.target.portals[0],
                                     self.target.iqn, **keys_of_session),
                             **keys)
        self.control = self.daemon.control()
        self.daemon.wait_up("ram")

    def _nothing_left(self):
        log = self.daemon.log() if self.daemon is not None else ""
        check("still in use" not in log, "the daemon lost count: " +
              "; ".join(line for line in log.splitlines()
                        if "still in use" in line))

    def check_target(self):
        """Fails the test if the target has seen a protocol error."""
        if self.target.alive():
            self.target.check_no_error()

    def mux(self, **options):
        """A client attached to the session."""
        return Mux(self.daemon, "ram", **options)

    def order(self, line):
        """An order to the target; its answer."""
        return self.target.order(line)

    def show(self):
        """session.show of the session."""
        return self.control.call("session.show", session="ram")

    def stats(self):
        """The session's counters."""
        return self.control.call("stats.get", session="ram")["sessions"]["ram"]

    def clients(self):
        """client.list of the session."""
        return self.control.call("client.list", session="ram")["clients"]

    def wait_tasks(self, count, timeout=30):
        """Waits until the session has that many live tags."""
        return self.daemon.wait_session(
            "ram", lambda shown: shown["tasks"] == count,
            f"to have {count} tasks", timeout)

    def wait_idle(self):
        """Waits until no tag is live and no client is charged anything."""
        self.wait_tasks(0)
        check_equal(self.show()["orphans"], 0, "orphans")
        self.daemon.wait_call(
            lambda told: all(c["inbound_bytes"] == c["outbound_bytes"] == 0
                             for c in told["clients"]),
            "all charges to be given back", "client.list")

    def wait_target(self, ready, what):
        """Waits until ready(counters of the target)."""
        return wait_until(lambda: ready(self.target.counters()), what)

    def session_of_target(self):
        """What the target says of its one session."""
        told = self.order("sessions")
        check_equal(told["count"], 1, "sessions of the target")
        return told["sessions"][0]
