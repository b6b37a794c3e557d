/* SPDX-License-Identifier: ISC */
/*
 * One TCP connection: name look-up, connect with a deadline, non-blocking
 * reads and writes with three-valued results, close.  It knows nothing of
 * PDUs.  Every byte passes conn_recv() and conn_send(), so faults and byte
 * counts have one place each.
 */
#ifndef DAEMON_CONN_H
#define DAEMON_CONN_H

#include <sys/socket.h>
#include <sys/uio.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct conn;
struct worker;

enum conn_io {
	CONN_PROGRESS,		/* *n bytes were moved */
	CONN_WOULD_BLOCK,
	CONN_CLOSED		/* *error: 0 is a clean end of stream */
};

struct conn_ops {
	/*
	 * May this address be tried?  Asked for each that the look-up yields;
	 * it must not close the connection.  NULL: all may.  If none may,
	 * on_failed() is told EACCES.
	 */
	bool (*permits)(void *arg, const struct sockaddr *sa, socklen_t len);
	/* Connected; reading starts.  Never from inside conn_dial(). */
	void (*on_connected)(void *arg);
	/* Bytes may be there to be read. */
	void (*on_readable)(void *arg);
	/* Room to write, after conn_want_write(). */
	void (*on_writable)(void *arg);
	/*
	 * Look-up or connect failed.  `error` is an errno, `what` a text for
	 * people that is valid during the call.
	 */
	void (*on_failed)(void *arg, int error, const char *what);
};

/*
 * Start to connect to `host` (a name or an address without brackets) and
 * `port`; each address that the look-up yields is tried in turn, and all of
 * it must be done within `timeout_ms`.  Never blocks.  NULL with errno set if
 * it could not even start.  `ops` must outlive the connection.
 */
struct conn *conn_dial(struct worker *w, const char *host, uint16_t port,
    uint32_t timeout_ms, const struct conn_ops *ops, void *arg);

/*
 * Take over `fd`, a stream socket that is connected already; on_connected()
 * follows in a later turn.  Other processes may hold it too: its file status
 * flags are neither changed nor relied on.  NULL with errno set on failure,
 * and then the fd stays the caller's.
 */
struct conn *conn_adopt(struct worker *w, int fd, const struct conn_ops *ops,
    void *arg);

/*
 * Is `fd`, which may come from anybody, a connected TCP socket over IPv4 or
 * IPv6?  Returns 0, or a negative errno: ENOTSOCK, EAFNOSUPPORT, EPROTOTYPE,
 * EPROTONOSUPPORT or ENOTCONN.  conn_adopt() takes other streams too.
 */
int conn_check_tcp(int fd);

/*
 * Close `fd`, which may be anybody's socket, without waiting for its bytes to
 * leave: who shares it may have set SO_LINGER, which close(2) heeds even where
 * the socket does not block.
 */
void conn_drop_fd(int fd);

/*
 * What the connection is called where it is named: "" at first, or the name
 * of its session, or "raw-N" of a raw connection; cut at CONN_LABEL_MAX bytes.
 */
#define CONN_LABEL_MAX	63
void conn_set_label(struct conn *c, const char *label);
const char *conn_label(const struct conn *c);

/*
 * The connections of a worker that are not closed, oldest first: NULL starts,
 * and NULL ends it.
 */
struct conn *conn_next(struct worker *w, const struct conn *c);

/* Read into the iovecs; `*n` and `*error` as enum conn_io says. */
enum conn_io conn_recv(struct conn *c, struct iovec *iov, int iovcnt,
    size_t *n, int *error);

/* Write the iovecs gathered in one system call. */
enum conn_io conn_send(struct conn *c, struct iovec *iov, int iovcnt,
    size_t *n, int *error);

/* Ask for on_writable() once there is room. */
void conn_want_write(struct conn *c, bool want);

/* Pause or resume on_readable(); on after on_connected(). */
void conn_want_read(struct conn *c, bool want);

/* Bytes moved in each direction since the connection began. */
uint64_t conn_bytes_in(const struct conn *c);
uint64_t conn_bytes_out(const struct conn *c);

/*
 * The two ends as "address:port" (IPv6 in brackets), "" before it is
 * connected.  Valid as long as the connection.
 */
const char *conn_local(const struct conn *c);
const char *conn_peer(const struct conn *c);

/*
 * The same as socket addresses, of family AF_UNSPEC before it is connected.
 */
const struct sockaddr_storage *conn_local_addr(const struct conn *c);
const struct sockaddr_storage *conn_peer_addr(const struct conn *c);

/* The socket, -1 before it is connected; stays the connection's. */
int conn_fd(const struct conn *c);

/*
 * Give the socket away: no callback follows, and the descriptor is the
 * caller's.  Only conn_close() may follow.
 */
int conn_release(struct conn *c);

/*
 * Stop all callbacks at once, close the socket, free at the end of the turn.
 * Idempotent within the turn; NULL is allowed.
 */
void conn_close(struct conn *c);

#endif
