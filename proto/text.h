/* SPDX-License-Identifier: ISC */
/*
 * iSCSI text format (RFC 7143 section 6.1): NUL-terminated key=value pairs.
 * Everything is bounded; nothing allocates.
 */
#ifndef PROTO_TEXT_H
#define PROTO_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TEXT_KEY_MAX	63	/* bytes, RFC 7143 section 6.1 */
#define TEXT_VALUE_MAX	8192	/* bytes; most keys allow only 255 */

enum text_error {
	TEXT_OK = 0,
	TEXT_END,		/* no further pair */
	TEXT_E_UNTERMINATED,	/* the last pair lacks its NUL */
	TEXT_E_NO_EQUALS,
	TEXT_E_KEY,		/* empty, too long, or an illegal character */
	TEXT_E_VALUE		/* too long */
};

/* A walk over accumulated text; initialise with text_reader_init(). */
struct text_reader {
	const char	*p;
	const char	*end;
};

/* One pair; both strings lie inside the text and end with '=' or NUL. */
struct text_pair {
	const char	*key;
	size_t		 key_len;
	const char	*value;		/* NUL-terminated in the text */
	size_t		 value_len;
};

/*
 * Walk the `len` bytes at `text`.  Text that spans PDUs (C bit) must be put
 * together first, because a pair may span them too.
 */
void text_reader_init(struct text_reader *r, const void *text, size_t len);

/* Read the next pair: TEXT_OK, TEXT_END or an error.  Runs of NULs between
 * pairs are skipped. */
enum text_error text_next(struct text_reader *r, struct text_pair *pair);

/* The error in words; never NULL. */
const char *text_error_name(enum text_error error);

/* True if the pair's key is `key` (keys are case-sensitive). */
bool text_key_is(const struct text_pair *pair, const char *key);

/* True if the pair's value is exactly `value`. */
bool text_value_is(const struct text_pair *pair, const char *value);

/*
 * Parse a numerical value, decimal or 0x hexadecimal (RFC 7143 section 6.1),
 * no larger than `max`.  Returns 0, or -EINVAL if it is none, or -ERANGE.
 */
int text_number(const struct text_pair *pair, uint64_t max, uint64_t *out);

/* Parse a boolean, exactly "Yes" or "No".  Returns 0 or -EINVAL. */
int text_boolean(const struct text_pair *pair, bool *out);

/*
 * Parse a binary value, 0x and hexadecimal digits, also an odd number of them,
 * or 0b and base64 (RFC 7143 section 6.1), to at most `size` bytes at `out`.
 * Returns 0 and the length, which is not 0, in `*len`; or -EINVAL if it is
 * none, or -ERANGE if it is longer.
 */
int text_binary(const struct text_pair *pair, uint8_t *out, size_t size,
    size_t *len);

/* True if `item` is one of the comma-separated items of `list`. */
bool text_list_has(const char *list, const char *item);

/* Builds text into a caller's buffer; never writes past its end. */
struct text_writer {
	char	*buf;
	size_t	 size;
	size_t	 len;		/* bytes written, NULs included */
	bool	 overflow;	/* a pair did not fit and was left out */
};

void text_writer_init(struct text_writer *w, void *buf, size_t size);

/* Append `key=value` and its NUL, or set `overflow` and append nothing. */
void text_put(struct text_writer *w, const char *key, const char *value);
void text_put_number(struct text_writer *w, const char *key, uint64_t value);
void text_put_boolean(struct text_writer *w, const char *key, bool value);

/* As text_put(), with `len` bytes in hexadecimal. */
void text_put_binary(struct text_writer *w, const char *key,
    const uint8_t *bytes, size_t len);

#endif
