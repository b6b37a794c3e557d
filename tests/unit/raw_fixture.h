/* SPDX-License-Identifier: ISC */
/*
 * A raw connection (daemon/raw.h) between a scripted client and a scripted
 * target, all in one process and one loop: the target is the other end of a
 * loopback connection, the client keeps its news and reads PDUs when it is
 * told to.  Teardown demands that every charge and all memory came back.
 *
 * One test is one process, so the state is static.
 */
#ifndef ISCSIMUX_TESTS_RAW_FIXTURE_H
#define ISCSIMUX_TESTS_RAW_FIXTURE_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "daemon/conn.h"
#include "daemon/raw_internal.h"
#include "daemon/session_internal.h"
#include "proto/frame.h"
#include "proto/iscsi.h"
#include "proto/pdu.h"
#include "tests/unit/unit.h"

#define MAX_NEWS	300
#define RSV		ISCSI_TAG_NONE
#define STATSN		UINT32_C(0xfffffffe)	/* wraps soon */
#define CMDSN		UINT32_C(0xffffffff)

/* A PDU as the target received it. */
struct got {
	uint8_t		 bhs[ISCSI_BHS_LEN];
	uint32_t	 len;
	uint8_t		*data;
};

enum news_kind {
	NEWS_PDU,
	NEWS_OUTCOME,
	NEWS_ROOM,
	NEWS_OPEN,
	NEWS_CLOSED,
	NEWS_SHARED
};

/* What the client was told. */
struct news {
	enum news_kind		 kind;
	uint64_t		 cookie;
	uint16_t		 flags;
	uint8_t			 bhs[ISCSI_BHS_LEN];
	uint32_t		 len;
	struct quota_amount	 charge;	/* until the client reads */
	struct session_ticket	 ticket;
	struct msg_digests	 digests;
	struct msg_outcome	 outcome;
	struct msg_event	 closed;
	struct refusal		 why;		/* on_open, on_shared */
};

struct raw_fixture {
	struct config		 config;
	struct worker		*worker;
	struct quota		*quota;
	struct raw		*raw;
	struct attachment	*a;		/* after on_shared() */
	uint32_t		 not_granted;	/* to the owner, by a rule */
	int			 listener;
	int			 peer;

	/* Set before fx_adopt() or fx_open(). */
	struct quota_amount	 max;
	struct msg_raw_params	 params;
	uint32_t		 events;
	bool			 small;		/* socket buffers */
	bool			 denied;
	bool			 may_uncheck;
	unsigned		 nasked;	/* whether it is permitted */

	struct news		 news[MAX_NEWS];
	unsigned		 nnews;
	unsigned		 nnext;		/* looked at by the test */
	unsigned		 nread;		/* read by the client */

	struct pdu_parser	 parser;	/* of the target */
	struct pdu_framing	 framing;	/* what the target sends */
	struct got		 got;		/* the latest PDU read */
	uint8_t			 in[65536];
	size_t			 in_len, in_at;
	uint32_t		 statsn;
	uint32_t		 expcmdsn;

	struct msg_submit_options options;	/* for the next submit() */
	uint32_t		 itt;		/* that the daemon chose */
	struct refusal		 why;
};

extern struct raw_fixture fx;

void fx_setup(void);
void fx_teardown(void);

/* Adopt one end of a TCP connection, as fx.params say. */
void fx_adopt(void);
/* Try to adopt `fd`; fx.why says why not. */
struct raw *fx_adopt_fd(int fd, struct slices *unread);
/* Take it back from the session of fx.a; fx.why says why not. */
struct raw *fx_unshare(void);
/* Open one, with fx.raw; news of it follow. */
void fx_open(void);
/* The target takes the connection. */
void fx_accept(void);

void turns(unsigned n);
#define UNTIL(cond) do {						\
	while (!(cond))							\
		ck_assert_int_eq(loop_turn(fx.worker->loop, 1), 0);	\
} while (0)

/* --- the client */

/* Build a PDU of the initiator. */
uint8_t *request(uint8_t opcode, uint8_t flags, uint32_t itt);
/* Submit with `len` bytes of data at `data` (NULL: zeroes). */
enum submit_verdict submit(uint8_t *bhs, const void *data, uint32_t len,
    uint64_t cookie);
/* The same, it must be accepted. */
void accepted(uint8_t *bhs, uint32_t len, uint64_t cookie);
/* The same, with this expectation, and the target gets it. */
void begun(uint8_t *bhs, uint8_t expect, uint64_t cookie);
/* It must not be accepted, for this reason. */
void refused(enum submit_verdict verdict, uint8_t *bhs, uint32_t len,
    unsigned reason);

/* The client's next news, waiting for it. */
const struct news *news(enum news_kind kind, uint64_t cookie);
const struct news *pdu_news(uint8_t opcode, uint16_t flags, uint64_t cookie);
const struct news *outcome(uint64_t cookie, unsigned code, unsigned reason);
const struct news *closed(int error);
void no_news(void);
/* The client reads the oldest `n` of what it was told, or all. */
void client_reads(unsigned n);
void client_reads_all(void);

struct msg_state state(void);
/* STATE tells these numbers of tasks. */
void counts(uint32_t pending, uint32_t live);
/* Nothing is charged to the client. */
void nothing_charged(void);

/* --- the target */

/* Wait for the next PDU, which must have this opcode. */
const struct got *wire(uint8_t opcode);
/* Nothing more came. */
void wire_quiet(void);
/* Build a PDU that bears the target's numbers. */
uint8_t *from_target(uint8_t opcode, uint8_t flags, uint32_t itt);
/* Put it on the wire. */
void say(const uint8_t *bhs, const void *data, uint32_t len);
void say_bytes(const void *bytes, size_t len);
/* The bytes of a PDU in `buf`; returns how many. */
size_t lay_out(uint8_t *buf, size_t size, const uint8_t *bhs,
    const void *data, uint32_t len, const struct pdu_framing *framing);
/* A Reject of the PDU with this header. */
void say_reject(const uint8_t *rejected);

/* A Login Request or Response with this text; newlines stand for NULs. */
void submit_login(uint8_t flags, uint32_t itt, const char *lines,
    uint64_t cookie);
void say_login(uint8_t flags, uint32_t itt, const char *lines);

#endif
