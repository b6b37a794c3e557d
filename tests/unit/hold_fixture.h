/* SPDX-License-Identifier: ISC */
/*
 * A client with hold and one without, on a session that is lost and comes
 * back; see session_fixture.h for the rest.
 */
#ifndef ISCSIMUX_TESTS_HOLD_FIXTURE_H
#define ISCSIMUX_TESTS_HOLD_FIXTURE_H

#include "tests/unit/session_fixture.h"

extern struct sclient *h, *p;	/* with hold, and without */

/* Both attach. */
void clients(void);

/*
 * Both clients are there, and the target takes one command, which it has:
 * h's 1, a write of 4096 bytes without data.  Its tag on the wire.
 */
uint32_t window_closed(void);

/* The connection goes, and both hear of that. */
void lose(void);

/* The session is up again and the window open. */
void come_back(void);

/* A read whose length tells its ITT. */
uint8_t *read_of(uint32_t itt);

/* The next on the wire is the read that read_of() made with this ITT. */
uint32_t wire_read(uint32_t itt);

/* This request ends as not-sent, because the session is down. */
void not_sent_at_once(struct sclient *c, uint8_t *bhs);

#endif
