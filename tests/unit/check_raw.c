/* SPDX-License-Identifier: ISC */
/*
 * Tasks of a raw connection (daemon/raw.h): whom a PDU is for, and that what
 * the client opened ends exactly once.
 */
#include "config.h"

#include <errno.h>

#include "tests/unit/raw_fixture.h"

#define READ_F	(ISCSI_FLAG_FINAL | ISCSI_CMD_READ)
#define WRITE_F	(ISCSI_FLAG_FINAL | ISCSI_CMD_WRITE)
#define BIG	131072u

static uint8_t *
command(uint32_t itt)
{
	return request(ISCSI_OP_SCSI_CMD, READ_F, itt);
}

static void
say_good(uint32_t itt)
{
	say(from_target(ISCSI_OP_SCSI_RSP, ISCSI_FLAG_FINAL, itt), NULL, 0);
}

static void
say_data(uint32_t itt, uint32_t len)
{
	say(from_target(ISCSI_OP_DATA_IN, 0, itt), NULL, len);
}

/* --- whom a PDU is for */

START_TEST(test_none)
{
	fx_adopt();
	begun(command(7), MSG_EXPECT_NONE, 1);
	/* The target has a task, the client none. */
	counts(0, 1);
	say_good(7);
	pdu_news(ISCSI_OP_SCSI_RSP, FRAME_F_UNMATCHED, 0);
	counts(0, 0);
	client_reads_all();
	nothing_charged();
	/* A PDU that opens nothing leaves no trace. */
	begun(request(ISCSI_OP_DATA_OUT, ISCSI_FLAG_FINAL, 8),
	    MSG_EXPECT_NONE, 2);
	begun(request(ISCSI_OP_NOP_OUT, ISCSI_FLAG_FINAL, RSV),
	    MSG_EXPECT_NONE, 3);
	counts(0, 0);
	no_news();
}
END_TEST

START_TEST(test_one)
{
	fx_adopt();
	begun(command(7), MSG_EXPECT_ONE, 1);
	counts(1, 1);
	say_data(7, 12);
	ck_assert_uint_eq(pdu_news(ISCSI_OP_DATA_IN, 0, 1)->len, 12);
	/* Nobody waits, but the tag is in use. */
	counts(0, 1);
	say_data(7, 4);
	pdu_news(ISCSI_OP_DATA_IN, FRAME_F_UNMATCHED, 0);
	counts(0, 1);
	say_good(7);
	pdu_news(ISCSI_OP_SCSI_RSP, FRAME_F_UNMATCHED, 0);
	counts(0, 0);
	no_news();
	client_reads_all();
	nothing_charged();
}
END_TEST

/* With the opening opcode of row `_i`: what goes on, and what ends it. */
START_TEST(test_many)
{
	static const struct {
		uint8_t	opens, more, more_flags, last, last_flags;
	} rows[] = {
		{ ISCSI_OP_SCSI_CMD, ISCSI_OP_DATA_IN, ISCSI_FLAG_FINAL,
		    ISCSI_OP_SCSI_RSP, ISCSI_FLAG_FINAL },
		{ ISCSI_OP_SCSI_CMD, ISCSI_OP_R2T, ISCSI_FLAG_FINAL,
		    ISCSI_OP_DATA_IN, ISCSI_FLAG_FINAL | 1 },
		{ ISCSI_OP_TEXT_REQ, ISCSI_OP_TEXT_RSP, 0,
		    ISCSI_OP_TEXT_RSP, ISCSI_FLAG_FINAL },
		{ ISCSI_OP_NOP_OUT, ISCSI_OP_DATA_IN, 0,
		    ISCSI_OP_NOP_IN, ISCSI_FLAG_FINAL },
		{ ISCSI_OP_TMF_REQ, ISCSI_OP_DATA_IN, 0,
		    ISCSI_OP_TMF_RSP, ISCSI_FLAG_FINAL },
		{ ISCSI_OP_LOGOUT_REQ, ISCSI_OP_DATA_IN, 0,
		    ISCSI_OP_LOGOUT_RSP, ISCSI_FLAG_FINAL },
	};
	unsigned i;

	fx_adopt();
	/* The same if it is left to the daemon to know. */
	begun(request(rows[_i].opens, ISCSI_FLAG_FINAL, 7),
	    _i % 2 == 0 ? MSG_EXPECT_MANY : MSG_EXPECT_AUTO, 1);
	for (i = 0; i < 3; i++) {
		say(from_target(rows[_i].more, rows[_i].more_flags, 7), NULL,
		    0);
		pdu_news(rows[_i].more, 0, 1);
		counts(1, 1);
	}
	say(from_target(rows[_i].last, rows[_i].last_flags, 7), NULL, 0);
	pdu_news(rows[_i].last, 0, 1);
	counts(0, 0);
	/* Now the tag is free, for the target too. */
	say_good(7);
	pdu_news(ISCSI_OP_SCSI_RSP, FRAME_F_UNMATCHED, 0);
	ck_assert_uint_gt(fx.quota->used.tasks, 0);
	client_reads_all();
	nothing_charged();
}
END_TEST

/* Without the TLV: many if it opens a task, or else none. */
START_TEST(test_auto)
{
	fx_adopt();
	begun(request(ISCSI_OP_NOP_OUT, ISCSI_FLAG_FINAL, RSV),
	    MSG_EXPECT_AUTO, 1);
	begun(request(ISCSI_OP_DATA_OUT, ISCSI_FLAG_FINAL, 7),
	    MSG_EXPECT_AUTO, 2);
	counts(0, 0);
	begun(command(7), MSG_EXPECT_AUTO, 3);
	counts(1, 1);
	/* Of a task that is open already. */
	begun(command(7), MSG_EXPECT_AUTO, 4);
	counts(1, 1);
	say_good(7);
	pdu_news(ISCSI_OP_SCSI_RSP, 0, 3);
	no_news();
}
END_TEST

START_TEST(test_bad_tags)
{
	fx_adopt();
	begun(command(7), MSG_EXPECT_MANY, 1);
	fx.options.expect = MSG_EXPECT_ONE;
	refused(SUBMIT_REFUSED, command(7), 0, MSG_R_BAD_ITT);
	fx.options.expect = MSG_EXPECT_MANY;
	refused(SUBMIT_REFUSED, command(7), 0, MSG_R_BAD_ITT);
	fx.options.expect = MSG_EXPECT_ONE;
	refused(SUBMIT_REFUSED, command(RSV), 0, MSG_R_BAD_ITT);
	counts(1, 1);
	wire_quiet();
	say_good(7);
	pdu_news(ISCSI_OP_SCSI_RSP, 0, 1);
	client_reads_all();
	nothing_charged();
}
END_TEST

/* The tag that the daemon chose is in the PDU and in no open task. */
START_TEST(test_free_tags)
{
	uint32_t i, itts[3];

	fx_adopt();
	begun(command(2), MSG_EXPECT_MANY, 1);
	for (i = 0; i < 3; i++) {
		fx.options.free_itt = true;
		begun(command(0x7777), MSG_EXPECT_MANY, 2 + i);
		itts[i] = fx.itt;
		ck_assert_uint_eq(iscsi_itt(fx.got.bhs), itts[i]);
		ck_assert_uint_ne(itts[i], 2);
		ck_assert(i == 0 || itts[i] != itts[i - 1]);
	}
	say_good(itts[1]);
	pdu_news(ISCSI_OP_SCSI_RSP, 0, 3);
	counts(3, 3);
}
END_TEST

START_TEST(test_unsolicited)
{
	uint8_t *bhs;

	fx.events = _i == 0 ? 0 : 1u << MSG_EVENT_UNSOLICITED;
	fx_adopt();
	say(from_target(ISCSI_OP_NOP_IN, ISCSI_FLAG_FINAL, RSV), NULL, 0);
	bhs = from_target(ISCSI_OP_ASYNC, ISCSI_FLAG_FINAL, RSV);
	say(bhs, NULL, 4);
	say_good(9);
	if (_i == 1) {
		pdu_news(ISCSI_OP_NOP_IN, 0, 0);
		pdu_news(ISCSI_OP_ASYNC, 0, 0);
	}
	pdu_news(ISCSI_OP_SCSI_RSP, FRAME_F_UNMATCHED, 0);
	ck_assert_uint_eq(raw_unwanted(fx.raw), _i == 0 ? 2 : 0);
	/* Its client answers pings, nobody else. */
	wire_quiet();
}
END_TEST

/* A Reject has the reserved tag, the header in it that of its task. */
START_TEST(test_reject)
{
	uint8_t data_out[ISCSI_BHS_LEN];

	fx.events = 1u << MSG_EVENT_UNSOLICITED;
	fx_adopt();
	begun(command(7), MSG_EXPECT_MANY, 1);
	memcpy(data_out, request(ISCSI_OP_DATA_OUT, ISCSI_FLAG_FINAL, 7),
	    sizeof(data_out));
	say_reject(data_out);
	pdu_news(ISCSI_OP_REJECT, 0, 1);
	counts(1, 1);
	say_reject(command(7));
	pdu_news(ISCSI_OP_REJECT, 0, 1);
	counts(0, 0);
	/* Of no task, and one too short to tell. */
	say_reject(command(7));
	pdu_news(ISCSI_OP_REJECT, 0, 0);
	say(from_target(ISCSI_OP_REJECT, ISCSI_FLAG_FINAL, RSV), NULL, 47);
	pdu_news(ISCSI_OP_REJECT, 0, 0);
	/* Of a task that nobody waits for: its tag is free then. */
	begun(command(7), MSG_EXPECT_NONE, 2);
	counts(0, 1);
	say_reject(command(7));
	pdu_news(ISCSI_OP_REJECT, 0, 0);
	counts(0, 0);
	client_reads_all();
	nothing_charged();
}
END_TEST

/* --- the end */

/* With the CmdSNs of its PDUs STATE tells the next one. */
START_TEST(test_numbers)
{
	uint8_t *bhs;

	fx.params.flags = 0;
	fx_adopt();
	ck_assert_uint_eq(state().params.flags & MSG_RAW_NUMBERS, 0);
	bhs = command(7);
	put_be32(bhs + ISCSI_OFF_CMDSN, CMDSN);
	begun(bhs, MSG_EXPECT_MANY, 1);
	ck_assert_mem_eq(fx.got.bhs + ISCSI_OFF_CMDSN, bhs + ISCSI_OFF_CMDSN,
	    8);
	ck_assert_uint_eq(state().params.cmdsn, CMDSN + 1);
	bhs = request(ISCSI_OP_NOP_OUT | ISCSI_IMMEDIATE, ISCSI_FLAG_FINAL,
	    8);
	put_be32(bhs + ISCSI_OFF_CMDSN, CMDSN + 1);
	begun(bhs, MSG_EXPECT_ONE, 2);
	ck_assert_uint_eq(state().params.cmdsn, CMDSN + 1);
	ck_assert_uint_eq(state().params.flags & MSG_RAW_NUMBERS, 0);
	fx.expcmdsn++;
	say_data(7, 4);
	say_good(7);
	news(NEWS_PDU, 1);
	news(NEWS_PDU, 1);
	ck_assert_uint_ne(state().params.flags & MSG_RAW_NUMBERS, 0);
	ck_assert_uint_eq(state().params.exp_statsn, STATSN + 1);
	ck_assert_uint_eq(state().params.exp_cmdsn, CMDSN + 1);
	ck_assert_uint_eq(state().params.max_cmdsn, CMDSN + 64);
	ck_assert_uint_eq(state().pdus_in, 2);
	ck_assert_uint_eq(state().pdus_out, 2);
}
END_TEST

/* A cancelled task is waited for no more; the target goes on. */
START_TEST(test_cancel)
{
	const struct news *n;

	fx_adopt();
	begun(command(7), MSG_EXPECT_MANY, 1);
	ck_assert(!raw_cancel(fx.raw, MSG_CANCEL_COOKIE, 7));
	ck_assert(!raw_cancel(fx.raw, MSG_CANCEL_ITT, 1));
	if (_i == 0)
		ck_assert(raw_cancel(fx.raw, MSG_CANCEL_COOKIE, 1));
	else
		ck_assert(raw_cancel(fx.raw, MSG_CANCEL_ITT, 7));
	n = outcome(1, MSG_OUTCOME_ABORTED, MSG_R_CANCELLED);
	ck_assert_uint_eq(n->outcome.itt, 7);
	ck_assert_uint_eq(n->outcome.flags, 0);
	ck_assert(!raw_cancel(fx.raw, MSG_CANCEL_COOKIE, 1));
	ck_assert(!raw_cancel(fx.raw, MSG_CANCEL_ITT, 7));
	counts(0, 1);
	wire_quiet();
	say_data(7, 4);
	pdu_news(ISCSI_OP_DATA_IN, FRAME_F_UNMATCHED, 0);
	/* The same tag may be waited for anew meanwhile. */
	begun(command(7), MSG_EXPECT_MANY, 5);
	counts(1, 1);
	say_good(7);
	pdu_news(ISCSI_OP_SCSI_RSP, 0, 5);
	counts(0, 0);
	no_news();
	client_reads_all();
	nothing_charged();
}
END_TEST

/* The earliest deadline is told first, and one that is met never. */
START_TEST(test_deadline)
{
	fx_adopt();
	fx.options.deadline = 1000;
	begun(command(7), MSG_EXPECT_MANY, 1);
	fx.options.deadline = 60000;
	begun(command(9), MSG_EXPECT_ONE, 3);
	say_good(9);
	pdu_news(ISCSI_OP_SCSI_RSP, 0, 3);
	fx.options.deadline = 5;
	begun(command(8), MSG_EXPECT_ONE, 2);
	ck_assert_uint_eq(outcome(2, MSG_OUTCOME_TIMED_OUT,
	    MSG_R_DEADLINE)->outcome.flags, 0);
	outcome(1, MSG_OUTCOME_TIMED_OUT, MSG_R_DEADLINE);
	counts(0, 2);
	wire_quiet();
	say_good(8);
	pdu_news(ISCSI_OP_SCSI_RSP, FRAME_F_UNMATCHED, 0);
	counts(0, 1);
	no_news();
}
END_TEST

/* The kernel takes a part of the first PDU and nothing of the second. */
static void
stall(void)
{
	fx.small = true;
	fx_adopt();
	turns(2);
	accepted(request(ISCSI_OP_SCSI_CMD, WRITE_F, 7), BIG, 1);
	turns(4);
	ck_assert_uint_gt(state().bytes_out, 0);
	ck_assert_uint_lt(state().bytes_out, BIG);
	accepted(command(8), 0, 2);
	turns(2);
	counts(2, 2);
	ck_assert_uint_eq(state().unsent, BIG + 2 * 48 - state().bytes_out);
}

static void
both_ended(void)
{
	ck_assert_uint_eq(outcome(1, MSG_OUTCOME_UNKNOWN,
	    MSG_R_CONNECTION_LOST)->outcome.flags, 0);
	ck_assert_uint_eq(outcome(2, MSG_OUTCOME_NOT_SENT,
	    MSG_R_CONNECTION_LOST)->outcome.flags, MSG_OUTCOME_F_NOT_SENT);
}

START_TEST(test_closed_by_the_client)
{
	uint64_t bytes_out;
	const struct news *n;

	stall();
	say(from_target(ISCSI_OP_NOP_IN, ISCSI_FLAG_FINAL, RSV), NULL, 12);
	UNTIL(state().pdus_in == 1);
	bytes_out = state().bytes_out;
	raw_close(fx.raw, "by the test");
	ck_assert_ptr_null(fx.raw);
	both_ended();
	n = closed(0);
	ck_assert_uint_eq(n->closed.bytes_in, 60);
	ck_assert_uint_eq(n->closed.bytes_out, bytes_out);
	ck_assert_str_eq(n->closed.text, "by the test");
	no_news();
	client_reads_all();
	nothing_charged();
}
END_TEST

START_TEST(test_closed_by_the_target)
{
	const struct news *n;

	stall();
	ck_assert_int_eq(shutdown(fx.peer, SHUT_WR), 0);
	both_ended();
	n = closed(ECONNRESET);
	ck_assert_uint_eq(n->closed.bytes_in, 0);
	ck_assert_str_eq(n->closed.text, "closed by the target");
	no_news();
	client_reads_all();
	nothing_charged();
}
END_TEST

/* The client closes in the turn in which the connection failed. */
START_TEST(test_closed_twice)
{
	fx_adopt();
	begun(command(7), MSG_EXPECT_MANY, 1);
	raw_fail(fx.raw, EPROTO, "failed by the test");
	ck_assert(!raw_is_open(fx.raw));
	ck_assert_uint_eq(fx.nnews, 0);
	refused(SUBMIT_REFUSED, command(8), 0, MSG_R_BAD_STATE);
	raw_close(fx.raw, "by the test");
	outcome(1, MSG_OUTCOME_UNKNOWN, MSG_R_CONNECTION_LOST);
	ck_assert_str_eq(closed(EPROTO)->closed.text, "failed by the test");
	no_news();
}
END_TEST

/* What the client's own end leaves is told to nobody. */
START_TEST(test_client_gone)
{
	stall();
	raw_free(fx.raw);
	fx.raw = NULL;
	no_news();
	nothing_charged();
}
END_TEST

/* It goes out all the same, so nobody may say that it was not sent. */
START_TEST(test_cancelled_before_it_is_sent)
{
	uint32_t i;

	stall();
	fx.options.deadline = 1;
	accepted(command(9), 0, 3);
	ck_assert(raw_cancel(fx.raw, MSG_CANCEL_ITT, 8));
	ck_assert_uint_eq(outcome(2, MSG_OUTCOME_ABORTED,
	    MSG_R_CANCELLED)->outcome.flags, 0);
	ck_assert_uint_eq(outcome(3, MSG_OUTCOME_TIMED_OUT,
	    MSG_R_DEADLINE)->outcome.flags, 0);
	for (i = 7; i < 10; i++)
		ck_assert_uint_eq(iscsi_itt(wire(ISCSI_OP_SCSI_CMD)->bhs), i);
	counts(1, 3);
	for (i = 7; i < 10; i++)
		say_good(i);
	pdu_news(ISCSI_OP_SCSI_RSP, 0, 1);
	pdu_news(ISCSI_OP_SCSI_RSP, FRAME_F_UNMATCHED, 0);
	pdu_news(ISCSI_OP_SCSI_RSP, FRAME_F_UNMATCHED, 0);
	counts(0, 0);
	client_reads_all();
	nothing_charged();
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("raw");
	TCase *tc = tcase_create("tasks");

	tcase_add_checked_fixture(tc, fx_setup, fx_teardown);
	tcase_set_timeout(tc, 30);
	tcase_add_test(tc, test_none);
	tcase_add_test(tc, test_one);
	tcase_add_loop_test(tc, test_many, 0, 6);
	tcase_add_test(tc, test_auto);
	tcase_add_test(tc, test_bad_tags);
	tcase_add_test(tc, test_free_tags);
	tcase_add_loop_test(tc, test_unsolicited, 0, 2);
	tcase_add_test(tc, test_reject);
	tcase_add_test(tc, test_numbers);
	tcase_add_loop_test(tc, test_cancel, 0, 2);
	tcase_add_test(tc, test_deadline);
	tcase_add_test(tc, test_closed_by_the_client);
	tcase_add_test(tc, test_closed_by_the_target);
	tcase_add_test(tc, test_closed_twice);
	tcase_add_test(tc, test_client_gone);
	tcase_add_test(tc, test_cancelled_before_it_is_sent);
	suite_add_tcase(suite, tc);
	return unit_run(suite);
}
