/* SPDX-License-Identifier: ISC */
/*
 * Taking back a request that was stamped and that the kernel has no byte of:
 * no CmdSN may be left out (RFC 7143 section 4.2.2.1), so a NOP-Out takes its
 * place.
 */
#include "config.h"

#include <string.h>

#include "daemon/session_internal.h"
#include "proto/iscsi.h"

/* PDUs of one task that the pump has and the kernel has not. */
struct withdrawal {
	uint32_t	 itt;		/* on the wire */
	struct txpdu	*request;
	struct txpdu	*data;		/* one of its Data-Outs */
};

static void
find_unsent(struct txpdu *pdu, void *arg)
{
	struct withdrawal *w = arg;

	if (iscsi_itt(pdu->bhs) != w->itt)
		return;
	if (iscsi_opcode(pdu->bhs) == ISCSI_OP_DATA_OUT)
		w->data = pdu;
	else
		w->request = pdu;
}

/* Make the PDU a NOP-Out that asks for nothing but carries its CmdSN. */
static void
make_plug(struct session *s, struct txpdu *pdu)
{
	uint32_t cmdsn = get_be32(pdu->bhs + ISCSI_OFF_CMDSN);
	struct task *plug;

	slices_clear(s->worker->pool, &pdu->data);
	slab_unref(pdu->ahs.slab);
	pdu->ahs = (struct slice){ 0 };
	memset(pdu->bhs, 0, sizeof(pdu->bhs));
	pdu->bhs[ISCSI_OFF_OPCODE] = ISCSI_OP_NOP_OUT;
	pdu->bhs[ISCSI_OFF_FLAGS] = ISCSI_FLAG_FINAL;
	put_be32(pdu->bhs + ISCSI_OFF_TTT, ISCSI_TAG_NONE);
	put_be32(pdu->bhs + ISCSI_OFF_CMDSN, cmdsn);
	plug = task_new(s, TASK_PLUG, pdu);
	if (plug == NULL) {
		session_fail(s, "no task tag for a NOP-Out");
		return;
	}
	s->stats.plugs++;
	plug->pdu = NULL;
	plug->state = TASK_STAMPED;
	plug->cmdsn = cmdsn;
	put_be32(pdu->bhs + ISCSI_OFF_ITT, plug->slot.itt);
	sn_restamp(&s->sn, pdu->bhs);
	pdu->task = plug;
	task_watch_answer(plug);
}

/*
 * Take back a request that was stamped and of which the kernel has no byte.
 * A CmdSN that was consumed must still be used, so a NOP-Out takes the
 * request's place; it must be a ping with a tag of its own, because only an
 * immediate NOP-Out may do without (section 11.18.2).
 */
void
session_withdraw(struct task *t)
{
	struct session *s = t->session;
	struct withdrawal w = { .itt = t->slot.itt };

	t->state = TASK_QUEUED;
	task_give_turn(t);
	if (s->pump == NULL)
		return;
	do {
		w.data = NULL;
		pump_foreach_unsent(s->pump, find_unsent, &w);
		if (w.data != NULL)
			pump_drop_unsent(s->pump, w.data);
	} while (w.data != NULL);
	if (w.request == NULL)
		return;
	if (t->immediate)
		pump_drop_unsent(s->pump, w.request);
	else
		make_plug(s, w.request);
}
