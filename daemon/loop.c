/* SPDX-License-Identifier: ISC */
/*
 * The event loop.  libevent only tells what is ready; this file then calls the
 * owners back in an order of its own (see loop.h), so that what one callback
 * frees is never called later in the same turn.  It knows nothing of what the
 * file descriptors are.
 *
 * The epoll changelist of libevent stays off: it deletes a watch only after
 * its fd has been closed, and a process that holds a duplicate of that fd
 * would keep the stale watch alive.
 */
#include "config.h"

#include <sys/queue.h>
#include <sys/time.h>

#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include <event2/event.h>
#include <event2/event_struct.h>

#include "daemon/loop.h"

/* Longest time a libevent timer is asked for; it just fires again. */
#define LOOP_MAX_SEC	(10u * 365 * 24 * 3600)

TAILQ_HEAD(loop_jobs, loop_job);

struct loop {
	struct event_base	*base;
	struct event		 wake;		/* bounds loop_turn() */
	struct loop_jobs	 ready;		/* what libevent reported */
	struct loop_jobs	 posted;
	struct loop_job		 marker;	/* end of those to run now */
	struct loop_jobs	 reap;
	uint64_t		 now;
	uint64_t		 turns;
	bool			 stop;
};

struct loop_io {
	struct loop		*loop;
	struct event		 rd;
	struct event		 wr;
	unsigned		 wanted;
	unsigned		 got;
	struct loop_job		 ready;
	loop_io_cb		*cb;
	void			*arg;
};

struct loop_timer {
	struct loop		*loop;
	struct event		 ev;
	bool			 armed;
	struct loop_job		 ready;
	loop_cb			*cb;
	void			*arg;
};

struct loop_signal {
	struct loop		*loop;
	struct event		 ev;
	struct loop_job		 ready;
};

static void
jobs_add(struct loop_jobs *jobs, struct loop_job *job)
{
	if (job->queued)
		return;
	job->queued = true;
	TAILQ_INSERT_TAIL(jobs, job, link);
}

static void
jobs_remove(struct loop_jobs *jobs, struct loop_job *job)
{
	if (!job->queued)
		return;
	job->queued = false;
	TAILQ_REMOVE(jobs, job, link);
}

/* Run all jobs of a list, those included that are added meanwhile. */
static void
jobs_run_all(struct loop_jobs *jobs)
{
	struct loop_job *job;

	while ((job = TAILQ_FIRST(jobs)) != NULL) {
		jobs_remove(jobs, job);
		job->cb(job->arg);
	}
}

static void
end_of_batch(void *arg)
{
	(void)arg;
}

/* Run the jobs posted so far; what they post comes behind the marker. */
static void
run_posted(struct loop *loop)
{
	struct loop_job *job;

	if (TAILQ_EMPTY(&loop->posted))
		return;
	jobs_add(&loop->posted, &loop->marker);
	while (loop->marker.queued) {
		job = TAILQ_FIRST(&loop->posted);
		jobs_remove(&loop->posted, job);
		job->cb(job->arg);
	}
}

/*
 * The coarse clock is the one that libevent's timers run by: with a finer one
 * a timer could seem to fire before its time.
 */
static void
read_clock(struct loop *loop)
{
	struct timespec ts;

	if (clock_gettime(CLOCK_MONOTONIC_COARSE, &ts) == -1)
		return;
	loop->now = (uint64_t)ts.tv_sec * 1000 +
	    (uint64_t)ts.tv_nsec / 1000000;
}

static void
on_wake(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)arg;
}

struct loop *
loop_new(void)
{
	struct loop *loop;

	loop = calloc(1, sizeof(*loop));
	if (loop == NULL)
		return NULL;
	loop->base = event_base_new();
	if (loop->base == NULL) {
		free(loop);
		errno = ENOMEM;
		return NULL;
	}
	TAILQ_INIT(&loop->ready);
	TAILQ_INIT(&loop->posted);
	TAILQ_INIT(&loop->reap);
	loop_job_init(&loop->marker, end_of_batch, NULL);
	evtimer_assign(&loop->wake, loop->base, on_wake, NULL);
	read_clock(loop);
	return loop;
}

void
loop_free(struct loop *loop)
{
	if (loop == NULL)
		return;
	while (!TAILQ_EMPTY(&loop->posted) || !TAILQ_EMPTY(&loop->reap)) {
		run_posted(loop);
		jobs_run_all(&loop->reap);
	}
	event_del(&loop->wake);
	event_base_free(loop->base);
	free(loop);
}

static int
turn(struct loop *loop)
{
	int flags = EVLOOP_ONCE | EVLOOP_NO_EXIT_ON_EMPTY;

	if (!TAILQ_EMPTY(&loop->posted) || !TAILQ_EMPTY(&loop->reap))
		flags |= EVLOOP_NONBLOCK;
	loop->turns++;
	if (event_base_loop(loop->base, flags) == -1)
		return -EIO;
	read_clock(loop);
	jobs_run_all(&loop->ready);
	run_posted(loop);
	jobs_run_all(&loop->reap);
	return 0;
}

int
loop_run(struct loop *loop)
{
	int error = 0;

	loop->stop = false;
	while (!loop->stop && error == 0)
		error = turn(loop);
	return error;
}

static struct timeval
timeval_of(uint64_t ms)
{
	struct timeval tv = { .tv_sec = LOOP_MAX_SEC };

	if (ms / 1000 < LOOP_MAX_SEC) {
		tv.tv_sec = (time_t)(ms / 1000);
		tv.tv_usec = (suseconds_t)(ms % 1000) * 1000;
	}
	return tv;
}

int
loop_turn(struct loop *loop, uint32_t timeout_ms)
{
	struct timeval tv = timeval_of(timeout_ms);
	int error;

	if (evtimer_add(&loop->wake, &tv) == -1)
		return -ENOMEM;
	error = turn(loop);
	evtimer_del(&loop->wake);
	return error;
}

void
loop_stop(struct loop *loop)
{
	loop->stop = true;
}

uint64_t
loop_now(const struct loop *loop)
{
	return loop->now;
}

uint64_t
loop_turns(const struct loop *loop)
{
	return loop->turns;
}

/* Tell the owner once, of all events it still wants. */
static void
io_dispatch(void *arg)
{
	struct loop_io *io = arg;
	unsigned events = io->got & io->wanted;

	io->got = 0;
	if (events != 0)
		io->cb(io->arg, events);
}

static void
on_io(evutil_socket_t fd, short what, void *arg)
{
	struct loop_io *io = arg;

	(void)fd;
	if ((what & EV_READ) != 0)
		io->got |= LOOP_READ;
	if ((what & EV_WRITE) != 0)
		io->got |= LOOP_WRITE;
	jobs_add(&io->loop->ready, &io->ready);
}

struct loop_io *
loop_io_new(struct loop *loop, int fd, loop_io_cb *cb, void *arg)
{
	struct loop_io *io;

	io = calloc(1, sizeof(*io));
	if (io == NULL)
		return NULL;
	io->loop = loop;
	io->cb = cb;
	io->arg = arg;
	loop_job_init(&io->ready, io_dispatch, io);
	if (event_assign(&io->rd, loop->base, fd, EV_READ | EV_PERSIST,
	    on_io, io) == -1 ||
	    event_assign(&io->wr, loop->base, fd, EV_WRITE | EV_PERSIST,
	    on_io, io) == -1) {
		free(io);
		errno = EINVAL;
		return NULL;
	}
	return io;
}

void
loop_io_want(struct loop_io *io, unsigned events)
{
	unsigned change = events ^ io->wanted;

	io->wanted = events;
	if ((change & LOOP_READ) != 0) {
		if ((events & LOOP_READ) != 0)
			event_add(&io->rd, NULL);
		else
			event_del(&io->rd);
	}
	if ((change & LOOP_WRITE) != 0) {
		if ((events & LOOP_WRITE) != 0)
			event_add(&io->wr, NULL);
		else
			event_del(&io->wr);
	}
}

void
loop_io_free(struct loop_io *io)
{
	if (io == NULL)
		return;
	event_del(&io->rd);
	event_del(&io->wr);
	jobs_remove(&io->loop->ready, &io->ready);
	free(io);
}

static void
timer_dispatch(void *arg)
{
	struct loop_timer *t = arg;

	t->armed = false;
	t->cb(t->arg);
}

static void
on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct loop_timer *t = arg;

	(void)fd;
	(void)what;
	jobs_add(&t->loop->ready, &t->ready);
}

struct loop_timer *
loop_timer_new(struct loop *loop, loop_cb *cb, void *arg)
{
	struct loop_timer *t;

	t = calloc(1, sizeof(*t));
	if (t == NULL)
		return NULL;
	t->loop = loop;
	t->cb = cb;
	t->arg = arg;
	loop_job_init(&t->ready, timer_dispatch, t);
	evtimer_assign(&t->ev, loop->base, on_timer, t);
	return t;
}

void
loop_timer_set(struct loop_timer *t, uint64_t ms)
{
	struct timeval tv = timeval_of(ms);

	jobs_remove(&t->loop->ready, &t->ready);
	t->armed = evtimer_add(&t->ev, &tv) == 0;
}

void
loop_timer_clear(struct loop_timer *t)
{
	evtimer_del(&t->ev);
	jobs_remove(&t->loop->ready, &t->ready);
	t->armed = false;
}

bool
loop_timer_armed(const struct loop_timer *t)
{
	return t->armed;
}

void
loop_timer_free(struct loop_timer *t)
{
	if (t == NULL)
		return;
	loop_timer_clear(t);
	free(t);
}

static void
on_signal(evutil_socket_t signo, short what, void *arg)
{
	struct loop_signal *s = arg;

	(void)signo;
	(void)what;
	jobs_add(&s->loop->ready, &s->ready);
}

struct loop_signal *
loop_signal_new(struct loop *loop, int signo, loop_cb *cb, void *arg)
{
	struct loop_signal *s;

	s = calloc(1, sizeof(*s));
	if (s == NULL)
		return NULL;
	s->loop = loop;
	loop_job_init(&s->ready, cb, arg);
	if (evsignal_assign(&s->ev, loop->base, signo, on_signal, s) == -1 ||
	    evsignal_add(&s->ev, NULL) == -1) {
		free(s);
		errno = EINVAL;
		return NULL;
	}
	return s;
}

void
loop_signal_free(struct loop_signal *s)
{
	if (s == NULL)
		return;
	evsignal_del(&s->ev);
	jobs_remove(&s->loop->ready, &s->ready);
	free(s);
}

void
loop_post(struct loop *loop, struct loop_job *job)
{
	jobs_add(&loop->posted, job);
}

void
loop_unpost(struct loop *loop, struct loop_job *job)
{
	jobs_remove(&loop->posted, job);
}

void
loop_reap(struct loop *loop, struct loop_job *job)
{
	jobs_add(&loop->reap, job);
}

struct event_base *
loop_base(struct loop *loop)
{
	return loop->base;
}
