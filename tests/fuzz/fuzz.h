/* SPDX-License-Identifier: ISC */
/*
 * What the fuzz targets share.  Each is one function that libFuzzer calls
 * with any bytes; replay.c calls it with the stored ones.
 */
#ifndef ISCSIMUX_TESTS_FUZZ_H
#define ISCSIMUX_TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

/* libFuzzer's name, not ours.  Always returns 0. */
int LLVMFuzzerTestOneInput(const uint8_t *buf, size_t len);

/* Stop with a core unless `ok`: how a fuzz target says what it found. */
#define fuzz_require(ok)						\
	do {								\
		if (!(ok)) {						\
			(void)fprintf(stderr, "%s:%d: %s\n", __FILE__,	\
			    __LINE__, #ok);				\
			abort();					\
		}							\
	} while (0)

#endif
