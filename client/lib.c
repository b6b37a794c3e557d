/* SPDX-License-Identifier: ISC */
/*
 * The handle: its life, its connection, and the one function through which
 * everything is called back.  Frames and requests are other files' business.
 */
#include "config.h"

#include <sys/socket.h>
#include <sys/un.h>

#include <ctype.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/lib.h"

#define SNDBUF	(1024 * 1024)	/* wished; the system may give less */

void
lib_set_error(struct iscsimux *h, unsigned reason, const char *text)
{
	h->reason = (uint16_t)reason;
	if (text == NULL || text[0] == '\0')
		text = msg_reason_name(reason);
	strlcpy(h->text, text, sizeof(h->text));
}

void
lib_set_fatal(struct iscsimux *h, unsigned reason, const char *text)
{
	lib_set_error(h, reason, text);
	h->told = true;
}

bool
lib_alive(const struct iscsimux *h, uint32_t conn)
{
	return h->conn == conn && !h->dying;
}

void
lib_enter(struct iscsimux *h)
{
	h->depth++;
}

bool
lib_leave(struct iscsimux *h)
{
	bool dying = h->dying;

	if (--h->depth > 0 || !dying)
		return dying;
	lib_slot_free_all(h);
	free(h->in.current.store);
	free(h->in.stray.store);
	free(h->sync_sense);
	free(h->sync_text);
	free(h->sync_unread);
	free(h);
	return true;
}

static bool
name_ok(const char *name, size_t max)
{
	size_t i;

	for (i = 0; name[i] != '\0'; i++)
		if (i >= max || name[i] < ' ' || name[i] > '~')
			return false;
	return true;
}

int
iscsimux_set_name(struct iscsimux *h, const char *name)
{
	if (name == NULL || !name_ok(name, MSG_NAME_MAX))
		return -EINVAL;
	strlcpy(h->name, name, sizeof(h->name));
	return 0;
}

struct iscsimux *
iscsimux_new(const struct iscsimux_callbacks *callbacks, void *arg)
{
	struct iscsimux *h = calloc(1, sizeof(*h));

	if (h == NULL)
		return NULL;
	h->fd = -1;
	if (callbacks != NULL)
		h->cb = *callbacks;
	h->arg = arg;
	TAILQ_INIT(&h->free);
	TAILQ_INIT(&h->open);
	TAILQ_INIT(&h->out.sendq);
	TAILQ_INIT(&h->out.fenced);
	h->in.frame_fd = -1;
	STAILQ_INIT(&h->free_parts);
	SLIST_INIT(&h->free_pdus);
	if (name_ok(program_invocation_short_name, MSG_NAME_MAX))
		strlcpy(h->name, program_invocation_short_name,
		    sizeof(h->name));
	return h;
}

void
lib_close(struct iscsimux *h)
{
	if (h->fd == -1)
		return;
	close(h->fd);
	h->fd = -1;
	h->state = LIB_CLOSED;
	h->conn++;
	h->hello_wanted = false;
	h->attach_wanted = false;
	lib_in_close_fds(h);
	h->draining = true;
	lib_slot_drain(h);
	lib_out_reset(h);
	h->draining = false;
}

void
iscsimux_disconnect(struct iscsimux *h)
{
	if (h->fd == -1)
		return;
	lib_enter(h);
	lib_set_error(h, MSG_R_CONNECTION_LOST,
	    "this client closed the connection");
	lib_close(h);
	lib_leave(h);
}

void
iscsimux_free(struct iscsimux *h)
{
	if (h == NULL || h->dying)
		return;
	lib_enter(h);
	h->dying = true;
	iscsimux_disconnect(h);
	/* From a completion of a closed connection: the others now. */
	lib_slot_drain(h);
	lib_leave(h);
}

const char *
iscsimux_default_path(void)
{
	const char *path = secure_getenv("ISCSIMUX_SOCKET");

	if (path != NULL && path[0] != '\0')
		return path;
	return ISCSIMUX_RUNDIR "/data.sock";
}

/* Connect and connect_fd begin alike. */
static int
may_connect(const struct iscsimux *h)
{
	if (h->dying)
		return -ESHUTDOWN;
	if (h->draining)
		return -EBUSY;
	return h->fd != -1 ? -EISCONN : 0;
}

int
iscsimux_connect_fd(struct iscsimux *h, int fd)
{
	const int size = SNDBUF;
	int r = may_connect(h);

	if (r != 0)
		return r;
	/* Only a wish: without it large writes take more system calls. */
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	lib_out_reset(h);
	lib_in_reset(h);
	h->fd = fd;
	h->conn++;
	h->state = LIB_HELLO;
	h->hello_wanted = true;
	h->reason = MSG_R_NONE;
	h->told = false;
	h->text[0] = '\0';
	h->daemon[0] = '\0';
	h->features = 0;
	return 0;
}

static int
dial(const char *path)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	int fd, r;

	if (strlcpy(sun.sun_path, path, sizeof(sun.sun_path)) >=
	    sizeof(sun.sun_path))
		return -ENAMETOOLONG;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd == -1)
		return -errno;
	if (connect(fd, (struct sockaddr *)&sun, sizeof(sun)) == -1) {
		r = -errno;
		close(fd);
		return r;
	}
	return fd;
}

int
iscsimux_connect(struct iscsimux *h, const char *path)
{
	int fd, r = may_connect(h);

	if (r != 0)
		return r;
	if (path == NULL)
		path = iscsimux_default_path();
	fd = dial(path);
	if (fd < 0) {
		h->reason = MSG_R_NONE;
		snprintf(h->text, sizeof(h->text), "%s: %s", path,
		    iscsimux_strerror(fd));
		return fd;
	}
	r = iscsimux_connect_fd(h, fd);
	if (r != 0)
		close(fd);
	return r;
}

int
iscsimux_attach(struct iscsimux *h, const struct iscsimux_attach *o)
{
	const uint32_t needed = 1u << MSG_EVENT_SESSION_UP |
	    1u << MSG_EVENT_SESSION_DOWN | 1u << MSG_EVENT_PARAMETERS;

	if (h->state == LIB_CLOSED)
		return h->dying ? -ESHUTDOWN : -ENOTCONN;
	if (h->state == LIB_ATTACHED || h->state == LIB_ON_RAW)
		return -EISCONN;
	if (h->attach_wanted || h->state == LIB_ATTACHING || h->move != NULL)
		return -EALREADY;
	if (o->session == NULL || o->session[0] == '\0' ||
	    !name_ok(o->session, MSG_TARGET_MAX) ||
	    (o->access & ~MSG_ACCESS_ALL) != 0 ||
	    (o->events & ~ISCSIMUX_EVENTS_ALL) != 0)
		return -EINVAL;
	memset(&h->attach, 0, sizeof(h->attach));
	strlcpy(h->attach.session, o->session, sizeof(h->attach.session));
	h->attach.access = o->access;
	h->attach.flags = (o->exclusive ? MSG_ATTACH_EXCLUSIVE : 0u) |
	    (o->hold ? MSG_ATTACH_HOLD : 0u);
	h->attach.deadline = o->deadline_ms;
	h->attach.events = o->events | needed;
	h->events = o->events;
	h->attach_wanted = true;
	return 0;
}

const struct iscsimux_session *
iscsimux_session(const struct iscsimux *h)
{
	return h->state == LIB_ATTACHED ? &h->session : NULL;
}

int
iscsimux_fd(const struct iscsimux *h)
{
	return h->fd;
}

short
iscsimux_events(const struct iscsimux *h)
{
	if (h->fd == -1)
		return 0;
	return (short)(POLLIN | (lib_out_wanted(h) ? POLLOUT : 0));
}

/* Receive, then send all that the answers gave rise to. */
static int
service(struct iscsimux *h, short revents)
{
	uint32_t conn = h->conn;
	int r;

	if ((revents & (POLLIN | POLLHUP | POLLERR)) != 0) {
		r = lib_in_run(h);
		if (r != 0)
			return r;
	}
	lib_out_flush(h);
	/* What the daemon said before it went away is still worth reading. */
	while (h->out.error != 0) {
		r = lib_in_run(h);
		if (r != 0 || !lib_alive(h, conn))
			return r;
		if (h->in.drained)
			return h->out.error;
	}
	return 0;
}

/* The errno of the end, which a GOODBYE may know better than the socket. */
static int
end_error(const struct iscsimux *h, int error)
{
	if (error == -EPIPE)
		error = -ECONNRESET;
	if (error == -ECONNRESET && h->told &&
	    (h->reason == MSG_R_BAD_VERSION ||
	    h->reason == MSG_R_NOT_PERMITTED))
		return lib_reason_errno(h->reason);
	return error;
}

static void
closed(struct iscsimux *h, int error)
{
	if (!h->told)
		lib_set_error(h, MSG_R_CONNECTION_LOST, error == -ECONNRESET ?
		    "the daemon closed the connection" :
		    iscsimux_strerror(error));
	lib_close(h);
	if (h->dying)
		return;
	h->calls++;
	if (h->cb.on_closed != NULL)
		h->cb.on_closed(h, h->arg, error, h->text);
}

int
iscsimux_service(struct iscsimux *h, short revents)
{
	int r, calls;

	if (h->depth > 0)
		return -EDEADLK;
	if (h->fd == -1)
		return -ENOTCONN;
	lib_enter(h);
	h->calls = 0;
	r = service(h, revents);
	if (r < 0) {
		r = end_error(h, r);
		closed(h, r);
	}
	calls = h->calls;
	if (lib_leave(h))
		return -ESHUTDOWN;
	return r < 0 ? r : calls;
}

int
iscsimux_flush(struct iscsimux *h)
{
	if (h->fd == -1)
		return -ENOTCONN;
	lib_out_flush(h);
	return 0;
}

void
iscsimux_set_trace(struct iscsimux *h, iscsimux_trace_fn *trace, void *arg)
{
	h->trace = trace;
	h->trace_arg = arg;
}

const char *
iscsimux_error_text(const struct iscsimux *h)
{
	return h->text;
}

enum iscsimux_reason
iscsimux_error_reason(const struct iscsimux *h)
{
	return (enum iscsimux_reason)h->reason;
}

const char *
iscsimux_daemon(const struct iscsimux *h)
{
	return h->daemon;
}
