/* SPDX-License-Identifier: ISC */
/*
 * The table of faults (daemon/fault.h): set, replaced and cleared at run time,
 * for one connection after another, bounded, and by name.
 */
#include "config.h"

#include "tests/unit/fault_fixture.h"

START_TEST(replaced_at_run_time)
{
	struct fault_spec spec = spec_of(FAULT_READ, FAULT_ERRNO, 20);
	bool replaced;
	size_t n;

	ck_assert_int_eq(fault_set(fx.worker->faults, &spec, &replaced), 0);
	ck_assert(!replaced);
	peer_says(TEXT, TEXT_LEN);
	ck_assert_int_eq(take(&n), CONN_PROGRESS);
	ck_assert_uint_eq(n, 20);
	spec.after = 22;
	spec.error = EIO;
	ck_assert_int_eq(fault_set(fx.worker->faults, &spec, &replaced), 0);
	ck_assert(replaced);
	ck_assert_uint_eq(the_fault()->fired, 0);
	ck_assert_int_eq(take_all(), CONN_CLOSED);
	ck_assert_int_eq(fx.error, EIO);
	ck_assert_uint_eq(fx.ngot, 22);
	/* The other direction is another fault, and so is another id. */
	set(FAULT_WRITE, FAULT_ERRNO, 20);
	strlcpy(spec.id, "second", sizeof(spec.id));
	set_spec(&spec);
	ck_assert_uint_eq(clear("second"), 1);
	ck_assert_uint_eq(clear("second"), 0);
	ck_assert_uint_eq(clear(NULL), 2);
}
END_TEST

/* Without a fault for it, a connection is left alone. */
START_TEST(others_are_left_alone)
{
	set(FAULT_READ, FAULT_ERRNO, 0);
	reconnect("other");
	peer_says(TEXT, TEXT_LEN);
	ck_assert_int_eq(take_all(), CONN_WOULD_BLOCK);
	ck_assert_uint_eq(fx.ngot, TEXT_LEN);
	ck_assert(!the_fault()->live);
	ck_assert_uint_eq(the_fault()->fired, 0);
	/* The session connects again and finds it. */
	reconnect("disk");
	ck_assert(the_fault()->live);
	peer_says(TEXT, TEXT_LEN);
	ck_assert_int_eq(take_all(), CONN_CLOSED);
	ck_assert_uint_eq(fx.ngot, 0);
	/* It has fired: the one after that is well. */
	reconnect("disk");
	peer_says(TEXT, TEXT_LEN);
	ck_assert_int_eq(take_all(), CONN_WOULD_BLOCK);
	ck_assert_uint_eq(fx.ngot, TEXT_LEN);
}
END_TEST

/* What is set for a raw connection goes with it. */
START_TEST(not_lasting)
{
	struct fault_spec spec = spec_of(FAULT_READ, FAULT_STALL, 0);

	spec.lasting = false;
	set_spec(&spec);
	ck_assert(fault_label_lives(fx.worker->faults, "disk"));
	reconnect("other");
	ck_assert(!fault_label_lives(fx.worker->faults, "disk"));
	ck_assert_uint_eq(clear(NULL), 0);
}
END_TEST

/* A connection that is called differently leaves its faults behind. */
START_TEST(another_label)
{
	struct fault_spec spec = spec_of(FAULT_READ, FAULT_STALL, 0);

	spec.lasting = false;
	set_spec(&spec);
	set(FAULT_WRITE, FAULT_STALL, 0);
	peer_says(TEXT, TEXT_LEN);
	ck_assert_int_eq(take_all(), CONN_WOULD_BLOCK);
	conn_want_read(fx.conn, true);
	conn_set_label(fx.conn, "other");
	UNTIL(fx.readable > 0);
	ck_assert_int_eq(take_all(), CONN_WOULD_BLOCK);
	ck_assert_uint_eq(fx.ngot, TEXT_LEN);
	/* The one that lasts waits for the label to come back. */
	ck_assert_str_eq(the_fault()->spec->id, "write-stall");
	ck_assert(!the_fault()->live);
	conn_set_label(fx.conn, "disk");
	ck_assert(the_fault()->live);
	conn_set_label(fx.conn, "disk");
	ck_assert_uint_eq(clear(NULL), 1);
}
END_TEST

START_TEST(bounded)
{
	struct fault_spec spec = spec_of(FAULT_READ, FAULT_ERRNO, 0);
	bool replaced;
	unsigned i;

	for (i = 0; i < FAULTS_MAX; i++) {
		snprintf(spec.label, sizeof(spec.label), "disk%u",
		    i / FAULTS_LABEL_MAX);
		snprintf(spec.id, sizeof(spec.id), "%u", i);
		set_spec(&spec);
	}
	snprintf(spec.id, sizeof(spec.id), "one-more");
	ck_assert_int_eq(fault_set(fx.worker->faults, &spec, &replaced),
	    -ENOSPC);
	snprintf(spec.label, sizeof(spec.label), "disk");
	ck_assert_int_eq(fault_set(fx.worker->faults, &spec, &replaced),
	    -EDQUOT);
	/* To replace needs no room; one less is room for one. */
	ck_assert_uint_eq(fault_clear(fx.worker->faults, "disk3", "200"), 1);
	set_spec(&spec);
	set_spec(&spec);
	ck_assert_uint_eq(fault_clear(fx.worker->faults, "disk4", NULL),
	    FAULTS_LABEL_MAX);
	ck_assert_uint_eq(fault_clear(fx.worker->faults, NULL, NULL),
	    FAULTS_MAX - FAULTS_LABEL_MAX);
	ck_assert_uint_eq(fault_clear(fx.worker->faults, NULL, NULL), 0);
}
END_TEST

START_TEST(spent_faults_make_room)
{
	struct fault_spec spec = spec_of(FAULT_READ, FAULT_ERRNO, 0);
	bool replaced;
	size_t n;

	for (unsigned i = 0; i < FAULTS_LABEL_MAX; i++) {
		snprintf(spec.id, sizeof(spec.id), "%u", i);
		set_spec(&spec);
	}
	ck_assert_int_eq(take(&n), CONN_CLOSED);
	snprintf(spec.id, sizeof(spec.id), "more");
	ck_assert_int_eq(fault_set(fx.worker->faults, &spec, &replaced), 0);
	ck_assert_uint_eq(clear("0"), 0);
	snprintf(spec.id, sizeof(spec.id), "and-more");
	ck_assert_int_eq(fault_set(fx.worker->faults, &spec, &replaced),
	    -ENOSPC);
}
END_TEST

START_TEST(names)
{
	enum fault_kind kind;
	enum fault_dir dir;
	int error;

	for (unsigned i = 0; i < FAULT_KINDS; i++) {
		ck_assert(fault_kind_parse(fault_kind_name(
		    (enum fault_kind)i), &kind));
		ck_assert_uint_eq(kind, i);
	}
	for (unsigned i = 0; i < FAULT_DIRS; i++) {
		ck_assert(fault_dir_parse(fault_dir_name((enum fault_dir)i),
		    &dir));
		ck_assert_uint_eq(dir, i);
	}
	ck_assert(fault_errno_parse("ECONNRESET", &error));
	ck_assert_int_eq(error, ECONNRESET);
	ck_assert_str_eq(fault_errno_name(ECONNRESET), "ECONNRESET");
	ck_assert_str_eq(fault_errno_name(0), "?");
	/* These would be no failure. */
	ck_assert(!fault_errno_parse("EAGAIN", &error));
	ck_assert(!fault_errno_parse("EINTR", &error));
	ck_assert(!fault_errno_parse("", &error));
	ck_assert(!fault_kind_parse("shor", &kind));
	ck_assert(!fault_dir_parse("both", &dir));
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("fault_table");
	TCase *tc = tcase_create("fault_table");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 20);
	tcase_add_test(tc, replaced_at_run_time);
	tcase_add_test(tc, others_are_left_alone);
	tcase_add_test(tc, not_lasting);
	tcase_add_test(tc, another_label);
	tcase_add_test(tc, bounded);
	tcase_add_test(tc, spent_faults_make_room);
	tcase_add_test(tc, names);
	suite_add_tcase(suite, tc);
	return unit_run(suite);
}
