/* SPDX-License-Identifier: ISC */
/*
 * Pings after a silence.  There is one ping at a time, and it waits like any
 * other immediate request for the one that a target takes (RFC 7143 section
 * 4.2.2.1); the time for an answer runs all the same, because a target that
 * holds up the one before is silent, too.
 */
#include "config.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/conn.h"
#include "daemon/keepalive.h"
#include "daemon/session_internal.h"
#include "proto/iscsi.h"

/* The ping as a task of the daemon; NULL on lack of memory. */
static struct task *
make_ping(struct session *s)
{
	struct txpdu *pdu = txpdu_new(s->worker);
	struct task *t = NULL;

	if (pdu == NULL)
		return NULL;
	arc4random_buf(s->keepalive.data, KEEPALIVE_DATA_LEN);
	pdu->bhs[ISCSI_OFF_OPCODE] = ISCSI_OP_NOP_OUT | ISCSI_IMMEDIATE;
	pdu->bhs[ISCSI_OFF_FLAGS] = ISCSI_FLAG_FINAL;
	iscsi_set_dsl(pdu->bhs, KEEPALIVE_DATA_LEN);
	put_be32(pdu->bhs + ISCSI_OFF_TTT, ISCSI_TAG_NONE);
	if (slices_add_copy(s->worker->pool, &pdu->data, s->keepalive.data,
	    KEEPALIVE_DATA_LEN) == 0)
		t = task_new(s, TASK_PING, pdu);
	if (t == NULL)
		txpdu_free(s->worker, pdu);
	return t;
}

static void
ask(struct session *s)
{
	struct keepalive *k = &s->keepalive;
	struct task *t = make_ping(s);

	if (t == NULL) {
		session_fail(s, "no memory for a ping");
		return;
	}
	k->ping = t;
	k->asked = loop_now(s->worker->loop);
	s->stats.pings_sent++;
	task_enqueue(t, &s->nopq);
	session_tx_kick(s);
}

/*
 * A PDU that is long, on a slow way, proves life while it arrives.  When its
 * latest byte came is not known, so it counts as now.
 */
static void
look_for_bytes(struct session *s)
{
	if (conn_bytes_in(pump_conn(s->pump)) != s->keepalive.bytes_in)
		keepalive_heard(s);
}

/*
 * The timer was set for the earliest moment at which something can be due;
 * what came since then puts it off.
 */
static void
timer_due(void *arg)
{
	struct session *s = arg;
	struct keepalive *k = &s->keepalive;
	uint64_t now = loop_now(s->worker->loop), since, wait;

	/* A Logout has a time-out of its own, and nothing may follow it. */
	if (s->phase != SESSION_UP && s->phase != SESSION_DRAINING)
		return;
	look_for_bytes(s);
	since = k->heard;
	if (k->ping == NULL && now - since >= s->config->keepalive_interval)
		ask(s);
	wait = s->config->keepalive_interval;
	if (k->ping != NULL) {
		since = k->asked > k->heard ? k->asked : k->heard;
		wait = s->config->keepalive_timeout;
	}
	if (now - since >= wait) {
		session_fail(s, "the target is silent: nothing came for %"
		    PRIu32 " ms after a ping", s->config->keepalive_timeout);
		return;
	}
	loop_timer_set(k->timer, since + wait - now);
}

bool
keepalive_init(struct session *s)
{
	s->keepalive.timer = loop_timer_new(s->worker->loop, timer_due, s);
	return s->keepalive.timer != NULL;
}

void
keepalive_free(struct session *s)
{
	loop_timer_free(s->keepalive.timer);
}

void
keepalive_start(struct session *s)
{
	keepalive_heard(s);
	if (s->config->keepalive_interval > 0)
		loop_timer_set(s->keepalive.timer,
		    s->config->keepalive_interval);
}

void
keepalive_stop(struct session *s)
{
	loop_timer_clear(s->keepalive.timer);
	s->keepalive.ping = NULL;
}

void
keepalive_heard(struct session *s)
{
	s->keepalive.heard = loop_now(s->worker->loop);
	s->keepalive.bytes_in = conn_bytes_in(pump_conn(s->pump));
}

/* Free the ping; the next is due an interval after the latest PDU. */
static void
over(struct task *t)
{
	struct session *s = t->session;

	s->keepalive.ping = NULL;
	task_free(t);
	if (s->config->keepalive_interval > 0)
		loop_timer_set(s->keepalive.timer,
		    s->config->keepalive_interval);
}

void
keepalive_answered(struct task *t, const struct rxpdu *pdu)
{
	struct session *s = t->session;
	uint8_t echo[KEEPALIVE_DATA_LEN];
	uint32_t len = pdu->data->len;

	if (iscsi_ttt(pdu->bhs) != ISCSI_TAG_NONE) {
		session_fail(s, "the target answered a ping and asks for an "
		    "answer in the same NOP-In");
		return;
	}
	if (len != sizeof(echo) ||
	    slices_copy(pdu->data, echo, sizeof(echo)) != sizeof(echo) ||
	    memcmp(echo, s->keepalive.data, sizeof(echo)) != 0) {
		session_fail(s, "the target answered a ping with %" PRIu32
		    " bytes that are not those of the ping", len);
		return;
	}
	over(t);
}

void
keepalive_rejected(struct task *t)
{
	over(t);
}
