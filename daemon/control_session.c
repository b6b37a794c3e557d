/* SPDX-License-Identifier: ISC */
/*
 * session.add, session.remove, session.login and session.logout: parameters
 * to a session block, answers from the session.  What may be is decided by
 * the daemon, what a value means by the configuration.
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/conf.h"
#include "daemon/control_priv.h"
#include "daemon/log.h"
#include "daemon/session.h"
#include "daemon/worker.h"

#define ACCESS	"access"

const struct rpc_param control_session_add_params[] = {
	{ "session", JSON_STRING, true },
	{ "config", JSON_OBJECT, true },
	{ NULL, 0, false }
};

const struct rpc_param control_session_params[] = {
	{ "session", JSON_STRING, true },
	{ NULL, 0, false }
};

/* --- JSON to a draft; strings stay JSON's --- */

static void
settings_free(struct config_settings *settings)
{
	for (size_t i = 0; i < settings->count; i++)
		free((void *)(uintptr_t)settings->list[i].values);
	free((void *)(uintptr_t)settings->list);
}

/* One value, or a list of them; false with `err` filled. */
static bool
take_setting(struct config_setting *out, const char *key, const json_t *value,
    struct rpc_error *err)
{
	size_t n = json_is_array(value) ? json_array_size(value) : 1;
	const char **values = calloc(n + 1, sizeof(*values));

	if (values == NULL)
		return false;
	*out = (struct config_setting){ .key = key, .values = values,
	    .count = n, .list = json_is_array(value) };
	for (size_t i = 0; i < n; i++) {
		values[i] = json_string_value(out->list ?
		    json_array_get(value, i) : value);
		if (values[i] == NULL) {
			rpc_fail(err, RPC_E_PARAMS, key, "%s: a value is a "
			    "string as in the file, or a list of strings",
			    key);
			return false;
		}
	}
	return true;
}

/* All members of `js` but access blocks. */
static bool
take_settings(struct config_settings *out, json_t *js, struct rpc_error *err)
{
	struct config_setting *list;
	const char *key;
	json_t *value;
	bool good = true;

	list = calloc(json_object_size(js) + 1, sizeof(*list));
	*out = (struct config_settings){ .list = list };
	if (list == NULL)
		return false;
	json_object_foreach(js, key, value) {
		if (!good || strcmp(key, ACCESS) == 0)
			continue;
		good = take_setting(&list[out->count++], key, value, err);
	}
	return good;
}

/* The access blocks: one object, or a list of them. */
static bool
take_access(struct config_draft *draft, json_t *access, struct rpc_error *err)
{
	size_t n = access == NULL ? 0 : json_is_array(access) ?
	    json_array_size(access) : 1;
	struct config_settings *blocks = calloc(n + 1, sizeof(*blocks));

	draft->access = blocks;
	if (blocks == NULL)
		return false;
	for (size_t i = 0; i < n; i++) {
		json_t *one = json_is_array(access) ?
		    json_array_get(access, i) : access;

		if (!json_is_object(one)) {
			rpc_fail(err, RPC_E_PARAMS, ACCESS, "access is an "
			    "object of keys and values, or a list of them");
			return false;
		}
		draft->access_count++;
		if (!take_settings(&blocks[i], one, err))
			return false;
	}
	return true;
}

static void
draft_free(struct config_draft *draft)
{
	struct config_settings *blocks =
	    (struct config_settings *)(uintptr_t)draft->access;

	settings_free(&draft->keys);
	for (size_t i = 0; i < draft->access_count; i++)
		settings_free(&blocks[i]);
	free(blocks);
}

/* The block that the parameters describe, a new reference, or NULL. */
static struct config_session *
read_config(const json_t *params, struct rpc_error *err)
{
	json_t *js = json_object_get(params, "config");
	struct config_draft draft = {
		.name = json_string_value(json_object_get(params, "session")),
	};
	struct config_session *config = NULL;
	struct config_errors errs;

	memset(&errs, 0, sizeof(errs));
	if (take_settings(&draft.keys, js, err) &&
	    take_access(&draft, json_object_get(js, ACCESS), err) &&
	    config_session_make(&draft, &config, &errs) == -EINVAL)
		rpc_fail(err, RPC_E_PARAMS, errs.key, "%s", errs.count > 0 ?
		    errs.text[0] : "");
	config_errors_clear(&errs);
	draft_free(&draft);
	return config;
}

/* --- answers --- */

static json_t *
answer(struct session *s)
{
	struct session_info info;

	session_info_get(s, &info);
	return json_pack("{s:o, s:s}", "session",
	    control_json_text(info.name), "state", info.state);
}

json_t *
control_session_add(void *ctx, const json_t *params, struct rpc_error *err)
{
	const struct control_call *call = ctx;
	struct control *c = call->control;
	struct config_session *config = read_config(params, err);
	struct session *s;
	bool created;
	json_t *js;

	if (config == NULL)
		return NULL;
	log_info(c->w->log, "%s: asks for the session %s", call->who,
	    config->name);
	s = c->ops->session_add(c->arg, config, &created, err);
	config_session_unref(config);
	if (s == NULL)
		return NULL;
	js = answer(s);
	if (json_object_set_new(js, "created", json_boolean(created)) == 0)
		return js;
	json_decref(js);
	return NULL;
}

/* What login, logout and remove have in common. */
static json_t *
manage(const struct control_call *call, const json_t *params,
    const char *what, bool (*op)(void *, struct session *,
    struct rpc_error *), struct rpc_error *err)
{
	struct control *c = call->control;
	struct session *s = control_session_named(c, params, err);

	if (s == NULL)
		return NULL;
	log_info(c->w->log, "%s: asks to %s session %s", call->who, what,
	    session_config(s)->name);
	return op(c->arg, s, err) ? answer(s) : NULL;
}

json_t *
control_session_remove(void *ctx, const json_t *params, struct rpc_error *err)
{
	const struct control_call *call = ctx;

	return manage(call, params, "remove",
	    call->control->ops->session_remove, err);
}

json_t *
control_session_login(void *ctx, const json_t *params, struct rpc_error *err)
{
	const struct control_call *call = ctx;

	return manage(call, params, "log in", call->control->ops->session_login,
	    err);
}

json_t *
control_session_logout(void *ctx, const json_t *params, struct rpc_error *err)
{
	const struct control_call *call = ctx;

	return manage(call, params, "log out",
	    call->control->ops->session_logout, err);
}
