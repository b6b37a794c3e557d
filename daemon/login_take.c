/* SPDX-License-Identifier: ISC */
/*
 * What the target says in the login phase, one pair at a time (RFC 7143
 * sections 6.2 and 13): answers, which our offer must allow; declarations; and
 * proposals of its own, which are answered.  It calls proto/text and the C
 * library and knows no PDU and no stage.
 */
#include "config.h"

#include <string.h>

#include "daemon/login_priv.h"

#define VALUE_SHOWN	64	/* bytes of a target's value in a message */

/*
 * Keys of RFC 7143 that we never offer, and what a proposal is answered; NULL
 * for what needs no answer.  The markers are obsolete but must not be
 * answered NotUnderstood (section 13.25).
 */
static const struct {
	const char	*name;
	const char	*answer;
} unoffered[] = {
	{ "InitiatorName", NULL },
	{ "InitiatorAlias", NULL },
	{ "SessionType", NULL },
	{ "TargetName", NULL },
	{ "TargetAddress", NULL },
	{ "SendTargets", "Reject" },
	{ "OFMarker", "Reject" },
	{ "IFMarker", "Reject" },
	{ "OFMarkInt", "Reject" },
	{ "IFMarkInt", "Reject" },
};

static int
fail_pair(struct login_why *why, const struct text_pair *pair,
    const char *problem)
{
	return login_fail(why, "target sent %.*s=%.*s, %s",
	    (int)pair->key_len, pair->key, VALUE_SHOWN, pair->value, problem);
}

/* Read a number or boolean within the range of its key. */
static int
read_value(enum login_key id, const struct text_pair *pair, uint32_t *out,
    struct login_why *why)
{
	const struct login_key_rule *rule = &login_key_rules[id];

	if (login_key_read(id, pair, out))
		return 0;
	if (login_key_is_boolean(id))
		return fail_pair(why, pair, "which is neither Yes nor No");
	return login_fail(why, "target sent %s=%.*s, which is no number from "
	    "%u to %u", rule->name, VALUE_SHOWN, pair->value, rule->least,
	    rule->greatest);
}

/* A list was answered: the choice must be one item of our list. */
static int
take_choice(struct login_keys *k, enum login_key id,
    const struct text_pair *pair, struct login_why *why)
{
	if (!text_list_has(k->list[id], pair->value)) {
		if (id == LOGIN_KEY_AUTH_METHOD && text_value_is(pair, "CHAP"))
			return login_fail(why, "target wants CHAP, which is "
			    "not configured");
		return login_fail(why, "target chose %s=%.*s, but we offered "
		    "only %s", login_key_rules[id].name, VALUE_SHOWN,
		    pair->value, k->list[id]);
	}
	k->value[id] = !text_value_is(pair, "None");
	k->state[id] = LOGIN_KEY_SETTLED;
	return 0;
}

/* A number or boolean was answered: our offer must be able to lead there. */
static int
take_answer(struct login_keys *k, enum login_key id,
    const struct text_pair *pair, struct login_why *why)
{
	uint32_t value;

	if (read_value(id, pair, &value, why) != 0)
		return LOGIN_E_FAILED;
	if (login_key_combine(id, k->offer[id], value) != value) {
		if (login_key_is_boolean(id))
			return fail_pair(why, pair, "the contrary of which "
			    "we required");
		return login_fail(why, "target answered %s=%u, but we offered "
		    "%u", login_key_rules[id].name, value, k->offer[id]);
	}
	k->value[id] = value;
	k->state[id] = LOGIN_KEY_SETTLED;
	return 0;
}

/*
 * A key was not answered by a value.  Reject leaves a number at its default,
 * but of a list it leaves nothing that both sides would accept; a target that
 * demands digests rejects the offer and yet goes on as if all were well.
 */
static int
take_refusal(struct login_keys *k, enum login_key id,
    const struct text_pair *pair, struct login_why *why)
{
	const struct login_key_rule *rule = &login_key_rules[id];

	if (text_value_is(pair, "NotUnderstood"))
		return fail_pair(why, pair, "a key that RFC 7143 requires it "
		    "to understand");
	if (rule->kind == LOGIN_KIND_LIST && text_value_is(pair, "Reject"))
		return login_fail(why, "target rejected %s=%s%s", rule->name,
		    k->list[id], id != LOGIN_KEY_AUTH_METHOD ? "" :
		    text_list_has(k->list[id], "CHAP") ? ": it does not do "
		    "CHAP" : ": it wants authentication, which is not "
		    "configured");
	k->value[id] = rule->def;
	k->state[id] = LOGIN_KEY_DEFAULTED;
	return 0;
}

/* The target's list: answer with its first item that is in ours, too. */
static int
take_list_proposal(struct login_keys *k, enum login_key id,
    const struct text_pair *pair, struct text_writer *answers,
    struct login_why *why)
{
	char item[LOGIN_LIST_MAX];
	const char *p = pair->value;
	size_t len;

	for (;;) {
		len = strcspn(p, ",");
		if (len < sizeof(item)) {
			memcpy(item, p, len);
			item[len] = '\0';
			if (text_list_has(k->list[id], item))
				break;
		}
		if (p[len] == '\0')
			return login_fail(why, "target offers only %s=%.*s, "
			    "we want %s", login_key_rules[id].name, VALUE_SHOWN,
			    pair->value, k->list[id]);
		p += len + 1;
	}
	k->value[id] = strcmp(item, "CRC32C") == 0;
	k->state[id] = LOGIN_KEY_SETTLED;
	text_put(answers, login_key_rules[id].name, item);
	return 0;
}

/*
 * iSCSIProtocolLevel (section 13.24), the smaller number of which wins.  It is
 * younger than RFC 3720: a target need not know it, and no login fails because
 * of a proposal that is none.
 */
static int
propose_level(struct login_keys *k, const struct text_pair *pair,
    struct text_writer *answers)
{
	const enum login_key id = LOGIN_KEY_PROTOCOL_LEVEL;
	uint32_t level;

	if (login_is_refusal(pair))
		return 0;
	if (!login_key_read(id, pair, &level)) {
		text_put(answers, login_key_rules[id].name, "Reject");
		return 0;
	}
	k->value[id] = login_key_combine(id, k->offer[id], level);
	k->state[id] = LOGIN_KEY_SETTLED;
	login_key_put(answers, id, k->value[id]);
	return 0;
}

static int
answer_level(struct login_keys *k, const struct text_pair *pair,
    struct login_why *why)
{
	const enum login_key id = LOGIN_KEY_PROTOCOL_LEVEL;
	uint32_t level = login_key_rules[id].def;

	if (!login_is_refusal(pair) && read_value(id, pair, &level, why) != 0)
		return LOGIN_E_FAILED;
	k->value[id] = login_key_combine(id, k->offer[id], level);
	k->state[id] = LOGIN_KEY_SETTLED;
	return 0;
}

static int
take_proposal(struct login_keys *k, enum login_key id,
    const struct text_pair *pair, struct text_writer *answers,
    struct login_why *why)
{
	uint32_t value;

	if (k->discovery && !login_key_in_discovery(id)) {
		text_put(answers, login_key_rules[id].name, "Irrelevant");
		k->state[id] = LOGIN_KEY_DEFAULTED;
		return 0;
	}
	if (login_key_rules[id].kind == LOGIN_KIND_LIST)
		return take_list_proposal(k, id, pair, answers, why);
	if (read_value(id, pair, &value, why) != 0)
		return LOGIN_E_FAILED;
	k->value[id] = login_key_combine(id, k->offer[id], value);
	k->state[id] = LOGIN_KEY_SETTLED;
	login_key_put(answers, id, k->value[id]);
	return 0;
}

/* A declaration needs no answer, so a refusal of ours changes nothing. */
static int
take_declaration(struct login_keys *k, enum login_key id,
    const struct text_pair *pair, struct login_why *why)
{
	if (login_is_refusal(pair))
		return 0;
	return read_value(id, pair, &k->value[id], why);
}

/* What the target says of itself; negotiates nothing. */
static int
take_portal_group(struct login_keys *k, const struct text_pair *pair,
    struct login_why *why)
{
	uint64_t number;

	if (login_is_refusal(pair))
		return 0;
	if (text_number(pair, UINT16_MAX, &number) != 0)
		return fail_pair(why, pair, "which is no number up to 65535");
	if (k->tpgt_set && number != k->want_tpgt)
		return login_fail(why, "target has TargetPortalGroupTag=%u, "
		    "but %u is configured", (unsigned)number, k->want_tpgt);
	k->tpgt = (uint16_t)number;
	k->have_tpgt = true;
	return 0;
}

static void
take_alias(struct login_keys *k, const struct text_pair *pair)
{
	size_t len = pair->value_len;

	if (len >= sizeof(k->target_alias))
		len = sizeof(k->target_alias) - 1;
	memcpy(k->target_alias, pair->value, len);
	k->target_alias[len] = '\0';
}

/* A key that is none of ours; there is no answer to an answer. */
static void
take_other(const struct text_pair *pair, struct text_writer *answers)
{
	char key[TEXT_KEY_MAX + 1];
	size_t i;

	if (login_is_refusal(pair))
		return;
	for (i = 0; i < sizeof(unoffered) / sizeof(unoffered[0]); i++) {
		if (!text_key_is(pair, unoffered[i].name))
			continue;
		if (unoffered[i].answer != NULL)
			text_put(answers, unoffered[i].name,
			    unoffered[i].answer);
		return;
	}
	if (text_key_is(pair, "TaskReporting")) {
		text_put(answers, "TaskReporting",
		    text_list_has(pair->value, "RFC3720") ? "RFC3720" :
		    "Reject");
		return;
	}
	memcpy(key, pair->key, pair->key_len);
	key[pair->key_len] = '\0';
	text_put(answers, key, "NotUnderstood");
}

static int
take_negotiated(struct login_keys *k, enum login_key id,
    const struct text_pair *pair, struct text_writer *answers,
    struct login_why *why)
{
	if (login_key_rules[id].kind == LOGIN_KIND_DECLARED)
		return take_declaration(k, id, pair, why);
	switch (k->state[id]) {
	case LOGIN_KEY_UNTOUCHED:
		if (id == LOGIN_KEY_PROTOCOL_LEVEL)
			return propose_level(k, pair, answers);
		return take_proposal(k, id, pair, answers, why);
	case LOGIN_KEY_OFFERED:
		if (id == LOGIN_KEY_PROTOCOL_LEVEL)
			return answer_level(k, pair, why);
		if (login_is_refusal(pair))
			return take_refusal(k, id, pair, why);
		if (login_key_rules[id].kind == LOGIN_KIND_LIST)
			return take_choice(k, id, pair, why);
		return take_answer(k, id, pair, why);
	default:
		return login_fail(why, "target negotiated %s twice",
		    login_key_rules[id].name);
	}
}

int
login_keys_take(struct login_keys *k, const struct text_pair *pair,
    struct text_writer *answers, struct login_why *why)
{
	int id;

	for (id = 0; id < LOGIN_KEYS; id++)
		if (text_key_is(pair, login_key_rules[id].name))
			return take_negotiated(k, id, pair, answers, why);
	if (text_key_is(pair, "TargetPortalGroupTag"))
		return take_portal_group(k, pair, why);
	if (text_key_is(pair, "TargetAlias")) {
		take_alias(k, pair);
		return 0;
	}
	take_other(pair, answers);
	return 0;
}
