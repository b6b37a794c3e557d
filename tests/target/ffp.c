/* SPDX-License-Identifier: ISC */
/*
 * The full feature phase: checks what every PDU must keep (sequence numbers,
 * tags, RFC 7143 section 4.2.2), then hands it to what its opcode is for.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "proto/serial.h"
#include "tests/target/alloc.h"
#include "tests/target/conn.h"

static bool
has_cmdsn(uint8_t opcode)
{
	return opcode != ISCSI_OP_DATA_OUT && opcode != ISCSI_OP_SNACK_REQ;
}

/*
 * MaxCmdSN never decreases (section 4.2.2.1): the window closes as ExpCmdSN
 * catches up.
 */
void
ffp_open_window(struct conn *c)
{
	uint32_t max;

	max = c->exp_cmdsn + c->target->queue_depth - c->live - 1;
	if (serial_lt(c->max_cmdsn, max))
		c->max_cmdsn = max;
}

void
ffp_reject(struct conn *c, uint8_t reason)
{
	struct out *o = out_new(c, ISCSI_OP_REJECT);

	o->bhs[ISCSI_OFF_RESPONSE] = reason;
	put_be32(o->bhs + ISCSI_OFF_ITT, ISCSI_TAG_NONE);
	out_copy(o, c->rx.bhs, ISCSI_BHS_LEN);
	out_queue(c, o, SN_CONSUME);
	c->target->counters.rejects++;
}

/* --- Gaps in CmdSN, which only a Reject by order of a test makes */

static bool
gap_open(const struct conn *c)
{
	return c->next_cmdsn != c->exp_cmdsn;
}

static int
deferred_end(struct conn *c)
{
	/* Everything was received in place, deferred_header() made it. */
	(void)c;
	return 0;
}

static int
deferred_header(struct conn *c)
{
	uint32_t len = iscsi_dsl(c->rx.bhs);
	struct deferred *d = xalloc(sizeof(*d) + len);

	memcpy(d->bhs, c->rx.bhs, ISCSI_BHS_LEN);
	d->len = len;
	STAILQ_INSERT_TAIL(&c->deferred, d, link);
	c->rx.dst = d->data;
	c->rx.room = len;
	c->rx.end = deferred_end;
	return 0;
}

static bool
deferred_has(const struct conn *c, uint32_t itt)
{
	const struct deferred *d;

	STAILQ_FOREACH(d, &c->deferred, link)
		if (iscsi_itt(d->bhs) == itt)
			return true;
	return false;
}

static int ffp_dispatch(struct conn *c);

/* What a filled gap has made due; called between two PDUs. */
static int
deferred_replay(struct conn *c)
{
	struct deferred *d;
	int r = 0;

	while (r == 0 && (d = STAILQ_FIRST(&c->deferred)) != NULL) {
		if (has_cmdsn(iscsi_opcode(d->bhs))) {
			if (get_be32(d->bhs + ISCSI_OFF_CMDSN) != c->exp_cmdsn)
				return 0;
			c->exp_cmdsn++;
		}
		STAILQ_REMOVE_HEAD(&c->deferred, link);
		memset(&c->rx, 0, sizeof(c->rx));
		c->rx.bhs = d->bhs;
		r = ffp_dispatch(c);
		if (r == 0 && c->rx.dst != NULL && d->len > 0)
			memcpy(c->rx.dst, d->data,
			    d->len < c->rx.room ? d->len : c->rx.room);
		if (r == 0 && c->rx.end != NULL)
			r = c->rx.end(c);
		free(c->rx.owned);
		memset(&c->rx, 0, sizeof(c->rx));
		free(d);
	}
	return r;
}

/* --- Sequence numbers */

/* Returns 1 if the PDU must wait behind a gap. */
static int
check_cmdsn(struct conn *c)
{
	const uint8_t *bhs = c->rx.bhs;
	uint8_t opcode = iscsi_opcode(bhs);
	uint32_t sn = get_be32(bhs + ISCSI_OFF_CMDSN);

	if (iscsi_is_immediate(bhs)) {
		if (sn == c->next_cmdsn || opcode == ISCSI_OP_NOP_OUT)
			return 0;
		return conn_tolerate(c, "immediate opcode 0x%02x with CmdSN "
		    "%08x, not %08x", opcode, sn, c->next_cmdsn);
	}
	if (serial_lt(c->max_cmdsn, sn))
		return conn_protocol_error(c, "CmdSN %08x above MaxCmdSN %08x",
		    sn, c->max_cmdsn);
	if (sn == c->exp_cmdsn) {
		if (!gap_open(c))
			c->next_cmdsn++;
		c->exp_cmdsn++;
		return 0;
	}
	if (gap_open(c) && sn == c->next_cmdsn) {
		c->next_cmdsn++;
		return 1;
	}
	return conn_protocol_error(c, "%s: CmdSN %08x of opcode 0x%02x, "
	    "not %08x", serial_lt(sn, c->exp_cmdsn) ? "duplicate" : "gap", sn,
	    opcode, c->exp_cmdsn);
}

static int
check_expstatsn(struct conn *c)
{
	uint32_t sn = get_be32(c->rx.bhs + ISCSI_OFF_EXPSTATSN);

	if (serial_lt(c->statsn, sn))
		return conn_tolerate(c, "ExpStatSN %08x of opcode 0x%02x, "
		    "next StatSN is %08x", sn, iscsi_opcode(c->rx.bhs),
		    c->statsn);
	if (serial_lt(sn, c->acked_statsn))
		return conn_tolerate(c, "ExpStatSN %08x of opcode 0x%02x "
		    "after %08x", sn, iscsi_opcode(c->rx.bhs),
		    c->acked_statsn);
	c->acked_statsn = sn;
	return 0;
}

static int
check_itt(struct conn *c)
{
	uint8_t opcode = iscsi_opcode(c->rx.bhs);
	uint32_t itt = iscsi_itt(c->rx.bhs);

	if (itt == ISCSI_TAG_NONE)
		return opcode == ISCSI_OP_NOP_OUT ? 0 : conn_protocol_error(c,
		    "opcode 0x%02x with ITT ffffffff", opcode);
	if (opcode == ISCSI_OP_DATA_OUT)
		return 0;
	if (task_forgotten(c, itt))
		return 0;
	if (task_find(c, itt) != NULL || deferred_has(c, itt))
		return conn_protocol_error(c, "opcode 0x%02x with ITT %08x "
		    "that is in use", opcode, itt);
	if (c->text.buf != NULL && c->text.itt == itt &&
	    opcode != ISCSI_OP_TEXT_REQ)
		return conn_protocol_error(c, "opcode 0x%02x with the ITT of "
		    "the Text Request", opcode);
	return 0;
}

/* --- Dispatch */

static int
ffp_dispatch(struct conn *c)
{
	uint8_t opcode = iscsi_opcode(c->rx.bhs);

	if (c->discovery && opcode != ISCSI_OP_TEXT_REQ &&
	    opcode != ISCSI_OP_LOGOUT_REQ && opcode != ISCSI_OP_NOP_OUT)
		return conn_protocol_error(c,
		    "opcode 0x%02x in discovery session", opcode);
	switch (opcode) {
	case ISCSI_OP_NOP_OUT:
		return nop_out_header(c);
	case ISCSI_OP_SCSI_CMD:
		return cmd_header(c);
	case ISCSI_OP_TMF_REQ:
		return tmf_header(c);
	case ISCSI_OP_TEXT_REQ:
		return text_header(c);
	case ISCSI_OP_DATA_OUT:
		return data_out_header(c);
	case ISCSI_OP_LOGOUT_REQ:
		return logout_header(c);
	default:
		/* Login after login; SNACK at ErrorRecoveryLevel 0. */
		return conn_protocol_error(c,
		    "opcode 0x%02x in full feature phase", opcode);
	}
}

/* By order of a test; `gap`: its CmdSN counts as never received. */
static int
ffp_rejected(struct conn *c)
{
	struct manners *m = &c->target->manners;
	uint8_t opcode = iscsi_opcode(c->rx.bhs);

	m->reject = false;
	c->rx.rejected = true;
	if (opcode == ISCSI_OP_DATA_OUT)
		return data_out_lost(c);
	c->rejected_itt = iscsi_itt(c->rx.bhs);
	if (m->reject_gap && has_cmdsn(opcode) &&
	    !iscsi_is_immediate(c->rx.bhs))
		c->exp_cmdsn--;
	return 0;
}

int
ffp_header(struct conn *c)
{
	uint8_t opcode = iscsi_opcode(c->rx.bhs);
	int wait = 0;
	int r;

	if ((r = check_expstatsn(c)) < 0 || (r = check_itt(c)) < 0)
		return r;
	if (opcode == ISCSI_OP_DATA_OUT)
		wait = deferred_has(c, iscsi_itt(c->rx.bhs));
	else if (has_cmdsn(opcode) && (wait = check_cmdsn(c)) < 0)
		return wait;
	if (c->target->manners.reject &&
	    c->target->manners.reject_opcode == opcode && !wait)
		return ffp_rejected(c);
	return wait ? deferred_header(c) : ffp_dispatch(c);
}

int
ffp_end(struct conn *c)
{
	int r = 0;

	if (c->rx.rejected)
		ffp_reject(c, c->target->manners.reject_reason);
	if (c->rx.end != NULL)
		r = c->rx.end(c);
	free(c->rx.owned);
	c->rx.owned = NULL;
	if (r == 0 && !STAILQ_EMPTY(&c->deferred) && c->phase == CONN_FULL)
		r = deferred_replay(c);
	return r;
}
