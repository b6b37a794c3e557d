/* SPDX-License-Identifier: ISC */
/*
 * libiscsimux: data on their way out.  Immediate data, unsolicited bursts,
 * answers to R2Ts; what comes out is checked by the rules of RFC 7143
 * sections 11.3.1, 11.7 and 11.8, not by how the library computes it.
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/fakedaemon.h"
#include "tests/unit/unit.h"

#define BIG	(3u << 20)
#define DSL	1024u
#define FIRST	4096u

static struct fake f;
static struct fake_end e;
static uint8_t request[ISCSI_BHS_LEN];
static uint64_t cookie;
static uint8_t src[BIG], dst[BIG];
static const uint8_t cdb[16] = { 0x8a };

static void
start(uint32_t flags, uint32_t len)
{
	const struct iscsimux_scsi s = {
		.lun = { 0, 7 },
		.cdb = cdb,
		.cdb_len = 16,
		.direction = ISCSIMUX_DATA_OUT,
		.data = src,
		.data_len = len,
	};
	struct msg_params p = fake_params();

	p.flags = flags;
	if (f.h == NULL)
		fake_attach(&f, &p);
	memset(&e, 0, sizeof(e));
	memset(dst, 0, sizeof(dst));
	fake_pattern(src, sizeof(src), 3);
	ck_assert_int_eq(iscsimux_execute(f.h, &s, fake_done, &e, NULL), 0);
	fake_want(&f, FRAME_SUBMIT);
	memcpy(request, f.frame.bhs, sizeof(request));
	cookie = f.frame.h.cookie;
	ck_assert_uint_eq(f.frame.dsl, iscsi_dsl(request));
	memcpy(dst, f.frame.data, f.frame.dsl);
}

/* A burst of Data-Outs, checked PDU by PDU. */
static void
take_burst(uint32_t ttt, uint32_t off, uint32_t len, uint32_t dsl_max)
{
	const uint8_t *bhs;
	uint32_t sn = 0, n;

	while (len > 0) {
		fake_want(&f, FRAME_SUBMIT);
		bhs = f.frame.bhs;
		ck_assert_ptr_nonnull(bhs);
		ck_assert_uint_eq(f.frame.h.cookie, cookie);
		ck_assert_uint_eq(f.frame.h.flags, 0);
		ck_assert_uint_eq(bhs[0], ISCSI_OP_DATA_OUT);
		ck_assert_uint_eq(iscsi_itt(bhs), iscsi_itt(request));
		ck_assert_uint_eq(iscsi_ttt(bhs), ttt);
		if (ttt != ISCSI_TAG_NONE)
			ck_assert_uint_eq(iscsi_lun(bhs), iscsi_lun(request));
		ck_assert_uint_eq(get_be32(bhs + ISCSI_OFF_DATASN), sn++);
		ck_assert_uint_eq(get_be32(bhs + ISCSI_OFF_BUFFER_OFFSET),
		    off);
		n = iscsi_dsl(bhs);
		ck_assert_uint_eq(n, f.frame.dsl);
		ck_assert_uint_gt(n, 0);
		ck_assert_uint_le(n, dsl_max);
		ck_assert_uint_le(n, len);
		len -= n;
		ck_assert_uint_eq(bhs[1], len == 0 ? ISCSI_FLAG_FINAL : 0);
		memcpy(dst + off, f.frame.data, n);
		off += n;
	}
}

static void
send_r2t(uint32_t ttt, uint32_t off, uint32_t len)
{
	uint8_t bhs[ISCSI_BHS_LEN];

	fake_r2t(bhs, request, ttt, off, len);
	fake_pdu(&f, cookie, bhs, NULL, 0);
}

static void
finish(uint32_t len)
{
	uint8_t bhs[ISCSI_BHS_LEN];

	ck_assert(!fake_next(&f));
	ck_assert_uint_eq(e.count, 0);
	fake_response(bhs, request, 0);
	fake_pdu(&f, cookie, bhs, NULL, 0);
	ck_assert_uint_eq(e.count, 1);
	ck_assert(iscsimux_result_good(&e.r));
	ck_assert_uint_eq(e.r.transferred, len);
	ck_assert_mem_eq(dst, src, len);
}

static uint32_t
least(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

/*
 * One write: the command's immediate data and F bit, the unsolicited burst
 * that must be exactly what is left of the first burst, the rest by R2Ts.
 */
static void
write_once(uint32_t flags, uint32_t len)
{
	bool imm = (flags & MSG_PARAM_IMMEDIATE_DATA) != 0;
	bool unsolicited = (flags & MSG_PARAM_INITIAL_R2T) == 0;
	uint32_t dsl, off, n, ttt = 100;

	start(flags, len);
	dsl = iscsi_dsl(request);
	ck_assert_uint_eq(get_be32(request + ISCSI_OFF_EDTL), len);
	ck_assert_uint_eq(dsl, imm ? least(least(len, FIRST), DSL) : 0);
	off = unsolicited ? least(len, FIRST) : dsl;
	ck_assert_uint_eq(request[1], ISCSI_CMD_WRITE |
	    (off == dsl ? ISCSI_FLAG_FINAL : 0));
	if (off > dsl)
		take_burst(ISCSI_TAG_NONE, dsl, off - dsl, DSL);
	for (; off < len; off += n) {
		n = least(len - off, 3000);
		ck_assert(!fake_next(&f));
		send_r2t(ttt, off, n);
		take_burst(ttt++, off, n, DSL);
	}
	finish(len);
}

/* ImmediateData x InitialR2T (the loop variable) x lengths. */
START_TEST(test_matrix)
{
	static const uint32_t lengths[] = { 1, 512, DSL - 1, DSL, DSL + 1,
	    FIRST - 1, FIRST, FIRST + 1, 2 * FIRST, 20000 };
	uint32_t flags = 0;
	size_t i;

	if ((_i & 1) != 0)
		flags |= MSG_PARAM_IMMEDIATE_DATA;
	if ((_i & 2) != 0)
		flags |= MSG_PARAM_INITIAL_R2T;
	for (i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++)
		write_once(flags, lengths[i]);
	fake_close(&f);
}
END_TEST

/* A write of nothing is no write. */
START_TEST(test_no_data)
{
	start(MSG_PARAM_IMMEDIATE_DATA, 0);
	ck_assert_uint_eq(request[1], ISCSI_FLAG_FINAL);
	finish(0);
	fake_close(&f);
}
END_TEST

/* Nothing unsolicited is known to be allowed before a login. */
START_TEST(test_before_login)
{
	struct msg_params p = { 0 };

	fake_attach(&f, &p);
	start(0, 5000);
	ck_assert_uint_eq(iscsi_dsl(request), 0);
	ck_assert((request[1] & ISCSI_FLAG_FINAL) != 0);
	fake_close(&f);
}
END_TEST

/* Two R2Ts at once are answered in their order. */
START_TEST(test_two_r2ts)
{
	start(MSG_PARAM_INITIAL_R2T, 10000);
	send_r2t(5, 0, 6000);
	send_r2t(0, 6000, 4000);
	take_burst(5, 0, 6000, DSL);
	take_burst(0, 6000, 4000, DSL);
	finish(10000);
	fake_close(&f);
}
END_TEST

/* More data than the socket holds: made while there is room. */
START_TEST(test_long_burst)
{
	struct msg_params p = fake_params();

	p.send_dsl = 300000;
	p.flags = MSG_PARAM_INITIAL_R2T;
	fake_attach(&f, &p);
	start(0, BIG);
	send_r2t(1, 0, BIG);
	take_burst(1, 0, BIG, FRAME_DATA_MAX);
	finish(BIG);
	fake_close(&f);
}
END_TEST

/* A short command passes a long burst. */
START_TEST(test_no_starvation)
{
	const struct iscsimux_scsi s = { .cdb = cdb, .cdb_len = 6 };
	struct fake_end other = { 0 };
	struct msg_params p = fake_params();
	unsigned before = 0;

	p.send_dsl = 65536;
	p.flags = MSG_PARAM_INITIAL_R2T;
	fake_attach(&f, &p);
	start(0, BIG);
	send_r2t(1, 0, BIG);
	ck_assert_int_eq(iscsimux_execute(f.h, &s, fake_done, &other, NULL),
	    0);
	do {
		fake_want(&f, FRAME_SUBMIT);
		before += f.frame.dsl;
	} while (f.frame.h.cookie == cookie);
	ck_assert_uint_lt(before, BIG);
	fake_close(&f);
	ck_assert_uint_eq(e.count, 1);
	ck_assert_uint_eq(other.count, 1);
}
END_TEST

/* So many pieces that no iovec would hold them. */
START_TEST(test_pieces)
{
	static struct iovec iov[1000];
	struct iscsimux_scsi s = {
		.cdb = cdb,
		.cdb_len = 16,
		.direction = ISCSIMUX_DATA_OUT,
		.iov = iov,
		.niov = 1000,
	};
	struct msg_params p = fake_params();
	size_t i;

	p.send_dsl = 5000;
	p.first_burst = 6000;
	fake_attach(&f, &p);
	fake_pattern(src, sizeof(src), 3);
	memset(dst, 0, sizeof(dst));
	memset(&e, 0, sizeof(e));
	for (i = 0; i < 1000; i++) {
		iov[i].iov_base = src + i * 11;
		iov[i].iov_len = 11;
	}
	ck_assert_int_eq(iscsimux_execute(f.h, &s, fake_done, &e, NULL), 0);
	fake_want(&f, FRAME_SUBMIT);
	memcpy(request, f.frame.bhs, sizeof(request));
	cookie = f.frame.h.cookie;
	ck_assert_uint_eq(f.frame.dsl, 5000);
	memcpy(dst, f.frame.data, 5000);
	take_burst(ISCSI_TAG_NONE, 5000, 1000, 5000);
	send_r2t(9, 6000, 5000);
	take_burst(9, 6000, 5000, 5000);
	finish(11000);
	fake_close(&f);
}
END_TEST

START_TEST(test_residual)
{
	uint8_t bhs[ISCSI_BHS_LEN];

	start(MSG_PARAM_IMMEDIATE_DATA | MSG_PARAM_INITIAL_R2T, 1000);
	fake_response(bhs, request, 0);
	bhs[1] |= ISCSI_RSP_UNDERFLOW;
	put_be32(bhs + ISCSI_OFF_RESIDUAL, 400);
	fake_pdu(&f, cookie, bhs, NULL, 0);
	ck_assert_uint_eq(e.r.transferred, 600);
	ck_assert_uint_eq(e.r.residual, 400);
	start(0, 1000);
	fake_response(bhs, request, 0);
	bhs[1] |= ISCSI_RSP_UNDERFLOW;
	put_be32(bhs + ISCSI_OFF_RESIDUAL, 4000);
	fake_pdu(&f, cookie, bhs, NULL, 0);
	ck_assert_uint_eq(e.r.transferred, 0);
	fake_close(&f);
}
END_TEST

static void
bad_r2t(uint32_t off, uint32_t len)
{
	start(MSG_PARAM_INITIAL_R2T, 1000);
	send_r2t(1, off, len);
	fake_want(&f, FRAME_CANCEL);
	ck_assert(!fake_next(&f));
	ck_assert_uint_eq(e.count, 0);
	fake_outcome(&f, cookie, MSG_OUTCOME_ABORTED, MSG_R_CANCELLED, "");
	ck_assert_uint_eq(e.count, 1);
	ck_assert_int_eq(e.r.outcome, ISCSIMUX_FAILED);
	ck_assert_int_eq(e.r.reason, ISCSIMUX_R_BAD_FIELD);
}

START_TEST(test_bad_r2t)
{
	bad_r2t(0, 1001);
	bad_r2t(1000, 1);
	bad_r2t(0, 0);
	bad_r2t(UINT32_C(0xffffffff), 2);
	fake_close(&f);
}
END_TEST

START_TEST(test_r2t_for_read)
{
	const struct iscsimux_scsi s = {
		.cdb = cdb,
		.cdb_len = 16,
		.direction = ISCSIMUX_DATA_IN,
		.data = dst,
		.data_len = 1000,
	};
	struct msg_params p = fake_params();

	fake_attach(&f, &p);
	memset(&e, 0, sizeof(e));
	ck_assert_int_eq(iscsimux_execute(f.h, &s, fake_done, &e, NULL), 0);
	fake_want(&f, FRAME_SUBMIT);
	memcpy(request, f.frame.bhs, sizeof(request));
	cookie = f.frame.h.cookie;
	send_r2t(1, 0, 100);
	fake_want(&f, FRAME_CANCEL);
	fake_close(&f);
	ck_assert_uint_eq(e.count, 1);
}
END_TEST

/* More R2Ts at a time than max_r2t, which is 2 here. */
START_TEST(test_too_many_r2ts)
{
	uint8_t stream[1024], bhs[ISCSI_BHS_LEN];
	size_t len = 0;
	uint32_t i;

	start(MSG_PARAM_INITIAL_R2T, 10000);
	for (i = 0; i < 4; i++) {
		fake_r2t(bhs, request, i, i * 100, 100);
		len += fake_encode(stream + len, FRAME_PDU, 0, cookie, bhs,
		    NULL, 0);
	}
	fake_bytes(&f, stream, len);
	do
		ck_assert(fake_next(&f));
	while (f.frame.h.type == FRAME_SUBMIT);
	ck_assert_int_eq(f.frame.h.type, FRAME_CANCEL);
	fake_outcome(&f, cookie, MSG_OUTCOME_ABORTED, MSG_R_CANCELLED, "");
	ck_assert_int_eq(e.r.outcome, ISCSIMUX_FAILED);
	ck_assert_int_eq(e.r.reason, ISCSIMUX_R_DATA_LIMIT);
	fake_close(&f);
}
END_TEST

/* A refused Data-Out: cancelled, and ends with that reason. */
START_TEST(test_data_refused)
{
	start(MSG_PARAM_INITIAL_R2T, 2000);
	send_r2t(1, 0, 2000);
	take_burst(1, 0, 2000, DSL);
	fake_error(&f, cookie, MSG_R_BAD_TAG, FRAME_SUBMIT, "not that one");
	ck_assert_uint_eq(e.count, 0);
	fake_want(&f, FRAME_CANCEL);
	/* A second one changes nothing. */
	fake_error(&f, cookie, MSG_R_BAD_FIELD, FRAME_SUBMIT, "nor that");
	fake_outcome(&f, cookie, MSG_OUTCOME_ABORTED, MSG_R_CANCELLED, "");
	ck_assert_uint_eq(e.count, 1);
	ck_assert_int_eq(e.r.outcome, ISCSIMUX_FAILED);
	ck_assert_int_eq(e.r.reason, ISCSIMUX_R_BAD_TAG);
	ck_assert_str_eq(e.text, "not that one");
	fake_close(&f);
}
END_TEST

/* After a cancel the daemon answers R2Ts itself and may refuse ours. */
START_TEST(test_cancelled_write)
{
	const struct iscsimux_scsi s = {
		.cdb = cdb,
		.cdb_len = 16,
		.direction = ISCSIMUX_DATA_OUT,
		.data = src,
		.data_len = 2000,
	};
	struct msg_params p = fake_params();
	uint64_t id;

	p.flags = MSG_PARAM_INITIAL_R2T;
	fake_attach(&f, &p);
	memset(&e, 0, sizeof(e));
	ck_assert_int_eq(iscsimux_execute(f.h, &s, fake_done, &e, &id), 0);
	fake_want(&f, FRAME_SUBMIT);
	memcpy(request, f.frame.bhs, sizeof(request));
	cookie = f.frame.h.cookie;
	send_r2t(1, 0, 1000);
	take_burst(1, 0, 1000, DSL);
	ck_assert_int_eq(iscsimux_cancel(f.h, id), 0);
	fake_want(&f, FRAME_CANCEL);
	send_r2t(2, 1000, 1000);
	ck_assert(!fake_next(&f));
	fake_error(&f, cookie, MSG_R_BAD_TAG, FRAME_SUBMIT, "aborting");
	fake_outcome(&f, cookie, MSG_OUTCOME_ABORTED, MSG_R_CANCELLED, "done");
	ck_assert_uint_eq(e.count, 1);
	ck_assert_int_eq(e.r.outcome, ISCSIMUX_ABORTED);
	ck_assert_str_eq(e.text, "done");
	fake_close(&f);
}
END_TEST

/*
 * The target ends a write early, its data still on the way: they may not be
 * read from the caller's buffer any more, which is gone.
 */
START_TEST(test_early_end)
{
	struct iscsimux_scsi s = {
		.cdb = cdb,
		.cdb_len = 16,
		.direction = ISCSIMUX_DATA_OUT,
		.data_len = BIG,
	};
	struct msg_params p = fake_params();
	uint8_t bhs[ISCSI_BHS_LEN];
	uint32_t got = 0;

	p.send_dsl = FRAME_DATA_MAX;
	p.flags = MSG_PARAM_INITIAL_R2T;
	fake_attach(&f, &p);
	memset(&e, 0, sizeof(e));
	s.data = malloc(BIG);
	ck_assert_ptr_nonnull(s.data);
	fake_pattern(s.data, BIG, 3);
	fake_pattern(src, BIG, 3);
	ck_assert_int_eq(iscsimux_execute(f.h, &s, fake_done, &e, NULL), 0);
	fake_want(&f, FRAME_SUBMIT);
	memcpy(request, f.frame.bhs, sizeof(request));
	cookie = f.frame.h.cookie;
	send_r2t(1, 0, BIG);
	fake_response(bhs, request, 2);
	fake_pdu(&f, cookie, bhs, NULL, 0);
	ck_assert_uint_eq(e.count, 1);
	free(s.data);
	/* Whole frames come out to the end, with the bytes they had. */
	while (fake_next(&f)) {
		ck_assert_mem_eq(f.frame.data, src + got, f.frame.dsl);
		got += f.frame.dsl;
	}
	ck_assert_uint_gt(got, 0);
	ck_assert_uint_lt(got, BIG);
	fake_close(&f);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("lib_write");
	TCase *tc = tcase_create("write");

	tcase_add_loop_test(tc, test_matrix, 0, 4);
	tcase_add_test(tc, test_no_data);
	tcase_add_test(tc, test_before_login);
	tcase_add_test(tc, test_two_r2ts);
	tcase_add_test(tc, test_long_burst);
	tcase_add_test(tc, test_no_starvation);
	tcase_add_test(tc, test_pieces);
	tcase_add_test(tc, test_residual);
	tcase_add_test(tc, test_bad_r2t);
	tcase_add_test(tc, test_r2t_for_read);
	tcase_add_test(tc, test_too_many_r2ts);
	tcase_add_test(tc, test_data_refused);
	tcase_add_test(tc, test_cancelled_write);
	tcase_add_test(tc, test_early_end);
	suite_add_tcase(s, tc);
	return unit_run(s);
}
