# SPDX-License-Identifier: ISC
"""The targets that tests log in to: our own in RAM, tgt, istgt."""

import os
import re
import signal

from harness import (TIMEOUT, Failure, Process, check, connects, free_port,
                     installed, program, run, tmp, wait_until)


class RamTarget(Process):
    """The RAM-backed test target, on a free port of the loopback.

    args go to its command line; portals is how many it is asked for. portals
    of the object are "ADDRESS:PORT" texts.
    """

    iqn = "iqn.2026-01.org.example:ram"

    def __init__(self, *args, portals=1, **options):
        super().__init__([program("RAMTARGET"), *args], "iscsimux-target",
                         status_wanted=options.pop("status_wanted", 0),
                         **options)
        lines = self.wait_line(r"^listening on (\S+)$", count=portals)
        self.portals = [line.group(1) for line in lines]


class Tgt(Process):
    """tgtd on a portal and a control socket of its own.

    It ignores SIGTERM, so it is told to end, and killed if it does not.
    """

    def __init__(self, host="127.0.0.1"):
        self.tgtadm = installed("tgtadm")
        self.port = free_port(host)
        self.host = host
        self.ipc = {"TGT_IPC_SOCKET": tmp("tgt")}
        name = f"[{host}]" if ":" in host else host
        self.portal = f"{name}:{self.port}"
        super().__init__([installed("tgtd"), "-f", "-C", 1,
                          "--iscsi", f"portal={self.portal}"], env=self.ipc)
        self.tids = []
        self.images = {}

        def ready():
            check(self.alive(), f"tgtd ended at its start: {self.log()}")
            return (connects((host, self.port)) and
                    self.admin("--mode", "sys", "--op", "show",
                               check_status=None).returncode == 0)
        wait_until(ready, "tgtd to answer")

    def admin(self, *args, **options):
        """Runs tgtadm against this tgtd; see run()."""
        return run([self.tgtadm, "-C", 1, "--lld", "iscsi", *args],
                   env=self.ipc, **options)

    def add_target(self, iqn, size=64 << 20, luns=1, digests=False,
                   parameters=None, open_to_all=True):
        """A target whose LUN 1 and up are files of size bytes; its tid."""
        tid = len(self.tids) + 1
        self.tids.append(tid)
        self.admin("--mode", "target", "--op", "new", "--tid", tid, "-T", iqn)
        for lun in range(1, luns + 1):
            path = tmp(f"tgt-{tid}-{lun}.img")
            self.images[tid, lun] = path
            with open(path, "wb") as file:
                file.truncate(size)
            self.admin("--mode", "logicalunit", "--op", "new", "--tid", tid,
                       "--lun", lun, "-b", path)
        values = dict(parameters or {})
        if digests:
            values.update(HeaderDigest="CRC32C", DataDigest="CRC32C")
        for key, value in values.items():
            self.admin("--mode", "target", "--op", "update", "--tid", tid,
                       "--name", key, "--value", value)
        if open_to_all:
            self.admin("--mode", "target", "--op", "bind", "--tid", tid,
                       "-I", "ALL")
        return tid

    def add_account(self, tid, user, secret, outgoing=False):
        """Demands CHAP of a target (outgoing: answers it, too)."""
        self.admin("--mode", "account", "--op", "new", "--user", user,
                   "--password", secret)
        self.admin("--mode", "account", "--op", "bind", "--tid", tid,
                   "--user", user, *(["--outgoing"] if outgoing else []))

    def sessions(self, tid):
        """How many sessions the target has."""
        shown = self.admin("--mode", "conn", "--op", "show", "--tid", tid)
        return len(re.findall(r"^Session:", shown.stdout, re.MULTILINE))

    def stop(self, timeout=TIMEOUT):
        if self.alive():
            for tid in self.tids:
                self.admin("--mode", "target", "--op", "delete", "--force",
                           "--tid", tid, check_status=None)
            self.admin("--mode", "system", "--op", "delete",
                       check_status=None)
        try:
            return self.wait(5)
        except Failure:
            return self.kill()


ISTGT_CONF = """\
[Global]
  NodeBase "iqn.2026-01.org.example"
  PidFile {base}/istgt.pid
  AuthFile {base}/auth.conf
  MediaDirectory {base}
  LogFacility "local7"
  Timeout 30
  NopInInterval 20
  DiscoveryAuthMethod None
  MaxSessions 16
  MaxConnections 4
  FirstBurstLength 262144
  MaxBurstLength 1048576
  MaxRecvDataSegmentLength 262144
  InitialR2T Yes
  ImmediateData Yes
  DataPDUInOrder Yes
  DataSequenceInOrder Yes
  ErrorRecoveryLevel 0
[UnitControl]
  AuthMethod None
  Portal UC1 {host}:{control_port}
  Netmask {host}
[PortalGroup1]
  Portal DA1 {host}:{port}
[InitiatorGroup1]
  InitiatorName "ALL"
  Netmask 127.0.0.0/8
[LogicalUnit1]
  TargetName disk
  Mapping PortalGroup1 InitiatorGroup1
  AuthMethod {auth}
  UseDigest {digest}
  UnitType Disk
  LUN0 Storage {base}/disk.img {size}
"""


class Istgt(Process):
    """istgt with one target and LUN 0. It takes over a second to end."""

    iqn = "iqn.2026-01.org.example:disk"

    def __init__(self, size="64MB", digest="Auto", accounts=()):
        """accounts: user and secret, and for mutual CHAP its own as well."""
        base = tmp("istgt")
        os.mkdir(base)
        self.host = "127.0.0.1"
        self.port = free_port()
        self.control_port = free_port()
        self.portal = f"{self.host}:{self.port}"
        self.config = os.path.join(base, "istgt.conf")
        with open(self.config, "w", encoding="utf-8") as file:
            file.write(ISTGT_CONF.format(
                base=base, host=self.host, port=self.port, size=size,
                control_port=self.control_port, digest=digest,
                auth=("None", "", "CHAP\n  AuthGroup AuthGroup1", "",
                      "CHAP Mutual\n  AuthGroup AuthGroup1")[len(accounts)]))
        with open(os.path.join(base, "auth.conf"), "w",
                  encoding="utf-8") as file:
            os.fchmod(file.fileno(), 0o600)
            if accounts:
                words = " ".join(f'"{word}"' for word in accounts)
                file.write(f"[AuthGroup1]\n  Auth {words}\n")
        self.control_config = os.path.join(base, "istgtcontrol.conf")
        with open(self.control_config, "w", encoding="utf-8") as file:
            file.write(f"[Global]\n  Timeout 60\n  AuthMethod None\n"
                       f"  Host {self.host}\n  Port {self.control_port}\n"
                       f"  TargetName disk\n  Lun 0\n  Flags rw\n"
                       f"  Size auto\n")
        super().__init__([installed("istgt"), "-c", self.config, "-D"])

        def ready():
            check(self.alive(), f"istgt ended at its start: {self.log()}")
            return connects((self.host, self.port))
        wait_until(ready, "istgt to accept")

    def sessions(self):
        """How many sessions the target has."""
        shown = run([installed("istgtcontrol"), "-c", self.control_config,
                     "-q", "-t", self.iqn, "info"])
        return len(re.findall(r"Login from", shown.stdout))

    def stop(self, timeout=TIMEOUT):
        if self.alive():
            self.signal(signal.SIGTERM)
        try:
            return self.wait(10)
        except Failure:
            return self.kill()
