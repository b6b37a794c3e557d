/* SPDX-License-Identifier: ISC */
/*
 * A PDU from its SUBMIT frames to the session.  Data stays in the slab it was
 * received into, unless it is a small part of that.  Fragments of several PDUs
 * may be interleaved, so each unfinished PDU is kept under its cookie, charged
 * for the data it holds.
 */
#include "config.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/client_internal.h"
#include "proto/frame.h"
#include "proto/msg.h"

/* Data segments up to this share a slab with others, in bytes. */
#define PACKED_MAX	(POOL_SMALL / 2)

static void
incoming_free(struct client *c, struct incoming *in)
{
	if (in == NULL)
		return;
	if (in->charged > 0)
		quota_give(c->quota,
		    &(struct quota_amount){ .out = in->charged });
	txpdu_free(c->worker, in->pdu);
	free(in);
}

/* The client ends: forget what was not finished. */
void
client_submit_clear(struct client *c)
{
	struct incoming *in;

	while ((in = TAILQ_FIRST(&c->partial)) != NULL) {
		TAILQ_REMOVE(&c->partial, in, link);
		if (in == c->current)
			c->current = NULL;
		incoming_free(c, in);
	}
	c->npartial = 0;
	incoming_free(c, c->current);
	c->current = NULL;
}

static struct incoming *
find_partial(struct client *c, uint64_t cookie)
{
	struct incoming *in;

	TAILQ_FOREACH(in, &c->partial, link) {
		if (in->cookie == cookie)
			return in;
	}
	return NULL;
}

static struct incoming *
incoming_new(struct client *c, uint64_t cookie)
{
	struct incoming *in = calloc(1, sizeof(*in));

	if (in == NULL)
		return NULL;
	in->pdu = txpdu_new(c->worker);
	if (in->pdu == NULL) {
		free(in);
		return NULL;
	}
	in->cookie = cookie;
	if (c->attachment != NULL)
		in->options.deadline = session_deadline(c->attachment);
	else if (c->raw != NULL)
		in->options.deadline = raw_deadline(c->raw);
	frame_pdu_init(&in->frames);
	return in;
}

/*
 * Refuse the PDU with ERROR and swallow the rest of it, so that the frames
 * after it are understood.
 */
static void
refuse(struct client *c, struct incoming *in, uint16_t reason,
    const char *text)
{
	if (!in->discard)
		client_error(c, in->cookie, FRAME_SUBMIT, reason, "%s", text);
	in->discard = true;
	slices_clear(c->worker->pool, &in->pdu->data);
}

/* A SUBMIT frame begins. */
void
client_submit_begin(struct client *c)
{
	const struct frame_header *h = &c->parser.header;
	struct incoming *in = find_partial(c, h->cookie);

	if (in == NULL)
		in = incoming_new(c, h->cookie);
	if (in == NULL) {
		client_close(c, MSG_R_INTERNAL, "out of memory");
		return;
	}
	c->current = in;
	frame_pdu_begin(&in->frames, h->flags);
	if (c->attachment == NULL &&
	    (c->raw == NULL || !raw_is_open(c->raw)))
		refuse(c, in, MSG_R_BAD_STATE,
		    "SUBMIT before a session was attached");
	else if ((h->flags & ~frame_flags_allowed(FRAME_SUBMIT)) != 0)
		refuse(c, in, MSG_R_BAD_FLAGS,
		    "flags that a SUBMIT does not have");
	else if ((h->flags & (FRAME_F_MORE | FRAME_F_VOID)) ==
	    (FRAME_F_MORE | FRAME_F_VOID))
		refuse(c, in, MSG_R_BAD_FLAGS,
		    "VOID belongs on the last fragment, without MORE");
}

/* Charge the data of a PDU that is still incomplete. */
static bool
charge_fragment(struct client *c, struct incoming *in, uint32_t len)
{
	struct quota_amount a = { .out = len };
	char why[96];

	if (quota_take(c->quota, &a, why, sizeof(why)) != NULL) {
		refuse(c, in, MSG_R_QUOTA,
		    "the fragments of this PDU exceed the outbound quota");
		return false;
	}
	in->charged += len;
	return true;
}

/*
 * Keep a piece of data.  It stays where it was received if it fills at least
 * half of that slab.  Less is copied: how much arrives at a time is up to the
 * client, and it is charged for its bytes, not for slabs that they pin.
 */
static int
keep_data(struct client *c, struct incoming *in, struct slab *slab,
    const uint8_t *data, uint32_t len)
{
	struct pool *pool = c->worker->pool;
	struct slices *to = &in->pdu->data;

	if (len >= slab->size / 2)
		return slices_add(pool, to, slab, data, len);
	if (iscsi_dsl(in->frames.bhs) <= PACKED_MAX)
		return slices_add_packed(pool, to, &c->pack, data, len);
	return slices_add_copy(pool, to, data, len);
}

static void
take_data(struct client *c, struct incoming *in, struct slab *slab,
    const uint8_t *data, uint32_t len)
{
	bool fragment = (c->parser.header.flags & FRAME_F_MORE) != 0 ||
	    in->charged > 0;

	if (in->discard || (fragment && !charge_fragment(c, in, len)))
		return;
	if (keep_data(c, in, slab, data, len) != 0)
		refuse(c, in, MSG_R_INTERNAL, "out of memory");
}

/* A piece of the payload, which lies in `slab`. */
void
client_submit_payload(struct client *c, struct slab *slab,
    const uint8_t *data, uint32_t len)
{
	struct incoming *in = c->current;
	struct frame_pdu_event ev;

	while (len > 0) {
		uint32_t n = (uint32_t)frame_pdu_feed(&in->frames, data, len,
		    &ev);

		data += n;
		len -= n;
		switch (ev.kind) {
		case FRAME_PDU_DATA:
			take_data(c, in, slab, ev.data, (uint32_t)ev.len);
			break;
		case FRAME_PDU_TLV:
			if (ev.len > sizeof(in->tlv) - in->tlv_len) {
				refuse(c, in, MSG_R_TOO_LONG, "too many TLVs");
				break;
			}
			memcpy(in->tlv + in->tlv_len, ev.data, ev.len);
			in->tlv_len += (uint32_t)ev.len;
			break;
		case FRAME_PDU_BAD:
			refuse(c, in, MSG_R_BAD_LENGTH, "the frame holds more "
			    "than the BHS of its PDU announces");
			return;
		case FRAME_PDU_HEAD:
		case FRAME_PDU_MORE:
			break;
		}
	}
}

/* Put the header where the session looks for it. */
static bool
take_header(struct client *c, struct incoming *in)
{
	struct slices ahs;
	uint32_t len = iscsi_ahs_len(in->frames.bhs);

	memcpy(in->pdu->bhs, in->frames.bhs, ISCSI_BHS_LEN);
	if (len == 0)
		return true;
	slices_init(&ahs);
	if (slices_add_copy(c->worker->pool, &ahs, in->frames.ahs, len) != 0)
		return false;
	in->pdu->ahs.slab = slab_ref(STAILQ_FIRST(&ahs.list)->slab);
	in->pdu->ahs.ptr = STAILQ_FIRST(&ahs.list)->ptr;
	in->pdu->ahs.len = len;
	slices_clear(c->worker->pool, &ahs);
	return true;
}

static void
send_outcome(struct client *c, struct incoming *in, uint8_t outcome,
    const struct refusal *why)
{
	struct msg_outcome m = {
		.outcome = outcome, .flags = MSG_OUTCOME_F_NOT_SENT,
		.tmf_response = MSG_TMF_NO_RESPONSE, .reason = why->reason,
		.itt = iscsi_itt(in->frames.bhs),
	};
	uint8_t buf[MSG_PAYLOAD_MAX];

	strlcpy(m.text, why->text, sizeof(m.text));
	c->refused++;
	log_debug(c->log, "%s: %s: %s", c->label, msg_outcome_name(outcome),
	    why->text);
	client_reply(c, FRAME_OUTCOME, 0, in->cookie, buf,
	    msg_outcome_encode(&m, buf, sizeof(buf)));
}

/* Options that only a raw connection has. */
static bool
has_raw_options(const struct msg_submit_options *o)
{
	return o->expect != MSG_EXPECT_AUTO || o->free_itt ||
	    o->digests.header || o->digests.data;
}

static void
send_tag(struct client *c, uint64_t cookie, uint32_t itt)
{
	struct msg_tag m = { .itt = itt };
	uint8_t buf[MSG_PAYLOAD_MAX];

	client_reply(c, FRAME_TAG, 0, cookie, buf,
	    msg_tag_encode(&m, buf, sizeof(buf)));
}

static enum submit_verdict
hand_over(struct client *c, struct incoming *in, struct refusal *why)
{
	enum submit_verdict verdict;
	uint32_t itt = 0;

	if (c->attachment != NULL)
		return session_submit(c->attachment, in->pdu, in->cookie,
		    in->options.deadline, why);
	if (c->raw == NULL) {
		why->reason = MSG_R_BAD_STATE;
		strlcpy(why->text, "the raw connection has ended",
		    sizeof(why->text));
		return SUBMIT_ERROR;
	}
	verdict = raw_submit(c->raw, in->pdu, in->cookie, &in->options, &itt,
	    why);
	if (verdict == SUBMIT_ACCEPTED && in->options.free_itt)
		send_tag(c, in->cookie, itt);
	return verdict;
}

/* The PDU is complete: what it holds is the session's business now. */
static void
submit(struct client *c, struct incoming *in)
{
	struct refusal why;

	if (c->attachment != NULL && has_raw_options(&in->options)) {
		refuse(c, in, MSG_R_NOT_SUPPORTED, "only a raw connection "
		    "has expectations, free tags and digests of one's own");
		return;
	}

	if (in->charged > 0)
		quota_give(c->quota,
		    &(struct quota_amount){ .out = in->charged });
	in->charged = 0;
	switch (hand_over(c, in, &why)) {
	case SUBMIT_ACCEPTED:
		in->pdu = NULL;
		break;
	case SUBMIT_REFUSED:
		send_outcome(c, in, MSG_OUTCOME_REFUSED, &why);
		break;
	case SUBMIT_NOT_SENT:
		send_outcome(c, in, MSG_OUTCOME_NOT_SENT, &why);
		break;
	case SUBMIT_ERROR:
		client_error(c, in->cookie, FRAME_SUBMIT, why.reason, "%s",
		    why.text);
		break;
	}
}

/* Keep an unfinished PDU for its next fragment. */
static void
keep_partial(struct client *c, struct incoming *in)
{
	if (find_partial(c, in->cookie) == in)
		return;
	if (c->npartial == CLIENT_PARTIAL_MAX) {
		client_fatal(c, MSG_R_QUOTA,
		    "more than %d PDUs are being sent in fragments",
		    CLIENT_PARTIAL_MAX);
		incoming_free(c, in);
		return;
	}
	TAILQ_INSERT_TAIL(&c->partial, in, link);
	c->npartial++;
}

static void
forget_partial(struct client *c, struct incoming *in)
{
	if (find_partial(c, in->cookie) != in)
		return;
	TAILQ_REMOVE(&c->partial, in, link);
	c->npartial--;
}

/* A SUBMIT frame is complete. */
void
client_submit_end(struct client *c)
{
	uint16_t flags = c->parser.header.flags;
	struct incoming *in = c->current;
	int r;

	c->current = NULL;
	if (in == NULL)
		return;
	r = frame_pdu_end(&in->frames, flags);
	if (r < 0)
		refuse(c, in, MSG_R_BAD_LENGTH, "the frame's length disagrees "
		    "with the lengths in the BHS of its PDU");
	if (in->discard)
		r = (flags & FRAME_F_MORE) != 0;
	if (r == 1) {
		keep_partial(c, in);
		return;
	}
	forget_partial(c, in);
	if (!in->discard && (flags & FRAME_F_VOID) == 0) {
		if (msg_submit_tlv_decode(in->tlv, in->tlv_len,
		    &in->options) != 0)
			refuse(c, in, MSG_R_BAD_PAYLOAD,
			    "the TLVs can not be decoded");
		else if (!take_header(c, in))
			refuse(c, in, MSG_R_INTERNAL, "out of memory");
		else
			submit(c, in);
	}
	incoming_free(c, in);
}
