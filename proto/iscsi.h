/* SPDX-License-Identifier: ISC */
/*
 * The layout of iSCSI PDU headers: the Basic Header Segment (BHS) of RFC
 * 7143 section 11, its opcodes, and what each opcode means to sequence
 * numbers and routing.  Fields are reached by offset, because a structure
 * laid over the bytes would depend on the compiler's layout.
 */
#ifndef PROTO_ISCSI_H
#define PROTO_ISCSI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/bytes.h"

/* Sizes in bytes. */
#define ISCSI_BHS_LEN		48
#define ISCSI_AHS_MAX		1020		/* 255 words of 4 */
#define ISCSI_DSL_MAX		0xffffffu	/* 24-bit field */
#define ISCSI_LOGIN_DSL_MAX	8192u		/* RFC 7143 section 6.2 */
#define ISCSI_NAME_MAX		223		/* RFC 7143 section 4.2.7.1 */
#define ISCSI_PORT		3260

/* The reserved Initiator and Target Task Tag. */
#define ISCSI_TAG_NONE		UINT32_C(0xffffffff)

/*
 * Every opcode of RFC 7143 section 11.2.1.2 with its traits.
 *
 *   X(NAME, value, text, traits)
 *
 * For an initiator's PDU: ISCSI_T_CMDSN, it has a CmdSN field (consumed
 * unless the I bit is set); ISCSI_T_OPENS, a first PDU of that opcode opens
 * a task.  For a target's PDU: ISCSI_T_STATSN, it consumes a StatSN always;
 * ISCSI_T_STATSN_S, only with the S bit; ISCSI_T_STATSN_TAG, only with an
 * ITT that is not reserved; ISCSI_T_FINAL, it ends its task always;
 * ISCSI_T_FINAL_S, with the S bit; ISCSI_T_FINAL_F, with the F bit.  Both:
 * ISCSI_T_TTT, bytes 20 to 23 are a Target Transfer Tag; ISCSI_T_RTT, they
 * are the Referenced Task Tag.  ISCSI_T_AHS: an AHS may follow (RFC 7143
 * section 11.2.1.5).  ISCSI_T_NODATA: the DataSegmentLength must be zero.
 */
#define ISCSI_OPCODES(X)						\
	X(NOP_OUT, 0x00, "NOP-Out",					\
	    ISCSI_T_CMDSN | ISCSI_T_OPENS | ISCSI_T_TTT)		\
	X(SCSI_CMD, 0x01, "SCSI Command",				\
	    ISCSI_T_CMDSN | ISCSI_T_OPENS | ISCSI_T_AHS)		\
	X(TMF_REQ, 0x02, "Task Management Function Request",		\
	    ISCSI_T_CMDSN | ISCSI_T_OPENS | ISCSI_T_RTT |		\
	    ISCSI_T_NODATA)						\
	X(LOGIN_REQ, 0x03, "Login Request",				\
	    ISCSI_T_CMDSN | ISCSI_T_OPENS)				\
	X(TEXT_REQ, 0x04, "Text Request",				\
	    ISCSI_T_CMDSN | ISCSI_T_OPENS | ISCSI_T_TTT)		\
	X(DATA_OUT, 0x05, "SCSI Data-Out", ISCSI_T_TTT)			\
	X(LOGOUT_REQ, 0x06, "Logout Request",				\
	    ISCSI_T_CMDSN | ISCSI_T_OPENS | ISCSI_T_NODATA)		\
	X(SNACK_REQ, 0x10, "SNACK Request", ISCSI_T_TTT |		\
	    ISCSI_T_NODATA)						\
	X(NOP_IN, 0x20, "NOP-In",					\
	    ISCSI_T_STATSN_TAG | ISCSI_T_FINAL | ISCSI_T_TTT)		\
	X(SCSI_RSP, 0x21, "SCSI Response",				\
	    ISCSI_T_STATSN | ISCSI_T_FINAL)				\
	X(TMF_RSP, 0x22, "Task Management Function Response",		\
	    ISCSI_T_STATSN | ISCSI_T_FINAL | ISCSI_T_NODATA)		\
	X(LOGIN_RSP, 0x23, "Login Response", ISCSI_T_STATSN)		\
	X(TEXT_RSP, 0x24, "Text Response",				\
	    ISCSI_T_STATSN | ISCSI_T_FINAL_F | ISCSI_T_TTT)		\
	X(DATA_IN, 0x25, "SCSI Data-In",				\
	    ISCSI_T_STATSN_S | ISCSI_T_FINAL_S | ISCSI_T_TTT)		\
	X(LOGOUT_RSP, 0x26, "Logout Response",				\
	    ISCSI_T_STATSN | ISCSI_T_FINAL | ISCSI_T_NODATA)		\
	X(R2T, 0x31, "Ready To Transfer", ISCSI_T_TTT |			\
	    ISCSI_T_NODATA)						\
	X(ASYNC, 0x32, "Asynchronous Message", ISCSI_T_STATSN)		\
	X(REJECT, 0x3f, "Reject", ISCSI_T_STATSN)

enum iscsi_trait {
	ISCSI_T_CMDSN = 0x0001,
	ISCSI_T_OPENS = 0x0002,
	ISCSI_T_STATSN = 0x0004,
	ISCSI_T_STATSN_S = 0x0008,
	ISCSI_T_STATSN_TAG = 0x0010,
	ISCSI_T_FINAL = 0x0020,
	ISCSI_T_FINAL_S = 0x0040,
	ISCSI_T_FINAL_F = 0x0080,
	ISCSI_T_TTT = 0x0100,
	ISCSI_T_RTT = 0x0200,
	ISCSI_T_AHS = 0x0400,
	ISCSI_T_NODATA = 0x0800,
	ISCSI_T_KNOWN = 0x8000		/* set for every opcode of the table */
};

enum iscsi_opcode {
#define X(name, value, text, traits) ISCSI_OP_##name = value,
	ISCSI_OPCODES(X)
#undef X
	ISCSI_OP_MASK = 0x3f
};

/* Byte 0: opcode and the immediate-delivery bit. */
#define ISCSI_IMMEDIATE		0x40

/* Byte 1, common and per opcode (RFC 7143 sections 11.3 to 11.18). */
#define ISCSI_FLAG_FINAL	0x80
#define ISCSI_CMD_READ		0x40
#define ISCSI_CMD_WRITE		0x20
#define ISCSI_CMD_ATTR_MASK	0x07
#define ISCSI_DATAIN_ACK	0x40
#define ISCSI_RSP_OVERFLOW	0x04	/* SCSI Response and Data-In: O */
#define ISCSI_RSP_UNDERFLOW	0x02	/* SCSI Response and Data-In: U */
#define ISCSI_RSP_BIDI_OVERFLOW	0x10
#define ISCSI_RSP_BIDI_UNDERFLOW 0x08
#define ISCSI_DATAIN_STATUS	0x01	/* Data-In: S */
#define ISCSI_TEXT_CONTINUE	0x40	/* Text and Login: C */
#define ISCSI_LOGIN_TRANSIT	0x80	/* Login: T */
#define ISCSI_TMF_FUNCTION_MASK	0x7f
#define ISCSI_LOGOUT_REASON_MASK 0x7f

/* Reject: reason of a target that wants a Logout.  Section 11.17.1. */
#define ISCSI_REJECT_WAITING_FOR_LOGOUT 0x0c

/* Login stages (RFC 7143 section 11.12.3). */
enum iscsi_stage {
	ISCSI_STAGE_SECURITY = 0,
	ISCSI_STAGE_OPERATIONAL = 1,
	ISCSI_STAGE_FULL_FEATURE = 3
};

/* TMF Response: what a query asked for is there (RFC 7144). */
#define ISCSI_TMF_SUCCEEDED	7

/* Values of iSCSIProtocolLevel (RFC 7143 section 13.24, RFC 7144). */
enum iscsi_level {
	ISCSI_LEVEL_RFC7143 = 1,
	ISCSI_LEVEL_RFC7144 = 2
};

/* Task management functions (RFC 7143 section 11.5.1, RFC 7144). */
enum iscsi_tmf {
	ISCSI_TMF_ABORT_TASK = 1,
	ISCSI_TMF_ABORT_TASK_SET = 2,
	ISCSI_TMF_CLEAR_ACA = 3,
	ISCSI_TMF_CLEAR_TASK_SET = 4,
	ISCSI_TMF_LUN_RESET = 5,
	ISCSI_TMF_TARGET_WARM_RESET = 6,
	ISCSI_TMF_TARGET_COLD_RESET = 7,
	ISCSI_TMF_TASK_REASSIGN = 8,
	/* Only with ISCSI_LEVEL_RFC7144. */
	ISCSI_TMF_QUERY_TASK = 9,
	ISCSI_TMF_QUERY_TASK_SET = 10,
	ISCSI_TMF_NEXUS_RESET = 11,
	ISCSI_TMF_QUERY_ASYNC_EVENT = 12
};

/* Offsets into the BHS. */
enum iscsi_offset {
	ISCSI_OFF_OPCODE = 0,
	ISCSI_OFF_FLAGS = 1,
	ISCSI_OFF_RESPONSE = 2,		/* SCSI, TMF, Logout Response; Reject */
	ISCSI_OFF_PRIORITY = 2,		/* SCSI Command, by RFC 7144 */
	ISCSI_OFF_STATUS = 3,		/* SCSI Response, Data-In with S */
	ISCSI_OFF_AHS = 4,		/* TotalAHSLength, words of 4 bytes */
	ISCSI_OFF_DSL = 5,		/* DataSegmentLength, 24 bits */
	ISCSI_OFF_LUN = 8,
	ISCSI_OFF_ISID = 8,		/* Login: 6 bytes */
	ISCSI_OFF_TSIH = 14,		/* Login: 16 bits */
	ISCSI_OFF_ITT = 16,
	ISCSI_OFF_TTT = 20,		/* Target Transfer Tag */
	ISCSI_OFF_RTT = 20,		/* TMF: Referenced Task Tag */
	ISCSI_OFF_EDTL = 20,		/* Expected Data Transfer Length */
	ISCSI_OFF_CID = 20,		/* Login, Logout: 16 bits */
	ISCSI_OFF_CMDSN = 24,		/* initiator's PDUs */
	ISCSI_OFF_STATSN = 24,		/* target's PDUs */
	ISCSI_OFF_EXPSTATSN = 28,	/* initiator's PDUs */
	ISCSI_OFF_EXPCMDSN = 28,	/* target's PDUs */
	ISCSI_OFF_CDB = 32,		/* Command: 16 bytes */
	ISCSI_OFF_MAXCMDSN = 32,	/* target's PDUs */
	ISCSI_OFF_REFCMDSN = 32,	/* TMF Request */
	ISCSI_OFF_DATASN = 36,		/* Data-In, Data-Out, R2T (R2TSN) */
	ISCSI_OFF_EXPDATASN = 36,	/* SCSI Response, TMF Request */
	ISCSI_OFF_ASYNC_EVENT = 36,	/* Async Message: AsyncEvent, 8 bits */
	ISCSI_OFF_ASYNC_VCODE = 37,
	ISCSI_OFF_ASYNC_PARAMETERS = 38,	/* three of 16 bits */
	ISCSI_OFF_LOGIN_STATUS = 36,	/* Login Response: class, detail */
	ISCSI_OFF_BUFFER_OFFSET = 40,	/* Data-In, Data-Out, R2T */
	ISCSI_OFF_DESIRED_LEN = 44,	/* R2T */
	ISCSI_OFF_RESIDUAL = 44		/* SCSI Response, Data-In */
};

/* The opcode of a BHS, without the I bit and the reserved bit 7. */
static inline uint8_t
iscsi_opcode(const uint8_t *bhs)
{
	return bhs[ISCSI_OFF_OPCODE] & ISCSI_OP_MASK;
}

/* True if the PDU asks for immediate delivery. */
static inline bool
iscsi_is_immediate(const uint8_t *bhs)
{
	return (bhs[ISCSI_OFF_OPCODE] & ISCSI_IMMEDIATE) != 0;
}

/* DataSegmentLength in bytes, padding and digest excluded. */
static inline uint32_t
iscsi_dsl(const uint8_t *bhs)
{
	return get_be24(bhs + ISCSI_OFF_DSL);
}

/* Store a DataSegmentLength; TotalAHSLength beside it stays as it is. */
static inline void
iscsi_set_dsl(uint8_t *bhs, uint32_t len)
{
	put_be24(bhs + ISCSI_OFF_DSL, len);
}

/* Length of all Additional Header Segments in bytes. */
static inline uint32_t
iscsi_ahs_len(const uint8_t *bhs)
{
	return (uint32_t)bhs[ISCSI_OFF_AHS] * 4;
}

static inline uint32_t
iscsi_itt(const uint8_t *bhs)
{
	return get_be32(bhs + ISCSI_OFF_ITT);
}

static inline uint32_t
iscsi_ttt(const uint8_t *bhs)
{
	return get_be32(bhs + ISCSI_OFF_TTT);
}

/* The 8-byte LUN field as one opaque big-endian number. */
static inline uint64_t
iscsi_lun(const uint8_t *bhs)
{
	return get_be64(bhs + ISCSI_OFF_LUN);
}

/* Bytes of padding that follow a data segment of `len` bytes, 0 to 3. */
static inline uint32_t
iscsi_pad(uint32_t len)
{
	return (0u - len) & 3u;
}

/*
 * The traits of an opcode, an OR of enum iscsi_trait; 0 for an opcode that
 * RFC 7143 does not define.
 */
unsigned iscsi_opcode_traits(uint8_t opcode);

/* The opcode's name for people; "opcode 0xNN" never: unknown is "unknown". */
const char *iscsi_opcode_name(uint8_t opcode);

/* True for an opcode that only a target sends (bit 5 set). */
static inline bool
iscsi_from_target(uint8_t opcode)
{
	return (opcode & 0x20) != 0;
}

/* True if this target PDU consumes a StatSN. */
bool iscsi_consumes_statsn(const uint8_t *bhs);

/*
 * True if this target PDU is the last of its task.  A Reject is not judged
 * here: it carries its task inside its data segment.
 */
bool iscsi_is_final(const uint8_t *bhs);

/*
 * True if a target may answer a task that was opened by `request` with
 * `response` (both opcodes): a Reject and the opcodes of vendors fit all.
 */
bool iscsi_response_fits(uint8_t request, uint8_t response);

/*
 * Check the AHS chain of `len` bytes at `ahs`: each AHS with its padding
 * must end exactly at a multiple of four and the last at `len` (RFC 7143
 * section 11.2.2).  Returns 0, or -EBADMSG.
 */
int iscsi_ahs_check(const uint8_t *ahs, size_t len);

/* Login status in words; never NULL.  RFC 7143 section 11.13.5. */
const char *iscsi_login_status_name(uint8_t status_class, uint8_t detail);

/* Reject reason in words; never NULL.  RFC 7143 section 11.17.1. */
const char *iscsi_reject_reason_name(uint8_t reason);

/* Logout Response in words; never NULL.  Section 11.15.1. */
const char *iscsi_logout_response_name(uint8_t response);

/* Task management response in words; never NULL.  Section 11.6.1. */
const char *iscsi_tmf_response_name(uint8_t response);

/* Task management function in words; never NULL.  Section 11.5.1. */
const char *iscsi_tmf_name(uint8_t function);

#endif
