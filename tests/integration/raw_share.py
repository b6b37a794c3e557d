#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""A raw connection becomes a session for others, and raw again."""

import errno
import os

from harness import check, check_equal, main, test, wait_until
from iscsimuxd import session
from muxclient import (ATTACH, ATTACHED, DATA_OUT, ERROR, FINAL, NONE,
                       NOP_IN, NOP_OUT, OK, SCSI, SCSI_RSP, TEST_UNIT_READY,
                       TMF, TMF_RSP, Forked, Mux, attach, bhs, command,
                       lun_number, string, tmf)
from rawclient import (ISID, LISTED_SHARED, SHARE, STATE, Raw, login_pdu,
                       login_text)
from rawrig import (OddRig, RamRig, as_nobody, listed, raw_rule, shared_by,
                    wait_name_free)
from targets import Istgt, Tgt

QUERY_TASK_SET = 10
DIGESTS = ("HeaderDigest=CRC32C", "DataDigest=CRC32C")
NOT_LOGGED_IN = ("wrong-state", "not-supported")


def refused(raw, name, *reasons):
    """SHARE must be refused for one of these reasons."""
    answer = raw.share(name)
    check(answer.kind == ERROR and answer.reason in reasons and answer.text,
          f"SHARE {name}: {answer}, wanted ERROR {reasons}")
    return answer


def reader(daemon, name, lun, lba, wanted):
    """A client in a process of its own, which attaches and reads."""
    def body(report):
        mux = Mux(daemon, name)
        check(mux.read(lba, len(wanted) // 512, lun=lun_number(lun)) ==
              wanted, "what was read differs")
        report("read")
        mux.works(lun=lun_number(lun))
        report("done")
    return Forked(body)


def share_with(portal, iqn, lun, daemon, *keys):
    """Login by hand, SHARE, a second process, the owner goes on."""
    raw = Raw(daemon, portal)
    raw.login(iqn, *keys)
    params = raw.state().params
    check_equal(params.flags & 3, 3 if keys else 0, "digests")
    # What a logical unit has to say at first is said to the owner.
    raw.run(command(raw.itt(), TEST_UNIT_READY, lun=lun_number(lun)))
    data = os.urandom(64 * 512)
    immediate = min(8192, len(data)) if params.flags & 0x200 else 0
    raw.finish(raw.start_write(100, data, lun=lun_number(lun),
                               immediate=min(immediate,
                                             raw.send_dsl))).good()
    shared_by(raw)
    check_equal(bool(raw.attached.param_flags & 4), bool(keys), "digests")
    other = reader(daemon, "shared", lun, 100, data)
    other.said("done")
    check(raw.read(100, 64, lun=lun_number(lun)) == data, "the owner's read")
    raw.works(lun=lun_number(lun))
    told = daemon.call("session.show", session="shared")
    check_equal((told["up"], told["logins"] if "logins" in told else 1),
                (True, 1), "session.show")
    return raw


@test("on the RAM target: with digests and without")
def ram():
    here = RamRig()
    for keys in ((), DIGESTS):
        raw = share_with(here.portal, here.target.iqn, 0, here.daemon, *keys)
        check_equal(len(here.target_sessions()), 1, "sessions")
        raw.close()
        wait_until(lambda: not here.target_sessions(), "the session to end")
        wait_name_free(here.daemon, "shared")
    here.wait_clean()


@test("on tgt: a raw login by hand with digests, shared")
def tgt():
    target = Tgt()
    iqn = "iqn.2026-01.org.example:share"
    tid = target.add_target(iqn, digests=True)
    here = OddRig()
    raw = share_with(target.portal, iqn, 1, here.daemon, *DIGESTS)
    check_equal(target.sessions(tid), 1, "sessions of the target")
    raw.close()
    wait_until(lambda: target.sessions(tid) == 0, "the session to end")


@test("on istgt: the same")
def istgt():
    target = Istgt(digest="Header Data")
    here = OddRig()
    # Without the key istgt sends more than the 8192 bytes it may.
    raw = share_with(target.portal, target.iqn, 0, here.daemon, *DIGESTS,
                     "MaxRecvDataSegmentLength=65536")
    check_equal(target.sessions(), 1, "sessions of the target")
    raw.close()
    wait_until(lambda: target.sessions() == 0, "the session to end")


# --- What the daemon asks the target

def share_begin(odd, name="shared"):
    """Sends SHARE; its cookie and the NOP-Out that it leads to."""
    cookie = odd.raw.send(SHARE, string(name))
    return cookie, odd.peer.receive(NOP_OUT)


@test("the numbers are asked for by an immediate NOP-Out, and believed")
def numbers():
    for digests in ((False, False), (True, True)):
        odd = OddRig().digests(*digests)
        raw, peer = odd.raw, odd.peer
        for _ in range(3):
            task = raw.submit(command(raw.itt(), TEST_UNIT_READY))
            peer.respond(peer.receive(SCSI))
            raw.finish(task).good()
        cookie, nop = share_begin(odd)
        check_equal((nop.immediate, nop.flags, nop.word5, nop.cmdsn,
                     nop.expstatsn), (True, FINAL, NONE, 4, peer.statsn),
                    "the NOP-Out")
        check(nop.itt != NONE, "a NOP-Out that nobody answers")
        # Nothing is answered before the target has.
        raw.ping()
        check_equal([msg for msg in raw.inbox if msg.cookie == cookie], [],
                    "answers to SHARE")
        peer.expcmdsn = 50
        peer.respond(nop, NOP_IN)
        msg = raw.answer_to(cookie)
        check_equal(msg.kind, ATTACHED, f"answer to SHARE ({msg})")
        raw.attached = msg
        other = Mux(odd.daemon, "shared")
        for mux in (raw, other):
            task = mux.submit(command(7, TEST_UNIT_READY))
            request = peer.receive(SCSI)
            check_equal(request.expstatsn, peer.statsn, "ExpStatSN")
            peer.respond(request)
            mux.finish(task).good()
        check_equal(peer.expcmdsn, 52, "CmdSNs from the one that was told")
        # From now on the daemon answers pings.
        peer.send(NOP_IN, NONE, word5=0x99, consume=False)
        check_equal(peer.receive(NOP_OUT).word5, 0x99, "answer to a ping")
        raw.close()
        other.close()


@test("a target that does not answer in time, and the client is raw again")
def no_answer():
    odd = OddRig(abort_timeout="200ms").connect().login()
    raw, peer = odd.raw, odd.peer
    cookie, nop = share_begin(odd)
    raw.error(cookie, "deadline")
    wait_name_free(odd.daemon, "shared")
    refused(raw, "shared", "busy")
    # The late answers are nobody's; then it may be shared.
    peer.respond(nop, NOP_IN)
    raw.unsolicited(NOP_IN, unmatched=True)
    task = raw.submit(command(9, TEST_UNIT_READY))
    peer.respond(peer.receive(SCSI))
    raw.finish(task).good()


@test("meanwhile nothing else is allowed, and pings are answered")
def meanwhile():
    odd = OddRig().connect().login()
    raw, peer = odd.raw, odd.peer
    cookie, nop = share_begin(odd)
    raw.error(raw.send(SHARE, string("another")), "busy")
    raw.refused(command(9, TEST_UNIT_READY), "busy", literal=True)
    peer.send(NOP_IN, NONE, word5=0x99, consume=False)
    check_equal(peer.receive(NOP_OUT).word5, 0x99, "answer to a ping")
    peer.respond(nop, NOP_IN)
    check_equal(raw.answer_to(cookie).kind, ATTACHED, "answer to SHARE")


@test("a target or a client that goes ends the SHARE")
def gone():
    odd = OddRig().connect().login()
    cookie, _ = share_begin(odd)
    odd.peer.socket.close()
    msg = odd.raw.answer_to(cookie)
    check_equal(msg.kind, ERROR, f"answer to SHARE ({msg})")
    odd.raw.over(errno.ECONNRESET)
    odd.connect(odd.raw).login()
    # The client does not have to wait.
    cookie, nop = share_begin(odd)
    wait_name_free(odd.daemon, "shared")
    odd.raw.close()
    odd.peer.closed()
    raw = odd.connect().login().raw
    _, nop = share_begin(odd)
    odd.peer.respond(nop, NOP_IN)
    check_equal(raw.expect(ATTACHED).state, "up", "state")
    raw.close()
    odd.peer.closed()
    odd.wait_clean()


@test("the deadline and the events of OPEN are those of the session's client")
def inherited():
    odd = OddRig().connect(deadline=150, events=0).login()
    raw, peer = odd.raw, odd.peer
    cookie, nop = share_begin(odd)
    peer.respond(nop, NOP_IN)
    raw.attached = raw.answer_to(cookie)
    task = raw.submit(command(9, TEST_UNIT_READY))
    peer.receive(SCSI)
    peer.respond(peer.receive(2), 0x22, response=0)
    raw.finish(task)
    check_equal((task.outcome.outcome, task.outcome.tmf), ("timed-out", 0),
                "outcome")
    peer.socket.close()
    odd.daemon.wait_down("shared")
    raw.ping()
    check_equal(list(raw.inbox), [], "events that nobody asked for")


# --- When it is refused

@test("not before the login, not a discovery session, not above level 0")
def not_logged_in():
    odd = OddRig().connect()
    refused(odd.raw, "shared", *NOT_LOGGED_IN)
    task = odd.raw.login_request(odd.target.iqn)
    odd.peer.receive()
    refused(odd.raw, "shared", *NOT_LOGGED_IN)
    odd.raw.close()
    check(not task.done, "the login has an end")
    odd.connect().login("ErrorRecoveryLevel=1")
    refused(odd.raw, "shared", *NOT_LOGGED_IN)
    odd.raw.close()
    here = RamRig()
    raw = Raw(here.daemon, here.portal)
    raw.logged_in(raw.run(login_pdu(login_text(None))))
    check_equal(raw.state().params.flags & 0x400, 0x400, "discovery")
    refused(raw, "shared", *NOT_LOGGED_IN)
    raw.close()


@test("not while a task is live or a byte unsent")
def busy():
    odd = OddRig().connect().login()
    raw, peer = odd.raw, odd.peer
    task = raw.submit(command(9, TEST_UNIT_READY))
    peer.receive(SCSI)
    refused(raw, "shared", "busy")
    # The target may still answer what nobody waits for.
    raw.expect(OK, raw.cancel(task))
    raw.finish(task)
    refused(raw, "shared", "busy")
    peer.send(SCSI_RSP, 9, word5=0)
    raw.unsolicited(SCSI_RSP, unmatched=True)
    raw.put(command(10, TEST_UNIT_READY))
    request = peer.receive(SCSI)
    refused(raw, "shared", "busy")
    peer.respond(request)
    raw.unsolicited(SCSI_RSP, unmatched=True)
    for _ in range(64):
        raw.put(bhs(DATA_OUT, length=262144) + bytes(262144))
    wait_until(lambda: raw.state().unsent, "unsent bytes")
    refused(raw, "shared", "busy")
    for _ in range(64):
        peer.receive(DATA_OUT)
    raw.settled()
    cookie, nop = share_begin(odd)
    peer.respond(nop, NOP_IN)
    check_equal(raw.answer_to(cookie).kind, ATTACHED, "answer to SHARE")


@test("not under the name of a session in use")
def names():
    here = RamRig()
    odd = OddRig(session("disk", here.portal, here.target.iqn),
                 session("spare", here.portal, here.target.iqn,
                         startup="manual"))
    odd.daemon.wait_up("disk")
    raw = Raw(odd.daemon, here.portal)
    raw.login(here.target.iqn)
    refused(raw, "disk", "busy")
    shared_by(raw, "mine")
    second = Raw(odd.daemon, here.portal, name="second")
    second.login(here.target.iqn, isid=b"\x80\0\0\0\0\x52")
    refused(second, "mine", "busy")
    second.works()
    shared_by(second, "spare")
    third = Raw(odd.daemon, here.portal, name="third")
    third.login(here.target.iqn, isid=b"\x80\0\0\0\0\x53")
    refused(third, "spare", "busy")
    for client in (raw, second):
        client.works()
    check_equal(listed(Mux(odd.daemon)),
                {"disk": 0, "mine": LISTED_SHARED, "spare": LISTED_SHARED},
                "LISTING")
    raw.close()
    wait_name_free(odd.daemon, "mine")
    shared_by(third, "mine")


# --- Who may attach

@test("without an admin's word only the owner's user may attach")
def access():
    here = RamRig(config=(raw_rule(users=["nobody", "root"]),),
                  data_socket_mode="0666")
    raw = here.raw()
    shared_by(raw)

    def stranger(path, report):
        mux = Mux(path)
        mux.error(mux.send(ATTACH, attach("shared")), "no-such-session")
        check_equal(listed(mux), {}, "LISTING")
        report("seen")
    as_nobody(here.daemon, stranger).said("seen")

    def owner(path, report):
        theirs = Raw(path, here.portal, name="owner")
        theirs.login(here.target.iqn, isid=b"\x80\0\0\0\0\x52")
        shared_by(theirs, "theirs")
        Mux(path, "theirs").works()
        report("shared")
        while not report.asks():
            theirs.works()
        report("done")
    child = as_nobody(here.daemon, owner)
    child.said("shared")
    child.ask("done")


@test("a configured session of that name brings the admin's rule")
def admins_rule():
    here = RamRig()
    odd = OddRig(raw_rule(),
                 session("spare", here.portal, here.target.iqn,
                         access={"users": ["nobody"], "allow": ["all"]},
                         startup="manual"),
                 data_socket_mode="0666")
    raw = Raw(odd.daemon, here.portal)
    raw.login(here.target.iqn)
    shared_by(raw, "spare")

    def other(path, report):
        Mux(path, "spare").works()
        report("works")
    as_nobody(odd.daemon, other).said("works")
    raw.works()


# --- The end, and recovery

@test("it ends with its last client, whoever that is")
def last_client():
    here = RamRig()
    raw = shared_by(here.raw())
    other = Mux(here.daemon, "shared")
    raw.close()
    other.works()
    check_equal(len(here.target_sessions()), 1, "sessions of the target")
    other.close()
    wait_until(lambda: not here.target_sessions(), "the session to end")
    here.wait_clean()
    mux = Mux(here.daemon)
    mux.error(mux.send(ATTACH, attach("shared")), "no-such-session")


@test("its connection lost, it is not logged in again")
def not_recovered():
    here = RamRig()
    raw = shared_by(here.raw())
    other = Mux(here.daemon, "shared")
    here.order("hold all")
    tasks = [(mux, mux.submit(command(9, TEST_UNIT_READY)))
             for mux in (raw, other)]
    here.target_tasks(2)
    here.order("drop")
    for mux, task in tasks:
        mux.event("session-down")
        mux.finish(task)
        check_equal(task.outcome.outcome, "unknown", "outcome")
    here.order("release")
    for mux in (raw, other):
        task = mux.run(command(10, TEST_UNIT_READY))
        check_equal((task.outcome.outcome, task.outcome.reason),
                    ("not-sent", "session-down"), "outcome")
    for word, status in (("reconnect", 1), ("session login", 0)):
        done = here.daemon.iscsimuxctl(*word.split(), "shared",
                                       check_status=None)
        check_equal(done.returncode, status, word)
        check(status == 0 or "the daemon can not log in" in done.stderr,
              done.stderr)
    check_equal(here.target_sessions(), [], "sessions of the target")
    raw.close()
    other.close()
    here.wait_clean()
    check_equal(here.target.counters()["logins"], 1, "logins")


@test("a configured session with the same target and portal is recovered")
def recovered():
    here = RamRig()
    odd = OddRig(session("spare", here.portal, here.target.iqn,
                         startup="manual", reconnect_interval="100ms"))
    raw = Raw(odd.daemon, here.portal)
    raw.login(here.target.iqn)
    shared_by(raw, "spare")
    other = Mux(odd.daemon, "spare")
    here.order("drop")
    for mux in (raw, other):
        mux.event("session-down")
        check_equal(mux.event("session-up").generation > 1, True,
                    "generation")
        mux.works()


@test("one with another target or portal is not")
def other_target():
    here, there = RamRig(), RamRig()
    for portal, iqn in ((there.portal, here.target.iqn),
                        (here.portal, here.target.iqn + "x")):
        odd = OddRig(session("spare", portal, iqn, startup="manual",
                             reconnect_interval="100ms"))
        raw = Raw(odd.daemon, here.portal)
        raw.login(here.target.iqn)
        shared_by(raw, "spare")
        here.order("drop")
        raw.event("session-down")
        task = raw.run(command(10, TEST_UNIT_READY))
        check_equal(task.outcome.reason, "session-down", "reason")
        raw.close()
        odd.wait_clean()
        odd.daemon.stop()
    check_equal(there.target.counters()["logins"], 0, "logins elsewhere")


# --- UNSHARE

@test("raw, shared, raw, shared: the numbers go on")
def there_and_back():
    here = RamRig()
    raw = here.raw(*DIGESTS)
    data = os.urandom(4096)
    for _ in range(3):
        raw.works()
        shared_by(raw)
        raw.write(0, data)
        Mux(here.daemon, "shared").close()
        wait_until(lambda: len(here.daemon.call(
            "client.list", session="shared")["clients"]) == 1,
            "the other to be gone")
        answer = raw.unshare()
        check_equal(answer.kind, STATE, f"answer to UNSHARE ({answer})")
        check_equal((answer.params.phase, answer.params.flags & 0x803,
                     answer.live, answer.unsent), (1, 0x803, 0, 0), "STATE")
        check("shared" not in listed(raw), "the name")
        check(raw.read(0, 8) == data, "what was read differs")
        raw.finish(raw.start_write(0, data)).good()
        check_equal(raw.state().params.target, here.target.iqn, "target")
    check_equal(here.target.counters()["logins"], 1, "logins")
    raw.shut()
    raw.close()
    here.wait_clean()


@test("the iSCSIProtocolLevel that the client negotiated is the session's")
def protocol_level():
    query = tmf(9, QUERY_TASK_SET)
    odd = OddRig().connect().login("iSCSIProtocolLevel=2")
    for _ in range(2):
        cookie, nop = share_begin(odd)
        odd.peer.respond(nop, NOP_IN)
        odd.raw.attached = odd.raw.answer_to(cookie)
        odd.raw.shared = True
        task = odd.raw.submit(query)
        odd.peer.respond(odd.peer.receive(TMF), TMF_RSP, response=7)
        odd.raw.finish(task)
        check_equal(task.pdu.response, 7, "response")
        check_equal(odd.raw.unshare().kind, STATE, "answer to UNSHARE")
    odd.raw.close()
    wait_name_free(odd.daemon, "shared")
    odd.connect().login()
    cookie, nop = share_begin(odd)
    odd.peer.respond(nop, NOP_IN)
    odd.raw.attached = odd.raw.answer_to(cookie)
    text = odd.raw.refused(query, "not-supported").text
    check("iSCSIProtocolLevel 2" in text and "protocol-level" not in text,
          text)


@test("UNSHARE: not with others, not with tasks, not of the daemon's own")
def unshare_refused():
    here = RamRig()
    odd = OddRig(session("disk", here.portal, here.target.iqn))
    odd.daemon.wait_up("disk")
    raw = Raw(odd.daemon)
    raw.attach("disk")
    raw.shared = True
    check_equal(raw.unshare().reason, "wrong-state", "a session of its own")
    raw.works()
    raw = Raw(odd.daemon, here.portal)
    raw.login(here.target.iqn)
    shared_by(raw)
    other = Mux(odd.daemon, "shared")
    check_equal(raw.unshare().reason, "busy", "two clients")
    other.works()
    here.order("hold all")
    mine = raw.submit(command(9, TEST_UNIT_READY))
    theirs = other.submit(command(9, TEST_UNIT_READY))
    here.target_tasks(2)
    other.close()
    wait_until(lambda: odd.daemon.call("session.show", session="shared")
               ["orphans"] >= 0, "the orphan")
    check_equal(raw.unshare().reason, "busy", "a task")
    here.order("release")
    raw.finish(mine).good()
    check(not theirs.done, "who read the end?")
    wait_until(lambda: odd.daemon.call("session.show", session="shared")
               ["tasks"] == 0, "the orphan to end")
    check_equal(raw.unshare().kind, STATE, "answer to UNSHARE")
    raw.works()


@test("an orphan alone is in the way of UNSHARE, too")
def unshare_orphan():
    odd = OddRig().connect().login()
    raw, peer = odd.raw, odd.peer
    cookie, nop = share_begin(odd)
    peer.respond(nop, NOP_IN)
    raw.attached = raw.answer_to(cookie)
    other = Mux(odd.daemon, "shared")
    other.submit(command(9, TEST_UNIT_READY))
    request = peer.receive(SCSI)
    other.close()
    abort = peer.receive(2)
    check_equal(raw.unshare().reason, "busy", "an orphan")
    peer.respond(abort, 0x22, response=0)
    wait_until(lambda: odd.daemon.call("session.show", session="shared")
               ["tasks"] == 0, "the orphan to end")
    answer = raw.unshare()
    check_equal(answer.kind, STATE, f"answer to UNSHARE ({answer})")
    # What the target still says of it is nobody's now.
    peer.respond(request)
    raw.unsolicited(SCSI_RSP, unmatched=True)
    task = raw.submit(command(9, TEST_UNIT_READY))
    request = peer.receive(SCSI)
    check_equal(request.expstatsn, peer.statsn, "ExpStatSN")
    peer.respond(request)
    raw.finish(task).good()


# --- Reinstatement

@test("a login that would reinstate a session of the daemon is refused")
def reinstate():
    here = RamRig()
    name = "iqn.2026-01.org.example:reinstated"
    odd = OddRig(session("disk", here.portal, here.target.iqn,
                         isid="800000000099"), initiator_name=name)
    odd.daemon.wait_up("disk")
    mux = Mux(odd.daemon, "disk")
    isid = bytes.fromhex("800000000099")
    raw = Raw(odd.daemon, here.portal)
    text = login_text(here.target.iqn, name=name)
    raw.refused(login_pdu(text, isid=isid), "would-reinstate")
    raw.error(raw.put(login_pdu(text, isid=isid)), "would-reinstate")
    # The names in two PDUs: the one that completes them is refused.
    for cut in (1, 5, 20, len(name) + 14,
                text.index(b"\0SessionType")):
        raw.shut()
        check_equal(raw.open(here.portal).kind, OK, "answer to OPEN")
        first = raw.submit(login_pdu(text[:cut], flags=0x44, isid=isid),
                           expect="one")
        raw.finish(first)
        check_equal(first.pdu.opcode, 0x23, f"answer to the first {cut}")
        raw.error(raw.put(login_pdu(text[cut:], isid=isid)),
                  "would-reinstate")
    raw.shut()
    mux.works()
    check_equal(odd.daemon.call("stats.get", session="disk")["sessions"]
                ["disk"]["downs"], 0, "times the session was lost")
    # Each of the three alone is no reinstatement.
    for fields in ({"isid": ISID, "name": name}, {"isid": isid}):
        check_equal(raw.open(here.portal).kind, OK, "answer to OPEN")
        raw.login(here.target.iqn, **fields)
        raw.works()
        raw.shut()
    check_equal(raw.open(here.portal).kind, OK, "answer to OPEN")
    task = raw.run(login_pdu(login_text(here.target.iqn + "x", name=name),
                             isid=isid))
    check_equal(task.pdu.bhs[36] != 0, True, "status of a strange target")
    mux.works()


main()
