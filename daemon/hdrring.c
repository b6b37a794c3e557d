/* SPDX-License-Identifier: ISC */
/*
 * A ring of headers with a count of all that were ever added.
 */
#include "config.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "daemon/hdrring.h"

struct hdrring {
	uint64_t		added;
	uint64_t		taken;		/* of them, by take_new() */
	struct hdrring_entry	entries[HDRRING_LEN];
};

struct hdrring *
hdrring_new(void)
{
	return calloc(1, sizeof(struct hdrring));
}

void
hdrring_free(struct hdrring *ring)
{
	free(ring);
}

void
hdrring_add(struct hdrring *ring, bool sent, const uint8_t *bhs)
{
	struct hdrring_entry *e = &ring->entries[ring->added % HDRRING_LEN];
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	e->time_us = (uint64_t)now.tv_sec * 1000000 +
	    (uint64_t)now.tv_nsec / 1000;
	e->sent = sent;
	memcpy(e->bhs, bhs, ISCSI_BHS_LEN);
	ring->added++;
}

size_t
hdrring_count(const struct hdrring *ring)
{
	return ring->added < HDRRING_LEN ? (size_t)ring->added : HDRRING_LEN;
}

const struct hdrring_entry *
hdrring_at(const struct hdrring *ring, size_t i)
{
	size_t count = hdrring_count(ring);

	if (i >= count)
		return NULL;
	return &ring->entries[(ring->added - count + i) % HDRRING_LEN];
}

size_t
hdrring_take_new(struct hdrring *ring)
{
	uint64_t fresh = ring->added - ring->taken;

	ring->taken = ring->added;
	return fresh < HDRRING_LEN ? (size_t)fresh : HDRRING_LEN;
}

/* Append to the line in `buf`; what does not fit is cut. */
static void __attribute__((format(printf, 3, 4)))
append(char *buf, size_t size, const char *fmt, ...)
{
	size_t len = strlen(buf);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(buf + len, size - len, fmt, ap);
	va_end(ap);
}

bool
hdrring_has_number(const struct hdrring_entry *e)
{
	uint8_t opcode = iscsi_opcode(e->bhs);

	if (e->sent)
		return opcode != ISCSI_OP_DATA_OUT;
	return opcode != ISCSI_OP_DATA_IN ||
	    (e->bhs[ISCSI_OFF_FLAGS] & ISCSI_DATAIN_STATUS) != 0;
}

void
hdrring_words(const struct hdrring_entry *e, char *buf, size_t size)
{
	time_t seconds = (time_t)(e->time_us / 1000000);
	struct tm tm;

	gmtime_r(&seconds, &tm);
	snprintf(buf, size, "%02d:%02d:%02d.%06u %s %s ITT 0x%08" PRIx32,
	    tm.tm_hour, tm.tm_min, tm.tm_sec,
	    (unsigned)(e->time_us % 1000000), e->sent ? "sent" : "received",
	    iscsi_opcode_name(iscsi_opcode(e->bhs)), iscsi_itt(e->bhs));
	if (hdrring_has_number(e))
		append(buf, size, " %s %" PRIu32, e->sent ? "CmdSN" :
		    "StatSN", get_be32(e->bhs + ISCSI_OFF_CMDSN));
	append(buf, size, " length %" PRIu32, iscsi_dsl(e->bhs));
}
