/* SPDX-License-Identifier: ISC */
/*
 * The life of a session: connect, log in, up, down, try again, log out.  What
 * follows what is the table's word (session_fsm.c); here is what each action
 * does and what reports the events.
 */
#include "config.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/conn.h"
#include "daemon/session_internal.h"
#include "proto/iscsi.h"

/* Requests may be outstanding: the full feature phase, Logout included. */
bool
session_talks(const struct session *s)
{
	return s->phase == SESSION_UP || s->phase == SESSION_DRAINING ||
	    s->phase == SESSION_LEAVING || s->phase == SESSION_LOGGING_OUT;
}

/* --- going down --- */

static void
close_pump(struct session *s)
{
	struct pump_stats now;

	if (s->pump == NULL)
		return;
	pump_stats_get(s->pump, &now);
	s->pump_past.pdus_in += now.pdus_in;
	s->pump_past.pdus_out += now.pdus_out;
	s->pump_past.bytes_in += now.bytes_in;
	s->pump_past.bytes_out += now.bytes_out;
	s->pump_past.recv_calls += now.recv_calls;
	s->pump_past.send_calls += now.send_calls;
	pump_close(s->pump);
	s->pump = NULL;
}

static void
drop_connection(struct session *s)
{
	close_pump(s);
	login_free(s->login);
	s->login = NULL;
	loop_timer_clear(s->timer);
	loop_timer_clear(s->ack_timer);
	keepalive_stop(s);
}

/* What the target may have seen is unknown, what it can not have seen may be
 * sent again. */
static void
tell_end(struct task *t, uint16_t reason, const char *text)
{
	if (t->owner != NULL)
		task_outcome(t, t->state == TASK_SENT ? MSG_OUTCOME_UNKNOWN :
		    MSG_OUTCOME_NOT_SENT, reason, MSG_TMF_NO_RESPONSE, text);
}

/* Every task ends but, with `hold`, those that wait for the next login. */
static void
end_tasks(struct session *s, const char *text, bool hold)
{
	struct router_slot *slot;

	for (slot = router_next(s->router, NULL); slot != NULL;
	    slot = router_next(s->router, slot)) {
		struct task *t = (struct task *)(void *)slot;

		if (hold && session_hold_keeps(t))
			continue;
		tell_end(t, MSG_R_CONNECTION_LOST, text);
		task_free(t);
	}
	session_tx_clear(s);
	s->gap = (struct gap){ 0 };
	router_reset(s->router);
}

static void
announce_down(struct session *s)
{
	struct msg_event e = { .kind = MSG_EVENT_SESSION_DOWN, .count = 1 };

	strlcpy(e.text, s->last_error, sizeof(e.text));
	session_event(s, &e, NULL);
}

static bool
may_try_again(const struct session *s)
{
	return (!s->shared || s->recovers) &&
	    !backoff_spent(&s->backoff, s->config->reconnect_limit);
}

/* Job: the rest of a failure, when no caller is in the way any more. */
void
session_settle(void *arg)
{
	struct session *s = arg;
	bool was_up = s->up_since != 0, again;

	drop_connection(s);
	s->up_since = 0;
	if (was_up) {
		/* Unless the target has said what to wait, section 7.5. */
		if (!s->planned && s->not_before == 0)
			session_wait_before_connect(s, s->time2wait * 1000);
		s->stats.downs++;
		announce_down(s);
	}
	again = may_try_again(s);
	session_hold_begin(s);
	end_tasks(s, s->last_error, again);
	session_step(s, again ? SESSION_EV_SETTLED : SESSION_EV_SPENT);
}

/* The portal in turn; the list may have become shorter since. */
const struct config_portal *
session_portal(struct session *s)
{
	if (config_session_portal(s->config, s->portal) == NULL)
		s->portal = 0;
	return config_session_portal(s->config, s->portal);
}

/*
 * The attempt at this portal failed: the next in order is in turn.  Only a
 * round of all of them is followed by a pause.
 */
static void
pass_portal(struct session *s)
{
	s->portal++;
	s->tried++;
	(void)session_portal(s);
}

/*
 * A relogin waits for nothing, but a target that asks every session to log out
 * is as good as one that fails: then there is a pause, too.
 */
static bool
goes_at_once(struct session *s, uint64_t now)
{
	bool again = s->relogin_at != 0 &&
	    now - s->relogin_at < SESSION_RELOGIN_EVERY_MS;

	if (s->tried > 0 || s->retry_at_once)
		return true;
	if (!s->planned || again)
		return false;
	s->relogin_at = now;
	return true;
}

/*
 * A request that was refused as the initiator's fault would be refused again
 * (RFC 7143 section 11.13.5): somebody has to change something first.
 */
static void
set_retry(struct session *s)
{
	const struct config_session *c = s->config;
	uint64_t now = loop_now(s->worker->loop), at = now;

	if (s->tried > c->more_count) {
		s->tried = 0;
		session_login_round(s);
	}
	if (goes_at_once(s, now))
		at = now;
	else if (s->refused)
		at += c->reconnect_max;
	else
		at += backoff_next(&s->backoff, c->reconnect_interval,
		    c->reconnect_max, arc4random());
	if (at < s->not_before)
		at = s->not_before;
	s->planned = s->retry_at_once = false;
	s->next_try = at;
	loop_timer_set(s->timer, at - now);
}

static void
halt(struct session *s)
{
	if (!s->shared || s->recovers)
		log_warn(s->log, "session %s: given up after %" PRIu32
		    " attempts: try again with 'iscsimuxctl reconnect %s'",
		    s->config->name, s->backoff.attempts, s->config->name);
	s->planned = false;
	session_hold_stop(s);
}

/* Why the session is lost, and why one that is to log out will be. */
static void __attribute__((format(printf, 2, 0)))
set_error(struct session *s, const char *fmt, va_list ap)
{
	vsnprintf(s->last_error, sizeof(s->last_error), fmt, ap);
	log_warn(s->log, "session %s: %s: %s", s->config->name,
	    s->phase == SESSION_UP ? "lost" : session_phase_name(s->phase),
	    s->last_error);
}

/*
 * The connection is lost or has to go.  Nothing more is read or written; the
 * tasks end at the end of this turn.
 */
void
session_fail(struct session *s, const char *fmt, ...)
{
	va_list ap;

	if (session_fsm_step(s->phase, SESSION_EV_FAILED).action ==
	    SESSION_DO_NOTHING)
		return;
	va_start(ap, fmt);
	set_error(s, fmt, ap);
	va_end(ap);
	s->planned = false;
	session_step(s, SESSION_EV_FAILED);
}

static void
fail(struct session *s, enum session_phase from)
{
	bool attempt = from == SESSION_CONNECTING ||
	    from == SESSION_LOGGING_IN;

	session_login_lost(s);
	if (attempt)
		s->stats.login_failures++;
	/* In another way or elsewhere: the attempt goes on. */
	if (s->retry_at_once)
		s->refused = false;
	else
		session_redirect_undo(s);
	if (attempt && !s->retry_at_once) {
		backoff_failed(&s->backoff);
		pass_portal(s);
	}
	session_hold_take_back(s);
	close_pump(s);
	loop_post(s->worker->loop, &s->fail_job);
}

/* --- connecting --- */

static void
connect_now(struct session *s)
{
	const struct config_portal *portal = session_portal(s);
	const struct redirect_hop *hop = session_redirect_hop(s);

	session_hold_begin(s);
	s->next_try = 0;
	s->adopted = false;
	if (s->tried == 0)
		s->refused = false;
	*s->initiator = *s->target = '\0';
	session_make_isid(s);
	loop_timer_clear(s->timer);
	s->pump = pump_dial(s->worker, hop != NULL ? hop->host : portal->host,
	    hop != NULL ? hop->port : portal->port, s->config->connect_timeout,
	    &session_pump_ops, s);
	if (s->pump != NULL)
		conn_set_label(pump_conn(s->pump), s->config->name);
	else
		session_fail(s, "cannot connect: %s", strerror(errno));
}

void
session_start(struct session *s)
{
	if (s->stopping)
		return;
	if (s->phase == SESSION_IDLE)
		s->last_error[0] = '\0';
	/* One that was given up has clients, and a back-off to forget. */
	if (s->phase == SESSION_HALTED)
		(void)session_reconnect(s);
	else
		session_step(s, SESSION_EV_START);
}

bool
session_reconnect(struct session *s)
{
	if ((s->phase != SESSION_WAITING && s->phase != SESSION_HALTED) ||
	    (s->shared && !s->recovers))
		return false;
	s->backoff = (struct backoff){ 0 };
	s->not_before = 0;
	s->tried = 0;
	session_login_anew(s);
	session_step(s, SESSION_EV_RECONNECT);
	return true;
}

void
session_wait_before_connect(struct session *s, uint32_t ms)
{
	uint64_t at = loop_now(s->worker->loop) + ms;

	if (at > s->not_before)
		s->not_before = at;
}

/* --- logout --- */

static void
send_logout(struct session *s)
{
	uint8_t bhs[ISCSI_BHS_LEN] = {
		[ISCSI_OFF_OPCODE] = ISCSI_OP_LOGOUT_REQ | ISCSI_IMMEDIATE,
		[ISCSI_OFF_FLAGS] = ISCSI_FLAG_FINAL,
	};

	/*
	 * Immediate, because the window may be closed; it takes the place of
	 * any other immediate that is outstanding, for nothing follows it.
	 */
	s->nop = NULL;
	loop_timer_set(s->timer, s->config->logout_timeout);
	session_tx_daemon(s, TASK_LOGOUT, bhs, &s->nopq);
}

/*
 * Clients hear of the end of their tasks now, for they may be gone before the
 * connection is; the tags of what was sent stay in use until then.
 */
static void
end_tasks_early(struct session *s)
{
	struct router_slot *slot;

	for (slot = router_next(s->router, NULL); slot != NULL;
	    slot = router_next(s->router, slot)) {
		struct task *t = (struct task *)(void *)slot;
		bool sent = t->state == TASK_SENT;

		tell_end(t, MSG_R_SHUTDOWN, "the session is stopped");
		/* A plug is what one of those left in its place. */
		if (!sent && t->kind != TASK_LOGOUT && t->kind != TASK_PLUG)
			task_free(t);
	}
}

/* Clients hear first that the session is down, then what became of tasks. */
static void
end_for_good(struct session *s)
{
	strlcpy(s->last_error, "it is logged out", sizeof(s->last_error));
	if (s->up_since != 0) {
		s->up_since = 0;
		announce_down(s);
	}
	end_tasks_early(s);
}

void
session_stop(struct session *s, void (*on_stopped)(void *arg), void *arg)
{
	s->stopping = true;
	s->on_stopped = on_stopped;
	s->on_stopped_arg = arg;
	session_step(s, SESSION_EV_STOP);
}

static void
finish_stop(struct session *s, enum session_phase from)
{
	if (from == SESSION_LOGGING_OUT)
		log_info(s->log, "session %s: logged out", s->config->name);
	drop_connection(s);
	end_tasks(s, "the session was stopped", false);
	session_hold_stop(s);
	s->up_since = 0;
	s->next_try = s->not_before = s->relogin_at = 0;
	s->backoff = (struct backoff){ 0 };
	s->portal = s->tried = 0;
	if (s->on_stopped != NULL)
		loop_post(s->worker->loop, &s->stop_job);
}

/* Job: tell whoever asked for the stop. */
void
session_stopped(void *arg)
{
	struct session *s = arg;
	void (*on_stopped)(void *) = s->on_stopped;

	s->on_stopped = NULL;
	if (on_stopped != NULL)
		on_stopped(s->on_stopped_arg);
}

/* --- out and in again --- */

void
session_relogin(struct session *s, uint32_t within_ms, const char *why)
{
	if (s->phase != SESSION_UP)
		return;
	log_info(s->log, "session %s: logs out and in again: %s",
	    s->config->name, why);
	strlcpy(s->last_error, why, sizeof(s->last_error));
	s->drain_ms = within_ms;
	session_step(s, SESSION_EV_RELOGIN);
}

/* True while the target has a request that it may still answer. */
static bool
target_is_busy(const struct session *s)
{
	struct router_slot *slot;

	for (slot = router_next(s->router, NULL); slot != NULL;
	    slot = router_next(s->router, slot)) {
		const struct task *t = (const struct task *)(void *)slot;

		if (t->state != TASK_QUEUED && !t->answered)
			return true;
	}
	return false;
}

void
session_drain(struct session *s)
{
	if (s->phase == SESSION_DRAINING && !target_is_busy(s))
		session_step(s, SESSION_EV_DRAINED);
}

static void
drain(struct session *s)
{
	s->planned = true;
	loop_timer_set(s->timer, s->drain_ms);
	session_drain(s);
}

/* --- the driver --- */

static void
act(struct session *s, enum session_action action, enum session_phase from)
{
	switch (action) {
	case SESSION_DO_NOTHING:
		break;
	case SESSION_DO_CONNECT:
		connect_now(s);
		break;
	case SESSION_DO_LOGIN:
		session_begin_login(s);
		break;
	case SESSION_DO_ENTER:
		session_enter(s);
		break;
	case SESSION_DO_FAIL:
		fail(s, from);
		break;
	case SESSION_DO_WAIT:
		set_retry(s);
		break;
	case SESSION_DO_HALT:
		halt(s);
		break;
	case SESSION_DO_DRAIN:
		drain(s);
		break;
	case SESSION_DO_LOGOUT:
		end_for_good(s);
		/* FALLTHROUGH */
	case SESSION_DO_LEAVE:
		send_logout(s);
		break;
	case SESSION_DO_END_TASKS:
		end_for_good(s);
		break;
	case SESSION_DO_STOPPED:
		finish_stop(s, from);
		break;
	case SESSION_DO_CLOSE:
		drop_connection(s);
		end_tasks(s, s->last_error, false);
		session_hold_stop(s);
		break;
	}
}

/* Let it happen: the phase changes first, so an action may cause the next. */
void
session_step(struct session *s, enum session_happening ev)
{
	enum session_phase from = s->phase;
	struct session_step step = session_fsm_step(from, ev);

	if (step.next != from)
		log_debug(s->log, "session %s: %s, %s: %s", s->config->name,
		    session_phase_name(from), session_happening_name(ev),
		    session_phase_name(step.next));
	s->phase = step.next;
	act(s, step.action, from);
}

/* --- what reports events --- */

static void __attribute__((format(printf, 2, 3)))
note_error(struct session *s, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	set_error(s, fmt, ap);
	va_end(ap);
}

void
session_timer_due(void *arg)
{
	struct session *s = arg;

	if (s->phase == SESSION_LOGGING_IN) {
		session_login_due(s);
		return;
	}
	if (s->phase == SESSION_LEAVING || s->phase == SESSION_LOGGING_OUT)
		note_error(s, "no answer to the Logout Request");
	session_step(s, SESSION_EV_TIMER);
}

/*
 * The target keeps statuses until they are acknowledged; tell it when nothing
 * else was sent for a while (RFC 7143 section 11.18).
 */
void
session_ack_due(void *arg)
{
	struct session *s = arg;
	uint8_t bhs[ISCSI_BHS_LEN] = {
		[ISCSI_OFF_OPCODE] = ISCSI_OP_NOP_OUT | ISCSI_IMMEDIATE,
		[ISCSI_OFF_FLAGS] = ISCSI_FLAG_FINAL,
	};

	if ((s->phase != SESSION_UP && s->phase != SESSION_DRAINING) ||
	    !sn_ack_due(&s->sn))
		return;
	put_be32(bhs + ISCSI_OFF_ITT, ISCSI_TAG_NONE);
	put_be32(bhs + ISCSI_OFF_TTT, ISCSI_TAG_NONE);
	(void)session_tx_answer(s, bhs);
}

static void
on_connected(void *arg)
{
	session_step(arg, SESSION_EV_CONNECTED);
}

static void
on_down(void *arg, int error, const char *reason)
{
	struct session *s = arg;
	bool broken = session_talks(s) && (error == EPROTO ||
	    error == EBADMSG);

	session_fail(s, "%s", reason);
	if (broken)
		session_log_headers(s);
}

const struct pump_ops session_pump_ops = {
	.on_connected = on_connected,
	.on_pdu = session_rx_pdu,
	.next = session_tx_next,
	.restamp = session_tx_restamp,
	.on_wire = session_tx_on_wire,
	.on_sent = session_tx_on_sent,
	.who = session_who,
	.on_down = on_down,
};
