/* SPDX-License-Identifier: ISC */
/*
 * Answers that come in a later turn: who waits for them, and that nobody is
 * told of a peer that is gone.  It knows no method and no socket.
 */
#include "config.h"

#include <stdlib.h>

#include "daemon/control_priv.h"
#include "daemon/log.h"
#include "daemon/worker.h"

struct control_later *
control_later_new(struct control_call *call, void (*gone)(void *arg),
    void *arg)
{
	struct control_later *l = calloc(1, sizeof(*l));

	if (l == NULL)
		return NULL;
	l->peer = call->peer;
	l->gone = gone;
	l->arg = arg;
	LIST_INSERT_HEAD(control_peer_laters(call->peer), l, link);
	call->later = l;
	return l;
}

static void
later_free(struct control_later *l)
{
	LIST_REMOVE(l, link);
	json_decref(l->id);
	free(l);
}

void
control_later_answer(struct control_later *l, json_t *result,
    const struct rpc_error *err)
{
	struct control_peer *p = l->peer;
	char *line = NULL;

	if (l->id != NULL)
		line = rpc_answer_line(l->id, result, err);
	else
		json_decref(result);
	later_free(l);
	control_peer_answer(p, line);
	free(line);
}

void
control_laters_end(struct control_laters *laters)
{
	struct control_later *l;

	while ((l = LIST_FIRST(laters)) != NULL) {
		void (*gone)(void *) = l->gone;
		void *arg = l->arg;

		later_free(l);
		gone(arg);
	}
}
