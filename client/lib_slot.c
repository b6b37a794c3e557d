/* SPDX-License-Identifier: ISC */
/*
 * Requests: the table of slots, their ids, what is charged for them, and how
 * they end.  A cookie on the wire is the slot's index and generation, so an
 * answer finds its request without a search and a late one finds nothing.
 * What PDUs mean is not known here.
 */
#include "config.h"

#include <sys/param.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "client/lib.h"

bool
lib_is_task(const struct lib_slot *slot)
{
	return slot->kind == LIB_EXECUTE || slot->kind == LIB_NOP ||
	    slot->kind == LIB_MANAGE || slot->kind == LIB_RAW;
}

static bool
is_query(enum lib_slot_kind kind)
{
	return kind == LIB_PING || kind == LIB_LIST || kind == LIB_OP;
}

uint64_t
lib_slot_cookie(const struct lib_slot *slot)
{
	return (uint64_t)slot->gen << 32 | slot->index;
}

struct lib_slot *
lib_slot_find(struct iscsimux *h, uint64_t cookie)
{
	struct lib_slot *slot;
	uint32_t index = (uint32_t)cookie;

	if (index / LIB_SLOT_CHUNK >= h->nchunk)
		return NULL;
	slot = &h->chunk[index / LIB_SLOT_CHUNK][index % LIB_SLOT_CHUNK];
	if (slot->gen != cookie >> 32 || slot->kind == LIB_FREE ||
	    slot->kind == LIB_VOID)
		return NULL;
	return slot;
}

static int
add_chunk(struct iscsimux *h)
{
	struct lib_slot **chunk, *slots;
	size_t i;

	if ((h->nchunk + 1) * LIB_SLOT_CHUNK >
	    LIB_SLOTS_MAX + LIB_QUERIES_MAX)
		return -EAGAIN;
	chunk = reallocarray(h->chunk, h->nchunk + 1, sizeof(*chunk));
	if (chunk == NULL)
		return -ENOMEM;
	h->chunk = chunk;
	slots = calloc(LIB_SLOT_CHUNK, sizeof(*slots));
	if (slots == NULL)
		return -ENOMEM;
	for (i = 0; i < LIB_SLOT_CHUNK; i++) {
		slots[i].index = (uint32_t)(h->nchunk * LIB_SLOT_CHUNK + i);
		slots[i].gen = 1;
		TAILQ_INSERT_TAIL(&h->free, &slots[i], entry);
	}
	h->chunk[h->nchunk++] = slots;
	return 0;
}

/* Alone a request is the daemon's to refuse, with a reason. */
static bool
over(uint64_t used, uint64_t more, uint64_t max)
{
	return used > 0 && more > 0 && (more > max || used > max - more);
}

/* May a request of this kind be opened now? */
static int
admit(const struct iscsimux *h, enum lib_slot_kind kind,
    const struct lib_charge *charge)
{
	if (h->dying)
		return -ESHUTDOWN;
	if (h->fd == -1)
		return -ENOTCONN;
	if (is_query(kind))
		return h->nqueries < LIB_QUERIES_MAX ? 0 : -EAGAIN;
	/* The convenience level needs the daemon to number its PDUs. */
	if (h->state != LIB_ATTACHED &&
	    !(h->state == LIB_ON_RAW && kind == LIB_RAW))
		return -ENOTCONN;
	if (h->move != NULL)
		return -EBUSY;
	if (h->state == LIB_ON_RAW)
		return h->ntasks < MIN(h->tasks_max, LIB_SLOTS_MAX) ? 0 :
		    -EAGAIN;
	if (h->ntasks >= h->session.tasks_max || h->ntasks >= LIB_SLOTS_MAX)
		return -EAGAIN;
	if (over(h->charged.in, charge->in, h->session.inbound_max) ||
	    over(h->charged.out, charge->out, h->session.outbound_max))
		return -EAGAIN;
	return 0;
}

struct lib_slot *
lib_slot_take(struct iscsimux *h, enum lib_slot_kind kind,
    struct lib_charge charge, int *error)
{
	struct lib_slot *slot, clean = { 0 };

	*error = admit(h, kind, &charge);
	if (*error == 0 && TAILQ_EMPTY(&h->free))
		*error = add_chunk(h);
	if (*error != 0)
		return NULL;
	slot = TAILQ_FIRST(&h->free);
	TAILQ_REMOVE(&h->free, slot, entry);
	clean.index = slot->index;
	clean.gen = slot->gen;
	clean.kind = (uint8_t)kind;
	clean.charge = charge;
	clean.raw = h->state == LIB_ON_RAW && kind == LIB_RAW;
	clean.itt = LIB_ITT_BIT | (slot->gen & 0x7fff) << 16 | slot->index;
	*slot = clean;
	STAILQ_INIT(&slot->parts);
	TAILQ_INSERT_TAIL(&h->open, slot, entry);
	h->charged.in += charge.in;
	h->charged.out += charge.out;
	if (is_query(kind))
		h->nqueries++;
	else
		h->ntasks++;
	return slot;
}

struct lib_part *
lib_part_new(struct iscsimux *h)
{
	struct lib_part *part = STAILQ_FIRST(&h->free_parts);

	if (part != NULL)
		STAILQ_REMOVE_HEAD(&h->free_parts, entry);
	else
		part = malloc(sizeof(*part));
	if (part != NULL)
		memset(part, 0, sizeof(*part));
	return part;
}

void
lib_part_add(struct iscsimux *h, struct lib_slot *slot, struct lib_part *part)
{
	STAILQ_INSERT_TAIL(&slot->parts, part, entry);
	slot->nparts++;
	lib_out_queue(h, slot);
}

void
lib_part_drop(struct iscsimux *h, struct lib_slot *slot,
    struct lib_part *part)
{
	STAILQ_REMOVE(&slot->parts, part, lib_part, entry);
	slot->nparts--;
	free(part->ahs);
	part->ahs = NULL;
	if (part != &slot->first)
		STAILQ_INSERT_HEAD(&h->free_parts, part, entry);
}

static void
pdu_put(struct iscsimux *h, struct lib_pdu *p)
{
	if (p->store_size > LIB_KEEP_MAX) {
		free(p->store);
		p->store = NULL;
		p->store_size = 0;
	}
	SLIST_INSERT_HEAD(&h->free_pdus, p, entry);
}

/* Back to the free list; the slot is on no list but perhaps the queue. */
static void
slot_free(struct iscsimux *h, struct lib_slot *slot)
{
	lib_out_unqueue(h, slot);
	while (!STAILQ_EMPTY(&slot->parts))
		lib_part_drop(h, slot, STAILQ_FIRST(&slot->parts));
	lib_op_free(slot->op);
	slot->op = NULL;
	slot->kind = LIB_FREE;
	if (++slot->gen == 0)
		slot->gen = 1;
	TAILQ_INSERT_TAIL(&h->free, slot, entry);
}

void
lib_slot_release(struct iscsimux *h, struct lib_slot *slot)
{
	struct lib_part *part = STAILQ_FIRST(&slot->parts);
	bool half = part != NULL && part->kind == LIB_PART_PDU && part->begun;

	/* An ADOPT whose stream is still on its way. */
	if (slot->kind == LIB_OP && slot->started && slot->queued)
		half = true;
	if (h->move == slot)
		h->move = NULL;
	TAILQ_REMOVE(&h->open, slot, entry);
	h->charged.in -= slot->charge.in;
	h->charged.out -= slot->charge.out;
	if (is_query((enum lib_slot_kind)slot->kind))
		h->nqueries--;
	else
		h->ntasks--;
	if (h->fd != -1 && slot->ref_end > h->out.sent)
		lib_out_detach(h, slot);
	if (slot->saved != NULL)
		pdu_put(h, slot->saved);
	slot->saved = NULL;
	free(slot->why);
	free(slot->listing);
	slot->why = NULL;
	slot->listing = NULL;
	if (half && h->fd != -1) {
		slot->kind = LIB_VOID;
		slot->half_more = slot->raw && part != &slot->first;
		lib_out_queue(h, slot);
	} else
		slot_free(h, slot);
}

void
lib_slot_void_done(struct iscsimux *h, struct lib_slot *slot)
{
	slot_free(h, slot);
}

/* What a failure noted before makes of the result. */
static void
apply_failure(const struct lib_slot *slot, struct iscsimux_result *r)
{
	if (!slot->failed)
		return;
	if (r->outcome == ISCSIMUX_COMPLETED ||
	    (r->outcome == ISCSIMUX_ABORTED &&
	    r->reason == ISCSIMUX_R_CANCELLED))
		r->outcome = ISCSIMUX_FAILED;
	else if (r->outcome != ISCSIMUX_UNKNOWN)
		return;		/* the daemon had a reason of its own */
	if (r->outcome == ISCSIMUX_FAILED)
		r->response = slot->response;
	r->reason = (enum iscsimux_reason)slot->reason;
	r->text = slot->why != NULL ? slot->why : msg_reason_name(r->reason);
}

void
lib_slot_done(struct iscsimux *h, struct lib_slot *slot,
    const struct iscsimux_result *result)
{
	struct iscsimux_result r = *result;
	iscsimux_done_fn *done = slot->done;
	void *cookie = slot->cookie;
	char *why;

	apply_failure(slot, &r);
	why = slot->why;
	slot->why = NULL;
	lib_slot_release(h, slot);
	h->calls++;
	done(h, cookie, &r);
	free(why);
}

static void
raw_outcome(struct iscsimux *h, struct lib_slot *slot,
    const struct msg_outcome *o)
{
	struct iscsimux_answer a = {
		.kind = ISCSIMUX_ANSWER_OUTCOME,
		.outcome = (enum iscsimux_outcome)o->outcome,
		.not_sent = (o->flags & MSG_OUTCOME_F_NOT_SENT) != 0,
		.response = o->tmf_response,
		.reason = (enum iscsimux_reason)o->reason,
		.text = o->text,
	};
	iscsimux_answer_fn *answer = slot->answer;
	void *cookie = slot->cookie;

	lib_slot_release(h, slot);
	h->calls++;
	answer(h, cookie, &a);
}

static void
list_outcome(struct iscsimux *h, struct lib_slot *slot, uint16_t reason)
{
	iscsimux_list_fn *list = slot->list;
	void *cookie = slot->cookie;

	lib_slot_release(h, slot);
	h->calls++;
	list(h, cookie, lib_reason_errno(reason), NULL, 0);
}

void
lib_slot_outcome(struct iscsimux *h, struct lib_slot *slot,
    const struct msg_outcome *o)
{
	struct iscsimux_result r = {
		.outcome = (enum iscsimux_outcome)o->outcome,
		.response = o->tmf_response,
		.not_sent = o->outcome == MSG_OUTCOME_REFUSED ||
		    o->outcome == MSG_OUTCOME_NOT_SENT ||
		    (o->flags & MSG_OUTCOME_F_NOT_SENT) != 0,
		.reason = (enum iscsimux_reason)o->reason,
		.text = o->text,
		.transferred = slot->direction == ISCSIMUX_DATA_IN ?
		    slot->got : 0,
	};

	if (slot->kind == LIB_RAW)
		raw_outcome(h, slot, o);
	else if (slot->kind == LIB_LIST)
		list_outcome(h, slot, o->reason);
	else if (slot->kind == LIB_OP)
		lib_op_fail(h, slot, lib_reason_errno(o->reason));
	else
		lib_slot_done(h, slot, &r);
}

void
lib_slot_drain(struct iscsimux *h)
{
	struct msg_outcome o = {
		.tmf_response = MSG_TMF_NO_RESPONSE,
		.reason = MSG_R_CONNECTION_LOST,
	};
	struct lib_slot *slot;

	memcpy(o.text, h->text, sizeof(o.text));
	while ((slot = TAILQ_FIRST(&h->open)) != NULL) {
		o.outcome = MSG_OUTCOME_NOT_SENT;
		if (slot->started && h->out.sent > slot->start)
			o.outcome = MSG_OUTCOME_UNKNOWN;
		lib_slot_outcome(h, slot, &o);
	}
}

void
lib_slot_free_all(struct iscsimux *h)
{
	struct lib_part *part;
	struct lib_pdu *p;
	size_t i;

	while ((part = STAILQ_FIRST(&h->free_parts)) != NULL) {
		STAILQ_REMOVE_HEAD(&h->free_parts, entry);
		free(part);
	}
	while ((p = SLIST_FIRST(&h->free_pdus)) != NULL) {
		SLIST_REMOVE_HEAD(&h->free_pdus, entry);
		free(p->store);
		free(p);
	}
	for (i = 0; i < h->nchunk; i++)
		free(h->chunk[i]);
	free(h->chunk);
}
