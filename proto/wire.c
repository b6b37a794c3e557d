/* SPDX-License-Identifier: ISC */
/*
 * Big-endian integers, strings and TLVs in and out of bounded memory.  It
 * knows no message by name and calls the C library only.
 */
#include "config.h"

#include <errno.h>
#include <string.h>

#include "proto/bytes.h"
#include "proto/msg.h"
#include "proto/wire.h"

#define STRING_MAX 255

void
wire_reader_init(struct wire_reader *r, const uint8_t *buf, size_t len)
{
	r->buf = buf;
	r->len = len;
	r->pos = 0;
	r->bad = false;
}

/* The next `n` bytes, or NULL once the reader is bad. */
static const uint8_t *
take(struct wire_reader *r, size_t n)
{
	const uint8_t *p;

	if (r->bad || n > r->len - r->pos) {
		r->bad = true;
		return NULL;
	}
	p = r->buf + r->pos;
	r->pos += n;
	return p;
}

uint8_t
wire_get_u8(struct wire_reader *r)
{
	const uint8_t *p = take(r, 1);

	return p != NULL ? *p : 0;
}

uint16_t
wire_get_u16(struct wire_reader *r)
{
	const uint8_t *p = take(r, 2);

	return p != NULL ? get_be16(p) : 0;
}

uint32_t
wire_get_u32(struct wire_reader *r)
{
	const uint8_t *p = take(r, 4);

	return p != NULL ? get_be32(p) : 0;
}

uint64_t
wire_get_u64(struct wire_reader *r)
{
	const uint8_t *p = take(r, 8);

	return p != NULL ? get_be64(p) : 0;
}

/* The bytes of a UTF-8 sequence by its first; 0 if none begins so. */
static size_t
utf8_sequence(uint8_t first)
{
	if (first < 0x80)
		return 1;
	if (first >= 0xc2 && first <= 0xdf)
		return 2;
	if (first >= 0xe0 && first <= 0xef)
		return 3;
	if (first >= 0xf0 && first <= 0xf4)
		return 4;
	return 0;
}

/*
 * The length of the character at `p`, of which `len` bytes may be read; 0 if
 * it is not UTF-8 (RFC 3629) or is a control character, C1 included: a
 * terminal obeys those too.
 */
static size_t
character(const uint8_t *p, size_t len)
{
	size_t n = utf8_sequence(p[0]);
	size_t i;

	if (n == 0 || n > len)
		return 0;
	for (i = 1; i < n; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	if (p[0] < 0x20 || p[0] == 0x7f)
		return 0;
	if (p[0] == 0xc2 && p[1] < 0xa0)
		return 0;
	/* Overlong forms, surrogates, beyond the last code point. */
	if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) ||
	    (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f))
		return 0;
	return n;
}

void
wire_get_string(struct wire_reader *r, char *out, size_t max)
{
	size_t len = wire_get_u8(r);
	const uint8_t *p = take(r, len);
	size_t i, n;

	out[0] = '\0';
	if (p == NULL)
		return;
	if (len > max) {
		r->bad = true;
		return;
	}
	for (i = 0; i < len; i += n) {
		n = character(p + i, len - i);
		if (n == 0) {
			r->bad = true;
			return;
		}
	}
	memcpy(out, p, len);
	out[len] = '\0';
}

bool
wire_get_tlv(struct wire_reader *r, uint16_t *type, const uint8_t **value,
    uint16_t *len)
{
	if (r->bad || r->pos == r->len)
		return false;
	*type = wire_get_u16(r);
	*len = wire_get_u16(r);
	*value = take(r, *len);
	return !r->bad;
}

int
wire_finish(struct wire_reader *r)
{
	const uint8_t *value;
	uint16_t type, len;

	while (wire_get_tlv(r, &type, &value, &len))
		if ((type & MSG_TLV_IGNORABLE) == 0)
			return -EBADMSG;
	return r->bad ? -EBADMSG : 0;
}

void
wire_writer_init(struct wire_writer *w, uint8_t *buf, size_t size)
{
	w->buf = buf;
	w->size = size;
	w->len = 0;
	w->full = false;
}

/* Room for `n` bytes, or NULL. */
static uint8_t *
room(struct wire_writer *w, size_t n)
{
	uint8_t *p;

	if (w->full || n > w->size - w->len) {
		w->full = true;
		return NULL;
	}
	p = w->buf + w->len;
	w->len += n;
	return p;
}

void
wire_put_u8(struct wire_writer *w, uint8_t v)
{
	uint8_t *p = room(w, 1);

	if (p != NULL)
		*p = v;
}

void
wire_put_u16(struct wire_writer *w, uint16_t v)
{
	uint8_t *p = room(w, 2);

	if (p != NULL)
		put_be16(p, v);
}

void
wire_put_u32(struct wire_writer *w, uint32_t v)
{
	uint8_t *p = room(w, 4);

	if (p != NULL)
		put_be32(p, v);
}

void
wire_put_u64(struct wire_writer *w, uint64_t v)
{
	uint8_t *p = room(w, 8);

	if (p != NULL)
		put_be64(p, v);
}

void
wire_put_string(struct wire_writer *w, const char *s, size_t max)
{
	const uint8_t *p = (const uint8_t *)s;
	uint8_t out[STRING_MAX];
	size_t len = strlen(s);
	size_t i = 0, used = 0, n;
	uint8_t *to;

	if (max > STRING_MAX)
		max = STRING_MAX;
	while (i < len && used < max) {
		n = character(p + i, len - i);
		if (n == 0) {
			out[used++] = '?';
			i++;
			continue;
		}
		if (n > max - used)
			break;
		memcpy(out + used, p + i, n);
		used += n;
		i += n;
	}
	to = room(w, 1 + used);
	if (to == NULL)
		return;
	to[0] = (uint8_t)used;
	memcpy(to + 1, out, used);
}

int
wire_length(const struct wire_writer *w)
{
	return w->full ? -ENOBUFS : (int)w->len;
}
