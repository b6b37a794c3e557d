/* SPDX-License-Identifier: ISC */
/*
 * Sequence numbers (daemon/sn.h): every row of the table which target PDU
 * consumes a StatSN, the command window, and all of it across the wrap.
 */
#include "config.h"

#include <string.h>

#include "daemon/sn.h"
#include "proto/iscsi.h"
#include "tests/unit/unit.h"

#define LAST	UINT32_C(0xffffffff)
#define ITT	UINT32_C(0x12345678)

static void
make_pdu(uint8_t *bhs, uint8_t opcode, uint8_t flags, uint32_t itt)
{
	memset(bhs, 0, ISCSI_BHS_LEN);
	bhs[ISCSI_OFF_OPCODE] = opcode;
	bhs[ISCSI_OFF_FLAGS] = flags;
	put_be32(bhs + ISCSI_OFF_ITT, itt);
}

static void
put_sns(uint8_t *bhs, uint32_t statsn, uint32_t expcmdsn, uint32_t maxcmdsn)
{
	put_be32(bhs + ISCSI_OFF_STATSN, statsn);
	put_be32(bhs + ISCSI_OFF_EXPCMDSN, expcmdsn);
	put_be32(bhs + ISCSI_OFF_MAXCMDSN, maxcmdsn);
}

/* A session whose login ended with these numbers. */
static void
start(struct sn *sn, uint32_t cmdsn, uint32_t statsn, uint32_t expcmdsn,
    uint32_t maxcmdsn)
{
	uint8_t bhs[ISCSI_BHS_LEN];

	make_pdu(bhs, ISCSI_OP_LOGIN_RSP, 0x87, 0);
	put_sns(bhs, statsn, expcmdsn, maxcmdsn);
	sn_start(sn, cmdsn, bhs);
}

/* Take a PDU that consumes no StatSN and carries this window. */
static void
window(struct sn *sn, uint32_t expcmdsn, uint32_t maxcmdsn)
{
	uint8_t bhs[ISCSI_BHS_LEN];

	make_pdu(bhs, ISCSI_OP_NOP_IN, 0x80, ISCSI_TAG_NONE);
	put_sns(bhs, sn->expstatsn, expcmdsn, maxcmdsn);
	ck_assert_int_eq(sn_consume(sn, bhs), SN_OK);
}

/* Stamp a request and give back its CmdSN. */
static uint32_t
stamp(struct sn *sn, uint8_t byte0, uint32_t itt)
{
	uint8_t bhs[ISCSI_BHS_LEN];

	make_pdu(bhs, byte0, 0x80, itt);
	memset(bhs + ISCSI_OFF_CMDSN, 0xa5, 8);
	sn_stamp(sn, bhs);
	ck_assert_uint_eq(get_be32(bhs + ISCSI_OFF_EXPSTATSN), sn->expstatsn);
	return get_be32(bhs + ISCSI_OFF_CMDSN);
}

/* The ExpStatSN of the next PDU that is sent. */
static uint32_t
next_expstatsn(struct sn *sn)
{
	uint8_t bhs[ISCSI_BHS_LEN];

	make_pdu(bhs, ISCSI_OP_NOP_OUT | ISCSI_IMMEDIATE, 0x80,
	    ISCSI_TAG_NONE);
	sn_stamp(sn, bhs);
	return get_be32(bhs + ISCSI_OFF_EXPSTATSN);
}

/*
 * One target PDU on a fresh session, near the wrap and away from it: the
 * next request must carry ExpStatSN + `advance`, and the window must follow.
 */
static void
check_row(uint8_t opcode, uint8_t flags, uint32_t itt, uint32_t advance)
{
	static const uint32_t at[] = { 0, 1, 1000, 0x7fffffff, LAST - 1, LAST };
	uint8_t bhs[ISCSI_BHS_LEN];
	struct sn sn;
	size_t i;

	for (i = 0; i < sizeof(at) / sizeof(at[0]); i++) {
		start(&sn, 7, at[i] - 1, 7, 7);
		make_pdu(bhs, opcode, flags, itt);
		put_sns(bhs, at[i], 8, 39);
		ck_assert_int_eq(sn_consume(&sn, bhs), SN_OK);
		ck_assert_uint_eq(next_expstatsn(&sn),
		    (uint32_t)(at[i] + advance));
		ck_assert_uint_eq(sn.expcmdsn, 8);
		ck_assert_uint_eq(sn.maxcmdsn, 39);
	}
}

START_TEST(test_statsn_scsi_response)
{
	check_row(ISCSI_OP_SCSI_RSP, 0x80, ITT, 1);
}
END_TEST

START_TEST(test_statsn_data_in_without_status)
{
	check_row(ISCSI_OP_DATA_IN, 0, ITT, 0);
	check_row(ISCSI_OP_DATA_IN, ISCSI_FLAG_FINAL, ITT, 0);
	check_row(ISCSI_OP_DATA_IN, ISCSI_FLAG_FINAL | ISCSI_DATAIN_ACK, ITT,
	    0);
}
END_TEST

/* Without S, bytes 24 to 27 are reserved: any value is fine. */
START_TEST(test_statsn_data_in_reserved_field)
{
	uint8_t bhs[ISCSI_BHS_LEN];
	struct sn sn;

	start(&sn, 7, 99, 7, 7);
	make_pdu(bhs, ISCSI_OP_DATA_IN, ISCSI_FLAG_FINAL, ITT);
	put_sns(bhs, 0, 8, 39);
	ck_assert_int_eq(sn_consume(&sn, bhs), SN_OK);
	put_sns(bhs, 101, 8, 39);
	ck_assert_int_eq(sn_consume(&sn, bhs), SN_OK);
	ck_assert_uint_eq(next_expstatsn(&sn), 100);
}
END_TEST

START_TEST(test_statsn_data_in_with_status)
{
	check_row(ISCSI_OP_DATA_IN, ISCSI_FLAG_FINAL | ISCSI_DATAIN_STATUS,
	    ITT, 1);
}
END_TEST

START_TEST(test_statsn_r2t)
{
	check_row(ISCSI_OP_R2T, ISCSI_FLAG_FINAL, ITT, 0);
}
END_TEST

START_TEST(test_statsn_nop_in_reply)
{
	check_row(ISCSI_OP_NOP_IN, ISCSI_FLAG_FINAL, ITT, 1);
	/* An ITT of zero is as good as any. */
	check_row(ISCSI_OP_NOP_IN, ISCSI_FLAG_FINAL, 0, 1);
}
END_TEST

START_TEST(test_statsn_nop_in_ping)
{
	check_row(ISCSI_OP_NOP_IN, ISCSI_FLAG_FINAL, ISCSI_TAG_NONE, 0);
}
END_TEST

START_TEST(test_statsn_tmf_response)
{
	check_row(ISCSI_OP_TMF_RSP, ISCSI_FLAG_FINAL, ITT, 1);
}
END_TEST

START_TEST(test_statsn_text_response)
{
	check_row(ISCSI_OP_TEXT_RSP, ISCSI_FLAG_FINAL, ITT, 1);
}
END_TEST

START_TEST(test_statsn_text_response_partial)
{
	check_row(ISCSI_OP_TEXT_RSP, 0, ITT, 1);
	check_row(ISCSI_OP_TEXT_RSP, ISCSI_TEXT_CONTINUE, ITT, 1);
}
END_TEST

START_TEST(test_statsn_login_response)
{
	check_row(ISCSI_OP_LOGIN_RSP, 0x87, 0, 1);
}
END_TEST

START_TEST(test_statsn_logout_response)
{
	check_row(ISCSI_OP_LOGOUT_RSP, ISCSI_FLAG_FINAL, ITT, 1);
}
END_TEST

START_TEST(test_statsn_async)
{
	check_row(ISCSI_OP_ASYNC, ISCSI_FLAG_FINAL, ISCSI_TAG_NONE, 1);
}
END_TEST

START_TEST(test_statsn_reject)
{
	check_row(ISCSI_OP_REJECT, ISCSI_FLAG_FINAL, ISCSI_TAG_NONE, 1);
}
END_TEST

/* A vendor's opcode is no row of the table and must not move anything. */
START_TEST(test_statsn_vendor_opcode)
{
	check_row(0x3c, ISCSI_FLAG_FINAL, ITT, 0);
}
END_TEST

/* The first status after login is the login's StatSN + 1. */
START_TEST(test_statsn_first_after_login)
{
	struct sn sn;

	start(&sn, 7, 4711, 7, 7);
	ck_assert_uint_eq(next_expstatsn(&sn), 4712);
	start(&sn, 7, LAST, 7, 7);
	ck_assert_uint_eq(next_expstatsn(&sn), 0);
}
END_TEST

/* Any other StatSN, below or above, is a lost PDU and moves nothing. */
START_TEST(test_statsn_gap_is_lost)
{
	static const uint32_t off[] = { 1, 2, 1000, 0x7fffffff, 0x80000000u,
	    LAST };
	static const uint32_t base[] = { 0, 5000, LAST };
	uint8_t bhs[ISCSI_BHS_LEN];
	struct sn sn;
	size_t i, j;

	for (j = 0; j < sizeof(base) / sizeof(base[0]); j++)
		for (i = 0; i < sizeof(off) / sizeof(off[0]); i++) {
			start(&sn, 7, base[j] - 1, 7, 7);
			make_pdu(bhs, ISCSI_OP_SCSI_RSP, 0x80, ITT);
			put_sns(bhs, base[j] + off[i], 8, 39);
			ck_assert_int_eq(sn_consume(&sn, bhs),
			    SN_LOST_STATUS);
			ck_assert_uint_eq(next_expstatsn(&sn), base[j]);
		}
}
END_TEST

/* Statuses in a row, over the wrap, each acknowledged by the next request. */
START_TEST(test_statsn_wrap)
{
	uint8_t bhs[ISCSI_BHS_LEN];
	uint32_t statsn = LAST - 5;
	struct sn sn;
	int i;

	start(&sn, 7, statsn - 1, 7, 7);
	for (i = 0; i < 12; i++, statsn++) {
		make_pdu(bhs, ISCSI_OP_SCSI_RSP, 0x80, ITT);
		put_sns(bhs, statsn, 7, 7);
		ck_assert_int_eq(sn_consume(&sn, bhs), SN_OK);
		ck_assert_uint_eq(next_expstatsn(&sn),
		    (uint32_t)(statsn + 1));
	}
	ck_assert_uint_eq(sn.expstatsn, 6);
}
END_TEST

START_TEST(test_ack_due)
{
	uint8_t bhs[ISCSI_BHS_LEN];
	struct sn sn;

	start(&sn, 7, 99, 7, 7);
	/* Nothing has acknowledged the final Login Response yet. */
	ck_assert(sn_ack_due(&sn));
	(void)next_expstatsn(&sn);
	ck_assert(!sn_ack_due(&sn));

	make_pdu(bhs, ISCSI_OP_R2T, 0x80, ITT);
	put_sns(bhs, 100, 7, 7);
	ck_assert_int_eq(sn_consume(&sn, bhs), SN_OK);
	ck_assert(!sn_ack_due(&sn));

	make_pdu(bhs, ISCSI_OP_ASYNC, 0x80, ISCSI_TAG_NONE);
	put_sns(bhs, 100, 7, 7);
	ck_assert_int_eq(sn_consume(&sn, bhs), SN_OK);
	ck_assert(sn_ack_due(&sn));
	/* A Data-Out acknowledges as well as any request. */
	(void)stamp(&sn, ISCSI_OP_DATA_OUT, ITT);
	ck_assert(!sn_ack_due(&sn));
}
END_TEST

/* The CmdSN of the login is used again by the first command. */
START_TEST(test_cmdsn_starts_with_the_logins)
{
	struct sn sn;

	start(&sn, 4242, 99, 4242, 4250);
	ck_assert_uint_eq(stamp(&sn, ISCSI_OP_SCSI_CMD, ITT), 4242);
	ck_assert_uint_eq(stamp(&sn, ISCSI_OP_SCSI_CMD, ITT), 4243);
}
END_TEST

START_TEST(test_cmdsn_immediate_carries_next)
{
	static const uint8_t opcodes[] = { ISCSI_OP_NOP_OUT,
	    ISCSI_OP_SCSI_CMD, ISCSI_OP_TMF_REQ, ISCSI_OP_TEXT_REQ,
	    ISCSI_OP_LOGOUT_REQ };
	uint32_t cmdsn = LAST - 2;
	struct sn sn;
	size_t i;

	start(&sn, cmdsn, 99, cmdsn, cmdsn + 100);
	for (i = 0; i < sizeof(opcodes); i++, cmdsn++) {
		uint8_t immediate = opcodes[i] | ISCSI_IMMEDIATE;

		ck_assert_uint_eq(stamp(&sn, immediate, ITT), cmdsn);
		ck_assert_uint_eq(stamp(&sn, immediate, ITT), cmdsn);
		ck_assert_uint_eq(stamp(&sn, opcodes[i], ITT), cmdsn);
	}
}
END_TEST

/* PDUs without a CmdSN field get zero there and consume nothing. */
START_TEST(test_cmdsn_absent)
{
	struct sn sn;

	start(&sn, 7, 99, 7, 38);
	ck_assert_uint_eq(stamp(&sn, ISCSI_OP_DATA_OUT, ITT), 0);
	ck_assert_uint_eq(stamp(&sn, ISCSI_OP_SNACK_REQ, ITT), 0);
	ck_assert_uint_eq(stamp(&sn, ISCSI_OP_SCSI_CMD, ITT), 7);
}
END_TEST

/*
 * Numbers are given when a PDU is stamped.  Of a thousand queued commands
 * every third is withdrawn before that: no number is missing.
 */
START_TEST(test_cmdsn_no_hole_after_cancel)
{
	uint8_t queue[1000][ISCSI_BHS_LEN];
	uint32_t want = LAST - 300;
	struct sn sn;
	size_t i;

	start(&sn, want, 99, want, want + 1000);
	for (i = 0; i < 1000; i++)
		make_pdu(queue[i], ISCSI_OP_SCSI_CMD, 0x80, (uint32_t)i);
	for (i = 0; i < 1000; i++) {
		if (i % 3 == 0)
			continue;
		sn_stamp(&sn, queue[i]);
		ck_assert_uint_eq(get_be32(queue[i] + ISCSI_OFF_CMDSN), want);
		want++;
	}
	ck_assert_uint_eq(sn.cmdsn, want);
}
END_TEST

/* Only ExpStatSN is written again; the CmdSN stays what it was. */
START_TEST(test_restamp)
{
	uint8_t bhs[ISCSI_BHS_LEN], before[ISCSI_BHS_LEN];
	uint8_t rsp[ISCSI_BHS_LEN];
	struct sn sn;

	start(&sn, 7, 99, 7, 38);
	make_pdu(bhs, ISCSI_OP_SCSI_CMD, 0x80, ITT);
	sn_stamp(&sn, bhs);
	memcpy(before, bhs, sizeof(before));

	make_pdu(rsp, ISCSI_OP_SCSI_RSP, 0x80, ITT);
	put_sns(rsp, 100, 7, 38);
	ck_assert_int_eq(sn_consume(&sn, rsp), SN_OK);
	ck_assert(sn_ack_due(&sn));
	sn_restamp(&sn, bhs);
	ck_assert(!sn_ack_due(&sn));
	ck_assert_uint_eq(get_be32(bhs + ISCSI_OFF_EXPSTATSN), 101);
	put_be32(before + ISCSI_OFF_EXPSTATSN, 101);
	ck_assert_mem_eq(bhs, before, sizeof(bhs));
	ck_assert_uint_eq(sn.cmdsn, 8);
}
END_TEST

/* Nothing but the two fields is touched. */
START_TEST(test_stamp_writes_only_its_fields)
{
	uint8_t bhs[ISCSI_BHS_LEN];
	struct sn sn;
	size_t i;

	start(&sn, 7, 99, 7, 38);
	memset(bhs, 0xa5, sizeof(bhs));
	bhs[0] = ISCSI_OP_SCSI_CMD;
	sn_stamp(&sn, bhs);
	for (i = 1; i < sizeof(bhs); i++)
		if (i < ISCSI_OFF_CMDSN || i >= ISCSI_OFF_EXPSTATSN + 4)
			ck_assert_uint_eq(bhs[i], 0xa5);
}
END_TEST

START_TEST(test_window_initial)
{
	struct sn sn;

	start(&sn, 10, 99, 10, 41);
	ck_assert_uint_eq(sn_window_room(&sn), 32);
	ck_assert(sn_window_open(&sn));
	start(&sn, LAST, 99, LAST, 1);
	ck_assert_uint_eq(sn_window_room(&sn), 3);
	/* MaxCmdSN below ExpCmdSN - 1 says nothing: closed until one does. */
	start(&sn, 10, 99, 10, 8);
	ck_assert(!sn_window_open(&sn));
	window(&sn, 10, 12);
	ck_assert_uint_eq(sn_window_room(&sn), 3);
}
END_TEST

START_TEST(test_window_closes_and_opens)
{
	static const uint32_t at[] = { 10, 0x7ffffffe, LAST - 1, LAST };
	struct sn sn;
	size_t i;

	for (i = 0; i < sizeof(at) / sizeof(at[0]); i++) {
		uint32_t n = at[i];

		start(&sn, n, 99, n, n + 1);
		ck_assert_uint_eq(sn_window_room(&sn), 2);
		(void)stamp(&sn, ISCSI_OP_SCSI_CMD, ITT);
		ck_assert_uint_eq(sn_window_room(&sn), 1);
		(void)stamp(&sn, ISCSI_OP_SCSI_CMD | ISCSI_IMMEDIATE, ITT);
		ck_assert_uint_eq(sn_window_room(&sn), 1);
		(void)stamp(&sn, ISCSI_OP_SCSI_CMD, ITT);
		ck_assert_uint_eq(sn_window_room(&sn), 0);
		ck_assert(!sn_window_open(&sn));
		/* ExpCmdSN alone catching up does not open it. */
		window(&sn, n + 2, n + 1);
		ck_assert(!sn_window_open(&sn));
		window(&sn, n + 2, n + 2);
		ck_assert_uint_eq(sn_window_room(&sn), 1);
	}
}
END_TEST

/* MaxCmdSN = ExpCmdSN - 1 is a legal window of zero. */
START_TEST(test_window_zero)
{
	static const uint32_t at[] = { 0, 1, 10, LAST };
	struct sn sn;
	size_t i;

	for (i = 0; i < sizeof(at) / sizeof(at[0]); i++) {
		start(&sn, at[i], 99, at[i], at[i] - 1);
		ck_assert(!sn_window_open(&sn));
		ck_assert_uint_eq(sn_window_room(&sn), 0);
		ck_assert_uint_eq(sn.expcmdsn, at[i]);
		window(&sn, at[i], at[i]);
		ck_assert_uint_eq(sn_window_room(&sn), 1);
	}
}
END_TEST

/* No command goes out that the target has already counted. */
START_TEST(test_window_below_expcmdsn)
{
	struct sn sn;

	start(&sn, 10, 99, 12, 40);
	ck_assert(!sn_window_open(&sn));
	ck_assert_uint_eq(sn_window_room(&sn), 0);
}
END_TEST

/* Each value only rises, and each for itself. */
START_TEST(test_window_never_goes_back)
{
	struct sn sn;

	start(&sn, 10, 99, 10, 41);
	window(&sn, 15, 46);
	window(&sn, 12, 43);
	ck_assert_uint_eq(sn.expcmdsn, 15);
	ck_assert_uint_eq(sn.maxcmdsn, 46);
	window(&sn, 16, 40);
	ck_assert_uint_eq(sn.expcmdsn, 16);
	ck_assert_uint_eq(sn.maxcmdsn, 46);
	window(&sn, 11, 50);
	ck_assert_uint_eq(sn.expcmdsn, 16);
	ck_assert_uint_eq(sn.maxcmdsn, 50);
}
END_TEST

/* MaxCmdSN < ExpCmdSN - 1: both values are ignored, greater or not. */
START_TEST(test_window_nonsense_ignored)
{
	struct sn sn;

	start(&sn, 10, 99, 10, 41);
	window(&sn, 60, 58);
	ck_assert_uint_eq(sn.expcmdsn, 10);
	ck_assert_uint_eq(sn.maxcmdsn, 41);
	/* One more and it is a window of zero, which counts. */
	window(&sn, 60, 59);
	ck_assert_uint_eq(sn.expcmdsn, 60);
	ck_assert_uint_eq(sn.maxcmdsn, 59);
}
END_TEST

START_TEST(test_window_wrap)
{
	struct sn sn;
	uint32_t n = LAST - 40;
	int i;

	start(&sn, n, 99, n, n + 15);
	for (i = 0; i < 100; i++) {
		ck_assert_uint_eq(sn_window_room(&sn), 16);
		ck_assert_uint_eq(stamp(&sn, ISCSI_OP_SCSI_CMD, ITT), n);
		n++;
		/* A stale value from before the wrap must not count. */
		window(&sn, n - 60, n - 45);
		ck_assert_uint_eq(sn_window_room(&sn), 15);
		window(&sn, n, n + 15);
	}
	ck_assert_uint_eq(n, 59);

	start(&sn, 1, 99, 1, 3);
	window(&sn, 0, LAST);
	ck_assert_uint_eq(sn.expcmdsn, 1);
	ck_assert_uint_eq(sn.maxcmdsn, 3);
	/* Zero as ExpCmdSN: one less is 0xffffffff, a window of zero. */
	start(&sn, LAST, 99, LAST, LAST);
	(void)stamp(&sn, ISCSI_OP_SCSI_CMD, ITT);
	window(&sn, 0, LAST);
	ck_assert_uint_eq(sn.expcmdsn, 0);
	ck_assert(!sn_window_open(&sn));
	window(&sn, 0, 0);
	ck_assert_uint_eq(sn_window_room(&sn), 1);
}
END_TEST

static Suite *
sn_suite(void)
{
	Suite *suite = suite_create("sn");
	TCase *statsn = tcase_create("statsn");
	TCase *cmdsn = tcase_create("cmdsn");
	TCase *win = tcase_create("window");

	tcase_add_test(statsn, test_statsn_scsi_response);
	tcase_add_test(statsn, test_statsn_data_in_without_status);
	tcase_add_test(statsn, test_statsn_data_in_reserved_field);
	tcase_add_test(statsn, test_statsn_data_in_with_status);
	tcase_add_test(statsn, test_statsn_r2t);
	tcase_add_test(statsn, test_statsn_nop_in_reply);
	tcase_add_test(statsn, test_statsn_nop_in_ping);
	tcase_add_test(statsn, test_statsn_tmf_response);
	tcase_add_test(statsn, test_statsn_text_response);
	tcase_add_test(statsn, test_statsn_text_response_partial);
	tcase_add_test(statsn, test_statsn_login_response);
	tcase_add_test(statsn, test_statsn_logout_response);
	tcase_add_test(statsn, test_statsn_async);
	tcase_add_test(statsn, test_statsn_reject);
	tcase_add_test(statsn, test_statsn_vendor_opcode);
	tcase_add_test(statsn, test_statsn_first_after_login);
	tcase_add_test(statsn, test_statsn_gap_is_lost);
	tcase_add_test(statsn, test_statsn_wrap);
	tcase_add_test(statsn, test_ack_due);
	suite_add_tcase(suite, statsn);
	tcase_add_test(cmdsn, test_cmdsn_starts_with_the_logins);
	tcase_add_test(cmdsn, test_cmdsn_immediate_carries_next);
	tcase_add_test(cmdsn, test_cmdsn_absent);
	tcase_add_test(cmdsn, test_cmdsn_no_hole_after_cancel);
	tcase_add_test(cmdsn, test_restamp);
	tcase_add_test(cmdsn, test_stamp_writes_only_its_fields);
	suite_add_tcase(suite, cmdsn);
	tcase_add_test(win, test_window_initial);
	tcase_add_test(win, test_window_closes_and_opens);
	tcase_add_test(win, test_window_zero);
	tcase_add_test(win, test_window_below_expcmdsn);
	tcase_add_test(win, test_window_never_goes_back);
	tcase_add_test(win, test_window_nonsense_ignored);
	tcase_add_test(win, test_window_wrap);
	suite_add_tcase(suite, win);
	return suite;
}

int
main(void)
{
	return unit_run(sn_suite());
}
