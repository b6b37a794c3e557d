/* SPDX-License-Identifier: ISC */
/*
 * Sequence numbers of one session with one connection: the command window
 * and CmdSN (RFC 7143 section 4.2.2.1), StatSN and ExpStatSN (section
 * 4.2.2.2).  Integers in, verdicts out; it knows no socket and no task.
 */
#ifndef DAEMON_SN_H
#define DAEMON_SN_H

#include <stdbool.h>
#include <stdint.h>

struct sn {
	uint32_t	cmdsn;		/* next to be assigned */
	uint32_t	expcmdsn;	/* the target's, latest */
	uint32_t	maxcmdsn;
	uint32_t	expstatsn;	/* StatSN we expect next */
	uint32_t	acked;		/* ExpStatSN that was sent last */
};

/*
 * Take over from a finished login: `cmdsn` is the CmdSN of the Login
 * Requests, which the first command uses again (section 11.12.8), the rest is
 * read from the BHS of the final Login Response.
 */
void sn_start(struct sn *sn, uint32_t cmdsn, const uint8_t *login_rsp);

/*
 * Go on with a connection whose login somebody else did: the CmdSN of the next
 * request, what the target told last, and the StatSN expected next.
 */
void sn_resume(struct sn *sn, uint32_t cmdsn, uint32_t expcmdsn,
    uint32_t maxcmdsn, uint32_t expstatsn);

/* True if a non-immediate request may be sent now. */
bool sn_window_open(const struct sn *sn);

/* Requests that may still be sent before the window closes. */
uint32_t sn_window_room(const struct sn *sn);

/*
 * Write CmdSN and ExpStatSN into an initiator's BHS: a non-immediate request
 * consumes a CmdSN, an immediate one carries the next without consuming it,
 * and a PDU without a CmdSN field gets zero there.
 */
void sn_stamp(struct sn *sn, uint8_t *bhs);

/* Write only ExpStatSN again, into a PDU that was stamped before. */
void sn_restamp(struct sn *sn, uint8_t *bhs);

enum sn_verdict {
	SN_OK,
	SN_LOST_STATUS		/* StatSN is not the expected one */
};

/*
 * Digest a full-feature PDU of the target: window update by serial
 * arithmetic, never backwards (section 4.2.2.1), then StatSN for those PDUs
 * that consume one (see iscsi_consumes_statsn()).  R2T and NOP-In with the
 * reserved ITT carry the next StatSN and leave ExpStatSN as it is.
 */
enum sn_verdict sn_consume(struct sn *sn, const uint8_t *bhs);

/* True if statuses were received that no PDU has acknowledged yet. */
bool sn_ack_due(const struct sn *sn);

#endif
