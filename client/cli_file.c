/* SPDX-License-Identifier: ISC */
/*
 * The file's end of the ring of chunks.  A pipe is only touched after a poll
 * and never with more than it takes at once, because a blocked program would
 * not read what the daemon sends, and no flag of a descriptor that others
 * hold, too, may be changed.
 */
#include "config.h"

#include <sys/param.h>

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

#include "client/cli_io.h"

/* --- input --- */

/* The chunk that input goes to, or NULL. */
static struct cli_chunk *
filling(struct cli_io *io)
{
	struct cli_chunk *k;

	if (io->tail > io->head) {
		k = cli_chunk(io, io->tail - 1);
		if (k->state == CHUNK_FILLING)
			return k;
	}
	return cli_chunk_take(io);
}

/* At the end of the input: send the whole blocks, count what is left. */
static void
end_input(struct cli_io *io, struct cli_chunk *k)
{
	io->eof = true;
	io->rest = k->moved % io->block;
	io->next -= k->len;
	k->len = k->moved - io->rest;
	io->next += k->len;
	io->short_input = !io->to_end;
	if (k->len > 0)
		k->state = CHUNK_READY;
	else
		io->tail--;
}

/* The logical unit is full; one more byte of input would be too many. */
static void
probe_end(struct cli_io *io)
{
	uint8_t byte;
	ssize_t n;

	if (!io->to_end) {
		io->eof = true;
		return;
	}
	if (!io->ready)
		return;
	n = read(io->fd, &byte, 1);
	if (n == -1 && (errno == EINTR || errno == EAGAIN)) {
		io->ready = !io->blocks;
		return;
	}
	io->eof = true;
	if (n > 0)
		io->stop = CLI_IO_FULL;
}

/* One read; false if there is nothing more to be had now. */
static bool
fill_once(struct cli_io *io)
{
	struct cli_chunk *k = filling(io);
	ssize_t n;

	if (k == NULL)
		return false;
	n = read(io->fd, k->data + k->moved, k->len - k->moved);
	io->ready = !io->blocks;
	if (n == -1) {
		if (errno != EINTR && errno != EAGAIN)
			cli_io_fail(io, CLI_FAILED, "cannot read the input: "
			    "%s", strerror(errno));
		return errno == EINTR && !io->blocks;
	}
	if (n == 0) {
		end_input(io, k);
		return false;
	}
	k->moved += (uint32_t)n;
	if (k->moved == k->len)
		k->state = CHUNK_READY;
	return true;
}

void
cli_io_fill(struct cli_io *io)
{
	while (io->stop == CLI_IO_ALL && !io->eof && io->ready &&
	    io->next <= io->length && fill_once(io))
		continue;
	if (io->stop == CLI_IO_ALL && !io->eof && io->next == io->length &&
	    (io->tail == io->head ||
	    cli_chunk(io, io->tail - 1)->state != CHUNK_FILLING))
		probe_end(io);
}

/* --- output --- */

/* Write a piece of the oldest chunk; false if that must wait. */
static bool
drain_once(struct cli_io *io, struct cli_chunk *k)
{
	size_t len = k->len - k->moved;
	ssize_t n;

	if (!io->ready)
		return false;
	/* A pipe that is ready takes so much without blocking (pipe(7)). */
	if (io->blocks)
		len = MIN(len, PIPE_BUF);
	n = write(io->fd, k->data + k->moved, len);
	io->ready = !io->blocks;
	if (n == -1) {
		if (errno == EINTR || errno == EAGAIN)
			return !io->blocks;
		cli_io_fail(io, CLI_FAILED, "cannot write the output: %s",
		    strerror(errno));
		io->head = io->tail;
		return false;
	}
	k->moved += (uint32_t)n;
	io->progress.done += (uint64_t)n;
	return true;
}

void
cli_io_drain(struct cli_io *io)
{
	while (io->head < io->tail) {
		struct cli_chunk *k = cli_chunk(io, io->head);

		if (k->state != CHUNK_DONE)
			return;
		if (io->writes)
			io->progress.done += k->len;
		else if (!drain_once(io, k))
			return;
		if (io->writes || k->moved == k->len)
			io->head++;
	}
}

bool
cli_io_wants_file(const struct cli_io *io)
{
	if (!io->writes)
		return io->head < io->tail &&
		    cli_chunk(io, io->head)->state == CHUNK_DONE;
	if (io->stop != CLI_IO_ALL || io->eof)
		return false;
	return io->tail - io->head < io->depth || (io->tail > io->head &&
	    cli_chunk(io, io->tail - 1)->state == CHUNK_FILLING);
}
