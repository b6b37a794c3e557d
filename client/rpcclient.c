/* SPDX-License-Identifier: ISC */
/*
 * The client's side of the control socket.  It calls jansson and the C
 * library and knows no method.
 */
#include "config.h"

#include <sys/socket.h>
#include <sys/un.h>

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "client/rpcclient.h"

#define ANSWER_MAX	(64u * 1024 * 1024)	/* bytes of one answer */
#define ANSWER_FIRST	16384u
#define CODE_NOT_PERMITTED	(-32000)
#define REQUEST_ID	1

struct call {
	int			 fd;
	const char		*path;
	uint64_t		 deadline;	/* ms, monotonic */
	uint32_t		 timeout;	/* ms */
	struct rpcclient_answer	*answer;
};

static enum rpcclient_end
fail(struct call *c, enum rpcclient_end end, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

static enum rpcclient_end
fail(struct call *c, enum rpcclient_end end, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(c->answer->message, sizeof(c->answer->message), fmt, ap);
	va_end(ap);
	return end;
}

static uint64_t
now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static enum rpcclient_end
fail_timeout(struct call *c)
{
	return fail(c, RPCCLIENT_UNREACHABLE, "iscsimuxd at %s did not answer "
	    "within %g s", c->path, (double)c->timeout / 1000);
}

static enum rpcclient_end
fail_connect(struct call *c, int error)
{
	switch (error) {
	case ENOENT:
	case ECONNREFUSED:
		return fail(c, RPCCLIENT_UNREACHABLE, "iscsimuxd is not "
		    "running: %s at %s. Start it, or name its control socket "
		    "with -s or ISCSIMUX_CONTROL.", error == ENOENT ?
		    "there is no socket" : "nobody listens", c->path);
	case EACCES:
	case EPERM:
		return fail(c, RPCCLIENT_FORBIDDEN, "no permission to use %s: "
		    "only root and the daemon's own user may. Try sudo.",
		    c->path);
	case EAGAIN:
	case EINTR:
		return fail_timeout(c);
	default:
		return fail(c, RPCCLIENT_UNREACHABLE, "cannot connect to %s: "
		    "%s", c->path, strerror(error));
	}
}

static enum rpcclient_end
call_connect(struct call *c)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	const struct timeval tv = { .tv_sec = c->timeout / 1000,
	    .tv_usec = (suseconds_t)(c->timeout % 1000) * 1000 };

	if (strlcpy(sun.sun_path, c->path, sizeof(sun.sun_path)) >=
	    sizeof(sun.sun_path))
		return fail(c, RPCCLIENT_UNREACHABLE, "the socket path %s is "
		    "longer than %zu bytes", c->path,
		    sizeof(sun.sun_path) - 1);
	c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (c->fd == -1)
		return fail_connect(c, errno);
	/* Bounds connect(2), which waits while the backlog is full. */
	(void)setsockopt(c->fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv));
	if (connect(c->fd, (const struct sockaddr *)&sun, sizeof(sun)) == -1)
		return fail_connect(c, errno);
	return RPCCLIENT_OK;
}

/* Wait for the socket; false once the time is up. */
static bool
call_wait(struct call *c, short events)
{
	for (;;) {
		struct pollfd pfd = { .fd = c->fd, .events = events };
		uint64_t now = now_ms();
		int n;

		if (now >= c->deadline)
			return false;
		n = poll(&pfd, 1, (int)(c->deadline - now));
		if (n > 0)
			return true;
		if (n == -1 && errno != EINTR)
			return false;
	}
}

/* Send what the socket takes, with the descriptor on the first byte. */
static ssize_t
send_some(const struct call *c, const char *text, size_t len, int fd)
{
	union {
		struct cmsghdr	align;
		char		room[CMSG_SPACE(sizeof(int))];
	} ancillary = { .room = { 0 } };
	struct iovec iov = { (void *)(uintptr_t)text, len };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct cmsghdr *cmsg;

	if (fd != -1) {
		msg.msg_control = &ancillary;
		msg.msg_controllen = sizeof(ancillary);
		cmsg = CMSG_FIRSTHDR(&msg);
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(cmsg), &fd, sizeof(fd));
	}
	return sendmsg(c->fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
}

/*
 * A failing send is not the end: a daemon that turns us away has sent its
 * reason before it closed.
 */
static enum rpcclient_end
call_send(struct call *c, const char *text, int fd)
{
	size_t left = strlen(text);

	while (left > 0) {
		ssize_t n = send_some(c, text, left, fd);

		if (n >= 0) {
			fd = -1;
			text += n;
			left -= (size_t)n;
		} else if (errno == EAGAIN) {
			if (!call_wait(c, POLLOUT))
				return fail_timeout(c);
		} else if (errno != EINTR) {
			break;
		}
	}
	return RPCCLIENT_OK;
}

/* Read up to and without the first newline into a new string. */
static enum rpcclient_end
call_receive(struct call *c, char **line)
{
	size_t have = 0, size = 0;
	char *buf = NULL, *grown, *end;
	ssize_t n;

	*line = NULL;
	for (;;) {
		if (have + 1 >= size) {
			size = size == 0 ? ANSWER_FIRST : size * 2;
			grown = size <= ANSWER_MAX ? realloc(buf, size) : NULL;
			if (grown == NULL) {
				free(buf);
				return fail(c, RPCCLIENT_BROKEN,
				    "the answer is too long");
			}
			buf = grown;
		}
		if (!call_wait(c, POLLIN)) {
			free(buf);
			return fail_timeout(c);
		}
		n = recv(c->fd, buf + have, size - have - 1, MSG_DONTWAIT);
		if (n == -1 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (n <= 0) {
			free(buf);
			return fail(c, RPCCLIENT_UNREACHABLE, "iscsimuxd at "
			    "%s closed the connection without an answer",
			    c->path);
		}
		end = memchr(buf + have, '\n', (size_t)n);
		have += (size_t)n;
		if (end != NULL) {
			*end = '\0';
			*line = buf;
			return RPCCLIENT_OK;
		}
	}
}

/* Replace bytes that a terminal might obey. */
static void
make_printable(char *text)
{
	for (; *text != '\0'; text++) {
		if ((unsigned char)*text < 0x20 ||
		    (unsigned char)*text >= 0x7f)
			*text = '?';
	}
}

static enum rpcclient_end
read_error(struct call *c, json_t *error)
{
	const json_t *code = json_object_get(error, "code");
	const char *message =
	    json_string_value(json_object_get(error, "message"));

	if (!json_is_integer(code) || message == NULL)
		return fail(c, RPCCLIENT_BROKEN, "the answer from %s is no "
		    "JSON-RPC 2.0 error object", c->path);
	c->answer->error = json_incref(error);
	fail(c, RPCCLIENT_REFUSED, "%s", message);
	make_printable(c->answer->message);
	return json_integer_value(code) == CODE_NOT_PERMITTED ?
	    RPCCLIENT_FORBIDDEN : RPCCLIENT_REFUSED;
}

static enum rpcclient_end
read_answer(struct call *c, const char *line)
{
	json_t *root = json_loads(line, JSON_REJECT_DUPLICATES, NULL);
	const json_t *version = json_object_get(root, "jsonrpc");
	const json_t *id = json_object_get(root, "id");
	json_t *result = json_object_get(root, "result");
	json_t *error = json_object_get(root, "error");
	enum rpcclient_end end;

	if (!json_is_string(version) ||
	    strcmp(json_string_value(version), "2.0") != 0 ||
	    (result == NULL) == (error == NULL) ||
	    (result != NULL && json_integer_value(id) != REQUEST_ID)) {
		end = fail(c, RPCCLIENT_BROKEN, "what answers at %s does not "
		    "speak JSON-RPC 2.0: is it the control socket?", c->path);
	} else if (error != NULL) {
		end = read_error(c, error);
	} else {
		c->answer->result = json_incref(result);
		end = RPCCLIENT_OK;
	}
	json_decref(root);
	return end;
}

/* The request as a line, NULL without memory. */
static char *
request_line(const char *method, json_t *params)
{
	json_t *root = json_object();
	char *text = NULL, *line = NULL;
	int rc;

	rc = json_object_set_new(root, "jsonrpc", json_string("2.0"));
	rc |= json_object_set_new(root, "id", json_integer(REQUEST_ID));
	rc |= json_object_set_new(root, "method", json_string(method));
	if (params != NULL)
		rc |= json_object_set(root, "params", params);
	if (rc == 0)
		text = json_dumps(root, JSON_COMPACT);
	json_decref(root);
	if (text != NULL && asprintf(&line, "%s\n", text) == -1)
		line = NULL;
	free(text);
	return line;
}

enum rpcclient_end
rpcclient_call(const char *path, uint32_t timeout_ms, const char *method,
    json_t *params, int fd, struct rpcclient_answer *answer)
{
	struct call c = { .fd = -1, .path = path, .timeout = timeout_ms,
	    .deadline = now_ms() + timeout_ms, .answer = answer };
	enum rpcclient_end end;
	char *request, *line = NULL;

	memset(answer, 0, sizeof(*answer));
	request = request_line(method, params);
	if (request == NULL)
		return fail(&c, RPCCLIENT_BROKEN, "the request cannot be "
		    "written as JSON");
	end = call_connect(&c);
	if (end == RPCCLIENT_OK)
		end = call_send(&c, request, fd);
	if (end == RPCCLIENT_OK)
		end = call_receive(&c, &line);
	if (end == RPCCLIENT_OK)
		end = read_answer(&c, line);
	if (c.fd != -1)
		close(c.fd);
	free(request);
	free(line);
	return end;
}

void
rpcclient_clear(struct rpcclient_answer *answer)
{
	json_decref(answer->result);
	json_decref(answer->error);
	answer->result = answer->error = NULL;
}
