/* SPDX-License-Identifier: ISC */
/*
 * The memory behind the disks of the RAM target.  Calls the C library only,
 * knows nothing of SCSI.
 */
#include "config.h"

#include <sys/mman.h>

#include <errno.h>
#include <stddef.h>

#include "tests/target/disk.h"

int
disk_init(struct disk *d, uint64_t size, uint32_t block_size)
{
	void *base;

	if (size == 0 || size > SIZE_MAX || size % block_size != 0)
		return -EINVAL;
	base = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (base == MAP_FAILED)
		return -errno;
	d->base = base;
	d->blocks = size / block_size;
	d->block_size = block_size;
	return 0;
}

void
disk_deinit(struct disk *d)
{
	if (d->base != NULL)
		(void)munmap(d->base, (size_t)(d->blocks * d->block_size));
	d->base = NULL;
	d->blocks = 0;
}

bool
disk_has(const struct disk *d, uint64_t lba, uint64_t count)
{
	return lba <= d->blocks && count <= d->blocks - lba;
}

uint8_t *
disk_at(const struct disk *d, uint64_t lba)
{
	return d->base + lba * d->block_size;
}
