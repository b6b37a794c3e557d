/* SPDX-License-Identifier: ISC */
/*
 * libiscsimux: the raw level.  PDUs go out and come back as they are, in
 * fragments where they are long; the answers end when the task does.
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/fakedaemon.h"
#include "tests/unit/unit.h"

#define BIG	(600u * 1024)

struct answers {
	unsigned	pdus, finals, outcomes, errors;
	struct iscsimux_answer last;
	uint8_t		bhs[ISCSI_BHS_LEN];
	uint8_t		*data;
	size_t		data_len;
	char		text[MSG_TEXT_MAX + 1];
};

static struct fake f;
static struct answers got;
static uint8_t big[BIG];

static void
setup(void)
{
	struct msg_params p = fake_params();

	p.send_dsl = 16u << 20;
	memset(&got, 0, sizeof(got));
	fake_pattern(big, sizeof(big), 5);
	fake_attach(&f, &p);
}

static void
teardown(void)
{
	fake_close(&f);
	free(got.data);
	got.data = NULL;
	ck_assert_uint_eq(got.finals + got.outcomes, 1);
}

static void
on_answer(struct iscsimux *h, void *cookie, const struct iscsimux_answer *a)
{
	struct answers *g = cookie;

	(void)h;
	ck_assert_uint_eq(g->finals + g->outcomes, 0);
	g->last = *a;
	strlcpy(g->text, a->text, sizeof(g->text));
	switch (a->kind) {
	case ISCSIMUX_ANSWER_PDU:
		g->pdus++;
		break;
	case ISCSIMUX_ANSWER_FINAL:
		g->finals++;
		break;
	case ISCSIMUX_ANSWER_OUTCOME:
		g->outcomes++;
		break;
	case ISCSIMUX_ANSWER_ERROR:
		g->errors++;
		break;
	case ISCSIMUX_ANSWER_TAG:
		ck_abort_msg("a TAG on a session");
	}
	if (a->pdu == NULL)
		return;
	memcpy(g->bhs, a->pdu->bhs, sizeof(g->bhs));
	free(g->data);
	g->data = NULL;
	g->data_len = 0;
	if (a->pdu->ndata > 0) {
		g->data_len = a->pdu->data[0].iov_len;
		g->data = malloc(g->data_len);
		ck_assert_ptr_nonnull(g->data);
		memcpy(g->data, a->pdu->data[0].iov_base, g->data_len);
	}
}

/* Submit a PDU with `len` bytes of big[]. */
static int
submit(uint8_t opcode, uint32_t len, unsigned flags, uint64_t *id)
{
	uint8_t bhs[ISCSI_BHS_LEN] = { opcode, ISCSI_FLAG_FINAL };
	const struct iovec iov = { big, len };
	const struct iscsimux_pdu pdu = { .bhs = bhs, .data = &iov,
	    .ndata = len > 0 ? 1 : 0 };

	put_be32(bhs + ISCSI_OFF_ITT, 0x11223344);
	put_be32(bhs + ISCSI_OFF_TTT, ISCSI_TAG_NONE);
	put_be32(bhs + ISCSI_OFF_CMDSN, 0xaaaaaaaa);
	iscsi_set_dsl(bhs, len);
	return iscsimux_submit(f.h, &pdu, flags, 0, on_answer, &got, id);
}

START_TEST(test_verbatim)
{
	uint8_t ahs[8] = { 0, 5, 2, 0, 0, 0, 2, 0 };
	uint8_t bhs[ISCSI_BHS_LEN];
	struct iovec iov[2] = { { big, 600 }, { big + 600, 2 } };
	struct iscsimux_pdu pdu = { .bhs = bhs, .ahs = ahs, .data = iov,
	    .ndata = 2 };

	fake_pattern(bhs, sizeof(bhs), 77);
	bhs[ISCSI_OFF_OPCODE] = ISCSI_OP_SCSI_CMD;
	bhs[ISCSI_OFF_AHS] = 2;
	iscsi_set_dsl(bhs, 602);
	put_be32(bhs + ISCSI_OFF_EDTL, 602);
	ck_assert_int_eq(iscsimux_submit(f.h, &pdu, 0, 250, on_answer, &got,
	    NULL), 0);
	fake_want(&f, FRAME_SUBMIT);
	ck_assert_uint_eq(f.frame.h.len, 48 + 8 + 602 + 8);
	ck_assert_uint_eq(f.frame.h.flags, FRAME_F_TLV);
	ck_assert_mem_eq(f.frame.payload, bhs, 48);
	ck_assert_mem_eq(f.frame.payload + 48, ahs, 8);
	ck_assert_mem_eq(f.frame.payload + 56, big, 602);
}
END_TEST

START_TEST(test_lengths)
{
	uint8_t bhs[ISCSI_BHS_LEN] = { 0 };
	struct iovec iov = { big, 4 };
	struct iscsimux_pdu pdu = { .bhs = bhs, .data = &iov, .ndata = 1 };

	ck_assert_int_eq(submit(ISCSI_OP_NOP_OUT, 4, 0, NULL), 0);
	iscsi_set_dsl(bhs, 5);
	ck_assert_int_eq(iscsimux_submit(f.h, &pdu, 0, 0, on_answer, NULL,
	    NULL), -EINVAL);
	iscsi_set_dsl(bhs, 4);
	bhs[ISCSI_OFF_AHS] = 1;
	ck_assert_int_eq(iscsimux_submit(f.h, &pdu, 0, 0, on_answer, NULL,
	    NULL), -EINVAL);
	bhs[ISCSI_OFF_AHS] = 0;
	pdu.ahs = big;
	ck_assert_int_eq(iscsimux_submit(f.h, &pdu, 0, 0, on_answer, NULL,
	    NULL), -EINVAL);
	pdu.ahs = NULL;
	pdu.data = NULL;
	ck_assert_int_eq(iscsimux_submit(f.h, &pdu, 0, 0, on_answer, NULL,
	    NULL), -EINVAL);
	pdu.data = &iov;
	ck_assert_int_eq(iscsimux_submit(f.h, &pdu, 0, 0, NULL, NULL, NULL),
	    -EINVAL);
}
END_TEST

START_TEST(test_assigned_itt)
{
	ck_assert_int_eq(submit(ISCSI_OP_NOP_OUT, 0, ISCSIMUX_ASSIGN_ITT,
	    NULL), 0);
	fake_want(&f, FRAME_SUBMIT);
	ck_assert_uint_ne(iscsi_itt(f.frame.bhs), 0x11223344);
	ck_assert_uint_ne(iscsi_itt(f.frame.bhs), ISCSI_TAG_NONE);
	ck_assert_uint_ge(iscsi_itt(f.frame.bhs), UINT32_C(0x80000000));
}
END_TEST

/* Each PDU is an answer; the last is told by RFC 7143's rules. */
START_TEST(test_answers)
{
	uint8_t bhs[ISCSI_BHS_LEN];

	ck_assert_int_eq(submit(ISCSI_OP_SCSI_CMD, 0, 0, NULL), 0);
	fake_want(&f, FRAME_SUBMIT);
	fake_data_in(bhs, f.frame.bhs, 0, 100);
	fake_pdu(&f, f.frame.h.cookie, bhs, big, 100);
	ck_assert_uint_eq(got.pdus, 1);
	ck_assert_mem_eq(got.bhs, bhs, sizeof(bhs));
	ck_assert_uint_eq(got.data_len, 100);
	ck_assert_mem_eq(got.data, big, 100);
	fake_r2t(bhs, f.frame.bhs, 1, 0, 4);
	fake_pdu(&f, f.frame.h.cookie, bhs, NULL, 0);
	ck_assert_uint_eq(got.pdus, 2);
	fake_response(bhs, f.frame.bhs, 2);
	fake_pdu(&f, f.frame.h.cookie, bhs, NULL, 0);
	ck_assert_uint_eq(got.finals, 1);
	ck_assert_int_eq(got.last.outcome, ISCSIMUX_COMPLETED);
	ck_assert_uint_eq(got.bhs[ISCSI_OFF_STATUS], 2);
}
END_TEST

START_TEST(test_long_answer)
{
	static uint8_t frame[FRAME_DATA_MAX + 64];
	uint8_t bhs[ISCSI_BHS_LEN];
	uint32_t off, n;
	size_t len;

	ck_assert_int_eq(submit(ISCSI_OP_SCSI_CMD, 0, 0, NULL), 0);
	fake_want(&f, FRAME_SUBMIT);
	fake_data_in(bhs, f.frame.bhs, 0, BIG);
	bhs[1] = ISCSI_FLAG_FINAL | ISCSI_DATAIN_STATUS;
	for (off = 0; off < BIG; off += n) {
		n = BIG - off < FRAME_DATA_MAX ? BIG - off : FRAME_DATA_MAX;
		ck_assert_uint_eq(got.finals, 0);
		len = fake_encode(frame, FRAME_PDU,
		    off + n < BIG ? FRAME_F_MORE : 0, f.frame.h.cookie,
		    off == 0 ? bhs : NULL, big + off, n);
		fake_bytes(&f, frame, len);
	}
	ck_assert_uint_eq(got.finals, 1);
	ck_assert_uint_eq(got.data_len, BIG);
	ck_assert_mem_eq(got.data, big, BIG);
}
END_TEST

START_TEST(test_synthetic)
{
	uint8_t bhs[ISCSI_BHS_LEN] = { ISCSI_OP_TMF_RSP, ISCSI_FLAG_FINAL };
	uint8_t buf[128];
	size_t n;

	ck_assert_int_eq(submit(ISCSI_OP_TMF_REQ | ISCSI_IMMEDIATE, 0, 0,
	    NULL), 0);
	fake_want(&f, FRAME_SUBMIT);
	n = fake_encode(buf, FRAME_PDU, FRAME_F_SYNTHETIC, f.frame.h.cookie,
	    bhs, NULL, 0);
	fake_bytes(&f, buf, n);
	ck_assert_uint_eq(got.finals, 1);
	ck_assert(got.last.synthetic);
}
END_TEST

START_TEST(test_text_exchange)
{
	uint8_t bhs[ISCSI_BHS_LEN] = { ISCSI_OP_TEXT_RSP };
	const struct iscsimux_pdu more = { .bhs = bhs };
	uint64_t id;

	ck_assert_int_eq(submit(ISCSI_OP_TEXT_REQ, 16, 0, &id), 0);
	fake_want(&f, FRAME_SUBMIT);
	fake_pdu(&f, id, bhs, NULL, 0);
	ck_assert_uint_eq(got.pdus, 1);
	bhs[0] = ISCSI_OP_TEXT_REQ;
	ck_assert_int_eq(iscsimux_submit_more(f.h, id, &more, 0), 0);
	fake_want(&f, FRAME_SUBMIT);
	ck_assert_uint_eq(f.frame.h.cookie, id);
	bhs[0] = ISCSI_OP_TEXT_RSP;
	bhs[1] = ISCSI_FLAG_FINAL;
	fake_pdu(&f, id, bhs, NULL, 0);
	ck_assert_uint_eq(got.finals, 1);
	ck_assert_int_eq(iscsimux_submit_more(f.h, id, &more, 0), -ENOENT);
}
END_TEST

START_TEST(test_outcome)
{
	ck_assert_int_eq(submit(ISCSI_OP_LOGIN_REQ, 0, 0, NULL), 0);
	fake_want(&f, FRAME_SUBMIT);
	fake_outcome(&f, f.frame.h.cookie, MSG_OUTCOME_REFUSED,
	    MSG_R_BAD_OPCODE, "no Login here");
	ck_assert_uint_eq(got.outcomes, 1);
	ck_assert_int_eq(got.last.outcome, ISCSIMUX_REFUSED);
	ck_assert_int_eq(got.last.reason, ISCSIMUX_R_BAD_OPCODE);
	ck_assert_str_eq(got.text, "no Login here");
}
END_TEST

/* A Data-Out that is refused does not end the task; its command's does. */
START_TEST(test_refused_data)
{
	uint8_t bhs[ISCSI_BHS_LEN] = { ISCSI_OP_DATA_OUT, ISCSI_FLAG_FINAL };
	const struct iovec iov = { big, 8 };
	const struct iscsimux_pdu more = { .bhs = bhs, .data = &iov,
	    .ndata = 1 };
	uint64_t id;

	iscsi_set_dsl(bhs, 8);
	ck_assert_int_eq(submit(ISCSI_OP_SCSI_CMD, 0, 0, &id), 0);
	fake_want(&f, FRAME_SUBMIT);
	ck_assert_int_eq(iscsimux_submit_more(f.h, id, &more, 0), 0);
	fake_want(&f, FRAME_SUBMIT);
	ck_assert_uint_eq(f.frame.dsl, 8);
	fake_error(&f, id, MSG_R_BAD_TAG, FRAME_SUBMIT, "which R2T?");
	ck_assert_uint_eq(got.errors, 1);
	ck_assert_int_eq(got.last.reason, ISCSIMUX_R_BAD_TAG);
	ck_assert_str_eq(got.text, "which R2T?");
	ck_assert(!fake_next(&f));	/* nothing is cancelled for it */
	fake_outcome(&f, id, MSG_OUTCOME_TIMED_OUT, MSG_R_R2T_TIMEOUT, "");
	ck_assert_uint_eq(got.outcomes, 1);
}
END_TEST

START_TEST(test_many_more)
{
	uint8_t bhs[ISCSI_BHS_LEN] = { ISCSI_OP_DATA_OUT };
	const struct iscsimux_pdu more = { .bhs = bhs };
	unsigned i = 0;
	uint64_t id;
	int r;

	ck_assert_int_eq(submit(ISCSI_OP_SCSI_CMD, 0, 0, &id), 0);
	while ((r = iscsimux_submit_more(f.h, id, &more, 0)) == 0)
		i++;
	ck_assert_int_eq(r, -EAGAIN);
	ck_assert_uint_ge(i, 32);
	for (; i > 0; i--)
		fake_want(&f, FRAME_SUBMIT);
	fake_want(&f, FRAME_SUBMIT);
	ck_assert_int_eq(iscsimux_submit_more(f.h, id, &more, 0), 0);
	ck_assert_int_eq(iscsimux_submit_more(f.h, 0, &more, 0), -ENOENT);
	ck_assert_int_eq(iscsimux_submit_more(f.h, id + 1, &more, 0), -ENOENT);
}
END_TEST

START_TEST(test_fragments_out)
{
	struct frame_pdu a;
	struct frame_pdu_event ev;
	const uint8_t *p;
	uint32_t have = 0;
	size_t left, n;
	int r;

	ck_assert_int_eq(submit(ISCSI_OP_NOP_OUT, BIG, 0, NULL), 0);
	frame_pdu_init(&a);
	do {
		fake_want(&f, FRAME_SUBMIT);
		frame_pdu_begin(&a, f.frame.h.flags);
		p = f.frame.payload;
		left = f.frame.h.len;
		do {
			n = frame_pdu_feed(&a, p, left, &ev);
			p += n;
			left -= n;
			if (ev.kind != FRAME_PDU_DATA)
				continue;
			ck_assert_mem_eq(ev.data, big + have, ev.len);
			have += (uint32_t)ev.len;
		} while (ev.kind != FRAME_PDU_MORE);
		r = frame_pdu_end(&a, f.frame.h.flags);
		ck_assert_int_ge(r, 0);
	} while (r == 1);
	ck_assert_uint_eq(have, BIG);
}
END_TEST

/* Fragments of one PDU are not mixed with those of another. */
START_TEST(test_one_at_a_time)
{
	struct answers second = { 0 };
	uint8_t bhs[ISCSI_BHS_LEN] = { ISCSI_OP_NOP_OUT, ISCSI_FLAG_FINAL };
	const struct iovec iov = { big, BIG };
	const struct iscsimux_pdu pdu = { .bhs = bhs, .data = &iov,
	    .ndata = 1 };
	uint64_t id;

	ck_assert_int_eq(submit(ISCSI_OP_NOP_OUT, BIG, 0, &id), 0);
	iscsi_set_dsl(bhs, BIG);
	ck_assert_int_eq(iscsimux_submit(f.h, &pdu, 0, 0, on_answer, &second,
	    NULL), 0);
	do {
		fake_want(&f, FRAME_SUBMIT);
		ck_assert_uint_eq(f.frame.h.cookie, id);
	} while ((f.frame.h.flags & FRAME_F_MORE) != 0);
	fake_want(&f, FRAME_SUBMIT);
	ck_assert_uint_ne(f.frame.h.cookie, id);
	fake_close(&f);
	ck_assert_uint_eq(second.outcomes, 1);
}
END_TEST

/* The end of the frame comes later than its data. */
START_TEST(test_late_tlv)
{
	static const uint8_t tlv[204] = { 0x80, 1, 0, 200 };
	uint8_t bhs[ISCSI_BHS_LEN] = { ISCSI_OP_NOP_IN, ISCSI_FLAG_FINAL };
	uint8_t frame[512], data[100 + sizeof(tlv)];
	size_t n;

	ck_assert_int_eq(submit(ISCSI_OP_NOP_OUT, 0, 0, NULL), 0);
	fake_want(&f, FRAME_SUBMIT);
	iscsi_set_dsl(bhs, 100);
	memcpy(data, big, 100);
	memcpy(data + 100, tlv, sizeof(tlv));
	n = fake_encode(frame, FRAME_PDU, FRAME_F_TLV, f.frame.h.cookie, bhs,
	    data, sizeof(data));
	fake_bytes(&f, frame, n - sizeof(tlv));
	ck_assert_uint_eq(got.finals, 0);
	fake_bytes(&f, frame + n - sizeof(tlv), sizeof(tlv));
	ck_assert_uint_eq(got.finals, 1);
	ck_assert_uint_eq(got.data_len, 100);
	ck_assert_mem_eq(got.data, big, 100);
}
END_TEST

/*
 * A task that ends while a long PDU of its is half sent: the rest is voided,
 * in a frame of its own, and the stream goes on.
 */
START_TEST(test_void_out)
{
	static uint8_t huge[4u << 20];
	uint8_t bhs[ISCSI_BHS_LEN] = { ISCSI_OP_DATA_OUT, ISCSI_FLAG_FINAL };
	const struct iovec iov = { huge, sizeof(huge) };
	const struct iscsimux_pdu more = { .bhs = bhs, .data = &iov,
	    .ndata = 1 };
	struct fake_end ping = { 0 };
	unsigned fragments = 0;
	uint64_t id;

	iscsi_set_dsl(bhs, sizeof(huge));
	ck_assert_int_eq(submit(ISCSI_OP_SCSI_CMD, 0, 0, &id), 0);
	fake_want(&f, FRAME_SUBMIT);
	ck_assert_int_eq(iscsimux_submit_more(f.h, id, &more, 0), 0);
	fake_turn(&f);
	fake_outcome(&f, id, MSG_OUTCOME_ABORTED, MSG_R_RESET, "");
	ck_assert_uint_eq(got.outcomes, 1);
	ck_assert_int_eq(iscsimux_ping(f.h, fake_done, &ping), 0);
	for (;;) {
		ck_assert(fake_next(&f));
		ck_assert_uint_eq(f.frame.h.type, FRAME_SUBMIT);
		ck_assert_uint_eq(f.frame.h.cookie, id);
		if (f.frame.h.flags == FRAME_F_VOID)
			break;
		ck_assert_uint_eq(f.frame.h.flags, FRAME_F_MORE);
		ck_assert_uint_lt(++fragments, 16);
	}
	ck_assert_uint_gt(fragments, 0);
	fake_want(&f, FRAME_PING);
	fake_close(&f);
	ck_assert_uint_eq(ping.count, 1);
}
END_TEST

/* A CANCEL never cuts a PDU in two. */
START_TEST(test_cancel_after_fragments)
{
	uint64_t id;

	ck_assert_int_eq(submit(ISCSI_OP_NOP_OUT, BIG, 0, &id), 0);
	ck_assert_int_eq(iscsimux_cancel(f.h, id), 0);
	do
		fake_want(&f, FRAME_SUBMIT);
	while ((f.frame.h.flags & FRAME_F_MORE) != 0);
	fake_want(&f, FRAME_CANCEL);
}
END_TEST

static unsigned traced_in, traced_out;

static void
on_trace(void *arg, enum iscsimux_direction direction, uint64_t id,
    const uint8_t *bhs, const uint8_t *ahs)
{
	ck_assert_ptr_eq(arg, &traced_in);
	ck_assert_uint_ne(id, 0);
	ck_assert_ptr_null(ahs);
	if (direction == ISCSIMUX_DATA_OUT) {
		ck_assert_uint_eq(bhs[0], ISCSI_OP_NOP_OUT);
		traced_out++;
	} else {
		ck_assert_uint_eq(bhs[0], ISCSI_OP_NOP_IN);
		traced_in++;
	}
}

START_TEST(test_trace)
{
	uint8_t bhs[ISCSI_BHS_LEN] = { ISCSI_OP_NOP_IN, ISCSI_FLAG_FINAL };

	traced_in = traced_out = 0;
	iscsimux_set_trace(f.h, on_trace, &traced_in);
	ck_assert_int_eq(submit(ISCSI_OP_NOP_OUT, BIG, 0, NULL), 0);
	do
		fake_want(&f, FRAME_SUBMIT);
	while ((f.frame.h.flags & FRAME_F_MORE) != 0);
	ck_assert_uint_eq(traced_out, 1);
	ck_assert_uint_eq(traced_in, 0);
	fake_pdu(&f, f.frame.h.cookie, bhs, NULL, 0);
	ck_assert_uint_eq(traced_in, 1);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("lib_raw");
	TCase *tc = tcase_create("raw");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, test_verbatim);
	tcase_add_test(tc, test_lengths);
	tcase_add_test(tc, test_assigned_itt);
	tcase_add_test(tc, test_answers);
	tcase_add_test(tc, test_long_answer);
	tcase_add_test(tc, test_synthetic);
	tcase_add_test(tc, test_text_exchange);
	tcase_add_test(tc, test_outcome);
	tcase_add_test(tc, test_refused_data);
	tcase_add_test(tc, test_many_more);
	tcase_add_test(tc, test_fragments_out);
	tcase_add_test(tc, test_one_at_a_time);
	tcase_add_test(tc, test_late_tlv);
	tcase_add_test(tc, test_void_out);
	tcase_add_test(tc, test_cancel_after_fragments);
	tcase_add_test(tc, test_trace);
	suite_add_tcase(s, tc);
	return unit_run(s);
}
