/* SPDX-License-Identifier: ISC */
/*
 * The numbers in what a session writes, as the target sees them, the fields
 * that stay as the client gave them, and the command window (RFC 7143
 * sections 4.2.2.1 and 4.2.2.2).
 */
#include "config.h"

#include <stdlib.h>

#include "tests/unit/session_fixture.h"

/* --- ExpStatSN: which PDU of a target consumes a StatSN */

/* One open task of each kind that a row may need. */
enum { ITT_CMD = 1, ITT_NOP, ITT_TMF, ITT_TEXT, ITT_VICTIM };

static uint8_t rejected[ISCSI_BHS_LEN];

static uint32_t
open_for(uint8_t opcode, struct sclient *c)
{
	switch (opcode) {
	case ISCSI_OP_NOP_IN:
		accepted(c, nop_out(false, ITT_NOP), 0, 1);
		return iscsi_itt(wire(ISCSI_OP_NOP_OUT)->bhs);
	case ISCSI_OP_TMF_RSP:
		accepted(c, tmf(ISCSI_TMF_ABORT_TASK_SET, ITT_TMF, RSV), 0, 1);
		return iscsi_itt(wire(ISCSI_OP_TMF_REQ)->bhs);
	case ISCSI_OP_TEXT_RSP:
		accepted(c, text_request(ITT_TEXT, RSV), 0, 1);
		return iscsi_itt(wire(ISCSI_OP_TEXT_REQ)->bhs);
	case ISCSI_OP_R2T:
		accepted(c, command(WRITE_F, ITT_CMD, 512), 0, 1);
		return iscsi_itt(wire(ISCSI_OP_SCSI_CMD)->bhs);
	case ISCSI_OP_ASYNC:
		return RSV;
	default:
		accepted(c, command(READ_F, ITT_CMD, 512), 0, 1);
		memcpy(rejected, wire(ISCSI_OP_SCSI_CMD)->bhs, ISCSI_BHS_LEN);
		return opcode == ISCSI_OP_REJECT ? RSV : iscsi_itt(rejected);
	}
}

static const struct {
	const char	*name;
	uint8_t		 opcode;
	uint8_t		 flags;
	uint32_t	 ttt;
	bool		 reserved_itt;
	uint32_t	 consumes;
} rows[] = {
	{ "SCSI Response", ISCSI_OP_SCSI_RSP, 0x80, 0, false, 1 },
	{ "Data-In, S=0", ISCSI_OP_DATA_IN, 0x80, RSV, false, 0 },
	{ "Data-In, S=1", ISCSI_OP_DATA_IN, 0x81, RSV, false, 1 },
	{ "R2T", ISCSI_OP_R2T, 0x80, 5, false, 0 },
	{ "NOP-In, reply", ISCSI_OP_NOP_IN, 0x80, RSV, false, 1 },
	{ "NOP-In, ping", ISCSI_OP_NOP_IN, 0x80, 5, true, 0 },
	{ "NOP-In, information", ISCSI_OP_NOP_IN, 0x80, RSV, true, 0 },
	{ "TMF Response", ISCSI_OP_TMF_RSP, 0x80, 0, false, 1 },
	{ "Text Response, F=1", ISCSI_OP_TEXT_RSP, 0x80, RSV, false, 1 },
	{ "Text Response, F=0", ISCSI_OP_TEXT_RSP, 0x00, 5, false, 1 },
	{ "Async Message", ISCSI_OP_ASYNC, 0x80, 0, true, 1 },
	{ "Reject", ISCSI_OP_REJECT, 0x80, 0, true, 1 },
};

START_TEST(expstatsn_of_the_next_pdu)
{
	struct sclient *c;
	uint32_t itt, now;
	uint8_t *bhs;
	bool reject = rows[_i].opcode == ISCSI_OP_REJECT;
	bool r2t = rows[_i].opcode == ISCSI_OP_R2T;

	fx_up();
	c = fx_attach();
	itt = open_for(rows[_i].opcode, c);
	now = fx.statsn;
	bhs = from_target(rows[_i].opcode, rows[_i].flags,
	    rows[_i].reserved_itt ? RSV : itt);
	put_be32(bhs + ISCSI_OFF_TTT, rows[_i].ttt);
	if (rows[_i].opcode == ISCSI_OP_DATA_IN && rows[_i].consumes == 0)
		put_be32(bhs + ISCSI_OFF_STATSN, 0xdeadbeef);
	if (rows[_i].opcode == ISCSI_OP_ASYNC)
		bhs[ISCSI_OFF_ASYNC_EVENT] = 255;
	if (r2t) {
		put_be64(bhs + ISCSI_OFF_LUN, LUN_1);
		put_be32(bhs + ISCSI_OFF_DESIRED_LEN, 512);
	}
	say(bhs, reject ? rejected : NULL, reject ? ISCSI_BHS_LEN : 0);
	fx.statsn = now + rows[_i].consumes;
	if (rows[_i].reserved_itt && rows[_i].ttt == 5)
		wire(ISCSI_OP_NOP_OUT);
	else if (reject)
		wire(ISCSI_OP_NOP_OUT);	/* the probe of gap.c */
	else {
		accepted(c, nop_out(true, 99), 0, 99);
		wire(ISCSI_OP_NOP_OUT);
	}
	ck_assert_msg(get_be32(fx.got.bhs + ISCSI_OFF_EXPSTATSN) ==
	    now + rows[_i].consumes, "after %s", rows[_i].name);
}
END_TEST

START_TEST(expstatsn_is_that_of_the_write)
{
	struct sclient *c;
	uint32_t first, itt;

	fx.window = 1;
	fx_up();
	c = fx_attach();
	fx.hold_window = true;
	accepted(c, command(READ_F, 1, 0), 0, 1);
	accepted(c, command(READ_F, 2, 0), 0, 2);
	wire(ISCSI_OP_SCSI_CMD);
	itt = iscsi_itt(fx.got.bhs);
	first = get_be32(fx.got.bhs + ISCSI_OFF_EXPSTATSN);
	ck_assert_uint_eq(first, FIRST_STATSN + 2);
	wire_quiet();
	/* The second was submitted before this status, and leaves after it. */
	fx.expcmdsn = fx.maxcmdsn = 2;
	say_good(itt);
	wire(ISCSI_OP_SCSI_CMD);
	ck_assert_uint_eq(get_be32(fx.got.bhs + ISCSI_OFF_EXPSTATSN),
	    first + 1);
}
END_TEST

/* The StatSN is one off, either way: a PDU was lost. */
START_TEST(statsn_gap_drops_the_connection)
{
	struct sclient *c;

	fx_up();
	c = fx_attach();
	accepted(c, command(READ_F, 1, 0), 0, 1);
	wire(ISCSI_OP_SCSI_CMD);
	fx.statsn += _i == 0 ? 1u : UINT32_MAX;
	say_good(iscsi_itt(fx.got.bhs));
	LOST("a PDU was lost");
	news(c, NEWS_EVENT, 0);
	outcome(c, 1, MSG_OUTCOME_UNKNOWN, MSG_R_CONNECTION_LOST);
}
END_TEST

/* --- what is rewritten and what is not */

static const uint8_t ahs[] = {
	0x00, 0x05, 0x01, 0x00, 0xaa, 0xbb, 0xcc, 0xdd
};

/* The request as the client gave it, but for the fields that are ours. */
static void
expect_untouched(const uint8_t *mine, const uint8_t *seen)
{
	unsigned i;

	for (i = 0; i < ISCSI_BHS_LEN; i++) {
		if (i >= ISCSI_OFF_ITT && i < ISCSI_OFF_ITT + 4)
			continue;
		if (i >= ISCSI_OFF_CMDSN && i < ISCSI_OFF_EXPSTATSN + 4)
			continue;
		ck_assert_msg(seen[i] == mine[i], "byte %u is %02x, not %02x",
		    i, seen[i], mine[i]);
	}
}

START_TEST(command_is_not_touched)
{
	uint8_t mine[ISCSI_BHS_LEN];
	struct sclient *c;
	unsigned i;

	fx.digests = _i == 1;
	fx_up();
	c = fx_attach();
	memcpy(mine, command(WRITE_F | 3, 0x12345678, 4099), sizeof(mine));
	for (i = 0; i < 16; i++)
		mine[ISCSI_OFF_CDB + i] = (uint8_t)(0xa0 + i);
	put_be64(mine + ISCSI_OFF_LUN, UINT64_C(0x4123456789abcdef));
	fx.ahs = ahs;
	fx.ahs_len = sizeof(ahs);
	accepted(c, mine, 4099, 1);
	wire(ISCSI_OP_SCSI_CMD);
	mine[ISCSI_OFF_AHS] = sizeof(ahs) / 4;
	iscsi_set_dsl(mine, 4099);
	expect_untouched(mine, fx.got.bhs);
	ck_assert_uint_ne(iscsi_itt(fx.got.bhs), 0x12345678);
	ck_assert_uint_eq(fx.got.ahs_len, sizeof(ahs));
	ck_assert_mem_eq(fx.got.ahs, ahs, sizeof(ahs));
	ck_assert_uint_eq(fx.got.len, 4099);
	for (i = 0; i < 4099; i++)
		ck_assert_uint_eq(fx.got.data[i], pattern(0x12345678, i));
}
END_TEST

/* Only the Command Priority is not reserved, and at level 2. */
START_TEST(reserved_bytes_are_cleared)
{
	uint8_t *bhs;
	struct sclient *c;

	fx_up();
	fx.s->protocol_level = (uint32_t)_i;
	c = fx_attach();
	bhs = command(READ_F, 1, 0);
	bhs[0] |= 0x80;
	bhs[2] = 0x77;
	bhs[3] = 0x66;
	accepted(c, bhs, 0, 1);
	wire(ISCSI_OP_SCSI_CMD);
	ck_assert_uint_eq(fx.got.bhs[0], ISCSI_OP_SCSI_CMD);
	ck_assert_uint_eq(fx.got.bhs[2], _i < 2 ? 0 : 0x77);
	ck_assert_uint_eq(fx.got.bhs[3], 0);
	bhs = nop_out(true, 2);
	bhs[2] = 0x77;
	accepted(c, bhs, 0, 2);
	ck_assert_uint_eq(wire(ISCSI_OP_NOP_OUT)->bhs[2], 0);
}
END_TEST

START_TEST(response_is_not_touched)
{
	uint8_t sense[2 + 18] = { 0, 18, 0x70, 0, 0x05 }, mine[ISCSI_BHS_LEN];
	const struct news *n;
	struct sclient *c;
	uint8_t *bhs;

	fx_up();
	c = fx_attach();
	accepted(c, command(READ_F, 0xfffffffe, 512), 0, 77);
	wire(ISCSI_OP_SCSI_CMD);
	bhs = from_target(ISCSI_OP_SCSI_RSP, ISCSI_FLAG_FINAL |
	    ISCSI_RSP_UNDERFLOW, iscsi_itt(fx.got.bhs));
	bhs[ISCSI_OFF_RESPONSE] = 1;	/* target failure */
	bhs[ISCSI_OFF_STATUS] = 2;
	put_be64(bhs + 8, UINT64_C(0x1122334455667788));
	put_be32(bhs + ISCSI_OFF_EXPDATASN, 3);
	put_be32(bhs + ISCSI_OFF_RESIDUAL, 512);
	memcpy(mine, bhs, sizeof(mine));
	say_status(bhs, sense, sizeof(sense));
	n = news(c, NEWS_PDU, 77);
	put_be32(mine + ISCSI_OFF_ITT, 0xfffffffe);
	iscsi_set_dsl(mine, sizeof(sense));
	ck_assert_mem_eq(n->bhs, mine, ISCSI_BHS_LEN);
	ck_assert_mem_eq(n->data, sense, sizeof(sense));
	ck_assert_uint_eq(n->charge.tasks, 1);
}
END_TEST

/* --- CmdSN */

START_TEST(cancelled_while_queued_leaves_no_hole)
{
	struct sclient *c;

	fx.window = 1;
	fx_up();
	c = fx_attach();
	fx.hold_window = true;
	for (uint32_t i = 1; i <= 4; i++)
		accepted(c, command(READ_F, i, 0), 0, i);
	wire(ISCSI_OP_SCSI_CMD);
	wire_quiet();
	ck_assert(session_cancel(c->a, MSG_CANCEL_COOKIE, 2));
	ck_assert(session_cancel(c->a, MSG_CANCEL_ITT, 3));
	ck_assert(!session_cancel(c->a, MSG_CANCEL_COOKIE, 5));
	for (uint32_t i = 2; i <= 3; i++) {
		const struct news *n = outcome(c, i, MSG_OUTCOME_ABORTED,
		    MSG_R_CANCELLED);

		ck_assert_uint_eq(n->outcome.flags, MSG_OUTCOME_F_NOT_SENT);
		ck_assert_uint_eq(n->outcome.itt, i);
	}
	fx.hold_window = false;
	fx.expcmdsn = 2;
	fx.maxcmdsn = 9;
	say_nop_in(RSV, RSV);
	wire(ISCSI_OP_SCSI_CMD);
	ck_assert_uint_eq(fx_stats().plugs, 0);
	wire_quiet();
	no_news(c);
}
END_TEST

/* The kernel has nothing of them yet, but their CmdSNs are taken. */
START_TEST(cancelled_while_stamped_is_plugged)
{
	struct sclient *c;
	uint32_t plug;

	fx.small = true;
	fx_up();
	c = fx_attach();
	stall(c, 1);
	accepted(c, command(READ_F, 2, 0), 0, 2);
	accepted(c, command(ISCSI_CMD_WRITE, 3, 3000), 1000, 3);
	accepted(c, data_out(0, 3, RSV, 0, 1000), 1000, 3);
	accepted(c, data_out(ISCSI_FLAG_FINAL, 3, RSV, 1, 2000), 1000, 3);
	accepted(c, command(READ_F, 4, 0), 0, 4);
	turn();
	ck_assert(session_cancel(c->a, MSG_CANCEL_COOKIE, 3));
	ck_assert_uint_eq(outcome(c, 3, MSG_OUTCOME_ABORTED,
	    MSG_R_CANCELLED)->outcome.flags, MSG_OUTCOME_F_NOT_SENT);
	ck_assert_uint_eq(fx_stats().plugs, 1);
	unstall(1);
	wire(ISCSI_OP_SCSI_CMD);
	wire(ISCSI_OP_NOP_OUT);
	plug = iscsi_itt(fx.got.bhs);
	ck_assert_uint_ne(plug, RSV);
	ck_assert(!iscsi_is_immediate(fx.got.bhs));
	ck_assert_uint_eq(fx.got.bhs[ISCSI_OFF_FLAGS], ISCSI_FLAG_FINAL);
	ck_assert_uint_eq(iscsi_ttt(fx.got.bhs), RSV);
	ck_assert_uint_eq(iscsi_lun(fx.got.bhs), 0);
	ck_assert_uint_eq(fx.got.len, 0);
	wire(ISCSI_OP_SCSI_CMD);
	wire_quiet();
	say_nop_in(plug, RSV);
	ck_assert_int_eq(fx.s->phase, SESSION_UP);
	no_news(c);
}
END_TEST

/* Stamped, immediate, withdrawn: it consumed no CmdSN, nothing replaces it. */
START_TEST(cancelled_immediate_is_not_plugged)
{
	struct sclient *c;

	fx.small = true;
	fx_up();
	c = fx_attach();
	accepted(c, nop_out(true, 7), 0, 7);
	wire(ISCSI_OP_NOP_OUT);
	say_nop_in(iscsi_itt(fx.got.bhs), RSV);
	news(c, NEWS_PDU, 7);
	stall(c, 1);
	turn();
	accepted(c, nop_out(true, 8), 0, 8);
	ck_assert_ptr_null(fx.s->nop);
	nibble();
	ck_assert_ptr_nonnull(fx.s->nop);
	ck_assert(session_cancel(c->a, MSG_CANCEL_COOKIE, 8));
	outcome(c, 8, MSG_OUTCOME_ABORTED, MSG_R_CANCELLED);
	unstall(1);
	wire_quiet();
	ck_assert_uint_eq(fx_stats().plugs, 0);
	/* The place of the one immediate is free again. */
	accepted(c, nop_out(true, 9), 0, 9);
	wire(ISCSI_OP_NOP_OUT);
}
END_TEST

/* A PDU of which the kernel took nothing bears the ExpStatSN of its write. */
START_TEST(restamped_before_every_try)
{
	struct sclient *c;
	uint32_t itt;

	fx.small = true;
	fx_up();
	c = fx_attach();
	accepted(c, command(READ_F, 5, 0), 0, 5);
	itt = iscsi_itt(wire(ISCSI_OP_SCSI_CMD)->bhs);
	stall(c, 1);
	accepted(c, command(READ_F, 2, 0), 0, 2);
	turn();
	say_good(itt);
	unstall(1);
	wire(ISCSI_OP_SCSI_CMD);
	ck_assert_uint_eq(get_be32(fx.got.bhs + ISCSI_OFF_EXPSTATSN),
	    fx.statsn);
}
END_TEST

/* --- the window */

START_TEST(window_of_zero)
{
	struct sclient *c;

	fx.window = 1;
	fx_up();
	c = fx_attach();
	fx.hold_window = true;
	accepted(c, command(WRITE_F, 1, 512), 0, 1);
	wire(ISCSI_OP_SCSI_CMD);
	accepted(c, command(READ_F, 2, 0), 0, 2);
	accepted(c, nop_out(false, 3), 0, 3);
	accepted(c, text_request(4, RSV), 0, 4);
	/* ExpCmdSN moves on, MaxCmdSN does not: a window of zero. */
	fx.expcmdsn = 2;
	say_r2t(iscsi_itt(fx.got.bhs), 9, 0, 512);
	news(c, NEWS_PDU, 1);
	wire_quiet();
	/* Data, pings and immediates are not for the window. */
	accepted(c, data_out(ISCSI_FLAG_FINAL, 1, 9, 0, 0), 512, 1);
	wire(ISCSI_OP_DATA_OUT);
	accepted(c, nop_out(true, 5), 0, 5);
	ck_assert_uint_eq(get_be32(wire(ISCSI_OP_NOP_OUT)->bhs +
	    ISCSI_OFF_CMDSN), 2);
	wire_quiet();
	/* Nonsense and the past change nothing. */
	fx.expcmdsn = 40;
	fx.maxcmdsn = 20;
	say_nop_in(RSV, RSV);
	fx.expcmdsn = 1;
	fx.maxcmdsn = 0;
	say_nop_in(RSV, RSV);
	wire_quiet();
	fx.expcmdsn = 2;
	fx.maxcmdsn = 3;
	say_nop_in(RSV, RSV);
	fx.maxcmdsn = 2;
	say_nop_in(RSV, RSV);
	wire(ISCSI_OP_TEXT_REQ);
	wire(ISCSI_OP_SCSI_CMD);
	wire_quiet();
}
END_TEST

/*
 * What a target says of the window of a session whose next CmdSN is `base`
 * and whose window is closed: ExpCmdSN and MaxCmdSN, both from there.  Of ten
 * commands so many may go.
 */
static const struct {
	int32_t		exp, max;
	unsigned	then;		/* may be sent */
} windows[] = {
	{ 0, -1, 0 },			/* zero */
	{ 0, 0, 1 },
	{ 0, 2, 3 },
	{ 0, INT32_MAX - 1, 10 },	/* as wide as can be */
	{ 0, -2, 0 },			/* MaxCmdSN < ExpCmdSN - 1: nonsense */
	{ 5, 3, 0 },			/* the same */
	{ 0, INT32_MIN, 0 },		/* the same */
	{ -5, -6, 0 },			/* late */
	{ -5, -3, 0 },			/* late */
	{ -5, 1, 2 },			/* late, but MaxCmdSN is news */
};

static const uint32_t bases[] = { 100, UINT32_MAX, UINT32_MAX - 1, 0,
	0x7fffffff, 0x80000000 };

#define WINDOWS (sizeof(windows) / sizeof(windows[0]))
#define BASES (sizeof(bases) / sizeof(bases[0]))

static void
say_window(uint32_t expcmdsn, uint32_t maxcmdsn)
{
	uint8_t *bhs = from_target(ISCSI_OP_NOP_IN, ISCSI_FLAG_FINAL, RSV);

	put_be32(bhs + ISCSI_OFF_EXPCMDSN, expcmdsn);
	put_be32(bhs + ISCSI_OFF_MAXCMDSN, maxcmdsn);
	say(bhs, NULL, 0);
}

START_TEST(windows_row_by_row)
{
	uint32_t base = bases[(unsigned)_i / WINDOWS];
	unsigned row = (unsigned)_i % WINDOWS, then = windows[row].then;
	struct sclient *c;

	fx_up();
	c = fx_attach();
	sn_resume(&fx.s->sn, base, base, base - 1, fx.statsn);
	fx.hold_window = true;
	for (uint32_t i = 0; i < 10; i++)
		accepted(c, command(READ_F, i, 0), 0, i);
	fx.expcmdsn = base;
	fx.maxcmdsn = base - 1;
	wire_quiet();
	say_window(base + (uint32_t)windows[row].exp,
	    base + (uint32_t)windows[row].max);
	for (uint32_t i = 0; i < then; i++)
		ck_assert_uint_eq(get_be32(wire(ISCSI_OP_SCSI_CMD)->bhs +
		    ISCSI_OFF_CMDSN), base + i);
	wire_quiet();
	/* What is older takes nothing back, what is newer opens it further. */
	if (then == 10)
		return;
	say_window(base, base - 1);
	say_window(base, base + then);
	ck_assert_uint_eq(get_be32(wire(ISCSI_OP_SCSI_CMD)->bhs +
	    ISCSI_OFF_CMDSN), base + then);
	wire_quiet();
}
END_TEST

START_TEST(first_window_is_that_of_the_login)
{
	struct sclient *c;

	fx.window = (uint32_t)_i;
	fx_up();
	c = fx_attach();
	fx.hold_window = true;
	for (uint32_t i = 1; i <= 4; i++)
		accepted(c, command(READ_F, i, 0), 0, i);
	for (uint32_t i = 1; i <= fx.window; i++) {
		wire(ISCSI_OP_SCSI_CMD);
		ck_assert_uint_eq(get_be32(fx.got.bhs + ISCSI_OFF_CMDSN), i);
	}
	wire_quiet();
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("session: numbers");
	TCase *tc = tcase_create("numbers");

	tcase_add_checked_fixture(tc, fx_setup, fx_teardown);
	tcase_set_timeout(tc, 10);
	tcase_add_loop_test(tc, expstatsn_of_the_next_pdu, 0,
	    sizeof(rows) / sizeof(rows[0]));
	tcase_add_test(tc, expstatsn_is_that_of_the_write);
	tcase_add_loop_test(tc, statsn_gap_drops_the_connection, 0, 2);
	tcase_add_loop_test(tc, command_is_not_touched, 0, 2);
	tcase_add_loop_test(tc, reserved_bytes_are_cleared, 0, 4);
	tcase_add_test(tc, response_is_not_touched);
	tcase_add_test(tc, cancelled_while_queued_leaves_no_hole);
	tcase_add_test(tc, cancelled_while_stamped_is_plugged);
	tcase_add_test(tc, cancelled_immediate_is_not_plugged);
	tcase_add_test(tc, restamped_before_every_try);
	tcase_add_test(tc, window_of_zero);
	tcase_add_loop_test(tc, windows_row_by_row, 0,
	    (int)(WINDOWS * BASES));
	tcase_add_loop_test(tc, first_window_is_that_of_the_login, 0, 4);
	suite_add_tcase(s, tc);
	return unit_run(s);
}
