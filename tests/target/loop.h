/* SPDX-License-Identifier: ISC */
/*
 * The event loop and the listening sockets.
 */
#ifndef TARGET_LOOP_H
#define TARGET_LOOP_H

#include <sys/socket.h>

#include <stddef.h>
#include <stdint.h>

struct target;

/* Something with a file descriptor; `ready` gets EPOLL* bits. */
struct source {
	int		  fd;
	uint32_t	  armed;	/* events asked for; 0: not in epoll */
	void		(*ready)(struct source *, uint32_t events);
};

struct portal {
	struct source		 source;
	struct target		*target;
	struct sockaddr_storage	 addr;
	socklen_t		 addr_len;
	char			 name[64];	/* ADDR:PORT */
};

/* Make the epoll instance; 0 or -errno. */
int loop_init(struct target *t);

/* Run until `stopping`; 0 or -errno. */
int loop_run(struct target *t);

/* Idempotent. */
void loop_deinit(struct target *t);

/* Ask for `events` (EPOLL* bits) of a source; 0 takes it out. */
int loop_arm(struct target *t, struct source *s, uint32_t events);

/* portal.c: listen at `name` (ADDR:PORT, [ADDR]:PORT); 0 or -errno. */
int portal_open(struct target *t, const char *name);

/* Idempotent. */
void portal_close(struct portal *p);

/* Write a socket address as ADDR:PORT. */
void portal_format(const struct sockaddr *sa, socklen_t len, char *buf,
    size_t size);

#endif
