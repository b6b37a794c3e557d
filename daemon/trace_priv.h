/* SPDX-License-Identifier: ISC */
/*
 * What the files of the trace share:
 *
 *	trace.c		the streams, and who is told of a PDU
 *	trace_mask.c	secrets in the text of a login
 *	trace_pcapng.c	a PDU as blocks of a pcapng stream
 *	trace_sink.c	a bounded buffer in front of a socket
 *
 * and nobody else includes this but their tests.
 */
#ifndef DAEMON_TRACE_PRIV_H
#define DAEMON_TRACE_PRIV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/conn.h"
#include "daemon/trace.h"

struct loop;
struct trace_sink;

/* --- trace_sink.c --- */

/*
 * A buffer of `size` bytes that is written to the socket `fd`, which is the
 * sink's unless NULL is returned with errno set.  `on_end` runs once, when
 * the reader has gone, or all is written after trace_sink_finish(), or its
 * time is up; not for trace_sink_close().
 */
struct trace_sink *trace_sink_new(struct loop *loop, int fd, size_t size,
    void (*on_end)(void *arg), void *arg);

/* Bytes that fit, and bytes that wait to be read. */
size_t trace_sink_room(const struct trace_sink *s);
size_t trace_sink_unread(const struct trace_sink *s);

/* Append bytes; what does not fit is the caller's mistake and is left out. */
void trace_sink_put(struct trace_sink *s, const void *buf, size_t len);

/* End it once everything is read, or after `ms` milliseconds. */
void trace_sink_finish(struct trace_sink *s, uint32_t ms);

/* Write what the socket takes at once, close, free at the end of the turn. */
void trace_sink_close(struct trace_sink *s);

/* --- trace_pcapng.c --- */

/* Interfaces of a stream; all connections beyond share the last one. */
#define PCAPNG_INTERFACES_MAX	1024

struct pcapng_interface {
	char		name[CONN_LABEL_MAX + 1];
	bool		described;	/* its block is in the stream */
	uint32_t	id;		/* then its number there */
	uint64_t	packets;
	uint64_t	dropped;
	uint64_t	lost;		/* dropped since its last packet */
};

/* Embedded in its owner; `sink`, `headers` and `buffer` are set by it. */
struct pcapng {
	struct trace_sink	*sink;
	bool			 headers;
	struct pcapng_interface	*interface;
	size_t			 ninterfaces;
	uint32_t		 ndescribed;
	uint64_t		 packets;
	uint64_t		 dropped;
};

/* Begin the stream. */
void pcapng_start(struct pcapng *p);

/* The index of the interface of that name; -ENOMEM if it is new. */
ssize_t pcapng_interface(struct pcapng *p, const char *name);

/*
 * One PDU at `now` (nanoseconds since 1970) on interface `at`, or one more
 * that is lost because the sink is full.  `mask` is the state before this PDU
 * if it is a Login PDU, else NULL.
 */
void pcapng_packet(struct pcapng *p, size_t at, uint64_t now,
    const struct trace_pdu *pdu, const struct trace_mask *mask);

/* Statistics of all interfaces: the end of the stream. */
void pcapng_end(struct pcapng *p, uint64_t now);

void pcapng_deinit(struct pcapng *p);

#endif
