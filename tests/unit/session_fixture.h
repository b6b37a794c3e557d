/* SPDX-License-Identifier: ISC */
/*
 * A session (daemon/session.h) between scripted clients and a scripted
 * target, all in one process and one loop: the target is the other end of a
 * loopback connection and sends and reads literal headers, the clients are
 * attachments whose news are kept.  Teardown demands that every charge and
 * all memory came back.
 *
 * One test is one process, so the state is static.
 */
#ifndef ISCSIMUX_TESTS_SESSION_FIXTURE_H
#define ISCSIMUX_TESTS_SESSION_FIXTURE_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "daemon/session_internal.h"
#include "proto/iscsi.h"
#include "proto/pdu.h"
#include "tests/unit/unit.h"

#define MAX_NEWS	300
#define MAX_CLIENTS	4
#define FIRST_STATSN	UINT32_C(0xfffffffe)	/* wraps soon */
#define LUN_1		UINT64_C(0x0001000000000000)
#define RSV		ISCSI_TAG_NONE

/* A PDU as the target received it. */
struct got {
	uint8_t		 bhs[ISCSI_BHS_LEN];
	uint8_t		 ahs[ISCSI_AHS_MAX];
	uint32_t	 ahs_len;
	uint32_t	 len;
	uint8_t		*data;
};

enum news_kind {
	NEWS_PDU,
	NEWS_OUTCOME,
	NEWS_EVENT,
	NEWS_ROOM,
	NEWS_REMOVED
};

/* How far the target has come with a task. */
struct progress {
	uint32_t	itt;
	uint32_t	datasn;		/* of its next Data-In */
	uint32_t	offset;		/* of that */
	uint32_t	r2tsn;		/* of its next R2T */
};

/* What a client was told. */
struct news {
	enum news_kind		 kind;
	uint64_t		 cookie;
	uint16_t		 flags;
	uint8_t			 bhs[ISCSI_BHS_LEN];
	uint32_t		 len;
	uint8_t			 data[256];	/* the first of `len` bytes */
	struct quota_amount	 charge;
	struct msg_outcome	 outcome;
	struct msg_event	 event;
};

struct sclient {
	struct attachment	*a;
	struct quota		*quota;
	struct news		 news[MAX_NEWS];
	unsigned		 nnews;
	unsigned		 nread;
};

struct session_fixture {
	struct config		 config;
	struct config_session	 sconf;
	struct worker		*worker;
	struct session		*s;
	struct sclient		 clients[MAX_CLIENTS];
	unsigned		 nclients;

	/* What the target will say at login; set before fx_up(). */
	const char		*keys;		/* others than the defaults */
	unsigned		 time2wait;	/* DefaultTime2Wait, s */
	uint32_t		 window;	/* commands it takes at a time */
	bool			 digests;
	bool			 small;		/* its receive buffer */

	int			 listener;
	int			 peer;
	struct pdu_parser	 parser;
	struct pdu_framing	 framing;	/* of both directions */
	struct got		 got;		/* the latest PDU read */
	uint8_t			 in[65536];
	size_t			 in_len, in_at;

	/* Numbers of the target. */
	uint32_t		 statsn;	/* of its next status */
	uint32_t		 expcmdsn;
	uint32_t		 maxcmdsn;
	bool			 hold_window;	/* leave the two as they are */
	bool			 want_acks;	/* wire() tells of these, too */
	struct progress		 progress[128];
	unsigned		 nprogress;

	bool			 hold;		/* for the next fx_attach() */

	/* For the next submit(). */
	uint32_t		 deadline;
	const uint8_t		*ahs;
	uint32_t		 ahs_len;
	struct refusal		 why;		/* of the last refusal */
};

extern struct session_fixture fx;

void fx_setup(void);
void fx_teardown(void);

/* The session is there and not started; the others below begin with this. */
void fx_new(void);
/* Connect; the first Login Request is on its way. */
void fx_connect(void);
/* Take the next connection; fx_connect() takes the first. */
void fx_accept(void);
/* Connect, log in; then it is up. */
void fx_up(void);
/* As far as fx_up() goes, again, after a loss. */
void fx_log_in(void);
/* Its part after the security stage. */
void fx_finish_login(void);

struct sclient *fx_attach(void);
/* fx_up(), with one client, or two unless `b` is NULL. */
void fx_up_with(struct sclient **a, struct sclient **b);
/* The client dies. */
void fx_die(struct sclient *c);

void turn(void);
#define UNTIL(cond) do {						\
	while (!(cond))							\
		ck_assert_int_eq(loop_turn(fx.worker->loop, 1), 0);	\
} while (0)

struct session_stats fx_stats(void);

/* --- clients */

/* Build a request; the fields that a kind lacks are zero. */
uint8_t *command(uint8_t flags, uint32_t itt, uint32_t edtl);
uint8_t *data_out(uint8_t flags, uint32_t itt, uint32_t ttt, uint32_t datasn,
    uint32_t offset);
uint8_t *nop_out(bool immediate, uint32_t itt);
uint8_t *text_request(uint32_t itt, uint32_t ttt);
uint8_t *tmf(uint8_t function, uint32_t itt, uint32_t rtt);

#define READ_F	(ISCSI_FLAG_FINAL | ISCSI_CMD_READ)
#define WRITE_F	(ISCSI_FLAG_FINAL | ISCSI_CMD_WRITE)

/* Submit with `len` bytes of data, a pattern of the ITT and the offset. */
enum submit_verdict submit(struct sclient *c, uint8_t *bhs, uint32_t len,
    uint64_t cookie);
enum submit_verdict submit_bytes(struct sclient *c, uint8_t *bhs,
    const void *data, uint32_t len, uint64_t cookie);
/* The same, and it must be accepted. */
void accepted(struct sclient *c, uint8_t *bhs, uint32_t len, uint64_t cookie);
/* Pattern byte at `offset` of a submission of this ITT. */
uint8_t pattern(uint32_t itt, uint32_t offset);

/* The client's next news, waiting for it; of this kind and cookie. */
const struct news *news(struct sclient *c, enum news_kind kind,
    uint64_t cookie);
/* Its next news is an outcome of this code and reason. */
const struct news *outcome(struct sclient *c, uint64_t cookie,
    unsigned code, unsigned reason);
/* It was told nothing more. */
void no_news(struct sclient *c);

/* --- the target */

/*
 * Wait for the next PDU, which must have this opcode.  A request must have
 * the CmdSN that is due, or, immediate, the next one; the window moves on
 * with it unless fx.hold_window.
 */
const struct got *wire(uint8_t opcode);
/* The same of whatever opcode, which it returns. */
uint8_t wire_any(void);
/* Nothing more was sent, and nothing is waiting that could be. */
void wire_quiet(void);

/* Build a PDU that bears the target's numbers. */
uint8_t *from_target(uint8_t opcode, uint8_t flags, uint32_t itt);
/* Send it with data, wait until the session has taken it. */
void say(const uint8_t *bhs, const void *data, uint32_t len);
/* The same with a PDU that consumes a StatSN. */
void say_status(const uint8_t *bhs, const void *data, uint32_t len);

/* A SCSI Response with status GOOD. */
void say_good(uint32_t itt);
/* An R2T, or a Data-In of `len` bytes, with the number that is due. */
void say_r2t(uint32_t itt, uint32_t ttt, uint32_t offset, uint32_t len);
void say_data(uint32_t itt, uint8_t flags, uint8_t byte, uint32_t len);
/* What those count with; to be changed for a wrong one. */
struct progress *progress_of(uint32_t itt);
void say_tmf(uint32_t itt, uint8_t response);
void say_nop_in(uint32_t itt, uint32_t ttt);
/* A Reject of the PDU with this header. */
void say_reject(uint8_t reason, const uint8_t *rejected);

/* The target closes the connection. */
void hang_up(void);

/* A command of a client, without data, on the wire; its tag there. */
uint32_t open_command(struct sclient *c, uint32_t client_itt);

/*
 * The next PDU must be a Logout Request as it should be: immediate, reason 0,
 * acknowledging all statuses.  The target answers it with this response.
 */
void take_logout(uint8_t response);

/* Wait until the session is lost for a reason that contains `words`. */
void lost(const char *words);
/* What was just said must have been the end of it. */
#define LOST(words) do {						\
	ck_assert_int_ne(fx.s->phase, SESSION_UP);			\
	lost(words);							\
} while (0)

/*
 * Fill the way to the target: a write of client `c` with this ITT, of which
 * the kernel takes only a part.  What is submitted until the next turn is
 * stamped behind it.
 */
void stall(struct sclient *c, uint32_t itt);
/* Read a little of it, so that the session tries again and stays stuck. */
void nibble(void);
/* Read the rest of the write that stall() began. */
void unstall(uint32_t itt);

#endif
