/* SPDX-License-Identifier: ISC */
/*
 * What a session offers by CHAP, login after login, to a scripted target: all
 * algorithms, or MD5 alone after a failure (see iscsimuxd.conf(5), CHAP).
 */
#include "config.h"

#include <stdio.h>
#include <string.h>

#include "tests/unit/session_fixture.h"

#define ALL	"8,7,6,5"
#define MD5	"5"
#define REFUSED	0x0201	/* authentication failed */
#define BUSY	0x0301	/* cannot serve now */

static void
chap_setup(void)
{
	static char user[] = "host1";
	static const char words[] = "a secret of ours";

	fx_setup();
	fx.sconf.chap.user = user;
	fx.sconf.chap.secret.len = strlen(words);
	memcpy(fx.sconf.chap.secret.bytes, words, strlen(words));
	fx.sconf.chap_rules = (struct config_chap_rules){ 4, { 8, 7, 6, 5 },
	    .allow_md5 = true, .required = true };
}

/* A Login Response within the security stage. */
static void
respond(uint8_t flags, uint16_t status, const char *text, size_t len)
{
	uint8_t *bhs = from_target(ISCSI_OP_LOGIN_RSP, flags,
	    iscsi_itt(fx.got.bhs));

	memcpy(bhs + ISCSI_OFF_ISID, fx.got.bhs + ISCSI_OFF_ISID, 6);
	put_be32(bhs + ISCSI_OFF_TTT, 0);
	put_be16(bhs + ISCSI_OFF_LOGIN_STATUS, status);
	say_status(bhs, text, (uint32_t)len);
}

/* The login that is under way offers `list`, in a Login Request of its own. */
static void
expect_offer(const char *list)
{
	static const char method[] = "AuthMethod=CHAP";
	char want[32] = "CHAP_A=";

	wire(ISCSI_OP_LOGIN_REQ);
	respond(0, 0, method, sizeof(method));
	wire(ISCSI_OP_LOGIN_REQ);
	strlcat(want, list, sizeof(want));
	ck_assert_str_eq((char *)fx.got.data, want);
}

/* The next login offers `list` and is refused; true if the next is at once. */
static bool
refuse(const char *list, uint16_t status)
{
	uint32_t attempts = fx.s->backoff.attempts;

	fx_accept();
	expect_offer(list);
	respond(0, status, "", 0);
	UNTIL(fx.s->phase != SESSION_LOGGING_IN &&
	    fx.s->phase != SESSION_FAILED);
	return fx.s->backoff.attempts == attempts;
}

/* The next login offers `list`, and CHAP goes well. */
static void
accept_chap(const char *list)
{
	static const char tgpt[] = "TargetPortalGroupTag=1";
	char text[128];
	size_t len;

	fx_accept();
	expect_offer(list);
	len = (size_t)snprintf(text, sizeof(text), "CHAP_A=%c%cCHAP_I=1%c"
	    "CHAP_C=0x0102030405060708", list[0], '\0', '\0') + 1;
	respond(0, 0, text, len);
	wire(ISCSI_OP_LOGIN_REQ);
	respond(ISCSI_LOGIN_TRANSIT | ISCSI_STAGE_OPERATIONAL, 0, tgpt,
	    sizeof(tgpt));
	fx_finish_login();
}

/* The first login is under way, not accepted by the target yet. */
static void
begin(void)
{
	fx.sconf.reconnect_interval = fx.sconf.reconnect_max = 1;
	fx_new();
	session_start(fx.s);
}

/* MD5 alone was what the target needed: it is kept, also after a loss. */
START_TEST(md5_helps)
{
	begin();
	ck_assert(refuse(ALL, REFUSED));
	accept_chap(MD5);
	ck_assert_int_eq(fx.s->md5, SESSION_MD5_KEPT);
	hang_up();
	accept_chap(MD5);
	hang_up();
	/* A failure is not followed by a second login. */
	ck_assert(!refuse(MD5, REFUSED));
	accept_chap(ALL);
}
END_TEST

/* A wrong secret: two logins at first, then one a round, by turns. */
START_TEST(md5_does_not_help)
{
	begin();
	ck_assert(refuse(ALL, REFUSED));
	ck_assert(!refuse(MD5, REFUSED));
	for (unsigned i = 0; i < 3; i++) {
		ck_assert(!refuse(ALL, REFUSED));
		ck_assert(!refuse(MD5, REFUSED));
	}
	ck_assert_uint_eq(fx.s->backoff.attempts, 7);
	/* The turn of all: what is strong is taken, and nothing is kept. */
	accept_chap(ALL);
	ck_assert_int_eq(fx.s->md5, SESSION_MD5_NOT_ALONE);
	hang_up();
	ck_assert(refuse(ALL, REFUSED));
}
END_TEST

/* The secret is put right at a target that needs MD5 alone (tgt, old LIO). */
START_TEST(md5_helps_later)
{
	begin();
	ck_assert(refuse(ALL, REFUSED));
	ck_assert(!refuse(MD5, REFUSED));
	ck_assert(!refuse(ALL, REFUSED));
	accept_chap(MD5);
	/* That all would have failed is not known before the next time. */
	ck_assert_int_eq(fx.s->md5, SESSION_MD5_NOT_ALONE);
	hang_up();
	ck_assert(refuse(ALL, REFUSED));
	accept_chap(MD5);
	ck_assert_int_eq(fx.s->md5, SESSION_MD5_KEPT);
}
END_TEST

/* Somebody says "try now", or changes the configuration. */
START_TEST(anew)
{
	begin();
	fx.sconf.reconnect_interval = fx.sconf.reconnect_max = 3600000;
	ck_assert(refuse(ALL, REFUSED));
	ck_assert(!refuse(MD5, REFUSED));
	fx.sconf.reconnect_interval = fx.sconf.reconnect_max = 1;
	if (_i == 0) {
		ck_assert(session_reconnect(fx.s));
	} else {
		session_set_config(fx.s, fx.s->config);
		session_timer_due(fx.s);
	}
	ck_assert(refuse(ALL, REFUSED));
	ck_assert(!refuse(MD5, REFUSED));
	ck_assert(!refuse(ALL, REFUSED));
}
END_TEST

/* A target that is busy says nothing of MD5: the next failure has its retry. */
START_TEST(busy_in_between)
{
	begin();
	ck_assert(refuse(ALL, REFUSED));
	ck_assert(!refuse(MD5, BUSY));
	ck_assert(refuse(ALL, REFUSED));
	ck_assert(!refuse(MD5, REFUSED));
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("session: CHAP, login after login");
	TCase *tc = tcase_create("chap");

	tcase_add_checked_fixture(tc, chap_setup, fx_teardown);
	tcase_add_test(tc, md5_helps);
	tcase_add_test(tc, md5_does_not_help);
	tcase_add_test(tc, md5_helps_later);
	tcase_add_loop_test(tc, anew, 0, 2);
	tcase_add_test(tc, busy_in_between);
	suite_add_tcase(suite, tc);
	return unit_run(suite);
}
