/* SPDX-License-Identifier: ISC */
/*
 * Who is at the other end of a UNIX socket, which sessions that process may
 * use, and to where it may have raw connections.  Default deny: without a rule
 * only root and the daemon's own user.
 */
#ifndef DAEMON_ACCESS_H
#define DAEMON_ACCESS_H

#include <sys/socket.h>
#include <sys/types.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct config;
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
 * The access (OR of enum msg_access) that `peer` has to the session by all
 * rules that it matches; 0 is none.  `self` is the daemon's own uid.
 */
uint32_t access_granted(const struct config_session *s,
    const struct peer *peer, uid_t self);

/*
 * May `peer` have a raw connection to the address and port of `sa` (host
 * names have been looked up)?  If so, `*unchecked` says whether that goes for
 * one without the daemon's checks too, which any of the rules that permit it
 * may grant.  An IPv4 address mapped into IPv6 is an IPv4 address.
 */
bool access_raw(const struct config *cfg, const struct peer *peer,
    uid_t self, const struct sockaddr *sa, socklen_t len, bool *unchecked);

/* Is there any portal at all to which `peer` may have a raw connection? */
bool access_raw_any(const struct config *cfg, const struct peer *peer,
    uid_t self);

#endif
