/* SPDX-License-Identifier: ISC */
/*
 * The configuration's statements.  libconfuse alone would let a repeated key
 * win silently, append to lists, expand ${HOME} in strings and stop at its
 * first error; its scanner is not ours to change.  So this pass is in front
 * of it: it checks the shape of every statement, that its key exists in that
 * block and stands there once, and rewrites what is right for libconfuse in
 * one form only, a statement a line:
 *
 *	session '12:disk1' {
 *	portal = '13:[::1]:3260'
 *	header-digest = {'14:CRC32C','14:None'}
 *	}
 *
 * In single quotes libconfuse takes every byte but ' and \ as it is, so what
 * it can misread never reaches it.  The tag before the colon numbers the
 * place a value came from, so no message depends on anybody's line counting.
 * Knows the key table, but no value's meaning.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "daemon/config_priv.h"

#define SCAN_DEPTH	3	/* outside, session, access */

/* A block that is open; `seen` has a place for each of its keys. */
struct scan_block {
	enum config_block	 kind;
	struct config_place	 at;
	struct config_place	 seen[CONFIG_KEYS_MAX];
};

struct scan {
	struct config_load	*ld;
	struct config_lexer	 lx;
	struct config_token	 tok;		/* the next one */
	struct scan_block	 block[SCAN_DEPTH];
	unsigned		 depth;		/* of blocks */
	unsigned		 includes;
};

static void
scan_next(struct scan *s)
{
	config_lex_next(&s->lx, &s->tok);
}

/* Skip a whole block, whose '{' is the next token. */
static void
scan_skip_block(struct scan *s)
{
	struct config_place open = s->tok.at;
	size_t depth = 0;

	do {
		if (s->tok.kind == CONFIG_TOKEN_OPEN)
			depth++;
		else if (s->tok.kind == CONFIG_TOKEN_CLOSE)
			depth--;
		else if (s->tok.kind == CONFIG_TOKEN_END) {
			config_fail(s->ld, &open, NULL,
			    "'{' is not closed: a '}' is missing");
			return;
		}
		scan_next(s);
	} while (depth > 0);
}

/* After an error: go on with the first statement on a later line, or with
 * the end of the block. */
static void
scan_resync(struct scan *s, unsigned line)
{
	while (s->tok.at.line == line && s->tok.kind != CONFIG_TOKEN_END &&
	    s->tok.kind != CONFIG_TOKEN_CLOSE) {
		if (s->tok.kind == CONFIG_TOKEN_OPEN)
			scan_skip_block(s);
		else
			scan_next(s);
	}
}

/* Record what is wrong with the next token, unless the lexer did so, and
 * resynchronise. */
static void
scan_fail(struct scan *s, const struct config_place *at, const char *key,
    const char *what)
{
	if (s->tok.kind != CONFIG_TOKEN_BAD)
		config_fail(s->ld, at, key, "%s", what);
	scan_resync(s, s->tok.at.line);
}

/* The number that stands for a place; 0 (with no memory) is as good as any. */
static size_t
scan_tag(struct config_load *ld, const struct config_place *at)
{
	struct config_place *places;
	size_t room;

	if (ld->place_count == ld->place_room) {
		room = ld->place_room == 0 ? 64 : ld->place_room * 2;
		places = reallocarray(ld->places, room, sizeof(*places));
		if (places == NULL) {
			config_fail_memory(ld);
			return 0;
		}
		ld->places = places;
		ld->place_room = room;
	}
	ld->places[ld->place_count] = *at;
	return ld->place_count++;
}

/* Append a tagged, quoted value for libconfuse. */
static void
scan_emit(struct config_load *ld, const struct config_place *at,
    const char *text)
{
	fprintf(ld->out, "'%zu:", scan_tag(ld, at));
	for (; *text != '\0'; text++) {
		if (*text == '\'' || *text == '\\')
			putc('\\', ld->out);
		putc(*text, ld->out);
	}
	putc('\'', ld->out);
}

/* Is this the first time for `key` in the block?  Else say so. */
static bool
scan_is_first(struct scan *s, const struct config_key *key,
    const struct config_place *at)
{
	struct config_place *seen;

	seen = &s->block[s->depth].seen[key - config_keys];
	if (seen->line != 0) {
		config_fail(s->ld, at, key->name, "repeated: remove this one "
		    "or the one at %s:%u", seen->file, seen->line);
		return false;
	}
	*seen = *at;
	return true;
}

/* Say that `name` is no key of the block, but perhaps of another. */
void
config_unknown_key(struct config_load *ld, const struct config_place *at,
    enum config_block here, const char *name)
{
	const char *block = config_block_name(here);

	for (size_t i = 0; i < config_key_count; i++) {
		if (strcmp(config_keys[i].name, name) == 0) {
			config_fail(ld, at, name,
			    "belongs in a block '%s': move it there",
			    config_block_name(config_keys[i].block));
			return;
		}
	}
	config_fail(ld, at, name, "unknown key %s%s%s: correct or remove "
	    "it (iscsimuxd.conf(5) lists all keys)",
	    here == CONFIG_BLOCK_NONE ? "outside of every block" : "in '",
	    block, here == CONFIG_BLOCK_NONE ? "" : "'");
}

/* What follows the last value of a list that began at `open`. */
static void
scan_list_end(struct scan *s, const struct config_place *open,
    const struct config_key *key, unsigned line)
{
	if (s->tok.kind == CONFIG_TOKEN_CLOSE) {
		scan_next(s);
		return;
	}
	/* On another line this is rather the next key after a forgotten '}'. */
	if (s->tok.at.line != line) {
		config_fail(s->ld, open, key->name,
		    "the list is not closed: a ',' or '}' is missing");
		return;
	}
	scan_fail(s, &s->tok.at, key->name, "in a list only a value, ',' or "
	    "'}' can follow: write { VALUE, VALUE }");
	if (s->tok.kind == CONFIG_TOKEN_CLOSE && s->tok.at.line == line)
		scan_next(s);
}

/* A list, whose '{' is the next token.  Whatever happens, what is written is
 * a whole list. */
static void
scan_list(struct scan *s, const struct config_key *key, bool emit)
{
	struct config_place open = s->tok.at;
	unsigned line = open.line;
	size_t n = 0;

	scan_next(s);
	while (s->tok.kind == CONFIG_TOKEN_WORD) {
		if (n == CONFIG_LIST_MAX) {
			config_fail(s->ld, &s->tok.at, key->name, "more than "
			    "%d values: shorten the list", CONFIG_LIST_MAX);
			emit = false;
		}
		if (emit) {
			fputs(n == 0 ? "" : ",", s->ld->out);
			scan_emit(s->ld, &s->tok.at, s->tok.text);
		}
		n++;
		line = s->tok.at.line;
		scan_next(s);
		if (s->tok.kind != CONFIG_TOKEN_COMMA)
			break;
		scan_next(s);
	}
	if (n == 0 && s->tok.kind == CONFIG_TOKEN_CLOSE)
		config_fail(s->ld, &open, key->name,
		    "empty list: add a value or remove the key");
	scan_list_end(s, &open, key, line);
}

/* What follows `key =` of the line at `at`.  A value has to begin on that
 * line, or a forgotten one would swallow the next key. */
static void
scan_value(struct scan *s, const struct config_place *at,
    const struct config_key *key, bool emit)
{
	if (s->tok.at.line != at->line || (s->tok.kind != CONFIG_TOKEN_OPEN &&
	    s->tok.kind != CONFIG_TOKEN_WORD)) {
		if (s->tok.kind != CONFIG_TOKEN_BAD)
			config_fail(s->ld, at, key->name,
			    "a value is missing after '=': write one");
		scan_resync(s, at->line);
		return;
	}
	if (s->tok.kind == CONFIG_TOKEN_OPEN && !key->list) {
		config_fail(s->ld, &s->tok.at, key->name,
		    "takes one value, not a list: remove the braces");
		scan_skip_block(s);
		return;
	}
	if (emit)
		fprintf(s->ld->out, "%s = %s", key->name, key->list ? "{" : "");
	if (s->tok.kind == CONFIG_TOKEN_OPEN) {
		scan_list(s, key, emit);
	} else {
		if (emit)
			scan_emit(s->ld, &s->tok.at, s->tok.text);
		scan_next(s);
	}
	if (emit)
		fputs(key->list ? "}\n" : "\n", s->ld->out);
}

/* `name =`, the '=' being the next token. */
static void
scan_key(struct scan *s, const struct config_place *at, const char *name)
{
	const struct config_key *key;

	key = config_key_find(s->block[s->depth].kind, name);
	scan_next(s);
	if (key != NULL) {
		scan_value(s, at, key, scan_is_first(s, key, at));
		return;
	}
	config_unknown_key(s->ld, at, s->block[s->depth].kind, name);
	if (s->tok.at.line == at->line && s->tok.kind == CONFIG_TOKEN_WORD)
		scan_next(s);
	else
		scan_resync(s, at->line);
}

bool
config_name_check(struct config_load *ld, const struct config_place *at,
    const char *name)
{
	static const char legal[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	    "abcdefghijklmnopqrstuvwxyz0123456789._-";
	size_t len = strlen(name);

	if (len > 0 && len <= CONFIG_NAME_MAX && strspn(name, legal) == len)
		return true;
	config_fail(ld, at, "session", "'%.80s' is no session name: "
	    "use 1 to %d of A-Z a-z 0-9 . _ -", name, CONFIG_NAME_MAX);
	return false;
}

/* Check a session's name and that it is new. */
static void
scan_session_name(struct scan *s, const struct config_place *at,
    const char *name)
{
	struct config_title *t;

	if (!config_name_check(s->ld, at, name))
		return;
	for (t = s->ld->titles; t != NULL; t = t->next) {
		if (strcmp(t->name, name) == 0) {
			config_fail(s->ld, at, "session", "'%s' is repeated: "
			    "rename this one or the one at %s:%u", name,
			    t->at.file, t->at.line);
			return;
		}
	}
	t = calloc(1, sizeof(*t));
	if (t == NULL || (t->name = config_strdup(s->ld, name)) == NULL) {
		free(t);
		config_fail_memory(s->ld);
		return;
	}
	t->at = *at;
	t->next = s->ld->titles;
	s->ld->titles = t;
	s->ld->title_count++;
}

/* Which block does `name` open here?  CONFIG_BLOCK_NONE, with the reason
 * recorded, if none. */
static enum config_block
scan_block_kind(struct scan *s, const struct config_place *at,
    const char *name)
{
	enum config_block here = s->block[s->depth].kind;

	for (int b = CONFIG_BLOCK_DAEMON; b < CONFIG_BLOCKS; b++) {
		if (strcmp(name, config_block_name((enum config_block)b)) != 0)
			continue;
		if (here == (b == CONFIG_BLOCK_ACCESS ?
		    CONFIG_BLOCK_SESSION : CONFIG_BLOCK_NONE))
			return (enum config_block)b;
		config_fail(s->ld, at, name, "this block belongs %s: move it",
		    b == CONFIG_BLOCK_ACCESS ? "in a block 'session'" :
		    "outside of every block");
		return CONFIG_BLOCK_NONE;
	}
	config_fail(s->ld, at, name, "unknown block: correct or remove it "
	    "(there are 'daemon', 'raw', 'session NAME' and in it 'access')");
	return CONFIG_BLOCK_NONE;
}

/* Check what is before a block's '{'. */
static void
scan_block_title(struct scan *s, const struct config_place *at,
    enum config_block kind, const char *title)
{
	const char *name = config_block_name(kind);

	if (kind == CONFIG_BLOCK_SESSION) {
		if (title == NULL)
			config_fail(s->ld, at, name,
			    "a name is missing: write 'session NAME {'");
		else
			scan_session_name(s, at, title);
		return;
	}
	if (title != NULL)
		config_fail(s->ld, at, name, "takes no name: remove '%.80s'",
		    title);
	if (kind != CONFIG_BLOCK_DAEMON)
		return;
	if (s->ld->daemon_at.line != 0)
		config_fail(s->ld, at, name, "repeated: put all into this "
		    "block or the one at %s:%u", s->ld->daemon_at.file,
		    s->ld->daemon_at.line);
	else
		s->ld->daemon_at = *at;
}

/* `name` or `name title`, the next token not being '='. */
static void
scan_open_block(struct scan *s, const struct config_place *at,
    const char *name)
{
	char title[CONFIG_NAME_MAX + 2];	/* too long stays so */
	bool has_title = s->tok.kind == CONFIG_TOKEN_WORD;
	enum config_block kind;

	if (has_title) {
		strlcpy(title, s->tok.text, sizeof(title));
		scan_next(s);
	}
	if (s->tok.kind != CONFIG_TOKEN_OPEN) {
		scan_fail(s, at, name, strcmp(name, "include") == 0 ?
		    "write include(\"PATTERN\")" :
		    "'=' and a value, or a block in { }, must follow");
		return;
	}
	kind = scan_block_kind(s, at, name);
	if (kind == CONFIG_BLOCK_SESSION &&
	    s->ld->title_count >= CONFIG_SESSIONS_MAX) {
		config_fail(s->ld, at, name, "more than %d sessions: "
		    "remove some", CONFIG_SESSIONS_MAX);
		kind = CONFIG_BLOCK_NONE;
	}
	if (kind == CONFIG_BLOCK_NONE) {
		scan_skip_block(s);
		return;
	}
	scan_block_title(s, at, kind, has_title ? title : NULL);
	fprintf(s->ld->out, "%s ", name);
	scan_emit(s->ld, at, kind == CONFIG_BLOCK_SESSION && has_title ?
	    title : "");
	fputs(" {\n", s->ld->out);
	memset(&s->block[++s->depth], 0, sizeof(s->block[0]));
	s->block[s->depth].kind = kind;
	s->block[s->depth].at = *at;
	scan_next(s);
}

/* `include(`, the '(' being the next token. */
static void
scan_include(struct scan *s, const struct config_place *at, const char *name)
{
	char *pattern;

	if (strcmp(name, "include") != 0) {
		scan_fail(s, at, name, "'(' follows only 'include': "
		    "write '=' and a value");
		return;
	}
	scan_next(s);
	if (s->tok.kind != CONFIG_TOKEN_WORD || s->tok.text[0] == '\0') {
		scan_fail(s, at, name, "write include(\"PATTERN\")");
		return;
	}
	pattern = config_strdup(s->ld, s->tok.text);
	scan_next(s);
	if (s->tok.kind != CONFIG_TOKEN_RIGHT) {
		scan_fail(s, at, name, "write include(\"PATTERN\")");
	} else if (s->depth > 0) {
		config_fail(s->ld, at, name, "stands in a block: move it "
		    "outside (a file holds whole blocks)");
		scan_next(s);
	} else {
		if (pattern != NULL)
			config_read_include(s->ld, pattern, at, s->includes);
		scan_next(s);
	}
	free(pattern);
}

static void
scan_close_block(struct scan *s)
{
	if (s->depth == 0) {
		config_fail(s->ld, &s->tok.at, NULL,
		    "'}' closes nothing: remove it");
	} else {
		fputs("}\n", s->ld->out);
		s->depth--;
	}
	scan_next(s);
}

static void
scan_statement(struct scan *s)
{
	struct config_place at = s->tok.at;
	char name[CONFIG_NAME_MAX + 1];

	if (s->tok.kind == CONFIG_TOKEN_CLOSE) {
		scan_close_block(s);
		return;
	}
	if (s->tok.kind != CONFIG_TOKEN_WORD) {
		scan_fail(s, &at, NULL,
		    "a key or the name of a block is expected here");
		return;
	}
	strlcpy(name, s->tok.text, sizeof(name));
	scan_next(s);
	if (s->tok.kind == CONFIG_TOKEN_EQUALS)
		scan_key(s, &at, name);
	else if (s->tok.kind == CONFIG_TOKEN_LEFT)
		scan_include(s, &at, name);
	else
		scan_open_block(s, &at, name);
}

void
config_scan(struct config_load *ld, const char *file, const char *bytes,
    size_t len, unsigned depth)
{
	struct scan *s;

	s = calloc(1, sizeof(*s));
	if (s == NULL) {
		config_fail_memory(ld);
		return;
	}
	s->ld = ld;
	s->includes = depth;
	config_lex_init(&s->lx, ld, file, bytes, len);
	scan_next(s);
	while (s->tok.kind != CONFIG_TOKEN_END)
		scan_statement(s);
	for (; s->depth > 0; s->depth--) {
		config_fail(ld, &s->block[s->depth].at,
		    config_block_name(s->block[s->depth].kind),
		    "the block is not closed: a '}' is missing");
		fputs("}\n", ld->out);
	}
	free(s);
}
