/* SPDX-License-Identifier: ISC */
/*
 * What waits to be written to a client (daemon/outq.h): frames in order,
 * descriptors with the frames they belong to, and every charge, ticket and
 * descriptor settled once, whether its frame has left or was dropped.
 */
#include "config.h"

#include <sys/socket.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/conf.h"
#include "daemon/outq.h"
#include "daemon/session.h"
#include "daemon/worker.h"
#include "proto/iscsi.h"
#include "proto/msg.h"
#include "tests/unit/unit.h"

#define HEAD	FRAME_HEADER_LEN
#define TICKETS	8

static const struct config no_config;
static struct worker *w;
static struct outq q;
static struct quota *quota;
static int ours, theirs;
static unsigned told[TICKETS];		/* how often, by ticket */
static uint8_t buf[2 * 1024 * 1024];

static void
left(void *arg, const struct session_ticket *ticket)
{
	ck_assert_ptr_eq(arg, &told);
	ck_assert_uint_lt(ticket->id, TICKETS);
	told[ticket->id]++;
}

static void
pair(int type)
{
	int sv[2];

	ck_assert_int_eq(socketpair(AF_UNIX, type | SOCK_NONBLOCK, 0, sv), 0);
	ours = sv[0];
	theirs = sv[1];
}

static void
setup(void)
{
	const struct quota_amount max = { 1000, 1 << 30, 1 << 30 };

	w = worker_new(NULL, &no_config);
	ck_assert_ptr_nonnull(w);
	quota = quota_new(w->quotas, 1000, &max);
	ck_assert_ptr_nonnull(quota);
	outq_init(&q, w);
	q.quota = quota;
	q.left = left;
	q.left_arg = &told;
	memset(told, 0, sizeof(told));
	ours = theirs = -1;
}

static void
teardown(void)
{
	outq_deinit(&q);
	ck_assert_uint_eq(q.bytes, 0);
	ck_assert_uint_eq(q.reply_bytes, 0);
	ck_assert_uint_eq(q.stray_bytes, 0);
	ck_assert_uint_eq(q.events, 0);
	ck_assert_uint_eq(q.fds, 0);
	ck_assert_uint_eq(quota->used.out, 0);
	quota_unref(quota);
	ck_assert_uint_eq(worker_free(w), 0);
	if (ours != -1) {
		close(ours);
		close(theirs);
	}
}

static enum outq_result
flush(void)
{
	uint64_t moved;

	return outq_flush(&q, ours, &moved);
}

static bool
is_open(int fd)
{
	return fcntl(fd, F_GETFD) != -1;
}

static int
some_fd(void)
{
	int fds[2];

	ck_assert_int_eq(pipe(fds), 0);
	close(fds[1]);
	return fds[0];
}

/* Receive up to `size` bytes; `*fd` gets what came along, or -1. */
static size_t
receive(void *to, size_t size, int *fd)
{
	union {
		struct cmsghdr	align;
		uint8_t		bytes[CMSG_SPACE(4 * sizeof(int))];
	} control;
	struct iovec iov = { to, size };
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof(control.bytes),
	};
	struct cmsghdr *cm;
	ssize_t n = recvmsg(theirs, &msg, MSG_DONTWAIT);

	*fd = -1;
	if (n == -1)
		return 0;
	cm = CMSG_FIRSTHDR(&msg);
	if (cm != NULL) {
		ck_assert_uint_eq(cm->cmsg_len, CMSG_LEN(sizeof(int)));
		memcpy(fd, CMSG_DATA(cm), sizeof(*fd));
	}
	return (size_t)n;
}

static void
put_frame(uint64_t cookie, uint32_t len)
{
	ck_assert_int_eq(outq_frame(&q, FRAME_OK, 0, cookie, buf, len, NULL),
	    0);
}

static int
put_fd(uint64_t cookie, uint32_t len)
{
	int fd = some_fd();

	ck_assert_int_eq(outq_fd(&q, FRAME_EXPORTED, 0, cookie, buf, len, fd),
	    0);
	return fd;
}

/* --- descriptors */

/* Each call of sendmsg is one record here: whose bytes go with what. */
START_TEST(test_fd_goes_alone)
{
	struct frame_header h;
	int first, second, fd;

	pair(SOCK_SEQPACKET);
	put_frame(1, 10);
	put_frame(2, 20);
	first = put_fd(3, 30);
	second = put_fd(4, 40);
	put_frame(5, 50);
	put_frame(6, 60);
	ck_assert_uint_eq(q.fds, 2);
	ck_assert_int_eq(flush(), OUTQ_EMPTY);
	ck_assert_uint_eq(q.fds, 0);
	ck_assert_uint_eq(receive(buf, sizeof(buf), &fd), 2 * HEAD + 30);
	ck_assert_int_eq(fd, -1);
	ck_assert_uint_eq(receive(buf, sizeof(buf), &fd), HEAD + 30);
	frame_header_get(buf, &h);
	ck_assert_uint_eq(h.cookie, 3);
	ck_assert_uint_eq(h.flags, FRAME_F_FD);
	ck_assert_int_ne(fd, -1);
	close(fd);
	ck_assert_uint_eq(receive(buf, sizeof(buf), &fd), HEAD + 40);
	ck_assert_int_ne(fd, -1);
	close(fd);
	ck_assert_uint_eq(receive(buf, sizeof(buf), &fd), 2 * HEAD + 110);
	ck_assert_int_eq(fd, -1);
	ck_assert(!is_open(first));
	ck_assert(!is_open(second));
}
END_TEST

/* On a stream it is on the first byte of its frame, and there only. */
START_TEST(test_fd_on_the_first_byte)
{
	int fd;

	pair(SOCK_STREAM);
	put_frame(1, 10);
	put_fd(2, 30);
	put_frame(3, 10);
	ck_assert_int_eq(flush(), OUTQ_EMPTY);
	ck_assert_uint_eq(receive(buf, HEAD + 10, &fd), HEAD + 10);
	ck_assert_int_eq(fd, -1);
	ck_assert_uint_eq(receive(buf, 1, &fd), 1);
	ck_assert_int_ne(fd, -1);
	close(fd);
	ck_assert_uint_eq(receive(buf, HEAD + 29, &fd), HEAD + 29);
	ck_assert_int_eq(fd, -1);
	ck_assert_uint_eq(receive(buf, sizeof(buf), &fd), HEAD + 10);
	ck_assert_int_eq(fd, -1);
}
END_TEST

/* A file of the same number, opened later, is not closed. */
START_TEST(test_fd_closed_once)
{
	int fd, again;

	pair(SOCK_STREAM);
	fd = put_fd(1, 30);
	ck_assert_int_eq(flush(), OUTQ_EMPTY);
	ck_assert(!is_open(fd));
	again = dup2(ours, fd);
	ck_assert_int_eq(again, fd);
	outq_deinit(&q);
	ck_assert(is_open(again));
	close(again);
}
END_TEST

START_TEST(test_dropped_fds_are_closed)
{
	int first = put_fd(1, 30), second = put_fd(2, 30);

	ck_assert(is_open(first) && is_open(second));
	outq_deinit(&q);
	ck_assert(!is_open(first) && !is_open(second));
}
END_TEST

/* Written in part, it goes on without another copy of the descriptor. */
START_TEST(test_fd_and_partial_writes)
{
	unsigned nfds = 0;
	size_t got = 0, n, want;
	enum outq_result r;
	int small = 1, fd;

	pair(SOCK_STREAM);
	setsockopt(ours, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
	want = 3 * HEAD + 2 * 100000 + 90000;
	put_frame(1, 100000);
	put_fd(2, 90000);
	put_frame(3, 100000);
	ck_assert_uint_eq(q.bytes, want);
	ck_assert_uint_eq(q.reply_bytes, want);
	do {
		r = flush();
		ck_assert_int_ne(r, OUTQ_CLOSED);
		ck_assert_uint_eq(q.bytes_sent + q.bytes, want);
		do {
			n = receive(buf + got, 1000, &fd);
			if (fd != -1) {
				nfds++;
				close(fd);
			}
			got += n;
		} while (n > 0);
	} while (r == OUTQ_BLOCKED);
	ck_assert_uint_eq(got, want);
	ck_assert_uint_eq(nfds, 1);
	ck_assert_uint_eq(q.frames_sent, 3);
}
END_TEST

/* --- PDUs */

/* Queue a Data-In of `len` bytes with ticket `id`, 0: without. */
static void
put_pdu(uint64_t cookie, uint32_t len, uint32_t id,
    const struct msg_digests *digests)
{
	uint8_t bhs[ISCSI_BHS_LEN] = { ISCSI_OP_DATA_IN };
	struct session_delivery d = {
		.cookie = cookie, .bhs = bhs, .digests = digests,
		.ticket = { .raw = id != 0, .id = id },
	};
	struct slices data;
	uint8_t *bytes = malloc(len + 1);

	memset(bytes, 0x5a, len);
	iscsi_set_dsl(bhs, len);
	slices_init(&data);
	ck_assert_int_eq(slices_add_copy(w->pool, &data, bytes, len), 0);
	free(bytes);
	d.data = &data;
	if (id != 0) {
		quota_force_out(quota, len);
		d.charge.out = len;
	}
	ck_assert_int_eq(outq_pdu(&q, &d), 0);
}

/* Flush and receive all; returns how many bytes came. */
static size_t
drain(void)
{
	enum outq_result r;
	size_t got = 0, n;
	int fd;

	do {
		r = flush();
		while ((n = receive(buf + got, sizeof(buf) - got, &fd)) > 0)
			got += n;
	} while (r == OUTQ_BLOCKED);
	ck_assert_int_eq(r, OUTQ_EMPTY);
	return got;
}

/* Digests stand behind the last byte of the data, however long that is. */
START_TEST(test_digests_behind_the_data)
{
	static const uint32_t lens[] = {
		0, 3, FRAME_DATA_MAX, FRAME_DATA_MAX + 1, 3 * FRAME_DATA_MAX,
	};
	const struct msg_digests digests = {
		.header = true, .data = true,
		.header_word = { 1, 2, 3, 4 }, .data_word = { 5, 6, 7, 8 },
	};
	uint32_t len = lens[_i], seen = 0, part;
	struct msg_digests shown;
	struct frame_header h;
	size_t total, at = 0;

	pair(SOCK_STREAM);
	put_pdu(1, len, 1, &digests);
	total = drain();
	do {
		frame_header_get(buf + at, &h);
		at += HEAD + (at == 0 ? ISCSI_BHS_LEN : 0);
		part = h.len - (seen == 0 ? ISCSI_BHS_LEN : 0);
		if ((h.flags & FRAME_F_MORE) != 0) {
			ck_assert_uint_eq(h.flags, FRAME_F_MORE);
			ck_assert_uint_eq(part, FRAME_DATA_MAX);
			seen += part;
			at += part;
		}
	} while ((h.flags & FRAME_F_MORE) != 0);
	ck_assert_uint_eq(h.flags, FRAME_F_TLV);
	for (; seen < len; seen++)
		ck_assert_uint_eq(buf[at++], 0x5a);
	ck_assert_int_eq(msg_pdu_tlv_decode(buf + at, total - at, &shown), 0);
	ck_assert_mem_eq(shown.header_word, digests.header_word, 4);
	ck_assert_mem_eq(shown.data_word, digests.data_word, 4);
}
END_TEST

START_TEST(test_tickets)
{
	const uint32_t big = 3 * FRAME_DATA_MAX;
	int small = 1;

	pair(SOCK_STREAM);
	setsockopt(ours, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
	put_pdu(1, 100, 1, NULL);
	put_pdu(2, 100, 0, NULL);
	put_pdu(3, big, 2, NULL);
	put_pdu(4, 100, 3, NULL);
	ck_assert_uint_eq(quota->used.out, 200 + big);
	/* Written in part, a PDU has not left. */
	ck_assert_int_eq(flush(), OUTQ_BLOCKED);
	ck_assert_uint_eq(told[1], 1);
	ck_assert_uint_eq(told[2] + told[3], 0);
	ck_assert_uint_eq(quota->used.out, 100 + big);
	drain();
	ck_assert_uint_eq(told[2], 1);
	ck_assert_uint_eq(told[3], 1);
	ck_assert_uint_eq(quota->used.out, 0);
	put_pdu(5, big, 4, NULL);
	put_pdu(6, 0, 5, NULL);
	ck_assert_int_eq(flush(), OUTQ_BLOCKED);
	outq_deinit(&q);
	ck_assert_uint_eq(told[0] + told[6], 0);
	for (unsigned i = 1; i < 6; i++)
		ck_assert_uint_eq(told[i], 1);
}
END_TEST

/* Nobody is told any more. */
START_TEST(test_tickets_without_an_owner)
{
	put_pdu(1, 100, 1, NULL);
	q.left = NULL;
	outq_deinit(&q);
	ck_assert_uint_eq(told[1], 0);
	ck_assert_uint_eq(quota->used.out, 0);
}
END_TEST

/* PDUs with cookie 0 and replies are counted apart until they have left. */
START_TEST(test_counts)
{
	const uint32_t big = FRAME_DATA_MAX + 100;
	uint64_t strays = 3 * HEAD + 2 * ISCSI_BHS_LEN + 100 + big;

	pair(SOCK_STREAM);
	put_pdu(0, 100, 1, NULL);
	put_pdu(7, 100, 0, NULL);
	put_pdu(0, big, 2, NULL);
	put_frame(1, 10);
	ck_assert_int_eq(outq_frame(&q, FRAME_EVENT, 0, 0, buf, 9, NULL), 0);
	ck_assert_uint_eq(q.stray_bytes, strays);
	ck_assert_uint_eq(q.reply_bytes, HEAD + 10);
	ck_assert_uint_eq(q.events, 1);
	ck_assert_uint_eq(q.bytes, strays + HEAD + ISCSI_BHS_LEN + 100 +
	    2 * HEAD + 19);
	drain();
	ck_assert_uint_eq(q.stray_bytes + q.reply_bytes + q.events + q.bytes,
	    0);
	ck_assert_uint_eq(q.frames_sent, 6);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("outq");
	TCase *tc = tcase_create("outq");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 30);
	tcase_add_test(tc, test_fd_goes_alone);
	tcase_add_test(tc, test_fd_on_the_first_byte);
	tcase_add_test(tc, test_fd_closed_once);
	tcase_add_test(tc, test_dropped_fds_are_closed);
	tcase_add_test(tc, test_fd_and_partial_writes);
	tcase_add_loop_test(tc, test_digests_behind_the_data, 0, 5);
	tcase_add_test(tc, test_tickets);
	tcase_add_test(tc, test_tickets_without_an_owner);
	tcase_add_test(tc, test_counts);
	suite_add_tcase(suite, tc);
	return unit_run(suite);
}
