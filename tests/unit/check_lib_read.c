/* SPDX-License-Identifier: ISC */
/*
 * libiscsimux: data on their way in.  One PDU, many, fragments, pieces of
 * the caller's buffer, data that do not fit.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "tests/unit/fakedaemon.h"
#include "tests/unit/unit.h"

#define BIG	(700u * 1024)

static struct fake f;
static struct msg_params params;
static struct fake_end e;
static uint8_t request[ISCSI_BHS_LEN];
static uint64_t cookie;
static uint8_t want[BIG], buf[BIG];
static const uint8_t cdb[32] = { 0x88, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12,
    13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30,
    31 };

static void
setup(void)
{
	params = fake_params();
	memset(&e, 0, sizeof(e));
	memset(buf, 0xee, sizeof(buf));
	fake_pattern(want, sizeof(want), 1);
	fake_attach(&f, &params);
}

static void
teardown(void)
{
	fake_close(&f);
	ck_assert_uint_eq(e.count, 1);
}

/* Start a read and take its SUBMIT. */
static void
start_read(const struct iscsimux_scsi *s)
{
	ck_assert_int_eq(iscsimux_execute(f.h, s, fake_done, &e, NULL), 0);
	fake_want(&f, FRAME_SUBMIT);
	memcpy(request, f.frame.bhs, sizeof(request));
	cookie = f.frame.h.cookie;
}

static void
start_simple(size_t len)
{
	const struct iscsimux_scsi s = {
		.lun = { 0, 3 },
		.cdb = cdb,
		.cdb_len = 16,
		.direction = ISCSIMUX_DATA_IN,
		.attribute = ISCSIMUX_SIMPLE,
		.data = buf,
		.data_len = len,
	};

	start_read(&s);
}

static void
send_data(uint32_t off, uint32_t len)
{
	uint8_t bhs[ISCSI_BHS_LEN];

	fake_data_in(bhs, request, off, len);
	fake_pdu(&f, cookie, bhs, want + off, len);
}

static void
send_response(uint8_t status)
{
	uint8_t bhs[ISCSI_BHS_LEN];

	fake_response(bhs, request, status);
	fake_pdu(&f, cookie, bhs, NULL, 0);
}

static void
expect_good(uint32_t len)
{
	ck_assert_uint_eq(e.count, 1);
	ck_assert(iscsimux_result_good(&e.r));
	ck_assert_uint_eq(e.r.transferred, len);
	ck_assert_mem_eq(buf, want, len);
	if (len < BIG)
		ck_assert_uint_eq(buf[len], 0xee);
}

START_TEST(test_command_fields)
{
	start_simple(512);
	ck_assert_uint_eq(f.frame.h.len, ISCSI_BHS_LEN);
	ck_assert_uint_eq(request[0], ISCSI_OP_SCSI_CMD);
	ck_assert_uint_eq(request[1], ISCSI_FLAG_FINAL | ISCSI_CMD_READ |
	    ISCSIMUX_SIMPLE);
	ck_assert_uint_eq(get_be32(request + 4), 0);
	ck_assert_mem_eq(request + ISCSI_OFF_LUN, "\0\3\0\0\0\0\0\0", 8);
	ck_assert_uint_ne(iscsi_itt(request), ISCSI_TAG_NONE);
	ck_assert_uint_eq(get_be32(request + ISCSI_OFF_EDTL), 512);
	ck_assert_uint_eq(get_be32(request + ISCSI_OFF_CMDSN), 0);
	ck_assert_uint_eq(get_be32(request + ISCSI_OFF_EXPSTATSN), 0);
	ck_assert_mem_eq(request + ISCSI_OFF_CDB, cdb, 16);
	send_data(0, 512);
	ck_assert_uint_eq(e.count, 0);
	send_response(0);
	expect_good(512);
}
END_TEST

/* AHSLength counts the reserved byte: CDB length less 15. */
START_TEST(test_extended_cdb)
{
	struct iscsimux_scsi s = { .cdb = cdb, .cdb_len = 27 };
	const uint8_t ahs[] = { 0, 12, 1, 0, 16, 17, 18, 19, 20, 21, 22, 23,
	    24, 25, 26, 0 };

	start_read(&s);
	ck_assert_uint_eq(f.frame.h.len, ISCSI_BHS_LEN + sizeof(ahs));
	ck_assert_uint_eq(request[ISCSI_OFF_AHS], sizeof(ahs) / 4);
	ck_assert_mem_eq(f.frame.payload + ISCSI_BHS_LEN, ahs, sizeof(ahs));
	send_response(0);
	ck_assert(iscsimux_result_good(&e.r));
}
END_TEST

START_TEST(test_many_pdus)
{
	uint32_t off;

	start_simple(10000);
	for (off = 0; off < 10000; off += 1000)
		send_data(off, 1000);
	send_response(0);
	expect_good(10000);
}
END_TEST

/* Frames of 256 KiB, received straight into the buffer. */
START_TEST(test_big_pdus)
{
	uint32_t off, n;

	start_simple(BIG);
	for (off = 0; off < BIG; off += n) {
		n = BIG - off < FRAME_DATA_MAX ? BIG - off : FRAME_DATA_MAX;
		send_data(off, n);
	}
	send_response(0);
	expect_good(BIG);
}
END_TEST

static void
send_fragments(uint32_t len, uint32_t step, bool void_last)
{
	uint8_t bhs[ISCSI_BHS_LEN], *frame = malloc(step + 64);
	uint32_t off, n;
	uint16_t flags;
	size_t size;

	ck_assert_ptr_nonnull(frame);
	fake_data_in(bhs, request, 0, len);
	for (off = 0; off < len; off += n) {
		n = len - off < step ? len - off : step;
		flags = off + n < len ? FRAME_F_MORE : 0;
		if (off + n == len && void_last) {
			flags = FRAME_F_VOID;
			n = 0;
		}
		size = fake_encode(frame, FRAME_PDU, flags, cookie,
		    off == 0 ? bhs : NULL, want + off, n);
		fake_bytes(&f, frame, size);
		if (flags == FRAME_F_VOID)
			break;
	}
	free(frame);
}

START_TEST(test_fragments)
{
	start_simple(BIG);
	send_fragments(BIG, FRAME_DATA_MAX, false);
	send_response(0);
	expect_good(BIG);
}
END_TEST

START_TEST(test_small_fragments)
{
	start_simple(1000);
	send_fragments(1000, 7, false);
	send_response(0);
	expect_good(1000);
}
END_TEST

/* What a voided PDU brought does not count; the same data come again. */
START_TEST(test_void)
{
	start_simple(1000);
	send_fragments(1000, 100, true);
	ck_assert_uint_eq(e.count, 0);
	send_data(0, 1000);
	send_response(0);
	expect_good(1000);
}
END_TEST

/* Fragments of two reads, one frame of each in turn. */
START_TEST(test_interleaved_fragments)
{
	static uint8_t other[900];
	struct iscsimux_scsi s = {
		.cdb = cdb,
		.cdb_len = 16,
		.direction = ISCSIMUX_DATA_IN,
		.data = other,
		.data_len = sizeof(other),
	};
	uint8_t a[ISCSI_BHS_LEN], b[ISCSI_BHS_LEN], frame[512];
	struct fake_end second = { 0 };
	uint64_t cookie2;
	uint32_t off;
	uint16_t flags;
	size_t n;

	start_simple(900);
	fake_data_in(a, request, 0, 900);
	ck_assert_int_eq(iscsimux_execute(f.h, &s, fake_done, &second, NULL),
	    0);
	fake_want(&f, FRAME_SUBMIT);
	cookie2 = f.frame.h.cookie;
	fake_data_in(b, f.frame.bhs, 0, 900);
	b[ISCSI_OFF_FLAGS] = ISCSI_FLAG_FINAL | ISCSI_DATAIN_STATUS;
	for (off = 0; off < 900; off += 100) {
		flags = off < 800 ? FRAME_F_MORE : 0;
		n = fake_encode(frame, FRAME_PDU, flags, cookie,
		    off == 0 ? a : NULL, want + off, 100);
		fake_bytes(&f, frame, n);
		n = fake_encode(frame, FRAME_PDU, flags, cookie2,
		    off == 0 ? b : NULL, want + 5000 + off, 100);
		fake_bytes(&f, frame, n);
	}
	ck_assert_uint_eq(second.count, 1);
	ck_assert(iscsimux_result_good(&second.r));
	ck_assert_mem_eq(other, want + 5000, 900);
	send_response(0);
	expect_good(900);
}
END_TEST

START_TEST(test_iovec)
{
	struct iovec iov[] = {
		{ buf, 0 },
		{ buf, 1 },
		{ buf + 1, 4999 },
		{ buf + 5000, 0 },
		{ buf + 5000, 300000 },
		{ buf + 305000, 95000 },
	};
	struct iscsimux_scsi s = {
		.cdb = cdb,
		.cdb_len = 16,
		.direction = ISCSIMUX_DATA_IN,
		.iov = iov,
		.niov = 6,
	};

	start_read(&s);
	ck_assert_uint_eq(get_be32(request + ISCSI_OFF_EDTL), 400000);
	send_data(0, 10);
	send_data(10, 200000);
	send_data(200010, 199990);
	send_response(0);
	expect_good(400000);
}
END_TEST

/* Everything byte by byte. */
START_TEST(test_dribble)
{
	uint8_t stream[4096], bhs[ISCSI_BHS_LEN];
	size_t len, i;

	start_simple(1000);
	fake_data_in(bhs, request, 0, 1000);
	len = fake_encode(stream, FRAME_PDU, 0, cookie, bhs, want, 1000);
	fake_response(bhs, request, 0);
	len += fake_encode(stream + len, FRAME_PDU, 0, cookie, bhs, NULL, 0);
	for (i = 0; i < len; i++) {
		ck_assert_uint_eq(e.count, 0);
		fake_bytes(&f, stream + i, 1);
	}
	expect_good(1000);
}
END_TEST

/* A large PDU cut in two at many places. */
START_TEST(test_cuts)
{
	static uint8_t stream[40000];
	uint8_t bhs[ISCSI_BHS_LEN];
	size_t len, cut;

	start_simple(30000);
	send_response(0);
	for (cut = 1; cut < 30200; cut += 1777) {
		memset(&e, 0, sizeof(e));
		memset(buf, 0xee, sizeof(buf));
		start_simple(30000);
		fake_data_in(bhs, request, 0, 30000);
		len = fake_encode(stream, FRAME_PDU, 0, cookie, bhs, want,
		    30000);
		fake_response(bhs, request, 0);
		len += fake_encode(stream + len, FRAME_PDU, 0, cookie, bhs,
		    NULL, 0);
		ck_assert_uint_lt(cut, len);
		fake_bytes(&f, stream, cut);
		fake_bytes(&f, stream + cut, len - cut);
		expect_good(30000);
	}
}
END_TEST

/* The same with fragments: the next frame's header is not data. */
START_TEST(test_fragment_cuts)
{
	static uint8_t stream[310000];
	uint8_t bhs[ISCSI_BHS_LEN];
	size_t len, cut;
	uint32_t off;

	start_simple(300000);
	send_response(0);
	for (cut = 1; cut < 300000; cut += 17777) {
		memset(&e, 0, sizeof(e));
		memset(buf, 0xee, sizeof(buf));
		start_simple(300000);
		fake_data_in(bhs, request, 0, 300000);
		for (len = 0, off = 0; off < 300000; off += 30000)
			len += fake_encode(stream + len, FRAME_PDU,
			    off < 270000 ? FRAME_F_MORE : 0, cookie,
			    off == 0 ? bhs : NULL, want + off, 30000);
		fake_response(bhs, request, 0);
		len += fake_encode(stream + len, FRAME_PDU, 0, cookie, bhs,
		    NULL, 0);
		fake_bytes(&f, stream, cut);
		fake_bytes(&f, stream + cut, len - cut);
		expect_good(300000);
	}
}
END_TEST

/* The task is cancelled, and fails when the daemon has ended it. */
static void
expect_failed(uint16_t reason)
{
	ck_assert_uint_eq(e.count, 0);
	fake_want(&f, FRAME_CANCEL);
	ck_assert_uint_eq(e.count, 0);
	fake_outcome(&f, cookie, MSG_OUTCOME_ABORTED, MSG_R_CANCELLED, "");
	ck_assert_uint_eq(e.count, 1);
	ck_assert_int_eq(e.r.outcome, ISCSIMUX_FAILED);
	ck_assert_int_eq((int)e.r.reason, (int)reason);
	ck_assert_uint_gt(strlen(e.text), 0);
}

static void
bad_data(uint32_t off, uint32_t len)
{
	uint8_t bhs[ISCSI_BHS_LEN];
	size_t i;

	start_simple(512);
	fake_data_in(bhs, request, off, len);
	fake_pdu(&f, cookie, bhs, want, len);
	expect_failed(MSG_R_BAD_FIELD);
	for (i = 0; i < 4096; i++)
		ck_assert_uint_eq(buf[i], 0xee);
}

START_TEST(test_data_too_long)
{
	bad_data(0, 513);
}
END_TEST

START_TEST(test_data_beyond)
{
	bad_data(512, 1);
}
END_TEST

START_TEST(test_data_wraps)
{
	bad_data(UINT32_C(0xffffffff), 2);
}
END_TEST

START_TEST(test_data_hole)
{
	bad_data(100, 100);
}
END_TEST

START_TEST(test_data_without_read)
{
	const struct iscsimux_scsi s = { .cdb = cdb, .cdb_len = 6 };

	start_read(&s);
	send_data(0, 4);
	expect_failed(MSG_R_BAD_FIELD);
}
END_TEST

START_TEST(test_wrong_answer)
{
	uint8_t bhs[ISCSI_BHS_LEN] = { ISCSI_OP_TMF_RSP, ISCSI_FLAG_FINAL };

	start_simple(512);
	fake_pdu(&f, cookie, bhs, NULL, 0);
	expect_failed(MSG_R_BAD_OPCODE);
}
END_TEST

/* A failure that the target's status overtakes is still a failure. */
START_TEST(test_failed_then_good)
{
	start_simple(512);
	send_data(100, 100);
	send_response(0);
	ck_assert_uint_eq(e.count, 1);
	ck_assert_int_eq(e.r.outcome, ISCSIMUX_FAILED);
}
END_TEST

/* Late frames of an ended task are nobody's, even in a reused slot. */
START_TEST(test_late_frames)
{
	uint8_t bhs[ISCSI_BHS_LEN];
	uint32_t old_itt;
	uint64_t old;

	start_simple(512);
	send_response(0);
	old = cookie;
	old_itt = iscsi_itt(request);
	fake_data_in(bhs, request, 0, 512);
	/* Until the slot is used again, which the low half tells. */
	do {
		if (iscsi_itt(request) != old_itt)
			send_response(0);
		memset(&e, 0, sizeof(e));
		start_simple(512);
	} while ((uint32_t)cookie != (uint32_t)old);
	ck_assert_uint_ne(cookie, old);
	ck_assert_uint_ne(iscsi_itt(request), old_itt);
	fake_pdu(&f, old, bhs, want + 512, 512);
	fake_outcome(&f, old, MSG_OUTCOME_UNKNOWN, 0, "");
	fake_error(&f, old, MSG_R_NO_SUCH_TASK, FRAME_SUBMIT, "");
	ck_assert_uint_eq(e.count, 0);
	send_data(0, 512);
	send_response(0);
	expect_good(512);
}
END_TEST

START_TEST(test_bad_requests)
{
	struct iovec iov[2] = { { buf, SIZE_MAX }, { buf, 2 } };
	struct iscsimux_scsi s = { .cdb = cdb, .cdb_len = 16 };

	start_read(&s);
	send_response(0);
	s.direction = ISCSIMUX_DATA_IN;
	s.iov = iov;
	s.niov = 2;
	ck_assert_int_lt(iscsimux_execute(f.h, &s, fake_done, &e, NULL), 0);
	iov[0].iov_len = UINT32_MAX;
	ck_assert_int_lt(iscsimux_execute(f.h, &s, fake_done, &e, NULL), 0);
	s.niov = 0;
	s.data_len = 5;
	ck_assert_int_lt(iscsimux_execute(f.h, &s, fake_done, &e, NULL), 0);
	s.data = buf;
	s.cdb_len = 0;
	ck_assert_int_lt(iscsimux_execute(f.h, &s, fake_done, &e, NULL), 0);
	s.cdb_len = ISCSIMUX_CDB_MAX + 1;
	ck_assert_int_lt(iscsimux_execute(f.h, &s, fake_done, &e, NULL), 0);
	s.cdb_len = 6;
	s.direction = ISCSIMUX_NO_DATA;
	ck_assert_int_lt(iscsimux_execute(f.h, &s, fake_done, &e, NULL), 0);
	s.direction = ISCSIMUX_DATA_IN;
	ck_assert_int_lt(iscsimux_execute(f.h, &s, NULL, &e, NULL), 0);
	ck_assert(!fake_next(&f));
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("lib_read");
	TCase *tc = tcase_create("read");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, test_command_fields);
	tcase_add_test(tc, test_extended_cdb);
	tcase_add_test(tc, test_many_pdus);
	tcase_add_test(tc, test_big_pdus);
	tcase_add_test(tc, test_fragments);
	tcase_add_test(tc, test_small_fragments);
	tcase_add_test(tc, test_void);
	tcase_add_test(tc, test_interleaved_fragments);
	tcase_add_test(tc, test_iovec);
	tcase_add_test(tc, test_dribble);
	tcase_add_test(tc, test_cuts);
	tcase_add_test(tc, test_fragment_cuts);
	tcase_add_test(tc, test_data_too_long);
	tcase_add_test(tc, test_data_beyond);
	tcase_add_test(tc, test_data_wraps);
	tcase_add_test(tc, test_data_hole);
	tcase_add_test(tc, test_data_without_read);
	tcase_add_test(tc, test_wrong_answer);
	tcase_add_test(tc, test_failed_then_good);
	tcase_add_test(tc, test_late_frames);
	tcase_add_test(tc, test_bad_requests);
	suite_add_tcase(s, tc);
	return unit_run(s);
}
