/* SPDX-License-Identifier: ISC */
/*
 * From libconfuse's tree to struct config: gives libconfuse the grammar of
 * the key table, takes its values, undoes the tags of config_scan.c and calls
 * each key's setter.  Knows the blocks, but no key.
 */
#include "config.h"

#include <confuse.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/config_priv.h"

/* One kind of block for libconfuse: its keys, its inner block, an end. */
struct build_grammar {
	cfg_opt_t	 root[4];
	cfg_opt_t	 block[CONFIG_BLOCKS][CONFIG_KEYS_MAX + 2];
};

/* Where each key of a block stands, by its index in the table; the block's
 * own place where it is not given. */
struct build_places {
	struct config_place	 of[CONFIG_KEYS_MAX];
};

static void
build_grammar(struct build_grammar *g)
{
	const cfg_opt_t end = CFG_END();
	const cfg_flag_t section = CFGF_MULTI | CFGF_TITLE;
	size_t n[CONFIG_BLOCKS] = { 0 };

	for (size_t i = 0; i < config_key_count; i++) {
		const struct config_key *key = &config_keys[i];
		const cfg_opt_t one =
		    CFG_STR(key->name, NULL, CFGF_NODEFAULT);
		const cfg_opt_t many =
		    CFG_STR_LIST(key->name, NULL, CFGF_NODEFAULT);

		memcpy(&g->block[key->block][n[key->block]++],
		    key->list ? &many : &one, sizeof(one));
	}
	const cfg_opt_t inner[] = {
		CFG_SEC("access", g->block[CONFIG_BLOCK_ACCESS], section),
	};
	const cfg_opt_t root[] = {
		CFG_SEC("daemon", g->block[CONFIG_BLOCK_DAEMON], section),
		CFG_SEC("session", g->block[CONFIG_BLOCK_SESSION], section),
		CFG_SEC("raw", g->block[CONFIG_BLOCK_RAW], section),
		CFG_END(),
	};

	memcpy(&g->block[CONFIG_BLOCK_SESSION][n[CONFIG_BLOCK_SESSION]++],
	    inner, sizeof(inner));
	for (int b = CONFIG_BLOCK_DAEMON; b < CONFIG_BLOCKS; b++)
		memcpy(&g->block[b][n[b]], &end, sizeof(end));
	memcpy(g->root, root, sizeof(root));
}

/* Split a tagged value; the tag comes from scan_emit(). */
static struct config_value
build_untag(const struct config_load *ld, const char *tagged)
{
	struct config_value v = { .is_default = false };
	unsigned long i;
	char *end;

	i = strtoul(tagged, &end, 10);
	v.text = *end == ':' ? end + 1 : end;
	v.at = ld->places[i < ld->place_count ? i : 0];
	return v;
}

/* Set the field of one key in `base`, the struct of its block at `at`. */
static void
build_key(struct config_load *ld, cfg_t *sec, const struct config_key *key,
    struct config_place *at, void *base)
{
	struct config_value v[CONFIG_LIST_MAX];
	size_t n = sec != NULL ? cfg_size(sec, key->name) : 0;

	if (n == 0 && key->required)
		config_fail(ld, at, key->name,
		    "missing in this '%s' block: write '%s = ...'",
		    config_block_name(key->block), key->name);
	if (n == 0 && key->def == NULL)
		return;
	if (n == 0) {
		v[0] = (struct config_value){ .text = key->def, .at = *at,
		    .is_default = true };
		n = 1;
	} else {
		n = n < CONFIG_LIST_MAX ? n : CONFIG_LIST_MAX;
		for (size_t i = 0; i < n; i++)
			v[i] = build_untag(ld,
			    cfg_getnstr(sec, key->name, (unsigned)i));
		*at = v[0].at;
	}
	key->set(ld, key, v, n, (char *)base + key->offset);
}

/* Set all fields of a block; `sec` is NULL where only defaults are wanted. */
static void
build_block(struct config_load *ld, cfg_t *sec, enum config_block block,
    const struct config_place *at, void *base, struct build_places *places)
{
	for (size_t i = 0; i < config_key_count; i++) {
		places->of[i] = *at;
		if (config_keys[i].block == block)
			build_key(ld, sec, &config_keys[i], &places->of[i],
			    base);
	}
}

/* Set all fields of a rule, `base`, which names users and groups. */
static void
build_rule(struct config_load *ld, cfg_t *sec, enum config_block block,
    void *base)
{
	struct build_places places;
	struct config_value title = build_untag(ld, cfg_title(sec));

	build_block(ld, sec, block, &title.at, base, &places);
	if (cfg_size(sec, "users") == 0 && cfg_size(sec, "groups") == 0)
		config_fail(ld, &title.at, config_block_name(block),
		    "names nobody: add 'users' or 'groups'");
}

static void
build_session(struct config_load *ld, cfg_t *sec, struct config_session *s)
{
	struct build_places places;
	struct config_value title = build_untag(ld, cfg_title(sec));
	size_t n = cfg_size(sec, "access");

	s->name = config_strdup(ld, title.text);
	build_block(ld, sec, CONFIG_BLOCK_SESSION, &title.at, s, &places);
	config_check_session(ld, s, places.of);
	config_check_chap(ld, s, places.of);
	s->access = calloc(n + 1, sizeof(*s->access));
	if (s->access == NULL) {
		config_fail_memory(ld);
		return;
	}
	for (; s->access_count < n; s->access_count++)
		build_rule(ld, cfg_getnsec(sec, "access",
		    (unsigned)s->access_count), CONFIG_BLOCK_ACCESS,
		    &s->access[s->access_count]);
}

static void
build_raw(struct config_load *ld, cfg_t *cfg)
{
	size_t n = cfg_size(cfg, "raw");

	ld->cfg->raw = calloc(n + 1, sizeof(*ld->cfg->raw));
	if (ld->cfg->raw == NULL) {
		config_fail_memory(ld);
		return;
	}
	for (; ld->cfg->raw_count < n; ld->cfg->raw_count++)
		build_rule(ld, cfg_getnsec(cfg, "raw",
		    (unsigned)ld->cfg->raw_count), CONFIG_BLOCK_RAW,
		    &ld->cfg->raw[ld->cfg->raw_count]);
}

static void
build_tree(struct config_load *ld, cfg_t *cfg)
{
	struct config_place whole = { .file = ld->files->main, .line = 0 };
	struct build_places places;
	cfg_t *sec = cfg_getnsec(cfg, "daemon", 0);
	size_t n = cfg_size(cfg, "session");

	build_block(ld, sec, CONFIG_BLOCK_DAEMON,
	    sec != NULL ? &ld->daemon_at : &whole, ld->cfg, &places);
	ld->cfg->sessions = calloc(n + 1, sizeof(*ld->cfg->sessions));
	if (ld->cfg->sessions == NULL) {
		config_fail_memory(ld);
		return;
	}
	for (; ld->cfg->session_count < n; ld->cfg->session_count++)
		build_session(ld, cfg_getnsec(cfg, "session",
		    (unsigned)ld->cfg->session_count),
		    &ld->cfg->sessions[ld->cfg->session_count]);
	build_raw(ld, cfg);
	config_check_daemon(ld, places.of);
}

/* libconfuse has no argument for this callback.  What goes wrong in text that
 * config_scan.c wrote is told by the return value. */
static void
build_error(cfg_t *cfg, const char *fmt, va_list ap)
{
	(void)cfg;
	(void)fmt;
	(void)ap;
}

void
config_build(struct config_load *ld, const char *text)
{
	const struct config_place whole = { .file = ld->files->main };
	struct build_grammar *g;
	cfg_t *cfg = NULL;

	g = calloc(1, sizeof(*g));
	if (g != NULL) {
		build_grammar(g);
		cfg = cfg_init(g->root, CFGF_NONE);
	}
	if (cfg == NULL) {
		config_fail_memory(ld);
	} else {
		cfg_set_error_function(cfg, build_error);
		if (cfg_parse_buf(cfg, text) == CFG_SUCCESS)
			build_tree(ld, cfg);
		else
			config_fail(ld, &whole, NULL, "libconfuse refuses the "
			    "configuration: report this as a bug");
		cfg_free(cfg);
	}
	free(g);
}
