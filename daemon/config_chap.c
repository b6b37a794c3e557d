/* SPDX-License-Identifier: ISC */
/*
 * The keys of CHAP: names, algorithms, files of secrets; which of them need
 * each other, and the secrets themselves.  Knows no login.
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/chap.h"
#include "daemon/config_priv.h"

/* The preferred one first. */
static const uint8_t chap_default[] = {
	CHAP_SHA3_256, CHAP_SHA256, CHAP_SHA1, CHAP_MD5
};

_Static_assert(sizeof(chap_default) == CONFIG_CHAP_ALGORITHMS,
    "CONFIG_CHAP_ALGORITHMS is not their number");

/* The keys of one kind of session. */
struct chap_keys {
	const char	*user;
	const char	*secret_file;
	const char	*peer_user;
	const char	*peer_secret_file;
};

static const struct chap_keys chap_normal = {
	"chap-user", "chap-secret-file", "chap-peer-user",
	"chap-peer-secret-file"
};

static const struct chap_keys chap_discovery = {
	"discovery-chap-user", "discovery-chap-secret-file",
	"discovery-chap-peer-user", "discovery-chap-peer-secret-file"
};

void
config_set_chap_name(struct config_load *ld, const struct config_key *key,
    const struct config_value *v, size_t n, void *field)
{
	(void)n;
	if (v->text[0] == '\0' || strlen(v->text) > CONFIG_CHAP_NAME_MAX)
		config_fail(ld, &v->at, key->name, "a CHAP name has 1 to %d "
		    "bytes: change it", CONFIG_CHAP_NAME_MAX);
	*(char **)field = config_strdup(ld, v->text);
}

void
config_set_secret_file(struct config_load *ld, const struct config_key *key,
    const struct config_value *v, size_t n, void *field)
{
	const char *wrong = secret_where_check(v->text);

	(void)n;
	/* Not quoted: somebody may have written the secret here. */
	if (wrong != NULL)
		config_fail(ld, &v->at, key->name, "no file of a secret: %s",
		    wrong);
	*(char **)field = config_strdup(ld, v->text);
}

void
config_set_algorithms(struct config_load *ld, const struct config_key *key,
    const struct config_value *v, size_t n, void *field)
{
	struct config_chap_rules *rules = field;
	unsigned number;

	rules->listed = true;
	for (size_t i = 0; i < n; i++) {
		number = chap_algorithm_number(v[i].text);
		if (number == 0)
			config_fail(ld, &v[i].at, key->name, "'%.80s' is no "
			    "algorithm of CHAP: write SHA3-256, SHA256, SHA1, "
			    "MD5 or a list of them", v[i].text);
		else if (memchr(rules->list, (int)number, rules->count) != NULL)
			config_fail(ld, &v[i].at, key->name,
			    "'%s' is repeated: remove it", v[i].text);
		else
			rules->list[rules->count++] = (uint8_t)number;
	}
}

static const struct config_place *
chap_place(const struct config_place *at, const char *name)
{
	return &at[config_key_find(CONFIG_BLOCK_SESSION, name) - config_keys];
}

static void
read_secret(struct config_load *ld, const struct config_session *s,
    const struct config_place *at, const char *key, const char *file,
    struct secret *out)
{
	const struct config_place *place = chap_place(at, key);
	char why[512];
	int error;

	/* What is no name of a file has been told by the setter. */
	if (file == NULL || secret_where_check(file) != NULL)
		return;
	error = secret_read(file, out, why, sizeof(why));
	if (error == -ENOMEM)
		config_fail_memory(ld);
	else if (error != 0)
		config_fail(ld, place, key, "%s", why);
	else if (secret_is_short(out) && !s->chap_rules.allow_short)
		config_fail(ld, place, key, "the secret has less than 96 "
		    "bits: take one of %d to 16 bytes, or set "
		    "chap-allow-short-secrets", SECRET_STRONG_MIN);
}

/* A key is needed by another one. */
static void
check_needs(struct config_load *ld, const struct config_place *at,
    const char *has, const char *has_key, const char *needs,
    const char *needs_key)
{
	if (has != NULL && needs == NULL)
		config_fail(ld, chap_place(at, has_key), has_key,
		    "without '%s' it is of no use: add that", needs_key);
}

static void
check_one(struct config_load *ld, struct config_session *s,
    const struct config_place *at, struct config_chap *c,
    const struct chap_keys *k)
{
	check_needs(ld, at, c->user, k->user, c->secret_file, k->secret_file);
	check_needs(ld, at, c->secret_file, k->secret_file, c->user, k->user);
	check_needs(ld, at, c->peer_user, k->peer_user, c->peer_secret_file,
	    k->peer_secret_file);
	check_needs(ld, at, c->peer_secret_file, k->peer_secret_file, c->user,
	    k->user);
	read_secret(ld, s, at, k->secret_file, c->secret_file, &c->secret);
	read_secret(ld, s, at, k->peer_secret_file, c->peer_secret_file,
	    &c->peer_secret);
	/* RFC 7143 section 9.2.1: or the target could just ask us back. */
	if (c->secret.len > 0 && secret_equal(&c->secret, &c->peer_secret))
		config_fail(ld, chap_place(at, k->peer_secret_file),
		    k->peer_secret_file, "the same secret as in %s: the two "
		    "directions must differ", k->secret_file);
	if (c->peer_secret_file != NULL && !s->chap_rules.required)
		config_fail(ld, chap_place(at, "chap-required"),
		    "chap-required", "a target that has to authenticate "
		    "itself ('%s') cannot be let off: remove one of the two",
		    k->peer_secret_file);
}

/* What is left to offer. */
static void
check_rules(struct config_load *ld, struct config_session *s,
    const struct config_place *at)
{
	struct config_chap_rules *r = &s->chap_rules;
	unsigned n = 0;

	if (!r->listed) {
		memcpy(r->list, chap_default, sizeof(chap_default));
		r->count = CONFIG_CHAP_ALGORITHMS;
	}
	if (r->allow_md5)
		return;
	for (unsigned i = 0; i < r->count; i++)
		if (r->list[i] != CHAP_MD5)
			r->list[n++] = r->list[i];
	if (n == 0 && r->count > 0)
		config_fail(ld, chap_place(at, "chap-algorithms"),
		    "chap-algorithms", "only MD5, which chap-allow-md5 "
		    "forbids: change one of them");
	r->count = n;
}

void
config_check_chap(struct config_load *ld, struct config_session *s,
    const struct config_place *at)
{
	check_rules(ld, s, at);
	check_one(ld, s, at, &s->chap, &chap_normal);
	check_one(ld, s, at, &s->discovery_chap, &chap_discovery);
}

void
config_chap_free(struct config_chap *chap)
{
	free(chap->user);
	free(chap->secret_file);
	free(chap->peer_user);
	free(chap->peer_secret_file);
	secret_wipe(&chap->secret);
	secret_wipe(&chap->peer_secret);
}
