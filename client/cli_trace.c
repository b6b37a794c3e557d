/* SPDX-License-Identifier: ISC */
/*
 * -v: one line for each PDU, as it passes between this program and the
 * daemon.  The names of fields are those of RFC 7143 section 11.
 */
#include "config.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <scsi/sg_lib.h>

#include "client/cli.h"
#include "proto/bytes.h"
#include "proto/iscsi.h"

#define LINE_MAX_LEN	320

struct line {
	char	text[LINE_MAX_LEN];
	size_t	used;
};

static void
put(struct line *l, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

static void
put(struct line *l, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(l->text + l->used, sizeof(l->text) - l->used, fmt, ap);
	va_end(ap);
	if (n > 0)
		l->used += (size_t)n;
	if (l->used >= sizeof(l->text))
		l->used = sizeof(l->text) - 1;
}

/* The CDB in words, with the extent of the commands that have one. */
static void
put_cdb(struct line *l, const uint8_t *cdb)
{
	char name[64];

	sg_get_command_name(cdb, 0, sizeof(name), name);
	put(l, " %s", name);
	switch (cdb[0]) {
	case 0x88:
	case 0x8a:
		put(l, " lba=%" PRIu64 " blocks=%" PRIu32, get_be64(cdb + 2),
		    get_be32(cdb + 10));
		break;
	case 0x12:
		if ((cdb[1] & 1) != 0)
			put(l, " page=0x%02x", cdb[2]);
		break;
	}
}

static void
put_lun(struct line *l, const uint8_t *bhs)
{
	uint64_t lun = iscsi_lun(bhs);

	/* Peripheral or flat space addressing: a plain number. */
	if (lun << 16 == 0 && lun >> 62 <= 1)
		put(l, " lun=%" PRIu64, lun >> 48 & 0x3fff);
	else
		put(l, " lun=0x%016" PRIx64, lun);
}

static void
put_command(struct line *l, const uint8_t *bhs)
{
	uint8_t flags = bhs[ISCSI_OFF_FLAGS];

	put_lun(l, bhs);
	put(l, " edtl=%" PRIu32 "%s%s%s", get_be32(bhs + ISCSI_OFF_EDTL),
	    (flags & ISCSI_FLAG_FINAL) != 0 ? " F" : "",
	    (flags & ISCSI_CMD_READ) != 0 ? " R" : "",
	    (flags & ISCSI_CMD_WRITE) != 0 ? " W" : "");
	put_cdb(l, bhs + ISCSI_OFF_CDB);
}

static void
put_status(struct line *l, const uint8_t *bhs)
{
	char name[48];

	sg_get_scsi_status_str(bhs[ISCSI_OFF_STATUS], sizeof(name), name);
	put(l, " status=%s", name);
	if ((bhs[ISCSI_OFF_FLAGS] &
	    (ISCSI_RSP_OVERFLOW | ISCSI_RSP_UNDERFLOW)) != 0)
		put(l, " %s=%" PRIu32, (bhs[ISCSI_OFF_FLAGS] &
		    ISCSI_RSP_OVERFLOW) != 0 ? "overflow" : "underflow",
		    get_be32(bhs + ISCSI_OFF_RESIDUAL));
}

static void
put_data(struct line *l, const uint8_t *bhs)
{
	put(l, " ttt=0x%08" PRIx32 " sn=%" PRIu32 " offset=%" PRIu32,
	    get_be32(bhs + ISCSI_OFF_TTT), get_be32(bhs + ISCSI_OFF_DATASN),
	    get_be32(bhs + ISCSI_OFF_BUFFER_OFFSET));
	if ((bhs[ISCSI_OFF_FLAGS] & ISCSI_FLAG_FINAL) != 0)
		put(l, " F");
}

/* What only this kind of PDU has. */
static void
put_specific(struct line *l, const uint8_t *bhs)
{
	switch (iscsi_opcode(bhs)) {
	case ISCSI_OP_SCSI_CMD:
		put_command(l, bhs);
		break;
	case ISCSI_OP_SCSI_RSP:
		if (bhs[ISCSI_OFF_RESPONSE] != 0)
			put(l, " response=0x%02x", bhs[ISCSI_OFF_RESPONSE]);
		else
			put_status(l, bhs);
		break;
	case ISCSI_OP_DATA_IN:
		put_data(l, bhs);
		if ((bhs[ISCSI_OFF_FLAGS] & ISCSI_DATAIN_STATUS) != 0)
			put_status(l, bhs);
		break;
	case ISCSI_OP_DATA_OUT:
		put_data(l, bhs);
		break;
	case ISCSI_OP_R2T:
		put_data(l, bhs);
		put(l, " length=%" PRIu32,
		    get_be32(bhs + ISCSI_OFF_DESIRED_LEN));
		break;
	case ISCSI_OP_TMF_REQ:
		put_lun(l, bhs);
		put(l, " function=%u", bhs[ISCSI_OFF_FLAGS] & 0x7f);
		break;
	case ISCSI_OP_TMF_RSP:
	case ISCSI_OP_REJECT:
		put(l, " response=0x%02x", bhs[ISCSI_OFF_RESPONSE]);
		break;
	}
}

static void
on_trace(void *arg, enum iscsimux_direction direction, uint64_t id,
    const uint8_t *bhs, const uint8_t *ahs)
{
	struct line l = { .used = 0 };

	(void)arg;
	(void)id;
	(void)ahs;
	put(&l, "%s %s%s itt=0x%08" PRIx32, direction == ISCSIMUX_DATA_OUT ?
	    "->" : "<-", iscsimux_opcode_name(iscsi_opcode(bhs)),
	    iscsi_is_immediate(bhs) ? " (immediate)" : "", iscsi_itt(bhs));
	put(&l, " data=%" PRIu32, iscsi_dsl(bhs));
	if (iscsi_ahs_len(bhs) > 0)
		put(&l, " ahs=%" PRIu32, iscsi_ahs_len(bhs));
	put_specific(&l, bhs);
	fprintf(stderr, "%s\n", l.text);
}

void
cli_trace(struct iscsimux *h)
{
	iscsimux_set_trace(h, on_trace, NULL);
}
