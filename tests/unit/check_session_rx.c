/* SPDX-License-Identifier: ISC */
/*
 * What a session makes of the PDUs of its target: whose they are, which are
 * wrong, and what becomes of every task when the connection is lost or the
 * session is stopped (RFC 7143 sections 7.7, 11.2.1.8, 11.4).
 */
#include "config.h"

#include <sys/socket.h>

#include <stdlib.h>

#include "tests/unit/session_fixture.h"

#define F ISCSI_FLAG_FINAL

static struct sclient *a, *b;

static uint32_t
open_read(struct sclient *c, uint32_t client_itt, uint32_t edtl)
{
	accepted(c, command(READ_F, client_itt, edtl), 0, client_itt);
	return iscsi_itt(wire(ISCSI_OP_SCSI_CMD)->bhs);
}

/* --- tags */

START_TEST(same_itt_of_two_clients)
{
	uint32_t ia, ib;
	const struct news *n;

	fx_up_with(&a, &b);
	ia = open_read(a, 0x77, 8);
	ib = open_read(b, 0x77, 8);
	ck_assert_uint_ne(ia, ib);
	say_data(ib, F, 0xbb, 8);
	say_data(ia, F | ISCSI_DATAIN_STATUS, 0xaa, 8);
	say_good(ib);
	n = news(a, NEWS_PDU, 0x77);
	ck_assert_uint_eq(iscsi_itt(n->bhs), 0x77);
	ck_assert_uint_eq(n->data[7], 0xaa);
	ck_assert_uint_eq(n->charge.tasks, 1);
	n = news(b, NEWS_PDU, 0x77);
	ck_assert_uint_eq(iscsi_itt(n->bhs), 0x77);
	ck_assert_uint_eq(n->data[7], 0xbb);
	ck_assert_uint_eq(n->charge.tasks, 0);
	ck_assert_uint_eq(iscsi_opcode(news(b, NEWS_PDU, 0x77)->bhs),
	    ISCSI_OP_SCSI_RSP);
	no_news(a);
	no_news(b);
}
END_TEST

/*
 * A target may drop the connection for what RFC 7143 says is always so.  0 and
 * 1: NOP-Out and task management without F; more: that task attribute.
 */
START_TEST(reserved_values_are_refused)
{
	uint8_t *bhs;

	fx_up_with(&a, &b);
	if (_i > 1)
		bhs = command((uint8_t)(ISCSI_FLAG_FINAL | _i), 5, 0);
	else
		bhs = _i == 0 ? nop_out(true, 5) :
		    tmf(ISCSI_TMF_ABORT_TASK, 5, 1);
	if (_i <= 1)
		bhs[ISCSI_OFF_FLAGS] &= (uint8_t)~ISCSI_FLAG_FINAL;
	ck_assert_int_eq(submit(a, bhs, 0, 5), SUBMIT_REFUSED);
	ck_assert_uint_eq(fx.why.reason, MSG_R_BAD_FIELD);
	wire_quiet();
}
END_TEST

START_TEST(duplicate_itt_is_refused)
{
	uint32_t itt;

	fx_up_with(&a, &b);
	itt = open_read(a, 5, 0);
	ck_assert_int_eq(submit(a, nop_out(true, 5), 0, 6), SUBMIT_REFUSED);
	ck_assert_uint_eq(fx.why.reason, MSG_R_BAD_ITT);
	ck_assert_int_eq(submit(a, command(READ_F, RSV, 0), 0, 6),
	    SUBMIT_REFUSED);
	ck_assert_uint_eq(fx.why.reason, MSG_R_BAD_ITT);
	wire_quiet();
	say_good(itt);
	news(a, NEWS_PDU, 5);
	open_read(a, 5, 0);
}
END_TEST

/* The wire's tag is new each time, though the slots are used again. */
START_TEST(tags_do_not_come_again)
{
	uint32_t itts[100];

	fx_up_with(&a, &b);
	for (unsigned i = 0; i < 100; i++) {
		itts[i] = open_read(a, 5, 0);
		for (unsigned j = 0; j < i; j++)
			ck_assert_uint_ne(itts[i], itts[j]);
		say_good(itts[i]);
		news(a, NEWS_PDU, 5);
		/* One that is long over: nobody's. */
		say_good(itts[i / 2]);
		ck_assert_uint_eq(fx_stats().stale_pdus, i + 1);
	}
	no_news(a);
}
END_TEST

START_TEST(tag_never_used_drops_the_connection)
{
	uint32_t itt;

	fx_up_with(&a, &b);
	itt = open_read(a, 5, 0);
	say_good(_i == 0 ? itt ^ 0x00100000 : itt ^ 1);
	LOST("never used");
	news(a, NEWS_EVENT, 0);
	outcome(a, 5, MSG_OUTCOME_UNKNOWN, MSG_R_CONNECTION_LOST);
}
END_TEST

/* A request that was not sent can not be answered. */
START_TEST(answer_to_unsent_request_drops_the_connection)
{
	fx.window = 1;
	fx_up();
	a = fx_attach();
	fx.hold_window = true;
	open_read(a, 5, 0);
	accepted(a, command(READ_F, 6, 0), 0, 6);
	say_good(TAILQ_LAST(&a->a->tasks, task_queue)->slot.itt);
	LOST("answered a");
	news(a, NEWS_EVENT, 0);
	outcome(a, 5, MSG_OUTCOME_UNKNOWN, MSG_R_CONNECTION_LOST);
	outcome(a, 6, MSG_OUTCOME_NOT_SENT, MSG_R_CONNECTION_LOST);
}
END_TEST

static const struct {
	uint8_t request, response;
} mismatches[] = {
	{ ISCSI_OP_SCSI_CMD, ISCSI_OP_NOP_IN },
	{ ISCSI_OP_SCSI_CMD, ISCSI_OP_TMF_RSP },
	{ ISCSI_OP_SCSI_CMD, ISCSI_OP_TEXT_RSP },
	{ ISCSI_OP_SCSI_CMD, ISCSI_OP_LOGIN_RSP },
	{ ISCSI_OP_SCSI_CMD, ISCSI_OP_LOGOUT_RSP },
	{ ISCSI_OP_NOP_OUT, ISCSI_OP_SCSI_RSP },
	{ ISCSI_OP_NOP_OUT, ISCSI_OP_R2T },
	{ ISCSI_OP_TMF_REQ, ISCSI_OP_SCSI_RSP },
	{ ISCSI_OP_TMF_REQ, ISCSI_OP_DATA_IN },
	{ ISCSI_OP_TEXT_REQ, ISCSI_OP_SCSI_RSP },
	{ ISCSI_OP_TEXT_REQ, ISCSI_OP_NOP_IN },
};

START_TEST(response_that_does_not_fit)
{
	fx_up_with(&a, &b);
	switch (mismatches[_i].request) {
	case ISCSI_OP_SCSI_CMD:
		accepted(a, command(READ_F, 5, 0), 0, 5);
		break;
	case ISCSI_OP_NOP_OUT:
		accepted(a, nop_out(false, 5), 0, 5);
		break;
	case ISCSI_OP_TMF_REQ:
		accepted(a, tmf(ISCSI_TMF_CLEAR_ACA, 5, RSV), 0, 5);
		break;
	default:
		accepted(a, text_request(5, RSV), 0, 5);
		break;
	}
	wire(mismatches[_i].request);
	say(from_target(mismatches[_i].response, F, iscsi_itt(fx.got.bhs)),
	    NULL, 0);
	LOST("answered a");
	news(a, NEWS_EVENT, 0);
	outcome(a, 5, MSG_OUTCOME_UNKNOWN, MSG_R_CONNECTION_LOST);
	no_news(a);
}
END_TEST

START_TEST(reserved_tag_does_not_fit)
{
	fx_up_with(&a, &b);
	say_status(from_target(ISCSI_OP_SCSI_RSP, F, RSV), NULL, 0);
	LOST("reserved tag");
}
END_TEST

/* --- what a target may send for a task */

START_TEST(more_data_than_asked_for)
{
	uint32_t itt;

	fx_up_with(&a, &b);
	itt = open_read(a, 5, 1000);
	say_data(itt, 0, 1, 600);
	say_data(itt, F, 2, 401);
	LOST("bytes for a task");
	news(a, NEWS_PDU, 5);
	news(a, NEWS_EVENT, 0);
	outcome(a, 5, MSG_OUTCOME_UNKNOWN, MSG_R_CONNECTION_LOST);
	no_news(a);
}
END_TEST

START_TEST(more_pdus_than_can_be)
{
	uint32_t itt;

	fx_up_with(&a, &b);
	itt = open_read(a, 5, 1024);
	for (unsigned i = 0; i < 30 && fx.s->phase == SESSION_UP; i++)
		say_data(itt, 0, 0, 1);
	LOST("PDUs for a task");
	ck_assert_uint_eq(a->nnews, 18 + 2);
}
END_TEST

START_TEST(data_for_a_write)
{
	fx_up_with(&a, &b);
	accepted(a, command(WRITE_F, 5, 4096), 0, 5);
	wire(ISCSI_OP_SCSI_CMD);
	say_data(iscsi_itt(fx.got.bhs), F, 0, 1);
	LOST("bytes for a task");
}
END_TEST

START_TEST(too_much_sense)
{
	static const uint8_t sense[TASK_SENSE_MAX + 1];
	uint32_t itt;

	fx_up_with(&a, &b);
	itt = open_read(a, 5, 0);
	say_status(from_target(ISCSI_OP_SCSI_RSP, F, itt), sense,
	    TASK_SENSE_MAX);
	news(a, NEWS_PDU, 5);
	itt = open_read(a, 5, 0);
	say_status(from_target(ISCSI_OP_SCSI_RSP, F, itt), sense,
	    TASK_SENSE_MAX + 1);
	LOST("bytes for a task");
}
END_TEST

START_TEST(more_text_than_asked_for)
{
	static const uint8_t text[TASK_CHARGE_TEXT + 1];
	uint8_t *bhs;
	uint32_t itt;

	fx_up_with(&a, &b);
	accepted(a, text_request(5, RSV), 0, 5);
	itt = iscsi_itt(wire(ISCSI_OP_TEXT_REQ)->bhs);
	bhs = from_target(ISCSI_OP_TEXT_RSP, _i == 1 ? 0 : F, itt);
	put_be32(bhs + ISCSI_OFF_TTT, _i == 1 ? 7 : RSV);
	if (_i == 2)
		bhs[ISCSI_OFF_FLAGS] = 0;	/* to go on, but no tag */
	say_status(bhs, text, _i == 0 ? sizeof(text) : 1);
	if (_i == 1) {
		bhs = from_target(ISCSI_OP_TEXT_RSP, 0, itt);
		put_be32(bhs + ISCSI_OFF_TTT, 7);
		say_status(bhs, text, 1);
	}
	LOST("Text Response");
}
END_TEST

/* Data where none belongs is counted and kept from the client. */
START_TEST(data_in_tmf_response)
{
	const struct news *n;

	fx_up_with(&a, &b);
	accepted(a, tmf(ISCSI_TMF_CLEAR_ACA, 5, RSV), 0, 5);
	wire(ISCSI_OP_TMF_REQ);
	say_status(from_target(ISCSI_OP_TMF_RSP, F, iscsi_itt(fx.got.bhs)),
	    "junk", 5);
	n = news(a, NEWS_PDU, 5);
	ck_assert_uint_eq(n->len, 0);
	ck_assert_uint_eq(fx_stats().ignored_data, 5);
	ck_assert_int_eq(fx.s->phase, SESSION_UP);
}
END_TEST

START_TEST(vendor_opcodes)
{
	uint32_t itt;

	fx_up_with(&a, &b);
	itt = open_read(a, 5, 512);
	say(from_target(0x3d, F, itt), NULL, 0);
	ck_assert_uint_eq(iscsi_opcode(news(a, NEWS_PDU, 5)->bhs), 0x3d);
	say(from_target(0x3e, F, RSV), NULL, 0);
	ck_assert_uint_eq(fx_stats().stale_pdus, 1);
	ck_assert_int_eq(fx.s->phase, SESSION_UP);
	say_good(itt);
	news(a, NEWS_PDU, 5);
	no_news(b);
}
END_TEST

/* --- what others are told */

START_TEST(unit_attention_is_told)
{
	uint8_t fixed[20] = { 0, 18, 0x70, 0, 6, [14] = 0x29, 0x02 };
	uint8_t descr[10] = { 0, 8, 0x72, 6, 0x2a, 0x09 };
	uint8_t other[20] = { 0, 18, 0x70, 0, 5, [14] = 0x24 };
	const struct news *n;
	uint8_t *bhs;
	uint32_t itt;

	fx_up_with(&a, &b);
	for (unsigned i = 0; i < 3; i++) {
		itt = open_read(a, 5, 0);
		bhs = from_target(ISCSI_OP_SCSI_RSP, F, itt);
		bhs[ISCSI_OFF_STATUS] = 2;
		say_status(bhs, i == 0 ? fixed : i == 1 ? descr : other,
		    i == 1 ? sizeof(descr) : sizeof(fixed));
		news(a, NEWS_PDU, 5);
		if (i == 2)
			break;
		n = news(b, NEWS_EVENT, 0);
		ck_assert_uint_eq(n->event.kind, MSG_EVENT_UNIT_ATTENTION);
		ck_assert_uint_eq(n->event.lun, LUN_1);
		ck_assert_uint_eq(n->event.code, i == 0 ? 0x2902 : 0x2a09);
	}
	no_news(a);
	no_news(b);
}
END_TEST

START_TEST(async_message_is_told)
{
	uint8_t *bhs;

	fx_up_with(&a, &b);
	bhs = from_target(ISCSI_OP_ASYNC, F, RSV);
	bhs[ISCSI_OFF_ASYNC_EVENT] = _i == 0 ? 255 : 2;
	say_status(bhs, NULL, 0);
	ck_assert_uint_eq(news(a, NEWS_EVENT, 0)->event.kind,
	    MSG_EVENT_ASYNC);
	ck_assert_uint_eq(news(b, NEWS_EVENT, 0)->event.kind,
	    MSG_EVENT_ASYNC);
	if (_i == 0)
		ck_assert_int_eq(fx.s->phase, SESSION_UP);
	else
		LOST("async message 2");
}
END_TEST

/* --- the end of the connection */

/* One task of every sort; each ends once, as far as it had come. */
START_TEST(one_outcome_for_each_task)
{
	struct session_info info;
	uint32_t itt;

	fx.small = true;
	fx_up();
	a = fx_attach();
	b = fx_attach();
	accepted(a, command(WRITE_F, 1, 512), 0, 1);		/* sent */
	itt = iscsi_itt(wire(ISCSI_OP_SCSI_CMD)->bhs);
	say_r2t(itt, 7, 0, 512);
	news(a, NEWS_PDU, 1);
	open_read(a, 2, 512);					/* cancelled */
	ck_assert(session_cancel(a->a, MSG_CANCEL_ITT, 2));
	wire(ISCSI_OP_TMF_REQ);
	accepted(a, tmf(ISCSI_TMF_LUN_RESET, 3, RSV), 0, 3);	/* waits */
	accepted(a, text_request(4, RSV), 0, 4);		/* sent */
	wire(ISCSI_OP_TEXT_REQ);
	stall(b, 5);						/* in part */
	accepted(b, command(READ_F, 6, 0), 0, 6);		/* stamped */
	turn();
	accepted(a, data_out(F, 1, 7, 0, 0), 512, 1);		/* queued */
	accepted(b, command(ISCSI_CMD_WRITE, 7, 512), 0, 7);	/* queued */
	accepted(b, data_out(F, 7, RSV, 0, 0), 512, 7);
	accepted(b, text_request(8, RSV), 0, 8);
	accepted(b, nop_out(true, 9), 0, 9);
	ck_assert(session_cancel(b->a, MSG_CANCEL_ITT, 9));
	outcome(b, 9, MSG_OUTCOME_ABORTED, MSG_R_CANCELLED);
	shutdown(fx.peer, SHUT_WR);
	lost("");
	news(a, NEWS_EVENT, 0);
	outcome(a, 1, MSG_OUTCOME_UNKNOWN, MSG_R_CONNECTION_LOST);
	outcome(a, 2, MSG_OUTCOME_UNKNOWN, MSG_R_CONNECTION_LOST);
	for (unsigned i = 0; i < 2; i++) {
		const struct news *n = &a->news[a->nread++];

		ck_assert_int_eq(n->kind, NEWS_OUTCOME);
		ck_assert_uint_eq(n->outcome.outcome, n->cookie == 3 ?
		    MSG_OUTCOME_NOT_SENT : MSG_OUTCOME_UNKNOWN);
		ck_assert_uint_eq(n->charge.tasks, 1);
	}
	news(b, NEWS_EVENT, 0);
	outcome(b, 5, MSG_OUTCOME_UNKNOWN, MSG_R_CONNECTION_LOST);
	outcome(b, 6, MSG_OUTCOME_NOT_SENT, MSG_R_CONNECTION_LOST);
	outcome(b, 7, MSG_OUTCOME_NOT_SENT, MSG_R_CONNECTION_LOST);
	outcome(b, 8, MSG_OUTCOME_NOT_SENT, MSG_R_CONNECTION_LOST);
	no_news(b);
	session_info_get(fx.s, &info);
	ck_assert_uint_eq(info.tasks, 0);
	ck_assert_uint_eq(a->quota->used.out + b->quota->used.out, 0);
	ck_assert_uint_eq(a->quota->used.tasks + b->quota->used.tasks, 0);
}
END_TEST

/* Down: nothing is accepted; up again: with fresh numbers, and tags. */
START_TEST(logs_in_again)
{
	fx_up_with(&a, &b);
	open_read(a, 5, 0);
	shutdown(fx.peer, SHUT_WR);
	lost("");
	ck_assert_int_eq(submit(b, command(READ_F, 1, 0), 0, 1),
	    SUBMIT_NOT_SENT);
	ck_assert_uint_eq(fx.why.reason, MSG_R_SESSION_DOWN);
	ck_assert_uint_eq(news(a, NEWS_EVENT, 0)->event.kind,
	    MSG_EVENT_SESSION_DOWN);
	outcome(a, 5, MSG_OUTCOME_UNKNOWN, MSG_R_CONNECTION_LOST);
	fx_log_in();
	ck_assert_uint_eq(news(a, NEWS_EVENT, 0)->event.kind,
	    MSG_EVENT_SESSION_UP);
	ck_assert_uint_eq(fx_stats().logins, 2);
	open_read(a, 5, 0);
	ck_assert_uint_eq(get_be32(fx.got.bhs + ISCSI_OFF_CMDSN), 1);
	say_good(iscsi_itt(fx.got.bhs));
	news(a, NEWS_PDU, 5);
}
END_TEST

static void
on_stopped(void *arg)
{
	++*(unsigned *)arg;
}

START_TEST(stop_logs_out)
{
	unsigned stops = 0;

	fx.window = 1;
	fx_up();
	a = fx_attach();
	fx.hold_window = true;
	open_read(a, 5, 0);
	accepted(a, command(READ_F, 6, 0), 0, 6);
	session_stop(fx.s, on_stopped, &stops);
	ck_assert_uint_eq(news(a, NEWS_EVENT, 0)->event.kind,
	    MSG_EVENT_SESSION_DOWN);
	outcome(a, 5, MSG_OUTCOME_UNKNOWN, MSG_R_SHUTDOWN);
	outcome(a, 6, MSG_OUTCOME_NOT_SENT, MSG_R_SHUTDOWN);
	wire(ISCSI_OP_LOGOUT_REQ);
	ck_assert_uint_eq(fx.got.bhs[0], ISCSI_OP_LOGOUT_REQ |
	    ISCSI_IMMEDIATE);
	ck_assert_uint_eq(fx.got.bhs[1], F);	/* close the session */
	ck_assert_uint_eq(stops, 0);
	say_status(from_target(ISCSI_OP_LOGOUT_RSP, F,
	    iscsi_itt(fx.got.bhs)), NULL, 0);
	UNTIL(stops > 0);
	no_news(a);
	ck_assert_uint_eq(stops, 1);
	ck_assert_int_eq(submit(a, nop_out(true, 1), 0, 1), SUBMIT_NOT_SENT);
}
END_TEST

static void
add_tests(TCase *tc)
{
	tcase_add_test(tc, same_itt_of_two_clients);
	tcase_add_loop_test(tc, reserved_values_are_refused, 0, 2);
	tcase_add_loop_test(tc, reserved_values_are_refused, 5, 8);
	tcase_add_test(tc, duplicate_itt_is_refused);
	tcase_add_test(tc, tags_do_not_come_again);
	tcase_add_loop_test(tc, tag_never_used_drops_the_connection, 0, 2);
	tcase_add_test(tc, answer_to_unsent_request_drops_the_connection);
	tcase_add_loop_test(tc, response_that_does_not_fit, 0,
	    sizeof(mismatches) / sizeof(mismatches[0]));
	tcase_add_test(tc, reserved_tag_does_not_fit);
	tcase_add_test(tc, more_data_than_asked_for);
	tcase_add_test(tc, more_pdus_than_can_be);
	tcase_add_test(tc, data_for_a_write);
	tcase_add_test(tc, too_much_sense);
	tcase_add_loop_test(tc, more_text_than_asked_for, 0, 3);
	tcase_add_test(tc, data_in_tmf_response);
	tcase_add_test(tc, vendor_opcodes);
	tcase_add_test(tc, unit_attention_is_told);
	tcase_add_loop_test(tc, async_message_is_told, 0, 2);
	tcase_add_test(tc, one_outcome_for_each_task);
	tcase_add_test(tc, logs_in_again);
	tcase_add_test(tc, stop_logs_out);
}

int
main(void)
{
	Suite *s = suite_create("session: what comes in");
	TCase *tc = tcase_create("rx");

	tcase_add_checked_fixture(tc, fx_setup, fx_teardown);
	tcase_set_timeout(tc, 10);
	add_tests(tc);
	suite_add_tcase(s, tc);
	return unit_run(s);
}
