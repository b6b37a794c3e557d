/* SPDX-License-Identifier: ISC */
/*
 * The key table of the configuration, the manual page and the example say the
 * same, and the example can be used.
 */
#include "config.h"

#include "config_fixture.h"
#include "daemon/config_priv.h"
#include "unit.h"

/* A file of the source tree, to be freed. */
static char *
source_file(const char *name)
{
	const char *srcdir = getenv("srcdir");
	char *path, *text;
	size_t len;

	ck_assert_int_ge(asprintf(&path, "%s/daemon/%s",
	    srcdir != NULL ? srcdir : ".", name), 0);
	ck_assert_msg(config_read_bytes(path, 1024 * 1024, &text, &len,
	    NULL) == 0, "cannot read %s", path);
	free(path);
	return text;
}

/* The default as the files write it, with the standard directory. */
static const char *
documented(const struct config_key *key, char *buf, size_t size)
{
	const char *def = key->def;
	size_t len = strlen(ISCSIMUX_RUNDIR);

	if (strncmp(def, ISCSIMUX_RUNDIR, len) == 0)
		snprintf(buf, size, "/run/iscsimuxd%s", def + len);
	else
		strlcpy(buf, def, size);
	return buf;
}

/* The part of the manual, or of the example, that is about a block. */
static char *
part_of(char *text, const char *begin, const char *end)
{
	char *part = strstr(text, begin), *after;

	ck_assert_msg(part != NULL, "no '%s'", begin);
	after = strstr(part + strlen(begin), end);
	if (after != NULL)
		after[1] = '\0';
	return part;
}

START_TEST(manual)
{
	static const char *const parts[CONFIG_BLOCKS] = {
		[CONFIG_BLOCK_DAEMON] = "\n.Sh DAEMON\n",
		[CONFIG_BLOCK_SESSION] = "\n.Sh SESSION\n",
		[CONFIG_BLOCK_ACCESS] = "\n.Ss Access\n",
		[CONFIG_BLOCK_RAW] = "\n.Sh RAW\n",
	};
	const struct config_key *key = &config_keys[_i];
	char *text = source_file("iscsimuxd.conf.5");
	char buf[256], def[128], *item, *end, *found;

	snprintf(buf, sizeof(buf), "\n.It Ic %s = ", key->name);
	item = strstr(part_of(text, parts[key->block], "\n.S"), buf);
	ck_assert_msg(item != NULL, "%s is not in the manual", key->name);
	ck_assert_msg(strstr(item + 1, buf) == NULL, "%s is there twice",
	    key->name);
	end = strstr(item + 1, "\n.It ");
	if (end == NULL || (strstr(item, "\n.El") < end))
		end = strstr(item, "\n.El");
	*end = '\0';
	found = strstr(item, "\nDefault\n");
	if (key->def != NULL) {
		snprintf(buf, sizeof(buf), "\nDefault\n.Ql %s ",
		    documented(key, def, sizeof(def)));
		ck_assert_msg(found != NULL && strncmp(found, buf,
		    strlen(buf)) == 0, "%s lacks its default", key->name);
	} else {
		ck_assert_msg(found == NULL, "%s has no default", key->name);
	}
	ck_assert_int_eq(strstr(item, "\nRequired.") != NULL, key->required);
	free(text);
}
END_TEST

START_TEST(example)
{
	static const char *const parts[CONFIG_BLOCKS] = {
		[CONFIG_BLOCK_DAEMON] = "\n#daemon {\n",
		[CONFIG_BLOCK_SESSION] = "\n#session disk1 {\n",
		[CONFIG_BLOCK_ACCESS] = "\n\t#access {\n",
		[CONFIG_BLOCK_RAW] = "\n#raw {\n",
	};
	const struct config_key *key = &config_keys[_i];
	char *text = source_file("iscsimuxd.conf.example");
	char buf[256], def[128];

	if (key->def != NULL)
		snprintf(buf, sizeof(buf), "\t#%s = %s\n", key->name,
		    documented(key, def, sizeof(def)));
	else if (key->set == config_set_luns)
		snprintf(buf, sizeof(buf), "# The key %s is known", key->name);
	else
		snprintf(buf, sizeof(buf), "\t#%s = ", key->name);
	ck_assert_msg(strstr(part_of(text, parts[key->block], "\n#}"),
	    buf) != NULL, "no '%s'", buf);
	free(text);
}
END_TEST

/* Take away the '#' before every setting, make names that not every machine
 * has into numbers, and look for secrets in `dir`. */
static void
uncomment(const char *in, FILE *out, const char *dir)
{
	char *secrets = fixture_text("= %s/", dir);
	const char *const names[][2] = {
		{ "= iscsimuxd\n", "= 0\n" }, { "= iscsimux\n", "= 0\n" },
		{ "{ disk }", "{ 6 }" }, { "= /etc/iscsimuxd/", secrets },
	};
	const size_t n = sizeof(names) / sizeof(names[0]);
	size_t i;

	for (bool start = true; *in != '\0'; in++) {
		if (start && *in == '#' && in[1] != ' ' && in[1] != '\n')
			continue;
		start = *in == '\n' || (start && *in == '\t');
		for (i = 0; i < n; i++)
			if (strncmp(in, names[i][0], strlen(names[i][0])) == 0)
				break;
		if (i < n) {
			fputs(names[i][1], out);
			in += strlen(names[i][0]) - 1;
			start = *in == '\n';
		} else {
			putc(*in, out);
		}
	}
	free(secrets);
}

START_TEST(example_loads)
{
	struct fixture fx;
	const struct config *cfg;
	char *in = source_file("iscsimuxd.conf.example"), *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	fixture_init(&fx);
	cfg = fixture_good(&fx, in);
	ck_assert_uint_eq(cfg->session_count, 0);

	uncomment(in, f, fx.dir);
	fclose(f);
	fixture_mkdir(&fx, "sessions");
	fixture_secret(&fx, "disk1.secret", "twelve bytes", 12);
	fixture_secret(&fx, "disk1-peer.secret", "more than twelve\n", 17);
	fixture_secret(&fx, "portal.secret", "0x000102030405060708090a0b", 26);
	fixture_secret(&fx, "portal-peer.secret", "and the fourth one", 18);
	cfg = fixture_good(&fx, text);
	fixture_default_limits(&cfg->limits);
	ck_assert_uint_eq(cfg->session_count, 1);
	ck_assert_str_eq(cfg->sessions[0]->name, "disk1");
	ck_assert_uint_eq(cfg->sessions[0]->access_count, 1);
	ck_assert_uint_eq(cfg->raw_count, 1);
	ck_assert_uint_eq(cfg->raw[0].portal_count, 3);
	free(in);
	free(text);
	fixture_free(&fx);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("config: its documents");
	TCase *tc = tcase_create("documents");

	tcase_add_loop_test(tc, manual, 0, (int)config_key_count);
	tcase_add_loop_test(tc, example, 0, (int)config_key_count);
	tcase_add_test(tc, example_loads);
	suite_add_tcase(suite, tc);
	return unit_run(suite);
}
