/* SPDX-License-Identifier: ISC */
/*
 * Finds the values of CHAP_R and CHAP_C (RFC 7143 section 12.1.3) in the text
 * of Login PDUs, in whatever pieces it comes: a key or its value may go on in
 * the next piece, or in the next PDU after one with the C bit.  A few bytes of
 * state; no memory, no I/O.
 */
#ifndef DAEMON_TRACE_MASK_H
#define DAEMON_TRACE_MASK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One direction of one connection; all zero is the start of a text. */
struct trace_mask {
	uint8_t	state;
	uint8_t	matched;	/* bytes of a key that may be a secret's */
};

/*
 * Go over the next `len` bytes of the text.  Where `out` is not NULL they are
 * copied there, with an 'x' for every byte of such a value up to its NUL.
 * Returns how many bytes were such.
 */
size_t trace_mask_text(struct trace_mask *m, const uint8_t *in, uint8_t *out,
    size_t len);

/*
 * A Login PDU ends here: its text goes on in the next one if it has the C
 * bit, else that begins with a key.
 */
void trace_mask_pdu_end(struct trace_mask *m, const uint8_t *bhs);

#endif
