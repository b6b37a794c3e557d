/* SPDX-License-Identifier: ISC */
/*
 * The files of a configuration: includes, conf.d, the initiator name's
 * fallback, and files that are none.
 */
#include "config.h"

#include <errno.h>

#include "config_fixture.h"
#include "unit.h"

#define MIB	(1024 * 1024)

/* The names of all sessions, in order, with blanks between. */
static const char *
names(const struct config *cfg, char *buf, size_t size)
{
	buf[0] = '\0';
	for (size_t i = 0; i < cfg->session_count; i++) {
		strlcat(buf, cfg->sessions[i]->name, size);
		strlcat(buf, " ", size);
	}
	return buf;
}

START_TEST(order)
{
	struct fixture fx;
	const struct config *cfg;
	char buf[64];

	fixture_init(&fx);
	fixture_mkdir(&fx, "conf.d");
	fixture_mkdir(&fx, "more");
	fixture_write(&fx, "conf.d/20.conf", FIXTURE_SESSION("d20") "}\n");
	fixture_write(&fx, "conf.d/10.conf", FIXTURE_SESSION("d10") "}\n"
	    "include(\"../more/z.inc\")\n");
	fixture_write(&fx, "conf.d/B.conf", FIXTURE_SESSION("dB") "}\n");
	fixture_write(&fx, "conf.d/a.conf", FIXTURE_SESSION("da") "}\n");
	fixture_write(&fx, "conf.d/.hidden.conf", "broken");
	fixture_write(&fx, "conf.d/30.conf~", "broken");
	fixture_write(&fx, "more/2.inc", FIXTURE_SESSION("i2") "}\n");
	fixture_write(&fx, "more/1.inc", FIXTURE_SESSION("i1") "}\n");
	fixture_write(&fx, "more/z.inc", FIXTURE_SESSION("iz") "}\n");
	cfg = fixture_good(&fx, FIXTURE_SESSION("m1") "}\n"
	    "include(more/[0-9].inc) include(\"more/q*.inc\")\n"
	    FIXTURE_SESSION("m2") "}\n");
	ck_assert_str_eq(names(cfg, buf, sizeof(buf)),
	    "m1 i1 i2 m2 d10 iz d20 dB da ");
	fixture_free(&fx);
}
END_TEST

/* A directory whose name glob(3) would read as a pattern. */
START_TEST(pattern_directory)
{
	struct fixture fx;
	struct config *cfg;
	char *path;
	char buf[32];

	fixture_init(&fx);
	fixture_mkdir(&fx, "[x]*");
	fixture_mkdir(&fx, "[x]*/conf.d");
	fixture_write(&fx, "[x]*/c.conf", "include(\"inc\")\n"
	    "daemon { initiator-name = " FIXTURE_IQN "i }\n");
	fixture_write(&fx, "[x]*/inc", FIXTURE_SESSION("a") "}\n");
	fixture_write(&fx, "[x]*/conf.d/b.conf", FIXTURE_SESSION("b") "}\n");
	path = fixture_path(&fx, "[x]*/c.conf");
	ck_assert_int_eq(config_load(path, &cfg, &fx.errs), 0);
	ck_assert_str_eq(names(cfg, buf, sizeof(buf)), "a b ");
	config_free(cfg);
	free(path);
	fixture_free(&fx);
}
END_TEST

/* An error in any file is told with that file's name and line. */
START_TEST(places)
{
	struct fixture fx;

	fixture_init(&fx);
	fixture_mkdir(&fx, "conf.d");
	fixture_write(&fx, "conf.d/x.conf",
	    "\n" FIXTURE_SESSION("one") "portal = b\n}\n"
	    "daemon {\nuser = root }\n");
	fixture_write(&fx, "inc", "# two\n# lines\ndaemon { colour = red }\n"
	    FIXTURE_SESSION("one") "login-timeout = 3\n}\n");
	ck_assert_int_eq(fixture_load_text(&fx, "include(\"inc\")\n"),
	    -EINVAL);
	ck_assert_uint_eq(fx.errs.total, 5);
	fixture_error_is(&fx, 0, "$/inc:3: colour: unknown key in 'daemon': "
	    "correct or remove it (iscsimuxd.conf(5) lists all keys)");
	fixture_error_is(&fx, 1, "$/conf.d/x.conf:2: session: 'one' is "
	    "repeated: rename this one or the one at $/inc:4");
	fixture_error_is(&fx, 2, "$/conf.d/x.conf:5: portal: repeated: "
	    "remove this one or the one at $/conf.d/x.conf:3");
	fixture_error_is(&fx, 3, "$/conf.d/x.conf:7: daemon: repeated: put "
	    "all into this block or the one at $/inc:3");
	fixture_error_is(&fx, 4, "$/inc:7: login-timeout: '3' is not a time: "
	    "write digits and ms, s or m after them");
	fixture_free(&fx);
}
END_TEST

/* A block does not go on in another file. */
START_TEST(whole_blocks)
{
	struct fixture fx;

	fixture_init(&fx);
	fixture_write(&fx, "inc", "daemon {\n");
	ck_assert_int_eq(fixture_load_text(&fx, "include(inc)\n}\n"),
	    -EINVAL);
	ck_assert_uint_eq(fx.errs.total, 2);
	fixture_error_is(&fx, 0, "$/inc:1: daemon: the block is not closed: "
	    "a '}' is missing");
	fixture_error_is(&fx, 1, "$/main.conf:2: '}' closes nothing: remove "
	    "it");
	fixture_free(&fx);
}
END_TEST

START_TEST(loops)
{
	struct fixture fx;

	fixture_init(&fx);
	ck_assert_int_eq(fixture_load_text(&fx, "\ninclude(\"main.conf\")\n"),
	    -EINVAL);
	ck_assert_uint_eq(fx.errs.total, 1);
	fixture_error_is(&fx, 0, "$/main.conf:2: include: $/main.conf "
	    "includes itself: break the loop");

	fixture_write(&fx, "a", "include(\"./b\")\n");
	fixture_write(&fx, "b", "\n\ninclude(\"./././a\")");
	ck_assert_int_eq(fixture_load_text(&fx, "include(a)\n"), -EINVAL);
	ck_assert_uint_eq(fx.errs.total, 1);
	fixture_error_is(&fx, 0, "$/./b:3: include: $/././././a includes "
	    "itself: break the loop");

	fixture_mkdir(&fx, "conf.d");
	fixture_write(&fx, "conf.d/c.conf", "");
	ck_assert_int_eq(fixture_load_text(&fx, "include(conf.d/*.conf)\n"),
	    -EINVAL);
	ck_assert_uint_eq(fx.errs.total, 1);
	fixture_error_is(&fx, 0, "$/conf.d/c.conf: include: $/conf.d/c.conf "
	    "is read twice: remove one include (conf.d is read without any)");
	fixture_free(&fx);
}
END_TEST

START_TEST(depth)
{
	struct fixture fx;
	char name[16], text[64];

	fixture_init(&fx);
	for (int i = 0; i < 12; i++) {
		snprintf(name, sizeof(name), "f%d", i);
		snprintf(text, sizeof(text), "include(f%d)\n", i + 1);
		fixture_write(&fx, name, text);
	}
	fixture_write(&fx, "f12", "");
	fixture_good(&fx, "include(f5)\n");
	ck_assert_int_eq(fixture_load_text(&fx, "include(f4)\n"), -EINVAL);
	ck_assert_uint_eq(fx.errs.total, 1);
	fixture_error_is(&fx, 0, "$/f11:1: include: more than 8 includes "
	    "inside each other: flatten them");
	fixture_free(&fx);
}
END_TEST

START_TEST(many_files)
{
	struct fixture fx;
	char name[64];

	fixture_init(&fx);
	fixture_mkdir(&fx, "conf.d");
	for (int i = 0; i < 256; i++) {
		if (i == 255)
			fixture_good(&fx, "");
		snprintf(name, sizeof(name), "conf.d/%03d.conf", i);
		fixture_write(&fx, name, "");
	}
	ck_assert_int_eq(fixture_load_text(&fx, ""), -EINVAL);
	fixture_error_is(&fx, 0, "$/conf.d/255.conf: more than 256 files or "
	    "16777216 bytes in all: remove some");
	fixture_free(&fx);
}
END_TEST

/* Things that are no readable text file. */
START_TEST(no_files)
{
	struct fixture fx;
	char *path;

	fixture_init(&fx);
	ck_assert_int_eq(fixture_load(&fx), -EINVAL);
	ck_assert_uint_eq(fx.errs.total, 1);
	fixture_error_is(&fx, 0, "$/main.conf: cannot read $/main.conf: "
	    "No such file or directory");

	fixture_mkdir(&fx, "dir");
	path = fixture_path(&fx, "fifo");
	ck_assert_int_eq(mkfifo(path, 0600), 0);
	free(path);
	ck_assert_int_eq(fixture_load_text(&fx, "include(dir)\n"
	    "include(none)\ninclude(none/*)\ninclude(fifo)\n"
	    "include(/dev/zero)\ninclude(dir/x*)\ninclude(main.conf/x*)\n"),
	    -EINVAL);
	ck_assert_uint_eq(fx.errs.total, 5);
	fixture_error_is(&fx, 0, "$/main.conf:1: include: $/dir is not a "
	    "regular file");
	fixture_error_is(&fx, 1, "$/main.conf:2: include: cannot read $/none: "
	    "No such file or directory");
	fixture_error_is(&fx, 2, "$/main.conf:3: include: cannot read "
	    "$/none/*: No such file or directory");
	fixture_error_is(&fx, 3, "$/main.conf:4: include: $/fifo is not a "
	    "regular file");
	fixture_error_is(&fx, 4, "$/main.conf:5: include: /dev/zero is not a "
	    "regular file");
	fixture_free(&fx);
}
END_TEST

/* Root reads everything, so unreadable files take another user. */
START_TEST(no_permission)
{
	struct fixture fx;
	char *path, *dir;

	if (geteuid() == 0)
		ck_assert_int_eq(seteuid(65534), 0);
	fixture_init(&fx);
	fixture_mkdir(&fx, "conf.d");
	fixture_write(&fx, "inc", "");
	path = fixture_path(&fx, "inc");
	dir = fixture_path(&fx, "conf.d");
	ck_assert_int_eq(chmod(path, 0), 0);
	ck_assert_int_eq(chmod(dir, 0), 0);
	ck_assert_int_eq(fixture_load_text(&fx, "include(inc)\n"), -EINVAL);
	ck_assert_uint_eq(fx.errs.total, 2);
	fixture_error_is(&fx, 0, "$/main.conf:1: include: cannot read $/inc: "
	    "Permission denied");
	fixture_error_is(&fx, 1, "$/conf.d/*.conf: cannot read "
	    "$/conf.d/*.conf: Permission denied");
	ck_assert_int_eq(chmod(dir, 0700), 0);
	free(path);
	free(dir);
	fixture_free(&fx);
	ck_assert_int_eq(seteuid(getuid()), 0);
}
END_TEST

/* Without a configuration the daemon runs without a session. */
START_TEST(no_main)
{
	struct fixture fx;
	char buf[16];

	fixture_init(&fx);
	fx.main_optional = true;
	ck_assert_int_eq(fixture_load(&fx), 0);
	ck_assert_uint_eq(fx.cfg->session_count, 0);
	ck_assert_uint_eq(fx.cfg->limits.max_clients, 1024);
	ck_assert_ptr_null(fx.cfg->initiator_name);

	fixture_mkdir(&fx, "conf.d");
	fixture_write(&fx, "conf.d/a.conf", FIXTURE_SESSION("a") "}\n");
	fixture_write(&fx, "initiator.iscsi",
	    "InitiatorName=" FIXTURE_IQN "i\n");
	ck_assert_int_eq(fixture_load(&fx), 0);
	ck_assert_str_eq(names(fx.cfg, buf, sizeof(buf)), "a ");
	fixture_free(&fx);
}
END_TEST

/* As many sessions as there may be, whole and with other blocks after them,
 * and one more. */
START_TEST(many_sessions)
{
	struct fixture fx;

	fixture_init(&fx);
	for (unsigned more = 0; more < 2; more++) {
		char *text = NULL;
		size_t len;
		FILE *f = open_memstream(&text, &len);

		ck_assert_ptr_nonnull(f);
		for (unsigned i = 0; i < 1024 + more; i++)
			fprintf(f, "session s%u { portal = a target = "
			    FIXTURE_IQN "t\naccess { users = 0 allow = all }\n"
			    "}\n", i);
		fputs("raw { users = 0 portals = [::1] }\ndaemon { }\n", f);
		ck_assert_int_eq(fclose(f), 0);
		if (more == 0) {
			fixture_good(&fx, text);
			ck_assert_uint_eq(fx.cfg->session_count, 1024);
			ck_assert_uint_eq(fx.cfg->sessions[1023]->access_count,
			    1);
			ck_assert_uint_eq(fx.cfg->raw_count, 1);
		} else {
			ck_assert_int_eq(fixture_load_text(&fx, text),
			    -EINVAL);
			ck_assert_uint_eq(fx.errs.total, 1);
			fixture_error_is(&fx, 0, "$/main.conf:3073: session: "
			    "more than 1024 sessions: remove some");
		}
		free(text);
	}
	fixture_free(&fx);
}
END_TEST

START_TEST(bytes)
{
	static const char nul[] = "daemon {\n\nuser = ro\0ot\n}\n";
	struct fixture fx;
	char *text = malloc(MIB + 2);

	ck_assert_ptr_nonnull(text);
	fixture_init(&fx);
	fixture_write_bytes(&fx, "main.conf", nul, sizeof(nul) - 1);
	ck_assert_int_eq(fixture_load(&fx), -EINVAL);
	ck_assert_uint_eq(fx.errs.total, 1);
	fixture_error_is(&fx, 0, "$/main.conf:3: a NUL byte: this is no text "
	    "file");

	memset(text, '#', MIB + 1);
	text[MIB] = '\0';
	fixture_good(&fx, text);
	text[MIB] = '#';
	text[MIB + 1] = '\0';
	ck_assert_int_eq(fixture_load_text(&fx, text), -EINVAL);
	ck_assert_uint_eq(fx.errs.total, 1);
	fixture_error_is(&fx, 0, "$/main.conf: $/main.conf is larger than "
	    "1048576 bytes: split it");
	free(text);
	fixture_free(&fx);
}
END_TEST

/* A mebibyte of braces, quotes or values neither recurses nor overflows. */
START_TEST(hostile_sizes)
{
	static const char *const units[] = { "{", "}", "a{", "a=", "\"", "(",
	    "a{}", "daemon{", "session s{", "\"\\", "include(x)", "a={1," };
	struct fixture fx;
	size_t len = strlen(units[_i]), n = 0;
	char *text = malloc(MIB + 1);

	ck_assert_ptr_nonnull(text);
	fixture_init(&fx);
	for (; n + len <= MIB; n += len)
		memcpy(text + n, units[_i], len);
	text[n] = '\0';
	ck_assert_int_eq(fixture_load_text(&fx, text), -EINVAL);
	ck_assert_uint_le(fx.errs.count, CONFIG_ERRORS_MAX);
	free(text);
	fixture_free(&fx);
}
END_TEST

static const struct {
	const char	*text;
	const char	*name;		/* found, or NULL and the error: */
	const char	*error;
} initiators[] = {
	{ "InitiatorName=" FIXTURE_IQN "i\n", FIXTURE_IQN "i", NULL },
	{ "## made by open-iscsi\n#InitiatorName=x\n\n  InitiatorName = "
	    FIXTURE_IQN "j \r\nInitiatorAlias=z\n", FIXTURE_IQN "j", NULL },
	{ "InitiatorName=eui.0123456789abcdef", "eui.0123456789abcdef", NULL },
	{ "GenerateName=yes\n", NULL, "$/main.conf: initiator-name: missing, "
	    "and $/initiator.iscsi does not give it (no line InitiatorName=): "
	    "write 'initiator-name = \"iqn...\"' in the daemon block" },
	{ "InitiatorNames=x\n", NULL, NULL },
	{ "\nInitiatorName=host\n", NULL, "$/initiator.iscsi:2: "
	    "InitiatorName: an iSCSI name begins with iqn., eui. or naa.: "
	    "correct it, or set initiator-name in the daemon block" },
	{ "InitiatorName=\n", NULL, NULL },
	{ "InitiatorName=eui.0123456789abcdef\n"
	    "InitiatorName=eui.0123456789abcdef\n", NULL,
	    "$/initiator.iscsi:2: InitiatorName: repeated: remove one line" },
	{ NULL, NULL, "$/main.conf: initiator-name: missing, and "
	    "$/initiator.iscsi does not give it (No such file or directory): "
	    "write 'initiator-name = \"iqn...\"' in the daemon block" },
};

START_TEST(initiator)
{
	struct fixture fx;

	fixture_init(&fx);
	fixture_write(&fx, "main.conf", FIXTURE_SESSION("s") "}\n");
	if (initiators[_i].text != NULL)
		fixture_write(&fx, "initiator.iscsi", initiators[_i].text);
	if (initiators[_i].name != NULL) {
		ck_assert_int_eq(fixture_load(&fx), 0);
		ck_assert_str_eq(fx.cfg->initiator_name, initiators[_i].name);
	} else {
		ck_assert_int_eq(fixture_load(&fx), -EINVAL);
		ck_assert_uint_eq(fx.errs.total, 1);
		if (initiators[_i].error != NULL)
			fixture_error_is(&fx, 0, initiators[_i].error);
	}
	fixture_free(&fx);
}
END_TEST

/* The key wins over the fallback, which is then not even read. */
START_TEST(initiator_key)
{
	struct fixture fx;

	fixture_init(&fx);
	fixture_write(&fx, "initiator.iscsi", "InitiatorName=bad\n");
	fixture_write(&fx, "main.conf", FIXTURE_SESSION("s") "}\n"
	    "daemon { initiator-name = " FIXTURE_IQN "key }\n");
	ck_assert_int_eq(fixture_load(&fx), 0);
	ck_assert_str_eq(fx.cfg->initiator_name, FIXTURE_IQN "key");

	fixture_write(&fx, "main.conf", FIXTURE_SESSION("s") "}\n"
	    "daemon { initiator-name = bad }\n");
	ck_assert_int_eq(fixture_load(&fx), -EINVAL);
	ck_assert_uint_eq(fx.errs.total, 1);
	fixture_error_is(&fx, 0, "$/main.conf:5: initiator-name: 'bad' is no "
	    "iSCSI name: an iSCSI name begins with iqn., eui. or naa.");
	fixture_free(&fx);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("config_files");
	TCase *tc = tcase_create("files");

	tcase_add_test(tc, order);
	tcase_add_test(tc, pattern_directory);
	tcase_add_test(tc, places);
	tcase_add_test(tc, whole_blocks);
	tcase_add_test(tc, loops);
	tcase_add_test(tc, depth);
	tcase_add_test(tc, many_files);
	tcase_add_test(tc, no_files);
	tcase_add_test(tc, no_permission);
	tcase_add_test(tc, no_main);
	tcase_add_test(tc, many_sessions);
	tcase_add_test(tc, bytes);
	tcase_add_loop_test(tc, hostile_sizes, 0, 12);
	tcase_add_loop_test(tc, initiator, 0,
	    (int)(sizeof(initiators) / sizeof(initiators[0])));
	tcase_add_test(tc, initiator_key);
	tcase_set_timeout(tc, 60);
	suite_add_tcase(suite, tc);
	return unit_run(suite);
}
