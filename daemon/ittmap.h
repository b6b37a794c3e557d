/* SPDX-License-Identifier: ISC */
/*
 * A client's own Initiator Task Tags: from the tag it chose to its open task,
 * of a session or of a raw connection.
 * Open addressing, hashed with a random key so that no client can choose tags
 * that collide; it grows with the number of open tasks and holds no more than
 * the task quota lets in.
 */
#ifndef DAEMON_ITTMAP_H
#define DAEMON_ITTMAP_H

#include <stdint.h>

struct ittmap_entry {
	void		*task;		/* NULL: free */
	uint32_t	 itt;
};

struct ittmap {
	struct ittmap_entry	*entries;
	uint32_t		 size;		/* a power of two, or 0 */
	uint32_t		 used;
	uint64_t		 key;
};

/* An empty map with a fresh random key. */
void ittmap_init(struct ittmap *m);
void ittmap_deinit(struct ittmap *m);

/* The task with this tag, or NULL. */
void *ittmap_find(const struct ittmap *m, uint32_t itt);

/* Add a tag that is not in the map.  Returns 0 or -ENOMEM. */
int ittmap_add(struct ittmap *m, uint32_t itt, void *task);

/* Remove a tag; harmless if it is not there. */
void ittmap_remove(struct ittmap *m, uint32_t itt);

#endif
