/* SPDX-License-Identifier: ISC */
/*
 * SCSI Commands and their data from the initiator: immediate, unsolicited,
 * and asked for by R2T (RFC 7143 sections 4.2.5.2, 11.3, 11.7 and 11.8).
 * Data goes from the read slab to the disk's memory at once.
 */
#include "config.h"

#include <string.h>

#include "tests/target/conn.h"

static uint32_t
least(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

/* The address method is peripheral or flat (SAM-5), one level. */
static bool
lun_number(uint64_t lun, uint32_t *number)
{
	*number = (uint32_t)(lun >> 48) & 0x3fff;
	return lun << 16 == 0 && lun >> 62 <= 1;
}

/* How many bytes the command wants from the initiator. */
static uint32_t
cmd_wants(const struct task *k)
{
	if (k->io.direction != SCSI_DATA_OUT || !(k->flags & ISCSI_CMD_WRITE))
		return 0;
	return k->io.len < k->edtl ? (uint32_t)k->io.len : k->edtl;
}

/* Receive `len` bytes of Data-Out at `offset`; what nobody wants is lost. */
static void
cmd_receive(struct conn *c, const struct task *k, uint32_t offset,
    uint32_t len)
{
	uint32_t want = cmd_wants(k);

	if (offset >= want)
		return;
	c->rx.dst = k->io.data + offset;
	c->rx.room = least(len, want - offset);
}

static unsigned
hold_of(const struct task *k)
{
	switch (k->io.direction) {
	case SCSI_DATA_IN:
		return HOLD_READS;
	case SCSI_DATA_OUT:
		return HOLD_WRITES;
	case SCSI_NO_DATA:
		break;
	}
	return HOLD_OTHERS;
}

static void
cmd_complete(struct conn *c, struct task *k)
{
	if (k->io.direction == SCSI_DATA_OUT && k->io.finish != NULL)
		k->io.finish(&k->io, k->cdb, least(k->moved, cmd_wants(k)));
	if (c->target->manners.hold & hold_of(k))
		k->state = TASK_HELD;
	else
		status_answer(c, k);
}

static void
cmd_send_r2t(struct conn *c, struct task *k)
{
	struct out *o = out_new(c, ISCSI_OP_R2T);
	struct r2t *r = &k->r2ts[(k->r2t_first + k->r2t_count++) %
	    TASK_R2T_MAX];

	memset(r, 0, sizeof(*r));
	r->offset = k->asked;
	r->len = least(cmd_wants(k) - k->asked, c->params.max_burst);
	r->ttt = c->next_ttt++;
	if (c->next_ttt == ISCSI_TAG_NONE)
		c->next_ttt = 1;
	put_be64(o->bhs + ISCSI_OFF_LUN, k->lun);
	put_be32(o->bhs + ISCSI_OFF_ITT, k->itt);
	put_be32(o->bhs + ISCSI_OFF_TTT, r->ttt);
	put_be32(o->bhs + ISCSI_OFF_DATASN, k->sn++);
	put_be32(o->bhs + ISCSI_OFF_BUFFER_OFFSET, r->offset);
	put_be32(o->bhs + ISCSI_OFF_DESIRED_LEN, r->len);
	out_queue(c, o, SN_NEXT);
	k->asked += r->len;
	c->target->counters.r2ts++;
	c->target->counters.r2ts_open++;
}

/* Nothing is under way: ask for more, or go on with what is there. */
static void
cmd_go_on(struct conn *c, struct task *k)
{
	uint32_t want = cmd_wants(k);

	if (k->unsolicited > 0)
		return;
	k->state = TASK_SOLICITED;
	if (k->asked < want && (c->target->manners.hold & HOLD_R2T)) {
		if (k->r2t_count == 0)
			k->state = TASK_HELD_R2T;
		return;
	}
	while (k->asked < want && k->r2t_count < c->params.max_r2t)
		cmd_send_r2t(c, k);
	if (k->r2t_count == 0)
		cmd_complete(c, k);
}

static int
cmd_end(struct conn *c)
{
	struct task *k = c->rx.task;

	k->receiving = false;
	k->moved = iscsi_dsl(c->rx.bhs);
	k->asked = k->moved;
	if (k->state == TASK_ENDED)
		task_data_done(c, k);
	else
		cmd_go_on(c, k);
	return 0;
}

/* What the header of a command must keep, given what was negotiated. */
static int
cmd_check(struct conn *c)
{
	const uint8_t *bhs = c->rx.bhs;
	uint8_t flags = bhs[ISCSI_OFF_FLAGS];
	uint32_t edtl = get_be32(bhs + ISCSI_OFF_EDTL);
	uint32_t dsl = iscsi_dsl(bhs);
	uint32_t burst = least(c->params.first_burst, edtl);

	if (!(flags & (ISCSI_CMD_READ | ISCSI_CMD_WRITE)) && edtl != 0)
		return conn_protocol_error(c, "EDTL %u without R or W bit",
		    edtl);
	if (dsl > 0 && !(flags & ISCSI_CMD_WRITE))
		return conn_protocol_error(c, "data of a command without W");
	if (dsl > 0 && !c->params.immediate_data)
		return conn_protocol_error(c,
		    "immediate data with ImmediateData=No");
	if (dsl > burst)
		return conn_protocol_error(c, "%u bytes of immediate data, "
		    "FirstBurstLength %u, EDTL %u", dsl,
		    c->params.first_burst, edtl);
	if (flags & ISCSI_FLAG_FINAL)
		return 0;
	if (!(flags & ISCSI_CMD_WRITE))
		return conn_protocol_error(c, "command without F and W bit");
	if (c->params.initial_r2t)
		return conn_protocol_error(c,
		    "command without F bit with InitialR2T=Yes");
	if (dsl >= burst)
		return conn_protocol_error(c,
		    "command without F bit, but all data is there");
	return 0;
}

/* Unit attentions are a session's own. */
static void
cmd_start(struct conn *c, struct task *k)
{
	struct target *t = c->target;
	uint16_t none = 0;
	uint16_t *ua = &none;
	uint32_t lun;

	k->io.luns = t->options.luns;
	if (lun_number(k->lun, &lun) && lun < t->options.luns) {
		k->io.lun = lun;
		k->io.disk = &t->disks[lun];
		ua = &c->ua[lun];
	}
	scsi_start(&k->io, k->cdb, ua);
	t->counters.commands++;
	if (k->io.key == SCSI_KEY_UNIT_ATTENTION)
		t->counters.unit_attentions++;
}

int
cmd_header(struct conn *c)
{
	const uint8_t *bhs = c->rx.bhs;
	uint8_t flags = bhs[ISCSI_OFF_FLAGS];
	uint32_t dsl = iscsi_dsl(bhs);
	struct task *k;
	int r;

	if ((r = cmd_check(c)) < 0)
		return r;
	if ((flags & ISCSI_CMD_READ) && (flags & ISCSI_CMD_WRITE)) {
		ffp_reject(c, 0x05);
		c->rejected_itt = iscsi_itt(bhs);
		return 0;
	}
	k = task_new(c, iscsi_itt(bhs));
	k->lun = iscsi_lun(bhs);
	k->cmdsn = get_be32(bhs + ISCSI_OFF_CMDSN);
	k->edtl = get_be32(bhs + ISCSI_OFF_EDTL);
	k->immediate = iscsi_is_immediate(bhs);
	k->in_window = !k->immediate;
	c->live += k->in_window;
	k->flags = flags;
	memcpy(k->cdb, bhs + ISCSI_OFF_CDB, sizeof(k->cdb));
	if (!(flags & ISCSI_FLAG_FINAL))
		k->unsolicited = least(c->params.first_burst, k->edtl) - dsl;
	cmd_start(c, k);
	cmd_receive(c, k, 0, dsl);
	k->receiving = true;
	c->rx.task = k;
	c->rx.end = cmd_end;
	return 0;
}

/* --- Data-Out */

static int
unsolicited_end(struct conn *c)
{
	struct task *k = c->rx.task;
	uint32_t dsl = iscsi_dsl(c->rx.bhs);

	k->moved += dsl;
	k->asked = k->moved;
	k->unsolicited -= dsl;
	if (c->rx.bhs[ISCSI_OFF_FLAGS] & ISCSI_FLAG_FINAL)
		k->unsolicited = 0;
	k->unsol_datasn++;
	if (k->state == TASK_ENDED)
		task_data_done(c, k);
	else
		cmd_go_on(c, k);
	return 0;
}

/* All unsolicited data comes, in order, F on the last (section 4.2.5.2). */
static int
unsolicited_header(struct conn *c, struct task *k)
{
	const uint8_t *bhs = c->rx.bhs;
	uint32_t offset = get_be32(bhs + ISCSI_OFF_BUFFER_OFFSET);
	uint32_t sn = get_be32(bhs + ISCSI_OFF_DATASN);
	uint32_t dsl = iscsi_dsl(bhs);
	bool final = (bhs[ISCSI_OFF_FLAGS] & ISCSI_FLAG_FINAL) != 0;

	if (k->unsolicited == 0)
		return conn_protocol_error(c, "unsolicited Data-Out of ITT "
		    "%08x that announced none", k->itt);
	if (sn != k->unsol_datasn)
		return conn_protocol_error(c, "unsolicited DataSN %u, not %u",
		    sn, k->unsol_datasn);
	if (offset != k->moved)
		return conn_protocol_error(c, "unsolicited Buffer Offset %u, "
		    "not %u", offset, k->moved);
	if (dsl > k->unsolicited)
		return conn_protocol_error(c, "unsolicited data above "
		    "FirstBurstLength or EDTL: %u, not %u", dsl,
		    k->unsolicited);
	if (final != (dsl == k->unsolicited) &&
	    !(final && k->state == TASK_ENDED))
		return conn_protocol_error(c, "F bit %d with %u of %u "
		    "unsolicited bytes", final, dsl, k->unsolicited);
	if (k->state != TASK_ENDED)
		cmd_receive(c, k, offset, dsl);
	c->rx.end = unsolicited_end;
	return 0;
}

static int
solicited_end(struct conn *c)
{
	struct task *k = c->rx.task;
	struct r2t *r = &k->r2ts[k->r2t_first];
	uint32_t dsl = iscsi_dsl(c->rx.bhs);

	r->got += dsl;
	r->datasn++;
	k->moved += dsl;
	if (!(c->rx.bhs[ISCSI_OFF_FLAGS] & ISCSI_FLAG_FINAL))
		return 0;
	k->r2t_first = (k->r2t_first + 1) % TASK_R2T_MAX;
	k->r2t_count--;
	c->target->counters.r2ts_open--;
	if (k->state == TASK_ENDED)
		task_data_done(c, k);
	else
		cmd_go_on(c, k);
	return 0;
}

static int
solicited_header(struct conn *c, struct task *k)
{
	const uint8_t *bhs = c->rx.bhs;
	uint32_t offset = get_be32(bhs + ISCSI_OFF_BUFFER_OFFSET);
	uint32_t sn = get_be32(bhs + ISCSI_OFF_DATASN);
	uint32_t dsl = iscsi_dsl(bhs);
	bool final = (bhs[ISCSI_OFF_FLAGS] & ISCSI_FLAG_FINAL) != 0;
	const struct r2t *r = &k->r2ts[k->r2t_first];

	/* R2Ts of a task are answered in order (section 11.8). */
	if (k->r2t_count == 0 || iscsi_ttt(bhs) != r->ttt)
		return conn_protocol_error(c, "Data-Out with TTT %08x, the "
		    "first of %u R2Ts has %08x", iscsi_ttt(bhs), k->r2t_count,
		    k->r2t_count > 0 ? r->ttt : ISCSI_TAG_NONE);
	if (iscsi_lun(bhs) != k->lun)
		return conn_tolerate(c, "Data-Out with another LUN");
	if (sn != r->datasn)
		return conn_protocol_error(c, "DataSN %u, not %u", sn,
		    r->datasn);
	if (offset != r->offset + r->got)
		return conn_protocol_error(c, "Buffer Offset %u, not %u",
		    offset, r->offset + r->got);
	if (dsl > r->len - r->got)
		return conn_protocol_error(c, "%u bytes, the R2T wants %u",
		    dsl, r->len - r->got);
	/* Only what was aborted may be cut short (section 4.2.3.3). */
	if (final != (dsl == r->len - r->got) &&
	    !(final && k->state == TASK_ENDED))
		return conn_protocol_error(c, "F bit %d with %u of %u bytes",
		    final, dsl, r->len - r->got);
	if (k->state != TASK_ENDED)
		cmd_receive(c, k, offset, dsl);
	c->rx.end = solicited_end;
	return 0;
}

int
data_out_header(struct conn *c)
{
	uint32_t itt = iscsi_itt(c->rx.bhs);
	struct task *k = task_find(c, itt);

	c->target->counters.data_out++;
	if (k == NULL && itt == c->rejected_itt)
		return 0;
	if (k == NULL)
		return conn_protocol_error(c, "Data-Out of unknown ITT %08x",
		    itt);
	c->rx.task = k;
	if (iscsi_ttt(c->rx.bhs) == ISCSI_TAG_NONE)
		return unsolicited_header(c, k);
	return solicited_header(c, k);
}

int
data_out_lost(struct conn *c)
{
	int r = data_out_header(c);

	if (r == 0 && c->rx.task != NULL)
		scsi_fail(&c->rx.task->io, SCSI_KEY_ABORTED,
		    SCSI_ASC_PROTOCOL_CRC);
	c->rx.room = 0;
	return r;
}

void
cmd_release(struct conn *c)
{
	unsigned hold = c->target->manners.hold;
	struct task *k;
	struct task *next;

	TAILQ_FOREACH_SAFE(k, &c->tasks, link, next) {
		if (k->state == TASK_HELD && !(hold & hold_of(k)))
			status_answer(c, k);
		else if (k->asked < cmd_wants(k) && !(hold & HOLD_R2T) &&
		    (k->state == TASK_HELD_R2T || k->state == TASK_SOLICITED))
			cmd_go_on(c, k);
	}
}
