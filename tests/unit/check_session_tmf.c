/* SPDX-License-Identifier: ISC */
/*
 * Task management of clients on a shared session: whose tags are in it, what
 * it ends and what it holds (RFC 7143 sections 11.5 and 11.6).
 */
#include "config.h"

#include <unistd.h>

#include "tests/unit/session_fixture.h"

#define F ISCSI_FLAG_FINAL
#define LUN_2 UINT64_C(0x0002000000000000)

static struct sclient *a, *b;

/* A command of a client on a LUN, on the wire; its tag there. */
static uint32_t
open_on(struct sclient *c, uint64_t lun, uint32_t client_itt)
{
	uint8_t *bhs = command(READ_F, client_itt, 0);

	put_be64(bhs + ISCSI_OFF_LUN, lun);
	accepted(c, bhs, 0, client_itt);
	return iscsi_itt(wire(ISCSI_OP_SCSI_CMD)->bhs);
}

static void
synthetic(struct sclient *c, uint64_t cookie, uint8_t response)
{
	const struct news *n = news(c, NEWS_PDU, cookie);

	ck_assert_uint_eq(n->flags, FRAME_F_SYNTHETIC);
	ck_assert_uint_eq(iscsi_opcode(n->bhs), ISCSI_OP_TMF_RSP);
	ck_assert_uint_eq(n->bhs[1], F);
	ck_assert_uint_eq(iscsi_itt(n->bhs), cookie);
	ck_assert_uint_eq(n->bhs[ISCSI_OFF_RESPONSE], response);
	ck_assert_uint_eq(n->charge.tasks, 1);
}

/* --- ABORT TASK of a client */

START_TEST(abort_task_is_mapped)
{
	const struct news *n;
	uint32_t first, itt;

	fx_up_with(&a, &b);
	first = open_on(b, LUN_1, 5);
	itt = open_on(a, LUN_1, 5);
	accepted(a, tmf(ISCSI_TMF_ABORT_TASK, 6, 5), 0, 6);
	wire(ISCSI_OP_TMF_REQ);
	ck_assert_uint_ne(itt, first);
	ck_assert_uint_eq(get_be32(fx.got.bhs + ISCSI_OFF_RTT), itt);
	ck_assert_uint_eq(get_be32(fx.got.bhs + ISCSI_OFF_REFCMDSN), 2);
	ck_assert_uint_eq(iscsi_lun(fx.got.bhs), LUN_1);
	say_tmf(iscsi_itt(fx.got.bhs), 0);
	n = outcome(a, 5, MSG_OUTCOME_ABORTED, MSG_R_CANCELLED);
	ck_assert_uint_eq(n->outcome.tmf_response, 0);
	n = news(a, NEWS_PDU, 6);
	ck_assert_uint_eq(n->flags, 0);
	ck_assert_uint_eq(iscsi_itt(n->bhs), 6);
	no_news(b);
	say_good(first);
	news(b, NEWS_PDU, 5);
}
END_TEST

START_TEST(abort_task_of_an_unsent_task)
{
	fx.window = 0;
	fx_up_with(&a, &b);
	accepted(a, command(READ_F, 5, 0), 0, 5);
	accepted(a, tmf(ISCSI_TMF_ABORT_TASK, 6, 5), 0, 6);
	ck_assert_uint_eq(outcome(a, 5, MSG_OUTCOME_ABORTED,
	    MSG_R_CANCELLED)->outcome.flags, MSG_OUTCOME_F_NOT_SENT);
	synthetic(a, 6, 0);
	wire_quiet();
}
END_TEST

/* Not one's own: neither another client's tag nor one of the wire. */
START_TEST(abort_task_of_another_client)
{
	uint32_t itt;

	fx_up_with(&a, &b);
	itt = open_on(b, LUN_1, 1000);
	accepted(a, tmf(ISCSI_TMF_ABORT_TASK, 6, 1000), 0, 6);
	accepted(a, tmf(ISCSI_TMF_ABORT_TASK, 7, itt), 0, 7);
	synthetic(a, 6, 1);
	synthetic(a, 7, 1);
	wire_quiet();
	no_news(b);
}
END_TEST

/* A code that concludes nothing ends nothing. */
START_TEST(abort_task_refused_by_target)
{
	uint32_t itt;

	fx_up_with(&a, &b);
	itt = open_on(a, LUN_1, 5);
	accepted(a, tmf(ISCSI_TMF_ABORT_TASK, 6, 5), 0, 6);
	wire(ISCSI_OP_TMF_REQ);
	say_tmf(iscsi_itt(fx.got.bhs), 5);
	news(a, NEWS_PDU, 6);
	no_news(a);
	say_good(itt);
	news(a, NEWS_PDU, 5);
}
END_TEST

/* --- functions that end many tasks */

static const struct {
	uint8_t	 function;
	bool	 other_lun;	/* ends tasks of other LUNs, too */
	bool	 none;		/* ends none */
} functions[] = {
	{ ISCSI_TMF_ABORT_TASK_SET, false, false },
	{ ISCSI_TMF_CLEAR_ACA, false, true },
	{ ISCSI_TMF_CLEAR_TASK_SET, false, false },
	{ ISCSI_TMF_LUN_RESET, false, false },
	{ ISCSI_TMF_TARGET_WARM_RESET, true, false },
	{ ISCSI_TMF_TARGET_COLD_RESET, true, false },
	{ ISCSI_TMF_QUERY_TASK_SET, false, true },
	{ ISCSI_TMF_NEXUS_RESET, true, false },
	{ ISCSI_TMF_QUERY_ASYNC_EVENT, false, true },
};

/* Two clients of a session at iSCSIProtocolLevel 2. */
static void
up_at_level_2(void)
{
	fx_up_with(&a, &b);
	fx.s->protocol_level = ISCSI_LEVEL_RFC7144;
}

/* What is said of whose function it was. */
static void
said_by_a(const char *text, uint8_t function, bool target)
{
	ck_assert_ptr_nonnull(strstr(text, iscsi_tmf_name(function)));
	ck_assert_ptr_nonnull(strstr(text, "by client test (pid "));
	ck_assert(target || strstr(text, "LUN 0x0001000000000000") != NULL);
}

START_TEST(tmf_ends_what_it_covers)
{
	const struct news *n;
	uint32_t tag, early;

	up_at_level_2();
	open_on(a, LUN_1, 1);
	open_on(b, LUN_1, 2);
	open_on(b, LUN_2, 3);
	early = open_on(b, LUN_1, 4);
	accepted(a, tmf(functions[_i].function, 9, RSV), 0, 9);
	tag = iscsi_itt(wire(ISCSI_OP_TMF_REQ)->bhs);
	ck_assert_uint_eq(fx.got.bhs[1], F | functions[_i].function);
	ck_assert_uint_eq(get_be32(fx.got.bhs + ISCSI_OFF_RTT), RSV);
	ck_assert_uint_eq(get_be32(fx.got.bhs + ISCSI_OFF_REFCMDSN), 0);
	/* Responses that come before it are valid. */
	say_good(early);
	news(b, NEWS_PDU, 4);
	say_tmf(tag, 0);
	if (!functions[_i].none) {
		n = outcome(a, 1, MSG_OUTCOME_ABORTED, MSG_R_CANCELLED);
		ck_assert_uint_eq(n->outcome.tmf_response, 0);
		n = outcome(b, 2, MSG_OUTCOME_ABORTED, MSG_R_RESET);
		said_by_a(n->outcome.text, functions[_i].function,
		    functions[_i].other_lun);
		if (functions[_i].other_lun)
			outcome(b, 3, MSG_OUTCOME_ABORTED, MSG_R_RESET);
		n = news(b, NEWS_EVENT, 0);
		ck_assert_uint_eq(n->event.kind, MSG_EVENT_RESET);
		ck_assert_uint_eq(n->event.code, functions[_i].function);
		ck_assert_uint_eq(n->event.lun, LUN_1);
		said_by_a(n->event.text, functions[_i].function,
		    functions[_i].other_lun);
	}
	news(a, NEWS_PDU, 9);
	if (functions[_i].function == ISCSI_TMF_TARGET_COLD_RESET) {
		LOST("TARGET COLD RESET");
		return;
	}
	no_news(a);
	no_news(b);
}
END_TEST

/* Its tags are mapped as those of ABORT TASK, but nothing ends. */
START_TEST(query_task)
{
	static const uint8_t responses[] = { 0, 1, ISCSI_TMF_SUCCEEDED };
	uint32_t mine, other;
	const struct news *n;

	up_at_level_2();
	a->a->access = MSG_ACCESS_ALL & ~(uint32_t)MSG_ACCESS_RESET;
	other = open_on(b, LUN_1, 5);
	mine = open_on(a, LUN_1, 5);
	accepted(a, tmf(ISCSI_TMF_QUERY_TASK, 6, 5), 0, 6);
	wire(ISCSI_OP_TMF_REQ);
	ck_assert_uint_eq(fx.got.bhs[1], F | ISCSI_TMF_QUERY_TASK);
	ck_assert_uint_eq(get_be32(fx.got.bhs + ISCSI_OFF_RTT), mine);
	ck_assert_uint_eq(get_be32(fx.got.bhs + ISCSI_OFF_REFCMDSN), 2);
	say_tmf(iscsi_itt(fx.got.bhs), responses[_i]);
	n = news(a, NEWS_PDU, 6);
	ck_assert_uint_eq(n->bhs[ISCSI_OFF_RESPONSE], responses[_i]);
	ck_assert_uint_eq(n->flags, 0);
	no_news(a);
	say_good(mine);
	news(a, NEWS_PDU, 5);
	say_good(other);
	news(b, NEWS_PDU, 5);
	no_news(b);
}
END_TEST

/* The daemon knows of what the target can not: no one else's, unsent, none. */
START_TEST(query_task_that_the_target_lacks)
{
	fx.window = 0;
	up_at_level_2();
	accepted(a, command(READ_F, 1, 0), 0, 1);
	accepted(b, command(READ_F, 2, 0), 0, 2);
	accepted(a, tmf(ISCSI_TMF_QUERY_TASK, 6, 1), 0, 6);
	synthetic(a, 6, ISCSI_TMF_SUCCEEDED);
	accepted(a, tmf(ISCSI_TMF_QUERY_TASK, 7, 2), 0, 7);
	synthetic(a, 7, 0);
	accepted(a, tmf(ISCSI_TMF_QUERY_TASK, 8, 8), 0, 8);
	synthetic(a, 8, 0);
	wire_quiet();
	ck_assert_uint_eq(session_open_tasks(a->a), 1);
	ck_assert_uint_eq(session_open_tasks(b->a), 1);
}
END_TEST

/* What the target says of an event comes to the client as it is. */
START_TEST(additional_response_information)
{
	const struct news *n;
	uint8_t *bhs;

	up_at_level_2();
	accepted(a, tmf(ISCSI_TMF_QUERY_ASYNC_EVENT, 6, RSV), 0, 6);
	wire(ISCSI_OP_TMF_REQ);
	ck_assert_uint_eq(iscsi_lun(fx.got.bhs), LUN_1);
	bhs = from_target(ISCSI_OP_TMF_RSP, F, iscsi_itt(fx.got.bhs));
	bhs[ISCSI_OFF_RESPONSE] = ISCSI_TMF_SUCCEEDED;
	memcpy(bhs + 8, "\x16\x29\x00", 3);
	say_status(bhs, NULL, 0);
	n = news(a, NEWS_PDU, 6);
	ck_assert_uint_eq(n->bhs[ISCSI_OFF_RESPONSE], ISCSI_TMF_SUCCEEDED);
	ck_assert_mem_eq(n->bhs + 8, "\x16\x29\x00", 3);
	no_news(b);
}
END_TEST

/* All other codes of RFC 7143 section 11.6.1, and what RFC 7144 adds. */
static const uint8_t failures[] = { 1, 2, 3, 4, 5, 6, 7, 255 };

START_TEST(failed_tmf_ends_nothing)
{
	uint32_t mine, other;
	const struct news *n;

	fx_up_with(&a, &b);
	mine = open_on(a, LUN_1, 1);
	other = open_on(b, LUN_1, 2);
	accepted(a, tmf(ISCSI_TMF_LUN_RESET, 9, RSV), 0, 9);
	wire(ISCSI_OP_TMF_REQ);
	say_tmf(iscsi_itt(fx.got.bhs), failures[_i]);
	n = news(a, NEWS_PDU, 9);
	ck_assert_uint_eq(n->bhs[ISCSI_OFF_RESPONSE], failures[_i]);
	no_news(a);
	no_news(b);
	say_good(mine);
	news(a, NEWS_PDU, 1);
	say_good(other);
	news(b, NEWS_PDU, 2);
}
END_TEST

/* What comes behind the response is for nobody, and breaks nothing. */
START_TEST(late_response_is_dropped)
{
	uint32_t mine, other;

	fx_up_with(&a, &b);
	mine = open_on(a, LUN_1, 1);
	other = open_on(b, LUN_1, 2);
	accepted(a, tmf(ISCSI_TMF_LUN_RESET, 9, RSV), 0, 9);
	say_tmf(iscsi_itt(wire(ISCSI_OP_TMF_REQ)->bhs), 0);
	outcome(a, 1, MSG_OUTCOME_ABORTED, MSG_R_CANCELLED);
	outcome(b, 2, MSG_OUTCOME_ABORTED, MSG_R_RESET);
	news(b, NEWS_EVENT, 0);
	news(a, NEWS_PDU, 9);
	/* The next tasks have the same tags, for their clients. */
	open_on(a, LUN_1, 1);
	open_on(b, LUN_1, 2);
	say_good(mine);
	say_good(other);
	no_news(a);
	no_news(b);
	ck_assert_uint_eq(fx_stats().stale_pdus, 2);
}
END_TEST

/* A cold reset may end the connection before it is answered. */
START_TEST(cold_reset_without_response)
{
	fx_up_with(&a, &b);
	open_on(b, LUN_1, 2);
	accepted(a, tmf(ISCSI_TMF_TARGET_COLD_RESET, 9, RSV), 0, 9);
	wire(ISCSI_OP_TMF_REQ);
	close(fx.peer);
	UNTIL(fx.s->phase != SESSION_UP);
	fx.peer = -1;
	news(a, NEWS_EVENT, 0);
	outcome(a, 9, MSG_OUTCOME_UNKNOWN, MSG_R_CONNECTION_LOST);
	news(b, NEWS_EVENT, 0);
	outcome(b, 2, MSG_OUTCOME_UNKNOWN, MSG_R_CONNECTION_LOST);
}
END_TEST

/* Nobody could tell whether a request that slips in was ended. */
START_TEST(requests_wait_for_a_reset)
{
	uint32_t tag;

	fx_up_with(&a, &b);
	accepted(a, tmf(ISCSI_TMF_LUN_RESET, 9, RSV), 0, 9);
	tag = iscsi_itt(wire(ISCSI_OP_TMF_REQ)->bhs);
	accepted(b, command(READ_F, 1, 0), 0, 1);
	accepted(b, nop_out(false, 2), 0, 2);
	wire_quiet();
	say_tmf(tag, 0);
	wire(ISCSI_OP_SCSI_CMD);
	wire(ISCSI_OP_NOP_OUT);
}
END_TEST

static const uint8_t resets[] = {
	ISCSI_TMF_TARGET_WARM_RESET, ISCSI_TMF_NEXUS_RESET
};

/* Only those for that LUN, unless it is the target or nexus that is reset. */
START_TEST(requests_for_other_luns)
{
	uint8_t *bhs;
	uint32_t tag;

	fx_up_with(&a, &b);
	accepted(a, tmf(ISCSI_TMF_LUN_RESET, 9, RSV), 0, 9);
	tag = iscsi_itt(wire(ISCSI_OP_TMF_REQ)->bhs);
	open_on(b, LUN_2, 1);
	wire_quiet();
	say_tmf(tag, 0);
	fx.s->protocol_level = ISCSI_LEVEL_RFC7144;
	accepted(a, tmf(resets[_i], 10, RSV), 0, 10);
	tag = iscsi_itt(wire(ISCSI_OP_TMF_REQ)->bhs);
	bhs = command(READ_F, 2, 0);
	put_be64(bhs + ISCSI_OFF_LUN, LUN_2);
	accepted(b, bhs, 0, 2);
	wire_quiet();
	say_tmf(tag, 0);
	wire(ISCSI_OP_SCSI_CMD);
}
END_TEST

/* A function also ends what its own client had waiting, and no one else. */
START_TEST(own_unsent_commands_end)
{
	const struct news *n;
	uint8_t *bhs;

	fx.window = 0;
	fx_up_with(&a, &b);
	accepted(a, command(READ_F, 1, 0), 0, 1);
	bhs = command(READ_F, 2, 0);
	put_be64(bhs + ISCSI_OFF_LUN, LUN_2);
	accepted(a, bhs, 0, 2);
	accepted(b, command(READ_F, 3, 0), 0, 3);
	accepted(a, tmf(ISCSI_TMF_LUN_RESET, 9, RSV), 0, 9);
	accepted(a, command(READ_F, 4, 0), 0, 4);
	wire(ISCSI_OP_TMF_REQ);
	n = outcome(a, 1, MSG_OUTCOME_ABORTED, MSG_R_CANCELLED);
	ck_assert_uint_eq(n->outcome.flags, MSG_OUTCOME_F_NOT_SENT);
	ck_assert_ptr_nonnull(strstr(n->outcome.text, "LOGICAL UNIT RESET"));
	no_news(a);
	no_news(b);
	ck_assert_uint_eq(session_open_tasks(a->a), 3);
	ck_assert_uint_eq(session_open_tasks(b->a), 1);
}
END_TEST

static const struct {
	uint8_t	 function;
	bool	 immediate;
	uint32_t rtt;
	unsigned reason;
} refused[] = {
	{ ISCSI_TMF_ABORT_TASK, false, 1, MSG_R_BAD_FIELD },
	{ ISCSI_TMF_LUN_RESET, true, 1, MSG_R_BAD_FIELD },
	{ ISCSI_TMF_TARGET_COLD_RESET, true, 1, MSG_R_BAD_FIELD },
	{ ISCSI_TMF_TASK_REASSIGN, true, 1, MSG_R_NOT_SUPPORTED },
	{ ISCSI_TMF_QUERY_TASK, true, 1, MSG_R_NOT_SUPPORTED },
	{ ISCSI_TMF_QUERY_TASK_SET, true, RSV, MSG_R_NOT_SUPPORTED },
	{ ISCSI_TMF_NEXUS_RESET, true, RSV, MSG_R_NOT_SUPPORTED },
	{ ISCSI_TMF_QUERY_ASYNC_EVENT, true, RSV, MSG_R_NOT_SUPPORTED },
	{ 0, true, RSV, MSG_R_NOT_SUPPORTED },
	{ 13, true, RSV, MSG_R_NOT_SUPPORTED },
};

START_TEST(tmf_refused)
{
	uint8_t *bhs;

	fx_up_with(&a, &b);
	bhs = tmf(refused[_i].function, 9, refused[_i].rtt);
	if (!refused[_i].immediate)
		bhs[0] &= ISCSI_OP_MASK;
	ck_assert_int_eq(submit(a, bhs, 0, 9), SUBMIT_REFUSED);
	ck_assert_uint_eq(fx.why.reason, refused[_i].reason);
	if (refused[_i].function >= ISCSI_TMF_QUERY_TASK &&
	    refused[_i].function <= ISCSI_TMF_QUERY_ASYNC_EVENT)
		ck_assert_ptr_nonnull(strstr(fx.why.text,
		    "iSCSIProtocolLevel 2"));
	wire_quiet();
}
END_TEST

/* Whose turn it is to do something about a level below 2. */
START_TEST(level_is_refused_in_words)
{
	fx.sconf.protocol_level = _i == 1 ? 2 : 1;
	fx_up_with(&a, &b);
	fx.s->shared = _i == 2;
	ck_assert_int_eq(submit(a, tmf(ISCSI_TMF_QUERY_TASK, 9, 1), 0, 9),
	    SUBMIT_REFUSED);
	ck_assert_uint_eq(fx.why.reason, MSG_R_NOT_SUPPORTED);
	ck_assert_int_eq(strstr(fx.why.text, "set protocol-level = 2") != NULL,
	    _i == 0);
	ck_assert_int_eq(strstr(fx.why.text, "agreed to 1 only") != NULL,
	    _i == 1);
	fx.s->shared = false;
}
END_TEST

static const uint8_t without_tag[] = {
	ISCSI_TMF_QUERY_TASK_SET, ISCSI_TMF_NEXUS_RESET,
	ISCSI_TMF_QUERY_ASYNC_EVENT
};

START_TEST(referenced_tag_is_refused)
{
	up_at_level_2();
	ck_assert_int_eq(submit(a, tmf(without_tag[_i], 9, 1), 0, 9),
	    SUBMIT_REFUSED);
	ck_assert_uint_eq(fx.why.reason, MSG_R_BAD_FIELD);
	wire_quiet();
}
END_TEST

/* Without the access 'reset', by number of the function. */
START_TEST(reset_needs_access)
{
	bool own = _i == ISCSI_TMF_ABORT_TASK || _i == ISCSI_TMF_TASK_REASSIGN;
	uint8_t *bhs = tmf((uint8_t)_i, 9, own ? 1 : RSV);
	bool needs = (_i >= 2 && _i <= 7) || _i == 11;

	fx_up_with(&a, &b);
	a->a->access = MSG_ACCESS_ALL & ~(uint32_t)MSG_ACCESS_RESET;
	if (_i == ISCSI_TMF_ABORT_TASK) {
		accepted(a, bhs, 0, 9);
		synthetic(a, 9, 1);
		return;
	}
	ck_assert_int_eq(submit(a, bhs, 0, 9), SUBMIT_REFUSED);
	ck_assert_uint_eq(fx.why.reason,
	    needs ? MSG_R_NOT_PERMITTED : MSG_R_NOT_SUPPORTED);
	ck_assert(!needs || strstr(fx.why.text, "'reset'") != NULL);
	wire_quiet();
}
END_TEST

static void
add_tests(TCase *tc)
{
	tcase_add_test(tc, abort_task_is_mapped);
	tcase_add_test(tc, abort_task_of_an_unsent_task);
	tcase_add_test(tc, abort_task_of_another_client);
	tcase_add_test(tc, abort_task_refused_by_target);
	tcase_add_loop_test(tc, tmf_ends_what_it_covers, 0,
	    sizeof(functions) / sizeof(functions[0]));
	tcase_add_loop_test(tc, query_task, 0, 3);
	tcase_add_test(tc, query_task_that_the_target_lacks);
	tcase_add_test(tc, additional_response_information);
	tcase_add_loop_test(tc, failed_tmf_ends_nothing, 0,
	    sizeof(failures) / sizeof(failures[0]));
	tcase_add_test(tc, late_response_is_dropped);
	tcase_add_test(tc, cold_reset_without_response);
	tcase_add_test(tc, requests_wait_for_a_reset);
	tcase_add_loop_test(tc, requests_for_other_luns, 0,
	    sizeof(resets) / sizeof(resets[0]));
	tcase_add_test(tc, own_unsent_commands_end);
	tcase_add_loop_test(tc, reset_needs_access, 1, 13);
	tcase_add_loop_test(tc, tmf_refused, 0,
	    sizeof(refused) / sizeof(refused[0]));
	tcase_add_loop_test(tc, level_is_refused_in_words, 0, 3);
	tcase_add_loop_test(tc, referenced_tag_is_refused, 0,
	    sizeof(without_tag) / sizeof(without_tag[0]));
}

int
main(void)
{
	Suite *s = suite_create("session: task management");
	TCase *tc = tcase_create("tmf");

	tcase_add_checked_fixture(tc, fx_setup, fx_teardown);
	tcase_set_timeout(tc, 10);
	add_tests(tc);
	suite_add_tcase(s, tc);
	return unit_run(s);
}
