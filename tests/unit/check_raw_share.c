/* SPDX-License-Identifier: ISC */
/*
 * A raw connection (daemon/raw.h) that becomes a session, and one again
 * (daemon/session_share.c).
 */
#include "config.h"

#include <sys/socket.h>

#include <errno.h>

#include "tests/unit/raw_fixture.h"

static uint8_t *
command(uint32_t itt)
{
	return request(ISCSI_OP_SCSI_CMD, ISCSI_FLAG_FINAL | ISCSI_CMD_READ,
	    itt);
}

/* --- to a session */

static uint8_t nop[ISCSI_BHS_LEN];	/* the one that asks for numbers */

static void
share(void)
{
	ck_assert_msg(raw_share(fx.raw, "shared", &fx.why), "%s",
	    fx.why.text);
	memcpy(nop, wire(ISCSI_OP_NOP_OUT)->bhs, sizeof(nop));
	ck_assert_uint_eq(nop[ISCSI_OFF_OPCODE],
	    ISCSI_OP_NOP_OUT | ISCSI_IMMEDIATE);
	ck_assert_uint_eq(nop[ISCSI_OFF_FLAGS], ISCSI_FLAG_FINAL);
	ck_assert_uint_eq(iscsi_ttt(nop), RSV);
	ck_assert_uint_ne(iscsi_itt(nop), RSV);
	ck_assert_uint_eq(fx.got.len, 0);
}

static void
answer_nop(void)
{
	say(from_target(ISCSI_OP_NOP_IN, ISCSI_FLAG_FINAL, iscsi_itt(nop)),
	    NULL, 0);
}

static void
not_shared(unsigned reason)
{
	ck_assert_str_eq(msg_reason_name(news(NEWS_SHARED, 0)->why.reason),
	    msg_reason_name(reason));
	ck_assert_ptr_null(fx.a);
	ck_assert_ptr_nonnull(fx.raw);
	ck_assert(raw_is_open(fx.raw));
}

/* The numbers of the NOP-Out are those seen, all others the target's. */
START_TEST(test_share)
{
	struct refusal why;
	struct txpdu *pdu;
	uint8_t *bhs;

	fx_adopt();
	bhs = command(7);
	put_be32(bhs + ISCSI_OFF_CMDSN, CMDSN + 5);
	begun(bhs, MSG_EXPECT_MANY, 1);
	fx.statsn += 4;
	fx.expcmdsn += 4;
	say(from_target(ISCSI_OP_SCSI_RSP, ISCSI_FLAG_FINAL, 7), NULL, 0);
	pdu_news(ISCSI_OP_SCSI_RSP, 0, 1);
	share();
	ck_assert_uint_eq(get_be32(nop + ISCSI_OFF_CMDSN), CMDSN + 6);
	ck_assert_uint_eq(get_be32(nop + ISCSI_OFF_EXPSTATSN), STATSN + 5);
	/* What the target says counts, whatever was seen. */
	fx.statsn = 500;
	fx.expcmdsn = 70;
	answer_nop();
	ck_assert_uint_eq(news(NEWS_SHARED, 0)->why.reason, MSG_R_NONE);
	ck_assert_ptr_nonnull(fx.a);
	ck_assert_ptr_null(fx.raw);
	ck_assert_ptr_eq(session_find(fx.worker, "shared"),
	    session_of(fx.a));
	pdu = txpdu_new(fx.worker);
	memcpy(pdu->bhs, request(ISCSI_OP_NOP_OUT, ISCSI_FLAG_FINAL, 9),
	    ISCSI_BHS_LEN);
	ck_assert_int_eq(session_submit(fx.a, pdu, 2, 0, &why),
	    SUBMIT_ACCEPTED);
	wire(ISCSI_OP_NOP_OUT);
	ck_assert_uint_eq(get_be32(fx.got.bhs + ISCSI_OFF_CMDSN), 70);
	ck_assert_uint_eq(get_be32(fx.got.bhs + ISCSI_OFF_EXPSTATSN), 501);
}
END_TEST

/* The rules of the name hold for the owner as well. */
START_TEST(test_access_of_the_owner)
{
	struct msg_attached attached;

	fx_adopt();
	share();
	fx.not_granted = MSG_ACCESS_RESET;
	answer_nop();
	ck_assert_uint_eq(news(NEWS_SHARED, 0)->why.reason, MSG_R_NONE);
	session_attached_get(fx.a, &attached);
	ck_assert_uint_eq(attached.access,
	    MSG_ACCESS_ALL & ~(uint32_t)MSG_ACCESS_RESET);
}
END_TEST

/* Meanwhile the name has become one that is not for him. */
START_TEST(test_name_of_others)
{
	fx_adopt();
	share();
	fx.not_granted = MSG_ACCESS_ALL;
	answer_nop();
	not_shared(MSG_R_BUSY);
	fx.not_granted = 0;
	share();
	answer_nop();
	ck_assert_uint_eq(news(NEWS_SHARED, 0)->why.reason, MSG_R_NONE);
}
END_TEST

/* Meanwhile the daemon answers pings, and the client must wait. */
START_TEST(test_while_it_is_shared)
{
	const struct msg_set m = { .mask = MSG_RAW_SET_SEND_DSL };
	const uint64_t lun = UINT64_C(0x0003000000000000);
	struct msg_exported exported;
	struct slices unread;
	uint8_t *bhs;

	fx.events = 1u << MSG_EVENT_UNSOLICITED;
	fx_adopt();
	share();
	ck_assert(raw_is_open(fx.raw));
	refused(SUBMIT_REFUSED, command(7), 0, MSG_R_BUSY);
	ck_assert(!raw_set(fx.raw, &m, &fx.why));
	ck_assert_uint_eq(fx.why.reason, MSG_R_BUSY);
	slices_init(&unread);
	ck_assert_int_eq(raw_export(fx.raw, &exported, &unread, &fx.why), -1);
	ck_assert_uint_eq(fx.why.reason, MSG_R_BUSY);
	ck_assert(!raw_share(fx.raw, "other", &fx.why));
	ck_assert_uint_eq(fx.why.reason, MSG_R_BUSY);
	bhs = from_target(ISCSI_OP_NOP_IN, ISCSI_FLAG_FINAL, RSV);
	say(bhs, NULL, 0);
	put_be64(bhs + ISCSI_OFF_LUN, lun);
	put_be32(bhs + ISCSI_OFF_TTT, 0x4711);
	say(bhs, NULL, 0);
	wire(ISCSI_OP_NOP_OUT);
	ck_assert_uint_eq(iscsi_itt(fx.got.bhs), RSV);
	ck_assert_uint_eq(iscsi_ttt(fx.got.bhs), 0x4711);
	ck_assert_uint_eq(iscsi_lun(fx.got.bhs), lun);
	ck_assert(iscsi_is_immediate(fx.got.bhs));
	wire_quiet();
	no_news();
	answer_nop();
	ck_assert_uint_eq(news(NEWS_SHARED, 0)->why.reason, MSG_R_NONE);
}
END_TEST

/* No NOP-In answers: no session, and a later try works. */
START_TEST(test_odd_answers)
{
	fx.events = 1u << MSG_EVENT_UNSOLICITED;
	fx_adopt();
	share();
	switch (_i) {
	case 0:
		say_reject(nop);
		break;
	case 1:
		say(from_target(ISCSI_OP_SCSI_RSP, ISCSI_FLAG_FINAL,
		    iscsi_itt(nop)), NULL, 0);
		break;
	default:
		say(from_target(ISCSI_OP_DATA_IN, 0, iscsi_itt(nop)), NULL,
		    0);
		not_shared(MSG_R_DEADLINE);
		counts(0, 1);
		answer_nop();
		pdu_news(ISCSI_OP_NOP_IN, FRAME_F_UNMATCHED, 0);
		break;
	}
	if (_i < 2)
		not_shared(MSG_R_DEADLINE);
	counts(0, 0);
	begun(command(7), MSG_EXPECT_MANY, 1);
	say(from_target(ISCSI_OP_SCSI_RSP, ISCSI_FLAG_FINAL, 7), NULL, 0);
	pdu_news(ISCSI_OP_SCSI_RSP, 0, 1);
	share();
	answer_nop();
	ck_assert_uint_eq(news(NEWS_SHARED, 0)->why.reason, MSG_R_NONE);
	ck_assert_ptr_nonnull(fx.a);
}
END_TEST

START_TEST(test_no_answer)
{
	fx.config.limits.abort_timeout = 1;
	fx_adopt();
	share();
	not_shared(MSG_R_DEADLINE);
	/* The target may still answer, so there is no second try. */
	ck_assert(!raw_share(fx.raw, "shared", &fx.why));
	ck_assert_uint_eq(fx.why.reason, MSG_R_BUSY);
	answer_nop();
	pdu_news(ISCSI_OP_NOP_IN, FRAME_F_UNMATCHED, 0);
	counts(0, 0);
	no_news();
}
END_TEST

START_TEST(test_connection_lost_while_it_is_shared)
{
	fx_adopt();
	share();
	ck_assert_int_eq(shutdown(fx.peer, SHUT_WR), 0);
	UNTIL(fx.nnews == 2);
	ck_assert_uint_eq(news(NEWS_SHARED, 0)->why.reason,
	    MSG_R_CONNECTION_LOST);
	closed(ECONNRESET);
}
END_TEST

static void
not_allowed(const char *name, unsigned reason)
{
	ck_assert(!raw_share(fx.raw, name, &fx.why));
	ck_assert_str_eq(msg_reason_name(fx.why.reason),
	    msg_reason_name(reason));
	ck_assert(raw_is_open(fx.raw));
	no_news();
}

START_TEST(test_share_not_allowed)
{
	fx.small = true;
	if (_i == 0)
		fx.params.phase = MSG_RAW_LOGIN;
	if (_i == 1)
		fx.params.flags |= MSG_RAW_DISCOVERY;
	fx_adopt();
	turns(2);
	switch (_i) {
	case 0:
		not_allowed("shared", MSG_R_BAD_STATE);
		break;
	case 1:
		not_allowed("shared", MSG_R_NOT_SUPPORTED);
		break;
	case 2:
		begun(command(7), MSG_EXPECT_NONE, 1);
		not_allowed("shared", MSG_R_BUSY);
		say(from_target(ISCSI_OP_SCSI_RSP, ISCSI_FLAG_FINAL, 7), NULL,
		    0);
		pdu_news(ISCSI_OP_SCSI_RSP, FRAME_F_UNMATCHED, 0);
		share();
		break;
	case 3:
		accepted(request(ISCSI_OP_DATA_OUT, ISCSI_FLAG_FINAL, 7),
		    131072, 1);
		turns(3);
		not_allowed("shared", MSG_R_BUSY);
		break;
	default:
		not_allowed("", MSG_R_BAD_FIELD);
		not_allowed("a/b", MSG_R_BAD_FIELD);
		break;
	}
}
END_TEST

/* --- and back */

static struct raw *
unshare(void)
{
	struct raw *r = fx_unshare();

	if (r != NULL) {
		fx.a = NULL;
		fx.raw = r;
	}
	return r;
}

START_TEST(test_unshare)
{
	struct msg_state m;

	fx.params.flags |= MSG_RAW_INITIAL_R2T;
	fx_adopt();
	share();
	fx.statsn = 500;
	fx.expcmdsn = 70;
	answer_nop();
	news(NEWS_SHARED, 0);
	ck_assert_ptr_nonnull(unshare());
	ck_assert_ptr_null(session_next(fx.worker, NULL));
	m = state();
	ck_assert_uint_eq(m.params.flags, MSG_RAW_INITIAL_R2T |
	    MSG_RAW_NUMBERS | MSG_RAW_ADOPTED);
	ck_assert_uint_eq(m.params.cmdsn, 70);
	ck_assert_uint_eq(m.params.exp_cmdsn, 70);
	ck_assert_uint_eq(m.params.max_cmdsn, 133);
	ck_assert_uint_eq(m.params.exp_statsn, 501);
	ck_assert_str_eq(m.params.target, fx.params.target);
	begun(command(7), MSG_EXPECT_MANY, 1);
	say(from_target(ISCSI_OP_SCSI_RSP, ISCSI_FLAG_FINAL, 7), NULL, 0);
	pdu_news(ISCSI_OP_SCSI_RSP, 0, 1);
	share();
	answer_nop();
	ck_assert_uint_eq(news(NEWS_SHARED, 0)->why.reason, MSG_R_NONE);
}
END_TEST

/* With a task open it stays a session. */
START_TEST(test_unshare_busy)
{
	struct txpdu *pdu;

	fx_adopt();
	share();
	answer_nop();
	news(NEWS_SHARED, 0);
	pdu = txpdu_new(fx.worker);
	memcpy(pdu->bhs, request(ISCSI_OP_NOP_OUT | ISCSI_IMMEDIATE,
	    ISCSI_FLAG_FINAL, 9), ISCSI_BHS_LEN);
	ck_assert_int_eq(session_submit(fx.a, pdu, 2, 0, &fx.why),
	    SUBMIT_ACCEPTED);
	memcpy(nop, wire(ISCSI_OP_NOP_OUT)->bhs, sizeof(nop));
	ck_assert_ptr_null(unshare());
	ck_assert_uint_eq(fx.why.reason, MSG_R_BUSY);
	fx.denied = true;
	ck_assert_ptr_null(unshare());
	ck_assert_uint_eq(fx.why.reason, MSG_R_NOT_PERMITTED);
	fx.denied = false;
	fx.statsn++;
	answer_nop();
	pdu_news(ISCSI_OP_NOP_IN, 0, 2);
	ck_assert_ptr_nonnull(unshare());
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("raw_share");
	TCase *tc = tcase_create("share");

	tcase_add_checked_fixture(tc, fx_setup, fx_teardown);
	tcase_set_timeout(tc, 30);
	tcase_add_test(tc, test_share);
	tcase_add_test(tc, test_access_of_the_owner);
	tcase_add_test(tc, test_name_of_others);
	tcase_add_test(tc, test_while_it_is_shared);
	tcase_add_loop_test(tc, test_odd_answers, 0, 3);
	tcase_add_test(tc, test_no_answer);
	tcase_add_test(tc, test_connection_lost_while_it_is_shared);
	tcase_add_loop_test(tc, test_share_not_allowed, 0, 5);
	tcase_add_test(tc, test_unshare);
	tcase_add_test(tc, test_unshare_busy);
	suite_add_tcase(suite, tc);
	return unit_run(suite);
}
