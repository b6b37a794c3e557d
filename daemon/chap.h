/* SPDX-License-Identifier: ISC */
/*
 * The arithmetic of CHAP (RFC 1994, and RFC 7143 section 12.1.3): responses,
 * and the challenges that are outstanding.  It knows no text and no login.
 */
#ifndef DAEMON_CHAP_H
#define DAEMON_CHAP_H

#include <sys/queue.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/secret.h"

#define CHAP_HASH_MAX		32	/* bytes of a response */
#define CHAP_VALUE_MAX		1024	/* bytes of a target's challenge */
#define CHAP_CHALLENGE_LEN	24	/* bytes of ours */

/* IANA's numbers, as in CHAP_A. */
enum chap_algorithm {
	CHAP_MD5 = 5,
	CHAP_SHA1 = 6,
	CHAP_SHA256 = 7,
	CHAP_SHA3_256 = 8
};

/* The name as it is configured, "unknown" if it is none. */
const char *chap_algorithm_name(unsigned algorithm);

/* The number of a name, 0 if it is none. */
unsigned chap_algorithm_number(const char *name);

/* Does libcrypto have it?  Under a FIPS policy it may not. */
bool chap_algorithm_usable(unsigned algorithm);

/* Bytes of a response; 0 if there is no such algorithm. */
size_t chap_response_len(unsigned algorithm);

/*
 * The response to a challenge: the hash of identifier, secret and challenge,
 * in the first chap_response_len() bytes of `out`.  Returns 0, -ENOTSUP if
 * libcrypto does not have the algorithm, or -ENOMEM.
 */
int chap_response(unsigned algorithm, uint8_t id, const struct secret *secret,
    const uint8_t *challenge, size_t len, uint8_t out[CHAP_HASH_MAX]);

/* Is this the response?  `len` may be anything; constant time. */
bool chap_response_is(unsigned algorithm, const uint8_t *expected,
    const uint8_t *got, size_t len);

/*
 * The challenges of this daemon that no target has answered yet, on whatever
 * connection.  A target that sends one of them back wants us to compute the
 * answer for it (RFC 7143 section 9.2.1).
 */
struct chap_challenges;

/* One of them; its place is its maker's. */
struct chap_challenge {
	LIST_ENTRY(chap_challenge) link;
	bool	outstanding;
	uint8_t	id;
	uint8_t	bytes[CHAP_CHALLENGE_LEN];
};

/* NULL on lack of memory.  All have ended when it is freed. */
struct chap_challenges *chap_challenges_new(void);
void chap_challenges_free(struct chap_challenges *all);

/*
 * Make one, at random, and count it as outstanding.  Returns 0 or -EIO if
 * there is no randomness.
 */
int chap_challenge_begin(struct chap_challenges *all,
    struct chap_challenge *c);

/* Nobody will answer it any more.  Does nothing if it is not outstanding. */
void chap_challenge_end(struct chap_challenge *c);

/* Are these bytes an outstanding challenge of ours? */
bool chap_challenges_have(const struct chap_challenges *all,
    const uint8_t *bytes, size_t len);

#endif
