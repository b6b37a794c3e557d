/* SPDX-License-Identifier: ISC */
/*
 * Fuzzes the data socket's frames: the frame parser, PDUs in fragments, and
 * the decoder of every payload.  What decodes must encode, and the result
 * must decode to the same bytes.  Byte 0 says how the stream is cut.
 */
#include "config.h"

#include <errno.h>
#include <string.h>

#include "proto/crc32c.h"
#include "proto/frame.h"
#include "proto/msg.h"
#include "tests/fuzz/fuzz.h"

/* One decoder: encode what it took, decode and encode that once more. */
#define ROUND(name)							\
	static void							\
	round_##name(const uint8_t *buf, size_t len)			\
	{								\
		uint8_t one[MSG_PAYLOAD_MAX], two[MSG_PAYLOAD_MAX];	\
		struct msg_##name m;					\
		int n;							\
									\
		if (msg_##name##_decode(buf, len, &m) != 0)		\
			return;						\
		n = msg_##name##_encode(&m, one, sizeof(one));		\
		fuzz_require(n > 0 && (size_t)n <= len);		\
		fuzz_require(memcmp(one, buf, (size_t)n) == 0);		\
		fuzz_require(msg_##name##_decode(one, (size_t)n, &m) == 0); \
		fuzz_require(msg_##name##_encode(&m, two, sizeof(two)) == n); \
		fuzz_require(memcmp(one, two, (size_t)n) == 0);		\
	}

ROUND(hello)
ROUND(welcome)
ROUND(attach)
ROUND(attached)
ROUND(cancel)
ROUND(outcome)
ROUND(error)
ROUND(event)
ROUND(goodbye)

static void
walk_listing(const uint8_t *buf, size_t len)
{
	struct msg_listing_entry e;
	size_t pos = 0, before;
	int rc;

	do {
		before = pos;
		rc = msg_listing_next(buf, len, &pos, &e);
		fuzz_require(pos <= len);
		fuzz_require(rc != 1 || pos > before);
	} while (rc == 1);
	fuzz_require(rc == 0 || rc == -EBADMSG);
}

static void
decode(uint16_t type, const uint8_t *buf, size_t len)
{
	struct msg_submit_options options = { 0 };

	switch (type) {
	case FRAME_HELLO:
		round_hello(buf, len);
		break;
	case FRAME_WELCOME:
		round_welcome(buf, len);
		break;
	case FRAME_ATTACH:
		round_attach(buf, len);
		break;
	case FRAME_ATTACHED:
		round_attached(buf, len);
		break;
	case FRAME_CANCEL:
		round_cancel(buf, len);
		break;
	case FRAME_OUTCOME:
		round_outcome(buf, len);
		break;
	case FRAME_ERROR:
		round_error(buf, len);
		break;
	case FRAME_EVENT:
		round_event(buf, len);
		break;
	case FRAME_GOODBYE:
		round_goodbye(buf, len);
		break;
	case FRAME_LISTING:
		walk_listing(buf, len);
		break;
	default:
		(void)msg_tlv_check(buf, len);
		(void)msg_submit_tlv_decode(buf, len, &options);
		break;
	}
}

struct walk {
	struct frame_parser	parser;
	struct frame_pdu	pdu;
	uint8_t			payload[MSG_PAYLOAD_MAX];
	size_t			len;
	uint32_t		crc;	/* of all that was understood */
	size_t			frames;
	int			last;	/* of frame_pdu_end() */
};

static void
note(struct walk *w, const void *p, size_t len)
{
	w->crc = crc32c_update(w->crc, p, len);
}

static bool
carries_pdu(uint16_t type)
{
	return type == FRAME_SUBMIT || type == FRAME_PDU;
}

static void
feed_pdu(struct walk *w, const uint8_t *buf, size_t len)
{
	struct frame_pdu_event ev;
	size_t used;

	while (len > 0) {
		used = frame_pdu_feed(&w->pdu, buf, len, &ev);
		fuzz_require(used > 0 && used <= len);
		if (ev.kind == FRAME_PDU_HEAD)
			note(w, w->pdu.bhs, sizeof(w->pdu.bhs));
		if (ev.kind == FRAME_PDU_DATA || ev.kind == FRAME_PDU_TLV) {
			fuzz_require(ev.data == buf && ev.len == used);
			note(w, ev.data, ev.len);
		}
		buf += used;
		len -= used;
	}
}

static void
frame_starts(struct walk *w)
{
	note(w, w->parser.wire, sizeof(w->parser.wire));
	w->len = 0;
	if (!carries_pdu(w->parser.header.type))
		return;
	if (w->last != 1)
		frame_pdu_init(&w->pdu);
	frame_pdu_begin(&w->pdu, w->parser.header.flags);
}

static void
frame_ends(struct walk *w)
{
	w->frames++;
	if (!carries_pdu(w->parser.header.type)) {
		decode(w->parser.header.type, w->payload, w->len);
		return;
	}
	w->last = frame_pdu_end(&w->pdu, w->parser.header.flags);
	fuzz_require(w->last == 0 || w->last == 1 || w->last == -EBADMSG);
	fuzz_require(w->last != 0 || w->pdu.have >= ISCSI_BHS_LEN);
	note(w, &w->last, sizeof(w->last));
}

static bool
feed(struct walk *w, const uint8_t *buf, size_t len)
{
	struct frame_event ev;
	size_t used;

	do {
		used = frame_parser_feed(&w->parser, buf, len, &ev);
		fuzz_require(used <= len);
		if (ev.kind == FRAME_EV_TOO_LONG)
			return false;
		if (ev.kind == FRAME_EV_HEADER)
			frame_starts(w);
		if (ev.kind == FRAME_EV_END)
			frame_ends(w);
		if (ev.kind == FRAME_EV_PAYLOAD) {
			fuzz_require(ev.data == buf && ev.len == used);
			fuzz_require(ev.len <= sizeof(w->payload) - w->len);
			memcpy(w->payload + w->len, ev.data, ev.len);
			w->len += ev.len;
			if (carries_pdu(w->parser.header.type))
				feed_pdu(w, ev.data, ev.len);
		}
		buf += used;
		len -= used;
	} while (ev.kind != FRAME_EV_MORE);
	return true;
}

static void
run(struct walk *w, const uint8_t *buf, size_t len, size_t step)
{
	size_t n, pos;

	memset(w, 0, sizeof(*w));
	w->crc = CRC32C_INIT;
	frame_parser_init(&w->parser, sizeof(w->payload));
	for (pos = 0; pos < len; pos += n) {
		n = len - pos < step ? len - pos : step;
		if (!feed(w, buf + pos, n))
			return;
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *buf, size_t len)
{
	static struct walk whole, pieces;

	if (len < 1)
		return 0;
	run(&whole, buf + 1, len - 1, len);
	run(&pieces, buf + 1, len - 1, (size_t)buf[0] % 61 + 1);
	fuzz_require(whole.frames == pieces.frames);
	fuzz_require(whole.last == pieces.last);
	/* Pieces of data are noted as they come: equal but for their cuts. */
	fuzz_require(whole.crc == pieces.crc);
	return 0;
}
