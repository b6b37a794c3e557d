/* SPDX-License-Identifier: ISC */
/*
 * Who is at the other end of a UNIX socket, and which sessions that process
 * may use.  Default deny: without a rule only root and the daemon's own user.
 */
#ifndef DAEMON_ACCESS_H
#define DAEMON_ACCESS_H

#include <sys/types.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct config_session;

/* From SO_PEERCRED and SO_PEERGROUPS at accept; free with peer_free(). */
struct peer {
	pid_t	 pid;
	uid_t	 uid;
	gid_t	 gid;
	gid_t	*groups;	/* supplementary */
	size_t	 ngroups;
};

/* Ask the kernel about the peer of `fd`.  Returns 0 or a negative errno. */
int peer_get(int fd, struct peer *peer);
void peer_free(struct peer *peer);

/*
 * The access (OR of enum msg_access) that `peer` has to the session; 0 is
 * none.  `self` is the daemon's own uid.
 */
uint32_t access_granted(const struct config_session *s,
    const struct peer *peer, uid_t self);

#endif
