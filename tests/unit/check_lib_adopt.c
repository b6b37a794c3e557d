/* SPDX-License-Identifier: ISC */
/*
 * libiscsimux: ADOPT.  The descriptor goes out with the first byte of its
 * frame and with no other, the stream follows it, and the library's copy is
 * closed whatever happens.
 */
#include "config.h"

#include "config.h"

#include <sys/socket.h>
#include <sys/stat.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/fakedaemon.h"
#include "tests/unit/unit.h"

#define BIG	(17u * 1024 * 1024)

static struct fake f;
static struct fake_status done;
static uint8_t big[BIG];
static unsigned fds_before;
static int pipe_fd[2];		/* something to pass */

static void
begin(void)
{
	memset(&done, 0, sizeof(done));
	fds_before = fake_count_fds();
	ck_assert_int_eq(pipe(pipe_fd), 0);
}

/* Nothing may be open but what was. */
static void
end(void)
{
	fake_close(&f);
	close(pipe_fd[0]);
	close(pipe_fd[1]);
	ck_assert_uint_eq(fake_count_fds(), fds_before);
}

static bool
same_file(int a, int b)
{
	struct stat x, y;

	ck_assert_int_eq(fstat(a, &x), 0);
	ck_assert_int_eq(fstat(b, &y), 0);
	return x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

static int
adopt(size_t unread)
{
	struct iscsimux_adopt o = {
		.fd = pipe_fd[0],
		.deadline_ms = 3,
		.events = 1u << ISCSIMUX_EVENT_UNSOLICITED,
		.params = {
			.full_feature = true,
			.flags = ISCSIMUX_RAW_NUMBERS,
			.cmdsn = 77,
			.isid = { 0x80, 1 },
			.target = "iqn.adopted",
		},
		.unread = big,
		.unread_len = unread,
	};

	return iscsimux_adopt(f.h, &o, fake_status, &done);
}

/* Read the frames of an ADOPT; returns the bytes of the stream in them. */
static size_t
take_adopt(size_t unread)
{
	struct msg_adopt m;
	size_t have = 0, n;
	int fields;

	fake_want(&f, FRAME_ADOPT);
	ck_assert_uint_eq(f.frame.h.flags & FRAME_F_FD, FRAME_F_FD);
	ck_assert_uint_le(f.frame.h.len, 4096);
	ck_assert_int_ne(f.sent_fd, -1);
	fields = msg_adopt_decode(f.frame.payload, f.frame.h.len, &m);
	ck_assert_int_gt(fields, 0);
	ck_assert_uint_eq(m.unread, unread);
	ck_assert_uint_eq(m.deadline, 3);
	ck_assert_uint_eq(m.params.phase, MSG_RAW_FULL_FEATURE);
	ck_assert_uint_eq(m.params.cmdsn, 77);
	ck_assert_uint_eq(m.params.isid[0], 0x80);
	ck_assert_str_eq(m.params.target, "iqn.adopted");
	n = f.frame.h.len - (size_t)fields;
	ck_assert_mem_eq(f.frame.payload + fields, big, n);
	for (have = n; (f.frame.h.flags & FRAME_F_MORE) != 0; have += n) {
		fake_want(&f, FRAME_ADOPT);
		ck_assert_uint_eq(f.frame.h.flags & FRAME_F_FD, 0);
		n = f.frame.h.len;
		ck_assert_uint_gt(n, 0);
		ck_assert_uint_le(have + n, unread);
		ck_assert_mem_eq(f.frame.payload, big + have, n);
	}
	return have;
}

static const size_t lengths[] = { 0, 1, 511, 512, 513, 4608, 4609, 100000,
	BIG };

START_TEST(test_adopt)
{
	size_t len = lengths[_i];

	begin();
	fake_ready(&f);
	fake_pattern(big, len, 9);
	ck_assert_int_eq(adopt(len), 0);
	ck_assert_uint_eq(take_adopt(len), len);
	ck_assert(same_file(f.sent_fd, pipe_fd[0]));
	ck_assert_uint_eq(done.count, 0);
	fake_ok(&f, f.frame.h.cookie);
	ck_assert_uint_eq(done.count, 1);
	ck_assert_int_eq(done.error, 0);
	ck_assert(iscsimux_is_raw(f.h));
	/* The caller's is still open, the library's copy is not. */
	ck_assert_int_ne(fcntl(pipe_fd[0], F_GETFD), -1);
	ck_assert_uint_eq(fake_count_fds(), fds_before + 2 + 2 + 1);
	end();
}
END_TEST

/* Frames before and behind it are in other sendmsgs. */
START_TEST(test_adopt_between)
{
	struct fake_end ping[2] = { { 0 }, { 0 } };

	begin();
	fake_ready(&f);
	ck_assert_int_eq(iscsimux_ping(f.h, fake_done, &ping[0]), 0);
	ck_assert_int_eq(adopt(10), 0);
	ck_assert_int_eq(iscsimux_ping(f.h, fake_done, &ping[1]), 0);
	ck_assert_int_eq(iscsimux_flush(f.h), 0);
	fake_want(&f, FRAME_PING);
	ck_assert_int_eq(f.sent_fd, -1);
	ck_assert_uint_eq(take_adopt(10), 10);
	fake_want(&f, FRAME_PING);
	end();
	ck_assert_uint_eq(ping[0].count + ping[1].count, 2);
}
END_TEST

/* The socket is full in the middle of it. */
START_TEST(test_adopt_full_socket)
{
	const int size = 4096;
	unsigned i;

	begin();
	fake_ready(&f);
	ck_assert_int_eq(setsockopt(iscsimux_fd(f.h), SOL_SOCKET, SO_SNDBUF,
	    &size, sizeof(size)), 0);
	fake_pattern(big, 200000, 9);
	ck_assert_int_eq(adopt(200000), 0);
	for (i = 0; i < 5; i++)
		fake_turn(&f);
	ck_assert_uint_eq(take_adopt(200000), 200000);
	end();
	ck_assert_uint_eq(done.count, 1);
	ck_assert_int_eq(done.error, -ECONNRESET);
}
END_TEST

/* Refused at the first frame: what is left of the stream is cut short. */
START_TEST(test_adopt_refused)
{
	const int size = 4096;
	const struct iscsimux_open o = { .portal = "x" };
	uint64_t cookie;

	begin();
	fake_ready(&f);
	ck_assert_int_eq(setsockopt(iscsimux_fd(f.h), SOL_SOCKET, SO_SNDBUF,
	    &size, sizeof(size)), 0);
	ck_assert_int_eq(adopt(BIG), 0);
	fake_want(&f, FRAME_ADOPT);
	cookie = f.frame.h.cookie;
	fake_error(&f, cookie, MSG_R_NOT_PERMITTED, FRAME_ADOPT, "no rule");
	ck_assert_uint_eq(done.count, 1);
	ck_assert_int_eq(done.error, -EACCES);
	memset(big, 0xee, BIG);		/* the caller's again */
	ck_assert_int_eq(iscsimux_open(f.h, &o, fake_status, &done), 0);
	do {
		fake_want(&f, FRAME_ADOPT);
		ck_assert_uint_eq(f.frame.h.cookie, cookie);
	} while (f.frame.h.flags == FRAME_F_MORE);
	ck_assert_uint_eq(f.frame.h.flags, 0);
	fake_want(&f, FRAME_OPEN);
	end();
}
END_TEST

START_TEST(test_adopt_arguments)
{
	struct iscsimux_adopt o = { .fd = -1 };

	begin();
	fake_ready(&f);
	ck_assert_int_eq(iscsimux_adopt(f.h, &o, fake_status, &done), -EINVAL);
	o.fd = pipe_fd[0];
	o.unread_len = 1;
	ck_assert_int_eq(iscsimux_adopt(f.h, &o, fake_status, &done), -EINVAL);
	o.unread = big;
	o.unread_len = BIG + 1;
	ck_assert_int_eq(iscsimux_adopt(f.h, &o, fake_status, &done), -EINVAL);
	o.unread_len = 0;
	o.params.flags = ISCSIMUX_RAW_ADOPTED;
	ck_assert_int_eq(iscsimux_adopt(f.h, &o, fake_status, &done), -EINVAL);
	o.params.flags = 0;
	o.params.recv_dsl = 1;
	o.fd = 1000;
	ck_assert_int_eq(iscsimux_adopt(f.h, &o, fake_status, &done), -EBADF);
	ck_assert_int_eq(iscsimux_adopt(f.h, &o, NULL, NULL), -EINVAL);
	ck_assert(!fake_next(&f));
	/* None of them is in the way of the next. */
	o.fd = pipe_fd[0];
	ck_assert_int_eq(iscsimux_adopt(f.h, &o, fake_status, &done), 0);
	end();
	ck_assert_uint_eq(done.count, 1);
}
END_TEST

/* Never sent: the copy is closed, the request ends. */
START_TEST(test_adopt_not_sent)
{
	begin();
	fake_ready(&f);
	ck_assert_int_eq(adopt(5000), 0);
	fake_die(&f);
	fake_turn(&f);
	ck_assert_uint_eq(f.news.closed, 1);
	ck_assert_uint_eq(done.count, 1);
	ck_assert_int_eq(done.error, -ECONNRESET);
	ck_assert_uint_eq(fake_count_fds(), fds_before + 2);
	end();
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("lib_adopt");
	TCase *tc = tcase_create("adopt");

	tcase_add_loop_test(tc, test_adopt, 0,
	    (int)(sizeof(lengths) / sizeof(lengths[0])));
	tcase_add_test(tc, test_adopt_between);
	tcase_add_test(tc, test_adopt_full_socket);
	tcase_add_test(tc, test_adopt_refused);
	tcase_add_test(tc, test_adopt_arguments);
	tcase_add_test(tc, test_adopt_not_sent);
	tcase_set_timeout(tc, 60);
	suite_add_tcase(s, tc);
	return unit_run(s);
}
