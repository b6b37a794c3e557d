/* SPDX-License-Identifier: ISC */
/*
 * File descriptors that came over a control connection and wait for the
 * request they belong to.  A stream may hand out older bytes together with a
 * newer descriptor, but never bytes that were sent after it: so a descriptor
 * belongs to the line that has the last byte which was read with it.
 */
#ifndef DAEMON_CONTROL_FDS_H
#define DAEMON_CONTROL_FDS_H

#include <sys/socket.h>

#include <stdbool.h>
#include <stdint.h>

/* Descriptors that wait on one connection at most. */
#define CONTROL_FDS_MAX		16u

/* Embedded in its owner; all zero is empty. */
struct control_fds {
	struct {
		int		fd;
		uint64_t	end;	/* of the bytes it came with */
	} entry[CONTROL_FDS_MAX];
	unsigned	count;
};

/*
 * Keep the descriptors of a message that ended at byte `end` of the stream.
 * False, with all of the message closed, if there is no room for them or the
 * kernel has cut them off.
 */
bool control_fds_add(struct control_fds *f, struct msghdr *msg, uint64_t end);

/*
 * The line that ends at byte `end` is served: the first of its descriptors
 * goes to `*fd`, -1 if it has none, the others are closed.  Returns how many
 * it had.
 */
unsigned control_fds_take(struct control_fds *f, uint64_t end, int *fd);

/* Close all. */
void control_fds_clear(struct control_fds *f);

#endif
