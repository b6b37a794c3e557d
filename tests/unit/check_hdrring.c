/* SPDX-License-Identifier: ISC */
/*
 * The latest PDU headers of a session (daemon/hdrring.h): what is held, what
 * a line of it says, and when the log gets them.
 */
#include "config.h"

#include <sys/socket.h>

#include "daemon/hdrring.h"
#include "tests/unit/session_fixture.h"

static const uint8_t *
header(uint32_t number)
{
	static uint8_t bhs[ISCSI_BHS_LEN];

	bhs[0] = ISCSI_OP_SCSI_CMD;
	put_be32(bhs + ISCSI_OFF_ITT, number);
	return bhs;
}

START_TEST(holds_the_latest)
{
	struct hdrring *ring = hdrring_new();
	const struct hdrring_entry *e;
	uint64_t before = 0;

	ck_assert_uint_eq(hdrring_count(ring), 0);
	ck_assert_ptr_null(hdrring_at(ring, 0));
	for (uint32_t n = 0; n < HDRRING_LEN + 3; n++) {
		hdrring_add(ring, n % 2 == 0, header(n));
		ck_assert_uint_eq(hdrring_count(ring),
		    n < HDRRING_LEN ? n + 1 : HDRRING_LEN);
	}
	for (uint32_t i = 0; i < HDRRING_LEN; i++) {
		e = hdrring_at(ring, i);
		ck_assert_uint_eq(iscsi_itt(e->bhs), i + 3);
		ck_assert_int_eq(e->sent, (i + 3) % 2 == 0);
		ck_assert_uint_ge(e->time_us, before);
		before = e->time_us;
	}
	ck_assert_ptr_null(hdrring_at(ring, HDRRING_LEN));
	hdrring_free(ring);
}
END_TEST

START_TEST(new_since_the_last_time)
{
	struct hdrring *ring = hdrring_new();

	ck_assert_uint_eq(hdrring_take_new(ring), 0);
	hdrring_add(ring, true, header(1));
	hdrring_add(ring, true, header(2));
	ck_assert_uint_eq(hdrring_take_new(ring), 2);
	ck_assert_uint_eq(hdrring_take_new(ring), 0);
	for (uint32_t n = 0; n < 2 * HDRRING_LEN; n++)
		hdrring_add(ring, true, header(n));
	ck_assert_uint_eq(hdrring_take_new(ring), HDRRING_LEN);
	hdrring_free(ring);
}
END_TEST

static const struct {
	uint8_t		 op, flags;
	bool		 sent;
	const char	*line;
} lines[] = {
	{ ISCSI_OP_SCSI_CMD, 0, true, "13:46:40.000007 sent SCSI Command "
	    "ITT 0x00000010 CmdSN 99 length 4096" },
	{ ISCSI_OP_DATA_OUT, 0, true, "13:46:40.000007 sent SCSI Data-Out "
	    "ITT 0x00000010 length 4096" },
	{ ISCSI_OP_SCSI_RSP, 0, false, "13:46:40.000007 received SCSI "
	    "Response ITT 0x00000010 StatSN 99 length 4096" },
	{ ISCSI_OP_DATA_IN, 0, false, "13:46:40.000007 received SCSI Data-In "
	    "ITT 0x00000010 length 4096" },
	{ ISCSI_OP_DATA_IN, 1, false, "13:46:40.000007 received SCSI Data-In "
	    "ITT 0x00000010 StatSN 99 length 4096" },
};

START_TEST(line_of_words)
{
	/* 2001-09-09 13:46:40 UTC, half a day after the second 10^9. */
	struct hdrring_entry e = { .time_us = UINT64_C(1000043200000007) };
	char buf[HDRRING_WORDS_MAX];

	e.sent = lines[_i].sent;
	e.bhs[0] = lines[_i].op;
	e.bhs[1] = lines[_i].flags;
	put_be32(e.bhs + ISCSI_OFF_ITT, 0x10);
	put_be32(e.bhs + ISCSI_OFF_CMDSN, 99);
	iscsi_set_dsl(e.bhs, 4096);
	hdrring_words(&e, buf, sizeof(buf));
	ck_assert_str_eq(buf, lines[_i].line);
	hdrring_words(&e, buf, 20);
	ck_assert_uint_eq(strlen(buf), 19);
}
END_TEST

/* --- of a session --- */

static unsigned nheads, nlines;
static char last_line[512];

static void
on_log(void *arg, enum log_level level, const char *text)
{
	(void)arg;
	(void)level;
	if (strstr(text, "the PDUs before that") != NULL)
		nheads++;
	if (strstr(text, " ITT 0x") == NULL)
		return;
	nlines++;
	strlcpy(last_line, text, sizeof(last_line));
}

static size_t
held(void)
{
	return hdrring_count(session_headers(fx.s));
}

static const struct hdrring_entry *
latest(void)
{
	return hdrring_at(session_headers(fx.s), held() - 1);
}

static void
up_with_log(void)
{
	nheads = nlines = 0;
	fx_up();
	fx.s->log = log_new(-1, LOG_LEVEL_WARNING);
	log_set_hook(fx.s->log, on_log, NULL);
}

static void
log_done(void)
{
	log_free(fx.s->log);
	fx.s->log = NULL;
}

/* As they are on the wire, with the numbers and tags of the wire. */
START_TEST(both_directions)
{
	struct sclient *c;
	size_t n;

	fx_up();
	/* Two Login Requests and their answers. */
	ck_assert_uint_eq(held(), 4);
	c = fx_attach();
	accepted(c, command(READ_F, 0x1234, 0), 0, 1);
	wire(ISCSI_OP_SCSI_CMD);
	ck_assert_uint_eq(held(), 5);
	ck_assert(latest()->sent);
	ck_assert_mem_eq(latest()->bhs, fx.got.bhs, ISCSI_BHS_LEN);
	n = held();
	say_good(iscsi_itt(fx.got.bhs));
	ck_assert_uint_eq(held(), n + 1);
	ck_assert(!latest()->sent);
	ck_assert_uint_eq(iscsi_itt(latest()->bhs), iscsi_itt(fx.got.bhs));
}
END_TEST

START_TEST(logged_when_the_target_is_wrong)
{
	up_with_log();
	switch (_i) {
	case 0:
		say_good(0x00100000);	/* a tag of nobody */
		break;
	case 1:
		fx.statsn++;		/* a lost status */
		say_status(from_target(ISCSI_OP_ASYNC, ISCSI_FLAG_FINAL, RSV),
		    NULL, 0);
		break;
	case 2:
		fx.statsn++;
		say_good(0x00100000);
		break;
	default:			/* no PDU of a target */
		say(from_target(ISCSI_OP_SCSI_CMD, ISCSI_FLAG_FINAL, 0), NULL,
		    0);
		break;
	}
	UNTIL(fx.s->phase == SESSION_WAITING ||
	    fx.s->phase == SESSION_CONNECTING);
	ck_assert_uint_eq(nlines, _i < 3 ? 5 : 4);
	ck_assert_uint_eq(nheads, 1);
	ck_assert_ptr_nonnull(strstr(last_line, "received"));
	log_done();
}
END_TEST

/* A connection that is lost, or ended by the rules, tells nothing. */
START_TEST(not_logged_otherwise)
{
	uint8_t *bhs;

	up_with_log();
	if (_i == 0) {
		shutdown(fx.peer, SHUT_RDWR);
	} else {
		bhs = from_target(ISCSI_OP_ASYNC, ISCSI_FLAG_FINAL, RSV);
		bhs[ISCSI_OFF_ASYNC_EVENT] = 3;
		say_status(bhs, NULL, 0);
	}
	UNTIL(fx.s->phase == SESSION_WAITING ||
	    fx.s->phase == SESSION_CONNECTING);
	ck_assert_uint_eq(nlines, 0);
	log_done();
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("header ring");
	TCase *tc = tcase_create("ring");

	tcase_add_test(tc, holds_the_latest);
	tcase_add_test(tc, new_since_the_last_time);
	tcase_add_loop_test(tc, line_of_words, 0,
	    (int)(sizeof(lines) / sizeof(lines[0])));
	suite_add_tcase(s, tc);
	tc = tcase_create("session");
	tcase_add_checked_fixture(tc, fx_setup, fx_teardown);
	tcase_add_test(tc, both_directions);
	tcase_add_loop_test(tc, logged_when_the_target_is_wrong, 0, 4);
	tcase_add_loop_test(tc, not_logged_otherwise, 0, 2);
	suite_add_tcase(s, tc);
	return unit_run(s);
}
