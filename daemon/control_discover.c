/* SPDX-License-Identifier: ISC */
/*
 * session.discover: parameters to a discovery session, what it found to JSON.
 * The answer comes when the discovery ends; a caller that goes away ends it.
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/conf.h"
#include "daemon/control_priv.h"
#include "daemon/discover.h"
#include "daemon/log.h"
#include "daemon/session.h"
#include "daemon/worker.h"

#define DISCOVERIES_MAX	16u	/* at a time */
/* ms; iscsimuxctl waits for ten seconds. */
#define TIMEOUT_DEFAULT	8000
#define TIMEOUT_MIN	10
#define TIMEOUT_MAX	86400000

const struct rpc_param control_session_discover_params[] = {
	{ "portal", JSON_STRING, true },
	{ "session", JSON_STRING, false },
	{ "timeout_ms", JSON_INTEGER, false },
	{ NULL, 0, false }
};

/* One that is running. */
struct discovery {
	struct control		*control;
	struct control_later	*later;
	struct discover		*discover;
	struct config_session	*credentials;	/* whose; or NULL */
};

static void
discovery_free(struct discovery *d)
{
	d->control->discoveries--;
	config_session_unref(d->credentials);
	free(d);
}

static json_t *
record_json(const struct sendtargets_record *r)
{
	char portal[SENDTARGETS_PORTAL_SIZE];
	json_t *js = json_object();
	int rc;

	sendtargets_portal(r, portal);
	rc = json_object_set_new(js, "target", control_json_text(r->target));
	rc |= json_object_set_new(js, "portal", json_string(portal));
	rc |= json_object_set_new(js, "portal_group", r->have_tpgt ?
	    json_integer(r->tpgt) : json_null());
	if (rc == 0)
		return js;
	json_decref(js);
	return NULL;
}

static json_t *
result_json(const struct discover_result *result)
{
	json_t *list = json_array(), *js = json_object();
	int rc = 0;

	for (size_t i = 0; i < result->count; i++)
		rc |= json_array_append_new(list,
		    record_json(&result->records[i]));
	rc |= json_object_set_new(js, "portal", json_string(result->portal));
	rc |= json_object_set_new(js, "redirects",
	    json_integer((json_int_t)result->hops));
	rc |= json_object_set_new(js, "targets", list);
	if (rc == 0)
		return js;
	json_decref(js);
	return NULL;
}

/* The discovery has ended. */
static void
on_done(void *arg, const struct discover_result *result)
{
	struct discovery *d = arg;
	struct control_later *later = d->later;
	struct rpc_error err = { 0 };
	json_t *js = NULL;

	if (result->error != NULL) {
		rpc_fail(&err, RPC_E_TARGET, NULL, "discovery at %s: %s",
		    result->portal, result->error);
	} else {
		js = result_json(result);
		if (js == NULL)
			rpc_fail(&err, RPC_E_INTERNAL, NULL, "out of memory");
	}
	discovery_free(d);
	control_later_answer(later, js, &err);
}

static const struct discover_ops discover_ops = { .on_done = on_done };

/* Nobody waits any more. */
static void
on_gone(void *arg)
{
	struct discovery *d = arg;

	discover_cancel(d->discover);
	discovery_free(d);
}

/* The portal; `host` has room for SENDTARGETS_PORTAL_SIZE bytes. */
static bool
take_portal(const json_t *params, char *host, struct discover_wanted *wanted,
    struct rpc_error *err)
{
	const char *text = json_string_value(json_object_get(params,
	    "portal"));
	const char *wrong = strlen(text) >= SENDTARGETS_PORTAL_SIZE ?
	    "it is too long" : config_portal_parse(text, host, &wanted->port);

	wanted->host = host;
	if (wrong == NULL && strlen(host) > SENDTARGETS_HOST_MAX)
		wrong = "the host is too long";
	if (wrong == NULL)
		return true;
	rpc_fail(err, RPC_E_PARAMS, "portal", "'%.80s' is no portal: %s "
	    "(HOST, HOST:PORT or [IPV6]:PORT)", text, wrong);
	return false;
}

static bool
take_timeout(const json_t *params, struct discover_wanted *wanted,
    struct rpc_error *err)
{
	const json_t *js = json_object_get(params, "timeout_ms");
	json_int_t ms = js != NULL ? json_integer_value(js) : TIMEOUT_DEFAULT;

	wanted->timeout_ms = (uint32_t)ms;
	if (ms >= TIMEOUT_MIN && ms <= TIMEOUT_MAX)
		return true;
	rpc_fail(err, RPC_E_PARAMS, "timeout_ms", "\"timeout_ms\" must be "
	    "from %d to %d", TIMEOUT_MIN, TIMEOUT_MAX);
	return false;
}

/* The session whose credentials are to be used, if there is one. */
static bool
take_credentials(struct discovery *d, const json_t *params,
    struct discover_wanted *wanted, struct rpc_error *err)
{
	const struct config_session *config;
	struct session *s;

	if (json_object_get(params, "session") == NULL)
		return true;
	s = control_session_named(d->control, params, err);
	if (s == NULL)
		return false;
	config = session_config(s);
	if (config->discovery_chap.user == NULL) {
		rpc_fail(err, RPC_E_PARAMS, "session", "session %s has no "
		    "discovery-chap-user in the configuration", config->name);
		return false;
	}
	/* Counting references changes nothing that a session can see. */
	d->credentials = config_session_ref(
	    (struct config_session *)(uintptr_t)config);
	wanted->chap = &config->discovery_chap;
	wanted->chap_rules = &config->chap_rules;
	return true;
}

static json_t *
cannot_start(struct rpc_error *err, int error)
{
	if (error == EDESTADDRREQ)
		return rpc_fail(err, RPC_E_PARAMS, NULL, "no initiator-name "
		    "is configured, and without one nobody can log in");
	return rpc_fail(err, RPC_E_INTERNAL, NULL, "%s", strerror(error));
}

/* Start it and promise the answer; false with `err` filled. */
static bool
start(struct discovery *d, struct control_call *call, const json_t *params,
    struct rpc_error *err)
{
	struct discover_wanted wanted = { 0 };
	char host[SENDTARGETS_PORTAL_SIZE];

	if (!take_portal(params, host, &wanted, err) ||
	    !take_timeout(params, &wanted, err) ||
	    !take_credentials(d, params, &wanted, err))
		return false;
	d->discover = discover_start(d->control->w, &wanted, &discover_ops,
	    d);
	if (d->discover == NULL) {
		cannot_start(err, errno);
		return false;
	}
	d->later = control_later_new(call, on_gone, d);
	if (d->later == NULL) {
		discover_cancel(d->discover);
		return false;
	}
	log_info(d->control->w->log, "%s: asks for the targets at %s",
	    call->who, json_string_value(json_object_get(params, "portal")));
	return true;
}

json_t *
control_session_discover(void *ctx, const json_t *params,
    struct rpc_error *err)
{
	struct control_call *call = ctx;
	struct control *c = call->control;
	struct discovery *d;

	if (c->discoveries >= DISCOVERIES_MAX)
		return rpc_fail(err, RPC_E_BUSY, NULL, "%u discoveries are "
		    "running: try again later", c->discoveries);
	d = calloc(1, sizeof(*d));
	if (d == NULL)
		return NULL;
	d->control = c;
	c->discoveries++;
	if (start(d, call, params, err))
		return rpc_later(err);
	discovery_free(d);
	return NULL;
}
