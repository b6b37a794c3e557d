/* SPDX-License-Identifier: ISC */
/*
 * Frames of a client other than SUBMIT, and every reply to one.  A bad frame
 * of legal length is answered with ERROR and skipped; the stream goes on.
 */
#include "config.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/client_internal.h"
#include "daemon/guard.h"
#include "proto/frame.h"
#include "proto/msg.h"

/* --- replies --- */

/* Queue a reply; a negative `len` is a failed encoder and can't happen. */
void
client_reply(struct client *c, uint16_t type, uint16_t flags, uint64_t cookie,
    const uint8_t *payload, int len)
{
	if (c->state == CLIENT_DEAD)
		return;
	if (len < 0 || outq_frame(&c->out, type, flags, cookie, payload,
	    (uint32_t)len, NULL) != 0) {
		client_doom(c, "no memory for a reply");
		return;
	}
	client_kick(c);
}

/* Answer a frame of type `type` with ERROR. */
void
client_error(struct client *c, uint64_t cookie, uint16_t type,
    uint16_t reason, const char *fmt, ...)
{
	struct msg_error m = { .reason = reason, .frame_type = type };
	uint8_t buf[MSG_PAYLOAD_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(m.text, sizeof(m.text), fmt, ap);
	va_end(ap);
	c->errors++;
	log_debug(c->log, "%s: %s: error %s: %s", c->label,
	    frame_type_name(type), msg_reason_name(reason), m.text);
	client_reply(c, FRAME_ERROR, 0, cookie, buf,
	    msg_error_encode(&m, buf, sizeof(buf)));
}

/* Answer the current frame with ERROR and skip what is left of it. */
void
client_refuse(struct client *c, uint16_t reason, const char *text)
{
	client_error(c, c->parser.header.cookie, c->parser.header.type,
	    reason, "%s", text);
	c->skip = true;
}

void
client_bad_payload(struct client *c)
{
	char text[64];

	snprintf(text, sizeof(text), "the payload of %s can not be decoded",
	    frame_type_name(c->parser.header.type));
	client_refuse(c, MSG_R_BAD_PAYLOAD, text);
}

/* --- HELLO --- */

static void
on_hello(struct client *c, const uint8_t *p, uint32_t len)
{
	struct msg_welcome w = {
		.version = MSG_VERSION,
		.payload_max = FRAME_PAYLOAD_MAX,
		.data_max = FRAME_DATA_MAX,
		.tasks_max = (uint32_t)c->quota->max.tasks,
	};
	struct msg_hello h;
	uint8_t buf[MSG_PAYLOAD_MAX];

	if (c->state != CLIENT_HELLO) {
		client_refuse(c, MSG_R_BAD_STATE, "HELLO was said already");
		return;
	}
	if (msg_hello_decode(p, len, &h) != 0) {
		client_fatal(c, MSG_R_NOT_HELLO, "the HELLO can not be "
		    "decoded");
		return;
	}
	if (h.version_min > MSG_VERSION || h.version_max < MSG_VERSION) {
		client_fatal(c, MSG_R_BAD_VERSION, "version %u is spoken "
		    "here, not %u to %u", MSG_VERSION, h.version_min,
		    h.version_max);
		return;
	}
	strlcpy(c->name, h.name, sizeof(c->name));
	c->features = w.features = h.features & MSG_FEATURE_RAW;
	snprintf(c->label, sizeof(c->label), "client %" PRIu64 " (%s, pid "
	    "%ld, uid %ld)", c->id, c->name, (long)c->peer.pid,
	    (long)c->peer.uid);
	snprintf(w.daemon, sizeof(w.daemon), "%s %s", PACKAGE_NAME,
	    PACKAGE_VERSION);
	c->state = CLIENT_READY;
	loop_timer_clear(c->timer);
	frame_parser_set_limit(&c->parser, FRAME_PAYLOAD_MAX);
	log_debug(c->log, "%s: hello", c->label);
	client_reply(c, FRAME_WELCOME, 0, c->parser.header.cookie, buf,
	    msg_welcome_encode(&w, buf, sizeof(buf)));
}

/* --- ATTACH --- */

/*
 * A session that the client may not use answers like one that does not exist,
 * so that names can not be guessed.
 */
struct session *
client_find_session(struct client *c, const char *name, uint32_t *access)
{
	struct session *s = session_find(c->worker, name);

	if (s == NULL)
		return NULL;
	*access = access_granted(session_config(s), &c->peer, geteuid());
	return *access == 0 ? NULL : s;
}

/*
 * The session that a name in an ATTACH means: the one called so, or else the
 * one whose target has that name.  Only of those that the client may use, so
 * that it learns nothing of others; what a client shared counts by its own
 * name alone.  NULL with `why` filled if there is none, or several.
 */
static struct session *
find_named(struct client *c, const char *name, uint32_t *access,
    struct refusal *why)
{
	struct session *s = NULL, *found;

	found = client_find_session(c, name, access);
	if (found != NULL)
		return found;
	guard_no(why, MSG_R_NO_SUCH_SESSION, "there is no such session that "
	    "you may attach to");
	while ((s = session_next(c->worker, s)) != NULL) {
		const struct config_session *conf = session_config(s);
		uint32_t granted = access_granted(conf, &c->peer, geteuid());

		if (granted == 0 || strcasecmp(conf->target, name) != 0 ||
		    (session_flags(s) & MSG_LISTING_SHARED) != 0)
			continue;
		if (found != NULL) {
			guard_no(why, MSG_R_BAD_FIELD, "%.80s is the target of "
			    "the sessions %s and %s: attach to one of these "
			    "names", name, session_config(found)->name,
			    conf->name);
			return NULL;
		}
		found = s;
		*access = granted;
	}
	return found;
}

static bool
attach_allowed(struct client *c, const struct msg_attach *m, uint32_t access)
{
	if ((m->access & ~access) != 0) {
		client_refuse(c, MSG_R_NOT_PERMITTED, "the session's access "
		    "rules do not grant all of the wanted access");
		return false;
	}
	return true;
}

void
client_send_attached(struct client *c, uint64_t cookie)
{
	/* Its own, not the configured ones, which a reload may change. */
	const struct quota_amount *max = &c->quota->max;
	uint8_t buf[MSG_PAYLOAD_MAX];
	struct msg_attached m;

	session_attached_get(c->attachment, &m);
	m.tasks_max = (uint32_t)max->tasks;
	m.inbound_max = max->in;
	m.outbound_max = max->out;
	client_reply(c, FRAME_ATTACHED, 0, cookie, buf,
	    msg_attached_encode(&m, buf, sizeof(buf)));
}

static void
on_attach(struct client *c, const uint8_t *p, uint32_t len)
{
	struct session_attach how = {
		.ops = &client_attachment_ops, .arg = c, .quota = c->quota,
		.name = c->name, .pid = c->peer.pid,
	};
	struct refusal why;
	struct session *s;
	struct msg_attach m;
	uint32_t access = 0;

	if (c->attachment != NULL || c->raw != NULL) {
		client_refuse(c, MSG_R_BAD_STATE, c->raw != NULL ?
		    "this connection has a raw connection" :
		    "this connection is attached already");
		return;
	}
	if (msg_attach_decode(p, len, &m) != 0) {
		client_bad_payload(c);
		return;
	}
	if (c->worker->draining) {
		client_refuse(c, MSG_R_SHUTDOWN, CLIENT_DRAINING);
		return;
	}
	s = find_named(c, m.session, &access, &why);
	if (s == NULL) {
		client_refuse(c, why.reason, why.text);
		return;
	}
	if (!attach_allowed(c, &m, access))
		return;
	how.access = m.access == 0 ? access : m.access;
	how.deadline = m.deadline;
	how.events = m.events;
	how.exclusive = (m.flags & MSG_ATTACH_EXCLUSIVE) != 0;
	how.hold = (m.flags & MSG_ATTACH_HOLD) != 0;
	/* What it holds may be of other limits: it has to know the new ones. */
	if (how.hold)
		how.events |= 1u << MSG_EVENT_SESSION_UP |
		    1u << MSG_EVENT_SESSION_DOWN;
	c->attachment = session_attach(s, &how, &why);
	if (c->attachment == NULL) {
		client_refuse(c, why.reason, why.text);
		return;
	}
	c->session = s;
	c->state = CLIENT_ATTACHED;
	log_info(c->log, "%s: attached to session %s", c->label,
	    session_config(s)->name);
	client_send_attached(c, c->parser.header.cookie);
}

/* --- LIST, CANCEL, PING --- */

static size_t
collect(struct client *c, struct msg_listing_entry *e, size_t max)
{
	struct session *s;
	size_t n = 0;

	for (s = session_next(c->worker, NULL); s != NULL;
	    s = session_next(c->worker, s)) {
		const struct config_session *conf = session_config(s);
		uint32_t access = access_granted(conf, &c->peer, geteuid());

		if (access == 0 || n == max)
			continue;
		e[n] = (struct msg_listing_entry){
			.state = session_state(s), .access = access,
			.flags = session_flags(s),
		};
		strlcpy(e[n].session, conf->name, sizeof(e[n].session));
		strlcpy(e[n].target, session_target(s), sizeof(e[n].target));
		n++;
	}
	return n;
}

static void
send_listing(struct client *c, const struct msg_listing_entry *e, size_t n)
{
	uint8_t buf[MSG_PAYLOAD_MAX];
	size_t taken;
	int len;

	do {
		len = msg_listing_encode(e, n, buf, sizeof(buf), &taken);
		client_reply(c, FRAME_LISTING, taken < n ? FRAME_F_MORE : 0,
		    c->parser.header.cookie, buf, len);
		e += taken;
		n -= taken;
	} while (n > 0 && !client_dead(c));
}

static void
on_list(struct client *c, const uint8_t *p, uint32_t len)
{
	struct msg_listing_entry *e;
	struct session *s = NULL;
	size_t max = 0;

	if (msg_tlv_check(p, len) != 0) {
		client_bad_payload(c);
		return;
	}
	while ((s = session_next(c->worker, s)) != NULL)
		max++;
	e = calloc(max + 1, sizeof(*e));
	if (e == NULL) {
		client_refuse(c, MSG_R_INTERNAL, "out of memory");
		return;
	}
	send_listing(c, e, collect(c, e, max));
	free(e);
}

static void
on_cancel(struct client *c, const uint8_t *p, uint32_t len)
{
	struct msg_cancel m;

	if (msg_cancel_decode(p, len, &m) != 0) {
		client_bad_payload(c);
		return;
	}
	if (c->raw != NULL ? !raw_cancel(c->raw, m.by, m.value) :
	    c->attachment == NULL ||
	    !session_cancel(c->attachment, m.by, m.value)) {
		client_refuse(c, MSG_R_NO_SUCH_TASK,
		    "no open task of yours is meant");
		return;
	}
	client_reply(c, FRAME_OK, 0, c->parser.header.cookie, NULL, 0);
}

static void
on_ping(struct client *c, const uint8_t *p, uint32_t len)
{
	if (len > CLIENT_PING_MAX) {
		client_bad_payload(c);
		return;
	}
	client_reply(c, FRAME_PONG, 0, c->parser.header.cookie, p, (int)len);
}

/* --- the current frame --- */

static const struct client_handler handlers[] = {
	{ FRAME_HELLO, on_hello },
	{ FRAME_ATTACH, on_attach },
	{ FRAME_CANCEL, on_cancel },
	{ FRAME_LIST, on_list },
	{ FRAME_PING, on_ping },
};

static const struct client_handler *
find_in(const struct client_handler *list, size_t n, uint16_t type)
{
	for (size_t i = 0; i < n; i++) {
		if (list[i].type == type)
			return &list[i];
	}
	return NULL;
}

/* Frames of a feature that was not agreed are unknown. */
static const struct client_handler *
find_handler(const struct client *c, uint16_t type)
{
	const struct client_handler *h = find_in(handlers,
	    sizeof(handlers) / sizeof(handlers[0]), type);

	if (h == NULL && (c->features & MSG_FEATURE_RAW) != 0)
		h = find_in(client_raw_handlers, client_raw_handler_count,
		    type);
	return h;
}

/* True for the two types whose payload is no small message. */
static bool
is_stream(const struct client *c, uint16_t type)
{
	return type == FRAME_SUBMIT || (type == FRAME_ADOPT &&
	    (c->features & MSG_FEATURE_RAW) != 0);
}

/* The header of a frame is complete: decide what becomes of it. */
void
client_frame_begin(struct client *c)
{
	const struct frame_header *h = &c->parser.header;

	c->skip = false;
	c->payload_len = 0;
	if (c->state == CLIENT_HELLO && h->type != FRAME_HELLO) {
		client_fatal(c, MSG_R_NOT_HELLO,
		    "the first frame must be HELLO");
		return;
	}
	if ((h->flags & FRAME_F_FD) != 0 &&
	    (h->type != FRAME_ADOPT || !is_stream(c, h->type))) {
		client_fatal(c, MSG_R_BAD_FD,
		    "flag FD on a frame that carries no file descriptor");
		return;
	}
	if (!is_stream(c, h->type) && find_handler(c, h->type) == NULL) {
		if (h->type >= FRAME_IGNORABLE)
			c->skip = true;
		else
			client_refuse(c, MSG_R_BAD_TYPE,
			    "unknown frame type");
		return;
	}
	if (h->type == FRAME_SUBMIT)
		client_submit_begin(c);
	else if (h->type == FRAME_ADOPT)
		client_adopt_begin(c);
	else if ((h->flags & ~frame_flags_allowed(h->type)) != 0)
		client_refuse(c, MSG_R_BAD_FLAGS, "flags that this frame "
		    "type does not have");
	else if (h->len > FRAME_PAYLOAD_SMALL)
		client_refuse(c, MSG_R_TOO_LONG, "the payload is longer than "
		    "any of this frame type");
}

static bool
collect_payload(struct client *c, const uint8_t *data, uint32_t len)
{
	if (c->payload == NULL)
		c->payload = malloc(FRAME_PAYLOAD_SMALL);
	if (c->payload == NULL)
		return false;
	memcpy(c->payload + c->payload_len, data, len);
	c->payload_len += len;
	return true;
}

/* A piece of the payload, which lies in `slab`. */
void
client_frame_payload(struct client *c, struct slab *slab, const uint8_t *data,
    uint32_t len)
{
	if (c->skip)
		return;
	if (c->parser.header.type == FRAME_SUBMIT)
		client_submit_payload(c, slab, data, len);
	else if (c->parser.header.type == FRAME_ADOPT &&
	    (c->parser.header.flags & FRAME_F_FD) == 0)
		client_adopt_payload(c, data, len);
	else if (!collect_payload(c, data, len))
		client_refuse(c, MSG_R_INTERNAL, "out of memory");
}

/* The frame is complete. */
void
client_frame_end(struct client *c)
{
	const struct client_handler *h = find_handler(c,
	    c->parser.header.type);

	if (c->parser.header.type == FRAME_SUBMIT)
		client_submit_end(c);
	else if (c->parser.header.type == FRAME_ADOPT && !c->skip)
		client_adopt_end(c);
	else if (!c->skip && h != NULL)
		h->end(c, c->payload, c->payload_len);
	if (c->payload != NULL && !client_dead(c)) {
		free(c->payload);
		c->payload = NULL;
	}
}
