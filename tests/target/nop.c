/* SPDX-License-Identifier: ISC */
/*
 * PDUs that concern no task: NOP in both directions, Asynchronous Message and
 * Logout (RFC 7143 sections 11.9, 11.14, 11.18 and 11.19).
 */
#include "config.h"

#include "tests/target/alloc.h"
#include "tests/target/conn.h"
#include "tests/target/ctl.h"

void
nop_in_send(struct conn *c, uint32_t ttt, uint64_t lun)
{
	struct out *o = out_new(c, ISCSI_OP_NOP_IN);

	put_be64(o->bhs + ISCSI_OFF_LUN, lun);
	put_be32(o->bhs + ISCSI_OFF_ITT, ISCSI_TAG_NONE);
	put_be32(o->bhs + ISCSI_OFF_TTT, ttt);
	out_queue(c, o, SN_NEXT);
}

void
async_send(struct conn *c, uint8_t event, uint16_t p1, uint16_t p2, uint16_t p3)
{
	struct out *o = out_new(c, ISCSI_OP_ASYNC);
	uint8_t sense[2 + SCSI_SENSE_LEN];

	put_be32(o->bhs + ISCSI_OFF_ITT, ISCSI_TAG_NONE);
	o->bhs[ISCSI_OFF_ASYNC_EVENT] = event;
	put_be16(o->bhs + 38, p1);
	put_be16(o->bhs + 40, p2);
	put_be16(o->bhs + 42, p3);
	/* Event 0 reports sense data (section 11.9.1). */
	if (event == 0) {
		put_be16(sense, SCSI_SENSE_LEN);
		scsi_sense(sense + 2, SCSI_KEY_UNIT_ATTENTION, p1);
		out_copy(o, sense, sizeof(sense));
	}
	out_queue(c, o, SN_CONSUME);
	c->target->counters.asyncs++;
}

/* Receive the data segment into a buffer of its own. */
static void
nop_receive(struct conn *c, uint32_t len)
{
	c->rx.owned = xalloc(len);
	c->rx.dst = c->rx.owned;
	c->rx.room = len;
}

static int
nop_end(struct conn *c)
{
	const uint8_t *bhs = c->rx.bhs;
	uint32_t len = iscsi_dsl(bhs);
	struct out *o;

	if (iscsi_itt(bhs) == ISCSI_TAG_NONE)
		return 0;
	o = out_new(c, ISCSI_OP_NOP_IN);
	put_be32(o->bhs + ISCSI_OFF_ITT, iscsi_itt(bhs));
	put_be32(o->bhs + ISCSI_OFF_TTT, ISCSI_TAG_NONE);
	if (len > c->params.max_recv_dsl)
		len = c->params.max_recv_dsl;
	o->owned = c->rx.owned;
	c->rx.owned = NULL;
	o->data = o->owned;
	o->len = len;
	out_queue(c, o, SN_CONSUME);
	return 0;
}

/* The answer to our ping copies TTT and LUN (section 11.18). */
static int
nop_answer(struct conn *c)
{
	const uint8_t *bhs = c->rx.bhs;

	if (iscsi_itt(bhs) != ISCSI_TAG_NONE)
		return conn_protocol_error(c, "NOP-Out with both tags");
	if (!c->ping.outstanding || c->ping.ttt != iscsi_ttt(bhs))
		return conn_protocol_error(c, "NOP-Out answers no ping: "
		    "TTT %08x", iscsi_ttt(bhs));
	if (c->ping.lun != iscsi_lun(bhs))
		return conn_tolerate(c, "NOP-Out with LUN %016llx, the ping "
		    "had %016llx", (unsigned long long)iscsi_lun(bhs),
		    (unsigned long long)c->ping.lun);
	if (iscsi_dsl(bhs) != 0)
		return conn_protocol_error(c, "NOP-Out answer with data");
	c->ping.outstanding = false;
	ctl_ping_answered(c->target, c, bhs);
	return 0;
}

int
nop_out_header(struct conn *c)
{
	const uint8_t *bhs = c->rx.bhs;

	c->target->counters.nop_outs++;
	if (!(bhs[ISCSI_OFF_FLAGS] & ISCSI_FLAG_FINAL))
		return conn_protocol_error(c, "NOP-Out without F bit");
	if (c->discovery)
		return conn_protocol_error(c, "NOP-Out in discovery session");
	if (iscsi_itt(bhs) == ISCSI_TAG_NONE && !iscsi_is_immediate(bhs))
		return conn_protocol_error(c, "NOP-Out without tag and I bit");
	if (iscsi_ttt(bhs) != ISCSI_TAG_NONE)
		return nop_answer(c);
	if (iscsi_itt(bhs) == ISCSI_TAG_NONE && iscsi_dsl(bhs) != 0)
		return conn_protocol_error(c, "NOP-Out without tag has data");
	if (iscsi_dsl(bhs) > 0)
		nop_receive(c, iscsi_dsl(bhs));
	c->rx.end = nop_end;
	return 0;
}

int
logout_header(struct conn *c)
{
	const uint8_t *bhs = c->rx.bhs;
	uint8_t reason = bhs[ISCSI_OFF_FLAGS] & ISCSI_LOGOUT_REASON_MASK;
	struct out *o;

	if (!(bhs[ISCSI_OFF_FLAGS] & ISCSI_FLAG_FINAL))
		return conn_protocol_error(c, "Logout Request without F bit");
	if (iscsi_dsl(bhs) != 0)
		return conn_protocol_error(c, "Logout Request with data");
	if (reason > 2 || (c->discovery && reason != 0))
		return conn_protocol_error(c, "Logout Request with reason %u",
		    reason);
	o = out_new(c, ISCSI_OP_LOGOUT_RSP);
	put_be32(o->bhs + ISCSI_OFF_ITT, iscsi_itt(bhs));
	if (reason == 2)
		o->bhs[ISCSI_OFF_RESPONSE] = 2;
	else if (reason == 1 && get_be16(bhs + ISCSI_OFF_CID) != c->cid)
		o->bhs[ISCSI_OFF_RESPONSE] = 1;
	put_be16(o->bhs + 40, 2);
	c->target->counters.logouts++;
	/* Tasks that are left end with the session (section 7.6). */
	if (o->bhs[ISCSI_OFF_RESPONSE] == 0) {
		task_deinit(c);
		c->phase = CONN_LOGOUT;
	}
	out_queue(c, o, SN_CONSUME);
	return 0;
}
