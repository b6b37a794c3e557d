#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""One exchange over a raw connection, cut after every byte of each direction.

Login, INQUIRY, a write with R2T, a read, a Logout, all with data segments of
512 bytes. A proxy between daemon and target cuts. Whatever the byte: the
daemon lives, the client is told, every task has one end, nothing is left.
Faults of the daemon's own do the same without a proxy.
"""

import errno
import os
import select
import socket
import threading

from harness import (PATIENCE, check, check_equal, main, scaled,
                     split_portal, test)
from muxclient import (ERROR, EVENT, FINAL, OK, READ, SCSI, WRITE, Forked,
                       bhs, command, read16, write16)
from rawclient import INITIATOR, READ_DEADLINE, Raw
from rawrig import RamRig

TO_TARGET, TO_DAEMON = 0, 1
KEYS = ("HeaderDigest=CRC32C", "DataDigest=CRC32C", "InitialR2T=Yes",
        "ImmediateData=No", "MaxRecvDataSegmentLength=512",
        "MaxBurstLength=512", "FirstBurstLength=512")
BLOCKS = 2
WORKERS = 4
# Processes that cut, each with a proxy of its own.


def rig(**keys):
    """A target that takes 512 bytes at a time, and a daemon."""
    return RamRig("--max-recv-dsl", "512", "--max-burst", "512",
                  "--first-burst", "512", "--initial-r2t", "yes",
                  "--immediate-data", "no", broken=True, **keys)


class Proxy:
    """Between daemon and target; each connection has a limit of its own.

    next = (direction, bytes) says after how many bytes of which direction the
    next connection is cut, or None; passed has the bytes of the last one.
    """

    def __init__(self, portal, dribble=False):
        self.target = split_portal(portal)
        self.dribble = dribble
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.portal = "127.0.0.1:%d" % self.listener.getsockname()[1]
        self.next = None
        self.passed = [0, 0]
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self):
        while True:
            ours, _ = self.listener.accept()
            theirs = socket.create_connection(self.target)
            for each in (ours, theirs):
                each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            try:
                self._carry((ours, theirs), self.next)
            except OSError:
                pass
            ours.close()
            theirs.close()

    def _carry(self, ends, cut):
        """Until one end closes, or the cut; ends[d] is read in direction d."""
        passed = self.passed = [0, 0]
        while True:
            if cut is not None and passed[cut[0]] == cut[1]:
                return
            ready, _, _ = select.select(ends, [], [])
            for direction in (TO_TARGET, TO_DAEMON):
                if ends[direction] not in ready:
                    continue
                most = 1 if self.dribble else 65536
                if cut is not None and cut[0] == direction:
                    most = min(most, cut[1] - passed[direction])
                data = ends[direction].recv(most)
                if not data:
                    return
                ends[1 - direction].sendall(data)
                passed[direction] += len(data)
                if cut is not None and passed[cut[0]] == cut[1]:
                    return


def exchange(raw, iqn, data, number=0):
    """Submits the whole exchange as far as it goes; the tasks.

    number: whose it is; each has a name and blocks of its own.
    """
    name, lba = f"{INITIATOR}-{number}", number * BLOCKS
    steps = [lambda: raw.login_request(iqn, *KEYS, name=name),
             lambda: raw.submit(command(raw.itt(), b"\x12\0\0\0\x24", 36,
                                        READ)),
             lambda: raw.submit(command(raw.itt(), write16(lba, BLOCKS),
                                        512 * BLOCKS, WRITE), out=data),
             lambda: raw.submit(command(raw.itt(), read16(lba, BLOCKS),
                                        512 * BLOCKS, READ)),
             lambda: raw.submit(bhs(0x46, FINAL, 0, raw.itt()))]
    tasks = []
    for step in steps:
        tasks.append(step())
        raw.finish(tasks[-1])
        if tasks[-1].pdu is None:
            break
        if len(tasks) == 1:
            raw.logged_in(tasks[0])
    return tasks


def check_whole(tasks, data):
    """Fails unless the exchange went well to its end."""
    check_equal(len(tasks), 5, "steps")
    for task in tasks[1:4]:
        task.good()
    check_equal(tasks[1].got, 36, "bytes of INQUIRY data")
    check_equal(len(tasks[2].r2ts), BLOCKS, "R2Ts")
    check(tasks[3].data == data, "what was read differs")
    check_equal(tasks[4].pdu.opcode, 0x26, "answer to Logout")


def one_cut(raw, proxy, iqn, cut, data, number):
    """The exchange, cut; fails unless everybody was told."""
    proxy.next = cut
    answer = raw.open(proxy.portal)
    check_equal(answer.kind, OK, f"answer to OPEN ({answer})")
    tasks = exchange(raw, iqn, data, number)
    event = raw.over((errno.ECONNRESET, errno.EPIPE))
    direction, count = cut
    if direction == TO_DAEMON:
        check_equal(event.bytes_in, count, f"bytes received, cut {cut}")
    else:
        check(event.bytes_out >= count, f"bytes sent, cut {cut}: {event}")
    for task in tasks:
        check(task.done and (task.pdu is None) != (task.outcome is None),
              f"a task without one end, cut {cut}")
    check_equal([msg for msg in raw.inbox if msg.kind == EVENT], [],
                f"more events, cut {cut}")
    if len(tasks) > 3 and tasks[3].pdu is not None:
        check(tasks[3].data == data, f"what was read differs, cut {cut}")
    raw.inbox.clear()
    raw.tasks.clear()
    raw.itts.clear()


def begin_with(here, raw, *faults):
    """OPEN, and faults from the connection's first byte on."""
    check_equal(raw.open(here.portal).kind, OK, "answer to OPEN")
    told = here.control.call("client.list")["clients"]
    label, = {each["raw"] for each in told if each["name"] == raw.label}
    for fault in faults:
        here.control.call("fault.set", connection=label, **fault)


def lengths_of(here):
    """How many bytes the exchange has in each direction."""
    proxy = Proxy(here.portal)
    raw = Raw(here.daemon, proxy.portal)
    data = os.urandom(512 * BLOCKS)
    check_whole(exchange(raw, here.target.iqn, data), data)
    event = raw.over((errno.ECONNRESET, errno.EPIPE))
    check_equal((event.bytes_out, event.bytes_in), tuple(proxy.passed),
                "bytes")
    raw.close()
    return event.bytes_out, event.bytes_in


@test("the connection cut after every byte of each direction")
def every_byte():
    here = rig()
    cuts = [(direction, count) for direction, length in
            enumerate(lengths_of(here)) for count in range(1, length + 1)]
    cuts = cuts[::max(1, round(1 / scaled(1000, 50) * 1000))]
    print(f"# {len(cuts)} cuts")

    def worker(number):
        def body(report):
            proxy = Proxy(here.portal)
            raw = Raw(here.daemon, name=f"cut-{number}")
            data = os.urandom(512 * BLOCKS)
            for cut in cuts[number::WORKERS]:
                one_cut(raw, proxy, here.target.iqn, cut, data, number)
            raw.close()
            report("done")
        return body
    for child in [Forked(worker(number)) for number in range(WORKERS)]:
        child.said("done")
    here.wait_clean()
    check_equal(here.daemon.stop(), 0, "exit status of the daemon")


@test("nothing is cut, but every byte comes alone, in both directions")
def dribble():
    here = rig()
    proxy = Proxy(here.portal, dribble=True)
    raw = Raw(here.daemon)
    for _ in range(scaled(5)):
        check_equal(raw.open(proxy.portal).kind, OK, "answer to OPEN")
        data = os.urandom(512 * BLOCKS)
        check_whole(exchange(raw, here.target.iqn, data), data)
        raw.over((errno.ECONNRESET, errno.EPIPE))
    raw.close()
    here.wait_clean()


@test("reads and writes of one byte: the exchange is as it should be")
def short():
    here = rig(allow_fault_injection=True)
    raw = Raw(here.daemon, name="short")
    for _ in range(scaled(5)):
        begin_with(here, raw,
                   {"direction": "read", "kind": "short", "bytes": 1},
                   {"direction": "write", "kind": "short", "bytes": 1})
        data = os.urandom(512 * BLOCKS)
        check_whole(exchange(raw, here.target.iqn, data), data)
        raw.over((errno.ECONNRESET, errno.EPIPE))
    raw.close()
    here.wait_clean()


@test("a chosen error after so many bytes: that is what the client is told")
def chosen_error():
    here = rig(allow_fault_injection=True)
    lengths = lengths_of(here)
    raw = Raw(here.daemon, name="error")
    for direction, name in ((TO_DAEMON, "read"), (TO_TARGET, "write")):
        for after in range(0, lengths[direction], 5):
            begin_with(here, raw, {"direction": name, "kind": "errno",
                                   "errno": "ENETDOWN", "after": after})
            tasks = exchange(raw, here.target.iqn, bytes(512 * BLOCKS))
            event = raw.over(errno.ENETDOWN)
            check_equal(event.bytes_in if direction == TO_DAEMON else
                        event.bytes_out, after, f"bytes before the {name}")
            check_equal(tasks[-1].pdu, None, "the end of the last task")
            if tasks[-1].outcome.kind == ERROR:
                # It was submitted to a connection that was gone already.
                check_equal(tasks[-1].outcome.reason, "wrong-state", "ERROR")
                continue
            # A read that has failed already overtakes what is to be written.
            wanted = ("not-sent", "unknown") if after or name == "read" else \
                ("not-sent",)
            check(tasks[-1].outcome.outcome in wanted,
                  f"{name} {after}: {tasks[-1].outcome}, wanted {wanted}")
    raw.close()
    here.wait_clean()


@test("one bad byte behind the login, wherever it is, is never believed")
def corrupt():
    here = rig(allow_fault_injection=True)
    whole = lengths_of(here)[TO_DAEMON]
    raw = Raw(here.daemon, here.portal, name="corrupt")
    raw.logged_in(raw.finish(raw.login_request(here.target.iqn, *KEYS)))
    login = raw.state().bytes_in
    raw.shut()
    data = os.urandom(512 * BLOCKS)
    late = 0
    for at in range(login, whole, 2):
        begin_with(here, raw, {"direction": "read", "kind": "corrupt",
                               "after": at, "mask": 0x41})
        # A TotalAHSLength that is not true moves the digest behind what the
        # target has to say: then there is only the deadline, or its Logout.
        raw.set(READ_DEADLINE, read_deadline=int(500 * PATIENCE))
        tasks = exchange(raw, here.target.iqn, data)
        late += raw.over((errno.EBADMSG, errno.ETIMEDOUT,
                          errno.ECONNRESET)).code != errno.EBADMSG
        for task in tasks[1:-1]:
            if task.opcode == SCSI:
                task.good()
        check(len(tasks) < 5 or tasks[3].data == data, f"bad data, byte {at}")
        check_equal(tasks[-1].outcome.outcome, "unknown", f"byte {at}")
    check(late < 12, f"{late} bytes for whose end it had to wait")
    raw.close()
    here.wait_clean()


main()
