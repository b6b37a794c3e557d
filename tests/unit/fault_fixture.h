/* SPDX-License-Identifier: ISC */
/*
 * One connection called "disk" on a socket pair, whose other end is the test,
 * and faults for it.  What is written and read is TEXT, in pieces.
 */
#ifndef ISCSIMUX_TESTS_FAULT_FIXTURE_H
#define ISCSIMUX_TESTS_FAULT_FIXTURE_H

#include <sys/socket.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "daemon/conf.h"
#include "daemon/conn.h"
#include "daemon/fault.h"
#include "daemon/loop.h"
#include "daemon/worker.h"
#include "tests/unit/unit.h"

/* Longer than libcheck lets a test run. */
#define FOREVER		60000
#define TEXT		"The quick brown fox jumps"
#define TEXT_LEN	(sizeof(TEXT) - 1)

struct fixture {
	struct worker	*worker;
	struct conn	*conn;
	int		 peer;
	unsigned	 connected;
	bool		 keep_reading;
	unsigned	 readable;
	unsigned	 writable;
	/* What conn_recv() gave so far. */
	char		 got[256];
	size_t		 ngot;
	int		 error;
	/* What fault_each() told. */
	struct fault_info info[8];
	char		 ids[8][FAULT_ID_MAX + 1];
	unsigned	 ninfo;
};

static const struct config no_config;
static struct fixture fx;

#define UNTIL(cond) do {						\
	while (!(cond))							\
		ck_assert_int_eq(loop_turn(fx.worker->loop, FOREVER), 0);\
} while (0)

static void
on_connected(void *arg)
{
	(void)arg;
	fx.connected++;
}

static void
on_readable(void *arg)
{
	(void)arg;
	fx.readable++;
	if (!fx.keep_reading)
		conn_want_read(fx.conn, false);
}

static void
on_writable(void *arg)
{
	(void)arg;
	fx.writable++;
	conn_want_write(fx.conn, false);
}

static const struct conn_ops ops = { .on_connected = on_connected,
	.on_readable = on_readable, .on_writable = on_writable };

/* A new connection in place of the last. */
static void
reconnect(const char *label)
{
	int sv[2];

	conn_close(fx.conn);
	if (fx.peer != -1)
		close(fx.peer);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), 0);
	fx.conn = conn_adopt(fx.worker, sv[0], &ops, &fx);
	ck_assert_ptr_nonnull(fx.conn);
	fx.peer = sv[1];
	conn_set_label(fx.conn, label);
	fx.connected = fx.readable = fx.writable = 0;
	fx.ngot = 0;
	UNTIL(fx.connected > 0);
}

static void
setup(void)
{
	memset(&fx, 0, sizeof(fx));
	fx.peer = -1;
	fx.worker = worker_new(NULL, &no_config);
	ck_assert_ptr_nonnull(fx.worker);
	reconnect("disk");
}

static void
teardown(void)
{
	conn_close(fx.conn);
	ck_assert_uint_eq(worker_free(fx.worker), 0);
	if (fx.peer != -1)
		close(fx.peer);
}

/* A fault of a session called "disk". */
static inline struct fault_spec
spec_of(enum fault_dir dir, enum fault_kind kind, uint64_t after)
{
	struct fault_spec spec = { .label = "disk", .dir = dir, .kind = kind,
	    .after = after, .lasting = true, .error = ETIMEDOUT,
	    .mask = 0x81, .bytes = 3, .ms = 50 };

	snprintf(spec.id, sizeof(spec.id), "%s-%s", fault_dir_name(dir),
	    fault_kind_name(kind));
	return spec;
}

static inline void
set_spec(const struct fault_spec *spec)
{
	bool replaced;

	ck_assert_int_eq(fault_set(fx.worker->faults, spec, &replaced), 0);
}

static inline void
set(enum fault_dir dir, enum fault_kind kind, uint64_t after)
{
	struct fault_spec spec = spec_of(dir, kind, after);

	set_spec(&spec);
}

static inline unsigned
clear(const char *id)
{
	return fault_clear(fx.worker->faults, "disk", id);
}

static void
keep_info(const struct fault_info *info, void *arg)
{
	ck_assert_ptr_eq(arg, &fx);
	strlcpy(fx.ids[fx.ninfo], info->spec->id, sizeof(fx.ids[0]));
	fx.info[fx.ninfo++] = *info;
}

/* The only fault of "disk". */
static inline const struct fault_info *
the_fault(void)
{
	fx.ninfo = 0;
	fault_each(fx.worker->faults, "disk", keep_info, &fx);
	ck_assert_uint_eq(fx.ninfo, 1);
	return &fx.info[0];
}

static inline void
peer_says(const char *text, size_t len)
{
	ck_assert_int_eq(send(fx.peer, text, len, 0), (ssize_t)len);
}

/* Read once into two pieces, one of them empty. */
static inline enum conn_io
take(size_t *n)
{
	char *at = fx.got + fx.ngot;
	struct iovec iov[3] = { { at, 0 }, { at, 5 }, { at + 5, 100 } };
	enum conn_io result = conn_recv(fx.conn, iov, 3, n, &fx.error);

	ck_assert_uint_eq(iov[0].iov_len, 0);
	ck_assert_uint_eq(iov[1].iov_len, 5);
	ck_assert_uint_eq(iov[2].iov_len, 100);
	fx.ngot += *n;
	return result;
}

/* Read until that makes no progress. */
static inline enum conn_io
take_all(void)
{
	enum conn_io result;
	size_t n;

	do {
		result = take(&n);
	} while (result == CONN_PROGRESS);
	return result;
}

/* Write TEXT from byte `*from` on in pieces, once. */
static inline enum conn_io
put(size_t *from)
{
	char text[TEXT_LEN];
	struct iovec iov[3] = { { text + *from, 0 } };
	enum conn_io result;
	size_t first = (TEXT_LEN - *from) / 2, n;

	memcpy(text, TEXT, TEXT_LEN);
	iov[1] = (struct iovec){ text + *from, first };
	iov[2] = (struct iovec){ text + *from + first,
	    TEXT_LEN - *from - first };
	result = conn_send(fx.conn, iov, 3, &n, &fx.error);
	/* Nothing of the caller's was written to. */
	ck_assert_mem_eq(text, TEXT, TEXT_LEN);
	ck_assert_ptr_eq(iov[1].iov_base, text + *from);
	ck_assert_uint_eq(iov[1].iov_len, first);
	ck_assert_uint_eq(iov[2].iov_len, TEXT_LEN - *from - first);
	*from += n;
	return result;
}

static inline enum conn_io
put_all(size_t *from)
{
	enum conn_io result = CONN_PROGRESS;

	while (result == CONN_PROGRESS && *from < TEXT_LEN)
		result = put(from);
	return result;
}

static inline size_t
peer_hears(char *buf, size_t size)
{
	ssize_t n = recv(fx.peer, buf, size, MSG_DONTWAIT);

	return n > 0 ? (size_t)n : 0;
}

#endif
