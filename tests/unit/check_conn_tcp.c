/* SPDX-License-Identifier: ISC */
/*
 * conn_check_tcp() of daemon/conn.h: what somebody may hand over, and what of
 * it is a connected TCP socket.
 */
#include "config.h"

#include <sys/socket.h>

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <string.h>
#include <unistd.h>

#include "daemon/conn.h"
#include "tests/unit/unit.h"

START_TEST(test_no_socket)
{
	int fds[2], fd;

	ck_assert_int_eq(conn_check_tcp(-1), -EBADF);
	ck_assert_int_eq(pipe(fds), 0);
	ck_assert_int_eq(conn_check_tcp(fds[0]), -ENOTSOCK);
	ck_assert_int_eq(conn_check_tcp(fds[1]), -ENOTSOCK);
	close(fds[0]);
	close(fds[1]);
	fd = open("/dev/null", O_RDWR);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(conn_check_tcp(fd), -ENOTSOCK);
	close(fd);
}
END_TEST

START_TEST(test_unix)
{
	static const int types[] = { SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET };
	int sv[2];

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		ck_assert_int_eq(socketpair(AF_UNIX, types[i], 0, sv), 0);
		ck_assert_int_eq(conn_check_tcp(sv[0]), -EAFNOSUPPORT);
		close(sv[0]);
		close(sv[1]);
	}
}
END_TEST

START_TEST(test_udp)
{
	struct sockaddr_in in = { .sin_family = AF_INET };
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	in.sin_port = htons(9);
	ck_assert_int_eq(conn_check_tcp(fd), -EPROTOTYPE);
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&in, sizeof(in)), 0);
	ck_assert_int_eq(conn_check_tcp(fd), -EPROTOTYPE);
	close(fd);
}
END_TEST

/* Streams over IP that are not TCP, where the kernel has them. */
START_TEST(test_other_protocols)
{
	static const int protocols[] = { IPPROTO_SCTP, IPPROTO_MPTCP };
	int fd;

	for (size_t i = 0; i < sizeof(protocols) / sizeof(int); i++) {
		fd = socket(AF_INET, SOCK_STREAM, protocols[i]);
		if (fd == -1)
			continue;
		ck_assert_int_eq(conn_check_tcp(fd), -EPROTONOSUPPORT);
		close(fd);
	}
}
END_TEST

/* A socket that listens on the loopback; -1 if there is no such family. */
static int
listening(int family, struct sockaddr_storage *ss, socklen_t *len)
{
	struct sockaddr_in *in = (struct sockaddr_in *)ss;
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)ss;
	int fd = socket(family, SOCK_STREAM, 0);

	memset(ss, 0, sizeof(*ss));
	ss->ss_family = (sa_family_t)family;
	if (family == AF_INET)
		in->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	else
		in6->sin6_addr = in6addr_loopback;
	*len = family == AF_INET ? sizeof(*in) : sizeof(*in6);
	if (fd == -1 || bind(fd, (struct sockaddr *)ss, *len) == -1) {
		close(fd);
		return -1;
	}
	ck_assert_int_eq(getsockname(fd, (struct sockaddr *)ss, len), 0);
	ck_assert_int_eq(listen(fd, 5), 0);
	return fd;
}

START_TEST(test_tcp)
{
	const int family = _i == 0 ? AF_INET : AF_INET6;
	const struct linger at_once = { .l_onoff = 1 };
	struct sockaddr_storage ss;
	socklen_t len;
	int listener = listening(family, &ss, &len), fd, peer;
	char byte;

	if (listener == -1 && family == AF_INET6)
		return;
	ck_assert_int_eq(conn_check_tcp(listener), -ENOTCONN);
	fd = socket(family, SOCK_STREAM, 0);
	ck_assert_int_eq(conn_check_tcp(fd), -ENOTCONN);
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&ss, len), 0);
	peer = accept(listener, NULL, NULL);
	ck_assert_int_eq(conn_check_tcp(fd), 0);
	ck_assert_int_eq(conn_check_tcp(peer), 0);
	/* Half closed is connected still; reset is not. */
	ck_assert_int_eq(shutdown(peer, SHUT_WR), 0);
	ck_assert_int_eq(recv(fd, &byte, 1, 0), 0);
	ck_assert_int_eq(conn_check_tcp(fd), 0);
	ck_assert_int_eq(setsockopt(peer, SOL_SOCKET, SO_LINGER, &at_once,
	    sizeof(at_once)), 0);
	close(peer);
	ck_assert_int_eq(recv(fd, &byte, 1, MSG_DONTWAIT), 0);
	ck_assert_int_eq(conn_check_tcp(fd), -ENOTCONN);
	close(fd);
	close(listener);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("conn_tcp");
	TCase *tc = tcase_create("conn_tcp");

	tcase_add_test(tc, test_no_socket);
	tcase_add_test(tc, test_unix);
	tcase_add_test(tc, test_udp);
	tcase_add_test(tc, test_other_protocols);
	tcase_add_loop_test(tc, test_tcp, 0, 2);
	suite_add_tcase(suite, tc);
	return unit_run(suite);
}
