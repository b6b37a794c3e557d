/* SPDX-License-Identifier: ISC */
/*
 * The table of Initiator Task Tags.  It knows nothing of PDUs, sessions or
 * clients; a tag is an index and a count of uses, and that is all.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "daemon/router.h"

#define CHUNK_SLOTS	64
#define INDEX_MASK	((1u << ROUTER_INDEX_BITS) - 1)
#define USES_MASK	(UINT32_MAX >> ROUTER_INDEX_BITS)

struct router {
	size_t			  slot_size;
	uint32_t		  max;
	uint32_t		  slots;	/* made so far */
	uint32_t		  live;
	uint8_t			**chunks;
	uint32_t		  chunks_max;
	STAILQ_HEAD(, router_slot) free;
};

struct router *
router_new(size_t slot_size, uint32_t max)
{
	struct router *r = calloc(1, sizeof(*r));

	if (r == NULL)
		return NULL;
	r->slot_size = slot_size;
	r->max = max < ROUTER_SLOTS_MAX ? max : ROUTER_SLOTS_MAX;
	STAILQ_INIT(&r->free);
	return r;
}

void
router_free(struct router *r)
{
	if (r == NULL)
		return;
	for (uint32_t i = 0; i * CHUNK_SLOTS < r->slots; i++)
		free(r->chunks[i]);
	free(r->chunks);
	free(r);
}

static struct router_slot *
slot_at(const struct router *r, uint32_t index)
{
	return (struct router_slot *)(void *)(r->chunks[index / CHUNK_SLOTS] +
	    (index % CHUNK_SLOTS) * r->slot_size);
}

static int
grow_chunks(struct router *r)
{
	uint32_t want = r->chunks_max == 0 ? 16 : r->chunks_max * 2;
	uint8_t **chunks;

	chunks = reallocarray(r->chunks, want, sizeof(*chunks));
	if (chunks == NULL)
		return -1;
	r->chunks = chunks;
	r->chunks_max = want;
	return 0;
}

/* Make another chunk of free slots. */
static int
grow(struct router *r)
{
	uint32_t chunk = r->slots / CHUNK_SLOTS, n = r->max - r->slots;

	if (n > CHUNK_SLOTS)
		n = CHUNK_SLOTS;
	if (chunk == r->chunks_max && grow_chunks(r) == -1)
		return -1;
	r->chunks[chunk] = calloc(CHUNK_SLOTS, r->slot_size);
	if (r->chunks[chunk] == NULL)
		return -1;
	for (uint32_t i = 0; i < n; i++) {
		struct router_slot *slot;

		r->slots++;
		slot = slot_at(r, r->slots - 1);
		slot->itt = r->slots - 1;
		STAILQ_INSERT_TAIL(&r->free, slot, link);
	}
	return 0;
}

struct router_slot *
router_take(struct router *r)
{
	struct router_slot *slot;

	if (r->live >= r->max)
		return NULL;
	if (STAILQ_EMPTY(&r->free) && grow(r) == -1)
		return NULL;
	slot = STAILQ_FIRST(&r->free);
	STAILQ_REMOVE_HEAD(&r->free, link);
	memset((uint8_t *)slot + sizeof(*slot), 0,
	    r->slot_size - sizeof(*slot));
	slot->live = true;
	if (slot->uses < UINT32_MAX)
		slot->uses++;
	r->live++;
	return slot;
}

void
router_release(struct router *r, struct router_slot *slot)
{
	uint32_t index = slot->itt & INDEX_MASK;
	uint32_t uses = (slot->itt >> ROUTER_INDEX_BITS) + 1;

	slot->live = false;
	slot->itt = (uses & USES_MASK) << ROUTER_INDEX_BITS | index;
	r->live--;
	STAILQ_INSERT_TAIL(&r->free, slot, link);
}

/*
 * A free slot holds the tag it will bear next, so the tags issued on this
 * connection are the `uses` ones before that; a live slot's own is the last.
 */
enum router_verdict
router_find(const struct router *r, uint32_t itt, struct router_slot **out)
{
	uint32_t index = itt & INDEX_MASK, age;
	struct router_slot *slot;

	if (index >= r->slots)
		return ROUTER_NEVER;
	slot = slot_at(r, index);
	if (slot->live && slot->itt == itt) {
		*out = slot;
		return ROUTER_LIVE;
	}
	age = ((slot->itt >> ROUTER_INDEX_BITS) -
	    (itt >> ROUTER_INDEX_BITS)) & USES_MASK;
	if (slot->live)
		age++;
	else if (age == 0)
		age = USES_MASK + 1;
	return age <= slot->uses ? ROUTER_STALE : ROUTER_NEVER;
}

void
router_reset(struct router *r)
{
	for (uint32_t i = 0; i < r->slots; i++)
		slot_at(r, i)->uses = slot_at(r, i)->live ? 1 : 0;
}

uint32_t
router_count(const struct router *r)
{
	return r->live;
}

struct router_slot *
router_next(const struct router *r, const struct router_slot *slot)
{
	uint32_t i = slot == NULL ? 0 : (slot->itt & INDEX_MASK) + 1;

	for (; i < r->slots; i++) {
		if (slot_at(r, i)->live)
			return slot_at(r, i);
	}
	return NULL;
}
