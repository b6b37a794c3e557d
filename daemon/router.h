/* SPDX-License-Identifier: ISC */
/*
 * The router: a table indexed by the wire's Initiator Task Tag.  The low
 * ROUTER_INDEX_BITS of a tag are the slot, the rest counts how often the slot
 * was used, so that a late PDU never meets the slot's next tenant.  Look-up
 * and release are O(1); slots come in chunks that never move, and are reused
 * oldest first.  What hangs on a slot is the owner's.
 */
#ifndef DAEMON_ROUTER_H
#define DAEMON_ROUTER_H

#include <sys/queue.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ROUTER_INDEX_BITS	20
#define ROUTER_SLOTS_MAX	((1u << ROUTER_INDEX_BITS) - 1)

struct router;

/* First member of what the owner keeps in a slot. */
struct router_slot {
	uint32_t	itt;		/* on the wire, while live */
	uint32_t	uses;		/* since router_reset() */
	bool		live;
	STAILQ_ENTRY(router_slot) link;
};

enum router_verdict {
	ROUTER_LIVE,
	ROUTER_STALE,	/* was issued on this connection and is free again */
	ROUTER_NEVER	/* was never issued on this connection */
};

/*
 * A table of at most `max` slots of `slot_size` bytes, each beginning with a
 * struct router_slot.  NULL on lack of memory.
 */
struct router *router_new(size_t slot_size, uint32_t max);

/* Free the table with all slots, live or not. */
void router_free(struct router *r);

/*
 * Take a free slot: its bytes after the router_slot are zero and its tag is
 * new, never the reserved 0xffffffff.  NULL when all are live or memory is
 * short.
 */
struct router_slot *router_take(struct router *r);

/* Free a live slot; its tag is stale from now on. */
void router_release(struct router *r, struct router_slot *slot);

/* The slot of a tag; `*out` is set only with ROUTER_LIVE. */
enum router_verdict router_find(const struct router *r, uint32_t itt,
    struct router_slot **out);

/*
 * A new connection begins: tags issued before are forgotten.  A slot that is
 * live still keeps its tag, as if it were issued on the new one.
 */
void router_reset(struct router *r);

/* Live slots. */
uint32_t router_count(const struct router *r);

/*
 * Walk the live slots: NULL gives the first, a slot the one after it; NULL at
 * the end.  The slot given may be released before the next call.
 */
struct router_slot *router_next(const struct router *r,
    const struct router_slot *slot);

#endif
