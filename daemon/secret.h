/* SPDX-License-Identifier: ISC */
/*
 * A secret of CHAP (RFC 7143 section 9.2.1) and the file it is read from.
 * Files are read when the configuration is: there, waiting for a disk does no
 * harm, root's files can be read before the daemon becomes somebody else, and
 * what is wrong is told with the line that names the file.  A secret is never
 * logged, listed or traced.
 */
#ifndef DAEMON_SECRET_H
#define DAEMON_SECRET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SECRET_MAX		255	/* bytes */
#define SECRET_STRONG_MIN	12	/* bytes: 96 bits, section 9.2.1 */

struct secret {
	size_t	len;		/* 0: none */
	uint8_t	bytes[SECRET_MAX];
};

/*
 * Is `where` the name of a file with a secret: an absolute path, or
 * "credential:NAME" for a credential of systemd?  Returns NULL if it is, else
 * what is wrong in words.
 */
const char *secret_where_check(const char *where);

/*
 * Read the secret at `where`.  One newline at the end does not belong to it;
 * "0x" and hexadecimal digits stand for the bytes they are; otherwise it is
 * the bytes of the file, whatever they are.  Returns 0; or a negative errno,
 * with the reason in words, which name the file but nothing of what is in it,
 * in the `size` bytes at `why`, and `*out` empty.
 */
int secret_read(const char *where, struct secret *out, char *why,
    size_t size);

/* Shorter than what RFC 7143 section 9.2.1 permits without IPsec? */
bool secret_is_short(const struct secret *s);

/* In a time that depends on the lengths only. */
bool secret_equal(const struct secret *a, const struct secret *b);

/* Overwrite it; the length becomes 0. */
void secret_wipe(struct secret *s);

#endif
