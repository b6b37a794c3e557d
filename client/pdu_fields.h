/* SPDX-License-Identifier: ISC */
/*
 * The fields of every PDU (RFC 7143 sections 11.3 to 11.18) in one table, for
 * those who write PDUs as text and those who read them: so both use the same
 * names.  It knows bytes and numbers, no text.
 */
#ifndef CLIENT_PDU_FIELDS_H
#define CLIENT_PDU_FIELDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum pdu_kind {
	PDU_FLAG,		/* one bit */
	PDU_NUMBER,		/* up to 32 bits, decimal for people */
	PDU_HEX,		/* the same, hexadecimal */
	PDU_LUN,		/* 8 bytes */
	PDU_BYTES		/* bits / 8 bytes */
};

/* What a field is if nobody gives it. */
enum pdu_default {
	PDU_ZERO,
	PDU_ONES,		/* flags that the RFC wants set, reserved tags */
	PDU_COUNTED,		/* CmdSN, ExpStatSN: the next number */
	PDU_LENGTH		/* of the AHS, of the data */
};

/* A field lies within one byte, or fills whole ones. */
struct pdu_field {
	const char	*name;
	uint8_t		 byte;		/* the first */
	uint8_t		 shift;		/* bits to the right of it */
	uint8_t		 bits;
	uint8_t		 kind;		/* enum pdu_kind */
	uint8_t		 given;		/* enum pdu_default */
};

struct pdu_type {
	uint8_t			 opcode;
	const char		*name;		/* "scsi-command" */
	const struct pdu_field	*fields;	/* in the order of the bytes */
	size_t			 n;
};

/* The type of that name, or NULL. */
const struct pdu_type *pdu_type_named(const char *name, size_t len);

/*
 * The type of a PDU.  An opcode that RFC 7143 does not have is of the type
 * "pdu", whose opcode is a field; never NULL.
 */
const struct pdu_type *pdu_type_of(uint8_t opcode);

/* All types in the order of opcodes, "pdu" last; NULL behind them. */
const struct pdu_type *pdu_type_at(size_t i);

/* A field of that name, or NULL. */
const struct pdu_field *pdu_field_named(const struct pdu_type *t,
    const char *name, size_t len);

/* The value of a field of up to 64 bits, and the way back. */
uint64_t pdu_get(const uint8_t *bhs, const struct pdu_field *f);
void pdu_put(uint8_t *bhs, const struct pdu_field *f, uint64_t value);

/* The largest value that a field can hold. */
uint64_t pdu_field_max(const struct pdu_field *f);

/* A new header of that type: opcode and defaults, the rest zero. */
void pdu_init_header(uint8_t *bhs, const struct pdu_type *t);

/*
 * The bits of byte `i` (0 to 47) that no field of the type has: reserved ones.
 */
uint8_t pdu_reserved_bits(const struct pdu_type *t, unsigned i);

#endif
