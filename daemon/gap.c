/* SPDX-License-Identifier: ISC */
/*
 * CmdSN gaps after a Reject.  By RFC 7143 section 7.3 a rejected command was
 * not received, so its CmdSN must be used again; some targets count it all
 * the same, and others end the connection at a CmdSN that comes twice.  So
 * the target is asked: the reply to an immediate NOP-Out tells ExpCmdSN, and
 * only numbers that it still expects are plugged with a NOP-Out.
 */
#include "config.h"

#include <errno.h>
#include <string.h>

#include "daemon/session_internal.h"
#include "proto/iscsi.h"
#include "proto/serial.h"

static void
nop_bhs(uint8_t *bhs, bool immediate)
{
	memset(bhs, 0, ISCSI_BHS_LEN);
	bhs[ISCSI_OFF_OPCODE] = ISCSI_OP_NOP_OUT;
	if (immediate)
		bhs[ISCSI_OFF_OPCODE] |= ISCSI_IMMEDIATE;
	bhs[ISCSI_OFF_FLAGS] = ISCSI_FLAG_FINAL;
	put_be32(bhs + ISCSI_OFF_TTT, ISCSI_TAG_NONE);
}

static int
send_probe(struct session *s)
{
	uint8_t bhs[ISCSI_BHS_LEN];

	nop_bhs(bhs, true);
	s->gap.asked = session_tx_daemon(s, TASK_PROBE, bhs, &s->nopq);
	return s->gap.asked != NULL ? 0 : -ENOMEM;
}

static int
send_plug(struct session *s, uint32_t cmdsn)
{
	uint8_t bhs[ISCSI_BHS_LEN];
	struct task *t;

	nop_bhs(bhs, false);
	s->stats.plugs++;
	t = session_tx_daemon(s, TASK_PLUG, bhs, &s->nopq);
	s->gap.asked = t;
	if (t == NULL)
		return -ENOMEM;
	t->cmdsn = cmdsn;
	return 0;
}

/* True while no non-immediate request may be sent. */
bool
gap_open(const struct session *s)
{
	return s->gap.count > 0;
}

/*
 * A non-immediate request with this CmdSN was rejected.  Returns 0, or a
 * negative errno when there are too many to remember.
 */
int
gap_rejected(struct session *s, uint32_t cmdsn)
{
	struct gap *g = &s->gap;
	uint32_t i = g->count;

	if (g->count == GAP_MAX)
		return -EOVERFLOW;
	for (; i > 0 && serial_lt(cmdsn, g->cmdsn[i - 1]); i--)
		g->cmdsn[i] = g->cmdsn[i - 1];
	g->cmdsn[i] = cmdsn;
	g->count++;
	return g->asked != NULL ? 0 : send_probe(s);
}

/*
 * A probe or a plug was answered, and ExpCmdSN is up to date: forget what the
 * target has counted, fill the first number that it has not.
 */
void
gap_answered(struct session *s)
{
	struct gap *g = &s->gap;
	uint32_t done = 0;

	g->asked = NULL;
	while (done < g->count && serial_lt(g->cmdsn[done], s->sn.expcmdsn))
		done++;
	g->count -= done;
	memmove(g->cmdsn, g->cmdsn + done, g->count * sizeof(g->cmdsn[0]));
	if (g->count > 0 && send_plug(s, g->cmdsn[0]) != 0)
		session_fail(s, "out of memory");
}
