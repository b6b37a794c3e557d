/* SPDX-License-Identifier: ISC */
/*
 * Bytes on their way through the faults of one connection.  Before each move
 * all that is set is weighed; then it is held back, failed, or done with as
 * many bytes as bring it exactly to the next place where something happens.
 */
#include "config.h"

#include <errno.h>
#include <string.h>

#include "daemon/fault_internal.h"
#include "daemon/loop.h"

/* What the faults of a port say about the next move in one direction. */
struct verdict {
	struct fault_group	*group;
	size_t			 limit;		/* bytes that may move */
	uint32_t		 delay;		/* ms; 0: none */
	struct fault		*delayed;
	struct fault		*stall;
	struct fault		*failure;
	struct fault		*cut;		/* made the limit by its size */
	uint8_t			 flip;		/* of the one byte that moves */
};

static void
weigh_one(struct verdict *v, struct fault *fault, uint64_t pos, uint64_t at)
{
	if (pos < at) {
		if (at - pos < v->limit) {
			v->limit = (size_t)(at - pos);
			v->cut = NULL;
		}
		return;
	}
	switch (fault->spec.kind) {
	case FAULT_ERRNO:
	case FAULT_CLOSE:
		if (v->failure == NULL)
			v->failure = fault;
		break;
	case FAULT_CORRUPT:
		if (pos == at) {
			v->limit = 1;
			v->cut = NULL;
			v->flip ^= fault->spec.mask;
		}
		break;
	case FAULT_SHORT:
		if (fault->spec.bytes < v->limit) {
			v->limit = fault->spec.bytes;
			v->cut = fault;
		}
		break;
	case FAULT_DELAY:
		if (fault->spec.ms > v->delay) {
			v->delay = fault->spec.ms;
			v->delayed = fault;
		}
		break;
	case FAULT_STALL:
		v->stall = fault;
		break;
	case FAULT_KINDS:
		break;
	}
}

static void
weigh(const struct fault_port *p, enum fault_dir dir, uint64_t pos,
    struct verdict *v)
{
	struct fault *fault;

	*v = (struct verdict){ .group = p->active, .limit = SIZE_MAX };
	if (v->group == NULL)
		return;
	TAILQ_FOREACH(fault, &v->group->list, link) {
		if (!fault->spent && fault->spec.dir == dir)
			weigh_one(v, fault, pos, fault_position(fault, p));
	}
}

static void
delay_over(struct fault_port *p, enum fault_dir dir)
{
	p->side[dir].due = true;
	p->ops->hold(p->arg, dir, false);
	if (dir == FAULT_READ)
		p->ops->wake(p->arg);
}

static void
read_delay_over(void *arg)
{
	delay_over(arg, FAULT_READ);
}

static void
write_delay_over(void *arg)
{
	delay_over(arg, FAULT_WRITE);
}

/* Begin to wait; false if it can not, with errno set. */
static bool
delay_start(struct fault_port *p, enum fault_dir dir, const struct verdict *v)
{
	struct fault_side *side = &p->side[dir];

	if (side->timer == NULL)
		side->timer = loop_timer_new(p->faults->loop,
		    dir == FAULT_READ ? read_delay_over : write_delay_over, p);
	if (side->timer == NULL)
		return false;
	loop_timer_set(side->timer, v->delay);
	v->delayed->fired++;
	p->ops->hold(p->arg, dir, true);
	return true;
}

/*
 * Whether the move has to wait, which is so with errno set: EAGAIN, or why it
 * fails.  What is not there to be read can not be late, either.
 */
static bool
held_back(struct fault_port *p, enum fault_dir dir, const struct verdict *v)
{
	struct fault_side *side = &p->side[dir];

	if (v->stall != NULL) {
		if (!side->stalled)
			v->stall->fired++;
		side->stalled = true;
		p->ops->hold(p->arg, dir, true);
		errno = EAGAIN;
		return true;
	}
	if (v->delayed == NULL || side->due)
		return false;
	errno = EAGAIN;
	if (side->timer != NULL && loop_timer_armed(side->timer))
		return true;
	if (dir == FAULT_READ && v->failure == NULL &&
	    !p->ops->readable(p->arg)) {
		errno = EAGAIN;
		return true;
	}
	if (delay_start(p, dir, v))
		errno = EAGAIN;
	return true;
}

/* The move fails, or finds the end of the stream. */
static ssize_t
fail(struct fault_port *p, enum fault_dir dir, const struct verdict *v)
{
	struct fault *fault = v->failure;
	const bool close = fault->spec.kind == FAULT_CLOSE;

	fault->fired++;
	if (!fault->spec.repeat)
		fault_spend(p->faults, v->group, fault);
	p->side[dir].due = false;
	if (close && dir == FAULT_READ)
		return 0;
	errno = close ? EPIPE : fault->spec.error;
	return -1;
}

/* Move at most `limit` bytes; the iovecs are put back as they were. */
static ssize_t
move_some(struct fault_port *p, enum fault_dir dir, struct iovec *iov,
    int iovcnt, size_t limit)
{
	size_t before = 0, len;
	ssize_t moved;
	int i;

	for (i = 0; i < iovcnt; i++) {
		if (iov[i].iov_len >= limit - before)
			break;
		before += iov[i].iov_len;
	}
	if (i == iovcnt)
		return p->ops->move(p->arg, dir, iov, iovcnt);
	len = iov[i].iov_len;
	iov[i].iov_len = limit - before;
	moved = p->ops->move(p->arg, dir, iov, i + 1);
	iov[i].iov_len = len;
	return moved;
}

/* Move the byte that is to be corrupt, and nothing else. */
static ssize_t
move_flipped(struct fault_port *p, enum fault_dir dir, struct iovec *iov,
    int iovcnt, uint8_t flip)
{
	struct iovec one;
	uint8_t byte;
	ssize_t moved;
	int i;

	for (i = 0; i < iovcnt && iov[i].iov_len == 0; i++)
		;
	if (i == iovcnt)
		return p->ops->move(p->arg, dir, iov, iovcnt);
	byte = *(uint8_t *)iov[i].iov_base ^ flip;
	one = (struct iovec){ &byte, 1 };
	moved = p->ops->move(p->arg, dir, &one, 1);
	if (moved == 1 && dir == FAULT_READ)
		*(uint8_t *)iov[i].iov_base = byte ^ flip;
	return moved;
}

/* The one byte at `pos` has moved and was corrupt. */
static void
corrupted(struct fault_port *p, enum fault_dir dir, const struct verdict *v,
    uint64_t pos)
{
	struct fault *fault;

	TAILQ_FOREACH(fault, &v->group->list, link) {
		if (fault->spent || fault->spec.dir != dir ||
		    fault->spec.kind != FAULT_CORRUPT ||
		    fault_position(fault, p) != pos)
			continue;
		fault->fired++;
		if (!fault->spec.repeat)
			fault_spend(p->faults, v->group, fault);
	}
}

ssize_t
fault_move(struct fault_port *p, enum fault_dir dir, struct iovec *iov,
    int iovcnt)
{
	const uint64_t pos = *p->side[dir].moved;
	struct verdict v;
	ssize_t moved;

	weigh(p, dir, pos, &v);
	if (held_back(p, dir, &v))
		return -1;
	if (v.failure != NULL)
		return fail(p, dir, &v);
	if (v.flip != 0)
		moved = move_flipped(p, dir, iov, iovcnt, v.flip);
	else
		moved = move_some(p, dir, iov, iovcnt, v.limit);
	if (moved <= 0)
		return moved;
	p->side[dir].due = false;
	if (v.flip != 0)
		corrupted(p, dir, &v, pos);
	if (v.cut != NULL && (size_t)moved == v.limit)
		v.cut->fired++;
	/* What happens to the next byte need not wait until it is there. */
	weigh(p, dir, pos + (uint64_t)moved, &v);
	if (dir == FAULT_READ && v.failure != NULL)
		p->ops->wake(p->arg);
	return moved;
}

/* --- ports --- */

void
fault_port_init(struct fault_port *p, struct faults *f,
    const struct fault_port_ops *ops, void *arg, const uint64_t *in,
    const uint64_t *out)
{
	*p = (struct fault_port){
		.faults = f, .ops = ops, .arg = arg,
		.serial = ++f->last_serial,
		.side = { [FAULT_READ].moved = in, [FAULT_WRITE].moved = out },
	};
	TAILQ_INSERT_TAIL(&f->ports, p, link);
}

void
fault_port_changed(struct fault_port *p)
{
	struct fault_group *group = p->label == NULL ? NULL :
	    fault_group_find(p->faults, p->label);

	if (group != NULL && group->armed == 0)
		group = NULL;
	/* Where nothing was set, nothing waits. */
	if (p->active == NULL && group == NULL)
		return;
	p->active = group;
	for (unsigned dir = 0; dir < FAULT_DIRS; dir++) {
		struct fault_side *side = &p->side[dir];

		side->due = side->stalled = false;
		if (side->timer != NULL)
			loop_timer_clear(side->timer);
		p->ops->hold(p->arg, (enum fault_dir)dir, false);
	}
	p->ops->wake(p->arg);
}

void
fault_port_label(struct fault_port *p, const char *label)
{
	const char *old = p->label;

	p->label = label;
	fault_port_changed(p);
	if (label == NULL && old != NULL)
		fault_label_gone(p->faults, old);
}

void
fault_port_deinit(struct fault_port *p)
{
	struct faults *f = p->faults;

	if (f == NULL)
		return;
	TAILQ_REMOVE(&f->ports, p, link);
	for (unsigned dir = 0; dir < FAULT_DIRS; dir++)
		loop_timer_free(p->side[dir].timer);
	if (p->label != NULL)
		fault_label_gone(f, p->label);
	*p = (struct fault_port){ .faults = NULL };
}
