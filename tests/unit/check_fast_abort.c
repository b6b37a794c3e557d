/* SPDX-License-Identifier: ISC */
/*
 * fast-abort = yes: from a task management function to its answer the target
 * gets no Data-Out of the tasks it is about; those that live after it go on.
 * The other way is check_session_abort.c's.
 */
#include "config.h"

#include "tests/unit/session_fixture.h"

#define F ISCSI_FLAG_FINAL
#define LUN_2 UINT64_C(0x0002000000000000)
#define REFUSED 0xff

static struct sclient *a, *b;

static void
up_with_clients(void)
{
	fx.sconf.fast_abort = true;
	fx_up_with(&a, &b);
}

static uint32_t
open_write(struct sclient *c, uint64_t lun, uint32_t client_itt)
{
	uint8_t *bhs = command(WRITE_F, client_itt, 4096);

	put_be64(bhs + ISCSI_OFF_LUN, lun);
	accepted(c, bhs, 0, client_itt);
	return iscsi_itt(wire(ISCSI_OP_SCSI_CMD)->bhs);
}

static void
expect_data(uint32_t itt, uint32_t ttt, uint32_t offset, uint32_t len)
{
	const struct got *g = wire(ISCSI_OP_DATA_OUT);

	ck_assert_uint_eq(iscsi_itt(g->bhs), itt);
	ck_assert_uint_eq(iscsi_ttt(g->bhs), ttt);
	ck_assert_uint_eq(get_be32(g->bhs + ISCSI_OFF_BUFFER_OFFSET), offset);
	ck_assert_uint_eq(g->len, len);
}

static void
say_r2t_of(uint64_t lun, uint32_t itt)
{
	uint8_t *bhs = from_target(ISCSI_OP_R2T, F, itt);

	put_be64(bhs + ISCSI_OFF_LUN, lun);
	put_be32(bhs + ISCSI_OFF_TTT, 0x61);
	put_be32(bhs + ISCSI_OFF_DESIRED_LEN, 512);
	say(bhs, NULL, 0);
}

/* The tag of a LOGICAL UNIT RESET of LUN_1 that client `a` had sent. */
static uint32_t
reset_lun(void)
{
	accepted(a, tmf(ISCSI_TMF_LUN_RESET, 9, RSV), 0, 9);
	return iscsi_itt(wire(ISCSI_OP_TMF_REQ)->bhs);
}

/* --- tasks that their clients give up */

/* Neither R2Ts of before nor of after it are answered, unless it fails. */
START_TEST(r2ts_of_a_cancelled_write)
{
	uint32_t itt, tag;

	up_with_clients();
	itt = open_write(a, LUN_1, 5);
	say_r2t(itt, 0x51, 0, 1024);
	news(a, NEWS_PDU, 5);
	accepted(a, data_out(0, 5, 0x51, 0, 0), 512, 5);
	expect_data(itt, 0x51, 0, 512);
	ck_assert(session_cancel(a->a, MSG_CANCEL_ITT, 5));
	tag = iscsi_itt(wire(ISCSI_OP_TMF_REQ)->bhs);
	wire_quiet();
	say_r2t(itt, 0x52, 1024, 1024);
	wire_quiet();
	say_tmf(tag, _i == 0 ? 0 : REFUSED);
	outcome(a, 5, MSG_OUTCOME_ABORTED, MSG_R_CANCELLED);
	if (_i == 1) {
		expect_data(itt, 0x51, 512, 0);
		expect_data(itt, 0x52, 1024, 0);
		say_r2t(itt, 0x53, 2048, 1024);
		expect_data(itt, 0x53, 2048, 0);
	}
	wire_quiet();
	say_good(itt);
	ck_assert_uint_eq(fx_stats().stale_pdus, _i == 0 ? 1 : 0);
}
END_TEST

/* R2Ts of an orphan whose abort failed wait for a client's function, too. */
START_TEST(r2t_of_an_orphan)
{
	uint32_t itt, tag;

	up_with_clients();
	itt = open_write(b, LUN_1, 5);
	fx_die(b);
	say_tmf(iscsi_itt(wire(ISCSI_OP_TMF_REQ)->bhs), REFUSED);
	tag = reset_lun();
	say_r2t(itt, 0x51, 0, 1024);
	wire_quiet();
	say_tmf(tag, _i == 0 ? 0 : REFUSED);
	news(a, NEWS_PDU, 9);
	if (_i == 1)
		expect_data(itt, 0x51, 0, 0);
	wire_quiet();
}
END_TEST

/* --- tasks that others end */

/* What a client gives meanwhile waits: for nothing, or for a refusal. */
START_TEST(data_behind_a_reset)
{
	uint32_t itt, other, tag;
	uint8_t *bhs;

	up_with_clients();
	itt = open_write(b, LUN_1, 5);
	other = open_write(b, LUN_2, 6);
	say_r2t(itt, 0x51, 0, 1024);
	news(b, NEWS_PDU, 5);
	tag = reset_lun();
	accepted(b, data_out(0, 5, 0x51, 0, 0), 512, 5);
	accepted(b, data_out(F, 5, 0x51, 1, 512), 512, 5);
	say_r2t(itt, 0x52, 1024, 512);
	news(b, NEWS_PDU, 5);
	accepted(b, data_out(F, 5, 0x52, 0, 1024), 512, 5);
	wire_quiet();
	/* Those of another LUN pass. */
	say_r2t_of(LUN_2, other);
	news(b, NEWS_PDU, 6);
	bhs = data_out(F, 6, 0x61, 0, 0);
	put_be64(bhs + ISCSI_OFF_LUN, LUN_2);
	accepted(b, bhs, 512, 6);
	expect_data(other, 0x61, 0, 512);
	say_tmf(tag, _i == 0 ? 0 : REFUSED);
	news(a, NEWS_PDU, 9);
	if (_i == 0) {
		outcome(b, 5, MSG_OUTCOME_ABORTED, MSG_R_RESET);
	} else {
		expect_data(itt, 0x51, 0, 512);
		expect_data(itt, 0x51, 512, 512);
		expect_data(itt, 0x52, 1024, 512);
	}
	wire_quiet();
}
END_TEST

#define PIECES 100u

/* Unsolicited data that the function overtook, in the same way. */
START_TEST(burst_behind_a_reset)
{
	uint32_t sent = 0, tag;

	fx.small = true;
	up_with_clients();
	stall(b, 1);
	accepted(b, command(ISCSI_CMD_WRITE, 5, PIECES * 512), 0, 5);
	for (uint32_t i = 0; i < PIECES; i++)
		accepted(b, data_out(i == PIECES - 1 ? F : 0, 5, RSV, i,
		    i * 512), 512, 5);
	turn();
	nibble();
	accepted(a, tmf(ISCSI_TMF_LUN_RESET, 9, RSV), 0, 9);
	unstall(1);
	wire(ISCSI_OP_SCSI_CMD);
	while (wire_any() == ISCSI_OP_DATA_OUT)
		sent++;
	ck_assert_uint_lt(sent, PIECES);
	ck_assert_uint_eq(iscsi_opcode(fx.got.bhs), ISCSI_OP_TMF_REQ);
	tag = iscsi_itt(fx.got.bhs);
	wire_quiet();
	say_tmf(tag, _i == 0 ? 0 : REFUSED);
	for (; _i == 1 && sent < PIECES; sent++) {
		wire(ISCSI_OP_DATA_OUT);
		ck_assert_uint_eq(get_be32(fx.got.bhs + ISCSI_OFF_DATASN),
		    sent);
	}
	wire_quiet();
}
END_TEST

static void
add_tests(TCase *tc)
{
	tcase_add_loop_test(tc, r2ts_of_a_cancelled_write, 0, 2);
	tcase_add_loop_test(tc, r2t_of_an_orphan, 0, 2);
	tcase_add_loop_test(tc, data_behind_a_reset, 0, 2);
	tcase_add_loop_test(tc, burst_behind_a_reset, 0, 2);
}

int
main(void)
{
	Suite *s = suite_create("session: fast-abort");
	TCase *tc = tcase_create("fast-abort");

	tcase_add_checked_fixture(tc, fx_setup, fx_teardown);
	tcase_set_timeout(tc, 30);
	add_tests(tc);
	suite_add_tcase(s, tc);
	return unit_run(s);
}
