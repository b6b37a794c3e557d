/* SPDX-License-Identifier: ISC */
/*
 * Data on their way out: immediate data, the unsolicited burst and the
 * answers to R2Ts (RFC 7143 sections 4.2.4, 11.7, 11.8), cut to what the
 * session negotiated.  Data-Outs are made one by one when there is room for
 * them, so a long write costs no memory.
 */
#include "config.h"

#include <sys/param.h>

#include <errno.h>
#include <string.h>

#include "client/lib.h"

static uint32_t
dsl_max(const struct iscsimux *h)
{
	uint32_t dsl = h->session.send_dsl;

	return MIN(dsl != 0 ? dsl : LIB_DSL_DEFAULT, h->data_max);
}

static void
burst_bhs(const struct lib_slot *slot, uint8_t *bhs, const uint8_t *lun,
    uint32_t ttt)
{
	memset(bhs, 0, ISCSI_BHS_LEN);
	bhs[ISCSI_OFF_OPCODE] = ISCSI_OP_DATA_OUT;
	if (lun != NULL)
		memcpy(bhs + ISCSI_OFF_LUN, lun, 8);
	put_be32(bhs + ISCSI_OFF_ITT, slot->itt);
	put_be32(bhs + ISCSI_OFF_TTT, ttt);
}

static struct lib_part *
burst_new(struct iscsimux *h, struct lib_slot *slot, uint32_t off,
    uint32_t len)
{
	struct lib_part *part = lib_part_new(h);

	if (part == NULL)
		return NULL;
	part->kind = LIB_PART_BURST;
	part->data = &slot->buf;
	part->next = off;
	part->end = off + len;
	return part;
}

static uint32_t
immediate_max(const struct iscsimux *h, uint32_t len)
{
	if (!h->session.immediate_data)
		return 0;
	return MIN(MIN(len, h->session.first_burst), dsl_max(h));
}

uint32_t
lib_write_window(const struct iscsimux *h, uint32_t len)
{
	/* Before the first login nothing is known to be allowed. */
	if (h->session.generation == 0)
		return 0;
	if (!h->session.initial_r2t)
		return MIN(len, h->session.first_burst);
	return immediate_max(h, len);
}

int
lib_write_plan(struct iscsimux *h, struct lib_slot *slot)
{
	struct lib_part *first = &slot->first, *burst = NULL;
	uint32_t window = lib_write_window(h, slot->buf.len);
	uint32_t immediate = MIN(window, immediate_max(h, slot->buf.len));
	uint32_t unsolicited = window - immediate;

	if (unsolicited > 0) {
		burst = burst_new(h, slot, immediate, unsolicited);
		if (burst == NULL)
			return -ENOMEM;
		/* Without a TTT the LUN field is reserved (section 11.7.4). */
		burst_bhs(slot, burst->bhs, NULL, ISCSI_TAG_NONE);
	} else
		first->bhs[ISCSI_OFF_FLAGS] |= ISCSI_FLAG_FINAL;
	iscsi_set_dsl(first->bhs, immediate);
	first->data = &slot->buf;
	first->end = immediate;
	lib_part_add(h, slot, first);
	if (burst != NULL)
		lib_part_add(h, slot, burst);
	return 0;
}

void
lib_write_r2t(struct iscsimux *h, struct lib_slot *slot, const uint8_t *bhs)
{
	uint32_t off = get_be32(bhs + ISCSI_OFF_BUFFER_OFFSET);
	uint32_t len = get_be32(bhs + ISCSI_OFF_DESIRED_LEN);
	struct lib_part *part;

	if (slot->cancel)
		return;		/* the daemon answers them from here on */
	if (slot->direction != ISCSIMUX_DATA_OUT || len == 0 ||
	    off > slot->buf.len || len > slot->buf.len - off) {
		lib_task_fail(h, slot, MSG_R_BAD_FIELD, 0,
		    "R2T for data outside the buffer");
		return;
	}
	/* One of the parts may be the unsolicited burst. */
	if (slot->nparts > MAX(h->session.max_r2t, 1u)) {
		lib_task_fail(h, slot, MSG_R_DATA_LIMIT, 0,
		    "more R2Ts than MaxOutstandingR2T");
		return;
	}
	part = burst_new(h, slot, off, len);
	if (part == NULL) {
		lib_task_fail(h, slot, MSG_R_INTERNAL, 0, "out of memory");
		return;
	}
	burst_bhs(slot, part->bhs, bhs + ISCSI_OFF_LUN,
	    get_be32(bhs + ISCSI_OFF_TTT));
	lib_part_add(h, slot, part);
}

uint32_t
lib_write_next(struct iscsimux *h, struct lib_part *part, uint8_t *bhs)
{
	uint32_t n = MIN(part->end - part->next, dsl_max(h));

	memcpy(bhs, part->bhs, ISCSI_BHS_LEN);
	iscsi_set_dsl(bhs, n);
	put_be32(bhs + ISCSI_OFF_DATASN, part->data_sn++);
	put_be32(bhs + ISCSI_OFF_BUFFER_OFFSET, part->next);
	part->next += n;
	if (part->next == part->end)
		bhs[ISCSI_OFF_FLAGS] |= ISCSI_FLAG_FINAL;
	return n;
}
