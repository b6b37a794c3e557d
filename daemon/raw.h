/* SPDX-License-Identifier: ISC */
/*
 * A raw connection: the bare transport for one client that speaks iSCSI
 * itself (PROTOCOL.md section 17).  It frames, checks, routes by Initiator
 * Task Tag and watches the login pass, but changes no field.  It never knows
 * sockets of clients: news go up through operations.
 */
#ifndef DAEMON_RAW_H
#define DAEMON_RAW_H

#include <sys/socket.h>
#include <sys/types.h>

#include <stdbool.h>
#include <stdint.h>

#include "daemon/session.h"
#include "proto/msg_raw.h"

struct raw;

struct raw_ops {
	/*
	 * May this client use this address and port?  `*unchecked` tells
	 * whether it may lift checks there.
	 */
	bool (*permits)(void *arg, const struct sockaddr *sa, socklen_t len,
	    bool *unchecked);
	/* Connected, `reason` MSG_R_NONE; or not, and then it is gone. */
	void (*on_open)(void *arg, uint16_t reason, const char *text);
	/* The connection has ended, its tasks before it; it is gone. */
	void (*on_closed)(void *arg, const struct msg_event *closed);
	/*
	 * What the owner may do with the session of that name, an OR of
	 * MSG_ACCESS_*: all if there is none, for it would be his.
	 */
	uint32_t (*access)(void *arg, const char *name);
	/*
	 * The answer to raw_share(): attached to the new session, and the raw
	 * connection is gone; or NULL and why, and it goes on.
	 */
	void (*on_shared)(void *arg, struct attachment *a,
	    const struct refusal *why);
};

/* Whose connection it is.  All pointers outlive it. */
struct raw_owner {
	const struct raw_ops		*ops;
	/* PDUs, outcomes and room; events and removal of sessions only. */
	const struct attachment_ops	*news;
	void				*arg;
	struct quota			*quota;
	const char			*name;		/* of the client */
	uint64_t			 id;		/* of the client */
	pid_t				 pid;
	uid_t				 uid;
	uint32_t			 deadline;	/* ms; 0 = none */
	uint32_t			 events;	/* mask */
};

/*
 * Connect to `host` (a name or an address without brackets) and `port` within
 * `timeout_ms`; on_open() follows in a later turn.  NULL with errno set if it
 * could not even start.
 */
struct raw *raw_open(struct worker *w, const struct raw_owner *owner,
    const char *host, uint16_t port, uint32_t timeout_ms);

/*
 * Go on with a connected socket, whose state `params` tells, and with the
 * bytes of its stream that were read already.  Takes the descriptor and the
 * bytes, also on failure: NULL with `why` filled.
 */
struct raw *raw_adopt(struct worker *w, const struct raw_owner *owner, int fd,
    const struct msg_raw_params *params, struct slices *unread,
    struct refusal *why);

/*
 * Go on with the connection of a session that the only client of which is
 * `a`; the attachment is gone then.  NULL with `why` filled, and nothing has
 * changed.
 */
struct raw *raw_unshare(struct worker *w, struct attachment *a,
    const struct raw_owner *owner, struct refusal *why);

/* True once it is connected and until it has failed. */
bool raw_is_open(const struct raw *r);

/* Its owner's default deadline of a task in ms; 0 = none. */
uint32_t raw_deadline(const struct raw *r);

/*
 * Submit a PDU, as session_submit() does.  When the daemon was to choose its
 * tag, `*itt` gets that.
 */
enum submit_verdict raw_submit(struct raw *r, struct txpdu *pdu,
    uint64_t cookie, const struct msg_submit_options *o, uint32_t *itt,
    struct refusal *why);

/*
 * Wait no longer for a task, named as in session_cancel(): it ends as aborted.
 * False if there is none.
 */
bool raw_cancel(struct raw *r, uint8_t by, uint64_t value);

/* True while its PDUs fill the client's outbound allowance; see on_room(). */
bool raw_paused(const struct raw *r);

/* A PDU of this ticket has left for the client, or will never. */
void raw_delivered(struct raw *r, const struct session_ticket *ticket);

/* False with `why` filled: nothing was changed. */
bool raw_set(struct raw *r, const struct msg_set *m, struct refusal *why);

void raw_state_get(struct raw *r, struct msg_state *out);

/* "address:port" of the target, or ""; what faults and traces call it. */
const char *raw_peer(const struct raw *r);
const char *raw_label(const struct raw *r);

/* Tasks that its client waits for. */
uint32_t raw_open_tasks(const struct raw *r);

/* Unsolicited PDUs that its client did not ask for. */
uint64_t raw_unwanted(const struct raw *r);

/*
 * Give the socket away.  Tasks end, the connection is gone.  Returns the
 * descriptor, with `out` and the bytes of the stream that were not
 * understood; or -1 with `why` filled, and it goes on.
 */
int raw_export(struct raw *r, struct msg_exported *out, struct slices *unread,
    struct refusal *why);

/*
 * Make it a session called `name`.  True: on_shared() follows in a later turn.
 */
bool raw_share(struct raw *r, const char *name, struct refusal *why);

/* Close it: tasks end, on_closed() is called before this returns. */
void raw_close(struct raw *r, const char *why);

/* The client is gone: close without a word.  NULL is allowed. */
void raw_free(struct raw *r);

#endif
