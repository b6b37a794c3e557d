/* SPDX-License-Identifier: ISC */
/*
 * What a target may send for a task of a client: no more than was asked for,
 * and every PDU of it in its order, for at error recovery level 0 what is
 * missing was lost (RFC 7143 sections 7.9, 11.7 and 11.8).  What breaks these
 * rules costs the target its session.  What the PDUs mean is session_rx.c's.
 */
#include "config.h"

#include <inttypes.h>

#include "daemon/session_internal.h"
#include "proto/iscsi.h"

/* --- not too much --- */

bool
session_intake_one(struct task *t)
{
	if (++t->rx_pdus <= 16 + t->edtl / 512)
		return true;
	session_fail(t->session, "the target sent %" PRIu32 " PDUs for a task "
	    "of %" PRIu32 " bytes", t->rx_pdus, t->edtl);
	return false;
}

/*
 * Room for what a task may receive was charged when it was accepted; a target
 * that sends more is broken.
 */
bool
session_intake_charged(struct task *t, const struct rxpdu *pdu)
{
	uint32_t sense = 0;

	if (iscsi_opcode(pdu->bhs) == ISCSI_OP_SCSI_RSP)
		sense = pdu->data->len;
	else
		t->rx_bytes += pdu->data->len;
	if (t->rx_bytes <= t->rx_max && sense <= TASK_SENSE_MAX)
		return session_intake_one(t);
	session_fail(t->session, "the target sent %" PRIu64 " bytes for a "
	    "task that may receive %" PRIu32, t->rx_bytes + sense, t->rx_max);
	return false;
}

/* --- in order --- */

static bool
number_is(const struct task *t, const char *what, uint32_t number,
    uint32_t expected)
{
	if (number == expected)
		return true;
	session_fail(t->session, "%s is %" PRIu32 ", expected %" PRIu32
	    ": a PDU was lost", what, number, expected);
	return false;
}

/*
 * Our own logins settle on DataPDUInOrder and DataSequenceInOrder; of the
 * login of a raw connection that was shared nobody knows.
 */
static bool
in_order(const struct session *s)
{
	return !s->shared;
}

static bool
data_in(struct task *t, const struct rxpdu *pdu)
{
	uint32_t offset = get_be32(pdu->bhs + ISCSI_OFF_BUFFER_OFFSET);

	if (!number_is(t, "DataSN of a Data-In", get_be32(pdu->bhs +
	    ISCSI_OFF_DATASN), t->rx_datasn))
		return false;
	if (pdu->data->len > 0 && in_order(t->session) &&
	    !number_is(t, "Buffer Offset of a Data-In", offset, t->rx_offset))
		return false;
	t->rx_datasn++;
	t->rx_offset += pdu->data->len;
	return true;
}

/*
 * ExpDataSN of a command that was completed says how many Data-Ins were sent
 * (section 11.4.8), and by RFC 3720 how many R2Ts, too.  Zero says nothing:
 * tgt and istgt do not count R2Ts, and targets are known that never fill it
 * in, which other initiators let pass.
 */
static bool
response(const struct task *t, const struct rxpdu *pdu)
{
	uint32_t expdatasn = get_be32(pdu->bhs + ISCSI_OFF_EXPDATASN);

	return pdu->bhs[ISCSI_OFF_RESPONSE] != 0 || expdatasn == 0 ||
	    number_is(t, "ExpDataSN of a SCSI Response", expdatasn,
	    t->rx_datasn + t->rx_r2tsn);
}

/*
 * Data that were cut short (abort.c) may be asked for again; else a target
 * goes on where it was.
 */
static bool
goes_back(const struct task *t, uint32_t offset)
{
	return offset < t->r2t_offset && t->end == TASK_END_NONE &&
	    in_order(t->session);
}

/* RFC 7143 section 11.8. */
static bool
r2t(struct task *t, const struct rxpdu *pdu)
{
	struct session *s = t->session;
	uint32_t offset = get_be32(pdu->bhs + ISCSI_OFF_BUFFER_OFFSET);
	uint32_t len = get_be32(pdu->bhs + ISCSI_OFF_DESIRED_LEN);

	if (!number_is(t, "R2TSN of an R2T", get_be32(pdu->bhs +
	    ISCSI_OFF_DATASN), t->rx_r2tsn))
		return false;
	if (len == 0 || len > s->params.max_burst ||
	    (uint64_t)offset + len > t->tx_max ||
	    goes_back(t, offset) ||
	    iscsi_ttt(pdu->bhs) == ISCSI_TAG_NONE ||
	    iscsi_lun(pdu->bhs) != t->lun ||
	    t->nr2ts > s->params.max_r2t) {
		session_fail(s, "the target sent an R2T for %" PRIu32
		    " bytes at %" PRIu32 " that it may not send", len, offset);
		return false;
	}
	t->rx_r2tsn++;
	t->r2t_offset = offset + len;
	return true;
}

bool
session_intake_pdu(struct task *t, const struct rxpdu *pdu)
{
	if (!session_intake_charged(t, pdu))
		return false;
	switch (iscsi_opcode(pdu->bhs)) {
	case ISCSI_OP_DATA_IN:
		return data_in(t, pdu);
	case ISCSI_OP_R2T:
		return r2t(t, pdu);
	case ISCSI_OP_SCSI_RSP:
		return response(t, pdu);
	default:
		return true;
	}
}
