/* SPDX-License-Identifier: ISC */
/*
 * What waits to be written to one client: frames in order, each with the
 * charge that goes back when it has left.  One sendmsg gathers as many as it
 * can.  Replies that no task's charge covers are counted apart, so that their
 * sum can be bounded.
 */
#ifndef DAEMON_OUTQ_H
#define DAEMON_OUTQ_H

#include <sys/queue.h>

#include <stdbool.h>
#include <stdint.h>

#include "daemon/pool.h"
#include "daemon/quota.h"
#include "proto/frame.h"

struct outmsg;
struct session_delivery;
struct session_ticket;
struct worker;

/* Embedded in its owner. */
struct outq {
	struct worker		*worker;
	struct quota		*quota;		/* NULL until one is set */
	STAILQ_HEAD(, outmsg)	 list;
	struct outmsg		*unshared;	/* the last one copied out */
	struct slab		*pack;		/* payloads are appended to it */
	uint64_t		 bytes;		/* not written yet */
	uint64_t		 reply_bytes;	/* of them, replies */
	uint64_t		 stray_bytes;	/* of unsolicited PDUs */
	uint32_t		 events;	/* EVENT frames in the list */
	uint32_t		 fds;		/* descriptors in the list */
	/* A PDU with a ticket has left or was dropped; may be NULL. */
	void			(*left)(void *arg,
				    const struct session_ticket *ticket);
	void			*left_arg;
	uint64_t		 frames_sent;
	uint64_t		 bytes_sent;
};

enum outq_result {
	OUTQ_EMPTY,		/* everything is written */
	OUTQ_BLOCKED,		/* the socket takes no more now */
	OUTQ_CLOSED		/* the client is gone */
};

void outq_init(struct outq *q, struct worker *w);

/* Drop everything and give back all charges. */
void outq_deinit(struct outq *q);

/*
 * Queue a frame with the `len` bytes at `payload`, which are copied, and a
 * charge (NULL: none, it is a reply or an event).  Returns 0 or -ENOMEM, and
 * then the charge has not been taken over.
 */
int outq_frame(struct outq *q, uint16_t type, uint16_t flags, uint64_t cookie,
    const uint8_t *payload, uint32_t len, const struct quota_amount *charge);

/*
 * Queue a PDU as one frame, or as several when its data exceeds what one may
 * carry.  Takes the data and the charge.  Returns 0, or -ENOMEM.
 */
int outq_pdu(struct outq *q, struct session_delivery *d);

/*
 * Queue a frame with the fd flag, of `len` bytes at `payload`: it is written
 * in a system call of its own with the descriptor, which is taken, also on
 * failure.  Returns 0 or -ENOMEM.
 */
int outq_fd(struct outq *q, uint16_t type, uint16_t flags, uint64_t cookie,
    const uint8_t *payload, uint32_t len, int fd);

/* Queue a frame with these bytes; takes them.  Returns 0 or -ENOMEM. */
int outq_bytes(struct outq *q, uint16_t type, uint16_t flags, uint64_t cookie,
    struct slices *bytes);

/* Write to `fd` until all is written or it blocks; `*moved` gets the bytes. */
enum outq_result outq_flush(struct outq *q, int fd, uint64_t *moved);

/*
 * Copy what is still queued out of slabs that it does not fill at least by
 * half, so that a slow client pins no memory but its own.  For the end of a
 * turn; what was looked at once is not looked at again.
 */
void outq_unshare(struct outq *q);

/*
 * Give half of the recycled messages that were not needed since the last call
 * back to the system; true if some are kept still.
 */
bool outmsg_trim(struct worker *w);

/* Free the worker's recycled messages. */
void outmsg_drain(struct worker *w);

#endif
