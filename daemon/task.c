/* SPDX-License-Identifier: ISC */
/*
 * One task, from its slot in the router to its one outcome.  The rule of
 * this file: whatever happens, a client's task leaves through
 * task_take_charge() exactly once, with its final PDU or with an outcome.
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/session_internal.h"
#include "proto/iscsi.h"

int
task_timer_cmp(const struct task *a, const struct task *b)
{
	if (a->timer_at != b->timer_at)
		return a->timer_at < b->timer_at ? -1 : 1;
	return a->slot.itt < b->slot.itt ? -1 : a->slot.itt > b->slot.itt;
}

RB_GENERATE(task_timers, task, timer_link, task_timer_cmp)

/*
 * Take a slot for the request in `pdu`, which the task owns until it is
 * handed to the pump.  NULL when the table is full.
 */
struct task *
task_new(struct session *s, enum task_kind kind, struct txpdu *pdu)
{
	struct task *t = (struct task *)(void *)router_take(s->router);

	if (t == NULL)
		return NULL;
	t->session = s;
	t->kind = kind;
	t->pdu = pdu;
	t->opcode = iscsi_opcode(pdu->bhs);
	t->immediate = iscsi_is_immediate(pdu->bhs);
	t->lun = iscsi_lun(pdu->bhs);
	t->client_itt = iscsi_itt(pdu->bhs);
	t->client_sns[0] = get_be32(pdu->bhs + ISCSI_OFF_CMDSN);
	t->client_sns[1] = get_be32(pdu->bhs + ISCSI_OFF_EXPSTATSN);
	if (t->opcode == ISCSI_OP_SCSI_CMD) {
		uint8_t flags = pdu->bhs[ISCSI_OFF_FLAGS];

		t->edtl = get_be32(pdu->bhs + ISCSI_OFF_EDTL);
		t->rx_max = (flags & ISCSI_CMD_READ) != 0 ? t->edtl : 0;
		t->tx_max = (flags & ISCSI_CMD_WRITE) != 0 ? t->edtl : 0;
	}
	if (t->opcode == ISCSI_OP_NOP_OUT)
		t->rx_max = iscsi_dsl(pdu->bhs);	/* what may be echoed */
	if (t->opcode == ISCSI_OP_TMF_REQ)
		t->function = pdu->bhs[ISCSI_OFF_FLAGS] &
		    ISCSI_TMF_FUNCTION_MASK;
	t->ref_itt = ISCSI_TAG_NONE;
	STAILQ_INIT(&t->unsolicited);
	STAILQ_INIT(&t->r2ts);
	return t;
}

bool
task_is_orphan(const struct task *t)
{
	return t->kind == TASK_CLIENT && t->owner == NULL;
}

static void
timer_update(struct task *t)
{
	struct session *s = t->session;
	uint64_t at = t->deadline_at, now = loop_now(s->worker->loop);
	struct task *first;

	if (t->stall_at != 0 && (at == 0 || t->stall_at < at))
		at = t->stall_at;
	if (at == t->timer_at)
		return;
	if (t->timer_at != 0)
		RB_REMOVE(task_timers, &s->timers, t);
	t->timer_at = at;
	if (at != 0)
		RB_INSERT(task_timers, &s->timers, t);
	first = RB_MIN(task_timers, &s->timers);
	if (first == NULL)
		loop_timer_clear(s->task_timer);
	else if (first == t || !loop_timer_armed(s->task_timer))
		loop_timer_set(s->task_timer,
		    first->timer_at > now ? first->timer_at - now : 0);
}

/* End the task `ms` milliseconds from now as a CANCEL would; 0: never. */
void
task_set_deadline(struct task *t, uint32_t ms)
{
	t->deadline_at = ms == 0 ? 0 : loop_now(t->session->worker->loop) + ms;
	timer_update(t);
}

/*
 * The daemon's own request is to be answered in time.  The time runs from when
 * it is handed over, because a target that reads no more answers nothing, and
 * anew from its first byte on the wire.  A Logout, a ping of keepalive.c and the
 * request of negotiate.c have time-outs of their own.
 */
void
task_watch_answer(struct task *t)
{
	if (t->kind != TASK_CLIENT && t->kind != TASK_LOGOUT &&
	    t->kind != TASK_PING && t->kind != TASK_NEGOTIATE)
		task_set_deadline(t,
		    t->session->worker->config->limits.abort_timeout);
}

/*
 * Start the r2t-timeout anew while the target waits for the client's data,
 * the text-timeout for the next request of a Text exchange, or stop it.  A
 * client that holds those back holds a task of the target.
 */
void
task_watch_progress(struct task *t)
{
	struct session *s = t->session;

	if (t->owner != NULL && t->end == TASK_END_NONE &&
	    (t->text_more || r2t_wanted(t) != NULL))
		t->stall_at = loop_now(s->worker->loop) + (t->text_more ?
		    s->config->text_timeout :
		    s->worker->config->limits.r2t_timeout);
	else
		t->stall_at = 0;
	timer_update(t);
}

void
task_timers_due(void *arg)
{
	struct session *s = arg;
	uint64_t now = loop_now(s->worker->loop);
	struct task *t;

	while ((t = RB_MIN(task_timers, &s->timers)) != NULL &&
	    t->timer_at <= now) {
		bool stalled = t->stall_at != 0 && t->stall_at <= now;

		t->stall_at = t->deadline_at = 0;
		timer_update(t);
		if (t->kind == TASK_NEGOTIATE)
			negotiate_overdue(t);
		else if (t->owner == NULL)
			abort_overdue(t);
		else
			abort_task(t, stalled ? TASK_END_R2T :
			    TASK_END_DEADLINE);
	}
	if (t != NULL)
		loop_timer_set(s->task_timer, t->timer_at - now);
}

void
task_enqueue(struct task *t, struct task_queue *q)
{
	t->queue = q;
	TAILQ_INSERT_TAIL(q, t, queue_link);
}

void
task_unqueue(struct task *t)
{
	if (t->queue == NULL)
		return;
	TAILQ_REMOVE(t->queue, t, queue_link);
	t->queue = NULL;
}

/*
 * The charge of the task, to be given back by whoever carries its end to the
 * client; what was reserved for data that will not come is given back here.
 */
struct quota_amount
task_take_charge(struct task *t)
{
	struct quota_amount charge = t->charge;

	if (t->burst_charge > 0)
		quota_give(t->quota,
		    &(struct quota_amount){ .out = t->burst_charge });
	t->burst_charge = 0;
	t->charge = (struct quota_amount){ 0 };
	return charge;
}

/* Take the task from its client: the tag is free for the client's next. */
void
task_disown(struct task *t)
{
	struct attachment *a = t->owner;

	if (a == NULL)
		return;
	session_tx_drop_data(t);
	ittmap_remove(&a->itts, t->client_itt);
	TAILQ_REMOVE(&a->tasks, t, owner_link);
	a->ntasks--;
	t->owner = NULL;
	t->stall_at = t->deadline_at = 0;
	timer_update(t);
}

/*
 * The client has its outcome, or is gone, but the target may still speak of
 * the task: keep the slot.
 */
void
task_orphan(struct task *t)
{
	task_disown(t);
	t->session->norphans++;
}

/* It no longer is what others of its kind wait for. */
void
task_give_turn(struct task *t)
{
	struct session *s = t->session;

	if (s->tmf == t) {
		s->tmf = NULL;
		session_tx_release(s);
	}
	if (s->nop == t)
		s->nop = NULL;
	if (s->text == t)
		s->text = NULL;
	abort_watch_queue(s);
}

/*
 * Forget the task: every list, timer and charge.  The slot's tag is stale
 * from now on, so the target must have no more to say about it, or the
 * connection be gone.
 */
void
task_free(struct task *t)
{
	struct session *s = t->session;

	if (t->state == TASK_STAMPED)
		session_withdraw(t);
	if (task_is_orphan(t))
		s->norphans--;
	task_disown(t);
	t->stall_at = t->deadline_at = 0;
	timer_update(t);
	task_unqueue(t);
	txpdu_free(s->worker, t->pdu);
	t->pdu = NULL;
	r2t_drop_all(t);
	if (t->quota != NULL) {
		struct quota_amount charge = task_take_charge(t);

		quota_give(t->quota, &charge);
		quota_unref(t->quota);
	}
	if (t->abort != NULL)
		t->abort->victim = NULL;
	if (t->victim != NULL)
		t->victim->abort = NULL;
	task_give_turn(t);
	router_release(s->router, &t->slot);
}

/*
 * Tell the client that its task ended without a final PDU.  The task leaves
 * its client here; its slot stays with the session.
 */
void
task_outcome(struct task *t, enum msg_outcome_code outcome, uint16_t reason,
    uint8_t tmf_response, const char *text)
{
	struct attachment *a = t->owner;
	struct msg_outcome o = {
		.outcome = (uint8_t)outcome,
		.flags = t->state == TASK_SENT ? 0 : MSG_OUTCOME_F_NOT_SENT,
		.tmf_response = tmf_response,
		.reason = reason,
		.itt = t->client_itt,
	};
	struct quota_amount charge = task_take_charge(t);

	strlcpy(o.text, text, sizeof(o.text));
	t->session->stats.outcomes[outcome]++;
	task_orphan(t);
	a->ops->on_outcome(a->arg, t->cookie, &o, &charge);
}

/* The unsent task ends at the end of this turn, see task_end_due(). */
void
task_end_later(struct task *t)
{
	struct session *s = t->session;

	task_unqueue(t);
	task_enqueue(t, &s->ended);
	loop_post(s->worker->loop, &s->ended_job);
}

static void
deliver_synthetic(struct task *t)
{
	struct attachment *a = t->owner;
	uint8_t bhs[ISCSI_BHS_LEN] = {
		[ISCSI_OFF_OPCODE] = ISCSI_OP_TMF_RSP,
		[ISCSI_OFF_FLAGS] = ISCSI_FLAG_FINAL,
		[ISCSI_OFF_RESPONSE] = t->synthetic_response,
	};
	struct slices none;
	struct session_delivery d = {
		.cookie = t->cookie, .flags = FRAME_F_SYNTHETIC,
		.bhs = bhs, .data = &none, .charge = task_take_charge(t),
	};

	slices_init(&none);
	put_be32(bhs + ISCSI_OFF_ITT, t->client_itt);
	t->session->stats.outcomes[0]++;
	task_orphan(t);
	a->ops->on_pdu(a->arg, &d);
}

static void
end_unsent(struct task *t)
{
	char text[MSG_TEXT_MAX + 1];

	switch (t->end) {
	case TASK_END_TMF:
		snprintf(text, sizeof(text), "ended by your own %s before it "
		    "was sent", iscsi_tmf_name(t->function));
		task_outcome(t, MSG_OUTCOME_ABORTED, MSG_R_CANCELLED,
		    MSG_TMF_NO_RESPONSE, text);
		break;
	case TASK_END_DEADLINE:
		task_outcome(t, MSG_OUTCOME_TIMED_OUT, MSG_R_DEADLINE,
		    MSG_TMF_NO_RESPONSE,
		    "the deadline passed before the request was sent");
		break;
	case TASK_END_R2T:
		task_outcome(t, MSG_OUTCOME_TIMED_OUT, MSG_R_R2T_TIMEOUT,
		    MSG_TMF_NO_RESPONSE,
		    "the data of the request did not come in time");
		break;
	default:
		task_outcome(t, MSG_OUTCOME_ABORTED, MSG_R_CANCELLED,
		    MSG_TMF_NO_RESPONSE,
		    "cancelled before the request was sent");
		break;
	}
}

/* Job: tell of the tasks that task_end_later() collected. */
void
task_end_due(void *arg)
{
	struct session *s = arg;
	struct task *t;

	while ((t = TAILQ_FIRST(&s->ended)) != NULL) {
		task_unqueue(t);
		if (t->synthetic)
			deliver_synthetic(t);
		else
			end_unsent(t);
		task_free(t);
	}
}
