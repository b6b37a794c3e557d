/* SPDX-License-Identifier: ISC */
/*
 * What a PDU of the target means, and who gets it.  First the numbers, then
 * the tag, then the opcode.  A target that breaks the protocol loses its own
 * session and nothing else.
 */
#include "config.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "daemon/sense.h"
#include "daemon/session_internal.h"
#include "proto/iscsi.h"

#define STATUS_CHECK_CONDITION 0x02

/* --- to the client --- */

/*
 * Hand a PDU to the task's client with its own tag.  With `final` the task's
 * charge goes along and the task leaves its client.
 */
static void
deliver(struct task *t, struct rxpdu *pdu, bool final)
{
	struct attachment *a = t->owner;
	struct session_delivery d = {
		.cookie = t->cookie,
		.bhs = pdu->bhs, .ahs = pdu->ahs, .ahs_len = pdu->ahs_len,
		.data = pdu->data,
	};

	if (a == NULL)
		return;
	if (iscsi_opcode(pdu->bhs) != ISCSI_OP_REJECT)
		put_be32(pdu->bhs + ISCSI_OFF_ITT, t->client_itt);
	if (final) {
		d.charge = task_take_charge(t);
		t->session->stats.outcomes[0]++;
		task_orphan(t);
	}
	a->ops->on_pdu(a->arg, &d);
}

/* --- SCSI tasks --- */

/* A unit attention is given once per nexus: tell those who did not see it. */
static void
watch_sense(struct task *t, const struct rxpdu *pdu)
{
	struct msg_event e = {
		.kind = MSG_EVENT_UNIT_ATTENTION, .count = 1, .lun = t->lun,
	};
	struct sense sense;

	if (pdu->bhs[ISCSI_OFF_RESPONSE] != 0 ||
	    pdu->bhs[ISCSI_OFF_STATUS] != STATUS_CHECK_CONDITION ||
	    !sense_read(pdu->data, &sense) ||
	    sense.key != SENSE_KEY_UNIT_ATTENTION)
		return;
	e.code = sense.asc;
	snprintf(e.text, sizeof(e.text), "unit attention 0x%02x/0x%02x",
	    e.code >> 8, e.code & 0xff);
	session_event(t->session, &e, t->owner);
}

/* What a target that keeps to MaxOutstandingR2T can make us queue. */
static uint64_t
answers_max(const struct session *s)
{
	return SESSION_PONGS_MAX + (uint64_t)router_count(s->router) *
	    (s->params.max_r2t + 1);
}

static void
on_r2t(struct task *t, struct rxpdu *pdu)
{
	struct session *s = t->session;

	if (r2t_add(t, iscsi_ttt(pdu->bhs),
	    get_be32(pdu->bhs + ISCSI_OFF_BUFFER_OFFSET),
	    get_be32(pdu->bhs + ISCSI_OFF_DESIRED_LEN)) == NULL) {
		session_fail(s, "no memory for an R2T");
		return;
	}
	if (t->end != TASK_END_NONE) {
		abort_cut_data(t);
		if (s->nanswers > answers_max(s))
			session_fail(s, "the target sends R2Ts faster than it "
			    "takes the answers");
		return;
	}
	task_watch_progress(t);
	deliver(t, pdu, false);
}

static void
on_text(struct task *t, struct rxpdu *pdu)
{
	bool final = iscsi_is_final(pdu->bhs);
	/* The next request may be wanted, or wait for the window. */
	bool asked = !t->text_more && t->pdu == NULL;

	t->text_more = !final && iscsi_ttt(pdu->bhs) != ISCSI_TAG_NONE;
	t->text_ttt = iscsi_ttt(pdu->bhs);
	t->rx_bytes += pdu->data->len;
	if (!asked || t->rx_bytes > TASK_CHARGE_TEXT ||
	    (!final && !t->text_more)) {
		session_fail(t->session, "the target sent a Text Response "
		    "that nobody asked for, or that leads nowhere, or more "
		    "than %d bytes of text", TASK_CHARGE_TEXT);
		return;
	}
	deliver(t, pdu, final);
	if (final)
		abort_retire(t);
	else
		task_watch_progress(t);
}

static void
on_client_task(struct task *t, struct rxpdu *pdu)
{
	struct session *s = t->session;
	uint8_t opcode = iscsi_opcode(pdu->bhs);
	bool final = iscsi_is_final(pdu->bhs);

	if ((iscsi_opcode_traits(opcode) & ISCSI_T_NODATA) != 0) {
		s->stats.ignored_data += pdu->data->len;
		slices_clear(s->worker->pool, pdu->data);
		iscsi_set_dsl(pdu->bhs, 0);
	}
	if (opcode == ISCSI_OP_TEXT_RSP) {
		on_text(t, pdu);
		return;
	}
	if (!session_intake_pdu(t, pdu))
		return;
	if (opcode == ISCSI_OP_R2T) {
		on_r2t(t, pdu);
		return;
	}
	if (opcode == ISCSI_OP_TMF_RSP)
		abort_tmf_response(t, pdu->bhs[ISCSI_OFF_RESPONSE]);
	if (opcode == ISCSI_OP_SCSI_RSP)
		watch_sense(t, pdu);
	deliver(t, pdu, final);
	/* All connections of the target end with it (section 11.5.1). */
	if (t->function == ISCSI_TMF_TARGET_COLD_RESET &&
	    opcode == ISCSI_OP_TMF_RSP && pdu->bhs[ISCSI_OFF_RESPONSE] == 0)
		session_fail(s, "TARGET COLD RESET was answered: function "
		    "complete");
	if (final)
		abort_retire(t);
}

/* --- the daemon's own tasks --- */

/* The connection goes in any case; what the target made of it is logged. */
static void
check_logout(struct session *s, uint8_t response)
{
	if (response != 0)
		log_warn(s->log, "session %s: Logout Response: %s",
		    s->config->name, iscsi_logout_response_name(response));
}

static void
on_daemon_task(struct task *t, struct rxpdu *pdu)
{
	struct session *s = t->session;
	bool asked;

	switch (t->kind) {
	case TASK_ABORT:
		abort_response(t, pdu->bhs[ISCSI_OFF_RESPONSE]);
		break;
	case TASK_LOGOUT:
		check_logout(s, pdu->bhs[ISCSI_OFF_RESPONSE]);
		task_free(t);
		session_step(s, SESSION_EV_LOGGED_OUT);
		break;
	case TASK_PING:
		keepalive_answered(t, pdu);
		break;
	case TASK_NEGOTIATE:
		negotiate_response(t, pdu);
		break;
	default:
		asked = s->gap.asked == t;
		task_free(t);
		if (asked)
			gap_answered(s);
		break;
	}
}

/* --- PDUs with the reserved tag --- */

static void
on_ping(struct session *s, const struct rxpdu *pdu)
{
	uint8_t bhs[ISCSI_BHS_LEN] = {
		[ISCSI_OFF_OPCODE] = ISCSI_OP_NOP_OUT | ISCSI_IMMEDIATE,
		[ISCSI_OFF_FLAGS] = ISCSI_FLAG_FINAL,
	};

	if (iscsi_ttt(pdu->bhs) == ISCSI_TAG_NONE)
		return;
	memcpy(bhs + ISCSI_OFF_LUN, pdu->bhs + ISCSI_OFF_LUN, 8);
	put_be32(bhs + ISCSI_OFF_ITT, ISCSI_TAG_NONE);
	put_be32(bhs + ISCSI_OFF_TTT, iscsi_ttt(pdu->bhs));
	if (s->npongs >= SESSION_PONGS_MAX || session_tx_answer(s, bhs) != 0)
		session_fail(s, "the target pings faster than it takes the "
		    "answers");
	else
		s->stats.pings_answered++;
}

/* True if a Reject of this embedded PDU is the last word on its task. */
static bool
reject_ends(const struct task *t, const uint8_t *rejected)
{
	return iscsi_opcode(rejected) == t->opcode;
}

/* Put the client's tags and numbers back into the embedded header. */
static void
unmap_rejected(struct task *t, uint8_t *rejected)
{
	struct session *s = t->session;
	struct router_slot *slot = NULL;
	uint32_t ref = ISCSI_TAG_NONE;

	put_be32(rejected + ISCSI_OFF_ITT, t->client_itt);
	if (!reject_ends(t, rejected)) {
		put_be32(rejected + ISCSI_OFF_EXPSTATSN, 0);
		return;
	}
	put_be32(rejected + ISCSI_OFF_CMDSN, t->client_sns[0]);
	put_be32(rejected + ISCSI_OFF_EXPSTATSN, t->client_sns[1]);
	if (t->opcode != ISCSI_OP_TMF_REQ || t->ref_itt == ISCSI_TAG_NONE)
		return;
	if (router_find(s->router, t->ref_itt, &slot) == ROUTER_LIVE)
		ref = ((struct task *)(void *)slot)->client_itt;
	put_be32(rejected + ISCSI_OFF_RTT, ref);
}

/*
 * Give the client a copy of the Reject in its own terms.  False if memory is
 * short: the session is lost, and the task with it.
 */
static bool
deliver_reject(struct task *t, struct rxpdu *pdu, uint8_t *rejected, bool ends)
{
	struct session *s = t->session;
	struct slices data;
	struct rxpdu copy = *pdu;

	unmap_rejected(t, rejected);
	slices_init(&data);
	if (slices_add_copy(s->worker->pool, &data, rejected,
	    ISCSI_BHS_LEN) != 0) {
		session_fail(s, "no memory for a Reject");
		return false;
	}
	copy.data = &data;
	put_be32(copy.bhs + ISCSI_OFF_ITT, ISCSI_TAG_NONE);
	iscsi_set_dsl(copy.bhs, ISCSI_BHS_LEN);
	deliver(t, &copy, ends);
	slices_clear(s->worker->pool, &data);
	return true;
}

/* A rejected request of the daemon's own is as good as answered. */
static void
reject_daemon_task(struct task *t, uint8_t reason)
{
	struct session *s = t->session;

	if (t->kind == TASK_ABORT)
		abort_response(t, 0xff);
	else if (t->kind == TASK_LOGOUT)
		session_fail(s, "the target rejected the Logout Request");
	else if (t->kind == TASK_PING)
		keepalive_rejected(t);
	else if (t->kind == TASK_NEGOTIATE)
		negotiate_rejected(t);
	else if (s->phase == SESSION_UP &&
	    reason != ISCSI_REJECT_WAITING_FOR_LOGOUT)
		session_fail(s, "the target rejected a NOP-Out: %s",
		    iscsi_reject_reason_name(reason));
	else
		task_free(t);
}

/*
 * A target that waits for a Logout rejects what would ask for its numbers,
 * too, and after the Logout they begin anew: then no gap is looked for.
 */
static bool
leaves_gap(const struct task *t, uint8_t reason)
{
	return !t->immediate && t->session->phase == SESSION_UP &&
	    reason != ISCSI_REJECT_WAITING_FOR_LOGOUT;
}

static void
on_rejected_task(struct task *t, struct rxpdu *pdu, uint8_t *rejected)
{
	struct session *s = t->session;
	uint8_t reason = pdu->bhs[ISCSI_OFF_RESPONSE];
	bool ends = reject_ends(t, rejected);

	log_info(s->log, "session %s: the target rejected a %s: %s",
	    s->config->name, iscsi_opcode_name(iscsi_opcode(rejected)),
	    iscsi_reject_reason_name(reason));
	if (ends && leaves_gap(t, reason) && gap_rejected(s, t->cmdsn) != 0) {
		session_fail(s, "the target rejects everything");
		return;
	}
	if (t->kind != TASK_CLIENT) {
		if (ends)
			reject_daemon_task(t, reason);
		return;
	}
	if (!ends && !session_intake_one(t))
		return;
	if (deliver_reject(t, pdu, rejected, ends) && ends)
		abort_retire(t);
}

/*
 * RFC 7143 section 11.17: the header of the rejected PDU is in the data
 * segment, with the wire's tag.
 */
static void
on_reject(struct session *s, struct rxpdu *pdu)
{
	uint8_t rejected[ISCSI_BHS_LEN], reason;
	struct router_slot *slot = NULL;

	reason = pdu->bhs[ISCSI_OFF_RESPONSE];
	s->stats.rejects++;
	if (slices_copy(pdu->data, rejected, sizeof(rejected)) <
	    sizeof(rejected) || router_find(s->router, iscsi_itt(rejected),
	    &slot) != ROUTER_LIVE ||
	    ((struct task *)(void *)slot)->state != TASK_SENT) {
		log_warn(s->log, "session %s: Reject (%s) of a PDU that is "
		    "not ours", s->config->name,
		    iscsi_reject_reason_name(reason));
		return;
	}
	on_rejected_task((struct task *)(void *)slot, pdu, rejected);
	/* As good as an Async Message that asks for it (section 11.17.1). */
	if (reason == ISCSI_REJECT_WAITING_FOR_LOGOUT)
		async_waits_for_logout(s);
}

/* A copy, with the target's tags, for each client that asked for it. */
static void
tell_unsolicited(struct session *s, const struct rxpdu *pdu)
{
	struct attachment *a, *next;
	struct slices data;

	TAILQ_FOREACH_SAFE(a, &s->attachments, link, next) {
		struct session_delivery d = {
			.bhs = pdu->bhs, .ahs = pdu->ahs,
			.ahs_len = pdu->ahs_len, .data = &data,
		};

		if ((a->events & 1u << MSG_EVENT_UNSOLICITED) == 0)
			continue;
		slices_init(&data);
		if (slices_share(s->worker->pool, &data, pdu->data) == 0)
			a->ops->on_pdu(a->arg, &d);
		else
			session_fail(s, "no memory for an unsolicited PDU");
		slices_clear(s->worker->pool, &data);
	}
}

static void
on_reserved_tag(struct session *s, struct rxpdu *pdu)
{
	uint8_t opcode = iscsi_opcode(pdu->bhs);

	tell_unsolicited(s, pdu);
	switch (opcode) {
	case ISCSI_OP_NOP_IN:
		on_ping(s, pdu);
		break;
	case ISCSI_OP_ASYNC:
		async_message(s, pdu);
		break;
	case ISCSI_OP_REJECT:
		on_reject(s, pdu);
		break;
	default:
		session_fail(s, "the target sent a %s with the reserved tag",
		    iscsi_opcode_name(opcode));
		break;
	}
}

/* --- dispatch --- */

/* True for an opcode that RFC 7143 leaves to vendors. */
static bool
is_vendor(uint8_t opcode)
{
	return opcode >= 0x3c && opcode <= 0x3e;
}

/* A client may know what it means; the daemon does not. */
static void
on_vendor_pdu(struct task *t, struct rxpdu *pdu)
{
	if (t->kind != TASK_CLIENT || t->state != TASK_SENT)
		t->session->stats.stale_pdus++;
	else if (session_intake_charged(t, pdu))
		deliver(t, pdu, false);
}

static void
on_task_pdu(struct session *s, struct rxpdu *pdu)
{
	uint8_t opcode = iscsi_opcode(pdu->bhs);
	uint32_t itt = iscsi_itt(pdu->bhs);
	struct router_slot *slot = NULL;
	struct task *t;

	switch (router_find(s->router, itt, &slot)) {
	case ROUTER_STALE:
		s->stats.stale_pdus++;
		return;
	case ROUTER_NEVER:
		session_fail(s, "the target sent a %s with tag 0x%08" PRIx32
		    " that was never used", iscsi_opcode_name(opcode), itt);
		return;
	case ROUTER_LIVE:
		break;
	}
	t = (struct task *)(void *)slot;
	if (t->answered) {
		s->stats.stale_pdus++;
		return;
	}
	if (is_vendor(opcode)) {
		on_vendor_pdu(t, pdu);
		return;
	}
	if (t->state != TASK_SENT || !iscsi_response_fits(t->opcode, opcode)) {
		session_fail(s, "the target answered a %s with a %s",
		    iscsi_opcode_name(t->opcode), iscsi_opcode_name(opcode));
		return;
	}
	if (t->kind == TASK_CLIENT)
		on_client_task(t, pdu);
	else
		on_daemon_task(t, pdu);
}

/* A PDU of the full feature phase. */
static void
take_pdu(struct session *s, struct rxpdu *pdu)
{
	uint8_t opcode = iscsi_opcode(pdu->bhs);

	if (is_vendor(opcode) && iscsi_itt(pdu->bhs) == ISCSI_TAG_NONE) {
		s->stats.stale_pdus++;
		return;
	}
	if (sn_consume(&s->sn, pdu->bhs) != SN_OK) {
		session_fail(s, "StatSN of a %s is %" PRIu32 ", expected %"
		    PRIu32 ": a PDU was lost", iscsi_opcode_name(opcode),
		    get_be32(pdu->bhs + ISCSI_OFF_STATSN), s->sn.expstatsn);
		session_log_headers(s);
		return;
	}
	keepalive_heard(s);
	if (sn_ack_due(&s->sn) && !loop_timer_armed(s->ack_timer))
		loop_timer_set(s->ack_timer, SESSION_ACK_DELAY_MS);
	/* The tag of a Reject is reserved, whatever a target puts there. */
	if (iscsi_itt(pdu->bhs) == ISCSI_TAG_NONE || opcode == ISCSI_OP_REJECT)
		on_reserved_tag(s, pdu);
	else
		on_task_pdu(s, pdu);
	session_drain(s);
	/* The window may have opened. */
	if (s->pump != NULL)
		pump_kick(s->pump);
}

/* The pump's `on_pdu`. */
void
session_rx_pdu(void *arg, struct rxpdu *pdu)
{
	struct session *s = arg;
	uint8_t opcode = iscsi_opcode(pdu->bhs);

	hdrring_add(s->headers, false, pdu->bhs);
	if (s->phase == SESSION_LOGGING_IN) {
		session_login_pdu(s, pdu);
		return;
	}
	if (!session_talks(s))
		return;
	take_pdu(s, pdu);
	/* These two end a session by the rules. */
	if (!session_talks(s) && opcode != ISCSI_OP_ASYNC &&
	    opcode != ISCSI_OP_LOGOUT_RSP)
		session_log_headers(s);
}
