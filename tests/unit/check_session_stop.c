/* SPDX-License-Identifier: ISC */
/*
 * The end of a session that is told to stop, with a Logout or without, and of
 * one that a client had shared: who stays and what is sent (RFC 7143 section
 * 11.14), against a scripted target.
 */
#include "config.h"

#include <unistd.h>

#include "tests/unit/session_fixture.h"

static struct sclient *a;

static void
set_true(void *arg)
{
	*(bool *)arg = true;
}

/* Stopped on the way: the Logout that is out serves both. */
START_TEST(relogin_then_stop)
{
	bool stopped = false;

	fx_up_with(&a, NULL);
	session_relogin(fx.s, 60000, "why");
	session_stop(fx.s, set_true, &stopped);
	ck_assert_int_eq(fx.s->phase, SESSION_LOGGING_OUT);
	take_logout(0);
	UNTIL(stopped);
	ck_assert_int_eq(fx.s->phase, SESSION_IDLE);
}
END_TEST

/* What was stamped when it is stopped leaves one NOP-Out in its place. */
START_TEST(stop_while_stalled)
{
	bool stopped = false;

	fx.small = true;
	fx_up_with(&a, NULL);
	stall(a, 1);
	accepted(a, command(READ_F, 2, 0), 0, 2);
	turn();
	ck_assert_int_eq(((struct task *)ittmap_find(&a->a->itts, 2))->state,
	    TASK_STAMPED);
	session_stop(fx.s, set_true, &stopped);
	news(a, NEWS_EVENT, 0);
	outcome(a, 1, MSG_OUTCOME_UNKNOWN, MSG_R_SHUTDOWN);
	outcome(a, 2, MSG_OUTCOME_NOT_SENT, MSG_R_SHUTDOWN);
	ck_assert_uint_eq(fx_stats().plugs, 1);
	unstall(1);
	wire(ISCSI_OP_NOP_OUT);
	ck_assert(!iscsi_is_immediate(fx.got.bhs));
	take_logout(0);
	UNTIL(stopped);
}
END_TEST

/* --- shared by a client --- */

/*
 * What a client shared is lost for good, unless it is the configured place: no
 * command takes its clients elsewhere.
 */
START_TEST(shared_stays_down)
{
	fx_up_with(&a, NULL);
	fx.s->shared = true;
	close(fx.peer);
	fx.peer = -1;
	UNTIL(fx.s->phase == SESSION_HALTED);
	ck_assert(!session_reconnect(fx.s));
	session_start(fx.s);
	ck_assert_int_eq(fx.s->phase, SESSION_HALTED);
	fx.s->recovers = true;
	ck_assert(session_reconnect(fx.s));
	fx_log_in();
	fx.s->shared = fx.s->recovers = false;
}
END_TEST

/*
 * Logged out, it may be logged in as configured: clients of another place do
 * not stay, those of the same do.
 */
START_TEST(shared_and_logged_out)
{
	bool stopped = false;

	fx_up_with(&a, NULL);
	fx.s->shared = true;
	fx.s->recovers = _i == 1;
	session_stop(fx.s, set_true, &stopped);
	take_logout(0);
	UNTIL(stopped);
	session_reopen(fx.s);
	news(a, NEWS_EVENT, 0);
	if (_i == 0)
		news(a, NEWS_REMOVED, 0);
	no_news(a);
	ck_assert(!session_stopping(fx.s));
	ck_assert_uint_eq(fx.s->nattachments, _i);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("session: its end");
	TCase *tc = tcase_create("stop");

	tcase_add_checked_fixture(tc, fx_setup, fx_teardown);
	tcase_add_test(tc, relogin_then_stop);
	tcase_add_test(tc, stop_while_stalled);
	tcase_add_test(tc, shared_stays_down);
	tcase_add_loop_test(tc, shared_and_logged_out, 0, 2);
	suite_add_tcase(suite, tc);
	return unit_run(suite);
}
