/* SPDX-License-Identifier: ISC */
/*
 * Signals and the way out: no more clients, goodbye to those that are there,
 * Logout of every session, end of the loop.  A signal lets open tasks end
 * first; a second one does not wait for anything.
 */
#include "config.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/client.h"
#include "daemon/conf.h"
#include "daemon/daemon_priv.h"
#include "daemon/listener.h"
#include "daemon/log.h"
#include "daemon/loop.h"
#include "daemon/session.h"
#include "daemon/worker.h"
#include "proto/msg.h"

/* Sessions keep their own time for Logout; this comes on top, in ms. */
#define STOP_GRACE	2000

static void
leave(struct daemon *d, const char *why)
{
	log_warn(d->log, "%s: leaving without Logout of all sessions", why);
	d->forced = true;
	loop_stop(d->w->loop);
}

void
daemon_stop_check(struct daemon *d)
{
	if (d->stopping && TAILQ_EMPTY(&d->clients) && d->nlogouts == 0)
		loop_stop(d->w->loop);
}

static void
on_session_stopped(void *arg)
{
	struct daemon *d = arg;

	d->nlogouts--;
	daemon_stop_check(d);
}

static uint32_t
longest_logout(const struct daemon *d)
{
	const struct session *s = NULL;
	uint32_t ms = 0;

	while ((s = session_next(d->w, s)) != NULL) {
		if (session_config(s)->logout_timeout > ms)
			ms = session_config(s)->logout_timeout;
	}
	return ms;
}

static void
on_stop(void *arg)
{
	struct daemon *d = arg;
	struct session *s = NULL;
	struct daemon_client *dc;
	uint32_t sessions = 0;

	while ((s = session_next(d->w, s)) != NULL)
		sessions++;
	d->nlogouts += sessions;
	log_info(d->log, "stopping: %u client%s, %u session%s",
	    (unsigned)d->nclients, d->nclients == 1 ? "" : "s",
	    (unsigned)sessions, sessions == 1 ? "" : "s");
	daemon_notify("STOPPING=1");
	listener_free(d->data);
	d->data = NULL;
	/* First the sessions, so that tasks end before their clients do. */
	while ((s = session_next(d->w, s)) != NULL)
		session_stop(s, on_session_stopped, d);
	TAILQ_FOREACH(dc, &d->clients, link)
		client_close(dc->client, MSG_R_SHUTDOWN,
		    "the daemon is stopping");
	loop_timer_set(d->stop_deadline,
	    (uint64_t)longest_logout(d) + STOP_GRACE);
	d->nlogouts--;
	daemon_stop_check(d);
}

void
daemon_stop(struct daemon *d)
{
	if (d->stopping)
		return;
	d->stopping = true;
	d->nlogouts = 1;	/* until on_stop() knows them all */
	loop_post(d->w->loop, &d->stop_job);
}

static void
on_stop_signal(void *arg)
{
	struct daemon *d = arg;
	uint64_t now = loop_now(d->w->loop);
	uint32_t timeout = d->config->drain_timeout;

	if (d->signalled) {
		leave(d, "second signal");
		return;
	}
	d->signalled = true;
	/* A drain that somebody asked for may end earlier than this one. */
	if (d->draining && d->drain_end < now + timeout)
		timeout = d->drain_end > now ?
		    (uint32_t)(d->drain_end - now) : 0;
	daemon_drain(d, timeout);
}

static void
on_stop_deadline(void *arg)
{
	leave(arg, "stopping takes too long");
}

static void
on_reload_signal(void *arg)
{
	struct daemon *d = arg;
	struct config_errors errs;

	if (d->stopping || d->draining) {
		log_warn(d->log, "SIGHUP: the daemon is stopping, so its "
		    "configuration is not read again");
		return;
	}
	log_info(d->log, "SIGHUP: reading the configuration again");
	daemon_notify_reloading();
	memset(&errs, 0, sizeof(errs));
	(void)daemon_reload(d, NULL, NULL, &errs);
	config_errors_clear(&errs);
	daemon_notify("READY=1");
}

bool
daemon_stop_init(struct daemon *d)
{
	struct loop *loop = d->w->loop;

	loop_job_init(&d->stop_job, on_stop, d);
	d->stop_deadline = loop_timer_new(loop, on_stop_deadline, d);
	d->on_term = loop_signal_new(loop, SIGTERM, on_stop_signal, d);
	d->on_int = loop_signal_new(loop, SIGINT, on_stop_signal, d);
	d->on_hup = loop_signal_new(loop, SIGHUP, on_reload_signal, d);
	return daemon_drain_init(d) &&
	    d->stop_deadline != NULL && d->on_term != NULL &&
	    d->on_int != NULL && d->on_hup != NULL;
}

void
daemon_stop_free(struct daemon *d)
{
	if (d->stop_deadline != NULL)
		loop_unpost(d->w->loop, &d->stop_job);
	daemon_drain_free(d);
	loop_timer_free(d->stop_deadline);
	loop_signal_free(d->on_term);
	loop_signal_free(d->on_int);
	loop_signal_free(d->on_hup);
}
