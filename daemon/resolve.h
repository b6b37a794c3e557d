/* SPDX-License-Identifier: ISC */
/*
 * Look-ups of host names that never block the loop: numeric addresses, the
 * hosts file, DNS.
 */
#ifndef DAEMON_RESOLVE_H
#define DAEMON_RESOLVE_H

#include <netdb.h>
#include <stdint.h>

struct loop;
struct lookup;
struct resolver;

/* Addresses of one name that callers need to try at most. */
#define RESOLVE_MAX_ADDRS	16

/*
 * The answer: `error` 0 and the addresses in the order to try them, valid
 * during the call; or a RESOLVE error for resolve_strerror() and NULL.
 */
typedef void resolver_cb(void *arg, int error, const struct addrinfo *res);

/*
 * Create a resolver; its DNS part comes to life with the first name that is
 * not an address.  NULL with errno set on failure.
 */
struct resolver *resolver_new(struct loop *loop);

/* All look-ups must have ended or been cancelled.  NULL is allowed. */
void resolver_free(struct resolver *r);

/*
 * Look `host` up (an IPv4 or IPv6 address without brackets, or a name) and
 * call `cb` once, in a later turn.  The handle is valid until then.  NULL with
 * errno set if it could not even start.
 */
struct lookup *resolver_lookup(struct resolver *r, const char *host,
    uint16_t port, resolver_cb *cb, void *arg);

/*
 * The callback will not run.  Not from inside that callback.  NULL is
 * allowed.
 */
void resolver_cancel(struct lookup *l);

/* A look-up's error in words; never NULL. */
const char *resolve_strerror(int error);

#endif
