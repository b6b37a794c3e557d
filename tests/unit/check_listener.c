/* SPDX-License-Identifier: ISC */
/*
 * Listening sockets (daemon/listener.h): what may stand in the way of one,
 * what it looks like once it is there, and accepting while descriptors are
 * short.
 */
#include "config.h"

#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "daemon/conf.h"
#include "daemon/listener.h"
#include "daemon/log.h"
#include "daemon/loop.h"
#include "daemon/worker.h"
#include "tests/unit/unit.h"

#define CLIENTS	40

struct fixture {
	char			 dir[64];
	char			 path[80];
	char			 why[LISTENER_WHY_MAX];
	struct listener_where	 where;
	struct config		 config;
	struct log		*log;
	struct worker		*w;
	struct listener		*l;
	int			 accepted[CLIENTS];
	unsigned		 naccepted;
	unsigned		 complaints;
};

static struct fixture fx;

static void
count_complaints(void *arg, enum log_level level, const char *line)
{
	(void)arg;
	if (level == LOG_LEVEL_WARNING && strstr(line, "cannot accept"))
		fx.complaints++;
}

static void
setup(void)
{
	memset(&fx, 0, sizeof(fx));
	strlcpy(fx.dir, "/tmp/check_listener.XXXXXX", sizeof(fx.dir));
	ck_assert_ptr_nonnull(mkdtemp(fx.dir));
	snprintf(fx.path, sizeof(fx.path), "%s/sock", fx.dir);
	fx.where = (struct listener_where){ fx.path, 0640, (uid_t)-1,
	    (gid_t)-1 };
	fx.log = log_new(-1, LOG_LEVEL_DEBUG);
	log_set_hook(fx.log, count_complaints, NULL);
	fx.w = worker_new(fx.log, &fx.config);
	ck_assert_ptr_nonnull(fx.w);
}

static void
teardown(void)
{
	listener_free(fx.l);
	for (unsigned i = 0; i < fx.naccepted; i++)
		close(fx.accepted[i]);
	ck_assert_uint_eq(worker_free(fx.w), 0);
	log_free(fx.log);
	/* Only empty if nothing was left behind. */
	ck_assert_msg(rmdir(fx.dir) == 0, "%s: %s", fx.dir, strerror(errno));
}

static int
try_open(struct listener_socket **s)
{
	return listener_open(&fx.where, s, fx.why, sizeof(fx.why));
}

static struct listener_socket *
must_open(void)
{
	struct listener_socket *s;
	int rc = try_open(&s);

	ck_assert_msg(rc == 0, "%d: %s", rc, fx.why);
	return s;
}

static int
connect_to(const char *path)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);

	strlcpy(sun.sun_path, path, sizeof(sun.sun_path));
	if (connect(fd, (struct sockaddr *)&sun, sizeof(sun)) == -1) {
		close(fd);
		return -1;
	}
	return fd;
}

START_TEST(mode_whatever_the_umask)
{
	struct listener_socket *s;
	struct stat st;
	mode_t mask = umask(0777);

	s = must_open();
	ck_assert_uint_eq(umask(mask), 0777);
	ck_assert_int_eq(lstat(fx.path, &st), 0);
	ck_assert(S_ISSOCK(st.st_mode));
	ck_assert_uint_eq(st.st_mode & 07777, 0640);
	ck_assert_str_eq(listener_socket_path(s), fx.path);
	listener_socket_free(s);
	ck_assert_int_eq(lstat(fx.path, &st), -1);
}
END_TEST

START_TEST(owner_and_group)
{
	struct listener_socket *s;
	struct stat st;

	if (geteuid() != 0)
		return;
	fx.where.uid = 4001;
	fx.where.gid = 4002;
	s = must_open();
	ck_assert_int_eq(lstat(fx.path, &st), 0);
	ck_assert_uint_eq(st.st_uid, 4001);
	ck_assert_uint_eq(st.st_gid, 4002);
	listener_socket_free(s);
}
END_TEST

START_TEST(directory_is_made)
{
	char dir[80], path[96];
	struct listener_socket *s;
	struct stat st;
	mode_t mask = umask(077);

	snprintf(dir, sizeof(dir), "%s/run", fx.dir);
	snprintf(path, sizeof(path), "%s/sock", dir);
	fx.where.path = path;
	s = must_open();
	umask(mask);
	ck_assert_int_eq(stat(dir, &st), 0);
	ck_assert_uint_eq(st.st_mode & 07777, 0755);
	listener_socket_free(s);
	ck_assert_int_eq(rmdir(dir), 0);
}
END_TEST

START_TEST(only_one_directory_is_made)
{
	struct listener_socket *s;
	char path[96];

	snprintf(path, sizeof(path), "%s/a/b/sock", fx.dir);
	fx.where.path = path;
	ck_assert_int_eq(try_open(&s), -ENOENT);
	ck_assert_ptr_null(s);
	ck_assert_ptr_nonnull(strstr(fx.why, "/a/b"));
}
END_TEST

START_TEST(second_is_refused)
{
	struct listener_socket *s = must_open(), *other;
	char wanted[256];
	int fd;

	ck_assert_int_eq(try_open(&other), LISTENER_E_IN_USE);
	snprintf(wanted, sizeof(wanted),
	    "another iscsimuxd is already listening on %s", fx.path);
	ck_assert_str_eq(fx.why, wanted);
	fd = connect_to(fx.path);
	ck_assert_int_ge(fd, 0);
	close(fd);
	listener_socket_free(s);
	listener_socket_free(must_open());
}
END_TEST

/* A live socket of somebody who knows nothing of our lock. */
START_TEST(foreign_listener_is_left_alone)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0), waiting[8];
	struct listener_socket *s;
	size_t n = 0;

	strlcpy(sun.sun_path, fx.path, sizeof(sun.sun_path));
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&sun, sizeof(sun)), 0);
	ck_assert_int_eq(listen(fd, 1), 0);
	ck_assert_int_eq(try_open(&s), LISTENER_E_IN_USE);
	ck_assert_int_eq(access(fx.path, F_OK), 0);
	/* One that is too busy to accept is alive, too. */
	while (n < 8 && (waiting[n] = connect_to(fx.path)) != -1)
		n++;
	ck_assert_int_eq(errno, EAGAIN);
	ck_assert_int_eq(try_open(&s), LISTENER_E_IN_USE);
	ck_assert_int_eq(access(fx.path, F_OK), 0);
	while (n > 0)
		close(waiting[--n]);
	close(fd);
	/* Nobody listens any more: now it is stale. */
	s = must_open();
	listener_socket_free(s);
}
END_TEST

START_TEST(other_files_are_left_alone)
{
	struct listener_socket *s;
	int fd = open(fx.path, O_CREAT | O_WRONLY, 0600);

	close(fd);
	ck_assert_int_eq(try_open(&s), -EEXIST);
	ck_assert_ptr_nonnull(strstr(fx.why, "is no socket"));
	ck_assert_int_eq(unlink(fx.path), 0);
	ck_assert_int_eq(symlink("nowhere", fx.path), 0);
	ck_assert_int_eq(try_open(&s), -EEXIST);
	ck_assert_int_eq(unlink(fx.path), 0);
}
END_TEST

START_TEST(long_path)
{
	char path[sizeof(((struct sockaddr_un *)0)->sun_path) + 1];
	struct listener_socket *s;

	memset(path, 'x', sizeof(path) - 1);
	path[sizeof(path) - 1] = '\0';
	fx.where.path = path;
	ck_assert_int_eq(try_open(&s), -ENAMETOOLONG);
	ck_assert_ptr_nonnull(strstr(fx.why, "107 bytes"));
}
END_TEST

START_TEST(successor_keeps_its_file)
{
	struct listener_socket *s = must_open();
	int fd;

	/* Somebody replaced the file; it is not ours to remove. */
	ck_assert_int_eq(unlink(fx.path), 0);
	fd = open(fx.path, O_CREAT | O_EXCL | O_WRONLY, 0600);
	ck_assert_int_ge(fd, 0);
	close(fd);
	listener_socket_free(s);
	ck_assert_int_eq(unlink(fx.path), 0);
}
END_TEST

static void
on_accept(void *arg, int fd, struct peer *peer)
{
	ck_assert_ptr_eq(arg, &fx);
	ck_assert_int_eq(peer->pid, getpid());
	ck_assert_int_eq(fcntl(fd, F_GETFL) & O_NONBLOCK, O_NONBLOCK);
	ck_assert_int_eq(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	ck_assert_uint_lt(fx.naccepted, CLIENTS);
	fx.accepted[fx.naccepted++] = fd;
	peer_free(peer);
}

static void
start(void)
{
	fx.l = listener_new(fx.w, must_open(), on_accept, &fx);
	ck_assert_ptr_nonnull(fx.l);
}

/* Run turns until `n` connections were accepted. */
static void
until_accepted(unsigned n)
{
	while (fx.naccepted < n)
		ck_assert_int_eq(loop_turn(fx.w->loop, 5000), 0);
}

START_TEST(accepts_in_batches)
{
	int fds[CLIENTS];

	start();
	for (int i = 0; i < CLIENTS; i++) {
		fds[i] = connect_to(fx.path);
		ck_assert_int_ge(fds[i], 0);
	}
	ck_assert_int_eq(loop_turn(fx.w->loop, 5000), 0);
	ck_assert_uint_eq(fx.naccepted, LISTENER_BATCH);
	until_accepted(CLIENTS);
	for (int i = 0; i < CLIENTS; i++)
		close(fds[i]);
}
END_TEST

/*
 * Leave no descriptor but those in use.  False under valgrind, which plays at
 * the limit: it accepts the connection, closes it, and then says EMFILE.
 */
static bool
exhaust_descriptors(struct rlimit *old)
{
	const char *preload = getenv("LD_PRELOAD");
	struct rlimit now;
	int top;

	if (preload != NULL && strstr(preload, "vgpreload") != NULL)
		return false;
	top = open("/dev/null", O_RDONLY);
	ck_assert_int_ge(top, 0);
	close(top);
	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, old), 0);
	now = *old;
	now.rlim_cur = (rlim_t)top;
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &now), 0);
	return true;
}

START_TEST(pauses_without_descriptors)
{
	struct rlimit old;
	int fd;

	start();
	fd = connect_to(fx.path);
	ck_assert_int_ge(fd, 0);
	if (!exhaust_descriptors(&old)) {
		close(fd);
		return;
	}
	while (!listener_paused(fx.l))
		ck_assert_int_eq(loop_turn(fx.w->loop, 5000), 0);
	ck_assert_uint_eq(fx.naccepted, 0);
	/* Once more without success: no second line in the log. */
	listener_resume(fx.l);
	ck_assert(!listener_paused(fx.l));
	while (!listener_paused(fx.l))
		ck_assert_int_eq(loop_turn(fx.w->loop, 5000), 0);
	ck_assert_uint_eq(fx.complaints, 1);
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &old), 0);
	/* Nobody resumes it: the timer does. */
	until_accepted(1);
	ck_assert(!listener_paused(fx.l));
	close(fd);
}
END_TEST

START_TEST(resumed_by_a_client_that_leaves)
{
	struct rlimit old;
	int fd;

	start();
	fd = connect_to(fx.path);
	if (!exhaust_descriptors(&old)) {
		close(fd);
		return;
	}
	while (!listener_paused(fx.l))
		ck_assert_int_eq(loop_turn(fx.w->loop, 5000), 0);
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &old), 0);
	listener_resume(fx.l);
	ck_assert_int_eq(loop_turn(fx.w->loop, 0), 0);
	ck_assert_uint_eq(fx.naccepted, 1);
	close(fd);
}
END_TEST

START_TEST(nothing_is_inherited)
{
	struct listener_inherited in;

	unsetenv("LISTEN_FDS");
	ck_assert_int_eq(listener_inherit(&in, fx.why, sizeof(fx.why)), 0);
	ck_assert_ptr_null(in.data);
	ck_assert_ptr_null(in.control);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("listener");
	TCase *tc = tcase_create("listener");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 30);
	tcase_add_test(tc, mode_whatever_the_umask);
	tcase_add_test(tc, owner_and_group);
	tcase_add_test(tc, directory_is_made);
	tcase_add_test(tc, only_one_directory_is_made);
	tcase_add_test(tc, second_is_refused);
	tcase_add_test(tc, foreign_listener_is_left_alone);
	tcase_add_test(tc, other_files_are_left_alone);
	tcase_add_test(tc, long_path);
	tcase_add_test(tc, successor_keeps_its_file);
	tcase_add_test(tc, accepts_in_batches);
	tcase_add_test(tc, pauses_without_descriptors);
	tcase_add_test(tc, resumed_by_a_client_that_leaves);
	tcase_add_test(tc, nothing_is_inherited);
	suite_add_tcase(suite, tc);
	return unit_run(suite);
}
