/* SPDX-License-Identifier: ISC */
/*
 * The methods of the control socket that begin and end traces.
 */
#include "config.h"

#include <errno.h>
#include <string.h>

#include "daemon/control_priv.h"
#include "daemon/log.h"
#include "daemon/session.h"
#include "daemon/trace.h"
#include "daemon/worker.h"

const struct rpc_param control_trace_start_params[] = {
	{ "session", JSON_STRING, false },
	{ "headers", JSON_TRUE, false },
	{ NULL, 0, false }
};

const struct rpc_param control_trace_stop_params[] = {
	{ "id", JSON_INTEGER, true },
	{ NULL, 0, false }
};

struct walk {
	json_t	*list;
	int	 rc;
};

static void
list_trace(const struct trace_info *info, void *ctx)
{
	struct walk *walk = ctx;

	walk->rc |= json_array_append_new(walk->list,
	    control_json_trace(info));
}

json_t *
control_trace_list(void *ctx, const json_t *params, struct rpc_error *err)
{
	const struct control *c = ((struct control_call *)ctx)->control;
	struct walk walk = { .list = json_array() };
	json_t *js = json_object();

	(void)params;
	(void)err;
	trace_each(c->w->trace, list_trace, &walk);
	walk.rc |= json_object_set_new(js, "traces", walk.list);
	if (walk.rc == 0)
		return js;
	json_decref(js);
	return NULL;
}

/* True for "raw-1" and the like: a connection that is no session. */
static bool
is_raw_label(const char *name)
{
	size_t digits;

	if (strncmp(name, "raw-", 4) != 0)
		return false;
	digits = strspn(name + 4, "0123456789");
	return digits > 0 && digits < 20 && name[4 + digits] == '\0';
}

json_t *
control_trace_start(void *ctx, const json_t *params, struct rpc_error *err)
{
	struct control_call *call = ctx;
	struct worker *w = call->control->w;
	const char *name = json_string_value(json_object_get(params,
	    "session"));
	bool headers = json_is_true(json_object_get(params, "headers"));
	uint64_t id;

	if (name != NULL && session_find(w, name) == NULL &&
	    !is_raw_label(name))
		return rpc_fail(err, RPC_E_NO_SUCH_SESSION, "session",
		    "there is no session \"%s\"", name);
	switch (trace_start(w->trace, call->fd, name, headers, &id)) {
	case 0:
		break;
	case -EINVAL:
		return rpc_fail(err, RPC_E_REQUEST, NULL, "a trace is written "
		    "to a connected UNIX stream socket: send one end of a "
		    "socketpair(2)");
	case -EBUSY:
		return rpc_fail(err, RPC_E_BUSY, NULL, "%d traces are running "
		    "already: end one with trace.stop", TRACE_MAX);
	default:
		return NULL;
	}
	call->fd = -1;
	log_info(w->log, "%s: began trace %llu", call->who,
	    (unsigned long long)id);
	return json_pack("{s:I}", "id", (json_int_t)id);
}

json_t *
control_trace_stop(void *ctx, const json_t *params, struct rpc_error *err)
{
	const struct control_call *call = ctx;
	json_int_t id = json_integer_value(json_object_get(params, "id"));
	struct trace_info info;

	if (id < 0 || trace_stop(call->control->w->trace, (uint64_t)id,
	    &info) != 0)
		return rpc_fail(err, RPC_E_PARAMS, "id", "there is no trace "
		    "%lld", (long long)id);
	return control_json_trace(&info);
}
