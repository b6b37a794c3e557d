/* SPDX-License-Identifier: ISC */
/*
 * A trace with one stream whose reader is the test, on top of a pump and its
 * target (pump_fixture.h).
 */
#ifndef ISCSIMUX_TESTS_TRACE_FIXTURE_H
#define ISCSIMUX_TESTS_TRACE_FIXTURE_H

#include "daemon/log.h"
#include "daemon/trace.h"
#include "daemon/trace_priv.h"
#include "tests/unit/pcapng_reader.h"
#include "tests/unit/pump_fixture.h"

#define TAGS_NONE	16u	/* on a UNIX socket there are no ports */
#define OPT_COMMENT	1
#define SHB_USERAPPL	4
#define IDB_NAME	2
#define EPB_DROPCOUNT	4
#define ISB_IFRECV	4
#define ISB_IFDROP	5

static struct {
	struct trace		*t;
	int			 reader;
	uint64_t		 id;
	uint8_t			 buf[8u << 20];	/* of the stream */
	size_t			 len;
	size_t			 at;		/* not looked at yet */
	struct trace_client	 client;
	struct trace_conn	 tc;
} tr;

static inline int
try_start(const char *session, bool headers, int *reader)
{
	int sv[2], error;

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), 0);
	error = trace_start(tr.t, sv[0], session, headers, &tr.id);
	if (error != 0)
		close(sv[0]);
	*reader = sv[1];
	return error;
}

static inline void
start(const char *session, bool headers)
{
	ck_assert_int_eq(try_start(session, headers, &tr.reader), 0);
}

static inline void
setup(void)
{
	fx_setup();
	memset(&tr, 0, sizeof(tr));
	tr.t = fx.worker->trace;
	tr.reader = -1;
}

static inline void
teardown(void)
{
	fx_teardown();
	if (tr.reader != -1)
		close(tr.reader);
}

/* Read all that comes; true once the stream has ended. */
static inline bool
hear(void)
{
	unsigned idle = 0;
	ssize_t n;

	while (idle < 3) {
		ck_assert_int_eq(loop_turn(fx.worker->loop, 0), 0);
		n = recv(tr.reader, tr.buf + tr.len, sizeof(tr.buf) - tr.len,
		    MSG_DONTWAIT);
		if (n == 0)
			return true;
		if (n == -1)
			idle++;
		else
			tr.len += (size_t)n;
	}
	return false;
}

/* The next block, which must be there. */
static inline struct block
next_block(uint32_t type)
{
	struct block b = block_read(tr.buf, tr.len, &tr.at);

	ck_assert_uint_eq(b.type, type);
	return b;
}

/* The start of a stream with one connection. */
static inline void
expect_start(const char *name)
{
	struct block b;

	ck_assert(!hear());
	next_block(BLOCK_SHB);
	b = next_block(BLOCK_IDB);
	expect_text(&b, IDB_NAME, name);
}

/* Tell the trace of a PDU with the text as data in pieces of `piece`. */
static inline void
tell(bool sent, uint8_t opcode, uint8_t flags, const void *data, uint32_t len,
    uint32_t piece)
{
	uint8_t bhs[ISCSI_BHS_LEN] = { opcode, flags };
	struct trace_pdu pdu = { .conn = pump_conn(fx.pump), .sent = sent,
	    .bhs = bhs, .tail = (const uint8_t *)"\0\0\0", .client = tr.client,
	    .tail_len = iscsi_pad(len) };
	struct slices slices;
	struct slab *slab;

	slices_init(&slices);
	for (uint32_t at = 0; at < len; at += piece) {
		uint32_t part = len - at < piece ? len - at : piece;

		slab = pool_get(fx.worker->pool, part);
		memcpy(slab->data, (const uint8_t *)data + at, part);
		slices_add(fx.worker->pool, &slices, slab, slab->data, part);
		slab_unref(slab);
	}
	pdu.data = &slices;
	iscsi_set_dsl(bhs, len);
	put_be32(bhs + ISCSI_OFF_ITT, 0x01020304);
	put_be32(bhs + ISCSI_OFF_CMDSN, 77);
	if (trace_wants(tr.t, bhs))
		trace_pdu(tr.t, &tr.tc, &pdu);
	slices_clear(fx.worker->pool, &slices);
}

#endif
