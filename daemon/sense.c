/* SPDX-License-Identifier: ISC */
/*
 * Sense data of the fixed and of the descriptor format.
 */
#include "config.h"

#include <string.h>

#include "daemon/pool.h"
#include "daemon/sense.h"
#include "proto/bytes.h"

#define LENGTH_LEN	2
#define FIXED_LEN	18

bool
sense_read(const struct slices *data, struct sense *out)
{
	uint8_t buf[LENGTH_LEN + FIXED_LEN];
	const uint8_t *sense = buf + LENGTH_LEN;
	size_t have = slices_copy(data, buf, sizeof(buf)), len;
	bool descriptor;
	unsigned key, asc;

	*out = (struct sense){ 0 };
	if (have < LENGTH_LEN)
		return false;
	len = get_be16(buf);
	if (len > have - LENGTH_LEN)
		len = have - LENGTH_LEN;
	/* Response codes 70h to 73h; bit 7 is VALID of the fixed format. */
	if (len == 0 || (sense[0] & 0x7c) != 0x70)
		return false;
	descriptor = (sense[0] & 0x02) != 0;
	key = descriptor ? 1 : 2;
	asc = descriptor ? 2 : 12;
	if (len <= key)
		return false;
	out->key = sense[key] & 0xf;
	if (len >= asc + 2)
		out->asc = get_be16(sense + asc);
	return true;
}
