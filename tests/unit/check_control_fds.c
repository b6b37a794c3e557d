/* SPDX-License-Identifier: ISC */
/*
 * Descriptors that come over the control socket (daemon/control_fds.h): each
 * belongs to one request, and none is kept that nobody takes; and the traces
 * that are begun with them.
 */
#include "config.h"

#include <fcntl.h>

#include "tests/unit/control_fixture.h"

/* Send `text` with `n` descriptors, which stay the caller's. */
static void
say_with(const char *text, const int *fds, unsigned n)
{
	union {
		struct cmsghdr	align;
		char		room[CMSG_SPACE(32 * sizeof(int))];
	} ancillary = { .room = { 0 } };
	char copy[512];
	struct iovec iov = { copy, strlcpy(copy, text, sizeof(copy)) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1,
	    .msg_control = &ancillary,
	    .msg_controllen = CMSG_SPACE(n * sizeof(int)) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(n * sizeof(int));
	memcpy(CMSG_DATA(c), fds, n * sizeof(int));
	ck_assert_int_gt(sendmsg(fx.fd, &msg, MSG_NOSIGNAL), 0);
}

/* Send `text` with `n` copies of the end of a pipe; returns the end that
 * shows when all of them are closed. */
static int
say_with_pipe(const char *text, unsigned n)
{
	int fds[2], copies[32];

	ck_assert_int_eq(pipe2(fds, O_NONBLOCK), 0);
	for (unsigned i = 0; i < n; i++)
		copies[i] = fds[1];
	say_with(text, copies, n);
	close(fds[1]);
	return fds[0];
}

static void
expect_closed(int watch)
{
	char byte;

	ck_assert_int_eq(read(watch, &byte, 1), 0);
	close(watch);
}

/* The request that it came with is refused; others are not. */
START_TEST(descriptor_where_none_belongs)
{
	int watch;

	say(INFO, strlen(INFO));
	watch = say_with_pipe("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":"
	    "\"log.set\",\"params\":{\"level\":\"debug\"}}\n", 1);
	say(INFO, strlen(INFO));
	expect_info(1);
	expect_code(-32600);
	expect_info(1);
	ck_assert_int_eq(log_get_level(fx.log), LOG_LEVEL_INFO);
	expect_closed(watch);
}
END_TEST

START_TEST(descriptor_of_a_notification)
{
	int watch = say_with_pipe(SET("debug"), 1);

	say(INFO, strlen(INFO));
	expect_info(1);
	ck_assert_int_eq(log_get_level(fx.log), LOG_LEVEL_INFO);
	expect_closed(watch);
}
END_TEST

START_TEST(descriptor_of_a_blank_line)
{
	int watch = say_with_pipe(" \n", 1);

	expect_code(-32700);
	expect_closed(watch);
	ck_assert_uint_eq(control_count(fx.c), 1);
}
END_TEST

START_TEST(too_many_descriptors)
{
	int watch = say_with_pipe(INFO, 17);

	expect_code(-32600);
	expect_end();
	expect_closed(watch);
}
END_TEST

/* They are closed with the connection that they wait on. */
START_TEST(descriptor_of_half_a_line)
{
	int watch = say_with_pipe("{\"json", 16);

	turn();
	close(fx.fd);
	fx.fd = -1;
	while (control_count(fx.c) > 0)
		turn();
	expect_closed(watch);
}
END_TEST

#define START(params)							\
	"{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":\"trace.start\","		\
	"\"params\":{" params "}}\n"

/* Begin a trace; returns its reader's end. */
static int
begin_trace(void)
{
	json_t *js;
	int sv[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), 0);
	say_with(START(), &sv[1], 1);
	close(sv[1]);
	js = answer();
	ck_assert_ptr_nonnull(json_object_get(js, "result"));
	json_decref(js);
	return sv[0];
}

/* Of lines that are read at once each has its own. */
START_TEST(descriptors_find_their_lines)
{
	char text[4];
	int sv[2][2];
	json_t *js;

	for (int i = 0; i < 2; i++) {
		ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, sv[i]),
		    0);
		say(INFO, strlen(INFO));
		say_with(START("\"headers\":true"), &sv[i][1], 1);
		say(INFO, strlen(INFO));
		close(sv[i][1]);
	}
	for (int i = 0; i < 2; i++) {
		expect_info(1);
		js = answer();
		ck_assert_int_eq(json_integer_value(json_object_get(
		    json_object_get(js, "result"), "id")), i + 1);
		json_decref(js);
		expect_info(1);
		turn();
		ck_assert_int_eq(recv(sv[i][0], text, 4, MSG_DONTWAIT), 4);
		ck_assert_mem_eq(text, "\x0a\x0d\x0d\x0a", 4);
		close(sv[i][0]);
	}
}
END_TEST

/* The first byte brings it, the rest of the line comes later. */
START_TEST(descriptor_with_the_first_byte)
{
	static const char text[] = START();
	json_t *js;
	int sv[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), 0);
	say_with("{", &sv[1], 1);
	close(sv[1]);
	for (size_t i = 1; i < strlen(text); i++) {
		turn();
		say(text + i, 1);
	}
	js = answer();
	ck_assert_ptr_nonnull(json_object_get(js, "result"));
	json_decref(js);
	close(sv[0]);
}
END_TEST

START_TEST(trace_needs_a_socket)
{
	int null = open("/dev/null", O_WRONLY), sv[2], watch;

	say(START(), strlen(START()));
	expect_code(-32600);
	say_with(START(), &null, 1);
	expect_code(-32600);
	close(null);
	watch = say_with_pipe(START(), 1);
	expect_code(-32600);
	expect_closed(watch);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), 0);
	say_with(START(), sv, 2);
	expect_code(-32600);
	say_with(START("\"session\":\"none\""), sv, 1);
	expect_code(-32002);
	say_with(START("\"headers\":1"), sv, 1);
	expect_code(-32602);
	close(sv[0]);
	/* None of them is held. */
	ck_assert_int_eq(recv(sv[1], &null, 1, MSG_DONTWAIT), 0);
	close(sv[1]);
}
END_TEST

/* What counts is the stream, not the connection that began it. */
START_TEST(trace_outlives_its_connection)
{
	static const char stop[] = "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":"
	    "\"trace.stop\",\"params\":{\"id\":1}}\n";
	static const char list[] = "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":"
	    "\"trace.list\"}\n";
	int reader = begin_trace();
	json_t *js, *each;
	char buf[512];

	close(fx.fd);
	while (control_count(fx.c) > 0)
		turn();
	fx.fd = connect_as(geteuid());
	say(list, strlen(list));
	js = answer();
	each = json_array_get(json_object_get(json_object_get(js, "result"),
	    "traces"), 0);
	ck_assert_int_eq(json_integer_value(json_object_get(each, "id")), 1);
	ck_assert(json_is_null(json_object_get(each, "session")));
	ck_assert(json_is_false(json_object_get(each, "stopped")));
	json_decref(js);
	say(stop, strlen(stop));
	js = answer();
	ck_assert_int_eq(json_integer_value(json_object_get(json_object_get(
	    js, "result"), "packets")), 0);
	json_decref(js);
	turn();
	ck_assert_int_gt(recv(reader, buf, sizeof(buf), 0), 0);
	ck_assert_int_eq(recv(reader, buf, sizeof(buf), 0), 0);
	close(reader);
	say(stop, strlen(stop));
	expect_code(-32602);
}
END_TEST

START_TEST(traces_are_bounded)
{
	int readers[16], sv[2];

	for (int i = 0; i < 16; i++)
		readers[i] = begin_trace();
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), 0);
	say_with(START(), &sv[1], 1);
	expect_code(-32001);
	close(sv[0]);
	close(sv[1]);
	for (int i = 0; i < 16; i++)
		close(readers[i]);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("control_fds");
	TCase *tc = tcase_create("control_fds");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, descriptor_where_none_belongs);
	tcase_add_test(tc, descriptor_of_a_notification);
	tcase_add_test(tc, descriptor_of_a_blank_line);
	tcase_add_test(tc, too_many_descriptors);
	tcase_add_test(tc, descriptor_of_half_a_line);
	tcase_add_test(tc, descriptors_find_their_lines);
	tcase_add_test(tc, descriptor_with_the_first_byte);
	tcase_add_test(tc, trace_needs_a_socket);
	tcase_add_test(tc, trace_outlives_its_connection);
	tcase_add_test(tc, traces_are_bounded);
	suite_add_tcase(suite, tc);
	return unit_run(suite);
}
