/* SPDX-License-Identifier: ISC */
/*
 * The write pump (daemon/pump.h): what is written is what was queued, in
 * order, whatever the kernel takes at a time; and the owner learns in order
 * what became of each PDU.
 */
#include "config.h"

#include "tests/unit/pump_fixture.h"

static void
set_out(const struct pdu_framing *framing)
{
	pump_set_framing(fx.pump, &plain, framing);
	pdu_parser_set_framing(&fx.parser, framing);
}

/* Let the kernel take little at a time. */
static void
small_buffers(void)
{
	int small = 4096;

	ck_assert_int_eq(setsockopt(conn_fd(pump_conn(fx.pump)), SOL_SOCKET,
	    SO_SNDBUF, &small, sizeof(small)), 0);
}

/* Write until the kernel takes no more; returns the bytes it has. */
static uint64_t
write_until_full(void)
{
	struct pump_stats stats;
	uint64_t before;

	pump_kick(fx.pump);
	pump_stats_get(fx.pump, &stats);
	do {
		before = stats.send_calls;
		loop_turn(fx.worker->loop, 0);
		pump_stats_get(fx.pump, &stats);
	} while (stats.send_calls != before);
	return stats.bytes_out;
}

START_TEST(test_digests)
{
	static const uint32_t lens[] = {
		0, 1, 2, 3, 4, 5, 511, 4096, 65536, 100003, 0, 8192
	};
	struct pdu_framing framing = {
		.header_digest = (_i & 1) != 0,
		.data_digest = (_i & 2) != 0,
		.order = (_i & 4) != 0 ? CRC32C_BIG : CRC32C_LITTLE
	};
	struct pump_stats stats;
	unsigned i, n = sizeof(lens) / sizeof(lens[0]);

	fx_pair();
	set_out(&framing);
	for (i = 0; i < n; i++)
		queue_pdu(lens[i], 1000);
	pump_kick(fx.pump);
	peer_read_pdus(n, SIZE_MAX);
	for (i = 0; i < n; i++) {
		expect_pdu(&fx.seen[i], ISCSI_OP_NOP_OUT, i, lens[i]);
		ck_assert_uint_eq(fx.life[i][strlen(fx.life[i]) - 1], 's');
	}
	ck_assert_uint_eq(pump_unsent(fx.pump), 0);
	pump_stats_get(fx.pump, &stats);
	ck_assert_uint_eq(stats.pdus_out, n);
	ck_assert_uint_eq(fx.worker->txpdus_out, 0);
}
END_TEST

/* Nothing is asked for before there is a connection, nor before a kick. */
START_TEST(test_nothing_before_connected)
{
	fx_pair();
	queue_pdu(0, 1);
	pump_kick(fx.pump);
	ck_assert_uint_eq(fx.nasked, 0);
	fx_hang_up();
	pump_close(fx.pump);
	/* The fixture looks again when it is connected. */
	fx_dial();
	peer_read_pdus(1, SIZE_MAX);
	queue_pdu(0, 1);
	fx.nasked = 0;
	loop_turn(fx.worker->loop, 0);
	ck_assert_uint_eq(fx.nasked, 0);
	pump_kick(fx.pump);
	ck_assert_uint_eq(fx.nasked, 0);
	peer_read_pdus(2, SIZE_MAX);
}
END_TEST

/* A PDU's life: restamped while untouched, on the wire, sent. */
START_TEST(test_small_buffers)
{
	const struct pdu_framing both = {
		.header_digest = true, .data_digest = true
	};
	const uint32_t len = 3001;
	unsigned i;
	uint32_t before = 0, stamp;

	fx_dial();
	small_buffers();
	set_out(&both);
	for (i = 0; i < 100; i++)
		queue_pdu(len, 700);
	pump_kick(fx.pump);
	peer_read_pdus(100, 777);
	for (i = 0; i < 100; i++) {
		expect_pdu(&fx.seen[i], ISCSI_OP_NOP_OUT, i, len);
		/* The digests were right, so this is what was last stamped. */
		stamp = get_be32(fx.seen[i].bhs + ISCSI_OFF_EXPSTATSN);
		ck_assert_uint_gt(stamp, before);
		before = stamp;
		ck_assert(strcmp(fx.life[i], "ws") == 0 ||
		    strcmp(fx.life[i], "rws") == 0);
	}
	ck_assert_uint_gt(fx.nrestamped, 0);
	ck_assert_uint_eq(fx.nwire, 100);
	ck_assert_uint_eq(fx.nsent, 100);
	ck_assert_uint_eq(pump_unsent(fx.pump), 0);
	ck_assert_uint_eq(fx.worker->txpdus_out, 0);
}
END_TEST

/* The largest data segment, in more pieces than one system call takes. */
START_TEST(test_many_pieces)
{
	const struct pdu_framing both = {
		.header_digest = true, .data_digest = true
	};

	fx_pair();
	set_out(&both);
	queue_pdu(5, 5);
	queue_pdu(ISCSI_DSL_MAX, POOL_SMALL);
	queue_pdu(6, 6);
	pump_kick(fx.pump);
	peer_read_pdus(3, SIZE_MAX);
	expect_pdu(&fx.seen[0], ISCSI_OP_NOP_OUT, 0, 5);
	expect_pdu(&fx.seen[1], ISCSI_OP_NOP_OUT, 1, ISCSI_DSL_MAX);
	expect_pdu(&fx.seen[2], ISCSI_OP_NOP_OUT, 2, 6);
	ck_assert_str_eq(fx.life[1], "ws");
}
END_TEST

/* Small PDUs share system calls. */
START_TEST(test_batches)
{
	struct pump_stats stats;
	unsigned i;

	fx_pair();
	for (i = 0; i < 256; i++)
		queue_pdu(16, 16);
	pump_kick(fx.pump);
	peer_read_pdus(256, SIZE_MAX);
	pump_stats_get(fx.pump, &stats);
	ck_assert_uint_eq(stats.pdus_out, 256);
	ck_assert_uint_le(stats.send_calls, 256 / 64);
	ck_assert_uint_eq(stats.bytes_out, 256 * (48 + 16));
}
END_TEST

START_TEST(test_ahs)
{
	static const uint8_t ahs[8] = { 0, 5, 2, 0, 0, 0, 2, 0 };
	struct txpdu *pdu;

	fx_pair();
	pdu = queue_pdu(3, 3);
	pdu->bhs[0] = ISCSI_OP_SCSI_CMD;
	pdu->bhs[ISCSI_OFF_AHS] = 2;
	pdu->ahs.slab = pool_get(fx.worker->pool, sizeof(ahs));
	memcpy(pdu->ahs.slab->data, ahs, sizeof(ahs));
	pdu->ahs.ptr = pdu->ahs.slab->data;
	pdu->ahs.len = sizeof(ahs);
	pump_kick(fx.pump);
	peer_read_pdus(1, SIZE_MAX);
	expect_pdu(&fx.seen[0], ISCSI_OP_SCSI_CMD, 0, 3);
	ck_assert_uint_eq(fx.seen[0].ahs_len, sizeof(ahs));
	ck_assert_mem_eq(fx.seen[0].ahs, ahs, sizeof(ahs));
}
END_TEST

/* Turn a PDU into one that has no data. */
static void
empty_odd(struct txpdu *pdu, void *arg)
{
	unsigned *untouched = arg;

	ck_assert_uint_eq(pdu->sent, 0);
	(*untouched)++;
	if (iscsi_itt(pdu->bhs) % 2 == 0)
		return;
	iscsi_set_dsl(pdu->bhs, 0);
	slices_clear(fx.worker->pool, &pdu->data);
}

/* What no byte was taken of can be rewritten, what one was taken of cannot. */
START_TEST(test_rewrite_unsent)
{
	const uint32_t len = 3000;
	unsigned i, untouched = 0, touched;
	uint64_t before;

	fx_dial();
	small_buffers();
	for (i = 0; i < 100; i++)
		queue_pdu(len, len);
	write_until_full();
	touched = fx.nwire;
	ck_assert_uint_gt(touched, 0);
	before = pump_unsent(fx.pump);
	pump_foreach_unsent(fx.pump, empty_odd, &untouched);
	ck_assert_uint_gt(untouched, 1);
	ck_assert_uint_eq(before - pump_unsent(fx.pump),
	    len * ((untouched + touched % 2) / 2));
	peer_read_pdus(100, SIZE_MAX);
	for (i = 0; i < 100; i++)
		expect_pdu(&fx.seen[i], ISCSI_OP_NOP_OUT, i, i >= touched &&
		    i < touched + untouched && i % 2 == 1 ? 0 : len);
	ck_assert_uint_eq(pump_unsent(fx.pump), 0);
}
END_TEST

static void
collect(struct txpdu *pdu, void *arg)
{
	struct txpdu **odd = arg;

	if (iscsi_itt(pdu->bhs) % 2 == 1)
		odd[iscsi_itt(pdu->bhs)] = pdu;
}

START_TEST(test_drop_unsent)
{
	struct txpdu *odd[100] = { NULL };
	unsigned i, at = 0, dropped = 0;

	fx_pair();
	UNTIL(fx.nconnected > 0);
	small_buffers();
	for (i = 0; i < 100; i++)
		queue_pdu(3000, 3000);
	write_until_full();
	pump_foreach_unsent(fx.pump, collect, odd);
	for (i = 0; i < 100; i++)
		if (odd[i] != NULL) {
			pump_drop_unsent(fx.pump, odd[i]);
			dropped++;
		}
	ck_assert_uint_gt(dropped, 0);
	ck_assert_uint_eq(fx.nreleased, fx.nsent + dropped);
	fx.any_order = true;
	peer_read_pdus(100 - dropped, SIZE_MAX);
	for (i = 0; i < 100; i++)
		if (odd[i] == NULL)
			expect_pdu(&fx.seen[at++], ISCSI_OP_NOP_OUT, i, 3000);
	ck_assert_uint_eq(pump_unsent(fx.pump), 0);
}
END_TEST

/*
 * The kernel takes nothing at all at first: what was laid out for it is laid
 * out anew, with new numbers.
 */
START_TEST(test_full_from_the_start)
{
	uint8_t filler[ISCSI_BHS_LEN] = { ISCSI_OP_NOP_OUT, 0x80 };
	unsigned i, n = 0;
	int fd;

	fx_pair();
	UNTIL(fx.nconnected > 0);
	small_buffers();
	fd = conn_fd(pump_conn(fx.pump));
	while (send(fd, filler, sizeof(filler), MSG_DONTWAIT) > 0)
		n++;
	for (i = 0; i < 3; i++)
		queue_pdu(100 + i, 10);
	write_until_full();
	ck_assert_uint_eq(fx.nwire, 0);
	ck_assert_uint_eq(fx.stamp, 3);
	peer_read_pdus(n + 3, SIZE_MAX);
	for (i = 0; i < 3; i++) {
		expect_pdu(&fx.seen[n + i], ISCSI_OP_NOP_OUT, i, 100 + i);
		ck_assert_uint_gt(get_be32(fx.seen[n + i].bhs +
		    ISCSI_OFF_EXPSTATSN), 3);
		ck_assert_str_eq(fx.life[i], "rws");
	}
}
END_TEST

START_TEST(test_unsent_bytes)
{
	const struct txpdu *pdu;
	uint64_t sent, handed = 0;
	unsigned i;

	fx_dial();
	small_buffers();
	for (i = 0; i < 100; i++) {
		queue_pdu(3000, 3000);
		handed += ISCSI_BHS_LEN + 3000;
	}
	sent = write_until_full();
	STAILQ_FOREACH(pdu, &fx.queue, link)
		handed -= ISCSI_BHS_LEN + 3000;
	ck_assert_uint_gt(pump_unsent(fx.pump), 0);
	ck_assert_uint_eq(pump_unsent(fx.pump), handed - sent);
}
END_TEST

/* The framing changes for what no byte was taken of. */
START_TEST(test_framing_switch)
{
	const struct pdu_framing both = {
		.header_digest = true, .data_digest = true
	};

	fx_pair();
	queue_pdu(10, 10);
	pump_kick(fx.pump);
	peer_read_pdus(1, SIZE_MAX);
	set_out(&both);
	queue_pdu(11, 11);
	pump_kick(fx.pump);
	peer_read_pdus(2, SIZE_MAX);
	expect_pdu(&fx.seen[1], ISCSI_OP_NOP_OUT, 1, 11);
}
END_TEST

/* An owner's own digest words go out in place of the right ones. */
START_TEST(test_own_digests)
{
	const struct pdu_framing both = {
		.header_digest = true, .data_digest = true,
		.order = _i == 0 ? CRC32C_LITTLE : CRC32C_BIG
	};
	const struct pdu_own_digests own = {
		.header = true, .data = true,
		.header_word = { 0xde, 0xad, 0xbe, 0xef },
		.data_word = { 1, 2, 3, 4 },
	};
	const size_t len = ISCSI_BHS_LEN + CRC32C_SIZE + 8 + CRC32C_SIZE;
	uint8_t got[256], right[256];

	fx_pair();
	set_out(&both);
	queue_pdu(5, 2)->own = own;
	queue_pdu(5, 2)->own.data_word[0] = 1;
	pump_kick(fx.pump);
	UNTIL(fx.nsent == 2);
	ck_assert_int_eq(recv(fx.peer, got, sizeof(got), 0), 2 * len);
	ck_assert_mem_eq(got + 48, own.header_word, CRC32C_SIZE);
	ck_assert_mem_eq(got + len - CRC32C_SIZE, own.data_word, CRC32C_SIZE);
	/* The second gave none. */
	crc32c_put(right, crc32c(got + len, 48), both.order);
	ck_assert_mem_eq(got + len + 48, right, CRC32C_SIZE);
	crc32c_put(right, crc32c(got + len + 52, 8), both.order);
	ck_assert_mem_eq(got + len + 60, right, CRC32C_SIZE);
}
END_TEST

/* A PDU that is written in part goes on as it began. */
START_TEST(test_framing_switch_in_the_middle)
{
	const struct pdu_framing both = {
		.header_digest = true, .data_digest = true
	};
	struct pdu_framing framing = both;

	fx_dial();
	small_buffers();
	set_out(&both);
	queue_pdu(4000000, 65536);
	queue_pdu(10, 10);
	write_until_full();
	ck_assert_str_eq(fx.life[0], "w");
	framing.order = CRC32C_BIG;
	framing.header_digest = false;
	pump_set_framing(fx.pump, &plain, &framing);
	peer_read(SIZE_MAX);
	pdu_parser_set_framing(&fx.parser, &framing);
	peer_read_pdus(2, SIZE_MAX);
	expect_pdu(&fx.seen[0], ISCSI_OP_NOP_OUT, 0, 4000000);
	expect_pdu(&fx.seen[1], ISCSI_OP_NOP_OUT, 1, 10);
}
END_TEST

/* What a target sent before the writing failed is delivered first. */
START_TEST(test_write_fails)
{
	uint8_t buf[256];
	size_t len;

	fx_pair();
	UNTIL(fx.nconnected > 0);
	len = put_pdu(buf, sizeof(buf), ISCSI_OP_ASYNC, 5, 20, &plain);
	ck_assert_int_eq(send(fx.peer, buf, len, 0), (ssize_t)len);
	fx_hang_up();
	conn_want_read(pump_conn(fx.pump), false);
	queue_pdu(100, 100);
	pump_kick(fx.pump);
	UNTIL(fx.ndown > 0);
	expect_pdu(&fx.got[0], ISCSI_OP_ASYNC, 5, 20);
	ck_assert_uint_eq(fx.nwire, 0);
	loop_turn(fx.worker->loop, 0);
	ck_assert_uint_eq(fx.ndown, 1);
}
END_TEST

/* The target only stops reading for good: EPIPE, and nothing to read. */
START_TEST(test_write_fails_alone)
{
	fx_pair();
	UNTIL(fx.nconnected > 0);
	ck_assert_int_eq(shutdown(fx.peer, SHUT_RD), 0);
	queue_pdu(100, 100);
	pump_kick(fx.pump);
	UNTIL(fx.ndown > 0);
	ck_assert_int_eq(fx.error, EPIPE);
	ck_assert_str_eq(fx.reason, "write: Broken pipe");
}
END_TEST

/* An owner's mistake ends the connection instead of corrupting the stream. */
START_TEST(test_lengths_disagree)
{
	struct txpdu *pdu;

	fx_pair();
	queue_pdu(4, 4);
	pdu = queue_pdu(4, 4);
	iscsi_set_dsl(pdu->bhs, 5);
	pump_kick(fx.pump);
	UNTIL(fx.ndown > 0);
	ck_assert_int_eq(fx.error, EINVAL);
	ck_assert_str_eq(fx.reason,
	    "cannot frame an outgoing NOP-Out: Invalid argument");
	ck_assert_uint_eq(fx.nwire, 0);
}
END_TEST

START_TEST(test_close_in_callback)
{
	struct txpdu *pdu;
	unsigned i, wired, sent;

	fx.close_at = (enum moment)_i;
	fx_dial();
	small_buffers();
	for (i = 0; i < 100; i++)
		queue_pdu(3000, 500);
	pump_kick(fx.pump);
	while (fx.pump != NULL) {
		loop_turn(fx.worker->loop, 0);
		if (fx.pump != NULL)
			peer_read(2000);
	}
	wired = fx.nwire;
	sent = fx.nsent;
	loop_turn(fx.worker->loop, 0);
	loop_turn(fx.worker->loop, 0);
	ck_assert_uint_eq(fx.nwire, wired);
	ck_assert_uint_eq(fx.nsent, sent);
	ck_assert_uint_eq(fx.ndown, 0);
	/* What was handed over is freed, the rest is still in the queue. */
	for (i = 0; (pdu = STAILQ_FIRST(&fx.queue)) != NULL; i++) {
		STAILQ_REMOVE_HEAD(&fx.queue, link);
		txpdu_free(fx.worker, pdu);
	}
	ck_assert_uint_lt(i, 100);
	ck_assert_uint_eq(fx.nreleased, 100);
	ck_assert_uint_eq(fx.worker->txpdus_out, 0);
}
END_TEST

/* Closed while the kernel takes nothing, a PDU written in part. */
START_TEST(test_close_while_blocked)
{
	unsigned i;

	fx_dial();
	small_buffers();
	for (i = 0; i < 50; i++)
		queue_pdu(20000, 4000);
	write_until_full();
	ck_assert_uint_gt(pump_unsent(fx.pump), 0);
	pump_close(fx.pump);
	fx.pump = NULL;
	ck_assert_uint_gt(fx.nreleased, 0);
	ck_assert_uint_lt(fx.nsent, fx.nreleased);
}
END_TEST

/* Recycled PDUs are as new ones; the owner's release sees the data. */
START_TEST(test_txpdu)
{
	struct txpdu *pdu = queue_pdu(10, 10), *again;

	STAILQ_REMOVE_HEAD(&fx.queue, link);
	txpdu_free(fx.worker, pdu);
	ck_assert_uint_eq(fx.nreleased, 1);
	ck_assert_uint_eq(fx.worker->txpdus_out, 0);
	again = txpdu_new(fx.worker);
	ck_assert_ptr_eq(again, pdu);
	ck_assert_uint_eq(again->bhs[0], 0);
	ck_assert_uint_eq(again->data.len, 0);
	ck_assert_ptr_null(again->release);
	txpdu_free(fx.worker, again);
	txpdu_free(fx.worker, NULL);
}
END_TEST

static Suite *
pump_tx_suite(void)
{
	Suite *suite = suite_create("pump_tx");
	TCase *tc = tcase_create("pump_tx");

	tcase_add_checked_fixture(tc, fx_setup, fx_teardown);
	tcase_set_timeout(tc, 30);
	tcase_add_loop_test(tc, test_digests, 0, 8);
	tcase_add_test(tc, test_nothing_before_connected);
	tcase_add_test(tc, test_small_buffers);
	tcase_add_test(tc, test_many_pieces);
	tcase_add_test(tc, test_batches);
	tcase_add_test(tc, test_ahs);
	tcase_add_test(tc, test_rewrite_unsent);
	tcase_add_test(tc, test_drop_unsent);
	tcase_add_test(tc, test_full_from_the_start);
	tcase_add_test(tc, test_unsent_bytes);
	tcase_add_test(tc, test_framing_switch);
	tcase_add_loop_test(tc, test_own_digests, 0, 2);
	tcase_add_test(tc, test_framing_switch_in_the_middle);
	tcase_add_test(tc, test_write_fails);
	tcase_add_test(tc, test_write_fails_alone);
	tcase_add_test(tc, test_lengths_disagree);
	tcase_add_loop_test(tc, test_close_in_callback, M_NEXT, M_SENT + 1);
	tcase_add_test(tc, test_close_while_blocked);
	tcase_add_test(tc, test_txpdu);
	suite_add_tcase(suite, tc);
	return suite;
}

int
main(void)
{
	return unit_run(pump_tx_suite());
}
