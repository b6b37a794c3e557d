/* SPDX-License-Identifier: ISC */
/*
 * Watches a login that a client drives itself (RFC 7143 section 6.3), in both
 * directions, only to learn: what was negotiated, where the login ends, and
 * whose session it asks for.  It changes no PDU and fails no login: text that
 * cannot be understood is left out and counted, for a client that tests a
 * target may send anything.  It owns no socket and no timer.
 */
#ifndef DAEMON_LOGINWATCH_H
#define DAEMON_LOGINWATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/iscsi.h"

/* Bytes of text in one sequence of PDUs (C bit), each way. */
#define LOGINWATCH_TEXT_MAX	65536

struct loginwatch;

enum loginwatch_verdict {
	LOGINWATCH_GOES_ON,
	LOGINWATCH_DONE,	/* that was the final response, status 0 */
	LOGINWATCH_FAILED	/* the target refused, or redirects */
};

/*
 * What the login led to (RFC 7143 section 13); lengths in bytes.  Until
 * LOGINWATCH_DONE it is what holds without any negotiation.
 */
struct loginwatch_result {
	bool		header_digest;
	bool		data_digest;
	bool		initial_r2t;
	bool		immediate_data;
	bool		discovery;
	/*
	 * Text was longer than LOGINWATCH_TEXT_MAX, or memory ran out: what
	 * the text negotiated is not known, and the fields have defaults.
	 */
	bool		overflow;
	uint32_t	ignored;	/* pairs that were not understood */
	uint32_t	recv_dsl;	/* as the initiator declared */
	uint32_t	send_dsl;	/* as the target declared */
	uint32_t	max_burst;
	uint32_t	first_burst;
	uint32_t	max_outstanding_r2t;
	uint32_t	max_connections;
	uint32_t	error_recovery_level;
	uint32_t	protocol_level;	/* iSCSIProtocolLevel */
	/* The fields of the last Login Request ... */
	uint8_t		isid[6];
	uint16_t	cid;
	uint32_t	cmdsn;
	/* ... and those of the final response, as they are there. */
	uint16_t	tsih;
	uint32_t	statsn;
	uint32_t	expcmdsn;
	uint32_t	maxcmdsn;
	/* "" where the initiator has not said it. */
	char		initiator_name[ISCSI_NAME_MAX + 1];
	char		target_name[ISCSI_NAME_MAX + 1];
};

/* A session of somebody, by what reinstates it (section 6.3.5). */
struct loginwatch_nexus {
	const char	*initiator;	/* NULL: not known, may be any */
	const char	*target;
	const uint8_t	*isid;		/* 6 bytes */
};

/* NULL on lack of memory. */
struct loginwatch *loginwatch_new(void);
void loginwatch_free(struct loginwatch *lw);

/*
 * Would this PDU, which is about to be sent, make the Login Requests so far
 * name all of the nexus?  The TSIH does not count, names are compared without
 * case, and pairs may be cut by the ends of PDUs.  What a target might read in
 * two ways is read in both.  The PDU is not remembered.
 */
bool loginwatch_names(struct loginwatch *lw, const uint8_t *bhs,
    const uint8_t *data, size_t len, const struct loginwatch_nexus *nexus);

/*
 * See a PDU of the initiator, whatever it is, that will be sent.  `data` holds
 * the `len` bytes of its data segment.
 */
void loginwatch_request(struct loginwatch *lw, const uint8_t *bhs,
    const uint8_t *data, size_t len);

/*
 * See a PDU of the target, whatever it is.  After LOGINWATCH_FAILED a new
 * login may be watched; after LOGINWATCH_DONE nothing is learned any more.
 */
enum loginwatch_verdict loginwatch_response(struct loginwatch *lw,
    const uint8_t *bhs, const uint8_t *data, size_t len);

/* Lives as long as `lw`. */
const struct loginwatch_result *loginwatch_result(const struct loginwatch *lw);

#endif
