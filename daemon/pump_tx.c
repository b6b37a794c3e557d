/* SPDX-License-Identifier: ISC */
/*
 * The write pump: asks the owner for PDUs, lays as many as make sense out for
 * one sendmsg, and keeps account of what the kernel took.
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/conn.h"
#include "daemon/pool.h"
#include "daemon/pump_internal.h"
#include "daemon/worker.h"

/* What one turn writes, so that other connections have their turn. */
#define TX_BUDGET_BYTES	(1024u * 1024)

/* A batch is complete when it has this much. */
#define TX_BATCH_BYTES	(256u * 1024)
#define TX_BATCH_PDUS	64
#define TX_BATCH_IOV	512

/* What the kernel takes at most in one call (UIO_MAXIOV). */
#define TX_IOV_MAX	1024

void
pump_tx_deinit(struct pump *p)
{
	struct txpdu_list list = STAILQ_HEAD_INITIALIZER(list);
	struct txpdu *pdu;

	loop_unpost(p->worker->loop, &p->tx.job);
	STAILQ_CONCAT(&list, &p->tx.list);
	p->tx.nlist = 0;
	p->tx.unsent = 0;
	while ((pdu = STAILQ_FIRST(&list)) != NULL) {
		STAILQ_REMOVE_HEAD(&list, link);
		txpdu_free(p->worker, pdu);
	}
	free(p->tx.iov);
	free(p->tx.data);
	p->tx.iov = p->tx.data = NULL;
	p->tx.niov = p->tx.iov_size = p->tx.data_size = 0;
}

static uint32_t
wire_len(const struct txpdu *pdu)
{
	uint32_t dsl = iscsi_dsl(pdu->bhs);
	uint32_t len = ISCSI_BHS_LEN + iscsi_ahs_len(pdu->bhs);

	if (pdu->framing.header_digest)
		len += CRC32C_SIZE;
	if (dsl > 0)
		len += dsl + iscsi_pad(dsl) +
		    (pdu->framing.data_digest ? CRC32C_SIZE : 0);
	return len;
}

/* Set a PDU's length, which may have changed since it was last set. */
static void
measure(struct pump *p, struct txpdu *pdu)
{
	p->tx.unsent -= pdu->wire_len;
	pdu->wire_len = wire_len(pdu);
	p->tx.unsent += pdu->wire_len;
}

void
pump_foreach_unsent(struct pump *p,
    void (*fn)(struct txpdu *pdu, void *arg), void *arg)
{
	struct txpdu *pdu;

	STAILQ_FOREACH(pdu, &p->tx.list, link) {
		if (pdu->sent > 0)
			continue;
		fn(pdu, arg);
		if (p->closed)
			return;
		measure(p, pdu);
	}
}

bool
pump_in_the_middle(const struct pump *p)
{
	const struct txpdu *first = STAILQ_FIRST(&p->tx.list);

	return first != NULL && first->sent > 0;
}

static void
remove_unsent(struct pump *p, struct txpdu *pdu)
{
	STAILQ_REMOVE(&p->tx.list, pdu, txpdu, link);
	p->tx.nlist--;
	p->tx.unsent -= pdu->wire_len;
}

void
pump_drop_unsent(struct pump *p, struct txpdu *pdu)
{
	remove_unsent(p, pdu);
	txpdu_free(p->worker, pdu);
}

struct txpdu *
pump_take_unsent(struct pump *p)
{
	struct txpdu *pdu;

	STAILQ_FOREACH(pdu, &p->tx.list, link) {
		if (pdu->sent == 0) {
			remove_unsent(p, pdu);
			return pdu;
		}
	}
	return NULL;
}

/* Have the PDUs stamped anew that an earlier try left untouched. */
static void
restamp(struct pump *p)
{
	struct txpdu *pdu;

	STAILQ_FOREACH(pdu, &p->tx.list, link) {
		if (pdu->sent > 0)
			continue;
		p->ops->restamp(p->arg, pdu);
		if (p->dead)
			return;
	}
}

/* Ask the owner for PDUs until the batch is complete. */
static void
refill(struct pump *p)
{
	struct txpdu *pdu;
	size_t iovs = 0;

	STAILQ_FOREACH(pdu, &p->tx.list, link)
		iovs += pdu->data.count + PDU_IOV_OVERHEAD;
	while (p->tx.nlist < TX_BATCH_PDUS && iovs < TX_BATCH_IOV &&
	    p->tx.unsent < TX_BATCH_BYTES) {
		pdu = p->ops->next(p->arg);
		if (p->dead) {
			txpdu_free(p->worker, pdu);
			return;
		}
		if (pdu == NULL)
			return;
		if (!pdu->framed)
			pdu->framing = p->tx.framing;
		pdu->wire_len = 0;
		pdu->sent = 0;
		measure(p, pdu);
		STAILQ_INSERT_TAIL(&p->tx.list, pdu, link);
		p->tx.nlist++;
		iovs += pdu->data.count + PDU_IOV_OVERHEAD;
	}
}

/* Make room for `n` iovecs in all.  Returns 0 or -ENOMEM. */
static int
grow(struct iovec **iov, size_t *size, size_t n)
{
	size_t wanted = *size == 0 ? TX_BATCH_IOV : *size;
	struct iovec *bigger;

	if (n <= *size)
		return 0;
	while (wanted < n)
		wanted *= 2;
	bigger = reallocarray(*iov, wanted, sizeof(**iov));
	if (bigger == NULL)
		return -ENOMEM;
	*iov = bigger;
	*size = wanted;
	return 0;
}

static int
lay_out_one(struct pump *p, struct txpdu *pdu)
{
	struct pump_tx *tx = &p->tx;
	const uint8_t *ahs = pdu->ahs.len > 0 ? pdu->ahs.ptr : NULL;
	size_t ndata = pdu->data.count, total;
	int n;

	if (pdu->ahs.len != iscsi_ahs_len(pdu->bhs))
		return -EINVAL;
	if (grow(&tx->data, &tx->data_size, ndata) != 0 ||
	    grow(&tx->iov, &tx->iov_size,
	    tx->niov + ndata + PDU_IOV_OVERHEAD) != 0)
		return -ENOMEM;
	ndata = slices_iov(&pdu->data, 0, tx->data, ndata);
	n = pdu_serialize(pdu->bhs, ahs, tx->data, ndata, &pdu->framing,
	    &pdu->trailer, tx->iov + tx->niov, tx->iov_size - tx->niov,
	    &total);
	if (n < 0)
		return n;
	if (pdu->own.header || pdu->own.data)
		pdu_put_own_digests(&pdu->own, pdu->bhs, &pdu->trailer);
	tx->niov += (size_t)n;
	measure(p, pdu);
	return total == pdu->wire_len ? 0 : -EINVAL;
}

/*
 * Lay out every PDU that is not laid out yet: all but the first, if that has
 * been written in part.
 */
static bool
lay_out(struct pump *p)
{
	struct txpdu *pdu;
	int error;

	STAILQ_FOREACH(pdu, &p->tx.list, link) {
		if (pdu->sent > 0)
			continue;
		error = lay_out_one(p, pdu);
		if (error != 0) {
			pump_down(p, -error, "cannot frame an outgoing %s: %s",
			    iscsi_opcode_name(iscsi_opcode(pdu->bhs)),
			    strerror(-error));
			return false;
		}
	}
	return true;
}

/*
 * Drop `n` written bytes from the iovecs, and then all but the `keep` bytes
 * that are left of a PDU written in part.
 */
static void
consume_iov(struct pump_tx *tx, size_t n, size_t keep)
{
	size_t first = 0, last;

	while (first < tx->niov && n >= tx->iov[first].iov_len)
		n -= tx->iov[first++].iov_len;
	if (n > 0) {
		tx->iov[first].iov_base = (uint8_t *)tx->iov[first].iov_base +
		    n;
		tx->iov[first].iov_len -= n;
	}
	for (last = first; keep > 0; last++)
		keep -= tx->iov[last].iov_len;
	tx->niov = last - first;
	memmove(tx->iov, tx->iov + first, tx->niov * sizeof(tx->iov[0]));
}

/* Tell the owner what became of a PDU; false if the pump is dead now. */
static bool
report(struct pump *p, struct txpdu *pdu, bool first)
{
	if (first)
		p->ops->on_wire(p->arg, pdu);
	if (p->dead || pdu->sent < pdu->wire_len)
		return !p->dead;
	p->stats.pdus_out++;
	p->ops->on_sent(p->arg, pdu);
	return !p->dead;
}

/*
 * The kernel took `n` bytes.  First all accounts are put right, then the
 * owner is told: it may look at them, or close the pump.
 */
static void
advance(struct pump *p, size_t n)
{
	struct txpdu_list taken = STAILQ_HEAD_INITIALIZER(taken);
	struct pump_tx *tx = &p->tx;
	struct txpdu *pdu;
	size_t left = n, part, keep = 0;
	bool first = STAILQ_FIRST(&tx->list)->sent == 0;

	tx->unsent -= n;
	while (left > 0) {
		pdu = STAILQ_FIRST(&tx->list);
		part = pdu->wire_len - pdu->sent;
		if (part > left) {
			keep = part - left;
			part = left;
		}
		pdu->sent += (uint32_t)part;
		if (pdu->sent == pdu->wire_len)
			pump_trace_sent(p, pdu);
		left -= part;
		STAILQ_REMOVE_HEAD(&tx->list, link);
		STAILQ_INSERT_TAIL(&taken, pdu, link);
		tx->nlist--;
	}
	consume_iov(tx, n, keep);
	while ((pdu = STAILQ_FIRST(&taken)) != NULL) {
		STAILQ_REMOVE_HEAD(&taken, link);
		if (!p->dead && report(p, pdu, first) &&
		    pdu->sent < pdu->wire_len) {
			STAILQ_INSERT_HEAD(&tx->list, pdu, link);
			tx->nlist++;
		} else
			txpdu_free(p->worker, pdu);
		first = true;
	}
}

/* Write once; true if the kernel took all that it was given. */
static bool
send_once(struct pump *p, size_t *budget)
{
	struct pump_tx *tx = &p->tx;
	size_t niov = tx->niov < TX_IOV_MAX ? tx->niov : TX_IOV_MAX;
	const struct txpdu *head;
	size_t given = 0, n, i;
	int error;

	for (i = 0; i < niov; i++)
		given += tx->iov[i].iov_len;
	p->stats.send_calls++;
	switch (conn_send(p->conn, tx->iov, (int)niov, &n, &error)) {
	case CONN_PROGRESS:
		*budget -= n < *budget ? n : *budget;
		advance(p, n);
		break;
	case CONN_WOULD_BLOCK:
		head = STAILQ_FIRST(&tx->list);
		consume_iov(tx, 0, head->sent > 0 ?
		    head->wire_len - head->sent : 0);
		break;
	case CONN_CLOSED:
		tx->error = error != 0 ? error : EPIPE;
		loop_post(p->worker->loop, &p->rx.job);
		return false;
	}
	if (p->dead || n == given)
		return !p->dead;
	tx->blocked = true;
	conn_want_write(p->conn, true);
	return false;
}

/* Ask the owner for PDUs and write within the budget of one turn. */
static void
run(void *arg)
{
	struct pump *p = arg;
	size_t budget = TX_BUDGET_BYTES;

	if (p->dead || !p->up || p->tx.blocked || p->tx.error != 0)
		return;
	while (budget > 0) {
		restamp(p);
		if (!p->dead)
			refill(p);
		if (p->dead || STAILQ_EMPTY(&p->tx.list))
			return;
		if (!lay_out(p) || !send_once(p, &budget))
			return;
	}
	loop_post(p->worker->loop, &p->tx.job);
}

void
pump_tx_init(struct pump *p)
{
	STAILQ_INIT(&p->tx.list);
	loop_job_init(&p->tx.job, run, p);
}
