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

void
lib_frame_header(uint8_t *wire, uint16_t type, uint16_t flags, uint64_t cookie,
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

	lib_frame_header(p, type, flags, cookie, len);
	if (len > 0)
		memcpy(p + FRAME_HEADER_LEN, payload, len);
}

static bool
make_hello(struct iscsimux *h)
{
	struct msg_hello m = {
		.version_min = MSG_VERSION,
		.version_max = MSG_VERSION,
		.features = MSG_FEATURE_RAW,
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

/* Its PONG tells that the daemon took, or refused, all that went before. */
static bool
make_fence(struct iscsimux *h)
{
	uint8_t number[8];

	put_be64(number, h->out.fence++);
	h->out.unfenced = 0;
	put_small(h, FRAME_PING, 0, LIB_COOKIE_FENCE, number, sizeof(number));
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
put_pdu_head(struct iscsimux *h, struct lib_slot *slot, uint64_t cookie,
    const uint8_t *bhs, const uint8_t *ahs, uint16_t flags, size_t rest)
{
	size_t ahs_len = bhs != NULL ? iscsi_ahs_len(bhs) : 0;
	size_t head = bhs != NULL ? ISCSI_BHS_LEN + ahs_len : 0;
	uint8_t *p = lib_out_stage(h, FRAME_HEADER_LEN + head);

	lib_frame_header(p, FRAME_SUBMIT, flags, cookie, head + rest);
	if (bhs == NULL)
		return;
	memcpy(p + FRAME_HEADER_LEN, bhs, ISCSI_BHS_LEN);
	if (ahs_len > 0)
		memcpy(p + FRAME_HEADER_LEN + ISCSI_BHS_LEN, ahs, ahs_len);
	trace_out(h, slot, bhs, ahs);
}

/* Further PDUs on a raw connection have an ERROR of their own. */
static uint64_t
part_cookie(const struct lib_slot *slot, const struct lib_part *part)
{
	uint64_t cookie = lib_slot_cookie(slot);

	return slot->raw && part != &slot->first ? cookie | LIB_COOKIE_MORE :
	    cookie;
}

/* The PDU as a whole, or its next fragment.  True if it is complete. */
static bool
make_pdu(struct iscsimux *h, struct lib_slot *slot, struct lib_part *part)
{
	uint32_t n = part->end - part->next;
	uint8_t tlv[MSG_SUBMIT_TLV_MAX];
	uint16_t flags = 0;
	int len = 0;

	if (n > h->data_max) {
		n = h->data_max;
		flags = FRAME_F_MORE;
	} else {
		len = msg_submit_tlv_encode(&part->options, part->timed, tlv,
		    sizeof(tlv));
		flags = len > 0 ? FRAME_F_TLV : 0;
	}
	if (len < 0) {
		h->out.error = len;
		return true;
	}
	put_pdu_head(h, slot, part_cookie(slot, part),
	    part->begun ? NULL : part->bhs, part->ahs, flags,
	    n + (size_t)len);
	part->begun = true;
	if (!lib_out_gather(h, slot, part->data, part->next, n))
		h->out.error = -ENOMEM;
	part->next += n;
	if (len > 0)
		memcpy(lib_out_stage(h, (size_t)len), tlv, (size_t)len);
	return (flags & FRAME_F_MORE) == 0;
}

static bool
make_burst(struct iscsimux *h, struct lib_slot *slot, struct lib_part *part)
{
	uint8_t bhs[ISCSI_BHS_LEN];
	uint32_t off = part->next;
	uint32_t n = lib_write_next(h, part, bhs);

	put_pdu_head(h, slot, lib_slot_cookie(slot), bhs, NULL, 0, n);
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
	if (whole && slot->raw && slot->expect == MSG_EXPECT_NONE)
		lib_out_fence(h, slot);
	else if (!whole && part->kind == LIB_PART_PDU)
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

static void
make_op(struct iscsimux *h, struct lib_slot *slot)
{
	bool whole = lib_op_make(h, slot);

	lib_out_unqueue(h, slot);
	if (!whole)
		lib_out_queue_first(h, slot);
}

/* What ended before it was all sent: tell where it ends. */
static void
make_void(struct iscsimux *h, struct lib_slot *slot)
{
	uint64_t cookie = lib_slot_cookie(slot);

	if (slot->op != NULL)
		put_small(h, FRAME_ADOPT, 0, cookie, NULL, 0);
	else
		put_small(h, FRAME_SUBMIT, FRAME_F_VOID, slot->half_more ?
		    cookie | LIB_COOKIE_MORE : cookie, NULL, 0);
	lib_slot_void_done(h, slot);
}

static void
make_request(struct iscsimux *h, struct lib_slot *slot)
{
	struct lib_part *part = STAILQ_FIRST(&slot->parts);

	if (!slot->started) {
		slot->started = true;
		slot->start = h->out.made;
	}
	if (slot->kind == LIB_PING)
		make_query(h, slot, FRAME_PING);
	else if (slot->kind == LIB_LIST)
		make_query(h, slot, FRAME_LIST);
	else if (slot->kind == LIB_OP)
		make_op(h, slot);
	else if (part != NULL)
		make_part(h, slot, part);
	else
		lib_out_unqueue(h, slot);
}

static bool
make_slot(struct iscsimux *h, struct lib_slot *slot)
{
	struct lib_part *part = STAILQ_FIRST(&slot->parts);
	bool half = part != NULL && part->kind == LIB_PART_PDU && part->begun;

	if (slot->kind == LIB_VOID)
		make_void(h, slot);
	else if (slot->cancel && !slot->cancel_sent && slot->started && !half)
		return make_cancel(h, slot);
	else
		make_request(h, slot);
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
	if (h->out.unfenced > 0 &&
	    (slot == NULL || h->out.unfenced >= LIB_FENCE_MAX))
		return make_fence(h);
	return slot != NULL && make_slot(h, slot);
}
