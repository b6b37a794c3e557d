/* SPDX-License-Identifier: ISC */
/*
 * The login phase as a machine of stages: builds Login Requests, judges Login
 * Responses (RFC 7143 sections 6.3, 11.12 and 11.13).  It calls proto/ and
 * the other login files; it must never know a socket, a timer or a session.
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/login.h"
#include "daemon/login_priv.h"

/* RFC 7143 wants six exchanges at least; a login that needs more is stuck. */
#define EXCHANGES_MAX	16

#define LOGIN_ITT	0
#define STAGE_MASK	3
#define CSG_SHIFT	2

enum login_offset {
	OFF_VERSION_ACTIVE = 3		/* of a Login Response */
};

struct login {
	uint8_t			 isid[6];
	uint16_t		 cid;
	uint32_t		 cmdsn;
	uint32_t		 expstatsn;
	enum iscsi_stage	 csg;
	enum login_verdict	 verdict;
	unsigned		 exchanges;	/* of whole texts, answered */
	bool			 sent_part;	/* our last request had C */
	bool			 sent_transit;	/* our last text came with T */
	bool			 got_part;	/* the last response had C */
	bool			 redirected;
	struct login_redirect	 redirect;
	uint16_t		 status;
	struct login_why	 why;
	struct login_result	 result;
	struct login_keys	 keys;
	struct login_auth	 auth;
	struct login_text	 text;
};

void
login_free(struct login *l)
{
	if (l != NULL)
		login_auth_free(&l->auth);
	free(l);
}

struct login *
login_new(const struct login_wanted *wanted)
{
	struct text_writer *w;
	struct login *l;

	if (wanted->target_name == NULL && !wanted->discovery) {
		errno = EINVAL;
		return NULL;
	}
	l = calloc(1, sizeof(*l));
	if (l == NULL)
		return NULL;
	memcpy(l->isid, wanted->isid, sizeof(l->isid));
	l->cid = wanted->cid;
	l->cmdsn = wanted->cmdsn;
	l->csg = ISCSI_STAGE_SECURITY;
	l->verdict = LOGIN_SEND;
	login_text_init(&l->text);
	login_keys_init(&l->keys, wanted);
	login_auth_init(&l->auth, wanted,
	    l->keys.list[LOGIN_KEY_AUTH_METHOD]);

	/* Names belong into the first request only (section 6.3). */
	w = &l->text.out;
	text_put(w, "InitiatorName", wanted->initiator_name);
	if (wanted->initiator_alias != NULL)
		text_put(w, "InitiatorAlias", wanted->initiator_alias);
	if (wanted->target_name != NULL)
		text_put(w, "TargetName", wanted->target_name);
	text_put(w, "SessionType", wanted->discovery ? "Discovery" : "Normal");
	login_keys_offer(&l->keys, ISCSI_STAGE_SECURITY, w);
	if (w->overflow) {
		login_free(l);
		errno = EINVAL;
		return NULL;
	}
	return l;
}

static enum iscsi_stage
next_stage(const struct login *l)
{
	return l->csg == ISCSI_STAGE_SECURITY ? ISCSI_STAGE_OPERATIONAL :
	    ISCSI_STAGE_FULL_FEATURE;
}

/*
 * An unfinished text of the target is answered by an empty request (section
 * 6.2).  Else we ask for the next stage with every request whose text is
 * whole, unless CHAP is not at its end: some targets refuse AuthMethod
 * without it.
 */
static uint8_t
fill_data(struct login *l, uint8_t *bhs, uint8_t *data)
{
	uint8_t flags = (uint8_t)(l->csg << CSG_SHIFT);

	if (l->got_part)
		return flags;
	l->sent_part = false;
	l->sent_transit = false;
	iscsi_set_dsl(bhs, (uint32_t)login_text_cut(&l->text, data,
	    ISCSI_LOGIN_DSL_MAX));
	if (login_text_pending(&l->text)) {
		l->sent_part = true;
		return flags | ISCSI_TEXT_CONTINUE;
	}
	if (l->csg == ISCSI_STAGE_SECURITY && !login_auth_may_end(&l->auth))
		return flags;
	l->sent_transit = true;
	return flags | ISCSI_LOGIN_TRANSIT | (uint8_t)next_stage(l);
}

void
login_request(struct login *l, uint8_t *bhs, uint8_t *data)
{
	memset(bhs, 0, ISCSI_BHS_LEN);
	bhs[ISCSI_OFF_OPCODE] = ISCSI_OP_LOGIN_REQ | ISCSI_IMMEDIATE;
	bhs[ISCSI_OFF_FLAGS] = fill_data(l, bhs, data);
	memcpy(bhs + ISCSI_OFF_ISID, l->isid, sizeof(l->isid));
	put_be32(bhs + ISCSI_OFF_ITT, LOGIN_ITT);
	put_be16(bhs + ISCSI_OFF_CID, l->cid);
	put_be32(bhs + ISCSI_OFF_CMDSN, l->cmdsn);
	put_be32(bhs + ISCSI_OFF_EXPSTATSN, l->expstatsn);
}

/* Act on the class; an unknown detail only changes the words. */
static int
check_status(struct login *l, const uint8_t *bhs, const uint8_t *data,
    size_t len)
{
	uint8_t class = bhs[ISCSI_OFF_LOGIN_STATUS];
	uint8_t detail = bhs[ISCSI_OFF_LOGIN_STATUS + 1];
	const char *name = iscsi_login_status_name(class, detail);

	if (class == 0)
		return 0;
	l->status = (uint16_t)(class << 8 | detail);
	if (class == 1)
		return login_redirect_read(&l->redirect, &l->redirected,
		    l->status, name, data, len, &l->why);
	return login_fail(&l->why, "target refused the login: %s (login "
	    "status 0x%04x)", name, l->status);
}

static int
check_opcode(struct login *l, const uint8_t *bhs, size_t len)
{
	uint8_t opcode = iscsi_opcode(bhs);

	if (opcode == ISCSI_OP_REJECT)
		return login_fail(&l->why, "target rejected the login: %s",
		    iscsi_reject_reason_name(bhs[ISCSI_OFF_RESPONSE]));
	if (opcode != ISCSI_OP_LOGIN_RSP)
		return login_fail(&l->why, "target sent opcode 0x%02x (%s) "
		    "during login", opcode, iscsi_opcode_name(opcode));
	if (len > ISCSI_LOGIN_DSL_MAX)
		return login_fail(&l->why, "Login Response of %zu bytes, more "
		    "than %u", len, ISCSI_LOGIN_DSL_MAX);
	return 0;
}

static int
check_fields(struct login *l, const uint8_t *bhs)
{
	uint8_t flags = bhs[ISCSI_OFF_FLAGS];
	unsigned csg = (flags >> CSG_SHIFT) & STAGE_MASK;

	if (iscsi_itt(bhs) != LOGIN_ITT)
		return login_fail(&l->why, "Login Response with the wrong "
		    "Initiator Task Tag 0x%08x", iscsi_itt(bhs));
	if (bhs[OFF_VERSION_ACTIVE] != 0)
		return login_fail(&l->why, "target wants protocol version "
		    "0x%02x", bhs[OFF_VERSION_ACTIVE]);
	if (csg != l->csg)
		return login_fail(&l->why, "Login Response for stage %u in "
		    "stage %u", csg, l->csg);
	if ((flags & ISCSI_LOGIN_TRANSIT) && (flags & ISCSI_TEXT_CONTINUE))
		return login_fail(&l->why, "Login Response with both T and C");
	if ((flags & ISCSI_LOGIN_TRANSIT) && !l->sent_transit)
		return login_fail(&l->why, "target left the stage without "
		    "being asked");
	if ((flags & ISCSI_LOGIN_TRANSIT) &&
	    (flags & STAGE_MASK) != next_stage(l))
		return login_fail(&l->why, "target went to stage %u instead "
		    "of %u", flags & STAGE_MASK, next_stage(l));
	return 0;
}

/* While our text goes out in parts, the target has nothing to say. */
static int
check_part_answer(struct login *l, const uint8_t *bhs, size_t len)
{
	if (len > 0 || (bhs[ISCSI_OFF_FLAGS] & ISCSI_TEXT_CONTINUE))
		return login_fail(&l->why, "target answered before our text "
		    "was complete");
	return 0;
}

static int
take_text(struct login *l)
{
	struct text_reader r;
	struct text_pair pair;

	if (login_text_check(&l->text, &l->why) != 0)
		return LOGIN_E_FAILED;
	text_reader_init(&r, l->text.in_buf, l->text.in_len);
	while (text_next(&r, &pair) == TEXT_OK)
		if (!login_auth_take(&l->auth, &pair) &&
		    login_keys_take(&l->keys, &pair, &l->text.out,
		    &l->why) != 0)
			return LOGIN_E_FAILED;
	if (login_auth_step(&l->auth, &l->keys, &l->text.out, &l->why) != 0)
		return LOGIN_E_FAILED;
	l->text.in_len = 0;
	return 0;
}

/*
 * Only here, with the final response, values take effect (section 6.2).  A
 * proposal that came with it cannot be answered any more: the key keeps its
 * default.
 */
static int
finish(struct login *l, const uint8_t *bhs)
{
	struct login_result result = { 0 };

	result.tsih = get_be16(bhs + ISCSI_OFF_TSIH);
	if (result.tsih == 0)
		return login_fail(&l->why, "target gave the new session no "
		    "TSIH");
	if (login_keys_finish(&l->keys, &result, &l->why) != 0)
		return LOGIN_E_FAILED;
	l->result = result;
	l->verdict = LOGIN_DONE;
	return 0;
}

/* A whole text of the target was taken; go where the response goes. */
static int
end_exchange(struct login *l, const uint8_t *bhs)
{
	l->exchanges++;
	if (bhs[ISCSI_OFF_FLAGS] & ISCSI_LOGIN_TRANSIT) {
		if (l->csg == ISCSI_STAGE_SECURITY &&
		    login_auth_end(&l->auth, &l->keys, &l->why) != 0)
			return LOGIN_E_FAILED;
		l->csg = next_stage(l);
		if (l->csg == ISCSI_STAGE_FULL_FEATURE)
			return finish(l, bhs);
		login_keys_offer(&l->keys, l->csg, &l->text.out);
	}
	if (l->exchanges >= EXCHANGES_MAX)
		return login_fail(&l->why, "no end of the login after %d "
		    "exchanges", EXCHANGES_MAX);
	return 0;
}

static int
take_response(struct login *l, const uint8_t *bhs, const uint8_t *data,
    size_t len)
{
	if (check_opcode(l, bhs, len) != 0 ||
	    check_status(l, bhs, data, len) != 0 || check_fields(l, bhs) != 0)
		return LOGIN_E_FAILED;
	l->expstatsn = get_be32(bhs + ISCSI_OFF_STATSN) + 1;
	if (l->sent_part)
		return check_part_answer(l, bhs, len);
	if (login_text_append(&l->text, data, len, &l->why) != 0)
		return LOGIN_E_FAILED;
	l->got_part = (bhs[ISCSI_OFF_FLAGS] & ISCSI_TEXT_CONTINUE) != 0;
	if (l->got_part) {
		if (len == 0)
			return login_fail(&l->why, "target announced more "
			    "text but sent none");
		return 0;
	}
	if (take_text(l) != 0)
		return LOGIN_E_FAILED;
	return end_exchange(l, bhs);
}

enum login_verdict
login_response(struct login *l, const uint8_t *bhs, const uint8_t *data,
    size_t len)
{
	if (l->verdict != LOGIN_SEND)
		return l->verdict;
	if (take_response(l, bhs, data, len) != 0)
		l->verdict = LOGIN_FAILED;
	return l->verdict;
}

const struct login_result *
login_result(const struct login *l)
{
	return &l->result;
}

const char *
login_error(const struct login *l)
{
	return l->why.text;
}

const struct login_redirect *
login_redirect(const struct login *l)
{
	return l->redirected ? &l->redirect : NULL;
}

bool
login_failed_in_chap(const struct login *l)
{
	const struct login_auth *a = &l->auth;
	unsigned status_class = l->status >> 8;

	/* One that has moved, or cannot now, says nothing of CHAP. */
	return l->csg == ISCSI_STAGE_SECURITY &&
	    (a->state == LOGIN_AUTH_CHALLENGE || a->algorithm != 0) &&
	    (status_class == 0 || status_class == 2);
}

bool
login_wants_md5(const struct login *l)
{
	const struct login_auth *a = &l->auth;

	return login_failed_in_chap(l) && a->fallback && !a->deceived &&
	    a->algorithm != CHAP_MD5;
}

uint16_t
login_status(const struct login *l)
{
	return l->status;
}
