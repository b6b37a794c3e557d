/* SPDX-License-Identifier: ISC */
/*
 * The Text Request that Asynchronous Message 4 asks for, what may come of it,
 * and the Logout in its place (RFC 7143 sections 6.4 and 11.9.1).
 */
#include "config.h"

#include "tests/unit/session_fixture.h"

#define F ISCSI_FLAG_FINAL

static struct sclient *a;

/* An Asynchronous Message that leaves so many seconds. */
static void
say_async(uint8_t code, uint16_t seconds)
{
	uint8_t *bhs = from_target(ISCSI_OP_ASYNC, F, RSV);

	bhs[ISCSI_OFF_ASYNC_EVENT] = code;
	put_be16(bhs + ISCSI_OFF_ASYNC_PARAMETERS + 4, seconds);
	say_status(bhs, NULL, 0);
	news(a, NEWS_EVENT, 0);
}

/* The daemon's Text Request for the message that was just said. */
static uint32_t
take_text(uint32_t ttt, const char *text, size_t len)
{
	const struct got *g = wire(ISCSI_OP_TEXT_REQ);

	ck_assert(!iscsi_is_immediate(g->bhs));
	ck_assert_uint_eq(g->bhs[ISCSI_OFF_FLAGS], F);
	ck_assert_uint_eq(iscsi_ttt(g->bhs), ttt);
	ck_assert_uint_eq(iscsi_lun(g->bhs), ttt == RSV ? 0 : LUN_1);
	ck_assert_uint_eq(g->len, len);
	ck_assert(len == 0 || memcmp(g->data, text, len) == 0);
	return iscsi_itt(g->bhs);
}

static void
say_text(uint32_t itt, uint8_t flags, uint32_t ttt, const char *text,
    size_t len)
{
	uint8_t *bhs = from_target(ISCSI_OP_TEXT_RSP, flags, itt);

	put_be64(bhs + ISCSI_OFF_LUN, LUN_1);
	put_be32(bhs + ISCSI_OFF_TTT, ttt);
	say_status(bhs, text, (uint32_t)len);
}

/* The target is asked what it wants, and wants nothing. */
START_TEST(asked_for)
{
	uint32_t itt, mine;

	fx_up_with(&a, NULL);
	mine = open_command(a, 1);
	say_async(4, 10);
	itt = take_text(RSV, "", 0);
	/* One is enough, and others wait for its end. */
	say_async(4, 1);
	accepted(a, text_request(2, RSV), 0, 2);
	wire_quiet();
	/* With F the tag says nothing. */
	say_text(itt, F, 7, "", 0);
	wire(ISCSI_OP_TEXT_REQ);
	say_text(iscsi_itt(fx.got.bhs), F, RSV, "", 0);
	news(a, NEWS_PDU, 2);
	say_good(mine);
	news(a, NEWS_PDU, 1);
	ck_assert_int_eq(fx.s->phase, SESSION_UP);
	ck_assert_uint_eq(router_count(fx.s->router), 0);
	wire_quiet();
	no_news(a);
}
END_TEST

static const char unknown[] =
    "X-org.example.a=1\0TargetAlias=a box\0X#b=c";
static const char answer[] =
    "X-org.example.a=NotUnderstood\0X#b=NotUnderstood";

/* It proposes what the daemon does not know, and waits for an answer. */
START_TEST(in_rounds)
{
	uint32_t itt;

	fx_up_with(&a, NULL);
	say_async(4, 10);
	itt = take_text(RSV, "", 0);
	say_text(itt, 0, 7, unknown, sizeof(unknown));
	ck_assert_uint_eq(take_text(7, answer, sizeof(answer)), itt);
	say_text(itt, 0, 8, "", 0);
	ck_assert_uint_eq(take_text(8, "", 0), itt);
	say_text(itt, F, RSV, unknown, sizeof(unknown));
	ck_assert_int_eq(fx.s->phase, SESSION_UP);
	ck_assert_uint_eq(router_count(fx.s->router), 0);
	wire_quiet();
	no_news(a);
}
END_TEST

START_TEST(without_end)
{
	uint32_t itt;

	fx_up_with(&a, NULL);
	say_async(4, 10);
	itt = take_text(RSV, "", 0);
	for (uint32_t ttt = 1; ttt <= 8; ttt++) {
		say_text(itt, 0, ttt, "", 0);
		take_text(ttt, "", 0);
	}
	say_text(itt, 0, 9, "", 0);
	take_logout(0);
	fx_log_in();
}
END_TEST

/* The limit that the login brought is no change. */
START_TEST(limit_as_it_is)
{
	char text[64];
	int len;

	fx_up_with(&a, NULL);
	say_async(4, 10);
	len = snprintf(text, sizeof(text), "MaxRecvDataSegmentLength=%u",
	    fx.s->params.send_dsl);
	say_text(take_text(RSV, "", 0), F, RSV, text, (size_t)len + 1);
	ck_assert_int_eq(fx.s->phase, SESSION_UP);
	wire_quiet();
}
END_TEST

static const char many[1025] = "X-a=";

static const struct {
	uint8_t		flags;
	uint32_t	ttt;
	const char	*text;
	size_t		len;
	const char	*why;
} beyond[] = {
#define TEXT(text) text, sizeof(text)
	{ F, RSV, TEXT("MaxRecvDataSegmentLength=512"), "only a login can" },
	{ F, RSV, TEXT("MaxRecvDataSegmentLength=x"), "only a login can" },
	{ 0, 7, TEXT("MaxBurstLength=512"), "only a login can" },
	{ 0, 7, TEXT("X-a=1\0MaxBurstLength=512"), "only a login can" },
	{ ISCSI_TEXT_CONTINUE, 7, TEXT("X-a=1"), "too much" },
	{ F, RSV, "X-a=1", 5, "not terminated" },
	{ F, RSV, TEXT("nothing"), "pair without" },
	{ F, RSV, many, sizeof(many), "too much" },
	{ 0, 7, TEXT("X1=\0X2=\0X3=\0X4=\0X5=\0X6=\0X7=\0X8=\0X9=\0"
	    "Xa=\0Xb=\0Xc=\0Xd=\0Xe=\0Xf=\0Xg=\0Xh=\0Xi=\0Xj=\0Xk=\0"
	    "Xl=\0Xm=\0Xn=\0Xo=\0Xp=\0Xq=\0Xr=\0Xs=\0Xt=\0Xu=\0Xv="),
	    "too much" },
};

/* What the session can not agree to as it is: a new login does. */
START_TEST(beyond_the_session)
{
	uint32_t itt, mine;

	fx_up_with(&a, NULL);
	mine = open_command(a, 1);
	say_async(4, 10);
	itt = take_text(RSV, "", 0);
	say_text(itt, beyond[_i].flags, beyond[_i].ttt, beyond[_i].text,
	    beyond[_i].len);
	ck_assert_int_eq(fx.s->phase, SESSION_DRAINING);
	ck_assert_uint_eq(fx.s->drain_ms, 4500);
	ck_assert_ptr_nonnull(strstr(fx.s->last_error, beyond[_i].why));
	say_good(mine);
	news(a, NEWS_PDU, 1);
	take_logout(0);
	fx_log_in();
}
END_TEST

/* Neither the end of the exchange nor a tag to go on with. */
START_TEST(leads_nowhere)
{
	uint32_t itt;

	fx_up_with(&a, NULL);
	say_async(4, 10);
	itt = take_text(RSV, "", 0);
	say_text(itt, 0, RSV, "", 0);
	LOST("nobody asked for");
}
END_TEST

/* A response before the next request went out. */
START_TEST(out_of_turn)
{
	uint32_t itt;

	fx.window = 1;
	fx_up_with(&a, NULL);
	fx.hold_window = true;
	say_async(4, 10);
	itt = take_text(RSV, "", 0);
	say_text(itt, 0, 7, "", 0);
	say_text(itt, F, RSV, "", 0);
	LOST("nobody asked for");
}
END_TEST

/* No time for it, or no answer in half of the time. */
START_TEST(in_time)
{
	uint64_t before;

	fx_up_with(&a, NULL);
	open_command(a, 1);
	before = loop_now(fx.worker->loop);
	say_async(4, (uint16_t)_i);
	if (_i == 2)
		take_text(RSV, "", 0);
	take_logout(0);
	if (_i == 2)
		ck_assert_uint_ge(loop_now(fx.worker->loop), before + 1000);
	news(a, NEWS_EVENT, 0);
	outcome(a, 1, MSG_OUTCOME_UNKNOWN, MSG_R_CONNECTION_LOST);
	fx_log_in();
}
END_TEST

/* However long the target gives, the Text of others waits only so long. */
START_TEST(is_not_for_ever)
{
	fx.config.limits.abort_timeout = 100;
	fx_up_with(&a, NULL);
	say_async(4, 65535);
	take_text(RSV, "", 0);
	take_logout(0);
	ck_assert_uint_eq(fx.s->drain_ms, 60000 - 100);
}
END_TEST

START_TEST(is_rejected)
{
	fx_up_with(&a, NULL);
	say_async(4, 10);
	take_text(RSV, "", 0);
	say_reject(4, fx.got.bhs);
	take_logout(0);
	fx_log_in();
}
END_TEST

/* The session is leaving: whatever the answer is, nothing is asked again. */
START_TEST(at_a_logout)
{
	uint32_t itt;

	fx_up_with(&a, NULL);
	say_async(4, 10);
	itt = take_text(RSV, "", 0);
	say_async(1, 10);
	wire_quiet();
	say_text(itt, 0, 7, unknown, sizeof(unknown));
	take_logout(0);
}
END_TEST

/* A Text Request is on its way already: that will do. */
START_TEST(while_text_is_open)
{
	fx_up_with(&a, NULL);
	accepted(a, text_request(1, RSV), 0, 1);
	wire(ISCSI_OP_TEXT_REQ);
	say_async(4, 10);
	ck_assert_int_eq(fx.s->phase, SESSION_UP);
	wire_quiet();
}
END_TEST

#define COUNT(table) ((int)(sizeof(table) / sizeof((table)[0])))

static void
add_tests(TCase *tc)
{
	tcase_add_test(tc, asked_for);
	tcase_add_test(tc, in_rounds);
	tcase_add_test(tc, without_end);
	tcase_add_test(tc, limit_as_it_is);
	tcase_add_loop_test(tc, beyond_the_session, 0,
	    COUNT(beyond));
	tcase_add_test(tc, leads_nowhere);
	tcase_add_test(tc, out_of_turn);
	tcase_add_loop_test(tc, in_time, 0, 3);
	tcase_add_test(tc, is_not_for_ever);
	tcase_add_test(tc, is_rejected);
	tcase_add_test(tc, at_a_logout);
	tcase_add_test(tc, while_text_is_open);
}

int
main(void)
{
	Suite *s = suite_create("negotiations that a target asks for");
	TCase *tc = tcase_create("negotiate");

	tcase_add_checked_fixture(tc, fx_setup, fx_teardown);
	tcase_set_timeout(tc, 30);
	add_tests(tc);
	suite_add_tcase(s, tc);
	return unit_run(s);
}
