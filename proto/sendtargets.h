/* SPDX-License-Identifier: ISC */
/*
 * The answer to SendTargets (RFC 7143 appendix C): a walk over the whole text
 * that yields one target at one portal at a time.  Everything is bounded;
 * nothing allocates.
 */
#ifndef PROTO_SENDTARGETS_H
#define PROTO_SENDTARGETS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/iscsi.h"
#include "proto/text.h"

#define SENDTARGETS_HOST_MAX	255	/* bytes, no brackets */
/* "[HOST]:PORT" with its NUL. */
#define SENDTARGETS_PORTAL_SIZE	(SENDTARGETS_HOST_MAX + 9)

/* One target at one portal. */
struct sendtargets_record {
	char		target[ISCSI_NAME_MAX + 1];
	/* Name or address; "" where the target gave none: it is reached at
	 * the portal that was asked. */
	char		host[SENDTARGETS_HOST_MAX + 1];
	uint16_t	port;
	uint16_t	tpgt;		/* valid if have_tpgt */
	bool		have_tpgt;
};

enum sendtargets_status {
	SENDTARGETS_RECORD,
	SENDTARGETS_END,
	SENDTARGETS_ERROR	/* see sendtargets_error() */
};

/* Set up with sendtargets_init(); the members are private. */
struct sendtargets {
	struct text_reader	reader;
	char			target[ISCSI_NAME_MAX + 1];
	bool			alone;	/* no address of it was seen yet */
	bool			failed;
	char			error[256];
};

/*
 * Walk the `len` bytes at `text`, which must stay.  A pair may span PDUs, so
 * the text of all PDUs must be put together first.
 */
void sendtargets_init(struct sendtargets *st, const void *text, size_t len);

/*
 * The next record in the order of the text.  A target with several addresses
 * yields one for each.  Keys that are no part of such an answer are passed
 * over; after an error every call reports it again.
 */
enum sendtargets_status sendtargets_next(struct sendtargets *st,
    struct sendtargets_record *record);

/* What is wrong, in printable ASCII; "" before an error. */
const char *sendtargets_error(const struct sendtargets *st);

/*
 * Read `host[:port][,group]`, an IPv6 address in brackets, as TargetAddress
 * has it (RFC 7143 section 13.8); the port is 3260 if it is not given.  Fills
 * all of `record` but the target.  Returns NULL, or what is wrong in words.
 */
const char *sendtargets_address(const char *text,
    struct sendtargets_record *record);

/* Write the record's portal as HOST:PORT, brackets around IPv6. */
void sendtargets_portal(const struct sendtargets_record *record,
    char buf[SENDTARGETS_PORTAL_SIZE]);

#endif
