/* SPDX-License-Identifier: ISC */
/*
 * A pump on one end of a stream socket, and on the other the test as its
 * target: both in one loop, without threads.  The fixture records what the
 * pump reports; teardown checks that all memory came back.
 */
#ifndef ISCSIMUX_TESTS_PUMP_FIXTURE_H
#define ISCSIMUX_TESTS_PUMP_FIXTURE_H

#include <sys/socket.h>

#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "daemon/conf.h"
#include "daemon/conn.h"
#include "daemon/loop.h"
#include "daemon/pump.h"
#include "daemon/worker.h"
#include "proto/crc32c.h"
#include "proto/pdu.h"
#include "tests/unit/unit.h"

/* Longer than libcheck lets a test run, in milliseconds. */
#define FOREVER		60000
#define MAX_PDUS	512

/* Where the test closes the pump. */
enum moment {
	M_NEVER,
	M_CONNECTED,
	M_PDU,
	M_NEXT,
	M_RESTAMP,
	M_WIRE,
	M_SENT,
	M_DOWN
};

/* A PDU as one of the two ends received it. */
struct got {
	uint8_t		bhs[ISCSI_BHS_LEN];
	uint8_t		ahs[ISCSI_AHS_MAX];
	uint32_t	ahs_len;
	uint32_t	len;
	uint32_t	crc;
	uint64_t	turn;
};

struct fixture {
	struct worker		*worker;
	struct pump		*pump;
	int			 peer;
	enum moment		 close_at;
	bool			 keep_data;
	struct slices		 kept;
	void			(*on_pdu)(struct rxpdu *);
	struct got		 got[MAX_PDUS];
	unsigned		 ngot;
	unsigned		 nconnected;
	unsigned		 ndown;
	int			 error;
	char			 reason[512];

	/* To be written, and what happened to each (index: its ITT). */
	struct txpdu_list	 queue;
	unsigned		 nqueued;
	unsigned		 nasked;
	char			 life[MAX_PDUS][8];
	bool			 any_order;	/* some were dropped */
	unsigned		 nrestamped;
	unsigned		 nwire;
	unsigned		 nsent;
	unsigned		 nreleased;
	uint32_t		 stamp;

	/* What arrived at the other end. */
	struct pdu_parser	 parser;
	struct got		 seen[MAX_PDUS];
	unsigned		 nseen;
};

/* No client lives here: limits of zero are as good as any. */
static const struct config no_config;
static struct fixture fx;

#define UNTIL(cond) do {						\
	while (!(cond))							\
		ck_assert_int_eq(loop_turn(fx.worker->loop, FOREVER), 0);\
} while (0)

static inline void
close_if(enum moment moment)
{
	if (fx.close_at != moment)
		return;
	pump_close(fx.pump);
	fx.pump = NULL;
}

static void
fx_connected(void *arg)
{
	ck_assert_ptr_eq(arg, &fx);
	ck_assert_uint_eq(fx.nasked, 0);
	fx.nconnected++;
	close_if(M_CONNECTED);
}

static uint32_t
slices_crc(const struct slices *s)
{
	const struct slice *slice;
	uint32_t crc = CRC32C_INIT;

	STAILQ_FOREACH(slice, &s->list, link)
		crc = crc32c_update(crc, slice->ptr, slice->len);
	return crc32c_final(crc);
}

static void
fx_pdu(void *arg, struct rxpdu *pdu)
{
	struct got *got = &fx.got[fx.ngot++];

	ck_assert_ptr_eq(arg, &fx);
	ck_assert_uint_lt(fx.ngot, MAX_PDUS);
	memcpy(got->bhs, pdu->bhs, ISCSI_BHS_LEN);
	memcpy(got->ahs, pdu->ahs, pdu->ahs_len);
	got->ahs_len = pdu->ahs_len;
	got->len = pdu->data->len;
	got->crc = slices_crc(pdu->data);
	got->turn = loop_turns(fx.worker->loop);
	ck_assert_uint_eq(got->len, iscsi_dsl(got->bhs));
	if (fx.on_pdu != NULL)
		fx.on_pdu(pdu);
	if (fx.keep_data)
		slices_move(&fx.kept, pdu->data);
	close_if(M_PDU);
	/* All of it is still ours, closed or not. */
	memset(pdu->bhs, 0xee, ISCSI_BHS_LEN);
	slices_clear(fx.worker->pool, pdu->data);
}

static struct txpdu *
fx_next(void *arg)
{
	struct txpdu *pdu = STAILQ_FIRST(&fx.queue);

	ck_assert_ptr_eq(arg, &fx);
	fx.nasked++;
	if (pdu == NULL)
		return NULL;
	STAILQ_REMOVE_HEAD(&fx.queue, link);
	put_be32(pdu->bhs + ISCSI_OFF_EXPSTATSN, ++fx.stamp);
	close_if(M_NEXT);
	return pdu;
}

/* Add a letter to the life of a PDU, once if it is the same again. */
static inline void
live(const struct txpdu *pdu, char c)
{
	char *life = fx.life[iscsi_itt(pdu->bhs)];
	size_t len = strlen(life);

	if (len > 0 && life[len - 1] == c && c == 'r')
		return;
	ck_assert_uint_lt(len, sizeof(fx.life[0]) - 1);
	life[len] = c;
}

static void
fx_restamp(void *arg, struct txpdu *pdu)
{
	ck_assert_ptr_eq(arg, &fx);
	ck_assert_uint_eq(pdu->sent, 0);
	put_be32(pdu->bhs + ISCSI_OFF_EXPSTATSN, ++fx.stamp);
	fx.nrestamped++;
	live(pdu, 'r');
	close_if(M_RESTAMP);
}

static void
fx_wire(void *arg, struct txpdu *pdu)
{
	ck_assert_ptr_eq(arg, &fx);
	ck_assert_uint_gt(pdu->sent, 0);
	live(pdu, 'w');
	if (!fx.any_order)
		ck_assert_uint_eq(fx.nwire, iscsi_itt(pdu->bhs));
	fx.nwire++;
	close_if(M_WIRE);
	/* Still there, closed or not. */
	ck_assert_uint_gt(pdu->sent, 0);
}

static void
fx_sent(void *arg, struct txpdu *pdu)
{
	ck_assert_ptr_eq(arg, &fx);
	ck_assert_uint_eq(pdu->sent, pdu->wire_len);
	live(pdu, 's');
	if (!fx.any_order)
		ck_assert_uint_eq(fx.nsent, iscsi_itt(pdu->bhs));
	fx.nsent++;
	close_if(M_SENT);
	ck_assert_uint_eq(pdu->sent, pdu->wire_len);
}

static void
fx_down(void *arg, int error, const char *reason)
{
	ck_assert_ptr_eq(arg, &fx);
	fx.ndown++;
	fx.error = error;
	snprintf(fx.reason, sizeof(fx.reason), "%s", reason);
	close_if(M_DOWN);
}

static const struct pump_ops fx_ops = {
	.on_connected = fx_connected,
	.on_pdu = fx_pdu,
	.next = fx_next,
	.restamp = fx_restamp,
	.on_wire = fx_wire,
	.on_sent = fx_sent,
	.on_down = fx_down
};

static const struct pdu_framing plain;

static void
fx_setup(void)
{
	memset(&fx, 0, sizeof(fx));
	fx.peer = -1;
	STAILQ_INIT(&fx.queue);
	slices_init(&fx.kept);
	pdu_parser_init(&fx.parser, PDU_FROM_INITIATOR, &plain);
	fx.worker = worker_new(NULL, &no_config);
	ck_assert_ptr_nonnull(fx.worker);
}

static void
fx_teardown(void)
{
	struct txpdu *pdu;

	pump_close(fx.pump);
	pump_close(NULL);
	slices_clear(fx.worker->pool, &fx.kept);
	while ((pdu = STAILQ_FIRST(&fx.queue)) != NULL) {
		STAILQ_REMOVE_HEAD(&fx.queue, link);
		txpdu_free(fx.worker, pdu);
	}
	ck_assert_uint_eq(worker_free(fx.worker), 0);
	ck_assert_uint_eq(fx.nreleased, fx.nqueued);
	if (fx.peer != -1)
		close(fx.peer);
}

static inline void
fx_hang_up(void)
{
	close(fx.peer);
	fx.peer = -1;
}

/* A UNIX socket pair. */
static inline void
fx_pair(void)
{
	int sv[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0,
	    sv), 0);
	fx.peer = sv[1];
	fx.pump = pump_adopt(fx.worker, sv[0], &fx_ops, &fx);
	ck_assert_ptr_nonnull(fx.pump);
	ck_assert_uint_eq(fx.nconnected, 0);
}

/* A TCP connection through pump_dial(), with a small receive buffer. */
static inline void
fx_dial(void)
{
	struct sockaddr_in in = { .sin_family = AF_INET };
	socklen_t len = sizeof(in);
	int listener, small = 4096;

	in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	listener = socket(AF_INET, SOCK_STREAM, 0);
	ck_assert_int_eq(setsockopt(listener, SOL_SOCKET, SO_RCVBUF, &small,
	    sizeof(small)), 0);
	ck_assert_int_eq(bind(listener, (struct sockaddr *)&in, len), 0);
	ck_assert_int_eq(listen(listener, 1), 0);
	getsockname(listener, (struct sockaddr *)&in, &len);
	fx.pump = pump_dial(fx.worker, "127.0.0.1", ntohs(in.sin_port),
	    FOREVER, &fx_ops, &fx);
	ck_assert_ptr_nonnull(fx.pump);
	ck_assert_uint_eq(fx.nconnected + fx.ndown, 0);
	UNTIL(fx.nconnected + fx.ndown > 0);
	ck_assert_uint_eq(fx.nconnected, 1);
	fx.peer = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
	ck_assert_int_ne(fx.peer, -1);
	close(listener);
}

/* Write all of it as the target, with turns where it does not fit. */
static inline void
peer_write(const uint8_t *buf, size_t len, size_t chunk)
{
	ssize_t n;

	while (len > 0) {
		n = send(fx.peer, buf, len < chunk ? len : chunk,
		    MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n > 0) {
			buf += n;
			len -= (size_t)n;
		}
		ck_assert_int_eq(loop_turn(fx.worker->loop, 0), 0);
		if (fx.pump == NULL || fx.ndown > 0)
			return;
	}
}

/* Bytes with a pattern that depends on `seed`. */
static inline void
fill(uint8_t *buf, size_t len, uint32_t seed)
{
	size_t i;

	for (i = 0; i < len; i++)
		buf[i] = (uint8_t)((i + seed) * 2654435761u >> 13);
}

/*
 * Append one PDU of a target to `buf`: opcode, ITT, `len` bytes of data, which
 * are the pattern of the ITT.  Returns its length on the wire.
 */
static inline size_t
put_pdu(uint8_t *buf, size_t size, uint8_t opcode, uint32_t itt, uint32_t len,
    const struct pdu_framing *framing)
{
	uint8_t bhs[ISCSI_BHS_LEN] = { opcode, ISCSI_FLAG_FINAL };
	struct pdu_trailer trailer;
	struct iovec data = { malloc(len + 1), len };
	struct iovec iov[1 + PDU_IOV_OVERHEAD];
	size_t total, at = 0;
	int i, n;

	fill(data.iov_base, len, itt);
	iscsi_set_dsl(bhs, len);
	put_be32(bhs + ISCSI_OFF_ITT, itt);
	n = pdu_serialize(bhs, NULL, &data, 1, framing, &trailer, iov,
	    sizeof(iov) / sizeof(iov[0]), &total);
	ck_assert_int_gt(n, 0);
	ck_assert_uint_le(total, size);
	for (i = 0; i < n; i++) {
		memcpy(buf + at, iov[i].iov_base, iov[i].iov_len);
		at += iov[i].iov_len;
	}
	free(data.iov_base);
	return total;
}

/* Check a PDU made by put_pdu() or queue_pdu(). */
static inline void
expect_pdu(const struct got *got, uint8_t opcode, uint32_t itt, uint32_t len)
{
	uint8_t *data = malloc(len + 1);

	fill(data, len, itt);
	ck_assert_uint_eq(iscsi_opcode(got->bhs), opcode);
	ck_assert_uint_eq(iscsi_itt(got->bhs), itt);
	ck_assert_uint_eq(got->len, len);
	ck_assert_uint_eq(got->crc, crc32c(data, len));
	free(data);
}

static void
count_release(struct txpdu *pdu, void *arg)
{
	(void)pdu;
	ck_assert_ptr_eq(arg, &fx);
	fx.nreleased++;
}

/*
 * Queue one NOP-Out with `len` bytes of data in pieces of `piece` bytes; its
 * ITT is its number.
 */
static inline struct txpdu *
queue_pdu(uint32_t len, uint32_t piece)
{
	struct txpdu *pdu = txpdu_new(fx.worker);
	uint8_t *data = malloc(len + 1);
	uint32_t at, part;

	ck_assert_uint_lt(fx.nqueued, MAX_PDUS);
	pdu->bhs[0] = ISCSI_OP_NOP_OUT;
	pdu->bhs[1] = ISCSI_FLAG_FINAL;
	put_be32(pdu->bhs + ISCSI_OFF_ITT, fx.nqueued);
	iscsi_set_dsl(pdu->bhs, len);
	fill(data, len, fx.nqueued);
	for (at = 0; at < len; at += part) {
		part = len - at < piece ? len - at : piece;
		ck_assert_int_eq(slices_add_copy(fx.worker->pool, &pdu->data,
		    data + at, part), 0);
	}
	free(data);
	pdu->release = count_release;
	pdu->release_arg = &fx;
	fx.nqueued++;
	STAILQ_INSERT_TAIL(&fx.queue, pdu, link);
	return pdu;
}

/* Read what has arrived at the target, at most `max` bytes. */
static inline void
peer_read(size_t max)
{
	static uint8_t buf[65536];
	struct got *got = &fx.seen[fx.nseen];
	struct pdu_event ev;
	size_t at = 0;
	ssize_t n;

	n = recv(fx.peer, buf, max < sizeof(buf) ? max : sizeof(buf), 0);
	if (n <= 0)
		return;
	do {
		at += pdu_parser_feed(&fx.parser, buf + at, (size_t)n - at,
		    &ev);
		ck_assert_int_ne(ev.kind, PDU_EV_ERROR);
		switch (ev.kind) {
		case PDU_EV_HEADER:
			memcpy(got->bhs, fx.parser.bhs, ISCSI_BHS_LEN);
			got->ahs_len = iscsi_ahs_len(got->bhs);
			memcpy(got->ahs, fx.parser.ahs, got->ahs_len);
			got->len = 0;
			got->crc = CRC32C_INIT;
			break;
		case PDU_EV_DATA:
			got->len += (uint32_t)ev.len;
			got->crc = crc32c_update(got->crc, ev.data, ev.len);
			break;
		case PDU_EV_END:
			got->crc = crc32c_final(got->crc);
			ck_assert_uint_lt(++fx.nseen, MAX_PDUS);
			got = &fx.seen[fx.nseen];
			break;
		case PDU_EV_MORE:
		case PDU_EV_ERROR:
			break;
		}
	} while (ev.kind != PDU_EV_MORE);
}

/* Turn and read until the target has `n` PDUs. */
static inline void
peer_read_pdus(unsigned n, size_t max)
{
	while (fx.nseen < n) {
		ck_assert_int_eq(loop_turn(fx.worker->loop, 0), 0);
		ck_assert_str_eq(fx.reason, "");
		peer_read(max);
	}
}

#endif
