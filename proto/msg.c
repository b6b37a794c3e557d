/* SPDX-License-Identifier: ISC */
/*
 * The payloads of the frames, field by field in the order PROTOCOL.md draws
 * them, and the names of their numbers.  What a message makes the receiver do
 * is not known here.
 */
#include "config.h"

#include <errno.h>
#include <string.h>

#include "proto/msg.h"
#include "proto/wire.h"

#define ATTACH_FLAGS	(MSG_ATTACH_EXCLUSIVE | MSG_ATTACH_HOLD)

int
msg_hello_encode(const struct msg_hello *m, uint8_t *buf, size_t size)
{
	struct wire_writer w;

	wire_writer_init(&w, buf, size);
	wire_put_u32(&w, MSG_MAGIC);
	wire_put_u16(&w, m->version_min);
	wire_put_u16(&w, m->version_max);
	wire_put_u64(&w, m->features);
	wire_put_string(&w, m->name, MSG_NAME_MAX);
	return wire_length(&w);
}

int
msg_hello_decode(const uint8_t *buf, size_t len, struct msg_hello *m)
{
	struct wire_reader r;

	memset(m, 0, sizeof(*m));
	wire_reader_init(&r, buf, len);
	if (wire_get_u32(&r) != MSG_MAGIC)
		return -EBADMSG;
	m->version_min = wire_get_u16(&r);
	m->version_max = wire_get_u16(&r);
	m->features = wire_get_u64(&r);
	wire_get_string(&r, m->name, MSG_NAME_MAX);
	if (m->version_min > m->version_max)
		return -EBADMSG;
	return wire_finish(&r);
}

int
msg_welcome_encode(const struct msg_welcome *m, uint8_t *buf, size_t size)
{
	struct wire_writer w;

	wire_writer_init(&w, buf, size);
	wire_put_u16(&w, m->version);
	wire_put_u64(&w, m->features);
	wire_put_u32(&w, m->payload_max);
	wire_put_u32(&w, m->data_max);
	wire_put_u32(&w, m->tasks_max);
	wire_put_string(&w, m->daemon, MSG_NAME_MAX);
	return wire_length(&w);
}

int
msg_welcome_decode(const uint8_t *buf, size_t len, struct msg_welcome *m)
{
	struct wire_reader r;

	memset(m, 0, sizeof(*m));
	wire_reader_init(&r, buf, len);
	m->version = wire_get_u16(&r);
	m->features = wire_get_u64(&r);
	m->payload_max = wire_get_u32(&r);
	m->data_max = wire_get_u32(&r);
	m->tasks_max = wire_get_u32(&r);
	wire_get_string(&r, m->daemon, MSG_NAME_MAX);
	return wire_finish(&r);
}

int
msg_attach_encode(const struct msg_attach *m, uint8_t *buf, size_t size)
{
	struct wire_writer w;

	wire_writer_init(&w, buf, size);
	wire_put_u32(&w, m->access);
	wire_put_u32(&w, m->flags);
	wire_put_u32(&w, m->deadline);
	wire_put_u32(&w, m->events);
	wire_put_string(&w, m->session, MSG_TARGET_MAX);
	return wire_length(&w);
}

int
msg_attach_decode(const uint8_t *buf, size_t len, struct msg_attach *m)
{
	struct wire_reader r;

	memset(m, 0, sizeof(*m));
	wire_reader_init(&r, buf, len);
	m->access = wire_get_u32(&r);
	m->flags = wire_get_u32(&r);
	m->deadline = wire_get_u32(&r);
	m->events = wire_get_u32(&r);
	wire_get_string(&r, m->session, MSG_TARGET_MAX);
	if ((m->access & ~(uint32_t)MSG_ACCESS_ALL) != 0 ||
	    (m->flags & ~(uint32_t)ATTACH_FLAGS) != 0)
		return -EBADMSG;
	return wire_finish(&r);
}

static void
params_put(struct wire_writer *w, const struct msg_params *m)
{
	wire_put_u32(w, m->generation);
	wire_put_u32(w, m->flags);
	wire_put_u32(w, m->send_dsl);
	wire_put_u32(w, m->recv_dsl);
	wire_put_u32(w, m->max_burst);
	wire_put_u32(w, m->first_burst);
	wire_put_u32(w, m->max_r2t);
}

static void
params_get(struct wire_reader *r, struct msg_params *m)
{
	m->generation = wire_get_u32(r);
	m->flags = wire_get_u32(r);
	m->send_dsl = wire_get_u32(r);
	m->recv_dsl = wire_get_u32(r);
	m->max_burst = wire_get_u32(r);
	m->first_burst = wire_get_u32(r);
	m->max_r2t = wire_get_u32(r);
}

int
msg_attached_encode(const struct msg_attached *m, uint8_t *buf, size_t size)
{
	struct wire_writer w;

	wire_writer_init(&w, buf, size);
	wire_put_u8(&w, m->state);
	wire_put_u32(&w, m->access);
	wire_put_u32(&w, m->tasks_max);
	wire_put_u64(&w, m->inbound_max);
	wire_put_u64(&w, m->outbound_max);
	params_put(&w, &m->params);
	return wire_length(&w);
}

int
msg_attached_decode(const uint8_t *buf, size_t len, struct msg_attached *m)
{
	struct wire_reader r;

	memset(m, 0, sizeof(*m));
	wire_reader_init(&r, buf, len);
	m->state = wire_get_u8(&r);
	m->access = wire_get_u32(&r);
	m->tasks_max = wire_get_u32(&r);
	m->inbound_max = wire_get_u64(&r);
	m->outbound_max = wire_get_u64(&r);
	params_get(&r, &m->params);
	return wire_finish(&r);
}

int
msg_cancel_encode(const struct msg_cancel *m, uint8_t *buf, size_t size)
{
	struct wire_writer w;

	wire_writer_init(&w, buf, size);
	wire_put_u8(&w, m->by);
	wire_put_u64(&w, m->value);
	return wire_length(&w);
}

int
msg_cancel_decode(const uint8_t *buf, size_t len, struct msg_cancel *m)
{
	struct wire_reader r;

	memset(m, 0, sizeof(*m));
	wire_reader_init(&r, buf, len);
	m->by = wire_get_u8(&r);
	m->value = wire_get_u64(&r);
	if (m->by > MSG_CANCEL_ITT ||
	    (m->by == MSG_CANCEL_ITT && m->value > UINT32_MAX))
		return -EBADMSG;
	return wire_finish(&r);
}

int
msg_outcome_encode(const struct msg_outcome *m, uint8_t *buf, size_t size)
{
	struct wire_writer w;

	wire_writer_init(&w, buf, size);
	wire_put_u8(&w, m->outcome);
	wire_put_u8(&w, m->flags);
	wire_put_u8(&w, m->tmf_response);
	wire_put_u16(&w, m->reason);
	wire_put_u32(&w, m->itt);
	wire_put_string(&w, m->text, MSG_TEXT_MAX);
	return wire_length(&w);
}

int
msg_outcome_decode(const uint8_t *buf, size_t len, struct msg_outcome *m)
{
	struct wire_reader r;

	memset(m, 0, sizeof(*m));
	wire_reader_init(&r, buf, len);
	m->outcome = wire_get_u8(&r);
	m->flags = wire_get_u8(&r);
	m->tmf_response = wire_get_u8(&r);
	m->reason = wire_get_u16(&r);
	m->itt = wire_get_u32(&r);
	wire_get_string(&r, m->text, MSG_TEXT_MAX);
	return wire_finish(&r);
}

int
msg_error_encode(const struct msg_error *m, uint8_t *buf, size_t size)
{
	struct wire_writer w;

	wire_writer_init(&w, buf, size);
	wire_put_u16(&w, m->reason);
	wire_put_u16(&w, m->frame_type);
	wire_put_string(&w, m->text, MSG_TEXT_MAX);
	return wire_length(&w);
}

int
msg_error_decode(const uint8_t *buf, size_t len, struct msg_error *m)
{
	struct wire_reader r;

	memset(m, 0, sizeof(*m));
	wire_reader_init(&r, buf, len);
	m->reason = wire_get_u16(&r);
	m->frame_type = wire_get_u16(&r);
	wire_get_string(&r, m->text, MSG_TEXT_MAX);
	return wire_finish(&r);
}

int
msg_event_encode(const struct msg_event *m, uint8_t *buf, size_t size)
{
	struct wire_writer w;

	wire_writer_init(&w, buf, size);
	wire_put_u8(&w, m->kind);
	wire_put_u32(&w, m->count);
	wire_put_u64(&w, m->lun);
	wire_put_u32(&w, m->code);
	params_put(&w, &m->params);
	wire_put_string(&w, m->text, MSG_TEXT_MAX);
	if (m->kind == MSG_EVENT_CLOSED) {
		wire_put_u16(&w, MSG_TLV_BYTES);
		wire_put_u16(&w, 2 * sizeof(uint64_t));
		wire_put_u64(&w, m->bytes_in);
		wire_put_u64(&w, m->bytes_out);
	}
	return wire_length(&w);
}

/* Byte counts, if they are there. */
static int
event_tlv_decode(struct wire_reader *r, struct msg_event *m)
{
	struct wire_reader v;
	const uint8_t *value;
	uint16_t type, len;

	while (wire_get_tlv(r, &type, &value, &len)) {
		if ((type & MSG_TLV_IGNORABLE) != 0)
			continue;
		if (type != MSG_TLV_BYTES || m->kind != MSG_EVENT_CLOSED ||
		    len != 2 * sizeof(uint64_t))
			return -EBADMSG;
		wire_reader_init(&v, value, len);
		m->bytes_in = wire_get_u64(&v);
		m->bytes_out = wire_get_u64(&v);
	}
	return r->bad ? -EBADMSG : 0;
}

int
msg_event_decode(const uint8_t *buf, size_t len, struct msg_event *m)
{
	struct wire_reader r;

	memset(m, 0, sizeof(*m));
	wire_reader_init(&r, buf, len);
	m->kind = wire_get_u8(&r);
	m->count = wire_get_u32(&r);
	m->lun = wire_get_u64(&r);
	m->code = wire_get_u32(&r);
	params_get(&r, &m->params);
	wire_get_string(&r, m->text, MSG_TEXT_MAX);
	return event_tlv_decode(&r, m);
}

int
msg_goodbye_encode(const struct msg_goodbye *m, uint8_t *buf, size_t size)
{
	struct wire_writer w;

	wire_writer_init(&w, buf, size);
	wire_put_u16(&w, m->reason);
	wire_put_string(&w, m->text, MSG_TEXT_MAX);
	return wire_length(&w);
}

int
msg_goodbye_decode(const uint8_t *buf, size_t len, struct msg_goodbye *m)
{
	struct wire_reader r;

	memset(m, 0, sizeof(*m));
	wire_reader_init(&r, buf, len);
	m->reason = wire_get_u16(&r);
	wire_get_string(&r, m->text, MSG_TEXT_MAX);
	return wire_finish(&r);
}

int
msg_listing_encode(const struct msg_listing_entry *entries, size_t n,
    uint8_t *buf, size_t size, size_t *taken)
{
	struct wire_writer w;
	size_t fits, i;

	*taken = 0;
	wire_writer_init(&w, buf, size);
	wire_put_u16(&w, 0);
	if (w.full)
		return -ENOBUFS;
	if (n > UINT16_MAX)
		n = UINT16_MAX;
	for (i = 0; i < n; i++) {
		fits = w.len;
		wire_put_u8(&w, entries[i].state);
		wire_put_u8(&w, entries[i].flags);
		wire_put_u32(&w, entries[i].access);
		wire_put_string(&w, entries[i].session, MSG_NAME_MAX);
		wire_put_string(&w, entries[i].target, MSG_TARGET_MAX);
		if (w.full) {
			w.len = fits;
			break;
		}
	}
	if (n > 0 && i == 0)
		return -ENOBUFS;
	buf[0] = (uint8_t)(i >> 8);
	buf[1] = (uint8_t)i;
	*taken = i;
	return (int)w.len;
}

int
msg_listing_next(const uint8_t *buf, size_t len, size_t *pos,
    struct msg_listing_entry *entry)
{
	struct wire_reader r;
	size_t at;
	unsigned n;

	wire_reader_init(&r, buf, len);
	/* From the start each time: a position alone does not say how many
	 * entries are left, and a listing is short. */
	for (n = wire_get_u16(&r); n > 0; n--) {
		at = r.pos;
		memset(entry, 0, sizeof(*entry));
		entry->state = wire_get_u8(&r);
		entry->flags = wire_get_u8(&r);
		entry->access = wire_get_u32(&r);
		wire_get_string(&r, entry->session, MSG_NAME_MAX);
		wire_get_string(&r, entry->target, MSG_TARGET_MAX);
		if (r.bad)
			return -EBADMSG;
		if (at >= *pos) {
			*pos = r.pos;
			return 1;
		}
	}
	return wire_finish(&r);
}

const char *
msg_outcome_name(unsigned outcome)
{
	switch (outcome) {
#define X(name, value, text)						\
	case value:							\
		return text;
	MSG_OUTCOMES(X)
#undef X
	default:
		return "unknown";
	}
}

const char *
msg_reason_name(unsigned reason)
{
	switch (reason) {
#define X(name, value, text)						\
	case value:							\
		return text;
	MSG_REASONS(X)
#undef X
	default:
		return "unknown";
	}
}

const char *
msg_event_name(unsigned kind)
{
	static const char *const names[MSG_EVENT_KINDS] = {
		[MSG_EVENT_SESSION_UP] = "session-up",
		[MSG_EVENT_SESSION_DOWN] = "session-down",
		[MSG_EVENT_PARAMETERS] = "parameters",
		[MSG_EVENT_ASYNC] = "async-message",
		[MSG_EVENT_UNIT_ATTENTION] = "unit-attention",
		[MSG_EVENT_RESET] = "reset",
		[MSG_EVENT_LOST] = "events-lost",
		[MSG_EVENT_CLOSED] = "closed",
		[MSG_EVENT_UNSOLICITED] = "unsolicited",
	};

	return kind < MSG_EVENT_KINDS ? names[kind] : "unknown";
}

const char *
msg_state_name(unsigned state)
{
	static const char *const names[] = {
		[MSG_SESSION_DOWN] = "down",
		[MSG_SESSION_CONNECTING] = "connecting",
		[MSG_SESSION_LOGIN] = "login",
		[MSG_SESSION_UP] = "up",
		[MSG_SESSION_LOGOUT] = "logout",
	};

	return state < sizeof(names) / sizeof(names[0]) ? names[state] :
	    "unknown";
}
