/* SPDX-License-Identifier: ISC */
/*
 * The read pump (daemon/pump.h): PDUs arrive whole however the stream is cut,
 * broken streams end with a reason, and no memory is held for nothing.
 */
#include "config.h"

#include "tests/unit/pump_fixture.h"

#define BUF_SIZE	(2u * 1024 * 1024)

static uint8_t buf[BUF_SIZE];

static void
set_framing(const struct pdu_framing *framing)
{
	pump_set_framing(fx.pump, framing, framing);
}

/* Row `i` of all combinations of digests and byte order. */
static struct pdu_framing
framing_row(int i)
{
	struct pdu_framing framing = {
		.header_digest = (i & 1) != 0,
		.data_digest = (i & 2) != 0,
		.order = (i & 4) != 0 ? CRC32C_BIG : CRC32C_LITTLE
	};

	return framing;
}

static uint64_t
bytes_out(void)
{
	struct pool_stats stats;

	pool_stats_get(fx.worker->pool, &stats);
	return stats.bytes_out;
}

START_TEST(test_digests)
{
	static const uint32_t lens[] = {
		0, 1, 2, 3, 4, 5, 511, 4096, 65536, 100003, 0, 8192
	};
	struct pdu_framing framing = framing_row(_i);
	size_t i, n = sizeof(lens) / sizeof(lens[0]), len = 0;

	fx_pair();
	set_framing(&framing);
	for (i = 0; i < n; i++)
		len += put_pdu(buf + len, BUF_SIZE - len, ISCSI_OP_NOP_IN,
		    (uint32_t)i, lens[i], &framing);
	peer_write(buf, len, BUF_SIZE);
	UNTIL(fx.ngot == n || fx.ndown > 0);
	ck_assert_str_eq(fx.reason, "");
	for (i = 0; i < n; i++)
		expect_pdu(&fx.got[i], ISCSI_OP_NOP_IN, (uint32_t)i, lens[i]);
	loop_turn(fx.worker->loop, 0);
	ck_assert_uint_eq(bytes_out(), 0);
}
END_TEST

/* The words of the last PDU's digests, zero where there was none. */
static uint8_t digest_words[2][CRC32C_SIZE];

static void
note_digests(struct rxpdu *pdu)
{
	memset(digest_words, 0, sizeof(digest_words));
	if (pdu->header_digest != NULL)
		memcpy(digest_words[0], pdu->header_digest, CRC32C_SIZE);
	if (pdu->data_digest != NULL)
		memcpy(digest_words[1], pdu->data_digest, CRC32C_SIZE);
}

/* The owner is shown the digests as they came. */
START_TEST(test_digest_words)
{
	struct pdu_framing framing = framing_row(_i);
	const size_t head = ISCSI_BHS_LEN +
	    (framing.header_digest ? CRC32C_SIZE : 0);
	uint8_t want[2][CRC32C_SIZE] = { { 0 }, { 0 } };
	uint32_t dsl;
	size_t len;

	fx_pair();
	set_framing(&framing);
	fx.on_pdu = note_digests;
	for (dsl = 0; dsl < 6; dsl++) {
		len = put_pdu(buf, BUF_SIZE, ISCSI_OP_NOP_IN, dsl, dsl,
		    &framing);
		if (framing.header_digest)
			memcpy(want[0], buf + ISCSI_BHS_LEN, CRC32C_SIZE);
		if (framing.data_digest && dsl > 0)
			crc32c_put(want[1], crc32c(buf + head,
			    dsl + iscsi_pad(dsl)), framing.order);
		peer_write(buf, len, 7);
		UNTIL(fx.ngot == dsl + 1 || fx.ndown > 0);
		ck_assert_str_eq(fx.reason, "");
		ck_assert_mem_eq(digest_words, want, sizeof(want));
	}
}
END_TEST

/* One byte at a time, and yet one slab at most. */
START_TEST(test_dribble)
{
	struct pdu_framing framing = framing_row(_i);
	size_t len = 0;
	uint32_t i;

	fx_pair();
	set_framing(&framing);
	for (i = 0; i < 8; i++)
		len += put_pdu(buf + len, BUF_SIZE - len, ISCSI_OP_NOP_IN, i,
		    i * 7, &framing);
	for (i = 0; i < len; i++) {
		ck_assert_int_eq(send(fx.peer, buf + i, 1, 0), 1);
		loop_turn(fx.worker->loop, FOREVER);
		ck_assert_uint_le(bytes_out(), POOL_MEDIUM);
	}
	UNTIL(fx.ngot == 8 || fx.ndown > 0);
	for (i = 0; i < 8; i++)
		expect_pdu(&fx.got[i], ISCSI_OP_NOP_IN, i, i * 7);
	ck_assert_uint_eq(bytes_out(), 0);
}
END_TEST

/* A PDU that is larger than any slab, read in pieces of all sizes. */
START_TEST(test_large_pdu)
{
	const struct pdu_framing framing = { .data_digest = true };
	const uint32_t big = 1024 * 1024 + 3;
	static const size_t chunks[] = { 333, 65536, 100000, BUF_SIZE };
	size_t len;

	fx_pair();
	set_framing(&framing);
	fx.keep_data = true;
	len = put_pdu(buf, BUF_SIZE, ISCSI_OP_NOP_IN, 7, 100, &framing);
	len += put_pdu(buf + len, BUF_SIZE - len, ISCSI_OP_DATA_IN, 8, big,
	    &framing);
	len += put_pdu(buf + len, BUF_SIZE - len, ISCSI_OP_NOP_IN, 9, 0,
	    &framing);
	peer_write(buf, len, chunks[_i]);
	UNTIL(fx.ngot == 3 || fx.ndown > 0);
	ck_assert_str_eq(fx.reason, "");
	expect_pdu(&fx.got[0], ISCSI_OP_NOP_IN, 7, 100);
	expect_pdu(&fx.got[1], ISCSI_OP_DATA_IN, 8, big);
	expect_pdu(&fx.got[2], ISCSI_OP_NOP_IN, 9, 0);
	/* Kept data costs what it is, and is whole after the pump is gone. */
	ck_assert_uint_eq(fx.kept.len, 100 + big);
	ck_assert_uint_le(bytes_out(), 2 * big);
	pump_close(fx.pump);
	fx.pump = NULL;
	loop_turn(fx.worker->loop, 0);
	ck_assert_uint_eq(fx.kept.len, 100 + big);
	slices_clear(fx.worker->pool, &fx.kept);
	ck_assert_uint_eq(bytes_out(), 0);
}
END_TEST

/* Small PDUs whose data is kept share slabs as long as it can be. */
START_TEST(test_kept_small_pdus)
{
	uint32_t i;
	size_t len = 0;

	fx_pair();
	fx.keep_data = true;
	for (i = 0; i < 200; i++)
		len += put_pdu(buf + len, BUF_SIZE - len, ISCSI_OP_NOP_IN, i,
		    8, &plain);
	peer_write(buf, len, BUF_SIZE);
	UNTIL(fx.ngot == 200 || fx.ndown > 0);
	ck_assert_uint_eq(fx.kept.len, 1600);
	ck_assert_uint_le(bytes_out(), 2 * POOL_MEDIUM);
}
END_TEST

/* Of many slabs that one read could have filled, the empty ones go back. */
START_TEST(test_half_a_large_pdu)
{
	const struct pdu_framing framing = { .max_dsl = 0 };
	const size_t part = 2 * POOL_MEDIUM + 100;
	unsigned turns;

	fx_pair();
	set_framing(&framing);
	put_pdu(buf, BUF_SIZE, ISCSI_OP_DATA_IN, 1, 1024 * 1024, &framing);
	peer_write(buf, part, BUF_SIZE);
	for (turns = 0; turns < 4; turns++)
		loop_turn(fx.worker->loop, 0);
	ck_assert_uint_eq(conn_bytes_in(pump_conn(fx.pump)), part);
	ck_assert_uint_eq(bytes_out(), 3 * POOL_MEDIUM);
}
END_TEST

START_TEST(test_ahs)
{
	uint8_t bhs[ISCSI_BHS_LEN] = { ISCSI_OP_NOP_IN, 0x80, 0, 0, 2 };
	const uint8_t ahs[8] = { 0, 5, 1, 0, 1, 2, 3, 4 };

	fx_pair();
	memcpy(buf, bhs, sizeof(bhs));
	memcpy(buf + sizeof(bhs), ahs, sizeof(ahs));
	peer_write(buf, sizeof(bhs) + sizeof(ahs), BUF_SIZE);
	UNTIL(fx.ngot == 1 || fx.ndown > 0);
	ck_assert_uint_eq(fx.got[0].ahs_len, 8);
	ck_assert_mem_eq(fx.got[0].ahs, ahs, 8);
}
END_TEST

/* The stream ends after `cut` bytes of two PDUs of 60 bytes. */
START_TEST(test_eof)
{
	static const struct {
		size_t		 cut;
		unsigned	 pdus;
		const char	*reason;
	} rows[] = {
		{ 0, 0, "closed by the target" },
		{ 1, 0, "closed by the target in the middle of a PDU" },
		{ 48, 0, "closed by the target in the middle of a PDU" },
		{ 59, 0, "closed by the target in the middle of a PDU" },
		{ 60, 1, "closed by the target" },
		{ 61, 1, "closed by the target in the middle of a PDU" },
		{ 120, 2, "closed by the target" },
	};
	size_t len;

	fx_pair();
	len = put_pdu(buf, BUF_SIZE, ISCSI_OP_NOP_IN, 0, 12, &plain);
	len += put_pdu(buf + len, BUF_SIZE, ISCSI_OP_NOP_IN, 1, 12, &plain);
	ck_assert_uint_eq(len, 120);
	peer_write(buf, rows[_i].cut, BUF_SIZE);
	fx_hang_up();
	UNTIL(fx.ndown > 0);
	ck_assert_str_eq(fx.reason, rows[_i].reason);
	ck_assert_int_eq(fx.error, ECONNRESET);
	ck_assert_uint_eq(fx.ngot, rows[_i].pdus);
	loop_turn(fx.worker->loop, 0);
	loop_turn(fx.worker->loop, 0);
	ck_assert_uint_eq(fx.ndown, 1);
}
END_TEST

/* A reset is told as what it is. */
START_TEST(test_reset)
{
	struct linger now = { 1, 0 };

	fx_dial();
	ck_assert_int_eq(setsockopt(fx.peer, SOL_SOCKET, SO_LINGER, &now,
	    sizeof(now)), 0);
	fx_hang_up();
	UNTIL(fx.ndown > 0);
	ck_assert_int_eq(fx.error, ECONNRESET);
	ck_assert_str_eq(fx.reason, "read: Connection reset by peer");
}
END_TEST

/* A good PDU, then a bad one, then a good one that nobody may see. */
static void
expect_bad_in(size_t len, size_t chunk, int error, const char *reason)
{
	size_t start;

	start = put_pdu(buf + len, BUF_SIZE - len, ISCSI_OP_NOP_IN, 3, 0,
	    &plain);
	peer_write(buf, len + start, chunk);
	UNTIL(fx.ndown > 0);
	ck_assert_str_eq(fx.reason, reason);
	ck_assert_int_eq(fx.error, error);
	ck_assert_uint_eq(fx.ngot, 1);
	loop_turn(fx.worker->loop, 0);
	ck_assert_uint_eq(fx.ndown, 1);
	ck_assert_uint_eq(fx.ngot, 1);
}

static void
expect_bad(size_t len, int error, const char *reason)
{
	expect_bad_in(len, BUF_SIZE, error, reason);
}

START_TEST(test_bad_header_digest)
{
	const struct pdu_framing framing = { .header_digest = true };
	size_t len;

	fx_pair();
	set_framing(&framing);
	len = put_pdu(buf, BUF_SIZE, ISCSI_OP_NOP_IN, 1, 4, &framing);
	buf[len + put_pdu(buf + len, BUF_SIZE, ISCSI_OP_SCSI_RSP, 2, 0,
	    &framing) - 1] ^= 0x40;
	expect_bad(len + 52, EBADMSG, "header digest error");
}
END_TEST

START_TEST(test_bad_data_digest)
{
	const struct pdu_framing framing = { .data_digest = true };
	size_t len, bad;

	fx_pair();
	set_framing(&framing);
	len = put_pdu(buf, BUF_SIZE, ISCSI_OP_NOP_IN, 1, 4, &framing);
	bad = put_pdu(buf + len, BUF_SIZE, ISCSI_OP_DATA_IN, 2, 70000,
	    &framing);
	buf[len + 48 + 69999] ^= 1;
	expect_bad(len + bad, EBADMSG, "SCSI Data-In: data digest error");
}
END_TEST

/*
 * Each byte of each digest, in both byte orders, counts, and no owner sees a
 * PDU whose digest is bad, in however many pieces it comes.
 */
START_TEST(test_bad_byte_of_a_digest)
{
	static const size_t chunks[] = { 1, 7, 1000, BUF_SIZE };
	const struct pdu_framing framing = {
		.header_digest = true, .data_digest = true,
		.order = (_i & 1) != 0 ? CRC32C_BIG : CRC32C_LITTLE
	};
	const bool header = (_i & 2) != 0;
	const size_t byte = (size_t)_i / 4 % 4;
	size_t len, bad;

	fx_pair();
	set_framing(&framing);
	len = put_pdu(buf, BUF_SIZE, ISCSI_OP_NOP_IN, 1, 4, &framing);
	bad = put_pdu(buf + len, BUF_SIZE, ISCSI_OP_DATA_IN, 2, 5001,
	    &framing);
	buf[len + byte + (header ? ISCSI_BHS_LEN : bad - CRC32C_SIZE)] ^=
	    (uint8_t)(1u << _i % 8);
	expect_bad_in(len + bad, chunks[_i / 16], EBADMSG, header ?
	    "header digest error" : "SCSI Data-In: data digest error");
}
END_TEST

/* The right digest in the wrong byte order is a wrong digest. */
START_TEST(test_wrong_order)
{
	struct pdu_framing framing = framing_row(_i & 4);
	struct pdu_framing other = framing_row(~_i & 4);
	size_t len;

	framing.header_digest = other.header_digest = (_i & 1) != 0;
	framing.data_digest = other.data_digest = (_i & 1) == 0;
	fx_pair();
	set_framing(&framing);
	len = put_pdu(buf, BUF_SIZE, ISCSI_OP_NOP_IN, 1, 4, &framing);
	len += put_pdu(buf + len, BUF_SIZE, ISCSI_OP_NOP_IN, 2, 4, &other);
	expect_bad(len, EBADMSG, framing.header_digest ?
	    "header digest error" : "NOP-In: data digest error");
}
END_TEST

/*
 * A header that claims more than the limit is refused on its own: nothing is
 * allocated for what it claims, not even at the longest claim there is.
 */
START_TEST(test_long_claim_takes_no_memory)
{
	const struct pdu_framing framing = {
		.header_digest = _i == 1, .max_dsl = 262144
	};
	uint8_t bhs[ISCSI_BHS_LEN + CRC32C_SIZE] = { ISCSI_OP_DATA_IN, 0x80 };
	struct pool_stats before, after;

	fx_pair();
	set_framing(&framing);
	peer_write(buf, put_pdu(buf, BUF_SIZE, ISCSI_OP_NOP_IN, 1, 4,
	    &framing), BUF_SIZE);
	UNTIL(fx.ngot == 1);
	pool_stats_get(fx.worker->pool, &before);
	iscsi_set_dsl(bhs, ISCSI_DSL_MAX);
	crc32c_put(bhs + ISCSI_BHS_LEN, crc32c(bhs, ISCSI_BHS_LEN),
	    CRC32C_LITTLE);
	peer_write(bhs, ISCSI_BHS_LEN + (_i == 1 ? CRC32C_SIZE : 0),
	    BUF_SIZE);
	UNTIL(fx.ndown > 0);
	ck_assert_str_eq(fx.reason, "SCSI Data-In: DataSegmentLength 16777215 "
	    "is above the limit of 262144");
	pool_stats_get(fx.worker->pool, &after);
	ck_assert_mem_eq(after.misses, before.misses, sizeof(after.misses));
	ck_assert_uint_eq(after.hits[0], before.hits[0]);
	ck_assert_uint_eq(after.hits[2], before.hits[2]);
	/* One slab was there to receive the header into. */
	ck_assert_uint_le(after.hits[1], before.hits[1] + 1);
	ck_assert_uint_eq(after.slices_out, 0);
}
END_TEST

START_TEST(test_dsl_above_limit)
{
	struct pdu_framing framing = { .max_dsl = 512 };
	size_t len, bad;

	fx_pair();
	set_framing(&framing);
	len = put_pdu(buf, BUF_SIZE, ISCSI_OP_NOP_IN, 1, 512, &framing);
	bad = put_pdu(buf + len, BUF_SIZE, ISCSI_OP_SCSI_RSP, 2, 513,
	    &framing);
	expect_bad(len + bad, EPROTO,
	    "SCSI Response: DataSegmentLength 513 is above the limit of 512");
}
END_TEST

/* What holds until the owner sets a framing. */
START_TEST(test_login_limit)
{
	size_t len, bad;

	fx_pair();
	len = put_pdu(buf, BUF_SIZE, ISCSI_OP_LOGIN_RSP, 1, 8192, &plain);
	bad = put_pdu(buf + len, BUF_SIZE, ISCSI_OP_LOGIN_RSP, 2, 8193,
	    &plain);
	expect_bad(len + bad, EPROTO, "Login Response: DataSegmentLength "
	    "8193 is above the limit of 8192");
}
END_TEST

START_TEST(test_opcode_of_an_initiator)
{
	size_t len, bad;

	fx_pair();
	len = put_pdu(buf, BUF_SIZE, ISCSI_OP_NOP_IN, 1, 0, &plain);
	bad = put_pdu(buf + len, BUF_SIZE, ISCSI_OP_SCSI_CMD, 2, 0, &plain);
	expect_bad(len + bad, EPROTO,
	    "opcode 0x01 (SCSI Command) from a target");
}
END_TEST

static void
switch_framing(struct rxpdu *pdu)
{
	const struct pdu_framing both = {
		.header_digest = true, .data_digest = true, .max_dsl = 65536
	};

	if (iscsi_opcode(pdu->bhs) == ISCSI_OP_LOGIN_RSP)
		set_framing(&both);
}

/* The last Login Response and the first PDU after it in one segment. */
START_TEST(test_framing_switch)
{
	const struct pdu_framing both = {
		.header_digest = true, .data_digest = true
	};
	size_t len;

	fx_pair();
	fx.on_pdu = switch_framing;
	len = put_pdu(buf, BUF_SIZE, ISCSI_OP_LOGIN_RSP, 1, 300, &plain);
	len += put_pdu(buf + len, BUF_SIZE, ISCSI_OP_NOP_IN, 2, 9000, &both);
	ck_assert_int_eq(send(fx.peer, buf, len, 0), (ssize_t)len);
	UNTIL(fx.ngot == 2 || fx.ndown > 0);
	ck_assert_str_eq(fx.reason, "");
	expect_pdu(&fx.got[1], ISCSI_OP_NOP_IN, 2, 9000);
}
END_TEST

/* Many small PDUs in one segment take turns, with others in between. */
START_TEST(test_budget)
{
	unsigned i, first, per_turn = 0, most = 0;
	size_t len = 0;

	fx_pair();
	UNTIL(fx.nconnected > 0);
	for (i = 0; i < 300; i++)
		len += put_pdu(buf + len, BUF_SIZE, ISCSI_OP_NOP_IN, i, 0,
		    &plain);
	ck_assert_int_eq(send(fx.peer, buf, len, 0), (ssize_t)len);
	UNTIL(fx.ngot == 300 || fx.ndown > 0);
	for (i = first = 0; i < 300; i++) {
		expect_pdu(&fx.got[i], ISCSI_OP_NOP_IN, i, 0);
		if (fx.got[i].turn != fx.got[first].turn) {
			first = i;
			per_turn = 0;
		}
		if (++per_turn > most)
			most = per_turn;
	}
	ck_assert_uint_eq(most, 64);
}
END_TEST

START_TEST(test_close_in_callback)
{
	size_t len;

	fx.close_at = (enum moment)_i;
	fx_pair();
	len = put_pdu(buf, BUF_SIZE, ISCSI_OP_NOP_IN, 1, 5000, &plain);
	len += put_pdu(buf + len, BUF_SIZE, ISCSI_OP_NOP_IN, 2, 5000, &plain);
	ck_assert_int_eq(send(fx.peer, buf, len, 0), (ssize_t)len);
	fx_hang_up();
	UNTIL(fx.pump == NULL);
	loop_turn(fx.worker->loop, 0);
	ck_assert_uint_eq(fx.nconnected, 1);
	ck_assert_uint_eq(fx.ngot, _i == M_CONNECTED ? 0 : _i == M_PDU ? 1 :
	    2);
	ck_assert_uint_eq(fx.ndown, _i == M_DOWN);
	ck_assert_uint_eq(bytes_out(), 0);
}
END_TEST

/* Closed between turns, with a PDU half there. */
START_TEST(test_close_in_the_middle)
{
	size_t len;

	fx_pair();
	len = put_pdu(buf, BUF_SIZE, ISCSI_OP_NOP_IN, 1, 5000, &plain);
	peer_write(buf, len - 100, BUF_SIZE);
	UNTIL(bytes_out() > 0);
	pump_close(fx.pump);
	pump_close(fx.pump);
	fx.pump = NULL;
	ck_assert_uint_eq(bytes_out(), 0);
}
END_TEST

START_TEST(test_dial_fails)
{
	struct sockaddr_in in = { .sin_family = AF_INET };
	socklen_t len = sizeof(in);

	/* Bound, but nobody listens. */
	in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	fx.peer = socket(AF_INET, SOCK_STREAM, 0);
	ck_assert_int_eq(bind(fx.peer, (struct sockaddr *)&in, len), 0);
	getsockname(fx.peer, (struct sockaddr *)&in, &len);
	fx.close_at = M_DOWN;
	fx.pump = pump_dial(fx.worker, "127.0.0.1", ntohs(in.sin_port), 5000,
	    &fx_ops, &fx);
	ck_assert_uint_eq(fx.ndown, 0);
	UNTIL(fx.ndown > 0);
	ck_assert_int_eq(fx.error, ECONNREFUSED);
	ck_assert_ptr_nonnull(strstr(fx.reason, "Connection refused"));
	ck_assert_uint_eq(fx.nasked, 0);
}
END_TEST

static Suite *
pump_rx_suite(void)
{
	Suite *suite = suite_create("pump_rx");
	TCase *tc = tcase_create("pump_rx");

	tcase_add_checked_fixture(tc, fx_setup, fx_teardown);
	tcase_set_timeout(tc, 30);
	tcase_add_loop_test(tc, test_digests, 0, 8);
	tcase_add_loop_test(tc, test_digest_words, 0, 8);
	tcase_add_loop_test(tc, test_dribble, 0, 8);
	tcase_add_loop_test(tc, test_large_pdu, 0, 4);
	tcase_add_test(tc, test_kept_small_pdus);
	tcase_add_test(tc, test_half_a_large_pdu);
	tcase_add_test(tc, test_ahs);
	tcase_add_loop_test(tc, test_eof, 0, 7);
	tcase_add_test(tc, test_reset);
	tcase_add_test(tc, test_bad_header_digest);
	tcase_add_test(tc, test_bad_data_digest);
	tcase_add_loop_test(tc, test_bad_byte_of_a_digest, 0, 64);
	tcase_add_loop_test(tc, test_wrong_order, 0, 8);
	tcase_add_loop_test(tc, test_long_claim_takes_no_memory, 0, 2);
	tcase_add_test(tc, test_dsl_above_limit);
	tcase_add_test(tc, test_login_limit);
	tcase_add_test(tc, test_opcode_of_an_initiator);
	tcase_add_test(tc, test_framing_switch);
	tcase_add_test(tc, test_budget);
	tcase_add_loop_test(tc, test_close_in_callback, M_CONNECTED,
	    M_PDU + 1);
	tcase_add_loop_test(tc, test_close_in_callback, M_DOWN, M_DOWN + 1);
	tcase_add_test(tc, test_close_in_the_middle);
	tcase_add_test(tc, test_dial_fails);
	suite_add_tcase(suite, tc);
	return suite;
}

int
main(void)
{
	return unit_run(pump_rx_suite());
}
