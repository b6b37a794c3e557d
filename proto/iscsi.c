/* SPDX-License-Identifier: ISC */
/*
 * What each opcode means to sequence numbers and tasks, and the words for
 * the numbers of RFC 7143.  Pure tables and predicates over a BHS; it calls
 * nothing and knows nothing of sessions.
 */
#include "config.h"

#include <errno.h>

#include "proto/iscsi.h"

#define OPCODES (ISCSI_OP_MASK + 1)

/* 0x3c to 0x3e belong to vendors (RFC 7143 section 11.2.1.2). */
#define VENDOR_FIRST	0x3c
#define VENDOR_LAST	0x3e

#define AHS_HEADER_LEN	3	/* AHSLength and AHSType */

struct opcode {
	const char	*name;
	uint16_t	 traits;
};

static const struct opcode opcodes[OPCODES] = {
#define X(name, value, text, traits)					\
	[value] = { text, ISCSI_T_KNOWN | (traits) },
	ISCSI_OPCODES(X)
#undef X
};

unsigned
iscsi_opcode_traits(uint8_t opcode)
{
	return opcode < OPCODES ? opcodes[opcode].traits : 0;
}

const char *
iscsi_opcode_name(uint8_t opcode)
{
	if (opcode >= OPCODES || opcodes[opcode].name == NULL)
		return "unknown";
	return opcodes[opcode].name;
}

bool
iscsi_consumes_statsn(const uint8_t *bhs)
{
	unsigned traits = iscsi_opcode_traits(iscsi_opcode(bhs));

	if (traits & ISCSI_T_STATSN_S)
		return (bhs[ISCSI_OFF_FLAGS] & ISCSI_DATAIN_STATUS) != 0;
	if (traits & ISCSI_T_STATSN_TAG)
		return iscsi_itt(bhs) != ISCSI_TAG_NONE;
	return (traits & ISCSI_T_STATSN) != 0;
}

/*
 * A login ends with any failure, or with the transition to the full feature
 * phase (RFC 7143 section 11.13).
 */
static bool
login_is_final(const uint8_t *bhs)
{
	uint8_t flags = bhs[ISCSI_OFF_FLAGS];

	if (bhs[ISCSI_OFF_LOGIN_STATUS] != 0)
		return true;
	return (flags & ISCSI_LOGIN_TRANSIT) != 0 &&
	    (flags & 3) == ISCSI_STAGE_FULL_FEATURE;
}

bool
iscsi_is_final(const uint8_t *bhs)
{
	uint8_t opcode = iscsi_opcode(bhs);
	unsigned traits = iscsi_opcode_traits(opcode);

	if (opcode == ISCSI_OP_LOGIN_RSP)
		return login_is_final(bhs);
	if (iscsi_itt(bhs) == ISCSI_TAG_NONE)
		return false;
	if (traits & ISCSI_T_FINAL_S)
		return (bhs[ISCSI_OFF_FLAGS] & ISCSI_DATAIN_STATUS) != 0;
	if (traits & ISCSI_T_FINAL_F)
		return (bhs[ISCSI_OFF_FLAGS] & ISCSI_FLAG_FINAL) != 0;
	return (traits & ISCSI_T_FINAL) != 0;
}

bool
iscsi_response_fits(uint8_t request, uint8_t response)
{
	if ((iscsi_opcode_traits(request) & ISCSI_T_OPENS) == 0)
		return false;
	if (response == ISCSI_OP_REJECT ||
	    (response >= VENDOR_FIRST && response <= VENDOR_LAST))
		return true;
	switch (request) {
	case ISCSI_OP_NOP_OUT:
		return response == ISCSI_OP_NOP_IN;
	case ISCSI_OP_SCSI_CMD:
		return response == ISCSI_OP_SCSI_RSP ||
		    response == ISCSI_OP_DATA_IN || response == ISCSI_OP_R2T;
	case ISCSI_OP_TMF_REQ:
		return response == ISCSI_OP_TMF_RSP;
	case ISCSI_OP_LOGIN_REQ:
		return response == ISCSI_OP_LOGIN_RSP;
	case ISCSI_OP_TEXT_REQ:
		return response == ISCSI_OP_TEXT_RSP;
	case ISCSI_OP_LOGOUT_REQ:
		return response == ISCSI_OP_LOGOUT_RSP;
	default:
		return false;
	}
}

int
iscsi_ahs_check(const uint8_t *ahs, size_t len)
{
	size_t pos = 0;
	size_t n;

	if (len > ISCSI_AHS_MAX || len % 4 != 0)
		return -EBADMSG;
	while (pos < len) {
		n = AHS_HEADER_LEN + (size_t)get_be16(ahs + pos);
		n = (n + 3) & ~(size_t)3;
		if (n > len - pos)
			return -EBADMSG;
		pos += n;
	}
	return 0;
}

/* A number and its words, for the sparse tables below. */
struct word {
	uint16_t	 number;
	const char	*text;
};

static const char *
word_find(const struct word *words, size_t n, uint16_t number)
{
	size_t i;

	for (i = 0; i < n; i++)
		if (words[i].number == number)
			return words[i].text;
	return NULL;
}

#define WORD_FIND(table, number) \
	word_find(table, sizeof(table) / sizeof((table)[0]), number)

static const struct word login_statuses[] = {
	{ 0x0000, "success" },
	{ 0x0101, "target moved temporarily" },
	{ 0x0102, "target moved permanently" },
	{ 0x0200, "initiator error" },
	{ 0x0201, "authentication failure" },
	{ 0x0202, "authorization failure" },
	{ 0x0203, "target not found" },
	{ 0x0204, "target removed" },
	{ 0x0205, "unsupported version" },
	{ 0x0206, "too many connections" },
	{ 0x0207, "missing parameter" },
	{ 0x0208, "cannot include in session" },
	{ 0x0209, "session type not supported" },
	{ 0x020a, "session does not exist" },
	{ 0x020b, "invalid request during login" },
	{ 0x0300, "target error" },
	{ 0x0301, "service unavailable" },
	{ 0x0302, "out of resources" },
};

const char *
iscsi_login_status_name(uint8_t status_class, uint8_t detail)
{
	const char *text;

	text = WORD_FIND(login_statuses,
	    (uint16_t)((status_class << 8) | detail));
	if (text != NULL)
		return text;
	switch (status_class) {
	case 0:
		return "success, unknown detail";
	case 1:
		return "redirection, unknown detail";
	case 2:
		return "initiator error, unknown detail";
	case 3:
		return "target error, unknown detail";
	default:
		return "unknown status class";
	}
}

static const struct word reject_reasons[] = {
	{ 0x02, "data digest error" },
	{ 0x03, "SNACK rejected" },
	{ 0x04, "protocol error" },
	{ 0x05, "command not supported" },
	{ 0x06, "too many immediate commands" },
	{ 0x07, "task in progress" },
	{ 0x08, "invalid data acknowledgment" },
	{ 0x09, "invalid PDU field" },
	{ 0x0a, "out of Target Transfer Tags" },
	{ 0x0b, "negotiation reset" },
	{ 0x0c, "waiting for logout" },
};

const char *
iscsi_reject_reason_name(uint8_t reason)
{
	const char *text = WORD_FIND(reject_reasons, reason);

	return text != NULL ? text : "unknown reason";
}

static const struct word tmf_responses[] = {
	{ 0, "function complete" },
	{ 1, "task does not exist" },
	{ 2, "LUN does not exist" },
	{ 3, "task still allegiant" },
	{ 4, "task reassignment not supported" },
	{ 5, "task management function not supported" },
	{ 6, "function authorization failed" },
	{ 7, "function succeeded" },
	{ 255, "function rejected" },
};

const char *
iscsi_tmf_response_name(uint8_t response)
{
	const char *text = WORD_FIND(tmf_responses, response);

	return text != NULL ? text : "unknown response";
}

static const struct word logout_responses[] = {
	{ 0, "closed" },
	{ 1, "connection not found" },
	{ 2, "connection recovery not supported" },
	{ 3, "cleanup failed" },
};

const char *
iscsi_logout_response_name(uint8_t response)
{
	const char *text = WORD_FIND(logout_responses, response);

	return text != NULL ? text : "unknown response";
}

static const struct word tmf_names[] = {
	{ ISCSI_TMF_ABORT_TASK, "ABORT TASK" },
	{ ISCSI_TMF_ABORT_TASK_SET, "ABORT TASK SET" },
	{ ISCSI_TMF_CLEAR_ACA, "CLEAR ACA" },
	{ ISCSI_TMF_CLEAR_TASK_SET, "CLEAR TASK SET" },
	{ ISCSI_TMF_LUN_RESET, "LOGICAL UNIT RESET" },
	{ ISCSI_TMF_TARGET_WARM_RESET, "TARGET WARM RESET" },
	{ ISCSI_TMF_TARGET_COLD_RESET, "TARGET COLD RESET" },
	{ ISCSI_TMF_TASK_REASSIGN, "TASK REASSIGN" },
	{ ISCSI_TMF_QUERY_TASK, "QUERY TASK" },
	{ ISCSI_TMF_QUERY_TASK_SET, "QUERY TASK SET" },
	{ ISCSI_TMF_NEXUS_RESET, "I_T NEXUS RESET" },
	{ ISCSI_TMF_QUERY_ASYNC_EVENT, "QUERY ASYNCHRONOUS EVENT" },
};

const char *
iscsi_tmf_name(uint8_t function)
{
	const char *text = WORD_FIND(tmf_names, function);

	return text != NULL ? text : "unknown function";
}
