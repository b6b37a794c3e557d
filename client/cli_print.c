/* SPDX-License-Identifier: ISC */
/*
 * What people and programs read: messages on standard error, tables, sizes,
 * hexadecimal.  With --json a failure goes into the report, too.  It asks
 * nobody anything.
 */
#include "config.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/cli_scsi.h"
#include "client/table.h"

#define MESSAGE_MAX	1024

/* Texts of daemon and target must not drive the terminal. */
static void
make_printable(char *text)
{
	for (unsigned char *p = (unsigned char *)text; *p != '\0'; p++) {
		if (*p < 0x20 || *p >= 0x7f)
			*p = '?';
	}
}

static void
report_failure(struct cli *c, enum cli_status status, const char *text)
{
	json_t *error = json_object_get(c->report, "error");

	if (c->report == NULL)
		return;
	if (error == NULL) {
		error = json_object();
		json_object_set_new(c->report, "error", error);
	}
	json_object_set_new(error, "exit_status", json_integer(status));
	json_object_set_new(error, "message", json_string(text));
}

enum cli_status
cli_fail(struct cli *c, enum cli_status status, const char *fmt, ...)
{
	char text[MESSAGE_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	make_printable(text);
	fprintf(stderr, "iscsimux: %s\n", text);
	report_failure(c, status, text);
	return status;
}

enum cli_status
cli_bad(struct cli *c, const struct iscsimux_result *r)
{
	enum cli_status status;
	char text[MESSAGE_MAX / 2];

	scsi_explain(r, text, sizeof(text));
	status = cli_fail(c, r->outcome == ISCSIMUX_UNKNOWN ? CLI_UNKNOWN :
	    CLI_FAILED, "%s", text);
	if (c->report != NULL)
		json_object_set_new(json_object_get(c->report, "error"),
		    "scsi", scsi_report(r));
	return status;
}

void
cli_note(const char *fmt, ...)
{
	char text[MESSAGE_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	make_printable(text);
	fprintf(stderr, "iscsimux: %s\n", text);
}

const char *
cli_size(uint64_t bytes, char *buf, size_t size)
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB",
		"PiB" };
	double value = (double)bytes;
	size_t unit = 0;

	while (value >= 1024 && unit + 1 < sizeof(units) / sizeof(units[0])) {
		value /= 1024;
		unit++;
	}
	snprintf(buf, size, value == (double)(uint64_t)value ? "%.0f %s" :
	    "%.1f %s", value, units[unit]);
	return buf;
}

void
cli_ascii(const uint8_t *from, size_t len, char *to)
{
	while (len > 0 && (from[len - 1] == ' ' || from[len - 1] == '\0'))
		len--;
	while (len > 0 && *from == ' ') {
		from++;
		len--;
	}
	for (size_t i = 0; i < len; i++)
		to[i] = from[i] >= 0x20 && from[i] < 0x7f ? (char)from[i] :
		    '.';
	to[len] = '\0';
}

void
cli_hexline(const uint8_t *data, size_t len, size_t at)
{
	printf("%04zx ", at);
	for (size_t j = at; j < at + 16; j++) {
		if (j < len)
			printf(" %02x", data[j]);
		else
			fputs("   ", stdout);
	}
	fputs("  ", stdout);
	for (size_t j = at; j < at + 16 && j < len; j++)
		putchar(data[j] >= 0x20 && data[j] < 0x7f ? data[j] : '.');
	putchar('\n');
}

void
cli_hexdump(const uint8_t *data, size_t len)
{
	for (size_t i = 0; i < len; i += 16)
		cli_hexline(data, len, i);
}

json_t *
cli_hex(const uint8_t *data, size_t len)
{
	static const char digits[] = "0123456789abcdef";
	char *text = calloc(len + 1, 2);
	json_t *js;

	if (text == NULL)
		return NULL;
	for (size_t i = 0; i < len; i++) {
		text[2 * i] = digits[data[i] >> 4];
		text[2 * i + 1] = digits[data[i] & 0x0f];
	}
	js = json_string(text);
	free(text);
	return js;
}

enum cli_status
cli_table(struct cli *c, struct table *t)
{
	const char *term = getenv("TERM"), *none = getenv("NO_COLOR");
	bool colours = isatty(STDOUT_FILENO) && term != NULL &&
	    strcmp(term, "dumb") != 0 && (none == NULL || *none == '\0');
	int r;

	if (t == NULL)
		return cli_fail(c, CLI_FAILED, "out of memory");
	r = table_print(t, stdout, colours);
	table_free(t);
	if (r != 0)
		return cli_fail(c, CLI_FAILED, "cannot write: %s",
		    strerror(errno));
	return CLI_OK;
}

struct table *
cli_pairs(void)
{
	static const struct table_column columns[2];

	return table_new(columns, 2);
}

void
cli_pair(struct table *t, const char *name, const char *fmt, ...)
{
	char text[MESSAGE_MAX];
	va_list ap;

	if (t == NULL)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	table_text(t, TABLE_PLAIN, name);
	table_text(t, TABLE_PLAIN, text);
}
