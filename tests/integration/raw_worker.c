/* SPDX-License-Identifier: ISC */
/*
 * Raw connections through libiscsimux against the real daemon, by the blocking
 * calls: opens a connection, takes its socket out of the daemon, sends a Login
 * Request over it and reads the first bytes of the answer, gives the socket
 * back with them, and wants the daemon to deliver the whole PDU.  Then it
 * logs in, shares the connection, uses it as a session, and takes it back.
 *
 *	raw_worker PORTAL TARGET NAME
 */
#include "config.h"

#include <sys/socket.h>

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/iscsimux_raw.h"

#define TIMEOUT		60000	/* ms */
#define BHS		48u
#define FIRST		20u	/* bytes of the answer that are read here */
#define EVENTS		ISCSIMUX_EVENTS_ALL

struct seen {
	unsigned	pdus, unmatched, closed, finals;
	uint8_t		bhs[BHS];
};

static void
fail(struct iscsimux *h, const char *what, int error)
{
	fprintf(stderr, "%s: %s: %s\n", what, iscsimux_strerror(error),
	    iscsimux_error_text(h));
	exit(1);
}

static void
want(struct iscsimux *h, const char *what, int error)
{
	if (error != 0)
		fail(h, what, error);
	puts(what);
}

static void
on_pdu(struct iscsimux *h, void *arg, const struct iscsimux_pdu *pdu)
{
	struct seen *s = arg;

	(void)h;
	s->pdus++;
	if (pdu->unmatched)
		s->unmatched++;
	memcpy(s->bhs, pdu->bhs, BHS);
}

static void
on_event(struct iscsimux *h, void *arg, const struct iscsimux_event *e)
{
	struct seen *s = arg;

	(void)h;
	if (e->kind == ISCSIMUX_EVENT_CLOSED)
		s->closed++;
}

static void
on_answer(struct iscsimux *h, void *cookie, const struct iscsimux_answer *a)
{
	struct seen *s = cookie;

	if (a->kind == ISCSIMUX_ANSWER_OUTCOME)
		fail(h, a->text, -EIO);
	if (a->kind != ISCSIMUX_ANSWER_FINAL)
		return;
	s->finals++;
	memcpy(s->bhs, a->pdu->bhs, BHS);
}

/* A Login Request from `csg` to `nsg`; returns the length of its data. */
static size_t
login_request(uint8_t *bhs, uint8_t *data, size_t size, unsigned csg,
    unsigned nsg, const char *target)
{
	char names[512];
	size_t len;

	len = (size_t)snprintf(names, sizeof(names),
	    "InitiatorName=iqn.2026-01.org.example:worker%cTargetName=%s%c"
	    "SessionType=Normal%c", 0, target, 0, 0);
	memset(data, 0, size);
	memcpy(data, names, len);
	memset(bhs, 0, BHS);
	bhs[0] = 0x43;
	bhs[1] = (uint8_t)(0x80 | csg << 2 | nsg);
	bhs[6] = (uint8_t)(len >> 8);
	bhs[7] = (uint8_t)len;
	bhs[8] = 0x80;
	bhs[13] = 9;
	bhs[19] = 1;
	return len;
}

/* All of `len` bytes of the socket, whatever its flags. */
static void
read_all(struct iscsimux *h, int fd, uint8_t *buf, size_t len)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	size_t have = 0;
	ssize_t n;

	while (have < len) {
		if (poll(&p, 1, TIMEOUT) != 1)
			fail(h, "poll", -ETIMEDOUT);
		n = recv(fd, buf + have, len - have, MSG_DONTWAIT);
		if (n <= 0)
			fail(h, "recv", n == 0 ? -ECONNRESET : -errno);
		have += (size_t)n;
	}
}

/* Half of an answer is read here, the rest by the daemon. */
static void
out_and_in(struct iscsimux *h, const char *target, struct seen *s)
{
	struct iscsimux_exported e;
	struct iscsimux_raw_state state;
	uint8_t bhs[BHS], data[512], first[FIRST];
	struct iscsimux_adopt a = { .events = EVENTS, .unread = first,
	    .unread_len = FIRST };
	size_t len;

	want(h, "export", iscsimux_export_sync(h, TIMEOUT, &e));
	if (iscsimux_is_raw(h) || e.unread_len != 0)
		fail(h, "something is left", -EIO);
	/* The first stage only: the login is still to be finished. */
	len = login_request(bhs, data, sizeof(data), 0, 1, target);
	if (send(e.fd, bhs, BHS, MSG_NOSIGNAL) != (ssize_t)BHS ||
	    send(e.fd, data, (len + 3) & ~3u, MSG_NOSIGNAL) < 0)
		fail(h, "send", -errno);
	read_all(h, e.fd, first, FIRST);
	a.fd = e.fd;
	want(h, "adopt", iscsimux_adopt_sync(h, &a, TIMEOUT));
	close(e.fd);
	while (s->pdus == 0)
		if (iscsimux_wait(h, TIMEOUT) <= 0)
			fail(h, "wait", -ETIMEDOUT);
	if (s->unmatched != 1 || s->bhs[0] != 0x23 ||
	    memcmp(s->bhs, first, FIRST) != 0)
		fail(h, "another PDU", -EIO);
	want(h, "state", iscsimux_get_state_sync(h, TIMEOUT, &state));
	if ((state.params.flags & ISCSIMUX_RAW_ADOPTED) == 0)
		fail(h, "not adopted", -EIO);
	want(h, "close", iscsimux_close_raw_sync(h, TIMEOUT));
	if (s->closed != 1 || iscsimux_is_raw(h))
		fail(h, "not closed", -EIO);
}

static void
log_in(struct iscsimux *h, const char *target, struct seen *s)
{
	uint8_t bhs[BHS], data[512];
	struct iovec iov = { data, 0 };
	const struct iscsimux_pdu pdu = { .bhs = bhs, .data = &iov,
	    .ndata = 1 };
	int r;

	iov.iov_len = login_request(bhs, data, sizeof(data), 1, 3, target);
	r = iscsimux_submit_raw(h, &pdu, NULL, on_answer, s, NULL);
	if (r != 0)
		fail(h, "submit", r);
	while (s->finals == 0)
		if (iscsimux_wait(h, TIMEOUT) <= 0)
			fail(h, "wait", -ETIMEDOUT);
	if (s->bhs[0] != 0x23 || s->bhs[36] != 0)
		fail(h, "login", -EACCES);
}

static void
share(struct iscsimux *h, const char *name)
{
	uint8_t cdb[6] = { 0 };
	const struct iscsimux_scsi scsi = { .cdb = cdb, .cdb_len = 6 };
	struct iscsimux_raw_state state;
	struct iscsimux_result result;

	want(h, "share", iscsimux_share_sync(h, name, TIMEOUT));
	if (iscsimux_session(h) == NULL)
		fail(h, "no session", -EIO);
	want(h, "execute", iscsimux_execute_sync(h, &scsi, TIMEOUT, &result));
	if (!iscsimux_result_good(&result))
		fail(h, result.text, -EIO);
	want(h, "unshare", iscsimux_unshare_sync(h, TIMEOUT, &state));
	if (!iscsimux_is_raw(h) || state.params.cmdsn == 0)
		fail(h, "not taken back", -EIO);
}

int
main(int argc, char **argv)
{
	const struct iscsimux_callbacks callbacks = { .on_pdu = on_pdu,
	    .on_event = on_event };
	const struct iscsimux_set set = { .mask = ISCSIMUX_SET_RECV_DSL,
	    .recv_dsl = 65536 };
	struct seen seen = { 0 };
	struct iscsimux_open o = { .events = EVENTS };
	struct iscsimux *h = iscsimux_new(&callbacks, &seen);

	if (argc != 4 || h == NULL)
		return 2;
	o.portal = argv[1];
	want(h, "connect", iscsimux_connect_sync(h, NULL, TIMEOUT));
	want(h, "open", iscsimux_open_sync(h, &o, TIMEOUT));
	out_and_in(h, argv[2], &seen);
	want(h, "open", iscsimux_open_sync(h, &o, TIMEOUT));
	log_in(h, argv[2], &seen);
	want(h, "set", iscsimux_set_sync(h, &set, TIMEOUT));
	share(h, argv[3]);
	want(h, "close", iscsimux_close_raw_sync(h, TIMEOUT));
	iscsimux_free(h);
	return 0;
}
