/* SPDX-License-Identifier: ISC */
/*
 * What a target asked for of a task's data, and how much of it the client
 * gave and the pump took (RFC 7143 section 11.8).  A task's R2Ts are answered
 * in the order of their arrival.
 */
#include "config.h"

#include <stdlib.h>

#include "daemon/session_internal.h"
#include "proto/iscsi.h"

/*
 * Note that the target waits for `len` bytes from `offset` on.  NULL on lack
 * of memory.
 */
struct r2t *
r2t_add(struct task *t, uint32_t ttt, uint32_t offset, uint32_t len)
{
	struct r2t *r = calloc(1, sizeof(*r));

	if (r == NULL)
		return NULL;
	r->ttt = ttt;
	r->offset = offset;
	r->len = len;
	STAILQ_INSERT_TAIL(&t->r2ts, r, link);
	t->nr2ts++;
	return r;
}

/* The oldest R2T that still lacks data of the client, or NULL. */
struct r2t *
r2t_wanted(struct task *t)
{
	struct r2t *r;

	STAILQ_FOREACH(r, &t->r2ts, link) {
		if (r->queued < r->len)
			return r;
	}
	return NULL;
}

/* The client gave the next `len` bytes for `r`. */
void
r2t_queued(struct task *t, struct r2t *r, uint32_t len)
{
	r->queued += len;
	r->queued_sn++;
	task_watch_progress(t);
}

static void
drop_first(struct task *t)
{
	struct r2t *r = STAILQ_FIRST(&t->r2ts);

	STAILQ_REMOVE_HEAD(&t->r2ts, link);
	t->nr2ts--;
	free(r);
}

/* A Data-Out of `len` bytes was handed to the pump; they leave in order. */
void
r2t_sent(struct task *t, uint32_t len)
{
	struct r2t *r = STAILQ_FIRST(&t->r2ts);

	if (r == NULL)
		return;
	r->sent += len;
	r->sent_sn++;
	if (r->sent >= r->len)
		drop_first(t);
}

void
r2t_drop_all(struct task *t)
{
	while (!STAILQ_EMPTY(&t->r2ts))
		drop_first(t);
}

/*
 * Finish every R2T of a task whose client will give no more data: an empty
 * Data-Out with the F bit at the place the data had come to.  Initiators must
 * go on to answer R2Ts of tasks that are being aborted (RFC 7143 section
 * 4.2.3.3).  Returns 0, or a negative errno.
 */
int
r2t_answer_all(struct task *t)
{
	struct r2t *r;
	int error;

	while ((r = STAILQ_FIRST(&t->r2ts)) != NULL) {
		uint8_t bhs[ISCSI_BHS_LEN] = {
			[ISCSI_OFF_OPCODE] = ISCSI_OP_DATA_OUT,
			[ISCSI_OFF_FLAGS] = ISCSI_FLAG_FINAL,
		};

		put_be64(bhs + ISCSI_OFF_LUN, t->lun);
		put_be32(bhs + ISCSI_OFF_ITT, t->slot.itt);
		put_be32(bhs + ISCSI_OFF_TTT, r->ttt);
		put_be32(bhs + ISCSI_OFF_DATASN, r->sent_sn);
		put_be32(bhs + ISCSI_OFF_BUFFER_OFFSET, r->offset + r->sent);
		drop_first(t);
		error = session_tx_answer(t->session, bhs);
		if (error != 0)
			return error;
	}
	return 0;
}
