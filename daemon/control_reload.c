/* SPDX-License-Identifier: ISC */
/*
 * config.reload: what a reload did as lists of names, or all errors of the
 * file.
 */
#include "config.h"

#include <string.h>

#include "daemon/conf.h"
#include "daemon/control_priv.h"
#include "daemon/log.h"
#include "daemon/worker.h"

/* What is collected meanwhile. */
struct notes {
	json_t	*js;
	int	 rc;
};

static const char *const lists[CONTROL_CHANGES] = {
	[CONTROL_ADDED] = "added",
	[CONTROL_REMOVED] = "removed",
	[CONTROL_CHANGED] = "changed",
	[CONTROL_ACCESS] = "access",
	[CONTROL_SKIPPED] = "skipped",
	[CONTROL_SETTING] = "settings",
	[CONTROL_RESTART] = "restart",
};

static void
note(void *ctx, enum control_change what, const char *name)
{
	struct notes *n = ctx;

	n->rc |= json_array_append_new(json_object_get(n->js, lists[what]),
	    json_string(name));
}

static json_t *
errors_json(const struct config_errors *errs)
{
	json_t *list = json_array();
	int rc = 0;

	for (size_t i = 0; i < errs->count; i++)
		rc |= json_array_append_new(list,
		    control_json_text(errs->text[i]));
	if (rc == 0)
		return list;
	json_decref(list);
	return NULL;
}

json_t *
control_config_reload(void *ctx, const json_t *params, struct rpc_error *err)
{
	const struct control_call *call = ctx;
	struct control *c = call->control;
	struct notes n = { NULL, 0 };
	struct control_info info;
	struct config_errors errs;

	(void)params;
	c->ops->info(c->arg, &info);
	if (info.draining || info.stopping)
		return rpc_fail(err, RPC_E_BUSY, NULL,
		    "the daemon is stopping");
	n.js = json_object();
	log_info(c->w->log, "%s: asks for a reload", call->who);
	for (int i = 0; i < CONTROL_CHANGES; i++)
		n.rc |= json_object_set_new(n.js, lists[i], json_array());
	memset(&errs, 0, sizeof(errs));
	if (n.rc == 0 && !c->ops->reload(c->arg, note, &n, &errs)) {
		rpc_fail(err, RPC_E_CONFIG, errs.key, "nothing changed: %s",
		    errs.count > 0 ? errs.text[0] : "out of memory");
		err->errors = errors_json(&errs);
		n.rc = -1;
	}
	config_errors_clear(&errs);
	if (n.rc == 0)
		return n.js;
	json_decref(n.js);
	return NULL;
}
