/* SPDX-License-Identifier: ISC */
/*
 * A scripted target for the tests of daemon/login.h.  Text is written as
 * lines, "Key=Value\n": each newline stands for the NUL of the wire.  One
 * login at a time, in static variables, as one test is one process.
 */
#ifndef ISCSIMUX_TESTS_LOGIN_SCRIPT_H
#define ISCSIMUX_TESTS_LOGIN_SCRIPT_H

#include "daemon/login.h"
#include "proto/iscsi.h"

/* Byte 1 of Login PDUs. */
#define T	ISCSI_LOGIN_TRANSIT
#define C	ISCSI_TEXT_CONTINUE
#define SEC	0x00	/* CSG security */
#define OPER	0x04	/* CSG operational */
#define SEC_END	(T | SEC | 1)
#define OP_END	(T | OPER | 3)

#define CMDSN	UINT32_C(0xfffffffe)
#define CID	0x1122
#define TSIH	0x4711

#define SEC_GOOD "TargetPortalGroupTag=1\nAuthMethod=None\n"

extern struct login_wanted wanted;	/* for the next begin() */
extern struct login *login;
extern uint8_t req[ISCSI_BHS_LEN];	/* of the last ask() */
extern size_t req_len;
extern uint8_t rsp[ISCSI_BHS_LEN];	/* for the next deliver() */
extern uint32_t statsn;			/* of the next response */
extern char said[131072];	/* all text of the initiator, as lines */

/* The fixture. */
void setup(void);
void teardown(void);

/* Start over with what `wanted` says now. */
void begin(void);

/* Fetch the next request; check what all of them have in common. */
void ask(void);

/* Build the BHS of a successful response in `rsp`. */
void make_rsp(uint8_t flags);

/* Deliver `rsp` with `len` bytes of lines. */
enum login_verdict deliver_len(const char *lines, size_t len);
enum login_verdict deliver(const char *lines);

/* make_rsp() and deliver(). */
enum login_verdict answer(uint8_t flags, const char *lines);

/*
 * The answers of a target with every default to what setup() wants, with
 * `line` instead of the one of the same key, or added at the end if there is
 * none.  "Key" without '=' leaves the key out, NULL changes nothing.
 */
const char *good_but(const char *line);

/* Begin, and be through with the security stage. */
void begin_operational(void);

/* A whole login whose operational answers differ by one line. */
enum login_verdict run_but(const char *line);

/* The result in words, for tables. */
const char *described(void);

/* `part` must be in `text`; `row` names the case. */
void assert_has(const char *text, const char *part, const char *row);

/* The login has failed on this side, in these words. */
void assert_failed(enum login_verdict verdict, const char *words,
    const char *row);

/* How often a line of the initiator's text begins with `start`. */
unsigned said_lines(const char *start);
#endif
