/* SPDX-License-Identifier: ISC */
/*
 * The commands read and write: what is asked for is checked against the
 * capacity before the engine (cli_io.c) gets it.
 */
#include "config.h"

#include <sys/stat.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "client/cli_io.h"

static bool
is_standard(const struct cli *c)
{
	return strcmp(c->file, "-") == 0;
}

/* --- checks --- */

static enum cli_status
check_multiple(struct cli *c, const char *option, uint64_t bytes,
    uint32_t block)
{
	if (bytes % block == 0)
		return CLI_OK;
	return cli_fail(c, CLI_USAGE, "%s %" PRIu64 " is no multiple of the "
	    "block length, %" PRIu32 " bytes", option, bytes, block);
}

/* The capacity and what the options want of it; `*room` is up to the end. */
static enum cli_status
check_options(struct cli_io *io, uint64_t *room)
{
	const struct cli_options *o = &io->c->opt;
	struct scsi_capacity k;
	enum cli_status status = scsi_capacity(io->c, &k);
	uint64_t size;

	if (status == CLI_OK)
		status = check_multiple(io->c, "--offset", o->offset,
		    k.block_len);
	if (status == CLI_OK)
		status = check_multiple(io->c, "--length", o->length,
		    k.block_len);
	if (status == CLI_OK)
		status = check_multiple(io->c, "--chunk", o->chunk,
		    k.block_len);
	if (status != CLI_OK)
		return status;
	size = k.blocks * k.block_len;
	if (o->offset > size || o->length > size - o->offset)
		return cli_fail(io->c, CLI_USAGE, "%s %" PRIu64 " is beyond "
		    "the end of the logical unit, which has %" PRIu64
		    " bytes", o->offset > size ? "--offset" :
		    "--offset plus --length", o->offset + o->length, size);
	io->block = k.block_len;
	io->chunk = o->chunk;
	io->start = o->offset;
	*room = size - o->offset;
	return CLI_OK;
}

/* Does the descriptor take and give data without a wait? */
static enum cli_status
look_at_file(struct cli_io *io, struct stat *st)
{
	if (fstat(io->fd, st) == -1)
		return cli_fail(io->c, CLI_FAILED, "%s: %s", io->c->file,
		    strerror(errno));
	if (S_ISDIR(st->st_mode))
		return cli_fail(io->c, CLI_FAILED, "%s: %s", io->c->file,
		    strerror(EISDIR));
	io->blocks = !S_ISREG(st->st_mode) && !S_ISBLK(st->st_mode);
	return CLI_OK;
}

/* Bytes of input from where it stands; false if nobody can tell. */
static bool
input_size(const struct cli_io *io, const struct stat *st, uint64_t *size)
{
	off_t here, end = st->st_size;

	if (io->blocks)
		return false;
	here = lseek(io->fd, 0, SEEK_CUR);
	if (here == -1)
		return false;
	if (S_ISBLK(st->st_mode)) {
		end = lseek(io->fd, 0, SEEK_END);
		if (end == -1 || lseek(io->fd, here, SEEK_SET) == -1)
			return false;
	}
	*size = end > here ? (uint64_t)(end - here) : 0;
	return true;
}

/* How much to write, from the options and from an input of `size` bytes. */
static enum cli_status
check_input(struct cli_io *io, bool known, uint64_t size, uint64_t room)
{
	struct cli *c = io->c;

	io->length = room;
	io->to_end = true;
	if (c->opt.length_given) {
		io->length = c->opt.length;
		io->to_end = false;
		if (known && size < io->length)
			return cli_fail(c, CLI_FAILED, "the input has only %"
			    PRIu64 " of the %" PRIu64 " bytes of --length",
			    size, io->length);
	} else if (known) {
		io->length = size;
		io->to_end = false;
		if (size % io->block != 0)
			return cli_fail(c, CLI_FAILED, "the input has %"
			    PRIu64 " bytes, which is no multiple of the block "
			    "length, %" PRIu32 " bytes", size, io->block);
		if (size > room)
			return cli_fail(c, CLI_FAILED, "the input has %"
			    PRIu64 " bytes, but from offset %" PRIu64 " to "
			    "the end of the logical unit there are %" PRIu64,
			    size, io->start, room);
	}
	io->progress.total = io->to_end ? 0 : io->length;
	return CLI_OK;
}

/* --- the commands --- */

static void
io_init(struct cli_io *io, struct cli *c)
{
	*io = (struct cli_io){
		.c = c,
		.fd = -1,
		.depth = c->opt.depth,
	};
}

static enum cli_status
open_output(struct cli_io *io)
{
	struct cli *c = io->c;
	struct stat st;

	if (is_standard(c)) {
		io->fd = STDOUT_FILENO;
	} else {
		io->fd = open(c->file, O_WRONLY | O_CREAT | O_TRUNC |
		    O_CLOEXEC, 0666);
		if (io->fd == -1)
			return cli_fail(c, CLI_FAILED, "%s: %s", c->file,
			    strerror(errno));
	}
	return look_at_file(io, &st);
}

enum cli_status
cli_read(struct cli *c)
{
	struct cli_io io;
	enum cli_status status;
	uint64_t room;

	io_init(&io, c);
	c->data_on_stdout = is_standard(c);
	if (c->data_on_stdout && isatty(STDOUT_FILENO))
		return cli_fail(c, CLI_USAGE, "standard output is a terminal: "
		    "name a file, or use a pipe");
	status = cli_open(c);
	if (status == CLI_OK)
		status = check_options(&io, &room);
	if (status == CLI_OK)
		status = open_output(&io);
	if (status == CLI_OK) {
		io.length = c->opt.length_given ? c->opt.length : room;
		io.progress.total = io.length;
		cli_io_run(&io);
		status = cli_io_report(&io);
	}
	if (!c->data_on_stdout && io.fd != -1 && close(io.fd) == -1)
		status = cli_fail(c, status != CLI_OK ? status : CLI_FAILED,
		    "%s: %s", c->file, strerror(errno));
	return status;
}

static enum cli_status
open_input(struct cli_io *io)
{
	struct cli *c = io->c;

	io->fd = is_standard(c) ? STDIN_FILENO :
	    open(c->file, O_RDONLY | O_CLOEXEC);
	if (io->fd == -1)
		return cli_fail(c, CLI_FAILED, "%s: %s", c->file,
		    strerror(errno));
	return CLI_OK;
}

enum cli_status
cli_write(struct cli *c)
{
	struct cli_io io;
	enum cli_status status;
	uint64_t room = 0, size = 0;
	struct stat st;
	bool known = false;

	io_init(&io, c);
	io.writes = true;
	io.verify = c->opt.verify;
	status = open_input(&io);
	if (status == CLI_OK)
		status = look_at_file(&io, &st);
	if (status == CLI_OK)
		status = cli_open(c);
	if (status == CLI_OK)
		status = check_options(&io, &room);
	if (status == CLI_OK) {
		known = input_size(&io, &st, &size);
		status = check_input(&io, known, size, room);
	}
	if (status == CLI_OK) {
		cli_io_run(&io);
		status = cli_io_report(&io);
	}
	if (io.fd > STDERR_FILENO)
		(void)close(io.fd);
	return status;
}
