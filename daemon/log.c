/* SPDX-License-Identifier: ISC */
/*
 * Log lines: formats, escapes, bounds and writes them.  It calls the C
 * library only and knows nothing of sessions or clients; callers name those
 * in the text.
 */
#include "config.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/log.h"

#define LOG_PREFIX_LEN	3	/* "<6>" */

struct log {
	int		 fd;
	atomic_int	 level;
	atomic_bool	 prefix;
	log_hook	*hook;
	void		*hook_arg;
	atomic_ullong	 lost;
};

static const struct {
	const char	*name;
	const char	*prefix;
} log_levels[] = {
	[LOG_LEVEL_ERROR] = { "error", "<3>" },
	[LOG_LEVEL_WARNING] = { "warning", "<4>" },
	[LOG_LEVEL_INFO] = { "info", "<6>" },
	[LOG_LEVEL_DEBUG] = { "debug", "<7>" },
};

#define LOG_LEVELS	(sizeof(log_levels) / sizeof(log_levels[0]))

struct log *
log_new(int fd, enum log_level level)
{
	struct log *log;

	log = calloc(1, sizeof(*log));
	if (log == NULL)
		return NULL;
	log->fd = fd;
	atomic_init(&log->level, (int)level);
	atomic_init(&log->prefix, false);
	atomic_init(&log->lost, 0);
	return log;
}

void
log_free(struct log *log)
{
	free(log);
}

void
log_set_level(struct log *log, enum log_level level)
{
	if (log != NULL)
		atomic_store_explicit(&log->level, (int)level,
		    memory_order_relaxed);
}

enum log_level
log_get_level(const struct log *log)
{
	if (log == NULL)
		return LOG_LEVEL_ERROR;
	return (enum log_level)atomic_load_explicit(&log->level,
	    memory_order_relaxed);
}

bool
log_enabled(const struct log *log, enum log_level level)
{
	return log != NULL && level <= log_get_level(log);
}

void
log_set_prefix(struct log *log, bool on)
{
	if (log != NULL)
		atomic_store_explicit(&log->prefix, on, memory_order_relaxed);
}

void
log_set_hook(struct log *log, log_hook *hook, void *arg)
{
	if (log == NULL)
		return;
	log->hook = hook;
	log->hook_arg = arg;
}

uint64_t
log_lost(const struct log *log)
{
	if (log == NULL)
		return 0;
	return atomic_load_explicit(&log->lost, memory_order_relaxed);
}

int
log_level_parse(const char *name, enum log_level *out)
{
	for (size_t i = 0; i < LOG_LEVELS; i++) {
		if (strcmp(name, log_levels[i].name) == 0) {
			*out = (enum log_level)i;
			return 0;
		}
	}
	return -EINVAL;
}

const char *
log_level_name(enum log_level level)
{
	return (size_t)level < LOG_LEVELS ? log_levels[level].name : "unknown";
}

/* Write the escaped form of `c` (at most four bytes and a NUL) to `out` and
 * return its length. */
static size_t
log_escape_byte(unsigned char c, char out[5])
{
	if (c == '\\' || c == '\n' || c == '\t') {
		out[0] = '\\';
		out[1] = c == '\n' ? 'n' : c == '\t' ? 't' : '\\';
		out[2] = '\0';
		return 2;
	}
	if (c >= 0x20 && c < 0x7f) {
		out[0] = (char)c;
		out[1] = '\0';
		return 1;
	}
	return (size_t)snprintf(out, 5, "\\x%02x", c);
}

/* Escape `text` into `out`, whole escapes only; what does not fit, or `cut`
 * text, ends with "...".  Returns the length without the NUL. */
static size_t
log_escape(const char *text, bool cut, char *out, size_t size)
{
	size_t len = 0, keep = 0, n;
	char escaped[5];

	for (; *text != '\0'; text++) {
		n = log_escape_byte((unsigned char)*text, escaped);
		if (len + n > size - 1) {
			cut = true;
			break;
		}
		memcpy(out + len, escaped, n);
		len += n;
		if (len <= size - 4)
			keep = len;
	}
	if (cut) {
		memcpy(out + keep, "...", 3);
		len = keep + 3;
	}
	out[len] = '\0';
	return len;
}

/*
 * O_NONBLOCK cannot be set on a stderr that other processes share, so ask
 * first.  A pipe that polls writable takes PIPE_BUF bytes at once, which is
 * more than a line.
 */
static void
log_write(struct log *log, const char *line, size_t len)
{
	struct pollfd pfd = { .fd = log->fd, .events = POLLOUT };
	ssize_t n = -1;

	if (log->fd == -1)
		return;
	if (poll(&pfd, 1, 0) == 1 && (pfd.revents & POLLOUT) != 0)
		n = write(log->fd, line, len);
	if (n != (ssize_t)len)
		atomic_fetch_add_explicit(&log->lost, 1, memory_order_relaxed);
}

void
log_msg(struct log *log, enum log_level level, const char *fmt, ...)
{
	char text[LOG_LINE_MAX], line[LOG_LINE_MAX];
	size_t start = 0, len;
	int saved_errno = errno, n;
	va_list ap;

	if ((size_t)level >= LOG_LEVELS || !log_enabled(log, level))
		return;
	va_start(ap, fmt);
	n = vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (n < 0)
		strlcpy(text, fmt, sizeof(text));
	if (atomic_load_explicit(&log->prefix, memory_order_relaxed)) {
		start = LOG_PREFIX_LEN;
		memcpy(line, log_levels[level].prefix, start);
	}
	/* One byte less than there is, for the newline. */
	len = start + log_escape(text, n >= (int)sizeof(text), line + start,
	    sizeof(line) - start - 1);
	if (log->hook != NULL)
		log->hook(log->hook_arg, level, line + start);
	line[len++] = '\n';
	log_write(log, line, len);
	errno = saved_errno;
}
