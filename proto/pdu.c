/* SPDX-License-Identifier: ISC */
/*
 * The incremental PDU parser.  It works on the caller's memory, allocates
 * nothing and does no I/O; what a PDU means beyond its framing is not known
 * here.
 */
#include "config.h"

#include <string.h>

#include "proto/pdu.h"

enum parser_state {
	S_BHS,
	S_AHS,
	S_HEADER_DIGEST,
	S_HEADER_READY,
	S_DATA,
	S_PAD,
	S_DATA_DIGEST,
	S_END,
	S_ERROR
};

/* What is left of the input of one feed. */
struct cursor {
	const uint8_t	*p;
	size_t		 len;
};

void
pdu_parser_init(struct pdu_parser *p, enum pdu_sender sender,
    const struct pdu_framing *framing)
{
	memset(p, 0, sizeof(*p));
	p->framing = *framing;
	p->next_framing = *framing;
	p->sender = sender;
	p->state = S_BHS;
	p->error = PDU_OK;
	p->need = ISCSI_BHS_LEN;
}

void
pdu_parser_set_framing(struct pdu_parser *p,
    const struct pdu_framing *framing)
{
	p->next_framing = *framing;
}

enum pdu_error
pdu_parser_error(const struct pdu_parser *p)
{
	return p->error;
}

bool
pdu_parser_at_boundary(const struct pdu_parser *p)
{
	return p->state == S_BHS && p->have == 0;
}

const char *
pdu_error_name(enum pdu_error error)
{
	switch (error) {
	case PDU_OK:
		return "no error";
	case PDU_E_DSL:
		return "DataSegmentLength above the limit";
	case PDU_E_AHS:
		return "bad Additional Header Segment";
	case PDU_E_OPCODE:
		return "opcode not allowed from this side";
	case PDU_E_HEADER_DIGEST:
		return "header digest error";
	case PDU_E_DATA_DIGEST:
		return "data digest error";
	}
	return "unknown error";
}

static void
enter(struct pdu_parser *p, enum parser_state state, uint32_t need)
{
	p->state = (uint8_t)state;
	p->have = 0;
	p->need = need;
}

static void
fail(struct pdu_parser *p, enum pdu_error error)
{
	p->state = S_ERROR;
	p->error = error;
}

/* Copy input into the current part; true when the part is complete. */
static bool
gather(struct pdu_parser *p, struct cursor *in, uint8_t *part)
{
	size_t n = p->need - p->have;

	if (n > in->len)
		n = in->len;
	if (n > 0) {
		memcpy(part + p->have, in->p, n);
		in->p += n;
		in->len -= n;
		p->have += (uint32_t)n;
	}
	return p->have == p->need;
}

/*
 * Opcodes that RFC 7143 section 11.2.1.2 leaves to vendors are framed like
 * all others; what to do with them is decided above.
 */
static bool
opcode_ok(enum pdu_sender sender, uint8_t opcode)
{
	bool vendor = (opcode & 0x1f) >= 0x1c && (opcode & 0x1f) <= 0x1e;

	if (sender == PDU_FROM_ANYONE)
		return true;
	if (iscsi_from_target(opcode) != (sender == PDU_FROM_TARGET))
		return false;
	return vendor || (iscsi_opcode_traits(opcode) & ISCSI_T_KNOWN) != 0;
}

/*
 * What the BHS claims.  A stray AHS from a target is harmless, for it is
 * bounded and nobody reads it; from an initiator it would become part of a
 * command.
 */
static enum pdu_error
bhs_check(const struct pdu_parser *p)
{
	uint8_t opcode = iscsi_opcode(p->bhs);
	uint32_t max_dsl = p->framing.max_dsl;

	if (!opcode_ok(p->sender, opcode))
		return PDU_E_OPCODE;
	if (p->sender == PDU_FROM_INITIATOR && iscsi_ahs_len(p->bhs) > 0 &&
	    (iscsi_opcode_traits(opcode) & ISCSI_T_AHS) == 0)
		return PDU_E_AHS;
	if (max_dsl != 0 && iscsi_dsl(p->bhs) > max_dsl)
		return PDU_E_DSL;
	return PDU_OK;
}

/* The whole header is there and, where there is a digest, verified. */
static void
header_ready(struct pdu_parser *p)
{
	enum pdu_error error = PDU_OK;

	if (p->framing.header_digest)
		error = bhs_check(p);
	if (error == PDU_OK && p->sender == PDU_FROM_INITIATOR &&
	    iscsi_ahs_check(p->ahs, iscsi_ahs_len(p->bhs)) != 0)
		error = PDU_E_AHS;
	if (error != PDU_OK)
		fail(p, error);
	else
		enter(p, S_HEADER_READY, 0);
}

static void
ahs_complete(struct pdu_parser *p)
{
	if (p->framing.header_digest)
		enter(p, S_HEADER_DIGEST, CRC32C_SIZE);
	else
		header_ready(p);
}

static void
bhs_complete(struct pdu_parser *p)
{
	enum pdu_error error = PDU_OK;

	/*
	 * With a header digest nothing is believed before it is verified, but
	 * TotalAHSLength, which cannot exceed the room for it.
	 */
	if (!p->framing.header_digest)
		error = bhs_check(p);
	if (error != PDU_OK)
		fail(p, error);
	else if (iscsi_ahs_len(p->bhs) > 0)
		enter(p, S_AHS, iscsi_ahs_len(p->bhs));
	else
		ahs_complete(p);
}

static void
header_digest_complete(struct pdu_parser *p)
{
	uint32_t crc;

	crc = crc32c_update(CRC32C_INIT, p->bhs, ISCSI_BHS_LEN);
	crc = crc32c_update(crc, p->ahs, iscsi_ahs_len(p->bhs));
	if (crc32c_get(p->header_digest, p->framing.order) !=
	    crc32c_final(crc))
		fail(p, PDU_E_HEADER_DIGEST);
	else
		header_ready(p);
}

static void
enter_data(struct pdu_parser *p)
{
	uint32_t dsl = iscsi_dsl(p->bhs);

	p->crc = CRC32C_INIT;
	if (dsl > 0)
		enter(p, S_DATA, dsl);
	else
		enter(p, S_END, 0);
}

/* Bytes of padding, which come before the data digest. */
static uint32_t
tail_pad(const struct pdu_parser *p)
{
	return iscsi_pad(iscsi_dsl(p->bhs));
}

static void
pad_complete(struct pdu_parser *p)
{
	if (p->framing.data_digest)
		enter(p, S_DATA_DIGEST, CRC32C_SIZE);
	else
		enter(p, S_END, 0);
}

static void
data_digest_complete(struct pdu_parser *p)
{
	if (crc32c_get(p->tail + tail_pad(p), p->framing.order) !=
	    crc32c_final(p->crc))
		fail(p, PDU_E_DATA_DIGEST);
	else
		enter(p, S_END, 0);
}

/* Consume input of the current part, which the digest covers. */
static size_t
take_covered(struct pdu_parser *p, struct cursor *in)
{
	size_t n = p->need - p->have;

	if (n > in->len)
		n = in->len;
	if (p->framing.data_digest)
		p->crc = crc32c_update(p->crc, in->p, n);
	in->p += n;
	in->len -= n;
	p->have += (uint32_t)n;
	return n;
}

/* One piece of the data segment, or false if there is no input. */
static bool
take_data(struct pdu_parser *p, struct cursor *in, struct pdu_event *ev)
{
	if (in->len == 0)
		return false;
	ev->kind = PDU_EV_DATA;
	ev->data = in->p;
	ev->len = take_covered(p, in);
	if (p->have < p->need)
		return true;
	if (iscsi_pad(p->need) > 0)
		enter(p, S_PAD, iscsi_pad(p->need));
	else
		pad_complete(p);
	return true;
}

/* True if the padding is complete. */
static bool
take_pad(struct pdu_parser *p, struct cursor *in)
{
	uint8_t *to = p->tail + p->have;
	const uint8_t *from = in->p;

	if (in->len > 0)
		memcpy(to, from, take_covered(p, in));
	if (p->have < p->need)
		return false;
	pad_complete(p);
	return true;
}

/* True if the BHS is complete. */
static bool
take_bhs(struct pdu_parser *p, struct cursor *in)
{
	if (p->have == 0 && in->len > 0)
		p->framing = p->next_framing;
	if (!gather(p, in, p->bhs))
		return false;
	bhs_complete(p);
	return true;
}

size_t
pdu_parser_feed(struct pdu_parser *p, const uint8_t *buf, size_t len,
    struct pdu_event *ev)
{
	struct cursor in = { buf, len };
	bool progress = true;

	ev->kind = PDU_EV_MORE;
	ev->data = NULL;
	ev->len = 0;
	while (progress && ev->kind == PDU_EV_MORE) {
		switch ((enum parser_state)p->state) {
		case S_BHS:
			progress = take_bhs(p, &in);
			break;
		case S_AHS:
			if ((progress = gather(p, &in, p->ahs)))
				ahs_complete(p);
			break;
		case S_HEADER_DIGEST:
			if ((progress = gather(p, &in,
			    p->header_digest)))
				header_digest_complete(p);
			break;
		case S_HEADER_READY:
			ev->kind = PDU_EV_HEADER;
			enter_data(p);
			break;
		case S_DATA:
			progress = take_data(p, &in, ev);
			break;
		case S_PAD:
			progress = take_pad(p, &in);
			break;
		case S_DATA_DIGEST:
			if ((progress = gather(p, &in,
			    p->tail + tail_pad(p))))
				data_digest_complete(p);
			break;
		case S_END:
			ev->kind = PDU_EV_END;
			enter(p, S_BHS, ISCSI_BHS_LEN);
			break;
		case S_ERROR:
			ev->kind = PDU_EV_ERROR;
			break;
		}
	}
	return ev->kind == PDU_EV_ERROR ? 0 : len - in.len;
}

static uint32_t
head_len(const struct pdu_parser *p)
{
	return ISCSI_BHS_LEN + iscsi_ahs_len(p->bhs) +
	    (p->framing.header_digest ? CRC32C_SIZE : 0);
}

const uint8_t *
pdu_parser_header_digest(const struct pdu_parser *p)
{
	return p->framing.header_digest ? p->header_digest : NULL;
}

const uint8_t *
pdu_parser_data_digest(const struct pdu_parser *p)
{
	if (!p->framing.data_digest || iscsi_dsl(p->bhs) == 0)
		return NULL;
	return p->tail + tail_pad(p);
}

/* The header's first `len` bytes as they came. */
static void
pending_head(const struct pdu_parser *p, struct pdu_pending *out, size_t len)
{
	size_t ahs_len = len < ISCSI_BHS_LEN ? 0 : iscsi_ahs_len(p->bhs);
	size_t bhs_ahs = ISCSI_BHS_LEN + ahs_len;

	out->head_len = len;
	memcpy(out->head, p->bhs, ISCSI_BHS_LEN);
	memcpy(out->head + ISCSI_BHS_LEN, p->ahs, ahs_len);
	memcpy(out->head + bhs_ahs, p->header_digest, CRC32C_SIZE);
}

void
pdu_parser_pending(const struct pdu_parser *p, struct pdu_pending *out)
{
	size_t head = 0, tail = 0;

	switch ((enum parser_state)p->state) {
	case S_BHS:
		head = p->have;
		break;
	case S_AHS:
		head = ISCSI_BHS_LEN + p->have;
		break;
	case S_HEADER_DIGEST:
		head = head_len(p) - CRC32C_SIZE + p->have;
		break;
	case S_HEADER_READY:
	case S_DATA:
		head = head_len(p);
		break;
	case S_PAD:
		head = head_len(p);
		tail = p->have;
		break;
	case S_DATA_DIGEST:
		head = head_len(p);
		tail = tail_pad(p) + p->have;
		break;
	case S_END:
		head = head_len(p);
		tail = tail_pad(p) +
		    (pdu_parser_data_digest(p) != NULL ? CRC32C_SIZE : 0);
		break;
	case S_ERROR:
		break;
	}
	pending_head(p, out, head);
	out->tail_len = tail;
	memcpy(out->tail, p->tail, PDU_TAIL_MAX);
}
