/* SPDX-License-Identifier: ISC */
/*
 * The read pump: receives into slabs, feeds them to the parser, hands each
 * complete PDU to the owner.  Data segments stay where they were received.
 */
#include "config.h"

#include <errno.h>
#include <string.h>

#include "daemon/conn.h"
#include "daemon/pool.h"
#include "daemon/pump_internal.h"
#include "daemon/worker.h"

/* What one turn reads, so that other connections have their turn. */
#define RX_BUDGET_BYTES	(256u * 1024)
#define RX_BUDGET_PDUS	64

/* A slab with less room than this is not filled further. */
#define RX_MIN_ROOM	4096u

/* What is left of the budget. */
struct budget {
	size_t		bytes;
	unsigned	pdus;
};

static uint32_t
room(const struct slab *slab)
{
	return slab->size - slab->used;
}

/* Give the first `n` slabs back. */
static void
drop_slabs(struct pump_rx *rx, uint32_t n)
{
	uint32_t i;

	for (i = 0; i < n; i++)
		slab_unref(rx->slab[i]);
	rx->nslabs -= n;
	memmove(rx->slab, rx->slab + n, rx->nslabs * sizeof(rx->slab[0]));
}

void
pump_rx_deinit(struct pump *p)
{
	loop_unpost(p->worker->loop, &p->rx.job);
	slices_clear(p->worker->pool, &p->rx.data);
	slices_clear(p->worker->pool, &p->rx.unread);
	drop_slabs(&p->rx, p->rx.nslabs);
	p->rx.at = p->rx.off = 0;
}

/* Of slabs that are parsed only the last may have room. */
static void
keep_last(struct pump_rx *rx)
{
	if (rx->nslabs > 1)
		drop_slabs(rx, rx->nslabs - 1);
	rx->at = 0;
}

/*
 * Make room to receive into, at least RX_MIN_ROOM.  Everything is parsed.
 * Returns 0 or -ENOMEM.
 */
static int
make_room(struct pump *p)
{
	struct pump_rx *rx = &p->rx;
	uint32_t wanted = rx->wide ? RX_SLABS : 1;
	struct slab *slab;

	keep_last(rx);
	if (rx->nslabs > 0) {
		slab = rx->slab[0];
		if (slab->refs == 1)
			slab->used = rx->off = 0;
		if (room(slab) < RX_MIN_ROOM)
			drop_slabs(rx, 1);
	}
	if (rx->nslabs == 0)
		rx->off = 0;
	while (rx->nslabs < wanted) {
		slab = pool_get(p->worker->pool, POOL_MEDIUM);
		if (slab == NULL)
			return rx->nslabs > 0 ? 0 : -ENOMEM;
		rx->slab[rx->nslabs++] = slab;
	}
	return 0;
}

/* Account for `n` bytes received, drop the slabs that got none. */
static void
filled(struct pump_rx *rx, size_t n)
{
	uint32_t i, part;

	for (i = 0; i < rx->nslabs && n > 0; i++) {
		part = room(rx->slab[i]);
		if (part > n)
			part = (uint32_t)n;
		rx->slab[i]->used += part;
		n -= part;
	}
	while (rx->nslabs > 0 && rx->slab[rx->nslabs - 1]->used == 0)
		slab_unref(rx->slab[--rx->nslabs]);
}

/*
 * Nothing is left to do until more arrives: keep a slab only if a part of an
 * incomplete PDU is in it, so that many idle connections cost no memory and
 * yet a PDU that arrives in dribbles fills few slabs.
 */
static void
rest(struct pump *p)
{
	struct pump_rx *rx = &p->rx;

	rx->wide = false;
	keep_last(rx);
	if (rx->nslabs == 0 || rx->data.count == 0) {
		drop_slabs(rx, rx->nslabs);
		rx->off = 0;
	}
}

static void
closed(struct pump *p, int error)
{
	bool inside = !pdu_parser_at_boundary(&p->parser);

	if (error != 0)
		pump_down(p, error, "read: %s", strerror(error));
	else if (inside)
		pump_down(p, ECONNRESET,
		    "closed by the target in the middle of a PDU");
	else
		pump_down(p, ECONNRESET, "closed by the target");
}

/*
 * A write failed: what the target sent before is read first, for it may tell
 * why, and what it answered is answered.
 */
static void
writing_failed(struct pump *p)
{
	pump_down(p, p->tx.error, "write: %s", strerror(p->tx.error));
}

/* True if more should be read in this turn. */
static bool
receive(struct pump *p, struct budget *left)
{
	struct pump_rx *rx = &p->rx;
	struct iovec iov[RX_SLABS];
	size_t total = 0, n;
	uint32_t i;
	int error;

	if (make_room(p) != 0) {
		pump_down(p, ENOMEM, "read: %s", strerror(ENOMEM));
		return false;
	}
	for (i = 0; i < rx->nslabs; i++) {
		iov[i].iov_base = rx->slab[i]->data + rx->slab[i]->used;
		iov[i].iov_len = room(rx->slab[i]);
		total += iov[i].iov_len;
	}
	p->stats.recv_calls++;
	switch (conn_recv(p->conn, iov, (int)rx->nslabs, &n, &error)) {
	case CONN_PROGRESS:
		filled(rx, n);
		left->bytes -= n < left->bytes ? n : left->bytes;
		rx->wide = n == total;
		return true;
	case CONN_WOULD_BLOCK:
		filled(rx, 0);
		rest(p);
		if (p->tx.error != 0)
			writing_failed(p);
		return false;
	case CONN_CLOSED:
		closed(p, error);
		return false;
	}
	return false;
}

static void
bad_stream(struct pump *p)
{
	const uint8_t *bhs = p->parser.bhs;
	const char *name = iscsi_opcode_name(iscsi_opcode(bhs));
	enum pdu_error error = pdu_parser_error(&p->parser);

	switch (error) {
	case PDU_E_DSL:
		pump_down(p, EPROTO, "%s: DataSegmentLength %u is above the "
		    "limit of %u", name, iscsi_dsl(bhs),
		    p->parser.framing.max_dsl);
		return;
	case PDU_E_OPCODE:
		pump_down(p, EPROTO, "opcode 0x%02x (%s) from a target",
		    iscsi_opcode(bhs), name);
		return;
	case PDU_E_HEADER_DIGEST:
		/* The header may say anything, so its opcode is not told. */
		pump_down(p, EBADMSG, "%s", pdu_error_name(error));
		return;
	case PDU_E_DATA_DIGEST:
		pump_down(p, EBADMSG, "%s: %s", name, pdu_error_name(error));
		return;
	case PDU_OK:
	case PDU_E_AHS:
		break;
	}
	pump_down(p, EPROTO, "%s: %s", name, pdu_error_name(error));
}

static void
deliver(struct pump *p)
{
	struct rxpdu pdu = {
		.bhs = p->parser.bhs,
		.ahs = p->parser.ahs,
		.ahs_len = iscsi_ahs_len(p->parser.bhs),
		.header_digest = pdu_parser_header_digest(&p->parser),
		.data_digest = pdu_parser_data_digest(&p->parser)
	};
	struct slices data;

	/* The owner may close the pump, and what it leaves is still dropped. */
	slices_init(&data);
	slices_move(&data, &p->rx.data);
	pdu.data = &data;
	p->stats.pdus_in++;
	pump_trace_received(p, &pdu);
	p->ops->on_pdu(p->arg, &pdu);
	slices_clear(p->worker->pool, &data);
}

/*
 * Feed the `len` bytes at `base`, which lie in `slab`, from `*off` on, even if
 * that is nothing: the parser may have an event in store.  False if parsing
 * must stop.
 */
static bool
parse_bytes(struct pump *p, struct slab *slab, const uint8_t *base,
    uint32_t len, uint32_t *off, struct budget *left)
{
	struct pump_rx *rx = &p->rx;
	struct pdu_event ev;

	while (left->pdus > 0) {
		*off += (uint32_t)pdu_parser_feed(&p->parser, base + *off,
		    len - *off, &ev);
		switch (ev.kind) {
		case PDU_EV_MORE:
			return true;
		case PDU_EV_HEADER:
			break;
		case PDU_EV_DATA:
			if (slices_add(p->worker->pool, &rx->data, slab,
			    ev.data, (uint32_t)ev.len) != 0) {
				pump_down(p, ENOMEM, "read: %s",
				    strerror(ENOMEM));
				return false;
			}
			break;
		case PDU_EV_END:
			left->pdus--;
			deliver(p);
			if (p->dead || rx->held)
				return false;
			break;
		case PDU_EV_ERROR:
			bad_stream(p);
			return false;
		}
	}
	return false;
}

/* True if all that pump_unread() brought is parsed. */
static bool
parse_unread(struct pump *p, struct budget *left)
{
	struct pump_rx *rx = &p->rx;
	struct slice *piece;

	while ((piece = STAILQ_FIRST(&rx->unread.list)) != NULL) {
		if (!parse_bytes(p, piece->slab, piece->ptr, piece->len,
		    &rx->unread_off, left))
			return false;
		slices_pop(p->worker->pool, &rx->unread);
		rx->unread_off = 0;
	}
	return true;
}

/* True if all that was received is parsed. */
static bool
parse(struct pump *p, struct budget *left)
{
	struct pump_rx *rx = &p->rx;
	struct slab *slab;

	if (!parse_unread(p, left))
		return false;
	while (rx->nslabs > 0) {
		slab = rx->slab[rx->at];
		if (!parse_bytes(p, slab, slab->data, slab->used, &rx->off,
		    left))
			return false;
		if (rx->at == rx->nslabs - 1)
			break;
		rx->at++;
		rx->off = 0;
	}
	return true;
}

/* Receive and parse within the budget of one turn. */
static void
run(void *arg)
{
	struct pump *p = arg;
	struct budget left = { RX_BUDGET_BYTES, RX_BUDGET_PDUS };

	if (p->dead)
		return;
	if (p->rx.held) {
		if (p->tx.error != 0)
			writing_failed(p);
		return;
	}
	while (parse(p, &left)) {
		if (left.bytes == 0)
			break;
		/* A recv that left room has emptied the socket. */
		if (left.bytes < RX_BUDGET_BYTES && !p->rx.wide &&
		    p->tx.error == 0) {
			rest(p);
			return;
		}
		if (!receive(p, &left))
			return;
	}
	if (!p->dead && !p->rx.held)
		loop_post(p->worker->loop, &p->rx.job);
}

void
pump_unread(struct pump *p, struct slices *bytes)
{
	slices_move(&p->rx.unread, bytes);
	if (p->up)
		loop_post(p->worker->loop, &p->rx.job);
}

static int
export_parser(struct pump *p, struct slices *out)
{
	struct pool *pool = p->worker->pool;
	struct pdu_pending pending;
	int error;

	pdu_parser_pending(&p->parser, &pending);
	error = slices_add_copy(pool, out, pending.head,
	    (uint32_t)pending.head_len);
	if (error != 0)
		return error;
	slices_move(out, &p->rx.data);
	return slices_add_copy(pool, out, pending.tail,
	    (uint32_t)pending.tail_len);
}

/*
 * All bytes that were received and not delivered in PDUs, in the order of the
 * stream.  Returns 0, or -ENOMEM with the pump as good as dead.
 */
int
pump_rx_export(struct pump *p, struct slices *out)
{
	struct pump_rx *rx = &p->rx;
	struct pool *pool = p->worker->pool;
	uint32_t off = rx->unread_off;
	struct slice *piece;
	int error = export_parser(p, out);

	STAILQ_FOREACH(piece, &rx->unread.list, link) {
		if (error == 0)
			error = slices_add(pool, out, piece->slab,
			    piece->ptr + off, piece->len - off);
		off = 0;
	}
	off = rx->off;
	for (uint32_t i = rx->at; i < rx->nslabs && error == 0; i++) {
		error = slices_add(pool, out, rx->slab[i],
		    rx->slab[i]->data + off, rx->slab[i]->used - off);
		off = 0;
	}
	return error;
}

void
pump_rx_init(struct pump *p)
{
	slices_init(&p->rx.data);
	slices_init(&p->rx.unread);
	loop_job_init(&p->rx.job, run, p);
}
