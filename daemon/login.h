/* SPDX-License-Identifier: ISC */
/*
 * The login phase of an initiator (RFC 7143 sections 6 and 11.12) as a pure
 * machine: a Login Request out, a Login Response in, and at the end the
 * negotiated values or a reason in words.  It owns no socket and no timer.
 */
#ifndef DAEMON_LOGIN_H
#define DAEMON_LOGIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/conf.h"
#include "proto/iscsi.h"

#define LOGIN_ADDRESS_MAX	255	/* bytes, RFC 7143 section 6.1 */

struct login;

/* A digest preference list, in order; the first common one is chosen. */
enum login_digest {
	LOGIN_DIGEST_END = 0,
	LOGIN_DIGEST_NONE,
	LOGIN_DIGEST_CRC32C
};

struct chap_challenges;

/*
 * What to ask for.  Strings, numbers and secrets are copied by login_new();
 * the challenges must outlive the login.
 */
struct login_wanted {
	const char		*initiator_name;
	const char		*initiator_alias;	/* NULL: not sent */
	const char		*target_name;	/* NULL: discovery only */
	bool			 discovery;	/* offer what belongs there */
	uint8_t			 isid[6];
	uint32_t		 cmdsn;		/* CmdSN of the login phase */
	uint16_t		 cid;
	enum login_digest	 header_digest[3];
	enum login_digest	 data_digest[3];
	uint32_t		 max_recv_dsl;	/* ours, bytes */
	uint32_t		 max_burst;
	uint32_t		 first_burst;
	uint32_t		 max_outstanding_r2t;
	uint32_t		 time2wait;	/* seconds */
	uint32_t		 time2retain;	/* seconds */
	uint32_t		 protocol_level;	/* below 2: not said */
	bool			 initial_r2t;
	bool			 immediate_data;
	bool			 tpgt_set;	/* insist on this one: */
	uint16_t		 tpgt;
	/* NULL, or without a user: no authentication.  Else all three. */
	const struct config_chap *chap;
	const struct config_chap_rules *chap_rules;
	struct chap_challenges	*challenges;
	bool			 md5_only;	/* see login_wants_md5() */
};

/* What was negotiated (RFC 7143 section 13); lengths in bytes. */
struct login_result {
	bool		header_digest;
	bool		data_digest;
	uint32_t	send_dsl;	/* target's MaxRecvDataSegmentLength */
	uint32_t	recv_dsl;	/* ours as declared */
	uint32_t	max_burst;
	uint32_t	first_burst;
	uint32_t	max_outstanding_r2t;
	uint32_t	max_connections;
	uint32_t	time2wait;
	uint32_t	time2retain;
	uint32_t	error_recovery_level;
	uint32_t	protocol_level;	/* iSCSIProtocolLevel */
	bool		initial_r2t;
	bool		immediate_data;
	bool		data_pdu_in_order;
	bool		data_sequence_in_order;
	uint16_t	tsih;
	uint16_t	tpgt;
	bool		have_tpgt;
	char		target_alias[256];	/* as sent: any bytes */
};

enum login_verdict {
	LOGIN_SEND,	/* send the next request */
	LOGIN_DONE,	/* full feature phase; see login_result() */
	LOGIN_FAILED	/* see login_error(); close the connection */
};

/*
 * NULL with errno ENOMEM, or EINVAL if the names fill the first request or
 * there is no target to name.
 */
struct login *login_new(const struct login_wanted *wanted);
void login_free(struct login *l);

/*
 * Build the next Login Request into `bhs` and its data segment (text) into
 * the ISCSI_LOGIN_DSL_MAX bytes at `data`.  CmdSN and ITT are filled in,
 * ExpStatSN as well.  Call it first after login_new() and after each
 * LOGIN_SEND.
 */
void login_request(struct login *l, uint8_t *bhs, uint8_t *data);

/*
 * Take a PDU that arrived during login, whatever it is.  `data` holds the
 * `len` bytes of its data segment.
 */
enum login_verdict login_response(struct login *l, const uint8_t *bhs,
    const uint8_t *data, size_t len);

/* All zero until LOGIN_DONE; lives as long as `l`. */
const struct login_result *login_result(const struct login *l);

/*
 * The reason of LOGIN_FAILED in words, with status class and detail, in
 * printable ASCII; empty before.
 */
const char *login_error(const struct login *l);

/*
 * Where the target says it has moved (RFC 7143 section 13.8).  Nobody has
 * authenticated it so far.
 */
struct login_redirect {
	bool		permanent;	/* else only for now */
	uint16_t	port;		/* host byte order */
	char		host[LOGIN_ADDRESS_MAX + 1];	/* without brackets */
	char		address[LOGIN_ADDRESS_MAX + 1];	/* all, as it was sent */
	char		target[ISCSI_NAME_MAX + 1];	/* its name there, or "" */
};

/*
 * The redirection by which the login has failed: status class 1 with an
 * address that can be used.  Else NULL.  Lives as long as `l`.
 */
const struct login_redirect *login_redirect(const struct login *l);

/*
 * Has it ended, or must it, in the midst of CHAP?  Not so if the target chose
 * AuthMethod None, has moved (status class 1) or cannot serve now (class 3).
 */
bool login_failed_in_chap(const struct login *l);

/*
 * The same, and may it do better with MD5 alone?  Then a new one with
 * `md5_only` is worth one attempt.  Never after the target sent our challenge
 * back or used our own secret (RFC 7143 section 9.2.1): no algorithm makes up
 * for that.
 */
bool login_wants_md5(const struct login *l);

/*
 * The status with which the target refused, as class << 8 | detail; 0 if it
 * did not, or if the failure was found on this side.
 */
uint16_t login_status(const struct login *l);

#endif
