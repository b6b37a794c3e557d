/* SPDX-License-Identifier: ISC */
/*
 * Do two blocks say the same?  Asked key by key, so that "256K" equals
 * "262144" and a key that is left out its default.  Knows what each setter
 * fills, but no key.
 */
#include "config.h"

#include <string.h>

#include "daemon/config_priv.h"

typedef bool compare_equal(const void *a, const void *b);

static bool
equal_bool(const void *a, const void *b)
{
	return *(const bool *)a == *(const bool *)b;
}

static bool
equal_u32(const void *a, const void *b)
{
	return *(const uint32_t *)a == *(const uint32_t *)b;
}

static bool
equal_u64(const void *a, const void *b)
{
	return *(const uint64_t *)a == *(const uint64_t *)b;
}

static bool
equal_level(const void *a, const void *b)
{
	return *(const enum log_level *)a == *(const enum log_level *)b;
}

static bool
equal_strings(const char *a, const char *b)
{
	return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

static bool
equal_text(const void *a, const void *b)
{
	return equal_strings(*(char *const *)a, *(char *const *)b);
}

static bool
equal_digests(const void *a, const void *b)
{
	const struct config_digests *x = a, *y = b;

	return x->count == y->count &&
	    memcmp(x->list, y->list, x->count * sizeof(x->list[0])) == 0;
}

static bool
equal_portal(const struct config_portal *a, const struct config_portal *b)
{
	return a->port == b->port && equal_strings(a->host, b->host);
}

/* All portals of a session, in their order. */
static bool
equal_session_portals(const void *a, const void *b)
{
	const struct config_session *x = a, *y = b;

	if (x->more_count != y->more_count ||
	    !equal_portal(&x->portal, &y->portal))
		return false;
	for (size_t i = 0; i < x->more_count; i++) {
		if (!equal_portal(&x->more_portals[i], &y->more_portals[i]))
			return false;
	}
	return true;
}

static bool
equal_isid(const void *a, const void *b)
{
	const struct config_session *x = a, *y = b;

	return x->isid_set == y->isid_set && (!x->isid_set ||
	    memcmp(x->isid, y->isid, sizeof(x->isid)) == 0);
}

static bool
equal_ids(const void *a, const void *b)
{
	const struct config_ids *x = a, *y = b;

	return x->count == y->count && (x->count == 0 ||
	    memcmp(x->list, y->list, x->count * sizeof(x->list[0])) == 0);
}

static bool
equal_portals(const void *a, const void *b)
{
	const struct config_raw *x = a, *y = b;

	if (x->portal_count != y->portal_count)
		return false;
	for (size_t i = 0; i < x->portal_count; i++) {
		const struct config_portal_rule *p = &x->portals[i];
		const struct config_portal_rule *q = &y->portals[i];

		if (p->ipv6 != q->ipv6 || p->prefix != q->prefix ||
		    p->port != q->port ||
		    memcmp(p->address, q->address, sizeof(p->address)) != 0)
			return false;
	}
	return true;
}

static bool
equal_user(const void *a, const void *b)
{
	const struct config *x = a, *y = b;

	return equal_strings(x->user, y->user) && x->uid == y->uid &&
	    x->gid == y->gid;
}

static bool
equal_group(const void *a, const void *b)
{
	const struct config *x = a, *y = b;

	return equal_strings(x->data_socket_group, y->data_socket_group) &&
	    x->data_socket_gid == y->data_socket_gid;
}

static bool
equal_tpgt(const void *a, const void *b)
{
	const struct config_session *x = a, *y = b;

	return x->tpgt_set == y->tpgt_set &&
	    (!x->tpgt_set || x->tpgt == y->tpgt);
}

static bool
equal_algorithms(const void *a, const void *b)
{
	const struct config_chap_rules *x = a, *y = b;

	return x->listed == y->listed && x->count == y->count &&
	    memcmp(x->list, y->list, x->count * sizeof(x->list[0])) == 0;
}

/* It fills nothing. */
static bool
equal_always(const void *a, const void *b)
{
	(void)a;
	(void)b;
	return true;
}

static const struct {
	config_set	*set;
	compare_equal	*equal;
} compare_setters[] = {
	{ config_set_bool, equal_bool },
	{ config_set_count, equal_u32 },
	{ config_set_size, equal_u64 },
	{ config_set_size32, equal_u32 },
	{ config_set_time, equal_u32 },
	{ config_set_seconds, equal_u32 },
	{ config_set_mode, equal_u32 },
	{ config_set_level, equal_level },
	{ config_set_order, equal_bool },
	{ config_set_startup, equal_bool },
	{ config_set_async_logout, equal_bool },
	{ config_set_digests, equal_digests },
	{ config_set_socket, equal_text },
	{ config_set_name, equal_text },
	{ config_set_alias, equal_text },
	{ config_set_portal, equal_session_portals },
	{ config_set_portals, equal_portals },
	{ config_set_isid, equal_isid },
	{ config_set_tpgt, equal_tpgt },
	{ config_set_chap_name, equal_text },
	{ config_set_secret_file, equal_text },
	{ config_set_algorithms, equal_algorithms },
	{ config_set_user, equal_user },
	{ config_set_group, equal_group },
	{ config_set_users, equal_ids },
	{ config_set_groups, equal_ids },
	{ config_set_allow, equal_u32 },
	{ config_set_luns, equal_always },
};

bool
config_key_equal(const struct config_key *key, const void *a, const void *b)
{
	const size_t n = sizeof(compare_setters) / sizeof(compare_setters[0]);

	for (size_t i = 0; i < n; i++) {
		if (compare_setters[i].set == key->set)
			return compare_setters[i].equal(
			    (const char *)a + key->offset,
			    (const char *)b + key->offset);
	}
	/* To take equal for different costs a login, the reverse the truth. */
	return false;
}

/* True if all keys of a block are equal. */
static bool
equal_block(enum config_block block, const void *a, const void *b)
{
	for (size_t i = 0; i < config_key_count; i++) {
		if (config_keys[i].block == block &&
		    !config_key_equal(&config_keys[i], a, b))
			return false;
	}
	return true;
}

static bool
equal_access(const struct config_session *a, const struct config_session *b)
{
	if (a->access_count != b->access_count)
		return false;
	for (size_t i = 0; i < a->access_count; i++) {
		if (!equal_block(CONFIG_BLOCK_ACCESS, &a->access[i],
		    &b->access[i]))
			return false;
	}
	return true;
}

/* The files may have the same names and other contents. */
static bool
equal_secrets(const struct config_chap *a, const struct config_chap *b)
{
	return secret_equal(&a->secret, &b->secret) &&
	    secret_equal(&a->peer_secret, &b->peer_secret);
}

enum config_difference
config_session_compare(const struct config_session *a,
    const struct config_session *b)
{
	if (strcmp(a->name, b->name) != 0 ||
	    !equal_block(CONFIG_BLOCK_SESSION, a, b) ||
	    !equal_secrets(&a->chap, &b->chap) ||
	    !equal_secrets(&a->discovery_chap, &b->discovery_chap))
		return CONFIG_DIFFERENT;
	return equal_access(a, b) ? CONFIG_EQUAL : CONFIG_ACCESS_DIFFERS;
}

static bool
equal_raw(const struct config *a, const struct config *b)
{
	if (a->raw_count != b->raw_count)
		return false;
	for (size_t i = 0; i < a->raw_count; i++) {
		if (!equal_block(CONFIG_BLOCK_RAW, &a->raw[i], &b->raw[i]))
			return false;
	}
	return true;
}

void
config_daemon_compare(const struct config *a, const struct config *b,
    void (*fn)(void *ctx, const char *key, bool restart), void *ctx)
{
	for (size_t i = 0; i < config_key_count; i++) {
		if (config_keys[i].block == CONFIG_BLOCK_DAEMON &&
		    !config_key_equal(&config_keys[i], a, b))
			fn(ctx, config_keys[i].name, config_keys[i].restart);
	}
	if (!equal_raw(a, b))
		fn(ctx, "raw", false);
}

static void
keep_text(char **a, char **b)
{
	char *text = *a;

	*a = *b;
	*b = text;
}

void
config_keep(struct config *config, struct config *running)
{
	keep_text(&config->user, &running->user);
	config->uid = running->uid;
	config->gid = running->gid;
	keep_text(&config->data_socket, &running->data_socket);
	config->data_socket_mode = running->data_socket_mode;
	keep_text(&config->data_socket_group, &running->data_socket_group);
	config->data_socket_gid = running->data_socket_gid;
	keep_text(&config->control_socket, &running->control_socket);
	/* The first one may come at any time. */
	if (running->initiator_name != NULL)
		keep_text(&config->initiator_name, &running->initiator_name);
}
