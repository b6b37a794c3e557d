/* SPDX-License-Identifier: ISC */
/*
 * Requests that wait while the session is down: the end of recovery-timeout
 * and of the session, and what their client does meanwhile.
 */
#include "config.h"

#include "tests/unit/hold_fixture.h"

#define F ISCSI_FLAG_FINAL

/* --- the end of the wait --- */

static void
two_held(void)
{
	window_closed();
	accepted(h, read_of(2), 0, 2);
	accepted(h, command(ISCSI_CMD_WRITE, 3, 3000), 0, 3);
	accepted(h, data_out(0, 3, RSV, 0, 0), 1000, 3);
	lose();
	outcome(h, 1, MSG_OUTCOME_UNKNOWN, MSG_R_CONNECTION_LOST);
	no_news(h);
}

/* All of recovery-timeout, however long it takes here. */
static void
time_passes(void)
{
	uint64_t now = loop_now(fx.worker->loop);

	ck_assert(loop_timer_armed(fx.s->hold_timer));
	ck_assert_uint_gt(fx.s->hold_until, now);
	ck_assert_uint_le(fx.s->hold_until, now + fx.sconf.recovery_timeout);
	fx.s->hold_until = now;
	loop_timer_set(fx.s->hold_timer, 0);
}

START_TEST(time_is_over)
{
	two_held();
	time_passes();
	ck_assert_ptr_nonnull(strstr(outcome(h, 2, MSG_OUTCOME_NOT_SENT,
	    MSG_R_SESSION_DOWN)->outcome.text, "recovery-timeout"));
	outcome(h, 3, MSG_OUTCOME_NOT_SENT, MSG_R_SESSION_DOWN);
	not_sent_at_once(h, read_of(4));
	ck_assert_int_eq(submit(h, data_out(F, 3, RSV, 1, 1000), 2000, 3),
	    SUBMIT_ERROR);
	come_back();
	wire_quiet();
	/* The next loss has a time of its own. */
	accepted(h, read_of(5), 0, 5);
	wire_read(5);
	lose();
	outcome(h, 5, MSG_OUTCOME_UNKNOWN, MSG_R_CONNECTION_LOST);
	accepted(h, read_of(6), 0, 6);
	time_passes();
	outcome(h, 6, MSG_OUTCOME_NOT_SENT, MSG_R_SESSION_DOWN);
	no_news(h);
}
END_TEST

/* No time at all: as without hold. */
START_TEST(no_time)
{
	fx.sconf.recovery_timeout = 0;
	window_closed();
	accepted(h, read_of(2), 0, 2);
	lose();
	outcome(h, 1, MSG_OUTCOME_UNKNOWN, MSG_R_CONNECTION_LOST);
	outcome(h, 2, MSG_OUTCOME_NOT_SENT, MSG_R_CONNECTION_LOST);
	not_sent_at_once(h, read_of(3));
	come_back();
	wire_quiet();
}
END_TEST

static void
set_true(void *arg)
{
	*(bool *)arg = true;
}

START_TEST(stopped_meanwhile)
{
	bool stopped = false;

	two_held();
	session_stop(fx.s, set_true, &stopped);
	outcome(h, 2, MSG_OUTCOME_NOT_SENT, MSG_R_CONNECTION_LOST);
	outcome(h, 3, MSG_OUTCOME_NOT_SENT, MSG_R_CONNECTION_LOST);
	UNTIL(stopped);
	not_sent_at_once(h, read_of(4));
	/* Started again, it may wait again. */
	session_reopen(fx.s);
	not_sent_at_once(h, read_of(4));
	session_start(fx.s);
	accepted(h, read_of(4), 0, 4);
	come_back();
	wire_read(4);
	no_news(h);
}
END_TEST

START_TEST(given_up_meanwhile)
{
	fx.sconf.reconnect_limit = 1;
	two_held();
	fx_accept();
	wire(ISCSI_OP_LOGIN_REQ);
	hang_up();
	UNTIL(fx.s->phase == SESSION_HALTED);
	outcome(h, 2, MSG_OUTCOME_NOT_SENT, MSG_R_CONNECTION_LOST);
	outcome(h, 3, MSG_OUTCOME_NOT_SENT, MSG_R_CONNECTION_LOST);
	not_sent_at_once(h, read_of(4));
	ck_assert(!loop_timer_armed(fx.s->hold_timer));
	/* Told to try again, it has the whole time again. */
	ck_assert(session_reconnect(fx.s));
	accepted(h, read_of(4), 0, 4);
	come_back();
	wire_read(4);
	no_news(h);
}
END_TEST

START_TEST(drained_meanwhile)
{
	two_held();
	fx.worker->draining = true;
	session_end_held(fx.s, "the daemon is draining");
	ck_assert_str_eq(outcome(h, 2, MSG_OUTCOME_NOT_SENT,
	    MSG_R_SESSION_DOWN)->outcome.text, "the daemon is draining");
	outcome(h, 3, MSG_OUTCOME_NOT_SENT, MSG_R_SESSION_DOWN);
	not_sent_at_once(h, read_of(4));
	ck_assert_uint_eq(session_task_count(fx.s), 0);
}
END_TEST

/* Up, nothing is held, whatever waits for the window. */
START_TEST(drained_while_up)
{
	window_closed();
	accepted(h, read_of(2), 0, 2);
	session_end_held(fx.s, "the daemon is draining");
	no_news(h);
	fx.worker->draining = true;
	lose();
	outcome(h, 1, MSG_OUTCOME_UNKNOWN, MSG_R_CONNECTION_LOST);
	outcome(h, 2, MSG_OUTCOME_NOT_SENT, MSG_R_CONNECTION_LOST);
}
END_TEST

START_TEST(removed_meanwhile)
{
	two_held();
	session_free(fx.s, "removed");
	fx.s = NULL;
	outcome(h, 2, MSG_OUTCOME_NOT_SENT, MSG_R_CONNECTION_LOST);
	outcome(h, 3, MSG_OUTCOME_NOT_SENT, MSG_R_CONNECTION_LOST);
	news(h, NEWS_REMOVED, 0);
}
END_TEST

/* --- what clients do meanwhile --- */

START_TEST(cancelled_meanwhile)
{
	const struct news *n;

	two_held();
	ck_assert(session_cancel(h->a, MSG_CANCEL_COOKIE, 3));
	n = outcome(h, 3, MSG_OUTCOME_ABORTED, MSG_R_CANCELLED);
	ck_assert_uint_eq(n->outcome.flags, MSG_OUTCOME_F_NOT_SENT);
	ck_assert_uint_eq(session_task_count(fx.s), 1);
	come_back();
	wire_read(2);
	wire_quiet();
}
END_TEST

/* ABORT TASK about what waits is answered, about what is lost, too. */
START_TEST(aborted_meanwhile)
{
	const struct news *n;

	two_held();
	accepted(h, tmf(ISCSI_TMF_ABORT_TASK, 4, 2), 0, 4);
	accepted(h, tmf(ISCSI_TMF_ABORT_TASK, 5, 1), 0, 5);
	outcome(h, 2, MSG_OUTCOME_ABORTED, MSG_R_CANCELLED);
	n = news(h, NEWS_PDU, 4);
	ck_assert_uint_eq(n->flags, FRAME_F_SYNTHETIC);
	ck_assert_uint_eq(n->bhs[ISCSI_OFF_RESPONSE], 0);
	n = news(h, NEWS_PDU, 5);
	ck_assert_uint_eq(n->bhs[ISCSI_OFF_RESPONSE], 1);
	ck_assert_uint_eq(session_task_count(fx.s), 1);
}
END_TEST

/* The deadline goes on to count. */
START_TEST(overdue_meanwhile)
{
	const struct task *t;
	uint64_t at;

	window_closed();
	fx.deadline = 60000;
	accepted(h, read_of(2), 0, 2);
	t = TAILQ_LAST(&h->a->tasks, task_queue);
	at = t->timer_at;
	ck_assert_uint_gt(at, 0);
	lose();
	outcome(h, 1, MSG_OUTCOME_UNKNOWN, MSG_R_CONNECTION_LOST);
	ck_assert_uint_eq(t->timer_at, at);
	fx.deadline = 1;
	accepted(h, read_of(3), 0, 3);
	outcome(h, 3, MSG_OUTCOME_TIMED_OUT, MSG_R_DEADLINE);
	come_back();
	ck_assert_uint_eq(t->timer_at, at);
	wire_read(2);
	wire_quiet();
}
END_TEST

/* Cancelled in the turn of the loss: it ends as that, and once. */
START_TEST(cancelled_in_the_same_turn)
{
	window_closed();
	accepted(h, read_of(2), 0, 2);
	session_fail(fx.s, "the test says so");
	ck_assert(session_cancel(h->a, MSG_CANCEL_COOKIE, 2));
	lost("the test says so");
	news(h, NEWS_EVENT, 0);
	outcome(h, 1, MSG_OUTCOME_UNKNOWN, MSG_R_CONNECTION_LOST);
	outcome(h, 2, MSG_OUTCOME_ABORTED, MSG_R_CANCELLED);
	news(p, NEWS_EVENT, 0);
	come_back();
	wire_quiet();
	no_news(h);
}
END_TEST

/* It dies: teardown counts the charges. */
START_TEST(dead_meanwhile)
{
	two_held();
	fx_die(h);
	ck_assert_uint_eq(session_task_count(fx.s), 0);
	ck_assert_uint_eq(h->quota->used.tasks, 0);
	ck_assert_uint_eq(h->quota->used.out, 0);
	fx.window = 64;
	fx.hold_window = false;
	fx_log_in();
	wire_quiet();
}
END_TEST

/* What waits is bounded by what its client may have open anyway. */
START_TEST(quotas_hold)
{
	fx.config.limits.client_tasks = 3;
	two_held();
	accepted(h, read_of(4), 0, 4);
	ck_assert_int_eq(submit(h, read_of(5), 0, 5), SUBMIT_REFUSED);
	ck_assert_uint_eq(fx.why.reason, MSG_R_QUOTA);
	/* And by the limits of the latest login. */
	ck_assert_int_eq(submit(h, command(READ_F | ISCSI_CMD_WRITE, 6, 0), 0,
	    6), SUBMIT_REFUSED);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("session: the end of a hold");
	TCase *tc = tcase_create("end");

	tcase_add_checked_fixture(tc, fx_setup, fx_teardown);
	tcase_set_timeout(tc, 10);
	tcase_add_test(tc, time_is_over);
	tcase_add_test(tc, no_time);
	tcase_add_test(tc, stopped_meanwhile);
	tcase_add_test(tc, given_up_meanwhile);
	tcase_add_test(tc, drained_meanwhile);
	tcase_add_test(tc, drained_while_up);
	tcase_add_test(tc, removed_meanwhile);
	tcase_add_test(tc, cancelled_meanwhile);
	tcase_add_test(tc, aborted_meanwhile);
	tcase_add_test(tc, overdue_meanwhile);
	tcase_add_test(tc, cancelled_in_the_same_turn);
	tcase_add_test(tc, dead_meanwhile);
	tcase_add_test(tc, quotas_hold);
	suite_add_tcase(s, tc);
	return unit_run(s);
}
