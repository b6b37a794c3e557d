/* SPDX-License-Identifier: ISC */
/*
 * What the files of a raw connection share among themselves:
 *
 *	raw.c		its life: open, adopt, the end; what others may ask
 *	raw_set.c	SET, deadlines of the connection, digests and limits
 *	raw_tx.c	PDUs of the client on their way out
 *	raw_rx.c	PDUs of the target: the login, routing, delivery
 *	raw_share.c	to a session and back
 *
 * Nothing outside of these files includes this header.
 */
#ifndef DAEMON_RAW_INTERNAL_H
#define DAEMON_RAW_INTERNAL_H

#include "daemon/conf.h"
#include "daemon/conn.h"
#include "daemon/guard.h"
#include "daemon/log.h"
#include "daemon/loginwatch.h"
#include "daemon/loop.h"
#include "daemon/pump.h"
#include "daemon/raw.h"
#include "daemon/raw_router.h"
#include "daemon/worker.h"
#include "proto/frame.h"
#include "proto/iscsi.h"

/* Above these the connection is not read until the client has read. */
#define RAW_TASK_PDUS_MAX	64u		/* of one task, or of none */
#define RAW_BYTES_MAX		(32u * 1024 * 1024)
/* Bytes that a PDU counts for besides what it carries. */
#define RAW_PDU_OVERHEAD	256u

enum raw_state {
	RAW_CONNECTING,
	RAW_OPEN,
	RAW_SHARING,	/* waits for the target's numbers */
	RAW_FAILED,	/* in this turn; raw_ended() follows */
	RAW_GONE
};

struct raw {
	struct worker		*worker;
	struct log		*log;
	struct raw_owner	 owner;
	enum raw_state		 state;
	uint32_t		 serial;
	char			 label[CONN_LABEL_MAX + 1];
	char			 host[MSG_PORTAL_MAX + 1];
	uint16_t		 port;

	struct pump		*pump;
	struct raw_router	*router;
	struct loginwatch	*watch;
	struct msg_raw_params	 params;
	uint32_t		 set_mask;	/* what SET has set so far */
	bool			 may_uncheck;
	bool			 login_begun;
	bool			 have_cmdsn;
	bool			 have_statsn;

	struct txpdu_list	 queue;		/* not yet asked for */
	uint64_t		 queue_bytes;
	bool			 paused;

	uint64_t		 undelivered;	/* bytes */
	uint32_t		 strays;	/* PDUs that are of no task */
	uint32_t		 full_tasks;	/* that reached the limit */
	bool			 over_quota;
	bool			 held_manual;	/* until the next SET */
	uint64_t		 unwanted;	/* unsolicited, not asked for */

	struct loop_timer	*task_timer;
	struct loop_timer	*share_timer;
	struct loop_timer	*read_timer;
	struct loop_timer	*write_timer;
	uint64_t		 task_timer_at;	/* loop time; 0: not armed */
	uint64_t		 read_at;
	uint64_t		 write_at;
	bool			 write_over;	/* nothing may be written */

	char			 initiator[ISCSI_NAME_MAX + 1];	/* if told */
	uint32_t		 protocol_level;	/* 0: as it was seen */
	char			 share_name[MSG_NAME_MAX + 1];
	struct msg_event	 closed;	/* to be told */
	struct loop_job		 fail_job;
	struct loop_job		 reap_job;
};

/* raw.c */
struct raw *raw_new(struct worker *w, const struct raw_owner *owner);
void raw_fail(struct raw *r, int error, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void raw_end_tasks(struct raw *r, const char *text);
void raw_drop(struct raw *r);
bool raw_learn_rights(struct raw *r, const struct conn *conn);
extern const struct pump_ops raw_pump_ops;

/* raw_set.c */
void raw_framing(const struct raw *r, struct pdu_framing *in,
    struct pdu_framing *out);
void raw_apply_framing(struct raw *r);
void raw_read_over(void *arg);
void raw_write_over(void *arg);
bool raw_flag(const struct raw *r, uint32_t flag);

/* raw_tx.c */
void raw_queue(struct raw *r, struct txpdu *pdu);
struct txpdu *raw_tx_next(void *arg);
void raw_tx_restamp(void *arg, struct txpdu *pdu);
void raw_tx_on_wire(void *arg, struct txpdu *pdu);
void raw_tx_on_sent(void *arg, struct txpdu *pdu);
void raw_tx_forget(struct raw *r);
void raw_tx_clear(struct raw *r);
uint64_t raw_unsent(const struct raw *r);
void raw_tasks_due(void *arg);
void raw_outcome(struct raw *r, struct raw_task *t,
    enum msg_outcome_code outcome, uint16_t reason, const char *text,
    bool over);

/* raw_rx.c */
void raw_rx_pdu(void *arg, struct rxpdu *pdu);
void raw_rx_task_gone(struct raw *r, struct raw_task *t);
void raw_hold(struct raw *r);

/* raw_share.c */
void raw_share_answer(struct raw *r, struct raw_task *t,
    const struct rxpdu *pdu, bool over);
void raw_share_ping(struct raw *r, const struct rxpdu *pdu);
void raw_share_over(void *arg);
void raw_share_fail(struct raw *r, uint16_t reason, const char *text);

#endif
