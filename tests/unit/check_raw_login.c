/* SPDX-License-Identifier: ISC */
/*
 * The login of a raw connection's client (daemon/raw.h): what may pass, and
 * what the daemon learns of it.
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
		.reconnect_interval = 60000, .reconnect_max = 60000,
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
	/* It must not outlive its configuration. */
	session_free(s, "the test ends");
	turns(1);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("raw_login");
	TCase *tc = tcase_create("login");

	tcase_add_checked_fixture(tc, fx_setup, fx_teardown);
	tcase_set_timeout(tc, 30);
	tcase_add_test(tc, test_login);
	tcase_add_test(tc, test_login_after_set);
	tcase_add_test(tc, test_login_manual);
	tcase_add_loop_test(tc, test_bad_login_answers, 0, 3);
	tcase_add_test(tc, test_login_fails);
	tcase_add_test(tc, test_reinstatement);
	suite_add_tcase(suite, tc);
	return unit_run(suite);
}
