/* SPDX-License-Identifier: ISC */
/*
 * Memory of the data path: reference-counted slabs in three size classes,
 * and slices of them.  A slab is filled once by a read and then only looked
 * at through slices; whoever holds a slice holds a reference.  Free slabs are
 * kept up to a bound and returned to the system when the worker is idle.
 */
#ifndef DAEMON_POOL_H
#define DAEMON_POOL_H

#include <sys/queue.h>
#include <sys/uio.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Size classes in bytes. */
#define POOL_SMALL	(4u * 1024)
#define POOL_MEDIUM	(64u * 1024)
#define POOL_LARGE	(16u * 1024 * 1024)
#define POOL_CLASSES	3

struct pool;

struct slab {
	uint8_t		*data;
	uint32_t	 size;		/* usable bytes at data */
	uint32_t	 used;		/* bytes filled by their one writer */
	uint32_t	 refs;
	uint32_t	 class;
	struct pool	*pool;
	SLIST_ENTRY(slab) link;
};

/* A piece of a slab; part of a list of pieces that make up a data segment. */
struct slice {
	STAILQ_ENTRY(slice)	 link;
	struct slab		*slab;
	const uint8_t		*ptr;
	uint32_t		 len;
};

/* The pieces of one data segment, in order. */
struct slices {
	STAILQ_HEAD(, slice)	 list;
	uint32_t		 count;
	uint32_t		 len;	/* bytes in all pieces */
};

struct pool_stats {
	uint64_t	hits[POOL_CLASSES];
	uint64_t	misses[POOL_CLASSES];
	uint64_t	out[POOL_CLASSES];	/* slabs in use */
	uint64_t	kept[POOL_CLASSES];	/* free slabs */
	uint64_t	bytes_out;		/* bytes of slabs in use */
	uint64_t	bytes_kept;		/* bytes of free slabs kept */
	uint64_t	slices_out;
	uint64_t	slices_kept;
	uint64_t	trims;			/* calls that gave back some */
	uint64_t	bytes_trimmed;		/* bytes of slabs given back */
};

/*
 * Keep at most `keep_max` bytes of free slabs.  NULL on lack of memory.
 */
struct pool *pool_new(size_t keep_max);

/* Free everything; nothing may be outstanding. */
void pool_free(struct pool *pool);

/*
 * A slab of at least `size` bytes with one reference, not zeroed; NULL when
 * `size` is above POOL_LARGE (ENOBUFS) or memory is short (ENOMEM).
 */
struct slab *pool_get(struct pool *pool, size_t size);

static inline struct slab *
slab_ref(struct slab *slab)
{
	slab->refs++;
	return slab;
}

/* Give a reference back; the last one returns the slab.  NULL is allowed. */
void slab_unref(struct slab *slab);

/*
 * Return half of the free slabs and slices that were not needed since the
 * last call to the system.  True if some are kept still: call it again some
 * time later.
 */
bool pool_trim(struct pool *pool);

/*
 * Have `cb` called when something is kept and pool_trim() was not called
 * since, or returned false.
 */
void pool_on_kept(struct pool *pool, void (*cb)(void *arg), void *arg);

void pool_stats_get(const struct pool *pool, struct pool_stats *out);

static inline void
slices_init(struct slices *s)
{
	STAILQ_INIT(&s->list);
	s->count = 0;
	s->len = 0;
}

/*
 * Append the `len` bytes at `ptr`, which lie in `slab`; takes a reference.
 * A piece that continues the last one is merged with it.  Returns 0 or
 * -ENOMEM.
 */
int slices_add(struct pool *pool, struct slices *s, struct slab *slab,
    const uint8_t *ptr, uint32_t len);

/*
 * Append a copy of the `len` bytes at `ptr` in slabs of its own.  What the
 * last of them has room for goes there, so that many short copies take no
 * more memory than a long one.  Returns 0 or -ENOMEM, and then nothing was
 * appended.
 */
int slices_add_copy(struct pool *pool, struct slices *s, const void *ptr,
    uint32_t len);

/*
 * Append a copy that shares the small slab `*pack` (NULL at first) with short
 * copies in other lists, or has one of its own if it is longer than that.
 * The caller gives `*pack` back with slab_unref().  Returns 0 or -ENOMEM.
 */
int slices_add_packed(struct pool *pool, struct slices *s, struct slab **pack,
    const void *ptr, uint32_t len);

/*
 * Move the first `len` bytes of `from`, or all, to the end of `to`.  Returns 0
 * or -ENOMEM, and then `from` has all its bytes still.
 */
int slices_split(struct pool *pool, struct slices *to, struct slices *from,
    uint32_t len);

/* Append the pieces of `from`, which keeps them.  Returns 0 or -ENOMEM. */
int slices_share(struct pool *pool, struct slices *to,
    const struct slices *from);

/* Drop the first piece. */
void slices_pop(struct pool *pool, struct slices *s);

/* Move all pieces of `from` to the end of `to`; `from` is empty then. */
void slices_move(struct slices *to, struct slices *from);

/* Drop all pieces and their references. */
void slices_clear(struct pool *pool, struct slices *s);

/* Copy up to `size` bytes from the start into `buf`; returns how many. */
size_t slices_copy(const struct slices *s, void *buf, size_t size);

/*
 * Replace every piece whose slab it fills to less than half by a copy, so
 * that a reader who does not keep up pins no large slab (nothing is done to
 * pieces that are copies already).  Returns 0 or -ENOMEM, and then nothing is
 * lost.
 */
int slices_unshare(struct pool *pool, struct slices *s);

/*
 * Describe the pieces from byte `skip` on in at most `max` iovecs; returns
 * how many were used.
 */
size_t slices_iov(const struct slices *s, uint32_t skip, struct iovec *iov,
    size_t max);

#endif
