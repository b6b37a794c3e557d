/* SPDX-License-Identifier: ISC */
/*
 * Targets and clients that do what no honest one does: answers to what was
 * not asked, tasks that would never end, PDUs that cost more than they carry.
 * The session may be lost; the daemon loses neither memory nor its head.
 */
#include "config.h"

#include <sys/socket.h>

#include "tests/unit/session_fixture.h"

#define F ISCSI_FLAG_FINAL

static struct sclient *a, *b;

static uint32_t
open_sent(uint8_t flags, uint32_t itt, uint32_t edtl)
{
	accepted(a, command(flags, itt, edtl), 0, itt);
	return iscsi_itt(wire(ISCSI_OP_SCSI_CMD)->bhs);
}

/* A Text Response that asks for another request. */
static void
say_more_text(uint32_t itt, uint32_t ttt)
{
	uint8_t *bhs = from_target(ISCSI_OP_TEXT_RSP, 0, itt);

	put_be32(bhs + ISCSI_OFF_TTT, ttt);
	say_status(bhs, "a", 2);
}

/* --- targets */

/* Two answers at once, so that the second meets a request not yet sent. */
START_TEST(login_is_answered_twice)
{
	uint8_t bhs[2 * ISCSI_BHS_LEN], *first;

	fx_connect();
	wire(ISCSI_OP_LOGIN_REQ);
	first = from_target(ISCSI_OP_LOGIN_RSP, 0, 0);
	put_be32(first + ISCSI_OFF_TTT, 0);
	memcpy(bhs, first, ISCSI_BHS_LEN);
	memcpy(bhs + ISCSI_BHS_LEN, first, ISCSI_BHS_LEN);
	ck_assert_int_eq(send(fx.peer, bhs, sizeof(bhs), 0), sizeof(bhs));
	UNTIL(fx.s->phase == SESSION_FAILED || fx.s->phase == SESSION_WAITING);
	ck_assert_ptr_nonnull(strstr(fx.s->last_error, "not sent yet"));
}
END_TEST

/* The client's next request waits for the window when it is asked again. */
START_TEST(text_is_asked_for_twice)
{
	uint32_t itt;

	fx.window = 1;
	fx_up_with(&a, &b);
	fx.hold_window = true;
	accepted(a, text_request(1, RSV), 0, 1);
	itt = iscsi_itt(wire(ISCSI_OP_TEXT_REQ)->bhs);
	say_more_text(itt, 7);
	news(a, NEWS_PDU, 1);
	accepted(a, text_request(1, 7), 0, 1);
	wire_quiet();
	say_more_text(itt, 8);
	LOST("Text Response");
	news(a, NEWS_EVENT, 0);
	outcome(a, 1, MSG_OUTCOME_UNKNOWN, MSG_R_CONNECTION_LOST);
	no_news(a);
}
END_TEST

/*
 * A target that waits for the next request of a dead client refuses to abort
 * the exchange: it has no more to say, so the next one may begin.
 */
START_TEST(text_of_the_dead_is_not_aborted)
{
	uint32_t itt;

	fx.window = 2;
	fx_up_with(&a, &b);
	accepted(a, text_request(1, RSV), 0, 1);
	itt = iscsi_itt(wire(ISCSI_OP_TEXT_REQ)->bhs);
	if (_i == 1) {
		/* Its next request is there, but the window is closed. */
		fx.hold_window = true;
		fx.maxcmdsn = fx.expcmdsn - 1;
	}
	say_more_text(itt, 7);
	news(a, NEWS_PDU, 1);
	if (_i == 1) {
		accepted(b, command(READ_F, 5, 0), 0, 5);
		wire(ISCSI_OP_SCSI_CMD);
		accepted(a, text_request(1, 7), 0, 1);
		wire_quiet();
	}
	accepted(b, text_request(1, RSV), 0, 2);
	fx_die(a);
	itt = iscsi_itt(wire(ISCSI_OP_TMF_REQ)->bhs);
	fx.maxcmdsn = fx.expcmdsn + 8;
	say_tmf(itt, 5);
	ck_assert_uint_eq(iscsi_ttt(wire(ISCSI_OP_TEXT_REQ)->bhs), RSV);
}
END_TEST

/* The way to the target is full and stays so: its ABORT TASK can't leave. */
START_TEST(target_reads_no_more)
{
	fx.config.limits.abort_timeout = 50;
	fx.small = true;
	fx_up_with(&a, &b);
	open_sent(READ_F, 9, 512);
	stall(b, 1);
	turn();
	ck_assert_uint_gt(pump_unsent(fx.s->pump), 0);
	ck_assert(session_cancel(a->a, MSG_CANCEL_ITT, 9));
	lost("no answer to ABORT TASK");
	news(a, NEWS_EVENT, 0);
	outcome(a, 9, MSG_OUTCOME_UNKNOWN, MSG_R_CONNECTION_LOST);
}
END_TEST

/* While a client's function is outstanding, an ABORT TASK waits its turn. */
START_TEST(abort_waits_for_a_slow_reset)
{
	uint32_t itt, reset, tag;

	fx.config.limits.abort_timeout = 50;
	fx_up_with(&a, &b);
	itt = open_sent(READ_F, 9, 512);
	accepted(b, tmf(ISCSI_TMF_CLEAR_ACA, 1, RSV), 0, 1);
	reset = iscsi_itt(wire(ISCSI_OP_TMF_REQ)->bhs);
	ck_assert(session_cancel(a->a, MSG_CANCEL_ITT, 9));
	for (uint64_t until = loop_now(fx.worker->loop) + 200;
	    loop_now(fx.worker->loop) < until; )
		ck_assert_int_eq(loop_turn(fx.worker->loop, 10), 0);
	ck_assert_int_eq(fx.s->phase, SESSION_UP);
	say_tmf(reset, 0);
	tag = iscsi_itt(wire(ISCSI_OP_TMF_REQ)->bhs);
	ck_assert_uint_eq(get_be32(fx.got.bhs + ISCSI_OFF_RTT), itt);
	say_tmf(tag, 0);
	outcome(a, 9, MSG_OUTCOME_ABORTED, MSG_R_CANCELLED);
}
END_TEST

/* R2Ts of an aborted write, while the answers can't leave. */
START_TEST(endless_r2ts)
{
	uint32_t itt;
	unsigned i;

	fx.small = true;
	fx_up_with(&a, &b);
	itt = open_sent(WRITE_F, 9, 1 << 20);
	ck_assert(session_cancel(a->a, MSG_CANCEL_ITT, 9));
	wire(ISCSI_OP_TMF_REQ);
	stall(b, 1);
	turn();
	for (i = 0; i < 1000 && fx.s->phase == SESSION_UP; i++)
		say_r2t(itt, i, i * 512, 512);
	LOST("R2Ts faster");
	ck_assert_uint_lt(i, 200);
}
END_TEST

/* Only a client may know what a vendor's opcode means. */
START_TEST(vendor_opcode_answers_no_abort)
{
	uint32_t tag;

	fx_up_with(&a, &b);
	open_sent(READ_F, 9, 512);
	ck_assert(session_cancel(a->a, MSG_CANCEL_ITT, 9));
	tag = iscsi_itt(wire(ISCSI_OP_TMF_REQ)->bhs);
	say(from_target(0x3c, F, tag), NULL, 0);
	ck_assert_uint_eq(fx_stats().stale_pdus, 1);
	no_news(a);
	say_tmf(tag, 0);
	outcome(a, 9, MSG_OUTCOME_ABORTED, MSG_R_CANCELLED);
}
END_TEST

/* The tag of a Reject is reserved; some targets put the task's there. */
START_TEST(reject_with_a_tag)
{
	uint8_t rejected[ISCSI_BHS_LEN], *bhs;
	const struct news *n;
	uint32_t itt;

	fx_up_with(&a, &b);
	itt = open_sent(READ_F, 9, 512);
	memcpy(rejected, fx.got.bhs, sizeof(rejected));
	bhs = from_target(ISCSI_OP_REJECT, F, itt);
	bhs[ISCSI_OFF_RESPONSE] = 9;
	say_status(bhs, rejected, sizeof(rejected));
	n = news(a, NEWS_PDU, 9);
	ck_assert_uint_eq(iscsi_itt(n->bhs), RSV);
	ck_assert_uint_eq(iscsi_itt(n->data), 9);
	ck_assert_uint_eq(n->charge.tasks, 1);
}
END_TEST

/* --- clients */

/* A Data-Out takes memory besides its data, so there is an end to small ones. */
START_TEST(data_in_crumbs)
{
	uint32_t itt, i;

	fx_up_with(&a, &b);
	itt = open_sent(WRITE_F, 9, 4096);
	say_r2t(itt, 7, 0, 4096);
	news(a, NEWS_PDU, 9);
	for (i = 0; i < 16 + 4096 / 512; i++)
		accepted(a, data_out(0, 9, 7, i, i), 1, 9);
	ck_assert_int_eq(submit(a, data_out(0, 9, 7, i, i), 1, 9),
	    SUBMIT_ERROR);
	ck_assert_uint_eq(fx.why.reason, MSG_R_DATA_LIMIT);
}
END_TEST

/* Bits that are reserved in a Data-Out do not reach the target. */
START_TEST(reserved_bits_of_data)
{
	uint8_t *bhs;
	uint32_t itt;

	fx_up_with(&a, &b);
	itt = open_sent(WRITE_F, 9, 512);
	say_r2t(itt, 7, 0, 512);
	news(a, NEWS_PDU, 9);
	bhs = data_out(0xff, 9, 7, 0, 0);
	bhs[ISCSI_OFF_OPCODE] |= 0xc0;
	accepted(a, bhs, 512, 9);
	wire(ISCSI_OP_DATA_OUT);
	ck_assert_uint_eq(fx.got.bhs[ISCSI_OFF_OPCODE], ISCSI_OP_DATA_OUT);
	ck_assert_uint_eq(fx.got.bhs[ISCSI_OFF_FLAGS], F);
}
END_TEST

/*
 * The target does not know the task on that LUN and would say so, but the
 * task goes on: its tag must not be free for the next.
 */
START_TEST(abort_task_on_another_lun)
{
	const struct news *n;
	uint32_t itt;
	uint8_t *bhs;

	fx_up_with(&a, &b);
	itt = open_sent(READ_F, 9, 512);
	bhs = tmf(ISCSI_TMF_ABORT_TASK, 1, 9);
	put_be64(bhs + ISCSI_OFF_LUN, LUN_1 << 1);
	accepted(a, bhs, 0, 1);
	n = news(a, NEWS_PDU, 1);
	ck_assert_uint_eq(n->flags, FRAME_F_SYNTHETIC);
	ck_assert_uint_eq(n->bhs[ISCSI_OFF_RESPONSE], 1);
	wire_quiet();
	say_good(itt);
	news(a, NEWS_PDU, 9);
}
END_TEST

/* What a write announces is no debt before its data has its turns. */
START_TEST(huge_writes_take_turns)
{
	fx.hold_window = true;
	fx.window = 1;
	fx_up_with(&a, &b);
	accepted(a, command(READ_F, 1, 0), 0, 1);
	wire(ISCSI_OP_SCSI_CMD);
	for (uint32_t i = 10; i < 14; i++) {
		accepted(a, command(WRITE_F, i, UINT32_MAX), 0, i);
		accepted(b, command(WRITE_F, i, UINT32_MAX), 0, i);
	}
	fx.expcmdsn = 2;
	fx.maxcmdsn = 9;
	say_nop_in(RSV, RSV);
	for (unsigned i = 0; i < 8; i++)
		wire(ISCSI_OP_SCSI_CMD);
	ck_assert_int_gt(a->a->cmd_deficit, 0);
	ck_assert_int_gt(b->a->cmd_deficit, 0);
}
END_TEST

static void
add_tests(TCase *tc)
{
	tcase_add_test(tc, login_is_answered_twice);
	tcase_add_test(tc, text_is_asked_for_twice);
	tcase_add_loop_test(tc, text_of_the_dead_is_not_aborted, 0, 2);
	tcase_add_test(tc, target_reads_no_more);
	tcase_add_test(tc, abort_waits_for_a_slow_reset);
	tcase_add_test(tc, endless_r2ts);
	tcase_add_test(tc, vendor_opcode_answers_no_abort);
	tcase_add_test(tc, reject_with_a_tag);
	tcase_add_test(tc, data_in_crumbs);
	tcase_add_test(tc, reserved_bits_of_data);
	tcase_add_test(tc, abort_task_on_another_lun);
	tcase_add_test(tc, huge_writes_take_turns);
}

int
main(void)
{
	Suite *s = suite_create("session: wrong targets, wrong clients");
	TCase *tc = tcase_create("wrong");

	tcase_add_checked_fixture(tc, fx_setup, fx_teardown);
	tcase_set_timeout(tc, 30);
	add_tests(tc);
	suite_add_tcase(s, tc);
	return unit_run(s);
}
