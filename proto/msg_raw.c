/* SPDX-License-Identifier: ISC */
/*
 * The payloads of the frames of raw connections, field by field in the order
 * PROTOCOL.md draws them.  What a message makes the receiver do is not known
 * here.
 */
#include "config.h"

#include <errno.h>
#include <string.h>

#include "proto/iscsi.h"
#include "proto/msg_raw.h"
#include "proto/wire.h"

static void
params_put(struct wire_writer *w, const struct msg_raw_params *m)
{
	wire_put_u8(w, m->phase);
	wire_put_u32(w, m->flags);
	wire_put_u32(w, m->recv_dsl);
	wire_put_u32(w, m->send_dsl);
	wire_put_u32(w, m->max_burst);
	wire_put_u32(w, m->first_burst);
	wire_put_u32(w, m->max_r2t);
	wire_put_u32(w, m->cmdsn);
	wire_put_u32(w, m->exp_cmdsn);
	wire_put_u32(w, m->max_cmdsn);
	wire_put_u32(w, m->exp_statsn);
	for (size_t i = 0; i < sizeof(m->isid); i++)
		wire_put_u8(w, m->isid[i]);
	wire_put_u16(w, m->tsih);
	wire_put_string(w, m->target, MSG_TARGET_MAX);
}

/* Lengths of data segments have 24 bits. */
static bool
dsl_ok(uint32_t len)
{
	return len <= ISCSI_DSL_MAX;
}

static void
params_get(struct wire_reader *r, struct msg_raw_params *m)
{
	m->phase = wire_get_u8(r);
	m->flags = wire_get_u32(r);
	m->recv_dsl = wire_get_u32(r);
	m->send_dsl = wire_get_u32(r);
	m->max_burst = wire_get_u32(r);
	m->first_burst = wire_get_u32(r);
	m->max_r2t = wire_get_u32(r);
	m->cmdsn = wire_get_u32(r);
	m->exp_cmdsn = wire_get_u32(r);
	m->max_cmdsn = wire_get_u32(r);
	m->exp_statsn = wire_get_u32(r);
	for (size_t i = 0; i < sizeof(m->isid); i++)
		m->isid[i] = wire_get_u8(r);
	m->tsih = wire_get_u16(r);
	wire_get_string(r, m->target, MSG_TARGET_MAX);
	if (m->phase > MSG_RAW_FULL_FEATURE || !dsl_ok(m->recv_dsl) ||
	    !dsl_ok(m->send_dsl) || !dsl_ok(m->max_burst) ||
	    !dsl_ok(m->first_burst) || m->max_r2t > UINT16_MAX)
		r->bad = true;
}

/* The length of the fields in front of the bytes of a stream. */
static int
fields_end(const struct wire_reader *r, uint32_t unread)
{
	if (r->bad || unread > MSG_UNREAD_MAX || r->len - r->pos > unread)
		return -EBADMSG;
	return (int)r->pos;
}

int
msg_open_encode(const struct msg_open *m, uint8_t *buf, size_t size)
{
	struct wire_writer w;

	wire_writer_init(&w, buf, size);
	wire_put_u32(&w, m->timeout);
	wire_put_u32(&w, m->deadline);
	wire_put_u32(&w, m->events);
	wire_put_string(&w, m->portal, MSG_PORTAL_MAX);
	return wire_length(&w);
}

int
msg_open_decode(const uint8_t *buf, size_t len, struct msg_open *m)
{
	struct wire_reader r;

	memset(m, 0, sizeof(*m));
	wire_reader_init(&r, buf, len);
	m->timeout = wire_get_u32(&r);
	m->deadline = wire_get_u32(&r);
	m->events = wire_get_u32(&r);
	wire_get_string(&r, m->portal, MSG_PORTAL_MAX);
	return wire_finish(&r);
}

int
msg_adopt_encode(const struct msg_adopt *m, uint8_t *buf, size_t size)
{
	struct wire_writer w;

	wire_writer_init(&w, buf, size);
	wire_put_u32(&w, m->deadline);
	wire_put_u32(&w, m->events);
	params_put(&w, &m->params);
	wire_put_u32(&w, m->unread);
	return wire_length(&w);
}

int
msg_adopt_decode(const uint8_t *buf, size_t len, struct msg_adopt *m)
{
	struct wire_reader r;

	memset(m, 0, sizeof(*m));
	wire_reader_init(&r, buf, len);
	m->deadline = wire_get_u32(&r);
	m->events = wire_get_u32(&r);
	params_get(&r, &m->params);
	m->unread = wire_get_u32(&r);
	if ((m->params.flags & ~MSG_RAW_ADOPTABLE) != 0)
		return -EBADMSG;
	return fields_end(&r, m->unread);
}

int
msg_set_encode(const struct msg_set *m, uint8_t *buf, size_t size)
{
	struct wire_writer w;

	wire_writer_init(&w, buf, size);
	wire_put_u32(&w, m->mask);
	wire_put_u32(&w, m->flags);
	wire_put_u32(&w, m->recv_dsl);
	wire_put_u32(&w, m->send_dsl);
	wire_put_u32(&w, m->read_deadline);
	wire_put_u32(&w, m->write_deadline);
	return wire_length(&w);
}

int
msg_set_decode(const uint8_t *buf, size_t len, struct msg_set *m)
{
	struct wire_reader r;

	memset(m, 0, sizeof(*m));
	wire_reader_init(&r, buf, len);
	m->mask = wire_get_u32(&r);
	m->flags = wire_get_u32(&r);
	m->recv_dsl = wire_get_u32(&r);
	m->send_dsl = wire_get_u32(&r);
	m->read_deadline = wire_get_u32(&r);
	m->write_deadline = wire_get_u32(&r);
	if ((m->mask & ~MSG_RAW_SET_MASK) != 0 ||
	    (m->flags & ~(m->mask & MSG_RAW_SETTABLE)) != 0 ||
	    !dsl_ok(m->recv_dsl) || !dsl_ok(m->send_dsl))
		return -EBADMSG;
	return wire_finish(&r);
}

int
msg_share_encode(const struct msg_share *m, uint8_t *buf, size_t size)
{
	struct wire_writer w;

	wire_writer_init(&w, buf, size);
	wire_put_string(&w, m->session, MSG_NAME_MAX);
	return wire_length(&w);
}

int
msg_share_decode(const uint8_t *buf, size_t len, struct msg_share *m)
{
	struct wire_reader r;

	memset(m, 0, sizeof(*m));
	wire_reader_init(&r, buf, len);
	wire_get_string(&r, m->session, MSG_NAME_MAX);
	return wire_finish(&r);
}

int
msg_state_encode(const struct msg_state *m, uint8_t *buf, size_t size)
{
	struct wire_writer w;

	wire_writer_init(&w, buf, size);
	params_put(&w, &m->params);
	wire_put_u32(&w, m->read_deadline);
	wire_put_u32(&w, m->write_deadline);
	wire_put_u64(&w, m->bytes_in);
	wire_put_u64(&w, m->bytes_out);
	wire_put_u64(&w, m->pdus_in);
	wire_put_u64(&w, m->pdus_out);
	wire_put_u32(&w, m->pending);
	wire_put_u32(&w, m->live);
	wire_put_u64(&w, m->unsent);
	wire_put_string(&w, m->local, MSG_ADDRESS_MAX);
	wire_put_string(&w, m->peer, MSG_ADDRESS_MAX);
	return wire_length(&w);
}

int
msg_state_decode(const uint8_t *buf, size_t len, struct msg_state *m)
{
	struct wire_reader r;

	memset(m, 0, sizeof(*m));
	wire_reader_init(&r, buf, len);
	params_get(&r, &m->params);
	m->read_deadline = wire_get_u32(&r);
	m->write_deadline = wire_get_u32(&r);
	m->bytes_in = wire_get_u64(&r);
	m->bytes_out = wire_get_u64(&r);
	m->pdus_in = wire_get_u64(&r);
	m->pdus_out = wire_get_u64(&r);
	m->pending = wire_get_u32(&r);
	m->live = wire_get_u32(&r);
	m->unsent = wire_get_u64(&r);
	wire_get_string(&r, m->local, MSG_ADDRESS_MAX);
	wire_get_string(&r, m->peer, MSG_ADDRESS_MAX);
	return wire_finish(&r);
}

int
msg_exported_encode(const struct msg_exported *m, uint8_t *buf, size_t size)
{
	struct wire_writer w;

	wire_writer_init(&w, buf, size);
	params_put(&w, &m->params);
	wire_put_u32(&w, m->unread);
	return wire_length(&w);
}

int
msg_exported_decode(const uint8_t *buf, size_t len, struct msg_exported *m)
{
	struct wire_reader r;

	memset(m, 0, sizeof(*m));
	wire_reader_init(&r, buf, len);
	params_get(&r, &m->params);
	m->unread = wire_get_u32(&r);
	return fields_end(&r, m->unread);
}

int
msg_tag_encode(const struct msg_tag *m, uint8_t *buf, size_t size)
{
	struct wire_writer w;

	wire_writer_init(&w, buf, size);
	wire_put_u32(&w, m->itt);
	return wire_length(&w);
}

int
msg_tag_decode(const uint8_t *buf, size_t len, struct msg_tag *m)
{
	struct wire_reader r;

	memset(m, 0, sizeof(*m));
	wire_reader_init(&r, buf, len);
	m->itt = wire_get_u32(&r);
	return wire_finish(&r);
}
