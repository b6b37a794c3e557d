/* SPDX-License-Identifier: ISC */
/*
 * Every frame of the daemon but PDU: what it changes in the connection, in
 * the attached session and in the request whose cookie it bears.
 */
#include "config.h"

#include <sys/param.h>

#include <errno.h>
#include <string.h>

#include "client/lib.h"

#define DATA_MAX_LEAST 512u	/* no iSCSI limit is lower (RFC 7143, 13.12) */

int
lib_reason_errno(unsigned reason)
{
	switch (reason) {
	case MSG_R_NONE:
		return 0;
	case MSG_R_NO_SUCH_SESSION:
		return -ENOENT;
	case MSG_R_NOT_PERMITTED:
		return -EACCES;
	case MSG_R_BUSY:
		return -EBUSY;
	case MSG_R_NOT_SUPPORTED:
		return -EOPNOTSUPP;
	case MSG_R_BAD_VERSION:
		return -EPROTONOSUPPORT;
	case MSG_R_QUOTA:
		return -EDQUOT;
	case MSG_R_BAD_STATE:
		return -EBADFD;
	case MSG_R_BAD_FD:
		return -ENOTSOCK;
	case MSG_R_BAD_FIELD:
		return -EINVAL;
	case MSG_R_CONNECT:
		return -EHOSTUNREACH;
	case MSG_R_SHUTDOWN:
	case MSG_R_CONNECTION_LOST:
		return -ECONNRESET;
	default:
		return -EPROTO;
	}
}

static int
on_welcome(struct iscsimux *h, const uint8_t *payload, size_t len)
{
	struct msg_welcome m;

	if (h->state != LIB_HELLO || msg_welcome_decode(payload, len, &m) != 0)
		return -EBADMSG;
	if (m.version != MSG_VERSION) {
		lib_set_fatal(h, MSG_R_BAD_VERSION, NULL);
		return -EPROTONOSUPPORT;
	}
	if (m.data_max < DATA_MAX_LEAST)
		return -EBADMSG;
	h->data_max = MIN(m.data_max, FRAME_DATA_MAX);
	h->tasks_max = m.tasks_max;
	h->features = m.features;
	strlcpy(h->daemon, m.daemon, sizeof(h->daemon));
	h->state = LIB_READY;
	return (m.features & MSG_FEATURE_RAW) != 0 ? 0 : lib_op_unsupported(h);
}

static void
set_params(struct iscsimux_session *s, const struct msg_params *p)
{
	s->generation = p->generation;
	s->initial_r2t = (p->flags & MSG_PARAM_INITIAL_R2T) != 0;
	s->immediate_data = (p->flags & MSG_PARAM_IMMEDIATE_DATA) != 0;
	s->header_digest = (p->flags & MSG_PARAM_HEADER_DIGEST) != 0;
	s->data_digest = (p->flags & MSG_PARAM_DATA_DIGEST) != 0;
	s->send_dsl = p->send_dsl;
	s->recv_dsl = p->recv_dsl;
	s->max_burst = p->max_burst;
	s->first_burst = p->first_burst;
	s->max_r2t = p->max_r2t;
}

static int
attach_answered(struct iscsimux *h, int error)
{
	uint32_t conn = h->conn;

	h->attach_error = error;
	h->state = error == 0 ? LIB_ATTACHED : LIB_READY;
	h->calls++;
	if (h->cb.on_attached != NULL)
		h->cb.on_attached(h, h->arg, error,
		    error == 0 ? &h->session : NULL);
	return lib_alive(h, conn) ? 0 : LIB_GONE;
}

static int
take_session(struct iscsimux *h, const uint8_t *payload, size_t len)
{
	struct msg_attached m;

	if (msg_attached_decode(payload, len, &m) != 0)
		return -EBADMSG;
	memset(&h->session, 0, sizeof(h->session));
	h->session.state = (enum iscsimux_session_state)m.state;
	h->session.access = m.access;
	h->session.tasks_max = m.tasks_max;
	h->session.inbound_max = m.inbound_max;
	h->session.outbound_max = m.outbound_max;
	set_params(&h->session, &m.params);
	return 0;
}

static int
on_attached(struct iscsimux *h, const struct frame_header *f,
    const uint8_t *payload)
{
	struct lib_slot *share = lib_op_find(h, f->cookie, FRAME_SHARE);

	if (share == NULL && h->state != LIB_ATTACHING)
		return -EBADMSG;
	if (take_session(h, payload, f->len) != 0)
		return -EBADMSG;
	return share != NULL ? lib_op_shared(h, share) : attach_answered(h, 0);
}

static int
on_state(struct iscsimux *h, const struct frame_header *f,
    const uint8_t *payload)
{
	struct lib_slot *slot = lib_op_find(h, f->cookie, FRAME_GET);

	if (slot == NULL)
		slot = lib_op_find(h, f->cookie, FRAME_UNSHARE);
	return slot == NULL ? 0 : lib_op_state(h, slot, payload, f->len);
}

static int
on_tag(struct iscsimux *h, const struct frame_header *f,
    const uint8_t *payload)
{
	struct lib_slot *slot = lib_slot_find(h, f->cookie);
	uint32_t conn = h->conn;
	struct msg_tag m;

	if (msg_tag_decode(payload, f->len, &m) != 0)
		return -EBADMSG;
	if (slot == NULL || slot->kind != LIB_RAW || !slot->tagless)
		return 0;
	lib_raw_tag(h, slot, m.itt);
	return lib_alive(h, conn) ? 0 : LIB_GONE;
}

/* OK of a CANCEL needs nothing. */
static int
on_ok(struct iscsimux *h, uint64_t cookie)
{
	struct lib_slot *slot = lib_slot_find(h, cookie);

	return slot != NULL && slot->kind == LIB_OP ? lib_op_ok(h, slot) : 0;
}

static int
on_outcome(struct iscsimux *h, uint64_t cookie, const uint8_t *payload,
    size_t len)
{
	struct lib_slot *slot = lib_slot_find(h, cookie);
	uint32_t conn = h->conn;
	struct msg_outcome m;

	if (msg_outcome_decode(payload, len, &m) != 0)
		return -EBADMSG;
	if (slot == NULL || !lib_is_task(slot))
		return 0;
	/* An outcome that a later version has: all that is sure is the end. */
	if (m.outcome < MSG_OUTCOME_REFUSED ||
	    m.outcome > MSG_OUTCOME_TIMED_OUT)
		m.outcome = MSG_OUTCOME_UNKNOWN;
	lib_slot_outcome(h, slot, &m);
	return lib_alive(h, conn) ? 0 : LIB_GONE;
}

static int
end_by_error(struct iscsimux *h, struct lib_slot *slot, uint8_t outcome,
    const struct msg_error *m)
{
	struct msg_outcome o = {
		.outcome = outcome,
		.tmf_response = MSG_TMF_NO_RESPONSE,
		.reason = m->reason,
	};
	uint32_t conn = h->conn;

	memcpy(o.text, m->text, sizeof(o.text));
	lib_slot_outcome(h, slot, &o);
	return lib_alive(h, conn) ? 0 : LIB_GONE;
}

static int
request_error(struct iscsimux *h, struct lib_slot *slot,
    const struct msg_error *m)
{
	uint32_t conn = h->conn;

	if (slot->kind == LIB_OP)
		return lib_op_error(h, slot, m);
	/*
	 * Nothing but the first PDU can be meant, and it opened no task.  The
	 * further ones of a raw connection have a cookie of their own.
	 */
	if (!slot->continued || slot->raw)
		return end_by_error(h, slot, MSG_OUTCOME_REFUSED, m);
	if (slot->kind == LIB_RAW)
		lib_raw_error(h, slot, m);
	else
		lib_task_error(h, slot, m);
	return lib_alive(h, conn) ? 0 : LIB_GONE;
}

/* An ERROR for a further PDU of a task on the raw connection. */
static int
more_refused(struct iscsimux *h, struct lib_slot *slot,
    const struct msg_error *m)
{
	uint32_t conn = h->conn;

	if (slot->kind != LIB_RAW || !slot->raw)
		return 0;
	lib_raw_error(h, slot, m);
	return lib_alive(h, conn) ? 0 : LIB_GONE;
}

static int
on_error(struct iscsimux *h, const struct frame_header *f,
    const uint8_t *payload)
{
	uint64_t cookie = f->cookie;
	struct lib_slot *slot;
	struct msg_error m;

	if (msg_error_decode(payload, f->len, &m) != 0)
		return -EBADMSG;
	if ((f->flags & FRAME_F_FATAL) != 0) {
		lib_set_fatal(h, m.reason, m.text);
		return 0;
	}
	if (cookie == LIB_COOKIE_ATTACH && h->state == LIB_ATTACHING) {
		lib_set_error(h, m.reason, m.text);
		return attach_answered(h, lib_reason_errno(m.reason));
	}
	slot = lib_slot_find(h, cookie &
	    ~(LIB_COOKIE_CANCEL | LIB_COOKIE_MORE));
	if (slot == NULL)
		return 0;
	if ((cookie & LIB_COOKIE_MORE) != 0)
		return more_refused(h, slot, &m);
	if ((cookie & LIB_COOKIE_CANCEL) == 0)
		return request_error(h, slot, &m);
	/* Its end would have come before this, had the daemon known it. */
	if (m.reason == MSG_R_NO_SUCH_TASK)
		return end_by_error(h, slot, MSG_OUTCOME_UNKNOWN, &m);
	return 0;
}

static int
on_pong(struct iscsimux *h, const struct frame_header *f,
    const uint8_t *payload)
{
	const struct iscsimux_result r = {
		.outcome = ISCSIMUX_COMPLETED,
		.text = "",
	};
	struct lib_slot *slot = lib_slot_find(h, f->cookie);
	uint32_t conn = h->conn;

	if (f->cookie == LIB_COOKIE_FENCE)
		return f->len == 8 ? lib_raw_fence(h, get_be64(payload)) :
		    -EBADMSG;
	if (slot == NULL || slot->kind != LIB_PING)
		return 0;
	lib_slot_done(h, slot, &r);
	return lib_alive(h, conn) ? 0 : LIB_GONE;
}

static int
on_event(struct iscsimux *h, const uint8_t *payload, size_t len)
{
	struct iscsimux_event ev;
	uint32_t conn = h->conn;
	struct msg_event m;
	int r;

	if (msg_event_decode(payload, len, &m) != 0)
		return -EBADMSG;
	if (h->state < LIB_ATTACHED || m.kind >= MSG_EVENT_KINDS)
		return 0;
	if (m.kind == MSG_EVENT_CLOSED) {
		if (h->state != LIB_ON_RAW)
			return 0;
		r = lib_raw_ended(h);
		if (r != 0)
			return r;
	}
	if (m.kind == MSG_EVENT_SESSION_UP)
		h->session.state = ISCSIMUX_SESSION_UP;
	else if (m.kind == MSG_EVENT_SESSION_DOWN)
		h->session.state = ISCSIMUX_SESSION_DOWN;
	if (m.kind == MSG_EVENT_SESSION_UP || m.kind == MSG_EVENT_PARAMETERS)
		set_params(&h->session, &m.params);
	if (h->cb.on_event == NULL || (h->events & 1u << m.kind) == 0)
		return 0;
	ev.kind = (enum iscsimux_event_kind)m.kind;
	ev.count = m.count;
	put_be64(ev.lun, m.lun);
	ev.code = m.code;
	ev.text = m.text;
	ev.bytes_in = m.bytes_in;
	ev.bytes_out = m.bytes_out;
	h->calls++;
	h->cb.on_event(h, h->arg, &ev);
	return lib_alive(h, conn) ? 0 : LIB_GONE;
}

static int
on_listing(struct iscsimux *h, const struct frame_header *f,
    const uint8_t *payload)
{
	struct lib_slot *slot = lib_slot_find(h, f->cookie);
	uint32_t conn = h->conn;
	int r;

	if (slot == NULL || slot->kind != LIB_LIST)
		return 0;
	r = lib_query_listing(h, slot, f, payload);
	if (r != 0)
		return r;
	return lib_alive(h, conn) ? 0 : LIB_GONE;
}

static int
dispatch(struct iscsimux *h, const struct frame_header *f,
    const uint8_t *payload)
{
	struct msg_goodbye bye;

	switch (f->type) {
	case FRAME_WELCOME:
		return on_welcome(h, payload, f->len);
	case FRAME_ATTACHED:
		return on_attached(h, f, payload);
	case FRAME_OUTCOME:
		return on_outcome(h, f->cookie, payload, f->len);
	case FRAME_ERROR:
		return on_error(h, f, payload);
	case FRAME_PONG:
		return on_pong(h, f, payload);
	case FRAME_EVENT:
		return on_event(h, payload, f->len);
	case FRAME_LISTING:
		return on_listing(h, f, payload);
	case FRAME_GOODBYE:
		if (msg_goodbye_decode(payload, f->len, &bye) != 0)
			return -EBADMSG;
		lib_set_fatal(h, bye.reason, bye.text);
		return 0;
	case FRAME_OK:
		return on_ok(h, f->cookie);
	case FRAME_STATE:
		return on_state(h, f, payload);
	default:
		return on_tag(h, f, payload);
	}
}

int
lib_msg_handle(struct iscsimux *h, const struct frame_header *f,
    const uint8_t *payload)
{
	int r = dispatch(h, f, payload);

	if (r != -EBADMSG)
		return r;
	lib_set_fatal(h, MSG_R_BAD_PAYLOAD,
	    "a frame with a payload that makes no sense");
	return -EPROTO;
}
