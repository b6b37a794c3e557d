/* SPDX-License-Identifier: ISC */
/*
 * Inside the program iscsimux: what its files share.  cli_main.c reads the
 * command line, cli_session.c talks to the daemon, cli_scsi.c makes and reads
 * SCSI bytes, cli_print.c and cli_progress.c write, cli_trace.c and
 * cli_decode.c show PDUs, pdu_*.c read and write them as text, and every other
 * file is one or a few commands.  All of it stands on iscsimux.h, and on
 * proto/iscsi.h for what the bytes of a PDU mean.
 */
#ifndef CLIENT_CLI_H
#define CLIENT_CLI_H

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#include "client/iscsimux.h"

#define CLI_TEXT_MAX	256u	/* bytes of a text of the daemon */
#define CLI_SENSE_MAX	252u	/* bytes (SPC-4 section 4.5.1) */

enum cli_status {
	CLI_OK = 0,
	CLI_FAILED = 1,		/* SCSI, the target, refused, interrupted */
	CLI_USAGE = 2,
	CLI_UNREACHABLE = 3,	/* no daemon there, or not permitted */
	CLI_UNKNOWN = 4		/* nobody knows whether it was done */
};

/* What reset is to reach. */
enum cli_target {
	CLI_TARGET_NONE,	/* a LUN */
	CLI_TARGET_WARM,
	CLI_TARGET_COLD,
	CLI_TARGET_NEXUS	/* the session's own part of it */
};

/* What the command line says; sizes in bytes, times in ms. */
struct cli_options {
	const char	*socket;
	bool		 socket_given;
	bool		 json;
	bool		 verbose;
	bool		 verify;
	bool		 hex;
	uint32_t	 timeout;
	uint32_t	 count;		/* ping: 0 is for ever */
	uint32_t	 interval;
	uint32_t	 size;
	int		 page;		/* inquiry: -1 is none */
	uint64_t	 offset;
	bool		 length_given;
	uint64_t	 length;
	uint32_t	 chunk;
	uint32_t	 depth;
	const char	*portal;	/* raw: NULL is none */
	bool		 login;		/* discover: add sessions */
	const char	*credentials;	/* a session's; NULL is none */
	const char	*script;
	int		 adopt_fd;	/* -1 is none */
	bool		 clear_task_set;	/* abort */
	bool		 clear_aca;
	enum cli_target	 target;	/* reset */
	bool		 event;		/* query */
};

struct cli {
	struct cli_options opt;
	const char	*command;
	/* Its name, or its target's. */
	char		 session[ISCSIMUX_TARGET_MAX + 1];
	unsigned	 lun;
	bool		 lun_given;
	const char	*file;		/* "-" is a standard stream */
	int		 argc;		/* submit: words of the PDU */
	char		**argv;

	struct iscsimux	*h;
	int		 signals;	/* signalfd */
	unsigned	 interrupts;	/* SIGINT, SIGTERM, SIGHUP so far */
	bool		 attached;	/* answered, see attach_error */
	int		 attach_error;
	bool		 closed;	/* by the daemon */
	char		 why[CLI_TEXT_MAX];	/* it closed, or is down */

	struct raw	*raw;		/* of the command raw, and its hooks */
	void		(*on_pdu)(struct cli *c,
			    const struct iscsimux_pdu *pdu);
	void		(*on_ended)(struct cli *c,
			    const struct iscsimux_event *e);

	json_t		*report;	/* NULL unless JSON is wanted */
	bool		 data_on_stdout;
};

/* --- cli_session.c: the daemon and the session --- */

/* The monotonic clock: milliseconds, and seconds with their fraction. */
int64_t cli_now(void);
double cli_seconds(void);

/* Make the handle and take the signals.  CLI_OK, or told. */
enum cli_status cli_init(struct cli *c);
void cli_deinit(struct cli *c);

/* Connect to the daemon.  CLI_OK, or told. */
enum cli_status cli_connect(struct cli *c);

/*
 * Connect, attach and wait until the session is up, all within the time-out.
 * CLI_OK, or told.
 */
enum cli_status cli_open(struct cli *c);

/* True if requests can be submitted now. */
bool cli_is_up(const struct cli *c);

/*
 * Wait until the session is up, after a new connection if the daemon closed
 * the old one.  CLI_OK, or told; CLI_FAILED untold if a signal came.
 */
enum cli_status cli_recover(struct cli *c, int64_t until);

/*
 * Wait for news of the daemon, for a signal, for `more` (NULL: nothing) and
 * at most to the point of time `until`, and service the handle.
 */
void cli_step(struct cli *c, struct pollfd *more, int64_t until);

/* Let time pass, as long as no signal comes; false if one came. */
bool cli_pause(struct cli *c, int64_t until);

/* Tell of a signal, or that the daemon closed the connection and why. */
enum cli_status cli_fail_interrupted(struct cli *c);
enum cli_status cli_fail_closed(struct cli *c);

/* --- cli_command.c: single commands --- */

/* A result that outlives the callback. */
struct cli_answer {
	bool			 done;
	struct iscsimux_result	 result;
	uint8_t			 sense[CLI_SENSE_MAX];
	char			 text[CLI_TEXT_MAX];
};

/* iscsimux_done_fn whose cookie is a struct cli_answer. */
void cli_answered(struct iscsimux *h, void *cookie,
    const struct iscsimux_result *result);

/*
 * Wait for it; if time is over or a signal came, disconnect, which ends it,
 * too.
 */
void cli_await(struct cli *c, struct cli_answer *answer, int64_t until);

/*
 * Execute a command that changes nothing, again as long as that makes sense.
 * CLI_OK with `*answer`, of any SCSI status; or told.
 */
enum cli_status cli_execute(struct cli *c, const struct iscsimux_scsi *scsi,
    struct cli_answer *answer);

/* The same, and tell of a status other than GOOD. */
enum cli_status cli_command(struct cli *c, const struct iscsimux_scsi *scsi,
    struct cli_answer *answer);

/* How long to wait beyond a task's deadline for the daemon to end it, ms. */
#define CLI_GRACE	20000

/* --- cli_print.c: messages, numbers and sizes for people --- */

/* Tell why it failed, on standard error; returns `status`. */
enum cli_status cli_fail(struct cli *c, enum cli_status status,
    const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* The same for a command that did not end with GOOD. */
enum cli_status cli_bad(struct cli *c, const struct iscsimux_result *r);

/* A message that is no failure, on standard error. */
void cli_note(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* "64 MiB", "1.5 KiB"; at most 24 bytes. */
const char *cli_size(uint64_t bytes, char *buf, size_t size);

/* Copy a field of ASCII without what pads it; `to` has len + 1 bytes. */
void cli_ascii(const uint8_t *from, size_t len, char *to);

/* Write bytes in hexadecimal: one line of sixteen, all lines, one string. */
void cli_hexline(const uint8_t *data, size_t len, size_t at);
void cli_hexdump(const uint8_t *data, size_t len);
json_t *cli_hex(const uint8_t *data, size_t len);

/* Print a table of rows and free it. */
struct table;
enum cli_status cli_table(struct cli *c, struct table *t);

/* A table of names and values, and its rows; NULL is let pass. */
struct table *cli_pairs(void);
void cli_pair(struct table *t, const char *name, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* --- the commands --- */

enum cli_status cli_list(struct cli *c);
enum cli_status cli_wait(struct cli *c);
enum cli_status cli_ping(struct cli *c);
enum cli_status cli_inquiry(struct cli *c);
enum cli_status cli_luns(struct cli *c);
enum cli_status cli_capacity(struct cli *c);
enum cli_status cli_read(struct cli *c);
enum cli_status cli_write(struct cli *c);
enum cli_status cli_submit(struct cli *c);
enum cli_status cli_abort(struct cli *c);
enum cli_status cli_reset(struct cli *c);
enum cli_status cli_query(struct cli *c);
enum cli_status cli_raw(struct cli *c);
enum cli_status cli_discover(struct cli *c);

/* Print what a VPD page holds; `page` has `len` bytes, at least 4. */
enum cli_status cli_vpd(struct cli *c, const uint8_t *page, size_t len);

/* --- cli_trace.c --- */

/* Show each PDU on standard error from now on. */
void cli_trace(struct iscsimux *h);

#endif
