/* SPDX-License-Identifier: ISC */
/*
 * The event loop: epoll, level-triggered, one thread.  It knows sources and
 * the list of closed connections, which it frees when nothing can refer to
 * them any more: after a whole turn.
 */
#include "config.h"

#include <sys/epoll.h>

#include <errno.h>
#include <unistd.h>

#include "tests/target/conn.h"
#include "tests/target/target.h"

#define LOOP_EVENTS 64

int
loop_init(struct target *t)
{
	t->epoll = epoll_create1(EPOLL_CLOEXEC);
	return t->epoll < 0 ? -errno : 0;
}

void
loop_deinit(struct target *t)
{
	if (t->epoll >= 0)
		(void)close(t->epoll);
	t->epoll = -1;
}

int
loop_arm(struct target *t, struct source *s, uint32_t events)
{
	struct epoll_event ev = { .events = events, .data.ptr = s };
	int op = EPOLL_CTL_MOD;

	if (events == s->armed)
		return 0;
	if (s->armed == 0)
		op = EPOLL_CTL_ADD;
	else if (events == 0)
		op = EPOLL_CTL_DEL;
	if (epoll_ctl(t->epoll, op, s->fd, &ev) < 0)
		return -errno;
	s->armed = events;
	return 0;
}

int
loop_run(struct target *t)
{
	struct epoll_event events[LOOP_EVENTS];
	int i;
	int n;

	while (!t->stopping) {
		n = epoll_wait(t->epoll, events, LOOP_EVENTS, -1);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		for (i = 0; i < n; i++) {
			struct source *s = events[i].data.ptr;

			/* Closed by another event of this turn. */
			if (s->fd >= 0)
				s->ready(s, events[i].events);
		}
		conn_reap(t);
	}
	return 0;
}
