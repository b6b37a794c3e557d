/* SPDX-License-Identifier: ISC */
/*
 * Look-ups by libevent's asynchronous DNS client, on the loop's base.  Answers
 * pass through a job, so that callers see the order that loop.h promises.  It
 * knows nothing of connections.
 */
#include "config.h"

#include <sys/queue.h>
#include <sys/socket.h>

#include <errno.h>
#include <netdb.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include <event2/dns.h>
#include <event2/event.h>
#include <event2/util.h>

#include "daemon/loop.h"
#include "daemon/resolve.h"

/* Turns that libevent is given to end cancelled requests. */
#define DRAIN_TURNS	16

struct resolver {
	struct loop		*loop;
	struct evdns_base	*dns;
	uint32_t		 asking;	/* look-ups that DNS holds */
	uint64_t		 idle_since;	/* turn */
};

struct lookup {
	struct resolver			*resolver;
	struct evdns_getaddrinfo_request *req;
	resolver_cb			*cb;	/* NULL: cancelled */
	void				*arg;
	struct loop_job			 job;
	struct addrinfo			*res;
	int				 error;
	bool				 answered;
};

struct resolver *
resolver_new(struct loop *loop)
{
	struct resolver *r;

	r = calloc(1, sizeof(*r));
	if (r != NULL)
		r->loop = loop;
	return r;
}

void
resolver_free(struct resolver *r)
{
	int i;

	if (r == NULL)
		return;
	if (r->dns != NULL) {
		for (i = 0; i < DRAIN_TURNS; i++)
			event_base_loop(loop_base(r->loop), EVLOOP_NONBLOCK);
		evdns_base_free(r->dns, 0);
	}
	free(r);
}

/*
 * A DNS client for the look-ups of the moment.  One that has been idle is
 * replaced, so that a changed resolv.conf or hosts file counts.  A missing
 * file is no error: libevent then has defaults.
 */
static int
dns_ready(struct resolver *r)
{
	if (r->dns != NULL) {
		if (r->asking > 0 || loop_turns(r->loop) < r->idle_since + 2)
			return 0;
		evdns_base_free(r->dns, 0);
	}
	r->dns = evdns_base_new(loop_base(r->loop),
	    EVDNS_BASE_DISABLE_WHEN_INACTIVE);
	if (r->dns == NULL) {
		errno = ENOMEM;
		return -1;
	}
	(void)evdns_base_resolv_conf_parse(r->dns, DNS_OPTIONS_ALL,
	    "/etc/resolv.conf");
	return 0;
}

static void
lookup_free(struct lookup *l)
{
	if (l->res != NULL)
		evutil_freeaddrinfo(l->res);
	free(l);
}

static void
deliver(void *arg)
{
	struct lookup *l = arg;

	l->cb(l->arg, l->error, l->res);
	lookup_free(l);
}

static void
answer(struct lookup *l, int error, struct addrinfo *res)
{
	l->answered = true;
	l->error = error;
	l->res = res;
	loop_post(l->resolver->loop, &l->job);
}

/* libevent has the answer; maybe from inside evdns_getaddrinfo(). */
static void
on_answer(int error, struct evutil_addrinfo *res, void *arg)
{
	struct lookup *l = arg;

	if (--l->resolver->asking == 0)
		l->resolver->idle_since = loop_turns(l->resolver->loop);
	if (error == 0 && res == NULL)
		error = EVUTIL_EAI_NONAME;
	if (l->cb != NULL) {
		answer(l, error, res);
		return;
	}
	l->res = res;
	lookup_free(l);
}

static int
ask(struct lookup *l, const char *host, uint16_t port)
{
	struct addrinfo hints = {
		.ai_family = AF_UNSPEC,
		.ai_socktype = SOCK_STREAM,
		.ai_protocol = IPPROTO_TCP,
		.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV
	};
	struct addrinfo *res = NULL;
	char service[8];

	snprintf(service, sizeof(service), "%u", (unsigned)port);
	if (evutil_getaddrinfo(host, service, &hints, &res) == 0) {
		answer(l, 0, res);
		return 0;
	}
	if (dns_ready(l->resolver) == -1)
		return -1;
	hints.ai_flags = AI_NUMERICSERV;
	l->resolver->asking++;
	l->req = evdns_getaddrinfo(l->resolver->dns, host, service, &hints,
	    on_answer, l);
	return 0;
}

struct lookup *
resolver_lookup(struct resolver *r, const char *host, uint16_t port,
    resolver_cb *cb, void *arg)
{
	struct lookup *l;

	if (host[0] == '\0') {
		errno = EINVAL;
		return NULL;
	}
	l = calloc(1, sizeof(*l));
	if (l == NULL)
		return NULL;
	l->resolver = r;
	l->cb = cb;
	l->arg = arg;
	loop_job_init(&l->job, deliver, l);
	if (ask(l, host, port) == -1) {
		free(l);
		return NULL;
	}
	return l;
}

void
resolver_cancel(struct lookup *l)
{
	if (l == NULL)
		return;
	l->cb = NULL;
	if (!l->answered) {
		/* on_answer() still comes, and frees it. */
		evdns_getaddrinfo_cancel(l->req);
		return;
	}
	loop_unpost(l->resolver->loop, &l->job);
	lookup_free(l);
}

const char *
resolve_strerror(int error)
{
	/* libevent uses the C library's numbers where it has them. */
	return gai_strerror(error);
}
