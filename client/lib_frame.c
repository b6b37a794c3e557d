/* SPDX-License-Identifier: ISC */
/*
 * Turns what waits to be sent into frames of the data socket, one at a time
 * and in turns, so that a long write does not hold up a short command.  It
 * stages bytes through lib_out.c and does no I/O.
 */
#include "config.h"

#include <errno.h>
#include <string.h>

#include "client/lib.h"

#define TLV_DEADLINE_LEN	8u

static void
put_header(uint8_t *wire, uint16_t type, uint16_t flags, uint64_t cookie,
    size_t len)
{
	struct frame_header f = {
		.len = (uint32_t)len,
		.type = type,
		.flags = flags,
		.cookie = cookie,
	};

	frame_header_put(wire, &f);
}

static void
put_small(struct iscsimux *h, uint16_t type, uint16_t flags, uint64_t cookie,
    const uint8_t *payload, size_t len)
{
	uint8_t *p = lib_out_stage(h, FRAME_HEADER_LEN + len);

	put_header(p, type, flags, cookie, len);
	if (len > 0)
		memcpy(p + FRAME_HEADER_LEN, payload, len);
}

static bool
make_hello(struct iscsimux *h)
{
	struct msg_hello m = {
		.version_min = MSG_VERSION,
		.version_max = MSG_VERSION,
	};
	uint8_t buf[256];
	int n;

	strlcpy(m.name, h->name, sizeof(m.name));
	n = msg_hello_encode(&m, buf, sizeof(buf));
	h->hello_wanted = false;
	if (n < 0) {
		h->out.error = n;
		return false;
	}
	put_small(h, FRAME_HELLO, 0, LIB_COOKIE_HELLO, buf, (size_t)n);
	return true;
}

static bool
make_attach(struct iscsimux *h)
{
	uint8_t buf[256];
	int n = msg_attach_encode(&h->attach, buf, sizeof(buf));

	h->attach_wanted = false;
	if (n < 0) {
		h->out.error = n;
		return false;
	}
	h->state = LIB_ATTACHING;
	put_small(h, FRAME_ATTACH, 0, LIB_COOKIE_ATTACH, buf, (size_t)n);
	return true;
}

static bool
make_cancel(struct iscsimux *h, struct lib_slot *slot)
{
	uint64_t cookie = lib_slot_cookie(slot);
	struct msg_cancel m = { .by = MSG_CANCEL_COOKIE, .value = cookie };
	uint8_t buf[64];
	int n = msg_cancel_encode(&m, buf, sizeof(buf));

	if (n < 0) {
		h->out.error = n;
		return false;
	}
	while (!STAILQ_EMPTY(&slot->parts))
		lib_part_drop(h, slot, STAILQ_FIRST(&slot->parts));
	slot->cancel_sent = true;
	lib_out_unqueue(h, slot);
	put_small(h, FRAME_CANCEL, 0, cookie | LIB_COOKIE_CANCEL, buf,
	    (size_t)n);
	return true;
}

static void
trace_out(struct iscsimux *h, const struct lib_slot *slot, const uint8_t *bhs,
    const uint8_t *ahs)
{
	if (h->trace != NULL)
		h->trace(h->trace_arg, ISCSIMUX_DATA_OUT,
		    lib_slot_cookie(slot), bhs, ahs);
}

/*
 * Stage the header of a frame with `n` bytes of data and, unless it is a
 * later fragment, BHS and AHS.
 */
static void
put_pdu_head(struct iscsimux *h, struct lib_slot *slot, const uint8_t *bhs,
    const uint8_t *ahs, uint16_t flags, size_t rest)
{
	size_t ahs_len = bhs != NULL ? iscsi_ahs_len(bhs) : 0;
	size_t head = bhs != NULL ? ISCSI_BHS_LEN + ahs_len : 0;
	uint8_t *p = lib_out_stage(h, FRAME_HEADER_LEN + head);

	put_header(p, FRAME_SUBMIT, flags, lib_slot_cookie(slot), head + rest);
	if (bhs == NULL)
		return;
	memcpy(p + FRAME_HEADER_LEN, bhs, ISCSI_BHS_LEN);
	if (ahs_len > 0)
		memcpy(p + FRAME_HEADER_LEN + ISCSI_BHS_LEN, ahs, ahs_len);
	trace_out(h, slot, bhs, ahs);
}

/* The PDU as a whole, or its next fragment.  True if it is complete. */
static bool
make_pdu(struct iscsimux *h, struct lib_slot *slot, struct lib_part *part)
{
	uint32_t n = part->end - part->next;
	uint16_t flags = 0;
	struct msg_submit_options options = { .deadline = part->deadline };
	size_t tlv = 0;

	if (n > h->data_max) {
		n = h->data_max;
		flags = FRAME_F_MORE;
	} else if (part->timed) {
		flags = FRAME_F_TLV;
		tlv = TLV_DEADLINE_LEN;
	}
	put_pdu_head(h, slot, part->begun ? NULL : part->bhs, part->ahs,
	    flags, n + tlv);
	part->begun = true;
	if (!lib_out_gather(h, slot, part->data, part->next, n))
		h->out.error = -ENOMEM;
	part->next += n;
	if (tlv > 0 && msg_submit_tlv_encode(&options, true,
	    lib_out_stage(h, tlv), tlv) != (int)tlv)
		h->out.error = -EMSGSIZE;
	return (flags & FRAME_F_MORE) == 0;
}

static bool
make_burst(struct iscsimux *h, struct lib_slot *slot, struct lib_part *part)
{
	uint8_t bhs[ISCSI_BHS_LEN];
	uint32_t off = part->next;
	uint32_t n = lib_write_next(h, part, bhs);

	put_pdu_head(h, slot, bhs, NULL, 0, n);
	part->begun = true;
	if (!lib_out_gather(h, slot, part->data, off, n))
		h->out.error = -ENOMEM;
	return part->next == part->end;
}

static void
make_part(struct iscsimux *h, struct lib_slot *slot, struct lib_part *part)
{
	bool whole;

	if (part != &slot->first)
		slot->continued = true;
	if (part->kind == LIB_PART_BURST)
		whole = make_burst(h, slot, part);
	else
		whole = make_pdu(h, slot, part);
	if (whole)
		lib_part_drop(h, slot, part);
	lib_out_unqueue(h, slot);
	if (!whole && part->kind == LIB_PART_PDU)
		/* The daemon keeps few incomplete PDUs of a client. */
		lib_out_queue_first(h, slot);
	else if (!STAILQ_EMPTY(&slot->parts) ||
	    (slot->cancel && !slot->cancel_sent))
		lib_out_queue(h, slot);
}

static void
make_query(struct iscsimux *h, struct lib_slot *slot, uint16_t type)
{
	lib_out_unqueue(h, slot);
	put_small(h, type, 0, lib_slot_cookie(slot), NULL, 0);
}

static bool
make_slot(struct iscsimux *h, struct lib_slot *slot)
{
	struct lib_part *part = STAILQ_FIRST(&slot->parts);
	bool half = part != NULL && part->kind == LIB_PART_PDU && part->begun;

	if (slot->kind == LIB_VOID) {
		put_small(h, FRAME_SUBMIT, FRAME_F_VOID, lib_slot_cookie(slot),
		    NULL, 0);
		lib_slot_void_done(h, slot);
		return true;
	}
	if (slot->cancel && !slot->cancel_sent && slot->started && !half)
		return make_cancel(h, slot);
	if (!slot->started) {
		slot->started = true;
		slot->start = h->out.made;
	}
	if (slot->kind == LIB_PING)
		make_query(h, slot, FRAME_PING);
	else if (slot->kind == LIB_LIST)
		make_query(h, slot, FRAME_LIST);
	else if (part != NULL)
		make_part(h, slot, part);
	else
		lib_out_unqueue(h, slot);
	return true;
}

bool
lib_frame_make(struct iscsimux *h)
{
	struct lib_slot *slot;

	if (h->out.error != 0 || !lib_out_room(h))
		return false;
	if (h->hello_wanted)
		return make_hello(h);
	if (h->state <= LIB_HELLO)
		return false;
	if (h->attach_wanted)
		return make_attach(h);
	slot = TAILQ_FIRST(&h->out.sendq);
	return slot != NULL && make_slot(h, slot);
}
