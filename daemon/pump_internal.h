/* SPDX-License-Identifier: ISC */
/*
 * What a pump is made of, for pump.c, pump_rx.c and pump_tx.c alone.
 */
#ifndef DAEMON_PUMP_INTERNAL_H
#define DAEMON_PUMP_INTERNAL_H

#include <sys/uio.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/loop.h"
#include "daemon/pump.h"

/* Slabs that one recv fills at most. */
#define RX_SLABS	4

/*
 * Slabs being filled and parsed.  All before `slab[at]` are parsed, of that
 * one the first `off` bytes are; those after the last with bytes are empty.
 */
struct pump_rx {
	struct slab	*slab[RX_SLABS];
	uint32_t	 nslabs;
	uint32_t	 at;
	uint32_t	 off;
	bool		 wide;		/* the last recv filled all its room */
	bool		 held;		/* see pump_hold() */
	struct slices	 unread;	/* to be parsed before all else */
	uint32_t	 unread_off;	/* parsed of its first piece */
	struct slices	 data;		/* of the PDU being received */
	struct loop_job	 job;		/* receives and parses */
};

struct pump_tx {
	struct pdu_framing	 framing;
	struct txpdu_list	 list;		/* handed over, not written */
	size_t			 nlist;
	uint64_t		 unsent;
	/*
	 * What is written next.  Between writes only what is left of a PDU of
	 * which the kernel took a part: it keeps its layout and its digests.
	 */
	struct iovec		*iov;
	size_t			 niov;
	size_t			 iov_size;
	struct iovec		*data;		/* pieces of one PDU */
	size_t			 data_size;
	bool			 blocked;
	int			 error;		/* writing failed with it */
	struct loop_job		 job;		/* asks the owner and writes */
};

struct pump {
	struct worker		*worker;
	struct conn		*conn;
	const struct pump_ops	*ops;
	void			*arg;
	bool			 up;
	bool			 dead;		/* down or closed: be quiet */
	bool			 closed;
	struct pdu_parser	 parser;
	struct pump_rx		 rx;
	struct pump_tx		 tx;
	struct pump_stats	 stats;
	struct trace_conn	 trace;
	struct loop_job		 reap;
};

/* Tell the owner once that the connection is unusable, and why. */
void pump_down(struct pump *p, int error, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Tell the trace of a PDU, complete in this moment. */
void pump_trace_received(struct pump *p, const struct rxpdu *pdu);
void pump_trace_sent(struct pump *p, const struct txpdu *pdu);

void pump_rx_init(struct pump *p);
void pump_rx_deinit(struct pump *p);
int pump_rx_export(struct pump *p, struct slices *unread);

void pump_tx_init(struct pump *p);
void pump_tx_deinit(struct pump *p);

#endif
