#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""CHAP: the daemon and targets that demand it, real ones and odd ones.

The RAM target computes CHAP by code of its own, and the scripted target by
hashlib.
"""

import hashlib
import json
import os
import struct

from harness import PATIENCE, check, check_equal, main, shared, test, tmp
from iscsimuxd import Daemon, session
from muxclient import LOGIN
from scripted import Scripted
from target_client import Target, pad
from target_client import bhs as raw_bhs
from targets import Istgt, Tgt

USER, SECRET = "inuser", "insecret1234"
OWN_USER, OWN_SECRET = "outuser", "outsecret567"
ALGORITHMS = {8: "SHA3-256", 7: "SHA256", 6: "SHA1", 5: "MD5"}
HASHES = {5: hashlib.md5, 6: hashlib.sha1, 7: hashlib.sha256,
          8: hashlib.sha3_256}


def secret_file(secret):
    """A file with a secret that nobody else may read."""
    path = tmp("secret")
    with open(path, "w", encoding="utf-8") as file:
        os.fchmod(file.fileno(), 0o600)
        file.write(secret + "\n")
    return path


def chap(secret=SECRET, own=None, **keys):
    """Keys of a session with CHAP, mutual if own is the target's secret."""
    keys = {"chap_user": USER, "chap_secret_file": secret_file(secret),
            **keys}
    if own is not None:
        keys["chap_peer_secret_file"] = secret_file(own)
    return keys


def mutual(secret=SECRET, own=OWN_SECRET, **keys):
    """The same for both directions."""
    return chap(secret, own, chap_peer_user=OWN_USER, **keys)


def daemon_for(portal, iqn, **keys):
    """A daemon with one session."""
    keys.setdefault("reconnect_interval", "60s")
    return Daemon(session("disk", portal, iqn, **keys), log_level="debug")


def reads(daemon, lun):
    """The session is there and works."""
    daemon.wait_up("disk")
    check(json.loads(daemon.iscsimux("capacity", f"disk/{lun}",
                                     "-j").stdout)["bytes"], "no capacity")


def fails(daemon, words):
    """The login fails, told so."""
    shown = daemon.wait_session("disk", lambda each: each["last_error"],
                                "to fail")
    check(words in shown["last_error"], f"{words!r} is not in "
          f"{shown['last_error']!r}")
    return shown


def no_secret(daemon):
    """Neither log nor answers of the control socket show a secret."""
    seen = daemon.log() + str(daemon.call("session.show", session="disk"))
    for secret in SECRET, OWN_SECRET:
        check(secret not in seen, "a secret was shown")


# --- The RAM target

def ram(*options, own=True):
    """A RAM target that demands CHAP."""
    arguments = ["--chap-user", USER, "--chap-secret", SECRET]
    if own:
        arguments += ["--chap-own-user", OWN_USER,
                      "--chap-own-secret", OWN_SECRET]
    return Target(*arguments, *options)


@test("every algorithm, one way and mutual, with digests")
def ram_algorithms():
    for number in ALGORITHMS:
        target = ram("--chap-algorithms", number, "--header-digest", "crc32c",
                     "--data-digest", "crc32c")
        for keys in chap(), mutual():
            daemon = daemon_for(target.portals[0], target.iqn,
                                header_digest="CRC32C",
                                data_digest="CRC32C", **keys)
            reads(daemon, 0)
            no_secret(daemon)
            daemon.stop()
        check_equal(target.counters()["login_failures"], 0, "failures")
        check_equal(target.counters()["protocol_errors"], 0, "errors")
        target.stop()


@test("chap-algorithms is offered as it stands, and not without MD5")
def ram_offers():
    for number, name in ALGORITHMS.items():
        target = ram("--chap-algorithms", number)
        daemon = daemon_for(target.portals[0], target.iqn,
                            **chap(chap_algorithms=name))
        reads(daemon, 0)
        daemon.stop()
        others = [each for each in ALGORITHMS.values() if each != name]
        daemon = daemon_for(target.portals[0], target.iqn,
                            **chap(chap_algorithms=others))
        fails(daemon, "authentication failure (login status 0x0201)")
        check_equal(target.counters()["login_failures"], 1, "failures")
        daemon.stop()
        target.stop()


@test("wrong secrets and names on either side; the retry is the only one")
def ram_wrong():
    target = ram()
    cases = (
        (chap("another secret"), "authentication failure", 2),
        (chap(chap_user="nobody"), "authentication failure", 2),
        ({}, "authentication failure", 1),
        (mutual(own="another secret"), "its CHAP_R is wrong", 0),
        (chap(own=OWN_SECRET, chap_peer_user="else"),
         "target calls itself outuser by CHAP, but else is configured", 0),
    )
    for keys, words, failures in cases:
        before = target.counters()["login_failures"]
        daemon = daemon_for(target.portals[0], target.iqn, **keys)
        fails(daemon, words)
        daemon.wait_session("disk", lambda each: each["next_try_ms"],
                            "to wait")
        check_equal(target.counters()["login_failures"] - before, failures,
                    f"logins refused, {words}")
        no_secret(daemon)
        daemon.stop()
    target.stop()


@test("without chap-required a target that wants none is good enough")
def ram_optional():
    target = Target()
    daemon = daemon_for(target.portals[0], target.iqn,
                        **chap(chap_required=False))
    reads(daemon, 0)
    daemon.stop()
    daemon = daemon_for(target.portals[0], target.iqn, **chap())
    fails(daemon, "login")
    daemon.stop()
    target.stop()
    target = ram()
    daemon = daemon_for(target.portals[0], target.iqn,
                        **chap(chap_required=False))
    reads(daemon, 0)


# --- tgt and istgt

@shared
def tgt():
    """Targets 1 to 4: none, CHAP, mutual, mutual with digests."""
    target = Tgt()
    for number in range(1, 5):
        target.add_target(f"iqn.2026-01.org.example:t{number}",
                          digests=number == 4)
    target.admin("--mode", "account", "--op", "new", "--user", USER,
                 "--password", SECRET)
    target.admin("--mode", "account", "--op", "new", "--user", OWN_USER,
                 "--password", OWN_SECRET)
    for number in 2, 3, 4:
        target.admin("--mode", "account", "--op", "bind", "--tid", number,
                     "--user", USER)
    for number in 3, 4:
        target.admin("--mode", "account", "--op", "bind", "--tid", number,
                     "--user", OWN_USER, "--outgoing")
    return target


@test("tgt: none, CHAP, mutual, both at once with digests")
def tgt_logins():
    for number, keys in ((1, {}), (2, chap()), (3, mutual()),
                         (4, mutual(header_digest="CRC32C",
                                    data_digest="CRC32C"))):
        daemon = daemon_for(tgt().portal, f"iqn.2026-01.org.example:t{number}",
                            **keys)
        reads(daemon, 1)
        no_secret(daemon)
        retried = "trying again with CHAP by MD5 alone" in daemon.log()
        check_equal(retried, number > 1, "retry, as tgt means SHA-1 by 7")
        check_equal("from now on CHAP by MD5 alone" in daemon.log(), retried,
                    "MD5 is remembered")
        daemon.stop()


@test("tgt: the next login needs no retry; with MD5 forbidden there is none")
def tgt_md5_remembered():
    iqn = "iqn.2026-01.org.example:t2"
    daemon = daemon_for(tgt().portal, iqn, reconnect_interval="100ms",
                        **chap())
    reads(daemon, 1)
    tid = tgt().tids[1]
    shown = tgt().admin("--mode", "conn", "--op", "show", "--tid", tid).stdout
    sid = shown.split("Session: ")[1].split()[0]
    tgt().admin("--mode", "conn", "--op", "delete", "--tid", tid, "--sid",
                sid, "--cid", 0)
    daemon.wait_session("disk", lambda each: each["up"] and
                        each["negotiated"]["generation"] == 2, "to be up again")
    check_equal(daemon.log().count("trying again"), 1, "retries")
    daemon.stop()
    daemon = daemon_for(tgt().portal, iqn, **chap(chap_allow_md5=False))
    fails(daemon, "login status 0x02")
    daemon.wait_session("disk", lambda each: each["next_try_ms"], "to wait")
    check("trying again" not in daemon.log(), "MD5 was tried")


@test("tgt: wrong secrets on either side")
def tgt_wrong():
    for iqn, keys, words in (
            ("t2", chap("another secret"), "target refused the login"),
            ("t2", {}, "target"),
            ("t3", mutual(own="another secret"), "its CHAP_R is wrong")):
        daemon = daemon_for(tgt().portal, f"iqn.2026-01.org.example:{iqn}",
                            **keys)
        daemon.wait_session("disk", lambda each: each["next_try_ms"],
                            "to wait")
        fails(daemon, words)
        daemon.stop()


@test("istgt: CHAP, mutual, with digests; wrong secrets on either side")
def istgt_logins():
    for accounts, good, bad in (
            ((USER, SECRET), chap(),
             ((chap("another secret"), "target refused the login"),
              ({}, "target"))),
            ((USER, SECRET, OWN_USER, OWN_SECRET), mutual(),
             ((mutual(own="another secret"), "its CHAP_R is wrong"),
              (chap(), "target refused the login")))):
        target = Istgt(accounts=accounts, digest="Header Data")
        digests = {"header_digest": "CRC32C", "data_digest": "CRC32C"}
        daemon = daemon_for(target.portal, target.iqn, **digests, **good)
        reads(daemon, 0)
        no_secret(daemon)
        daemon.stop()
        for keys, words in bad:
            daemon = daemon_for(target.portal, target.iqn, **digests, **keys)
            daemon.wait_session("disk", lambda each: each["next_try_ms"],
                                "to wait")
            fails(daemon, words)
            daemon.stop()
        target.stop()


# --- A scripted target

class Login:
    """One login of the daemon, answered exchange by exchange."""

    def __init__(self, target):
        self.peer = target.accept()
        self.statsn = 1

    def request(self):
        """The next Login Request: its stage and T bit, and its keys."""
        request = self.peer.receive(LOGIN)
        self.itt = request.itt
        self.isid = request.bhs[8:14]
        text = request.data.decode()
        keys = dict(pair.split("=", 1) for pair in text.split("\0") if pair)
        return request.flags >> 2 & 3, request.flags >> 7, keys

    def respond(self, flags, status=0, **keys):
        """A Login Response of these keys; status: class and detail."""
        text = b"".join(f"{key}={value}\0".encode()
                        for key, value in keys.items())
        header = bytearray(raw_bhs(0x23, flags, length=len(text)))
        header[8:14] = self.isid
        struct.pack_into(">IIIII", header, 16, self.itt, 0, self.statsn, 1, 1)
        struct.pack_into(">H", header, 36, status)
        self.statsn += 1
        self.peer.send_login(bytes(header) + pad(text))

    def method(self):
        """AuthMethod, which has a PDU of its own."""
        stage, transit, keys = self.request()
        check_equal((stage, transit), (0, 1), "stage and T of the first")
        check("CHAP_A" not in keys, "CHAP_A beside AuthMethod")
        check_equal(keys["AuthMethod"], "CHAP", "AuthMethod")
        self.respond(0, AuthMethod="CHAP")

    def algorithms(self):
        """What CHAP_A offers."""
        stage, transit, keys = self.request()
        check_equal((stage, transit), (0, 0), "stage and T of CHAP_A")
        check_equal(list(keys), ["CHAP_A"], "keys of the second")
        return keys["CHAP_A"]


def digest(algorithm, number, secret, challenge):
    """CHAP_R."""
    return "0x" + HASHES[algorithm](bytes([number]) + secret.encode() +
                                    challenge).hexdigest()


@test("an old LIO, which wants nothing but 5: once more, and remembered")
def only_5():
    target = Scripted()
    daemon = daemon_for(target.portal, target.iqn,
                        reconnect_interval="100ms", **chap())
    login = Login(target)
    login.method()
    check_equal(login.algorithms(), "8,7,6,5", "offered first")
    login.respond(0, status=0x0201)
    for _ in range(2):
        login = Login(target)
        login.method()
        check_equal(login.algorithms(), "5", "offered then")
        login.respond(0, CHAP_A=5, CHAP_I=9, CHAP_C="0b" + "AAEC" * 8)
        stage, transit, keys = login.request()
        check_equal((stage, transit), (0, 1), "stage and T of CHAP_R")
        check_equal(keys, {"CHAP_N": USER, "CHAP_R": digest(
            5, 9, SECRET, b"\0\1\2" * 8)}, "answer")
        login.respond(0x81)
        target.login(peer=login.peer)
        daemon.wait_up("disk")
        login.peer.socket.close()
    # What it refuses now may be MD5: then everything is offered again.
    for offer in "5", "8,7,6,5", "5", "8,7,6,5":
        login = Login(target)
        login.method()
        check_equal(login.algorithms(), offer, "offered later")
        login.peer.socket.close()


@test("a target that closes instead of saying no is tried with MD5, too")
def hangs_up():
    target = Scripted()
    daemon = daemon_for(target.portal, target.iqn,
                        reconnect_interval="100ms", **chap())
    for offer in "8,7,6,5", "5", "8,7,6,5", "5", "8,7,6,5":
        login = Login(target)
        login.method()
        check_equal(login.algorithms(), offer, "offered")
        login.peer.socket.close()
    daemon.stop()


@test("our own challenge comes back on another connection")
def reflected():
    first, second = Scripted(), Scripted()
    keys = mutual(reconnect_interval="60s", chap_algorithms="SHA256")
    Daemon(session("one", first.portal, first.iqn, **keys),
           session("two", second.portal, second.iqn, **keys))
    login = Login(first)
    login.method()
    login.algorithms()
    login.respond(0, CHAP_A=7, CHAP_I=1, CHAP_C="0x" + "ab" * 16)
    challenge = login.request()[2]["CHAP_C"]
    check(len(challenge) > 2 + 2 * 16, "our challenge is short")
    other = Login(second)
    other.method()
    other.algorithms()
    other.respond(0, CHAP_A=7, CHAP_I=1, CHAP_C=challenge)
    other.peer.closed()


@test("a target that sends our challenge back is not tried with MD5")
def reflected_no_retry():
    target = Scripted()
    second = Scripted()
    keys = mutual(reconnect_interval="60s")
    daemon = Daemon(session("one", target.portal, target.iqn, **keys),
                    session("two", second.portal, second.iqn, **keys))
    login = Login(target)
    login.method()
    login.algorithms()
    login.respond(0, CHAP_A=7, CHAP_I=1, CHAP_C="0x" + "ab" * 16)
    challenge = login.request()[2]["CHAP_C"]
    other = Login(second)
    other.method()
    other.algorithms()
    other.respond(0, CHAP_A=7, CHAP_I=1, CHAP_C=challenge)
    other.peer.closed()
    daemon.wait_session("two", lambda each: each["next_try_ms"], "to wait")
    check("trying again" not in daemon.log(), "MD5 was tried")


@test("one Login Request is not answered in time")
def slow_response():
    target = Scripted()
    daemon = daemon_for(target.portal, target.iqn,
                        login_pdu_timeout=f"{int(300 * PATIENCE)}ms",
                        login_timeout="60s")
    peer = target.accept()
    peer.receive(LOGIN)
    peer.closed()
    fails(daemon, "did not answer a Login Request within")
    # Each answer in time, and yet no end.
    daemon = daemon_for(target.portal, target.iqn, login_pdu_timeout="20s",
                        login_timeout=f"{int(300 * PATIENCE)}ms")
    login = Login(target)
    login.request()
    login.respond(0, AuthMethod="None")
    login.request()
    login.peer.closed()
    fails(daemon, "login took longer than")


@test("a secret that others can read stops the daemon's start, unshown")
def bad_secret_file():
    path = secret_file(SECRET)
    os.chmod(path, 0o644)
    daemon = Daemon(session("disk", "127.0.0.1:1", "iqn.2026-01.org.example:x",
                            chap_user=USER, chap_secret_file=path),
                    wait=False, status_wanted=2)
    check_equal(daemon.wait(), 2, "status")
    check("chmod 600 it" in daemon.log(), "not told what to do")
    check(SECRET not in daemon.log(), "the secret was shown")


if __name__ == "__main__":
    main()
