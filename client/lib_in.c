/* SPDX-License-Identifier: ISC */
/*
 * The way in: one large receive, every frame in it handled.  When the data of
 * a large PDU are next in the stream they are received straight into the
 * caller's buffer.  What frames mean is known to lib_msg.c and lib_rx.c.
 */
#include "config.h"

#include <sys/param.h>
#include <sys/socket.h>

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "client/lib.h"

#define DIRECT_PIECES 16u

void
lib_in_reset(struct iscsimux *h)
{
	struct lib_in *in = &h->in;

	frame_parser_init(&in->parser, FRAME_PAYLOAD_MAX);
	in->slot = NULL;
	in->pdu = NULL;
	in->stray_open = false;
	in->left = 0;
	in->msg_len = 0;
	in->big = false;
	in->in_payload = false;
}

void
lib_in_close_fds(struct iscsimux *h)
{
	struct lib_in *in = &h->in;

	while (in->nfds > 0)
		close(in->fds[--in->nfds]);
	if (in->frame_fd != -1)
		close(in->frame_fd);
	in->frame_fd = -1;
}

static bool
known_type(const struct iscsimux *h, uint16_t type)
{
	if ((h->features & MSG_FEATURE_RAW) != 0 && type >= FRAME_STATE &&
	    type <= FRAME_TAG)
		return true;
	return type >= FRAME_WELCOME && type <= FRAME_GOODBYE;
}

/* Does a frame of this type and length make sense at all now? */
static int
check_header(struct iscsimux *h, const struct frame_header *f)
{
	const char *what = NULL;

	if (f->type >= FRAME_IGNORABLE)
		return 0;
	if (!known_type(h, f->type))
		what = "a frame of unknown type";
	else if ((f->flags & ~frame_flags_allowed(f->type)) != 0)
		what = "a frame with wrong flags";
	else if (f->len > MSG_PAYLOAD_MAX && f->type != FRAME_PDU &&
	    (f->type != FRAME_EXPORTED || (f->flags & FRAME_F_FD) != 0))
		what = "a frame that is too long";
	else if (h->state == LIB_HELLO && f->type != FRAME_WELCOME &&
	    f->type != FRAME_ERROR && f->type != FRAME_GOODBYE)
		what = "a frame before WELCOME";
	if (what == NULL)
		return 0;
	lib_set_fatal(h, MSG_R_BAD_FRAME, what);
	return -EPROTO;
}

static int
bad_fd(struct iscsimux *h, const char *what)
{
	lib_set_fatal(h, MSG_R_BAD_FD, what);
	return -EPROTO;
}

/* A frame with flag FD takes the oldest descriptor. */
static int
take_fd(struct lib_in *in)
{
	in->frame_fd = in->fds[0];
	in->nfds--;
	memmove(in->fds, in->fds + 1, in->nfds * sizeof(in->fds[0]));
	return 0;
}

static int
on_header(struct iscsimux *h)
{
	const struct frame_header *f = &h->in.parser.header;
	int r = check_header(h, f);

	h->in.left = f->len;
	h->in.msg_len = 0;
	h->in.in_payload = true;
	if (r == 0 && f->type < FRAME_IGNORABLE &&
	    (f->flags & FRAME_F_FD) != 0)
		r = h->in.nfds > 0 ? take_fd(&h->in) :
		    bad_fd(h, "a descriptor is missing");
	if (r != 0)
		return r;
	if (f->type == FRAME_PDU)
		return lib_rx_begin(h, f);
	return f->type == FRAME_EXPORTED ? lib_export_begin(h, f) : 0;
}

static int
on_payload(struct iscsimux *h, const uint8_t *buf, size_t len)
{
	const struct frame_header *f = &h->in.parser.header;

	h->in.left -= (uint32_t)len;
	if (f->type == FRAME_PDU)
		return lib_rx_bytes(h, buf, len);
	if (f->type == FRAME_EXPORTED && (f->flags & FRAME_F_FD) == 0)
		return lib_export_bytes(h, buf, len);
	if (f->type >= FRAME_IGNORABLE)
		return 0;
	memcpy(h->in.msg + h->in.msg_len, buf, len);
	h->in.msg_len += len;
	return 0;
}

static int
on_end(struct iscsimux *h)
{
	const struct frame_header *f = &h->in.parser.header;

	h->in.in_payload = false;
	if (f->type == FRAME_PDU)
		return lib_rx_end(h, f);
	if (f->type == FRAME_EXPORTED)
		return lib_export_end(h, f);
	if (f->type >= FRAME_IGNORABLE)
		return 0;
	return lib_msg_handle(h, f, h->in.msg);
}

static int
feed(struct iscsimux *h, const uint8_t *buf, size_t len)
{
	struct frame_event ev;
	size_t n;
	int r;

	for (;;) {
		n = frame_parser_feed(&h->in.parser, buf, len, &ev);
		buf += n;
		len -= n;
		r = 0;
		switch (ev.kind) {
		case FRAME_EV_MORE:
			return 0;
		case FRAME_EV_HEADER:
			r = on_header(h);
			break;
		case FRAME_EV_PAYLOAD:
			r = on_payload(h, ev.data, ev.len);
			break;
		case FRAME_EV_END:
			r = on_end(h);
			break;
		case FRAME_EV_TOO_LONG:
			lib_set_fatal(h, MSG_R_TOO_LONG,
			    "a frame that is too long");
			return -EPROTO;
		}
		if (r != 0)
			return r;
	}
}

/*
 * If data for a caller's buffer are next in the stream, name the memory where
 * they belong.  Returns the number of iovecs, and their bytes in `*bytes`.
 */
static unsigned
direct_iov(struct iscsimux *h, struct iovec *iov, size_t *bytes)
{
	struct lib_pdu *p = h->in.pdu;
	uint32_t left, off;
	unsigned count = 0;
	uint8_t *to;
	size_t n;

	*bytes = 0;
	if (h->in.left < LIB_DIRECT_MIN || p == NULL || !p->head ||
	    p->mode != LIB_RX_PLACE)
		return 0;
	left = MIN(iscsi_dsl(p->pdu.bhs) - p->have, h->in.left);
	if (left < LIB_DIRECT_MIN)
		return 0;
	off = p->offset + p->have;
	while (left > 0 && count < DIRECT_PIECES) {
		to = lib_buffer_at(&h->in.slot->buf, off, &n);
		if (n > left)
			n = left;
		iov[count].iov_base = to;
		iov[count++].iov_len = n;
		*bytes += n;
		off += (uint32_t)n;
		left -= (uint32_t)n;
	}
	return count;
}

/* Queue the descriptors of a message; false if the kernel dropped some. */
static bool
queue_fds(struct lib_in *in, struct msghdr *msg)
{
	bool all = (msg->msg_flags & MSG_CTRUNC) == 0;
	struct cmsghdr *cm;
	size_t i, n;
	int fd;

	for (cm = CMSG_FIRSTHDR(msg); cm != NULL; cm = CMSG_NXTHDR(msg, cm)) {
		if (cm->cmsg_level != SOL_SOCKET ||
		    cm->cmsg_type != SCM_RIGHTS)
			continue;
		n = (cm->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (i = 0; i < n; i++) {
			memcpy(&fd, CMSG_DATA(cm) + i * sizeof(int),
			    sizeof(fd));
			if (in->nfds < LIB_FDS_MAX)
				in->fds[in->nfds++] = fd;
			else {
				close(fd);
				all = false;
			}
		}
	}
	return all;
}

static ssize_t
receive(struct iscsimux *h, struct iovec *iov, unsigned count)
{
	union {
		struct cmsghdr	align;
		uint8_t		buf[CMSG_SPACE(LIB_FDS_MAX * sizeof(int))];
	} control;
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = count,
	    .msg_control = control.buf,
	    .msg_controllen = sizeof(control.buf) };
	ssize_t n;

	do
		n = recvmsg(h->fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	while (n == -1 && errno == EINTR);
	if (n == -1)
		return -errno;
	if (n == 0)
		return -ECONNRESET;
	if (!queue_fds(&h->in, &msg))
		return bad_fd(h, "a descriptor was lost");
	return n;
}

/* Hand the received bytes on, piece by piece as they lie. */
static int
feed_pieces(struct iscsimux *h, const struct iovec *iov, unsigned count,
    size_t len)
{
	unsigned i;
	size_t n;
	int r = 0;

	for (i = 0; i < count && len > 0 && r == 0; i++) {
		n = MIN(iov[i].iov_len, len);
		r = feed(h, iov[i].iov_base, n);
		len -= n;
	}
	/*
	 * A descriptor comes with the first byte of its frame, so all are
	 * taken but for a header that is still incomplete.
	 */
	if (r == 0 && h->in.nfds > 0 && (h->in.nfds > 1 || h->in.in_payload ||
	    frame_parser_at_boundary(&h->in.parser)))
		return bad_fd(h, "an unexpected descriptor");
	return r;
}

int
lib_in_run(struct iscsimux *h)
{
	struct iovec iov[DIRECT_PIECES + 1];
	size_t direct, room, turn = 0;
	unsigned count;
	ssize_t n;
	int r;

	h->in.drained = false;
	while (turn < LIB_TURN_BYTES) {
		count = direct_iov(h, iov, &direct);
		room = h->in.big ? LIB_RX_PEEK : LIB_RX_SIZE;
		iov[count].iov_base = h->in.buf;
		iov[count].iov_len = room;
		n = receive(h, iov, count + 1);
		h->in.drained = n < (ssize_t)(direct + room);
		if (n < 0)
			return n == -EAGAIN ? 0 : (int)n;
		r = feed_pieces(h, iov, count + 1, (size_t)n);
		if (r != 0)
			return r;
		if (h->in.drained)
			return 0;
		turn += (size_t)n;
	}
	return 0;
}
