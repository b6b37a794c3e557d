/* SPDX-License-Identifier: ISC */
/*
 * Results of the control socket as tables.  It calls table.c and jansson and
 * asks no daemon.
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/ctl_print.h"
#include "client/ctl_text.h"
#include "client/json_of.h"
#include "client/table.h"

#define COUNT(array)	(sizeof(array) / sizeof((array)[0]))

static int
print_table(struct table *t, bool colours)
{
	int rc;

	if (t == NULL)
		return -1;
	rc = table_print(t, stdout, colours);
	table_free(t);
	return rc;
}

/* A table of names and values without headings. */
static struct table *
pairs_new(void)
{
	static const struct table_column columns[2];

	return table_new(columns, COUNT(columns));
}

static void
pair(struct table *t, const char *name, const char *value)
{
	if (t == NULL)
		return;
	table_text(t, TABLE_PLAIN, name);
	table_text(t, TABLE_PLAIN, value);
}

static void
pair_num(struct table *t, const char *name, json_int_t value)
{
	char buf[CTL_TEXT_MAX];

	snprintf(buf, sizeof(buf), "%" JSON_INTEGER_FORMAT, value);
	pair(t, name, buf);
}

/* Add all members of an object, nested ones indented below their name. */
static void
add_members(struct table *t, json_t *object, const char *indent)
{
	const char *key;
	json_t *value;

	json_object_foreach(object, key, value) {
		char words[64], name[96], deeper[32], buf[64];

		ctl_key(key, words, sizeof(words));
		snprintf(name, sizeof(name), "%s%s", indent, words);
		if (json_is_object(value)) {
			pair(t, name, "");
			snprintf(deeper, sizeof(deeper), "%s  ", indent);
			add_members(t, value, deeper);
		} else {
			pair(t, name, ctl_value(key, value, buf,
			    sizeof(buf)));
		}
	}
}

int
ctl_print_info(const json_t *result, bool colours)
{
	struct table *t = pairs_new();
	char buf[CTL_TEXT_MAX];

	pair(t, "version", text_of(result, "version"));
	pair_num(t, "pid", num_of(result, "pid"));
	pair_num(t, "user id", num_of(result, "uid"));
	pair(t, "running for", ctl_duration(num_of(result, "uptime_ms"), buf,
	    sizeof(buf)));
	if (true_of(result, "draining"))
		pair(t, "draining", "yes");
	if (true_of(result, "stopping"))
		pair(t, "stopping", "yes");
	pair(t, "configuration", text_of(result, "config_file"));
	pair(t, "data socket", text_of(result, "data_socket"));
	pair(t, "control socket", text_of(result, "control_socket"));
	pair(t, "log level", text_of(result, "log_level"));
	pair_num(t, "sessions", num_of(result, "sessions"));
	pair_num(t, "clients", num_of(result, "clients"));
	pair(t, "limits", "");
	if (t != NULL)
		add_members(t, json_object_get(result, "limits"), "  ");
	return print_table(t, colours);
}

int
ctl_print_stop(const json_t *result, bool colours)
{
	(void)result;
	(void)colours;
	return puts("iscsimuxd is stopping") == EOF ? -1 : 0;
}

int
ctl_print_drain(const json_t *result, bool colours)
{
	(void)result;
	(void)colours;
	return puts("iscsimuxd is draining") == EOF ? -1 : 0;
}

int
ctl_print_managed(const json_t *result, bool colours)
{
	(void)colours;
	return printf("session %s: %s\n", text_of(result, "session"),
	    text_of(result, "state")) < 0 ? -1 : 0;
}

/* One line for each list that is not empty. */
int
ctl_print_reload(const json_t *result, bool colours)
{
	const char *key;
	json_t *list, *name;
	size_t i;
	int rc = printf("the configuration was read again\n");

	(void)colours;
	json_object_foreach((json_t *)(uintptr_t)result, key, list) {
		if (json_array_size(list) == 0)
			continue;
		rc |= printf("%s:", key);
		json_array_foreach(list, i, name)
			rc |= printf(" %s", json_string_value(name));
		rc |= printf("\n");
	}
	return rc < 0 ? -1 : 0;
}

int
ctl_print_log(const json_t *result, bool colours)
{
	(void)colours;
	return printf("log level %s, was %s\n", text_of(result, "level"),
	    text_of(result, "previous")) < 0 ? -1 : 0;
}

int
ctl_print_json(const json_t *result, bool colours)
{
	(void)colours;
	if (json_dumpf(result, stdout, JSON_INDENT(2) | JSON_ENSURE_ASCII |
	    JSON_ENCODE_ANY) == -1)
		return -1;
	return putchar('\n') == EOF ? -1 : 0;
}

static enum table_style
state_style(const json_t *session)
{
	if (true_of(session, "up"))
		return TABLE_GOOD;
	return *text_of(session, "last_error") != '\0' ? TABLE_BAD :
	    TABLE_BUSY;
}

/* Below a session that is not up: why, and when it is tried again. */
static void
note_trouble(struct table *t, const json_t *session)
{
	const char *error = text_of(session, "last_error");
	json_int_t next = num_of(session, "next_try_ms");
	char buf[CTL_TEXT_MAX];

	if (true_of(session, "up") || (*error == '\0' && next == 0))
		return;
	if (true_of(session, "given_up"))
		table_note(t, "%s; tries again only when told to", error);
	else if (next == 0)
		table_note(t, "%s", error);
	else
		table_note(t, "%s%snext try in %s", error,
		    *error != '\0' ? "; " : "",
		    ctl_duration(next, buf, sizeof(buf)));
}

int
ctl_print_sessions(const json_t *result, bool colours)
{
	static const struct table_column columns[] = { { "SESSION", false },
		{ "STATE", false }, { "FOR", true }, { "CLIENTS", true },
		{ "TASKS", true }, { "ORPHANS", true }, { "PORTAL", false },
		{ "TARGET", false } };
	const json_t *list = json_object_get(result, "sessions");
	struct table *t = table_new(columns, COUNT(columns));
	char buf[CTL_TEXT_MAX];

	if (json_array_size(list) == 0) {
		table_free(t);
		return puts("no sessions are configured") == EOF ? -1 : 0;
	}
	for (size_t i = 0; t != NULL && i < json_array_size(list); i++) {
		const json_t *s = json_array_get(list, i);

		table_text(t, TABLE_PLAIN, text_of(s, "name"));
		table_text(t, state_style(s), text_of(s, "state"));
		table_text(t, TABLE_PLAIN, true_of(s, "up") ?
		    ctl_duration(num_of(s, "up_ms"), buf, sizeof(buf)) : "-");
		table_printf(t, TABLE_PLAIN, "%" JSON_INTEGER_FORMAT,
		    num_of(s, "clients"));
		table_printf(t, TABLE_PLAIN, "%" JSON_INTEGER_FORMAT,
		    num_of(s, "tasks"));
		table_printf(t, TABLE_PLAIN, "%" JSON_INTEGER_FORMAT,
		    num_of(s, "orphans"));
		table_text(t, TABLE_PLAIN, text_of(s, "portal"));
		table_text(t, TABLE_PLAIN, text_of(s, "target"));
		note_trouble(t, s);
	}
	return print_table(t, colours);
}

static void
pair_time(struct table *t, const char *name, json_int_t ms)
{
	char buf[CTL_TEXT_MAX];

	pair(t, name, ms == 0 ? "-" : ctl_duration(ms, buf, sizeof(buf)));
}

/* Each hop of a redirection in a line of its own, from the portal on. */
static void
pair_hops(struct table *t, const json_t *chain)
{
	for (size_t i = 0; i < json_array_size(chain); i++) {
		const json_t *hop = json_array_get(chain, i);

		table_text(t, TABLE_PLAIN, i == 0 ? "redirected to" :
		    "and from there to");
		table_printf(t, TABLE_PLAIN, "%s (%s)", text_of(hop,
		    "address"), true_of(hop, "permanent") ? "permanent" :
		    "temporary");
	}
}

int
ctl_print_session(const json_t *result, bool colours)
{
	json_t *negotiated = json_object_get(result, "negotiated");
	struct table *t;

	if (json_object_get(result, "headers") != NULL)
		return ctl_print_headers(result, colours);
	t = pairs_new();
	if (t == NULL)
		return -1;
	pair(t, "session", text_of(result, "name"));
	table_text(t, TABLE_PLAIN, "state");
	table_text(t, state_style(result), text_of(result, "state"));
	if (true_of(result, "up"))
		pair_time(t, "up for", num_of(result, "up_ms"));
	else if (true_of(result, "given_up"))
		pair(t, "next try in", "- (only when told to)");
	else
		pair_time(t, "next try in", num_of(result, "next_try_ms"));
	pair_num(t, "failed attempts", num_of(result, "attempts"));
	pair(t, "last error", *text_of(result, "last_error") != '\0' ?
	    text_of(result, "last_error") : "-");
	pair(t, "target", text_of(result, "target"));
	pair(t, "portal", text_of(result, "portal"));
	pair_hops(t, json_object_get(result, "redirect_chain"));
	if (*text_of(result, "peer") != '\0') {
		pair(t, "target address", text_of(result, "peer"));
		pair(t, "local address", text_of(result, "local"));
	}
	pair(t, "isid", text_of(result, "isid"));
	pair_num(t, "tsih", num_of(result, "tsih"));
	pair_num(t, "clients", num_of(result, "clients"));
	pair_num(t, "tasks", num_of(result, "tasks"));
	pair_num(t, "orphans", num_of(result, "orphans"));
	pair_num(t, "command window", num_of(result, "window"));
	pair(t, "negotiated", json_is_object(negotiated) ? "" :
	    "not logged in yet");
	if (json_is_object(negotiated))
		add_members(t, negotiated, "  ");
	return print_table(t, colours);
}

int
ctl_print_targets(const json_t *result, bool colours)
{
	static const struct table_column columns[] = { { "TARGET", false },
		{ "PORTAL", false }, { "GROUP", true } };
	const json_t *list = json_object_get(result, "targets");
	struct table *t = table_new(columns, COUNT(columns));

	if (json_array_size(list) == 0) {
		table_free(t);
		return printf("there is no target at %s\n",
		    text_of(result, "portal")) < 0 ? -1 : 0;
	}
	for (size_t i = 0; t != NULL && i < json_array_size(list); i++) {
		const json_t *r = json_array_get(list, i);

		table_text(t, TABLE_PLAIN, text_of(r, "target"));
		table_text(t, TABLE_PLAIN, text_of(r, "portal"));
		if (json_is_integer(json_object_get(r, "portal_group")))
			table_printf(t, TABLE_PLAIN, "%" JSON_INTEGER_FORMAT,
			    num_of(r, "portal_group"));
		else
			table_text(t, TABLE_PLAIN, "-");
	}
	return print_table(t, colours);
}

int
ctl_print_clients(const json_t *result, bool colours)
{
	static const struct table_column columns[] = { { "ID", true },
		{ "NAME", false }, { "SESSION", false }, { "UID", true },
		{ "PID", true }, { "TASKS", true }, { "IN", true },
		{ "OUT", true }, { "FRAMES IN", true }, { "FRAMES OUT", true },
		{ "REFUSED", true }, { "STATE", false } };
	const json_t *list = json_object_get(result, "clients");
	struct table *t = table_new(columns, COUNT(columns));
	static const char *const numbers[] = { "frames_in", "frames_out",
		"refused" };
	char buf[CTL_TEXT_MAX];

	if (json_array_size(list) == 0) {
		table_free(t);
		return puts("no clients are connected") == EOF ? -1 : 0;
	}
	for (size_t i = 0; t != NULL && i < json_array_size(list); i++) {
		const json_t *c = json_array_get(list, i);
		const char *session = text_of(c, "session");

		table_printf(t, TABLE_PLAIN, "%" JSON_INTEGER_FORMAT,
		    num_of(c, "id"));
		table_text(t, TABLE_PLAIN, text_of(c, "name"));
		if (*session == '\0')
			session = text_of(c, "raw");
		table_text(t, TABLE_PLAIN, *session != '\0' ? session : "-");
		table_printf(t, TABLE_PLAIN, "%" JSON_INTEGER_FORMAT,
		    num_of(c, "uid"));
		table_printf(t, TABLE_PLAIN, "%" JSON_INTEGER_FORMAT,
		    num_of(c, "pid"));
		table_printf(t, TABLE_PLAIN, "%" JSON_INTEGER_FORMAT,
		    num_of(c, "tasks"));
		table_text(t, TABLE_PLAIN, ctl_size(num_of(c,
		    "inbound_bytes"), buf, sizeof(buf)));
		table_text(t, TABLE_PLAIN, ctl_size(num_of(c,
		    "outbound_bytes"), buf, sizeof(buf)));
		for (size_t n = 0; n < COUNT(numbers); n++)
			table_printf(t, TABLE_PLAIN, "%" JSON_INTEGER_FORMAT,
			    num_of(c, numbers[n]));
		table_text(t, true_of(c, "paused") ? TABLE_BUSY : TABLE_PLAIN,
		    true_of(c, "paused") ? "paused" : "reading");
	}
	return print_table(t, colours);
}

int
ctl_print_traces(const json_t *result, bool colours)
{
	static const struct table_column columns[] = { { "ID", true },
		{ "SESSION", false }, { "PACKETS", true }, { "DROPPED", true },
		{ "UNREAD", true }, { "STATE", false } };
	static const char *const numbers[] = { "packets", "dropped",
		"unread_bytes" };
	const json_t *list = json_object_get(result, "traces");
	struct table *t = table_new(columns, COUNT(columns));

	if (json_array_size(list) == 0) {
		table_free(t);
		return puts("no traces are running") == EOF ? -1 : 0;
	}
	for (size_t i = 0; t != NULL && i < json_array_size(list); i++) {
		const json_t *each = json_array_get(list, i);
		const char *session = text_of(each, "session");

		table_printf(t, TABLE_PLAIN, "%" JSON_INTEGER_FORMAT,
		    num_of(each, "id"));
		table_text(t, TABLE_PLAIN, *session != '\0' ? session : "all");
		for (size_t n = 0; n < COUNT(numbers); n++)
			table_printf(t, TABLE_PLAIN, "%" JSON_INTEGER_FORMAT,
			    num_of(each, numbers[n]));
		table_text(t, TABLE_PLAIN, json_is_true(json_object_get(each,
		    "stopped")) ? "stopped" :
		    json_is_true(json_object_get(each, "headers")) ?
		    "headers" : "running");
	}
	return print_table(t, colours);
}

int
ctl_print_stats(const json_t *result, bool colours)
{
	const json_t *clients = json_object_get(result, "clients");
	json_t *sessions = json_object_get(result, "sessions");
	struct table *t = pairs_new();
	const char *name;
	char title[128];
	json_t *value;

	if (t == NULL)
		return -1;
	pair(t, "worker", "");
	add_members(t, json_object_get(result, "worker"), "  ");
	json_object_foreach(sessions, name, value) {
		snprintf(title, sizeof(title), "session %s", name);
		pair(t, title, "");
		add_members(t, value, "  ");
	}
	for (size_t i = 0; i < json_array_size(clients); i++) {
		value = json_array_get(clients, i);
		snprintf(title, sizeof(title), "client %" JSON_INTEGER_FORMAT,
		    num_of(value, "id"));
		pair(t, title, "");
		add_members(t, value, "  ");
	}
	return print_table(t, colours);
}

int
ctl_print_fault_set(const json_t *result, bool colours)
{
	(void)colours;
	return printf("fault %s of %s %s\n", text_of(result, "id"),
	    text_of(result, "connection"), true_of(result, "replaced") ?
	    "replaced" : "set") < 0 ? -1 : 0;
}

int
ctl_print_cleared(const json_t *result, bool colours)
{
	json_int_t n = num_of(result, "cleared");

	(void)colours;
	return printf("%" JSON_INTEGER_FORMAT " fault%s cleared\n", n,
	    n == 1 ? "" : "s") < 0 ? -1 : 0;
}

/* A kind with its value, as fault set takes it. */
static void
fault_kind(struct table *t, const json_t *fault)
{
	static const char *const values[] = { "mask", "bytes", "ms" };
	const char *kind = text_of(fault, "kind");

	if (json_object_get(fault, "errno") != NULL) {
		table_printf(t, TABLE_PLAIN, "%s=%s", kind,
		    text_of(fault, "errno"));
		return;
	}
	for (size_t i = 0; i < COUNT(values); i++) {
		if (json_object_get(fault, values[i]) != NULL) {
			table_printf(t, TABLE_PLAIN, "%s=%"
			    JSON_INTEGER_FORMAT, kind,
			    num_of(fault, values[i]));
			return;
		}
	}
	table_text(t, TABLE_PLAIN, kind);
}

static void
number_or_dash(struct table *t, const json_t *fault, const char *key)
{
	if (json_is_integer(json_object_get(fault, key)))
		table_printf(t, TABLE_PLAIN, "%" JSON_INTEGER_FORMAT,
		    num_of(fault, key));
	else
		table_text(t, TABLE_PLAIN, "-");
}

int
ctl_print_faults(const json_t *result, bool colours)
{
	static const struct table_column columns[] = {
		{ "CONNECTION", false }, { "ID", false },
		{ "DIRECTION", false }, { "KIND", false }, { "AFTER", true },
		{ "AT", true }, { "PASSED", true }, { "FIRED", true },
		{ "STATE", false } };
	const json_t *list = json_object_get(result, "faults");
	struct table *t = table_new(columns, COUNT(columns));

	if (json_array_size(list) == 0) {
		table_free(t);
		return puts("no faults are set") == EOF ? -1 : 0;
	}
	for (size_t i = 0; t != NULL && i < json_array_size(list); i++) {
		const json_t *f = json_array_get(list, i);

		table_text(t, TABLE_PLAIN, text_of(f, "connection"));
		table_text(t, TABLE_PLAIN, text_of(f, "id"));
		table_text(t, TABLE_PLAIN, text_of(f, "direction"));
		fault_kind(t, f);
		number_or_dash(t, f, "after");
		number_or_dash(t, f, "at");
		number_or_dash(t, f, "passed");
		number_or_dash(t, f, "fired");
		table_text(t, true_of(f, "spent") ? TABLE_PLAIN : TABLE_BUSY,
		    true_of(f, "spent") ? "spent" : true_of(f, "repeat") ?
		    "repeats" : "set");
	}
	return print_table(t, colours);
}
