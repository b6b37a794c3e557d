/* SPDX-License-Identifier: ISC */
/*
 * iscsimuxctl trace: has the daemon write a pcapng stream into a socket and
 * copies that to a file or to standard output.
 */
#ifndef CLIENT_CTL_TRACE_H
#define CLIENT_CTL_TRACE_H

#include <stdbool.h>
#include <stdint.h>

struct ctl_trace {
	const char	*socket;	/* the control socket */
	uint32_t	 timeout;	/* ms, of each call */
	const char	*file;		/* NULL or "-": standard output */
	const char	*session;	/* NULL: all connections */
	bool		 headers;	/* no data segments */
};

/*
 * Runs until SIGINT or SIGTERM, for which it sets handlers, or until an
 * error, which it prints.  Returns an enum ctl_exit.
 */
int ctl_trace(const struct ctl_trace *how);

#endif
