/* SPDX-License-Identifier: ISC */
/*
 * libiscsimux: PDUs on a raw connection.  What is expected, tags that the
 * daemon chooses, digests both ways, and which PDU of the target ends what.
 */
#include "config.h"

#include <errno.h>
#include <string.h>

#include "tests/unit/lib_submit_fixture.h"

/* The TLVs of the SUBMIT just read. */
static struct msg_submit_options
options(void)
{
	struct msg_submit_options o = { .deadline = 12345 };
	size_t head = ISCSI_BHS_LEN + iscsi_dsl(f.frame.bhs);

	if ((f.frame.h.flags & FRAME_F_TLV) != 0)
		ck_assert_int_eq(msg_submit_tlv_decode(f.frame.payload + head,
		    f.frame.h.len - head, &o), 0);
	return o;
}

static void
answer(uint64_t cookie, uint8_t opcode, uint8_t flags)
{
	uint8_t bhs[ISCSI_BHS_LEN] = { opcode, flags };

	fake_pdu(&f, cookie, bhs, NULL, 0);
}

static const struct iscsimux_submit_raw many = {
	.expect = ISCSIMUX_EXPECT_MANY
};

/* Not a bit of it is changed, and the expectation is said. */
START_TEST(test_verbatim)
{
	static const struct iscsimux_submit_raw *const all[] = { NULL, &none,
		&one, &many };
	static const uint8_t wanted[] = { MSG_EXPECT_MANY, MSG_EXPECT_NONE,
		MSG_EXPECT_ONE, MSG_EXPECT_MANY };
	struct msg_submit_options o;
	uint8_t bhs[ISCSI_BHS_LEN];

	ck_assert_int_eq(submit(0, ISCSI_OP_SCSI_CMD, all[_i], NULL), 0);
	fake_want(&f, FRAME_SUBMIT);
	make_bhs(bhs, ISCSI_OP_SCSI_CMD);
	ck_assert_mem_eq(f.frame.bhs, bhs, sizeof(bhs));
	ck_assert_uint_eq(f.frame.h.flags, FRAME_F_TLV);
	o = options();
	ck_assert_uint_eq(o.expect, wanted[_i]);
	ck_assert_uint_eq(o.deadline, 12345);	/* not given */
	ck_assert(!o.free_itt);
	ck_assert(!o.digests.header && !o.digests.data);
}
END_TEST

START_TEST(test_all_options)
{
	const struct iscsimux_submit_raw o = {
		.expect = ISCSIMUX_EXPECT_ONE,
		.free_itt = true,
		.deadline_ms = 250,
	};
	uint8_t bhs[ISCSI_BHS_LEN];
	char data[] = "data";
	const struct iovec iov = { data, 4 };
	const struct iscsimux_pdu pdu = {
		.bhs = bhs,
		.data = &iov,
		.ndata = 1,
		.digests = { true, true, "\1\2\3\4", "\5\6\7\x8" },
	};
	struct msg_submit_options m;

	make_bhs(bhs, ISCSI_OP_NOP_OUT);
	iscsi_set_dsl(bhs, 4);
	ck_assert_int_eq(iscsimux_submit_raw(f.h, &pdu, &o, on_answer, &got[0],
	    NULL), 0);
	fake_want(&f, FRAME_SUBMIT);
	ck_assert_mem_eq(f.frame.data, "data", 4);
	m = options();
	ck_assert_uint_eq(m.deadline, 250);
	ck_assert_uint_eq(m.expect, MSG_EXPECT_ONE);
	ck_assert(m.free_itt);
	ck_assert(m.digests.header && m.digests.data);
	ck_assert_mem_eq(m.digests.header_word, "\1\2\3\4", 4);
	ck_assert_mem_eq(m.digests.data_word, "\5\6\7\x8", 4);
}
END_TEST

/* One ends with the first PDU, whatever it is. */
START_TEST(test_one)
{
	uint64_t id;

	ck_assert_int_eq(submit(0, ISCSI_OP_SCSI_CMD, &one, &id), 0);
	fake_want(&f, FRAME_SUBMIT);
	answer(id, ISCSI_OP_R2T, ISCSI_FLAG_FINAL);
	ck_assert_int_eq((int)got[0].last.kind, ISCSIMUX_ANSWER_FINAL);
	ck_assert_uint_eq(got[0].ends, 1);
	ck_assert_int_eq(iscsimux_cancel(f.h, id), -ENOENT);
}
END_TEST

static const struct {
	uint8_t	request, opcode, flags, status_class;
	bool	final;
} lasts[] = {
	{ ISCSI_OP_SCSI_CMD, ISCSI_OP_SCSI_RSP, 0x80, 0, true },
	{ ISCSI_OP_SCSI_CMD, ISCSI_OP_DATA_IN, 0x80, 0, false },
	{ ISCSI_OP_SCSI_CMD, ISCSI_OP_DATA_IN, 0x81, 0, true },
	{ ISCSI_OP_SCSI_CMD, ISCSI_OP_R2T, 0x80, 0, false },
	{ ISCSI_OP_NOP_OUT, ISCSI_OP_NOP_IN, 0x80, 0, true },
	{ ISCSI_OP_TMF_REQ, ISCSI_OP_TMF_RSP, 0x80, 0, true },
	{ ISCSI_OP_TEXT_REQ, ISCSI_OP_TEXT_RSP, 0x00, 0, false },
	{ ISCSI_OP_TEXT_REQ, ISCSI_OP_TEXT_RSP, 0x80, 0, true },
	{ ISCSI_OP_LOGOUT_REQ, ISCSI_OP_LOGOUT_RSP, 0x80, 0, true },
	{ ISCSI_OP_LOGIN_REQ, ISCSI_OP_LOGIN_RSP, 0x00, 0, false },
	{ ISCSI_OP_LOGIN_REQ, ISCSI_OP_LOGIN_RSP, 0x81, 0, false },
	{ ISCSI_OP_LOGIN_REQ, ISCSI_OP_LOGIN_RSP, 0x07, 0, false },
	{ ISCSI_OP_LOGIN_REQ, ISCSI_OP_LOGIN_RSP, 0x87, 0, true },
	{ ISCSI_OP_LOGIN_REQ, ISCSI_OP_LOGIN_RSP, 0x00, 2, true },
	{ ISCSI_OP_LOGIN_REQ, ISCSI_OP_LOGIN_RSP, 0x00, 1, true },
};

START_TEST(test_many)
{
	uint8_t bhs[ISCSI_BHS_LEN] = { lasts[_i].opcode, lasts[_i].flags };
	uint64_t id;

	bhs[ISCSI_OFF_LOGIN_STATUS] = lasts[_i].status_class;
	ck_assert_int_eq(submit(0, lasts[_i].request, &many, &id), 0);
	fake_want(&f, FRAME_SUBMIT);
	fake_pdu(&f, id, bhs, NULL, 0);
	ck_assert_uint_eq(got[0].ends, lasts[_i].final);
	ck_assert_uint_eq(got[0].pdus, !lasts[_i].final);
	ck_assert_mem_eq(got[0].bhs, bhs, sizeof(bhs));
}
END_TEST

/* The Reject of the request ends it, that of another PDU does not. */
START_TEST(test_reject)
{
	uint8_t bhs[ISCSI_BHS_LEN] = { ISCSI_OP_REJECT, ISCSI_FLAG_FINAL };
	uint8_t inner[ISCSI_BHS_LEN] = { ISCSI_OP_DATA_OUT };
	uint64_t id;

	iscsi_set_dsl(bhs, sizeof(inner));
	ck_assert_int_eq(submit(0, ISCSI_OP_SCSI_CMD, NULL, &id), 0);
	fake_want(&f, FRAME_SUBMIT);
	fake_pdu(&f, id, bhs, inner, sizeof(inner));
	ck_assert_uint_eq(got[0].pdus, 1);
	inner[0] = ISCSI_OP_SCSI_CMD;
	fake_pdu(&f, id, bhs, inner, sizeof(inner));
	ck_assert_uint_eq(got[0].ends, 1);
}
END_TEST

/* Nothing answers it: it ends when the daemon has surely taken it. */
START_TEST(test_none)
{
	ck_assert_int_eq(submit(0, ISCSI_OP_DATA_OUT, &none, NULL), 0);
	ck_assert_int_eq(submit(1, ISCSI_OP_DATA_OUT, &none, NULL), 0);
	fake_want(&f, FRAME_SUBMIT);
	fake_want(&f, FRAME_SUBMIT);
	ck_assert_uint_eq(got[0].ends, 0);
	fake_fence(&f);
	ck_assert_uint_eq(got[0].ends, 1);
	ck_assert_uint_eq(got[1].ends, 1);
	ck_assert_int_eq((int)got[0].last.kind, ISCSIMUX_ANSWER_OUTCOME);
	ck_assert_int_eq((int)got[0].last.outcome, ISCSIMUX_COMPLETED);
	ck_assert_ptr_null(got[0].last.pdu);
	ck_assert(!got[0].last.not_sent);
	/* Once only. */
	ck_assert(!fake_next(&f));
}
END_TEST

/* A PONG speaks of what was sent before its PING, and of no more. */
START_TEST(test_none_in_turn)
{
	struct fake_frame first;

	ck_assert_int_eq(submit(0, ISCSI_OP_DATA_OUT, &none, NULL), 0);
	fake_want(&f, FRAME_SUBMIT);
	fake_want(&f, FRAME_PING);
	first = f.frame;
	ck_assert_int_eq(submit(1, ISCSI_OP_DATA_OUT, &none, NULL), 0);
	fake_want(&f, FRAME_SUBMIT);
	fake_frame(&f, FRAME_PONG, 0, first.h.cookie, first.payload,
	    first.h.len);
	ck_assert_uint_eq(got[0].ends, 1);
	ck_assert_uint_eq(got[1].ends, 0);
	fake_fence(&f);
	ck_assert_uint_eq(got[1].ends, 1);
}
END_TEST

START_TEST(test_none_refused)
{
	ck_assert_int_eq(submit(0, ISCSI_OP_NOP_OUT, &none, NULL), 0);
	fake_want(&f, FRAME_SUBMIT);
	fake_error(&f, f.frame.h.cookie, MSG_R_BAD_OPCODE, FRAME_SUBMIT,
	    "log in first");
	ck_assert_uint_eq(got[0].ends, 1);
	ck_assert_int_eq((int)got[0].last.outcome, ISCSIMUX_REFUSED);
	ck_assert_str_eq(got[0].text, "log in first");
	fake_fence(&f);
	ck_assert_uint_eq(got[0].ends, 1);
}
END_TEST

/* There is nothing to cancel and nothing to continue. */
START_TEST(test_none_is_no_task)
{
	uint8_t bhs[ISCSI_BHS_LEN] = { ISCSI_OP_DATA_OUT };
	const struct iscsimux_pdu pdu = { .bhs = bhs };
	uint64_t id;

	ck_assert_int_eq(submit(0, ISCSI_OP_NOP_OUT, &none, &id), 0);
	ck_assert_int_eq(iscsimux_cancel(f.h, id), -ENOENT);
	ck_assert_int_eq(iscsimux_submit_more(f.h, id, &pdu, 0), -ENOENT);
}
END_TEST

static void
send_tag(uint64_t cookie, uint32_t itt)
{
	const struct msg_tag m = { .itt = itt };
	uint8_t buf[8];
	int n = msg_tag_encode(&m, buf, sizeof(buf));

	ck_assert_int_eq(n, 4);
	fake_frame(&f, FRAME_TAG, 0, cookie, buf, 4);
}

START_TEST(test_free_tag)
{
	const struct iscsimux_submit_raw o = { .free_itt = true };
	uint8_t bhs[ISCSI_BHS_LEN];
	const struct iscsimux_pdu pdu = { .bhs = bhs };
	uint64_t id;

	make_bhs(bhs, ISCSI_OP_DATA_OUT);
	ck_assert_int_eq(submit(0, ISCSI_OP_SCSI_CMD, &o, &id), 0);
	fake_want(&f, FRAME_SUBMIT);
	ck_assert(options().free_itt);
	/* Its tag is not known yet. */
	ck_assert_int_eq(iscsimux_submit_more(f.h, id, &pdu,
	    ISCSIMUX_ASSIGN_ITT), -EAGAIN);
	send_tag(id, 0x00c0ffee);
	ck_assert_uint_eq(got[0].tags, 1);
	ck_assert_uint_eq(got[0].itt, 0x00c0ffee);
	send_tag(id, 7);		/* not again */
	ck_assert_uint_eq(got[0].tags, 1);
	ck_assert_int_eq(iscsimux_submit_more(f.h, id, &pdu,
	    ISCSIMUX_ASSIGN_ITT), 0);
	fake_want(&f, FRAME_SUBMIT);
	ck_assert_uint_eq(iscsi_itt(f.frame.bhs), 0x00c0ffee);
	answer(id, ISCSI_OP_SCSI_RSP, 0x80);
	ck_assert_uint_eq(got[0].ends, 1);
	send_tag(id, 8);		/* too late */
}
END_TEST

/* Who did not ask for a tag is not told one. */
START_TEST(test_tag_unasked)
{
	uint64_t id;

	ck_assert_int_eq(submit(0, ISCSI_OP_SCSI_CMD, NULL, &id), 0);
	fake_want(&f, FRAME_SUBMIT);
	send_tag(id, 1);
	ck_assert_uint_eq(got[0].tags, 0);
	ck_assert_uint_eq(f.news.closed, 0);
}
END_TEST

/* Further PDUs expect nothing, and an ERROR for one is told of that one. */
START_TEST(test_more)
{
	uint8_t bhs[ISCSI_BHS_LEN];
	const struct iscsimux_pdu pdu = { .bhs = bhs };
	uint64_t id, more;

	make_bhs(bhs, ISCSI_OP_DATA_OUT);
	ck_assert_int_eq(submit(0, ISCSI_OP_SCSI_CMD, NULL, &id), 0);
	ck_assert_int_eq(iscsimux_submit_more(f.h, id, &pdu, 0), 0);
	fake_want(&f, FRAME_SUBMIT);
	ck_assert_uint_eq(f.frame.h.cookie, id);
	fake_want(&f, FRAME_SUBMIT);
	ck_assert_mem_eq(f.frame.bhs, bhs, sizeof(bhs));
	ck_assert_uint_eq(options().expect, MSG_EXPECT_NONE);
	more = f.frame.h.cookie;
	ck_assert_uint_ne(more, id);
	fake_error(&f, more, MSG_R_DATA_LIMIT, FRAME_SUBMIT, "too long");
	ck_assert_uint_eq(got[0].errors, 1);
	ck_assert_str_eq(got[0].text, "too long");
	ck_assert_uint_eq(got[0].ends, 0);
	/* The first may be refused after the second has left. */
	fake_error(&f, id, MSG_R_BAD_STATE, FRAME_SUBMIT, "gone");
	ck_assert_uint_eq(got[0].ends, 1);
	ck_assert_int_eq((int)got[0].last.outcome, ISCSIMUX_REFUSED);
	fake_error(&f, more, MSG_R_BAD_STATE, FRAME_SUBMIT, "gone");
}
END_TEST

/* iscsimux_submit() does the ordinary thing. */
START_TEST(test_plain_submit)
{
	uint8_t bhs[ISCSI_BHS_LEN];
	struct iscsimux_pdu pdu = { .bhs = bhs };

	make_bhs(bhs, ISCSI_OP_NOP_OUT);
	ck_assert_int_eq(iscsimux_submit(f.h, &pdu, ISCSIMUX_ASSIGN_ITT, 99,
	    on_answer, &got[0], NULL), 0);
	fake_want(&f, FRAME_SUBMIT);
	ck_assert_uint_eq(options().expect, MSG_EXPECT_MANY);
	ck_assert_uint_eq(options().deadline, 99);
	ck_assert_uint_eq(iscsi_itt(f.frame.bhs) >> 31, 1);
	answer(f.frame.h.cookie, ISCSI_OP_NOP_IN, 0x80);
	ck_assert_uint_eq(got[0].ends, 1);
	fake_close(&f);
	/* On a session nobody sends own digests. */
	fake_attach(&f, &(struct msg_params){ .send_dsl = 1024 });
	pdu.digests.header = true;
	ck_assert_int_eq(iscsimux_submit(f.h, &pdu, 0, 0, on_answer, &got[1],
	    NULL), -EINVAL);
	ck_assert_int_eq(iscsimux_submit_raw(f.h, &pdu, NULL, on_answer,
	    &got[1], NULL), -ENOTCONN);
}
END_TEST

START_TEST(test_arguments)
{
	const struct iscsimux_submit_raw bad = {
		.expect = (enum iscsimux_expect)4
	};
	const struct iscsimux_scsi scsi = {
		.cdb = (const uint8_t *)"",
		.cdb_len = 1,
	};
	static struct fake_status s;
	uint8_t bhs[ISCSI_BHS_LEN];
	const struct iscsimux_pdu pdu = { .bhs = bhs };
	unsigned i;

	make_bhs(bhs, ISCSI_OP_NOP_OUT);
	ck_assert_int_eq(submit(0, ISCSI_OP_NOP_OUT, &bad, NULL), -EINVAL);
	ck_assert_int_eq(iscsimux_submit_raw(f.h, &pdu, NULL, NULL, NULL,
	    NULL), -EINVAL);
	iscsi_set_dsl(bhs, 1);
	ck_assert_int_eq(iscsimux_submit_raw(f.h, &pdu, NULL, on_answer, NULL,
	    NULL), -EINVAL);
	/* Who numbers commands is not here. */
	ck_assert_int_eq(iscsimux_execute(f.h, &scsi, NULL, NULL, NULL),
	    -EINVAL);
	ck_assert_int_eq(iscsimux_execute(f.h, &scsi, fake_done, NULL, NULL),
	    -ENOTCONN);
	for (i = 0; i < FAKE_TASKS_MAX; i++)
		ck_assert_int_eq(submit(i % MANY, ISCSI_OP_NOP_OUT, NULL,
		    NULL), 0);
	ck_assert_int_eq(submit(0, ISCSI_OP_NOP_OUT, NULL, NULL), -EAGAIN);
	ck_assert_int_eq(iscsimux_share(f.h, "x", fake_status, &s), 0);
	ck_assert_int_eq(submit(0, ISCSI_OP_NOP_OUT, NULL, NULL), -EBUSY);
	for (i = 0; i < MANY; i++)
		memset(&got[i], 0, sizeof(got[i]));
	/* Several share a `got`, which wants one end: none is called. */
	for (i = 0; i < FAKE_TASKS_MAX; i++) {
		fake_want(&f, FRAME_SUBMIT);
		memset(got, 0, sizeof(got));
		answer(f.frame.h.cookie, ISCSI_OP_NOP_IN, 0x80);
	}
}
END_TEST

/* Digests as received come with the PDU, however it travelled. */
START_TEST(test_digests_in)
{
	static const struct msg_digests d = { true, true, { 1, 2, 3, 4 },
	    { 5, 6, 7, 8 } };
	uint8_t bhs[ISCSI_BHS_LEN] = { ISCSI_OP_DATA_IN, 0x80 };
	uint8_t rest[128], frame[512];
	uint64_t id;
	size_t n, i;
	int tlv;

	ck_assert_int_eq(submit(0, ISCSI_OP_SCSI_CMD, NULL, &id), 0);
	fake_want(&f, FRAME_SUBMIT);
	memset(rest, 'x', 40);
	tlv = msg_pdu_tlv_encode(&d, rest + 40, sizeof(rest) - 40);
	ck_assert_int_gt(tlv, 0);
	iscsi_set_dsl(bhs, 40);
	n = fake_encode(frame, FRAME_PDU, FRAME_F_TLV, id, bhs, rest,
	    40 + (size_t)tlv);
	for (i = 0; i < n; i++)
		fake_bytes(&f, frame + i, 1);
	ck_assert_uint_eq(got[0].pdus, 1);
	ck_assert(got[0].digests.header && got[0].digests.data);
	ck_assert_mem_eq(got[0].digests.header_word, "\1\2\3\4", 4);
	ck_assert_mem_eq(got[0].digests.data_word, "\5\6\7\x8", 4);
	/* In two fragments, the TLV with the second. */
	n = fake_encode(frame, FRAME_PDU, FRAME_F_MORE, id, bhs, rest, 20);
	fake_bytes(&f, frame, n);
	n = fake_encode(frame, FRAME_PDU, FRAME_F_TLV, id, NULL, rest + 20,
	    20 + (size_t)tlv);
	memset(&got[0].digests, 0, sizeof(got[0].digests));
	fake_bytes(&f, frame, n);
	ck_assert_uint_eq(got[0].pdus, 2);
	ck_assert(got[0].digests.header);
	ck_assert_mem_eq(got[0].digests.data_word, "\5\6\7\x8", 4);
	/* Without: none are left over. */
	bhs[0] = ISCSI_OP_SCSI_RSP;
	iscsi_set_dsl(bhs, 0);
	fake_pdu(&f, id, bhs, NULL, 0);
	ck_assert(!got[0].digests.header && !got[0].digests.data);
}
END_TEST

START_TEST(test_bad_tlv)
{
	uint8_t bhs[ISCSI_BHS_LEN] = { ISCSI_OP_NOP_IN, 0x80 };
	uint8_t frame[128];
	uint64_t id;
	size_t n;

	ck_assert_int_eq(submit(0, ISCSI_OP_NOP_OUT, NULL, &id), 0);
	fake_want(&f, FRAME_SUBMIT);
	n = fake_encode(frame, FRAME_PDU, FRAME_F_TLV, id, bhs, "\0\1\0\0", 4);
	fake_bytes(&f, frame, n);
	ck_assert_int_eq(f.news.close_error, -EPROTO);
	ck_assert_uint_eq(got[0].ends, 1);
}
END_TEST

/* PDUs that nobody waits for, and those that answer nothing. */
START_TEST(test_unmatched)
{
	uint8_t bhs[ISCSI_BHS_LEN] = { ISCSI_OP_SCSI_RSP, 0x80 };
	uint8_t frame[128];
	size_t n;

	n = fake_encode(frame, FRAME_PDU, FRAME_F_UNMATCHED, 0, bhs, NULL, 0);
	fake_bytes(&f, frame, n);
	ck_assert_uint_eq(f.news.pdus, 1);
	ck_assert(f.news.unmatched);
	bhs[0] = ISCSI_OP_NOP_IN;
	fake_pdu(&f, 0, bhs, NULL, 0);
	ck_assert_uint_eq(f.news.pdus, 2);
	ck_assert(!f.news.unmatched);
}
END_TEST

START_TEST(test_cancel)
{
	struct msg_cancel m;
	uint64_t id;

	ck_assert_int_eq(submit(0, ISCSI_OP_NOP_OUT, NULL, &id), 0);
	fake_want(&f, FRAME_SUBMIT);
	ck_assert_int_eq(iscsimux_cancel(f.h, id), 0);
	fake_want(&f, FRAME_CANCEL);
	ck_assert_int_eq(msg_cancel_decode(f.frame.payload, f.frame.h.len,
	    &m), 0);
	ck_assert_uint_eq(m.value, id);
	fake_ok(&f, f.frame.h.cookie);
	ck_assert_uint_eq(got[0].ends, 0);
	fake_outcome(&f, id, MSG_OUTCOME_ABORTED, MSG_R_CANCELLED, "");
	ck_assert_uint_eq(got[0].ends, 1);
	ck_assert_int_eq((int)got[0].last.outcome, ISCSIMUX_ABORTED);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("lib_expect");
	TCase *tc = tcase_create("expect");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, test_verbatim, 0, 4);
	tcase_add_test(tc, test_all_options);
	tcase_add_test(tc, test_one);
	tcase_add_loop_test(tc, test_many, 0,
	    (int)(sizeof(lasts) / sizeof(lasts[0])));
	tcase_add_test(tc, test_reject);
	tcase_add_test(tc, test_none);
	tcase_add_test(tc, test_none_in_turn);
	tcase_add_test(tc, test_none_refused);
	tcase_add_test(tc, test_none_is_no_task);
	tcase_add_test(tc, test_free_tag);
	tcase_add_test(tc, test_tag_unasked);
	tcase_add_test(tc, test_more);
	tcase_add_test(tc, test_plain_submit);
	tcase_add_test(tc, test_arguments);
	tcase_add_test(tc, test_digests_in);
	tcase_add_test(tc, test_bad_tlv);
	tcase_add_test(tc, test_unmatched);
	tcase_add_test(tc, test_cancel);
	suite_add_tcase(s, tc);
	return unit_run(s);
}
