/* SPDX-License-Identifier: ISC */
/*
 * Redirections of the login phase (daemon/login.h): what they say, and what
 * whoever follows them is told.
 */
#include "config.h"

#include <stdio.h>
#include <string.h>

#include "tests/unit/login_script.h"
#include "tests/unit/unit.h"

START_TEST(test_redirect)
{
	static const struct {
		uint16_t status;
		const char *text;
		const char *words;
	} rows[] = {
		{ 0x0101, "TargetAddress=192.0.2.7:3260\n", "target moved "
		    "temporarily to 192.0.2.7:3260 (login status 0x0101)" },
		{ 0x0102, "X-a=1\nTargetAddress=[2001:db8::1]:3261,1\n",
		    "target moved permanently to [2001:db8::1]:3261,1" },
		{ 0x0100, "TargetAddress=disk.example\n", "redirection, "
		    "unknown detail to disk.example" },
		{ 0x0101, "", "target moved temporarily (login status "
		    "0x0101), but no TargetAddress is given" },
		{ 0x0102, "TargetAddress", "target moved permanently (login "
		    "status 0x0102), but no" },
	};
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		begin();
		ask();
		make_rsp(0);
		put_be16(rsp + ISCSI_OFF_LOGIN_STATUS, rows[i].status);
		ck_assert_int_eq(deliver(rows[i].text), LOGIN_FAILED);
		assert_has(login_error(login), rows[i].words, rows[i].text);
		ck_assert_uint_eq(login_status(login), rows[i].status);
	}
}
END_TEST

/* What whoever follows a redirection is told of it. */
START_TEST(test_redirect_parts)
{
	static const struct {
		uint16_t status;
		const char *text;
		const char *host;
		uint16_t port;
		const char *target;
	} rows[] = {
		{ 0x0101, "TargetAddress=192.0.2.7:3261\n", "192.0.2.7", 3261,
		    "" },
		{ 0x0102, "TargetAddress=192.0.2.7\n", "192.0.2.7", 3260,
		    "" },
		{ 0x0100, "TargetAddress=disk.example:1,7\n", "disk.example",
		    1, "" },
		{ 0x0101, "TargetAddress=[2001:db8::1]\n", "2001:db8::1",
		    3260, "" },
		{ 0x0102, "TargetAddress=[2001:db8::1]:3261,1\n"
		    "TargetName=iqn.2026-01.org.example:other\n",
		    "2001:db8::1", 3261, "iqn.2026-01.org.example:other" },
	};
	const struct login_redirect *r;
	size_t i;

	begin();
	ck_assert_ptr_null(login_redirect(login));
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		begin();
		ask();
		make_rsp(0);
		put_be16(rsp + ISCSI_OFF_LOGIN_STATUS, rows[i].status);
		ck_assert_int_eq(deliver(rows[i].text), LOGIN_FAILED);
		r = login_redirect(login);
		ck_assert_ptr_nonnull(r);
		ck_assert_int_eq(r->permanent, rows[i].status == 0x0102);
		ck_assert_str_eq(r->host, rows[i].host);
		ck_assert_uint_eq(r->port, rows[i].port);
		ck_assert_str_eq(r->target, rows[i].target);
		ck_assert_uint_eq(strncmp(r->address, rows[i].text +
		    strlen("TargetAddress="), strlen(r->address)), 0);
	}
}
END_TEST

/* Nobody has vouched for an address: one that is none is not followed. */
START_TEST(test_redirect_unusable)
{
	static const struct {
		const char *text;
		const char *words;
	} rows[] = {
		{ "", "no TargetAddress is given" },
		{ "TargetAddress=\n", "no TargetAddress is given" },
		{ "TargetAddress=a b\n", "which is of no use: the host is" },
		{ "TargetAddress=::1\n", "which is of no use: an IPv6" },
		{ "TargetAddress=a:0\n", "which is of no use: after the" },
		{ "TargetAddress=a:3260,x\n", "which is of no use" },
		{ "TargetAddress=a:3260,\n", "which is of no use" },
		{ "TargetAddress=a\nTargetName=b\n", "no iSCSI name" },
	};
	char text[400];
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		begin();
		ask();
		make_rsp(0);
		put_be16(rsp + ISCSI_OFF_LOGIN_STATUS, 0x0101);
		ck_assert_int_eq(deliver(rows[i].text), LOGIN_FAILED);
		assert_has(login_error(login), rows[i].words, rows[i].text);
		ck_assert_ptr_null(login_redirect(login));
	}
	snprintf(text, sizeof(text), "TargetAddress=%0256d\n", 0);
	begin();
	ask();
	make_rsp(0);
	put_be16(rsp + ISCSI_OFF_LOGIN_STATUS, 0x0101);
	ck_assert_int_eq(deliver(text), LOGIN_FAILED);
	assert_has(login_error(login), "TargetAddress is too long", "long");
	ck_assert_ptr_null(login_redirect(login));
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("login_redirect");
	TCase *tcase = tcase_create("login_redirect");

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, test_redirect);
	tcase_add_test(tcase, test_redirect_parts);
	tcase_add_test(tcase, test_redirect_unusable);
	suite_add_tcase(suite, tcase);
	return unit_run(suite);
}
