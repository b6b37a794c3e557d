/* SPDX-License-Identifier: ISC */
/*
 * Asks the kernel who is at the other end of a UNIX socket and compares that
 * with the rules of a session and of raw connections.  It calls nothing of the
 * daemon and knows neither clients nor frames.
 */
#include "config.h"

#include <sys/socket.h>

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/access.h"
#include "daemon/conf.h"
#include "proto/msg.h"

/* More than the kernel's NGROUPS_MAX: a longer list is not believed. */
#define ACCESS_GROUPS_MAX	65536u

/* The peer's supplementary groups; a kernel that cannot tell gives none. */
static int
peer_groups_get(int fd, struct peer *peer)
{
	size_t room = 32 * sizeof(gid_t);

	for (;;) {
		gid_t *groups = malloc(room);
		socklen_t len = (socklen_t)room;

		if (groups == NULL)
			return -ENOMEM;
		if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups,
		    &len) == 0) {
			peer->groups = groups;
			peer->ngroups = len / sizeof(gid_t);
			return 0;
		}
		free(groups);
		if (errno == ENOPROTOOPT)
			return 0;
		if (errno != ERANGE)
			return -errno;
		if (len <= room || len > ACCESS_GROUPS_MAX * sizeof(gid_t))
			return -E2BIG;
		room = len;
	}
}

int
peer_get(int fd, struct peer *peer)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);

	*peer = (struct peer){ .uid = (uid_t)-1, .gid = (gid_t)-1 };
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) == -1)
		return -errno;
	if (len != sizeof(cred))
		return -EINVAL;
	peer->pid = cred.pid;
	peer->uid = cred.uid;
	peer->gid = cred.gid;
	return peer_groups_get(fd, peer);
}

void
peer_free(struct peer *peer)
{
	free(peer->groups);
	peer->groups = NULL;
	peer->ngroups = 0;
}

static bool
ids_have(const struct config_ids *ids, uint32_t id)
{
	for (size_t i = 0; i < ids->count; i++) {
		if (ids->list[i] == id)
			return true;
	}
	return false;
}

static bool
peer_is_among(const struct peer *peer, const struct config_ids *users,
    const struct config_ids *groups)
{
	/* What the kernel did not tell matches no rule. */
	if (peer->uid == (uid_t)-1)
		return false;
	if (ids_have(users, peer->uid) || ids_have(groups, peer->gid))
		return true;
	for (size_t i = 0; i < peer->ngroups; i++) {
		if (ids_have(groups, peer->groups[i]))
			return true;
	}
	return false;
}

/* Root and the daemon's own user need no rule. */
static bool
peer_is_trusted(const struct peer *peer, uid_t self)
{
	return peer->uid != (uid_t)-1 &&
	    (peer->uid == 0 || peer->uid == self);
}

uint32_t
access_granted(const struct config_session *s, const struct peer *peer,
    uid_t self)
{
	uint32_t granted = 0;

	if (peer_is_trusted(peer, self))
		return MSG_ACCESS_ALL;
	for (size_t i = 0; i < s->access_count; i++) {
		if (peer_is_among(peer, &s->access[i].users,
		    &s->access[i].groups))
			granted |= s->access[i].allow;
	}
	return granted;
}

/* Where a raw connection goes, as portals are written in rules. */
struct destination {
	bool		ipv6;
	uint8_t		address[16];
	uint16_t	port;
};

/* False if it is no IP address. */
static bool
destination_set(struct destination *d, const struct sockaddr *sa,
    socklen_t len)
{
	struct sockaddr_in in;
	struct sockaddr_in6 in6;

	*d = (struct destination){ .ipv6 = false };
	if (len >= sizeof(in) && sa->sa_family == AF_INET) {
		memcpy(&in, sa, sizeof(in));
		memcpy(d->address, &in.sin_addr, sizeof(in.sin_addr));
		d->port = ntohs(in.sin_port);
		return true;
	}
	if (len < sizeof(in6) || sa->sa_family != AF_INET6)
		return false;
	memcpy(&in6, sa, sizeof(in6));
	d->ipv6 = !IN6_IS_ADDR_V4MAPPED(&in6.sin6_addr);
	memcpy(d->address, d->ipv6 ? in6.sin6_addr.s6_addr :
	    in6.sin6_addr.s6_addr + 12, d->ipv6 ? 16 : 4);
	d->port = ntohs(in6.sin6_port);
	return true;
}

static bool
portal_permits(const struct config_portal_rule *rule,
    const struct destination *d)
{
	size_t bytes = rule->prefix / 8;
	unsigned rest = rule->prefix % 8;

	if (rule->ipv6 != d->ipv6 ||
	    (rule->port != 0 && rule->port != d->port) ||
	    memcmp(rule->address, d->address, bytes) != 0)
		return false;
	return rest == 0 ||
	    (rule->address[bytes] ^ d->address[bytes]) >> (8 - rest) == 0;
}

static bool
raw_permits(const struct config_raw *raw, const struct destination *d)
{
	for (size_t i = 0; i < raw->portal_count; i++) {
		if (portal_permits(&raw->portals[i], d))
			return true;
	}
	return false;
}

bool
access_raw(const struct config *cfg, const struct peer *peer, uid_t self,
    const struct sockaddr *sa, socklen_t len, bool *unchecked)
{
	struct destination d;
	bool permitted = false;

	*unchecked = peer_is_trusted(peer, self);
	if (*unchecked)
		return true;
	if (!destination_set(&d, sa, len))
		return false;
	for (size_t i = 0; i < cfg->raw_count; i++) {
		const struct config_raw *raw = &cfg->raw[i];

		if (!peer_is_among(peer, &raw->users, &raw->groups) ||
		    !raw_permits(raw, &d))
			continue;
		permitted = true;
		*unchecked |= raw->unchecked;
	}
	return permitted;
}

bool
access_raw_any(const struct config *cfg, const struct peer *peer, uid_t self)
{
	if (peer_is_trusted(peer, self))
		return true;
	for (size_t i = 0; i < cfg->raw_count; i++) {
		if (peer_is_among(peer, &cfg->raw[i].users,
		    &cfg->raw[i].groups))
			return true;
	}
	return false;
}
