/* SPDX-License-Identifier: ISC */
/*
 * What the table of faults is made of, for fault.c and fault_port.c alone.
 */
#ifndef DAEMON_FAULT_INTERNAL_H
#define DAEMON_FAULT_INTERNAL_H

#include <sys/queue.h>

#include <stdbool.h>
#include <stdint.h>

#include "daemon/fault.h"

struct fault {
	TAILQ_ENTRY(fault)	 link;
	struct fault_spec	 spec;
	uint64_t		 fired;
	bool			 spent;
	/* from_now: on the port of this serial count from here. */
	uint64_t		 serial;
	uint64_t		 base;
};

/* All faults of one label, at least one. */
struct fault_group {
	TAILQ_ENTRY(fault_group) link;
	TAILQ_HEAD(, fault)	 list;
	unsigned		 count;
	unsigned		 armed;		/* not spent */
	char			 label[FAULT_LABEL_MAX + 1];
};

struct faults {
	struct loop		*loop;
	TAILQ_HEAD(, fault_group) groups;
	TAILQ_HEAD(fault_ports, fault_port) ports;
	unsigned		 count;
	uint64_t		 last_serial;
};

/* Where a fault acts on a port: bytes from the port's first one. */
uint64_t fault_position(const struct fault *fault,
    const struct fault_port *p);

/* The faults of a label, or NULL. */
struct fault_group *fault_group_find(const struct faults *f,
    const char *label);

/* It has fired for the last time; the ports are told by themselves. */
void fault_spend(struct faults *f, struct fault_group *group,
    struct fault *fault);

/* Forget the faults of a label that are not lasting. */
void fault_label_gone(struct faults *f, const char *label);

/* What is set for the port's label has changed: look again, wake all. */
void fault_port_changed(struct fault_port *p);

#endif
