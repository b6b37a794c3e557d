/* SPDX-License-Identifier: ISC */
/*
 * See pdu_fields.h.  Names are those of RFC 7143, in lower case and with
 * hyphens; where the RFC has an abbreviation, that.
 */
#include "config.h"

#include <string.h>

#include "client/pdu_fields.h"
#include "proto/iscsi.h"

/* byte, shift, bits, kind, default */
#define FLAG(name, byte, shift)		{ name, byte, shift, 1, PDU_FLAG, 0 }
#define FLAG_1(name, byte, shift)					\
	{ name, byte, shift, 1, PDU_FLAG, PDU_ONES }
#define NUM(name, byte, bits)		{ name, byte, 0, bits, PDU_NUMBER, 0 }
#define HEX(name, byte, bits)		{ name, byte, 0, bits, PDU_HEX, 0 }
#define TAG_1(name, byte)						\
	{ name, byte, 0, 32, PDU_HEX, PDU_ONES }
#define COUNTED(name, byte)						\
	{ name, byte, 0, 32, PDU_NUMBER, PDU_COUNTED }
#define BYTES(name, byte, n)						\
	{ name, byte, 0, (n) * 8, PDU_BYTES, 0 }

#define IMMEDIATE	FLAG("immediate", 0, 6)
#define LENGTHS								\
	{ "total-ahs-length", ISCSI_OFF_AHS, 0, 8, PDU_NUMBER,		\
	    PDU_LENGTH },						\
	{ "data-segment-length", ISCSI_OFF_DSL, 0, 24, PDU_NUMBER,	\
	    PDU_LENGTH }
#define LUN		{ "lun", ISCSI_OFF_LUN, 0, 64, PDU_LUN, 0 }
#define ITT		HEX("itt", ISCSI_OFF_ITT, 32)
#define TTT		HEX("ttt", ISCSI_OFF_TTT, 32)
#define TTT_1		TAG_1("ttt", ISCSI_OFF_TTT)
#define CMDSN		COUNTED("cmdsn", ISCSI_OFF_CMDSN)
#define EXPSTATSN	COUNTED("expstatsn", ISCSI_OFF_EXPSTATSN)
#define STATSN		NUM("statsn", ISCSI_OFF_STATSN, 32)
#define WINDOW								\
	NUM("expcmdsn", ISCSI_OFF_EXPCMDSN, 32),			\
	NUM("maxcmdsn", ISCSI_OFF_MAXCMDSN, 32)
#define DATASN		NUM("datasn", ISCSI_OFF_DATASN, 32)
#define OFFSET		NUM("buffer-offset", ISCSI_OFF_BUFFER_OFFSET, 32)
#define STAGES								\
	{ "csg", 1, 2, 2, PDU_NUMBER, 0 },				\
	{ "nsg", 1, 0, 2, PDU_NUMBER, 0 }

static const struct pdu_field nop_out[] = {
	IMMEDIATE, FLAG_1("final", 1, 7), LENGTHS, LUN, ITT, TTT_1, CMDSN,
	EXPSTATSN,
};

static const struct pdu_field scsi_command[] = {
	IMMEDIATE, FLAG_1("final", 1, 7), FLAG("read", 1, 6),
	FLAG("write", 1, 5), { "attr", 1, 0, 3, PDU_NUMBER, 0 }, LENGTHS, LUN,
	ITT, NUM("edtl", ISCSI_OFF_EDTL, 32), CMDSN, EXPSTATSN,
	BYTES("cdb", ISCSI_OFF_CDB, 16),
};

static const struct pdu_field task_management_request[] = {
	IMMEDIATE, FLAG_1("final", 1, 7),
	{ "function", 1, 0, 7, PDU_NUMBER, 0 }, LENGTHS, LUN, ITT,
	TAG_1("rtt", ISCSI_OFF_RTT), CMDSN, EXPSTATSN,
	NUM("refcmdsn", ISCSI_OFF_REFCMDSN, 32),
	NUM("expdatasn", ISCSI_OFF_EXPDATASN, 32),
};

static const struct pdu_field login_request[] = {
	FLAG_1("immediate", 0, 6), FLAG("transit", 1, 7),
	FLAG("continue", 1, 6), STAGES, NUM("version-max", 2, 8),
	NUM("version-min", 3, 8), LENGTHS, BYTES("isid", ISCSI_OFF_ISID, 6),
	HEX("tsih", ISCSI_OFF_TSIH, 16), ITT, NUM("cid", ISCSI_OFF_CID, 16),
	CMDSN, EXPSTATSN,
};

static const struct pdu_field text_request[] = {
	IMMEDIATE, FLAG_1("final", 1, 7), FLAG("continue", 1, 6), LENGTHS,
	LUN, ITT, TTT_1, CMDSN, EXPSTATSN,
};

static const struct pdu_field scsi_data_out[] = {
	FLAG_1("final", 1, 7), LENGTHS, LUN, ITT, TTT_1, EXPSTATSN, DATASN,
	OFFSET,
};

static const struct pdu_field logout_request[] = {
	IMMEDIATE, FLAG_1("final", 1, 7),
	{ "reason-code", 1, 0, 7, PDU_NUMBER, 0 }, LENGTHS, ITT,
	NUM("cid", ISCSI_OFF_CID, 16), CMDSN, EXPSTATSN,
};

static const struct pdu_field snack_request[] = {
	FLAG_1("final", 1, 7), { "type", 1, 0, 4, PDU_NUMBER, 0 }, LENGTHS,
	LUN, ITT, TTT_1, EXPSTATSN, NUM("begrun", 40, 32),
	NUM("runlength", 44, 32),
};

static const struct pdu_field nop_in[] = {
	FLAG_1("final", 1, 7), LENGTHS, LUN, ITT, TTT, STATSN, WINDOW,
};

static const struct pdu_field scsi_response[] = {
	FLAG_1("final", 1, 7), FLAG("bidi-overflow", 1, 4),
	FLAG("bidi-underflow", 1, 3), FLAG("overflow", 1, 2),
	FLAG("underflow", 1, 1), HEX("response", ISCSI_OFF_RESPONSE, 8),
	HEX("status", ISCSI_OFF_STATUS, 8), LENGTHS, ITT,
	HEX("snack-tag", 20, 32), STATSN, WINDOW,
	NUM("expdatasn", ISCSI_OFF_EXPDATASN, 32),
	NUM("bidi-residual-count", 40, 32),
	NUM("residual-count", ISCSI_OFF_RESIDUAL, 32),
};

static const struct pdu_field task_management_response[] = {
	FLAG_1("final", 1, 7), HEX("response", ISCSI_OFF_RESPONSE, 8),
	LENGTHS, ITT, STATSN, WINDOW,
};

static const struct pdu_field login_response[] = {
	FLAG("transit", 1, 7), FLAG("continue", 1, 6), STAGES,
	NUM("version-max", 2, 8), NUM("version-active", 3, 8), LENGTHS,
	BYTES("isid", ISCSI_OFF_ISID, 6), HEX("tsih", ISCSI_OFF_TSIH, 16),
	ITT, STATSN, WINDOW, NUM("status-class", ISCSI_OFF_LOGIN_STATUS, 8),
	NUM("status-detail", ISCSI_OFF_LOGIN_STATUS + 1, 8),
};

static const struct pdu_field text_response[] = {
	FLAG("final", 1, 7), FLAG("continue", 1, 6), LENGTHS, LUN, ITT, TTT,
	STATSN, WINDOW,
};

static const struct pdu_field scsi_data_in[] = {
	FLAG("final", 1, 7), FLAG("acknowledge", 1, 6),
	FLAG("overflow", 1, 2), FLAG("underflow", 1, 1),
	FLAG("status-bit", 1, 0), HEX("status", ISCSI_OFF_STATUS, 8), LENGTHS,
	LUN, ITT, TTT, STATSN, WINDOW, DATASN, OFFSET,
	NUM("residual-count", ISCSI_OFF_RESIDUAL, 32),
};

static const struct pdu_field logout_response[] = {
	FLAG_1("final", 1, 7), HEX("response", ISCSI_OFF_RESPONSE, 8),
	LENGTHS, ITT, STATSN, WINDOW, NUM("time2wait", 40, 16),
	NUM("time2retain", 42, 16),
};

static const struct pdu_field r2t[] = {
	FLAG_1("final", 1, 7), LENGTHS, LUN, ITT, TTT, STATSN, WINDOW,
	NUM("r2tsn", ISCSI_OFF_DATASN, 32), OFFSET,
	NUM("desired-data-transfer-length", ISCSI_OFF_DESIRED_LEN, 32),
};

static const struct pdu_field async_message[] = {
	FLAG_1("final", 1, 7), LENGTHS, LUN, ITT, STATSN, WINDOW,
	NUM("asyncevent", ISCSI_OFF_ASYNC_EVENT, 8),
	NUM("asyncvcode", ISCSI_OFF_ASYNC_VCODE, 8),
	NUM("parameter1", 38, 16), NUM("parameter2", 40, 16),
	NUM("parameter3", 42, 16),
};

static const struct pdu_field reject[] = {
	FLAG_1("final", 1, 7), HEX("reason", ISCSI_OFF_RESPONSE, 8), LENGTHS,
	ITT, STATSN, WINDOW, DATASN,
};

static const struct pdu_field other[] = {
	{ "opcode", 0, 0, 6, PDU_HEX, 0 }, IMMEDIATE, FLAG("final", 1, 7),
	LENGTHS, LUN, ITT,
};

#define TYPE(opcode, name, fields)					\
	{ opcode, name, fields, sizeof(fields) / sizeof((fields)[0]) }

static const struct pdu_type types[] = {
	TYPE(ISCSI_OP_NOP_OUT, "nop-out", nop_out),
	TYPE(ISCSI_OP_SCSI_CMD, "scsi-command", scsi_command),
	TYPE(ISCSI_OP_TMF_REQ, "task-management-request",
	    task_management_request),
	TYPE(ISCSI_OP_LOGIN_REQ, "login-request", login_request),
	TYPE(ISCSI_OP_TEXT_REQ, "text-request", text_request),
	TYPE(ISCSI_OP_DATA_OUT, "scsi-data-out", scsi_data_out),
	TYPE(ISCSI_OP_LOGOUT_REQ, "logout-request", logout_request),
	TYPE(ISCSI_OP_SNACK_REQ, "snack-request", snack_request),
	TYPE(ISCSI_OP_NOP_IN, "nop-in", nop_in),
	TYPE(ISCSI_OP_SCSI_RSP, "scsi-response", scsi_response),
	TYPE(ISCSI_OP_TMF_RSP, "task-management-response",
	    task_management_response),
	TYPE(ISCSI_OP_LOGIN_RSP, "login-response", login_response),
	TYPE(ISCSI_OP_TEXT_RSP, "text-response", text_response),
	TYPE(ISCSI_OP_DATA_IN, "scsi-data-in", scsi_data_in),
	TYPE(ISCSI_OP_LOGOUT_RSP, "logout-response", logout_response),
	TYPE(ISCSI_OP_R2T, "r2t", r2t),
	TYPE(ISCSI_OP_ASYNC, "asynchronous-message", async_message),
	TYPE(ISCSI_OP_REJECT, "reject", reject),
	TYPE(0, "pdu", other),
};
#define NTYPES	(sizeof(types) / sizeof(types[0]))
#define OTHER	(&types[NTYPES - 1])

static bool
is_name(const char *name, const char *text, size_t len)
{
	return strncmp(name, text, len) == 0 && name[len] == '\0';
}

const struct pdu_type *
pdu_type_named(const char *name, size_t len)
{
	for (size_t i = 0; i < NTYPES; i++)
		if (is_name(types[i].name, name, len))
			return &types[i];
	return NULL;
}

const struct pdu_type *
pdu_type_of(uint8_t opcode)
{
	for (size_t i = 0; i < NTYPES - 1; i++)
		if (types[i].opcode == (opcode & ISCSI_OP_MASK))
			return &types[i];
	return OTHER;
}

const struct pdu_type *
pdu_type_at(size_t i)
{
	return i < NTYPES ? &types[i] : NULL;
}

const struct pdu_field *
pdu_field_named(const struct pdu_type *t, const char *name, size_t len)
{
	for (size_t i = 0; i < t->n; i++)
		if (is_name(t->fields[i].name, name, len))
			return &t->fields[i];
	return NULL;
}

uint64_t
pdu_field_max(const struct pdu_field *f)
{
	return f->bits >= 64 ? UINT64_MAX : (UINT64_C(1) << f->bits) - 1;
}

uint64_t
pdu_get(const uint8_t *bhs, const struct pdu_field *f)
{
	uint64_t value = 0;
	unsigned i;

	if (f->bits < 8)
		return (uint64_t)(bhs[f->byte] >> f->shift) &
		    pdu_field_max(f);
	for (i = 0; i < f->bits / 8u; i++)
		value = value << 8 | bhs[f->byte + i];
	return value;
}

void
pdu_put(uint8_t *bhs, const struct pdu_field *f, uint64_t value)
{
	uint8_t mask = (uint8_t)(pdu_field_max(f) << f->shift);
	unsigned i;

	if (f->bits < 8) {
		bhs[f->byte] = (uint8_t)((bhs[f->byte] & ~mask) |
		    ((value << f->shift) & mask));
		return;
	}
	for (i = f->bits / 8u; i-- > 0; value >>= 8)
		bhs[f->byte + i] = (uint8_t)value;
}

void
pdu_init_header(uint8_t *bhs, const struct pdu_type *t)
{
	memset(bhs, 0, ISCSI_BHS_LEN);
	bhs[ISCSI_OFF_OPCODE] = t->opcode;
	for (size_t i = 0; i < t->n; i++)
		if (t->fields[i].given == PDU_ONES)
			pdu_put(bhs, &t->fields[i],
			    pdu_field_max(&t->fields[i]));
}

uint8_t
pdu_reserved_bits(const struct pdu_type *t, unsigned i)
{
	uint8_t used = i == ISCSI_OFF_OPCODE ? ISCSI_OP_MASK : 0;

	for (size_t j = 0; j < t->n; j++) {
		const struct pdu_field *f = &t->fields[j];

		if (f->bits < 8 && f->byte == i)
			used |= (uint8_t)(pdu_field_max(f) << f->shift);
		else if (f->bits >= 8 && i >= f->byte &&
		    i < f->byte + f->bits / 8u)
			used = 0xff;
	}
	return (uint8_t)~used;
}
