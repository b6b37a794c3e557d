/* SPDX-License-Identifier: ISC */
/*
 * libiscsimux: how a SCSI command is said to have ended.  Status in Data-In
 * and SCSI Response, sense, residuals, Response codes, Reject.
 */
#include "config.h"

#include <string.h>

#include "tests/unit/fakedaemon.h"
#include "tests/unit/unit.h"

#define BIG	4096u

static struct fake f;
static struct msg_params params;
static struct fake_end e;
static uint8_t request[ISCSI_BHS_LEN];
static uint64_t cookie;
static uint8_t want[BIG], buf[BIG];
static const uint8_t cdb[16] = { 0x88 };

static void
setup(void)
{
	params = fake_params();
	memset(&e, 0, sizeof(e));
	memset(buf, 0xee, sizeof(buf));
	fake_pattern(want, sizeof(want), 1);
	fake_attach(&f, &params);
}

static void
teardown(void)
{
	fake_close(&f);
	ck_assert_uint_eq(e.count, 1);
}

/* Start a read and take its SUBMIT. */
static void
start_read(const struct iscsimux_scsi *s)
{
	ck_assert_int_eq(iscsimux_execute(f.h, s, fake_done, &e, NULL), 0);
	fake_want(&f, FRAME_SUBMIT);
	memcpy(request, f.frame.bhs, sizeof(request));
	cookie = f.frame.h.cookie;
}

static void
start_simple(size_t len)
{
	const struct iscsimux_scsi s = {
		.lun = { 0, 3 },
		.cdb = cdb,
		.cdb_len = 16,
		.direction = ISCSIMUX_DATA_IN,
		.attribute = ISCSIMUX_SIMPLE,
		.data = buf,
		.data_len = len,
	};

	start_read(&s);
}

static void
send_data(uint32_t off, uint32_t len)
{
	uint8_t bhs[ISCSI_BHS_LEN];

	fake_data_in(bhs, request, off, len);
	fake_pdu(&f, cookie, bhs, want + off, len);
}

static void
expect_good(uint32_t len)
{
	ck_assert_uint_eq(e.count, 1);
	ck_assert(iscsimux_result_good(&e.r));
	ck_assert_uint_eq(e.r.transferred, len);
	ck_assert_mem_eq(buf, want, len);
	if (len < BIG)
		ck_assert_uint_eq(buf[len], 0xee);
}

/* Status in the last Data-In; no SCSI Response follows. */
START_TEST(test_phase_collapse)
{
	uint8_t bhs[ISCSI_BHS_LEN];

	start_simple(2000);
	send_data(0, 1500);
	fake_data_in(bhs, request, 1500, 300);
	bhs[ISCSI_OFF_FLAGS] = ISCSI_FLAG_FINAL | ISCSI_DATAIN_STATUS |
	    ISCSI_RSP_UNDERFLOW;
	put_be32(bhs + ISCSI_OFF_RESIDUAL, 200);
	fake_pdu(&f, cookie, bhs, want + 1500, 300);
	expect_good(1800);
	ck_assert(e.r.underflow);
	ck_assert(!e.r.overflow);
	ck_assert_uint_eq(e.r.residual, 200);
}
END_TEST

START_TEST(test_collapse_without_data)
{
	uint8_t bhs[ISCSI_BHS_LEN];

	start_simple(512);
	fake_data_in(bhs, request, 0, 0);
	bhs[ISCSI_OFF_FLAGS] = ISCSI_FLAG_FINAL | ISCSI_DATAIN_STATUS |
	    ISCSI_RSP_UNDERFLOW;
	bhs[ISCSI_OFF_STATUS] = 0x08;
	put_be32(bhs + ISCSI_OFF_RESIDUAL, 512);
	fake_pdu(&f, cookie, bhs, NULL, 0);
	ck_assert_uint_eq(e.count, 1);
	ck_assert_int_eq(e.r.outcome, ISCSIMUX_COMPLETED);
	ck_assert_uint_eq(e.r.status, 0x08);
	ck_assert_uint_eq(e.r.transferred, 0);
}
END_TEST

START_TEST(test_sense)
{
	uint8_t data[2 + 18 + 4] = { 0, 18, 0x70, 0, 5 };
	uint8_t bhs[ISCSI_BHS_LEN];

	start_simple(512);
	fake_response(bhs, request, 2);
	iscsi_set_dsl(bhs, sizeof(data));
	bhs[ISCSI_OFF_FLAGS] |= ISCSI_RSP_OVERFLOW;
	put_be32(bhs + ISCSI_OFF_RESIDUAL, 1024);
	fake_pdu(&f, cookie, bhs, data, sizeof(data));
	ck_assert_uint_eq(e.count, 1);
	ck_assert_int_eq(e.r.outcome, ISCSIMUX_COMPLETED);
	ck_assert_uint_eq(e.r.status, 2);
	ck_assert_uint_eq(e.r.sense_len, 18);
	ck_assert_mem_eq(e.sense, data + 2, 18);
	ck_assert(e.r.overflow);
	ck_assert(!e.r.underflow);
	ck_assert_uint_eq(e.r.residual, 1024);
	ck_assert(!iscsimux_result_good(&e.r));
}
END_TEST

/* SenseLength may claim more than there is, or there may be half of it. */
START_TEST(test_bad_sense)
{
	uint8_t bhs[ISCSI_BHS_LEN];

	start_simple(512);
	fake_response(bhs, request, 2);
	iscsi_set_dsl(bhs, 5);
	fake_pdu(&f, cookie, bhs, "\xff\xff" "abc", 5);
	ck_assert_uint_eq(e.r.sense_len, 3);
	ck_assert_mem_eq(e.sense, "abc", 3);
	memset(&e, 0, sizeof(e));
	start_simple(512);
	fake_response(bhs, request, 2);
	iscsi_set_dsl(bhs, 1);
	fake_pdu(&f, cookie, bhs, "\xff", 1);
	ck_assert_uint_eq(e.count, 1);
	ck_assert_uint_eq(e.r.sense_len, 0);
}
END_TEST

START_TEST(test_target_failure)
{
	uint8_t bhs[ISCSI_BHS_LEN];

	start_simple(512);
	fake_response(bhs, request, 0);
	bhs[ISCSI_OFF_RESPONSE] = 1;
	fake_pdu(&f, cookie, bhs, NULL, 0);
	ck_assert_uint_eq(e.count, 1);
	ck_assert_int_eq(e.r.outcome, ISCSIMUX_FAILED);
	ck_assert_uint_eq(e.r.response, 1);
	ck_assert_str_eq(e.text, "target failure");
	ck_assert(!iscsimux_result_good(&e.r));
}
END_TEST

static void
send_reject(uint8_t opcode)
{
	uint8_t bhs[ISCSI_BHS_LEN] = { ISCSI_OP_REJECT, ISCSI_FLAG_FINAL, 9 };
	uint8_t embedded[ISCSI_BHS_LEN];

	memcpy(embedded, request, sizeof(embedded));
	embedded[0] = opcode;
	put_be32(bhs + ISCSI_OFF_ITT, ISCSI_TAG_NONE);
	iscsi_set_dsl(bhs, ISCSI_BHS_LEN);
	fake_pdu(&f, cookie, bhs, embedded, sizeof(embedded));
}

START_TEST(test_reject)
{
	start_simple(512);
	send_reject(ISCSI_OP_DATA_OUT);		/* not the end */
	ck_assert_uint_eq(e.count, 0);
	send_reject(ISCSI_OP_SCSI_CMD);
	ck_assert_uint_eq(e.count, 1);
	ck_assert_int_eq(e.r.outcome, ISCSIMUX_FAILED);
	ck_assert_uint_eq(e.r.response, 9);
	ck_assert_uint_gt(strlen(e.text), 0);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("lib_status");
	TCase *tc = tcase_create("status");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, test_phase_collapse);
	tcase_add_test(tc, test_collapse_without_data);
	tcase_add_test(tc, test_sense);
	tcase_add_test(tc, test_bad_sense);
	tcase_add_test(tc, test_target_failure);
	tcase_add_test(tc, test_reject);
	suite_add_tcase(s, tc);
	return unit_run(s);
}
