/* SPDX-License-Identifier: ISC */
/*
 * Hash table with linear probing and backward-shift deletion, so that it
 * needs no tombstones and look-ups stay short however long a client lives.
 */
#include "config.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>

#include "daemon/ittmap.h"

#define SIZE_MIN 32

void
ittmap_init(struct ittmap *m)
{
	*m = (struct ittmap){ 0 };
	arc4random_buf(&m->key, sizeof(m->key));
}

void
ittmap_deinit(struct ittmap *m)
{
	free(m->entries);
	m->entries = NULL;
	m->size = m->used = 0;
}

static uint32_t
slot_of(const struct ittmap *m, uint32_t itt)
{
	uint64_t h = (itt ^ m->key) * UINT64_C(0x9e3779b97f4a7c15);

	h ^= h >> 29;
	h *= m->key | 1;
	return (uint32_t)(h >> 32) & (m->size - 1);
}

static struct ittmap_entry *
locate(const struct ittmap *m, uint32_t itt)
{
	uint32_t i = slot_of(m, itt);

	while (m->entries[i].task != NULL && m->entries[i].itt != itt)
		i = (i + 1) & (m->size - 1);
	return &m->entries[i];
}

void *
ittmap_find(const struct ittmap *m, uint32_t itt)
{
	return m->size == 0 ? NULL : locate(m, itt)->task;
}

static int
grow(struct ittmap *m)
{
	struct ittmap old = *m;

	m->size = old.size == 0 ? SIZE_MIN : old.size * 2;
	m->entries = calloc(m->size, sizeof(*m->entries));
	if (m->entries == NULL) {
		*m = old;
		return -ENOMEM;
	}
	for (uint32_t i = 0; i < old.size; i++) {
		if (old.entries[i].task != NULL)
			*locate(m, old.entries[i].itt) = old.entries[i];
	}
	free(old.entries);
	return 0;
}

int
ittmap_add(struct ittmap *m, uint32_t itt, void *task)
{
	int error;

	if (m->used * 2 >= m->size) {
		error = grow(m);
		if (error != 0)
			return error;
	}
	*locate(m, itt) = (struct ittmap_entry){ .task = task, .itt = itt };
	m->used++;
	return 0;
}

void
ittmap_remove(struct ittmap *m, uint32_t itt)
{
	uint32_t mask = m->size - 1, hole, i, home;

	if (m->size == 0)
		return;
	hole = (uint32_t)(locate(m, itt) - m->entries);
	if (m->entries[hole].task == NULL)
		return;
	m->used--;
	for (i = (hole + 1) & mask; m->entries[i].task != NULL;
	    i = (i + 1) & mask) {
		home = slot_of(m, m->entries[i].itt);
		if (((i - home) & mask) < ((i - hole) & mask))
			continue;
		m->entries[hole] = m->entries[i];
		hole = i;
	}
	m->entries[hole].task = NULL;
}
