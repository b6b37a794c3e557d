/* SPDX-License-Identifier: ISC */
/*
 * Asynchronous Messages of the target (RFC 7143 section 11.9): what is told
 * to the clients and what the session does about each.  How it logs out, is
 * lost and comes again is session_life.c's.
 */
#include "config.h"

#include <inttypes.h>
#include <stdio.h>

#include "daemon/sense.h"
#include "daemon/session_internal.h"
#include "proto/iscsi.h"

/* AsyncEvent. */
enum {
	ASYNC_SCSI = 0,
	ASYNC_LOGOUT = 1,
	ASYNC_DROP_CONNECTION = 2,
	ASYNC_DROP_SESSION = 3,
	ASYNC_NEGOTIATE = 4,
	ASYNC_TASKS_ENDED = 5,		/* RFC 7143 section 4.2.3.4 */
	ASYNC_VENDOR_FIRST = 248
};

/* The one connection of a session has this CID, as its login said. */
#define OWN_CID	0

/* What is left of a time that a target gives, for the Logout itself. */
#define LOGOUT_MARGIN_MS	1000u
/* Longer no task may hold up all others, however much time there is. */
#define DRAIN_MAX_MS		60000u

struct async {
	uint8_t		code;
	uint16_t	parameter[4];	/* from 1 */
};

static void
read_message(const uint8_t *bhs, struct async *a)
{
	a->code = bhs[ISCSI_OFF_ASYNC_EVENT];
	for (unsigned i = 1; i <= 3; i++)
		a->parameter[i] = get_be16(bhs + ISCSI_OFF_ASYNC_PARAMETERS +
		    2 * (i - 1));
}

/* --- words --- */

static void
scsi_words(const struct rxpdu *pdu, char *buf, size_t size)
{
	struct sense sense;

	if (sense_read(pdu->data, &sense))
		snprintf(buf, size, "SCSI event: sense key 0x%x, "
		    "0x%02x/0x%02x", sense.key, sense.asc >> 8,
		    sense.asc & 0xff);
	else
		snprintf(buf, size, "SCSI event without sense data");
}

static void
words(const struct async *a, const struct rxpdu *pdu, char *buf, size_t size)
{
	switch (a->code) {
	case ASYNC_SCSI:
		scsi_words(pdu, buf, size);
		break;
	case ASYNC_LOGOUT:
		snprintf(buf, size, "the target asks for a Logout within %u s",
		    a->parameter[3]);
		break;
	case ASYNC_DROP_CONNECTION:
		snprintf(buf, size, "the target drops connection %u, and takes "
		    "a new one after %u s", a->parameter[1], a->parameter[2]);
		break;
	case ASYNC_DROP_SESSION:
		snprintf(buf, size, "the target drops the session, and takes "
		    "a new one after %u s", a->parameter[2]);
		break;
	case ASYNC_NEGOTIATE:
		snprintf(buf, size, "the target asks for a negotiation within "
		    "%u s", a->parameter[3]);
		break;
	case ASYNC_TASKS_ENDED:
		snprintf(buf, size, "the target ended all tasks of a LUN, by "
		    "a rule that was not negotiated");
		break;
	default:
		snprintf(buf, size, a->code >= ASYNC_VENDOR_FIRST ?
		    "vendor's message %u of the target" :
		    "unknown message %u of the target", a->code);
		break;
	}
}

/* --- what is done --- */

/* As much of `seconds` as tasks may take, in ms. */
static uint32_t
drain_time(uint16_t seconds)
{
	uint32_t ms = seconds * 1000u;

	if (ms > DRAIN_MAX_MS + LOGOUT_MARGIN_MS)
		return DRAIN_MAX_MS;
	return ms > LOGOUT_MARGIN_MS ? ms - LOGOUT_MARGIN_MS : 0;
}

static void
on_logout(struct session *s, const struct async *a, const char *text)
{
	/* Some answer what is open with errors from now on. */
	if (s->config->async_logout_drop)
		session_fail(s, "%s, and async-logout is drop", text);
	else
		session_relogin(s, drain_time(a->parameter[3]), text);
}

static void
on_drop(struct session *s, const struct async *a, const char *text)
{
	/* An adopted connection was given its CID by somebody else. */
	if (a->code == ASYNC_DROP_CONNECTION && a->parameter[1] != OWN_CID &&
	    !s->shared) {
		log_warn(s->log, "session %s: connection %u is not ours: "
		    "ignored", s->config->name, a->parameter[1]);
		return;
	}
	session_wait_before_connect(s, a->parameter[2] * 1000u);
	session_fail(s, "%s (async message %u)", text, a->code);
}

void
async_waits_for_logout(struct session *s)
{
	const struct async a = { .code = ASYNC_LOGOUT };

	on_logout(s, &a, "the target rejects requests until it gets a Logout");
}

void
async_message(struct session *s, const struct rxpdu *pdu)
{
	struct async a;
	struct msg_event e = {
		.kind = MSG_EVENT_ASYNC, .count = 1,
		.lun = iscsi_lun(pdu->bhs),
	};

	read_message(pdu->bhs, &a);
	e.code = a.code;
	words(&a, pdu, e.text, sizeof(e.text));
	s->stats.async_messages++;
	log_info(s->log, "session %s: async message %u: %s", s->config->name,
	    a.code, e.text);
	session_event(s, &e, NULL);
	switch (a.code) {
	case ASYNC_LOGOUT:
		on_logout(s, &a, e.text);
		break;
	case ASYNC_DROP_CONNECTION:
	case ASYNC_DROP_SESSION:
		on_drop(s, &a, e.text);
		break;
	case ASYNC_NEGOTIATE:
		negotiate_begin(s, drain_time(a.parameter[3]), e.text);
		break;
	default:
		if (a.code != ASYNC_SCSI && a.code < ASYNC_VENDOR_FIRST)
			s->stats.async_unknown++;
		break;
	}
}
