/* SPDX-License-Identifier: ISC */
/*
 * Requests to the daemon itself: PING and LIST.
 */
#include "config.h"

#include <sys/param.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "client/lib.h"

int
iscsimux_ping(struct iscsimux *h, iscsimux_done_fn *done, void *cookie)
{
	const struct lib_charge none = { 0, 0 };
	struct lib_slot *slot;
	int error;

	if (done == NULL)
		return -EINVAL;
	slot = lib_slot_take(h, LIB_PING, none, &error);
	if (slot == NULL)
		return error;
	slot->done = done;
	slot->cookie = cookie;
	lib_out_queue(h, slot);
	return 0;
}

int
iscsimux_list(struct iscsimux *h, iscsimux_list_fn *done, void *cookie)
{
	const struct lib_charge none = { 0, 0 };
	struct lib_slot *slot;
	int error;

	if (done == NULL)
		return -EINVAL;
	slot = lib_slot_take(h, LIB_LIST, none, &error);
	if (slot == NULL)
		return error;
	slot->list = done;
	slot->cookie = cookie;
	lib_out_queue(h, slot);
	return 0;
}

static int
add_entry(struct lib_slot *slot, const struct msg_listing_entry *m)
{
	struct iscsimux_listing *entries, *e;
	size_t size;

	if (slot->nlisting == LIB_LISTING_MAX)
		return -EPROTO;
	if (slot->nlisting == slot->listing_size) {
		size = MAX(slot->listing_size * 2, 16u);
		entries = reallocarray(slot->listing, size, sizeof(*entries));
		if (entries == NULL)
			return -ENOMEM;
		slot->listing = entries;
		slot->listing_size = size;
	}
	e = &slot->listing[slot->nlisting++];
	e->state = (enum iscsimux_session_state)m->state;
	e->access = m->access;
	e->shared = (m->flags & MSG_LISTING_SHARED) != 0;
	e->adopted = (m->flags & MSG_LISTING_ADOPTED) != 0;
	strlcpy(e->session, m->session, sizeof(e->session));
	strlcpy(e->target, m->target, sizeof(e->target));
	return 0;
}

int
lib_query_listing(struct iscsimux *h, struct lib_slot *slot,
    const struct frame_header *f, const uint8_t *payload)
{
	iscsimux_list_fn *list = slot->list;
	void *cookie = slot->cookie;
	struct iscsimux_listing *entries;
	struct msg_listing_entry m;
	size_t pos = 0, n;
	int r;

	while ((r = msg_listing_next(payload, f->len, &pos, &m)) == 1) {
		r = add_entry(slot, &m);
		if (r != 0)
			return r;
	}
	if (r != 0)
		return r;
	if ((f->flags & FRAME_F_MORE) != 0)
		return 0;
	entries = slot->listing;
	n = slot->nlisting;
	slot->listing = NULL;
	lib_slot_release(h, slot);
	h->calls++;
	list(h, cookie, 0, entries, n);
	free(entries);
	return 0;
}
