/* SPDX-License-Identifier: ISC */
/*
 * Splits a text into words and lines, and knows where each began.  What words
 * mean is pdu_parse.c's.
 */
#include "config.h"

#include <stdio.h>
#include <string.h>

#include "client/pdu_text.h"

static bool
ends_line(const char *p, const char *end)
{
	return p == end || *p == '\n' ||
	    (*p == '\r' && p + 1 < end && p[1] == '\n');
}

/* A backslash that continues the line; its length, 0 if it is none. */
static size_t
continuation(const char *p, const char *end)
{
	if (p == end || *p != '\\')
		return 0;
	if (p + 1 < end && p[1] == '\n')
		return 2;
	return p + 2 < end && p[1] == '\r' && p[2] == '\n' ? 3 : 0;
}

/* Skip what stands between words. */
static const char *
skip_blanks(const char *p, const char *end, unsigned *line,
    const char **start)
{
	size_t n;

	while (p < end) {
		n = continuation(p, end);
		if (n > 0) {
			p += n;
			++*line;
			*start = p;
		} else if (*p == ' ' || *p == '\t')
			p++;
		else
			break;
	}
	while (p < end && *p == '#' && !ends_line(p, end)) {
		while (!ends_line(p, end))
			p++;
	}
	return p;
}

/* The end of a part in quotation marks, or NULL. */
static const char *
skip_quoted(const char *p, const char *end)
{
	for (p++; !ends_line(p, end); p++) {
		if (*p == '"')
			return p + 1;
		if (*p == '\\' && !ends_line(p + 1, end))
			p++;
	}
	return NULL;
}

int
pdu_next_word(const char **p, const char *end, unsigned *line,
    const char **start, struct pdu_word *w, struct pdu_error *e)
{
	const char *q = skip_blanks(*p, end, line, start), *next;

	*p = q;
	w->p = q;
	w->line = *line;
	w->column = (unsigned)(q - *start) + 1;
	if (ends_line(q, end)) {
		q += q == end ? 0 : *q == '\r' ? 2 : 1;
		++*line;
		*start = *p = q;
		return 0;
	}
	while (!ends_line(q, end) && *q != ' ' && *q != '\t' &&
	    continuation(q, end) == 0) {
		if (*q != '"') {
			q++;
			continue;
		}
		next = skip_quoted(q, end);
		if (next == NULL) {
			e->line = *line;
			e->column = (unsigned)(q - *start) + 1;
			snprintf(e->text, sizeof(e->text),
			    "this quotation mark is not closed");
			return -1;
		}
		q = next;
	}
	w->len = (size_t)(q - w->p);
	*p = q;
	return 1;
}

int
pdu_split(const char **p, const char *end, unsigned *line,
    struct pdu_word *words, size_t max, struct pdu_error *e)
{
	const char *start = *p;
	struct pdu_word w;
	size_t n = 0;
	int r;

	while ((r = pdu_next_word(p, end, line, &start, &w, e)) == 1) {
		if (n == max) {
			e->line = w.line;
			e->column = w.column;
			snprintf(e->text, sizeof(e->text),
			    "more than %zu words", max);
			return -1;
		}
		words[n++] = w;
	}
	return r < 0 ? -1 : (int)n;
}

bool
pdu_word_is(const struct pdu_word *w, const char *text)
{
	return strncmp(w->p, text, w->len) == 0 && text[w->len] == '\0';
}
