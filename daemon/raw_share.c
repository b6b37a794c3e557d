/* SPDX-License-Identifier: ISC */
/*
 * From a raw connection to a session and back (PROTOCOL.md section 17).  The
 * numbers of the new session are those that the target itself gives in answer
 * to a NOP-Out, never a guess.
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/raw_internal.h"

/* Answers to pings that may wait to be written, in bytes. */
#define PONG_BYTES_MAX	(64u * 1024)

/* --- to a session --- */

static bool
share_allowed(const struct raw *r, struct refusal *why)
{
	const struct loginwatch_result *n = loginwatch_result(r->watch);

	if (r->state != RAW_OPEN)
		return guard_no(why, r->state == RAW_SHARING ? MSG_R_BUSY :
		    MSG_R_BAD_STATE, "the connection is %s",
		    r->state == RAW_SHARING ? "being shared already" :
		    "not open");
	if (r->params.phase != MSG_RAW_FULL_FEATURE || r->held_manual)
		return guard_no(why, MSG_R_BAD_STATE, "the login is not "
		    "through");
	if (raw_flag(r, MSG_RAW_DISCOVERY))
		return guard_no(why, MSG_R_NOT_SUPPORTED, "a discovery "
		    "session can not be shared");
	if (n->error_recovery_level > 0)
		return guard_no(why, MSG_R_NOT_SUPPORTED, "only error "
		    "recovery level 0 can be shared: negotiate that");
	if (n->overflow)
		return guard_no(why, MSG_R_NOT_SUPPORTED, "what the login "
		    "negotiated is not known: its text was too long");
	if (raw_router_live(r->router) > 0)
		return guard_no(why, MSG_R_BUSY, "the target may still answer "
		    "a task");
	if (raw_unsent(r) > 0)
		return guard_no(why, MSG_R_BUSY, "a byte is not sent yet");
	return true;
}

/* A NOP-Out of the daemon's own.  Returns 0 or -ENOMEM. */
static int
send_nop(struct raw *r, const uint8_t *lun, uint32_t itt, uint32_t ttt)
{
	struct txpdu *pdu = txpdu_new(r->worker);
	struct pdu_framing in;

	if (pdu == NULL)
		return -ENOMEM;
	pdu->bhs[ISCSI_OFF_OPCODE] = ISCSI_OP_NOP_OUT | ISCSI_IMMEDIATE;
	pdu->bhs[ISCSI_OFF_FLAGS] = ISCSI_FLAG_FINAL;
	if (lun != NULL)
		memcpy(pdu->bhs + ISCSI_OFF_LUN, lun, 8);
	put_be32(pdu->bhs + ISCSI_OFF_ITT, itt);
	put_be32(pdu->bhs + ISCSI_OFF_TTT, ttt);
	put_be32(pdu->bhs + ISCSI_OFF_CMDSN, r->have_cmdsn ? r->params.cmdsn :
	    r->params.exp_cmdsn);
	put_be32(pdu->bhs + ISCSI_OFF_EXPSTATSN, r->params.exp_statsn);
	raw_framing(r, &in, &pdu->framing);
	pdu->framed = true;
	raw_queue(r, pdu);
	return 0;
}

bool
raw_share(struct raw *r, const char *name, struct refusal *why)
{
	struct raw_task *t;

	if (!share_allowed(r, why) || !session_name_free(r->worker, name, why))
		return false;
	t = raw_router_add(r->router, raw_router_free_itt(r->router),
	    RAW_WAITS_DAEMON);
	if (t == NULL || send_nop(r, NULL, t->itt, ISCSI_TAG_NONE) != 0) {
		if (t != NULL)
			raw_router_remove(r->router, t);
		return guard_no(why, MSG_R_INTERNAL, "out of memory");
	}
	t->opcode = ISCSI_OP_NOP_OUT;
	strlcpy(r->share_name, name, sizeof(r->share_name));
	if (r->state == RAW_OPEN)
		r->state = RAW_SHARING;
	loop_timer_set(r->share_timer,
	    r->worker->config->limits.abort_timeout);
	return true;
}

/* Its client hears why it has no session; the connection goes on. */
void
raw_share_fail(struct raw *r, uint16_t reason, const char *text)
{
	struct refusal why = { .reason = reason };

	if (*r->share_name == '\0')
		return;
	*r->share_name = '\0';
	if (r->state == RAW_SHARING)
		r->state = RAW_OPEN;
	loop_timer_clear(r->share_timer);
	strlcpy(why.text, text, sizeof(why.text));
	r->owner.ops->on_shared(r->owner.arg, NULL, &why);
}

/* Timer: the target does not answer the NOP-Out. */
void
raw_share_over(void *arg)
{
	struct raw *r = arg;
	struct raw_task *t = NULL;

	while ((t = raw_router_next(r->router, t)) != NULL) {
		if (t->waits == RAW_WAITS_DAEMON) {
			raw_router_unregister(r->router, t);
			break;
		}
	}
	raw_share_fail(r, MSG_R_DEADLINE, "the target does not answer a "
	    "NOP-Out, which would tell the numbers to go on with");
}

/* The InitiatorName of the login, "" if another process did it. */
static const char *
raw_initiator(const struct raw *r)
{
	const char *seen = loginwatch_result(r->watch)->initiator_name;

	return *seen != '\0' ? seen : r->initiator;
}

/* iSCSIProtocolLevel; one that a session had is known from there. */
static uint32_t
raw_protocol_level(const struct raw *r)
{
	return r->protocol_level != 0 ? r->protocol_level :
	    loginwatch_result(r->watch)->protocol_level;
}

/* The session takes the pump; its owner becomes its first client. */
static void
become_session(struct raw *r)
{
	struct session_shared what = {
		.name = r->share_name, .pump = r->pump, .params = &r->params,
		.protocol_level = raw_protocol_level(r),
		.initiator = raw_initiator(r),
		.host = r->host, .port = r->port, .uid = r->owner.uid,
		.adopted = raw_flag(r, MSG_RAW_ADOPTED),
	};
	struct session_attach how = {
		.ops = r->owner.news, .arg = r->owner.arg,
		.quota = r->owner.quota, .name = r->owner.name,
		.pid = r->owner.pid,
		.access = r->owner.ops->access(r->owner.arg, r->share_name),
		.deadline = r->owner.deadline, .events = r->owner.events,
	};
	struct refusal why = { .reason = MSG_R_BUSY,
	    .text = "the name is in use" };
	struct session *s = NULL;
	struct attachment *a;

	/* The name may have come into use since it was asked for. */
	if (how.access != 0)
		s = session_share(r->worker, &what, &why);
	if (s == NULL) {
		raw_share_fail(r, why.reason, why.text);
		return;
	}
	r->pump = NULL;
	*r->share_name = '\0';
	raw_drop(r);
	why.reason = MSG_R_NONE;
	a = session_attach(s, &how, &why);
	r->owner.ops->on_shared(r->owner.arg, a, &why);
	if (a != NULL)
		return;
	session_share_end(s);
	r->owner.ops->on_closed(r->owner.arg, &(struct msg_event){
	    .kind = MSG_EVENT_CLOSED, .count = 1, .code = ENOMEM });
}

/*
 * A PDU of the task of the daemon's NOP-Out: its NOP-In tells the numbers
 * (RFC 7143 section 11.19), and now no task is live that could change them.
 * With `over` the target is through with it, whatever it answered.
 */
void
raw_share_answer(struct raw *r, struct raw_task *t, const struct rxpdu *pdu,
    bool over)
{
	if (iscsi_opcode(pdu->bhs) != ISCSI_OP_NOP_IN) {
		if (over)
			raw_router_remove(r->router, t);
		raw_share_over(r);
		return;
	}
	raw_router_remove(r->router, t);
	r->params.exp_cmdsn = get_be32(pdu->bhs + ISCSI_OFF_EXPCMDSN);
	r->params.max_cmdsn = get_be32(pdu->bhs + ISCSI_OFF_MAXCMDSN);
	r->params.exp_statsn = get_be32(pdu->bhs + ISCSI_OFF_STATSN) + 1;
	r->params.cmdsn = r->params.exp_cmdsn;
	r->have_cmdsn = r->have_statsn = true;
	if (raw_unsent(r) > 0)
		raw_share_fail(r, MSG_R_BUSY, "a byte is not sent yet");
	else
		become_session(r);
}

/* A ping of the target, which the client may not answer meanwhile. */
void
raw_share_ping(struct raw *r, const struct rxpdu *pdu)
{
	if (iscsi_ttt(pdu->bhs) == ISCSI_TAG_NONE)
		return;
	if (raw_unsent(r) > PONG_BYTES_MAX) {
		raw_fail(r, EPROTO, "the target sends pings and does not read "
		    "the answers");
		return;
	}
	if (send_nop(r, pdu->bhs + ISCSI_OFF_LUN, ISCSI_TAG_NONE,
	    iscsi_ttt(pdu->bhs)) != 0)
		raw_fail(r, ENOMEM, "out of memory");
}

/* --- and back --- */

struct raw *
raw_unshare(struct worker *w, struct attachment *a,
    const struct raw_owner *owner, struct refusal *why)
{
	struct raw *r = raw_new(w, owner);
	struct pump *pump;

	if (r == NULL) {
		guard_no(why, MSG_R_INTERNAL, "out of memory");
		return NULL;
	}
	pump = session_pump(session_of(a));
	if (pump == NULL || !raw_learn_rights(r, pump_conn(pump)))
		guard_no(why, pump == NULL ? MSG_R_BUSY : MSG_R_NOT_PERMITTED,
		    pump == NULL ? "the session is down" :
		    "no raw rule permits you this target");
	else {
		r->protocol_level = session_protocol_level(session_of(a));
		r->pump = session_unshare(a, &r->params, r->initiator, why);
	}
	if (r->pump == NULL) {
		raw_drop(r);
		return NULL;
	}
	r->state = RAW_OPEN;
	r->have_cmdsn = r->have_statsn = true;
	if (!r->may_uncheck)
		r->params.flags &= ~(uint32_t)MSG_RAW_UNCHECKED;
	pump_set_owner(r->pump, &raw_pump_ops, r);
	conn_set_label(pump_conn(r->pump), r->label);
	raw_apply_framing(r);
	log_info(r->log, "%s: no longer shared: %s at %s", r->label,
	    r->params.target, raw_peer(r));
	return r;
}
