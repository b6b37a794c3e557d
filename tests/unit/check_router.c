/* SPDX-License-Identifier: ISC */
/*
 * The table of Initiator Task Tags (daemon/router.h) and the accounts and
 * client tables beside it (daemon/quota.h, daemon/ittmap.h).
 */
#include "config.h"

#include <stdint.h>
#include <string.h>

#include "daemon/ittmap.h"
#include "daemon/quota.h"
#include "daemon/router.h"
#include "proto/iscsi.h"
#include "tests/unit/unit.h"

struct tenant {
	struct router_slot	slot;
	uint32_t		value;
};

static struct tenant *
take(struct router *r)
{
	return (struct tenant *)(void *)router_take(r);
}

START_TEST(router_tags_are_unique_while_live)
{
	struct router *r = router_new(sizeof(struct tenant), 1000);
	struct tenant *t[1000];

	for (int i = 0; i < 1000; i++) {
		t[i] = take(r);
		ck_assert_ptr_nonnull(t[i]);
		ck_assert_uint_ne(t[i]->slot.itt, ISCSI_TAG_NONE);
		for (int j = 0; j < i; j++)
			ck_assert_uint_ne(t[i]->slot.itt, t[j]->slot.itt);
	}
	ck_assert_ptr_null(router_take(r));
	ck_assert_uint_eq(router_count(r), 1000);
	router_free(r);
}
END_TEST

START_TEST(router_reuses_oldest_first_under_a_new_tag)
{
	struct router *r = router_new(sizeof(struct tenant), 64);
	struct tenant *t[64];
	uint32_t first, second;

	for (int i = 0; i < 64; i++)
		t[i] = take(r);
	first = t[5]->slot.itt;
	second = t[3]->slot.itt;
	t[5]->value = 77;
	router_release(r, &t[5]->slot);
	router_release(r, &t[3]->slot);
	ck_assert_ptr_eq(take(r), t[5]);
	ck_assert_uint_ne(t[5]->slot.itt, first);
	ck_assert_uint_eq(t[5]->value, 0);
	ck_assert_ptr_eq(take(r), t[3]);
	ck_assert_uint_ne(t[3]->slot.itt, second);
	router_free(r);
}
END_TEST

START_TEST(router_tells_stale_from_never_issued)
{
	struct router *r = router_new(sizeof(struct tenant), 1);
	uint32_t mask = UINT32_MAX >> ROUTER_INDEX_BITS, tag, gen;
	struct router_slot *found = NULL, *s = router_take(r);

	for (int use = 0; use < 10; use++) {
		tag = s->itt;
		ck_assert_int_eq(router_find(r, tag, &found), ROUTER_LIVE);
		ck_assert_ptr_eq(found, s);
		gen = tag >> ROUTER_INDEX_BITS;
		ck_assert_int_eq(router_find(r, ((gen + 1) & mask) <<
		    ROUTER_INDEX_BITS, &found), ROUTER_NEVER);
		router_release(r, s);
		ck_assert_int_eq(router_find(r, tag, &found), ROUTER_STALE);
		ck_assert_int_eq(router_find(r, s->itt, &found),
		    ROUTER_NEVER);
		ck_assert_ptr_eq(router_take(r), s);
	}
	ck_assert_int_eq(router_find(r, 5000, &found), ROUTER_NEVER);
	ck_assert_int_eq(router_find(r, ISCSI_TAG_NONE, &found),
	    ROUTER_NEVER);
	router_free(r);
}
END_TEST

START_TEST(router_reset_forgets_old_tags)
{
	struct router *r = router_new(sizeof(struct tenant), 8);
	struct router_slot *found = NULL, *s = router_take(r);
	uint32_t tag = s->itt;

	router_release(r, s);
	ck_assert_int_eq(router_find(r, tag, &found), ROUTER_STALE);
	router_reset(r);
	ck_assert_int_eq(router_find(r, tag, &found), ROUTER_NEVER);
	router_free(r);
}
END_TEST

/* One that is live keeps its tag, and is of the new connection. */
START_TEST(router_reset_keeps_what_is_live)
{
	struct router *r = router_new(sizeof(struct tenant), 1);
	struct router_slot *found = NULL, *s = router_take(r);
	uint32_t old = s->itt, tag;

	router_release(r, s);
	s = router_take(r);
	tag = s->itt;
	router_reset(r);
	ck_assert_int_eq(router_find(r, tag, &found), ROUTER_LIVE);
	ck_assert_ptr_eq(found, s);
	ck_assert_int_eq(router_find(r, old, &found), ROUTER_NEVER);
	router_release(r, s);
	ck_assert_int_eq(router_find(r, tag, &found), ROUTER_STALE);
	ck_assert_int_eq(router_find(r, old, &found), ROUTER_NEVER);
	router_free(r);
}
END_TEST

/* More uses than a generation has bits: a live tag is still only its own. */
START_TEST(router_generation_wraps)
{
	struct router *r = router_new(sizeof(struct tenant), 1);
	uint32_t uses = 3 * (UINT32_MAX >> ROUTER_INDEX_BITS), last = 0;
	struct router_slot *found = NULL, *s;

	for (uint32_t i = 0; i < uses; i++) {
		s = router_take(r);
		ck_assert_uint_ne(s->itt, ISCSI_TAG_NONE);
		if (i > 0) {
			ck_assert_uint_ne(s->itt, last);
			ck_assert_int_eq(router_find(r, last, &found),
			    ROUTER_STALE);
		}
		last = s->itt;
		router_release(r, s);
	}
	router_free(r);
}
END_TEST

START_TEST(router_walk_survives_release)
{
	struct router *r = router_new(sizeof(struct tenant), 200);
	struct router_slot *s;
	int seen = 0;

	for (int i = 0; i < 200; i++)
		(void)router_take(r);
	for (s = router_next(r, NULL); s != NULL; s = router_next(r, s)) {
		router_release(r, s);
		seen++;
	}
	ck_assert_int_eq(seen, 200);
	ck_assert_uint_eq(router_count(r), 0);
	ck_assert_ptr_null(router_next(r, NULL));
	router_free(r);
}
END_TEST

START_TEST(ittmap_holds_any_tags)
{
	struct ittmap m;
	uint32_t step[] = { 1, 4096, 65536, 0x01000000, 0x9e3779b9 };
	char tenants[2000];

	for (size_t k = 0; k < sizeof(step) / sizeof(step[0]); k++) {
		ittmap_init(&m);
		ck_assert_ptr_null(ittmap_find(&m, 0));
		for (uint32_t i = 0; i < 250; i++)
			ck_assert_int_eq(ittmap_add(&m, i * step[k],
			    (struct task *)(void *)&tenants[i]), 0);
		for (uint32_t i = 0; i < 250; i += 2)
			ittmap_remove(&m, i * step[k]);
		ittmap_remove(&m, 0xdeadbeef);
		for (uint32_t i = 0; i < 250; i++) {
			void *want = i % 2 == 0 ? NULL : &tenants[i];

			ck_assert_ptr_eq(ittmap_find(&m, i * step[k]), want);
		}
		ck_assert_uint_eq(m.used, 125);
		ck_assert_uint_le(m.size, 1024);
		ittmap_deinit(&m);
	}
}
END_TEST

START_TEST(quota_limits_client_then_user)
{
	struct quota_amount max = { .tasks = 4, .in = 100, .out = 50 };
	struct quota_table *t = quota_table_new(&max, 2);
	struct quota *a = quota_new(t, 7, &max), *b = quota_new(t, 7, &max);
	struct quota *c = quota_new(t, 7, &max);
	struct quota_amount one = { .tasks = 1, .in = 60, .out = 1 };
	char why[96];

	ck_assert_uint_eq(quota_table_count(t), 1);
	ck_assert_ptr_null(quota_take(a, &one, why, sizeof(why)));
	ck_assert_str_eq(quota_take(a, &one, why, sizeof(why)),
	    "the client's limit of 100 inbound bytes");
	ck_assert_ptr_null(quota_take(b, &one, why, sizeof(why)));
	ck_assert_ptr_null(quota_take(c, &one, why, sizeof(why)));
	quota_give(a, &one);
	ck_assert_ptr_null(quota_take(a, &one, why, sizeof(why)));
	one.in = 30;
	ck_assert_str_eq(quota_take(b, &one, why, sizeof(why)),
	    "the user's limit of 200 inbound bytes");
	ck_assert_uint_eq(quota_uid_used(a)->in, 180);
	ck_assert_uint_eq(quota_uid_used(a)->tasks, 3);
	quota_force_out(a, 50);
	ck_assert(quota_out_exceeded(a));
	ck_assert(!quota_out_exceeded(b));
	quota_unref(a);
	quota_unref(b);
	quota_unref(c);
	ck_assert_uint_eq(quota_table_count(t), 0);
	quota_table_free(t);
}
END_TEST

/* What outlives its client is still charged to the client's user. */
START_TEST(quota_outlives_its_client)
{
	struct quota_amount max = { .tasks = 2, .in = 10, .out = 10 };
	struct quota_amount task = { .tasks = 2, .in = 1, .out = 0 };
	struct quota_table *t = quota_table_new(&max, 1);
	struct quota *dead = quota_new(t, 1, &max), *held, *next;
	char why[96];

	ck_assert_ptr_null(quota_take(dead, &task, why, sizeof(why)));
	held = quota_ref(dead);
	quota_unref(dead);
	next = quota_new(t, 1, &max);
	ck_assert_ptr_nonnull(quota_take(next, &task, why, sizeof(why)));
	quota_give(held, &task);
	quota_unref(held);
	ck_assert_ptr_null(quota_take(next, &task, why, sizeof(why)));
	quota_unref(next);
	quota_table_free(t);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("router");
	TCase *tc = tcase_create("router");

	tcase_add_test(tc, router_tags_are_unique_while_live);
	tcase_add_test(tc, router_reuses_oldest_first_under_a_new_tag);
	tcase_add_test(tc, router_tells_stale_from_never_issued);
	tcase_add_test(tc, router_reset_forgets_old_tags);
	tcase_add_test(tc, router_reset_keeps_what_is_live);
	tcase_add_test(tc, router_generation_wraps);
	tcase_add_test(tc, router_walk_survives_release);
	tcase_add_test(tc, ittmap_holds_any_tags);
	tcase_add_test(tc, quota_limits_client_then_user);
	tcase_add_test(tc, quota_outlives_its_client);
	suite_add_tcase(suite, tc);
	return unit_run(suite);
}
