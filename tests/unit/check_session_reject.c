/* SPDX-License-Identifier: ISC */
/*
 * Rejects on a shared session: whose tags are in them, what they end, and the
 * CmdSN gaps they may leave (RFC 7143 sections 7.3 and 11.17).
 */
#include "config.h"

#include "tests/unit/session_fixture.h"

#define F ISCSI_FLAG_FINAL

static struct sclient *a, *b;

/* --- the Reject */

static uint8_t sent[ISCSI_BHS_LEN];

/* A rejected NOP-Out of the daemon asks what became of a CmdSN. */
static uint32_t
expect_probe(void)
{
	wire(ISCSI_OP_NOP_OUT);
	ck_assert(iscsi_is_immediate(fx.got.bhs));
	ck_assert_uint_ne(iscsi_itt(fx.got.bhs), RSV);
	ck_assert_uint_eq(iscsi_ttt(fx.got.bhs), RSV);
	return iscsi_itt(fx.got.bhs);
}

START_TEST(reject_is_mapped)
{
	uint8_t mine[ISCSI_BHS_LEN];
	const struct news *n;

	fx_up_with(&a, &b);
	open_command(b, 7);
	memcpy(mine, command(READ_F, 7, 512), sizeof(mine));
	accepted(a, mine, 0, 70);
	memcpy(sent, wire(ISCSI_OP_SCSI_CMD)->bhs, sizeof(sent));
	say_reject(9, sent);
	n = news(a, NEWS_PDU, 70);
	ck_assert_uint_eq(iscsi_opcode(n->bhs), ISCSI_OP_REJECT);
	ck_assert_uint_eq(n->bhs[ISCSI_OFF_RESPONSE], 9);
	ck_assert_uint_eq(iscsi_itt(n->bhs), RSV);
	ck_assert_uint_eq(n->len, ISCSI_BHS_LEN);
	/* All as it was submitted, CmdSN and ExpStatSN included. */
	ck_assert_mem_eq(n->data, mine, ISCSI_BHS_LEN);
	ck_assert_uint_eq(n->charge.tasks, 1);
	no_news(a);
	no_news(b);
	expect_probe();
}
END_TEST

/* Every reason reaches the client, and only that of a Logout is obeyed. */
START_TEST(reject_reasons)
{
	fx_up_with(&a, &b);
	accepted(a, nop_out(true, 7), 0, 70);
	say_reject((uint8_t)_i, wire(ISCSI_OP_NOP_OUT)->bhs);
	ck_assert_uint_eq(news(a, NEWS_PDU, 70)->bhs[ISCSI_OFF_RESPONSE], _i);
	if (_i == 0x0c) {
		ck_assert_int_eq(fx.s->phase, SESSION_LEAVING);
		return;
	}
	ck_assert_int_eq(fx.s->phase, SESSION_UP);
	/* The same request may be sent again. */
	accepted(a, nop_out(true, 7), 0, 71);
	wire(ISCSI_OP_NOP_OUT);
}
END_TEST

START_TEST(rejected_tmf_is_mapped)
{
	uint8_t mine[ISCSI_BHS_LEN];
	const struct news *n;

	fx_up_with(&a, &b);
	open_command(a, 5);
	memcpy(mine, tmf(ISCSI_TMF_ABORT_TASK, 6, 5), sizeof(mine));
	accepted(a, mine, 0, 6);
	memcpy(sent, wire(ISCSI_OP_TMF_REQ)->bhs, sizeof(sent));
	say_reject(6, sent);
	n = news(a, NEWS_PDU, 6);
	ck_assert_uint_eq(iscsi_itt(n->data), 6);
	ck_assert_uint_eq(get_be32(n->data + ISCSI_OFF_RTT), 5);
	/* Immediate: no CmdSN is in doubt. */
	wire_quiet();
	/* And the next one may be sent. */
	accepted(a, tmf(ISCSI_TMF_ABORT_TASK, 6, 5), 0, 6);
	wire(ISCSI_OP_TMF_REQ);
}
END_TEST

/* A rejected Data-Out tells of an error; the task's response will come. */
START_TEST(rejected_data_ends_nothing)
{
	const struct news *n;
	uint32_t itt;

	fx_up_with(&a, &b);
	accepted(a, command(WRITE_F, 5, 512), 0, 5);
	itt = iscsi_itt(wire(ISCSI_OP_SCSI_CMD)->bhs);
	say_r2t(itt, 8, 0, 512);
	news(a, NEWS_PDU, 5);
	accepted(a, data_out(F, 5, 8, 0, 0), 512, 5);
	memcpy(sent, wire(ISCSI_OP_DATA_OUT)->bhs, sizeof(sent));
	say_reject(2, sent);
	n = news(a, NEWS_PDU, 5);
	ck_assert_uint_eq(iscsi_opcode(n->bhs), ISCSI_OP_REJECT);
	ck_assert_uint_eq(iscsi_itt(n->data), 5);
	ck_assert_uint_eq(iscsi_ttt(n->data), 8);
	ck_assert_uint_eq(n->charge.tasks, 0);
	wire_quiet();
	say_good(itt);
	ck_assert_uint_eq(news(a, NEWS_PDU, 5)->charge.tasks, 1);
	/* Without limit it would fill the memory of a client's queue. */
	accepted(a, command(WRITE_F, 5, 512), 0, 6);
	put_be32(sent + ISCSI_OFF_ITT,
	    iscsi_itt(wire(ISCSI_OP_SCSI_CMD)->bhs));
	for (unsigned i = 0; i < 20 && fx.s->phase == SESSION_UP; i++)
		say_reject(2, sent);
	LOST("PDUs for a task");
}
END_TEST

/* Too short, never sent, or no one's: told to no client. */
START_TEST(reject_of_nothing)
{
	fx_up_with(&a, &b);
	fx.hold_window = true;
	open_command(a, 1);
	memcpy(sent, fx.got.bhs, sizeof(sent));
	say_status(from_target(ISCSI_OP_REJECT, F, RSV), sent, 47);
	put_be32(sent + ISCSI_OFF_ITT, 0x00f00000);
	say_reject(4, sent);
	put_be32(sent + ISCSI_OFF_ITT, RSV);
	say_reject(4, sent);
	ck_assert_uint_eq(fx_stats().rejects, 3);
	no_news(a);
	wire_quiet();
}
END_TEST

/* --- the gap */

/* The target counted the rejected command: it goes on. */
START_TEST(gap_is_none)
{
	uint32_t probe;

	fx_up_with(&a, &b);
	open_command(a, 1);
	memcpy(sent, fx.got.bhs, sizeof(sent));
	say_reject(9, sent);
	accepted(b, command(READ_F, 1, 0), 0, 1);
	probe = expect_probe();
	wire_quiet();
	say_nop_in(probe, RSV);
	wire(ISCSI_OP_SCSI_CMD);
	ck_assert_uint_eq(fx_stats().plugs, 0);
}
END_TEST

/* It did not: a NOP-Out with the same CmdSN takes its place. */
START_TEST(gaps_are_plugged)
{
	uint8_t second[ISCSI_BHS_LEN];
	uint32_t probe, plug;

	fx_up_with(&a, &b);
	open_command(a, 1);
	memcpy(sent, fx.got.bhs, sizeof(sent));
	open_command(a, 2);
	open_command(b, 3);
	memcpy(second, fx.got.bhs, sizeof(second));
	fx.hold_window = true;
	fx.expcmdsn = 1;
	fx.maxcmdsn = 20;
	say_reject(9, second);
	say_reject(9, sent);
	accepted(b, command(READ_F, 4, 0), 0, 4);
	probe = expect_probe();
	wire_quiet();
	say_nop_in(probe, RSV);
	plug = iscsi_itt(wire(ISCSI_OP_NOP_OUT)->bhs);
	ck_assert(!iscsi_is_immediate(fx.got.bhs));
	ck_assert_uint_eq(get_be32(fx.got.bhs + ISCSI_OFF_CMDSN), 1);
	ck_assert_uint_ne(plug, RSV);
	wire_quiet();
	fx.expcmdsn = 3;
	say_nop_in(plug, RSV);
	plug = iscsi_itt(wire(ISCSI_OP_NOP_OUT)->bhs);
	ck_assert_uint_eq(get_be32(fx.got.bhs + ISCSI_OFF_CMDSN), 3);
	wire_quiet();
	fx.expcmdsn = 4;
	say_nop_in(plug, RSV);
	wire(ISCSI_OP_SCSI_CMD);
	ck_assert_uint_eq(get_be32(fx.got.bhs + ISCSI_OFF_CMDSN), 4);
	ck_assert_uint_eq(fx_stats().plugs, 2);
}
END_TEST

/* The plug of a withdrawn request is no answer to the probe. */
START_TEST(plug_is_no_probe)
{
	uint32_t probe, plug, itt;

	fx.small = true;
	fx_up_with(&a, &b);
	itt = open_command(a, 1);
	memcpy(sent, fx.got.bhs, sizeof(sent));
	stall(b, 1);
	accepted(a, command(READ_F, 2, 0), 0, 2);
	turn();
	ck_assert(session_cancel(a->a, MSG_CANCEL_COOKIE, 2));
	unstall(1);
	plug = iscsi_itt(wire(ISCSI_OP_NOP_OUT)->bhs);
	ck_assert_uint_ne(plug, itt);
	fx.hold_window = true;
	fx.expcmdsn = 1;
	say_reject(9, sent);
	probe = expect_probe();
	say_nop_in(plug, RSV);
	wire_quiet();
	say_nop_in(probe, RSV);
	wire(ISCSI_OP_NOP_OUT);
	ck_assert_uint_eq(get_be32(fx.got.bhs + ISCSI_OFF_CMDSN), 1);
	wire_quiet();
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("session: Rejects");
	TCase *tc = tcase_create("reject");

	tcase_add_checked_fixture(tc, fx_setup, fx_teardown);
	tcase_set_timeout(tc, 10);
	tcase_add_test(tc, reject_is_mapped);
	tcase_add_loop_test(tc, reject_reasons, 1, 0x10);
	tcase_add_test(tc, rejected_tmf_is_mapped);
	tcase_add_test(tc, rejected_data_ends_nothing);
	tcase_add_test(tc, reject_of_nothing);
	tcase_add_test(tc, gap_is_none);
	tcase_add_test(tc, gaps_are_plugged);
	tcase_add_test(tc, plug_is_no_probe);
	suite_add_tcase(s, tc);
	return unit_run(s);
}
