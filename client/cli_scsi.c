/* SPDX-License-Identifier: ISC */
/*
 * CDBs and what an answer means.  Words for sense data are libsgutils2's.  It
 * sends nothing but READ CAPACITY, through cli_session.c.
 */
#include "config.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <scsi/sg_lib.h>

#include "client/cli_scsi.h"
#include "proto/bytes.h"

enum opcode {
	OP_INQUIRY = 0x12,
	OP_READ_CAPACITY_10 = 0x25,
	OP_READ_16 = 0x88,
	OP_WRITE_16 = 0x8a,
	OP_SERVICE_ACTION_IN_16 = 0x9e,
	OP_REPORT_LUNS = 0xa0
};

#define SA_READ_CAPACITY_16	0x10
#define INQUIRY_EVPD		0x01
#define CAPACITY_16_LEN		32u
#define CAPACITY_10_LEN		8u

static void
command_init(struct scsi_command *m, const struct cli *c, size_t cdb_len,
    enum iscsimux_direction direction, void *data, size_t len)
{
	memset(m, 0, sizeof(*m));
	m->scsi.cdb = m->cdb;
	m->scsi.cdb_len = cdb_len;
	m->scsi.attribute = ISCSIMUX_SIMPLE;
	m->scsi.direction = direction;
	m->scsi.data = data;
	m->scsi.data_len = len;
	if (c != NULL)
		(void)iscsimux_lun(c->lun, m->scsi.lun);
}

void
scsi_inquiry(struct scsi_command *m, const struct cli *c, int page,
    void *data, uint16_t len)
{
	command_init(m, c, 6, ISCSIMUX_DATA_IN, data, len);
	m->cdb[0] = OP_INQUIRY;
	if (page >= 0) {
		m->cdb[1] = INQUIRY_EVPD;
		m->cdb[2] = (uint8_t)page;
	}
	put_be16(m->cdb + 3, len);
}

void
scsi_report_luns(struct scsi_command *m, void *data, uint32_t len)
{
	command_init(m, NULL, 12, ISCSIMUX_DATA_IN, data, len);
	m->cdb[0] = OP_REPORT_LUNS;
	put_be32(m->cdb + 6, len);
}

void
scsi_read_capacity_16(struct scsi_command *m, const struct cli *c,
    void *data, uint32_t len)
{
	command_init(m, c, 16, ISCSIMUX_DATA_IN, data, len);
	m->cdb[0] = OP_SERVICE_ACTION_IN_16;
	m->cdb[1] = SA_READ_CAPACITY_16;
	put_be32(m->cdb + 10, len);
}

void
scsi_read_capacity_10(struct scsi_command *m, const struct cli *c,
    void *data, uint32_t len)
{
	command_init(m, c, 10, ISCSIMUX_DATA_IN, data, len);
	m->cdb[0] = OP_READ_CAPACITY_10;
}

void
scsi_read_16(struct scsi_command *m, const struct cli *c, uint64_t lba,
    uint32_t blocks, void *data, size_t len)
{
	command_init(m, c, 16, ISCSIMUX_DATA_IN, data, len);
	m->cdb[0] = OP_READ_16;
	put_be64(m->cdb + 2, lba);
	put_be32(m->cdb + 10, blocks);
}

void
scsi_write_16(struct scsi_command *m, const struct cli *c, uint64_t lba,
    uint32_t blocks, void *data, size_t len)
{
	command_init(m, c, 16, ISCSIMUX_DATA_OUT, data, len);
	m->cdb[0] = OP_WRITE_16;
	put_be64(m->cdb + 2, lba);
	put_be32(m->cdb + 10, blocks);
}

int
scsi_sense_key(const struct iscsimux_result *r)
{
	if (r->outcome != ISCSIMUX_COMPLETED ||
	    r->status != SCSI_CHECK_CONDITION || r->sense == NULL)
		return -1;
	return sg_get_sense_key(r->sense, (int)r->sense_len);
}

/* A command that met one of these was not begun (SAM-5 section 5.3.1). */
static enum scsi_verdict
judge_status(const struct iscsimux_result *r)
{
	switch (r->status) {
	case SCSI_GOOD:
		return SCSI_DONE;
	case SCSI_BUSY:
	case SCSI_TASK_SET_FULL:
		return SCSI_LATER;
	case SCSI_CHECK_CONDITION:
		return scsi_sense_key(r) == SENSE_UNIT_ATTENTION ?
		    SCSI_AGAIN : SCSI_BAD;
	default:
		return SCSI_BAD;
	}
}

enum scsi_verdict
scsi_judge(const struct iscsimux_result *r, bool writes)
{
	switch (r->outcome) {
	case ISCSIMUX_COMPLETED:
		return judge_status(r);
	case ISCSIMUX_NOT_SENT:
		return SCSI_DOWN;
	case ISCSIMUX_REFUSED:
		/* Other processes of the same user share its quota. */
		return r->reason == ISCSIMUX_R_QUOTA ? SCSI_LATER : SCSI_BAD;
	case ISCSIMUX_UNKNOWN:
		return writes ? SCSI_DOUBT : SCSI_DOWN;
	default:
		return writes && !r->not_sent ? SCSI_DOUBT : SCSI_BAD;
	}
}

static void
explain_sense(const struct iscsimux_result *r, char *buf, size_t size)
{
	struct sg_scsi_sense_hdr h;
	char key[64], more[128];
	uint64_t info;
	size_t used;

	if (!sg_scsi_normalize_sense(r->sense, (int)r->sense_len, &h)) {
		snprintf(buf, size, "CHECK CONDITION with sense data that "
		    "cannot be read");
		return;
	}
	sg_get_sense_key_str(h.sense_key, sizeof(key), key);
	sg_get_asc_ascq_str(h.asc, h.ascq, sizeof(more), more);
	snprintf(buf, size, "%s, %s (%02x/%02x/%02x)", key,
	    strncmp(more, "Additional sense: ", 18) == 0 ? more + 18 : more,
	    h.sense_key, h.asc, h.ascq);
	used = strlen(buf);
	if (sg_get_sense_info_fld(r->sense, (int)r->sense_len, &info))
		snprintf(buf + used, size - used, ", at %" PRIu64, info);
}

static void
explain_status(const struct iscsimux_result *r, char *buf, size_t size)
{
	char status[64];

	if (r->status == SCSI_CHECK_CONDITION && r->sense_len > 0) {
		explain_sense(r, buf, size);
		return;
	}
	sg_get_scsi_status_str(r->status, sizeof(status), status);
	snprintf(buf, size, "the target answered with status %s (0x%02x)",
	    status, r->status);
}

void
scsi_explain(const struct iscsimux_result *r, char *buf, size_t size)
{
	const char *text = *r->text != '\0' ? r->text :
	    iscsimux_reason_name(r->reason);

	switch (r->outcome) {
	case ISCSIMUX_COMPLETED:
		explain_status(r, buf, size);
		break;
	case ISCSIMUX_TIMED_OUT:
		snprintf(buf, size, "the target did not answer in time");
		break;
	case ISCSIMUX_REFUSED:
		snprintf(buf, size, "refused by the daemon: %s", text);
		break;
	default:
		strlcpy(buf, text, size);
	}
}

json_t *
scsi_report(const struct iscsimux_result *r)
{
	json_t *js = json_pack("{s:s}", "outcome",
	    iscsimux_outcome_name(r->outcome));
	struct sg_scsi_sense_hdr h;

	if (r->outcome != ISCSIMUX_COMPLETED) {
		json_object_set_new(js, "reason",
		    json_string(iscsimux_reason_name(r->reason)));
		return js;
	}
	json_object_set_new(js, "status", json_integer(r->status));
	if (r->sense_len == 0)
		return js;
	json_object_set_new(js, "sense", cli_hex(r->sense, r->sense_len));
	if (sg_scsi_normalize_sense(r->sense, (int)r->sense_len, &h)) {
		json_object_set_new(js, "sense_key",
		    json_integer(h.sense_key));
		json_object_set_new(js, "asc", json_integer(h.asc));
		json_object_set_new(js, "ascq", json_integer(h.ascq));
	}
	return js;
}

static void
take_capacity_16(const uint8_t *data, size_t len, struct scsi_capacity *out)
{
	memset(out, 0, sizeof(*out));
	out->blocks = get_be64(data) + 1;
	out->block_len = get_be32(data + 8);
	if (len < 16)
		return;
	out->long_form = true;
	out->protection = (data[12] & 0x01) != 0;
	out->physical_len = out->block_len << (data[13] & 0x0f);
	out->provisioning = (data[14] & 0x80) != 0;
	out->reads_zeros = (data[14] & 0x40) != 0;
	out->lowest_aligned = get_be16(data + 14) & 0x3fff;
}

static enum cli_status
capacity_10(struct cli *c, struct scsi_capacity *out)
{
	uint8_t data[CAPACITY_10_LEN];
	struct cli_answer answer;
	struct scsi_command m;
	enum cli_status status;

	scsi_read_capacity_10(&m, c, data, sizeof(data));
	status = cli_command(c, &m.scsi, &answer);
	if (status != CLI_OK)
		return status;
	if (answer.result.transferred < sizeof(data))
		return cli_fail(c, CLI_FAILED,
		    "the target's answer to READ CAPACITY(10) is too short");
	memset(out, 0, sizeof(*out));
	out->blocks = (uint64_t)get_be32(data) + 1;
	out->block_len = get_be32(data + 4);
	return CLI_OK;
}

enum cli_status
scsi_capacity(struct cli *c, struct scsi_capacity *out)
{
	uint8_t data[CAPACITY_16_LEN] = { 0 };
	struct cli_answer answer;
	struct scsi_command m;
	enum cli_status status;

	scsi_read_capacity_16(&m, c, data, sizeof(data));
	status = cli_execute(c, &m.scsi, &answer);
	if (status != CLI_OK)
		return status;
	if (scsi_sense_key(&answer.result) == SENSE_ILLEGAL_REQUEST) {
		status = capacity_10(c, out);
	} else {
		if (!iscsimux_result_good(&answer.result))
			return cli_bad(c, &answer.result);
		if (answer.result.transferred < 12)
			return cli_fail(c, CLI_FAILED, "the target's answer "
			    "to READ CAPACITY(16) is too short");
		take_capacity_16(data, answer.result.transferred, out);
	}
	if (status == CLI_OK && (out->block_len == 0 || out->blocks == 0 ||
	    out->blocks > UINT64_MAX / out->block_len))
		return cli_fail(c, CLI_FAILED, "the target reports a capacity "
		    "that makes no sense: %" PRIu64 " blocks of %" PRIu32
		    " bytes", out->blocks, out->block_len);
	return status;
}
