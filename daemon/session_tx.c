/* SPDX-License-Identifier: ISC */
/*
 * What a session sends next.  The write pump asks; numbers are stamped as the
 * PDU is handed over, never before (RFC 7143 section 4.2.2.1), so that no
 * cancelled request can leave a hole.  The order: answers to the target,
 * clients' task management, other immediates, the daemon's ABORT TASKs, data
 * that the target asked for, then requests while the window is open.  Clients
 * share the last two by deficit round robin.
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/session_internal.h"
#include "proto/iscsi.h"

#define QUANTUM (64 * 1024)

void
session_tx_kick(struct session *s)
{
	if (s->pump != NULL)
		pump_kick(s->pump);
}

/* --- pauses --- */

static void
resume_paused(struct session *s)
{
	struct attachment *a, *next;

	TAILQ_FOREACH_SAFE(a, &s->attachments, link, next) {
		if (!a->paused || quota_out_exceeded(a->quota))
			continue;
		a->paused = false;
		s->npaused--;
		a->ops->on_room(a->arg);
	}
}

/* --- queues --- */

static void
activate_cmd(struct attachment *a)
{
	if (a->cmd_active)
		return;
	a->cmd_active = true;
	a->cmd_deficit = QUANTUM;
	TAILQ_INSERT_TAIL(&a->session->cmd_active, a, cmd_link);
}

static void
deactivate_cmd(struct attachment *a)
{
	if (!a->cmd_active)
		return;
	a->cmd_active = false;
	TAILQ_REMOVE(&a->session->cmd_active, a, cmd_link);
}

static void
deactivate_data(struct attachment *a)
{
	if (!a->data_active)
		return;
	a->data_active = false;
	TAILQ_REMOVE(&a->session->data_active, a, data_link);
}

/* Queue a client's request where it waits for its turn. */
void
session_tx_request(struct task *t)
{
	struct session *s = t->session;

	if (t == s->text) {
		/* Others wait for the end of this exchange. */
		t->queue = &s->textq;
		TAILQ_INSERT_HEAD(&s->textq, t, queue_link);
	} else if (t->opcode == ISCSI_OP_TEXT_REQ) {
		task_enqueue(t, &s->textq);
	} else if (t->opcode == ISCSI_OP_TMF_REQ) {
		task_enqueue(t, &s->tmfq);
	} else if (t->immediate) {
		task_enqueue(t, &s->nopq);
	} else {
		task_enqueue(t, &t->owner->cmdq);
		activate_cmd(t->owner);
	}
	session_tx_kick(s);
}

/* The first request of this client may have become ready to go. */
void
session_tx_ready(struct attachment *a)
{
	if (!TAILQ_EMPTY(&a->cmdq))
		activate_cmd(a);
	session_tx_kick(a->session);
}

static void
activate_data(struct attachment *a)
{
	if (a->data_active)
		return;
	a->data_active = true;
	a->data_deficit = QUANTUM;
	TAILQ_INSERT_TAIL(&a->session->data_active, a, data_link);
}

/* What a task management function held may go. */
void
session_tx_release(struct session *s)
{
	struct attachment *a;

	TAILQ_FOREACH(a, &s->attachments, link) {
		if (!STAILQ_EMPTY(&a->dataq))
			activate_data(a);
		session_tx_ready(a);
	}
}

/* Queue Data-Out of a task whose request went out. */
void
session_tx_data(struct task *t, struct txpdu *pdu)
{
	struct attachment *a = t->owner;

	pdu->task = t;
	t->data_queued++;
	put_be32(pdu->bhs + ISCSI_OFF_ITT, t->slot.itt);
	STAILQ_INSERT_TAIL(&a->dataq, pdu, link);
	activate_data(a);
	session_tx_kick(t->session);
}

static void
drop_from(struct txpdu_list *list, struct task *t)
{
	struct txpdu *pdu, *next;

	STAILQ_FOREACH_SAFE(pdu, list, link, next) {
		if (pdu->task != t)
			continue;
		STAILQ_REMOVE(list, pdu, txpdu, link);
		txpdu_free(t->session->worker, pdu);
	}
}

/* Drop all data of a task that no pump has yet. */
void
session_tx_drop_data(struct task *t)
{
	drop_from(&t->unsolicited, t);
	if (t->data_queued == 0)
		return;
	drop_from(&t->session->bursts, t);
	drop_from(&t->owner->dataq, t);
	t->data_queued = 0;
	if (STAILQ_EMPTY(&t->owner->dataq))
		deactivate_data(t->owner);
	if (t->session->npaused > 0)
		resume_paused(t->session);
}

/* The attachment ends and has no task any more. */
void
session_tx_detach(struct attachment *a)
{
	deactivate_cmd(a);
	deactivate_data(a);
	if (a->paused)
		a->session->npaused--;
	a->paused = false;
}

/*
 * Queue an answer to the target that needs neither CmdSN nor window.
 * Returns 0 or -ENOMEM.
 */
int
session_tx_answer(struct session *s, const uint8_t *bhs)
{
	struct txpdu *pdu;

	pdu = txpdu_new(s->worker);
	if (pdu == NULL)
		return -ENOMEM;
	memcpy(pdu->bhs, bhs, ISCSI_BHS_LEN);
	STAILQ_INSERT_TAIL(&s->answers, pdu, link);
	s->nanswers++;
	if (iscsi_opcode(bhs) == ISCSI_OP_NOP_OUT)
		s->npongs++;
	session_tx_kick(s);
	return 0;
}

/*
 * Queue a request of the daemon's own in `q`.  NULL on lack of memory, and
 * then the session is failed: it can not keep its promises.
 */
struct task *
session_tx_daemon(struct session *s, enum task_kind kind, const uint8_t *bhs,
    struct task_queue *q)
{
	struct txpdu *pdu = txpdu_new(s->worker);
	struct task *t = NULL;

	if (pdu != NULL) {
		memcpy(pdu->bhs, bhs, ISCSI_BHS_LEN);
		t = task_new(s, kind, pdu);
	}
	if (t == NULL) {
		txpdu_free(s->worker, pdu);
		session_fail(s, "no memory for a request of the daemon");
		return NULL;
	}
	task_enqueue(t, q);
	session_tx_kick(s);
	return t;
}

/* --- handing over to the pump --- */

static void
stamp_tmf(struct task *t, uint8_t *bhs)
{
	bool one = abort_names_task(t->function);
	uint32_t ref = t->ref_immediate ? t->cmdsn : t->ref_cmdsn;

	put_be32(bhs + ISCSI_OFF_RTT, one ? t->ref_itt : ISCSI_TAG_NONE);
	put_be32(bhs + ISCSI_OFF_REFCMDSN, one ? ref : 0);
	put_be32(bhs + ISCSI_OFF_EXPDATASN, 0);
}

/*
 * The unsolicited data of a command go right after it: the target is to get
 * all such data in the order of their commands (section 4.2.4.2).
 */
static void
commit_burst(struct task *t)
{
	struct txpdu *pdu;

	STAILQ_FOREACH(pdu, &t->unsolicited, link) {
		put_be32(pdu->bhs + ISCSI_OFF_ITT, t->slot.itt);
		t->data_queued++;
	}
	STAILQ_CONCAT(&t->session->bursts, &t->unsolicited);
}

/*
 * The request goes to the pump.  It may have waited for a login that no longer
 * has room for a Command Priority (RFC 7144 section 5).
 */
static struct txpdu *
commit(struct task *t)
{
	struct session *s = t->session;
	struct txpdu *pdu = t->pdu;

	task_unqueue(t);
	t->pdu = NULL;
	if (s->protocol_level < ISCSI_LEVEL_RFC7144)
		pdu->bhs[ISCSI_OFF_PRIORITY] = 0;
	put_be32(pdu->bhs + ISCSI_OFF_ITT, t->slot.itt);
	sn_stamp(&s->sn, pdu->bhs);
	t->cmdsn = get_be32(pdu->bhs + ISCSI_OFF_CMDSN);
	if (t->opcode == ISCSI_OP_TMF_REQ) {
		stamp_tmf(t, pdu->bhs);
		abort_tmf_sent(t);
	}
	/* A Text continuation belongs to a task that is on the wire. */
	pdu->task = t->state == TASK_SENT ? NULL : t;
	if (t->state == TASK_QUEUED)
		t->state = TASK_STAMPED;
	task_watch_answer(t);
	commit_burst(t);
	return pdu;
}

/* A plug takes the CmdSN of the request that was rejected (gap.c). */
static struct txpdu *
commit_plug(struct task *t)
{
	struct session *s = t->session;
	struct txpdu *pdu = t->pdu;

	task_unqueue(t);
	t->pdu = NULL;
	put_be32(pdu->bhs + ISCSI_OFF_ITT, t->slot.itt);
	put_be32(pdu->bhs + ISCSI_OFF_CMDSN, t->cmdsn);
	sn_restamp(&s->sn, pdu->bhs);
	pdu->task = t;
	t->state = TASK_STAMPED;
	task_watch_answer(t);
	return pdu;
}

static struct txpdu *
next_answer(struct session *s)
{
	struct txpdu *pdu = STAILQ_FIRST(&s->answers);

	if (pdu == NULL)
		return NULL;
	STAILQ_REMOVE_HEAD(&s->answers, link);
	s->nanswers--;
	if (iscsi_opcode(pdu->bhs) == ISCSI_OP_NOP_OUT)
		s->npongs--;
	sn_stamp(&s->sn, pdu->bhs);
	return pdu;
}

/*
 * A target need take only one immediate task management request and one other
 * immediate at a time (section 4.2.2.1).
 */
static struct txpdu *
next_immediate(struct session *s)
{
	struct task *t;

	if (s->tmf == NULL && (t = TAILQ_FIRST(&s->tmfq)) != NULL) {
		s->tmf = t;
		abort_watch_queue(s);
		return commit(t);
	}
	if (s->nop == NULL && (t = TAILQ_FIRST(&s->nopq)) != NULL) {
		if (t->kind == TASK_PLUG)
			return commit_plug(t);
		s->nop = t;
		return commit(t);
	}
	if (s->tmf == NULL && (t = TAILQ_FIRST(&s->abortq)) != NULL) {
		s->tmf = t;
		s->stats.aborts_sent++;
		return commit(t);
	}
	return NULL;
}

/*
 * Of the requests only the Logout: those that were queued before it stay
 * behind, for nothing may be requested after it (section 11.14).
 */
static struct txpdu *
next_logout(struct session *s)
{
	struct task *t;

	TAILQ_FOREACH(t, &s->nopq, queue_link) {
		if (t->kind == TASK_LOGOUT)
			return commit(t);
	}
	return NULL;
}

static struct txpdu *
commit_data(struct txpdu *pdu)
{
	struct task *t = pdu->task;

	t->data_queued--;
	r2t_sent(t, pdu->data.len);
	pdu->task = NULL;
	sn_stamp(&t->session->sn, pdu->bhs);
	return pdu;
}

/* The first that no task management function holds. */
static struct txpdu *
first_free(const struct txpdu_list *list)
{
	struct txpdu *pdu;

	STAILQ_FOREACH(pdu, list, link) {
		if (!abort_mutes(pdu->task))
			return pdu;
	}
	return NULL;
}

static struct txpdu *
next_data(struct session *s)
{
	struct attachment *a;
	struct txpdu *pdu = NULL;

	while ((a = TAILQ_FIRST(&s->data_active)) != NULL) {
		pdu = first_free(&a->dataq);
		if (pdu == NULL) {
			deactivate_data(a);
			continue;
		}
		if (a->data_deficit > 0)
			break;
		a->data_deficit += QUANTUM;
		TAILQ_REMOVE(&s->data_active, a, data_link);
		TAILQ_INSERT_TAIL(&s->data_active, a, data_link);
	}
	if (a == NULL)
		return NULL;
	STAILQ_REMOVE(&a->dataq, pdu, txpdu, link);
	a->data_deficit -= ISCSI_BHS_LEN + pdu->data.len;
	if (STAILQ_EMPTY(&a->dataq))
		deactivate_data(a);
	return commit_data(pdu);
}

static struct txpdu *
next_burst(struct session *s)
{
	struct txpdu *pdu = first_free(&s->bursts);

	if (pdu == NULL)
		return NULL;
	STAILQ_REMOVE(&s->bursts, pdu, txpdu, link);
	return commit_data(pdu);
}

static struct txpdu *
next_text(struct session *s)
{
	struct task *t = TAILQ_FIRST(&s->textq);

	if (t == NULL)
		return NULL;
	/* One Text exchange at a time (section 6.2). */
	if (s->text != NULL && s->text != t)
		return NULL;
	s->text = t;
	return commit(t);
}

/*
 * The cost of a request: its bytes out, its burst included, and those that
 * come in, which a quota bounds.  What a write is asked for has its turns as
 * data.
 */
static int64_t
cost(const struct task *t)
{
	return ISCSI_BHS_LEN + (int64_t)t->pdu->data.len + t->rx_max +
	    guard_burst(t->session, t->pdu->bhs);
}

static struct txpdu *
next_command(struct session *s)
{
	struct attachment *a;
	struct task *t;

	while ((a = TAILQ_FIRST(&s->cmd_active)) != NULL) {
		t = TAILQ_FIRST(&a->cmdq);
		/*
		 * A command waits for all of its burst, see commit_burst(),
		 * and for the end of a function that holds it.
		 */
		if (t == NULL || r2t_wanted(t) != NULL ||
		    abort_holds(s->tmf, t)) {
			deactivate_cmd(a);
			continue;
		}
		if (TAILQ_NEXT(a, cmd_link) == NULL)
			a->cmd_deficit = QUANTUM;
		if (a->cmd_deficit > 0)
			break;
		a->cmd_deficit += QUANTUM;
		TAILQ_REMOVE(&s->cmd_active, a, cmd_link);
		TAILQ_INSERT_TAIL(&s->cmd_active, a, cmd_link);
	}
	if (a == NULL)
		return NULL;
	a->cmd_deficit -= cost(t);
	return commit(t);
}

/* The pump's `next`. */
struct txpdu *
session_tx_next(void *arg)
{
	struct session *s = arg;
	struct txpdu *pdu;
	bool leaving;

	if (s->phase == SESSION_LOGGING_IN) {
		pdu = s->login_pdu;
		s->login_pdu = NULL;
		return pdu;
	}
	if (!session_talks(s))
		return NULL;
	leaving = s->phase == SESSION_LEAVING ||
	    s->phase == SESSION_LOGGING_OUT;
	if ((pdu = next_answer(s)) != NULL ||
	    (pdu = leaving ? next_logout(s) : next_immediate(s)) != NULL ||
	    (pdu = next_burst(s)) != NULL ||
	    (pdu = next_data(s)) != NULL)
		return pdu;
	/* Nothing may be requested behind a Logout (section 11.14). */
	if (s->phase != SESSION_UP || gap_open(s) ||
	    abort_holds_all(s->tmf) || !sn_window_open(&s->sn))
		return NULL;
	pdu = next_text(s);
	return pdu != NULL ? pdu : next_command(s);
}

/* The pump's `restamp`: the kernel took nothing of this PDU yet. */
void
session_tx_restamp(void *arg, struct txpdu *pdu)
{
	struct session *s = arg;

	if (s->phase != SESSION_LOGGING_IN)
		sn_restamp(&s->sn, pdu->bhs);
}

/* The pump's `on_wire`. */
void
session_tx_on_wire(void *arg, struct txpdu *pdu)
{
	struct session *s = arg;
	struct task *t = pdu->task;

	hdrring_add(s->headers, true, pdu->bhs);
	if (t == NULL)
		return;
	pdu->task = NULL;
	t->state = TASK_SENT;
	task_watch_answer(t);
}

/* The pump's `on_sent`. */
void
session_tx_on_sent(void *arg, struct txpdu *pdu)
{
	struct session *s = arg;

	txpdu_release(pdu);
	if (s->npaused > 0)
		resume_paused(s);
}

/* --- the end --- */

/* The connection is gone: forget what no task owns. */
void
session_tx_clear(struct session *s)
{
	struct txpdu *pdu;

	while ((pdu = STAILQ_FIRST(&s->answers)) != NULL) {
		STAILQ_REMOVE_HEAD(&s->answers, link);
		txpdu_free(s->worker, pdu);
	}
	s->nanswers = s->npongs = 0;
	txpdu_free(s->worker, s->login_pdu);
	s->login_pdu = NULL;
	if (s->npaused > 0)
		resume_paused(s);
}
