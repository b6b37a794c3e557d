/* SPDX-License-Identifier: ISC */
/*
 * A ring of chunks between a file and a logical unit.  For each chunk it sends
 * READ(16) or WRITE(16), judges the answer, and sends it again where nothing
 * can have happened; the file is cli_file.c's business.
 *
 * Chunks pass FILLING (write only), READY, BUSY and DONE in any order among
 * each other; the oldest leaves the ring first, so `done` counts bytes without
 * a gap.
 */
#include "config.h"

#include <sys/param.h>

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/cli_io.h"

#define RETRY_PAUSE	20	/* ms, when the target or the daemon is busy */
#define AGAIN_MAX	16u	/* unit attentions of one chunk */

struct cli_chunk *
cli_chunk(const struct cli_io *io, uint64_t n)
{
	return &io->chunks[n % io->depth];
}

void
cli_io_fail(struct cli_io *io, enum cli_status status, const char *fmt, ...)
{
	va_list ap;

	if (io->stop == CLI_IO_FAILED)
		return;
	io->stop = CLI_IO_FAILED;
	io->status = status;
	va_start(ap, fmt);
	vsnprintf(io->why, sizeof(io->why), fmt, ap);
	va_end(ap);
}

struct cli_chunk *
cli_chunk_take(struct cli_io *io)
{
	struct cli_chunk *k;

	if (io->tail - io->head == io->depth || io->next == io->length)
		return NULL;
	k = cli_chunk(io, io->tail);
	if (k->data == NULL)
		k->data = malloc(io->chunk);
	if (k->copy == NULL && io->verify)
		k->copy = malloc(io->chunk);
	if (k->data == NULL || (io->verify && k->copy == NULL)) {
		cli_io_fail(io, CLI_FAILED, "out of memory");
		return NULL;
	}
	k->io = io;
	k->state = io->writes ? CHUNK_FILLING : CHUNK_READY;
	k->checking = false;
	k->at = io->next;
	k->len = (uint32_t)MIN(io->chunk, io->length - io->next);
	k->moved = 0;
	k->tries = 0;
	io->next += k->len;
	io->tail++;
	return k;
}

/* --- how commands end --- */

/* The bytes of this write may or may not be on the medium. */
static void
add_doubt(struct cli_io *io, const struct cli_chunk *k)
{
	uint64_t from = io->start + k->at;

	io->doubt_from = io->doubt ? MIN(io->doubt_from, from) : from;
	io->doubt_to = io->doubt ? MAX(io->doubt_to, from + k->len) :
	    from + k->len;
	io->doubt = true;
}

/* The first command that failed is the one to tell of. */
static void
fail_command(struct cli_io *io, const struct cli_chunk *k,
    const struct iscsimux_result *r, enum cli_status status)
{
	char text[256];

	if (io->stop == CLI_IO_FAILED || io->stop == CLI_IO_SIGNAL)
		return;
	cli_answered(io->c->h, &io->answer, r);
	io->bad = true;
	scsi_explain(r, text, sizeof(text));
	cli_io_fail(io, status, "%s at offset %" PRIu64 ": %s",
	    io->writes && !k->checking ? "write" : "read",
	    io->start + k->at, text);
}

static void
compare(struct cli_io *io, struct cli_chunk *k)
{
	uint32_t i = 0;

	k->state = CHUNK_DONE;
	if (memcmp(k->data, k->copy, k->len) == 0)
		return;
	while (k->data[i] == k->copy[i])
		i++;
	k->state = CHUNK_READY;
	cli_io_fail(io, CLI_FAILED, "what was read back differs from what was "
	    "written, first at offset %" PRIu64, io->start + k->at + i);
}

static void
chunk_good(struct cli_io *io, struct cli_chunk *k,
    const struct iscsimux_result *r)
{
	io->trouble = 0;
	k->tries = 0;
	if (r->transferred != k->len) {
		cli_io_fail(io, CLI_FAILED, "at offset %" PRIu64 " the target "
		    "moved %" PRIu32 " of %" PRIu32 " bytes and says that all "
		    "is well", io->start + k->at, r->transferred, k->len);
	} else if (k->checking) {
		compare(io, k);
	} else if (io->verify) {
		k->checking = true;
	} else {
		k->state = CHUNK_DONE;
	}
}

static void
pause_for(struct cli_io *io)
{
	io->waiting = true;
	io->resume = cli_now() + RETRY_PAUSE;
}

static void
on_done(struct iscsimux *h, void *cookie, const struct iscsimux_result *r)
{
	struct cli_chunk *k = cookie;
	struct cli_io *io = k->io;
	enum scsi_verdict verdict;

	(void)h;
	io->busy--;
	io->news = cli_now();
	k->state = CHUNK_READY;
	verdict = scsi_judge(r, io->writes && !k->checking);
	if (verdict == SCSI_DONE) {
		chunk_good(io, k, r);
		return;
	}
	if (verdict == SCSI_AGAIN && ++k->tries == AGAIN_MAX)
		verdict = SCSI_BAD;
	if (io->trouble == 0)
		io->trouble = io->news;
	if (verdict == SCSI_LATER) {
		pause_for(io);
		if (io->news - io->trouble > io->c->opt.timeout)
			verdict = SCSI_BAD;
	}
	if (verdict == SCSI_DOUBT) {
		add_doubt(io, k);
		fail_command(io, k, r, CLI_UNKNOWN);
	} else if (verdict == SCSI_BAD) {
		fail_command(io, k, r, CLI_FAILED);
	}
}

/* --- sending --- */

static int
submit(struct cli_io *io, struct cli_chunk *k)
{
	struct scsi_command m;
	uint64_t lba = (io->start + k->at) / io->block;
	uint32_t n = k->len / io->block;
	int r;

	if (io->writes && !k->checking)
		scsi_write_16(&m, io->c, lba, n, k->data, k->len);
	else
		scsi_read_16(&m, io->c, lba, n, k->checking ? k->copy :
		    k->data, k->len);
	r = iscsimux_execute(io->c->h, &m.scsi, on_done, k, &k->id);
	if (r == 0) {
		k->state = CHUNK_BUSY;
		if (io->busy++ == 0)
			io->news = cli_now();
	}
	return r;
}

static void
submit_all(struct cli_io *io)
{
	int r = 0;

	if (io->waiting && cli_now() >= io->resume)
		io->waiting = false;
	if (io->stop == CLI_IO_SIGNAL || io->stop == CLI_IO_FAILED ||
	    io->waiting || !cli_is_up(io->c))
		return;
	for (uint64_t n = io->head; n < io->tail && r == 0; n++) {
		struct cli_chunk *k = cli_chunk(io, n);

		if (k->state == CHUNK_READY)
			r = submit(io, k);
	}
	if (r == -EAGAIN && io->busy == 0)
		pause_for(io);
	if (r != 0 && r != -EAGAIN && r != -ENOTCONN)
		cli_io_fail(io, CLI_FAILED, "%s", iscsimux_strerror(r));
}

/* --- the run --- */

static void
on_signal(struct cli_io *io)
{
	io->interrupted = true;
	if (io->stop != CLI_IO_FAILED)
		io->stop = CLI_IO_SIGNAL;
	if (io->writes)
		return;
	for (uint64_t n = io->head; n < io->tail; n++) {
		if (cli_chunk(io, n)->state == CHUNK_BUSY)
			(void)iscsimux_cancel(io->c->h,
			    cli_chunk(io, n)->id);
	}
}

static bool
finished(const struct cli_io *io)
{
	bool empty = io->head == io->tail;

	if (io->busy > 0)
		return false;
	if (io->interrupted)
		return true;
	if (io->stop == CLI_IO_FAILED)
		return empty || io->writes ||
		    cli_chunk(io, io->head)->state != CHUNK_DONE;
	return empty && (io->writes ? io->eof : io->next == io->length);
}

/* Is there a chunk that waits for the session to be up? */
static bool
held_up(const struct cli_io *io)
{
	if (io->busy > 0 || cli_is_up(io->c) || io->interrupted ||
	    io->stop == CLI_IO_FAILED)
		return false;
	for (uint64_t n = io->head; n < io->tail; n++) {
		if (cli_chunk(io, n)->state == CHUNK_READY)
			return true;
	}
	return false;
}

/* No command is open and the session is not up: wait for it. */
static void
recover(struct cli_io *io)
{
	int64_t until = io->trouble + io->c->opt.timeout;
	enum cli_status status;

	if (io->trouble == 0)
		until = cli_now() + io->c->opt.timeout;
	cli_progress_clear(io);
	status = cli_recover(io->c, until);
	if (status == CLI_OK || io->c->interrupts > 0)
		return;
	io->told = true;
	cli_io_fail(io, status, "%s", io->c->why);
}

/* The daemon ends each task at its deadline; if it does not, it is stuck. */
static void
check_stuck(struct cli_io *io)
{
	if (io->busy == 0 || cli_now() < io->news + io->c->opt.timeout +
	    CLI_GRACE)
		return;
	iscsimux_disconnect(io->c->h);
	cli_io_fail(io, io->doubt ? CLI_UNKNOWN : CLI_UNREACHABLE,
	    "the daemon does not answer any more");
}

static void
wait_for_news(struct cli_io *io)
{
	struct pollfd file = { .fd = io->fd,
		.events = io->writes ? POLLIN : POLLOUT };
	bool wants = cli_io_wants_file(io);
	int64_t until = cli_progress_next(io);

	if (io->waiting)
		until = MIN(until, io->resume);
	if (io->busy > 0)
		until = MIN(until, io->news + io->c->opt.timeout + CLI_GRACE);
	/* A regular file is always ready; never poll what need not wait. */
	if (wants && !io->blocks)
		until = cli_now();
	io->ready = !io->blocks;
	cli_step(io->c, wants && io->blocks ? &file : NULL, until);
	if (file.revents != 0)
		io->ready = true;
}

static void
turn(struct cli_io *io)
{
	if (io->c->interrupts > 0 && !io->interrupted)
		on_signal(io);
	/* Whoever asks twice will not wait for the target. */
	if (io->c->interrupts > 1 && io->busy > 0)
		iscsimux_disconnect(io->c->h);
	check_stuck(io);
	/* Who leaves the ring makes room for the next. */
	cli_io_drain(io);
	if (io->writes)
		cli_io_fill(io);
	else
		while (io->stop == CLI_IO_ALL && cli_chunk_take(io) != NULL)
			continue;
	submit_all(io);
	cli_progress_show(io);
}

/* What is beyond the first gap, and whether a gap is there. */
static void
close_books(struct cli_io *io)
{
	for (uint64_t n = io->head; n < io->tail; n++) {
		struct cli_chunk *k = cli_chunk(io, n);

		if (io->writes && (k->state == CHUNK_DONE || k->checking))
			io->islands = true;
	}
	for (uint32_t i = 0; i < io->depth; i++) {
		free(io->chunks[i].data);
		free(io->chunks[i].copy);
	}
	free(io->chunks);
	io->chunks = NULL;
}

void
cli_io_run(struct cli_io *io)
{
	io->progress.started = cli_seconds();
	io->ready = !io->blocks;
	io->chunks = calloc(io->depth, sizeof(*io->chunks));
	if (io->chunks == NULL) {
		cli_io_fail(io, CLI_FAILED, "out of memory");
		return;
	}
	for (turn(io); !finished(io); turn(io)) {
		if (held_up(io))
			recover(io);
		else
			wait_for_news(io);
	}
	cli_progress_clear(io);
	close_books(io);
}
