/* SPDX-License-Identifier: ISC */
/*
 * How a command is answered: Data-In straight from the disk's memory, split
 * as negotiated, and the SCSI Response (RFC 7143 sections 11.4 and 11.7).
 */
#include "config.h"

#include "tests/target/conn.h"

/* Data-In queued ahead of the socket. */
#define STATUS_AHEAD_PDUS	512u
#define STATUS_AHEAD_BYTES	(2u << 20)

/* What of the data fits the initiator's buffer. */
static uint32_t
status_len(const struct task *k)
{
	if (k->io.direction != SCSI_DATA_IN || !(k->flags & ISCSI_CMD_READ))
		return 0;
	return k->io.len < k->edtl ? (uint32_t)k->io.len : k->edtl;
}

static void
status_residual(const struct task *k, uint8_t *bhs)
{
	uint64_t len = k->io.len;

	if (len > k->edtl) {
		len -= k->edtl;
		bhs[ISCSI_OFF_FLAGS] |= ISCSI_RSP_OVERFLOW;
		put_be32(bhs + ISCSI_OFF_RESIDUAL,
		    len > UINT32_MAX ? UINT32_MAX : (uint32_t)len);
	} else if (len < k->edtl) {
		bhs[ISCSI_OFF_FLAGS] |= ISCSI_RSP_UNDERFLOW;
		put_be32(bhs + ISCSI_OFF_RESIDUAL, (uint32_t)(k->edtl - len));
	}
}

static void
status_response(struct conn *c, struct task *k)
{
	struct out *o = out_new(c, ISCSI_OP_SCSI_RSP);
	uint8_t sense[2 + SCSI_SENSE_LEN];

	o->bhs[ISCSI_OFF_STATUS] = k->io.status;
	put_be32(o->bhs + ISCSI_OFF_ITT, k->itt);
	put_be32(o->bhs + ISCSI_OFF_EXPDATASN, k->sn);
	status_residual(k, o->bhs);
	if (k->io.status == SCSI_CHECK_CONDITION) {
		put_be16(sense, SCSI_SENSE_LEN);
		scsi_sense(sense + 2, k->io.key, k->io.asc);
		out_copy(o, sense, sizeof(sense));
		c->target->counters.check_conditions++;
	}
	task_leave_window(c, k);
	out_queue(c, o, SN_CONSUME);
	task_free(c, k);
}

void
status_answer(struct conn *c, struct task *k)
{
	if (status_len(k) == 0) {
		status_response(c, k);
		return;
	}
	k->state = TASK_SENDING;
	TAILQ_INSERT_TAIL(&c->sending, k, sending);
}

/* One Data-In of the task; ends it with status if it may. */
static void
status_data_in(struct conn *c, struct task *k)
{
	struct out *o = out_new(c, ISCSI_OP_DATA_IN);
	uint32_t total = status_len(k);
	uint32_t left = total - k->moved;
	uint32_t n = c->params.max_recv_dsl;
	bool last;

	if (k->moved == k->burst_end)
		k->burst_end = k->moved + c->params.max_burst;
	if (n > k->burst_end - k->moved)
		n = k->burst_end - k->moved;
	if (n > left)
		n = left;
	last = n == left;
	if (!last && k->moved + n < k->burst_end)
		o->bhs[ISCSI_OFF_FLAGS] = 0;
	o->data = k->io.data + k->moved;
	o->len = n;
	/* Parameter data goes with the task; the disk stays. */
	if (k->io.owned != NULL)
		out_copy(o, o->data, n);
	put_be32(o->bhs + ISCSI_OFF_ITT, k->itt);
	put_be32(o->bhs + ISCSI_OFF_TTT, ISCSI_TAG_NONE);
	put_be32(o->bhs + ISCSI_OFF_DATASN, k->sn++);
	put_be32(o->bhs + ISCSI_OFF_BUFFER_OFFSET, k->moved);
	c->target->counters.data_in++;
	k->moved += n;
	if (!last) {
		out_queue(c, o, SN_NONE);
		return;
	}
	TAILQ_REMOVE(&c->sending, k, sending);
	k->state = TASK_HELD;
	if (!c->target->options.phase_collapse) {
		out_queue(c, o, SN_NONE);
		status_response(c, k);
		return;
	}
	o->bhs[ISCSI_OFF_FLAGS] |= ISCSI_DATAIN_STATUS;
	o->bhs[ISCSI_OFF_STATUS] = k->io.status;
	status_residual(k, o->bhs);
	task_leave_window(c, k);
	out_queue(c, o, SN_CONSUME);
	task_free(c, k);
}

void
status_pump(struct conn *c)
{
	struct task *k;

	while (c->nouts < STATUS_AHEAD_PDUS &&
	    c->out_bytes < STATUS_AHEAD_BYTES &&
	    (k = TAILQ_FIRST(&c->sending)) != NULL)
		status_data_in(c, k);
}
