/* SPDX-License-Identifier: ISC */
/*
 * The device server: what a CDB asks for, where its data lies, and how it
 * ends (SPC-4, SBC-3).  It knows nothing of iSCSI.
 */
#ifndef TARGET_SCSI_H
#define TARGET_SCSI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/target/disk.h"

#define SCSI_CDB_LEN	16
#define SCSI_SENSE_LEN	18	/* fixed format */

enum scsi_status {
	SCSI_GOOD = 0x00,
	SCSI_CHECK_CONDITION = 0x02
};

enum scsi_key {
	SCSI_KEY_NONE = 0x0,
	SCSI_KEY_ILLEGAL_REQUEST = 0x5,
	SCSI_KEY_UNIT_ATTENTION = 0x6,
	SCSI_KEY_ABORTED = 0xb,
	SCSI_KEY_MISCOMPARE = 0xe
};

/* ASC in the high byte, ASCQ in the low one. */
enum scsi_asc {
	SCSI_ASC_NONE = 0x0000,
	SCSI_ASC_MISCOMPARE = 0x1d00,
	SCSI_ASC_PARAM_LENGTH = 0x1a00,
	SCSI_ASC_OPCODE = 0x2000,
	SCSI_ASC_LBA = 0x2100,
	SCSI_ASC_CDB_FIELD = 0x2400,
	SCSI_ASC_LUN = 0x2500,
	SCSI_ASC_PARAM_FIELD = 0x2600,
	SCSI_ASC_RESET = 0x2903,
	SCSI_ASC_NEXUS_LOSS = 0x2907,
	SCSI_ASC_CLEARED = 0x2f00,
	SCSI_ASC_PROTOCOL_CRC = 0x4705
};

enum scsi_direction {
	SCSI_NO_DATA,
	SCSI_DATA_IN,
	SCSI_DATA_OUT
};

/* One command at the device server. */
struct scsi_io {
	struct disk		*disk;		/* NULL: no such LUN */
	uint32_t		 luns;
	uint32_t		 lun;
	enum scsi_direction	 direction;
	uint64_t		 len;		/* bytes the device moves */
	/* Data-In: read from here.  Data-Out: to be written to here. */
	uint8_t			*data;
	uint8_t			*owned;		/* freed with the command */
	uint8_t			 status;
	uint8_t			 key;
	uint16_t		 asc;
	/* Data-Out: what to do when `got` bytes have come. */
	void			(*finish)(struct scsi_io *, const uint8_t *cdb,
				    uint64_t got);
};

/*
 * Look at a CDB: sets direction, len, data, finish; or the CHECK CONDITION it
 * ends with (no data then).  `ua` is a pending unit attention (ASC and ASCQ, 0:
 * none), taken if this command reports it.
 */
void scsi_start(struct scsi_io *io, const uint8_t *cdb, uint16_t *ua);

/* End with CHECK CONDITION; there is no data then. */
void scsi_fail(struct scsi_io *io, enum scsi_key key, uint16_t asc);

/* Release what scsi_start() allocated. */
void scsi_deinit(struct scsi_io *io);

/* Write fixed-format sense data into the SCSI_SENSE_LEN bytes at `sense`. */
void scsi_sense(uint8_t *sense, uint8_t key, uint16_t asc);

/* scsi_param.c: the commands whose answer is a parameter list. */
void scsi_inquiry(struct scsi_io *io, const uint8_t *cdb);
void scsi_report_luns(struct scsi_io *io, const uint8_t *cdb);
void scsi_mode_sense6(struct scsi_io *io, const uint8_t *cdb);
void scsi_mode_sense10(struct scsi_io *io, const uint8_t *cdb);
void scsi_read_capacity10(struct scsi_io *io, const uint8_t *cdb);
void scsi_service_action_in16(struct scsi_io *io, const uint8_t *cdb);
void scsi_persistent_reserve_in(struct scsi_io *io, const uint8_t *cdb);

/*
 * Answer with `len` bytes of `param`, cut to the allocation length of the
 * CDB.
 */
void scsi_reply(struct scsi_io *io, const void *param, size_t len,
    uint32_t allocation);

#endif
