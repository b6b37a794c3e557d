/* SPDX-License-Identifier: ISC */
/*
 * Connections of the control socket: reads lines, has them served, writes the
 * answers, and ends whoever breaks a rule.  It calls the loop, the log and
 * control_rpc.c, and knows no method.
 */
#include "config.h"

#include <sys/socket.h>

#include <ctype.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/conf.h"
#include "daemon/control.h"
#include "daemon/control_fds.h"
#include "daemon/control_priv.h"
#include "daemon/log.h"
#include "daemon/loop.h"
#include "daemon/worker.h"

/* The kernel passes at most this many descriptors in one message. */
#define FDS_MAX		253
/* An output buffer above this size is not kept for the next answer. */
#define OUTPUT_KEEP	65536u
/* ms between looks at a peer that says nothing more and waits for answers. */
#define LOOK_EVERY	500

struct control_peer {
	TAILQ_ENTRY(control_peer) link;
	struct control		*control;
	int			 fd;
	struct loop_io		*io;
	struct loop_timer	*stall;
	struct loop_timer	*look;	/* is it still there? */
	struct loop_job		 again;	/* lines are left to be served */
	struct loop_job		 reap;
	char			 who[64];
	char			*out;	/* answers not yet written */
	size_t			 out_off, out_len, out_size;
	bool			 eof;	/* nothing more will come */
	bool			 ending;	/* close once all is written */
	bool			 closed;
	struct control_fds	 fds;	/* of requests not yet served */
	struct control_laters	 laters;	/* answers that are due */
	uint64_t		 in_at;	/* bytes of the stream before `in` */
	size_t			 in_len;
	char			 in[CONTROL_LINE_MAX];
};

static void
peer_reap(void *arg)
{
	struct control_peer *p = arg;

	free(p->out);
	free(p);
}

static void
peer_close(struct control_peer *p)
{
	struct worker *w = p->control->w;

	if (p->closed)
		return;
	p->closed = true;
	loop_io_free(p->io);
	loop_timer_free(p->stall);
	loop_timer_free(p->look);
	loop_unpost(w->loop, &p->again);
	control_fds_clear(&p->fds);
	close(p->fd);
	TAILQ_REMOVE(&p->control->peers, p, link);
	p->control->count--;
	log_debug(w->log, "%s: closed", p->who);
	control_laters_end(&p->laters);
	loop_reap(w->loop, &p->reap);
}

static size_t
peer_pending(const struct control_peer *p)
{
	return p->out_len - p->out_off;
}

/* Write what the socket takes; the peer may be closed after this. */
static void
peer_flush(struct control_peer *p)
{
	struct worker *w = p->control->w;
	ssize_t n;

	while (peer_pending(p) > 0) {
		n = send(p->fd, p->out + p->out_off, peer_pending(p),
		    MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n == -1 && errno == EINTR)
			continue;
		if (n == -1 && errno == EAGAIN)
			return;
		if (n == -1) {
			peer_close(p);
			return;
		}
		p->out_off += (size_t)n;
		loop_timer_set(p->stall,
		    w->config->limits.client_stall_timeout);
	}
	p->out_off = p->out_len = 0;
	if (p->out_size > OUTPUT_KEEP) {
		free(p->out);
		p->out = NULL;
		p->out_size = 0;
	}
	loop_timer_clear(p->stall);
}

/* Append to the output; on lack of memory the connection ends. */
static void
peer_put(struct control_peer *p, const char *text)
{
	size_t len = strlen(text), need = p->out_len + len;
	char *grown;

	if (need > p->out_size) {
		need = need < OUTPUT_KEEP ? OUTPUT_KEEP : need * 2;
		grown = realloc(p->out, need);
		if (grown == NULL) {
			log_error(p->control->w->log, "%s: out of memory for "
			    "an answer", p->who);
			peer_close(p);
			return;
		}
		p->out = grown;
		p->out_size = need;
	}
	memcpy(p->out + p->out_len, text, len);
	p->out_len += len;
	if (!loop_timer_armed(p->stall))
		loop_timer_set(p->stall,
		    p->control->w->config->limits.client_stall_timeout);
}

/* Say what is wrong with the connection itself, then end it. */
static void
peer_fail(struct control_peer *p, int code, const char *message)
{
	char *line = rpc_error_line(code, message);

	log_warn(p->control->w->log, "%s: dropped: %s", p->who, message);
	p->ending = true;
	if (line != NULL)
		peer_put(p, line);
	free(line);
}

static bool
line_is_blank(const char *line, size_t len)
{
	while (len > 0 && isspace((unsigned char)line[len - 1]))
		len--;
	return len == 0;
}

/* Serve the line that ends at byte `end` of the stream. */
static void
peer_serve_line(struct control_peer *p, const char *line, size_t len,
    uint64_t end)
{
	struct control_call call = { .control = p->control, .who = p->who,
	    .peer = p };
	unsigned nfds = control_fds_take(&p->fds, end, &call.fd);
	json_t *id;
	char *answer;
	int error;

	if (line_is_blank(line, len) && nfds == 0)
		return;
	log_debug(p->control->w->log, "%s: %.*s", p->who,
	    (int)(len < 256 ? len : 256), line);
	error = rpc_serve(control_methods, control_method_count, &call, line,
	    len, nfds, &answer, &id);
	if (call.fd != -1)
		close(call.fd);
	if (error == RPC_LATER) {
		call.later->id = id;
		return;
	}
	if (error != 0) {
		log_error(p->control->w->log, "%s: out of memory", p->who);
		peer_close(p);
		return;
	}
	if (answer != NULL)
		peer_put(p, answer);
	free(answer);
}

/*
 * Serve up to a batch of lines.  What follows the last newline is served too
 * once the peer has shut down its side: half a request is no valid JSON.
 */
static void
peer_serve(struct control_peer *p)
{
	size_t used = 0;

	for (int i = 0; i < CONTROL_BATCH && !p->ending && !p->closed &&
	    peer_pending(p) < CONTROL_OUTPUT_MAX; i++) {
		const char *line = p->in + used;
		size_t left = p->in_len - used;
		const char *end = memchr(line, '\n', left);

		if (end == NULL && p->eof && left > 0)
			end = line + left;
		if (end == NULL)
			break;
		used += (size_t)(end - line) + 1;
		if (used > p->in_len)
			used = p->in_len;
		peer_serve_line(p, line, (size_t)(end - line),
		    p->in_at + used);
	}
	if (p->closed)
		return;
	memmove(p->in, p->in + used, p->in_len - used);
	p->in_len -= used;
	p->in_at += used;
	if (p->in_len == sizeof(p->in) && used == 0 &&
	    memchr(p->in, '\n', p->in_len) == NULL)
		peer_fail(p, RPC_E_REQUEST, "a line is longer than 65536 "
		    "bytes");
}

/* True if a line is waiting that peer_serve() can take. */
static bool
peer_has_work(const struct control_peer *p)
{
	if (p->in_len == 0 || peer_pending(p) >= CONTROL_OUTPUT_MAX)
		return false;
	return p->eof || memchr(p->in, '\n', p->in_len) != NULL;
}

/* After anything happened: write, then decide what to wait for. */
static void
peer_settle(struct control_peer *p)
{
	unsigned want = 0;

	if (p->closed)
		return;
	peer_flush(p);
	if (p->closed)
		return;
	if (!p->ending && peer_has_work(p))
		loop_post(p->control->w->loop, &p->again);
	else if (p->eof && p->in_len == 0 && LIST_EMPTY(&p->laters))
		p->ending = true;
	if (p->ending && peer_pending(p) == 0) {
		peer_close(p);
		return;
	}
	if (p->eof && !LIST_EMPTY(&p->laters) && !loop_timer_armed(p->look))
		loop_timer_set(p->look, LOOK_EVERY);
	if (!p->ending && !p->eof && p->in_len < sizeof(p->in) &&
	    peer_pending(p) < CONTROL_OUTPUT_MAX)
		want |= LOOP_READ;
	if (peer_pending(p) > 0)
		want |= LOOP_WRITE;
	loop_io_want(p->io, want);
}

struct control_laters *
control_peer_laters(struct control_peer *p)
{
	return &p->laters;
}

void
control_peer_answer(struct control_peer *p, const char *line)
{
	if (line != NULL)
		peer_put(p, line);
	peer_settle(p);
}

static void
on_again(void *arg)
{
	struct control_peer *p = arg;

	peer_serve(p);
	peer_settle(p);
}

/* Are answers due and both directions closed, so that nobody can read them? */
static bool
waits_for_nothing(const struct control_peer *p)
{
	struct pollfd pfd = { .fd = p->fd };

	return p->eof && !LIST_EMPTY(&p->laters) && poll(&pfd, 1, 0) == 1 &&
	    (pfd.revents & POLLHUP) != 0;
}

/*
 * After the end of its stream a peer is not listened to: that end would be
 * there again in each turn.
 */
static void
on_look(void *arg)
{
	struct control_peer *p = arg;

	if (waits_for_nothing(p))
		peer_close(p);
	else
		peer_settle(p);
}

static void
peer_read(struct control_peer *p)
{
	union {
		struct cmsghdr	align;
		char		room[CMSG_SPACE(FDS_MAX * sizeof(int))];
	} ancillary;
	struct iovec iov = { p->in + p->in_len, sizeof(p->in) - p->in_len };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1,
	    .msg_control = &ancillary, .msg_controllen = sizeof(ancillary) };
	ssize_t n;

	/* No room is no end of stream. */
	if (iov.iov_len == 0)
		return;
	do {
		n = recvmsg(p->fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	} while (n == -1 && errno == EINTR);
	if (n == -1) {
		if (errno != EAGAIN)
			peer_close(p);
		return;
	}
	if (!control_fds_add(&p->fds, &msg, p->in_at + p->in_len +
	    (size_t)n)) {
		peer_fail(p, RPC_E_REQUEST, "too many file descriptors");
		return;
	}
	if (n == 0)
		p->eof = true;
	if (waits_for_nothing(p)) {
		peer_close(p);
		return;
	}
	p->in_len += (size_t)n;
	peer_serve(p);
}

static void
on_io(void *arg, unsigned events)
{
	struct control_peer *p = arg;

	if ((events & LOOP_READ) != 0 && !p->ending && !p->eof)
		peer_read(p);
	peer_settle(p);
}

static void
on_stall(void *arg)
{
	struct control_peer *p = arg;

	log_warn(p->control->w->log, "%s: dropped: it does not read its "
	    "answers", p->who);
	peer_close(p);
}

void
control_peer_start(struct control *c, int fd, const struct peer *cred)
{
	struct control_peer *p = calloc(1, sizeof(*p));

	if (p == NULL)
		goto fail;
	p->control = c;
	p->fd = fd;
	snprintf(p->who, sizeof(p->who), "control %llu (uid %u, pid %d)",
	    (unsigned long long)++c->last_id, (unsigned)cred->uid,
	    (int)cred->pid);
	loop_job_init(&p->again, on_again, p);
	loop_job_init(&p->reap, peer_reap, p);
	LIST_INIT(&p->laters);
	p->io = loop_io_new(c->w->loop, fd, on_io, p);
	p->stall = loop_timer_new(c->w->loop, on_stall, p);
	p->look = loop_timer_new(c->w->loop, on_look, p);
	if (p->io == NULL || p->stall == NULL || p->look == NULL)
		goto fail;
	TAILQ_INSERT_TAIL(&c->peers, p, link);
	c->count++;
	loop_io_want(p->io, LOOP_READ);
	log_debug(c->w->log, "%s: connected", p->who);
	return;
fail:
	log_error(c->w->log, "control: out of memory for a connection");
	if (p != NULL) {
		loop_io_free(p->io);
		loop_timer_free(p->stall);
		loop_timer_free(p->look);
		free(p);
	}
	close(fd);
}

void
control_peer_end(struct control_peer *p)
{
	peer_flush(p);
	peer_close(p);
}
