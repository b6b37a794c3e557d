/* SPDX-License-Identifier: ISC */
/*
 * The frames of the data socket: header, parser, and PDUs in fragments.
 */
#include "config.h"

#include <errno.h>
#include <string.h>

#include "proto/frame.h"
#include "tests/unit/unit.h"

START_TEST(header_bytes)
{
	static const uint8_t want[16] = {
		0x00, 0x04, 0x08, 0x2c, 0x00, 0x03, 0x00, 0x41,
		0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08,
	};
	struct frame_header h = {
		.len = 264236, .type = FRAME_SUBMIT,
		.flags = FRAME_F_MORE | FRAME_F_TLV,
		.cookie = UINT64_C(0x0102030405060708),
	};
	struct frame_header back;
	uint8_t wire[16];

	ck_assert_uint_eq(FRAME_PAYLOAD_MAX, 264236);
	frame_header_put(wire, &h);
	ck_assert_mem_eq(wire, want, 16);
	frame_header_get(want, &back);
	ck_assert_uint_eq(back.len, h.len);
	ck_assert_uint_eq(back.type, h.type);
	ck_assert_uint_eq(back.flags, h.flags);
	ck_assert_uint_eq(back.cookie, h.cookie);
}
END_TEST

static const struct {
	uint16_t	 type;
	const char	*name;
	uint16_t	 flags;
} types[] = {
	{ 0x01, "HELLO", 0 }, { 0x02, "ATTACH", 0 },
	{ 0x03, "SUBMIT", 0x43 }, { 0x04, "CANCEL", 0 }, { 0x05, "LIST", 0 },
	{ 0x06, "PING", 0 }, { 0x10, "OPEN", 0 }, { 0x11, "ADOPT", 0x05 },
	{ 0x12, "SET", 0 }, { 0x13, "GET", 0 }, { 0x14, "EXPORT", 0 },
	{ 0x15, "SHARE", 0 }, { 0x16, "UNSHARE", 0 }, { 0x17, "CLOSE", 0 },
	{ 0x41, "WELCOME", 0 }, { 0x42, "ATTACHED", 0 },
	{ 0x43, "PDU", 0x73 }, { 0x44, "OUTCOME", 0 }, { 0x45, "OK", 0 },
	{ 0x46, "ERROR", 0x08 }, { 0x47, "LISTING", 0x01 },
	{ 0x48, "PONG", 0 }, { 0x49, "EVENT", 0 }, { 0x4a, "GOODBYE", 0 },
	{ 0x50, "STATE", 0 }, { 0x51, "EXPORTED", 0x05 }, { 0x52, "TAG", 0 },
};
#define TYPES (sizeof(types) / sizeof(types[0]))

START_TEST(types_and_flags)
{
	unsigned type;
	size_t i;

	for (type = 0; type <= 0xffff; type++) {
		const char *name = "unknown";
		uint16_t flags = 0;

		for (i = 0; i < TYPES; i++)
			if (types[i].type == type) {
				name = types[i].name;
				flags = types[i].flags;
			}
		if (strcmp(frame_type_name((uint16_t)type), name) != 0 ||
		    frame_flags_allowed((uint16_t)type) != flags)
			ck_abort_msg("type 0x%x", type);
	}
}
END_TEST

/* Frames of a stream: payload lengths, chosen around the header's. */
static const uint32_t lengths[] = { 0, 1, 15, 16, 17, 0, 0, 40, 3 };
#define FRAMES (sizeof(lengths) / sizeof(lengths[0]))

static size_t
make_stream(uint8_t *buf)
{
	struct frame_header h;
	size_t i, j, n = 0;

	for (i = 0; i < FRAMES; i++) {
		h.len = lengths[i];
		h.type = (uint16_t)(0x100 + i);
		h.flags = (uint16_t)i;
		h.cookie = ~(uint64_t)i;
		frame_header_put(buf + n, &h);
		n += FRAME_HEADER_LEN;
		for (j = 0; j < lengths[i]; j++)
			buf[n++] = (uint8_t)(i * 16 + j);
	}
	return n;
}

/* How far a walk over that stream has come. */
struct walk {
	size_t	headers;
	size_t	ends;
	size_t	payload;	/* of the current frame */
};

static void
walk_feed(struct frame_parser *p, struct walk *w, const uint8_t *buf,
    size_t len)
{
	struct frame_event ev;
	size_t used, i;

	do {
		used = frame_parser_feed(p, buf, len, &ev);
		ck_assert_uint_le(used, len);
		switch (ev.kind) {
		case FRAME_EV_MORE:
			ck_assert_uint_eq(used, len);
			break;
		case FRAME_EV_HEADER:
			ck_assert_uint_lt(w->headers, FRAMES);
			ck_assert_uint_eq(p->header.len, lengths[w->headers]);
			ck_assert_uint_eq(p->header.type, 0x100 + w->headers);
			ck_assert_uint_eq(p->header.flags, w->headers);
			ck_assert_uint_eq(p->header.cookie,
			    ~(uint64_t)w->headers);
			w->headers++;
			w->payload = 0;
			break;
		case FRAME_EV_PAYLOAD:
			ck_assert_uint_eq(ev.len, used);
			ck_assert_ptr_eq(ev.data, buf);
			for (i = 0; i < ev.len; i++)
				if (ev.data[i] != (uint8_t)((w->headers - 1) *
				    16 + w->payload++))
					ck_abort_msg("payload differs");
			break;
		case FRAME_EV_END:
			ck_assert_uint_eq(w->payload, lengths[w->ends]);
			ck_assert_uint_eq(++w->ends, w->headers);
			break;
		case FRAME_EV_TOO_LONG:
			ck_abort_msg("too long");
		}
		buf += used;
		len -= used;
	} while (ev.kind != FRAME_EV_MORE);
}

START_TEST(every_split)
{
	uint8_t buf[512];
	size_t n = make_stream(buf), cut;
	struct frame_parser p;

	for (cut = 0; cut <= n; cut++) {
		struct walk w = { 0, 0, 0 };

		frame_parser_init(&p, 40);
		walk_feed(&p, &w, buf, cut);
		walk_feed(&p, &w, buf + cut, n - cut);
		ck_assert_uint_eq(w.ends, FRAMES);
		ck_assert(frame_parser_at_boundary(&p));
	}
}
END_TEST

START_TEST(dribble)
{
	uint8_t buf[512];
	size_t n = make_stream(buf), i;
	struct walk w = { 0, 0, 0 };
	struct frame_parser p;

	frame_parser_init(&p, 40);
	for (i = 0; i < n; i++)
		walk_feed(&p, &w, buf + i, 1);
	ck_assert_uint_eq(w.ends, FRAMES);
}
END_TEST

START_TEST(boundary)
{
	static const uint8_t wire[18] = { 0, 0, 0, 2, 0, 6 };
	struct frame_parser p;
	struct frame_event ev;
	size_t i;

	frame_parser_init(&p, 40);
	ck_assert(frame_parser_at_boundary(&p));
	for (i = 0; i < sizeof(wire); i++) {
		do
			(void)frame_parser_feed(&p, wire + i, 1, &ev);
		while (ev.kind == FRAME_EV_END);
		ck_assert(!frame_parser_at_boundary(&p));
	}
	(void)frame_parser_feed(&p, NULL, 0, &ev);
	ck_assert_int_eq(ev.kind, FRAME_EV_END);
	ck_assert(frame_parser_at_boundary(&p));
}
END_TEST

START_TEST(limit)
{
	struct frame_header h = { .type = FRAME_HELLO, .len = 4096 };
	struct frame_parser p;
	struct frame_event ev;
	uint8_t wire[16];

	frame_parser_init(&p, FRAME_PAYLOAD_SMALL);
	frame_header_put(wire, &h);
	ck_assert_uint_eq(frame_parser_feed(&p, wire, 16, &ev), 16);
	ck_assert_int_eq(ev.kind, FRAME_EV_HEADER);

	frame_parser_init(&p, FRAME_PAYLOAD_SMALL);
	h.len = 4097;
	frame_header_put(wire, &h);
	ck_assert_uint_eq(frame_parser_feed(&p, wire, 16, &ev), 16);
	ck_assert_int_eq(ev.kind, FRAME_EV_TOO_LONG);
	ck_assert_uint_eq(p.header.len, 4097);
	ck_assert_uint_eq(frame_parser_feed(&p, wire, 16, &ev), 0);
	ck_assert_int_eq(ev.kind, FRAME_EV_TOO_LONG);
	ck_assert(!frame_parser_at_boundary(&p));
}
END_TEST

START_TEST(limit_changes)
{
	struct frame_header h = { .type = FRAME_HELLO, .len = 2 };
	struct frame_parser p;
	struct frame_event ev;
	uint8_t wire[16];

	frame_parser_init(&p, 2);
	frame_header_put(wire, &h);
	(void)frame_parser_feed(&p, wire, 16, &ev);
	ck_assert_int_eq(ev.kind, FRAME_EV_HEADER);
	frame_parser_set_limit(&p, 1);
	ck_assert_uint_eq(frame_parser_feed(&p, wire, 16, &ev), 2);
	ck_assert_int_eq(ev.kind, FRAME_EV_PAYLOAD);
	(void)frame_parser_feed(&p, wire, 16, &ev);
	ck_assert_int_eq(ev.kind, FRAME_EV_END);
	(void)frame_parser_feed(&p, wire, 16, &ev);
	ck_assert_int_eq(ev.kind, FRAME_EV_TOO_LONG);
}
END_TEST

/* A PDU in fragments, and what the end of each must say. */
struct pdu_case {
	const char	*what;
	uint8_t		 ahs_words;
	uint32_t	 dsl;
	struct {
		uint32_t	len;
		uint16_t	flags;
		int		rc;
	} frames[4];
};

#define MORE	FRAME_F_MORE
#define VOID	FRAME_F_VOID
#define TLV	FRAME_F_TLV
#define STOP	{ 0, 0, 99 }
#define BIG	FRAME_DATA_MAX

static const struct pdu_case pdu_cases[] = {
	{ "header only", 0, 0, { { 48, 0, 0 }, STOP } },
	{ "header and AHS", 2, 0, { { 56, 0, 0 }, STOP } },
	{ "with data", 2, 5, { { 61, 0, 0 }, STOP } },
	{ "two frames", 0, 8, { { 52, MORE, 1 }, { 4, 0, 0 }, STOP } },
	{ "three frames", 1, 8, { { 53, MORE, 1 }, { 4, MORE, 1 },
	    { 3, 0, 0 }, STOP } },
	{ "a TLV", 0, 4, { { 60, TLV, 0 }, STOP } },
	{ "flag TLV without TLV", 0, 4, { { 52, TLV, 0 }, STOP } },
	{ "a TLV on the last of two", 0, 4, { { 50, MORE, 1 },
	    { 10, TLV, 0 }, STOP } },
	{ "most TLVs", 0, 0, { { 48 + 1024, TLV, 0 }, STOP } },
	{ "most data", 0, BIG, { { 48 + BIG, 0, 0 }, STOP } },
	{ "most data twice", 0, 2 * BIG, { { 48 + BIG, MORE, 1 },
	    { BIG, 0, 0 }, STOP } },
	{ "void at the end", 0, 8, { { 52, MORE, 1 }, { 4, VOID, 0 }, STOP } },
	{ "void and short", 0, 8, { { 52, MORE, 1 }, { 0, VOID, 0 }, STOP } },
	{ "void at once", 0, 8, { { 48, VOID, 0 }, STOP } },

	{ "nothing", 0, 0, { { 0, 0, -EBADMSG }, STOP } },
	{ "half a BHS", 0, 0, { { 47, 0, -EBADMSG }, STOP } },
	{ "half a BHS with MORE", 0, 0, { { 47, MORE, -EBADMSG }, STOP } },
	{ "half a BHS with VOID", 0, 0, { { 47, VOID, -EBADMSG }, STOP } },
	{ "half an AHS", 2, 0, { { 52, 0, -EBADMSG }, STOP } },
	{ "half an AHS with MORE", 2, 8, { { 52, MORE, -EBADMSG }, STOP } },
	{ "data missing", 0, 8, { { 52, 0, -EBADMSG }, STOP } },
	{ "data missing at the end", 0, 8, { { 52, MORE, 1 },
	    { 3, 0, -EBADMSG }, STOP } },
	{ "too much data", 0, 4, { { 56, 0, -EBADMSG }, STOP } },
	{ "too much data for MORE", 0, 4, { { 56, MORE, -EBADMSG }, STOP } },
	{ "too much data for VOID", 0, 4, { { 56, VOID, -EBADMSG }, STOP } },
	{ "too much data at the end", 0, 8, { { 52, MORE, 1 },
	    { 5, 0, -EBADMSG }, STOP } },
	{ "complete with MORE", 0, 4, { { 52, MORE, -EBADMSG }, STOP } },
	{ "no data with MORE", 0, 4, { { 48, MORE, -EBADMSG }, STOP } },
	{ "empty fragment", 0, 8, { { 52, MORE, 1 }, { 0, MORE, -EBADMSG },
	    STOP } },
	{ "TLV with MORE", 0, 8, { { 52, MORE | TLV, -EBADMSG }, STOP } },
	{ "TLV with VOID", 0, 8, { { 52, VOID | TLV, -EBADMSG }, STOP } },
	{ "VOID with MORE", 0, 8, { { 52, VOID | MORE, -EBADMSG }, STOP } },
	{ "too many TLVs", 0, 0, { { 48 + 1025, TLV, -EBADMSG }, STOP } },
	{ "too much data a frame", 0, BIG + 1, { { 48 + BIG + 1, 0,
	    -EBADMSG }, STOP } },
};
#define PDU_CASES (sizeof(pdu_cases) / sizeof(pdu_cases[0]))

/* What came out of a PDU's frames. */
struct pieces {
	unsigned	heads;
	size_t		data;
	size_t		tlv;
	bool		bad;
};

/* Feed `len` bytes of payload in pieces of at most `step`. */
static void
feed_frame(struct frame_pdu *a, const uint8_t *buf, size_t len, size_t step,
    struct pieces *out)
{
	struct frame_pdu_event ev;
	size_t n, used;

	while (len > 0) {
		n = len < step ? len : step;
		used = frame_pdu_feed(a, buf, n, &ev);
		if (used == 0 || used > n)
			ck_abort_msg("used %zu of %zu", used, n);
		if (ev.kind == FRAME_PDU_HEAD)
			out->heads++;
		if (ev.kind == FRAME_PDU_DATA)
			out->data += ev.len;
		if (ev.kind == FRAME_PDU_TLV)
			out->tlv += ev.len;
		if (ev.kind == FRAME_PDU_BAD)
			out->bad = true;
		else if ((ev.kind == FRAME_PDU_DATA ||
		    ev.kind == FRAME_PDU_TLV) &&
		    (ev.data != buf || ev.len != used))
			ck_abort_msg("piece is not the input");
		buf += used;
		len -= used;
	}
	ck_assert_uint_eq(frame_pdu_feed(a, buf, 0, &ev), 0);
	ck_assert_int_eq(ev.kind, FRAME_PDU_MORE);
}

START_TEST(fragments)
{
	static const size_t steps[] = { SIZE_MAX, 1000, 48, 7, 1 };
	static uint8_t payload[48 + BIG + 16];
	const struct pdu_case *c = &pdu_cases[_i];
	struct pieces out;
	struct frame_pdu a;
	size_t s, f, at;

	memset(payload, 0, 48);
	payload[4] = c->ahs_words;
	iscsi_set_dsl(payload, c->dsl);
	for (s = 0; s < sizeof(steps) / sizeof(steps[0]); s++) {
		memset(&out, 0, sizeof(out));
		frame_pdu_init(&a);
		for (f = 0, at = 0; c->frames[f].rc != 99; f++, at = 64) {
			frame_pdu_begin(&a, c->frames[f].flags);
			feed_frame(&a, payload + at, c->frames[f].len,
			    steps[s], &out);
			ck_assert_msg(frame_pdu_end(&a, c->frames[f].flags) ==
			    c->frames[f].rc, "%s, frame %zu", c->what, f);
		}
		if (c->frames[f - 1].rc != 0)
			continue;
		ck_assert_uint_eq(out.heads, 1);
		ck_assert(!out.bad);
		if ((c->frames[f - 1].flags & VOID) == 0)
			ck_assert_uint_eq(out.data, c->dsl);
	}
}
END_TEST

/* A DataSegmentLength that is not that of the data (checklist A25). */
START_TEST(pdu_lengths)
{
	struct pieces out = { 0, 0, 0, false };
	uint8_t payload[56] = { 0x01 };
	struct frame_pdu a;

	iscsi_set_dsl(payload, 4);
	frame_pdu_init(&a);
	frame_pdu_begin(&a, 0);
	feed_frame(&a, payload, 56, 56, &out);
	ck_assert(out.bad);
	ck_assert_uint_eq(out.data, 4);
	ck_assert_int_eq(frame_pdu_end(&a, 0), -EBADMSG);

	iscsi_set_dsl(payload, 9);
	frame_pdu_init(&a);
	frame_pdu_begin(&a, 0);
	feed_frame(&a, payload, 56, 56, &out);
	ck_assert_int_eq(frame_pdu_end(&a, 0), -EBADMSG);
}
END_TEST

START_TEST(head_is_stored)
{
	struct pieces out = { 0, 0, 0, false };
	uint8_t payload[62];
	struct frame_pdu a;
	size_t i;

	for (i = 0; i < sizeof(payload); i++)
		payload[i] = (uint8_t)(i + 1);
	payload[4] = 2;
	iscsi_set_dsl(payload, 6);
	frame_pdu_init(&a);
	frame_pdu_begin(&a, 0);
	feed_frame(&a, payload, sizeof(payload), 5, &out);
	ck_assert_int_eq(frame_pdu_end(&a, 0), 0);
	ck_assert_mem_eq(a.bhs, payload, 48);
	ck_assert_mem_eq(a.ahs, payload + 48, 8);
	ck_assert_uint_eq(a.head, 56);
	ck_assert_uint_eq(a.total, 62);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("frame");
	TCase *tc = tcase_create("frame");

	tcase_add_test(tc, header_bytes);
	tcase_add_test(tc, types_and_flags);
	tcase_add_test(tc, every_split);
	tcase_add_test(tc, dribble);
	tcase_add_test(tc, boundary);
	tcase_add_test(tc, limit);
	tcase_add_test(tc, limit_changes);
	tcase_add_loop_test(tc, fragments, 0, PDU_CASES);
	tcase_add_test(tc, pdu_lengths);
	tcase_add_test(tc, head_is_stored);
	suite_add_tcase(suite, tc);
	return unit_run(suite);
}
