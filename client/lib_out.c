/* SPDX-License-Identifier: ISC */
/*
 * The way out: headers are staged in one buffer, data stay where the caller
 * has them, and one sendmsg takes all of it.  What is staged is bounded;
 * requests wait on the send queue and lib_frame.c turns them into frames when
 * there is room.  What frames mean is not known here.
 */
#include "config.h"

#include <sys/socket.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/lib.h"

/* Room that one frame may need. */
#define FRAME_STAGE							\
	(FRAME_HEADER_LEN + ISCSI_BHS_LEN + ISCSI_AHS_MAX +		\
	LIB_COPY_MAX + MSG_SUBMIT_TLV_MAX)
#define FRAME_PIECES	16u
#define FRAME_SEGS	(FRAME_PIECES + 2u)

void
lib_out_queue(struct iscsimux *h, struct lib_slot *slot)
{
	if (slot->queued)
		return;
	slot->queued = true;
	TAILQ_INSERT_TAIL(&h->out.sendq, slot, sendq_entry);
}

void
lib_out_queue_first(struct iscsimux *h, struct lib_slot *slot)
{
	slot->queued = true;
	TAILQ_INSERT_HEAD(&h->out.sendq, slot, sendq_entry);
}

void
lib_out_unqueue(struct iscsimux *h, struct lib_slot *slot)
{
	if (slot->fenced)
		TAILQ_REMOVE(&h->out.fenced, slot, sendq_entry);
	slot->fenced = false;
	if (!slot->queued)
		return;
	slot->queued = false;
	TAILQ_REMOVE(&h->out.sendq, slot, sendq_entry);
}

void
lib_out_fence(struct iscsimux *h, struct lib_slot *slot)
{
	slot->fence = h->out.fence;
	slot->fenced = true;
	TAILQ_INSERT_TAIL(&h->out.fenced, slot, sendq_entry);
	h->out.unfenced++;
}

static void
seg_close_fd(struct lib_seg *seg)
{
	if (seg->fd != -1)
		close(seg->fd);
	seg->fd = -1;
}

static void
drop_segs(struct lib_out *out)
{
	for (; out->first < out->nseg; out->first++) {
		free(out->seg[out->first].owned);
		seg_close_fd(&out->seg[out->first]);
	}
	out->first = 0;
	out->nseg = 0;
	out->stage_len = 0;
}

void
lib_out_reset(struct iscsimux *h)
{
	struct lib_slot *slot;

	drop_segs(&h->out);
	while ((slot = TAILQ_FIRST(&h->out.sendq)) != NULL) {
		lib_out_unqueue(h, slot);
		if (slot->kind == LIB_VOID)
			lib_slot_void_done(h, slot);
	}
	h->out.made = 0;
	h->out.sent = 0;
	h->out.error = 0;
	h->out.unfenced = 0;
}

bool
lib_out_wanted(const struct iscsimux *h)
{
	if (h->out.error != 0)
		return true;	/* so that a service comes to report it */
	if (h->out.sent < h->out.made || h->hello_wanted)
		return true;
	return h->state > LIB_HELLO &&
	    (h->attach_wanted || !TAILQ_EMPTY(&h->out.sendq) ||
	    h->out.unfenced > 0);
}

bool
lib_out_room(struct iscsimux *h)
{
	struct lib_out *out = &h->out;

	if (out->first == out->nseg)
		drop_segs(out);
	if (out->nseg + FRAME_SEGS > LIB_SEGS && out->first > 0) {
		out->nseg -= out->first;
		memmove(out->seg, out->seg + out->first,
		    out->nseg * sizeof(out->seg[0]));
		out->first = 0;
	}
	return out->nseg + FRAME_SEGS <= LIB_SEGS &&
	    out->stage_len + FRAME_STAGE <= LIB_STAGE_SIZE &&
	    out->made - out->sent < LIB_BATCH;
}

static struct lib_seg *
seg_add(struct lib_out *out, const uint8_t *ptr, size_t len)
{
	struct lib_seg *seg = &out->seg[out->nseg++];

	seg->ptr = ptr;
	seg->len = len;
	seg->slot = NULL;
	seg->owned = NULL;
	seg->alone = false;
	seg->fd = -1;
	out->made += len;
	return seg;
}

uint8_t *
lib_out_stage(struct iscsimux *h, size_t len)
{
	struct lib_out *out = &h->out;
	uint8_t *p = out->stage + out->stage_len;
	struct lib_seg *last;

	out->stage_len += len;
	if (out->nseg > out->first) {
		last = &out->seg[out->nseg - 1];
		if (last->ptr + last->len == p && !last->alone) {
			last->len += len;
			out->made += len;
			return p;
		}
	}
	seg_add(out, p, len);
	return p;
}

uint8_t *
lib_out_stage_fd(struct iscsimux *h, size_t len, int fd)
{
	struct lib_out *out = &h->out;
	uint8_t *p = out->stage + out->stage_len;
	struct lib_seg *seg = seg_add(out, p, len);

	out->stage_len += len;
	seg->alone = true;
	seg->fd = fd;
	return p;
}

static void
copy_range(uint8_t *to, struct lib_buffer *data, uint32_t off, uint32_t len)
{
	const uint8_t *p;
	size_t n;

	while (len > 0) {
		p = lib_buffer_at(data, off, &n);
		if (n > len)
			n = len;
		memcpy(to, p, n);
		to += n;
		off += (uint32_t)n;
		len -= (uint32_t)n;
	}
}

static unsigned
count_pieces(struct lib_buffer *data, uint32_t off, uint32_t len)
{
	unsigned count = 0;
	size_t n;

	while (len > 0 && count <= FRAME_PIECES) {
		lib_buffer_at(data, off, &n);
		if (n > len)
			n = len;
		off += (uint32_t)n;
		len -= (uint32_t)n;
		count++;
	}
	return count;
}

/* So many small pieces that the iovec would overflow: one copy of them. */
static bool
gather_copy(struct lib_out *out, struct lib_buffer *data, uint32_t off,
    uint32_t len)
{
	uint8_t *copy = malloc(len);

	if (copy == NULL)
		return false;
	copy_range(copy, data, off, len);
	seg_add(out, copy, len)->owned = copy;
	return true;
}

bool
lib_out_gather(struct iscsimux *h, struct lib_slot *slot,
    struct lib_buffer *data, uint32_t off, uint32_t len)
{
	const uint8_t *p;
	size_t n;

	if (len == 0)
		return true;
	if (len <= LIB_COPY_MAX) {
		copy_range(lib_out_stage(h, len), data, off, len);
		return true;
	}
	if (data->niov > FRAME_PIECES &&
	    count_pieces(data, off, len) > FRAME_PIECES)
		return gather_copy(&h->out, data, off, len);
	while (len > 0) {
		p = lib_buffer_at(data, off, &n);
		if (n > len)
			n = len;
		seg_add(&h->out, p, n)->slot = slot;
		off += (uint32_t)n;
		len -= (uint32_t)n;
	}
	slot->ref_end = h->out.made;
	return true;
}

int
lib_out_detach(struct iscsimux *h, struct lib_slot *slot)
{
	struct lib_seg *seg;
	unsigned i;

	for (i = h->out.first; i < h->out.nseg; i++) {
		seg = &h->out.seg[i];
		if (seg->slot != slot)
			continue;
		seg->slot = NULL;
		seg->owned = malloc(seg->len);
		if (seg->owned == NULL) {
			h->out.error = -ENOMEM;
			return -ENOMEM;
		}
		memcpy(seg->owned, seg->ptr, seg->len);
		seg->ptr = seg->owned;
	}
	return 0;
}

static void
advance(struct lib_out *out, size_t n)
{
	struct lib_seg *seg;

	out->sent += n;
	while (n > 0) {
		seg = &out->seg[out->first];
		if (n < seg->len) {
			seg->ptr += n;
			seg->len -= n;
			return;
		}
		n -= seg->len;
		free(seg->owned);
		out->first++;
	}
}

/* The segments of one sendmsg; their bytes in `*len`. */
static unsigned
batch_iov(const struct lib_out *out, struct iovec *iov, size_t *len)
{
	unsigned i, count = 0;

	*len = 0;
	for (i = out->first; i < out->nseg; i++) {
		if (count > 0 && out->seg[i].alone)
			break;
		/* sendmsg only reads; iovec has no const. */
		iov[count].iov_base = (void *)(uintptr_t)out->seg[i].ptr;
		iov[count++].iov_len = out->seg[i].len;
		*len += out->seg[i].len;
		if (out->seg[i].alone)
			break;
	}
	return count;
}

/*
 * One sendmsg of what is prepared, in `*len` how much that is.  The bytes
 * sent, or a negative errno.
 */
static ssize_t
send_batch(struct iscsimux *h, size_t *len)
{
	struct lib_seg *seg = &h->out.seg[h->out.first];
	union {
		struct cmsghdr	hdr;
		uint8_t		buf[CMSG_SPACE(sizeof(int))];
	} control = { .buf = { 0 } };
	struct iovec iov[LIB_SEGS];
	struct msghdr msg = { .msg_iov = iov };
	ssize_t n;

	msg.msg_iovlen = batch_iov(&h->out, iov, len);
	if (seg->fd != -1) {
		control.hdr.cmsg_level = SOL_SOCKET;
		control.hdr.cmsg_type = SCM_RIGHTS;
		control.hdr.cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(&control.hdr), &seg->fd, sizeof(int));
		msg.msg_control = control.buf;
		msg.msg_controllen = sizeof(control.buf);
	}
	do
		n = sendmsg(h->fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
	while (n == -1 && errno == EINTR);
	if (n == -1)
		return -errno;
	seg_close_fd(seg);
	return n;
}

void
lib_out_flush(struct iscsimux *h)
{
	struct lib_out *out = &h->out;
	size_t turn = 0, len;
	ssize_t n;

	while (out->error == 0 && turn < LIB_TURN_BYTES) {
		while (lib_frame_make(h))
			continue;
		if (out->made == out->sent || out->error != 0)
			return;
		n = send_batch(h, &len);
		if (n == -EAGAIN)
			return;
		if (n < 0) {
			out->error = (int)n;
			return;
		}
		advance(out, (size_t)n);
		turn += (size_t)n;
		if ((size_t)n < len)
			return;
	}
}
