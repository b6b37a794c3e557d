/* SPDX-License-Identifier: ISC */
/*
 * Users, groups and what they may.  The only file of the configuration that
 * asks the user database, which is why a load may block.
 */
#include "config.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/config_priv.h"

/* Is `text` written in digits, so no name?  Then the id to `id`, which is
 * CONFIG_NO_ID if it is too large. */
static bool
ids_number(const char *text, uint32_t *id)
{
	unsigned long long n;

	if (text[0] == '\0' || strspn(text, "0123456789") != strlen(text))
		return false;
	errno = 0;
	n = strtoull(text, NULL, 10);
	*id = errno == 0 && n < CONFIG_NO_ID ? (uint32_t)n : CONFIG_NO_ID;
	return true;
}

/* Say why a look-up found no `what`; errno is 0 if there simply is none. */
static void
ids_fail(struct config_load *ld, const struct config_key *key,
    const struct config_value *v, const char *what)
{
	/* getpwnam(3): any of these may mean "not found". */
	if (errno == 0 || errno == ENOENT || errno == ESRCH ||
	    errno == EBADF || errno == EPERM)
		config_fail(ld, &v->at, key->name, "there is no %s '%.80s': "
		    "correct it or create the %s", what, v->text, what);
	else
		config_fail(ld, &v->at, key->name, "looking up the %s "
		    "'%.80s' failed: %s", what, v->text, strerror(errno));
}

/* The uid of a user, and its primary group unless `gid` is NULL.  A number
 * needs no user.  Returns false if there is none; errno says more. */
static bool
ids_user(const char *text, uint32_t *uid, uint32_t *gid)
{
	const struct passwd *pw;
	bool number = ids_number(text, uid);

	errno = 0;
	if (number && (*uid == CONFIG_NO_ID || gid == NULL))
		return *uid != CONFIG_NO_ID;
	pw = number ? getpwuid(*uid) : getpwnam(text);
	if (pw == NULL)
		return false;
	*uid = pw->pw_uid;
	if (gid != NULL)
		*gid = pw->pw_gid;
	return true;
}

static bool
ids_group(const char *text, uint32_t *gid)
{
	const struct group *gr;

	errno = 0;
	if (ids_number(text, gid))
		return *gid != CONFIG_NO_ID;
	gr = getgrnam(text);
	if (gr == NULL)
		return false;
	*gid = gr->gr_gid;
	return true;
}

void
config_set_user(struct config_load *ld, const struct config_key *key,
    const struct config_value *v, size_t n, void *field)
{
	struct config *cfg = field;

	(void)n;
	cfg->user = config_strdup(ld, v->text);
	if (ids_user(v->text, &cfg->uid, &cfg->gid))
		return;
	if (!v->is_default)
		ids_fail(ld, key, v, "user");
	cfg->uid = CONFIG_NO_ID;
	cfg->gid = CONFIG_NO_ID;
}

void
config_set_group(struct config_load *ld, const struct config_key *key,
    const struct config_value *v, size_t n, void *field)
{
	struct config *cfg = field;

	(void)n;
	cfg->data_socket_group = config_strdup(ld, v->text);
	if (ids_group(v->text, &cfg->data_socket_gid))
		return;
	if (!v->is_default)
		ids_fail(ld, key, v, "group");
	cfg->data_socket_gid = CONFIG_NO_ID;
}

static void
ids_add(struct config_load *ld, const struct config_key *key,
    const struct config_value *v, struct config_ids *ids, uint32_t id)
{
	for (size_t i = 0; i < ids->count; i++) {
		if (ids->list[i] == id) {
			config_fail(ld, &v->at, key->name, "'%.80s' is "
			    "repeated: remove it", v->text);
			return;
		}
	}
	ids->list[ids->count++] = id;
}

/* Look all `n` names up, as groups or as users. */
static void
ids_set(struct config_load *ld, const struct config_key *key,
    const struct config_value *v, size_t n, struct config_ids *ids,
    bool groups)
{
	uint32_t id;

	ids->list = calloc(n, sizeof(*ids->list));
	if (ids->list == NULL) {
		config_fail_memory(ld);
		return;
	}
	for (size_t i = 0; i < n; i++) {
		if (groups ? ids_group(v[i].text, &id) :
		    ids_user(v[i].text, &id, NULL))
			ids_add(ld, key, &v[i], ids, id);
		else
			ids_fail(ld, key, &v[i], groups ? "group" : "user");
	}
}

void
config_set_users(struct config_load *ld, const struct config_key *key,
    const struct config_value *v, size_t n, void *field)
{
	ids_set(ld, key, v, n, field, false);
}

void
config_set_groups(struct config_load *ld, const struct config_key *key,
    const struct config_value *v, size_t n, void *field)
{
	ids_set(ld, key, v, n, field, true);
}

static bool
ids_is_later_level(const char *word)
{
	static const char *const words[] = { "read", "write", "manage",
	    "reset", "task-attributes", "exclusive" };

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (strcmp(word, words[i]) == 0)
			return true;
	return false;
}

void
config_set_allow(struct config_load *ld, const struct config_key *key,
    const struct config_value *v, size_t n, void *field)
{
	bool *all = field;

	for (size_t i = 0; i < n; i++) {
		if (strcmp(v[i].text, "all") != 0)
			config_fail(ld, &v[i].at, key->name,
			    ids_is_later_level(v[i].text) ?
			    "'%.80s' is not available yet: rules are "
			    "all-or-nothing in this version, use all" :
			    "'%.80s' is unknown: use all", v[i].text);
		else if (*all)
			config_fail(ld, &v[i].at, key->name,
			    "'all' is repeated: remove it");
		else
			*all = true;
	}
}

void
config_set_luns(struct config_load *ld, const struct config_key *key,
    const struct config_value *v, size_t n, void *field)
{
	(void)n;
	(void)field;
	config_fail(ld, &v->at, key->name, "not available yet: rules are "
	    "all-or-nothing in this version, remove it to allow all LUNs");
}
