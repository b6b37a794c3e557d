/* SPDX-License-Identifier: ISC */
/*
 * PDU frames: finds the request by the cookie, puts fragments together and
 * hands the complete PDU on.  Data go where lib_task.c says, and straight
 * there.  A PDU counts only with its last fragment (PROTOCOL.md, fragments).
 */
#include "config.h"

#include <sys/param.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "client/lib.h"

static void
pdu_init(struct lib_pdu *p)
{
	frame_pdu_init(&p->pdu);
	p->mode = LIB_RX_STORE;
	p->head = false;
	p->have = 0;
	p->offset = 0;
	p->view = NULL;
	memset(&p->digests, 0, sizeof(p->digests));
	p->tlv_len = 0;
}

int
lib_rx_begin(struct iscsimux *h, const struct frame_header *f)
{
	struct lib_in *in = &h->in;

	in->pdu = NULL;
	in->slot = NULL;
	if (f->cookie == 0) {
		in->pdu = &in->stray;
		if (!in->stray_open)
			pdu_init(in->pdu);
	} else {
		in->slot = lib_slot_find(h, f->cookie);
		if (in->slot == NULL || !lib_is_task(in->slot))
			return 0;	/* its task has ended: skipped */
		in->pdu = in->slot->saved;
		if (in->pdu == NULL) {
			in->pdu = &in->current;
			pdu_init(in->pdu);
		}
	}
	frame_pdu_begin(&in->pdu->pdu, f->flags);
	return 0;
}

static void
on_head(struct iscsimux *h, struct lib_pdu *p)
{
	p->head = true;
	if (h->in.slot != NULL)
		lib_task_head(h, h->in.slot, p);
}

static int
store(struct lib_pdu *p, const uint8_t *data, size_t len)
{
	size_t need = (size_t)p->have + len;
	size_t size = MAX(p->store_size * 2, need);
	uint8_t *grown;

	if (need > p->store_size) {
		grown = realloc(p->store, size);
		if (grown == NULL)
			return -ENOMEM;
		p->store = grown;
		p->store_size = size;
	}
	memcpy(p->store + p->have, data, len);
	return 0;
}

static void
place(struct lib_slot *slot, struct lib_pdu *p, const uint8_t *data,
    size_t len)
{
	uint32_t off = p->offset + p->have;
	uint8_t *to;
	size_t n;

	while (len > 0) {
		to = lib_buffer_at(&slot->buf, off, &n);
		if (n > len)
			n = len;
		/* Received in place, they are there already. */
		if (to != data)
			memcpy(to, data, n);
		data += n;
		off += (uint32_t)n;
		len -= n;
	}
}

static int
on_data(struct iscsimux *h, struct lib_pdu *p, const uint8_t *data,
    size_t len)
{
	int r = 0;

	if (p->mode == LIB_RX_PLACE)
		place(h->in.slot, p, data, len);
	else if (p->mode == LIB_RX_STORE) {
		/* The end of the frame will be seen before the next receive. */
		if (len == iscsi_dsl(p->pdu.bhs) && h->in.left == 0)
			p->view = data;
		else
			r = store(p, data, len);
	}
	p->have += (uint32_t)len;
	return r;
}

static int
bad_pdu(struct iscsimux *h)
{
	lib_set_fatal(h, MSG_R_BAD_LENGTH, "a PDU whose lengths disagree");
	return -EPROTO;
}

int
lib_rx_bytes(struct iscsimux *h, const uint8_t *buf, size_t len)
{
	struct lib_pdu *p = h->in.pdu;
	struct frame_pdu_event ev;
	size_t n;
	int r;

	if (p == NULL)
		return 0;
	for (;;) {
		n = frame_pdu_feed(&p->pdu, buf, len, &ev);
		buf += n;
		len -= n;
		switch (ev.kind) {
		case FRAME_PDU_MORE:
			return 0;
		case FRAME_PDU_HEAD:
			on_head(h, p);
			break;
		case FRAME_PDU_DATA:
			r = on_data(h, p, ev.data, ev.len);
			if (r != 0)
				return r;
			break;
		case FRAME_PDU_TLV:
			/* The parser allows no more than there is room for. */
			memcpy(p->tlv + p->tlv_len, ev.data, ev.len);
			p->tlv_len += ev.len;
			break;
		case FRAME_PDU_BAD:
			return bad_pdu(h);
		}
	}
}

/* More fragments follow: the request keeps what there is. */
static int
suspend(struct iscsimux *h)
{
	struct lib_in *in = &h->in;
	struct lib_pdu *p;
	uint8_t *spare;
	size_t spare_size;

	if (in->slot == NULL) {
		in->stray_open = true;
		return 0;
	}
	if (in->slot->saved != NULL)
		return 0;
	p = SLIST_FIRST(&h->free_pdus);
	if (p != NULL)
		SLIST_REMOVE_HEAD(&h->free_pdus, entry);
	else
		p = calloc(1, sizeof(*p));
	if (p == NULL)
		return -ENOMEM;
	spare = p->store;
	spare_size = p->store_size;
	memcpy(p, &in->current, offsetof(struct lib_pdu, tlv));
	in->current.store = spare;
	in->current.store_size = spare_size;
	in->slot->saved = p;
	return 0;
}

static void
deliver_stray(struct iscsimux *h, struct lib_pdu *p, uint16_t flags)
{
	struct iscsimux_pdu pdu;
	struct iovec iov;

	if (h->trace != NULL)
		h->trace(h->trace_arg, ISCSIMUX_DATA_IN, 0, p->pdu.bhs,
		    iscsi_ahs_len(p->pdu.bhs) > 0 ? p->pdu.ahs : NULL);
	if (h->cb.on_pdu == NULL)
		return;
	lib_pdu_public(p, &iov, &pdu);
	pdu.unmatched = (flags & FRAME_F_UNMATCHED) != 0;
	h->calls++;
	h->cb.on_pdu(h, h->arg, &pdu);
}

static void
deliver(struct iscsimux *h, struct lib_slot *slot, struct lib_pdu *p,
    uint16_t flags)
{
	if (h->trace != NULL)
		h->trace(h->trace_arg, ISCSIMUX_DATA_IN,
		    lib_slot_cookie(slot), p->pdu.bhs,
		    iscsi_ahs_len(p->pdu.bhs) > 0 ? p->pdu.ahs : NULL);
	if (slot->kind == LIB_RAW)
		lib_raw_pdu(h, slot, p, (flags & FRAME_F_SYNTHETIC) != 0);
	else
		lib_task_pdu(h, slot, p);
}

static void
pdu_done(struct iscsimux *h, struct lib_pdu *p)
{
	if (p->store_size > LIB_KEEP_MAX) {
		free(p->store);
		p->store = NULL;
		p->store_size = 0;
	}
	if (p != &h->in.current && p != &h->in.stray)
		SLIST_INSERT_HEAD(&h->free_pdus, p, entry);
}

int
lib_rx_end(struct iscsimux *h, const struct frame_header *f)
{
	struct lib_slot *slot = h->in.slot;
	struct lib_pdu *p = h->in.pdu;
	uint32_t conn = h->conn;
	int r;

	if (p == NULL)
		return 0;
	r = frame_pdu_end(&p->pdu, f->flags);
	if (r < 0)
		return bad_pdu(h);
	if (r > 0)
		return suspend(h);
	if (msg_pdu_tlv_decode(p->tlv, p->tlv_len, &p->digests) != 0) {
		lib_set_fatal(h, MSG_R_BAD_PAYLOAD, "a PDU with a bad TLV");
		return -EPROTO;
	}
	h->in.pdu = NULL;
	h->in.slot = NULL;
	h->in.stray_open = false;
	/* The next PDU will most likely be as large. */
	h->in.big = p->mode == LIB_RX_PLACE && p->have >= LIB_BIG_MIN;
	if (slot != NULL)
		slot->saved = NULL;
	if ((f->flags & FRAME_F_VOID) == 0) {
		if (slot == NULL)
			deliver_stray(h, p, f->flags);
		else
			deliver(h, slot, p, f->flags);
	}
	pdu_done(h, p);
	return lib_alive(h, conn) ? 0 : LIB_GONE;
}
