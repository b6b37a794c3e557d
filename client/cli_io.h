/* SPDX-License-Identifier: ISC */
/*
 * The engine of read and write: many commands at a time, their data to or
 * from a file in order, sent again where that is safe.
 */
#ifndef CLIENT_CLI_IO_H
#define CLIENT_CLI_IO_H

#include "client/cli_scsi.h"

/* How far it came; shown while it runs and told at its end. */
struct cli_io_progress {
	uint64_t	done;		/* bytes confirmed in order */
	uint64_t	total;		/* of so many; 0: not known */
	double		started;	/* s of cli_seconds() */
	int64_t		shown;		/* ms of cli_now(), or 0 */
};

/* Why it ended before the end of the data. */
enum cli_io_stop {
	CLI_IO_ALL,		/* it did not */
	CLI_IO_SIGNAL,
	CLI_IO_FAILED,		/* `why` says */
	CLI_IO_FULL		/* more input than room on the logical unit */
};

struct cli_chunk;

struct cli_io {
	/* What the caller fills in; sizes in bytes. */
	struct cli	*c;
	bool		 writes;
	bool		 verify;	/* read back what was written */
	int		 fd;		/* where data come from or go to */
	bool		 blocks;	/* fd is to be polled first */
	uint64_t	 start;		/* on the logical unit */
	uint64_t	 length;	/* at most */
	bool		 to_end;	/* of an input of unknown length, which
					   should not have more than `length` */
	uint32_t	 block;
	uint32_t	 chunk;		/* a multiple of `block` */
	uint32_t	 depth;

	/* What it leaves. */
	struct cli_io_progress progress;
	enum cli_io_stop stop;
	enum cli_status	 status;	/* of a failure, told already if
					   `told` */
	bool		 told;
	char		 why[512];
	bool		 bad;		/* `answer` is of the command that
					   failed */
	struct cli_answer answer;
	bool		 doubt;		/* perhaps written, perhaps not: */
	uint64_t	 doubt_from;	/* bytes of the logical unit */
	uint64_t	 doubt_to;
	uint32_t	 rest;		/* bytes of input behind a block */
	bool		 short_input;	/* it ended before `length` */
	bool		 islands;	/* some beyond `done` was written */

	/* Its own. */
	struct cli_chunk *chunks;	/* a ring of `depth` */
	uint64_t	 head, tail;	/* numbers of chunks, not reduced */
	uint64_t	 next;		/* bytes given to chunks */
	uint32_t	 busy;		/* commands open */
	bool		 eof;
	bool		 ready;		/* fd was polled */
	bool		 interrupted;	/* a signal was seen to */
	bool		 waiting;	/* a pause is due until `resume` */
	int64_t		 resume;
	int64_t		 trouble;	/* ms since when nothing went well, 0 */
	int64_t		 news;		/* ms of the last completion */
};

/* Run to the end; the results are in `io`.  Frees what is its own. */
void cli_io_run(struct cli_io *io);

/* --- cli_file.c: the other end of the data --- */

/* Read input into chunks, or write chunks to output; as far as it goes. */
void cli_io_fill(struct cli_io *io);
void cli_io_drain(struct cli_io *io);

/* Is there something to poll the file for? */
bool cli_io_wants_file(const struct cli_io *io);

/* Stop for the reason given; the first one counts. */
void cli_io_fail(struct cli_io *io, enum cli_status status, const char *fmt,
    ...) __attribute__((format(printf, 3, 4)));

/* Both ends look at the oldest and the newest chunk. */
enum cli_chunk_state {
	CHUNK_FILLING,		/* from input */
	CHUNK_READY,		/* to be sent */
	CHUNK_BUSY,
	CHUNK_DONE
};

struct cli_chunk {
	struct cli_io	*io;
	enum cli_chunk_state state;
	bool		 checking;	/* written, now read back */
	uint8_t		*data;
	uint8_t		*copy;		/* read back */
	uint64_t	 at;		/* bytes from io->start */
	uint32_t	 len;
	uint32_t	 moved;		/* bytes from or to the file */
	uint32_t	 tries;		/* unit attentions */
	uint64_t	 id;
};

/* Chunk number n of the ring; with memory once it was taken. */
struct cli_chunk *cli_chunk(const struct cli_io *io, uint64_t n);

/* Take the next chunk of the ring, or NULL: full, or no memory. */
struct cli_chunk *cli_chunk_take(struct cli_io *io);

/* --- cli_progress.c --- */

/* Show how far it came, if standard error is a terminal and it is time. */
void cli_progress_show(struct cli_io *io);

/* When cli_progress_show() has work again, ms; INT64_MAX never. */
int64_t cli_progress_next(const struct cli_io *io);

/* Take the line off the terminal. */
void cli_progress_clear(struct cli_io *io);

/* Tell how it ended, people or program.  Returns the exit status. */
enum cli_status cli_io_report(struct cli_io *io);

#endif
