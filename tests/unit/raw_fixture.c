/* SPDX-License-Identifier: ISC */
/*
 * The life of a raw connection in its tests, and the scripted client; see
 * raw_fixture.h.  The target is in raw_target.c.
 */
#include "config.h"

#include <sys/socket.h>

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <unistd.h>

#include "tests/unit/raw_fixture.h"

struct raw_fixture fx;

/* --- life */

static void
listen_somewhere(void)
{
	struct sockaddr_in in = { .sin_family = AF_INET };

	in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	fx.listener = socket(AF_INET, SOCK_STREAM, 0);
	ck_assert_int_ne(fx.listener, -1);
	ck_assert_int_eq(bind(fx.listener, (struct sockaddr *)&in,
	    sizeof(in)), 0);
	ck_assert_int_eq(listen(fx.listener, 5), 0);
}

void
fx_setup(void)
{
	static char initiator[] = "iqn.2026-01.org.example:daemon";

	memset(&fx, 0, sizeof(fx));
	fx.peer = -1;
	fx.config.initiator_name = initiator;
	fx.config.limits = (struct config_limits){
		.client_tasks = 1024, .client_inbound = 128 << 20,
		.client_outbound = 16 << 20, .uid_factor = 4,
		.abort_timeout = 60000, .r2t_timeout = 60000,
	};
	fx.max = (struct quota_amount){
		.tasks = 1024, .in = 128 << 20, .out = 16 << 20,
	};
	fx.params = (struct msg_raw_params){
		.phase = MSG_RAW_FULL_FEATURE, .flags = MSG_RAW_NUMBERS,
		.recv_dsl = 1 << 20, .send_dsl = 1 << 20,
		.cmdsn = CMDSN, .exp_cmdsn = CMDSN, .max_cmdsn = CMDSN + 63,
		.exp_statsn = STATSN,
		.target = "iqn.2026-01.org.example:disk",
	};
	fx.statsn = STATSN;
	fx.expcmdsn = CMDSN;
	fx.worker = worker_new(NULL, &fx.config);
	ck_assert_ptr_nonnull(fx.worker);
	listen_somewhere();
}

void
turns(unsigned n)
{
	while (n-- > 0)
		ck_assert_int_eq(loop_turn(fx.worker->loop, 0), 0);
}

void
nothing_charged(void)
{
	ck_assert_uint_eq(fx.quota->used.tasks, 0);
	ck_assert_uint_eq(fx.quota->used.in, 0);
	ck_assert_uint_eq(fx.quota->used.out, 0);
}

void
fx_teardown(void)
{
	if (fx.a != NULL)
		session_detach(fx.a);
	raw_free(fx.raw);
	fx.raw = NULL;
	client_reads_all();
	while (session_next(fx.worker, NULL) != NULL) {
		session_free(session_next(fx.worker, NULL), "the test ends");
		turns(1);
	}
	turns(2);
	if (fx.quota != NULL) {
		nothing_charged();
		ck_assert_uint_eq(fx.quota->refs, 1);
		quota_unref(fx.quota);
	}
	ck_assert_uint_eq(worker_free(fx.worker), 0);
	free(fx.got.data);
	if (fx.peer != -1)
		close(fx.peer);
	close(fx.listener);
}

/* --- news */

static struct news *
add_news(enum news_kind kind)
{
	struct news *n = &fx.news[fx.nnews++];

	ck_assert_uint_lt(fx.nnews, MAX_NEWS);
	n->kind = kind;
	return n;
}

static void
on_pdu(void *arg, struct session_delivery *d)
{
	struct news *n = add_news(NEWS_PDU);

	ck_assert_ptr_eq(arg, &fx);
	n->cookie = d->cookie;
	n->flags = d->flags;
	memcpy(n->bhs, d->bhs, ISCSI_BHS_LEN);
	n->len = d->data->len;
	ck_assert_uint_eq(n->len, iscsi_dsl(n->bhs));
	n->charge = d->charge;
	n->ticket = d->ticket;
	if (d->digests != NULL)
		n->digests = *d->digests;
}

static void
on_outcome(void *arg, uint64_t cookie, const struct msg_outcome *o,
    const struct quota_amount *charge)
{
	struct news *n = add_news(NEWS_OUTCOME);

	ck_assert_ptr_eq(arg, &fx);
	n->cookie = cookie;
	n->outcome = *o;
	n->charge = *charge;
}

static void
on_event(void *arg, const struct msg_event *event)
{
	(void)arg;
	(void)event;
}

static void
on_room(void *arg)
{
	ck_assert_ptr_eq(arg, &fx);
	add_news(NEWS_ROOM);
}

static void
on_removed(void *arg, const char *why)
{
	(void)arg;
	(void)why;
	fx.a = NULL;
}

static const struct attachment_ops news_ops = {
	.on_pdu = on_pdu,
	.on_outcome = on_outcome,
	.on_event = on_event,
	.on_room = on_room,
	.on_removed = on_removed,
};

static bool
permits(void *arg, const struct sockaddr *sa, socklen_t len, bool *unchecked)
{
	ck_assert_ptr_eq(arg, &fx);
	ck_assert_int_eq(sa->sa_family, AF_INET);
	ck_assert_uint_ge(len, sizeof(struct sockaddr_in));
	fx.nasked++;
	*unchecked = fx.may_uncheck;
	return !fx.denied;
}

static void
on_open(void *arg, uint16_t reason, const char *text)
{
	struct news *n = add_news(NEWS_OPEN);

	ck_assert_ptr_eq(arg, &fx);
	n->why.reason = reason;
	strlcpy(n->why.text, text, sizeof(n->why.text));
	if (reason != MSG_R_NONE)
		fx.raw = NULL;
}

static void
on_closed(void *arg, const struct msg_event *event)
{
	ck_assert_ptr_eq(arg, &fx);
	ck_assert_uint_eq(event->kind, MSG_EVENT_CLOSED);
	add_news(NEWS_CLOSED)->closed = *event;
	fx.raw = NULL;
}

static void
on_shared(void *arg, struct attachment *a, const struct refusal *why)
{
	ck_assert_ptr_eq(arg, &fx);
	add_news(NEWS_SHARED)->why = *why;
	if (a != NULL)
		fx.raw = NULL;
	fx.a = a;
}

static uint32_t
granted(void *arg, const char *name)
{
	ck_assert_ptr_eq(arg, &fx);
	ck_assert_str_eq(name, "shared");
	return MSG_ACCESS_ALL & ~fx.not_granted;
}

static const struct raw_ops raw_ops = {
	.permits = permits,
	.access = granted,
	.on_open = on_open,
	.on_closed = on_closed,
	.on_shared = on_shared,
};

/* Told of until the client reads: its charge, and whose it is. */
void
client_reads(unsigned n)
{
	struct news *read;

	for (; n > 0; n--) {
		ck_assert_uint_lt(fx.nread, fx.nnews);
		read = &fx.news[fx.nread++];
		quota_give(fx.quota, &read->charge);
		if (read->kind == NEWS_PDU && read->ticket.raw != 0 &&
		    fx.raw != NULL)
			raw_delivered(fx.raw, &read->ticket);
	}
}

void
client_reads_all(void)
{
	client_reads(fx.nnews - fx.nread);
}

const struct news *
news(enum news_kind kind, uint64_t cookie)
{
	const struct news *n = &fx.news[fx.nnext];

	UNTIL(fx.nnews > fx.nnext);
	fx.nnext++;
	ck_assert_msg(n->kind == kind, "news %d instead of %d: %s%s%s",
	    n->kind, kind, n->outcome.text, n->closed.text, n->why.text);
	ck_assert_uint_eq(n->cookie, cookie);
	return n;
}

const struct news *
pdu_news(uint8_t opcode, uint16_t flags, uint64_t cookie)
{
	const struct news *n = news(NEWS_PDU, cookie);

	ck_assert_str_eq(iscsi_opcode_name(iscsi_opcode(n->bhs)),
	    iscsi_opcode_name(opcode));
	ck_assert_uint_eq(n->flags, flags);
	return n;
}

const struct news *
outcome(uint64_t cookie, unsigned code, unsigned reason)
{
	const struct news *n = news(NEWS_OUTCOME, cookie);

	ck_assert_str_eq(msg_outcome_name(n->outcome.outcome),
	    msg_outcome_name(code));
	ck_assert_str_eq(msg_reason_name(n->outcome.reason),
	    msg_reason_name(reason));
	return n;
}

const struct news *
closed(int error)
{
	const struct news *n = news(NEWS_CLOSED, 0);

	ck_assert_msg((int)n->closed.code == error, "closed with %u: %s",
	    n->closed.code, n->closed.text);
	return n;
}

void
no_news(void)
{
	turns(4);
	ck_assert_uint_eq(fx.nnews, fx.nnext);
}

/* --- connecting */

static struct raw_owner
owner(void)
{
	if (fx.quota == NULL)
		fx.quota = quota_new(fx.worker->quotas, 1000, &fx.max);
	ck_assert_ptr_nonnull(fx.quota);
	return (struct raw_owner){
		.ops = &raw_ops, .news = &news_ops, .arg = &fx,
		.quota = fx.quota, .name = "test", .id = 7, .uid = 1000,
		.events = fx.events,
	};
}

struct raw *
fx_adopt_fd(int fd, struct slices *unread)
{
	struct raw_owner who = owner();
	struct slices none;

	slices_init(&none);
	memset(&fx.why, 0, sizeof(fx.why));
	return raw_adopt(fx.worker, &who, fd, &fx.params,
	    unread == NULL ? &none : unread, &fx.why);
}

struct raw *
fx_unshare(void)
{
	struct raw_owner who = owner();

	memset(&fx.why, 0, sizeof(fx.why));
	return raw_unshare(fx.worker, fx.a, &who, &fx.why);
}

static uint16_t
port(void)
{
	struct sockaddr_in in;
	socklen_t len = sizeof(in);

	getsockname(fx.listener, (struct sockaddr *)&in, &len);
	return ntohs(in.sin_port);
}

void
fx_accept(void)
{
	fx.peer = accept4(fx.listener, NULL, NULL, SOCK_NONBLOCK);
	ck_assert_int_ne(fx.peer, -1);
	fx.framing.header_digest = (fx.params.flags &
	    MSG_RAW_HEADER_DIGEST) != 0;
	fx.framing.data_digest = (fx.params.flags &
	    MSG_RAW_DATA_DIGEST) != 0;
	fx.framing.order = (fx.params.flags & MSG_RAW_BIG_ENDIAN) != 0 ?
	    CRC32C_BIG : CRC32C_LITTLE;
	pdu_parser_init(&fx.parser, PDU_FROM_ANYONE, &fx.framing);
}

void
fx_adopt(void)
{
	struct sockaddr_in in = { .sin_family = AF_INET,
	    .sin_port = htons(port()) };
	int fd = socket(AF_INET, SOCK_STREAM, 0), small = 1;

	in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (fx.small) {
		setsockopt(fx.listener, SOL_SOCKET, SO_RCVBUF, &small,
		    sizeof(small));
		setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
	}
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&in, sizeof(in)), 0);
	fx_accept();
	fx.raw = fx_adopt_fd(fd, NULL);
	ck_assert_msg(fx.raw != NULL, "%s", fx.why.text);
}

void
fx_open(void)
{
	struct raw_owner who = owner();

	fx.raw = raw_open(fx.worker, &who, "127.0.0.1", port(), 60000);
	ck_assert_ptr_nonnull(fx.raw);
	fx.params.flags = 0;
}

/* --- the client submits */

uint8_t *
request(uint8_t opcode, uint8_t flags, uint32_t itt)
{
	static uint8_t bhs[ISCSI_BHS_LEN];

	memset(bhs, 0, sizeof(bhs));
	bhs[ISCSI_OFF_OPCODE] = opcode;
	bhs[ISCSI_OFF_FLAGS] = flags;
	put_be32(bhs + ISCSI_OFF_ITT, itt);
	put_be32(bhs + ISCSI_OFF_TTT, RSV);
	put_be32(bhs + ISCSI_OFF_CMDSN, 0xc1c1c1c1);
	put_be32(bhs + ISCSI_OFF_EXPSTATSN, 0xe5e5e5e5);
	return bhs;
}

enum submit_verdict
submit(uint8_t *bhs, const void *data, uint32_t len, uint64_t cookie)
{
	struct txpdu *pdu = txpdu_new(fx.worker);
	uint8_t *zeroes = calloc(1, len + 1);
	enum submit_verdict verdict;

	iscsi_set_dsl(bhs, len);
	memcpy(pdu->bhs, bhs, ISCSI_BHS_LEN);
	ck_assert_int_eq(slices_add_copy(fx.worker->pool, &pdu->data,
	    data == NULL ? zeroes : data, len), 0);
	free(zeroes);
	memset(&fx.why, 0, sizeof(fx.why));
	verdict = raw_submit(fx.raw, pdu, cookie, &fx.options, &fx.itt,
	    &fx.why);
	if (verdict != SUBMIT_ACCEPTED)
		txpdu_free(fx.worker, pdu);
	memset(&fx.options, 0, sizeof(fx.options));
	return verdict;
}

void
accepted(uint8_t *bhs, uint32_t len, uint64_t cookie)
{
	enum submit_verdict verdict = submit(bhs, NULL, len, cookie);

	ck_assert_msg(verdict == SUBMIT_ACCEPTED, "verdict %d: %s", verdict,
	    fx.why.text);
}

void
begun(uint8_t *bhs, uint8_t expect, uint64_t cookie)
{
	fx.options.expect = expect;
	accepted(bhs, 0, cookie);
	wire(iscsi_opcode(bhs));
}

void
refused(enum submit_verdict verdict, uint8_t *bhs, uint32_t len,
    unsigned reason)
{
	ck_assert_int_eq(submit(bhs, NULL, len, 99), verdict);
	ck_assert_str_eq(msg_reason_name(fx.why.reason),
	    msg_reason_name(reason));
	ck_assert_str_ne(fx.why.text, "");
}

struct msg_state
state(void)
{
	struct msg_state m;

	raw_state_get(fx.raw, &m);
	return m;
}

void
counts(uint32_t pending, uint32_t live)
{
	struct msg_state m = state();

	ck_assert_uint_eq(m.pending, pending);
	ck_assert_uint_eq(m.live, live);
}
