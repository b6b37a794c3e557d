/* SPDX-License-Identifier: ISC */
/*
 * Reads a pcapng stream back, independently of what wrote it: blocks, packets
 * and options.
 */
#ifndef ISCSIMUX_TESTS_PCAPNG_READER_H
#define ISCSIMUX_TESTS_PCAPNG_READER_H

#include <stdint.h>
#include <string.h>

#include "tests/unit/unit.h"

#define BLOCK_SHB	0x0a0d0d0au
#define BLOCK_IDB	1u
#define BLOCK_ISB	5u
#define BLOCK_EPB	6u

struct block {
	uint32_t	 type;
	const uint8_t	*body;
	uint32_t	 len;		/* of the body */
	/* A packet's. */
	uint32_t	 interface, caplen, origlen;
	uint64_t	 time;
	const uint8_t	*data;
	/* Where options begin, and how long they are. */
	const uint8_t	*options;
	uint32_t	 options_len;
};

static inline uint32_t
get_le32(const uint8_t *p)
{
	return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 |
	    (uint32_t)p[3] << 24;
}

static inline uint64_t
get_le64(const uint8_t *p)
{
	return get_le32(p) | (uint64_t)get_le32(p + 4) << 32;
}

/* Take the block apart that begins at `*at`; moves `*at` behind it. */
static inline struct block
block_read(const uint8_t *buf, size_t size, size_t *at)
{
	static const uint32_t fixed[] = { [BLOCK_IDB] = 8, [BLOCK_ISB] = 12,
		[BLOCK_EPB] = 20 };
	struct block b;
	uint32_t len, skip;

	ck_assert_uint_le(*at + 12, size);
	b.type = get_le32(buf + *at);
	len = get_le32(buf + *at + 4);
	ck_assert_uint_eq(len % 4, 0);
	ck_assert_uint_le(*at + len, size);
	ck_assert_uint_eq(get_le32(buf + *at + len - 4), len);
	b.body = buf + *at + 8;
	b.len = len - 12;
	*at += len;
	skip = b.type == BLOCK_SHB ? 16 : fixed[b.type];
	if (b.type == BLOCK_EPB) {
		b.interface = get_le32(b.body);
		b.time = (uint64_t)get_le32(b.body + 4) << 32 |
		    get_le32(b.body + 8);
		b.caplen = get_le32(b.body + 12);
		b.origlen = get_le32(b.body + 16);
		b.data = b.body + 20;
		skip += (b.caplen + 3) / 4 * 4;
	}
	ck_assert_uint_le(skip, b.len);
	b.options = b.body + skip;
	b.options_len = b.len - skip;
	return b;
}

/* The value of an option and its length; NULL if it is not there. */
static inline const uint8_t *
block_option(const struct block *b, uint16_t code, uint16_t *len)
{
	uint32_t at = 0;
	uint16_t found;

	while (at < b->options_len) {
		found = (uint16_t)get_le32(b->options + at);
		*len = (uint16_t)(get_le32(b->options + at) >> 16);
		if (found == code)
			return b->options + at + 4;
		ck_assert_uint_ne(found, 0);
		at += 4 + (*len + 3u) / 4 * 4;
		ck_assert_uint_lt(at, b->options_len);
		/* The end of options is not one of those asked for. */
		if (get_le32(b->options + at) == 0)
			return NULL;
	}
	return NULL;
}

/* The value of an option of 64 bits, 0 if it is not there. */
static inline uint64_t
block_number(const struct block *b, uint16_t code)
{
	uint16_t len;
	const uint8_t *p = block_option(b, code, &len);

	if (p == NULL)
		return 0;
	ck_assert_uint_eq(len, 8);
	return get_le64(p);
}

/* The flags of a packet. */
static inline uint32_t
block_flags(const struct block *b)
{
	uint16_t len = 0;
	const uint8_t *p = block_option(b, 2, &len);

	ck_assert_uint_eq(len, 4);
	return p != NULL ? get_le32(p) : 0;
}

/* Fail the test unless the option is that text, NULL: is not there. */
static inline void
expect_text(const struct block *b, uint16_t code, const char *text)
{
	uint16_t len = 0;
	const uint8_t *p = block_option(b, code, &len);

	if (text == NULL) {
		ck_assert_ptr_null(p);
		return;
	}
	ck_assert_ptr_nonnull(p);
	ck_assert_uint_eq(len, strlen(text));
	ck_assert_mem_eq(p, text, len);
}

#endif
