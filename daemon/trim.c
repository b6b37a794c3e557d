/* SPDX-License-Identifier: ISC */
/*
 * See trim.h.  It calls loop.c and knows nothing of what is kept.
 */
#include "config.h"

#include <stdlib.h>

#include "daemon/loop.h"
#include "daemon/trim.h"

struct trim {
	struct loop_timer	*timer;
	uint32_t		 period;	/* milliseconds */
	trim_cb			*cb;
	void			*arg;
};

static void
tick(void *arg)
{
	struct trim *t = arg;

	if (t->cb(t->arg))
		trim_want(t);
}

struct trim *
trim_new(struct loop *loop, uint32_t period_ms, trim_cb *cb, void *arg)
{
	struct trim *t;

	t = calloc(1, sizeof(*t));
	if (t == NULL)
		return NULL;
	t->timer = loop_timer_new(loop, tick, t);
	if (t->timer == NULL) {
		free(t);
		return NULL;
	}
	t->period = period_ms;
	t->cb = cb;
	t->arg = arg;
	return t;
}

void
trim_want(struct trim *t)
{
	if (t != NULL && !loop_timer_armed(t->timer))
		loop_timer_set(t->timer, t->period);
}

bool
trim_armed(const struct trim *t)
{
	return loop_timer_armed(t->timer);
}

void
trim_free(struct trim *t)
{
	if (t == NULL)
		return;
	loop_timer_free(t->timer);
	free(t);
}
