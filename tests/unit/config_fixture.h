/* SPDX-License-Identifier: ISC */
/*
 * For the configuration's unit tests: a directory of its own for each test,
 * files in it, and a load of its main.conf.
 */
#ifndef ISCSIMUX_TESTS_CONFIG_FIXTURE_H
#define ISCSIMUX_TESTS_CONFIG_FIXTURE_H

#include <sys/stat.h>

#include <check.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/conf.h"

#define FIXTURE_IQN	"iqn.2004-10.com.example:"
/* What every session needs, on two lines. */
#define FIXTURE_SESSION(name) \
	"session " name " {\nportal = 127.0.0.1\ntarget = " FIXTURE_IQN "t\n"

struct fixture {
	char			 dir[64];
	struct config_errors	 errs;
	struct config		*cfg;
	bool			 main_optional;
};

static inline void
fixture_init(struct fixture *fx)
{
	memset(fx, 0, sizeof(*fx));
	strcpy(fx->dir, "/tmp/check_config.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(fx->dir));
}

static inline int
fixture_remove(const char *path, const struct stat *st, int flag,
    struct FTW *ftw)
{
	(void)st;
	(void)flag;
	(void)ftw;
	return remove(path);
}

static inline void
fixture_free(struct fixture *fx)
{
	config_free(fx->cfg);
	fx->cfg = NULL;
	config_errors_clear(&fx->errs);
	ck_assert_int_eq(nftw(fx->dir, fixture_remove, 8,
	    FTW_DEPTH | FTW_PHYS), 0);
}

/* The path of `name` in the fixture's directory, to be freed. */
static inline char *
fixture_path(const struct fixture *fx, const char *name)
{
	char *path;

	ck_assert_int_ge(asprintf(&path, "%s/%s", fx->dir, name), 0);
	return path;
}

/* Formatted text, to be freed. */
static inline char *fixture_text(const char *fmt, ...)
    __attribute__((format(printf, 1, 2)));

static inline char *
fixture_text(const char *fmt, ...)
{
	char *text;
	va_list ap;

	va_start(ap, fmt);
	ck_assert_int_ge(vasprintf(&text, fmt, ap), 0);
	va_end(ap);
	return text;
}

static inline void
fixture_mkdir(const struct fixture *fx, const char *name)
{
	char *path = fixture_path(fx, name);

	ck_assert_int_eq(mkdir(path, 0700), 0);
	free(path);
}

static inline void
fixture_write_bytes(const struct fixture *fx, const char *name,
    const char *bytes, size_t len)
{
	char *path = fixture_path(fx, name);
	FILE *f = fopen(path, "w");

	ck_assert_ptr_nonnull(f);
	ck_assert_uint_eq(fwrite(bytes, 1, len, f), len);
	ck_assert_int_eq(fclose(f), 0);
	free(path);
}

static inline void
fixture_write(const struct fixture *fx, const char *name, const char *text)
{
	fixture_write_bytes(fx, name, text, strlen(text));
}

/* As fixture_write_bytes(), for nobody but the owner. */
static inline void
fixture_secret(const struct fixture *fx, const char *name, const char *bytes,
    size_t len)
{
	char *path = fixture_path(fx, name);

	fixture_write_bytes(fx, name, bytes, len);
	ck_assert_int_eq(chmod(path, 0600), 0);
	free(path);
}

/* Load main.conf, with initiator.iscsi beside it as the fallback.  A former
 * result is freed. */
static inline int
fixture_load(struct fixture *fx)
{
	char *path = fixture_path(fx, "main.conf");
	char *initiator = fixture_path(fx, "initiator.iscsi");
	const struct config_files files = { .main = path,
	    .main_optional = fx->main_optional, .initiator = initiator };
	int error;

	config_free(fx->cfg);
	fx->cfg = NULL;
	config_errors_clear(&fx->errs);
	error = config_load_files(&files, &fx->cfg, &fx->errs);
	free(path);
	free(initiator);
	return error;
}

/* Load `text` as main.conf, with an initiator name given by the fallback. */
static inline int
fixture_load_text(struct fixture *fx, const char *text)
{
	fixture_write(fx, "initiator.iscsi",
	    "InitiatorName=" FIXTURE_IQN "i\n");
	fixture_write(fx, "main.conf", text);
	return fixture_load(fx);
}

/* As fixture_load_text(); the text has no error. */
static inline const struct config *
fixture_good(struct fixture *fx, const char *text)
{
	int error = fixture_load_text(fx, text);

	ck_assert_msg(error == 0, "%s\n-> %s", text,
	    fx->errs.count > 0 ? fx->errs.text[0] : "no error text");
	ck_assert_uint_eq(fx->errs.total, 0);
	return fx->cfg;
}

/* Compare error `i` with "DIR/expected"; `$` in it stands for DIR. */
static inline void
fixture_error_is(const struct fixture *fx, size_t i, const char *expected)
{
	char *text = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);

	ck_assert_ptr_nonnull(f);
	for (; *expected != '\0'; expected++)
		if (*expected == '$')
			fputs(fx->dir, f);
		else
			putc(*expected, f);
	ck_assert_int_eq(fclose(f), 0);
	ck_assert_uint_lt(i, fx->errs.count);
	ck_assert_str_eq(fx->errs.text[i], text);
	free(text);
}

/* All limits are as the manual says they are by default. */
static inline void
fixture_default_limits(const struct config_limits *l)
{
	ck_assert_uint_eq(l->max_clients, 1024);
	ck_assert_uint_eq(l->client_tasks, 1024);
	ck_assert_uint_eq(l->client_inbound, UINT64_C(64) << 20);
	ck_assert_uint_eq(l->client_outbound, UINT64_C(16) << 20);
	ck_assert_uint_eq(l->uid_factor, 4);
	ck_assert_uint_eq(l->hello_timeout, 5000);
	ck_assert_uint_eq(l->client_stall_timeout, 30000);
	ck_assert_uint_eq(l->abort_timeout, 15000);
	ck_assert_uint_eq(l->r2t_timeout, 30000);
}

#endif /* ISCSIMUX_TESTS_CONFIG_FIXTURE_H */
