/* SPDX-License-Identifier: ISC */
/*
 * session.discover: answers that come in a later turn (control_later.c), and
 * what becomes of them when the caller goes.  The target is a socket that
 * listens and says nothing, or nobody.
 */
#include "config.h"

#include <netinet/in.h>
#include <stdio.h>

#include "tests/unit/control_fixture.h"

static int listener, target;
static unsigned port;

static void
setup_target(void)
{
	static char initiator[] = "iqn.2026-01.org.example:host";
	struct sockaddr_in in = { .sin_family = AF_INET };
	socklen_t len = sizeof(in);

	setup();
	fx.config.initiator_name = initiator;
	fx.config.limits.client_stall_timeout = 60000;
	in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	target = -1;
	listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	ck_assert_int_eq(bind(listener, (struct sockaddr *)&in, len), 0);
	ck_assert_int_eq(listen(listener, 5), 0);
	getsockname(listener, (struct sockaddr *)&in, &len);
	port = ntohs(in.sin_port);
}

static void
teardown_target(void)
{
	teardown();
	close(listener);
	if (target != -1)
		close(target);
}

/* Ask, with the rest of the parameters in `more`. */
static void
discover(const char *id, const char *more)
{
	char line[512];

	snprintf(line, sizeof(line), "{\"jsonrpc\":\"2.0\",%s\"method\":"
	    "\"session.discover\",\"params\":{\"portal\":\"127.0.0.1:%u\"%s"
	    "}}\n", id, port, more);
	say(line, strlen(line));
}

/* The daemon connects to the target. */
static void
take_connection(void)
{
	while ((target = accept4(listener, NULL, NULL,
	    SOCK_NONBLOCK)) == -1)
		turn();
}

/* It has closed the connection again, whatever it sent before. */
static void
expect_hangup(void)
{
	char buf[4096];
	ssize_t n;

	while ((n = recv(target, buf, sizeof(buf), 0)) != 0) {
		if (n == -1 && errno == ECONNRESET)
			return;
		if (n == -1)
			turn();
	}
}

static void
expect_error(const char *id, int code, const char *words)
{
	json_t *js = answer(), *error = json_object_get(js, "error");
	const char *message = json_string_value(json_object_get(error,
	    "message"));

	ck_assert_str_eq(json_string_value(json_object_get(js, "id")), id);
	ck_assert_int_eq(json_integer_value(json_object_get(error, "code")),
	    code);
	ck_assert_msg(strstr(message, words) != NULL, "%s", message);
	json_decref(js);
}

/* Others are served meanwhile; the answer names its request. */
START_TEST(test_answered_later)
{
	discover("\"id\":\"d\",", ",\"timeout_ms\":200");
	say(INFO, strlen(INFO));
	expect_info(1);
	expect_error("d", -32005, "timed out");
	say(INFO, strlen(INFO));
	expect_info(1);
}
END_TEST

/* Two at a time: each answer has the id of its own request. */
START_TEST(test_two_answers)
{
	discover("\"id\":\"slow\",", ",\"timeout_ms\":400");
	discover("\"id\":\"fast\",", ",\"timeout_ms\":50");
	expect_error("fast", -32005, "timed out");
	expect_error("slow", -32005, "timed out");
}
END_TEST

START_TEST(test_nobody_there)
{
	close(listener);
	listener = socket(AF_INET, SOCK_STREAM, 0);
	discover("\"id\":\"d\",", "");
	expect_error("d", -32005, "refused");
}
END_TEST

/* Who closes wants no answer: the connection to the target ends at once. */
START_TEST(test_caller_goes)
{
	discover("\"id\":\"d\",", ",\"timeout_ms\":600000");
	take_connection();
	close(fx.fd);
	fx.fd = -1;
	expect_hangup();
	ck_assert_uint_eq(control_count(fx.c), 0);
}
END_TEST

/* Who only says nothing more still gets the answer, and then the end. */
START_TEST(test_half_closed)
{
	discover("\"id\":\"d\",", ",\"timeout_ms\":200");
	shutdown(fx.fd, SHUT_WR);
	expect_error("d", -32005, "timed out");
	expect_end();
}
END_TEST

/* Who says nothing more and then goes is missed, too. */
START_TEST(test_half_closed_and_gone)
{
	discover("\"id\":\"d\",", ",\"timeout_ms\":600000");
	shutdown(fx.fd, SHUT_WR);
	take_connection();
	for (int i = 0; i < 10; i++)
		ck_assert_int_eq(loop_turn(fx.w->loop, 1), 0);
	ck_assert_uint_eq(control_count(fx.c), 1);
	close(fx.fd);
	fx.fd = -1;
	expect_hangup();
	ck_assert_uint_eq(control_count(fx.c), 0);
}
END_TEST

/* A notification is carried out and not answered. */
START_TEST(test_notification)
{
	discover("", ",\"timeout_ms\":50");
	take_connection();
	expect_hangup();
	say(INFO, strlen(INFO));
	expect_info(1);
}
END_TEST

START_TEST(test_control_ends)
{
	discover("\"id\":\"d\",", ",\"timeout_ms\":600000");
	take_connection();
	control_free(fx.c);
	fx.c = NULL;
	expect_hangup();
}
END_TEST

/* The seventeenth is refused, and taken when one has ended. */
START_TEST(test_bounded)
{
	int i;

	for (i = 0; i < 16; i++)
		discover("\"id\":\"d\",", ",\"timeout_ms\":400");
	discover("\"id\":\"e\",", "");
	expect_error("e", -32001, "16 discoveries are running");
	for (i = 0; i < 16; i++)
		expect_error("d", -32005, "timed out");
	discover("\"id\":\"d\",", ",\"timeout_ms\":50");
	expect_error("d", -32005, "timed out");
}
END_TEST

static const struct {
	const char	*params;
	int		 code;
	const char	*words;
} wrong[] = {
	{ "{}", -32602, "needs the parameter \\\"portal\\\"" },
	{ "{\"portal\":\"::1\"}", -32602, "brackets" },
	{ "{\"portal\":\"\"}", -32602, "no portal" },
	{ "{\"portal\":\"h:0\"}", -32602, "no portal" },
	{ "{\"portal\":\"h\",\"timeout_ms\":9}", -32602, "from 10 to" },
	{ "{\"portal\":\"h\",\"timeout_ms\":86400001}", -32602, "from 10 to" },
	{ "{\"portal\":\"h\",\"session\":\"x\"}", -32002, "no session" },
};

START_TEST(test_wrong)
{
	char line[512];
	json_t *js;
	char *text;

	snprintf(line, sizeof(line), "{\"jsonrpc\":\"2.0\",\"id\":1,"
	    "\"method\":\"session.discover\",\"params\":%s}\n",
	    wrong[_i].params);
	say(line, strlen(line));
	js = answer();
	text = json_dumps(js, JSON_COMPACT);
	ck_assert_msg(strstr(text, wrong[_i].words) != NULL, "%s", text);
	ck_assert_int_eq(json_integer_value(json_object_get(
	    json_object_get(js, "error"), "code")), wrong[_i].code);
	free(text);
	json_decref(js);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("control_discover");
	TCase *tc = tcase_create("core");

	tcase_add_checked_fixture(tc, setup_target, teardown_target);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, test_answered_later);
	tcase_add_test(tc, test_two_answers);
	tcase_add_test(tc, test_nobody_there);
	tcase_add_test(tc, test_caller_goes);
	tcase_add_test(tc, test_half_closed);
	tcase_add_test(tc, test_half_closed_and_gone);
	tcase_add_test(tc, test_notification);
	tcase_add_test(tc, test_control_ends);
	tcase_add_test(tc, test_bounded);
	tcase_add_loop_test(tc, test_wrong, 0,
	    (int)(sizeof(wrong) / sizeof(wrong[0])));
	suite_add_tcase(suite, tc);
	return unit_run(suite);
}
