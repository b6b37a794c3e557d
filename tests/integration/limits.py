#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""What a client may hold of the daemon: tasks, bytes either way, time."""

import os

from harness import check, check_equal, main, scaled, test, wait_until
from iscsimuxd import Daemon, session
from muxclient import (ASYNC, GOODBYE, HELLO, NONE, READ, SUBMIT,
                       TEST_UNIT_READY, WRITE, Forked, Mux, command, data_out,
                       frame, hello, lun_number, nop_out, read16, write16)
from muxrig import Rig
from scripted import Scripted

FRAME = 16 + 48


# --- Tasks and bytes from the target

@test("1,024 tasks, and not one more")
def tasks():
    rig = Rig()
    rig.order("hold all")
    mux, other = rig.mux(), rig.mux()
    check_equal(mux.attached.tasks_max, 1024, "tasks_max")
    open_tasks = [mux.submit(command(itt, TEST_UNIT_READY))
                  for itt in range(1024)]
    for pdu in (command(2000, TEST_UNIT_READY), nop_out(2000)):
        told = mux.refused(pdu, "over-quota")
        check("1024" in told.text and "client" in told.text, told.text)
    rig.wait_tasks(1024)
    others = other.submit(command(1, TEST_UNIT_READY))
    rig.order("release")
    mux.finish(*open_tasks)
    for task in open_tasks:
        task.good()
    other.finish(others).good()
    mux.works()
    rig.wait_idle()


@test("all clients of a user have a limit in common")
def users():
    rig = Rig(client_tasks=8, uid_factor=2)
    rig.order("hold all")
    muxes = [rig.mux() for _ in range(3)]
    for mux, count in zip(muxes, (8, 6, 2)):
        for itt in range(count):
            mux.submit(command(itt, TEST_UNIT_READY))
        mux.ping()
    told = muxes[2].refused(command(99, TEST_UNIT_READY), "over-quota")
    check("user" in told.text and "16" in told.text, told.text)
    told = muxes[0].refused(command(99, TEST_UNIT_READY), "over-quota")
    check("client" in told.text and "8" in told.text, told.text)
    rig.order("release")
    for mux in muxes:
        for task in list(mux.tasks.values()):
            if task.outcome is None:
                mux.finish(task).good()
    muxes[2].works()
    rig.wait_idle()


@test("inbound bytes: EDTL, headers, 8 KiB of each task")
def inbound():
    rig = Rig("--max-burst", "1M")
    rig.order("hold reads")
    mux = rig.mux()
    whole = mux.attached.inbound_max
    check_equal(whole, 64 << 20, "inbound_max")

    def cost(edtl):
        return edtl + 8192 + FRAME * (edtl // mux.attached.recv_dsl + 1)
    edtl = 32 << 20
    for pdu in (command(1, read16(0, 1), whole, READ),
                command(1, read16(0, 1), 0xffffffff, READ),
                command(1, read16(0, 1), whole - 8192, READ)):
        told = mux.refused(pdu, "over-quota")
        check("inbound" in told.text and str(whole) in told.text, told.text)
    first = mux.start_read(0, edtl // 512)
    room = whole - cost(edtl) - 8192
    edtl = room - FRAME * (room // mux.attached.recv_dsl + 1)
    while cost(edtl + 1) + cost(32 << 20) <= whole:
        edtl += 1
    mux.refused(command(5, read16(0, 8), edtl + 1, READ), "over-quota")
    second = mux.submit(command(5, read16(0, 8), edtl, READ))
    left = whole - cost(32 << 20) - cost(edtl)
    mux.ping()
    check_equal(rig.clients()[0]["inbound_bytes"], whole - left, "charged")
    check(left < 8192, f"{left} bytes are left")
    for pdu in (command(6, TEST_UNIT_READY), nop_out(6),
                command(6, write16(0, 8), 4096, WRITE)):
        mux.refused(pdu, "over-quota")
    rig.order("release")
    mux.finish(first).good()
    check_equal(first.got, 32 << 20, "bytes read")
    mux.finish(second).good()
    mux.works()
    rig.wait_idle()


@test("a write of any length needs little room")
def long_write():
    rig = Rig("--size", "256M", client_inbound="64K", client_outbound="512K",
              session_keys={"max_burst_length": "1M",
                            "first_burst_length": "64K"})
    mux = rig.mux()
    data = os.urandom(1 << 20) * scaled(64, 2)
    mux.write(0, data, immediate=65536)
    told = mux.refused(command(1, read16(0, 128), 65536, READ), "over-quota")
    check("inbound" in told.text, told.text)
    for lba in (0, len(data) // 512 - 64):
        check(mux.read(lba, 64) == data[lba * 512:lba * 512 + 32768],
              "what was read")
    rig.wait_idle()


# --- Bytes to the target

@test("outbound bytes: data of requests and announced bursts")
def outbound():
    rig = Rig("--queue-depth", "1", client_outbound="128K",
              session_keys={"first_burst_length": "64K"})
    rig.order("window 0")
    mux, other = rig.mux(), rig.mux()
    mux.works()
    waiting = [mux.submit(command(1, write16(0, 96), 49152, WRITE,
                                  bytes(49152)))]
    waiting.append(mux.submit(command(2, write16(0, 128), 65536, WRITE,
                                      bytes(512), final=False)))
    for pdu in (command(3, write16(0, 128), 65536, WRITE, bytes(512),
                        final=False),
                command(3, write16(0, 64), 32768, WRITE, bytes(32768)),
                nop_out(3, bytes(32768))):
        told = mux.refused(pdu, "over-quota")
        check("outbound" in told.text and "131072" in told.text, told.text)
    # What was announced is charged already.
    mux.submit_data(data_out(2, NONE, 512, bytes(65024)))
    waiting.append(mux.submit(command(3, write16(0, 8), 4096, WRITE,
                                      bytes(4096))))
    other.ping()
    rig.order("window 8")
    for task in waiting:
        mux.finish(task).good()
    other.works()
    rig.wait_idle()


def paused(rig, name):
    """Whether the daemon has stopped to read the client of that name."""
    return any(c["paused"] for c in rig.clients() if c["name"] == name)


@test("Data-Out that the target does not take pauses its client alone")
def pause():
    rig = Rig("--max-burst", "12M", client_outbound="64K", session_keys={
        "max_burst_length": "12M", "first_burst_length": "16K"})
    mux, other = rig.mux(name="eager"), rig.mux()
    data = os.urandom(12 << 20)
    task = mux.start_write(0, data, manual=True)
    r2t = mux.wait_r2ts(task)
    check_equal(r2t.word11, 12 << 20, "bytes asked for")
    rig.order("stall on")
    task.out = data

    def body(parent):
        # What the daemon does not read holds up this process only.
        mux.answer(task, r2t, 65536)
        mux.finish(task).good()
        parent("written")
    eager = Forked(body)
    wait_until(lambda: paused(rig, "eager"), "the client to be paused")
    charged = [c for c in rig.clients() if c["name"] == "eager"][0]
    check(65536 < charged["outbound_bytes"] <= 3 * 65536 + 1024,
          f"charged {charged}")
    other.ping()
    check_equal(rig.clients()[1]["paused"], False, "the other")
    rig.order("stall off")
    eager.said("written")
    check(other.read(0, 2048) == data[:1 << 20], "what was read")
    check(not paused(rig, "eager"), "still paused")
    eager.kill()
    mux.close()
    rig.wait_idle()


@test("a paused client is read again when its task ends early")
def pause_ends():
    target = Scripted()
    daemon = Daemon(session("odd", target.portal, target.iqn,
                            logout_timeout="100ms"), client_outbound="1M")
    peer = target.login(ImmediateData="No", InitialR2T="Yes", window=128)
    daemon.wait_up("odd")
    mux = Mux(daemon, "odd")
    tasks = [mux.start_write(0, bytes(262144), manual=True)
             for _ in range(48)]
    requests = [peer.receive() for _ in tasks]
    stream = b""
    for number, request in enumerate(requests):
        peer.r2t(request, number + 1, 0, 262144)
    for number, task in enumerate(tasks):
        mux.wait_r2ts(task)
        for sn in range(4):
            mux.requests.add(1000 + number)
            stream += frame(SUBMIT, data_out(
                task.itt, number + 1, 65536 * sn, bytes(65536), sn, sn == 3),
                1000 + number)
    control = daemon.control()
    view = memoryview(stream)

    def is_paused():
        nonlocal view
        try:
            view = view[mux.socket.send(view):]
            return False
        except BlockingIOError:
            return control.call("client.list")["clients"][0]["paused"]
    wait_until(is_paused, "the client to be paused")
    for request in requests:
        peer.respond(request, status=2)
    mux.send_raw(view)
    mux.ping()
    mux.finish(*tasks)
    for task in tasks:
        check_equal(task.pdu.status, 2, "status")
    check(all(msg.reason == "no-such-task" for msg in mux.inbox),
          "other errors than no-such-task")


# --- Clients that do not read

@test("a client that never reads holds up nobody, and loses nothing")
def never_reads():
    rig = Rig("--max-burst", "1M", session_keys={
        "max_burst_length": "1M", "max_recv_data_segment_length": "256K"})
    lazy, other = rig.mux(name="lazy"), rig.mux()
    data = os.urandom(1 << 20)
    other.write(0, data)
    reads = [lazy.start_read(0, 2048, itt=itt)
             for itt in range(scaled(60, 8))]
    rig.wait_tasks(0)
    for lba in range(scaled(50, 5)):
        other.write(4096 + lba, data[:512])
        check(other.read(4096 + lba, 1) == data[:512], "what was read")

    def told():
        return [c for c in rig.clients() if c["name"] == "lazy"][0]
    charged = told()
    check(charged["inbound_bytes"] > (len(reads) - 2) << 20,
          f"charged {charged}")
    held = rig.control.call("stats.get")["worker"]["pool"]["bytes_out"]
    check(held < (len(reads) << 20) * 5 / 4 + (1 << 20),
          f"{held} bytes are held")
    if len(reads) == 60:
        # It reads no byte before that is decided, for then there is room.
        more = lazy.submit(command(99, read16(0, 8192), 4 << 20, READ))
        wait_until(lambda: told()["refused"] == 1, "the refusal")
        lazy.finish(more)
        check_equal((more.outcome.outcome, more.outcome.reason),
                    ("refused", "over-quota"), "outcome")
    for task in reads:
        lazy.finish(task).good()
        check(task.data == data, "what the lazy client read")
    lazy.works()
    rig.wait_idle()


# --- Memory kept for reuse

def kept(rig):
    """What the worker keeps, in bytes and in pieces."""
    worker = rig.control.call("stats.get")["worker"]
    pool = worker["pool"]
    return (pool["bytes_kept"] + pool["slices_kept"] + worker["pdus_kept"] +
            worker["messages_kept"])


@test("memory kept for reuse goes back while nothing needs it")
def kept_memory_goes_back():
    rig = Rig()
    mux = rig.mux()
    data = os.urandom(1 << 20)
    mux.write(0, data)
    check(mux.read(0, 2048) == data, "what was read")
    rig.wait_idle()
    check(kept(rig) > 0, "nothing is kept for the next use")
    wait_until(lambda: kept(rig) == 0, "all that was kept to go back", 60)
    pool = rig.control.call("stats.get")["worker"]["pool"]
    check(pool["trims"] > 0 and pool["bytes_trimmed"] > 0, f"counted {pool}")
    for size in ("4k", "64k", "16m"):
        check_equal(pool[size]["kept"], 0, f"slabs of {size} kept")
    mux.works()


@test("a client that reads nothing for too long is told to go")
def stalled():
    rig = Rig("--max-burst", "1M", client_stall_timeout="300ms")
    lazy, idle, other = rig.mux(name="lazy"), rig.mux(name="idle"), rig.mux()
    reads = [lazy.start_read(0, 2048, itt=itt) for itt in range(8)]
    rig.daemon.wait_line(r"lazy.*: closing: \d+ bytes were not read")
    msgs = lazy.farewell()
    check_equal((msgs[-1].kind, msgs[-1].reason), (GOODBYE, "client-stalled"),
                "the last frame")
    check("300 ms" in msgs[-1].text, msgs[-1].text)
    check(reads[0].good(), "the first read")
    wait_until(lambda: all(c["name"] != "lazy" for c in rig.clients()),
               "the lazy client to be gone")
    # One that never reads its GOODBYE is gone, too.
    lazy = rig.mux(name="lazy2")
    for itt in range(8):
        lazy.start_read(0, 2048, itt=itt)
    wait_until(lambda: all(c["name"] != "lazy2" for c in rig.clients()),
               "the other lazy client to be gone")
    other.works()
    idle.works()
    rig.wait_idle()


@test("HELLO comes in time, or not at all")
def hello_timeout():
    rig = Rig(hello_timeout="300ms")
    said = Mux(rig.daemon)
    late = Mux(rig.daemon, raw=True)
    slow = Mux(rig.daemon, raw=True)
    slow.send_raw(frame(HELLO, hello(), 1)[:-1])
    for mux in (late, slow):
        msgs = mux.farewell()
        check_equal([(msg.kind, msg.reason) for msg in msgs],
                    [(GOODBYE, "hello-timeout")], "frames")
    said.ping()
    check_equal(said.attach("ram").state, "up", "state")
    said.works()


@test("EVENTs for a client that does not read: merged, then lost, all told")
def lost_events():
    target = Scripted()
    daemon = Daemon(session("odd", target.portal, target.iqn,
                            logout_timeout="100ms"))
    peer = target.login()
    daemon.wait_up("odd")
    mux = Mux(daemon, "odd")
    task = mux.start_read(0, 8192)
    request = peer.receive()
    for part in range(16):
        peer.data_in(request, bytes(262144), 262144 * part, part,
                     part == 15)
    for number in range(100):
        for _ in range(2):
            peer.send(ASYNC, NONE, word5=0, lun=lun_number(number),
                      tail=b"\xff")
    control = daemon.control()
    wait_until(lambda: control.call("stats.get", session="odd")["sessions"]
               ["odd"]["pdus_in"] >= 217, "all Async Messages")
    mux.finish(task).good()
    seen = lost = 0
    while seen + lost < 200:
        msg = mux.expect(0x49)
        if msg.event == "events-lost":
            lost += msg.count
        else:
            check_equal((msg.event, msg.code), ("async-message", 255), "EVENT")
            seen += msg.count
    check_equal(seen + lost, 200, "events told or lost")
    check(lost > 0 and seen >= 2 * 32, f"{seen} told, {lost} lost")
    peer.send(ASYNC, NONE, word5=0, tail=b"\xff")
    check_equal(mux.event("async-message").count, 1, "the next event")


main()
