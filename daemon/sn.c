/* SPDX-License-Identifier: ISC */
/*
 * Sequence numbers of one session with one connection: stamps what goes out,
 * digests what comes in.  It calls proto/ only and knows no socket, no task
 * and no policy; what a lost status leads to is the session's business.
 */
#include "config.h"

#include "daemon/sn.h"
#include "proto/iscsi.h"
#include "proto/serial.h"

/*
 * True if the PDU's window is one a target can mean: MaxCmdSN is at least
 * ExpCmdSN - 1, which stands for a window of zero (RFC 7143 section 4.2.2.1).
 */
static bool
window_valid(uint32_t expcmdsn, uint32_t maxcmdsn)
{
	return !serial_lt(maxcmdsn, expcmdsn - 1);
}

static void
raise_to(uint32_t *have, uint32_t got)
{
	if (serial_lt(*have, got))
		*have = got;
}

void
sn_start(struct sn *sn, uint32_t cmdsn, const uint8_t *login_rsp)
{
	uint32_t statsn = get_be32(login_rsp + ISCSI_OFF_STATSN);

	sn->cmdsn = cmdsn;
	sn->expcmdsn = get_be32(login_rsp + ISCSI_OFF_EXPCMDSN);
	sn->maxcmdsn = get_be32(login_rsp + ISCSI_OFF_MAXCMDSN);
	if (!window_valid(sn->expcmdsn, sn->maxcmdsn)) {
		/* Nothing to go by: closed until a PDU says something valid. */
		sn->expcmdsn = cmdsn;
		sn->maxcmdsn = cmdsn - 1;
	}
	sn->expstatsn = statsn + 1;
	sn->acked = statsn;
}

void
sn_resume(struct sn *sn, uint32_t cmdsn, uint32_t expcmdsn, uint32_t maxcmdsn,
    uint32_t expstatsn)
{
	*sn = (struct sn){
		.cmdsn = cmdsn, .expcmdsn = expcmdsn, .maxcmdsn = maxcmdsn,
		.expstatsn = expstatsn, .acked = expstatsn,
	};
	if (!window_valid(expcmdsn, maxcmdsn))
		sn->maxcmdsn = expcmdsn - 1;
}

bool
sn_window_open(const struct sn *sn)
{
	return serial_le(sn->expcmdsn, sn->cmdsn) &&
	    serial_le(sn->cmdsn, sn->maxcmdsn);
}

uint32_t
sn_window_room(const struct sn *sn)
{
	return sn_window_open(sn) ? sn->maxcmdsn - sn->cmdsn + 1 : 0;
}

void
sn_restamp(struct sn *sn, uint8_t *bhs)
{
	put_be32(bhs + ISCSI_OFF_EXPSTATSN, sn->expstatsn);
	sn->acked = sn->expstatsn;
}

void
sn_stamp(struct sn *sn, uint8_t *bhs)
{
	unsigned traits = iscsi_opcode_traits(iscsi_opcode(bhs));
	uint32_t cmdsn = 0;

	if (traits & ISCSI_T_CMDSN) {
		cmdsn = sn->cmdsn;
		if (!iscsi_is_immediate(bhs))
			sn->cmdsn++;
	}
	put_be32(bhs + ISCSI_OFF_CMDSN, cmdsn);
	sn_restamp(sn, bhs);
}

static void
update_window(struct sn *sn, const uint8_t *bhs)
{
	uint32_t expcmdsn = get_be32(bhs + ISCSI_OFF_EXPCMDSN);
	uint32_t maxcmdsn = get_be32(bhs + ISCSI_OFF_MAXCMDSN);

	if (!window_valid(expcmdsn, maxcmdsn))
		return;
	raise_to(&sn->expcmdsn, expcmdsn);
	raise_to(&sn->maxcmdsn, maxcmdsn);
}

enum sn_verdict
sn_consume(struct sn *sn, const uint8_t *bhs)
{
	update_window(sn, bhs);
	if (!iscsi_consumes_statsn(bhs))
		return SN_OK;
	/*
	 * One connection delivers in order, so at ErrorRecoveryLevel 0 any
	 * other number means a lost PDU (RFC 7143 section 4.2.2.2).
	 */
	if (get_be32(bhs + ISCSI_OFF_STATSN) != sn->expstatsn)
		return SN_LOST_STATUS;
	sn->expstatsn++;
	return SN_OK;
}

bool
sn_ack_due(const struct sn *sn)
{
	return sn->acked != sn->expstatsn;
}
