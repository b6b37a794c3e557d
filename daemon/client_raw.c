/* SPDX-License-Identifier: ISC */
/*
 * Frames of raw connections (PROTOCOL.md section 17): OPEN and ADOPT to SHARE
 * and CLOSE, who may send them, and their answers.  What a raw connection is,
 * raw.h knows.
 */
#include "config.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/client_internal.h"
#include "daemon/conn.h"
#include "proto/msg_raw.h"

/* --- answers --- */

static void
send_ok(struct client *c, uint64_t cookie)
{
	client_reply(c, FRAME_OK, 0, cookie, NULL, 0);
}

static void
send_state(struct client *c, uint64_t cookie)
{
	uint8_t buf[MSG_PAYLOAD_MAX];
	struct msg_state m;

	raw_state_get(c->raw, &m);
	client_reply(c, FRAME_STATE, 0, cookie, buf,
	    msg_state_encode(&m, buf, sizeof(buf)));
}

/* --- news of the raw connection --- */

static bool
permits(void *arg, const struct sockaddr *sa, socklen_t len, bool *unchecked)
{
	struct client *c = arg;

	return access_raw(c->worker->config, &c->peer, geteuid(), sa, len,
	    unchecked);
}

/* The connection is no more; the client may have another. */
static void
forget(struct client *c)
{
	c->raw = NULL;
	c->raw_request = 0;
	c->out.left = NULL;
	if (!client_dead(c))
		c->state = CLIENT_READY;
	if (c->paused)
		loop_post(c->worker->loop, &c->resume_job);
}

static void
on_open(void *arg, uint16_t reason, const char *text)
{
	struct client *c = arg;

	c->raw_request = 0;
	if (reason == MSG_R_NONE) {
		send_ok(c, c->raw_cookie);
		return;
	}
	forget(c);
	client_error(c, c->raw_cookie, FRAME_OPEN, reason, "%s", text);
}

static void
on_closed(void *arg, const struct msg_event *closed)
{
	struct client *c = arg;
	uint8_t buf[MSG_PAYLOAD_MAX];

	forget(c);
	if (!client_dead(c))
		client_reply(c, FRAME_EVENT, 0, 0, buf,
		    msg_event_encode(closed, buf, sizeof(buf)));
}

static void
on_shared(void *arg, struct attachment *a, const struct refusal *why)
{
	struct client *c = arg;

	c->raw_request = 0;
	if (a == NULL) {
		client_error(c, c->raw_cookie, FRAME_SHARE, why->reason, "%s",
		    why->text);
		return;
	}
	forget(c);
	c->attachment = a;
	c->session = session_of(a);
	/* One that was told to go meanwhile still goes. */
	if (client_dead(c))
		return;
	c->state = CLIENT_ATTACHED;
	log_info(c->log, "%s: shares session %s", c->label,
	    session_config(c->session)->name);
	client_send_attached(c, c->raw_cookie);
}

static uint32_t
access_to(void *arg, const char *name)
{
	struct client *c = arg;
	uint32_t access = 0;

	if (session_find(c->worker, name) == NULL)
		return MSG_ACCESS_ALL;
	(void)client_find_session(c, name, &access);
	return access;
}

static const struct raw_ops raw_ops = {
	.permits = permits,
	.access = access_to,
	.on_open = on_open,
	.on_closed = on_closed,
	.on_shared = on_shared,
};

static void
delivered(void *arg, const struct session_ticket *ticket)
{
	struct client *c = arg;

	if (c->raw != NULL)
		raw_delivered(c->raw, ticket);
}

static struct raw_owner
owner(struct client *c, uint32_t deadline, uint32_t events)
{
	return (struct raw_owner){
		.ops = &raw_ops, .news = &client_attachment_ops, .arg = c,
		.quota = c->quota, .name = c->name, .id = c->id,
		.pid = c->peer.pid, .uid = c->peer.uid,
		.deadline = deadline, .events = events,
	};
}

static void
begin(struct client *c, struct raw *raw)
{
	c->raw = raw;
	c->out.left = delivered;
	c->out.left_arg = c;
	c->state = CLIENT_ATTACHED;
}

/* The client ends, or is told to go. */
void
client_raw_clear(struct client *c)
{
	raw_free(c->raw);
	c->raw = NULL;
	c->out.left = NULL;
	if (c->adopting == NULL)
		return;
	if (c->adopting->fd != -1)
		conn_drop_fd(c->adopting->fd);
	slices_clear(c->worker->pool, &c->adopting->unread);
	quota_give(c->quota,
	    &(struct quota_amount){ .in = c->adopting->charged });
	free(c->adopting);
	c->adopting = NULL;
}

/* --- OPEN, ADOPT --- */

/* May a connection begin now?  If not, the frame is answered. */
static bool
may_begin(struct client *c)
{
	if (c->attachment != NULL || c->raw != NULL) {
		client_refuse(c, MSG_R_BAD_STATE, "this connection has a "
		    "session or a raw connection already");
		return false;
	}
	if (c->worker->draining) {
		client_refuse(c, MSG_R_SHUTDOWN, CLIENT_DRAINING);
		return false;
	}
	if (!access_raw_any(c->worker->config, &c->peer, geteuid())) {
		client_refuse(c, MSG_R_NOT_PERMITTED, "no raw rule of the "
		    "configuration is for you");
		return false;
	}
	return true;
}

static void
on_open_frame(struct client *c, const uint8_t *p, uint32_t len)
{
	char host[MSG_PORTAL_MAX + 1];
	struct raw_owner who;
	const char *wrong;
	struct msg_open m;
	struct raw *raw;
	uint16_t port;

	if (msg_open_decode(p, len, &m) != 0) {
		client_bad_payload(c);
		return;
	}
	if (!may_begin(c))
		return;
	wrong = config_portal_parse(m.portal, host, &port);
	if (wrong != NULL) {
		client_error(c, c->parser.header.cookie, FRAME_OPEN,
		    MSG_R_BAD_FIELD, "the portal is no HOST:PORT: %s", wrong);
		return;
	}
	who = owner(c, m.deadline, m.events);
	raw = raw_open(c->worker, &who, host, port, m.timeout == 0 ?
	    CLIENT_OPEN_TIMEOUT : m.timeout);
	if (raw == NULL) {
		client_refuse(c, MSG_R_CONNECT, strerror(errno));
		return;
	}
	begin(c, raw);
	c->raw_cookie = c->parser.header.cookie;
	c->raw_request = FRAME_OPEN;
}

/* Refuse the ADOPT, and swallow the frames of it that follow. */
static void
refuse_adopt(struct client *c, uint16_t reason, const char *text)
{
	struct adopting *a = c->adopting;

	if (!a->discard)
		client_error(c, a->cookie, FRAME_ADOPT, reason, "%s", text);
	a->discard = true;
	slices_clear(c->worker->pool, &a->unread);
	if (a->fd != -1)
		conn_drop_fd(a->fd);
	a->fd = -1;
}

/* The header of an ADOPT frame, first or not, is complete. */
void
client_adopt_begin(struct client *c)
{
	const struct frame_header *h = &c->parser.header;
	bool first = (h->flags & FRAME_F_FD) != 0;

	if ((h->flags & ~frame_flags_allowed(FRAME_ADOPT)) != 0 ||
	    first != (c->adopting == NULL) ||
	    (!first && c->adopting->cookie != h->cookie)) {
		client_fatal(c, MSG_R_BAD_FD, "an ADOPT begins with a frame "
		    "with flag FD, and only with that");
		return;
	}
	if (!first)
		return;
	if (h->len > FRAME_PAYLOAD_SMALL) {
		client_fatal(c, MSG_R_TOO_LONG, "a frame with a descriptor "
		    "has at most %u bytes", FRAME_PAYLOAD_SMALL);
		return;
	}
	c->adopting = calloc(1, sizeof(*c->adopting));
	if (c->adopting == NULL) {
		client_close(c, MSG_R_INTERNAL, "out of memory");
		return;
	}
	c->adopting->cookie = h->cookie;
	slices_init(&c->adopting->unread);
	c->adopting->fd = client_fds_take(c);
	if (c->adopting->fd == -1)
		client_fatal(c, MSG_R_BAD_FD,
		    "flag FD on a frame without a file descriptor");
}

/* Bytes of the stream. */
void
client_adopt_payload(struct client *c, const uint8_t *data, uint32_t len)
{
	struct adopting *a = c->adopting;
	struct quota_amount charge = { .in = len };
	char limit[96];

	if (a == NULL || a->discard)
		return;
	if (len > a->adopt.unread - a->unread.len) {
		refuse_adopt(c, MSG_R_BAD_LENGTH, "more bytes of the stream "
		    "follow than were announced");
	} else if (quota_take(c->quota, &charge, limit,
	    sizeof(limit)) != NULL) {
		refuse_adopt(c, MSG_R_QUOTA, "the bytes of the stream exceed "
		    "the inbound quota");
	} else {
		a->charged += len;
		if (slices_add_copy(c->worker->pool, &a->unread, data,
		    len) != 0)
			refuse_adopt(c, MSG_R_INTERNAL, "out of memory");
	}
}

/*
 * May the connection begin?  If not, the ADOPT is refused.  Asked again at its
 * end: other frames may come between those of an ADOPT.
 */
static bool
may_adopt(struct client *c)
{
	if (c->attachment != NULL || c->raw != NULL)
		refuse_adopt(c, MSG_R_BAD_STATE, "this connection has a "
		    "session or a raw connection already");
	else if (c->worker->draining)
		refuse_adopt(c, MSG_R_SHUTDOWN, CLIENT_DRAINING);
	else if (!access_raw_any(c->worker->config, &c->peer, geteuid()))
		refuse_adopt(c, MSG_R_NOT_PERMITTED, "no raw rule of the "
		    "configuration is for you");
	return !c->adopting->discard;
}

/* The first frame: fields, and bytes behind them. */
static void
take_fields(struct client *c, const uint8_t *p, uint32_t len)
{
	struct adopting *a = c->adopting;
	int fields = msg_adopt_decode(p, len, &a->adopt);

	if (fields < 0)
		refuse_adopt(c, MSG_R_BAD_PAYLOAD,
		    "the payload of ADOPT can not be decoded");
	else if (may_adopt(c))
		client_adopt_payload(c, p + fields, len - (uint32_t)fields);
}

static void
adopt(struct client *c)
{
	struct adopting *a = c->adopting;
	struct raw_owner who = owner(c, a->adopt.deadline, a->adopt.events);
	struct refusal why = { .reason = MSG_R_NONE };
	int fd = a->fd;
	struct raw *raw;

	a->fd = -1;
	raw = raw_adopt(c->worker, &who, fd, &a->adopt.params, &a->unread,
	    &why);
	if (raw == NULL) {
		refuse_adopt(c, why.reason, why.text);
		return;
	}
	begin(c, raw);
	send_ok(c, a->cookie);
}

/* A frame of an ADOPT is complete. */
void
client_adopt_end(struct client *c)
{
	uint16_t flags = c->parser.header.flags;
	struct adopting *a = c->adopting;

	if ((flags & FRAME_F_FD) != 0)
		take_fields(c, c->payload, c->payload_len);
	if ((flags & FRAME_F_MORE) != 0)
		return;
	if (!a->discard && a->unread.len < a->adopt.unread)
		refuse_adopt(c, MSG_R_BAD_LENGTH, "fewer bytes of the stream "
		    "follow than were announced");
	if (!a->discard && may_adopt(c))
		adopt(c);
	quota_give(c->quota, &(struct quota_amount){ .in = a->charged });
	slices_clear(c->worker->pool, &a->unread);
	free(a);
	c->adopting = NULL;
}

/* --- SET, GET, EXPORT, CLOSE --- */

/* The frame is for an open raw connection.  If not, it is answered. */
static bool
has_raw(struct client *c)
{
	if (c->raw != NULL && raw_is_open(c->raw))
		return true;
	client_refuse(c, MSG_R_BAD_STATE, "there is no raw connection");
	return false;
}

static bool
no_fields(struct client *c, const uint8_t *p, uint32_t len)
{
	if (msg_tlv_check(p, len) == 0)
		return true;
	client_bad_payload(c);
	return false;
}

static void
on_set(struct client *c, const uint8_t *p, uint32_t len)
{
	struct refusal why;
	struct msg_set m;

	if (msg_set_decode(p, len, &m) != 0)
		client_bad_payload(c);
	else if (!has_raw(c))
		return;
	else if (!raw_set(c->raw, &m, &why))
		client_refuse(c, why.reason, why.text);
	else
		send_ok(c, c->parser.header.cookie);
}

static void
on_get(struct client *c, const uint8_t *p, uint32_t len)
{
	if (no_fields(c, p, len) && has_raw(c))
		send_state(c, c->parser.header.cookie);
}

/* Queue EXPORTED: the first frame with the descriptor, then the rest. */
static int
send_exported(struct client *c, const struct msg_exported *m,
    struct slices *unread, int fd)
{
	uint64_t cookie = c->parser.header.cookie;
	uint8_t buf[FRAME_PAYLOAD_SMALL];
	int len = msg_exported_encode(m, buf, sizeof(buf)), error;
	size_t n = slices_copy(unread, buf + len, sizeof(buf) - (size_t)len);
	uint16_t more = n < unread->len ? FRAME_F_MORE : 0;
	struct slices part;

	error = outq_fd(&c->out, FRAME_EXPORTED, more, cookie, buf,
	    (uint32_t)((size_t)len + n), fd);
	slices_init(&part);
	if (error == 0)
		error = slices_split(c->worker->pool, &part, unread,
		    (uint32_t)n);
	slices_clear(c->worker->pool, &part);
	while (error == 0 && unread->len > 0) {
		more = unread->len > FRAME_DATA_MAX ? FRAME_F_MORE : 0;
		error = slices_split(c->worker->pool, &part, unread,
		    more != 0 ? FRAME_DATA_MAX : unread->len);
		if (error == 0)
			error = outq_bytes(&c->out, FRAME_EXPORTED, more,
			    cookie, &part);
		slices_clear(c->worker->pool, &part);
	}
	return error;
}

static void
on_export(struct client *c, const uint8_t *p, uint32_t len)
{
	struct msg_exported m;
	struct slices unread;
	struct refusal why;
	int fd;

	if (!no_fields(c, p, len) || !has_raw(c))
		return;
	slices_init(&unread);
	fd = raw_export(c->raw, &m, &unread, &why);
	if (fd == -1) {
		client_refuse(c, why.reason, why.text);
	} else {
		forget(c);
		if (send_exported(c, &m, &unread, fd) != 0)
			client_doom(c, "no memory for an EXPORTED");
		client_kick(c);
	}
	slices_clear(c->worker->pool, &unread);
}

static void
on_close(struct client *c, const uint8_t *p, uint32_t len)
{
	if (!no_fields(c, p, len))
		return;
	if (c->raw == NULL) {
		client_refuse(c, MSG_R_BAD_STATE,
		    "there is no raw connection");
		return;
	}
	if (c->raw_request == FRAME_OPEN)
		client_error(c, c->raw_cookie, FRAME_OPEN, MSG_R_CANCELLED,
		    "closed before it was connected");
	c->raw_request = 0;
	raw_close(c->raw, "by its client");
	send_ok(c, c->parser.header.cookie);
}

/* --- SHARE, UNSHARE --- */

static void
on_share(struct client *c, const uint8_t *p, uint32_t len)
{
	struct refusal why;
	struct msg_share m;

	if (msg_share_decode(p, len, &m) != 0) {
		client_bad_payload(c);
		return;
	}
	if (!has_raw(c))
		return;
	if (access_to(c, m.session) == 0) {
		client_refuse(c, MSG_R_BUSY, "the name is in use");
		return;
	}
	if (!raw_share(c->raw, m.session, &why)) {
		client_refuse(c, why.reason, why.text);
		return;
	}
	c->raw_cookie = c->parser.header.cookie;
	c->raw_request = FRAME_SHARE;
}

static void
on_unshare(struct client *c, const uint8_t *p, uint32_t len)
{
	struct raw_owner who;
	struct refusal why;
	struct raw *raw;

	if (!no_fields(c, p, len))
		return;
	if (c->attachment == NULL) {
		client_refuse(c, MSG_R_BAD_STATE, "there is no session");
		return;
	}
	who = owner(c, session_deadline(c->attachment),
	    session_events(c->attachment));
	raw = raw_unshare(c->worker, c->attachment, &who, &why);
	if (raw == NULL) {
		client_refuse(c, why.reason, why.text);
		return;
	}
	c->attachment = NULL;
	c->session = NULL;
	begin(c, raw);
	send_state(c, c->parser.header.cookie);
}

const struct client_handler client_raw_handlers[] = {
	{ FRAME_OPEN, on_open_frame },
	{ FRAME_SET, on_set },
	{ FRAME_GET, on_get },
	{ FRAME_EXPORT, on_export },
	{ FRAME_CLOSE, on_close },
	{ FRAME_SHARE, on_share },
	{ FRAME_UNSHARE, on_unshare },
};

const size_t client_raw_handler_count =
    sizeof(client_raw_handlers) / sizeof(client_raw_handlers[0]);
