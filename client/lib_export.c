/* SPDX-License-Identifier: ISC */
/*
 * EXPORTED frames: the first has the descriptor and the state, all have bytes
 * of the TCP stream, and with the last the socket is handed to the caller.
 * Until then it is closed if anything goes wrong.
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/lib.h"

int
lib_export_begin(struct iscsimux *h, const struct frame_header *f)
{
	struct lib_slot *slot = lib_op_find(h, f->cookie, FRAME_EXPORT);
	bool first = (f->flags & FRAME_F_FD) != 0;

	/* Exactly the first has a descriptor. */
	if (slot != NULL && first != (slot->op->fd == -1)) {
		lib_set_fatal(h, MSG_R_BAD_FD, first ?
		    "a second descriptor of an EXPORT" :
		    "an EXPORTED without a descriptor");
		return -EPROTO;
	}
	h->in.slot = slot;
	return 0;
}

static int
bad_stream(struct iscsimux *h)
{
	lib_set_fatal(h, MSG_R_BAD_LENGTH,
	    "an EXPORTED whose lengths disagree");
	return -EPROTO;
}

int
lib_export_bytes(struct iscsimux *h, const uint8_t *buf, size_t len)
{
	struct lib_op *op;

	if (h->in.slot == NULL || len == 0)
		return 0;
	op = h->in.slot->op;
	if (len > op->unread_len - op->have)
		return bad_stream(h);
	memcpy(op->unread + op->have, buf, len);
	op->have += (uint32_t)len;
	return 0;
}

/* The first frame is there: its fields, and what follows them. */
static int
take_first(struct iscsimux *h, struct lib_op *op)
{
	struct msg_exported m;
	int n = msg_exported_decode(h->in.msg, h->in.msg_len, &m);

	if (n < 0) {
		lib_set_fatal(h, MSG_R_BAD_PAYLOAD,
		    "an EXPORTED with a payload that makes no sense");
		return -EPROTO;
	}
	op->params = m.params;
	op->unread_len = m.unread;
	if (m.unread > 0) {
		op->unread = malloc(m.unread);
		if (op->unread == NULL)
			return -ENOMEM;
	}
	op->fd = h->in.frame_fd;
	h->in.frame_fd = -1;
	return lib_export_bytes(h, h->in.msg + n, h->in.msg_len - (size_t)n);
}

static int
hand_over(struct iscsimux *h, struct lib_slot *slot)
{
	struct lib_op *op = slot->op;
	iscsimux_export_fn *exported = op->exported;
	struct iscsimux_exported e = {
		.fd = op->fd,
		.unread = op->unread,
		.unread_len = op->unread_len,
	};
	uint8_t *unread = op->unread;
	void *cookie = slot->cookie;
	uint32_t conn = h->conn;
	int r;

	/* What waited for the connection ends before it is said to be gone. */
	r = lib_raw_ended(h);
	if (r != 0)
		return r;
	lib_op_params(&op->params, &e.params);
	op->fd = -1;
	op->unread = NULL;
	lib_slot_release(h, slot);
	h->calls++;
	exported(h, cookie, 0, &e);
	free(unread);
	return lib_alive(h, conn) ? 0 : LIB_GONE;
}

int
lib_export_end(struct iscsimux *h, const struct frame_header *f)
{
	struct lib_slot *slot = h->in.slot;
	bool more = (f->flags & FRAME_F_MORE) != 0;
	struct lib_op *op;
	int r = 0;

	h->in.slot = NULL;
	if (slot == NULL) {
		/* Nobody asked for it. */
		if (h->in.frame_fd != -1)
			close(h->in.frame_fd);
		h->in.frame_fd = -1;
		return 0;
	}
	op = slot->op;
	if (h->in.frame_fd != -1) {
		h->in.slot = slot;
		r = take_first(h, op);
		h->in.slot = NULL;
	}
	if (r != 0)
		return r;
	if (more != (op->have < op->unread_len))
		return bad_stream(h);
	return more ? 0 : hand_over(h, slot);
}
