#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Faults on the connection of a shared session, set while it is in use.

The target and its network are well; all that breaks was ordered over
iscsimuxctl, and what the clients and the admin then see must say so.
"""

import errno
import json
import os
import time

from harness import check, check_equal, check_since, main, test
from muxclient import NONE, NOP_IN, NOP_OUT, command, nop_out
from muxrig import Rig
from rawrig import OddRig, raw_rule
from target_client import TEST_UNIT_READY

DIGESTS = {"header_digest": "CRC32C", "data_digest": "CRC32C"}
LONG = "60s"
# A reconnect-interval so long that a session stays down to be looked at.


def rig_with_faults(*options, **keys):
    """A rig on which faults are allowed."""
    return Rig(*options, broken=True, allow_fault_injection=True, **keys)


def ctl(rig, *words, **options):
    """iscsimuxctl fault WORDS; its output."""
    return rig.daemon.iscsimuxctl("fault", *words, **options).stdout


def set_fault(rig, *words):
    """Sets a fault for the session."""
    ctl(rig, "set", "ram", *words)


def faults(rig):
    """What fault list --json says of the session, by id."""
    out = rig.daemon.iscsimuxctl("--json", "fault", "list", "ram").stdout
    return {each["id"]: each for each in json.loads(out)["faults"]}


def wait_fired(rig, name, count=1):
    """Waits until a fault has fired so often; returns it."""
    def entry(told):
        return {each["id"]: each for each in told["faults"]}[name]
    return entry(rig.daemon.wait_call(
        lambda told: entry(told)["fired"] >= count,
        f"{name} to fire", "fault.list", connection="ram"))


def ended_unknown(task):
    """A task that was on the wire when the connection went."""
    check(task.outcome is not None, f"a final PDU: {task.pdu}")
    check_equal((task.outcome.outcome, task.outcome.reason,
                 task.outcome.not_sent),
                ("unknown", "connection-lost", False), "outcome")


def comes_back(rig, mux, words):
    """The session goes down with words in the reason, and up again."""
    down = mux.event("session-down")
    check(words in down.text, f"{words!r} is not in {down.text!r}")
    mux.event("session-up")
    mux.works()
    rig.wait_idle()


@test("a read fails with the chosen error after so many bytes from now")
def read_errno():
    rig = rig_with_faults()
    mux = rig.mux()
    mux.works()
    before = rig.stats()["bytes_in"]
    set_fault(rig, "read", "errno=ECONNABORTED", "after=1000", "from-now")
    shown = faults(rig)["read-errno"]
    check_equal((shown["at"], shown["passed"], shown["fired"]),
                (before + 1000, before, 0), "where it acts")
    # 48 + 512 bytes pass, and then a part of the next answer.
    check_equal(len(mux.read(0, 1)), 512, "bytes read")
    task = mux.start_read(0, 2)
    mux.finish(task)
    ended_unknown(task)
    comes_back(rig, mux, "read: Software caused connection abort")
    shown = faults(rig)["read-errno"]
    check_equal((shown["fired"], shown["spent"]), (1, True), "it fired")
    log = rig.daemon.log()
    check("session ram: lost: read: Software caused connection abort" in log,
          "the log does not say why")


def check_exact(direction, after, ends):
    """Whether tasks of 48 bytes each way ended as a cut after so many says.

    What was written whole before a write failed may be answered still.
    """
    whole, begun = after // 48, -(-after // 48)
    if direction == "read":
        check_equal(ends.count("final"), whole, "tasks that were answered")
        return
    check(set(ends[:whole]) <= {"final", "unknown"}, f"{after}: {ends}")
    check_equal(ends[whole:], ["unknown"] * (begun - whole) +
                ["not-sent"] * (5 - begun), f"ends after {after} bytes")


@test("exactly so many bytes pass before it fails")
def exact():
    for direction, bytes_of in (("read", "bytes_in"), ("write", "bytes_out")):
        for after in (0, 1, 47, 48, 49, 100):
            rig = rig_with_faults(session_keys={"reconnect_interval": LONG})
            mux = rig.mux()
            before = rig.stats()[bytes_of]
            set_fault(rig, direction, "errno=ENETDOWN", f"after={after}",
                      "from-now")
            tasks = [mux.submit(command(mux.itt(), TEST_UNIT_READY))
                     for _ in range(5)]
            mux.finish(*tasks)
            told = rig.daemon.wait_down("ram")
            check_equal(told["last_error"],
                        f"{direction}: Network is down", "last error")
            check_equal(rig.stats()[bytes_of] - before, after,
                        f"bytes before the {direction} failed")
            ends = ["final" if task.outcome is None else
                    task.outcome.outcome for task in tasks]
            check_exact(direction, after, ends)


@test("writes of a byte at a time: all arrives as it was sent")
def short():
    rig = Rig(allow_fault_injection=True, session_keys=DIGESTS)
    mux = rig.mux()
    set_fault(rig, "write", "short=1")
    set_fault(rig, "read", "short=1")
    data = os.urandom(8192)
    mux.write(8, data)
    check_equal(mux.read(8, 16), data, "data")
    check(faults(rig)["write-short"]["fired"] > 8192, "writes were not short")
    check(faults(rig)["read-short"]["fired"] > 8192, "reads were not short")
    check_equal(ctl(rig, "clear", "ram"), "2 faults cleared\n", "answer")
    mux.works()
    rig.wait_idle()
    check_equal(rig.stats()["downs"], 0, "downs")


@test("a delay holds up each answer, and nothing else")
def delay():
    rig = Rig("--luns", "1", allow_fault_injection=True)
    mux = rig.mux()
    mux.works()
    set_fault(rig, "read", "delay=200")
    begin = time.monotonic()
    task = mux.submit(command(mux.itt(), TEST_UNIT_READY))
    mux.ping()
    mux.finish(task).good()
    check_since(begin, 0.2)
    check(faults(rig)["read-delay"]["fired"] >= 1, "it did not fire")
    ctl(rig, "clear", "ram", "read-delay")
    mux.works()
    check_equal(rig.stats()["downs"], 0, "downs")


@test("a stall holds all back until it is cleared; timeouts go on")
def stall():
    rig = Rig(allow_fault_injection=True)
    mux = rig.mux()
    mux.works()
    for direction in ("read", "write"):
        set_fault(rig, direction, "stall")
        tasks = [mux.submit(command(mux.itt(), TEST_UNIT_READY))
                 for _ in range(3)]
        shown = wait_fired(rig, f"{direction}-stall")
        check(not shown["spent"], "it is spent")
        mux.ping()
        check(not any(task.done for task in tasks), "a task has ended")
        check(rig.show()["up"], "the session is down")
        ctl(rig, "clear", "ram", f"{direction}-stall")
        for task in tasks:
            mux.finish(task).good()
    check_equal(rig.stats()["downs"], 0, "downs")
    rig.wait_idle()


@test("a stalled target does not answer ABORT TASK: the session recovers")
def stall_and_abort():
    rig = rig_with_faults(abort_timeout="200ms")
    mux = rig.mux()
    mux.works()
    set_fault(rig, "read", "stall")
    task = mux.submit(command(mux.itt(), TEST_UNIT_READY))
    wait_fired(rig, "read-stall")
    mux.cancel(task)
    mux.finish(task)
    ended_unknown(task)
    check("no answer to ABORT TASK" in mux.event("session-down").text,
          "why it went down")
    # It is there for the next login, too, and cleared that goes on.
    ctl(rig, "clear")
    mux.event("session-up")
    mux.works()


@test("a corrupt byte is found by the digest, and no PDU with it delivered")
def corrupt():
    rig = rig_with_faults(session_keys=DIGESTS)
    mux = rig.mux()
    data = os.urandom(4096)
    mux.write(0, data)
    # Of the Data-In: a byte of the header, of its digest, of the data.
    for after, words in ((20, "header digest"), (49, "header digest"),
                         (52, "data digest"), (1000, "data digest"),
                         (52 + 4096, "data digest")):
        set_fault(rig, "read", "corrupt", f"after={after}", "from-now")
        task = mux.start_read(0, 8)
        mux.finish(task)
        ended_unknown(task)
        check_equal(task.got, 0, "bytes that were delivered")
        comes_back(rig, mux, words)
        check_equal(mux.read(0, 8), data, "data")


@test("a corrupt byte on its way out is found by the target")
def corrupt_write():
    rig = rig_with_faults(session_keys=DIGESTS)
    mux = rig.mux()
    set_fault(rig, "write", "corrupt=1", "after=20", "from-now")
    task = mux.submit(command(mux.itt(), TEST_UNIT_READY))
    mux.finish(task)
    ended_unknown(task)
    comes_back(rig, mux, "closed by the target")


@test("closed as by the target, at once and during each login")
def close():
    rig = rig_with_faults()
    mux = rig.mux()
    # The session is idle: nothing arrives that could tell of it.
    set_fault(rig, "read", "close")
    comes_back(rig, mux, "closed by the target")
    set_fault(rig, "read", "close", "after=30", "repeat")
    wait_fired(rig, "read-close", 3)
    check("in the middle of a PDU" in rig.show()["last_error"],
          f"last error: {rig.show()['last_error']}")
    ctl(rig, "clear", "ram")
    rig.daemon.wait_up("ram")
    mux.event("session-down")
    mux.event("session-up")
    mux.works()


@test("set anew under the same id, a fault is replaced while it waits")
def replaced():
    rig = rig_with_faults()
    mux = rig.mux()
    check_equal(ctl(rig, "set", "ram", "write", "errno=EIO", "after=100000",
                    "from-now", "id=x"), "fault x of ram set\n", "answer")
    check_equal(ctl(rig, "set", "ram", "write", "errno=EPERM", "after=10",
                    "from-now", "id=x"), "fault x of ram replaced\n",
                "answer")
    check_equal(list(faults(rig)), ["x"], "faults")
    task = mux.submit(command(mux.itt(), TEST_UNIT_READY))
    mux.finish(task)
    ended_unknown(task)
    comes_back(rig, mux, "write: Operation not permitted")


@test("it can be listed, and wrong words are refused")
def words():
    rig = rig_with_faults()
    check_equal(ctl(rig, "list"), "no faults are set\n", "an empty list")
    ctl(rig, "set", "ram", "read", "corrupt=0x80", "after=1000000000")
    ctl(rig, "set", "ram", "write", "delay=5", "after=1000000000")
    lines = ctl(rig, "list", "ram").splitlines()
    check_equal([line.split()[:5] for line in lines], [
        ["CONNECTION", "ID", "DIRECTION", "KIND", "AFTER"],
        ["ram", "read-corrupt", "read", "corrupt=128", "1000000000"],
        ["ram", "write-delay", "write", "delay=5", "1000000000"]], "table")
    for given, status, said in (
            (("set",), 2, "missing: connection"),
            (("set", "ram", "read"), 2, "missing: kind"),
            (("set", "ram", "read", "burn"), 2, "unexpected argument"),
            (("set", "ram", "read", "errno"), 2, "a value is missing"),
            (("set", "ram", "read", "stall=1"), 2, "takes no value"),
            (("set", "ram", "read", "short=x"), 2, "no whole number"),
            (("set", "ram", "read", "stall", "id=a", "id=b"), 2,
             "given twice"),
            (("clear", "ram", "x", "y"), 2, "unexpected argument"),
            (("set", "ram", "both", "stall"), 1, "neither read nor write"),
            (("set", "ram", "read", "errno=EFOO"), 1, "EFOO"),
            (("set", "ram", "read", "short=0"), 1, "from 1 to"),
            (("set", "none", "read", "stall"), 1, "no session"),
            (("clear", "ram", "x"), 1, "no fault"),
            (("list", "none"), 1, "no session")):
        done = rig.daemon.iscsimuxctl("fault", *given, check_status=status)
        check(said in done.stderr, f"{given}: {done.stderr!r}")
    check_equal(ctl(rig, "clear", "ram", "write-delay"),
                "1 fault cleared\n", "answer")
    check_equal(list(faults(rig)), ["read-corrupt"], "what is left")


@test("a raw connection has faults as well, which go with it")
def raw_connection():
    odd = OddRig(raw_rule(), allow_fault_injection=True).connect().login()
    name = f"raw-{odd.control.call('client.list')['clients'][0]['id']}"
    odd.control.call("fault.set", connection=name, direction="read",
                     kind="errno", errno="ETIMEDOUT", after=60, from_now=True)
    task = odd.raw.submit(nop_out(9))
    request = odd.peer.receive(NOP_OUT)
    odd.peer.send(NOP_IN, request.itt)
    odd.raw.finish(task)
    check_equal(task.pdu.opcode, NOP_IN, "the answer before the cut")
    told = odd.control.call("fault.list", connection=name)["faults"][0]
    check_equal((told["at"] - told["passed"], told["fired"]), (12, 0),
                "what is left until it fires")
    odd.peer.send(NOP_IN, NONE, word5=NONE)
    event = odd.raw.event("closed")
    check_equal((event.code, event.bytes_in), (errno.ETIMEDOUT, told["at"]),
                "errno and bytes of EVENT closed")
    check_equal(odd.control.call("fault.list")["faults"], [], "faults")


@test("refused without allow-fault-injection")
def not_allowed():
    rig = Rig()
    done = rig.daemon.iscsimuxctl("fault", "set", "ram", "read", "close",
                                  check_status=3)
    check("allow-fault-injection" in done.stderr, f"{done.stderr!r}")
    check_equal(ctl(rig, "list"), "no faults are set\n", "the list")
    check_equal(ctl(rig, "clear"), "0 faults cleared\n", "answer")
    rig.mux().works()
    check_equal(rig.stats()["downs"], 0, "downs")


main()
