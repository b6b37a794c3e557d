/* SPDX-License-Identifier: ISC */
/*
 * Faults on live connections: what is set for which connection, and what that
 * does to the bytes that pass it.  Everything hangs off a worker.  It knows
 * connections as ports with a label and moves bytes through them; it knows
 * nothing of sockets and PDUs.
 *
 * A fault is set for a label.  It acts on the live connection of that label
 * and, if it is lasting, on later ones (a session connects again), until it
 * is cleared.  Errors, closes and corrupt bytes happen once and the fault is
 * spent, unless it repeats; the others go on.
 */
#ifndef DAEMON_FAULT_H
#define DAEMON_FAULT_H

#include <sys/queue.h>
#include <sys/types.h>
#include <sys/uio.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FAULT_LABEL_MAX		63	/* bytes of a label */
#define FAULT_ID_MAX		31	/* bytes of a fault's name */
#define FAULTS_LABEL_MAX	64u	/* faults of one label */
#define FAULTS_MAX		1024u	/* faults of a worker */

struct fault;
struct fault_group;
struct faults;
struct loop;
struct loop_timer;

enum fault_dir {
	FAULT_READ,
	FAULT_WRITE,
	FAULT_DIRS
};

enum fault_kind {
	FAULT_ERRNO,	/* fails with `error` from byte `after` on */
	FAULT_CLOSE,	/* end of stream, or EPIPE, from byte `after` on */
	FAULT_CORRUPT,	/* byte number `after`, from 0, is XORed with `mask` */
	FAULT_SHORT,	/* at most `bytes` are moved at a time */
	FAULT_DELAY,	/* each read or write waits `ms` milliseconds first */
	FAULT_STALL,	/* nothing is moved any more */
	FAULT_KINDS
};

/* What is to happen, and where: after `after` bytes have passed. */
struct fault_spec {
	char		 label[FAULT_LABEL_MAX + 1];
	char		 id[FAULT_ID_MAX + 1];	/* unique for the label */
	enum fault_dir	 dir;
	enum fault_kind	 kind;
	uint64_t	 after;
	/*
	 * Count from now on the connection that lives now, and not from its
	 * first byte; on later ones it is the first byte.
	 */
	bool		 from_now;
	bool		 repeat;
	bool		 lasting;	/* outlives the connection */
	int		 error;
	uint8_t		 mask;
	size_t		 bytes;
	uint32_t	 ms;
};

/* A fault and how it fares; valid during the call. */
struct fault_info {
	const struct fault_spec	*spec;
	uint64_t		 fired;	/* so often */
	bool			 spent;	/* will not fire again */
	bool			 live;	/* a connection of the label lives */
	/* On it: bytes so far in the fault's direction, and where it acts. */
	uint64_t		 moved;
	uint64_t		 at;
};

/* What a port asks of its connection. */
struct fault_port_ops {
	/*
	 * Move bytes as recvmsg(2) or sendmsg(2) does without blocking: what
	 * was moved, 0 for an end of stream, or -1 with errno set.
	 */
	ssize_t (*move)(void *arg, enum fault_dir dir, struct iovec *iov,
	    int iovcnt);
	/* Whether a read would find anything, an end or an error included. */
	bool (*readable)(void *arg);
	/* Tell of no readiness in this direction until it is released. */
	void (*hold)(void *arg, enum fault_dir dir, bool on);
	/* A read may have a result though nothing arrived; not from here. */
	void (*wake)(void *arg);
};

/* One direction of a port. */
struct fault_side {
	const uint64_t		*moved;	/* bytes so far */
	struct loop_timer	*timer;	/* of a delay */
	bool			 due;	/* the delay is over */
	bool			 stalled;
};

/* A connection as faults see it, embedded in its owner; see
 * fault_port_init(). */
struct fault_port {
	/* What is set for it, or NULL: then fault_move() need not be called. */
	struct fault_group		*active;
	TAILQ_ENTRY(fault_port)		 link;
	struct faults			*faults;
	const char			*label;	/* NULL: none yet */
	uint64_t			 serial;
	const struct fault_port_ops	*ops;
	void				*arg;
	struct fault_side		 side[FAULT_DIRS];
};

/* An empty table; NULL on lack of memory. */
struct faults *faults_new(struct loop *loop);

/* Free it.  No port may be left.  NULL is allowed. */
void faults_free(struct faults *f);

/*
 * Set a fault; one of the same label and id is replaced, and `*replaced` tells
 * whether there was one.  It acts from now on, and whatever waited because of
 * the faults of that label is woken.  A spent fault makes room where there is
 * none left.  Returns 0, -ENOSPC (FAULTS_LABEL_MAX), -EDQUOT (FAULTS_MAX) or
 * -ENOMEM, and then nothing has changed.
 */
int fault_set(struct faults *f, const struct fault_spec *spec,
    bool *replaced);

/*
 * Clear the fault `id` of a label; NULL stands for every id, or every label.
 * What waited goes on.  Returns how many there were.
 */
unsigned fault_clear(struct faults *f, const char *label, const char *id);

/* Call `fn` for each fault of a label, of all where it is NULL. */
void fault_each(const struct faults *f, const char *label,
    void (*fn)(const struct fault_info *info, void *arg), void *arg);

/*
 * Names as the control socket has them.  fault_errno_parse() knows what a TCP
 * socket may fail with for good ("ECONNRESET"); the parsers return false for
 * what they do not know, fault_errno_name() then "?".
 */
bool fault_dir_parse(const char *name, enum fault_dir *out);
bool fault_kind_parse(const char *name, enum fault_kind *out);
bool fault_errno_parse(const char *name, int *out);
const char *fault_dir_name(enum fault_dir dir);
const char *fault_kind_name(enum fault_kind kind);
const char *fault_errno_name(int error);

/*
 * Enter a port without a label; `in` and `out` are its counts of bytes moved,
 * which the owner keeps.  `ops`, `arg` and the counts must outlive it.
 */
void fault_port_init(struct fault_port *p, struct faults *f,
    const struct fault_port_ops *ops, void *arg, const uint64_t *in,
    const uint64_t *out);

/*
 * Give it a label, or take it away with NULL, which comes between two labels;
 * the text stays the owner's and is not changed meanwhile.
 */
void fault_port_label(struct fault_port *p, const char *label);

/* Whether a port of that label lives. */
bool fault_label_lives(const struct faults *f, const char *label);

/*
 * Move bytes through what is set, with the results of ops->move(); EAGAIN
 * while they are held back.  The bytes of a write and the iovecs are as they
 * were when it returns; the counts are still to be brought forward.
 */
ssize_t fault_move(struct fault_port *p, enum fault_dir dir,
    struct iovec *iov, int iovcnt);

/* Take it out of the table; no ops are called any more.  Idempotent. */
void fault_port_deinit(struct fault_port *p);

#endif
