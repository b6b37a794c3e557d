/* SPDX-License-Identifier: ISC */
/*
 * libiscsimux: raw connections.  One is a TCP connection of the daemon whose
 * protocol the caller speaks itself, Login included; no field of a PDU is
 * changed in either direction.  Framing, digests, limits and routing are the
 * daemon's (PROTOCOL.md section 17).
 *
 *	iscsimux_open(h, &(struct iscsimux_open){ .portal = "10.0.0.1" },
 *	    on_open, NULL);
 *
 * A handle has a session or one raw connection, made by iscsimux_open() or
 * iscsimux_adopt().  It ends by iscsimux_close_raw(), iscsimux_export(), or
 * by itself: then every open task ends, and ISCSIMUX_EVENT_CLOSED tells why.
 * Afterwards the handle may open, adopt or attach again.
 *
 * The rules of iscsimux.h hold here too.  Each function that takes a
 * completion queues one request for the daemon; at most 16 are open at a
 * time.  They return -ENOTCONN (no daemon, or no raw connection), -EBUSY (one
 * that opens, closes, gives away or shares the connection is under way),
 * -EAGAIN (16 are open), -EOPNOTSUPP (this daemon has no raw connections),
 * -EINVAL, -ENOMEM, -ESHUTDOWN.
 *
 * In a completion `error` is 0 or a negative errno, and iscsimux_error_text()
 * has the daemon's words:
 *	-EACCES		no `raw` rule of the daemon allows it
 *	-EHOSTUNREACH	connect-failed: no answer, refused, name not known
 *	-EBUSY		a task is open or a byte unsent; or the name is taken
 *	-EBADFD		wrong-state: the connection has just ended, or the
 *			session was not made by iscsimux_share()
 *	-ENOTSOCK	the descriptor is no connected TCP socket
 *	-EINVAL		a value that the daemon does not take
 *	-EOPNOTSUPP	the daemon has no raw connections
 *	-ECONNRESET	the connection to the daemon ended first
 *	-EPROTO		anything else; iscsimux_error_reason() tells
 */
#ifndef ISCSIMUX_RAW_H
#define ISCSIMUX_RAW_H

#include "iscsimux.h"

#ifdef __cplusplus
extern "C" {
#endif

#define ISCSIMUX_PORTAL_MAX	255	/* bytes of HOST:PORT */
#define ISCSIMUX_ADDRESS_MAX	127	/* bytes of ADDRESS:PORT */
#define ISCSIMUX_UNREAD_MAX	(17u * 1024 * 1024)	/* bytes */

/* What holds for a raw connection; the numbers of PROTOCOL.md. */
enum iscsimux_raw_flag {
	/* PDUs have digests (RFC 7143 section 13.1), in both directions. */
	ISCSIMUX_RAW_HEADER_DIGEST = 0x0001,
	ISCSIMUX_RAW_DATA_DIGEST = 0x0002,
	/* Byte order of digests; no known target uses this one. */
	ISCSIMUX_RAW_BIG_ENDIAN = 0x0004,
	/* Do not switch digests and limits after the login; see there. */
	ISCSIMUX_RAW_MANUAL = 0x0008,
	/* iscsimux_pdu.digests of received PDUs is filled in. */
	ISCSIMUX_RAW_SHOW_DIGESTS = 0x0010,
	/*
	 * Lift the checks of opcodes and lengths, and allow own digests.  Needs
	 * a rule with `unchecked = yes`.
	 */
	ISCSIMUX_RAW_UNCHECKED = 0x0020,
	/* Of a state only, or given with iscsimux_adopt(). */
	ISCSIMUX_RAW_INITIAL_R2T = 0x0100,
	ISCSIMUX_RAW_IMMEDIATE_DATA = 0x0200,
	ISCSIMUX_RAW_DISCOVERY = 0x0400,	/* a discovery session */
	ISCSIMUX_RAW_NUMBERS = 0x0800,	/* CmdSN to ExpStatSN are known */
	ISCSIMUX_RAW_ADOPTED = 0x1000	/* of a state only */
};

/*
 * What is known of a raw connection.  Lengths in bytes; 0 where nothing was
 * negotiated, and in recv_dsl and send_dsl where there is no limit.
 */
struct iscsimux_raw_params {
	bool		full_feature;	/* the login is over */
	uint32_t	flags;		/* enum iscsimux_raw_flag */
	uint32_t	recv_dsl;	/* longest data segment received */
	uint32_t	send_dsl;	/* and sent */
	uint32_t	max_burst;
	uint32_t	first_burst;
	uint32_t	max_r2t;	/* MaxOutstandingR2T */
	uint32_t	cmdsn;		/* of the next request */
	uint32_t	exp_cmdsn;	/* as the target told last */
	uint32_t	max_cmdsn;
	uint32_t	exp_statsn;	/* of the next request */
	uint8_t		isid[6];
	uint16_t	tsih;
	char		target[ISCSIMUX_TARGET_MAX + 1];	/* or "" */
};

struct iscsimux_raw_state {
	struct iscsimux_raw_params params;
	uint32_t	read_deadline_ms;	/* what is left; 0: none */
	uint32_t	write_deadline_ms;
	uint64_t	bytes_in, bytes_out;
	uint64_t	pdus_in, pdus_out;
	uint32_t	pending;	/* tasks that somebody waits for */
	uint32_t	live;		/* tasks that the target may answer */
	uint64_t	unsent;		/* bytes that the kernel did not take */
	/* ADDRESS:PORT of both ends. */
	char		local[ISCSIMUX_ADDRESS_MAX + 1];
	char		peer[ISCSIMUX_ADDRESS_MAX + 1];
};

/* Completion of a request that is answered by yes or no. */
typedef void iscsimux_status_fn(struct iscsimux *h, void *cookie, int error);

/* Completion with a state; `state` is NULL if `error` is not 0. */
typedef void iscsimux_state_fn(struct iscsimux *h, void *cookie, int error,
    const struct iscsimux_raw_state *state);

/* True while the handle has a raw connection. */
bool iscsimux_is_raw(const struct iscsimux *h);

struct iscsimux_open {
	const char	*portal;	/* HOST:PORT, [V6]:PORT, HOST (3260) */
	uint32_t	timeout_ms;	/* to look up and connect; 0: 10 s */
	uint32_t	deadline_ms;	/* default of every task; 0: none */
	uint32_t	events;		/* 1 << enum iscsimux_event_kind, ... */
};

/*
 * Connect to a target.  May be called as soon as iscsimux_connect() has
 * returned 0.  Tasks can be submitted once it has completed with 0.
 * ISCSIMUX_EVENT_CLOSED comes whether asked for or not.  Returns -EISCONN if
 * the handle has a session or a raw connection, -EALREADY if it is attaching.
 */
int iscsimux_open(struct iscsimux *h, const struct iscsimux_open *options,
    iscsimux_status_fn *done, void *cookie);

struct iscsimux_adopt {
	int		fd;		/* a connected TCP socket */
	uint32_t	deadline_ms;	/* as in struct iscsimux_open */
	uint32_t	events;
	/*
	 * What is known of it; all zero if its login has not begun.  Flags up
	 * to ISCSIMUX_RAW_NUMBERS; the numbers are believed only with that one.
	 */
	struct iscsimux_raw_params params;
	/* Bytes that were received from it and are not understood yet. */
	const void	*unread;
	size_t		 unread_len;	/* at most ISCSIMUX_UNREAD_MAX */
};

/*
 * Give the daemon a TCP socket.  `fd` is duplicated at once and stays the
 * caller's, who closes it when the daemon has taken it over, and must not
 * read from it or write to it meanwhile; `unread` is read until completion.
 * Returns as iscsimux_open(), or -EBADF, -EMFILE.
 */
int iscsimux_adopt(struct iscsimux *h, const struct iscsimux_adopt *options,
    iscsimux_status_fn *done, void *cookie);

enum iscsimux_set_mask {
	/* enum iscsimux_raw_flag up to UNCHECKED, and: */
	ISCSIMUX_SET_RECV_DSL = 0x10000,
	ISCSIMUX_SET_SEND_DSL = 0x20000,
	ISCSIMUX_SET_READ_DEADLINE = 0x40000,
	ISCSIMUX_SET_WRITE_DEADLINE = 0x80000
};

struct iscsimux_set {
	uint32_t	mask;		/* what is changed */
	uint32_t	flags;		/* enum iscsimux_raw_flag in the mask */
	uint32_t	recv_dsl;	/* bytes; 0: no limit */
	uint32_t	send_dsl;
	/*
	 * ms from now.  When they are over, the connection ends: for reading
	 * in any case, for writing as soon as there is something to write.  0:
	 * none.
	 */
	uint32_t	read_deadline_ms;
	uint32_t	write_deadline_ms;
};

/*
 * Change what `mask` names, from the next PDU on.  The daemon follows the
 * login by itself and switches digests and limits after it, unless
 * ISCSIMUX_RAW_MANUAL is set: then it understands nothing behind the final
 * Login Response until this is called.
 */
int iscsimux_set(struct iscsimux *h, const struct iscsimux_set *set,
    iscsimux_status_fn *done, void *cookie);

/* Ask for the state. */
int iscsimux_get_state(struct iscsimux *h, iscsimux_state_fn *done,
    void *cookie);

/* What iscsimux_export() gives back. */
struct iscsimux_exported {
	int		fd;		/* the caller's from now on */
	struct iscsimux_raw_params params;
	const uint8_t	*unread;	/* received, not understood yet */
	size_t		 unread_len;
};

/*
 * Completion of iscsimux_export().  The descriptor belongs to the callback,
 * is closed on exec and may be blocking; `unread` is valid until it returns.
 * `exported` is NULL if `error` is not 0.
 */
typedef void iscsimux_export_fn(struct iscsimux *h, void *cookie, int error,
    const struct iscsimux_exported *exported);

/*
 * Take the TCP socket back from the daemon.  Open tasks end before, as
 * ISCSIMUX_UNKNOWN or ISCSIMUX_NOT_SENT.  -EBUSY while a PDU is written in
 * part or a login is under way; the connection goes on then.
 */
int iscsimux_export(struct iscsimux *h, iscsimux_export_fn *done,
    void *cookie);

/*
 * Make a session of the raw connection, which others can attach to as
 * `session`.  After 0 the handle is attached to it, with iscsimux_session()
 * and all that goes with it; on_attached is not called.  Needs a login that is
 * over, no open task and no unsent byte (-EBUSY).
 */
int iscsimux_share(struct iscsimux *h, const char *session,
    iscsimux_status_fn *done, void *cookie);

/*
 * Make a raw connection of it again, with the numbers to go on with in the
 * state.  Only for the only client of a session made by iscsimux_share(), and
 * without open tasks (-EBUSY).
 */
int iscsimux_unshare(struct iscsimux *h, iscsimux_state_fn *done,
    void *cookie);

/*
 * Close the TCP connection.  Open tasks end, ISCSIMUX_EVENT_CLOSED with code 0
 * comes, then the completion; `error` is 0 also if it had ended already.
 */
int iscsimux_close_raw(struct iscsimux *h, iscsimux_status_fn *done,
    void *cookie);

/* Which PDUs of the target a submitted PDU waits for. */
enum iscsimux_expect {
	ISCSIMUX_EXPECT_DEFAULT = 0,	/* as MANY */
	/*
	 * None.  The answer is one OUTCOME: ISCSIMUX_COMPLETED when the daemon
	 * has accepted the PDU, which it then sends in its turn, else
	 * ISCSIMUX_REFUSED.  For Data-Out, answers to pings, and continuations
	 * of a Login or Text exchange.
	 */
	ISCSIMUX_EXPECT_NONE = 1,
	/* One: the task ends with the first PDU that has its tag. */
	ISCSIMUX_EXPECT_ONE = 2,
	/* All up to the last of a task (RFC 7143 section 11); the last Login
	 * Response is the one that ends the login, or says that it failed. */
	ISCSIMUX_EXPECT_MANY = 3
};

struct iscsimux_submit_raw {
	enum iscsimux_expect	expect;
	/*
	 * The daemon puts a free Initiator Task Tag into the PDU; it is told
	 * by ISCSIMUX_ANSWER_TAG.
	 */
	bool			free_itt;
	uint32_t		deadline_ms;	/* 0: the default */
};

/*
 * Submit a PDU on the raw connection, as it is.  `options` may be NULL.
 * iscsimux_cancel() and the deadline only end the waiting: what was accepted
 * is sent, and nothing is sent to abort it.  Returns as iscsimux_submit(), and
 * -EBUSY as above.
 */
int iscsimux_submit_raw(struct iscsimux *h, const struct iscsimux_pdu *pdu,
    const struct iscsimux_submit_raw *options, iscsimux_answer_fn *answer,
    void *cookie, uint64_t *id);

/*
 * Blocking forms, for simple tools; other callbacks run meanwhile.  They
 * return what the functions above return or complete with.  When `timeout_ms`
 * has passed (< 0: never) the handle is disconnected, because nothing else
 * would tell what became of the connection: -ETIMEDOUT.  What
 * iscsimux_export_sync() points `unread` to is valid until its next call or
 * iscsimux_free().
 */
int iscsimux_open_sync(struct iscsimux *h, const struct iscsimux_open *options,
    int timeout_ms);
int iscsimux_adopt_sync(struct iscsimux *h,
    const struct iscsimux_adopt *options, int timeout_ms);
int iscsimux_set_sync(struct iscsimux *h, const struct iscsimux_set *set,
    int timeout_ms);
int iscsimux_get_state_sync(struct iscsimux *h, int timeout_ms,
    struct iscsimux_raw_state *state);
int iscsimux_export_sync(struct iscsimux *h, int timeout_ms,
    struct iscsimux_exported *exported);
int iscsimux_share_sync(struct iscsimux *h, const char *session,
    int timeout_ms);
int iscsimux_unshare_sync(struct iscsimux *h, int timeout_ms,
    struct iscsimux_raw_state *state);
int iscsimux_close_raw_sync(struct iscsimux *h, int timeout_ms);

#ifdef __cplusplus
}
#endif

#endif
