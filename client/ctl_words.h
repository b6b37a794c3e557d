/* SPDX-License-Identifier: ISC */
/*
 * Words of iscsimuxctl's command line as parameters of the control socket.
 */
#ifndef CLIENT_CTL_WORDS_H
#define CLIENT_CTL_WORDS_H

#include <jansson.h>

/*
 * Turn the words after a command into the parameters of its method, a new
 * reference; NULL with `*what` and `*arg` saying what is wrong with which.
 * Where both stay as they are, memory is short.
 */
typedef json_t *ctl_words(int argc, char **argv, const char **what,
    const char **arg);

#endif
