/* SPDX-License-Identifier: ISC */
/*
 * Tags of a raw connection in a hash table and a list.  It calls ittmap.c and
 * nothing else of the daemon.
 */
#include "config.h"

#include <stdlib.h>

#include "daemon/ittmap.h"
#include "daemon/raw_router.h"
#include "proto/iscsi.h"

struct raw_router {
	struct ittmap		 tags;
	TAILQ_HEAD(, raw_task)	 tasks;		/* oldest first */
	uint32_t		 live;
	uint32_t		 pending;
	uint32_t		 next_itt;
	uint32_t		 last_id;
};

struct raw_router *
raw_router_new(uint32_t first)
{
	struct raw_router *r = calloc(1, sizeof(*r));

	if (r == NULL)
		return NULL;
	ittmap_init(&r->tags);
	TAILQ_INIT(&r->tasks);
	r->next_itt = first;
	return r;
}

void
raw_router_free(struct raw_router *r)
{
	struct raw_task *t;

	if (r == NULL)
		return;
	while ((t = TAILQ_FIRST(&r->tasks)) != NULL) {
		TAILQ_REMOVE(&r->tasks, t, link);
		free(t);
	}
	ittmap_deinit(&r->tags);
	free(r);
}

struct raw_task *
raw_router_find(const struct raw_router *r, uint32_t itt)
{
	return ittmap_find(&r->tags, itt);
}

static bool
client_waits(const struct raw_task *t)
{
	return t->waits == RAW_WAITS_ONE || t->waits == RAW_WAITS_MANY;
}

struct raw_task *
raw_router_add(struct raw_router *r, uint32_t itt, enum raw_waits waits)
{
	struct raw_task *t = calloc(1, sizeof(*t));

	if (t == NULL)
		return NULL;
	if (ittmap_add(&r->tags, itt, t) != 0) {
		free(t);
		return NULL;
	}
	t->itt = itt;
	t->id = ++r->last_id;
	t->waits = waits;
	TAILQ_INSERT_TAIL(&r->tasks, t, link);
	r->live++;
	if (client_waits(t))
		r->pending++;
	return t;
}

void
raw_router_register(struct raw_router *r, struct raw_task *t,
    enum raw_waits waits)
{
	t->id = ++r->last_id;
	t->waits = waits;
	t->sent = false;
	if (client_waits(t))
		r->pending++;
}

void
raw_router_unregister(struct raw_router *r, struct raw_task *t)
{
	if (client_waits(t))
		r->pending--;
	t->waits = RAW_WAITS_NONE;
}

void
raw_router_remove(struct raw_router *r, struct raw_task *t)
{
	raw_router_unregister(r, t);
	ittmap_remove(&r->tags, t->itt);
	TAILQ_REMOVE(&r->tasks, t, link);
	r->live--;
	free(t);
}

uint32_t
raw_router_free_itt(struct raw_router *r)
{
	uint32_t itt;

	do {
		itt = r->next_itt++;
	} while (itt == ISCSI_TAG_NONE || ittmap_find(&r->tags, itt) != NULL);
	return itt;
}

uint32_t
raw_router_pending(const struct raw_router *r)
{
	return r->pending;
}

uint32_t
raw_router_live(const struct raw_router *r)
{
	return r->live;
}

struct raw_task *
raw_router_next(const struct raw_router *r, const struct raw_task *t)
{
	return t == NULL ? TAILQ_FIRST(&r->tasks) : TAILQ_NEXT(t, link);
}
