/* SPDX-License-Identifier: ISC */
/*
 * Accepts connections in batches and pauses while the process is short of
 * descriptors or memory.  It calls the loop and the log, and knows nothing of
 * what is spoken on a connection.
 */
#include "config.h"

#include <sys/socket.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/listener.h"
#include "daemon/listener_socket.h"
#include "daemon/log.h"
#include "daemon/loop.h"
#include "daemon/worker.h"

struct listener {
	struct worker		*w;
	struct listener_socket	*socket;
	struct loop_io		*io;
	struct loop_timer	*retry;
	void			(*on_accept)(void *, int, struct peer *);
	void			*arg;
	bool			 paused;
	bool			 complained;
};

/* Not worth a pause: the connection at hand is broken, not the socket. */
static bool
error_is_of_one_connection(int error)
{
	switch (error) {
	case ECONNABORTED:
	case EPROTO:
	case EPERM:
	case EINTR:
		return true;
	default:
		return false;
	}
}

static void
listener_pause(struct listener *l, int error)
{
	/* One line for each shortage, however long it lasts. */
	if (!l->complained)
		log_warn(l->w->log, "socket %s: cannot accept: %s; "
		    "trying again when a client leaves or in %u ms",
		    l->socket->path, strerror(error), LISTENER_PAUSE_MS);
	l->complained = true;
	l->paused = true;
	loop_io_want(l->io, 0);
	loop_timer_set(l->retry, LISTENER_PAUSE_MS);
}

static void
listener_admit(struct listener *l, int fd)
{
	struct peer peer;
	int rc;

	l->complained = false;
	rc = peer_get(fd, &peer);
	if (rc < 0) {
		log_warn(l->w->log, "socket %s: connection dropped: its "
		    "credentials cannot be read: %s", l->socket->path,
		    strerror(-rc));
		peer_free(&peer);
		close(fd);
		return;
	}
	l->on_accept(l->arg, fd, &peer);
}

static void
on_readable(void *arg, unsigned events)
{
	struct listener *l = arg;

	(void)events;
	for (int i = 0; i < LISTENER_BATCH; i++) {
		int fd = accept4(l->socket->fd, NULL, NULL,
		    SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd >= 0) {
			listener_admit(l, fd);
			continue;
		}
		if (errno == EAGAIN)
			return;
		if (!error_is_of_one_connection(errno)) {
			listener_pause(l, errno);
			return;
		}
	}
}

static void
on_retry(void *arg)
{
	listener_resume(arg);
}

struct listener *
listener_new(struct worker *w, struct listener_socket *s,
    void (*on_accept)(void *arg, int fd, struct peer *peer), void *arg)
{
	struct listener *l = calloc(1, sizeof(*l));

	if (l == NULL) {
		listener_socket_free(s);
		return NULL;
	}
	l->w = w;
	l->socket = s;
	l->on_accept = on_accept;
	l->arg = arg;
	l->io = loop_io_new(w->loop, s->fd, on_readable, l);
	l->retry = loop_timer_new(w->loop, on_retry, l);
	if (l->io == NULL || l->retry == NULL) {
		listener_free(l);
		errno = ENOMEM;
		return NULL;
	}
	loop_io_want(l->io, LOOP_READ);
	return l;
}

void
listener_resume(struct listener *l)
{
	if (!l->paused)
		return;
	l->paused = false;
	loop_timer_clear(l->retry);
	loop_io_want(l->io, LOOP_READ);
}

bool
listener_paused(const struct listener *l)
{
	return l->paused;
}

void
listener_free(struct listener *l)
{
	if (l == NULL)
		return;
	loop_io_free(l->io);
	loop_timer_free(l->retry);
	listener_socket_free(l->socket);
	free(l);
}
