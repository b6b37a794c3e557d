/* SPDX-License-Identifier: ISC */
/*
 * How a raw connection (daemon/raw.h) begins, opened or adopted, and how its
 * socket is given away.
 */
#include "config.h"

#include <sys/socket.h>

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <unistd.h>

#include "tests/unit/raw_fixture.h"

static uint8_t *
command(uint32_t itt)
{
	return request(ISCSI_OP_SCSI_CMD, ISCSI_FLAG_FINAL | ISCSI_CMD_READ,
	    itt);
}

/* --- open */

START_TEST(test_open)
{
	fx_open();
	ck_assert(!raw_is_open(fx.raw));
	refused(SUBMIT_REFUSED, command(1), 0, MSG_R_BAD_STATE);
	ck_assert_uint_eq(news(NEWS_OPEN, 0)->why.reason, MSG_R_NONE);
	ck_assert(raw_is_open(fx.raw));
	fx_accept();
	ck_assert_uint_ge(fx.nasked, 1);
	ck_assert_uint_eq(state().params.phase, MSG_RAW_LOGIN);
	ck_assert_uint_eq(state().params.flags, 0);
	raw_close(fx.raw, "by the test");
	closed(0);
}
END_TEST

START_TEST(test_open_not_permitted)
{
	fx.denied = true;
	fx_open();
	ck_assert_uint_eq(news(NEWS_OPEN, 0)->why.reason,
	    MSG_R_NOT_PERMITTED);
	ck_assert_uint_ge(fx.nasked, 1);
	no_news();
	ck_assert_int_eq(fcntl(fx.listener, F_SETFL, O_NONBLOCK), 0);
	ck_assert_int_eq(accept(fx.listener, NULL, NULL), -1);
}
END_TEST

/* Closed, or its client gone, before it is connected. */
START_TEST(test_open_is_cut_short)
{
	fx_open();
	if (_i == 0) {
		raw_close(fx.raw, "by the test");
		closed(0);
	} else {
		raw_free(fx.raw);
		fx.raw = NULL;
	}
	no_news();
}
END_TEST

/* --- adopt */

static int
odd_fd(int kind)
{
	struct sockaddr_in in = { .sin_family = AF_INET };
	socklen_t len = sizeof(in);
	int fds[2], fd;

	switch (kind) {
	case 0:
		ck_assert_int_eq(pipe(fds), 0);
		close(fds[1]);
		return fds[0];
	case 1:
		ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
		close(fds[1]);
		return fds[0];
	case 2:
		return socket(AF_INET, SOCK_STREAM, 0);
	case 3:
		return dup(fx.listener);
	case 4:
		fd = socket(AF_INET, SOCK_DGRAM, 0);
		getsockname(fx.listener, (struct sockaddr *)&in, &len);
		ck_assert_int_eq(connect(fd, (struct sockaddr *)&in,
		    sizeof(in)), 0);
		return fd;
	default:
		return open("/dev/null", O_RDWR);
	}
}

/* No connected TCP socket: refused, and the descriptor is closed. */
START_TEST(test_adopt_odd_fd)
{
	struct slices unread;
	int fd = odd_fd(_i);

	slices_init(&unread);
	ck_assert_int_eq(slices_add_copy(fx.worker->pool, &unread, "abc", 3),
	    0);
	ck_assert_ptr_null(fx_adopt_fd(fd, &unread));
	ck_assert_uint_eq(fx.why.reason, MSG_R_BAD_FD);
	ck_assert_str_ne(fx.why.text, "");
	ck_assert_uint_eq(unread.len, 0);
	ck_assert_int_eq(fcntl(fd, F_GETFD), -1);
	ck_assert_int_eq(errno, EBADF);
}
END_TEST

/* A connected TCP socket; its other end is fx.peer. */
static int
tcp_socket(void)
{
	struct sockaddr_in in = { .sin_family = AF_INET };
	socklen_t len = sizeof(in);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	getsockname(fx.listener, (struct sockaddr *)&in, &len);
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&in, sizeof(in)), 0);
	fx_accept();
	return fd;
}

START_TEST(test_adopt_not_permitted)
{
	int fd = tcp_socket();

	if (_i == 0)
		fx.denied = true;
	else
		fx.params.flags |= MSG_RAW_UNCHECKED;
	ck_assert_ptr_null(fx_adopt_fd(fd, NULL));
	ck_assert_uint_eq(fx.why.reason, MSG_R_NOT_PERMITTED);
	ck_assert_uint_eq(fx.nasked, 1);
	ck_assert_int_eq(fcntl(fd, F_GETFD), -1);
}
END_TEST

/* Bytes read before: a PDU and a half; the rest comes by the socket. */
START_TEST(test_adopt_with_bytes)
{
	int fd = tcp_socket();
	struct slices unread;
	uint8_t buf[512];
	size_t one;

	fx.params.flags |= MSG_RAW_HEADER_DIGEST | MSG_RAW_BIG_ENDIAN;
	fx.framing.header_digest = true;
	fx.framing.order = CRC32C_BIG;
	one = lay_out(buf, sizeof(buf), from_target(ISCSI_OP_DATA_IN, 0, 7),
	    NULL, 20, &fx.framing);
	lay_out(buf + one, sizeof(buf), from_target(ISCSI_OP_DATA_IN, 0, 8),
	    NULL, 20, &fx.framing);
	slices_init(&unread);
	ck_assert_int_eq(slices_add_copy(fx.worker->pool, &unread, buf,
	    (uint32_t)one + 50), 0);
	fx.raw = fx_adopt_fd(fd, &unread);
	ck_assert_ptr_nonnull(fx.raw);
	ck_assert(raw_is_open(fx.raw));
	/* Never from inside the call. */
	ck_assert_uint_eq(fx.nnews, 0);
	say_bytes(buf + one + 50, one - 50);
	ck_assert_uint_eq(iscsi_itt(pdu_news(ISCSI_OP_DATA_IN,
	    FRAME_F_UNMATCHED, 0)->bhs), 7);
	ck_assert_uint_eq(iscsi_itt(pdu_news(ISCSI_OP_DATA_IN,
	    FRAME_F_UNMATCHED, 0)->bhs), 8);
	ck_assert_uint_ne(state().params.flags & MSG_RAW_ADOPTED, 0);
	ck_assert_uint_ne(state().params.flags & MSG_RAW_NUMBERS, 0);
}
END_TEST

/* --- export */

START_TEST(test_export)
{
	struct msg_exported m;
	struct slices unread;
	uint8_t buf[512], got[512];
	unsigned i;
	size_t len;
	int fd;

	fx_adopt();
	begun(command(7), MSG_EXPECT_MANY, 1);
	for (i = 0; i < 64; i++)
		say(from_target(ISCSI_OP_DATA_IN, 0, 7), NULL, 0);
	len = lay_out(buf, sizeof(buf), from_target(ISCSI_OP_SCSI_RSP,
	    ISCSI_FLAG_FINAL, 7), NULL, 0, &fx.framing);
	len += lay_out(buf + len, sizeof(buf) - len,
	    from_target(ISCSI_OP_NOP_IN, ISCSI_FLAG_FINAL, RSV), NULL, 20,
	    &fx.framing) - 3;
	say_bytes(buf, len);
	UNTIL(state().bytes_in == 64 * 48 + len || fx.nnews > 64);
	ck_assert_uint_eq(fx.nnews, 64);
	fx.nnext = 64;
	slices_init(&unread);
	fd = raw_export(fx.raw, &m, &unread, &fx.why);
	ck_assert_int_ge(fd, 0);
	fx.raw = NULL;
	outcome(1, MSG_OUTCOME_UNKNOWN, MSG_R_CONNECTION_LOST);
	ck_assert_uint_eq(m.unread, len);
	ck_assert_uint_eq(slices_copy(&unread, got, sizeof(got)), len);
	ck_assert_mem_eq(got, buf, len);
	ck_assert_uint_eq(m.params.phase, MSG_RAW_FULL_FEATURE);
	ck_assert_uint_eq(m.params.flags, MSG_RAW_NUMBERS);
	ck_assert_uint_eq(m.params.exp_statsn, STATSN);
	slices_clear(fx.worker->pool, &unread);
	turns(2);
	ck_assert_int_eq(send(fd, "x", 1, 0), 1);
	ck_assert_int_eq(recv(fx.peer, got, sizeof(got), 0), 1);
	close(fd);
	no_news();
	client_reads_all();
	nothing_charged();
}
END_TEST

/* Right after it was adopted: all bytes go on. */
START_TEST(test_export_at_once)
{
	int fd = tcp_socket(), out;
	struct msg_exported m;
	struct slices unread;
	char got[8];

	slices_init(&unread);
	ck_assert_int_eq(slices_add_copy(fx.worker->pool, &unread, "abc", 3),
	    0);
	fx.raw = fx_adopt_fd(fd, &unread);
	ck_assert_ptr_nonnull(fx.raw);
	out = raw_export(fx.raw, &m, &unread, &fx.why);
	fx.raw = NULL;
	ck_assert_int_eq(out, fd);
	ck_assert_uint_eq(m.unread, 3);
	ck_assert_uint_eq(slices_copy(&unread, got, sizeof(got)), 3);
	ck_assert_mem_eq(got, "abc", 3);
	slices_clear(fx.worker->pool, &unread);
	close(fd);
	no_news();
}
END_TEST

/* Requests that are not sent keep no CmdSN. */
START_TEST(test_export_of_unsent)
{
	struct msg_exported m;
	struct slices unread;
	uint8_t *bhs;
	uint32_t i;

	fx_adopt();
	for (i = 0; i < 4; i++) {
		bhs = command(7 + i);
		put_be32(bhs + ISCSI_OFF_CMDSN, CMDSN + i);
		accepted(bhs, 0, 1 + i);
		if (i == 1)
			UNTIL(state().unsent == 0);
	}
	accepted(request(ISCSI_OP_DATA_OUT, ISCSI_FLAG_FINAL, 7), 4, 9);
	ck_assert_uint_eq(state().params.cmdsn, CMDSN + 4);
	slices_init(&unread);
	close(raw_export(fx.raw, &m, &unread, &fx.why));
	fx.raw = NULL;
	ck_assert_uint_eq(m.params.cmdsn, CMDSN + 2);
	for (i = 0; i < 4; i++)
		outcome(1 + i, i < 2 ? MSG_OUTCOME_UNKNOWN :
		    MSG_OUTCOME_NOT_SENT, MSG_R_CONNECTION_LOST);
	no_news();
}
END_TEST

START_TEST(test_export_in_the_middle)
{
	struct msg_exported m;
	struct slices unread;

	fx.small = true;
	fx_adopt();
	turns(2);
	accepted(command(7), 131072, 1);
	turns(3);
	slices_init(&unread);
	ck_assert_int_eq(raw_export(fx.raw, &m, &unread, &fx.why), -1);
	ck_assert_uint_eq(fx.why.reason, MSG_R_BUSY);
	/* It goes on as if nothing had been. */
	wire(ISCSI_OP_SCSI_CMD);
	say(from_target(ISCSI_OP_SCSI_RSP, ISCSI_FLAG_FINAL, 7), NULL, 0);
	pdu_news(ISCSI_OP_SCSI_RSP, 0, 1);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("raw_move");
	TCase *tc = tcase_create("move");

	tcase_add_checked_fixture(tc, fx_setup, fx_teardown);
	tcase_set_timeout(tc, 30);
	tcase_add_test(tc, test_open);
	tcase_add_test(tc, test_open_not_permitted);
	tcase_add_loop_test(tc, test_open_is_cut_short, 0, 2);
	tcase_add_loop_test(tc, test_adopt_odd_fd, 0, 6);
	tcase_add_loop_test(tc, test_adopt_not_permitted, 0, 2);
	tcase_add_test(tc, test_adopt_with_bytes);
	tcase_add_test(tc, test_export);
	tcase_add_test(tc, test_export_at_once);
	tcase_add_test(tc, test_export_of_unsent);
	tcase_add_test(tc, test_export_in_the_middle);
	suite_add_tcase(suite, tc);
	return unit_run(suite);
}
