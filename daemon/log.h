/* SPDX-License-Identifier: ISC */
/*
 * The log: one event a line, to one fd.  A log is an object that is passed
 * around; there is no global one.  It may be shared by threads.
 */
#ifndef DAEMON_LOG_H
#define DAEMON_LOG_H

#include <stdbool.h>
#include <stdint.h>

/* A line in bytes, its prefix and newline included; longer ones are cut and
 * end with "...". */
#define LOG_LINE_MAX	1024

enum log_level {
	LOG_LEVEL_ERROR = 0,
	LOG_LEVEL_WARNING,
	LOG_LEVEL_INFO,
	LOG_LEVEL_DEBUG
};

struct log;

/*
 * Sees every line that is logged, escaped, without prefix and newline; `line`
 * is only valid during the call.
 */
typedef void log_hook(void *arg, enum log_level level, const char *line);

/*
 * A new log that writes events up to `level` to `fd`, which stays the
 * caller's and must outlive the log; -1 writes nothing (for tests).  NULL
 * when there is no memory.  Every function here takes NULL for a log and
 * then does nothing.
 */
struct log *log_new(int fd, enum log_level level);
void log_free(struct log *log);

/* Change or ask what is written: events up to and including `level`. */
void log_set_level(struct log *log, enum log_level level);
enum log_level log_get_level(const struct log *log);

/* True if an event of `level` is written. */
bool log_enabled(const struct log *log, enum log_level level);

/* Put sd-daemon(3) priorities, "<3>" to "<7>", before each line, or not (the
 * default).  Meant for a stderr that goes to the journal. */
void log_set_prefix(struct log *log, bool on);

/* Call `hook` for every line, besides writing it; NULL ends that.  Set it
 * before threads share the log. */
void log_set_hook(struct log *log, log_hook *hook, void *arg);

/* The number of lines that were lost, wholly or in part, because the fd took
 * nothing: it was full, closed or failing. */
uint64_t log_lost(const struct log *log);

/* The level called `name` ("error", "warning", "info", "debug") to `out`.
 * Returns 0, or -EINVAL for any other name. */
int log_level_parse(const char *name, enum log_level *out);

/* The name of a level; never NULL. */
const char *log_level_name(enum log_level level);

/*
 * Write one line if `level` is enabled.  Bytes that are not printable ASCII
 * come out as \n, \t or \xNN and a backslash doubled, so that no argument can
 * forge a line or a terminal sequence.  Name what the event is about first:
 * "session NAME: ...", "client ID (NAME): ...".  Never blocks, keeps errno.
 */
void log_msg(struct log *log, enum log_level level, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* As log_msg(), but the arguments are only evaluated if the level is enabled.
 * `log` is evaluated twice. */
#define log_at(log, level, ...) \
	(log_enabled((log), (level)) ? \
	log_msg((log), (level), __VA_ARGS__) : (void)0)
#define log_error(log, ...)	log_at(log, LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warn(log, ...)	log_at(log, LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_info(log, ...)	log_at(log, LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(log, ...)	log_at(log, LOG_LEVEL_DEBUG, __VA_ARGS__)

#endif /* DAEMON_LOG_H */
