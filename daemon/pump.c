/* SPDX-License-Identifier: ISC */
/*
 * A pump's life: dial, connect, framing, close; and the PDUs it writes.  It
 * calls conn.c, pump_rx.c and pump_tx.c, and never looks at what a PDU means.
 */
#include "config.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/conn.h"
#include "daemon/loop.h"
#include "daemon/pump.h"
#include "daemon/pump_internal.h"
#include "daemon/trim.h"
#include "daemon/quota.h"
#include "daemon/worker.h"

/* Free PDUs that a worker keeps at most. */
#define TXPDU_KEEP_MAX	4096

/* Room for what on_down() is told. */
#define PUMP_REASON_MAX	512

struct txpdu *
txpdu_new(struct worker *w)
{
	struct txpdu *pdu = STAILQ_FIRST(&w->free_txpdus);

	if (pdu != NULL) {
		STAILQ_REMOVE_HEAD(&w->free_txpdus, link);
		w->nfree_txpdus--;
		if (w->idle_txpdus > w->nfree_txpdus)
			w->idle_txpdus = w->nfree_txpdus;
	} else {
		pdu = malloc(sizeof(*pdu));
		if (pdu == NULL)
			return NULL;
	}
	memset(pdu, 0, sizeof(*pdu));
	slices_init(&pdu->data);
	w->txpdus_out++;
	return pdu;
}

static void
give_back(struct txpdu *pdu, void *arg)
{
	struct quota *q = arg;

	quota_give(q, &(struct quota_amount){ .out = pdu->charge });
	quota_unref(q);
}

void
txpdu_charge(struct txpdu *pdu, struct quota *q, uint64_t bytes)
{
	pdu->charge = bytes;
	pdu->release = give_back;
	pdu->release_arg = quota_ref(q);
}

void
txpdu_release(struct txpdu *pdu)
{
	if (pdu->release != NULL)
		pdu->release(pdu, pdu->release_arg);
	pdu->release = NULL;
}

void
txpdu_free(struct worker *w, struct txpdu *pdu)
{
	if (pdu == NULL)
		return;
	txpdu_release(pdu);
	slices_clear(w->pool, &pdu->data);
	if (pdu->ahs.len > 0)
		slab_unref(pdu->ahs.slab);
	w->txpdus_out--;
	if (w->nfree_txpdus >= TXPDU_KEEP_MAX) {
		free(pdu);
		return;
	}
	w->nfree_txpdus++;
	STAILQ_INSERT_HEAD(&w->free_txpdus, pdu, link);
	trim_want(w->trim);
}

static void
drop_txpdus(struct worker *w, uint32_t n)
{
	struct txpdu *pdu;

	for (; n > 0; n--) {
		pdu = STAILQ_FIRST(&w->free_txpdus);
		STAILQ_REMOVE_HEAD(&w->free_txpdus, link);
		w->nfree_txpdus--;
		free(pdu);
	}
}

bool
txpdu_trim(struct worker *w)
{
	drop_txpdus(w, (w->idle_txpdus + 1) / 2);
	w->idle_txpdus = w->nfree_txpdus;
	return w->nfree_txpdus > 0;
}

void
txpdu_drain(struct worker *w)
{
	drop_txpdus(w, w->nfree_txpdus);
	w->idle_txpdus = 0;
}

void
pump_down(struct pump *p, int error, const char *fmt, ...)
{
	char reason[PUMP_REASON_MAX];
	va_list ap;

	if (p->dead)
		return;
	p->dead = true;
	if (p->conn != NULL) {
		conn_want_read(p->conn, false);
		conn_want_write(p->conn, false);
	}
	va_start(ap, fmt);
	vsnprintf(reason, sizeof(reason), fmt, ap);
	va_end(ap);
	p->ops->on_down(p->arg, error, reason);
}

static bool
permits(void *arg, const struct sockaddr *sa, socklen_t len)
{
	struct pump *p = arg;

	return p->ops->permits == NULL || p->ops->permits(p->arg, sa, len);
}

static void
on_connected(void *arg)
{
	struct pump *p = arg;

	p->up = true;
	p->ops->on_connected(p->arg);
	if (p->dead)
		return;
	pump_kick(p);
	if (p->rx.unread.count > 0)
		loop_post(p->worker->loop, &p->rx.job);
}

/*
 * Reading and writing are jobs: what one turn leaves over is posted by the
 * job itself, and so comes in the next turn, after everybody else.
 */
static void
on_readable(void *arg)
{
	struct pump *p = arg;

	loop_post(p->worker->loop, &p->rx.job);
}

static void
on_writable(void *arg)
{
	struct pump *p = arg;

	p->tx.blocked = false;
	conn_want_write(p->conn, false);
	loop_post(p->worker->loop, &p->tx.job);
}

static void
on_failed(void *arg, int error, const char *what)
{
	pump_down(arg, error, "%s", what);
}

static const struct conn_ops conn_ops = {
	.permits = permits,
	.on_connected = on_connected,
	.on_readable = on_readable,
	.on_writable = on_writable,
	.on_failed = on_failed
};

static void
reap(void *arg)
{
	free(arg);
}

static struct pump *
pump_new(struct worker *w, const struct pump_ops *ops, void *arg)
{
	const struct pdu_framing in = { .max_dsl = ISCSI_LOGIN_DSL_MAX };
	struct pump *p;

	p = calloc(1, sizeof(*p));
	if (p == NULL)
		return NULL;
	p->worker = w;
	p->ops = ops;
	p->arg = arg;
	pdu_parser_init(&p->parser, PDU_FROM_TARGET, &in);
	pump_rx_init(p);
	pump_tx_init(p);
	loop_job_init(&p->reap, reap, p);
	return p;
}

/* The pump with its connection, or without one none at all. */
static struct pump *
pump_with(struct pump *p, struct conn *conn)
{
	int error = errno;

	if (conn == NULL) {
		free(p);
		errno = error;
		return NULL;
	}
	p->conn = conn;
	return p;
}

struct pump *
pump_dial(struct worker *w, const char *host, uint16_t port,
    uint32_t timeout_ms, const struct pump_ops *ops, void *arg)
{
	struct pump *p = pump_new(w, ops, arg);

	if (p == NULL)
		return NULL;
	return pump_with(p, conn_dial(w, host, port, timeout_ms, &conn_ops,
	    p));
}

struct pump *
pump_adopt(struct worker *w, int fd, const struct pump_ops *ops, void *arg)
{
	struct pump *p = pump_new(w, ops, arg);

	if (p == NULL)
		return NULL;
	return pump_with(p, conn_adopt(w, fd, &conn_ops, p));
}

void
pump_set_framing(struct pump *p, const struct pdu_framing *in,
    const struct pdu_framing *out)
{
	pdu_parser_set_framing(&p->parser, in);
	p->tx.framing = *out;
}

void
pump_set_owner(struct pump *p, const struct pump_ops *ops, void *arg)
{
	p->ops = ops;
	p->arg = arg;
}

void
pump_hold(struct pump *p, bool hold)
{
	if (p->dead || p->rx.held == hold)
		return;
	p->rx.held = hold;
	conn_want_read(p->conn, !hold);
	if (!hold)
		loop_post(p->worker->loop, &p->rx.job);
}

int
pump_export(struct pump *p, struct slices *unread)
{
	int error = pump_rx_export(p, unread);

	if (error != 0)
		return error;
	p->dead = true;
	return conn_release(p->conn);
}

void
pump_kick(struct pump *p)
{
	if (p->up && !p->dead && !p->tx.blocked && p->tx.error == 0)
		loop_post(p->worker->loop, &p->tx.job);
}

uint64_t
pump_unsent(const struct pump *p)
{
	return p->tx.unsent;
}

struct conn *
pump_conn(struct pump *p)
{
	return p->conn;
}

void
pump_stats_get(const struct pump *p, struct pump_stats *out)
{
	*out = p->stats;
	out->bytes_in = conn_bytes_in(p->conn);
	out->bytes_out = conn_bytes_out(p->conn);
}

void
pump_close(struct pump *p)
{
	if (p == NULL || p->closed)
		return;
	p->closed = true;
	p->dead = true;
	conn_close(p->conn);
	pump_rx_deinit(p);
	pump_tx_deinit(p);
	loop_reap(p->worker->loop, &p->reap);
}
