/* SPDX-License-Identifier: ISC */
/*
 * Collects cells, then prints them in columns as wide as their widest cell.
 * It calls the C library only.
 */
#include "config.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "client/table.h"

#define COLUMN_GAP	2

struct cell {
	char			*text;
	enum table_style	 style;
};

struct table {
	const struct table_column *columns;
	size_t			 ncolumns;
	struct cell		*cells;
	size_t			 ncells, cells_size;
	char			**notes;	/* one a row, or NULL */
	size_t			 nrows;
	bool			 failed;	/* memory ran out */
};

struct table *
table_new(const struct table_column *columns, size_t n)
{
	struct table *t = calloc(1, sizeof(*t));

	if (t == NULL)
		return NULL;
	t->columns = columns;
	t->ncolumns = n;
	return t;
}

void
table_free(struct table *t)
{
	if (t == NULL)
		return;
	for (size_t i = 0; i < t->ncells; i++)
		free(t->cells[i].text);
	for (size_t i = 0; i < t->nrows; i++)
		free(t->notes[i]);
	free(t->cells);
	free(t->notes);
	free(t);
}

/* A copy in which every byte is printable; NULL without memory. */
static char *
printable(const char *text)
{
	char *copy = calloc(strlen(text) + 1, 4), *to = copy;

	if (copy == NULL)
		return NULL;
	for (const unsigned char *p = (const unsigned char *)text;
	    *p != '\0'; p++) {
		if (*p >= 0x20 && *p < 0x7f)
			*to++ = (char)*p;
		else
			to += snprintf(to, 5, "\\x%02x", *p);
	}
	return copy;
}

/* Make room for one more cell, and for its row if it begins one. */
static bool
table_grow(struct table *t)
{
	struct cell *cells;
	char **notes;
	size_t size;

	if (t->ncells == t->cells_size) {
		size = t->cells_size == 0 ? 64 : t->cells_size * 2;
		cells = reallocarray(t->cells, size, sizeof(*cells));
		if (cells == NULL)
			return false;
		t->cells = cells;
		t->cells_size = size;
	}
	if (t->ncells % t->ncolumns != 0)
		return true;
	notes = reallocarray(t->notes, t->nrows + 1, sizeof(*notes));
	if (notes == NULL)
		return false;
	t->notes = notes;
	t->notes[t->nrows++] = NULL;
	return true;
}

void
table_text(struct table *t, enum table_style style, const char *text)
{
	char *copy;

	if (t->failed)
		return;
	copy = printable(text);
	if (copy == NULL || !table_grow(t)) {
		free(copy);
		t->failed = true;
		return;
	}
	t->cells[t->ncells++] = (struct cell){ copy, style };
}

void
table_printf(struct table *t, enum table_style style, const char *fmt, ...)
{
	va_list ap;
	char *text;
	int rc;

	va_start(ap, fmt);
	rc = vasprintf(&text, fmt, ap);
	va_end(ap);
	if (rc == -1) {
		t->failed = true;
		return;
	}
	table_text(t, style, text);
	free(text);
}

void
table_note(struct table *t, const char *fmt, ...)
{
	va_list ap;
	char *text;
	int rc;

	if (t->failed || t->nrows == 0)
		return;
	va_start(ap, fmt);
	rc = vasprintf(&text, fmt, ap);
	va_end(ap);
	if (rc == -1) {
		t->failed = true;
		return;
	}
	free(t->notes[t->nrows - 1]);
	t->notes[t->nrows - 1] = printable(text);
	t->failed = t->notes[t->nrows - 1] == NULL;
	free(text);
}

static int
column_width(const struct table *t, size_t column)
{
	const char *heading = t->columns[column].heading;
	size_t width = heading != NULL ? strlen(heading) : 0, len;

	for (size_t i = column; i < t->ncells; i += t->ncolumns) {
		len = strlen(t->cells[i].text);
		if (len > width)
			width = len;
	}
	return (int)width;
}

static const char *
style_start(enum table_style style)
{
	switch (style) {
	case TABLE_GOOD:
		return "\033[32m";
	case TABLE_BAD:
		return "\033[31m";
	case TABLE_BUSY:
		return "\033[33m";
	default:
		return "";
	}
}

/*
 * Print a row; `cells` is NULL for the headings.  Blanks are owed until the
 * next text is printed, so that no line ends with them.
 */
static void
print_row(const struct table *t, FILE *to, bool colours, const int *width,
    const struct cell *cells)
{
	int owed = 0;

	for (size_t i = 0; i < t->ncolumns; i++) {
		const char *text = cells != NULL ? cells[i].text :
		    t->columns[i].heading;
		const char *start = cells != NULL && colours ?
		    style_start(cells[i].style) : "";
		int pad = width[i] - (int)strlen(text);

		if (t->columns[i].right)
			owed += pad;
		if (*text != '\0') {
			fprintf(to, "%*s%s%s%s", owed, "", start, text,
			    *start != '\0' ? "\033[0m" : "");
			owed = 0;
		}
		if (!t->columns[i].right)
			owed += pad;
		owed += COLUMN_GAP;
	}
	putc('\n', to);
}

int
table_print(const struct table *t, FILE *to, bool colours)
{
	int *width = calloc(t->ncolumns, sizeof(*width));

	if (width == NULL || t->failed) {
		free(width);
		errno = ENOMEM;
		return -1;
	}
	for (size_t i = 0; i < t->ncolumns; i++)
		width[i] = column_width(t, i);
	if (t->columns[0].heading != NULL)
		print_row(t, to, colours, width, NULL);
	for (size_t i = 0; i < t->nrows; i++) {
		print_row(t, to, colours, width, t->cells + i * t->ncolumns);
		if (t->notes[i] != NULL)
			fprintf(to, "    %s\n", t->notes[i]);
	}
	free(width);
	return ferror(to) != 0 ? -1 : 0;
}
