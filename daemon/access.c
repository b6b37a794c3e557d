/* SPDX-License-Identifier: ISC */
/*
 * Asks the kernel who is at the other end of a UNIX socket and compares that
 * with the rules of a session.  It calls nothing of the daemon and knows
 * neither clients nor frames.
 */
#include "config.h"

#include <sys/socket.h>

#include <errno.h>
#include <stdlib.h>

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
access_matches(const struct config_access *rule, const struct peer *peer)
{
	if (ids_have(&rule->users, peer->uid) ||
	    ids_have(&rule->groups, peer->gid))
		return true;
	for (size_t i = 0; i < peer->ngroups; i++) {
		if (ids_have(&rule->groups, peer->groups[i]))
			return true;
	}
	return false;
}

uint32_t
access_granted(const struct config_session *s, const struct peer *peer,
    uid_t self)
{
	/* What the kernel did not tell matches no rule. */
	if (peer->uid == (uid_t)-1)
		return 0;
	if (peer->uid == 0 || peer->uid == self)
		return MSG_ACCESS_ALL;
	for (size_t i = 0; i < s->access_count; i++) {
		if (s->access[i].allow_all &&
		    access_matches(&s->access[i], peer))
			return MSG_ACCESS_ALL;
	}
	return 0;
}
