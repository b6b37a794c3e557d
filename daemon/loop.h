/* SPDX-License-Identifier: ISC */
/*
 * The event loop of one worker.  loop.c is the only file that knows libevent
 * (resolve.c borrows its base for DNS).  One turn is: callbacks of ready file
 * descriptors, timers and signals; then the jobs posted so far; then the
 * reap list.  So a pointer stays valid until the turn in which its owner
 * closed it has ended.
 */
#ifndef DAEMON_LOOP_H
#define DAEMON_LOOP_H

#include <sys/queue.h>

#include <stdbool.h>
#include <stdint.h>

struct loop;
struct loop_io;
struct loop_timer;
struct loop_signal;
struct event_base;

/* Events of a file descriptor: wanted, and reported. */
enum {
	LOOP_READ = 0x01,
	LOOP_WRITE = 0x02
};

typedef void loop_io_cb(void *arg, unsigned events);
typedef void loop_cb(void *arg);

/*
 * Work for later, embedded in its owner.  Set up with loop_job_init(), then
 * post any number of times: it is queued at most once.
 */
struct loop_job {
	TAILQ_ENTRY(loop_job)	 link;
	loop_cb			*cb;
	void			*arg;
	bool			 queued;
};

/* Create a loop; NULL with errno set on failure. */
struct loop *loop_new(void);

/* Run what is still posted or to be reaped, then free the loop. */
void loop_free(struct loop *loop);

/* Run turns until loop_stop().  Returns 0, or a negative errno. */
int loop_run(struct loop *loop);

/* Run one turn, blocking at most `timeout_ms` (for tests and for drains). */
int loop_turn(struct loop *loop, uint32_t timeout_ms);

/* Make loop_run() return after the current turn. */
void loop_stop(struct loop *loop);

/*
 * Monotonic time in milliseconds, read once a turn and some milliseconds
 * coarse; by this clock no timer fires early.
 */
uint64_t loop_now(const struct loop *loop);

/* Turns run so far. */
uint64_t loop_turns(const struct loop *loop);

/*
 * Watch `fd`, with no event wanted at first.  The caller keeps the fd and
 * frees the watch before it closes the fd.  NULL with errno set on failure.
 */
struct loop_io *loop_io_new(struct loop *loop, int fd, loop_io_cb *cb,
    void *arg);

/* Replace the set of wanted events; cheap when nothing changes. */
void loop_io_want(struct loop_io *io, unsigned events);

/* End the watch; its callback does not run again.  NULL is allowed. */
void loop_io_free(struct loop_io *io);

/* A one-shot timer, not armed at first.  NULL with errno set on failure. */
struct loop_timer *loop_timer_new(struct loop *loop, loop_cb *cb, void *arg);

/* Arm (or re-arm) the timer to fire once in `ms` milliseconds. */
void loop_timer_set(struct loop_timer *t, uint64_t ms);

/* Disarm; harmless if not armed. */
void loop_timer_clear(struct loop_timer *t);

bool loop_timer_armed(const struct loop_timer *t);

/* Disarm and free.  NULL is allowed. */
void loop_timer_free(struct loop_timer *t);

/* Run `cb` in a turn after signal `signo`.  NULL with errno on failure. */
struct loop_signal *loop_signal_new(struct loop *loop, int signo, loop_cb *cb,
    void *arg);
void loop_signal_free(struct loop_signal *s);

static inline void
loop_job_init(struct loop_job *job, loop_cb *cb, void *arg)
{
	job->cb = cb;
	job->arg = arg;
	job->queued = false;
}

/*
 * Run the job once at the end of this turn.  A job posted by a running job
 * runs in the next turn, which then does not block.
 */
void loop_post(struct loop *loop, struct loop_job *job);

/*
 * Take a posted job back; harmless if it is not posted.  Not for a job that
 * was given to loop_reap().
 */
void loop_unpost(struct loop *loop, struct loop_job *job);

/*
 * Run the job after everything else of this turn: the place, and the only
 * one, where objects of the daemon are freed.
 */
void loop_reap(struct loop *loop, struct loop_job *job);

/* For resolve.c only. */
struct event_base *loop_base(struct loop *loop);

#endif
