/* SPDX-License-Identifier: ISC */
/*
 * The life of a raw connection: open or adopt, up, failed, gone; and what its
 * client may ask of it.  What fails deep inside is acted upon at the end of
 * the turn, as with a session.
 */
#include "config.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/raw_internal.h"

/* --- the end --- */

static void
reap(void *arg)
{
	struct raw *r = arg;

	loop_timer_free(r->task_timer);
	loop_timer_free(r->share_timer);
	loop_timer_free(r->read_timer);
	loop_timer_free(r->write_timer);
	raw_router_free(r->router);
	loginwatch_free(r->watch);
	free(r);
}

/* Nothing happens to it any more; the memory goes at the end of the turn. */
void
raw_drop(struct raw *r)
{
	struct loop *loop = r->worker->loop;

	if (r->state == RAW_GONE)
		return;
	r->state = RAW_GONE;
	raw_tx_clear(r);
	pump_close(r->pump);
	r->pump = NULL;
	loop_timer_clear(r->task_timer);
	loop_timer_clear(r->share_timer);
	loop_timer_clear(r->read_timer);
	loop_timer_clear(r->write_timer);
	loop_unpost(loop, &r->fail_job);
	loop_reap(loop, &r->reap_job);
}

/*
 * Every task ends: what the target may have seen is unknown, what it can not
 * have seen may be sent again.
 */
void
raw_end_tasks(struct raw *r, const char *text)
{
	struct raw_task *t, *next;

	for (t = raw_router_next(r->router, NULL); t != NULL; t = next) {
		next = raw_router_next(r->router, t);
		raw_outcome(r, t, t->sent ? MSG_OUTCOME_UNKNOWN :
		    MSG_OUTCOME_NOT_SENT, MSG_R_CONNECTION_LOST, text, true);
	}
}

static void
note_closed(struct raw *r, int error, const char *text)
{
	struct conn *conn = pump_conn(r->pump);

	r->closed = (struct msg_event){
		.kind = MSG_EVENT_CLOSED, .count = 1, .code = (uint32_t)error,
		.bytes_in = conn_bytes_in(conn),
		.bytes_out = conn_bytes_out(conn),
	};
	strlcpy(r->closed.text, text, sizeof(r->closed.text));
}

/* Job: the rest of raw_fail(), when no caller is in the way any more. */
static void
raw_ended(void *arg)
{
	struct raw *r = arg;
	const struct raw_ops *ops = r->owner.ops;
	void *owner = r->owner.arg;

	raw_share_fail(r, MSG_R_CONNECTION_LOST, r->closed.text);
	raw_end_tasks(r, r->closed.text);
	raw_drop(r);
	ops->on_closed(owner, &r->closed);
}

/*
 * The connection is lost or has to go.  Nothing more is read or written; the
 * tasks end at the end of this turn.
 */
void
raw_fail(struct raw *r, int error, const char *fmt, ...)
{
	char text[MSG_TEXT_MAX + 1];
	va_list ap;

	if (r->state == RAW_FAILED || r->state == RAW_GONE)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	log_info(r->log, "%s: closed: %s", r->label, text);
	note_closed(r, error, text);
	r->state = RAW_FAILED;
	pump_close(r->pump);
	r->pump = NULL;
	loop_post(r->worker->loop, &r->fail_job);
}

void
raw_close(struct raw *r, const char *why)
{
	if (r->state != RAW_FAILED) {
		log_info(r->log, "%s: closed: %s", r->label, why);
		note_closed(r, 0, why);
	}
	raw_ended(r);
}

void
raw_free(struct raw *r)
{
	struct raw_task *t;

	if (r == NULL || r->state == RAW_GONE)
		return;
	log_info(r->log, "%s: closed: its client is gone", r->label);
	while ((t = raw_router_next(r->router, NULL)) != NULL) {
		if (t->charged)
			quota_give(r->owner.quota,
			    &(struct quota_amount){ .tasks = 1 });
		raw_router_remove(r->router, t);
	}
	raw_drop(r);
}

/* --- the pump --- */

static void
on_down(void *arg, int error, const char *reason)
{
	struct raw *r = arg;
	uint16_t code = error == EACCES ? MSG_R_NOT_PERMITTED : MSG_R_CONNECT;

	if (r->state != RAW_CONNECTING) {
		raw_fail(r, error, "%s", reason);
		return;
	}
	log_info(r->log, "%s: %s", r->label, reason);
	raw_drop(r);
	r->owner.ops->on_open(r->owner.arg, code, reason);
}

/*
 * May the client have a connection to where this one goes?  Of several
 * addresses of a name each may have rights of its own.
 */
bool
raw_learn_rights(struct raw *r, const struct conn *conn)
{
	const struct sockaddr_storage *peer = conn_peer_addr(conn);

	r->may_uncheck = false;
	return r->owner.ops->permits(r->owner.arg,
	    (const struct sockaddr *)peer, sizeof(*peer), &r->may_uncheck);
}

static void
on_connected(void *arg)
{
	struct raw *r = arg;

	if (r->state != RAW_CONNECTING)
		return;
	if (!raw_learn_rights(r, pump_conn(r->pump))) {
		on_down(r, EACCES, "the address is not permitted");
		return;
	}
	r->state = RAW_OPEN;
	log_info(r->log, "%s: connected to %s", r->label,
	    conn_peer(pump_conn(r->pump)));
	r->owner.ops->on_open(r->owner.arg, MSG_R_NONE, "");
}

static bool
permits(void *arg, const struct sockaddr *sa, socklen_t len)
{
	struct raw *r = arg;
	bool unchecked;

	return r->owner.ops->permits(r->owner.arg, sa, len, &unchecked);
}

/* The pump's `who`: whatever passes is the one client's. */
static void
raw_who(void *arg, uint32_t itt, struct trace_client *out)
{
	const struct raw *r = arg;

	(void)itt;
	*out = (struct trace_client){
		.name = r->owner.name, .pid = r->owner.pid
	};
}

const struct pump_ops raw_pump_ops = {
	.permits = permits,
	.on_connected = on_connected,
	.on_pdu = raw_rx_pdu,
	.next = raw_tx_next,
	.restamp = raw_tx_restamp,
	.on_wire = raw_tx_on_wire,
	.on_sent = raw_tx_on_sent,
	.who = raw_who,
	.on_down = on_down,
};

/* --- creation --- */

static bool
make_parts(struct raw *r)
{
	struct loop *loop = r->worker->loop;

	r->router = raw_router_new(1);
	r->watch = loginwatch_new();
	r->task_timer = loop_timer_new(loop, raw_tasks_due, r);
	r->share_timer = loop_timer_new(loop, raw_share_over, r);
	r->read_timer = loop_timer_new(loop, raw_read_over, r);
	r->write_timer = loop_timer_new(loop, raw_write_over, r);
	return r->router != NULL && r->watch != NULL &&
	    r->task_timer != NULL && r->share_timer != NULL &&
	    r->read_timer != NULL && r->write_timer != NULL;
}

/* Without a pump yet; NULL with errno set. */
struct raw *
raw_new(struct worker *w, const struct raw_owner *owner)
{
	struct raw *r = calloc(1, sizeof(*r));

	if (r == NULL)
		return NULL;
	r->worker = w;
	r->log = w->log;
	r->owner = *owner;
	r->serial = ++w->last_raw;
	r->params.recv_dsl = r->params.send_dsl = ISCSI_LOGIN_DSL_MAX;
	snprintf(r->label, sizeof(r->label), "raw-%" PRIu64, owner->id);
	STAILQ_INIT(&r->queue);
	loop_job_init(&r->fail_job, raw_ended, r);
	loop_job_init(&r->reap_job, reap, r);
	if (!make_parts(r)) {
		reap(r);
		errno = ENOMEM;
		return NULL;
	}
	return r;
}

struct raw *
raw_open(struct worker *w, const struct raw_owner *owner, const char *host,
    uint16_t port, uint32_t timeout_ms)
{
	struct raw *r = raw_new(w, owner);
	int error;

	if (r == NULL)
		return NULL;
	strlcpy(r->host, host, sizeof(r->host));
	r->port = port;
	r->pump = pump_dial(w, host, port, timeout_ms, &raw_pump_ops, r);
	if (r->pump == NULL) {
		error = errno;
		reap(r);
		errno = error;
		return NULL;
	}
	conn_set_label(pump_conn(r->pump), r->label);
	raw_apply_framing(r);
	return r;
}

/* May the client have a connection to the other end of this socket? */
static bool
adopt_permitted(struct raw *r, int fd, struct refusal *why)
{
	struct sockaddr_storage sa;
	socklen_t len = sizeof(sa);
	int error = conn_check_tcp(fd);

	if (error != 0)
		return guard_no(why, MSG_R_BAD_FD, "the descriptor is no "
		    "connected TCP socket: %s", strerror(-error));
	if (getpeername(fd, (struct sockaddr *)&sa, &len) == -1)
		return guard_no(why, MSG_R_BAD_FD, "the socket's peer: %s",
		    strerror(errno));
	if (!r->owner.ops->permits(r->owner.arg, (struct sockaddr *)&sa, len,
	    &r->may_uncheck))
		return guard_no(why, MSG_R_NOT_PERMITTED, "no raw rule "
		    "permits you this target");
	if ((r->params.flags & MSG_RAW_UNCHECKED) != 0 && !r->may_uncheck)
		return guard_no(why, MSG_R_NOT_PERMITTED, "no raw rule of "
		    "yours has unchecked = yes");
	return true;
}

static void
take_params(struct raw *r, const struct msg_raw_params *params)
{
	r->params = *params;
	r->params.flags |= MSG_RAW_ADOPTED;
	r->have_cmdsn = r->have_statsn =
	    (params->flags & MSG_RAW_NUMBERS) != 0;
	if (params->phase == MSG_RAW_LOGIN && params->recv_dsl == 0)
		r->params.recv_dsl = ISCSI_LOGIN_DSL_MAX;
}

struct raw *
raw_adopt(struct worker *w, const struct raw_owner *owner, int fd,
    const struct msg_raw_params *params, struct slices *unread,
    struct refusal *why)
{
	struct raw *r = raw_new(w, owner);

	if (r == NULL) {
		guard_no(why, MSG_R_INTERNAL, "out of memory");
		goto fail;
	}
	take_params(r, params);
	if (!adopt_permitted(r, fd, why))
		goto fail;
	r->pump = pump_adopt(w, fd, &raw_pump_ops, r);
	if (r->pump == NULL) {
		guard_no(why, MSG_R_BAD_FD, "the socket can not be used: %s",
		    strerror(errno));
		goto fail;
	}
	r->state = RAW_OPEN;
	conn_set_label(pump_conn(r->pump), r->label);
	raw_apply_framing(r);
	pump_unread(r->pump, unread);
	log_info(r->log, "%s: adopted a connection to %s", r->label,
	    conn_peer(pump_conn(r->pump)));
	return r;
fail:
	if (r != NULL)
		reap(r);
	slices_clear(w->pool, unread);
	conn_drop_fd(fd);
	return NULL;
}

/* --- what others may ask --- */

bool
raw_is_open(const struct raw *r)
{
	return r->state == RAW_OPEN || r->state == RAW_SHARING;
}

uint32_t
raw_deadline(const struct raw *r)
{
	return r->owner.deadline;
}

const char *
raw_peer(const struct raw *r)
{
	return r->pump == NULL ? "" : conn_peer(pump_conn(r->pump));
}

const char *
raw_label(const struct raw *r)
{
	return r->label;
}

uint32_t
raw_open_tasks(const struct raw *r)
{
	return raw_router_pending(r->router);
}

uint64_t
raw_unwanted(const struct raw *r)
{
	return r->unwanted;
}

static uint32_t
ms_left(const struct raw *r, uint64_t at)
{
	uint64_t now = loop_now(r->worker->loop);

	if (at == 0)
		return 0;
	return at > now ? (uint32_t)(at - now) : 1;
}

void
raw_state_get(struct raw *r, struct msg_state *out)
{
	struct pump_stats stats = { 0 };

	*out = (struct msg_state){
		.params = r->params,
		.read_deadline = ms_left(r, r->read_at),
		.write_deadline = ms_left(r, r->write_at),
		.pending = raw_router_pending(r->router),
		.live = raw_router_live(r->router),
		.unsent = raw_unsent(r),
	};
	if (r->have_cmdsn && r->have_statsn)
		out->params.flags |= MSG_RAW_NUMBERS;
	if (r->pump == NULL)
		return;
	pump_stats_get(r->pump, &stats);
	out->bytes_in = stats.bytes_in;
	out->bytes_out = stats.bytes_out;
	out->pdus_in = stats.pdus_in;
	out->pdus_out = stats.pdus_out;
	strlcpy(out->local, conn_local(pump_conn(r->pump)),
	    sizeof(out->local));
	strlcpy(out->peer, conn_peer(pump_conn(r->pump)), sizeof(out->peer));
}

/* May the socket be given away now? */
static bool
export_allowed(const struct raw *r, struct refusal *why)
{
	if (r->state != RAW_OPEN)
		return guard_no(why, r->state == RAW_SHARING ? MSG_R_BUSY :
		    MSG_R_BAD_STATE, "the connection is %s",
		    r->state == RAW_SHARING ? "being shared" : "not open");
	if (pump_in_the_middle(r->pump))
		return guard_no(why, MSG_R_BUSY,
		    "a PDU has been written in part");
	if (r->params.phase == MSG_RAW_LOGIN &&
	    r->login_begun)
		return guard_no(why, MSG_R_BUSY, "a Login is under way");
	return true;
}

int
raw_export(struct raw *r, struct msg_exported *out, struct slices *unread,
    struct refusal *why)
{
	int fd;

	if (!export_allowed(r, why))
		return -1;
	raw_tx_forget(r);
	*out = (struct msg_exported){ .params = r->params };
	if (r->have_cmdsn && r->have_statsn)
		out->params.flags |= MSG_RAW_NUMBERS;
	out->params.flags &= MSG_RAW_ADOPTABLE;
	fd = pump_export(r->pump, unread);
	if (fd < 0) {
		guard_no(why, MSG_R_INTERNAL, "out of memory");
		raw_fail(r, ENOMEM, "out of memory for an export");
		return -1;
	}
	log_info(r->log, "%s: exported with %" PRIu32 " bytes unread",
	    r->label, unread->len);
	out->unread = unread->len;
	raw_end_tasks(r, "the connection was exported");
	raw_drop(r);
	return fd;
}

bool
raw_paused(const struct raw *r)
{
	return r->paused;
}
