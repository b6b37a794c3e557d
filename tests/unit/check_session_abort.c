/* SPDX-License-Identifier: ISC */
/*
 * Tasks that end before their target answers: cancelled, overdue, left by a
 * dead client.  Their tags stay out of use as long as the target may speak of
 * them (RFC 7143 sections 4.2.3.2 to 4.2.3.4, 11.5).
 */
#include "config.h"

#include "tests/unit/session_fixture.h"

#define F ISCSI_FLAG_FINAL

static struct sclient *c;
static uint32_t itt;

static uint32_t
tasks(void)
{
	struct session_info info;

	session_info_get(fx.s, &info);
	return info.tasks;
}

static uint32_t
orphans(void)
{
	struct session_info info;

	session_info_get(fx.s, &info);
	return info.orphans;
}

static void
open_sent(uint8_t flags, uint32_t client_itt)
{
	accepted(c, command(flags, client_itt, 4096), 0, client_itt);
	itt = iscsi_itt(wire(ISCSI_OP_SCSI_CMD)->bhs);
}

/* The daemon's ABORT TASK of a request with this tag and CmdSN. */
static uint32_t
expect_abort(uint32_t rtt, uint32_t refcmdsn)
{
	const uint8_t *bhs = wire(ISCSI_OP_TMF_REQ)->bhs;

	ck_assert_uint_eq(bhs[0], ISCSI_OP_TMF_REQ | ISCSI_IMMEDIATE);
	ck_assert_uint_eq(bhs[1], F | ISCSI_TMF_ABORT_TASK);
	ck_assert_uint_eq(iscsi_lun(bhs), LUN_1);
	ck_assert_uint_eq(get_be32(bhs + ISCSI_OFF_RTT), rtt);
	ck_assert_uint_eq(get_be32(bhs + ISCSI_OFF_REFCMDSN), refcmdsn);
	ck_assert_uint_eq(get_be32(bhs + ISCSI_OFF_EXPDATASN), 0);
	ck_assert_uint_eq(fx.got.len, 0);
	return iscsi_itt(bhs);
}

/* The end of data that will not come (RFC 7143 section 4.2.3.3). */
static void
expect_empty_data(uint32_t ttt, uint32_t datasn, uint32_t offset)
{
	const struct got *g = wire(ISCSI_OP_DATA_OUT);

	ck_assert_uint_eq(g->bhs[1], F);
	ck_assert_uint_eq(g->len, 0);
	ck_assert_uint_eq(iscsi_lun(g->bhs), LUN_1);
	ck_assert_uint_eq(iscsi_itt(g->bhs), itt);
	ck_assert_uint_eq(iscsi_ttt(g->bhs), ttt);
	ck_assert_uint_eq(get_be32(g->bhs + ISCSI_OFF_DATASN), datasn);
	ck_assert_uint_eq(get_be32(g->bhs + ISCSI_OFF_BUFFER_OFFSET), offset);
}

/* --- CANCEL */

START_TEST(cancelled_then_aborted)
{
	const struct news *n;
	uint32_t tag;

	fx_up_with(&c, NULL);
	open_sent(READ_F, 5);
	ck_assert(session_cancel(c->a, MSG_CANCEL_ITT, 5));
	tag = expect_abort(itt, 1);
	no_news(c);
	/* Again: there is nothing more to do. */
	(void)session_cancel(c->a, MSG_CANCEL_COOKIE, 5);
	wire_quiet();
	say_tmf(tag, (uint8_t)_i);
	n = outcome(c, 5, MSG_OUTCOME_ABORTED, MSG_R_CANCELLED);
	ck_assert_uint_eq(n->outcome.flags, 0);
	ck_assert_uint_eq(n->outcome.tmf_response, (unsigned)_i);
	ck_assert_uint_eq(n->outcome.itt, 5);
	ck_assert_uint_eq(tasks(), 0);
	/* What comes late meets nobody. */
	say_good(itt);
	ck_assert_uint_eq(fx_stats().stale_pdus, 1);
	ck_assert_int_eq(fx.s->phase, SESSION_UP);
	no_news(c);
}
END_TEST

/* Its own response comes first and counts; the tag waits for the other. */
START_TEST(cancelled_but_answered)
{
	uint32_t tag;

	fx_up_with(&c, NULL);
	open_sent(READ_F, 5);
	ck_assert(session_cancel(c->a, MSG_CANCEL_ITT, 5));
	tag = expect_abort(itt, 1);
	say_good(itt);
	ck_assert_uint_eq(news(c, NEWS_PDU, 5)->charge.tasks, 1);
	ck_assert_uint_eq(tasks(), 2);
	/* The client's tag is free, the wire's is not. */
	accepted(c, command(READ_F, 5, 0), 0, 6);
	ck_assert_uint_ne(iscsi_itt(wire(ISCSI_OP_SCSI_CMD)->bhs), itt);
	say_good(itt);
	ck_assert_uint_eq(fx_stats().stale_pdus, 1);
	no_news(c);
	say_tmf(tag, 1);
	ck_assert_uint_eq(tasks(), 1);
	no_news(c);
}
END_TEST

/* It can not be aborted: its end has an outcome, its tag waits. */
START_TEST(abort_refused_by_target)
{
	uint32_t tag;

	fx_up_with(&c, NULL);
	open_sent(READ_F, 5);
	ck_assert(session_cancel(c->a, MSG_CANCEL_ITT, 5));
	tag = expect_abort(itt, 1);
	say_tmf(tag, 255);
	ck_assert_uint_eq(outcome(c, 5, MSG_OUTCOME_ABORTED,
	    MSG_R_CANCELLED)->outcome.tmf_response, 255);
	ck_assert_uint_eq(tasks(), 1);
	say_good(itt);
	ck_assert_uint_eq(tasks(), 0);
	ck_assert_uint_eq(fx_stats().stale_pdus, 0);
	no_news(c);
}
END_TEST

START_TEST(abort_not_answered)
{
	fx.config.limits.abort_timeout = 50;
	fx_up_with(&c, NULL);
	open_sent(READ_F, 5);
	ck_assert(session_cancel(c->a, MSG_CANCEL_ITT, 5));
	expect_abort(itt, 1);
	lost("no answer to ABORT TASK");
	news(c, NEWS_EVENT, 0);
	outcome(c, 5, MSG_OUTCOME_UNKNOWN, MSG_R_CONNECTION_LOST);
	no_news(c);
}
END_TEST

/* A NOP-Out can't be aborted: it ends at once, its tag when answered. */
START_TEST(cancelled_nop)
{
	uint32_t tag;

	fx_up_with(&c, NULL);
	accepted(c, nop_out(true, 5), 0, 5);
	tag = iscsi_itt(wire(ISCSI_OP_NOP_OUT)->bhs);
	ck_assert(session_cancel(c->a, MSG_CANCEL_ITT, 5));
	outcome(c, 5, MSG_OUTCOME_UNKNOWN, MSG_R_CANCELLED);
	wire_quiet();
	ck_assert_uint_eq(tasks(), 1);
	say_nop_in(tag, RSV);
	ck_assert_uint_eq(tasks(), 0);
	no_news(c);
}
END_TEST

/* --- data of a task that is to end */

START_TEST(r2ts_of_cancelled_write)
{
	uint32_t tag;

	fx_up_with(&c, NULL);
	open_sent(WRITE_F, 5);
	say_r2t(itt, 0x51, 0, 1024);
	say_r2t(itt, 0x52, 1024, 1024);
	accepted(c, data_out(0, 5, 0x51, 0, 0), 512, 5);
	wire(ISCSI_OP_DATA_OUT);
	ck_assert(session_cancel(c->a, MSG_CANCEL_ITT, 5));
	/* To the target less than it asked for is an error before this. */
	tag = expect_abort(itt, 1);
	expect_empty_data(0x51, 1, 512);
	expect_empty_data(0x52, 0, 1024);
	/* And what it asks for later. */
	say_r2t(itt, 0x53, 2048, 1024);
	expect_empty_data(0x53, 0, 2048);
	/* The client can give no more. */
	ck_assert_int_eq(submit(c, data_out(F, 5, 0x51, 1, 512), 512, 5),
	    SUBMIT_ERROR);
	ck_assert_uint_eq(fx.why.reason, MSG_R_BAD_TAG);
	wire_quiet();
	say_tmf(tag, 0);
	news(c, NEWS_PDU, 5);
	news(c, NEWS_PDU, 5);
	outcome(c, 5, MSG_OUTCOME_ABORTED, MSG_R_CANCELLED);
	no_news(c);
}
END_TEST

/* Unsolicited data that the client owes is cut short in the same way. */
START_TEST(burst_of_cancelled_write)
{
	fx_up_with(&c, NULL);
	accepted(c, command(ISCSI_CMD_WRITE, 5, 4096), 0, 5);
	accepted(c, data_out(0, 5, RSV, 0, 0), 1000, 5);
	ck_assert(session_cancel(c->a, MSG_CANCEL_ITT, 5));
	outcome(c, 5, MSG_OUTCOME_ABORTED, MSG_R_CANCELLED);
	wire_quiet();
}
END_TEST

/* Of data that waits behind other data nothing is sent any more. */
START_TEST(queued_data_of_cancelled_write)
{
	uint32_t tag;

	fx.small = true;
	fx_up_with(&c, NULL);
	open_sent(WRITE_F, 5);
	say_r2t(itt, 0x51, 0, 4096);
	news(c, NEWS_PDU, 5);
	stall(c, 1);
	turn();
	accepted(c, data_out(0, 5, 0x51, 0, 0), 1024, 5);
	accepted(c, data_out(0, 5, 0x51, 1, 1024), 1024, 5);
	ck_assert(session_cancel(c->a, MSG_CANCEL_ITT, 5));
	unstall(1);
	tag = expect_abort(itt, 1);
	expect_empty_data(0x51, 0, 0);
	wire_quiet();
	say_tmf(tag, 0);
	outcome(c, 5, MSG_OUTCOME_ABORTED, MSG_R_CANCELLED);
}
END_TEST

/* --- deadlines */

START_TEST(deadline_of_a_queued_task)
{
	fx.window = 0;
	fx_up_with(&c, NULL);
	fx.deadline = 1;
	accepted(c, command(READ_F, 5, 0), 0, 5);
	ck_assert_uint_eq(outcome(c, 5, MSG_OUTCOME_TIMED_OUT,
	    MSG_R_DEADLINE)->outcome.flags, MSG_OUTCOME_F_NOT_SENT);
	wire_quiet();
}
END_TEST

START_TEST(deadline_of_a_sent_task)
{
	fx_up_with(&c, NULL);
	fx.deadline = 300;	/* time enough to be sent */
	open_sent(READ_F, 5);
	say_tmf(expect_abort(itt, 1), 0);
	ck_assert_uint_eq(outcome(c, 5, MSG_OUTCOME_TIMED_OUT,
	    MSG_R_DEADLINE)->outcome.flags, 0);
	wire_quiet();
}
END_TEST

/* The target waits for data that its client holds back. */
START_TEST(r2t_timeout)
{
	uint32_t tag;

	fx.config.limits.r2t_timeout = 300;
	fx_up_with(&c, NULL);
	open_sent(WRITE_F, 5);
	say_r2t(itt, 0x51, 0, 4096);
	news(c, NEWS_PDU, 5);
	tag = expect_abort(itt, 1);
	expect_empty_data(0x51, 0, 0);
	say_tmf(tag, 0);
	outcome(c, 5, MSG_OUTCOME_TIMED_OUT, MSG_R_R2T_TIMEOUT);
}
END_TEST

/* A command whose client holds back its burst never leaves. */
START_TEST(burst_timeout)
{
	fx.config.limits.r2t_timeout = 300;
	fx_up_with(&c, NULL);
	accepted(c, command(ISCSI_CMD_WRITE, 5, 4096), 0, 5);
	outcome(c, 5, MSG_OUTCOME_TIMED_OUT, MSG_R_R2T_TIMEOUT);
	wire_quiet();
}
END_TEST

/* --- a client dies */

#define NTASKS 64

START_TEST(dead_client_with_many_tasks)
{
	uint32_t itts[NTASKS], theirs, done = 0;
	struct sclient *other;
	bool seen[NTASKS] = { false };

	fx_up_with(&c, NULL);
	other = fx_attach();
	accepted(other, command(READ_F, 1, 512), 0, 1);
	theirs = iscsi_itt(wire(ISCSI_OP_SCSI_CMD)->bhs);
	for (uint32_t i = 0; i < NTASKS; i++) {
		open_sent(i % 2 == 0 ? WRITE_F : READ_F, i);
		itts[i] = itt;
		if (i % 4 == 0)
			say_r2t(itt, 0x100 + i, 0, 4096);
	}
	c->nread = c->nnews;
	fx_die(c);
	ck_assert_uint_eq(orphans(), NTASKS);
	ck_assert_uint_eq(c->quota->used.tasks, NTASKS);
	while (done < NTASKS) {
		uint32_t rtt, i, tag;

		rtt = get_be32(wire(ISCSI_OP_TMF_REQ)->bhs + ISCSI_OFF_RTT);
		tag = iscsi_itt(fx.got.bhs);
		for (i = 0; i < NTASKS && itts[i] != rtt; i++)
			;
		ck_assert_uint_lt(i, NTASKS);
		ck_assert(!seen[i]);
		seen[i] = true;
		if (i % 4 == 0) {
			itt = rtt;
			expect_empty_data(0x100 + i, 0, 0);
		}
		wire_quiet();
		say_tmf(tag, 0);
		done++;
		ck_assert_uint_eq(orphans(), NTASKS - done);
		ck_assert_uint_eq(c->quota->used.tasks, NTASKS - done);
	}
	ck_assert_uint_eq(fx_stats().aborts_sent, NTASKS);
	ck_assert_uint_eq(tasks(), 1);
	no_news(other);
	say_good(theirs);
	news(other, NEWS_PDU, 1);
	no_news(c);
}
END_TEST

/* What a dead client's tasks still receive is dropped, and they end by it. */
START_TEST(orphan_is_answered)
{
	uint8_t data[512] = { 0 };
	uint32_t tag;

	fx_up_with(&c, NULL);
	open_sent(READ_F, 5);
	fx_die(c);
	tag = expect_abort(itt, 1);
	say(from_target(ISCSI_OP_DATA_IN, F, itt), data, sizeof(data));
	say_good(itt);
	ck_assert_uint_eq(tasks(), 2);
	say_tmf(tag, 1);
	ck_assert_uint_eq(tasks(), 0);
	ck_assert_uint_eq(orphans(), 0);
}
END_TEST

/* Unsent requests of a dead client never reach the wire. */
START_TEST(dead_client_with_unsent_tasks)
{
	struct sclient *other;

	fx.small = true;
	fx_up_with(&c, NULL);
	other = fx_attach();
	stall(other, 1);
	accepted(c, command(READ_F, 5, 0), 0, 5);
	turn();
	accepted(c, command(READ_F, 6, 0), 0, 6);
	fx_die(c);
	ck_assert_uint_eq(orphans(), 0);
	unstall(1);
	/* The stamped one left a CmdSN behind. */
	wire(ISCSI_OP_NOP_OUT);
	ck_assert_uint_eq(fx_stats().plugs, 1);
	wire_quiet();
	ck_assert_uint_eq(fx_stats().aborts_sent, 0);
}
END_TEST

START_TEST(exclusive_waits_for_orphans)
{
	struct session_attach how = { .name = "x", .exclusive = true };
	struct refusal why;

	fx_up_with(&c, NULL);
	ck_assert_ptr_null(session_attach(fx.s, &how, &why));
	ck_assert_uint_eq(why.reason, MSG_R_BUSY);
	open_sent(READ_F, 5);
	fx_die(c);
	ck_assert_ptr_null(session_attach(fx.s, &how, &why));
	ck_assert_uint_eq(why.reason, MSG_R_BUSY);
	say_tmf(expect_abort(itt, 1), 0);
	c = &fx.clients[1];
	how.quota = fx.clients[0].quota;
	c->a = session_attach(fx.s, &how, &why);
	ck_assert_ptr_nonnull(c->a);
	ck_assert_ptr_null(session_attach(fx.s, &how, &why));
	session_detach(c->a);
}
END_TEST

static void
add_tests(TCase *tc)
{
	tcase_add_loop_test(tc, cancelled_then_aborted, 0, 2);
	tcase_add_test(tc, cancelled_but_answered);
	tcase_add_test(tc, abort_refused_by_target);
	tcase_add_test(tc, abort_not_answered);
	tcase_add_test(tc, cancelled_nop);
	tcase_add_test(tc, r2ts_of_cancelled_write);
	tcase_add_test(tc, burst_of_cancelled_write);
	tcase_add_test(tc, queued_data_of_cancelled_write);
	tcase_add_test(tc, deadline_of_a_queued_task);
	tcase_add_test(tc, deadline_of_a_sent_task);
	tcase_add_test(tc, r2t_timeout);
	tcase_add_test(tc, burst_timeout);
	tcase_add_test(tc, dead_client_with_many_tasks);
	tcase_add_test(tc, orphan_is_answered);
	tcase_add_test(tc, dead_client_with_unsent_tasks);
	tcase_add_test(tc, exclusive_waits_for_orphans);
}

int
main(void)
{
	Suite *s = suite_create("session: early ends");
	TCase *tc = tcase_create("abort");

	tcase_add_checked_fixture(tc, fx_setup, fx_teardown);
	tcase_set_timeout(tc, 10);
	add_tests(tc);
	suite_add_tcase(s, tc);
	return unit_run(s);
}
