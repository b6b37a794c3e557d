/* SPDX-License-Identifier: ISC */
/* The pauses between attempts: doubling, cap, jitter, limit. */
#include "config.h"

#include "daemon/backoff.h"
#include "tests/unit/unit.h"

START_TEST(doubles_up_to_the_cap)
{
	static const uint32_t pauses[] = { 2000, 4000, 8000, 16000, 32000,
	    60000, 60000 };
	struct backoff b = { 0 };

	for (size_t i = 0; i < sizeof(pauses) / sizeof(pauses[0]); i++)
		ck_assert_uint_eq(backoff_next(&b, 2000, 60000, 0),
		    pauses[i]);
	b = (struct backoff){ 0 };
	ck_assert_uint_eq(backoff_next(&b, 2000, 60000, 0), 2000);
}
END_TEST

/* However long a target is gone, and whatever the cap. */
START_TEST(never_overflows)
{
	static const uint32_t caps[] = { 1, 3, 60000, UINT32_MAX / 2,
	    UINT32_MAX - 1, UINT32_MAX };
	const uint32_t cap = caps[_i];
	struct backoff b = { 0 };
	uint32_t last = 0, pause;

	for (unsigned i = 0; i < 200; i++) {
		pause = backoff_next(&b, 1, cap, 0);
		ck_assert_uint_ge(pause, last);
		ck_assert_uint_le(pause, cap);
		last = pause;
	}
	ck_assert_uint_eq(last, cap);
	b.pauses = UINT32_MAX;
	ck_assert_uint_eq(backoff_next(&b, 1, cap, 0), cap);
	ck_assert_uint_eq(b.pauses, UINT32_MAX);
}
END_TEST

/* Each pause is shorter by what the random number says: a quarter at most. */
START_TEST(jitter)
{
	struct backoff b = { 0 };

	ck_assert_uint_eq(backoff_next(&b, 1000, 60000, 250), 750);
	ck_assert_uint_eq(backoff_next(&b, 1000, 60000, 500), 1500);
	ck_assert_uint_eq(backoff_next(&b, 1000, 60000, 1), 3999);
	for (uint32_t random = 0; random < 5000; random++) {
		b = (struct backoff){ 0 };
		ck_assert_uint_ge(backoff_next(&b, 1000, 60000, random), 750);
	}
}
END_TEST

/* At once, but only the first time; then it does not spin. */
START_TEST(zero_is_at_once)
{
	struct backoff b = { 0 };

	ck_assert_uint_eq(backoff_next(&b, 0, 1000, 77), 0);
	ck_assert_uint_eq(backoff_next(&b, 0, 1000, 0), 100);
	ck_assert_uint_eq(backoff_next(&b, 0, 1000, 0), 200);
	b = (struct backoff){ 0 };
	for (unsigned i = 0; i < 5; i++)
		ck_assert_uint_eq(backoff_next(&b, 0, 0, 77), 0);
}
END_TEST

START_TEST(limit)
{
	struct backoff b = { 0 };

	for (unsigned i = 0; i < 3; i++) {
		ck_assert(!backoff_spent(&b, 3));
		backoff_failed(&b);
	}
	ck_assert(backoff_spent(&b, 3));
	ck_assert(!backoff_spent(&b, 4));
	b.attempts = UINT32_MAX;
	backoff_failed(&b);
	ck_assert(backoff_spent(&b, UINT32_MAX));
	ck_assert(!backoff_spent(&b, 0));
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("backoff");
	TCase *tc = tcase_create("backoff");

	tcase_add_test(tc, doubles_up_to_the_cap);
	tcase_add_loop_test(tc, never_overflows, 0, 6);
	tcase_add_test(tc, jitter);
	tcase_add_test(tc, zero_is_at_once);
	tcase_add_test(tc, limit);
	suite_add_tcase(suite, tc);
	return unit_run(suite);
}
