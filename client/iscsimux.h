/* SPDX-License-Identifier: ISC */
/*
 * libiscsimux: use an iSCSI session that iscsimuxd holds.
 *
 * A handle is one connection to the daemon and is attached to one session; a
 * process that wants two sessions makes two handles.  The library has no
 * thread, no loop and no timer.  It works inside your loop:
 *
 *	h = iscsimux_new(&callbacks, arg);
 *	iscsimux_connect(h, NULL);
 *	iscsimux_attach(h, &(struct iscsimux_attach){ .session = "disk1" });
 *	for (;;) {
 *		struct pollfd p = { .fd = iscsimux_fd(h),
 *		    .events = iscsimux_events(h) };
 *		poll(&p, 1, -1);
 *		iscsimux_service(h, p.revents);
 *	}
 *
 * or, for simple tools, with iscsimux_wait() and the *_sync functions below.
 * client/example/read_capacity.c is a whole program.
 *
 * Two levels can be mixed on one handle.  The convenience level,
 * iscsimux_execute() and its neighbours, speaks iSCSI for you: data segments,
 * R2T, bursts, sense.  The raw level, iscsimux_submit(), carries PDUs that
 * you build and understand yourself.
 *
 * Rules that hold for every function:
 *  - Functions return 0, or a negative errno; iscsimux_error_text() has the
 *    last failure of the handle in words.
 *  - A request that was accepted (returned 0) ends in exactly one completion
 *    callback; one that was not accepted has none.  Completions come from
 *    inside iscsimux_service(), iscsimux_wait(), the *_sync functions,
 *    iscsimux_disconnect() and iscsimux_free(), never from inside the
 *    function that made the request.
 *  - Requests are only queued; they leave with the next iscsimux_service(),
 *    iscsimux_wait() or iscsimux_flush(), as many as possible in one system
 *    call.
 *  - Buffers given to a request, and the iovec array that names them, belong
 *    to the library until its completion; the request structure itself, CDB
 *    and PDU header are copied.  Data read are undefined until completion.
 *  - Pointers that a callback receives are valid until it returns.
 *  - Callbacks may call every function of this file but iscsimux_service(),
 *    iscsimux_wait() and the *_sync functions, which return -EDEADLK there.
 *    They may disconnect or free the handle: see iscsimux_free().
 *  - A handle is used by one thread at a time.  Handles share nothing.
 *  - No signal is raised, the descriptor is closed on exec, and nothing is
 *    printed.
 *  - Structures passed in are filled with zero where no value is given, as a
 *    designated initialiser does; zero is always the ordinary choice.
 *
 * In place of a session a handle may have a raw connection, whose protocol the
 * caller speaks itself: see iscsimux_raw.h.
 */
#ifndef ISCSIMUX_H
#define ISCSIMUX_H

#include <sys/types.h>
#include <sys/uio.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct iscsimux;

#define ISCSIMUX_BHS_LEN	48	/* bytes of a Basic Header Segment */
#define ISCSIMUX_NAME_MAX	63	/* bytes of a session or client name */
#define ISCSIMUX_TARGET_MAX	223	/* bytes of an iSCSI name */
#define ISCSIMUX_CDB_MAX	260	/* bytes (SPC-4 section 4.2.3) */

/*
 * How a request ended.  Values below 128 are the daemon's.
 */
enum iscsimux_outcome {
	/* The target answered; look at status or response. */
	ISCSIMUX_COMPLETED = 0,
	/* Not accepted by the daemon; nothing was sent.  `reason` says why. */
	ISCSIMUX_REFUSED = 1,
	/* The connection went before a byte was sent: safe to send again. */
	ISCSIMUX_NOT_SENT = 2,
	/* The connection went while the target may have been at work. */
	ISCSIMUX_UNKNOWN = 3,
	/* Ended by iscsimux_cancel() or another client's reset. */
	ISCSIMUX_ABORTED = 4,
	/* The deadline passed. */
	ISCSIMUX_TIMED_OUT = 5,
	/*
	 * The target's answer is no success that could be reported as a SCSI
	 * status: a Reject, a Response other than "command completed"
	 * (RFC 7143 section 11.4.3), data outside the buffer.
	 */
	ISCSIMUX_FAILED = 128
};

/* Why; the numbers of PROTOCOL.md.  See iscsimux_reason_name(). */
enum iscsimux_reason {
	ISCSIMUX_R_NONE = 0,
	ISCSIMUX_R_BAD_FRAME = 1,
	ISCSIMUX_R_BAD_TYPE = 2,
	ISCSIMUX_R_BAD_FLAGS = 3,
	ISCSIMUX_R_BAD_PAYLOAD = 4,
	ISCSIMUX_R_TOO_LONG = 5,
	ISCSIMUX_R_BAD_FD = 6,
	ISCSIMUX_R_BAD_VERSION = 7,
	ISCSIMUX_R_NOT_HELLO = 8,
	ISCSIMUX_R_BAD_STATE = 9,
	ISCSIMUX_R_NO_SUCH_SESSION = 10,
	ISCSIMUX_R_NOT_PERMITTED = 11,
	ISCSIMUX_R_NO_SUCH_TASK = 12,
	ISCSIMUX_R_BAD_OPCODE = 13,
	ISCSIMUX_R_BAD_LENGTH = 14,
	ISCSIMUX_R_BAD_ITT = 15,
	ISCSIMUX_R_BAD_TAG = 16,
	ISCSIMUX_R_BAD_FIELD = 17,
	ISCSIMUX_R_DATA_LIMIT = 18,
	ISCSIMUX_R_QUOTA = 19,
	ISCSIMUX_R_SESSION_DOWN = 20,
	ISCSIMUX_R_CANCELLED = 21,
	ISCSIMUX_R_DEADLINE = 22,
	ISCSIMUX_R_RESET = 23,
	ISCSIMUX_R_CONNECTION_LOST = 24,
	ISCSIMUX_R_SHUTDOWN = 25,
	ISCSIMUX_R_HELLO_TIMEOUT = 26,
	ISCSIMUX_R_STALLED = 27,
	ISCSIMUX_R_KICKED = 28,
	ISCSIMUX_R_R2T_TIMEOUT = 29,
	ISCSIMUX_R_NOT_SUPPORTED = 30,
	ISCSIMUX_R_BUSY = 31,
	ISCSIMUX_R_INTERNAL = 32,
	ISCSIMUX_R_CONNECT = 33,
	ISCSIMUX_R_REINSTATE = 34
};

/* ------------------------------------------------------------------------
 * The handle and its connection.
 */

enum iscsimux_session_state {
	ISCSIMUX_SESSION_DOWN = 0,
	ISCSIMUX_SESSION_CONNECTING = 1,
	ISCSIMUX_SESSION_LOGIN = 2,
	ISCSIMUX_SESSION_UP = 3,
	ISCSIMUX_SESSION_LOGOUT = 4
};

/* Access levels, to be combined. */
enum iscsimux_access {
	ISCSIMUX_ACCESS_READ = 0x01,
	ISCSIMUX_ACCESS_WRITE = 0x02,
	ISCSIMUX_ACCESS_MANAGE = 0x04,
	ISCSIMUX_ACCESS_RESET = 0x08,
	ISCSIMUX_ACCESS_TASK_ATTRIBUTES = 0x10
};

/*
 * The attached session.  The negotiated values (RFC 7143 section 13) are zero
 * until its first login and change with every later one, which `generation`
 * counts.  Lengths in bytes.
 */
struct iscsimux_session {
	enum iscsimux_session_state	state;
	uint32_t	access;		/* granted, enum iscsimux_access */
	uint32_t	tasks_max;	/* open tasks allowed to this handle */
	uint64_t	inbound_max;	/* bytes of data in, all open tasks */
	uint64_t	outbound_max;	/* bytes of data out on their way */
	uint32_t	generation;
	bool		initial_r2t;
	bool		immediate_data;
	bool		header_digest;
	bool		data_digest;
	uint32_t	send_dsl;	/* target's MaxRecvDataSegmentLength */
	uint32_t	recv_dsl;	/* the daemon's */
	uint32_t	max_burst;
	uint32_t	first_burst;
	uint32_t	max_r2t;	/* MaxOutstandingR2T */
};

enum iscsimux_event_kind {
	ISCSIMUX_EVENT_SESSION_UP = 0,
	ISCSIMUX_EVENT_SESSION_DOWN = 1,
	ISCSIMUX_EVENT_PARAMETERS = 2,	/* negotiated values changed */
	ISCSIMUX_EVENT_ASYNC = 3,	/* code = AsyncEvent, 11.9.1 */
	ISCSIMUX_EVENT_UNIT_ATTENTION = 4, /* code = ASC << 8 | ASCQ */
	ISCSIMUX_EVENT_RESET = 5,	/* code = TMF function, 11.5.1 */
	ISCSIMUX_EVENT_LOST = 6,	/* count = events not delivered */
	ISCSIMUX_EVENT_CLOSED = 7,	/* raw connection; code = errno, or 0 */
	ISCSIMUX_EVENT_UNSOLICITED = 8	/* asks for on_pdu; no event itself */
};

/* Every kind of event, for iscsimux_attach.events. */
#define ISCSIMUX_EVENTS_ALL 0x1ffu

/* Something that happened to the session and not to a task of this handle. */
struct iscsimux_event {
	enum iscsimux_event_kind kind;
	uint32_t	count;		/* how many were merged, from 1 */
	uint8_t		lun[8];		/* zero if it concerns no LUN */
	uint32_t	code;
	const char	*text;		/* for people; never NULL */
	/* ISCSIMUX_EVENT_CLOSED: received from the target, and sent to it. */
	uint64_t	bytes_in;
	uint64_t	bytes_out;
};

/* Digest words, their bytes in the order of the wire. */
struct iscsimux_digests {
	bool		header;		/* header_word is given */
	bool		data;		/* data_word is given */
	uint8_t		header_word[4];
	uint8_t		data_word[4];
};

/*
 * A PDU as the data socket carries it (RFC 7143 section 11.2.1): no padding,
 * no digests.  `ahs` has 4 * bhs[4] bytes.  The data segment is the sum of
 * the iovecs, as long as bhs[5..7] says; a received one has at most one.  The
 * last two members are of raw connections, and zero elsewhere.
 */
struct iscsimux_pdu {
	const uint8_t		*bhs;	/* ISCSIMUX_BHS_LEN bytes */
	const uint8_t		*ahs;	/* NULL if there is none */
	const struct iovec	*data;	/* NULL if there is none */
	size_t			 ndata;
	/*
	 * Received: the digests as they came, with ISCSIMUX_RAW_SHOW_DIGESTS.
	 * Submitted: to be sent in place of the right ones, which needs
	 * ISCSIMUX_RAW_UNCHECKED.
	 */
	struct iscsimux_digests	 digests;
	bool			 unmatched;	/* on_pdu: nobody waits for it */
};

/*
 * News of a handle; every member may be NULL.  `arg` is the pointer that was
 * given to iscsimux_new().
 */
struct iscsimux_callbacks {
	/*
	 * The answer to iscsimux_attach().  `error` is 0, or a negative errno
	 * (-ENOENT no such session, -EACCES not permitted, -EBUSY, ...) and
	 * then `session` is NULL; the connection stays, attach again.
	 */
	void (*on_attached)(struct iscsimux *h, void *arg, int error,
	    const struct iscsimux_session *session);
	/* iscsimux_session() has the new values already. */
	void (*on_event)(struct iscsimux *h, void *arg,
	    const struct iscsimux_event *event);
	/*
	 * A PDU of the target that answers no request: with the reserved tag,
	 * if ISCSIMUX_EVENT_UNSOLICITED was asked for; or, on a raw
	 * connection, one with a tag that nobody waits for (`unmatched`).
	 */
	void (*on_pdu)(struct iscsimux *h, void *arg,
	    const struct iscsimux_pdu *pdu);
	/*
	 * The connection is gone and every request has ended; iscsimux_connect
	 * may be called from here.  `error`: -ECONNRESET the daemon closed it,
	 * -EPROTO it sent what no daemon may send, -EPROTONOSUPPORT no common
	 * version, or another errno of the socket.  `text` has the daemon's
	 * own words, if it left any.  Not called for iscsimux_disconnect().
	 */
	void (*on_closed)(struct iscsimux *h, void *arg, int error,
	    const char *text);
};

/*
 * Make a handle, not connected.  `callbacks` is copied and may be NULL.
 * Returns NULL if there is no memory.
 */
struct iscsimux *iscsimux_new(const struct iscsimux_callbacks *callbacks,
    void *arg);

/*
 * Disconnect, then free the handle; NULL is allowed.  Requests that are open
 * complete first, as in iscsimux_disconnect(), and while they do, new ones
 * are refused with -ESHUTDOWN.  From within a callback the memory itself
 * lives on until the iscsimux_service() (or wait, or disconnect) that called
 * back has returned; that one then returns -ESHUTDOWN, and no further
 * callback is made.
 */
void iscsimux_free(struct iscsimux *h);

/*
 * The name by which the daemon's log and lists call this client, up to
 * ISCSIMUX_NAME_MAX bytes, printable ASCII; the default is the program's
 * name.  Takes effect with the next connect.  Returns -EINVAL.
 */
int iscsimux_set_name(struct iscsimux *h, const char *name);

/*
 * Connect to the daemon's data socket at `path`; NULL means the environment's
 * ISCSIMUX_SOCKET or else the default place.  Never blocks.  Returns
 * -EISCONN, -ENOENT or -ECONNREFUSED (no daemon there), -EACCES, -EAGAIN (too
 * many are connecting, try later), -ENAMETOOLONG, -EBUSY (called from the
 * completion of a request of the last connection), -ENOMEM, -EMFILE.
 */
int iscsimux_connect(struct iscsimux *h, const char *path);

/*
 * The same over a connected stream socket, which the library owns from then
 * on if it returns 0.
 */
int iscsimux_connect_fd(struct iscsimux *h, int fd);

/*
 * The path that iscsimux_connect(h, NULL) would use; never NULL.  A program
 * with more privileges than its caller does not heed the environment.
 */
const char *iscsimux_default_path(void);

/*
 * Close the connection.  Every open request completes before this returns:
 * as ISCSIMUX_NOT_SENT if no byte of it had left, else as ISCSIMUX_UNKNOWN
 * (the daemon aborts it).  The handle can connect again.
 */
void iscsimux_disconnect(struct iscsimux *h);

struct iscsimux_attach {
	/* Its name in the daemon, or the iSCSI name of its target if no other
	 * session that you may use has that target. */
	const char	*session;
	uint32_t	access;		/* wanted; 0: all that is granted */
	bool		exclusive;	/* no other client beside this one */
	/* What was not sent waits for the session to be up again, as does what
	 * is submitted meanwhile, up to its recovery-timeout. */
	bool		hold;
	uint32_t	deadline_ms;	/* default of every task; 0: none */
	uint32_t	events;		/* 1 << enum iscsimux_event_kind, ... */
};

/*
 * Attach to a session; answered by on_attached.  May be called as soon as
 * iscsimux_connect() has returned 0.  A session that is down can be attached
 * to.  Events up, down and parameters are always asked for, because the
 * library itself needs them.  Returns -ENOTCONN, -EALREADY (asked already),
 * -EISCONN (attached already, or to a raw connection), -EINVAL (name).
 */
int iscsimux_attach(struct iscsimux *h, const struct iscsimux_attach *options);

/* The attached session, or NULL.  Valid until the handle disconnects. */
const struct iscsimux_session *iscsimux_session(const struct iscsimux *h);

/* ------------------------------------------------------------------------
 * The loop.
 */

/* The descriptor to poll, or -1.  It changes with every connect. */
int iscsimux_fd(const struct iscsimux *h);

/*
 * What to poll for: POLLIN, with POLLOUT while something waits to be sent; 0
 * when not connected.  Ask again after every call that queued something.
 */
short iscsimux_events(const struct iscsimux *h);

/*
 * Do what can be done without blocking: send what is queued, receive, call
 * back.  `revents` is what poll() returned for the descriptor; without
 * POLLIN, POLLHUP or POLLERR nothing is received.  The work of one call is
 * bounded, so a level-triggered poll is needed.  Returns the number of
 * callbacks made (0 or more), or -ENOTCONN, -EDEADLK, -ESHUTDOWN; when the
 * connection ends in this call, its error as told to on_closed.
 */
int iscsimux_service(struct iscsimux *h, short revents);

/*
 * Send what is queued as far as the socket takes it, and call nobody back.
 * iscsimux_service() does it too; this is for those who submit from outside
 * the loop and do not want to wait.  Returns 0 even if something is left or
 * the socket has failed, which iscsimux_service() reports; or -ENOTCONN.
 */
int iscsimux_flush(struct iscsimux *h);

/*
 * For programs without a loop: poll and service until at least one callback
 * was made.  `timeout_ms` < 0 waits for ever.  Returns the number of
 * callbacks, 0 when the time is over, -EINTR when a signal came, or what
 * iscsimux_service() returns.
 */
int iscsimux_wait(struct iscsimux *h, int timeout_ms);

/* ------------------------------------------------------------------------
 * The convenience level.
 */

/* Deadline that overrides the attached default with none. */
#define ISCSIMUX_NO_DEADLINE UINT32_MAX

/* How a request of the convenience level ended. */
struct iscsimux_result {
	enum iscsimux_outcome	outcome;
	/*
	 * ISCSIMUX_COMPLETED, a SCSI command: the SCSI status (SAM-5 section
	 * 5.3.1).
	 */
	uint8_t		status;
	/*
	 * Completed task management: the Response of RFC 7143 section 11.6.1.
	 * ISCSIMUX_FAILED by a SCSI Response or a Reject: its Response or
	 * Reason.  ABORTED or TIMED_OUT by the daemon's ABORT TASK: the
	 * target's response to it, 0xff if none.
	 */
	uint8_t		response;
	bool		overflow;	/* target wanted to move `residual` */
	bool		underflow;	/* bytes more, or moved so many less */
	uint32_t	residual;
	/*
	 * Bytes that the data buffer holds (in), or that the target took, as
	 * far as it said (out).
	 */
	uint32_t	transferred;
	const uint8_t	*sense;		/* without SenseLength, or NULL */
	size_t		sense_len;
	/*
	 * ABORTED, TIMED_OUT or FAILED before a byte was sent to the target.
	 */
	bool		not_sent;
	enum iscsimux_reason reason;	/* unless completed */
	const char	*text;		/* for people; never NULL */
};

/* True for a command that completed with status GOOD. */
static inline bool
iscsimux_result_good(const struct iscsimux_result *r)
{
	return r->outcome == ISCSIMUX_COMPLETED && r->status == 0;
}

/* Completion of a request; `cookie` is the pointer given with it. */
typedef void iscsimux_done_fn(struct iscsimux *h, void *cookie,
    const struct iscsimux_result *result);

enum iscsimux_direction {
	ISCSIMUX_NO_DATA = 0,
	ISCSIMUX_DATA_IN = 1,		/* target to initiator */
	ISCSIMUX_DATA_OUT = 2
};

/* Task attributes (RFC 7143 section 11.3.1). */
enum iscsimux_attribute {
	ISCSIMUX_UNTAGGED = 0,
	ISCSIMUX_SIMPLE = 1,
	ISCSIMUX_ORDERED = 2,
	ISCSIMUX_HEAD_OF_QUEUE = 3,
	ISCSIMUX_ACA = 4
};

/*
 * A SCSI command.  The buffer is either `data` with `data_len` bytes or, if
 * `niov` is not 0, the `niov` pieces of `iov`; its length is the Expected
 * Data Transfer Length.  A CDB above 16 bytes travels in an extended CDB AHS
 * (RFC 7143 section 11.2.2.3).  Bidirectional commands need the raw level.
 */
struct iscsimux_scsi {
	uint8_t			lun[8];		/* SAM-5 section 4.7 */
	const uint8_t		*cdb;
	size_t			 cdb_len;	/* 1 to ISCSIMUX_CDB_MAX */
	enum iscsimux_direction	 direction;
	enum iscsimux_attribute	 attribute;
	void			*data;		/* only read for DATA_OUT */
	size_t			 data_len;	/* bytes */
	const struct iovec	*iov;
	size_t			 niov;
	uint32_t		 deadline_ms;	/* 0: the attached default */
};

/*
 * Execute a SCSI command.  Stores in `*id`, unless NULL, what
 * iscsimux_cancel() takes.  Returns -ENOTCONN (not attached), -EAGAIN (as
 * many tasks or bytes open as the daemon allows: wait for a completion),
 * -EINVAL, -ENOMEM, -ESHUTDOWN.
 */
int iscsimux_execute(struct iscsimux *h, const struct iscsimux_scsi *scsi,
    iscsimux_done_fn *done, void *cookie, uint64_t *id);

/*
 * Send a NOP-Out to the target through the session (RFC 7143 section 11.18)
 * with `len` bytes of `data` that its NOP-In is to repeat.  The repeated data
 * go to `reply`, at most `reply_size` bytes, and their number to
 * result.transferred.  Returns as iscsimux_execute(), or -EMSGSIZE if `len` is
 * above send_dsl.
 */
int iscsimux_nop(struct iscsimux *h, const void *data, size_t len,
    void *reply, size_t reply_size, uint32_t deadline_ms,
    iscsimux_done_fn *done, void *cookie, uint64_t *id);

/* Task management functions (RFC 7143 section 11.5.1, RFC 7144). */
enum iscsimux_tmf {
	ISCSIMUX_TMF_ABORT_TASK = 1,
	ISCSIMUX_TMF_ABORT_TASK_SET = 2,
	ISCSIMUX_TMF_CLEAR_ACA = 3,
	ISCSIMUX_TMF_CLEAR_TASK_SET = 4,
	ISCSIMUX_TMF_LUN_RESET = 5,
	ISCSIMUX_TMF_TARGET_WARM_RESET = 6,
	ISCSIMUX_TMF_TARGET_COLD_RESET = 7,
	/* Only on sessions with iSCSIProtocolLevel 2. */
	ISCSIMUX_TMF_QUERY_TASK = 9,
	ISCSIMUX_TMF_QUERY_TASK_SET = 10,
	ISCSIMUX_TMF_NEXUS_RESET = 11,
	ISCSIMUX_TMF_QUERY_ASYNC_EVENT = 12
};

struct iscsimux_management {
	enum iscsimux_tmf	function;
	uint8_t			lun[8];	/* of a task: the task's is used */
	uint64_t		task;	/* ABORT_TASK, QUERY_TASK: its id */
	uint32_t		deadline_ms;
};

/*
 * Send a Task Management Function Request.  result.response is the target's
 * answer; 0 means function complete.  A query ends nothing: to it 7, function
 * succeeded, is yes, and 0 is no.  All others but ABORT_TASK reach other
 * clients' tasks too and need access for it.  Returns as iscsimux_execute(),
 * and -ENOENT if `task` has ended already.
 */
int iscsimux_manage(struct iscsimux *h, const struct iscsimux_management *m,
    iscsimux_done_fn *done, void *cookie, uint64_t *id);

/*
 * Ask the daemon to end a task of either level; it withdraws it or sends an
 * ABORT TASK by itself.  The task then ends once as always: as
 * ISCSIMUX_ABORTED, or completed if its answer was faster.  Returns -ENOENT if
 * it has ended already; to ask twice changes nothing.
 */
int iscsimux_cancel(struct iscsimux *h, uint64_t id);

/*
 * PING the daemon; completes when the PONG is there.  Needs no session.
 * Returns -ENOTCONN, -EAGAIN (16 such requests are open), -ENOMEM.
 */
int iscsimux_ping(struct iscsimux *h, iscsimux_done_fn *done, void *cookie);

/* A session that this client may attach to. */
struct iscsimux_listing {
	enum iscsimux_session_state	state;
	uint32_t	access;		/* what would be granted */
	bool		shared;		/* made by iscsimux_share() */
	bool		adopted;	/* and a process outside of the daemon
					   may hold its TCP socket, too */
	char		session[ISCSIMUX_NAME_MAX + 1];
	char		target[ISCSIMUX_TARGET_MAX + 1];
};

/*
 * Completion of iscsimux_list(), once with all entries; `error` is 0 or a
 * negative errno (-ECONNRESET when the connection ended first).
 */
typedef void iscsimux_list_fn(struct iscsimux *h, void *cookie, int error,
    const struct iscsimux_listing *entries, size_t n);

/*
 * Ask for the sessions that this client may attach to.  Needs none itself.
 * Returns as iscsimux_ping().
 */
int iscsimux_list(struct iscsimux *h, iscsimux_list_fn *done, void *cookie);

/* ------------------------------------------------------------------------
 * Blocking forms, for simple tools.  They service the handle meanwhile, so
 * other callbacks run too.  A signal does not end them.
 */

/*
 * Connect and wait for the daemon's WELCOME.  Also waits while the daemon has
 * too many new connections.  Returns as iscsimux_connect() or on_closed, or
 * -ETIMEDOUT, and then leaves the handle disconnected.
 */
int iscsimux_connect_sync(struct iscsimux *h, const char *path,
    int timeout_ms);

/*
 * Attach and wait for the answer, which on_attached gets too.  After
 * -ETIMEDOUT it may still come there.
 */
int iscsimux_attach_sync(struct iscsimux *h,
    const struct iscsimux_attach *options, int timeout_ms);

/*
 * Execute and wait.  Returns 0 with `*result`, whatever its outcome, or what
 * iscsimux_execute() returned.  The pointers in `*result` are valid until the
 * next call of a *_sync function or iscsimux_free().  When `timeout_ms` has
 * passed (< 0: never), the only way to get the buffer back at once is to
 * disconnect, and that is done: -ETIMEDOUT, with `*result` set.
 */
int iscsimux_execute_sync(struct iscsimux *h, const struct iscsimux_scsi *scsi,
    int timeout_ms, struct iscsimux_result *result);

/* ------------------------------------------------------------------------
 * The raw level.
 */

enum iscsimux_answer_kind {
	ISCSIMUX_ANSWER_PDU,	/* a PDU; more answers follow */
	ISCSIMUX_ANSWER_FINAL,	/* the PDU that ended the task */
	ISCSIMUX_ANSWER_OUTCOME, /* ended without one */
	ISCSIMUX_ANSWER_ERROR,	/* a PDU of iscsimux_submit_more() was refused;
				   the task goes on */
	ISCSIMUX_ANSWER_TAG	/* raw connections: `itt` was chosen; comes
				   before anything else of the task */
};

struct iscsimux_answer {
	enum iscsimux_answer_kind kind;
	const struct iscsimux_pdu *pdu;	/* PDU, FINAL; else NULL */
	bool		synthetic;	/* made by the daemon, not the target */
	enum iscsimux_outcome outcome;	/* FINAL, OUTCOME */
	bool		not_sent;	/* OUTCOME */
	uint8_t		response;	/* OUTCOME: to the ABORT TASK */
	enum iscsimux_reason reason;	/* OUTCOME, ERROR */
	const char	*text;		/* never NULL */
	uint32_t	itt;		/* TAG */
};

/* Called for each answer; FINAL or OUTCOME comes exactly once, as the last. */
typedef void iscsimux_answer_fn(struct iscsimux *h, void *cookie,
    const struct iscsimux_answer *answer);

enum iscsimux_submit_flag {
	/*
	 * Fill in the Initiator Task Tag.  The library's own tags have the top
	 * bit set; who picks tags and uses both levels must keep to the lower
	 * half.
	 */
	ISCSIMUX_ASSIGN_ITT = 0x01
};

/*
 * Submit a PDU that opens a task.  The daemon replaces Initiator Task Tag,
 * CmdSN and ExpStatSN and maps the tag back in every answer; all else is
 * yours, checked by the daemon and by nobody before.  Only lengths are
 * checked here: -EINVAL if bhs[4..7] disagree with what is given.  Otherwise
 * returns as iscsimux_execute().  The data segment is read until the task
 * ends.  On a raw connection it is iscsimux_submit_raw() without options, and
 * nothing is replaced.
 */
int iscsimux_submit(struct iscsimux *h, const struct iscsimux_pdu *pdu,
    unsigned flags, uint32_t deadline_ms, iscsimux_answer_fn *answer,
    void *cookie, uint64_t *id);

/*
 * Submit a further PDU of an open raw task: a Data-Out or the continuation of
 * a Text Request.  With ISCSIMUX_ASSIGN_ITT it bears the tag that the task
 * was given.  Its data segment, too, is read until the task ends.  Returns
 * -ENOENT if the task has ended or is cancelled, -EAGAIN if 64 such PDUs of
 * the task wait to be sent or the tag is still to be chosen, -EINVAL,
 * -ENOMEM, -ENOTCONN.
 */
int iscsimux_submit_more(struct iscsimux *h, uint64_t id,
    const struct iscsimux_pdu *pdu, unsigned flags);

/* ------------------------------------------------------------------------
 * Words and tracing.
 */

/*
 * See each PDU pass, those too that the library makes by itself.  `bhs` and
 * `ahs` are the header as it travels on the data socket (`ahs` has
 * 4 * bhs[4] bytes); `direction` is ISCSIMUX_DATA_OUT to the daemon or
 * ISCSIMUX_DATA_IN from it; `id` is the task, 0 if there is none.  It must
 * call no function of a handle.
 */
typedef void iscsimux_trace_fn(void *arg, enum iscsimux_direction direction,
    uint64_t id, const uint8_t *bhs, const uint8_t *ahs);

/* Set or, with NULL, remove the trace function. */
void iscsimux_set_trace(struct iscsimux *h, iscsimux_trace_fn *trace,
    void *arg);

/*
 * The last failure of the handle in words: the daemon's own if it gave a
 * reason, else those of the errno.  Never NULL; valid until the next call.
 */
const char *iscsimux_error_text(const struct iscsimux *h);

/* The reason of the last ERROR or GOODBYE; ISCSIMUX_R_NONE if there is none. */
enum iscsimux_reason iscsimux_error_reason(const struct iscsimux *h);

/* What the daemon calls itself, name and version; "" before WELCOME. */
const char *iscsimux_daemon(const struct iscsimux *h);

/* A negative (or positive) errno in words; never NULL. */
const char *iscsimux_strerror(int error);

/* Names for people and programs; "unknown" for other values; never NULL. */
const char *iscsimux_outcome_name(enum iscsimux_outcome outcome);
const char *iscsimux_reason_name(enum iscsimux_reason reason);
const char *iscsimux_event_name(enum iscsimux_event_kind kind);
const char *iscsimux_state_name(enum iscsimux_session_state state);
const char *iscsimux_opcode_name(uint8_t opcode);

/*
 * Encode a LUN below 16384 as SAM-5 section 4.7.7 says: peripheral device
 * addressing below 256, else flat space addressing.  Returns -ERANGE.
 */
int iscsimux_lun(unsigned number, uint8_t lun[8]);

#ifdef __cplusplus
}
#endif

#endif
