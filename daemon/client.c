/* SPDX-License-Identifier: ISC */
/*
 * The life of a client: its socket is read into a slab, parsed frame by
 * frame, and written at the end of each turn that has something for it.  The
 * client is closed in one place and freed in one place; everybody else only
 * says that it has to end.
 */
#include "config.h"

#include <sys/socket.h>

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/client_internal.h"
#include "proto/msg.h"

#define READ_MIN	4096	/* room worth another recv */

bool
client_dead(const struct client *c)
{
	return c->state == CLIENT_CLOSING || c->state == CLIENT_DEAD;
}

/* --- wanted events --- */

static void
update_interest(struct client *c)
{
	unsigned want = 0;

	if (c->state == CLIENT_DEAD)
		return;
	if (!c->paused && !client_dead(c))
		want |= LOOP_READ;
	if (c->blocked)
		want |= LOOP_WRITE;
	loop_io_want(c->io, want);
}

/* Something was queued: write at the end of this turn. */
void
client_kick(struct client *c)
{
	if (c->state != CLIENT_DEAD && !c->blocked)
		loop_post(c->worker->loop, &c->flush_job);
}

/* --- the end --- */

static void
reap(void *arg)
{
	struct client *c = arg;
	void (*on_gone)(void *) = c->on_gone;
	void *on_gone_arg = c->on_gone_arg;

	loop_timer_free(c->timer);
	quota_unref(c->quota);
	peer_free(&c->peer);
	free(c->payload);
	free(c->events);
	free(c);
	on_gone(on_gone_arg);
}

/*
 * End the client at the end of this turn, for callers that can't have it go
 * from under them.
 */
void
client_doom(struct client *c, const char *why)
{
	if (client_dead(c))
		return;
	log_warn(c->log, "%s: closing: %s", c->label, why);
	c->state = CLIENT_CLOSING;
	loop_timer_set(c->timer, CLIENT_LINGER_MS);
	update_interest(c);
	client_kick(c);
}

/*
 * Close now.  The memory goes at the end of the turn, and with it what
 * client_info_get() looks at: until then the client may still be listed.
 */
static void
client_drop(struct client *c, const char *why)
{
	struct worker *w = c->worker;

	if (c->state == CLIENT_DEAD)
		return;
	log_info(c->log, "%s: gone: %s", c->label, why);
	c->state = CLIENT_DEAD;
	if (c->attachment != NULL)
		session_detach(c->attachment);
	c->attachment = NULL;
	client_raw_clear(c);
	client_fds_close(c);
	client_submit_clear(c);
	slab_unref(c->in);
	c->in = NULL;
	slab_unref(c->pack);
	c->pack = NULL;
	outq_deinit(&c->out);
	loop_io_free(c->io);
	close(c->fd);
	loop_timer_clear(c->timer);
	loop_unpost(w->loop, &c->flush_job);
	loop_unpost(w->loop, &c->resume_job);
	TAILQ_REMOVE(&w->clients, c, link);
	w->nclients--;
	loop_reap(w->loop, &c->reap_job);
}

void
client_close(struct client *c, uint16_t reason, const char *text)
{
	struct msg_goodbye m = { .reason = reason };
	uint8_t buf[MSG_PAYLOAD_MAX];
	int len;

	if (client_dead(c))
		return;
	log_info(c->log, "%s: closing: %s", c->label, text);
	if (c->raw != NULL)
		raw_close(c->raw, text);
	strlcpy(m.text, text, sizeof(m.text));
	len = msg_goodbye_encode(&m, buf, sizeof(buf));
	client_reply(c, FRAME_GOODBYE, 0, 0, buf, len);
	c->state = CLIENT_CLOSING;
	if (c->attachment != NULL)
		session_detach(c->attachment);
	c->attachment = NULL;
	client_raw_clear(c);
	loop_timer_set(c->timer, CLIENT_LINGER_MS);
	update_interest(c);
	client_kick(c);
}

/* The client broke a rule that makes its stream useless. */
void
client_fatal(struct client *c, uint16_t reason, const char *fmt, ...)
{
	struct msg_error m = {
		.reason = reason, .frame_type = c->parser.header.type,
	};
	uint8_t buf[MSG_PAYLOAD_MAX];
	va_list ap;
	int len;

	va_start(ap, fmt);
	vsnprintf(m.text, sizeof(m.text), fmt, ap);
	va_end(ap);
	c->errors++;
	len = msg_error_encode(&m, buf, sizeof(buf));
	client_reply(c, FRAME_ERROR, FRAME_F_FATAL, c->parser.header.cookie,
	    buf, len);
	client_close(c, reason, m.text);
}

/* --- writing --- */

static void
watch_stall(struct client *c, uint64_t moved)
{
	if (c->state != CLIENT_READY && c->state != CLIENT_ATTACHED)
		return;
	if (!c->blocked)
		loop_timer_clear(c->timer);
	else if (moved > 0 || !loop_timer_armed(c->timer))
		loop_timer_set(c->timer,
		    c->worker->config->limits.client_stall_timeout);
}

static void
flush(void *arg)
{
	struct client *c = arg;
	enum outq_result r;
	uint64_t moved = 0, n;

	do {
		r = outq_flush(&c->out, c->fd, &n);
		moved += n;
	} while (r == OUTQ_EMPTY && client_news_flush(c));
	if (r == OUTQ_CLOSED) {
		client_drop(c, "its socket was closed");
		return;
	}
	c->blocked = r == OUTQ_BLOCKED;
	if (c->blocked)
		outq_unshare(&c->out);
	else if (c->state == CLIENT_CLOSING) {
		client_drop(c, "told to go");
		return;
	}
	watch_stall(c, moved);
	update_interest(c);
	if (c->paused)
		loop_post(c->worker->loop, &c->resume_job);
}

static void
timer_due(void *arg)
{
	struct client *c = arg;
	char text[128];

	switch (c->state) {
	case CLIENT_HELLO:
		client_close(c, MSG_R_HELLO_TIMEOUT, "no HELLO in time");
		break;
	case CLIENT_CLOSING:
		client_drop(c, "it did not read its GOODBYE");
		break;
	default:
		snprintf(text, sizeof(text), "%" PRIu64 " bytes were not read "
		    "for %" PRIu32 " ms", c->out.bytes,
		    c->worker->config->limits.client_stall_timeout);
		client_close(c, MSG_R_STALLED, text);
		break;
	}
}

/* --- reading --- */

static bool
must_pause(const struct client *c)
{
	/* Descriptors are scarcer than bytes: no second one before the first. */
	return c->out.reply_bytes > CLIENT_REPLY_MAX || c->out.fds > 0 ||
	    (c->attachment != NULL && session_paused(c->attachment)) ||
	    (c->raw != NULL && raw_paused(c->raw));
}

/*
 * Parse what is in the slab, until it is used up, the client must wait, or it
 * had its share of this turn.  Only between frames: the end of one may need
 * no further byte, and would not be seen before the next arrive.
 */
static void
parse(struct client *c)
{
	struct frame_event ev = { .kind = FRAME_EV_END };
	uint32_t frames = 0;

	do {
		if (ev.kind == FRAME_EV_END &&
		    (must_pause(c) || frames == CLIENT_FRAMES_TURN)) {
			c->paused = true;
			loop_post(c->worker->loop, &c->resume_job);
			break;
		}
		c->in_pos += (uint32_t)frame_parser_feed(&c->parser,
		    c->in->data + c->in_pos, c->in->used - c->in_pos, &ev);
		switch (ev.kind) {
		case FRAME_EV_MORE:
			break;
		case FRAME_EV_HEADER:
			frames++;
			c->frames_in++;
			client_frame_begin(c);
			break;
		case FRAME_EV_PAYLOAD:
			client_frame_payload(c, c->in, ev.data,
			    (uint32_t)ev.len);
			break;
		case FRAME_EV_END:
			client_frame_end(c);
			break;
		case FRAME_EV_TOO_LONG:
			client_fatal(c, MSG_R_TOO_LONG, "a frame of %" PRIu32
			    " bytes exceeds the limit of %" PRIu32,
			    c->parser.header.len, c->parser.limit);
			break;
		}
	} while (ev.kind != FRAME_EV_MORE && !client_dead(c));
	if (ev.kind == FRAME_EV_MORE && !client_dead(c))
		client_fds_check(c);
}

/* Make room in the input slab: reuse it when nobody else holds a piece. */
static bool
prepare_slab(struct client *c)
{
	if (c->in != NULL && c->in->refs == 1) {
		c->in->used = c->in_pos = 0;
	} else if (c->in != NULL && c->in->size - c->in->used < READ_MIN) {
		slab_unref(c->in);
		c->in = NULL;
	}
	if (c->in == NULL) {
		c->in = pool_get(c->worker->pool, POOL_MEDIUM);
		if (c->in == NULL)
			return false;
		c->in->used = c->in_pos = 0;
	}
	return true;
}

/* An idle client pins no slab of its own. */
static void
release_slab(struct client *c)
{
	if (c->in != NULL && c->in_pos == c->in->used) {
		slab_unref(c->in);
		c->in = NULL;
		c->in_pos = 0;
	}
	if (c->pack != NULL && c->pack->refs == 1) {
		slab_unref(c->pack);
		c->pack = NULL;
	}
}

static void
readable(struct client *c)
{
	union {
		struct cmsghdr	align;
		uint8_t		buf[CMSG_SPACE(32 * sizeof(int))];
	} control;
	struct iovec iov;
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = control.buf,
		.msg_controllen = sizeof(control.buf),
	};
	ssize_t n;

	if (!prepare_slab(c)) {
		client_close(c, MSG_R_INTERNAL, "out of memory");
		return;
	}
	iov.iov_base = c->in->data + c->in->used;
	iov.iov_len = c->in->size - c->in->used;
	do {
		n = recvmsg(c->fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	} while (n == -1 && errno == EINTR);
	if (n == -1 && errno == EAGAIN) {
		release_slab(c);
		return;
	}
	if (n <= 0) {
		client_drop(c, n == 0 ? "end of stream" : strerror(errno));
		return;
	}
	c->in->used += (uint32_t)n;
	c->bytes_in += (uint64_t)n;
	client_fds_receive(c, &msg);
	if (!client_dead(c))
		parse(c);
	if (c->state != CLIENT_DEAD) {
		release_slab(c);
		update_interest(c);
	}
}

/* Job: go on with what was left unparsed when the client had to wait. */
static void
resume(void *arg)
{
	struct client *c = arg;

	if (client_dead(c) || !c->paused || must_pause(c))
		return;
	c->paused = false;
	if (c->in != NULL)
		parse(c);
	if (c->state == CLIENT_DEAD)
		return;
	if (!c->paused)
		release_slab(c);
	update_interest(c);
}

static void
on_io(void *arg, unsigned events)
{
	struct client *c = arg;

	if ((events & LOOP_WRITE) != 0) {
		c->blocked = false;
		flush(c);
	}
	if ((events & LOOP_READ) != 0 && !c->paused && !client_dead(c))
		readable(c);
}

/* --- creation --- */

static bool
make_parts(struct client *c)
{
	const struct config_limits *l = &c->worker->config->limits;
	struct quota_amount max = {
		.tasks = l->client_tasks, .in = l->client_inbound,
		.out = l->client_outbound,
	};

	c->quota = quota_new(c->worker->quotas, c->peer.uid, &max);
	c->io = loop_io_new(c->worker->loop, c->fd, on_io, c);
	c->timer = loop_timer_new(c->worker->loop, timer_due, c);
	return c->quota != NULL && c->io != NULL && c->timer != NULL;
}

static void
unmake(struct client *c)
{
	if (c->quota != NULL)
		quota_unref(c->quota);
	loop_io_free(c->io);
	loop_timer_free(c->timer);
	peer_free(&c->peer);
	close(c->fd);
	free(c);
	errno = ENOMEM;
}

struct client *
client_new(struct worker *w, int fd, struct peer *peer, uint64_t id,
    void (*on_gone)(void *arg), void *arg)
{
	struct client *c = calloc(1, sizeof(*c));

	if (c == NULL) {
		peer_free(peer);
		close(fd);
		return NULL;
	}
	c->worker = w;
	c->log = w->log;
	c->id = id;
	c->fd = fd;
	c->peer = *peer;
	c->on_gone = on_gone;
	c->on_gone_arg = arg;
	if (!make_parts(c)) {
		unmake(c);
		return NULL;
	}
	snprintf(c->label, sizeof(c->label), "client %" PRIu64
	    " (pid %ld, uid %ld)", id, (long)peer->pid, (long)peer->uid);
	loop_job_init(&c->flush_job, flush, c);
	loop_job_init(&c->resume_job, resume, c);
	loop_job_init(&c->reap_job, reap, c);
	TAILQ_INIT(&c->partial);
	outq_init(&c->out, w);
	c->out.quota = c->quota;
	frame_parser_init(&c->parser, FRAME_PAYLOAD_SMALL);
	TAILQ_INSERT_TAIL(&w->clients, c, link);
	w->nclients++;
	loop_io_want(c->io, LOOP_READ);
	loop_timer_set(c->timer, w->config->limits.hello_timeout);
	return c;
}

void
client_recheck(struct client *c)
{
	uint32_t access;

	if (c->attachment == NULL)
		return;
	access = access_granted(session_config(c->session), &c->peer,
	    geteuid());
	if (access == 0)
		client_close(c, MSG_R_NOT_PERMITTED, "the access rules of the "
		    "session were changed");
	else
		session_narrow(c->attachment, access);
}

void
client_info_get(const struct client *c, struct client_info *out)
{
	*out = (struct client_info){
		.id = c->id,
		.name = c->name,
		.session = c->attachment == NULL ? "" :
		    session_config(c->session)->name,
		.raw = c->raw == NULL ? "" : raw_label(c->raw),
		.raw_peer = c->raw == NULL ? "" : raw_peer(c->raw),
		.unwanted = c->raw == NULL ? 0 : raw_unwanted(c->raw),
		.pid = c->peer.pid,
		.uid = c->peer.uid,
		.tasks = c->attachment != NULL ?
		    session_open_tasks(c->attachment) :
		    c->raw != NULL ? raw_open_tasks(c->raw) : 0,
		.used = c->quota->used,
		.frames_in = c->frames_in,
		.frames_out = c->out.frames_sent,
		.bytes_in = c->bytes_in,
		.bytes_out = c->out.bytes_sent,
		.refused = c->refused,
		.errors = c->errors,
		.paused = c->paused,
	};
}
