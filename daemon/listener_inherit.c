/* SPDX-License-Identifier: ISC */
/*
 * Listening sockets that a service manager opened before the daemon was
 * started.  It calls libsystemd, where that is built in, and knows only the
 * two names that the units give.
 */
#include "config.h"

#include <sys/socket.h>
#include <sys/un.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifdef HAVE_SYSTEMD
#include <systemd/sd-daemon.h>
#endif

#include "daemon/listener.h"
#include "daemon/listener_socket.h"

#ifdef HAVE_SYSTEMD

/* The path that the socket is bound to, for messages. */
static struct listener_socket *
inherited_new(int fd)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	socklen_t len = sizeof(sun);
	struct listener_socket *s;
	char path[sizeof(sun.sun_path) + 1] = "";

	if (getsockname(fd, (struct sockaddr *)&sun, &len) == 0 &&
	    len > offsetof(struct sockaddr_un, sun_path))
		memcpy(path, sun.sun_path,
		    len - offsetof(struct sockaddr_un, sun_path));
	s = listener_socket_new(path);
	if (s != NULL)
		s->fd = fd;
	return s;
}

static int
take_descriptor(struct listener_inherited *in, int fd, const char *name,
    char *why, size_t size)
{
	struct listener_socket **slot;
	int flags, error;

	if (strcmp(name, "data") == 0)
		slot = &in->data;
	else if (strcmp(name, "control") == 0)
		slot = &in->control;
	else
		slot = NULL;
	if (slot == NULL || *slot != NULL) {
		snprintf(why, size, "the service manager passed %s "
		    "descriptor \"%s\": FileDescriptorName= must be data or "
		    "control, each once", slot == NULL ? "the unknown" :
		    "a second", name);
		return -EINVAL;
	}
	if (sd_is_socket_unix(fd, SOCK_STREAM, 1, NULL, 0) <= 0) {
		snprintf(why, size, "the descriptor \"%s\" of the service "
		    "manager is no listening UNIX stream socket", name);
		return -EINVAL;
	}
	flags = fcntl(fd, F_GETFL);
	if (flags == -1 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) == -1 ||
	    (*slot = inherited_new(fd)) == NULL) {
		error = errno;
		snprintf(why, size, "cannot take the descriptor \"%s\": %s",
		    name, strerror(error));
		return -error;
	}
	return 0;
}

int
listener_inherit(struct listener_inherited *out, char *why, size_t size)
{
	char **names = NULL;
	int n, rc = 0;

	*out = (struct listener_inherited){ NULL, NULL };
	n = sd_listen_fds_with_names(1, &names);
	if (n < 0) {
		snprintf(why, size, "the sockets of the service manager "
		    "cannot be read: %s", strerror(-n));
		return n;
	}
	for (int i = 0; i < n; i++) {
		if (rc == 0)
			rc = take_descriptor(out, SD_LISTEN_FDS_START + i,
			    names[i], why, size);
		free(names[i]);
	}
	free(names);
	if (rc < 0) {
		listener_socket_free(out->data);
		listener_socket_free(out->control);
		*out = (struct listener_inherited){ NULL, NULL };
	}
	return rc;
}

#else

int
listener_inherit(struct listener_inherited *out, char *why, size_t size)
{
	*out = (struct listener_inherited){ NULL, NULL };
	if (getenv("LISTEN_FDS") == NULL)
		return 0;
	snprintf(why, size, "LISTEN_FDS is set, but this iscsimuxd was built "
	    "without systemd: start it without socket units");
	return -ENOTSUP;
}

#endif
