/* SPDX-License-Identifier: ISC */
/*
 * TCP connections (daemon/conn.h) on the loopback: look-up, connect, refusal,
 * deadline, the three-valued results, and close at any moment.
 */
#include "config.h"

#include <sys/socket.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "daemon/conf.h"
#include "daemon/conn.h"
#include "daemon/loop.h"
#include "daemon/worker.h"
#include "tests/unit/unit.h"

/* Longer than libcheck lets a test run. */
#define FOREVER	60000

/* What a callback may do besides counting. */
enum closing {
	KEEP_OPEN,
	CLOSE_ON_CONNECTED,
	CLOSE_ON_READABLE,
	CLOSE_ON_WRITABLE,
	CLOSE_ON_FAILED
};

struct fixture {
	struct worker	*worker;
	struct conn	*conn;
	int		 listener;
	int		 peer;
	uint16_t	 port;
	enum closing	 closing;
	unsigned	 connected;
	unsigned	 readable;
	unsigned	 writable;
	unsigned	 failed;
	int		 error;
	char		 what[256];
};

/* No client lives here: limits of zero are as good as any. */
static const struct config no_config;
static struct fixture fx;

#define UNTIL(cond) do {						\
	while (!(cond))							\
		ck_assert_int_eq(loop_turn(fx.worker->loop, FOREVER), 0);\
} while (0)

static void
close_if(enum closing when)
{
	if (fx.closing == when)
		conn_close(fx.conn);
}

static void
on_connected(void *arg)
{
	ck_assert_ptr_eq(arg, &fx);
	fx.connected++;
	close_if(CLOSE_ON_CONNECTED);
}

static void
on_readable(void *arg)
{
	(void)arg;
	fx.readable++;
	close_if(CLOSE_ON_READABLE);
}

static void
on_writable(void *arg)
{
	(void)arg;
	fx.writable++;
	conn_want_write(fx.conn, false);
	close_if(CLOSE_ON_WRITABLE);
}

static void
on_failed(void *arg, int error, const char *what)
{
	(void)arg;
	fx.failed++;
	fx.error = error;
	snprintf(fx.what, sizeof(fx.what), "%s", what);
	close_if(CLOSE_ON_FAILED);
}

static const struct conn_ops ops = {
	.on_connected = on_connected,
	.on_readable = on_readable,
	.on_writable = on_writable,
	.on_failed = on_failed
};

static void
setup(void)
{
	memset(&fx, 0, sizeof(fx));
	fx.listener = fx.peer = -1;
	fx.worker = worker_new(NULL, &no_config);
	ck_assert_ptr_nonnull(fx.worker);
}

static void
teardown(void)
{
	conn_close(fx.conn);
	ck_assert_uint_eq(worker_free(fx.worker), 0);
	if (fx.listener != -1)
		close(fx.listener);
	if (fx.peer != -1)
		close(fx.peer);
}

/* Bind a socket of a family to its loopback; false if there is no such. */
static bool
bind_loopback(int family)
{
	struct sockaddr_in in = { .sin_family = AF_INET };
	struct sockaddr_in6 in6 = { .sin6_family = AF_INET6 };
	socklen_t len;

	in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	in6.sin6_addr = in6addr_loopback;
	fx.listener = socket(family, SOCK_STREAM, 0);
	if (fx.listener == -1)
		return false;
	if (family == AF_INET) {
		len = sizeof(in);
		if (bind(fx.listener, (struct sockaddr *)&in, len) == -1)
			return false;
		getsockname(fx.listener, (struct sockaddr *)&in, &len);
		fx.port = ntohs(in.sin_port);
		return true;
	}
	len = sizeof(in6);
	if (bind(fx.listener, (struct sockaddr *)&in6, len) == -1)
		return false;
	getsockname(fx.listener, (struct sockaddr *)&in6, &len);
	fx.port = ntohs(in6.sin6_port);
	return true;
}

static void
dial(const char *host, uint32_t timeout_ms)
{
	fx.conn = conn_dial(fx.worker, host, fx.port, timeout_ms, &ops, &fx);
	ck_assert_ptr_nonnull(fx.conn);
	ck_assert_uint_eq(fx.connected + fx.failed, 0);
}

static void
dial_listening(int family, const char *host)
{
	if (!bind_loopback(family))
		return;
	ck_assert_int_eq(listen(fx.listener, 5), 0);
	dial(host, FOREVER);
	UNTIL(fx.connected + fx.failed > 0);
	ck_assert_str_eq(fx.what, "");
	ck_assert_uint_eq(fx.connected, 1);
	fx.peer = accept(fx.listener, NULL, NULL);
	ck_assert_int_ne(fx.peer, -1);
}

START_TEST(test_connect)
{
	char peer[64], buf[8] = "";
	struct iovec iov = { buf, sizeof(buf) };
	size_t n;
	int error;

	dial_listening(AF_INET, "127.0.0.1");
	snprintf(peer, sizeof(peer), "127.0.0.1:%u", (unsigned)fx.port);
	ck_assert_str_eq(conn_peer(fx.conn), peer);
	ck_assert(strncmp(conn_local(fx.conn), "127.0.0.1:", 10) == 0);
	ck_assert_str_ne(conn_local(fx.conn), conn_peer(fx.conn));
	ck_assert_int_ge(conn_fd(fx.conn), 0);
	ck_assert_int_ne(fcntl(conn_fd(fx.conn), F_GETFL) & O_NONBLOCK, 0);
	ck_assert_int_ne(fcntl(conn_fd(fx.conn), F_GETFD) & FD_CLOEXEC, 0);
	ck_assert_int_eq(conn_recv(fx.conn, &iov, 1, &n, &error),
	    CONN_WOULD_BLOCK);
	ck_assert_int_eq(send(fx.peer, "abc", 3, 0), 3);
	UNTIL(fx.readable > 0);
	ck_assert_int_eq(conn_recv(fx.conn, &iov, 1, &n, &error),
	    CONN_PROGRESS);
	ck_assert_uint_eq(n, 3);
	ck_assert_mem_eq(buf, "abc", 3);
	ck_assert_uint_eq(conn_bytes_in(fx.conn), 3);
	iov.iov_len = 2;
	ck_assert_int_eq(conn_send(fx.conn, &iov, 1, &n, &error),
	    CONN_PROGRESS);
	ck_assert_uint_eq(n, 2);
	ck_assert_uint_eq(conn_bytes_out(fx.conn), 2);
	ck_assert_int_eq(recv(fx.peer, buf, sizeof(buf), MSG_WAITALL |
	    MSG_DONTWAIT), 2);
}
END_TEST

START_TEST(test_connect_ipv6)
{
	char peer[64];

	dial_listening(AF_INET6, "::1");
	if (fx.conn == NULL)
		return;
	snprintf(peer, sizeof(peer), "[::1]:%u", (unsigned)fx.port);
	ck_assert_str_eq(conn_peer(fx.conn), peer);
}
END_TEST

/* Whatever else the name stands for here, it stands for 127.0.0.1 too. */
START_TEST(test_connect_name)
{
	dial_listening(AF_INET, "localhost");
	ck_assert(strncmp(conn_peer(fx.conn), "127.0.0.1:", 10) == 0);
}
END_TEST

/* A bound port on which nobody listens. */
START_TEST(test_refused)
{
	char what[64];

	ck_assert(bind_loopback(AF_INET));
	dial("127.0.0.1", FOREVER);
	UNTIL(fx.connected + fx.failed > 0);
	ck_assert_uint_eq(fx.failed, 1);
	ck_assert_int_eq(fx.error, ECONNREFUSED);
	snprintf(what, sizeof(what), "connect to 127.0.0.1:%u: "
	    "Connection refused", (unsigned)fx.port);
	ck_assert_str_eq(fx.what, what);
	ck_assert_int_eq(conn_fd(fx.conn), -1);
	ck_assert_str_eq(conn_peer(fx.conn), "");
	loop_turn(fx.worker->loop, 0);
	ck_assert_uint_eq(fx.failed, 1);
}
END_TEST

/* A listener whose queue is full answers nobody. */
START_TEST(test_deadline)
{
	struct sockaddr_in in = { .sin_family = AF_INET };
	int fds[64];
	size_t i, n;

	ck_assert(bind_loopback(AF_INET));
	ck_assert_int_eq(listen(fx.listener, 0), 0);
	in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	in.sin_port = htons(fx.port);
	for (n = 0; n < sizeof(fds) / sizeof(fds[0]); n++) {
		fds[n] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
		(void)connect(fds[n], (struct sockaddr *)&in, sizeof(in));
	}
	dial("127.0.0.1", 200);
	UNTIL(fx.connected + fx.failed > 0);
	for (i = 0; i < n; i++)
		close(fds[i]);
	/* Some kernels complete every connect. */
	if (fx.connected > 0)
		return;
	ck_assert_int_eq(fx.error, ETIMEDOUT);
	ck_assert_ptr_nonnull(strstr(fx.what, "connect to 127.0.0.1:"));
	ck_assert_ptr_nonnull(strstr(fx.what, ": timed out after 200 ms"));
}
END_TEST

/* No label of a name has more than 63 characters: no server is asked. */
static const char bad_name[] =
    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx.test";

START_TEST(test_bad_name)
{
	char what[128];

	fx.port = 3260;
	dial(bad_name, FOREVER);
	UNTIL(fx.connected + fx.failed > 0);
	ck_assert_uint_eq(fx.failed, 1);
	ck_assert_int_eq(fx.error, EHOSTUNREACH);
	snprintf(what, sizeof(what), "look-up of %s: ", bad_name);
	ck_assert(strncmp(fx.what, what, strlen(what)) == 0);
	ck_assert_uint_gt(strlen(fx.what), strlen(what));
}
END_TEST

START_TEST(test_dial_refuses)
{
	char name[2048];

	ck_assert_ptr_null(conn_dial(fx.worker, "", 1, 1000, &ops, &fx));
	ck_assert_int_eq(errno, EINVAL);
	memset(name, 'a', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	ck_assert_ptr_null(conn_dial(fx.worker, name, 1, 1000, &ops, &fx));
	ck_assert_int_eq(errno, ENAMETOOLONG);
}
END_TEST

/* Closed before the answer, before the connect, twice: nothing is called. */
START_TEST(test_close_early)
{
	static const char *const hosts[] = {
		"127.0.0.1", "localhost", bad_name
	};
	size_t i;
	int turns;

	ck_assert(bind_loopback(AF_INET));
	ck_assert_int_eq(listen(fx.listener, 5), 0);
	for (i = 0; i < sizeof(hosts) / sizeof(hosts[0]); i++) {
		for (turns = 0; turns < 2; turns++) {
			dial(hosts[i], FOREVER);
			if (turns > 0)
				loop_turn(fx.worker->loop, FOREVER);
			fx.connected = fx.failed = 0;
			conn_close(fx.conn);
			conn_close(fx.conn);
			fx.conn = NULL;
			loop_turn(fx.worker->loop, 0);
			loop_turn(fx.worker->loop, 0);
			ck_assert_uint_eq(fx.connected + fx.failed, 0);
		}
	}
	conn_close(NULL);
}
END_TEST

/* A socket pair in place of a target. */
static void
adopt(void)
{
	int sv[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), 0);
	fx.conn = conn_adopt(fx.worker, sv[0], &ops, &fx);
	ck_assert_ptr_nonnull(fx.conn);
	fx.peer = sv[1];
	ck_assert_uint_eq(fx.connected, 0);
}

START_TEST(test_close_in_callback)
{
	fx.closing = (enum closing)_i;
	if (fx.closing == CLOSE_ON_FAILED) {
		ck_assert(bind_loopback(AF_INET));
		dial("127.0.0.1", FOREVER);
		UNTIL(fx.failed > 0);
	} else {
		adopt();
		ck_assert_int_eq(send(fx.peer, "x", 1, 0), 1);
		UNTIL(fx.connected > 0);
		if (fx.closing != CLOSE_ON_CONNECTED)
			conn_want_write(fx.conn, true);
	}
	if (fx.closing == CLOSE_ON_READABLE) {
		UNTIL(fx.readable > 0);
		/* Both were ready; the close came between. */
		ck_assert_uint_eq(fx.writable, 0);
	}
	if (fx.closing == CLOSE_ON_WRITABLE)
		UNTIL(fx.writable > 0);
	fx.conn = NULL;
	loop_turn(fx.worker->loop, 0);
	ck_assert_uint_le(fx.readable, 1);
	ck_assert_uint_le(fx.writable, 1);
	ck_assert_uint_eq(fx.failed, fx.closing == CLOSE_ON_FAILED);
}
END_TEST

START_TEST(test_adopt_refuses)
{
	int fds[3], i;

	fds[0] = socket(AF_INET, SOCK_STREAM, 0);
	fds[1] = socket(AF_UNIX, SOCK_DGRAM, 0);
	fds[2] = dup(STDERR_FILENO);
	for (i = 0; i < 3; i++) {
		ck_assert_ptr_null(conn_adopt(fx.worker, fds[i], &ops, &fx));
		ck_assert_int_ne(errno, 0);
		/* It is still ours. */
		ck_assert_int_eq(close(fds[i]), 0);
	}
	ck_assert_ptr_null(conn_adopt(fx.worker, -1, &ops, &fx));
	ck_assert_int_eq(errno, EBADF);
}
END_TEST

/* Which addresses of a look-up may be tried. */
static sa_family_t permitted_family;
static unsigned asked;

static bool
permits(void *arg, const struct sockaddr *sa, socklen_t len)
{
	struct sockaddr_in in;

	ck_assert_ptr_eq(arg, &fx);
	asked++;
	/* The port is there as well. */
	ck_assert_uint_le(sizeof(in), len);
	memcpy(&in, sa, sizeof(in));
	ck_assert_uint_eq(ntohs(in.sin_port), fx.port);
	return sa->sa_family == permitted_family;
}

static const struct conn_ops asking_ops = {
	.permits = permits,
	.on_connected = on_connected,
	.on_readable = on_readable,
	.on_writable = on_writable,
	.on_failed = on_failed
};

static void
dial_asking(const char *host, sa_family_t permitted)
{
	permitted_family = permitted;
	asked = 0;
	ck_assert(bind_loopback(AF_INET));
	ck_assert_int_eq(listen(fx.listener, 5), 0);
	fx.conn = conn_dial(fx.worker, host, fx.port, FOREVER, &asking_ops,
	    &fx);
	ck_assert_ptr_nonnull(fx.conn);
	UNTIL(fx.connected + fx.failed > 0);
	ck_assert_uint_ge(asked, 1);
}

START_TEST(test_permitted)
{
	dial_asking("127.0.0.1", AF_INET);
	ck_assert_uint_eq(asked, 1);
	ck_assert_uint_eq(fx.connected, 1);
}
END_TEST

/* A name with an address that may be tried, perhaps among others. */
START_TEST(test_permitted_name)
{
	dial_asking("localhost", AF_INET);
	ck_assert_uint_eq(fx.connected, 1);
	ck_assert_int_eq(strncmp(conn_peer(fx.conn), "127.0.0.1:", 10), 0);
}
END_TEST

START_TEST(test_not_permitted)
{
	char what[128];
	struct pollfd pfd;

	dial_asking("127.0.0.1", AF_INET6);
	ck_assert_uint_eq(fx.failed, 1);
	ck_assert_int_eq(fx.error, EACCES);
	snprintf(what, sizeof(what), "connect to 127.0.0.1:%u: not permitted",
	    (unsigned)fx.port);
	ck_assert_str_eq(fx.what, what);
	/* It was not even tried. */
	pfd = (struct pollfd){ .fd = fx.listener, .events = POLLIN };
	ck_assert_int_eq(poll(&pfd, 1, 0), 0);
}
END_TEST

/* None of the addresses of a name; how many it has is the machine's matter. */
START_TEST(test_name_not_permitted)
{
	dial_asking("localhost", AF_UNIX);
	ck_assert_int_eq(fx.error, EACCES);
	ck_assert_int_eq(strncmp(fx.what, "connect to ", 11), 0);
	ck_assert_ptr_nonnull(strstr(fx.what, ": not permitted"));
	ck_assert_int_eq(strstr(fx.what, "of localhost") != NULL, asked > 1);
}
END_TEST

/* The socket may block by its flags; the calls must not. */
START_TEST(test_results_of_a_blocking_socket)
{
	static char big[1 << 20];
	struct iovec iov = { big, sizeof(big) };
	enum conn_io result;
	size_t n;
	int error;

	adopt();
	UNTIL(fx.connected > 0);
	ck_assert_int_eq(fcntl(conn_fd(fx.conn), F_GETFL) & O_NONBLOCK, 0);
	ck_assert_int_eq(conn_recv(fx.conn, &iov, 1, &n, &error),
	    CONN_WOULD_BLOCK);
	do {
		result = conn_send(fx.conn, &iov, 1, &n, &error);
	} while (result == CONN_PROGRESS);
	ck_assert_int_eq(result, CONN_WOULD_BLOCK);
	conn_want_write(fx.conn, true);
	loop_turn(fx.worker->loop, 0);
	ck_assert_uint_eq(fx.writable, 0);
	while (recv(fx.peer, big, sizeof(big), MSG_DONTWAIT) > 0)
		;
	UNTIL(fx.writable > 0);
	close(fx.peer);
	fx.peer = -1;
	UNTIL(fx.readable > 0);
	ck_assert_int_eq(conn_recv(fx.conn, &iov, 1, &n, &error), CONN_CLOSED);
	ck_assert_int_eq(error, 0);
	/* And no SIGPIPE. */
	ck_assert_int_eq(conn_send(fx.conn, &iov, 1, &n, &error), CONN_CLOSED);
	ck_assert_int_eq(error, EPIPE);
}
END_TEST

START_TEST(test_pause_reading)
{
	adopt();
	ck_assert_int_eq(send(fx.peer, "x", 1, 0), 1);
	UNTIL(fx.readable > 0);
	conn_want_read(fx.conn, false);
	fx.readable = 0;
	loop_turn(fx.worker->loop, 0);
	ck_assert_uint_eq(fx.readable, 0);
	conn_want_read(fx.conn, true);
	UNTIL(fx.readable > 0);
}
END_TEST

static Suite *
conn_suite(void)
{
	Suite *suite = suite_create("conn");
	TCase *tc = tcase_create("conn");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 20);
	tcase_add_test(tc, test_connect);
	tcase_add_test(tc, test_connect_ipv6);
	tcase_add_test(tc, test_connect_name);
	tcase_add_test(tc, test_refused);
	tcase_add_test(tc, test_deadline);
	tcase_add_test(tc, test_bad_name);
	tcase_add_test(tc, test_dial_refuses);
	tcase_add_test(tc, test_close_early);
	tcase_add_loop_test(tc, test_close_in_callback, CLOSE_ON_CONNECTED,
	    CLOSE_ON_FAILED + 1);
	tcase_add_test(tc, test_adopt_refuses);
	tcase_add_test(tc, test_permitted);
	tcase_add_test(tc, test_permitted_name);
	tcase_add_test(tc, test_not_permitted);
	tcase_add_test(tc, test_name_not_permitted);
	tcase_add_test(tc, test_results_of_a_blocking_socket);
	tcase_add_test(tc, test_pause_reading);
	suite_add_tcase(suite, tc);
	return suite;
}

int
main(void)
{
	return unit_run(conn_suite());
}
