#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""iscsimux: sessions, logical units, JSON, errors and exit statuses."""

import json
import os
import re
import shutil
import signal

from harness import (Skip, check, check_equal, free_port, installed, main,
                     program, run, shared, test, tmp, tmpdir)
from iscsimuxd import Daemon, session
from targets import RamTarget, Tgt
from target_client import Target

FAST = {"reconnect_interval": "100ms", "reconnect_max": "100ms"}


@shared
def setup():
    """A daemon with a disk of each block length and a session that is down."""
    small = RamTarget("--luns", 3)
    large = RamTarget("--block-size", 4096)
    daemon = Daemon(session("disk", small.portals[0], small.iqn),
                    session("big", large.portals[0], large.iqn),
                    session("dead", f"127.0.0.1:{free_port()}", small.iqn,
                            **FAST))
    daemon.wait_up("disk")
    daemon.wait_up("big")
    return daemon


def shows(done, pattern, where="stderr"):
    """Fails unless what a program printed matches."""
    printed = getattr(done, where)
    check(re.search(pattern, printed, re.MULTILINE),
          f"{where} lacks {pattern!r}: {printed!r}")


def loads(done):
    """The one JSON object of standard output."""
    return json.loads(done.stdout)


@test("list shows the sessions, their state and what is allowed")
def list_sessions():
    daemon = setup()
    done = daemon.iscsimux("list")
    shows(done, r"^SESSION +STATE +ACCESS +MADE BY +TARGET$", "stdout")
    shows(done, r"^disk +up +all +daemon +iqn\.2026-01\.org\.example:ram$", "stdout")
    shows(done, r"^dead +(down|connecting) ", "stdout")
    told = loads(daemon.iscsimux("list", "--json"))["sessions"]
    check_equal([s["session"] for s in told], ["disk", "big", "dead"], "names")
    check_equal(told[0]["state"], "up", "state")
    check("write" in told[0]["access"], "no write access")
    check_equal((told[0]["shared"], told[0]["adopted"]), (False, False),
                "who made it")


@test("list says so if there is no session")
def list_none():
    daemon = Daemon()
    done = daemon.iscsimux("list")
    check_equal(done.stdout, "", "stdout")
    shows(done, "no session")
    check_equal(loads(daemon.iscsimux("list", "-j")), {"sessions": []}, "JSON")


@test("wait returns at once if the session is up")
def wait_up():
    daemon = setup()
    check_equal(daemon.iscsimux("wait", "disk").stdout,
                "session disk is up\n", "stdout")
    told = loads(daemon.iscsimux("wait", "disk", "--json"))
    check_equal((told["session"], told["state"]), ("disk", "up"), "JSON")


@test("wait returns when the session comes up, having said what is missing")
def wait_comes_up():
    port = free_port()
    daemon = Daemon(session("disk", f"127.0.0.1:{port}", RamTarget.iqn,
                            **FAST))
    client = daemon.start_iscsimux("wait", "disk")
    client.wait_line(r"session disk: .*Connection refused; waiting")
    RamTarget("--portal", f"127.0.0.1:{port}")
    client.expect_exit(0)


@test("a session that stays down: status 1 after --timeout, with the reason")
def stays_down():
    daemon = setup()
    for command in ("wait", "ping", "capacity"):
        done = daemon.iscsimux(command, "dead", "--timeout", "1",
                               check_status=1)
        shows(done, r"session dead did not come up within 1 s: .*refused")
        check_equal(done.stdout, "", "stdout")
    done = daemon.iscsimux("wait", "dead", "-t", "1", "-j", check_status=1)
    error = loads(done)["error"]
    check_equal(error["exit_status"], 1, "exit status in JSON")
    check("refused" in error["message"], error["message"])


@test("a login that the target refuses is told in words")
def login_refused():
    target = Target()
    target.order("refuse-login 2 3")
    daemon = Daemon(session("disk", target.portals[0], target.iqn, **FAST))
    done = daemon.iscsimux("capacity", "disk", "-t", "1", check_status=1)
    shows(done, r"did not come up within 1 s: .*[Nn]ot found")
    target.order("refuse-login no")
    daemon.iscsimux("capacity", "disk")


@test("a signal ends the wait for a session")
def wait_interrupted():
    client = setup().start_iscsimux("wait", "dead")
    client.wait_line("waiting")
    client.signal(signal.SIGINT)
    client.expect_exit(1)
    check("interrupted" in client.log(), client.log())


@test("ping counts and times NOP-Outs")
def ping():
    daemon = setup()
    done = daemon.iscsimux("ping", "disk", "-c", 3, "-i", 0, "-s", 100)
    check_equal(len(re.findall(r"^100 bytes from disk: seq=\d time=[\d.]+ ms$",
                               done.stdout, re.MULTILINE)), 3, "replies")
    shows(done, r"^--- disk: 3 sent, 3 received$", "stdout")
    shows(done, r"^rtt min/avg/max = [\d.]+/[\d.]+/[\d.]+ ms$", "stdout")
    told = loads(daemon.iscsimux("ping", "disk", "-c", 2, "-i", 0, "-j"))
    check_equal((told["sent"], told["received"]), (2, 2), "counts")
    check_equal([r["seq"] for r in told["replies"]], [1, 2], "numbers")
    rtt = told["rtt_ms"]
    check(0 < rtt["min"] <= rtt["avg"] <= rtt["max"], f"times {rtt}")
    daemon.iscsimux("ping", "disk", "-c", 1, "-s", "0")


@test("ping without end stops at a signal and sums up")
def ping_interrupted():
    client = setup().start_iscsimux("ping", "disk", "-c", "0", "-i", "0.01")
    client.wait_line("seq=3 ")
    client.signal(signal.SIGINT)
    client.expect_exit(0)
    check(re.search(r"(\d+) sent, \1 received", client.log()), client.log())


@test("ping tells of answers that do not come")
def ping_lost():
    target = Target()
    daemon = Daemon(session("disk", target.portals[0], target.iqn, **FAST))
    daemon.wait_up("disk")
    target.order("stall on")
    done = daemon.iscsimux("ping", "disk", "-c", 1, "-t", "1",
                           check_status=1)
    shows(done, "seq=1: the target did not answer in time")
    shows(done, "1 sent, 0 received", "stdout")
    target.order("stall off")


@test("inquiry says what a logical unit is")
def inquiry():
    daemon = setup()
    done = daemon.iscsimux("inquiry", "disk/1")
    for line in (r"^device type +disk$", r"^vendor +ISCSIMUX$",
                 r"^product +RAM target$"):
        shows(done, line, "stdout")
    told = loads(daemon.iscsimux("inquiry", "disk", "--json"))
    check_equal((told["vendor"], told["device_type"], told["lun"]),
                ("ISCSIMUX", 0, 0), "JSON")
    raw = daemon.iscsimux("inquiry", "disk", "--hex").stdout
    check_equal(bytes.fromhex(re.sub(r"  +\S.*", "", raw[6:raw.index("\n")][
        :48]))[8:16], b"ISCSIMUX", "hex")
    shows(daemon.iscsimux("inquiry", "disk/77"), "no such logical unit",
          "stdout")


@test("inquiry decodes pages of vital product data")
def vpd():
    daemon = setup()
    shows(daemon.iscsimux("inquiry", "disk", "--vpd", "pages"),
          r"^0x83  device identification$", "stdout")
    serial = daemon.iscsimux("inquiry", "disk", "-p", "0x80").stdout.strip()
    check_equal(loads(daemon.iscsimux("inquiry", "disk", "-p", "serial",
                                      "-j"))["serial"], serial, "serial")
    shows(daemon.iscsimux("inquiry", "disk", "-p", "id"),
          r"vendor id: ISCSIMUX", "stdout")
    told = loads(daemon.iscsimux("inquiry", "disk", "-p", 131, "-j"))
    check_equal(told["designators"][0]["type"], 1, "designator")
    told = loads(daemon.iscsimux("inquiry", "disk", "-p", "limits", "-j"))
    check("transfer_max" in told, f"no limits: {told}")
    daemon.iscsimux("inquiry", "disk", "-p", "limits")
    daemon.iscsimux("inquiry", "disk", "-p", "characteristics")


@test("luns lists the logical units")
def luns():
    daemon = setup()
    told = loads(daemon.iscsimux("luns", "disk", "--json"))["luns"]
    check_equal([each["lun"] for each in told], [0, 1, 2], "LUNs")
    check_equal(told[2]["bytes"], "0002000000000000", "bytes")
    shows(daemon.iscsimux("luns", "disk"), r"^ +2 +peripheral +0002", "stdout")


@test("capacity knows blocks of 512 and 4096 bytes")
def capacity():
    daemon = setup()
    shows(daemon.iscsimux("capacity", "disk"),
          r"^capacity +64 MiB \(67108864 bytes\)$", "stdout")
    for name, block in (("disk", 512), ("big", 4096)):
        told = loads(daemon.iscsimux("capacity", name, "-j"))
        check_equal((told["block_length"], told["bytes"]), (block, 64 << 20),
                    name)


@test("sense data are told in words, status 1")
def sense():
    daemon = setup()
    done = daemon.iscsimux("capacity", "disk/77", "--json", check_status=1)
    shows(done, r"Illegal Request, Logical unit not supported \(05/25/00\)")
    scsi = loads(done)["error"]["scsi"]
    check_equal((scsi["status"], scsi["sense_key"], scsi["asc"]),
                (2, 5, 0x25), "sense")
    done = daemon.iscsimux("inquiry", "disk", "-p", "0x77", check_status=1)
    shows(done, r"Invalid field in cdb \(05/24/00\)")


@test("a unit attention is no failure")
def unit_attention():
    target = Target()
    daemon = Daemon(session("disk", target.portals[0], target.iqn))
    daemon.wait_up("disk")
    target.order("ua 0 0x2a 0x09")
    done = daemon.iscsimux("capacity", "disk", "-v")
    shows(done, "status=Check Condition")


@test("-v prints every PDU")
def verbose():
    done = setup().iscsimux("capacity", "disk/1", "-v")
    shows(done, r"^-> SCSI Command itt=0x(\w+) data=0 lun=1 edtl=32 F R "
          r"Read capacity\(16\)$")
    shows(done, r"^<- SCSI Data-In itt=0x\w+ data=32 .* status=Good$")
    done = setup().iscsimux("ping", "disk", "-c", 1, "-v")
    shows(done, "^-> NOP-Out .*data=56")
    shows(done, "^<- NOP-In .*data=56")


WRONG = (
    ((), "which command"),
    (("dance",), "no such command: dance"),
    (("list", "disk"), "unexpected argument: disk"),
    (("wait",), "which session"),
    (("wait", "disk/0"), "takes no LUN"),
    (("wait", "a b"), "no name of a session"),
    (("wait", ""), "no name of a session"),
    (("wait", "x" * 224), "no name of a session"),
    (("capacity", "disk/"), "a LUN is a number"),
    (("capacity", "disk/-1"), "a LUN is a number"),
    (("capacity", "disk/16384"), "a LUN is a number"),
    (("capacity", "disk/0x1"), "a LUN is a number"),
    (("capacity", "disk", "x"), "unexpected argument: x"),
    (("read", "disk", "a", "b"), "unexpected argument: b"),
    (("list", "--offset", "1"), "--offset does not go with"),
    (("read", "disk", "--verify"), "--verify does not go with"),
    (("read", "disk", "-o", "-1"), "--offset wants bytes"),
    (("read", "disk", "-o", "1X"), "--offset wants bytes"),
    (("read", "disk", "-l", "99999999999G"), "--length wants bytes"),
    (("read", "disk", "-l", ""), "--length wants bytes"),
    (("read", "disk", "-b", "0"), "--chunk wants bytes"),
    (("read", "disk", "-b", "17M"), "--chunk wants bytes"),
    (("read", "disk", "-q", "0"), "--queue-depth wants"),
    (("read", "disk", "-q", "1025"), "--queue-depth wants"),
    (("read", "disk", "-b", "16M", "-q", "1024"), "more than 1G"),
    (("list", "--timeout", "0"), "--timeout wants"),
    (("list", "--timeout", "nan"), "--timeout wants"),
    (("list", "--timeout", "1s"), "--timeout wants"),
    (("list", "--socket", ""), "--socket wants"),
    (("ping", "disk", "-c", "+1"), "--count wants"),
    (("ping", "disk", "-i", "-1"), "--interval wants"),
    (("ping", "disk", "-s", "1M"), "--size wants"),
    (("inquiry", "disk", "-p", "256"), "--vpd wants"),
    (("inquiry", "disk", "-p", "ids"), "--vpd wants"),
    (("list", "--jsno"), "unrecognized option"),
    (("list", "--timeout"), "requires an argument"),
)


@test("wrong usage: status 2, one clear message, no daemon asked")
def usage():
    for args, message in WRONG:
        done = run([program("ISCSIMUX"), *args], check_status=2,
                   env={"ISCSIMUX_SOCKET": "/nonexistent"})
        check(message in done.stderr, f"{args}: {done.stderr!r}")
        check_equal(done.stdout, "", f"stdout of {args}")
        check("--help" in done.stderr or "1G" in done.stderr,
              f"{args}: {done.stderr!r}")


@test("help and version are for standard output, of each command, too")
def help_and_version():
    client = program("ISCSIMUX")
    shows(run([client, "--version"]), r"^iscsimux \d", "stdout")
    done = run([client, "-h"])
    for command in ("list", "wait", "ping", "inquiry", "luns", "capacity",
                    "read", "write"):
        shows(done, rf"^  {command} ", "stdout")
        shows(run([client, command, "--help"]),
              rf"^usage: iscsimux {command} ", "stdout")
    with open("/dev/full", "w", encoding="ascii") as full:
        done = run([client, "--help"], check_status=1, capture_output=False,
                   stdout=full, stderr=-1)
    shows(done, "cannot write: No space left")


@test("no daemon: status 3 and what to do")
def no_daemon():
    for command in (("list",), ("wait", "disk"), ("read", "disk", "out")):
        done = run([program("ISCSIMUX"), "-S", tmp("nothing"), *command],
                   check_status=3)
        shows(done, "iscsimuxd is not running: there is no socket at .* -S")
    path = tmp("file")
    with open(path, "w", encoding="ascii"):
        pass
    done = run([program("ISCSIMUX"), "list"], check_status=3,
               env={"ISCSIMUX_SOCKET": path})
    shows(done, "nobody listens at")


@test("a socket that is no data socket: status 3")
def wrong_socket():
    daemon = setup()
    for command in (("list",), ("wait", "disk")):
        done = daemon.iscsimux(*command, "-S", daemon.control_socket,
                               "-t", "1", check_status=3)
        shows(done, "^iscsimux: iscsimuxd at ")


def as_nobody(daemon, *args, **options):
    """Runs the client as a user without any rights."""
    if os.getuid() != 0:
        raise Skip("only root can become someone else")
    prefix = [shutil.which("setpriv") or "/nonexistent", "--reuid", "65534",
              "--regid", "65534", "--clear-groups", program("ISCSIMUX")]
    os.chmod(tmpdir(), 0o711)
    if run([*prefix, "--version"], check_status=None).returncode != 0:
        raise Skip("nobody cannot run the program where it is")
    return run([*prefix, *args], env=daemon.client_env(), **options)


@test("no permission to use the socket: status 3")
def no_permission():
    daemon = setup()
    done = as_nobody(daemon, "list", check_status=3)
    shows(done, "no permission to use")


@test("no permission to use a session: it is as if there were none")
def no_session():
    target = RamTarget()
    daemon = Daemon(session("disk", target.portals[0], target.iqn),
                    data_socket_mode="0666")
    done = as_nobody(daemon, "list")
    shows(done, "no session that you may use")
    theirs = as_nobody(daemon, "capacity", "disk", check_status=1)
    shows(theirs, "session disk: there is no such session")
    check_equal(daemon.iscsimux("capacity", "other",
                                check_status=1).stderr,
                theirs.stderr.replace("disk", "other"), "the message")


@test("the daemon ends while a client waits: status 3 and why")
def daemon_ends():
    daemon = Daemon(session("dead", f"127.0.0.1:{free_port()}",
                            RamTarget.iqn))
    client = daemon.start_iscsimux("wait", "dead")
    client.wait_line("waiting")
    daemon.stop()
    client.expect_exit(3)
    check(re.search(r"iscsimuxd at \S+: .+", client.log()), client.log())


COMPLETE = r"""
. "$1"
shift
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
_iscsimux
printf '%s\n' "${COMPREPLY[@]}"
"""


@test("bash completes commands, options and the names of sessions")
def completion():
    daemon = setup()
    script = os.path.join(os.environ["top_srcdir"], "client", "completion",
                          "iscsimux.bash")
    for words, wanted in ((("w",), ["wait", "write"]),
                          (("-S", "x", "in"), ["inquiry"]),
                          (("read", ""), ["disk", "big", "dead"]),
                          (("read", "-o", "512", "d"), ["disk", "dead"]),
                          (("list", ""), [""]),
                          (("inquiry", "-p", "s"), ["serial"]),
                          (("write", "--v"),
                           ["--verify", "--verbose", "--version"])):
        done = run([installed("bash"), "-c", COMPLETE, "bash", script,
                    program("ISCSIMUX"), *words], env=daemon.client_env())
        check_equal(done.stdout[:-1].split("\n"), wanted, f"{words}")


@test("tgt is understood as well")
def tgt():
    target = Tgt()
    iqn = "iqn.2026-01.org.example:cli"
    target.add_target(iqn, size=1 << 20)
    daemon = Daemon(session("disk", target.portal, iqn))
    told = loads(daemon.iscsimux("luns", "disk", "-j"))["luns"]
    check_equal([each["lun"] for each in told], [0, 1], "LUNs")
    check_equal(loads(daemon.iscsimux("capacity", "disk/1", "-j"))["bytes"],
                1 << 20, "capacity")
    shows(daemon.iscsimux("inquiry", "disk/1"), r"^vendor +IET$", "stdout")
    for page in ("pages", "serial", "id", "limits", "provisioning"):
        daemon.iscsimux("inquiry", "disk/1", "-p", page)


main()
