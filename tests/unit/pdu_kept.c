/* SPDX-License-Identifier: ISC */
/*
 * What the PDU parser keeps of a PDU besides header and data: the digests as
 * they came, and the bytes of a PDU that is not complete.  And digest words
 * of the sender's own.
 */
#include "config.h"

#include <string.h>

#include "tests/unit/pdu_stream.h"

/* All of digests, byte order, AHS, data length and padding. */
#define COMBINATIONS	(2 * 2 * 2 * 3 * 6)

static struct pdu_framing
combination(int i, struct spec *spec)
{
	struct pdu_framing f = framing((i & 1) != 0, (i & 2) != 0, 8192);

	f.order = (i & 4) != 0 ? CRC32C_BIG : CRC32C_LITTLE;
	*spec = (struct spec){
		.opcode = ISCSI_OP_SCSI_CMD,
		.ahs_words = (uint8_t)(i / 8 % 3 * 2),
		.dsl = (uint32_t)(i / 24),
		.pad = 0xa7,
	};
	return f;
}

/* Two PDUs of a combination; returns where the second starts. */
static size_t
make_two(struct stream *s, struct record *r, int i, struct pdu_framing *f)
{
	struct spec spec;
	size_t first;

	*f = combination(i, &spec);
	s->len = 0;
	make_record(&r[0], &spec, 1);
	put_pdu(s, &r[0], spec.pad, f);
	first = s->len;
	make_record(&r[1], &spec, 2);
	put_pdu(s, &r[1], spec.pad, f);
	return first;
}

/* Fail unless head, data and tail are the `len` bytes at `want`. */
static void
check_pending(const struct pdu_parser *p, const uint8_t *data,
    size_t data_len, const uint8_t *want, size_t len)
{
	struct pdu_pending pending;
	struct stream got = { .len = 0 };

	memset(&pending, 0xee, sizeof(pending));
	pdu_parser_pending(p, &pending);
	ck_assert_uint_le(pending.head_len, PDU_HEAD_MAX);
	ck_assert_uint_le(pending.tail_len, PDU_TAIL_MAX);
	memcpy(got.buf, pending.head, pending.head_len);
	got.len = pending.head_len;
	memcpy(got.buf + got.len, data, data_len);
	got.len += data_len;
	memcpy(got.buf + got.len, pending.tail, pending.tail_len);
	got.len += pending.tail_len;
	ck_assert_uint_eq(got.len, len);
	ck_assert_mem_eq(got.buf, want, len);
	ck_assert(pdu_parser_at_boundary(p) == (len == 0));
}

/*
 * Cut in the second PDU, wherever: a new parser that is fed with what the old
 * one kept, with its data and with the rest of the stream, has the PDU.
 */
START_TEST(pending_at_every_cut)
{
	static struct records before, after;
	struct stream s;
	struct record r[2];
	struct pdu_framing f;
	struct pdu_parser p, fresh;
	struct pdu_pending pending;
	size_t cut, first = make_two(&s, r, _i, &f);
	const struct record *last;

	for (cut = first; cut < s.len; cut++) {
		memset(&before, 0, sizeof(before));
		memset(&after, 0, sizeof(after));
		pdu_parser_init(&p, PDU_FROM_ANYONE, &f);
		feed(&p, s.buf, cut, &before);
		last = &before.pdu[before.n - 1];
		check_pending(&p, last->data,
		    before.n == 2 ? last->data_len : 0, s.buf + first,
		    cut - first);
		pdu_parser_pending(&p, &pending);
		pdu_parser_init(&fresh, PDU_FROM_ANYONE, &f);
		feed(&fresh, pending.head, pending.head_len, &after);
		if (before.n == 2 && last->data_len > 0)
			feed(&fresh, last->data, last->data_len, &after);
		feed(&fresh, pending.tail, pending.tail_len, &after);
		feed(&fresh, s.buf + cut, s.len - cut, &after);
		same_records(&after, &r[1], 1);
	}
}
END_TEST

/* The same after each event, when input or another event waits. */
START_TEST(pending_at_every_event)
{
	struct stream s;
	struct record r[2];
	struct pdu_framing f;
	struct pdu_parser p;
	struct pdu_event ev;
	struct stream data = { .len = 0 };
	size_t start = 0, at = 0, ends = 0;

	make_two(&s, r, _i, &f);
	pdu_parser_init(&p, PDU_FROM_ANYONE, &f);
	do {
		at += pdu_parser_feed(&p, s.buf + at, s.len - at, &ev);
		ck_assert_int_ne(ev.kind, PDU_EV_ERROR);
		if (ev.kind == PDU_EV_DATA) {
			memcpy(data.buf + data.len, ev.data, ev.len);
			data.len += ev.len;
		}
		if (ev.kind == PDU_EV_END) {
			ends++;
			start = at;
			data.len = 0;
		}
		check_pending(&p, data.buf, data.len, s.buf + start,
		    at - start);
	} while (ev.kind != PDU_EV_MORE);
	ck_assert_uint_eq(ends, 2);
}
END_TEST

START_TEST(nothing_pending_after_an_error)
{
	struct stream s;
	struct record r[2];
	struct records out = { .n = 0 };
	struct pdu_framing f;
	struct pdu_parser p;
	struct pdu_pending pending;
	size_t first = make_two(&s, r, 3 + 24, &f);

	s.buf[first - 1] ^= 1;
	pdu_parser_init(&p, PDU_FROM_ANYONE, &f);
	feed(&p, s.buf, s.len, &out);
	ck_assert_int_eq(out.error, PDU_E_DATA_DIGEST);
	pdu_parser_pending(&p, &pending);
	ck_assert_uint_eq(pending.head_len + pending.tail_len, 0);
}
END_TEST

/* At the end of a PDU its digests are there as the stream had them. */
START_TEST(digests_as_received)
{
	struct stream s;
	struct record r[2];
	struct pdu_framing f;
	struct pdu_framing other = framing(false, false, 8192);
	struct pdu_parser p;
	struct pdu_event ev;
	size_t at = 0, end = make_two(&s, r, _i, &f);
	const uint8_t *header, *data;

	pdu_parser_init(&p, PDU_FROM_ANYONE, &f);
	do
		at += pdu_parser_feed(&p, s.buf + at, 1, &ev);
	while (ev.kind != PDU_EV_END);
	ck_assert_uint_eq(at, end);
	/* What comes next is no matter. */
	pdu_parser_set_framing(&p, &other);
	header = pdu_parser_header_digest(&p);
	data = pdu_parser_data_digest(&p);
	ck_assert((header != NULL) == f.header_digest);
	ck_assert((data != NULL) == (f.data_digest && r[0].data_len > 0));
	if (header != NULL)
		ck_assert_mem_eq(header, s.buf + ISCSI_BHS_LEN +
		    iscsi_ahs_len(r[0].bhs), CRC32C_SIZE);
	if (data != NULL)
		ck_assert_mem_eq(data, s.buf + end - CRC32C_SIZE, CRC32C_SIZE);
}
END_TEST

/* Own words replace the digests there are, and add none. */
START_TEST(own_digests)
{
	struct pdu_own_digests own = {
		.header = (_i & 8) != 0, .data = (_i & 16) != 0,
		.header_word = { 0xde, 0xad, 0xbe, 0xef },
		.data_word = { 1, 2, 3, 4 },
	};
	struct spec spec = { ISCSI_OP_SCSI_CMD, 2, 0, 0 };
	struct pdu_framing f = framing((_i & 1) != 0, (_i & 2) != 0, 8192);
	struct stream want, got;
	struct record r;

	f.order = (_i & 4) != 0 ? CRC32C_BIG : CRC32C_LITTLE;
	for (spec.dsl = 0; spec.dsl < 5; spec.dsl++) {
		make_record(&r, &spec, spec.dsl);
		want.len = 0;
		put_pdu(&want, &r, 0, &f);
		if (own.header && f.header_digest)
			memcpy(want.buf + 56, own.header_word, CRC32C_SIZE);
		if (own.data && f.data_digest && spec.dsl > 0)
			memcpy(want.buf + want.len - CRC32C_SIZE,
			    own.data_word, CRC32C_SIZE);
		ck_assert_int_gt(serialize_own(&r, &f, &own, &got), 0);
		ck_assert_uint_eq(got.len, want.len);
		ck_assert_mem_eq(got.buf, want.buf, want.len);
	}
}
END_TEST

TCase *
pdu_kept_tests(void)
{
	TCase *tc = tcase_create("kept");

	tcase_add_loop_test(tc, pending_at_every_cut, 0, COMBINATIONS);
	tcase_add_loop_test(tc, pending_at_every_event, 0, COMBINATIONS);
	tcase_add_test(tc, nothing_pending_after_an_error);
	tcase_add_loop_test(tc, digests_as_received, 0, COMBINATIONS);
	tcase_add_loop_test(tc, own_digests, 0, 32);
	return tc;
}
