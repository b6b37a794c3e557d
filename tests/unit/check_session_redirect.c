/* SPDX-License-Identifier: ISC */
/*
 * Where a scripted target sends the login of a session to (RFC 7143 section
 * 11.13.5), and what is shown of the way.
 */
#include "config.h"

#include <stdio.h>

#include "tests/unit/session_fixture.h"

#define NLINES	8

static char lines[NLINES][512];
static unsigned nlines;

static void
on_log(void *arg, enum log_level level, const char *line)
{
	(void)arg;
	(void)level;
	ck_assert_uint_lt(nlines, NLINES);
	snprintf(lines[nlines++], sizeof(lines[0]), "%s", line);
}

static unsigned
logged(const char *words)
{
	unsigned count = 0;

	for (unsigned i = 0; i < nlines; i++)
		count += strstr(lines[i], words) != NULL;
	return count;
}

static void
set_true(void *arg)
{
	*(bool *)arg = true;
}

/* The target sends the login to `host` at its own port, to this name if any. */
static void
say_redirect_of(uint16_t status, const char *host, const char *name)
{
	char text[256];
	uint8_t *bhs;
	int len;

	wire(ISCSI_OP_LOGIN_REQ);
	bhs = from_target(ISCSI_OP_LOGIN_RSP, 0, iscsi_itt(fx.got.bhs));
	memcpy(bhs + ISCSI_OFF_ISID, fx.got.bhs + ISCSI_OFF_ISID, 6);
	put_be32(bhs + ISCSI_OFF_TTT, 0);
	put_be16(bhs + ISCSI_OFF_LOGIN_STATUS, status);
	len = snprintf(text, sizeof(text), "TargetAddress=%s:%u,1%c%s%s", host,
	    (unsigned)fx.sconf.portal.port, '\0',
	    name != NULL ? "TargetName=" : "", name != NULL ? name : "");
	say(bhs, text, (uint32_t)len + (name != NULL ? 1 : 0));
}

static void
say_redirect(uint16_t status, const char *host)
{
	say_redirect_of(status, host, NULL);
}

static bool
redirected_to(const char *host)
{
	struct session_info info;

	session_info_get(fx.s, &info);
	return strncmp(info.redirect, host, strlen(host)) == 0 &&
	    (*host != '\0' || *info.redirect == '\0');
}

/* At once; a temporary one is over with the next failure. */
START_TEST(redirect_for_now)
{
	fx.sconf.reconnect_interval = fx.sconf.reconnect_max = 10;
	fx_connect();
	say_redirect(0x0101, "[::ffff:7f00:1]");
	fx_accept();
	ck_assert(redirected_to("[::ffff:7f00:1]"));
	say_redirect(0x0100, "[::ffff:7f00:01]");
	fx_log_in();
	ck_assert(redirected_to("[::ffff:7f00:01]"));
	ck_assert_uint_eq(fx.s->redirect.hops, 2);
	hang_up();
	fx_log_in();
	ck_assert(redirected_to(""));
}
END_TEST

START_TEST(redirect_for_ever)
{
	fx_connect();
	say_redirect(0x0102, "[::ffff:7f00:1]");
	fx_accept();
	say_redirect(0x0101, "[::ffff:7f00:01]");
	fx_log_in();
	hang_up();
	fx_log_in();
	ck_assert(redirected_to("[::ffff:7f00:1]"));
}
END_TEST

/* Whoever says so is not known: it counts when a login has gone well there. */
START_TEST(redirect_for_ever_unproved)
{
	fx.sconf.reconnect_interval = fx.sconf.reconnect_max = 10;
	fx_connect();
	say_redirect(0x0102, "[::ffff:7f00:1]");
	fx_accept();
	ck_assert(redirected_to("[::ffff:7f00:1]"));
	hang_up();
	fx_log_in();
	ck_assert(redirected_to(""));
	/* Nor does one go with what was proved before. */
	hang_up();
	fx_accept();
	say_redirect(0x0102, "[::ffff:7f00:1]");
	fx_log_in();
	hang_up();
	fx_accept();
	say_redirect(0x0102, "[::ffff:7f00:01]");
	fx_accept();
	hang_up();
	fx_log_in();
	ck_assert(redirected_to("[::ffff:7f00:1]"));
}
END_TEST

/* Stopped, it may get another place: nothing leads to the old one. */
START_TEST(redirect_till_stop)
{
	bool stopped = false;

	fx_connect();
	say_redirect(0x0102, "[::ffff:7f00:1]");
	fx_log_in();
	ck_assert(redirected_to("[::ffff:7f00:1]"));
	session_stop(fx.s, set_true, &stopped);
	take_logout(0);
	UNTIL(stopped);
	session_reopen(fx.s);
	ck_assert(redirected_to(""));
	session_start(fx.s);
	fx_log_in();
}
END_TEST

/* A circle ends with an error and a pause, and so does a long way. */
START_TEST(redirect_in_a_circle)
{
	fx.sconf.reconnect_interval = fx.sconf.reconnect_max = 3600000;
	fx_connect();
	say_redirect(0x0102, "[::ffff:7f00:1]");
	fx_accept();
	say_redirect(0x0101, "127.0.0.1");
	UNTIL(fx.s->phase == SESSION_WAITING);
	ck_assert_ptr_nonnull(strstr(fx.s->last_error, "in a circle"));
	ck_assert_uint_gt(fx.s->next_try, loop_now(fx.worker->loop) + 1000);
	ck_assert(redirected_to(""));
}
END_TEST

START_TEST(redirect_too_often)
{
	char host[32];

	fx.sconf.reconnect_interval = fx.sconf.reconnect_max = 3600000;
	fx_connect();
	for (unsigned i = 1; i <= 8; i++) {
		snprintf(host, sizeof(host), "[%s::ffff:7f00:%0*u]",
		    i > 4 ? "0" : "", (int)(i - 1) % 4 + 1, 1u);
		say_redirect(0x0101, host);
		fx_accept();
	}
	say_redirect(0x0101, "[0:0::ffff:7f00:1]");
	UNTIL(fx.s->phase == SESSION_WAITING);
	ck_assert_ptr_nonnull(strstr(fx.s->last_error, "too often"));
	ck_assert_uint_gt(fx.s->next_try, loop_now(fx.worker->loop) + 1000);
}
END_TEST

/* Each hop is shown, in order and as the target sent it. */
START_TEST(redirect_chain)
{
	static const struct {
		uint16_t	 status;
		const char	*host;
	} way[] = {
		{ 0x0102, "[::ffff:7f00:1]" }, { 0x0101, "[::ffff:7f00:01]" },
		{ 0x0102, "[::ffff:7f00:001]" },
	};
	struct session_info info;
	char address[64];

	fx_connect();
	session_info_get(fx.s, &info);
	ck_assert_uint_eq(info.redirects, 0);
	for (unsigned i = 0; i < 3; i++) {
		say_redirect(way[i].status, way[i].host);
		if (i < 2)
			fx_accept();
	}
	fx_log_in();
	session_info_get(fx.s, &info);
	ck_assert_uint_eq(info.redirects, 3);
	for (unsigned i = 0; i < 3; i++) {
		snprintf(address, sizeof(address), "%s:%u,1", way[i].host,
		    (unsigned)fx.sconf.portal.port);
		ck_assert_str_eq(info.hop[i].address, address);
		ck_assert_int_eq(info.hop[i].permanent,
		    way[i].status == 0x0102);
	}
	ck_assert_str_eq(info.redirect, info.hop[2].address);
	/* What follows a temporary hop is as temporary. */
	hang_up();
	fx_log_in();
	session_info_get(fx.s, &info);
	ck_assert_uint_eq(info.redirects, 1);
}
END_TEST

/* A name that differs is logged and not taken; our own is nothing new. */
START_TEST(redirect_to_a_name)
{
	static const char asked[] = "TargetName=iqn.2026-01.org.example:DISK";
	static char upper[] = "iqn.2026-01.org.example:DISK";

	nlines = 0;
	fx_connect();
	fx.s->log = log_new(-1, LOG_LEVEL_WARNING);
	log_set_hook(fx.s->log, on_log, NULL);
	fx.sconf.target = upper;
	say_redirect_of(0x0102, "[::ffff:7f00:1]",
	    "iqn.2026-01.org.example:disk");
	ck_assert_uint_eq(logged("TargetName"), 0);
	fx_accept();
	say_redirect_of(0x0101, "[::ffff:7f00:01]",
	    "iqn.2026-01.org.example:other");
	ck_assert_uint_eq(logged("redirected with TargetName="
	    "iqn.2026-01.org.example:other, which is not followed"), 1);
	fx_accept();
	wire(ISCSI_OP_LOGIN_REQ);
	ck_assert_ptr_nonnull(memmem(fx.got.data, fx.got.len, asked,
	    sizeof(asked)));
	log_free(fx.s->log);
	fx.s->log = NULL;
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("session: redirects");
	TCase *tc = tcase_create("redirects");

	tcase_add_checked_fixture(tc, fx_setup, fx_teardown);
	tcase_add_test(tc, redirect_for_now);
	tcase_add_test(tc, redirect_for_ever);
	tcase_add_test(tc, redirect_for_ever_unproved);
	tcase_add_test(tc, redirect_till_stop);
	tcase_add_test(tc, redirect_in_a_circle);
	tcase_add_test(tc, redirect_too_often);
	tcase_add_test(tc, redirect_chain);
	tcase_add_test(tc, redirect_to_a_name);
	suite_add_tcase(suite, tc);
	return unit_run(suite);
}
