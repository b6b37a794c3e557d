#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""The life of a session: what refuses it, how it comes back, how it ends."""

import os
import re
import signal
import socket
import struct
import threading

from harness import (PATIENCE, Process, check, check_equal, defer,
                     free_port, main, test, tmp, wait_until)
from iscsimuxd import Daemon, RpcError, session
from target_client import Target
from targets import Tgt

IQN = "iqn.2026-01.org.example:nobody"
SHORT = f"{0.3 * PATIENCE:g}"
# Seconds that a CLI waits for what will not come.


class Listener:
    """Accepts TCP connections and says nothing, or closes them at once."""

    def __init__(self, close=False):
        self.accepted = []
        self.close_at_once = close
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.portal = f"127.0.0.1:{self.socket.getsockname()[1]}"
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()
        defer(self.end)

    def _serve(self):
        while True:
            try:
                peer, _ = self.socket.accept()
            except OSError:
                return
            if self.close_at_once:
                peer.close()
            self.accepted.append(peer)

    def end(self):
        """Stops listening and closes what was accepted."""
        self.socket.shutdown(socket.SHUT_RDWR)
        self.thread.join()
        for peer in [self.socket, *self.accepted]:
            peer.close()


def full_backlog():
    """A portal that answers no SYN, because nobody takes from its queue."""
    server = socket.socket()
    server.bind(("127.0.0.1", 0))
    server.listen(0)
    defer(server.close)
    for _ in range(4):
        filler = socket.socket()
        filler.setblocking(False)
        filler.connect_ex(server.getsockname())
        defer(filler.close)
    return f"127.0.0.1:{server.getsockname()[1]}"


def target_at(port, *options):
    """A RAM target on a port that it had before."""
    return Target("--portal", f"127.0.0.1:{port}", *options)


def port_of(target):
    """The number in the portal of a target."""
    return target.portals[0].rpartition(":")[2]


def end_cleanly(daemon):
    """Stops the daemon; it must end well and have got back all it lent."""
    check_equal(daemon.stop(), 0, "exit status of the daemon")
    check("still in use" not in daemon.log(), "the daemon lost count")


def check_everywhere(daemon, words, name="disk"):
    """The last error is told by the control socket, the log and the CLI."""
    shown = daemon.wait_session(
        name, lambda told: words in told["last_error"],
        f"to fail with {words!r}")
    check(not shown["up"], "the session is up")
    check(words in daemon.log(), f"{words!r} is not in the log")
    listed = daemon.call("session.list")["sessions"]
    check(any(words in each["last_error"] for each in listed),
          f"{words!r} is not in session.list")
    done = daemon.iscsimux("wait", name, "--timeout", SHORT, check_status=1)
    check(words in done.stderr, f"iscsimux does not say {words!r} but "
          f"{done.stderr!r}")
    for command in (("session", "list"), ("session", "show", name)):
        done = daemon.iscsimuxctl(*command)
        check(words in done.stdout, f"iscsimuxctl {' '.join(command)} does "
              f"not say {words!r} but {done.stdout!r}")
    check(daemon.alive(), "the daemon has ended")
    return shown


# --- Why a session does not come up

REFUSALS = (
    (1, 1, "(login status 0x0101)"),
    (2, 0, "target refused the login: initiator error "
     "(login status 0x0200)"),
    (2, 1, "(login status 0x0201)"),
    (2, 2, "(login status 0x0202)"),
    (2, 3, "(login status 0x0203)"),
    (2, 0x77, "(login status 0x0277)"),
    (3, 1, "(login status 0x0301)"),
)
WORDS = {(1, 1): "moved", (2, 1): "authentication", (2, 2): "authoriz",
         (2, 3): "not found", (3, 1): "service unavailable"}


@test("a refused login is told with class and detail in words")
def login_refused():
    target = Target()
    target.order("refuse-login 2 0")
    daemon = Daemon(session("disk", target.portals[0], target.iqn,
                            reconnect_interval="100ms",
                            reconnect_max="100ms"))
    for status_class, detail, words in REFUSALS:
        target.order(f"refuse-login {status_class} {detail}")
        shown = daemon.wait_session(
            "disk", lambda told, words=words: words in told["last_error"],
            f"to fail with {words!r}")
        wanted = WORDS.get((status_class, detail), "")
        check(wanted in shown["last_error"].lower(),
              f"{wanted!r} is not in {shown['last_error']!r}")
    check_everywhere(daemon, "(login status 0x0301)")
    target.order("refuse-login no")
    shown = daemon.wait_up("disk")
    check_equal(shown["last_error"], "", "last error when it is up")
    stats = daemon.call("stats.get", session="disk")["sessions"]["disk"]
    check_equal(stats["logins"], 1, "logins")
    check(stats["login_failures"] >= len(REFUSALS), "too few failed logins")
    end_cleanly(daemon)
    target.check_no_error()


@test("tgt does not have the target that is asked for")
def missing_target_name():
    tgt = Tgt()
    tgt.add_target("iqn.2026-01.org.example:there")
    daemon = Daemon(session("disk", tgt.portal, IQN))
    check_everywhere(daemon, "(login status 0x0203)")
    end_cleanly(daemon)


@test("a refused connection is told; the next try is, too")
def connection_refused():
    portal = f"127.0.0.1:{free_port()}"
    daemon = Daemon(session("disk", portal, IQN, reconnect_interval="60s"))
    shown = check_everywhere(daemon, f"connect to {portal}: "
                             "Connection refused")
    check_equal(shown["state"], "down", "state")
    check(0 < shown["next_try_ms"] <= 60000, f"next try in "
          f"{shown['next_try_ms']} ms")
    end_cleanly(daemon)


@test("a portal that answers nothing meets the connect timeout")
def connect_timeout():
    daemon = Daemon(session("disk", full_backlog(), IQN,
                            connect_timeout="200ms",
                            reconnect_interval="60s"))
    check_everywhere(daemon, "timed out after 200 ms")
    end_cleanly(daemon)


@test("a target that says nothing meets the login timeout, again and again")
def login_timeout():
    silent = Listener()
    daemon = Daemon(session("disk", silent.portal, IQN,
                            login_timeout="200ms",
                            reconnect_interval="100ms"))
    check_everywhere(daemon, "login took longer than 200 ms")
    wait_until(lambda: len(silent.accepted) >= 3, "three attempts")
    end_cleanly(daemon)


@test("a target that closes the connection at once is tried again")
def closes_at_once():
    closing = Listener(close=True)
    eager = Daemon(session("disk", closing.portal, IQN,
                           reconnect_interval="100ms"))
    wait_until(lambda: len(closing.accepted) >= 3, "three attempts")
    end_cleanly(eager)
    daemon = Daemon(session("disk", closing.portal, IQN,
                            reconnect_interval="60s"))
    shown = daemon.wait_session("disk", lambda told: told["last_error"],
                                "to fail")
    check_everywhere(daemon, shown["last_error"])
    check("closed" in shown["last_error"] or "reset" in
          shown["last_error"].lower(), f"{shown['last_error']!r}")
    end_cleanly(daemon)


@test("a target that sends rubbish is told to do so")
def rubbish():
    wrong = Listener()
    daemon = Daemon(session("disk", wrong.portal, IQN,
                            reconnect_interval="60s"))
    wait_until(lambda: wrong.accepted, "a connection")
    wrong.accepted[0].sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n" * 4)
    shown = daemon.wait_session("disk", lambda told: told["last_error"],
                                "to fail")
    check_everywhere(daemon, shown["last_error"])
    print(f"# rubbish: {shown['last_error']}")
    end_cleanly(daemon)


def digest_mismatch(demanded, wanted):
    """A target that demands what the daemon does not offer."""
    target = Target("--header-digest", demanded, "--data-digest", demanded)
    daemon = Daemon(session("disk", target.portals[0], target.iqn,
                            header_digest=wanted, data_digest=wanted,
                            reconnect_interval="60s"))
    shown = daemon.wait_session("disk", lambda told: told["last_error"],
                                "to fail")
    check_everywhere(daemon, shown["last_error"])
    print(f"# target {demanded}, daemon {wanted}: {shown['last_error']}")
    check_equal(target.counters()["logins"], 0, "logins that succeeded")
    end_cleanly(daemon)


@test("digests that the target demands and the daemon does not offer")
def digest_demanded():
    digest_mismatch("crc32c", "None")


@test("digests that the daemon demands and the target does not do")
def digest_refused():
    digest_mismatch("none", "CRC32C")


@test("tgt without digests, a daemon that demands them")
def digest_refused_by_tgt():
    tgt = Tgt()
    tgt.add_target("iqn.2026-01.org.example:plain")
    daemon = Daemon(session("disk", tgt.portal,
                            "iqn.2026-01.org.example:plain",
                            header_digest="CRC32C", data_digest="CRC32C"))
    check_everywhere(daemon, "HeaderDigest")
    end_cleanly(daemon)


@test("either digest is taken from a list in the daemon's order")
def digest_preference():
    target = Target()
    daemon = Daemon(
        session("first", target.portals[0], target.iqn,
                header_digest=["CRC32C", "None"],
                data_digest=["None", "CRC32C"]))
    shown = daemon.wait_up("first")["negotiated"]
    check_equal((shown["header_digest"], shown["data_digest"]),
                ("CRC32C", "None"), "digests")
    daemon.iscsimux("inquiry", "first")
    end_cleanly(daemon)
    target.check_no_error()


# --- Losing it and coming back

@test("a restarted target is logged in to again, as a new generation")
def target_restarts():
    target = Target()
    port = port_of(target)
    daemon = Daemon(session("disk", target.portals[0], target.iqn,
                            reconnect_interval="100ms"))
    isid = daemon.wait_up("disk")["isid"]
    for generation in (2, 3):
        check_equal(target.stop(), 0, "exit status of the target")
        check_everywhere(daemon, "refused")
        target = target_at(port)
        shown = daemon.wait_up("disk")
        check_equal(shown["negotiated"]["generation"], generation,
                    "generation")
        check_equal(shown["isid"], isid, "ISID")
        daemon.iscsimux("capacity", "disk")
    stats = daemon.call("stats.get", session="disk")["sessions"]["disk"]
    check_equal((stats["logins"], stats["downs"]), (3, 2),
                "logins and losses")
    end_cleanly(daemon)
    target.check_no_error()


def wait_lost(daemon):
    """Waits until the session is down and each of its tasks has ended."""
    daemon.wait_session("disk", lambda told: not told["up"] and
                        told["tasks"] == 0, "to be down, without tasks")


def file_of(name, size):
    """A file of random bytes."""
    path = tmp(name)
    with open(path, "wb") as file:
        file.write(os.urandom(size))
    return path


class HeldReader:
    """iscsimux read with 16 READs that the target does not answer.

    It writes to a pipe, which it opens when it knows the capacity; only then
    the target is told to hold what is read.
    """

    def __init__(self, daemon, target, *options):
        self.fifo = tmp("fifo")
        os.mkfifo(self.fifo)
        self.copy = tmp("copy")
        self.process = daemon.start_iscsimux(
            "read", "disk", self.fifo, "--length", "1M", "--chunk", "64K",
            *options)
        daemon.wait_call(lambda told: told["sessions"]["disk"]["outcomes"]
                         ["final-pdu"] >= 1, "the capacity to be read",
                         "stats.get")
        target.order("hold reads")
        with open(self.copy, "wb") as copy:
            self.cat = Process(["cat", self.fifo], stdout=copy)
        daemon.wait_session("disk", lambda told: told["tasks"] == 16,
                            "to have 16 tasks")

    def finish(self, wanted):
        """Waits for its end, and checks what it has read."""
        self.process.expect_exit(0)
        self.cat.expect_exit(0)
        with open(self.copy, "rb") as copy:
            check(copy.read() == wanted, "what was read is wrong")


@test("target killed with reads on the wire: unknown, and the CLI goes on")
def killed_with_reads():
    target = Target()
    port = port_of(target)
    daemon = Daemon(session("disk", target.portals[0], target.iqn,
                            reconnect_interval="100ms"))
    daemon.wait_up("disk")
    reader = HeldReader(daemon, target)
    target.kill()
    wait_lost(daemon)
    stats = daemon.call("stats.get", session="disk")["sessions"]["disk"]
    check_equal(stats["outcomes"]["unknown"], 16, "unknown outcomes")
    check(reader.process.alive(), "the reader gave up")
    target = target_at(port)
    reader.finish(bytes(1 << 20))
    end_cleanly(daemon)
    target.check_no_error()


@test("target killed with writes on the wire: the CLI ends with status 4")
def killed_with_writes():
    target = Target()
    port = port_of(target)
    daemon = Daemon(session("disk", target.portals[0], target.iqn,
                            reconnect_interval="100ms"))
    daemon.wait_up("disk")
    target.order("hold writes")
    source = file_of("in", 1 << 20)
    writer = daemon.start_iscsimux("write", "disk", source)
    daemon.wait_session("disk", lambda told: told["tasks"] == 16,
                        "to have 16 tasks")
    target.kill()
    writer.expect_exit(4)
    stats = daemon.call("stats.get", session="disk")["sessions"]["disk"]
    check_equal(stats["outcomes"]["unknown"], 16, "unknown outcomes")
    target = target_at(port)
    daemon.wait_up("disk")
    daemon.iscsimux("write", "disk", source)
    copy = tmp("copy")
    daemon.iscsimux("read", "disk", copy, "--length", "1M")
    check(open(source, "rb").read() == open(copy, "rb").read(),
          "what was read is not what was written")
    end_cleanly(daemon)
    target.check_no_error()


@test("what waits behind a closed window is not-sent, and is sent later")
def killed_before_sent():
    target = Target("--queue-depth", 4)
    port = port_of(target)
    daemon = Daemon(session("disk", target.portals[0], target.iqn,
                            reconnect_interval="100ms"))
    daemon.wait_up("disk")
    reader = HeldReader(daemon, target)
    wait_until(lambda: target.order("sessions")["sessions"][0]["tasks"] == 4,
               "four commands at the target")
    target.kill()
    wait_lost(daemon)
    stats = daemon.call("stats.get", session="disk")["sessions"]["disk"]
    check_equal((stats["outcomes"]["unknown"], stats["outcomes"]["not-sent"]),
                (4, 12), "unknown and not-sent outcomes")
    target = target_at(port)
    reader.finish(bytes(1 << 20))
    end_cleanly(daemon)


@test("a target that comes back with other values is used by those")
def other_values():
    target = Target("--max-recv-dsl", 8192, "--initial-r2t", "yes")
    port = port_of(target)
    daemon = Daemon(session("disk", target.portals[0], target.iqn,
                            reconnect_interval="100ms"))
    before = daemon.wait_up("disk")["negotiated"]
    target.stop()
    target = target_at(port, "--max-recv-dsl", 65536, "--immediate-data",
                       "no")
    after = daemon.wait_session(
        "disk", lambda told: told["up"] and
        told["negotiated"]["generation"] == 2, "to be up again")["negotiated"]
    keys = ("target_max_recv_data_segment_length", "initial_r2t",
            "immediate_data")
    check_equal([before[key] for key in keys], [8192, True, True], "before")
    check_equal([after[key] for key in keys], [65536, False, False], "after")
    daemon.iscsimux("write", "disk", file_of("in", 1 << 20), "--verify")
    end_cleanly(daemon)
    target.check_no_error()


# --- The end

@test("SIGTERM: the target sees a Logout Request, and nothing is left")
def logout():
    target = Target()
    daemon = Daemon(session("disk", target.portals[0], target.iqn),
                    log_level="debug")
    daemon.wait_up("disk")
    daemon.iscsimux("capacity", "disk")
    end_cleanly(daemon)
    counters = target.counters()
    check_equal(counters["logouts"], 1, "Logout Requests")
    check_equal(target.order("sessions")["count"], 0, "sessions")
    target.check_no_error()
    for path in (daemon.data_socket, daemon.control_socket):
        check(not os.path.exists(path), f"{path} is left")
        check(not os.path.exists(path + ".lock"), f"{path}.lock is left")


@test("SIGINT and daemon.stop end the daemon in the same way")
def other_ends():
    target = Target()
    daemon = Daemon(session("disk", target.portals[0], target.iqn))
    daemon.wait_up("disk")
    daemon.signal(signal.SIGINT)
    daemon.expect_exit(0)
    daemon = Daemon(session("disk", target.portals[0], target.iqn))
    daemon.wait_up("disk")
    check_equal(daemon.call("daemon.stop"), {"stopping": True}, "answer")
    daemon.expect_exit(0)
    check_equal(target.counters()["logouts"], 2, "Logout Requests")
    target.check_no_error()


@test("SIGTERM with commands at the target: they end, and Logout is sent")
def logout_with_tasks():
    target = Target()
    daemon = Daemon(session("disk", target.portals[0], target.iqn))
    daemon.wait_up("disk")
    reader = HeldReader(daemon, target, "--timeout", f"{3 * PATIENCE:g}")
    end_cleanly(daemon)
    reader.process.expect_exit(3)
    check("the daemon is stopping" in reader.process.log() or "not running"
          in reader.process.log(), "the reader does not say why it failed")
    check_equal(target.counters()["logouts"], 1, "Logout Requests")


@test("SIGTERM while connecting, during login and while down")
def stop_without_session():
    silent = Listener()
    daemon = Daemon(
        session("connecting", full_backlog(), IQN, connect_timeout="60s"),
        session("login", silent.portal, IQN, login_timeout="60s"),
        session("down", f"127.0.0.1:{free_port()}", IQN,
                reconnect_interval="60s"))
    for name in ("connecting", "login", "down"):
        daemon.wait_session(name, lambda told, name=name:
                            told["state"] == name, f"to be {name}")
    end_cleanly(daemon)


@test("a target that does not answer Logout is left after logout-timeout")
def logout_timeout():
    target = Target()
    daemon = Daemon(session("disk", target.portals[0], target.iqn,
                            logout_timeout="200ms"))
    daemon.wait_up("disk")
    target.order("stall on")
    end_cleanly(daemon)
    check("no answer to the Logout Request" in daemon.log(), "no such line")


@test("a second SIGTERM does not wait for Logout")
def second_signal():
    target = Target()
    daemon = Daemon(session("disk", target.portals[0], target.iqn,
                            logout_timeout="60m"))
    daemon.wait_up("disk")
    target.order("stall on")
    daemon.signal(signal.SIGTERM)
    daemon.wait_line("stopping:")
    daemon.wait_session("disk", lambda told: told["state"] == "logout",
                        "to log out")
    daemon.signal(signal.SIGTERM)
    daemon.expect_exit(1)
    check("without Logout" in daemon.log(), "no such line")
    check("still in use" not in daemon.log(), "the daemon lost count")


# --- Several sessions

@test("of two sessions of a daemon one goes down and the other goes on")
def one_of_two_down():
    stays, goes = Target(), Target()
    port = port_of(goes)
    daemon = Daemon(
        session("stays", stays.portals[0], stays.iqn),
        session("goes", goes.portals[0], goes.iqn,
                reconnect_interval="100ms"))
    daemon.wait_up("stays")
    daemon.wait_up("goes")
    source = file_of("in", 8 << 20)
    writer = daemon.start_iscsimux("write", "stays", source, "--verify",
                                   "--chunk", "4K")
    for _ in range(3):
        goes.kill()
        daemon.wait_down("goes")
        check(daemon.call("session.show", session="stays")["up"],
              "the other session is down")
        goes = target_at(port)
        daemon.wait_up("goes")
        daemon.iscsimux("inquiry", "goes")
    writer.expect_exit(0)
    shown = daemon.call("session.show", session="stays")
    check_equal(shown["negotiated"]["generation"], 1, "generation")
    end_cleanly(daemon)
    stays.check_no_error()
    check_equal(stays.counters()["logouts"], 1, "Logout Requests")


@test("two sessions to one target are two I_T nexuses")
def two_sessions_one_target():
    target = Target()
    daemon = Daemon(session("a", target.portals[0], target.iqn),
                    session("b", target.portals[0], target.iqn))
    shown = [daemon.wait_up(name) for name in ("a", "b")]
    check(shown[0]["isid"] != shown[1]["isid"], "the same ISID twice")
    check_equal(target.order("sessions")["count"], 2, "sessions")
    source = file_of("in", 1 << 20)
    daemon.iscsimux("write", "a", source)
    daemon.iscsimux("write", "b", source, "--verify")
    end_cleanly(daemon)
    target.check_no_error()


@test("a session with startup = manual stays down, and stops at once")
def manual_startup():
    listener = Listener()
    target = Target()
    daemon = Daemon(
        session("quiet", listener.portal, IQN, startup="manual"),
        session("disk", target.portals[0], target.iqn, startup="automatic"))
    daemon.wait_up("disk")
    done = daemon.iscsimux("wait", "quiet", "--timeout", SHORT,
                           check_status=1)
    check("quiet" in done.stderr, f"said {done.stderr!r}")
    shown = daemon.call("session.show", session="quiet")
    check_equal((shown["up"], shown["last_error"]), (False, ""), "session")
    check_equal(listener.accepted, [], "connections to its portal")
    end_cleanly(daemon)
    check_equal(listener.accepted, [], "connections at the end")


# --- What is told

@test("session.show and stats.get agree with the target")
def counters_agree():
    target = Target("--max-recv-dsl", 16384, "--max-burst", 65536,
                    "--first-burst", 32768, "--max-outstanding-r2t", 1)
    daemon = Daemon(session("disk", target.portals[0], target.iqn,
                            max_recv_data_segment_length=32768))
    daemon.wait_up("disk")
    daemon.iscsimux("write", "disk", file_of("in", 4 << 20), "--verify")
    shown = daemon.call("session.show", session="disk")
    told = target.order("sessions")["sessions"][0]
    values = shown["negotiated"]
    check_equal((values["target_max_recv_data_segment_length"],
                 values["max_recv_data_segment_length"],
                 values["max_burst_length"], values["first_burst_length"],
                 values["max_outstanding_r2t"], values["generation"]),
                (16384, 32768, 65536, 32768, 1, 1), "negotiated values")
    check_equal(shown["tsih"], told["tsih"], "TSIH")
    check_equal(shown["local"], told["peer"], "our address")
    check_equal(shown["peer"], target.portals[0], "the target's address")
    check_equal((shown["tasks"], shown["orphans"], shown["clients"]),
                (0, 0, 0), "tasks, orphans, clients")
    check(shown["up_ms"] > 0, "up since no time")
    stats = daemon.call("stats.get", session="disk")["sessions"]["disk"]
    counters = target.counters()
    check_equal(stats["pdus_out"], counters["pdus_in"], "PDUs out")
    check_equal(stats["pdus_in"], counters["pdus_out"], "PDUs in")
    check_equal(stats["bytes_out"], counters["bytes_in"], "bytes out")
    check_equal(stats["bytes_in"], counters["bytes_out"], "bytes in")
    check_equal(stats["tasks_opened"], counters["commands"], "tasks")
    check_equal(stats["outcomes"]["final-pdu"], counters["commands"],
                "final PDUs")
    check(stats["bytes_out"] > 4 << 20 and stats["bytes_in"] > 4 << 20,
          "too few bytes")
    for name in ("session", "list"), ("stats",):
        daemon.iscsimuxctl(*name)
    end_cleanly(daemon)


@test("log.set changes what is logged, at run time")
def log_level():
    target = Target()
    daemon = Daemon(session("disk", target.portals[0], target.iqn),
                    log_level="warning")
    daemon.wait_up("disk")
    daemon.iscsimux("inquiry", "disk")
    check("attached to session" not in daemon.log(), "info is logged")
    check_equal(daemon.call("log.set", level="info"),
                {"level": "info", "previous": "warning"}, "answer")
    daemon.iscsimux("inquiry", "disk")
    daemon.wait_line("attached to session disk")
    daemon.iscsimuxctl("log", "debug")
    daemon.iscsimux("inquiry", "disk")
    daemon.wait_line(r"\): hello")
    check_equal(daemon.call("daemon.info")["log_level"], "debug", "level")
    daemon.call("log.set", level="error")
    before = daemon.log()
    daemon.iscsimux("inquiry", "disk")
    check_equal(daemon.log(), before, "log at level error")
    try:
        daemon.call("log.set", level="loud")
        check(False, "the level loud was taken")
    except RpcError as error:
        check_equal(error.data, {"field": "level"}, "field at fault")
    end_cleanly(daemon)


def hello(name):
    """A HELLO frame with a name of any bytes."""
    payload = struct.pack(">IHHQ", 0x694d5558, 1, 1, 0) + bytes([len(name)])
    payload += name
    return struct.pack(">IHHQ", len(payload), 1, 0, 1) + payload


@test("control characters of a client reach neither log nor terminal")
def hostile_client():
    target = Target()
    daemon = Daemon(session("disk", target.portals[0], target.iqn),
                    log_level="debug")
    daemon.wait_up("disk")
    hostile = [b"evil\n<3>session disk: all is lost", b"\x1b[31mred\x07",
               b"\xff\xfe\x80", b"nul\0nul", b"back\\slash", b"%s%n%p"]
    clients = []
    for name in hostile:
        client = socket.socket(socket.AF_UNIX)
        defer(client.close)
        client.settimeout(30 * PATIENCE)
        client.connect(daemon.data_socket)
        client.sendall(hello(name))
        check(client.recv(16), "no answer to HELLO")
        clients.append(client)
    out = daemon.iscsimuxctl("client", "list").stdout
    check("%s%n%p" in out, f"a legal name is not listed: {out!r}")
    for text in hostile:
        control = daemon.control()
        control.socket.sendall(text.replace(b"\n", b"\r") + b"\n")
        check("error" in control.receive(), "rubbish was taken")
    for client in clients:
        client.close()
    daemon.wait_call(lambda told: not told["clients"], "clients to go",
                     "client.list")
    with open(daemon.log_path, "rb") as file:
        log = file.read()
    check(not re.search(rb"[\x00-\x09\x0b-\x1f\x7f-\xff]", log),
          "control characters in the log")
    check(not re.search(rb"^(<3>)?session disk: all is lost", log,
                        re.MULTILINE), "a client made a line of its own")
    check(b"\\x1b[31mred\\x07" in log, "what a client sent is not logged")
    check(not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", out),
          f"control characters in a table: {out!r}")
    end_cleanly(daemon)


main()
