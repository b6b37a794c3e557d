/* SPDX-License-Identifier: ISC */
/*
 * Readers and writers of the data types of PROTOCOL.md: big-endian integers,
 * strings, TLVs.  Both remember the first failure, so that a codec reads or
 * writes all its fields and asks once at the end.  Internal to proto/.
 */
#ifndef PROTO_WIRE_H
#define PROTO_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct wire_reader {
	const uint8_t	*buf;
	size_t		 len;
	size_t		 pos;
	bool		 bad;	/* too short, or a string that is none */
};

struct wire_writer {
	uint8_t		*buf;
	size_t		 size;
	size_t		 len;
	bool		 full;
};

/* Read the `len` bytes at `buf`. */
void wire_reader_init(struct wire_reader *r, const uint8_t *buf, size_t len);

/* Read an integer; 0 once the reader is bad. */
uint8_t wire_get_u8(struct wire_reader *r);
uint16_t wire_get_u16(struct wire_reader *r);
uint32_t wire_get_u32(struct wire_reader *r);
uint64_t wire_get_u64(struct wire_reader *r);

/*
 * Read a string, a length byte and as many bytes, into `out`, which holds
 * `max` bytes and a NUL.  Bad if it is longer, or is not UTF-8, or has a
 * control character inside.
 */
void wire_get_string(struct wire_reader *r, char *out, size_t max);

/* Read one TLV; false at the end of the bytes or when they are bad. */
bool wire_get_tlv(struct wire_reader *r, uint16_t *type,
    const uint8_t **value, uint16_t *len);

/*
 * The rest must be TLVs that may be ignored.  Returns 0, or -EBADMSG for that
 * and for any failure before.
 */
int wire_finish(struct wire_reader *r);

/* Write to the `size` bytes at `buf`. */
void wire_writer_init(struct wire_writer *w, uint8_t *buf, size_t size);

void wire_put_u8(struct wire_writer *w, uint8_t v);
void wire_put_u16(struct wire_writer *w, uint16_t v);
void wire_put_u32(struct wire_writer *w, uint32_t v);
void wire_put_u64(struct wire_writer *w, uint64_t v);

/*
 * Write the NUL-terminated `s`, at most `max` (255 or less) bytes of it, as
 * a string that wire_get_string() accepts: what it would refuse becomes '?',
 * and a character that does not fit is left out whole.
 */
void wire_put_string(struct wire_writer *w, const char *s, size_t max);

/* The bytes written, or -ENOBUFS if they did not all fit. */
int wire_length(const struct wire_writer *w);

#endif
