/* SPDX-License-Identifier: ISC */
/*
 * What one key alone cannot say: keys that contradict each other, and the
 * initiator name, which can come from open-iscsi's file.  Knows the key
 * names and the filled structs, no syntax.
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/config_priv.h"

#define CHECK_INITIATOR_MAX	(64 * 1024)	/* bytes of the file */
#define CHECK_INITIATOR_KEY	"InitiatorName"

/* Where `name` stands. */
static const struct config_place *
check_place(const struct config_place *at, enum config_block block,
    const char *name)
{
	return &at[config_key_find(block, name) - config_keys];
}

/* Two sessions with one target and one ISID would reinstate each other for
 * ever (RFC 7143 section 6.3.5). */
static void
check_isid(struct config_load *ld, const struct config_session *s,
    const struct config_place *at)
{
	for (size_t i = 0; i < ld->cfg->session_count; i++) {
		const struct config_session *o = ld->cfg->sessions[i];

		if (s->isid_set && o->isid_set && o->target != NULL &&
		    s->target != NULL && strcmp(o->target, s->target) == 0 &&
		    memcmp(o->isid, s->isid, CONFIG_ISID_LEN) == 0)
			config_fail(ld, check_place(at, CONFIG_BLOCK_SESSION,
			    "isid"), "isid", "session '%s' has the same one "
			    "and the same target: change it", o->name);
	}
}

static void
check_burst(struct config_load *ld, const struct config_session *s,
    const struct config_place *at)
{
	const struct config_place *first, *max;
	char a[32], b[32];

	if (s->first_burst_length <= s->max_burst_length ||
	    s->max_burst_length == 0)
		return;
	first = check_place(at, CONFIG_BLOCK_SESSION, "first-burst-length");
	max = check_place(at, CONFIG_BLOCK_SESSION, "max-burst-length");
	/* Of the two, what is not given has the block's place, before any
	 * key's. */
	config_fail(ld, first->line >= max->line ? first : max,
	    first->line >= max->line ? "first-burst-length" :
	    "max-burst-length", "first-burst-length (%s) must not be more "
	    "than max-burst-length (%s): change one of them",
	    config_size_text(s->first_burst_length, a, sizeof(a)),
	    config_size_text(s->max_burst_length, b, sizeof(b)));
}

static void
check_pauses(struct config_load *ld, const struct config_session *s,
    const struct config_place *at)
{
	const struct config_place *first, *max;
	char a[32], b[32];

	if (s->reconnect_interval <= s->reconnect_max)
		return;
	first = check_place(at, CONFIG_BLOCK_SESSION, "reconnect-interval");
	max = check_place(at, CONFIG_BLOCK_SESSION, "reconnect-max");
	config_fail(ld, first->line >= max->line ? first : max,
	    first->line >= max->line ? "reconnect-interval" : "reconnect-max",
	    "reconnect-interval (%s) must not be more than reconnect-max "
	    "(%s): change one of them",
	    config_time_text(s->reconnect_interval, a, sizeof(a)),
	    config_time_text(s->reconnect_max, b, sizeof(b)));
}

void
config_check_session(struct config_load *ld, const struct config_session *s,
    const struct config_place *at)
{
	check_isid(ld, s, at);
	check_burst(ld, s, at);
	check_pauses(ld, s, at);
}

/* Take the name from one line of the fallback file, if it has one. */
static void
check_initiator_line(struct config_load *ld, const struct config_place *at,
    char *line)
{
	static const char blank[] = " \t\r";
	const char *wrong;
	size_t len;

	line += strspn(line, blank);
	if (strncmp(line, CHECK_INITIATOR_KEY, strlen(CHECK_INITIATOR_KEY)))
		return;
	line += strlen(CHECK_INITIATOR_KEY);
	line += strspn(line, blank);
	if (*line++ != '=')
		return;
	line += strspn(line, blank);
	for (len = strlen(line); len > 0 && strchr(blank, line[len - 1]); len--)
		line[len - 1] = '\0';
	wrong = config_iscsi_name_check(line);
	if (wrong != NULL)
		config_fail(ld, at, CHECK_INITIATOR_KEY, "%s: correct it, or "
		    "set initiator-name in the daemon block", wrong);
	else if (ld->cfg->initiator_name == NULL)
		ld->cfg->initiator_name = config_strdup(ld, line);
	else
		config_fail(ld, at, CHECK_INITIATOR_KEY,
		    "repeated: remove one line");
}

static void
check_initiator_lines(struct config_load *ld, char *bytes, size_t len)
{
	struct config_place at = { .file = ld->files->initiator, .line = 0 };
	char *line;

	if (memchr(bytes, '\0', len) != NULL) {
		config_fail(ld, &at, NULL, "a NUL byte: this is no text file");
		return;
	}
	while ((line = strsep(&bytes, "\n")) != NULL) {
		at.line++;
		check_initiator_line(ld, &at, line);
	}
}

static void
check_initiator(struct config_load *ld, const struct config_place *at)
{
	size_t len, errors = ld->errs->total;
	char *bytes;
	int error;

	error = config_read_bytes(ld->files->initiator, CHECK_INITIATOR_MAX,
	    &bytes, &len, NULL);
	if (error == -EACCES && ld->files->initiator_known != NULL)
		ld->cfg->initiator_name =
		    config_strdup(ld, ld->files->initiator_known);
	if (error == 0) {
		check_initiator_lines(ld, bytes, len);
		free(bytes);
	}
	if (ld->cfg->initiator_name != NULL || ld->errs->total != errors)
		return;
	config_fail(ld, at, "initiator-name", "missing, and %s does not give "
	    "it (%s): write 'initiator-name = \"iqn...\"' in the daemon block",
	    ld->files->initiator, error == 0 ? "no line InitiatorName=" :
	    error == -E2BIG ? "too large" : strerror(-error));
}

/* Without a session no name is needed yet; one may be added later. */
static void
check_initiator_optional(struct config_load *ld, const struct config_place *at)
{
	struct config_errors ignored, *errs = ld->errs;

	memset(&ignored, 0, sizeof(ignored));
	ld->errs = &ignored;
	check_initiator(ld, at);
	ld->errs = errs;
	config_errors_clear(&ignored);
}

void
config_check_daemon(struct config_load *ld, const struct config_place *at)
{
	const struct config *cfg = ld->cfg;
	const struct config_place *place;

	if (cfg->data_socket != NULL && cfg->control_socket != NULL &&
	    strcmp(cfg->data_socket, cfg->control_socket) == 0) {
		place = check_place(at, CONFIG_BLOCK_DAEMON, "control-socket");
		config_fail(ld, place, "control-socket",
		    "the same path as data-socket: change one of them");
	}
	if (cfg->initiator_name != NULL)
		return;
	place = check_place(at, CONFIG_BLOCK_DAEMON, "initiator-name");
	if (cfg->session_count > 0)
		check_initiator(ld, place);
	else
		check_initiator_optional(ld, place);
}
