/* SPDX-License-Identifier: ISC */
/*
 * The bytes of a connection: moved, counted, paused, and led through the
 * faults that are set for it.  It is the only place that reads or writes a
 * target's socket.
 */
#include "config.h"

#include <sys/socket.h>
#include <sys/uio.h>

#include <assert.h>
#include <errno.h>

#include "daemon/conn_internal.h"
#include "daemon/worker.h"

static_assert(CONN_LABEL_MAX == FAULT_LABEL_MAX, "labels differ in length");

/* --- readiness --- */

void
conn_set_want(struct conn *c, unsigned want)
{
	bool reads = (want & ~c->want & LOOP_READ) != 0;

	c->want = want;
	loop_io_want(c->io, want & ~c->held);
	/* A fault may be due that no byte announces. */
	if (reads && c->faults.active != NULL)
		loop_post(c->worker->loop, &c->wake);
}

bool
conn_listens(const struct conn *c, unsigned event)
{
	return c->state == CONN_ST_CONNECTED &&
	    (c->want & ~c->held & event) != 0;
}

/* Job: a read may have a result, whatever the socket says. */
static void
on_wake(void *arg)
{
	struct conn *c = arg;

	if (conn_listens(c, LOOP_READ))
		c->ops->on_readable(c->arg);
}

/* --- what faults ask of it --- */

/* An adopted socket may block, so every call says that it must not. */
static ssize_t
move(void *arg, enum fault_dir dir, struct iovec *iov, int iovcnt)
{
	const struct conn *c = arg;
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = (size_t)iovcnt };
	ssize_t moved;

	do {
		moved = dir == FAULT_READ ?
		    recvmsg(c->fd, &msg, MSG_DONTWAIT) :
		    sendmsg(c->fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
	} while (moved == -1 && errno == EINTR);
	return moved;
}

static bool
readable(void *arg)
{
	const struct conn *c = arg;
	char byte;

	return recv(c->fd, &byte, 1, MSG_DONTWAIT | MSG_PEEK) != -1 ||
	    (errno != EAGAIN && errno != EWOULDBLOCK);
}

static void
hold(void *arg, enum fault_dir dir, bool on)
{
	struct conn *c = arg;
	unsigned event = dir == FAULT_READ ? LOOP_READ : LOOP_WRITE;

	c->held = on ? c->held | event : c->held & ~event;
	if (c->state == CONN_ST_CONNECTED)
		loop_io_want(c->io, c->want & ~c->held);
}

static void
wake(void *arg)
{
	struct conn *c = arg;

	loop_post(c->worker->loop, &c->wake);
}

static const struct fault_port_ops port_ops = {
	.move = move,
	.readable = readable,
	.hold = hold,
	.wake = wake
};

void
conn_io_init(struct conn *c)
{
	loop_job_init(&c->wake, on_wake, c);
	fault_port_init(&c->faults, c->worker->faults, &port_ops, c,
	    &c->bytes_in, &c->bytes_out);
}

/* --- bytes --- */

/* What a system call that moves bytes returned, as a three-valued result. */
static enum conn_io
io_result(ssize_t moved, uint64_t *count, size_t *n, int *error)
{
	*n = 0;
	*error = 0;
	if (moved > 0) {
		*n = (size_t)moved;
		*count += *n;
		return CONN_PROGRESS;
	}
	if (moved == 0)
		return CONN_CLOSED;
	if (errno == EAGAIN || errno == EWOULDBLOCK)
		return CONN_WOULD_BLOCK;
	*error = errno;
	return CONN_CLOSED;
}

enum conn_io
conn_recv(struct conn *c, struct iovec *iov, int iovcnt, size_t *n,
    int *error)
{
	ssize_t moved;

	if (c->faults.active == NULL)
		moved = move(c, FAULT_READ, iov, iovcnt);
	else
		moved = fault_move(&c->faults, FAULT_READ, iov, iovcnt);
	return io_result(moved, &c->bytes_in, n, error);
}

enum conn_io
conn_send(struct conn *c, struct iovec *iov, int iovcnt, size_t *n,
    int *error)
{
	ssize_t moved;

	if (c->faults.active == NULL)
		moved = move(c, FAULT_WRITE, iov, iovcnt);
	else
		moved = fault_move(&c->faults, FAULT_WRITE, iov, iovcnt);
	return io_result(moved, &c->bytes_out, n, error);
}

static void
want(struct conn *c, unsigned event, bool on)
{
	if (c->state == CONN_ST_CONNECTED)
		conn_set_want(c, on ? c->want | event : c->want & ~event);
}

void
conn_want_write(struct conn *c, bool on)
{
	want(c, LOOP_WRITE, on);
}

void
conn_want_read(struct conn *c, bool on)
{
	want(c, LOOP_READ, on);
}

uint64_t
conn_bytes_in(const struct conn *c)
{
	return c->bytes_in;
}

uint64_t
conn_bytes_out(const struct conn *c)
{
	return c->bytes_out;
}
