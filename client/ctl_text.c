/* SPDX-License-Identifier: ISC */
/*
 * Numbers and names of the control socket in words.  It calls jansson and the
 * C library only.
 */
#include "config.h"

#include <stdio.h>
#include <string.h>

#include "client/ctl_text.h"

#define COUNT(array)	(sizeof(array) / sizeof((array)[0]))

const char *
ctl_duration(json_int_t ms, char *buf, size_t size)
{
	json_int_t s = ms / 1000;

	if (ms < 1000)
		snprintf(buf, size, "%" JSON_INTEGER_FORMAT " ms", ms);
	else if (s < 60)
		snprintf(buf, size, "%.1f s", (double)ms / 1000);
	else if (s < 3600)
		snprintf(buf, size, "%" JSON_INTEGER_FORMAT " min %"
		    JSON_INTEGER_FORMAT " s", s / 60, s % 60);
	else if (s < 86400)
		snprintf(buf, size, "%" JSON_INTEGER_FORMAT " h %"
		    JSON_INTEGER_FORMAT " min", s / 3600, s / 60 % 60);
	else
		snprintf(buf, size, "%" JSON_INTEGER_FORMAT " d %"
		    JSON_INTEGER_FORMAT " h", s / 86400, s / 3600 % 24);
	return buf;
}

const char *
ctl_size(json_int_t n, char *buf, size_t size)
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB" };
	double value = (double)n;
	size_t unit = 0;

	while (value >= 1024 && unit + 1 < COUNT(units)) {
		value /= 1024;
		unit++;
	}
	snprintf(buf, size, value == (double)(json_int_t)value ? "%.0f %s" :
	    "%.1f %s", value, units[unit]);
	return buf;
}

const char *
ctl_value(const char *key, const json_t *value, char *buf, size_t size)
{
	size_t len = strlen(key);

	if (json_is_string(value))
		return json_string_value(value);
	if (json_is_boolean(value))
		return json_is_true(value) ? "yes" : "no";
	if (json_is_null(value))
		return "-";
	if (!json_is_integer(value))
		return "?";
	if (len > 3 && strcmp(key + len - 3, "_ms") == 0)
		return ctl_duration(json_integer_value(value), buf, size);
	if (len > 6 && strcmp(key + len - 6, "_bytes") == 0)
		return ctl_size(json_integer_value(value), buf, size);
	snprintf(buf, size, "%" JSON_INTEGER_FORMAT,
	    json_integer_value(value));
	return buf;
}

void
ctl_key(const char *key, char *buf, size_t size)
{
	size_t len;

	strlcpy(buf, key, size);
	len = strlen(buf);
	if (len > 3 && strcmp(buf + len - 3, "_ms") == 0)
		buf[len - 3] = '\0';
	else if (len > 6 && strcmp(buf + len - 6, "_bytes") == 0)
		buf[len - 6] = '\0';
	for (char *p = buf; *p != '\0'; p++) {
		if (*p == '_')
			*p = ' ';
	}
}
