/* SPDX-License-Identifier: ISC */
/*
 * What a session makes of Asynchronous Messages, of Rejects that ask for a
 * Logout, and of the answers to its Logout (RFC 7143 sections 11.9, 11.14,
 * 11.15 and 11.17.1), and the sense data that it reads (daemon/sense.h).
 */
#include "config.h"

#include "daemon/sense.h"
#include "tests/unit/session_fixture.h"

#define F ISCSI_FLAG_FINAL

static struct sclient *a;

static void
say_async(uint8_t code, uint16_t p1, uint16_t p2, uint16_t p3)
{
	uint8_t *bhs = from_target(ISCSI_OP_ASYNC, F, RSV);

	bhs[36] = code;
	put_be16(bhs + 38, p1);
	put_be16(bhs + 40, p2);
	put_be16(bhs + 42, p3);
	say_status(bhs, NULL, 0);
}

static void
told(uint32_t code, const char *text)
{
	const struct news *n = news(a, NEWS_EVENT, 0);

	ck_assert_uint_eq(n->event.kind, MSG_EVENT_ASYNC);
	ck_assert_uint_eq(n->event.code, code);
	ck_assert_str_eq(n->event.text, text);
}

/* --- 0: SCSI event --- */

START_TEST(scsi_event)
{
	static const uint8_t sense[20] = { 0, 18, 0x70, 0, 6, [14] = 0x3f,
		0x0e };
	uint8_t *bhs;
	const struct news *n;

	fx_up_with(&a, NULL);
	bhs = from_target(ISCSI_OP_ASYNC, F, RSV);
	put_be64(bhs + ISCSI_OFF_LUN, LUN_1);
	say_status(bhs, sense, sizeof(sense));
	n = news(a, NEWS_EVENT, 0);
	ck_assert_uint_eq(n->event.kind, MSG_EVENT_ASYNC);
	ck_assert_uint_eq(n->event.code, 0);
	ck_assert_uint_eq(n->event.lun, LUN_1);
	ck_assert_str_eq(n->event.text,
	    "SCSI event: sense key 0x6, 0x3f/0x0e");
	say_async(0, 0, 0, 0);
	told(0, "SCSI event without sense data");
	ck_assert_int_eq(fx.s->phase, SESSION_UP);
	ck_assert_uint_eq(fx_stats().async_messages, 2);
	ck_assert_uint_eq(fx_stats().async_unknown, 0);
}
END_TEST

/* --- 1: Logout asked for --- */

/* Open tasks may end, no new one is sent, then out and in again. */
START_TEST(logout_is_asked_for)
{
	uint32_t itt;

	fx.sconf.reconnect_interval = 3600000;
	fx_up_with(&a, NULL);
	itt = open_command(a, 1);
	say_async(1, 0, 0, 60);
	told(1, "the target asks for a Logout within 60 s");
	ck_assert_int_eq(fx.s->phase, SESSION_DRAINING);
	ck_assert_uint_eq(fx.s->drain_ms, 59000);
	ck_assert_int_eq(submit(a, command(READ_F, 2, 0), 0, 2),
	    SUBMIT_NOT_SENT);
	wire_quiet();
	say_good(itt);
	news(a, NEWS_PDU, 1);
	take_logout(0);
	ck_assert_uint_eq(news(a, NEWS_EVENT, 0)->event.kind,
	    MSG_EVENT_SESSION_DOWN);
	fx_log_in();
	ck_assert_uint_eq(news(a, NEWS_EVENT, 0)->event.kind,
	    MSG_EVENT_SESSION_UP);
	no_news(a);
}
END_TEST

/* No task holds up all others for hours. */
START_TEST(logout_far_away)
{
	static const struct {
		uint16_t	seconds;
		uint32_t	drain;
	} times[] = { { 61, 60000 }, { 62, 60000 }, { 65535, 60000 } };

	fx_up_with(&a, NULL);
	open_command(a, 1);
	say_async(1, 0, 0, times[_i].seconds);
	ck_assert_int_eq(fx.s->phase, SESSION_DRAINING);
	ck_assert_uint_eq(fx.s->drain_ms, times[_i].drain);
}
END_TEST

/* What ends meanwhile by CANCEL, or with its client, is aborted as ever. */
START_TEST(aborted_while_draining)
{
	uint32_t itt;

	fx_up_with(&a, NULL);
	itt = open_command(a, 1);
	say_async(1, 0, 0, 60);
	news(a, NEWS_EVENT, 0);
	if (_i == 0)
		ck_assert(session_cancel(a->a, MSG_CANCEL_ITT, 1));
	else
		fx_die(a);
	wire(ISCSI_OP_TMF_REQ);
	ck_assert_uint_eq(fx.got.bhs[1], F | ISCSI_TMF_ABORT_TASK);
	ck_assert_uint_eq(get_be32(fx.got.bhs + ISCSI_OFF_RTT), itt);
	say_tmf(iscsi_itt(fx.got.bhs), 0);
	if (_i == 0)
		outcome(a, 1, MSG_OUTCOME_ABORTED, MSG_R_CANCELLED);
	take_logout(0);
}
END_TEST

/* There is no time: the Logout goes at once, whatever is open. */
START_TEST(logout_at_once)
{
	fx_up_with(&a, NULL);
	open_command(a, 1);
	say_async(1, 0, 0, _i == 0 ? 0 : 1);
	take_logout(0);
	news(a, NEWS_EVENT, 0);
	news(a, NEWS_EVENT, 0);
	outcome(a, 1, MSG_OUTCOME_UNKNOWN, MSG_R_CONNECTION_LOST);
}
END_TEST

/* While it waits for its Logout it may reject what it gets. */
START_TEST(rejected_while_draining)
{
	uint8_t first[ISCSI_BHS_LEN];
	uint32_t itt;

	fx_up_with(&a, NULL);
	open_command(a, 1);
	memcpy(first, fx.got.bhs, sizeof(first));
	itt = open_command(a, 2);
	say_async(1, 0, 0, 60);
	news(a, NEWS_EVENT, 0);
	say_reject(ISCSI_REJECT_WAITING_FOR_LOGOUT, first);
	ck_assert_uint_eq(iscsi_opcode(news(a, NEWS_PDU, 1)->bhs),
	    ISCSI_OP_REJECT);
	/* No NOP-Out asks for its numbers. */
	wire_quiet();
	say_good(itt);
	news(a, NEWS_PDU, 2);
	take_logout(0);
}
END_TEST

/* The Reject comes without the Async Message. */
START_TEST(reject_asks_for_logout)
{
	fx_up_with(&a, NULL);
	open_command(a, 1);
	say_reject(ISCSI_REJECT_WAITING_FOR_LOGOUT, fx.got.bhs);
	ck_assert_uint_eq(iscsi_opcode(news(a, NEWS_PDU, 1)->bhs),
	    ISCSI_OP_REJECT);
	take_logout(0);
	fx_log_in();
}
END_TEST

START_TEST(logout_as_drop)
{
	fx.sconf.async_logout_drop = true;
	fx_up_with(&a, NULL);
	open_command(a, 1);
	say_async(1, 0, 0, 60);
	LOST("async-logout is drop");
	news(a, NEWS_EVENT, 0);
	news(a, NEWS_EVENT, 0);
	outcome(a, 1, MSG_OUTCOME_UNKNOWN, MSG_R_CONNECTION_LOST);
	fx_log_in();
}
END_TEST

/* --- 2 and 3: dropped --- */

static const struct {
	uint8_t		code;
	uint16_t	p1, p2;
	bool		ours;
} drops[] = {
	{ 2, 0, 0, true },
	{ 2, 0, 3600, true },
	{ 2, 1, 3600, false },
	{ 3, 0, 3600, true },
	{ 3, 9, 65535, true },
};

START_TEST(connection_is_dropped)
{
	uint64_t now;

	fx_up_with(&a, NULL);
	open_command(a, 1);
	now = loop_now(fx.worker->loop);
	say_async(drops[_i].code, drops[_i].p1, drops[_i].p2, 20);
	news(a, NEWS_EVENT, 0);
	if (!drops[_i].ours) {
		ck_assert_int_eq(fx.s->phase, SESSION_UP);
		wire_quiet();
		no_news(a);
		return;
	}
	LOST("async message");
	ck_assert_uint_eq(news(a, NEWS_EVENT, 0)->event.kind,
	    MSG_EVENT_SESSION_DOWN);
	outcome(a, 1, MSG_OUTCOME_UNKNOWN, MSG_R_CONNECTION_LOST);
	if (drops[_i].p2 == 0)
		fx_log_in();
	else
		ck_assert_uint_ge(fx.s->next_try,
		    now + drops[_i].p2 * UINT64_C(1000));
}
END_TEST

/* --- the rest --- */

static const struct {
	uint8_t		code;
	bool		known;
	const char	*text;
} others[] = {
	{ 5, false, "the target ended all tasks of a LUN, by a rule that was "
	    "not negotiated" },
	{ 6, false, "unknown message 6 of the target" },
	{ 247, false, "unknown message 247 of the target" },
	{ 248, true, "vendor's message 248 of the target" },
	{ 255, true, "vendor's message 255 of the target" },
};

START_TEST(other_messages_are_told)
{
	uint32_t before;

	fx_up_with(&a, NULL);
	before = fx.statsn;
	say_async(others[_i].code, 1, 2, 3);
	told(others[_i].code, others[_i].text);
	ck_assert_int_eq(fx.s->phase, SESSION_UP);
	ck_assert_uint_eq(fx_stats().async_unknown, others[_i].known ? 0 : 1);
	accepted(a, nop_out(true, 1), 0, 1);
	wire(ISCSI_OP_NOP_OUT);
	ck_assert_uint_eq(get_be32(fx.got.bhs + ISCSI_OFF_EXPSTATSN),
	    before + 1);
}
END_TEST

/* --- Logout Response --- */

/* Whatever it says, the connection is over. */
START_TEST(logout_responses)
{
	static const char *const words[] = { "closed",
		"connection not found", "connection recovery not supported",
		"cleanup failed", "unknown response" };

	ck_assert_str_eq(iscsi_logout_response_name((uint8_t)_i), words[_i]);
	fx_up_with(&a, NULL);
	session_relogin(fx.s, 0, "the test says so");
	take_logout((uint8_t)_i);
	fx_log_in();
}
END_TEST

/* --- sense data --- */

static const struct {
	const char	*what;
	uint8_t		 bytes[20];
	uint32_t	 len;
	bool		 found;
	uint8_t		 key;
	uint16_t	 asc;
} senses[] = {
	{ "fixed", { 0, 18, 0x70, 0, 0x26, [14] = 0x29, 0x02 }, 20, true, 6,
	    0x2902 },
	{ "fixed, VALID", { 0, 18, 0xf0, 0, 6, [14] = 0x29, 0x02 }, 20, true,
	    6, 0x2902 },
	{ "fixed, deferred", { 0, 18, 0x71, 0, 3, [14] = 0x11 }, 20, true, 3,
	    0x1100 },
	{ "descriptor", { 0, 8, 0x72, 6, 0x2a, 0x09 }, 10, true, 6, 0x2a09 },
	{ "descriptor, deferred", { 0, 4, 0x73, 4, 0x44, 1 }, 6, true, 4,
	    0x4401 },
	{ "nothing", { 0 }, 0, false, 0, 0 },
	{ "half a length", { 0 }, 1, false, 0, 0 },
	{ "length of zero", { 0, 0, 0x70, 0, 6, [14] = 0x29 }, 20, false, 0,
	    0 },
	{ "length of two", { 0, 2, 0x70, 0, 6, [14] = 0x29 }, 20, false, 0,
	    0 },
	{ "length of three", { 0, 3, 0x70, 0, 6, [14] = 0x29 }, 20, true, 6,
	    0 },
	{ "half an ASC", { 0, 13, 0x70, 0, 6, [14] = 0x29, 2 }, 20, true, 6,
	    0 },
	{ "length beyond the segment", { 0xff, 0xff, 0x70, 0, 6, [14] = 0x29,
	    2 }, 15, true, 6, 0 },
	{ "no response code", { 0, 18, 0x7e, 0, 6, [14] = 0x29 }, 20, false,
	    0, 0 },
	{ "no prefix", { 0x70, 0, 6, [12] = 0x29 }, 18, false, 0, 0 },
};

START_TEST(sense_is_read_within_bounds)
{
	struct slices data;
	struct sense sense;

	fx_up();
	slices_init(&data);
	if (senses[_i].len > 0)
		ck_assert_int_eq(slices_add_copy(fx.worker->pool, &data,
		    senses[_i].bytes, senses[_i].len), 0);
	ck_assert_msg(sense_read(&data, &sense) == senses[_i].found, "%s",
	    senses[_i].what);
	ck_assert_msg(sense.key == senses[_i].key &&
	    sense.asc == senses[_i].asc, "%s", senses[_i].what);
	slices_clear(fx.worker->pool, &data);
}
END_TEST

#define COUNT(table) ((int)(sizeof(table) / sizeof((table)[0])))

int
main(void)
{
	Suite *s = suite_create("async messages");
	TCase *tc = tcase_create("async");

	tcase_add_checked_fixture(tc, fx_setup, fx_teardown);
	tcase_add_test(tc, scsi_event);
	tcase_add_test(tc, logout_is_asked_for);
	tcase_add_loop_test(tc, logout_far_away, 0, 3);
	tcase_add_loop_test(tc, aborted_while_draining, 0, 2);
	tcase_add_loop_test(tc, logout_at_once, 0, 2);
	tcase_add_test(tc, rejected_while_draining);
	tcase_add_test(tc, reject_asks_for_logout);
	tcase_add_test(tc, logout_as_drop);
	tcase_add_loop_test(tc, connection_is_dropped, 0, COUNT(drops));
	tcase_add_loop_test(tc, other_messages_are_told, 0, COUNT(others));
	tcase_add_loop_test(tc, logout_responses, 0, 5);
	tcase_add_loop_test(tc, sense_is_read_within_bounds, 0,
	    COUNT(senses));
	suite_add_tcase(s, tc);
	return unit_run(s);
}
