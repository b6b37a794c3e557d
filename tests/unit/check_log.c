/* SPDX-License-Identifier: ISC */
/*
 * The log: levels, prefixes, escapes, bounds, and an fd that takes nothing.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "daemon/log.h"
#include "unit.h"

/* A log into a pipe. */
struct pipe_log {
	int		 fd[2];
	struct log	*log;
};

static void
pipe_log_init(struct pipe_log *pl, enum log_level level)
{
	ck_assert_int_eq(pipe2(pl->fd, O_CLOEXEC), 0);
	ck_assert_int_eq(fcntl(pl->fd[0], F_SETFL, O_NONBLOCK), 0);
	pl->log = log_new(pl->fd[1], level);
	ck_assert_ptr_nonnull(pl->log);
}

static void
pipe_log_free(struct pipe_log *pl)
{
	log_free(pl->log);
	close(pl->fd[0]);
	close(pl->fd[1]);
}

/* What one write(2) put into the pipe, or "". */
static const char *
pipe_log_read(struct pipe_log *pl, char *buf, size_t size)
{
	ssize_t n = read(pl->fd[0], buf, size - 1);

	buf[n > 0 ? n : 0] = '\0';
	return buf;
}

START_TEST(levels)
{
	static const enum log_level all[] = { LOG_LEVEL_ERROR,
	    LOG_LEVEL_WARNING, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };
	static const char *const prefixes[] = { "<3>", "<4>", "<6>", "<7>" };
	struct pipe_log pl;
	char buf[64], expected[64];

	pipe_log_init(&pl, LOG_LEVEL_INFO);
	log_set_prefix(pl.log, true);
	for (size_t set = 0; set < 4; set++) {
		log_set_level(pl.log, all[set]);
		ck_assert_int_eq(log_get_level(pl.log), all[set]);
		for (size_t at = 0; at < 4; at++) {
			ck_assert_int_eq(log_enabled(pl.log, all[at]),
			    at <= set);
			log_msg(pl.log, all[at], "n %zu", at);
			snprintf(expected, sizeof(expected), "%sn %zu\n",
			    prefixes[at], at);
			ck_assert_str_eq(pipe_log_read(&pl, buf, sizeof(buf)),
			    at <= set ? expected : "");
		}
	}
	pipe_log_free(&pl);
}
END_TEST

START_TEST(level_names)
{
	static const char *const wrong[] = { "", "Error", "debug ", "warn",
	    "7" };
	enum log_level level = LOG_LEVEL_ERROR;

	for (int i = LOG_LEVEL_ERROR; i <= LOG_LEVEL_DEBUG; i++) {
		ck_assert_int_eq(log_level_parse(
		    log_level_name((enum log_level)i), &level), 0);
		ck_assert_int_eq((int)level, i);
	}
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		ck_assert_int_eq(log_level_parse(wrong[i], &level), -EINVAL);
	ck_assert_int_eq(level, LOG_LEVEL_DEBUG);
}
END_TEST

START_TEST(macros)
{
	struct pipe_log pl;
	char buf[64];
	int evaluated = 0;

	pipe_log_init(&pl, LOG_LEVEL_WARNING);
	log_debug(pl.log, "%d", ++evaluated);
	log_info(pl.log, "%d", ++evaluated);
	ck_assert_int_eq(evaluated, 0);
	log_warn(pl.log, "w%d", ++evaluated);
	ck_assert_str_eq(pipe_log_read(&pl, buf, sizeof(buf)), "w1\n");
	errno = EXDEV;
	log_error(pl.log, "session %s: down", "disk1");
	ck_assert_int_eq(errno, EXDEV);
	ck_assert_str_eq(pipe_log_read(&pl, buf, sizeof(buf)),
	    "session disk1: down\n");
	pipe_log_free(&pl);
}
END_TEST

static const struct {
	const char	*in;
	const char	*out;
} escapes[] = {
	{ "plain ~ text", "plain ~ text\n" },
	{ "", "\n" },
	{ "a\n<3>forged", "a\\n<3>forged\n" },
	{ "tab\there", "tab\\there\n" },
	{ "back\\nslash", "back\\\\nslash\n" },
	{ "\r\033[2J\x7f", "\\x0d\\x1b[2J\\x7f\n" },
	{ "\xc3\xa9\xff\x01", "\\xc3\\xa9\\xff\\x01\n" },
};

START_TEST(escaped)
{
	struct pipe_log pl;
	char buf[64];

	pipe_log_init(&pl, LOG_LEVEL_INFO);
	log_info(pl.log, "%s", escapes[_i].in);
	ck_assert_str_eq(pipe_log_read(&pl, buf, sizeof(buf)),
	    escapes[_i].out);
	pipe_log_free(&pl);
}
END_TEST

/* Text of `n` bytes `c` is bounded, and cut between escapes. */
static void
bounded_one(size_t n, char c, size_t escape, bool prefix)
{
	struct pipe_log pl;
	char text[4096], buf[4096];
	size_t len, room;

	pipe_log_init(&pl, LOG_LEVEL_INFO);
	log_set_prefix(pl.log, prefix);
	memset(text, c, n);
	text[n] = '\0';
	log_info(pl.log, "%s", text);
	pipe_log_read(&pl, buf, sizeof(buf));
	len = strlen(buf);
	ck_assert_uint_le(len, LOG_LINE_MAX);
	ck_assert_ptr_eq(strchr(buf, '\n'), buf + len - 1);
	room = len - 1 - (prefix ? 3 : 0);
	if (n * escape <= LOG_LINE_MAX - 8) {
		ck_assert_uint_eq(room, n * escape);
	} else if (strcmp(buf + len - 4, "...\n") == 0) {
		ck_assert_uint_eq((room - 3) % escape, 0);
		ck_assert_uint_ge(len + escape + 4, LOG_LINE_MAX);
	} else {
		ck_assert_uint_eq(room, n * escape);
	}
	pipe_log_free(&pl);
}

START_TEST(bounded)
{
	for (size_t n = 1000; n < 1040; n++) {
		bounded_one(n, 'x', 1, false);
		bounded_one(n, 'x', 1, true);
		bounded_one(n / 4, '\x01', 4, false);
		bounded_one(n / 2, '\\', 2, true);
	}
	bounded_one(4000, 'x', 1, false);
	bounded_one(4000, '\x01', 4, true);
}
END_TEST

/* A full pipe must not stop the daemon; what is lost is counted. */
START_TEST(full_pipe)
{
	struct pipe_log pl;
	char buf[4096];
	size_t lines = 0, read_lines = 0;

	pipe_log_init(&pl, LOG_LEVEL_INFO);
	for (; log_lost(pl.log) < 10; lines++)
		log_info(pl.log, "%01000zu", lines);
	while (*pipe_log_read(&pl, buf, 1002) != '\0')
		read_lines++;
	ck_assert_uint_eq(read_lines, lines - 10);
	log_info(pl.log, "again");
	ck_assert_str_eq(pipe_log_read(&pl, buf, sizeof(buf)), "again\n");
	pipe_log_free(&pl);
}
END_TEST

START_TEST(bad_fd)
{
	struct log *log = log_new(-1, LOG_LEVEL_INFO);
	struct pipe_log pl;

	log_info(log, "nowhere");
	ck_assert_uint_eq(log_lost(log), 0);
	log_free(log);

	pipe_log_init(&pl, LOG_LEVEL_INFO);
	log = log_new(pl.fd[0], LOG_LEVEL_INFO);
	errno = 0;
	log_info(log, "read end");
	ck_assert_int_eq(errno, 0);
	ck_assert_uint_eq(log_lost(log), 1);
	log_free(log);
	pipe_log_free(&pl);
}
END_TEST

START_TEST(null_log)
{
	struct log *log = NULL;

	log_info(log, "%s", "nothing");
	log_msg(log, LOG_LEVEL_ERROR, "nothing");
	log_set_level(log, LOG_LEVEL_DEBUG);
	log_set_prefix(log, true);
	log_set_hook(log, NULL, NULL);
	ck_assert(!log_enabled(log, LOG_LEVEL_ERROR));
	ck_assert_uint_eq(log_lost(log), 0);
	log_free(log);
}
END_TEST

struct hooked {
	enum log_level	 level;
	char		 line[64];
};

static void
hook(void *arg, enum log_level level, const char *line)
{
	struct hooked *h = arg;

	h->level = level;
	strlcpy(h->line, line, sizeof(h->line));
}

START_TEST(hooked_line)
{
	struct log *log = log_new(-1, LOG_LEVEL_INFO);
	struct hooked h = { LOG_LEVEL_DEBUG, "" };

	log_set_prefix(log, true);
	log_set_hook(log, hook, &h);
	log_warn(log, "a\nb");
	ck_assert_int_eq(h.level, LOG_LEVEL_WARNING);
	ck_assert_str_eq(h.line, "a\\nb");
	log_set_hook(log, NULL, NULL);
	log_warn(log, "c");
	ck_assert_str_eq(h.line, "a\\nb");
	log_free(log);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("log");
	TCase *tc = tcase_create("log");

	tcase_add_test(tc, levels);
	tcase_add_test(tc, level_names);
	tcase_add_test(tc, macros);
	tcase_add_loop_test(tc, escaped, 0,
	    (int)(sizeof(escapes) / sizeof(escapes[0])));
	tcase_add_test(tc, bounded);
	tcase_add_test(tc, full_pipe);
	tcase_add_test(tc, bad_fd);
	tcase_add_test(tc, null_log);
	tcase_add_test(tc, hooked_line);
	suite_add_tcase(suite, tc);
	return unit_run(suite);
}
