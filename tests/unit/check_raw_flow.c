/* SPDX-License-Identifier: ISC */
/*
 * What a raw connection (daemon/raw.h) reads and when it does not, and what
 * SET changes.
 */
#include "config.h"

#include <errno.h>
#include <unistd.h>

#include "tests/unit/raw_fixture.h"

#define ALL_BYTES	(32u * 1024 * 1024)	/* PROTOCOL.md section 17 */

static uint8_t *
command(uint32_t itt)
{
	return request(ISCSI_OP_SCSI_CMD, ISCSI_FLAG_FINAL | ISCSI_CMD_READ,
	    itt);
}

static void
say_data(uint32_t itt, uint32_t len)
{
	say(from_target(ISCSI_OP_DATA_IN, 0, itt), NULL, len);
}

/* `n` PDUs come of what was said, and not one more. */
static void
expect_pdus(unsigned n)
{
	UNTIL(fx.nnews >= n);
	turns(6);
	ck_assert_uint_eq(fx.nnews, n);
}

/* --- 64 PDUs, 32 MiB */

START_TEST(test_pdus_of_a_task)
{
	unsigned i;

	fx_adopt();
	begun(command(7), MSG_EXPECT_MANY, 1);
	begun(command(8), MSG_EXPECT_MANY, 2);
	for (i = 0; i < 63; i++)
		say_data(7, 0);
	say_data(8, 0);
	expect_pdus(64);
	for (i = 0; i < 3; i++)
		say_data(7, 0);
	expect_pdus(65);
	/* The other task's PDU, between them, makes no room for this one. */
	client_reads(1);
	expect_pdus(66);
	client_reads(62);
	expect_pdus(67);
	client_reads_all();
	for (i = 0; i < 63; i++)
		say_data(7, 0);
	say_data(8, 0);
	expect_pdus(67 + 64);
	client_reads_all();
}
END_TEST

/* When it ends its PDUs hold nobody up, and make no room for others. */
START_TEST(test_a_full_task_ends)
{
	unsigned i;

	fx_adopt();
	begun(command(7), MSG_EXPECT_MANY, 1);
	begun(command(8), MSG_EXPECT_MANY, 2);
	for (i = 0; i < 64; i++)
		say_data(7, 0);
	say_data(8, 0);
	expect_pdus(64);
	/* Waited for anew: the same tag, but another task. */
	ck_assert(raw_cancel(fx.raw, MSG_CANCEL_ITT, 7));
	expect_pdus(65);
	begun(command(7), MSG_EXPECT_MANY, 3);
	client_reads(1);
	expect_pdus(66);
	for (i = 0; i < 64; i++)
		say_data(7, 0);
	say_data(8, 0);
	expect_pdus(66 + 64);
	/* Of the other task, and the outcome. */
	client_reads(63 + 1 + 1);
	expect_pdus(66 + 64);
	client_reads(1);
	expect_pdus(66 + 65);
	client_reads_all();
}
END_TEST

START_TEST(test_pdus_of_none)
{
	unsigned i;

	fx.events = 1u << MSG_EVENT_UNSOLICITED;
	fx_adopt();
	for (i = 0; i < 32; i++) {
		say_data(7, 0);
		say(from_target(ISCSI_OP_NOP_IN, ISCSI_FLAG_FINAL, RSV), NULL,
		    0);
	}
	say_data(7, 0);
	expect_pdus(64);
	client_reads(1);
	expect_pdus(65);
	client_reads_all();
	for (i = 0; i < 64; i++)
		say_data(7, 0);
	expect_pdus(65 + 64);
	client_reads_all();
}
END_TEST

/* Row 0: the limit is reached to the byte; row 1: by one word it is not. */
START_TEST(test_bytes_in_all)
{
	const uint32_t len = ALL_BYTES / 64 - RAW_PDU_OVERHEAD;
	unsigned i;

	fx_adopt();
	begun(command(7), MSG_EXPECT_MANY, 1);
	begun(command(8), MSG_EXPECT_MANY, 2);
	begun(command(9), MSG_EXPECT_MANY, 3);
	for (i = 0; i < 63; i++)
		say_data(7 + i % 2, len);
	expect_pdus(63);
	say_data(7, len - (_i == 0 ? 0 : 4));
	say_data(9, 0);
	say_data(9, 0);
	expect_pdus(_i == 0 ? 64 : 65);
	ck_assert_uint_ge(fx.quota->used.in, ALL_BYTES - 4);
	client_reads(1);
	expect_pdus(66);
	client_reads_all();
	ck_assert_uint_eq(fx.quota->used.in, 0);
}
END_TEST

/* Over its quota the client gets the PDU, but first reads all there is. */
START_TEST(test_inbound_quota)
{
	fx.max.in = 2 * RAW_PDU_OVERHEAD + 1000;
	fx_adopt();
	begun(command(7), MSG_EXPECT_MANY, 1);
	say_data(7, 600);
	say_data(7, 400);
	expect_pdus(2);
	ck_assert_uint_eq(fx.quota->used.in, fx.max.in);
	say_data(7, 0);
	say_data(7, 0);
	expect_pdus(3);
	ck_assert_uint_eq(fx.quota->used.in, fx.max.in);
	client_reads(2);
	expect_pdus(3);
	client_reads(1);
	expect_pdus(4);
	client_reads_all();
	ck_assert_uint_eq(fx.quota->used.in, 0);
}
END_TEST

/* Tickets of an earlier connection of the client count for nothing. */
START_TEST(test_tickets_of_another)
{
	unsigned i;

	fx_adopt();
	say_data(7, 0);
	expect_pdus(1);
	raw_free(fx.raw);
	close(fx.peer);
	fx_adopt();
	for (i = 0; i < 64; i++)
		say_data(7, 0);
	say_data(7, 0);
	expect_pdus(65);
	client_reads(1);
	expect_pdus(65);
	client_reads(1);
	expect_pdus(66);
}
END_TEST

/* --- what the client sends */

/* Nothing is refused; the client is not read until there is room. */
START_TEST(test_outbound_quota)
{
	fx.max.out = 20000;
	fx.small = true;
	fx_adopt();
	turns(2);
	accepted(command(7), 15000, 1);
	ck_assert(!raw_paused(fx.raw));
	accepted(command(8), 100000, 2);
	ck_assert(raw_paused(fx.raw));
	turns(3);
	ck_assert(raw_paused(fx.raw));
	ck_assert_uint_eq(fx.nnews, 0);
	wire(ISCSI_OP_SCSI_CMD);
	wire(ISCSI_OP_SCSI_CMD);
	news(NEWS_ROOM, 0);
	ck_assert(!raw_paused(fx.raw));
	no_news();
	ck_assert_uint_eq(fx.quota->used.out, 0);
}
END_TEST

START_TEST(test_task_quota)
{
	fx.max.tasks = 1;
	fx_adopt();
	begun(command(7), MSG_EXPECT_MANY, 1);
	refused(SUBMIT_REFUSED, command(8), 0, MSG_R_QUOTA);
	say(from_target(ISCSI_OP_SCSI_RSP, ISCSI_FLAG_FINAL, 7), NULL, 0);
	pdu_news(ISCSI_OP_SCSI_RSP, 0, 1);
	client_reads_all();
	begun(command(8), MSG_EXPECT_MANY, 2);
}
END_TEST

/* --- SET */

static bool
set(struct msg_set m)
{
	return raw_set(fx.raw, &m, &fx.why);
}

static bool
set_flags(uint32_t flags)
{
	return set((struct msg_set){ .mask = flags, .flags = flags });
}

/* Digests and their byte order, both ways, from the next PDU on. */
START_TEST(test_set_digests)
{
	const struct pdu_framing framing = {
		.header_digest = (_i & 1) != 0, .data_digest = (_i & 2) != 0,
		.order = (_i & 4) != 0 ? CRC32C_BIG : CRC32C_LITTLE
	};
	const uint32_t flags = (uint32_t)_i | MSG_RAW_SHOW_DIGESTS;
	const struct news *n;

	fx_adopt();
	begun(command(7), MSG_EXPECT_MANY, 1);
	say_data(7, 5);
	n = pdu_news(ISCSI_OP_DATA_IN, 0, 1);
	ck_assert(!n->digests.header && !n->digests.data);
	ck_assert(set_flags(flags));
	ck_assert_uint_eq(state().params.flags &
	    (MSG_RAW_SETTABLE | MSG_RAW_ADOPTED), flags | MSG_RAW_ADOPTED);
	fx.framing = framing;
	pdu_parser_set_framing(&fx.parser, &framing);
	say_data(7, 5);
	n = pdu_news(ISCSI_OP_DATA_IN, 0, 1);
	ck_assert_int_eq(n->digests.header, framing.header_digest);
	ck_assert_int_eq(n->digests.data, framing.data_digest);
	accepted(command(8), 5, 2);
	wire(ISCSI_OP_SCSI_CMD);
	ck_assert(set((struct msg_set){ .mask = flags }));
	fx.framing = (struct pdu_framing){ 0 };
	pdu_parser_set_framing(&fx.parser, &fx.framing);
	say_data(7, 5);
	n = pdu_news(ISCSI_OP_DATA_IN, 0, 1);
	ck_assert(!n->digests.header && !n->digests.data);
	accepted(command(9), 5, 3);
	wire(ISCSI_OP_SCSI_CMD);
}
END_TEST

START_TEST(test_set_recv_dsl)
{
	fx_adopt();
	begun(command(7), MSG_EXPECT_MANY, 1);
	ck_assert(set((struct msg_set){
	    .mask = MSG_RAW_SET_RECV_DSL, .recv_dsl = 100 }));
	ck_assert_uint_eq(state().params.recv_dsl, 100);
	ck_assert_uint_eq(state().params.send_dsl, 1 << 20);
	say_data(7, 100);
	pdu_news(ISCSI_OP_DATA_IN, 0, 1);
	ck_assert(set((struct msg_set){ .mask = MSG_RAW_SET_RECV_DSL }));
	say_data(7, 200);
	pdu_news(ISCSI_OP_DATA_IN, 0, 1);
	ck_assert(set((struct msg_set){
	    .mask = MSG_RAW_SET_RECV_DSL, .recv_dsl = 100 }));
	say_data(7, 101);
	outcome(1, MSG_OUTCOME_UNKNOWN, MSG_R_CONNECTION_LOST);
	closed(EPROTO);
}
END_TEST

START_TEST(test_set_send_dsl)
{
	fx_adopt();
	ck_assert(set((struct msg_set){
	    .mask = MSG_RAW_SET_SEND_DSL, .send_dsl = 100 }));
	ck_assert_uint_eq(state().params.recv_dsl, 1 << 20);
	accepted(command(7), 100, 1);
	refused(SUBMIT_REFUSED, command(8), 101, MSG_R_DATA_LIMIT);
	counts(1, 1);
	ck_assert(set((struct msg_set){ .mask = MSG_RAW_SET_SEND_DSL }));
	accepted(command(8), 101, 2);
}
END_TEST

START_TEST(test_set_unchecked)
{
	struct msg_digests own = { .header = true };

	fx.may_uncheck = _i == 1;
	fx_adopt();
	ck_assert(set((struct msg_set){
	    .mask = MSG_RAW_SET_SEND_DSL, .send_dsl = 100 }));
	fx.options.digests = own;
	refused(SUBMIT_REFUSED, command(7), 0, MSG_R_NOT_PERMITTED);
	ck_assert_int_eq(set_flags(MSG_RAW_UNCHECKED | MSG_RAW_HEADER_DIGEST),
	    _i == 1);
	if (_i == 0) {
		ck_assert_uint_eq(fx.why.reason, MSG_R_NOT_PERMITTED);
		ck_assert_uint_eq(state().params.flags & MSG_RAW_SETTABLE, 0);
		return;
	}
	fx.options.digests = own;
	accepted(command(7), 101, 1);
}
END_TEST

START_TEST(test_set_read_deadline)
{
	const struct msg_set soon = {
		.mask = MSG_RAW_SET_READ_DEADLINE, .read_deadline = 1
	};
	struct msg_set later = soon;

	fx_adopt();
	later.read_deadline = 60000;
	ck_assert(set(soon));
	ck_assert(set(later));
	ck_assert_uint_gt(state().read_deadline, 1);
	ck_assert_uint_eq(state().write_deadline, 0);
	ck_assert_uint_le(state().read_deadline, 60000);
	ck_assert(set((struct msg_set){
	    .mask = MSG_RAW_SET_READ_DEADLINE }));
	ck_assert_uint_eq(state().read_deadline, 0);
	begun(command(7), MSG_EXPECT_MANY, 1);
	ck_assert(set(soon));
	outcome(1, MSG_OUTCOME_UNKNOWN, MSG_R_CONNECTION_LOST);
	closed(ETIMEDOUT);
}
END_TEST

/* Over, it ends the connection with the next byte to be written. */
START_TEST(test_set_write_deadline)
{
	const struct msg_set soon = {
		.mask = MSG_RAW_SET_WRITE_DEADLINE, .write_deadline = 1
	};

	fx_adopt();
	begun(command(7), MSG_EXPECT_MANY, 1);
	ck_assert(set(soon));
	UNTIL(fx.raw->write_over);
	say_data(7, 4);
	pdu_news(ISCSI_OP_DATA_IN, 0, 1);
	ck_assert(set((struct msg_set){
	    .mask = MSG_RAW_SET_WRITE_DEADLINE }));
	begun(command(8), MSG_EXPECT_MANY, 2);
	ck_assert(set(soon));
	UNTIL(fx.raw->write_over);
	accepted(command(9), 0, 3);
	outcome(1, MSG_OUTCOME_UNKNOWN, MSG_R_CONNECTION_LOST);
	outcome(2, MSG_OUTCOME_UNKNOWN, MSG_R_CONNECTION_LOST);
	outcome(3, MSG_OUTCOME_NOT_SENT, MSG_R_CONNECTION_LOST);
	closed(ETIMEDOUT);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("raw_flow");
	TCase *tc = tcase_create("flow");

	tcase_add_checked_fixture(tc, fx_setup, fx_teardown);
	tcase_set_timeout(tc, 30);
	tcase_add_test(tc, test_pdus_of_a_task);
	tcase_add_test(tc, test_a_full_task_ends);
	tcase_add_test(tc, test_pdus_of_none);
	tcase_add_loop_test(tc, test_bytes_in_all, 0, 2);
	tcase_add_test(tc, test_inbound_quota);
	tcase_add_test(tc, test_tickets_of_another);
	tcase_add_test(tc, test_outbound_quota);
	tcase_add_test(tc, test_task_quota);
	tcase_add_loop_test(tc, test_set_digests, 0, 8);
	tcase_add_test(tc, test_set_recv_dsl);
	tcase_add_test(tc, test_set_send_dsl);
	tcase_add_loop_test(tc, test_set_unchecked, 0, 2);
	tcase_add_test(tc, test_set_read_deadline);
	tcase_add_test(tc, test_set_write_deadline);
	suite_add_tcase(suite, tc);
	return unit_run(suite);
}
