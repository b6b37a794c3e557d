/* SPDX-License-Identifier: ISC */
/*
 * The router of a raw connection: which Initiator Task Tags are in use, as
 * chosen by the client, and which responses somebody waits for.  A tag is in
 * use from its first PDU to the last PDU of its task, whether somebody waits
 * or not.  It knows tags and counts; what a PDU is, its owner knows.
 */
#ifndef DAEMON_RAW_ROUTER_H
#define DAEMON_RAW_ROUTER_H

#include <sys/queue.h>

#include <stdbool.h>
#include <stdint.h>

/* Responses that the client waits for. */
enum raw_waits {
	RAW_WAITS_NONE,		/* not at all, or not any more */
	RAW_WAITS_ONE,		/* the first PDU with the tag */
	RAW_WAITS_MANY,		/* all up to the last of the task */
	RAW_WAITS_DAEMON	/* the daemon itself does */
};

/* One tag in use.  Members up to `cookie` are the router's to write. */
struct raw_task {
	TAILQ_ENTRY(raw_task)	 link;
	uint32_t		 itt;
	uint32_t		 id;		/* differs from its predecessors' */
	enum raw_waits		 waits;
	uint64_t		 cookie;	/* of the SUBMIT that opened it */
	uint64_t		 deadline_at;	/* loop time; 0: none */
	uint32_t		 undelivered;	/* PDUs not yet read by the client */
	uint8_t			 opcode;
	bool			 sent;		/* a byte is on the wire */
	bool			 charged;	/* its slot of the task quota */
};

struct raw_router;

/*
 * `first` is the first tag that raw_router_free_itt() may give.  NULL on lack
 * of memory.
 */
struct raw_router *raw_router_new(uint32_t first);

/* Free it with all its tasks. */
void raw_router_free(struct raw_router *r);

/* The task with this tag, or NULL. */
struct raw_task *raw_router_find(const struct raw_router *r, uint32_t itt);

/*
 * Take a tag that is not in use into use.  NULL on lack of memory.
 */
struct raw_task *raw_router_add(struct raw_router *r, uint32_t itt,
    enum raw_waits waits);

/* Somebody waits anew for a tag in use for which nobody does. */
void raw_router_register(struct raw_router *r, struct raw_task *t,
    enum raw_waits waits);

/* Nobody waits for the task any more, but the target may still answer. */
void raw_router_unregister(struct raw_router *r, struct raw_task *t);

/* The task is over: its tag is free. */
void raw_router_remove(struct raw_router *r, struct raw_task *t);

/*
 * A tag that is not in use and is not the reserved one, each time the next
 * one, round the 32 bits.
 */
uint32_t raw_router_free_itt(struct raw_router *r);

/* Tasks that the client waits for, and tags in use. */
uint32_t raw_router_pending(const struct raw_router *r);
uint32_t raw_router_live(const struct raw_router *r);

/*
 * Walk the tasks, oldest first: NULL gives the first; NULL at the end.  To
 * remove the one at hand take the next before.
 */
struct raw_task *raw_router_next(const struct raw_router *r,
    const struct raw_task *t);

#endif
