/* SPDX-License-Identifier: ISC */
/*
 * The peer: the same requests in process, by libiscsi's asynchronous calls
 * with iovecs.
 */
#include "config.h"

#include <err.h>
#include <poll.h>
#include <stdlib.h>

#include <iscsi/iscsi.h>
#include <iscsi/scsi-lowlevel.h>

#include "tests/bench/bench.h"

struct peer {
	struct iscsi_context	*iscsi;
	int			 lun;
};

static void *
peer_open(const char *portal, const char *target, int lun)
{
	struct peer *p = calloc(1, sizeof(*p));

	if (p == NULL)
		err(1, "calloc");
	p->lun = lun;
	p->iscsi = iscsi_create_context("iqn.2026-01.org.example:bench");
	if (p->iscsi == NULL)
		errx(1, "iscsi_create_context");
	iscsi_set_targetname(p->iscsi, target);
	iscsi_set_session_type(p->iscsi, ISCSI_SESSION_NORMAL);
	iscsi_set_header_digest(p->iscsi, ISCSI_HEADER_DIGEST_NONE);
	if (iscsi_full_connect_sync(p->iscsi, portal, lun) != 0)
		errx(1, "libiscsi: %s", iscsi_get_error(p->iscsi));
	return p;
}

static void
done(struct iscsi_context *iscsi, int status, void *data, void *private_data)
{
	struct scsi_task *task = data;

	(void)iscsi;
	scsi_free_scsi_task(task);
	bench_done(private_data, status == SCSI_STATUS_GOOD);
}

static int
peer_submit(void *arg, struct bench_op *op)
{
	struct peer *p = arg;
	struct scsi_iovec *iov = op->backend;
	struct scsi_task *task;

	/* libiscsi keeps the pointer and not what it points to. */
	if (iov == NULL)
		iov = op->backend = malloc(sizeof(*iov));
	if (iov == NULL)
		return -1;
	*iov = (struct scsi_iovec){ op->data, op->len };
	if (op->write)
		task = iscsi_write16_iov_task(p->iscsi, p->lun, op->lba, NULL,
		    op->len, BENCH_BLOCK, 0, 0, 0, 0, 0, done, op, iov, 1);
	else
		task = iscsi_read16_iov_task(p->iscsi, p->lun, op->lba,
		    op->len, BENCH_BLOCK, 0, 0, 0, 0, 0, done, op, iov, 1);
	return task == NULL ? -1 : 0;
}

static int
peer_service(void *arg)
{
	struct peer *p = arg;
	struct pollfd pfd = {
		.fd = iscsi_get_fd(p->iscsi),
		.events = (short)iscsi_which_events(p->iscsi),
	};

	if (poll(&pfd, 1, -1) < 0)
		return -1;
	return iscsi_service(p->iscsi, pfd.revents) < 0 ? -1 : 0;
}

static void
peer_close(void *arg)
{
	struct peer *p = arg;

	iscsi_logout_sync(p->iscsi);
	iscsi_destroy_context(p->iscsi);
	free(p);
}

const struct bench_backend bench_libiscsi = {
	.open = peer_open,
	.submit = peer_submit,
	.service = peer_service,
	.close = peer_close,
};
