/* SPDX-License-Identifier: ISC */
/*
 * A pump that is held, given away, taken over, or handed to another owner
 * (daemon/pump.h): no byte of the stream is lost or seen twice.
 */
#include "config.h"

#include "tests/unit/pump_fixture.h"

#define BUF_SIZE	(512u * 1024)
#define NPDUS		3u		/* of a short stream */

static uint8_t buf[BUF_SIZE];
static uint8_t copy[BUF_SIZE];
static unsigned hold_at;		/* hold when so many have come */
static unsigned ngot_two;		/* what another owner was told */
static unsigned ndown_two;

static void
turns(unsigned n)
{
	while (n-- > 0)
		ck_assert_int_eq(loop_turn(fx.worker->loop, 0), 0);
}

static void
stop_here(struct rxpdu *pdu)
{
	(void)pdu;
	ck_assert_uint_eq(fx.nconnected, 1);
	if (fx.ngot == hold_at)
		pump_hold(fx.pump, true);
}

/* Close what the last round used. */
static void
next_round(void)
{
	pump_close(fx.pump);
	fx.pump = NULL;
	if (fx.peer != -1)
		fx_hang_up();
	turns(1);
	fx.ngot = fx.nconnected = fx.ndown = fx.nasked = 0;
}

/* `n` NOP-Ins of `len` bytes each; returns the length of one. */
static size_t
put_stream(unsigned n, uint32_t len, const struct pdu_framing *framing)
{
	size_t one = 0;
	uint32_t i;

	for (i = 0; i < n; i++)
		one = put_pdu(buf + i * one, BUF_SIZE - i * one,
		    ISCSI_OP_NOP_IN, i, len, framing);
	return one;
}

/* The same, with `ahs_len` bytes of AHS. */
static size_t
put_ahs_stream(uint32_t len, size_t ahs_len,
    const struct pdu_framing *framing)
{
	static const uint8_t ahs[8] = { 0, 5, 2, 0, 0x12, 0x34, 0x56, 0x78 };
	uint8_t bhs[ISCSI_BHS_LEN] = { ISCSI_OP_NOP_IN, ISCSI_FLAG_FINAL };
	uint8_t data[8] = { 0xa1, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7, 0xa8 };
	struct iovec piece = { data, len }, iov[1 + PDU_IOV_OVERHEAD];
	struct pdu_trailer trailer;
	size_t total, at = 0;
	uint32_t i;
	int j, n;

	bhs[ISCSI_OFF_AHS] = (uint8_t)(ahs_len / 4);
	iscsi_set_dsl(bhs, len);
	for (i = 0; i < NPDUS; i++) {
		put_be32(bhs + ISCSI_OFF_ITT, i);
		n = pdu_serialize(bhs, ahs_len > 0 ? ahs : NULL, &piece,
		    len > 0, framing, &trailer, iov, 1 + PDU_IOV_OVERHEAD,
		    &total);
		ck_assert_int_gt(n, 0);
		for (j = 0; j < n; j++) {
			memcpy(buf + at, iov[j].iov_base, iov[j].iov_len);
			at += iov[j].iov_len;
		}
	}
	return at / NPDUS;
}

/* Bytes of the stream, each piece in a slab of its own. */
static void
in_pieces(struct slices *s, const uint8_t *bytes, size_t len, size_t piece)
{
	struct slab *slab;
	size_t part;

	slices_init(s);
	for (; len > 0; len -= part, bytes += part) {
		part = len < piece ? len : piece;
		slab = pool_get(fx.worker->pool, part);
		memcpy(slab->data, bytes, part);
		slab->used = (uint32_t)part;
		ck_assert_int_eq(slices_add(fx.worker->pool, s, slab,
		    slab->data, (uint32_t)part), 0);
		slab_unref(slab);
	}
}

/* The pump gives its socket away; the `len` bytes at `want` are unread. */
static int
give_away(const uint8_t *want, size_t len, struct slices *unread)
{
	int fd;

	slices_init(unread);
	fd = pump_export(fx.pump, unread);
	ck_assert_int_ge(fd, 0);
	ck_assert_uint_eq(unread->len, len);
	ck_assert_uint_eq(slices_copy(unread, copy, sizeof(copy)), len);
	ck_assert_mem_eq(copy, want, len);
	pump_close(fx.pump);
	fx.pump = NULL;
	turns(1);
	return fd;
}

/* Another pump goes on with it. */
static void
take_over(int fd, struct slices *unread, const struct pdu_framing *framing)
{
	fx.nconnected = fx.nasked = 0;
	fx.pump = pump_adopt(fx.worker, fd, &fx_ops, &fx);
	ck_assert_ptr_nonnull(fx.pump);
	pump_set_framing(fx.pump, framing, framing);
	pump_unread(fx.pump, unread);
	ck_assert_uint_eq(unread->len, 0);
}

/* --- hold */

/* None that was received already comes, and then all, without more bytes. */
START_TEST(test_held_from_inside)
{
	size_t one = put_stream(10, 5, &plain);
	uint32_t i;

	fx_pair();
	fx.on_pdu = stop_here;
	hold_at = (unsigned)_i;
	peer_write(buf, 10 * one, BUF_SIZE);
	UNTIL(fx.ngot >= hold_at);
	turns(5);
	ck_assert_uint_eq(fx.ngot, hold_at);
	ck_assert_uint_eq(conn_bytes_in(pump_conn(fx.pump)), 10 * one);
	hold_at = 0;
	pump_hold(fx.pump, false);
	ck_assert_uint_eq(fx.ngot, (unsigned)_i);
	UNTIL(fx.ngot == 10);
	for (i = 0; i < 10; i++)
		expect_pdu(&fx.got[i], ISCSI_OP_NOP_IN, i, 5);
}
END_TEST

/* What comes while it is held is not even read, nor is the end seen. */
START_TEST(test_held_from_outside)
{
	size_t one = put_stream(2, 5, &plain);

	fx_pair();
	UNTIL(fx.nconnected == 1);
	pump_hold(fx.pump, true);
	peer_write(buf, 2 * one, BUF_SIZE);
	fx_hang_up();
	turns(5);
	ck_assert_uint_eq(fx.ngot + fx.ndown, 0);
	ck_assert_uint_eq(conn_bytes_in(pump_conn(fx.pump)), 0);
	pump_hold(fx.pump, false);
	UNTIL(fx.ndown > 0);
	ck_assert_uint_eq(fx.ngot, 2);
	ck_assert_str_eq(fx.reason, "closed by the target");
}
END_TEST

/* Stopping at the last PDU of all must not lose the wish to read. */
START_TEST(test_held_with_nothing_left)
{
	size_t one = put_stream(2, 5, &plain);

	fx_pair();
	fx.on_pdu = stop_here;
	hold_at = 1;
	peer_write(buf, one, BUF_SIZE);
	UNTIL(fx.ngot == 1);
	turns(2);
	pump_hold(fx.pump, false);
	turns(2);
	peer_write(buf + one, one, BUF_SIZE);
	UNTIL(fx.ngot == 2);
}
END_TEST

static void
stop_and_go(struct rxpdu *pdu)
{
	(void)pdu;
	pump_hold(fx.pump, true);
	pump_hold(fx.pump, false);
}

START_TEST(test_held_for_no_time)
{
	size_t one = put_stream(10, 5, &plain);

	fx_pair();
	fx.on_pdu = stop_and_go;
	peer_write(buf, 10 * one, BUF_SIZE);
	UNTIL(fx.ngot == 10);
	turns(2);
	ck_assert_uint_eq(fx.ngot, 10);
}
END_TEST

/* Writing goes on, and that it failed is told at once. */
START_TEST(test_written_while_held)
{
	fx_pair();
	UNTIL(fx.nconnected == 1);
	pump_hold(fx.pump, true);
	queue_pdu(12, 12);
	pump_kick(fx.pump);
	peer_read_pdus(1, SIZE_MAX);
	fx_hang_up();
	turns(2);
	ck_assert_uint_eq(fx.ndown, 0);
	queue_pdu(12, 12);
	pump_kick(fx.pump);
	turns(3);
	ck_assert_uint_eq(fx.ndown, 1);
	ck_assert_int_eq(fx.error, EPIPE);
	ck_assert_str_eq(fx.reason, "write: Broken pipe");
	ck_assert_uint_eq(fx.nsent, 1);
}
END_TEST

/* --- export */

/* One cut: what is not in PDUs is exported, and another pump goes on. */
static void
cut_at(size_t cut, size_t one, const struct pdu_framing *framing)
{
	size_t whole = cut / one, left;
	struct slices unread;
	uint32_t i;
	int fd;

	next_round();
	fx_pair();
	fx.on_pdu = stop_here;
	pump_set_framing(fx.pump, framing, framing);
	peer_write(buf, cut, BUF_SIZE);
	while (conn_bytes_in(pump_conn(fx.pump)) < cut)
		turns(1);
	turns(1);
	if (hold_at > 0 && whole > hold_at)
		whole = hold_at;
	ck_assert_uint_eq(fx.ngot, whole);
	left = cut - whole * one;
	fd = give_away(buf + whole * one, left, &unread);
	fx.on_pdu = NULL;
	take_over(fd, &unread, framing);
	peer_write(buf + cut, NPDUS * one - cut, BUF_SIZE);
	UNTIL(fx.ngot == NPDUS || fx.ndown > 0);
	ck_assert_uint_eq(fx.ndown, 0);
	for (i = 0; i < NPDUS; i++)
		ck_assert_uint_eq(iscsi_itt(fx.got[i].bhs), i);
}

/*
 * Row `_i`: digests, byte order, and whether it is held after the first PDU,
 * so that whole PDUs are among the bytes.
 */
START_TEST(test_every_cut)
{
	const struct pdu_framing framing = {
		.header_digest = (_i & 1) != 0, .data_digest = (_i & 2) != 0,
		.order = (_i & 4) != 0 ? CRC32C_BIG : CRC32C_LITTLE
	};
	size_t one, cut, ahs;
	uint32_t len;

	hold_at = (_i & 8) != 0 ? 1 : 0;
	for (ahs = 0; ahs <= 8; ahs += 4) {
		for (len = 0; len <= 5; len++) {
			one = put_ahs_stream(len, ahs, &framing);
			for (cut = 0; cut <= NPDUS * one; cut++)
				cut_at(cut, one, &framing);
		}
	}
}
END_TEST

/* Held in the middle of what a wide read brought into several slabs. */
START_TEST(test_several_slabs)
{
	const unsigned n = 180;
	size_t one = put_stream(n, 1000, &plain);
	struct slices unread;
	int fd;

	fx_pair();
	fx.on_pdu = stop_here;
	hold_at = (unsigned)_i;
	/* All of it is in the socket before the pump reads. */
	ck_assert_int_eq(send(fx.peer, buf, n * one, 0), (int)(n * one));
	UNTIL(fx.ngot >= hold_at);
	turns(2);
	ck_assert_uint_gt(conn_bytes_in(pump_conn(fx.pump)), 2 * POOL_MEDIUM);
	fd = give_away(buf + hold_at * one,
	    conn_bytes_in(pump_conn(fx.pump)) - hold_at * one, &unread);
	hold_at = 0;
	take_over(fd, &unread, &plain);
	UNTIL(fx.ngot == n);
	for (uint32_t i = 0; i < n; i++)
		expect_pdu(&fx.got[i], ISCSI_OP_NOP_IN, i, 1000);
}
END_TEST

/* Unread bytes that no turn has parsed, or that a hold left over. */
START_TEST(test_unread_given_on)
{
	size_t one = put_stream(10, 5, &plain);
	struct slices unread;
	size_t whole;
	int fd;

	fx_pair();
	fx.on_pdu = stop_here;
	hold_at = (unsigned)_i;
	in_pieces(&unread, buf, 8 * one + 20, 33);
	pump_unread(fx.pump, &unread);
	if (hold_at > 0)
		UNTIL(fx.ngot >= hold_at);
	whole = fx.ngot;
	ck_assert_uint_eq(whole, hold_at);
	fd = give_away(buf + whole * one, 8 * one + 20 - whole * one,
	    &unread);
	hold_at = 0;
	take_over(fd, &unread, &plain);
	peer_write(buf + 8 * one + 20, 2 * one - 20, BUF_SIZE);
	UNTIL(fx.ngot == 10);
	for (uint32_t i = 0; i < 10; i++)
		expect_pdu(&fx.got[i], ISCSI_OP_NOP_IN, i, 5);
}
END_TEST

/* Nothing is asked for or written after it. */
START_TEST(test_nothing_written_after_an_export)
{
	struct slices unread;
	uint8_t byte;
	int fd;

	fx_pair();
	UNTIL(fx.nconnected == 1);
	queue_pdu(5, 5);
	pump_kick(fx.pump);
	fd = give_away(buf, 0, &unread);
	turns(2);
	ck_assert_uint_eq(fx.nasked + fx.ndown, 0);
	ck_assert_int_eq(recv(fx.peer, &byte, 1, 0), -1);
	ck_assert_int_eq(errno, EAGAIN);
	close(fd);
	ck_assert_int_eq(recv(fx.peer, &byte, 1, 0), 0);
}
END_TEST

/* --- unread */

/* The stream as pieces of `_i` bytes, its end from the socket. */
START_TEST(test_unread_in_pieces)
{
	const struct pdu_framing both = {
		.header_digest = true, .data_digest = true
	};
	size_t one = put_stream(NPDUS, 5, &both), cut;
	struct slices unread;

	for (cut = 0; cut <= NPDUS * one; cut++) {
		next_round();
		fx_pair();
		pump_set_framing(fx.pump, &both, &both);
		in_pieces(&unread, buf, cut, (size_t)_i);
		pump_unread(fx.pump, &unread);
		ck_assert_uint_eq(unread.len, 0);
		ck_assert_uint_eq(fx.ngot, 0);
		ck_assert_int_eq(send(fx.peer, buf + cut, NPDUS * one - cut,
		    0), (int)(NPDUS * one - cut));
		UNTIL(fx.ngot == NPDUS || fx.ndown > 0);
		ck_assert_uint_eq(fx.ndown, 0);
		for (uint32_t i = 0; i < NPDUS; i++)
			expect_pdu(&fx.got[i], ISCSI_OP_NOP_IN, i, 5);
	}
}
END_TEST

/* More than a slab, with a PDU larger than that, once it is connected. */
START_TEST(test_much_unread)
{
	const struct pdu_framing both = {
		.header_digest = true, .data_digest = true
	};
	struct slices unread;
	struct pump_stats stats;
	size_t len;

	fx_pair();
	fx.on_pdu = stop_here;
	hold_at = 0;
	pump_set_framing(fx.pump, &both, &both);
	UNTIL(fx.nconnected == 1);
	len = put_pdu(buf, BUF_SIZE, ISCSI_OP_NOP_IN, 0, 9, &both);
	len += put_pdu(buf + len, BUF_SIZE - len, ISCSI_OP_DATA_IN, 1, 300001,
	    &both);
	len += put_pdu(buf + len, BUF_SIZE - len, ISCSI_OP_NOP_IN, 2, 9,
	    &both);
	in_pieces(&unread, buf, len - 1, 5000);
	pump_unread(fx.pump, &unread);
	UNTIL(fx.ngot == 2 || fx.ndown > 0);
	peer_write(buf + len - 1, 1, 1);
	UNTIL(fx.ngot == 3 || fx.ndown > 0);
	ck_assert_str_eq(fx.reason, "");
	expect_pdu(&fx.got[0], ISCSI_OP_NOP_IN, 0, 9);
	expect_pdu(&fx.got[1], ISCSI_OP_DATA_IN, 1, 300001);
	expect_pdu(&fx.got[2], ISCSI_OP_NOP_IN, 2, 9);
	/* They came over the connection some time, but not over this one. */
	pump_stats_get(fx.pump, &stats);
	ck_assert_uint_eq(stats.bytes_in, 1);
	ck_assert_uint_eq(stats.pdus_in, 3);
}
END_TEST

/* --- another owner */

static void
two_pdu(void *arg, struct rxpdu *pdu)
{
	ck_assert_ptr_eq(arg, &ngot_two);
	expect_pdu(&(struct got){ .len = pdu->data->len,
	    .crc = slices_crc(pdu->data), .bhs = { pdu->bhs[0] },
	    }, ISCSI_OP_NOP_IN, 0, 0);
	ngot_two++;
}

static struct txpdu *
two_next(void *arg)
{
	ck_assert_ptr_eq(arg, &ngot_two);
	return NULL;
}

static void
two_down(void *arg, int error, const char *reason)
{
	(void)error;
	(void)reason;
	ck_assert_ptr_eq(arg, &ngot_two);
	ndown_two++;
}

static const struct pump_ops two_ops = {
	.on_pdu = two_pdu,
	.next = two_next,
	.on_down = two_down
};

static void
hand_on(struct rxpdu *pdu)
{
	(void)pdu;
	if (fx.ngot == 2)
		pump_set_owner(fx.pump, &two_ops, &ngot_two);
}

/* From inside on_pdu: the next PDU, received already, is the new owner's. */
START_TEST(test_another_owner)
{
	size_t one = put_stream(5, 0, &plain);
	uint32_t i;

	for (i = 2; i < 5; i++)
		put_be32(buf + i * one + ISCSI_OFF_ITT, 0);
	fx_pair();
	fx.on_pdu = hand_on;
	peer_write(buf, 5 * one, BUF_SIZE);
	UNTIL(fx.ngot + ngot_two == 5);
	ck_assert_uint_eq(fx.ngot, 2);
	fx.nasked = 0;
	queue_pdu(5, 5);
	pump_kick(fx.pump);
	turns(2);
	ck_assert_uint_eq(fx.nasked, 0);
	fx_hang_up();
	UNTIL(ndown_two == 1);
	ck_assert_uint_eq(fx.ndown, 0);
}
END_TEST

/* --- a PDU that is framed already */

static void
expect_seen(const uint8_t *bytes, size_t len, uint32_t itt, uint32_t dsl,
    const struct pdu_framing *framing)
{
	struct pdu_parser parser;
	struct pdu_event ev;
	size_t at = 0;

	pdu_parser_init(&parser, PDU_FROM_INITIATOR, framing);
	do {
		at += pdu_parser_feed(&parser, bytes + at, len - at, &ev);
		ck_assert_int_ne(ev.kind, PDU_EV_ERROR);
		ck_assert_int_ne(ev.kind, PDU_EV_MORE);
	} while (ev.kind != PDU_EV_END);
	ck_assert_uint_eq(at, len);
	ck_assert_uint_eq(iscsi_itt(parser.bhs), itt);
	ck_assert_uint_eq(iscsi_dsl(parser.bhs), dsl);
}

START_TEST(test_framed)
{
	const struct pdu_framing both = {
		.header_digest = true, .data_digest = true
	}, header = { .header_digest = true, .order = CRC32C_BIG };
	struct txpdu *pdu;

	fx_pair();
	UNTIL(fx.nconnected == 1);
	pump_set_framing(fx.pump, &plain, &header);
	queue_pdu(4, 4);
	pdu = queue_pdu(4, 4);
	pdu->framed = true;
	pdu->framing = both;
	pdu = queue_pdu(4, 4);
	pdu->framed = true;
	queue_pdu(4, 4);
	pump_kick(fx.pump);
	UNTIL(fx.nsent == 4);
	ck_assert_int_eq(recv(fx.peer, buf, BUF_SIZE, 0), 56 + 60 + 52 + 56);
	expect_seen(buf, 56, 0, 4, &header);
	expect_seen(buf + 56, 60, 1, 4, &both);
	expect_seen(buf + 116, 52, 2, 4, &plain);
	expect_seen(buf + 168, 56, 3, 4, &header);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("pump_hand");
	TCase *tc = tcase_create("hand");

	tcase_add_checked_fixture(tc, fx_setup, fx_teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, test_held_from_inside, 1, 11);
	tcase_add_test(tc, test_held_from_outside);
	tcase_add_test(tc, test_held_with_nothing_left);
	tcase_add_test(tc, test_held_for_no_time);
	tcase_add_test(tc, test_written_while_held);
	tcase_add_loop_test(tc, test_every_cut, 0, 16);
	tcase_add_loop_test(tc, test_several_slabs, 70, 75);
	tcase_add_loop_test(tc, test_unread_given_on, 0, 9);
	tcase_add_test(tc, test_nothing_written_after_an_export);
	tcase_add_loop_test(tc, test_unread_in_pieces, 1, 50);
	tcase_add_test(tc, test_much_unread);
	tcase_add_test(tc, test_another_owner);
	tcase_add_test(tc, test_framed);
	suite_add_tcase(suite, tc);
	return unit_run(suite);
}
