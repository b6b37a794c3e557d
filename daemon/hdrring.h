/* SPDX-License-Identifier: ISC */
/*
 * The latest PDU headers of a session, both directions, for the one who asks
 * why its target hung up.  Headers only: what a data segment holds, and with
 * it any secret, is never here.  Bytes in, bytes out: it knows no session.
 */
#ifndef DAEMON_HDRRING_H
#define DAEMON_HDRRING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/iscsi.h"

#define HDRRING_LEN	256u
#define HDRRING_WORDS_MAX 160	/* bytes of a line of hdrring_words() */

struct hdrring_entry {
	uint64_t	time_us;	/* since the epoch */
	uint8_t		bhs[ISCSI_BHS_LEN];
	bool		sent;		/* else received */
};

struct hdrring;

/* All the memory it will ever need; NULL if there is none. */
struct hdrring *hdrring_new(void);
void hdrring_free(struct hdrring *ring);

/* A PDU with this header was sent or received now; the oldest gives way. */
void hdrring_add(struct hdrring *ring, bool sent, const uint8_t *bhs);

/* How many are held. */
size_t hdrring_count(const struct hdrring *ring);

/* The `i`th of them, the oldest is 0; NULL from hdrring_count() on. */
const struct hdrring_entry *hdrring_at(const struct hdrring *ring, size_t i);

/*
 * How many of the latest were added since the last call: what a log has not
 * seen yet.
 */
size_t hdrring_take_new(struct hdrring *ring);

/*
 * True if the PDU has a CmdSN, if sent, or a StatSN: Data-Out has none, nor
 * has Data-In without status.  Both are at ISCSI_OFF_CMDSN.
 */
bool hdrring_has_number(const struct hdrring_entry *e);

/*
 * The entry as a line without newline: time of day in UTC, direction, opcode,
 * ITT, CmdSN or StatSN, length.  What a PDU has no field for is left out.
 */
void hdrring_words(const struct hdrring_entry *e, char *buf, size_t size);

#endif
