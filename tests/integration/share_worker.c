/* SPDX-License-Identifier: ISC */
/*
 * One of several processes that use a session at the same time: writes a
 * pattern of its own to its own part of a LUN at a queue depth, reads it back,
 * compares each word, and prints checksums and times as JSON.  It says that it
 * is ready and starts when its standard input ends, so that all start
 * together.  It uses libiscsimux only.
 */
#include "config.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "client/iscsimux.h"

#define DEPTH_MAX	256
#define SIZES_MAX	8
#define AGAIN_MAX	16	/* unit attentions and BUSY of one request */
#define START_TIMEOUT	120000	/* ms, also for a daemon under valgrind */

enum exit_status {
	EXIT_GOOD = 0,
	EXIT_FAILED = 1,
	EXIT_USAGE = 2,
	EXIT_DIFFERENT = 5
};

struct options {
	const char	*session;
	unsigned	 lun;
	uint64_t	 start, length;		/* bytes */
	uint64_t	 seed;			/* of the pattern */
	unsigned	 block, depth;
	size_t		 sizes[SIZES_MAX];	/* of requests, in turn */
	size_t		 nsizes, size_max;
};

struct slot {
	struct worker	*worker;
	uint64_t	*data;
	uint64_t	 at;			/* bytes from options.start */
	size_t		 len;
	unsigned	 again;
	bool		 busy, retry;
};

struct worker {
	struct options	 opt;
	struct iscsimux	*h;
	struct slot	 slots[DEPTH_MAX];
	bool		 writing;
	uint64_t	 next;			/* first byte without request */
	size_t		 turn;			/* index of the next size */
	unsigned	 open;
	uint64_t	 sum;			/* of all words, modulo 2^64 */
	int		 status;
};

/* The word at byte `at` of the LUN: no two clients or places agree. */
static uint64_t
pattern(uint64_t seed, uint64_t at)
{
	uint64_t z = seed * UINT64_C(0xd1342543de82ef95) +
	    at * UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

static void
put_be(uint8_t *p, unsigned n, uint64_t value)
{
	while (n-- > 0) {
		p[n] = (uint8_t)value;
		value >>= 8;
	}
}

static void
fill(struct worker *w, struct slot *s)
{
	uint64_t at = w->opt.start + s->at;

	for (size_t i = 0; i < s->len / 8; i++) {
		s->data[i] = pattern(w->opt.seed, at + 8 * i);
		w->sum += s->data[i];
	}
}

static void
compare(struct worker *w, const struct slot *s)
{
	uint64_t at = w->opt.start + s->at;

	for (size_t i = 0; i < s->len / 8; i++) {
		w->sum += s->data[i];
		if (s->data[i] == pattern(w->opt.seed, at + 8 * i) ||
		    w->status != EXIT_GOOD)
			continue;
		fprintf(stderr, "byte %" PRIu64 " of the LUN: 0x%016" PRIx64
		    " instead of 0x%016" PRIx64 "\n", at + 8 * i, s->data[i],
		    pattern(w->opt.seed, at + 8 * i));
		w->status = EXIT_DIFFERENT;
	}
}

/* What targets want to have repeated: UNIT ATTENTION, BUSY, TASK SET FULL. */
static bool
worth_repeating(const struct iscsimux_result *r)
{
	if (r->outcome != ISCSIMUX_COMPLETED)
		return false;
	return r->status == 0x08 || r->status == 0x28 || (r->status == 0x02 &&
	    r->sense_len >= 3 && (r->sense[2] & 0x0f) == 0x06);
}

static void
complain(struct worker *w, const struct slot *s,
    const struct iscsimux_result *r)
{
	fprintf(stderr, "%s of %zu bytes at %" PRIu64 ": %s, status 0x%02x, %"
	    PRIu32 " bytes, %s\n", w->writing ? "WRITE" : "READ", s->len,
	    s->at, iscsimux_outcome_name(r->outcome), r->status,
	    r->transferred, r->text);
	w->status = EXIT_FAILED;
}

static void
done(struct iscsimux *h, void *cookie, const struct iscsimux_result *r)
{
	struct slot *s = cookie;
	struct worker *w = s->worker;

	(void)h;
	if (!s->busy || s->retry) {
		fprintf(stderr, "the request at %" PRIu64 " ended twice\n",
		    s->at);
		w->status = EXIT_FAILED;
		return;
	}
	w->open--;
	if (worth_repeating(r) && s->again++ < AGAIN_MAX) {
		s->retry = true;
		return;
	}
	s->busy = false;
	if (!iscsimux_result_good(r) ||
	    (!w->writing && r->transferred != s->len))
		complain(w, s, r);
	else if (!w->writing)
		compare(w, s);
}

/* False when the daemon accepts no more at the moment. */
static bool
submit(struct worker *w, struct slot *s)
{
	uint8_t cdb[16] = { w->writing ? 0x8a : 0x88 };
	struct iscsimux_scsi scsi = { .cdb = cdb, .cdb_len = sizeof(cdb),
	    .attribute = ISCSIMUX_SIMPLE, .data = s->data,
	    .data_len = s->len };
	int r;

	scsi.direction = w->writing ? ISCSIMUX_DATA_OUT : ISCSIMUX_DATA_IN;
	(void)iscsimux_lun(w->opt.lun, scsi.lun);
	put_be(cdb + 2, 8, (w->opt.start + s->at) / w->opt.block);
	put_be(cdb + 10, 4, s->len / w->opt.block);
	if (!w->writing)
		memset(s->data, 0xa5, s->len);
	r = iscsimux_execute(w->h, &scsi, done, s, NULL);
	if (r == 0) {
		s->retry = false;
		w->open++;
	} else if (r != -EAGAIN) {
		fprintf(stderr, "submit: %s\n", iscsimux_strerror(r));
		w->status = EXIT_FAILED;
	}
	return r == 0;
}

/* Give a free slot the next piece; false if there is none left. */
static bool
take_piece(struct worker *w, struct slot *s)
{
	uint64_t left = w->opt.length - w->next;

	if (left == 0)
		return false;
	s->at = w->next;
	s->len = w->opt.sizes[w->turn++ % w->opt.nsizes];
	if (s->len > left)
		s->len = (size_t)left;
	w->next += s->len;
	s->busy = s->retry = true;
	s->again = 0;
	if (w->writing)
		fill(w, s);
	return true;
}

static void
submit_all(struct worker *w)
{
	for (unsigned i = 0; i < w->opt.depth; i++) {
		struct slot *s = &w->slots[i];

		if (!s->busy && !take_piece(w, s))
			continue;
		if (s->retry && !submit(w, s))
			return;
	}
}

/* Seconds of a clock that is the same for all processes. */
static double
now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* One pass over the whole part. */
static void
pass(struct worker *w, bool writing)
{
	w->writing = writing;
	w->next = w->sum = 0;
	w->turn = writing ? 0 : 1;
	for (;;) {
		if (w->status == EXIT_GOOD)
			submit_all(w);
		if (w->open == 0)
			break;
		if (iscsimux_wait(w->h, -1) < 0 && w->open == 0)
			break;
	}
	if (w->next != w->opt.length && w->status == EXIT_GOOD) {
		fprintf(stderr, "stuck at byte %" PRIu64 "\n", w->next);
		w->status = EXIT_FAILED;
	}
}

static void
work(struct worker *w)
{
	double times[3] = { now() };
	uint64_t written;

	pass(w, true);
	times[1] = now();
	written = w->sum;
	if (w->status != EXIT_GOOD)
		return;
	pass(w, false);
	times[2] = now();
	printf("{\"written\": \"%016" PRIx64 "\", \"read\": \"%016" PRIx64
	    "\", \"times\": [%.6f, %.6f, %.6f]}\n", written, w->sum,
	    times[0], times[1], times[2]);
}

static int
attach(struct worker *w)
{
	const struct iscsimux_attach how = { .session = w->opt.session };
	char name[ISCSIMUX_NAME_MAX + 1];
	int r;

	snprintf(name, sizeof(name), "share-%" PRIu64, w->opt.seed);
	(void)iscsimux_set_name(w->h, name);
	r = iscsimux_connect_sync(w->h, NULL, START_TIMEOUT);
	if (r == 0)
		r = iscsimux_attach_sync(w->h, &how, START_TIMEOUT);
	if (r != 0)
		fprintf(stderr, "attach: %s\n", iscsimux_error_text(w->h));
	return r;
}

static bool
allocate(struct worker *w)
{
	for (unsigned i = 0; i < w->opt.depth; i++) {
		w->slots[i].worker = w;
		w->slots[i].data = malloc(w->opt.size_max);
		if (w->slots[i].data == NULL)
			return false;
	}
	w->h = iscsimux_new(NULL, NULL);
	return w->h != NULL;
}

static int
usage(void)
{
	fputs("usage: share_worker SESSION LUN START LENGTH SEED BLOCK DEPTH "
	    "SIZE...\n", stderr);
	return EXIT_USAGE;
}

/* Whether sizes and places are whole blocks within bounds. */
static bool
take_arguments(struct options *o, int argc, char **argv)
{
	if (argc < 9 || argc > 8 + SIZES_MAX)
		return false;
	o->session = argv[1];
	o->lun = (unsigned)strtoul(argv[2], NULL, 0);
	o->start = strtoull(argv[3], NULL, 0);
	o->length = strtoull(argv[4], NULL, 0);
	o->seed = strtoull(argv[5], NULL, 0);
	o->block = (unsigned)strtoul(argv[6], NULL, 0);
	o->depth = (unsigned)strtoul(argv[7], NULL, 0);
	if (o->block < 512 || o->depth < 1 || o->depth > DEPTH_MAX ||
	    o->start % o->block != 0 || o->length % o->block != 0)
		return false;
	for (int i = 8; i < argc; i++) {
		size_t size = strtoul(argv[i], NULL, 0);

		if (size == 0 || size % o->block != 0)
			return false;
		o->sizes[o->nsizes++] = size;
		if (size > o->size_max)
			o->size_max = size;
	}
	return true;
}

int
main(int argc, char **argv)
{
	static struct worker w;
	char go;

	if (!take_arguments(&w.opt, argc, argv))
		return usage();
	if (!allocate(&w) || attach(&w) != 0)
		return EXIT_FAILED;
	puts("ready");
	fflush(stdout);
	while (read(STDIN_FILENO, &go, 1) > 0)
		continue;
	work(&w);
	iscsimux_free(w.h);
	for (unsigned i = 0; i < w.opt.depth; i++)
		free(w.slots[i].data);
	return w.status;
}
