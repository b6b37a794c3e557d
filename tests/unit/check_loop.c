/* SPDX-License-Identifier: ISC */
/*
 * The event loop (daemon/loop.h): the order within a turn, and that nothing
 * is called after its owner took it back.
 */
#include "config.h"

#include <sys/socket.h>

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "daemon/loop.h"
#include "tests/unit/unit.h"

/* Longer than libcheck lets a test run: a turn that blocks by mistake fails. */
#define FOREVER	60000

struct fixture {
	struct loop		*loop;
	int			 sv[2];
	struct loop_io		*io[2];
	struct loop_timer	*timer;
	struct loop_job		 job[3];
	char			 trace[64];
	unsigned		 events;
	uint64_t		 fired;
};

static struct fixture fx;

static void
note(char c)
{
	size_t len = strlen(fx.trace);

	ck_assert_uint_lt(len, sizeof(fx.trace) - 1);
	fx.trace[len] = c;
}

static void
setup(void)
{
	memset(&fx, 0, sizeof(fx));
	fx.loop = loop_new();
	ck_assert_ptr_nonnull(fx.loop);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0,
	    fx.sv), 0);
}

static void
teardown(void)
{
	loop_io_free(fx.io[0]);
	loop_io_free(fx.io[1]);
	loop_timer_free(fx.timer);
	loop_free(fx.loop);
	close(fx.sv[0]);
	if (fx.sv[1] != -1)
		close(fx.sv[1]);
}

static void
poke(int fd)
{
	ck_assert_int_eq(write(fd, "x", 1), 1);
}

static void
note_a(void *arg)
{
	(void)arg;
	note('a');
}

static void
note_b(void *arg)
{
	(void)arg;
	note('b');
}

static void
note_reap(void *arg)
{
	(void)arg;
	note('R');
}

static void
on_io_note(void *arg, unsigned events)
{
	(void)arg;
	fx.events = events;
	note('i');
}

static void
post_from_io(void *arg, unsigned events)
{
	(void)arg;
	(void)events;
	loop_io_want(fx.io[0], 0);
	note('i');
	loop_reap(fx.loop, &fx.job[2]);
	loop_post(fx.loop, &fx.job[0]);
}

static void
post_b(void *arg)
{
	(void)arg;
	note('p');
	loop_post(fx.loop, &fx.job[1]);
}

/* File descriptors, then jobs, then the reap list; a job's job comes later. */
START_TEST(test_order)
{
	loop_job_init(&fx.job[0], post_b, NULL);
	loop_job_init(&fx.job[1], note_b, NULL);
	loop_job_init(&fx.job[2], note_reap, NULL);
	fx.io[0] = loop_io_new(fx.loop, fx.sv[0], post_from_io, NULL);
	loop_io_want(fx.io[0], LOOP_READ);
	poke(fx.sv[1]);
	ck_assert_int_eq(loop_turn(fx.loop, FOREVER), 0);
	ck_assert_str_eq(fx.trace, "ipR");
	ck_assert_int_eq(loop_turn(fx.loop, FOREVER), 0);
	ck_assert_str_eq(fx.trace, "ipRb");
	ck_assert_uint_eq(loop_turns(fx.loop), 2);
}
END_TEST

START_TEST(test_job_once_and_unpost)
{
	loop_job_init(&fx.job[0], note_a, NULL);
	loop_job_init(&fx.job[1], note_b, NULL);
	loop_post(fx.loop, &fx.job[0]);
	loop_post(fx.loop, &fx.job[1]);
	loop_post(fx.loop, &fx.job[0]);
	loop_turn(fx.loop, FOREVER);
	ck_assert_str_eq(fx.trace, "ab");
	loop_post(fx.loop, &fx.job[0]);
	loop_post(fx.loop, &fx.job[1]);
	loop_unpost(fx.loop, &fx.job[0]);
	loop_unpost(fx.loop, &fx.job[0]);
	loop_turn(fx.loop, FOREVER);
	ck_assert_str_eq(fx.trace, "abb");
}
END_TEST

static void
unpost_b(void *arg)
{
	(void)arg;
	loop_unpost(fx.loop, &fx.job[1]);
}

/* Also out of the batch that is running, the last one included. */
START_TEST(test_unpost_in_batch)
{
	loop_job_init(&fx.job[0], unpost_b, NULL);
	loop_job_init(&fx.job[1], note_b, NULL);
	loop_job_init(&fx.job[2], note_a, NULL);
	loop_post(fx.loop, &fx.job[0]);
	loop_post(fx.loop, &fx.job[1]);
	loop_turn(fx.loop, FOREVER);
	ck_assert_str_eq(fx.trace, "");
	loop_post(fx.loop, &fx.job[2]);
	loop_turn(fx.loop, FOREVER);
	ck_assert_str_eq(fx.trace, "a");
}
END_TEST

static void
reap_more(void *arg)
{
	(void)arg;
	note('r');
	loop_reap(fx.loop, &fx.job[2]);
}

static void
reap_first(void *arg)
{
	(void)arg;
	loop_reap(fx.loop, &fx.job[1]);
}

START_TEST(test_reap_is_last)
{
	struct loop_job last;

	loop_job_init(&fx.job[0], reap_first, NULL);
	loop_job_init(&fx.job[1], reap_more, NULL);
	loop_job_init(&fx.job[2], note_reap, NULL);
	loop_job_init(&last, note_a, NULL);
	loop_post(fx.loop, &fx.job[0]);
	loop_post(fx.loop, &last);
	loop_turn(fx.loop, FOREVER);
	ck_assert_str_eq(fx.trace, "arR");
	/* Outside a turn: the next one does not block. */
	loop_reap(fx.loop, &fx.job[2]);
	loop_turn(fx.loop, FOREVER);
	ck_assert_str_eq(fx.trace, "arRR");
}
END_TEST

START_TEST(test_free_runs_the_rest)
{
	struct loop *loop = loop_new();

	loop_job_init(&fx.job[2], note_reap, NULL);
	loop_job_init(&fx.job[1], note_b, NULL);
	loop_post(loop, &fx.job[1]);
	loop_reap(loop, &fx.job[2]);
	loop_free(loop);
	ck_assert_str_eq(fx.trace, "bR");
}
END_TEST

START_TEST(test_both_events_at_once)
{
	fx.io[0] = loop_io_new(fx.loop, fx.sv[0], on_io_note, NULL);
	poke(fx.sv[1]);
	loop_turn(fx.loop, 0);
	ck_assert_str_eq(fx.trace, "");
	loop_io_want(fx.io[0], LOOP_READ | LOOP_WRITE);
	loop_turn(fx.loop, FOREVER);
	ck_assert_str_eq(fx.trace, "i");
	ck_assert_uint_eq(fx.events, LOOP_READ | LOOP_WRITE);
	loop_io_want(fx.io[0], LOOP_WRITE);
	loop_turn(fx.loop, FOREVER);
	ck_assert_uint_eq(fx.events, LOOP_WRITE);
	loop_io_want(fx.io[0], LOOP_READ);
	loop_turn(fx.loop, FOREVER);
	ck_assert_uint_eq(fx.events, LOOP_READ);
	ck_assert_str_eq(fx.trace, "iii");
}
END_TEST

static void
free_self(void *arg, unsigned events)
{
	(void)arg;
	(void)events;
	note('f');
	loop_io_free(fx.io[0]);
	fx.io[0] = NULL;
}

START_TEST(test_io_free_in_callback)
{
	fx.io[0] = loop_io_new(fx.loop, fx.sv[0], free_self, NULL);
	loop_io_want(fx.io[0], LOOP_READ | LOOP_WRITE);
	poke(fx.sv[1]);
	loop_turn(fx.loop, FOREVER);
	loop_turn(fx.loop, 0);
	ck_assert_str_eq(fx.trace, "f");
}
END_TEST

/* Whoever is called first ends the other's watch. */
static void
end_other(void *arg, unsigned events)
{
	unsigned other = *(unsigned *)arg;

	(void)events;
	note('e');
	loop_io_free(fx.io[other]);
	fx.io[other] = NULL;
}

static void
unwant_other(void *arg, unsigned events)
{
	(void)events;
	note('u');
	loop_io_want(fx.io[*(unsigned *)arg], 0);
}

static void
two_ready(loop_io_cb *cb, unsigned *other)
{
	unsigned i;

	for (i = 0; i < 2; i++) {
		other[i] = !i;
		fx.io[i] = loop_io_new(fx.loop, fx.sv[i], cb, &other[i]);
		loop_io_want(fx.io[i], LOOP_READ);
		poke(fx.sv[!i]);
	}
}

START_TEST(test_io_free_other)
{
	unsigned other[2];

	two_ready(end_other, other);
	loop_turn(fx.loop, FOREVER);
	ck_assert_str_eq(fx.trace, "e");
}
END_TEST

START_TEST(test_io_unwant_other)
{
	unsigned other[2];

	two_ready(unwant_other, other);
	loop_turn(fx.loop, FOREVER);
	ck_assert_str_eq(fx.trace, "u");
}
END_TEST

/* File descriptors that this process's epolls watch, by /proc. */
static unsigned
watched_fds(void)
{
	char path[64], line[128];
	unsigned count = 0;
	FILE *f;
	int fd;

	for (fd = 0; fd < 64; fd++) {
		snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
		f = fopen(path, "r");
		if (f == NULL)
			continue;
		while (fgets(line, sizeof(line), f) != NULL)
			count += strncmp(line, "tfd:", 4) == 0;
		fclose(f);
	}
	return count;
}

/*
 * The watched fd is closed while another process could still hold the socket:
 * what arrives then must neither call anybody nor keep the loop awake.
 */
START_TEST(test_closed_fd_with_duplicate)
{
	int peer = dup(fx.sv[1]);
	unsigned before = watched_fds();

	fx.io[0] = loop_io_new(fx.loop, fx.sv[1], on_io_note, NULL);
	loop_io_want(fx.io[0], LOOP_READ);
	loop_turn(fx.loop, 0);
	ck_assert_uint_eq(watched_fds(), before + 1);
	loop_io_free(fx.io[0]);
	fx.io[0] = NULL;
	close(fx.sv[1]);
	fx.sv[1] = -1;
	poke(fx.sv[0]);
	loop_turn(fx.loop, 0);
	ck_assert_uint_eq(watched_fds(), before);
	ck_assert_str_eq(fx.trace, "");
	close(peer);
}
END_TEST

static void
on_timer(void *arg)
{
	(void)arg;
	note('t');
	fx.fired = loop_now(fx.loop);
}

static void
rearm_once(void *arg)
{
	(void)arg;
	note('t');
	ck_assert(!loop_timer_armed(fx.timer));
	if (fx.trace[1] == '\0')
		loop_timer_set(fx.timer, 0);
}

static void
free_timer(void *arg)
{
	(void)arg;
	note('t');
	loop_timer_free(fx.timer);
	fx.timer = NULL;
}

START_TEST(test_timer_fires_once_not_early)
{
	uint64_t start;
	int i;

	fx.timer = loop_timer_new(fx.loop, on_timer, NULL);
	ck_assert(!loop_timer_armed(fx.timer));
	loop_turn(fx.loop, 0);
	for (i = 1; i <= 5; i++) {
		start = loop_now(fx.loop);
		loop_timer_set(fx.timer, 7);
		ck_assert(loop_timer_armed(fx.timer));
		while (loop_timer_armed(fx.timer))
			loop_turn(fx.loop, FOREVER);
		ck_assert_uint_ge(fx.fired, start + 7);
		ck_assert_uint_eq(strlen(fx.trace), (size_t)i);
	}
	loop_turn(fx.loop, 20);
	ck_assert_str_eq(fx.trace, "ttttt");
}
END_TEST

/* Both are due; whoever fires first takes the other back. */
static void
clear_other(void *arg)
{
	struct loop_timer **other = arg;

	note('c');
	loop_timer_free(*other);
	*other = NULL;
}

START_TEST(test_timer_free_other)
{
	struct loop_timer *t[2];
	struct loop *clock;
	uint64_t start;

	t[0] = loop_timer_new(fx.loop, clear_other, &t[1]);
	t[1] = loop_timer_new(fx.loop, clear_other, &t[0]);
	loop_timer_set(t[0], 1);
	loop_timer_set(t[1], 1);
	/* Time passes in another loop, so that both are due at once. */
	start = loop_now(fx.loop);
	for (clock = loop_new(); loop_now(clock) < start + 20;)
		loop_turn(clock, 5);
	loop_free(clock);
	loop_turn(fx.loop, FOREVER);
	loop_turn(fx.loop, 10);
	ck_assert_str_eq(fx.trace, "c");
	ck_assert(t[0] == NULL || t[1] == NULL);
	loop_timer_free(t[0]);
	loop_timer_free(t[1]);
}
END_TEST

START_TEST(test_timer_clear_rearm_free)
{
	fx.timer = loop_timer_new(fx.loop, on_timer, NULL);
	loop_timer_set(fx.timer, 0);
	loop_timer_clear(fx.timer);
	loop_timer_clear(fx.timer);
	loop_turn(fx.loop, 10);
	ck_assert_str_eq(fx.trace, "");
	/* The later of two settings counts, no time is too long. */
	loop_timer_set(fx.timer, 0);
	loop_timer_set(fx.timer, UINT64_MAX);
	loop_turn(fx.loop, 10);
	ck_assert_str_eq(fx.trace, "");
	loop_timer_free(fx.timer);

	fx.timer = loop_timer_new(fx.loop, rearm_once, NULL);
	loop_timer_set(fx.timer, 0);
	loop_turn(fx.loop, FOREVER);
	loop_turn(fx.loop, FOREVER);
	ck_assert_str_eq(fx.trace, "tt");
	loop_timer_free(fx.timer);

	fx.timer = loop_timer_new(fx.loop, free_timer, NULL);
	loop_timer_set(fx.timer, 0);
	loop_turn(fx.loop, FOREVER);
	ck_assert_str_eq(fx.trace, "ttt");
}
END_TEST

static void
on_signal(void *arg)
{
	(void)arg;
	note('s');
	loop_stop(fx.loop);
}

START_TEST(test_signal_and_run)
{
	struct loop_signal *sig;

	sig = loop_signal_new(fx.loop, SIGUSR1, on_signal, NULL);
	ck_assert_ptr_nonnull(sig);
	ck_assert_int_eq(raise(SIGUSR1), 0);
	ck_assert_int_eq(loop_run(fx.loop), 0);
	ck_assert_str_eq(fx.trace, "s");
	loop_signal_free(sig);
	loop_signal_free(NULL);
}
END_TEST

static Suite *
loop_suite(void)
{
	Suite *suite = suite_create("loop");
	TCase *tc = tcase_create("loop");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, test_order);
	tcase_add_test(tc, test_job_once_and_unpost);
	tcase_add_test(tc, test_unpost_in_batch);
	tcase_add_test(tc, test_reap_is_last);
	tcase_add_test(tc, test_free_runs_the_rest);
	tcase_add_test(tc, test_both_events_at_once);
	tcase_add_test(tc, test_io_free_in_callback);
	tcase_add_test(tc, test_io_free_other);
	tcase_add_test(tc, test_io_unwant_other);
	tcase_add_test(tc, test_closed_fd_with_duplicate);
	tcase_add_test(tc, test_timer_fires_once_not_early);
	tcase_add_test(tc, test_timer_free_other);
	tcase_add_test(tc, test_timer_clear_rearm_free);
	tcase_add_test(tc, test_signal_and_run);
	suite_add_tcase(suite, tc);
	return suite;
}

int
main(void)
{
	return unit_run(loop_suite());
}
