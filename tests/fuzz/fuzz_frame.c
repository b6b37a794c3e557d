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
#include "proto/msg_raw.h"
#include "tests/fuzz/fuzz.h"

/*
 * One decoder: encode what it took, decode and encode that once more.  The
 * fields of most messages are encoded as they came.  A decoder that is not
 * given the whole payload says how much it took.
 */
#define AS_IT_CAME	1
#define ROUND(name, as_it_came)						\
	static void							\
	round_##name(const uint8_t *buf, size_t len)			\
	{								\
		uint8_t one[MSG_PAYLOAD_MAX], two[MSG_PAYLOAD_MAX];	\
		struct msg_##name m;					\
		int n, took;						\
									\
		took = msg_##name##_decode(buf, len, &m);		\
		fuzz_require(took >= 0 || took == -EBADMSG);		\
		if (took < 0)						\
			return;						\
		n = msg_##name##_encode(&m, one, sizeof(one));		\
		fuzz_require(n > 0 && (took == 0 || n == took));	\
		if (as_it_came) {					\
			fuzz_require((size_t)n <= len);			\
			fuzz_require(memcmp(one, buf, (size_t)n) == 0);	\
		}							\
		fuzz_require(msg_##name##_decode(one, (size_t)n, &m) == took);\
		fuzz_require(msg_##name##_encode(&m, two, sizeof(two)) == n); \
		fuzz_require(memcmp(one, two, (size_t)n) == 0);		\
		fuzz_require(msg_##name##_encode(&m, two,		\
		    (size_t)n - 1) == -ENOBUFS);			\
	}

ROUND(hello, AS_IT_CAME)
ROUND(welcome, AS_IT_CAME)
ROUND(attach, AS_IT_CAME)
ROUND(attached, AS_IT_CAME)
ROUND(cancel, AS_IT_CAME)
ROUND(outcome, AS_IT_CAME)
ROUND(error, AS_IT_CAME)
ROUND(event, !AS_IT_CAME)
ROUND(goodbye, AS_IT_CAME)
ROUND(open, AS_IT_CAME)
ROUND(adopt, AS_IT_CAME)
ROUND(set, AS_IT_CAME)
ROUND(share, AS_IT_CAME)
ROUND(state, AS_IT_CAME)
ROUND(exported, AS_IT_CAME)
ROUND(tag, AS_IT_CAME)

/* The options of a SUBMIT. */
static void
round_submit(const uint8_t *buf, size_t len)
{
	struct msg_submit_options o = { .deadline = 1 }, again = { 0 };
	uint8_t one[MSG_SUBMIT_TLV_MAX], two[MSG_SUBMIT_TLV_MAX];
	int n;

	if (msg_submit_tlv_decode(buf, len, &o) != 0) {
		fuzz_require(o.deadline == 1 && o.expect == 0);
		return;
	}
	n = msg_submit_tlv_encode(&o, true, one, sizeof(one));
	fuzz_require(n > 0);
	fuzz_require(msg_submit_tlv_decode(one, (size_t)n, &again) == 0);
	fuzz_require(again.deadline == o.deadline &&
	    again.expect == o.expect && again.free_itt == o.free_itt);
	fuzz_require(msg_submit_tlv_encode(&again, true, two, sizeof(two)) ==
	    n);
	fuzz_require(memcmp(one, two, (size_t)n) == 0);
	fuzz_require(msg_submit_tlv_encode(&o, true, two, (size_t)n - 1) ==
	    -ENOBUFS);
}

/* The digests behind a PDU. */
static void
round_digests(const uint8_t *buf, size_t len)
{
	struct msg_digests d = { 0 }, again = { 0 };
	uint8_t one[MSG_SUBMIT_TLV_MAX];
	int n;

	if (msg_pdu_tlv_decode(buf, len, &d) != 0)
		return;
	n = msg_pdu_tlv_encode(&d, one, sizeof(one));
	fuzz_require(n > 0);
	fuzz_require(msg_pdu_tlv_decode(one, (size_t)n, &again) == 0);
	fuzz_require(again.header == d.header && again.data == d.data);
	fuzz_require(memcmp(again.header_word, d.header_word,
	    sizeof(d.header_word)) == 0);
	fuzz_require(memcmp(again.data_word, d.data_word,
	    sizeof(d.data_word)) == 0);
}

/* Any text at all is encoded as one that decodes. */
static void
any_text(const uint8_t *buf, size_t len)
{
	struct msg_error m = { .reason = MSG_R_INTERNAL }, again;
	uint8_t wire[MSG_PAYLOAD_MAX];
	int n;

	if (len > MSG_TEXT_MAX)
		len = MSG_TEXT_MAX;
	if (len > 0)
		memcpy(m.text, buf, len);
	n = msg_error_encode(&m, wire, sizeof(wire));
	fuzz_require(n > 0);
	fuzz_require(msg_error_decode(wire, (size_t)n, &again) == 0);
	fuzz_require(strlen(again.text) <= strlen(m.text));
}

/* Every number has a name. */
static void
any_name(uint16_t number)
{
	fuzz_require(frame_type_name(number)[0] != '\0');
	fuzz_require(msg_outcome_name(number)[0] != '\0');
	fuzz_require(msg_reason_name(number)[0] != '\0');
	fuzz_require(msg_event_name(number)[0] != '\0');
	fuzz_require(msg_state_name(number)[0] != '\0');
	(void)frame_flags_allowed(number);
}

static void
walk_listing(const uint8_t *buf, size_t len)
{
	struct msg_listing_entry e;
	uint8_t wire[MSG_PAYLOAD_MAX];
	size_t pos = 0, before, taken;
	int rc;

	do {
		before = pos;
		rc = msg_listing_next(buf, len, &pos, &e);
		fuzz_require(pos <= len);
		fuzz_require(rc != 1 || pos > before);
		if (rc == 1) {
			int n = msg_listing_encode(&e, 1, wire, sizeof(wire),
			    &taken);

			/* Behind the count come the bytes of the entry. */
			fuzz_require(n > 2 && taken == 1);
			fuzz_require((size_t)n - 2 <= pos);
			fuzz_require(memcmp(wire + 2, buf + pos - (n - 2),
			    (size_t)n - 2) == 0);
			fuzz_require(msg_listing_encode(&e, 1, wire,
			    (size_t)n - 1, &taken) == -ENOBUFS);
		}
	} while (rc == 1);
	fuzz_require(rc == 0 || rc == -EBADMSG);
}

static void
decode(uint16_t type, const uint8_t *buf, size_t len)
{
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
	case FRAME_OPEN:
		round_open(buf, len);
		break;
	case FRAME_ADOPT:
		round_adopt(buf, len);
		break;
	case FRAME_SET:
		round_set(buf, len);
		break;
	case FRAME_SHARE:
		round_share(buf, len);
		break;
	case FRAME_STATE:
		round_state(buf, len);
		break;
	case FRAME_EXPORTED:
		round_exported(buf, len);
		break;
	case FRAME_TAG:
		round_tag(buf, len);
		break;
	default:
		(void)msg_tlv_check(buf, len);
		break;
	}
}

struct walk {
	struct frame_parser	parser;
	struct frame_pdu	pdu;
	uint8_t			payload[MSG_PAYLOAD_MAX];
	size_t			len;
	uint32_t		crc;	/* of all that was understood */
	size_t			tlv;	/* bytes of TLVs in payload */
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
		if (ev.kind == FRAME_PDU_TLV)
			w->tlv += ev.len;
		buf += used;
		len -= used;
	}
}

static void
frame_starts(struct walk *w)
{
	uint8_t again[FRAME_HEADER_LEN];

	frame_header_put(again, &w->parser.header);
	fuzz_require(memcmp(again, w->parser.wire, sizeof(again)) == 0);
	note(w, w->parser.wire, sizeof(w->parser.wire));
	any_name(w->parser.header.type);
	w->len = w->tlv = 0;
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
	any_text(w->payload, w->len);
	if (!carries_pdu(w->parser.header.type)) {
		decode(w->parser.header.type, w->payload, w->len);
		return;
	}
	w->last = frame_pdu_end(&w->pdu, w->parser.header.flags);
	fuzz_require(w->last == 0 || w->last == 1 || w->last == -EBADMSG);
	fuzz_require(w->last != 0 || w->pdu.have >= ISCSI_BHS_LEN);
	if (w->last == 0) {
		/* TLVs end the frame, and so the payload. */
		fuzz_require(w->tlv <= w->len && w->tlv <= FRAME_TLV_MAX);
		round_submit(w->payload + w->len - w->tlv, w->tlv);
		round_digests(w->payload + w->len - w->tlv, w->tlv);
	}
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
	frame_parser_init(&w->parser, 0);
	frame_parser_set_limit(&w->parser, sizeof(w->payload));
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
	fuzz_require(frame_parser_at_boundary(&whole.parser) ==
	    frame_parser_at_boundary(&pieces.parser));
	return 0;
}
