/* SPDX-License-Identifier: ISC */
/*
 * How far a read or write came: a line on the terminal while it runs, and
 * the last word at its end.
 */
#include "config.h"

#include <sys/param.h>

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "client/cli_io.h"

#define PERIOD		200	/* ms between two lines */
#define CLEAR_LINE	"\r\033[K"

static bool
shows(const struct cli_io *io)
{
	return isatty(STDERR_FILENO) && !io->c->opt.verbose;
}

/* Bytes in a second; 0 if no time has passed. */
static double
rate(const struct cli_io *io)
{
	double seconds = cli_seconds() - io->progress.started;

	return seconds > 0 ? (double)io->progress.done / seconds : 0;
}

void
cli_progress_show(struct cli_io *io)
{
	struct cli_io_progress *p = &io->progress;
	char done[24], total[24], speed[24];
	double r = rate(io);

	if (!shows(io) || cli_now() < p->shown + PERIOD)
		return;
	p->shown = cli_now();
	fprintf(stderr, CLEAR_LINE "%s", cli_size(p->done, done,
	    sizeof(done)));
	if (p->total > 0)
		fprintf(stderr, " of %s, %" PRIu64 " %%", cli_size(p->total,
		    total, sizeof(total)), (uint64_t)((double)p->done * 100 /
		    (double)p->total));
	fprintf(stderr, ", %s/s", cli_size((uint64_t)r, speed,
	    sizeof(speed)));
	if (p->total > 0 && r >= 1)
		fprintf(stderr, ", %.0f s left",
		    (double)(p->total - p->done) / r);
	fflush(stderr);
}

int64_t
cli_progress_next(const struct cli_io *io)
{
	return shows(io) ? io->progress.shown + PERIOD : INT64_MAX;
}

void
cli_progress_clear(struct cli_io *io)
{
	if (shows(io) && io->progress.shown != 0)
		fputs(CLEAR_LINE, stderr);
}

/* "12582912 of 67108864 bytes (12 MiB)" */
static const char *
amount(const struct cli_io *io, char *buf, size_t size)
{
	const struct cli_io_progress *p = &io->progress;
	char words[24], of[32] = "";
	int n;

	if (p->total > 0 && p->done < p->total)
		snprintf(of, sizeof(of), " of %" PRIu64, p->total);
	n = snprintf(buf, size, "%" PRIu64 "%s bytes", p->done, of);
	if (p->done >= 1024)
		snprintf(buf + n, size - (size_t)n, " (%s)",
		    cli_size(p->done, words, sizeof(words)));
	return buf;
}

static enum cli_status
tell_stop(struct cli_io *io, const char *bytes, const char *did)
{
	switch (io->stop) {
	case CLI_IO_SIGNAL:
		return cli_fail(io->c, CLI_FAILED, "interrupted: %s %s, in "
		    "order from offset %" PRIu64, bytes, did, io->start);
	case CLI_IO_FULL:
		return cli_fail(io->c, CLI_FAILED, "the input is larger than "
		    "what is there from offset %" PRIu64 " to the end of the "
		    "logical unit: %s %s", io->start, bytes, did);
	case CLI_IO_FAILED:
		if (!io->told)
			(void)cli_fail(io->c, io->status, "%s; %s %s before "
			    "that, in order from offset %" PRIu64, io->why,
			    bytes, did, io->start);
		else
			cli_note("%s %s before that, in order from offset %"
			    PRIu64, bytes, did, io->start);
		return io->status;
	default:
		break;
	}
	if (io->rest > 0)
		return cli_fail(io->c, CLI_FAILED, "the input ended within a "
		    "block: its last %" PRIu32 " bytes were not written, "
		    "%s were", io->rest, bytes);
	if (io->short_input)
		return cli_fail(io->c, CLI_FAILED, "the input ended too "
		    "early: %s %s", bytes, did);
	return CLI_OK;
}

static void
tell_doubt(const struct cli_io *io)
{
	if (io->doubt)
		cli_note("nobody knows whether all of the %" PRIu64 " bytes "
		    "from offset %" PRIu64 " to %" PRIu64 " were written",
		    io->doubt_to - io->doubt_from, io->doubt_from,
		    io->doubt_to - 1);
	else if (io->islands)
		cli_note("some data beyond that were written, too");
}

static void
report_json(struct cli_io *io, double seconds)
{
	json_t *js = io->c->report;

	json_object_update_new(js, json_pack("{s:I, s:I, s:I, s:f, s:f}",
	    "offset", (json_int_t)io->start, "bytes",
	    (json_int_t)io->progress.done, "block_length",
	    (json_int_t)io->block, "seconds", seconds, "bytes_per_second",
	    seconds > 0 ? (double)io->progress.done / seconds : 0));
	if (io->progress.total > 0)
		json_object_set_new(js, "length",
		    json_integer((json_int_t)io->progress.total));
	if (io->writes)
		json_object_set_new(js, "verified", json_boolean(io->verify &&
		    json_object_get(js, "error") == NULL));
	if (io->interrupted)
		json_object_set_new(js, "interrupted", json_true());
	if (io->rest > 0)
		json_object_set_new(js, "rest",
		    json_integer((json_int_t)io->rest));
	if (io->doubt)
		json_object_set_new(js, "doubt", json_pack("{s:I, s:I}",
		    "offset", (json_int_t)io->doubt_from, "length",
		    (json_int_t)(io->doubt_to - io->doubt_from)));
	if (io->bad && json_object_get(js, "error") != NULL)
		json_object_set_new(json_object_get(js, "error"), "scsi",
		    scsi_report(&io->answer.result));
}

static void
tell_done(const struct cli_io *io, const char *bytes, const char *did,
    double seconds)
{
	char speed[24];

	fprintf(io->c->data_on_stdout ? stderr : stdout,
	    "%s %s%s in %.3g s, %s/s\n", bytes, did,
	    io->verify ? " and verified" : "", seconds,
	    cli_size((uint64_t)rate(io), speed, sizeof(speed)));
}

enum cli_status
cli_io_report(struct cli_io *io)
{
	double seconds = cli_seconds() - io->progress.started;
	const char *did = io->writes ? "written" : "read";
	enum cli_status status;
	char bytes[80];

	/* The signal came when everything was done. */
	if (io->stop == CLI_IO_SIGNAL && io->progress.total > 0 &&
	    io->progress.done == io->progress.total)
		io->stop = CLI_IO_ALL;
	(void)amount(io, bytes, sizeof(bytes));
	status = tell_stop(io, bytes, did);
	if (status != CLI_OK)
		tell_doubt(io);
	if (io->doubt)
		status = CLI_UNKNOWN;
	if (io->c->report != NULL)
		report_json(io, seconds);
	else if (status == CLI_OK)
		tell_done(io, bytes, did, seconds);
	return status;
}
