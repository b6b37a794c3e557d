/* SPDX-License-Identifier: ISC */
/*
 * The block commands (SBC-3) and what all commands share.  A write's data
 * needs no step of its own: it was received into the disk.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "proto/bytes.h"
#include "tests/target/alloc.h"
#include "tests/target/scsi.h"

#define SCSI_PARAM_MAX	(1u << 20)	/* bytes of data kept for a command */
#define CDB_NACA	0x04		/* in the control byte */

enum scsi_opcode {
	OP_TEST_UNIT_READY = 0x00,
	OP_REQUEST_SENSE = 0x03,
	OP_READ_6 = 0x08,
	OP_WRITE_6 = 0x0a,
	OP_INQUIRY = 0x12,
	OP_RESERVE_6 = 0x16,
	OP_RELEASE_6 = 0x17,
	OP_MODE_SENSE_6 = 0x1a,
	OP_START_STOP_UNIT = 0x1b,
	OP_READ_CAPACITY_10 = 0x25,
	OP_READ_10 = 0x28,
	OP_WRITE_10 = 0x2a,
	OP_WRITE_AND_VERIFY_10 = 0x2e,
	OP_VERIFY_10 = 0x2f,
	OP_SYNCHRONIZE_CACHE_10 = 0x35,
	OP_WRITE_SAME_10 = 0x41,
	OP_UNMAP = 0x42,
	OP_MODE_SENSE_10 = 0x5a,
	OP_PERSISTENT_RESERVE_IN = 0x5e,
	OP_READ_16 = 0x88,
	OP_COMPARE_AND_WRITE = 0x89,
	OP_WRITE_16 = 0x8a,
	OP_VERIFY_16 = 0x8f,
	OP_SYNCHRONIZE_CACHE_16 = 0x91,
	OP_WRITE_SAME_16 = 0x93,
	OP_SERVICE_ACTION_IN_16 = 0x9e,
	OP_REPORT_LUNS = 0xa0,
	OP_READ_12 = 0xa8,
	OP_WRITE_12 = 0xaa
};

/* The blocks that a CDB names. */
struct extent {
	uint64_t	lba;
	uint64_t	blocks;
};

void
scsi_fail(struct scsi_io *io, enum scsi_key key, uint16_t asc)
{
	io->status = SCSI_CHECK_CONDITION;
	io->key = (uint8_t)key;
	io->asc = asc;
	io->direction = SCSI_NO_DATA;
	io->len = 0;
	io->finish = NULL;
}

void
scsi_sense(uint8_t *sense, uint8_t key, uint16_t asc)
{
	memset(sense, 0, SCSI_SENSE_LEN);
	sense[0] = 0x70;
	sense[2] = key;
	sense[7] = SCSI_SENSE_LEN - 8;
	put_be16(sense + 12, asc);
}

void
scsi_deinit(struct scsi_io *io)
{
	free(io->owned);
	io->owned = NULL;
}

void
scsi_reply(struct scsi_io *io, const void *param, size_t len,
    uint32_t allocation)
{
	if (len > allocation)
		len = allocation;
	io->owned = xalloc(len);
	if (len > 0)
		memcpy(io->owned, param, len);
	io->data = io->owned;
	io->len = len;
	io->direction = SCSI_DATA_IN;
}

/* The group code in the top bits of the opcode says where fields are. */
static struct extent
cdb_extent(const uint8_t *cdb)
{
	struct extent e;

	switch (cdb[0] >> 5) {
	case 0:
		e.lba = get_be24(cdb + 1) & 0x1fffff;
		e.blocks = cdb[4] == 0 ? 256 : cdb[4];
		break;
	case 4:
		e.lba = get_be64(cdb + 2);
		e.blocks = get_be32(cdb + 10);
		break;
	case 5:
		e.lba = get_be32(cdb + 2);
		e.blocks = get_be32(cdb + 6);
		break;
	default:
		e.lba = get_be32(cdb + 2);
		e.blocks = get_be16(cdb + 7);
		break;
	}
	return e;
}

/* The extent, or false and a CHECK CONDITION if the disk is smaller. */
static bool
take_extent(struct scsi_io *io, const uint8_t *cdb, struct extent *e)
{
	*e = cdb_extent(cdb);
	if (disk_has(io->disk, e->lba, e->blocks))
		return true;
	scsi_fail(io, SCSI_KEY_ILLEGAL_REQUEST, SCSI_ASC_LBA);
	return false;
}

static void
start_read_write(struct scsi_io *io, const uint8_t *cdb,
    enum scsi_direction direction)
{
	struct extent e;

	if (!take_extent(io, cdb, &e))
		return;
	io->direction = direction;
	io->len = e.blocks * io->disk->block_size;
	io->data = disk_at(io->disk, e.lba);
}

/* Receive `len` bytes into a buffer of the command's own. */
static void
start_param_out(struct scsi_io *io, uint64_t len,
    void (*finish)(struct scsi_io *, const uint8_t *, uint64_t))
{
	if (len > SCSI_PARAM_MAX) {
		scsi_fail(io, SCSI_KEY_ILLEGAL_REQUEST, SCSI_ASC_CDB_FIELD);
		return;
	}
	io->owned = xalloc((size_t)len);
	io->data = io->owned;
	io->len = len;
	io->direction = SCSI_DATA_OUT;
	io->finish = finish;
}

static void
finish_verify(struct scsi_io *io, const uint8_t *cdb, uint64_t got)
{
	const uint8_t *disk = disk_at(io->disk, cdb_extent(cdb).lba);

	if (memcmp(disk, io->data, (size_t)got) != 0)
		scsi_fail(io, SCSI_KEY_MISCOMPARE, SCSI_ASC_MISCOMPARE);
}

static void
start_verify(struct scsi_io *io, const uint8_t *cdb)
{
	struct extent e;

	if (!take_extent(io, cdb, &e))
		return;
	switch (cdb[1] >> 1 & 3) {
	case 0:
		break;
	case 1:
		start_param_out(io, e.blocks * io->disk->block_size,
		    finish_verify);
		break;
	default:
		scsi_fail(io, SCSI_KEY_ILLEGAL_REQUEST, SCSI_ASC_CDB_FIELD);
		break;
	}
}

static void
finish_compare_and_write(struct scsi_io *io, const uint8_t *cdb, uint64_t got)
{
	size_t half = (size_t)io->len / 2;
	uint8_t *disk = disk_at(io->disk, get_be64(cdb + 2));

	if (got < io->len)
		scsi_fail(io, SCSI_KEY_ILLEGAL_REQUEST, SCSI_ASC_PARAM_LENGTH);
	else if (memcmp(disk, io->data, half) != 0)
		scsi_fail(io, SCSI_KEY_MISCOMPARE, SCSI_ASC_MISCOMPARE);
	else
		memcpy(disk, io->data + half, half);
}

static void
start_compare_and_write(struct scsi_io *io, const uint8_t *cdb)
{
	uint32_t blocks = cdb[13];

	if (!disk_has(io->disk, get_be64(cdb + 2), blocks))
		scsi_fail(io, SCSI_KEY_ILLEGAL_REQUEST, SCSI_ASC_LBA);
	else
		start_param_out(io, (uint64_t)blocks * 2 *
		    io->disk->block_size, finish_compare_and_write);
}

static void
finish_write_same(struct scsi_io *io, const uint8_t *cdb, uint64_t got)
{
	struct extent e = cdb_extent(cdb);
	uint64_t i;

	if (got < io->len) {
		scsi_fail(io, SCSI_KEY_ILLEGAL_REQUEST, SCSI_ASC_PARAM_LENGTH);
		return;
	}
	for (i = 0; i < e.blocks; i++)
		memcpy(disk_at(io->disk, e.lba + i), io->data,
		    io->disk->block_size);
}

static void
start_write_same(struct scsi_io *io, const uint8_t *cdb)
{
	struct extent e;

	if (!take_extent(io, cdb, &e))
		return;
	/* A length of 0 would mean the whole disk; see MAXIMUM WRITE SAME
	 * LENGTH of the block limits page. */
	if (e.blocks == 0 || e.blocks > 0xffff)
		scsi_fail(io, SCSI_KEY_ILLEGAL_REQUEST, SCSI_ASC_CDB_FIELD);
	else
		start_param_out(io, io->disk->block_size, finish_write_same);
}

static void
finish_unmap(struct scsi_io *io, const uint8_t *cdb, uint64_t got)
{
	const uint8_t *d = io->data + 8;
	uint64_t lba;
	uint32_t n;

	(void)cdb;
	for (; got >= 24; got -= 16, d += 16) {
		lba = get_be64(d);
		n = get_be32(d + 8);
		if (!disk_has(io->disk, lba, n)) {
			scsi_fail(io, SCSI_KEY_ILLEGAL_REQUEST, SCSI_ASC_LBA);
			return;
		}
		memset(disk_at(io->disk, lba), 0,
		    (size_t)n * io->disk->block_size);
	}
}

static void
start_request_sense(struct scsi_io *io, const uint8_t *cdb, uint16_t *ua)
{
	uint8_t sense[SCSI_SENSE_LEN];

	if (io->disk == NULL)
		scsi_sense(sense, SCSI_KEY_ILLEGAL_REQUEST, SCSI_ASC_LUN);
	else if (*ua != 0)
		scsi_sense(sense, SCSI_KEY_UNIT_ATTENTION, *ua);
	else
		scsi_sense(sense, SCSI_KEY_NONE, SCSI_ASC_NONE);
	*ua = 0;
	scsi_reply(io, sense, sizeof(sense), cdb[4]);
}

/* Commands that any LUN answers and that leave a unit attention alone. */
static bool
start_always(struct scsi_io *io, const uint8_t *cdb, uint16_t *ua)
{
	switch (cdb[0]) {
	case OP_INQUIRY:
		scsi_inquiry(io, cdb);
		return true;
	case OP_REPORT_LUNS:
		scsi_report_luns(io, cdb);
		return true;
	case OP_REQUEST_SENSE:
		start_request_sense(io, cdb, ua);
		return true;
	default:
		return false;
	}
}

static void
start_block(struct scsi_io *io, const uint8_t *cdb)
{
	struct extent e;

	switch (cdb[0]) {
	case OP_READ_6:
	case OP_READ_10:
	case OP_READ_12:
	case OP_READ_16:
		start_read_write(io, cdb, SCSI_DATA_IN);
		break;
	case OP_WRITE_6:
	case OP_WRITE_10:
	case OP_WRITE_12:
	case OP_WRITE_16:
	case OP_WRITE_AND_VERIFY_10:
		start_read_write(io, cdb, SCSI_DATA_OUT);
		break;
	case OP_VERIFY_10:
	case OP_VERIFY_16:
		start_verify(io, cdb);
		break;
	case OP_SYNCHRONIZE_CACHE_10:
	case OP_SYNCHRONIZE_CACHE_16:
		(void)take_extent(io, cdb, &e);
		break;
	case OP_COMPARE_AND_WRITE:
		start_compare_and_write(io, cdb);
		break;
	case OP_WRITE_SAME_10:
	case OP_WRITE_SAME_16:
		start_write_same(io, cdb);
		break;
	case OP_UNMAP:
		start_param_out(io, get_be16(cdb + 7), finish_unmap);
		break;
	default:
		scsi_fail(io, SCSI_KEY_ILLEGAL_REQUEST, SCSI_ASC_OPCODE);
		break;
	}
}

static uint8_t
cdb_control(const uint8_t *cdb)
{
	static const uint8_t last[8] = { 5, 9, 9, 0, 15, 11, 0, 0 };

	return cdb[last[cdb[0] >> 5]];
}

void
scsi_start(struct scsi_io *io, const uint8_t *cdb, uint16_t *ua)
{
	if (start_always(io, cdb, ua))
		return;
	if (io->disk == NULL) {
		scsi_fail(io, SCSI_KEY_ILLEGAL_REQUEST, SCSI_ASC_LUN);
		return;
	}
	if (*ua != 0) {
		scsi_fail(io, SCSI_KEY_UNIT_ATTENTION, *ua);
		*ua = 0;
		return;
	}
	if (cdb[0] < 0xc0 && (cdb_control(cdb) & CDB_NACA) &&
	    cdb[0] >> 5 != 3) {
		scsi_fail(io, SCSI_KEY_ILLEGAL_REQUEST, SCSI_ASC_CDB_FIELD);
		return;
	}
	switch (cdb[0]) {
	case OP_TEST_UNIT_READY:
	case OP_RESERVE_6:
	case OP_RELEASE_6:
	case OP_START_STOP_UNIT:
		break;
	case OP_MODE_SENSE_6:
		scsi_mode_sense6(io, cdb);
		break;
	case OP_MODE_SENSE_10:
		scsi_mode_sense10(io, cdb);
		break;
	case OP_READ_CAPACITY_10:
		scsi_read_capacity10(io, cdb);
		break;
	case OP_SERVICE_ACTION_IN_16:
		scsi_service_action_in16(io, cdb);
		break;
	case OP_PERSISTENT_RESERVE_IN:
		scsi_persistent_reserve_in(io, cdb);
		break;
	default:
		start_block(io, cdb);
		break;
	}
}
