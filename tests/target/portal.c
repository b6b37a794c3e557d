/* SPDX-License-Identifier: ISC */
/*
 * The listening sockets.  Knows addresses, hands every accepted socket to
 * conn.c.
 */
#include "config.h"

#include <sys/epoll.h>
#include <sys/socket.h>

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tests/target/conn.h"
#include "tests/target/target.h"

#define PORTAL_BACKLOG 128

void
portal_format(const struct sockaddr *sa, socklen_t len, char *buf,
    size_t size)
{
	char host[NI_MAXHOST];
	char port[NI_MAXSERV];
	bool v6 = sa->sa_family == AF_INET6;

	if (getnameinfo(sa, len, host, sizeof(host), port, sizeof(port),
	    NI_NUMERICHOST | NI_NUMERICSERV) != 0) {
		(void)snprintf(buf, size, "unknown");
		return;
	}
	(void)snprintf(buf, size, "%s%.45s%s:%s", v6 ? "[" : "", host,
	    v6 ? "]" : "", port);
}

static void
portal_ready(struct source *s, uint32_t events)
{
	/* The source is the portal's first member. */
	struct portal *p = (struct portal *)(void *)s;
	int fd;

	(void)events;
	for (;;) {
		fd = accept4(s->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd < 0)
			return;
		conn_new(p->target, fd);
	}
}

/* Split ADDR:PORT or [ADDR]:PORT in place. */
static int
split_name(char *name, char **host, char **port)
{
	char *colon = strrchr(name, ':');

	if (colon == NULL)
		return -EINVAL;
	*colon = '\0';
	*port = colon + 1;
	*host = name;
	if (name[0] == '[') {
		if (colon[-1] != ']')
			return -EINVAL;
		colon[-1] = '\0';
		*host = name + 1;
	}
	return 0;
}

static int
portal_bind(struct portal *p, const struct addrinfo *ai)
{
	int on = 1;
	int fd;

	fd = socket(ai->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC,
	    0);
	if (fd < 0)
		return -errno;
	p->source.fd = fd;
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (ai->ai_family == AF_INET6)
		(void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on,
		    sizeof(on));
	if (bind(fd, ai->ai_addr, ai->ai_addrlen) < 0 ||
	    listen(fd, PORTAL_BACKLOG) < 0)
		return -errno;
	p->addr_len = sizeof(p->addr);
	if (getsockname(fd, (struct sockaddr *)&p->addr, &p->addr_len) < 0)
		return -errno;
	portal_format((struct sockaddr *)&p->addr, p->addr_len, p->name,
	    sizeof(p->name));
	return 0;
}

int
portal_open(struct target *t, const char *name)
{
	struct addrinfo hints = {
		.ai_socktype = SOCK_STREAM,
		.ai_flags = AI_PASSIVE | AI_NUMERICHOST | AI_NUMERICSERV,
	};
	struct portal *p = &t->portals[t->nportals];
	struct addrinfo *ai = NULL;
	char copy[128];
	char *host;
	char *port;
	int r;

	if (t->nportals == OPTIONS_PORTALS_MAX ||
	    (size_t)snprintf(copy, sizeof(copy), "%s", name) >= sizeof(copy) ||
	    split_name(copy, &host, &port) < 0 ||
	    getaddrinfo(host, port, &hints, &ai) != 0)
		return -EINVAL;
	memset(p, 0, sizeof(*p));
	p->source.fd = -1;
	p->source.ready = portal_ready;
	p->target = t;
	r = portal_bind(p, ai);
	freeaddrinfo(ai);
	if (r == 0)
		r = loop_arm(t, &p->source, EPOLLIN);
	if (r < 0) {
		portal_close(p);
		return r;
	}
	t->nportals++;
	return 0;
}

void
portal_close(struct portal *p)
{
	if (p->source.fd >= 0)
		(void)close(p->source.fd);
	p->source.fd = -1;
}
