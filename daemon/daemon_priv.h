/* SPDX-License-Identifier: ISC */
/*
 * What the files of the daemon object share:
 *
 *	daemon.c	birth, main loop, death
 *	daemon_setup.c	configuration, sockets, privileges: before the loop
 *	daemon_serve.c	sessions, clients and control while it runs
 *	daemon_manage.c	sessions that come and go meanwhile
 *	daemon_reload.c	the configuration read again
 *	daemon_drain.c	time for open tasks before that
 *	daemon_stop.c	signals and the way out
 *	daemon_check.c	--check-config
 *
 * and nobody else includes this.
 */
#ifndef DAEMON_DAEMON_PRIV_H
#define DAEMON_DAEMON_PRIV_H

#include <sys/queue.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/control.h"
#include "daemon/daemon.h"
#include "daemon/loop.h"

struct client;
struct config;
struct config_session;
struct daemon_plan;
struct listener;
struct listener_socket;
struct log;
struct pidfh;
struct quota_table;
struct rpc_error;
struct session;
struct worker;

/* A client and the place in the list of those that are to be told goodbye. */
struct daemon_client {
	TAILQ_ENTRY(daemon_client) link;
	struct daemon		*d;
	struct client		*client;
};

struct daemon {
	struct config		*config;
	char			*config_path;
	bool			 config_given;	/* so the file must exist */
	/* By the command line or the service manager. */
	bool			 given_data_socket;
	bool			 given_control_socket;
	bool			 given_user;
	bool			 debug;		/* whatever log-level says */
	struct log		*log;
	struct worker		*w;
	struct pidfh		*pidfile;

	/* Opened before privileges go, given to the listeners after that. */
	struct listener_socket	*data_socket;
	struct listener_socket	*control_socket;
	struct listener		*data;
	struct listener		*control_listener;
	struct control		*control;

	TAILQ_HEAD(, daemon_client) clients;
	uint32_t		 nclients;
	uint64_t		 last_client_id;
	bool			 full;		/* and the log says so */

	TAILQ_HEAD(, daemon_plan) plans;

	struct loop_signal	*on_term;
	struct loop_signal	*on_int;
	struct loop_signal	*on_hup;
	struct loop_timer	*stop_deadline;
	struct loop_job		 stop_job;
	uint64_t		 started;	/* loop_now() */
	bool			 draining;	/* no new clients, no new tasks */
	uint64_t		 drain_end;	/* loop_now() */
	struct loop_timer	*drain_timer;
	bool			 stopping;
	bool			 signalled;	/* once, to stop */
	uint32_t		 nlogouts;	/* not done yet, when stopping */
	bool			 forced;	/* did not wait for logouts */
};

/* Each returns DAEMON_EXIT_OK, or the status to exit with, logged. */
enum daemon_exit daemon_configure(struct daemon *d,
    const struct daemon_options *opt);
enum daemon_exit daemon_open_sockets(struct daemon *d);
enum daemon_exit daemon_drop_privileges(struct daemon *d);

/* Raise the soft limit of descriptors to the hard one. */
void daemon_raise_limits(struct daemon *d);

/* The default main configuration file where `path` is NULL, else `path`. */
const char *daemon_config_path(const char *path);

/* Make listeners, control, sessions; false when memory is short. */
bool daemon_serve_start(struct daemon *d);

/* The access rules of sessions changed: clients lose what these do not grant
 * any more, see client_recheck(). */
void daemon_recheck_clients(struct daemon *d);

/* Close and free what daemon_serve_start() made; in any state. */
void daemon_serve_free(struct daemon *d);

/*
 * daemon_manage.c, for the control socket; see struct control_ops.  Adding
 * what is there already is no error, and leaves `*created` false.
 */
struct session *daemon_session_add(struct daemon *d,
    struct config_session *config, bool *created, struct rpc_error *err);
bool daemon_session_remove(struct daemon *d, struct session *s,
    struct rpc_error *err);
bool daemon_session_login(struct daemon *d, struct session *s,
    struct rpc_error *err);
bool daemon_session_logout(struct daemon *d, struct session *s,
    struct rpc_error *err);

/*
 * The same for a reload: log out, and then go on with another block, of which
 * a reference is taken, or be gone.  False when memory is short.
 */
bool daemon_session_change(struct daemon *d, struct session *s,
    struct config_session *config, bool start);
bool daemon_session_drop(struct daemon *d, struct session *s);

/* What the session will be like once it has logged out: its block, whether it
 * runs, whether it is removed; without such a plan, what it is like. */
const struct config_session *daemon_session_config(struct daemon *d,
    const struct session *s);
bool daemon_session_runs(struct daemon *d, const struct session *s);
bool daemon_session_leaves(struct daemon *d, const struct session *s);

/* A session of another name that has the same target and ISID, or will have,
 * so that the two would throw each other out (RFC 7143 section 6.3.5); or
 * NULL. */
struct session *daemon_session_clash(struct daemon *d,
    const struct config_session *config);

/* daemon_reload.c, for the control socket and SIGHUP; `note` may be NULL. */
bool daemon_reload(struct daemon *d, control_note *note, void *ctx,
    struct config_errors *errs);

/* Forget all plans; the sessions stay. */
void daemon_manage_free(struct daemon *d);

/*
 * Let no client and no task in any more, and stop when no task is open or
 * `timeout` ms are over; what is open then ends as daemon_stop() says.  Once
 * more: another end.
 */
void daemon_drain(struct daemon *d, uint32_t timeout);
bool daemon_drain_init(struct daemon *d);
void daemon_drain_free(struct daemon *d);

/* Watch signals; false when memory is short. */
bool daemon_stop_init(struct daemon *d);
void daemon_stop_free(struct daemon *d);

/* A client or a session is gone: leave the loop if it was the last. */
void daemon_stop_check(struct daemon *d);

/* Tell the service manager; does nothing without one. */
void daemon_notify(const char *state);
void daemon_notify_reloading(void);

#endif
