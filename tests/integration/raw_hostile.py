#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Clients and targets of raw connections that mean harm.

Whatever they do, it is theirs alone: the daemon goes on, a bystander is
served, and nothing is left when they have gone.
"""

import errno
import os
import select
import socket
import struct

from harness import (PATIENCE, TIMEOUT, check, check_equal, main, test,
                     wait_until)
from iscsimuxd import session
from muxclient import (ATTACHED, F_FD, F_MORE, LIST, LOGIN, NOP_IN, NOP_OUT,
                       OK, PING, Mux, frame, string)
from rawclient import (ADOPT, EXPORT, INITIATOR, ISID, SHARE, Params, Raw,
                       adopt_payload, login_pdu, login_text)
from rawrig import OddRig, RamRig, ping

LINGER = 3600


def connection_to(portal):
    """A TCP socket to a portal."""
    host, port = portal.rsplit(":", 1)
    return socket.create_connection((host, int(port)), TIMEOUT * PATIENCE)


def begin_adopt(raw, connection, cookie=7000):
    """The first frame of an ADOPT with 20 bytes of unread; its cookie."""
    raw.requests.add(cookie)
    raw.send_fds(frame(ADOPT, adopt_payload(Params(phase=1), bytes(20), 10),
                       cookie, F_FD | F_MORE), [connection.fileno()])
    return cookie


# --- Two at a time

@test("an ADOPT that ends when a connection or session is there is refused")
def adopt_late():
    here = RamRig()
    rig = OddRig(session("disk", here.portal, here.target.iqn))
    rig.daemon.wait_up("disk")
    base = rig.descriptors()
    for begin in ("open", "attach", "adopt"):
        raw = Raw(rig.daemon)
        given = connection_to(here.portal)
        cookie = begin_adopt(raw, given)
        if begin == "open":
            check_equal(raw.open(here.portal).kind, OK, "answer to OPEN")
        elif begin == "attach":
            raw.attach("disk")
        else:
            # A second stream can not begin inside of the first.
            raw.requests.add(7001)
            raw.send_fds(frame(ADOPT, adopt_payload(Params(phase=1)), 7001,
                               F_FD), [given.fileno()])
            raw.fatal("bad-fd")
            given.close()
            continue
        raw.send_raw(frame(ADOPT, bytes(10), cookie))
        raw.error(cookie, "wrong-state")
        if begin == "open":
            raw.login(here.target.iqn)
            raw.works()
        # The daemon has closed what was given to it.
        check_equal(rig.descriptors(), base + 1 + (begin == "open"),
                    f"descriptors, {begin}")
        given.close()
        raw.close()
        rig.wait_clean()
        wait_until(lambda: rig.descriptors() == base, "descriptors back")


# --- Names

@test("a name of the configuration hides no other target")
def other_target():
    rig = OddRig(session("spare", "127.0.0.1:1",
                         "iqn.2026-01.org.example:configured",
                         startup="manual")).connect().login()
    cookie = rig.raw.send(SHARE, string("spare"))
    rig.peer.send(NOP_IN, rig.peer.receive(NOP_OUT).itt)
    check_equal(rig.raw.answer_to(cookie).kind, ATTACHED, "answer to SHARE")
    told = Mux(rig.daemon)
    entry = told.answer_to(told.send(LIST)).entries[0]
    check_equal(entry[2:], ("spare", rig.target.iqn), "LISTING")
    check_equal(rig.daemon.call("session.show", session="spare")["target"],
                rig.target.iqn, "session.show")
    # Nor is it open to a login that would reinstate it.
    other = OddRig.connect(rig, Raw(rig.daemon, name="other")).raw
    task = other.submit(login_pdu(login_text(rig.target.iqn)))
    other.finish(task)
    check_equal((task.outcome.outcome, task.outcome.reason),
                ("refused", "would-reinstate"), "outcome")


@test("a session on an adopted socket is not reinstated, whoever logged in")
def adopted_nexus():
    rig = OddRig()
    raw = Raw(rig.daemon)
    connection = connection_to(rig.target.portal)
    rig.peer = rig.target.accept()
    check_equal(raw.adopt(connection, Params(
        phase=1, target=rig.target.iqn, isid=ISID)).kind, OK, "ADOPT")
    connection.close()
    cookie = raw.send(SHARE, string("adopted"))
    rig.peer.send(NOP_IN, rig.peer.receive(NOP_OUT).itt)
    check_equal(raw.answer_to(cookie).kind, ATTACHED, "answer to SHARE")
    other = OddRig.connect(rig, Raw(rig.daemon, name="other")).raw
    for name in (INITIATOR, "iqn.2026-01.org.example:x"):
        task = other.finish(other.submit(login_pdu(
            login_text(rig.target.iqn, name=name))))
        check_equal((task.outcome.outcome, task.outcome.reason),
                    ("refused", "would-reinstate"), f"Login of {name}")
    # Another ISID is another session.
    other.submit(login_pdu(login_text(rig.target.iqn, name="iqn.x:y"),
                           isid=b"\x80\0\0\0\0\x77"))
    rig.peer.receive(LOGIN)


# --- Descriptors

def full_of_bytes(portal):
    """A connection whose peer reads nothing, with bytes still to be sent."""
    connection = connection_to(portal)
    connection.setblocking(False)
    try:
        while True:
            connection.send(bytes(1 << 16))
    except BlockingIOError:
        pass
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                          struct.pack("ii", 1, LINGER))
    return connection


@test("a descriptor whose close would take an hour holds up nobody")
def linger():
    rig = OddRig()
    bystander = Mux(rig.daemon)
    peers = []

    def given(raw, data):
        connection = full_of_bytes(rig.target.portal)
        peers.append(rig.target.accept())
        raw.send_fds(data, [connection.fileno()])
        connection.close()
    # One that no frame takes, one that is refused, one that is adopted.
    raw = Raw(rig.daemon)
    raw.requests.add(5)
    given(raw, frame(PING, b"ping", 5))
    bystander.ping()
    raw.fatal("bad-fd")
    raw = Raw(rig.daemon)
    raw.requests.add(5)
    given(raw, frame(ADOPT, b"", 5, F_FD))
    bystander.ping()
    raw.error(5, "bad-payload")
    raw.requests.add(6)
    given(raw, frame(ADOPT, adopt_payload(Params(phase=1)), 6, F_FD))
    check_equal(raw.answer_to(6).kind, OK, "answer to ADOPT")
    raw.shut()
    bystander.ping()
    # And one whose client goes in the middle.
    raw.requests.add(7)
    given(raw, frame(ADOPT, adopt_payload(Params(phase=1), length=5), 7,
                     F_FD | F_MORE))
    raw.ping()
    raw.close()
    bystander.ping()


@test("EXPORTED that is not read keeps no more than one descriptor")
def export_unread():
    rig = OddRig()
    base = rig.descriptors()
    raw = Raw(rig.daemon)
    bystander = Mux(rig.daemon)
    connection = connection_to(rig.target.portal)
    rig.target.accept()
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS,
               struct.pack("i", connection.fileno()))]
    adopt = frame(ADOPT, adopt_payload(Params(phase=1)), 5, F_FD)
    export = frame(EXPORT, b"", 6)
    for _ in range(2000):
        _, ready, _ = select.select([], [raw.socket], [], 0)
        if not ready:
            # Is it late, or has it stopped to read?
            bystander.ping()
            bystander.ping()
            _, ready, _ = select.select([], [raw.socket], [], 0.2)
        if not ready:
            break
        raw.socket.sendmsg([adopt], rights)
        try:
            raw.send_raw(export)
        except BlockingIOError:
            break
    bystander.ping()
    check(rig.descriptors() <= base + 2 + 3,
          f"{rig.descriptors()} descriptors, {base} at first")
    raw.close()
    bystander.ping()
    connection.close()


# --- Targets

@test("a target that pings and does not read ends a SHARE, and only that")
def share_pings():
    rig = OddRig().connect().login()
    rig.peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    bystander = Mux(rig.daemon)
    cookie = rig.raw.send(SHARE, string("shared"))
    rig.peer.receive(NOP_OUT)
    flood = ping() * 1000
    sent = 0
    try:
        while sent < 2000:
            rig.peer.socket.sendall(flood)
            sent += 1
    except OSError:
        pass
    check(sent < 2000, "2000000 pings were taken, and no answer was read")
    rig.raw.error(cookie, "connection-lost")
    check_equal(rig.raw.event("closed").code, errno.EPROTO, "errno")
    bystander.ping()


main()
