/* SPDX-License-Identifier: ISC */
/*
 * What a raw connection (daemon/raw.h) reads and when it does not, what SET
 * changes, and how it goes through a login.
 */
#include "config.h"

#include <errno.h>
#include <unistd.h>

#include "tests/unit/raw_fixture.h"

#define LOGIN_END	(ISCSI_LOGIN_TRANSIT | 0x04 | ISCSI_STAGE_FULL_FEATURE)

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
	const uint32_t len = RAW_BYTES_MAX / 64 - RAW_PDU_OVERHEAD;
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
	ck_assert_uint_ge(fx.quota->used.in, RAW_BYTES_MAX - 4);
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

/* --- the login */

static void
adopt_new(void)
{
	fx.params = (struct msg_raw_params){ .phase = MSG_RAW_LOGIN };
	fx_adopt();
}

static const char text[] = "InitiatorName=iqn.2026-01.org.example:me\n"
    "TargetName=iqn.2026-01.org.example:disk\nHeaderDigest=CRC32C\n"
    "DataDigest=CRC32C\nMaxRecvDataSegmentLength=20000\n";

/*
 * The final response and a PDU right behind it in one write: with digests
 * now, and longer than a login's may be.
 */
static void
log_in(void)
{
	const struct pdu_framing both = {
		.header_digest = true, .data_digest = true
	};
	static const char answer[] = "HeaderDigest=CRC32C\0DataDigest=CRC32C\0"
	    "MaxRecvDataSegmentLength=30000";
	uint8_t buf[32768], *bhs;
	size_t len;

	submit_login(LOGIN_END, 1, text, 1);
	wire(ISCSI_OP_LOGIN_REQ);
	bhs = from_target(ISCSI_OP_LOGIN_RSP, LOGIN_END, 1);
	put_be32(bhs + ISCSI_OFF_TTT, 0);
	put_be16(bhs + ISCSI_OFF_TSIH, 7);
	len = lay_out(buf, sizeof(buf), bhs, answer, sizeof(answer),
	    &fx.framing);
	fx.framing = both;
	len += lay_out(buf + len, sizeof(buf) - len,
	    from_target(ISCSI_OP_DATA_IN, 0, 7), NULL, 20000, &both);
	say_bytes(buf, len);
	pdu_news(ISCSI_OP_LOGIN_RSP, 0, 1);
}

START_TEST(test_login)
{
	struct msg_state m;

	adopt_new();
	refused(SUBMIT_REFUSED, command(7), 0, MSG_R_BAD_OPCODE);
	refused(SUBMIT_REFUSED, request(ISCSI_OP_LOGIN_REQ, 0x04, 7), 8193,
	    MSG_R_DATA_LIMIT);
	log_in();
	pdu_news(ISCSI_OP_DATA_IN, FRAME_F_UNMATCHED, 0);
	m = state();
	ck_assert_uint_eq(m.params.phase, MSG_RAW_FULL_FEATURE);
	ck_assert_uint_eq(m.params.flags & MSG_RAW_SETTABLE,
	    MSG_RAW_HEADER_DIGEST | MSG_RAW_DATA_DIGEST);
	ck_assert_uint_eq(m.params.recv_dsl, 20000);
	ck_assert_uint_eq(m.params.send_dsl, 30000);
	ck_assert_uint_eq(m.params.tsih, 7);
	ck_assert_str_eq(m.params.target, "iqn.2026-01.org.example:disk");
	pdu_parser_set_framing(&fx.parser, &fx.framing);
	accepted(command(7), 30000, 2);
	wire(ISCSI_OP_SCSI_CMD);
	refused(SUBMIT_REFUSED, command(8), 30001, MSG_R_DATA_LIMIT);
}
END_TEST

/* What SET said before stays. */
START_TEST(test_login_after_set)
{
	adopt_new();
	ck_assert(set((struct msg_set){ .mask = MSG_RAW_SET_SEND_DSL |
	    MSG_RAW_SET_RECV_DSL, .send_dsl = 40000, .recv_dsl = 50000 }));
	log_in();
	pdu_news(ISCSI_OP_DATA_IN, FRAME_F_UNMATCHED, 0);
	ck_assert_uint_eq(state().params.send_dsl, 40000);
	ck_assert_uint_eq(state().params.recv_dsl, 50000);
}
END_TEST

/* Nothing is parsed behind the final response until the client says how. */
START_TEST(test_login_manual)
{
	adopt_new();
	ck_assert(set_flags(MSG_RAW_MANUAL));
	log_in();
	no_news();
	client_reads_all();
	no_news();
	ck_assert_uint_eq(state().params.phase, MSG_RAW_FULL_FEATURE);
	ck_assert_uint_eq(state().params.flags & MSG_RAW_SETTABLE,
	    MSG_RAW_MANUAL);
	ck_assert(set((struct msg_set){ .mask = MSG_RAW_HEADER_DIGEST |
	    MSG_RAW_DATA_DIGEST | MSG_RAW_SET_RECV_DSL,
	    .flags = MSG_RAW_HEADER_DIGEST | MSG_RAW_DATA_DIGEST,
	    .recv_dsl = 20000 }));
	pdu_news(ISCSI_OP_DATA_IN, FRAME_F_UNMATCHED, 0);
}
END_TEST

/* Nothing but Login Responses and Rejects, and no more than 8192 bytes. */
START_TEST(test_bad_login_answers)
{
	adopt_new();
	submit_login(LOGIN_END, 1, text, 1);
	wire(ISCSI_OP_LOGIN_REQ);
	switch (_i) {
	case 0:
		say(from_target(ISCSI_OP_NOP_IN, ISCSI_FLAG_FINAL, RSV), NULL,
		    0);
		break;
	case 1:
		say(from_target(ISCSI_OP_LOGIN_RSP, 0x04, 1), NULL, 8196);
		break;
	default:
		say_reject(request(ISCSI_OP_LOGIN_REQ | ISCSI_IMMEDIATE,
		    LOGIN_END, 1));
		pdu_news(ISCSI_OP_REJECT, 0, 1);
		counts(0, 0);
		no_news();
		return;
	}
	outcome(1, MSG_OUTCOME_UNKNOWN, MSG_R_CONNECTION_LOST);
	closed(EPROTO);
}
END_TEST

/* A refused login may be tried again, and the socket be given away. */
START_TEST(test_login_fails)
{
	struct msg_exported m;
	struct slices unread;
	uint8_t *bhs;
	int fd;

	adopt_new();
	submit_login(LOGIN_END, 1, text, 1);
	wire(ISCSI_OP_LOGIN_REQ);
	slices_init(&unread);
	ck_assert_int_eq(raw_export(fx.raw, &m, &unread, &fx.why), -1);
	ck_assert_uint_eq(fx.why.reason, MSG_R_BUSY);
	bhs = from_target(ISCSI_OP_LOGIN_RSP, 0, 1);
	bhs[ISCSI_OFF_LOGIN_STATUS] = 2;
	say(bhs, NULL, 0);
	pdu_news(ISCSI_OP_LOGIN_RSP, 0, 1);
	counts(0, 0);
	client_reads_all();
	fd = raw_export(fx.raw, &m, &unread, &fx.why);
	ck_assert_int_ge(fd, 0);
	close(fd);
	fx.raw = NULL;
	ck_assert_uint_eq(m.params.phase, MSG_RAW_LOGIN);
}
END_TEST

/* The name and target of a session of the daemon's, with its ISID or not. */
START_TEST(test_reinstatement)
{
	static char name[] = "disk", target[] = "iqn.2026-01.org.example:disk";
	static char host[] = "127.0.0.1";
	static const char mine[] = "InitiatorName=iqn.2026-01.org.example:"
	    "daemon\0TargetName=iqn.2026-01.org.example:disk";
	struct config_session conf = {
		.name = name, .target = target,
		.portal = { host, host, 1 }, .connect_timeout = 60000,
		.reconnect_interval = 60000,
	};
	struct session *s = session_new(fx.worker, &conf);
	uint8_t *bhs = request(ISCSI_OP_LOGIN_REQ | ISCSI_IMMEDIATE,
	    LOGIN_END, 1);

	adopt_new();
	session_start(s);
	put_be32(bhs + ISCSI_OFF_TTT, 0);
	memcpy(bhs + ISCSI_OFF_ISID, s->isid, 6);
	ck_assert_int_eq(submit(bhs, mine, sizeof(mine), 1), SUBMIT_REFUSED);
	ck_assert_uint_eq(fx.why.reason, MSG_R_REINSTATE);
	ck_assert_ptr_nonnull(strstr(fx.why.text, "session disk"));
	counts(0, 0);
	wire_quiet();
	bhs[ISCSI_OFF_ISID + 5] ^= 1;
	ck_assert_int_eq(submit(bhs, mine, sizeof(mine), 1), SUBMIT_ACCEPTED);
	wire(ISCSI_OP_LOGIN_REQ);
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
	tcase_add_test(tc, test_login);
	tcase_add_test(tc, test_login_after_set);
	tcase_add_test(tc, test_login_manual);
	tcase_add_loop_test(tc, test_bad_login_answers, 0, 3);
	tcase_add_test(tc, test_login_fails);
	tcase_add_test(tc, test_reinstatement);
	suite_add_tcase(suite, tc);
	return unit_run(suite);
}
