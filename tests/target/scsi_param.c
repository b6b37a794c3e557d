/* SPDX-License-Identifier: ISC */
/*
 * Commands that answer with a parameter list: what the disk is and has
 * (SPC-4, SBC-3).
 */
#include "config.h"

#include <stdio.h>
#include <string.h>

#include "proto/bytes.h"
#include "tests/target/scsi.h"

#define NO_DEVICE	0x7f	/* qualifier 3, type 1f */
#define PAGE_ALL	0x3f
#define PAGE_CACHING	0x08
#define PAGE_CONTROL	0x0a
#define UNMAP_BLOCKS	0xffffffffu
#define SAME_BLOCKS	0xffffu

static void
bad_field(struct scsi_io *io)
{
	scsi_fail(io, SCSI_KEY_ILLEGAL_REQUEST, SCSI_ASC_CDB_FIELD);
}

/* Standard INQUIRY data: SPC-4, responds to commands queued. */
static void
inquiry_standard(struct scsi_io *io, uint32_t allocation)
{
	uint8_t d[36] = { 0 };

	d[0] = io->disk != NULL ? 0 : NO_DEVICE;
	d[2] = 0x06;
	d[3] = 0x12;
	d[4] = sizeof(d) - 5;
	d[7] = 0x02;
	memcpy(d + 8, "ISCSIMUX", 8);
	memcpy(d + 16, "RAM target      ", 16);
	memcpy(d + 32, "0001", 4);
	scsi_reply(io, d, sizeof(d), allocation);
}

static size_t
vpd_serial(const struct scsi_io *io, uint8_t *d)
{
	return (size_t)snprintf((char *)d, 17, "RAM%08u", io->lun);
}

/* One designator: T10 vendor ID based, ASCII. */
static size_t
vpd_identification(const struct scsi_io *io, uint8_t *d)
{
	d[0] = 0x02;
	d[1] = 0x01;
	memcpy(d + 4, "ISCSIMUX", 8);
	d[3] = (uint8_t)(8 + vpd_serial(io, d + 12));
	return 4 + (size_t)d[3];
}

static size_t
vpd_block_limits(uint8_t *d)
{
	d[1] = 0xff;			/* COMPARE AND WRITE blocks */
	put_be32(d + 16, UNMAP_BLOCKS);
	put_be32(d + 20, 1);		/* UNMAP descriptors */
	put_be64(d + 32, SAME_BLOCKS);
	return 60;
}

static void
inquiry_vpd(struct scsi_io *io, uint8_t page, uint32_t allocation)
{
	static const uint8_t pages[] = { 0x00, 0x80, 0x83, 0xb0, 0xb1 };
	uint8_t d[128] = { 0 };
	size_t n;

	switch (page) {
	case 0x00:
		n = sizeof(pages);
		memcpy(d + 4, pages, n);
		break;
	case 0x80:
		n = vpd_serial(io, d + 4);
		break;
	case 0x83:
		n = vpd_identification(io, d + 4);
		break;
	case 0xb0:
		n = vpd_block_limits(d + 4);
		break;
	case 0xb1:
		n = 60;
		put_be16(d + 4, 1);	/* not rotating */
		break;
	default:
		bad_field(io);
		return;
	}
	d[1] = page;
	put_be16(d + 2, (uint16_t)n);
	scsi_reply(io, d, n + 4, allocation);
}

void
scsi_inquiry(struct scsi_io *io, const uint8_t *cdb)
{
	uint32_t allocation = get_be16(cdb + 3);

	if (cdb[1] & 1 && io->disk != NULL)
		inquiry_vpd(io, cdb[2], allocation);
	else if (cdb[1] & 1 || cdb[2] != 0)
		bad_field(io);
	else
		inquiry_standard(io, allocation);
}

void
scsi_report_luns(struct scsi_io *io, const uint8_t *cdb)
{
	uint8_t d[8 + 8 * 256] = { 0 };
	uint32_t i;

	/* Well-known LUNs (1) there are none, all (2) are the ordinary ones. */
	if (cdb[2] > 2) {
		bad_field(io);
		return;
	}
	for (i = 0; i < io->luns && cdb[2] != 1; i++)
		put_be16(d + 8 + i * 8, (uint16_t)(i < 256 ? i : 0x4000 | i));
	put_be32(d, i * 8);
	scsi_reply(io, d, 8 + i * 8, get_be32(cdb + 6));
}

/* Caching (write cache on) and control; no value can be changed. */
static size_t
mode_pages(uint8_t *d, uint8_t page, bool changeable)
{
	size_t n = 0;

	if (page == PAGE_CACHING || page == PAGE_ALL) {
		d[n] = PAGE_CACHING;
		d[n + 1] = 18;
		d[n + 2] = changeable ? 0 : 0x04;
		n += 20;
	}
	if (page == PAGE_CONTROL || page == PAGE_ALL) {
		d[n] = PAGE_CONTROL;
		d[n + 1] = 10;
		d[n + 3] = changeable ? 0 : 0x10;
		n += 12;
	}
	return n;
}

static size_t
mode_data(struct scsi_io *io, const uint8_t *cdb, uint8_t *d)
{
	uint8_t *blocks = d;
	size_t n = 0;

	/* A block descriptor, unless DBD is set. */
	if (!(cdb[1] & 0x08)) {
		put_be32(blocks, io->disk->blocks > UINT32_MAX ? UINT32_MAX :
		    (uint32_t)io->disk->blocks);
		put_be24(blocks + 5, io->disk->block_size);
		n = 8;
	}
	return n + mode_pages(d + n, cdb[2] & 0x3f, cdb[2] >> 6 == 1);
}

/* Page control 3 (saved) and unknown pages are refused. */
static bool
mode_ok(struct scsi_io *io, const uint8_t *cdb)
{
	uint8_t page = cdb[2] & 0x3f;

	if (cdb[2] >> 6 != 3 && (page == PAGE_ALL || page == PAGE_CACHING ||
	    page == PAGE_CONTROL))
		return true;
	bad_field(io);
	return false;
}

void
scsi_mode_sense6(struct scsi_io *io, const uint8_t *cdb)
{
	uint8_t d[64] = { 0 };
	size_t n;

	if (!mode_ok(io, cdb))
		return;
	n = 4 + mode_data(io, cdb, d + 4);
	d[0] = (uint8_t)(n - 1);
	d[2] = 0x10;			/* DPO and FUA */
	d[3] = cdb[1] & 0x08 ? 0 : 8;
	scsi_reply(io, d, n, cdb[4]);
}

void
scsi_mode_sense10(struct scsi_io *io, const uint8_t *cdb)
{
	uint8_t d[64] = { 0 };
	size_t n;

	if (!mode_ok(io, cdb))
		return;
	n = 8 + mode_data(io, cdb, d + 8);
	put_be16(d, (uint16_t)(n - 2));
	d[3] = 0x10;
	d[7] = cdb[1] & 0x08 ? 0 : 8;
	scsi_reply(io, d, n, get_be16(cdb + 7));
}

void
scsi_read_capacity10(struct scsi_io *io, const uint8_t *cdb)
{
	uint64_t last = io->disk->blocks - 1;
	uint8_t d[8];

	(void)cdb;
	put_be32(d, last > UINT32_MAX ? UINT32_MAX : (uint32_t)last);
	put_be32(d + 4, io->disk->block_size);
	scsi_reply(io, d, sizeof(d), sizeof(d));
}

void
scsi_service_action_in16(struct scsi_io *io, const uint8_t *cdb)
{
	uint8_t d[32] = { 0 };

	/* READ CAPACITY(16). */
	if ((cdb[1] & 0x1f) != 0x10) {
		scsi_fail(io, SCSI_KEY_ILLEGAL_REQUEST, SCSI_ASC_CDB_FIELD);
		return;
	}
	put_be64(d, io->disk->blocks - 1);
	put_be32(d + 8, io->disk->block_size);
	scsi_reply(io, d, sizeof(d), get_be32(cdb + 10));
}

/* There are no keys, no reservation, and nothing is reported as supported. */
void
scsi_persistent_reserve_in(struct scsi_io *io, const uint8_t *cdb)
{
	uint8_t d[8] = { 0 };
	uint8_t action = cdb[1] & 0x1f;

	if (action > 2) {
		bad_field(io);
		return;
	}
	if (action == 2)
		put_be16(d, sizeof(d));
	scsi_reply(io, d, sizeof(d), get_be16(cdb + 7));
}
