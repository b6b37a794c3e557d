/* SPDX-License-Identifier: ISC */
/*
 * libiscsimux: EXPORT.  The descriptor comes back with the state and the
 * stream; whatever the daemon does instead, none is left open.
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

static struct {
	unsigned		 count;
	int			 error;
	struct iscsimux_exported e;
	uint8_t			*unread;
} got;

static void
on_exported(struct iscsimux *h, void *cookie, int error,
    const struct iscsimux_exported *e)
{
	ck_assert_ptr_eq(h, f.h);
	ck_assert_ptr_eq(cookie, &got);
	ck_assert((e != NULL) == (error == 0));
	got.count++;
	got.error = error;
	if (e == NULL)
		return;
	got.e = *e;
	got.unread = malloc(e->unread_len + 1);
	ck_assert_ptr_nonnull(got.unread);
	if (e->unread_len > 0)
		memcpy(got.unread, e->unread, e->unread_len);
}

static void
begin(void)
{
	memset(&done, 0, sizeof(done));
	memset(&got, 0, sizeof(got));
	fds_before = fake_count_fds();
	ck_assert_int_eq(pipe(pipe_fd), 0);
}

/* Nothing may be open but what was. */
static void
end(void)
{
	fake_close(&f);
	if (got.count > 0 && got.error == 0)
		close(got.e.fd);
	free(got.unread);
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

static const size_t lengths[] = { 0, 1, 511, 512, 513, 4608, 4609, 100000,
	BIG };

static uint64_t
ask_export(void)
{
	fake_raw(&f);
	ck_assert_int_eq(iscsimux_export(f.h, on_exported, &got), 0);
	fake_want(&f, FRAME_EXPORT);
	ck_assert_uint_eq(f.frame.h.len, 0);
	return f.frame.h.cookie;
}

/* The payload of the first EXPORTED with `n` bytes of the stream. */
static size_t
first_exported(uint8_t *out, uint32_t unread, size_t n)
{
	const struct msg_exported m = {
		.params = { .phase = MSG_RAW_FULL_FEATURE, .cmdsn = 5,
		    .target = "iqn.x" },
		.unread = unread,
	};
	int len = msg_exported_encode(&m, out, 512);

	ck_assert_int_gt(len, 0);
	memcpy(out + len, big, n);
	return (size_t)len + n;
}

static void
check_exported(size_t unread)
{
	ck_assert_uint_eq(f.news.closed, 0);
	ck_assert_uint_eq(got.count, 1);
	ck_assert_int_eq(got.error, 0);
	ck_assert(same_file(got.e.fd, pipe_fd[1]));
	ck_assert_int_eq(fcntl(got.e.fd, F_GETFD), FD_CLOEXEC);
	ck_assert(got.e.params.full_feature);
	ck_assert_uint_eq(got.e.params.cmdsn, 5);
	ck_assert_str_eq(got.e.params.target, "iqn.x");
	ck_assert_uint_eq(got.e.unread_len, unread);
	ck_assert_mem_eq(got.unread, big, unread);
	ck_assert(!iscsimux_is_raw(f.h));
}

static void
send_exported(uint64_t cookie, uint32_t unread, size_t piece)
{
	uint8_t payload[4096];
	size_t n = unread < 1000 ? unread : 1000, have, len;

	len = first_exported(payload, unread, n);
	fake_send_fd(&f, FRAME_EXPORTED, (uint16_t)(FRAME_F_FD |
	    (n < unread ? FRAME_F_MORE : 0)), cookie, payload, len,
	    pipe_fd[1]);
	fake_turn(&f);
	for (have = n; have < unread; have += n) {
		ck_assert_uint_eq(got.count, 0);
		n = unread - have < piece ? unread - have : piece;
		fake_frame(&f, FRAME_EXPORTED, have + n < unread ?
		    FRAME_F_MORE : 0, cookie, big + have, n);
	}
}

START_TEST(test_export)
{
	size_t len = lengths[_i];

	begin();
	fake_pattern(big, len, 3);
	send_exported(ask_export(), (uint32_t)len, _i % 2 == 0 ? 4096 :
	    FRAME_PAYLOAD_MAX);
	check_exported(len);
	end();
}
END_TEST

/* Older bytes are received together with the descriptor. */
START_TEST(test_export_behind)
{
	struct fake_end ping = { 0 };
	uint8_t payload[1024], pong[FRAME_HEADER_LEN];
	uint64_t cookie;
	size_t len;

	begin();
	fake_raw(&f);
	ck_assert_int_eq(iscsimux_ping(f.h, fake_done, &ping), 0);
	fake_want(&f, FRAME_PING);
	fake_encode(pong, FRAME_PONG, 0, f.frame.h.cookie, NULL, NULL, 0);
	ck_assert_int_eq(iscsimux_export(f.h, on_exported, &got), 0);
	fake_want(&f, FRAME_EXPORT);
	cookie = f.frame.h.cookie;
	ck_assert_int_eq(send(f.fd, pong, sizeof(pong), 0),
	    (ssize_t)sizeof(pong));
	fake_pattern(big, 100, 3);
	len = first_exported(payload, 100, 100);
	fake_send_fd(&f, FRAME_EXPORTED, FRAME_F_FD, cookie, payload, len,
	    pipe_fd[1]);
	fake_encode(pong, FRAME_PONG, 0, 0, NULL, NULL, 0);
	ck_assert_int_eq(send(f.fd, pong, sizeof(pong), 0),
	    (ssize_t)sizeof(pong));
	fake_turn(&f);
	ck_assert_uint_eq(ping.count, 1);
	check_exported(100);
	end();
}
END_TEST

START_TEST(test_export_refused)
{
	begin();
	fake_error(&f, ask_export(), MSG_R_BUSY, FRAME_EXPORT,
	    "a PDU is written in part");
	ck_assert_uint_eq(got.count, 1);
	ck_assert_int_eq(got.error, -EBUSY);
	ck_assert(iscsimux_is_raw(f.h));
	end();
}
END_TEST

/* The daemon dies at every byte: then the socket is nobody's. */
START_TEST(test_export_death)
{
	uint8_t payload[1024], second[FRAME_HEADER_LEN + 50];
	size_t cut, len;
	uint64_t cookie;

	for (cut = 0; cut < sizeof(second); cut++) {
		begin();
		cookie = ask_export();
		len = first_exported(payload, 100, 50);
		fake_send_fd(&f, FRAME_EXPORTED, FRAME_F_FD | FRAME_F_MORE,
		    cookie, payload, len, pipe_fd[1]);
		fake_encode(second, FRAME_EXPORTED, 0, cookie, NULL, big + 50,
		    50);
		fake_bytes(&f, second, cut);
		fake_die(&f);
		fake_turn(&f);
		ck_assert_uint_eq(got.count, 1);
		ck_assert_int_eq(got.error, -ECONNRESET);
		ck_assert_uint_eq(fake_count_fds(), fds_before + 2);
		end();
	}
}
END_TEST

/* What no daemon may do: fatal, and everything is closed. */
enum offence {
	NO_FD,			/* flag without descriptor */
	NO_FLAG,		/* descriptor without flag */
	SECOND_FD,		/* in a later fragment */
	FIRST_WITHOUT,		/* an EXPORTED that has neither */
	WRONG_TYPE,		/* flag on a frame that may not have it */
	BAD_FIELDS,
	TOO_MUCH,		/* of the stream */
	TOO_LITTLE,
	MORE_THAN_ALL,		/* flag MORE on the last */
	TOO_LONG,		/* a frame with a descriptor */
	MANY,			/* descriptors at a time, some lost */
	OFFENCES
};

/* Five at a time are more than the library takes. */
static void
send_many(void)
{
	union {
		struct cmsghdr	hdr;
		uint8_t		buf[CMSG_SPACE(5 * sizeof(int))];
	} control = { .buf = { 0 } };
	uint8_t frame[FRAME_HEADER_LEN];
	struct iovec iov = { frame, sizeof(frame) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1,
	    .msg_control = control.buf,
	    .msg_controllen = sizeof(control.buf) };
	unsigned i;

	fake_encode(frame, FRAME_EXPORTED, FRAME_F_FD, 5, NULL, NULL, 0);
	control.hdr.cmsg_level = SOL_SOCKET;
	control.hdr.cmsg_type = SCM_RIGHTS;
	control.hdr.cmsg_len = CMSG_LEN(5 * sizeof(int));
	for (i = 0; i < 5; i++)
		memcpy(CMSG_DATA(&control.hdr) + i * sizeof(int),
		    &pipe_fd[1], sizeof(int));
	ck_assert_int_eq(sendmsg(f.fd, &msg, 0), (ssize_t)sizeof(frame));
}

static void
offend(enum offence what, uint64_t cookie)
{
	uint8_t payload[4200];
	size_t len = first_exported(payload, 100, 50);
	uint16_t more = FRAME_F_FD | FRAME_F_MORE;

	switch (what) {
	case NO_FD:
		fake_frame(&f, FRAME_EXPORTED, more, cookie, payload, len);
		break;
	case NO_FLAG:
		fake_send_fd(&f, FRAME_PONG, 0, 0, NULL, 0, pipe_fd[1]);
		break;
	case SECOND_FD:
		fake_send_fd(&f, FRAME_EXPORTED, more, cookie, payload, len,
		    pipe_fd[1]);
		fake_turn(&f);
		ck_assert_uint_eq(f.news.closed, 0);
		fake_send_fd(&f, FRAME_EXPORTED, FRAME_F_FD, cookie, big, 50,
		    pipe_fd[1]);
		break;
	case FIRST_WITHOUT:
		fake_frame(&f, FRAME_EXPORTED, 0, cookie, payload, len);
		break;
	case WRONG_TYPE:
		fake_send_fd(&f, FRAME_PONG, FRAME_F_FD, 0, NULL, 0,
		    pipe_fd[1]);
		break;
	case BAD_FIELDS:
		fake_send_fd(&f, FRAME_EXPORTED, FRAME_F_FD, cookie, payload,
		    7, pipe_fd[1]);
		break;
	case TOO_MUCH:
		fake_send_fd(&f, FRAME_EXPORTED, more, cookie, payload, len,
		    pipe_fd[1]);
		fake_frame(&f, FRAME_EXPORTED, 0, cookie, big, 51);
		break;
	case TOO_LITTLE:
		fake_send_fd(&f, FRAME_EXPORTED, FRAME_F_FD, cookie, payload,
		    len, pipe_fd[1]);
		break;
	case MORE_THAN_ALL:
		fake_send_fd(&f, FRAME_EXPORTED, more, cookie, payload, len,
		    pipe_fd[1]);
		fake_frame(&f, FRAME_EXPORTED, FRAME_F_MORE, cookie, big, 50);
		break;
	case TOO_LONG:
		memset(payload, 0, sizeof(payload));
		fake_frame(&f, FRAME_EXPORTED, FRAME_F_FD, cookie, payload,
		    4097);
		break;
	default:
		send_many();
	}
	fake_turn(&f);
}

START_TEST(test_offences)
{
	begin();
	offend((enum offence)_i, ask_export());
	ck_assert_uint_eq(f.news.closed, 1);
	ck_assert_int_eq(f.news.close_error, -EPROTO);
	ck_assert_uint_eq(got.count, 1);
	ck_assert_int_ne(got.error, 0);
	/* The handle's and the daemon's sockets, and the pipe. */
	ck_assert_uint_eq(fake_count_fds(), fds_before + 3);
	end();
}
END_TEST

/* One that nobody has asked for is closed. */
START_TEST(test_export_unasked)
{
	uint8_t payload[512];
	size_t len = first_exported(payload, 0, 0);

	begin();
	fake_raw(&f);
	fake_send_fd(&f, FRAME_EXPORTED, FRAME_F_FD, 12345, payload, len,
	    pipe_fd[1]);
	fake_turn(&f);
	ck_assert_uint_eq(f.news.closed, 0);
	ck_assert_uint_eq(fake_count_fds(), fds_before + 2 + 2);
	end();
}
END_TEST

static void
on_exported_free(struct iscsimux *h, void *cookie, int error,
    const struct iscsimux_exported *e)
{
	on_exported(h, cookie, error, e);
	iscsimux_free(h);
	f.h = NULL;
}

START_TEST(test_free_in_callback)
{
	begin();
	fake_raw(&f);
	ck_assert_int_eq(iscsimux_export(f.h, on_exported_free, &got), 0);
	fake_want(&f, FRAME_EXPORT);
	fake_pattern(big, 10, 3);
	send_exported(f.frame.h.cookie, 10, 10);
	ck_assert_ptr_null(f.h);
	ck_assert_uint_eq(got.count, 1);
	ck_assert_mem_eq(got.unread, big, 10);
	end();
}
END_TEST

START_TEST(test_export_sync)
{
	const struct iscsimux_set s = { .mask = 0 };
	struct iscsimux_exported e;
	uint8_t payload[512];
	size_t len;

	begin();
	fake_raw(&f);
	ck_assert_int_eq(iscsimux_set(f.h, &s, fake_status, &done), 0);
	fake_want(&f, FRAME_SET);
	fake_ok(&f, f.frame.h.cookie);
	fake_pattern(big, 10, 3);
	len = first_exported(payload, 10, 10);
	fake_send_fd(&f, FRAME_EXPORTED, FRAME_F_FD, f.frame.h.cookie + 1,
	    payload, len, pipe_fd[1]);
	ck_assert_int_eq(iscsimux_export_sync(f.h, 1000, &e), 0);
	ck_assert(same_file(e.fd, pipe_fd[1]));
	ck_assert_uint_eq(e.unread_len, 10);
	ck_assert_mem_eq(e.unread, big, 10);
	close(e.fd);
	end();
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("lib_export");
	TCase *tc = tcase_create("export");

	tcase_add_loop_test(tc, test_export, 0,
	    (int)(sizeof(lengths) / sizeof(lengths[0])));
	tcase_add_test(tc, test_export_behind);
	tcase_add_test(tc, test_export_refused);
	tcase_add_test(tc, test_export_death);
	tcase_add_loop_test(tc, test_offences, 0, OFFENCES);
	tcase_add_test(tc, test_export_unasked);
	tcase_add_test(tc, test_free_in_callback);
	tcase_add_test(tc, test_export_sync);
	tcase_set_timeout(tc, 60);
	suite_add_tcase(s, tc);
	return unit_run(s);
}
