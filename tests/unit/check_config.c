/* SPDX-License-Identifier: ISC */
/*
 * Right configurations become right values.
 */
#include "config.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>

#include "config_fixture.h"
#include "proto/msg.h"
#include "unit.h"

#define KIB	1024ull
#define MIB	(1024 * KIB)

/* Load one session with `line` in its block. */
static const struct config_session *
session_with(struct fixture *fx, const char *line)
{
	char text[2048];

	snprintf(text, sizeof(text), FIXTURE_SESSION("s") "%s\n}\n", line);
	return fixture_good(fx, text)->sessions[0];
}

static const struct config *
daemon_with(struct fixture *fx, const char *line)
{
	char text[2048];

	snprintf(text, sizeof(text), "daemon {\n%s\n}\n", line);
	return fixture_good(fx, text);
}

static void
check_daemon(const struct config *cfg)
{
	const struct passwd *pw = getpwnam("iscsimuxd");
	const struct group *gr = getgrnam("iscsimux");

	ck_assert_uint_eq(cfg->drain_timeout, 5000);
	ck_assert_str_eq(cfg->user, "iscsimuxd");
	ck_assert_uint_eq(cfg->uid, pw ? pw->pw_uid : CONFIG_NO_ID);
	ck_assert_uint_eq(cfg->gid, pw ? pw->pw_gid : CONFIG_NO_ID);
	ck_assert_str_eq(cfg->data_socket, ISCSIMUX_RUNDIR "/data.sock");
	ck_assert_uint_eq(cfg->data_socket_mode, 0660);
	ck_assert_str_eq(cfg->data_socket_group, "iscsimux");
	ck_assert_uint_eq(cfg->data_socket_gid,
	    gr ? gr->gr_gid : CONFIG_NO_ID);
	ck_assert_str_eq(cfg->control_socket,
	    ISCSIMUX_RUNDIR "/control.sock");
	ck_assert_ptr_null(cfg->initiator_alias);
	ck_assert_int_eq(cfg->log_level, LOG_LEVEL_INFO);
	ck_assert(!cfg->allow_fault_injection);
	fixture_default_limits(&cfg->limits);
}

START_TEST(defaults)
{
	struct fixture fx;
	const struct config *cfg;

	fixture_init(&fx);
	cfg = fixture_good(&fx, "");
	check_daemon(cfg);
	ck_assert_uint_eq(cfg->session_count, 0);
	ck_assert_str_eq(cfg->initiator_name, FIXTURE_IQN "i");
	check_daemon(fixture_good(&fx, "# only\r\n\r\ndaemon { } # this"));
	cfg = fixture_good(&fx, FIXTURE_SESSION("s") "}");
	check_daemon(cfg);
	ck_assert_str_eq(cfg->initiator_name, FIXTURE_IQN "i");
	fixture_free(&fx);
}
END_TEST

START_TEST(session_defaults)
{
	struct fixture fx;
	const struct config_session *s;

	fixture_init(&fx);
	s = session_with(&fx, "");
	ck_assert_str_eq(s->name, "s");
	ck_assert_str_eq(s->portal.text, "127.0.0.1");
	ck_assert_str_eq(s->portal.host, "127.0.0.1");
	ck_assert_uint_eq(s->portal.port, 3260);
	ck_assert_str_eq(s->target, FIXTURE_IQN "t");
	ck_assert(!s->isid_set);
	ck_assert_uint_eq(s->connect_timeout, 10000);
	ck_assert_uint_eq(s->login_timeout, 15000);
	ck_assert_uint_eq(s->logout_timeout, 5000);
	ck_assert_uint_eq(s->reconnect_interval, 2000);
	ck_assert_uint_eq(s->reconnect_max, 60000);
	ck_assert_uint_eq(s->reconnect_limit, 0);
	ck_assert_uint_eq(s->recovery_timeout, 120000);
	ck_assert_uint_eq(s->header_digest.count, 1);
	ck_assert_int_eq(s->header_digest.list[0], CONFIG_DIGEST_NONE);
	ck_assert_uint_eq(s->data_digest.count, 1);
	ck_assert_int_eq(s->data_digest.list[0], CONFIG_DIGEST_NONE);
	ck_assert(!s->digest_big_endian);
	ck_assert_uint_eq(s->max_recv_data_segment_length, 256 * KIB);
	ck_assert_uint_eq(s->max_burst_length, 256 * KIB);
	ck_assert_uint_eq(s->first_burst_length, 64 * KIB);
	ck_assert(!s->initial_r2t);
	ck_assert(s->immediate_data);
	ck_assert_uint_eq(s->max_outstanding_r2t, 1);
	ck_assert_uint_eq(s->protocol_level, 1);
	ck_assert_uint_eq(s->default_time2wait, 2);
	ck_assert_uint_eq(s->default_time2retain, 0);
	ck_assert_uint_eq(s->text_timeout, 30000);
	ck_assert_uint_eq(s->access_count, 0);
	fixture_free(&fx);
}
END_TEST

START_TEST(all_daemon_keys)
{
	struct fixture fx;
	const struct config *cfg;

	fixture_init(&fx);
	cfg = fixture_good(&fx, "daemon {\n user = root\n"
	    "data-socket = /a/d.sock data-socket-mode = 666\n"
	    "data-socket-group = 4711\n control-socket = '/a/c d.sock'\n"
	    "initiator-name = \"eui.0123456789ABCDEF\"\n"
	    "initiator-alias = \"a \\\"b\\\" \\\\ '\xc3\xa9\"\n"
	    "log-level = debug\n allow-fault-injection = yes\n"
	    "max-clients = 1\n client-tasks = 65536\n client-inbound = 16G\n"
	    "client-outbound = 65537\n uid-factor = 08\n"
	    "hello-timeout = 100ms\n client-stall-timeout = 60m\n"
	    "abort-timeout = 3600s\n r2t-timeout = 1m\n"
	    "drain-timeout = 0s\n}\n");
	ck_assert_str_eq(cfg->user, "root");
	ck_assert_uint_eq(cfg->uid, 0);
	ck_assert_uint_eq(cfg->gid, 0);
	ck_assert_str_eq(cfg->data_socket, "/a/d.sock");
	ck_assert_uint_eq(cfg->data_socket_mode, 0666);
	ck_assert_uint_eq(cfg->data_socket_gid, 4711);
	ck_assert_str_eq(cfg->control_socket, "/a/c d.sock");
	ck_assert_str_eq(cfg->initiator_name, "eui.0123456789ABCDEF");
	ck_assert_str_eq(cfg->initiator_alias, "a \"b\" \\ '\xc3\xa9");
	ck_assert_int_eq(cfg->log_level, LOG_LEVEL_DEBUG);
	ck_assert(cfg->allow_fault_injection);
	ck_assert_uint_eq(cfg->drain_timeout, 0);
	ck_assert_uint_eq(cfg->limits.max_clients, 1);
	ck_assert_uint_eq(cfg->limits.client_tasks, 65536);
	ck_assert_uint_eq(cfg->limits.client_inbound, 16 * 1024 * MIB);
	ck_assert_uint_eq(cfg->limits.client_outbound, 65537);
	ck_assert_uint_eq(cfg->limits.uid_factor, 8);
	ck_assert_uint_eq(cfg->limits.hello_timeout, 100);
	ck_assert_uint_eq(cfg->limits.client_stall_timeout, 3600000);
	ck_assert_uint_eq(cfg->limits.abort_timeout, 3600000);
	ck_assert_uint_eq(cfg->limits.r2t_timeout, 60000);
	fixture_free(&fx);
}
END_TEST

START_TEST(several_portals)
{
	struct fixture fx;
	const struct config *cfg;
	const struct config_session *s;

	fixture_init(&fx);
	cfg = fixture_good(&fx, "session s { portal = { a, \"b:3261\", "
	    "\"[::1]:5\" }\ntarget = " FIXTURE_IQN "t }");
	s = cfg->sessions[0];
	ck_assert_str_eq(config_session_portal(s, 0)->host, "a");
	ck_assert_uint_eq(config_session_portal(s, 0)->port, 3260);
	ck_assert_str_eq(config_session_portal(s, 1)->text, "b:3261");
	ck_assert_uint_eq(config_session_portal(s, 1)->port, 3261);
	ck_assert_str_eq(config_session_portal(s, 2)->host, "::1");
	ck_assert_ptr_null(config_session_portal(s, 3));
	fixture_free(&fx);
}
END_TEST

START_TEST(all_session_keys)
{
	static const uint8_t isid[] = { 0x80, 0x12, 0x34, 0x56, 0x78, 0x9a };
	struct fixture fx;
	const struct config_session *s;

	fixture_init(&fx);
	s = session_with(&fx, "isid = 0x80123456789A connect-timeout = 1s\n"
	    "login-timeout = 2s\n logout-timeout = 3s\n"
	    "reconnect-interval = 1500ms\n reconnect-max = 120m\n "
	    "reconnect-limit = 7\n recovery-timeout = 0s\n header-digest = {CRC32C,None,}\n"
	    "data-digest = CRC32C\n digest-byte-order = big\n"
	    "max-recv-data-segment-length = 16777215\n"
	    "max-burst-length = 512\n first-burst-length = 512\n"
	    "initial-r2t = yes\n immediate-data = no\n"
	    "max-outstanding-r2t = 16\n default-time2wait = 60m\n"
	    "default-time2retain = 20000ms\ntext-timeout = 2m\n"
	    "protocol-level = 2");
	ck_assert(s->isid_set);
	ck_assert_mem_eq(s->isid, isid, sizeof(isid));
	ck_assert_uint_eq(s->connect_timeout, 1000);
	ck_assert_uint_eq(s->login_timeout, 2000);
	ck_assert_uint_eq(s->logout_timeout, 3000);
	ck_assert_uint_eq(s->reconnect_interval, 1500);
	ck_assert_uint_eq(s->reconnect_max, 7200000);
	ck_assert_uint_eq(s->reconnect_limit, 7);
	ck_assert_uint_eq(s->recovery_timeout, 0);
	ck_assert_uint_eq(s->header_digest.count, 2);
	ck_assert_int_eq(s->header_digest.list[0], CONFIG_DIGEST_CRC32C);
	ck_assert_int_eq(s->header_digest.list[1], CONFIG_DIGEST_NONE);
	ck_assert_uint_eq(s->data_digest.count, 1);
	ck_assert_int_eq(s->data_digest.list[0], CONFIG_DIGEST_CRC32C);
	ck_assert(s->digest_big_endian);
	ck_assert_uint_eq(s->max_recv_data_segment_length, 16777215);
	ck_assert_uint_eq(s->max_burst_length, 512);
	ck_assert_uint_eq(s->first_burst_length, 512);
	ck_assert(s->initial_r2t);
	ck_assert(!s->immediate_data);
	ck_assert_uint_eq(s->max_outstanding_r2t, 16);
	ck_assert_uint_eq(s->default_time2wait, 3600);
	ck_assert_uint_eq(s->default_time2retain, 20);
	ck_assert_uint_eq(s->protocol_level, 2);
	ck_assert_uint_eq(s->text_timeout, 120000);
	fixture_free(&fx);
}
END_TEST

START_TEST(access_rules)
{
	struct fixture fx;
	const struct config_session *s;

	fixture_init(&fx);
	s = session_with(&fx, "access {\nusers = { root,\n# one\n 1000, }\n"
	    "allow = { all }\n}\naccess { groups = { 7, 4294967294 } "
	    "allow = all }");
	ck_assert_uint_eq(s->access_count, 2);
	ck_assert_uint_eq(s->access[0].users.count, 2);
	ck_assert_uint_eq(s->access[0].users.list[0], 0);
	ck_assert_uint_eq(s->access[0].users.list[1], 1000);
	ck_assert_uint_eq(s->access[0].groups.count, 0);
	ck_assert_uint_eq(s->access[0].allow, MSG_ACCESS_ALL);
	ck_assert_uint_eq(s->access[1].users.count, 0);
	ck_assert_uint_eq(s->access[1].groups.count, 2);
	ck_assert_uint_eq(s->access[1].groups.list[0], 7);
	ck_assert_uint_eq(s->access[1].groups.list[1], 4294967294u);
	ck_assert_uint_eq(s->access[1].allow, MSG_ACCESS_ALL);
	fixture_free(&fx);
}
END_TEST

START_TEST(access_levels)
{
	struct fixture fx;
	const struct config_session *s;

	fixture_init(&fx);
	s = session_with(&fx, "access {\nusers = 0\nallow = write\n}\n"
	    "access {\nusers = 0\nallow = { reset, write }\n}");
	ck_assert_uint_eq(s->access[0].allow,
	    MSG_ACCESS_ALL & ~(uint32_t)MSG_ACCESS_RESET);
	ck_assert_uint_eq(s->access[1].allow, MSG_ACCESS_ALL);
	fixture_free(&fx);
}
END_TEST

static const struct {
	const char	*text;
	const char	*host;
	unsigned	 port;
} portals[] = {
	{ "disk.example.com", "disk.example.com", 3260 },
	{ "disk_1:1", "disk_1", 1 },
	{ "192.0.2.1:65535", "192.0.2.1", 65535 },
	{ "[::1]", "::1", 3260 },
	{ "[2001:db8::1]:3261", "2001:db8::1", 3261 },
	{ "[fe80::1%eth0]:3260", "fe80::1%eth0", 3260 },
	{ "[::ffff:192.0.2.1]", "::ffff:192.0.2.1", 3260 },
};

START_TEST(portal)
{
	struct fixture fx;
	const struct config *cfg;
	char text[256];

	fixture_init(&fx);
	snprintf(text, sizeof(text), "session s { target = " FIXTURE_IQN "t\n"
	    "portal = %s }\n", portals[_i].text);
	cfg = fixture_good(&fx, text);
	ck_assert_str_eq(cfg->sessions[0]->portal.text, portals[_i].text);
	ck_assert_str_eq(cfg->sessions[0]->portal.host, portals[_i].host);
	ck_assert_uint_eq(cfg->sessions[0]->portal.port, portals[_i].port);
	fixture_free(&fx);
}
END_TEST

START_TEST(startup)
{
	struct fixture fx;

	fixture_init(&fx);
	ck_assert(!session_with(&fx, "")->manual);
	ck_assert(!session_with(&fx, "startup = automatic")->manual);
	ck_assert(session_with(&fx, "startup = manual")->manual);
	fixture_free(&fx);
}
END_TEST

/* What libconfuse would expand, cut or unescape comes out as it went in. */
START_TEST(literal)
{
	static const char *const values[] = { "${HOME}", "$HOME", "~/x",
	    "%d#{1,2}=(3) // /* */", "it's \\n \\x41 \\ \"two\"", "`ls`" };
	struct fixture fx;
	char text[1024], *p;

	fixture_init(&fx);
	ck_assert_int_eq(setenv("HOME", "/expanded", 1), 0);
	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
		p = text + sprintf(text, "initiator-alias = \"");
		for (const char *v = values[i]; *v != '\0'; v++) {
			if (*v == '"' || *v == '\\')
				*p++ = '\\';
			*p++ = *v;
		}
		strcpy(p, "\"");
		ck_assert_str_eq(daemon_with(&fx, text)->initiator_alias,
		    values[i]);
	}
	ck_assert_str_eq(daemon_with(&fx, "user = root initiator-alias = $HOME"
	    )->initiator_alias, "$HOME");

	fixture_free(&fx);
}
END_TEST

/* Long values are taken whole or refused, never cut. */
START_TEST(long_values)
{
	struct fixture fx;
	char text[1024], name[512], *comment;

	fixture_init(&fx);
	memset(name, 'x', sizeof(name));
	memcpy(name, FIXTURE_IQN, strlen(FIXTURE_IQN));
	name[223] = '\0';
	snprintf(text, sizeof(text), "initiator-name = %s # %200s", name, "x");
	ck_assert_str_eq(daemon_with(&fx, text)->initiator_name, name);
	name[223] = 'x';
	name[224] = '\0';
	snprintf(text, sizeof(text), "daemon { initiator-name = %s }", name);
	ck_assert_int_eq(fixture_load_text(&fx, text), -EINVAL);
	ck_assert_uint_eq(fx.errs.total, 1);
	ck_assert_ptr_nonnull(strstr(fx.errs.text[0], "at most 223 bytes"));

	memset(name, 'x', sizeof(name));
	name[255] = '\0';
	snprintf(text, sizeof(text), "initiator-alias = %s%300s", name, "#");
	ck_assert_str_eq(daemon_with(&fx, text)->initiator_alias, name);
	name[255] = 'x';
	name[300] = '\0';
	snprintf(text, sizeof(text), "daemon { initiator-alias = %s }", name);
	ck_assert_int_eq(fixture_load_text(&fx, text), -EINVAL);
	ck_assert_uint_eq(fx.errs.total, 1);
	fixture_error_is(&fx, 0, "$/main.conf:1: initiator-alias: an alias "
	    "has 1 to 255 bytes: change it");

	comment = malloc(5000);
	ck_assert_ptr_nonnull(comment);
	memset(comment, 'x', 4999);
	comment[4999] = '\0';
	memcpy(comment, "#", 1);
	fixture_good(&fx, comment);
	memcpy(comment, "a=", 2);
	ck_assert_int_eq(fixture_load_text(&fx, comment), -EINVAL);
	fixture_error_is(&fx, 0, "$/main.conf:1: a value is longer than 4096 "
	    "bytes: shorten it");
	free(comment);
	fixture_free(&fx);
}
END_TEST

START_TEST(session_names)
{
	struct fixture fx;
	char text[512];
	static const char longest[] = "ABCxyz0189._-ABCxyz0189._-"
	    "ABCxyz0189._-ABCxyz0189._-12345678901";
	const struct config *cfg;

	fixture_init(&fx);
	ck_assert_uint_eq(strlen(longest), CONFIG_NAME_MAX);
	snprintf(text, sizeof(text), FIXTURE_SESSION("%s") "}\n"
	    FIXTURE_SESSION("\"a\"") "}\n", longest);
	cfg = fixture_good(&fx, text);
	ck_assert_uint_eq(cfg->session_count, 2);
	ck_assert_ptr_eq(config_session_find(cfg, longest), cfg->sessions[0]);
	ck_assert_ptr_eq(config_session_find(cfg, "a"), cfg->sessions[1]);
	ck_assert_ptr_null(config_session_find(cfg, "A"));
	ck_assert_ptr_null(config_session_find(cfg, ""));
	snprintf(text, sizeof(text), FIXTURE_SESSION("%sx") "}\n", longest);
	ck_assert_int_eq(fixture_load_text(&fx, text), -EINVAL);
	fixture_free(&fx);
}
END_TEST

/* A reload, also after a failed one, starts from nothing. */
START_TEST(again)
{
	struct fixture fx;

	fixture_init(&fx);
	for (int i = 0; i < 3; i++) {
		daemon_with(&fx, "max-clients = 7");
		ck_assert_uint_eq(fx.cfg->limits.max_clients, 7);
		ck_assert_int_eq(fixture_load_text(&fx,
		    "daemon { user = 'x\nsession s {"), -EINVAL);
		fixture_good(&fx, "");
		ck_assert_uint_eq(fx.cfg->limits.max_clients, 1024);
	}
	config_free(NULL);
	fixture_free(&fx);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("config");
	TCase *tc = tcase_create("config");

	tcase_add_test(tc, defaults);
	tcase_add_test(tc, session_defaults);
	tcase_add_test(tc, all_daemon_keys);
	tcase_add_test(tc, several_portals);
	tcase_add_test(tc, all_session_keys);
	tcase_add_test(tc, access_rules);
	tcase_add_test(tc, access_levels);
	tcase_add_loop_test(tc, portal, 0,
	    (int)(sizeof(portals) / sizeof(portals[0])));
	tcase_add_test(tc, startup);
	tcase_add_test(tc, literal);
	tcase_add_test(tc, long_values);
	tcase_add_test(tc, session_names);
	tcase_add_test(tc, again);
	suite_add_tcase(suite, tc);
	return unit_run(suite);
}
