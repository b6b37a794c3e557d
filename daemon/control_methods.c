/* SPDX-License-Identifier: ISC */
/*
 * The methods of the control socket: one table, one handler each.  A handler
 * asks sessions, clients and the daemon, never waits, and answers at once.
 */
#include "config.h"

#include <string.h>
#include <unistd.h>

#include "daemon/client.h"
#include "daemon/conf.h"
#include "daemon/control.h"
#include "daemon/control_priv.h"
#include "daemon/log.h"
#include "daemon/session.h"
#include "daemon/worker.h"

/* The longest time for open tasks, in ms: that of drain-timeout. */
#define DRAIN_MAX	3600000

static const struct rpc_param params_none[] = { { NULL, 0, false } };

static const struct rpc_param params_show[] = {
	{ "session", JSON_STRING, true },
	{ "headers", JSON_TRUE, false },
	{ NULL, 0, false }
};

static const struct rpc_param params_session_optional[] = {
	{ "session", JSON_STRING, false },
	{ NULL, 0, false }
};

static const struct rpc_param params_drain[] = {
	{ "timeout_ms", JSON_INTEGER, false },
	{ NULL, 0, false }
};

static const struct rpc_param params_level[] = {
	{ "level", JSON_STRING, true },
	{ NULL, 0, false }
};

/* What a walk over sessions or clients collects, and for which session. */
struct walk {
	json_t		*list;		/* array or object */
	const char	*session;	/* NULL: all */
	size_t		 count;
	int		 rc;
};

static const char *
param_text(const json_t *params, const char *name)
{
	return json_string_value(json_object_get(params, name));
}

/* Wrap `value`, which is taken over, as the only member of an object. */
static json_t *
wrapped(const char *key, json_t *value)
{
	json_t *js = json_object();

	if (json_object_set_new(js, key, value) == 0)
		return js;
	json_decref(js);
	return NULL;
}

/* The list of a walk, or NULL when memory ran out in it. */
static json_t *
walk_finish(struct walk *walk)
{
	if (walk->rc == 0)
		return walk->list;
	json_decref(walk->list);
	return NULL;
}

static void
count_session(struct session *s, void *ctx)
{
	struct walk *walk = ctx;

	(void)s;
	walk->count++;
}

static void
list_session(struct session *s, void *ctx)
{
	struct walk *walk = ctx;
	struct session_info info;

	session_info_get(s, &info);
	walk->rc |= json_array_append_new(walk->list,
	    control_json_session(&info));
}

static void
list_session_stats(struct session *s, void *ctx)
{
	struct walk *walk = ctx;
	struct session_info info;
	struct session_stats stats;

	session_info_get(s, &info);
	if (walk->session != NULL && strcmp(walk->session, info.name) != 0)
		return;
	session_stats_get(s, &stats);
	walk->rc |= json_object_set_new(walk->list, info.name,
	    control_json_session_stats(&stats));
}

static void
list_client(struct client *c, void *ctx)
{
	struct walk *walk = ctx;
	struct client_info info;

	client_info_get(c, &info);
	if (walk->session != NULL && strcmp(walk->session, info.session) != 0)
		return;
	walk->rc |= json_array_append_new(walk->list,
	    control_json_client(&info));
}

static json_t *
sessions_json(struct control *c, json_t *list, const char *session,
    void (*fn)(struct session *, void *))
{
	struct walk walk = { .list = list, .session = session };

	c->ops->each_session(c->arg, fn, &walk);
	return walk_finish(&walk);
}

static json_t *
clients_json(struct control *c, const char *session)
{
	struct walk walk = { .list = json_array(), .session = session };

	c->ops->each_client(c->arg, list_client, &walk);
	return walk_finish(&walk);
}

static json_t *
daemon_info(void *ctx, const json_t *params, struct rpc_error *err)
{
	struct control *c = ((struct control_call *)ctx)->control;
	struct walk walk = { .count = 0 };
	struct control_info info;
	json_t *js = json_object();
	int rc;

	(void)params;
	(void)err;
	c->ops->info(c->arg, &info);
	c->ops->each_session(c->arg, count_session, &walk);
	rc = json_object_set_new(js, "version", json_string(PACKAGE_VERSION));
	rc |= json_object_set_new(js, "pid", json_integer(getpid()));
	rc |= json_object_set_new(js, "uid", json_integer(geteuid()));
	rc |= json_object_set_new(js, "uptime_ms",
	    json_integer((json_int_t)info.uptime_ms));
	rc |= json_object_set_new(js, "draining",
	    json_boolean(info.draining));
	rc |= json_object_set_new(js, "stopping",
	    json_boolean(info.stopping));
	rc |= json_object_set_new(js, "config_file",
	    control_json_text(info.config_file));
	rc |= json_object_set_new(js, "data_socket",
	    control_json_text(info.data_socket));
	rc |= json_object_set_new(js, "control_socket",
	    control_json_text(info.control_socket));
	rc |= json_object_set_new(js, "log_level",
	    json_string(log_level_name(log_get_level(c->w->log))));
	rc |= json_object_set_new(js, "sessions",
	    json_integer((json_int_t)walk.count));
	rc |= json_object_set_new(js, "clients", json_integer(c->w->nclients));
	rc |= json_object_set_new(js, "limits", control_json_limits(c->w));
	if (rc == 0)
		return js;
	json_decref(js);
	return NULL;
}

static json_t *
daemon_stop(void *ctx, const json_t *params, struct rpc_error *err)
{
	const struct control_call *call = ctx;
	struct control *c = call->control;

	(void)params;
	(void)err;
	log_info(c->w->log, "%s: asks the daemon to stop", call->who);
	c->ops->stop(c->arg);
	return wrapped("stopping", json_true());
}

static json_t *
daemon_drain(void *ctx, const json_t *params, struct rpc_error *err)
{
	const struct control_call *call = ctx;
	struct control *c = call->control;
	const json_t *js = json_object_get(params, "timeout_ms");
	json_int_t timeout = js == NULL ? -1 : json_integer_value(js);

	if (js != NULL && (timeout < 0 || timeout > DRAIN_MAX))
		return rpc_fail(err, RPC_E_PARAMS, "timeout_ms", "timeout_ms "
		    "is %lld, but must be 0 to %d", (long long)timeout,
		    DRAIN_MAX);
	log_info(c->w->log, "%s: asks the daemon to drain", call->who);
	c->ops->drain(c->arg, timeout);
	return wrapped("draining", json_true());
}

static json_t *
session_list(void *ctx, const json_t *params, struct rpc_error *err)
{
	struct control *c = ((struct control_call *)ctx)->control;

	(void)params;
	(void)err;
	return wrapped("sessions", sessions_json(c, json_array(), NULL,
	    list_session));
}

struct session *
control_session_named(struct control *c, const json_t *params,
    struct rpc_error *err)
{
	const char *name = param_text(params, "session");
	struct session *s = session_find(c->w, name);

	if (s == NULL)
		rpc_fail(err, RPC_E_NO_SUCH_SESSION, "session",
		    "there is no session \"%s\"", name);
	return s;
}

static json_t *
session_show(void *ctx, const json_t *params, struct rpc_error *err)
{
	struct control *c = ((struct control_call *)ctx)->control;
	struct session *s = control_session_named(c, params, err);
	struct session_info info;
	json_t *js;

	if (s == NULL)
		return NULL;
	session_info_get(s, &info);
	js = control_json_session_full(&info);
	if (js == NULL || !json_is_true(json_object_get(params, "headers")))
		return js;
	if (json_object_set_new(js, "headers",
	    control_json_headers(session_headers(s))) == 0)
		return js;
	json_decref(js);
	return NULL;
}

static json_t *
cannot_reconnect(const struct session_info *info, struct rpc_error *err)
{
	if (info->given_up)
		return rpc_fail(err, RPC_E_BUSY, "session", "the session "
		    "\"%s\" was shared by a client: the daemon can not log in "
		    "there", info->name);
	return rpc_fail(err, RPC_E_BUSY, "session", "the session \"%s\" is "
	    "not down and waiting, but %s", info->name, info->state);
}

static json_t *
session_reconnect_now(void *ctx, const json_t *params, struct rpc_error *err)
{
	const struct control_call *call = ctx;
	struct session *s = control_session_named(call->control, params, err);
	struct session_info info;

	if (s == NULL)
		return NULL;
	session_info_get(s, &info);
	if (!session_reconnect(s))
		return cannot_reconnect(&info, err);
	log_info(call->control->w->log, "%s: session %s is to connect now",
	    call->who, info.name);
	session_info_get(s, &info);
	return json_pack("{s:s, s:s}", "session", info.name, "state",
	    info.state);
}

static json_t *
stats_get(void *ctx, const json_t *params, struct rpc_error *err)
{
	struct control *c = ((struct control_call *)ctx)->control;
	const char *name = param_text(params, "session");
	json_t *js;
	int rc;

	if (name != NULL && control_session_named(c, params, err) == NULL)
		return NULL;
	js = json_object();
	rc = json_object_set_new(js, "worker", control_json_worker(c->w));
	rc |= json_object_set_new(js, "sessions", sessions_json(c,
	    json_object(), name, list_session_stats));
	rc |= json_object_set_new(js, "clients", clients_json(c, name));
	if (rc == 0)
		return js;
	json_decref(js);
	return NULL;
}

static json_t *
client_list(void *ctx, const json_t *params, struct rpc_error *err)
{
	struct control *c = ((struct control_call *)ctx)->control;

	(void)err;
	return wrapped("clients",
	    clients_json(c, param_text(params, "session")));
}

static json_t *
log_set(void *ctx, const json_t *params, struct rpc_error *err)
{
	const struct control_call *call = ctx;
	struct log *log = call->control->w->log;
	const char *name = param_text(params, "level");
	enum log_level level, previous = log_get_level(log);

	if (log_level_parse(name, &level) < 0)
		return rpc_fail(err, RPC_E_PARAMS, "level", "\"%s\" is no log "
		    "level: error, warning, info or debug", name);
	log_set_level(log, level);
	log_info(log, "%s: log level %s, was %s", call->who,
	    log_level_name(level), log_level_name(previous));
	return json_pack("{s:s, s:s}", "level", log_level_name(level),
	    "previous", log_level_name(previous));
}

const struct rpc_method control_methods[] = {
	{ "client.list", client_list, params_session_optional, 0 },
	{ "config.reload", control_config_reload, params_none, 0 },
	{ "daemon.drain", daemon_drain, params_drain, 0 },
	{ "daemon.info", daemon_info, params_none, 0 },
	{ "daemon.stop", daemon_stop, params_none, 0 },
	{ "fault.clear", control_fault_clear, control_fault_clear_params, 0 },
	{ "fault.list", control_fault_list, control_fault_list_params, 0 },
	{ "fault.set", control_fault_set, control_fault_set_params, 0 },
	{ "log.set", log_set, params_level, 0 },
	{ "session.add", control_session_add, control_session_add_params, 0 },
	{ "session.discover", control_session_discover,
	    control_session_discover_params, 0 },
	{ "session.list", session_list, params_none, 0 },
	{ "session.login", control_session_login, control_session_params, 0 },
	{ "session.logout", control_session_logout, control_session_params,
	    0 },
	{ "session.reconnect", session_reconnect_now, control_session_params,
	    0 },
	{ "session.remove", control_session_remove, control_session_params,
	    0 },
	{ "session.show", session_show, params_show, 0 },
	{ "stats.get", stats_get, params_session_optional, 0 },
	{ "trace.list", control_trace_list, params_none, 0 },
	{ "trace.start", control_trace_start, control_trace_start_params, 1 },
	{ "trace.stop", control_trace_stop, control_trace_stop_params, 0 },
};

const size_t control_method_count =
    sizeof(control_methods) / sizeof(control_methods[0]);
