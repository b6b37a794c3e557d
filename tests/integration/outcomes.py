#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""How tasks end that no target has answered: each once, and as it says."""

import os
import random
import signal

from harness import (check, check_equal, free_port, main, scaled, test,
                     wait_until)
from iscsimuxd import Daemon, session
from muxclient import (ASYNC, ERROR, EVENT, GOODBYE, IMMEDIATE, LUN_RESET,
                       NONE, NOP_IN, OK, OUTCOME, PDU, REJECT, TEST_UNIT_READY,
                       TMF, TMF_RSP, WRITE, Mux, command, data_out, deadline_tlv,
                       lun_number, nop_out, tmf, write16)
from muxrig import Rig
from scripted import Scripted


def ended(task, outcome, reason, not_sent=None, tmf_response=None):
    """The task must have ended with this OUTCOME."""
    check(task.outcome is not None, f"ended with {task.pdu}")
    got = task.outcome
    check_equal(got.kind, OUTCOME, f"what ended it ({got})")
    check_equal((got.outcome, got.reason), (outcome, reason),
                f"outcome ({got.text})")
    check(not_sent is None or got.not_sent == not_sent, f"NOT_SENT of {got}")
    check(tmf_response is None or got.tmf == tmf_response, f"tmf of {got}")
    return got


def cancelled(mux, task, by_itt=False):
    """CANCELs the task, which must be OK, and waits for its end."""
    cookie = mux.cancel(itt=task.itt) if by_itt else mux.cancel(task)
    msg = mux.answer_to(cookie)
    check_equal((msg.kind, msg.payload), (OK, b""), f"answer to CANCEL {msg}")
    return mux.finish(task)


def socket_full(rig):
    """Waits until a stalled target's socket takes no more; the bytes sent.

    The daemon has much to send, but what allows it may not have arrived yet.
    Each look is a turn of its loop; none of ten may have moved a byte.
    """
    looks = []

    def stuck():
        looks.append(rig.stats()["bytes_out"])
        return looks[-1] > 128 << 10 and looks[-10:] == [looks[-1]] * 10
    wait_until(stuck, "the socket to the target to be full")
    return looks[-1]


# --- CANCEL

@test("CANCEL of what was not sent, of what was, and of what is over")
def cancel():
    rig = Rig("--queue-depth", "2")
    mux, other = rig.mux(), rig.mux()
    rig.order("hold reads")
    sent = [mux.start_read(0, 8), mux.start_read(8, 8)]
    rig.wait_target(lambda c: c["commands"] == 2, "both reads")
    queued = [mux.start_read(16, 8), mux.start_read(24, 8)]
    other.error(other.cancel(sent[0].cookie), "no-such-task")
    other.error(other.cancel(itt=sent[0].itt), "no-such-task")
    for task, by_itt in zip(queued, (False, True)):
        ended(cancelled(mux, task, by_itt), "aborted", "cancelled", True, 255)
    check_equal(rig.target.counters()["tmfs"], 0, "TMFs for the unsent")
    for task, by_itt in zip(sent, (False, True)):
        ended(cancelled(mux, task, by_itt), "aborted", "cancelled", False, 0)
    check_equal((rig.target.counters()["tmfs"], rig.stats()["aborts_sent"]),
                (2, 2), "TMFs for the sent")
    for task in sent + queued:
        mux.error(mux.cancel(task), "no-such-task")
        mux.error(mux.cancel(itt=task.itt), "no-such-task")
    rig.order("release")
    mux.works()
    rig.wait_idle()


@test("a second CANCEL changes nothing; the answer of the target is told")
def cancel_twice():
    target = Scripted()
    daemon = Daemon(session("odd", target.portal, target.iqn,
                            logout_timeout="100ms"))
    peer = target.login()
    daemon.wait_up("odd")
    mux = Mux(daemon, "odd")
    for response in (0, 1, 2, 5, 6, 255):
        task = mux.start_read(0, 8)
        request = peer.receive()
        for _ in range(3):
            check_equal(mux.answer_to(mux.cancel(task)).kind, OK, "CANCEL")
        abort = peer.receive(TMF)
        peer.quiet(0.01)
        check_equal(mux.answer_to(mux.cancel(task)).kind, OK, "CANCEL")
        peer.respond(abort, TMF_RSP, response=response)
        mux.finish(task)
        ended(task, "aborted", "cancelled", False, response)
        mux.error(mux.cancel(task), "no-such-task")
        # Not aborted: the tag is kept until the target has answered.
        live = daemon.call("session.show", session="odd")["tasks"]
        check_equal(live, 0 if response < 2 else 1, f"tags after {response}")
        if live:
            peer.data_in(request, bytes(4096))
        mux.ping()
    task = mux.start_read(0, 8)
    peer.receive()
    mux.cancel(task)
    abort = peer.receive(TMF)
    peer.send(REJECT, NONE, abort.bhs, response=5)
    mux.finish(task)
    ended(task, "aborted", "cancelled", False, 255)


@test("a cancelled write: its R2Ts are the daemon's then")
def cancel_write():
    rig = Rig("--initial-r2t", "yes", "--max-outstanding-r2t", "2",
              session_keys={"max_burst_length": "8K", "max_outstanding_r2t": 2,
                            "first_burst_length": "8K"})
    mux = rig.mux()
    data = os.urandom(65536)
    for fed in (0, 512, 8192, 8192 + 1024):
        task = mux.start_write(0, data, manual=True)
        mux.wait_r2ts(task, 2)
        left = fed
        for r2t in task.r2ts[:2]:
            part = data[r2t.offset:r2t.offset + min(left, r2t.word11)]
            left -= len(part)
            if part:
                mux.submit_data(data_out(task.itt, r2t.word5, r2t.offset,
                                         part, 0, len(part) == r2t.word11))
        last = task.r2ts[1]
        cookie = mux.cancel(task)
        late = mux.submit_data(data_out(task.itt, last.word5, last.offset,
                                        data[:8192]))
        check_equal(mux.answer_to(cookie).kind, OK, "answer to CANCEL")
        mux.finish(task)
        ended(task, "aborted", "cancelled", False, 0)
        msg = mux.answer_to(late)
        check(msg.kind == ERROR and msg.reason in
              ("bad-target-transfer-tag", "no-such-task"), f"{msg}")
        rig.wait_target(lambda c: c["r2ts_open"] == 0, "no open R2T")
    mux.works()
    rig.wait_idle()


@test("a bad digest ends the connection, told why, and never completes a PDU")
def bad_digests():
    rig = Rig("--header-digest", "crc32c", "--data-digest", "crc32c",
              session_keys={"header_digest": "CRC32C",
                            "data_digest": "CRC32C"})
    mux = rig.mux()
    data = os.urandom(65536)
    mux.write(0, data)
    for what, why in (("header", "header digest error"),
                      ("data", "SCSI Data-In: data digest error")):
        rig.order(f"corrupt {what}")
        task = mux.finish(mux.start_read(0, 128))
        text = ended(task, "unknown", "connection-lost", False).text
        check(why in text, text)
        check(not any(task.data), "data of the bad PDU came through")
        check(why in mux.event("session-down").text, "EVENT")
        mux.event("session-up")
        check(mux.read(0, 128) == data, f"after a bad {what} digest")
    check_equal(rig.stats()["downs"], 2, "downs")


@test("requests that can not be aborted end as unknown")
def not_abortable():
    target = Scripted()
    daemon = Daemon(session("odd", target.portal, target.iqn,
                            logout_timeout="100ms"))
    peer = target.login()
    daemon.wait_up("odd")
    mux = Mux(daemon, "odd")
    for pdu, answer in ((nop_out(7, b"x"), NOP_IN), (nop_out(7, b"x", 0),
                                                     NOP_IN),
                        (tmf(7, LUN_RESET), TMF_RSP)):
        task = mux.submit(pdu)
        request = peer.receive()
        ended(cancelled(mux, task), "unknown", "cancelled", False)
        timed = mux.submit(bytes(pdu[:16]) + b"\0\0\0\x08" + pdu[20:],
                           tlvs=deadline_tlv(50))
        second = None
        if pdu[0] & IMMEDIATE:
            # Only one at a time, so this one was not sent.
            mux.finish(timed)
            ended(timed, "timed-out", "deadline", True)
        else:
            second = peer.receive()
            mux.finish(timed)
            ended(timed, "timed-out", "deadline", False)
        for got in (request, second):
            if got is not None:
                peer.respond(got, answer)
        daemon.wait_session("odd", lambda s: s["tasks"] == 0, "idle")


@test("what the kernel has not taken is withdrawn, and its CmdSN used")
def withdrawn():
    rig = Rig("--queue-depth", "1", client_outbound="64M")
    rig.order("window 0")
    mux = rig.mux()
    mux.works()
    rig.order("stall on")
    data = os.urandom(65536)
    # They wait for the window; when it opens they go out in full batches,
    # and at the end of one the socket takes no more.
    tasks = []
    for _ in range(250):
        tasks.append(mux.start_write(0, data, immediate=65536))
        tasks.append(mux.submit(command(mux.itt(), TEST_UNIT_READY)))
    mux.ping()
    rig.order("window 1024")
    socket_full(rig)
    kept = set(random.Random(5).sample(range(500), 100))
    for number, task in enumerate(tasks):
        if number not in kept:
            mux.cancel(task)
    mux.ping()
    plugs = rig.stats()["plugs"]
    check(plugs > 0, "nothing was withdrawn")
    rig.order("stall off")
    not_sent = 0
    for number, task in enumerate(tasks):
        mux.finish(task)
        if number in kept:
            task.good()
        elif task.outcome is not None:
            ended(task, "aborted", "cancelled")
            not_sent += task.outcome.not_sent
    check(not_sent > plugs, f"{not_sent} were not sent, {plugs} withdrawn")
    mux.works()
    rig.wait_idle()
    check_equal(rig.stats()["downs"], 0, "downs")


@test("a thousand random CANCELs: no gap, and one end each")
def random_cancels():
    rig = Rig("--queue-depth", "16", "--max-recv-dsl", "8K",
              session_keys={"max_burst_length": "16K",
                            "first_burst_length": "16K"})
    rand = random.Random(14)
    muxes = [rig.mux() for _ in range(3)]
    ends = {"final": 0, "unsent": 0, "aborted": 0}
    submitted = 0
    rounds = 0
    while rounds < scaled(32, 3) or not all(ends.values()):
        check(rounds < 100, f"not every kind of end: {ends}")
        rounds += 1
        batch = []
        for mux in muxes:
            for _ in range(32):
                kind = rand.randrange(4)
                if kind == 0:
                    task = mux.start_read(rand.randrange(1000), 64)
                elif kind == 1:
                    task = mux.start_write(rand.randrange(1000), bytes(32768),
                                           immediate=4096)
                elif kind == 2:
                    task = mux.start_write(rand.randrange(1000), bytes(4096),
                                           immediate=4096)
                else:
                    task = mux.submit(command(mux.itt(), TEST_UNIT_READY))
                batch.append((mux, task))
                if rand.random() < 0.3:
                    mux.cancel(task)
            if rand.random() < 0.3:
                mux.ping()
        for mux, task in rand.sample(batch, 24):
            mux.cancel(task)
        for mux, task in batch:
            mux.finish(task)
            submitted += 1
            if task.outcome is None:
                task.good()
                ends["final"] += 1
            else:
                ended(task, "aborted", "cancelled")
                ends["unsent" if task.outcome.not_sent else "aborted"] += 1
        for mux in muxes:
            mux.ping()
            for msg in mux.inbox:
                check(msg.kind in (OK, ERROR), f"left over: {msg}")
                check(msg.kind == OK or msg.reason in (
                    "no-such-task", "bad-target-transfer-tag"), f"{msg}")
            mux.inbox.clear()
            mux.tasks.clear()
    told = rig.session_of_target()
    plugs = rig.stats()["plugs"]
    check_equal(told["exp_cmdsn"], 1 + submitted - ends["unsent"] + plugs,
                "ExpCmdSN of the target")
    for mux in muxes:
        mux.works()
    rig.wait_idle()


# --- Deadlines

@test("deadlines: of ATTACH, of SUBMIT, for sent and unsent")
def deadlines():
    rig = Rig("--queue-depth", "1")
    mux, patient = rig.mux(deadline=100), rig.mux()
    rig.order("hold reads")
    sent = mux.start_read(0, 8)
    rig.wait_target(lambda c: c["commands"] == 1, "the read")
    rig.order("stall on")
    own = patient.submit(command(1, TEST_UNIT_READY), tlvs=deadline_tlv(50))
    none = mux.submit(command(mux.itt(), TEST_UNIT_READY),
                      tlvs=deadline_tlv(0))
    late = mux.submit(command(mux.itt(), TEST_UNIT_READY),
                      tlvs=deadline_tlv(600000))
    queued = mux.start_read(0, 8)
    patient.finish(own)
    ended(own, "timed-out", "deadline", True, 255)
    mux.finish(queued)
    ended(queued, "timed-out", "deadline", True, 255)
    check(not sent.done, "it was sent, and has not been answered")
    rig.order("stall off")
    mux.finish(sent)
    ended(sent, "timed-out", "deadline", False, 0)
    mux.finish(none).good()
    mux.finish(late).good()
    rig.order("release")
    mux.works()
    rig.wait_idle()


@test("a write whose client gives no data is timed-out")
def r2t_timeout():
    rig = Rig("--initial-r2t", "no", session_keys={
        "max_burst_length": "16K", "first_burst_length": "8K"},
        r2t_timeout="200ms")
    mux, other = rig.mux(), rig.mux()
    data = os.urandom(32768)
    tasks = [mux.start_write(0, data, manual=True) for _ in range(3)]
    for task in tasks:
        mux.wait_r2ts(task)
    r2t = tasks[1].r2ts[0]
    mux.submit_data(data_out(tasks[1].itt, r2t.word5, r2t.offset, data[:512],
                             0, False))
    tasks[2].out = data
    mux.answer(tasks[2], tasks[2].r2ts[0])
    # A burst that was announced and does not come.
    tasks += [mux.submit(command(mux.itt(), write16(0, 64), 32768, WRITE,
                                 data[:512], final=False))]
    for number in (0, 1):
        mux.finish(tasks[number])
        ended(tasks[number], "timed-out", "no-data-for-r2t", False, 0)
    mux.finish(tasks[3])
    ended(tasks[3], "timed-out", "no-data-for-r2t", True, 255)
    mux.finish(tasks[2]).good()
    rig.wait_target(lambda c: c["r2ts_open"] == 0, "no open R2T")
    other.works()
    rig.wait_idle()


@test("a burst that is not sent for want of data times out, too")
def burst_timeout():
    rig = Rig("--queue-depth", "1", r2t_timeout="200ms")
    mux = rig.mux()
    rig.order("hold reads")
    held = mux.start_read(0, 8)
    rig.wait_target(lambda c: c["commands"] == 1, "the read")
    task = mux.submit(command(mux.itt(), write16(0, 8), 4096, WRITE,
                              final=False))
    mux.finish(task)
    ended(task, "timed-out", "no-data-for-r2t", True, 255)
    rig.order("release")
    mux.finish(held).good()
    mux.works()
    rig.wait_idle()


@test("an ABORT TASK that is not answered costs the session")
def abort_timeout():
    target = Scripted()
    daemon = Daemon(session("odd", target.portal, target.iqn,
                            reconnect_interval="100ms",
                            logout_timeout="100ms"), abort_timeout="200ms")
    peer = target.login()
    daemon.wait_up("odd")
    mux, other = Mux(daemon, "odd"), Mux(daemon, "odd")
    held = other.start_read(0, 8)
    peer.receive()
    for how in ("cancel", "deadline"):
        task = mux.start_read(0, 8, **({} if how == "cancel" else {}))
        peer.receive()
        if how == "cancel":
            mux.cancel(task)
        else:
            timed = mux.submit(command(mux.itt(), TEST_UNIT_READY),
                               tlvs=deadline_tlv(50))
            peer.receive()
        peer.receive(TMF)
        peer.closed()
        mux.finish(task)
        ended(task, "unknown", "connection-lost", False, 255)
        if how == "deadline":
            mux.finish(timed)
            ended(timed, "unknown", "connection-lost", False, 255)
        else:
            other.finish(held)
            ended(held, "unknown", "connection-lost", False, 255)
        check("no answer to ABORT TASK" in
              mux.event("session-down").text, "why it went down")
        peer = target.login()
        mux.event("session-up")
    task = mux.submit(command(1, TEST_UNIT_READY))
    peer.respond(peer.receive())
    mux.finish(task).good()


# --- The session goes down

@test("the connection drops: unknown and not-sent, then a new generation")
def dropped():
    rig = Rig("--queue-depth", "4")
    mux, other = rig.mux(), rig.mux()
    for generation in (2, 3):
        rig.order("hold reads")
        rig.order("refuse-login 3 1")
        sent = [mux.start_read(0, 8), mux.start_read(0, 8),
                mux.start_read(0, 8)]
        write = other.start_write(0, bytes(131072), manual=True)
        r2t = other.wait_r2ts(write)
        rig.wait_target(lambda c, n=generation: c["commands"] >= 4 * (n - 1),
                        "four commands")
        queued = [mux.start_read(0, 8), mux.start_read(0, 8)]
        theirs = other.submit(command(other.itt(), TEST_UNIT_READY))
        cancel = mux.start_read(0, 8)
        mux.ping()
        other.ping()
        rig.order("drop")
        first = mux.receive()
        check_equal((first.kind, getattr(first, "event", None)),
                    (EVENT, "session-down"), "what comes first")
        mux.finish(*sent, *queued, cancel)
        other.finish(write, theirs)
        for task in (*sent, write):
            ended(task, "unknown", "connection-lost", False, 255)
        for task in (*queued, cancel, theirs):
            ended(task, "not-sent", "connection-lost", True, 255)
        other.event("session-down")
        other.data_error(data_out(write.itt, r2t.word5, r2t.offset,
                                  bytes(4096)), "no-such-task")
        # Down is down: nothing is taken, but clients may come.
        task = mux.run(command(1, TEST_UNIT_READY))
        ended(task, "not-sent", "session-down", True)
        check(task.outcome.text, "no text for people")
        late = rig.mux()
        check(late.attached.state != "up", f"state {late.attached.state}")
        check_equal(late.attached.generation, generation - 1, "generation")
        rig.order("refuse-login no")
        rig.order("release")
        for client in (mux, other, late):
            up = client.event("session-up")
            check_equal((up.generation, up.send_dsl), (generation, 262144),
                        "parameters")
            client.works()
        late.close()
        other.data_error(data_out(write.itt, r2t.word5, r2t.offset,
                                  bytes(4096)), "no-such-task")
    rig.wait_idle()
    stats = rig.stats()
    check_equal((stats["downs"], stats["outcomes"]["unknown"],
                 stats["outcomes"]["not-sent"]), (2, 8, 10), "counters")


@test("a connection that drops while it is stuck tells sent from unsent")
def dropped_stuck():
    rig = Rig("--queue-depth", "1024", client_outbound="64M")
    mux = rig.mux()
    rig.order("stall on")
    tasks = [mux.start_write(0, bytes(65536), immediate=65536)
             for _ in range(400)]
    mux.ping()
    sent = socket_full(rig)
    rig.order("drop")
    mux.finish(*tasks)
    ends = [task.outcome.outcome for task in tasks]
    cut = ends.index("not-sent")
    check_equal(ends, ["unknown"] * cut + ["not-sent"] * (400 - cut), "ends")
    # In pieces of 48 + 65536 bytes; the last of the sent ones in part.
    check(cut >= sent // (65536 + 48), f"{sent} bytes, {cut} sent")
    rig.order("stall off")
    mux.event("session-up")
    mux.works()
    rig.wait_idle()


@test("a session that was never up")
def never_up():
    port = free_port()
    daemon = Daemon(session("no", f"127.0.0.1:{port}", "iqn.2026-01.org.x:n",
                            reconnect_interval="100ms"))
    mux = Mux(daemon, "no")
    check(mux.attached.state in ("down", "connecting"), mux.attached.state)
    check_equal((mux.attached.generation, mux.attached.send_dsl), (0, 0),
                "parameters")
    ended(mux.run(command(1, TEST_UNIT_READY)), "not-sent", "session-down",
          True)
    ended(mux.run(nop_out(1)), "not-sent", "session-down", True)
    mux.data_error(data_out(1, 1, 0, bytes(512)), "no-such-task")
    mux.error(mux.cancel(itt=1), "no-such-task")


@test("the daemon stops: tasks end, GOODBYE")
def stopping():
    rig = Rig("--queue-depth", "2")
    rig.order("hold reads")
    mux = rig.mux()
    sent = [mux.start_read(0, 8), mux.start_read(0, 8)]
    rig.wait_target(lambda c: c["commands"] == 2, "both reads")
    queued = [mux.start_read(0, 8), mux.start_read(0, 8)]
    mux.ping()
    rig.daemon.signal(signal.SIGTERM)
    last = mux.farewell()[-1]
    check_equal((last.kind, last.reason), (GOODBYE, "shutting-down"),
                "the last frame")
    for task in sent:
        ended(task, "unknown", "shutting-down", False)
    for task in queued:
        ended(task, "not-sent", "shutting-down", True)
    rig.daemon.expect_exit(0)


# --- EVENTs

@test("EVENTs go to those who asked, of what others saw")
def events():
    rig = Rig("--luns", "2")
    everything, nothing, some = (rig.mux(), rig.mux(events=0),
                                 rig.mux(events=1 << 4 | 1 << 0))
    rig.order("ua 1 0x2a 0x09")
    task = everything.run(command(1, TEST_UNIT_READY, lun=lun_number(1)))
    check_equal(task.pdu.status, 2, "status")
    told = some.event("unit-attention")
    check_equal((told.lun, told.code, told.count), (lun_number(1), 0x2a09, 1),
                "EVENT unit-attention")
    rig.order("async 255 1 2 3")
    told = everything.event("async-message")
    check_equal((told.code, told.lun), (255, 0), "EVENT async-message")
    copy = everything.expect(PDU, 0)
    check_equal((copy.opcode, copy.itt), (ASYNC, NONE), "its PDU")
    rig.order("drop")
    for mux, names in ((everything, ["session-down", "session-up"]),
                       (some, ["session-up"])):
        for name in names:
            mux.event(name)
        mux.ping()
        check_equal(list(mux.inbox), [], "other events")
    nothing.ping()
    check_equal(list(nothing.inbox), [], "unwanted events")


@test("the target asks to log out: the session is recovered")
def async_logout():
    rig = Rig(broken=True)
    mux = rig.mux()
    for code in (1, 2, 3):
        rig.order(f"async {code} 0 0 0")
        check_equal(mux.event("async-message").code, code, "AsyncEvent")
        mux.event("session-down")
        mux.event("session-up")
        mux.works()


main()
