/* SPDX-License-Identifier: ISC */
/*
 * CHAP of the RAM target (RFC 7143 section 12.1.3), both ways.  It shares
 * nothing with the daemon's, so that one finds the mistakes of the other.
 */
#ifndef TARGET_AUTH_H
#define TARGET_AUTH_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/text.h"

#define AUTH_CHALLENGE_LEN 16

enum auth_step {
	AUTH_METHOD,		/* AuthMethod is not agreed */
	AUTH_ALGORITHM,		/* CHAP_A is awaited */
	AUTH_RESPONSE,		/* CHAP_N and CHAP_R are */
	AUTH_DONE
};

enum auth_key { AUTH_A, AUTH_I, AUTH_C, AUTH_N, AUTH_R, AUTH_KEYS };

struct auth {
	enum auth_step		 step;
	unsigned		 algorithm;
	uint8_t			 id;
	uint8_t			 challenge[AUTH_CHALLENGE_LEN];
	bool			 have[AUTH_KEYS];	/* in this text */
	struct text_pair	 pair[AUTH_KEYS];
};

struct conn;

/* Take a pair if it is one of CHAP's; else false. */
bool auth_take(struct conn *c, const struct text_pair *pair);

/* Agree on AuthMethod, whose list is `pair`; a login status. */
int auth_method(struct conn *c, const struct text_pair *pair,
    struct text_writer *w);

/* Act on the CHAP keys of a whole text; a login status. */
int auth_answer(struct conn *c, struct text_writer *w);

/* May the login go on to another stage? */
bool auth_ready(const struct conn *c);

#endif
