/* SPDX-License-Identifier: ISC */
/*
 * Tasks that end before their target answers: cancelled, overdue, orphaned by
 * a dead client, or hit by task management (RFC 7143 sections 4.2.3.2 to
 * 4.2.3.4, 11.5).  The rule of this file: an Initiator Task Tag is free again
 * only when the target can have no more to say about it.
 */
#include "config.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "daemon/session_internal.h"
#include "proto/iscsi.h"
#include "proto/serial.h"

/* Only SCSI commands and Text exchanges can be aborted (section 11.5.1). */
static bool
can_abort(const struct task *t)
{
	return t->opcode == ISCSI_OP_SCSI_CMD || t->opcode == ISCSI_OP_TEXT_REQ;
}

/*
 * Is this a command that the function would end, if it was sent before it
 * (section 4.2.3.2)?
 */
static bool
is_in_scope(const struct task *t, const struct task *tmf)
{
	if (t->kind != TASK_CLIENT || t->opcode != ISCSI_OP_SCSI_CMD)
		return false;
	switch (tmf->function) {
	case ISCSI_TMF_ABORT_TASK_SET:
	case ISCSI_TMF_CLEAR_TASK_SET:
	case ISCSI_TMF_LUN_RESET:
		return t->lun == tmf->lun;
	case ISCSI_TMF_TARGET_WARM_RESET:
	case ISCSI_TMF_TARGET_COLD_RESET:
	case ISCSI_TMF_NEXUS_RESET:
		return true;
	default:
		return false;
	}
}

/* The same of one that was sent, or at least stamped. */
static bool
is_covered(const struct task *t, const struct task *tmf)
{
	if (tmf->function == ISCSI_TMF_ABORT_TASK)
		return t->slot.itt == tmf->ref_itt && can_abort(t);
	return is_in_scope(t, tmf) && serial_lt(t->cmdsn, tmf->cmdsn);
}

static bool
is_affected(const struct task *t, const struct task *tmf)
{
	return t->kind == TASK_CLIENT && t->state == TASK_SENT &&
	    !t->answered && is_covered(t, tmf);
}

/*
 * With fast-abort a target gets no Data-Out of a task from the function that
 * ends it until the response.  If that is not "function complete", the task
 * lives and its data go on.
 */
bool
abort_mutes(const struct task *t)
{
	const struct session *s = t->session;

	return s->config->fast_abort && s->tmf != NULL &&
	    t->state != TASK_QUEUED && is_covered(t, s->tmf);
}

/*
 * While a client's function that ends many tasks is outstanding, no command
 * may slip in that the target might end or not: nobody could tell its fate.
 */
bool
abort_holds(const struct task *tmf, const struct task *t)
{
	return tmf != NULL && tmf->kind == TASK_CLIENT && is_in_scope(t, tmf);
}

/* The same for requests of every kind and LUN. */
bool
abort_holds_all(const struct task *tmf)
{
	return tmf != NULL && tmf->kind == TASK_CLIENT &&
	    (tmf->function == ISCSI_TMF_TARGET_WARM_RESET ||
	    tmf->function == ISCSI_TMF_TARGET_COLD_RESET ||
	    tmf->function == ISCSI_TMF_NEXUS_RESET);
}

/*
 * The function is about to go out: the commands that its client submitted
 * before it, but that were not sent, are to end as well.  The target will not
 * know of them.
 */
static void
end_own_unsent(struct task *tmf)
{
	struct task *t, *next;

	if (tmf->owner == NULL)
		return;
	for (t = TAILQ_FIRST(&tmf->owner->tasks); t != NULL && t != tmf;
	    t = next) {
		next = TAILQ_NEXT(t, owner_link);
		if (t->state != TASK_QUEUED || t->end != TASK_END_NONE ||
		    !is_in_scope(t, tmf))
			continue;
		t->function = tmf->function;
		abort_task(t, TASK_END_TMF);
	}
}

/*
 * The data of a task that is to end is cut short: its R2Ts are answered by
 * empty Data-Outs, because the target may wait for them before it answers the
 * task management function.  But only behind that function: to the target
 * less data than it asked for is an error as long as the task lives (RFC 7143
 * sections 4.2.3.3 and 11.7.1).  With fast-abort only when the function did
 * not end it.
 */
void
abort_cut_data(struct task *t)
{
	struct session *s = t->session;
	const struct task *tmf = s->tmf;

	if (abort_mutes(t) || (!t->cut && (tmf == NULL ||
	    tmf->kind != TASK_CLIENT || !is_affected(t, tmf))))
		return;
	if (r2t_answer_all(t) != 0)
		session_fail(s, "no memory to answer an R2T");
}

/* For tasks that are to end: a function was sent, or is over. */
static void
cut_all(struct session *s)
{
	struct router_slot *slot;

	for (slot = router_next(s->router, NULL); slot != NULL;
	    slot = router_next(s->router, slot)) {
		struct task *t = (struct task *)(void *)slot;

		if (t->end != TASK_END_NONE)
			abort_cut_data(t);
	}
}

/* A task management function is handed to the pump. */
void
abort_tmf_sent(struct task *tmf)
{
	if (tmf->kind == TASK_ABORT) {
		if (tmf->victim != NULL) {
			tmf->victim->cut = true;
			abort_cut_data(tmf->victim);
		}
		return;
	}
	end_own_unsent(tmf);
	cut_all(tmf->session);
}

/*
 * The daemon's ABORT TASK that is next in line is to be answered in time as
 * well, but not while a client's function holds the slot: that may take long.
 */
void
abort_watch_queue(struct session *s)
{
	struct task *next = TAILQ_FIRST(&s->abortq);

	if (next == NULL)
		return;
	if (s->tmf != NULL)
		task_set_deadline(next, 0);
	else if (next->deadline_at == 0)
		task_watch_answer(next);
}

/* Have the daemon's own ABORT TASK sent for a task that is on the wire. */
static void
queue_abort(struct task *t)
{
	struct session *s = t->session;
	uint8_t bhs[ISCSI_BHS_LEN] = {
		[ISCSI_OFF_OPCODE] = ISCSI_OP_TMF_REQ | ISCSI_IMMEDIATE,
		[ISCSI_OFF_FLAGS] = ISCSI_FLAG_FINAL | ISCSI_TMF_ABORT_TASK,
	};
	struct task *abort;

	if (t->abort != NULL)
		return;
	put_be64(bhs + ISCSI_OFF_LUN, t->lun);
	abort = session_tx_daemon(s, TASK_ABORT, bhs, &s->abortq);
	if (abort == NULL)
		return;
	abort->ref_itt = t->slot.itt;
	abort->ref_cmdsn = t->cmdsn;
	abort->ref_immediate = t->immediate;
	abort->victim = t;
	t->abort = abort;
	abort_watch_queue(s);
}

/*
 * A request that is on the wire is to end early.  What can't be aborted is
 * given abort-timeout to be answered after all.
 */
static void
end_sent(struct task *t)
{
	struct session *s = t->session;

	/* A Text continuation that was not sent is one the target waits for. */
	if (t->pdu != NULL)
		t->text_more = true;
	task_unqueue(t);
	txpdu_free(s->worker, t->pdu);
	t->pdu = NULL;
	if (s->phase != SESSION_UP && s->phase != SESSION_DRAINING)
		return;	/* the end of the connection ends the task */
	if (can_abort(t)) {
		queue_abort(t);
		return;
	}
	if (t->owner != NULL) {
		bool late = t->end == TASK_END_DEADLINE;

		task_outcome(t, late ? MSG_OUTCOME_TIMED_OUT :
		    MSG_OUTCOME_UNKNOWN,
		    late ? MSG_R_DEADLINE : MSG_R_CANCELLED,
		    MSG_TMF_NO_RESPONSE,
		    "the request was sent and can not be aborted");
	}
	task_set_deadline(t, s->worker->config->limits.abort_timeout);
}

/*
 * End a client's task: by CANCEL, its deadline, or r2t-timeout.  Unsent it
 * ends at the end of this turn, else with the target's answer.
 */
void
abort_task(struct task *t, enum task_end why)
{
	if (t->end != TASK_END_NONE)
		return;
	t->end = (uint8_t)why;
	switch (t->state) {
	case TASK_STAMPED:
		session_withdraw(t);
		/* FALLTHROUGH */
	case TASK_QUEUED:
		session_tx_drop_data(t);
		r2t_drop_all(t);
		task_end_later(t);
		session_tx_ready(t->owner);
		break;
	default:
		session_tx_drop_data(t);
		abort_cut_data(t);
		task_watch_progress(t);
		end_sent(t);
		break;
	}
	session_tx_kick(t->session);
}

/* The client of the task is gone. */
void
abort_orphan(struct task *t)
{
	struct session *s = t->session;

	if (t->state != TASK_SENT) {
		task_free(t);
		return;
	}
	t->end = TASK_END_ORPHAN;
	s->stats.orphans++;
	task_orphan(t);
	abort_cut_data(t);
	end_sent(t);
}

/* The target owes an answer to the daemon for longer than abort-timeout. */
void
abort_overdue(struct task *t)
{
	struct session *s = t->session;

	session_fail(s, "no answer to %s for %" PRIu32 " ms",
	    t->kind == TASK_ABORT ? "ABORT TASK" : iscsi_opcode_name(t->opcode),
	    s->worker->config->limits.abort_timeout);
}

/*
 * The target has no more to say about this task, whose client has its
 * answer: free the tag, unless an ABORT TASK on the wire still names it.
 */
void
abort_retire(struct task *t)
{
	struct session *s = t->session;
	struct task *abort = t->abort;
	bool function = t->opcode == ISCSI_OP_TMF_REQ;

	if (abort != NULL && abort->state != TASK_QUEUED) {
		t->answered = true;
		return;
	}
	if (abort != NULL)
		task_free(abort);
	task_free(t);
	if (function)
		cut_all(s);
}

static void
outcome_aborted(struct task *t, uint8_t response)
{
	char text[MSG_TEXT_MAX + 1];

	snprintf(text, sizeof(text), "ABORT TASK was answered: %s",
	    iscsi_tmf_response_name(response));
	if (t->end == TASK_END_DEADLINE || t->end == TASK_END_R2T)
		task_outcome(t, MSG_OUTCOME_TIMED_OUT,
		    t->end == TASK_END_R2T ? MSG_R_R2T_TIMEOUT :
		    MSG_R_DEADLINE, response, text);
	else
		task_outcome(t, MSG_OUTCOME_ABORTED, MSG_R_CANCELLED,
		    response, text);
}

/*
 * True if the task is over at the target: the function is complete, or the
 * target does not know the task, whose own response would have come before
 * this one on the same connection.
 */
static bool
concludes(uint8_t response)
{
	return response == 0 || response == 1;
}

/* The Task Management Function Response to an ABORT TASK of the daemon. */
void
abort_response(struct task *abort, uint8_t response)
{
	struct task *t = abort->victim;

	task_free(abort);
	if (t == NULL)
		return;
	if (t->owner != NULL)
		outcome_aborted(t, response);
	/*
	 * Whatever it says of a Text exchange in which it waits for us, nothing
	 * will come, and the next exchange resets it (section 11.10.4).
	 */
	if (t->answered || t->text_more || concludes(response))
		task_free(t);
	else
		abort_cut_data(t);
}

bool
abort_names_task(uint8_t function)
{
	return function == ISCSI_TMF_ABORT_TASK ||
	    function == ISCSI_TMF_QUERY_TASK;
}

/*
 * The daemon's answer to a function about a task that the target does not
 * have: unsent, or NULL for none.
 */
static uint8_t
answer_for(const struct task *tmf, const struct task *t)
{
	if (tmf->function == ISCSI_TMF_ABORT_TASK)
		return t != NULL ? 0 : 1;
	/* What waits here is not lost, which the client wants to know. */
	return t != NULL && t->end == TASK_END_NONE ?
	    ISCSI_TMF_SUCCEEDED : 0;
}

/*
 * A client's ABORT TASK or QUERY TASK: find the task it means.  Returns true
 * if the request must go to the target; else the daemon answers it at the end
 * of the turn, because the task was never sent or is not one of the client's.
 */
bool
abort_request(struct task *tmf)
{
	uint32_t rtt = get_be32(tmf->pdu->bhs + ISCSI_OFF_RTT);
	struct task *t = ittmap_find(&tmf->owner->itts, rtt);

	/* Of a task on another LUN the target would deny all knowledge. */
	if (t != NULL && t->lun != tmf->lun)
		t = NULL;
	if (t == tmf)
		t = NULL;
	if (t != NULL && t->state == TASK_SENT) {
		tmf->ref_itt = t->slot.itt;
		tmf->ref_cmdsn = t->cmdsn;
		tmf->ref_immediate = t->immediate;
		return true;
	}
	tmf->synthetic = true;
	tmf->synthetic_response = answer_for(tmf, t);
	if (t != NULL && tmf->function == ISCSI_TMF_ABORT_TASK)
		abort_task(t, TASK_END_CANCELLED);
	task_end_later(tmf);
	return false;
}

/*
 * What the function did and whose it was, in words: "LOGICAL UNIT RESET of LUN
 * 0x0001000000000000 by client backup (pid 123)".
 */
static void
describe(const struct task *tmf, char *buf, size_t size)
{
	char where[32] = "";

	if (tmf->function != ISCSI_TMF_ABORT_TASK &&
	    !abort_holds_all(tmf))
		snprintf(where, sizeof(where), " of LUN 0x%016" PRIx64,
		    tmf->lun);
	if (tmf->owner == NULL)
		snprintf(buf, size, "%s%s by a client that has "
		    "gone or given up",
		    iscsi_tmf_name(tmf->function), where);
	else
		snprintf(buf, size, "%s%s by client %s (pid %d)",
		    iscsi_tmf_name(tmf->function), where, tmf->owner->name,
		    (int)tmf->owner->pid);
}

/* One task that a completed task management function ended. */
static void
end_affected(struct task *t, const struct task *tmf, const char *what)
{
	char text[MSG_TEXT_MAX + 1];

	if (t->owner != NULL) {
		snprintf(text, sizeof(text), "ended by %s", what);
		task_outcome(t, MSG_OUTCOME_ABORTED, t->owner == tmf->owner ?
		    MSG_R_CANCELLED : MSG_R_RESET, 0, text);
	}
	abort_retire(t);
}

static void
announce_reset(const struct task *tmf, const char *what)
{
	struct msg_event e = {
		.kind = MSG_EVENT_RESET, .count = 1,
		.lun = tmf->lun, .code = tmf->function,
	};

	strlcpy(e.text, what, sizeof(e.text));
	session_event(tmf->session, &e, tmf->owner);
}

/* Others only ask, or clear a condition. */
static bool
ends_tasks(uint8_t function)
{
	switch (function) {
	case ISCSI_TMF_CLEAR_ACA:
	case ISCSI_TMF_QUERY_TASK:
	case ISCSI_TMF_QUERY_TASK_SET:
	case ISCSI_TMF_QUERY_ASYNC_EVENT:
		return false;
	default:
		return true;
	}
}

/*
 * A client's task management function was answered: end every task that it
 * concluded without a response of its own.
 */
void
abort_tmf_response(struct task *tmf, uint8_t response)
{
	struct session *s = tmf->session;
	bool one = tmf->function == ISCSI_TMF_ABORT_TASK;
	char what[MSG_TEXT_MAX / 2 + 1];
	struct router_slot *slot;

	if (!ends_tasks(tmf->function) ||
	    !(one ? concludes(response) : response == 0))
		return;
	describe(tmf, what, sizeof(what));
	for (slot = router_next(s->router, NULL); slot != NULL;
	    slot = router_next(s->router, slot)) {
		struct task *t = (struct task *)(void *)slot;

		if (is_affected(t, tmf))
			end_affected(t, tmf, what);
	}
	if (!one)
		announce_reset(tmf, what);
}
