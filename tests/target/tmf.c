/* SPDX-License-Identifier: ISC */
/*
 * Task management (RFC 7143 sections 4.2.3, 11.5 and 11.6, RFC 7144).
 */
#include "config.h"

#include <stdlib.h>

#include "tests/target/alloc.h"
#include "tests/target/conn.h"

enum tmf_response {
	TMF_COMPLETE = 0,
	TMF_NO_TASK = 1,
	TMF_NO_LUN = 2,
	TMF_UNSUPPORTED = 5,
	TMF_SUCCEEDED = ISCSI_TMF_SUCCEEDED
};

#define OFF_INFORMATION	8	/* Additional Response Information: 3 bytes */

/* With the unit attention `asc`, if there is one. */
static void
tmf_inform(struct conn *c, uint32_t itt, enum tmf_response response,
    uint16_t asc)
{
	struct out *o = out_new(c, ISCSI_OP_TMF_RSP);

	o->bhs[ISCSI_OFF_RESPONSE] = (uint8_t)response;
	put_be32(o->bhs + ISCSI_OFF_ITT, itt);
	if (asc != 0) {
		o->bhs[OFF_INFORMATION] = SCSI_KEY_UNIT_ATTENTION;
		put_be16(o->bhs + OFF_INFORMATION + 1, asc);
	}
	out_queue(c, o, SN_CONSUME);
}

static void
tmf_respond(struct conn *c, uint32_t itt, enum tmf_response response)
{
	tmf_inform(c, itt, response, 0);
}

void
tmf_wait_done(struct conn *c, struct tmf_wait *wait)
{
	if (--wait->tasks > 0)
		return;
	TAILQ_REMOVE(&c->tmf_waits, wait, link);
	tmf_respond(c, wait->itt, TMF_COMPLETE);
	free(wait);
}

/* The task's, or the request's own if the task was immediate. */
static uint32_t
ref_cmdsn(const struct conn *c, const struct task *k)
{
	return k->immediate ? get_be32(c->rx.bhs + ISCSI_OFF_CMDSN) : k->cmdsn;
}

static int
abort_task(struct conn *c)
{
	const uint8_t *bhs = c->rx.bhs;
	uint32_t ref = get_be32(bhs + ISCSI_OFF_REFCMDSN);
	struct task *k = task_find(c, get_be32(bhs + ISCSI_OFF_RTT));
	enum tmf_response response = TMF_NO_TASK;

	if (k == NULL) {
		/* A command that never came fills its gap (section 11.5.1). */
		if (ref == c->exp_cmdsn && c->exp_cmdsn != c->next_cmdsn) {
			c->exp_cmdsn++;
			response = TMF_COMPLETE;
		}
	} else if (k->lun != iscsi_lun(bhs)) {
		return conn_tolerate(c, "ABORT TASK with another LUN");
	} else if (ref != ref_cmdsn(c, k)) {
		return conn_tolerate(c, "ABORT TASK with RefCmdSN %08x, the "
		    "task has %08x", ref, k->cmdsn);
	} else if (k->state != TASK_ENDED) {
		task_abort(c, k, NULL);
		response = TMF_COMPLETE;
	}
	tmf_respond(c, iscsi_itt(bhs), response);
	return 0;
}

static int
query_task(struct conn *c)
{
	const uint8_t *bhs = c->rx.bhs;
	const struct task *k = task_find(c, get_be32(bhs + ISCSI_OFF_RTT));

	if (k != NULL && (k->lun != iscsi_lun(bhs) ||
	    get_be32(bhs + ISCSI_OFF_REFCMDSN) != ref_cmdsn(c, k)))
		return conn_tolerate(c, "QUERY TASK with another LUN or "
		    "RefCmdSN than the task has");
	tmf_respond(c, iscsi_itt(bhs), k != NULL && k->state != TASK_ENDED ?
	    TMF_SUCCEEDED : TMF_COMPLETE);
	return 0;
}

static bool
has_task_on(const struct conn *c, uint64_t lun)
{
	const struct task *k;

	TAILQ_FOREACH(k, &c->tasks, link)
		if (k->lun == lun && k->state != TASK_ENDED)
			return true;
	return false;
}

/* What the initiator has on a LUN: tasks, or a unit attention. */
static int
query_lun(struct conn *c, uint8_t function)
{
	uint64_t lun = iscsi_lun(c->rx.bhs);
	uint32_t number = (uint32_t)(lun >> 48) & 0x3fff;
	uint16_t asc = 0;
	bool there;

	if (number >= c->target->options.luns) {
		tmf_respond(c, iscsi_itt(c->rx.bhs), TMF_NO_LUN);
		return 0;
	}
	if (function == ISCSI_TMF_QUERY_ASYNC_EVENT)
		asc = c->ua[number];
	there = function == ISCSI_TMF_QUERY_TASK_SET ? has_task_on(c, lun) :
	    asc != 0;
	tmf_inform(c, iscsi_itt(c->rx.bhs), there ? TMF_SUCCEEDED :
	    TMF_COMPLETE, asc);
	return 0;
}

/* A cold one leaves it to the initiator to close the connection. */
static bool
is_for_all_luns(uint8_t function)
{
	return function == ISCSI_TMF_TARGET_WARM_RESET ||
	    function == ISCSI_TMF_TARGET_COLD_RESET ||
	    function == ISCSI_TMF_NEXUS_RESET;
}

/* End the tasks of `c` on `lun`, or on all. */
static unsigned
end_tasks(struct conn *c, uint64_t lun, bool all, struct tmf_wait *wait)
{
	struct task *k;
	struct task *next;
	unsigned n = 0;

	TAILQ_FOREACH_SAFE(k, &c->tasks, link, next) {
		if (!all && k->lun != lun)
			continue;
		n++;
		task_abort(c, k, wait);
	}
	return n;
}

static void
unit_attention(struct conn *c, uint32_t lun, bool all, uint16_t asc)
{
	uint32_t i;

	for (i = 0; i < c->target->options.luns; i++)
		if (all || i == lun)
			c->ua[i] = asc;
}

static void
end_task_sets(struct conn *c, uint8_t function, struct tmf_wait *wait)
{
	uint64_t lun = iscsi_lun(c->rx.bhs);
	uint32_t number = (uint32_t)(lun >> 48) & 0x3fff;
	bool all = is_for_all_luns(function);
	bool nexus = function == ISCSI_TMF_NEXUS_RESET;
	bool reset = all || function == ISCSI_TMF_LUN_RESET;
	struct conn *other;

	(void)end_tasks(c, lun, all, wait);
	if (reset)
		unit_attention(c, number, all, nexus ? SCSI_ASC_NEXUS_LOSS :
		    SCSI_ASC_RESET);
	if (nexus || function == ISCSI_TMF_ABORT_TASK_SET)
		return;
	TAILQ_FOREACH(other, &c->target->conns, link) {
		if (other == c)
			continue;
		if (end_tasks(other, lun, all, NULL) > 0 && !reset)
			unit_attention(other, number, false, SCSI_ASC_CLEARED);
		if (reset)
			unit_attention(other, number, all, SCSI_ASC_RESET);
	}
}

/*
 * The response waits until this initiator has answered the R2Ts of the tasks
 * (section 4.2.3.3).
 */
static int
abort_many(struct conn *c, uint8_t function)
{
	uint32_t number = (uint32_t)(iscsi_lun(c->rx.bhs) >> 48) & 0x3fff;
	struct tmf_wait *wait;

	if (!is_for_all_luns(function) &&
	    number >= c->target->options.luns) {
		tmf_respond(c, iscsi_itt(c->rx.bhs), TMF_NO_LUN);
		return 0;
	}
	wait = xalloc(sizeof(*wait));
	wait->itt = iscsi_itt(c->rx.bhs);
	wait->tasks = 1;
	TAILQ_INSERT_TAIL(&c->tmf_waits, wait, link);
	end_task_sets(c, function, wait);
	tmf_wait_done(c, wait);
	return 0;
}

static bool
tmf_waiting(const struct conn *c, uint32_t itt)
{
	const struct tmf_wait *wait;

	TAILQ_FOREACH(wait, &c->tmf_waits, link)
		if (wait->itt == itt)
			return true;
	return false;
}

/* What RFC 7144 adds. */
static int
at_level_2(struct conn *c, uint8_t function)
{
	if (c->params.protocol_level < ISCSI_LEVEL_RFC7144) {
		tmf_respond(c, iscsi_itt(c->rx.bhs), TMF_UNSUPPORTED);
		return 0;
	}
	switch (function) {
	case ISCSI_TMF_QUERY_TASK:
		return query_task(c);
	case ISCSI_TMF_NEXUS_RESET:
		return abort_many(c, function);
	default:
		return query_lun(c, function);
	}
}

int
tmf_header(struct conn *c)
{
	const uint8_t *bhs = c->rx.bhs;
	uint8_t function = bhs[ISCSI_OFF_FLAGS] & ISCSI_TMF_FUNCTION_MASK;

	c->target->counters.tmfs++;
	if (!(bhs[ISCSI_OFF_FLAGS] & ISCSI_FLAG_FINAL))
		return conn_protocol_error(c, "task management without F bit");
	if (iscsi_dsl(bhs) != 0)
		return conn_protocol_error(c, "task management with data");
	if (tmf_waiting(c, iscsi_itt(bhs)))
		return conn_protocol_error(c, "ITT %08x is in use",
		    iscsi_itt(bhs));
	if (function != ISCSI_TMF_ABORT_TASK &&
	    function != ISCSI_TMF_TASK_REASSIGN &&
	    function != ISCSI_TMF_QUERY_TASK &&
	    get_be32(bhs + ISCSI_OFF_RTT) != ISCSI_TAG_NONE)
		return conn_tolerate(c, "task management function %u with "
		    "a Referenced Task Tag", function);
	switch (function) {
	case ISCSI_TMF_ABORT_TASK:
		return abort_task(c);
	case ISCSI_TMF_ABORT_TASK_SET:
	case ISCSI_TMF_CLEAR_TASK_SET:
	case ISCSI_TMF_LUN_RESET:
	case ISCSI_TMF_TARGET_WARM_RESET:
	case ISCSI_TMF_TARGET_COLD_RESET:
		return abort_many(c, function);
	case ISCSI_TMF_QUERY_TASK:
	case ISCSI_TMF_QUERY_TASK_SET:
	case ISCSI_TMF_NEXUS_RESET:
	case ISCSI_TMF_QUERY_ASYNC_EVENT:
		return at_level_2(c, function);
	default:
		tmf_respond(c, iscsi_itt(bhs), TMF_UNSUPPORTED);
		return 0;
	}
}
