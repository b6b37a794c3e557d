/* SPDX-License-Identifier: ISC */
/*
 * Files of secrets (daemon/secret.h): what is in them, and who may read them.
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/secret.h"
#include "tests/unit/config_fixture.h"
#include "tests/unit/unit.h"

static struct fixture fx;

static void
setup(void)
{
	fixture_init(&fx);
	ck_assert_int_eq(setenv("CREDENTIALS_DIRECTORY", fx.dir, 1), 0);
}

static void
teardown(void)
{
	fixture_free(&fx);
}

/* Read the file `name`; its reason for a failure goes to `why`. */
static int
read_named(const char *name, struct secret *out, char why[512])
{
	char *path = fixture_path(&fx, name);
	int error;

	*why = '\0';
	error = secret_read(path, out, why, 512);
	ck_assert_int_eq(error == 0, *why == '\0');
	ck_assert(error == 0 || out->len == 0);
	free(path);
	return error;
}

#define BYTES(literal)	literal, sizeof(literal) - 1

START_TEST(contents)
{
	static const struct {
		const char *file;
		size_t file_len;
		const char *secret;
		size_t len;
	} rows[] = {
		{ BYTES("twelve bytes"), BYTES("twelve bytes") },
		{ BYTES("twelve bytes\n"), BYTES("twelve bytes") },
		{ BYTES("twelve bytes\n\n"), BYTES("twelve bytes\n") },
		{ BYTES("a\r\n"), BYTES("a\r") },
		{ BYTES(" a b "), BYTES(" a b ") },
		{ BYTES("\0\1\xff\n"), BYTES("\0\1\xff") },
		{ BYTES("0x00fF10\n"), BYTES("\0\xff\x10") },
		{ BYTES("0x00"), BYTES("\0") },
		/* None of these is hexadecimal. */
		{ BYTES("0X00ff"), BYTES("0X00ff") },
		{ BYTES(" 0x00"), BYTES(" 0x00") },
		{ BYTES("0"), BYTES("0") },
	};
	struct secret s;
	char why[512];

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		fixture_secret(&fx, "s", rows[i].file, rows[i].file_len);
		ck_assert_int_eq(read_named("s", &s, why), 0);
		ck_assert_uint_eq(s.len, rows[i].len);
		ck_assert_mem_eq(s.bytes, rows[i].secret, s.len);
	}
}
END_TEST

/* The reason names the file, and never shows what is in it. */
START_TEST(bad_contents)
{
	static const struct {
		const char *file;
		const char *words;
	} rows[] = {
		{ "", " is empty" },
		{ "\n", " is empty" },
		{ "0x", "two hexadecimal digits for each byte" },
		{ "0xabc", "two hexadecimal digits for each byte" },
		{ "0xsesame", "hexadecimal digits only" },
		{ "0xab cd1", "hexadecimal digits only" },
		{ "0xab\n\n", "hexadecimal digits" },
	};
	struct secret s;
	char why[512];

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		fixture_secret(&fx, "s", rows[i].file, strlen(rows[i].file));
		ck_assert_int_eq(read_named("s", &s, why), -EINVAL);
		ck_assert_ptr_nonnull(strstr(why, rows[i].words));
		ck_assert_ptr_nonnull(strstr(why, fx.dir));
		ck_assert_ptr_null(strstr(why, "sesame"));
	}
}
END_TEST

START_TEST(lengths)
{
	char bytes[2 * SECRET_MAX + 8];
	struct secret s;
	char why[512];

	memset(bytes, 'a', sizeof(bytes));
	fixture_secret(&fx, "s", bytes, SECRET_MAX);
	ck_assert_int_eq(read_named("s", &s, why), 0);
	ck_assert_uint_eq(s.len, SECRET_MAX);
	fixture_secret(&fx, "s", bytes, SECRET_MAX + 1);
	ck_assert_int_eq(read_named("s", &s, why), -E2BIG);
	bytes[0] = '0';
	bytes[1] = 'x';
	bytes[2 + 2 * SECRET_MAX] = '\n';
	fixture_secret(&fx, "s", bytes, 2 + 2 * SECRET_MAX + 1);
	ck_assert_int_eq(read_named("s", &s, why), 0);
	ck_assert_uint_eq(s.len, SECRET_MAX);
	bytes[2 + 2 * SECRET_MAX] = 'a';
	fixture_secret(&fx, "s", bytes, 2 + 2 * SECRET_MAX + 2);
	ck_assert_int_eq(read_named("s", &s, why), -E2BIG);

	s.len = 11;
	ck_assert(secret_is_short(&s));
	s.len = 12;
	ck_assert(!secret_is_short(&s));
}
END_TEST

START_TEST(who_may_read)
{
	static const mode_t bad[] = { 0640, 0620, 0610, 0604, 0602, 0601 };
	char *path = fixture_path(&fx, "s");
	struct secret s;
	char why[512];

	fixture_secret(&fx, "s", BYTES("twelve bytes"));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		ck_assert_int_eq(chmod(path, bad[i]), 0);
		ck_assert_int_eq(read_named("s", &s, why), -EPERM);
		ck_assert_ptr_nonnull(strstr(why, "chmod 600 it"));
	}
	ck_assert_int_eq(chmod(path, 0400), 0);
	ck_assert_int_eq(read_named("s", &s, why), 0);
	/* systemd gives a credential to a user by an ACL. */
	ck_assert_int_eq(chmod(path, 0440), 0);
	ck_assert_int_eq(secret_read("credential:s", &s, why, sizeof(why)), 0);
	ck_assert_uint_eq(s.len, 12);
	ck_assert_int_eq(chmod(path, 0444), 0);
	ck_assert_int_eq(secret_read("credential:s", &s, why, sizeof(why)),
	    -EPERM);
	free(path);
}
END_TEST

/* What is no file of a secret; a FIFO must not be waited for. */
START_TEST(no_file)
{
	char *fifo = fixture_path(&fx, "fifo");
	struct secret s;
	char why[512];

	ck_assert_int_eq(mkfifo(fifo, 0600), 0);
	fixture_mkdir(&fx, "dir");
	ck_assert_int_eq(read_named("fifo", &s, why), -EINVAL);
	ck_assert_ptr_nonnull(strstr(why, "not a regular file"));
	ck_assert_int_eq(read_named("dir", &s, why), -EINVAL);
	ck_assert_int_eq(read_named("none", &s, why), -ENOENT);
	ck_assert_int_eq(secret_read("credential:none", &s, why,
	    sizeof(why)), -ENOENT);
	ck_assert_int_eq(unsetenv("CREDENTIALS_DIRECTORY"), 0);
	ck_assert_int_eq(secret_read("credential:s", &s, why, sizeof(why)),
	    -ENOENT);
	ck_assert_ptr_nonnull(strstr(why, "LoadCredential=s"));
	free(fifo);
}
END_TEST

START_TEST(where)
{
	static const char *const bad[] = { "", "secret", "./secret",
	    "credential:", "credential:a/b", "credential:..", "credential:.a",
	    "Credential:a" };
	struct secret s;
	char why[512];

	ck_assert_ptr_null(secret_where_check("/a"));
	ck_assert_ptr_null(secret_where_check("credential:a.b-c"));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		ck_assert_ptr_nonnull(secret_where_check(bad[i]));
		ck_assert_int_eq(secret_read(bad[i], &s, why, sizeof(why)),
		    -EINVAL);
	}
}
END_TEST

START_TEST(comparison_and_end)
{
	struct secret a = { 2, "ab" }, b = { 2, "ab" };
	static const struct secret zero;

	ck_assert(secret_equal(&a, &b));
	b.bytes[1] = 'c';
	ck_assert(!secret_equal(&a, &b));
	b = a;
	b.len = 1;
	ck_assert(!secret_equal(&a, &b));
	secret_wipe(&a);
	ck_assert_mem_eq(&a, &zero, sizeof(a));
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("secret");
	TCase *tcase = tcase_create("secret");

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, contents);
	tcase_add_test(tcase, bad_contents);
	tcase_add_test(tcase, lengths);
	tcase_add_test(tcase, who_may_read);
	tcase_add_test(tcase, no_file);
	tcase_add_test(tcase, where);
	tcase_add_test(tcase, comparison_and_end);
	suite_add_tcase(suite, tcase);
	return unit_run(suite);
}
