/* SPDX-License-Identifier: ISC */
/*
 * A control socket with one admin, the test, and nothing behind it.
 */
#ifndef ISCSIMUX_TESTS_CONTROL_FIXTURE_H
#define ISCSIMUX_TESTS_CONTROL_FIXTURE_H

#include <sys/socket.h>

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/conf.h"
#include "daemon/control.h"
#include "daemon/log.h"
#include "daemon/loop.h"
#include "daemon/worker.h"
#include "tests/unit/unit.h"

#define INFO	"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"daemon.info\"}\n"
#define SET(level)							\
	"{\"jsonrpc\":\"2.0\",\"method\":\"log.set\","			\
	"\"params\":{\"level\":\"" level "\"}}\n"

struct fixture {
	struct config	 config;
	struct log	*log;
	struct worker	*w;
	struct control	*c;
	int		 fd;		/* the admin's end */
	unsigned	 stops;
	int64_t		 drained;	/* the last drain's time */
	char		 heard[16384];	/* and not yet looked at */
	size_t		 nheard;
};

static struct fixture fx;

static inline void
ops_info(void *arg, struct control_info *out)
{
	ck_assert_ptr_eq(arg, &fx);
	*out = (struct control_info){ .uptime_ms = 1234,
	    .config_file = "/etc/x.conf", .data_socket = "/run/d",
	    .control_socket = "/run/c" };
}

static inline void
ops_each_session(void *arg, void (*fn)(struct session *, void *), void *ctx)
{
	(void)arg;
	(void)fn;
	(void)ctx;
}

static inline void
ops_each_client(void *arg, void (*fn)(struct client *, void *), void *ctx)
{
	(void)arg;
	(void)fn;
	(void)ctx;
}

static inline void
ops_stop(void *arg)
{
	(void)arg;
	fx.stops++;
}

static inline void
ops_drain(void *arg, int64_t timeout)
{
	(void)arg;
	fx.drained = timeout;
}

/* A faulty file. */
static inline bool
ops_reload(void *arg, control_note *note, void *ctx,
    struct config_errors *errs)
{
	(void)arg;
	(void)note;
	(void)ctx;
	(void)errs;
	return false;
}

static const struct control_ops ops = { .info = ops_info,
	.each_session = ops_each_session, .each_client = ops_each_client,
	.stop = ops_stop, .drain = ops_drain, .reload = ops_reload };

/* Connect as `uid`; returns the admin's end. */
static inline int
connect_as(uid_t uid)
{
	struct peer peer = { .pid = 77, .uid = uid };
	int sv[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0,
	    sv), 0);
	control_peer_new(fx.c, sv[1], &peer);
	return sv[0];
}

static inline void
setup(void)
{
	memset(&fx, 0, sizeof(fx));
	fx.config.limits.client_stall_timeout = 200;
	fx.log = log_new(-1, LOG_LEVEL_INFO);
	fx.w = worker_new(fx.log, &fx.config);
	ck_assert_ptr_nonnull(fx.w);
	fx.c = control_new(fx.w, &ops, &fx);
	ck_assert_ptr_nonnull(fx.c);
	fx.fd = connect_as(geteuid());
}

static inline void
teardown(void)
{
	control_free(fx.c);
	ck_assert_uint_eq(worker_free(fx.w), 0);
	log_free(fx.log);
	if (fx.fd >= 0)
		close(fx.fd);
}

static inline void
turn(void)
{
	ck_assert_int_eq(loop_turn(fx.w->loop, 5000), 0);
}

static inline void
say(const char *text, size_t len)
{
	ck_assert_int_eq(send(fx.fd, text, len, MSG_NOSIGNAL), (ssize_t)len);
}

/* Read what there is; 0 at the end of the stream, -1 if nothing is there. */
static inline ssize_t
hear(char *buf, size_t size)
{
	ssize_t n = recv(fx.fd, buf, size - 1, MSG_DONTWAIT);

	if (n == -1 && errno == ECONNRESET)
		n = 0;
	buf[n > 0 ? n : 0] = '\0';
	return n;
}

/* Take the first line out of what was heard; false if none is whole. */
static inline bool
take_line(json_t **js)
{
	char *end = memchr(fx.heard, '\n', fx.nheard);
	size_t len;

	if (end == NULL)
		return false;
	len = (size_t)(end - fx.heard) + 1;
	*js = json_loadb(fx.heard, len, 0, NULL);
	ck_assert_ptr_nonnull(*js);
	fx.nheard -= len;
	memmove(fx.heard, end + 1, fx.nheard);
	return true;
}

/* Run turns until a whole answer is there; the caller frees it. */
static inline json_t *
answer(void)
{
	json_t *js;
	ssize_t n;

	while (!take_line(&js)) {
		n = recv(fx.fd, fx.heard + fx.nheard,
		    sizeof(fx.heard) - fx.nheard, MSG_DONTWAIT);
		ck_assert_int_ne(n, 0);
		if (n == -1) {
			ck_assert_int_eq(errno, EAGAIN);
			turn();
			continue;
		}
		fx.nheard += (size_t)n;
	}
	return js;
}

static inline void
expect_code(int code)
{
	json_t *js = answer();

	ck_assert_int_eq(json_integer_value(json_object_get(
	    json_object_get(js, "error"), "code")), code);
	json_decref(js);
}

static inline void
expect_info(int id)
{
	json_t *js = answer();

	ck_assert_int_eq(json_integer_value(json_object_get(js, "id")), id);
	ck_assert_int_eq(json_integer_value(json_object_get(json_object_get(js,
	    "result"), "uptime_ms")), 1234);
	json_decref(js);
}

/* Run turns until the daemon's end is closed. */
static inline void
expect_end(void)
{
	char buf[4096];
	ssize_t n;

	while ((n = hear(buf, sizeof(buf))) != 0) {
		if (n == -1)
			turn();
	}
	ck_assert_uint_eq(control_count(fx.c), 0);
}

#endif
