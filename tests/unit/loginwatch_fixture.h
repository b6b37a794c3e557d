/* SPDX-License-Identifier: ISC */
/*
 * For the tests of daemon/loginwatch.h: PDUs of both sides of a watched login.
 * Text is written as lines, "Key=Value\n": each newline stands for the NUL of
 * the wire.  One login at a time, in static variables, as one test is one
 * process.
 */
#ifndef ISCSIMUX_TESTS_LOGINWATCH_FIXTURE_H
#define ISCSIMUX_TESTS_LOGINWATCH_FIXTURE_H

#include <check.h>
#include <stdio.h>
#include <string.h>

#include "daemon/loginwatch.h"

/* Byte 1 of Login PDUs. */
#define T	ISCSI_LOGIN_TRANSIT
#define C	ISCSI_TEXT_CONTINUE
#define SEC_END	(T | 1)
#define OPER	0x04
#define OP_END	(T | OPER | 3)

#define HOST	"iqn.2004-10.com.example:host1"
#define DISK	"iqn.2004-10.com.example:disk1"
#define NAMES	"InitiatorName=" HOST "\nTargetName=" DISK "\n"

static const uint8_t isid[6] = { 0x80, 1, 2, 3, 4, 5 };
static const uint8_t other_isid[6] = { 0x80, 1, 2, 3, 4, 6 };
static const struct loginwatch_nexus ours = { HOST, DISK, isid };

static struct loginwatch *lw;
static uint8_t bhs[ISCSI_BHS_LEN];
static uint8_t wire[70000];

static inline void
setup(void)
{
	lw = loginwatch_new();
	ck_assert_ptr_nonnull(lw);
}

static inline void
teardown(void)
{
	loginwatch_free(lw);
	lw = NULL;
}

static inline void
again(void)
{
	teardown();
	setup();
}

/* Lines as they are on the wire. */
static inline const uint8_t *
to_wire(const char *lines, size_t len)
{
	ck_assert_uint_le(len, sizeof(wire));
	for (size_t i = 0; i < len; i++)
		wire[i] = lines[i] == '\n' ? 0 : (uint8_t)lines[i];
	return wire;
}

static inline void
make_bhs(uint8_t opcode, uint8_t flags)
{
	memset(bhs, 0, sizeof(bhs));
	bhs[ISCSI_OFF_OPCODE] = opcode;
	bhs[ISCSI_OFF_FLAGS] = flags;
	memcpy(bhs + ISCSI_OFF_ISID, isid, sizeof(isid));
}

static inline void
say_len(uint8_t flags, const char *lines, size_t len)
{
	make_bhs(ISCSI_OP_LOGIN_REQ | ISCSI_IMMEDIATE, flags);
	put_be16(bhs + ISCSI_OFF_CID, 0x1122);
	put_be32(bhs + ISCSI_OFF_CMDSN, 0xfffffffe);
	loginwatch_request(lw, bhs, to_wire(lines, len), len);
}

static inline void
say(uint8_t flags, const char *lines)
{
	say_len(flags, lines, strlen(lines));
}

static inline enum loginwatch_verdict
hear_len(uint8_t flags, const char *lines, size_t len)
{
	make_bhs(ISCSI_OP_LOGIN_RSP, flags);
	put_be16(bhs + ISCSI_OFF_TSIH, 0x4711);
	put_be32(bhs + ISCSI_OFF_STATSN, 0x01020304);
	put_be32(bhs + ISCSI_OFF_EXPCMDSN, 0x11121314);
	put_be32(bhs + ISCSI_OFF_MAXCMDSN, 0x21222324);
	return loginwatch_response(lw, bhs, to_wire(lines, len), len);
}

static inline enum loginwatch_verdict
hear(uint8_t flags, const char *lines)
{
	return hear_len(flags, lines, strlen(lines));
}

/* Would a request with this text, the next one, name `nexus`? */
static inline bool
names_len(const struct loginwatch_nexus *nexus, uint8_t flags,
    const char *lines, size_t len)
{
	make_bhs(ISCSI_OP_LOGIN_REQ | ISCSI_IMMEDIATE, flags);
	return loginwatch_names(lw, bhs, to_wire(lines, len), len, nexus);
}

static inline bool
names(uint8_t flags, const char *lines)
{
	return names_len(&ours, flags, lines, strlen(lines));
}

/* A line of `len` bytes, its newline included. */
static inline const char *
long_line(size_t len)
{
	static char line[LOGINWATCH_TEXT_MAX + 2];

	ck_assert_uint_lt(len, sizeof(line));
	memset(line, 'x', len);
	memcpy(line, "X-a=", 4);
	line[len - 1] = '\n';
	line[len] = '\0';
	return line;
}

static inline TCase *
add_case(Suite *suite, const char *name)
{
	TCase *tcase = tcase_create(name);

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_set_timeout(tcase, 60);
	suite_add_tcase(suite, tcase);
	return tcase;
}

#define COUNT(array)	((int)(sizeof(array) / sizeof((array)[0])))

#endif /* ISCSIMUX_TESTS_LOGINWATCH_FIXTURE_H */
