/* SPDX-License-Identifier: ISC */
/*
 * The control socket: one command a line, one line of JSON in answer.
 */
#ifndef TARGET_CTL_H
#define TARGET_CTL_H

#include <stdint.h>

#include <jansson.h>

#include "tests/target/target.h"

struct ctl_client;

/* Listen at `path`; 0 or -errno. */
int ctl_open(struct target *t, const char *path);
void ctl_close(struct target *t);

/* A NOP-Out answered a ping; `bhs` is its header. */
void ctl_ping_answered(struct target *t, const struct conn *c,
    const uint8_t *bhs);

/* A connection is closed: nobody shall wait for it. */
void ctl_conn_gone(struct target *t, const struct conn *c);

/*
 * ctl_cmd.c: do what `line` says (it is cut into words).  Returns the answer,
 * or NULL if it comes later: then `*pings` pings are under way.  What it
 * queues is sent by conn_push_all().
 */
json_t *ctl_command(struct target *t, char *line, unsigned *pings);

/* All counters by name. */
json_t *ctl_counters(const struct target *t);

#endif
