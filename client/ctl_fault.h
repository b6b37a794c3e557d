/* SPDX-License-Identifier: ISC */
/*
 * The words of iscsimuxctl's fault commands as parameters of the control
 * socket.  What a value must be is the daemon's to say.
 */
#ifndef CLIENT_CTL_FAULT_H
#define CLIENT_CTL_FAULT_H

#include <jansson.h>

/*
 * Turn the words after a command into the parameters of its method, a new
 * reference; NULL with `*what` and `*arg` saying what is wrong with which.
 * Where both stay as they are, memory is short.
 */
typedef json_t *ctl_words(int argc, char **argv, const char **what,
    const char **arg);

/* CONNECTION read|write KIND [after=BYTES] [from-now] [repeat] [id=NAME] */
ctl_words ctl_fault_set;

/* [CONNECTION [ID]] */
ctl_words ctl_fault_clear;

#endif
