/* SPDX-License-Identifier: ISC */
/*
 * Connections of the control socket (daemon/control.h): lines in every split,
 * limits, descriptors where none belong, peers that do not read, and the end.
 */
#include "config.h"

#include <sys/socket.h>

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/conf.h"
#include "daemon/control.h"
#include "daemon/log.h"
#include "daemon/loop.h"
#include "daemon/worker.h"
#include "tests/unit/unit.h"

#define INFO	"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"daemon.info\"}\n"
#define SET(level)							\
	"{\"jsonrpc\":\"2.0\",\"method\":\"log.set\","			\
	"\"params\":{\"level\":\"" level "\"}}\n"

struct fixture {
	struct config	 config;
	struct log	*log;
	struct worker	*w;
	struct control	*c;
	int		 fd;		/* the admin's end */
	unsigned	 stops;
	char		 heard[16384];	/* and not yet looked at */
	size_t		 nheard;
};

static struct fixture fx;

static void
ops_info(void *arg, struct control_info *out)
{
	ck_assert_ptr_eq(arg, &fx);
	*out = (struct control_info){ .uptime_ms = 1234,
	    .config_file = "/etc/x.conf", .data_socket = "/run/d",
	    .control_socket = "/run/c" };
}

static void
ops_each_session(void *arg, void (*fn)(struct session *, void *), void *ctx)
{
	(void)arg;
	(void)fn;
	(void)ctx;
}

static void
ops_each_client(void *arg, void (*fn)(struct client *, void *), void *ctx)
{
	(void)arg;
	(void)fn;
	(void)ctx;
}

static void
ops_stop(void *arg)
{
	(void)arg;
	fx.stops++;
}

static const struct control_ops ops = { .info = ops_info,
	.each_session = ops_each_session, .each_client = ops_each_client,
	.stop = ops_stop };

/* Connect as `uid`; returns the admin's end. */
static int
connect_as(uid_t uid)
{
	struct peer peer = { .pid = 77, .uid = uid };
	int sv[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0,
	    sv), 0);
	control_peer_new(fx.c, sv[1], &peer);
	return sv[0];
}

static void
setup(void)
{
	memset(&fx, 0, sizeof(fx));
	fx.config.limits.client_stall_timeout = 200;
	fx.log = log_new(-1, LOG_LEVEL_INFO);
	fx.w = worker_new(fx.log, &fx.config);
	ck_assert_ptr_nonnull(fx.w);
	fx.c = control_new(fx.w, &ops, &fx);
	ck_assert_ptr_nonnull(fx.c);
	fx.fd = connect_as(geteuid());
}

static void
teardown(void)
{
	control_free(fx.c);
	ck_assert_uint_eq(worker_free(fx.w), 0);
	log_free(fx.log);
	if (fx.fd >= 0)
		close(fx.fd);
}

static void
turn(void)
{
	ck_assert_int_eq(loop_turn(fx.w->loop, 5000), 0);
}

static void
say(const char *text, size_t len)
{
	ck_assert_int_eq(send(fx.fd, text, len, MSG_NOSIGNAL), (ssize_t)len);
}

/* Read what there is; 0 at the end of the stream, -1 if nothing is there. */
static ssize_t
hear(char *buf, size_t size)
{
	ssize_t n = recv(fx.fd, buf, size - 1, MSG_DONTWAIT);

	if (n == -1 && errno == ECONNRESET)
		n = 0;
	buf[n > 0 ? n : 0] = '\0';
	return n;
}

/* Take the first line out of what was heard; false if none is whole. */
static bool
take_line(json_t **js)
{
	char *end = memchr(fx.heard, '\n', fx.nheard);
	size_t len;

	if (end == NULL)
		return false;
	len = (size_t)(end - fx.heard) + 1;
	*js = json_loadb(fx.heard, len, 0, NULL);
	ck_assert_ptr_nonnull(*js);
	fx.nheard -= len;
	memmove(fx.heard, end + 1, fx.nheard);
	return true;
}

/* Run turns until a whole answer is there; the caller frees it. */
static json_t *
answer(void)
{
	json_t *js;
	ssize_t n;

	while (!take_line(&js)) {
		n = recv(fx.fd, fx.heard + fx.nheard,
		    sizeof(fx.heard) - fx.nheard, MSG_DONTWAIT);
		ck_assert_int_ne(n, 0);
		if (n == -1) {
			ck_assert_int_eq(errno, EAGAIN);
			turn();
			continue;
		}
		fx.nheard += (size_t)n;
	}
	return js;
}

static void
expect_code(int code)
{
	json_t *js = answer();

	ck_assert_int_eq(json_integer_value(json_object_get(
	    json_object_get(js, "error"), "code")), code);
	json_decref(js);
}

static void
expect_info(int id)
{
	json_t *js = answer();

	ck_assert_int_eq(json_integer_value(json_object_get(js, "id")), id);
	ck_assert_int_eq(json_integer_value(json_object_get(json_object_get(js,
	    "result"), "uptime_ms")), 1234);
	json_decref(js);
}

/* Run turns until the daemon's end is closed. */
static void
expect_end(void)
{
	char buf[4096];
	ssize_t n;

	while ((n = hear(buf, sizeof(buf))) != 0) {
		if (n == -1)
			turn();
	}
	ck_assert_uint_eq(control_count(fx.c), 0);
}

START_TEST(one_byte_at_a_time)
{
	for (size_t i = 0; i < strlen(INFO); i++) {
		say(&INFO[i], 1);
		turn();
	}
	expect_info(1);
}
END_TEST

START_TEST(pipelined)
{
	char text[100 * sizeof(INFO)] = "";

	for (int i = 0; i < 100; i++)
		strlcat(text, INFO, sizeof(text));
	say(text, strlen(text));
	for (int i = 0; i < 100; i++)
		expect_info(1);
	ck_assert_uint_eq(control_count(fx.c), 1);
}
END_TEST

/* A batch when the lines arrive, and one in the job that goes on with them. */
START_TEST(a_turn_serves_a_batch)
{
	char text[4 * CONTROL_BATCH * sizeof(INFO)] = "";
	char buf[4 * CONTROL_BATCH * 1024];
	unsigned lines = 0;

	for (int i = 0; i < 4 * CONTROL_BATCH; i++)
		strlcat(text, INFO, sizeof(text));
	say(text, strlen(text));
	turn();
	ck_assert_int_gt(hear(buf, sizeof(buf)), 0);
	for (const char *p = buf; (p = strchr(p, '\n')) != NULL; p++)
		lines++;
	ck_assert_uint_gt(lines, 0);
	ck_assert_uint_le(lines, 2 * CONTROL_BATCH);
}
END_TEST

START_TEST(notification_is_done_and_not_answered)
{
	char buf[64];

	say(SET("debug"), strlen(SET("debug")));
	turn();
	ck_assert_int_eq(log_get_level(fx.log), LOG_LEVEL_DEBUG);
	ck_assert_int_eq(hear(buf, sizeof(buf)), -1);
}
END_TEST

START_TEST(blank_lines_are_nothing)
{
	say("\n \r\n\t\n" INFO, strlen("\n \r\n\t\n" INFO));
	expect_info(1);
}
END_TEST

START_TEST(errors_do_not_end_the_connection)
{
	static const char text[] = "garbage\n[]\n"
	    "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"daemon.inf\"}\n"
	    "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"session.show\","
	    "\"params\":{\"session\":\"none\"}}\n"
	    "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"log.set\","
	    "\"params\":{\"level\":\"loud\"}}\n" INFO;

	say(text, strlen(text));
	expect_code(-32700);
	expect_code(-32600);
	expect_code(-32601);
	expect_code(-32002);
	expect_code(-32602);
	expect_info(1);
}
END_TEST

/* A line of exactly the limit is served; one byte more is not. */
START_TEST(longest_line)
{
	static char text[CONTROL_LINE_MAX];

	memset(text, ' ', sizeof(text));
	memcpy(text, INFO, strlen(INFO) - 1);
	text[sizeof(text) - 1] = '\n';
	for (size_t i = 0; i < sizeof(text); i += 4096) {
		say(text + i, 4096);
		turn();
	}
	expect_info(1);
}
END_TEST

START_TEST(line_too_long)
{
	static char text[CONTROL_LINE_MAX];

	memset(text, ' ', sizeof(text));
	memcpy(text, INFO, strlen(INFO) - 1);
	for (size_t i = 0; i < sizeof(text); i += 4096) {
		say(text + i, 4096);
		turn();
	}
	expect_code(-32600);
	expect_end();
}
END_TEST

START_TEST(end_of_stream_after_requests)
{
	static const char text[] = INFO
	    "{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"daemon.info\"}";

	say(text, strlen(text));
	ck_assert_int_eq(shutdown(fx.fd, SHUT_WR), 0);
	expect_info(1);
	expect_info(2);
	expect_end();
}
END_TEST

START_TEST(half_a_request_is_not_done)
{
	static const char text[] = SET("debug");

	say(text, strlen(text) - 2);
	ck_assert_int_eq(shutdown(fx.fd, SHUT_WR), 0);
	expect_code(-32700);
	expect_end();
	ck_assert_int_eq(log_get_level(fx.log), LOG_LEVEL_INFO);
}
END_TEST

START_TEST(gone_in_the_middle)
{
	say(INFO INFO "{\"json", strlen(INFO INFO "{\"json"));
	close(fx.fd);
	fx.fd = -1;
	while (control_count(fx.c) > 0)
		turn();
}
END_TEST

/* Send `text` with a descriptor; returns the watch end of its pipe. */
static int
say_with_fd(const char *text)
{
	union {
		struct cmsghdr	align;
		char		room[CMSG_SPACE(sizeof(int))];
	} ancillary = { .room = { 0 } };
	char copy[512];
	struct iovec iov = { copy, strlcpy(copy, text, sizeof(copy)) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1,
	    .msg_control = &ancillary, .msg_controllen = sizeof(ancillary) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
	int fds[2];

	ck_assert_int_eq(pipe2(fds, O_NONBLOCK), 0);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &fds[1], sizeof(int));
	ck_assert_int_gt(sendmsg(fx.fd, &msg, MSG_NOSIGNAL), 0);
	close(fds[1]);
	return fds[0];
}

START_TEST(descriptor_ends_the_connection)
{
	int watch = say_with_fd(SET("debug"));
	char byte;

	expect_code(-32600);
	expect_end();
	/* The line with it was not served, and the descriptor is closed. */
	ck_assert_int_eq(log_get_level(fx.log), LOG_LEVEL_INFO);
	ck_assert_int_eq(read(watch, &byte, 1), 0);
	close(watch);
}
END_TEST

START_TEST(others_are_turned_away)
{
	uid_t other = geteuid() == 4242 ? 4243 : 4242;
	uint32_t before = control_count(fx.c);
	char buf[512];

	close(fx.fd);
	fx.fd = connect_as(other);
	ck_assert_uint_eq(control_count(fx.c), before);
	ck_assert_int_gt(hear(buf, sizeof(buf)), 0);
	ck_assert_ptr_nonnull(strstr(buf, "\"code\":-32000"));
	ck_assert_int_eq(hear(buf, sizeof(buf)), 0);
}
END_TEST

START_TEST(root_is_served)
{
	close(fx.fd);
	fx.fd = connect_as(0);
	say(INFO, strlen(INFO));
	expect_info(1);
}
END_TEST

START_TEST(connections_are_bounded)
{
	int fds[CONTROL_PEERS_MAX];
	char buf[512];

	for (unsigned i = 1; i < CONTROL_PEERS_MAX; i++)
		fds[i] = connect_as(0);
	ck_assert_uint_eq(control_count(fx.c), CONTROL_PEERS_MAX);
	fds[0] = fx.fd;
	fx.fd = connect_as(0);
	ck_assert_uint_eq(control_count(fx.c), CONTROL_PEERS_MAX);
	ck_assert_int_gt(hear(buf, sizeof(buf)), 0);
	ck_assert_ptr_nonnull(strstr(buf, "\"code\":-32001"));
	for (unsigned i = 0; i < CONTROL_PEERS_MAX; i++)
		close(fds[i]);
	while (control_count(fx.c) > 0)
		turn();
}
END_TEST

/* Ask until the daemon reads no more, or hangs up; returns how many requests
 * it took. */
static size_t
ask_without_reading(void)
{
	size_t sent = 0, idle = 0;

	while (idle < 20) {
		ssize_t n = send(fx.fd, &INFO[sent % strlen(INFO)],
		    strlen(INFO) - sent % strlen(INFO), MSG_NOSIGNAL);

		if (n > 0) {
			sent += (size_t)n;
			idle = 0;
			/* Far beyond every buffer on the way. */
			ck_assert_uint_lt(sent, 64u * CONTROL_OUTPUT_MAX);
			continue;
		}
		if (errno == EPIPE)
			break;
		ck_assert_int_eq(errno, EAGAIN);
		idle++;
		ck_assert_int_eq(loop_turn(fx.w->loop, 0), 0);
	}
	return sent / strlen(INFO);
}

START_TEST(not_reading_stops_being_read)
{
	size_t n;

	fx.config.limits.client_stall_timeout = 60000;
	n = ask_without_reading();
	ck_assert_uint_gt(n, CONTROL_BATCH);
	/* All that was asked is answered as soon as it reads again. */
	while (n-- > 0)
		expect_info(1);
	ck_assert_uint_eq(control_count(fx.c), 1);
}
END_TEST

START_TEST(not_reading_for_long_is_dropped)
{
	ask_without_reading();
	while (control_count(fx.c) > 0)
		turn();
}
END_TEST

START_TEST(stop_is_answered)
{
	static const char text[] =
	    "{\"jsonrpc\":\"2.0\",\"id\":9,\"method\":\"daemon.stop\"}\n";
	json_t *js;

	say(text, strlen(text));
	js = answer();
	ck_assert(json_is_true(json_object_get(json_object_get(js, "result"),
	    "stopping")));
	json_decref(js);
	ck_assert_uint_eq(fx.stops, 1);
}
END_TEST

START_TEST(every_method_refuses_strange_parameters)
{
	static const char *const names[] = { "client.list", "daemon.info",
	    "daemon.stop", "log.set", "session.list", "session.show",
	    "stats.get" };
	char text[256];

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		snprintf(text, sizeof(text), "{\"jsonrpc\":\"2.0\",\"id\":1,"
		    "\"method\":\"%s\",\"params\":{\"bogus\":1}}\n", names[i]);
		say(text, strlen(text));
		expect_code(-32602);
	}
	ck_assert_uint_eq(fx.stops, 0);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("control");
	TCase *tc = tcase_create("control");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, one_byte_at_a_time);
	tcase_add_test(tc, pipelined);
	tcase_add_test(tc, a_turn_serves_a_batch);
	tcase_add_test(tc, notification_is_done_and_not_answered);
	tcase_add_test(tc, blank_lines_are_nothing);
	tcase_add_test(tc, errors_do_not_end_the_connection);
	tcase_add_test(tc, longest_line);
	tcase_add_test(tc, line_too_long);
	tcase_add_test(tc, end_of_stream_after_requests);
	tcase_add_test(tc, half_a_request_is_not_done);
	tcase_add_test(tc, gone_in_the_middle);
	tcase_add_test(tc, descriptor_ends_the_connection);
	tcase_add_test(tc, others_are_turned_away);
	tcase_add_test(tc, root_is_served);
	tcase_add_test(tc, connections_are_bounded);
	tcase_add_test(tc, not_reading_stops_being_read);
	tcase_add_test(tc, not_reading_for_long_is_dropped);
	tcase_add_test(tc, stop_is_answered);
	tcase_add_test(tc, every_method_refuses_strange_parameters);
	suite_add_tcase(suite, tc);
	return unit_run(suite);
}
