/* SPDX-License-Identifier: ISC */
/*
 * Answers to SendTargets (proto/sendtargets.h), by literal text.
 */
#include "config.h"

#include <string.h>

#include "proto/sendtargets.h"
#include "tests/unit/unit.h"

/* Lines stand for pairs: each newline is a NUL on the wire. */
static void
walk(struct sendtargets *st, const char *lines)
{
	static char text[4096];
	size_t len = strlen(lines);

	ck_assert_uint_lt(len, sizeof(text));
	for (size_t i = 0; i < len; i++)
		text[i] = lines[i] == '\n' ? '\0' : lines[i];
	sendtargets_init(st, text, len);
}

static void
expect(struct sendtargets *st, const char *target, const char *portal,
    int tpgt)
{
	struct sendtargets_record r;
	char buf[SENDTARGETS_PORTAL_SIZE];

	memset(&r, 0xee, sizeof(r));
	ck_assert_msg(sendtargets_next(st, &r) == SENDTARGETS_RECORD,
	    "no record %s %s: %s", target, portal, sendtargets_error(st));
	ck_assert_str_eq(r.target, target);
	ck_assert_int_eq(r.have_tpgt ? r.tpgt : -1, tpgt);
	sendtargets_portal(&r, buf);
	ck_assert_str_eq(buf, portal);
}

static void
expect_end(struct sendtargets *st)
{
	struct sendtargets_record r;

	ck_assert_msg(sendtargets_next(st, &r) == SENDTARGETS_END,
	    "no end: %s", sendtargets_error(st));
	ck_assert_int_eq(sendtargets_next(st, &r), SENDTARGETS_END);
}

/* A target has as many records as addresses, the same key repeated. */
START_TEST(test_several)
{
	struct sendtargets st;

	walk(&st, "TargetName=iqn.a\nTargetAddress=192.0.2.1:3260,1\n"
	    "TargetAddress=192.0.2.2:860,2\nTargetName=iqn.b\n"
	    "TargetAddress=[2001:db8::1]:3261,65535\n");
	expect(&st, "iqn.a", "192.0.2.1:3260", 1);
	expect(&st, "iqn.a", "192.0.2.2:860", 2);
	expect(&st, "iqn.b", "[2001:db8::1]:3261", 65535);
	expect_end(&st);
}
END_TEST

/* Without an address a target is where it was asked for. */
START_TEST(test_no_address)
{
	struct sendtargets st;

	walk(&st, "TargetName=iqn.a\nTargetName=iqn.b\n"
	    "TargetAddress=h\nTargetName=iqn.c\n");
	expect(&st, "iqn.a", ":3260", -1);
	expect(&st, "iqn.b", "h:3260", -1);
	expect(&st, "iqn.c", ":3260", -1);
	expect_end(&st);
	walk(&st, "");
	expect_end(&st);
}
END_TEST

/* Other keys of a talkative target belong to nothing. */
START_TEST(test_other_keys)
{
	struct sendtargets st;

	walk(&st, "X-com.example=1\nTargetName=iqn.a\nTargetAlias=a b\n"
	    "TargetAddress=h:1,0x10\nMaxBurstLength=Irrelevant\n");
	expect(&st, "iqn.a", "h:1", 16);
	expect_end(&st);
}
END_TEST

static const struct {
	const char	*text;
	const char	*host;		/* NULL: `why` says what is wrong */
	unsigned	 port;
	int		 tpgt;
	const char	*why;
} addresses[] = {
	{ "192.0.2.1", "192.0.2.1", 3260, -1, NULL },
	{ "192.0.2.1,7", "192.0.2.1", 3260, 7, NULL },
	{ "disk.example.org:65535,0", "disk.example.org", 65535, 0, NULL },
	{ "[::1]", "::1", 3260, -1, NULL },
	{ "[fe80::1%eth0]:3261", "fe80::1%eth0", 3261, -1, NULL },
	{ "[::1],2", "::1", 3260, 2, NULL },
	{ "", NULL, 0, 0, "no host" },
	{ ":3260,1", NULL, 0, 0, "no host" },
	{ "[]:3260", NULL, 0, 0, "no host" },
	{ "[::1", NULL, 0, 0, "not closed" },
	{ "[h]:1", NULL, 0, 0, "no IPv6 address" },
	{ "[::1]x", NULL, 0, 0, "host[:port][,group]" },
	{ "2001:db8::1", NULL, 0, 0, "must be in brackets" },
	{ "h h:1", NULL, 0, 0, "no host has" },
	{ "h\x1b:1", NULL, 0, 0, "no host has" },
	{ "h/h", NULL, 0, 0, "no host has" },
	{ "h:", NULL, 0, 0, "its port" },
	{ "h:0", NULL, 0, 0, "its port" },
	{ "h:65536", NULL, 0, 0, "its port" },
	{ "h:+1", NULL, 0, 0, "its port" },
	{ "h:1x,1", NULL, 0, 0, "its port" },
	{ "h:1,", NULL, 0, 0, "group tag" },
	{ "h:1,65536", NULL, 0, 0, "group tag" },
	{ "h:1,1,1", NULL, 0, 0, "group tag" },
};

START_TEST(test_address)
{
	struct sendtargets_record r;
	const char *why = sendtargets_address(addresses[_i].text, &r);

	if (addresses[_i].host == NULL) {
		ck_assert_ptr_nonnull(why);
		ck_assert_ptr_nonnull(strstr(why, addresses[_i].why));
		return;
	}
	ck_assert_ptr_null(why);
	ck_assert_str_eq(r.host, addresses[_i].host);
	ck_assert_uint_eq(r.port, addresses[_i].port);
	ck_assert_int_eq(r.have_tpgt ? r.tpgt : -1, addresses[_i].tpgt);
}
END_TEST

START_TEST(test_longest_host)
{
	struct sendtargets_record r;
	char host[SENDTARGETS_HOST_MAX + 2];

	memset(host, 'h', sizeof(host));
	host[SENDTARGETS_HOST_MAX + 1] = '\0';
	ck_assert_ptr_nonnull(sendtargets_address(host, &r));
	host[SENDTARGETS_HOST_MAX] = '\0';
	ck_assert_ptr_null(sendtargets_address(host, &r));
	ck_assert_str_eq(r.host, host);
}
END_TEST

static const struct {
	const char	*lines;
	const char	*why;
} wrong[] = {
	{ "TargetAddress=h:1,1\n", "before any TargetName" },
	{ "TargetName=\n", "no iSCSI name" },
	{ "TargetName=iqn.a b\n", "no iSCSI name" },
	{ "SendTargets=Reject\n", "SendTargets=Reject" },
	{ "TargetName=iqn.a\nTargetAddress=h:x,1\n", "TargetAddress=h:x,1 for "
	    "iqn.a: its port" },
	{ "TargetName", "malformed text" },
	{ "TargetName\n", "malformed text" },
	{ "TargetName=iqn.a\nTargetAddress=h:1", "malformed text" },
};

/* Said in words, and again at every further call. */
START_TEST(test_wrong)
{
	struct sendtargets_record r;
	struct sendtargets st;

	walk(&st, wrong[_i].lines);
	ck_assert_str_eq(sendtargets_error(&st), "");
	ck_assert_int_eq(sendtargets_next(&st, &r), SENDTARGETS_ERROR);
	ck_assert_ptr_nonnull(strstr(sendtargets_error(&st), wrong[_i].why));
	ck_assert_int_eq(sendtargets_next(&st, &r), SENDTARGETS_ERROR);
}
END_TEST

/* What a target writes drives no terminal. */
START_TEST(test_wrong_is_printable)
{
	struct sendtargets_record r;
	struct sendtargets st;

	walk(&st, "TargetName=iqn.\x1b[2J\xff\n");
	ck_assert_int_eq(sendtargets_next(&st, &r), SENDTARGETS_ERROR);
	for (const char *p = sendtargets_error(&st); *p != '\0'; p++)
		ck_assert(*p >= 0x20 && *p < 0x7f);
}
END_TEST

/* A name of the greatest length, and one byte more. */
START_TEST(test_longest_name)
{
	struct sendtargets_record r;
	struct sendtargets st;
	char lines[300] = "TargetName=";

	memset(lines + 11, 'n', ISCSI_NAME_MAX);
	lines[11 + ISCSI_NAME_MAX] = '\n';
	walk(&st, lines);
	ck_assert_int_eq(sendtargets_next(&st, &r), SENDTARGETS_RECORD);
	ck_assert_uint_eq(strlen(r.target), ISCSI_NAME_MAX);
	lines[11 + ISCSI_NAME_MAX] = 'n';
	lines[12 + ISCSI_NAME_MAX] = '\n';
	walk(&st, lines);
	ck_assert_int_eq(sendtargets_next(&st, &r), SENDTARGETS_ERROR);
}
END_TEST

#define COUNT(a) ((int)(sizeof(a) / sizeof((a)[0])))

int
main(void)
{
	Suite *suite = suite_create("sendtargets");
	TCase *tc = tcase_create("core");

	tcase_add_test(tc, test_several);
	tcase_add_test(tc, test_no_address);
	tcase_add_test(tc, test_other_keys);
	tcase_add_loop_test(tc, test_address, 0, COUNT(addresses));
	tcase_add_test(tc, test_longest_host);
	tcase_add_loop_test(tc, test_wrong, 0, COUNT(wrong));
	tcase_add_test(tc, test_wrong_is_printable);
	tcase_add_test(tc, test_longest_name);
	suite_add_tcase(suite, tc);
	return unit_run(suite);
}
