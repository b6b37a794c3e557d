/* SPDX-License-Identifier: ISC */
/*
 * The words of iscsimuxctl's fault commands.  It calls jansson only and asks
 * no daemon.
 */
#include "config.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "client/ctl_fault.h"

enum value_type {
	VALUE_NONE,		/* the word stands alone */
	VALUE_TEXT,
	VALUE_NUMBER
};

/* A word and the parameter that its value goes to. */
struct word {
	const char	*name;
	const char	*param;
	enum value_type	 type;
	bool		 optional;	/* the value */
};

static const struct word kinds[] = {
	{ "errno", "errno", VALUE_TEXT, false },
	{ "close", NULL, VALUE_NONE, false },
	{ "corrupt", "mask", VALUE_NUMBER, true },
	{ "short", "bytes", VALUE_NUMBER, false },
	{ "delay", "ms", VALUE_NUMBER, false },
	{ "stall", NULL, VALUE_NONE, false },
	{ NULL, NULL, VALUE_NONE, false }
};

static const struct word places[] = {
	{ "after", "after", VALUE_NUMBER, false },
	{ "from-now", "from_now", VALUE_NONE, false },
	{ "id", "id", VALUE_TEXT, false },
	{ "repeat", "repeat", VALUE_NONE, false },
	{ NULL, NULL, VALUE_NONE, false }
};

/* What is wrong with which word. */
struct complaint {
	const char	**what;
	const char	**arg;
};

static bool
complain(const struct complaint *c, const char *what, const char *arg)
{
	*c->what = what;
	*c->arg = arg;
	return false;
}

/* The entry for the word at `arg`, and its value or NULL. */
static const struct word *
find_word(const struct word *table, const char *arg, const char **value)
{
	size_t len = strcspn(arg, "=");

	*value = arg[len] == '=' ? arg + len + 1 : NULL;
	for (; table->name != NULL; table++) {
		if (strlen(table->name) == len &&
		    strncmp(table->name, arg, len) == 0)
			return table;
	}
	return NULL;
}

static bool
add_number(json_t *params, const struct word *w, const char *value,
    const char *arg, const struct complaint *c)
{
	long long n;
	char *end;

	errno = 0;
	n = strtoll(value, &end, 0);
	if (end == value || *end != '\0' || errno != 0)
		return complain(c, "no whole number: ", arg);
	return json_object_set_new(params, w->param, json_integer(n)) == 0;
}

/* Add what one word says; false if it is wrong, or memory is short. */
static bool
add_word(json_t *params, const struct word *table, const char *arg,
    const struct complaint *c)
{
	const char *value;
	const struct word *w = find_word(table, arg, &value);

	if (w == NULL)
		return complain(c, "unexpected argument: ", arg);
	if (w->type == VALUE_NONE && value != NULL)
		return complain(c, "this takes no value: ", arg);
	if (w->type != VALUE_NONE && value == NULL && !w->optional)
		return complain(c, "a value is missing: ", arg);
	if (w->param != NULL && json_object_get(params, w->param) != NULL)
		return complain(c, "given twice: ", arg);
	if (table == kinds && json_object_set_new(params, "kind",
	    json_string(w->name)) != 0)
		return false;
	if (w->param == NULL || (value == NULL && w->optional))
		return true;
	if (w->type == VALUE_NUMBER)
		return add_number(params, w, value, arg, c);
	if (w->type == VALUE_NONE)
		return json_object_set_new(params, w->param,
		    json_true()) == 0;
	if (json_object_set_new(params, w->param, json_string(value)) == 0)
		return true;
	return complain(c, "no UTF-8: ", w->name);
}

static bool
add_text(json_t *params, const char *param, const char *text,
    const struct complaint *c)
{
	if (json_object_set_new(params, param, json_string(text)) == 0)
		return true;
	return complain(c, "no UTF-8: ", param);
}

json_t *
ctl_fault_set(int argc, char **argv, const char **what, const char **arg)
{
	static const char *const needed[] = { "connection", "read or write",
	    "kind" };
	const struct complaint c = { what, arg };
	json_t *params;
	bool good;

	if (argc < 3) {
		complain(&c, "missing: ", needed[argc]);
		return NULL;
	}
	params = json_object();
	good = params != NULL &&
	    add_text(params, "connection", argv[0], &c) &&
	    add_text(params, "direction", argv[1], &c) &&
	    add_word(params, kinds, argv[2], &c);
	for (int i = 3; good && i < argc; i++)
		good = add_word(params, places, argv[i], &c);
	if (good)
		return params;
	json_decref(params);
	return NULL;
}

json_t *
ctl_fault_clear(int argc, char **argv, const char **what, const char **arg)
{
	const struct complaint c = { what, arg };
	json_t *params;

	if (argc > 2) {
		complain(&c, "unexpected argument: ", argv[2]);
		return NULL;
	}
	params = json_object();
	if (params != NULL &&
	    (argc < 1 || add_text(params, "connection", argv[0], &c)) &&
	    (argc < 2 || add_text(params, "id", argv[1], &c)))
		return params;
	json_decref(params);
	return NULL;
}
