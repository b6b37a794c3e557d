/* SPDX-License-Identifier: ISC */
/*
 * What a reload takes for a change: every key of the table, and nothing that
 * only looks different.
 */
#include "config.h"

#include "daemon/config_priv.h"

#include "config_fixture.h"
#include "unit.h"

#define PLACE	"portal = 127.0.0.1\ntarget = " FIXTURE_IQN "t\n"
/* Secrets a to d are different ones; @ stands for their folder. */
#define CHAP(block)							\
	block "chap-user = u\n" block "chap-secret-file = '@/a'\n"	\
	block "chap-peer-user = p\n" block "chap-peer-secret-file = '@/b'\n"

/* For each key, by its block, a line that is not its default. */
static const struct {
	enum config_block	 block;
	const char		*key;
	const char		*line;
} others[] = {
	{ CONFIG_BLOCK_DAEMON, "user", "user = root" },
	{ CONFIG_BLOCK_DAEMON, "data-socket", "data-socket = /x" },
	{ CONFIG_BLOCK_DAEMON, "data-socket-mode", "data-socket-mode = 0600" },
	{ CONFIG_BLOCK_DAEMON, "data-socket-group",
	    "data-socket-group = root" },
	{ CONFIG_BLOCK_DAEMON, "control-socket", "control-socket = /x" },
	{ CONFIG_BLOCK_DAEMON, "initiator-name",
	    "initiator-name = " FIXTURE_IQN "other" },
	{ CONFIG_BLOCK_DAEMON, "initiator-alias", "initiator-alias = x" },
	{ CONFIG_BLOCK_DAEMON, "log-level", "log-level = debug" },
	{ CONFIG_BLOCK_DAEMON, "allow-fault-injection",
	    "allow-fault-injection = yes" },
	{ CONFIG_BLOCK_DAEMON, "max-clients", "max-clients = 5" },
	{ CONFIG_BLOCK_DAEMON, "client-tasks", "client-tasks = 5" },
	{ CONFIG_BLOCK_DAEMON, "client-inbound", "client-inbound = 5G" },
	{ CONFIG_BLOCK_DAEMON, "client-outbound", "client-outbound = 5G" },
	{ CONFIG_BLOCK_DAEMON, "uid-factor", "uid-factor = 5" },
	{ CONFIG_BLOCK_DAEMON, "hello-timeout", "hello-timeout = 7s" },
	{ CONFIG_BLOCK_DAEMON, "client-stall-timeout",
	    "client-stall-timeout = 7s" },
	{ CONFIG_BLOCK_DAEMON, "drain-timeout", "drain-timeout = 7s" },
	{ CONFIG_BLOCK_DAEMON, "abort-timeout", "abort-timeout = 7s" },
	{ CONFIG_BLOCK_DAEMON, "r2t-timeout", "r2t-timeout = 7s" },
	{ CONFIG_BLOCK_SESSION, "portal", "portal = 127.0.0.1:3261\n"
	    "target = " FIXTURE_IQN "t" },
	{ CONFIG_BLOCK_SESSION, "target", "portal = 127.0.0.1\n"
	    "target = " FIXTURE_IQN "other" },
	{ CONFIG_BLOCK_SESSION, "isid", PLACE "isid = 800000000001" },
	{ CONFIG_BLOCK_SESSION, "startup", PLACE "startup = manual" },
	{ CONFIG_BLOCK_SESSION, "connect-timeout",
	    PLACE "connect-timeout = 7s" },
	{ CONFIG_BLOCK_SESSION, "login-timeout", PLACE "login-timeout = 7s" },
	{ CONFIG_BLOCK_SESSION, "logout-timeout",
	    PLACE "logout-timeout = 7s" },
	{ CONFIG_BLOCK_SESSION, "reconnect-interval",
	    PLACE "reconnect-interval = 7s" },
	{ CONFIG_BLOCK_SESSION, "header-digest",
	    PLACE "header-digest = { CRC32C, None }" },
	{ CONFIG_BLOCK_SESSION, "data-digest", PLACE "data-digest = CRC32C" },
	{ CONFIG_BLOCK_SESSION, "digest-byte-order",
	    PLACE "digest-byte-order = big" },
	{ CONFIG_BLOCK_SESSION, "max-recv-data-segment-length",
	    PLACE "max-recv-data-segment-length = 8K" },
	{ CONFIG_BLOCK_SESSION, "max-burst-length",
	    PLACE "max-burst-length = 1M" },
	{ CONFIG_BLOCK_SESSION, "first-burst-length",
	    PLACE "first-burst-length = 8K" },
	{ CONFIG_BLOCK_SESSION, "initial-r2t", PLACE "initial-r2t = yes" },
	{ CONFIG_BLOCK_SESSION, "immediate-data",
	    PLACE "immediate-data = no" },
	{ CONFIG_BLOCK_SESSION, "max-outstanding-r2t",
	    PLACE "max-outstanding-r2t = 2" },
	{ CONFIG_BLOCK_SESSION, "default-time2wait",
	    PLACE "default-time2wait = 7s" },
	{ CONFIG_BLOCK_SESSION, "default-time2retain",
	    PLACE "default-time2retain = 7s" },
	{ CONFIG_BLOCK_SESSION, "protocol-level",
	    PLACE "protocol-level = 2" },
	{ CONFIG_BLOCK_SESSION, "login-pdu-timeout",
	    PLACE "login-pdu-timeout = 7s" },
	{ CONFIG_BLOCK_SESSION, "reconnect-max",
	    PLACE "reconnect-max = 7s" },
	{ CONFIG_BLOCK_SESSION, "keepalive-interval",
	    PLACE "keepalive-interval = 7s" },
	{ CONFIG_BLOCK_SESSION, "keepalive-timeout",
	    PLACE "keepalive-timeout = 7s" },
	{ CONFIG_BLOCK_SESSION, "text-timeout",
	    PLACE "text-timeout = 7s" },
	{ CONFIG_BLOCK_SESSION, "reconnect-limit",
	    PLACE "reconnect-limit = 7" },
	{ CONFIG_BLOCK_SESSION, "recovery-timeout",
	    PLACE "recovery-timeout = 7s" },
	{ CONFIG_BLOCK_SESSION, "async-logout",
	    PLACE "async-logout = drop" },
	{ CONFIG_BLOCK_SESSION, "fast-abort", PLACE "fast-abort = yes" },
	{ CONFIG_BLOCK_SESSION, "target-portal-group-tag",
	    PLACE "target-portal-group-tag = 7" },
	{ CONFIG_BLOCK_SESSION, "chap-algorithms",
	    PLACE "chap-algorithms = SHA1" },
	{ CONFIG_BLOCK_SESSION, "chap-allow-md5",
	    PLACE "chap-allow-md5 = no" },
	{ CONFIG_BLOCK_SESSION, "chap-allow-short-secrets",
	    PLACE "chap-allow-short-secrets = yes" },
	{ CONFIG_BLOCK_SESSION, "chap-required",
	    PLACE "chap-required = no" },
	{ CONFIG_BLOCK_SESSION, "chap-user",
	    PLACE "chap-user = v\n"
	    "chap-secret-file = '@/a'\n"
	    "chap-peer-user = p\n"
	    "chap-peer-secret-file = '@/b'\n" },
	{ CONFIG_BLOCK_SESSION, "chap-secret-file",
	    PLACE "chap-user = u\n"
	    "chap-secret-file = '@/c'\n"
	    "chap-peer-user = p\n"
	    "chap-peer-secret-file = '@/b'\n" },
	{ CONFIG_BLOCK_SESSION, "chap-peer-user",
	    PLACE "chap-user = u\n"
	    "chap-secret-file = '@/a'\n"
	    "chap-peer-user = q\n"
	    "chap-peer-secret-file = '@/b'\n" },
	{ CONFIG_BLOCK_SESSION, "chap-peer-secret-file",
	    PLACE "chap-user = u\n"
	    "chap-secret-file = '@/a'\n"
	    "chap-peer-user = p\n"
	    "chap-peer-secret-file = '@/d'\n" },
	{ CONFIG_BLOCK_SESSION, "discovery-chap-user",
	    PLACE "discovery-chap-user = v\n"
	    "discovery-chap-secret-file = '@/a'\n"
	    "discovery-chap-peer-user = p\n"
	    "discovery-chap-peer-secret-file = '@/b'\n" },
	{ CONFIG_BLOCK_SESSION, "discovery-chap-secret-file",
	    PLACE "discovery-chap-user = u\n"
	    "discovery-chap-secret-file = '@/c'\n"
	    "discovery-chap-peer-user = p\n"
	    "discovery-chap-peer-secret-file = '@/b'\n" },
	{ CONFIG_BLOCK_SESSION, "discovery-chap-peer-user",
	    PLACE "discovery-chap-user = u\n"
	    "discovery-chap-secret-file = '@/a'\n"
	    "discovery-chap-peer-user = q\n"
	    "discovery-chap-peer-secret-file = '@/b'\n" },
	{ CONFIG_BLOCK_SESSION, "discovery-chap-peer-secret-file",
	    PLACE "discovery-chap-user = u\n"
	    "discovery-chap-secret-file = '@/a'\n"
	    "discovery-chap-peer-user = p\n"
	    "discovery-chap-peer-secret-file = '@/d'\n" },
};

#define OTHERS	(sizeof(others) / sizeof(others[0]))

static const char *
other_line(const struct config_key *key)
{
	for (size_t i = 0; i < OTHERS; i++)
		if (others[i].block == key->block &&
		    strcmp(others[i].key, key->name) == 0)
			return others[i].line;
	ck_abort_msg("the key %s has no line here: add one", key->name);
	return NULL;
}

/* A key whose setter cannot be compared would seem to change each time. */
START_TEST(every_setter)
{
	static const struct config_session a, b;
	static const struct config c, d;
	static const struct config_access e, f;
	static const struct config_raw g, h;
	static const void *const pairs[][2] = {
		[CONFIG_BLOCK_DAEMON] = { &c, &d },
		[CONFIG_BLOCK_SESSION] = { &a, &b },
		[CONFIG_BLOCK_ACCESS] = { &e, &f },
		[CONFIG_BLOCK_RAW] = { &g, &h },
	};

	for (size_t i = 0; i < config_key_count; i++) {
		const struct config_key *key = &config_keys[i];

		ck_assert_msg(config_key_equal(key, pairs[key->block][0],
		    pairs[key->block][1]), "%s differs from itself",
		    key->name);
	}
}
END_TEST

static struct config *
load(struct fixture *fx, const char *text)
{
	struct config *cfg;

	fixture_good(fx, text);
	cfg = fx->cfg;
	fx->cfg = NULL;
	return cfg;
}

/* A session block of these lines. */
static struct config *
load_session(struct fixture *fx, const char *lines)
{
	char text[2048] = "session s {\n";
	size_t len = strlen(text);

	for (; *lines != '\0'; lines++)
		len += (size_t)snprintf(text + len, sizeof(text) - len,
		    *lines == '@' ? "%s" : "%.1s",
		    *lines == '@' ? fx->dir : lines);
	strlcpy(text + len, "\n}\n", sizeof(text) - len);
	return load(fx, text);
}

static enum config_difference
compare(struct fixture *fx, const char *a, const char *b)
{
	enum config_difference differs;
	struct config *x = load_session(fx, a), *y = load_session(fx, b);

	differs = config_session_compare(x->sessions[0], y->sessions[0]);
	ck_assert_int_eq(config_session_compare(y->sessions[0],
	    x->sessions[0]), differs);
	config_free(x);
	config_free(y);
	return differs;
}

/* What the line of this key is compared with: CHAP keys need each other. */
static const char *
base_of(const char *key)
{
	static const char *const needing[] = { "chap-user", "chap-secret-",
		"chap-peer-" };

	if (strncmp(key, "discovery-", strlen("discovery-")) == 0)
		return PLACE CHAP("discovery-");
	for (size_t i = 0; i < sizeof(needing) / sizeof(needing[0]); i++)
		if (strncmp(key, needing[i], strlen(needing[i])) == 0)
			return PLACE CHAP("");
	return PLACE;
}

START_TEST(session_keys)
{
	struct fixture fx;

	fixture_init(&fx);
	for (char name[] = "a"; *name <= 'd'; name[0]++)
		fixture_secret(&fx, name, "aaaaaaaaaaaaaaaa", (size_t)(12 +
		    name[0] - 'a'));
	for (size_t i = 0; i < config_key_count; i++) {
		const char *line;

		if (config_keys[i].block != CONFIG_BLOCK_SESSION)
			continue;
		line = other_line(&config_keys[i]);
		ck_assert_msg(compare(&fx, base_of(config_keys[i].name),
		    line) == CONFIG_DIFFERENT, "a change of %s is not seen",
		    config_keys[i].name);
		ck_assert_msg(compare(&fx, line, line) == CONFIG_EQUAL,
		    "%s differs from itself", config_keys[i].name);
	}
	fixture_free(&fx);
}
END_TEST

static const struct {
	const char		*a, *b;
	enum config_difference	 differs;
} blocks[] = {
	/* Written otherwise, and a default written out. */
	{ PLACE "max-burst-length = 262144", PLACE "max-burst-length = 256K",
	    CONFIG_EQUAL },
	{ PLACE "login-timeout = 15000ms", PLACE, CONFIG_EQUAL },
	{ PLACE "header-digest = { None }", PLACE, CONFIG_EQUAL },
	{ "portal = 127.0.0.1:3260\ntarget = '" FIXTURE_IQN "t'", PLACE,
	    CONFIG_EQUAL },
	{ PLACE "access { users = root allow = all }",
	    PLACE "access {\nusers = { 0 }\nallow = { all }\n}", CONFIG_EQUAL },
	/* Nearly the same. */
	{ PLACE "isid = 800000000001", PLACE "isid = 800000000002",
	    CONFIG_DIFFERENT },
	{ PLACE "header-digest = { CRC32C, None }",
	    PLACE "header-digest = { None, CRC32C }", CONFIG_DIFFERENT },
	{ "portal = localhost\ntarget = " FIXTURE_IQN "t", PLACE,
	    CONFIG_DIFFERENT },
	/* Access rules alone, and with something else. */
	{ PLACE "access { users = 1 allow = all }", PLACE,
	    CONFIG_ACCESS_DIFFERS },
	{ PLACE "access { users = 1 allow = all }",
	    PLACE "access { users = 2 allow = all }", CONFIG_ACCESS_DIFFERS },
	{ PLACE "access { users = 1 allow = all }",
	    PLACE "access { groups = 1 allow = all }", CONFIG_ACCESS_DIFFERS },
	{ PLACE "access { users = 1 allow = all }",
	    PLACE "access { users = { 1, 2 } allow = all }",
	    CONFIG_ACCESS_DIFFERS },
	{ PLACE "access { users = 1 allow = all }",
	    PLACE "initial-r2t = yes", CONFIG_DIFFERENT },
};

START_TEST(session_blocks)
{
	struct fixture fx;

	fixture_init(&fx);
	ck_assert_int_eq(compare(&fx, blocks[_i].a, blocks[_i].b),
	    blocks[_i].differs);
	fixture_free(&fx);
}
END_TEST

/* A session of another name is another one. */
START_TEST(session_name)
{
	struct fixture fx;
	const struct config *cfg;

	fixture_init(&fx);
	cfg = fixture_good(&fx, FIXTURE_SESSION("a") "}\n"
	    FIXTURE_SESSION("b") "}\n");
	ck_assert_int_eq(config_session_compare(cfg->sessions[0],
	    cfg->sessions[1]), CONFIG_DIFFERENT);
	fixture_free(&fx);
}
END_TEST

struct heard {
	char		names[256];
	unsigned	restarts;
};

static void
hear(void *ctx, const char *key, bool restart)
{
	struct heard *heard = ctx;

	strlcat(heard->names, key, sizeof(heard->names));
	strlcat(heard->names, " ", sizeof(heard->names));
	heard->restarts += restart;
}

static struct heard
daemon_heard(struct fixture *fx, const char *a, const char *b)
{
	struct heard heard = { .restarts = 0 };
	struct config *x = load(fx, a), *y = load(fx, b);

	config_daemon_compare(x, y, hear, &heard);
	config_free(x);
	config_free(y);
	return heard;
}

START_TEST(daemon_keys)
{
	struct fixture fx;

	fixture_init(&fx);
	for (size_t i = 0; i < config_key_count; i++) {
		const struct config_key *key = &config_keys[i];
		struct heard heard;
		char text[512], name[64];

		if (key->block != CONFIG_BLOCK_DAEMON)
			continue;
		snprintf(text, sizeof(text), "daemon {\n%s\n}\n",
		    other_line(key));
		snprintf(name, sizeof(name), "%s ", key->name);
		heard = daemon_heard(&fx, "", text);
		ck_assert_str_eq(heard.names, name);
		ck_assert_uint_eq(heard.restarts, key->restart);
		heard = daemon_heard(&fx, text, text);
		ck_assert_str_eq(heard.names, "");
	}
	fixture_free(&fx);
}
END_TEST

static const struct {
	const char	*a, *b, *names;
} raws[] = {
	{ "", "raw { users = 1 portals = 127.0.0.1 }", "raw " },
	{ "raw { users = root portals = 127.0.0.1 }",
	    "raw {\nusers = { 0 }\nportals = 127.0.0.1/32:3260\n}", "" },
	{ "raw { users = 1 portals = 127.0.0.1 }",
	    "raw { users = 2 portals = 127.0.0.1 }", "raw " },
	{ "raw { users = 1 portals = 127.0.0.1 }",
	    "raw { users = 1 portals = 127.0.0.2 }", "raw " },
	{ "raw { users = 1 portals = 127.0.0.1 }",
	    "raw { users = 1 portals = 127.0.0.1:* }", "raw " },
	{ "raw { users = 1 portals = 127.0.0.0/8 }",
	    "raw { users = 1 portals = 127.0.0.0/9 }", "raw " },
	{ "raw { users = 1 portals = 0.0.0.0/0 }",
	    "raw { users = 1 portals = [::]/0 }", "raw " },
	{ "raw { users = 1 portals = 127.0.0.1 }",
	    "raw { users = 1 portals = { 127.0.0.1, 127.0.0.2 } }", "raw " },
	{ "raw { users = 1 portals = 127.0.0.1 }",
	    "raw { users = 1 portals = 127.0.0.1 unchecked = yes }", "raw " },
	{ "raw { users = 1 portals = 127.0.0.1 }",
	    "raw { groups = 1 portals = 127.0.0.1 }", "raw " },
};

START_TEST(raw_blocks)
{
	struct fixture fx;
	struct heard heard;

	fixture_init(&fx);
	heard = daemon_heard(&fx, raws[_i].a, raws[_i].b);
	ck_assert_str_eq(heard.names, raws[_i].names);
	ck_assert_uint_eq(heard.restarts, 0);
	fixture_free(&fx);
}
END_TEST

/* What needs a restart stays as it runs; the rest is the new file's. */
START_TEST(keep)
{
	struct fixture fx;
	struct config *x, *y;

	fixture_init(&fx);
	x = load(&fx, "daemon {\nuser = root\ndata-socket = /a\n"
	    "control-socket = /b\ndata-socket-mode = 0600\n"
	    "initiator-name = " FIXTURE_IQN "old\nlog-level = error\n}\n");
	y = load(&fx, "daemon {\nuser = 7\ndata-socket = /c\n"
	    "control-socket = /d\ndata-socket-mode = 0660\n"
	    "initiator-name = " FIXTURE_IQN "new\nlog-level = debug\n}\n");
	config_keep(y, x);
	ck_assert_str_eq(y->user, "root");
	ck_assert_uint_eq(y->uid, 0);
	ck_assert_str_eq(y->data_socket, "/a");
	ck_assert_str_eq(y->control_socket, "/b");
	ck_assert_uint_eq(y->data_socket_mode, 0600);
	ck_assert_str_eq(y->initiator_name, FIXTURE_IQN "old");
	ck_assert_int_eq(y->log_level, LOG_LEVEL_DEBUG);
	config_free(x);
	config_free(y);
	fixture_free(&fx);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("config_compare");
	TCase *tc = tcase_create("compare");

	tcase_add_test(tc, every_setter);
	tcase_add_test(tc, session_keys);
	tcase_add_loop_test(tc, session_blocks, 0,
	    (int)(sizeof(blocks) / sizeof(blocks[0])));
	tcase_add_test(tc, session_name);
	tcase_add_test(tc, daemon_keys);
	tcase_add_loop_test(tc, raw_blocks, 0,
	    (int)(sizeof(raws) / sizeof(raws[0])));
	tcase_add_test(tc, keep);
	suite_add_tcase(suite, tc);
	return unit_run(suite);
}
