/* SPDX-License-Identifier: ISC */
/*
 * JSON-RPC 2.0 (daemon/control_rpc.h): which bytes are a request, which
 * parameters a method takes, and what comes back, by literal lines.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "daemon/control_rpc.h"
#include "tests/unit/unit.h"

static json_t *
echo(void *ctx, const json_t *params, struct rpc_error *err)
{
	int *calls = ctx;

	(void)err;
	++*calls;
	return json_deep_copy(params);
}

static json_t *
refuse(void *ctx, const json_t *params, struct rpc_error *err)
{
	int *calls = ctx;

	(void)params;
	++*calls;
	return rpc_fail(err, -32050, "name", "no \"%s\" \xff", "x");
}

static json_t *
starve(void *ctx, const json_t *params, struct rpc_error *err)
{
	(void)ctx;
	(void)params;
	(void)err;
	return NULL;
}

static json_t *
put_off(void *ctx, const json_t *params, struct rpc_error *err)
{
	int *calls = ctx;

	(void)params;
	++*calls;
	return rpc_later(err);
}

static const struct rpc_param params_none[] = { { NULL, 0, false } };
static const struct rpc_param params_echo[] = {
	{ "name", JSON_STRING, true },
	{ "count", JSON_INTEGER, false },
	{ "loud", JSON_TRUE, false },
	{ NULL, 0, false }
};

static const struct rpc_method methods[] = {
	{ "test.echo", echo, params_echo, 0 },
	{ "test.later", put_off, params_none, 0 },
	{ "test.refuse", refuse, params_none, 0 },
	{ "test.starve", starve, params_none, 0 },
	{ "test.take", echo, params_none, 1 },
};

struct line {
	const char	*in;
	const char	*out;	/* NULL: no answer */
	int		 calls;
};

#define OK(id, result)							\
	"{\"jsonrpc\":\"2.0\",\"result\":" result ",\"id\":" id "}\n"
#define NO(id, code, text)						\
	"{\"jsonrpc\":\"2.0\",\"error\":{\"code\":" code ",\"message\":\""\
	text "\"},\"id\":" id "}\n"
#define NOF(id, code, text, field)					\
	"{\"jsonrpc\":\"2.0\",\"error\":{\"code\":" code ",\"message\":\""\
	text "\",\"data\":{\"field\":\"" field "\"}},\"id\":" id "}\n"
#define RQ(rest)	"{\"jsonrpc\":\"2.0\"," rest "}"
#define ECHO		"\"method\":\"test.echo\","

static const struct line lines[] = {
	/* Answers and ids. */
	{ RQ("\"id\":1," ECHO "\"params\":{\"name\":\"a\"}"),
	    OK("1", "{\"name\":\"a\"}"), 1 },
	{ RQ("\"id\":\"x\"," ECHO "\"params\":{\"name\":\"a\",\"count\":-3}"),
	    OK("\"x\"", "{\"name\":\"a\",\"count\":-3}"), 1 },
	{ RQ("\"id\":null," ECHO "\"params\":{\"name\":\"a\"}"),
	    OK("null", "{\"name\":\"a\"}"), 1 },
	{ " \t" RQ("\"id\":2," ECHO "\"params\":{\"name\":\"a\"}") " \r",
	    OK("2", "{\"name\":\"a\"}"), 1 },
	{ RQ("\"id\":3," ECHO "\"params\":{\"name\":\"\xc3\xa9\"}"),
	    OK("3", "{\"name\":\"\\u00E9\"}"), 1 },
	{ RQ("\"id\":4," ECHO "\"params\":{\"name\":\"a\",\"loud\":true}"),
	    OK("4", "{\"name\":\"a\",\"loud\":true}"), 1 },
	{ RQ("\"id\":4," ECHO "\"params\":{\"name\":\"a\",\"loud\":false}"),
	    OK("4", "{\"name\":\"a\",\"loud\":false}"), 1 },
	{ RQ("\"id\":4," ECHO "\"params\":{\"name\":\"a\",\"loud\":1}"),
	    NOF("4", "-32602", "parameter \\\"loud\\\" must be true or false",
	    "loud"), 0 },
	/* Notifications: done, not answered, whatever comes of it. */
	{ RQ(ECHO "\"params\":{\"name\":\"a\"}"), NULL, 1 },
	{ RQ("\"method\":\"test.refuse\""), NULL, 1 },
	{ RQ("\"method\":\"test.nothing\""), NULL, 0 },
	{ RQ(ECHO "\"params\":{}"), NULL, 0 },
	/* Errors of handlers. */
	{ RQ("\"id\":1,\"method\":\"test.refuse\""),
	    NOF("1", "-32050", "no \\\"x\\\" ?", "name"), 1 },
	{ RQ("\"id\":1,\"method\":\"test.starve\""),
	    NO("1", "-32603", "out of memory"), 0 },
	/* Methods and parameters. */
	{ RQ("\"id\":1,\"method\":\"Test.echo\""),
	    NO("1", "-32601", "there is no method \\\"Test.echo\\\""), 0 },
	{ RQ("\"id\":1,\"method\":\"\""),
	    NO("1", "-32601", "there is no method \\\"\\\""), 0 },
	{ RQ("\"id\":1," ECHO "\"params\":{}"),
	    NOF("1", "-32602", "test.echo needs the parameter \\\"name\\\"",
	    "name"), 0 },
	{ RQ("\"id\":1,\"method\":\"test.echo\""),
	    NOF("1", "-32602", "test.echo needs the parameter \\\"name\\\"",
	    "name"), 0 },
	{ RQ("\"id\":1," ECHO "\"params\":{\"name\":7}"),
	    NOF("1", "-32602", "parameter \\\"name\\\" must be a string",
	    "name"), 0 },
	{ RQ("\"id\":1," ECHO "\"params\":{\"name\":\"a\",\"count\":1.0}"),
	    NOF("1", "-32602", "parameter \\\"count\\\" must be an integer",
	    "count"), 0 },
	{ RQ("\"id\":1," ECHO "\"params\":{\"name\":\"a\",\"nam\":1}"),
	    NOF("1", "-32602", "test.echo has no parameter \\\"nam\\\"",
	    "nam"), 0 },
	{ RQ("\"id\":1,\"method\":\"test.refuse\",\"params\":{\"a\":1}"),
	    NOF("1", "-32602", "test.refuse has no parameter \\\"a\\\"", "a"),
	    0 },
	{ RQ("\"id\":1," ECHO "\"params\":[\"a\"]"),
	    NOF("1", "-32602", "params is an object of named parameters",
	    "params"), 0 },
	{ RQ("\"id\":1," ECHO "\"params\":null"),
	    NOF("1", "-32602", "params is an object of named parameters",
	    "params"), 0 },
	/* Requests that are none. */
	{ "[]", NO("null", "-32600",
	    "batches are not served: send one object a line"), 0 },
	{ "[" RQ("\"id\":1," ECHO "\"params\":{\"name\":\"a\"}") "]",
	    NO("null", "-32600",
	    "batches are not served: send one object a line"), 0 },
	{ "{}", NOF("null", "-32600", "jsonrpc is missing or not \\\"2.0\\\"",
	    "jsonrpc"), 0 },
	{ "{\"jsonrpc\":\"1.0\",\"id\":4,\"method\":\"test.echo\"}",
	    NOF("4", "-32600", "jsonrpc is missing or not \\\"2.0\\\"",
	    "jsonrpc"), 0 },
	{ "{\"jsonrpc\":2.0,\"id\":4,\"method\":\"test.echo\"}",
	    NOF("4", "-32600", "jsonrpc is missing or not \\\"2.0\\\"",
	    "jsonrpc"), 0 },
	{ RQ("\"id\":5"), NOF("5", "-32600",
	    "method is missing or no string", "method"), 0 },
	{ RQ("\"id\":5,\"method\":5"), NOF("5", "-32600",
	    "method is missing or no string", "method"), 0 },
	{ RQ("\"id\":{},\"method\":\"test.echo\""), NOF("null", "-32600",
	    "id is a string, a number or null", "id"), 0 },
	{ RQ("\"id\":6," ECHO "\"extra\":1"), NOF("6", "-32600",
	    "there is no such member of a request", "extra"), 0 },
};

/* Bytes that are no JSON; only the code is compared. */
static const char *const garbage[] = {
	"", "{", "}", "null", "1", "\"a\"", "{\"a\":1}x", "{'a':1}",
	"{\"a\":\"\\u0000\"}", "{\"a\":\"\xff\"}", "{\"a\":1,\"a\":1}",
	RQ("\"id\":1,\"id\":1,\"method\":\"test.refuse\""),
	RQ("\"id\":1,\"method\":\"test.refuse\"") " "
	RQ("\"id\":1,\"method\":\"test.refuse\""),
	RQ("\"id\":1," ECHO "\"params\":{\"name\":\"a\",\"name\":\"b\"}"),
};

static char *
serve_with(const char *in, size_t len, unsigned nfds, int *calls)
{
	char *out = NULL;
	json_t *id;

	*calls = 0;
	ck_assert_int_eq(rpc_serve(methods,
	    sizeof(methods) / sizeof(methods[0]), calls, in, len, nfds, &out,
	    &id), 0);
	ck_assert_ptr_null(id);
	return out;
}

static char *
serve(const char *in, size_t len, int *calls)
{
	return serve_with(in, len, 0, calls);
}

START_TEST(line_by_line)
{
	const struct line *l = &lines[_i];
	int calls;
	char *out = serve(l->in, strlen(l->in), &calls);

	if (l->out == NULL)
		ck_assert_msg(out == NULL, "%s: got %s", l->in, out);
	else
		ck_assert_str_eq(out, l->out);
	ck_assert_msg(calls == l->calls, "%s: %d calls", l->in, calls);
	free(out);
}
END_TEST

/* Put off, the answer bears the id of its request; a notification has none. */
START_TEST(later)
{
	static const char with_id[] = RQ("\"id\":\"a\",\"method\":\"test.later\"");
	static const char without[] = RQ("\"method\":\"test.later\"");
	const size_t n = sizeof(methods) / sizeof(methods[0]);
	struct rpc_error err;
	int calls = 0;
	json_t *id;
	char *out;

	ck_assert_int_eq(rpc_serve(methods, n, &calls, with_id,
	    strlen(with_id), 0, &out, &id), RPC_LATER);
	ck_assert_ptr_null(out);
	out = rpc_answer_line(id, json_true(), NULL);
	ck_assert_str_eq(out,
	    "{\"jsonrpc\":\"2.0\",\"result\":true,\"id\":\"a\"}\n");
	free(out);
	rpc_fail(&err, -32050, NULL, "no");
	out = rpc_answer_line(id, NULL, &err);
	ck_assert_str_eq(out, "{\"jsonrpc\":\"2.0\",\"error\":{\"code\":-32050,"
	    "\"message\":\"no\"},\"id\":\"a\"}\n");
	free(out);
	json_decref(id);
	ck_assert_int_eq(rpc_serve(methods, n, &calls, without,
	    strlen(without), 0, &out, &id), RPC_LATER);
	ck_assert_ptr_null(out);
	ck_assert_ptr_null(id);
	ck_assert_int_eq(calls, 2);
}
END_TEST

START_TEST(no_json)
{
	const char *in = garbage[_i];
	int calls;
	char *out = serve(in, strlen(in), &calls);

	ck_assert_msg(out != NULL && strstr(out, "\"code\":-32700,") != NULL,
	    "%s: got %s", in, out);
	ck_assert_ptr_nonnull(strstr(out, "\"id\":null}"));
	ck_assert_int_eq(calls, 0);
	free(out);
}
END_TEST

START_TEST(nul_byte)
{
	static const char in[] = RQ("\"id\":1,\"method\":\"test.refuse\"") "\0";
	int calls;
	char *out = serve(in, sizeof(in), &calls);

	ck_assert_ptr_nonnull(strstr(out, "-32700"));
	ck_assert_int_eq(calls, 0);
	free(out);
}
END_TEST

/* A method is called with the descriptors that it wants or not at all. */
START_TEST(descriptors)
{
	static const char take[] = RQ("\"id\":1,\"method\":\"test.take\"");
	static const char echo_[] = RQ("\"id\":1," ECHO
	    "\"params\":{\"name\":\"a\"}");
	static const char *const out[2][3] = {
		{ NO("1", "-32600", "test.take takes 1 file descriptor, sent "
		    "along with the request; 0 came"),
		    OK("1", "{}"),
		    NO("1", "-32600", "test.take takes 1 file descriptor, "
		    "sent along with the request; 2 came") },
		{ OK("1", "{\"name\":\"a\"}"),
		    NO("1", "-32600", "test.echo takes no file descriptor"),
		    NO("1", "-32600", "test.echo takes no file descriptor") },
	};
	int calls;
	char *got;

	for (unsigned i = 0; i < 6; i++) {
		const char *in = i < 3 ? take : echo_;

		got = serve_with(in, strlen(in), i % 3, &calls);
		ck_assert_str_eq(got, out[i / 3][i % 3]);
		ck_assert_int_eq(calls, i == 1 || i == 3 ? 1 : 0);
		free(got);
	}
}
END_TEST

/* Thousands of open brackets must not overrun a stack. */
START_TEST(deep)
{
	char in[65000];
	int calls;
	char *out;

	memset(in, '[', sizeof(in));
	out = serve(in, sizeof(in), &calls);
	ck_assert_ptr_nonnull(strstr(out, "-32700"));
	free(out);
}
END_TEST

START_TEST(long_names_are_cut)
{
	char in[9000] = "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"";
	size_t len = strlen(in);
	int calls;
	char *out;

	/* Two-byte characters, so that a cut can fall inside of one. */
	for (; len < 8000; len += 2)
		memcpy(in + len, "\xc3\xa9", 2);
	memcpy(in + len, "\"}", 3);
	out = serve(in, strlen(in), &calls);
	ck_assert_ptr_nonnull(strstr(out, "-32601"));
	ck_assert_uint_lt(strlen(out), 2000);
	free(out);
}
END_TEST

START_TEST(line_to_nobody)
{
	char *out = rpc_error_line(RPC_E_BUSY, "later");

	ck_assert_str_eq(out, NO("null", "-32001", "later"));
	free(out);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("control_rpc");
	TCase *tc = tcase_create("control_rpc");

	tcase_add_loop_test(tc, line_by_line, 0,
	    (int)(sizeof(lines) / sizeof(lines[0])));
	tcase_add_test(tc, later);
	tcase_add_loop_test(tc, no_json, 0,
	    (int)(sizeof(garbage) / sizeof(garbage[0])));
	tcase_add_test(tc, nul_byte);
	tcase_add_test(tc, descriptors);
	tcase_add_test(tc, deep);
	tcase_add_test(tc, long_names_are_cut);
	tcase_add_test(tc, line_to_nobody);
	suite_add_tcase(suite, tc);
	return unit_run(suite);
}
