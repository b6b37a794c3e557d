/* SPDX-License-Identifier: ISC */
/*
 * A session block that stands in no file: keys and values from elsewhere,
 * held to the rules of the scanner and set by the setters of the key table.
 * Knows the blocks, but no key, and nothing of where the values come from.
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/config_priv.h"

/* One block and what of it was given, by the key's index in the table. */
struct draft {
	struct config_load		*ld;
	enum config_block		 block;
	const struct config_setting	*of[CONFIG_KEYS_MAX];
	struct config_place		 at[CONFIG_KEYS_MAX];	/* nowhere */
};

/* What the lexer refuses in a file. */
static bool
draft_check_text(const struct draft *d, const char *key, const char *text)
{
	const struct config_place nowhere = { .file = NULL };

	if (strlen(text) > CONFIG_VALUE_MAX) {
		config_fail(d->ld, &nowhere, key, "a value is longer than %d "
		    "bytes: shorten it", CONFIG_VALUE_MAX);
		return false;
	}
	for (; *text != '\0'; text++) {
		if ((unsigned char)*text < ' ' || *text == 0x7f) {
			config_fail(d->ld, &nowhere, key, "byte 0x%02x is not "
			    "allowed in a value: remove it",
			    (unsigned char)*text);
			return false;
		}
	}
	return true;
}

/* Find the key that a setting is for; record what is wrong with it. */
static void
draft_take(struct draft *d, const struct config_setting *set)
{
	const struct config_place nowhere = { .file = NULL };
	const struct config_key *key = config_key_find(d->block, set->key);

	if (key == NULL) {
		config_unknown_key(d->ld, &nowhere, d->block, set->key);
		return;
	}
	if (d->of[key - config_keys] != NULL) {
		config_fail(d->ld, &nowhere, key->name, "repeated: remove it");
		return;
	}
	d->of[key - config_keys] = set;
	if (set->list && !key->list)
		config_fail(d->ld, &nowhere, key->name,
		    "takes one value, not a list");
	else if (set->count == 0)
		config_fail(d->ld, &nowhere, key->name,
		    "a value is missing: write one");
	else if (set->count > CONFIG_LIST_MAX)
		config_fail(d->ld, &nowhere, key->name, "a list has at most "
		    "%d values: remove some", CONFIG_LIST_MAX);
	for (size_t i = 0; i < set->count; i++)
		if (!draft_check_text(d, key->name, set->values[i]))
			return;
}

static void
draft_apply(struct draft *d, const struct config_key *key, void *base)
{
	const struct config_setting *set = d->of[key - config_keys];
	struct config_value v[CONFIG_LIST_MAX];
	size_t n = set != NULL ? set->count : 0;

	for (size_t i = 0; i < n; i++)
		v[i] = (struct config_value){ .text = set->values[i] };
	config_apply(d->ld, key, v, n, &d->at[key - config_keys], base);
}

/* Set all fields of a block, `base`, unless its form is wrong already. */
static void
draft_block(struct draft *d, const struct config_settings *given, void *base)
{
	size_t errors = d->ld->errs->total;

	for (size_t i = 0; i < given->count; i++)
		draft_take(d, &given->list[i]);
	if (d->ld->errs->total != errors)
		return;
	for (size_t i = 0; i < config_key_count; i++) {
		if (config_keys[i].block == d->block)
			draft_apply(d, &config_keys[i], base);
	}
}

static bool
draft_names(const struct config_settings *given, const char *key)
{
	for (size_t i = 0; i < given->count; i++)
		if (strcmp(given->list[i].key, key) == 0)
			return true;
	return false;
}

static void
draft_access(struct config_load *ld, const struct config_settings *given,
    struct config_access *access)
{
	struct draft d = { .ld = ld, .block = CONFIG_BLOCK_ACCESS };
	const struct config_place nowhere = { .file = NULL };

	draft_block(&d, given, access);
	if (!draft_names(given, "users") && !draft_names(given, "groups"))
		config_fail(ld, &nowhere, "access",
		    "names nobody: add 'users' or 'groups'");
}

static void
draft_session(struct config_load *ld, const struct config_draft *draft,
    struct config_session *s)
{
	struct draft d = { .ld = ld, .block = CONFIG_BLOCK_SESSION };
	const struct config_place nowhere = { .file = NULL };
	size_t errors = ld->errs->total;

	if (!config_name_check(ld, &nowhere, draft->name))
		return;
	s->name = config_strdup(ld, draft->name);
	s->access = calloc(draft->access_count + 1, sizeof(*s->access));
	if (s->access == NULL) {
		config_fail_memory(ld);
		return;
	}
	draft_block(&d, &draft->keys, s);
	if (ld->errs->total == errors) {
		config_check_session(ld, s, d.at);
		config_check_chap(ld, s, d.at);
	}
	for (; s->access_count < draft->access_count; s->access_count++)
		draft_access(ld, &draft->access[s->access_count],
		    &s->access[s->access_count]);
}

int
config_session_make(const struct config_draft *draft,
    struct config_session **out, struct config_errors *errs)
{
	struct config none = { .session_count = 0 };
	struct config_load ld = { .errs = errs, .cfg = &none };
	struct config_session *s = calloc(1, sizeof(*s));
	size_t before = errs->total;

	if (s == NULL) {
		config_fail_memory(&ld);
	} else {
		s->origin = CONFIG_ADDED;
		draft_session(&ld, draft, s);
	}
	if (errs->total != before) {
		config_session_unref(s);
		return ld.no_memory ? -ENOMEM : -EINVAL;
	}
	*out = s;
	return 0;
}
