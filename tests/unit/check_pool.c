/* SPDX-License-Identifier: ISC */
/*
 * Slabs and slices (daemon/pool.h): size classes, references, counters, and
 * that lists of pieces keep their bytes whatever is done to them.
 */
#include "config.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "daemon/pool.h"
#include "tests/unit/unit.h"

#define KEEP	(1024u * 1024)

static struct pool *pool;

static struct pool_stats
stats(void)
{
	struct pool_stats s;

	pool_stats_get(pool, &s);
	return s;
}

static void
setup(void)
{
	pool = pool_new(KEEP);
	ck_assert_ptr_nonnull(pool);
}

/* Whatever a test did, nothing may be left in use. */
static void
teardown(void)
{
	struct pool_stats s = stats();
	size_t i;

	for (i = 0; i < POOL_CLASSES; i++)
		ck_assert_uint_eq(s.out[i], 0);
	ck_assert_uint_eq(s.bytes_out, 0);
	ck_assert_uint_eq(s.slices_out, 0);
	pool_free(pool);
}

/* A slab of `size` bytes that is filled with a pattern. */
static struct slab *
filled(size_t size)
{
	struct slab *slab = pool_get(pool, size);
	uint32_t i;

	ck_assert_ptr_nonnull(slab);
	for (i = 0; i < slab->size; i++)
		slab->data[i] = (uint8_t)(i * 7 + i / 251);
	slab->used = slab->size;
	return slab;
}

static void
expect_bytes(const struct slices *s, const uint8_t *want, size_t len)
{
	uint8_t *have = malloc(len + 1);

	ck_assert_uint_eq(s->len, len);
	ck_assert_uint_eq(slices_copy(s, have, len + 1), len);
	ck_assert_mem_eq(have, want, len);
	free(have);
}

START_TEST(test_classes)
{
	static const struct {
		size_t		size;
		uint32_t	class;
		uint32_t	usable;
	} rows[] = {
		{ 0, 0, POOL_SMALL },
		{ 1, 0, POOL_SMALL },
		{ POOL_SMALL, 0, POOL_SMALL },
		{ POOL_SMALL + 1, 1, POOL_MEDIUM },
		{ POOL_MEDIUM, 1, POOL_MEDIUM },
		{ POOL_MEDIUM + 1, 2, POOL_LARGE },
		{ POOL_LARGE, 2, POOL_LARGE },
	};
	struct slab *slab;
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		slab = pool_get(pool, rows[i].size);
		ck_assert_ptr_nonnull(slab);
		ck_assert_uint_eq(slab->class, rows[i].class);
		ck_assert_uint_eq(slab->size, rows[i].usable);
		ck_assert_uint_eq(slab->refs, 1);
		ck_assert_uint_eq(slab->used, 0);
		ck_assert_uint_eq((uintptr_t)slab->data % 64, 0);
		ck_assert_uint_eq(stats().out[rows[i].class], 1);
		ck_assert_uint_eq(stats().bytes_out, rows[i].usable);
		slab->data[slab->size - 1] = 1;
		slab_unref(slab);
	}
	ck_assert_ptr_null(pool_get(pool, (size_t)POOL_LARGE + 1));
	ck_assert_int_eq(errno, ENOBUFS);
	ck_assert_ptr_null(pool_get(pool, SIZE_MAX));
	slab_unref(NULL);
}
END_TEST

START_TEST(test_references_and_recycling)
{
	struct slab *slab = pool_get(pool, 100), *again;

	ck_assert_ptr_eq(slab_ref(slab), slab);
	slab_unref(slab);
	ck_assert_uint_eq(stats().out[0], 1);
	slab_unref(slab);
	ck_assert_uint_eq(stats().out[0], 0);
	ck_assert_uint_eq(stats().bytes_kept, POOL_SMALL);
	again = pool_get(pool, 200);
	ck_assert_ptr_eq(again, slab);
	ck_assert_uint_eq(again->used, 0);
	ck_assert_uint_eq(stats().hits[0], 1);
	ck_assert_uint_eq(stats().misses[0], 1);
	ck_assert_uint_eq(stats().bytes_kept, 0);
	slab_unref(again);
}
END_TEST

START_TEST(test_kept_memory_is_bounded)
{
	struct slab *slabs[KEEP / POOL_MEDIUM + 4];
	size_t i, n = sizeof(slabs) / sizeof(slabs[0]);

	for (i = 0; i < n; i++)
		slabs[i] = pool_get(pool, POOL_MEDIUM);
	for (i = 0; i < n; i++)
		slab_unref(slabs[i]);
	ck_assert_uint_eq(stats().bytes_kept, KEEP);
	/* A large one goes back at once. */
	slab_unref(pool_get(pool, POOL_LARGE));
	ck_assert_uint_eq(stats().bytes_kept, KEEP);
	ck_assert_uint_eq(stats().kept[2], 0);
	ck_assert_uint_eq(stats().kept[1], KEEP / POOL_MEDIUM);
}
END_TEST

static unsigned ntold;

static void
count_kept(void *arg)
{
	ck_assert_ptr_eq(arg, &ntold);
	ntold++;
}

/* Keep `n` medium slabs. */
static void
keep_slabs(unsigned n)
{
	struct slab *slabs[KEEP / POOL_MEDIUM];
	unsigned i;

	for (i = 0; i < n; i++)
		slabs[i] = pool_get(pool, POOL_MEDIUM);
	for (i = 0; i < n; i++)
		slab_unref(slabs[i]);
}

/* Without use half goes back each time, until nothing is kept. */
START_TEST(test_trim_at_rest)
{
	const uint64_t want[] = { 8, 8, 4, 2, 1, 0 };
	size_t i, n = sizeof(want) / sizeof(want[0]);

	ntold = 0;
	pool_on_kept(pool, count_kept, &ntold);
	ck_assert(!pool_trim(pool));
	ck_assert_uint_eq(ntold, 0);
	keep_slabs(8);
	ck_assert_uint_eq(ntold, 1);
	/* The first call learns that all is kept, and later ones act. */
	for (i = 0; i < n; i++) {
		ck_assert_uint_eq(stats().kept[1], want[i]);
		ck_assert_uint_eq(stats().bytes_kept, want[i] * POOL_MEDIUM);
		if (i < n - 1)
			ck_assert(pool_trim(pool) == (want[i + 1] > 0));
	}
	ck_assert_uint_eq(stats().trims, 4);
	ck_assert_uint_eq(stats().bytes_trimmed, 8 * POOL_MEDIUM);
	ck_assert_uint_eq(ntold, 1);
	/* At rest nothing more is counted, and the next use is told anew. */
	ck_assert(!pool_trim(pool));
	ck_assert_uint_eq(stats().trims, 4);
	keep_slabs(1);
	ck_assert_uint_eq(ntold, 2);
	keep_slabs(1);
	ck_assert_uint_eq(ntold, 2);
}
END_TEST

/* What is used between two calls is not idle, however short the use is. */
START_TEST(test_trim_spares_what_is_used)
{
	unsigned i;

	keep_slabs(12);
	ck_assert(pool_trim(pool));
	for (i = 0; i < 20; i++) {
		keep_slabs(4);
		ck_assert(pool_trim(pool));
		ck_assert_uint_ge(stats().kept[1], 4);
	}
	ck_assert_uint_eq(stats().kept[1], 4);
	ck_assert_uint_eq(stats().misses[1], 12);
}
END_TEST

/* Large slabs go first, and a small rest goes too. */
START_TEST(test_trim_classes)
{
	struct slab *slabs[4];
	unsigned i;

	for (i = 0; i < 4; i++)
		slabs[i] = pool_get(pool, i < 2 ? POOL_SMALL : POOL_MEDIUM);
	for (i = 0; i < 4; i++)
		slab_unref(slabs[i]);
	ck_assert_uint_eq(stats().kept[0], 2);
	ck_assert(pool_trim(pool));
	ck_assert(pool_trim(pool));
	ck_assert_uint_eq(stats().kept[0], 2);
	ck_assert_uint_lt(stats().kept[1], 2);
	for (i = 0; pool_trim(pool); i++)
		ck_assert_uint_lt(i, 10);
	ck_assert_uint_eq(stats().bytes_kept, 0);
	ck_assert_uint_eq(stats().kept[0] + stats().kept[1], 0);
}
END_TEST

/* Slices are no slabs, and yet they go back in the same way. */
START_TEST(test_trim_slices)
{
	struct slab *slab = filled(POOL_SMALL);
	struct slices s;
	uint32_t i;

	ntold = 0;
	pool_on_kept(pool, count_kept, &ntold);
	slices_init(&s);
	for (i = 0; i < 10; i++)
		ck_assert_int_eq(slices_add(pool, &s, slab,
		    slab->data + i * 2, 1), 0);
	slices_clear(pool, &s);
	ck_assert_uint_eq(ntold, 1);
	ck_assert_uint_eq(stats().slices_kept, 10);
	ck_assert(pool_trim(pool));
	ck_assert(pool_trim(pool));
	ck_assert_uint_eq(stats().slices_kept, 5);
	for (i = 0; pool_trim(pool); i++)
		ck_assert_uint_lt(i, 10);
	ck_assert_uint_eq(stats().slices_kept, 0);
	slab_unref(slab);
}
END_TEST

START_TEST(test_slices_merge)
{
	struct slab *a = filled(POOL_SMALL), *b = filled(POOL_SMALL);
	struct slices s;

	slices_init(&s);
	ck_assert_int_eq(slices_add(pool, &s, a, a->data, 0), 0);
	ck_assert_uint_eq(s.count, 0);
	ck_assert_int_eq(slices_add(pool, &s, a, a->data, 10), 0);
	ck_assert_int_eq(slices_add(pool, &s, a, a->data + 10, 20), 0);
	ck_assert_uint_eq(s.count, 1);
	ck_assert_uint_eq(a->refs, 2);
	expect_bytes(&s, a->data, 30);
	/* A gap, the same place again, and another slab do not continue it. */
	ck_assert_int_eq(slices_add(pool, &s, a, a->data + 40, 1), 0);
	ck_assert_int_eq(slices_add(pool, &s, a, a->data + 40, 1), 0);
	ck_assert_int_eq(slices_add(pool, &s, b, b->data, 5), 0);
	ck_assert_uint_eq(s.count, 4);
	ck_assert_uint_eq(s.len, 37);
	ck_assert_uint_eq(a->refs, 4);
	ck_assert_uint_eq(stats().slices_out, 4);
	slab_unref(a);
	slab_unref(b);
	ck_assert_uint_eq(stats().out[0], 2);
	slices_clear(pool, &s);
	ck_assert_uint_eq(s.count, 0);
	ck_assert_uint_eq(s.len, 0);
}
END_TEST

START_TEST(test_slices_length_overflow)
{
	struct slab *a = filled(POOL_SMALL);
	struct slices s;

	slices_init(&s);
	slices_add(pool, &s, a, a->data, 16);
	ck_assert_int_eq(slices_add(pool, &s, a, a->data + 16, UINT32_MAX - 8),
	    -ENOMEM);
	ck_assert_int_eq(slices_add_copy(pool, &s, a->data, UINT32_MAX - 8),
	    -ENOMEM);
	ck_assert_uint_eq(s.len, 16);
	ck_assert_uint_eq(s.count, 1);
	slices_clear(pool, &s);
	slab_unref(a);
}
END_TEST

START_TEST(test_slices_move_and_copy)
{
	struct slab *a = filled(POOL_SMALL);
	struct slices s, t;
	uint8_t buf[8];

	slices_init(&s);
	slices_init(&t);
	slices_move(&s, &t);
	slices_add(pool, &s, a, a->data, 3);
	slices_add(pool, &t, a, a->data + 3, 4);
	slices_add(pool, &t, a, a->data + 7, 4);
	slices_move(&s, &t);
	ck_assert_uint_eq(t.count, 0);
	ck_assert_uint_eq(t.len, 0);
	ck_assert_ptr_null(STAILQ_FIRST(&t.list));
	expect_bytes(&s, a->data, 11);
	ck_assert_uint_eq(slices_copy(&s, buf, 5), 5);
	ck_assert_mem_eq(buf, a->data, 5);
	ck_assert_uint_eq(slices_copy(&s, buf, 0), 0);
	/* The emptied list is as good as new. */
	slices_add(pool, &t, a, a->data, 2);
	expect_bytes(&t, a->data, 2);
	slices_clear(pool, &s);
	slices_clear(pool, &t);
	slab_unref(a);
}
END_TEST

START_TEST(test_slices_add_copy)
{
	static const uint32_t lens[] = {
		0, 1, POOL_SMALL, POOL_SMALL + 1, POOL_MEDIUM / 2 - 1,
		POOL_MEDIUM / 2, POOL_MEDIUM, 3 * POOL_MEDIUM + 77
	};
	struct slab *a = filled(POOL_LARGE);
	struct pool_stats before = stats(), now;
	struct slices s;
	size_t i;

	for (i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
		slices_init(&s);
		ck_assert_int_eq(slices_add_copy(pool, &s, a->data, lens[i]),
		    0);
		expect_bytes(&s, a->data, lens[i]);
		ck_assert_uint_eq(a->refs, 1);
		now = stats();
		ck_assert_uint_le(now.bytes_out - before.bytes_out,
		    2 * (uint64_t)lens[i] + POOL_SMALL);
		slices_clear(pool, &s);
	}
	slab_unref(a);
}
END_TEST

/* Short copies fill what room there is, if nobody else looks at it. */
START_TEST(test_short_copies_share)
{
	struct slab *a = filled(POOL_MEDIUM);
	struct slices s, other;
	struct slice *last;
	uint32_t i;

	slices_init(&s);
	slices_init(&other);
	for (i = 0; i < 2 * POOL_SMALL + 1; i++)
		ck_assert_int_eq(slices_add_copy(pool, &s, a->data + i, 1), 0);
	expect_bytes(&s, a->data, i);
	ck_assert_uint_eq(s.count, 3);
	ck_assert_uint_eq(stats().out[0], 3);
	/* A copy that is longer than the room. */
	ck_assert_int_eq(slices_add_copy(pool, &s, a->data + i,
	    POOL_SMALL + 1), 0);
	expect_bytes(&s, a->data, i + POOL_SMALL + 1);
	ck_assert_uint_eq(stats().out[0], 4);
	/* The last slab has another holder now: it may not be written to. */
	last = STAILQ_LAST(&s.list, slice, link);
	ck_assert_ptr_nonnull(last);
	slices_add(pool, &other, last->slab, last->ptr, 1);
	ck_assert_int_eq(slices_add_copy(pool, &s, a->data, 1), 0);
	ck_assert_uint_eq(stats().out[0], 5);
	slices_clear(pool, &s);
	/* A piece that is not the last of its slab's bytes. */
	ck_assert_int_eq(slices_add_copy(pool, &other, a->data + 9, 1), 0);
	ck_assert_uint_eq(other.count, 2);
	slices_clear(pool, &other);
	slab_unref(a);
}
END_TEST

START_TEST(test_packed_copies)
{
	struct slab *a = filled(POOL_MEDIUM), *pack = NULL;
	struct slices s[8];
	uint32_t i;

	for (i = 0; i < 8; i++) {
		slices_init(&s[i]);
		ck_assert_int_eq(slices_add_packed(pool, &s[i], &pack,
		    a->data + i, POOL_SMALL / 4), 0);
	}
	ck_assert_uint_eq(stats().out[0], 2);
	for (i = 0; i < 8; i++) {
		expect_bytes(&s[i], a->data + i, POOL_SMALL / 4);
		slices_clear(pool, &s[i]);
	}
	/* Nobody else holds the slab: it is filled again from the start. */
	ck_assert_uint_eq(stats().out[0], 1);
	ck_assert_int_eq(slices_add_packed(pool, &s[0], &pack, a->data,
	    POOL_SMALL), 0);
	ck_assert_uint_eq(stats().out[0], 1);
	expect_bytes(&s[0], a->data, POOL_SMALL);
	/* What is longer than a small slab does not share one. */
	ck_assert_int_eq(slices_add_packed(pool, &s[1], &pack, a->data,
	    POOL_SMALL + 1), 0);
	ck_assert_uint_eq(pack->refs, 2);
	expect_bytes(&s[1], a->data, POOL_SMALL + 1);
	slices_clear(pool, &s[0]);
	slices_clear(pool, &s[1]);
	slab_unref(pack);
	slab_unref(a);
}
END_TEST

START_TEST(test_slices_iov)
{
	struct slab *a = filled(POOL_SMALL);
	struct slices s;
	struct iovec iov[4];
	uint32_t skip, i, at;
	size_t n;

	slices_init(&s);
	slices_add(pool, &s, a, a->data, 3);
	slices_add(pool, &s, a, a->data + 100, 1);
	slices_add(pool, &s, a, a->data + 200, 5);
	for (skip = 0; skip <= 9; skip++) {
		n = slices_iov(&s, skip, iov, 4);
		ck_assert_uint_eq(n, skip < 3 ? 3 : skip < 4 ? 2 :
		    skip < 9 ? 1 : 0);
		for (i = 0, at = skip; i < n; i++) {
			ck_assert_ptr_eq(iov[i].iov_base, a->data +
			    (at < 3 ? at : at < 4 ? 100 : 200 + at - 4));
			at += (uint32_t)iov[i].iov_len;
		}
		ck_assert_uint_eq(at, 9);
	}
	ck_assert_uint_eq(slices_iov(&s, 0, iov, 2), 2);
	ck_assert_uint_eq(iov[1].iov_len, 1);
	ck_assert_uint_eq(slices_iov(&s, 0, iov, 0), 0);
	slices_clear(pool, &s);
	slab_unref(a);
}
END_TEST

/* Unshare one piece of `len` bytes; true if it was copied. */
static bool
is_copied(struct slab *slab, uint32_t len)
{
	struct slices s;
	uint32_t refs = slab->refs;
	bool copied;

	slices_init(&s);
	slices_add(pool, &s, slab, slab->data + 9, len);
	ck_assert_int_eq(slices_unshare(pool, &s), 0);
	copied = slab->refs == refs;
	expect_bytes(&s, slab->data + 9, len);
	slices_clear(pool, &s);
	return copied;
}

START_TEST(test_unshare_boundary)
{
	struct slab *small = filled(POOL_SMALL);
	struct slab *medium = filled(POOL_MEDIUM);
	struct slab *large = filled(POOL_LARGE);

	ck_assert(is_copied(medium, 1));
	ck_assert(is_copied(medium, POOL_MEDIUM / 2 - 1));
	ck_assert(!is_copied(medium, POOL_MEDIUM / 2));
	ck_assert(!is_copied(medium, POOL_MEDIUM - 9));
	ck_assert(is_copied(large, POOL_LARGE / 2 - 1));
	ck_assert(!is_copied(large, POOL_LARGE / 2));
	ck_assert(!is_copied(small, 1));
	slab_unref(small);
	slab_unref(medium);
	slab_unref(large);
}
END_TEST

/* Copies stay where they are, big pieces keep their place between them. */
START_TEST(test_unshare_mixed_and_again)
{
	struct slab *a = filled(POOL_MEDIUM), *b = filled(POOL_MEDIUM);
	struct slices s;
	struct pool_stats before, after;
	uint8_t want[10 + POOL_MEDIUM + 20];

	memcpy(want, a->data + 5, 10);
	memcpy(want + 10, b->data, POOL_MEDIUM);
	memcpy(want + 10 + POOL_MEDIUM, a->data + 90, 20);
	slices_init(&s);
	ck_assert_int_eq(slices_unshare(pool, &s), 0);
	slices_add(pool, &s, a, a->data + 5, 10);
	slices_add(pool, &s, b, b->data, POOL_MEDIUM);
	slices_add(pool, &s, a, a->data + 90, 20);
	ck_assert_int_eq(slices_unshare(pool, &s), 0);
	ck_assert_uint_eq(a->refs, 1);
	ck_assert_uint_eq(b->refs, 2);
	expect_bytes(&s, want, sizeof(want));
	before = stats();
	ck_assert_int_eq(slices_unshare(pool, &s), 0);
	after = stats();
	ck_assert_mem_eq(&before, &after, sizeof(before));
	expect_bytes(&s, want, sizeof(want));
	slices_clear(pool, &s);
	slab_unref(a);
	slab_unref(b);
}
END_TEST

static Suite *
pool_suite(void)
{
	Suite *suite = suite_create("pool");
	TCase *tc = tcase_create("pool");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, test_classes);
	tcase_add_test(tc, test_references_and_recycling);
	tcase_add_test(tc, test_kept_memory_is_bounded);
	tcase_add_test(tc, test_trim_at_rest);
	tcase_add_test(tc, test_trim_spares_what_is_used);
	tcase_add_test(tc, test_trim_classes);
	tcase_add_test(tc, test_trim_slices);
	tcase_add_test(tc, test_slices_merge);
	tcase_add_test(tc, test_slices_length_overflow);
	tcase_add_test(tc, test_slices_move_and_copy);
	tcase_add_test(tc, test_slices_add_copy);
	tcase_add_test(tc, test_short_copies_share);
	tcase_add_test(tc, test_packed_copies);
	tcase_add_test(tc, test_slices_iov);
	tcase_add_test(tc, test_unshare_boundary);
	tcase_add_test(tc, test_unshare_mixed_and_again);
	suite_add_tcase(suite, tc);
	return suite;
}

int
main(void)
{
	return unit_run(pool_suite());
}
