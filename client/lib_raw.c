/* SPDX-License-Identifier: ISC */
/*
 * The raw level: PDUs go out as they are given and come back as they are.
 * All it knows of iSCSI is lengths, tags and which PDU ends a task.
 */
#include "config.h"

#include <sys/param.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "client/lib.h"

#define CHARGE_TEXT	65536u

/* Do the lengths in the header agree with what is given? */
static int
check_pdu(const struct iscsimux_pdu *pdu)
{
	uint64_t len = 0;
	size_t i;

	if (pdu->bhs == NULL || (pdu->ndata > 0 && pdu->data == NULL) ||
	    (pdu->ahs == NULL) != (pdu->bhs[ISCSI_OFF_AHS] == 0))
		return -EINVAL;
	for (i = 0; i < pdu->ndata; i++) {
		if (pdu->data[i].iov_len > ISCSI_DSL_MAX)
			return -EINVAL;
		len += pdu->data[i].iov_len;
	}
	return len == iscsi_dsl(pdu->bhs) ? 0 : -EINVAL;
}

static int
fill_part(struct lib_slot *slot, struct lib_part *part,
    const struct iscsimux_pdu *pdu, unsigned flags)
{
	uint32_t ahs_len = iscsi_ahs_len(pdu->bhs);

	part->kind = LIB_PART_PDU;
	memcpy(part->bhs, pdu->bhs, ISCSI_BHS_LEN);
	if ((flags & ISCSIMUX_ASSIGN_ITT) != 0)
		put_be32(part->bhs + ISCSI_OFF_ITT, slot->itt);
	if (ahs_len > 0) {
		part->ahs = malloc(ahs_len);
		if (part->ahs == NULL)
			return -ENOMEM;
		memcpy(part->ahs, pdu->ahs, ahs_len);
	}
	part->data = &part->own;
	part->end = iscsi_dsl(pdu->bhs);
	lib_buffer_set_iov(&part->own, pdu->data, pdu->ndata, part->end);
	return 0;
}

static struct lib_charge
charge_of(const struct iscsimux *h, const uint8_t *bhs)
{
	uint32_t edtl = get_be32(bhs + ISCSI_OFF_EDTL);
	uint64_t in = 0, out = iscsi_dsl(bhs);

	switch (iscsi_opcode(bhs)) {
	case ISCSI_OP_SCSI_CMD:
		if ((bhs[ISCSI_OFF_FLAGS] & ISCSI_CMD_READ) != 0)
			in = edtl;
		if ((bhs[ISCSI_OFF_FLAGS] & ISCSI_FLAG_FINAL) == 0)
			out = MAX(out, lib_write_window(h, edtl));
		break;
	case ISCSI_OP_NOP_OUT:
		in = out;
		break;
	case ISCSI_OP_TEXT_REQ:
		in = CHARGE_TEXT;
		break;
	}
	return lib_charge_of(h, in, out);
}

int
iscsimux_submit(struct iscsimux *h, const struct iscsimux_pdu *pdu,
    unsigned flags, uint32_t deadline_ms, iscsimux_answer_fn *answer,
    void *cookie, uint64_t *id)
{
	struct lib_slot *slot;
	int r;

	r = answer == NULL ? -EINVAL : check_pdu(pdu);
	if (r != 0)
		return r;
	slot = lib_slot_take(h, LIB_RAW, charge_of(h, pdu->bhs), &r);
	if (slot == NULL)
		return r;
	r = fill_part(slot, &slot->first, pdu, flags);
	if (r != 0) {
		lib_slot_release(h, slot);
		return r;
	}
	slot->opcode = iscsi_opcode(pdu->bhs);
	slot->itt = iscsi_itt(slot->first.bhs);
	memcpy(slot->lun, pdu->bhs + ISCSI_OFF_LUN, sizeof(slot->lun));
	slot->answer = answer;
	slot->cookie = cookie;
	slot->first.timed = deadline_ms != 0;
	if (deadline_ms != ISCSIMUX_NO_DEADLINE)
		slot->first.deadline = deadline_ms;
	lib_part_add(h, slot, &slot->first);
	if (id != NULL)
		*id = lib_slot_cookie(slot);
	return 0;
}

int
iscsimux_submit_more(struct iscsimux *h, uint64_t id,
    const struct iscsimux_pdu *pdu, unsigned flags)
{
	struct lib_slot *slot;
	struct lib_part *part;
	int r;

	r = check_pdu(pdu);
	if (r != 0)
		return r;
	if (h->fd == -1)
		return -ENOTCONN;
	slot = lib_slot_find(h, id);
	if (slot == NULL || slot->kind != LIB_RAW || slot->cancel)
		return -ENOENT;
	if (slot->nparts >= LIB_MORE_MAX)
		return -EAGAIN;
	part = lib_part_new(h);
	if (part == NULL)
		return -ENOMEM;
	r = fill_part(slot, part, pdu, flags);
	if (r != 0) {
		free(part);
		return r;
	}
	lib_part_add(h, slot, part);
	return 0;
}

static bool
is_final(const struct lib_slot *slot, const struct lib_pdu *p)
{
	if (iscsi_opcode(p->pdu.bhs) == ISCSI_OP_REJECT)
		return lib_reject_ends(slot->opcode, lib_pdu_data(p), p->have);
	return iscsi_is_final(p->pdu.bhs);
}

void
lib_raw_pdu(struct iscsimux *h, struct lib_slot *slot, struct lib_pdu *p,
    bool synthetic)
{
	iscsimux_answer_fn *answer = slot->answer;
	void *cookie = slot->cookie;
	struct iscsimux_pdu pdu;
	struct iovec iov;
	struct iscsimux_answer a = {
		.kind = ISCSIMUX_ANSWER_PDU,
		.pdu = &pdu,
		.synthetic = synthetic,
		.outcome = ISCSIMUX_COMPLETED,
		.text = "",
	};

	lib_pdu_public(p, &iov, &pdu);
	if (is_final(slot, p)) {
		a.kind = ISCSIMUX_ANSWER_FINAL;
		lib_slot_release(h, slot);
	}
	h->calls++;
	answer(h, cookie, &a);
}

void
lib_raw_error(struct iscsimux *h, struct lib_slot *slot,
    const struct msg_error *e)
{
	struct iscsimux_answer a = {
		.kind = ISCSIMUX_ANSWER_ERROR,
		.outcome = ISCSIMUX_REFUSED,
		.reason = (enum iscsimux_reason)e->reason,
		.text = e->text,
	};

	h->calls++;
	slot->answer(h, slot->cookie, &a);
}
