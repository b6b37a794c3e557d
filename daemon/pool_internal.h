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
	size_t			 nfree_slices;
	size_t			 keep_max;
	struct pool_stats	 stats;
};

#endif
