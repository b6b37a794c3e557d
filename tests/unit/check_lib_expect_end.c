/* SPDX-License-Identifier: ISC */
/*
 * libiscsimux: how PDUs on a raw connection end.  Whether the target, the
 * daemon or the caller goes first, each ends exactly once, and none goes to
 * a connection that it was not meant for.
 */
#include "config.h"

#include <errno.h>
#include <string.h>

#include "tests/unit/lib_submit_fixture.h"

/*
 * The TCP connection ends: what the daemon had ends as it says, what crossed
 * its news is answered wrong-state, what had not left ends here.
 */
START_TEST(test_connection_ends)
{
	uint8_t bhs[ISCSI_BHS_LEN];
	const struct iscsimux_pdu pdu = { .bhs = bhs };
	const struct iscsimux_open o = { .portal = "x" };
	struct fake_status opened = { 0 };
	uint64_t id[MANY];
	unsigned i;

	make_bhs(bhs, ISCSI_OP_DATA_OUT);
	for (i = 0; i < 2; i++) {
		ck_assert_int_eq(submit(i, ISCSI_OP_SCSI_CMD, NULL, &id[i]),
		    0);
		fake_want(&f, FRAME_SUBMIT);
	}
	/* Queued, and not seen by a service. */
	ck_assert_int_eq(submit(2, ISCSI_OP_SCSI_CMD, NULL, &id[2]), 0);
	ck_assert_int_eq(iscsimux_submit_more(f.h, id[1], &pdu, 0), 0);
	fake_outcome(&f, id[0], MSG_OUTCOME_UNKNOWN, MSG_R_CONNECTION_LOST,
	    "");
	ck_assert_int_eq((int)got[0].last.outcome, ISCSIMUX_UNKNOWN);
	ck_assert_uint_eq(got[0].ends, 1);
	(void)fake_next(&f);	/* they may have left in that turn */
	fake_event_closed(&f, ECONNRESET, "", 0, 0);
	ck_assert_int_eq(submit(0, ISCSI_OP_SCSI_CMD, NULL, NULL), -ENOTCONN);
	ck_assert_int_eq(iscsimux_open(f.h, &o, fake_status, &opened), 0);
	fake_error(&f, id[1], MSG_R_BAD_STATE, FRAME_SUBMIT, "gone");
	ck_assert_uint_eq(got[1].ends, 1);
	ck_assert_int_eq((int)got[1].last.outcome, ISCSIMUX_REFUSED);
	fake_close(&f);
	ck_assert_uint_eq(got[2].ends, 1);
	ck_assert_uint_eq(opened.count, 1);
}
END_TEST

/* What is still here goes to no other connection. */
START_TEST(test_queued_is_not_for_the_next)
{
	static uint8_t data[8u << 20];
	uint8_t bhs[ISCSI_BHS_LEN];
	const struct iovec iov = { data, sizeof(data) };
	const struct iscsimux_pdu pdu = { .bhs = bhs, .data = &iov,
	    .ndata = 1 };
	const struct iscsimux_open o = { .portal = "x" };
	struct fake_status opened = { 0 };
	size_t sent = 0;
	uint64_t id;

	make_bhs(bhs, ISCSI_OP_DATA_OUT);
	iscsi_set_dsl(bhs, sizeof(data));
	ck_assert_int_eq(submit(0, ISCSI_OP_SCSI_CMD, NULL, &id), 0);
	ck_assert_int_eq(iscsimux_submit_more(f.h, id, &pdu, 0), 0);
	ck_assert_int_eq(iscsimux_submit_more(f.h, id, &pdu, 0), 0);
	ck_assert_int_eq(submit(1, ISCSI_OP_SCSI_CMD, NULL, NULL), 0);
	fake_want(&f, FRAME_SUBMIT);	/* the first; the socket is full now */
	fake_event_closed(&f, ECONNRESET, "", 0, 0);
	ck_assert_int_eq(iscsimux_open(f.h, &o, fake_status, &opened), 0);
	/* The one that was begun is finished, the other is not begun. */
	for (ck_assert(fake_next(&f)); f.frame.h.type == FRAME_SUBMIT;
	    ck_assert(fake_next(&f)))
		sent += f.frame.h.len;
	ck_assert_uint_gt(sent, sizeof(data));
	ck_assert_uint_lt(sent, sizeof(data) + 1024);
	ck_assert_str_eq(frame_type_name(f.frame.h.type), "OPEN");
	fake_ok(&f, f.frame.h.cookie);
	ck_assert_uint_eq(opened.count, 1);
	ck_assert(!fake_next(&f));
	fake_close(&f);
	ck_assert_uint_eq(got[0].ends, 1);
	ck_assert_uint_eq(got[1].ends, 1);
}
END_TEST

/* Even if the send queue never becomes empty they are told in time. */
START_TEST(test_fence_in_a_stream)
{
	static uint8_t data[4u << 20];
	uint8_t bhs[ISCSI_BHS_LEN];
	const struct iovec iov = { data, sizeof(data) };
	const struct iscsimux_pdu pdu = { .bhs = bhs, .data = &iov,
	    .ndata = 1 };
	unsigned i, seen = 0;

	make_bhs(bhs, ISCSI_OP_DATA_OUT);
	iscsi_set_dsl(bhs, sizeof(data));
	for (i = 0; i < MANY; i++)
		ck_assert_int_eq(iscsimux_submit_raw(f.h, &pdu, &none,
		    on_answer, &got[i], NULL), 0);
	while (fake_next(&f)) {
		if (f.frame.h.type != FRAME_PING)
			continue;
		fake_frame(&f, FRAME_PONG, 0, f.frame.h.cookie,
		    f.frame.payload, f.frame.h.len);
		seen++;
	}
	ck_assert_uint_ge(seen, 1);
	for (i = 0; i < MANY; i++)
		ck_assert_uint_eq(got[i].ends, 1);
}
END_TEST

/* An exchange with all that a task can see; `end[i]` is where it ends. */
static size_t
script(uint8_t *out, const uint64_t *id, uint64_t ping, size_t *end)
{
	uint8_t bhs[ISCSI_BHS_LEN] = { ISCSI_OP_DATA_IN, 0x80 };
	uint8_t rest[64] = { 0 };
	const struct msg_digests d = { true, false, { 0 }, { 0 } };
	size_t n = 0;
	int tlv = msg_pdu_tlv_encode(&d, rest + 30, sizeof(rest) - 30);

	n += fake_encode(out + n, FRAME_TAG, 0, id[0], NULL, "\0\0\0\7", 4);
	iscsi_set_dsl(bhs, 30);
	n += fake_encode(out + n, FRAME_PDU, FRAME_F_TLV, id[0], bhs, rest,
	    30 + (size_t)tlv);
	iscsi_set_dsl(bhs, 0);
	n += fake_encode(out + n, FRAME_PDU, 0, id[1], bhs, NULL, 0);
	end[1] = n;
	n += fake_encode(out + n, FRAME_PONG, 0, ping, NULL, f.frame.payload,
	    f.frame.h.len);
	end[2] = n;
	bhs[0] = ISCSI_OP_SCSI_RSP;
	n += fake_encode(out + n, FRAME_PDU, 0, id[0], bhs, NULL, 0);
	end[0] = n;
	return n;
}

START_TEST(test_death_at_every_byte)
{
	const struct iscsimux_submit_raw tagged = { .free_itt = true };
	uint8_t stream[1024];
	size_t cut, len = 1, end[MANY];
	uint64_t id[MANY];
	unsigned i;

	for (cut = 0; cut <= len; cut++) {
		setup();
		ck_assert_int_eq(submit(0, ISCSI_OP_SCSI_CMD, &tagged,
		    &id[0]), 0);
		ck_assert_int_eq(submit(1, ISCSI_OP_SCSI_CMD, &one, &id[1]),
		    0);
		ck_assert_int_eq(submit(2, ISCSI_OP_NOP_OUT, &none, &id[2]),
		    0);
		for (i = 0; i < MANY; i++)
			fake_want(&f, FRAME_SUBMIT);
		fake_want(&f, FRAME_PING);
		len = script(stream, id, f.frame.h.cookie, end);
		fake_bytes(&f, stream, cut);
		fake_die(&f);
		fake_turn(&f);
		ck_assert_uint_eq(f.news.closed, 1);
		for (i = 0; i < MANY; i++) {
			ck_assert_uint_eq(got[i].ends, 1);
			ck_assert_int_eq((int)got[i].last.outcome,
			    cut >= end[i] ? ISCSIMUX_COMPLETED :
			    ISCSIMUX_UNKNOWN);
		}
		fake_close(&f);
		for (i = 0; i < MANY; i++)
			ck_assert_uint_eq(got[i].ends, 1);
	}
}
END_TEST

START_TEST(test_not_sent)
{
	unsigned i;

	for (i = 0; i < MANY; i++)
		ck_assert_int_eq(submit(i, ISCSI_OP_NOP_OUT, i == 0 ? &none :
		    NULL, NULL), 0);
	iscsimux_disconnect(f.h);
	for (i = 0; i < MANY; i++) {
		ck_assert_uint_eq(got[i].ends, 1);
		ck_assert_int_eq((int)got[i].last.outcome, ISCSIMUX_NOT_SENT);
	}
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("lib_expect_end");
	TCase *tc = tcase_create("end");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, test_connection_ends);
	tcase_add_test(tc, test_queued_is_not_for_the_next);
	tcase_add_test(tc, test_not_sent);
	tcase_add_test(tc, test_fence_in_a_stream);
	suite_add_tcase(s, tc);
	tc = tcase_create("death");
	tcase_add_test(tc, test_death_at_every_byte);
	tcase_set_timeout(tc, 60);
	suite_add_tcase(s, tc);
	return unit_run(s);
}
