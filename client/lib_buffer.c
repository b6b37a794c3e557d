/* SPDX-License-Identifier: ISC */
/*
 * The caller's memory as one range of bytes, whatever pieces it is made of.
 */
#include "config.h"

#include "client/lib.h"

void
lib_buffer_set(struct lib_buffer *b, void *data, uint32_t len)
{
	b->one.iov_base = data;
	b->one.iov_len = len;
	b->iov = &b->one;
	b->niov = 1;
	b->len = len;
	b->hint = 0;
	b->hint_off = 0;
}

void
lib_buffer_set_iov(struct lib_buffer *b, const struct iovec *iov, size_t niov,
    uint32_t len)
{
	if (niov == 1) {
		lib_buffer_set(b, iov[0].iov_base, len);
		return;
	}
	b->iov = iov;
	b->niov = niov;
	b->len = len;
	b->hint = 0;
	b->hint_off = 0;
}

uint8_t *
lib_buffer_at(struct lib_buffer *b, uint32_t off, size_t *n)
{
	size_t skip;

	if (off < b->hint_off) {
		b->hint = 0;
		b->hint_off = 0;
	}
	while (off - b->hint_off >= b->iov[b->hint].iov_len) {
		b->hint_off += (uint32_t)b->iov[b->hint].iov_len;
		b->hint++;
	}
	skip = off - b->hint_off;
	*n = b->iov[b->hint].iov_len - skip;
	return (uint8_t *)b->iov[b->hint].iov_base + skip;
}
