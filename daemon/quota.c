/* SPDX-License-Identifier: ISC */
/*
 * Accounts of clients and uids.  Pure bookkeeping: it calls nothing of the
 * daemon and knows neither sockets nor tasks.
 */
#include "config.h"

#include <sys/queue.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "daemon/quota.h"

struct quota_uid {
	LIST_ENTRY(quota_uid)	 link;
	struct quota_table	*table;
	uid_t			 uid;
	uint32_t		 refs;
	struct quota_amount	 used;
};

struct quota_table {
	LIST_HEAD(, quota_uid)	 uids;
	struct quota_amount	 max;	/* of one uid */
	uint32_t		 count;
};

struct quota_table *
quota_table_new(const struct quota_amount *client, uint32_t factor)
{
	struct quota_table *t = calloc(1, sizeof(*t));

	if (t == NULL)
		return NULL;
	LIST_INIT(&t->uids);
	quota_table_set(t, client, factor);
	return t;
}

void
quota_table_set(struct quota_table *t, const struct quota_amount *client,
    uint32_t factor)
{
	t->max.tasks = client->tasks * factor;
	t->max.in = client->in * factor;
	t->max.out = client->out * factor;
}

void
quota_table_free(struct quota_table *t)
{
	free(t);
}

uint32_t
quota_table_count(const struct quota_table *t)
{
	return t->count;
}

static struct quota_uid *
uid_get(struct quota_table *t, uid_t uid)
{
	struct quota_uid *u;

	LIST_FOREACH(u, &t->uids, link) {
		if (u->uid == uid) {
			u->refs++;
			return u;
		}
	}
	u = calloc(1, sizeof(*u));
	if (u == NULL)
		return NULL;
	u->table = t;
	u->uid = uid;
	u->refs = 1;
	LIST_INSERT_HEAD(&t->uids, u, link);
	t->count++;
	return u;
}

static void
uid_put(struct quota_uid *u)
{
	if (--u->refs > 0)
		return;
	LIST_REMOVE(u, link);
	u->table->count--;
	free(u);
}

struct quota *
quota_new(struct quota_table *t, uid_t uid, const struct quota_amount *max)
{
	struct quota *q = calloc(1, sizeof(*q));

	if (q == NULL)
		return NULL;
	q->uid = uid_get(t, uid);
	if (q->uid == NULL) {
		free(q);
		return NULL;
	}
	q->max = *max;
	q->refs = 1;
	return q;
}

struct quota *
quota_ref(struct quota *q)
{
	q->refs++;
	return q;
}

void
quota_unref(struct quota *q)
{
	if (--q->refs > 0)
		return;
	uid_put(q->uid);
	free(q);
}

const struct quota_amount *
quota_uid_used(const struct quota *q)
{
	return &q->uid->used;
}

static void
amount_add(struct quota_amount *to, const struct quota_amount *a)
{
	to->tasks += a->tasks;
	to->in += a->in;
	to->out += a->out;
}

static void
amount_sub(struct quota_amount *from, const struct quota_amount *a)
{
	from->tasks -= a->tasks;
	from->in -= a->in;
	from->out -= a->out;
}

/* The first limit that `a` on top of `used` would break, or NULL. */
static const char *
limit_broken(const struct quota_amount *used, const struct quota_amount *max,
    const struct quota_amount *a, uint64_t *limit)
{
	if (a->tasks > 0 && used->tasks + a->tasks > max->tasks) {
		*limit = max->tasks;
		return "open tasks";
	}
	if (a->in > 0 && used->in + a->in > max->in) {
		*limit = max->in;
		return "inbound bytes";
	}
	if (a->out > 0 && used->out + a->out > max->out) {
		*limit = max->out;
		return "outbound bytes";
	}
	return NULL;
}

const char *
quota_take(struct quota *q, const struct quota_amount *a, char *why,
    size_t size)
{
	const char *whose = "client", *what;
	uint64_t limit = 0;

	what = limit_broken(&q->used, &q->max, a, &limit);
	if (what == NULL) {
		whose = "user";
		what = limit_broken(&q->uid->used, &q->uid->table->max, a,
		    &limit);
	}
	if (what != NULL) {
		snprintf(why, size, "the %s's limit of %" PRIu64 " %s",
		    whose, limit, what);
		return why;
	}
	amount_add(&q->used, a);
	amount_add(&q->uid->used, a);
	return NULL;
}

void
quota_force_out(struct quota *q, uint64_t bytes)
{
	q->used.out += bytes;
	q->uid->used.out += bytes;
}

bool
quota_out_exceeded(const struct quota *q)
{
	return q->used.out > q->max.out;
}

void
quota_give(struct quota *q, const struct quota_amount *a)
{
	amount_sub(&q->used, a);
	amount_sub(&q->uid->used, a);
}
