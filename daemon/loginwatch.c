/* SPDX-License-Identifier: ISC */
/*
 * The watcher of a client's own login.  It puts the text of each side
 * together, follows who proposed and who answered, and keeps all that the
 * initiator ever said for the question whom it names.  It shares the table of
 * keys with the daemon's own login and calls proto/ and the C library only.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "daemon/login_priv.h"
#include "daemon/loginwatch.h"

/* The next stage in byte 1 (RFC 7143 section 11.13). */
#define NSG_MASK	0x03

/* More ISIDs than that in one login are taken for any ISID. */
#define ISIDS_MAX	4

/* Ends a text (C bit clear) in what is kept for the names. */
#define BOUNDARY	'\1'

enum side {
	INITIATOR,
	TARGET,
	SIDES
};

/* Grows as needed up to LOGINWATCH_TEXT_MAX. */
struct buffer {
	char	*bytes;
	size_t	 len;
	size_t	 room;
	bool	 over;		/* something did not fit */
};

/* How far the negotiation of a key has come. */
struct watched_key {
	enum login_key_state	state;
	enum side		proposer;
	uint32_t		value;	/* proposed, then negotiated */
};

struct loginwatch {
	bool			 done;
	bool			 overflow;
	struct buffer		 text[SIDES];	/* of one sequence */
	struct watched_key	 keys[LOGIN_KEYS];
	bool			 declared[SIDES];
	uint32_t		 dsl[SIDES];
	struct loginwatch_result seen;		/* all but the keys */
	struct loginwatch_result result;
	/* For loginwatch_names(): never forgotten. */
	struct buffer		 said;
	uint8_t			 isids[ISIDS_MAX][6];
	unsigned		 nisids;	/* more: any */
};

static void
buffer_add(struct buffer *b, const void *bytes, size_t len)
{
	size_t room = b->room == 0 ? 1024 : b->room;
	char *grown;

	if (b->over || len == 0)
		return;
	if (len > LOGINWATCH_TEXT_MAX - b->len) {
		b->over = true;
		return;
	}
	while (room < b->len + len)
		room *= 2;
	if (room > b->room) {
		grown = realloc(b->bytes, room);
		if (grown == NULL) {
			b->over = true;
			return;
		}
		b->bytes = grown;
		b->room = room;
	}
	memcpy(b->bytes + b->len, bytes, len);
	b->len += len;
}

/* What is in force as long as nobody has negotiated anything. */
static void
set_defaults(struct loginwatch_result *r)
{
#define DEFAULT(id)	login_key_rules[LOGIN_KEY_##id].def
	r->initial_r2t = DEFAULT(INITIAL_R2T) != 0;
	r->immediate_data = DEFAULT(IMMEDIATE_DATA) != 0;
	r->recv_dsl = DEFAULT(MAX_RECV_DSL);
	r->send_dsl = DEFAULT(MAX_RECV_DSL);
	r->max_burst = DEFAULT(MAX_BURST);
	r->first_burst = DEFAULT(FIRST_BURST);
	r->max_outstanding_r2t = DEFAULT(MAX_OUTSTANDING_R2T);
	r->max_connections = DEFAULT(MAX_CONNECTIONS);
	r->error_recovery_level = DEFAULT(ERROR_RECOVERY_LEVEL);
	r->protocol_level = DEFAULT(PROTOCOL_LEVEL);
#undef DEFAULT
}

/* Forget what a login has negotiated so far. */
static void
start_over(struct loginwatch *lw)
{
	lw->overflow = false;
	for (int side = 0; side < SIDES; side++) {
		lw->text[side].len = 0;
		lw->text[side].over = false;
		lw->declared[side] = false;
		lw->dsl[side] = login_key_rules[LOGIN_KEY_MAX_RECV_DSL].def;
	}
	memset(lw->keys, 0, sizeof(lw->keys));
	memset(&lw->seen, 0, sizeof(lw->seen));
	set_defaults(&lw->seen);
}

struct loginwatch *
loginwatch_new(void)
{
	struct loginwatch *lw = calloc(1, sizeof(*lw));

	if (lw == NULL)
		return NULL;
	start_over(lw);
	lw->result = lw->seen;
	return lw;
}

void
loginwatch_free(struct loginwatch *lw)
{
	if (lw == NULL)
		return;
	for (int side = 0; side < SIDES; side++)
		free(lw->text[side].bytes);
	free(lw->said.bytes);
	free(lw);
}

static void
take_name(struct loginwatch *lw, const struct text_pair *pair, char *name)
{
	if (name[0] != '\0' || pair->value_len > ISCSI_NAME_MAX)
		lw->seen.ignored++;
	else
		memcpy(name, pair->value, pair->value_len + 1);
}

static void
take_session_type(struct loginwatch *lw, const struct text_pair *pair)
{
	if (text_value_is(pair, "Discovery"))
		lw->seen.discovery = true;
	else if (!text_value_is(pair, "Normal"))
		lw->seen.ignored++;
}

/* Each side says its own, and the first word counts. */
static void
take_declaration(struct loginwatch *lw, enum login_key id,
    const struct text_pair *pair, enum side side)
{
	uint32_t value;

	if (login_is_refusal(pair))
		return;
	if (lw->declared[side] || !login_key_read(id, pair, &value)) {
		lw->seen.ignored++;
		return;
	}
	lw->declared[side] = true;
	lw->dsl[side] = value;
}

/* A digest that was chosen; what is no choice leaves the key unanswered. */
static bool
read_choice(const struct text_pair *pair, uint32_t *out)
{
	*out = text_value_is(pair, "CRC32C");
	return *out != 0 || text_value_is(pair, "None");
}

static void
take_proposal(struct loginwatch *lw, enum login_key id,
    const struct text_pair *pair, enum side side)
{
	struct watched_key *k = &lw->keys[id];

	/* Only the answer says what becomes of a list. */
	if (login_key_rules[id].kind != LOGIN_KIND_LIST &&
	    !login_key_read(id, pair, &k->value)) {
		lw->seen.ignored++;
		return;
	}
	k->state = LOGIN_KEY_OFFERED;
	k->proposer = side;
}

static void
take_answer(struct loginwatch *lw, enum login_key id,
    const struct text_pair *pair)
{
	struct watched_key *k = &lw->keys[id];
	uint32_t value;

	if (login_is_refusal(pair)) {
		k->state = LOGIN_KEY_DEFAULTED;
		return;
	}
	if (login_key_rules[id].kind == LOGIN_KIND_LIST ?
	    !read_choice(pair, &value) : !login_key_read(id, pair, &value)) {
		lw->seen.ignored++;
		return;
	}
	k->value = value;
	k->state = LOGIN_KEY_SETTLED;
}

static void
take_key(struct loginwatch *lw, enum login_key id,
    const struct text_pair *pair, enum side side)
{
	const struct watched_key *k = &lw->keys[id];

	if (id == LOGIN_KEY_AUTH_METHOD)
		return;
	if (login_key_rules[id].kind == LOGIN_KIND_DECLARED)
		take_declaration(lw, id, pair, side);
	else if (k->state == LOGIN_KEY_UNTOUCHED)
		take_proposal(lw, id, pair, side);
	else if (k->state == LOGIN_KEY_OFFERED && k->proposer != side)
		take_answer(lw, id, pair);
	else
		lw->seen.ignored++;
}

static void
take_pair(struct loginwatch *lw, const struct text_pair *pair, enum side side)
{
	int id;

	for (id = 0; id < LOGIN_KEYS; id++)
		if (text_key_is(pair, login_key_rules[id].name))
			take_key(lw, id, pair, side);
	if (side == TARGET)
		return;
	if (text_key_is(pair, "InitiatorName"))
		take_name(lw, pair, lw->seen.initiator_name);
	else if (text_key_is(pair, "TargetName"))
		take_name(lw, pair, lw->seen.target_name);
	else if (text_key_is(pair, "SessionType"))
		take_session_type(lw, pair);
}

/* What is no pair is left out up to the next NUL. */
static void
take_pairs(struct loginwatch *lw, const struct buffer *b, enum side side)
{
	struct text_reader r;
	struct text_pair pair;
	enum text_error error;

	text_reader_init(&r, b->bytes, b->len);
	while ((error = text_next(&r, &pair)) != TEXT_END) {
		if (error == TEXT_OK) {
			take_pair(lw, &pair, side);
			continue;
		}
		lw->seen.ignored++;
		if (error == TEXT_E_UNTERMINATED)
			return;
		r.p = memchr(r.p, '\0', (size_t)(r.end - r.p));
	}
}

static void
take_text(struct loginwatch *lw, enum side side, const uint8_t *data,
    size_t len, bool more)
{
	struct buffer *b = &lw->text[side];

	buffer_add(b, data, len);
	if (b->over)
		lw->overflow = true;
	if (more || lw->overflow)
		return;
	take_pairs(lw, b, side);
	b->len = 0;
}

/*
 * An answer that cannot change the proposal may be left out (RFC 7143 section
 * 6.2.2); for the others the default is taken for the answer.
 */
static uint32_t
negotiated(const struct loginwatch *lw, enum login_key id)
{
	const struct watched_key *k = &lw->keys[id];
	const struct login_key_rule *rule = &login_key_rules[id];

	if (k->state == LOGIN_KEY_SETTLED)
		return k->value;
	if (k->state == LOGIN_KEY_OFFERED && rule->kind != LOGIN_KIND_LIST)
		return login_key_combine(id, k->value, rule->def);
	return rule->def;
}

static void
put_negotiated(const struct loginwatch *lw, struct loginwatch_result *r)
{
	r->header_digest = negotiated(lw, LOGIN_KEY_HEADER_DIGEST) != 0;
	r->data_digest = negotiated(lw, LOGIN_KEY_DATA_DIGEST) != 0;
	r->initial_r2t = negotiated(lw, LOGIN_KEY_INITIAL_R2T) != 0;
	r->immediate_data = negotiated(lw, LOGIN_KEY_IMMEDIATE_DATA) != 0;
	r->recv_dsl = lw->dsl[INITIATOR];
	r->send_dsl = lw->dsl[TARGET];
	r->max_burst = negotiated(lw, LOGIN_KEY_MAX_BURST);
	r->first_burst = negotiated(lw, LOGIN_KEY_FIRST_BURST);
	/* A first burst that was never negotiated may be the longer one. */
	if (r->first_burst > r->max_burst)
		r->first_burst = r->max_burst;
	r->max_outstanding_r2t = negotiated(lw,
	    LOGIN_KEY_MAX_OUTSTANDING_R2T);
	r->max_connections = negotiated(lw, LOGIN_KEY_MAX_CONNECTIONS);
	r->error_recovery_level = negotiated(lw,
	    LOGIN_KEY_ERROR_RECOVERY_LEVEL);
	r->protocol_level = negotiated(lw, LOGIN_KEY_PROTOCOL_LEVEL);
}

/* Only here, with the final response, values take effect (section 6.2). */
static void
finish(struct loginwatch *lw, const uint8_t *bhs)
{
	struct loginwatch_result *r = &lw->result;

	*r = lw->seen;
	if (!lw->overflow)
		put_negotiated(lw, r);
	r->overflow = lw->overflow;
	r->tsih = get_be16(bhs + ISCSI_OFF_TSIH);
	r->statsn = get_be32(bhs + ISCSI_OFF_STATSN);
	r->expcmdsn = get_be32(bhs + ISCSI_OFF_EXPCMDSN);
	r->maxcmdsn = get_be32(bhs + ISCSI_OFF_MAXCMDSN);
	lw->done = true;
}

static bool
has_isid(const struct loginwatch *lw, const uint8_t *isid)
{
	if (lw->nisids > ISIDS_MAX)
		return true;
	for (unsigned i = 0; i < lw->nisids; i++)
		if (memcmp(lw->isids[i], isid, sizeof(lw->isids[i])) == 0)
			return true;
	return false;
}

static void
add_isid(struct loginwatch *lw, const uint8_t *isid)
{
	if (has_isid(lw, isid))
		return;
	if (lw->nisids < ISIDS_MAX)
		memcpy(lw->isids[lw->nisids], isid, sizeof(lw->isids[0]));
	lw->nisids++;
}

static void
add_said(struct loginwatch *lw, const uint8_t *bhs, const uint8_t *data,
    size_t len)
{
	static const char boundary = BOUNDARY;
	struct buffer *b = &lw->said;

	buffer_add(b, data, len);
	if ((bhs[ISCSI_OFF_FLAGS] & ISCSI_TEXT_CONTINUE) == 0 &&
	    b->len > 0 && b->bytes[b->len - 1] != BOUNDARY)
		buffer_add(b, &boundary, 1);
}

static char
lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

/* Where `word` ends if it begins at `p`, else NULL; it may be cut. */
static const char *
skip_word(const char *p, const char *end, const char *word)
{
	for (; *word != '\0'; word++) {
		while (p < end && *p == BOUNDARY)
			p++;
		if (p == end || lower(*p) != lower(*word))
			return NULL;
		p++;
	}
	return p;
}

/*
 * True if the initiator has ever said `key`, with its '=', and `value`.  A text
 * that ends without its NUL may be read as a whole or with the one after it.
 */
static bool
has_said(const struct loginwatch *lw, const char *key, const char *value)
{
	const char *begin = lw->said.bytes;
	const char *end = begin + lw->said.len;
	const char *p, *after;

	for (p = begin; p < end; p++) {
		/* Nothing begins here that does not begin behind it. */
		if (*p == BOUNDARY)
			continue;
		if (p > begin && p[-1] != '\0' && p[-1] != BOUNDARY)
			continue;
		after = skip_word(p, end, key);
		if (after != NULL)
			after = skip_word(after, end, value);
		if (after != NULL && after < end &&
		    (*after == '\0' || *after == BOUNDARY))
			return true;
	}
	return false;
}

bool
loginwatch_names(struct loginwatch *lw, const uint8_t *bhs,
    const uint8_t *data, size_t len, const struct loginwatch_nexus *nexus)
{
	const size_t before = lw->said.len;
	const bool over = lw->said.over;
	bool named;

	if (iscsi_opcode(bhs) != ISCSI_OP_LOGIN_REQ ||
	    (memcmp(bhs + ISCSI_OFF_ISID, nexus->isid, 6) != 0 &&
	    !has_isid(lw, nexus->isid)))
		return false;
	add_said(lw, bhs, data, len);
	/* Of what was too much to keep, anything may have been said. */
	named = lw->said.over || (lw->said.len > 0 &&
	    (nexus->initiator == NULL ||
	    has_said(lw, "InitiatorName=", nexus->initiator)) &&
	    has_said(lw, "TargetName=", nexus->target));
	lw->said.len = before;
	lw->said.over = over;
	return named;
}

void
loginwatch_request(struct loginwatch *lw, const uint8_t *bhs,
    const uint8_t *data, size_t len)
{
	if (iscsi_opcode(bhs) != ISCSI_OP_LOGIN_REQ)
		return;
	add_isid(lw, bhs + ISCSI_OFF_ISID);
	add_said(lw, bhs, data, len);
	if (lw->done)
		return;
	memcpy(lw->seen.isid, bhs + ISCSI_OFF_ISID, sizeof(lw->seen.isid));
	lw->seen.cid = get_be16(bhs + ISCSI_OFF_CID);
	lw->seen.cmdsn = get_be32(bhs + ISCSI_OFF_CMDSN);
	take_text(lw, INITIATOR, data, len,
	    (bhs[ISCSI_OFF_FLAGS] & ISCSI_TEXT_CONTINUE) != 0);
}

enum loginwatch_verdict
loginwatch_response(struct loginwatch *lw, const uint8_t *bhs,
    const uint8_t *data, size_t len)
{
	uint8_t flags = bhs[ISCSI_OFF_FLAGS];
	bool last = (flags & ISCSI_LOGIN_TRANSIT) != 0 &&
	    (flags & NSG_MASK) == ISCSI_STAGE_FULL_FEATURE;

	if (lw->done)
		return LOGINWATCH_DONE;
	if (iscsi_opcode(bhs) != ISCSI_OP_LOGIN_RSP)
		return LOGINWATCH_GOES_ON;
	if (bhs[ISCSI_OFF_LOGIN_STATUS] != 0) {
		start_over(lw);
		return LOGINWATCH_FAILED;
	}
	/* With C as well it would be wrong, but the login is over. */
	take_text(lw, TARGET, data, len,
	    (flags & ISCSI_TEXT_CONTINUE) != 0 && !last);
	if (!last)
		return LOGINWATCH_GOES_ON;
	finish(lw, bhs);
	return LOGINWATCH_DONE;
}

const struct loginwatch_result *
loginwatch_result(const struct loginwatch *lw)
{
	return &lw->result;
}
