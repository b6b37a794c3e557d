/* SPDX-License-Identifier: ISC */
/*
 * A connection, which here is a session too (MaxConnections is 1): its byte
 * streams, sequence numbers, negotiated parameters and tasks.
 */
#ifndef TARGET_CONN_H
#define TARGET_CONN_H

#include <sys/queue.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/iscsi.h"
#include "proto/pdu.h"
#include "tests/target/ffp.h"
#include "tests/target/out.h"
#include "tests/target/target.h"
#include "tests/target/task.h"

#define CONN_SLAB	(256u * 1024)	/* bytes of one read */
#define CONN_OUT_BYTES	(4u << 20)	/* unsent: no more PDUs are read */
#define CONN_OUT_PDUS	4096u
#define CONN_HASH	256u		/* buckets of tasks by ITT */
#define CONN_TEXT_MAX	65536u		/* bytes of one text exchange */

/* What was negotiated; names as the keys of RFC 7143 section 13. */
struct params {
	bool		header_digest;
	bool		data_digest;
	bool		initial_r2t;
	bool		immediate_data;
	uint32_t	max_recv_dsl;		/* the initiator's */
	uint32_t	max_burst;
	uint32_t	first_burst;
	uint32_t	max_r2t;
	uint32_t	protocol_level;
};

enum conn_phase {
	CONN_LOGIN,
	CONN_FULL,		/* full feature phase */
	CONN_LOGOUT,		/* closes when all is sent */
	CONN_CLOSED
};

struct login;

struct conn {
	struct source		 source;
	TAILQ_ENTRY(conn)	 link;
	struct target		*target;
	enum conn_phase		 phase;
	uint64_t		 id;
	char			 peer[64];

	struct pdu_parser	 parser;
	uint8_t			*slab;
	size_t			 in_off;
	size_t			 in_len;
	struct rx		 rx;

	struct out_list		 outs;
	uint32_t		 nouts;
	size_t			 out_bytes;
	size_t			 head_sent;	/* bytes of the first */
	struct pdu_framing	 framing;	/* of what is sent */

	uint32_t		 statsn;	/* next */
	uint32_t		 acked_statsn;	/* last ExpStatSN */
	uint32_t		 exp_cmdsn;
	uint32_t		 max_cmdsn;
	uint32_t		 next_cmdsn;	/* after a gap: what comes next */
	uint32_t		 live;		/* commands in the window */
	struct deferred_list	 deferred;
	uint32_t		 rejected_itt;	/* its Data-Out are ignored */

	struct login		*login;		/* NULL after the login */
	char			 name[ISCSI_NAME_MAX + 1];
	uint8_t			 isid[6];
	uint16_t		 tsih;
	uint16_t		 cid;
	bool			 discovery;
	struct params		 params;
	struct text_out		 text;
	char			*text_in;
	uint32_t		 text_in_len;

	struct task_list	 tasks;
	struct task_list	 sending;
	TAILQ_HEAD(, tmf_wait)	 tmf_waits;
	struct task		*hash[CONN_HASH];
	uint32_t		 next_ttt;
	struct ping		 ping;
	uint16_t		*ua;		/* a LUN each: ASC and ASCQ */
	uint64_t		 pdus_in[ISCSI_OP_MASK + 1];
	uint64_t		 pdus_out[ISCSI_OP_MASK + 1];
};

/* --- conn.c */

/* Take over an accepted, non-blocking socket. */
void conn_new(struct target *t, int fd);

/* Stop everything; freed at the end of the turn.  Idempotent. */
void conn_close(struct conn *c);

/* Free what was closed. */
void conn_reap(struct target *t);

/* Send what can be sent and say what is waited for. */
void conn_push(struct conn *c);

/* conn_push() for every connection. */
void conn_push_all(struct target *t);

/* Say what the initiator did wrong, count it, close; returns -EPROTO. */
int conn_protocol_error(struct conn *c, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/*
 * Count and say something wrong that --lenient lets pass: then 0, else as
 * conn_protocol_error().
 */
int conn_tolerate(struct conn *c, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* --- login.c: Login Request (RFC 7143 section 11.12), as ffp_header() */
int login_header(struct conn *c);

/* The login is over.  Idempotent. */
void login_deinit(struct conn *c);

#endif
