/* SPDX-License-Identifier: ISC */
/*
 * What the files of the listener share: an open listening socket.  Nobody
 * else includes this.
 */
#ifndef DAEMON_LISTENER_SOCKET_H
#define DAEMON_LISTENER_SOCKET_H

#include <sys/types.h>

#include <stdbool.h>

#include "daemon/listener.h"

struct listener_socket {
	int	 fd;
	int	 lock;		/* descriptor of PATH.lock, or -1 */
	char	*path;
	char	*lock_path;	/* NULL if inherited */
	bool	 bound;		/* dev and ino name our socket file */
	dev_t	 dev;
	ino_t	 ino;
};

/* An unopened socket for `path`, which is copied; NULL on lack of memory. */
struct listener_socket *listener_socket_new(const char *path);

#endif
