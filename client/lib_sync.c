/* SPDX-License-Identifier: ISC */
/*
 * Blocking forms for programs without a loop: poll, service, and look whether
 * it has happened.  Nothing here reaches below the public functions except to
 * see the handle's state.
 */
#include "config.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "client/lib.h"

#define BACKLOG_RETRY_MS 10

static int64_t
now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

int64_t
lib_sync_end(int timeout_ms)
{
	return timeout_ms < 0 ? INT64_MAX : now_ms() + timeout_ms;
}

static int
remaining(int64_t end)
{
	int64_t left;

	if (end == INT64_MAX)
		return -1;
	left = end - now_ms();
	return left > 0 ? (int)left : 0;
}

int
lib_sync_step(struct iscsimux *h, int64_t end)
{
	struct pollfd p;
	int n, r;

	r = iscsimux_flush(h);
	if (r != 0)
		return r;
	p.fd = iscsimux_fd(h);
	p.events = iscsimux_events(h);
	n = poll(&p, 1, remaining(end));
	if (n == -1)
		return -errno;
	return n == 0 ? -ETIMEDOUT : iscsimux_service(h, p.revents);
}

int
iscsimux_wait(struct iscsimux *h, int timeout_ms)
{
	int64_t end = lib_sync_end(timeout_ms);
	int r;

	if (h->depth > 0)
		return -EDEADLK;
	do
		r = lib_sync_step(h, end);
	while (r == 0);
	return r == -ETIMEDOUT ? 0 : r;
}

int
iscsimux_connect_sync(struct iscsimux *h, const char *path, int timeout_ms)
{
	int64_t end = lib_sync_end(timeout_ms);
	int r;

	if (h->depth > 0)
		return -EDEADLK;
	/* A full backlog gives no event to wait for. */
	while ((r = iscsimux_connect(h, path)) == -EAGAIN &&
	    remaining(end) != 0)
		poll(NULL, 0, BACKLOG_RETRY_MS);
	if (r != 0)
		return r == -EAGAIN ? -ETIMEDOUT : r;
	while (h->state == LIB_HELLO) {
		r = lib_sync_step(h, end);
		if (r == -ETIMEDOUT) {
			iscsimux_disconnect(h);
			lib_set_error(h, MSG_R_NONE,
			    "the daemon did not answer in time");
		}
		if (r < 0 && r != -EINTR)
			return r;
	}
	return 0;
}

int
iscsimux_attach_sync(struct iscsimux *h, const struct iscsimux_attach *options,
    int timeout_ms)
{
	int64_t end = lib_sync_end(timeout_ms);
	int r;

	if (h->depth > 0)
		return -EDEADLK;
	r = iscsimux_attach(h, options);
	if (r != 0)
		return r;
	h->attach_error = -EINPROGRESS;
	while (h->attach_error == -EINPROGRESS) {
		r = lib_sync_step(h, end);
		if (r < 0 && r != -EINTR)
			return r;
	}
	return h->attach_error;
}

struct sync {
	struct iscsimux_result	*result;
	bool			 done;
};

static void
sync_done(struct iscsimux *h, void *cookie, const struct iscsimux_result *r)
{
	struct sync *s = cookie;
	struct iscsimux_result *to = s->result;

	s->done = true;
	*to = *r;
	free(h->sync_sense);
	free(h->sync_text);
	h->sync_sense = r->sense_len > 0 ? malloc(r->sense_len) : NULL;
	h->sync_text = strdup(r->text);
	to->sense = h->sync_sense;
	if (to->sense != NULL)
		memcpy(h->sync_sense, r->sense, r->sense_len);
	else
		to->sense_len = 0;
	to->text = h->sync_text != NULL ? h->sync_text : "";
}

int
iscsimux_execute_sync(struct iscsimux *h, const struct iscsimux_scsi *scsi,
    int timeout_ms, struct iscsimux_result *result)
{
	struct sync s = { .result = result };
	int64_t end = lib_sync_end(timeout_ms);
	int r;

	if (h->depth > 0)
		return -EDEADLK;
	r = iscsimux_execute(h, scsi, sync_done, &s, NULL);
	if (r != 0)
		return r;
	while (!s.done) {
		r = lib_sync_step(h, end);
		if (r == -ETIMEDOUT) {
			iscsimux_disconnect(h);
			return r;
		}
		if (r == -ESHUTDOWN)
			return r;
	}
	return 0;
}
