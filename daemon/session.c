/* SPDX-License-Identifier: ISC */
/*
 * A session's public face: making and freeing it, and what others want to
 * know of it.  What it does is in the files that session_internal.h lists.
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/conn.h"
#include "daemon/fault.h"
#include "daemon/session_internal.h"
#include "proto/crc32c.h"
#include "proto/iscsi.h"

/* --- names and state --- */

/* What people are told: fewer states than there are phases. */
static const char *
state_name(enum session_phase phase)
{
	static const char *const names[SESSION_PHASES] = {
		[SESSION_IDLE] = "stopped",
		[SESSION_WAITING] = "down",
		[SESSION_HALTED] = "down",
		[SESSION_CONNECTING] = "connecting",
		[SESSION_LOGGING_IN] = "login",
		[SESSION_UP] = "up",
		[SESSION_DRAINING] = "logout",
		[SESSION_LEAVING] = "logout",
		[SESSION_LOGGING_OUT] = "logout",
		[SESSION_FAILED] = "down",
		[SESSION_ENDING] = "down",
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
	case SESSION_DRAINING:
	case SESSION_LEAVING:
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
	s->timer = loop_timer_new(loop, session_timer_due, s);
	s->task_timer = loop_timer_new(loop, task_timers_due, s);
	s->ack_timer = loop_timer_new(loop, session_ack_due, s);
	s->hold_timer = loop_timer_new(loop, session_hold_due, s);
	s->headers = hdrring_new();
	if (s->headers == NULL || !keepalive_init(s))
		return false;
	return s->router != NULL && s->timer != NULL &&
	    s->task_timer != NULL && s->ack_timer != NULL &&
	    s->hold_timer != NULL;
}

static void
reap(void *arg)
{
	struct session *s = arg;

	loop_timer_free(s->timer);
	loop_timer_free(s->task_timer);
	loop_timer_free(s->ack_timer);
	loop_timer_free(s->hold_timer);
	keepalive_free(s);
	hdrring_free(s->headers);
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
	loop_job_init(&s->fail_job, session_settle, s);
	loop_job_init(&s->stop_job, session_stopped, s);
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
session_remove_clients(struct session *s, const char *why)
{
	struct attachment *a;

	while ((a = TAILQ_FIRST(&s->attachments)) != NULL) {
		const struct attachment_ops *ops = a->ops;
		void *arg = a->arg;

		session_detach(a);
		ops->on_removed(arg, why);
	}
}

void
session_free(struct session *s, const char *why)
{
	struct loop *loop = s->worker->loop;

	if (s->freed)
		return;
	s->freed = s->stopping = true;
	s->on_stopped = NULL;
	strlcpy(s->last_error, why, sizeof(s->last_error));
	session_step(s, SESSION_EV_FREE);
	session_remove_clients(s, why);
	loop_unpost(loop, &s->fail_job);
	loop_unpost(loop, &s->stop_job);
	loop_unpost(loop, &s->ended_job);
	TAILQ_REMOVE(&s->worker->sessions, s, link);
	/* They were set for a session that nobody can name any more. */
	(void)fault_clear(s->worker->faults, s->config->name, NULL);
	loop_reap(loop, &s->reap_job);
}

/* --- what others want to know --- */

const struct hdrring *
session_headers(const struct session *s)
{
	return s->headers;
}

void
session_log_headers(struct session *s)
{
	size_t count = hdrring_count(s->headers);
	size_t fresh = hdrring_take_new(s->headers), i = count - fresh;
	char words[HDRRING_WORDS_MAX];

	if (fresh == 0)
		return;
	log_warn(s->log, "session %s: the PDUs before that:", s->config->name);
	for (; i < count; i++) {
		hdrring_words(hdrring_at(s->headers, i), words, sizeof(words));
		log_warn(s->log, "session %s: %s", s->config->name, words);
	}
}

void
session_info_get(struct session *s, struct session_info *out)
{
	const struct conn *conn = s->pump == NULL ? NULL : pump_conn(s->pump);
	uint64_t now = loop_now(s->worker->loop);

	*out = (struct session_info){
		.name = s->config->name,
		.target = session_target(s),
		.portal = session_portal(s)->text,
		.peer = conn == NULL ? "" : conn_peer(conn),
		.local = conn == NULL ? "" : conn_local(conn),
		.state = state_name(s->phase),
		.last_error = s->last_error,
		.next_try_ms = s->next_try > now ? s->next_try - now : 0,
		.attempts = s->backoff.attempts,
		.given_up = s->phase == SESSION_HALTED,
		.up_ms = s->up_since == 0 ? 0 : now - s->up_since,
		.clients = s->nattachments,
		.tasks = router_count(s->router),
		.orphans = s->norphans,
		.window = s->phase == SESSION_UP ? sn_window_room(&s->sn) : 0,
		.tsih = s->tsih,
		.params = s->params,
		.protocol_level = s->protocol_level,
		.up = s->phase == SESSION_UP,
	};
	session_redirect_info(s, out);
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
