/* SPDX-License-Identifier: ISC */
/*
 * CHAP's arithmetic (daemon/chap.h): known answers, comparison, challenges.
 */
#include "config.h"

#include <stdio.h>
#include <string.h>

#include "daemon/chap.h"
#include "tests/unit/unit.h"

/* Known answers: id 7, this secret, challenge 00 to 0f; made with hashlib. */
#define SECRET	"secretsecret12"
#define ID	7

static const struct {
	unsigned	 algorithm;
	const char	*name;
	const char	*response;
} known[] = {
	{ 5, "MD5", "d2ad9b553183668fa064205c85779b04" },
	{ 6, "SHA1", "bfafd5f1ddf08efeacfa0eddf119e8701b74a930" },
	{ 7, "SHA256", "a0a042f9422600a942224f51b622b57b"
	    "4212324375e7726dcff1d877044e09cd" },
	{ 8, "SHA3-256", "472595c8fc50e25270bf354715bc521b"
	    "f1653c7e321a62bbb0ffeb5588d61df9" },
};

static void
make_input(struct secret *secret, uint8_t challenge[16])
{
	secret->len = strlen(SECRET);
	memcpy(secret->bytes, SECRET, secret->len);
	for (uint8_t i = 0; i < 16; i++)
		challenge[i] = i;
}

START_TEST(known_answers)
{
	struct secret secret;
	uint8_t challenge[16], out[CHAP_HASH_MAX];
	char hex[2 * CHAP_HASH_MAX + 1];
	size_t len = chap_response_len(known[_i].algorithm);

	make_input(&secret, challenge);
	ck_assert(chap_algorithm_usable(known[_i].algorithm));
	ck_assert_uint_eq(len, strlen(known[_i].response) / 2);
	ck_assert_int_eq(chap_response(known[_i].algorithm, ID, &secret,
	    challenge, sizeof(challenge), out), 0);
	for (size_t i = 0; i < len; i++)
		snprintf(hex + 2 * i, 3, "%02x", out[i]);
	ck_assert_str_eq(hex, known[_i].response);
	ck_assert_str_eq(chap_algorithm_name(known[_i].algorithm),
	    known[_i].name);
	ck_assert_uint_eq(chap_algorithm_number(known[_i].name),
	    known[_i].algorithm);
}
END_TEST

START_TEST(no_algorithm)
{
	struct secret secret;
	uint8_t challenge[16], out[CHAP_HASH_MAX];

	make_input(&secret, challenge);
	ck_assert_int_ne(chap_response(4, ID, &secret, challenge, 16, out), 0);
	ck_assert(!chap_algorithm_usable(4));
	ck_assert(!chap_algorithm_usable(9));
	ck_assert_uint_eq(chap_response_len(9), 0);
	ck_assert_uint_eq(chap_algorithm_number("SHA-256"), 0);
	ck_assert_str_eq(chap_algorithm_name(9), "unknown");
}
END_TEST

/* The length counts before a byte is compared, and every byte does. */
START_TEST(comparison)
{
	static const uint8_t hash[CHAP_HASH_MAX + 1] = { 1, 2, 3 };
	uint8_t other[CHAP_HASH_MAX];

	ck_assert(chap_response_is(CHAP_MD5, hash, hash, 16));
	ck_assert(!chap_response_is(CHAP_MD5, hash, hash, 15));
	ck_assert(!chap_response_is(CHAP_MD5, hash, hash, 17));
	ck_assert(!chap_response_is(CHAP_MD5, hash, hash, 0));
	ck_assert(!chap_response_is(4, hash, hash, 0));
	ck_assert(chap_response_is(CHAP_SHA256, hash, hash, 32));
	for (size_t i = 0; i < 32; i++) {
		memcpy(other, hash, sizeof(other));
		other[i] ^= 0x80;
		ck_assert(!chap_response_is(CHAP_SHA256, hash, other, 32));
	}
}
END_TEST

/* No two are equal, and each is known for as long as it is outstanding. */
START_TEST(challenges)
{
	struct chap_challenges *all = chap_challenges_new();
	struct chap_challenge c[64] = { { .outstanding = false } };
	const size_t n = sizeof(c) / sizeof(c[0]);

	ck_assert_int_gt(CHAP_CHALLENGE_LEN, 16);
	for (size_t i = 0; i < n; i++) {
		ck_assert_int_eq(chap_challenge_begin(all, &c[i]), 0);
		for (size_t j = 0; j < i; j++)
			ck_assert_mem_ne(c[i].bytes, c[j].bytes,
			    CHAP_CHALLENGE_LEN);
	}
	for (size_t i = 0; i < n; i++) {
		ck_assert(chap_challenges_have(all, c[i].bytes,
		    CHAP_CHALLENGE_LEN));
		ck_assert(!chap_challenges_have(all, c[i].bytes,
		    CHAP_CHALLENGE_LEN - 1));
		chap_challenge_end(&c[i]);
		chap_challenge_end(&c[i]);
		ck_assert(!chap_challenges_have(all, c[i].bytes,
		    CHAP_CHALLENGE_LEN));
	}
	chap_challenges_free(all);
	chap_challenges_free(NULL);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("chap");
	TCase *tcase = tcase_create("chap");

	tcase_add_loop_test(tcase, known_answers, 0,
	    (int)(sizeof(known) / sizeof(known[0])));
	tcase_add_test(tcase, no_algorithm);
	tcase_add_test(tcase, comparison);
	tcase_add_test(tcase, challenges);
	suite_add_tcase(suite, tcase);
	return unit_run(suite);
}
