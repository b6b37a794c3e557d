/* SPDX-License-Identifier: ISC */
/*
 * PDUs on their way to the initiator.
 */
#ifndef TARGET_OUT_H
#define TARGET_OUT_H

#include <sys/queue.h>

#include <stdbool.h>
#include <stdint.h>

#include "proto/iscsi.h"
#include "proto/pdu.h"

struct conn;
struct target;

/* How a PDU of the target uses StatSN (RFC 7143 section 4.2.2.2). */
enum sn_use {
	SN_CONSUME,	/* carries it and consumes it */
	SN_NEXT,	/* carries the next one */
	SN_NONE		/* the field is reserved */
};

/* A PDU waiting to be sent. */
struct out {
	STAILQ_ENTRY(out)	 link;
	struct out		*next_free;
	uint8_t			 bhs[ISCSI_BHS_LEN];
	const uint8_t		*data;
	uint32_t		 len;
	uint8_t			*owned;		/* freed when it is sent */
	bool			 plain;		/* login: no digests */
	bool			 bad_header;	/* spoil a digest */
	bool			 bad_data;
	struct pdu_trailer	 trailer;
};
STAILQ_HEAD(out_list, out);

/* An empty PDU of that opcode with the F bit. */
struct out *out_new(struct conn *c, uint8_t opcode);

/* Copy `len` bytes as its data segment. */
void out_copy(struct out *o, const void *data, uint32_t len);

/* Stamp and queue; ends the caller's ownership. */
void out_queue(struct conn *c, struct out *o, enum sn_use use);

/* Send as much as the socket takes.  Returns 0 or -errno. */
int out_flush(struct conn *c);

/* Free all that is queued. */
void out_deinit(struct conn *c);

/* Free the cache of `t`. */
void out_free_cache(struct target *t);

#endif
