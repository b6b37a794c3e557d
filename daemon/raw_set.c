/* SPDX-License-Identifier: ISC */
/*
 * What a client may set on its raw connection: digests, limits, deadlines;
 * and what of it the login sets by itself (RFC 7143 section 13).
 */
#include "config.h"

#include <errno.h>
#include <string.h>

#include "daemon/raw_internal.h"

bool
raw_flag(const struct raw *r, uint32_t flag)
{
	return (r->params.flags & flag) != 0;
}

/* During the login nobody may send more than that (section 6.2). */
static uint32_t
recv_limit(const struct raw *r)
{
	uint32_t max = r->params.recv_dsl;

	if (r->params.phase == MSG_RAW_LOGIN &&
	    !raw_flag(r, MSG_RAW_UNCHECKED) &&
	    (max == 0 || max > ISCSI_LOGIN_DSL_MAX))
		return ISCSI_LOGIN_DSL_MAX;
	return max;
}

void
raw_framing(const struct raw *r, struct pdu_framing *in,
    struct pdu_framing *out)
{
	*in = (struct pdu_framing){
		.header_digest = raw_flag(r, MSG_RAW_HEADER_DIGEST),
		.data_digest = raw_flag(r, MSG_RAW_DATA_DIGEST),
		.order = raw_flag(r, MSG_RAW_BIG_ENDIAN) ? CRC32C_BIG :
		    CRC32C_LITTLE,
		.max_dsl = recv_limit(r),
	};
	*out = *in;
	out->max_dsl = r->params.send_dsl;
}

/* For what is read from now on, and what is submitted from now on. */
void
raw_apply_framing(struct raw *r)
{
	struct pdu_framing in, out;

	raw_framing(r, &in, &out);
	pump_set_framing(r->pump, &in, &out);
}

/* --- deadlines of the connection --- */

static void
set_deadline(struct raw *r, struct loop_timer *timer, uint64_t *at,
    uint32_t ms)
{
	*at = ms == 0 ? 0 : loop_now(r->worker->loop) + ms;
	if (ms == 0)
		loop_timer_clear(timer);
	else
		loop_timer_set(timer, ms);
}

void
raw_read_over(void *arg)
{
	raw_fail(arg, ETIMEDOUT, "the read deadline has passed");
}

void
raw_write_over(void *arg)
{
	struct raw *r = arg;

	r->write_over = true;
	if (raw_unsent(r) > 0)
		raw_fail(r, ETIMEDOUT, "the write deadline has passed");
}

/* --- SET --- */

static void
set_params(struct raw *r, const struct msg_set *m)
{
	uint32_t flags = m->mask & MSG_RAW_SETTABLE;

	r->params.flags = (r->params.flags & ~flags) | (m->flags & flags);
	if ((m->mask & MSG_RAW_SET_RECV_DSL) != 0)
		r->params.recv_dsl = m->recv_dsl;
	if ((m->mask & MSG_RAW_SET_SEND_DSL) != 0)
		r->params.send_dsl = m->send_dsl;
	if ((m->mask & MSG_RAW_SET_READ_DEADLINE) != 0)
		set_deadline(r, r->read_timer, &r->read_at, m->read_deadline);
	if ((m->mask & MSG_RAW_SET_WRITE_DEADLINE) != 0) {
		r->write_over = false;
		set_deadline(r, r->write_timer, &r->write_at,
		    m->write_deadline);
	}
	r->set_mask |= m->mask;
}

bool
raw_set(struct raw *r, const struct msg_set *m, struct refusal *why)
{
	if (r->state != RAW_OPEN)
		return guard_no(why, r->state == RAW_SHARING ? MSG_R_BUSY :
		    MSG_R_BAD_STATE, "the connection is %s",
		    r->state == RAW_SHARING ? "being shared" : "not open");
	if ((m->flags & MSG_RAW_UNCHECKED) != 0 && !r->may_uncheck)
		return guard_no(why, MSG_R_NOT_PERMITTED, "no raw rule of "
		    "yours has unchecked = yes for this target");
	set_params(r, m);
	raw_apply_framing(r);
	r->held_manual = false;
	raw_hold(r);
	return true;
}
