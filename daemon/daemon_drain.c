/* SPDX-License-Identifier: ISC */
/*
 * Draining: open tasks get some time to end before the daemon stops, and no
 * new ones are let in.  Who refuses them is not known here; see `draining` of
 * struct worker.
 */
#include "config.h"

#include <inttypes.h>

#include "daemon/conf.h"
#include "daemon/daemon_priv.h"
#include "daemon/log.h"
#include "daemon/session.h"
#include "daemon/worker.h"

/* How often open tasks are counted, in ms; only meanwhile, so that no session
 * has to tell of each that ends. */
#define DRAIN_PERIOD	20

static uint32_t
open_tasks(const struct daemon *d)
{
	const struct session *s = NULL;
	uint32_t n = 0;

	while ((s = session_next(d->w, s)) != NULL)
		n += session_task_count(s);
	return n;
}

/* Stop if nothing is open any more or the time is over; else look again. */
static void
look(void *arg)
{
	struct daemon *d = arg;
	uint64_t now = loop_now(d->w->loop);
	uint32_t n = open_tasks(d);

	if (d->stopping)
		return;
	if (n > 0 && now < d->drain_end) {
		uint64_t left = d->drain_end - now;

		loop_timer_set(d->drain_timer, left < DRAIN_PERIOD ? left :
		    DRAIN_PERIOD);
		return;
	}
	if (n > 0)
		log_warn(d->log, "draining: the time is over, %" PRIu32
		    " task%s still open", n, n == 1 ? " is" : "s are");
	daemon_stop(d);
}

void
daemon_drain(struct daemon *d, uint32_t timeout)
{
	struct session *s = NULL;

	if (d->stopping)
		return;
	log_info(d->log, "draining: %" PRIu32 " open tasks have %" PRIu32
	    " ms to end", open_tasks(d), timeout);
	d->draining = d->w->draining = true;
	d->drain_end = loop_now(d->w->loop) + timeout;
	while ((s = session_next(d->w, s)) != NULL)
		session_end_held(s, "the daemon is draining");
	look(d);
}

bool
daemon_drain_init(struct daemon *d)
{
	d->drain_timer = loop_timer_new(d->w->loop, look, d);
	return d->drain_timer != NULL;
}

void
daemon_drain_free(struct daemon *d)
{
	loop_timer_free(d->drain_timer);
}
