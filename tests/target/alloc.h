/* SPDX-License-Identifier: ISC */
/*
 * Memory of bounded size.  A test tool without memory has nothing left to
 * test: it says so and ends.
 */
#ifndef TARGET_ALLOC_H
#define TARGET_ALLOC_H

#include <err.h>
#include <stdlib.h>

/* `n` zeroed bytes, at least one; never NULL. */
static inline void *
xalloc(size_t n)
{
	void *p = calloc(1, n > 0 ? n : 1);

	if (p == NULL)
		err(1, "%zu bytes", n);
	return p;
}

#endif
