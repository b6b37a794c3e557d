/* SPDX-License-Identifier: ISC */
/*
 * What the files of the control socket share:
 *
 *	control.c		who is let in
 *	control_peer.c		connections: bytes to lines, answers to bytes
 *	control_fds.c		descriptors that come with requests
 *	control_rpc.c		one line to one answer
 *	control_later.c		answers that come in a later turn
 *	control_methods.c	the table of methods and what they do
 *	control_trace.c		those of the trace
 *	control_fault.c		those of faults
 *	control_session.c	those that manage sessions
 *	control_reload.c	config.reload
 *	control_discover.c	session.discover
 *	control_json.c		the daemon's structures as JSON
 *
 * and nobody else includes this but their tests.
 */
#ifndef DAEMON_CONTROL_PRIV_H
#define DAEMON_CONTROL_PRIV_H

#include <sys/queue.h>

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/control.h"
#include "daemon/control_rpc.h"

struct client_info;
struct control_peer;
struct hdrring;
struct session_info;
struct session_stats;
struct trace_info;
struct trace_stats;
struct worker;

struct control {
	struct worker			*w;
	const struct control_ops	*ops;
	void				*arg;
	TAILQ_HEAD(, control_peer)	 peers;
	uint32_t			 count;
	uint64_t			 last_id;
	uint32_t			 discoveries;	/* that are running */
};

/* What a handler gets as its context. */
struct control_call {
	struct control	*control;
	const char	*who;	/* the caller, for the log */
	int		 fd;	/* came with the request; -1: none, or taken */
	struct control_peer	*peer;
	struct control_later	*later;	/* NULL until control_later_new() */
};

/* An answer that is due to a peer. */
struct control_later {
	LIST_ENTRY(control_later) link;
	struct control_peer	*peer;
	json_t			*id;	/* NULL: a notification's */
	void			(*gone)(void *arg);
	void			*arg;
};

LIST_HEAD(control_laters, control_later);

/*
 * Promise an answer; the handler returns rpc_later() then and nothing else.
 * The handle is valid until it is answered, or until `gone` is called because
 * the peer has gone.  NULL on lack of memory.
 */
struct control_later *control_later_new(struct control_call *call,
    void (*gone)(void *arg), void *arg);

/*
 * Give the answer: `result`, which is taken over, or where that is NULL the
 * error.  Not from inside the handler.
 */
void control_later_answer(struct control_later *l, json_t *result,
    const struct rpc_error *err);

/* The peer has gone: nobody waits for these answers any more. */
void control_laters_end(struct control_laters *laters);

/* Serve a connection of someone who may; `fd` is the connection's, also on
 * failure. */
void control_peer_start(struct control *c, int fd, const struct peer *cred);

/* Send what the socket takes, then close; memory goes at the end of the
 * turn. */
void control_peer_end(struct control_peer *p);

/* Answers that are due to it. */
struct control_laters *control_peer_laters(struct control_peer *p);

/* One fewer is due: send it, NULL for none; the peer may be closed after. */
void control_peer_answer(struct control_peer *p, const char *line);

/* control_trace.c */
rpc_handler control_trace_list;
rpc_handler control_trace_start;
rpc_handler control_trace_stop;
extern const struct rpc_param control_trace_start_params[];
extern const struct rpc_param control_trace_stop_params[];

extern const struct rpc_method control_methods[];
extern const size_t control_method_count;

/* control_methods.c: the session that the parameter "session" names; NULL with
 * `err` filled. */
struct session *control_session_named(struct control *c,
    const json_t *params, struct rpc_error *err);

rpc_handler control_config_reload;

rpc_handler control_session_discover;
extern const struct rpc_param control_session_discover_params[];

/* control_session.c */
rpc_handler control_session_add;
rpc_handler control_session_remove;
rpc_handler control_session_login;
rpc_handler control_session_logout;
extern const struct rpc_param control_session_add_params[];
extern const struct rpc_param control_session_params[];

/* Methods that have a file of their own. */
rpc_handler control_fault_set;
rpc_handler control_fault_list;
rpc_handler control_fault_clear;
extern const struct rpc_param control_fault_set_params[];
extern const struct rpc_param control_fault_list_params[];
extern const struct rpc_param control_fault_clear_params[];

/*
 * Each returns a new reference, or NULL when memory is short.  Times are in
 * milliseconds, sizes in bytes.
 */
json_t *control_json_text(const char *text);
json_t *control_json_session(const struct session_info *info);
json_t *control_json_session_full(const struct session_info *info);
json_t *control_json_headers(const struct hdrring *ring);
json_t *control_json_session_stats(const struct session_stats *stats);
json_t *control_json_client(const struct client_info *info);
json_t *control_json_trace(const struct trace_info *info);
json_t *control_json_worker(struct worker *w);
json_t *control_json_limits(const struct worker *w);

#endif
