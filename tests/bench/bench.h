/* SPDX-License-Identifier: ISC */
/*
 * What a benchmark's workload needs of an initiator: the same work done in
 * process by libiscsi and through the daemon by libiscsimux.
 */
#ifndef BENCH_H
#define BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One request of the workload, and the buffer it owns. */
struct bench_op {
	void		*work;		/* the workload it belongs to */
	uint64_t	 lba;
	uint8_t		*data;
	uint32_t	 len;		/* bytes */
	bool		 write;
	uint64_t	 started;	/* ns */
	void		*backend;	/* the backend's own; freed at the end */
};

/* Called by the backend once for each request that it accepted. */
void bench_done(struct bench_op *op, bool good);

struct bench_backend {
	/* `portal` and `target`, or socket `path` and `session`. */
	void *(*open)(const char *where, const char *what, int lun);
	/* Queue a request; 0, or -1 and the benchmark fails. */
	int (*submit)(void *b, struct bench_op *op);
	/* Wait for something to happen and handle it; 0 or -1. */
	int (*service)(void *b);
	void (*close)(void *b);
};

extern const struct bench_backend bench_mux;
extern const struct bench_backend bench_libiscsi;

#define BENCH_BLOCK 512

#endif
