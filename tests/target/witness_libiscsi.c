/* SPDX-License-Identifier: ISC */
/*
 * A witness for the RAM target that shares no code with it: libiscsi logs
 * in, writes random blocks, reads them back by READ(16) and compares.  Prints
 * one line a step; exit status 0 if all bytes are the same.
 *
 *   witness_libiscsi PORTAL TARGET LUN MIB [header]
 */
#include "config.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <iscsi/iscsi.h>
#include <iscsi/scsi-lowlevel.h>

#define WITNESS_NAME	"iqn.2026-01.org.example:witness"
#define CHUNK_MAX	(1u << 20)

struct witness {
	struct iscsi_context	*iscsi;
	int			 lun;
	uint32_t		 block;
	uint64_t		 blocks;
	uint8_t			*data;		/* what was written */
	size_t			 len;
	uint64_t		 state;
};

/* xorshift64; any fixed seed will do. */
static uint64_t
witness_random(struct witness *w)
{
	w->state ^= w->state << 13;
	w->state ^= w->state >> 7;
	w->state ^= w->state << 17;
	return w->state;
}

static int
witness_fail(struct witness *w, const char *what)
{
	(void)fprintf(stderr, "%s: %s\n", what, iscsi_get_error(w->iscsi));
	return -1;
}

static int
witness_login(struct witness *w, const char *portal, const char *target,
    bool header)
{
	w->iscsi = iscsi_create_context(WITNESS_NAME);
	if (w->iscsi == NULL)
		return -1;
	(void)iscsi_set_targetname(w->iscsi, target);
	(void)iscsi_set_session_type(w->iscsi, ISCSI_SESSION_NORMAL);
	(void)iscsi_set_header_digest(w->iscsi, header ?
	    ISCSI_HEADER_DIGEST_CRC32C : ISCSI_HEADER_DIGEST_NONE);
	iscsi_set_noautoreconnect(w->iscsi, 1);
	if (iscsi_full_connect_sync(w->iscsi, portal, w->lun) != 0)
		return witness_fail(w, "login");
	(void)printf("logged in to %s\n", portal);
	return 0;
}

static int
witness_capacity(struct witness *w)
{
	struct scsi_readcapacity16 *rc;
	struct scsi_task *task = iscsi_readcapacity16_sync(w->iscsi, w->lun);
	int r = -1;

	if (task != NULL && task->status == SCSI_STATUS_GOOD &&
	    (rc = scsi_datain_unmarshall(task)) != NULL) {
		w->block = rc->block_length;
		w->blocks = rc->returned_lba + 1;
		r = w->block > 0 && w->len / w->block <= w->blocks ? 0 : -1;
	}
	if (task != NULL)
		scsi_free_scsi_task(task);
	return r == 0 ? 0 : witness_fail(w, "READ CAPACITY(16)");
}

/* A length between one block and CHUNK_MAX, at most `left` bytes. */
static uint32_t
witness_chunk(struct witness *w, size_t left)
{
	uint32_t n = (uint32_t)(witness_random(w) % (CHUNK_MAX / w->block));

	n = (n + 1) * w->block;
	return n < left ? n : (uint32_t)left;
}

static int
witness_write(struct witness *w)
{
	struct scsi_task *task;
	size_t at;
	uint32_t n;
	bool good;

	for (at = 0; at < w->len; at += n) {
		n = witness_chunk(w, w->len - at);
		task = iscsi_write16_sync(w->iscsi, w->lun, at / w->block,
		    w->data + at, n, (int)w->block, 0, 0, 0, 0, 0);
		good = task != NULL && task->status == SCSI_STATUS_GOOD;
		if (task != NULL)
			scsi_free_scsi_task(task);
		if (!good)
			return witness_fail(w, "WRITE(16)");
	}
	(void)printf("wrote %zu bytes\n", w->len);
	return 0;
}

static int
witness_verify(struct witness *w)
{
	struct scsi_task *task;
	size_t at;
	uint32_t n;
	bool same;

	for (at = 0; at < w->len; at += n) {
		n = witness_chunk(w, w->len - at);
		task = iscsi_read16_sync(w->iscsi, w->lun, at / w->block, n,
		    (int)w->block, 0, 0, 0, 0, 0);
		if (task == NULL || task->status != SCSI_STATUS_GOOD) {
			if (task != NULL)
				scsi_free_scsi_task(task);
			return witness_fail(w, "READ(16)");
		}
		same = task->datain.size == (int)n &&
		    memcmp(task->datain.data, w->data + at, n) == 0;
		scsi_free_scsi_task(task);
		if (!same) {
			(void)fprintf(stderr, "bytes from %zu on differ\n", at);
			return -1;
		}
	}
	(void)printf("read %zu bytes, all the same\n", w->len);
	return 0;
}

static int
witness_run(struct witness *w)
{
	size_t i;

	if (witness_capacity(w) < 0)
		return -1;
	for (i = 0; i < w->len; i++)
		w->data[i] = (uint8_t)witness_random(w);
	if (witness_write(w) < 0 || witness_verify(w) < 0)
		return -1;
	if (iscsi_logout_sync(w->iscsi) != 0)
		return witness_fail(w, "logout");
	(void)printf("logged out\n");
	return 0;
}

int
main(int argc, char **argv)
{
	struct witness w = { .state = UINT64_C(0x9e3779b97f4a7c15) };
	int r = -1;

	if (argc < 5) {
		(void)fprintf(stderr,
		    "usage: %s PORTAL TARGET LUN MIB [header]\n", argv[0]);
		return 2;
	}
	w.lun = atoi(argv[3]);
	w.len = (size_t)atoi(argv[4]) << 20;
	w.data = malloc(w.len);
	if (w.data != NULL && w.len > 0 &&
	    witness_login(&w, argv[1], argv[2], argc > 5) == 0)
		r = witness_run(&w);
	if (w.iscsi != NULL)
		(void)iscsi_destroy_context(w.iscsi);
	free(w.data);
	return r == 0 ? 0 : 1;
}
