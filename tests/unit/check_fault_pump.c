/* SPDX-License-Identifier: ISC */
/*
 * Faults (daemon/fault.h) below the pumps (daemon/pump.h): streams that are
 * dribbled, held back or cut at any byte arrive whole up to that byte, and
 * the pump goes down with what the fault says.
 */
#include "config.h"

#include "daemon/fault.h"
#include "tests/unit/pump_fixture.h"

#define NPDUS		4u
#define BUF_SIZE	8192u

static const struct pdu_framing both = {
	.header_digest = true, .data_digest = true
};
static uint8_t buf[BUF_SIZE];
static size_t stream_len;
static size_t ends[NPDUS];	/* of each PDU in the stream */

/* A connected pump with digests, and in `buf` what the target says. */
static void
start(void)
{
	fx_pair();
	conn_set_label(pump_conn(fx.pump), "disk");
	pump_set_framing(fx.pump, &both, &both);
	pdu_parser_init(&fx.parser, PDU_FROM_INITIATOR, &both);
	stream_len = 0;
	for (uint32_t i = 0; i < NPDUS; i++) {
		stream_len += put_pdu(buf + stream_len, BUF_SIZE - stream_len,
		    ISCSI_OP_NOP_IN, i, i * 9, &both);
		ends[i] = stream_len;
	}
	UNTIL(fx.nconnected > 0);
}

/* End that connection; what was not asked for stays in the queue. */
static void
finish(void)
{
	struct txpdu *pdu;

	pump_close(fx.pump);
	fx.pump = NULL;
	fx_hang_up();
	while ((pdu = STAILQ_FIRST(&fx.queue)) != NULL) {
		STAILQ_REMOVE_HEAD(&fx.queue, link);
		txpdu_free(fx.worker, pdu);
	}
	loop_turn(fx.worker->loop, 0);
	fx.nconnected = fx.nasked = fx.ndown = fx.ngot = fx.nseen = 0;
	fx.nwire = fx.nsent = fx.nqueued = fx.nreleased = 0;
	fx.reason[0] = '\0';
	memset(fx.life, 0, sizeof(fx.life));
}

static void
set(enum fault_dir dir, enum fault_kind kind, uint64_t after)
{
	struct fault_spec spec = { .label = "disk", .id = "f", .dir = dir,
	    .kind = kind, .after = after, .error = ENETRESET, .mask = 0x10,
	    .bytes = 1, .ms = 1 };
	bool replaced;

	snprintf(spec.id, sizeof(spec.id), "%d-%d", (int)dir, (int)kind);
	ck_assert_int_eq(fault_set(fx.worker->faults, &spec, &replaced), 0);
}

/* How many PDUs are whole in the first `n` bytes. */
static unsigned
whole(size_t n)
{
	unsigned i = 0;

	while (i < NPDUS && ends[i] <= n)
		i++;
	return i;
}

static void
expect_got(unsigned n)
{
	ck_assert_uint_eq(fx.ngot, n);
	for (uint32_t i = 0; i < n; i++)
		expect_pdu(&fx.got[i], ISCSI_OP_NOP_IN, i, i * 9);
}

START_TEST(read_cut_at_every_byte)
{
	start();
	for (size_t n = 0; n <= stream_len; n++) {
		finish();
		start();
		set(FAULT_READ, _i == 0 ? FAULT_ERRNO : FAULT_CLOSE, n);
		ck_assert_int_eq(send(fx.peer, buf, stream_len, 0),
		    (ssize_t)stream_len);
		UNTIL(fx.ndown > 0);
		expect_got(whole(n));
		ck_assert_uint_eq(conn_bytes_in(pump_conn(fx.pump)), n);
		ck_assert_int_eq(fx.error, _i == 0 ? ENETRESET : ECONNRESET);
		if (_i == 0)
			ck_assert_str_eq(fx.reason, "read: Network dropped "
			    "connection on reset");
		else if (n == 0 || (whole(n) > 0 && ends[whole(n) - 1] == n))
			ck_assert_str_eq(fx.reason, "closed by the target");
		else
			ck_assert_str_eq(fx.reason,
			    "closed by the target in the middle of a PDU");
	}
}
END_TEST

START_TEST(write_cut_at_every_byte)
{
	size_t len = 0;

	start();
	for (size_t n = 0; n < stream_len; n++) {
		finish();
		start();
		set(FAULT_WRITE, _i == 0 ? FAULT_ERRNO : FAULT_CLOSE, n);
		for (uint32_t i = 0; i < NPDUS; i++)
			queue_pdu(i * 9, 5);
		pump_kick(fx.pump);
		UNTIL(fx.ndown > 0);
		ck_assert_uint_eq(conn_bytes_out(pump_conn(fx.pump)), n);
		ck_assert_uint_eq(fx.nsent, whole(n));
		/* One byte taken makes it sent. */
		ck_assert_uint_eq(fx.nwire, whole(n) +
		    (n > (whole(n) > 0 ? ends[whole(n) - 1] : 0)));
		ck_assert_int_eq(fx.error, _i == 0 ? ENETRESET : EPIPE);
		ck_assert(strncmp(fx.reason, "write: ", 7) == 0);
		peer_read(SIZE_MAX);
		ck_assert_uint_eq(fx.nseen, whole(n));
		len++;
	}
	ck_assert_uint_eq(len, stream_len);
}
END_TEST

/* What the target said before a write failed is delivered, a byte a turn. */
START_TEST(write_error_while_reads_are_short)
{
	start();
	set(FAULT_READ, FAULT_SHORT, 0);
	set(FAULT_WRITE, FAULT_ERRNO, 10);
	ck_assert_int_eq(send(fx.peer, buf, stream_len, 0),
	    (ssize_t)stream_len);
	queue_pdu(10, 10);
	pump_kick(fx.pump);
	UNTIL(fx.ndown > 0);
	expect_got(NPDUS);
	ck_assert_int_eq(fx.error, ENETRESET);
}
END_TEST

/* One byte at a time, each late: no wake-up is lost, nothing is mixed up. */
START_TEST(dribbled)
{
	start();
	set(FAULT_READ, FAULT_SHORT, 0);
	set(FAULT_WRITE, FAULT_SHORT, 0);
	if (_i == 1) {
		set(FAULT_READ, FAULT_DELAY, 60);
		set(FAULT_WRITE, FAULT_DELAY, 60);
	}
	ck_assert_int_eq(send(fx.peer, buf, stream_len, 0),
	    (ssize_t)stream_len);
	for (uint32_t i = 0; i < NPDUS; i++)
		queue_pdu(i * 9, 5);
	pump_kick(fx.pump);
	while (fx.ngot < NPDUS || fx.nseen < NPDUS) {
		ck_assert_int_eq(loop_turn(fx.worker->loop, FOREVER), 0);
		peer_read(SIZE_MAX);
	}
	expect_got(NPDUS);
	for (uint32_t i = 0; i < NPDUS; i++)
		expect_pdu(&fx.seen[i], ISCSI_OP_NOP_OUT, i, i * 9);
	ck_assert_uint_eq(fx.ndown, 0);
	ck_assert_uint_eq(fx.nsent, NPDUS);
}
END_TEST

/* Nothing moves, the loop sleeps; cleared, both pumps go on. */
START_TEST(stalled_until_cleared)
{
	uint64_t turns;

	start();
	set(FAULT_READ, FAULT_STALL, ends[1] + 7);
	set(FAULT_WRITE, FAULT_STALL, ends[0] + 7);
	ck_assert_int_eq(send(fx.peer, buf, stream_len, 0),
	    (ssize_t)stream_len);
	for (uint32_t i = 0; i < NPDUS; i++)
		queue_pdu(i * 9, 5);
	pump_kick(fx.pump);
	UNTIL(fx.ngot == 2 && fx.nwire == 2);
	for (unsigned i = 0; i < 4; i++)
		loop_turn(fx.worker->loop, 0);
	turns = loop_turns(fx.worker->loop);
	loop_turn(fx.worker->loop, 50);
	ck_assert_uint_eq(loop_turns(fx.worker->loop), turns + 1);
	peer_read(SIZE_MAX);
	expect_got(2);
	ck_assert_uint_eq(fx.nseen, 1);
	ck_assert_uint_eq(fault_clear(fx.worker->faults, "disk", NULL), 2);
	while (fx.ngot < NPDUS || fx.nseen < NPDUS) {
		ck_assert_int_eq(loop_turn(fx.worker->loop, FOREVER), 0);
		peer_read(SIZE_MAX);
	}
	expect_got(NPDUS);
	ck_assert_uint_eq(fx.ndown, 0);
}
END_TEST

/*
 * Every byte is covered by a digest: none of them passes unseen.  A length of
 * AHS that is too large may ask for more than there is.
 */
START_TEST(corrupt_at_every_byte)
{
	size_t ahs;

	start();
	for (size_t n = 0; n < stream_len; n++) {
		finish();
		start();
		set(FAULT_READ, FAULT_CORRUPT, n);
		ck_assert_int_eq(send(fx.peer, buf, stream_len, 0),
		    (ssize_t)stream_len);
		ck_assert_int_eq(shutdown(fx.peer, SHUT_WR), 0);
		UNTIL(fx.ndown > 0);
		expect_got(whole(n));
		ahs = (whole(n) > 0 ? ends[whole(n) - 1] : 0) +
		    ISCSI_OFF_AHS;
		if (n != ahs || fx.error != ECONNRESET)
			ck_assert_int_eq(fx.error, EBADMSG);
	}
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("fault_pump");
	TCase *tc = tcase_create("fault_pump");

	tcase_add_checked_fixture(tc, fx_setup, fx_teardown);
	tcase_set_timeout(tc, 30);
	tcase_add_loop_test(tc, read_cut_at_every_byte, 0, 2);
	tcase_add_loop_test(tc, write_cut_at_every_byte, 0, 2);
	tcase_add_test(tc, write_error_while_reads_are_short);
	tcase_add_loop_test(tc, dribbled, 0, 2);
	tcase_add_test(tc, stalled_until_cleared);
	tcase_add_test(tc, corrupt_at_every_byte);
	suite_add_tcase(suite, tc);
	return unit_run(suite);
}
