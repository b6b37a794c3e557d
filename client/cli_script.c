/* SPDX-License-Identifier: ISC */
/*
 * The script of iscsimux raw: its lines, one at a time.  A file is read and
 * looked at as a whole before anything is sent; from a terminal or a pipe
 * each line runs as it comes.
 */
#include "config.h"

#include <sys/stat.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/cli_raw.h"

#define READ_SIZE	65536u
#define SCRIPT_MAX	(64u << 20)	/* bytes not yet run */

/* Read once into the buffer; false at an error, which is told. */
static bool
read_some(struct raw *r)
{
	struct raw_script *s = &r->script;
	char *grown;
	ssize_t n;

	if (s->len + READ_SIZE > s->size) {
		grown = s->size < SCRIPT_MAX ?
		    realloc(s->text, s->size + 2 * READ_SIZE) : NULL;
		if (grown == NULL) {
			cli_fail(r->c, CLI_FAILED, "%s: a line is too long",
			    s->name);
			return false;
		}
		s->text = grown;
		s->size += 2 * READ_SIZE;
	}
	n = read(s->fd, s->text + s->len, READ_SIZE);
	if (n == -1 && errno != EINTR && errno != EAGAIN) {
		cli_fail(r->c, CLI_FAILED, "%s: %s", s->name,
		    strerror(errno));
		return false;
	}
	if (n > 0)
		s->len += (size_t)n;
	s->eof = n == 0;
	return true;
}

enum cli_status
raw_script_open(struct raw *r, const char *path)
{
	struct raw_script *s = &r->script;
	struct stat st;

	s->line = 1;
	s->name = strcmp(path, "-") == 0 ? "standard input" : path;
	s->fd = strcmp(path, "-") == 0 ? STDIN_FILENO :
	    open(path, O_RDONLY | O_CLOEXEC);
	if (s->fd == -1 || fstat(s->fd, &st) == -1)
		return cli_fail(r->c, CLI_USAGE, "%s: %s", s->name,
		    strerror(errno));
	s->stream = !S_ISREG(st.st_mode);
	while (!s->stream && !s->eof)
		if (!read_some(r))
			return CLI_FAILED;
	return CLI_OK;
}

void
raw_script_close(struct raw *r)
{
	free(r->script.text);
	if (r->script.fd > STDIN_FILENO)
		close(r->script.fd);
}

/* Is the line that ends at `end` sure to be whole? */
static bool
is_whole(const struct raw_script *s, const char *end, int n)
{
	const char *text = s->text + s->pos, *last = s->text + s->len;

	if (s->eof)
		return true;
	if (n < 0)	/* a quotation mark may be closed yet */
		return memchr(end, '\n', (size_t)(last - end)) != NULL;
	if (end < last)
		return true;
	if (end == text || end[-1] != '\n')
		return false;
	/* It might be continued. */
	return end - text < 2 || end[-2] != '\\';
}

/*
 * Split the next line if it is there: 1 with `*n` words, 0 if more must be
 * read, -1 with `*status` told.
 */
static int
split_line(struct raw *r, size_t *n, enum cli_status *status)
{
	struct raw_script *s = &r->script;
	const char *p = s->text + s->pos, *end = s->text + s->len;
	unsigned line = s->line;
	struct pdu_error e;
	int words;

	words = pdu_split(&p, end, &line, s->words, RAW_WORDS, &e);
	if (!is_whole(s, p, words))
		return 0;
	if (words < 0) {
		*status = cli_fail(r->c, CLI_USAGE, "%s:%u:%u: %s", s->name,
		    e.line, e.column, e.text);
		return -1;
	}
	r->line = words > 0 ? s->words[0].line : s->line;
	s->line = line;
	s->pos = (size_t)(p - s->text);
	*n = (size_t)words;
	return 1;
}

/* Wait for input, and meanwhile for the daemon.  CLI_OK, or told. */
static enum cli_status
wait_input(struct raw *r)
{
	struct raw_script *s = &r->script;
	struct pollfd file = { .fd = s->fd, .events = POLLIN };

	cli_step(r->c, &file, INT64_MAX);
	if (r->c->interrupts > 0)
		return cli_fail_interrupted(r->c);
	if (r->c->closed)
		return cli_fail_closed(r->c);
	if (file.revents == 0)
		return CLI_OK;
	/* What has run is not needed any more. */
	if (s->pos > 0) {
		memmove(s->text, s->text + s->pos, s->len - s->pos);
		s->len -= s->pos;
		s->pos = 0;
	}
	return read_some(r) ? CLI_OK : CLI_FAILED;
}

static enum cli_status
run_line(struct raw *r, size_t n)
{
	const struct pdu_word *words = r->script.words;
	enum cli_status status;

	if (n == 0 || raw_command(r, words, n, &status))
		return n == 0 ? CLI_OK : status;
	return raw_send(r, words, n);
}

enum cli_status
raw_run(struct raw *r)
{
	struct raw_script *s = &r->script;
	enum cli_status status = CLI_OK;
	size_t n;
	int got;

	while (status == CLI_OK && !(s->eof && s->pos == s->len)) {
		got = s->len > s->pos ? split_line(r, &n, &status) : 0;
		if (got == 1)
			status = run_line(r, n);
		else if (got == 0)
			status = wait_input(r);
		if (status == CLI_OK && r->c->interrupts > 0)
			status = cli_fail_interrupted(r->c);
	}
	if (r->dry) {
		s->pos = 0;
		s->line = 1;
		r->expect = ISCSIMUX_EXPECT_DEFAULT;
		return status;
	}
	if (status != CLI_OK)
		return status;
	return raw_wait_tasks(r, cli_now() + r->c->opt.timeout + CLI_GRACE);
}
