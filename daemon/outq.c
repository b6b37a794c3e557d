/* SPDX-License-Identifier: ISC */
/*
 * The output queue of a client: gathers frames into one system call, keeps
 * partial writes, gives charges back as frames leave.  It knows nothing of
 * what the frames say.
 */
#include "config.h"

#include <sys/socket.h>
#include <sys/uio.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/conn.h"
#include "daemon/outq.h"
#include "daemon/session.h"
#include "daemon/trim.h"
#include "daemon/worker.h"

#define IOV_MAX_CALL 1024

/* Free messages that a worker keeps at most. */
#define OUTMSG_KEEP_MAX 4096

struct outmsg {
	STAILQ_ENTRY(outmsg)	 link;
	uint8_t			 head[FRAME_HEADER_LEN + ISCSI_BHS_LEN];
	uint32_t		 head_len;
	uint32_t		 sent;
	struct slices		 body;
	uint16_t		 type;
	bool			 reply;
	bool			 stray;		/* an unsolicited PDU */
	int			 fd;		/* goes along; -1: none */
	struct quota_amount	 charge;
	struct session_ticket	 ticket;
};

void
outq_init(struct outq *q, struct worker *w)
{
	*q = (struct outq){ .worker = w };
	STAILQ_INIT(&q->list);
}

static struct outmsg *
outmsg_new(struct worker *w)
{
	struct outmsg *m = STAILQ_FIRST(&w->free_outmsgs);

	if (m != NULL) {
		STAILQ_REMOVE_HEAD(&w->free_outmsgs, link);
		w->nfree_outmsgs--;
		if (w->idle_outmsgs > w->nfree_outmsgs)
			w->idle_outmsgs = w->nfree_outmsgs;
	} else if ((m = malloc(sizeof(*m))) == NULL)
		return NULL;
	*m = (struct outmsg){ .fd = -1 };
	slices_init(&m->body);
	w->outmsgs_out++;
	return m;
}

static void
outmsg_free(struct worker *w, struct outmsg *m)
{
	slices_clear(w->pool, &m->body);
	w->outmsgs_out--;
	if (w->nfree_outmsgs >= OUTMSG_KEEP_MAX) {
		free(m);
		return;
	}
	w->nfree_outmsgs++;
	STAILQ_INSERT_HEAD(&w->free_outmsgs, m, link);
	trim_want(w->trim);
}

static void
drop_outmsgs(struct worker *w, uint32_t n)
{
	struct outmsg *m;

	for (; n > 0; n--) {
		m = STAILQ_FIRST(&w->free_outmsgs);
		STAILQ_REMOVE_HEAD(&w->free_outmsgs, link);
		w->nfree_outmsgs--;
		free(m);
	}
}

bool
outmsg_trim(struct worker *w)
{
	drop_outmsgs(w, (w->idle_outmsgs + 1) / 2);
	w->idle_outmsgs = w->nfree_outmsgs;
	return w->nfree_outmsgs > 0;
}

void
outmsg_drain(struct worker *w)
{
	drop_outmsgs(w, w->nfree_outmsgs);
	w->idle_outmsgs = 0;
}

static uint32_t
msg_len(const struct outmsg *m)
{
	return m->head_len + m->body.len;
}

static void
enqueue(struct outq *q, struct outmsg *m)
{
	q->bytes += msg_len(m);
	if (m->reply)
		q->reply_bytes += msg_len(m);
	if (m->stray)
		q->stray_bytes += msg_len(m);
	if (m->type == FRAME_EVENT)
		q->events++;
	STAILQ_INSERT_TAIL(&q->list, m, link);
}

/* Remove the first message, written or not, and settle its accounts. */
static void
retire(struct outq *q)
{
	struct outmsg *m = STAILQ_FIRST(&q->list);

	STAILQ_REMOVE_HEAD(&q->list, link);
	if (q->unshared == m)
		q->unshared = NULL;
	q->bytes -= msg_len(m) - m->sent;
	if (m->reply)
		q->reply_bytes -= msg_len(m);
	if (m->stray)
		q->stray_bytes -= msg_len(m);
	if (m->type == FRAME_EVENT)
		q->events--;
	if (m->fd != -1) {
		conn_drop_fd(m->fd);
		q->fds--;
	}
	if (q->quota != NULL)
		quota_give(q->quota, &m->charge);
	if (m->ticket.raw != 0 && q->left != NULL)
		q->left(q->left_arg, &m->ticket);
	outmsg_free(q->worker, m);
}

void
outq_deinit(struct outq *q)
{
	while (!STAILQ_EMPTY(&q->list))
		retire(q);
	slab_unref(q->pack);
	q->pack = NULL;
}

int
outq_frame(struct outq *q, uint16_t type, uint16_t flags, uint64_t cookie,
    const uint8_t *payload, uint32_t len, const struct quota_amount *charge)
{
	struct frame_header h = {
		.len = len, .type = type, .flags = flags, .cookie = cookie,
	};
	struct outmsg *m = outmsg_new(q->worker);

	if (m == NULL)
		return -ENOMEM;
	/* Packed, so that what is queued takes not much more than is counted. */
	if (len > 0 && slices_add_packed(q->worker->pool, &m->body, &q->pack,
	    payload, len) != 0) {
		outmsg_free(q->worker, m);
		return -ENOMEM;
	}
	frame_header_put(m->head, &h);
	m->head_len = FRAME_HEADER_LEN;
	m->type = type;
	m->reply = charge == NULL && type != FRAME_EVENT;
	if (charge != NULL)
		m->charge = *charge;
	enqueue(q, m);
	return 0;
}

int
outq_bytes(struct outq *q, uint16_t type, uint16_t flags, uint64_t cookie,
    struct slices *bytes)
{
	struct frame_header h = {
		.len = bytes->len, .type = type, .flags = flags,
		.cookie = cookie,
	};
	struct outmsg *m = outmsg_new(q->worker);

	if (m == NULL)
		return -ENOMEM;
	slices_move(&m->body, bytes);
	frame_header_put(m->head, &h);
	m->head_len = FRAME_HEADER_LEN;
	m->type = type;
	m->reply = true;
	enqueue(q, m);
	return 0;
}

int
outq_fd(struct outq *q, uint16_t type, uint16_t flags, uint64_t cookie,
    const uint8_t *payload, uint32_t len, int fd)
{
	int error = outq_frame(q, type, flags | FRAME_F_FD, cookie, payload,
	    len, NULL);
	struct outmsg *m = STAILQ_LAST(&q->list, outmsg, link);

	if (error != 0 || m == NULL) {
		conn_drop_fd(fd);
		return error;
	}
	m->fd = fd;
	q->fds++;
	return 0;
}

/* A frame that carries the next part of a PDU's data. */
static int
pdu_fragment(struct outq *q, const struct session_delivery *d,
    struct slices *data, bool first)
{
	struct outmsg *m = outmsg_new(q->worker);
	struct pool *pool = q->worker->pool;
	bool more = data->len > FRAME_DATA_MAX;
	uint8_t tlv[MSG_SUBMIT_TLV_MAX];
	uint32_t part = more ? FRAME_DATA_MAX : data->len;
	struct frame_header h = {
		.type = FRAME_PDU, .cookie = d->cookie, .flags = d->flags,
	};
	int error = 0;

	if (m == NULL)
		return -ENOMEM;
	m->type = FRAME_PDU;
	m->head_len = FRAME_HEADER_LEN;
	if (first) {
		memcpy(m->head + FRAME_HEADER_LEN, d->bhs, ISCSI_BHS_LEN);
		m->head_len += ISCSI_BHS_LEN;
		if (d->ahs_len > 0)
			error = slices_add_packed(pool, &m->body,
			    &q->pack, d->ahs, d->ahs_len);
	}
	if (error == 0 && more)
		error = slices_split(pool, &m->body, data, part);
	if (error != 0) {
		outmsg_free(q->worker, m);
		return error;
	}
	if (more)
		h.flags |= FRAME_F_MORE;
	else
		slices_move(&m->body, data);
	if (!more && d->digests != NULL) {
		h.flags |= FRAME_F_TLV;
		error = slices_add_packed(pool, &m->body, &q->pack, tlv,
		    (uint32_t)msg_pdu_tlv_encode(d->digests, tlv,
		    sizeof(tlv)));
		if (error != 0) {
			outmsg_free(q->worker, m);
			return error;
		}
	}
	h.len = msg_len(m) - FRAME_HEADER_LEN;
	frame_header_put(m->head, &h);
	m->stray = d->cookie == 0;
	if (!more) {
		m->charge = d->charge;
		m->ticket = d->ticket;
	}
	enqueue(q, m);
	return more ? 1 : 0;
}

int
outq_pdu(struct outq *q, struct session_delivery *d)
{
	struct slices data;
	bool first = true;
	int r;

	slices_init(&data);
	slices_move(&data, d->data);
	do {
		r = pdu_fragment(q, d, &data, first);
		first = false;
	} while (r == 1);
	slices_clear(q->worker->pool, &data);
	return r;
}

/*
 * Describe what is to be written next; returns the number of iovecs.  A frame
 * with a descriptor goes alone, so that it is on its first byte.
 */
static size_t
gather(struct outq *q, struct iovec *iov, size_t max)
{
	struct outmsg *m;
	size_t n = 0;

	STAILQ_FOREACH(m, &q->list, link) {
		uint32_t skip = 0;

		if (n + 2 > max || (n > 0 && m->fd != -1))
			break;
		if (m->sent < m->head_len) {
			iov[n].iov_base = m->head + m->sent;
			iov[n++].iov_len = m->head_len - m->sent;
		} else {
			skip = m->sent - m->head_len;
		}
		n += slices_iov(&m->body, skip, iov + n, max - n);
		if (m->fd != -1)
			break;
	}
	return n;
}

/* Room for one descriptor beside a message. */
union control {
	struct cmsghdr	align;
	uint8_t		buf[CMSG_SPACE(sizeof(int))];
};

static void
attach_fd(struct msghdr *msg, union control *control, int fd)
{
	struct cmsghdr *cm;

	memset(control, 0, sizeof(*control));
	msg->msg_control = control->buf;
	msg->msg_controllen = sizeof(control->buf);
	cm = CMSG_FIRSTHDR(msg);
	cm->cmsg_level = SOL_SOCKET;
	cm->cmsg_type = SCM_RIGHTS;
	cm->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(cm), &fd, sizeof(fd));
}

/* The descriptor of the first message, if it is still to be passed. */
static int
first_fd(const struct outq *q)
{
	const struct outmsg *m = STAILQ_FIRST(&q->list);

	return m->sent == 0 ? m->fd : -1;
}

static void
advance(struct outq *q, size_t n)
{
	struct outmsg *m;

	q->bytes_sent += n;
	while (n > 0) {
		uint32_t left;

		m = STAILQ_FIRST(&q->list);
		left = msg_len(m) - m->sent;
		if (n < left) {
			m->sent += (uint32_t)n;
			q->bytes -= n;
			return;
		}
		n -= left;
		q->bytes -= left;
		m->sent += left;
		q->frames_sent++;
		retire(q);
	}
}

enum outq_result
outq_flush(struct outq *q, int fd, uint64_t *moved)
{
	struct iovec iov[IOV_MAX_CALL];
	ssize_t n;

	*moved = 0;
	while (!STAILQ_EMPTY(&q->list)) {
		struct msghdr msg = { .msg_iov = iov };
		union control control;

		if (first_fd(q) != -1)
			attach_fd(&msg, &control, first_fd(q));
		msg.msg_iovlen = gather(q, iov, IOV_MAX_CALL);
		do {
			n = sendmsg(fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
		} while (n == -1 && errno == EINTR);
		if (n == -1)
			return errno == EAGAIN ? OUTQ_BLOCKED : OUTQ_CLOSED;
		*moved += (uint64_t)n;
		advance(q, (size_t)n);
	}
	slab_unref(q->pack);
	q->pack = NULL;
	return OUTQ_EMPTY;
}

void
outq_unshare(struct outq *q)
{
	struct outmsg *m = q->unshared == NULL ? STAILQ_FIRST(&q->list) :
	    STAILQ_NEXT(q->unshared, link);

	for (; m != NULL; m = STAILQ_NEXT(m, link)) {
		(void)slices_unshare(q->worker->pool, &m->body);
		q->unshared = m;
	}
}
