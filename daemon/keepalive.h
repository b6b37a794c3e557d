/* SPDX-License-Identifier: ISC */
/*
 * Keepalive of a session: a NOP-Out that asks the target for an answer after
 * a silence, and the end of the session when there is none (RFC 7143 section
 * 11.18).  It owns the timer, the ping that is outstanding and the time of
 * the last sign of life; it knows the session's queue of immediates and
 * session_fail(), and nothing of how a session recovers.
 */
#ifndef DAEMON_KEEPALIVE_H
#define DAEMON_KEEPALIVE_H

#include <stdbool.h>
#include <stdint.h>

struct loop_timer;
struct rxpdu;
struct session;
struct task;

/* Bytes of data in a ping; less than any target must accept. */
#define KEEPALIVE_DATA_LEN	8

struct keepalive {
	struct loop_timer	*timer;
	const struct task	*ping;		/* outstanding, or NULL */
	uint64_t		 heard;		/* loop time of the last PDU */
	uint64_t		 bytes_in;	/* received by then */
	uint64_t		 asked;		/* loop time of the last ping */
	uint8_t			 data[KEEPALIVE_DATA_LEN];	/* of that ping */
};

/* Make the timer; false on lack of memory. */
bool keepalive_init(struct session *s);
void keepalive_free(struct session *s);

/*
 * The full feature phase begins: watch, with the configured
 * keepalive-interval in ms, of which 0 means never.
 */
void keepalive_start(struct session *s);

/* The connection is gone, and with it the ping. */
void keepalive_stop(struct session *s);

/* A PDU of the target came: it is alive. */
void keepalive_heard(struct session *s);

/*
 * The target answered the ping `t`.  Data that are not those of the ping, or
 * a Target Transfer Tag, fail the session (section 11.19).
 */
void keepalive_answered(struct task *t, const struct rxpdu *pdu);

/* The target rejected the ping `t`, which is a sign of life as well. */
void keepalive_rejected(struct task *t);

#endif
