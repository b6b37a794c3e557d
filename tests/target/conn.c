/* SPDX-License-Identifier: ISC */
/*
 * The life and the read side of a connection: one large read, every PDU in
 * it, then one write of all answers.  Which PDU means what is for login.c and
 * ffp.c.
 */
#include "config.h"

#include <sys/epoll.h>
#include <sys/socket.h>

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/target/conn.h"
#include "tests/target/ctl.h"

#define CONN_TURNS 4	/* reads of one turn, so that others get theirs */

static void conn_say(struct conn *, const char *, const char *, va_list)
    __attribute__((format(printf, 3, 0)));

static void
conn_say(struct conn *c, const char *what, const char *fmt, va_list ap)
{
	struct target *t = c->target;
	char text[160];

	(void)vsnprintf(text, sizeof(text), fmt, ap);
	(void)snprintf(t->last_error, sizeof(t->last_error), "%s", text);
	(void)fprintf(stderr, "%s: [%s] %s\n", what, c->peer, text);
}

int
conn_protocol_error(struct conn *c, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	conn_say(c, "protocol error", fmt, ap);
	va_end(ap);
	c->target->counters.protocol_errors++;
	conn_close(c);
	return -EPROTO;
}

int
conn_tolerate(struct conn *c, const char *fmt, ...)
{
	bool lenient = c->target->options.lenient;
	va_list ap;

	if (lenient && c->target->counters.tolerated++ > 0)
		return 0;
	va_start(ap, fmt);
	conn_say(c, lenient ? "tolerated" : "protocol error", fmt, ap);
	va_end(ap);
	if (lenient)
		return 0;
	c->target->counters.protocol_errors++;
	conn_close(c);
	return -EPROTO;
}

static void
conn_interest(struct conn *c)
{
	uint32_t events = 0;

	if (c->phase == CONN_CLOSED)
		return;
	if (c->in_len == 0 && !c->target->manners.stall &&
	    c->phase != CONN_LOGOUT)
		events |= EPOLLIN;
	if (!STAILQ_EMPTY(&c->outs))
		events |= EPOLLOUT;
	/* Without any interest the end of the peer would go unnoticed. */
	if (events == 0)
		events = EPOLLRDHUP;
	if (loop_arm(c->target, &c->source, events) < 0)
		conn_close(c);
}

static bool
conn_paused(const struct conn *c)
{
	return c->target->manners.stall || c->nouts > CONN_OUT_PDUS ||
	    c->out_bytes > CONN_OUT_BYTES;
}

static int
conn_header(struct conn *c)
{
	uint8_t opcode = iscsi_opcode(c->parser.bhs);

	memset(&c->rx, 0, sizeof(c->rx));
	c->rx.bhs = c->parser.bhs;
	c->pdus_in[opcode]++;
	c->target->counters.pdus_in++;
	switch (c->phase) {
	case CONN_LOGIN:
		return login_header(c);
	case CONN_FULL:
		return ffp_header(c);
	case CONN_LOGOUT:
	case CONN_CLOSED:
		break;
	}
	return 0;
}

static void
conn_data(struct conn *c, const uint8_t *data, size_t len)
{
	if (len > c->rx.room)
		len = c->rx.room;
	if (len == 0)
		return;
	memcpy(c->rx.dst, data, len);
	c->rx.dst += len;
	c->rx.room -= (uint32_t)len;
}

static int
conn_parse_error(struct conn *c)
{
	enum pdu_error error = pdu_parser_error(&c->parser);

	if (error == PDU_E_HEADER_DIGEST || error == PDU_E_DATA_DIGEST)
		c->target->counters.digest_errors++;
	/* RFC 7143 section 7.8; closing follows, which ERL 0 allows. */
	if (error == PDU_E_DATA_DIGEST) {
		ffp_reject(c, 0x02);
		(void)out_flush(c);
	}
	return conn_protocol_error(c, "%s of opcode 0x%02x",
	    pdu_error_name(error), iscsi_opcode(c->parser.bhs));
}

/* Handle all PDUs of the slab, or those until the output is full. */
static int
conn_parse(struct conn *c)
{
	struct pdu_event ev;
	size_t used;
	int r = 0;

	while (r == 0 && c->phase != CONN_CLOSED) {
		if (conn_paused(c) && c->in_len > 0)
			return 0;
		used = pdu_parser_feed(&c->parser, c->slab + c->in_off,
		    c->in_len, &ev);
		c->in_off += used;
		c->in_len -= used;
		switch (ev.kind) {
		case PDU_EV_MORE:
			return 0;
		case PDU_EV_HEADER:
			r = conn_header(c);
			break;
		case PDU_EV_DATA:
			conn_data(c, ev.data, ev.len);
			break;
		case PDU_EV_END:
			r = ffp_end(c);
			break;
		case PDU_EV_ERROR:
			r = conn_parse_error(c);
			break;
		}
	}
	return r;
}

/* Fill the empty slab.  Bytes read, 0 if there are none now, -1 at the end. */
static ssize_t
conn_fill(struct conn *c)
{
	ssize_t n;

	do {
		n = recv(c->source.fd, c->slab, CONN_SLAB, MSG_DONTWAIT);
	} while (n < 0 && errno == EINTR);
	if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
		return 0;
	if (n <= 0)
		return -1;
	c->target->counters.recv_calls++;
	c->target->counters.bytes_in += (uint64_t)n;
	c->in_off = 0;
	c->in_len = (size_t)n;
	return n;
}

/* Parse and answer what the slab holds; true if all of it is done. */
static bool
conn_turn(struct conn *c)
{
	size_t before;

	do {
		before = c->in_len;
		if (conn_parse(c) < 0)
			return false;
		if (out_flush(c) < 0) {
			conn_close(c);
			return false;
		}
		if (c->phase == CONN_LOGOUT && STAILQ_EMPTY(&c->outs)) {
			conn_close(c);
			return false;
		}
	} while (c->in_len > 0 && c->in_len < before);
	return c->in_len == 0;
}

static void
conn_service(struct conn *c)
{
	ssize_t n;
	int i;

	for (i = 0; i < CONN_TURNS; i++) {
		if (!conn_turn(c) || c->phase == CONN_LOGOUT ||
		    c->target->manners.stall)
			break;
		n = conn_fill(c);
		if (n < 0) {
			conn_close(c);
			return;
		}
		if (n == 0)
			break;
		/* A short read has emptied the socket. */
		if (n < (ssize_t)CONN_SLAB)
			i = CONN_TURNS;
	}
	if (c->phase != CONN_CLOSED && c->in_len > 0)
		(void)conn_turn(c);
	conn_interest(c);
}

static void
conn_ready(struct source *s, uint32_t events)
{
	/* The source is the connection's first member. */
	struct conn *c = (struct conn *)(void *)s;

	if (events & (EPOLLERR | EPOLLHUP | EPOLLRDHUP) &&
	    !(events & EPOLLIN))
		conn_close(c);
	else
		conn_service(c);
}

void
conn_push(struct conn *c)
{
	if (c->phase == CONN_CLOSED)
		return;
	(void)conn_turn(c);
	conn_interest(c);
}

void
conn_push_all(struct target *t)
{
	struct conn *c;
	struct conn *next;

	TAILQ_FOREACH_SAFE(c, &t->conns, link, next)
		conn_push(c);
}

static void
conn_init(struct conn *c, struct target *t, int fd)
{
	struct pdu_framing framing = {
		.order = CRC32C_LITTLE, .max_dsl = ISCSI_LOGIN_DSL_MAX
	};

	c->source.fd = fd;
	c->source.ready = conn_ready;
	c->target = t;
	c->id = ++t->last_conn;
	c->framing = framing;
	pdu_parser_init(&c->parser, PDU_FROM_INITIATOR, &framing);
	STAILQ_INIT(&c->outs);
	STAILQ_INIT(&c->deferred);
	TAILQ_INIT(&c->tasks);
	TAILQ_INIT(&c->sending);
	TAILQ_INIT(&c->tmf_waits);
	c->statsn = t->options.first_statsn;
	c->acked_statsn = c->statsn;
	c->rejected_itt = ISCSI_TAG_NONE;
	c->next_ttt = 1;
}

void
conn_new(struct target *t, int fd)
{
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);
	struct conn *c = calloc(1, sizeof(*c));
	int on = 1;

	if (c == NULL || (c->slab = malloc(CONN_SLAB)) == NULL ||
	    (c->ua = calloc(t->options.luns, sizeof(*c->ua))) == NULL) {
		if (c != NULL)
			free(c->slab);
		free(c);
		(void)close(fd);
		return;
	}
	conn_init(c, t, fd);
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (getpeername(fd, (struct sockaddr *)&ss, &len) == 0)
		portal_format((struct sockaddr *)&ss, len, c->peer,
		    sizeof(c->peer));
	TAILQ_INSERT_TAIL(&t->conns, c, link);
	t->counters.connections++;
	conn_interest(c);
}

void
conn_close(struct conn *c)
{
	struct target *t = c->target;

	if (c->phase == CONN_CLOSED)
		return;
	c->phase = CONN_CLOSED;
	(void)close(c->source.fd);
	c->source.fd = -1;
	c->in_len = 0;
	TAILQ_REMOVE(&t->conns, c, link);
	TAILQ_INSERT_TAIL(&t->reap, c, link);
	ctl_conn_gone(t, c);
}

void
conn_reap(struct target *t)
{
	struct deferred *d;
	struct conn *c;

	while ((c = TAILQ_FIRST(&t->reap)) != NULL) {
		TAILQ_REMOVE(&t->reap, c, link);
		task_deinit(c);
		out_deinit(c);
		login_deinit(c);
		while ((d = STAILQ_FIRST(&c->deferred)) != NULL) {
			STAILQ_REMOVE_HEAD(&c->deferred, link);
			free(d);
		}
		free(c->rx.owned);
		free(c->text.buf);
		free(c->text_in);
		free(c->ua);
		free(c->slab);
		free(c);
	}
}
