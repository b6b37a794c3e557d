/* SPDX-License-Identifier: ISC */
/*
 * Words for numbers, and the encoding of LUNs.  No handle is known here.
 */
#include "config.h"

#include <errno.h>
#include <string.h>

#include "client/iscsimux.h"
#include "proto/iscsi.h"
#include "proto/msg.h"

/* The public numbers are the wire's; no code translates them. */
#define SAME(a, b) _Static_assert((int)(a) == (int)(b), #a " is " #b)
SAME(ISCSIMUX_BHS_LEN, ISCSI_BHS_LEN);
SAME(ISCSIMUX_NAME_MAX, MSG_NAME_MAX);
SAME(ISCSIMUX_TARGET_MAX, MSG_TARGET_MAX);
SAME(ISCSIMUX_EVENTS_ALL, (1 << MSG_EVENT_KINDS) - 1);
SAME(ISCSIMUX_EVENT_LOST, MSG_EVENT_LOST);
SAME(ISCSIMUX_SESSION_DOWN, MSG_SESSION_DOWN);
SAME(ISCSIMUX_SESSION_CONNECTING, MSG_SESSION_CONNECTING);
SAME(ISCSIMUX_SESSION_LOGIN, MSG_SESSION_LOGIN);
SAME(ISCSIMUX_SESSION_UP, MSG_SESSION_UP);
SAME(ISCSIMUX_SESSION_LOGOUT, MSG_SESSION_LOGOUT);
SAME(ISCSIMUX_ACCESS_READ, MSG_ACCESS_READ);
SAME(ISCSIMUX_ACCESS_WRITE, MSG_ACCESS_WRITE);
SAME(ISCSIMUX_ACCESS_MANAGE, MSG_ACCESS_MANAGE);
SAME(ISCSIMUX_ACCESS_RESET, MSG_ACCESS_RESET);
SAME(ISCSIMUX_ACCESS_TASK_ATTRIBUTES, MSG_ACCESS_TASK_ATTRIBUTES);
SAME(ISCSIMUX_TMF_TARGET_COLD_RESET, ISCSI_TMF_TARGET_COLD_RESET);
SAME(ISCSIMUX_TMF_QUERY_ASYNC_EVENT, ISCSI_TMF_QUERY_ASYNC_EVENT);
#define X(name, value, text) SAME(ISCSIMUX_##name, MSG_OUTCOME_##name);
MSG_OUTCOMES(X)
#undef X
#define X(name, value, text) SAME(ISCSIMUX_R_##name, MSG_R_##name);
MSG_REASONS(X)
#undef X

const char *
iscsimux_strerror(int error)
{
	const char *text;

	text = strerrordesc_np(error < 0 ? -error : error);
	return text != NULL ? text : "unknown error";
}

const char *
iscsimux_outcome_name(enum iscsimux_outcome outcome)
{
	if (outcome == ISCSIMUX_COMPLETED)
		return "completed";
	if (outcome == ISCSIMUX_FAILED)
		return "failed";
	return msg_outcome_name((unsigned)outcome);
}

const char *
iscsimux_reason_name(enum iscsimux_reason reason)
{
	return msg_reason_name((unsigned)reason);
}

const char *
iscsimux_event_name(enum iscsimux_event_kind kind)
{
	return msg_event_name((unsigned)kind);
}

const char *
iscsimux_state_name(enum iscsimux_session_state state)
{
	return msg_state_name((unsigned)state);
}

const char *
iscsimux_opcode_name(uint8_t opcode)
{
	return iscsi_opcode_name(opcode & ISCSI_OP_MASK);
}

int
iscsimux_lun(unsigned number, uint8_t lun[8])
{
	if (number > 0x3fff)
		return -ERANGE;
	memset(lun, 0, 8);
	lun[1] = (uint8_t)number;
	if (number > 0xff)
		lun[0] = (uint8_t)(0x40 | number >> 8);
	return 0;
}
