/* SPDX-License-Identifier: ISC */
/*
 * Loads and stores of big-endian integers at any alignment.  Every wire
 * format here (RFC 7143 and the frames of PROTOCOL.md) is read and written
 * through these and never through a structure laid over the bytes.
 */
#ifndef PROTO_BYTES_H
#define PROTO_BYTES_H

#include <stdint.h>

/* Read a 16-bit big-endian integer from the two bytes at `p`. */
static inline uint16_t
get_be16(const uint8_t *p)
{
	return (uint16_t)((p[0] << 8) | p[1]);
}

/* Read a 24-bit big-endian integer from the three bytes at `p`. */
static inline uint32_t
get_be24(const uint8_t *p)
{
	return ((uint32_t)p[0] << 16) | ((uint32_t)p[1] << 8) | p[2];
}

/* Read a 32-bit big-endian integer from the four bytes at `p`. */
static inline uint32_t
get_be32(const uint8_t *p)
{
	return ((uint32_t)p[0] << 24) | ((uint32_t)p[1] << 16) |
	    ((uint32_t)p[2] << 8) | p[3];
}

/* Read a 64-bit big-endian integer from the eight bytes at `p`. */
static inline uint64_t
get_be64(const uint8_t *p)
{
	return ((uint64_t)get_be32(p) << 32) | get_be32(p + 4);
}

/* Store `v` as a 16-bit big-endian integer in the two bytes at `p`. */
static inline void
put_be16(uint8_t *p, uint16_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

/* Store the low 24 bits of `v` big-endian in the three bytes at `p`. */
static inline void
put_be24(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 16);
	p[1] = (uint8_t)(v >> 8);
	p[2] = (uint8_t)v;
}

/* Store `v` as a 32-bit big-endian integer in the four bytes at `p`. */
static inline void
put_be32(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 24);
	p[1] = (uint8_t)(v >> 16);
	p[2] = (uint8_t)(v >> 8);
	p[3] = (uint8_t)v;
}

/* Store `v` as a 64-bit big-endian integer in the eight bytes at `p`. */
static inline void
put_be64(uint8_t *p, uint64_t v)
{
	put_be32(p, (uint32_t)(v >> 32));
	put_be32(p + 4, (uint32_t)v);
}

#endif
