/* SPDX-License-Identifier: ISC */
/*
 * Who may use a session and have raw connections (daemon/access.h): the
 * matrices of rules and peers, and that the kernel's word about a peer arrives
 * whole.
 */
#include "config.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <arpa/inet.h>
#include <grp.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "daemon/access.h"
#include "daemon/conf.h"
#include "proto/msg.h"
#include "tests/unit/unit.h"

#define SELF	900u

static uint32_t alice[] = { 1001 };
static uint32_t two_users[] = { 1002, 1003 };
static uint32_t storage[] = { 2001 };
static uint32_t two_groups[] = { 2002, 2003 };
static gid_t groups_storage[] = { 50, 60, 2001 };
static gid_t groups_other[] = { 50, 2003, 60 };
static gid_t groups_useless[] = { 1001, 1002 };

static struct config_access rules_user[] = {
	{ .users = { 1, alice }, .allow = MSG_ACCESS_ALL },
};
static struct config_access rules_group[] = {
	{ .groups = { 1, storage }, .allow = MSG_ACCESS_ALL },
};
static struct config_access rules_both[] = {
	{ .users = { 1, alice }, .groups = { 1, storage },
	    .allow = MSG_ACCESS_ALL },
	{ .users = { 2, two_users }, .groups = { 2, two_groups },
	    .allow = MSG_ACCESS_ALL },
};

struct row {
	const char	*what;
	struct peer	 peer;
	bool		 none, user, group, both;	/* by rule set */
};

#define GROUPS(array)							\
	.groups = array, .ngroups = sizeof(array) / sizeof(gid_t)

static const struct row matrix[] = {
	{ "root", { .uid = 0 }, true, true, true, true },
	{ "the daemon itself", { .uid = SELF, .gid = SELF }, true, true, true,
	    true },
	{ "a named user", { .uid = 1001, .gid = 1001 }, false, true, false,
	    true },
	{ "a stranger", { .uid = 1009, .gid = 1009 }, false, false, false,
	    false },
	{ "group root is not root", { .uid = 1009, .gid = 0 }, false, false,
	    false, false },
	{ "a uid that is a group's number", { .uid = 2001, .gid = 9 }, false,
	    false, false, false },
	{ "a gid that is a user's number", { .uid = 9, .gid = 1001 }, false,
	    false, false, false },
	{ "by primary group", { .uid = 1009, .gid = 2001 }, false, false, true,
	    true },
	{ "by the last supplementary group", { .uid = 1009, .gid = 1009,
	    GROUPS(groups_storage) }, false, false, true, true },
	{ "by the second rule's group", { .uid = 1009, .gid = 1009,
	    GROUPS(groups_other) }, false, false, false, true },
	{ "by the second rule's second user", { .uid = 1003, .gid = 9 }, false,
	    false, false, true },
	{ "groups with users' numbers", { .uid = 9, .gid = 9,
	    GROUPS(groups_useless) }, false, false, false, false },
	{ "an unknown uid", { .uid = (uid_t)-1, .gid = 2001 }, false, false,
	    false, false },
};

static void
expect(const struct row *row, struct config_access *rules, size_t n,
    bool wanted, const char *which)
{
	struct config_session s = { .access = rules, .access_count = n };
	uint32_t got = access_granted(&s, &row->peer, SELF);

	ck_assert_msg(got == (wanted ? MSG_ACCESS_ALL : 0u),
	    "%s, %s: got %#x", row->what, which, got);
}

START_TEST(matrix_holds)
{
	const struct row *row = &matrix[_i];

	expect(row, NULL, 0, row->none, "no rule");
	expect(row, rules_user, 1, row->user, "a user's rule");
	expect(row, rules_group, 1, row->group, "a group's rule");
	expect(row, rules_both, 2, row->both, "two rules");
}
END_TEST

START_TEST(rule_that_allows_nothing)
{
	struct config_access rule = { .users = { 1, alice } };
	struct config_session s = { .access = &rule, .access_count = 1 };
	struct peer peer = { .uid = 1001 };

	ck_assert_uint_eq(access_granted(&s, &peer, SELF), 0);
}
END_TEST

/* All rules that match add up. */
START_TEST(rules_add_up)
{
	struct config_access rules[] = {
		{ .users = { 1, alice }, .allow = MSG_ACCESS_WRITE },
		{ .users = { 1, alice }, .allow = MSG_ACCESS_RESET },
		{ .groups = { 1, storage }, .allow = MSG_ACCESS_READ },
	};
	struct config_session s = { .access = rules, .access_count = 3 };
	struct peer peer = { .uid = alice[0] };

	ck_assert_uint_eq(access_granted(&s, &peer, SELF),
	    MSG_ACCESS_WRITE | MSG_ACCESS_RESET);
}
END_TEST

/* From here on: raw connections. */

static struct config_portal_rule lab[] = {
	{ .address = { 192, 0, 2, 0 }, .prefix = 24, .port = 3260 },
	{ .address = { 198, 51, 100, 128 }, .prefix = 25, .port = 0 },
	{ .address = { 203, 0, 113, 7 }, .prefix = 32, .port = 3261 },
	{ .ipv6 = true, .address = { 0x20, 0x01, 0x0d, 0xb8 }, .prefix = 33,
	    .port = 3260 },
};
static struct config_portal_rule any_ipv4[] = {
	{ .prefix = 0, .port = 0 },
};
static struct config_portal_rule any_ipv6[] = {
	{ .ipv6 = true, .prefix = 0, .port = 0 },
};
static struct config_raw raw_rules[] = {
	{ .users = { 1, alice }, .portal_count = 4, .portals = lab },
	{ .users = { 2, two_users }, .portal_count = 1,
	    .portals = any_ipv4 },
	{ .groups = { 1, storage }, .portal_count = 1, .portals = any_ipv6,
	    .unchecked = true },
	{ .users = { 1, alice }, .groups = { 1, storage }, .portal_count = 1,
	    .portals = &lab[2], .unchecked = true },
};
static const struct config raw_config = { .raw_count = 4, .raw = raw_rules };
static const struct config raw_none;

/* An address as the look-up of a name gives it. */
static socklen_t
address(const char *host, uint16_t port, struct sockaddr_storage *ss)
{
	struct sockaddr_in *in = (struct sockaddr_in *)ss;
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)ss;

	memset(ss, 0, sizeof(*ss));
	if (inet_pton(AF_INET, host, &in->sin_addr) == 1) {
		ss->ss_family = AF_INET;
		in->sin_port = htons(port);
		return sizeof(*in);
	}
	ck_assert_int_eq(inet_pton(AF_INET6, host, &in6->sin6_addr), 1);
	ss->ss_family = AF_INET6;
	in6->sin6_port = htons(port);
	in6->sin6_scope_id = 1;
	return sizeof(*in6);
}

enum raw_outcome {
	RAW_NO,
	RAW_YES,
	RAW_UNCHECKED
};

static enum raw_outcome
raw_outcome(const struct config *cfg, const struct peer *peer,
    const char *host, uint16_t port)
{
	struct sockaddr_storage ss;
	socklen_t len = address(host, port, &ss);
	bool unchecked = true;

	if (!access_raw(cfg, peer, SELF, (struct sockaddr *)&ss, len,
	    &unchecked)) {
		ck_assert(!unchecked);
		return RAW_NO;
	}
	return unchecked ? RAW_UNCHECKED : RAW_YES;
}

static const struct {
	const char		*host;
	uint16_t		 port;
	enum raw_outcome	 alice, two, group;
} raw_matrix[] = {
	/* A range, its first and last address and its neighbours. */
	{ "192.0.2.0", 3260, RAW_YES, RAW_YES, RAW_NO },
	{ "192.0.2.255", 3260, RAW_YES, RAW_YES, RAW_NO },
	{ "192.0.1.255", 3260, RAW_NO, RAW_YES, RAW_NO },
	{ "192.0.3.0", 3260, RAW_NO, RAW_YES, RAW_NO },
	{ "198.51.100.128", 3260, RAW_YES, RAW_YES, RAW_NO },
	{ "198.51.100.255", 3260, RAW_YES, RAW_YES, RAW_NO },
	{ "198.51.100.127", 3260, RAW_NO, RAW_YES, RAW_NO },
	{ "198.51.101.128", 3260, RAW_NO, RAW_YES, RAW_NO },
	{ "198.51.100.0", 3260, RAW_NO, RAW_YES, RAW_NO },
	{ "2001:db8::", 3260, RAW_YES, RAW_NO, RAW_UNCHECKED },
	{ "2001:db8:7fff:ffff:ffff:ffff:ffff:ffff", 3260, RAW_YES, RAW_NO,
	    RAW_UNCHECKED },
	{ "2001:db8:8000::", 3260, RAW_NO, RAW_NO, RAW_UNCHECKED },
	{ "2001:db9::", 3260, RAW_NO, RAW_NO, RAW_UNCHECKED },
	/* Ports: the one of the rule, any, another. */
	{ "192.0.2.1", 3261, RAW_NO, RAW_YES, RAW_NO },
	{ "192.0.2.1", 0, RAW_NO, RAW_YES, RAW_NO },
	{ "198.51.100.129", 1, RAW_YES, RAW_YES, RAW_NO },
	{ "2001:db8::1", 3261, RAW_NO, RAW_NO, RAW_UNCHECKED },
	/* A rule of its own makes a user's checks optional there. */
	{ "203.0.113.7", 3261, RAW_UNCHECKED, RAW_YES, RAW_UNCHECKED },
	{ "203.0.113.7", 3260, RAW_NO, RAW_YES, RAW_NO },
	{ "203.0.113.6", 3261, RAW_NO, RAW_YES, RAW_NO },
	/* IPv4 through an IPv6 socket is IPv4. */
	{ "::ffff:192.0.2.1", 3260, RAW_YES, RAW_YES, RAW_NO },
	{ "::ffff:192.0.3.1", 3260, RAW_NO, RAW_YES, RAW_NO },
	{ "::ffff:203.0.113.7", 3261, RAW_UNCHECKED, RAW_YES,
	    RAW_UNCHECKED },
	/* But not whatever ends like it. */
	{ "::192.0.2.1", 3260, RAW_NO, RAW_NO, RAW_UNCHECKED },
	{ "c000:0200::", 3260, RAW_NO, RAW_NO, RAW_UNCHECKED },
	{ "::1", 3260, RAW_NO, RAW_NO, RAW_UNCHECKED },
	{ "127.0.0.1", 3260, RAW_NO, RAW_YES, RAW_NO },
};

START_TEST(raw_matrix_holds)
{
	static const struct peer by_user = { .uid = 1001, .gid = 9 };
	static const struct peer second = { .uid = 1003, .gid = 9 };
	const struct peer by_group = { .uid = 1009, .gid = 9,
	    GROUPS(groups_storage) };
	static const struct peer primary = { .uid = 1009, .gid = 2001 };
	const char *host = raw_matrix[_i].host;
	uint16_t port = raw_matrix[_i].port;

	ck_assert_int_eq(raw_outcome(&raw_config, &by_user, host, port),
	    raw_matrix[_i].alice);
	ck_assert_int_eq(raw_outcome(&raw_config, &second, host, port),
	    raw_matrix[_i].two);
	ck_assert_int_eq(raw_outcome(&raw_config, &by_group, host, port),
	    raw_matrix[_i].group);
	ck_assert_int_eq(raw_outcome(&raw_config, &primary, host, port),
	    raw_matrix[_i].group);
}
END_TEST

/* Root and the daemon's own user, everywhere; others only by a rule. */
START_TEST(raw_without_rule)
{
	static const struct {
		struct peer peer;
		bool trusted, any;
	} who[] = {
		{ { .uid = 0, .gid = 0 }, true, true },
		{ { .uid = SELF, .gid = 9 }, true, true },
		{ { .uid = 1001, .gid = 9 }, false, true },
		{ { .uid = 1009, .gid = 2001 }, false, true },
		{ { .uid = 1009, .gid = 0 }, false, false },
		{ { .uid = 1009, .gid = SELF }, false, false },
		{ { .uid = (uid_t)-1, .gid = 2001 }, false, false },
	};
	enum raw_outcome wanted;

	for (size_t i = 0; i < sizeof(who) / sizeof(who[0]); i++) {
		const struct peer *peer = &who[i].peer;

		wanted = who[i].trusted ? RAW_UNCHECKED : RAW_NO;
		ck_assert_int_eq(raw_outcome(&raw_none, peer, "192.0.2.1",
		    3260), wanted);
		ck_assert_int_eq(raw_outcome(&raw_none, peer, "::1", 1),
		    wanted);
		ck_assert_int_eq(raw_outcome(&raw_config, peer, "127.0.0.1",
		    1), wanted);
		ck_assert_int_eq(access_raw_any(&raw_none, peer, SELF),
		    who[i].trusted);
		ck_assert_int_eq(access_raw_any(&raw_config, peer, SELF),
		    who[i].any);
	}
}
END_TEST

/* What is no whole IP address is nowhere. */
START_TEST(raw_no_address)
{
	static const struct peer peer = { .uid = 1002 };
	struct sockaddr_storage ss;
	struct sockaddr *sa = (struct sockaddr *)&ss;
	socklen_t len = address("192.0.2.1", 3260, &ss);
	bool unchecked;

	ck_assert(access_raw(&raw_config, &peer, SELF, sa, len, &unchecked));
	ck_assert(!access_raw(&raw_config, &peer, SELF, sa, len - 1,
	    &unchecked));
	ss.ss_family = AF_UNIX;
	ck_assert(!access_raw(&raw_config, &peer, SELF, sa, len,
	    &unchecked));
	len = address("::ffff:192.0.2.1", 3260, &ss);
	ck_assert(access_raw(&raw_config, &peer, SELF, sa, len, &unchecked));
	ck_assert(!access_raw(&raw_config, &peer, SELF, sa, len - 1,
	    &unchecked));
}
END_TEST

START_TEST(own_credentials)
{
	struct peer peer;
	int sv[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), 0);
	ck_assert_int_eq(peer_get(sv[0], &peer), 0);
	ck_assert_int_eq(peer.pid, getpid());
	ck_assert_uint_eq(peer.uid, geteuid());
	ck_assert_uint_eq(peer.gid, getegid());
	ck_assert_uint_eq(peer.ngroups, (size_t)getgroups(0, NULL));
	peer_free(&peer);
	ck_assert_ptr_null(peer.groups);
	ck_assert_uint_eq(peer.ngroups, 0);
	close(sv[0]);
	close(sv[1]);
}
END_TEST

START_TEST(no_socket)
{
	struct peer peer;
	int fds[2];

	ck_assert_int_eq(pipe(fds), 0);
	ck_assert_int_lt(peer_get(fds[0], &peer), 0);
	ck_assert_uint_eq(peer.uid, (uid_t)-1);
	peer_free(&peer);
	close(fds[0]);
	close(fds[1]);
}
END_TEST

#define MANY_GROUPS	300

/* Become somebody in many groups and connect; for a child only. */
static void
connect_as_somebody(const struct sockaddr_un *sun)
{
	gid_t groups[MANY_GROUPS];
	int fd;

	for (unsigned i = 0; i < MANY_GROUPS; i++)
		groups[i] = 5000 + i;
	if (setgroups(MANY_GROUPS, groups) == -1 || setgid(4001) == -1 ||
	    setuid(4002) == -1)
		_exit(1);
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	if (fd == -1 || connect(fd, (const struct sockaddr *)sun,
	    sizeof(*sun)) == -1)
		_exit(2);
	_exit(0);
}

/* The credentials are those of the connect, also after the peer has gone. */
START_TEST(credentials_of_another)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	struct peer peer;
	int fd, client, status;
	pid_t pid;

	if (geteuid() != 0)
		return;
	snprintf(sun.sun_path + 1, sizeof(sun.sun_path) - 1,
	    "iscsimux-check-access-%d", (int)getpid());
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&sun, sizeof(sun)), 0);
	ck_assert_int_eq(listen(fd, 1), 0);
	pid = fork();
	if (pid == 0)
		connect_as_somebody(&sun);
	client = accept(fd, NULL, NULL);
	ck_assert_int_ge(client, 0);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	ck_assert_int_eq(peer_get(client, &peer), 0);
	ck_assert_int_eq(peer.pid, pid);
	ck_assert_uint_eq(peer.uid, 4002);
	ck_assert_uint_eq(peer.gid, 4001);
	ck_assert_uint_eq(peer.ngroups, MANY_GROUPS);
	for (unsigned i = 0; i < MANY_GROUPS; i++)
		ck_assert_uint_eq(peer.groups[i], 5000 + i);
	peer_free(&peer);
	close(client);
	close(fd);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("access");
	TCase *tc = tcase_create("access");

	tcase_add_loop_test(tc, matrix_holds, 0,
	    (int)(sizeof(matrix) / sizeof(matrix[0])));
	tcase_add_test(tc, rule_that_allows_nothing);
	tcase_add_test(tc, rules_add_up);
	tcase_add_loop_test(tc, raw_matrix_holds, 0,
	    (int)(sizeof(raw_matrix) / sizeof(raw_matrix[0])));
	tcase_add_test(tc, raw_without_rule);
	tcase_add_test(tc, raw_no_address);
	tcase_add_test(tc, own_credentials);
	tcase_add_test(tc, no_socket);
	tcase_add_test(tc, credentials_of_another);
	suite_add_tcase(suite, tc);
	return unit_run(suite);
}
