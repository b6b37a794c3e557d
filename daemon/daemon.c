/* SPDX-License-Identifier: ISC */
/*
 * The daemon's birth, main loop and death: what is made in which order and
 * freed in the reverse one.  The steps themselves are in daemon_*.c.
 */
#include "config.h"

#include <sys/stat.h>

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <libutil.h>

#ifdef HAVE_SYSTEMD
#include <systemd/sd-daemon.h>
#endif

#include "daemon/conf.h"
#include "daemon/daemon.h"
#include "daemon/daemon_priv.h"
#include "daemon/listener.h"
#include "daemon/log.h"
#include "daemon/loop.h"
#include "daemon/worker.h"

void
daemon_notify(const char *state)
{
#ifdef HAVE_SYSTEMD
	(void)sd_notify(0, state);
#else
	(void)state;
#endif
}

void
daemon_notify_reloading(void)
{
	struct timespec now;
	char text[64];

	clock_gettime(CLOCK_MONOTONIC, &now);
	snprintf(text, sizeof(text), "RELOADING=1\nMONOTONIC_USEC=%" PRIu64,
	    (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000);
	daemon_notify(text);
}

/*
 * True if stderr is the journal.  The variable alone is not enough: a child
 * of a service may have its stderr elsewhere.
 */
static bool
stderr_is_journal(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	uintmax_t dev, ino;
	struct stat st;

	return stream != NULL &&
	    sscanf(stream, "%ju:%ju", &dev, &ino) == 2 &&
	    fstat(STDERR_FILENO, &st) == 0 &&
	    st.st_dev == (dev_t)dev && st.st_ino == (ino_t)ino;
}

static enum daemon_exit
out_of_memory(struct daemon *d)
{
	log_error(d->log, "cannot start: %s", strerror(errno));
	return DAEMON_EXIT_FAILURE;
}

static enum daemon_exit
open_pidfile(struct daemon *d, const char *path)
{
	pid_t pid = 0;

	if (path == NULL)
		return DAEMON_EXIT_OK;
	d->pidfile = pidfile_open(path, 0644, &pid);
	if (d->pidfile != NULL) {
		(void)pidfile_write(d->pidfile);
		return DAEMON_EXIT_OK;
	}
	if (errno == EEXIST) {
		log_error(d->log, "another iscsimuxd is already running "
		    "(pid %d): it holds %s", (int)pid, path);
		return DAEMON_EXIT_RUNNING;
	}
	log_error(d->log, "cannot create %s: %s", path, strerror(errno));
	return DAEMON_EXIT_FAILURE;
}

static enum daemon_exit
make_worker(struct daemon *d)
{
	d->w = worker_new(d->log, d->config);
	if (d->w == NULL)
		return out_of_memory(d);
	d->started = loop_now(d->w->loop);
	if (!daemon_stop_init(d) || !daemon_serve_start(d))
		return out_of_memory(d);
	return DAEMON_EXIT_OK;
}

static enum daemon_exit
daemon_start(struct daemon *d, const struct daemon_options *opt)
{
	enum daemon_exit rc;
	char text[64];

	if ((rc = daemon_configure(d, opt)) != DAEMON_EXIT_OK ||
	    (rc = open_pidfile(d, opt->pidfile)) != DAEMON_EXIT_OK ||
	    (rc = daemon_open_sockets(d)) != DAEMON_EXIT_OK ||
	    (rc = daemon_drop_privileges(d)) != DAEMON_EXIT_OK)
		return rc;
	daemon_raise_limits(d);
	if ((rc = make_worker(d)) != DAEMON_EXIT_OK)
		return rc;
	log_info(d->log, "iscsimuxd %s: ready, %zu session%s, data socket %s, "
	    "control socket %s", PACKAGE_VERSION, d->config->session_count,
	    d->config->session_count == 1 ? "" : "s", d->config->data_socket,
	    d->config->control_socket);
	snprintf(text, sizeof(text), "READY=1\nSTATUS=%zu sessions",
	    d->config->session_count);
	daemon_notify(text);
	return DAEMON_EXIT_OK;
}

/*
 * Signals that end the daemon wait until it can obey them: from the moment
 * its sockets exist, only an orderly stop removes them.
 */
static enum daemon_exit
start_undisturbed(struct daemon *d, const struct daemon_options *opt)
{
	enum daemon_exit rc;
	sigset_t stop, old;

	sigemptyset(&stop);
	sigaddset(&stop, SIGTERM);
	sigaddset(&stop, SIGINT);
	sigaddset(&stop, SIGHUP);
	sigprocmask(SIG_BLOCK, &stop, &old);
	rc = daemon_start(d, opt);
	sigprocmask(SIG_SETMASK, &old, NULL);
	return rc;
}

struct daemon *
daemon_new(const struct daemon_options *opt, enum daemon_exit *status)
{
	struct daemon *d = calloc(1, sizeof(*d));

	*status = DAEMON_EXIT_FAILURE;
	if (d == NULL)
		return NULL;
	TAILQ_INIT(&d->clients);
	TAILQ_INIT(&d->plans);
	d->log = log_new(STDERR_FILENO, LOG_LEVEL_INFO);
	d->config_path = strdup(daemon_config_path(opt->config_path));
	if (d->log == NULL || d->config_path == NULL) {
		daemon_free(d);
		return NULL;
	}
	log_set_prefix(d->log, stderr_is_journal());
	/* A peer that is gone is an EPIPE, not the end of everybody. */
	signal(SIGPIPE, SIG_IGN);
	*status = start_undisturbed(d, opt);
	if (*status == DAEMON_EXIT_OK)
		return d;
	daemon_free(d);
	return NULL;
}

enum daemon_exit
daemon_loop(struct daemon *d)
{
	int rc = loop_run(d->w->loop);

	if (rc < 0) {
		log_error(d->log, "the event loop failed: %s", strerror(-rc));
		return DAEMON_EXIT_FAILURE;
	}
	return d->forced ? DAEMON_EXIT_FAILURE : DAEMON_EXIT_OK;
}

/* Free the worker; what it did not get back is a fault of ours. */
static enum daemon_exit
free_worker(struct daemon *d)
{
	uint64_t left;

	if (d->w == NULL)
		return DAEMON_EXIT_OK;
	daemon_serve_free(d);
	daemon_stop_free(d);
	left = worker_free(d->w);
	if (left == 0)
		return DAEMON_EXIT_OK;
	log_error(d->log, "%" PRIu64 " objects were still in use at the end: "
	    "this is a bug", left);
	return DAEMON_EXIT_FAILURE;
}

enum daemon_exit
daemon_free(struct daemon *d)
{
	enum daemon_exit rc;

	if (d == NULL)
		return DAEMON_EXIT_OK;
	rc = free_worker(d);
	listener_socket_free(d->data_socket);
	listener_socket_free(d->control_socket);
	if (d->pidfile != NULL)
		(void)pidfile_remove(d->pidfile);
	config_free(d->config);
	log_free(d->log);
	free(d->config_path);
	free(d);
	return rc;
}

enum daemon_exit
daemon_run(const struct daemon_options *opt)
{
	enum daemon_exit rc, freed;
	struct daemon *d;

	d = daemon_new(opt, &rc);
	if (d == NULL)
		return rc;
	rc = daemon_loop(d);
	log_info(d->log, "stopped");
	freed = daemon_free(d);
	return rc != DAEMON_EXIT_OK ? rc : freed;
}
