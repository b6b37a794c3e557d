/* SPDX-License-Identifier: ISC */
/*
 * session add, and --wait.  What a key means and what a value must be is the
 * daemon's to say.
 */
#include "config.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "client/ctl_exit.h"
#include "client/ctl_session.h"
#include "client/json_of.h"

#define ACCESS		"access"
#define INTERVAL	100u	/* ms between two questions */

/* --- session add --- */

/* `list`: the key takes a list, so that one value alone is one, too. */
static bool
put_value(json_t *block, const char *key, const char *value, bool list)
{
	json_t *old = json_object_get(block, key), *new = json_string(value);

	if (old == NULL && !list)
		return json_object_set_new(block, key, new) == 0;
	if (json_is_array(old))
		return json_array_append_new(old, new) == 0;
	return json_object_set_new(block, key, old == NULL ?
	    json_pack("[o]", new) : json_pack("[O, o]", old, new)) == 0;
}

/* "access.KEY" belongs into the one block of access rules. */
static bool
put_access(json_t *config, const char *key, const char *value)
{
	json_t *block = json_object_get(config, ACCESS);

	if (block == NULL) {
		block = json_object();
		if (json_object_set_new(config, ACCESS, block) != 0)
			return false;
	}
	return put_value(block, key, value, true);
}

static bool
put_word(json_t *config, char *word, const char **what, const char **arg)
{
	static const char prefix[] = ACCESS ".";
	char *value = strchr(word, '=');

	if (value == NULL || value == word) {
		*what = "not KEY=VALUE: ";
		*arg = word;
		return false;
	}
	*value++ = '\0';
	if (strncmp(word, prefix, sizeof(prefix) - 1) == 0 ?
	    put_access(config, word + sizeof(prefix) - 1, value) :
	    put_value(config, word, value, false))
		return true;
	*what = "no UTF-8: ";
	*arg = word;
	return false;
}

json_t *
ctl_session_add(int argc, char **argv, const char **what, const char **arg)
{
	json_t *config, *params;

	if (argc == 0) {
		*what = "missing: session";
		return NULL;
	}
	config = json_object();
	for (int i = 1; i < argc; i++) {
		if (!put_word(config, argv[i], what, arg)) {
			json_decref(config);
			return NULL;
		}
	}
	params = json_pack("{s:s, s:o}", "session", argv[0], "config", config);
	if (params == NULL) {
		*what = "no UTF-8: ";
		*arg = "session";
	}
	return params;
}

/* --- --wait --- */

static uint64_t
now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/* Whether it goes on by itself, and not only after a pause. */
static bool
is_on_its_way(const json_t *session)
{
	const char *state = text_of(session, "state");

	return strcmp(state, "stopped") != 0 &&
	    !true_of(session, "given_up") &&
	    num_of(session, "next_try_ms") == 0;
}

static int
complain(const char *name, const json_t *session, const char *what)
{
	const char *error = text_of(session, "last_error");

	fprintf(stderr, "iscsimuxctl: session %s %s, but %s%s%s\n", name, what,
	    text_of(session, "state"), *error != '\0' ? ": " : "", error);
	return CTL_EXIT_FAILED;
}

int
ctl_session_wait(const char *socket, uint32_t timeout, const char *name)
{
	const struct timespec pause = { .tv_nsec = INTERVAL * 1000000L };
	json_t *params = json_pack("{s:s}", "session", name);
	uint64_t until = now_ms() + timeout;
	struct rpcclient_answer answer;
	enum rpcclient_end end;
	int status = -1;

	do {
		end = rpcclient_call(socket, timeout, "session.show", params,
		    -1, &answer);
		if (end != RPCCLIENT_OK) {
			fprintf(stderr, "iscsimuxctl: %s\n", answer.message);
			status = ctl_exit_status(end);
		} else if (true_of(answer.result, "up")) {
			status = CTL_EXIT_OK;
		} else if (!is_on_its_way(answer.result)) {
			status = complain(name, answer.result, "is not up");
		} else if (now_ms() >= until) {
			status = complain(name, answer.result,
			    "is not up in time");
		} else {
			nanosleep(&pause, NULL);
		}
		rpcclient_clear(&answer);
	} while (status == -1);
	json_decref(params);
	return status;
}
