/* SPDX-License-Identifier: ISC */
/*
 * The write side of a connection: PDUs are stamped when they are queued, so
 * queue order is the order of StatSN, and leave in one gathered write.
 * Digests are computed at the write itself, as a disk block may change while
 * it waits in the queue.
 */
#include "config.h"

#include <sys/socket.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/target/alloc.h"
#include "tests/target/conn.h"

#define OUT_BATCH	(1u << 20)	/* bytes of one write, about */

struct out *
out_new(struct conn *c, uint8_t opcode)
{
	struct out *o = c->target->free_outs;

	if (o != NULL)
		c->target->free_outs = o->next_free;
	else
		o = xalloc(sizeof(*o));
	memset(o, 0, offsetof(struct out, trailer));
	o->bhs[0] = opcode;
	o->bhs[ISCSI_OFF_FLAGS] = ISCSI_FLAG_FINAL;
	return o;
}

static void
out_free(struct target *t, struct out *o)
{
	free(o->owned);
	o->owned = NULL;
	o->next_free = t->free_outs;
	t->free_outs = o;
}

void
out_free_cache(struct target *t)
{
	struct out *o;

	while ((o = t->free_outs) != NULL) {
		t->free_outs = o->next_free;
		free(o);
	}
}

void
out_copy(struct out *o, const void *data, uint32_t len)
{
	if (len == 0)
		return;
	o->owned = xalloc(len);
	memcpy(o->owned, data, len);
	o->data = o->owned;
	o->len = len;
}

/* A test may ask for an answer to nobody. */
static void
spoil_itt(struct manners *m, struct out *o)
{
	uint8_t op = iscsi_opcode(o->bhs);

	if (!m->wrong_itt || (op != ISCSI_OP_SCSI_RSP && op != ISCSI_OP_DATA_IN))
		return;
	m->wrong_itt = false;
	put_be32(o->bhs + ISCSI_OFF_ITT,
	    iscsi_itt(o->bhs) ^ UINT32_C(0x5a5a5a5a));
}

static void
spoil_digest(struct manners *m, struct out *o)
{
	if (iscsi_opcode(o->bhs) != ISCSI_OP_DATA_IN)
		return;
	o->bad_header = m->corrupt_header;
	o->bad_data = m->corrupt_data;
	m->corrupt_header = false;
	m->corrupt_data = false;
}

void
out_queue(struct conn *c, struct out *o, enum sn_use use)
{
	struct target *t = c->target;

	if (use != SN_NONE)
		put_be32(o->bhs + ISCSI_OFF_STATSN, c->statsn);
	if (use == SN_CONSUME)
		c->statsn++;
	ffp_open_window(c);
	put_be32(o->bhs + ISCSI_OFF_EXPCMDSN, c->exp_cmdsn);
	put_be32(o->bhs + ISCSI_OFF_MAXCMDSN, c->max_cmdsn);
	iscsi_set_dsl(o->bhs, o->len);
	spoil_itt(&t->manners, o);
	spoil_digest(&t->manners, o);
	c->pdus_out[iscsi_opcode(o->bhs)]++;
	t->counters.pdus_out++;
	STAILQ_INSERT_TAIL(&c->outs, o, link);
	c->nouts++;
	c->out_bytes += o->len + ISCSI_BHS_LEN;
}

/* Lay out one PDU; returns the number of iovecs, its length in *total. */
static int
out_layout(struct conn *c, struct out *o, struct iovec *iov, size_t max,
    size_t *total)
{
	static const struct pdu_framing plain = { .order = CRC32C_LITTLE };
	struct iovec data = {
		.iov_base = (void *)(uintptr_t)o->data, .iov_len = o->len
	};
	int n;

	n = pdu_serialize(o->bhs, NULL, &data, o->len > 0,
	    o->plain ? &plain : &c->framing, &o->trailer, iov, max, total);
	if (o->bad_header)
		o->trailer.header_digest[0] ^= 0xff;
	if (o->bad_data)
		o->trailer.tail[iscsi_pad(o->len)] ^= 0xff;
	return n;
}

/* Take `skip` bytes off the front of `n` iovecs; returns the new front. */
static size_t
iov_skip(struct iovec *iov, size_t n, size_t skip)
{
	size_t i = 0;

	while (i < n && skip >= iov[i].iov_len)
		skip -= iov[i++].iov_len;
	if (i < n) {
		iov[i].iov_base = (uint8_t *)iov[i].iov_base + skip;
		iov[i].iov_len -= skip;
	}
	return i;
}

/* The longest prefix of `n` iovecs that has at most `max` bytes. */
static size_t
iov_cut(struct iovec *iov, size_t n, uint64_t max)
{
	size_t i;

	for (i = 0; i < n && max > 0; i++) {
		if (iov[i].iov_len > max)
			iov[i].iov_len = (size_t)max;
		max -= iov[i].iov_len;
	}
	return i;
}

/* Fill the target's iovecs from the queue; returns how many, first in *at. */
static size_t
out_gather(struct conn *c, size_t *at, size_t *bytes)
{
	struct iovec *iov = c->target->iov;
	struct out *o;
	size_t n = 0;
	size_t len;
	int r;

	*bytes = 0;
	STAILQ_FOREACH(o, &c->outs, link) {
		r = out_layout(c, o, iov + n, TARGET_IOV - n, &len);
		if (r < 0)
			break;
		n += (size_t)r;
		*bytes += len;
		if (*bytes >= OUT_BATCH)
			break;
	}
	*at = iov_skip(iov, n, c->head_sent);
	*bytes -= c->head_sent;
	return n;
}

/*
 * A digest that is partly out must not be outrun by a write to the same
 * block: from now on the rest of this PDU has bytes of its own.
 */
static void
out_freeze(struct conn *c, struct out *o)
{
	if (c->framing.data_digest && o->owned == NULL && o->len > 0)
		out_copy(o, o->data, o->len);
}

static size_t
out_size(const struct conn *c, const struct out *o)
{
	size_t n = ISCSI_BHS_LEN + o->len + iscsi_pad(o->len);

	if (o->plain)
		return n;
	if (c->framing.header_digest)
		n += CRC32C_SIZE;
	if (c->framing.data_digest && o->len > 0)
		n += CRC32C_SIZE;
	return n;
}

/* `sent` bytes of the queue are gone. */
static void
out_advance(struct conn *c, size_t sent)
{
	struct out *o;
	size_t size;

	sent += c->head_sent;
	c->head_sent = 0;
	while ((o = STAILQ_FIRST(&c->outs)) != NULL) {
		size = out_size(c, o);
		if (sent < size)
			break;
		sent -= size;
		STAILQ_REMOVE_HEAD(&c->outs, link);
		c->nouts--;
		c->out_bytes -= o->len + ISCSI_BHS_LEN;
		out_free(c->target, o);
	}
	if (o != NULL && sent > 0) {
		c->head_sent = sent;
		out_freeze(c, o);
	}
}

/* One write; the bytes sent, or -errno. */
static ssize_t
out_send(struct conn *c, struct msghdr *msg)
{
	struct target *t = c->target;
	ssize_t r;

	if (t->manners.drop)
		msg->msg_iovlen = iov_cut(msg->msg_iov, msg->msg_iovlen,
		    t->manners.drop_left);
	do {
		r = sendmsg(c->source.fd, msg, MSG_NOSIGNAL | MSG_DONTWAIT);
	} while (r < 0 && errno == EINTR);
	if (r < 0)
		return -errno;
	t->counters.send_calls++;
	t->counters.bytes_out += (uint64_t)r;
	if (t->manners.drop && (t->manners.drop_left -= (uint64_t)r) == 0) {
		t->manners.drop = false;
		return -ECONNABORTED;
	}
	return r;
}

int
out_flush(struct conn *c)
{
	struct msghdr msg = { .msg_iov = NULL };
	size_t at;
	size_t bytes;
	size_t n;
	ssize_t r;

	for (;;) {
		status_pump(c);
		if (STAILQ_EMPTY(&c->outs))
			return 0;
		n = out_gather(c, &at, &bytes);
		msg.msg_iov = c->target->iov + at;
		msg.msg_iovlen = n - at;
		r = out_send(c, &msg);
		if (r == -EAGAIN)
			return 0;
		if (r < 0)
			return (int)r;
		out_advance(c, (size_t)r);
		if ((size_t)r < bytes)
			return 0;
	}
}

void
out_deinit(struct conn *c)
{
	struct out *o;

	while ((o = STAILQ_FIRST(&c->outs)) != NULL) {
		STAILQ_REMOVE_HEAD(&c->outs, link);
		out_free(c->target, o);
	}
	c->nouts = 0;
	c->out_bytes = 0;
}
