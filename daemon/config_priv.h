/* SPDX-License-Identifier: ISC */
/*
 * What the files of the configuration module (config*.c) share, and their
 * unit test.  A load goes
 *
 *	config_read.c	files, includes, conf.d
 *	config_lex.c	bytes to tokens
 *	config_scan.c	tokens to statements, rewritten for libconfuse
 *	config_build.c	libconfuse's tree to struct config
 *	config_value.c, config_text.c, config_ids.c	one value
 *	config_draft.c	a session block that stands in no file
 *	config_check.c	values that contradict each other
 *	config_chap.c	the keys of CHAP and the secrets they name
 *	config_compare.c	two configurations
 *	config_keys.c	the table of all keys
 *
 * and nobody else includes this but their tests.
 */
#ifndef DAEMON_CONFIG_PRIV_H
#define DAEMON_CONFIG_PRIV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "daemon/conf.h"

#define CONFIG_FILE_MAX		(1024 * 1024)	/* bytes of one file */
#define CONFIG_TOTAL_MAX	(16 * 1024 * 1024)	/* bytes of all files */
#define CONFIG_FILES_MAX	256	/* files read in one load */
#define CONFIG_INCLUDE_MAX	8	/* includes inside includes */
#define CONFIG_VALUE_MAX	4096	/* bytes of one value */
#define CONFIG_KEYS_MAX		128	/* size of the key table */
#define CONFIG_LIST_MAX		256	/* values of one list */
#define CONFIG_PORTALS_MAX	16	/* portals of one session */

/* A line of a file; line 0 means the file as a whole, no file a block that
 * stands in none. */
struct config_place {
	const char	*file;
	unsigned	 line;
};

/* A file that was read, or is being read. */
struct config_source {
	char			*path;
	uint64_t		 dev;
	uint64_t		 ino;
	bool			 active;	/* not yet at its end */
	struct config_source	*next;
};

/* One load in progress. */
struct config_load {
	struct config_errors	*errs;
	const struct config_files *files;
	bool			 no_memory;
	struct config_source	*sources;
	size_t			 source_count;
	size_t			 bytes;		/* of all sources */
	struct config_place	*places;	/* index: the number of a tag */
	size_t			 place_count;
	size_t			 place_room;
	struct config_title	*titles;	/* session names so far */
	size_t			 title_count;
	struct config_place	 daemon_at;	/* line 0: no such block yet */
	FILE			*out;		/* text for libconfuse */
	struct config		*cfg;
};

/* A session name and where it stands. */
struct config_title {
	char			*name;
	struct config_place	 at;
	struct config_title	*next;
};

/* One value of a key as text, with all quoting undone. */
struct config_value {
	const char		*text;
	struct config_place	 at;
	bool			 is_default;	/* text is the key's default */
};

enum config_block {
	CONFIG_BLOCK_NONE = 0,		/* outside of every block */
	CONFIG_BLOCK_DAEMON,
	CONFIG_BLOCK_SESSION,
	CONFIG_BLOCK_ACCESS,
	CONFIG_BLOCK_RAW,
	CONFIG_BLOCKS
};

struct config_key;

/*
 * Turn the `n` values of `key` (n is 1 unless the key is a list) into the
 * field at `field`; say what is wrong with config_fail().
 */
typedef void config_set(struct config_load *ld, const struct config_key *key,
    const struct config_value *v, size_t n, void *field);

/* A key: everything there is to know about it. */
struct config_key {
	enum config_block	 block;
	const char		*name;
	config_set		*set;
	size_t			 offset;	/* of the field */
	uint64_t		 min, max;	/* in the field's unit */
	const char		*def;		/* as written, or NULL */
	bool			 list;
	bool			 required;
	bool			 restart;	/* not while the daemon runs */
};

/* config_keys.c: the table, and one block's keys by name. */
extern const struct config_key config_keys[];
extern const size_t config_key_count;
const struct config_key *config_key_find(enum config_block block,
    const char *name);
const char *config_block_name(enum config_block block);

/* config_load.c: record an error at a place, about a key or block (or NULL). */
void config_fail(struct config_load *ld, const struct config_place *at,
    const char *key, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* Record, once in a load, that memory ran out. */
void config_fail_memory(struct config_load *ld);
/* strdup(3) that calls config_fail_memory() before it returns NULL. */
char *config_strdup(struct config_load *ld, const char *text);

/* config_lex.c: tokens. */
enum config_token_kind {
	CONFIG_TOKEN_END = 0,
	CONFIG_TOKEN_BAD,	/* an error, which has been recorded */
	CONFIG_TOKEN_WORD,	/* with or without quotes */
	CONFIG_TOKEN_EQUALS,
	CONFIG_TOKEN_OPEN,
	CONFIG_TOKEN_CLOSE,
	CONFIG_TOKEN_COMMA,
	CONFIG_TOKEN_LEFT,
	CONFIG_TOKEN_RIGHT
};

struct config_lexer {
	struct config_load	*ld;
	const char		*p, *end;
	struct config_place	 at;		/* of p */
};

struct config_token {
	enum config_token_kind	 kind;
	struct config_place	 at;
	char			 text[CONFIG_VALUE_MAX + 1];
};

/* Start on `len` bytes, which stay the caller's, as does `file`. */
void config_lex_init(struct config_lexer *lx, struct config_load *ld,
    const char *file, const char *bytes, size_t len);
/* Read the next token to `tok`. */
void config_lex_next(struct config_lexer *lx, struct config_token *tok);

/* config_scan.c: check one file's statements and append them to ld->out;
 * `depth` is how many includes led to it. */
void config_scan(struct config_load *ld, const char *file, const char *bytes,
    size_t len, unsigned depth);

/* config_read.c: scan one file; `from` is the include that names it, or NULL.
 * A file that is missing is no error if `optional`. */
void config_read_file(struct config_load *ld, const char *path,
    const struct config_place *from, bool optional, unsigned depth);
/* Scan every file that matches an include pattern. */
void config_read_include(struct config_load *ld, const char *pattern,
    const struct config_place *from, unsigned depth);
/* Scan the conf.d beside the main file, if there is one. */
void config_read_dropins(struct config_load *ld, const char *main_path);
/* Read a whole regular file of at most `max` bytes to a new buffer; -E2BIG,
 * -EINVAL (not a regular file), or another negative errno.  `src` may be NULL;
 * else its dev and ino are filled in. */
int config_read_bytes(const char *path, size_t max, char **out, size_t *len,
    struct config_source *src);

/* config_build.c: let libconfuse parse `text`, fill ld->cfg from it. */
void config_build(struct config_load *ld, const char *text);

/* Set the field of one key in `base`, the struct of its block, to `n` values,
 * or if n is 0 to its default; `*at`, the block's place, becomes theirs. */
void config_apply(struct config_load *ld, const struct config_key *key,
    const struct config_value *v, size_t n, struct config_place *at,
    void *base);

/* config_scan.c: record what is wrong with a session's name; true if nothing
 * is.  Record that a block has no such key. */
bool config_name_check(struct config_load *ld, const struct config_place *at,
    const char *name);
void config_unknown_key(struct config_load *ld, const struct config_place *at,
    enum config_block block, const char *name);

/* config_compare.c: is the key's value the same in `a` and `b`, structs of its
 * block? */
bool config_key_equal(const struct config_key *key, const void *a,
    const void *b);

/* config_check.c: what one key alone cannot say, for one session and, after
 * all of them, for the whole; `at` has the place of each key of the table. */
void config_check_session(struct config_load *ld,
    const struct config_session *s, const struct config_place *at);
void config_check_daemon(struct config_load *ld,
    const struct config_place *at);

/* config_chap.c: the CHAP keys of a session together; reads the secrets. */
void config_check_chap(struct config_load *ld, struct config_session *s,
    const struct config_place *at);
void config_chap_free(struct config_chap *chap);

/* Setters, one for each type of key.  config_value.c: numbers and words. */
config_set config_set_bool;	/* bool */
config_set config_set_count;	/* uint32_t */
config_set config_set_size;	/* uint64_t, bytes */
config_set config_set_size32;	/* uint32_t, bytes */
config_set config_set_time;	/* uint32_t, ms */
config_set config_set_seconds;	/* uint32_t, s */
config_set config_set_mode;	/* uint32_t */
config_set config_set_level;	/* enum log_level */
config_set config_set_order;	/* bool, true: big */
config_set config_set_async_logout;	/* bool, true: drop */
config_set config_set_startup;	/* bool, true: manual */
config_set config_set_digests;	/* struct config_digests */
config_set config_set_tpgt;	/* struct config_session, tpgt and tpgt_set */
/* config_text.c: names and addresses. */
config_set config_set_socket;	/* char *, path */
config_set config_set_name;	/* char *, iSCSI name */
config_set config_set_alias;	/* char * */
config_set config_set_portal;	/* struct config_session, all portals */
config_set config_set_portals;	/* struct config_raw, portals and count */
config_set config_set_isid;	/* struct config_session, isid and isid_set */
/* config_chap.c: CHAP. */
config_set config_set_chap_name;	/* char * */
config_set config_set_secret_file;	/* char * */
config_set config_set_algorithms;	/* struct config_chap_rules */
/* config_ids.c: users, groups and what they may. */
config_set config_set_user;	/* struct config, user, uid and gid */
config_set config_set_group;	/* struct config, data_socket_group and gid */
config_set config_set_users;	/* struct config_ids */
config_set config_set_groups;	/* struct config_ids */
config_set config_set_allow;	/* uint32_t, enum msg_access */
config_set config_set_luns;	/* nothing: refused */

/* Print a size or a time the way one would write it ("64K", "1500ms") to
 * `buf`, which is returned. */
const char *config_size_text(uint64_t bytes, char *buf, size_t size);
const char *config_time_text(uint64_t ms, char *buf, size_t size);

#endif /* DAEMON_CONFIG_PRIV_H */
