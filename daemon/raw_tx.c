/* SPDX-License-Identifier: ISC */
/*
 * PDUs of a raw connection's client on their way out: checked, entered into
 * the router, queued in order, written as they are.  And the tasks that end
 * because nobody waits any longer.
 */
#include "config.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/raw_internal.h"
#include "proto/serial.h"

/* --- numbers --- */

/* The CmdSN that the client will use next, as far as its PDUs tell. */
static void
note_cmdsn(struct raw *r, const uint8_t *bhs)
{
	uint32_t next = get_be32(bhs + ISCSI_OFF_CMDSN);

	if ((iscsi_opcode_traits(iscsi_opcode(bhs)) & ISCSI_T_CMDSN) == 0)
		return;
	if (!iscsi_is_immediate(bhs))
		next++;
	if (!r->have_cmdsn || serial_lt(r->params.cmdsn, next))
		r->params.cmdsn = next;
	r->have_cmdsn = true;
}

/* --- may it be sent? --- */

/* What holds for every PDU; `unchecked` lifts it. */
static bool
check(const struct raw *r, const struct txpdu *pdu, struct refusal *why)
{
	uint8_t opcode = iscsi_opcode(pdu->bhs);
	bool login = r->params.phase == MSG_RAW_LOGIN;
	uint32_t max = login ? ISCSI_LOGIN_DSL_MAX : r->params.send_dsl;

	if (raw_flag(r, MSG_RAW_UNCHECKED))
		return true;
	if (login && opcode != ISCSI_OP_LOGIN_REQ)
		return guard_no(why, MSG_R_BAD_OPCODE, "a %s may not be sent "
		    "before the login is through", iscsi_opcode_name(opcode));
	if (max != 0 && pdu->data.len > max)
		return guard_no(why, MSG_R_DATA_LIMIT, "DataSegmentLength %"
		    PRIu32 " exceeds %" PRIu32 ", the longest that the target "
		    "takes", pdu->data.len, max);
	return true;
}

/* --- the router's part --- */

/* True if the target will answer this PDU in a task of its own. */
static bool
opens(const uint8_t *bhs)
{
	uint8_t opcode = iscsi_opcode(bhs);

	if ((iscsi_opcode_traits(opcode) & ISCSI_T_OPENS) == 0 ||
	    iscsi_itt(bhs) == ISCSI_TAG_NONE)
		return false;
	return (opcode != ISCSI_OP_TEXT_REQ && opcode != ISCSI_OP_NOP_OUT) ||
	    iscsi_ttt(bhs) == ISCSI_TAG_NONE;
}

static enum raw_waits
waits_of(const struct raw *r, const uint8_t *bhs, uint8_t expect)
{
	const struct raw_task *t;

	switch (expect) {
	case MSG_EXPECT_NONE:
		return RAW_WAITS_NONE;
	case MSG_EXPECT_ONE:
		return RAW_WAITS_ONE;
	case MSG_EXPECT_MANY:
		return RAW_WAITS_MANY;
	default:
		break;
	}
	t = raw_router_find(r->router, iscsi_itt(bhs));
	if (opens(bhs) && (t == NULL || t->waits == RAW_WAITS_NONE))
		return RAW_WAITS_MANY;
	return RAW_WAITS_NONE;
}

/*
 * Enter the PDU's tag, if it is to be used.  False with `why` filled, and
 * then nothing is charged.
 */
static bool
enter(struct raw *r, struct txpdu *pdu, enum raw_waits waits,
    struct refusal *why)
{
	struct quota_amount charge = { .tasks = 1 };
	uint32_t itt = iscsi_itt(pdu->bhs);
	struct raw_task *t = raw_router_find(r->router, itt);
	bool open = t != NULL && t->waits != RAW_WAITS_NONE;
	char limit[96];

	if (waits != RAW_WAITS_NONE && (open || itt == ISCSI_TAG_NONE))
		return guard_no(why, MSG_R_BAD_ITT, "the Initiator Task Tag "
		    "0x%08" PRIx32 " is %s", itt, open ?
		    "that of an open task" : "reserved");
	if (waits == RAW_WAITS_NONE && (t != NULL || !opens(pdu->bhs)))
		return true;
	if (t != NULL) {
		raw_rx_task_gone(r, t);
		raw_router_register(r->router, t, waits);
		t->opcode = iscsi_opcode(pdu->bhs);
		pdu->task_id = t->id;
		return true;
	}
	if (quota_take(r->owner.quota, &charge, limit, sizeof(limit)) != NULL)
		return guard_no(why, MSG_R_QUOTA, "this would exceed %s",
		    limit);
	t = raw_router_add(r->router, itt, waits);
	if (t == NULL) {
		quota_give(r->owner.quota, &charge);
		return guard_no(why, MSG_R_INTERNAL, "out of memory");
	}
	t->opcode = iscsi_opcode(pdu->bhs);
	t->charged = true;
	pdu->task_id = t->id;
	return true;
}

/* --- Login Requests --- */

/* The daemon's session that this Login Request would reinstate, or NULL. */
static const struct session *
victim(struct raw *r, const uint8_t *bhs, const uint8_t *text, size_t len)
{
	struct loginwatch_nexus nexus;
	const struct session *s;

	for (s = session_next(r->worker, NULL); s != NULL;
	    s = session_next(r->worker, s)) {
		if (session_nexus(s, &nexus) &&
		    loginwatch_names(r->watch, bhs, text, len, &nexus))
			return s;
	}
	return NULL;
}

/* Check, enter and watch a Login Request.  False: it must not be sent. */
static bool
enter_login(struct raw *r, struct txpdu *pdu, enum raw_waits waits,
    struct refusal *why)
{
	uint8_t *text = malloc(pdu->data.len + 1);
	const struct session *s;
	bool ok;

	if (text == NULL)
		return guard_no(why, MSG_R_INTERNAL, "out of memory");
	slices_copy(&pdu->data, text, pdu->data.len);
	s = victim(r, pdu->bhs, text, pdu->data.len);
	if (s != NULL)
		ok = guard_no(why, MSG_R_REINSTATE, "this Login would "
		    "reinstate the daemon's session %s: use another ISID or "
		    "initiator name", session_config(s)->name);
	else
		ok = enter(r, pdu, waits, why);
	if (ok) {
		loginwatch_request(r->watch, pdu->bhs, text, pdu->data.len);
		r->login_begun = true;
	}
	free(text);
	return ok;
}

/* --- deadlines of tasks --- */

static void
arm_task_timer(struct raw *r, uint64_t at)
{
	uint64_t now = loop_now(r->worker->loop);

	if (r->task_timer_at != 0 && r->task_timer_at <= at)
		return;
	r->task_timer_at = at;
	loop_timer_set(r->task_timer, at > now ? at - now : 0);
}

/* Timer: end the tasks whose deadline has passed. */
void
raw_tasks_due(void *arg)
{
	struct raw *r = arg;
	uint64_t now = loop_now(r->worker->loop);
	struct raw_task *t;

	r->task_timer_at = 0;
	for (t = raw_router_next(r->router, NULL); t != NULL;
	    t = raw_router_next(r->router, t)) {
		if (t->deadline_at == 0)
			continue;
		if (t->deadline_at > now)
			arm_task_timer(r, t->deadline_at);
		else
			raw_outcome(r, t, MSG_OUTCOME_TIMED_OUT,
			    MSG_R_DEADLINE, "the deadline passed; the target "
			    "was not told", false);
	}
}

/*
 * Tell the client that nobody waits for its task any more.  With `over` the
 * tag is free, too; without, its PDU is sent yet if it was not, and so the
 * client must not take it for not-sent.
 */
void
raw_outcome(struct raw *r, struct raw_task *t, enum msg_outcome_code outcome,
    uint16_t reason, const char *text, bool over)
{
	struct msg_outcome o = {
		.outcome = (uint8_t)outcome,
		.flags = over && !t->sent ? MSG_OUTCOME_F_NOT_SENT : 0,
		.tmf_response = MSG_TMF_NO_RESPONSE,
		.reason = reason,
		.itt = t->itt,
	};
	struct quota_amount charge = { .tasks = over && t->charged };
	bool waits = t->waits == RAW_WAITS_ONE || t->waits == RAW_WAITS_MANY;
	uint64_t cookie = t->cookie;

	t->deadline_at = 0;
	if (over) {
		raw_rx_task_gone(r, t);
		raw_router_remove(r->router, t);
	} else {
		raw_router_unregister(r->router, t);
	}
	if (!waits) {
		quota_give(r->owner.quota, &charge);
		return;
	}
	strlcpy(o.text, text, sizeof(o.text));
	r->owner.news->on_outcome(r->owner.arg, cookie, &o, &charge);
}

bool
raw_cancel(struct raw *r, uint8_t by, uint64_t value)
{
	struct raw_task *t = NULL;

	if (by == MSG_CANCEL_ITT) {
		t = raw_router_find(r->router, (uint32_t)value);
	} else {
		while ((t = raw_router_next(r->router, t)) != NULL) {
			if (t->cookie == value && (t->waits == RAW_WAITS_ONE ||
			    t->waits == RAW_WAITS_MANY))
				break;
		}
	}
	if (t == NULL || (t->waits != RAW_WAITS_ONE &&
	    t->waits != RAW_WAITS_MANY))
		return false;
	raw_outcome(r, t, MSG_OUTCOME_ABORTED, MSG_R_CANCELLED,
	    "nobody waits for it any more; the target was not told", false);
	return true;
}

/* --- SUBMIT --- */

static bool
may_submit(struct raw *r, const struct msg_submit_options *o,
    struct refusal *why)
{
	if (r->state != RAW_OPEN)
		return guard_no(why, r->state == RAW_SHARING ? MSG_R_BUSY :
		    MSG_R_BAD_STATE, "the connection is %s",
		    r->state == RAW_SHARING ? "being shared" : "not open");
	if ((o->digests.header || o->digests.data) &&
	    !raw_flag(r, MSG_RAW_UNCHECKED))
		return guard_no(why, MSG_R_NOT_PERMITTED, "digests of one's "
		    "own need the unchecked setting");
	return true;
}

static void
take_options(struct raw *r, struct txpdu *pdu, uint64_t cookie,
    const struct msg_submit_options *o)
{
	struct raw_task *t = raw_router_find(r->router, iscsi_itt(pdu->bhs));
	struct pdu_framing in;

	if (t != NULL && t->id == pdu->task_id) {
		t->cookie = cookie;
		if (o->deadline > 0) {
			t->deadline_at = loop_now(r->worker->loop) +
			    o->deadline;
			arm_task_timer(r, t->deadline_at);
		}
	}
	pdu->own.header = o->digests.header;
	pdu->own.data = o->digests.data;
	memcpy(pdu->own.header_word, o->digests.header_word, CRC32C_SIZE);
	memcpy(pdu->own.data_word, o->digests.data_word, CRC32C_SIZE);
	raw_framing(r, &in, &pdu->framing);
	pdu->framed = true;
}

/* Nothing is refused for its bytes: the client is not read for a while. */
static void
charge(struct raw *r, struct txpdu *pdu)
{
	uint64_t bytes = TXPDU_CHARGE_BASE + pdu->data.len;

	quota_force_out(r->owner.quota, bytes);
	txpdu_charge(pdu, r->owner.quota, bytes);
	if (quota_out_exceeded(r->owner.quota))
		r->paused = true;
}

/* Queue a PDU that is ready to be written as it is. */
void
raw_queue(struct raw *r, struct txpdu *pdu)
{
	note_cmdsn(r, pdu->bhs);
	r->queue_bytes += ISCSI_BHS_LEN + pdu->data.len;
	STAILQ_INSERT_TAIL(&r->queue, pdu, link);
	if (r->write_over)
		raw_fail(r, ETIMEDOUT, "the write deadline has passed");
	else
		pump_kick(r->pump);
}

enum submit_verdict
raw_submit(struct raw *r, struct txpdu *pdu, uint64_t cookie,
    const struct msg_submit_options *o, uint32_t *itt, struct refusal *why)
{
	enum submit_verdict no;
	enum raw_waits waits;

	if (o->free_itt) {
		*itt = raw_router_free_itt(r->router);
		put_be32(pdu->bhs + ISCSI_OFF_ITT, *itt);
	}
	waits = waits_of(r, pdu->bhs, o->expect);
	no = waits == RAW_WAITS_NONE ? SUBMIT_ERROR : SUBMIT_REFUSED;
	pdu->task_id = 0;
	if (!may_submit(r, o, why) || !check(r, pdu, why))
		return no;
	if (iscsi_opcode(pdu->bhs) == ISCSI_OP_LOGIN_REQ ?
	    !enter_login(r, pdu, waits, why) : !enter(r, pdu, waits, why))
		return no;
	take_options(r, pdu, cookie, o);
	charge(r, pdu);
	raw_queue(r, pdu);
	return SUBMIT_ACCEPTED;
}

/* --- the pump --- */

/* The pump's `next`. */
struct txpdu *
raw_tx_next(void *arg)
{
	struct raw *r = arg;
	struct txpdu *pdu = STAILQ_FIRST(&r->queue);

	if (pdu == NULL)
		return NULL;
	STAILQ_REMOVE_HEAD(&r->queue, link);
	r->queue_bytes -= ISCSI_BHS_LEN + pdu->data.len;
	return pdu;
}

/* The pump's `restamp`: a raw PDU bears no stamp of the daemon's. */
void
raw_tx_restamp(void *arg, struct txpdu *pdu)
{
	(void)arg;
	(void)pdu;
}

/* The pump's `on_wire`. */
void
raw_tx_on_wire(void *arg, struct txpdu *pdu)
{
	struct raw *r = arg;
	struct raw_task *t = raw_router_find(r->router, iscsi_itt(pdu->bhs));

	if (t != NULL && t->id == pdu->task_id)
		t->sent = true;
}

/* The pump's `on_sent`. */
void
raw_tx_on_sent(void *arg, struct txpdu *pdu)
{
	struct raw *r = arg;

	txpdu_release(pdu);
	if (!r->paused || quota_out_exceeded(r->owner.quota))
		return;
	r->paused = false;
	r->owner.news->on_room(r->owner.arg);
}

uint64_t
raw_unsent(const struct raw *r)
{
	return r->queue_bytes + (r->pump == NULL ? 0 : pump_unsent(r->pump));
}

static void
give_cmdsn_back(struct txpdu *pdu, void *arg)
{
	uint32_t cmdsn = get_be32(pdu->bhs + ISCSI_OFF_CMDSN);
	struct raw *r = arg;

	if ((iscsi_opcode_traits(iscsi_opcode(pdu->bhs)) & ISCSI_T_CMDSN) !=
	    0 && serial_lt(cmdsn, r->params.cmdsn))
		r->params.cmdsn = cmdsn;
}

/*
 * What is not on the wire will never be: its CmdSNs are those of the next
 * requests, or the target would wait for them.
 */
void
raw_tx_forget(struct raw *r)
{
	struct txpdu *pdu;

	pump_foreach_unsent(r->pump, give_cmdsn_back, r);
	STAILQ_FOREACH(pdu, &r->queue, link)
		give_cmdsn_back(pdu, r);
}

void
raw_tx_clear(struct raw *r)
{
	struct txpdu *pdu;

	while ((pdu = raw_tx_next(r)) != NULL)
		txpdu_free(r->worker, pdu);
}
