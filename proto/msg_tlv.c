/* SPDX-License-Identifier: ISC */
/*
 * The TLVs that follow the data segment of a SUBMIT or a PDU, and payloads
 * that are nothing but TLVs.  What an option makes the receiver do is not
 * known here.
 */
#include "config.h"

#include <errno.h>
#include <string.h>

#include "proto/msg.h"
#include "proto/wire.h"

#define DIGESTS_HEADER	0x01
#define DIGESTS_DATA	0x02
#define DIGESTS_LEN	9

static void
put_bytes(struct wire_writer *w, const uint8_t *bytes, size_t n)
{
	while (n-- > 0)
		wire_put_u8(w, *bytes++);
}

static void
digests_put(struct wire_writer *w, const struct msg_digests *d)
{
	wire_put_u16(w, MSG_TLV_DIGESTS);
	wire_put_u16(w, DIGESTS_LEN);
	wire_put_u8(w, (d->header ? DIGESTS_HEADER : 0) |
	    (d->data ? DIGESTS_DATA : 0));
	put_bytes(w, d->header_word, sizeof(d->header_word));
	put_bytes(w, d->data_word, sizeof(d->data_word));
}

static bool
digests_get(const uint8_t *value, uint16_t len, struct msg_digests *d)
{
	if (len != DIGESTS_LEN ||
	    (value[0] & ~(DIGESTS_HEADER | DIGESTS_DATA)) != 0)
		return false;
	d->header = (value[0] & DIGESTS_HEADER) != 0;
	d->data = (value[0] & DIGESTS_DATA) != 0;
	memcpy(d->header_word, value + 1, sizeof(d->header_word));
	memcpy(d->data_word, value + 5, sizeof(d->data_word));
	return true;
}

int
msg_submit_tlv_encode(const struct msg_submit_options *o, bool with_deadline,
    uint8_t *buf, size_t size)
{
	struct wire_writer w;

	wire_writer_init(&w, buf, size);
	if (with_deadline) {
		wire_put_u16(&w, MSG_TLV_DEADLINE);
		wire_put_u16(&w, sizeof(o->deadline));
		wire_put_u32(&w, o->deadline);
	}
	if (o->expect != MSG_EXPECT_AUTO) {
		wire_put_u16(&w, MSG_TLV_EXPECT);
		wire_put_u16(&w, sizeof(o->expect));
		wire_put_u8(&w, o->expect);
	}
	if (o->free_itt) {
		wire_put_u16(&w, MSG_TLV_FREE_ITT);
		wire_put_u16(&w, 0);
	}
	if (o->digests.header || o->digests.data)
		digests_put(&w, &o->digests);
	return wire_length(&w);
}

/* One TLV of a SUBMIT; false if it is bad. */
static bool
submit_tlv_take(uint16_t type, const uint8_t *value, uint16_t len,
    struct msg_submit_options *o)
{
	struct wire_reader v;

	wire_reader_init(&v, value, len);
	switch (type) {
	case MSG_TLV_DEADLINE:
		o->deadline = wire_get_u32(&v);
		return len == sizeof(o->deadline);
	case MSG_TLV_EXPECT:
		o->expect = wire_get_u8(&v);
		return len == sizeof(o->expect) &&
		    o->expect >= MSG_EXPECT_NONE &&
		    o->expect <= MSG_EXPECT_MANY;
	case MSG_TLV_FREE_ITT:
		o->free_itt = true;
		return len == 0;
	case MSG_TLV_DIGESTS:
		return digests_get(value, len, &o->digests);
	default:
		return false;
	}
}

int
msg_submit_tlv_decode(const uint8_t *buf, size_t len,
    struct msg_submit_options *o)
{
	struct msg_submit_options given = *o;
	struct wire_reader r;
	const uint8_t *value;
	uint16_t type, vlen;
	unsigned seen = 0;

	wire_reader_init(&r, buf, len);
	while (wire_get_tlv(&r, &type, &value, &vlen)) {
		if ((type & MSG_TLV_IGNORABLE) != 0)
			continue;
		if (type > MSG_TLV_DIGESTS || (seen & 1u << type) != 0 ||
		    !submit_tlv_take(type, value, vlen, &given))
			return -EBADMSG;
		seen |= 1u << type;
	}
	if (r.bad)
		return -EBADMSG;
	*o = given;
	return 0;
}

int
msg_pdu_tlv_encode(const struct msg_digests *d, uint8_t *buf, size_t size)
{
	struct wire_writer w;

	wire_writer_init(&w, buf, size);
	digests_put(&w, d);
	return wire_length(&w);
}

int
msg_pdu_tlv_decode(const uint8_t *buf, size_t len, struct msg_digests *d)
{
	struct wire_reader r;
	const uint8_t *value;
	uint16_t type, vlen;
	bool seen = false;

	wire_reader_init(&r, buf, len);
	while (wire_get_tlv(&r, &type, &value, &vlen)) {
		if ((type & MSG_TLV_IGNORABLE) != 0)
			continue;
		if (type != MSG_TLV_DIGESTS || seen ||
		    !digests_get(value, vlen, d))
			return -EBADMSG;
		seen = true;
	}
	return r.bad ? -EBADMSG : 0;
}

int
msg_tlv_check(const uint8_t *buf, size_t len)
{
	struct wire_reader r;

	wire_reader_init(&r, buf, len);
	return wire_finish(&r);
}
