/* SPDX-License-Identifier: ISC */
/*
 * The latest PDU headers of a session, as session.show tells them.
 */
#include "config.h"

#include <stdint.h>
#include <stdio.h>
#include <time.h>

#include "client/ctl_print.h"
#include "client/json_of.h"
#include "client/table.h"

static const struct table_column columns[] = { { "TIME", false },
	{ "DIRECTION", false }, { "PDU", false }, { "ITT", false },
	{ "CMDSN", true }, { "STATSN", true }, { "LENGTH", true } };

/* A number, or "-" where the PDU has none. */
static void
number(struct table *t, const json_t *value)
{
	if (json_is_integer(value))
		table_printf(t, TABLE_PLAIN, "%" JSON_INTEGER_FORMAT,
		    json_integer_value(value));
	else
		table_text(t, TABLE_PLAIN, "-");
}

static void
time_of_day(struct table *t, json_int_t us)
{
	time_t seconds = (time_t)(us / 1000000);
	struct tm tm;
	char buf[32];

	if (localtime_r(&seconds, &tm) == NULL ||
	    strftime(buf, sizeof(buf), "%H:%M:%S", &tm) == 0)
		table_text(t, TABLE_PLAIN, "-");
	else
		table_printf(t, TABLE_PLAIN, "%s.%06u", buf,
		    (unsigned)(us % 1000000));
}

int
ctl_print_headers(const json_t *result, bool colours)
{
	const json_t *list = json_object_get(result, "headers");
	struct table *t;
	int rc;

	if (json_array_size(list) == 0)
		return puts("no PDU was sent or received yet") == EOF ? -1 : 0;
	t = table_new(columns, sizeof(columns) / sizeof(columns[0]));
	if (t == NULL)
		return -1;
	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *h = json_array_get(list, i);

		time_of_day(t, json_integer_value(json_object_get(h,
		    "time_us")));
		table_text(t, TABLE_PLAIN, text_of(h, "direction"));
		table_text(t, TABLE_PLAIN, text_of(h, "pdu"));
		table_text(t, TABLE_PLAIN, text_of(h, "itt"));
		number(t, json_object_get(h, "cmdsn"));
		number(t, json_object_get(h, "statsn"));
		number(t, json_object_get(h, "length"));
	}
	rc = table_print(t, stdout, colours);
	table_free(t);
	return rc;
}
