/* SPDX-License-Identifier: ISC */
/*
 * Loading a configuration: the order of the passes, the list of errors and
 * the life of struct config.  Knows no key; config_priv.h names the passes.
 */
#include "config.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/config_priv.h"

#define CONFIG_MAIN		ISCSIMUX_CONFDIR "/iscsimuxd.conf"
#define CONFIG_INITIATOR	"/etc/iscsi/initiatorname.iscsi"

/* Keep `text`, which is taken over, if there is room. */
static void
config_errors_add(struct config_errors *errs, const char *key, char *text)
{
	if (errs->total++ == 0)
		strlcpy(errs->key, key != NULL ? key : "", sizeof(errs->key));
	if (errs->count < CONFIG_ERRORS_MAX && text != NULL)
		errs->text[errs->count++] = text;
	else
		free(text);
}

void
config_fail(struct config_load *ld, const struct config_place *at,
    const char *key, const char *fmt, ...)
{
	char *what, *text = NULL, line[16] = "";
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&what, fmt, ap) == -1)
		what = NULL;
	va_end(ap);
	if (at->line != 0)
		snprintf(line, sizeof(line), ":%u", at->line);
	if (what == NULL || asprintf(&text, "%s%s%s%s%s%s",
	    at->file == NULL ? "" : at->file, line,
	    at->file == NULL ? "" : ": ", key == NULL ? "" : key,
	    key == NULL ? "" : ": ", what) == -1)
		text = NULL;
	free(what);
	config_errors_add(ld->errs, key, text);
	if (text == NULL)
		config_fail_memory(ld);
}

void
config_fail_memory(struct config_load *ld)
{
	if (!ld->no_memory)
		config_errors_add(ld->errs, NULL, strdup("out of memory"));
	ld->no_memory = true;
}

char *
config_strdup(struct config_load *ld, const char *text)
{
	char *copy = strdup(text);

	if (copy == NULL)
		config_fail_memory(ld);
	return copy;
}

void
config_errors_clear(struct config_errors *errs)
{
	for (size_t i = 0; i < errs->count; i++)
		free(errs->text[i]);
	memset(errs, 0, sizeof(*errs));
}

/* Read all files and let ld->cfg be built from what they say. */
static void
config_load_run(struct config_load *ld, const struct config_files *files)
{
	char *text = NULL;
	size_t len = 0;
	bool failed;

	ld->out = open_memstream(&text, &len);
	if (ld->out == NULL) {
		config_fail_memory(ld);
		return;
	}
	config_read_file(ld, files->main, NULL, files->main_optional, 0);
	config_read_dropins(ld, files->main);
	failed = ferror(ld->out) != 0;
	if (fclose(ld->out) != 0 || failed)
		config_fail_memory(ld);
	ld->out = NULL;
	if (!ld->no_memory)
		config_build(ld, text);
	free(text);
}

static void
config_load_free(struct config_load *ld)
{
	struct config_source *s;
	struct config_title *t;

	while ((s = ld->sources) != NULL) {
		ld->sources = s->next;
		free(s->path);
		free(s);
	}
	while ((t = ld->titles) != NULL) {
		ld->titles = t->next;
		free(t->name);
		free(t);
	}
	free(ld->places);
}

int
config_load_files(const struct config_files *files, struct config **out,
    struct config_errors *errs)
{
	struct config_load ld = { .errs = errs, .files = files };
	size_t before = errs->total;

	ld.cfg = calloc(1, sizeof(*ld.cfg));
	if (ld.cfg == NULL)
		config_fail_memory(&ld);
	else
		config_load_run(&ld, files);
	config_load_free(&ld);
	if (errs->total != before) {
		config_free(ld.cfg);
		return ld.no_memory ? -ENOMEM : -EINVAL;
	}
	*out = ld.cfg;
	return 0;
}

int
config_load(const char *path, struct config **out, struct config_errors *errs)
{
	const struct config_files files = {
		.main = path != NULL ? path : CONFIG_MAIN,
		.main_optional = path == NULL,
		.initiator = CONFIG_INITIATOR,
	};

	return config_load_files(&files, out, errs);
}

int
config_load_again(const char *path, bool optional,
    const struct config *running, struct config **out,
    struct config_errors *errs)
{
	const struct config_files files = {
		.main = path,
		.main_optional = optional,
		.initiator = CONFIG_INITIATOR,
		.initiator_known = running->initiator_name,
	};

	return config_load_files(&files, out, errs);
}

struct config_session *
config_session_ref(struct config_session *s)
{
	s->refs++;
	return s;
}

void
config_session_unref(struct config_session *s)
{
	if (s == NULL || s->refs-- > 0)
		return;
	for (size_t i = 0; i < s->access_count; i++) {
		free(s->access[i].users.list);
		free(s->access[i].groups.list);
	}
	free(s->access);
	free(s->name);
	free(s->portal.text);
	free(s->portal.host);
	for (size_t i = 0; i < s->more_count; i++) {
		free(s->more_portals[i].text);
		free(s->more_portals[i].host);
	}
	free(s->more_portals);
	free(s->target);
	config_chap_free(&s->chap);
	config_chap_free(&s->discovery_chap);
	free(s);
}

void
config_free(struct config *cfg)
{
	if (cfg == NULL)
		return;
	for (size_t i = 0; i < cfg->session_count; i++)
		config_session_unref(cfg->sessions[i]);
	free(cfg->sessions);
	for (size_t i = 0; i < cfg->raw_count; i++) {
		free(cfg->raw[i].users.list);
		free(cfg->raw[i].groups.list);
		free(cfg->raw[i].portals);
	}
	free(cfg->raw);
	free(cfg->user);
	free(cfg->data_socket);
	free(cfg->data_socket_group);
	free(cfg->control_socket);
	free(cfg->initiator_name);
	free(cfg->initiator_alias);
	free(cfg);
}

const struct config_session *
config_session_find(const struct config *cfg, const char *name)
{
	for (size_t i = 0; i < cfg->session_count; i++)
		if (strcmp(cfg->sessions[i]->name, name) == 0)
			return cfg->sessions[i];
	return NULL;
}

const struct config_portal *
config_session_portal(const struct config_session *s, size_t i)
{
	if (i == 0)
		return &s->portal;
	return i <= s->more_count ? &s->more_portals[i - 1] : NULL;
}
