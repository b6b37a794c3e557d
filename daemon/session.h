/* SPDX-License-Identifier: ISC */
/*
 * A session: one I_T nexus that the daemon logged in (RFC 7143 section
 * 4.4.1), with one TCP connection, and the attachments of the clients that
 * share it.  It owns what must be unique on the nexus: tags, sequence
 * numbers, the command window, immediate and Text slots, task aborts, and
 * the recovery of the connection.  It never knows sockets of clients: news go
 * up through the operations of each attachment, never from inside the call
 * that caused them.
 */
#ifndef DAEMON_SESSION_H
#define DAEMON_SESSION_H

#include <sys/types.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/pool.h"
#include "daemon/quota.h"
#include "proto/msg_raw.h"

struct attachment;
struct config_session;
struct hdrring;
struct loginwatch_nexus;
struct pump;
struct session;
struct txpdu;
struct worker;

/* A PDU for a client; all but `charge` is valid during the call. */
struct session_delivery {
	uint64_t	 cookie;	/* of the SUBMIT that opened the task */
	uint16_t	 flags;		/* FRAME_F_* */
	const uint8_t	*bhs;		/* tags mapped back to the client's */
	const uint8_t	*ahs;
	uint32_t	 ahs_len;
	struct slices	*data;		/* take with slices_move() */
	const struct msg_digests *digests;	/* to be shown, or NULL */
	/*
	 * With the last PDU of a task, its whole charge: the receiver gives it
	 * back once the PDU has left for the client.  Zero otherwise.
	 */
	struct quota_amount charge;
	/* Who is to be told then, too; all zero: nobody. */
	struct session_ticket {
		uint32_t	raw;	/* serial number of the connection */
		uint32_t	itt;
		uint32_t	id;	/* of the task */
		uint32_t	bytes;
	} ticket;
};

struct attachment_ops {
	void (*on_pdu)(void *arg, struct session_delivery *d);
	/* A task ended without a final PDU; `charge` as above. */
	void (*on_outcome)(void *arg, uint64_t cookie,
	    const struct msg_outcome *outcome,
	    const struct quota_amount *charge);
	void (*on_event)(void *arg, const struct msg_event *event);
	/* Outbound bytes fell below the limit: the client may be read again. */
	void (*on_room)(void *arg);
	/* The session is being removed; the attachment is gone after this. */
	void (*on_removed)(void *arg, const char *why);
};

struct session_attach {
	const struct attachment_ops	*ops;
	void				*arg;
	struct quota			*quota;
	const char			*name;		/* client, for the log */
	pid_t				 pid;		/* its process */
	uint32_t			 access;	/* granted */
	uint32_t			 deadline;	/* ms; 0 = none */
	uint32_t			 events;	/* mask */
	bool				 exclusive;
	bool				 hold;
};

/* Why a SUBMIT or ATTACH was not accepted. */
struct refusal {
	uint16_t	reason;		/* enum msg_reason */
	char		text[MSG_TEXT_MAX + 1];
};

enum submit_verdict {
	SUBMIT_ACCEPTED,	/* the session owns the PDU now */
	SUBMIT_REFUSED,		/* would have opened a task: OUTCOME refused */
	SUBMIT_NOT_SENT,	/* same, session is down: OUTCOME not-sent */
	SUBMIT_ERROR		/* belongs to an open task or to none: ERROR */
};

/* A chain of redirections longer than this leads nowhere. */
#define SESSION_HOPS_MAX 8

/* One of them (RFC 7143 section 11.13.5). */
struct session_hop {
	const char		*address;	/* as the target sent it */
	bool			 permanent;	/* else only for now */
};

/* What session.show and session.list tell.  Strings live with the session. */
struct session_info {
	const char		*name;
	const char		*target;
	const char		*portal;	/* in use, as configured */
	const char		*redirect;	/* where it was sent, or "" */
	unsigned		 redirects;	/* hops from the portal */
	struct session_hop	 hop[SESSION_HOPS_MAX];	/* so many, in order */
	const char		*peer;		/* address in use, or "" */
	const char		*local;
	const char		*state;		/* name of the state */
	const char		*last_error;	/* or "" */
	uint64_t		 next_try_ms;	/* from now; 0 if none */
	uint32_t		 attempts;	/* failed in a row */
	bool			 given_up;	/* until session_reconnect() */
	uint64_t		 up_ms;		/* since login; 0 if down */
	uint32_t		 clients;
	uint32_t		 tasks;		/* live slots, all kinds */
	uint32_t		 orphans;	/* of them, without a client */
	uint32_t		 window;	/* commands the target still takes */
	uint8_t			 isid[6];
	uint16_t		 tsih;
	struct msg_params	 params;
	uint32_t		 protocol_level;	/* iSCSIProtocolLevel */
	bool			 up;
};

struct session_stats {
	uint64_t	logins;
	uint64_t	login_failures;
	uint64_t	downs;
	uint64_t	pdus_in, pdus_out, bytes_in, bytes_out;
	uint64_t	recv_calls, send_calls;
	uint64_t	tasks_opened;
	uint64_t	outcomes[6];	/* by enum msg_outcome_code; 0: final PDU */
	uint64_t	refused_data;	/* Data-Out and Text answered by ERROR */
	uint64_t	orphans;	/* tasks that lost their client */
	uint64_t	aborts_sent;
	uint64_t	stale_pdus;	/* dropped: tag no longer in use */
	uint64_t	pings_answered;
	uint64_t	pings_sent;
	uint64_t	async_messages;
	uint64_t	async_unknown;	/* of them, of no known meaning */
	uint64_t	rejects;
	uint64_t	plugs;		/* NOP-Outs sent to fill a CmdSN gap */
	uint64_t	ignored_data;	/* bytes of data where none belongs */
};

/*
 * Create a session from its configuration, of which it takes a reference.
 * Idle until session_start().  NULL with errno set on failure.
 */
struct session *session_new(struct worker *w, struct config_session *config);

/*
 * Begin to connect and log in, and keep at it until session_stop().  What went
 * wrong before is forgotten.
 */
void session_start(struct session *s);

/*
 * Connect now instead of later, whatever was to be waited for.  False, and
 * nothing happens, unless the session is down and waits or has given up; and
 * never for one that clients share and that is not the configured place, where
 * they would find themselves.
 */
bool session_reconnect(struct session *s);

/*
 * End for good: tasks end as session_free() says, then Logout with the
 * configured time-out.  `on_stopped` runs once, in a later turn.
 */
void session_stop(struct session *s, void (*on_stopped)(void *arg),
    void *arg);

/*
 * Undo session_stop() once it has ended: the session is as session_new() made
 * it, with the clients that are attached to it, and may be started.  Only those
 * of a shared session that is not the configured place have to go.
 */
void session_reopen(struct session *s);

/* It is being stopped, or was and waits for session_reopen(). */
bool session_stopping(const struct session *s);

/*
 * End what waits for the session to come up again (clients that attached with
 * hold) as not-sent.  Nothing unless its connection is lost.
 */
void session_end_held(struct session *s, const char *why);

/* Tasks that are open: of clients, of those that have gone, and its own. */
uint32_t session_task_count(const struct session *s);

/* It does not run and may be started. */
bool session_idle(const struct session *s);

/*
 * Put another block in the place of its own, and take a reference.  Both have
 * the same name; unless the session is stopped, nothing but access rules may
 * differ.
 */
void session_set_config(struct session *s, struct config_session *config);

/*
 * Drop the connection at once, end all tasks, detach all clients
 * (on_removed), free at the end of the turn.
 */
void session_free(struct session *s, const char *why);

/* The worker's session of that name, or NULL. */
struct session *session_find(struct worker *w, const char *name);

/* Walk the worker's sessions: NULL gives the first; NULL at the end. */
struct session *session_next(struct worker *w, const struct session *s);

/*
 * A connection that is logged in and idle, to become a session: the numbers
 * and negotiated values are in `params`.  All else than the pump is copied.
 */
struct session_shared {
	const char			*name;
	struct pump			*pump;
	const struct msg_raw_params	*params;
	uint32_t			 protocol_level; /* 1 if not known */
	const char			*initiator;	/* name, or "" */
	const char			*host;		/* as dialled, or "" */
	uint16_t			 port;
	uid_t				 uid;		/* of its owner */
	bool				 adopted;
};

/*
 * Make a session of it: a new one, or the configured one of that name that is
 * to be started by hand and does not run.  It ends with its last client.  NULL
 * with `why` filled, and then the pump stays the caller's.
 */
struct session *session_share(struct worker *w,
    const struct session_shared *what, struct refusal *why);

/*
 * A session made by session_share() has no client any more: log out, and be
 * gone, or be idle again if it is a configured one.
 */
void session_share_end(struct session *s);

/* True if session_share() could take that name now; else `why` is filled. */
bool session_name_free(struct worker *w, const char *name,
    struct refusal *why);

/*
 * Take the connection back from a session made by session_share() with no
 * client but `a`, which is gone then, and nothing outstanding.  The pump is
 * the caller's, `out` has all that is known, `initiator` of
 * ISCSI_NAME_MAX + 1 bytes the name.  NULL with `why` filled: nothing changed.
 */
struct pump *session_unshare(struct attachment *a, struct msg_raw_params *out,
    char *initiator, struct refusal *why);

/*
 * What reinstates the session, if it runs and that is known; strings live with
 * the session.
 */
bool session_nexus(const struct session *s, struct loginwatch_nexus *out);

/* The target's name: of a shared session the one that it really has. */
const char *session_target(const struct session *s);

/* The ISID that it logs in with, CONFIG_ISID_LEN bytes. */
void session_isid(const struct session *s, uint8_t *isid);

/*
 * The same of a session that would be made of this block: the configured one,
 * or one of the random format (RFC 7143 section 11.12.5) that is made from the
 * names, so that it is the same after every start.
 */
void session_isid_of(const struct worker *w, const struct config_session *c,
    uint8_t *isid);

/* enum msg_listing_flag. */
uint8_t session_flags(const struct session *s);

const struct config_session *session_config(const struct session *s);
uint8_t session_state(const struct session *s);	/* enum msg_session_state */
void session_info_get(struct session *s, struct session_info *out);
void session_stats_get(struct session *s, struct session_stats *out);

/*
 * Attach a client.  Returns NULL with `why` filled when the session is held
 * exclusively, or is being stopped, or memory is short.
 */
struct attachment *session_attach(struct session *s,
    const struct session_attach *how, struct refusal *why);

/* What ATTACHED says, quotas excluded. */
void session_attached_get(struct attachment *a, struct msg_attached *out);

/*
 * The client's access, less what `access` does not have.  Tasks that were
 * accepted go on.
 */
void session_narrow(struct attachment *a, uint32_t access);

/*
 * The client is gone: unsent tasks are dropped, the others become orphans and
 * are aborted one by one.  No operation is called from now on.
 */
void session_detach(struct attachment *a);

/*
 * Submit a PDU: `pdu` holds BHS, AHS and data as the client gave them.
 * `deadline` in ms, 0 for none.  Only SUBMIT_ACCEPTED passes the PDU on to
 * the session; else `why` is filled and the caller frees it.
 */
enum submit_verdict session_submit(struct attachment *a, struct txpdu *pdu,
    uint64_t cookie, uint32_t deadline, struct refusal *why);

/* Its latest PDU headers, of earlier connections, too; stays the session's. */
const struct hdrring *session_headers(const struct session *s);

/* The session's connection, NULL while it is down; stays the session's. */
struct pump *session_pump(const struct session *s);

/* The iSCSIProtocolLevel of its latest login. */
uint32_t session_protocol_level(const struct session *s);

/* The session that it is attached to, and its mask of events. */
struct session *session_of(const struct attachment *a);
uint32_t session_events(const struct attachment *a);

/* The default task deadline of this attachment in ms; 0 = none. */
uint32_t session_deadline(const struct attachment *a);

/*
 * True while Data-Out of tasks on the wire fills the client's outbound
 * allowance: do not read more from it before on_room().
 */
bool session_paused(const struct attachment *a);

/*
 * Cancel a task of this client, named by the SUBMIT's cookie or the client's
 * ITT.  Returns false if there is none; else the task ends in a later turn.
 */
bool session_cancel(struct attachment *a, uint8_t by, uint64_t value);

/* Open tasks of this client. */
uint32_t session_open_tasks(const struct attachment *a);

#endif
