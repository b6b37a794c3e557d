/* SPDX-License-Identifier: ISC */
/*
 * The tasks of a session: found by ITT, freed into a cache.  An aborted task
 * stays until the initiator has answered its R2Ts, as it must (RFC 7143
 * section 4.2.3.3), so that its late data is told from wrong data.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "tests/target/alloc.h"
#include "tests/target/conn.h"

static struct task **
bucket(struct conn *c, uint32_t itt)
{
	/* Multiplicative: initiators like tags with a constant low part. */
	return &c->hash[(itt * UINT32_C(2654435761)) >> 24];
}

struct task *
task_new(struct conn *c, uint32_t itt)
{
	struct task *k = c->target->free_tasks;
	struct task **head = bucket(c, itt);

	if (k != NULL)
		c->target->free_tasks = k->hash_next;
	else
		k = xalloc(sizeof(*k));
	memset(k, 0, sizeof(*k));
	k->itt = itt;
	k->hash_next = *head;
	*head = k;
	TAILQ_INSERT_TAIL(&c->tasks, k, link);
	return k;
}

struct task *
task_find(struct conn *c, uint32_t itt)
{
	struct task *k;

	for (k = *bucket(c, itt); k != NULL; k = k->hash_next)
		if (k->itt == itt)
			return k;
	return NULL;
}

void
task_free(struct conn *c, struct task *k)
{
	struct task **p = bucket(c, k->itt);

	while (*p != k)
		p = &(*p)->hash_next;
	*p = k->hash_next;
	task_leave_window(c, k);
	if (k->state == TASK_SENDING)
		TAILQ_REMOVE(&c->sending, k, sending);
	TAILQ_REMOVE(&c->tasks, k, link);
	c->target->counters.r2ts_open -= k->r2t_count;
	scsi_deinit(&k->io);
	k->hash_next = c->target->free_tasks;
	c->target->free_tasks = k;
}

bool
task_forgotten(struct conn *c, uint32_t itt)
{
	struct task *k = task_find(c, itt);

	if (k == NULL || k->state != TASK_ENDED || k->wait != NULL ||
	    k->unsolicited > 0 || k->receiving)
		return false;
	task_free(c, k);
	return true;
}

void
task_leave_window(struct conn *c, struct task *k)
{
	if (k->in_window)
		c->live--;
	k->in_window = false;
}

bool
task_awaits_data(const struct task *k)
{
	return k->r2t_count > 0 || k->unsolicited > 0 || k->receiving;
}

void
task_abort(struct conn *c, struct task *k, struct tmf_wait *wait)
{
	if (k->state == TASK_ENDED)
		return;
	c->target->counters.aborted_tasks++;
	if (!task_awaits_data(k)) {
		task_free(c, k);
		return;
	}
	task_leave_window(c, k);
	k->state = TASK_ENDED;
	k->wait = wait;
	if (wait != NULL)
		wait->tasks++;
}

void
task_data_done(struct conn *c, struct task *k)
{
	struct tmf_wait *wait = k->wait;

	if (task_awaits_data(k))
		return;
	task_free(c, k);
	if (wait != NULL)
		tmf_wait_done(c, wait);
}

void
task_deinit(struct conn *c)
{
	struct tmf_wait *wait;
	struct task *k;

	while ((k = TAILQ_FIRST(&c->tasks)) != NULL)
		task_free(c, k);
	while ((wait = TAILQ_FIRST(&c->tmf_waits)) != NULL) {
		TAILQ_REMOVE(&c->tmf_waits, wait, link);
		free(wait);
	}
}

void
task_free_cache(struct target *t)
{
	struct task *k;

	while ((k = t->free_tasks) != NULL) {
		t->free_tasks = k->hash_next;
		free(k);
	}
}
