/* SPDX-License-Identifier: ISC */
/*
 * One benchmark process: random reads or writes at a fixed queue depth, each
 * block stamped with its own address and checked.  Prints one line of JSON.
 * It knows nothing of daemons or targets; run.py starts those.
 */
#include "config.h"

#include <sys/resource.h>

#include <err.h>
#include <getopt.h>
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tests/bench/bench.h"

struct work {
	const struct bench_backend *backend;
	void		*b;
	uint64_t	 count;		/* requests to do */
	uint64_t	 started;
	uint64_t	 finished;
	uint64_t	 blocks;	/* of the disk that is used */
	uint64_t	 seed;
	uint32_t	 size;		/* bytes of a request */
	uint32_t	 depth;
	bool		 write;
	bool		 sequential;
	uint32_t	*latency;	/* ns, one a request */
};

static uint64_t
now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* xorshift64*: the same addresses for every backend. */
static uint64_t
next_random(struct work *w)
{
	w->seed ^= w->seed >> 12;
	w->seed ^= w->seed << 25;
	w->seed ^= w->seed >> 27;
	return w->seed * UINT64_C(2685821657736338717);
}

static void
stamp(struct bench_op *op)
{
	for (uint32_t i = 0; i < op->len / BENCH_BLOCK; i++) {
		uint64_t lba = op->lba + i;

		memcpy(op->data + (size_t)i * BENCH_BLOCK, &lba, sizeof(lba));
	}
}

static bool
stamped(const struct bench_op *op)
{
	for (uint32_t i = 0; i < op->len / BENCH_BLOCK; i++) {
		uint64_t lba;

		memcpy(&lba, op->data + (size_t)i * BENCH_BLOCK, sizeof(lba));
		if (lba != op->lba + i)
			return false;
	}
	return true;
}

static void
start(struct work *w, struct bench_op *op)
{
	uint64_t slots = w->blocks / (w->size / BENCH_BLOCK);
	uint64_t slot = w->sequential ? w->started % slots :
	    next_random(w) % slots;

	op->lba = slot * (w->size / BENCH_BLOCK);
	op->len = w->size;
	op->write = w->write;
	if (op->write)
		stamp(op);
	else
		memset(op->data, 0xee, 8);
	op->started = now_ns();
	w->started++;
	if (w->backend->submit(w->b, op) != 0)
		errx(1, "a request was not accepted");
}

void
bench_done(struct bench_op *op, bool good)
{
	struct work *w = op->work;

	if (!good)
		errx(1, "LBA %" PRIu64 ": the request failed", op->lba);
	if (!op->write && !stamped(op))
		errx(1, "LBA %" PRIu64 ": wrong data", op->lba);
	w->latency[w->finished++] = (uint32_t)(now_ns() - op->started);
	if (w->started < w->count)
		start(w, op);
}

static struct bench_op *
make_ops(struct work *w)
{
	struct bench_op *ops = calloc(w->depth, sizeof(*ops));

	if (ops == NULL)
		err(1, "calloc");
	for (uint32_t i = 0; i < w->depth; i++) {
		ops[i].work = w;
		ops[i].data = aligned_alloc(4096, w->size);
		if (ops[i].data == NULL)
			err(1, "aligned_alloc");
		memset(ops[i].data, 0, w->size);
	}
	return ops;
}

static void
free_ops(struct work *w, struct bench_op *ops)
{
	for (uint32_t i = 0; i < w->depth; i++) {
		free(ops[i].data);
		free(ops[i].backend);
	}
	free(ops);
}

static int
compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static double
cpu_us(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return (double)u.ru_utime.tv_sec * 1e6 + (double)u.ru_utime.tv_usec +
	    (double)u.ru_stime.tv_sec * 1e6 + (double)u.ru_stime.tv_usec;
}

static void
run(struct work *w)
{
	struct bench_op *ops = make_ops(w);
	double cpu = cpu_us(), seconds;
	uint64_t begun = now_ns();

	w->latency = calloc(w->count, sizeof(*w->latency));
	if (w->latency == NULL)
		err(1, "calloc");
	for (uint32_t i = 0; i < w->depth && w->started < w->count; i++)
		start(w, &ops[i]);
	while (w->finished < w->count) {
		if (w->backend->service(w->b) != 0)
			errx(1, "the connection failed");
	}
	seconds = (double)(now_ns() - begun) / 1e9;
	cpu = cpu_us() - cpu;
	qsort(w->latency, w->count, sizeof(*w->latency), compare);
	printf("{\"iops\": %.1f, \"p50_us\": %.1f, \"p99_us\": %.1f, "
	    "\"max_us\": %.1f, \"cpu_us\": %.3f, \"ops\": %" PRIu64 "}\n",
	    (double)w->count / seconds,
	    (double)w->latency[w->count / 2] / 1e3,
	    (double)w->latency[w->count * 99 / 100] / 1e3,
	    (double)w->latency[w->count - 1] / 1e3,
	    cpu / (double)w->count, w->count);
	free(w->latency);
	free_ops(w, ops);
}

/*
 * Keep a virtual CPU from halting without taking any time that somebody else
 * wants: an idle one needs tens of microseconds to wake.
 */
static int
spin(void)
{
	struct sched_param p = { 0 };

	if (sched_setscheduler(0, SCHED_IDLE, &p) == -1)
		err(1, "SCHED_IDLE");
	for (;;)
		(void)getppid();
}

static void
usage(FILE *out)
{
	fputs("usage: iscsimux-bench [OPTION]... mux SOCKET SESSION\n"
	    "       iscsimux-bench [OPTION]... libiscsi PORTAL TARGET\n"
	    "       iscsimux-bench spin\n"
	    "  -n COUNT  requests (default 20000)\n"
	    "  -q DEPTH  outstanding at a time (default 32)\n"
	    "  -s BYTES  of a request (default 4096)\n"
	    "  -b BYTES  of the disk to use (default 32M)\n"
	    "  -l LUN    (default 0)\n"
	    "  -w        write\n"
	    "  -f        in sequence, to fill the disk with stamps\n", out);
}

static uint64_t
number(const char *text)
{
	char *end;
	unsigned long long n = strtoull(text, &end, 10);

	if (end == text || *end != '\0' || n == 0 || n > UINT32_MAX)
		errx(2, "%s is not a number from 1 on", text);
	return n;
}

int
main(int argc, char **argv)
{
	struct work w = {
		.count = 20000, .depth = 32, .size = 4096,
		.blocks = 32u * 1024 * 1024 / BENCH_BLOCK, .seed = 88172645463,
	};
	int c, lun = 0;

	while ((c = getopt(argc, argv, "n:q:s:b:l:wfh")) != -1) {
		switch (c) {
		case 'n': w.count = number(optarg); break;
		case 'q': w.depth = (uint32_t)number(optarg); break;
		case 's': w.size = (uint32_t)number(optarg); break;
		case 'b': w.blocks = number(optarg) / BENCH_BLOCK; break;
		case 'l': lun = atoi(optarg); break;
		case 'w': w.write = true; break;
		case 'f': w.sequential = true; break;
		case 'h': usage(stdout); return 0;
		default: usage(stderr); return 2;
		}
	}
	argv += optind;
	argc -= optind;
	if (argc == 1 && strcmp(argv[0], "spin") == 0)
		return spin();
	if (argc != 3 || w.size % BENCH_BLOCK != 0) {
		usage(stderr);
		return 2;
	}
	w.backend = strcmp(argv[0], "mux") == 0 ? &bench_mux :
	    &bench_libiscsi;
	w.b = w.backend->open(argv[1], argv[2], lun);
	run(&w);
	w.backend->close(w.b);
	return 0;
}
