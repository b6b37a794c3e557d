#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""iscsimux submit and raw: PDUs by hand on sessions and on raw connections."""

import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess

from harness import (PATIENCE, TIMEOUT, Skip, check, check_equal, free_port,
                     main, program, run, shared, split_portal, test, tmp,
                     tmpdir, wait_until)
from iscsimuxd import Daemon, session
from rawrig import RamRig, raw_rule
from targets import Istgt, Tgt

RULE = raw_rule()
INQUIRY = "12:00:00:00:24:00"


def shows(done, pattern, where="stderr"):
    """Fails unless what a program printed matches."""
    printed = getattr(done, where)
    check(re.search(pattern, printed, re.MULTILINE),
          f"{where} lacks {pattern!r}: {printed!r}")


def loads(done):
    """The one JSON object of standard output."""
    return json.loads(done.stdout)


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


def page():
    """The lines of iscsimux.1."""
    path = os.path.join(os.environ["top_srcdir"], "client", "iscsimux.1")
    with open(path, encoding="utf-8") as file:
        return file.read()


def page_script(name, target):
    """A script of the man page, for this target, as a file."""
    found = re.search(rf"^\.Bd -literal\n(# {re.escape(name)}\n.*?)^\.Ed$",
                      page(), re.MULTILINE | re.DOTALL)
    check(found is not None, f"iscsimux.1 has no script {name}")
    return script(found.group(1).replace("\\e", "\\")
                  .replace("iqn.2026-01.org.example:disk", target))


def script(text):
    """A file with this text."""
    path = tmp("script.raw")
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    return path


def login(target, *keys, isid="80:00:00:00:00:07"):
    """Lines that log in and wait for the end of the login."""
    texts = "".join(f' text="{key}"' for key in
                    ("InitiatorName=iqn.2026-01.org.example:hand",
                     f"TargetName={target}", "SessionType=Normal",
                     "AuthMethod=None"))
    more = "".join(f' text="{key}"' for key in keys)
    return (f"login-request transit csg=0 nsg=1 isid={isid} itt=1{texts}\n"
            f"wait login-response\n"
            f"login-request transit csg=1 nsg=3 isid={isid} itt=1{more}\n"
            f"wait tasks\n")


def raw(daemon, portal, text, *args, check_status=0):
    """Runs a script given as text."""
    return daemon.iscsimux("raw", "-P", portal, "-f", script(text), *args,
                           check_status=check_status)


def raw_json(daemon, portal, text, **options):
    """The same; returns the report."""
    return loads(raw(daemon, portal, text, "--json", **options))


def named(told, name):
    """The PDUs of that name of a report."""
    return [pdu for pdu in told["pdus"] if pdu.get("pdu") == name]


@shared
def ram():
    """A RAM target, and a daemon with a session of it and a raw rule."""
    rig = RamRig("--luns", 3, config=[RULE])
    rig.session_daemon = Daemon(
        RULE, session("disk", rig.portal, rig.target.iqn))
    rig.session_daemon.wait_up("disk")
    return rig


# --- raw ---

@test("the login of the man page: digests, INQUIRY, logout")
def man_page_login():
    rig = ram()
    done = rig.daemon.iscsimux("raw", "--portal", rig.portal, "--script",
                               page_script("login.raw", rig.target.iqn))
    out = done.stdout
    check_equal(out.count("login-response # answers line 2\n"), 2, out)
    shows(done, r'^    text="HeaderDigest=CRC32C"$', "stdout")
    shows(done, r"^    header-digest=1$", "stdout")
    shows(done, r"^    data-digest=1$", "stdout")
    shows(done, r"^    recv-dsl=65536$", "stdout")
    shows(done, r"^scsi-data-in # answers line 12\n    final\n"
          r"^    status-bit\n    status=0x00 +# Good\n", "stdout")
    shows(done, r"^    # 0000  00 00 06 12 1f 00 00 .. 49 53 43 53 49 4d 55 "
          r"58  ........ISCSIMUX$", "stdout")
    shows(done, r"^logout-response # answers line 14\n    final\n"
          r"    response=0x00 +# connection or session closed$", "stdout")
    shows(done, r"^# closed: .*; \d+ bytes in, \d+ out$", "stdout")
    check_equal(done.stderr, "", "stderr")


@test("the session of the man page: others attach to it until it is taken back")
def man_page_share():
    rig = ram()
    daemon = rig.daemon
    owner = daemon.start_iscsimux("raw", "--portal", rig.portal, "--script",
                                  page_script("share.raw", rig.target.iqn))
    owner.wait_line("^# shared as hand$")
    told = loads(daemon.iscsimux("list", "--json"))["sessions"]
    check_equal([(s["session"], s["shared"], s["adopted"]) for s in told],
                [("hand", True, False)], "list")
    shows(daemon.iscsimux("list"), "^hand +up +all +shared +iqn", "stdout")
    shows(daemon.iscsimux("inquiry", "hand/0"), "ISCSIMUX", "stdout")
    data = random.Random(1).randbytes(65536)
    image = tmp("image")
    with open(image, "wb") as file:
        file.write(data)
    daemon.iscsimux("write", "hand/0", image)
    read = daemon.iscsimux("read", "hand/0", "-l", 65536, text=False)
    check(read.stdout == data, "what was read differs")
    wait_until(lambda: len(daemon.call("client.list")["clients"]) == 1,
               "only the owner to be left")
    owner.signal(signal.SIGTERM)
    owner.expect_exit(0)
    log = owner.log()
    check(re.search(r"^# state\n    phase=full-feature$", log, re.MULTILINE),
          log)
    check("logout-response" in log, log)
    check_equal(loads(daemon.iscsimux("list", "-j"))["sessions"], [], "list")


def whole_exchange(portal, iqn, lun, keys=()):
    """Login with digests, INQUIRY, a write by R2T, a read; by hand."""
    daemon = Daemon(RULE)
    data = random.Random(2).randbytes(2048)
    image = tmp("block")
    with open(image, "wb") as file:
        file.write(data)
    told = raw_json(daemon, portal, login(
        iqn, "HeaderDigest=CRC32C", "DataDigest=CRC32C", "InitialR2T=Yes",
        "ImmediateData=No", *keys) + f"""
        # A unit attention of a new nexus, perhaps.
        scsi-command lun={lun} cdb=00
        wait
        scsi-command read lun={lun} edtl=36 cdb={INQUIRY}
        wait
        scsi-command write lun={lun} itt=0x77 edtl=2048 \\
            cdb=2a:00:00:00:00:08:00:00:04:00
        wait r2t
        scsi-data-out lun={lun} itt=$itt ttt=$ttt datasn=0 \\
            buffer-offset=$buffer-offset data=@{image}
        wait
        scsi-command read lun={lun} edtl=2048 cdb=28:00:00:00:00:08:00:00:04:00
        wait
        get
        logout-request
        wait
        """)
    state = told["states"][0]
    check_equal((state["header-digest"], state["data-digest"]), (1, 1),
                "digests")
    responses = named(told, "login-response")
    check_equal(responses[-1]["words"]["nsg"], "full feature phase", "stage")
    r2t = named(told, "r2t")[0]["fields"]
    check_equal((r2t["itt"], r2t["desired-data-transfer-length"]),
                (0x77, 2048), "R2T")
    read = b"".join(bytes.fromhex(pdu["data"]) for pdu in
                    named(told, "scsi-data-in"))
    check(read[36:] == data, "what was read differs")
    check_equal(len(read), 36 + 2048, "bytes read")
    check_equal(named(told, "logout-response")[0]["fields"]["response"], 0,
                "logout")
    return told


@test("a whole exchange by hand with the RAM target")
def exchange_ram():
    rig = ram()
    whole_exchange(rig.portal, rig.target.iqn, 0)


@test("a whole exchange by hand with tgt")
def exchange_tgt():
    target = Tgt()
    iqn = "iqn.2026-01.org.example:tgt"
    target.add_target(iqn, digests=True)
    whole_exchange(target.portal, iqn, 1)


@test("a whole exchange by hand with istgt")
def exchange_istgt():
    target = Istgt()
    whole_exchange(target.portal, target.iqn, 0)


@test("a read in several PDUs: one expected, the others unmatched")
def expect_one():
    rig = ram()
    done = raw(rig.daemon, rig.portal, login(
        rig.target.iqn, "MaxRecvDataSegmentLength=512") + """
        scsi-command read expect=one itt=9 edtl=1024 \\
            cdb=28:00:00:00:00:00:00:00:02:00
        wait scsi-data-in
        wait scsi-data-in
        expect none
        nop-out itt=10
        wait nop-in
        """)
    shows(done, r"^scsi-data-in # answers line 6\n(?s:.*)"
          r"^scsi-data-in # nobody waits for it\n(?s:.*)"
          r"^nop-in # nobody waits for it\n", "stdout")


@test("a ping of the target is seen and answered")
def target_ping():
    rig = ram()
    text = login(rig.target.iqn, isid="80:00:00:00:00:55") + """
        get
        wait nop-in
        nop-out immediate itt=0xffffffff ttt=$ttt lun=$lun
        wait tasks
        wait signal
        """
    client = rig.daemon.start_iscsimux("raw", "-P", rig.portal, "-f",
                                       script(text))
    client.wait_line("^    phase=full-feature$")
    with rig.target.calling("ping") as answer:
        client.wait_line("^nop-in # unsolicited$")
        told = answer()
    check(told["ok"], told)
    client.signal(signal.SIGTERM)
    client.expect_exit(0)


@test("a PDU in hexadecimal, tags that the daemon chooses, digests shown")
def hexadecimal():
    rig = ram()
    bhs = "40 80 00 00 00 00 00 04 00000000 00000000 00000042 ffffffff " \
          "00000001 00c0fff0 00000000 00000000 00000000 00000000 61:62:63:64"
    told = raw_json(rig.daemon, rig.portal, login(
        rig.target.iqn, "HeaderDigest=CRC32C") + f"""
        set show-digests
        {bhs}
        wait nop-in
        nop-out
        wait
        """)
    first, second = named(told, "nop-in")
    check_equal((first["fields"]["itt"], first["data"]), (0x42, "61626364"),
                "NOP-In")
    check_equal(len(first["header_digest"]), 8, "digest")
    check("data_digest" not in first, "a data digest")
    check(second["fields"]["itt"] != 0xffffffff, "the reserved tag")


@test("digests of one's own, and lengths that are wrong, with unchecked")
def own_digests():
    rig = RamRig("--luns", 1, broken=True,
                 config=[raw_rule(unchecked=True)])
    done = raw(rig.daemon, rig.portal, login(
        rig.target.iqn, "HeaderDigest=CRC32C") + """
        set unchecked
        nop-out header-digest=01:02:03:04
        wait closed
        """, check_status=4)
    shows(done, r"^# closed: ", "stdout")
    shows(done, r"^# line 7: unknown: ", "stdout")
    # Without it the daemon refuses, and so does the target nothing.
    done = raw(rig.daemon, rig.portal, login(
        rig.target.iqn, "HeaderDigest=CRC32C") + """
        nop-out header-digest=01:02:03:04
        wait
        """, check_status=1)
    shows(done, "^# line 6: refused, not sent: .*unchecked|"
          "^# line 6: refused: .*unchecked", "stdout")


@test("lines from a pipe run as they come, and errors say where")
def interactive():
    rig = ram()
    client = rig.daemon.start_iscsimux("raw", "-P", rig.portal,
                                       stdin=subprocess.PIPE)
    pipe = client.popen.stdin

    def say(text):
        pipe.write(text.encode())
        pipe.flush()

    say(login(rig.target.iqn))
    say("nop-out itt=3 \\\n")
    client.wait_line("^login-response", count=2)
    say("   data=\"half a line")
    say("\"\n")
    client.wait_line(r"^    # 0000 .*  half a line$")
    say("\n# nothing\nnop-out itt=4 lum=3\n")
    client.expect_exit(2)
    shows(subprocess.CompletedProcess([], 2, "", client.log()),
          r"^iscsimux: standard input:9:15: nop-out has no field 'lum'$")
    pipe.close()


WRONG = (
    ("nop-out\nscsi-comand\n", 2, 1, "there is no PDU called 'scsi-comand'"),
    ("nop-out itt=1 \\\n   cmdsn=x\n", 2, 10, "cmdsn wants a number"),
    ("  wait forever\n", 1, 8, "wait wants"),
    ("wait scsi-command\n", 1, 6, "wait wants"),
    ("wait nop-in x\n", 1, 13, "wait wants"),
    ("set\n", 1, 1, "set what"),
    ("set digest\n", 1, 5, "there is no such setting: 'digest'"),
    ("set manual=2\n", 1, 5, "this is 0 or 1"),
    ("set recv-dsl\n", 1, 5, "a length is a number up to 16777215"),
    ("set read-deadline=-1\n", 1, 5, "a deadline is seconds"),
    ("expect two\n", 1, 8, "expect wants auto, none, one or many"),
    ("share\n", 1, 1, "share wants a name"),
    ("get it\n", 1, 5, "get has no words behind it"),
    ("close x\n", 1, 7, "close has no words"),
    ("unshare x\n", 1, 9, "unshare has no words"),
    ("nop-out data=\"x\n", 1, 14, "this quotation mark is not closed"),
    ("nop-out data=@/nonexistent\n", 1, 15, "No such file"),
    ("0102\n", 1, 1, "2 bytes, where a BHS has 48"),
)


@test("a wrong script: status 2, where and why, before anybody is asked")
def wrong_scripts():
    for text, line, column, why in WRONG:
        path = script(login("iqn.x") + text)
        done = run([program("ISCSIMUX"), "raw", "-P", "127.0.0.1:1", "-f",
                    path, "-S", tmp("nothing")], check_status=2)
        shows(done, f"^iscsimux: {re.escape(path)}:{line + 4}:{column}: .*"
              f"{re.escape(why)}")
        check_equal(done.stdout, "", "stdout")
        told = run([program("ISCSIMUX"), "raw", "-P", "127.0.0.1:1", "-f",
                    path, "-j"], check_status=2)
        check_equal(loads(told)["error"]["exit_status"], 2, "exit status")


@test("a wrong command line: status 2")
def wrong_usage():
    rig = ram()
    for args, why in (
            (["raw"], "raw wants --portal HOST:PORT"),
            (["raw", "-P", "x", "-A", "3"], "raw wants --portal"),
            (["raw", "-P", "x", "-f", "/nonexistent"], "No such file"),
            (["raw", "-A", "x"], "--adopt-fd wants"),
            (["raw", "-P", "x", "disk"], "unexpected argument"),
            (["list", "-P", "x"], "--portal does not go with"),
            (["submit", "disk"], "which PDU"),
            (["submit", "disk", "nop-out", "x=1"],
             "column 9 of 'nop-out x=1': nop-out has no field 'x'"),
            (["submit", "disk", "nop-out\nnop-out"], "takes one PDU"),
            (["submit", "disk", "nop-out data-segment-length=4"],
             "the lengths in the header"),
            (["submit", "disk", "nop-out header-digest=01020304"],
             "digests")):
        done = rig.session_daemon.iscsimux(*args, check_status=2)
        shows(done, re.escape(why))


@test("no daemon, no permission, no target: statuses 3, 3, 1")
def not_possible():
    rig = ram()
    done = run([program("ISCSIMUX"), "raw", "-P", rig.portal, "-S",
                tmp("nothing")], check_status=3)
    shows(done, "iscsimuxd is not running")
    daemon = Daemon(raw_rule(users=["root"]), data_socket_mode="0666")
    done = as_nobody(daemon, "raw", "-P", rig.portal, check_status=3)
    shows(done, "raw rule")
    port = free_port()
    done = rig.daemon.iscsimux("raw", "-P", f"127.0.0.1:{port}",
                               check_status=1)
    shows(done, r"^iscsimux: standard input:0: 127\.0\.0\.1:\d+: .*refused|"
          r"^iscsimux: 127\.0\.0\.1:\d+: .*refused")


@test("what is waited for in vain, and a connection that ends: status 1")
def in_vain():
    rig = ram()
    done = raw(rig.daemon, rig.portal, login(rig.target.iqn) +
               "wait reject 0.1\n", check_status=1)
    shows(done, r"script\.raw\S*:5: waited in vain$")
    done = raw(rig.daemon, rig.portal, login(rig.target.iqn) +
               "logout-request\nwait\nwait closed\nnop-out\n",
               check_status=1)
    shows(done, r"script\.raw\S*:8: there is no connection: ")
    done = raw(rig.daemon, rig.portal, login(rig.target.iqn) +
               "set read-deadline=0.1\nwait reject\n", check_status=1)
    shows(done, r":6: the connection has ended: ")
    # A Login is the only thing that may come first.
    done = raw(rig.daemon, rig.portal, "nop-out itt=1\nwait\n",
               check_status=1)
    shows(done, r"^# line 1: refused, not sent: |^# line 1: refused: ",
          "stdout")


@test("close ends the connection and the tasks")
def close():
    rig = ram()
    told = raw_json(rig.daemon, rig.portal, login(rig.target.iqn) +
                    "close\nwait closed\n")
    check_equal(told["closed"]["errno"], 0, "errno")
    check(told["closed"]["bytes_in"] > 48, "bytes in")


@test("a share under a name that is taken is refused")
def share_taken():
    rig = ram()
    done = raw(rig.session_daemon, rig.portal, login(rig.target.iqn) +
               "share disk\n", check_status=1)
    shows(done, r":5: share: ")


@test("a socket of one's own is adopted")
def adopt():
    rig = ram()
    with socket.create_connection(split_portal(rig.portal),
                                  TIMEOUT * PATIENCE) as ours:
        done = run([program("ISCSIMUX"), "raw", "-A", ours.fileno(), "-f",
                    script(login(rig.target.iqn) + "get\nshare given\n"
                           f"scsi-command read edtl=36 cdb={INQUIRY}\n"
                           "wait\n")],
                   env=rig.daemon.client_env(), pass_fds=[ours.fileno()])
    shows(done, "^    adopted=1$", "stdout")
    shows(done, "^# shared as given$", "stdout")
    shows(done, "ISCSIMUX$", "stdout")


@test("a shared session takes PDUs of the script: a write by R2T")
def write_shared():
    rig = ram()
    told = raw_json(rig.daemon, rig.portal, login(
        rig.target.iqn, "InitialR2T=Yes", "ImmediateData=No") + """
        share mine
        scsi-command write itt=5 edtl=512 cdb=2a:00:00:00:00:20:00:00:01:00
        wait r2t
        scsi-data-out itt=5 ttt=$ttt lun=$lun data=@/dev/zero
        """.replace("@/dev/zero", "00" * 512) + """
        wait
        unshare
        nop-out
        wait
        """)
    check_equal([pdu["words"]["status"] for pdu in
                 named(told, "scsi-response")], ["Good"], "status")
    check_equal(len(named(told, "nop-in")), 1, "NOP-Ins")


@test("the library: a socket out of the daemon and in again, shared, taken back")
def library():
    rig = ram()
    done = run([os.path.join(os.environ["TEST_HELPERS"], "integration",
                             "raw_worker"),
                rig.portal, rig.target.iqn, "worker"],
               env=rig.daemon.client_env())
    check_equal(done.stdout.split(),
                "connect open export adopt state close open set share "
                "execute unshare close".split(), "what it did")


# --- submit ---

@test("submit shows each field of what comes back")
def submit():
    daemon = ram().session_daemon
    done = daemon.iscsimux("submit", "disk/0", "scsi-command", "read",
                           "edtl=36", f"cdb={INQUIRY}")
    for line in ("scsi-data-in", "    final", "    status-bit",
                 "    data-segment-length=36", "    lun=0", "    datasn=0",
                 "    buffer-offset=0", "    residual-count=0"):
        check(f"{line}\n" in done.stdout, f"{line!r}: {done.stdout}")
    shows(done, r"^    # 0000  .*ISCSIMUX$", "stdout")
    bhs = "0081" + "00" * 14 + "00000005" + "ffffffff" + "00" * 24
    told = loads(daemon.iscsimux("submit", "disk", bhs, "-j"))
    check_equal(told["pdus"][0]["fields"]["itt"], 5, "the tag given")
    check_equal((told["session"], told["lun"]), ("disk", 0), "session")


@test("submit: sense data in words, and status 1")
def submit_sense():
    daemon = ram().session_daemon
    done = daemon.iscsimux("submit", "disk", "scsi-command cdb=fe",
                           check_status=1)
    shows(done, r"^    status=0x02 +# Check Condition$", "stdout")
    shows(done, r"^    # sense: Illegal Request, .*\(05/20/00\)$", "stdout")
    shows(done, r"^iscsimux: Illegal Request, .*\(05/20/00\)$")
    told = loads(daemon.iscsimux("submit", "disk", "scsi-command cdb=fe",
                                 "-j", check_status=1))
    check_equal(told["pdus"][0]["fields"]["status"], 2, "status")
    check("Illegal Request" in told["pdus"][0]["sense"], "sense")
    check_equal(told["error"]["scsi"]["asc"], 0x20, "asc")


@test("submit: task management, a ping, and data out at once")
def submit_others():
    daemon = ram().session_daemon
    done = daemon.iscsimux("submit", "disk/1",
                           "task-management-request immediate function=5")
    shows(done, r"^    response=0x00 +# function complete$", "stdout")
    done = daemon.iscsimux("submit", "disk/99", "task-management-request",
                           "immediate", "function=5", check_status=1)
    shows(done, r"^iscsimux: LUN does not exist$")
    done = daemon.iscsimux("submit", "disk", 'nop-out data="hello"')
    shows(done, r"^    # 0000  .*  hello$", "stdout")
    daemon.iscsimux("submit", "disk/0", "scsi-command write edtl=512",
                    "cdb=2a:00:00:00:00:30:00:00:01:00",
                    "data=" + "5a" * 512)
    read = daemon.iscsimux("read", "disk/0", "-o", 0x30 * 512, "-l", 512,
                           text=False)
    check(read.stdout == b"\x5a" * 512, "what was read differs")


@test("submit: what is refused, and a command that wants more data")
def submit_refused():
    daemon = ram().session_daemon
    done = daemon.iscsimux("submit", "disk", "logout-request",
                           check_status=1)
    shows(done, "^iscsimux: refused: ")
    done = daemon.iscsimux("submit", "disk", "nop-out itt=0xffffffff",
                           check_status=1)
    shows(done, "^iscsimux: refused: ")
    done = daemon.iscsimux("submit", "disk", "scsi-command write edtl=512",
                           "cdb=2a:00:00:00:00:30:00:00:01:00",
                           check_status=1)
    shows(done, "^r2t$", "stdout")
    shows(done, "^iscsimux: the target asks for data")
    told = loads(daemon.iscsimux("submit", "disk", "logout-request", "-j",
                                 check_status=1))
    check_equal(told["pdus"][0]["outcome"], "refused", "outcome")
    check_equal(told["error"]["exit_status"], 1, "exit status")


main()
