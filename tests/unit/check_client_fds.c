/* SPDX-License-Identifier: ISC */
/*
 * Descriptors that come with a client's bytes (daemon/client_fds.c): each goes
 * to its frame, and one that belongs to none ends the client.
 */
#include "config.h"

#include <sys/socket.h>

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/access.h"
#include "daemon/client.h"
#include "daemon/conf.h"
#include "daemon/loop.h"
#include "daemon/worker.h"
#include "proto/frame.h"
#include "proto/iscsi.h"
#include "proto/msg_raw.h"
#include "tests/unit/unit.h"

static struct config config;
static struct worker *w;
static struct client *c;
static int sock;
static unsigned ngone;
static uint8_t stream[65536];
static size_t stream_len;

static void
on_gone(void *arg)
{
	(void)arg;
	ngone++;
	c = NULL;
}

static void
turns(unsigned n)
{
	while (n-- > 0)
		ck_assert_int_eq(loop_turn(w->loop, 0), 0);
}

/* Append a frame to what is sent next. */
static void
put_frame(uint16_t type, uint16_t flags, uint64_t cookie, const void *payload,
    int len)
{
	struct frame_header h = {
		.len = (uint32_t)len, .type = type, .flags = flags,
		.cookie = cookie,
	};

	ck_assert_int_ge(len, 0);
	frame_header_put(stream + stream_len, &h);
	stream_len += FRAME_HEADER_LEN;
	memcpy(stream + stream_len, payload, (size_t)len);
	stream_len += (size_t)len;
}

/* Send `len` bytes of the stream with `n` copies of `fd`. */
static void
put_bytes(size_t len, int fd, unsigned n)
{
	union {
		struct cmsghdr	align;
		uint8_t		bytes[CMSG_SPACE(64 * sizeof(int))];
	} control;
	struct iovec iov = { stream, len };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct cmsghdr *cm;
	unsigned i;

	memset(&control, 0, sizeof(control));
	if (n > 0) {
		msg.msg_control = control.bytes;
		msg.msg_controllen = CMSG_SPACE(n * sizeof(int));
		cm = CMSG_FIRSTHDR(&msg);
		cm->cmsg_level = SOL_SOCKET;
		cm->cmsg_type = SCM_RIGHTS;
		cm->cmsg_len = CMSG_LEN(n * sizeof(int));
		for (i = 0; i < n; i++)
			memcpy(CMSG_DATA(cm) + i * sizeof(int), &fd,
			    sizeof(fd));
	}
	ck_assert_int_eq(sendmsg(sock, &msg, MSG_NOSIGNAL), (int)len);
	memmove(stream, stream + len, stream_len - len);
	stream_len -= len;
}

static void
put_adopt(uint64_t cookie)
{
	const struct msg_adopt m = {
		.params = { .phase = MSG_RAW_FULL_FEATURE },
	};
	uint8_t payload[1024];

	put_frame(FRAME_ADOPT, FRAME_F_FD, cookie, payload,
	    msg_adopt_encode(&m, payload, sizeof(payload)));
}

static void
setup(void)
{
	const struct msg_hello hello = {
		.version_min = MSG_VERSION, .version_max = MSG_VERSION,
		.features = MSG_FEATURE_RAW, .name = "test",
	};
	uint8_t payload[1024];
	struct peer peer;
	int sv[2];

	config.limits = (struct config_limits){
		.client_tasks = 64, .client_inbound = 1 << 20,
		.client_outbound = 1 << 20, .uid_factor = 4,
		.hello_timeout = 60000, .client_stall_timeout = 60000,
	};
	ngone = 0;
	w = worker_new(NULL, &config);
	ck_assert_ptr_nonnull(w);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0,
	    sv), 0);
	sock = sv[0];
	ck_assert_int_eq(peer_get(sv[1], &peer), 0);
	c = client_new(w, sv[1], &peer, 1, on_gone, NULL);
	ck_assert_ptr_nonnull(c);
	put_frame(FRAME_HELLO, 0, 1, payload,
	    msg_hello_encode(&hello, payload, sizeof(payload)));
	put_bytes(stream_len, -1, 0);
	turns(3);
	ck_assert_int_gt(recv(sock, payload, sizeof(payload), 0), 0);
}

static void
teardown(void)
{
	close(sock);
	while (c != NULL)
		ck_assert_int_eq(loop_turn(w->loop, 1), 0);
	ck_assert_uint_eq(ngone, 1);
	turns(1);
	ck_assert_uint_eq(worker_free(w), 0);
}

/* The next frame that the daemon sends; its reason if it is an ERROR. */
static uint16_t
expect(uint16_t type, uint64_t cookie, uint16_t flags)
{
	uint8_t bytes[FRAME_HEADER_LEN + 4096];
	struct frame_header h;
	struct msg_error error;

	while (recv(sock, bytes, FRAME_HEADER_LEN, 0) == -1)
		ck_assert_int_eq(loop_turn(w->loop, 1), 0);
	frame_header_get(bytes, &h);
	ck_assert_str_eq(frame_type_name(h.type), frame_type_name(type));
	ck_assert_uint_eq(h.cookie, cookie);
	ck_assert_uint_eq(h.flags, flags);
	if (h.len > 0)
		ck_assert_int_eq(recv(sock, bytes, h.len, 0), (int)h.len);
	if (type != FRAME_ERROR)
		return MSG_R_NONE;
	ck_assert_int_eq(msg_error_decode(bytes, h.len, &error), 0);
	return error.reason;
}

/* The client is told that it broke a rule, and closed. */
static void
expect_fatal(uint64_t cookie)
{
	ck_assert_uint_eq(expect(FRAME_ERROR, cookie, FRAME_F_FATAL),
	    MSG_R_BAD_FD);
	expect(FRAME_GOODBYE, 0, 0);
	turns(3);
	ck_assert_uint_eq(ngone, 1);
}

static int
a_pipe(void)
{
	int fds[2];

	ck_assert_int_eq(pipe(fds), 0);
	close(fds[1]);
	return fds[0];
}

/* A connected TCP socket; its other end is `*peer`. */
static int
tcp_socket(int *peer)
{
	struct sockaddr_in in = { .sin_family = AF_INET };
	socklen_t len = sizeof(in);
	int listener = socket(AF_INET, SOCK_STREAM, 0);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	ck_assert_int_eq(bind(listener, (struct sockaddr *)&in, len), 0);
	ck_assert_int_eq(listen(listener, 1), 0);
	getsockname(listener, (struct sockaddr *)&in, &len);
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&in, len), 0);
	*peer = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
	close(listener);
	return fd;
}

/*
 * The first descriptor waits for the rest of its frame when the second comes
 * with that: the frame takes the older one, which is no socket.
 */
START_TEST(test_oldest_first)
{
	int wrong = a_pipe(), peer, right = tcp_socket(&peer);
	char byte;

	put_adopt(11);
	put_bytes((size_t)_i, wrong, 1);
	turns(3);
	put_bytes(stream_len, -1, 0);
	put_adopt(12);
	put_bytes(stream_len, right, 1);
	close(wrong);
	close(right);
	ck_assert_uint_eq(expect(FRAME_ERROR, 11, 0), MSG_R_BAD_FD);
	expect(FRAME_OK, 12, 0);
	/* The daemon has the only copy. */
	ck_assert_int_eq(recv(peer, &byte, 1, 0), -1);
	client_close(c, MSG_R_SHUTDOWN, "the test ends");
	turns(3);
	ck_assert_int_eq(recv(peer, &byte, 1, 0), 0);
	close(peer);
}
END_TEST

/* Refused, its frame's descriptor is closed and the stream goes on. */
START_TEST(test_refused)
{
	int fds[2];
	char byte;

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0,
	    fds), 0);
	put_adopt(11);
	put_bytes(stream_len, fds[0], 1);
	close(fds[0]);
	ck_assert_uint_eq(expect(FRAME_ERROR, 11, 0), MSG_R_BAD_FD);
	ck_assert_int_eq(recv(fds[1], &byte, 1, 0), 0);
	close(fds[1]);
	put_frame(FRAME_PING, 0, 12, "", 0);
	put_bytes(stream_len, -1, 0);
	expect(FRAME_PONG, 12, 0);
}
END_TEST

/* One with a frame that carries none, or whose header is cut. */
START_TEST(test_left_over)
{
	int fds[2];
	char byte;

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0,
	    fds), 0);
	put_frame(FRAME_PING, 0, 11, "abcd", 4);
	if (_i == 1) {
		put_bytes(7, fds[0], 1);
		turns(3);
		ck_assert_uint_eq(ngone, 0);
	}
	put_bytes(stream_len, _i == 1 ? -1 : fds[0], _i == 1 ? 0 : 1);
	close(fds[0]);
	expect(FRAME_PONG, 11, 0);
	expect_fatal(11);
	ck_assert_int_eq(recv(fds[1], &byte, 1, 0), 0);
	close(fds[1]);
}
END_TEST

/* One frame has one; many do not even fit (MSG_CTRUNC). */
START_TEST(test_too_many)
{
	static const unsigned n[] = { 2, 9, 32, 33, 64 };
	int fds[2];
	char byte;

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0,
	    fds), 0);
	put_adopt(11);
	put_bytes(stream_len, fds[0], n[_i]);
	close(fds[0]);
	/* Its frame was not looked at: the latest cookie is HELLO's. */
	expect_fatal(1);
	ck_assert_int_eq(recv(fds[1], &byte, 1, 0), 0);
	close(fds[1]);
}
END_TEST

/* The flag without a descriptor, and on a frame that has none. */
START_TEST(test_flag_alone)
{
	if (_i == 0)
		put_adopt(11);
	else
		put_frame(FRAME_PING, FRAME_F_FD, 11, "", 0);
	put_bytes(stream_len, -1, 0);
	expect_fatal(11);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("client_fds");
	TCase *tc = tcase_create("client_fds");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 30);
	tcase_add_loop_test(tc, test_oldest_first, 1, 16);
	tcase_add_test(tc, test_refused);
	tcase_add_loop_test(tc, test_left_over, 0, 2);
	tcase_add_loop_test(tc, test_too_many, 0, 5);
	tcase_add_loop_test(tc, test_flag_alone, 0, 2);
	suite_add_tcase(suite, tc);
	return unit_run(suite);
}
