/* SPDX-License-Identifier: ISC */
/*
 * What the PDU parser must refuse, and what it must let pass: digests,
 * limits, opcodes, AHS.
 */
#include "config.h"

#include <string.h>

#include "tests/unit/pdu_stream.h"

START_TEST(padding_not_zero)
{
	struct stream s = { .len = 0 };
	struct records out = { .n = 0 };
	struct pdu_framing f = framing(true, true, 8192);
	struct spec spec = { 0x25, 0, 3, 0xff };
	struct record r;

	make_record(&r, &spec, 1);
	memcpy(r.data, "abc", 3);
	put_pdu(&s, &r, 0xff, &f);
	ck_assert_mem_eq(s.buf + 52, "abc\xff\x1d\x5d\xe9\x99", 8);
	parse(&s, PDU_FROM_TARGET, &f, &out);
	same_records(&out, &r, 1);
}
END_TEST

/* A digest over the data alone, or over zeroes that were not sent, is bad. */
START_TEST(data_digest_covers_padding)
{
	static const char *const wrong[] = {
		"\xb7\x3f\x4b\x36", "\x4c\x0e\x94\x34",
	};
	struct stream s = { .len = 0 };
	struct records out = { .n = 0 };
	struct pdu_framing f = framing(false, true, 8192);
	struct spec spec = { 0x25, 0, 3, 0xff };
	struct record r;

	make_record(&r, &spec, 1);
	memcpy(r.data, "abc", 3);
	put_pdu(&s, &r, 0xff, &f);
	memcpy(s.buf + s.len - 4, wrong[_i], 4);
	parse(&s, PDU_FROM_TARGET, &f, &out);
	ck_assert_int_eq(out.error, PDU_E_DATA_DIGEST);
}
END_TEST

START_TEST(no_data_digest_without_data)
{
	struct stream s = { .len = 0 };
	struct records out = { .n = 0 };
	struct pdu_framing f = framing(false, true, 8192);
	struct spec spec = { 0x21, 0, 0, 0 };
	struct record r[2];

	make_record(&r[0], &spec, 1);
	make_record(&r[1], &spec, 2);
	put_pdu(&s, &r[0], 0, &f);
	put_pdu(&s, &r[1], 0, &f);
	ck_assert_uint_eq(s.len, 96);
	parse(&s, PDU_FROM_TARGET, &f, &out);
	same_records(&out, r, 2);
}
END_TEST

START_TEST(header_digest_error)
{
	struct stream s = { .len = 0 };
	struct records out = { .n = 0 };
	struct pdu_framing f = framing(true, true, 8192);
	struct spec spec = { 0x25, 2, 5, 0 };
	struct record r;

	make_record(&r, &spec, 1);
	put_pdu(&s, &r, 0, &f);
	put_pdu(&s, &r, 0, &f);
	/* Each byte of BHS, AHS and digest but TotalAHSLength. */
	if (_i == 4)
		return;
	s.buf[_i] ^= 0x10;
	parse(&s, PDU_FROM_TARGET, &f, &out);
	ck_assert_int_eq(out.error, PDU_E_HEADER_DIGEST);
	ck_assert_uint_eq(out.n, 0);
}
END_TEST

/*
 * A damaged DataSegmentLength must be found at the header's end: the digest
 * error comes without a byte of data, and before the limit is looked at.
 */
START_TEST(header_digest_before_dsl)
{
	struct stream s = { .len = 0 };
	struct records out = { .n = 0 };
	struct pdu_framing f = framing(true, false, 8192);
	struct spec spec = { 0x25, 0, 5, 0 };
	struct pdu_parser p;
	struct record r;

	make_record(&r, &spec, 1);
	put_pdu(&s, &r, 0, &f);
	s.buf[5] = 0xff;
	pdu_parser_init(&p, PDU_FROM_TARGET, &f);
	feed(&p, s.buf, 51, &out);
	ck_assert_int_eq(out.error, PDU_OK);
	feed(&p, s.buf + 51, 1, &out);
	ck_assert_int_eq(out.error, PDU_E_HEADER_DIGEST);
	ck_assert_uint_eq(out.n, 0);
}
END_TEST

/* Nor is a wrong opcode believed before the digest is right. */
START_TEST(header_digest_before_opcode)
{
	struct stream s = { .len = 0 };
	struct records out = { .n = 0 };
	struct pdu_framing f = framing(true, false, 8192);
	struct spec spec = { 0x21, 0, 0, 0 };
	struct record r;

	make_record(&r, &spec, 1);
	put_pdu(&s, &r, 0, &f);
	s.buf[0] = 0x01;
	parse(&s, PDU_FROM_TARGET, &f, &out);
	ck_assert_int_eq(out.error, PDU_E_HEADER_DIGEST);
	make_record(&r, &spec, 1);
	r.bhs[0] = 0x01;
	s.len = 0;
	put_pdu(&s, &r, 0, &f);
	parse(&s, PDU_FROM_TARGET, &f, &out);
	ck_assert_int_eq(out.error, PDU_E_OPCODE);
}
END_TEST

START_TEST(data_digest_error)
{
	struct stream s = { .len = 0 };
	struct records out = { .n = 0 };
	struct pdu_framing f = framing(false, true, 8192);
	struct spec spec = { 0x25, 0, 5, 0 };
	struct record r;

	make_record(&r, &spec, 1);
	put_pdu(&s, &r, 0, &f);
	put_pdu(&s, &r, 0, &f);
	s.buf[48 + _i] ^= 0x01;
	parse(&s, PDU_FROM_TARGET, &f, &out);
	ck_assert_int_eq(out.error, PDU_E_DATA_DIGEST);
	ck_assert_uint_eq(out.n, 1);
	ck_assert(!out.pdu[0].ended);
}
END_TEST

/* What no digest covers is taken as it comes. */
START_TEST(no_digest_no_check)
{
	struct stream s = { .len = 0 };
	struct records out = { .n = 0 };
	struct pdu_framing f = framing(_i & 1, _i & 2, 8192);
	struct spec spec = { 0x25, 0, 5, 0 };
	struct record r[2];

	make_record(&r[0], &spec, 1);
	make_record(&r[1], &spec, 2);
	put_pdu(&s, &r[0], 0, &f);
	put_pdu(&s, &r[1], 0, &f);
	if (!f.header_digest) {
		s.buf[20] ^= 0xff;
		r[0].bhs[20] ^= 0xff;
	}
	if (!f.data_digest) {
		s.buf[48 + (f.header_digest ? 4 : 0)] ^= 0xff;
		r[0].data[0] ^= 0xff;
	}
	parse(&s, PDU_FROM_TARGET, &f, &out);
	same_records(&out, r, 2);
}
END_TEST

START_TEST(dsl_limit)
{
	static const struct {
		uint32_t	max, dsl;
		bool		ok;
	} cases[] = {
		{ 8192, 8192, true }, { 8192, 8193, false },
		{ 1, 1, true }, { 1, 2, false }, { 1, 0, true },
		{ 0, 0xffffff, true }, { 0xffffff, 0xffffff, true },
		{ 0xfffffe, 0xffffff, false },
	};
	struct pdu_framing f = framing(_i & 1, false, 0);
	uint8_t wire[52] = { 0x25 };
	struct pdu_parser p;
	struct pdu_event ev;
	size_t i, len;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		f.max_dsl = cases[i].max;
		iscsi_set_dsl(wire, cases[i].dsl);
		crc32c_put(wire + 48, crc32c(wire, 48), CRC32C_LITTLE);
		pdu_parser_init(&p, PDU_FROM_TARGET, &f);
		len = f.header_digest ? 52 : 48;
		/* One byte short nothing is known, then it is at once. */
		(void)pdu_parser_feed(&p, wire, len - 1, &ev);
		ck_assert_int_eq(ev.kind, PDU_EV_MORE);
		(void)pdu_parser_feed(&p, wire + len - 1, 1, &ev);
		ck_assert_int_eq(ev.kind,
		    cases[i].ok ? PDU_EV_HEADER : PDU_EV_ERROR);
		ck_assert_int_eq(pdu_parser_error(&p),
		    cases[i].ok ? PDU_OK : PDU_E_DSL);
	}
}
END_TEST

/* Which opcodes each side may send. */
START_TEST(opcodes_by_sender)
{
	static const uint8_t targets[] = { 0x20, 0x21, 0x22, 0x23, 0x24, 0x25,
	    0x26, 0x31, 0x32, 0x3c, 0x3d, 0x3e, 0x3f };
	static const uint8_t initiators[] = { 0x00, 0x01, 0x02, 0x03, 0x04,
	    0x05, 0x06, 0x10, 0x1c, 0x1d, 0x1e };
	struct pdu_framing f = framing(false, false, 8192);
	uint8_t bhs[48] = { 0 };
	struct pdu_parser p;
	struct pdu_event ev;
	unsigned byte;
	bool ok;

	for (byte = 0; byte < 256; byte++) {
		bhs[0] = (uint8_t)byte;
		ok = memchr(targets, (int)(byte & 0x3f), sizeof(targets));
		pdu_parser_init(&p, PDU_FROM_TARGET, &f);
		(void)pdu_parser_feed(&p, bhs, 48, &ev);
		ck_assert_int_eq(pdu_parser_error(&p),
		    ok ? PDU_OK : PDU_E_OPCODE);
		ok = memchr(initiators, (int)(byte & 0x3f),
		    sizeof(initiators));
		pdu_parser_init(&p, PDU_FROM_INITIATOR, &f);
		(void)pdu_parser_feed(&p, bhs, 48, &ev);
		ck_assert_int_eq(pdu_parser_error(&p),
		    ok ? PDU_OK : PDU_E_OPCODE);
		pdu_parser_init(&p, PDU_FROM_ANYONE, &f);
		(void)pdu_parser_feed(&p, bhs, 48, &ev);
		ck_assert_int_eq(ev.kind, PDU_EV_HEADER);
	}
}
END_TEST

/* An initiator's AHS: on SCSI Commands only, and well formed. */
START_TEST(ahs_of_initiator)
{
	static const uint8_t opcodes[] = { 0x00, 0x02, 0x03, 0x04, 0x05, 0x06,
	    0x10 };
	struct stream s = { .len = 0 };
	struct records out = { .n = 0 };
	struct pdu_framing f = framing(_i & 1, false, 8192);
	struct spec spec = { 0x41, 2, 0, 0 };
	struct record r;
	size_t i;

	make_record(&r, &spec, 1);
	put_pdu(&s, &r, 0, &f);
	parse(&s, PDU_FROM_INITIATOR, &f, &out);
	same_records(&out, &r, 1);

	s.len = 0;
	r.ahs[1] = 6;
	put_pdu(&s, &r, 0, &f);
	parse(&s, PDU_FROM_INITIATOR, &f, &out);
	ck_assert_int_eq(out.error, PDU_E_AHS);

	for (i = 0; i < sizeof(opcodes); i++) {
		s.len = 0;
		spec.opcode = opcodes[i];
		make_record(&r, &spec, 1);
		put_pdu(&s, &r, 0, &f);
		parse(&s, PDU_FROM_INITIATOR, &f, &out);
		ck_assert_int_eq(out.error, PDU_E_AHS);
		ck_assert_uint_eq(out.n, 0);
	}
}
END_TEST

/* A target's is skipped, whatever is in it, up to the longest. */
START_TEST(ahs_of_target)
{
	struct stream s = { .len = 0 };
	struct records out = { .n = 0 };
	struct pdu_framing f = framing(_i & 1, false, 8192);
	struct spec spec = { 0x21, 255, 4, 0 };
	struct record r;

	make_record(&r, &spec, 1);
	memset(r.ahs, 0xff, sizeof(r.ahs));
	put_pdu(&s, &r, 0, &f);
	parse(&s, PDU_FROM_TARGET, &f, &out);
	same_records(&out, &r, 1);
}
END_TEST

/* Data where RFC 7143 has none: the framing must hold. */
START_TEST(data_on_nodata_opcodes)
{
	static const uint8_t opcodes[] = { 0x22, 0x26, 0x31, 0x20 };
	struct stream s = { .len = 0 };
	struct records out = { .n = 0 };
	struct pdu_framing f = framing(true, true, 8192);
	struct record r[sizeof(opcodes)];
	struct spec spec = { 0, 0, 6, 0 };
	unsigned i;

	for (i = 0; i < sizeof(opcodes); i++) {
		spec.opcode = opcodes[i];
		make_record(&r[i], &spec, i);
		put_pdu(&s, &r[i], 0, &f);
	}
	parse(&s, PDU_FROM_TARGET, &f, &out);
	same_records(&out, r, sizeof(opcodes));
}
END_TEST

START_TEST(big_endian_digests)
{
	struct stream s = { .len = 0 }, got;
	struct records out = { .n = 0 };
	static const struct spec spec = { 0x25, 0, 7, 0 };
	struct pdu_framing f = framing(true, true, 8192);
	struct record r;

	f.order = CRC32C_BIG;
	make_record(&r, &spec, 1);
	put_pdu(&s, &r, 0, &f);
	parse(&s, PDU_FROM_TARGET, &f, &out);
	same_records(&out, &r, 1);
	ck_assert_int_gt(serialize(&r, &f, &got), 0);
	ck_assert_uint_eq(got.len, s.len);
	ck_assert_mem_eq(got.buf, s.buf, s.len);
	f.order = CRC32C_LITTLE;
	parse(&s, PDU_FROM_TARGET, &f, &out);
	ck_assert_int_eq(out.error, PDU_E_HEADER_DIGEST);
}
END_TEST

/* PDUs with the digests that they must have, as numbers. */
static const struct known {
	const char	*bhs;		/* its first bytes; the rest are zero */
	size_t		 bhs_len;
	const char	*ahs;
	uint8_t		 ahs_words;
	const char	*data;
	uint32_t	 dsl;
	uint32_t	 header_digest;
	uint32_t	 data_digest;
} known[] = {
	/* RFC 7143 appendix A.4: a READ (10). */
	{ "\x01\xc0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x14\0\0\0\0\0\4\0"
	    "\0\0\0\x14\0\0\0\x18\x28\0\0\0\0\0\0\0\2", 41,
	    "", 0, "", 0, 0xd9963a56, 0 },
	/* The same as a bidirectional command, with the AHS of its length. */
	{ "\x01\xe0\0\0\2\0\0\0\0\0\0\0\0\0\0\0\x14\0\0\0\0\0\4\0"
	    "\0\0\0\x14\0\0\0\x18\x28\0\0\0\0\0\0\0\2", 41,
	    "\0\5\2\0\0\0\2", 2, "", 0, 0x5d31a12d, 0 },
	/* Padding of one zero byte. */
	{ "\0\0\0\0\0\0\0\3", 8, "", 0, "abc", 3, 0xe75a6258, 0x34940e4c },
	/* The buffers of RFC 7143 appendix A.4 as data segments. */
	{ "\0\0\0\0\0\0\0\x20", 8, "", 0,
	    "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
	    "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 32,
	    0x52f2ab7e, 0x8a9136aa },
	{ "\0\0\0\0\0\0\0\x20", 8, "", 0,
	    "\0\1\2\3\4\5\6\7\x8\x9\xa\xb\xc\xd\xe\xf"
	    "\x10\x11\x12\x13\x14\x15\x16\x17"
	    "\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f", 32,
	    0x52f2ab7e, 0x46dd794e },
};

/* Store a number byte by byte, the lowest first or the highest. */
static void
put_word(uint8_t *wire, uint32_t word, bool big)
{
	unsigned i;

	for (i = 0; i < 4; i++)
		wire[i] = (uint8_t)(word >> 8 * (big ? 3 - i : i));
}

/* The bytes of such a PDU, put together without the module under test. */
static void
put_known(struct stream *s, struct record *r, const struct known *k, bool big)
{
	const size_t head = ISCSI_BHS_LEN + (size_t)k->ahs_words * 4;
	const size_t padded = (k->dsl + 3) / 4 * 4;

	memset(r, 0, sizeof(*r));
	memset(s->buf, 0, sizeof(s->buf));
	memcpy(r->bhs, k->bhs, k->bhs_len);
	memcpy(r->ahs, k->ahs, (size_t)k->ahs_words * 4);
	memcpy(r->data, k->data, k->dsl);
	r->data_len = k->dsl;
	r->ended = true;
	memcpy(s->buf, r->bhs, ISCSI_BHS_LEN);
	memcpy(s->buf + ISCSI_BHS_LEN, r->ahs, head - ISCSI_BHS_LEN);
	put_word(s->buf + head, k->header_digest, big);
	s->len = head + CRC32C_SIZE;
	if (k->dsl == 0)
		return;
	memcpy(s->buf + s->len, r->data, r->data_len);
	put_word(s->buf + s->len + padded, k->data_digest, big);
	s->len += padded + CRC32C_SIZE;
}

/* Known digests are written and read, in the one order that is set. */
START_TEST(known_digests)
{
	const bool big = (_i & 1) != 0;
	const struct known *k = &known[_i / 2];
	struct stream s, got;
	struct records out;
	struct pdu_framing f = framing(true, true, 8192);
	struct record r;

	f.order = big ? CRC32C_BIG : CRC32C_LITTLE;
	put_known(&s, &r, k, big);
	ck_assert_int_gt(serialize(&r, &f, &got), 0);
	ck_assert_uint_eq(got.len, s.len);
	ck_assert_mem_eq(got.buf, s.buf, s.len);
	parse(&s, PDU_FROM_INITIATOR, &f, &out);
	same_records(&out, &r, 1);
	put_known(&s, &r, k, !big);
	parse(&s, PDU_FROM_INITIATOR, &f, &out);
	ck_assert_int_eq(out.error, PDU_E_HEADER_DIGEST);
	ck_assert_uint_eq(out.n, 0);
	if (k->dsl == 0)
		return;
	/* The header right, and the data digest in the other order. */
	put_word(s.buf + ISCSI_BHS_LEN, k->header_digest, big);
	parse(&s, PDU_FROM_INITIATOR, &f, &out);
	ck_assert_int_eq(out.error, PDU_E_DATA_DIGEST);
	ck_assert(!out.pdu[0].ended);
}
END_TEST

TCase *
pdu_check_tests(void)
{
	TCase *tc = tcase_create("checks");

	tcase_add_test(tc, padding_not_zero);
	tcase_add_loop_test(tc, data_digest_covers_padding, 0, 2);
	tcase_add_test(tc, no_data_digest_without_data);
	tcase_add_loop_test(tc, header_digest_error, 0, 60);
	tcase_add_test(tc, header_digest_before_dsl);
	tcase_add_test(tc, header_digest_before_opcode);
	tcase_add_loop_test(tc, data_digest_error, 0, 12);
	tcase_add_loop_test(tc, no_digest_no_check, 0, 4);
	tcase_add_loop_test(tc, dsl_limit, 0, 2);
	tcase_add_test(tc, opcodes_by_sender);
	tcase_add_loop_test(tc, ahs_of_initiator, 0, 2);
	tcase_add_loop_test(tc, ahs_of_target, 0, 2);
	tcase_add_test(tc, data_on_nodata_opcodes);
	tcase_add_test(tc, big_endian_digests);
	tcase_add_loop_test(tc, known_digests, 0,
	    2 * (int)(sizeof(known) / sizeof(known[0])));
	return tc;
}
