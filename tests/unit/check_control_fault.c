/* SPDX-License-Identifier: ISC */
/*
 * fault.set, fault.list and fault.clear (daemon/control_fault.c): every wrong
 * parameter is named, nothing is set without permission, and what is set does
 * what it says.
 */
#include "config.h"

#include <sys/socket.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/conf.h"
#include "daemon/conn.h"
#include "daemon/control_priv.h"
#include "daemon/fault.h"
#include "daemon/log.h"
#include "daemon/loop.h"
#include "daemon/session.h"
#include "daemon/worker.h"
#include "tests/unit/unit.h"

static char initiator[] = "iqn.2026-01.org.example:i";
static char name[] = "disk1";
static char target[] = "iqn.2026-01.org.example:t";
static char host[] = "127.0.0.1";

struct fixture {
	struct config		 config;
	struct config_session	 disk;
	struct log		*log;
	struct control		 control;
	struct session		*session;
	struct conn		*conn;		/* called raw-7 */
	int			 peer;
	unsigned		 connected;
	json_t			*answer;	/* the last one */
};

static struct fixture fx;

static void
on_connected(void *arg)
{
	(void)arg;
	fx.connected++;
}

static void
ignore(void *arg)
{
	(void)arg;
}

static const struct conn_ops conn_ops = { .on_connected = on_connected,
	.on_readable = ignore, .on_writable = ignore };

static void
setup(void)
{
	int sv[2];

	memset(&fx, 0, sizeof(fx));
	fx.config.allow_fault_injection = true;
	fx.config.initiator_name = initiator;
	fx.disk.name = name;
	fx.disk.target = target;
	fx.disk.portal.host = host;
	fx.disk.portal.text = host;
	fx.log = log_new(-1, LOG_LEVEL_ERROR);
	fx.control.w = worker_new(fx.log, &fx.config);
	ck_assert_ptr_nonnull(fx.control.w);
	fx.session = session_new(fx.control.w, &fx.disk);
	ck_assert_ptr_nonnull(fx.session);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), 0);
	fx.conn = conn_adopt(fx.control.w, sv[0], &conn_ops, &fx);
	ck_assert_ptr_nonnull(fx.conn);
	conn_set_label(fx.conn, "raw-7");
	fx.peer = sv[1];
	while (fx.connected == 0)
		ck_assert_int_eq(loop_turn(fx.control.w->loop, 5000), 0);
}

static void
teardown(void)
{
	json_decref(fx.answer);
	conn_close(fx.conn);
	if (fx.session != NULL)
		session_free(fx.session, "the test is over");
	ck_assert_uint_eq(worker_free(fx.control.w), 0);
	log_free(fx.log);
	close(fx.peer);
}

/* Call a method; returns its result, NULL if it was an error. */
static json_t *
call(const char *method, const char *params)
{
	struct control_call ctx = { .control = &fx.control, .who = "test" };
	char line[1024], *answer;
	json_t *id;

	snprintf(line, sizeof(line), "{\"jsonrpc\":\"2.0\",\"id\":1,"
	    "\"method\":\"%s\",\"params\":%s}", method, params);
	ck_assert_int_eq(rpc_serve(control_methods, control_method_count,
	    &ctx, line, strlen(line), 0, &answer, &id), 0);
	json_decref(fx.answer);
	fx.answer = json_loads(answer, 0, NULL);
	ck_assert_ptr_nonnull(fx.answer);
	free(answer);
	return json_object_get(fx.answer, "result");
}

/* The code of the last answer's error, 0 for none; its field. */
static long
error_of(const char **field)
{
	const json_t *error = json_object_get(fx.answer, "error");

	*field = json_string_value(json_object_get(json_object_get(error,
	    "data"), "field"));
	return (long)json_integer_value(json_object_get(error, "code"));
}

static size_t
count_faults(void)
{
	return json_array_size(json_object_get(call("fault.list", "{}"),
	    "faults"));
}

static json_t *
fault_listed(const char *connection, size_t at)
{
	char params[128];

	snprintf(params, sizeof(params), "{\"connection\":\"%s\"}",
	    connection);
	return json_array_get(json_object_get(call("fault.list", params),
	    "faults"), at);
}

static void
expect_text(const json_t *js, const char *key, const char *value)
{
	ck_assert_str_eq(json_string_value(json_object_get(js, key)), value);
}

static void
expect_num(const json_t *js, const char *key, json_int_t value)
{
	ck_assert(json_is_integer(json_object_get(js, key)));
	ck_assert_int_eq(json_integer_value(json_object_get(js, key)), value);
}

#define D1	"\"connection\":\"disk1\",\"direction\":\"read\","

START_TEST(wrong_parameters_are_named)
{
	static const struct {
		const char	*params;
		const char	*field;
	} wrong[] = {
		{ "{}", "connection" },
		{ "{\"connection\":1,\"direction\":\"read\","
		    "\"kind\":\"stall\"}", "connection" },
		{ "{\"connection\":\"disk2\",\"direction\":\"read\","
		    "\"kind\":\"stall\"}", "connection" },
		{ "{\"connection\":\"\",\"direction\":\"read\","
		    "\"kind\":\"stall\"}", "connection" },
		{ "{\"connection\":\"disk1\",\"kind\":\"stall\"}",
		    "direction" },
		{ "{\"connection\":\"disk1\",\"direction\":\"both\","
		    "\"kind\":\"stall\"}", "direction" },
		{ "{\"connection\":\"disk1\",\"direction\":\"read\"}",
		    "kind" },
		{ "{" D1 "\"kind\":\"burn\"}", "kind" },
		{ "{" D1 "\"kind\":\"stall\",\"colour\":1}", "colour" },
		{ "{" D1 "\"kind\":\"stall\",\"id\":\"\"}", "id" },
		{ "{" D1 "\"kind\":\"stall\",\"id\":\"a b\"}", "id" },
		{ "{" D1 "\"kind\":\"stall\",\"id\":"
		    "\"abcdefghijklmnopqrstuvwxyz123456\"}", "id" },
		{ "{" D1 "\"kind\":\"errno\"}", "errno" },
		{ "{" D1 "\"kind\":\"errno\",\"errno\":\"EAGAIN\"}",
		    "errno" },
		{ "{" D1 "\"kind\":\"errno\",\"errno\":104}", "errno" },
		{ "{" D1 "\"kind\":\"close\",\"errno\":\"EIO\"}", "errno" },
		{ "{" D1 "\"kind\":\"short\"}", "bytes" },
		{ "{" D1 "\"kind\":\"short\",\"bytes\":0}", "bytes" },
		{ "{" D1 "\"kind\":\"short\",\"bytes\":16777217}", "bytes" },
		{ "{" D1 "\"kind\":\"stall\",\"bytes\":1}", "bytes" },
		{ "{" D1 "\"kind\":\"delay\"}", "ms" },
		{ "{" D1 "\"kind\":\"delay\",\"ms\":0}", "ms" },
		{ "{" D1 "\"kind\":\"delay\",\"ms\":3600001}", "ms" },
		{ "{" D1 "\"kind\":\"delay\",\"ms\":1.5}", "ms" },
		{ "{" D1 "\"kind\":\"short\",\"bytes\":1,\"ms\":1}", "ms" },
		{ "{" D1 "\"kind\":\"corrupt\",\"mask\":0}", "mask" },
		{ "{" D1 "\"kind\":\"corrupt\",\"mask\":256}", "mask" },
		{ "{" D1 "\"kind\":\"close\",\"mask\":1}", "mask" },
		{ "{" D1 "\"kind\":\"close\",\"after\":-1}", "after" },
		{ "{" D1 "\"kind\":\"close\",\"after\":9007199254740993}",
		    "after" },
		{ "{" D1 "\"kind\":\"close\",\"from_now\":1}", "from_now" },
		{ "{" D1 "\"kind\":\"close\",\"repeat\":\"yes\"}",
		    "repeat" },
		{ "{" D1 "\"kind\":\"stall\",\"repeat\":true}", "repeat" },
	};
	const char *field;

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		ck_assert_ptr_null(call("fault.set", wrong[i].params));
		ck_assert_int_eq(error_of(&field), RPC_E_PARAMS);
		ck_assert_msg(strcmp(field, wrong[i].field) == 0,
		    "%s: field %s", wrong[i].params, field);
	}
	ck_assert_uint_eq(count_faults(), 0);
}
END_TEST

START_TEST(refused_without_permission)
{
	const char *field;

	fx.config.allow_fault_injection = false;
	ck_assert_ptr_null(call("fault.set", "{" D1 "\"kind\":\"stall\"}"));
	ck_assert_int_eq(error_of(&field), RPC_E_NOT_PERMITTED);
	ck_assert_ptr_nonnull(strstr(json_string_value(json_object_get(
	    json_object_get(fx.answer, "error"), "message")),
	    "allow-fault-injection = yes"));
	/* To look and to clear is allowed. */
	ck_assert_uint_eq(count_faults(), 0);
	expect_num(call("fault.clear", "{}"), "cleared", 0);
}
END_TEST

START_TEST(set_list_clear)
{
	const char *field;
	json_t *js;

	js = call("fault.set", "{" D1 "\"kind\":\"errno\","
	    "\"errno\":\"ECONNRESET\",\"after\":1000,\"repeat\":true}");
	expect_text(js, "connection", "disk1");
	expect_text(js, "id", "read-errno");
	ck_assert(json_is_false(json_object_get(js, "replaced")));
	js = fault_listed("disk1", 0);
	expect_text(js, "direction", "read");
	expect_text(js, "kind", "errno");
	expect_text(js, "errno", "ECONNRESET");
	expect_num(js, "after", 1000);
	expect_num(js, "fired", 0);
	ck_assert(json_is_true(json_object_get(js, "repeat")));
	ck_assert(json_is_false(json_object_get(js, "from_now")));
	ck_assert(json_is_false(json_object_get(js, "spent")));
	/* The session has no connection. */
	ck_assert(json_is_null(json_object_get(js, "passed")));
	ck_assert(json_is_null(json_object_get(js, "at")));
	js = call("fault.set", "{" D1 "\"kind\":\"errno\","
	    "\"errno\":\"EIO\"}");
	ck_assert(json_is_true(json_object_get(js, "replaced")));
	ck_assert_ptr_nonnull(call("fault.set", "{\"connection\":\"raw-7\","
	    "\"direction\":\"write\",\"kind\":\"short\",\"bytes\":2,"
	    "\"id\":\"mine\"}"));
	ck_assert_ptr_nonnull(call("fault.set", "{" D1
	    "\"kind\":\"corrupt\"}"));
	ck_assert_ptr_nonnull(call("fault.set", "{" D1
	    "\"kind\":\"delay\",\"ms\":10}"));
	expect_num(fault_listed("disk1", 1), "mask", 255);
	expect_num(fault_listed("disk1", 2), "ms", 10);
	expect_num(fault_listed("raw-7", 0), "bytes", 2);
	ck_assert_uint_eq(count_faults(), 4);
	/* By id, by connection, all. */
	expect_num(call("fault.clear", "{\"connection\":\"disk1\","
	    "\"id\":\"read-delay\"}"), "cleared", 1);
	ck_assert_ptr_null(call("fault.clear", "{\"connection\":\"disk1\","
	    "\"id\":\"read-delay\"}"));
	error_of(&field);
	ck_assert_str_eq(field, "id");
	ck_assert_ptr_null(call("fault.clear", "{\"id\":\"mine\"}"));
	error_of(&field);
	ck_assert_str_eq(field, "connection");
	ck_assert_ptr_null(call("fault.clear", "{\"connection\":\"none\"}"));
	error_of(&field);
	ck_assert_str_eq(field, "connection");
	ck_assert_ptr_null(call("fault.list", "{\"connection\":\"none\"}"));
	error_of(&field);
	ck_assert_str_eq(field, "connection");
	expect_num(call("fault.clear", "{\"connection\":\"disk1\"}"),
	    "cleared", 2);
	expect_num(call("fault.clear", "{\"connection\":\"disk1\"}"),
	    "cleared", 0);
	expect_num(call("fault.clear", "{}"), "cleared", 1);
	ck_assert_uint_eq(count_faults(), 0);
}
END_TEST

/* What is set over the control socket is what happens. */
START_TEST(it_happens)
{
	char data[16];
	struct iovec iov = { data, sizeof(data) };
	json_t *js;
	size_t n;
	int error;

	ck_assert_int_eq(send(fx.peer, "0123456789", 10, 0), 10);
	ck_assert_int_eq(conn_recv(fx.conn, &iov, 1, &n, &error),
	    CONN_PROGRESS);
	ck_assert_ptr_nonnull(call("fault.set", "{\"connection\":\"raw-7\","
	    "\"direction\":\"read\",\"kind\":\"errno\",\"errno\":\"EIO\","
	    "\"after\":4,\"from_now\":true}"));
	js = fault_listed("raw-7", 0);
	expect_num(js, "passed", 10);
	expect_num(js, "at", 14);
	ck_assert_int_eq(send(fx.peer, "0123456789", 10, 0), 10);
	ck_assert_int_eq(conn_recv(fx.conn, &iov, 1, &n, &error),
	    CONN_PROGRESS);
	ck_assert_uint_eq(n, 4);
	ck_assert_int_eq(conn_recv(fx.conn, &iov, 1, &n, &error),
	    CONN_CLOSED);
	ck_assert_int_eq(error, EIO);
	js = fault_listed("raw-7", 0);
	expect_num(js, "fired", 1);
	expect_num(js, "passed", 14);
	ck_assert(json_is_true(json_object_get(js, "spent")));
	/* A raw connection takes its faults along, a session keeps them. */
	ck_assert_ptr_nonnull(call("fault.set", "{" D1
	    "\"kind\":\"stall\"}"));
	conn_close(fx.conn);
	fx.conn = NULL;
	ck_assert_uint_eq(count_faults(), 1);
	ck_assert_ptr_null(call("fault.list", "{\"connection\":\"raw-7\"}"));
	session_free(fx.session, "it was unshared");
	fx.session = NULL;
	ck_assert_uint_eq(count_faults(), 0);
}
END_TEST

START_TEST(too_many)
{
	char params[256];
	const char *field;

	for (unsigned i = 0; i <= FAULTS_LABEL_MAX; i++) {
		snprintf(params, sizeof(params), "{" D1 "\"kind\":\"stall\","
		    "\"id\":\"f%u\"}", i);
		ck_assert_int_eq(call("fault.set", params) != NULL,
		    i < FAULTS_LABEL_MAX);
	}
	ck_assert_int_eq(error_of(&field), RPC_E_BUSY);
	ck_assert_str_eq(field, "connection");
	ck_assert_uint_eq(count_faults(), FAULTS_LABEL_MAX);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("control_fault");
	TCase *tc = tcase_create("control_fault");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 20);
	tcase_add_test(tc, wrong_parameters_are_named);
	tcase_add_test(tc, refused_without_permission);
	tcase_add_test(tc, set_list_clear);
	tcase_add_test(tc, it_happens);
	tcase_add_test(tc, too_many);
	suite_add_tcase(suite, tc);
	return unit_run(suite);
}
