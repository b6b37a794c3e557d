/* SPDX-License-Identifier: ISC */
/*
 * Tables of text with aligned columns, for people.  Bytes that are not
 * printable ASCII come out as \xNN, so that no cell can break a line or drive
 * a terminal.
 */
#ifndef CLIENT_TABLE_H
#define CLIENT_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

struct table;

/* How a cell looks where colours are on. */
enum table_style {
	TABLE_PLAIN,
	TABLE_GOOD,
	TABLE_BAD,
	TABLE_BUSY
};

/* `heading` lives as long as the table; numbers go to the right. */
struct table_column {
	const char	*heading;
	bool		 right;
};

/*
 * A table with `n` columns; without headings if the first one's is NULL.
 * NULL when memory is short.
 */
struct table *table_new(const struct table_column *columns, size_t n);
void table_free(struct table *t);

/* Add the next cell, row by row; text is copied.  Lack of memory is
 * remembered and told by table_print(). */
void table_text(struct table *t, enum table_style style, const char *text);
void table_printf(struct table *t, enum table_style style, const char *fmt,
    ...) __attribute__((format(printf, 3, 4)));

/* Add a line of its own, indented, below the row just finished. */
void table_note(struct table *t, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* Print all; returns 0, or -1 with errno set. */
int table_print(const struct table *t, FILE *to, bool colours);

#endif
