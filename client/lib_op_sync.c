/* SPDX-License-Identifier: ISC */
/*
 * Blocking forms of the requests of lib_op.c.  When time is over nobody could
 * tell what has become of the connection, so the handle is disconnected.
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/lib.h"

struct wait {
	bool				 done;
	int				 error;
	struct iscsimux_raw_state	*state;
	struct iscsimux_exported	*exported;
};

static void
on_status(struct iscsimux *h, void *cookie, int error)
{
	struct wait *w = cookie;

	(void)h;
	w->done = true;
	w->error = error;
}

static void
on_state(struct iscsimux *h, void *cookie, int error,
    const struct iscsimux_raw_state *state)
{
	struct wait *w = cookie;

	on_status(h, cookie, error);
	if (state != NULL)
		*w->state = *state;
}

static void
on_exported(struct iscsimux *h, void *cookie, int error,
    const struct iscsimux_exported *e)
{
	struct wait *w = cookie;

	on_status(h, cookie, error);
	if (e == NULL)
		return;
	*w->exported = *e;
	free(h->sync_unread);
	h->sync_unread = NULL;
	w->exported->unread = NULL;
	if (e->unread_len == 0)
		return;
	h->sync_unread = malloc(e->unread_len);
	if (h->sync_unread == NULL) {
		/* A stream with a hole is of no use to anybody. */
		close(e->fd);
		w->error = -ENOMEM;
		return;
	}
	memcpy(h->sync_unread, e->unread, e->unread_len);
	w->exported->unread = h->sync_unread;
}

/* `r` is what the function that made the request returned. */
static int
finish(struct iscsimux *h, int r, struct wait *w, int timeout_ms)
{
	int64_t end = lib_sync_end(timeout_ms);

	if (r != 0)
		return r;
	while (!w->done) {
		r = lib_sync_step(h, end);
		if (r == -ETIMEDOUT) {
			iscsimux_disconnect(h);
			lib_set_error(h, MSG_R_NONE,
			    "the daemon did not answer in time");
			return r;
		}
		if (r == -ESHUTDOWN)
			return r;
	}
	return w->error;
}

int
iscsimux_open_sync(struct iscsimux *h, const struct iscsimux_open *options,
    int timeout_ms)
{
	struct wait w = { .done = false };

	return h->depth > 0 ? -EDEADLK : finish(h, iscsimux_open(h, options,
	    on_status, &w), &w, timeout_ms);
}

int
iscsimux_adopt_sync(struct iscsimux *h, const struct iscsimux_adopt *options,
    int timeout_ms)
{
	struct wait w = { .done = false };

	return h->depth > 0 ? -EDEADLK : finish(h, iscsimux_adopt(h, options,
	    on_status, &w), &w, timeout_ms);
}

int
iscsimux_set_sync(struct iscsimux *h, const struct iscsimux_set *set,
    int timeout_ms)
{
	struct wait w = { .done = false };

	return h->depth > 0 ? -EDEADLK : finish(h, iscsimux_set(h, set,
	    on_status, &w), &w, timeout_ms);
}

int
iscsimux_get_state_sync(struct iscsimux *h, int timeout_ms,
    struct iscsimux_raw_state *state)
{
	struct wait w = { .state = state };

	return h->depth > 0 ? -EDEADLK : finish(h, iscsimux_get_state(h,
	    on_state, &w), &w, timeout_ms);
}

int
iscsimux_export_sync(struct iscsimux *h, int timeout_ms,
    struct iscsimux_exported *exported)
{
	struct wait w = { .exported = exported };

	return h->depth > 0 ? -EDEADLK : finish(h, iscsimux_export(h,
	    on_exported, &w), &w, timeout_ms);
}

int
iscsimux_share_sync(struct iscsimux *h, const char *session, int timeout_ms)
{
	struct wait w = { .done = false };

	return h->depth > 0 ? -EDEADLK : finish(h, iscsimux_share(h, session,
	    on_status, &w), &w, timeout_ms);
}

int
iscsimux_unshare_sync(struct iscsimux *h, int timeout_ms,
    struct iscsimux_raw_state *state)
{
	struct wait w = { .state = state };

	return h->depth > 0 ? -EDEADLK : finish(h, iscsimux_unshare(h,
	    on_state, &w), &w, timeout_ms);
}

int
iscsimux_close_raw_sync(struct iscsimux *h, int timeout_ms)
{
	struct wait w = { .done = false };

	return h->depth > 0 ? -EDEADLK : finish(h, iscsimux_close_raw(h,
	    on_status, &w), &w, timeout_ms);
}
