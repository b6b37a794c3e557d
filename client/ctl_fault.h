/* SPDX-License-Identifier: ISC */
/*
 * The words of iscsimuxctl's fault commands as parameters of the control
 * socket.  What a value must be is the daemon's to say.
 */
#ifndef CLIENT_CTL_FAULT_H
#define CLIENT_CTL_FAULT_H

#include "client/ctl_words.h"

/* CONNECTION read|write KIND [after=BYTES] [from-now] [repeat] [id=NAME] */
ctl_words ctl_fault_set;

/* [CONNECTION [ID]] */
ctl_words ctl_fault_clear;

#endif
