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
#include "proto/msg.h"

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

/* The levels of a rule; those without bits are not enforced yet. */
static const struct {
	const char	*name;
	uint32_t	 bits;
} levels[] = {
	{ "all", MSG_ACCESS_ALL },
	{ "write", MSG_ACCESS_ALL & ~(uint32_t)MSG_ACCESS_RESET },
	{ "reset", MSG_ACCESS_RESET },
	{ "read", 0 }, { "manage", 0 }, { "task-attributes", 0 },
	{ "exclusive", 0 },
};

static void
allow_one(struct config_load *ld, const struct config_key *key,
    const struct config_value *v, uint32_t *allow)
{
	size_t i, n = sizeof(levels) / sizeof(levels[0]);

	for (i = 0; i < n && strcmp(v->text, levels[i].name) != 0; i++)
		continue;
	if (i == n || levels[i].bits == 0)
		config_fail(ld, &v->at, key->name, i == n ?
		    "'%.80s' is unknown: use all, write or reset" :
		    "'%.80s' is not available in this version: use all, write "
		    "or reset", v->text);
	else if ((*allow & levels[i].bits) != 0)
		config_fail(ld, &v->at, key->name, "'%.80s' is repeated, or "
		    "part of 'all': remove it", v->text);
	else
		*allow |= levels[i].bits;
}

void
config_set_allow(struct config_load *ld, const struct config_key *key,
    const struct config_value *v, size_t n, void *field)
{
	uint32_t *allow = field;

	for (size_t i = 0; i < n; i++)
		allow_one(ld, key, &v[i], allow);
	if (*allow == MSG_ACCESS_RESET)
		config_fail(ld, &v[0].at, key->name, "'reset' goes with "
		    "'write': use { write, reset }");
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
