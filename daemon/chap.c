/* SPDX-License-Identifier: ISC */
/*
 * CHAP over libcrypto: responses by EVP, comparison in constant time, random
 * challenges, and the list of those that are outstanding.  It must never know
 * a connection or what a key of text means.
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>

#include "daemon/chap.h"

static const struct {
	unsigned	 number;
	const char	*name;		/* ours, and open-iscsi's */
	const char	*fetch;		/* libcrypto's */
	size_t		 len;
} algorithms[] = {
	{ CHAP_MD5, "MD5", "MD5", 16 },
	{ CHAP_SHA1, "SHA1", "SHA1", 20 },
	{ CHAP_SHA256, "SHA256", "SHA256", 32 },
	{ CHAP_SHA3_256, "SHA3-256", "SHA3-256", 32 },
};

#define N_ALGORITHMS	(sizeof(algorithms) / sizeof(algorithms[0]))

LIST_HEAD(chap_list, chap_challenge);

struct chap_challenges {
	struct chap_list	 list;
};

/* The row of an algorithm, N_ALGORITHMS if there is none. */
static size_t
find(unsigned algorithm)
{
	size_t i;

	for (i = 0; i < N_ALGORITHMS; i++)
		if (algorithms[i].number == algorithm)
			break;
	return i;
}

const char *
chap_algorithm_name(unsigned algorithm)
{
	size_t i = find(algorithm);

	return i < N_ALGORITHMS ? algorithms[i].name : "unknown";
}

unsigned
chap_algorithm_number(const char *name)
{
	for (size_t i = 0; i < N_ALGORITHMS; i++)
		if (strcmp(algorithms[i].name, name) == 0)
			return algorithms[i].number;
	return 0;
}

size_t
chap_response_len(unsigned algorithm)
{
	size_t i = find(algorithm);

	return i < N_ALGORITHMS ? algorithms[i].len : 0;
}

/* A policy may leave out MD5, for example. */
static EVP_MD *
fetch(unsigned algorithm)
{
	size_t i = find(algorithm);

	return i < N_ALGORITHMS ?
	    EVP_MD_fetch(NULL, algorithms[i].fetch, NULL) : NULL;
}

bool
chap_algorithm_usable(unsigned algorithm)
{
	EVP_MD *md = fetch(algorithm);

	EVP_MD_free(md);
	return md != NULL;
}

int
chap_response(unsigned algorithm, uint8_t id, const struct secret *secret,
    const uint8_t *challenge, size_t len, uint8_t out[CHAP_HASH_MAX])
{
	EVP_MD *md = fetch(algorithm);
	EVP_MD_CTX *ctx;
	bool done;

	if (md == NULL)
		return -ENOTSUP;
	ctx = EVP_MD_CTX_new();
	/* The context is wiped by its end. */
	done = ctx != NULL && EVP_DigestInit_ex2(ctx, md, NULL) == 1 &&
	    EVP_DigestUpdate(ctx, &id, sizeof(id)) == 1 &&
	    EVP_DigestUpdate(ctx, secret->bytes, secret->len) == 1 &&
	    EVP_DigestUpdate(ctx, challenge, len) == 1 &&
	    EVP_DigestFinal_ex(ctx, out, NULL) == 1;
	EVP_MD_CTX_free(ctx);
	EVP_MD_free(md);
	return done ? 0 : -ENOMEM;
}

bool
chap_response_is(unsigned algorithm, const uint8_t *expected,
    const uint8_t *got, size_t len)
{
	return len != 0 && len == chap_response_len(algorithm) &&
	    CRYPTO_memcmp(expected, got, len) == 0;
}

struct chap_challenges *
chap_challenges_new(void)
{
	struct chap_challenges *all = calloc(1, sizeof(*all));

	if (all != NULL)
		LIST_INIT(&all->list);
	return all;
}

void
chap_challenges_free(struct chap_challenges *all)
{
	free(all);
}

int
chap_challenge_begin(struct chap_challenges *all, struct chap_challenge *c)
{
	if (RAND_bytes(&c->id, sizeof(c->id)) != 1 ||
	    RAND_bytes(c->bytes, sizeof(c->bytes)) != 1)
		return -EIO;
	LIST_INSERT_HEAD(&all->list, c, link);
	c->outstanding = true;
	return 0;
}

void
chap_challenge_end(struct chap_challenge *c)
{
	if (c->outstanding)
		LIST_REMOVE(c, link);
	c->outstanding = false;
}

bool
chap_challenges_have(const struct chap_challenges *all, const uint8_t *bytes,
    size_t len)
{
	const struct chap_challenge *c;

	if (len != CHAP_CHALLENGE_LEN)
		return false;
	LIST_FOREACH(c, &all->list, link)
		if (memcmp(c->bytes, bytes, len) == 0)
			return true;
	return false;
}
