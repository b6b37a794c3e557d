/* SPDX-License-Identifier: ISC */
/*
 * How iscsimuxctl ends, and what of a call leads to which end.
 */
#ifndef CLIENT_CTL_EXIT_H
#define CLIENT_CTL_EXIT_H

#include "client/rpcclient.h"

enum ctl_exit {
	CTL_EXIT_OK = 0,
	CTL_EXIT_FAILED = 1,
	CTL_EXIT_USAGE = 2,
	CTL_EXIT_UNREACHABLE = 3
};

static inline int
ctl_exit_status(enum rpcclient_end end)
{
	switch (end) {
	case RPCCLIENT_OK:
		return CTL_EXIT_OK;
	case RPCCLIENT_FORBIDDEN:
	case RPCCLIENT_UNREACHABLE:
		return CTL_EXIT_UNREACHABLE;
	default:
		return CTL_EXIT_FAILED;
	}
}

#endif
