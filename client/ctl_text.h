/* SPDX-License-Identifier: ISC */
/*
 * Numbers and names of the control socket in words.  Each function writes to
 * the `size` bytes at `buf`, cut if need be.
 */
#ifndef CLIENT_CTL_TEXT_H
#define CLIENT_CTL_TEXT_H

#include <jansson.h>
#include <stddef.h>

#define CTL_TEXT_MAX	32	/* bytes that every number fits into */

/* A duration as people say it: "350 ms", "1.5 s", "3 h 12 min". */
const char *ctl_duration(json_int_t ms, char *buf, size_t size);

/* A size in bytes in its largest fitting unit: "1.5 MiB". */
const char *ctl_size(json_int_t n, char *buf, size_t size);

/*
 * The member `key` of a result in words; its name tells durations (_ms) and
 * sizes (_bytes).  A string is returned as it is.
 */
const char *ctl_value(const char *key, const json_t *value, char *buf,
    size_t size);

/* A key as words: no underscores, and no unit at its end. */
void ctl_key(const char *key, char *buf, size_t size);

#endif
