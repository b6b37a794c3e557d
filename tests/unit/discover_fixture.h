/* SPDX-License-Identifier: ISC */
/*
 * A discovery session (daemon/discover.h) and a scripted target, in one
 * process and one loop.  The target reads and sends literal headers; its
 * numbers are kept by rules of its own.
 *
 * One test is one process, so the state is static.
 */
#ifndef ISCSIMUX_TESTS_DISCOVER_FIXTURE_H
#define ISCSIMUX_TESTS_DISCOVER_FIXTURE_H

#include <sys/socket.h>

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/chap.h"
#include "daemon/conf.h"
#include "daemon/discover.h"
#include "daemon/discover_found.h"
#include "daemon/log.h"
#include "daemon/loop.h"
#include "daemon/worker.h"
#include "proto/iscsi.h"
#include "proto/pdu.h"
#include "proto/text.h"
#include "tests/unit/unit.h"

#define RSV		ISCSI_TAG_NONE
#define PATIENCE	60000u	/* ms; no test waits so long but to fail */
#define FINAL		ISCSI_FLAG_FINAL

struct fixture {
	struct config		 config;
	struct worker		*w;
	struct log		*log;
	struct discover		*d;
	int			 listener;
	uint16_t		 port;
	int			 peer;
	struct pdu_parser	 parser;
	uint8_t			 bhs[ISCSI_BHS_LEN];	/* latest PDU read */
	char			 data[65536];
	size_t			 len;
	uint32_t		 statsn;

	/* What the owner was told. */
	unsigned		 told;
	char			 error[512];
	char			 portal[SENDTARGETS_PORTAL_SIZE];
	struct sendtargets_record records[8];
	size_t			 count;
	unsigned		 hops;
};

static struct fixture fx;

static inline void
on_done(void *arg, const struct discover_result *r)
{
	ck_assert_ptr_eq(arg, &fx);
	fx.told++;
	fx.d = NULL;
	fx.count = r->count;
	fx.hops = r->hops;
	if (r->error != NULL) {
		strlcpy(fx.error, r->error, sizeof(fx.error));
		ck_assert_uint_eq(r->count, 0);
	}
	strlcpy(fx.portal, r->portal, sizeof(fx.portal));
	for (size_t i = 0; i < r->count && i < 8; i++)
		fx.records[i] = r->records[i];
}

static const struct discover_ops ops = { .on_done = on_done };

static inline void
setup(void)
{
	static char initiator[] = "iqn.2026-01.org.example:host";
	struct sockaddr_in in = { .sin_family = AF_INET };
	socklen_t len = sizeof(in);

	memset(&fx, 0, sizeof(fx));
	fx.peer = -1;
	fx.config.initiator_name = initiator;
	fx.log = log_new(-1, LOG_LEVEL_INFO);
	fx.w = worker_new(fx.log, &fx.config);
	ck_assert_ptr_nonnull(fx.w);
	in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	fx.listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	ck_assert_int_eq(bind(fx.listener, (struct sockaddr *)&in, len), 0);
	ck_assert_int_eq(listen(fx.listener, 5), 0);
	getsockname(fx.listener, (struct sockaddr *)&in, &len);
	fx.port = ntohs(in.sin_port);
}

static inline void
turn(void)
{
	ck_assert_int_eq(loop_turn(fx.w->loop, 1), 0);
}

static inline void
teardown(void)
{
	discover_cancel(fx.d);
	turn();
	ck_assert_uint_eq(worker_free(fx.w), 0);
	log_free(fx.log);
	close(fx.listener);
	if (fx.peer != -1)
		close(fx.peer);
}

static inline void
start_for(uint32_t ms)
{
	struct discover_wanted wanted = { .host = "127.0.0.1",
	    .port = fx.port, .timeout_ms = ms };

	fx.d = discover_start(fx.w, &wanted, &ops, &fx);
	ck_assert_ptr_nonnull(fx.d);
}

/* The discovery connects, anew if it did before. */
static inline void
take_connection(void)
{
	const struct pdu_framing framing = { .max_dsl = 65536 };
	int yes = 1;

	if (fx.peer != -1)
		close(fx.peer);
	while ((fx.peer = accept4(fx.listener, NULL, NULL,
	    SOCK_NONBLOCK)) == -1) {
		ck_assert_int_eq(errno, EAGAIN);
		ck_assert_uint_eq(fx.told, 0);
		turn();
	}
	/* What is said in one turn arrives in one. */
	setsockopt(fx.peer, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
	pdu_parser_init(&fx.parser, PDU_FROM_INITIATOR, &framing);
	fx.statsn = 0xfffffffe;		/* wraps soon */
}

/* --- the target reads */

/* One byte at a time: nothing is read beyond a PDU.  False at the end. */
static inline bool
read_pdu(void)
{
	struct pdu_event ev = { .kind = PDU_EV_MORE };
	size_t used = 1;
	uint8_t byte;
	ssize_t n;

	fx.len = 0;
	while (ev.kind != PDU_EV_END) {
		if (used == 1) {
			n = recv(fx.peer, &byte, 1, MSG_DONTWAIT);
			if (n == 0 || (n == -1 && errno == ECONNRESET))
				return false;
			if (n == -1) {
				turn();
				continue;
			}
		}
		used = pdu_parser_feed(&fx.parser, &byte, 1, &ev);
		while (ev.kind != PDU_EV_MORE && ev.kind != PDU_EV_END) {
			ck_assert_int_ne(ev.kind, PDU_EV_ERROR);
			if (ev.kind == PDU_EV_DATA)
				fx.data[fx.len++] = (char)*ev.data;
			used += pdu_parser_feed(&fx.parser, &byte + used,
			    1 - used, &ev);
		}
		ck_assert_uint_eq(used, 1);
	}
	memcpy(fx.bhs, fx.parser.bhs, sizeof(fx.bhs));
	return true;
}

static inline void
wire(uint8_t opcode)
{
	ck_assert_msg(read_pdu(), "it hung up: %s", fx.error);
	ck_assert_str_eq(iscsi_opcode_name(iscsi_opcode(fx.bhs)),
	    iscsi_opcode_name(opcode));
	ck_assert_uint_eq(get_be32(fx.bhs + ISCSI_OFF_CMDSN), 1);
}

/* True if the PDU just read has this pair. */
static inline bool
asked(const char *pair)
{
	for (size_t at = 0; at < fx.len; at += strlen(fx.data + at) + 1)
		if (strcmp(fx.data + at, pair) == 0)
			return true;
	return false;
}

/* --- the target speaks */

/* Send it; lines of `text` stand for pairs: each newline is a NUL. */
static inline void
say(const uint8_t *bhs, const char *text, size_t len)
{
	static uint8_t out[ISCSI_BHS_LEN + 65536 + 4];
	size_t i, total = ISCSI_BHS_LEN + len + iscsi_pad((uint32_t)len);
	size_t sent = 0;
	ssize_t n;

	memset(out, 0, total);
	memcpy(out, bhs, ISCSI_BHS_LEN);
	iscsi_set_dsl(out, (uint32_t)len);
	for (i = 0; i < len; i++)
		out[ISCSI_BHS_LEN + i] = text[i] == '\n' ? 0 : (uint8_t)text[i];
	while (sent < total) {
		n = send(fx.peer, out + sent, total - sent,
		    MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n > 0)
			sent += (size_t)n;
		else
			turn();
	}
}

static inline uint8_t *
header(uint8_t opcode, uint8_t flags, uint32_t itt)
{
	static uint8_t bhs[ISCSI_BHS_LEN];

	memset(bhs, 0, sizeof(bhs));
	bhs[ISCSI_OFF_OPCODE] = opcode;
	bhs[ISCSI_OFF_FLAGS] = flags;
	put_be32(bhs + ISCSI_OFF_ITT, itt);
	put_be32(bhs + ISCSI_OFF_STATSN, fx.statsn);
	put_be32(bhs + ISCSI_OFF_EXPCMDSN, 1);
	put_be32(bhs + ISCSI_OFF_MAXCMDSN, 0);	/* the window is closed */
	return bhs;
}

/* Answer a Login Request as it asks. */
static inline void
answer_login(const char *lines)
{
	uint8_t *bhs = header(ISCSI_OP_LOGIN_RSP, fx.bhs[ISCSI_OFF_FLAGS],
	    iscsi_itt(fx.bhs));

	memcpy(bhs + ISCSI_OFF_ISID, fx.bhs + ISCSI_OFF_ISID, 6);
	if ((bhs[ISCSI_OFF_FLAGS] & 3) == ISCSI_STAGE_FULL_FEATURE)
		put_be16(bhs + ISCSI_OFF_TSIH, 7);
	fx.statsn++;
	say(bhs, lines, strlen(lines));
}

/* Take the connection and let it log in. */
static inline void
log_in(void)
{
	take_connection();
	wire(ISCSI_OP_LOGIN_REQ);
	answer_login("TargetPortalGroupTag=1\nAuthMethod=None\n");
	wire(ISCSI_OP_LOGIN_REQ);
	answer_login("HeaderDigest=None\nDataDigest=None\n");
	wire(ISCSI_OP_TEXT_REQ);
}

static inline void
answer_text(uint8_t flags, uint32_t ttt, const char *lines)
{
	uint8_t *bhs = header(ISCSI_OP_TEXT_RSP, flags, iscsi_itt(fx.bhs));

	put_be32(bhs + ISCSI_OFF_TTT, ttt);
	put_be64(bhs + ISCSI_OFF_LUN, UINT64_C(0x0102030405060708));
	fx.statsn++;
	say(bhs, lines, strlen(lines));
}

static inline void
answer_logout(uint8_t response)
{
	uint8_t *bhs = header(ISCSI_OP_LOGOUT_RSP, FINAL, iscsi_itt(fx.bhs));

	bhs[ISCSI_OFF_RESPONSE] = response;
	fx.statsn++;
	say(bhs, "", 0);
}

/* --- the owner */

static inline void
until_told(void)
{
	while (fx.told == 0)
		turn();
	turn();
	ck_assert_uint_eq(fx.told, 1);
}

static inline void
found(size_t i, const char *target, const char *portal, int tpgt)
{
	char buf[SENDTARGETS_PORTAL_SIZE];

	ck_assert_uint_lt(i, fx.count);
	ck_assert_str_eq(fx.records[i].target, target);
	sendtargets_portal(&fx.records[i], buf);
	ck_assert_str_eq(buf, portal);
	ck_assert_int_eq(fx.records[i].have_tpgt ? fx.records[i].tpgt : -1,
	    tpgt);
}

static inline void
failed(const char *words)
{
	until_told();
	ck_assert_msg(strstr(fx.error, words) != NULL,
	    "\"%s\" is not in \"%s\"", words, fx.error);
}

#endif
