/* SPDX-License-Identifier: ISC */
/*
 * The queue of descriptors of a control connection.
 */
#include "config.h"

#include <string.h>
#include <unistd.h>

#include "daemon/control_fds.h"

static bool
add_one(struct control_fds *f, int fd, uint64_t end)
{
	if (f->count == CONTROL_FDS_MAX) {
		close(fd);
		return false;
	}
	f->entry[f->count].fd = fd;
	f->entry[f->count].end = end;
	f->count++;
	return true;
}

/* Close all from the one at `first` on. */
static void
drop_from(struct control_fds *f, unsigned first)
{
	while (f->count > first)
		close(f->entry[--f->count].fd);
}

bool
control_fds_add(struct control_fds *f, struct msghdr *msg, uint64_t end)
{
	bool good = (msg->msg_flags & MSG_CTRUNC) == 0;
	unsigned before = f->count;
	struct cmsghdr *c;

	for (c = CMSG_FIRSTHDR(msg); c != NULL; c = CMSG_NXTHDR(msg, c)) {
		size_t len = c->cmsg_len - CMSG_LEN(0);

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t off = 0; off + sizeof(int) <= len;
		    off += sizeof(int)) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + off, sizeof(fd));
			good = add_one(f, fd, end) && good;
		}
	}
	if (!good)
		drop_from(f, before);
	return good;
}

unsigned
control_fds_take(struct control_fds *f, uint64_t end, int *fd)
{
	unsigned n = 0;

	*fd = -1;
	while (n < f->count && f->entry[n].end <= end) {
		if (n == 0)
			*fd = f->entry[n].fd;
		else
			close(f->entry[n].fd);
		n++;
	}
	f->count -= n;
	memmove(f->entry, f->entry + n, f->count * sizeof(f->entry[0]));
	return n;
}

void
control_fds_clear(struct control_fds *f)
{
	drop_from(f, 0);
}
