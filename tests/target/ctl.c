/* SPDX-License-Identifier: ISC */
/*
 * The control socket's connections: lines in, JSON out.  A client that waits
 * for the answers of pings gets one line when the last of them has come.
 */
#include "config.h"

#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/target/alloc.h"
#include "tests/target/conn.h"
#include "tests/target/ctl.h"

#define CTL_LINE_MAX	512
#define CTL_CLIENTS	16

struct ctl_client {
	struct source	 source;
	struct ctl	*ctl;
	char		 line[CTL_LINE_MAX];
	size_t		 len;
	unsigned	 pings;		/* to be answered */
	json_t		*answers;
};

struct ctl {
	struct source		 source;
	struct target		*target;
	char			*path;
	struct ctl_client	*clients[CTL_CLIENTS];
};

static void
client_close(struct ctl_client *cl)
{
	if (cl->source.fd >= 0)
		(void)close(cl->source.fd);
	cl->source.fd = -1;
	json_decref(cl->answers);
	cl->answers = NULL;
	cl->pings = 0;
}

/* Answers are short, so a client that does not take one at once is gone. */
static void
client_send(struct ctl_client *cl, json_t *answer)
{
	char *text = json_dumps(answer, JSON_COMPACT | JSON_SORT_KEYS);
	struct iovec iov[2];
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = 2 };
	static char newline[] = "\n";

	json_decref(answer);
	if (text == NULL)
		return;
	iov[0].iov_base = text;
	iov[0].iov_len = strlen(text);
	iov[1].iov_base = newline;
	iov[1].iov_len = 1;
	if (sendmsg(cl->source.fd, &msg, MSG_NOSIGNAL) !=
	    (ssize_t)iov[0].iov_len + 1)
		client_close(cl);
	free(text);
}

static void
client_pinged(struct ctl_client *cl, json_t *answer)
{
	(void)json_array_append_new(cl->answers, answer);
	if (--cl->pings > 0)
		return;
	client_send(cl, json_pack("{s:b, s:o}", "ok", 1, "pongs",
	    cl->answers));
	cl->answers = NULL;
}

static void
client_line(struct ctl_client *cl)
{
	json_t *answer;

	answer = ctl_command(cl->ctl->target, cl->line, &cl->pings);
	/* What was ordered is sent first, so that tests need not wait. */
	if (answer == NULL)
		cl->answers = json_array();
	conn_push_all(cl->ctl->target);
	if (answer != NULL)
		client_send(cl, answer);
}

static void
client_ready(struct source *s, uint32_t events)
{
	struct ctl_client *cl = (struct ctl_client *)(void *)s;
	char *end;
	ssize_t n;
	size_t used;

	(void)events;
	n = recv(s->fd, cl->line + cl->len, sizeof(cl->line) - 1 - cl->len,
	    MSG_DONTWAIT);
	if (n <= 0) {
		client_close(cl);
		return;
	}
	cl->len += (size_t)n;
	cl->line[cl->len] = '\0';
	while ((end = strchr(cl->line, '\n')) != NULL && cl->source.fd >= 0) {
		*end = '\0';
		used = (size_t)(end - cl->line) + 1;
		client_line(cl);
		memmove(cl->line, end + 1, cl->len - used + 1);
		cl->len -= used;
	}
	if (cl->len == sizeof(cl->line) - 1)
		client_close(cl);
}

static void
ctl_ready(struct source *s, uint32_t events)
{
	struct ctl *ctl = (struct ctl *)(void *)s;
	struct ctl_client *cl;
	int fd = accept4(s->fd, NULL, NULL, SOCK_CLOEXEC);
	int i;

	(void)events;
	if (fd < 0)
		return;
	for (i = 0; i < CTL_CLIENTS; i++) {
		cl = ctl->clients[i];
		if (cl == NULL)
			cl = ctl->clients[i] = xalloc(sizeof(*cl));
		else if (cl->source.fd >= 0)
			continue;
		memset(cl, 0, sizeof(*cl));
		cl->ctl = ctl;
		cl->source.fd = fd;
		cl->source.ready = client_ready;
		if (loop_arm(ctl->target, &cl->source, EPOLLIN) < 0)
			client_close(cl);
		return;
	}
	(void)close(fd);
}

/* One client of those that wait, if any. */
static struct ctl_client *
ctl_waiting(struct target *t)
{
	int i;

	for (i = 0; t->ctl != NULL && i < CTL_CLIENTS; i++)
		if (t->ctl->clients[i] != NULL &&
		    t->ctl->clients[i]->source.fd >= 0 &&
		    t->ctl->clients[i]->answers != NULL)
			return t->ctl->clients[i];
	return NULL;
}

void
ctl_ping_answered(struct target *t, const struct conn *c, const uint8_t *bhs)
{
	struct ctl_client *cl = ctl_waiting(t);
	char lun[17];

	t->counters.pings++;
	(void)snprintf(lun, sizeof(lun), "%016llx",
	    (unsigned long long)iscsi_lun(bhs));
	if (cl != NULL)
		client_pinged(cl, json_pack("{s:I, s:I, s:I, s:s}", "session",
		    (json_int_t)c->id, "itt", (json_int_t)iscsi_itt(bhs),
		    "ttt", (json_int_t)iscsi_ttt(bhs), "lun", lun));
}

void
ctl_conn_gone(struct target *t, const struct conn *c)
{
	struct ctl_client *cl = ctl_waiting(t);

	if (cl != NULL && c->ping.outstanding)
		client_pinged(cl, json_pack("{s:I, s:b}", "session",
		    (json_int_t)c->id, "gone", 1));
}

int
ctl_open(struct target *t, const char *path)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	struct ctl *ctl;
	int fd;

	if (strlcpy(sun.sun_path, path, sizeof(sun.sun_path)) >=
	    sizeof(sun.sun_path))
		return -ENAMETOOLONG;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	(void)unlink(path);
	if (bind(fd, (struct sockaddr *)&sun, sizeof(sun)) < 0 ||
	    listen(fd, CTL_CLIENTS) < 0) {
		int r = -errno;

		(void)close(fd);
		return r;
	}
	ctl = xalloc(sizeof(*ctl));
	ctl->target = t;
	ctl->path = strdup(path);
	ctl->source.fd = fd;
	ctl->source.ready = ctl_ready;
	t->ctl = ctl;
	return loop_arm(t, &ctl->source, EPOLLIN);
}

void
ctl_close(struct target *t)
{
	struct ctl *ctl = t->ctl;
	int i;

	if (ctl == NULL)
		return;
	t->ctl = NULL;
	for (i = 0; i < CTL_CLIENTS; i++) {
		if (ctl->clients[i] != NULL)
			client_close(ctl->clients[i]);
		free(ctl->clients[i]);
	}
	(void)close(ctl->source.fd);
	if (ctl->path != NULL)
		(void)unlink(ctl->path);
	free(ctl->path);
	free(ctl);
}
