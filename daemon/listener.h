/* SPDX-License-Identifier: ISC */
/*
 * The daemon's listening UNIX sockets: opened without a moment in which their
 * mode is wrong or a second daemon could take them over, or inherited from a
 * service manager; and the accepting of connections, which pauses while file
 * descriptors or memory are short.  Who is behind a connection and what it
 * is for is the business of whoever registered on_accept.
 */
#ifndef DAEMON_LISTENER_H
#define DAEMON_LISTENER_H

#include <sys/types.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/access.h"

struct listener;
struct listener_socket;
struct worker;

/* Connections accepted in one turn of the loop. */
#define LISTENER_BATCH		16
/* How long accepting pauses when descriptors are short, in ms. */
#define LISTENER_PAUSE_MS	1000
/* Bytes that any reason of this module fits into, NUL included. */
#define LISTENER_WHY_MAX	512

enum listener_error {
	LISTENER_E_IN_USE = 1	/* another process listens there */
};

/* Where to listen and who may connect; -1 keeps the process's own id. */
struct listener_where {
	const char	*path;
	mode_t		 mode;
	uid_t		 uid;
	gid_t		 gid;
};

/*
 * Bind and listen.  A missing directory (the last one of the path only) is
 * created with mode 0755 and given to `uid`; a socket that nobody listens on
 * any more is replaced.  Holds a lock on PATH.lock while it is open.  Returns
 * 0 and the socket, LISTENER_E_IN_USE, or a negative errno; in both of the
 * latter cases the `size` bytes at `why` say what is wrong and what to do.
 */
int listener_open(const struct listener_where *where,
    struct listener_socket **out, char *why, size_t size);

/* Sockets handed over by a service manager, by FileDescriptorName=. */
struct listener_inherited {
	struct listener_socket	*data;		/* NULL: not given */
	struct listener_socket	*control;	/* NULL: not given */
};

/*
 * Take over what the service manager passed (sd_listen_fds(3)), which may be
 * nothing.  Returns 0, or a negative errno and the reason in `why` for a
 * descriptor that is unknown, given twice or no listening UNIX stream socket.
 */
int listener_inherit(struct listener_inherited *out, char *why, size_t size);

/* Close; remove the file unless it was inherited.  NULL is allowed. */
void listener_socket_free(struct listener_socket *s);

/* The path in use; lives with the socket. */
const char *listener_socket_path(const struct listener_socket *s);

/*
 * Accept on `s`, which the listener owns from now on, also on failure.
 * `on_accept` gets a non-blocking, close-on-exec descriptor and the peer's
 * credentials, and owns both.  NULL with errno set on failure.
 */
struct listener *listener_new(struct worker *w, struct listener_socket *s,
    void (*on_accept)(void *arg, int fd, struct peer *peer), void *arg);

/* A descriptor was closed: try again if accepting pauses. */
void listener_resume(struct listener *l);

/* True while accepting pauses. */
bool listener_paused(const struct listener *l);

/* Stop accepting and close the socket.  NULL is allowed. */
void listener_free(struct listener *l);

#endif
