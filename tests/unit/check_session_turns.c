/* SPDX-License-Identifier: ISC */
/*
 * What goes out of turn or one at a time: immediate requests, answers to
 * pings, acknowledgements, Text exchanges (RFC 7143 sections 4.2.2.1, 6.2 and
 * 11.18).
 */
#include "config.h"

#include "tests/unit/session_fixture.h"

/* --- immediates */

START_TEST(one_immediate_of_each_kind)
{
	uint32_t t1, t2, n1;
	struct sclient *c;

	fx_up();
	c = fx_attach();
	for (uint32_t i = 1; i <= 3; i++) {
		accepted(c, nop_out(true, i), 0, i);
		accepted(c, tmf(ISCSI_TMF_CLEAR_ACA, 10 + i, RSV), 0, 10 + i);
	}
	t1 = iscsi_itt(wire(ISCSI_OP_TMF_REQ)->bhs);
	n1 = iscsi_itt(wire(ISCSI_OP_NOP_OUT)->bhs);
	wire_quiet();
	say_nop_in(n1, RSV);
	wire(ISCSI_OP_NOP_OUT);
	wire_quiet();
	say_tmf(t1, 0);
	t2 = iscsi_itt(wire(ISCSI_OP_TMF_REQ)->bhs);
	ck_assert_uint_ne(t2, t1);
	wire_quiet();
	news(c, NEWS_PDU, 1);
	news(c, NEWS_PDU, 11);
	no_news(c);
}
END_TEST

/* Answers to pings, then clients' TMFs, then others, then our ABORT TASKs. */
START_TEST(order_of_immediates)
{
	struct sclient *c;
	uint32_t itt;

	fx.small = true;
	fx_up();
	c = fx_attach();
	accepted(c, command(READ_F, 2, 0), 0, 2);
	itt = iscsi_itt(wire(ISCSI_OP_SCSI_CMD)->bhs);
	stall(c, 1);
	turn();
	ck_assert(session_cancel(c->a, MSG_CANCEL_COOKIE, 2));
	accepted(c, nop_out(true, 3), 0, 3);
	accepted(c, tmf(ISCSI_TMF_CLEAR_ACA, 4, RSV), 0, 4);
	say_nop_in(RSV, 0x1234);
	unstall(1);
	wire(ISCSI_OP_NOP_OUT);
	ck_assert_uint_eq(iscsi_ttt(fx.got.bhs), 0x1234);
	wire(ISCSI_OP_TMF_REQ);
	ck_assert_uint_eq(fx.got.bhs[ISCSI_OFF_FLAGS], ISCSI_FLAG_FINAL |
	    ISCSI_TMF_CLEAR_ACA);
	say_tmf(iscsi_itt(fx.got.bhs), 0);
	wire(ISCSI_OP_NOP_OUT);
	wire(ISCSI_OP_TMF_REQ);
	ck_assert_uint_eq(get_be32(fx.got.bhs + ISCSI_OFF_RTT), itt);
	wire_quiet();
}
END_TEST

START_TEST(commands_are_never_immediate)
{
	struct sclient *c;
	uint8_t *bhs;

	fx_up();
	c = fx_attach();
	bhs = command(READ_F, 1, 0);
	bhs[0] |= ISCSI_IMMEDIATE;
	ck_assert_int_eq(submit(c, bhs, 0, 1), SUBMIT_REFUSED);
	ck_assert_uint_eq(fx.why.reason, MSG_R_BAD_FIELD);
	wire_quiet();
}
END_TEST

/* --- pings and acknowledgements */

/* At once, the window closed or not, and with all of its LUN. */
START_TEST(ping_is_answered)
{
	const uint64_t lun = UINT64_C(0x0123456789abcdef);
	uint8_t *bhs;

	fx.window = _i == 0 ? 64 : 0;
	fx_up();
	bhs = from_target(ISCSI_OP_NOP_IN, ISCSI_FLAG_FINAL, RSV);
	put_be64(bhs + ISCSI_OFF_LUN, lun);
	put_be32(bhs + ISCSI_OFF_TTT, 0x55aa55aa);
	say(bhs, "junk", _i == 0 ? 0 : 4);
	wire(ISCSI_OP_NOP_OUT);
	ck_assert_uint_eq(fx.got.bhs[0], ISCSI_OP_NOP_OUT | ISCSI_IMMEDIATE);
	ck_assert_uint_eq(fx.got.bhs[1], ISCSI_FLAG_FINAL);
	ck_assert_uint_eq(fx.got.len, 0);
	ck_assert_uint_eq(iscsi_lun(fx.got.bhs), lun);
	ck_assert_uint_eq(iscsi_itt(fx.got.bhs), RSV);
	ck_assert_uint_eq(iscsi_ttt(fx.got.bhs), 0x55aa55aa);
	ck_assert_uint_eq(fx_stats().pings_answered, 1);
}
END_TEST

/* Nothing is sent for a while: the status is acknowledged all the same. */
START_TEST(idle_status_is_acknowledged)
{
	struct sclient *c;

	fx_up();
	c = fx_attach();
	accepted(c, command(READ_F, 1, 0), 0, 1);
	wire(ISCSI_OP_SCSI_CMD);
	say_good(iscsi_itt(fx.got.bhs));
	ck_assert(loop_timer_armed(fx.s->ack_timer));
	fx.want_acks = true;
	wire(ISCSI_OP_NOP_OUT);
	ck_assert(iscsi_is_immediate(fx.got.bhs));
	ck_assert_uint_eq(iscsi_itt(fx.got.bhs), RSV);
	ck_assert_uint_eq(iscsi_ttt(fx.got.bhs), RSV);
	ck_assert_uint_eq(get_be32(fx.got.bhs + ISCSI_OFF_EXPSTATSN),
	    fx.statsn);
}
END_TEST

START_TEST(reserved_tag_is_the_daemons)
{
	struct sclient *c;
	uint8_t *bhs;

	fx_up();
	c = fx_attach();
	ck_assert_int_eq(submit(c, nop_out(true, RSV), 0, 1), SUBMIT_REFUSED);
	ck_assert_uint_eq(fx.why.reason, MSG_R_BAD_ITT);
	bhs = nop_out(true, 4);
	put_be32(bhs + ISCSI_OFF_TTT, 4);
	ck_assert_int_eq(submit(c, bhs, 0, 1), SUBMIT_REFUSED);
	ck_assert_uint_eq(fx.why.reason, MSG_R_BAD_TAG);
	wire_quiet();
}
END_TEST

/* --- Text */

START_TEST(one_text_exchange_at_a_time)
{
	struct sclient *a, *b;
	uint32_t itt;
	uint8_t *bhs;

	fx_up();
	a = fx_attach();
	b = fx_attach();
	accepted(a, text_request(1, RSV), 0, 1);
	accepted(b, text_request(1, RSV), 0, 2);
	itt = iscsi_itt(wire(ISCSI_OP_TEXT_REQ)->bhs);
	wire_quiet();
	/* Partial: the exchange goes on, the lock stays. */
	bhs = from_target(ISCSI_OP_TEXT_RSP, 0, itt);
	put_be32(bhs + ISCSI_OFF_TTT, 0x77);
	say_status(bhs, "a", 2);
	ck_assert_uint_eq(news(a, NEWS_PDU, 1)->charge.tasks, 0);
	wire_quiet();
	/* Not the other client's, and not with another tag. */
	ck_assert_int_eq(submit(b, text_request(1, 0x77), 0, 2),
	    SUBMIT_ERROR);
	ck_assert_int_eq(submit(a, text_request(1, 0x78), 0, 1),
	    SUBMIT_ERROR);
	ck_assert_uint_eq(fx.why.reason, MSG_R_BAD_TAG);
	accepted(a, text_request(1, 0x77), 0, 1);
	wire(ISCSI_OP_TEXT_REQ);
	ck_assert_uint_eq(iscsi_itt(fx.got.bhs), itt);
	ck_assert_uint_eq(iscsi_ttt(fx.got.bhs), 0x77);
	say_status(from_target(ISCSI_OP_TEXT_RSP, ISCSI_FLAG_FINAL, itt),
	    "b", 2);
	ck_assert_uint_eq(news(a, NEWS_PDU, 1)->charge.tasks, 1);
	wire(ISCSI_OP_TEXT_REQ);
	say_status(from_target(ISCSI_OP_TEXT_RSP, ISCSI_FLAG_FINAL,
	    iscsi_itt(fx.got.bhs)), NULL, 0);
	news(b, NEWS_PDU, 2);
}
END_TEST

/* The client dies in the middle: the exchange is aborted, the lock freed. */
START_TEST(text_lock_outlives_no_client)
{
	struct sclient *a, *b;
	uint32_t itt, tag;

	fx_up();
	a = fx_attach();
	b = fx_attach();
	accepted(a, text_request(1, RSV), 0, 1);
	accepted(b, text_request(1, RSV), 0, 2);
	itt = iscsi_itt(wire(ISCSI_OP_TEXT_REQ)->bhs);
	fx_die(a);
	tag = iscsi_itt(wire(ISCSI_OP_TMF_REQ)->bhs);
	ck_assert_uint_eq(get_be32(fx.got.bhs + ISCSI_OFF_RTT), itt);
	wire_quiet();
	say_tmf(tag, 1);
	wire(ISCSI_OP_TEXT_REQ);
}
END_TEST

/* It does not go on: the same, and the session and the other go on. */
START_TEST(text_lock_is_released_in_time)
{
	struct sclient *a, *b;
	uint32_t itt, tag;
	uint8_t *bhs;

	fx.sconf.text_timeout = 300;
	fx_up();
	a = fx_attach();
	b = fx_attach();
	accepted(a, text_request(1, RSV), 0, 1);
	accepted(b, text_request(1, RSV), 0, 2);
	itt = iscsi_itt(wire(ISCSI_OP_TEXT_REQ)->bhs);
	bhs = from_target(ISCSI_OP_TEXT_RSP, 0, itt);
	put_be32(bhs + ISCSI_OFF_TTT, 7);
	say_status(bhs, "a", 1);
	news(a, NEWS_PDU, 1);
	tag = iscsi_itt(wire(ISCSI_OP_TMF_REQ)->bhs);
	ck_assert_uint_eq(get_be32(fx.got.bhs + ISCSI_OFF_RTT), itt);
	say_tmf(tag, 5);
	outcome(a, 1, MSG_OUTCOME_TIMED_OUT, MSG_R_R2T_TIMEOUT);
	/* The next one begins anew, which resets what the target has. */
	wire(ISCSI_OP_TEXT_REQ);
	ck_assert_uint_eq(iscsi_ttt(fx.got.bhs), RSV);
	ck_assert_int_eq(fx.s->phase, SESSION_UP);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("session: turns");
	TCase *tc = tcase_create("turns");

	tcase_add_checked_fixture(tc, fx_setup, fx_teardown);
	tcase_set_timeout(tc, 10);
	tcase_add_test(tc, one_immediate_of_each_kind);
	tcase_add_test(tc, order_of_immediates);
	tcase_add_test(tc, commands_are_never_immediate);
	tcase_add_loop_test(tc, ping_is_answered, 0, 2);
	tcase_add_test(tc, idle_status_is_acknowledged);
	tcase_add_test(tc, reserved_tag_is_the_daemons);
	tcase_add_test(tc, one_text_exchange_at_a_time);
	tcase_add_test(tc, text_lock_outlives_no_client);
	tcase_add_test(tc, text_lock_is_released_in_time);
	suite_add_tcase(s, tc);
	return unit_run(s);
}
