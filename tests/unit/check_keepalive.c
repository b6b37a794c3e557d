/* SPDX-License-Identifier: ISC */
/*
 * Pings of the daemon (daemon/keepalive.h): when they are sent, what they
 * are like, what is an answer and what becomes of a session whose target
 * gives none (RFC 7143 sections 4.2.2.1, 11.18 and 11.19).
 */
#include "config.h"

#include <sys/socket.h>

#include "tests/unit/session_fixture.h"

/* The session pings at once, and never gives up unless a test says so. */
static void
up_with_pings(void)
{
	fx.sconf.keepalive_interval = 1;
	fx.sconf.keepalive_timeout = 3600000;
	fx_up();
}

/* Answer the latest ping with `len` bytes at `data`. */
static void
say_echo(const void *data, uint32_t len, uint32_t ttt)
{
	uint8_t *bhs = from_target(ISCSI_OP_NOP_IN, ISCSI_FLAG_FINAL,
	    iscsi_itt(fx.got.bhs));

	put_be32(bhs + ISCSI_OFF_TTT, ttt);
	say_status(bhs, data, len);
}

static void
nothing(void *arg)
{
	*(bool *)arg = true;
}

/* Let `ms` pass. */
static void
idle(uint64_t ms)
{
	bool done = false;
	struct loop_timer *timer = loop_timer_new(fx.worker->loop, nothing,
	    &done);

	loop_timer_set(timer, ms);
	UNTIL(done);
	loop_timer_free(timer);
}

START_TEST(ping_is_what_it_should_be)
{
	uint8_t first[KEEPALIVE_DATA_LEN];
	uint32_t itt;

	fx.digests = _i == 1;
	up_with_pings();
	wire(ISCSI_OP_NOP_OUT);
	ck_assert_uint_eq(fx.got.bhs[0], ISCSI_OP_NOP_OUT | ISCSI_IMMEDIATE);
	ck_assert_uint_eq(fx.got.bhs[1], ISCSI_FLAG_FINAL);
	ck_assert_uint_eq(iscsi_lun(fx.got.bhs), 0);
	itt = iscsi_itt(fx.got.bhs);
	ck_assert_uint_ne(itt, RSV);
	ck_assert_uint_eq(iscsi_ttt(fx.got.bhs), RSV);
	ck_assert_uint_eq(fx.got.len, KEEPALIVE_DATA_LEN);
	memcpy(first, fx.got.data, sizeof(first));
	/* One at a time: the next comes when this one is answered. */
	idle(5);
	wire_quiet();
	put_be32(fx.got.bhs + ISCSI_OFF_ITT, itt);
	say_echo(first, sizeof(first), RSV);
	wire(ISCSI_OP_NOP_OUT);
	ck_assert_uint_eq(get_be32(fx.got.bhs + ISCSI_OFF_EXPSTATSN),
	    fx.statsn);
	ck_assert_mem_ne(fx.got.data, first, sizeof(first));
	ck_assert_uint_eq(fx_stats().pings_sent, 2);
}
END_TEST

/* It needs no room in the window. */
START_TEST(window_does_not_hold_it)
{
	fx.window = 0;
	up_with_pings();
	wire(ISCSI_OP_NOP_OUT);
	ck_assert_int_eq(fx.s->phase, SESSION_UP);
}
END_TEST

/* What comes from the target proves life as well as an answer does. */
START_TEST(no_ping_while_data_flows)
{
	fx.sconf.keepalive_interval = 3600000;
	fx.sconf.keepalive_timeout = 3600000;
	fx_up();
	/* The interval is nearly over, by this clock. */
	fx.s->keepalive.heard -= 3600000 - 60000;
	loop_timer_set(fx.s->keepalive.timer, 0);
	say_nop_in(RSV, RSV);
	idle(5);
	ck_assert_uint_eq(fx_stats().pings_sent, 0);
	wire_quiet();
	/* And now it is over. */
	fx.s->keepalive.heard -= 3600000;
	loop_timer_set(fx.s->keepalive.timer, 0);
	wire(ISCSI_OP_NOP_OUT);
	ck_assert_uint_eq(fx_stats().pings_sent, 1);
}
END_TEST

START_TEST(silence_loses_the_session)
{
	struct sclient *c;

	fx.sconf.keepalive_interval = fx.sconf.keepalive_timeout = 20;
	fx_up();
	c = fx_attach();
	accepted(c, command(READ_F, 1, 0), 0, 1);
	lost("the target is silent: nothing came for 20 ms");
	news(c, NEWS_EVENT, 0);
	outcome(c, 1, MSG_OUTCOME_UNKNOWN, MSG_R_CONNECTION_LOST);
	fx_log_in();
	/* The next connection is watched anew. */
	lost("the target is silent");
}
END_TEST

/* The ping is not answered, but other things come: the target lives. */
START_TEST(any_pdu_proves_life)
{
	up_with_pings();
	wire(ISCSI_OP_NOP_OUT);
	fx.sconf.keepalive_timeout = 60000;
	fx.s->keepalive.heard -= 3600000;
	fx.s->keepalive.asked -= 3600000;
	say_nop_in(RSV, RSV);
	loop_timer_set(fx.s->keepalive.timer, 0);
	idle(5);
	ck_assert_int_eq(fx.s->phase, SESSION_UP);
	fx.s->keepalive.heard -= 3600000;
	loop_timer_set(fx.s->keepalive.timer, 0);
	lost("the target is silent");
}
END_TEST

/* Half a PDU does, too, as long as more of it comes. */
START_TEST(any_byte_proves_life)
{
	uint64_t before;

	up_with_pings();
	wire(ISCSI_OP_NOP_OUT);
	fx.sconf.keepalive_timeout = 60000;
	for (unsigned i = 0; i < 3; i++) {
		before = fx_stats().bytes_in;
		ck_assert_int_eq(send(fx.peer, from_target(ISCSI_OP_NOP_IN,
		    ISCSI_FLAG_FINAL, RSV), 7, MSG_NOSIGNAL), 7);
		UNTIL(fx_stats().bytes_in == before + 7);
		fx.s->keepalive.heard -= 3600000;
		fx.s->keepalive.asked -= 3600000;
		loop_timer_set(fx.s->keepalive.timer, 0);
		idle(5);
		ck_assert_int_eq(fx.s->phase, SESSION_UP);
	}
	/* No more of it: that is silence. */
	fx.s->keepalive.heard -= 3600000;
	loop_timer_set(fx.s->keepalive.timer, 0);
	lost("the target is silent");
}
END_TEST

static const struct {
	const char	*what;
	uint32_t	 len;
	uint8_t		 flip;
	uint32_t	 ttt;
	const char	*words;
} wrong[] = {
	{ "no data", 0, 0, RSV, "0 bytes that are not those of the ping" },
	{ "a byte short", KEEPALIVE_DATA_LEN - 1, 0, RSV,
	    "7 bytes that are not" },
	{ "a byte more", KEEPALIVE_DATA_LEN + 1, 0, RSV,
	    "9 bytes that are not" },
	{ "other bytes", KEEPALIVE_DATA_LEN, 1, RSV, "8 bytes that are not" },
	{ "asks back", KEEPALIVE_DATA_LEN, 0, 5, "asks for an answer" },
};

START_TEST(wrong_answer_loses_the_session)
{
	uint8_t echo[KEEPALIVE_DATA_LEN + 1] = { 0 };

	up_with_pings();
	wire(ISCSI_OP_NOP_OUT);
	memcpy(echo, fx.got.data, KEEPALIVE_DATA_LEN);
	echo[KEEPALIVE_DATA_LEN - 1] ^= wrong[_i].flip;
	say_echo(echo, wrong[_i].len, wrong[_i].ttt);
	LOST(wrong[_i].words);
}
END_TEST

/* A target that rejects pings lives all the same, and is asked again. */
START_TEST(rejected_ping)
{
	up_with_pings();
	wire(ISCSI_OP_NOP_OUT);
	say_reject(0x05, fx.got.bhs);
	wire(ISCSI_OP_NOP_OUT);
	ck_assert_uint_eq(fx.got.len, KEEPALIVE_DATA_LEN);
	ck_assert_int_eq(fx.s->phase, SESSION_UP);
}
END_TEST

/* It shares the one immediate of its kind with the clients. */
START_TEST(one_immediate_at_a_time)
{
	struct sclient *c;
	uint32_t itt;

	up_with_pings();
	c = fx_attach();
	wire(ISCSI_OP_NOP_OUT);
	itt = iscsi_itt(fx.got.bhs);
	accepted(c, nop_out(true, 1), 0, 1);
	wire_quiet();
	say_nop_in(RSV, RSV);
	ck_assert_int_eq(fx.s->nop->kind, TASK_PING);
	ck_assert_uint_eq(fx.s->nop->slot.itt, itt);
}
END_TEST

/* Tapes: a target may be silent as long as it likes. */
START_TEST(zero_turns_it_off)
{
	fx.sconf.keepalive_interval = 0;
	fx.sconf.keepalive_timeout = 1;
	fx_up();
	idle(20);
	wire_quiet();
	ck_assert_uint_eq(fx_stats().pings_sent, 0);
	ck_assert(!loop_timer_armed(fx.s->keepalive.timer));
}
END_TEST

/* Nothing may follow a Logout, and one that waited does not precede it. */
START_TEST(no_ping_after_a_logout)
{
	struct sclient *c;

	fx.sconf.keepalive_interval = 3600000;
	fx.sconf.keepalive_timeout = 3600000;
	fx_up();
	c = fx_attach();
	accepted(c, nop_out(true, 1), 0, 1);
	wire(ISCSI_OP_NOP_OUT);
	fx.s->keepalive.heard -= 3600000;
	loop_timer_set(fx.s->keepalive.timer, 0);
	UNTIL(fx_stats().pings_sent == 1);
	session_relogin(fx.s, 0, "the test says so");
	wire(ISCSI_OP_LOGOUT_REQ);
	wire_quiet();
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("keepalive");
	TCase *tc = tcase_create("core");

	tcase_add_checked_fixture(tc, fx_setup, fx_teardown);
	tcase_add_loop_test(tc, ping_is_what_it_should_be, 0, 2);
	tcase_add_test(tc, window_does_not_hold_it);
	tcase_add_test(tc, no_ping_while_data_flows);
	tcase_add_test(tc, silence_loses_the_session);
	tcase_add_test(tc, any_pdu_proves_life);
	tcase_add_test(tc, any_byte_proves_life);
	tcase_add_loop_test(tc, wrong_answer_loses_the_session, 0,
	    (int)(sizeof(wrong) / sizeof(wrong[0])));
	tcase_add_test(tc, rejected_ping);
	tcase_add_test(tc, one_immediate_at_a_time);
	tcase_add_test(tc, zero_turns_it_off);
	tcase_add_test(tc, no_ping_after_a_logout);
	suite_add_tcase(s, tc);
	return unit_run(s);
}
