/* SPDX-License-Identifier: ISC */
/*
 * What the files of the session share among themselves:
 *
 *	session.c		the public face
 *	session_fsm.c		its life as a table
 *	session_life.c		what that table says is to be done
 *	session_login.c		the login
 *	session_manage.c	what an admin changes about it
 *	session_redirect.c	where the target sends the login to
 *	session_share.c		sessions made of a raw connection
 *	attachment.c		a client's share of it: attach, detach, submit
 *	guard.c			what a client may submit, before it is queued
 *	session_hold.c		what waits while the session is down
 *	task.c			one task from SUBMIT to its outcome; deadlines
 *	r2t.c			what a target asked for and got of a task's data
 *	abort.c			ABORT TASK, orphans, quarantine, what TMFs do
 *	gap.c			CmdSNs that a Reject may have left unused
 *	keepalive.c		pings after a silence
 *	async.c			what a target asks for by itself
 *	negotiate.c		a Text Request that it asks for
 *	session_tx.c		what goes out next, stamped as it goes
 *	session_withdraw.c	what is taken back before it went
 *	session_rx.c		what a target's PDU means and who gets it
 *	session_intake.c	what it may send for a task, and in which order
 *
 * Nothing outside of these files includes this header.
 */
#ifndef DAEMON_SESSION_INTERNAL_H
#define DAEMON_SESSION_INTERNAL_H

#include <sys/queue.h>
#include <bsd/sys/tree.h>

#include <stdbool.h>
#include <stdint.h>

#include "daemon/backoff.h"
#include "daemon/conf.h"
#include "daemon/guard.h"
#include "daemon/hdrring.h"
#include "daemon/ittmap.h"
#include "daemon/keepalive.h"
#include "daemon/log.h"
#include "daemon/login.h"
#include "daemon/loginwatch.h"
#include "daemon/loop.h"
#include "daemon/pump.h"
#include "daemon/router.h"
#include "daemon/session.h"
#include "daemon/session_fsm.h"
#include "daemon/sn.h"
#include "daemon/worker.h"
#include "proto/frame.h"

/* Bytes charged inbound for sense data, headers and the like. */
#define TASK_CHARGE_BASE	8192
#define TASK_CHARGE_TEXT	65536
/* Largest data segment of a SCSI Response: sense and response data. */
#define TASK_SENSE_MAX		4096
/* Statuses are acknowledged after this long when nothing else is sent. */
#define SESSION_ACK_DELAY_MS	2000
/* So often a relogin costs no pause. */
#define SESSION_RELOGIN_EVERY_MS 10000
/* Answers to pings of the target that may wait to be written. */
#define SESSION_PONGS_MAX	64

/* Who a task belongs to. */
enum task_kind {
	TASK_CLIENT,	/* a client's, or an orphan that was one */
	TASK_ABORT,	/* the daemon's ABORT TASK */
	TASK_PLUG,	/* NOP-Out in the place of a withdrawn request */
	TASK_PROBE,	/* NOP-Out that asks for ExpCmdSN after a Reject */
	TASK_PING,	/* NOP-Out of keepalive.c */
	TASK_NEGOTIATE,	/* Text Request of negotiate.c */
	TASK_LOGOUT
};

enum task_state {
	TASK_QUEUED,	/* waits in a queue of the session */
	TASK_STAMPED,	/* handed to the pump; the kernel took no byte */
	TASK_SENT	/* a byte of the request is on the wire */
};

/* Why a task is to end before its target answers. */
enum task_end {
	TASK_END_NONE,
	TASK_END_CANCELLED,
	TASK_END_DEADLINE,
	TASK_END_R2T,		/* no progress for r2t-timeout */
	TASK_END_TMF,		/* unsent, by a function of its own client */
	TASK_END_ORPHAN		/* its client is gone */
};

/*
 * Data that the target asked for and that was not all written yet.  The
 * unsolicited burst of a command is one of these as well, with the reserved
 * Target Transfer Tag.
 */
struct r2t {
	STAILQ_ENTRY(r2t)	 link;
	uint32_t		 ttt;
	uint32_t		 offset;	/* Buffer Offset of its first byte */
	uint32_t		 len;
	uint32_t		 queued;	/* bytes accepted from the client */
	uint32_t		 queued_sn;	/* DataSN expected next of it */
	uint32_t		 sent;		/* bytes handed to the pump */
	uint32_t		 sent_sn;
};

TAILQ_HEAD(task_queue, task);

struct task {
	struct router_slot	 slot;		/* slot.itt is the wire's tag */

	struct session		*session;
	struct attachment	*owner;		/* NULL: the daemon, or orphan */
	struct quota		*quota;		/* referenced while charged */
	struct quota_amount	 charge;
	uint64_t		 cookie;
	uint64_t		 lun;
	uint32_t		 client_itt;
	uint32_t		 edtl;
	uint32_t		 rx_max;	/* bytes the target may send */
	uint32_t		 tx_max;	/* bytes it may ask for by R2T */
	uint32_t		 cmdsn;		/* valid once stamped */
	uint32_t		 ref_itt;	/* TMF: wire tag it refers to */
	uint32_t		 ref_cmdsn;	/* TMF: CmdSN of that task */
	bool			 ref_immediate;
	uint32_t		 client_sns[2];	/* CmdSN, ExpStatSN as submitted */
	uint8_t			 opcode;	/* enum iscsi_opcode */
	uint8_t			 function;	/* TMF, or what ended it */
	uint8_t			 kind;		/* enum task_kind */
	uint8_t			 state;		/* enum task_state */
	uint8_t			 end;		/* enum task_end */
	bool			 immediate;
	bool			 answered;	/* final PDU came, slot is held */
	bool			 cut;		/* an ABORT TASK about it was sent */
	bool			 synthetic;	/* TMF: the daemon answers */
	uint8_t			 synthetic_response;
	bool			 text_more;	/* Text: target wants a request */
	uint32_t		 text_ttt;

	/* While TASK_QUEUED: the request, the queue it waits in, and its
	 * unsolicited data. */
	struct txpdu		*pdu;
	struct task_queue	*queue;
	TAILQ_ENTRY(task)	 queue_link;
	struct txpdu_list	 unsolicited;
	uint64_t		 burst_charge;	/* reserved for those */
	uint32_t		 data_queued;	/* Data-Outs in dataq or bursts */

	STAILQ_HEAD(, r2t)	 r2ts;
	uint32_t		 nr2ts;
	uint32_t		 rx_pdus;
	uint64_t		 rx_bytes;
	uint32_t		 rx_datasn;	/* of the next Data-In */
	uint32_t		 rx_offset;	/* of its first byte */
	uint32_t		 rx_r2tsn;	/* of the next R2T */
	uint32_t		 r2t_offset;	/* where the last one ended */

	TAILQ_ENTRY(task)	 owner_link;	/* in the owner's tasks */
	struct task		*abort;		/* the ABORT TASK about this */
	struct task		*victim;	/* TASK_ABORT: what it is about */

	RB_ENTRY(task)		 timer_link;
	uint64_t		 timer_at;	/* 0: not in the tree */
	uint64_t		 deadline_at;	/* 0: none */
	uint64_t		 stall_at;	/* r2t-timeout; 0: none */
};

RB_HEAD(task_timers, task);

struct attachment {
	TAILQ_ENTRY(attachment)	 link;
	struct session		*session;
	const struct attachment_ops *ops;
	void			*arg;
	struct quota		*quota;
	const char		*name;
	pid_t			 pid;
	uint32_t		 access;
	uint32_t		 deadline;
	uint32_t		 events;
	bool			 exclusive;
	bool			 hold;		/* see session_hold.c */
	bool			 paused;

	struct ittmap		 itts;
	struct task_queue	 tasks;		/* open, oldest first */
	uint32_t		 ntasks;

	/* Deficit round robin, once for Data-Out and once for requests. */
	struct txpdu_list	 dataq;
	struct task_queue	 cmdq;
	TAILQ_ENTRY(attachment)	 data_link;
	TAILQ_ENTRY(attachment)	 cmd_link;
	bool			 data_active;
	bool			 cmd_active;
	int64_t			 data_deficit;
	int64_t			 cmd_deficit;
};

TAILQ_HEAD(attachment_list, attachment);

/* What is known of the algorithms that a target gets right by CHAP. */
enum session_md5 {
	SESSION_MD5_NOT_ALONE,
	SESSION_MD5_TRIED,	/* by the next login: MD5 alone */
	SESSION_MD5_KEPT,	/* the target needed that, so far */
	SESSION_MD5_NO_HELP,	/* it was not, in this round of the portals */
	/* After such a round no login is followed by a second one: */
	SESSION_MD5_TURN_OF_ALL,
	SESSION_MD5_TURN_OF_MD5	/* alone */
};

/*
 * CmdSNs of rejected commands.  Whether the target counted them as received
 * is asked with an immediate NOP-Out; those it did not are filled with a
 * non-immediate one (RFC 7143 section 7.3).
 */
#define GAP_MAX 64

struct gap {
	uint32_t	cmdsn[GAP_MAX];
	uint32_t	count;
	const struct task *asked;	/* the NOP-Out that is outstanding */
};

struct redirect_hop {
	uint16_t	port;
	bool		permanent;
	char		host[LOGIN_ADDRESS_MAX + 1];
	char		address[LOGIN_ADDRESS_MAX + 1];	/* as sent */
};

struct session_redirect {
	size_t			 portal;	/* where the chain begins */
	unsigned		 hops;
	unsigned		 proved;	/* of them, by a login */
	struct redirect_hop	 hop[SESSION_HOPS_MAX];
};

struct session {
	TAILQ_ENTRY(session)	 link;
	struct worker		*worker;
	struct config_session	*config;	/* referenced */
	struct log		*log;
	enum session_phase	 phase;
	bool			 stopping;
	bool			 freed;

	/* See session_share.c. */
	bool			 shared;
	bool			 adopted;
	bool			 recovers;	/* logs in again by itself */
	uint32_t		 raw_flags;	/* settings to go back with */
	char			 initiator[ISCSI_NAME_MAX + 1];	/* if not ours */
	char			 target[MSG_TARGET_MAX + 1];	/* shared: really */

	struct pump		*pump;
	struct login		*login;
	uint64_t		 login_until;	/* loop time */
	bool			 login_last;	/* the timer is about that */
	enum session_md5	 md5;
	bool			 retry_at_once;
	struct sn		 sn;
	struct router		*router;
	struct msg_params	 params;	/* of the latest login */
	uint32_t		 protocol_level;	/* and that, too */
	uint16_t		 tsih;
	uint8_t			 isid[6];

	struct loop_timer	*timer;		/* connect, login, retry, logout */
	struct loop_timer	*task_timer;
	struct loop_timer	*ack_timer;
	struct loop_timer	*hold_timer;
	struct loop_job		 fail_job;
	struct loop_job		 stop_job;
	struct loop_job		 reap_job;
	struct loop_job		 ended_job;
	void			(*on_stopped)(void *);
	void			*on_stopped_arg;

	char			 last_error[256];
	uint64_t		 next_try;	/* loop time; 0: none */
	uint64_t		 not_before;	/* loop time; 0: any */
	struct backoff		 backoff;
	struct session_redirect	 redirect;
	size_t			 portal;	/* of the list, in use */
	size_t			 tried;		/* portals, in this round */
	uint32_t		 time2wait;	/* negotiated, s */
	bool			 refused;	/* with status class 2 */
	uint32_t		 drain_ms;	/* of a relogin */
	bool			 planned;	/* the next loss is a relogin's */
	uint64_t		 relogin_at;	/* the last without a pause; or 0 */
	uint64_t		 up_since;
	uint64_t		 hold_until;	/* loop time; 0: not down */
	struct session_stats	 stats;
	struct pump_stats	 pump_past;	/* of earlier connections */

	struct attachment_list	 attachments;
	uint32_t		 nattachments;
	uint32_t		 norphans;

	/* What waits to go out; see session_tx.c for the order. */
	struct txpdu_list	 answers;	/* pings, dead clients' R2Ts */
	uint32_t		 nanswers;
	uint32_t		 npongs;	/* of them, to pings */
	struct task_queue	 tmfq;		/* clients' */
	struct task_queue	 abortq;	/* the daemon's */
	struct task_queue	 nopq;		/* immediate, not TMF */
	struct task_queue	 textq;
	struct txpdu_list	 bursts;	/* of commands handed over */
	struct attachment_list	 data_active;
	struct attachment_list	 cmd_active;
	struct txpdu		*login_pdu;
	struct task		*tmf;		/* outstanding immediate TMF */
	struct task		*nop;		/* outstanding immediate other */
	struct task		*text;		/* owner of the Text exchange */
	uint32_t		 negotiate_rest; /* ms for a relogin instead */

	struct gap		 gap;
	struct keepalive	 keepalive;
	struct hdrring		*headers;
	struct task_timers	 timers;
	uint32_t		 npaused;	/* attachments */
	struct task_queue	 ended;		/* outcome due this turn's end */
};

/* session.c */
void session_event(struct session *s, const struct msg_event *e,
    const struct attachment *except);
void session_make_isid(struct session *s);
/* No client stays attached; each is told why. */
void session_remove_clients(struct session *s, const char *why);
/* The target broke the protocol: log the headers that led to it. */
void session_log_headers(struct session *s);

/* session_life.c */
const struct config_portal *session_portal(struct session *s);
void session_step(struct session *s, enum session_happening ev);
void session_fail(struct session *s, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/*
 * Log out and in again: no new requests, those at the target may end within
 * `within_ms`, then Logout with reason 0.  Nothing unless the session is up.
 */
void session_relogin(struct session *s, uint32_t within_ms, const char *why);

/*
 * No attempt to connect earlier than `ms` from now, unless an admin says so
 * (Time2Wait, RFC 7143 section 7.5).  Holds until the next login.
 */
void session_wait_before_connect(struct session *s, uint32_t ms);

/* A response came: perhaps it was the last that a relogin waits for. */
void session_drain(struct session *s);

bool session_talks(const struct session *s);
void session_timer_due(void *arg);
void session_ack_due(void *arg);
void session_settle(void *arg);
void session_stopped(void *arg);
extern const struct pump_ops session_pump_ops;

/* session_login.c */
void session_begin_login(struct session *s);
void session_enter(struct session *s);
void session_login_pdu(struct session *s, struct rxpdu *pdu);
void session_login_due(struct session *s);
void session_login_lost(struct session *s);
/* All portals have been tried; a pause follows. */
void session_login_round(struct session *s);
/* Somebody has seen to it: what did not help may help now. */
void session_login_anew(struct session *s);

/* session_redirect.c: the login ends so, and goes on there; or it fails. */
void session_redirected(struct session *s, const struct login_redirect *r);
/* Where to connect instead of the portal, or NULL. */
const struct redirect_hop *session_redirect_hop(const struct session *s);
/* A login has gone well there. */
void session_redirect_proved(struct session *s);
/* The way there, into the part of `out` that tells of it. */
void session_redirect_info(const struct session *s, struct session_info *out);
/* It failed there: only what is permanent stays, if it ever went well. */
void session_redirect_undo(struct session *s);

/* attachment.c */
void session_who(void *arg, uint32_t itt, struct trace_client *out);

/* task.c */
struct task *task_new(struct session *s, enum task_kind kind,
    struct txpdu *pdu);
void task_free(struct task *t);
bool task_is_orphan(const struct task *t);
void task_enqueue(struct task *t, struct task_queue *q);
void task_unqueue(struct task *t);
void task_disown(struct task *t);
void task_orphan(struct task *t);
void task_give_turn(struct task *t);
void task_end_later(struct task *t);
void task_end_due(void *arg);
void task_outcome(struct task *t, enum msg_outcome_code outcome,
    uint16_t reason, uint8_t tmf_response, const char *text);
struct quota_amount task_take_charge(struct task *t);
void task_set_deadline(struct task *t, uint32_t ms);
void task_watch_progress(struct task *t);
void task_watch_answer(struct task *t);
void task_timers_due(void *arg);
int task_timer_cmp(const struct task *a, const struct task *b);
RB_PROTOTYPE(task_timers, task, timer_link, task_timer_cmp)

/* r2t.c */
struct r2t *r2t_add(struct task *t, uint32_t ttt, uint32_t offset,
    uint32_t len);
struct r2t *r2t_wanted(struct task *t);
void r2t_queued(struct task *t, struct r2t *r, uint32_t len);
void r2t_sent(struct task *t, uint32_t len);
void r2t_drop_all(struct task *t);
int r2t_answer_all(struct task *t);

/* abort.c */
void abort_task(struct task *t, enum task_end why);
void abort_cut_data(struct task *t);
/* Is the Data-Out of this task held until a function is answered? */
bool abort_mutes(const struct task *t);
void abort_tmf_sent(struct task *tmf);
void abort_orphan(struct task *t);
void abort_watch_queue(struct session *s);
void abort_overdue(struct task *t);
void abort_response(struct task *abort, uint8_t response);
/* Is the function about one task, which its Referenced Task Tag names? */
bool abort_names_task(uint8_t function);
bool abort_request(struct task *tmf);
void abort_tmf_response(struct task *tmf, uint8_t response);
bool abort_holds(const struct task *tmf, const struct task *t);
bool abort_holds_all(const struct task *tmf);
void abort_retire(struct task *t);

/* async.c */
void async_message(struct session *s, const struct rxpdu *pdu);
void async_waits_for_logout(struct session *s);

/*
 * negotiate.c: let the target say what it wants to negotiate, or log out and
 * in again, within so much time; `why` is for the log.
 */
void negotiate_begin(struct session *s, uint32_t within_ms, const char *why);
void negotiate_response(struct task *t, const struct rxpdu *pdu);
void negotiate_rejected(struct task *t);
void negotiate_overdue(struct task *t);

/* gap.c */
int gap_rejected(struct session *s, uint32_t cmdsn);
void gap_answered(struct session *s);
bool gap_open(const struct session *s);

/* guard.c */
bool guard_request(const struct session *s, uint32_t access,
    const struct txpdu *pdu, struct refusal *why);
bool guard_data_out(const struct session *s, struct task *t,
    const struct txpdu *pdu, struct refusal *why);
bool guard_text_more(const struct session *s, const struct task *t,
    const struct txpdu *pdu, struct refusal *why);
bool guard_held(const struct session *s, const struct task *t,
    struct refusal *why);
uint32_t guard_burst(const struct session *s, const uint8_t *bhs);

/*
 * session_hold.c: the time runs from the loss of the connection, or from the
 * start of the session, until it is up, stopped or given up.
 */
void session_hold_begin(struct session *s);
void session_hold_stop(struct session *s);
void session_hold_due(void *arg);
/* A new request may wait, though the session is not up. */
bool session_hold_accepts(const struct attachment *a, const uint8_t *bhs);
/* This task does not end with the connection. */
bool session_hold_keeps(const struct task *t);
/* Before the connection is closed. */
void session_hold_take_back(struct session *s);
/* The session is up. */
void session_hold_resume(struct session *s);

/* session_tx.c */
struct txpdu *session_tx_next(void *arg);
void session_tx_restamp(void *arg, struct txpdu *pdu);
void session_tx_on_wire(void *arg, struct txpdu *pdu);
void session_tx_on_sent(void *arg, struct txpdu *pdu);
void session_tx_kick(struct session *s);
void session_tx_request(struct task *t);
void session_tx_ready(struct attachment *a);
void session_tx_release(struct session *s);
void session_tx_data(struct task *t, struct txpdu *pdu);
int session_tx_answer(struct session *s, const uint8_t *bhs);
void session_tx_drop_data(struct task *t);
void session_tx_detach(struct attachment *a);
struct task *session_tx_daemon(struct session *s, enum task_kind kind,
    const uint8_t *bhs, struct task_queue *q);
void session_tx_clear(struct session *s);

/* session_withdraw.c */
void session_withdraw(struct task *t);

/*
 * session_intake.c: may the target send this PDU, or one more of any kind, or
 * as many bytes?  They count what was sent; false if the session is failed.
 */
bool session_intake_pdu(struct task *t, const struct rxpdu *pdu);
bool session_intake_one(struct task *t);
bool session_intake_charged(struct task *t, const struct rxpdu *pdu);

/* session_rx.c */
void session_rx_pdu(void *arg, struct rxpdu *pdu);

#endif
