/* SPDX-License-Identifier: ISC */
/*
 * A client's share of a session: attaching, submitting, leaving.  Every
 * SUBMIT is checked and charged here before anything is queued; what was
 * accepted belongs to the task from then on.
 */
#include "config.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/session_internal.h"
#include "proto/iscsi.h"

struct attachment *
session_attach(struct session *s, const struct session_attach *how,
    struct refusal *why)
{
	struct attachment *a, *first = TAILQ_FIRST(&s->attachments);

	if (s->stopping || s->freed) {
		guard_no(why, MSG_R_SHUTDOWN, "the session is being stopped");
		return NULL;
	}
	if (first != NULL && (first->exclusive || how->exclusive)) {
		guard_no(why, MSG_R_BUSY, first->exclusive ?
		    "the session is held exclusively" :
		    "other clients are attached");
		return NULL;
	}
	if (how->exclusive && s->norphans > 0) {
		guard_no(why, MSG_R_BUSY,
		    "tasks of an earlier client are still being aborted");
		return NULL;
	}
	a = calloc(1, sizeof(*a));
	if (a == NULL) {
		guard_no(why, MSG_R_INTERNAL, "out of memory");
		return NULL;
	}
	a->session = s;
	a->ops = how->ops;
	a->arg = how->arg;
	a->quota = how->quota;
	a->name = how->name;
	a->pid = how->pid;
	a->access = how->access;
	a->deadline = how->deadline;
	a->events = how->events;
	a->exclusive = how->exclusive;
	a->hold = how->hold;
	ittmap_init(&a->itts);
	TAILQ_INIT(&a->tasks);
	TAILQ_INIT(&a->cmdq);
	STAILQ_INIT(&a->dataq);
	TAILQ_INSERT_TAIL(&s->attachments, a, link);
	s->nattachments++;
	return a;
}

void
session_attached_get(struct attachment *a, struct msg_attached *out)
{
	*out = (struct msg_attached){
		.state = session_state(a->session),
		.access = a->access,
		.params = a->session->params,
	};
}

void
session_narrow(struct attachment *a, uint32_t access)
{
	a->access &= access;
}

void
session_detach(struct attachment *a)
{
	struct session *s = a->session;
	struct task *t;

	while ((t = TAILQ_FIRST(&a->tasks)) != NULL)
		abort_orphan(t);
	session_tx_detach(a);
	TAILQ_REMOVE(&s->attachments, a, link);
	s->nattachments--;
	ittmap_deinit(&a->itts);
	free(a);
	session_tx_kick(s);
	if (s->shared && s->nattachments == 0)
		session_share_end(s);
}

/* The pump's `who`. */
void
session_who(void *arg, uint32_t itt, struct trace_client *out)
{
	const struct session *s = arg;
	struct router_slot *slot;
	const struct attachment *a;

	if (router_find(s->router, itt, &slot) != ROUTER_LIVE)
		return;
	a = ((const struct task *)(const void *)slot)->owner;
	if (a != NULL)
		*out = (struct trace_client){ .name = a->name, .pid = a->pid };
}

struct session *
session_of(const struct attachment *a)
{
	return a->session;
}

uint32_t
session_events(const struct attachment *a)
{
	return a->events;
}

uint32_t
session_deadline(const struct attachment *a)
{
	return a->deadline;
}

bool
session_paused(const struct attachment *a)
{
	return a->paused;
}

uint32_t
session_open_tasks(const struct attachment *a)
{
	return a->ntasks;
}

/* --- requests that open a task --- */

/*
 * What a request may cost: its slot, room for everything that may come back,
 * its own bytes and the whole burst that it announces.
 */
static struct quota_amount
charge_for(const struct session *s, const struct txpdu *pdu)
{
	struct quota_amount c = {
		.tasks = 1, .in = TASK_CHARGE_BASE,
		.out = TXPDU_CHARGE_BASE + pdu->data.len +
		    guard_burst(s, pdu->bhs),
	};
	uint32_t edtl = get_be32(pdu->bhs + ISCSI_OFF_EDTL), header;

	header = FRAME_HEADER_LEN + ISCSI_BHS_LEN;
	switch (iscsi_opcode(pdu->bhs)) {
	case ISCSI_OP_SCSI_CMD:
		if ((pdu->bhs[ISCSI_OFF_FLAGS] & ISCSI_CMD_READ) != 0)
			c.in += edtl + (uint64_t)header *
			    (edtl / s->params.recv_dsl + 1);
		break;
	case ISCSI_OP_TEXT_REQ:
		c.in += TASK_CHARGE_TEXT;
		break;
	case ISCSI_OP_NOP_OUT:
		c.in += pdu->data.len;
		break;
	}
	return c;
}

/*
 * Reserved bits.  Whether a command may have a priority is seen when it goes
 * out, for the session may have logged in anew by then.
 */
static void
clear_reserved(uint8_t *bhs)
{
	bhs[ISCSI_OFF_OPCODE] &= ISCSI_OP_MASK | ISCSI_IMMEDIATE;
	if (iscsi_opcode(bhs) != ISCSI_OP_SCSI_CMD)
		bhs[2] = 0;
	bhs[3] = 0;
}

/* Make a checked and charged request a task.  False: no tag was free. */
static bool
open_task(struct attachment *a, struct txpdu *pdu, uint64_t cookie,
    uint32_t deadline, const struct quota_amount *charge)
{
	struct session *s = a->session;
	uint32_t burst = guard_burst(s, pdu->bhs);
	struct task *t = task_new(s, TASK_CLIENT, pdu);

	if (t == NULL)
		return false;
	if (ittmap_add(&a->itts, t->client_itt, t) != 0 || (burst > 0 &&
	    r2t_add(t, ISCSI_TAG_NONE, pdu->data.len, burst) == NULL)) {
		ittmap_remove(&a->itts, t->client_itt);
		router_release(s->router, &t->slot);
		return false;
	}
	t->owner = a;
	TAILQ_INSERT_TAIL(&a->tasks, t, owner_link);
	a->ntasks++;
	t->cookie = cookie;
	t->quota = quota_ref(a->quota);
	t->charge = (struct quota_amount){ .tasks = 1, .in = charge->in };
	t->burst_charge = burst;
	txpdu_charge(pdu, a->quota, charge->out - burst);
	clear_reserved(pdu->bhs);
	s->stats.tasks_opened++;
	if (deadline > 0)
		task_set_deadline(t, deadline);
	if (burst > 0)
		task_watch_progress(t);
	if (t->opcode != ISCSI_OP_TMF_REQ ||
	    !abort_names_task(t->function) || abort_request(t))
		session_tx_request(t);
	return true;
}

static enum submit_verdict
submit_request(struct attachment *a, struct txpdu *pdu, uint64_t cookie,
    uint32_t deadline, struct refusal *why)
{
	struct session *s = a->session;
	struct quota_amount charge;
	char limit[96];

	if (s->phase != SESSION_UP && !session_hold_accepts(a, pdu->bhs)) {
		s->stats.outcomes[MSG_OUTCOME_NOT_SENT]++;
		guard_no(why, MSG_R_SESSION_DOWN, "the session is down%s%s",
		    s->last_error[0] == '\0' ? "" : ": ", s->last_error);
		return SUBMIT_NOT_SENT;
	}
	s->stats.outcomes[MSG_OUTCOME_REFUSED]++;
	if (!guard_request(s, a->access, pdu, why))
		return SUBMIT_REFUSED;
	/* Task management may end what it waits for. */
	if (s->worker->draining &&
	    iscsi_opcode(pdu->bhs) != ISCSI_OP_TMF_REQ) {
		guard_no(why, MSG_R_SHUTDOWN, "the daemon is draining: it "
		    "takes no new tasks");
		return SUBMIT_REFUSED;
	}
	if (ittmap_find(&a->itts, iscsi_itt(pdu->bhs)) != NULL) {
		guard_no(why, MSG_R_BAD_ITT, "the Initiator Task Tag 0x%08"
		    PRIx32 " belongs to another open task of yours",
		    iscsi_itt(pdu->bhs));
		return SUBMIT_REFUSED;
	}
	charge = charge_for(s, pdu);
	if (quota_take(a->quota, &charge, limit, sizeof(limit)) != NULL) {
		guard_no(why, MSG_R_QUOTA, "this would exceed %s", limit);
		return SUBMIT_REFUSED;
	}
	if (!open_task(a, pdu, cookie, deadline, &charge)) {
		quota_give(a->quota, &charge);
		guard_no(why, MSG_R_QUOTA,
		    "the session has no task tag free");
		return SUBMIT_REFUSED;
	}
	s->stats.outcomes[MSG_OUTCOME_REFUSED]--;
	return SUBMIT_ACCEPTED;
}

/* --- PDUs that belong to an open task --- */

/*
 * Data-Out of the unsolicited burst was charged with its command; other data
 * is charged now and may exceed the limit, because it can not be refused for
 * want of room: instead the client is not read until some of it has left.
 */
static void
charge_data(struct attachment *a, struct task *t, struct txpdu *pdu,
    const struct r2t *r)
{
	if (r->ttt == ISCSI_TAG_NONE) {
		t->burst_charge -= pdu->data.len;
	} else {
		quota_force_out(a->quota, pdu->data.len);
	}
	txpdu_charge(pdu, a->quota, pdu->data.len);
	if (!a->paused && t->state == TASK_SENT &&
	    quota_out_exceeded(a->quota)) {
		a->paused = true;
		a->session->npaused++;
	}
}

static enum submit_verdict
submit_data(struct attachment *a, struct txpdu *pdu, struct refusal *why)
{
	struct session *s = a->session;
	struct task *t = ittmap_find(&a->itts, iscsi_itt(pdu->bhs));
	uint32_t len = pdu->data.len;
	struct r2t *r;

	s->stats.refused_data++;
	if (t == NULL || t->opcode != ISCSI_OP_SCSI_CMD) {
		guard_no(why, MSG_R_NO_SUCH_TASK, "no open write of yours has "
		    "the Initiator Task Tag 0x%08" PRIx32,
		    iscsi_itt(pdu->bhs));
		return SUBMIT_ERROR;
	}
	if (!guard_data_out(s, t, pdu, why))
		return SUBMIT_ERROR;
	s->stats.refused_data--;
	r = r2t_wanted(t);
	clear_reserved(pdu->bhs);
	pdu->bhs[ISCSI_OFF_OPCODE] = ISCSI_OP_DATA_OUT;
	pdu->bhs[ISCSI_OFF_FLAGS] &= ISCSI_FLAG_FINAL;
	/* Unsolicited data need not name the LUN, but some targets look. */
	put_be64(pdu->bhs + ISCSI_OFF_LUN, t->lun);
	charge_data(a, t, pdu, r);
	r2t_queued(t, r, len);
	if (t->state != TASK_QUEUED) {
		session_tx_data(t, pdu);
		return SUBMIT_ACCEPTED;
	}
	pdu->task = t;
	STAILQ_INSERT_TAIL(&t->unsolicited, pdu, link);
	if (r2t_wanted(t) == NULL)
		session_tx_ready(a);
	return SUBMIT_ACCEPTED;
}

static enum submit_verdict
submit_text_more(struct attachment *a, struct txpdu *pdu, struct refusal *why)
{
	struct session *s = a->session;
	struct task *t = ittmap_find(&a->itts, iscsi_itt(pdu->bhs));

	s->stats.refused_data++;
	if (t == NULL || t->opcode != ISCSI_OP_TEXT_REQ || s->text != t) {
		guard_no(why, MSG_R_NO_SUCH_TASK, "no open Text exchange of "
		    "yours has the Initiator Task Tag 0x%08" PRIx32,
		    iscsi_itt(pdu->bhs));
		return SUBMIT_ERROR;
	}
	if (!guard_text_more(s, t, pdu, why))
		return SUBMIT_ERROR;
	s->stats.refused_data--;
	t->text_more = false;
	task_watch_progress(t);
	clear_reserved(pdu->bhs);
	t->pdu = pdu;
	session_tx_request(t);
	return SUBMIT_ACCEPTED;
}

enum submit_verdict
session_submit(struct attachment *a, struct txpdu *pdu, uint64_t cookie,
    uint32_t deadline, struct refusal *why)
{
	uint8_t opcode = iscsi_opcode(pdu->bhs);

	if (opcode == ISCSI_OP_DATA_OUT)
		return submit_data(a, pdu, why);
	if (opcode == ISCSI_OP_TEXT_REQ &&
	    iscsi_ttt(pdu->bhs) != ISCSI_TAG_NONE)
		return submit_text_more(a, pdu, why);
	if ((iscsi_opcode_traits(opcode) & ISCSI_T_OPENS) == 0) {
		guard_no(why, MSG_R_BAD_OPCODE, "opcode 0x%02x (%s) is not "
		    "allowed on a shared session", opcode,
		    iscsi_opcode_name(opcode));
		return SUBMIT_ERROR;
	}
	return submit_request(a, pdu, cookie, deadline, why);
}

bool
session_cancel(struct attachment *a, uint8_t by, uint64_t value)
{
	struct task *t = NULL;

	if (by == MSG_CANCEL_ITT) {
		if (value <= UINT32_MAX)
			t = ittmap_find(&a->itts, (uint32_t)value);
	} else {
		TAILQ_FOREACH(t, &a->tasks, owner_link) {
			if (t->cookie == value)
				break;
		}
	}
	if (t == NULL)
		return false;
	abort_task(t, TASK_END_CANCELLED);
	return true;
}
