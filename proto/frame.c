/* SPDX-License-Identifier: ISC */
/*
 * The frame header, the incremental frame parser and the assembly of a PDU
 * from fragments, as PROTOCOL.md draws them.  It does no I/O and allocates
 * nothing; which frame is legal when is not known here.
 */
#include "config.h"

#include <errno.h>
#include <string.h>

#include "proto/bytes.h"
#include "proto/frame.h"

enum parser_state {
	S_HEADER,
	S_PAYLOAD,
	S_TOO_LONG
};

void
frame_header_put(uint8_t *wire, const struct frame_header *h)
{
	put_be32(wire, h->len);
	put_be16(wire + 4, h->type);
	put_be16(wire + 6, h->flags);
	put_be64(wire + 8, h->cookie);
}

void
frame_header_get(const uint8_t *wire, struct frame_header *h)
{
	h->len = get_be32(wire);
	h->type = get_be16(wire + 4);
	h->flags = get_be16(wire + 6);
	h->cookie = get_be64(wire + 8);
}

const char *
frame_type_name(uint16_t type)
{
	switch (type) {
#define X(name, value)							\
	case value:							\
		return #name;
	FRAME_TYPES(X)
#undef X
	default:
		return "unknown";
	}
}

uint16_t
frame_flags_allowed(uint16_t type)
{
	switch (type) {
	case FRAME_SUBMIT:
		return FRAME_F_MORE | FRAME_F_VOID | FRAME_F_TLV;
	case FRAME_PDU:
		return FRAME_F_MORE | FRAME_F_VOID | FRAME_F_SYNTHETIC |
		    FRAME_F_UNMATCHED | FRAME_F_TLV;
	case FRAME_LISTING:
		return FRAME_F_MORE;
	case FRAME_ADOPT:
	case FRAME_EXPORTED:
		return FRAME_F_MORE | FRAME_F_FD;
	case FRAME_ERROR:
		return FRAME_F_FATAL;
	default:
		return 0;
	}
}

void
frame_parser_init(struct frame_parser *p, uint32_t limit)
{
	memset(p, 0, sizeof(*p));
	p->limit = limit;
	p->state = S_HEADER;
}

void
frame_parser_set_limit(struct frame_parser *p, uint32_t limit)
{
	p->limit = limit;
}

bool
frame_parser_in_header(const struct frame_parser *p)
{
	return p->state == S_HEADER && p->have > 0;
}

bool
frame_parser_at_boundary(const struct frame_parser *p)
{
	return p->state == S_HEADER && p->have == 0;
}

static size_t
feed_header(struct frame_parser *p, const uint8_t *buf, size_t len,
    struct frame_event *ev)
{
	size_t n = FRAME_HEADER_LEN - (size_t)p->have;

	if (n > len)
		n = len;
	if (n > 0)
		memcpy(p->wire + p->have, buf, n);
	p->have = (uint8_t)(p->have + n);
	if (p->have < FRAME_HEADER_LEN)
		return n;
	p->have = 0;
	frame_header_get(p->wire, &p->header);
	if (p->header.len > p->limit) {
		p->state = S_TOO_LONG;
		ev->kind = FRAME_EV_TOO_LONG;
		return n;
	}
	p->left = p->header.len;
	p->state = S_PAYLOAD;
	ev->kind = FRAME_EV_HEADER;
	return n;
}

static size_t
feed_payload(struct frame_parser *p, const uint8_t *buf, size_t len,
    struct frame_event *ev)
{
	if (p->left == 0) {
		p->state = S_HEADER;
		ev->kind = FRAME_EV_END;
		return 0;
	}
	if (len > p->left)
		len = p->left;
	if (len == 0)
		return 0;
	p->left -= (uint32_t)len;
	ev->kind = FRAME_EV_PAYLOAD;
	ev->data = buf;
	ev->len = len;
	return len;
}

size_t
frame_parser_feed(struct frame_parser *p, const uint8_t *buf, size_t len,
    struct frame_event *ev)
{
	ev->kind = FRAME_EV_MORE;
	ev->data = NULL;
	ev->len = 0;
	switch ((enum parser_state)p->state) {
	case S_HEADER:
		return feed_header(p, buf, len, ev);
	case S_PAYLOAD:
		return feed_payload(p, buf, len, ev);
	case S_TOO_LONG:
		break;
	}
	ev->kind = FRAME_EV_TOO_LONG;
	return 0;
}

void
frame_pdu_init(struct frame_pdu *a)
{
	memset(a, 0, sizeof(*a));
}

void
frame_pdu_begin(struct frame_pdu *a, uint16_t flags)
{
	a->frame_data = 0;
	a->tlv = (flags & FRAME_F_TLV) != 0;
}

static size_t
feed_head(struct frame_pdu *a, const uint8_t *buf, size_t len,
    struct frame_pdu_event *ev)
{
	size_t used = 0;
	size_t n;

	if (a->have < ISCSI_BHS_LEN) {
		n = ISCSI_BHS_LEN - a->have;
		if (n > len)
			n = len;
		memcpy(a->bhs + a->have, buf, n);
		a->have += (uint32_t)n;
		used = n;
		if (a->have < ISCSI_BHS_LEN)
			return used;
		a->head = ISCSI_BHS_LEN + iscsi_ahs_len(a->bhs);
		a->total = a->head + iscsi_dsl(a->bhs);
	}
	n = a->head - a->have;
	if (n > len - used)
		n = len - used;
	if (n > 0)
		memcpy(a->ahs + (a->have - ISCSI_BHS_LEN), buf + used, n);
	a->have += (uint32_t)n;
	if (a->have == a->head)
		ev->kind = FRAME_PDU_HEAD;
	return used + n;
}

/* All bytes of BHS, AHS and data have been seen; here are `len` more. */
static size_t
feed_tail(struct frame_pdu *a, const uint8_t *buf, size_t len,
    struct frame_pdu_event *ev)
{
	size_t seen = a->have - a->total;
	size_t n = 0;

	if (a->tlv && seen < FRAME_TLV_MAX)
		n = FRAME_TLV_MAX - seen;
	if (n == 0) {
		a->have = UINT32_MAX;
		ev->kind = FRAME_PDU_BAD;
		return len;
	}
	if (n > len)
		n = len;
	a->have += (uint32_t)n;
	ev->kind = FRAME_PDU_TLV;
	ev->data = buf;
	ev->len = n;
	return n;
}

size_t
frame_pdu_feed(struct frame_pdu *a, const uint8_t *buf, size_t len,
    struct frame_pdu_event *ev)
{
	ev->kind = FRAME_PDU_MORE;
	ev->data = NULL;
	ev->len = 0;
	if (len == 0)
		return 0;
	if (a->have < ISCSI_BHS_LEN || a->have < a->head)
		return feed_head(a, buf, len, ev);
	if (a->have >= a->total)
		return feed_tail(a, buf, len, ev);
	if (len > a->total - a->have)
		len = a->total - a->have;
	a->have += (uint32_t)len;
	a->frame_data += (uint32_t)len;
	ev->kind = FRAME_PDU_DATA;
	ev->data = buf;
	ev->len = len;
	return len;
}

int
frame_pdu_end(struct frame_pdu *a, uint16_t flags)
{
	bool more = (flags & FRAME_F_MORE) != 0;
	bool isvoid = (flags & FRAME_F_VOID) != 0;

	if (a->have < ISCSI_BHS_LEN || a->have < a->head ||
	    a->frame_data > FRAME_DATA_MAX)
		return -EBADMSG;
	if (a->have > a->total &&
	    (!a->tlv || a->have - a->total > FRAME_TLV_MAX))
		return -EBADMSG;
	if (isvoid)
		return more || a->tlv ? -EBADMSG : 0;
	if (!more)
		return a->have >= a->total ? 0 : -EBADMSG;
	if (a->tlv || a->have >= a->total || a->frame_data == 0)
		return -EBADMSG;
	return 1;
}
