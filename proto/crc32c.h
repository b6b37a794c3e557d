/* SPDX-License-Identifier: ISC */
/*
 * CRC32C, the digest of RFC 7143 section 13.1.  A digest travels least
 * significant byte first; `crc32c_put` and `crc32c_get` are the only places
 * that know it.
 */
#ifndef PROTO_CRC32C_H
#define PROTO_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* The value to start an incremental computation with. */
#define CRC32C_INIT UINT32_C(0xffffffff)

/* Bytes of a digest on the wire. */
#define CRC32C_SIZE 4

/* Byte order of a digest on the wire; the RFC's is CRC32C_LITTLE. */
enum crc32c_order {
	CRC32C_LITTLE = 0,
	CRC32C_BIG = 1
};

/*
 * Add the `len` bytes at `buf` to the running value `crc` (CRC32C_INIT at
 * first) and return the new running value.  It is not a digest until
 * `crc32c_final` has been applied.
 */
uint32_t crc32c_update(uint32_t crc, const void *buf, size_t len);

/* Turn a running value into the digest's 32-bit number. */
static inline uint32_t
crc32c_final(uint32_t crc)
{
	return ~crc;
}

/* The digest of the `len` bytes at `buf`. */
uint32_t crc32c(const void *buf, size_t len);

/* Store `digest` in the four bytes at `wire`, in the given order. */
void crc32c_put(uint8_t *wire, uint32_t digest, enum crc32c_order order);

/* Read the digest from the four bytes at `wire`, in the given order. */
uint32_t crc32c_get(const uint8_t *wire, enum crc32c_order order);

#endif
