/* SPDX-License-Identifier: ISC */
/*
 * The main of every unit test: runs one suite and prints TAP on stdout.
 * It may call libcheck only and must not know what is tested.
 */
#ifndef ISCSIMUX_TESTS_UNIT_H
#define ISCSIMUX_TESTS_UNIT_H

#include <check.h>
#include <stdlib.h>

/*
 * Runs the suite, which it takes over and frees. Returns the exit status of
 * the program: EXIT_FAILURE when a test failed. CK_FORK=no in the environment
 * keeps all tests in one process, for a debugger or valgrind.
 */
static inline int
unit_run(Suite *suite)
{
	SRunner *runner = srunner_create(suite);
	int failed;

	srunner_set_tap(runner, "-");
	srunner_run_all(runner, CK_SILENT);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return (failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE);
}

#endif /* ISCSIMUX_TESTS_UNIT_H */
