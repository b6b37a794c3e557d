/* SPDX-License-Identifier: ISC */
/*
 * iSCSI text format (RFC 7143 section 6.1) over the caller's memory.  It
 * calls the C library only and knows no key by name: what a key means, and
 * whether it may come twice, is the caller's business.
 */
#include "config.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "proto/text.h"

void
text_reader_init(struct text_reader *r, const void *text, size_t len)
{
	r->p = text;
	r->end = len > 0 ? r->p + len : r->p;
}

/*
 * RFC 7143 section 6.1 wants a capital first, yet its section 13.24 defines
 * iSCSIProtocolLevel; and RFC 4850 adds '#' in X#NodeArchitecture.
 */
static bool
key_char_ok(char c)
{
	return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
	    (c >= '0' && c <= '9') || (c != '\0' && strchr(".-+@_#", c));
}

static bool
key_ok(const char *key, size_t len)
{
	size_t i;

	if (len == 0 || len > TEXT_KEY_MAX)
		return false;
	for (i = 0; i < len; i++)
		if (!key_char_ok(key[i]))
			return false;
	return true;
}

enum text_error
text_next(struct text_reader *r, struct text_pair *pair)
{
	const char *nul;
	const char *equals;

	while (r->p < r->end && *r->p == '\0')
		r->p++;
	if (r->p == r->end)
		return TEXT_END;
	nul = memchr(r->p, '\0', (size_t)(r->end - r->p));
	if (nul == NULL)
		return TEXT_E_UNTERMINATED;
	equals = memchr(r->p, '=', (size_t)(nul - r->p));
	if (equals == NULL)
		return TEXT_E_NO_EQUALS;
	pair->key = r->p;
	pair->key_len = (size_t)(equals - r->p);
	pair->value = equals + 1;
	pair->value_len = (size_t)(nul - pair->value);
	if (!key_ok(pair->key, pair->key_len))
		return TEXT_E_KEY;
	if (pair->value_len > TEXT_VALUE_MAX)
		return TEXT_E_VALUE;
	r->p = nul + 1;
	return TEXT_OK;
}

const char *
text_error_name(enum text_error error)
{
	switch (error) {
	case TEXT_OK:
		return "no error";
	case TEXT_END:
		return "end of text";
	case TEXT_E_UNTERMINATED:
		return "last pair is not terminated";
	case TEXT_E_NO_EQUALS:
		return "pair without '='";
	case TEXT_E_KEY:
		return "bad key";
	case TEXT_E_VALUE:
		return "value too long";
	}
	return "unknown error";
}

static bool
same(const char *s, size_t len, const char *word)
{
	return strlen(word) == len && memcmp(s, word, len) == 0;
}

bool
text_key_is(const struct text_pair *pair, const char *key)
{
	return same(pair->key, pair->key_len, key);
}

bool
text_value_is(const struct text_pair *pair, const char *value)
{
	return same(pair->value, pair->value_len, value);
}

/* The value of a digit in any base up to 16; 16 if it is none. */
static unsigned
digit(char c)
{
	if (c >= '0' && c <= '9')
		return (unsigned)(c - '0');
	if (c >= 'a' && c <= 'f')
		return (unsigned)(c - 'a') + 10;
	if (c >= 'A' && c <= 'F')
		return (unsigned)(c - 'A') + 10;
	return 16;
}

int
text_number(const struct text_pair *pair, uint64_t max, uint64_t *out)
{
	const char *s = pair->value;
	size_t len = pair->value_len;
	unsigned base = 10;
	uint64_t value = 0;
	bool over = false;
	size_t i;

	if (len > 2 && s[0] == '0' && (s[1] == 'x' || s[1] == 'X')) {
		base = 16;
		s += 2;
		len -= 2;
	}
	if (len == 0)
		return -EINVAL;
	for (i = 0; i < len; i++) {
		unsigned d = digit(s[i]);

		if (d >= base)
			return -EINVAL;
		if (value > (UINT64_MAX - d) / base)
			over = true;
		else
			value = value * base + d;
	}
	if (over || value > max)
		return -ERANGE;
	*out = value;
	return 0;
}

int
text_boolean(const struct text_pair *pair, bool *out)
{
	if (text_value_is(pair, "Yes"))
		*out = true;
	else if (text_value_is(pair, "No"))
		*out = false;
	else
		return -EINVAL;
	return 0;
}

/* An odd number of digits has a zero before it. */
static int
binary_hex(const char *s, size_t len, uint8_t *out, size_t size, size_t *n)
{
	size_t odd = len % 2;
	size_t i;

	for (i = 0; i < len; i++)
		if (digit(s[i]) >= 16)
			return -EINVAL;
	if ((len + odd) / 2 > size)
		return -ERANGE;
	*n = (len + odd) / 2;
	memset(out, 0, *n);
	for (i = 0; i < len; i++)
		out[(i + odd) / 2] |=
		    (uint8_t)(digit(s[i]) << ((i + odd) % 2 ? 0 : 4));
	return 0;
}

/* The value of a base64 digit; 64 if it is none. */
static unsigned
digit64(char c)
{
	if (c >= 'A' && c <= 'Z')
		return (unsigned)(c - 'A');
	if (c >= 'a' && c <= 'z')
		return (unsigned)(c - 'a') + 26;
	if (c >= '0' && c <= '9')
		return (unsigned)(c - '0') + 52;
	if (c == '+')
		return 62;
	return c == '/' ? 63 : 64;
}

/* Padding may be left out, but not be wrong. */
static int
binary_base64(const char *s, size_t len, uint8_t *out, size_t size, size_t *n)
{
	size_t digits = len;
	uint32_t bits = 0;
	unsigned have = 0;
	size_t i;

	while (digits > 0 && len - digits < 2 && s[digits - 1] == '=')
		digits--;
	if (digits % 4 == 1 || (digits < len && len % 4 != 0))
		return -EINVAL;
	for (i = 0; i < digits; i++)
		if (digit64(s[i]) >= 64)
			return -EINVAL;
	if (digits * 6 / 8 > size)
		return -ERANGE;
	*n = 0;
	for (i = 0; i < digits; i++) {
		bits = bits << 6 | digit64(s[i]);
		have += 6;
		if (have < 8)
			continue;
		have -= 8;
		out[(*n)++] = (uint8_t)(bits >> have);
	}
	return 0;
}

int
text_binary(const struct text_pair *pair, uint8_t *out, size_t size,
    size_t *len)
{
	const char *s = pair->value;

	if (pair->value_len < 3 || s[0] != '0')
		return -EINVAL;
	if (s[1] == 'x' || s[1] == 'X')
		return binary_hex(s + 2, pair->value_len - 2, out, size, len);
	if (s[1] == 'b' || s[1] == 'B')
		return binary_base64(s + 2, pair->value_len - 2, out, size,
		    len);
	return -EINVAL;
}

bool
text_list_has(const char *list, const char *item)
{
	size_t len;

	for (;;) {
		len = strcspn(list, ",");
		if (same(list, len, item))
			return true;
		if (list[len] == '\0')
			return false;
		list += len + 1;
	}
}

void
text_writer_init(struct text_writer *w, void *buf, size_t size)
{
	w->buf = buf;
	w->size = size;
	w->len = 0;
	w->overflow = false;
}

/* Room for `key=`, `value_len` bytes and a NUL; NULL if there is none. */
static char *
put_key(struct text_writer *w, const char *key, size_t value_len)
{
	size_t key_len = strlen(key);
	size_t room = w->size - w->len;
	char *p;

	if (room < 2 || key_len > room - 2 || value_len > room - 2 - key_len) {
		w->overflow = true;
		return NULL;
	}
	p = w->buf + w->len;
	memcpy(p, key, key_len);
	p[key_len] = '=';
	p[key_len + 1 + value_len] = '\0';
	w->len += key_len + 1 + value_len + 1;
	return p + key_len + 1;
}

void
text_put(struct text_writer *w, const char *key, const char *value)
{
	size_t len = strlen(value);
	char *p = put_key(w, key, len);

	if (p != NULL)
		memcpy(p, value, len);
}

void
text_put_number(struct text_writer *w, const char *key, uint64_t value)
{
	char digits[sizeof("18446744073709551615")];

	(void)snprintf(digits, sizeof(digits), "%" PRIu64, value);
	text_put(w, key, digits);
}

void
text_put_boolean(struct text_writer *w, const char *key, bool value)
{
	text_put(w, key, value ? "Yes" : "No");
}

void
text_put_binary(struct text_writer *w, const char *key, const uint8_t *bytes,
    size_t len)
{
	static const char digits[] = "0123456789abcdef";
	char *p = put_key(w, key, 2 + 2 * len);

	if (p == NULL)
		return;
	*p++ = '0';
	*p++ = 'x';
	while (len-- > 0) {
		*p++ = digits[*bytes >> 4];
		*p++ = digits[*bytes++ & 15];
	}
}
