#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""A target sends the login elsewhere: what an admin sees of the way."""

import struct

from harness import check, check_equal, main, test
from iscsimuxd import Daemon, session
from muxclient import LOGIN
from scripted import Scripted
from target_client import bhs as raw_bhs
from target_client import pad

OTHER = "iqn.2026-01.org.example:other"


def send_away(peer, status, address, name=None):
    """Answers the first Login Request with a redirect."""
    request = peer.receive(LOGIN)
    text = f"TargetAddress={address}\0".encode()
    if name is not None:
        text += f"TargetName={name}\0".encode()
    header = bytearray(raw_bhs(0x23, 0, length=len(text)))
    header[8:14] = request.bhs[8:14]
    struct.pack_into(">IIIII", header, 16, request.itt, 0, 1, 1, 1)
    struct.pack_into(">H", header, 36, status)
    peer.send_login(bytes(header) + pad(text))


@test("the chain is shown hop by hop, and a name that differs is logged")
def chain():
    first, second, third = Scripted(), Scripted(), Scripted()
    daemon = Daemon(session("disk", first.portal, first.iqn))
    send_away(first.accept(), 0x0102, second.portal)
    send_away(second.accept(), 0x0101, third.portal + ",1", OTHER)
    third.login()
    daemon.wait_up("disk")
    shown = daemon.call("session.show", session="disk")
    check_equal(shown["redirect_chain"],
                [{"address": second.portal, "permanent": True},
                 {"address": third.portal + ",1", "permanent": False}],
                "the chain")
    check_equal((shown["redirect"], shown["redirects"]),
                (third.portal + ",1", 2), "its end")
    check_equal((shown["portal"], shown["peer"]),
                (first.portal, third.portal), "where it began and ended")
    table = daemon.iscsimuxctl("session", "show", "disk").stdout.splitlines()
    rows = [" ".join(line.split()) for line in table]
    at = rows.index(f"redirected to {second.portal} (permanent)")
    check_equal(rows[at + 1],
                f"and from there to {third.portal},1 (temporary)", "next row")
    check(f"TargetName={OTHER}, which is not followed: the login goes on "
          f"for {first.iqn}" in daemon.log(), "the name is not logged")


main()
