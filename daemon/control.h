/* SPDX-License-Identifier: ISC */
/*
 * The control socket: connections of admins that speak JSON-RPC 2.0, one
 * object a line, and the methods they may call.  Only root and the daemon's
 * own user are served, whatever the mode of the socket says.
 */
#ifndef DAEMON_CONTROL_H
#define DAEMON_CONTROL_H

#include <sys/types.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/access.h"

struct client;
struct config_errors;
struct config_session;
struct control;
struct rpc_error;
struct session;
struct worker;

#define CONTROL_PEERS_MAX	64u		/* connections at a time */
#define CONTROL_LINE_MAX	65536u		/* bytes, newline included */
/* Bytes of answers that wait for a peer; it is not read above that. */
#define CONTROL_OUTPUT_MAX	(1024u * 1024)
#define CONTROL_BATCH		16		/* requests served in a turn */

/* What daemon.info tells of the daemon as a whole. */
struct control_info {
	uint64_t	 uptime_ms;
	const char	*config_file;	/* the main one */
	const char	*data_socket;
	const char	*control_socket;
	bool		 draining;
	bool		 stopping;
};

/* What a reload did, to a session or to a key of the daemon block. */
enum control_change {
	CONTROL_ADDED,
	CONTROL_REMOVED,
	CONTROL_CHANGED,	/* logs out and in again */
	CONTROL_ACCESS,		/* only who may use it */
	CONTROL_SKIPPED,	/* is not as the file says */
	CONTROL_SETTING,
	CONTROL_RESTART,	/* in force after a restart only */
	CONTROL_CHANGES
};

typedef void control_note(void *ctx, enum control_change what,
    const char *name);

/* What only the owner of everything can tell and do. */
struct control_ops {
	void (*info)(void *arg, struct control_info *out);
	/* Call `fn` for each session, in the order of the configuration. */
	void (*each_session)(void *arg,
	    void (*fn)(struct session *s, void *ctx), void *ctx);
	/* Call `fn` for each client, oldest first. */
	void (*each_client)(void *arg,
	    void (*fn)(struct client *c, void *ctx), void *ctx);
	/* Begin to stop; returns at once. */
	void (*stop)(void *arg);
	/* The same, after open tasks had so many ms to end; -1: as many as are
	 * configured. */
	void (*drain)(void *arg, int64_t timeout);

	/*
	 * Manage sessions.  Each begins and returns at once: what becomes of
	 * it is seen in the session's state.  NULL or false with `err` filled,
	 * left at 0 for lack of memory.
	 */
	struct session *(*session_add)(void *arg,
	    struct config_session *config, bool *created,
	    struct rpc_error *err);
	bool (*session_remove)(void *arg, struct session *s,
	    struct rpc_error *err);
	bool (*session_login)(void *arg, struct session *s,
	    struct rpc_error *err);
	bool (*session_logout)(void *arg, struct session *s,
	    struct rpc_error *err);

	/*
	 * Read the configuration again, and call `note` for each thing that
	 * changes.  False with `errs` filled: nothing changed.
	 */
	bool (*reload)(void *arg, control_note *note, void *ctx,
	    struct config_errors *errs);
};

/* `ops` must outlive the object.  NULL with errno set on failure. */
struct control *control_new(struct worker *w, const struct control_ops *ops,
    void *arg);

/*
 * Serve `fd`, a connected UNIX stream socket, which is control's from now on,
 * as is `peer`, also on failure.
 */
void control_peer_new(struct control *c, int fd, struct peer *peer);

/* Connections that are open. */
uint32_t control_count(const struct control *c);

/*
 * Send what each socket still takes at once, close all connections; memory
 * goes at the end of the turn.  NULL is allowed.
 */
void control_free(struct control *c);

#endif
