/* SPDX-License-Identifier: ISC */
/*
 * Requests about the raw connection: OPEN, ADOPT, SET, GET, EXPORT, SHARE,
 * UNSHARE and CLOSE, their frames and their ends.  What comes back with
 * EXPORTED is lib_export.c's, PDUs are lib_raw.c's.
 */
#include "config.h"

#include <sys/param.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/lib.h"

/* The public numbers are the wire's; no code translates them. */
#define SAME(a, b) _Static_assert((unsigned)(a) == (unsigned)(b), #a)
SAME(ISCSIMUX_RAW_HEADER_DIGEST, MSG_RAW_HEADER_DIGEST);
SAME(ISCSIMUX_RAW_DATA_DIGEST, MSG_RAW_DATA_DIGEST);
SAME(ISCSIMUX_RAW_BIG_ENDIAN, MSG_RAW_BIG_ENDIAN);
SAME(ISCSIMUX_RAW_MANUAL, MSG_RAW_MANUAL);
SAME(ISCSIMUX_RAW_SHOW_DIGESTS, MSG_RAW_SHOW_DIGESTS);
SAME(ISCSIMUX_RAW_UNCHECKED, MSG_RAW_UNCHECKED);
SAME(ISCSIMUX_RAW_INITIAL_R2T, MSG_RAW_INITIAL_R2T);
SAME(ISCSIMUX_RAW_IMMEDIATE_DATA, MSG_RAW_IMMEDIATE_DATA);
SAME(ISCSIMUX_RAW_DISCOVERY, MSG_RAW_DISCOVERY);
SAME(ISCSIMUX_RAW_NUMBERS, MSG_RAW_NUMBERS);
SAME(ISCSIMUX_RAW_ADOPTED, MSG_RAW_ADOPTED);
SAME(ISCSIMUX_SET_RECV_DSL, MSG_RAW_SET_RECV_DSL);
SAME(ISCSIMUX_SET_SEND_DSL, MSG_RAW_SET_SEND_DSL);
SAME(ISCSIMUX_SET_READ_DEADLINE, MSG_RAW_SET_READ_DEADLINE);
SAME(ISCSIMUX_SET_WRITE_DEADLINE, MSG_RAW_SET_WRITE_DEADLINE);
SAME(ISCSIMUX_PORTAL_MAX, MSG_PORTAL_MAX);
SAME(ISCSIMUX_ADDRESS_MAX, MSG_ADDRESS_MAX);
SAME(ISCSIMUX_UNREAD_MAX, MSG_UNREAD_MAX);

#define ADOPT_FIRST	512u	/* bytes of the stream in the first ADOPT */

void
lib_op_params(const struct msg_raw_params *m, struct iscsimux_raw_params *out)
{
	out->full_feature = m->phase == MSG_RAW_FULL_FEATURE;
	out->flags = m->flags;
	out->recv_dsl = m->recv_dsl;
	out->send_dsl = m->send_dsl;
	out->max_burst = m->max_burst;
	out->first_burst = m->first_burst;
	out->max_r2t = m->max_r2t;
	out->cmdsn = m->cmdsn;
	out->exp_cmdsn = m->exp_cmdsn;
	out->max_cmdsn = m->max_cmdsn;
	out->exp_statsn = m->exp_statsn;
	memcpy(out->isid, m->isid, sizeof(out->isid));
	out->tsih = m->tsih;
	strlcpy(out->target, m->target, sizeof(out->target));
}

static void
wire_params(const struct iscsimux_raw_params *p, struct msg_raw_params *out)
{
	out->phase = p->full_feature ? MSG_RAW_FULL_FEATURE : MSG_RAW_LOGIN;
	out->flags = p->flags;
	out->recv_dsl = p->recv_dsl;
	out->send_dsl = p->send_dsl;
	out->max_burst = p->max_burst;
	out->first_burst = p->first_burst;
	out->max_r2t = p->max_r2t;
	out->cmdsn = p->cmdsn;
	out->exp_cmdsn = p->exp_cmdsn;
	out->max_cmdsn = p->max_cmdsn;
	out->exp_statsn = p->exp_statsn;
	memcpy(out->isid, p->isid, sizeof(out->isid));
	out->tsih = p->tsih;
	strlcpy(out->target, p->target, sizeof(out->target));
}

void
lib_op_free(struct lib_op *op)
{
	if (op == NULL)
		return;
	if (op->fd != -1)
		close(op->fd);
	free(op->unread);
	free(op);
}

/* --- requests --- */

static bool
is_move(uint16_t type)
{
	return type != FRAME_SET && type != FRAME_GET;
}

/* May such a request be made in the present state? */
static int
admit(const struct iscsimux *h, uint16_t type)
{
	if (h->state == LIB_CLOSED)
		return h->dying ? -ESHUTDOWN : -ENOTCONN;
	if (h->state > LIB_HELLO && (h->features & MSG_FEATURE_RAW) == 0)
		return -EOPNOTSUPP;
	if (h->attach_wanted || h->state == LIB_ATTACHING)
		return -EALREADY;
	if (h->move != NULL)
		return -EBUSY;
	if (type == FRAME_OPEN || type == FRAME_ADOPT)
		return h->state >= LIB_ATTACHED ? -EISCONN : 0;
	return h->state == (type == FRAME_UNSHARE ? LIB_ATTACHED :
	    LIB_ON_RAW) ? 0 : -ENOTCONN;
}

/* Take a slot for a request; NULL with `*error`. */
static struct lib_slot *
start(struct iscsimux *h, uint16_t type, void *cookie, int *error)
{
	const struct lib_charge none = { 0, 0 };
	struct lib_slot *slot = NULL;
	struct lib_op *op;

	*error = admit(h, type);
	if (*error != 0)
		return NULL;
	op = calloc(1, sizeof(*op));
	if (op == NULL)
		*error = -ENOMEM;
	else
		slot = lib_slot_take(h, LIB_OP, none, error);
	if (slot == NULL) {
		free(op);
		return NULL;
	}
	op->type = type;
	op->fd = -1;
	slot->op = op;
	slot->cookie = cookie;
	return slot;
}

/* Queue it with `n` bytes of payload, or give it back. */
static int
commit(struct iscsimux *h, struct lib_slot *slot, int n)
{
	if (n < 0) {
		lib_slot_release(h, slot);
		return -EINVAL;
	}
	slot->op->len = (size_t)n;
	if (is_move(slot->op->type))
		h->move = slot;
	lib_out_queue(h, slot);
	return 0;
}

/* The library itself needs to hear of the session after a SHARE. */
static uint32_t
wire_events(uint32_t events)
{
	return events | 1u << MSG_EVENT_SESSION_UP |
	    1u << MSG_EVENT_SESSION_DOWN | 1u << MSG_EVENT_PARAMETERS |
	    1u << MSG_EVENT_CLOSED;
}

/* A text for the wire: not empty, not too long, printable. */
static bool
text_ok(const char *text, size_t max)
{
	size_t i;

	if (text == NULL || text[0] == '\0')
		return false;
	for (i = 0; text[i] != '\0'; i++)
		if (i >= max || text[i] < ' ' || text[i] > '~')
			return false;
	return true;
}

int
iscsimux_open(struct iscsimux *h, const struct iscsimux_open *o,
    iscsimux_status_fn *done, void *cookie)
{
	struct msg_open m = { .timeout = o->timeout_ms,
	    .deadline = o->deadline_ms, .events = wire_events(o->events) };
	struct lib_slot *slot;
	int error;

	if (done == NULL || !text_ok(o->portal, MSG_PORTAL_MAX) ||
	    (o->events & ~ISCSIMUX_EVENTS_ALL) != 0)
		return -EINVAL;
	slot = start(h, FRAME_OPEN, cookie, &error);
	if (slot == NULL)
		return error;
	strlcpy(m.portal, o->portal, sizeof(m.portal));
	h->events = o->events | 1u << MSG_EVENT_CLOSED;
	slot->op->status = done;
	return commit(h, slot, msg_open_encode(&m, slot->op->payload,
	    sizeof(slot->op->payload)));
}

static bool
adopt_ok(const struct iscsimux_adopt *o)
{
	return o->fd >= 0 && o->unread_len <= MSG_UNREAD_MAX &&
	    (o->unread_len == 0 || o->unread != NULL) &&
	    (o->events & ~ISCSIMUX_EVENTS_ALL) == 0 &&
	    (o->params.flags & ~MSG_RAW_ADOPTABLE) == 0;
}

int
iscsimux_adopt(struct iscsimux *h, const struct iscsimux_adopt *o,
    iscsimux_status_fn *done, void *cookie)
{
	struct msg_adopt m = { .deadline = o->deadline_ms,
	    .events = wire_events(o->events),
	    .unread = (uint32_t)o->unread_len };
	struct lib_slot *slot;
	int error;

	if (done == NULL || !adopt_ok(o))
		return -EINVAL;
	slot = start(h, FRAME_ADOPT, cookie, &error);
	if (slot == NULL)
		return error;
	slot->op->fd = fcntl(o->fd, F_DUPFD_CLOEXEC, 0);
	if (slot->op->fd == -1) {
		error = -errno;
		lib_slot_release(h, slot);
		return error;
	}
	wire_params(&o->params, &m.params);
	h->events = o->events | 1u << MSG_EVENT_CLOSED;
	slot->op->status = done;
	/* It is only read from; iovec has no const. */
	lib_buffer_set(&slot->buf, (void *)(uintptr_t)o->unread,
	    (uint32_t)o->unread_len);
	return commit(h, slot, msg_adopt_encode(&m, slot->op->payload,
	    sizeof(slot->op->payload)));
}

int
iscsimux_set(struct iscsimux *h, const struct iscsimux_set *s,
    iscsimux_status_fn *done, void *cookie)
{
	const struct msg_set m = { .mask = s->mask, .flags = s->flags,
	    .recv_dsl = s->recv_dsl, .send_dsl = s->send_dsl,
	    .read_deadline = s->read_deadline_ms,
	    .write_deadline = s->write_deadline_ms };
	struct lib_slot *slot;
	int error;

	if (done == NULL || (s->mask & ~MSG_RAW_SET_MASK) != 0 ||
	    (s->flags & ~(s->mask & MSG_RAW_SETTABLE)) != 0 ||
	    s->recv_dsl > ISCSI_DSL_MAX || s->send_dsl > ISCSI_DSL_MAX)
		return -EINVAL;
	slot = start(h, FRAME_SET, cookie, &error);
	if (slot == NULL)
		return error;
	slot->op->status = done;
	return commit(h, slot, msg_set_encode(&m, slot->op->payload,
	    sizeof(slot->op->payload)));
}

/* A request without fields that is answered by STATE. */
static int
ask_state(struct iscsimux *h, uint16_t type, iscsimux_state_fn *done,
    void *cookie)
{
	struct lib_slot *slot;
	int error;

	if (done == NULL)
		return -EINVAL;
	slot = start(h, type, cookie, &error);
	if (slot == NULL)
		return error;
	slot->op->state = done;
	return commit(h, slot, 0);
}

int
iscsimux_get_state(struct iscsimux *h, iscsimux_state_fn *done, void *cookie)
{
	return ask_state(h, FRAME_GET, done, cookie);
}

int
iscsimux_unshare(struct iscsimux *h, iscsimux_state_fn *done, void *cookie)
{
	return ask_state(h, FRAME_UNSHARE, done, cookie);
}

int
iscsimux_export(struct iscsimux *h, iscsimux_export_fn *done, void *cookie)
{
	struct lib_slot *slot;
	int error;

	if (done == NULL)
		return -EINVAL;
	slot = start(h, FRAME_EXPORT, cookie, &error);
	if (slot == NULL)
		return error;
	slot->op->exported = done;
	return commit(h, slot, 0);
}

int
iscsimux_share(struct iscsimux *h, const char *session,
    iscsimux_status_fn *done, void *cookie)
{
	struct lib_slot *slot;
	struct msg_share m;
	int error;

	if (done == NULL || !text_ok(session, MSG_NAME_MAX))
		return -EINVAL;
	slot = start(h, FRAME_SHARE, cookie, &error);
	if (slot == NULL)
		return error;
	strlcpy(m.session, session, sizeof(m.session));
	slot->op->status = done;
	return commit(h, slot, msg_share_encode(&m, slot->op->payload,
	    sizeof(slot->op->payload)));
}

int
iscsimux_close_raw(struct iscsimux *h, iscsimux_status_fn *done, void *cookie)
{
	struct lib_slot *slot;
	int error;

	if (done == NULL)
		return -EINVAL;
	slot = start(h, FRAME_CLOSE, cookie, &error);
	if (slot == NULL)
		return error;
	slot->op->status = done;
	return commit(h, slot, 0);
}

bool
iscsimux_is_raw(const struct iscsimux *h)
{
	return h->state == LIB_ON_RAW;
}

/* --- frames --- */

/* The first has the descriptor; the others are nothing but the stream. */
static bool
make_adopt(struct iscsimux *h, struct lib_slot *slot)
{
	struct lib_op *op = slot->op;
	bool first = op->fd != -1;
	size_t head = first ? op->len : 0;
	uint32_t n = MIN(slot->buf.len - op->have,
	    first ? ADOPT_FIRST : FRAME_PAYLOAD_SMALL);
	bool whole = op->have + n == slot->buf.len;
	uint16_t flags = (uint16_t)((whole ? 0u : FRAME_F_MORE) |
	    (first ? FRAME_F_FD : 0u));
	uint8_t *p;

	p = first ? lib_out_stage_fd(h, FRAME_HEADER_LEN + head + n, op->fd) :
	    lib_out_stage(h, FRAME_HEADER_LEN);
	lib_frame_header(p, FRAME_ADOPT, flags, lib_slot_cookie(slot),
	    head + n);
	if (first) {
		op->fd = -1;
		memcpy(p + FRAME_HEADER_LEN, op->payload, head);
		if (n > 0)
			memcpy(p + FRAME_HEADER_LEN + head,
			    slot->buf.one.iov_base, n);
	} else if (!lib_out_gather(h, slot, &slot->buf, op->have, n))
		h->out.error = -ENOMEM;
	op->have += n;
	return whole;
}

bool
lib_op_make(struct iscsimux *h, struct lib_slot *slot)
{
	const struct lib_op *op = slot->op;
	uint8_t *p;

	if (op->type == FRAME_ADOPT)
		return make_adopt(h, slot);
	p = lib_out_stage(h, FRAME_HEADER_LEN + op->len);
	lib_frame_header(p, op->type, 0, lib_slot_cookie(slot), op->len);
	memcpy(p + FRAME_HEADER_LEN, op->payload, op->len);
	return true;
}

/* --- ends --- */

struct lib_slot *
lib_op_find(struct iscsimux *h, uint64_t cookie, uint16_t type)
{
	struct lib_slot *slot = lib_slot_find(h, cookie);

	return slot != NULL && slot->kind == LIB_OP && slot->op->type == type ?
	    slot : NULL;
}

void
lib_op_fail(struct iscsimux *h, struct lib_slot *slot, int error)
{
	struct lib_op op = *slot->op;
	void *cookie = slot->cookie;

	lib_slot_release(h, slot);
	h->calls++;
	if (op.status != NULL)
		op.status(h, cookie, error);
	else if (op.state != NULL)
		op.state(h, cookie, error, NULL);
	else
		op.exported(h, cookie, error, NULL);
}

static int
done(struct iscsimux *h, struct lib_slot *slot)
{
	uint32_t conn = h->conn;

	lib_op_fail(h, slot, 0);
	return lib_alive(h, conn) ? 0 : LIB_GONE;
}

int
lib_op_ok(struct iscsimux *h, struct lib_slot *slot)
{
	int r;

	switch (slot->op->type) {
	case FRAME_OPEN:
	case FRAME_ADOPT:
		h->state = LIB_ON_RAW;
		break;
	case FRAME_CLOSE:
		r = lib_raw_ended(h);
		if (r != 0)
			return r;
		break;
	case FRAME_SET:
		break;
	default:
		return -EBADMSG;	/* has an answer of its own */
	}
	return done(h, slot);
}

int
lib_op_shared(struct iscsimux *h, struct lib_slot *slot)
{
	h->state = LIB_ATTACHED;
	return done(h, slot);
}

int
lib_op_error(struct iscsimux *h, struct lib_slot *slot,
    const struct msg_error *e)
{
	int error = lib_reason_errno(e->reason);
	uint32_t conn = h->conn;

	/* It had ended by itself: what was asked for is so. */
	if (slot->op->type == FRAME_CLOSE && e->reason == MSG_R_BAD_STATE)
		return done(h, slot);
	lib_set_error(h, e->reason, e->text);
	lib_op_fail(h, slot, error != 0 ? error : -EPROTO);
	return lib_alive(h, conn) ? 0 : LIB_GONE;
}

int
lib_op_state(struct iscsimux *h, struct lib_slot *slot,
    const uint8_t *payload, size_t len)
{
	iscsimux_state_fn *state = slot->op->state;
	void *cookie = slot->cookie;
	struct iscsimux_raw_state s;
	uint32_t conn = h->conn;
	struct msg_state m;

	if (msg_state_decode(payload, len, &m) != 0)
		return -EBADMSG;
	if (slot->op->type == FRAME_UNSHARE)
		h->state = LIB_ON_RAW;
	lib_op_params(&m.params, &s.params);
	s.read_deadline_ms = m.read_deadline;
	s.write_deadline_ms = m.write_deadline;
	s.bytes_in = m.bytes_in;
	s.bytes_out = m.bytes_out;
	s.pdus_in = m.pdus_in;
	s.pdus_out = m.pdus_out;
	s.pending = m.pending;
	s.live = m.live;
	s.unsent = m.unsent;
	strlcpy(s.local, m.local, sizeof(s.local));
	strlcpy(s.peer, m.peer, sizeof(s.peer));
	lib_slot_release(h, slot);
	h->calls++;
	state(h, cookie, 0, &s);
	return lib_alive(h, conn) ? 0 : LIB_GONE;
}

int
lib_op_unsupported(struct iscsimux *h)
{
	uint32_t conn = h->conn;
	struct lib_slot *slot;

	for (;;) {
		TAILQ_FOREACH(slot, &h->open, entry)
			if (slot->kind == LIB_OP)
				break;
		if (slot == NULL)
			return 0;
		lib_set_error(h, MSG_R_NOT_SUPPORTED,
		    "this daemon has no raw connections");
		lib_op_fail(h, slot, -EOPNOTSUPP);
		if (!lib_alive(h, conn))
			return LIB_GONE;
	}
}
