/* SPDX-License-Identifier: ISC */
/*
 * CHAP within the security stage (RFC 7143 section 12.1.3): what is offered,
 * the answer to the target's challenge, and the challenge to the target.  It
 * calls chap.c for all arithmetic and knows no PDU.
 */
#include "config.h"

#include <string.h>

#include "daemon/login_priv.h"

#define VALUE_SHOWN	64	/* bytes of a target's value in a message */
#define LIST_TEXT_MAX	16	/* "8,7,6,5" and a NUL */

static const char *const key_names[LOGIN_CHAP_KEYS] = {
	[LOGIN_CHAP_A] = "CHAP_A",
	[LOGIN_CHAP_I] = "CHAP_I",
	[LOGIN_CHAP_C] = "CHAP_C",
	[LOGIN_CHAP_N] = "CHAP_N",
	[LOGIN_CHAP_R] = "CHAP_R",
};

/* Only what libcrypto can compute is offered. */
static void
init_list(struct login_auth *a, const struct login_wanted *wanted)
{
	const struct config_chap_rules *rules = wanted->chap_rules;
	unsigned i;

	for (i = 0; i < rules->count; i++)
		if ((rules->list[i] == CHAP_MD5 || !wanted->md5_only) &&
		    chap_algorithm_usable(rules->list[i]))
			a->list[a->count++] = rules->list[i];
	a->fallback = !rules->listed && rules->allow_md5 &&
	    !wanted->md5_only && chap_algorithm_usable(CHAP_MD5);
}

void
login_auth_init(struct login_auth *a, const struct login_wanted *wanted,
    char *methods)
{
	const struct config_chap *chap = wanted->chap;

	memset(a, 0, sizeof(*a));
	strlcpy(methods, "None", LOGIN_LIST_MAX);
	if (chap == NULL || chap->user == NULL)
		return;
	a->mutual = chap->peer_secret.len > 0;
	a->challenges = wanted->challenges;
	a->secret = chap->secret;
	a->peer_secret = chap->peer_secret;
	strlcpy(a->user, chap->user, sizeof(a->user));
	if (chap->peer_user != NULL)
		strlcpy(a->peer_user, chap->peer_user, sizeof(a->peer_user));
	init_list(a, wanted);
	/* LIO takes the first one, also if it then cannot do it. */
	strlcpy(methods, wanted->chap_rules->required || a->mutual ? "CHAP" :
	    "None,CHAP", LOGIN_LIST_MAX);
}

void
login_auth_free(struct login_auth *a)
{
	chap_challenge_end(&a->ours);
	secret_wipe(&a->secret);
	secret_wipe(&a->peer_secret);
}

bool
login_auth_take(struct login_auth *a, const struct text_pair *pair)
{
	int i;

	for (i = 0; i < LOGIN_CHAP_KEYS; i++)
		if (text_key_is(pair, key_names[i])) {
			a->have[i] = true;
			a->pair[i] = *pair;
			return true;
		}
	return false;
}

/* Exactly the keys `first` to `last` have to be there. */
static int
check_keys(const struct login_auth *a, enum login_chap_key first,
    enum login_chap_key last, struct login_why *why)
{
	int i;

	for (i = 0; i < LOGIN_CHAP_KEYS; i++) {
		if (i >= (int)first && i <= (int)last && !a->have[i])
			return login_fail(why, "target did not send %s",
			    key_names[i]);
		if ((i < (int)first || i > (int)last) && a->have[i])
			return login_fail(why, "target sent %s, which is not "
			    "due", key_names[i]);
	}
	return 0;
}

static const char *
list_text(const struct login_auth *a, char text[LIST_TEXT_MAX])
{
	size_t len = 0;
	unsigned i;

	for (i = 0; i < a->count; i++) {
		if (len > 0)
			text[len++] = ',';
		text[len++] = (char)('0' + a->list[i]);
	}
	text[len] = '\0';
	return text;
}

/* The target has answered AuthMethod. */
static int
begin_chap(struct login_auth *a, struct text_writer *out,
    struct login_why *why)
{
	char text[LIST_TEXT_MAX];

	if (a->count == 0)
		return login_fail(why, "no algorithm of CHAP is left: "
		    "libcrypto has none of those that are configured");
	/* A PDU of its own: LIO refuses it beside AuthMethod. */
	text_put(out, "CHAP_A", list_text(a, text));
	a->state = LOGIN_AUTH_CHALLENGE;
	return 0;
}

static int
take_algorithm(struct login_auth *a, struct login_why *why)
{
	const struct text_pair *pair = &a->pair[LOGIN_CHAP_A];
	char text[LIST_TEXT_MAX];
	uint64_t number;

	if (text_value_is(pair, "Reject"))
		return login_fail(why, "target rejected CHAP_A=%s",
		    list_text(a, text));
	if (text_number(pair, UINT8_MAX, &number) != 0 || number == 0 ||
	    memchr(a->list, (int)number, a->count) == NULL)
		return login_fail(why, "target chose CHAP_A=%.*s, but we "
		    "offered only %s", VALUE_SHOWN, pair->value,
		    list_text(a, text));
	a->algorithm = (unsigned)number;
	return 0;
}

/*
 * A challenge to the target.  It is not the one that the target sent, nor may
 * a target ever send it to us (section 9.2.1); the latter is looked after by
 * counting it as outstanding.
 */
static int
challenge_target(struct login_auth *a, const uint8_t *theirs, size_t len,
    struct text_writer *out, struct login_why *why)
{
	do {
		chap_challenge_end(&a->ours);
		if (chap_challenge_begin(a->challenges, &a->ours) != 0)
			return login_fail(why, "no random numbers for a "
			    "challenge");
	} while (len == sizeof(a->ours.bytes) &&
	    memcmp(a->ours.bytes, theirs, len) == 0);
	text_put_number(out, "CHAP_I", a->ours.id);
	text_put_binary(out, "CHAP_C", a->ours.bytes, sizeof(a->ours.bytes));
	return 0;
}

static int
fail_hash(const struct login_auth *a, struct login_why *why)
{
	return login_fail(why, "cannot compute CHAP by %s",
	    chap_algorithm_name(a->algorithm));
}

/* The target has sent its choice and its challenge. */
static int
answer_challenge(struct login_auth *a, struct text_writer *out,
    struct login_why *why)
{
	uint8_t theirs[CHAP_VALUE_MAX], response[CHAP_HASH_MAX];
	uint64_t id;
	size_t len;

	if (take_algorithm(a, why) != 0 ||
	    check_keys(a, LOGIN_CHAP_A, LOGIN_CHAP_C, why) != 0)
		return LOGIN_E_FAILED;
	if (text_number(&a->pair[LOGIN_CHAP_I], UINT8_MAX, &id) != 0)
		return login_fail(why, "target sent CHAP_I=%.*s, which is no "
		    "number from 0 to 255", VALUE_SHOWN,
		    a->pair[LOGIN_CHAP_I].value);
	if (text_binary(&a->pair[LOGIN_CHAP_C], theirs, sizeof(theirs),
	    &len) != 0)
		return login_fail(why, "target sent a CHAP_C that is no "
		    "binary value of 1 to %d bytes", CHAP_VALUE_MAX);
	if (chap_challenges_have(a->challenges, theirs, len)) {
		a->deceived = true;
		return login_fail(why, "target sent one of our own "
		    "challenges back: it wants us to answer for it");
	}
	if (chap_response(a->algorithm, (uint8_t)id, &a->secret, theirs, len,
	    response) != 0)
		return fail_hash(a, why);
	text_put(out, "CHAP_N", a->user);
	text_put_binary(out, "CHAP_R", response,
	    chap_response_len(a->algorithm));
	a->state = a->mutual ? LOGIN_AUTH_PEER : LOGIN_AUTH_DONE;
	return a->mutual ? challenge_target(a, theirs, len, out, why) : 0;
}

/* Is `got` what this secret answers to our challenge? */
static int
answers(const struct login_auth *a, const struct secret *secret,
    const uint8_t *got, size_t len, bool *yes, struct login_why *why)
{
	uint8_t expected[CHAP_HASH_MAX];

	if (chap_response(a->algorithm, a->ours.id, secret, a->ours.bytes,
	    sizeof(a->ours.bytes), expected) != 0)
		return fail_hash(a, why);
	*yes = chap_response_is(a->algorithm, expected, got, len);
	return 0;
}

/* The target has answered our challenge. */
static int
check_peer(struct login_auth *a, struct login_why *why)
{
	const struct text_pair *name = &a->pair[LOGIN_CHAP_N];
	uint8_t got[CHAP_VALUE_MAX];
	bool is_own, is_theirs;
	size_t len;

	if (check_keys(a, LOGIN_CHAP_N, LOGIN_CHAP_R, why) != 0)
		return LOGIN_E_FAILED;
	if (a->peer_user[0] != '\0' && !text_value_is(name, a->peer_user))
		return login_fail(why, "target calls itself %.*s by CHAP, "
		    "but %s is configured", VALUE_SHOWN, name->value,
		    a->peer_user);
	if (text_binary(&a->pair[LOGIN_CHAP_R], got, sizeof(got), &len) != 0)
		return login_fail(why, "target sent a CHAP_R that is no "
		    "binary value of 1 to %d bytes", CHAP_VALUE_MAX);
	if (len != chap_response_len(a->algorithm))
		return login_fail(why, "target sent a CHAP_R of %zu bytes, "
		    "not the %zu of %s", len, chap_response_len(a->algorithm),
		    chap_algorithm_name(a->algorithm));
	if (answers(a, &a->secret, got, len, &is_own, why) != 0 ||
	    answers(a, &a->peer_secret, got, len, &is_theirs, why) != 0)
		return LOGIN_E_FAILED;
	if (is_own) {
		a->deceived = true;
		return login_fail(why, "target authenticates itself with our "
		    "own secret: the two directions must differ");
	}
	if (!is_theirs)
		return login_fail(why, "target could not authenticate itself: "
		    "its CHAP_R is wrong");
	chap_challenge_end(&a->ours);
	a->state = LOGIN_AUTH_DONE;
	return 0;
}

static bool
has_any(const struct login_auth *a)
{
	int i;

	for (i = 0; i < LOGIN_CHAP_KEYS; i++)
		if (a->have[i])
			return true;
	return false;
}

int
login_auth_step(struct login_auth *a, const struct login_keys *keys,
    struct text_writer *out, struct login_why *why)
{
	bool any = has_any(a);
	int result = 0;

	switch (a->state) {
	case LOGIN_AUTH_METHOD:
		/* None of CHAP's keys is due: say which there is. */
		result = check_keys(a, LOGIN_CHAP_KEYS, LOGIN_CHAP_KEYS, why);
		if (result != 0 ||
		    keys->state[LOGIN_KEY_AUTH_METHOD] != LOGIN_KEY_SETTLED)
			break;
		if (keys->value[LOGIN_KEY_AUTH_METHOD] != 0)
			result = begin_chap(a, out, why);
		else
			a->state = LOGIN_AUTH_DONE;
		break;
	case LOGIN_AUTH_CHALLENGE:
		if (any)
			result = answer_challenge(a, out, why);
		break;
	case LOGIN_AUTH_PEER:
		result = check_peer(a, why);
		break;
	case LOGIN_AUTH_DONE:
		result = check_keys(a, LOGIN_CHAP_KEYS, LOGIN_CHAP_KEYS, why);
		break;
	}
	memset(a->have, 0, sizeof(a->have));
	return result;
}

bool
login_auth_may_end(const struct login_auth *a)
{
	return a->state != LOGIN_AUTH_CHALLENGE;
}

int
login_auth_end(struct login_auth *a, struct login_keys *keys,
    struct login_why *why)
{
	const char *list = keys->list[LOGIN_KEY_AUTH_METHOD];

	if (a->state == LOGIN_AUTH_DONE)
		return 0;
	/* An answer that was left out, where none would do, for good. */
	if (a->state == LOGIN_AUTH_METHOD && text_list_has(list, "None")) {
		a->state = LOGIN_AUTH_DONE;
		keys->state[LOGIN_KEY_AUTH_METHOD] = LOGIN_KEY_SETTLED;
		return 0;
	}
	return login_fail(why, "target ended the security stage without "
	    "AuthMethod=%s", list);
}
