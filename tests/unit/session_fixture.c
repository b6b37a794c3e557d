/* SPDX-License-Identifier: ISC */
/*
 * The life of a session in its tests, and the scripted clients; see
 * session_fixture.h.  The target is in session_target.c.
 */
#include "config.h"

#include <stdlib.h>
#include <unistd.h>

#include "tests/unit/session_fixture.h"

struct session_fixture fx;

/* --- life */

static void
defaults(void)
{
	static char initiator[] = "iqn.2026-01.org.example:host";
	static char target[] = "iqn.2026-01.org.example:disk";
	static char host[] = "127.0.0.1", name[] = "disk";

	fx.config.initiator_name = initiator;
	fx.config.limits = (struct config_limits){
		.max_clients = 64, .client_tasks = 1024,
		.client_inbound = 64 << 20, .client_outbound = 16 << 20,
		.uid_factor = 4, .abort_timeout = 60000, .r2t_timeout = 60000,
	};
	fx.sconf = (struct config_session){
		.name = name, .portal = { host, host, 0 }, .target = target,
		.connect_timeout = 60000, .login_timeout = 60000,
		.login_pdu_timeout = 60000,
		.text_timeout = 60000,
		.logout_timeout = 60000, .recovery_timeout = 60000,
		.reconnect_interval = 1,
		.reconnect_max = 1,
		.header_digest = { 1, { CONFIG_DIGEST_NONE } },
		.data_digest = { 1, { CONFIG_DIGEST_NONE } },
		.max_recv_data_segment_length = 262144,
		.max_burst_length = 262144, .first_burst_length = 262144,
		.initial_r2t = false, .immediate_data = true,
		.max_outstanding_r2t = 4,
		.default_time2wait = 0, .default_time2retain = 0,
	};
}

void
fx_setup(void)
{
	memset(&fx, 0, sizeof(fx));
	fx.listener = fx.peer = -1;
	fx.window = 64;
	defaults();
}

void
turn(void)
{
	ck_assert_int_eq(loop_turn(fx.worker->loop, 0), 0);
}

void
fx_teardown(void)
{
	unsigned i;

	if (fx.worker == NULL)
		return;
	if (fx.s != NULL)
		session_free(fx.s, "the test ends");
	turn();
	for (i = 0; i < fx.nclients; i++) {
		struct quota *q = fx.clients[i].quota;

		ck_assert_uint_eq(q->used.tasks, 0);
		ck_assert_uint_eq(q->used.in, 0);
		ck_assert_uint_eq(q->used.out, 0);
		ck_assert_uint_eq(q->refs, 1);
		quota_unref(q);
	}
	ck_assert_uint_eq(worker_free(fx.worker), 0);
	free(fx.got.data);
	if (fx.peer != -1)
		close(fx.peer);
	close(fx.listener);
}

struct session_stats
fx_stats(void)
{
	struct session_stats stats;

	session_stats_get(fx.s, &stats);
	return stats;
}

/* --- news of the clients */

static struct news *
add_news(struct sclient *c, enum news_kind kind)
{
	struct news *n = &c->news[c->nnews++];

	ck_assert_uint_lt(c->nnews, MAX_NEWS);
	n->kind = kind;
	return n;
}

static void
on_pdu(void *arg, struct session_delivery *d)
{
	struct sclient *c = arg;
	struct news *n = add_news(c, NEWS_PDU);

	n->cookie = d->cookie;
	n->flags = d->flags;
	memcpy(n->bhs, d->bhs, ISCSI_BHS_LEN);
	n->len = d->data->len;
	ck_assert_uint_eq(n->len, iscsi_dsl(n->bhs));
	slices_copy(d->data, n->data, sizeof(n->data));
	n->charge = d->charge;
	quota_give(c->quota, &d->charge);
}

static void
on_outcome(void *arg, uint64_t cookie, const struct msg_outcome *o,
    const struct quota_amount *charge)
{
	struct sclient *c = arg;
	struct news *n = add_news(c, NEWS_OUTCOME);

	n->cookie = cookie;
	n->outcome = *o;
	n->charge = *charge;
	quota_give(c->quota, charge);
}

static void
on_event(void *arg, const struct msg_event *event)
{
	add_news(arg, NEWS_EVENT)->event = *event;
}

static void
on_room(void *arg)
{
	add_news(arg, NEWS_ROOM);
}

static void
on_removed(void *arg, const char *why)
{
	struct sclient *c = arg;

	(void)why;
	add_news(c, NEWS_REMOVED);
	c->a = NULL;
}

static const struct attachment_ops ops = {
	.on_pdu = on_pdu,
	.on_outcome = on_outcome,
	.on_event = on_event,
	.on_room = on_room,
	.on_removed = on_removed,
};

struct sclient *
fx_attach(void)
{
	struct sclient *c = &fx.clients[fx.nclients];
	struct quota_amount max = {
		.tasks = fx.config.limits.client_tasks,
		.in = fx.config.limits.client_inbound,
		.out = fx.config.limits.client_outbound,
	};
	struct session_attach how = {
		.ops = &ops, .arg = c, .name = "test", .events = 0xff,
		.access = MSG_ACCESS_ALL, .hold = fx.hold,
	};

	ck_assert_uint_lt(fx.nclients, MAX_CLIENTS);
	c->quota = quota_new(fx.worker->quotas, 1000 + fx.nclients, &max);
	ck_assert_ptr_nonnull(c->quota);
	how.quota = c->quota;
	c->a = session_attach(fx.s, &how, &fx.why);
	ck_assert_msg(c->a != NULL, "%s", fx.why.text);
	fx.nclients++;
	return c;
}

void
fx_up_with(struct sclient **a, struct sclient **b)
{
	fx_up();
	*a = fx_attach();
	if (b != NULL)
		*b = fx_attach();
}

void
fx_die(struct sclient *c)
{
	session_detach(c->a);
	c->a = NULL;
}

const struct news *
news(struct sclient *c, enum news_kind kind, uint64_t cookie)
{
	const struct news *n = &c->news[c->nread];

	UNTIL(c->nnews > c->nread);
	c->nread++;
	ck_assert_msg(n->kind == kind, "news %d instead of %d: %s%s",
	    n->kind, kind, n->outcome.text, n->event.text);
	ck_assert_uint_eq(n->cookie, cookie);
	return n;
}

const struct news *
outcome(struct sclient *c, uint64_t cookie, unsigned code, unsigned reason)
{
	const struct news *n = news(c, NEWS_OUTCOME, cookie);

	ck_assert_str_eq(msg_outcome_name(n->outcome.outcome),
	    msg_outcome_name(code));
	ck_assert_str_eq(msg_reason_name(n->outcome.reason),
	    msg_reason_name(reason));
	ck_assert_uint_eq(n->charge.tasks, 1);
	return n;
}

void
no_news(struct sclient *c)
{
	turn();
	turn();
	ck_assert_uint_eq(c->nnews, c->nread);
}

/* --- what clients submit */

static uint8_t request[ISCSI_BHS_LEN];

static uint8_t *
new_request(uint8_t opcode, uint8_t flags, uint32_t itt)
{
	memset(request, 0, sizeof(request));
	request[ISCSI_OFF_OPCODE] = opcode;
	request[ISCSI_OFF_FLAGS] = flags;
	put_be32(request + ISCSI_OFF_ITT, itt);
	/* A client knows no sequence numbers; whatever it says is replaced. */
	put_be32(request + ISCSI_OFF_CMDSN, 0xc1c1c1c1);
	put_be32(request + ISCSI_OFF_EXPSTATSN, 0xe5e5e5e5);
	return request;
}

uint8_t *
command(uint8_t flags, uint32_t itt, uint32_t edtl)
{
	uint8_t *bhs = new_request(ISCSI_OP_SCSI_CMD, flags, itt);

	put_be64(bhs + ISCSI_OFF_LUN, LUN_1);
	put_be32(bhs + ISCSI_OFF_EDTL, edtl);
	return bhs;
}

uint8_t *
data_out(uint8_t flags, uint32_t itt, uint32_t ttt, uint32_t datasn,
    uint32_t offset)
{
	uint8_t *bhs = new_request(ISCSI_OP_DATA_OUT, flags, itt);

	put_be64(bhs + ISCSI_OFF_LUN, LUN_1);
	put_be32(bhs + ISCSI_OFF_TTT, ttt);
	put_be32(bhs + ISCSI_OFF_DATASN, datasn);
	put_be32(bhs + ISCSI_OFF_BUFFER_OFFSET, offset);
	return bhs;
}

uint8_t *
nop_out(bool immediate, uint32_t itt)
{
	uint8_t *bhs = new_request(immediate ? ISCSI_OP_NOP_OUT |
	    ISCSI_IMMEDIATE : ISCSI_OP_NOP_OUT, ISCSI_FLAG_FINAL, itt);

	put_be32(bhs + ISCSI_OFF_TTT, RSV);
	return bhs;
}

uint8_t *
text_request(uint32_t itt, uint32_t ttt)
{
	uint8_t *bhs = new_request(ISCSI_OP_TEXT_REQ, ISCSI_FLAG_FINAL, itt);

	put_be32(bhs + ISCSI_OFF_TTT, ttt);
	return bhs;
}

uint8_t *
tmf(uint8_t function, uint32_t itt, uint32_t rtt)
{
	uint8_t *bhs = new_request(ISCSI_OP_TMF_REQ | ISCSI_IMMEDIATE,
	    ISCSI_FLAG_FINAL | function, itt);

	put_be64(bhs + ISCSI_OFF_LUN, LUN_1);
	put_be32(bhs + ISCSI_OFF_RTT, rtt);
	return bhs;
}

uint8_t
pattern(uint32_t itt, uint32_t offset)
{
	return (uint8_t)((itt * 131 + offset) * 2654435761u >> 21);
}

static struct txpdu *
make_txpdu(const uint8_t *bhs, const void *data, uint32_t len)
{
	struct txpdu *pdu = txpdu_new(fx.worker);
	struct slab *slab;

	memcpy(pdu->bhs, bhs, ISCSI_BHS_LEN);
	iscsi_set_dsl(pdu->bhs, len);
	ck_assert_int_eq(slices_add_copy(fx.worker->pool, &pdu->data, data,
	    len), 0);
	if (fx.ahs_len > 0) {
		slab = pool_get(fx.worker->pool, fx.ahs_len);
		memcpy(slab->data, fx.ahs, fx.ahs_len);
		pdu->ahs.slab = slab;
		pdu->ahs.ptr = slab->data;
		pdu->ahs.len = fx.ahs_len;
		pdu->bhs[ISCSI_OFF_AHS] = (uint8_t)(fx.ahs_len / 4);
	}
	return pdu;
}

enum submit_verdict
submit_bytes(struct sclient *c, uint8_t *bhs, const void *data, uint32_t len,
    uint64_t cookie)
{
	struct txpdu *pdu = make_txpdu(bhs, data, len);
	enum submit_verdict verdict;

	memset(&fx.why, 0, sizeof(fx.why));
	verdict = session_submit(c->a, pdu, cookie, fx.deadline, &fx.why);
	if (verdict != SUBMIT_ACCEPTED)
		txpdu_free(fx.worker, pdu);
	fx.deadline = 0;
	fx.ahs_len = 0;
	return verdict;
}

enum submit_verdict
submit(struct sclient *c, uint8_t *bhs, uint32_t len, uint64_t cookie)
{
	uint32_t i, offset = 0, itt = iscsi_itt(bhs);
	enum submit_verdict verdict;
	uint8_t *data = malloc(len + 1);

	if (iscsi_opcode(bhs) == ISCSI_OP_DATA_OUT)
		offset = get_be32(bhs + ISCSI_OFF_BUFFER_OFFSET);
	for (i = 0; i < len; i++)
		data[i] = pattern(itt, offset + i);
	verdict = submit_bytes(c, bhs, data, len, cookie);
	free(data);
	return verdict;
}

void
accepted(struct sclient *c, uint8_t *bhs, uint32_t len, uint64_t cookie)
{
	enum submit_verdict verdict = submit(c, bhs, len, cookie);

	ck_assert_msg(verdict == SUBMIT_ACCEPTED, "verdict %d: %s", verdict,
	    fx.why.text);
}
