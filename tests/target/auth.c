/* SPDX-License-Identifier: ISC */
/*
 * CHAP of the RAM target: its challenge, the check of the initiator's answer,
 * and the answer to a challenge of the initiator.
 */
#include "config.h"

#include <string.h>
#include <unistd.h>

#include <openssl/evp.h>

#include "tests/target/login.h"

#define HASH_MAX	32
#define VALUE_MAX	1024

static const char *const names[AUTH_KEYS] = {
	[AUTH_A] = "CHAP_A", [AUTH_I] = "CHAP_I", [AUTH_C] = "CHAP_C",
	[AUTH_N] = "CHAP_N", [AUTH_R] = "CHAP_R",
};

static const EVP_MD *
digest_of(unsigned algorithm)
{
	switch (algorithm) {
	case 5:
		return EVP_md5();
	case 6:
		return EVP_sha1();
	case 7:
		return EVP_sha256();
	case 8:
		return EVP_sha3_256();
	default:
		return NULL;
	}
}

/* Hash identifier, secret and challenge; returns the length. */
static unsigned
answer_of(unsigned algorithm, uint8_t id, const char *secret,
    const uint8_t *challenge, size_t len, uint8_t out[HASH_MAX])
{
	uint8_t text[1 + OPTIONS_SECRET_MAX + VALUE_MAX];
	size_t secret_len = strlen(secret);
	unsigned hash_len = 0;

	text[0] = id;
	memcpy(text + 1, secret, secret_len);
	memcpy(text + 1 + secret_len, challenge, len);
	(void)EVP_Digest(text, 1 + secret_len + len, out, &hash_len,
	    digest_of(algorithm), NULL);
	return hash_len;
}

bool
auth_take(struct conn *c, const struct text_pair *pair)
{
	struct auth *a = &c->login->auth;
	int i;

	for (i = 0; i < AUTH_KEYS; i++)
		if (text_key_is(pair, names[i])) {
			a->have[i] = true;
			a->pair[i] = *pair;
			return true;
		}
	return false;
}

int
auth_method(struct conn *c, const struct text_pair *pair,
    struct text_writer *w)
{
	bool chap = c->target->options.chap_user != NULL;
	struct login *l = c->login;

	if (l->stage != ISCSI_STAGE_SECURITY || l->auth.step != AUTH_METHOD)
		return LOGIN_INITIATOR_ERROR;
	if (!text_list_has(pair->value, chap ? "CHAP" : "None"))
		return LOGIN_AUTH;
	text_put(w, "AuthMethod", chap ? "CHAP" : "None");
	l->auth.step = chap ? AUTH_ALGORITHM : AUTH_DONE;
	return LOGIN_OK;
}

/* The first algorithm of the initiator that we were told to take. */
static int
challenge(struct conn *c, struct text_writer *w)
{
	const struct options *o = &c->target->options;
	struct auth *a = &c->login->auth;
	const char *item = a->pair[AUTH_A].value;
	char digit[2] = "";

	for (; *item != '\0'; item += strcspn(item, ",")) {
		item += *item == ',';
		digit[0] = *item;
		if (strspn(item, "5678") == 1 &&
		    text_list_has(o->chap_algorithms, digit))
			break;
	}
	if (*item == '\0')
		return LOGIN_AUTH;
	a->algorithm = (unsigned)(*item - '0');
	if (getentropy(&a->id, sizeof(a->id)) != 0 ||
	    getentropy(a->challenge, sizeof(a->challenge)) != 0)
		return LOGIN_AUTH;
	text_put_number(w, "CHAP_A", a->algorithm);
	text_put_number(w, "CHAP_I", a->id);
	text_put_binary(w, "CHAP_C", a->challenge, sizeof(a->challenge));
	a->step = AUTH_RESPONSE;
	return LOGIN_OK;
}

/* The initiator asks who we are. */
static int
answer_peer(struct conn *c, struct text_writer *w)
{
	const struct options *o = &c->target->options;
	struct auth *a = &c->login->auth;
	uint8_t theirs[VALUE_MAX], hash[HASH_MAX];
	unsigned hash_len;
	uint64_t id;
	size_t len;

	if (!a->have[AUTH_I] && !a->have[AUTH_C])
		return LOGIN_OK;
	if (o->chap_own_secret == NULL || !a->have[AUTH_I] ||
	    !a->have[AUTH_C] ||
	    text_number(&a->pair[AUTH_I], 255, &id) != 0 ||
	    text_binary(&a->pair[AUTH_C], theirs, sizeof(theirs), &len) != 0 ||
	    len < 16 || (len == sizeof(a->challenge) &&
	    memcmp(theirs, a->challenge, len) == 0))
		return LOGIN_AUTH;
	hash_len = answer_of(a->algorithm, (uint8_t)id, o->chap_own_secret,
	    theirs, len, hash);
	text_put(w, "CHAP_N", o->chap_own_user);
	text_put_binary(w, "CHAP_R", hash, hash_len);
	return LOGIN_OK;
}

static int
check_response(struct conn *c, struct text_writer *w)
{
	const struct options *o = &c->target->options;
	struct auth *a = &c->login->auth;
	uint8_t theirs[VALUE_MAX], hash[HASH_MAX];
	unsigned hash_len;
	size_t len;

	if (!a->have[AUTH_N] || !a->have[AUTH_R] ||
	    !text_value_is(&a->pair[AUTH_N], o->chap_user) ||
	    text_binary(&a->pair[AUTH_R], theirs, sizeof(theirs), &len) != 0)
		return LOGIN_AUTH;
	hash_len = answer_of(a->algorithm, a->id, o->chap_secret,
	    a->challenge, sizeof(a->challenge), hash);
	if (len != hash_len || memcmp(theirs, hash, len) != 0)
		return LOGIN_AUTH;
	a->step = AUTH_DONE;
	return answer_peer(c, w);
}

int
auth_answer(struct conn *c, struct text_writer *w)
{
	struct auth *a = &c->login->auth;
	bool any = false;
	int status = LOGIN_OK;
	int i;

	for (i = 0; i < AUTH_KEYS; i++)
		any = any || a->have[i];
	if (!any)
		return LOGIN_OK;
	/* AuthMethod and CHAP_A in one PDU is what some targets refuse. */
	if (a->step == AUTH_ALGORITHM && a->have[AUTH_A] && w->len == 0)
		status = challenge(c, w);
	else if (a->step == AUTH_RESPONSE)
		status = check_response(c, w);
	else
		status = LOGIN_INITIATOR_ERROR;
	memset(a->have, 0, sizeof(a->have));
	return status;
}

bool
auth_ready(const struct conn *c)
{
	return c->login->stage != ISCSI_STAGE_SECURITY ||
	    c->login->auth.step == AUTH_DONE ||
	    (c->login->auth.step == AUTH_METHOD &&
	    c->target->options.chap_user == NULL);
}
