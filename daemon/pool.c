/* SPDX-License-Identifier: ISC */
/*
 * Slabs: three size classes, a bounded list of free ones each, and counters.
 * Slices of slabs are in slices.c.  It calls the C library only.
 */
#include "config.h"

#include <sys/mman.h>
#include <sys/queue.h>

#include <errno.h>
#include <stdlib.h>

#include "daemon/pool.h"
#include "daemon/pool_internal.h"

/* Cache line: slab data starts at a multiple of it. */
#define POOL_ALIGN	64

static const uint32_t class_size[POOL_CLASSES] = {
	POOL_SMALL, POOL_MEDIUM, POOL_LARGE
};

/*
 * Large slabs are mapped one by one, because a heap seldom gives memory in
 * the middle of it back to the system.
 */
static uint8_t *
data_alloc(uint32_t class)
{
	void *data;

	if (class != POOL_CLASSES - 1)
		return aligned_alloc(POOL_ALIGN, class_size[class]);
	data = mmap(NULL, POOL_LARGE, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return data == MAP_FAILED ? NULL : data;
}

static void
slab_free(struct slab *slab)
{
	if (slab->class == POOL_CLASSES - 1)
		munmap(slab->data, POOL_LARGE);
	else
		free(slab->data);
	free(slab);
}

static struct slab *
slab_new(struct pool *pool, uint32_t class)
{
	struct slab *slab;

	slab = calloc(1, sizeof(*slab));
	if (slab == NULL)
		return NULL;
	slab->data = data_alloc(class);
	if (slab->data == NULL) {
		free(slab);
		return NULL;
	}
	slab->size = class_size[class];
	slab->class = class;
	slab->pool = pool;
	return slab;
}

struct pool *
pool_new(size_t keep_max)
{
	struct pool *pool;
	size_t i;

	pool = calloc(1, sizeof(*pool));
	if (pool == NULL)
		return NULL;
	for (i = 0; i < POOL_CLASSES; i++)
		SLIST_INIT(&pool->kept[i]);
	STAILQ_INIT(&pool->free_slices);
	pool->keep_max = keep_max;
	return pool;
}

/* Free slabs of the pool, large ones first, until `keep` bytes are left. */
static void
drop_slabs(struct pool *pool, uint64_t keep)
{
	struct slab *slab;
	size_t i;

	for (i = POOL_CLASSES; i-- > 0;) {
		while (pool->stats.bytes_kept > keep &&
		    (slab = SLIST_FIRST(&pool->kept[i])) != NULL) {
			SLIST_REMOVE_HEAD(&pool->kept[i], link);
			pool->stats.kept[i]--;
			pool->stats.bytes_kept -= slab->size;
			slab_free(slab);
		}
	}
}

void
pool_free(struct pool *pool)
{
	if (pool == NULL)
		return;
	drop_slabs(pool, 0);
	slices_trim(pool, 0);
	free(pool);
}

struct slab *
pool_get(struct pool *pool, size_t size)
{
	struct slab *slab;
	uint32_t class = 0;

	while (class < POOL_CLASSES && size > class_size[class])
		class++;
	if (class == POOL_CLASSES) {
		errno = ENOBUFS;
		return NULL;
	}
	slab = SLIST_FIRST(&pool->kept[class]);
	if (slab != NULL) {
		SLIST_REMOVE_HEAD(&pool->kept[class], link);
		pool->stats.kept[class]--;
		pool->stats.bytes_kept -= slab->size;
		if (pool->idle_bytes > pool->stats.bytes_kept)
			pool->idle_bytes = pool->stats.bytes_kept;
		pool->stats.hits[class]++;
	} else {
		slab = slab_new(pool, class);
		if (slab == NULL) {
			errno = ENOMEM;
			return NULL;
		}
		pool->stats.misses[class]++;
	}
	slab->refs = 1;
	slab->used = 0;
	pool->stats.out[class]++;
	pool->stats.bytes_out += slab->size;
	return slab;
}

void
slab_unref(struct slab *slab)
{
	struct pool *pool;

	if (slab == NULL || --slab->refs > 0)
		return;
	pool = slab->pool;
	pool->stats.out[slab->class]--;
	pool->stats.bytes_out -= slab->size;
	if (pool->stats.bytes_kept + slab->size > pool->keep_max) {
		slab_free(slab);
		return;
	}
	SLIST_INSERT_HEAD(&pool->kept[slab->class], slab, link);
	pool->stats.kept[slab->class]++;
	pool->stats.bytes_kept += slab->size;
	pool_kept(pool);
}

void
pool_kept(struct pool *pool)
{
	if (pool->told || pool->on_kept == NULL)
		return;
	pool->told = true;
	pool->on_kept(pool->on_kept_arg);
}

void
pool_on_kept(struct pool *pool, void (*cb)(void *arg), void *arg)
{
	pool->on_kept = cb;
	pool->on_kept_arg = arg;
}

bool
pool_trim(struct pool *pool)
{
	struct pool_stats *stats = &pool->stats;
	uint64_t before = stats->bytes_kept;

	if (pool->idle_bytes > 0 || pool->idle_slices > 0)
		stats->trims++;
	drop_slabs(pool, before - (pool->idle_bytes + 1) / 2);
	slices_trim(pool, stats->slices_kept - (pool->idle_slices + 1) / 2);
	stats->bytes_trimmed += before - stats->bytes_kept;
	pool->idle_bytes = stats->bytes_kept;
	pool->idle_slices = stats->slices_kept;
	pool->told = stats->bytes_kept > 0 || stats->slices_kept > 0;
	return pool->told;
}

void
pool_stats_get(const struct pool *pool, struct pool_stats *out)
{
	*out = pool->stats;
}
