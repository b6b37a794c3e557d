/* SPDX-License-Identifier: ISC */
/*
 * Members of what a daemon answered.  One that is missing, or of another type,
 * is empty, so that a daemon of another version can be looked at, too.
 */
#ifndef CLIENT_JSON_OF_H
#define CLIENT_JSON_OF_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

static inline const char *
text_of(const json_t *js, const char *key)
{
	const char *text = json_string_value(json_object_get(js, key));

	return text != NULL ? text : "";
}

static inline json_int_t
num_of(const json_t *js, const char *key)
{
	return json_integer_value(json_object_get(js, key));
}

static inline bool
true_of(const json_t *js, const char *key)
{
	return json_is_true(json_object_get(js, key));
}

#endif
