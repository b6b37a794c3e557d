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
#include "tests/target/scsi.h"
#include "tests/target/target.h"

#define CONN_SLAB	(256u * 1024)	/* bytes of one read */
#define CONN_OUT_BYTES	(4u << 20)	/* unsent: no more PDUs are read */
#define CONN_OUT_PDUS	4096u
#define CONN_HASH	256u		/* buckets of tasks by ITT */
#define CONN_R2T_MAX	16u		/* outstanding R2Ts of one task */
#define CONN_TEXT_MAX	65536u		/* bytes of one text exchange */

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

/* One R2T that awaits its data. */
struct r2t {
	uint32_t	ttt;
	uint32_t	offset;
	uint32_t	len;
	uint32_t	got;
	uint32_t	datasn;		/* expected */
};

enum task_state {
	TASK_UNSOLICITED,	/* Data-Out without R2T still to come */
	TASK_SOLICITED,		/* awaiting data of R2Ts */
	TASK_HELD,		/* by order of a test */
	TASK_HELD_R2T,
	TASK_SENDING,		/* Data-In */
	TASK_ENDED		/* aborted, but its R2Ts are unanswered */
};

/* A Task Management Response that waits for R2Ts to be answered. */
struct tmf_wait {
	TAILQ_ENTRY(tmf_wait)	link;
	uint32_t		itt;
	uint32_t		tasks;
};

struct task {
	TAILQ_ENTRY(task)	 link;		/* conn->tasks */
	TAILQ_ENTRY(task)	 sending;
	struct task		*hash_next;	/* also of the free list */
	enum task_state		 state;
	uint32_t		 itt;
	uint32_t		 cmdsn;
	uint32_t		 edtl;
	uint64_t		 lun;
	bool			 immediate;
	bool			 in_window;	/* counts in conn->live */
	bool			 receiving;	/* its own PDU, still */
	uint8_t			 flags;
	uint8_t			 cdb[SCSI_CDB_LEN];
	struct scsi_io		 io;
	uint32_t		 moved;		/* of the data, either way */
	uint32_t		 burst_end;	/* Data-In: end of sequence */
	uint32_t		 sn;		/* DataSN or R2TSN to come */
	uint32_t		 unsolicited;	/* bytes to come without R2T */
	uint32_t		 unsol_datasn;
	uint32_t		 asked;		/* bytes covered up to R2Ts sent */
	struct r2t		 r2ts[CONN_R2T_MAX];	/* a ring */
	unsigned		 r2t_first;
	unsigned		 r2t_count;
	struct tmf_wait		*wait;
};
TAILQ_HEAD(task_list, task);

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
};

/* A PDU behind a gap in CmdSN, or data of a command there. */
struct deferred {
	STAILQ_ENTRY(deferred)	link;
	uint8_t			bhs[ISCSI_BHS_LEN];
	uint32_t		len;
	uint8_t			data[];
};
STAILQ_HEAD(deferred_list, deferred);

/* The PDU that is being received. */
struct rx {
	const uint8_t	*bhs;
	uint8_t		*dst;		/* where data goes; the rest is lost */
	uint32_t	 room;
	uint8_t		*owned;		/* freed at its end */
	struct task	*task;
	bool		 rejected;	/* by order of a test */
	int		(*end)(struct conn *);
};

/* A text that is sent in pieces (C bit). */
struct text_out {
	char		*buf;
	uint32_t	 len;
	uint32_t	 pos;
	uint32_t	 itt;
	uint32_t	 ttt;
};

struct ping {
	bool		outstanding;
	uint32_t	ttt;
	uint64_t	lun;
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

/* --- out.c */

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

/* --- login.c: one Login Request begins. */
int login_header(struct conn *c);
void login_deinit(struct conn *c);

/* --- ffp.c: full feature phase */
int ffp_header(struct conn *c);
int ffp_end(struct conn *c);

/* Raise MaxCmdSN as far as free slots allow. */
void ffp_open_window(struct conn *c);

/* Reject the PDU being received (RFC 7143 section 11.17). */
void ffp_reject(struct conn *c, uint8_t reason);

/* Send a NOP-In that the initiator did not ask for (11.19). */
void ffp_nop_in(struct conn *c, uint32_t ttt, uint64_t lun);

/* Send an Asynchronous Message (11.9). */
void ffp_async(struct conn *c, uint8_t event, uint16_t p1, uint16_t p2,
    uint16_t p3);

/* Allocate `len` bytes for the data segment being received. */
int rx_buffer(struct conn *c, uint32_t len);

/* --- text.c: Text Requests */
int text_header(struct conn *c);

/* --- cmd.c: SCSI Commands and Data-Out */
int cmd_header(struct conn *c);
int data_out_header(struct conn *c);

/* The Data-Out being received is rejected: its command fails. */
int data_out_lost(struct conn *c);

/* Go on with tasks that a test had held. */
void cmd_release(struct conn *c);

/* --- status.c: Data-In and SCSI Responses */

/* All data of the command is there: answer it. */
void status_answer(struct conn *c, struct task *k);

/* Queue Data-In of waiting tasks while there is room. */
void status_pump(struct conn *c);

/* --- task.c */
struct task *task_new(struct conn *c, uint32_t itt);
struct task *task_find(struct conn *c, uint32_t itt);
void task_free(struct conn *c, struct task *k);

/*
 * End a task without a response.  If R2Ts are unanswered it stays until they
 * are, and `wait`, if not NULL, waits with it.
 */
void task_abort(struct conn *c, struct task *k, struct tmf_wait *wait);

/* The task is no longer among those that limit the command window. */
void task_leave_window(struct conn *c, struct task *k);

/* True while data that the initiator owes is outstanding. */
bool task_awaits_data(const struct task *k);

/* Data of an aborted task came: free it if it was the last. */
void task_data_done(struct conn *c, struct task *k);

/* Forget all; for a connection that goes. */
void task_deinit(struct conn *c);
void task_free_cache(struct target *t);

/* --- tmf.c: task management */
int tmf_header(struct conn *c);

/* One task that `wait` waits for is gone. */
void tmf_wait_done(struct conn *c, struct tmf_wait *wait);

#endif
