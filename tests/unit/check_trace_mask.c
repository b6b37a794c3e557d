/* SPDX-License-Identifier: ISC */
/*
 * Secrets in the text of a login (daemon/trace_mask.h): the values of CHAP_R
 * and CHAP_C and nothing else, however the text is cut into pieces and PDUs.
 */
#include "config.h"

#include <string.h>

#include "daemon/trace_mask.h"
#include "proto/iscsi.h"
#include "tests/unit/unit.h"

/* Both are as long as each other; the pairs end with a NUL each. */
#define TEXT	"CHAP_A=5,7\0CHAP_N=me\0CHAP_R=0xdeadBEEF\0CHAP_I=1\0"	\
		"CHAP_C=0bc2VjcmV0\0InitiatorName=CHAP_R=1\0XCHAP_R=2\0"	\
		"CHAP_RX=3\0CHAP_X=4\0CHAP_R\0CHAP_=5\0chap_r=6\0\0"	\
		"CHAP_C=\0CHAP_R=7=8\0CHAP_C=~CHAP_C=9"
#define MASKED	"CHAP_A=5,7\0CHAP_N=me\0CHAP_R=xxxxxxxxxx\0CHAP_I=1\0"	\
		"CHAP_C=xxxxxxxxxx\0InitiatorName=CHAP_R=1\0XCHAP_R=2\0"	\
		"CHAP_RX=3\0CHAP_X=4\0CHAP_R\0CHAP_=5\0chap_r=6\0\0"	\
		"CHAP_C=\0CHAP_R=xxx\0CHAP_C=xxxxxxxxx"
#define LEN	sizeof(TEXT)
#define HIDDEN	32u

static const uint8_t text[LEN] = TEXT;
static const uint8_t masked[LEN] = MASKED;
static const uint8_t more[ISCSI_BHS_LEN] = { ISCSI_OP_LOGIN_REQ,
	ISCSI_TEXT_CONTINUE };
static const uint8_t last[ISCSI_BHS_LEN] = { ISCSI_OP_LOGIN_REQ };

START_TEST(whole)
{
	struct trace_mask m = { 0 };
	uint8_t out[LEN];

	ck_assert_uint_eq(sizeof(TEXT), sizeof(MASKED));
	ck_assert_uint_eq(trace_mask_text(&m, text, out, LEN), HIDDEN);
	ck_assert_mem_eq(out, masked, LEN);
}
END_TEST

/* Into three pieces at every two places, in one PDU or three. */
START_TEST(every_split)
{
	uint8_t out[LEN];
	size_t hidden;

	for (size_t a = 0; a <= LEN; a++) {
		for (size_t b = a; b <= LEN; b++) {
			struct trace_mask m = { 0 };

			hidden = trace_mask_text(&m, text, out, a);
			if (_i != 0)
				trace_mask_pdu_end(&m, more);
			hidden += trace_mask_text(&m, text + a, out + a,
			    b - a);
			if (_i != 0)
				trace_mask_pdu_end(&m, more);
			hidden += trace_mask_text(&m, text + b, out + b,
			    LEN - b);
			ck_assert_uint_eq(hidden, HIDDEN);
			ck_assert_mem_eq(out, masked, LEN);
		}
	}
}
END_TEST

START_TEST(one_byte_at_a_time)
{
	struct trace_mask m = { 0 };
	uint8_t out;

	for (size_t i = 0; i < LEN; i++) {
		trace_mask_text(&m, text + i, &out, 1);
		ck_assert_uint_eq(out, masked[i]);
		trace_mask_pdu_end(&m, more);
	}
}
END_TEST

/* What went before and was not looked at counts all the same. */
START_TEST(without_output)
{
	uint8_t out[LEN];

	for (size_t a = 0; a <= LEN; a++) {
		struct trace_mask m = { 0 };

		trace_mask_text(&m, text, NULL, a);
		trace_mask_pdu_end(&m, more);
		trace_mask_text(&m, text + a, out, LEN - a);
		ck_assert_mem_eq(out, masked + a, LEN - a);
	}
}
END_TEST

/* After a PDU without the C bit a key begins, whatever was open. */
START_TEST(next_text)
{
	static const char *const open[] = { "CHAP_R=123", "CHAP_", "Some",
		"" };
	uint8_t out[16];

	for (size_t i = 0; i < sizeof(open) / sizeof(open[0]); i++) {
		struct trace_mask m = { 0 };

		trace_mask_text(&m, (const uint8_t *)open[i], NULL,
		    strlen(open[i]));
		trace_mask_pdu_end(&m, last);
		trace_mask_text(&m, (const uint8_t *)"R=a\0CHAP_R=b", out,
		    13);
		ck_assert_mem_eq(out, "R=a\0CHAP_R=x", 13);
	}
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("trace_mask");
	TCase *tc = tcase_create("mask");

	tcase_add_test(tc, whole);
	tcase_add_loop_test(tc, every_split, 0, 2);
	tcase_add_test(tc, one_byte_at_a_time);
	tcase_add_test(tc, without_output);
	tcase_add_test(tc, next_text);
	suite_add_tcase(suite, tc);
	return unit_run(suite);
}
