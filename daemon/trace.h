/* SPDX-License-Identifier: ISC */
/*
 * What goes over the connections of a worker, for people to look at: every
 * PDU in both directions, as a line of the debug log and as packets of pcapng
 * streams that readers asked for.  It is told of each PDU by the pumps, never
 * holds one up, and loses packets of a reader that does not keep up.
 */
#ifndef DAEMON_TRACE_H
#define DAEMON_TRACE_H

#include <sys/types.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/trace_mask.h"

struct conn;
struct log;
struct loop;
struct slices;
struct trace;

/* Streams at a time, those included that are still being read to their end. */
#define TRACE_MAX		16
/* Bytes of a stream that wait for its reader; more is lost. */
#define TRACE_BUFFER		(4u * 1024 * 1024)
/* A stopped stream that nobody reads is closed after this long. */
#define TRACE_DRAIN_MS		10000
/* Length of a packet as written, tags included: Wireshark reads no more. */
#define TRACE_CAPLEN_MAX	262144u

/* Whose PDU it is; `name` is NULL if it is no client's. */
struct trace_client {
	const char	*name;
	pid_t		 pid;
};

/* What is kept for a connection; all zero when it begins. */
struct trace_conn {
	struct trace_mask	mask[2];	/* received, sent */
	struct {
		uint64_t	id;		/* of the stream that was here */
		size_t		at;		/* interface in that */
	} seen[TRACE_MAX];
};

/* A PDU as it was on the wire; everything is the caller's. */
struct trace_pdu {
	const struct conn	*conn;
	bool			 sent;
	const uint8_t		*bhs;
	const uint8_t		*ahs;
	const struct slices	*data;
	const uint8_t		*header_digest;	/* 4 bytes; NULL: none */
	const uint8_t		*tail;		/* padding and data digest */
	uint32_t		 tail_len;
	struct trace_client	 client;
};

/* What trace.list and trace.stop tell of a stream. */
struct trace_info {
	uint64_t	id;
	const char	*session;	/* NULL: all; lives with the stream */
	bool		headers;
	bool		stopped;	/* its reader reads the rest */
	uint64_t	packets;	/* written to its buffer */
	uint64_t	dropped;
	uint64_t	unread;		/* bytes in the buffer */
};

struct trace_stats {
	uint32_t	running;
	uint64_t	packets, dropped;	/* of all streams ever */
};

/* `log` must outlive the object.  NULL with errno set on failure. */
struct trace *trace_new(struct loop *loop, struct log *log);

/*
 * Write what each reader takes at once and close all streams; memory goes at
 * the end of the turn.  NULL is allowed.
 */
void trace_free(struct trace *t);

/*
 * Write a pcapng stream to `fd`, a connected UNIX stream socket that is
 * trace's from now on if 0 is returned: all connections, or those with the
 * label `session`; with `headers` without data segments.  Its id goes to
 * `*id`.  Else -EINVAL, the fd is no such socket; -EBUSY, there are TRACE_MAX
 * already; or another negative errno.
 */
int trace_start(struct trace *t, int fd, const char *session, bool headers,
    uint64_t *id);

/*
 * End a stream once its reader has read what is there; `*out` tells of it.
 * Returns 0, or -ENOENT.
 */
int trace_stop(struct trace *t, uint64_t id, struct trace_info *out);

/* Call `fn` for each stream. */
void trace_each(const struct trace *t,
    void (*fn)(const struct trace_info *info, void *ctx), void *ctx);

void trace_stats_get(const struct trace *t, struct trace_stats *out);

/*
 * False if nobody wants to know of this PDU and trace_pdu() need not be told.
 * It always wants to know of Login PDUs, because the start of a secret may be
 * in one and its end in the next.
 */
bool trace_wants(const struct trace *t, const uint8_t *bhs);

/* A PDU was sent or received in this moment. */
void trace_pdu(struct trace *t, struct trace_conn *tc,
    const struct trace_pdu *pdu);

/* The tag of the task that a PDU is about: of a Reject, the rejected PDU's. */
uint32_t trace_itt(const uint8_t *bhs, const struct slices *data);

#endif
