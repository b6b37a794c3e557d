/* SPDX-License-Identifier: ISC */
/*
 * The login of one connection, shared by login.c (stages) and keys.c (the
 * negotiation of each key).
 */
#ifndef TARGET_LOGIN_H
#define TARGET_LOGIN_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/text.h"
#include "tests/target/auth.h"
#include "tests/target/conn.h"

#define LOGIN_REPLY_MAX 8192

/* Login status: class in the high byte, detail in the low one. */
enum login_status {
	LOGIN_OK = 0x0000,
	LOGIN_INITIATOR_ERROR = 0x0200,
	LOGIN_AUTH = 0x0201,
	LOGIN_NOT_FOUND = 0x0203,
	LOGIN_VERSION = 0x0205,
	LOGIN_MISSING = 0x0207,
	LOGIN_SESSION_TYPE = 0x0209,
	LOGIN_NO_SESSION = 0x020a,
	LOGIN_INVALID = 0x020b
};

struct login {
	bool			 begun;
	uint8_t			 stage;
	uint32_t		 itt;
	uint32_t		 cmdsn;
	uint8_t			 flags;		/* of the request */
	uint32_t		 seen;		/* keys, a bit each */
	uint32_t		 proposed;	/* by us, answer to come */
	bool			 named;		/* InitiatorName was there */
	bool			 target_named;
	struct auth		 auth;
	bool			 declared;	/* our own keys were sent */
	bool			 tpgt_sent;
	char			 target[ISCSI_NAME_MAX + 1];
	char			 in[CONN_TEXT_MAX];
	uint32_t		 in_len;
	char			 out[LOGIN_REPLY_MAX];
	uint32_t		 out_len;
	uint32_t		 out_pos;
};

/*
 * Handle one pair of the initiator, append the answer, if any.  Returns a
 * login status.
 */
enum login_status keys_take(struct conn *c, const struct text_pair *pair,
    struct text_writer *w);

/* Say what the target declares and must propose itself. */
void keys_declare(struct conn *c, struct text_writer *w);

/* The values that hold when nothing is negotiated. */
void keys_defaults(struct conn *c);

/* Whether the result is acceptable, to the RFC and to the options. */
enum login_status keys_conclude(struct conn *c);

#endif
