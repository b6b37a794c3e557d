/* SPDX-License-Identifier: ISC */
/*
 * Opens a listening UNIX socket: directory, lock, stale file, bind, owner,
 * mode, listen, in that order.  A connection is refused by the kernel until
 * listen(2), so none ever meets a mode that is not the final one.  It calls
 * the C library only.
 */
#include "config.h"

#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/listener.h"
#include "daemon/listener_socket.h"

#define SOCKET_BACKLOG	512

/* One attempt to open, and where its reason goes. */
struct opening {
	const struct listener_where	*where;
	struct listener_socket		*s;
	struct sockaddr_un		 sun;
	char				*why;
	size_t				 size;
};

static int
fail(struct opening *o, int rc, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

static int
fail(struct opening *o, int rc, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(o->why, o->size, fmt, ap);
	va_end(ap);
	return rc;
}

static int
fail_in_use(struct opening *o)
{
	return fail(o, LISTENER_E_IN_USE,
	    "another iscsimuxd is already listening on %s", o->where->path);
}

struct listener_socket *
listener_socket_new(const char *path)
{
	struct listener_socket *s = calloc(1, sizeof(*s));

	if (s == NULL)
		return NULL;
	s->fd = -1;
	s->lock = -1;
	s->path = strdup(path);
	if (s->path == NULL) {
		free(s);
		return NULL;
	}
	return s;
}

const char *
listener_socket_path(const struct listener_socket *s)
{
	return s->path;
}

/* True if the socket file is still the one that we bound. */
static bool
socket_is_ours(const struct listener_socket *s)
{
	struct stat st;

	return s->bound && lstat(s->path, &st) == 0 &&
	    st.st_dev == s->dev && st.st_ino == s->ino;
}

void
listener_socket_free(struct listener_socket *s)
{
	if (s == NULL)
		return;
	if (socket_is_ours(s))
		unlink(s->path);
	if (s->fd >= 0)
		close(s->fd);
	if (s->lock >= 0) {
		unlink(s->lock_path);
		close(s->lock);
	}
	free(s->lock_path);
	free(s->path);
	free(s);
}

/* Create the socket's directory if only that one is missing. */
static int
make_directory(struct opening *o)
{
	char path[sizeof(o->sun.sun_path)];
	const char *dir;

	strlcpy(path, o->where->path, sizeof(path));
	dir = dirname(path);
	if (mkdir(dir, 0755) == -1) {
		if (errno == EEXIST || errno == EROFS)
			return 0;
		return fail(o, -errno, "cannot create the directory %s of "
		    "the socket %s: %s", dir, o->where->path, strerror(errno));
	}
	/* The umask may have taken bits away, and clients must get through. */
	if (chmod(dir, 0755) == -1 ||
	    lchown(dir, o->where->uid, (gid_t)-1) == -1)
		return fail(o, -errno, "cannot set owner and mode of %s: %s",
		    dir, strerror(errno));
	return 0;
}

/*
 * Lock PATH.lock.  The file is removed by its last holder, so what was locked
 * must be looked at again: it may be a file that has just lost its name.
 */
static int
take_lock(struct opening *o)
{
	struct listener_socket *s = o->s;
	struct stat held, named;

	for (;;) {
		s->lock = open(s->lock_path, O_RDWR | O_CREAT | O_CLOEXEC |
		    O_NOFOLLOW, 0600);
		if (s->lock == -1)
			return fail(o, -errno, "cannot create %s: %s",
			    s->lock_path, strerror(errno));
		if (flock(s->lock, LOCK_EX | LOCK_NB) == -1) {
			int error = errno;

			close(s->lock);
			s->lock = -1;
			if (error == EWOULDBLOCK)
				return fail_in_use(o);
			return fail(o, -error, "cannot lock %s: %s",
			    s->lock_path, strerror(error));
		}
		/* For a next start without root, should this one crash. */
		(void)!fchown(s->lock, o->where->uid, (gid_t)-1);
		if (fstat(s->lock, &held) == 0 &&
		    stat(s->lock_path, &named) == 0 &&
		    held.st_dev == named.st_dev && held.st_ino == named.st_ino)
			return 0;
		close(s->lock);
		s->lock = -1;
	}
}

/* Say why nobody can be asked whether he still listens. */
static int
connect_failed(struct opening *o, int error)
{
	if (error == EAGAIN)
		return fail_in_use(o);
	return fail(o, -error, "cannot tell whether %s is in use: %s",
	    o->where->path, strerror(error));
}

/* Remove a socket file that nobody listens on any more. */
static int
remove_stale(struct opening *o)
{
	const char *path = o->where->path;
	struct stat st;
	int fd, rc, error;

	if (lstat(path, &st) == -1) {
		if (errno == ENOENT)
			return 0;
		return fail(o, -errno, "cannot look at %s: %s", path,
		    strerror(errno));
	}
	if (!S_ISSOCK(st.st_mode))
		return fail(o, -EEXIST, "%s exists and is no socket: remove "
		    "it or choose another path", path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd == -1)
		return fail(o, -errno, "cannot make a socket: %s",
		    strerror(errno));
	rc = connect(fd, (const struct sockaddr *)&o->sun, sizeof(o->sun));
	error = rc == -1 ? errno : 0;
	close(fd);
	if (error == 0)
		return fail_in_use(o);
	if (error == ENOENT)
		return 0;
	if (error != ECONNREFUSED)
		return connect_failed(o, error);
	if (unlink(path) == -1 && errno != ENOENT)
		return fail(o, -errno, "cannot remove the stale socket %s: %s",
		    path, strerror(errno));
	return 0;
}

/* Bind with mode 0600, then give owner, group and mode. */
static int
bind_path(struct opening *o)
{
	const struct listener_where *where = o->where;
	struct listener_socket *s = o->s;
	struct stat st;
	mode_t mask;
	int rc;

	mask = umask(0177);
	rc = bind(s->fd, (const struct sockaddr *)&o->sun, sizeof(o->sun));
	rc = rc == -1 ? -errno : 0;
	umask(mask);
	if (rc == -EADDRINUSE)
		return fail_in_use(o);
	if (rc < 0)
		return fail(o, rc, "cannot bind %s: %s", where->path,
		    strerror(-rc));
	if (lstat(where->path, &st) == -1)
		return fail(o, -errno, "%s vanished: %s", where->path,
		    strerror(errno));
	s->dev = st.st_dev;
	s->ino = st.st_ino;
	s->bound = true;
	if (lchown(where->path, where->uid, where->gid) == -1)
		return fail(o, -errno, "cannot give %s its owner and group: "
		    "%s", where->path, strerror(errno));
	if (chmod(where->path, where->mode) == -1)
		return fail(o, -errno, "cannot set the mode of %s: %s",
		    where->path, strerror(errno));
	return 0;
}

static int
open_steps(struct opening *o)
{
	struct listener_socket *s = o->s;
	int rc;

	if ((rc = make_directory(o)) != 0 || (rc = take_lock(o)) != 0 ||
	    (rc = remove_stale(o)) != 0)
		return rc;
	s->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (s->fd == -1)
		return fail(o, -errno, "cannot make a socket: %s",
		    strerror(errno));
	if ((rc = bind_path(o)) != 0)
		return rc;
	if (listen(s->fd, SOCKET_BACKLOG) == -1)
		return fail(o, -errno, "cannot listen on %s: %s",
		    o->where->path, strerror(errno));
	return 0;
}

int
listener_open(const struct listener_where *where,
    struct listener_socket **out, char *why, size_t size)
{
	struct opening o = { .where = where, .why = why, .size = size,
	    .sun = { .sun_family = AF_UNIX } };
	int rc;

	*out = NULL;
	if (strlcpy(o.sun.sun_path, where->path, sizeof(o.sun.sun_path)) >=
	    sizeof(o.sun.sun_path))
		return fail(&o, -ENAMETOOLONG, "the socket path %s is longer "
		    "than %zu bytes", where->path, sizeof(o.sun.sun_path) - 1);
	o.s = listener_socket_new(where->path);
	if (o.s == NULL || asprintf(&o.s->lock_path, "%s.lock",
	    where->path) == -1) {
		if (o.s != NULL)
			o.s->lock_path = NULL;
		listener_socket_free(o.s);
		return fail(&o, -ENOMEM, "out of memory");
	}
	rc = open_steps(&o);
	if (rc != 0) {
		listener_socket_free(o.s);
		return rc;
	}
	*out = o.s;
	return 0;
}
