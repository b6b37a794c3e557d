/* SPDX-License-Identifier: ISC */
/*
 * A discovery session over a pump: one request at a time, each answered before
 * the next.  It calls the login machine, the pump and discover_found.c, and
 * must never know who asked or what becomes of what it found.
 *
 * Requests are immediate: one outstanding request needs no command window,
 * and some targets do not count Text Requests as commands received.
 */
#include "config.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/conf.h"
#include "daemon/conn.h"
#include "daemon/discover.h"
#include "daemon/discover_found.h"
#include "daemon/log.h"
#include "daemon/login.h"
#include "daemon/loop.h"
#include "daemon/pump.h"
#include "daemon/sn.h"
#include "daemon/worker.h"
#include "proto/iscsi.h"

#define LOGIN_CMDSN	1
#define TEXT_ITT	1
#define LOGOUT_ITT	2
#define RECV_DSL	32768u		/* bytes, what we take in a PDU */

enum discover_phase {
	DISCOVER_CONNECT,
	DISCOVER_LOGIN,
	DISCOVER_TEXT,
	DISCOVER_LOGOUT,
	DISCOVER_DONE		/* on_done() is due at the end of this turn */
};

struct discover {
	struct worker			*w;
	const struct discover_ops	*ops;
	void				*arg;
	enum discover_phase		 phase;
	uint8_t				 isid[6];
	const struct config_chap	*chap;
	const struct config_chap_rules	*chap_rules;
	bool				 md5_only;	/* tried, or trying */
	struct sendtargets_record	 here;	/* host and port dialled */
	char				 portal[SENDTARGETS_PORTAL_SIZE];
	unsigned			 hops;
	uint64_t			 deadline;	/* loop time */

	struct pump			*pump;
	struct login			*login;
	struct sn			 sn;
	struct txpdu			*request;	/* not handed over yet */
	struct loop_timer		*timer;
	struct loop_job			 done_job;
	struct loop_job			 reap_job;

	struct discover_found		 found;
	char				 error[512];
};

/* --- the end --- */

static void
drop_connection(struct discover *d)
{
	pump_close(d->pump);
	d->pump = NULL;
	txpdu_free(d->w, d->request);
	d->request = NULL;
	login_free(d->login);
	d->login = NULL;
}

static void
reap(void *arg)
{
	struct discover *d = arg;

	discover_found_free(&d->found);
	free(d);
}

static void
discover_free(struct discover *d)
{
	drop_connection(d);
	loop_timer_free(d->timer);
	loop_unpost(d->w->loop, &d->done_job);
	loop_reap(d->w->loop, &d->reap_job);
}

void
discover_cancel(struct discover *d)
{
	if (d == NULL)
		return;
	log_info(d->w->log, "discovery at %s: cancelled", d->portal);
	d->phase = DISCOVER_DONE;
	discover_free(d);
}

/* Job: tell the owner, when no caller is in the way any more. */
static void
tell(void *arg)
{
	struct discover *d = arg;
	struct discover_result result = {
		.error = d->error[0] != '\0' ? d->error : NULL,
		.records = d->found.records, .count = d->found.count,
		.portal = d->portal, .hops = d->hops,
	};

	d->ops->on_done(d->arg, &result);
	discover_free(d);
}

static void
finish(struct discover *d)
{
	if (d->phase == DISCOVER_DONE)
		return;
	d->phase = DISCOVER_DONE;
	drop_connection(d);
	loop_timer_clear(d->timer);
	loop_post(d->w->loop, &d->done_job);
}

static void fail(struct discover *d, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/*
 * Nothing was found out; with the targets in hand only the Logout failed, and
 * that is told to the log alone.
 */
static void
fail(struct discover *d, const char *fmt, ...)
{
	char why[sizeof(d->error)];
	va_list ap;

	if (d->phase == DISCOVER_DONE)
		return;
	va_start(ap, fmt);
	vsnprintf(why, sizeof(why), fmt, ap);
	va_end(ap);
	if (d->phase == DISCOVER_LOGOUT) {
		log_info(d->w->log, "discovery at %s: no clean logout: %s",
		    d->portal, why);
	} else {
		log_warn(d->w->log, "discovery at %s failed: %s", d->portal,
		    why);
		memcpy(d->error, why, sizeof(d->error));
		d->found.count = 0;
	}
	finish(d);
}

/* --- requests --- */

/* Send one; `data` holds what its DataSegmentLength says. */
static void
send_request(struct discover *d, const uint8_t *bhs, const void *data)
{
	struct txpdu *pdu = txpdu_new(d->w);

	if (pdu == NULL) {
		fail(d, "out of memory");
		return;
	}
	memcpy(pdu->bhs, bhs, sizeof(pdu->bhs));
	if (slices_add_copy(d->w->pool, &pdu->data, data,
	    iscsi_dsl(bhs)) != 0) {
		txpdu_free(d->w, pdu);
		fail(d, "out of memory");
		return;
	}
	d->request = pdu;
	pump_kick(d->pump);
}

static void
send_login(struct discover *d)
{
	uint8_t bhs[ISCSI_BHS_LEN], text[ISCSI_LOGIN_DSL_MAX];

	login_request(d->login, bhs, text);
	send_request(d, bhs, text);
}

/*
 * The first request has the reserved TTT and the text; an answer that is not
 * the last is asked on with its own LUN and TTT, and without text (RFC 7143
 * section 11.10).
 */
static void
send_text(struct discover *d, const uint8_t *answer)
{
	static const char all[] = "SendTargets=All";
	uint8_t bhs[ISCSI_BHS_LEN] = {
		[ISCSI_OFF_OPCODE] = ISCSI_OP_TEXT_REQ | ISCSI_IMMEDIATE,
		[ISCSI_OFF_FLAGS] = ISCSI_FLAG_FINAL,
	};

	put_be32(bhs + ISCSI_OFF_ITT, TEXT_ITT);
	put_be32(bhs + ISCSI_OFF_TTT, ISCSI_TAG_NONE);
	if (answer == NULL) {
		iscsi_set_dsl(bhs, sizeof(all));
	} else {
		memcpy(bhs + ISCSI_OFF_LUN, answer + ISCSI_OFF_LUN, 8);
		put_be32(bhs + ISCSI_OFF_TTT, iscsi_ttt(answer));
	}
	send_request(d, bhs, all);
}

/* What is left of the time, 0 if nothing is. */
static uint32_t
time_left(const struct discover *d)
{
	uint64_t now = loop_now(d->w->loop);

	return d->deadline > now ? (uint32_t)(d->deadline - now) : 0;
}

/* Reason 0, close the session. */
static void
send_logout(struct discover *d)
{
	uint32_t left = time_left(d);
	uint8_t bhs[ISCSI_BHS_LEN] = {
		[ISCSI_OFF_OPCODE] = ISCSI_OP_LOGOUT_REQ | ISCSI_IMMEDIATE,
		[ISCSI_OFF_FLAGS] = ISCSI_FLAG_FINAL,
	};

	d->phase = DISCOVER_LOGOUT;
	loop_timer_set(d->timer, left < DISCOVER_LOGOUT_MS ? left :
	    DISCOVER_LOGOUT_MS);
	put_be32(bhs + ISCSI_OFF_ITT, LOGOUT_ITT);
	send_request(d, bhs, "");
}

static struct txpdu *
next_pdu(void *arg)
{
	struct discover *d = arg;
	struct txpdu *pdu = d->request;

	d->request = NULL;
	if (pdu != NULL && d->phase != DISCOVER_LOGIN)
		sn_stamp(&d->sn, pdu->bhs);
	return pdu;
}

/* While a request waits nothing is received that would change its numbers:
 * each answer is awaited before the next request is made. */
static void
nothing_to_do(void *arg, struct txpdu *pdu)
{
	(void)arg;
	(void)pdu;
}

/* --- what was found --- */

/* The text is whole. */
static void
take_targets(struct discover *d)
{
	char why[DISCOVER_WHY_MAX];

	if (!discover_found_read(&d->found, &d->here, why)) {
		fail(d, "%s", why);
		return;
	}
	log_info(d->w->log, "discovery at %s: %zu addresses of targets",
	    d->portal, d->found.count);
	send_logout(d);
}

static bool
add_text(struct discover *d, const struct slices *data)
{
	char why[DISCOVER_WHY_MAX];

	if (discover_found_text(&d->found, data, why))
		return true;
	fail(d, "%s", why);
	return false;
}

/*
 * Without F there is more to come, whether or not C says that a pair may be
 * cut (RFC 7143 section 11.11); with F the TTT means nothing.
 */
static void
on_text(struct discover *d, const struct rxpdu *pdu)
{
	uint8_t flags = pdu->bhs[ISCSI_OFF_FLAGS];
	bool final = (flags & ISCSI_FLAG_FINAL) != 0;

	if (iscsi_itt(pdu->bhs) != TEXT_ITT)
		fail(d, "the target sent a Text Response with the wrong "
		    "Initiator Task Tag 0x%08x", iscsi_itt(pdu->bhs));
	else if (final && (flags & ISCSI_TEXT_CONTINUE) != 0)
		fail(d, "the target sent a Text Response with both F and C");
	else if (!final && iscsi_ttt(pdu->bhs) == ISCSI_TAG_NONE)
		fail(d, "the target sent a Text Response without F and with "
		    "the reserved Target Transfer Tag");
	else if (!add_text(d, pdu->data))
		return;
	else if (final)
		take_targets(d);
	else
		send_text(d, pdu->bhs);
}

static void
on_logout(struct discover *d, const struct rxpdu *pdu)
{
	if (d->phase != DISCOVER_LOGOUT)
		fail(d, "the target logged us out");
	else if (pdu->bhs[ISCSI_OFF_RESPONSE] != 0)
		fail(d, "Logout Response %u", pdu->bhs[ISCSI_OFF_RESPONSE]);
	else
		finish(d);
}

/* --- the target's PDUs --- */

/* An answer to more than was asked would put one request over another. */
static bool
too_early(struct discover *d)
{
	if (d->request == NULL)
		return false;
	fail(d, "the target answered a request that was not sent yet");
	return true;
}

/*
 * A target should send Text and Logout Responses only (section 7.4.3).  Pings
 * and messages are let pass: what we may send in answer is none of the two
 * requests that a discovery session has.
 */
static void
full_feature_pdu(struct discover *d, const struct rxpdu *pdu)
{
	uint8_t opcode = iscsi_opcode(pdu->bhs);

	if (opcode != ISCSI_OP_NOP_IN && opcode != ISCSI_OP_ASYNC &&
	    too_early(d))
		return;
	if (sn_consume(&d->sn, pdu->bhs) != SN_OK) {
		fail(d, "the target sent StatSN %u out of turn",
		    get_be32(pdu->bhs + ISCSI_OFF_STATSN));
		return;
	}
	switch (opcode) {
	case ISCSI_OP_NOP_IN:
	case ISCSI_OP_ASYNC:
		return;
	case ISCSI_OP_REJECT:
		fail(d, "the target rejected the %s: %s",
		    d->phase == DISCOVER_TEXT ? "Text Request" :
		    "Logout Request",
		    iscsi_reject_reason_name(pdu->bhs[ISCSI_OFF_RESPONSE]));
		return;
	case ISCSI_OP_TEXT_RSP:
		if (d->phase == DISCOVER_TEXT) {
			on_text(d, pdu);
			return;
		}
		break;
	case ISCSI_OP_LOGOUT_RSP:
		on_logout(d, pdu);
		return;
	}
	fail(d, "the target sent opcode 0x%02x (%s) in a discovery session",
	    opcode, iscsi_opcode_name(opcode));
}

static void
logged_in(struct discover *d, const uint8_t *bhs)
{
	const struct login_result *r = login_result(d->login);
	struct pdu_framing in = { .max_dsl = r->recv_dsl };
	struct pdu_framing out = { .max_dsl = r->send_dsl };

	if (r->header_digest || r->data_digest) {
		fail(d, "the target wants digests in a discovery session");
		return;
	}
	pump_set_framing(d->pump, &in, &out);
	sn_start(&d->sn, LOGIN_CMDSN, bhs);
	d->phase = DISCOVER_TEXT;
	send_text(d, NULL);
}

static void dial(struct discover *d);

/* The login was refused, perhaps with the place where to go instead. */
static void
refused(struct discover *d)
{
	const struct login_redirect *to = login_redirect(d->login);

	if (to == NULL && !d->md5_only && login_wants_md5(d->login)) {
		d->md5_only = true;
		log_info(d->w->log, "discovery at %s: trying again with CHAP "
		    "by MD5 alone", d->portal);
		drop_connection(d);
		dial(d);
		return;
	}
	if (to == NULL) {
		fail(d, "%s", login_error(d->login));
		return;
	}
	if (d->hops == DISCOVER_HOPS_MAX) {
		fail(d, "more than %u redirections, the last one to %s",
		    DISCOVER_HOPS_MAX, to->address);
		return;
	}
	log_info(d->w->log, "discovery at %s: redirected to %s", d->portal,
	    to->address);
	d->hops++;
	strlcpy(d->here.host, to->host, sizeof(d->here.host));
	d->here.port = to->port;
	drop_connection(d);
	dial(d);
}

static void
login_pdu(struct discover *d, const struct rxpdu *pdu)
{
	uint8_t text[ISCSI_LOGIN_DSL_MAX];
	size_t len = slices_copy(pdu->data, text, sizeof(text));

	if (too_early(d))
		return;
	switch (login_response(d->login, pdu->bhs, text, len)) {
	case LOGIN_SEND:
		send_login(d);
		break;
	case LOGIN_DONE:
		logged_in(d, pdu->bhs);
		break;
	case LOGIN_FAILED:
		refused(d);
		break;
	}
}

static void
on_pdu(void *arg, struct rxpdu *pdu)
{
	struct discover *d = arg;

	if (d->phase == DISCOVER_LOGIN)
		login_pdu(d, pdu);
	else
		full_feature_pdu(d, pdu);
}

/* --- the connection --- */

static struct login *
make_login(struct discover *d)
{
	struct login_wanted want = {
		.initiator_name = d->w->config->initiator_name,
		.initiator_alias = d->w->config->initiator_alias,
		.discovery = true,
		.cmdsn = LOGIN_CMDSN,
		.header_digest = { LOGIN_DIGEST_NONE },
		.data_digest = { LOGIN_DIGEST_NONE },
		.max_recv_dsl = RECV_DSL,
		.time2wait = 2,
		.chap = d->chap, .chap_rules = d->chap_rules,
		.challenges = d->w->challenges, .md5_only = d->md5_only,
	};

	memcpy(want.isid, d->isid, sizeof(want.isid));
	return login_new(&want);
}

static void
on_connected(void *arg)
{
	struct discover *d = arg;

	d->login = make_login(d);
	if (d->login == NULL) {
		fail(d, "cannot log in: %s", strerror(errno));
		return;
	}
	d->phase = DISCOVER_LOGIN;
	send_login(d);
}

static void
on_down(void *arg, int error, const char *reason)
{
	(void)error;
	fail(arg, "%s", reason);
}

static const struct pump_ops pump_ops = {
	.on_connected = on_connected,
	.on_pdu = on_pdu,
	.next = next_pdu,
	.restamp = nothing_to_do,
	.on_wire = nothing_to_do,
	.on_sent = nothing_to_do,
	.on_down = on_down,
};

static void
dial(struct discover *d)
{
	uint32_t left = time_left(d);

	d->phase = DISCOVER_CONNECT;
	sendtargets_portal(&d->here, d->portal);
	d->pump = pump_dial(d->w, d->here.host, d->here.port,
	    left > 0 ? left : 1, &pump_ops, d);
	if (d->pump == NULL)
		fail(d, "cannot connect: %s", strerror(errno));
	else
		conn_set_label(pump_conn(d->pump), "discovery");
}

/* Timer: the deadline, or nobody answers the Logout Request. */
static void
on_time(void *arg)
{
	static const char *const what[] = {
		[DISCOVER_CONNECT] = "the connection",
		[DISCOVER_LOGIN] = "a Login Response",
		[DISCOVER_TEXT] = "a Text Response",
		[DISCOVER_LOGOUT] = "a Logout Response",
		[DISCOVER_DONE] = "nothing",
	};
	struct discover *d = arg;

	fail(d, "timed out waiting for %s", what[d->phase]);
}

/* At random, so that no other login of ours is reinstated by this one. */
static void
make_isid(uint8_t *isid)
{
	arc4random_buf(isid, 6);
	isid[0] = 0x80;
}

struct discover *
discover_start(struct worker *w, const struct discover_wanted *wanted,
    const struct discover_ops *ops, void *arg)
{
	struct discover *d;

	if (w->config->initiator_name == NULL) {
		errno = EDESTADDRREQ;
		return NULL;
	}
	d = calloc(1, sizeof(*d));
	if (d == NULL)
		return NULL;
	d->w = w;
	d->ops = ops;
	d->arg = arg;
	d->chap = wanted->chap;
	d->chap_rules = wanted->chap_rules;
	make_isid(d->isid);
	strlcpy(d->here.host, wanted->host, sizeof(d->here.host));
	d->here.port = wanted->port;
	loop_job_init(&d->done_job, tell, d);
	loop_job_init(&d->reap_job, reap, d);
	d->timer = loop_timer_new(w->loop, on_time, d);
	if (d->timer == NULL) {
		free(d);
		return NULL;
	}
	d->deadline = loop_now(w->loop) + wanted->timeout_ms;
	loop_timer_set(d->timer, wanted->timeout_ms);
	dial(d);
	return d;
}
