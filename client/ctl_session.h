/* SPDX-License-Identifier: ISC */
/*
 * iscsimuxctl's commands about one session that are more than one question:
 * a new one out of words, and waiting until one is up.
 */
#ifndef CLIENT_CTL_SESSION_H
#define CLIENT_CTL_SESSION_H

#include <stdint.h>

#include "client/ctl_words.h"

/* NAME KEY=VALUE...; a key that is given again makes a list of its values. */
ctl_words ctl_session_add;

/*
 * Ask the daemon at `socket` for the session until it is up; errors go to
 * stderr.  Returns an exit status: CTL_EXIT_FAILED when the login has failed,
 * or nobody tries, or `timeout` ms are over.
 */
int ctl_session_wait(const char *socket, uint32_t timeout, const char *name);

#endif
