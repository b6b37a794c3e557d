/* SPDX-License-Identifier: ISC */
/*
 * How sessions and raw connections say no: the one function of the guard that
 * both need.  What is checked is known to those who check.
 */
#ifndef DAEMON_GUARD_H
#define DAEMON_GUARD_H

#include <stdbool.h>
#include <stdint.h>

struct refusal;

/*
 * Fill `why` with a reason (enum msg_reason) and a text for people, which is
 * cut where it is too long.  Returns false, for callers to return.
 */
bool guard_no(struct refusal *why, uint16_t reason, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#endif
