/* SPDX-License-Identifier: ISC */
/*
 * The scripted target of the tests of raw connections; see raw_fixture.h.
 */
#include "config.h"

#include <sys/socket.h>

#include <errno.h>
#include <stdlib.h>

#include "tests/unit/raw_fixture.h"

/* --- the target reads */

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
			ck_abort_msg("the connection sent %s",
			    pdu_error_name(pdu_parser_error(&fx.parser)));
		}
	}
}

static void
receive(void)
{
	ssize_t n = recv(fx.peer, fx.in, sizeof(fx.in), MSG_DONTWAIT);

	ck_assert(n > 0 || (n == -1 && errno == EAGAIN));
	fx.in_at = 0;
	fx.in_len = n > 0 ? (size_t)n : 0;
}

const struct got *
wire(uint8_t opcode)
{
	while (!parse()) {
		ck_assert_int_eq(loop_turn(fx.worker->loop, 1), 0);
		receive();
	}
	ck_assert_str_eq(iscsi_opcode_name(iscsi_opcode(fx.got.bhs)),
	    iscsi_opcode_name(opcode));
	return &fx.got;
}

void
wire_quiet(void)
{
	turns(4);
	ck_assert_uint_eq(fx.in_at, fx.in_len);
	receive();
	ck_assert_uint_eq(fx.in_len, 0);
}

/* --- the target speaks */

uint8_t *
from_target(uint8_t opcode, uint8_t flags, uint32_t itt)
{
	static uint8_t bhs[ISCSI_BHS_LEN];

	memset(bhs, 0, sizeof(bhs));
	bhs[ISCSI_OFF_OPCODE] = opcode;
	bhs[ISCSI_OFF_FLAGS] = flags;
	put_be32(bhs + ISCSI_OFF_ITT, itt);
	put_be32(bhs + ISCSI_OFF_TTT, RSV);
	put_be32(bhs + ISCSI_OFF_STATSN, fx.statsn);
	put_be32(bhs + ISCSI_OFF_EXPCMDSN, fx.expcmdsn);
	put_be32(bhs + ISCSI_OFF_MAXCMDSN, fx.expcmdsn + 63);
	return bhs;
}

void
say_bytes(const void *bytes, size_t len)
{
	const uint8_t *p = bytes;
	ssize_t n;

	while (len > 0) {
		n = send(fx.peer, p, len, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n > 0) {
			p += n;
			len -= (size_t)n;
		} else {
			ck_assert_int_eq(errno, EAGAIN);
			ck_assert_int_eq(loop_turn(fx.worker->loop, 1), 0);
		}
	}
}

size_t
lay_out(uint8_t *buf, size_t size, const uint8_t *bhs, const void *data,
    uint32_t len, const struct pdu_framing *framing)
{
	struct iovec piece = { calloc(1, len + 1), len };
	struct iovec iov[1 + PDU_IOV_OVERHEAD];
	struct pdu_trailer trailer;
	uint8_t copy[ISCSI_BHS_LEN];
	size_t total, at = 0;
	int i, n;

	memcpy(copy, bhs, sizeof(copy));
	iscsi_set_dsl(copy, len);
	if (data != NULL)
		memcpy(piece.iov_base, data, len);
	n = pdu_serialize(copy, NULL, &piece, len > 0, framing, &trailer, iov,
	    sizeof(iov) / sizeof(iov[0]), &total);
	ck_assert_int_gt(n, 0);
	ck_assert_uint_le(total, size);
	for (i = 0; i < n; i++) {
		memcpy(buf + at, iov[i].iov_base, iov[i].iov_len);
		at += iov[i].iov_len;
	}
	free(piece.iov_base);
	return total;
}

void
say(const uint8_t *bhs, const void *data, uint32_t len)
{
	size_t size = len + 128, n;
	uint8_t *buf = malloc(size);

	n = lay_out(buf, size, bhs, data, len, &fx.framing);
	say_bytes(buf, n);
	free(buf);
}

void
say_reject(const uint8_t *rejected)
{
	uint8_t copy[ISCSI_BHS_LEN];

	memcpy(copy, rejected, sizeof(copy));
	say(from_target(ISCSI_OP_REJECT, ISCSI_FLAG_FINAL, RSV), copy,
	    sizeof(copy));
}

/* --- login */

static uint32_t
to_wire(const char *lines, char *text, size_t size)
{
	size_t i, len = strlen(lines);

	ck_assert_uint_lt(len, size);
	for (i = 0; i < len; i++)
		text[i] = lines[i] == '\n' ? '\0' : lines[i];
	return (uint32_t)len;
}

void
submit_login(uint8_t flags, uint32_t itt, const char *lines, uint64_t cookie)
{
	uint8_t *bhs = request(ISCSI_OP_LOGIN_REQ | ISCSI_IMMEDIATE, flags,
	    itt);
	char text[1024];
	uint32_t len = to_wire(lines, text, sizeof(text));

	put_be32(bhs + ISCSI_OFF_TTT, 0);
	ck_assert_int_eq(submit(bhs, text, len, cookie), SUBMIT_ACCEPTED);
}

void
say_login(uint8_t flags, uint32_t itt, const char *lines)
{
	uint8_t *bhs = from_target(ISCSI_OP_LOGIN_RSP, flags, itt);
	char text[1024];
	uint32_t len = to_wire(lines, text, sizeof(text));

	put_be32(bhs + ISCSI_OFF_TTT, 0);
	put_be16(bhs + ISCSI_OFF_TSIH, 7);
	say(bhs, text, len);
}
