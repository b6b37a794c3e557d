/* SPDX-License-Identifier: ISC */
/*
 * Sessions that come, go, start and stop while the daemon runs.  A session
 * that has to log out first has a plan: what is to become of it after that.
 * A later wish changes the plan, so there is never more than one of a session.
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/conf.h"
#include "daemon/control_rpc.h"
#include "daemon/daemon_priv.h"
#include "daemon/log.h"
#include "daemon/session.h"
#include "daemon/worker.h"

struct daemon_plan {
	TAILQ_ENTRY(daemon_plan) link;
	struct daemon		*d;
	struct session		*s;
	struct config_session	*config;	/* from then on; or NULL */
	bool			 start;
	bool			 remove;
};

static struct daemon_plan *
plan_find(struct daemon *d, const struct session *s)
{
	struct daemon_plan *plan;

	TAILQ_FOREACH(plan, &d->plans, link) {
		if (plan->s == s)
			return plan;
	}
	return NULL;
}

static void
plan_free(struct daemon_plan *plan)
{
	TAILQ_REMOVE(&plan->d->plans, plan, link);
	config_session_unref(plan->config);
	free(plan);
}

/* The session has logged out. */
static void
plan_due(void *arg)
{
	struct daemon_plan *plan = arg;
	struct session *s = plan->s;

	if (plan->remove) {
		log_info(plan->d->log, "session %s: removed",
		    session_config(s)->name);
		session_free(s, "the session was removed");
	} else {
		if (plan->config != NULL)
			session_set_config(s, plan->config);
		session_reopen(s);
		/* Before it is up again: the new block has access rules. */
		daemon_recheck_clients(plan->d);
		if (plan->start)
			session_start(s);
	}
	plan_free(plan);
}

/* The plan of a session, which begins to log out if it has none yet. */
static struct daemon_plan *
plan_get(struct daemon *d, struct session *s)
{
	struct daemon_plan *plan = plan_find(d, s);

	if (plan != NULL)
		return plan;
	plan = calloc(1, sizeof(*plan));
	if (plan == NULL)
		return NULL;
	plan->d = d;
	plan->s = s;
	TAILQ_INSERT_TAIL(&d->plans, plan, link);
	session_stop(s, plan_due, plan);
	return plan;
}

void
daemon_manage_free(struct daemon *d)
{
	struct daemon_plan *plan;

	while ((plan = TAILQ_FIRST(&d->plans)) != NULL)
		plan_free(plan);
}

const struct config_session *
daemon_session_config(struct daemon *d, const struct session *s)
{
	const struct daemon_plan *plan = plan_find(d, s);

	return plan != NULL && plan->config != NULL ? plan->config :
	    session_config(s);
}

bool
daemon_session_runs(struct daemon *d, const struct session *s)
{
	const struct daemon_plan *plan = plan_find(d, s);

	return plan != NULL ? plan->start : !session_idle(s);
}

bool
daemon_session_leaves(struct daemon *d, const struct session *s)
{
	const struct daemon_plan *plan = plan_find(d, s);

	return plan != NULL && plan->remove;
}

bool
daemon_session_change(struct daemon *d, struct session *s,
    struct config_session *config, bool start)
{
	struct daemon_plan *plan = plan_get(d, s);

	if (plan == NULL)
		return false;
	config_session_unref(plan->config);
	plan->config = config_session_ref(config);
	plan->start = start;
	plan->remove = false;
	return true;
}

bool
daemon_session_drop(struct daemon *d, struct session *s)
{
	struct daemon_plan *plan = plan_get(d, s);

	if (plan == NULL)
		return false;
	plan->remove = true;
	plan->start = false;
	return true;
}

/* --- what an admin asks for; false with `err` filled --- */

static bool
refuse(struct rpc_error *err, const char *why, const struct session *s)
{
	rpc_fail(err, RPC_E_BUSY, "session", "session %s %s",
	    session_config(s)->name, why);
	return false;
}

/* True if the daemon and the session are in a state to be managed. */
static bool
may_manage(struct daemon *d, const struct session *s, struct rpc_error *err)
{
	if (d->stopping || d->draining) {
		rpc_fail(err, RPC_E_BUSY, NULL, "the daemon is stopping");
		return false;
	}
	if (s == NULL)
		return true;
	if (daemon_session_leaves(d, s))
		return refuse(err, "is being removed", s);
	if (session_stopping(s) && plan_find(d, s) == NULL)
		return refuse(err, "is ending, its last client has gone", s);
	return true;
}

bool
daemon_session_remove(struct daemon *d, struct session *s,
    struct rpc_error *err)
{
	return may_manage(d, s, err) && daemon_session_drop(d, s);
}

bool
daemon_session_login(struct daemon *d, struct session *s,
    struct rpc_error *err)
{
	struct daemon_plan *plan = plan_find(d, s);

	if (!may_manage(d, s, err))
		return false;
	if (plan != NULL)
		plan->start = true;
	else
		session_start(s);
	return true;
}

bool
daemon_session_logout(struct daemon *d, struct session *s,
    struct rpc_error *err)
{
	struct daemon_plan *plan;

	if (!may_manage(d, s, err))
		return false;
	if (session_config(s)->origin == CONFIG_SHARED)
		return refuse(err, "was made by SHARE and ends with its last "
		    "client: remove it", s);
	if (plan_find(d, s) == NULL && session_idle(s))
		return true;
	plan = plan_get(d, s);
	if (plan == NULL)
		return false;
	plan->start = false;
	return true;
}

/* --- session.add --- */

static bool
same_portal(const struct config_session *a, const struct config_session *b)
{
	return a->portal.port == b->portal.port &&
	    strcasecmp(a->portal.host, b->portal.host) == 0;
}

/* True if `c` is a session of that target with that ISID. */
static bool
is_nexus(const struct worker *w, const struct config_session *c,
    const char *target, const uint8_t *isid)
{
	uint8_t mine[CONFIG_ISID_LEN];

	session_isid_of(w, c, mine);
	return memcmp(mine, isid, sizeof(mine)) == 0 &&
	    strcasecmp(c->target, target) == 0;
}

struct session *
daemon_session_clash(struct daemon *d, const struct config_session *config)
{
	uint8_t mine[CONFIG_ISID_LEN], other[CONFIG_ISID_LEN];
	struct session *o = NULL;

	session_isid_of(d->w, config, mine);
	while ((o = session_next(d->w, o)) != NULL) {
		if (strcmp(session_config(o)->name, config->name) == 0)
			continue;
		/* What it is: one that is shared has another's names. */
		session_isid(o, other);
		if (memcmp(mine, other, sizeof(mine)) == 0 &&
		    strcasecmp(session_target(o), config->target) == 0)
			return o;
		/* What it will be. */
		if (is_nexus(d->w, daemon_session_config(d, o),
		    config->target, mine))
			return o;
	}
	return NULL;
}

/* One that the new one would be but for its name. */
static struct session *
find_twin(struct daemon *d, const struct config_session *mine)
{
	struct session *o = NULL;

	while ((o = session_next(d->w, o)) != NULL) {
		if (!mine->isid_set &&
		    strcasecmp(session_target(o), mine->target) == 0 &&
		    same_portal(mine, daemon_session_config(d, o)))
			return o;
	}
	return NULL;
}

static bool
nexus_is_free(struct daemon *d, const struct config_session *config,
    struct rpc_error *err)
{
	const struct session *o = daemon_session_clash(d, config);

	if (o != NULL) {
		rpc_fail(err, RPC_E_EXISTS, "isid", "session %s has the same "
		    "target and the same ISID: they would throw each other "
		    "out", session_config(o)->name);
		return false;
	}
	o = find_twin(d, config);
	if (o == NULL)
		return true;
	rpc_fail(err, RPC_E_EXISTS, "target", "session %s has the same target "
	    "and portal: use that one, or give an isid to have a second one",
	    session_config(o)->name);
	return false;
}

/* The session of that name exists: the same one, or another? */
static struct session *
take_existing(struct daemon *d, struct session *s,
    const struct config_session *config, struct rpc_error *err)
{
	if (!may_manage(d, s, err))
		return NULL;
	if (config_session_compare(daemon_session_config(d, s), config) ==
	    CONFIG_EQUAL)
		return s;
	rpc_fail(err, RPC_E_EXISTS, "session", "there is a session %s with "
	    "other values: remove it first", config->name);
	return NULL;
}

static bool
may_add(struct daemon *d, struct rpc_error *err)
{
	const struct session *s = NULL;
	unsigned n = 0;

	while ((s = session_next(d->w, s)) != NULL)
		n++;
	if (n >= CONFIG_SESSIONS_MAX)
		rpc_fail(err, RPC_E_BUSY, NULL, "there are %u sessions, which "
		    "is all that may be", n);
	else if (d->config->initiator_name == NULL)
		rpc_fail(err, RPC_E_PARAMS, "initiator-name", "the daemon has "
		    "no initiator-name: set it in its daemon block and reload");
	else
		return may_manage(d, NULL, err);
	return false;
}

struct session *
daemon_session_add(struct daemon *d, struct config_session *config,
    bool *created, struct rpc_error *err)
{
	struct session *s = session_find(d->w, config->name);

	*created = false;
	if (s != NULL)
		return take_existing(d, s, config, err);
	if (!may_add(d, err) || !nexus_is_free(d, config, err))
		return NULL;
	s = session_new(d->w, config);
	if (s == NULL)
		return NULL;
	*created = true;
	log_info(d->log, "session %s: added: %s at %s", config->name,
	    config->target, config->portal.text);
	if (!config->manual)
		session_start(s);
	return s;
}
