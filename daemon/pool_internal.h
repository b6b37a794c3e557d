/* SPDX-License-Identifier: ISC */
/*
 * What a pool is made of, for pool.c and slices.c alone.
 */
#ifndef DAEMON_POOL_INTERNAL_H
#define DAEMON_POOL_INTERNAL_H

#include <sys/queue.h>

#include "daemon/pool.h"

struct pool {
	SLIST_HEAD(, slab)	 kept[POOL_CLASSES];
	STAILQ_HEAD(, slice)	 free_slices;
	size_t			 keep_max;
	/* What was free all the time since the last pool_trim(). */
	uint64_t		 idle_bytes;
	uint64_t		 idle_slices;
	bool			 told;		/* on_kept was called */
	void			(*on_kept)(void *arg);
	void			*on_kept_arg;
	struct pool_stats	 stats;
};

/* A slab or a slice was put on a free list. */
void pool_kept(struct pool *pool);

/* Free all but `keep` of the free slices. */
void slices_trim(struct pool *pool, uint64_t keep);

#endif
