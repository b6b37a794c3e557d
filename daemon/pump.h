/* SPDX-License-Identifier: ISC */
/*
 * The two pumps of one connection.  The read pump receives into a large slab
 * and reports every PDU in it as slices; the write pump asks its owner for
 * PDUs, as many as go into one sendmsg, and keeps what the kernel did not
 * take.  Neither knows what a PDU means: stamping, routing and errors are
 * the owner's.
 *
 * A PDU's life on the way out: the owner returns it from `next` with its
 * numbers stamped; if the kernel takes no byte of it, `restamp` is called
 * before every further try; at the first byte taken `on_wire`, at the last
 * `on_sent`, after which the pump frees it.
 */
#ifndef DAEMON_PUMP_H
#define DAEMON_PUMP_H

#include <sys/queue.h>
#include <sys/socket.h>

#include <stdbool.h>
#include <stdint.h>

#include "daemon/pool.h"
#include "daemon/trace.h"
#include "proto/pdu.h"

/* Bytes charged outbound for a PDU besides its data. */
#define TXPDU_CHARGE_BASE	128

struct conn;
struct pump;
struct quota;
struct task;
struct worker;

/* A PDU to be written.  From txpdu_new(); freed by the pump or its owner. */
struct txpdu {
	STAILQ_ENTRY(txpdu)	 link;
	uint8_t			 bhs[ISCSI_BHS_LEN];
	struct slice		 ahs;		/* ahs.len 0: none */
	struct slices		 data;
	struct pdu_own_digests	 own;		/* in place of the right ones */
	struct pdu_trailer	 trailer;
	/* Set by the pump when it takes the PDU, unless `framed` says that the
	 * owner has. */
	struct pdu_framing	 framing;
	bool			 framed;
	uint32_t		 wire_len;	/* set by the pump */
	uint32_t		 sent;		/* bytes the kernel took */
	/* The owner's; the pump never looks at these. */
	struct task		*task;
	uint32_t		 task_id;	/* of a raw connection's task */
	uint64_t		 charge;	/* bytes charged outbound */
	void			(*release)(struct txpdu *, void *);
	void			*release_arg;
};

STAILQ_HEAD(txpdu_list, txpdu);

/* A PDU received.  Everything is the pump's and valid during the call. */
struct rxpdu {
	uint8_t		*bhs;	/* may be rewritten in place */
	const uint8_t	*ahs;
	uint32_t	 ahs_len;
	/* As received, of CRC32C_SIZE bytes; NULL: there was none. */
	const uint8_t	*header_digest;
	const uint8_t	*data_digest;
	struct slices	*data;	/* take with slices_move() to keep it */
};

struct pump_ops {
	/* As in struct conn_ops: may this address be tried?  NULL: all may. */
	bool (*permits)(void *arg, const struct sockaddr *sa, socklen_t len);
	void (*on_connected)(void *arg);
	/* A complete PDU with right digests. */
	void (*on_pdu)(void *arg, struct rxpdu *pdu);
	/* The next PDU to write, or NULL. */
	struct txpdu *(*next)(void *arg);
	void (*restamp)(void *arg, struct txpdu *pdu);
	void (*on_wire)(void *arg, struct txpdu *pdu);
	void (*on_sent)(void *arg, struct txpdu *pdu);
	/*
	 * Whose task has this tag on the wire, for the trace; leaves `*out`
	 * alone if it is no client's.  NULL for an owner without clients.
	 */
	void (*who)(void *arg, uint32_t itt, struct trace_client *out);
	/*
	 * The connection is unusable: connect failed, closed by the peer, I/O
	 * error, framing or digest error.  Called once, and not for
	 * pump_close().  The owner must call pump_close().  `error` is an
	 * errno, never 0: ECONNRESET for an end of stream, EPROTO for bad
	 * framing, EBADMSG for a bad digest.
	 */
	void (*on_down)(void *arg, int error, const char *reason);
};

struct pump_stats {
	uint64_t	pdus_in, pdus_out;
	uint64_t	bytes_in, bytes_out;
	uint64_t	recv_calls, send_calls;
};

/* A zeroed PDU; NULL on lack of memory. */
struct txpdu *txpdu_new(struct worker *w);

/* Calls `release` if set, drops the data, recycles.  NULL is allowed. */
void txpdu_free(struct worker *w, struct txpdu *pdu);

/* `bytes` are charged to `q` outbound; `release` gives them back. */
void txpdu_charge(struct txpdu *pdu, struct quota *q, uint64_t bytes);

/* Call `release` now, if it is set: the PDU has left. */
void txpdu_release(struct txpdu *pdu);

/*
 * Give half of the recycled PDUs that were not needed since the last call
 * back to the system; true if some are kept still.
 */
bool txpdu_trim(struct worker *w);

/* Free the worker's recycled PDUs. */
void txpdu_drain(struct worker *w);

/*
 * Dial (see conn_dial()) and pump.  Framing starts without digests and with
 * the Login limit of 8192 bytes inbound.  NULL with errno set on failure.
 */
struct pump *pump_dial(struct worker *w, const char *host, uint16_t port,
    uint32_t timeout_ms, const struct pump_ops *ops, void *arg);

/*
 * The same on a socket that is connected already; see conn_adopt().
 */
struct pump *pump_adopt(struct worker *w, int fd, const struct pump_ops *ops,
    void *arg);

/*
 * Frame differently from the next PDU on, in each direction.  Called from
 * on_pdu() it holds from the first byte after that PDU; outbound it holds for
 * every PDU that `next` returns from now on and that is not framed already.
 */
void pump_set_framing(struct pump *p, const struct pdu_framing *in,
    const struct pdu_framing *out);

/*
 * Say that `next` may have something: a write is tried at the end of this
 * turn.
 */
void pump_kick(struct pump *p);

/* Bytes of PDUs that were returned by `next` and not yet written. */
uint64_t pump_unsent(const struct pump *p);

/*
 * Call `fn` for each PDU handed to the pump of which the kernel took no byte
 * yet; it may rewrite the PDU in place, lengths included.
 */
void pump_foreach_unsent(struct pump *p,
    void (*fn)(struct txpdu *pdu, void *arg), void *arg);

/*
 * Free a PDU of which the kernel took no byte yet.  Only for PDUs that left
 * no mark in the sequence numbers; not from inside pump_foreach_unsent().
 */
void pump_drop_unsent(struct pump *p, struct txpdu *pdu);

/*
 * Take the oldest PDU of which the kernel took no byte yet back; it is the
 * caller's.  NULL if there is none.  What is taken back will not be sent: for
 * a connection that is about to be closed.
 */
struct txpdu *pump_take_unsent(struct pump *p);

/*
 * Stop reading behind the PDU that is being received or delivered, or go on.
 * While it stops, the end of the stream is not seen either; writing goes on.
 */
void pump_hold(struct pump *p, bool hold);

/* Another owner from now on; see pump_ops. */
void pump_set_owner(struct pump *p, const struct pump_ops *ops, void *arg);

/*
 * Parse these bytes of the stream, which were received before the socket came
 * here, ahead of all others, in a later turn.  Takes the data.
 */
void pump_unread(struct pump *p, struct slices *bytes);

/*
 * Give the socket away: it is the caller's, and the bytes received and not
 * yet delivered in PDUs are in `unread`.  Nothing may be written in part.
 * Then only pump_close() may follow.  Returns the descriptor, or -ENOMEM.
 */
int pump_export(struct pump *p, struct slices *unread);

/* True if a PDU has been written in part. */
bool pump_in_the_middle(const struct pump *p);

struct conn *pump_conn(struct pump *p);

void pump_stats_get(const struct pump *p, struct pump_stats *out);

/*
 * No callback after this; PDUs not wholly written are freed; memory goes at
 * the end of the turn.  NULL is allowed.
 */
void pump_close(struct pump *p);

#endif
