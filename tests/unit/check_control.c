/* SPDX-License-Identifier: ISC */
/*
 * Connections of the control socket (daemon/control.h): lines in every split,
 * limits, peers that do not read, and the end.
 */
#include "config.h"

#include "tests/unit/control_fixture.h"

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

START_TEST(drain)
{
	static const struct {
		const char	*params;
		int64_t		 timeout;	/* -2: refused */
	} cases[] = {
		{ "{}", -1 },
		{ "{\"timeout_ms\":0}", 0 },
		{ "{\"timeout_ms\":3600000}", 3600000 },
		{ "{\"timeout_ms\":3600001}", -2 },
		{ "{\"timeout_ms\":-1}", -2 },
		{ "{\"timeout_ms\":\"1\"}", -2 },
	};
	char text[256];
	json_t *js;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		fx.drained = -2;
		snprintf(text, sizeof(text), "{\"jsonrpc\":\"2.0\",\"id\":1,"
		    "\"method\":\"daemon.drain\",\"params\":%s}\n",
		    cases[i].params);
		say(text, strlen(text));
		if (cases[i].timeout == -2) {
			expect_code(-32602);
		} else {
			js = answer();
			ck_assert(json_is_true(json_object_get(
			    json_object_get(js, "result"), "draining")));
			json_decref(js);
		}
		ck_assert_int_eq(fx.drained, cases[i].timeout);
	}
}
END_TEST

START_TEST(every_method_refuses_strange_parameters)
{
	static const char *const names[] = { "client.list",
	    "config.reload", "daemon.drain", "daemon.info",
	    "daemon.stop", "fault.clear", "fault.list", "fault.set",
	    "log.set", "session.add", "session.list", "session.login",
	    "session.logout", "session.reconnect", "session.remove",
	    "session.show", "stats.get",
	    "trace.list", "trace.stop" };
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
	tcase_add_test(tc, drain);
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
