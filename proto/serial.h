/* SPDX-License-Identifier: ISC */
/*
 * Serial number arithmetic on 32 bits (RFC 1982), which RFC 7143 section
 * 4.2.2.1 prescribes for CmdSN, ExpCmdSN, MaxCmdSN and StatSN.
 */
#ifndef PROTO_SERIAL_H
#define PROTO_SERIAL_H

#include <stdbool.h>
#include <stdint.h>

/*
 * True if `a` comes before `b`.  Numbers exactly 2^31 apart have no order
 * (RFC 1982 section 3.2); both directions then answer false.
 */
static inline bool
serial_lt(uint32_t a, uint32_t b)
{
	return a != b && b - a < UINT32_C(0x80000000);
}

/* True if `a` is `b` or comes before it. */
static inline bool
serial_le(uint32_t a, uint32_t b)
{
	return a == b || serial_lt(a, b);
}

#endif
