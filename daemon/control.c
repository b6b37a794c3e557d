/* SPDX-License-Identifier: ISC */
/*
 * The control socket as a whole: who is let in, and the end of all
 * connections.  What happens on a connection is control_peer.c's.
 */
#include "config.h"

#include <sys/socket.h>

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/control.h"
#include "daemon/control_priv.h"
#include "daemon/log.h"
#include "daemon/worker.h"

/* Answer a connection that is not to be served, and close it. */
static void
turn_away(struct control *c, int fd, const struct peer *cred, int code,
    const char *message)
{
	char *line = rpc_error_line(code, message);

	log_warn(c->w->log, "control: uid %u, pid %d turned away: %s",
	    (unsigned)cred->uid, (int)cred->pid, message);
	if (line != NULL)
		(void)send(fd, line, strlen(line),
		    MSG_NOSIGNAL | MSG_DONTWAIT);
	free(line);
	close(fd);
}

void
control_peer_new(struct control *c, int fd, struct peer *peer)
{
	if (peer->uid != 0 && peer->uid != geteuid())
		turn_away(c, fd, peer, RPC_E_NOT_PERMITTED, "only root and "
		    "the daemon's own user may use the control socket");
	else if (c->count >= CONTROL_PEERS_MAX)
		turn_away(c, fd, peer, RPC_E_BUSY, "too many control "
		    "connections are open: try again later");
	else
		control_peer_start(c, fd, peer);
	peer_free(peer);
}

struct control *
control_new(struct worker *w, const struct control_ops *ops, void *arg)
{
	struct control *c = calloc(1, sizeof(*c));

	if (c == NULL)
		return NULL;
	c->w = w;
	c->ops = ops;
	c->arg = arg;
	TAILQ_INIT(&c->peers);
	return c;
}

uint32_t
control_count(const struct control *c)
{
	return c->count;
}

void
control_free(struct control *c)
{
	if (c == NULL)
		return;
	while (!TAILQ_EMPTY(&c->peers))
		control_peer_end(TAILQ_FIRST(&c->peers));
	free(c);
}
