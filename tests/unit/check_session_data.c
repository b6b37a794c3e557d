/* SPDX-License-Identifier: ISC */
/*
 * Data of writes on a session: R2Ts and their answers, the unsolicited
 * burst, what is charged for it, and how clients share the way out (RFC 7143
 * sections 11.3, 11.7, 11.8).
 */
#include "config.h"

#include <stdio.h>

#include "tests/unit/session_fixture.h"

#define F ISCSI_FLAG_FINAL

static struct sclient *c;
static uint32_t itt;

/* A write of 4096 bytes without any data yet, on the wire. */
static void
open_write(void)
{
	fx_up();
	c = fx_attach();
	accepted(c, command(WRITE_F, 1, 4096), 0, 1);
	itt = iscsi_itt(wire(ISCSI_OP_SCSI_CMD)->bhs);
}

/* A Data-Out that must be an ERROR, after which the task goes on. */
static void
bad_data(uint8_t *bhs, uint32_t len, unsigned reason)
{
	ck_assert_int_eq(submit(c, bhs, len, 1), SUBMIT_ERROR);
	ck_assert_str_eq(msg_reason_name(fx.why.reason),
	    msg_reason_name(reason));
	ck_assert_str_ne(fx.why.text, "");
}

static void
expect_data(uint8_t flags, uint32_t ttt, uint32_t datasn, uint32_t offset,
    uint32_t len)
{
	const struct got *g = wire(ISCSI_OP_DATA_OUT);

	ck_assert_uint_eq(g->bhs[0], ISCSI_OP_DATA_OUT);
	ck_assert_uint_eq(g->bhs[1], flags);
	ck_assert_uint_eq(iscsi_lun(g->bhs), LUN_1);
	ck_assert_uint_eq(iscsi_itt(g->bhs), itt);
	ck_assert_uint_eq(iscsi_ttt(g->bhs), ttt);
	ck_assert_uint_eq(get_be32(g->bhs + ISCSI_OFF_EXPSTATSN), fx.statsn);
	ck_assert_uint_eq(get_be32(g->bhs + ISCSI_OFF_DATASN), datasn);
	ck_assert_uint_eq(get_be32(g->bhs + ISCSI_OFF_BUFFER_OFFSET), offset);
	ck_assert_uint_eq(g->len, len);
	for (uint32_t i = 0; i < len; i++)
		ck_assert_uint_eq(g->data[i], pattern(1, offset + i));
}

START_TEST(r2t_is_answered)
{
	const struct news *n;

	open_write();
	say_r2t(itt, 0xabcd0001, 1024, 2048);
	n = news(c, NEWS_PDU, 1);
	ck_assert_uint_eq(iscsi_opcode(n->bhs), ISCSI_OP_R2T);
	ck_assert_uint_eq(iscsi_itt(n->bhs), 1);
	ck_assert_uint_eq(iscsi_ttt(n->bhs), 0xabcd0001);
	ck_assert_uint_eq(n->charge.tasks, 0);
	accepted(c, data_out(0, 1, 0xabcd0001, 0, 1024), 1500, 1);
	accepted(c, data_out(F, 1, 0xabcd0001, 1, 2524), 548, 1);
	expect_data(0, 0xabcd0001, 0, 1024, 1500);
	expect_data(F, 0xabcd0001, 1, 2524, 548);
	wire_quiet();
	say_good(itt);
	ck_assert_uint_eq(news(c, NEWS_PDU, 1)->charge.tasks, 1);
}
END_TEST

/* A refused Data-Out is an ERROR; nothing is sent and the task goes on. */
START_TEST(wrong_data_does_not_end_the_task)
{
	uint8_t *bhs;

	open_write();
	bad_data(data_out(F, 1, RSV, 0, 0), 512, MSG_R_BAD_TAG);
	say_r2t(itt, 5, 0, 1024);
	news(c, NEWS_PDU, 1);
	bad_data(data_out(F, 2, 5, 0, 0), 1024, MSG_R_NO_SUCH_TASK);
	bad_data(data_out(F, 1, 6, 0, 0), 1024, MSG_R_BAD_TAG);
	bad_data(data_out(F, 1, RSV, 0, 0), 1024, MSG_R_BAD_TAG);
	bad_data(data_out(F, 1, 5, 1, 0), 1024, MSG_R_BAD_FIELD);
	bad_data(data_out(F, 1, 5, 0, 512), 512, MSG_R_BAD_FIELD);
	bad_data(data_out(F, 1, 5, 0, 0), 1025, MSG_R_BAD_FIELD);
	bad_data(data_out(F, 1, 5, 0, 0), 512, MSG_R_BAD_FIELD);
	bad_data(data_out(0, 1, 5, 0, 0), 1024, MSG_R_BAD_FIELD);
	bad_data(data_out(0, 1, 5, 0, 0), 0, MSG_R_BAD_FIELD);
	bhs = data_out(F, 1, 5, 0, 0);
	put_be64(bhs + ISCSI_OFF_LUN, 0);
	bad_data(bhs, 1024, MSG_R_BAD_FIELD);
	bad_data(data_out(F, 1, 5, 0, 0), 262145, MSG_R_DATA_LIMIT);
	ck_assert_uint_eq(fx_stats().refused_data, 12);
	wire_quiet();
	accepted(c, data_out(F, 1, 5, 0, 0), 1024, 1);
	expect_data(F, 5, 0, 0, 1024);
	/* That R2T is answered; its tag is no one's any more. */
	bad_data(data_out(F, 1, 5, 1, 1024), 512, MSG_R_BAD_TAG);
	no_news(c);
	say_good(itt);
	news(c, NEWS_PDU, 1);
}
END_TEST

START_TEST(r2ts_of_a_task_in_their_order)
{
	open_write();
	say_r2t(itt, 5, 0, 512);
	say_r2t(itt, 6, 512, 512);
	news(c, NEWS_PDU, 1);
	news(c, NEWS_PDU, 1);
	bad_data(data_out(F, 1, 6, 0, 512), 512, MSG_R_BAD_TAG);
	accepted(c, data_out(F, 1, 5, 0, 0), 512, 1);
	accepted(c, data_out(F, 1, 6, 0, 512), 512, 1);
	expect_data(F, 5, 0, 0, 512);
	expect_data(F, 6, 0, 512, 512);
}
END_TEST

/* Whose R2T is not answered holds up nobody else's. */
START_TEST(slow_client_holds_up_no_other)
{
	struct sclient *other;
	uint32_t theirs;

	open_write();
	other = fx_attach();
	accepted(other, command(WRITE_F, 1, 512), 0, 2);
	theirs = iscsi_itt(wire(ISCSI_OP_SCSI_CMD)->bhs);
	ck_assert_uint_ne(theirs, itt);
	say_r2t(itt, 5, 0, 512);
	say_r2t(theirs, 6, 0, 512);
	accepted(other, data_out(F, 1, 6, 0, 0), 512, 2);
	wire(ISCSI_OP_DATA_OUT);
	ck_assert_uint_eq(iscsi_itt(fx.got.bhs), theirs);
	say_good(theirs);
	news(other, NEWS_PDU, 2);
	news(other, NEWS_PDU, 2);
	no_news(other);
}
END_TEST

/* --- R2Ts that a target may not send */

static const struct {
	uint32_t ttt, offset, len;
	uint64_t lun;
} bad_r2ts[] = {
	{ 5, 0, 0, LUN_1 },
	{ RSV, 0, 512, LUN_1 },
	{ 5, 4000, 97, LUN_1 },
	{ 5, UINT32_MAX, 512, LUN_1 },
	{ 5, 0, 512, 0 },
};

START_TEST(bad_r2t_drops_the_connection)
{
	uint8_t *bhs;

	open_write();
	bhs = from_target(ISCSI_OP_R2T, F, itt);
	put_be64(bhs + ISCSI_OFF_LUN, bad_r2ts[_i].lun);
	put_be32(bhs + ISCSI_OFF_TTT, bad_r2ts[_i].ttt);
	put_be32(bhs + ISCSI_OFF_BUFFER_OFFSET, bad_r2ts[_i].offset);
	put_be32(bhs + ISCSI_OFF_DESIRED_LEN, bad_r2ts[_i].len);
	say(bhs, NULL, 0);
	LOST("R2T");
	news(c, NEWS_EVENT, 0);
	outcome(c, 1, MSG_OUTCOME_UNKNOWN, MSG_R_CONNECTION_LOST);
}
END_TEST

START_TEST(too_many_r2ts_drop_the_connection)
{
	open_write();
	for (uint32_t i = 0; i < 6 && fx.s->phase == SESSION_UP; i++)
		say_r2t(itt, i, i * 512, 512);
	LOST("R2T");
}
END_TEST

/* A read asked for no data of ours. */
START_TEST(r2t_of_a_read_drops_the_connection)
{
	fx_up();
	c = fx_attach();
	accepted(c, command(READ_F, 1, 512), 0, 1);
	itt = iscsi_itt(wire(ISCSI_OP_SCSI_CMD)->bhs);
	say_r2t(itt, 5, 0, 512);
	LOST("R2T");
}
END_TEST

/* --- unsolicited data */

START_TEST(unsolicited_follows_its_command)
{
	fx.window = 1;
	fx_up();
	c = fx_attach();
	fx.hold_window = true;
	accepted(c, command(READ_F, 9, 0), 0, 9);
	wire(ISCSI_OP_SCSI_CMD);
	/* The window is closed: the burst waits with its command. */
	accepted(c, command(ISCSI_CMD_WRITE, 1, 4096), 1000, 1);
	accepted(c, data_out(0, 1, RSV, 0, 1000), 2000, 1);
	accepted(c, data_out(F, 1, RSV, 1, 3000), 1096, 1);
	bad_data(data_out(F, 1, RSV, 2, 4096), 1, MSG_R_BAD_TAG);
	wire_quiet();
	fx.hold_window = false;
	fx.expcmdsn = 2;
	fx.maxcmdsn = 2;
	say_nop_in(RSV, RSV);
	itt = iscsi_itt(wire(ISCSI_OP_SCSI_CMD)->bhs);
	ck_assert_uint_eq(fx.got.bhs[1], ISCSI_CMD_WRITE);
	ck_assert_uint_eq(fx.got.len, 1000);
	expect_data(0, RSV, 0, 1000, 2000);
	expect_data(F, RSV, 1, 3000, 1096);
}
END_TEST

/*
 * A command goes when all of its burst is there, and what its client
 * submitted after it goes behind it; other clients do not wait.
 */
START_TEST(command_waits_for_its_burst)
{
	struct sclient *other;

	fx_up();
	c = fx_attach();
	other = fx_attach();
	accepted(c, command(ISCSI_CMD_WRITE, 1, 4096), 0, 1);
	accepted(c, command(READ_F, 2, 512), 0, 2);
	accepted(c, data_out(0, 1, RSV, 0, 0), 96, 1);
	/* More than is left of it, though not more than it was. */
	bad_data(data_out(0, 1, RSV, 1, 96), 4001, MSG_R_BAD_FIELD);
	wire_quiet();
	accepted(other, command(READ_F, 3, 1024), 0, 3);
	ck_assert_uint_eq(get_be32(wire(ISCSI_OP_SCSI_CMD)->bhs +
	    ISCSI_OFF_EDTL), 1024);
	wire_quiet();
	accepted(c, data_out(F, 1, RSV, 1, 96), 4000, 1);
	itt = iscsi_itt(wire(ISCSI_OP_SCSI_CMD)->bhs);
	expect_data(0, RSV, 0, 0, 96);
	expect_data(F, RSV, 1, 96, 4000);
	ck_assert_uint_eq(get_be32(wire(ISCSI_OP_SCSI_CMD)->bhs +
	    ISCSI_OFF_EDTL), 512);
	say_good(itt);
	news(c, NEWS_PDU, 1);
}
END_TEST

/* Two bursts, the later command's submitted first: the wire has them apart. */
START_TEST(bursts_in_the_order_of_their_commands)
{
	struct sclient *other;
	uint32_t theirs;

	fx_up();
	c = fx_attach();
	other = fx_attach();
	accepted(c, command(ISCSI_CMD_WRITE, 1, 2048), 0, 1);
	accepted(other, command(ISCSI_CMD_WRITE, 1, 1024), 0, 1);
	accepted(other, data_out(0, 1, RSV, 0, 0), 512, 1);
	accepted(c, data_out(0, 1, RSV, 0, 0), 1024, 1);
	accepted(other, data_out(F, 1, RSV, 1, 512), 512, 1);
	theirs = iscsi_itt(wire(ISCSI_OP_SCSI_CMD)->bhs);
	ck_assert_uint_eq(iscsi_itt(wire(ISCSI_OP_DATA_OUT)->bhs), theirs);
	ck_assert_uint_eq(iscsi_itt(wire(ISCSI_OP_DATA_OUT)->bhs), theirs);
	wire_quiet();
	accepted(c, data_out(F, 1, RSV, 1, 1024), 1024, 1);
	itt = iscsi_itt(wire(ISCSI_OP_SCSI_CMD)->bhs);
	expect_data(0, RSV, 0, 0, 1024);
	expect_data(F, RSV, 1, 1024, 1024);
}
END_TEST

/* The first of a client's commands is cancelled for want of its burst. */
START_TEST(cancelled_burst_lets_others_go)
{
	fx_up();
	c = fx_attach();
	accepted(c, command(ISCSI_CMD_WRITE, 1, 4096), 0, 1);
	accepted(c, command(READ_F, 2, 512), 0, 2);
	accepted(c, data_out(0, 1, RSV, 0, 0), 96, 1);
	wire_quiet();
	ck_assert(session_cancel(c->a, MSG_CANCEL_ITT, 1));
	ck_assert_uint_eq(get_be32(wire(ISCSI_OP_SCSI_CMD)->bhs +
	    ISCSI_OFF_EDTL), 512);
	wire_quiet();
}
END_TEST

static const struct {
	const char	*keys;
	uint8_t		 flags;
	uint32_t	 edtl, dsl;
	unsigned	 reason;	/* 0: accepted */
} bursts[] = {
	{ "InitialR2T=Yes\nImmediateData=No\n", WRITE_F, 4096, 0, 0 },
	{ "InitialR2T=Yes\nImmediateData=No\n", WRITE_F, 4096, 1,
	    MSG_R_DATA_LIMIT },
	{ "InitialR2T=Yes\nImmediateData=No\n", ISCSI_CMD_WRITE, 4096, 0,
	    MSG_R_DATA_LIMIT },
	{ "InitialR2T=Yes\nImmediateData=Yes\n", WRITE_F, 4096, 1024, 0 },
	{ "InitialR2T=Yes\nImmediateData=Yes\n", WRITE_F, 4096, 1025,
	    MSG_R_DATA_LIMIT },
	{ "InitialR2T=Yes\nImmediateData=Yes\n", WRITE_F, 512, 513,
	    MSG_R_DATA_LIMIT },
	{ "InitialR2T=Yes\nImmediateData=Yes\n", ISCSI_CMD_WRITE, 4096, 512,
	    MSG_R_DATA_LIMIT },
	{ "InitialR2T=No\nImmediateData=No\n", ISCSI_CMD_WRITE, 4096, 0, 0 },
	{ "InitialR2T=No\nImmediateData=No\n", ISCSI_CMD_WRITE, 4096, 1,
	    MSG_R_DATA_LIMIT },
	{ "InitialR2T=No\nImmediateData=Yes\n", ISCSI_CMD_WRITE, 4096, 1023,
	    0 },
	{ "InitialR2T=No\nImmediateData=Yes\n", ISCSI_CMD_WRITE, 4096, 1024,
	    MSG_R_BAD_FIELD },
	{ "InitialR2T=No\nImmediateData=Yes\n", ISCSI_CMD_READ, 4096, 0,
	    MSG_R_BAD_FIELD },
	{ "InitialR2T=No\nImmediateData=Yes\n", READ_F, 4096, 1,
	    MSG_R_BAD_FIELD },
};

START_TEST(immediate_and_unsolicited_as_negotiated)
{
	char keys[128];
	enum submit_verdict verdict;

	snprintf(keys, sizeof(keys), "%sFirstBurstLength=1024\n"
	    "MaxOutstandingR2T=1\n", bursts[_i].keys);
	fx.keys = keys;
	fx_up();
	c = fx_attach();
	verdict = submit(c, command(bursts[_i].flags, 1, bursts[_i].edtl),
	    bursts[_i].dsl, 1);
	ck_assert_str_eq(msg_reason_name(fx.why.reason),
	    msg_reason_name(bursts[_i].reason));
	if (bursts[_i].reason != 0)
		ck_assert_int_eq(verdict, SUBMIT_REFUSED);
	else if (bursts[_i].flags == WRITE_F)
		wire(ISCSI_OP_SCSI_CMD);
	wire_quiet();
}
END_TEST

/* --- what is charged */

START_TEST(charges_of_a_write)
{
	const struct quota_amount *used;

	fx_up();
	c = fx_attach();
	used = &c->quota->used;
	accepted(c, command(ISCSI_CMD_WRITE, 1, 4096), 96, 1);
	ck_assert_uint_eq(used->tasks, 1);
	ck_assert_uint_eq(used->in, TASK_CHARGE_BASE);
	ck_assert_uint_eq(used->out, TXPDU_CHARGE_BASE + 4096);
	accepted(c, data_out(0, 1, RSV, 0, 96), 1000, 1);
	accepted(c, data_out(F, 1, RSV, 1, 1096), 3000, 1);
	/* The burst was charged with its command. */
	ck_assert_uint_eq(used->out, TXPDU_CHARGE_BASE + 4096);
	itt = iscsi_itt(wire(ISCSI_OP_SCSI_CMD)->bhs);
	wire(ISCSI_OP_DATA_OUT);
	wire(ISCSI_OP_DATA_OUT);
	ck_assert_uint_eq(used->out, 0);
	say_good(itt);
	news(c, NEWS_PDU, 1);
	ck_assert_uint_eq(used->tasks, 0);
	ck_assert_uint_eq(used->in, 0);
	ck_assert_uint_eq(used->out, 0);
}
END_TEST

START_TEST(charge_of_a_read)
{
	fx_up();
	c = fx_attach();
	accepted(c, command(READ_F, 1, 262144), 0, 1);
	ck_assert_uint_eq(c->quota->used.in, TASK_CHARGE_BASE + 262144 +
	    2 * (FRAME_HEADER_LEN + ISCSI_BHS_LEN));
	accepted(c, text_request(2, RSV), 0, 2);
	accepted(c, nop_out(false, 3), 100, 3);
	ck_assert_uint_eq(c->quota->used.in, 3 * TASK_CHARGE_BASE + 262144 +
	    2 * (FRAME_HEADER_LEN + ISCSI_BHS_LEN) + TASK_CHARGE_TEXT + 100);
}
END_TEST

/* Over a limit it is refused, never kept waiting. */
START_TEST(over_quota_is_refused)
{
	fx.config.limits.client_tasks = 2;
	fx.config.limits.client_inbound = 4 * TASK_CHARGE_BASE;
	fx.config.limits.client_outbound = 8192;
	fx_up();
	c = fx_attach();
	ck_assert_int_eq(submit(c, command(READ_F, 1, 4 * TASK_CHARGE_BASE),
	    0, 1), SUBMIT_REFUSED);
	ck_assert_uint_eq(fx.why.reason, MSG_R_QUOTA);
	ck_assert_int_eq(submit(c, command(ISCSI_CMD_WRITE, 1, 9000), 0, 1),
	    SUBMIT_REFUSED);
	ck_assert_uint_eq(fx.why.reason, MSG_R_QUOTA);
	accepted(c, command(READ_F, 1, 0), 0, 1);
	accepted(c, command(READ_F, 2, 0), 0, 2);
	ck_assert_int_eq(submit(c, command(READ_F, 3, 0), 0, 3),
	    SUBMIT_REFUSED);
	ck_assert_uint_eq(fx.why.reason, MSG_R_QUOTA);
	itt = iscsi_itt(wire(ISCSI_OP_SCSI_CMD)->bhs);
	say_good(itt);
	news(c, NEWS_PDU, 1);
	accepted(c, command(READ_F, 3, 0), 0, 3);
}
END_TEST

/* Data the target asked for is taken, but then the client is not read. */
START_TEST(data_out_pauses_its_client)
{
	fx.small = true;
	fx.config.limits.client_outbound = 200000;
	fx_up();
	c = fx_attach();
	accepted(c, command(WRITE_F, 2, 100000), 0, 2);
	itt = iscsi_itt(wire(ISCSI_OP_SCSI_CMD)->bhs);
	stall(c, 1);
	turn();
	say_r2t(itt, 5, 0, 100000);
	news(c, NEWS_PDU, 2);
	ck_assert(!session_paused(c->a));
	accepted(c, data_out(0, 2, 5, 0, 0), 50000, 2);
	ck_assert(!session_paused(c->a));
	accepted(c, data_out(F, 2, 5, 1, 50000), 50000, 2);
	ck_assert(session_paused(c->a));
	no_news(c);
	unstall(1);
	wire(ISCSI_OP_DATA_OUT);
	wire(ISCSI_OP_DATA_OUT);
	news(c, NEWS_ROOM, 0);
	ck_assert(!session_paused(c->a));
}
END_TEST

/* --- sharing the way out */

START_TEST(data_passes_commands_that_wait)
{
	fx.window = 1;
	fx_up();
	c = fx_attach();
	fx.hold_window = true;
	accepted(c, command(WRITE_F, 1, 512), 0, 1);
	itt = iscsi_itt(wire(ISCSI_OP_SCSI_CMD)->bhs);
	accepted(c, command(READ_F, 2, 0), 0, 2);
	say_r2t(itt, 5, 0, 512);
	accepted(c, data_out(F, 1, 5, 0, 0), 512, 1);
	expect_data(F, 5, 0, 0, 512);
	wire_quiet();
}
END_TEST

/* A client with large requests does not keep out one with small ones. */
START_TEST(clients_take_turns)
{
	struct sclient *other;
	unsigned before = 0;

	fx.window = 1;
	fx_up();
	c = fx_attach();
	other = fx_attach();
	fx.hold_window = true;
	accepted(c, command(READ_F, 100, 0), 0, 100);
	wire(ISCSI_OP_SCSI_CMD);
	for (uint32_t i = 0; i < 16; i++)
		accepted(c, command(READ_F, i, 262144), 0, i);
	for (uint32_t i = 0; i < 16; i++) {
		uint8_t *bhs = command(READ_F, i, 0);

		put_be64(bhs + ISCSI_OFF_LUN, 0);
		accepted(other, bhs, 0, i);
	}
	fx.hold_window = false;
	fx.expcmdsn = 2;
	fx.maxcmdsn = 33;
	say_nop_in(RSV, RSV);
	for (unsigned seen = 0; seen < 16; ) {
		wire(ISCSI_OP_SCSI_CMD);
		if (iscsi_lun(fx.got.bhs) == 0)
			seen++;
		else
			before++;
	}
	ck_assert_uint_le(before, 2);
	while (before++ < 16)
		wire(ISCSI_OP_SCSI_CMD);
	wire_quiet();
}
END_TEST

static void
add_tests(TCase *tc)
{
	tcase_add_test(tc, r2t_is_answered);
	tcase_add_test(tc, wrong_data_does_not_end_the_task);
	tcase_add_test(tc, r2ts_of_a_task_in_their_order);
	tcase_add_test(tc, slow_client_holds_up_no_other);
	tcase_add_loop_test(tc, bad_r2t_drops_the_connection, 0,
	    sizeof(bad_r2ts) / sizeof(bad_r2ts[0]));
	tcase_add_test(tc, too_many_r2ts_drop_the_connection);
	tcase_add_test(tc, r2t_of_a_read_drops_the_connection);
	tcase_add_test(tc, unsolicited_follows_its_command);
	tcase_add_test(tc, command_waits_for_its_burst);
	tcase_add_test(tc, bursts_in_the_order_of_their_commands);
	tcase_add_test(tc, cancelled_burst_lets_others_go);
	tcase_add_loop_test(tc, immediate_and_unsolicited_as_negotiated, 0,
	    sizeof(bursts) / sizeof(bursts[0]));
	tcase_add_test(tc, charges_of_a_write);
	tcase_add_test(tc, charge_of_a_read);
	tcase_add_test(tc, over_quota_is_refused);
	tcase_add_test(tc, data_out_pauses_its_client);
	tcase_add_test(tc, data_passes_commands_that_wait);
	tcase_add_test(tc, clients_take_turns);
}

int
main(void)
{
	Suite *s = suite_create("session: data of writes");
	TCase *tc = tcase_create("data");

	tcase_add_checked_fixture(tc, fx_setup, fx_teardown);
	tcase_set_timeout(tc, 10);
	add_tests(tc);
	suite_add_tcase(s, tc);
	return unit_run(s);
}
