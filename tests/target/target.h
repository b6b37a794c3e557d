/* SPDX-License-Identifier: ISC */
/*
 * The target as a whole: its loop, portals, disks, sessions, counters, and
 * the orders of a test that changes its manners.
 */
#ifndef TARGET_TARGET_H
#define TARGET_TARGET_H

#include <sys/queue.h>
#include <sys/uio.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/target/disk.h"
#include "tests/target/loop.h"
#include "tests/target/options.h"

struct conn;
struct ctl;
struct out;
struct target;
struct task;

/* Counted since the start; the names are those of the `counters` answer. */
#define TARGET_COUNTERS(X)						\
	X(connections)							\
	X(logins)							\
	X(login_failures)						\
	X(protocol_errors)						\
	X(digest_errors)						\
	X(tolerated)							\
	X(pdus_in)							\
	X(pdus_out)							\
	X(bytes_in)							\
	X(bytes_out)							\
	X(recv_calls)							\
	X(send_calls)							\
	X(commands)							\
	X(check_conditions)						\
	X(data_in)							\
	X(data_out)							\
	X(r2ts)								\
	X(r2ts_open)							\
	X(tmfs)								\
	X(aborted_tasks)						\
	X(nop_outs)							\
	X(pings)							\
	X(texts)							\
	X(logouts)							\
	X(rejects)							\
	X(asyncs)							\
	X(unit_attentions)

struct counters {
#define X(name) uint64_t name;
	TARGET_COUNTERS(X)
#undef X
};

enum hold {
	HOLD_NONE = 0,
	HOLD_READS = 1,
	HOLD_WRITES = 2,
	HOLD_OTHERS = 4,
	HOLD_R2T = 8
};

/* What a test told the target to do wrong or differently. */
struct manners {
	unsigned	hold;			/* OR of enum hold */
	bool		stall;			/* read nothing */
	bool		refuse_login;
	uint8_t		refuse_class;
	uint8_t		refuse_detail;
	bool		reject;			/* the next of reject_opcode */
	bool		reject_gap;		/* as if its CmdSN never came */
	uint8_t		reject_opcode;
	uint8_t		reject_reason;
	bool		corrupt_header;		/* digest of the next Data-In */
	bool		corrupt_data;
	bool		wrong_itt;		/* on the next response */
	bool		drop;			/* close after drop_left bytes */
	uint64_t	drop_left;
};

#define TARGET_IOV 1024

TAILQ_HEAD(conn_list, conn);

struct target {
	struct options		 options;
	int			 epoll;
	bool			 stopping;
	struct portal		 portals[OPTIONS_PORTALS_MAX];
	unsigned		 nportals;
	struct disk		 disks[OPTIONS_LUNS_MAX];
	struct conn_list	 conns;
	struct conn_list	 reap;
	struct ctl		*ctl;
	struct counters		 counters;
	struct manners		 manners;
	uint32_t		 queue_depth;
	uint16_t		 last_tsih;
	uint64_t		 last_conn;
	char			 last_error[256];
	struct out		*free_outs;
	struct task		*free_tasks;
	struct iovec		 iov[TARGET_IOV];
};

#endif
