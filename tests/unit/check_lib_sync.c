/* SPDX-License-Identifier: ISC */
/*
 * libiscsimux: connecting by path and the blocking forms, against a thread
 * that plays the daemon on a listening socket.
 */
#include "config.h"

#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tests/unit/fakedaemon.h"
#include "tests/unit/unit.h"

#define WAIT_MS 10000	/* never reached unless something is wrong */

enum mood {
	FRIENDLY,		/* answers all */
	MUTE,			/* accepts and reads, says nothing */
	MUTE_TO_SUBMIT,
	LEAVES_AT_SUBMIT,
	REFUSES_ATTACH
};

static char path[64];
static int listener;
static enum mood mood;
static pthread_t thread;
static struct iscsimux *h;
static const uint8_t cdb[16];

static void
put_frame(int fd, uint16_t type, uint64_t cookie, const uint8_t *bhs,
    const void *data, int len)
{
	uint8_t buf[1024];
	size_t n;

	if (len < 0)
		return;
	n = fake_encode(buf, type, 0, cookie, bhs, data, (size_t)len);
	(void)!send(fd, buf, n, MSG_NOSIGNAL);
}

static void
answer_submit(int fd, const struct frame_header *fr, const uint8_t *request)
{
	static const uint8_t sense[20] = { 0, 18, 0x70, 0, 6 };
	uint8_t bhs[ISCSI_BHS_LEN];

	fake_response(bhs, request, 2);
	iscsi_set_dsl(bhs, sizeof(sense));
	put_frame(fd, FRAME_PDU, fr->cookie, bhs, sense, sizeof(sense));
}

/* False to hang up. */
static bool
play(int fd, const struct frame_header *fr, const uint8_t *payload)
{
	const struct msg_welcome w = { .version = 1, .data_max = 65536,
	    .daemon = "thread" };
	const struct msg_attached a = { .tasks_max = 10, .inbound_max = 1 << 20,
	    .outbound_max = 1 << 20 };
	const struct msg_error e = { .reason = MSG_R_NOT_PERMITTED,
	    .frame_type = FRAME_ATTACH, .text = "not you" };
	uint8_t buf[512];

	if (mood == MUTE)
		return true;
	if (fr->type == FRAME_HELLO)
		put_frame(fd, FRAME_WELCOME, fr->cookie, NULL, buf,
		    msg_welcome_encode(&w, buf, sizeof(buf)));
	else if (fr->type == FRAME_ATTACH && mood == REFUSES_ATTACH)
		put_frame(fd, FRAME_ERROR, fr->cookie, NULL, buf,
		    msg_error_encode(&e, buf, sizeof(buf)));
	else if (fr->type == FRAME_ATTACH)
		put_frame(fd, FRAME_ATTACHED, fr->cookie, NULL, buf,
		    msg_attached_encode(&a, buf, sizeof(buf)));
	else if (fr->type == FRAME_PING)
		put_frame(fd, FRAME_PONG, fr->cookie, NULL, NULL, 0);
	else if (fr->type == FRAME_SUBMIT && mood == LEAVES_AT_SUBMIT)
		return false;
	else if (fr->type == FRAME_SUBMIT && mood == FRIENDLY)
		answer_submit(fd, fr, payload);
	return true;
}

static void *
daemon_thread(void *arg)
{
	uint8_t wire[FRAME_HEADER_LEN], payload[4096];
	struct frame_header fr;
	sigset_t all;
	int fd;

	/* Signals of the test are for the thread that waits. */
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, NULL);
	fd = accept(listener, NULL, NULL);
	while (fd != -1 &&
	    recv(fd, wire, sizeof(wire), MSG_WAITALL) == sizeof(wire)) {
		frame_header_get(wire, &fr);
		if (fr.len > sizeof(payload) || (fr.len > 0 &&
		    recv(fd, payload, fr.len, MSG_WAITALL) != (ssize_t)fr.len))
			break;
		if (!play(fd, &fr, payload))
			break;
	}
	close(fd);
	return arg;
}

static void
setup(void)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };

	snprintf(path, sizeof(path), "/tmp/check_lib_sync.%d", getpid());
	unlink(path);
	strlcpy(sun.sun_path, path, sizeof(sun.sun_path));
	listener = socket(AF_UNIX, SOCK_STREAM, 0);
	ck_assert_int_ne(listener, -1);
	ck_assert_int_eq(bind(listener, (struct sockaddr *)&sun, sizeof(sun)),
	    0);
	ck_assert_int_eq(listen(listener, 0), 0);
	h = iscsimux_new(NULL, NULL);
	ck_assert_ptr_nonnull(h);
}

static void
start(enum mood m)
{
	mood = m;
	ck_assert_int_eq(pthread_create(&thread, NULL, daemon_thread, NULL),
	    0);
}

static void
teardown(void)
{
	iscsimux_free(h);
	if (thread != 0)
		pthread_join(thread, NULL);
	thread = 0;
	close(listener);
	unlink(path);
}

static void
connect_and_attach(enum mood m)
{
	const struct iscsimux_attach o = { .session = "x" };

	start(m);
	ck_assert_int_eq(iscsimux_connect_sync(h, path, WAIT_MS), 0);
	ck_assert_str_eq(iscsimux_daemon(h), "thread");
	ck_assert_int_eq(iscsimux_attach_sync(h, &o, WAIT_MS), 0);
	ck_assert_ptr_nonnull(iscsimux_session(h));
}

START_TEST(test_execute)
{
	const struct iscsimux_scsi s = { .cdb = cdb, .cdb_len = 6 };
	struct iscsimux_result r;

	connect_and_attach(FRIENDLY);
	ck_assert_int_eq(iscsimux_execute_sync(h, &s, WAIT_MS, &r), 0);
	ck_assert_int_eq(r.outcome, ISCSIMUX_COMPLETED);
	ck_assert_uint_eq(r.status, 2);
	ck_assert_uint_eq(r.sense_len, 18);
	ck_assert_uint_eq(r.sense[0], 0x70);
	ck_assert_uint_eq(r.sense[2], 6);
	ck_assert_str_eq(r.text, "");
	ck_assert_int_eq(iscsimux_execute_sync(h, &s, -1, &r), 0);
}
END_TEST

START_TEST(test_environment)
{
	ck_assert_int_eq(setenv("ISCSIMUX_SOCKET", path, 1), 0);
	ck_assert_str_eq(iscsimux_default_path(), path);
	start(FRIENDLY);
	ck_assert_int_eq(iscsimux_connect_sync(h, NULL, WAIT_MS), 0);
	ck_assert_int_eq(iscsimux_connect(h, NULL), -EISCONN);
	ck_assert_int_eq(unsetenv("ISCSIMUX_SOCKET"), 0);
	ck_assert_str_ne(iscsimux_default_path(), path);
}
END_TEST

START_TEST(test_nobody_there)
{
	char longpath[200];

	memset(longpath, 'a', sizeof(longpath) - 1);
	longpath[sizeof(longpath) - 1] = '\0';
	ck_assert_int_eq(iscsimux_connect(h, longpath), -ENAMETOOLONG);
	ck_assert_int_eq(iscsimux_connect_sync(h, "/nonexistent/x", WAIT_MS),
	    -ENOENT);
	ck_assert_ptr_nonnull(strstr(iscsimux_error_text(h),
	    "/nonexistent/x"));
	close(listener);
	listener = -1;
	ck_assert_int_eq(iscsimux_connect_sync(h, path, WAIT_MS),
	    -ECONNREFUSED);
}
END_TEST

START_TEST(test_no_welcome)
{
	start(MUTE);
	ck_assert_int_eq(iscsimux_connect_sync(h, path, 50), -ETIMEDOUT);
	ck_assert_int_eq(iscsimux_fd(h), -1);
	ck_assert_uint_gt(strlen(iscsimux_error_text(h)), 0);
}
END_TEST

/* Nobody accepts: with a full backlog there is nothing to poll for. */
START_TEST(test_full_backlog)
{
	struct iscsimux *many[8];
	int i, r = 0;

	for (i = 0; i < 8; i++) {
		many[i] = iscsimux_new(NULL, NULL);
		ck_assert_ptr_nonnull(many[i]);
		r = iscsimux_connect(many[i], path);
	}
	ck_assert_int_eq(r, -EAGAIN);
	ck_assert_int_eq(iscsimux_connect_sync(h, path, 50), -ETIMEDOUT);
	for (i = 0; i < 8; i++)
		iscsimux_free(many[i]);
}
END_TEST

START_TEST(test_attach_refused)
{
	const struct iscsimux_attach o = { .session = "x" };

	start(REFUSES_ATTACH);
	ck_assert_int_eq(iscsimux_connect_sync(h, path, WAIT_MS), 0);
	ck_assert_int_eq(iscsimux_attach_sync(h, &o, WAIT_MS), -EACCES);
	ck_assert_str_eq(iscsimux_error_text(h), "not you");
}
END_TEST

/* The time is over: the buffer is the caller's again, so is the result. */
START_TEST(test_execute_timeout)
{
	const struct iscsimux_scsi s = { .cdb = cdb, .cdb_len = 6 };
	struct iscsimux_result r = { .outcome = ISCSIMUX_COMPLETED };

	connect_and_attach(MUTE_TO_SUBMIT);
	ck_assert_int_eq(iscsimux_execute_sync(h, &s, 50, &r), -ETIMEDOUT);
	ck_assert_int_eq(r.outcome, ISCSIMUX_UNKNOWN);
	ck_assert_int_eq(iscsimux_fd(h), -1);
}
END_TEST

START_TEST(test_execute_death)
{
	const struct iscsimux_scsi s = { .cdb = cdb, .cdb_len = 6 };
	struct iscsimux_result r = { .outcome = ISCSIMUX_COMPLETED };

	connect_and_attach(LEAVES_AT_SUBMIT);
	ck_assert_int_eq(iscsimux_execute_sync(h, &s, WAIT_MS, &r), 0);
	ck_assert_int_eq(r.outcome, ISCSIMUX_UNKNOWN);
	ck_assert_int_eq(iscsimux_execute_sync(h, &s, WAIT_MS, &r), -ENOTCONN);
}
END_TEST

static void
on_alarm(int sig)
{
	(void)sig;
}

START_TEST(test_wait)
{
	const struct itimerval soon = { .it_value = { 0, 20000 } };
	const struct sigaction sa = { .sa_handler = on_alarm };
	struct fake_end e = { 0 };

	ck_assert_int_eq(iscsimux_wait(h, 0), -ENOTCONN);
	connect_and_attach(FRIENDLY);
	ck_assert_int_eq(iscsimux_wait(h, 0), 0);
	ck_assert_int_eq(iscsimux_wait(h, 20), 0);
	ck_assert_int_eq(iscsimux_ping(h, fake_done, &e), 0);
	ck_assert_int_eq(iscsimux_wait(h, WAIT_MS), 1);
	ck_assert_uint_eq(e.count, 1);
	ck_assert_int_eq(sigaction(SIGALRM, &sa, NULL), 0);
	ck_assert_int_eq(setitimer(ITIMER_REAL, &soon, NULL), 0);
	ck_assert_int_eq(iscsimux_wait(h, WAIT_MS), -EINTR);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("lib_sync");
	TCase *tc = tcase_create("sync");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, test_execute);
	tcase_add_test(tc, test_environment);
	tcase_add_test(tc, test_nobody_there);
	tcase_add_test(tc, test_no_welcome);
	tcase_add_test(tc, test_full_backlog);
	tcase_add_test(tc, test_attach_refused);
	tcase_add_test(tc, test_execute_timeout);
	tcase_add_test(tc, test_execute_death);
	tcase_add_test(tc, test_wait);
	suite_add_tcase(s, tc);
	return unit_run(s);
}
