/* SPDX-License-Identifier: ISC */
/*
 * The trace (daemon/trace.h): what is in the stream, byte by byte; whose PDU
 * it was; that secrets are not there; and that a reader who does not keep up
 * loses packets, which are counted, and nothing else happens.
 */
#include "config.h"

#include "tests/unit/trace_fixture.h"

#define TAGS_V6		80u

static void
tell_login(bool sent, bool more, const char *text, uint32_t len,
    uint32_t piece)
{
	tell(sent, sent ? ISCSI_OP_LOGIN_REQ : ISCSI_OP_LOGIN_RSP,
	    more ? ISCSI_TEXT_CONTINUE : 0, text, len, piece);
}

/* --- bytes --- */

/* A port of the connection, for the bytes below. */
static void
put_port(uint8_t *p, const struct sockaddr_storage *sa)
{
	in_port_t port = sa->ss_family == AF_INET ?
	    ((const struct sockaddr_in *)(const void *)sa)->sin_port :
	    ((const struct sockaddr_in6 *)(const void *)sa)->sin6_port;

	put_be32(p, ntohs(port));
}

#define HEAD	"\x00\x0c\x00\x08" "iscsi\0\0\0"			\
		"\x00\x14\x00\x04" "\x7f\0\0\1" "\x00\x15\x00\x04" "\x7f\0\0\1"\
		"\x00\x18\x00\x04\0\0\0\2" "\x00\x19\x00\x04\0\0\0\0"	\
		"\x00\x1a\x00\x04\0\0\0\0" "\0\0\0\0"

START_TEST(every_byte)
{
	static const uint8_t section[] = "\x4d\x3c\x2b\x1a" "\1\0\0\0"
	    "\xff\xff\xff\xff\xff\xff\xff\xff";
	static const uint8_t interface[] = "\1\0\0\0" "\x28\0\0\0"
	    "\xfc\0\0\0" "\0\0\0\0" "\2\0\4\0" "disk" "\x09\0\1\0" "\x09\0\0\0"
	    "\0\0\0\0" "\x28\0\0\0";
	uint8_t packet[] = "\6\0\0\0" "\xb0\0\0\0" "\0\0\0\0"
	    "\x22\x11\0\0" "\x66\x55\x44\x33" "\x6f\0\0\0" "\x6f\0\0\0" HEAD
	    "\0\x80\0\0" "\0\0\0\3" "\0\0\0\0\0\0\0\0" "\1\2\3\4" "\0\0\0\0"
	    "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0" "\xaa\xbb\xcc\xdd"
	    "abc" "\0" "\1\0\x10\0" "client a (pid 7)" "\2\0\4\0" "\2\0\0\0"
	    "\0\0\0\0" "\xb0\0\0\0";
	struct pcapng p = { 0 };
	struct trace_pdu pdu = { .sent = true, .tail_len = 0,
	    .header_digest = (const uint8_t *)"\xaa\xbb\xcc\xdd",
	    .client = { "a", 7 } };
	uint8_t bhs[ISCSI_BHS_LEN] = { 0, 0x80, [7] = 3, [16] = 1, 2, 3, 4 };
	struct slices data;
	struct block b;
	int sv[2];

	fx_dial();
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), 0);
	tr.reader = sv[1];
	p.sink = trace_sink_new(fx.worker->loop, sv[0], TRACE_BUFFER, NULL,
	    NULL);
	pcapng_start(&p);
	slices_init(&data);
	slices_add_copy(fx.worker->pool, &data, "abc", 3);
	pdu.conn = pump_conn(fx.pump);
	pdu.bhs = bhs;
	pdu.data = &data;
	ck_assert_int_eq(pcapng_interface(&p, "disk"), 0);
	pcapng_packet(&p, 0, 0x112233445566, &pdu, NULL);
	trace_sink_close(p.sink);
	ck_assert(hear());
	pcapng_deinit(&p);
	slices_clear(fx.worker->pool, &data);

	b = next_block(BLOCK_SHB);
	ck_assert_mem_eq(b.body, section, sizeof(section) - 1);
	expect_text(&b, SHB_USERAPPL, PACKAGE_NAME " " PACKAGE_VERSION);
	put_port(packet + 28 + 40, conn_local_addr(pdu.conn));
	put_port(packet + 28 + 48, conn_peer_addr(pdu.conn));
	ck_assert_uint_eq(tr.len - tr.at, sizeof(interface) +
	    sizeof(packet) - 2);
	ck_assert_mem_eq(tr.buf + tr.at, interface, sizeof(interface) - 1);
	ck_assert_mem_eq(tr.buf + tr.at + sizeof(interface) - 1, packet,
	    sizeof(packet) - 1);
}
END_TEST

/* The other direction swaps the ends and says that it is inbound. */
START_TEST(directions)
{
	struct block sent, received;

	fx_dial();
	start(NULL, false);
	tell(true, ISCSI_OP_NOP_OUT, 0, "", 0, 1);
	tell(false, ISCSI_OP_NOP_IN, 0, "", 0, 1);
	expect_start(NULL);
	sent = next_block(BLOCK_EPB);
	received = next_block(BLOCK_EPB);
	ck_assert_uint_eq(block_flags(&sent), 2);
	ck_assert_uint_eq(block_flags(&received), 1);
	ck_assert_mem_ne(sent.data + 40, sent.data + 48, 4);
	ck_assert_mem_eq(sent.data + 40, received.data + 48, 4);
	ck_assert_mem_eq(sent.data + 48, received.data + 40, 4);
	ck_assert_uint_le(sent.time, received.time);
	/* Nanoseconds since 1970: later than 2020, before 2100. */
	ck_assert_uint_gt(sent.time, UINT64_C(1577836800000000000));
	ck_assert_uint_lt(sent.time, UINT64_C(4102444800000000000));
}
END_TEST

static void
dial_v6(void)
{
	struct sockaddr_in6 in6 = { .sin6_family = AF_INET6,
	    .sin6_addr = IN6ADDR_LOOPBACK_INIT };
	socklen_t len = sizeof(in6);
	int listener = socket(AF_INET6, SOCK_STREAM, 0);

	ck_assert_int_eq(bind(listener, (struct sockaddr *)&in6, len), 0);
	ck_assert_int_eq(listen(listener, 1), 0);
	getsockname(listener, (struct sockaddr *)&in6, &len);
	fx.pump = pump_dial(fx.worker, "::1", ntohs(in6.sin6_port), FOREVER,
	    &fx_ops, &fx);
	UNTIL(fx.nconnected > 0);
	close(listener);
}

START_TEST(ipv6)
{
	uint8_t tags[TAGS_V6] = "\x00\x0c\x00\x08" "iscsi\0\0\0"
	    "\x00\x16\x00\x10" "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1"
	    "\x00\x17\x00\x10" "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1"
	    "\x00\x18\x00\x04\0\0\0\2" "\x00\x19\x00\x04\0\0\0\0"
	    "\x00\x1a\x00\x04\0\0\0";
	struct block b;

	dial_v6();
	start(NULL, false);
	tell(true, ISCSI_OP_NOP_OUT, 0, "", 0, 1);
	expect_start(NULL);
	b = next_block(BLOCK_EPB);
	ck_assert_uint_eq(b.caplen, TAGS_V6 + ISCSI_BHS_LEN);
	put_port(tags + 64, conn_local_addr(pump_conn(fx.pump)));
	put_port(tags + 72, conn_peer_addr(pump_conn(fx.pump)));
	ck_assert_mem_eq(b.data, tags, sizeof(tags));
}
END_TEST

/* No packet is longer than Wireshark reads; how long it was is told. */
START_TEST(caplen_is_bounded)
{
	static uint8_t data[300000];
	static const uint32_t lens[] = { TRACE_CAPLEN_MAX - 48 - TAGS_NONE,
		TRACE_CAPLEN_MAX - 48 - TAGS_NONE + 4, sizeof(data) };
	struct block b;

	fx_pair();
	start(NULL, false);
	fill(data, sizeof(data), 3);
	for (size_t i = 0; i < 3; i++)
		tell(false, ISCSI_OP_DATA_IN, 0, data, lens[i], 65536);
	expect_start(NULL);
	for (size_t i = 0; i < 3; i++) {
		b = next_block(BLOCK_EPB);
		ck_assert_uint_eq(b.caplen, TRACE_CAPLEN_MAX);
		ck_assert_uint_eq(b.origlen, lens[i] + 48 + TAGS_NONE);
		ck_assert_mem_eq(b.data + 48 + TAGS_NONE, data,
		    b.caplen - 48 - TAGS_NONE);
	}
}
END_TEST

START_TEST(headers_only)
{
	struct block b;

	fx_pair();
	start(NULL, true);
	tell(false, ISCSI_OP_DATA_IN, 0, "abcdefg", 7, 7);
	expect_start(NULL);
	b = next_block(BLOCK_EPB);
	ck_assert_uint_eq(b.caplen, TAGS_NONE + 48);
	ck_assert_uint_eq(b.origlen, TAGS_NONE + 48 + 8);
}
END_TEST

START_TEST(names_are_made_printable)
{
	static const char *const names[][2] = {
		{ "backup", "client backup (pid 42)" },
		{ "b\xc3\xa4r \xe2\x82\xac \xf0\x9f\x92\xbe",
		    "client b\xc3\xa4r \xe2\x82\xac \xf0\x9f\x92\xbe (pid 42)" },
		{ "a\nb\x1b[m\x7f", "client a?b?[m? (pid 42)" },
		{ "\xff\xc3(\xc0\xaf\xed\xa0\x80\xc2\x85\xe2\x82",
		    "client ?" "?(?????" "???? (pid 42)" },
		{ "", "client  (pid 42)" },
		{ NULL, NULL },
	};
	struct block b;

	fx_pair();
	start(NULL, false);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		tr.client = (struct trace_client){ names[i][0], 42 };
		tell(true, ISCSI_OP_NOP_OUT, 0, "", 0, 1);
	}
	expect_start(NULL);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		b = next_block(BLOCK_EPB);
		expect_text(&b, OPT_COMMENT, names[i][1]);
	}
}
END_TEST

/* --- interfaces and filters --- */

START_TEST(an_interface_for_each_label)
{
	struct conn *c;
	struct block b;

	fx_pair();
	c = pump_conn(fx.pump);
	start(NULL, false);
	for (unsigned i = 0; i < 4; i++) {
		conn_set_label(c, i % 2 == 0 ? "one" : "two");
		memset(&tr.tc, 0, sizeof(tr.tc));	/* a new connection */
		tell(true, ISCSI_OP_NOP_OUT, 0, "", 0, 1);
	}
	expect_start("one");
	ck_assert_uint_eq(next_block(BLOCK_EPB).interface, 0);
	b = next_block(BLOCK_IDB);
	expect_text(&b, IDB_NAME, "two");
	ck_assert_uint_eq(next_block(BLOCK_EPB).interface, 1);
	ck_assert_uint_eq(next_block(BLOCK_EPB).interface, 0);
	ck_assert_uint_eq(next_block(BLOCK_EPB).interface, 1);
	ck_assert_uint_eq(tr.at, tr.len);
}
END_TEST

START_TEST(interfaces_are_bounded)
{
	struct trace_info info;
	struct block b;
	char label[32];
	unsigned n = 0;

	fx_pair();
	start(NULL, false);
	for (unsigned i = 0; i < PCAPNG_INTERFACES_MAX + 100; i++) {
		snprintf(label, sizeof(label), "raw-%u", i);
		conn_set_label(pump_conn(fx.pump), label);
		memset(&tr.tc, 0, sizeof(tr.tc));
		tell(true, ISCSI_OP_NOP_OUT, 0, "", 0, 1);
	}
	ck_assert_int_eq(trace_stop(tr.t, tr.id, &info), 0);
	ck_assert(hear());
	while (tr.at < tr.len) {
		b = block_read(tr.buf, tr.len, &tr.at);
		n += b.type == BLOCK_IDB;
		if (b.type == BLOCK_IDB && n == PCAPNG_INTERFACES_MAX)
			expect_text(&b, IDB_NAME, "other connections");
	}
	ck_assert_uint_eq(n, PCAPNG_INTERFACES_MAX);
}
END_TEST

START_TEST(one_session)
{
	fx_pair();
	start("wanted", false);
	conn_set_label(pump_conn(fx.pump), "other");
	tell(true, ISCSI_OP_NOP_OUT, 0, "", 0, 1);
	memset(&tr.tc, 0, sizeof(tr.tc));
	conn_set_label(pump_conn(fx.pump), "wanted");
	tell(true, ISCSI_OP_NOP_OUT, 0, "", 0, 1);
	expect_start("wanted");
	next_block(BLOCK_EPB);
	ck_assert_uint_eq(tr.at, tr.len);
}
END_TEST

/* --- secrets --- */

static const char chap[] =
    "CHAP_N=me\0CHAP_R=0x1234\0CHAP_I=9\0CHAP_C=0babc=\0A=b";
static const char hidden[] =
    "CHAP_N=me\0CHAP_R=xxxxxx\0CHAP_I=9\0CHAP_C=xxxxxx\0A=b";

/* The next packets, one of each direction, have this data. */
static void
expect_both(const char *data, uint32_t len)
{
	struct block b;

	for (int i = 0; i < 2; i++) {
		b = next_block(BLOCK_EPB);
		ck_assert_uint_eq(b.caplen, TAGS_NONE + 48 + len +
		    iscsi_pad(len));
		ck_assert_mem_eq(b.data + TAGS_NONE + 48, data, len);
	}
}

/* The stream has ended for its reader. */
static void
close_reader(void)
{
	close(tr.reader);
	tr.reader = -1;
	ck_assert_int_eq(loop_turn(fx.worker->loop, 0), 0);
}

/*
 * Split between two PDUs at every byte, with pieces of several sizes, in both
 * directions at once; a second trace begins in the middle.
 */
START_TEST(secrets_are_masked)
{
	const uint32_t len = sizeof(chap), at = (uint32_t)_i;
	int first;

	fx_pair();
	for (uint32_t piece = 1; piece <= len; piece += 7) {
		start(NULL, false);
		first = tr.reader;
		tell_login(true, true, chap, at, piece);
		tell_login(false, true, chap, at, piece);
		start(NULL, false);
		tell_login(true, false, chap + at, len - at, piece);
		tell_login(false, false, chap + at, len - at, piece);
		tr.len = tr.at = 0;
		expect_start(NULL);
		expect_both(hidden + at, len - at);
		close_reader();
		tr.reader = first;
		tr.len = tr.at = 0;
		expect_start(NULL);
		expect_both(hidden, at);
		expect_both(hidden + at, len - at);
		close_reader();
	}
}
END_TEST

/* What went before counts even if nobody was looking at anything. */
START_TEST(masked_from_the_middle)
{
	fx_pair();
	tell_login(true, true, chap, 20, 20);
	start(NULL, false);
	tell_login(true, false, chap + 20, sizeof(chap) - 20, 9);
	expect_start(NULL);
	ck_assert_mem_eq(next_block(BLOCK_EPB).data + TAGS_NONE + 48,
	    hidden + 20, sizeof(chap) - 20);
}
END_TEST

/* The directions know nothing of each other. */
START_TEST(directions_are_apart)
{
	struct block b;

	fx_pair();
	start(NULL, false);
	tell_login(true, true, "CHAP_R=1", 8, 8);
	tell_login(false, false, "AuthMethod=None", 16, 16);
	tell_login(true, false, "2", 2, 2);
	expect_start(NULL);
	next_block(BLOCK_EPB);
	b = next_block(BLOCK_EPB);
	ck_assert_mem_eq(b.data + TAGS_NONE + 48, "AuthMethod=None", 16);
	b = next_block(BLOCK_EPB);
	ck_assert_mem_eq(b.data + TAGS_NONE + 48, "x", 2);
}
END_TEST

/* Other PDUs are never changed. */
START_TEST(data_are_not_masked)
{
	struct block b;

	fx_pair();
	start(NULL, false);
	tell(true, ISCSI_OP_DATA_OUT, 0, chap, sizeof(chap), 10);
	expect_start(NULL);
	b = next_block(BLOCK_EPB);
	ck_assert_mem_eq(b.data + TAGS_NONE + 48, chap, sizeof(chap));
}
END_TEST

/* The digest of what is hidden is hidden: it may give a short value away. */
START_TEST(digest_is_masked)
{
	static const uint8_t tail[] = "\0\0\0ABCD";
	uint8_t bhs[ISCSI_BHS_LEN] = { ISCSI_OP_LOGIN_REQ };
	struct trace_pdu pdu = { .sent = true, .bhs = bhs, .tail = tail,
	    .tail_len = 7 };
	struct slices data;
	struct block b;

	fx_pair();
	start(NULL, false);
	slices_init(&data);
	for (int i = 0; i < 2; i++) {
		slices_clear(fx.worker->pool, &data);
		slices_add_copy(fx.worker->pool, &data,
		    i == 0 ? "CHAP_C=1" : "CHAP_A=1", 9);
		iscsi_set_dsl(bhs, 9);
		pdu.conn = pump_conn(fx.pump);
		pdu.data = &data;
		trace_pdu(tr.t, &tr.tc, &pdu);
	}
	slices_clear(fx.worker->pool, &data);
	expect_start(NULL);
	b = next_block(BLOCK_EPB);
	ck_assert_mem_eq(b.data + TAGS_NONE + 48, "CHAP_C=x\0\0\0\0xxxx", 16);
	b = next_block(BLOCK_EPB);
	ck_assert_mem_eq(b.data + TAGS_NONE + 48, "CHAP_A=1\0\0\0\0ABCD", 16);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("trace");
	TCase *tc = tcase_create("trace");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, every_byte);
	tcase_add_test(tc, directions);
	tcase_add_test(tc, ipv6);
	tcase_add_test(tc, caplen_is_bounded);
	tcase_add_test(tc, headers_only);
	tcase_add_test(tc, names_are_made_printable);
	tcase_add_test(tc, an_interface_for_each_label);
	tcase_add_test(tc, interfaces_are_bounded);
	tcase_add_test(tc, one_session);
	tcase_add_loop_test(tc, secrets_are_masked, 0, sizeof(chap) + 1);
	tcase_add_test(tc, masked_from_the_middle);
	tcase_add_test(tc, directions_are_apart);
	tcase_add_test(tc, data_are_not_masked);
	tcase_add_test(tc, digest_is_masked);
	suite_add_tcase(suite, tc);
	return unit_run(suite);
}
