/* SPDX-License-Identifier: ISC */
/*
 * The scripted target of the session's tests; see session_fixture.h.  Its
 * numbers are kept by rules of its own, not by daemon/sn.c.
 */
#include "config.h"

#include <sys/socket.h>

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "daemon/conn.h"
#include "tests/unit/session_fixture.h"

#define STALL_LEN 131072u

/* --- the target reads */

/* Take more bytes if there are any; false at the end of the stream. */
static bool
receive(void)
{
	ssize_t n = recv(fx.peer, fx.in, sizeof(fx.in), MSG_DONTWAIT);

	if (n == 0 || (n == -1 && errno == ECONNRESET))
		return false;
	ck_assert(n > 0 || errno == EAGAIN);
	fx.in_at = 0;
	fx.in_len = n > 0 ? (size_t)n : 0;
	return true;
}

/* Parse one PDU out of what was received; true if it is complete. */
static bool
parse(void)
{
	struct pdu_event ev;

	for (;;) {
		fx.in_at += pdu_parser_feed(&fx.parser, fx.in + fx.in_at,
		    fx.in_len - fx.in_at, &ev);
		switch (ev.kind) {
		case PDU_EV_HEADER:
			memcpy(fx.got.bhs, fx.parser.bhs, ISCSI_BHS_LEN);
			fx.got.ahs_len = iscsi_ahs_len(fx.got.bhs);
			memcpy(fx.got.ahs, fx.parser.ahs, fx.got.ahs_len);
			free(fx.got.data);
			fx.got.data = malloc(iscsi_dsl(fx.got.bhs) + 1);
			fx.got.len = 0;
			break;
		case PDU_EV_DATA:
			memcpy(fx.got.data + fx.got.len, ev.data, ev.len);
			fx.got.len += (uint32_t)ev.len;
			break;
		case PDU_EV_END:
			return true;
		case PDU_EV_MORE:
			return false;
		case PDU_EV_ERROR:
			ck_abort_msg("the session sent %s",
			    pdu_error_name(pdu_parser_error(&fx.parser)));
		}
	}
}

static void
read_pdu(void)
{
	while (!parse()) {
		ck_assert_int_eq(loop_turn(fx.worker->loop, 1), 0);
		ck_assert_msg(receive(), "the session hung up: %s",
		    fx.s->last_error);
	}
}

/* An acknowledgement, which a slow machine may see anywhere. */
static bool
is_ack(const uint8_t *bhs)
{
	return iscsi_opcode(bhs) == ISCSI_OP_NOP_OUT &&
	    iscsi_itt(bhs) == RSV && iscsi_ttt(bhs) == RSV;
}

uint8_t
wire_any(void)
{
	const uint8_t *bhs = fx.got.bhs;
	uint8_t op;

	do {
		read_pdu();
	} while (is_ack(bhs) && !fx.want_acks);
	op = iscsi_opcode(bhs);
	if (op == ISCSI_OP_DATA_OUT) {
		ck_assert_uint_eq(get_be32(bhs + ISCSI_OFF_CMDSN), 0);
	} else if (!fx.hold_window) {
		ck_assert_uint_eq(get_be32(bhs + ISCSI_OFF_CMDSN),
		    fx.expcmdsn);
		if (!iscsi_is_immediate(bhs)) {
			fx.expcmdsn++;
			fx.maxcmdsn++;
		}
	}
	return op;
}

const struct got *
wire(uint8_t opcode)
{
	ck_assert_str_eq(iscsi_opcode_name(wire_any()),
	    iscsi_opcode_name(opcode));
	return &fx.got;
}

/* A ping of the target and its answer, which must be the next PDU. */
static void
ping(uint32_t ttt)
{
	bool hold = fx.hold_window;

	say_nop_in(RSV, ttt);
	fx.hold_window = true;
	wire(ISCSI_OP_NOP_OUT);
	fx.hold_window = hold;
	ck_assert_uint_eq(iscsi_itt(fx.got.bhs), RSV);
	ck_assert_uint_eq(iscsi_ttt(fx.got.bhs), ttt);
}

/*
 * Answers to pings go first, but in the same batch as whatever else can be
 * sent; so nothing can hide behind the first of two.
 */
void
wire_quiet(void)
{
	ping(0x71717171);
	ping(0x72727272);
}

/* --- the target speaks */

static uint8_t answer[ISCSI_BHS_LEN];

uint8_t *
from_target(uint8_t opcode, uint8_t flags, uint32_t itt)
{
	memset(answer, 0, sizeof(answer));
	answer[ISCSI_OFF_OPCODE] = opcode;
	answer[ISCSI_OFF_FLAGS] = flags;
	put_be32(answer + ISCSI_OFF_ITT, itt);
	put_be32(answer + ISCSI_OFF_TTT, RSV);
	put_be32(answer + ISCSI_OFF_STATSN, fx.statsn);
	put_be32(answer + ISCSI_OFF_EXPCMDSN, fx.expcmdsn);
	put_be32(answer + ISCSI_OFF_MAXCMDSN, fx.maxcmdsn);
	return answer;
}

static void
send_all(const void *buf, size_t len)
{
	const uint8_t *p = buf;
	ssize_t n;

	while (len > 0) {
		n = send(fx.peer, p, len, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n > 0) {
			p += n;
			len -= (size_t)n;
		} else {
			ck_assert_int_eq(errno, EAGAIN);
			turn();
		}
	}
}

/* Put a PDU on the wire as the framing says. */
static void
transmit(const uint8_t *bhs, const void *data, uint32_t len)
{
	struct iovec piece = { malloc(len + 1), len };
	struct iovec iov[1 + PDU_IOV_OVERHEAD];
	struct pdu_trailer trailer;
	uint8_t copy[ISCSI_BHS_LEN];
	size_t total;
	int i, n;

	memcpy(copy, bhs, sizeof(copy));
	iscsi_set_dsl(copy, len);
	if (len > 0)
		memcpy(piece.iov_base, data, len);
	n = pdu_serialize(copy, NULL, &piece, len > 0, &fx.framing, &trailer,
	    iov, sizeof(iov) / sizeof(iov[0]), &total);
	ck_assert_int_gt(n, 0);
	for (i = 0; i < n; i++)
		send_all(iov[i].iov_base, iov[i].iov_len);
	free(piece.iov_base);
}

void
say(const uint8_t *bhs, const void *data, uint32_t len)
{
	uint64_t before = fx_stats().pdus_in;
	enum session_phase phase = fx.s->phase;

	transmit(bhs, data, len);
	UNTIL(fx_stats().pdus_in > before || fx.s->phase != phase);
	turn();
}

void
say_status(const uint8_t *bhs, const void *data, uint32_t len)
{
	fx.statsn++;
	say(bhs, data, len);
}

void
say_good(uint32_t itt)
{
	say_status(from_target(ISCSI_OP_SCSI_RSP, ISCSI_FLAG_FINAL, itt),
	    NULL, 0);
}

struct progress *
progress_of(uint32_t itt)
{
	const unsigned max = sizeof(fx.progress) / sizeof(fx.progress[0]);
	struct progress *p;

	for (unsigned i = 0; i < max && i < fx.nprogress; i++) {
		if (fx.progress[i].itt == itt)
			return &fx.progress[i];
	}
	p = &fx.progress[fx.nprogress++ % max];
	*p = (struct progress){ .itt = itt };
	return p;
}

void
say_data(uint32_t itt, uint8_t flags, uint8_t byte, uint32_t len)
{
	uint8_t *data = malloc(len + 1), *bhs;
	struct progress *p = progress_of(itt);

	memset(data, byte, len);
	bhs = from_target(ISCSI_OP_DATA_IN, flags, itt);
	put_be32(bhs + ISCSI_OFF_DATASN, p->datasn++);
	put_be32(bhs + ISCSI_OFF_BUFFER_OFFSET, p->offset);
	p->offset += len;
	if ((flags & ISCSI_DATAIN_STATUS) != 0)
		say_status(bhs, data, len);
	else
		say(bhs, data, len);
	free(data);
}

void
say_r2t(uint32_t itt, uint32_t ttt, uint32_t offset, uint32_t len)
{
	uint8_t *bhs = from_target(ISCSI_OP_R2T, ISCSI_FLAG_FINAL, itt);

	put_be32(bhs + ISCSI_OFF_DATASN, progress_of(itt)->r2tsn++);
	put_be64(bhs + ISCSI_OFF_LUN, LUN_1);
	put_be32(bhs + ISCSI_OFF_TTT, ttt);
	put_be32(bhs + ISCSI_OFF_BUFFER_OFFSET, offset);
	put_be32(bhs + ISCSI_OFF_DESIRED_LEN, len);
	say(bhs, NULL, 0);
}

void
say_tmf(uint32_t itt, uint8_t response)
{
	uint8_t *bhs = from_target(ISCSI_OP_TMF_RSP, ISCSI_FLAG_FINAL, itt);

	put_be32(bhs + ISCSI_OFF_TTT, 0);
	bhs[ISCSI_OFF_RESPONSE] = response;
	say_status(bhs, NULL, 0);
}

void
say_nop_in(uint32_t itt, uint32_t ttt)
{
	uint8_t *bhs = from_target(ISCSI_OP_NOP_IN, ISCSI_FLAG_FINAL, itt);

	put_be32(bhs + ISCSI_OFF_TTT, ttt);
	if (itt == RSV)
		say(bhs, NULL, 0);
	else
		say_status(bhs, NULL, 0);
}

void
say_reject(uint8_t reason, const uint8_t *rejected)
{
	uint8_t copy[ISCSI_BHS_LEN], *bhs;

	memcpy(copy, rejected, sizeof(copy));
	bhs = from_target(ISCSI_OP_REJECT, ISCSI_FLAG_FINAL, RSV);
	bhs[ISCSI_OFF_RESPONSE] = reason;
	say_status(bhs, copy, sizeof(copy));
}

void
hang_up(void)
{
	close(fx.peer);
	fx.peer = -1;
}

uint32_t
open_command(struct sclient *c, uint32_t client_itt)
{
	accepted(c, command(READ_F, client_itt, 0), 0, client_itt);
	return iscsi_itt(wire(ISCSI_OP_SCSI_CMD)->bhs);
}

void
take_logout(uint8_t response)
{
	const uint8_t *bhs = wire(ISCSI_OP_LOGOUT_REQ)->bhs;
	uint8_t *rsp;

	ck_assert(iscsi_is_immediate(bhs));
	ck_assert_uint_eq(bhs[ISCSI_OFF_FLAGS], ISCSI_FLAG_FINAL);
	ck_assert_uint_eq(fx.got.len, 0);
	ck_assert_uint_eq(get_be32(bhs + ISCSI_OFF_EXPSTATSN), fx.statsn);
	rsp = from_target(ISCSI_OP_LOGOUT_RSP, ISCSI_FLAG_FINAL,
	    iscsi_itt(bhs));
	rsp[ISCSI_OFF_RESPONSE] = response;
	say_status(rsp, NULL, 0);
}

void
lost(const char *words)
{
	UNTIL(fx.s->phase != SESSION_UP);
	ck_assert_msg(strstr(fx.s->last_error, words) != NULL,
	    "\"%s\" is not in \"%s\"", words, fx.s->last_error);
	UNTIL(fx.s->phase != SESSION_FAILED);
}

/* --- connection and login */

static void
listen_somewhere(void)
{
	struct sockaddr_in in = { .sin_family = AF_INET };
	socklen_t len = sizeof(in);
	int small = 4096;

	in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	fx.listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	ck_assert_int_ne(fx.listener, -1);
	if (fx.small)
		setsockopt(fx.listener, SOL_SOCKET, SO_RCVBUF, &small,
		    sizeof(small));
	ck_assert_int_eq(bind(fx.listener, (struct sockaddr *)&in, len), 0);
	ck_assert_int_eq(listen(fx.listener, 5), 0);
	getsockname(fx.listener, (struct sockaddr *)&in, &len);
	fx.sconf.portal.port = ntohs(in.sin_port);
}

static void
answer_login(const char *lines)
{
	uint8_t *bhs = from_target(ISCSI_OP_LOGIN_RSP,
	    fx.got.bhs[ISCSI_OFF_FLAGS], iscsi_itt(fx.got.bhs));
	size_t i, len = strlen(lines);
	char text[1024];
	bool last = (bhs[ISCSI_OFF_FLAGS] & 3) == ISCSI_STAGE_FULL_FEATURE;

	ck_assert_uint_lt(len, sizeof(text));
	for (i = 0; i < len; i++)
		text[i] = lines[i] == '\n' ? '\0' : lines[i];
	memcpy(bhs + ISCSI_OFF_ISID, fx.got.bhs + ISCSI_OFF_ISID, 6);
	put_be32(bhs + ISCSI_OFF_TTT, 0);
	if (last)
		put_be16(bhs + ISCSI_OFF_TSIH, 7);
	say_status(bhs, text, (uint32_t)len);
	if (last && fx.digests) {
		fx.framing.header_digest = fx.framing.data_digest = true;
		pdu_parser_set_framing(&fx.parser, &fx.framing);
	}
}

static const char *
digest_keys(void)
{
	return fx.digests ? "HeaderDigest=CRC32C\nDataDigest=CRC32C\n" :
	    "HeaderDigest=None\nDataDigest=None\n";
}

/* The session connects anew. */
void
fx_accept(void)
{
	if (fx.peer != -1)
		close(fx.peer);
	UNTIL((fx.peer = accept(fx.listener, NULL, NULL)) != -1);
	fx.framing = (struct pdu_framing){ 0 };
	pdu_parser_init(&fx.parser, PDU_FROM_INITIATOR, &fx.framing);
	fx.in_at = fx.in_len = 0;
	fx.statsn = FIRST_STATSN;
	fx.expcmdsn = 1;
	fx.maxcmdsn = fx.expcmdsn + fx.window - 1;
}

void
fx_finish_login(void)
{
	char lines[1024];

	wire(ISCSI_OP_LOGIN_REQ);
	snprintf(lines, sizeof(lines), "%sMaxConnections=1\n"
	    "MaxRecvDataSegmentLength=262144\nMaxBurstLength=262144\n"
	    "DefaultTime2Wait=%u\nDefaultTime2Retain=0\n"
	    "DataPDUInOrder=Yes\nDataSequenceInOrder=Yes\n"
	    "ErrorRecoveryLevel=0\n%s", digest_keys(), fx.time2wait,
	    fx.keys != NULL ? fx.keys : "InitialR2T=No\nImmediateData=Yes\n"
	    "FirstBurstLength=262144\nMaxOutstandingR2T=4\n");
	answer_login(lines);
	UNTIL(fx.s->phase != SESSION_LOGGING_IN);
	ck_assert_str_eq(fx.s->last_error, "");
	ck_assert_int_eq(fx.s->phase, SESSION_UP);
}

void
fx_log_in(void)
{
	fx_accept();
	wire(ISCSI_OP_LOGIN_REQ);
	answer_login("TargetPortalGroupTag=1\nAuthMethod=None\n");
	fx_finish_login();
}

void
fx_new(void)
{
	if (fx.digests)
		fx.sconf.header_digest.list[0] =
		    fx.sconf.data_digest.list[0] = CONFIG_DIGEST_CRC32C;
	listen_somewhere();
	fx.worker = worker_new(NULL, &fx.config);
	ck_assert_ptr_nonnull(fx.worker);
	fx.s = session_new(fx.worker, &fx.sconf);
	ck_assert_ptr_nonnull(fx.s);
}

static void
start(void)
{
	fx_new();
	session_start(fx.s);
}

void
fx_connect(void)
{
	start();
	fx_accept();
}

void
fx_up(void)
{
	start();
	fx_log_in();
}

/* --- a target that does not read */

void
stall(struct sclient *c, uint32_t itt)
{
	int small = 1;

	ck_assert(fx.small);
	ck_assert_uint_eq(fx.in_at, fx.in_len);
	fx.in_at = fx.in_len = 0;
	ck_assert_int_eq(setsockopt(conn_fd(pump_conn(fx.s->pump)),
	    SOL_SOCKET, SO_SNDBUF, &small, sizeof(small)), 0);
	accepted(c, command(WRITE_F, itt, STALL_LEN), STALL_LEN, itt);
}

void
nibble(void)
{
	uint64_t before = fx_stats().send_calls;
	ssize_t n;

	while (fx_stats().send_calls == before) {
		ck_assert_uint_lt(fx.in_len, sizeof(fx.in) / 2);
		n = recv(fx.peer, fx.in + fx.in_len, 2048, MSG_DONTWAIT);
		if (n > 0)
			fx.in_len += (size_t)n;
		ck_assert_int_eq(loop_turn(fx.worker->loop, 1), 0);
	}
	ck_assert_uint_gt(pump_unsent(fx.s->pump), 0);
}

void
unstall(uint32_t itt)
{
	uint32_t i;

	wire(ISCSI_OP_SCSI_CMD);
	ck_assert_uint_eq(fx.got.len, STALL_LEN);
	for (i = 0; i < STALL_LEN; i++)
		ck_assert_uint_eq(fx.got.data[i], pattern(itt, i));
}
