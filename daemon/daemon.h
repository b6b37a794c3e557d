/* SPDX-License-Identifier: ISC */
/*
 * The daemon as one object: it owns the configuration, the log, the worker,
 * both sockets, the sessions and the clients, and decides in which order they
 * come and go.
 */
#ifndef DAEMON_DAEMON_H
#define DAEMON_DAEMON_H

#include <stdbool.h>

struct daemon;

/* How the process ends. */
enum daemon_exit {
	DAEMON_EXIT_OK = 0,		/* stopped as asked */
	DAEMON_EXIT_FAILURE = 1,
	DAEMON_EXIT_CONFIG = 2,		/* usage or configuration */
	DAEMON_EXIT_RUNNING = 3		/* another daemon has the sockets */
};

/* The command line; a NULL or false member leaves it to the configuration. */
struct daemon_options {
	const char	*config_path;
	const char	*data_socket;
	const char	*control_socket;
	const char	*user;
	const char	*pidfile;
	bool		 debug;
};

/*
 * Read the configuration, open the sockets, give up privileges, start the
 * sessions.  Messages go to stderr.  Returns the daemon, or NULL with the
 * status to exit with in `*status`.  `opt` may go once this returned.
 */
struct daemon *daemon_new(const struct daemon_options *opt,
    enum daemon_exit *status);

/*
 * Serve until SIGTERM, SIGINT, daemon.stop or daemon_stop(), then close all
 * clients and log all sessions out.  Returns the status to exit with.
 */
enum daemon_exit daemon_loop(struct daemon *d);

/* Make daemon_loop() stop as SIGTERM does; returns at once. */
void daemon_stop(struct daemon *d);

/*
 * Free everything.  Returns DAEMON_EXIT_OK, or DAEMON_EXIT_FAILURE if memory
 * of the data path was lost on the way.  NULL is allowed.
 */
enum daemon_exit daemon_free(struct daemon *d);

/* All of the above in turn; for main(). */
enum daemon_exit daemon_run(const struct daemon_options *opt);

/*
 * Check the configuration file at `path` (NULL: the default one) and what it
 * names, without touching a socket: all errors and warnings to stderr, then
 * "PATH: ok, N sessions" to stdout.  May block for name look-ups.
 */
enum daemon_exit daemon_check(const char *path);

#endif
