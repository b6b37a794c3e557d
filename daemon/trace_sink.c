/* SPDX-License-Identifier: ISC */
/*
 * A ring of bytes in front of a reader's socket.  It is written once a turn
 * and when the socket has room again, never waits, and knows nothing of what
 * the bytes mean.
 */
#include "config.h"

#include <sys/socket.h>
#include <sys/uio.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/loop.h"
#include "daemon/trace_priv.h"

struct trace_sink {
	struct loop		*loop;
	int			 fd;
	struct loop_io		*io;
	struct loop_timer	*timer;		/* after trace_sink_finish() */
	struct loop_job		 write_job;
	struct loop_job		 reap_job;
	void			(*on_end)(void *);
	void			*arg;
	bool			 finishing;
	bool			 closed;
	size_t			 size;
	size_t			 at;		/* first byte to be written */
	size_t			 len;
	uint8_t			 ring[];
};

static void
reap(void *arg)
{
	free(arg);
}

static void
end(struct trace_sink *s)
{
	if (s->closed)
		return;
	trace_sink_close(s);
	s->on_end(s->arg);
}

/* Write once; false if the reader is gone. */
static bool
flush(struct trace_sink *s)
{
	size_t first = s->size - s->at < s->len ? s->size - s->at : s->len;
	struct iovec iov[2] = {
		{ s->ring + s->at, first }, { s->ring, s->len - first },
	};
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = 2 };
	ssize_t n;

	if (s->len == 0)
		return true;
	do {
		n = sendmsg(s->fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
	} while (n == -1 && errno == EINTR);
	if (n == -1)
		return errno == EAGAIN || errno == EWOULDBLOCK;
	s->at = (s->at + (size_t)n) % s->size;
	s->len -= (size_t)n;
	return true;
}

static void
write_some(void *arg)
{
	struct trace_sink *s = arg;

	if (!flush(s) || (s->finishing && s->len == 0)) {
		end(s);
		return;
	}
	loop_io_want(s->io, LOOP_READ | (s->len > 0 ? LOOP_WRITE : 0));
}

/* What a reader says is no matter, but that it has gone. */
static bool
reader_is_there(struct trace_sink *s)
{
	char buf[4096];
	ssize_t n = recv(s->fd, buf, sizeof(buf), MSG_DONTWAIT);

	return n > 0 || (n == -1 && (errno == EAGAIN || errno == EINTR));
}

static void
on_io(void *arg, unsigned events)
{
	struct trace_sink *s = arg;

	if ((events & LOOP_READ) != 0 && !reader_is_there(s))
		end(s);
	else if ((events & LOOP_WRITE) != 0)
		write_some(s);
}

static void
on_timer(void *arg)
{
	end(arg);
}

struct trace_sink *
trace_sink_new(struct loop *loop, int fd, size_t size,
    void (*on_end)(void *arg), void *arg)
{
	struct trace_sink *s = malloc(sizeof(*s) + size);

	if (s == NULL)
		return NULL;
	*s = (struct trace_sink){ .loop = loop, .fd = fd, .on_end = on_end,
	    .arg = arg, .size = size };
	loop_job_init(&s->write_job, write_some, s);
	loop_job_init(&s->reap_job, reap, s);
	s->io = loop_io_new(loop, fd, on_io, s);
	s->timer = loop_timer_new(loop, on_timer, s);
	if (s->io == NULL || s->timer == NULL) {
		loop_io_free(s->io);
		loop_timer_free(s->timer);
		free(s);
		errno = ENOMEM;
		return NULL;
	}
	loop_io_want(s->io, LOOP_READ);
	return s;
}

size_t
trace_sink_room(const struct trace_sink *s)
{
	return s->size - s->len;
}

size_t
trace_sink_unread(const struct trace_sink *s)
{
	return s->len;
}

void
trace_sink_put(struct trace_sink *s, const void *buf, size_t len)
{
	size_t to = (s->at + s->len) % s->size, first;

	if (len == 0 || len > s->size - s->len)
		return;
	first = s->size - to < len ? s->size - to : len;
	memcpy(s->ring + to, buf, first);
	memcpy(s->ring, (const uint8_t *)buf + first, len - first);
	s->len += len;
	loop_post(s->loop, &s->write_job);
}

void
trace_sink_finish(struct trace_sink *s, uint32_t ms)
{
	s->finishing = true;
	loop_timer_set(s->timer, ms);
	loop_post(s->loop, &s->write_job);
}

void
trace_sink_close(struct trace_sink *s)
{
	if (s == NULL || s->closed)
		return;
	s->closed = true;
	(void)flush(s);
	loop_io_free(s->io);
	loop_timer_free(s->timer);
	loop_unpost(s->loop, &s->write_job);
	close(s->fd);
	loop_reap(s->loop, &s->reap_job);
}
