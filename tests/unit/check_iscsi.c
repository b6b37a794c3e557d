/* SPDX-License-Identifier: ISC */
/*
 * The opcode table and the predicates over a BHS, row by row against RFC
 * 7143; numbers are written out here and not taken from the header, so that
 * a wrong constant is found.
 */
#include "config.h"

#include <errno.h>
#include <string.h>

#include "proto/iscsi.h"
#include "proto/serial.h"
#include "tests/unit/unit.h"

static void
make(uint8_t *bhs, uint8_t opcode, uint8_t flags, uint32_t itt, uint32_t ttt)
{
	memset(bhs, 0, ISCSI_BHS_LEN);
	bhs[0] = opcode;
	bhs[1] = flags;
	put_be32(bhs + 16, itt);
	put_be32(bhs + 20, ttt);
}

static void
expect(const uint8_t *bhs, bool final, bool statsn)
{
	ck_assert_int_eq(iscsi_is_final(bhs), final);
	ck_assert_int_eq(iscsi_consumes_statsn(bhs), statsn);
}

START_TEST(row_scsi_response)
{
	uint8_t bhs[48];

	make(bhs, 0x21, 0x80, 7, 0);
	expect(bhs, true, true);
}
END_TEST

START_TEST(row_data_in)
{
	uint8_t bhs[48];

	make(bhs, 0x25, 0x00, 7, 0xffffffff);
	expect(bhs, false, false);
	make(bhs, 0x25, 0x80, 7, 0xffffffff);
	expect(bhs, false, false);
}
END_TEST

START_TEST(row_data_in_status)
{
	uint8_t bhs[48];

	make(bhs, 0x25, 0x81, 7, 0xffffffff);
	expect(bhs, true, true);
}
END_TEST

START_TEST(row_r2t)
{
	uint8_t bhs[48];

	make(bhs, 0x31, 0x80, 7, 9);
	expect(bhs, false, false);
}
END_TEST

START_TEST(row_nop_in_reply)
{
	uint8_t bhs[48];

	make(bhs, 0x20, 0x80, 7, 0xffffffff);
	expect(bhs, true, true);
	make(bhs, 0x20, 0x80, 0, 0xffffffff);
	expect(bhs, true, true);
}
END_TEST

START_TEST(row_nop_in_ping)
{
	uint8_t bhs[48];

	make(bhs, 0x20, 0x80, 0xffffffff, 9);
	expect(bhs, false, false);
	make(bhs, 0x20, 0x80, 0xffffffff, 0xffffffff);
	expect(bhs, false, false);
}
END_TEST

START_TEST(row_tmf_response)
{
	uint8_t bhs[48];

	make(bhs, 0x22, 0x80, 7, 0);
	expect(bhs, true, true);
}
END_TEST

START_TEST(row_text_response)
{
	uint8_t bhs[48];

	make(bhs, 0x24, 0x80, 7, 0xffffffff);
	expect(bhs, true, true);
	make(bhs, 0x24, 0x00, 7, 9);
	expect(bhs, false, true);
	make(bhs, 0x24, 0x40, 7, 9);
	expect(bhs, false, true);
}
END_TEST

START_TEST(row_login_response)
{
	uint8_t bhs[48];

	make(bhs, 0x23, 0x00, 0, 0);
	expect(bhs, false, true);
	make(bhs, 0x23, 0x81, 0, 0);
	expect(bhs, false, true);
	make(bhs, 0x23, 0x87, 0, 0);
	expect(bhs, true, true);
	make(bhs, 0x23, 0x07, 0, 0);
	expect(bhs, false, true);
	make(bhs, 0x23, 0x00, 0, 0);
	bhs[36] = 2;
	expect(bhs, true, true);
}
END_TEST

START_TEST(row_logout_response)
{
	uint8_t bhs[48];

	make(bhs, 0x26, 0x80, 7, 0);
	expect(bhs, true, true);
}
END_TEST

START_TEST(row_async_message)
{
	uint8_t bhs[48];

	make(bhs, 0x32, 0x80, 0xffffffff, 0xffffffff);
	expect(bhs, false, true);
}
END_TEST

START_TEST(row_reject)
{
	uint8_t bhs[48];

	make(bhs, 0x3f, 0x80, 0xffffffff, 0xffffffff);
	expect(bhs, false, true);
}
END_TEST

static const struct {
	uint8_t		 opcode;
	const char	*name;
	unsigned	 traits;
} table[] = {
	{ 0x00, "NOP-Out", ISCSI_T_CMDSN | ISCSI_T_OPENS | ISCSI_T_TTT },
	{ 0x01, "SCSI Command", ISCSI_T_CMDSN | ISCSI_T_OPENS | ISCSI_T_AHS },
	{ 0x02, "Task Management Function Request", ISCSI_T_CMDSN |
	    ISCSI_T_OPENS | ISCSI_T_RTT | ISCSI_T_NODATA },
	{ 0x03, "Login Request", ISCSI_T_CMDSN | ISCSI_T_OPENS },
	{ 0x04, "Text Request", ISCSI_T_CMDSN | ISCSI_T_OPENS | ISCSI_T_TTT },
	{ 0x05, "SCSI Data-Out", ISCSI_T_TTT },
	{ 0x06, "Logout Request", ISCSI_T_CMDSN | ISCSI_T_OPENS |
	    ISCSI_T_NODATA },
	{ 0x10, "SNACK Request", ISCSI_T_TTT | ISCSI_T_NODATA },
	{ 0x20, "NOP-In", ISCSI_T_STATSN_TAG | ISCSI_T_FINAL | ISCSI_T_TTT },
	{ 0x21, "SCSI Response", ISCSI_T_STATSN | ISCSI_T_FINAL },
	{ 0x22, "Task Management Function Response", ISCSI_T_STATSN |
	    ISCSI_T_FINAL | ISCSI_T_NODATA },
	{ 0x23, "Login Response", ISCSI_T_STATSN },
	{ 0x24, "Text Response", ISCSI_T_STATSN | ISCSI_T_FINAL_F |
	    ISCSI_T_TTT },
	{ 0x25, "SCSI Data-In", ISCSI_T_STATSN_S | ISCSI_T_FINAL_S |
	    ISCSI_T_TTT },
	{ 0x26, "Logout Response", ISCSI_T_STATSN | ISCSI_T_FINAL |
	    ISCSI_T_NODATA },
	{ 0x31, "Ready To Transfer", ISCSI_T_TTT | ISCSI_T_NODATA },
	{ 0x32, "Asynchronous Message", ISCSI_T_STATSN },
	{ 0x3f, "Reject", ISCSI_T_STATSN },
};

START_TEST(opcode_table)
{
	size_t i, n = 0;
	unsigned opcode;

	for (opcode = 0; opcode < 256; opcode++) {
		for (i = 0; i < sizeof(table) / sizeof(table[0]); i++)
			if (table[i].opcode == opcode)
				break;
		if (i == sizeof(table) / sizeof(table[0])) {
			ck_assert_uint_eq(
			    iscsi_opcode_traits((uint8_t)opcode), 0);
			ck_assert_str_eq(iscsi_opcode_name((uint8_t)opcode),
			    "unknown");
			continue;
		}
		n++;
		ck_assert_uint_eq(iscsi_opcode_traits((uint8_t)opcode),
		    table[i].traits | ISCSI_T_KNOWN);
		ck_assert_str_eq(iscsi_opcode_name((uint8_t)opcode),
		    table[i].name);
	}
	ck_assert_uint_eq(n, 18);
}
END_TEST

START_TEST(opcode_bits)
{
	uint8_t bhs[48];

	make(bhs, 0xc1, 0x80, 7, 0);
	ck_assert_uint_eq(iscsi_opcode(bhs), 0x01);
	ck_assert(iscsi_is_immediate(bhs));
	make(bhs, 0xa1, 0x80, 7, 0);
	ck_assert_uint_eq(iscsi_opcode(bhs), 0x21);
	ck_assert(!iscsi_is_immediate(bhs));
	expect(bhs, true, true);
	ck_assert(iscsi_from_target(0x20));
	ck_assert(!iscsi_from_target(0x1f));
}
END_TEST

START_TEST(dsl_beside_ahs)
{
	uint8_t bhs[48];

	make(bhs, 0x01, 0x80, 7, 0);
	bhs[4] = 255;
	iscsi_set_dsl(bhs, 0xffffff);
	ck_assert_uint_eq(bhs[4], 255);
	ck_assert_uint_eq(iscsi_dsl(bhs), 0xffffff);
	ck_assert_uint_eq(iscsi_ahs_len(bhs), 1020);
	ck_assert_uint_eq(bhs[8], 0);
	iscsi_set_dsl(bhs, 0x010203);
	ck_assert_mem_eq(bhs + 4, "\xff\x01\x02\x03", 4);
	bhs[4] = 0;
	ck_assert_uint_eq(iscsi_dsl(bhs), 0x010203);
}
END_TEST

START_TEST(padding)
{
	ck_assert_uint_eq(iscsi_pad(0), 0);
	ck_assert_uint_eq(iscsi_pad(1), 3);
	ck_assert_uint_eq(iscsi_pad(2), 2);
	ck_assert_uint_eq(iscsi_pad(3), 1);
	ck_assert_uint_eq(iscsi_pad(4), 0);
	ck_assert_uint_eq(iscsi_pad(0xffffff), 1);
}
END_TEST

/* Which responses fit: a row a request, all 64 opcodes tried on each. */
START_TEST(responses_that_fit)
{
	static const struct {
		uint8_t	request;
		uint8_t	responses[4];
	} fits[] = {
		{ 0x00, { 0x20 } },
		{ 0x01, { 0x21, 0x25, 0x31 } },
		{ 0x02, { 0x22 } },
		{ 0x03, { 0x23 } },
		{ 0x04, { 0x24 } },
		{ 0x06, { 0x26 } },
	};
	static const uint8_t closed[] = { 0x05, 0x10, 0x1c, 0x07, 0x21, 0xff };
	size_t i, j;
	unsigned op;

	for (i = 0; i < sizeof(fits) / sizeof(fits[0]); i++)
		for (op = 0; op < 64; op++) {
			bool want = op >= 0x3c;

			for (j = 0; j < 4; j++)
				if (fits[i].responses[j] == op && op != 0)
					want = true;
			ck_assert_int_eq(iscsi_response_fits(fits[i].request,
			    (uint8_t)op), want);
		}
	for (i = 0; i < sizeof(closed); i++)
		for (op = 0; op < 256; op++)
			ck_assert(!iscsi_response_fits(closed[i],
			    (uint8_t)op));
}
END_TEST

START_TEST(ahs_chain)
{
	static const uint8_t bidi[8] = { 0x00, 0x05, 0x02, 0, 0, 0, 2, 0 };
	static const uint8_t six[8] = { 0x00, 0x06, 0x02, 0, 0, 0, 2, 0 };
	static const uint8_t both[16] = {
		0x00, 0x05, 0x02, 0, 0, 0, 2, 0,
		0x00, 0x05, 0x01, 0, 1, 2, 3, 4,
	};
	/* A CDB of 17 bytes: AHSLength 17 - 15, one word with padding. */
	static const uint8_t extended[8] = { 0x00, 0x02, 0x01, 0, 9, 0, 0, 0 };
	uint8_t longest[1024];

	ck_assert_int_eq(iscsi_ahs_check(NULL, 0), 0);
	ck_assert_int_eq(iscsi_ahs_check(bidi, 8), 0);
	ck_assert_int_eq(iscsi_ahs_check(bidi, 4), -EBADMSG);
	ck_assert_int_eq(iscsi_ahs_check(bidi, 7), -EBADMSG);
	ck_assert_int_eq(iscsi_ahs_check(six, 8), -EBADMSG);
	ck_assert_int_eq(iscsi_ahs_check(both, 16), 0);
	ck_assert_int_eq(iscsi_ahs_check(both, 12), -EBADMSG);
	ck_assert_int_eq(iscsi_ahs_check(extended, 8), 0);
	memset(longest, 0, sizeof(longest));
	put_be16(longest, 1017);
	ck_assert_int_eq(iscsi_ahs_check(longest, 1020), 0);
	ck_assert_int_eq(iscsi_ahs_check(longest, 1016), -EBADMSG);
	put_be16(longest, 1021);
	ck_assert_int_eq(iscsi_ahs_check(longest, 1024), -EBADMSG);
	put_be16(longest, 0xffff);
	ck_assert_int_eq(iscsi_ahs_check(longest, 1020), -EBADMSG);
	memset(longest, 0, sizeof(longest));
	ck_assert_int_eq(iscsi_ahs_check(longest, 1020), 0);
}
END_TEST

START_TEST(words)
{
	static const uint16_t known[] = {
		0x0000, 0x0101, 0x0102, 0x0200, 0x0201, 0x0202, 0x0203,
		0x0204, 0x0205, 0x0206, 0x0207, 0x0208, 0x0209, 0x020a,
		0x020b, 0x0300, 0x0301, 0x0302,
	};
	size_t i;
	unsigned n;

	for (i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		ck_assert_ptr_null(strstr(iscsi_login_status_name(
		    (uint8_t)(known[i] >> 8), (uint8_t)known[i]), "unknown"));
	ck_assert_str_eq(iscsi_login_status_name(2, 1),
	    "authentication failure");
	ck_assert_str_eq(iscsi_login_status_name(2, 3), "target not found");
	ck_assert_str_eq(iscsi_login_status_name(1, 0),
	    "redirection, unknown detail");
	ck_assert_str_eq(iscsi_login_status_name(2, 99),
	    "initiator error, unknown detail");
	ck_assert_str_eq(iscsi_login_status_name(9, 0),
	    "unknown status class");
	for (n = 0; n < 256; n++) {
		ck_assert_int_eq(n < 0x02 || n > 0x0c,
		    strstr(iscsi_reject_reason_name((uint8_t)n),
		    "unknown") != NULL);
		ck_assert_int_eq(n > 7 && n != 255,
		    strstr(iscsi_tmf_response_name((uint8_t)n),
		    "unknown") != NULL);
		ck_assert_int_eq(n < 1 || n > 12,
		    strstr(iscsi_tmf_name((uint8_t)n), "unknown") != NULL);
	}
	ck_assert_str_eq(iscsi_reject_reason_name(0x04), "protocol error");
	ck_assert_str_eq(iscsi_tmf_response_name(1), "task does not exist");
	ck_assert_str_eq(iscsi_tmf_name(1), "ABORT TASK");
	ck_assert_str_eq(iscsi_tmf_name(8), "TASK REASSIGN");
}
END_TEST

START_TEST(serial_numbers)
{
	ck_assert(serial_lt(0, 1));
	ck_assert(!serial_lt(1, 0));
	ck_assert(!serial_lt(5, 5));
	ck_assert(serial_le(5, 5));
	ck_assert(serial_lt(0xffffffff, 0));
	ck_assert(serial_lt(0xfffffff0, 0x10));
	ck_assert(!serial_lt(0x10, 0xfffffff0));
	ck_assert(serial_lt(0, 0x7fffffff));
	ck_assert(!serial_lt(0, 0x80000000));
	ck_assert(!serial_lt(0x80000000, 0));
	ck_assert(!serial_le(0x80000000, 0));
}
END_TEST

static TCase *
rows(void)
{
	TCase *tc = tcase_create("rows");

	tcase_add_test(tc, row_scsi_response);
	tcase_add_test(tc, row_data_in);
	tcase_add_test(tc, row_data_in_status);
	tcase_add_test(tc, row_r2t);
	tcase_add_test(tc, row_nop_in_reply);
	tcase_add_test(tc, row_nop_in_ping);
	tcase_add_test(tc, row_tmf_response);
	tcase_add_test(tc, row_text_response);
	tcase_add_test(tc, row_login_response);
	tcase_add_test(tc, row_logout_response);
	tcase_add_test(tc, row_async_message);
	tcase_add_test(tc, row_reject);
	return tc;
}

int
main(void)
{
	Suite *suite = suite_create("iscsi");
	TCase *tc = tcase_create("iscsi");

	tcase_add_test(tc, opcode_table);
	tcase_add_test(tc, opcode_bits);
	tcase_add_test(tc, dsl_beside_ahs);
	tcase_add_test(tc, padding);
	tcase_add_test(tc, responses_that_fit);
	tcase_add_test(tc, ahs_chain);
	tcase_add_test(tc, words);
	tcase_add_test(tc, serial_numbers);
	suite_add_tcase(suite, rows());
	suite_add_tcase(suite, tc);
	return unit_run(suite);
}
