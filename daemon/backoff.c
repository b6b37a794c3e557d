/* SPDX-License-Identifier: ISC */
/*
 * The arithmetic of pauses between attempts, without overflow however often
 * it is asked.  It knows nothing of sessions.
 */
#include "config.h"

#include "daemon/backoff.h"

void
backoff_failed(struct backoff *b)
{
	if (b->attempts < UINT32_MAX)
		b->attempts++;
}

bool
backoff_spent(const struct backoff *b, uint32_t limit)
{
	return limit != 0 && b->attempts >= limit;
}

uint32_t
backoff_next(struct backoff *b, uint32_t first, uint32_t max, uint32_t random)
{
	uint32_t pause = first, doublings = b->pauses;

	if (b->pauses < UINT32_MAX)
		b->pauses++;
	if (first == 0 && doublings > 0) {
		pause = BACKOFF_SECOND_MS;
		doublings--;
	}
	for (; doublings > 0 && pause > 0 && pause < max; doublings--)
		pause = pause > max / 2 ? max : pause * 2;
	if (pause > max)
		pause = max;
	return pause - random % (pause / 4 + 1);
}
