/* SPDX-License-Identifier: ISC */
/*
 * What a client may submit on a shared session, checked before anything is
 * queued: what memory, routing and the life of the session need.  A refusal
 * names the field, its value and the rule; the session never notices.
 */
#include "config.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "daemon/session_internal.h"
#include "proto/iscsi.h"
#include "proto/text.h"

/* ACA; what is above it is reserved (RFC 7143 section 11.3.1). */
#define ATTRIBUTE_MAX	4u

/* Fill `why`; always false, so that a check can return it. */
bool
guard_no(struct refusal *why, uint16_t reason, const char *fmt, ...)
{
	va_list ap;

	why->reason = reason;
	va_start(ap, fmt);
	vsnprintf(why->text, sizeof(why->text), fmt, ap);
	va_end(ap);
	return false;
}

static uint32_t
edtl_of(const uint8_t *bhs)
{
	return get_be32(bhs + ISCSI_OFF_EDTL);
}

/* FirstBurstLength as it applies to this command. */
static uint32_t
first_burst(const struct session *s, const uint8_t *bhs)
{
	uint32_t edtl = edtl_of(bhs);

	return edtl < s->params.first_burst ? edtl : s->params.first_burst;
}

/*
 * Bytes of unsolicited Data-Out that must follow a SCSI Command: what is left
 * of the first burst when the F bit is not set (RFC 7143 section 11.3.1).
 */
uint32_t
guard_burst(const struct session *s, const uint8_t *bhs)
{
	if (iscsi_opcode(bhs) != ISCSI_OP_SCSI_CMD ||
	    (bhs[ISCSI_OFF_FLAGS] & ISCSI_FLAG_FINAL) != 0)
		return 0;
	return first_burst(s, bhs) - iscsi_dsl(bhs);
}

static bool
check_immediate_data(const struct session *s, const uint8_t *bhs,
    struct refusal *why)
{
	uint32_t dsl = iscsi_dsl(bhs), burst = first_burst(s, bhs);

	if (dsl == 0)
		return true;
	if ((bhs[ISCSI_OFF_FLAGS] & ISCSI_CMD_WRITE) == 0)
		return guard_no(why, MSG_R_BAD_FIELD, "DataSegmentLength is "
		    "%" PRIu32 " in a command without the W bit", dsl);
	if ((s->params.flags & MSG_PARAM_IMMEDIATE_DATA) == 0)
		return guard_no(why, MSG_R_DATA_LIMIT, "DataSegmentLength is "
		    "%" PRIu32 " but the session negotiated ImmediateData=No",
		    dsl);
	if (dsl > burst)
		return guard_no(why, MSG_R_DATA_LIMIT, "immediate data of "
		    "%" PRIu32 " bytes exceeds %" PRIu32 ", the smaller of "
		    "FirstBurstLength and the Expected Data Transfer Length",
		    dsl, burst);
	return true;
}

static bool
check_unsolicited(const struct session *s, const uint8_t *bhs,
    struct refusal *why)
{
	if ((bhs[ISCSI_OFF_FLAGS] & ISCSI_FLAG_FINAL) != 0)
		return true;
	if ((bhs[ISCSI_OFF_FLAGS] & ISCSI_CMD_WRITE) == 0)
		return guard_no(why, MSG_R_BAD_FIELD,
		    "a command without the W bit must have the F bit");
	if ((s->params.flags & MSG_PARAM_INITIAL_R2T) != 0)
		return guard_no(why, MSG_R_DATA_LIMIT, "the F bit is not set, "
		    "but the session negotiated InitialR2T=Yes");
	if (iscsi_dsl(bhs) >= first_burst(s, bhs))
		return guard_no(why, MSG_R_BAD_FIELD, "the F bit is not set, "
		    "but no unsolicited data may follow: the first burst is "
		    "complete");
	return true;
}

static bool
check_command(const struct session *s, const struct txpdu *pdu,
    struct refusal *why)
{
	const uint8_t *bhs = pdu->bhs;
	uint8_t both = ISCSI_CMD_READ | ISCSI_CMD_WRITE;

	if (iscsi_is_immediate(bhs))
		return guard_no(why, MSG_R_BAD_FIELD, "the I bit of a SCSI "
		    "Command is not available on a shared session");
	if ((bhs[ISCSI_OFF_FLAGS] & both) == both)
		return guard_no(why, MSG_R_NOT_SUPPORTED,
		    "bidirectional commands (R and W bit) are not supported");
	if ((bhs[ISCSI_OFF_FLAGS] & ISCSI_CMD_ATTR_MASK) > ATTRIBUTE_MAX)
		return guard_no(why, MSG_R_BAD_FIELD, "the task attribute %u "
		    "is reserved", bhs[ISCSI_OFF_FLAGS] & ISCSI_CMD_ATTR_MASK);
	if ((bhs[ISCSI_OFF_FLAGS] & both) == 0 && edtl_of(bhs) != 0)
		return guard_no(why, MSG_R_BAD_FIELD, "the Expected Data "
		    "Transfer Length is %" PRIu32 " without an R or W bit",
		    edtl_of(bhs));
	if (pdu->ahs.len > 0 && iscsi_ahs_check(pdu->ahs.ptr, pdu->ahs.len))
		return guard_no(why, MSG_R_BAD_LENGTH, "the Additional Header "
		    "Segments do not add up to TotalAHSLength");
	return check_immediate_data(s, bhs, why) &&
	    check_unsolicited(s, bhs, why);
}

/* What RFC 7144 adds; says what is to be done to get it. */
static bool
check_level(const struct session *s, uint8_t function, struct refusal *why)
{
	const struct config_session *c = s->config;

	if (s->protocol_level >= ISCSI_LEVEL_RFC7144)
		return true;
	if (c->protocol_level >= ISCSI_LEVEL_RFC7144 && !s->shared)
		return guard_no(why, MSG_R_NOT_SUPPORTED, "%s needs "
		    "iSCSIProtocolLevel 2, the target of session %s agreed "
		    "to %" PRIu32 " only", iscsi_tmf_name(function), c->name,
		    s->protocol_level);
	return guard_no(why, MSG_R_NOT_SUPPORTED, "%s needs "
	    "iSCSIProtocolLevel 2, which session %s has not negotiated%s",
	    iscsi_tmf_name(function), c->name, s->shared ? "" : ": set "
	    "protocol-level = 2 in its configuration");
}

/* Task management functions of RFC 7143 and RFC 7144. */
static bool
check_function(const struct session *s, uint8_t function,
    struct refusal *why)
{
	if (function >= ISCSI_TMF_ABORT_TASK &&
	    function <= ISCSI_TMF_TARGET_COLD_RESET)
		return true;
	if (function == ISCSI_TMF_TASK_REASSIGN)
		return guard_no(why, MSG_R_NOT_SUPPORTED, "TASK REASSIGN needs "
		    "error recovery level 2, the session has 0");
	if (function >= ISCSI_TMF_QUERY_TASK &&
	    function <= ISCSI_TMF_QUERY_ASYNC_EVENT)
		return check_level(s, function, why);
	return guard_no(why, MSG_R_NOT_SUPPORTED, "there is no task "
	    "management function %u", function);
}

/* Functions that reach beyond the caller's own task. */
static bool
needs_reset(uint8_t function)
{
	return (function >= ISCSI_TMF_ABORT_TASK_SET &&
	    function <= ISCSI_TMF_TARGET_COLD_RESET) ||
	    function == ISCSI_TMF_NEXUS_RESET;
}

/* Some targets drop the connection of a request without it. */
static bool
check_final(const uint8_t *bhs, struct refusal *why)
{
	if ((bhs[ISCSI_OFF_FLAGS] & ISCSI_FLAG_FINAL) != 0)
		return true;
	return guard_no(why, MSG_R_BAD_FIELD, "a %s must have the F bit",
	    iscsi_opcode_name(iscsi_opcode(bhs)));
}

static bool
check_tmf(const struct session *s, uint32_t access, const uint8_t *bhs,
    struct refusal *why)
{
	uint8_t function = bhs[ISCSI_OFF_FLAGS] & ISCSI_TMF_FUNCTION_MASK;
	uint32_t rtt = get_be32(bhs + ISCSI_OFF_RTT);

	if (!iscsi_is_immediate(bhs))
		return guard_no(why, MSG_R_BAD_FIELD, "task management must "
		    "have the I bit");
	if (!check_final(bhs, why))
		return false;
	if (needs_reset(function) && (access & MSG_ACCESS_RESET) == 0)
		return guard_no(why, MSG_R_NOT_PERMITTED, "%s reaches beyond "
		    "your own tasks: you need the access 'reset' to session "
		    "%s, by a rule with allow = { write, reset } or all",
		    iscsi_tmf_name(function), s->config->name);
	if (!check_function(s, function, why))
		return false;
	if (!abort_names_task(function) && rtt != ISCSI_TAG_NONE)
		return guard_no(why, MSG_R_BAD_FIELD, "the Referenced Task "
		    "Tag must be 0xffffffff for %s", iscsi_tmf_name(function));
	return true;
}

/* Only SendTargets: any other key could change what the session rests on. */
static bool
check_text(const struct txpdu *pdu, struct refusal *why)
{
	char text[256];
	struct text_reader reader;
	struct text_pair pair;
	enum text_error error;
	size_t len = slices_copy(&pdu->data, text, sizeof(text));

	if (iscsi_is_immediate(pdu->bhs))
		return guard_no(why, MSG_R_BAD_FIELD, "the I bit of a Text "
		    "Request is not available on a shared session");
	if ((pdu->bhs[ISCSI_OFF_FLAGS] & ISCSI_FLAG_FINAL) == 0 ||
	    (pdu->bhs[ISCSI_OFF_FLAGS] & ISCSI_TEXT_CONTINUE) != 0)
		return guard_no(why, MSG_R_BAD_FIELD, "a Text Request must "
		    "have the F bit and not the C bit");
	if (len < pdu->data.len)
		return guard_no(why, MSG_R_DATA_LIMIT, "a Text Request may "
		    "hold %zu bytes of text", sizeof(text));
	text_reader_init(&reader, text, len);
	while ((error = text_next(&reader, &pair)) == TEXT_OK) {
		if (!text_key_is(&pair, "SendTargets"))
			return guard_no(why, MSG_R_NOT_PERMITTED, "only the "
			    "key SendTargets may be sent on a shared session");
	}
	if (error != TEXT_END)
		return guard_no(why, MSG_R_BAD_PAYLOAD, "text: %s",
		    text_error_name(error));
	return true;
}

static bool
check_nop(const uint8_t *bhs, struct refusal *why)
{
	if (iscsi_ttt(bhs) != ISCSI_TAG_NONE)
		return guard_no(why, MSG_R_BAD_TAG, "the Target Transfer Tag "
		    "of a NOP-Out must be 0xffffffff: pings of the target are "
		    "answered by the daemon");
	return check_final(bhs, why);
}

/* What holds for every PDU: opcode traits against lengths. */
static bool
check_lengths(const struct session *s, const struct txpdu *pdu,
    struct refusal *why)
{
	uint8_t opcode = iscsi_opcode(pdu->bhs);
	unsigned traits = iscsi_opcode_traits(opcode);
	uint32_t dsl = iscsi_dsl(pdu->bhs);

	if (dsl > s->params.send_dsl)
		return guard_no(why, MSG_R_DATA_LIMIT, "DataSegmentLength "
		    "%" PRIu32 " exceeds the target's "
		    "MaxRecvDataSegmentLength of %" PRIu32, dsl,
		    s->params.send_dsl);
	if (dsl > 0 && (traits & ISCSI_T_NODATA) != 0)
		return guard_no(why, MSG_R_BAD_LENGTH, "a %s has no data",
		    iscsi_opcode_name(opcode));
	if (pdu->ahs.len > 0 && (traits & ISCSI_T_AHS) == 0)
		return guard_no(why, MSG_R_BAD_LENGTH, "a %s has no "
		    "Additional Header Segment", iscsi_opcode_name(opcode));
	return true;
}

/*
 * May this request of a client with that access open a task?  Else `why` is
 * filled.
 */
bool
guard_request(const struct session *s, uint32_t access,
    const struct txpdu *pdu, struct refusal *why)
{
	const uint8_t *bhs = pdu->bhs;

	if (iscsi_itt(bhs) == ISCSI_TAG_NONE)
		return guard_no(why, MSG_R_BAD_ITT, "the Initiator Task Tag "
		    "0xffffffff is reserved");
	if (!check_lengths(s, pdu, why))
		return false;
	switch (iscsi_opcode(bhs)) {
	case ISCSI_OP_SCSI_CMD:
		return check_command(s, pdu, why);
	case ISCSI_OP_TMF_REQ:
		return check_tmf(s, access, bhs, why);
	case ISCSI_OP_TEXT_REQ:
		return check_text(pdu, why);
	case ISCSI_OP_NOP_OUT:
		return check_nop(bhs, why);
	default:
		return guard_no(why, MSG_R_BAD_OPCODE, "a %s is not allowed "
		    "on a shared session",
		    iscsi_opcode_name(iscsi_opcode(bhs)));
	}
}

/*
 * May a request that was let in before the session's limits changed go on, it
 * and the data that belong to it?
 */
bool
guard_held(const struct session *s, const struct task *t,
    struct refusal *why)
{
	uint32_t burst = guard_burst(s, t->pdu->bhs);
	const struct r2t *r = STAILQ_FIRST(&t->r2ts);
	const struct txpdu *pdu;

	if (!guard_request(s, t->owner->access, t->pdu, why))
		return false;
	if (burst != (r == NULL ? 0 : r->len))
		return guard_no(why, MSG_R_DATA_LIMIT, "%" PRIu32 " bytes of "
		    "unsolicited data would follow, but FirstBurstLength is "
		    "%" PRIu32 " now", r == NULL ? 0 : r->len,
		    s->params.first_burst);
	STAILQ_FOREACH(pdu, &t->unsolicited, link) {
		if (!check_lengths(s, pdu, why))
			return false;
	}
	return true;
}

/*
 * Does this Data-Out give what the oldest unanswered R2T of its task (or its
 * unsolicited burst) asks for next?  RFC 7143 sections 11.7 and 11.8.
 */
bool
guard_data_out(const struct session *s, struct task *t,
    const struct txpdu *pdu, struct refusal *why)
{
	const uint8_t *bhs = pdu->bhs;
	uint32_t dsl = iscsi_dsl(bhs);
	uint32_t offset = get_be32(bhs + ISCSI_OFF_BUFFER_OFFSET);
	uint32_t datasn = get_be32(bhs + ISCSI_OFF_DATASN);
	bool final = (bhs[ISCSI_OFF_FLAGS] & ISCSI_FLAG_FINAL) != 0;
	struct r2t *r = r2t_wanted(t);

	if (!check_lengths(s, pdu, why))
		return false;
	if (t->end != TASK_END_NONE)
		return guard_no(why, MSG_R_BAD_TAG, "the task is being "
		    "aborted; the daemon answers its R2Ts");
	if (r == NULL)
		return guard_no(why, MSG_R_BAD_TAG, "the target has asked for "
		    "no data of this task");
	if (iscsi_ttt(bhs) != r->ttt)
		return guard_no(why, MSG_R_BAD_TAG, "the Target Transfer Tag "
		    "is 0x%08" PRIx32 ", the oldest unanswered one is "
		    "0x%08" PRIx32, iscsi_ttt(bhs), r->ttt);
	if (iscsi_lun(bhs) != t->lun && r->ttt != ISCSI_TAG_NONE)
		return guard_no(why, MSG_R_BAD_FIELD, "the LUN differs from "
		    "the R2T's");
	if (offset != r->offset + r->queued || dsl > r->len - r->queued)
		return guard_no(why, MSG_R_BAD_FIELD, "%" PRIu32 " bytes at "
		    "Buffer Offset %" PRIu32 ", but the target waits for at "
		    "most %" PRIu32 " at %" PRIu32, dsl, offset,
		    r->len - r->queued, r->offset + r->queued);
	if (datasn != r->queued_sn)
		return guard_no(why, MSG_R_BAD_FIELD, "DataSN is %" PRIu32
		    ", next is %" PRIu32, datasn, r->queued_sn);
	if (r->queued_sn >= 16 + r->len / 512)
		return guard_no(why, MSG_R_DATA_LIMIT, "more than 16 Data-Outs "
		    "and one for every 512 bytes of the sequence");
	if (dsl == 0 || final != (dsl == r->len - r->queued))
		return guard_no(why, MSG_R_BAD_FIELD, "the F bit belongs "
		    "exactly on the PDU that completes the sequence, and no "
		    "PDU may be empty");
	return true;
}

/* Does this Text Request continue the client's open exchange? */
bool
guard_text_more(const struct session *s, const struct task *t,
    const struct txpdu *pdu, struct refusal *why)
{
	if (!check_lengths(s, pdu, why))
		return false;
	if (!t->text_more || t->end != TASK_END_NONE ||
	    iscsi_ttt(pdu->bhs) != t->text_ttt)
		return guard_no(why, MSG_R_BAD_TAG, "the Target Transfer Tag "
		    "is not that of an unanswered Text Response");
	if (iscsi_is_immediate(pdu->bhs) || pdu->data.len > 0)
		return guard_no(why, MSG_R_BAD_FIELD, "a Text continuation "
		    "has neither data nor the I bit");
	return true;
}
