/* SPDX-License-Identifier: ISC */
/*
 * libiscsimux: how things end.  Whatever the daemon sends and wherever it
 * stops, each accepted request is called back exactly once; callbacks may do
 * what the header allows.
 */
#include "config.h"

#include <sys/socket.h>

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/fakedaemon.h"
#include "tests/unit/unit.h"

#define NREQ	4

static struct fake f;
static struct fake_end e[NREQ];
static uint8_t in_buf[2000], out_buf[2000];
static const uint8_t cdb[16];

static void
request(unsigned i, enum iscsimux_direction direction)
{
	const struct iscsimux_scsi s = {
		.cdb = cdb,
		.cdb_len = 16,
		.direction = direction,
		.data = direction == ISCSIMUX_DATA_IN ? in_buf : out_buf,
		.data_len = direction == ISCSIMUX_NO_DATA ? 0 : 2000,
	};

	ck_assert_int_eq(iscsimux_execute(f.h, &s, fake_done, &e[i], NULL), 0);
}

static void
attach(void)
{
	struct msg_params p = fake_params();

	p.flags = MSG_PARAM_INITIAL_R2T;
	memset(e, 0, sizeof(e));
	fake_attach(&f, &p);
}

/* All four kinds: read, write, no data, NOP-Out. */
static void
request_all(uint8_t bhs[NREQ][ISCSI_BHS_LEN], uint64_t cookie[NREQ])
{
	unsigned i;

	request(0, ISCSIMUX_DATA_IN);
	request(1, ISCSIMUX_DATA_OUT);
	request(2, ISCSIMUX_NO_DATA);
	ck_assert_int_eq(iscsimux_nop(f.h, "abcd", 4, NULL, 0, 0, fake_done,
	    &e[3], NULL), 0);
	for (i = 0; i < NREQ; i++) {
		fake_want(&f, FRAME_SUBMIT);
		memcpy(bhs[i], f.frame.bhs, ISCSI_BHS_LEN);
		cookie[i] = f.frame.h.cookie;
	}
}

/* A whole exchange; `ends[i]` is where request i is complete. */
static size_t
script(uint8_t *out, uint8_t bhs[NREQ][ISCSI_BHS_LEN],
    const uint64_t cookie[NREQ], size_t ends[NREQ])
{
	uint8_t pdu[ISCSI_BHS_LEN];
	size_t n = 0;

	fake_r2t(pdu, bhs[1], 1, 0, 2000);
	n += fake_encode(out + n, FRAME_PDU, 0, cookie[1], pdu, NULL, 0);
	fake_data_in(pdu, bhs[0], 0, 1200);
	n += fake_encode(out + n, FRAME_PDU, FRAME_F_MORE, cookie[0], pdu,
	    out_buf, 700);
	fake_response(pdu, bhs[2], 0);
	n += fake_encode(out + n, FRAME_PDU, 0, cookie[2], pdu, NULL, 0);
	ends[2] = n;
	n += fake_encode(out + n, FRAME_PDU, 0, cookie[0], NULL, out_buf, 500);
	fake_data_in(pdu, bhs[0], 1200, 800);
	pdu[1] = ISCSI_FLAG_FINAL | ISCSI_DATAIN_STATUS;
	n += fake_encode(out + n, FRAME_PDU, 0, cookie[0], pdu, out_buf, 800);
	ends[0] = n;
	fake_response(pdu, bhs[1], 2);
	iscsi_set_dsl(pdu, 20);
	n += fake_encode(out + n, FRAME_PDU, 0, cookie[1], pdu,
	    "\0\022sensesensesensesen", 20);
	ends[1] = n;
	memset(pdu, 0, sizeof(pdu));
	pdu[0] = ISCSI_OP_NOP_IN;
	pdu[1] = ISCSI_FLAG_FINAL;
	n += fake_encode(out + n, FRAME_PDU, 0, cookie[3], pdu, NULL, 0);
	ends[3] = n;
	return n;
}

START_TEST(test_death_at_every_byte)
{
	static uint8_t stream[8192];
	uint8_t bhs[NREQ][ISCSI_BHS_LEN];
	uint64_t cookie[NREQ];
	size_t ends[NREQ], len = 1, cut;
	unsigned i;

	for (cut = 0; cut <= len; cut++) {
		attach();
		request_all(bhs, cookie);
		len = script(stream, bhs, cookie, ends);
		ck_assert_uint_lt(len, sizeof(stream));
		fake_bytes(&f, stream, cut);
		fake_die(&f);
		fake_turn(&f);
		ck_assert_uint_eq(f.news.closed, 1);
		ck_assert_int_eq(f.news.close_error, -ECONNRESET);
		for (i = 0; i < NREQ; i++) {
			ck_assert_uint_eq(e[i].count, 1);
			ck_assert_int_eq(e[i].r.outcome, cut >= ends[i] ?
			    ISCSIMUX_COMPLETED : ISCSIMUX_UNKNOWN);
		}
		fake_close(&f);
		ck_assert_uint_eq(f.news.closed, 1);
		for (i = 0; i < NREQ; i++)
			ck_assert_uint_eq(e[i].count, 1);
	}
	ck_assert_uint_gt(len, 2000);
}
END_TEST

/* The same while HELLO and ATTACH are answered. */
START_TEST(test_death_in_handshake)
{
	const struct iscsimux_attach o = { .session = "disk" };
	const struct msg_welcome w = { .version = 1, .data_max = 4096 };
	uint8_t payload[256], stream[512];
	size_t len, cut;
	int n;

	n = msg_welcome_encode(&w, payload, sizeof(payload));
	ck_assert_int_gt(n, 0);
	len = fake_encode(stream, FRAME_WELCOME, 0, 1, NULL, payload,
	    (size_t)n);
	for (cut = 0; cut <= len; cut++) {
		fake_open(&f);
		memset(e, 0, sizeof(e));
		ck_assert_int_eq(iscsimux_attach(f.h, &o), 0);
		ck_assert_int_eq(iscsimux_ping(f.h, fake_done, &e[0]), 0);
		fake_bytes(&f, stream, cut);
		fake_die(&f);
		fake_turn(&f);
		ck_assert_uint_eq(f.news.closed, 1);
		ck_assert_uint_eq(f.news.attached, 0);
		ck_assert_uint_eq(e[0].count, 1);
		fake_close(&f);
	}
}
END_TEST

START_TEST(test_not_sent)
{
	attach();
	request(0, ISCSIMUX_DATA_IN);
	iscsimux_disconnect(f.h);
	ck_assert_uint_eq(e[0].count, 1);
	ck_assert_int_eq(e[0].r.outcome, ISCSIMUX_NOT_SENT);
	ck_assert(e[0].r.not_sent);
	ck_assert_uint_eq(f.news.closed, 0);
	ck_assert_int_eq(iscsimux_fd(f.h), -1);
	ck_assert_int_eq(iscsimux_events(f.h), 0);
	ck_assert_int_eq(iscsimux_service(f.h, POLLIN), -ENOTCONN);
	ck_assert_int_eq(iscsimux_flush(f.h), -ENOTCONN);
	fake_close(&f);
}
END_TEST

/* The daemon went before the flush: still no byte had left. */
START_TEST(test_not_sent_by_death)
{
	attach();
	fake_die(&f);
	request(0, ISCSIMUX_DATA_IN);
	ck_assert_int_eq(iscsimux_flush(f.h), 0);
	ck_assert_uint_eq(e[0].count, 0);
	fake_turn(&f);
	ck_assert_uint_eq(e[0].count, 1);
	ck_assert_int_eq(e[0].r.outcome, ISCSIMUX_NOT_SENT);
	ck_assert_uint_eq(f.news.closed, 1);
	fake_close(&f);
}
END_TEST

/* The socket took the first request in part and nothing of the second. */
START_TEST(test_half_sent)
{
	static uint8_t big[FRAME_DATA_MAX];
	const int size = 8192;
	struct msg_params p = fake_params();
	struct iscsimux_scsi s = {
		.cdb = cdb,
		.cdb_len = 16,
		.direction = ISCSIMUX_DATA_OUT,
		.data = big,
		.data_len = sizeof(big),
	};

	memset(e, 0, sizeof(e));
	p.send_dsl = p.first_burst = p.max_burst = FRAME_DATA_MAX;
	fake_attach(&f, &p);
	ck_assert_int_eq(setsockopt(iscsimux_fd(f.h), SOL_SOCKET, SO_SNDBUF,
	    &size, sizeof(size)), 0);
	ck_assert_int_eq(iscsimux_execute(f.h, &s, fake_done, &e[0], NULL), 0);
	ck_assert_int_eq(iscsimux_execute(f.h, &s, fake_done, &e[1], NULL), 0);
	ck_assert_int_eq(iscsimux_execute(f.h, &s, fake_done, &e[2], NULL), 0);
	ck_assert_int_eq(iscsimux_execute(f.h, &s, fake_done, &e[3], NULL), 0);
	ck_assert_int_eq(iscsimux_flush(f.h), 0);
	fake_die(&f);
	fake_turn(&f);
	ck_assert_int_eq(e[0].r.outcome, ISCSIMUX_UNKNOWN);
	ck_assert_int_eq(e[3].r.outcome, ISCSIMUX_NOT_SENT);
	ck_assert_uint_eq(e[0].count + e[1].count + e[2].count + e[3].count,
	    4);
	fake_close(&f);
}
END_TEST

START_TEST(test_goodbye)
{
	struct msg_goodbye m = { .reason = MSG_R_KICKED, .text = "by root" };
	uint8_t buf[300];
	int n;

	attach();
	request(0, ISCSIMUX_NO_DATA);
	fake_turn(&f);
	n = msg_goodbye_encode(&m, buf, sizeof(buf));
	fake_frame(&f, FRAME_GOODBYE, 0, 0, buf, (size_t)n);
	ck_assert_uint_eq(f.news.closed, 0);
	fake_die(&f);
	fake_turn(&f);
	ck_assert_uint_eq(f.news.closed, 1);
	ck_assert_str_eq(f.news.text, "by root");
	ck_assert_str_eq(iscsimux_error_text(f.h), "by root");
	ck_assert_int_eq(iscsimux_error_reason(f.h), ISCSIMUX_R_KICKED);
	ck_assert_str_eq(e[0].text, "by root");
	ck_assert_int_eq(e[0].r.outcome, ISCSIMUX_UNKNOWN);
	fake_close(&f);
}
END_TEST

START_TEST(test_no_common_version)
{
	struct msg_error m = { .reason = MSG_R_BAD_VERSION,
	    .frame_type = FRAME_HELLO, .text = "I speak 2" };
	uint8_t buf[300];
	int n;

	fake_open(&f);
	fake_want(&f, FRAME_HELLO);
	n = msg_error_encode(&m, buf, sizeof(buf));
	fake_frame(&f, FRAME_ERROR, FRAME_F_FATAL, f.frame.h.cookie, buf,
	    (size_t)n);
	fake_die(&f);
	fake_turn(&f);
	ck_assert_int_eq(f.news.close_error, -EPROTONOSUPPORT);
	ck_assert_str_eq(f.news.text, "I speak 2");
	fake_close(&f);
}
END_TEST

struct bad {
	uint16_t	type;
	uint16_t	flags;
	uint32_t	len;		/* of zeroes */
};

static const struct bad bad_frames[] = {
	{ 0x50, 0, 0 },				/* unknown */
	{ FRAME_SUBMIT, 0, 48 },		/* a client's */
	{ FRAME_PDU, FRAME_F_FD, 48 },
	{ FRAME_PDU, 0x8000, 48 },
	{ FRAME_OUTCOME, FRAME_F_MORE, 10 },
	{ FRAME_WELCOME, 0, 23 },		/* a second one */
	{ FRAME_ATTACHED, 0, 53 },
	{ FRAME_OUTCOME, 0, 3 },		/* too short */
	{ FRAME_ERROR, 0, 1 },
	{ FRAME_EVENT, 0, 9 },
	{ FRAME_GOODBYE, 0, 1 },
	{ FRAME_OUTCOME, 0, MSG_PAYLOAD_MAX + 1 },
	{ FRAME_PDU, 0, FRAME_PAYLOAD_MAX + 1 },
	{ FRAME_PDU, 0, 47 },			/* lengths disagree */
	{ FRAME_PDU, 0, 49 },
	{ FRAME_PDU, FRAME_F_MORE, 48 },
};

START_TEST(test_bad_frame)
{
	static uint8_t frame[FRAME_HEADER_LEN + FRAME_PAYLOAD_MAX + 1];
	static const uint8_t zero[FRAME_PAYLOAD_MAX + 1];
	const struct bad *b = &bad_frames[_i];
	uint64_t cookie;
	size_t n;

	attach();
	request(0, ISCSIMUX_NO_DATA);
	fake_want(&f, FRAME_SUBMIT);
	cookie = b->type == FRAME_PDU ? f.frame.h.cookie : 0;
	n = fake_encode(frame, b->type, b->flags, cookie, NULL, zero, b->len);
	fake_bytes(&f, frame, n);
	ck_assert_uint_eq(f.news.closed, 1);
	ck_assert_int_eq(f.news.close_error, -EPROTO);
	ck_assert_uint_gt(strlen(f.news.text), 0);
	ck_assert_uint_eq(e[0].count, 1);
	ck_assert_int_eq(e[0].r.outcome, ISCSIMUX_UNKNOWN);
	fake_close(&f);
}
END_TEST

/* Before WELCOME nothing else has a meaning. */
START_TEST(test_early_frame)
{
	fake_open(&f);
	fake_frame(&f, FRAME_PONG, 0, 0, NULL, 0);
	ck_assert_int_eq(f.news.close_error, -EPROTO);
	fake_close(&f);
}
END_TEST

START_TEST(test_ignorable_frames)
{
	uint8_t junk[5000] = { 0 }, bhs[ISCSI_BHS_LEN];

	attach();
	request(0, ISCSIMUX_NO_DATA);
	fake_want(&f, FRAME_SUBMIT);
	fake_frame(&f, 0x80, 0xffff, 0, junk, sizeof(junk));
	fake_frame(&f, 0xffff, 0, f.frame.h.cookie, junk, 3);
	fake_response(bhs, f.frame.bhs, 0);
	fake_pdu(&f, f.frame.h.cookie, bhs, NULL, 0);
	ck_assert_uint_eq(e[0].count, 1);
	ck_assert(iscsimux_result_good(&e[0].r));
	fake_close(&f);
}
END_TEST

START_TEST(test_descriptor)
{
	union {
		struct cmsghdr	hdr;
		char		buf[CMSG_SPACE(sizeof(int))];
	} c = { .buf = { 0 } };
	uint8_t frame[FRAME_HEADER_LEN];
	struct iovec iov = { frame, sizeof(frame) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1,
	    .msg_control = c.buf, .msg_controllen = sizeof(c.buf) };

	attach();
	fake_encode(frame, 0x80, 0, 0, NULL, NULL, 0);
	c.hdr.cmsg_level = SOL_SOCKET;
	c.hdr.cmsg_type = SCM_RIGHTS;
	c.hdr.cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(&c.hdr), &f.fd, sizeof(int));
	ck_assert_int_eq(sendmsg(f.fd, &msg, 0), (ssize_t)sizeof(frame));
	fake_turn(&f);
	ck_assert_int_eq(f.news.close_error, -EPROTO);
	ck_assert_int_eq(iscsimux_error_reason(f.h), ISCSIMUX_R_BAD_FD);
	fake_close(&f);
}
END_TEST

static void
answer(unsigned i, uint64_t cookie, uint8_t bhs[NREQ][ISCSI_BHS_LEN])
{
	uint8_t pdu[ISCSI_BHS_LEN];

	fake_response(pdu, bhs[i], 0);
	fake_pdu(&f, cookie, pdu, NULL, 0);
}

static void
hook_free(struct iscsimux *h, struct fake_end *end)
{
	unsigned i;

	(void)end;
	iscsimux_free(h);
	f.h = NULL;
	for (i = 0; i < NREQ; i++)
		ck_assert_uint_eq(e[i].count, 1);
	/* The handle is still there to be refused by. */
	ck_assert_int_eq(iscsimux_service(h, 0), -EDEADLK);
	ck_assert_int_eq(iscsimux_connect(h, NULL), -ESHUTDOWN);
	ck_assert_int_eq(iscsimux_ping(h, fake_done, NULL), -ESHUTDOWN);
	iscsimux_free(h);
}

/* Freed from a completion in service: the others complete before. */
START_TEST(test_free_in_callback)
{
	uint8_t bhs[NREQ][ISCSI_BHS_LEN];
	uint64_t cookie[NREQ];
	uint8_t stream[256], pdu[ISCSI_BHS_LEN];
	struct iscsimux *h;
	size_t n;
	unsigned i;

	attach();
	request_all(bhs, cookie);
	e[2].hook = hook_free;
	fake_response(pdu, bhs[2], 0);
	n = fake_encode(stream, FRAME_PDU, 0, cookie[2], pdu, NULL, 0);
	fake_response(pdu, bhs[0], 0);
	n += fake_encode(stream + n, FRAME_PDU, 0, cookie[0], pdu, NULL, 0);
	ck_assert_int_eq(send(f.fd, stream, n, 0), (ssize_t)n);
	h = f.h;
	ck_assert_int_eq(iscsimux_service(h, POLLIN), -ESHUTDOWN);
	for (i = 0; i < NREQ; i++) {
		ck_assert_uint_eq(e[i].count, 1);
		ck_assert_int_eq(e[i].r.outcome, i == 2 ? ISCSIMUX_COMPLETED :
		    ISCSIMUX_UNKNOWN);
	}
	ck_assert_uint_eq(f.news.closed, 0);
	fake_die(&f);
}
END_TEST

/* Freed from a completion in disconnect. */
START_TEST(test_free_in_disconnect)
{
	unsigned i;

	attach();
	for (i = 0; i < NREQ; i++)
		request(i, ISCSIMUX_NO_DATA);
	e[1].hook = hook_free;
	iscsimux_disconnect(f.h);
	for (i = 0; i < NREQ; i++)
		ck_assert_uint_eq(e[i].count, 1);
	fake_die(&f);
}
END_TEST

/* Freed from a completion when the daemon dies: no on_closed any more. */
START_TEST(test_free_in_death)
{
	unsigned i;

	attach();
	for (i = 0; i < NREQ; i++)
		request(i, ISCSIMUX_NO_DATA);
	fake_turn(&f);
	e[1].hook = hook_free;
	fake_die(&f);
	fake_turn(&f);
	ck_assert_ptr_null(f.h);
	for (i = 0; i < NREQ; i++)
		ck_assert_uint_eq(e[i].count, 1);
	ck_assert_uint_eq(f.news.closed, 0);
}
END_TEST

START_TEST(test_free_in_closed)
{
	attach();
	request(0, ISCSIMUX_NO_DATA);
	f.news.free_in_closed = true;
	fake_die(&f);
	fake_turn(&f);
	ck_assert_ptr_null(f.h);
	ck_assert_uint_eq(e[0].count, 1);
	ck_assert_uint_eq(f.news.closed, 1);
}
END_TEST

static void
hook_disconnect(struct iscsimux *h, struct fake_end *end)
{
	int sv[2];

	(void)end;
	iscsimux_disconnect(h);
	ck_assert_int_eq(iscsimux_fd(h), -1);
	/* All of the old connection is done with: a new one may begin. */
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), 0);
	ck_assert_int_eq(iscsimux_connect_fd(h, sv[0]), 0);
	fake_die(&f);
	f.fd = sv[1];
}

START_TEST(test_reconnect_in_callback)
{
	uint8_t bhs[NREQ][ISCSI_BHS_LEN];
	uint64_t cookie[NREQ];
	unsigned i;

	attach();
	request_all(bhs, cookie);
	e[2].hook = hook_disconnect;
	answer(2, cookie[2], bhs);
	for (i = 0; i < NREQ; i++)
		ck_assert_uint_eq(e[i].count, 1);
	fake_want(&f, FRAME_HELLO);
	fake_welcome(&f);
	ck_assert_str_eq(iscsimux_daemon(f.h), "fake 1.0");
	fake_close(&f);
}
END_TEST

static void
hook_busy(struct iscsimux *h, struct fake_end *end)
{
	(void)end;
	ck_assert_int_eq(iscsimux_connect_fd(h, 0), -EBUSY);
	ck_assert_int_eq(iscsimux_ping(h, fake_done, NULL), -ENOTCONN);
	ck_assert_int_eq(iscsimux_wait(h, 0), -EDEADLK);
	ck_assert_int_eq(iscsimux_service(h, 0), -EDEADLK);
	iscsimux_disconnect(h);
}

START_TEST(test_calls_in_completion)
{
	attach();
	request(0, ISCSIMUX_NO_DATA);
	request(1, ISCSIMUX_NO_DATA);
	e[0].hook = hook_busy;
	iscsimux_disconnect(f.h);
	ck_assert_uint_eq(e[0].count, 1);
	ck_assert_uint_eq(e[1].count, 1);
	fake_close(&f);
}
END_TEST

static void
hook_again(struct iscsimux *h, struct fake_end *end)
{
	(void)h;
	if (end->count < 50)
		request((unsigned)(end - e), ISCSIMUX_NO_DATA);
}

/* A completion that submits the next; never called from inside submit. */
START_TEST(test_submit_in_callback)
{
	uint8_t bhs[NREQ][ISCSI_BHS_LEN];
	unsigned i;

	attach();
	e[0].hook = hook_again;
	request(0, ISCSIMUX_NO_DATA);
	for (i = 0; i < 50; i++) {
		fake_want(&f, FRAME_SUBMIT);
		ck_assert_uint_eq(e[0].count, i);
		memcpy(bhs[0], f.frame.bhs, ISCSI_BHS_LEN);
		answer(0, f.frame.h.cookie, bhs);
	}
	ck_assert_uint_eq(e[0].count, 50);
	ck_assert(!fake_next(&f));
	fake_close(&f);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("lib_end");
	TCase *tc = tcase_create("end");

	tcase_add_test(tc, test_death_at_every_byte);
	tcase_add_test(tc, test_death_in_handshake);
	tcase_add_test(tc, test_not_sent);
	tcase_add_test(tc, test_not_sent_by_death);
	tcase_add_test(tc, test_half_sent);
	tcase_add_test(tc, test_goodbye);
	tcase_add_test(tc, test_no_common_version);
	tcase_add_loop_test(tc, test_bad_frame, 0,
	    sizeof(bad_frames) / sizeof(bad_frames[0]));
	tcase_add_test(tc, test_early_frame);
	tcase_add_test(tc, test_ignorable_frames);
	tcase_add_test(tc, test_descriptor);
	tcase_add_test(tc, test_free_in_callback);
	tcase_add_test(tc, test_free_in_disconnect);
	tcase_add_test(tc, test_free_in_death);
	tcase_add_test(tc, test_free_in_closed);
	tcase_add_test(tc, test_reconnect_in_callback);
	tcase_add_test(tc, test_calls_in_completion);
	tcase_add_test(tc, test_submit_in_callback);
	tcase_set_timeout(tc, 60);
	suite_add_tcase(s, tc);
	return unit_run(s);
}
