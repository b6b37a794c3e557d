/* SPDX-License-Identifier: ISC */
/*
 * The configuration read again while the daemon runs.  It is checked as a
 * whole beside the running one; if anything is wrong, nothing happens.  Else
 * what is equal by value is left alone.  The loop waits meanwhile: the files
 * are small and local, and names of users are best written as numbers where
 * the user database is not.
 */
#include "config.h"

#include <string.h>

#include "daemon/conf.h"
#include "daemon/daemon_priv.h"
#include "daemon/log.h"
#include "daemon/quota.h"
#include "daemon/session.h"
#include "daemon/worker.h"
#include "proto/msg.h"

/* One reload: the new configuration, and who wants to hear of changes. */
struct reload {
	struct daemon	*d;
	struct config	*config;
	control_note	*note;
	void		*ctx;
};

static void
tell(struct reload *r, enum control_change what, const char *name)
{
	static const char *const words[] = {
		[CONTROL_ADDED] = "session added",
		[CONTROL_REMOVED] = "session is removed",
		[CONTROL_CHANGED] = "session changed, logs in again",
		[CONTROL_ACCESS] = "access rules changed",
		[CONTROL_SKIPPED] = ("session left as it is: clients share "
		    "it, or another one has its target and ISID"),
		[CONTROL_SETTING] = "key changed",
		[CONTROL_RESTART] = "key changed, which needs a restart",
	};

	log_info(r->d->log, "reload: %s: %s", name, words[what]);
	if (r->note != NULL)
		r->note(r->ctx, what, name);
}

/* A key that the command line or the service manager gave goes before the
 * file's. */
static bool
is_given(const struct daemon *d, const char *key)
{
	return (d->given_data_socket && strcmp(key, "data-socket") == 0) ||
	    (d->given_control_socket && strcmp(key, "control-socket") == 0) ||
	    (d->given_user && strcmp(key, "user") == 0);
}

static void
tell_key(void *ctx, const char *key, bool restart)
{
	struct reload *r = ctx;

	if (!is_given(r->d, key))
		tell(r, restart ? CONTROL_RESTART : CONTROL_SETTING, key);
}

static bool
is_shared(const struct session *s)
{
	return (session_flags(s) & MSG_LISTING_SHARED) != 0 ||
	    session_config(s)->origin == CONFIG_SHARED;
}

/* Sessions of the old file that the new one does not have. */
static void
remove_sessions(struct reload *r)
{
	struct session *s = NULL;

	while ((s = session_next(r->d->w, s)) != NULL) {
		const struct config_session *old =
		    daemon_session_config(r->d, s);

		if (old->origin != CONFIG_FROM_FILE ||
		    daemon_session_leaves(r->d, s) ||
		    config_session_find(r->config, old->name) != NULL)
			continue;
		if (is_shared(s) || !daemon_session_drop(r->d, s))
			tell(r, CONTROL_SKIPPED, old->name);
		else
			tell(r, CONTROL_REMOVED, old->name);
	}
}

static void
add_session(struct reload *r, struct config_session *config)
{
	struct session *s = NULL;

	if (daemon_session_clash(r->d, config) == NULL)
		s = session_new(r->d->w, config);
	if (s == NULL) {
		tell(r, CONTROL_SKIPPED, config->name);
		return;
	}
	tell(r, CONTROL_ADDED, config->name);
	if (!config->manual)
		session_start(s);
}

/* Log the session out and in again, if it runs or is to run from now on. */
static void
change_session(struct reload *r, struct session *s,
    struct config_session *config)
{
	const struct config_session *old = daemon_session_config(r->d, s);
	bool start = daemon_session_runs(r->d, s) ||
	    (old->manual && !config->manual);

	tell(r, daemon_session_clash(r->d, config) == NULL &&
	    daemon_session_change(r->d, s, config, start) ?
	    CONTROL_CHANGED : CONTROL_SKIPPED, config->name);
}

/* A block that only grants something else binds who shares its session; rules
 * of a client that has no block are no business of the file's. */
static bool
is_left_alone(const struct session *s, enum config_difference differs)
{
	return is_shared(s) && (differs != CONFIG_ACCESS_DIFFERS ||
	    session_config(s)->origin == CONFIG_SHARED);
}

static void
take_session(struct reload *r, struct config_session *config)
{
	struct session *s = session_find(r->d->w, config->name);
	enum config_difference differs;

	if (s == NULL) {
		add_session(r, config);
		return;
	}
	differs = config_session_compare(daemon_session_config(r->d, s),
	    config);
	if (daemon_session_leaves(r->d, s)) {
		tell(r, daemon_session_clash(r->d, config) == NULL &&
		    daemon_session_change(r->d, s, config,
		    !config->manual) ? CONTROL_ADDED : CONTROL_SKIPPED,
		    config->name);
	} else if (is_left_alone(s, differs)) {
		if (differs != CONFIG_EQUAL)
			tell(r, CONTROL_SKIPPED, config->name);
	} else if (differs == CONFIG_DIFFERENT ||
	    daemon_session_config(r->d, s) != session_config(s)) {
		if (differs != CONFIG_EQUAL)
			change_session(r, s, config);
	} else {
		if (differs == CONFIG_ACCESS_DIFFERS)
			tell(r, CONTROL_ACCESS, config->name);
		session_set_config(s, config);
	}
}

static void
apply(struct reload *r)
{
	struct daemon *d = r->d;
	struct config *old = d->config;
	const struct config_limits *l = &r->config->limits;
	const struct quota_amount client = {
		.tasks = l->client_tasks, .in = l->client_inbound,
		.out = l->client_outbound,
	};

	config_daemon_compare(old, r->config, tell_key, r);
	config_keep(r->config, old);
	d->config = r->config;
	d->w->config = r->config;
	if (!d->debug)
		log_set_level(d->log, d->config->log_level);
	quota_table_set(d->w->quotas, &client, l->uid_factor);
	remove_sessions(r);
	for (size_t i = 0; i < r->config->session_count; i++)
		take_session(r, r->config->sessions[i]);
	daemon_recheck_clients(d);
	config_free(old);
}

bool
daemon_reload(struct daemon *d, control_note *note, void *ctx,
    struct config_errors *errs)
{
	struct reload r = { .d = d, .note = note, .ctx = ctx };

	if (config_load_again(d->config_path, !d->config_given, d->config,
	    &r.config, errs) != 0) {
		for (size_t i = 0; i < errs->count; i++)
			log_error(d->log, "reload: %s", errs->text[i]);
		log_error(d->log, "reload: refused, %zu errors: nothing "
		    "changed", errs->total);
		return false;
	}
	apply(&r);
	log_info(d->log, "reload: done");
	return true;
}
