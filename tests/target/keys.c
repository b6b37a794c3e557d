/* SPDX-License-Identifier: ISC */
/*
 * The operational keys of RFC 7143 section 13 as a target negotiates them.
 * Each answer is the result; it takes effect when the login ends.
 */
#include "config.h"

#include <stdio.h>
#include <string.h>

#include "tests/target/login.h"

enum key_kind {
	KEY_DIGEST,
	KEY_MIN,
	KEY_MAX,
	KEY_OR,
	KEY_AND,
	KEY_MRDSL,
	KEY_LIST	/* one value is known, the first of `word` */
};

enum key_id {
	K_HEADER_DIGEST, K_DATA_DIGEST, K_MAX_CONNECTIONS, K_INITIAL_R2T,
	K_IMMEDIATE_DATA, K_MAX_RECV_DSL, K_MAX_BURST, K_FIRST_BURST,
	K_TIME2WAIT, K_TIME2RETAIN, K_MAX_R2T, K_DATA_PDU_IN_ORDER,
	K_DATA_SEQUENCE_IN_ORDER, K_ERROR_RECOVERY_LEVEL, K_TASK_REPORTING,
	K_PROTOCOL_LEVEL, K_COUNT
};

struct key {
	const char	*name;
	enum key_kind	 kind;
	uint32_t	 least;
	uint32_t	 most;
	uint32_t	 standard;	/* without negotiation */
	bool		 discovery;	/* relevant there */
};

#define DSL_LEAST 512u

static const struct key keys[K_COUNT] = {
	[K_HEADER_DIGEST] = { "HeaderDigest", KEY_DIGEST, 0, 1, 0, true },
	[K_DATA_DIGEST] = { "DataDigest", KEY_DIGEST, 0, 1, 0, true },
	[K_MAX_CONNECTIONS] = { "MaxConnections", KEY_MIN, 1, 65535, 1,
	    false },
	[K_INITIAL_R2T] = { "InitialR2T", KEY_OR, 0, 1, 1, false },
	[K_IMMEDIATE_DATA] = { "ImmediateData", KEY_AND, 0, 1, 1, false },
	[K_MAX_RECV_DSL] = { "MaxRecvDataSegmentLength", KEY_MRDSL, DSL_LEAST,
	    ISCSI_DSL_MAX, ISCSI_LOGIN_DSL_MAX, true },
	[K_MAX_BURST] = { "MaxBurstLength", KEY_MIN, DSL_LEAST, ISCSI_DSL_MAX,
	    262144, false },
	[K_FIRST_BURST] = { "FirstBurstLength", KEY_MIN, DSL_LEAST,
	    ISCSI_DSL_MAX, 65536, false },
	[K_TIME2WAIT] = { "DefaultTime2Wait", KEY_MAX, 0, 3600, 2, true },
	[K_TIME2RETAIN] = { "DefaultTime2Retain", KEY_MIN, 0, 3600, 20, true },
	[K_MAX_R2T] = { "MaxOutstandingR2T", KEY_MIN, 1, 65535, 1, false },
	[K_DATA_PDU_IN_ORDER] = { "DataPDUInOrder", KEY_OR, 0, 1, 1, false },
	[K_DATA_SEQUENCE_IN_ORDER] = { "DataSequenceInOrder", KEY_OR, 0, 1, 1,
	    false },
	[K_ERROR_RECOVERY_LEVEL] = { "ErrorRecoveryLevel", KEY_MIN, 0, 2, 0,
	    true },
	[K_TASK_REPORTING] = { "TaskReporting", KEY_LIST, 0, 0, 0, false },
	[K_PROTOCOL_LEVEL] = { "iSCSIProtocolLevel", KEY_MIN, 0, 31, 1, true },
};

/* What this target would have, as the command line says. */
static uint32_t
key_own(const struct options *o, enum key_id id)
{
	switch (id) {
	case K_INITIAL_R2T:
		return o->initial_r2t;
	case K_IMMEDIATE_DATA:
		return o->immediate_data;
	case K_MAX_RECV_DSL:
		return o->max_recv_dsl;
	case K_MAX_BURST:
		return o->max_burst;
	case K_FIRST_BURST:
		return o->first_burst;
	case K_MAX_R2T:
		return o->max_r2t;
	case K_PROTOCOL_LEVEL:
		return o->protocol_level;
	case K_TIME2WAIT:
		return 0;	/* ready again at once: the greater wins */
	case K_HEADER_DIGEST:
	case K_DATA_DIGEST:
	case K_MAX_CONNECTIONS:
	case K_TIME2RETAIN:
	case K_DATA_PDU_IN_ORDER:
	case K_DATA_SEQUENCE_IN_ORDER:
	case K_ERROR_RECOVERY_LEVEL:
	case K_TASK_REPORTING:
	case K_COUNT:
		break;
	}
	return keys[id].standard;
}

static void
key_store(struct params *p, enum key_id id, uint32_t value)
{
	switch (id) {
	case K_HEADER_DIGEST:
		p->header_digest = value != 0;
		break;
	case K_DATA_DIGEST:
		p->data_digest = value != 0;
		break;
	case K_INITIAL_R2T:
		p->initial_r2t = value != 0;
		break;
	case K_IMMEDIATE_DATA:
		p->immediate_data = value != 0;
		break;
	case K_MAX_RECV_DSL:
		p->max_recv_dsl = value;
		break;
	case K_MAX_BURST:
		p->max_burst = value;
		break;
	case K_FIRST_BURST:
		p->first_burst = value;
		break;
	case K_MAX_R2T:
		p->max_r2t = value;
		break;
	case K_PROTOCOL_LEVEL:
		p->protocol_level = value;
		break;
	case K_MAX_CONNECTIONS:
	case K_TIME2WAIT:
	case K_TIME2RETAIN:
	case K_DATA_PDU_IN_ORDER:
	case K_DATA_SEQUENCE_IN_ORDER:
	case K_ERROR_RECOVERY_LEVEL:
	case K_TASK_REPORTING:
	case K_COUNT:
		break;
	}
}

void
keys_defaults(struct conn *c)
{
	int id;

	for (id = 0; id < K_COUNT; id++)
		key_store(&c->params, id, keys[id].standard);
}

static enum digest_policy
digest_policy(const struct conn *c, enum key_id id)
{
	/* RFC 7143 section 13.1 leaves digests out of discovery sessions. */
	if (c->discovery)
		return DIGEST_NONE;
	return id == K_HEADER_DIGEST ? c->target->options.header_digest :
	    c->target->options.data_digest;
}

static enum login_status
take_digest(struct conn *c, enum key_id id, const struct text_pair *pair,
    struct text_writer *w)
{
	enum digest_policy policy = digest_policy(c, id);
	const char *answer = "Reject";
	const char *item = pair->value;
	size_t len;

	for (;; item += len + 1) {
		len = strcspn(item, ",");
		if (policy != DIGEST_NONE && len == 6 &&
		    strncmp(item, "CRC32C", len) == 0)
			answer = "CRC32C";
		else if (policy != DIGEST_CRC32C && len == 4 &&
		    strncmp(item, "None", len) == 0)
			answer = "None";
		if (answer[0] != 'R' || item[len] == '\0')
			break;
	}
	key_store(&c->params, id, answer[0] == 'C');
	text_put(w, keys[id].name, answer);
	return answer[0] == 'R' ? LOGIN_INITIATOR_ERROR : LOGIN_OK;
}

static enum login_status
take_number(struct conn *c, enum key_id id, const struct text_pair *pair,
    struct text_writer *w)
{
	const struct key *k = &keys[id];
	uint32_t own = key_own(&c->target->options, id);
	uint64_t value;

	if (text_number(pair, k->most, &value) < 0 || value < k->least)
		return LOGIN_INITIATOR_ERROR;
	if (k->kind == KEY_MRDSL) {
		key_store(&c->params, id, (uint32_t)value);
		return LOGIN_OK;
	}
	if (k->kind == KEY_MIN ? own < value : own > value)
		value = own;
	key_store(&c->params, id, (uint32_t)value);
	text_put_number(w, k->name, value);
	return LOGIN_OK;
}

static enum login_status
take_boolean(struct conn *c, enum key_id id, const struct text_pair *pair,
    struct text_writer *w)
{
	bool own = key_own(&c->target->options, id) != 0;
	bool value;

	if (text_boolean(pair, &value) < 0)
		return LOGIN_INITIATOR_ERROR;
	value = keys[id].kind == KEY_OR ? value || own : value && own;
	key_store(&c->params, id, value);
	text_put_boolean(w, keys[id].name, value);
	return LOGIN_OK;
}

/* The initiator answers a key that we proposed: that is the result. */
static enum login_status
take_answer(struct conn *c, enum key_id id, const struct text_pair *pair)
{
	uint64_t number;
	bool boolean;

	if (keys[id].kind == KEY_DIGEST) {
		key_store(&c->params, id, text_value_is(pair, "CRC32C"));
		return LOGIN_OK;
	}
	if (text_boolean(pair, &boolean) == 0)
		key_store(&c->params, id, boolean);
	else if (text_number(pair, key_own(&c->target->options, id),
	    &number) == 0 && number >= keys[id].least)
		key_store(&c->params, id, (uint32_t)number);
	else
		return LOGIN_INITIATOR_ERROR;
	return LOGIN_OK;
}

static enum login_status
take_key(struct conn *c, enum key_id id, const struct text_pair *pair,
    struct text_writer *w)
{
	uint32_t bit = UINT32_C(1) << id;

	if (c->login->proposed & bit) {
		c->login->proposed &= ~bit;
		return take_answer(c, id, pair);
	}
	/* No key twice (RFC 7143 section 6.2). */
	if (c->login->seen & bit)
		return LOGIN_INITIATOR_ERROR;
	c->login->seen |= bit;
	if (c->discovery && !keys[id].discovery) {
		text_put(w, keys[id].name, "Irrelevant");
		return LOGIN_OK;
	}
	switch (keys[id].kind) {
	case KEY_DIGEST:
		return take_digest(c, id, pair, w);
	case KEY_MIN:
	case KEY_MAX:
	case KEY_MRDSL:
		return take_number(c, id, pair, w);
	case KEY_OR:
	case KEY_AND:
		return take_boolean(c, id, pair, w);
	case KEY_LIST:
		text_put(w, keys[id].name,
		    text_list_has(pair->value, "RFC3720") ? "RFC3720" :
		    "Reject");
		break;
	}
	return LOGIN_OK;
}

/* Names, which belong to the first request (RFC 7143 section 6.3). */
static enum login_status
take_name(struct conn *c, const struct text_pair *pair, bool *taken)
{
	struct login *l = c->login;

	*taken = true;
	if (text_key_is(pair, "InitiatorName")) {
		if (l->named || pair->value_len == 0 ||
		    pair->value_len > ISCSI_NAME_MAX)
			return LOGIN_INITIATOR_ERROR;
		memcpy(c->name, pair->value, pair->value_len);
		l->named = true;
	} else if (text_key_is(pair, "TargetName")) {
		if (l->target_named || pair->value_len > ISCSI_NAME_MAX)
			return LOGIN_INITIATOR_ERROR;
		memcpy(l->target, pair->value, pair->value_len);
		l->target_named = true;
	} else if (text_key_is(pair, "SessionType")) {
		c->discovery = text_value_is(pair, "Discovery");
		if (!c->discovery && !text_value_is(pair, "Normal"))
			return LOGIN_SESSION_TYPE;
	} else if (!text_key_is(pair, "InitiatorAlias")) {
		*taken = false;
	}
	return LOGIN_OK;
}

enum login_status
keys_take(struct conn *c, const struct text_pair *pair, struct text_writer *w)
{
	const struct login *l = c->login;
	char name[TEXT_KEY_MAX + 1];
	enum login_status status;
	bool taken;
	int id;

	status = take_name(c, pair, &taken);
	if (taken)
		return status;
	if (text_key_is(pair, "AuthMethod"))
		return auth_method(c, pair, w);
	if (auth_take(c, pair))
		return LOGIN_OK;
	for (id = 0; id < K_COUNT; id++) {
		if (!text_key_is(pair, keys[id].name))
			continue;
		if (l->stage != ISCSI_STAGE_OPERATIONAL)
			return LOGIN_INITIATOR_ERROR;
		return take_key(c, id, pair, w);
	}
	(void)snprintf(name, sizeof(name), "%.*s", (int)pair->key_len,
	    pair->key);
	text_put(w, name, "NotUnderstood");
	return LOGIN_OK;
}

/* Whether the standard value would be against the options. */
static bool
must_propose(const struct conn *c, enum key_id id)
{
	uint32_t own = key_own(&c->target->options, id);

	if (c->discovery && !keys[id].discovery)
		return false;
	switch (keys[id].kind) {
	case KEY_DIGEST:
		return digest_policy(c, id) == DIGEST_CRC32C;
	case KEY_MIN:
	case KEY_AND:
		return own < keys[id].standard;
	case KEY_MAX:
	case KEY_OR:
		return own > keys[id].standard;
	case KEY_MRDSL:
	case KEY_LIST:
		break;
	}
	return false;
}

void
keys_declare(struct conn *c, struct text_writer *w)
{
	struct login *l = c->login;
	int id;

	text_put_number(w, keys[K_MAX_RECV_DSL].name,
	    c->target->options.max_recv_dsl);
	l->declared = true;
	for (id = 0; id < K_COUNT; id++) {
		uint32_t bit = UINT32_C(1) << id;

		if ((l->seen & bit) != 0 || !must_propose(c, id))
			continue;
		l->proposed |= bit;
		l->seen |= bit;
		if (keys[id].kind == KEY_DIGEST)
			text_put(w, keys[id].name, "CRC32C");
		else if (keys[id].kind == KEY_AND || keys[id].kind == KEY_OR)
			text_put_boolean(w, keys[id].name,
			    key_own(&c->target->options, id) != 0);
		else
			text_put_number(w, keys[id].name,
			    key_own(&c->target->options, id));
	}
}

enum login_status
keys_conclude(struct conn *c)
{
	struct params *p = &c->params;

	if (digest_policy(c, K_HEADER_DIGEST) == DIGEST_CRC32C &&
	    !p->header_digest)
		return LOGIN_INITIATOR_ERROR;
	if (digest_policy(c, K_DATA_DIGEST) == DIGEST_CRC32C &&
	    !p->data_digest)
		return LOGIN_INITIATOR_ERROR;
	if (p->first_burst <= p->max_burst)
		return LOGIN_OK;
	/* Wrong where it was said, but the default may be too large. */
	if (c->login->seen & UINT32_C(1) << K_FIRST_BURST)
		return LOGIN_INITIATOR_ERROR;
	p->first_burst = p->max_burst;
	return LOGIN_OK;
}
