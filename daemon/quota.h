/* SPDX-License-Identifier: ISC */
/*
 * What a client may use up: open tasks, bytes expected from targets
 * (inbound) and bytes queued towards them (outbound), counted for each client
 * and once more for all clients of a uid.  Who takes a charge gives it back;
 * a task that outlives its client keeps the account for that.
 */
#ifndef DAEMON_QUOTA_H
#define DAEMON_QUOTA_H

#include <sys/types.h>

#include <stdbool.h>
#include <stdint.h>

struct quota_table;
struct quota_uid;

/* An amount, and also a limit; bytes for `in` and `out`. */
struct quota_amount {
	uint64_t	tasks;
	uint64_t	in;
	uint64_t	out;
};

/*
 * One client's account.  Reference-counted: tasks and PDUs that outlive the
 * client keep it, so that their charges return to the uid at last.
 */
struct quota {
	struct quota_amount	 max;
	struct quota_amount	 used;
	struct quota_uid	*uid;
	uint32_t		 refs;
};

/*
 * A table of uid accounts, each limited to `factor` times `client`.  NULL on
 * lack of memory.
 */
struct quota_table *quota_table_new(const struct quota_amount *client,
    uint32_t factor);

/* Change the limits; what is charged beyond them stays charged. */
void quota_table_set(struct quota_table *t,
    const struct quota_amount *client, uint32_t factor);

/* Free the table; no account may be in use. */
void quota_table_free(struct quota_table *t);

/* Uids with an account. */
uint32_t quota_table_count(const struct quota_table *t);

/*
 * Open an account of a client of `uid`, limited to `max`, with one reference.
 * NULL on lack of memory.
 */
struct quota *quota_new(struct quota_table *t, uid_t uid,
    const struct quota_amount *max);
struct quota *quota_ref(struct quota *q);

/* The last reference frees the account; nothing may be charged then. */
void quota_unref(struct quota *q);

/* What all clients and orphans of the account's uid use now. */
const struct quota_amount *quota_uid_used(const struct quota *q);

/*
 * Charge `a` to the client and its uid, or nothing.  Returns NULL, or a text
 * that says which limit was in the way: "client's open tasks (1024)".  The
 * text lies in the `size` bytes at `why`.
 */
const char *quota_take(struct quota *q, const struct quota_amount *a,
    char *why, size_t size);

/* Charge outbound bytes whatever the limit says. */
void quota_force_out(struct quota *q, uint64_t bytes);

/* True if more outbound bytes are charged than the client's limit. */
bool quota_out_exceeded(const struct quota *q);

/* Give back to the client and its uid. */
void quota_give(struct quota *q, const struct quota_amount *a);

#endif
