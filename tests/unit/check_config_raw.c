/* SPDX-License-Identifier: ISC */
/*
 * The rules of raw connections in the configuration: who, and where to.
 */
#include "config.h"

#include <arpa/inet.h>

#include "config_fixture.h"
#include "unit.h"

START_TEST(raw_rules)
{
	struct fixture fx;
	const struct config *cfg;

	fixture_init(&fx);
	ck_assert_uint_eq(fixture_good(&fx, "")->raw_count, 0);
	cfg = fixture_good(&fx, "raw { users = { root, 1000 } portals = "
	    "192.0.2.1 }\n" FIXTURE_SESSION("s") "}\nraw {\nunchecked = yes\n"
	    "groups = 7\nportals = { 0.0.0.0/0:*, '[::]/0:*',\n[::1] }\n}\n");
	ck_assert_uint_eq(cfg->session_count, 1);
	ck_assert_uint_eq(cfg->raw_count, 2);
	ck_assert_uint_eq(cfg->raw[0].users.count, 2);
	ck_assert_uint_eq(cfg->raw[0].users.list[1], 1000);
	ck_assert_uint_eq(cfg->raw[0].groups.count, 0);
	ck_assert_uint_eq(cfg->raw[0].portal_count, 1);
	ck_assert(!cfg->raw[0].unchecked);
	ck_assert_uint_eq(cfg->raw[1].users.count, 0);
	ck_assert_uint_eq(cfg->raw[1].groups.count, 1);
	ck_assert_uint_eq(cfg->raw[1].groups.list[0], 7);
	ck_assert_uint_eq(cfg->raw[1].portal_count, 3);
	ck_assert(cfg->raw[1].unchecked);
	fixture_free(&fx);
}
END_TEST

static const struct {
	const char	*text;
	bool		 ipv6;
	const char	*address;
	unsigned	 prefix;
	unsigned	 port;
} portal_rules[] = {
	{ "192.0.2.1", false, "192.0.2.1", 32, 3260 },
	{ "192.0.2.1:1", false, "192.0.2.1", 32, 1 },
	{ "192.0.2.1:65535", false, "192.0.2.1", 32, 65535 },
	{ "192.0.2.0/24:*", false, "192.0.2.0", 24, 0 },
	{ "192.0.2.128/25", false, "192.0.2.128", 25, 3260 },
	{ "192.0.2.255/32", false, "192.0.2.255", 32, 3260 },
	{ "128.0.0.0/1", false, "128.0.0.0", 1, 3260 },
	{ "0.0.0.0/0:*", false, "0.0.0.0", 0, 0 },
	{ "[::]/0", true, "::", 0, 3260 },
	{ "[::1]", true, "::1", 128, 3260 },
	{ "[2001:db8::]/32:3261", true, "2001:db8::", 32, 3261 },
	{ "[2001:db8::8]/125:*", true, "2001:db8::8", 125, 0 },
	/* IPv4 in IPv6's clothes, and what is not. */
	{ "[::ffff:192.0.2.1]", false, "192.0.2.1", 32, 3260 },
	{ "[::ffff:192.0.2.0]/120:*", false, "192.0.2.0", 24, 0 },
	{ "[::ffff:0:0]/96", false, "0.0.0.0", 0, 3260 },
	{ "[::fffe:0:0]/95", true, "::fffe:0:0", 95, 3260 },
	{ "[::192.0.2.1]", true, "::192.0.2.1", 128, 3260 },
};

START_TEST(portal_rule)
{
	struct fixture fx;
	const struct config_portal_rule *rule;
	uint8_t address[16] = { 0 };
	char text[256];

	fixture_init(&fx);
	snprintf(text, sizeof(text), "raw { users = 1 portals = %s }\n",
	    portal_rules[_i].text);
	rule = &fixture_good(&fx, text)->raw[0].portals[0];
	ck_assert_int_eq(inet_pton(portal_rules[_i].ipv6 ? AF_INET6 : AF_INET,
	    portal_rules[_i].address, address), 1);
	ck_assert_int_eq(rule->ipv6, portal_rules[_i].ipv6);
	ck_assert_mem_eq(rule->address, address, sizeof(address));
	ck_assert_uint_eq(rule->prefix, portal_rules[_i].prefix);
	ck_assert_uint_eq(rule->port, portal_rules[_i].port);
	fixture_free(&fx);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("config_raw");
	TCase *tc = tcase_create("raw");

	tcase_add_test(tc, raw_rules);
	tcase_add_loop_test(tc, portal_rule, 0,
	    (int)(sizeof(portal_rules) / sizeof(portal_rules[0])));
	suite_add_tcase(suite, tc);
	return unit_run(suite);
}
