/* SPDX-License-Identifier: ISC */
/*
 * Faults (daemon/fault.h) on a connection: each kind at exactly its byte, and
 * over again or once.
 */
#include "config.h"

#include "tests/unit/fault_fixture.h"

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
	suite_add_tcase(suite, tc);
	return unit_run(suite);
}
