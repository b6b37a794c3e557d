/* SPDX-License-Identifier: ISC */
/*
 * What a session says to its client: PDUs and outcomes at once, each with the
 * charge of its task; events from a small fixed budget, merged by kind and
 * LUN while an earlier event is still on its way.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "daemon/client_internal.h"
#include "proto/frame.h"
#include "proto/msg.h"

static void
on_pdu(void *arg, struct session_delivery *d)
{
	struct client *c = arg;

	if (d->cookie == 0 && c->attachment != NULL &&
	    c->out.stray_bytes + d->data->len > CLIENT_STRAY_MAX) {
		c->lost_events++;
		client_kick(c);
		return;
	}
	/* After one that was lost, none: the task must not seem complete. */
	if (client_dead(c)) {
		quota_give(c->quota, &d->charge);
		return;
	}
	if (outq_pdu(&c->out, d) != 0) {
		quota_give(c->quota, &d->charge);
		client_doom(c, "no memory for a PDU");
		return;
	}
	client_kick(c);
}

static void
on_outcome(void *arg, uint64_t cookie, const struct msg_outcome *outcome,
    const struct quota_amount *charge)
{
	struct client *c = arg;
	uint8_t buf[MSG_PAYLOAD_MAX];
	int len;

	if (client_dead(c)) {
		quota_give(c->quota, charge);
		return;
	}
	len = msg_outcome_encode(outcome, buf, sizeof(buf));
	if (len < 0 || outq_frame(&c->out, FRAME_OUTCOME, 0, cookie, buf,
	    (uint32_t)len, charge) != 0) {
		quota_give(c->quota, charge);
		client_doom(c, "no memory for an outcome");
		return;
	}
	client_kick(c);
}

/* --- events --- */

static bool
send_event(struct client *c, const struct msg_event *e)
{
	uint8_t buf[MSG_PAYLOAD_MAX];
	int len = msg_event_encode(e, buf, sizeof(buf));

	return len >= 0 && outq_frame(&c->out, FRAME_EVENT, 0, 0, buf,
	    (uint32_t)len, NULL) == 0;
}

static struct msg_event *
find_pending(struct client *c, const struct msg_event *e)
{
	for (uint32_t i = 0; i < c->nevents; i++) {
		if (c->events[i].kind == e->kind &&
		    c->events[i].lun == e->lun)
			return &c->events[i];
	}
	return NULL;
}

/* Take a pending event out of its place, keeping the order of the others. */
static uint32_t
remove_pending(struct client *c, struct msg_event *e)
{
	uint32_t count = e->count;
	size_t after = (size_t)(c->events + c->nevents - (e + 1));

	memmove(e, e + 1, after * sizeof(*e));
	c->nevents--;
	return count;
}

/*
 * Remember the event.  One of its kind and LUN that still waits is merged
 * into it; the newest goes last, so that "down, up" never reads "up, down".
 */
static void
on_event(void *arg, const struct msg_event *event)
{
	struct client *c = arg;
	struct msg_event *old;
	uint32_t count = event->count;

	if (c->events == NULL)
		c->events = calloc(CLIENT_EVENTS_MAX, sizeof(*c->events));
	old = find_pending(c, event);
	if (old != NULL)
		count += remove_pending(c, old);
	if (c->events == NULL || c->nevents == CLIENT_EVENTS_MAX) {
		c->lost_events += count;
	} else {
		c->events[c->nevents] = *event;
		c->events[c->nevents++].count = count;
	}
	(void)client_news_flush(c);
	client_kick(c);
}

/*
 * Queue pending events, unless earlier ones are still on their way.  True if
 * any was queued.
 */
bool
client_news_flush(struct client *c)
{
	struct msg_event lost = {
		.kind = MSG_EVENT_LOST, .count = c->lost_events,
	};
	uint32_t done = 0;

	if (c->out.events > 0)
		return false;
	while (done < c->nevents && send_event(c, &c->events[done]))
		done++;
	c->nevents -= done;
	if (c->nevents > 0)
		memmove(c->events, c->events + done,
		    c->nevents * sizeof(*c->events));
	if (c->lost_events > 0 && send_event(c, &lost))
		c->lost_events = 0;
	return c->out.events > 0;
}

static void
on_room(void *arg)
{
	struct client *c = arg;

	loop_post(c->worker->loop, &c->resume_job);
}

static void
on_removed(void *arg, const char *why)
{
	struct client *c = arg;

	c->attachment = NULL;
	client_close(c, MSG_R_SHUTDOWN, why);
}

const struct attachment_ops client_attachment_ops = {
	.on_pdu = on_pdu,
	.on_outcome = on_outcome,
	.on_event = on_event,
	.on_room = on_room,
	.on_removed = on_removed,
};
