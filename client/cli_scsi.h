/* SPDX-License-Identifier: ISC */
/*
 * SCSI as this program needs it: CDBs (SPC-4, SBC-3), what an answer means,
 * and sense data in words.
 */
#ifndef CLIENT_CLI_SCSI_H
#define CLIENT_CLI_SCSI_H

#include "client/cli.h"

#define CDB_MAX		16u

enum scsi_status {
	SCSI_GOOD = 0x00,
	SCSI_CHECK_CONDITION = 0x02,
	SCSI_BUSY = 0x08,
	SCSI_TASK_SET_FULL = 0x28
};

enum sense_key {
	SENSE_ILLEGAL_REQUEST = 0x05,
	SENSE_UNIT_ATTENTION = 0x06
};

/* A command with room for its CDB; `scsi.cdb` points to it. */
struct scsi_command {
	uint8_t			cdb[CDB_MAX];
	struct iscsimux_scsi	scsi;
};

/* Fill in a command; `data` of `len` bytes is for its data. */
void scsi_inquiry(struct scsi_command *m, const struct cli *c, int page,
    void *data, uint16_t len);
void scsi_report_luns(struct scsi_command *m, void *data, uint32_t len);
void scsi_read_capacity_16(struct scsi_command *m, const struct cli *c,
    void *data, uint32_t len);
void scsi_read_capacity_10(struct scsi_command *m, const struct cli *c,
    void *data, uint32_t len);
void scsi_read_16(struct scsi_command *m, const struct cli *c, uint64_t lba,
    uint32_t blocks, void *data, size_t len);
void scsi_write_16(struct scsi_command *m, const struct cli *c, uint64_t lba,
    uint32_t blocks, void *data, size_t len);

/* What to do after a command has ended. */
enum scsi_verdict {
	SCSI_DONE,		/* completed with GOOD */
	SCSI_AGAIN,		/* not executed: send it again at once */
	SCSI_LATER,		/* not executed: send it again in a while */
	SCSI_DOWN,		/* not executed, or harmless: send it again when
				   the session is up */
	SCSI_DOUBT,		/* nobody knows whether it was executed */
	SCSI_BAD		/* failed for good */
};

/* `writes` is true for a command that must not be executed twice unasked. */
enum scsi_verdict scsi_judge(const struct iscsimux_result *r, bool writes);

/* Sense key of a CHECK CONDITION, -1 if there is none. */
int scsi_sense_key(const struct iscsimux_result *r);

/*
 * How it ended, in words: "ILLEGAL REQUEST, Logical block address out of
 * range (05/21/00)".
 */
void scsi_explain(const struct iscsimux_result *r, char *buf, size_t size);

/* The same for the report. */
json_t *scsi_report(const struct iscsimux_result *r);

/* Capacity of a logical unit. */
struct scsi_capacity {
	uint64_t	blocks;
	uint32_t	block_len;	/* bytes */
	bool		long_form;	/* of READ CAPACITY(16): all below */
	uint32_t	physical_len;	/* bytes */
	uint16_t	lowest_aligned;	/* LBA */
	bool		protection;
	bool		provisioning;	/* LBPME */
	bool		reads_zeros;	/* LBPRZ */
};

/* Ask for the capacity, by READ CAPACITY(16) or (10).  CLI_OK, or told. */
enum cli_status scsi_capacity(struct cli *c, struct scsi_capacity *out);

#endif
