/* SPDX-License-Identifier: ISC */
/*
 * The life of a session: connect, log in, up, down, try again, log out; and
 * what others may ask of it.  The work of the full feature phase is done in
 * the files that session_internal.h lists.
 */
#include "config.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/conn.h"
#include "daemon/fault.h"
#include "daemon/session_internal.h"
#include "proto/crc32c.h"
#include "proto/iscsi.h"

static void session_connect(struct session *s);

/* --- names and state --- */

static const char *
phase_name(enum session_phase phase)
{
	static const char *const names[] = {
		[SESSION_IDLE] = "stopped",
		[SESSION_WAITING] = "down",
		[SESSION_CONNECTING] = "connecting",
		[SESSION_LOGGING_IN] = "login",
		[SESSION_UP] = "up",
		[SESSION_FAILED] = "down",
		[SESSION_LOGGING_OUT] = "logout",
	};

	return names[phase];
}

uint8_t
session_state(const struct session *s)
{
	switch (s->phase) {
	case SESSION_CONNECTING:
		return MSG_SESSION_CONNECTING;
	case SESSION_LOGGING_IN:
		return MSG_SESSION_LOGIN;
	case SESSION_UP:
		return MSG_SESSION_UP;
	case SESSION_LOGGING_OUT:
		return MSG_SESSION_LOGOUT;
	default:
		return MSG_SESSION_DOWN;
	}
}

struct session *
session_find(struct worker *w, const char *name)
{
	struct session *s;

	TAILQ_FOREACH(s, &w->sessions, link) {
		if (strcmp(s->config->name, name) == 0)
			return s;
	}
	return NULL;
}

struct session *
session_next(struct worker *w, const struct session *s)
{
	return s == NULL ? TAILQ_FIRST(&w->sessions) : TAILQ_NEXT(s, link);
}

const struct config_session *
session_config(const struct session *s)
{
	return s->config;
}

/* Tell the attachments that asked for this kind of event. */
void
session_event(struct session *s, const struct msg_event *e,
    const struct attachment *except)
{
	struct attachment *a, *next;

	TAILQ_FOREACH_SAFE(a, &s->attachments, link, next) {
		if (a != except && (a->events & (1u << e->kind)) != 0)
			a->ops->on_event(a->arg, e);
	}
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
}

/*
 * Every task ends: what the target may have seen is unknown, what it can not
 * have seen may be sent again.
 */
static void
end_tasks(struct session *s, const char *text)
{
	struct router_slot *slot;

	for (slot = router_next(s->router, NULL); slot != NULL;
	    slot = router_next(s->router, slot)) {
		struct task *t = (struct task *)(void *)slot;
		bool sent = t->state == TASK_SENT;

		if (t->owner != NULL)
			task_outcome(t, sent ? MSG_OUTCOME_UNKNOWN :
			    MSG_OUTCOME_NOT_SENT, MSG_R_CONNECTION_LOST,
			    MSG_TMF_NO_RESPONSE, text);
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

static void
schedule_retry(struct session *s)
{
	uint32_t wait = s->retry_at_once ? 0 : s->config->reconnect_interval;

	s->retry_at_once = false;
	s->phase = SESSION_WAITING;
	if (s->shared && !s->recovers)
		return;
	s->next_try = loop_now(s->worker->loop) + wait;
	loop_timer_set(s->timer, wait);
}

static void
finish_stop(struct session *s)
{
	drop_connection(s);
	end_tasks(s, "the session was stopped");
	s->phase = SESSION_IDLE;
	s->next_try = 0;
	if (s->on_stopped != NULL)
		loop_post(s->worker->loop, &s->stop_job);
}

/* Job: the rest of session_fail(), when no caller is in the way any more. */
static void
session_down(void *arg)
{
	struct session *s = arg;
	bool was_up = s->up_since != 0;

	drop_connection(s);
	s->up_since = 0;
	if (was_up) {
		s->stats.downs++;
		announce_down(s);
	}
	end_tasks(s, s->last_error);
	if (s->stopping)
		finish_stop(s);
	else
		schedule_retry(s);
}

/*
 * The connection is lost or has to go.  Nothing more is read or written; the
 * tasks end at the end of this turn.
 */
void
session_fail(struct session *s, const char *fmt, ...)
{
	va_list ap;

	if (s->phase == SESSION_FAILED || s->phase == SESSION_WAITING ||
	    s->phase == SESSION_IDLE)
		return;
	va_start(ap, fmt);
	vsnprintf(s->last_error, sizeof(s->last_error), fmt, ap);
	va_end(ap);
	log_warn(s->log, "session %s: %s: %s", s->config->name,
	    s->phase == SESSION_UP ? "lost" : phase_name(s->phase),
	    s->last_error);
	if (s->phase == SESSION_CONNECTING || s->phase == SESSION_LOGGING_IN)
		s->stats.login_failures++;
	session_login_lost(s);
	s->phase = SESSION_FAILED;
	close_pump(s);
	loop_post(s->worker->loop, &s->fail_job);
}

static void
on_down(void *arg, int error, const char *reason)
{
	(void)error;
	session_fail(arg, "%s", reason);
}

/* --- connecting --- */

static void
session_connect(struct session *s)
{
	const struct config_portal *portal = &s->config->portal;

	s->phase = SESSION_CONNECTING;
	s->next_try = 0;
	s->adopted = false;
	*s->initiator = *s->target = '\0';
	session_make_isid(s);
	s->pump = pump_dial(s->worker, portal->host, portal->port,
	    s->config->connect_timeout, &session_pump_ops, s);
	if (s->pump != NULL) {
		conn_set_label(pump_conn(s->pump), s->config->name);
		return;
	}
	snprintf(s->last_error, sizeof(s->last_error), "cannot connect: %s",
	    strerror(errno));
	log_warn(s->log, "session %s: %s", s->config->name, s->last_error);
	schedule_retry(s);
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

/* The target answered the Logout Request. */
void
session_logged_out(struct session *s)
{
	log_info(s->log, "session %s: logged out", s->config->name);
	finish_stop(s);
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

		if (t->owner != NULL)
			task_outcome(t, sent ? MSG_OUTCOME_UNKNOWN :
			    MSG_OUTCOME_NOT_SENT, MSG_R_SHUTDOWN,
			    MSG_TMF_NO_RESPONSE, "the session is stopped");
		if (!sent)
			task_free(t);
	}
}

void
session_stop(struct session *s, void (*on_stopped)(void *arg), void *arg)
{
	bool was_up = s->phase == SESSION_UP;

	s->stopping = true;
	s->on_stopped = on_stopped;
	s->on_stopped_arg = arg;
	/* Its end is under way already. */
	if (s->phase == SESSION_FAILED || s->phase == SESSION_LOGGING_OUT)
		return;
	if (!was_up) {
		finish_stop(s);
		return;
	}
	strlcpy(s->last_error, "it is logged out", sizeof(s->last_error));
	s->up_since = 0;
	announce_down(s);
	end_tasks_early(s);
	s->phase = SESSION_LOGGING_OUT;
	send_logout(s);
}

/* Job: tell whoever asked for the stop. */
static void
stopped(void *arg)
{
	struct session *s = arg;
	void (*on_stopped)(void *) = s->on_stopped;

	s->on_stopped = NULL;
	if (on_stopped != NULL)
		on_stopped(s->on_stopped_arg);
}

/* --- timers --- */

static void
timer_due(void *arg)
{
	struct session *s = arg;

	switch (s->phase) {
	case SESSION_WAITING:
		session_connect(s);
		break;
	case SESSION_LOGGING_IN:
		session_login_due(s);
		break;
	case SESSION_LOGGING_OUT:
		log_warn(s->log, "session %s: no answer to the Logout Request",
		    s->config->name);
		finish_stop(s);
		break;
	default:
		break;
	}
}

/*
 * The target keeps statuses until they are acknowledged; tell it when nothing
 * else was sent for a while (RFC 7143 section 11.18).
 */
static void
ack_due(void *arg)
{
	struct session *s = arg;
	uint8_t bhs[ISCSI_BHS_LEN] = {
		[ISCSI_OFF_OPCODE] = ISCSI_OP_NOP_OUT | ISCSI_IMMEDIATE,
		[ISCSI_OFF_FLAGS] = ISCSI_FLAG_FINAL,
	};

	if (s->phase != SESSION_UP || !sn_ack_due(&s->sn))
		return;
	put_be32(bhs + ISCSI_OFF_ITT, ISCSI_TAG_NONE);
	put_be32(bhs + ISCSI_OFF_TTT, ISCSI_TAG_NONE);
	(void)session_tx_answer(s, bhs);
}

const struct pump_ops session_pump_ops = {
	.on_connected = session_on_connected,
	.on_pdu = session_rx_pdu,
	.next = session_tx_next,
	.restamp = session_tx_restamp,
	.on_wire = session_tx_on_wire,
	.on_sent = session_tx_on_sent,
	.who = session_who,
	.on_down = on_down,
};

/* --- creation and end --- */

void
session_isid_of(const struct worker *w, const struct config_session *c,
    uint8_t *isid)
{
	const char *initiator = w->config->initiator_name != NULL ?
	    w->config->initiator_name : "";
	uint32_t crc = CRC32C_INIT;

	if (c->isid_set) {
		memcpy(isid, c->isid, CONFIG_ISID_LEN);
		return;
	}
	crc = crc32c_update(crc, initiator, strlen(initiator));
	crc = crc32c_update(crc, c->name, strlen(c->name));
	put_be16(isid + 4, (uint16_t)crc);
	crc = crc32c_update(crc, c->target, strlen(c->target));
	put_be32(isid, crc);
	isid[0] = 0x80;
}

void
session_make_isid(struct session *s)
{
	session_isid_of(s->worker, s->config, s->isid);
}

static bool
make_parts(struct session *s)
{
	struct loop *loop = s->worker->loop;

	s->router = router_new(sizeof(struct task), ROUTER_SLOTS_MAX);
	s->timer = loop_timer_new(loop, timer_due, s);
	s->task_timer = loop_timer_new(loop, task_timers_due, s);
	s->ack_timer = loop_timer_new(loop, ack_due, s);
	return s->router != NULL && s->timer != NULL &&
	    s->task_timer != NULL && s->ack_timer != NULL;
}

static void
reap(void *arg)
{
	struct session *s = arg;

	loop_timer_free(s->timer);
	loop_timer_free(s->task_timer);
	loop_timer_free(s->ack_timer);
	router_free(s->router);
	config_session_unref(s->config);
	free(s);
}

struct session *
session_new(struct worker *w, struct config_session *config)
{
	struct session *s = calloc(1, sizeof(*s));

	if (s == NULL)
		return NULL;
	s->worker = w;
	s->config = config_session_ref(config);
	s->log = w->log;
	s->phase = SESSION_IDLE;
	loop_job_init(&s->fail_job, session_down, s);
	loop_job_init(&s->stop_job, stopped, s);
	loop_job_init(&s->reap_job, reap, s);
	loop_job_init(&s->ended_job, task_end_due, s);
	TAILQ_INIT(&s->attachments);
	STAILQ_INIT(&s->answers);
	STAILQ_INIT(&s->bursts);
	TAILQ_INIT(&s->tmfq);
	TAILQ_INIT(&s->abortq);
	TAILQ_INIT(&s->nopq);
	TAILQ_INIT(&s->textq);
	TAILQ_INIT(&s->ended);
	TAILQ_INIT(&s->data_active);
	TAILQ_INIT(&s->cmd_active);
	RB_INIT(&s->timers);
	if (!make_parts(s)) {
		reap(s);
		errno = ENOMEM;
		return NULL;
	}
	session_make_isid(s);
	TAILQ_INSERT_TAIL(&w->sessions, s, link);
	return s;
}

void
session_start(struct session *s)
{
	if (s->phase != SESSION_IDLE || s->stopping)
		return;
	s->last_error[0] = '\0';
	session_connect(s);
}

void
session_free(struct session *s, const char *why)
{
	struct loop *loop = s->worker->loop;
	struct attachment *a;

	if (s->freed)
		return;
	s->freed = s->stopping = true;
	s->on_stopped = NULL;
	drop_connection(s);
	end_tasks(s, why);
	s->phase = SESSION_IDLE;
	while ((a = TAILQ_FIRST(&s->attachments)) != NULL) {
		const struct attachment_ops *ops = a->ops;
		void *arg = a->arg;

		session_detach(a);
		ops->on_removed(arg, why);
	}
	loop_unpost(loop, &s->fail_job);
	loop_unpost(loop, &s->stop_job);
	loop_unpost(loop, &s->ended_job);
	TAILQ_REMOVE(&s->worker->sessions, s, link);
	/* They were set for a session that nobody can name any more. */
	(void)fault_clear(s->worker->faults, s->config->name, NULL);
	loop_reap(loop, &s->reap_job);
}

/* --- what others want to know --- */

void
session_info_get(struct session *s, struct session_info *out)
{
	const struct conn *conn = s->pump == NULL ? NULL : pump_conn(s->pump);
	uint64_t now = loop_now(s->worker->loop);

	*out = (struct session_info){
		.name = s->config->name,
		.target = session_target(s),
		.portal = s->config->portal.text,
		.peer = conn == NULL ? "" : conn_peer(conn),
		.local = conn == NULL ? "" : conn_local(conn),
		.state = phase_name(s->phase),
		.last_error = s->last_error,
		.next_try_ms = s->next_try > now ? s->next_try - now : 0,
		.up_ms = s->up_since == 0 ? 0 : now - s->up_since,
		.clients = s->nattachments,
		.tasks = router_count(s->router),
		.orphans = s->norphans,
		.window = s->phase == SESSION_UP ? sn_window_room(&s->sn) : 0,
		.tsih = s->tsih,
		.params = s->params,
		.up = s->phase == SESSION_UP,
	};
	memcpy(out->isid, s->isid, sizeof(out->isid));
}

void
session_stats_get(struct session *s, struct session_stats *out)
{
	struct pump_stats now = { 0 };

	if (s->pump != NULL)
		pump_stats_get(s->pump, &now);
	*out = s->stats;
	out->pdus_in = s->pump_past.pdus_in + now.pdus_in;
	out->pdus_out = s->pump_past.pdus_out + now.pdus_out;
	out->bytes_in = s->pump_past.bytes_in + now.bytes_in;
	out->bytes_out = s->pump_past.bytes_out + now.bytes_out;
	out->recv_calls = s->pump_past.recv_calls + now.recv_calls;
	out->send_calls = s->pump_past.send_calls + now.send_calls;
}
