/* SPDX-License-Identifier: ISC */
/*
 * Text of the login phase across PDUs: puts the target's together, cuts ours
 * into pieces, and writes the reason of a failure.  It calls proto/text and
 * the C library and knows no key.
 */
#include "config.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "daemon/login_priv.h"

/* The answers to one text of the target, and our offers after them, fit. */
_Static_assert(LOGIN_PAIRS_MAX * (TEXT_KEY_MAX + sizeof("=NotUnderstood")) +
    4096 <= LOGIN_TEXT_MAX, "LOGIN_PAIRS_MAX is too large");

/*
 * Reasons quote the target, and they end in log lines and JSON: whatever is
 * not printable ASCII becomes a question mark.
 */
int
login_fail(struct login_why *why, const char *fmt, ...)
{
	va_list ap;
	char *p;

	va_start(ap, fmt);
	(void)vsnprintf(why->text, sizeof(why->text), fmt, ap);
	va_end(ap);
	for (p = why->text; *p != '\0'; p++)
		if (*p < 0x20 || *p > 0x7e)
			*p = '?';
	return LOGIN_E_FAILED;
}

void
login_text_init(struct login_text *t)
{
	t->in_len = 0;
	t->out_sent = 0;
	text_writer_init(&t->out, t->out_buf, sizeof(t->out_buf));
}

int
login_text_append(struct login_text *t, const uint8_t *data, size_t len,
    struct login_why *why)
{
	if (len > sizeof(t->in_buf) - t->in_len)
		return login_fail(why, "target sent more than %d bytes of "
		    "login text", LOGIN_TEXT_MAX);
	if (len > 0)
		memcpy(t->in_buf + t->in_len, data, len);
	t->in_len += len;
	return 0;
}

/* True if the key of `pair` has come before it in the same text. */
static bool
is_repeated(const struct login_text *t, const struct text_pair *pair)
{
	struct text_reader r;
	struct text_pair other;

	text_reader_init(&r, t->in_buf, t->in_len);
	while (text_next(&r, &other) == TEXT_OK && other.key != pair->key)
		if (other.key_len == pair->key_len &&
		    memcmp(other.key, pair->key, pair->key_len) == 0)
			return true;
	return false;
}

int
login_text_check(const struct login_text *t, struct login_why *why)
{
	struct text_reader r;
	struct text_pair pair;
	enum text_error error;
	unsigned n = 0;

	text_reader_init(&r, t->in_buf, t->in_len);
	while ((error = text_next(&r, &pair)) == TEXT_OK) {
		if (++n > LOGIN_PAIRS_MAX)
			return login_fail(why, "target sent more than %d keys "
			    "at once", LOGIN_PAIRS_MAX);
		if (is_repeated(t, &pair))
			return login_fail(why, "target sent %.*s twice",
			    (int)pair.key_len, pair.key);
	}
	if (error != TEXT_END)
		return login_fail(why, "login text of the target: %s",
		    text_error_name(error));
	return 0;
}

size_t
login_text_cut(struct login_text *t, uint8_t *data, size_t size)
{
	size_t len = t->out.len - t->out_sent;

	if (len > size)
		len = size;
	memcpy(data, t->out_buf + t->out_sent, len);
	t->out_sent += len;
	if (t->out_sent == t->out.len) {
		text_writer_init(&t->out, t->out_buf, sizeof(t->out_buf));
		t->out_sent = 0;
	}
	return len;
}

bool
login_text_pending(const struct login_text *t)
{
	return t->out.len > 0;
}
