/* SPDX-License-Identifier: ISC */
/*
 * A worker's birth and death: makes what struct worker points to, and at the
 * end looks whether everything came back.  It knows the modules of the data
 * path by their constructors only.
 */
#include "config.h"

#include <errno.h>
#include <inttypes.h>
#ifdef HAVE_MALLOC_TRIM
#include <malloc.h>
#endif
#include <stdlib.h>

#include "daemon/chap.h"
#include "daemon/conf.h"
#include "daemon/fault.h"
#include "daemon/log.h"
#include "daemon/loop.h"
#include "daemon/outq.h"
#include "daemon/pool.h"
#include "daemon/pump.h"
#include "daemon/quota.h"
#include "daemon/resolve.h"
#include "daemon/trace.h"
#include "daemon/trim.h"
#include "daemon/worker.h"

/* Free slabs that a worker keeps at most, in bytes. */
#define WORKER_POOL_KEEP	(8u * 1024 * 1024)

/* How often memory that is not needed goes back, in milliseconds. */
#define WORKER_TRIM_PERIOD	2000

static struct quota_table *
make_quotas(const struct config *config)
{
	const struct config_limits *l = &config->limits;
	struct quota_amount client = {
		.tasks = l->client_tasks, .in = l->client_inbound,
		.out = l->client_outbound,
	};

	return quota_table_new(&client, l->uid_factor);
}

bool
worker_trim(struct worker *w)
{
	bool kept = pool_trim(w->pool);

	kept = txpdu_trim(w) || kept;
	kept = outmsg_trim(w) || kept;
#ifdef HAVE_MALLOC_TRIM
	/* At rest: what was freed piece by piece leaves the process now. */
	if (!kept)
		(void)malloc_trim(0);
#endif
	return kept;
}

static bool
trim(void *arg)
{
	return worker_trim(arg);
}

static void
on_kept(void *arg)
{
	struct worker *w = arg;

	trim_want(w->trim);
}

static void
parts_free(struct worker *w)
{
	trim_free(w->trim);
	quota_table_free(w->quotas);
	faults_free(w->faults);
	chap_challenges_free(w->challenges);
	resolver_free(w->resolver);
	trace_free(w->trace);
	loop_free(w->loop);
	pool_free(w->pool);
}

struct worker *
worker_new(struct log *log, const struct config *config)
{
	struct worker *w;
	int error;

	w = calloc(1, sizeof(*w));
	if (w == NULL)
		return NULL;
	w->log = log;
	w->config = config;
	TAILQ_INIT(&w->sessions);
	TAILQ_INIT(&w->clients);
	TAILQ_INIT(&w->conns);
	STAILQ_INIT(&w->free_txpdus);
	STAILQ_INIT(&w->free_outmsgs);
	w->quotas = make_quotas(config);
	if (w->quotas != NULL)
		w->pool = pool_new(WORKER_POOL_KEEP);
	if (w->pool != NULL)
		w->loop = loop_new();
	if (w->loop != NULL)
		w->trace = trace_new(w->loop, log);
	if (w->trace != NULL)
		w->trim = trim_new(w->loop, WORKER_TRIM_PERIOD, trim, w);
	if (w->trim != NULL)
		w->faults = faults_new(w->loop);
	if (w->faults != NULL)
		w->challenges = chap_challenges_new();
	if (w->challenges != NULL)
		w->resolver = resolver_new(w->loop);
	if (w->resolver == NULL) {
		error = errno;
		parts_free(w);
		free(w);
		errno = error;
		return NULL;
	}
	pool_on_kept(w->pool, on_kept, w);
	return w;
}

static uint64_t
report(struct worker *w, const char *what, uint64_t count)
{
	if (count > 0)
		log_error(w->log, "worker: %" PRIu64 " %s still in use at the "
		    "end", count, what);
	return count;
}

/* Count what did not come back. */
static uint64_t
audit(struct worker *w)
{
	struct pool_stats stats;
	uint64_t slabs = 0;
	size_t i;

	pool_stats_get(w->pool, &stats);
	for (i = 0; i < POOL_CLASSES; i++)
		slabs += stats.out[i];
	return report(w, "outgoing PDUs", w->txpdus_out) +
	    report(w, "outgoing messages", w->outmsgs_out) +
	    report(w, "slabs", slabs) +
	    report(w, "slices", stats.slices_out) +
	    report(w, "accounts of users", quota_table_count(w->quotas));
}

uint64_t
worker_free(struct worker *w)
{
	uint64_t left;

	if (w == NULL)
		return 0;
	trace_free(w->trace);
	w->trace = NULL;
	/* What was closed in this turn is freed by the next. */
	(void)loop_turn(w->loop, 0);
	resolver_free(w->resolver);
	w->resolver = NULL;
	trim_free(w->trim);
	w->trim = NULL;
	loop_free(w->loop);
	w->loop = NULL;
	txpdu_drain(w);
	outmsg_drain(w);
	left = audit(w);
	parts_free(w);
	free(w);
	return left;
}
