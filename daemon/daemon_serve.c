/* SPDX-License-Identifier: ISC */
/*
 * The running daemon: connections become clients or control connections,
 * and control learns what there is.  It owns the list of clients; sessions
 * are the worker's.
 */
#include "config.h"

#include <sys/socket.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/client.h"
#include "daemon/conf.h"
#include "daemon/control.h"
#include "daemon/daemon_priv.h"
#include "daemon/listener.h"
#include "daemon/log.h"
#include "daemon/loop.h"
#include "daemon/session.h"
#include "daemon/worker.h"
#include "proto/frame.h"
#include "proto/msg.h"

/* How long clients may take to end when the daemon is freed, in ms; they
 * linger for less than that. */
#define LAST_WORDS	5000

static void
on_client_gone(void *arg)
{
	struct daemon_client *dc = arg;
	struct daemon *d = dc->d;

	TAILQ_REMOVE(&d->clients, dc, link);
	d->nclients--;
	d->full = false;
	free(dc);
	if (d->data != NULL)
		listener_resume(d->data);
	if (d->control_listener != NULL)
		listener_resume(d->control_listener);
	daemon_stop_check(d);
}

/* A frame for one who is not let in: before WELCOME GOODBYE is allowed. */
static void
turn_away(int fd, uint16_t reason, const char *text)
{
	uint8_t buf[FRAME_HEADER_LEN + MSG_PAYLOAD_MAX];
	struct msg_goodbye bye = { .reason = reason };
	struct frame_header h = { .type = FRAME_GOODBYE };
	int len;

	strlcpy(bye.text, text, sizeof(bye.text));
	len = msg_goodbye_encode(&bye, buf + FRAME_HEADER_LEN,
	    sizeof(buf) - FRAME_HEADER_LEN);
	if (len >= 0) {
		h.len = (uint32_t)len;
		frame_header_put(buf, &h);
		(void)send(fd, buf, FRAME_HEADER_LEN + (size_t)len,
		    MSG_NOSIGNAL | MSG_DONTWAIT);
	}
	close(fd);
}

static void
on_data_accept(void *arg, int fd, struct peer *peer)
{
	struct daemon *d = arg;
	struct daemon_client *dc = NULL;

	if (d->draining) {
		turn_away(fd, MSG_R_SHUTDOWN, "the daemon is draining: it "
		    "takes no new clients");
		peer_free(peer);
		return;
	}
	if (d->nclients >= d->config->limits.max_clients) {
		if (!d->full)
			log_warn(d->log, "uid %u, pid %d and who follows are "
			    "turned away: max-clients (%u) are connected",
			    (unsigned)peer->uid, (int)peer->pid,
			    (unsigned)d->config->limits.max_clients);
		d->full = true;
		turn_away(fd, MSG_R_BUSY, "too many clients are connected");
		peer_free(peer);
		return;
	}
	dc = calloc(1, sizeof(*dc));
	if (dc == NULL) {
		log_error(d->log, "out of memory for a client");
		turn_away(fd, MSG_R_INTERNAL, "out of memory");
		peer_free(peer);
		return;
	}
	dc->d = d;
	dc->client = client_new(d->w, fd, peer, ++d->last_client_id,
	    on_client_gone, dc);
	if (dc->client == NULL) {
		log_error(d->log, "cannot serve a client: %s",
		    strerror(errno));
		free(dc);
		return;
	}
	TAILQ_INSERT_TAIL(&d->clients, dc, link);
	d->nclients++;
}

void
daemon_recheck_clients(struct daemon *d)
{
	struct daemon_client *dc;

	TAILQ_FOREACH(dc, &d->clients, link)
		client_recheck(dc->client);
}

static void
on_control_accept(void *arg, int fd, struct peer *peer)
{
	struct daemon *d = arg;

	control_peer_new(d->control, fd, peer);
}

static void
control_info(void *arg, struct control_info *out)
{
	struct daemon *d = arg;

	*out = (struct control_info){
		.uptime_ms = loop_now(d->w->loop) - d->started,
		.config_file = d->config_path,
		.data_socket = d->config->data_socket,
		.control_socket = d->config->control_socket,
		.draining = d->draining,
		.stopping = d->stopping,
	};
}

static void
control_each_session(void *arg, void (*fn)(struct session *, void *),
    void *ctx)
{
	struct daemon *d = arg;
	struct session *s = NULL;

	while ((s = session_next(d->w, s)) != NULL)
		fn(s, ctx);
}

static void
control_each_client(void *arg, void (*fn)(struct client *, void *), void *ctx)
{
	struct daemon *d = arg;
	struct daemon_client *dc;

	TAILQ_FOREACH(dc, &d->clients, link)
		fn(dc->client, ctx);
}

static void
control_stop(void *arg)
{
	daemon_stop(arg);
}

static void
control_drain(void *arg, int64_t timeout)
{
	struct daemon *d = arg;

	daemon_drain(d, timeout < 0 ? d->config->drain_timeout :
	    (uint32_t)timeout);
}

static struct session *
control_session_add(void *arg, struct config_session *config, bool *created,
    struct rpc_error *err)
{
	return daemon_session_add(arg, config, created, err);
}

static bool
control_session_remove(void *arg, struct session *s, struct rpc_error *err)
{
	return daemon_session_remove(arg, s, err);
}

static bool
control_session_login(void *arg, struct session *s, struct rpc_error *err)
{
	return daemon_session_login(arg, s, err);
}

static bool
control_session_logout(void *arg, struct session *s, struct rpc_error *err)
{
	return daemon_session_logout(arg, s, err);
}

static bool
control_reload(void *arg, control_note *note, void *ctx,
    struct config_errors *errs)
{
	return daemon_reload(arg, note, ctx, errs);
}

static const struct control_ops control_callbacks = {
	.info = control_info,
	.each_session = control_each_session,
	.each_client = control_each_client,
	.stop = control_stop,
	.drain = control_drain,
	.session_add = control_session_add,
	.session_remove = control_session_remove,
	.session_login = control_session_login,
	.session_logout = control_session_logout,
	.reload = control_reload,
};

static bool
make_sessions(struct daemon *d)
{
	const struct config *cfg = d->config;
	struct session *s = NULL;

	for (size_t i = 0; i < cfg->session_count; i++) {
		if (session_new(d->w, cfg->sessions[i]) == NULL)
			return false;
	}
	while ((s = session_next(d->w, s)) != NULL) {
		if (!session_config(s)->manual)
			session_start(s);
	}
	return true;
}

/* A listener owns the socket that it is given, also when it fails. */
static struct listener *
listen_on(struct daemon *d, struct listener_socket **socket,
    void (*on_accept)(void *, int, struct peer *))
{
	struct listener_socket *s = *socket;

	*socket = NULL;
	return listener_new(d->w, s, on_accept, d);
}

bool
daemon_serve_start(struct daemon *d)
{
	if (!make_sessions(d))
		return false;
	d->control = control_new(d->w, &control_callbacks, d);
	if (d->control == NULL)
		return false;
	d->control_listener = listen_on(d, &d->control_socket,
	    on_control_accept);
	d->data = listen_on(d, &d->data_socket, on_data_accept);
	return d->control_listener != NULL && d->data != NULL;
}

static void
close_clients(struct daemon *d)
{
	const uint64_t end = loop_now(d->w->loop) + LAST_WORDS;
	struct daemon_client *dc;

	TAILQ_FOREACH(dc, &d->clients, link)
		client_close(dc->client, MSG_R_SHUTDOWN,
		    "the daemon is stopping");
	while (!TAILQ_EMPTY(&d->clients) && loop_now(d->w->loop) < end)
		(void)loop_turn(d->w->loop, 100);
}

void
daemon_serve_free(struct daemon *d)
{
	struct session *s;

	listener_free(d->data);
	d->data = NULL;
	close_clients(d);
	daemon_manage_free(d);
	while ((s = session_next(d->w, NULL)) != NULL)
		session_free(s, "the daemon is stopping");
	control_free(d->control);
	d->control = NULL;
	listener_free(d->control_listener);
	d->control_listener = NULL;
	(void)loop_turn(d->w->loop, 0);
}
