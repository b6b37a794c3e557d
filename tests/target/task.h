/* SPDX-License-Identifier: ISC */
/*
 * The tasks of a session, and how each opcode that concerns them is handled:
 * cmd.c receives commands and their data, status.c answers them, tmf.c ends
 * them before their time.
 */
#ifndef TARGET_TASK_H
#define TARGET_TASK_H

#include <sys/queue.h>

#include <stdbool.h>
#include <stdint.h>

#include "tests/target/scsi.h"

#define TASK_R2T_MAX	16u		/* outstanding R2Ts of one task */

struct conn;
struct target;

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
	struct r2t		 r2ts[TASK_R2T_MAX];	/* a ring */
	unsigned		 r2t_first;
	unsigned		 r2t_count;
	struct tmf_wait		*wait;
};
TAILQ_HEAD(task_list, task);

/* A new task with that ITT, which must be free. */
struct task *task_new(struct conn *c, uint32_t itt);

/* The task with that ITT, NULL if there is none. */
struct task *task_find(struct conn *c, uint32_t itt);

/* Forget a task at once. */
void task_free(struct conn *c, struct task *k);

/*
 * True if `itt` was that of a single aborted task whose R2Ts the initiator
 * left unanswered, as ABORT TASK allows; it is forgotten now.
 */
bool task_forgotten(struct conn *c, uint32_t itt);

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

/* Free the cache of `t`. */
void task_free_cache(struct target *t);

/* --- cmd.c: SCSI Command (RFC 7143 section 11.3) and Data-Out (11.7) */
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

/* --- tmf.c: Task Management Function Request (11.5) */
int tmf_header(struct conn *c);

/* One task that `wait` waits for is gone. */
void tmf_wait_done(struct conn *c, struct tmf_wait *wait);

#endif
