/* SPDX-License-Identifier: ISC */
/*
 * A worker is one event loop and everything that lives on it: all state of
 * the daemon hangs off a struct worker, and no other state is mutable.  This
 * header is a list of pointers; whoever follows one includes its module.
 */
#ifndef DAEMON_WORKER_H
#define DAEMON_WORKER_H

#include <sys/queue.h>

#include <stdbool.h>
#include <stdint.h>

struct chap_challenges;
struct client;
struct config;
struct conn;
struct faults;
struct log;
struct loop;
struct outmsg;
struct pool;
struct resolver;
struct session;
struct quota_table;
struct trace;
struct trim;
struct txpdu;

struct worker {
	struct loop		*loop;
	struct pool		*pool;
	struct log		*log;
	struct resolver		*resolver;
	const struct config	*config;
	struct quota_table	*quotas;	/* per uid */
	struct trace		*trace;
	struct faults		*faults;	/* set for connections */
	struct chap_challenges	*challenges;	/* ours, outstanding */

	TAILQ_HEAD(, session)	 sessions;
	TAILQ_HEAD(, client)	 clients;
	TAILQ_HEAD(, conn)	 conns;
	uint32_t		 nclients;
	uint32_t		 last_raw;	/* raw connections so far */

	/*
	 * Recycled objects of the data path; of them `idle` were free all the
	 * time since the last worker_trim().
	 */
	STAILQ_HEAD(, txpdu)	 free_txpdus;
	uint32_t		 nfree_txpdus;
	uint32_t		 idle_txpdus;
	STAILQ_HEAD(, outmsg)	 free_outmsgs;
	uint32_t		 nfree_outmsgs;
	uint32_t		 idle_outmsgs;
	struct trim		*trim;		/* calls worker_trim() */
	uint64_t		 txpdus_out;	/* in use */
	uint64_t		 outmsgs_out;
};

/*
 * Create a worker with loop, pool and resolver on the caller's log and
 * configuration, which must outlive it.  NULL with errno set on failure.
 */
struct worker *worker_new(struct log *log, const struct config *config);

/*
 * Give half of the memory that was kept for reuse and not needed since the
 * last call back to the system.  True if some is kept still.  The worker
 * calls it by itself every two seconds while something is kept.
 */
bool worker_trim(struct worker *w);

/*
 * Free it.  No session or client may be left; anything of the data path that
 * is still in use is logged as an error and counted.  Returns that count.
 */
uint64_t worker_free(struct worker *w);

#endif
