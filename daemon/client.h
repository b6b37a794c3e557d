/* SPDX-License-Identifier: ISC */
/*
 * One client: an accepted connection of the data socket.  It reads frames,
 * keeps the rules of PROTOCOL.md, hands PDUs to its session and writes what
 * comes back.  What one client does wrong ends here.
 */
#ifndef DAEMON_CLIENT_H
#define DAEMON_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/access.h"
#include "daemon/quota.h"

struct client;
struct worker;

/* Strings live with the client. */
struct client_info {
	uint64_t		 id;		/* unique in the daemon's life */
	const char		*name;		/* as it said in HELLO, or "" */
	const char		*session;	/* attached to, or "" */
	const char		*raw;		/* label of a raw connection, or "" */
	const char		*raw_peer;	/* its target's address, or "" */
	uint64_t		 unwanted;	/* its PDUs not asked for */
	pid_t			 pid;
	uid_t			 uid;
	uint32_t		 tasks;		/* open */
	struct quota_amount	 used;
	uint64_t		 frames_in, frames_out;
	uint64_t		 bytes_in, bytes_out;
	uint64_t		 refused;	/* SUBMITs refused */
	uint64_t		 errors;	/* ERROR frames sent */
	bool			 paused;	/* not being read */
};

/*
 * Serve `fd`, a connected UNIX stream socket, which the client owns from now
 * on, also on failure.  Takes over `peer`.  `on_gone` is called once, in a
 * later turn, when the client has ended.  NULL with errno set on failure.
 */
struct client *client_new(struct worker *w, int fd, struct peer *peer,
    uint64_t id, void (*on_gone)(void *arg), void *arg);

/*
 * End the client: GOODBYE with the reason (enum msg_reason) and text as far as
 * the socket takes it at once, then close.  Idempotent.
 */
void client_close(struct client *c, uint16_t reason, const char *text);

/* The access rules changed: the client loses what those of its session do not
 * grant it any more, and is ended if that was all. */
void client_recheck(struct client *c);

void client_info_get(const struct client *c, struct client_info *out);

#endif
