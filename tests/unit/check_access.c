/* SPDX-License-Identifier: ISC */
/*
 * Who may use a session (daemon/access.h): the matrix of rules and peers, and
 * that the kernel's word about a peer arrives whole.
 */
#include "config.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <grp.h>
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
	{ .users = { 1, alice }, .allow_all = true },
};
static struct config_access rules_group[] = {
	{ .groups = { 1, storage }, .allow_all = true },
};
static struct config_access rules_both[] = {
	{ .users = { 1, alice }, .groups = { 1, storage }, .allow_all = true },
	{ .users = { 2, two_users }, .groups = { 2, two_groups },
	    .allow_all = true },
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
	tcase_add_test(tc, own_credentials);
	tcase_add_test(tc, no_socket);
	tcase_add_test(tc, credentials_of_another);
	suite_add_tcase(suite, tc);
	return unit_run(suite);
}
