/* SPDX-License-Identifier: ISC */
/*
 * The convenience level's requests: SCSI Command, NOP-Out, Task Management
 * Function Request and CANCEL.  They are built here and queued; the answers
 * are lib_task.c's.
 */
#include "config.h"

#include <sys/param.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "client/lib.h"

#define CDB_IN_BHS	16u
#define AHS_EXTENDED_CDB 1u

#define CHARGE_TASK	(9u * 1024)	/* 8 KiB and some room */
#define CHARGE_PDU	1024u
#define DSL_LEAST	512u		/* RFC 7143 section 13.12 */

struct lib_charge
lib_charge_of(const struct iscsimux *h, uint64_t in, uint64_t out)
{
	const uint64_t header = FRAME_HEADER_LEN + ISCSI_BHS_LEN;
	uint32_t dsl = MAX(h->session.recv_dsl, DSL_LEAST);
	struct lib_charge c = {
		.in = CHARGE_TASK + in + header * (in / dsl + 1),
		.out = CHARGE_PDU + out,
	};

	return c;
}

/* The buffer's length, checked; -EINVAL if it has none that fits. */
static int
scsi_length(const struct iscsimux_scsi *s, uint32_t *out)
{
	uint64_t len = s->data_len;
	size_t i;

	if (s->niov == 0) {
		if (len > 0 && s->data == NULL)
			return -EINVAL;
	} else {
		if (s->iov == NULL)
			return -EINVAL;
		for (i = 0, len = 0; i < s->niov && len <= UINT32_MAX; i++) {
			if (s->iov[i].iov_len > UINT32_MAX)
				return -EINVAL;
			len += s->iov[i].iov_len;
		}
	}
	if (len > UINT32_MAX || (len > 0 && s->direction == ISCSIMUX_NO_DATA))
		return -EINVAL;
	*out = (uint32_t)len;
	return 0;
}

static int
scsi_check(const struct iscsimux_scsi *s, uint32_t *len)
{
	if (s->cdb == NULL || s->cdb_len == 0 ||
	    s->cdb_len > ISCSIMUX_CDB_MAX)
		return -EINVAL;
	if ((unsigned)s->direction > ISCSIMUX_DATA_OUT ||
	    (unsigned)s->attribute > ISCSIMUX_ACA)
		return -EINVAL;
	return scsi_length(s, len);
}

static void
set_deadline(struct lib_part *part, uint32_t deadline_ms)
{
	if (deadline_ms == 0)
		return;
	part->timed = true;
	if (deadline_ms != ISCSIMUX_NO_DEADLINE)
		part->options.deadline = deadline_ms;
}

/*
 * What does not fit into the BHS goes into an extended CDB AHS, whose length
 * counts a reserved byte and the rest of the CDB (section 11.2.2.3).
 */
static int
put_cdb(struct lib_part *part, const struct iscsimux_scsi *s)
{
	size_t more, ahs_len;

	memcpy(part->bhs + ISCSI_OFF_CDB, s->cdb, MIN(s->cdb_len, CDB_IN_BHS));
	if (s->cdb_len <= CDB_IN_BHS)
		return 0;
	more = s->cdb_len - CDB_IN_BHS;
	ahs_len = roundup(4 + more, 4);
	part->ahs = calloc(1, ahs_len);
	if (part->ahs == NULL)
		return -ENOMEM;
	put_be16(part->ahs, (uint16_t)(more + 1));
	part->ahs[2] = AHS_EXTENDED_CDB;
	memcpy(part->ahs + 4, s->cdb + CDB_IN_BHS, more);
	part->bhs[ISCSI_OFF_AHS] = (uint8_t)(ahs_len / 4);
	return 0;
}

static int
build_command(struct iscsimux *h, struct lib_slot *slot,
    const struct iscsimux_scsi *s)
{
	struct lib_part *part = &slot->first;
	int r;

	part->bhs[ISCSI_OFF_OPCODE] = ISCSI_OP_SCSI_CMD;
	part->bhs[ISCSI_OFF_FLAGS] = (uint8_t)s->attribute;
	memcpy(part->bhs + ISCSI_OFF_LUN, s->lun, 8);
	put_be32(part->bhs + ISCSI_OFF_ITT, slot->itt);
	put_be32(part->bhs + ISCSI_OFF_EDTL, slot->buf.len);
	set_deadline(part, s->deadline_ms);
	r = put_cdb(part, s);
	if (r != 0)
		return r;
	if (slot->direction == ISCSIMUX_DATA_OUT) {
		part->bhs[ISCSI_OFF_FLAGS] |= ISCSI_CMD_WRITE;
		return lib_write_plan(h, slot);
	}
	part->bhs[ISCSI_OFF_FLAGS] |= ISCSI_FLAG_FINAL;
	if (slot->direction == ISCSIMUX_DATA_IN)
		part->bhs[ISCSI_OFF_FLAGS] |= ISCSI_CMD_READ;
	lib_part_add(h, slot, part);
	return 0;
}

static void
open_slot(struct lib_slot *slot, uint8_t opcode, iscsimux_done_fn *done,
    void *cookie, uint64_t *id)
{
	slot->opcode = opcode;
	slot->done = done;
	slot->cookie = cookie;
	slot->first.data = &slot->first.own;
	if (id != NULL)
		*id = lib_slot_cookie(slot);
}

int
iscsimux_execute(struct iscsimux *h, const struct iscsimux_scsi *s,
    iscsimux_done_fn *done, void *cookie, uint64_t *id)
{
	struct lib_charge charge;
	struct lib_slot *slot;
	uint32_t len = 0;
	int r;

	r = done == NULL ? -EINVAL : scsi_check(s, &len);
	if (r != 0)
		return r;
	if (s->direction == ISCSIMUX_DATA_IN)
		charge = lib_charge_of(h, len, 0);
	else
		charge = lib_charge_of(h, 0, lib_write_window(h, len));
	slot = lib_slot_take(h, LIB_EXECUTE, charge, &r);
	if (slot == NULL)
		return r;
	open_slot(slot, ISCSI_OP_SCSI_CMD, done, cookie, id);
	if (len > 0)
		slot->direction = (uint8_t)s->direction;
	if (s->niov > 0)
		lib_buffer_set_iov(&slot->buf, s->iov, s->niov, len);
	else
		lib_buffer_set(&slot->buf, s->data, len);
	memcpy(slot->lun, s->lun, sizeof(slot->lun));
	r = build_command(h, slot, s);
	if (r != 0)
		lib_slot_release(h, slot);
	return r;
}

int
iscsimux_nop(struct iscsimux *h, const void *data, size_t len, void *reply,
    size_t reply_size, uint32_t deadline_ms, iscsimux_done_fn *done,
    void *cookie, uint64_t *id)
{
	uint32_t dsl = h->session.send_dsl;
	struct lib_part *part;
	struct lib_slot *slot;
	int r;

	if (done == NULL || (len > 0 && data == NULL) ||
	    (reply_size > 0 && reply == NULL))
		return -EINVAL;
	if (len > MIN(dsl != 0 ? dsl : LIB_DSL_DEFAULT, FRAME_DATA_MAX))
		return -EMSGSIZE;
	slot = lib_slot_take(h, LIB_NOP, lib_charge_of(h, len, len), &r);
	if (slot == NULL)
		return r;
	open_slot(slot, ISCSI_OP_NOP_OUT, done, cookie, id);
	lib_buffer_set(&slot->buf, reply,
	    (uint32_t)MIN(reply_size, ISCSI_DSL_MAX));
	part = &slot->first;
	/* It is only read from; iovec has no const. */
	lib_buffer_set(&part->own, (void *)(uintptr_t)data, (uint32_t)len);
	part->end = (uint32_t)len;
	part->bhs[ISCSI_OFF_OPCODE] = ISCSI_OP_NOP_OUT;
	part->bhs[ISCSI_OFF_FLAGS] = ISCSI_FLAG_FINAL;
	iscsi_set_dsl(part->bhs, (uint32_t)len);
	put_be32(part->bhs + ISCSI_OFF_ITT, slot->itt);
	put_be32(part->bhs + ISCSI_OFF_TTT, ISCSI_TAG_NONE);
	set_deadline(part, deadline_ms);
	lib_part_add(h, slot, part);
	return 0;
}

/* TASK REASSIGN would need another connection. */
static bool
is_function(enum iscsimux_tmf function)
{
	return (function >= ISCSIMUX_TMF_ABORT_TASK &&
	    function <= ISCSIMUX_TMF_TARGET_COLD_RESET) ||
	    (function >= ISCSIMUX_TMF_QUERY_TASK &&
	    function <= ISCSIMUX_TMF_QUERY_ASYNC_EVENT);
}

int
iscsimux_manage(struct iscsimux *h, const struct iscsimux_management *m,
    iscsimux_done_fn *done, void *cookie, uint64_t *id)
{
	const struct lib_slot *task = NULL;
	struct lib_part *part;
	struct lib_slot *slot;
	int r;

	if (done == NULL || !is_function(m->function))
		return -EINVAL;
	if (m->function == ISCSIMUX_TMF_ABORT_TASK ||
	    m->function == ISCSIMUX_TMF_QUERY_TASK) {
		task = lib_slot_find(h, m->task);
		if (task == NULL || !lib_is_task(task))
			return -ENOENT;
	}
	slot = lib_slot_take(h, LIB_MANAGE, lib_charge_of(h, 0, 0), &r);
	if (slot == NULL)
		return r;
	open_slot(slot, ISCSI_OP_TMF_REQ, done, cookie, id);
	part = &slot->first;
	part->bhs[ISCSI_OFF_OPCODE] = ISCSI_OP_TMF_REQ | ISCSI_IMMEDIATE;
	part->bhs[ISCSI_OFF_FLAGS] =
	    (uint8_t)(ISCSI_FLAG_FINAL | (unsigned)m->function);
	memcpy(part->bhs + ISCSI_OFF_LUN, task != NULL ? task->lun : m->lun, 8);
	put_be32(part->bhs + ISCSI_OFF_ITT, slot->itt);
	put_be32(part->bhs + ISCSI_OFF_RTT,
	    task != NULL ? task->itt : ISCSI_TAG_NONE);
	set_deadline(part, m->deadline_ms);
	lib_part_add(h, slot, part);
	return 0;
}

int
iscsimux_cancel(struct iscsimux *h, uint64_t id)
{
	struct lib_slot *slot = lib_slot_find(h, id);

	if (slot == NULL || !lib_is_task(slot) ||
	    (slot->raw && slot->expect == MSG_EXPECT_NONE))
		return -ENOENT;
	if (slot->cancel)
		return 0;
	slot->cancel = true;
	lib_out_queue(h, slot);
	return 0;
}
