/* SPDX-License-Identifier: ISC */
/*
 * Framing of PDUs: what the serializer writes and the parser reads, in any
 * combination of digests, lengths and pieces of the stream.
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/pdu_stream.h"
#include "tests/unit/unit.h"

/* All digest combinations, data lengths 0 to 5, with and without AHS. */
START_TEST(framing_combinations)
{
	struct stream want, got;
	struct records out = { .n = 0 };
	struct pdu_framing f;
	struct record r;
	struct spec spec = { .opcode = 0x01 };
	unsigned digests, ahs;

	for (digests = 0; digests < 4; digests++)
	for (ahs = 0; ahs <= 2; ahs += 2)
	for (spec.dsl = 0; spec.dsl <= 5; spec.dsl++) {
		f = framing(digests & 1, digests & 2, 8192);
		spec.ahs_words = (uint8_t)ahs;
		make_record(&r, &spec, digests);
		want.len = 0;
		put_pdu(&want, &r, 0, &f);
		ck_assert_int_gt(serialize(&r, &f, &got), 0);
		ck_assert_uint_eq(got.len, want.len);
		ck_assert_mem_eq(got.buf, want.buf, want.len);
		ck_assert_uint_eq(want.len, 48 + ahs * 4 +
		    (digests & 1 ? 4 : 0) + (spec.dsl + 3) / 4 * 4 +
		    (digests & 2 && spec.dsl > 0 ? 4 : 0));
		parse(&want, PDU_FROM_INITIATOR, &f, &out);
		same_records(&out, &r, 1);
	}
}
END_TEST

/* The bytes of RFC 7143 appendix A.4 and of a PDU with AHS and data. */
START_TEST(literal_bytes)
{
	static const uint8_t read10[48] = {
		0x01, 0xc0, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
		0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
		0x14, 0x00, 0x00, 0x00, 0x00, 0x00, 0x04, 0x00,
		0x00, 0x00, 0x00, 0x14, 0x00, 0x00, 0x00, 0x18,
		0x28, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
		0x02, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
	};
	struct stream s = { .len = 0 };
	struct pdu_framing f = framing(true, true, 0);
	struct record r;

	memset(&r, 0, sizeof(r));
	memcpy(r.bhs, read10, sizeof(read10));
	ck_assert_int_eq(serialize(&r, &f, &s), 2);
	ck_assert_uint_eq(s.len, 52);
	ck_assert_mem_eq(s.buf + 48, "\x56\x3a\x96\xd9", 4);

	r.bhs[1] = 0xe0;
	r.bhs[4] = 2;
	memcpy(r.ahs, "\0\5\2\0\0\0\2\0", 8);
	ck_assert_int_eq(serialize(&r, &f, &s), 3);
	ck_assert_mem_eq(s.buf + 56, "\x2d\xa1\x31\x5d", 4);

	memset(&r, 0, sizeof(r));
	r.bhs[7] = 3;
	memcpy(r.data, "abc", 3);
	r.data_len = 3;
	ck_assert_int_eq(serialize(&r, &f, &s), 5);
	ck_assert_uint_eq(s.len, 60);
	ck_assert_mem_eq(s.buf + 52, "abc\0\x4c\x0e\x94\x34", 8);
}
END_TEST

/* AHS of 255 words with the longest data segment. */
START_TEST(longest_pdu)
{
	static struct pdu_parser p;
	static uint8_t bhs[ISCSI_BHS_LEN], ahs[ISCSI_AHS_MAX];
	struct pdu_framing f = framing(true, true, 0);
	struct pdu_trailer trailer;
	struct pdu_event ev;
	struct iovec data, iov[1 + PDU_IOV_OVERHEAD];
	size_t total, done, seen = 0;
	int i, n;

	bhs[0] = 0x01;
	bhs[4] = 255;
	iscsi_set_dsl(bhs, ISCSI_DSL_MAX);
	put_be16(ahs, 1017);
	data.iov_len = ISCSI_DSL_MAX;
	data.iov_base = calloc(1, data.iov_len);
	ck_assert_ptr_nonnull(data.iov_base);
	memset(data.iov_base, 0xa5, data.iov_len);
	n = pdu_serialize(bhs, ahs, &data, 1, &f, &trailer, iov,
	    1 + PDU_IOV_OVERHEAD, &total);
	ck_assert_int_eq(n, 5);
	ck_assert_uint_eq(total, 48 + 1020 + 4 + 0x1000000 + 4);
	pdu_parser_init(&p, PDU_FROM_INITIATOR, &f);
	for (i = 0; i < n; i++)
		for (done = 0;;) {
			done += pdu_parser_feed(&p,
			    (const uint8_t *)iov[i].iov_base + done,
			    iov[i].iov_len - done, &ev);
			seen += ev.len;
			ck_assert_int_ne(ev.kind, PDU_EV_ERROR);
			if (ev.kind == PDU_EV_MORE || ev.kind == PDU_EV_END)
				break;
		}
	ck_assert_int_eq(ev.kind, PDU_EV_END);
	ck_assert_uint_eq(seen, ISCSI_DSL_MAX);
	ck_assert_uint_eq(iscsi_ahs_len(p.bhs), 1020);
	ck_assert_uint_eq(iscsi_dsl(p.bhs), 0xffffff);
	ck_assert_mem_eq(p.ahs, ahs, sizeof(ahs));
	free(data.iov_base);
}
END_TEST

static const struct spec mixed[] = {
	{ 0x21, 0, 0, 0 }, { 0x25, 0, 5, 0 }, { 0x20, 0, 4, 0xff },
	{ 0x31, 0, 0, 0 }, { 0x25, 2, 1, 0xff }, { 0x3f, 0, 48, 0 },
	{ 0x22, 1, 3, 0x55 }, { 0x21, 0, 2, 0 },
};
#define MIXED (sizeof(mixed) / sizeof(mixed[0]))

static void
make_mixed(struct stream *s, struct record *want, const struct pdu_framing *f)
{
	unsigned i;

	s->len = 0;
	for (i = 0; i < MIXED; i++) {
		make_record(&want[i], &mixed[i], i);
		put_pdu(s, &want[i], mixed[i].pad, f);
	}
}

START_TEST(every_split)
{
	struct stream s = { .len = 0 };
	static struct record want[MIXED];
	struct records out = { .n = 0 };
	struct pdu_parser p;
	struct pdu_framing f = framing(_i & 1, _i & 2, 8192);
	size_t cut;

	make_mixed(&s, want, &f);
	for (cut = 0; cut <= s.len; cut++) {
		memset(&out, 0, sizeof(out));
		pdu_parser_init(&p, PDU_FROM_TARGET, &f);
		feed(&p, s.buf, cut, &out);
		feed(&p, s.buf + cut, s.len - cut, &out);
		same_records(&out, want, MIXED);
		ck_assert(pdu_parser_at_boundary(&p));
	}
}
END_TEST

START_TEST(dribble)
{
	struct stream s = { .len = 0 };
	static struct record want[MIXED];
	struct records out = { .n = 0 };
	struct pdu_parser p;
	struct pdu_framing f = framing(_i & 1, _i & 2, 8192);
	size_t i, step;

	make_mixed(&s, want, &f);
	for (step = 1; step <= 7; step++) {
		memset(&out, 0, sizeof(out));
		pdu_parser_init(&p, PDU_FROM_TARGET, &f);
		for (i = 0; i < s.len; i += step)
			feed(&p, s.buf + i,
			    step < s.len - i ? step : s.len - i, &out);
		same_records(&out, want, MIXED);
	}
}
END_TEST

/* A data piece is one event for each input, whole where the input is. */
START_TEST(one_data_event_an_input)
{
	struct stream s = { .len = 0 };
	struct pdu_framing f = framing(true, true, 8192);
	struct spec spec = { 0x25, 0, 40, 0 };
	struct pdu_parser p;
	struct pdu_event ev;
	struct record r;
	size_t used;

	make_record(&r, &spec, 1);
	put_pdu(&s, &r, 0, &f);
	pdu_parser_init(&p, PDU_FROM_TARGET, &f);
	used = pdu_parser_feed(&p, s.buf, s.len, &ev);
	ck_assert_int_eq(ev.kind, PDU_EV_HEADER);
	ck_assert_uint_eq(used, 52);
	ck_assert_uint_eq(pdu_parser_feed(&p, s.buf + 52, s.len - 52, &ev),
	    40);
	ck_assert_int_eq(ev.kind, PDU_EV_DATA);
	ck_assert_ptr_eq(ev.data, s.buf + 52);
	ck_assert_uint_eq(ev.len, 40);
	ck_assert_uint_eq(pdu_parser_feed(&p, s.buf + 92, 4, &ev), 4);
	ck_assert_int_eq(ev.kind, PDU_EV_END);
}
END_TEST

/* The end of a PDU needs no byte of the next. */
START_TEST(end_without_input)
{
	struct stream s = { .len = 0 };
	struct records out = { .n = 0 };
	struct pdu_framing f = framing(false, false, 8192);
	struct spec spec = { 0x21, 0, 0, 0 };
	struct pdu_parser p;
	struct pdu_event ev;
	struct record r;

	make_record(&r, &spec, 1);
	put_pdu(&s, &r, 0, &f);
	pdu_parser_init(&p, PDU_FROM_TARGET, &f);
	ck_assert_uint_eq(pdu_parser_feed(&p, s.buf, 48, &ev), 48);
	ck_assert_int_eq(ev.kind, PDU_EV_HEADER);
	ck_assert_uint_eq(pdu_parser_feed(&p, NULL, 0, &ev), 0);
	ck_assert_int_eq(ev.kind, PDU_EV_END);
	ck_assert_mem_eq(p.bhs, r.bhs, 48);
	ck_assert_uint_eq(pdu_parser_feed(&p, NULL, 0, &ev), 0);
	ck_assert_int_eq(ev.kind, PDU_EV_MORE);
	feed(&p, s.buf, s.len, &out);
	same_records(&out, &r, 1);
}
END_TEST

/*
 * The final Login Response without digests and the first PDU with them, in
 * one segment and in every split: the switch is at the PDU's first byte.
 */
START_TEST(framing_switch)
{
	struct stream s = { .len = 0 };
	struct records out = { .n = 0 };
	static const struct spec login = { 0x23, 0, 9, 0 };
	static const struct spec first = { 0x25, 0, 7, 0 };
	struct pdu_framing plain = framing(false, false, 8192);
	struct pdu_framing digests = framing(true, true, 262144);
	struct record want[2];
	struct pdu_parser p;
	size_t cut;

	make_record(&want[0], &login, 1);
	make_record(&want[1], &first, 2);
	put_pdu(&s, &want[0], 0, &plain);
	put_pdu(&s, &want[1], 0, &digests);
	for (cut = 0; cut <= s.len; cut++) {
		memset(&out, 0, sizeof(out));
		out.at_end = &digests;
		pdu_parser_init(&p, PDU_FROM_TARGET, &plain);
		feed(&p, s.buf, cut, &out);
		feed(&p, s.buf + cut, s.len - cut, &out);
		same_records(&out, want, 2);
	}
}
END_TEST

/* A new framing waits for the next PDU, set in the middle of one. */
START_TEST(framing_switch_waits)
{
	struct stream s = { .len = 0 };
	struct records out = { .n = 0 };
	static const struct spec spec = { 0x25, 0, 7, 0 };
	struct pdu_framing plain = framing(false, false, 16);
	struct pdu_framing digests = framing(true, true, 4);
	struct pdu_parser p;
	struct record r;

	make_record(&r, &spec, 1);
	put_pdu(&s, &r, 0, &plain);
	pdu_parser_init(&p, PDU_FROM_TARGET, &plain);
	feed(&p, s.buf, 20, &out);
	pdu_parser_set_framing(&p, &digests);
	feed(&p, s.buf + 20, s.len - 20, &out);
	same_records(&out, &r, 1);
	ck_assert(pdu_parser_at_boundary(&p));

	/* The limit is a new one too. */
	s.len = 0;
	put_pdu(&s, &r, 0, &digests);
	feed(&p, s.buf, s.len, &out);
	ck_assert_int_eq(out.error, PDU_E_DSL);
}
END_TEST

/* The stream may end between PDUs and nowhere else. */
START_TEST(boundary)
{
	struct stream s = { .len = 0 };
	struct records out = { .n = 0 };
	struct pdu_framing f = framing(_i & 1, _i & 2, 8192);
	struct spec spec = { 0x25, 1, 6, 0 };
	struct pdu_parser p;
	struct record r;
	size_t i;

	make_record(&r, &spec, 1);
	put_pdu(&s, &r, 0, &f);
	pdu_parser_init(&p, PDU_FROM_TARGET, &f);
	ck_assert(pdu_parser_at_boundary(&p));
	for (i = 0; i < s.len; i++) {
		ck_assert(i == 0 || !pdu_parser_at_boundary(&p));
		feed(&p, s.buf + i, 1, &out);
	}
	ck_assert(pdu_parser_at_boundary(&p));
}
END_TEST

START_TEST(serialize_refuses)
{
	struct pdu_framing f = framing(true, true, 8192);
	uint8_t bhs[48] = { 0x01 }, ahs[8] = { 0, 5 }, bytes[8] = { 0 };
	struct iovec data = { bytes, 8 }, iov[5];
	struct pdu_trailer t;
	size_t total;

	iscsi_set_dsl(bhs, 4);
	ck_assert_int_eq(pdu_serialize(bhs, NULL, &data, 1, &f, &t, iov, 5,
	    &total), -EINVAL);
	iscsi_set_dsl(bhs, 9);
	ck_assert_int_eq(pdu_serialize(bhs, NULL, &data, 1, &f, &t, iov, 5,
	    &total), -EINVAL);
	ck_assert_int_eq(pdu_serialize(bhs, NULL, NULL, 0, &f, &t, iov, 5,
	    &total), -EINVAL);
	iscsi_set_dsl(bhs, 8);
	data.iov_len = SIZE_MAX;
	ck_assert_int_eq(pdu_serialize(bhs, NULL, &data, 1, &f, &t, iov, 5,
	    &total), -EINVAL);
	data.iov_len = 8;
	bhs[4] = 2;
	ck_assert_int_eq(pdu_serialize(bhs, NULL, &data, 1, &f, &t, iov, 5,
	    &total), -EINVAL);
	ck_assert_int_eq(pdu_serialize(bhs, ahs, &data, 1, &f, &t, iov, 4,
	    &total), -ENOBUFS);
	ck_assert_int_eq(pdu_serialize(bhs, ahs, &data, 1, &f, &t, iov, 5,
	    &total), 5);
	ck_assert_uint_eq(total, 48 + 8 + 4 + 8 + 4);
}
END_TEST

START_TEST(error_names)
{
	int e;

	for (e = PDU_OK; e <= PDU_E_DATA_DIGEST; e++)
		ck_assert_str_ne(pdu_error_name((enum pdu_error)e),
		    "unknown error");
	ck_assert_str_eq(pdu_error_name((enum pdu_error)99), "unknown error");
}
END_TEST

static TCase *
framing_tests(void)
{
	TCase *tc = tcase_create("framing");

	tcase_add_test(tc, framing_combinations);
	tcase_add_test(tc, literal_bytes);
	tcase_add_test(tc, longest_pdu);
	tcase_add_loop_test(tc, every_split, 0, 4);
	tcase_add_loop_test(tc, dribble, 0, 4);
	tcase_add_test(tc, one_data_event_an_input);
	tcase_add_test(tc, end_without_input);
	tcase_add_test(tc, framing_switch);
	tcase_add_test(tc, framing_switch_waits);
	tcase_add_loop_test(tc, boundary, 0, 4);
	tcase_add_test(tc, serialize_refuses);
	tcase_add_test(tc, error_names);
	return tc;
}

int
main(void)
{
	Suite *suite = suite_create("pdu");

	suite_add_tcase(suite, framing_tests());
	suite_add_tcase(suite, pdu_check_tests());
	suite_add_tcase(suite, pdu_kept_tests());
	return unit_run(suite);
}
