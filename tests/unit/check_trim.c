/* SPDX-License-Identifier: ISC */
/*
 * Memory kept for reuse goes back to the system (daemon/trim.h,
 * worker_trim()): while it is not needed, all of it, and then nothing wakes
 * the worker any more.
 */
#include "config.h"

#include <string.h>

#include "daemon/conf.h"
#include "daemon/loop.h"
#include "daemon/outq.h"
#include "daemon/pool.h"
#include "daemon/pump.h"
#include "daemon/trim.h"
#include "daemon/worker.h"
#include "tests/unit/unit.h"

/* More steps than halving what is kept here can take. */
#define STEPS_MAX	30

static const struct config no_config;
static struct worker *worker;

static void
setup(void)
{
	worker = worker_new(NULL, &no_config);
	ck_assert_ptr_nonnull(worker);
}

static void
teardown(void)
{
	ck_assert_uint_eq(worker_free(worker), 0);
}

static struct pool_stats
stats(void)
{
	struct pool_stats s;

	pool_stats_get(worker->pool, &s);
	return s;
}

/* Bytes and objects of all kinds that are kept. */
static uint64_t
kept(void)
{
	return stats().bytes_kept + stats().slices_kept +
	    worker->nfree_txpdus + worker->nfree_outmsgs;
}

/* Use `n` PDUs with data and then `n` messages to a client. */
static void
use(unsigned n)
{
	static const uint8_t payload[200];
	struct txpdu *pdus[64];
	struct outq q;
	unsigned i;

	for (i = 0; i < n; i++) {
		pdus[i] = txpdu_new(worker);
		ck_assert_int_eq(slices_add_copy(worker->pool, &pdus[i]->data,
		    payload, sizeof(payload)), 0);
	}
	for (i = 0; i < n; i++)
		txpdu_free(worker, pdus[i]);
	outq_init(&q, worker);
	for (i = 0; i < n; i++)
		ck_assert_int_eq(outq_frame(&q, FRAME_EVENT, 0, 0, payload,
		    sizeof(payload), NULL), 0);
	outq_deinit(&q);
}

START_TEST(test_all_goes_back)
{
	unsigned i;

	ck_assert(!worker_trim(worker));
	use(64);
	ck_assert_uint_eq(worker->nfree_txpdus, 64);
	ck_assert_uint_eq(worker->nfree_outmsgs, 64);
	ck_assert_uint_eq(stats().bytes_kept, 64 * POOL_SMALL);
	ck_assert_uint_ge(stats().slices_kept, 64);
	ck_assert(worker_trim(worker));
	ck_assert(worker_trim(worker));
	ck_assert_uint_eq(worker->nfree_txpdus, 32);
	ck_assert_uint_eq(worker->nfree_outmsgs, 32);
	ck_assert_uint_eq(stats().bytes_kept, 32 * POOL_SMALL);
	for (i = 0; worker_trim(worker); i++)
		ck_assert_uint_lt(i, STEPS_MAX);
	ck_assert_uint_eq(kept(), 0);
}
END_TEST

/* Objects in use again and again stay. */
START_TEST(test_used_objects_stay)
{
	unsigned i;

	use(64);
	for (i = 0; i < STEPS_MAX; i++) {
		use(8);
		ck_assert(worker_trim(worker));
	}
	ck_assert_uint_eq(worker->nfree_txpdus, 8);
	ck_assert_uint_eq(worker->nfree_outmsgs, 8);
	ck_assert_uint_eq(stats().kept[0], 8);
}
END_TEST

static bool
step(void *arg)
{
	ck_assert_ptr_eq(arg, worker);
	return worker_trim(worker);
}

/* Turn until nothing is due. */
static void
come_to_rest(void)
{
	while (trim_armed(worker->trim))
		ck_assert_int_eq(loop_turn(worker->loop, 1000), 0);
}

/* Any use arms the timer, which is off again when nothing is kept. */
START_TEST(test_timer)
{
	struct slab *slab;

	ck_assert(!trim_armed(worker->trim));
	trim_free(worker->trim);
	worker->trim = trim_new(worker->loop, 1, step, worker);
	ck_assert(!trim_armed(worker->trim));
	come_to_rest();
	use(64);
	ck_assert(trim_armed(worker->trim));
	come_to_rest();
	ck_assert_uint_eq(kept(), 0);
	/* And each kind of object by itself. */
	txpdu_free(worker, txpdu_new(worker));
	ck_assert(trim_armed(worker->trim));
	come_to_rest();
	slab = pool_get(worker->pool, POOL_MEDIUM);
	ck_assert(!trim_armed(worker->trim));
	slab_unref(slab);
	ck_assert(trim_armed(worker->trim));
	come_to_rest();
	use(1);
	come_to_rest();
	ck_assert_uint_eq(kept(), 0);
}
END_TEST

static unsigned nsteps;

static bool
three_times(void *arg)
{
	ck_assert_ptr_eq(arg, &nsteps);
	return ++nsteps < 3;
}

START_TEST(test_asked_until_nothing_is_kept)
{
	struct trim *t = trim_new(worker->loop, 1, three_times, &nsteps);

	nsteps = 0;
	trim_want(NULL);
	trim_want(t);
	trim_want(t);
	while (trim_armed(t))
		ck_assert_int_eq(loop_turn(worker->loop, 1000), 0);
	ck_assert_uint_eq(nsteps, 3);
	trim_want(t);
	trim_free(t);
	trim_free(NULL);
}
END_TEST

/* A worker with memory kept, and its timer armed, can go. */
START_TEST(test_end_with_memory_kept)
{
	use(64);
	ck_assert(trim_armed(worker->trim));
}
END_TEST

static Suite *
trim_suite(void)
{
	Suite *suite = suite_create("trim");
	TCase *tc = tcase_create("trim");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, test_all_goes_back);
	tcase_add_test(tc, test_used_objects_stay);
	tcase_add_test(tc, test_timer);
	tcase_add_test(tc, test_asked_until_nothing_is_kept);
	tcase_add_test(tc, test_end_with_memory_kept);
	suite_add_tcase(suite, tc);
	return suite;
}

int
main(void)
{
	return unit_run(trim_suite());
}
