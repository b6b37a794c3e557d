# SPDX-License-Identifier: ISC
"""Clients that write and read without a pause, and account for every task.

Every write bears a stamp that no other has; one that was not sent is sent
again with a new one, one whose outcome is unknown never. What is read must be
what may be there. The clients stay attached whatever becomes of the session.
"""

import random
import select
import threading
import time

from harness import PATIENCE, TIMEOUT, check, check_equal
from muxclient import (ERROR, EVENT, OUTCOME, READ, SCSI_RSP, WRITE, Gone,
                       Mux, command, read16, write16)
from relay import BLOCK, serial_of, stamp

GOOD, CHECK_CONDITION, BUSY, TASK_SET_FULL = 0, 2, 8, 0x28
UNIT_ATTENTION = 6
BLOCKS = 8
SLOTS = 2048
# Places of BLOCKS blocks that each client has for itself.


class Op:
    """A task: what it was, where, and which serial it writes."""

    def __init__(self, task, slot, serial):
        self.task = task
        self.slot = slot
        self.serial = serial


class Client:
    """One of the clients; in the load's thread but for __init__()."""

    def __init__(self, load, number):
        self.load = load
        self.mux = Mux(load.daemon, load.session, name=f"load-{number}")
        self.up = self.mux.attached.state == "up"
        self.generation = self.mux.attached.generation
        self.first = number * SLOTS
        self.random = random.Random(number)
        self.open = {}
        self.busy = set()
        self.spoilt = set()
        self.maybe = {}
        self.downs = self.ups = 0

    def fill(self):
        """Starts tasks until as many are open as should be."""
        while self.up and len(self.open) < self.load.depth:
            slot = self.random.randrange(SLOTS)
            if slot in self.busy:
                continue
            writes = slot not in self.spoilt and self.random.random() < 0.7
            self.start(slot, writes)

    def start(self, slot, writes):
        """Submits a write or a read of a slot."""
        mux, lba = self.mux, (self.first + slot) * BLOCKS
        if writes:
            serial = self.load.new_serial()
            data = b"".join(stamp(serial, at) for at in range(BLOCKS))
            limit = min(len(data), mux.attached.first_burst,
                        mux.attached.send_dsl)
            some = self.random.choice((0, BLOCK, limit // BLOCK * BLOCK))
            if not mux.attached.immediate_data:
                some = 0
            self.maybe.setdefault(slot, {0}).add(serial)
            self.load.submits[lba] = self.load.submits.get(lba, 0) + 1
            pdu = command(mux.itt(), write16(lba, BLOCKS), len(data), WRITE,
                          data[:some], lun=self.load.lun)
        else:
            serial, data = 0, None
            pdu = command(mux.itt(), read16(lba, BLOCKS), BLOCKS * BLOCK,
                          READ, lun=self.load.lun)
        self.busy.add(slot)
        task = mux.submit(pdu, out=data)
        self.open[task.cookie] = Op(task, slot, serial)

    def drain(self):
        """Receives all there is."""
        while True:
            msg = self.mux.receive(0)
            if msg is None:
                return
            if msg.kind == EVENT:
                self.event(msg)
            elif msg.cookie in self.open:
                op = self.open[msg.cookie]
                if op.task.done:
                    del self.open[msg.cookie]
                    del self.mux.tasks[msg.cookie]
                    self.over(op)
            elif msg.kind == ERROR:
                # A Data-Out that was on its way when its task ended.
                check(msg.reason in ("no-such-task", "session-down",
                                     "bad-target-transfer-tag"), f"{msg}")

    def event(self, msg):
        """Keeps whether the session is up."""
        if msg.event == "session-down":
            check(self.up, "EVENT session-down twice")
            self.up = False
            self.downs += 1
        elif msg.event == "session-up":
            check(not self.up, "EVENT session-up twice")
            self.up = True
            self.ups += 1
            check_equal(msg.generation, self.generation + 1, "generation")
            self.generation = msg.generation

    def over(self, op):
        """A task has ended; the one time, as muxclient makes sure."""
        self.busy.discard(op.slot)
        kind = self.kind_of(op.task)
        self.load.ended(op.serial, kind)
        maybe = self.maybe.get(op.slot, {0})
        if op.serial == 0:
            if kind == "good":
                self.check_read(op, maybe)
        elif kind == "good":
            self.maybe[op.slot] = {op.serial}
            if not self.load.keeps:
                self.maybe[op.slot].add(0)
        elif kind == "unknown":
            self.spoilt.add(op.slot)
        else:
            maybe.discard(op.serial)
            # Once more, with a stamp of its own.
            if self.up and not self.load.stopping:
                self.start(op.slot, True)

    def kind_of(self, task):
        """good, attention, not-sent or unknown; fails on all else."""
        end = task.outcome
        if end is None:
            pdu = task.pdu
            if pdu.opcode != SCSI_RSP or pdu.status == GOOD:
                check(pdu.opcode != SCSI_RSP or pdu.response == 0, f"{pdu}")
                return "good"
            key = pdu.data[4] & 15 if len(pdu.data) > 4 else 0
            check(pdu.status in (BUSY, TASK_SET_FULL) or
                  (pdu.status, key) == (CHECK_CONDITION, UNIT_ATTENTION),
                  f"{pdu}: {pdu.data.hex()}")
            return "attention"
        check(end.kind == OUTCOME, f"ended with {end}")
        check(end.outcome in ("not-sent", "unknown") and end.text and
              end.reason in ("connection-lost", "session-down"),
              f"ended with {end}")
        check_equal(end.not_sent, end.outcome == "not-sent", f"flag of {end}")
        return end.outcome

    def check_read(self, op, maybe):
        """Each block must be of a write that may have been there last."""
        check_equal(op.task.got, BLOCKS * BLOCK, "bytes read")
        for at in range(0, BLOCKS * BLOCK, BLOCK):
            serial = serial_of(op.task.data[at:at + BLOCK])
            check(serial in maybe, f"slot {op.slot} of {self.mux}: read "
                  f"serial {serial}, not one of {maybe}")


class Load:
    """The clients, in a thread that runs from start() to stop().

    keeps: a restarted target has what was written before. ends has the end
    of each write by its serial, kinds how often each kind of end came.
    """

    def __init__(self, daemon, name, clients=4, depth=8, lun=0, keeps=True):
        self.daemon = daemon
        self.session = name
        self.depth = depth
        self.lun = lun << 48
        self.keeps = keeps
        self.serial = 0
        self.ends = {}
        self.kinds = {}
        self.submits = {}
        self.stopping = False
        self.failure = None
        self.clients = [Client(self, number) for number in range(clients)]
        self.listed = self.list()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def list(self):
        """Who is attached, as the daemon says."""
        told = self.daemon.call("client.list", session=self.session)
        return sorted((each["id"], each["name"]) for each in told["clients"])

    def new_serial(self):
        """A serial that no write had yet."""
        self.serial += 1
        return self.serial

    def ended(self, serial, kind):
        """Notes the end of a task."""
        self.kinds[kind] = self.kinds.get(kind, 0) + 1
        if serial:
            check(serial not in self.ends, f"serial {serial} ended twice")
            self.ends[serial] = kind

    def good(self):
        """How many tasks have ended well; fails if the load has failed."""
        check(self.failure is None, f"the load failed: {self.failure}")
        return self.kinds.get("good", 0)

    def _run(self):
        try:
            end = None
            while not self.stopping or any(c.open for c in self.clients):
                if self.stopping:
                    end = end or time.monotonic() + TIMEOUT * PATIENCE
                    check(time.monotonic() < end, "tasks without an end")
                else:
                    for client in self.clients:
                        client.fill()
                select.select([c.mux.socket for c in self.clients], [], [],
                              0.1)
                for client in self.clients:
                    client.drain()
        except Gone:
            self.failure = "the daemon closed a client's connection"
        except Exception as error:  # told by good()
            self.failure = repr(error)

    def stop(self):
        """Lets all tasks end; fails unless each did, and as it should."""
        self.stopping = True
        self.thread.join()
        self.good()
        check_equal(len(self.ends), self.serial, "writes that have ended")
        check_equal(self.list(), self.listed, "clients, which never left")

    def check_sent(self, relay):
        """No write was sent twice, and none that is said not to be sent."""
        for serial, kind in self.ends.items():
            sent = [relay.stamps[serial, at] for at in range(BLOCKS)]
            wanted = {"good": (1,), "not-sent": (0,)}.get(kind, (0, 1))
            check(all(count in wanted for count in sent),
                  f"write {serial} ended as {kind}; its blocks were sent "
                  f"{sent} times")
        for lba, count in relay.writes.items():
            submits = self.submits.get(lba, 0)
            check(count <= submits, f"{count} commands for {submits} writes "
                  f"to LBA {lba}")

    def check_events(self, stats):
        """Each client was told of each time that the session went and came."""
        for client in self.clients:
            check_equal((client.downs, client.ups),
                        (stats["downs"], stats["logins"] - 1),
                        "times that a client was told down, up")
