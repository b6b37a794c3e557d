/* SPDX-License-Identifier: ISC */
/*
 * The configuration's tokens: words, quoted strings, = { } , ( ) and
 * comments, each with its place.  Values are literal: nothing is expanded.
 * It knows no key and no block.
 */
#include "config.h"

#include <string.h>

#include "daemon/config_priv.h"

void
config_lex_init(struct config_lexer *lx, struct config_load *ld,
    const char *file, const char *bytes, size_t len)
{
	lx->ld = ld;
	lx->p = bytes;
	lx->end = bytes + len;
	lx->at = (struct config_place){ .file = file, .line = 1 };
}

/* Characters that end an unquoted word or cannot be in one. */
static bool
lex_is_word(char c)
{
	return c > ' ' && c < 0x7f && strchr("\"'={},()#;\\`", c) == NULL;
}

static void
lex_skip_line(struct config_lexer *lx)
{
	while (lx->p < lx->end && *lx->p != '\n')
		lx->p++;
}

/* Skip blanks, newlines and comments. */
static void
lex_skip_blank(struct config_lexer *lx)
{
	for (; lx->p < lx->end; lx->p++) {
		if (*lx->p == '#')
			lex_skip_line(lx);
		if (lx->p == lx->end)
			return;
		if (*lx->p == '\n')
			lx->at.line++;
		else if (*lx->p != ' ' && *lx->p != '\t' && *lx->p != '\r')
			return;
	}
}

/* The rest of the line is no use once a token is bad. */
static void
lex_bad(struct config_lexer *lx, struct config_token *tok)
{
	lex_skip_line(lx);
	tok->kind = CONFIG_TOKEN_BAD;
}

static bool
lex_append(struct config_lexer *lx, struct config_token *tok, size_t *len,
    char c)
{
	if (*len == CONFIG_VALUE_MAX) {
		config_fail(lx->ld, &lx->at, NULL,
		    "a value is longer than %d bytes: shorten it",
		    CONFIG_VALUE_MAX);
		return false;
	}
	tok->text[(*len)++] = c;
	tok->text[*len] = '\0';
	return true;
}

static void
lex_word(struct config_lexer *lx, struct config_token *tok)
{
	size_t len = 0;

	if (lx->end - lx->p >= 2 && lx->p[0] == '/' &&
	    (lx->p[1] == '/' || lx->p[1] == '*')) {
		config_fail(lx->ld, &lx->at, NULL, "'%.2s' starts no comment "
		    "here: use '#', or quotes for a value", lx->p);
		lex_bad(lx, tok);
		return;
	}
	tok->kind = CONFIG_TOKEN_WORD;
	for (; lx->p < lx->end && lex_is_word(*lx->p); lx->p++) {
		if (!lex_append(lx, tok, &len, *lx->p)) {
			lex_bad(lx, tok);
			return;
		}
	}
}

/* One character of a string to `c`.  Returns false, with the error recorded,
 * if there is none. */
static bool
lex_string_char(struct config_lexer *lx, char quote, char *c)
{
	if (lx->p == lx->end || *lx->p == '\n') {
		config_fail(lx->ld, &lx->at, NULL, "a string is not closed: "
		    "a %c is missing on this line", quote);
		return false;
	}
	if (*lx->p == '\\') {
		if (++lx->p == lx->end || (*lx->p != quote && *lx->p != '\\')) {
			config_fail(lx->ld, &lx->at, NULL, "in a string a "
			    "backslash stands only before %c or another "
			    "backslash: double it", quote);
			return false;
		}
	} else if ((unsigned char)*lx->p < ' ' || *lx->p == 0x7f) {
		config_fail(lx->ld, &lx->at, NULL, "byte 0x%02x is not "
		    "allowed in a string: remove it", (unsigned char)*lx->p);
		return false;
	}
	*c = *lx->p++;
	return true;
}

static void
lex_string(struct config_lexer *lx, struct config_token *tok)
{
	char quote = *lx->p++, c;
	size_t len = 0;

	tok->kind = CONFIG_TOKEN_WORD;
	while (lx->p == lx->end || *lx->p != quote) {
		if (!lex_string_char(lx, quote, &c) ||
		    !lex_append(lx, tok, &len, c)) {
			lex_bad(lx, tok);
			return;
		}
	}
	lx->p++;
}

void
config_lex_next(struct config_lexer *lx, struct config_token *tok)
{
	static const char punctuation[] = "={},()";
	static const enum config_token_kind kinds[] = {
		CONFIG_TOKEN_EQUALS, CONFIG_TOKEN_OPEN, CONFIG_TOKEN_CLOSE,
		CONFIG_TOKEN_COMMA, CONFIG_TOKEN_LEFT, CONFIG_TOKEN_RIGHT
	};
	const char *found;

	lex_skip_blank(lx);
	tok->at = lx->at;
	tok->text[0] = '\0';
	if (lx->p == lx->end) {
		tok->kind = CONFIG_TOKEN_END;
	} else if (*lx->p == '"' || *lx->p == '\'') {
		lex_string(lx, tok);
	} else if (lex_is_word(*lx->p)) {
		lex_word(lx, tok);
	} else if (*lx->p != '\0' &&
	    (found = strchr(punctuation, *lx->p)) != NULL) {
		tok->kind = kinds[found - punctuation];
		lx->p++;
	} else {
		config_fail(lx->ld, &lx->at, NULL, "byte 0x%02x (%c) is not "
		    "allowed here: write a value with it in quotes",
		    (unsigned char)*lx->p, lex_is_word(*lx->p) ||
		    strchr(";\\`", *lx->p) != NULL ? *lx->p : '?');
		lex_bad(lx, tok);
	}
}
