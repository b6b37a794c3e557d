/* SPDX-License-Identifier: ISC */
/*
 * One TCP connection from look-up to close.  It calls resolve.c for addresses
 * and loop.c for readiness; it knows nothing of PDUs.  Bytes are conn_io.c's.
 */
#include "config.h"

#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/conn_internal.h"
#include "daemon/resolve.h"
#include "daemon/worker.h"

static void try_next(struct conn *);

/* "address:port" for people, with brackets where the address has colons. */
static void
format_addr(const struct sockaddr_storage *sa, socklen_t len, char *buf,
    size_t size)
{
	char host[INET6_ADDRSTRLEN + 20], port[8];

	buf[0] = '\0';
	if (sa->ss_family != AF_INET && sa->ss_family != AF_INET6)
		return;
	if (getnameinfo((const struct sockaddr *)sa, len, host, sizeof(host),
	    port, sizeof(port), NI_NUMERICHOST | NI_NUMERICSERV) != 0)
		return;
	if (sa->ss_family == AF_INET6)
		snprintf(buf, size, "[%s]:%s", host, port);
	else
		snprintf(buf, size, "%s:%s", host, port);
}

void
conn_drop_fd(int fd)
{
	const struct linger off = { .l_onoff = 0 };

	/* It fails where there is nothing to wait for: no socket. */
	(void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &off, sizeof(off));
	close(fd);
}

static void
socket_drop(struct conn *c)
{
	loop_io_free(c->io);
	c->io = NULL;
	if (c->fd != -1)
		conn_drop_fd(c->fd);
	c->fd = -1;
}

static void
dial_end(struct conn *c)
{
	resolver_cancel(c->lookup);
	c->lookup = NULL;
	loop_timer_free(c->timer);
	c->timer = NULL;
}

static void __attribute__((format(printf, 3, 4)))
fail(struct conn *c, int error, const char *fmt, ...)
{
	char what[NI_MAXHOST + CONN_NAME_MAX + 128];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	dial_end(c);
	socket_drop(c);
	c->state = CONN_ST_FAILED;
	c->ops->on_failed(c->arg, error, what);
}

/* "10 s", or "1500 ms" where it is not whole seconds. */
static const char *
timeout_text(const struct conn *c, char *buf, size_t size)
{
	if (c->timeout_ms % 1000 == 0)
		snprintf(buf, size, "%u s", (unsigned)(c->timeout_ms / 1000));
	else
		snprintf(buf, size, "%u ms", (unsigned)c->timeout_ms);
	return buf;
}

/* The address being tried failed: say why, or try the one after it. */
static void
attempt_failed(struct conn *c, int error)
{
	const struct conn_addr *addr = &c->addrs[c->next - 1];
	char name[CONN_NAME_MAX], limit[32];

	socket_drop(c);
	if (c->next < c->naddrs && loop_now(c->worker->loop) < c->deadline) {
		try_next(c);
		return;
	}
	format_addr(&addr->sa, addr->len, name, sizeof(name));
	if (error == ETIMEDOUT)
		fail(c, error, "connect to %s: timed out after %s", name,
		    timeout_text(c, limit, sizeof(limit)));
	else
		fail(c, error, "connect to %s: %s", name, strerror(error));
}

static void
name_ends(struct conn *c)
{
	struct sockaddr_storage *local = &c->local_sa, *peer = &c->peer_sa;
	socklen_t len = sizeof(*local);

	if (getsockname(c->fd, (struct sockaddr *)local, &len) == 0)
		format_addr(local, len, c->local, sizeof(c->local));
	len = sizeof(*peer);
	if (getpeername(c->fd, (struct sockaddr *)peer, &len) == 0)
		format_addr(peer, len, c->peer, sizeof(c->peer));
}

static void
set_options(int fd)
{
	int on = 1;

	/* Failure is harmless: slower, or noticed later. */
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	(void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
}

static void
connected(struct conn *c)
{
	name_ends(c);
	/*
	 * A socket that tries an unused port of its own host can by chance be
	 * given that very port, and then TCP connects it to itself.
	 */
	if (c->local[0] != '\0' && strcmp(c->local, c->peer) == 0) {
		c->local[0] = c->peer[0] = '\0';
		attempt_failed(c, ECONNREFUSED);
		return;
	}
	dial_end(c);
	c->state = CONN_ST_CONNECTED;
	conn_set_want(c, LOOP_READ);
	c->ops->on_connected(c->arg);
}

static void
connect_done(struct conn *c)
{
	int error = 0;
	socklen_t len = sizeof(error);

	if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &len) == -1)
		error = errno;
	if (error != 0)
		attempt_failed(c, error);
	else
		connected(c);
}

static void
on_io(void *arg, unsigned events)
{
	struct conn *c = arg;

	if (c->state == CONN_ST_CONNECTING) {
		connect_done(c);
		return;
	}
	if ((events & LOOP_READ) != 0 && conn_listens(c, LOOP_READ))
		c->ops->on_readable(c->arg);
	if ((events & LOOP_WRITE) != 0 && conn_listens(c, LOOP_WRITE))
		c->ops->on_writable(c->arg);
}

/* 0 if the connect has begun or is complete, or an errno. */
static int
start_connect(struct conn *c, const struct conn_addr *addr)
{
	c->fd = socket(addr->sa.ss_family,
	    SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP);
	if (c->fd == -1)
		return errno;
	set_options(c->fd);
	c->io = loop_io_new(c->worker->loop, c->fd, on_io, c);
	if (c->io == NULL)
		return errno;
	if (connect(c->fd, (const struct sockaddr *)&addr->sa,
	    addr->len) == -1 && errno != EINPROGRESS && errno != EINTR)
		return errno;
	/* A connection that is there at once is writable at once. */
	loop_io_want(c->io, LOOP_WRITE);
	return 0;
}

/*
 * Try the next address, with an equal share of the time that is left.
 */
static void
try_next(struct conn *c)
{
	uint64_t now = loop_now(c->worker->loop);
	uint64_t left = c->deadline > now ? c->deadline - now : 0;
	size_t untried = c->naddrs - c->next;
	int error;

	loop_timer_set(c->timer, left / untried);
	error = start_connect(c, &c->addrs[c->next++]);
	if (error != 0)
		attempt_failed(c, error);
}

static void
on_timeout(void *arg)
{
	struct conn *c = arg;
	char limit[32];

	if (c->state == CONN_ST_LOOKUP)
		fail(c, ETIMEDOUT, "look-up of %s: timed out after %s",
		    c->host, timeout_text(c, limit, sizeof(limit)));
	else
		attempt_failed(c, ETIMEDOUT);
}

/* The look-up gave addresses, but none that may be tried. */
static void
fail_denied(struct conn *c, const struct conn_addr *first, unsigned ndenied)
{
	char name[CONN_NAME_MAX];

	format_addr(&first->sa, first->len, name, sizeof(name));
	if (ndenied == 1)
		fail(c, EACCES, "connect to %s: not permitted", name);
	else
		fail(c, EACCES, "connect to %s, the first of %u addresses of "
		    "%s: not permitted", name, ndenied, c->host);
}

/* Keep the addresses that may be tried; count the others, keep the first. */
static void
take_addresses(struct conn *c, const struct addrinfo *res,
    struct conn_addr *denied, unsigned *ndenied)
{
	struct conn_addr addr;

	for (; res != NULL && c->naddrs < RESOLVE_MAX_ADDRS;
	    res = res->ai_next) {
		if (res->ai_addrlen > sizeof(addr.sa))
			continue;
		memcpy(&addr.sa, res->ai_addr, res->ai_addrlen);
		addr.len = res->ai_addrlen;
		if (c->ops->permits == NULL || c->ops->permits(c->arg,
		    (const struct sockaddr *)&addr.sa, addr.len))
			c->addrs[c->naddrs++] = addr;
		else if ((*ndenied)++ == 0)
			*denied = addr;
	}
}

static void
on_addresses(void *arg, int error, const struct addrinfo *res)
{
	struct conn *c = arg;
	struct conn_addr denied;
	unsigned ndenied = 0;

	c->lookup = NULL;
	take_addresses(c, res, &denied, &ndenied);
	if (c->naddrs == 0 && ndenied > 0) {
		fail_denied(c, &denied, ndenied);
		return;
	}
	if (c->naddrs == 0) {
		fail(c, EHOSTUNREACH, "look-up of %s: %s", c->host,
		    error == 0 ? "no address" : resolve_strerror(error));
		return;
	}
	c->state = CONN_ST_CONNECTING;
	try_next(c);
}

static void
reap(void *arg)
{
	free(arg);
}

static struct conn *
conn_new(struct worker *w, const struct conn_ops *ops, void *arg)
{
	struct conn *c;

	c = calloc(1, sizeof(*c));
	if (c == NULL)
		return NULL;
	c->worker = w;
	c->ops = ops;
	c->arg = arg;
	c->fd = -1;
	loop_job_init(&c->reap, reap, c);
	conn_io_init(c);
	TAILQ_INSERT_TAIL(&w->conns, c, link);
	return c;
}

/* Undo conn_new() for one that could not be started; errno stays. */
static void
conn_free(struct conn *c)
{
	int error = errno;

	fault_port_deinit(&c->faults);
	TAILQ_REMOVE(&c->worker->conns, c, link);
	loop_timer_free(c->timer);
	free(c);
	errno = error;
}

struct conn *
conn_dial(struct worker *w, const char *host, uint16_t port,
    uint32_t timeout_ms, const struct conn_ops *ops, void *arg)
{
	struct conn *c;

	if (strlen(host) >= sizeof(c->host)) {
		errno = ENAMETOOLONG;
		return NULL;
	}
	c = conn_new(w, ops, arg);
	if (c == NULL)
		return NULL;
	c->state = CONN_ST_LOOKUP;
	c->timeout_ms = timeout_ms;
	c->deadline = loop_now(w->loop) + timeout_ms;
	snprintf(c->host, sizeof(c->host), "%s", host);
	c->timer = loop_timer_new(w->loop, on_timeout, c);
	if (c->timer != NULL)
		c->lookup = resolver_lookup(w->resolver, host, port,
		    on_addresses, c);
	if (c->lookup == NULL) {
		conn_free(c);
		return NULL;
	}
	loop_timer_set(c->timer, timeout_ms);
	return c;
}

static void
on_adopted(void *arg)
{
	struct conn *c = arg;

	conn_set_want(c, LOOP_READ);
	c->ops->on_connected(c->arg);
}

/* A number that the kernel tells of a socket; negative errno on failure. */
static int
socket_number(int fd, int option)
{
	int value = 0;
	socklen_t len = sizeof(value);

	if (getsockopt(fd, SOL_SOCKET, option, &value, &len) == -1)
		return -errno;
	return value;
}

int
conn_check_tcp(int fd)
{
	struct sockaddr_storage sa;
	socklen_t len = sizeof(sa);
	int domain = socket_number(fd, SO_DOMAIN);

	if (domain < 0)
		return domain;
	if (domain != AF_INET && domain != AF_INET6)
		return -EAFNOSUPPORT;
	if (socket_number(fd, SO_TYPE) != SOCK_STREAM)
		return -EPROTOTYPE;
	if (socket_number(fd, SO_PROTOCOL) != IPPROTO_TCP)
		return -EPROTONOSUPPORT;
	/* A listening socket has no peer, nor has one that still connects. */
	if (getpeername(fd, (struct sockaddr *)&sa, &len) == -1)
		return -errno;
	return 0;
}

/* 0 if `fd` is a connected stream socket, or an errno. */
static int
check_stream(int fd)
{
	struct sockaddr_storage sa;
	socklen_t len = sizeof(sa);
	int type = 0;
	socklen_t typelen = sizeof(type);

	if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &typelen) == -1)
		return errno;
	if (type != SOCK_STREAM)
		return EPROTOTYPE;
	if (getpeername(fd, (struct sockaddr *)&sa, &len) == -1)
		return errno;
	return 0;
}

struct conn *
conn_adopt(struct worker *w, int fd, const struct conn_ops *ops, void *arg)
{
	struct conn *c;
	int error;

	error = check_stream(fd);
	if (error != 0) {
		errno = error;
		return NULL;
	}
	c = conn_new(w, ops, arg);
	if (c == NULL)
		return NULL;
	c->io = loop_io_new(w->loop, fd, on_io, c);
	if (c->io == NULL) {
		conn_free(c);
		return NULL;
	}
	c->fd = fd;
	c->state = CONN_ST_CONNECTED;
	set_options(fd);
	name_ends(c);
	loop_job_init(&c->adopted, on_adopted, c);
	loop_post(w->loop, &c->adopted);
	return c;
}

void
conn_set_label(struct conn *c, const char *label)
{
	fault_port_label(&c->faults, NULL);
	strlcpy(c->label, label, sizeof(c->label));
	fault_port_label(&c->faults, c->label);
}

struct conn *
conn_next(struct worker *w, const struct conn *c)
{
	return c == NULL ? TAILQ_FIRST(&w->conns) : TAILQ_NEXT(c, link);
}

const char *
conn_label(const struct conn *c)
{
	return c->label;
}

const char *
conn_local(const struct conn *c)
{
	return c->local;
}

const char *
conn_peer(const struct conn *c)
{
	return c->peer;
}

const struct sockaddr_storage *
conn_local_addr(const struct conn *c)
{
	return &c->local_sa;
}

const struct sockaddr_storage *
conn_peer_addr(const struct conn *c)
{
	return &c->peer_sa;
}

int
conn_fd(const struct conn *c)
{
	return c->state == CONN_ST_CONNECTED ? c->fd : -1;
}

int
conn_release(struct conn *c)
{
	int fd = c->fd;

	fault_port_deinit(&c->faults);
	loop_unpost(c->worker->loop, &c->wake);
	loop_unpost(c->worker->loop, &c->adopted);
	c->fd = -1;
	socket_drop(c);
	c->state = CONN_ST_FAILED;
	return fd;
}

void
conn_close(struct conn *c)
{
	if (c == NULL || c->state == CONN_ST_CLOSED)
		return;
	c->state = CONN_ST_CLOSED;
	fault_port_deinit(&c->faults);
	TAILQ_REMOVE(&c->worker->conns, c, link);
	loop_unpost(c->worker->loop, &c->wake);
	loop_unpost(c->worker->loop, &c->adopted);
	dial_end(c);
	socket_drop(c);
	loop_reap(c->worker->loop, &c->reap);
}
