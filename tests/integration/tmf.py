#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Task management by clients: of their own tasks, and of everybody's."""

import os

from harness import check, check_equal, main, scaled, test
from iscsimuxd import Daemon, session
from muxclient import (ABORT_TASK, ABORT_TASK_SET, CLEAR_ACA, CLEAR_TASK_SET,
                       DATA_OUT, FINAL, F_SYNTHETIC, LUN_RESET, NONE, NOP_IN,
                       NOP_OUT, OUTCOME, TEST_UNIT_READY, TMF, TMF_RSP,
                       WARM_RESET, Forked, Mux, command, data_out, lun_number,
                       nop_out, tmf, write16)
from muxrig import Rig
from scripted import Scripted


class Odd:
    """A scripted target, a daemon on it, three clients."""

    def __init__(self, fast_abort=False, **keys):
        self.target = Scripted()
        self.daemon = Daemon(session("odd", self.target.portal,
                                     self.target.iqn, logout_timeout="100ms",
                                     reconnect_interval="100ms",
                                     fast_abort=fast_abort), **keys)
        self.peer = self.target.login(ImmediateData="No", InitialR2T="Yes")
        self.daemon.wait_up("odd")
        self.clients = [Mux(self.daemon, "odd") for _ in range(3)]

    def idle(self):
        """Waits until no tag is in use."""
        self.daemon.wait_session("odd", lambda s: s["tasks"] == 0, "idle")


def aborted(mux, task, reason="cancelled", not_sent=False):
    """The task must end as aborted."""
    mux.finish(task)
    check(task.outcome is not None, f"ended with {task.pdu}")
    got = task.outcome
    check_equal((got.kind, got.outcome, got.reason, got.not_sent),
                (OUTCOME, "aborted", reason, not_sent), f"end ({got.text})")
    return got


def responded(task, response, synthetic=False):
    """The function must have had this response."""
    check(task.pdu is not None, f"ended with {task.outcome}")
    check_equal((task.pdu.opcode, task.pdu.response, task.pdu.flags),
                (TMF_RSP, response, F_SYNTHETIC if synthetic else 0),
                f"response {task.pdu}")


@test("ABORT TASK of an own task")
def abort_own():
    rig = Rig()
    rig.order("hold reads")
    mux, other = rig.mux(), rig.mux()
    mine = [mux.start_read(0, 8, itt=itt) for itt in (1, 2)]
    theirs = [other.start_read(0, 8, itt=itt) for itt in (1, 2)]
    rig.wait_target(lambda c: c["commands"] == 4, "the reads")
    task = mux.run(tmf(9, ABORT_TASK, 1))
    responded(task, 0)
    check_equal(aborted(mux, mine[0]).tmf, 0, "tmf")
    check_equal(rig.target.counters()["aborted_tasks"], 1, "aborted")
    rig.order("release")
    mux.finish(mine[1]).good()
    other.finish(*theirs)
    for read in theirs:
        read.good()
    for client in (mux, other):
        client.ping()
        check_equal(list(client.inbox), [], "EVENTs")
    rig.wait_idle()


@test("ABORT TASK of another's task, of none, of itself: SYNTHETIC")
def abort_others():
    rig = Rig()
    rig.order("hold reads")
    mux, other = rig.mux(), rig.mux()
    theirs = other.start_read(0, 8, itt=77)
    rig.wait_target(lambda c: c["commands"] == 1, "the read")
    for rtt in (77, 9, 0, NONE, 12345):
        responded(mux.run(tmf(9, ABORT_TASK, rtt)), 1, synthetic=True)
    check_equal(rig.target.counters()["tmfs"], 0, "TMFs at the target")
    check(not theirs.done, "the task of the other ended")
    rig.order("release")
    other.finish(theirs).good()
    rig.wait_idle()


@test("ABORT TASK of a task that was not sent: SYNTHETIC")
def abort_unsent():
    rig = Rig("--queue-depth", "1")
    rig.order("hold reads")
    mux = rig.mux()
    sent = mux.start_read(0, 8, itt=1)
    rig.wait_target(lambda c: c["commands"] == 1, "the read")
    queued = mux.start_read(0, 8, itt=2)
    burst = mux.submit(command(3, write16(0, 8), 4096, 0x20, final=False))
    mux.submit_data(data_out(3, NONE, 0, bytes(512), 0, False))
    for itt, task in ((2, queued), (3, burst)):
        responded(mux.run(tmf(9, ABORT_TASK, itt)), 0, synthetic=True)
        aborted(mux, task, not_sent=True)
        responded(mux.run(tmf(9, ABORT_TASK, itt)), 1, synthetic=True)
    mux.data_error(data_out(3, NONE, 512, bytes(3584), 1), "no-such-task")
    check_equal(rig.target.counters()["tmfs"], 0, "TMFs at the target")
    rig.order("release")
    mux.finish(sent).good()
    rig.wait_idle()


@test("ABORT TASK races with the response, and with a CANCEL")
def abort_races():
    odd = Odd()
    mux, peer = odd.clients[0], odd.peer
    # The response first: it counts; "task does not exist" is no second end.
    read = mux.start_read(0, 8, itt=1)
    request = peer.receive()
    task = mux.submit(tmf(9, ABORT_TASK, 1))
    got = peer.receive(TMF)
    check_equal((got.immediate, got.word5, got.word8, got.cmdsn),
                (True, request.itt, request.cmdsn, peer.expcmdsn), "TMF")
    peer.data_in(request, bytes(4096))
    mux.finish(read).good()
    again = mux.start_read(0, 8, itt=1)
    second = peer.receive()
    peer.respond(got, TMF_RSP, response=1)
    mux.finish(task)
    responded(task, 1)
    check(not again.done, "the next task with that tag was ended")
    # Both a CANCEL and an ABORT TASK: one end, whichever is answered first.
    mux.cancel(again)
    own = peer.receive(TMF)
    task = mux.submit(tmf(9, ABORT_TASK, 1))
    mux.ping()
    peer.quiet()
    peer.respond(own, TMF_RSP)
    aborted(mux, again)
    got = peer.receive(TMF)
    check_equal(got.word5, second.itt, "Referenced Task Tag")
    peer.respond(got, TMF_RSP, response=1)
    mux.finish(task)
    responded(task, 1)
    # Any other response ends nothing.
    read = mux.start_read(0, 8, itt=1)
    request = peer.receive()
    for response in (2, 5, 6, 255):
        task = mux.submit(tmf(9, ABORT_TASK, 1))
        peer.respond(peer.receive(TMF), TMF_RSP, response=response)
        mux.finish(task)
        responded(task, response)
    peer.data_in(request, bytes(4096))
    mux.finish(read).good()
    odd.idle()


@test("functions beyond the own task end everybody's, and are announced")
def wide():
    for function, all_luns, reset in ((ABORT_TASK_SET, False, False),
                                      (CLEAR_TASK_SET, False, False),
                                      (LUN_RESET, False, True),
                                      (WARM_RESET, True, True)):
        rig = Rig("--luns", "2", "--queue-depth", "6")
        rig.order("hold reads")
        mux, other, idle = rig.mux(), rig.mux(), rig.mux()
        one = lun_number(1)
        mine = mux.start_read(0, 8, lun=one)
        mine0 = mux.start_read(0, 8)
        theirs = [other.start_read(0, 8, lun=one) for _ in range(2)]
        theirs0 = [other.start_read(0, 8) for _ in range(2)]
        rig.wait_target(lambda c: c["commands"] == 6, "six reads")
        unsent = other.start_read(8, 8, lun=one)
        other.ping()
        responded(mux.run(tmf(9, function, lun=one)), 0)
        check_equal(aborted(mux, mine).tmf, 0, "tmf")
        for task in theirs + (theirs0 if all_luns else []):
            got = aborted(other, task, "reset-by-another-client")
            check_equal(got.tmf, 0, "tmf")
        if all_luns:
            aborted(mux, mine0)
        for client in (other, idle):
            told = client.event("reset")
            check_equal((told.code, told.lun, told.count), (function, one, 1),
                        "EVENT reset")
        mux.ping()
        check(not any(msg.event == "reset" for msg in mux.inbox),
              f"EVENTs of the caller: {mux.inbox}")
        check(not unsent.done, "what was not sent is not affected")
        rig.order("release")
        # It was sent after the function: the unit attention is its end.
        other.finish(unsent)
        if reset:
            check_equal(unsent.pdu.status, 2, "status after the reset")
            check_equal(mux.event("unit-attention").code, 0x2903, "ASC, ASCQ")
        else:
            unsent.good()
        if not all_luns:
            mux.finish(mine0).good()
            other.finish(*theirs0)
            for task in theirs0:
                task.good()
        rig.wait_idle()


@test("a function that is not complete ends nothing")
def not_complete():
    odd = Odd()
    mux, other, _ = odd.clients
    peer = odd.peer
    read = other.start_read(0, 8)
    request = peer.receive()
    for function, response in ((LUN_RESET, 5), (ABORT_TASK_SET, 2),
                               (CLEAR_TASK_SET, 1), (WARM_RESET, 255),
                               (CLEAR_ACA, 0), (CLEAR_ACA, 5)):
        task = mux.submit(tmf(9, function))
        got = peer.receive(TMF)
        check_equal((got.flags, got.word5, got.word8),
                    (FINAL | function, NONE, 0), "the request")
        peer.respond(got, TMF_RSP, response=response)
        mux.finish(task)
        responded(task, response)
    other.ping()
    check_equal((read.done, list(other.inbox)), (False, []), "ended, EVENTs")
    peer.data_in(request, bytes(4096))
    other.finish(read).good()
    odd.idle()


@test("responses before that of the function count, later ones do not")
def before_and_after():
    odd = Odd()
    mux, other, _ = odd.clients
    peer = odd.peer
    reads = [other.start_read(0, 8) for _ in range(3)]
    requests = [peer.receive() for _ in reads]
    task = mux.submit(tmf(9, LUN_RESET))
    got = peer.receive(TMF)
    peer.data_in(requests[0], bytes(4096))
    other.finish(reads[0]).good()
    peer.data_in(requests[1], bytes(100), final=False)
    peer.respond(got, TMF_RSP)
    mux.finish(task)
    for read in reads[1:]:
        aborted(other, read, "reset-by-another-client")
    peer.data_in(requests[1], bytes(4096))
    peer.data_in(requests[2], bytes(4096))
    other.event("reset")
    other.ping()
    check_equal(list(other.inbox), [], "late frames")
    odd.idle()


@test("immediates go out one at a time, task management and others apart")
def one_at_a_time():
    odd = Odd()
    mux, other, third = odd.clients
    peer = odd.peer
    read = third.start_read(0, 8)
    request = peer.receive()
    tasks = [(mux, mux.submit(tmf(9, LUN_RESET, lun=lun_number(7))))]
    first = peer.receive(TMF)
    third.cancel(read)
    third.ping()
    tasks.append((other, other.submit(tmf(9, LUN_RESET, lun=lun_number(8)))))
    tasks.append((mux, mux.submit(tmf(10, LUN_RESET, lun=lun_number(9)))))
    nops = [(client, client.submit(nop_out(20, b"n")))
            for client in odd.clients]
    nop = peer.receive(NOP_OUT)
    peer.quiet()
    # A ping of the target is answered all the same.
    peer.send(NOP_IN, NONE, word5=0x55, consume=False)
    check_equal(peer.receive(NOP_OUT).word5, 0x55, "TTT of the answer")
    peer.respond(nop, NOP_IN, data=b"n")
    for _ in range(2):
        nop = peer.receive(NOP_OUT)
        peer.quiet(0.02)
        peer.respond(nop, NOP_IN, data=b"n")
    peer.quiet()
    # Clients' functions first, in their order, then the daemon's abort.
    peer.respond(first, TMF_RSP)
    for number in (8, 9):
        got = peer.receive(TMF)
        check_equal(got.lun, lun_number(number), "LUN of the next")
        peer.quiet(0.02)
        peer.respond(got, TMF_RSP)
    got = peer.receive(TMF)
    check_equal((got.flags, got.word5), (FINAL | ABORT_TASK, request.itt),
                "the ABORT TASK of the daemon")
    peer.respond(got, TMF_RSP)
    aborted(third, read)
    for client, task in tasks:
        client.finish(task)
        responded(task, 0)
    for client, task in nops:
        client.finish(task)
    odd.idle()


@test("requests wait while a function that ends many is outstanding")
def held_requests():
    odd = Odd()
    mux, other, _ = odd.clients
    peer = odd.peer
    for function in (ABORT_TASK_SET, CLEAR_TASK_SET, LUN_RESET, WARM_RESET):
        task = mux.submit(tmf(9, function))
        got = peer.receive(TMF)
        late = [client.submit(command(1, TEST_UNIT_READY, lun=lun))
                for client in (mux, other) for lun in (0,)]
        mux.ping()
        other.ping()
        peer.quiet()
        peer.respond(got, TMF_RSP)
        mux.finish(task)
        for _ in late:
            peer.respond(peer.receive())
        mux.finish(late[0]).good()
        other.finish(late[1]).good()
    for function in (CLEAR_ACA, ABORT_TASK):
        read = mux.start_read(0, 8, itt=3)
        request = peer.receive()
        task = mux.submit(tmf(9, function, 3 if function == ABORT_TASK
                              else NONE))
        got = peer.receive(TMF)
        late = other.submit(command(1, TEST_UNIT_READY))
        peer.respond(peer.receive())
        other.finish(late).good()
        peer.data_in(request, bytes(4096))
        peer.respond(got, TMF_RSP, response=1)
        mux.finish(task, read)
    odd.idle()


@test("a function that waits for R2Ts of others gets their answers")
def r2ts_of_others():
    rig = Rig("--initial-r2t", "yes", session_keys={
        "max_burst_length": "8K", "first_burst_length": "8K"},
        r2t_timeout="300ms")
    mux, other = rig.mux(), rig.mux()
    data = os.urandom(16384)

    def dying_body(parent):
        dying = Mux(rig.daemon, "ram")
        for _ in range(4):
            dying.wait_r2ts(dying.start_write(0, data, manual=True))
        parent("waiting")
        dying.receive()
    for who in ("alive", "silent", "dead"):
        dying = Forked(dying_body) if who == "dead" else None
        writes = []
        if dying is not None:
            dying.said("waiting")
        else:
            writes = [other.start_write(0, data, manual=True)
                      for _ in range(4)]
            for write in writes:
                other.wait_r2ts(write)
        task = mux.submit(tmf(9, LUN_RESET))
        rig.wait_target(lambda c, n=len(writes) or 4:
                        c["aborted_tasks"] % 4 == 0 and c["tmfs"] > 0,
                        "the reset")
        if who == "alive":
            for write in writes:
                write.out = data
                other.answer(write, write.r2ts[0])
        if dying is not None:
            dying.kill()
        mux.finish(task)
        responded(task, 0)
        for write in writes:
            other.finish(write)
            check(write.outcome is not None and
                  (write.outcome.outcome, write.outcome.reason) in
                  (("aborted", "reset-by-another-client"),
                   ("timed-out", "no-data-for-r2t")), f"{write.outcome}")
        check_equal(mux.run(command(1, TEST_UNIT_READY)).pdu.status, 2,
                    "unit attention")
        mux.works()
        rig.wait_target(lambda c: c["r2ts_open"] == 0, "no open R2T")
        rig.wait_idle()


@test("R2Ts of orphans are answered behind whichever function ends them")
def r2t_behind_function():
    odd = Odd()
    mux, other, dying = odd.clients
    peer = odd.peer
    read = other.start_read(0, 8)
    peer.receive()
    write = dying.start_write(0, bytes(4096), manual=True)
    request = peer.receive()
    peer.r2t(request, 0x61, 0, 4096)
    dying.wait_r2ts(write)
    # The daemon's ABORT TASK for the read is outstanding, the orphan waits.
    other.cancel(read)
    first = peer.receive(TMF)
    dying.close()
    odd.daemon.wait_session("odd", lambda s: s["orphans"] == 1, "one orphan")
    task = mux.submit(tmf(9, LUN_RESET))
    mux.ping()
    peer.quiet()
    peer.respond(first, TMF_RSP)
    aborted(other, read)
    reset = peer.receive(TMF)
    check_equal(reset.flags, FINAL | LUN_RESET, "the next function")
    cut = peer.receive(DATA_OUT)
    check_equal((cut.flags, cut.data, cut.itt, cut.word5, cut.offset),
                (FINAL, b"", request.itt, 0x61, 0), "the empty Data-Out")
    peer.r2t(request, 0x62, 0, 4096)
    check_equal(peer.receive(DATA_OUT).word5, 0x62, "TTT")
    peer.respond(reset, TMF_RSP)
    mux.finish(task)
    responded(task, 0)
    odd.idle()


def behind_functions(odd, fast):
    """What comes of data behind an ABORT TASK and a LOGICAL UNIT RESET."""
    mux, other, _ = odd.clients
    peer = odd.peer
    write = other.start_write(0, bytes(8192), manual=True)
    request = peer.receive()
    peer.r2t(request, 0x71, 0, 4096)
    other.wait_r2ts(write)
    other.submit_data(data_out(write.itt, 0x71, 0, bytes(512), 0, False))
    peer.receive(DATA_OUT)

    # Given up by its client, but the target still asks.
    other.cancel(write)
    abort = peer.receive(TMF)
    check_equal(abort.flags, FINAL | ABORT_TASK, "the function")
    peer.r2t(request, 0x72, 4096, 4096)
    for ttt, offset in () if fast else ((0x71, 512), (0x72, 4096)):
        cut = peer.receive(DATA_OUT)
        check_equal((cut.flags, cut.data, cut.word5, cut.offset),
                    (FINAL, b"", ttt, offset), "the empty Data-Out")
    peer.quiet()
    peer.respond(abort, TMF_RSP)
    aborted(other, write)
    peer.quiet()

    # Alive, but another client resets its LUN.
    write = other.start_write(0, bytes(8192), manual=True)
    request = peer.receive()
    peer.r2t(request, 0x73, 0, 1024)
    other.wait_r2ts(write)
    task = mux.submit(tmf(9, LUN_RESET))
    reset = peer.receive(TMF)
    for sn in range(2):
        other.submit_data(data_out(write.itt, 0x73, 512 * sn, bytes(512), sn,
                                   sn == 1))
        if not fast:
            check_equal(peer.receive(DATA_OUT).offset, 512 * sn, "offset")
    other.ping()
    peer.quiet()
    peer.respond(reset, TMF_RSP)
    mux.finish(task)
    responded(task, 0)
    aborted(other, write, "reset-by-another-client")
    peer.quiet()
    odd.idle()


@test("fast-abort = no: data behind a function go on until its response")
def no_fast_abort():
    behind_functions(Odd(), False)


@test("fast-abort = yes: no data behind a function")
def fast_abort():
    behind_functions(Odd(fast_abort=True), True)


@test("fast-abort = yes: a function that is refused lets the data go on")
def fast_abort_refused():
    odd = Odd(fast_abort=True)
    mux, other, _ = odd.clients
    peer = odd.peer
    write = other.start_write(0, bytes(512), manual=True)
    request = peer.receive()
    peer.r2t(request, 0x71, 0, 512)
    other.wait_r2ts(write)
    task = mux.submit(tmf(9, LUN_RESET))
    reset = peer.receive(TMF)
    other.submit_data(data_out(write.itt, 0x71, 0, bytes(512), 0, True))
    other.ping()
    peer.quiet()
    peer.respond(reset, TMF_RSP, response=5)
    check_equal(len(peer.receive(DATA_OUT).data), 512, "bytes")
    mux.finish(task)
    responded(task, 5)
    peer.respond(request)
    other.finish(write).good()
    odd.idle()


@test("resets under load: every task ends once")
def under_load():
    rig = Rig("--max-recv-dsl", "8K", session_keys={
        "max_burst_length": "16K", "first_burst_length": "16K"})
    muxes = [rig.mux() for _ in range(3)]
    data = os.urandom(65536)
    resets = 0
    for number in range(scaled(30, 4)):
        batch = []
        for mux in muxes:
            for _ in range(16):
                batch.append((mux, mux.start_write(0, data)))
                batch.append((mux, mux.start_read(0, 64)))
        mux = muxes[number % 3]
        batch.append((mux, mux.submit(tmf(mux.itt(), (
            LUN_RESET, ABORT_TASK_SET, CLEAR_TASK_SET)[number % 3]))))
        while any(not task.done for _, task in batch):
            for mux in muxes:
                msg = mux.receive(0.001)
                if msg is not None and msg.cookie not in mux.tasks:
                    mux.inbox.append(msg)
        for mux, task in batch:
            check(task.outcome is None or task.outcome.outcome == "aborted",
                  f"{task.outcome}")
            resets += task.outcome is not None
        for mux in muxes:
            mux.tasks.clear()
    check(resets > 0, "no task was ended by a reset")
    rig.wait_idle()
    check_equal(rig.stats()["downs"], 0, "downs")


main()
