/* SPDX-License-Identifier: ISC */
/*
 * Session blocks made of keys and values: the same as from a file, held to
 * the same rules.
 */
#include "config.h"

#include <errno.h>

#include "daemon/config_priv.h"

#include "config_fixture.h"
#include "unit.h"

#define COUNT(array)	(sizeof(array) / sizeof((array)[0]))
#define SETTINGS(array)	{ COUNT(array), array }

/* Values of one setting. */
#define ONE(name, ...)							\
	{ .key = (name), .values = (const char *const[]){ __VA_ARGS__ },	\
	  .count = COUNT(((const char *const[]){ __VA_ARGS__ })) }
#define MANY(name, ...)							\
	{ .key = (name), .values = (const char *const[]){ __VA_ARGS__ },	\
	  .count = COUNT(((const char *const[]){ __VA_ARGS__ })),	\
	  .list = true }
#define PLACE	ONE("portal", "127.0.0.1"), ONE("target", FIXTURE_IQN "t")

static struct config_session *
make_good(const struct config_draft *draft)
{
	struct config_errors errs = { .total = 0 };
	struct config_session *s = NULL;

	ck_assert_msg(config_session_make(draft, &s, &errs) == 0, "%s",
	    errs.count > 0 ? errs.text[0] : "no error text");
	ck_assert_uint_eq(errs.total, 0);
	ck_assert_ptr_nonnull(s);
	return s;
}

/* The draft must be refused, with `key` at fault and `text` said of it. */
static void
make_bad(const struct config_draft *draft, const char *key, const char *text)
{
	struct config_errors errs = { .total = 0 };
	struct config_session *s = NULL;

	ck_assert_int_eq(config_session_make(draft, &s, &errs), -EINVAL);
	ck_assert_ptr_null(s);
	ck_assert_uint_ge(errs.count, 1);
	ck_assert_str_eq(errs.key, key);
	ck_assert_msg(strstr(errs.text[0], text) != NULL, "%s: no \"%s\"",
	    errs.text[0], text);
	config_errors_clear(&errs);
}

START_TEST(as_in_the_file)
{
	const struct config_setting keys[] = { PLACE,
	    ONE("max-burst-length", "1M"),
	    MANY("header-digest", "CRC32C", "None"),
	    ONE("isid", "800000000001") };
	const struct config_setting root[] = { MANY("users", "0"),
	    MANY("allow", "all") };
	const struct config_setting seven[] = { ONE("groups", "7"),
	    ONE("allow", "all") };
	const struct config_settings access[] = { SETTINGS(root),
	    SETTINGS(seven) };
	const struct config_draft draft = { .name = "s",
	    .keys = SETTINGS(keys), .access_count = 2, .access = access };
	struct config_session *s;
	const struct config *cfg;
	struct fixture fx;

	fixture_init(&fx);
	cfg = fixture_good(&fx, FIXTURE_SESSION("s")
	    "max-burst-length = 1M\nheader-digest = { CRC32C, None }\n"
	    "isid = 800000000001\naccess { users = root allow = all }\n"
	    "access { groups = 7 allow = all }\n}\n");
	s = make_good(&draft);
	ck_assert_int_eq(config_session_compare(s, cfg->sessions[0]),
	    CONFIG_EQUAL);
	ck_assert_int_eq(s->origin, CONFIG_ADDED);
	ck_assert_int_eq(cfg->sessions[0]->origin, CONFIG_FROM_FILE);
	config_session_unref(s);
	fixture_free(&fx);
}
END_TEST

START_TEST(defaults)
{
	const struct config_setting keys[] = { PLACE };
	const struct config_draft draft = { .name = "s",
	    .keys = SETTINGS(keys) };
	struct config_session *s;
	struct fixture fx;

	fixture_init(&fx);
	s = make_good(&draft);
	ck_assert_int_eq(config_session_compare(s,
	    fixture_good(&fx, FIXTURE_SESSION("s") "}\n")->sessions[0]),
	    CONFIG_EQUAL);
	config_session_unref(s);
	fixture_free(&fx);
}
END_TEST

START_TEST(refused)
{
	const struct config_setting good[] = { PLACE },
	    no_target[] = { ONE("portal", "127.0.0.1") },
	    unknown[] = { PLACE, ONE("colour", "red") },
	    misplaced[] = { PLACE, ONE("max-clients", "3") },
	    twice[] = { PLACE, ONE("startup", "manual"),
		ONE("startup", "manual") },
	    a_list[] = { PLACE, MANY("login-timeout", "1s") },
	    empty[] = { PLACE, { .key = "header-digest", .list = true } },
	    control[] = { PLACE, ONE("initial-r2t", "ye\ns") },
	    wrong[] = { PLACE, ONE("login-timeout", "15") },
	    clash[] = { PLACE, ONE("first-burst-length", "1M") };
	const struct {
		const char		*name;
		struct config_settings	 keys;
		const char		*key, *text;
	} cases[] = {
		{ "a b", SETTINGS(good), "session", "no session name" },
		{ "", SETTINGS(good), "session", "no session name" },
		{ "s", SETTINGS(no_target), "target", "missing" },
		{ "s", SETTINGS(unknown), "colour", "unknown key" },
		{ "s", SETTINGS(misplaced), "max-clients", "belongs in" },
		{ "s", SETTINGS(twice), "startup", "repeated" },
		{ "s", SETTINGS(a_list), "login-timeout", "one value" },
		{ "s", SETTINGS(empty), "header-digest", "missing" },
		{ "s", SETTINGS(control), "initial-r2t", "byte 0x0a" },
		{ "s", SETTINGS(wrong), "login-timeout", "not a time" },
		{ "s", SETTINGS(clash), "first-burst-length",
		    "must not be more" },
	};

	for (size_t i = 0; i < COUNT(cases); i++) {
		const struct config_draft draft = { .name = cases[i].name,
		    .keys = cases[i].keys };

		make_bad(&draft, cases[i].key, cases[i].text);
	}
}
END_TEST

START_TEST(refused_access)
{
	const struct config_setting keys[] = { PLACE },
	    nobody[] = { ONE("allow", "all") },
	    nothing[] = { ONE("users", "0") },
	    unknown[] = { ONE("users", "0"), ONE("allow", "all"),
		ONE("portal", "127.0.0.1") };
	const struct {
		struct config_settings	 access;
		const char		*key, *text;
	} cases[] = {
		{ SETTINGS(nobody), "access", "names nobody" },
		{ SETTINGS(nothing), "allow", "missing" },
		{ SETTINGS(unknown), "portal", "belongs in" },
	};

	for (size_t i = 0; i < COUNT(cases); i++) {
		const struct config_draft draft = { .name = "s",
		    .keys = SETTINGS(keys), .access_count = 1,
		    .access = &cases[i].access };

		make_bad(&draft, cases[i].key, cases[i].text);
	}
}
END_TEST

/* As long as a value and a list of the file may be, and one more. */
START_TEST(limits)
{
	static char longest[CONFIG_VALUE_MAX + 2];
	static char numbers[CONFIG_LIST_MAX + 1][8];
	const char *many[CONFIG_LIST_MAX + 1];
	struct config_setting keys[] = { PLACE,
	    { .key = "startup", .values = many, .count = 1 } };
	struct config_setting rule[] = { ONE("allow", "all"),
	    { .key = "users", .values = many, .list = true } };
	const struct config_settings access = SETTINGS(rule);
	struct config_draft draft = { .name = "s", .keys = SETTINGS(keys) };

	memset(longest, 'x', CONFIG_VALUE_MAX);
	many[0] = longest;
	make_bad(&draft, "startup", "automatic");
	longest[CONFIG_VALUE_MAX] = 'x';
	make_bad(&draft, "startup", "longer than");
	draft.keys.count--;
	draft.access_count = 1;
	draft.access = &access;
	for (size_t i = 0; i < COUNT(many); i++) {
		snprintf(numbers[i], sizeof(numbers[i]), "%zu", i);
		many[i] = numbers[i];
	}
	rule[1].count = CONFIG_LIST_MAX;
	config_session_unref(make_good(&draft));
	rule[1].count++;
	make_bad(&draft, "users", "at most");
}
END_TEST

/* A block lives until its last user gives it back. */
START_TEST(references)
{
	const struct config_setting keys[] = { PLACE };
	const struct config_draft draft = { .name = "s",
	    .keys = SETTINGS(keys) };
	struct config_session *s = make_good(&draft);

	ck_assert_ptr_eq(config_session_ref(s), s);
	config_session_unref(s);
	ck_assert_str_eq(s->name, "s");
	config_session_unref(s);
	config_session_unref(NULL);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("config_draft");
	TCase *tc = tcase_create("draft");

	tcase_add_test(tc, as_in_the_file);
	tcase_add_test(tc, defaults);
	tcase_add_test(tc, refused);
	tcase_add_test(tc, refused_access);
	tcase_add_test(tc, limits);
	tcase_add_test(tc, references);
	suite_add_tcase(suite, tc);
	return unit_run(suite);
}
