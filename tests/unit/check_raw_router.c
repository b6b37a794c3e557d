/* SPDX-License-Identifier: ISC */
/*
 * The router of a raw connection (daemon/raw_router.h): tags, who waits, and
 * how many.
 */
#include "config.h"

#include <stdint.h>

#include "daemon/raw_router.h"
#include "proto/iscsi.h"
#include "tests/unit/unit.h"

START_TEST(free_tags_count_up)
{
	struct raw_router *r = raw_router_new(1);

	ck_assert_uint_eq(raw_router_free_itt(r), 1);
	ck_assert_uint_eq(raw_router_free_itt(r), 2);
	ck_assert_uint_eq(raw_router_live(r), 0);
	raw_router_free(r);
}
END_TEST

START_TEST(the_reserved_tag_is_never_free)
{
	struct raw_router *r = raw_router_new(0xfffffffe);

	ck_assert_uint_eq(raw_router_free_itt(r), 0xfffffffe);
	ck_assert_uint_eq(raw_router_free_itt(r), 0);
	ck_assert_uint_eq(raw_router_free_itt(r), 1);
	raw_router_free(r);
}
END_TEST

START_TEST(wrapping_hits_no_live_tag)
{
	struct raw_router *r = raw_router_new(0xfffffffd);

	ck_assert_ptr_nonnull(raw_router_add(r, 0xfffffffe, RAW_WAITS_ONE));
	ck_assert_ptr_nonnull(raw_router_add(r, 0, RAW_WAITS_NONE));
	ck_assert_ptr_nonnull(raw_router_add(r, 1, RAW_WAITS_MANY));
	ck_assert_uint_eq(raw_router_free_itt(r), 0xfffffffd);
	ck_assert_uint_eq(raw_router_free_itt(r), 2);
	raw_router_remove(r, raw_router_find(r, 1));
	ck_assert_uint_eq(raw_router_free_itt(r), 3);
	raw_router_free(r);
}
END_TEST

START_TEST(found_until_removed)
{
	struct raw_router *r = raw_router_new(1);
	struct raw_task *t = raw_router_add(r, 7, RAW_WAITS_MANY);

	ck_assert_ptr_nonnull(t);
	ck_assert_uint_eq(t->itt, 7);
	ck_assert_ptr_eq(raw_router_find(r, 7), t);
	ck_assert_ptr_null(raw_router_find(r, 8));
	raw_router_unregister(r, t);
	ck_assert_ptr_eq(raw_router_find(r, 7), t);
	raw_router_remove(r, t);
	ck_assert_ptr_null(raw_router_find(r, 7));
	raw_router_free(r);
}
END_TEST

/* A PDU that is still on its way out must not be taken for its successor's. */
START_TEST(a_tag_used_again_has_another_id)
{
	struct raw_router *r = raw_router_new(1);
	struct raw_task *t = raw_router_add(r, 7, RAW_WAITS_ONE);
	uint32_t first = t->id, second;

	ck_assert_uint_ne(first, 0);
	raw_router_unregister(r, t);
	t->sent = true;
	raw_router_register(r, t, RAW_WAITS_MANY);
	second = t->id;
	ck_assert_uint_ne(second, first);
	ck_assert(!t->sent);
	raw_router_remove(r, t);
	t = raw_router_add(r, 7, RAW_WAITS_ONE);
	ck_assert_uint_ne(t->id, first);
	ck_assert_uint_ne(t->id, second);
	raw_router_free(r);
}
END_TEST

static void
counts(const struct raw_router *r, uint32_t pending, uint32_t live)
{
	ck_assert_uint_eq(raw_router_pending(r), pending);
	ck_assert_uint_eq(raw_router_live(r), live);
}

START_TEST(pending_are_those_that_the_client_waits_for)
{
	struct raw_router *r = raw_router_new(1);
	struct raw_task *one, *many, *none, *own;

	counts(r, 0, 0);
	one = raw_router_add(r, 1, RAW_WAITS_ONE);
	many = raw_router_add(r, 2, RAW_WAITS_MANY);
	none = raw_router_add(r, 3, RAW_WAITS_NONE);
	own = raw_router_add(r, 4, RAW_WAITS_DAEMON);
	counts(r, 2, 4);
	raw_router_unregister(r, one);
	raw_router_unregister(r, one);
	raw_router_unregister(r, none);
	counts(r, 1, 4);
	raw_router_register(r, none, RAW_WAITS_ONE);
	counts(r, 2, 4);
	raw_router_remove(r, one);
	raw_router_remove(r, many);
	raw_router_remove(r, own);
	counts(r, 1, 1);
	raw_router_remove(r, none);
	counts(r, 0, 0);
	raw_router_free(r);
}
END_TEST

START_TEST(walked_oldest_first)
{
	struct raw_router *r = raw_router_new(1);
	struct raw_task *t;
	uint32_t want = 1000;

	for (uint32_t itt = 1000; itt > 0; itt--)
		ck_assert_ptr_nonnull(raw_router_add(r, itt,
		    RAW_WAITS_MANY));
	for (t = raw_router_next(r, NULL); t != NULL;
	    t = raw_router_next(r, t))
		ck_assert_uint_eq(t->itt, want--);
	ck_assert_uint_eq(want, 0);
	raw_router_free(r);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("raw_router");
	TCase *tc = tcase_create("raw_router");

	tcase_add_test(tc, free_tags_count_up);
	tcase_add_test(tc, the_reserved_tag_is_never_free);
	tcase_add_test(tc, wrapping_hits_no_live_tag);
	tcase_add_test(tc, found_until_removed);
	tcase_add_test(tc, a_tag_used_again_has_another_id);
	tcase_add_test(tc, pending_are_those_that_the_client_waits_for);
	tcase_add_test(tc, walked_oldest_first);
	suite_add_tcase(suite, tc);
	return unit_run(suite);
}
