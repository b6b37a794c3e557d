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

static void
set_digests(struct msg_digests *to, const struct iscsimux_digests *from)
{
	to->header = from->header;
	to->data = from->data;
	memcpy(to->header_word, from->header_word, sizeof(to->header_word));
	memcpy(to->data_word, from->data_word, sizeof(to->data_word));
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
	set_digests(&part->options.digests, &pdu->digests);
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

/* The slot's first PDU is filled in: queue it. */
static void
begin(struct iscsimux *h, struct lib_slot *slot, uint32_t deadline_ms,
    iscsimux_answer_fn *answer, void *cookie, uint64_t *id)
{
	struct lib_part *first = &slot->first;

	slot->opcode = iscsi_opcode(first->bhs);
	slot->itt = iscsi_itt(first->bhs);
	memcpy(slot->lun, first->bhs + ISCSI_OFF_LUN, sizeof(slot->lun));
	slot->answer = answer;
	slot->cookie = cookie;
	first->timed = deadline_ms != 0;
	if (deadline_ms != ISCSIMUX_NO_DEADLINE)
		first->options.deadline = deadline_ms;
	lib_part_add(h, slot, first);
	if (id != NULL)
		*id = lib_slot_cookie(slot);
}

static int
submit_raw(struct iscsimux *h, const struct iscsimux_pdu *pdu, unsigned flags,
    const struct iscsimux_submit_raw *o, iscsimux_answer_fn *answer,
    void *cookie, uint64_t *id)
{
	const struct lib_charge none = { 0, 0 };
	struct lib_slot *slot;
	int r;

	r = answer == NULL ? -EINVAL : check_pdu(pdu);
	if (r != 0 || (unsigned)o->expect > ISCSIMUX_EXPECT_MANY)
		return -EINVAL;
	slot = lib_slot_take(h, LIB_RAW, none, &r);
	if (slot == NULL)
		return r;
	r = fill_part(slot, &slot->first, pdu, flags);
	if (r != 0) {
		lib_slot_release(h, slot);
		return r;
	}
	slot->expect = o->expect == ISCSIMUX_EXPECT_DEFAULT ?
	    MSG_EXPECT_MANY : (uint8_t)o->expect;
	slot->tagless = o->free_itt;
	slot->first.options.expect = slot->expect;
	slot->first.options.free_itt = o->free_itt;
	begin(h, slot, o->deadline_ms, answer, cookie, id);
	return 0;
}

int
iscsimux_submit_raw(struct iscsimux *h, const struct iscsimux_pdu *pdu,
    const struct iscsimux_submit_raw *options, iscsimux_answer_fn *answer,
    void *cookie, uint64_t *id)
{
	static const struct iscsimux_submit_raw ordinary;

	if (h->fd == -1)
		return h->dying ? -ESHUTDOWN : -ENOTCONN;
	if (h->state != LIB_ON_RAW)
		return -ENOTCONN;
	return submit_raw(h, pdu, 0, options != NULL ? options : &ordinary,
	    answer, cookie, id);
}

static bool
has_digests(const struct iscsimux_pdu *pdu)
{
	return pdu->digests.header || pdu->digests.data;
}

int
iscsimux_submit(struct iscsimux *h, const struct iscsimux_pdu *pdu,
    unsigned flags, uint32_t deadline_ms, iscsimux_answer_fn *answer,
    void *cookie, uint64_t *id)
{
	const struct iscsimux_submit_raw options = {
		.deadline_ms = deadline_ms,
	};
	struct lib_slot *slot;
	int r;

	if (h->state == LIB_ON_RAW)
		return submit_raw(h, pdu, flags, &options, answer, cookie, id);
	r = answer == NULL || has_digests(pdu) ? -EINVAL : check_pdu(pdu);
	if (r != 0)
		return r;
	slot = lib_slot_take(h, LIB_RAW, charge_of(h, pdu->bhs), &r);
	if (slot == NULL)
		return r;
	r = fill_part(slot, &slot->first, pdu, flags);
	if (r != 0)
		lib_slot_release(h, slot);
	else
		begin(h, slot, deadline_ms, answer, cookie, id);
	return r;
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
	if (slot == NULL || slot->kind != LIB_RAW || slot->cancel ||
	    (slot->raw && slot->expect == MSG_EXPECT_NONE))
		return -ENOENT;
	if (!slot->raw && has_digests(pdu))
		return -EINVAL;
	if (slot->nparts >= LIB_MORE_MAX ||
	    (slot->tagless && (flags & ISCSIMUX_ASSIGN_ITT) != 0))
		return -EAGAIN;
	part = lib_part_new(h);
	if (part == NULL)
		return -ENOMEM;
	r = fill_part(slot, part, pdu, flags);
	if (r != 0) {
		free(part);
		return r;
	}
	if (slot->raw)
		part->options.expect = MSG_EXPECT_NONE;
	lib_part_add(h, slot, part);
	return 0;
}

/* The login is over, or has failed (RFC 7143 section 11.13). */
static bool
ends_login(const uint8_t *bhs)
{
	return bhs[ISCSI_OFF_LOGIN_STATUS] != 0 ||
	    ((bhs[ISCSI_OFF_FLAGS] & ISCSI_LOGIN_TRANSIT) != 0 &&
	    (bhs[ISCSI_OFF_FLAGS] & 3) == ISCSI_STAGE_FULL_FEATURE);
}

static bool
is_final(const struct lib_slot *slot, const struct lib_pdu *p)
{
	uint8_t opcode = iscsi_opcode(p->pdu.bhs);

	if (slot->raw && slot->expect == MSG_EXPECT_ONE)
		return true;
	if (opcode == ISCSI_OP_REJECT)
		return lib_reject_ends(slot->opcode, lib_pdu_data(p), p->have);
	if (slot->raw && opcode == ISCSI_OP_LOGIN_RSP)
		return ends_login(p->pdu.bhs);
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

void
lib_raw_tag(struct iscsimux *h, struct lib_slot *slot, uint32_t itt)
{
	struct iscsimux_answer a = {
		.kind = ISCSIMUX_ANSWER_TAG,
		.text = "",
		.itt = itt,
	};

	slot->tagless = false;
	slot->itt = itt;
	h->calls++;
	slot->answer(h, slot->cookie, &a);
}

int
lib_raw_fence(struct iscsimux *h, uint64_t n)
{
	const struct msg_outcome accepted = {
		.tmf_response = MSG_TMF_NO_RESPONSE,
	};
	uint32_t conn = h->conn;
	struct lib_slot *slot;

	while ((slot = TAILQ_FIRST(&h->out.fenced)) != NULL &&
	    slot->fence <= n) {
		lib_slot_outcome(h, slot, &accepted);
		if (!lib_alive(h, conn))
			return LIB_GONE;
	}
	return 0;
}

/* A task of which nothing was staged, or one with further PDUs to send. */
static bool
waits(const struct lib_slot *slot)
{
	return slot->kind == LIB_RAW && slot->raw && slot->queued;
}

/* What is not begun stays here; what is begun must be ended. */
static void
drop_rest(struct iscsimux *h, struct lib_slot *slot)
{
	struct lib_part *part = STAILQ_FIRST(&slot->parts), *next;

	for (; part != NULL; part = next) {
		next = STAILQ_NEXT(part, entry);
		if (!part->begun)
			lib_part_drop(h, slot, part);
	}
}

int
lib_raw_ended(struct iscsimux *h)
{
	const struct msg_outcome unsent = {
		.outcome = MSG_OUTCOME_NOT_SENT,
		.flags = MSG_OUTCOME_F_NOT_SENT,
		.tmf_response = MSG_TMF_NO_RESPONSE,
		.reason = MSG_R_CONNECTION_LOST,
		.text = "the raw connection has ended",
	};
	uint32_t conn = h->conn;
	struct lib_slot *slot;

	h->state = LIB_READY;
	do {
		TAILQ_FOREACH(slot, &h->out.sendq, sendq_entry) {
			if (!waits(slot))
				continue;
			if (!slot->started)
				break;
			/* The daemon ends it: it has seen a part of it. */
			drop_rest(h, slot);
		}
		if (slot != NULL)
			lib_slot_outcome(h, slot, &unsent);
		if (!lib_alive(h, conn))
			return LIB_GONE;
	} while (slot != NULL);
	return 0;
}
