/* SPDX-License-Identifier: ISC */
/*
 * PDUs as text (iscsimux(1), "NOTATION"): words to bytes, and bytes to words
 * that come out as the same bytes again.
 */
#ifndef CLIENT_PDU_TEXT_H
#define CLIENT_PDU_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "client/iscsimux.h"
#include "client/pdu_fields.h"

#define PDU_TEXT_BHS	48u
#define PDU_TEXT_AHS	1020u

/* A word of a text; it may have blanks within quotation marks. */
struct pdu_word {
	const char	*p;
	size_t		 len;
	unsigned	 line, column;	/* where it begins, from 1 */
};

struct pdu_error {
	unsigned	line, column;
	char		text[200];
};

/*
 * The next word of the text from `*p` to `end`: 1, 0 at the end of the line
 * (`*p` is behind it), -1 with `*e` for a quotation mark that is not closed.
 * A # begins a comment, a backslash at the end continues the line.  `*line`
 * counts lines, `start` is where its text begins; both are kept up to date.
 */
int pdu_next_word(const char **p, const char *end, unsigned *line,
    const char **start, struct pdu_word *w, struct pdu_error *e);

/*
 * All words of a line into `words`, at most `max`; their number, or -1 with
 * `*e`.
 */
int pdu_split(const char **p, const char *end, unsigned *line,
    struct pdu_word *words, size_t max, struct pdu_error *e);

/* True if the word is exactly this one. */
bool pdu_word_is(const struct pdu_word *w, const char *text);

/* A PDU read from text. */
struct pdu_text {
	const struct pdu_type	*type;
	uint8_t			 bhs[PDU_TEXT_BHS];
	uint8_t			 ahs[PDU_TEXT_AHS];
	size_t			 ahs_len;
	uint8_t			*data;		/* owned */
	size_t			 data_len;
	struct iscsimux_digests	 digests;
	int			 expect;	/* enum iscsimux_expect */
	/* Not given, so that the caller may fill it in. */
	bool			 no_lun, no_itt, no_cmdsn, no_expstatsn;
};

/*
 * Finds the value of $NAME; false if there is none.  Fields of up to 64 bits.
 */
typedef bool pdu_lookup_fn(void *arg, const char *name, size_t len,
    uint64_t *value);

/*
 * Read `n` words, of which the first names the PDU or is hexadecimal.
 * `lookup` may be NULL.  Returns 0, or -1 with `*e`; then nothing is to be
 * freed.
 */
int pdu_parse(const struct pdu_word *words, size_t n, pdu_lookup_fn *lookup,
    void *arg, struct pdu_text *out, struct pdu_error *e);
void pdu_text_free(struct pdu_text *t);

/*
 * A field as a word: "itt=0x00000001", "final", "final=0"; nothing for a flag
 * that is not set and need not be told.  Returns `buf`.
 */
const char *pdu_field_text(const struct pdu_field *f, const uint8_t *bhs,
    char *buf, size_t size);

/* The longest of them. */
#define PDU_FIELD_TEXT	80u

/* True if the data are text that `text="Key=value"` words can say. */
bool pdu_is_text(const uint8_t *bhs, const uint8_t *data, size_t len);

/* A text="..." or data="..." word of `len` bytes. */
void pdu_print_quoted(FILE *to, const char *name, const uint8_t *p,
    size_t len);

/*
 * Print a whole PDU as one line of words, without the newline: what
 * pdu_parse() reads back.  `ahs` has 4 * bhs[4] bytes.
 */
void pdu_print(FILE *to, const uint8_t *bhs, const uint8_t *ahs,
    const uint8_t *data, size_t len, const struct iscsimux_digests *digests);

#endif
