/* SPDX-License-Identifier: ISC */
/*
 * One JSON-RPC 2.0 call over a UNIX socket: connect, ask, wait for the one
 * line of answer, close.  Blocks up to a time-out; for programs, not for
 * libiscsimux.
 */
#ifndef CLIENT_RPCCLIENT_H
#define CLIENT_RPCCLIENT_H

#include <jansson.h>
#include <stdint.h>

/* How a call ended; anything but RPCCLIENT_OK comes with a message. */
enum rpcclient_end {
	RPCCLIENT_OK,
	RPCCLIENT_REFUSED,	/* the daemon answered with an error object */
	RPCCLIENT_FORBIDDEN,	/* no permission, of the socket or the daemon */
	RPCCLIENT_UNREACHABLE,	/* no daemon there, or it does not answer */
	RPCCLIENT_BROKEN	/* what came back is no answer */
};

struct rpcclient_answer {
	json_t	*result;	/* RPCCLIENT_OK: a new reference, else NULL */
	json_t	*error;		/* the error object, if there is one */
	char	 message[512];	/* for people: what is wrong, what to do */
};

/*
 * Call `method` with `params` (an object, or NULL for none; stays the
 * caller's) at the socket `path`, with a copy of the descriptor `fd`, -1 for
 * none.  `timeout_ms` covers all of it.  Release what is in `*answer` with rpcclient_clear(), whatever is returned.
 */
enum rpcclient_end rpcclient_call(const char *path, uint32_t timeout_ms,
    const char *method, json_t *params, int fd,
    struct rpcclient_answer *answer);

void rpcclient_clear(struct rpcclient_answer *answer);

#endif
