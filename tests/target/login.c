/* SPDX-License-Identifier: ISC */
/*
 * The login phase (RFC 7143 sections 6.3 and 11.12): stages, status, text
 * that spans PDUs, and the step into the full feature phase.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "tests/target/alloc.h"
#include "tests/target/login.h"

static uint8_t
request_stage(uint8_t flags)
{
	return (flags >> 2) & 3;
}

/* The fields that every Login Response has. */
static struct out *
response_new(struct conn *c)
{
	struct out *o = out_new(c, ISCSI_OP_LOGIN_RSP);

	memcpy(o->bhs + ISCSI_OFF_ISID, c->isid, sizeof(c->isid));
	put_be16(o->bhs + ISCSI_OFF_TSIH, c->tsih);
	put_be32(o->bhs + ISCSI_OFF_ITT, c->login->itt);
	o->bhs[ISCSI_OFF_FLAGS] = 0;
	o->plain = true;
	return o;
}

/* Refuse and close once that is said (RFC 7143 section 11.13.5). */
static int
login_fail(struct conn *c, uint16_t status)
{
	struct out *o = response_new(c);

	put_be16(o->bhs + ISCSI_OFF_LOGIN_STATUS, status);
	o->bhs[ISCSI_OFF_FLAGS] = (uint8_t)(c->login->stage << 2);
	out_queue(c, o, SN_CONSUME);
	c->target->counters.login_failures++;
	c->phase = CONN_LOGOUT;
	return 0;
}

static void
session_reinstate(struct conn *c)
{
	struct conn *old;
	struct conn *next;

	TAILQ_FOREACH_SAFE(old, &c->target->conns, link, next) {
		if (old != c && old->phase == CONN_FULL && !c->discovery &&
		    !old->discovery && strcmp(old->name, c->name) == 0 &&
		    memcmp(old->isid, c->isid, sizeof(c->isid)) == 0)
			conn_close(old);
	}
}

/* The first byte after this response is framed as negotiated. */
static void
enter_full_feature(struct conn *c)
{
	struct target *t = c->target;
	struct pdu_framing in = {
		.header_digest = c->params.header_digest,
		.data_digest = c->params.data_digest,
		.order = CRC32C_LITTLE,
		.max_dsl = c->login->declared ? t->options.max_recv_dsl :
		    ISCSI_LOGIN_DSL_MAX,
	};

	session_reinstate(c);
	if (++t->last_tsih == 0)
		t->last_tsih = 1;
	c->tsih = t->last_tsih;
	c->framing = in;
	pdu_parser_set_framing(&c->parser, &in);
	if (c->params.max_r2t > TASK_R2T_MAX)
		c->params.max_r2t = TASK_R2T_MAX;
	t->counters.logins++;
	c->phase = CONN_FULL;
}

/* Send the next piece of the reply, and move on if both sides are ready. */
static int
login_reply(struct conn *c)
{
	struct login *l = c->login;
	uint32_t split = c->target->options.text_split;
	uint32_t n = l->out_len - l->out_pos;
	uint8_t flags = l->flags;
	struct out *o;

	if (n > split)
		n = split;
	if ((flags & ISCSI_LOGIN_TRANSIT) && l->proposed == 0 &&
	    auth_ready(c) &&
	    l->out_pos + n == l->out_len) {
		if ((flags & 3) == ISCSI_STAGE_FULL_FEATURE) {
			uint16_t status = keys_conclude(c);

			if (status != LOGIN_OK)
				return login_fail(c, status);
			enter_full_feature(c);
		}
		l->stage = flags & 3;
		flags &= ISCSI_LOGIN_TRANSIT | 0x0f;
	} else {
		flags &= 0x0c;
		if (l->out_pos + n < l->out_len)
			flags |= ISCSI_TEXT_CONTINUE;
	}
	o = response_new(c);
	o->bhs[ISCSI_OFF_FLAGS] = flags;
	out_copy(o, l->out + l->out_pos, n);
	l->out_pos += n;
	out_queue(c, o, SN_CONSUME);
	if (c->phase == CONN_FULL)
		login_deinit(c);
	return 0;
}

/* What only the first text of a connection is asked (section 6.3). */
static uint16_t
check_names(struct conn *c)
{
	struct login *l = c->login;

	if (!l->named || (!c->discovery && !l->target_named))
		return LOGIN_MISSING;
	/* Whoever skips the security stage skips CHAP. */
	if (c->target->options.chap_user != NULL &&
	    l->stage != ISCSI_STAGE_SECURITY && l->auth.step != AUTH_DONE)
		return LOGIN_AUTH;
	if (l->target_named &&
	    strcmp(l->target, c->target->options.target_name) != 0)
		return LOGIN_NOT_FOUND;
	return LOGIN_OK;
}

/* The whole text of the initiator is there: answer it. */
static int
login_answer(struct conn *c)
{
	struct login *l = c->login;
	struct text_reader r;
	struct text_writer w;
	struct text_pair pair;
	enum text_error e;
	uint16_t status;

	text_reader_init(&r, l->in, l->in_len);
	text_writer_init(&w, l->out, sizeof(l->out));
	while ((e = text_next(&r, &pair)) == TEXT_OK) {
		status = keys_take(c, &pair, &w);
		if (status != LOGIN_OK)
			return login_fail(c, status);
	}
	if (e != TEXT_END)
		return login_fail(c, LOGIN_INITIATOR_ERROR);
	status = check_names(c);
	if (status == LOGIN_OK)
		status = (uint16_t)auth_answer(c, &w);
	if (status != LOGIN_OK)
		return login_fail(c, status);
	if (!l->tpgt_sent && !c->discovery)
		text_put_number(&w, "TargetPortalGroupTag", 1);
	l->tpgt_sent = true;
	if (l->stage == ISCSI_STAGE_OPERATIONAL && !l->declared)
		keys_declare(c, &w);
	if (w.overflow)
		return login_fail(c, LOGIN_INITIATOR_ERROR);
	l->in_len = 0;
	l->out_len = (uint32_t)w.len;
	l->out_pos = 0;
	return login_reply(c);
}

static int
login_end(struct conn *c)
{
	struct login *l = c->login;
	struct manners *m = &c->target->manners;
	uint32_t dsl = iscsi_dsl(c->rx.bhs);

	if (m->refuse_login)
		return login_fail(c, (uint16_t)(m->refuse_class << 8 |
		    m->refuse_detail));
	if (c->rx.bhs[ISCSI_OFF_FLAGS + 2] != 0)
		return login_fail(c, LOGIN_VERSION);
	if (c->tsih == 0 && get_be16(c->rx.bhs + ISCSI_OFF_TSIH) != 0)
		return login_fail(c, LOGIN_NO_SESSION);
	l->in_len += dsl;
	if (l->flags & ISCSI_TEXT_CONTINUE) {
		struct out *o = response_new(c);

		o->bhs[ISCSI_OFF_FLAGS] = l->flags & 0x0c;
		out_queue(c, o, SN_CONSUME);
		return 0;
	}
	/* The rest of a reply is asked for with empty requests. */
	if (l->out_pos < l->out_len) {
		if (dsl > 0 || (l->flags & ISCSI_LOGIN_TRANSIT))
			return conn_protocol_error(c,
			    "Login Request is no answer to the C bit");
		return login_reply(c);
	}
	return login_answer(c);
}

static int
login_begin(struct conn *c)
{
	const uint8_t *bhs = c->rx.bhs;
	struct login *l = xalloc(sizeof(*l));

	c->login = l;
	l->begun = true;
	l->itt = iscsi_itt(bhs);
	l->cmdsn = get_be32(bhs + ISCSI_OFF_CMDSN);
	l->stage = request_stage(bhs[ISCSI_OFF_FLAGS]);
	memcpy(c->isid, bhs + ISCSI_OFF_ISID, sizeof(c->isid));
	c->cid = get_be16(bhs + ISCSI_OFF_CID);
	c->exp_cmdsn = l->cmdsn;
	c->next_cmdsn = l->cmdsn;
	c->max_cmdsn = l->cmdsn - 1;
	keys_defaults(c);
	if (l->itt == ISCSI_TAG_NONE)
		return conn_protocol_error(c, "Login Request with ITT ffffffff");
	return 0;
}

/* One login keeps its tags and numbers (section 11.12). */
static int
login_same(struct conn *c)
{
	const uint8_t *bhs = c->rx.bhs;
	struct login *l = c->login;
	uint32_t exp = get_be32(bhs + ISCSI_OFF_EXPSTATSN);

	if (iscsi_itt(bhs) != l->itt ||
	    get_be32(bhs + ISCSI_OFF_CMDSN) != l->cmdsn ||
	    get_be16(bhs + ISCSI_OFF_CID) != c->cid ||
	    memcmp(bhs + ISCSI_OFF_ISID, c->isid, sizeof(c->isid)) != 0)
		return conn_protocol_error(c,
		    "Login Request changes ITT, CmdSN, CID or ISID");
	if (request_stage(bhs[ISCSI_OFF_FLAGS]) != l->stage)
		return conn_protocol_error(c, "Login Request in stage %u, "
		    "not %u", request_stage(bhs[ISCSI_OFF_FLAGS]), l->stage);
	if (exp != c->statsn)
		return conn_tolerate(c, "Login Request with ExpStatSN %08x, "
		    "not %08x", exp, c->statsn);
	return 0;
}

int
login_header(struct conn *c)
{
	const uint8_t *bhs = c->rx.bhs;
	uint8_t flags = bhs[ISCSI_OFF_FLAGS];
	uint8_t next = flags & 3;
	struct login *l;
	int r;

	if (iscsi_opcode(bhs) != ISCSI_OP_LOGIN_REQ)
		return conn_protocol_error(c, "opcode 0x%02x during login",
		    iscsi_opcode(bhs));
	if (!iscsi_is_immediate(bhs))
		return conn_protocol_error(c, "Login Request without I bit");
	r = c->login == NULL ? login_begin(c) : login_same(c);
	if (r < 0)
		return r;
	l = c->login;
	if (l->stage > ISCSI_STAGE_OPERATIONAL)
		return conn_protocol_error(c, "Login Request in stage %u",
		    l->stage);
	if ((flags & ISCSI_LOGIN_TRANSIT) &&
	    ((flags & ISCSI_TEXT_CONTINUE) || next <= l->stage || next == 2))
		return conn_protocol_error(c, "Login Request with flags %02x",
		    flags);
	l->flags = flags;
	if (iscsi_dsl(bhs) > CONN_TEXT_MAX - l->in_len)
		return login_fail(c, LOGIN_INITIATOR_ERROR);
	c->rx.dst = (uint8_t *)l->in + l->in_len;
	c->rx.room = iscsi_dsl(bhs);
	c->rx.end = login_end;
	return 0;
}

void
login_deinit(struct conn *c)
{
	free(c->login);
	c->login = NULL;
}
