/* SPDX-License-Identifier: ISC */
/*
 * Faults (daemon/fault.h) on a connection: each kind at exactly its byte, set,
 * replaced and cleared at run time, counted and bounded.
 */
#include "config.h"

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
static struct fault_spec
spec_of(enum fault_dir dir, enum fault_kind kind, uint64_t after)
{
	struct fault_spec spec = { .label = "disk", .dir = dir, .kind = kind,
	    .after = after, .lasting = true, .error = ETIMEDOUT,
	    .mask = 0x81, .bytes = 3, .ms = 50 };

	snprintf(spec.id, sizeof(spec.id), "%s-%s", fault_dir_name(dir),
	    fault_kind_name(kind));
	return spec;
}

static void
set_spec(const struct fault_spec *spec)
{
	bool replaced;

	ck_assert_int_eq(fault_set(fx.worker->faults, spec, &replaced), 0);
}

static void
set(enum fault_dir dir, enum fault_kind kind, uint64_t after)
{
	struct fault_spec spec = spec_of(dir, kind, after);

	set_spec(&spec);
}

static unsigned
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
static const struct fault_info *
the_fault(void)
{
	fx.ninfo = 0;
	fault_each(fx.worker->faults, "disk", keep_info, &fx);
	ck_assert_uint_eq(fx.ninfo, 1);
	return &fx.info[0];
}

static void
peer_says(const char *text, size_t len)
{
	ck_assert_int_eq(send(fx.peer, text, len, 0), (ssize_t)len);
}

/* Read once into two pieces, one of them empty. */
static enum conn_io
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
static enum conn_io
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
static enum conn_io
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

static enum conn_io
put_all(size_t *from)
{
	enum conn_io result = CONN_PROGRESS;

	while (result == CONN_PROGRESS && *from < TEXT_LEN)
		result = put(from);
	return result;
}

static size_t
peer_hears(char *buf, size_t size)
{
	ssize_t n = recv(fx.peer, buf, size, MSG_DONTWAIT);

	return n > 0 ? (size_t)n : 0;
}

/* --- errors --- */

START_TEST(read_error_at_every_byte)
{
	for (size_t n = 0; n <= TEXT_LEN; n++) {
		reconnect("disk");
		set(FAULT_READ, FAULT_ERRNO, n);
		peer_says(TEXT, TEXT_LEN);
		ck_assert_int_eq(take_all(), CONN_CLOSED);
		ck_assert_int_eq(fx.error, ETIMEDOUT);
		ck_assert_uint_eq(fx.ngot, n);
		ck_assert_uint_eq(conn_bytes_in(fx.conn), n);
		/* Once: the rest is still there. */
		ck_assert_uint_eq(the_fault()->fired, 1);
		ck_assert(the_fault()->spent);
		ck_assert_int_eq(take_all(), CONN_WOULD_BLOCK);
		ck_assert_uint_eq(fx.ngot, TEXT_LEN);
		ck_assert_mem_eq(fx.got, TEXT, TEXT_LEN);
	}
}
END_TEST

START_TEST(write_error_at_every_byte)
{
	char heard[TEXT_LEN];
	size_t sent;

	for (size_t n = 0; n < TEXT_LEN; n++) {
		reconnect("disk");
		set(FAULT_WRITE, FAULT_ERRNO, n);
		sent = 0;
		ck_assert_int_eq(put_all(&sent), CONN_CLOSED);
		ck_assert_int_eq(fx.error, ETIMEDOUT);
		ck_assert_uint_eq(sent, n);
		ck_assert_uint_eq(conn_bytes_out(fx.conn), n);
		ck_assert_uint_eq(peer_hears(heard, sizeof(heard)), n);
		ck_assert_mem_eq(heard, TEXT, n);
		ck_assert_int_eq(put_all(&sent), CONN_PROGRESS);
		ck_assert_uint_eq(peer_hears(heard, sizeof(heard)),
		    TEXT_LEN - n);
		ck_assert_mem_eq(heard, &TEXT[n], TEXT_LEN - n);
	}
}
END_TEST

/* Reached or exceeded: with `repeat` every call from there on fails. */
START_TEST(repeated_error)
{
	struct fault_spec spec = spec_of(FAULT_READ, FAULT_ERRNO, 4);
	size_t n;

	peer_says(TEXT, 10);
	ck_assert_int_eq(take_all(), CONN_WOULD_BLOCK);
	spec.repeat = true;
	set_spec(&spec);
	for (unsigned i = 1; i < 4; i++) {
		ck_assert_int_eq(take(&n), CONN_CLOSED);
		ck_assert_int_eq(fx.error, ETIMEDOUT);
		ck_assert_uint_eq(the_fault()->fired, i);
		ck_assert(!the_fault()->spent);
	}
	/* And the next connection after its fourth byte. */
	reconnect("disk");
	peer_says(TEXT, 10);
	ck_assert_int_eq(take_all(), CONN_CLOSED);
	ck_assert_uint_eq(fx.ngot, 4);
}
END_TEST

START_TEST(from_now_counts_from_now)
{
	struct fault_spec spec = spec_of(FAULT_READ, FAULT_ERRNO, 5);

	peer_says(TEXT, 10);
	ck_assert_int_eq(take_all(), CONN_WOULD_BLOCK);
	spec.from_now = true;
	set_spec(&spec);
	ck_assert_uint_eq(the_fault()->at, 15);
	ck_assert_uint_eq(the_fault()->moved, 10);
	peer_says(TEXT, 10);
	ck_assert_int_eq(take_all(), CONN_CLOSED);
	ck_assert_uint_eq(fx.ngot, 15);
	/* On a later connection it is the first byte. */
	set_spec(&spec);
	reconnect("disk");
	ck_assert_uint_eq(the_fault()->at, 5);
	peer_says(TEXT, 10);
	ck_assert_int_eq(take_all(), CONN_CLOSED);
	ck_assert_uint_eq(fx.ngot, 5);
}
END_TEST

/* A read fails when it is due, though the peer says no more. */
START_TEST(error_needs_no_byte)
{
	size_t n;

	fx.keep_reading = true;
	set(FAULT_READ, FAULT_ERRNO, 3);
	loop_turn(fx.worker->loop, 0);
	fx.readable = 0;
	peer_says(TEXT, 3);
	UNTIL(fx.readable == 1);
	ck_assert_int_eq(take(&n), CONN_PROGRESS);
	UNTIL(fx.readable == 2);
	ck_assert_int_eq(take(&n), CONN_CLOSED);
	ck_assert_int_eq(fx.error, ETIMEDOUT);
	/* Set where nothing happens at all, while reading is paused. */
	fx.keep_reading = false;
	conn_want_read(fx.conn, false);
	set(FAULT_READ, FAULT_CLOSE, 0);
	loop_turn(fx.worker->loop, 0);
	loop_turn(fx.worker->loop, 0);
	ck_assert_uint_eq(fx.readable, 2);
	conn_want_read(fx.conn, true);
	UNTIL(fx.readable == 3);
	ck_assert_int_eq(take(&n), CONN_CLOSED);
	ck_assert_int_eq(fx.error, 0);
}
END_TEST

START_TEST(close_is_as_by_the_peer)
{
	char heard[TEXT_LEN];
	size_t sent = 0;

	set(FAULT_READ, FAULT_CLOSE, 7);
	set(FAULT_WRITE, FAULT_CLOSE, 9);
	peer_says(TEXT, TEXT_LEN);
	ck_assert_int_eq(take_all(), CONN_CLOSED);
	ck_assert_int_eq(fx.error, 0);
	ck_assert_uint_eq(fx.ngot, 7);
	ck_assert_int_eq(put_all(&sent), CONN_CLOSED);
	ck_assert_int_eq(fx.error, EPIPE);
	ck_assert_uint_eq(sent, 9);
	ck_assert_uint_eq(peer_hears(heard, sizeof(heard)), 9);
}
END_TEST

/* --- corrupt bytes --- */

static void
expect_flipped(const char *got, size_t at, uint8_t mask)
{
	char wanted[TEXT_LEN];

	memcpy(wanted, TEXT, TEXT_LEN);
	wanted[at] = (char)((uint8_t)wanted[at] ^ mask);
	ck_assert_mem_eq(got, wanted, TEXT_LEN);
}

START_TEST(corrupt_every_byte)
{
	char heard[TEXT_LEN];
	size_t sent;

	for (size_t n = 0; n < TEXT_LEN; n++) {
		reconnect("disk");
		set(FAULT_READ, FAULT_CORRUPT, n);
		set(FAULT_WRITE, FAULT_CORRUPT, n);
		peer_says(TEXT, TEXT_LEN);
		ck_assert_int_eq(take_all(), CONN_WOULD_BLOCK);
		ck_assert_uint_eq(fx.ngot, TEXT_LEN);
		expect_flipped(fx.got, n, 0x81);
		sent = 0;
		ck_assert_int_eq(put_all(&sent), CONN_PROGRESS);
		ck_assert_uint_eq(peer_hears(heard, sizeof(heard)), TEXT_LEN);
		expect_flipped(heard, n, 0x81);
		ck_assert_uint_eq(clear("read-corrupt"), 1);
		ck_assert_uint_eq(the_fault()->fired, 1);
		ck_assert(the_fault()->spent);
		clear(NULL);
	}
}
END_TEST

/* A byte that has passed is not made corrupt any more: the next one's is. */
START_TEST(corrupt_waits_for_its_byte)
{
	struct fault_spec spec = spec_of(FAULT_READ, FAULT_CORRUPT, 2);

	peer_says(TEXT, 3);
	ck_assert_int_eq(take_all(), CONN_WOULD_BLOCK);
	spec.repeat = true;
	set_spec(&spec);
	peer_says(&TEXT[3], TEXT_LEN - 3);
	ck_assert_int_eq(take_all(), CONN_WOULD_BLOCK);
	ck_assert_mem_eq(fx.got, TEXT, TEXT_LEN);
	for (unsigned i = 1; i < 3; i++) {
		reconnect("disk");
		peer_says(TEXT, TEXT_LEN);
		ck_assert_int_eq(take_all(), CONN_WOULD_BLOCK);
		expect_flipped(fx.got, 2, 0x81);
		ck_assert_uint_eq(the_fault()->fired, i);
	}
}
END_TEST

/* --- short, delay, stall --- */

START_TEST(short_moves)
{
	size_t n, sent = 0, before;

	set(FAULT_READ, FAULT_SHORT, 4);
	set(FAULT_WRITE, FAULT_SHORT, 4);
	peer_says(TEXT, TEXT_LEN);
	ck_assert_int_eq(take(&n), CONN_PROGRESS);
	ck_assert_uint_eq(n, 4);
	while (take(&n) == CONN_PROGRESS)
		ck_assert_uint_eq(n, 3);
	ck_assert_uint_eq(fx.ngot, TEXT_LEN);
	ck_assert_mem_eq(fx.got, TEXT, TEXT_LEN);
	ck_assert_int_eq(put(&sent), CONN_PROGRESS);
	ck_assert_uint_eq(sent, 4);
	while (sent < TEXT_LEN) {
		before = sent;
		ck_assert_int_eq(put(&sent), CONN_PROGRESS);
		ck_assert_uint_eq(sent - before, 3);
	}
	clear("read-short");
	ck_assert_uint_eq(the_fault()->fired, (TEXT_LEN - 4) / 3);
}
END_TEST

/* Several at once: bytes are dribbled up to the one at which it fails. */
START_TEST(short_and_error)
{
	size_t n;

	set(FAULT_READ, FAULT_SHORT, 0);
	set(FAULT_READ, FAULT_ERRNO, 7);
	peer_says(TEXT, TEXT_LEN);
	for (unsigned i = 0; i < 3; i++) {
		ck_assert_int_eq(take(&n), CONN_PROGRESS);
		ck_assert_uint_eq(n, i < 2 ? 3 : 1);
	}
	ck_assert_int_eq(take(&n), CONN_CLOSED);
	ck_assert_int_eq(fx.error, ETIMEDOUT);
}
END_TEST

/* Each waits its time, without a turn of the loop for nothing. */
START_TEST(delayed_read)
{
	uint64_t before, turns;
	size_t n;

	set(FAULT_READ, FAULT_DELAY, 2);
	peer_says(TEXT, 6);
	ck_assert_int_eq(take(&n), CONN_PROGRESS);
	ck_assert_uint_eq(n, 2);
	for (unsigned i = 1; i < 3; i++) {
		UNTIL(fx.readable > 0);
		loop_turn(fx.worker->loop, 0);
		conn_want_read(fx.conn, true);
		fx.readable = 0;
		before = loop_now(fx.worker->loop);
		turns = loop_turns(fx.worker->loop);
		ck_assert_int_eq(take(&n), CONN_WOULD_BLOCK);
		ck_assert_int_eq(take(&n), CONN_WOULD_BLOCK);
		UNTIL(fx.readable > 0);
		ck_assert_uint_ge(loop_now(fx.worker->loop) - before, 50);
		ck_assert_uint_le(loop_turns(fx.worker->loop) - turns, 4);
		ck_assert_int_eq(take(&n), CONN_PROGRESS);
		ck_assert_uint_eq(n, 4);
		ck_assert_uint_eq(the_fault()->fired, i);
		/* What is not there is not late. */
		ck_assert_int_eq(take(&n), CONN_WOULD_BLOCK);
		ck_assert_uint_eq(the_fault()->fired, i);
		conn_want_read(fx.conn, true);
		fx.readable = 0;
		peer_says(TEXT, 4);
	}
}
END_TEST

START_TEST(delayed_write)
{
	size_t sent = 0;
	uint64_t before, turns;

	set(FAULT_WRITE, FAULT_DELAY, 0);
	for (unsigned i = 1; i < 3; i++) {
		sent = 0;
		fx.writable = 0;
		loop_turn(fx.worker->loop, 0);
		before = loop_now(fx.worker->loop);
		turns = loop_turns(fx.worker->loop);
		ck_assert_int_eq(put(&sent), CONN_WOULD_BLOCK);
		conn_want_write(fx.conn, true);
		UNTIL(fx.writable > 0);
		ck_assert_uint_ge(loop_now(fx.worker->loop) - before, 50);
		ck_assert_uint_le(loop_turns(fx.worker->loop) - turns, 4);
		ck_assert_int_eq(put(&sent), CONN_PROGRESS);
		ck_assert_uint_eq(sent, TEXT_LEN);
		ck_assert_uint_eq(the_fault()->fired, i);
	}
	/* Cleared in the middle of the wait, it is over. */
	sent = 0;
	ck_assert_int_eq(put(&sent), CONN_WOULD_BLOCK);
	ck_assert_uint_eq(clear(NULL), 1);
	ck_assert_int_eq(put(&sent), CONN_PROGRESS);
}
END_TEST

START_TEST(stalled_until_cleared)
{
	size_t sent = 0, n;
	uint64_t turns;

	set(FAULT_READ, FAULT_STALL, 4);
	set(FAULT_WRITE, FAULT_STALL, 6);
	peer_says(TEXT, 10);
	ck_assert_int_eq(take_all(), CONN_WOULD_BLOCK);
	ck_assert_int_eq(put_all(&sent), CONN_WOULD_BLOCK);
	ck_assert_uint_eq(fx.ngot, 4);
	ck_assert_uint_eq(sent, 6);
	conn_want_read(fx.conn, true);
	conn_want_write(fx.conn, true);
	loop_turn(fx.worker->loop, 0);
	/* Neither direction is told of, and the loop sleeps. */
	fx.readable = fx.writable = 0;
	turns = loop_turns(fx.worker->loop);
	loop_turn(fx.worker->loop, 100);
	ck_assert_uint_eq(loop_turns(fx.worker->loop), turns + 1);
	ck_assert_uint_eq(fx.readable + fx.writable, 0);
	ck_assert_uint_eq(clear("write-stall"), 1);
	UNTIL(fx.writable > 0);
	ck_assert_uint_eq(the_fault()->fired, 1);
	ck_assert_uint_eq(clear("read-stall"), 1);
	UNTIL(fx.readable > 0);
	ck_assert_int_eq(put_all(&sent), CONN_PROGRESS);
	ck_assert_int_eq(take(&n), CONN_PROGRESS);
	ck_assert_uint_eq(fx.ngot, 10);
	ck_assert_mem_eq(fx.got, TEXT, 10);
}
END_TEST

/* --- the table --- */

START_TEST(replaced_at_run_time)
{
	struct fault_spec spec = spec_of(FAULT_READ, FAULT_ERRNO, 20);
	bool replaced;
	size_t n;

	ck_assert_int_eq(fault_set(fx.worker->faults, &spec, &replaced), 0);
	ck_assert(!replaced);
	peer_says(TEXT, TEXT_LEN);
	ck_assert_int_eq(take(&n), CONN_PROGRESS);
	ck_assert_uint_eq(n, 20);
	spec.after = 22;
	spec.error = EIO;
	ck_assert_int_eq(fault_set(fx.worker->faults, &spec, &replaced), 0);
	ck_assert(replaced);
	ck_assert_uint_eq(the_fault()->fired, 0);
	ck_assert_int_eq(take_all(), CONN_CLOSED);
	ck_assert_int_eq(fx.error, EIO);
	ck_assert_uint_eq(fx.ngot, 22);
	/* The other direction is another fault, and so is another id. */
	set(FAULT_WRITE, FAULT_ERRNO, 20);
	strlcpy(spec.id, "second", sizeof(spec.id));
	set_spec(&spec);
	ck_assert_uint_eq(clear("second"), 1);
	ck_assert_uint_eq(clear("second"), 0);
	ck_assert_uint_eq(clear(NULL), 2);
}
END_TEST

/* Without a fault for it, a connection is left alone. */
START_TEST(others_are_left_alone)
{
	set(FAULT_READ, FAULT_ERRNO, 0);
	reconnect("other");
	peer_says(TEXT, TEXT_LEN);
	ck_assert_int_eq(take_all(), CONN_WOULD_BLOCK);
	ck_assert_uint_eq(fx.ngot, TEXT_LEN);
	ck_assert(!the_fault()->live);
	ck_assert_uint_eq(the_fault()->fired, 0);
	/* The session connects again and finds it. */
	reconnect("disk");
	ck_assert(the_fault()->live);
	peer_says(TEXT, TEXT_LEN);
	ck_assert_int_eq(take_all(), CONN_CLOSED);
	ck_assert_uint_eq(fx.ngot, 0);
	/* It has fired: the one after that is well. */
	reconnect("disk");
	peer_says(TEXT, TEXT_LEN);
	ck_assert_int_eq(take_all(), CONN_WOULD_BLOCK);
	ck_assert_uint_eq(fx.ngot, TEXT_LEN);
}
END_TEST

/* What is set for a raw connection goes with it. */
START_TEST(not_lasting)
{
	struct fault_spec spec = spec_of(FAULT_READ, FAULT_STALL, 0);

	spec.lasting = false;
	set_spec(&spec);
	ck_assert(fault_label_lives(fx.worker->faults, "disk"));
	reconnect("other");
	ck_assert(!fault_label_lives(fx.worker->faults, "disk"));
	ck_assert_uint_eq(clear(NULL), 0);
}
END_TEST

START_TEST(bounded)
{
	struct fault_spec spec = spec_of(FAULT_READ, FAULT_ERRNO, 0);
	bool replaced;
	unsigned i;

	for (i = 0; i < FAULTS_MAX; i++) {
		snprintf(spec.label, sizeof(spec.label), "disk%u",
		    i / FAULTS_LABEL_MAX);
		snprintf(spec.id, sizeof(spec.id), "%u", i);
		set_spec(&spec);
	}
	snprintf(spec.id, sizeof(spec.id), "one-more");
	ck_assert_int_eq(fault_set(fx.worker->faults, &spec, &replaced),
	    -ENOSPC);
	snprintf(spec.label, sizeof(spec.label), "disk");
	ck_assert_int_eq(fault_set(fx.worker->faults, &spec, &replaced),
	    -EDQUOT);
	/* To replace needs no room; one less is room for one. */
	ck_assert_uint_eq(fault_clear(fx.worker->faults, "disk3", "200"), 1);
	set_spec(&spec);
	set_spec(&spec);
	ck_assert_uint_eq(fault_clear(fx.worker->faults, "disk4", NULL),
	    FAULTS_LABEL_MAX);
	ck_assert_uint_eq(fault_clear(fx.worker->faults, NULL, NULL),
	    FAULTS_MAX - FAULTS_LABEL_MAX);
	ck_assert_uint_eq(fault_clear(fx.worker->faults, NULL, NULL), 0);
}
END_TEST

START_TEST(spent_faults_make_room)
{
	struct fault_spec spec = spec_of(FAULT_READ, FAULT_ERRNO, 0);
	bool replaced;
	size_t n;

	for (unsigned i = 0; i < FAULTS_LABEL_MAX; i++) {
		snprintf(spec.id, sizeof(spec.id), "%u", i);
		set_spec(&spec);
	}
	ck_assert_int_eq(take(&n), CONN_CLOSED);
	snprintf(spec.id, sizeof(spec.id), "more");
	ck_assert_int_eq(fault_set(fx.worker->faults, &spec, &replaced), 0);
	ck_assert_uint_eq(clear("0"), 0);
	snprintf(spec.id, sizeof(spec.id), "and-more");
	ck_assert_int_eq(fault_set(fx.worker->faults, &spec, &replaced),
	    -ENOSPC);
}
END_TEST

START_TEST(names)
{
	enum fault_kind kind;
	enum fault_dir dir;
	int error;

	for (unsigned i = 0; i < FAULT_KINDS; i++) {
		ck_assert(fault_kind_parse(fault_kind_name(
		    (enum fault_kind)i), &kind));
		ck_assert_uint_eq(kind, i);
	}
	for (unsigned i = 0; i < FAULT_DIRS; i++) {
		ck_assert(fault_dir_parse(fault_dir_name((enum fault_dir)i),
		    &dir));
		ck_assert_uint_eq(dir, i);
	}
	ck_assert(fault_errno_parse("ECONNRESET", &error));
	ck_assert_int_eq(error, ECONNRESET);
	ck_assert_str_eq(fault_errno_name(ECONNRESET), "ECONNRESET");
	ck_assert_str_eq(fault_errno_name(0), "?");
	/* These would be no failure. */
	ck_assert(!fault_errno_parse("EAGAIN", &error));
	ck_assert(!fault_errno_parse("EINTR", &error));
	ck_assert(!fault_errno_parse("", &error));
	ck_assert(!fault_kind_parse("shor", &kind));
	ck_assert(!fault_dir_parse("both", &dir));
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("fault");
	TCase *tc = tcase_create("fault");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 20);
	tcase_add_test(tc, read_error_at_every_byte);
	tcase_add_test(tc, write_error_at_every_byte);
	tcase_add_test(tc, repeated_error);
	tcase_add_test(tc, from_now_counts_from_now);
	tcase_add_test(tc, error_needs_no_byte);
	tcase_add_test(tc, close_is_as_by_the_peer);
	tcase_add_test(tc, corrupt_every_byte);
	tcase_add_test(tc, corrupt_waits_for_its_byte);
	tcase_add_test(tc, short_moves);
	tcase_add_test(tc, short_and_error);
	tcase_add_test(tc, delayed_read);
	tcase_add_test(tc, delayed_write);
	tcase_add_test(tc, stalled_until_cleared);
	tcase_add_test(tc, replaced_at_run_time);
	tcase_add_test(tc, others_are_left_alone);
	tcase_add_test(tc, not_lasting);
	tcase_add_test(tc, bounded);
	tcase_add_test(tc, spent_faults_make_room);
	tcase_add_test(tc, names);
	suite_add_tcase(suite, tc);
	return unit_run(suite);
}
