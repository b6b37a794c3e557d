/* SPDX-License-Identifier: ISC */
/*
 * The RAM target: an iSCSI target in one process and one thread, made for
 * tests and benchmarks.  Puts the parts together and takes them apart.
 */
#include "config.h"

#include <sys/epoll.h>
#include <sys/signalfd.h>

#include <err.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/target/alloc.h"
#include "tests/target/conn.h"
#include "tests/target/ctl.h"

struct program {
	struct source	 signals;
	struct target	*target;
};

static void
print_counters(const struct target *t)
{
	json_t *all = ctl_counters(t);
	char *text = json_dumps(all, JSON_COMPACT | JSON_SORT_KEYS);

	if (text != NULL)
		(void)fprintf(stderr, "%s\n", text);
	free(text);
	json_decref(all);
}

static void
signal_ready(struct source *s, uint32_t events)
{
	struct program *p = (struct program *)(void *)s;
	struct signalfd_siginfo info;

	(void)events;
	if (read(s->fd, &info, sizeof(info)) != sizeof(info))
		return;
	if (info.ssi_signo == SIGUSR1)
		print_counters(p->target);
	else
		p->target->stopping = true;
}

static int
signals_open(struct program *p)
{
	sigset_t set;

	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGTERM);
	(void)sigaddset(&set, SIGINT);
	(void)sigaddset(&set, SIGUSR1);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return -errno;
	p->signals.fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (p->signals.fd < 0)
		return -errno;
	p->signals.ready = signal_ready;
	return loop_arm(p->target, &p->signals, EPOLLIN);
}

static int
disks_open(struct target *t)
{
	uint32_t i;
	int r = 0;

	for (i = 0; i < t->options.luns && r == 0; i++)
		r = disk_init(&t->disks[i], t->options.size,
		    t->options.block_size);
	return r;
}

/* Returns 0 or -errno, after saying what did not work. */
static int
program_open(struct program *p)
{
	struct target *t = p->target;
	unsigned i;
	int r;

	if ((r = loop_init(t)) < 0 || (r = signals_open(p)) < 0) {
		warnx("cannot start: %s", strerror(-r));
		return r;
	}
	if ((r = disks_open(t)) < 0) {
		warnx("--size: %s", strerror(-r));
		return r;
	}
	if (t->options.control != NULL &&
	    (r = ctl_open(t, t->options.control)) < 0) {
		warnx("--control %s: %s", t->options.control, strerror(-r));
		return r;
	}
	for (i = 0; i < t->options.nportals; i++) {
		r = portal_open(t, t->options.portals[i]);
		if (r < 0) {
			warnx("--portal %s: %s", t->options.portals[i],
			    strerror(-r));
			return r;
		}
	}
	for (i = 0; i < t->nportals; i++)
		(void)printf("listening on %s\n", t->portals[i].name);
	return fflush(stdout) == 0 ? 0 : -errno;
}

static void
program_close(struct program *p)
{
	struct target *t = p->target;
	struct conn *c;
	unsigned i;

	ctl_close(t);
	while ((c = TAILQ_FIRST(&t->conns)) != NULL)
		conn_close(c);
	conn_reap(t);
	for (i = 0; i < t->nportals; i++)
		portal_close(&t->portals[i]);
	for (i = 0; i < OPTIONS_LUNS_MAX; i++)
		disk_deinit(&t->disks[i]);
	out_free_cache(t);
	task_free_cache(t);
	if (p->signals.fd >= 0)
		(void)close(p->signals.fd);
	loop_deinit(t);
	free(t);
}

int
main(int argc, char **argv)
{
	struct program p = { .signals.fd = -1 };
	struct target *t = xalloc(sizeof(*t));
	int r;

	TAILQ_INIT(&t->conns);
	TAILQ_INIT(&t->reap);
	t->epoll = -1;
	p.target = t;
	r = options_read(&t->options, argc, argv);
	if (r < 0) {
		t->queue_depth = t->options.queue_depth;
		r = program_open(&p);
		if (r == 0)
			r = loop_run(t);
		r = r < 0 ? 1 : 0;
	}
	program_close(&p);
	return r;
}
