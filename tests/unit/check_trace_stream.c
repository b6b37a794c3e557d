/* SPDX-License-Identifier: ISC */
/*
 * The trace (daemon/trace.h) and what is around it: the pumps that tell it of
 * each PDU, the debug log, and streams from their start to their end, whether
 * their reader reads or not.
 */
#include "config.h"

#include <fcntl.h>
#include <sys/un.h>

#include "tests/unit/trace_fixture.h"

static const struct pdu_framing digests = { .header_digest = true,
	.data_digest = true, .max_dsl = 1u << 20 };

/* What the owner of the pump was asked. */
static unsigned nasked;
static uint32_t asked_itt;
/* What was logged last. */
static char line[256];

static void
who(void *arg, uint32_t itt, struct trace_client *out)
{
	ck_assert_ptr_eq(arg, &fx);
	nasked++;
	asked_itt = itt;
	if (itt == 5)
		*out = (struct trace_client){ "five", 55 };
}

/* The fixture's pump, with an owner who knows its clients. */
static void
pair_with_clients(void)
{
	static struct pump_ops ops;

	fx_pair();
	ops = fx_ops;
	ops.who = who;
	nasked = 0;
	pump_set_owner(fx.pump, &ops, &fx);
	pump_set_framing(fx.pump, &digests, &digests);
}

static struct trace_stats
stats(void)
{
	struct trace_stats s;

	trace_stats_get(tr.t, &s);
	return s;
}

/* --- what the pumps tell --- */

/* A PDU is told of as it came, before its owner writes into it. */
START_TEST(received)
{
	static uint8_t wire[2][1024];
	struct block b;
	size_t len[2];

	pair_with_clients();
	start(NULL, false);
	len[0] = put_pdu(wire[0], sizeof(wire[0]), ISCSI_OP_NOP_IN, 5, 333,
	    &digests);
	len[1] = put_pdu(wire[1], sizeof(wire[1]), ISCSI_OP_NOP_IN, 6, 0,
	    &digests);
	for (int i = 0; i < 2; i++)
		peer_write(wire[i], len[i], 100);
	UNTIL(fx.ngot == 2);
	ck_assert_uint_eq(nasked, 2);
	expect_start(NULL);
	for (int i = 0; i < 2; i++) {
		b = next_block(BLOCK_EPB);
		ck_assert_uint_eq(b.caplen, TAGS_NONE + len[i]);
		ck_assert_mem_eq(b.data + TAGS_NONE, wire[i], len[i]);
		expect_text(&b, OPT_COMMENT, i == 0 ?
		    "client five (pid 55)" : NULL);
	}
}
END_TEST

/* Padding need not be zero, and is shown as it came. */
START_TEST(padding_as_received)
{
	static uint8_t wire[256];
	struct block b;
	size_t len;

	pair_with_clients();
	pump_set_framing(fx.pump, &(struct pdu_framing){ .max_dsl = 4096 },
	    &plain);
	start(NULL, false);
	len = put_pdu(wire, sizeof(wire), ISCSI_OP_NOP_IN, 1, 5, &plain);
	memcpy(wire + len - 3, "pad", 3);
	peer_write(wire, len, len);
	UNTIL(fx.ngot == 1);
	expect_start(NULL);
	b = next_block(BLOCK_EPB);
	ck_assert_uint_eq(b.caplen, TAGS_NONE + len);
	ck_assert_mem_eq(b.data + TAGS_NONE, wire, len);
}
END_TEST

START_TEST(sent)
{
	static uint8_t wire[4096];
	struct block b;
	ssize_t n, at = 0;

	pair_with_clients();
	start(NULL, false);
	for (unsigned i = 0; i < 6; i++)
		queue_pdu(100 + i, 30);
	pump_kick(fx.pump);
	UNTIL(fx.nsent == 6);
	n = recv(fx.peer, wire, sizeof(wire), 0);
	expect_start(NULL);
	for (unsigned i = 0; i < 6; i++) {
		b = next_block(BLOCK_EPB);
		ck_assert_mem_eq(b.data + TAGS_NONE, wire + at,
		    b.caplen - TAGS_NONE);
		at += b.caplen - TAGS_NONE;
		expect_text(&b, OPT_COMMENT, i == 5 ?
		    "client five (pid 55)" : NULL);
	}
	ck_assert_int_eq(at, n);
}
END_TEST

/* Not when it was handed over, but when the kernel took its last byte. */
START_TEST(sent_with_its_last_byte)
{
	int small = 4096;

	fx_dial();
	ck_assert_int_eq(setsockopt(conn_fd(pump_conn(fx.pump)), SOL_SOCKET,
	    SO_SNDBUF, &small, sizeof(small)), 0);
	start(NULL, false);
	queue_pdu(1000000, 4096);
	queue_pdu(0, 1);
	pump_kick(fx.pump);
	UNTIL(fx.nwire > 0);
	for (int i = 0; i < 10; i++)
		ck_assert_int_eq(loop_turn(fx.worker->loop, 0), 0);
	ck_assert_uint_eq(fx.nsent, 0);
	ck_assert_uint_eq(stats().packets, 0);
	peer_read_pdus(2, 65536);
	ck_assert_uint_eq(fx.nsent, 2);
	ck_assert_uint_eq(stats().packets, 2);
}
END_TEST

/* Closing the pump at the first does not hide what went out with it. */
START_TEST(sent_and_closed)
{
	fx_pair();
	start(NULL, false);
	fx.close_at = _i == 0 ? M_WIRE : M_SENT;
	for (unsigned i = 0; i < 3; i++)
		queue_pdu(10, 10);
	pump_kick(fx.pump);
	UNTIL(fx.pump == NULL);
	ck_assert_uint_eq(stats().packets, 3);
}
END_TEST

START_TEST(nobody_asks)
{
	static uint8_t wire[256];
	size_t len;

	pair_with_clients();
	len = put_pdu(wire, sizeof(wire), ISCSI_OP_NOP_IN, 5, 0, &digests);
	peer_write(wire, len, len);
	queue_pdu(10, 10);
	pump_kick(fx.pump);
	UNTIL(fx.ngot == 1 && fx.nsent == 1);
	ck_assert_uint_eq(nasked, 0);
}
END_TEST

/* A Reject is about the PDU whose header it brings back. */
START_TEST(reject_names_its_task)
{
	uint8_t bhs[ISCSI_BHS_LEN] = { ISCSI_OP_REJECT };
	uint8_t inner[ISCSI_BHS_LEN] = { ISCSI_OP_SCSI_CMD };
	struct slices data;

	put_be32(bhs + ISCSI_OFF_ITT, ISCSI_TAG_NONE);
	put_be32(inner + ISCSI_OFF_ITT, 1234);
	slices_init(&data);
	slices_add_copy(fx.worker->pool, &data, inner, 20);
	ck_assert_uint_eq(trace_itt(bhs, &data), ISCSI_TAG_NONE);
	slices_add_copy(fx.worker->pool, &data, inner + 20, 28);
	ck_assert_uint_eq(trace_itt(bhs, &data), 1234);
	bhs[0] = ISCSI_OP_NOP_IN;
	ck_assert_uint_eq(trace_itt(bhs, &data), ISCSI_TAG_NONE);
	slices_clear(fx.worker->pool, &data);
}
END_TEST

/* --- the debug log --- */

static void
keep_line(void *arg, enum log_level level, const char *text)
{
	(void)arg;
	if (level == LOG_LEVEL_DEBUG)
		strlcpy(line, text, sizeof(line));
}

static const struct {
	bool		 sent;
	uint8_t		 opcode, flags;
	const char	*client;
	const char	*line;
} lines[] = {
	{ true, ISCSI_OP_SCSI_CMD | ISCSI_IMMEDIATE, 0, "a\n",
	    "disk: sent SCSI Command, ITT 0x01020304, CmdSN 77, 3 bytes, "
	    "client a\\n (pid 9)" },
	{ true, ISCSI_OP_DATA_OUT, 0, NULL,
	    "disk: sent SCSI Data-Out, ITT 0x01020304, 3 bytes" },
	{ false, ISCSI_OP_SCSI_RSP, 0, "b",
	    "disk: received SCSI Response, ITT 0x01020304, StatSN 77, "
	    "3 bytes, client b (pid 9)" },
	{ false, ISCSI_OP_DATA_IN, ISCSI_DATAIN_STATUS, NULL,
	    "disk: received SCSI Data-In, ITT 0x01020304, StatSN 77, "
	    "3 bytes" },
	{ false, ISCSI_OP_DATA_IN, 0, NULL,
	    "disk: received SCSI Data-In, ITT 0x01020304, 3 bytes" },
	{ true, ISCSI_OP_LOGIN_REQ, 0, NULL,
	    "disk: sent Login Request, ITT 0x01020304, CmdSN 77, 3 bytes" },
};

START_TEST(log_lines)
{
	struct log *log = log_new(-1, LOG_LEVEL_INFO);
	struct trace *t = trace_new(fx.worker->loop, log);

	fx_pair();
	conn_set_label(pump_conn(fx.pump), "disk");
	log_set_hook(log, keep_line, NULL);
	tr.t = t;
	tr.client = (struct trace_client){ lines[_i].client, 9 };
	line[0] = '\0';
	tell(lines[_i].sent, lines[_i].opcode, lines[_i].flags, "abc", 3, 3);
	ck_assert_str_eq(line, "");
	log_set_level(log, LOG_LEVEL_DEBUG);
	tell(lines[_i].sent, lines[_i].opcode, lines[_i].flags, "abc", 3, 3);
	ck_assert_str_eq(line, lines[_i].line);
	trace_free(t);
	log_free(log);
}
END_TEST

/* --- a reader who does not keep up --- */

START_TEST(lost_packets_are_counted)
{
	static uint8_t data[60000];
	const unsigned total = 100;
	struct trace_info info;
	struct trace_stats s;
	struct block b;

	fx_pair();
	conn_set_label(pump_conn(fx.pump), "disk");
	start(NULL, false);
	for (unsigned i = 0; i < total; i++)
		tell(false, ISCSI_OP_DATA_IN, 0, data, sizeof(data), 60000);
	s = stats();
	ck_assert_uint_eq(s.running, 1);
	ck_assert_uint_eq(s.packets + s.dropped, total);
	ck_assert_uint_gt(s.dropped, 10);
	ck_assert_uint_gt(s.packets, 50);

	/* There is room again: the next packet tells what is missing. */
	expect_start("disk");
	tell(false, ISCSI_OP_DATA_IN, 0, data, 10, 10);
	tell(false, ISCSI_OP_DATA_IN, 0, data, 10, 10);
	ck_assert_int_eq(trace_stop(tr.t, tr.id, &info), 0);
	ck_assert_uint_eq(info.packets, s.packets + 2);
	ck_assert_uint_eq(info.dropped, s.dropped);
	ck_assert(info.stopped);
	ck_assert(hear());
	for (uint64_t i = 0; i < s.packets; i++) {
		b = next_block(BLOCK_EPB);
		ck_assert_uint_eq(block_number(&b, EPB_DROPCOUNT), 0);
	}
	b = next_block(BLOCK_EPB);
	ck_assert_uint_eq(block_number(&b, EPB_DROPCOUNT), s.dropped);
	b = next_block(BLOCK_EPB);
	ck_assert_uint_eq(block_number(&b, EPB_DROPCOUNT), 0);
	b = next_block(BLOCK_ISB);
	ck_assert_uint_eq(block_number(&b, ISB_IFRECV), total + 2);
	ck_assert_uint_eq(block_number(&b, ISB_IFDROP), s.dropped);
	ck_assert_uint_eq(tr.at, tr.len);
	/* They stay counted when the stream is gone. */
	ck_assert_uint_eq(stats().running, 0);
	ck_assert_uint_eq(stats().dropped, s.dropped);
	ck_assert_int_eq(trace_stop(tr.t, tr.id, &info), -ENOENT);
}
END_TEST

/* The end is in the stream even if nothing else found room any more, and
 * even of connections that never had a packet in it. */
START_TEST(end_of_a_full_stream)
{
	static uint8_t data[60000];
	struct trace_info info;
	unsigned statistics = 0;
	struct block b;
	char label[32];

	fx_pair();
	start(NULL, false);
	for (unsigned i = 0; i < 100; i++)
		tell(false, ISCSI_OP_DATA_IN, 0, data, sizeof(data), 60000);
	for (unsigned i = 0; i < 500; i++) {
		memset(&tr.tc, 0, sizeof(tr.tc));
		snprintf(label, sizeof(label), "raw-%u", i);
		conn_set_label(pump_conn(fx.pump), label);
		tell(false, ISCSI_OP_DATA_IN, 0, data, sizeof(data), 60000);
	}
	ck_assert_int_eq(trace_stop(tr.t, tr.id, &info), 0);
	ck_assert(hear());
	while (tr.at < tr.len) {
		b = block_read(tr.buf, tr.len, &tr.at);
		if (b.type != BLOCK_ISB)
			continue;
		ck_assert_uint_eq(get_le32(b.body), statistics++);
		info.dropped -= block_number(&b, ISB_IFDROP);
	}
	ck_assert_uint_eq(statistics, 501);
	ck_assert_uint_eq(info.dropped, 0);
}
END_TEST

/* --- the ends of streams --- */

START_TEST(reader_goes)
{
	start(NULL, false);
	if (_i == 0) {
		close(tr.reader);
		tr.reader = -1;
	} else {
		ck_assert_int_eq(shutdown(tr.reader, SHUT_WR), 0);
	}
	while (stats().running > 0)
		ck_assert_int_eq(loop_turn(fx.worker->loop, FOREVER), 0);
}
END_TEST

START_TEST(reader_speaks)
{
	start(NULL, false);
	ck_assert_int_eq(send(tr.reader, "hello", 5, 0), 5);
	ck_assert(!hear());
	ck_assert_uint_eq(stats().running, 1);
}
END_TEST

static void
count_end(void *arg)
{
	(*(unsigned *)arg)++;
}

/* Nobody waits for ever for a reader. */
START_TEST(drain_has_a_limit)
{
	static char bytes[1u << 20];
	struct trace_sink *s;
	unsigned ends = 0;
	int sv[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), 0);
	s = trace_sink_new(fx.worker->loop, sv[0], sizeof(bytes), count_end,
	    &ends);
	ck_assert_uint_eq(trace_sink_room(s), sizeof(bytes));
	trace_sink_put(s, bytes, sizeof(bytes));
	ck_assert_uint_eq(trace_sink_room(s), 0);
	trace_sink_put(s, bytes, 1);
	ck_assert_uint_eq(trace_sink_unread(s), sizeof(bytes));
	trace_sink_finish(s, 20);
	while (ends == 0)
		ck_assert_int_eq(loop_turn(fx.worker->loop, FOREVER), 0);
	ck_assert_uint_eq(ends, 1);
	close(sv[1]);
}
END_TEST

/* Everything arrives in order across the end of the ring. */
START_TEST(ring_goes_round)
{
	uint8_t in[700], out[700];
	struct trace_sink *s;
	unsigned ends = 0;
	uint32_t put = 0, heard = 0;
	ssize_t n;
	int sv[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0,
	    sv), 0);
	s = trace_sink_new(fx.worker->loop, sv[0], 1000, count_end, &ends);
	while (heard < 100000) {
		for (size_t i = 0; i < sizeof(in); i++)
			in[i] = (uint8_t)((put + i) * 7);
		if (trace_sink_room(s) >= sizeof(in)) {
			trace_sink_put(s, in, sizeof(in));
			put += (uint32_t)sizeof(in);
		}
		ck_assert_int_eq(loop_turn(fx.worker->loop, 0), 0);
		n = recv(sv[1], out, 333, 0);
		for (ssize_t i = 0; i < n; i++)
			ck_assert_uint_eq(out[i], (uint8_t)(heard++ * 7));
	}
	trace_sink_close(s);
	close(sv[1]);
	ck_assert_uint_eq(ends, 0);
}
END_TEST

START_TEST(streams_are_bounded)
{
	int reader[TRACE_MAX], one_more;

	for (int i = 0; i < TRACE_MAX; i++)
		ck_assert_int_eq(try_start(NULL, false, &reader[i]), 0);
	ck_assert_int_eq(try_start(NULL, false, &one_more), -EBUSY);
	close(one_more);
	close(reader[3]);
	while (stats().running == TRACE_MAX)
		ck_assert_int_eq(loop_turn(fx.worker->loop, FOREVER), 0);
	ck_assert_int_eq(try_start(NULL, false, &reader[3]), 0);
	for (int i = 0; i < TRACE_MAX; i++)
		close(reader[i]);
}
END_TEST

/* Only what can neither block nor be anything else. */
START_TEST(sockets_only)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	int fds[8], n = 0, sv[2];
	uint64_t id;

	fds[n++] = open("/dev/null", O_WRONLY);
	ck_assert_int_eq(pipe(sv), 0);
	fds[n++] = sv[0];
	fds[n++] = sv[1];
	fds[n++] = socket(AF_UNIX, SOCK_STREAM, 0);	/* not connected */
	fds[n++] = socket(AF_UNIX, SOCK_STREAM, 0);	/* listens */
	ck_assert_int_eq(bind(fds[n - 1], (struct sockaddr *)&sun,
	    sizeof(sun.sun_family)), 0);
	ck_assert_int_eq(listen(fds[n - 1], 1), 0);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, sv), 0);
	fds[n++] = sv[0];
	fds[n++] = sv[1];
	fx_dial();
	fds[n++] = dup(fx.peer);			/* TCP */
	for (int i = 0; i < n; i++) {
		ck_assert_int_eq(trace_start(tr.t, fds[i], NULL, false, &id),
		    -EINVAL);
		/* It is still the caller's. */
		ck_assert_int_eq(close(fds[i]), 0);
	}
	ck_assert_uint_eq(stats().running, 0);
}
END_TEST

static void
add_pump_tests(TCase *tc)
{
	tcase_add_test(tc, received);
	tcase_add_test(tc, padding_as_received);
	tcase_add_test(tc, sent);
	tcase_add_test(tc, sent_with_its_last_byte);
	tcase_add_loop_test(tc, sent_and_closed, 0, 2);
	tcase_add_test(tc, nobody_asks);
	tcase_add_test(tc, reject_names_its_task);
}

int
main(void)
{
	Suite *suite = suite_create("trace_stream");
	TCase *tc = tcase_create("stream");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 60);
	add_pump_tests(tc);
	tcase_add_loop_test(tc, log_lines, 0,
	    sizeof(lines) / sizeof(lines[0]));
	tcase_add_test(tc, lost_packets_are_counted);
	tcase_add_test(tc, end_of_a_full_stream);
	tcase_add_loop_test(tc, reader_goes, 0, 2);
	tcase_add_test(tc, reader_speaks);
	tcase_add_test(tc, drain_has_a_limit);
	tcase_add_test(tc, ring_goes_round);
	tcase_add_test(tc, streams_are_bounded);
	tcase_add_test(tc, sockets_only);
	suite_add_tcase(suite, tc);
	return unit_run(suite);
}
