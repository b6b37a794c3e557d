/* SPDX-License-Identifier: ISC */
/*
 * One discovery session (RFC 7143 sections 4.3 and 7.4.3, appendix C): connect,
 * log in, ask SendTargets=All, log out.  Nothing else is ever sent in it, no
 * NOP-Out either.  It has one deadline, bounded memory and no retry; what it
 * found is its owner's business.
 */
#ifndef DAEMON_DISCOVER_H
#define DAEMON_DISCOVER_H

#include <stddef.h>
#include <stdint.h>

#include "proto/sendtargets.h"

#define DISCOVER_HOPS_MAX	8u		/* redirections followed */
/* For the Logout Response, if so much is left. */
#define DISCOVER_LOGOUT_MS	2000u

struct config_chap;
struct config_chap_rules;
struct discover;
struct worker;

/* Strings are copied; credentials must live until the discovery has ended. */
struct discover_wanted {
	const char			*host;	/* without brackets */
	uint16_t			 port;
	uint32_t			 timeout_ms;	/* for all of it */
	const struct config_chap	*chap;	/* NULL: none */
	const struct config_chap_rules	*chap_rules;
};

/* How it ended; valid during the call. */
struct discover_result {
	/* NULL, or why nothing was found out, in printable ASCII. */
	const char			*error;
	/* In the order of the answer; each has a host. */
	const struct sendtargets_record	*records;
	size_t				 count;
	/* HOST:PORT that answered, another one after a redirection. */
	const char			*portal;
	unsigned			 hops;
};

struct discover_ops {
	/* Called once, never from inside discover_start(); then it is gone. */
	void (*on_done)(void *arg, const struct discover_result *result);
};

/*
 * Begin.  The handle is valid until on_done() is called.  NULL with errno set
 * if it could not even start: EDESTADDRREQ if no initiator name is configured.
 */
struct discover *discover_start(struct worker *w,
    const struct discover_wanted *wanted, const struct discover_ops *ops,
    void *arg);

/*
 * Close the connection at once; on_done() will not be called.  NULL is
 * allowed.
 */
void discover_cancel(struct discover *d);

#endif
