/* SPDX-License-Identifier: ISC */
/*
 * libiscsimux: what can become of a request without data: outcomes, CANCEL,
 * deadlines; task management and NOP-Out.
 */
#include "config.h"

#include <errno.h>
#include <string.h>

#include "tests/unit/fakedaemon.h"
#include "tests/unit/unit.h"

static struct fake f;
static const uint8_t test_unit_ready[6];

static int
execute(struct fake_end *e, uint64_t *id)
{
	const struct iscsimux_scsi s = {
		.lun = { 0, 1 },
		.cdb = test_unit_ready,
		.cdb_len = sizeof(test_unit_ready),
	};

	return iscsimux_execute(f.h, &s, fake_done, e, id);
}

START_TEST(test_cancel)
{
	struct msg_params p = fake_params();
	struct fake_end e = { 0 };
	struct msg_cancel m;
	uint64_t id, cookie;

	fake_attach(&f, &p);
	ck_assert_int_eq(execute(&e, &id), 0);
	ck_assert_int_eq(iscsimux_cancel(f.h, id), 0);
	ck_assert_int_eq(iscsimux_cancel(f.h, id), 0);
	fake_want(&f, FRAME_SUBMIT);
	cookie = f.frame.h.cookie;
	ck_assert_uint_eq(cookie, id);
	fake_want(&f, FRAME_CANCEL);
	ck_assert_int_eq(msg_cancel_decode(f.frame.payload, f.frame.h.len,
	    &m), 0);
	ck_assert_uint_eq(m.by, MSG_CANCEL_COOKIE);
	ck_assert_uint_eq(m.value, cookie);
	ck_assert_uint_ne(f.frame.h.cookie, cookie);
	ck_assert(!fake_next(&f));
	fake_frame(&f, FRAME_OK, 0, f.frame.h.cookie, NULL, 0);
	ck_assert_uint_eq(e.count, 0);
	fake_outcome(&f, cookie, MSG_OUTCOME_ABORTED, MSG_R_CANCELLED, "bye");
	ck_assert_uint_eq(e.count, 1);
	ck_assert_int_eq(e.r.outcome, ISCSIMUX_ABORTED);
	ck_assert_int_eq(e.r.reason, ISCSIMUX_R_CANCELLED);
	ck_assert_uint_eq(e.r.response, 0xff);
	ck_assert_str_eq(e.text, "bye");
	ck_assert_int_eq(iscsimux_cancel(f.h, id), -ENOENT);
	fake_close(&f);
	ck_assert_uint_eq(e.count, 1);
}
END_TEST

/* The answer was faster than the CANCEL. */
START_TEST(test_cancel_too_late)
{
	struct msg_params p = fake_params();
	uint8_t rsp[ISCSI_BHS_LEN];
	struct fake_end e = { 0 };
	uint64_t id;

	fake_attach(&f, &p);
	ck_assert_int_eq(execute(&e, &id), 0);
	ck_assert_int_eq(iscsimux_cancel(f.h, id), 0);
	fake_want(&f, FRAME_SUBMIT);
	fake_response(rsp, f.frame.bhs, 0);
	fake_pdu(&f, f.frame.h.cookie, rsp, NULL, 0);
	fake_want(&f, FRAME_CANCEL);
	fake_error(&f, f.frame.h.cookie, MSG_R_NO_SUCH_TASK, FRAME_CANCEL, "");
	ck_assert_uint_eq(e.count, 1);
	ck_assert(iscsimux_result_good(&e.r));
	fake_close(&f);
	ck_assert_uint_eq(e.count, 1);
}
END_TEST

/* A daemon that has no task of that cookie must not leave it open. */
START_TEST(test_cancel_no_such_task)
{
	struct msg_params p = fake_params();
	struct fake_end e = { 0 };
	uint64_t id;

	fake_attach(&f, &p);
	ck_assert_int_eq(execute(&e, &id), 0);
	ck_assert_int_eq(iscsimux_cancel(f.h, id), 0);
	fake_want(&f, FRAME_SUBMIT);
	fake_want(&f, FRAME_CANCEL);
	fake_error(&f, f.frame.h.cookie, MSG_R_NO_SUCH_TASK, FRAME_CANCEL, "");
	ck_assert_uint_eq(e.count, 1);
	ck_assert_int_eq(e.r.outcome, ISCSIMUX_UNKNOWN);
	fake_close(&f);
}
END_TEST

START_TEST(test_outcomes)
{
	static const uint8_t codes[] = { MSG_OUTCOME_REFUSED,
	    MSG_OUTCOME_NOT_SENT, MSG_OUTCOME_UNKNOWN, MSG_OUTCOME_TIMED_OUT };
	struct msg_params p = fake_params();
	struct fake_end e;
	size_t i;

	fake_attach(&f, &p);
	for (i = 0; i < sizeof(codes); i++) {
		memset(&e, 0, sizeof(e));
		ck_assert_int_eq(execute(&e, NULL), 0);
		fake_want(&f, FRAME_SUBMIT);
		fake_outcome(&f, f.frame.h.cookie, codes[i], MSG_R_QUOTA,
		    "why");
		ck_assert_uint_eq(e.count, 1);
		ck_assert_int_eq(e.r.outcome, codes[i]);
		ck_assert_int_eq(e.r.reason, ISCSIMUX_R_QUOTA);
		ck_assert_int_eq(e.r.not_sent, i < 2);
		ck_assert_str_eq(e.text, "why");
	}
	/* An ERROR for the first PDU is its end as well. */
	memset(&e, 0, sizeof(e));
	ck_assert_int_eq(execute(&e, NULL), 0);
	fake_want(&f, FRAME_SUBMIT);
	fake_error(&f, f.frame.h.cookie, MSG_R_BAD_LENGTH, FRAME_SUBMIT, "x");
	ck_assert_uint_eq(e.count, 1);
	ck_assert_int_eq(e.r.outcome, ISCSIMUX_REFUSED);
	fake_close(&f);
}
END_TEST

START_TEST(test_manage)
{
	static const int none[] = { 0, 8, 13 };
	struct iscsimux_management m = {
		.function = ISCSIMUX_TMF_ABORT_TASK,
		.lun = { 9, 9 },
	};
	struct msg_params p = fake_params();
	struct fake_end task = { 0 }, tmf = { 0 };
	uint8_t rsp[ISCSI_BHS_LEN] = { ISCSI_OP_TMF_RSP, ISCSI_FLAG_FINAL, 5 };
	uint32_t itt;

	fake_attach(&f, &p);
	ck_assert_int_eq(iscsimux_manage(f.h, &m, fake_done, &tmf, NULL),
	    -ENOENT);
	ck_assert_int_eq(execute(&task, &m.task), 0);
	ck_assert_int_eq(iscsimux_manage(f.h, &m, fake_done, &tmf, NULL), 0);
	fake_want(&f, FRAME_SUBMIT);
	itt = iscsi_itt(f.frame.bhs);
	fake_want(&f, FRAME_SUBMIT);
	ck_assert_uint_eq(f.frame.bhs[0],
	    ISCSI_OP_TMF_REQ | ISCSI_IMMEDIATE);
	ck_assert_uint_eq(f.frame.bhs[1], ISCSI_FLAG_FINAL | 1);
	ck_assert_uint_eq(get_be32(f.frame.bhs + ISCSI_OFF_RTT), itt);
	ck_assert_uint_ne(iscsi_itt(f.frame.bhs), itt);
	ck_assert_uint_eq(f.frame.bhs[ISCSI_OFF_LUN + 1], 1);
	memcpy(rsp + ISCSI_OFF_ITT, f.frame.bhs + ISCSI_OFF_ITT, 4);
	fake_pdu(&f, f.frame.h.cookie, rsp, NULL, 0);
	ck_assert_uint_eq(tmf.count, 1);
	ck_assert_int_eq(tmf.r.outcome, ISCSIMUX_COMPLETED);
	ck_assert_uint_eq(tmf.r.response, 5);
	ck_assert_uint_eq(task.count, 0);
	m.function = ISCSIMUX_TMF_LUN_RESET;
	ck_assert_int_eq(iscsimux_manage(f.h, &m, fake_done, &tmf, NULL), 0);
	fake_want(&f, FRAME_SUBMIT);
	ck_assert_uint_eq(f.frame.bhs[1], ISCSI_FLAG_FINAL | 5);
	ck_assert_uint_eq(get_be32(f.frame.bhs + ISCSI_OFF_RTT),
	    ISCSI_TAG_NONE);
	ck_assert_uint_eq(f.frame.bhs[ISCSI_OFF_LUN], 9);
	m.function = ISCSIMUX_TMF_QUERY_TASK;
	ck_assert_int_eq(iscsimux_manage(f.h, &m, fake_done, &tmf, NULL), 0);
	fake_want(&f, FRAME_SUBMIT);
	ck_assert_uint_eq(f.frame.bhs[1], ISCSI_FLAG_FINAL | 9);
	ck_assert_uint_eq(get_be32(f.frame.bhs + ISCSI_OFF_RTT), itt);
	ck_assert_uint_eq(f.frame.bhs[ISCSI_OFF_LUN + 1], 1);
	rsp[ISCSI_OFF_RESPONSE] = ISCSI_TMF_SUCCEEDED;
	memcpy(rsp + ISCSI_OFF_ITT, f.frame.bhs + ISCSI_OFF_ITT, 4);
	fake_pdu(&f, f.frame.h.cookie, rsp, NULL, 0);
	ck_assert_uint_eq(tmf.count, 2);
	ck_assert_int_eq(tmf.r.outcome, ISCSIMUX_COMPLETED);
	ck_assert_uint_eq(tmf.r.response, ISCSI_TMF_SUCCEEDED);
	ck_assert_uint_eq(task.count, 0);
	for (int i = 10; i <= 12; i++) {
		m.function = (enum iscsimux_tmf)i;
		ck_assert_int_eq(iscsimux_manage(f.h, &m, fake_done, &tmf,
		    NULL), 0);
		fake_want(&f, FRAME_SUBMIT);
		ck_assert_uint_eq(f.frame.bhs[1], ISCSI_FLAG_FINAL | i);
		ck_assert_uint_eq(get_be32(f.frame.bhs + ISCSI_OFF_RTT),
		    ISCSI_TAG_NONE);
	}
	for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++) {
		m.function = (enum iscsimux_tmf)none[i];
		ck_assert_int_eq(iscsimux_manage(f.h, &m, fake_done, &tmf,
		    NULL), -EINVAL);
	}
	fake_close(&f);
}
END_TEST

START_TEST(test_nop)
{
	struct msg_params p = fake_params();
	uint8_t bhs[ISCSI_BHS_LEN] = { ISCSI_OP_NOP_IN, ISCSI_FLAG_FINAL };
	char reply[8] = "-------";
	struct fake_end e = { 0 };

	fake_attach(&f, &p);
	ck_assert_int_eq(iscsimux_nop(f.h, reply, 1025, NULL, 0, 0, fake_done,
	    &e, NULL), -EMSGSIZE);
	ck_assert_int_eq(iscsimux_nop(f.h, "hello", 5, reply, 4, 0, fake_done,
	    &e, NULL), 0);
	fake_want(&f, FRAME_SUBMIT);
	ck_assert_uint_eq(f.frame.bhs[0], ISCSI_OP_NOP_OUT);
	ck_assert_uint_eq(f.frame.bhs[1], ISCSI_FLAG_FINAL);
	ck_assert_uint_eq(iscsi_ttt(f.frame.bhs), ISCSI_TAG_NONE);
	ck_assert_uint_eq(iscsi_dsl(f.frame.bhs), 5);
	ck_assert_mem_eq(f.frame.data, "hello", 5);
	memcpy(bhs + ISCSI_OFF_ITT, f.frame.bhs + ISCSI_OFF_ITT, 4);
	iscsi_set_dsl(bhs, 5);
	fake_pdu(&f, f.frame.h.cookie, bhs, "hello", 5);
	ck_assert_uint_eq(e.count, 1);
	ck_assert_int_eq(e.r.outcome, ISCSIMUX_COMPLETED);
	ck_assert_uint_eq(e.r.transferred, 4);
	ck_assert_mem_eq(reply, "hell---", 7);
	fake_close(&f);
}
END_TEST

START_TEST(test_deadlines)
{
	struct iscsimux_scsi s = {
		.cdb = test_unit_ready,
		.cdb_len = 6,
	};
	struct msg_params p = fake_params();
	struct fake_end e = { 0 };
	struct msg_submit_options o = { .deadline = 77 };

	fake_attach(&f, &p);
	ck_assert_int_eq(iscsimux_execute(f.h, &s, fake_done, &e, NULL), 0);
	fake_want(&f, FRAME_SUBMIT);
	ck_assert_uint_eq(f.frame.h.flags, 0);
	s.deadline_ms = 2500;
	ck_assert_int_eq(iscsimux_execute(f.h, &s, fake_done, &e, NULL), 0);
	fake_want(&f, FRAME_SUBMIT);
	ck_assert_uint_eq(f.frame.h.flags, FRAME_F_TLV);
	ck_assert_int_eq(msg_submit_tlv_decode(f.frame.data, 8, &o), 0);
	ck_assert_uint_eq(o.deadline, 2500);
	s.deadline_ms = ISCSIMUX_NO_DEADLINE;
	ck_assert_int_eq(iscsimux_execute(f.h, &s, fake_done, &e, NULL), 0);
	fake_want(&f, FRAME_SUBMIT);
	ck_assert_int_eq(msg_submit_tlv_decode(f.frame.data, 8, &o), 0);
	ck_assert_uint_eq(o.deadline, 0);
	fake_close(&f);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("lib_task");
	TCase *tc = tcase_create("task");

	tcase_add_test(tc, test_cancel);
	tcase_add_test(tc, test_cancel_too_late);
	tcase_add_test(tc, test_cancel_no_such_task);
	tcase_add_test(tc, test_outcomes);
	tcase_add_test(tc, test_manage);
	tcase_add_test(tc, test_nop);
	tcase_add_test(tc, test_deadlines);
	suite_add_tcase(s, tc);
	return unit_run(s);
}
