/* SPDX-License-Identifier: ISC */
/*
 * Slices: lists of pieces of slabs that make up a data segment without a copy
 * of it.  It calls pool.c for slabs and knows nothing of what the bytes mean.
 */
#include "config.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/pool.h"
#include "daemon/pool_internal.h"

/* Free slices that a pool keeps at most. */
#define SLICES_KEEP_MAX	8192

static struct slice *
slice_new(struct pool *pool)
{
	struct slice *slice = STAILQ_FIRST(&pool->free_slices);

	if (slice != NULL) {
		STAILQ_REMOVE_HEAD(&pool->free_slices, link);
		pool->stats.slices_kept--;
		if (pool->idle_slices > pool->stats.slices_kept)
			pool->idle_slices = pool->stats.slices_kept;
	} else {
		slice = malloc(sizeof(*slice));
		if (slice == NULL)
			return NULL;
	}
	pool->stats.slices_out++;
	return slice;
}

static void
slice_free(struct pool *pool, struct slice *slice)
{
	slab_unref(slice->slab);
	pool->stats.slices_out--;
	if (pool->stats.slices_kept >= SLICES_KEEP_MAX) {
		free(slice);
		return;
	}
	pool->stats.slices_kept++;
	STAILQ_INSERT_HEAD(&pool->free_slices, slice, link);
	pool_kept(pool);
}

void
slices_trim(struct pool *pool, uint64_t keep)
{
	struct slice *slice;

	while (pool->stats.slices_kept > keep) {
		slice = STAILQ_FIRST(&pool->free_slices);
		STAILQ_REMOVE_HEAD(&pool->free_slices, link);
		pool->stats.slices_kept--;
		free(slice);
	}
}

int
slices_add(struct pool *pool, struct slices *s, struct slab *slab,
    const uint8_t *ptr, uint32_t len)
{
	struct slice *slice = STAILQ_LAST(&s->list, slice, link);

	if (len == 0)
		return 0;
	if (len > UINT32_MAX - s->len)
		return -ENOMEM;
	if (slice != NULL && slice->slab == slab &&
	    slice->ptr + slice->len == ptr) {
		slice->len += len;
		s->len += len;
		return 0;
	}
	slice = slice_new(pool);
	if (slice == NULL)
		return -ENOMEM;
	slice->slab = slab_ref(slab);
	slice->ptr = ptr;
	slice->len = len;
	STAILQ_INSERT_TAIL(&s->list, slice, link);
	s->count++;
	s->len += len;
	return 0;
}

/*
 * The size of slab for the next part of a copy: medium only if it is filled
 * at least by half, so a copy never pins twice its length or more than a
 * small slab on top.
 */
static size_t
copy_slab_size(uint32_t len)
{
	return len >= POOL_MEDIUM / 2 ? POOL_MEDIUM : POOL_SMALL;
}

/* Bytes that may be written behind the last piece, which has its slab alone. */
static uint32_t
room_at_end(const struct slice *last)
{
	const struct slab *slab = last->slab;

	if (slab->refs > 1 || last->ptr + last->len != slab->data + slab->used)
		return 0;
	return slab->size - slab->used;
}

/* Write behind the last piece. */
static void
extend(struct slices *s, struct slice *last, const uint8_t *from, uint32_t len)
{
	memcpy(last->slab->data + last->slab->used, from, len);
	last->slab->used += len;
	last->len += len;
	s->len += len;
}

int
slices_add_copy(struct pool *pool, struct slices *s, const void *ptr,
    uint32_t len)
{
	struct slice *last = STAILQ_LAST(&s->list, slice, link);
	const uint8_t *from = ptr;
	struct slices copy;
	struct slab *slab;
	uint32_t part, room;
	int error = 0;

	if (len > UINT32_MAX - s->len)
		return -ENOMEM;
	room = last == NULL ? 0 : room_at_end(last);
	if (room > len)
		room = len;
	from += room;
	len -= room;
	slices_init(&copy);
	while (len > 0) {
		slab = pool_get(pool, copy_slab_size(len));
		if (slab == NULL) {
			error = -ENOMEM;
			break;
		}
		part = len < slab->size ? len : slab->size;
		memcpy(slab->data, from, part);
		slab->used = part;
		error = slices_add(pool, &copy, slab, slab->data, part);
		slab_unref(slab);
		if (error != 0)
			break;
		from += part;
		len -= part;
	}
	if (error != 0) {
		slices_clear(pool, &copy);
		return error;
	}
	if (room > 0)
		extend(s, last, ptr, room);
	slices_move(s, &copy);
	return 0;
}

int
slices_add_packed(struct pool *pool, struct slices *s, struct slab **pack,
    const void *ptr, uint32_t len)
{
	struct slab *slab = *pack;
	int error;

	if (len > POOL_SMALL)
		return slices_add_copy(pool, s, ptr, len);
	if (slab != NULL && slab->refs == 1)
		slab->used = 0;
	if (slab == NULL || len > slab->size - slab->used) {
		slab = pool_get(pool, POOL_SMALL);
		if (slab == NULL)
			return -ENOMEM;
		slab_unref(*pack);
		*pack = slab;
	}
	memcpy(slab->data + slab->used, ptr, len);
	error = slices_add(pool, s, slab, slab->data + slab->used, len);
	if (error == 0)
		slab->used += len;
	return error;
}

void
slices_move(struct slices *to, struct slices *from)
{
	STAILQ_CONCAT(&to->list, &from->list);
	to->count += from->count;
	to->len += from->len;
	slices_init(from);
}

int
slices_share(struct pool *pool, struct slices *to, const struct slices *from)
{
	const struct slice *piece;
	int error = 0;

	STAILQ_FOREACH(piece, &from->list, link) {
		error = slices_add(pool, to, piece->slab, piece->ptr,
		    piece->len);
		if (error != 0)
			break;
	}
	return error;
}

void
slices_pop(struct pool *pool, struct slices *s)
{
	struct slice *slice = STAILQ_FIRST(&s->list);

	STAILQ_REMOVE_HEAD(&s->list, link);
	s->count--;
	s->len -= slice->len;
	slice_free(pool, slice);
}

int
slices_split(struct pool *pool, struct slices *to, struct slices *from,
    uint32_t len)
{
	struct slices rest;
	struct slice *piece;
	int error = 0;

	slices_init(&rest);
	STAILQ_FOREACH(piece, &from->list, link) {
		uint32_t n = piece->len < len ? piece->len : len;

		if (n > 0)
			error = slices_add(pool, to, piece->slab, piece->ptr,
			    n);
		if (error == 0 && n < piece->len)
			error = slices_add(pool, &rest, piece->slab,
			    piece->ptr + n, piece->len - n);
		if (error != 0)
			break;
		len -= n;
	}
	if (error == 0) {
		slices_clear(pool, from);
		slices_move(from, &rest);
	}
	slices_clear(pool, &rest);
	return error;
}

void
slices_clear(struct pool *pool, struct slices *s)
{
	struct slice *slice;

	while ((slice = STAILQ_FIRST(&s->list)) != NULL) {
		STAILQ_REMOVE_HEAD(&s->list, link);
		slice_free(pool, slice);
	}
	slices_init(s);
}

size_t
slices_copy(const struct slices *s, void *buf, size_t size)
{
	const struct slice *slice;
	uint8_t *to = buf;
	size_t done = 0, part;

	STAILQ_FOREACH(slice, &s->list, link) {
		part = slice->len;
		if (part > size - done)
			part = size - done;
		if (part == 0)
			break;
		memcpy(to + done, slice->ptr, part);
		done += part;
	}
	return done;
}

/*
 * A small slab is never worth a copy, and copies of this file fill a medium
 * one at least by half: so no piece is copied twice.
 */
static bool
is_worth_a_copy(const struct slice *slice)
{
	return slice->slab->class != 0 && slice->len < slice->slab->size / 2;
}

int
slices_unshare(struct pool *pool, struct slices *s)
{
	struct slices done, copy;
	struct slice *slice;
	int error = 0;

	slices_init(&done);
	slices_init(&copy);
	while ((slice = STAILQ_FIRST(&s->list)) != NULL) {
		if (is_worth_a_copy(slice)) {
			error = slices_add_copy(pool, &copy, slice->ptr,
			    slice->len);
			if (error != 0)
				break;
		}
		STAILQ_REMOVE_HEAD(&s->list, link);
		s->count--;
		s->len -= slice->len;
		if (copy.count > 0) {
			slices_move(&done, &copy);
			slice_free(pool, slice);
			continue;
		}
		STAILQ_INSERT_TAIL(&done.list, slice, link);
		done.count++;
		done.len += slice->len;
	}
	slices_move(&done, s);
	slices_move(s, &done);
	return error;
}

size_t
slices_iov(const struct slices *s, uint32_t skip, struct iovec *iov,
    size_t max)
{
	struct slice *slice;
	size_t n = 0;

	STAILQ_FOREACH(slice, &s->list, link) {
		if (skip >= slice->len) {
			skip -= slice->len;
			continue;
		}
		if (n == max)
			break;
		/* An iovec is also read into: it has no const. */
		iov[n].iov_base = slice->slab->data +
		    (slice->ptr - slice->slab->data) + skip;
		iov[n].iov_len = slice->len - skip;
		skip = 0;
		n++;
	}
	return n;
}
