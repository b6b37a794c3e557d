/* SPDX-License-Identifier: ISC */
/*
 * The keys of CHAP: what they lead to, which need each other, and what is
 * wrong with secrets.
 */
#include "config.h"

#include <errno.h>

#include "daemon/chap.h"
#include "daemon/conf.h"
#include "tests/unit/config_fixture.h"
#include "tests/unit/unit.h"

static struct fixture fx;

static void
setup(void)
{
	fixture_init(&fx);
	fixture_secret(&fx, "a", "twelve bytes\n", 13);
	fixture_secret(&fx, "b", "0x000102030405060708090a0b", 26);
	fixture_secret(&fx, "same", "twelve bytes", 12);
	fixture_secret(&fx, "short", "eleven byte", 11);
	fixture_secret(&fx, "open", "twelve bytes", 12);
	fixture_secret(&fx, "c", "the third secret", 16);
	fixture_secret(&fx, "d", "the fourth secret", 17);
}

static void
teardown(void)
{
	fixture_free(&fx);
}

/* A session with these lines; each "@" is the fixture's directory and "/". */
static char *
session_text(const char *lines)
{
	char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	fputs(FIXTURE_SESSION("s"), f);
	for (; *lines != '\0'; lines++)
		if (*lines == '@')
			fprintf(f, "%s/", fx.dir);
		else
			putc(*lines, f);
	fputs("}\n", f);
	ck_assert_int_eq(fclose(f), 0);
	return text;
}

static const struct config_session *
good(const char *lines)
{
	char *text = session_text(lines);
	const struct config *cfg = fixture_good(&fx, text);

	free(text);
	return &cfg->sessions[0];
}

START_TEST(defaults)
{
	static const uint8_t all[] = { 8, 7, 6, 5 };
	const struct config_session *s = good("");

	ck_assert_ptr_null(s->chap.user);
	ck_assert_uint_eq(s->chap.secret.len, 0);
	ck_assert_ptr_null(s->discovery_chap.user);
	ck_assert_uint_eq(s->chap_rules.count, 4);
	ck_assert_mem_eq(s->chap_rules.list, all, sizeof(all));
	ck_assert(!s->chap_rules.listed);
	ck_assert(s->chap_rules.allow_md5);
	ck_assert(!s->chap_rules.allow_short);
	ck_assert(s->chap_rules.required);
	ck_assert(!s->tpgt_set);
	ck_assert_uint_eq(s->login_pdu_timeout, 10000);
}
END_TEST

START_TEST(all_keys)
{
	const struct config_session *s = good(
	    "chap-user = \"host 1\"\nchap-secret-file = @a\n"
	    "chap-peer-user = disk1\nchap-peer-secret-file = @b\n"
	    "discovery-chap-user = seeker\n"
	    "discovery-chap-secret-file = @c\n"
	    "discovery-chap-peer-user = portal\n"
	    "discovery-chap-peer-secret-file = @d\n"
	    "target-portal-group-tag = 65535\nlogin-pdu-timeout = 3s\n");

	ck_assert_str_eq(s->chap.user, "host 1");
	ck_assert_uint_eq(s->chap.secret.len, 12);
	ck_assert_mem_eq(s->chap.secret.bytes, "twelve bytes", 12);
	ck_assert_str_eq(s->chap.peer_user, "disk1");
	ck_assert_uint_eq(s->chap.peer_secret.len, 12);
	ck_assert_uint_eq(s->chap.peer_secret.bytes[11], 11);
	ck_assert_str_eq(s->discovery_chap.user, "seeker");
	ck_assert_uint_eq(s->discovery_chap.secret.len, 16);
	ck_assert_str_eq(s->discovery_chap.peer_user, "portal");
	ck_assert_uint_eq(s->discovery_chap.peer_secret.len, 17);
	ck_assert(s->tpgt_set);
	ck_assert_uint_eq(s->tpgt, 65535);
	ck_assert_uint_eq(s->login_pdu_timeout, 3000);
}
END_TEST

START_TEST(algorithms)
{
	const struct config_session *s;

	s = good("chap-algorithms = { MD5, SHA256 }\n");
	ck_assert(s->chap_rules.listed);
	ck_assert_uint_eq(s->chap_rules.count, 2);
	ck_assert_uint_eq(s->chap_rules.list[0], CHAP_MD5);
	ck_assert_uint_eq(s->chap_rules.list[1], CHAP_SHA256);
	s = good("chap-algorithms = SHA3-256\n");
	ck_assert_uint_eq(s->chap_rules.count, 1);
	ck_assert_uint_eq(s->chap_rules.list[0], CHAP_SHA3_256);
	s = good("chap-allow-md5 = no\n");
	ck_assert_uint_eq(s->chap_rules.count, 3);
	ck_assert_ptr_null(memchr(s->chap_rules.list, CHAP_MD5, 3));
	s = good("chap-allow-md5 = no\nchap-algorithms = { MD5, SHA1 }\n");
	ck_assert_uint_eq(s->chap_rules.count, 1);
	ck_assert_uint_eq(s->chap_rules.list[0], CHAP_SHA1);
}
END_TEST

START_TEST(short_secret)
{
	const struct config_session *s = good("chap-user = u\n"
	    "chap-secret-file = @short\nchap-allow-short-secrets = yes\n");

	ck_assert_uint_eq(s->chap.secret.len, 11);
}
END_TEST

#define USER	"chap-user = u\nchap-secret-file = @a\n"

static const struct {
	const char *lines;
	const char *error;	/* the first, after FILE: */
} bad[] = {
	{ "chap-user = u\n", "4: chap-user: without 'chap-secret-file' it is "
	    "of no use: add that" },
	{ "chap-secret-file = @a\n", "4: chap-secret-file: without "
	    "'chap-user' it is of no use: add that" },
	{ USER "chap-peer-user = p\n", "6: chap-peer-user: without "
	    "'chap-peer-secret-file' it is of no use: add that" },
	{ "chap-peer-secret-file = @b\n", "4: chap-peer-secret-file: without "
	    "'chap-user' it is of no use: add that" },
	{ "discovery-chap-user = u\n", "4: discovery-chap-user: without "
	    "'discovery-chap-secret-file' it is of no use: add that" },
	{ USER "chap-peer-secret-file = @same\n", "6: chap-peer-secret-file: "
	    "the same secret as in chap-secret-file: the two directions must "
	    "differ" },
	{ USER "chap-peer-secret-file = @b\nchap-required = no\n",
	    "7: chap-required: a target that has to authenticate itself "
	    "('chap-peer-secret-file') cannot be let off: remove one of the "
	    "two" },
	{ "chap-user = \"\"\nchap-secret-file = @a\n", "4: chap-user: a CHAP "
	    "name has 1 to 255 bytes: change it" },
	{ "chap-user = u\nchap-secret-file = sesame\n", "5: "
	    "chap-secret-file: no file of a secret: write an absolute path "
	    "or credential:NAME" },
	{ "chap-user = u\nchap-secret-file = @short\n", "5: "
	    "chap-secret-file: the secret has less than 96 bits: take one of "
	    "12 to 16 bytes, or set chap-allow-short-secrets" },
	{ "chap-user = u\nchap-secret-file = @open\n", "5: chap-secret-file: "
	    "$/open can be read or written by others than its owner (mode "
	    "0644): chmod 600 it" },
	{ "chap-user = u\nchap-secret-file = @none\n", "5: chap-secret-file: "
	    "cannot read $/none: No such file or directory" },
	{ "chap-algorithms = SHA-256\n", "4: chap-algorithms: 'SHA-256' is no "
	    "algorithm of CHAP: write SHA3-256, SHA256, SHA1, MD5 or a list "
	    "of them" },
	{ "chap-algorithms = { MD5, MD5 }\n", "4: chap-algorithms: 'MD5' is "
	    "repeated: remove it" },
	{ "chap-algorithms = MD5\nchap-allow-md5 = no\n", "4: "
	    "chap-algorithms: only MD5, which chap-allow-md5 forbids: change "
	    "one of them" },
	{ "target-portal-group-tag = 65536\n", "4: target-portal-group-tag: "
	    "'65536' is out of range: write 0 to 65535" },
};

START_TEST(errors)
{
	char *open = fixture_path(&fx, "open");
	char *text = session_text(bad[_i].lines);
	char *error = fixture_text("$/main.conf:%s", bad[_i].error);

	ck_assert_int_eq(chmod(open, 0644), 0);
	ck_assert_int_eq(fixture_load_text(&fx, text), -EINVAL);
	fixture_error_is(&fx, 0, error);
	free(error);
	free(text);
	free(open);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("config_chap");
	TCase *tcase = tcase_create("config_chap");

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, defaults);
	tcase_add_test(tcase, all_keys);
	tcase_add_test(tcase, algorithms);
	tcase_add_test(tcase, short_secret);
	tcase_add_loop_test(tcase, errors, 0,
	    (int)(sizeof(bad) / sizeof(bad[0])));
	suite_add_tcase(suite, tcase);
	return unit_run(suite);
}
