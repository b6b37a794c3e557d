/* SPDX-License-Identifier: ISC */
/*
 * What waits while the session is down: requests of clients that attached
 * with hold, of which no byte was sent (RFC 7143 section 7.6 ends all others
 * at the target).  It owns how long they wait and what is checked before they
 * go on.  Meanwhile they stay in the queues that they are in, from which
 * nothing is taken unless the session is up.
 */
#include "config.h"

#include <inttypes.h>

#include "daemon/session_internal.h"
#include "proto/iscsi.h"

/* The session is down, or about to be, and comes up again by itself. */
static bool
will_return(const struct session *s)
{
	if (s->stopping || (s->shared && !s->recovers))
		return false;
	switch (s->phase) {
	case SESSION_WAITING:
	case SESSION_CONNECTING:
	case SESSION_LOGGING_IN:
	case SESSION_DRAINING:
	case SESSION_LEAVING:
	case SESSION_FAILED:
		return true;
	default:
		return false;
	}
}

/*
 * May requests of this client wait?  Not before the first login: until then
 * there are no limits that they could have kept.
 */
static bool
may_wait(const struct attachment *a)
{
	const struct session *s = a->session;

	return a->hold && !s->worker->draining && will_return(s) &&
	    s->params.generation > 0 && (s->hold_until == 0 ||
	    loop_now(s->worker->loop) < s->hold_until);
}

/*
 * An immediate request is about this moment: a ping about this connection,
 * task management about what the target had then.
 */
static bool
can_wait(const struct task *t)
{
	return t->state == TASK_QUEUED && !t->immediate;
}

bool
session_hold_accepts(const struct attachment *a, const uint8_t *bhs)
{
	bool abort_task = iscsi_opcode(bhs) == ISCSI_OP_TMF_REQ &&
	    (bhs[ISCSI_OFF_FLAGS] & ISCSI_TMF_FUNCTION_MASK) ==
	    ISCSI_TMF_ABORT_TASK;

	return may_wait(a) && (abort_task || !iscsi_is_immediate(bhs));
}

bool
session_hold_keeps(const struct task *t)
{
	/* What ends in this turn anyway has an end of its own. */
	return t->owner != NULL && may_wait(t->owner) &&
	    (can_wait(t) || t->queue == &t->session->ended);
}

void
session_hold_begin(struct session *s)
{
	if (s->hold_until != 0)
		return;
	s->hold_until = loop_now(s->worker->loop) +
	    s->config->recovery_timeout;
	loop_timer_set(s->hold_timer, s->config->recovery_timeout);
}

void
session_hold_stop(struct session *s)
{
	s->hold_until = 0;
	loop_timer_clear(s->hold_timer);
}

/* --- what the pump had --- */

/*
 * A PDU that the pump gave back: a request that may wait is its task's again,
 * and so is the data that goes with it, which follows it in the list.
 */
static void
take_back(struct session *s, struct txpdu *pdu, struct task_queue *back)
{
	struct task *t = pdu->task;
	struct router_slot *slot;

	if (t != NULL && t->state == TASK_STAMPED && t->owner != NULL &&
	    t->pdu == NULL && !t->immediate && may_wait(t->owner)) {
		t->pdu = pdu;
		pdu->task = NULL;
		task_enqueue(t, back);
		return;
	}
	if (iscsi_opcode(pdu->bhs) == ISCSI_OP_DATA_OUT &&
	    router_find(s->router, iscsi_itt(pdu->bhs), &slot) ==
	    ROUTER_LIVE) {
		t = (struct task *)(void *)slot;
		if (t->queue == back) {
			pdu->task = t;
			STAILQ_INSERT_TAIL(&t->unsolicited, pdu, link);
			return;
		}
	}
	txpdu_free(s->worker, pdu);
}

/* Unsolicited data that the pump had not asked for yet. */
static void
take_bursts(struct session *s, const struct task_queue *back)
{
	struct txpdu *pdu, *next;

	STAILQ_FOREACH_SAFE(pdu, &s->bursts, link, next) {
		struct task *t = pdu->task;

		if (t->queue != back)
			continue;
		STAILQ_REMOVE(&s->bursts, pdu, txpdu, link);
		t->data_queued--;
		STAILQ_INSERT_TAIL(&t->unsolicited, pdu, link);
	}
}

/* The burst is complete, and none of it was sent.  False: no memory. */
static bool
restore_burst(struct task *t)
{
	uint32_t burst = guard_burst(t->session, t->pdu->bhs);
	struct txpdu *pdu;
	struct r2t *r;

	r2t_drop_all(t);
	if (burst == 0)
		return true;
	r = r2t_add(t, ISCSI_TAG_NONE, t->pdu->data.len, burst);
	if (r == NULL)
		return false;
	STAILQ_FOREACH(pdu, &t->unsolicited, link)
		r2t_queued(t, r, pdu->data.len);
	return true;
}

/*
 * The connection is about to be closed: what was stamped for it and that the
 * kernel has no byte of becomes a queued request again, ahead of the others.
 * One that can not be restored stays as it is, and ends as not sent.
 */
void
session_hold_take_back(struct session *s)
{
	struct task_queue back = TAILQ_HEAD_INITIALIZER(back);
	struct txpdu *pdu;
	struct task *t;

	if (s->pump == NULL)
		return;
	while ((pdu = pump_take_unsent(s->pump)) != NULL)
		take_back(s, pdu, &back);
	take_bursts(s, &back);
	while ((t = TAILQ_LAST(&back, task_queue)) != NULL) {
		task_unqueue(t);
		if (!restore_burst(t))
			continue;
		t->state = TASK_QUEUED;
		task_give_turn(t);
		t->queue = t->opcode == ISCSI_OP_TEXT_REQ ? &s->textq :
		    &t->owner->cmdq;
		TAILQ_INSERT_HEAD(t->queue, t, queue_link);
	}
}

/* --- the end of the wait --- */

void
session_end_held(struct session *s, const char *why)
{
	struct router_slot *slot;

	if (s->hold_until == 0)
		return;
	for (slot = router_next(s->router, NULL); slot != NULL;
	    slot = router_next(s->router, slot)) {
		struct task *t = (struct task *)(void *)slot;

		if (t->owner == NULL || !can_wait(t) ||
		    t->queue == &s->ended)
			continue;
		task_outcome(t, MSG_OUTCOME_NOT_SENT, MSG_R_SESSION_DOWN,
		    MSG_TMF_NO_RESPONSE, why);
		task_free(t);
	}
}

/* Timer: recovery-timeout is over. */
void
session_hold_due(void *arg)
{
	struct session *s = arg;
	struct refusal why;

	guard_no(&why, MSG_R_SESSION_DOWN, "the session did not come up again "
	    "within %" PRIu32 " ms (recovery-timeout)%s%s",
	    s->config->recovery_timeout, s->last_error[0] == '\0' ? "" : ": ",
	    s->last_error);
	session_end_held(s, why.text);
}

static void
refuse(struct task *t, const struct refusal *why)
{
	struct refusal all;

	guard_no(&all, why->reason, "it was held, and the session came up "
	    "with other limits: %s", why->text);
	task_outcome(t, MSG_OUTCOME_REFUSED, all.reason, MSG_TMF_NO_RESPONSE,
	    all.text);
	task_free(t);
}

/* The client's held requests, against the limits that are in force now. */
static void
check_again(struct attachment *a, uint32_t *kept, uint32_t *refused)
{
	struct task *t, *next;
	struct refusal why;

	TAILQ_FOREACH_SAFE(t, &a->tasks, owner_link, next) {
		if (t->queue == &a->session->ended)
			continue;
		if (guard_held(a->session, t, &why)) {
			++*kept;
			continue;
		}
		++*refused;
		refuse(t, &why);
	}
}

void
session_hold_resume(struct session *s)
{
	uint32_t kept = 0, refused = 0;
	struct attachment *a, *next;

	session_hold_stop(s);
	router_reset(s->router);
	TAILQ_FOREACH_SAFE(a, &s->attachments, link, next)
		check_again(a, &kept, &refused);
	if (kept + refused > 0)
		log_info(s->log, "session %s: %" PRIu32 " held requests go "
		    "on, %" PRIu32 " are refused", s->config->name, kept,
		    refused);
	session_tx_release(s);
}
