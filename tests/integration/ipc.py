#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Clients that keep every rule and still try to cost the daemon more than
they are charged, and clients that leave at the worst moment."""

import json
import os
import select
import signal
import socket

from harness import check, check_equal, main, scaled, shared, test, wait_until
from muxclient import (F_MORE, PING, PONG, SUBMIT, WRITE, command, frame,
                       write16)
from muxrig import Rig


@shared
def rig():
    """One target and daemon for all tests."""
    return Rig()


@shared
def bystander():
    """A client that must never notice anything."""
    return rig().mux(name="bystander")


def held(one):
    """Bytes of slabs that the daemon of that rig has in use."""
    return one.control.call("stats.get")["worker"]["pool"]["bytes_out"]


def dribble(mux, data, count):
    """Sends that many bytes one by one, each read before the next."""
    for i in range(count):
        mux.send_raw(data[i:i + 1])
        if i % 64 == 63:
            rig().control.call("daemon.info")


@test("a PDU that comes byte by byte holds no more than its bytes")
def bytes_held():
    data = os.urandom(65536)
    pdu = command(9, write16(0, 128), 65536, WRITE, data)
    for flags in (0, F_MORE):
        bystander().works()
        before = held(rig())
        mux = rig().mux()
        task = mux.task(pdu)
        count = scaled(4000, 1000)
        first = len(pdu) if flags == 0 else 48 + count
        head = frame(SUBMIT, b"", task.cookie, flags, first)
        mux.send_raw(head + pdu[:48])
        dribble(mux, data, count)
        now = held(rig())
        check(now - before <= 128 << 10,
              f"{count} bytes of data hold {now - before}")
        rest = data[count:]
        if flags == 0:
            mux.send_raw(rest)
        else:
            mux.send(SUBMIT, rest, task.cookie)
        mux.finish(task).good()
        check(mux.read(0, 128) == data, "what was written differs")
        mux.close()


@test("a small PDU in a large read does not hold all of that")
def slabs_held():
    narrow = Rig("--queue-depth", "2")
    narrow.order("window 0")
    mux = narrow.mux()
    noise = frame(PING, bytes(64), 1) * 700
    mux.requests.add(1)
    tasks = []
    for i in range(scaled(200, 50)):
        pdu = command(mux.itt(), write16(i, 1), 512, WRITE, bytes(512))
        tasks.append(mux.task(pdu))
        mux.send_raw(frame(SUBMIT, pdu, tasks[-1].cookie) + noise)
    mux.ping()
    now = held(narrow)
    check(now <= len(tasks) << 12,
          f"{len(tasks)} queued writes of a block hold {now}")
    narrow.order("window 64")
    for task in tasks:
        mux.finish(task).good()
    narrow.wait_idle()


@test("many frames in one go are all answered, in turns")
def many_frames():
    mux = rig().mux()
    for count in (255, 256, 257, 512, 1000):
        cookies = [mux.cookie() for _ in range(count)]
        mux.requests.update(cookies)
        mux.send_raw(b"".join(frame(PING, b"", cookie)
                              for cookie in cookies))
        for cookie in cookies:
            mux.expect(PONG, cookie)
    mux.works()
    mux.close()
    bystander().works()


@test("control: requests before the end of the stream are all answered")
def answers_after_the_end():
    clients = [rig().mux() for _ in range(30)]
    request = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "stats.get"})
    count = 60000 // (len(request) + 1)
    asking = rig().daemon.control()
    asking.send((request + "\n") * count)
    asking.socket.shutdown(socket.SHUT_WR)
    # So that the answers are more than the daemon holds at a time.
    wait_until(lambda: select.select([asking.socket], [], [], 0)[0],
               "the first answer")
    for _ in range(20):
        rig().control.call("daemon.info")
    answers = 0
    while asking.receive() is not None:
        answers += 1
    check_equal(answers, count, "answers")
    for mux in clients:
        mux.close()


@test("client.list while a client is leaving")
def list_in_the_same_turn():
    for _ in range(scaled(20, 5)):
        mux = rig().mux(name="leaving")
        mux.ping()
        os.kill(rig().daemon.pid, signal.SIGSTOP)
        mux.close()
        rig().control.send(json.dumps(
            {"jsonrpc": "2.0", "id": 1, "method": "client.list"}) + "\n")
        os.kill(rig().daemon.pid, signal.SIGCONT)
        check("result" in rig().control.receive(), "client.list failed")
    wait_until(lambda: len(rig().clients()) <= 1, "the clients to be gone")
    bystander().works()


main()
