/* SPDX-License-Identifier: ISC */
/*
 * Disks in memory: anonymous mappings, so a page nobody wrote costs nothing
 * and reads as zeroes.
 */
#ifndef TARGET_DISK_H
#define TARGET_DISK_H

#include <stdbool.h>
#include <stdint.h>

struct disk {
	uint8_t		*base;
	uint64_t	 blocks;
	uint32_t	 block_size;	/* bytes */
};

/* Map `size` bytes, a multiple of `block_size`.  Returns 0 or -errno. */
int disk_init(struct disk *d, uint64_t size, uint32_t block_size);

/* Idempotent. */
void disk_deinit(struct disk *d);

/* True if `count` blocks from `lba` on exist. */
bool disk_has(const struct disk *d, uint64_t lba, uint64_t count);

/* Where block `lba` lies; it must exist. */
uint8_t *disk_at(const struct disk *d, uint64_t lba);

#endif
