/* SPDX-License-Identifier: ISC */
/*
 * The timer that gives memory kept for reuse back to the system.  It is armed
 * as soon as something is kept and for no longer than something is, so that
 * it never wakes a process that is at rest.  What is kept, and how much of it
 * goes back, its owner decides.
 */
#ifndef DAEMON_TRIM_H
#define DAEMON_TRIM_H

#include <stdbool.h>
#include <stdint.h>

struct loop;
struct trim;

/* Give a part of what is kept back; true if something is kept still. */
typedef bool trim_cb(void *arg);

/* Not armed at first.  NULL with errno set on failure. */
struct trim *trim_new(struct loop *loop, uint32_t period_ms, trim_cb *cb,
    void *arg);

/*
 * Something is kept: call back once in every period until nothing is.  Cheap,
 * and harmless if that is going on already.  NULL is allowed.
 */
void trim_want(struct trim *t);

/* Whether a call back is due. */
bool trim_armed(const struct trim *t);

/* NULL is allowed. */
void trim_free(struct trim *t);

#endif
