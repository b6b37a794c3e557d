/* SPDX-License-Identifier: ISC */
/*
 * Descriptors that come with a client's bytes.  A stream can return older
 * bytes together with a newer descriptor, so they queue in order and each
 * frame with flag FD takes one.  One that no frame takes ends the client: it
 * would be the client's hold on the daemon.
 */
#include "config.h"

#include <sys/socket.h>

#include <string.h>

#include "daemon/client_internal.h"
#include "daemon/conn.h"
#include "proto/msg.h"

void
client_fds_close(struct client *c)
{
	while (c->nfds > 0)
		conn_drop_fd(c->fds[--c->nfds]);
}

/* Keep `fd`, or close it if there is no room; true if it was kept. */
static bool
keep(struct client *c, int fd)
{
	if (c->nfds == CLIENT_FDS_MAX) {
		conn_drop_fd(fd);
		return false;
	}
	c->fds[c->nfds++] = fd;
	return true;
}

/* Take in what came along; the client may be told to go. */
void
client_fds_receive(struct client *c, struct msghdr *msg)
{
	bool bad = (msg->msg_flags & MSG_CTRUNC) != 0;
	struct cmsghdr *cm;
	unsigned got = 0;

	for (cm = CMSG_FIRSTHDR(msg); cm != NULL; cm = CMSG_NXTHDR(msg, cm)) {
		size_t n, i;
		int fd;

		if (cm->cmsg_level != SOL_SOCKET ||
		    cm->cmsg_type != SCM_RIGHTS)
			continue;
		n = (cm->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (i = 0; i < n; i++) {
			memcpy(&fd, CMSG_DATA(cm) + i * sizeof(int),
			    sizeof(fd));
			bad = !keep(c, fd) || bad;
			got++;
		}
	}
	if (bad || got > 1)
		client_fatal(c, MSG_R_BAD_FD, "%s", bad ? "file descriptors "
		    "were lost on the way" : "more than one file descriptor "
		    "came with a frame");
}

/* All bytes are parsed: only a frame that has just begun may want one. */
void
client_fds_check(struct client *c)
{
	uint32_t wanted = frame_parser_in_header(&c->parser) ? 1 : 0;

	if (c->nfds > wanted)
		client_fatal(c, MSG_R_BAD_FD, "a file descriptor came with a "
		    "frame that carries none");
}

/* The oldest descriptor, or -1. */
int
client_fds_take(struct client *c)
{
	int fd;

	if (c->nfds == 0)
		return -1;
	fd = c->fds[0];
	c->nfds--;
	memmove(c->fds, c->fds + 1, c->nfds * sizeof(c->fds[0]));
	return fd;
}
