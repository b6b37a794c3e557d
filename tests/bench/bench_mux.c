/* SPDX-License-Identifier: ISC */
/*
 * The requests through the daemon, by libiscsimux.
 */
#include "config.h"

#include <err.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "client/iscsimux.h"
#include "tests/bench/bench.h"

#define TIMEOUT_MS 10000

struct mux {
	struct iscsimux	*h;
	uint8_t		 lun[8];
};

static void *
mux_open(const char *path, const char *session, int lun)
{
	struct iscsimux_attach how = { .session = session };
	struct mux *m = calloc(1, sizeof(*m));

	if (m == NULL)
		err(1, "calloc");
	m->lun[1] = (uint8_t)lun;
	m->h = iscsimux_new(NULL, NULL);
	if (m->h == NULL)
		err(1, "iscsimux_new");
	if (iscsimux_connect_sync(m->h, path, TIMEOUT_MS) != 0 ||
	    iscsimux_attach_sync(m->h, &how, TIMEOUT_MS) != 0)
		errx(1, "%s", iscsimux_error_text(m->h));
	return m;
}

static void
done(struct iscsimux *h, void *cookie, const struct iscsimux_result *r)
{
	struct bench_op *op = cookie;

	(void)h;
	if (!iscsimux_result_good(r))
		warnx("%s", r->text);
	bench_done(op, iscsimux_result_good(r) &&
	    (op->write || r->transferred == op->len));
}

static void
put_be(uint8_t *p, uint64_t v, int bytes)
{
	while (bytes-- > 0) {
		p[bytes] = (uint8_t)v;
		v >>= 8;
	}
}

static int
mux_submit(void *arg, struct bench_op *op)
{
	struct mux *m = arg;
	uint8_t cdb[16] = { op->write ? 0x8a : 0x88 };
	struct iscsimux_scsi scsi = {
		.cdb = cdb, .cdb_len = sizeof(cdb),
		.direction = op->write ? ISCSIMUX_DATA_OUT : ISCSIMUX_DATA_IN,
		.data = op->data, .data_len = op->len,
	};

	put_be(cdb + 2, op->lba, 8);
	put_be(cdb + 10, op->len / BENCH_BLOCK, 4);
	memcpy(scsi.lun, m->lun, sizeof(scsi.lun));
	return iscsimux_execute(m->h, &scsi, done, op, NULL);
}

static int
mux_service(void *arg)
{
	struct mux *m = arg;
	struct pollfd pfd = {
		.fd = iscsimux_fd(m->h), .events = iscsimux_events(m->h),
	};

	if (poll(&pfd, 1, -1) < 0)
		return -1;
	return iscsimux_service(m->h, pfd.revents) < 0 ? -1 : 0;
}

static void
mux_close(void *arg)
{
	struct mux *m = arg;

	iscsimux_free(m->h);
	free(m);
}

const struct bench_backend bench_mux = {
	.open = mux_open,
	.submit = mux_submit,
	.service = mux_service,
	.close = mux_close,
};
