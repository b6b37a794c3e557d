/* SPDX-License-Identifier: ISC */
/*
 * Sense data in the data segment of a SCSI Response or an Asynchronous
 * Message (RFC 7143 sections 11.4.7.1 and 11.9.1, SPC-4 section 4.5): only
 * what the daemon itself wants to know.  Pure, and safe with any bytes.
 */
#ifndef DAEMON_SENSE_H
#define DAEMON_SENSE_H

#include <stdbool.h>
#include <stdint.h>

#define SENSE_KEY_UNIT_ATTENTION 0x6

struct slices;

struct sense {
	uint8_t		key;
	uint16_t	asc;	/* ASC << 8 | ASCQ; 0 if cut off */
};

/*
 * Read SenseLength and what it covers of the segment.  False if no sense key
 * is there; a length beyond the segment counts as far as the segment goes.
 */
bool sense_read(const struct slices *data, struct sense *out);

#endif
