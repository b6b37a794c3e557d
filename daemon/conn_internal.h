/* SPDX-License-Identifier: ISC */
/*
 * What a connection is made of, for conn.c (its life) and conn_io.c (its
 * bytes) alone.
 */
#ifndef DAEMON_CONN_INTERNAL_H
#define DAEMON_CONN_INTERNAL_H

#include <sys/queue.h>
#include <sys/socket.h>

#include <netdb.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/conn.h"
#include "daemon/fault.h"
#include "daemon/loop.h"
#include "daemon/resolve.h"

/* An address in brackets with its scope, a colon and a port. */
#define CONN_NAME_MAX	(INET6_ADDRSTRLEN + 32)

enum conn_state {
	CONN_ST_LOOKUP,
	CONN_ST_CONNECTING,
	CONN_ST_CONNECTED,
	CONN_ST_FAILED,
	CONN_ST_CLOSED
};

struct conn_addr {
	struct sockaddr_storage	 sa;
	socklen_t		 len;
};

struct conn {
	struct worker		*worker;
	const struct conn_ops	*ops;
	void			*arg;
	enum conn_state		 state;
	int			 fd;
	struct loop_io		*io;
	unsigned		 want;
	unsigned		 held;		/* by a fault, though wanted */
	uint64_t		 bytes_in;
	uint64_t		 bytes_out;
	struct sockaddr_storage	 local_sa;
	struct sockaddr_storage	 peer_sa;
	char			 local[CONN_NAME_MAX];
	char			 peer[CONN_NAME_MAX];
	char			 label[CONN_LABEL_MAX + 1];
	TAILQ_ENTRY(conn)	 link;
	struct fault_port	 faults;
	struct loop_job		 wake;
	struct loop_job		 adopted;
	struct loop_job		 reap;

	/* Only until it is connected. */
	char			 host[NI_MAXHOST];
	struct lookup		*lookup;
	struct loop_timer	*timer;
	uint64_t		 deadline;
	uint32_t		 timeout_ms;
	struct conn_addr	 addrs[RESOLVE_MAX_ADDRS];
	size_t			 naddrs;
	size_t			 next;		/* address to try next */
};

/* The part of a new connection that moves bytes. */
void conn_io_init(struct conn *c);

/* Replace the set of events that the owner wants to hear of. */
void conn_set_want(struct conn *c, unsigned want);

/* Whether the owner is to hear of this event. */
bool conn_listens(const struct conn *c, unsigned event);

#endif
