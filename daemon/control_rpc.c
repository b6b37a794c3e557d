/* SPDX-License-Identifier: ISC */
/*
 * Reads one JSON-RPC 2.0 request, finds its method, checks the parameters
 * against the method's table and writes the answer.  It calls jansson only
 * and knows no method.
 */
#include "config.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/control_rpc.h"

/* One request while it is served; references are borrowed from the root. */
struct request {
	const char	*method;
	json_t		*params;	/* NULL: none were given */
	json_t		*id;		/* NULL: none was found */
	unsigned	 nfds;		/* that came along */
	bool		 notification;
};

json_t *
rpc_fail(struct rpc_error *err, int code, const char *field, const char *fmt,
    ...)
{
	va_list ap;

	err->code = code;
	err->errors = NULL;
	strlcpy(err->field, field != NULL ? field : "", sizeof(err->field));
	va_start(ap, fmt);
	vsnprintf(err->message, sizeof(err->message), fmt, ap);
	va_end(ap);
	return NULL;
}

/* A string of any bytes; what is not UTF-8 becomes a question mark. */
static json_t *
text_json(const char *text)
{
	json_t *js = json_string(text);
	char *copy;

	if (js != NULL || (copy = strdup(text)) == NULL)
		return js;
	for (char *p = copy; *p != '\0'; p++) {
		if ((unsigned char)*p >= 0x80)
			*p = '?';
	}
	js = json_string(copy);
	free(copy);
	return js;
}

/* Wrap a result or an error (one of them is NULL, both are taken over). */
static char *
answer_dump(json_t *id, json_t *result, json_t *error)
{
	json_t *root = json_object();
	char *text = NULL, *line = NULL;
	int rc;

	rc = json_object_set_new(root, "jsonrpc", json_string("2.0"));
	if (result != NULL)
		rc |= json_object_set_new(root, "result", result);
	if (error != NULL)
		rc |= json_object_set_new(root, "error", error);
	rc |= id != NULL ? json_object_set(root, "id", id) :
	    json_object_set_new(root, "id", json_null());
	if (rc == 0)
		text = json_dumps(root, JSON_COMPACT | JSON_ENSURE_ASCII);
	json_decref(root);
	if (text != NULL && asprintf(&line, "%s\n", text) == -1)
		line = NULL;
	free(text);
	return line;
}

static char *
error_dump(json_t *id, const struct rpc_error *err)
{
	json_t *js = json_object(), *data = json_object();
	int rc = 0;

	if (err->field[0] != '\0')
		rc |= json_object_set_new(data, "field",
		    text_json(err->field));
	if (err->errors != NULL)
		rc |= json_object_set_new(data, "errors", err->errors);

	rc |= json_object_set_new(js, "code", json_integer(err->code));
	rc |= json_object_set_new(js, "message", text_json(err->message));
	if (json_object_size(data) > 0)
		rc |= json_object_set(js, "data", data);
	json_decref(data);
	if (rc != 0) {
		json_decref(js);
		return NULL;
	}
	return answer_dump(id, NULL, js);
}

char *
rpc_error_line(int code, const char *message)
{
	struct rpc_error err;

	rpc_fail(&err, code, NULL, "%s", message);
	return error_dump(NULL, &err);
}

json_t *
rpc_later(struct rpc_error *err)
{
	return rpc_fail(err, RPC_LATER, NULL, "later");
}

char *
rpc_answer_line(json_t *id, json_t *result, const struct rpc_error *err)
{
	return result != NULL ? answer_dump(id, result, NULL) :
	    error_dump(id, err);
}

static bool
is_request_member(const char *key)
{
	static const char *const members[] = { "jsonrpc", "id", "method",
	    "params" };

	for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++) {
		if (strcmp(key, members[i]) == 0)
			return true;
	}
	return false;
}

/* Read the id, which every answer needs, however bad the rest is. */
static bool
request_read_id(const json_t *root, struct request *rq, struct rpc_error *err)
{
	json_t *id = json_object_get(root, "id");

	if (id == NULL || json_is_string(id) || json_is_number(id) ||
	    json_is_null(id)) {
		rq->id = id;
		return true;
	}
	rpc_fail(err, RPC_E_REQUEST, "id", "id is a string, a number or null");
	return false;
}

/* Take the request apart; false with `err` filled if it is none. */
static bool
request_read(json_t *root, struct request *rq, struct rpc_error *err)
{
	const char *key, *version, *what = NULL, *field = NULL;
	json_t *value;

	if (!json_is_object(root)) {
		rpc_fail(err, RPC_E_REQUEST, NULL, "%s", json_is_array(root) ?
		    "batches are not served: send one object a line" :
		    "a request is a JSON object");
		return false;
	}
	if (!request_read_id(root, rq, err))
		return false;
	version = json_string_value(json_object_get(root, "jsonrpc"));
	rq->method = json_string_value(json_object_get(root, "method"));
	rq->params = json_object_get(root, "params");
	json_object_foreach(root, key, value) {
		if (!is_request_member(key)) {
			what = "there is no such member of a request";
			field = key;
		}
	}
	if (version == NULL || strcmp(version, "2.0") != 0) {
		what = "jsonrpc is missing or not \"2.0\"";
		field = "jsonrpc";
	} else if (what == NULL && rq->method == NULL) {
		what = "method is missing or no string";
		field = "method";
	}
	if (what != NULL) {
		rpc_fail(err, RPC_E_REQUEST, field, "%s", what);
		return false;
	}
	rq->notification = rq->id == NULL;
	return true;
}

static const char *
type_name(json_type type)
{
	static const char *const names[] = {
		[JSON_OBJECT] = "an object",
		[JSON_ARRAY] = "an array",
		[JSON_STRING] = "a string",
		[JSON_INTEGER] = "an integer",
		[JSON_REAL] = "a number",
		[JSON_TRUE] = "true or false",
		[JSON_FALSE] = "true or false",
		[JSON_NULL] = "null",
	};

	return names[type];
}

static const struct rpc_param *
param_find(const struct rpc_param *table, const char *name)
{
	for (; table->name != NULL; table++) {
		if (strcmp(table->name, name) == 0)
			return table;
	}
	return NULL;
}

static bool
has_type(const json_t *value, json_type type)
{
	return type == JSON_TRUE ? json_is_boolean(value) :
	    json_typeof(value) == type;
}

static bool
params_check(const struct rpc_method *m, json_t *params,
    struct rpc_error *err)
{
	const struct rpc_param *p;
	const char *key;
	json_t *value;

	if (!json_is_object(params)) {
		rpc_fail(err, RPC_E_PARAMS, "params",
		    "params is an object of named parameters");
		return false;
	}
	json_object_foreach(params, key, value) {
		p = param_find(m->params, key);
		if (p == NULL) {
			rpc_fail(err, RPC_E_PARAMS, key,
			    "%s has no parameter \"%s\"", m->name, key);
			return false;
		}
		if (!has_type(value, p->type)) {
			rpc_fail(err, RPC_E_PARAMS, key,
			    "parameter \"%s\" must be %s", key,
			    type_name(p->type));
			return false;
		}
	}
	for (p = m->params; p->name != NULL; p++) {
		if (p->required && json_object_get(params, p->name) == NULL) {
			rpc_fail(err, RPC_E_PARAMS, p->name,
			    "%s needs the parameter \"%s\"", m->name, p->name);
			return false;
		}
	}
	return true;
}

static json_t *
method_call(const struct rpc_method *m, void *ctx, json_t *given,
    struct rpc_error *err)
{
	json_t *params, *result = NULL;

	params = given != NULL ? json_incref(given) : json_object();
	if (params == NULL)
		return NULL;
	if (params_check(m, params, err))
		result = m->handler(ctx, params, err);
	json_decref(params);
	return result;
}

static bool
fds_check(const struct rpc_method *m, unsigned nfds, struct rpc_error *err)
{
	if (nfds == m->fds)
		return true;
	if (m->fds == 0)
		rpc_fail(err, RPC_E_REQUEST, NULL, "%s takes no file "
		    "descriptor", m->name);
	else
		rpc_fail(err, RPC_E_REQUEST, NULL, "%s takes %u file "
		    "descriptor, sent along with the request; %u came",
		    m->name, m->fds, nfds);
	return false;
}

static json_t *
request_run(const struct rpc_method *methods, size_t n, void *ctx,
    const struct request *rq, struct rpc_error *err)
{
	json_t *result;

	for (size_t i = 0; i < n; i++) {
		if (strcmp(methods[i].name, rq->method) != 0)
			continue;
		if (!fds_check(&methods[i], rq->nfds, err))
			return NULL;
		result = method_call(&methods[i], ctx, rq->params, err);
		if (result == NULL && err->code == 0)
			rpc_fail(err, RPC_E_INTERNAL, NULL, "out of memory");
		return result;
	}
	return rpc_fail(err, RPC_E_METHOD, NULL, "there is no method \"%s\"",
	    rq->method);
}

int
rpc_serve(const struct rpc_method *methods, size_t n, void *ctx,
    const char *line, size_t len, unsigned nfds, char **answer, json_t **id)
{
	struct request rq = { .nfds = nfds };
	struct rpc_error err = { 0 };
	json_t *root, *result = NULL;
	json_error_t where;

	*answer = NULL;
	*id = NULL;
	root = json_loadb(line, len, JSON_REJECT_DUPLICATES, &where);
	if (root == NULL)
		rpc_fail(&err, RPC_E_PARSE, NULL, "no valid JSON: %s at byte "
		    "%d", where.text, where.position);
	else if (request_read(root, &rq, &err))
		result = request_run(methods, n, ctx, &rq, &err);
	if (err.code == RPC_LATER) {
		*id = json_incref(rq.id);
		json_decref(root);
		return RPC_LATER;
	}
	if (rq.notification) {
		json_decref(err.errors);
		json_decref(result);
		json_decref(root);
		return 0;
	}
	*answer = rpc_answer_line(rq.id, result, &err);
	json_decref(root);
	return *answer != NULL ? 0 : -ENOMEM;
}
