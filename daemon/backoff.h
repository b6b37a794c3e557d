/* SPDX-License-Identifier: ISC */
/*
 * When to try again: a pause that doubles with each failure up to a cap, less
 * a random part, so that many initiators do not come back all at once; and how
 * often.  Pure: no clock, no source of random numbers.
 */
#ifndef DAEMON_BACKOFF_H
#define DAEMON_BACKOFF_H

#include <stdbool.h>
#include <stdint.h>

/* All zero at first, and again with each success. */
struct backoff {
	uint32_t	pauses;		/* given since then */
	uint32_t	attempts;	/* failed since then */
};

/* The second pause where the first is 0, in ms; the cap may be below it. */
#define BACKOFF_SECOND_MS	100u

/* An attempt failed. */
void backoff_failed(struct backoff *b);

/* True if `limit` attempts in a row have failed; a limit of 0 is none. */
bool backoff_spent(const struct backoff *b, uint32_t limit);

/*
 * The pause before the next attempt in ms: the first is `first`, each later
 * one twice the last, none more than `max`, each up to a quarter shorter as
 * `random` says.
 */
uint32_t backoff_next(struct backoff *b, uint32_t first, uint32_t max,
    uint32_t random);

#endif
