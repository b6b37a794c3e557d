/* SPDX-License-Identifier: ISC */
/*
 * What iscsimuxctl prints for people: a printer for the result of each
 * method.
 */
#ifndef CLIENT_CTL_PRINT_H
#define CLIENT_CTL_PRINT_H

#include <jansson.h>
#include <stdbool.h>

/*
 * Print a result to stdout.  Members that are missing are left out or blank,
 * so that a daemon of another version can be looked at, too.  Returns 0, or
 * -1 with errno set.
 */
typedef int ctl_print(const json_t *result, bool colours);

ctl_print ctl_print_info;
ctl_print ctl_print_stop;
ctl_print ctl_print_drain;
ctl_print ctl_print_reload;
ctl_print ctl_print_managed;
ctl_print ctl_print_sessions;
ctl_print ctl_print_session;
ctl_print ctl_print_headers;
ctl_print ctl_print_targets;
ctl_print ctl_print_clients;
ctl_print ctl_print_stats;
ctl_print ctl_print_traces;
ctl_print ctl_print_log;
ctl_print ctl_print_fault_set;
ctl_print ctl_print_faults;
ctl_print ctl_print_cleared;
ctl_print ctl_print_json;

#endif
