/* SPDX-License-Identifier: ISC */
/*
 * What a session and its tasks go through when the connection comes and goes
 * (RFC 7143 sections 7.5, 7.14 and 11.14), against a scripted target.
 */
#include "config.h"

#include <sys/socket.h>

#include <netinet/in.h>

#include "tests/unit/session_fixture.h"

static struct sclient *a;

/* --- out and in again --- */

/* Nothing is at the target: the Logout goes at once, reason 0. */
START_TEST(relogin_when_idle)
{
	uint8_t isid[6];

	fx.sconf.reconnect_interval = 3600000;
	fx_up_with(&a, NULL);
	memcpy(isid, fx.s->isid, sizeof(isid));
	session_relogin(fx.s, 60000, "the target asks for it");
	ck_assert_int_eq(fx.s->phase, SESSION_LEAVING);
	take_logout(0);
	ck_assert_str_eq(news(a, NEWS_EVENT, 0)->event.text,
	    "the target asks for it");
	fx_log_in();
	ck_assert_uint_eq(news(a, NEWS_EVENT, 0)->event.params.generation, 2);
	ck_assert_mem_eq(isid, fx.s->isid, sizeof(isid));
	no_news(a);
}
END_TEST

/* A task at the target may end; one that was not sent stays behind. */
START_TEST(relogin_waits_for_tasks)
{
	uint32_t itt;

	fx.window = 1;
	fx_up_with(&a, NULL);
	fx.hold_window = true;
	itt = open_command(a, 1);
	accepted(a, command(READ_F, 2, 0), 0, 2);
	session_relogin(fx.s, 60000, "why");
	ck_assert_int_eq(fx.s->phase, SESSION_DRAINING);
	ck_assert_int_eq(submit(a, command(READ_F, 3, 0), 0, 3),
	    SUBMIT_NOT_SENT);
	fx.maxcmdsn = fx.expcmdsn + 5;
	say_good(itt);
	news(a, NEWS_PDU, 1);
	take_logout(0);
	news(a, NEWS_EVENT, 0);
	outcome(a, 2, MSG_OUTCOME_NOT_SENT, MSG_R_CONNECTION_LOST);
	fx.hold_window = false;
	fx_log_in();
}
END_TEST

/* It does not answer in time: the Logout goes, and the task is unknown. */
START_TEST(relogin_waits_so_long)
{
	fx_up_with(&a, NULL);
	open_command(a, 1);
	session_relogin(fx.s, 1, "why");
	take_logout(0);
	news(a, NEWS_EVENT, 0);
	outcome(a, 1, MSG_OUTCOME_UNKNOWN, MSG_R_CONNECTION_LOST);
	fx_log_in();
}
END_TEST

/* A target that does not answer the Logout Request loses the session. */
START_TEST(relogin_without_answer)
{
	fx.sconf.logout_timeout = 1;
	fx_up_with(&a, NULL);
	session_relogin(fx.s, 60000, "why");
	wire(ISCSI_OP_LOGOUT_REQ);
	ck_assert_ptr_nonnull(strstr(news(a, NEWS_EVENT, 0)->event.text,
	    "no answer to the Logout Request"));
	fx_log_in();
}
END_TEST

/* A target that wants each session to log out has its pauses, too. */
START_TEST(relogin_again_and_again)
{
	uint64_t now;

	fx.sconf.reconnect_interval = fx.sconf.reconnect_max = 3600000;
	fx_up_with(&a, NULL);
	session_relogin(fx.s, 0, "why");
	take_logout(0);
	fx_log_in();
	now = loop_now(fx.worker->loop);
	session_relogin(fx.s, 0, "why");
	take_logout(0);
	UNTIL(fx.s->phase == SESSION_WAITING);
	ck_assert_uint_ge(fx.s->next_try, now + 2700000);
	ck_assert(session_reconnect(fx.s));
	fx_log_in();
	/* But not for ever. */
	fx.s->relogin_at -= SESSION_RELOGIN_EVERY_MS;
	session_relogin(fx.s, 0, "why");
	take_logout(0);
	fx_log_in();
}
END_TEST

/* --- Time2Wait --- */

START_TEST(no_attempt_before)
{
	uint64_t now;

	fx_up_with(&a, NULL);
	now = loop_now(fx.worker->loop);
	session_wait_before_connect(fx.s, 3600000);
	session_wait_before_connect(fx.s, 1);
	hang_up();
	UNTIL(fx.s->phase == SESSION_WAITING);
	ck_assert_uint_ge(fx.s->next_try, now + 3600000);
}
END_TEST

/* The login that follows is the end of it. */
START_TEST(attempts_after_login)
{
	fx_up_with(&a, NULL);
	session_wait_before_connect(fx.s, 20);
	hang_up();
	fx_log_in();
	hang_up();
	ck_assert_uint_eq(fx.s->not_before, 0);
}
END_TEST

/* What the target negotiated, if it did not say more. */
START_TEST(negotiated_time2wait)
{
	fx.time2wait = 3600;
	fx_up_with(&a, NULL);
	hang_up();
	UNTIL(fx.s->phase == SESSION_WAITING);
	ck_assert_uint_ge(fx.s->next_try,
	    loop_now(fx.worker->loop) + 3590000);
}
END_TEST

/* What an Async Message says goes before it, zero too. */
START_TEST(told_time2wait)
{
	fx.time2wait = 3600;
	fx_up_with(&a, NULL);
	session_wait_before_connect(fx.s, 0);
	hang_up();
	fx_log_in();
}
END_TEST

/* --- pauses --- */

/* The target ends the login with this status. */
static void
say_login_status(uint16_t status)
{
	uint8_t *bhs;

	wire(ISCSI_OP_LOGIN_REQ);
	bhs = from_target(ISCSI_OP_LOGIN_RSP, 0, iscsi_itt(fx.got.bhs));
	memcpy(bhs + ISCSI_OFF_ISID, fx.got.bhs + ISCSI_OFF_ISID, 6);
	put_be32(bhs + ISCSI_OFF_TTT, 0);
	put_be16(bhs + ISCSI_OFF_LOGIN_STATUS, status);
	say(bhs, NULL, 0);
	UNTIL(fx.s->phase == SESSION_WAITING || fx.s->phase == SESSION_HALTED);
}

/* Class 2 is not asked again soon, class 3 is. */
START_TEST(pause_by_class)
{
	static const uint16_t status[] = { 0x0201, 0x0203, 0x02ff, 0x0301,
	    0x0300 };
	bool refused = status[_i] >> 8 == 2;
	uint64_t later;

	fx.sconf.reconnect_interval = 1000;
	fx.sconf.reconnect_max = 3600000;
	fx_connect();
	say_login_status(status[_i]);
	later = fx.s->next_try - loop_now(fx.worker->loop);
	if (refused)
		ck_assert_uint_gt(later, 3500000);
	else
		ck_assert_uint_le(later, 1000);
	/* A command does not wait, and what was refused is forgotten. */
	ck_assert(session_reconnect(fx.s));
	fx_log_in();
	hang_up();
	UNTIL(fx.s->phase == SESSION_WAITING);
	ck_assert_uint_le(fx.s->next_try, loop_now(fx.worker->loop) + 1000);
}
END_TEST

/* The pauses grow while it fails and are short again after a login. */
START_TEST(pauses_grow)
{
	fx.sconf.reconnect_interval = 4;
	fx.sconf.reconnect_max = 3600000;
	fx_connect();
	say_login_status(0x0301);
	for (unsigned i = 1; i < 5; i++) {
		ck_assert_uint_eq(fx.s->backoff.attempts, i);
		ck_assert_uint_eq(fx.s->backoff.pauses, i);
		fx_accept();
		say_login_status(0x0301);
	}
	ck_assert_uint_ge(fx.s->next_try, loop_now(fx.worker->loop) + 40);
	fx_log_in();
	ck_assert_uint_eq(fx.s->backoff.attempts, 0);
	ck_assert_uint_eq(fx.s->backoff.pauses, 0);
}
END_TEST

/* After so many attempts it stays down until somebody says otherwise. */
START_TEST(gives_up)
{
	struct session_info info;

	fx.sconf.reconnect_limit = 2;
	fx_connect();
	say_login_status(0x0301);
	ck_assert_int_eq(fx.s->phase, SESSION_WAITING);
	fx_accept();
	say_login_status(0x0301);
	ck_assert_int_eq(fx.s->phase, SESSION_HALTED);
	session_info_get(fx.s, &info);
	ck_assert(info.given_up);
	ck_assert_uint_eq(info.attempts, 2);
	ck_assert_uint_eq(info.next_try_ms, 0);
	ck_assert(!loop_timer_armed(fx.s->timer));
	ck_assert(session_reconnect(fx.s));
	fx_accept();
	say_login_status(0x0301);
	ck_assert_int_eq(fx.s->phase, SESSION_WAITING);
	fx_log_in();
	ck_assert(!session_reconnect(fx.s));
}
END_TEST

/* session.login is such a word too, and begins with the attempts anew. */
START_TEST(started_when_given_up)
{
	fx.sconf.reconnect_limit = 1;
	fx_connect();
	say_login_status(0x0301);
	ck_assert_int_eq(fx.s->phase, SESSION_HALTED);
	session_start(fx.s);
	ck_assert_int_eq(fx.s->phase, SESSION_CONNECTING);
	ck_assert_uint_eq(fx.s->backoff.attempts, 0);
	fx_log_in();
}
END_TEST

/* No pause at all: whatever broke, the next attempt is on its way. */
START_TEST(no_pause)
{
	fx.sconf.reconnect_interval = fx.sconf.reconnect_max = 0;
	fx_up_with(&a, NULL);
	for (unsigned i = 0; i < 20; i++) {
		hang_up();
		fx_log_in();
	}
	ck_assert_uint_eq(fx.s->params.generation, 21);
}
END_TEST

/* The other portal of the session, where nobody listens. */
static void
add_dead_portal(void)
{
	static char host[] = "127.0.0.1", text[] = "the dead one";
	static struct config_portal dead = { text, host, 0 };
	struct sockaddr_in in = { .sin_family = AF_INET };
	socklen_t len = sizeof(in);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&in, len), 0);
	getsockname(fd, (struct sockaddr *)&in, &len);
	dead.port = ntohs(in.sin_port);
	fx.sconf.more_portals = &dead;
	fx.sconf.more_count = 1;
}

static const char *
portal_shown(void)
{
	struct session_info info;

	session_info_get(fx.s, &info);
	return info.portal;
}

/*
 * One portal after the other without a pause, then a pause, then the first
 * again; a lost connection begins where it was.
 */
START_TEST(portals_in_turn)
{
	fx.sconf.reconnect_interval = fx.sconf.reconnect_max = 3600000;
	add_dead_portal();
	fx_connect();
	ck_assert_str_eq(portal_shown(), "127.0.0.1");
	say_login_status(0x0201);
	ck_assert_str_eq(portal_shown(), "the dead one");
	ck_assert_uint_le(fx.s->next_try, loop_now(fx.worker->loop));
	UNTIL(fx.s->phase == SESSION_CONNECTING);
	UNTIL(fx.s->phase == SESSION_WAITING);
	ck_assert_ptr_nonnull(strstr(fx.s->last_error, "refused"));
	ck_assert_uint_gt(fx.s->next_try, loop_now(fx.worker->loop) + 2600000);
	ck_assert_str_eq(portal_shown(), "127.0.0.1");
	ck_assert(session_reconnect(fx.s));
	fx_log_in();
	session_relogin(fx.s, 0, "why");
	take_logout(0);
	ck_assert_str_eq(portal_shown(), "127.0.0.1");
	fx_log_in();
}
END_TEST

/* --- logins --- */

/* RFC 7143 section 6.3.5: the same ISID, TSIH 0, numbers that begin anew. */
START_TEST(logins_are_alike)
{
	uint8_t first[ISCSI_BHS_LEN];

	fx_connect();
	wire(ISCSI_OP_LOGIN_REQ);
	memcpy(first, fx.got.bhs, sizeof(first));
	ck_assert_uint_eq(get_be16(first + ISCSI_OFF_TSIH), 0);
	hang_up();
	fx_log_in();
	a = fx_attach();
	open_command(a, 1);
	ck_assert_uint_ne(fx.s->tsih, 0);
	hang_up();
	fx_accept();
	wire(ISCSI_OP_LOGIN_REQ);
	ck_assert_mem_eq(first, fx.got.bhs, sizeof(first));
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("session: its life");
	TCase *tc = tcase_create("life");

	tcase_add_checked_fixture(tc, fx_setup, fx_teardown);
	tcase_add_test(tc, relogin_when_idle);
	tcase_add_test(tc, relogin_waits_for_tasks);
	tcase_add_test(tc, relogin_waits_so_long);
	tcase_add_test(tc, relogin_without_answer);
	tcase_add_test(tc, relogin_again_and_again);
	tcase_add_test(tc, no_attempt_before);
	tcase_add_test(tc, attempts_after_login);
	tcase_add_test(tc, negotiated_time2wait);
	tcase_add_test(tc, told_time2wait);
	tcase_add_loop_test(tc, pause_by_class, 0, 5);
	tcase_add_test(tc, pauses_grow);
	tcase_add_test(tc, gives_up);
	tcase_add_test(tc, started_when_given_up);
	tcase_add_test(tc, no_pause);
	tcase_add_test(tc, portals_in_turn);
	tcase_add_test(tc, logins_are_alike);
	suite_add_tcase(suite, tc);
	return unit_run(suite);
}
