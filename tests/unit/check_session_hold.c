/* SPDX-License-Identifier: ISC */
/*
 * Requests that wait while the session is down, and go on when it is up again
 * (RFC 7143 section 7.6), against a scripted target.  How the wait may end
 * otherwise is in check_hold_end.c.
 */
#include "config.h"

#include "tests/unit/hold_fixture.h"

#define F ISCSI_FLAG_FINAL

static void
expect_data(uint32_t itt, uint32_t datasn, uint32_t offset, uint32_t len)
{
	const struct got *g = wire(ISCSI_OP_DATA_OUT);

	ck_assert_uint_eq(iscsi_ttt(g->bhs), RSV);
	ck_assert_uint_eq(get_be32(g->bhs + ISCSI_OFF_DATASN), datasn);
	ck_assert_uint_eq(get_be32(g->bhs + ISCSI_OFF_BUFFER_OFFSET), offset);
	ck_assert_uint_eq(g->len, len);
	for (uint32_t i = 0; i < len; i++)
		ck_assert_uint_eq(g->data[i], pattern(itt, offset + i));
}

/* --- over a loss --- */

/* What was sent is unknown, what was not goes on in its order, once. */
START_TEST(queued_goes_on)
{
	uint32_t itt;

	window_closed();
	accepted(h, read_of(2), 0, 2);
	accepted(p, read_of(2), 0, 2);
	accepted(h, read_of(3), 0, 3);
	lose();
	outcome(h, 1, MSG_OUTCOME_UNKNOWN, MSG_R_CONNECTION_LOST);
	outcome(p, 2, MSG_OUTCOME_NOT_SENT, MSG_R_CONNECTION_LOST);
	accepted(h, read_of(4), 0, 4);
	not_sent_at_once(p, read_of(4));
	come_back();
	itt = wire_read(2);
	wire_read(3);
	wire_read(4);
	wire_quiet();
	say_good(itt);
	ck_assert_uint_eq(iscsi_itt(news(h, NEWS_PDU, 2)->bhs), 2);
	no_news(h);
	no_news(p);
}
END_TEST

/* Stamped, but the kernel has no byte: it was not sent, and its data too. */
START_TEST(stamped_goes_on)
{
	fx.small = true;
	fx_up();
	clients();
	stall(h, 1);
	accepted(h, command(ISCSI_CMD_WRITE, 2, 2500), 500, 2);
	accepted(h, data_out(0, 2, RSV, 0, 500), 1200, 2);
	accepted(h, data_out(F, 2, RSV, 1, 1700), 800, 2);
	accepted(h, read_of(4), 0, 4);
	accepted(p, read_of(2), 0, 2);
	turn();
	accepted(h, text_request(3, RSV), 0, 3);
	nibble();
	ck_assert_ptr_nonnull(fx.s->text);
	lose();
	outcome(h, 1, MSG_OUTCOME_UNKNOWN, MSG_R_CONNECTION_LOST);
	outcome(p, 2, MSG_OUTCOME_NOT_SENT, MSG_R_CONNECTION_LOST);
	come_back();
	wire(ISCSI_OP_TEXT_REQ);
	wire(ISCSI_OP_SCSI_CMD);
	ck_assert_uint_eq(fx.got.len, 500);
	ck_assert_uint_eq(fx.got.data[499], pattern(2, 499));
	expect_data(2, 0, 500, 1200);
	expect_data(2, 1, 1700, 800);
	wire_read(4);
	wire_quiet();
	no_news(h);
}
END_TEST

/* Of a burst that is long, the pump has only a part. */
START_TEST(half_stamped_goes_on)
{
	const uint32_t n = 80;

	fx.small = true;
	fx_up();
	clients();
	stall(h, 1);
	accepted(h, command(ISCSI_CMD_WRITE, 2, n * 512), 0, 2);
	for (uint32_t i = 0; i < n; i++)
		accepted(h, data_out(i + 1 == n ? F : 0, 2, RSV, i,
		    i * 512), 512, 2);
	turn();
	ck_assert(!STAILQ_EMPTY(&fx.s->bursts));
	lose();
	outcome(h, 1, MSG_OUTCOME_UNKNOWN, MSG_R_CONNECTION_LOST);
	come_back();
	wire(ISCSI_OP_SCSI_CMD);
	for (uint32_t i = 0; i < n; i++)
		expect_data(2, i, i * 512, 512);
	wire_quiet();
}
END_TEST

/* The client gives the rest of a burst while the session is down, or after. */
START_TEST(burst_is_completed)
{
	window_closed();
	accepted(h, command(ISCSI_CMD_WRITE, 2, 3000), 0, 2);
	accepted(h, data_out(0, 2, RSV, 0, 0), 1000, 2);
	lose();
	outcome(h, 1, MSG_OUTCOME_UNKNOWN, MSG_R_CONNECTION_LOST);
	accepted(h, data_out(0, 2, RSV, 1, 1000), 1000, 2);
	come_back();
	wire_quiet();
	accepted(h, data_out(F, 2, RSV, 2, 2000), 1000, 2);
	wire(ISCSI_OP_SCSI_CMD);
	expect_data(2, 0, 0, 1000);
	expect_data(2, 1, 1000, 1000);
	expect_data(2, 2, 2000, 1000);
	wire_quiet();
}
END_TEST

/* Data that the target asked for on the connection that is lost. */
START_TEST(old_data_is_refused)
{
	uint32_t itt, other;

	fx_up();
	clients();
	accepted(h, command(WRITE_F, 1, 4096), 0, 1);
	itt = iscsi_itt(wire(ISCSI_OP_SCSI_CMD)->bhs);
	accepted(p, command(WRITE_F, 1, 4096), 0, 1);
	other = iscsi_itt(wire(ISCSI_OP_SCSI_CMD)->bhs);
	say_r2t(itt, 7, 0, 4096);
	say_r2t(other, 8, 0, 4096);
	news(h, NEWS_PDU, 1);
	news(p, NEWS_PDU, 1);
	accepted(h, data_out(0, 1, 7, 0, 0), 1024, 1);
	wire(ISCSI_OP_DATA_OUT);
	lose();
	outcome(h, 1, MSG_OUTCOME_UNKNOWN, MSG_R_CONNECTION_LOST);
	outcome(p, 1, MSG_OUTCOME_UNKNOWN, MSG_R_CONNECTION_LOST);
	for (int up = 0; up < 2; up++) {
		ck_assert_int_eq(submit(h, data_out(F, 1, 7, 1, 1024), 3072,
		    1), SUBMIT_ERROR);
		ck_assert_uint_eq(fx.why.reason, MSG_R_NO_SUCH_TASK);
		ck_assert_int_eq(submit(p, data_out(F, 1, 8, 0, 0), 4096, 1),
		    SUBMIT_ERROR);
		ck_assert_uint_eq(fx.why.reason, MSG_R_NO_SUCH_TASK);
		if (up == 0)
			come_back();
	}
	/* A new task of that tag has no use for it either. */
	accepted(h, command(WRITE_F, 1, 4096), 0, 1);
	wire(ISCSI_OP_SCSI_CMD);
	ck_assert_int_eq(submit(h, data_out(F, 1, 7, 1, 1024), 3072, 1),
	    SUBMIT_ERROR);
	ck_assert_uint_eq(fx.why.reason, MSG_R_BAD_TAG);
	wire_quiet();
}
END_TEST

/* New limits: what breaks them is refused, the others go on. */
START_TEST(guard_looks_again)
{
	const struct news *n;

	window_closed();
	accepted(h, command(WRITE_F, 2, 4096), 2048, 2);
	accepted(h, command(ISCSI_CMD_WRITE, 3, 4096), 512, 3);
	accepted(h, data_out(F, 3, RSV, 0, 512), 3584, 3);
	accepted(h, command(WRITE_F, 4, 4096), 1024, 4);
	accepted(h, command(ISCSI_CMD_WRITE, 5, 800), 0, 5);
	accepted(h, data_out(F, 5, RSV, 0, 0), 800, 5);
	lose();
	outcome(h, 1, MSG_OUTCOME_UNKNOWN, MSG_R_CONNECTION_LOST);
	fx.keys = "InitialR2T=No\nImmediateData=Yes\nFirstBurstLength=1024\n"
	    "MaxOutstandingR2T=1\n";
	come_back();
	n = outcome(h, 2, MSG_OUTCOME_REFUSED, MSG_R_DATA_LIMIT);
	ck_assert_ptr_nonnull(strstr(n->outcome.text, "other limits"));
	ck_assert_uint_eq(n->outcome.flags, MSG_OUTCOME_F_NOT_SENT);
	n = outcome(h, 3, MSG_OUTCOME_REFUSED, MSG_R_DATA_LIMIT);
	ck_assert_ptr_nonnull(strstr(n->outcome.text,
	    "FirstBurstLength is 1024 now"));
	wire(ISCSI_OP_SCSI_CMD);
	ck_assert_uint_eq(fx.got.len, 1024);
	wire(ISCSI_OP_SCSI_CMD);
	expect_data(5, 0, 0, 800);
	wire_quiet();
	ck_assert_int_eq(submit(h, data_out(F, 3, RSV, 0, 512), 3584, 3),
	    SUBMIT_ERROR);
	no_news(h);
}
END_TEST

/* A login that fails changes nothing, and the time does not begin anew. */
START_TEST(second_loss)
{
	uint64_t until;

	window_closed();
	accepted(h, read_of(2), 0, 2);
	lose();
	outcome(h, 1, MSG_OUTCOME_UNKNOWN, MSG_R_CONNECTION_LOST);
	until = fx.s->hold_until;
	ck_assert_uint_ne(until, 0);
	for (int i = 0; i < 3; i++) {
		fx_accept();
		wire(ISCSI_OP_LOGIN_REQ);
		hang_up();
		UNTIL(fx.s->phase == SESSION_WAITING);
		ck_assert_uint_eq(fx.s->hold_until, until);
		no_news(h);
	}
	accepted(h, read_of(3), 0, 3);
	come_back();
	ck_assert_uint_eq(fx.s->hold_until, 0);
	wire_read(2);
	wire_read(3);
	wire_quiet();
	no_news(h);
}
END_TEST

/* The session logs out and in again: that is no end of what waits either. */
START_TEST(held_over_a_relogin)
{
	uint32_t itt = window_closed();

	accepted(h, read_of(2), 0, 2);
	session_relogin(fx.s, 60000, "why");
	accepted(h, read_of(3), 0, 3);
	not_sent_at_once(p, read_of(3));
	say_good(itt);
	news(h, NEWS_PDU, 1);
	wire(ISCSI_OP_LOGOUT_REQ);
	accepted(h, read_of(4), 0, 4);
	say_status(from_target(ISCSI_OP_LOGOUT_RSP, F,
	    iscsi_itt(fx.got.bhs)), NULL, 0);
	news(h, NEWS_EVENT, 0);
	news(p, NEWS_EVENT, 0);
	come_back();
	for (uint32_t i = 2; i <= 4; i++)
		wire_read(i);
	wire_quiet();
	no_news(h);
}
END_TEST

/* --- what does not wait --- */

/* What is immediate, and what no limit is known for. */
START_TEST(some_never_wait)
{
	fx_connect();
	fx.hold = true;
	h = fx_attach();
	not_sent_at_once(h, read_of(1));
	fx.hold = false;
	p = fx_attach();
	fx_log_in();
	news(h, NEWS_EVENT, 0);
	news(p, NEWS_EVENT, 0);
	/* One immediate of a kind is outstanding, the other waits. */
	accepted(h, nop_out(true, 1), 0, 1);
	accepted(h, nop_out(true, 2), 0, 2);
	accepted(h, tmf(ISCSI_TMF_CLEAR_ACA, 3, RSV), 0, 3);
	accepted(h, tmf(ISCSI_TMF_CLEAR_ACA, 4, RSV), 0, 4);
	wire(ISCSI_OP_TMF_REQ);
	wire(ISCSI_OP_NOP_OUT);
	wire_quiet();
	lose();
	outcome(h, 1, MSG_OUTCOME_UNKNOWN, MSG_R_CONNECTION_LOST);
	outcome(h, 2, MSG_OUTCOME_NOT_SENT, MSG_R_CONNECTION_LOST);
	outcome(h, 3, MSG_OUTCOME_UNKNOWN, MSG_R_CONNECTION_LOST);
	outcome(h, 4, MSG_OUTCOME_NOT_SENT, MSG_R_CONNECTION_LOST);
	not_sent_at_once(h, nop_out(true, 5));
	not_sent_at_once(h, tmf(ISCSI_TMF_LUN_RESET, 6, RSV));
	accepted(h, nop_out(false, 7), 0, 7);
	accepted(h, text_request(8, RSV), 0, 8);
	come_back();
	wire(ISCSI_OP_TEXT_REQ);
	wire(ISCSI_OP_NOP_OUT);
	ck_assert(!iscsi_is_immediate(fx.got.bhs));
	wire_quiet();
	no_news(h);
}
END_TEST

/* A Text exchange that is on its way ends with the connection. */
START_TEST(text_exchange_does_not_wait)
{
	uint32_t itt;
	uint8_t *bhs;

	fx.window = 1;
	fx_up();
	clients();
	accepted(h, text_request(1, RSV), 0, 1);
	itt = iscsi_itt(wire(ISCSI_OP_TEXT_REQ)->bhs);
	fx.hold_window = true;
	fx.maxcmdsn = fx.expcmdsn - 1;
	bhs = from_target(ISCSI_OP_TEXT_RSP, 0, itt);
	put_be32(bhs + ISCSI_OFF_TTT, 7);
	say_status(bhs, "a", 1);
	news(h, NEWS_PDU, 1);
	accepted(h, text_request(1, 7), 0, 1);
	accepted(h, text_request(2, RSV), 0, 2);
	wire_quiet();
	lose();
	outcome(h, 1, MSG_OUTCOME_UNKNOWN, MSG_R_CONNECTION_LOST);
	ck_assert_int_eq(submit(h, text_request(1, 7), 0, 1), SUBMIT_ERROR);
	come_back();
	wire(ISCSI_OP_TEXT_REQ);
	ck_assert_uint_eq(iscsi_ttt(fx.got.bhs), RSV);
	wire_quiet();
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("session: hold");
	TCase *tc = tcase_create("hold");

	tcase_add_checked_fixture(tc, fx_setup, fx_teardown);
	tcase_set_timeout(tc, 10);
	tcase_add_test(tc, queued_goes_on);
	tcase_add_test(tc, stamped_goes_on);
	tcase_add_test(tc, half_stamped_goes_on);
	tcase_add_test(tc, burst_is_completed);
	tcase_add_test(tc, old_data_is_refused);
	tcase_add_test(tc, guard_looks_again);
	tcase_add_test(tc, second_loss);
	tcase_add_test(tc, held_over_a_relogin);
	tcase_add_test(tc, some_never_wait);
	tcase_add_test(tc, text_exchange_does_not_wait);
	suite_add_tcase(s, tc);
	return unit_run(s);
}
