/* SPDX-License-Identifier: ISC */
/*
 * CRC32C through ISA-L, and the byte order of a digest on the wire.  It calls
 * ISA-L only and knows nothing of PDUs.
 */
#include "config.h"

#include <isa-l/crc.h>

#include "proto/bytes.h"
#include "proto/crc32c.h"

/* ISA-L takes the length as an int. */
#define CHUNK_MAX ((size_t)1 << 30)

uint32_t
crc32c_update(uint32_t crc, const void *buf, size_t len)
{
	/* ISA-L reads only, whatever its prototype says. */
	unsigned char *p = (unsigned char *)(uintptr_t)buf;

	while (len > CHUNK_MAX) {
		crc = crc32_iscsi(p, (int)CHUNK_MAX, crc);
		p += CHUNK_MAX;
		len -= CHUNK_MAX;
	}
	if (len > 0)
		crc = crc32_iscsi(p, (int)len, crc);
	return crc;
}

uint32_t
crc32c(const void *buf, size_t len)
{
	return crc32c_final(crc32c_update(CRC32C_INIT, buf, len));
}

void
crc32c_put(uint8_t *wire, uint32_t digest, enum crc32c_order order)
{
	put_be32(wire,
	    order == CRC32C_BIG ? digest : __builtin_bswap32(digest));
}

uint32_t
crc32c_get(const uint8_t *wire, enum crc32c_order order)
{
	uint32_t digest = get_be32(wire);

	return order == CRC32C_BIG ? digest : __builtin_bswap32(digest);
}
