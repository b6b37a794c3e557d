/* SPDX-License-Identifier: ISC */
/*
 * PDUs of the target on a raw connection: what the login settles, whom each is
 * for, and when the connection must not be read because its client does not
 * read.  Nothing in a PDU is changed.
 */
#include "config.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/raw_internal.h"
#include "proto/serial.h"

/* --- numbers --- */

static void
note_numbers(struct raw *r, const uint8_t *bhs)
{
	uint32_t exp = get_be32(bhs + ISCSI_OFF_EXPCMDSN);
	uint32_t max = get_be32(bhs + ISCSI_OFF_MAXCMDSN);

	if (iscsi_consumes_statsn(bhs)) {
		r->params.exp_statsn = get_be32(bhs + ISCSI_OFF_STATSN) + 1;
		r->have_statsn = true;
	}
	if (r->params.exp_cmdsn == 0 || serial_lt(r->params.exp_cmdsn, exp))
		r->params.exp_cmdsn = exp;
	if (r->params.max_cmdsn == 0 || serial_lt(r->params.max_cmdsn, max))
		r->params.max_cmdsn = max;
}

/* --- the login --- */

static void
reframe(struct txpdu *pdu, void *arg)
{
	struct raw *r = arg;
	struct pdu_framing in;

	raw_framing(r, &in, &pdu->framing);
}

/* What SET has set stays; all else is as negotiated. */
static void
take_negotiated(struct raw *r)
{
	const struct loginwatch_result *n = loginwatch_result(r->watch);
	uint32_t given = r->set_mask, flags = 0;

	if (n->header_digest)
		flags |= MSG_RAW_HEADER_DIGEST;
	if (n->data_digest)
		flags |= MSG_RAW_DATA_DIGEST;
	flags &= ~given;
	given &= MSG_RAW_HEADER_DIGEST | MSG_RAW_DATA_DIGEST;
	r->params.flags &= given | ~(uint32_t)(MSG_RAW_HEADER_DIGEST |
	    MSG_RAW_DATA_DIGEST);
	r->params.flags |= flags;
	if ((r->set_mask & MSG_RAW_SET_RECV_DSL) == 0)
		r->params.recv_dsl = n->recv_dsl;
	if ((r->set_mask & MSG_RAW_SET_SEND_DSL) == 0)
		r->params.send_dsl = n->send_dsl;
}

static void
take_nexus(struct raw *r)
{
	const struct loginwatch_result *n = loginwatch_result(r->watch);

	if (n->initial_r2t)
		r->params.flags |= MSG_RAW_INITIAL_R2T;
	if (n->immediate_data)
		r->params.flags |= MSG_RAW_IMMEDIATE_DATA;
	if (n->discovery)
		r->params.flags |= MSG_RAW_DISCOVERY;
	r->params.max_burst = n->max_burst;
	r->params.first_burst = n->first_burst;
	r->params.max_r2t = n->max_outstanding_r2t;
	r->params.tsih = n->tsih;
	memcpy(r->params.isid, n->isid, sizeof(r->params.isid));
	strlcpy(r->params.target, n->target_name, sizeof(r->params.target));
}

/*
 * The final Login Response: both directions switch at the next byte (RFC 7143
 * section 11.13.5), unless the client wants to say when.
 */
static void
logged_in(struct raw *r)
{
	struct txpdu *pdu;

	r->params.phase = MSG_RAW_FULL_FEATURE;
	take_nexus(r);
	if (raw_flag(r, MSG_RAW_MANUAL)) {
		r->held_manual = true;
		raw_hold(r);
		return;
	}
	take_negotiated(r);
	raw_apply_framing(r);
	STAILQ_FOREACH(pdu, &r->queue, link)
		reframe(pdu, r);
	pump_foreach_unsent(r->pump, reframe, r);
	log_debug(r->log, "%s: logged in, digests %s/%s", r->label,
	    raw_flag(r, MSG_RAW_HEADER_DIGEST) ? "CRC32C" : "None",
	    raw_flag(r, MSG_RAW_DATA_DIGEST) ? "CRC32C" : "None");
}

static void
on_login_response(struct raw *r, const struct rxpdu *pdu)
{
	uint8_t *text = malloc(pdu->data->len + 1);
	enum loginwatch_verdict verdict;

	if (text == NULL) {
		raw_fail(r, ENOMEM, "out of memory");
		return;
	}
	slices_copy(pdu->data, text, pdu->data->len);
	verdict = loginwatch_response(r->watch, pdu->bhs, text,
	    pdu->data->len);
	free(text);
	if (verdict == LOGINWATCH_DONE)
		logged_in(r);
	else if (verdict == LOGINWATCH_FAILED)
		r->login_begun = false;
}

/* False: the target may not send this before the login is through. */
static bool
login_phase(struct raw *r, const struct rxpdu *pdu)
{
	uint8_t opcode = iscsi_opcode(pdu->bhs);

	if (opcode == ISCSI_OP_LOGIN_RSP)
		on_login_response(r, pdu);
	else if (opcode != ISCSI_OP_REJECT &&
	    !raw_flag(r, MSG_RAW_UNCHECKED)) {
		raw_fail(r, EPROTO, "the target sent a %s before the login "
		    "was through", iscsi_opcode_name(opcode));
		return false;
	}
	return r->state != RAW_FAILED;
}

/* --- how much waits for the client --- */

/* Read the connection or not, as things are now. */
void
raw_hold(struct raw *r)
{
	if (r->pump == NULL)
		return;
	pump_hold(r->pump, r->held_manual || r->over_quota ||
	    r->full_tasks > 0 || r->strays >= RAW_TASK_PDUS_MAX ||
	    r->undelivered >= RAW_BYTES_MAX);
}

/* The task ends; PDUs of it that still wait count in the sum only. */
void
raw_rx_task_gone(struct raw *r, struct raw_task *t)
{
	if (t->undelivered >= RAW_TASK_PDUS_MAX)
		r->full_tasks--;
	t->undelivered = 0;
}

void
raw_delivered(struct raw *r, const struct session_ticket *ticket)
{
	struct raw_task *t = raw_router_find(r->router, ticket->itt);

	if (ticket->raw != r->serial)
		return;
	r->undelivered -= ticket->bytes;
	if (r->undelivered == 0)
		r->over_quota = false;
	if (ticket->id == 0)
		r->strays--;
	else if (t != NULL && t->id == ticket->id && t->undelivered > 0 &&
	    t->undelivered-- == RAW_TASK_PDUS_MAX)
		r->full_tasks--;
	raw_hold(r);
}

/* Count a PDU that goes to the client, of task `t` or of none. */
static void
count(struct raw *r, struct raw_task *t, struct session_delivery *d)
{
	struct quota_amount in = { .in = d->ticket.bytes };
	char limit[96];

	if (quota_take(r->owner.quota, &in, limit, sizeof(limit)) == NULL)
		d->charge.in = in.in;
	else
		r->over_quota = true;
	r->undelivered += d->ticket.bytes;
	if (t == NULL)
		r->strays++;
	else if (++t->undelivered == RAW_TASK_PDUS_MAX)
		r->full_tasks++;
}

/* --- to the client --- */

static bool
shown_digests(const struct raw *r, const struct rxpdu *pdu,
    struct msg_digests *out)
{
	if (!raw_flag(r, MSG_RAW_SHOW_DIGESTS))
		return false;
	*out = (struct msg_digests){
		.header = pdu->header_digest != NULL,
		.data = pdu->data_digest != NULL,
	};
	if (out->header)
		memcpy(out->header_word, pdu->header_digest, CRC32C_SIZE);
	if (out->data)
		memcpy(out->data_word, pdu->data_digest, CRC32C_SIZE);
	return out->header || out->data;
}

/*
 * Deliver a PDU under the cookie of `t`, or with cookie 0; with `over` it is
 * the last of that task, whose tag is free then.
 */
static void
deliver(struct raw *r, struct raw_task *t, struct rxpdu *pdu, uint16_t flags,
    bool over)
{
	struct msg_digests digests;
	struct session_delivery d = {
		.cookie = t == NULL ? 0 : t->cookie, .flags = flags,
		.bhs = pdu->bhs, .ahs = pdu->ahs, .ahs_len = pdu->ahs_len,
		.data = pdu->data,
		.ticket = {
			.raw = r->serial, .itt = t == NULL ? 0 : t->itt,
			.id = t == NULL ? 0 : t->id,
			.bytes = RAW_PDU_OVERHEAD + pdu->ahs_len +
			    pdu->data->len,
		},
	};

	if (shown_digests(r, pdu, &digests))
		d.digests = &digests;
	count(r, t, &d);
	if (over) {
		d.charge.tasks = t->charged;
		raw_rx_task_gone(r, t);
		raw_router_remove(r->router, t);
	}
	r->owner.news->on_pdu(r->owner.arg, &d);
	raw_hold(r);
}

static void
on_unsolicited(struct raw *r, struct rxpdu *pdu)
{
	enum log_level level;

	if (r->state == RAW_SHARING &&
	    iscsi_opcode(pdu->bhs) == ISCSI_OP_NOP_IN) {
		raw_share_ping(r, pdu);
		return;
	}
	if ((r->owner.events & 1u << MSG_EVENT_UNSOLICITED) != 0) {
		deliver(r, NULL, pdu, 0, false);
		return;
	}
	/* Each is counted; the log is not for the target to fill. */
	level = r->unwanted++ == 0 ? LOG_LEVEL_INFO : LOG_LEVEL_DEBUG;
	log_at(r->log, level, "%s: a %s with the reserved tag, which its "
	    "client did not ask for: %" PRIu64 " so far", r->label,
	    iscsi_opcode_name(iscsi_opcode(pdu->bhs)), r->unwanted);
}

/* A PDU that belongs to no task that somebody waits for. */
static void
on_stray(struct raw *r, struct rxpdu *pdu)
{
	if (iscsi_itt(pdu->bhs) == ISCSI_TAG_NONE)
		on_unsolicited(r, pdu);
	else
		deliver(r, NULL, pdu, FRAME_F_UNMATCHED, false);
}

/* --- routing --- */

/* True if no further PDU of this task follows. */
static bool
is_last(const uint8_t *bhs)
{
	if (iscsi_opcode(bhs) != ISCSI_OP_LOGIN_RSP)
		return iscsi_is_final(bhs);
	return bhs[ISCSI_OFF_LOGIN_STATUS] != 0 ||
	    ((bhs[ISCSI_OFF_FLAGS] & ISCSI_LOGIN_TRANSIT) != 0 &&
	    (bhs[ISCSI_OFF_FLAGS] & 0x03) == ISCSI_STAGE_FULL_FEATURE);
}

/* A PDU with the tag of `t`; `over`: the target is through with it. */
static void
on_task_pdu(struct raw *r, struct raw_task *t, struct rxpdu *pdu, bool over)
{
	bool tasks = over && t->charged;

	switch (t->waits) {
	case RAW_WAITS_DAEMON:
		raw_share_answer(r, t, pdu, over);
		return;
	case RAW_WAITS_NONE:
		if (over) {
			raw_rx_task_gone(r, t);
			raw_router_remove(r->router, t);
			quota_give(r->owner.quota,
			    &(struct quota_amount){ .tasks = tasks });
		}
		deliver(r, NULL, pdu, FRAME_F_UNMATCHED, false);
		return;
	case RAW_WAITS_ONE:
	case RAW_WAITS_MANY:
		if (t->waits == RAW_WAITS_ONE || over) {
			t->deadline_at = 0;
			raw_router_unregister(r->router, t);
		}
		deliver(r, t, pdu, 0, over);
		return;
	}
}

/*
 * A Reject names its task in the header it brings back (RFC 7143 section
 * 11.17); it ends it if that header is the request's own.
 */
static void
on_reject(struct raw *r, struct rxpdu *pdu)
{
	uint8_t rejected[ISCSI_BHS_LEN];
	struct raw_task *t = NULL;

	if (slices_copy(pdu->data, rejected, sizeof(rejected)) ==
	    sizeof(rejected))
		t = raw_router_find(r->router, iscsi_itt(rejected));
	if (t != NULL && t->waits != RAW_WAITS_NONE) {
		on_task_pdu(r, t, pdu, iscsi_opcode(rejected) == t->opcode);
		return;
	}
	on_stray(r, pdu);
	if (t != NULL && iscsi_opcode(rejected) == t->opcode)
		raw_outcome(r, t, MSG_OUTCOME_ABORTED, MSG_R_NONE, "", true);
}

static void
route(struct raw *r, struct rxpdu *pdu)
{
	uint32_t itt = iscsi_itt(pdu->bhs);
	struct raw_task *t;

	if (iscsi_opcode(pdu->bhs) == ISCSI_OP_REJECT) {
		on_reject(r, pdu);
		return;
	}
	t = itt == ISCSI_TAG_NONE ? NULL : raw_router_find(r->router, itt);
	if (t == NULL)
		on_stray(r, pdu);
	else
		on_task_pdu(r, t, pdu, is_last(pdu->bhs));
}

/* The pump's `on_pdu`. */
void
raw_rx_pdu(void *arg, struct rxpdu *pdu)
{
	struct raw *r = arg;

	if (r->state != RAW_OPEN && r->state != RAW_SHARING)
		return;
	if (r->params.phase == MSG_RAW_LOGIN && !login_phase(r, pdu))
		return;
	note_numbers(r, pdu->bhs);
	route(r, pdu);
}
