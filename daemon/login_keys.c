/* SPDX-License-Identifier: ISC */
/*
 * The keys of the login phase (RFC 7143 section 13): the rule of each, what is
 * offered, and the values in the end.  It calls proto/text and the C library
 * and knows no PDU and no stage but the one in which a key is offered.
 */
#include "config.h"

#include <string.h>

#include "daemon/login_priv.h"

const struct login_key_rule login_key_rules[LOGIN_KEYS] = {
#define X(id, name, kind, stage, def, least, greatest)			\
	[LOGIN_KEY_##id] = { name, LOGIN_KIND_##kind,			\
	    ISCSI_STAGE_##stage, def, least, greatest },
	LOGIN_KEY_TABLE(X)
#undef X
};

uint32_t
login_key_combine(enum login_key id, uint32_t a, uint32_t b)
{
	switch (login_key_rules[id].kind) {
	case LOGIN_KIND_MAX:
	case LOGIN_KIND_OR:
		return a > b ? a : b;
	default:
		return a < b ? a : b;
	}
}

bool
login_key_read(enum login_key id, const struct text_pair *pair, uint32_t *out)
{
	const struct login_key_rule *rule = &login_key_rules[id];
	uint64_t number;
	bool flag;

	if (login_key_is_boolean(id)) {
		if (text_boolean(pair, &flag) != 0)
			return false;
		*out = flag;
		return true;
	}
	if (text_number(pair, rule->greatest, &number) != 0 ||
	    number < rule->least)
		return false;
	*out = (uint32_t)number;
	return true;
}

bool
login_is_refusal(const struct text_pair *pair)
{
	return text_value_is(pair, "Irrelevant") ||
	    text_value_is(pair, "Reject") ||
	    text_value_is(pair, "NotUnderstood");
}

static uint32_t
clamp(enum login_key id, uint32_t value)
{
	const struct login_key_rule *rule = &login_key_rules[id];

	if (value < rule->least)
		return rule->least;
	return value > rule->greatest ? rule->greatest : value;
}

bool
login_key_in_discovery(enum login_key id)
{
	switch (id) {
	case LOGIN_KEY_AUTH_METHOD:
	case LOGIN_KEY_HEADER_DIGEST:
	case LOGIN_KEY_DATA_DIGEST:
	case LOGIN_KEY_MAX_RECV_DSL:
	case LOGIN_KEY_TIME2WAIT:
	case LOGIN_KEY_TIME2RETAIN:
	case LOGIN_KEY_PROTOCOL_LEVEL:
		return true;
	default:
		return false;
	}
}

/* Write a digest preference as a list value; an empty one means None. */
static void
list_digests(char *list, const enum login_digest digests[3])
{
	static const struct {
		enum login_digest digest;
		const char *name;
	} names[] = {
		{ LOGIN_DIGEST_NONE, "None" },
		{ LOGIN_DIGEST_CRC32C, "CRC32C" },
	};
	size_t len = 0;
	size_t i, j;

	for (i = 0; i < 3 && digests[i] != LOGIN_DIGEST_END; i++)
		for (j = 0; j < sizeof(names) / sizeof(names[0]); j++) {
			if (digests[i] != names[j].digest)
				continue;
			list[len] = '\0';
			if (text_list_has(list, names[j].name))
				continue;
			if (len > 0)
				list[len++] = ',';
			memcpy(list + len, names[j].name,
			    strlen(names[j].name));
			len += strlen(names[j].name);
		}
	list[len] = '\0';
	if (len == 0)
		memcpy(list, "None", sizeof("None"));
}

void
login_keys_init(struct login_keys *k, const struct login_wanted *wanted)
{
	static const enum login_digest no_digest[3] = { LOGIN_DIGEST_NONE };
	uint32_t *offer = k->offer;
	int id;

	memset(k, 0, sizeof(*k));
	k->discovery = wanted->discovery;
	k->tpgt_set = wanted->tpgt_set;
	k->want_tpgt = wanted->tpgt;
	/* A target may take a digest there and then not be able to use it. */
	list_digests(k->list[LOGIN_KEY_HEADER_DIGEST],
	    wanted->discovery ? no_digest : wanted->header_digest);
	list_digests(k->list[LOGIN_KEY_DATA_DIGEST],
	    wanted->discovery ? no_digest : wanted->data_digest);
	offer[LOGIN_KEY_MAX_CONNECTIONS] = 1;
	offer[LOGIN_KEY_INITIAL_R2T] = wanted->initial_r2t;
	offer[LOGIN_KEY_IMMEDIATE_DATA] = wanted->immediate_data;
	offer[LOGIN_KEY_MAX_RECV_DSL] = wanted->max_recv_dsl;
	offer[LOGIN_KEY_MAX_BURST] = wanted->max_burst;
	offer[LOGIN_KEY_FIRST_BURST] = wanted->first_burst;
	offer[LOGIN_KEY_TIME2WAIT] = wanted->time2wait;
	offer[LOGIN_KEY_TIME2RETAIN] = wanted->time2retain;
	offer[LOGIN_KEY_MAX_OUTSTANDING_R2T] = wanted->max_outstanding_r2t;
	offer[LOGIN_KEY_DATA_PDU_IN_ORDER] = 1;
	offer[LOGIN_KEY_DATA_SEQUENCE_IN_ORDER] = 1;
	offer[LOGIN_KEY_ERROR_RECOVERY_LEVEL] = 0;
	offer[LOGIN_KEY_PROTOCOL_LEVEL] =
	    wanted->protocol_level > ISCSI_LEVEL_RFC7143 ?
	    wanted->protocol_level : ISCSI_LEVEL_RFC7143;
	/* Some targets refuse values out of range even when irrelevant. */
	for (id = 0; id < LOGIN_KEYS; id++) {
		offer[id] = clamp(id, offer[id]);
		k->value[id] = login_key_rules[id].def;
	}
	if (offer[LOGIN_KEY_FIRST_BURST] > offer[LOGIN_KEY_MAX_BURST])
		offer[LOGIN_KEY_FIRST_BURST] = offer[LOGIN_KEY_MAX_BURST];
}

void
login_key_put(struct text_writer *w, enum login_key id, uint32_t value)
{
	if (login_key_is_boolean(id))
		text_put_boolean(w, login_key_rules[id].name, value != 0);
	else
		text_put_number(w, login_key_rules[id].name, value);
}

/* A target need not see a key that came late only to hear the default. */
static bool
is_offered(const struct login_keys *k, enum login_key id)
{
	if (id == LOGIN_KEY_PROTOCOL_LEVEL &&
	    k->offer[id] == login_key_rules[id].def)
		return false;
	return !k->discovery || login_key_in_discovery(id);
}

void
login_keys_offer(struct login_keys *k, enum iscsi_stage stage,
    struct text_writer *w)
{
	const struct login_key_rule *rule;
	int id;

	for (id = 0; id < LOGIN_KEYS; id++) {
		rule = &login_key_rules[id];
		if (rule->stage != stage ||
		    k->state[id] != LOGIN_KEY_UNTOUCHED || !is_offered(k, id))
			continue;
		if (rule->kind == LOGIN_KIND_LIST)
			text_put(w, rule->name, k->list[id]);
		else
			login_key_put(w, id, k->offer[id]);
		k->state[id] = LOGIN_KEY_OFFERED;
	}
}

/*
 * A key without a value of the target.  An answer that cannot change our
 * offer may be left out (RFC 7143 section 6.2.2); for the others the target is
 * taken to have answered with the default.
 */
static int
settle_silent(struct login_keys *k, enum login_key id, struct login_why *why)
{
	const struct login_key_rule *rule = &login_key_rules[id];

	if (rule->kind == LOGIN_KIND_DECLARED)
		return 0;
	if (rule->kind == LOGIN_KIND_LIST) {
		if (!text_list_has(k->list[id], "None"))
			return login_fail(why, "target did not agree to "
			    "%s=%s", rule->name, k->list[id]);
		return 0;
	}
	if (k->state[id] != LOGIN_KEY_DEFAULTED)
		k->value[id] = login_key_combine(id, k->offer[id], rule->def);
	return 0;
}

/* Unsolicited data of any kind is what FirstBurstLength limits. */
static int
check_bursts(struct login_keys *k, struct login_why *why)
{
	uint32_t *value = k->value;
	bool relevant = value[LOGIN_KEY_INITIAL_R2T] == 0 ||
	    value[LOGIN_KEY_IMMEDIATE_DATA] != 0;

	if (value[LOGIN_KEY_FIRST_BURST] <= value[LOGIN_KEY_MAX_BURST])
		return 0;
	if (relevant && k->state[LOGIN_KEY_FIRST_BURST] == LOGIN_KEY_SETTLED)
		return login_fail(why, "FirstBurstLength %u of the target is "
		    "greater than its MaxBurstLength %u",
		    value[LOGIN_KEY_FIRST_BURST], value[LOGIN_KEY_MAX_BURST]);
	value[LOGIN_KEY_FIRST_BURST] = value[LOGIN_KEY_MAX_BURST];
	return 0;
}

static void
fill_result(const struct login_keys *k, struct login_result *r)
{
	const uint32_t *value = k->value;

	r->header_digest = value[LOGIN_KEY_HEADER_DIGEST] != 0;
	r->data_digest = value[LOGIN_KEY_DATA_DIGEST] != 0;
	r->send_dsl = value[LOGIN_KEY_MAX_RECV_DSL];
	r->recv_dsl = k->offer[LOGIN_KEY_MAX_RECV_DSL];
	r->max_burst = value[LOGIN_KEY_MAX_BURST];
	r->first_burst = value[LOGIN_KEY_FIRST_BURST];
	r->max_outstanding_r2t = value[LOGIN_KEY_MAX_OUTSTANDING_R2T];
	r->max_connections = value[LOGIN_KEY_MAX_CONNECTIONS];
	r->time2wait = value[LOGIN_KEY_TIME2WAIT];
	r->time2retain = value[LOGIN_KEY_TIME2RETAIN];
	r->error_recovery_level = value[LOGIN_KEY_ERROR_RECOVERY_LEVEL];
	r->protocol_level = value[LOGIN_KEY_PROTOCOL_LEVEL];
	r->initial_r2t = value[LOGIN_KEY_INITIAL_R2T] != 0;
	r->immediate_data = value[LOGIN_KEY_IMMEDIATE_DATA] != 0;
	r->data_pdu_in_order = value[LOGIN_KEY_DATA_PDU_IN_ORDER] != 0;
	r->data_sequence_in_order =
	    value[LOGIN_KEY_DATA_SEQUENCE_IN_ORDER] != 0;
	r->tpgt = k->tpgt;
	r->have_tpgt = k->have_tpgt;
	memcpy(r->target_alias, k->target_alias, sizeof(r->target_alias));
}

int
login_keys_finish(struct login_keys *k, struct login_result *result,
    struct login_why *why)
{
	int id;

	for (id = 0; id < LOGIN_KEYS; id++)
		if (k->state[id] != LOGIN_KEY_SETTLED &&
		    settle_silent(k, id, why) != 0)
			return LOGIN_E_FAILED;
	if (check_bursts(k, why) != 0)
		return LOGIN_E_FAILED;
	if (k->tpgt_set && !k->have_tpgt)
		return login_fail(why, "target did not say its "
		    "TargetPortalGroupTag, which is configured to be %u",
		    k->want_tpgt);
	fill_result(k, result);
	return 0;
}
