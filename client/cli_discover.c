/* SPDX-License-Identifier: ISC */
/*
 * discover: asks a portal for its targets, over the control socket, and adds
 * sessions for them if that is wanted.  How a session is called is decided
 * here; whether it may be is the daemon's business.
 */
#include "config.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/cli.h"
#include "client/json_of.h"
#include "client/rpcclient.h"
#include "client/table.h"

#define DEFAULT_CONTROL	ISCSIMUX_RUNDIR "/control.sock"
#define GRACE		2000u	/* ms that an answer may take besides */
#define NAMES_MAX	100u	/* NAME, NAME-2 and so on */
/* The daemon's codes. */
#define CODE_PARAMS	(-32602)
#define CODE_EXISTS	(-32003)

static const char *
control_path(const struct cli *c)
{
	const char *path = getenv("ISCSIMUX_CONTROL");

	if (c->opt.socket_given)
		return c->opt.socket;
	return path != NULL && *path != '\0' ? path : DEFAULT_CONTROL;
}

static enum cli_status
status_of(enum rpcclient_end end, const json_t *error)
{
	if (end == RPCCLIENT_FORBIDDEN || end == RPCCLIENT_UNREACHABLE)
		return CLI_UNREACHABLE;
	return json_integer_value(json_object_get(error, "code")) ==
	    CODE_PARAMS ? CLI_USAGE : CLI_FAILED;
}

/* --- sessions for them --- */

/*
 * The name of a session for a target: what is behind the last colon of its
 * name, or all of it, with '-' for each character that no session's name has.
 */
static void
make_name(const char *target, unsigned number, char *name)
{
	const char *colon = strrchr(target, ':');
	const char *from = colon != NULL && colon[1] != '\0' ? colon + 1 :
	    target;
	char suffix[12] = "";
	size_t room = ISCSIMUX_NAME_MAX, i;

	if (number > 1)
		snprintf(suffix, sizeof(suffix), "-%u", number);
	room -= strlen(suffix);
	for (i = 0; i < room && from[i] != '\0'; i++)
		name[i] = strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmn"
		    "opqrstuvwxyz0123456789._-", from[i]) != NULL ? from[i] :
		    '-';
	memcpy(name + i, suffix, strlen(suffix) + 1);
}

/* True if the daemon says that this is taken: a name, or the target. */
static bool
is_taken(const json_t *error, const char *what)
{
	return json_integer_value(json_object_get(error, "code")) ==
	    CODE_EXISTS && strcmp(text_of(json_object_get(error, "data"),
	    "field"), what) == 0;
}

/* Write into the record what became of its target. */
static void
note(json_t *record, const char *session, const char *result,
    const char *message)
{
	if (session != NULL)
		json_object_set_new(record, "session", json_string(session));
	json_object_set_new(record, "result", json_string(result));
	if (message != NULL)
		json_object_set_new(record, "message", json_string(message));
}

/* Add a session under the first name that is free. */
static enum cli_status
add_session(struct cli *c, json_t *record)
{
	char name[ISCSIMUX_NAME_MAX + 1];
	enum cli_status status = CLI_FAILED;
	struct rpcclient_answer answer;
	enum rpcclient_end end;
	bool taken = true;
	json_t *params;

	for (unsigned i = 1; taken && i <= NAMES_MAX; i++) {
		make_name(text_of(record, "target"), i, name);
		params = json_pack("{s:s, s:{s:s, s:s}}", "session", name,
		    "config", "portal", text_of(record, "portal"), "target",
		    text_of(record, "target"));
		end = rpcclient_call(control_path(c), c->opt.timeout,
		    "session.add", params, -1, &answer);
		json_decref(params);
		taken = end == RPCCLIENT_REFUSED && is_taken(answer.error,
		    "session");
		if (end == RPCCLIENT_OK) {
			status = CLI_OK;
			note(record, name, json_is_true(json_object_get(
			    answer.result, "created")) ? "added" :
			    "there already", NULL);
		} else if (is_taken(answer.error, "target")) {
			status = CLI_OK;
			note(record, NULL, "there already", answer.message);
		} else if (!taken || i == NAMES_MAX) {
			status = end == RPCCLIENT_REFUSED ? CLI_FAILED :
			    status_of(end, NULL);
			note(record, NULL, "failed", answer.message);
		}
		rpcclient_clear(&answer);
	}
	return status;
}

/* True if an earlier record is of the same target. */
static bool
is_repeated(const json_t *list, size_t at)
{
	const char *target = text_of(json_array_get(list, at), "target");

	for (size_t i = 0; i < at; i++) {
		if (strcmp(text_of(json_array_get(list, i), "target"),
		    target) == 0)
			return true;
	}
	return false;
}

/* One session for each target, at the first of its portals. */
static enum cli_status
add_sessions(struct cli *c, json_t *list)
{
	enum cli_status worst = CLI_OK, status;

	for (size_t i = 0; i < json_array_size(list); i++) {
		if (is_repeated(list, i))
			continue;
		status = add_session(c, json_array_get(list, i));
		if (status != CLI_OK)
			worst = status;
	}
	return worst;
}

/* --- what is printed --- */

static enum cli_status
print(struct cli *c, const json_t *list)
{
	static const struct table_column columns[] = { { "TARGET", false },
		{ "PORTAL", false }, { "GROUP", true }, { "SESSION", false },
		{ "RESULT", false } };
	struct table *t = table_new(columns, c->opt.login ? 5 : 3);

	for (size_t i = 0; t != NULL && i < json_array_size(list); i++) {
		const json_t *r = json_array_get(list, i);
		const json_t *group = json_object_get(r, "portal_group");
		const char *session = text_of(r, "session");
		const char *result = text_of(r, "result");

		table_text(t, TABLE_PLAIN, text_of(r, "target"));
		table_text(t, TABLE_PLAIN, text_of(r, "portal"));
		if (json_is_integer(group))
			table_printf(t, TABLE_PLAIN, "%" JSON_INTEGER_FORMAT,
			    json_integer_value(group));
		else
			table_text(t, TABLE_PLAIN, "-");
		if (!c->opt.login)
			continue;
		table_text(t, TABLE_PLAIN, *session != '\0' ? session : "-");
		table_text(t, strcmp(result, "failed") == 0 ? TABLE_BAD :
		    TABLE_PLAIN, *result != '\0' ? result : "-");
		if (*text_of(r, "message") != '\0')
			table_note(t, "%s", text_of(r, "message"));
	}
	return cli_table(c, t);
}

static enum cli_status
report(struct cli *c, const json_t *result)
{
	json_t *list = json_object_get(result, "targets");
	enum cli_status status = CLI_OK, printed = CLI_OK;

	if (c->opt.login)
		status = add_sessions(c, list);
	if (c->report != NULL)
		json_object_update(c->report, (json_t *)(uintptr_t)result);
	else if (json_array_size(list) > 0)
		printed = print(c, list);
	else
		cli_note("there is no target at %s for this initiator",
		    text_of(result, "portal"));
	return status != CLI_OK ? status : printed;
}

/* Nothing here listens for signals while it waits for the daemon. */
static void
let_signals_kill(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_UNBLOCK, &set, NULL);
}

enum cli_status
cli_discover(struct cli *c)
{
	struct rpcclient_answer answer;
	enum cli_status status;
	enum rpcclient_end end;
	json_t *params;

	let_signals_kill();
	params = json_pack("{s:s, s:I}", "portal", c->opt.portal,
	    "timeout_ms", (json_int_t)c->opt.timeout);
	if (c->opt.credentials != NULL)
		json_object_set_new(params, "session",
		    json_string(c->opt.credentials));
	end = rpcclient_call(control_path(c), c->opt.timeout + GRACE,
	    "session.discover", params, -1, &answer);
	json_decref(params);
	if (end == RPCCLIENT_OK)
		status = report(c, answer.result);
	else
		status = cli_fail(c, status_of(end, answer.error), "%s",
		    answer.message);
	rpcclient_clear(&answer);
	return status;
}
