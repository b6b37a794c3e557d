/* SPDX-License-Identifier: ISC */
/*
 * A session's login: the pure machine of login.h driven over the pump, and
 * what was negotiated put into force (RFC 7143 sections 6 and 11.12).
 */
#include "config.h"

#include <inttypes.h>
#include <string.h>

#include "daemon/conn.h"
#include "daemon/session_internal.h"
#include "proto/crc32c.h"
#include "proto/iscsi.h"

#define LOGIN_CMDSN 1

static void
wanted_digests(const struct config_digests *have, enum login_digest *want)
{
	for (unsigned i = 0; i < have->count; i++)
		want[i] = have->list[i] == CONFIG_DIGEST_CRC32C ?
		    LOGIN_DIGEST_CRC32C : LOGIN_DIGEST_NONE;
}

static bool
md5_alone(const struct session *s)
{
	return s->md5 == SESSION_MD5_TRIED || s->md5 == SESSION_MD5_KEPT ||
	    s->md5 == SESSION_MD5_TURN_OF_MD5;
}

static struct login *
make_login(struct session *s)
{
	const struct config_session *c = s->config;
	struct login_wanted want = {
		.initiator_name = s->worker->config->initiator_name,
		.initiator_alias = s->worker->config->initiator_alias,
		.target_name = c->target,
		.cmdsn = LOGIN_CMDSN,
		.max_recv_dsl = c->max_recv_data_segment_length,
		.max_burst = c->max_burst_length,
		.first_burst = c->first_burst_length,
		.max_outstanding_r2t = c->max_outstanding_r2t,
		.time2wait = c->default_time2wait,
		.time2retain = c->default_time2retain,
		.protocol_level = c->protocol_level,
		.initial_r2t = c->initial_r2t,
		.immediate_data = c->immediate_data,
		.tpgt_set = c->tpgt_set,
		.tpgt = c->tpgt,
		.chap = &c->chap,
		.chap_rules = &c->chap_rules,
		.challenges = s->worker->challenges,
		.md5_only = md5_alone(s),
	};

	memcpy(want.isid, s->isid, sizeof(want.isid));
	wanted_digests(&c->header_digest, want.header_digest);
	wanted_digests(&c->data_digest, want.data_digest);
	return login_new(&want);
}

/* The next answer is due, or the end of the login. */
static void
set_timer(struct session *s)
{
	uint64_t now = loop_now(s->worker->loop);
	uint64_t left = s->login_until > now ? s->login_until - now : 0;

	s->login_last = left <= s->config->login_pdu_timeout;
	loop_timer_set(s->timer, s->login_last ? (uint32_t)left :
	    s->config->login_pdu_timeout);
}

void
session_login_due(struct session *s)
{
	if (s->login_last)
		session_fail(s, "login took longer than %" PRIu32 " ms",
		    s->config->login_timeout);
	else
		session_fail(s, "the target did not answer a Login Request "
		    "within %" PRIu32 " ms", s->config->login_pdu_timeout);
}

/*
 * A target may name an algorithm and mean another one, or want nothing but a
 * plain offer of MD5 (tgt and older LIO).  Which it is shows only in a login
 * that fails, so one with MD5 alone follows it at once; where that goes well,
 * it is remembered for as long as it does: the target may have learnt more
 * since, or MD5 may be what it refuses now.  One that has moved says nothing
 * of CHAP.
 */
void
session_login_lost(struct session *s)
{
	if (s->login == NULL || login_redirect(s->login) != NULL)
		return;
	if (s->md5 == SESSION_MD5_TRIED) {
		s->md5 = login_failed_in_chap(s->login) ?
		    SESSION_MD5_NO_HELP : SESSION_MD5_NOT_ALONE;
	} else if (s->md5 == SESSION_MD5_KEPT) {
		if (login_failed_in_chap(s->login))
			s->md5 = SESSION_MD5_NOT_ALONE;
	} else if ((s->md5 == SESSION_MD5_NOT_ALONE ||
	    s->md5 == SESSION_MD5_NO_HELP) && login_wants_md5(s->login)) {
		s->md5 = SESSION_MD5_TRIED;
		s->retry_at_once = true;
		log_info(s->log, "session %s: trying again with CHAP by MD5 "
		    "alone", s->config->name);
	}
}

/*
 * Where MD5 alone fails as well, most likely a secret is wrong, and two logins
 * a round would only lock the account twice as fast.  Either offer can be the
 * one that the target needs when the secret is put right there, so each has
 * every other round.
 */
void
session_login_round(struct session *s)
{
	switch (s->md5) {
	case SESSION_MD5_NO_HELP:
		log_info(s->log, "session %s: CHAP by MD5 alone fails as well: "
		    "from now on it is offered alone by turns only",
		    s->config->name);
		/* FALLTHROUGH */
	case SESSION_MD5_TURN_OF_MD5:
		s->md5 = SESSION_MD5_TURN_OF_ALL;
		break;
	case SESSION_MD5_TURN_OF_ALL:
		s->md5 = SESSION_MD5_TURN_OF_MD5;
		break;
	default:
		break;
	}
}

void
session_login_anew(struct session *s)
{
	if (s->md5 != SESSION_MD5_KEPT)
		s->md5 = SESSION_MD5_NOT_ALONE;
}

static void
send_login(struct session *s)
{
	uint8_t text[ISCSI_LOGIN_DSL_MAX];
	struct txpdu *pdu = txpdu_new(s->worker);

	if (pdu == NULL) {
		session_fail(s, "out of memory");
		return;
	}
	login_request(s->login, pdu->bhs, text);
	if (slices_add_copy(s->worker->pool, &pdu->data, text,
	    iscsi_dsl(pdu->bhs)) != 0) {
		txpdu_free(s->worker, pdu);
		session_fail(s, "out of memory");
		return;
	}
	s->login_pdu = pdu;
	set_timer(s);
	session_tx_kick(s);
}

/* The connection is there. */
void
session_begin_login(struct session *s)
{
	s->login = make_login(s);
	if (s->login == NULL) {
		session_fail(s, "out of memory");
		return;
	}
	s->login_until = loop_now(s->worker->loop) + s->config->login_timeout;
	send_login(s);
}

static void
take_params(struct session *s, const struct login_result *r)
{
	s->tsih = r->tsih;
	s->time2wait = r->time2wait;
	s->protocol_level = r->protocol_level;
	s->params = (struct msg_params){
		.generation = s->params.generation + 1,
		.flags = (r->initial_r2t ? MSG_PARAM_INITIAL_R2T : 0) |
		    (r->immediate_data ? MSG_PARAM_IMMEDIATE_DATA : 0) |
		    (r->header_digest ? MSG_PARAM_HEADER_DIGEST : 0) |
		    (r->data_digest ? MSG_PARAM_DATA_DIGEST : 0),
		.send_dsl = r->send_dsl,
		.recv_dsl = r->recv_dsl,
		.max_burst = r->max_burst,
		.first_burst = r->first_burst,
		.max_r2t = r->max_outstanding_r2t,
	};
}

static void
set_framing(struct session *s, const struct login_result *r)
{
	struct pdu_framing in = {
		.header_digest = r->header_digest,
		.data_digest = r->data_digest,
		.order = s->config->digest_big_endian ? CRC32C_BIG :
		    CRC32C_LITTLE,
		.max_dsl = r->recv_dsl,
	};
	struct pdu_framing out = in;

	out.max_dsl = r->send_dsl;
	pump_set_framing(s->pump, &in, &out);
}

static void
announce_up(struct session *s)
{
	struct msg_event e = {
		.kind = MSG_EVENT_SESSION_UP, .count = 1, .params = s->params,
	};

	log_info(s->log, "session %s: up: %s at %s, generation %" PRIu32
	    ", digests %s/%s", s->config->name, s->config->target,
	    conn_peer(pump_conn(s->pump)), s->params.generation,
	    (s->params.flags & MSG_PARAM_HEADER_DIGEST) ? "CRC32C" : "None",
	    (s->params.flags & MSG_PARAM_DATA_DIGEST) ? "CRC32C" : "None");
	session_event(s, &e, NULL);
}

/* What was negotiated is in force from now on. */
void
session_enter(struct session *s)
{
	const struct login_result *r = login_result(s->login);

	take_params(s, r);
	set_framing(s, r);
	login_free(s->login);
	s->login = NULL;
	if (s->md5 == SESSION_MD5_TRIED) {
		s->md5 = SESSION_MD5_KEPT;
		log_info(s->log, "session %s: from now on CHAP by MD5 alone",
		    s->config->name);
	}
	session_redirect_proved(s);
	session_login_anew(s);
	loop_timer_clear(s->timer);
	s->up_since = loop_now(s->worker->loop);
	s->last_error[0] = '\0';
	s->next_try = s->not_before = 0;
	s->backoff = (struct backoff){ 0 };
	s->tried = 0;
	s->stats.logins++;
	keepalive_start(s);
	announce_up(s);
	session_hold_resume(s);
}

/* A PDU that arrived before the full feature phase. */
void
session_login_pdu(struct session *s, struct rxpdu *pdu)
{
	uint8_t text[ISCSI_LOGIN_DSL_MAX];
	size_t len = slices_copy(pdu->data, text, sizeof(text));

	/* An answer to more than was asked would put one request over another. */
	if (s->login_pdu != NULL) {
		session_fail(s, "the target answered a Login Request that was "
		    "not sent yet");
		return;
	}
	switch (login_response(s->login, pdu->bhs, text, len)) {
	case LOGIN_SEND:
		send_login(s);
		break;
	case LOGIN_DONE:
		sn_start(&s->sn, LOGIN_CMDSN, pdu->bhs);
		session_step(s, SESSION_EV_LOGGED_IN);
		break;
	case LOGIN_FAILED:
		if (login_status(s->login) >> 8 == 2)
			s->refused = true;
		if (login_redirect(s->login) != NULL)
			session_redirected(s, login_redirect(s->login));
		else
			session_fail(s, "%s", login_error(s->login));
		break;
	}
}
