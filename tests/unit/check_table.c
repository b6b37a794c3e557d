/* SPDX-License-Identifier: ISC */
/*
 * What iscsimuxctl prints (client/table.h, client/ctl_text.h): columns, no
 * blanks at the end of a line, nothing that a terminal would obey, and
 * numbers in words.
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/ctl_text.h"
#include "client/table.h"
#include "tests/unit/unit.h"

static const struct table_column columns[] = { { "NAME", false },
	{ "N", true }, { "STATE", false } };

static void
row(struct table *t, const char *name, const char *n, const char *state,
    enum table_style style)
{
	table_text(t, TABLE_PLAIN, name);
	table_text(t, TABLE_PLAIN, n);
	table_text(t, style, state);
}

static void
expect(struct table *t, bool colours, const char *wanted)
{
	char *text = NULL;
	size_t len = 0;
	FILE *to = open_memstream(&text, &len);

	ck_assert_ptr_nonnull(to);
	ck_assert_int_eq(table_print(t, to, colours), 0);
	ck_assert_int_eq(fclose(to), 0);
	ck_assert_str_eq(text, wanted);
	free(text);
	table_free(t);
}

START_TEST(columns_are_aligned)
{
	struct table *t = table_new(columns, 3);

	row(t, "a", "1", "up", TABLE_GOOD);
	row(t, "longer-name", "1000", "", TABLE_PLAIN);
	row(t, "", "20", "down", TABLE_BAD);
	table_note(t, "why: %d", 7);
	row(t, "b", "", "", TABLE_PLAIN);
	expect(t, false,
	    "NAME            N  STATE\n"
	    "a               1  up\n"
	    "longer-name  1000\n"
	    "               20  down\n"
	    "    why: 7\n"
	    "b\n");
}
END_TEST

START_TEST(colours_take_no_room)
{
	struct table *t = table_new(columns, 3);

	row(t, "a", "1", "up", TABLE_GOOD);
	row(t, "b", "22", "down", TABLE_BAD);
	expect(t, true,
	    "NAME   N  STATE\n"
	    "a      1  \033[32mup\033[0m\n"
	    "b     22  \033[31mdown\033[0m\n");
}
END_TEST

START_TEST(no_headings)
{
	static const struct table_column pairs[2];
	struct table *t = table_new(pairs, 2);

	table_text(t, TABLE_PLAIN, "key");
	table_printf(t, TABLE_PLAIN, "%d %s", 5, "x");
	table_text(t, TABLE_PLAIN, "other key");
	table_text(t, TABLE_PLAIN, "");
	expect(t, false, "key        5 x\nother key\n");
}
END_TEST

START_TEST(nothing_reaches_the_terminal)
{
	struct table *t = table_new(columns, 3);

	row(t, "a\nb\tc", "\033[2J", "\xc2\x9b\x7f", TABLE_PLAIN);
	table_note(t, "%s", "x\ry");
	expect(t, false,
	    "NAME               N  STATE\n"
	    "a\\x0ab\\x09c  \\x1b[2J  \\xc2\\x9b\\x7f\n"
	    "    x\\x0dy\n");
}
END_TEST

START_TEST(many_rows)
{
	struct table *t = table_new(columns, 3);
	char *text = NULL;
	size_t len = 0;
	FILE *to = open_memstream(&text, &len);

	for (int i = 0; i < 1000; i++)
		row(t, "abc", "12", "up", TABLE_PLAIN);
	ck_assert_int_eq(table_print(t, to, false), 0);
	ck_assert_int_eq(fclose(to), 0);
	ck_assert_uint_eq(len, 1001 * strlen("NAME   N  STATE\n") -
	    1000 * strlen("ATE"));
	free(text);
	table_free(t);
}
END_TEST

START_TEST(full_disk_is_told)
{
	struct table *t = table_new(columns, 3);
	FILE *to = fopen("/dev/full", "w");
	int rc;

	ck_assert_ptr_nonnull(to);
	setvbuf(to, NULL, _IONBF, 0);
	row(t, "a", "1", "up", TABLE_PLAIN);
	rc = table_print(t, to, false);
	ck_assert_int_eq(rc, -1);
	fclose(to);
	table_free(t);
}
END_TEST

static const struct {
	json_int_t	 n;
	const char	*time, *size;
} numbers[] = {
	{ 0, "0 ms", "0 B" },
	{ 999, "999 ms", "999 B" },
	{ 1500, "1.5 s", "1.5 KiB" },
	{ 1024, "1.0 s", "1 KiB" },
	{ 59999, "60.0 s", "58.6 KiB" },
	{ 61000, "1 min 1 s", "59.6 KiB" },
	{ 7260000, "2 h 1 min", "6.9 MiB" },
	{ 67108864, "18 h 38 min", "64 MiB" },
	{ 93600000, "1 d 2 h", "89.3 MiB" },
	{ 5368709120, "62 d 3 h", "5 GiB" },
};

START_TEST(numbers_in_words)
{
	char buf[CTL_TEXT_MAX];

	ck_assert_str_eq(ctl_duration(numbers[_i].n, buf, sizeof(buf)),
	    numbers[_i].time);
	ck_assert_str_eq(ctl_size(numbers[_i].n, buf, sizeof(buf)),
	    numbers[_i].size);
}
END_TEST

START_TEST(members_in_words)
{
	json_t *number = json_integer(2048), *text = json_string("x");
	json_t *yes = json_true(), *none = json_null();
	char buf[CTL_TEXT_MAX];

	ck_assert_str_eq(ctl_value("up_ms", number, buf, sizeof(buf)),
	    "2.0 s");
	ck_assert_str_eq(ctl_value("in_bytes", number, buf, sizeof(buf)),
	    "2 KiB");
	ck_assert_str_eq(ctl_value("pid", number, buf, sizeof(buf)), "2048");
	ck_assert_str_eq(ctl_value("_ms", number, buf, sizeof(buf)), "2048");
	ck_assert_str_eq(ctl_value("a", text, buf, sizeof(buf)), "x");
	ck_assert_str_eq(ctl_value("a", yes, buf, sizeof(buf)), "yes");
	ck_assert_str_eq(ctl_value("a", none, buf, sizeof(buf)), "-");
	ctl_key("client_stall_timeout_ms", buf, sizeof(buf));
	ck_assert_str_eq(buf, "client stall timeout");
	json_decref(number);
	json_decref(text);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("table");
	TCase *tc = tcase_create("table");

	tcase_add_test(tc, columns_are_aligned);
	tcase_add_test(tc, colours_take_no_room);
	tcase_add_test(tc, no_headings);
	tcase_add_test(tc, nothing_reaches_the_terminal);
	tcase_add_test(tc, many_rows);
	tcase_add_test(tc, full_disk_is_told);
	tcase_add_loop_test(tc, numbers_in_words, 0,
	    (int)(sizeof(numbers) / sizeof(numbers[0])));
	tcase_add_test(tc, members_in_words);
	suite_add_tcase(suite, tc);
	return unit_run(suite);
}
