/* SPDX-License-Identifier: ISC */
/*
 * The convenience level's answers: Data-In, R2T, SCSI Response, NOP-In, Task
 * Management Function Response and Reject, and what each does to the request
 * whose cookie it bears.
 */
#include "config.h"

#include <sys/param.h>

#include <string.h>

#include "client/lib.h"

void
lib_task_fail(struct iscsimux *h, struct lib_slot *slot, unsigned reason,
    uint8_t response, const char *text)
{
	if (slot->failed)
		return;
	slot->failed = true;
	slot->reason = (uint16_t)reason;
	slot->response = response;
	slot->why = strdup(text);
	slot->cancel = true;
	lib_out_queue(h, slot);
}

void
lib_task_error(struct iscsimux *h, struct lib_slot *slot,
    const struct msg_error *e)
{
	/* Once cancelled it has no right to answer R2Ts. */
	if (slot->cancel)
		return;
	lib_task_fail(h, slot, e->reason, MSG_TMF_NO_RESPONSE, e->text);
}

bool
lib_reject_ends(uint8_t opcode, const uint8_t *data, uint32_t len)
{
	return len >= ISCSI_BHS_LEN && iscsi_opcode(data) == opcode;
}

const uint8_t *
lib_pdu_data(const struct lib_pdu *p)
{
	return p->view != NULL ? p->view : p->store;
}

void
lib_pdu_public(const struct lib_pdu *p, struct iovec *iov,
    struct iscsimux_pdu *out)
{
	memset(out, 0, sizeof(*out));
	out->bhs = p->pdu.bhs;
	out->ahs = iscsi_ahs_len(p->pdu.bhs) > 0 ? p->pdu.ahs : NULL;
	out->ndata = p->have > 0 ? 1 : 0;
	out->data = out->ndata > 0 ? iov : NULL;
	/* The receiver only reads; iovec has no const. */
	iov->iov_base = (void *)(uintptr_t)lib_pdu_data(p);
	iov->iov_len = p->have;
	out->digests.header = p->digests.header;
	out->digests.data = p->digests.data;
	memcpy(out->digests.header_word, p->digests.header_word, 4);
	memcpy(out->digests.data_word, p->digests.data_word, 4);
}

/*
 * ERL 0 and DataPDUInOrder, which the daemon negotiates, make Data-In arrive
 * in order (RFC 7143 section 11.7.5); a hole would go unseen otherwise.
 */
static void
data_in_head(struct iscsimux *h, struct lib_slot *slot, struct lib_pdu *p)
{
	uint32_t off = get_be32(p->pdu.bhs + ISCSI_OFF_BUFFER_OFFSET);
	uint32_t len = iscsi_dsl(p->pdu.bhs);

	p->mode = LIB_RX_SKIP;
	if (slot->failed || len == 0)
		return;
	if (slot->direction != ISCSIMUX_DATA_IN || off > slot->buf.len ||
	    len > slot->buf.len - off)
		lib_task_fail(h, slot, MSG_R_BAD_FIELD, 0,
		    "Data-In for data outside the buffer");
	else if (off != slot->got)
		lib_task_fail(h, slot, MSG_R_BAD_FIELD, 0,
		    "Data-In out of order");
	else {
		p->mode = LIB_RX_PLACE;
		p->offset = off;
	}
}

void
lib_task_head(struct iscsimux *h, struct lib_slot *slot, struct lib_pdu *p)
{
	if (slot->kind == LIB_EXECUTE &&
	    iscsi_opcode(p->pdu.bhs) == ISCSI_OP_DATA_IN)
		data_in_head(h, slot, p);
}

/* SCSI status and residual, which Data-In and SCSI Response share. */
static void
get_status(const struct lib_slot *slot, const uint8_t *bhs,
    struct iscsimux_result *r)
{
	uint32_t moved = slot->buf.len;

	r->status = bhs[ISCSI_OFF_STATUS];
	r->overflow = (bhs[ISCSI_OFF_FLAGS] & ISCSI_RSP_OVERFLOW) != 0;
	r->underflow = (bhs[ISCSI_OFF_FLAGS] & ISCSI_RSP_UNDERFLOW) != 0;
	if (r->overflow || r->underflow)
		r->residual = get_be32(bhs + ISCSI_OFF_RESIDUAL);
	if (r->underflow)
		moved -= MIN(moved, r->residual);
	r->transferred = slot->direction == ISCSIMUX_DATA_IN ?
	    slot->got : moved;
}

/* Data segment: SenseLength, sense, response data (section 11.4.7). */
static void
get_sense(const struct lib_pdu *p, struct iscsimux_result *r)
{
	const uint8_t *data = lib_pdu_data(p);
	size_t len;

	if (p->have < 2)
		return;
	len = MIN((size_t)get_be16(data), p->have - 2);
	if (len == 0)
		return;
	r->sense = data + 2;
	r->sense_len = len;
}

static void
data_in(struct iscsimux *h, struct lib_slot *slot, struct lib_pdu *p)
{
	struct iscsimux_result r = { .text = "" };

	if (p->mode == LIB_RX_PLACE)
		slot->got += p->have;
	if ((p->pdu.bhs[ISCSI_OFF_FLAGS] & ISCSI_DATAIN_STATUS) == 0)
		return;
	get_status(slot, p->pdu.bhs, &r);
	lib_slot_done(h, slot, &r);
}

static void
scsi_response(struct iscsimux *h, struct lib_slot *slot, struct lib_pdu *p)
{
	struct iscsimux_result r = { .text = "" };
	uint8_t response = p->pdu.bhs[ISCSI_OFF_RESPONSE];

	if (response != 0) {
		/* Status and flags mean nothing then (section 11.4.3). */
		r.outcome = ISCSIMUX_FAILED;
		r.response = response;
		r.text = response == 1 ? "target failure" :
		    "a SCSI Response other than command completed";
		r.transferred = slot->direction == ISCSIMUX_DATA_IN ?
		    slot->got : 0;
	} else {
		get_status(slot, p->pdu.bhs, &r);
		get_sense(p, &r);
	}
	lib_slot_done(h, slot, &r);
}

static void
nop_in(struct iscsimux *h, struct lib_slot *slot, struct lib_pdu *p)
{
	struct iscsimux_result r = { .text = "" };

	r.transferred = MIN(p->have, slot->buf.len);
	if (r.transferred > 0)
		memcpy(slot->buf.one.iov_base, lib_pdu_data(p), r.transferred);
	lib_slot_done(h, slot, &r);
}

static void
manage_response(struct iscsimux *h, struct lib_slot *slot, struct lib_pdu *p)
{
	struct iscsimux_result r = { .text = "" };

	r.response = p->pdu.bhs[ISCSI_OFF_RESPONSE];
	lib_slot_done(h, slot, &r);
}

static void
reject(struct iscsimux *h, struct lib_slot *slot, struct lib_pdu *p)
{
	struct iscsimux_result r = { .outcome = ISCSIMUX_FAILED };

	/* A Reject of a Data-Out is followed by the command's own end. */
	if (!lib_reject_ends(slot->opcode, lib_pdu_data(p), p->have))
		return;
	r.response = p->pdu.bhs[ISCSI_OFF_RESPONSE];
	r.text = iscsi_reject_reason_name(r.response);
	lib_slot_done(h, slot, &r);
}

void
lib_task_pdu(struct iscsimux *h, struct lib_slot *slot, struct lib_pdu *p)
{
	uint8_t opcode = iscsi_opcode(p->pdu.bhs);

	if (opcode == ISCSI_OP_REJECT)
		reject(h, slot, p);
	else if (slot->kind == LIB_EXECUTE && opcode == ISCSI_OP_DATA_IN)
		data_in(h, slot, p);
	else if (slot->kind == LIB_EXECUTE && opcode == ISCSI_OP_R2T)
		lib_write_r2t(h, slot, p->pdu.bhs);
	else if (slot->kind == LIB_EXECUTE && opcode == ISCSI_OP_SCSI_RSP)
		scsi_response(h, slot, p);
	else if (slot->kind == LIB_NOP && opcode == ISCSI_OP_NOP_IN)
		nop_in(h, slot, p);
	else if (slot->kind == LIB_MANAGE && opcode == ISCSI_OP_TMF_RSP)
		manage_response(h, slot, p);
	else
		lib_task_fail(h, slot, MSG_R_BAD_OPCODE, 0,
		    "a PDU that answers no such request");
}
