/* SPDX-License-Identifier: ISC */
/*
 * The command raw: a raw connection, the tasks on it, and the script that
 * drives it.
 */
#ifndef CLIENT_CLI_RAW_H
#define CLIENT_CLI_RAW_H

#include <sys/queue.h>

#include "client/cli_pdu.h"

#define RAW_WORDS	1024u	/* of one line */
#define RAW_OPCODES	64u

/* A PDU of the script that has not ended. */
struct raw_task {
	LIST_ENTRY(raw_task)	 entry;
	struct raw		*r;
	unsigned		 line;		/* of the script */
	uint32_t		 itt;
	uint64_t		 id;
	bool			 waits;		/* something answers it */
	struct raw_task		*parent;	/* whose PDU it is, or NULL */
	struct pdu_text		 pdu;		/* its bytes */
	struct iovec		 iov;
};

LIST_HEAD(raw_tasks, raw_task);

/* The script as far as it was read. */
struct raw_script {
	const char	*name;		/* for messages */
	int		 fd;
	bool		 stream;	/* lines run as they come */
	bool		 eof;
	char		*text;
	size_t		 len, size, pos;
	unsigned	 line;		/* at pos, from 1 */
	struct pdu_word	 words[RAW_WORDS];
};

struct raw {
	struct cli	*c;
	struct raw_script script;
	bool		 dry;		/* only look for errors */
	unsigned	 line;		/* of the words being run */
	enum cli_status	 status;	/* the worst so far */
	bool		 shared;
	bool		 ended;		/* the TCP connection */
	char		 why[CLI_TEXT_MAX];
	int		 expect;	/* enum iscsimux_expect; DEFAULT: by
					   opcode */
	uint32_t	 cmdsn;		/* of the next request */
	uint32_t	 expstatsn;
	struct raw_tasks tasks;
	unsigned	 waiting;	/* tasks that something answers */
	/* What came last, by opcode, and in which order. */
	uint8_t		 last[RAW_OPCODES][PDU_TEXT_BHS];
	uint64_t	 stamp[RAW_OPCODES];
	uint64_t	 received;
	unsigned	 unseen[RAW_OPCODES];	/* that no wait has taken */
};

/* --- cli_raw.c --- */

/* Send the PDU of these words.  CLI_OK, or told. */
enum cli_status raw_send(struct raw *r, const struct pdu_word *words,
    size_t n);

/*
 * Tell of an error at a word (NULL: of the line) and return CLI_USAGE.
 */
enum cli_status raw_bad(struct raw *r, const struct pdu_word *w,
    const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Tell of a failure of the line and return `status`. */
enum cli_status raw_fail(struct raw *r, enum cli_status status,
    const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* An answer by yes or no; a request about the connection and its end. */
struct raw_status {
	bool				 done;
	int				 error;
	struct iscsimux_raw_state	 state;
};

/* iscsimux_status_fn and iscsimux_state_fn with a raw_status as cookie. */
void raw_answered(struct iscsimux *h, void *cookie, int error);
void raw_state_answered(struct iscsimux *h, void *cookie, int error,
    const struct iscsimux_raw_state *state);

/*
 * `error` is what the request returned; wait for its end.  `what` names it in
 * messages.  CLI_OK, or told.
 */
enum cli_status raw_finish(struct raw *r, const char *what, int error,
    struct raw_status *s);

/* --- cli_script.c --- */

/* Run a whole script, or with r->dry look at it.  CLI_OK, or told. */
enum cli_status raw_run(struct raw *r);

/* Open the file; read all of it unless it is a stream.  CLI_OK, or told. */
enum cli_status raw_script_open(struct raw *r, const char *path);
void raw_script_close(struct raw *r);

/* --- cli_raw_commands.c --- */

/*
 * Run a line that is a command and no PDU.  False if it is none; else
 * `*status` is CLI_OK, or told.
 */
bool raw_command(struct raw *r, const struct pdu_word *words, size_t n,
    enum cli_status *status);

/* Wait until all tasks have ended. */
enum cli_status raw_wait_tasks(struct raw *r, int64_t until);

#endif
