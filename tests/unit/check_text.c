/* SPDX-License-Identifier: ISC */
/*
 * iSCSI text: pairs, numbers, booleans, lists, and the writer.
 */
#include "config.h"

#include <errno.h>
#include <string.h>

#include "proto/text.h"
#include "tests/unit/unit.h"

/* A literal with its inner NULs, without the one C adds. */
#define TEXT(r, literal) text_reader_init(r, literal, sizeof(literal) - 1)

static struct text_pair
pair_of(const char *value)
{
	struct text_pair p = { "K", 1, value, strlen(value) };

	return p;
}

/* Binary values, and what is none. */
START_TEST(binary)
{
	static const struct {
		const char	*value;
		int		 error;
		size_t		 len;
		const char	*bytes;
	} rows[] = {
		{ "0x0", 0, 1, "\0" },
		{ "0X0aF", 0, 2, "\0\xaf" },
		{ "0xabc", 0, 2, "\x0a\xbc" },
		{ "0x00ff10", 0, 3, "\0\xff\x10" },
		{ "0x0102030405", -ERANGE, 0, "" },
		{ "0b", -EINVAL, 0, "" },
		{ "0bAA==", 0, 1, "\0" },
		{ "0BAA", 0, 1, "\0" },
		{ "0b+/8=", 0, 2, "\xfb\xff" },
		{ "0bAAEC", 0, 3, "\0\1\2" },
		{ "0bAAECAw==", 0, 4, "\0\1\2\3" },
		{ "0bAAECAwQ=", -ERANGE, 0, "" },
		{ "0bA", -EINVAL, 0, "" },
		{ "0bA===", -EINVAL, 0, "" },
		{ "0bAA=", -EINVAL, 0, "" },
		{ "0bAA=A", -EINVAL, 0, "" },
		{ "0bAAE*", -EINVAL, 0, "" },
		{ "0b====", -EINVAL, 0, "" },
		{ "0x", -EINVAL, 0, "" },
		{ "0xg", -EINVAL, 0, "" },
		{ "", -EINVAL, 0, "" },
		{ "12", -EINVAL, 0, "" },
		{ "00ff", -EINVAL, 0, "" },
		{ "1xff", -EINVAL, 0, "" },
	};
	struct text_pair p;
	uint8_t out[4];
	size_t len;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		p = pair_of(rows[i].value);
		ck_assert_msg(text_binary(&p, out, sizeof(out), &len) ==
		    rows[i].error, "%s", rows[i].value);
		if (rows[i].error != 0)
			continue;
		ck_assert_uint_eq(len, rows[i].len);
		ck_assert_mem_eq(out, rows[i].bytes, len);
	}
}
END_TEST

START_TEST(write_binary)
{
	static const uint8_t bytes[] = { 0, 0x1f, 0xff };
	struct text_writer w;
	char buf[11];

	text_writer_init(&w, buf, sizeof(buf));
	text_put_binary(&w, "K", bytes, sizeof(bytes));
	ck_assert_uint_eq(w.len, 11);
	ck_assert_str_eq(buf, "K=0x001fff");
	text_writer_init(&w, buf, sizeof(buf) - 1);
	text_put_binary(&w, "K", bytes, sizeof(bytes));
	ck_assert_uint_eq(w.len, 0);
	ck_assert(w.overflow);
}
END_TEST

static void
expect_pair(struct text_reader *r, const char *key, const char *value)
{
	struct text_pair p;

	ck_assert_int_eq(text_next(r, &p), TEXT_OK);
	ck_assert(text_key_is(&p, key));
	ck_assert(text_value_is(&p, value));
	ck_assert_uint_eq(p.key_len, strlen(key));
	ck_assert_uint_eq(p.value_len, strlen(value));
	ck_assert_str_eq(p.value, value);
}

START_TEST(pairs)
{
	struct text_reader r;
	struct text_pair p;

	TEXT(&r, "InitiatorName=iqn.x\0HeaderDigest=CRC32C,None\0"
	    "SendTargets=\0X-com.foo+a@b_=a=b\0X#Node=1\0iSCSIProtocolLevel=2"
	    "\0");
	expect_pair(&r, "InitiatorName", "iqn.x");
	expect_pair(&r, "HeaderDigest", "CRC32C,None");
	expect_pair(&r, "SendTargets", "");
	expect_pair(&r, "X-com.foo+a@b_", "a=b");
	expect_pair(&r, "X#Node", "1");
	expect_pair(&r, "iSCSIProtocolLevel", "2");
	ck_assert_int_eq(text_next(&r, &p), TEXT_END);
	ck_assert_int_eq(text_next(&r, &p), TEXT_END);
}
END_TEST

START_TEST(empty_and_nuls)
{
	struct text_reader r;
	struct text_pair p;

	text_reader_init(&r, NULL, 0);
	ck_assert_int_eq(text_next(&r, &p), TEXT_END);
	TEXT(&r, "\0\0\0");
	ck_assert_int_eq(text_next(&r, &p), TEXT_END);
	TEXT(&r, "\0\0A=1\0\0\0B=2\0\0");
	expect_pair(&r, "A", "1");
	expect_pair(&r, "B", "2");
	ck_assert_int_eq(text_next(&r, &p), TEXT_END);
}
END_TEST

START_TEST(errors)
{
	static const struct {
		const char	*text;
		size_t		 len;
		enum text_error	 error;
	} cases[] = {
		{ "A=1", 3, TEXT_E_UNTERMINATED },
		{ "A", 1, TEXT_E_UNTERMINATED },
		{ "A\0", 2, TEXT_E_NO_EQUALS },
		{ "A\0B=1\0", 6, TEXT_E_NO_EQUALS },
		{ "=1\0", 3, TEXT_E_KEY },
		{ "A B=1\0", 6, TEXT_E_KEY },
		{ "A\xc3\xa4=1\0", 6, TEXT_E_KEY },
		{ "A,B=1\0", 6, TEXT_E_KEY },
		{ "A\n=1\0", 5, TEXT_E_KEY },
	};
	struct text_reader r;
	struct text_pair p;
	size_t i;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		text_reader_init(&r, cases[i].text, cases[i].len);
		ck_assert_int_eq(text_next(&r, &p), cases[i].error);
		ck_assert_int_eq(text_next(&r, &p), cases[i].error);
		ck_assert_str_ne(text_error_name(cases[i].error),
		    "unknown error");
	}
	ck_assert_str_eq(text_error_name((enum text_error)99),
	    "unknown error");
	/* A good pair before a bad one is still good. */
	TEXT(&r, "A=1\0B");
	expect_pair(&r, "A", "1");
	ck_assert_int_eq(text_next(&r, &p), TEXT_E_UNTERMINATED);
}
END_TEST

START_TEST(limits)
{
	char text[TEXT_KEY_MAX + 2 + TEXT_VALUE_MAX + 3];
	struct text_reader r;
	struct text_pair p;

	memset(text, 'a', sizeof(text));
	text[TEXT_KEY_MAX] = '=';
	text[TEXT_KEY_MAX + 1 + TEXT_VALUE_MAX] = '\0';
	text_reader_init(&r, text, TEXT_KEY_MAX + 1 + TEXT_VALUE_MAX + 1);
	ck_assert_int_eq(text_next(&r, &p), TEXT_OK);
	ck_assert_uint_eq(p.key_len, 63);
	ck_assert_uint_eq(p.value_len, 8192);

	text[TEXT_KEY_MAX + 1 + TEXT_VALUE_MAX] = 'a';
	text[TEXT_KEY_MAX + 1 + TEXT_VALUE_MAX + 1] = '\0';
	text_reader_init(&r, text, TEXT_KEY_MAX + 1 + TEXT_VALUE_MAX + 2);
	ck_assert_int_eq(text_next(&r, &p), TEXT_E_VALUE);

	text[TEXT_KEY_MAX] = 'a';
	text[TEXT_KEY_MAX + 1] = '=';
	text_reader_init(&r, text, TEXT_KEY_MAX + 1 + TEXT_VALUE_MAX + 2);
	ck_assert_int_eq(text_next(&r, &p), TEXT_E_KEY);
}
END_TEST

START_TEST(key_is_case_sensitive)
{
	struct text_pair p = pair_of("yes");
	bool b;

	ck_assert(text_key_is(&p, "K"));
	ck_assert(!text_key_is(&p, "k"));
	ck_assert(!text_key_is(&p, "KK"));
	ck_assert(!text_key_is(&p, ""));
	ck_assert(!text_value_is(&p, "Yes"));
	ck_assert(!text_value_is(&p, "ye"));
	ck_assert_int_eq(text_boolean(&p, &b), -EINVAL);
}
END_TEST

START_TEST(numbers)
{
	static const struct {
		const char	*text;
		uint64_t	 max;
		int		 rc;
		uint64_t	 value;
	} cases[] = {
		{ "0", 10, 0, 0 },
		{ "8192", 16777215, 0, 8192 },
		{ "0x2000", 16777215, 0, 8192 },
		{ "0XfF", 255, 0, 255 },
		{ "0xFFFFFFFFFFFFFFFF", UINT64_MAX, 0, UINT64_MAX },
		{ "18446744073709551615", UINT64_MAX, 0, UINT64_MAX },
		{ "18446744073709551616", UINT64_MAX, -ERANGE, 0 },
		{ "0x10000000000000000", UINT64_MAX, -ERANGE, 0 },
		{ "99999999999999999999999", UINT64_MAX, -ERANGE, 0 },
		{ "11", 10, -ERANGE, 0 },
		{ "10", 10, 0, 10 },
		{ "", 10, -EINVAL, 0 },
		{ "0x", 10, -EINVAL, 0 },
		{ "-1", 10, -EINVAL, 0 },
		{ "+1", 10, -EINVAL, 0 },
		{ " 1", 10, -EINVAL, 0 },
		{ "1 ", 10, -EINVAL, 0 },
		{ "1a", 10, -EINVAL, 0 },
		{ "a", 10, -EINVAL, 0 },
		{ "0xg", 10, -EINVAL, 0 },
		{ "99999999999999999999999x", UINT64_MAX, -EINVAL, 0 },
		{ "Irrelevant", 10, -EINVAL, 0 },
		{ "Reject", 10, -EINVAL, 0 },
		{ "NotUnderstood", 10, -EINVAL, 0 },
	};
	struct text_pair p;
	uint64_t value;
	size_t i;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		p = pair_of(cases[i].text);
		value = 4711;
		ck_assert_int_eq(text_number(&p, cases[i].max, &value),
		    cases[i].rc);
		ck_assert_uint_eq(value,
		    cases[i].rc == 0 ? cases[i].value : 4711);
	}
}
END_TEST

START_TEST(booleans)
{
	static const char *const bad[] = { "", "yes", "YES", "no", "Ye",
	    "Yes ", "1", "True", "Irrelevant" };
	struct text_pair p = pair_of("Yes");
	bool b = false;
	size_t i;

	ck_assert_int_eq(text_boolean(&p, &b), 0);
	ck_assert(b);
	p = pair_of("No");
	ck_assert_int_eq(text_boolean(&p, &b), 0);
	ck_assert(!b);
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		p = pair_of(bad[i]);
		ck_assert_int_eq(text_boolean(&p, &b), -EINVAL);
	}
}
END_TEST

START_TEST(lists)
{
	ck_assert(text_list_has("CRC32C,None", "None"));
	ck_assert(text_list_has("CRC32C,None", "CRC32C"));
	ck_assert(text_list_has("None", "None"));
	ck_assert(!text_list_has("CRC32C,None", "Non"));
	ck_assert(!text_list_has("CRC32C,NoneX", "None"));
	ck_assert(!text_list_has("", "None"));
	ck_assert(!text_list_has("CRC32C,None", "CRC32C,None"));
	ck_assert(text_list_has("a,,b", ""));
}
END_TEST

START_TEST(writer)
{
	static const char want[] = "A=b\0Max=16777215\0I=Yes\0J=No\0Empty=\0";
	struct text_writer w;
	struct text_reader r;
	char buf[64];

	text_writer_init(&w, buf, sizeof(buf));
	text_put(&w, "A", "b");
	text_put_number(&w, "Max", 16777215);
	text_put_boolean(&w, "I", true);
	text_put_boolean(&w, "J", false);
	text_put(&w, "Empty", "");
	ck_assert(!w.overflow);
	ck_assert_uint_eq(w.len, sizeof(want) - 1);
	ck_assert_mem_eq(buf, want, w.len);
	text_reader_init(&r, buf, w.len);
	expect_pair(&r, "A", "b");
	expect_pair(&r, "Max", "16777215");
}
END_TEST

/* Never a byte past the end, and half a pair never. */
START_TEST(writer_overflow)
{
	struct text_writer w;
	char buf[32];
	size_t size;

	for (size = 0; size <= 12; size++) {
		memset(buf, 0x55, sizeof(buf));
		text_writer_init(&w, buf, size);
		text_put(&w, "Key", "value");
		ck_assert_int_eq(w.overflow, size < 10);
		ck_assert_uint_eq(w.len, size < 10 ? 0 : 10);
		ck_assert_int_eq(buf[size], 0x55);
		text_put(&w, "", "");
		ck_assert_int_eq(buf[size], 0x55);
		text_put_number(&w, "N", UINT64_MAX);
		ck_assert(w.overflow);
		ck_assert_int_eq(buf[size], 0x55);
	}
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("text");
	TCase *tc = tcase_create("text");

	tcase_add_test(tc, pairs);
	tcase_add_test(tc, binary);
	tcase_add_test(tc, write_binary);
	tcase_add_test(tc, empty_and_nuls);
	tcase_add_test(tc, errors);
	tcase_add_test(tc, limits);
	tcase_add_test(tc, key_is_case_sensitive);
	tcase_add_test(tc, numbers);
	tcase_add_test(tc, booleans);
	tcase_add_test(tc, lists);
	tcase_add_test(tc, writer);
	tcase_add_test(tc, writer_overflow);
	suite_add_tcase(suite, tc);
	return unit_run(suite);
}
