/* SPDX-License-Identifier: ISC */
/*
 * What a discovery has found: the target's text, put together from many PDUs,
 * and its records.  Both are bounded, for nobody has authenticated a target
 * that advertises others.  It knows no PDU and no connection.
 */
#ifndef DAEMON_DISCOVER_FOUND_H
#define DAEMON_DISCOVER_FOUND_H

#include <stdbool.h>
#include <stddef.h>

#include "daemon/pool.h"
#include "proto/sendtargets.h"

#define DISCOVER_TEXT_MAX	(1024u * 1024)	/* bytes of a target's text */
#define DISCOVER_RECORDS_MAX	8192u
#define DISCOVER_WHY_MAX	256		/* bytes of a reason */

/* Zero it to begin with; `records` and `count` are for all to read. */
struct discover_found {
	char				*text;
	size_t				 text_len, text_size;
	struct sendtargets_record	*records;
	size_t				 count, size;
};

void discover_found_free(struct discover_found *f);

/* Add text; false with the reason in `why` if it is too much. */
bool discover_found_text(struct discover_found *f, const struct slices *data,
    char why[DISCOVER_WHY_MAX]);

/*
 * The text is whole: read the records.  Those without an address are at the
 * portal of `here`.  False with the reason in `why`.
 */
bool discover_found_read(struct discover_found *f,
    const struct sendtargets_record *here, char why[DISCOVER_WHY_MAX]);

#endif
