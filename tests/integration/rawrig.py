# SPDX-License-Identifier: ISC
"""What tests of raw connections start: a daemon without sessions, a target."""

import os
import pwd
import socket
import struct

from harness import (PATIENCE, TIMEOUT, Skip, check, check_equal, defer,
                     split_portal, wait_until)
from iscsimuxd import Daemon, config_text
from muxclient import ATTACHED, LIST, NONE, Forked, Mux
from rawclient import Raw
from scripted import Scripted
from target_client import Target, crc32c


def raw_rule(**keys):
    """A raw block for who runs the test, as text."""
    keys.setdefault("users", [pwd.getpwuid(os.getuid()).pw_name])
    keys.setdefault("portals", ["127.0.0.0/8:*", "[::1]:*"])
    return config_text({"raw": keys})


def connection_to(portal):
    """A TCP socket, blocking, as most programs have them."""
    connection = socket.socket()
    connection.settimeout(TIMEOUT * PATIENCE)
    connection.connect(split_portal(portal))
    connection.setblocking(True)
    return connection


def swapped(digest):
    """A digest with its bytes in the other order."""
    return digest[::-1]


class _Rig:
    """A daemon that must have got back all that it lent."""

    def __init__(self, *config, **keys):
        self.daemon = None
        defer(self._nothing_left)
        self.daemon = Daemon(*config, **keys)
        self.control = self.daemon.control()

    def _nothing_left(self):
        log = self.daemon.log() if self.daemon is not None else ""
        check("still in use" not in log, "the daemon lost count: " +
              "; ".join(line for line in log.splitlines()
                        if "still in use" in line))

    def held(self):
        """Bytes of slabs that the daemon has in use."""
        return self.control.call("stats.get")["worker"]["pool"]["bytes_out"]

    def wait_clean(self):
        """Waits until the daemon holds no slab and has no client."""
        wait_until(lambda: self.held() == 0, "all slabs to be given back")
        self.daemon.wait_call(lambda told: not told["clients"],
                              "no client to be left", "client.list")

    def descriptors(self):
        """How many descriptors the daemon has, once it has nothing to do."""
        for _ in range(2):
            self.control.call("daemon.info")
        return len(os.listdir(f"/proc/{self.daemon.pid}/fd"))


class RamRig(_Rig):
    """The RAM target and a daemon; options go to the target."""

    def __init__(self, *options, config=(), broken=False, **keys):
        self.target = Target("--size", "64M", *options)
        self.portal = self.target.portals[0]
        if not broken:
            defer(self.check_target)
        super().__init__(*config, **keys)

    def check_target(self):
        """Fails the test if the target has seen a protocol error."""
        if self.target.alive():
            self.target.check_no_error()

    def order(self, line):
        """An order to the target; its answer."""
        return self.target.order(line)

    def raw(self, *keys, **fields):
        """A client whose raw connection is logged in."""
        raw = Raw(self.daemon, self.portal, name=fields.pop("label", "raw"),
                  **fields.pop("wanted", {}))
        raw.login(self.target.iqn, *keys, **fields)
        return raw

    def target_tasks(self, count):
        """Waits until the target has that many tasks in all."""
        wait_until(lambda: sum(each["tasks"] for each in
                               self.target_sessions()) == count,
                   f"{count} tasks at the target")

    def target_sessions(self):
        """What the target says of its sessions."""
        return self.order("sessions")["sessions"]


class OddRig(_Rig):
    """A scripted target and a daemon; connect() before anything else.

    raw is the client, peer the target's end of its connection.
    """

    def __init__(self, *config, **keys):
        self.target = Scripted()
        self.raw = self.peer = None
        super().__init__(*config, **keys)

    def connect(self, raw=None, **wanted):
        """A raw connection, not logged in; itself."""
        if raw is None:
            self.raw = Raw(self.daemon, self.target.portal, **wanted)
        else:
            self.raw = raw
            self.raw.open(self.target.portal, **wanted)
        self.peer = self.target.accept()
        return self

    def login(self, *keys, extra=b"", answers=None, **fields):
        """Logs in; the client offers keys, the target agrees; itself."""
        task = self.raw.login_request(self.target.iqn, *keys, **fields)
        self.target.login(extra, self.peer, **(answers or {}))
        self.raw.logged_in(self.raw.finish(task))
        return self

    def digests(self, header=True, data=True, **options):
        """Connects and logs in with these digests; itself."""
        return self.connect().login(
            f"HeaderDigest={'CRC32C' if header else 'None'}",
            f"DataDigest={'CRC32C' if data else 'None'}", **options)

    def gone(self, errno, **counts):
        """The daemon must end the connection; the EVENT."""
        event = self.raw.over(errno, **counts)
        self.peer.closed()
        return event


def wire(header, data=b"", digests=(False, False), order=crc32c, padding=None,
         ahs=b""):
    """The bytes of a PDU, its digests by order (of BHS and AHS, of data)."""
    raw = header + ahs
    if digests[0]:
        raw += order(header + ahs)
    if data:
        padded = data + (bytes(-len(data) % 4) if padding is None
                         else padding)
        raw += padded
        if digests[1]:
            raw += order(padded)
    return raw


def big_endian(data):
    """The digest of data in the order that no known target uses."""
    return swapped(crc32c(data))


def ping(data=b"", itt=NONE, ttt=0x1234, statsn=1, opcode=0x20):
    """A NOP-In of a target: the BHS."""
    return struct.pack(">BBHB3sQIIIII", opcode, 0x80, 0, 0,
                       len(data).to_bytes(3, "big"), 0, itt, ttt, statsn, 1,
                       32).ljust(48, b"\0")


def same(got, wanted, what):
    """check_equal() of long bytes, told by their first difference."""
    if got != wanted:
        at = next((i for i, (a, b) in enumerate(zip(got, wanted)) if a != b),
                  min(len(got), len(wanted)))
        check_equal((len(got), at, got[at:at + 16].hex()),
                    (len(wanted), at, wanted[at:at + 16].hex()),
                    f"{what}: length, first difference, bytes there")


def listed(mux):
    """The LISTING: flags by name of the session."""
    msg = mux.answer_to(mux.send(LIST))
    return msg.listing_flags


def wait_name_free(daemon, name):
    """Waits until no session has that name any more."""
    mux = Mux(daemon)
    wait_until(lambda: name not in listed(mux), f"no session {name}")
    mux.close()


def shared_by(raw, name="shared"):
    """Shares a raw connection, which must do; the client."""
    answer = raw.share(name)
    check_equal(answer.kind, ATTACHED, f"answer to SHARE ({answer})")
    check_equal((answer.state, answer.access, answer.generation > 0),
                ("up", 0x1f, True), "ATTACHED")
    return raw


def as_nobody(daemon, body):
    """A process of the user nobody that runs body(path of the data socket,
    tell): see Forked."""
    if os.getuid() != 0:
        raise Skip("needs root, to become somebody else")

    def child(report):
        os.chdir(os.path.dirname(daemon.data_socket))
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
        body(os.path.basename(daemon.data_socket), report)
    return Forked(child)


def seen_by_nobody(daemon, look):
    """Waits until nobody has run look(path of the data socket)."""
    def body(path, report):
        look(path)
        report("seen")
    as_nobody(daemon, body).said("seen")
