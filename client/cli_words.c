/* SPDX-License-Identifier: ISC */
/*
 * Numbers in PDUs in words: of iSCSI (RFC 7143), and of SCSI by libsgutils2.
 */
#include "config.h"

#include <stdio.h>
#include <string.h>

#include <scsi/sg_lib.h>

#include "client/cli_pdu.h"
#include "client/cli_scsi.h"
#include "proto/iscsi.h"

struct word {
	unsigned	 number;
	const char	*text;
};

static const struct word scsi_responses[] = {
	{ 0, "command completed at target" }, { 1, "target failure" },
};

static const struct word logout_responses[] = {
	{ 0, "connection or session closed" }, { 1, "CID not found" },
	{ 2, "connection recovery not supported" }, { 3, "cleanup failed" },
};

static const struct word logout_reasons[] = {
	{ 0, "close the session" }, { 1, "close the connection" },
	{ 2, "remove the connection for recovery" },
};

static const struct word stages[] = {
	{ 0, "security negotiation" }, { 1, "operational negotiation" },
	{ 3, "full feature phase" },
};

static const struct word attributes[] = {
	{ 0, "untagged" }, { 1, "simple" }, { 2, "ordered" },
	{ 3, "head of queue" }, { 4, "ACA" },
};

static const struct word snack_types[] = {
	{ 0, "data or R2T" }, { 1, "status" }, { 2, "DataACK" },
	{ 3, "R-data" },
};

static const struct word async_events[] = {
	{ 0, "SCSI event, sense data follow" },
	{ 1, "target requests logout" },
	{ 2, "target will drop the connection" },
	{ 3, "target will drop all connections" },
	{ 4, "target requests parameter negotiation" },
	{ 5, "all tasks of the LUN are terminated" },
	{ 255, "vendor specific" },
};

#define FIND(table, number)						\
	find(table, sizeof(table) / sizeof((table)[0]), number)

static const char *
find(const struct word *words, size_t n, unsigned number)
{
	for (size_t i = 0; i < n; i++)
		if (words[i].number == number)
			return words[i].text;
	return "";
}

static const char *
response(const uint8_t *bhs, unsigned value)
{
	switch (iscsi_opcode(bhs)) {
	case ISCSI_OP_SCSI_RSP:
		return FIND(scsi_responses, value);
	case ISCSI_OP_TMF_RSP:
		return iscsi_tmf_response_name((uint8_t)value);
	default:
		return FIND(logout_responses, value);
	}
}

/* Is there a SCSI status in it (RFC 7143 sections 11.4.2, 11.7.4)? */
static bool
has_status(const uint8_t *bhs)
{
	if (iscsi_opcode(bhs) == ISCSI_OP_SCSI_RSP)
		return bhs[ISCSI_OFF_RESPONSE] == 0;
	return (bhs[ISCSI_OFF_FLAGS] & ISCSI_DATAIN_STATUS) != 0;
}

static const char *
reserved_tag(unsigned value)
{
	return value == ISCSI_TAG_NONE ? "reserved" : "";
}

const char *
cli_pdu_words(const uint8_t *bhs, const struct pdu_field *f, char *buf,
    size_t size)
{
	unsigned value = (unsigned)pdu_get(bhs, f);
	const char *name = f->name;

	*buf = '\0';
	if (strcmp(name, "status") == 0 && has_status(bhs))
		sg_get_scsi_status_str((int)value, (int)size, buf);
	else if (strcmp(name, "cdb") == 0)
		sg_get_command_name(bhs + f->byte, 0, (int)size, buf);
	else if (strcmp(name, "response") == 0)
		return response(bhs, value);
	else if (strcmp(name, "reason") == 0)
		return iscsi_reject_reason_name((uint8_t)value);
	else if (strcmp(name, "status-class") == 0)
		return iscsi_login_status_name((uint8_t)value,
		    bhs[ISCSI_OFF_LOGIN_STATUS + 1]);
	else if (strcmp(name, "function") == 0)
		return iscsi_tmf_name((uint8_t)value);
	else if (strcmp(name, "reason-code") == 0)
		return FIND(logout_reasons, value);
	else if (strcmp(name, "csg") == 0)
		return FIND(stages, value);
	else if (strcmp(name, "nsg") == 0)
		return (bhs[ISCSI_OFF_FLAGS] & ISCSI_LOGIN_TRANSIT) != 0 ?
		    FIND(stages, value) : "";
	else if (strcmp(name, "attr") == 0)
		return FIND(attributes, value);
	else if (strcmp(name, "type") == 0)
		return FIND(snack_types, value);
	else if (strcmp(name, "asyncevent") == 0)
		return FIND(async_events, value);
	else if (strcmp(name, "itt") == 0 || strcmp(name, "ttt") == 0)
		return reserved_tag(value);
	return buf;
}

bool
cli_pdu_sense(const uint8_t *bhs, const uint8_t *data, size_t len, char *buf,
    size_t size)
{
	struct iscsimux_result r = { .text = "", .status = 2 };
	bool carries = (iscsi_opcode(bhs) == ISCSI_OP_SCSI_RSP &&
	    has_status(bhs)) || (iscsi_opcode(bhs) == ISCSI_OP_ASYNC &&
	    bhs[ISCSI_OFF_ASYNC_EVENT] == 0);

	if (!carries || len < 2)
		return false;
	r.sense_len = get_be16(data);
	if (r.sense_len > len - 2)
		r.sense_len = len - 2;
	if (r.sense_len == 0)
		return false;
	r.sense = data + 2;
	scsi_explain(&r, buf, size);
	return true;
}
