/* SPDX-License-Identifier: ISC */
/*
 * Copies a trace from the daemon's end of a socket pair to where it is
 * wanted.  A first SIGINT or SIGTERM ends the trace and what is left of it is
 * still copied; a second one ends that, too.
 */
#include "config.h"

#include <sys/socket.h>
#include <sys/stat.h>

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/ctl_exit.h"
#include "client/ctl_trace.h"

struct copy {
	const struct ctl_trace	*how;
	const char		*name;		/* of the output */
	int			 in;
	int			 out;
	size_t			 out_max;	/* in one write, without delay */
	json_int_t		 id;
	bool			 stopped;	/* by us */
	sigset_t		 open;		/* signal mask while waiting */
	struct rpcclient_answer	 answer;	/* of trace.stop */
};

/* Counts signals; the only thing that a handler can reach. */
static volatile sig_atomic_t signals;

static void
on_signal(int signo)
{
	(void)signo;
	signals++;
}

/* Signals come only while we wait. */
static void
catch_signals(struct copy *c)
{
	struct sigaction act = { .sa_handler = on_signal };
	sigset_t block;

	sigemptyset(&block);
	sigaddset(&block, SIGINT);
	sigaddset(&block, SIGTERM);
	sigprocmask(SIG_BLOCK, &block, &c->open);
	sigdelset(&c->open, SIGINT);
	sigdelset(&c->open, SIGTERM);
	sigaction(SIGINT, &act, NULL);
	sigaction(SIGTERM, &act, NULL);
	signal(SIGPIPE, SIG_IGN);
}

static int
call_failed(enum rpcclient_end end, const struct rpcclient_answer *answer)
{
	fprintf(stderr, "iscsimuxctl: %s\n", answer->message);
	return ctl_exit_status(end);
}

/* Have the trace begun; its stream is read from c->in. */
static int
start(struct copy *c)
{
	struct rpcclient_answer answer;
	enum rpcclient_end end;
	json_t *params;
	int sv[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv) == -1) {
		fprintf(stderr, "iscsimuxctl: socketpair: %s\n",
		    strerror(errno));
		return CTL_EXIT_FAILED;
	}
	params = json_pack("{s:b, s:s*}", "headers", c->how->headers,
	    "session", c->how->session);
	end = rpcclient_call(c->how->socket, c->how->timeout, "trace.start",
	    params, sv[1], &answer);
	json_decref(params);
	close(sv[1]);
	c->in = sv[0];
	if (end == RPCCLIENT_OK)
		c->id = json_integer_value(json_object_get(answer.result,
		    "id"));
	else
		(void)call_failed(end, &answer);
	rpcclient_clear(&answer);
	return ctl_exit_status(end);
}

/* The first signal ends the trace; false if it can not, or at the second. */
static bool
stop(struct copy *c)
{
	enum rpcclient_end end;
	json_t *params;

	if (c->stopped) {
		fputs("iscsimuxctl: interrupted: the end of the trace is "
		    "missing\n", stderr);
		return false;
	}
	c->stopped = true;
	params = json_pack("{s:I}", "id", c->id);
	end = rpcclient_call(c->how->socket, c->how->timeout, "trace.stop",
	    params, -1, &c->answer);
	json_decref(params);
	if (end == RPCCLIENT_OK)
		return true;
	(void)call_failed(end, &c->answer);
	return false;
}

/*
 * Wait until the stream has bytes, or the output has room for some; false to
 * give up.
 */
static bool
wait_for(struct copy *c, bool output)
{
	struct pollfd pfd[2] = {
		{ .fd = c->out, .events = output ? POLLOUT : 0 },
		{ .fd = output ? -1 : c->in, .events = POLLIN },
	};
	sig_atomic_t before = signals;

	for (;;) {
		int n = ppoll(pfd, 2, NULL, &c->open);

		if (signals != before) {
			before = signals;
			if (!stop(c))
				return false;
		} else if (n > 0 && (pfd[0].revents & (POLLERR |
		    POLLHUP | POLLNVAL)) != 0 && !output) {
			fprintf(stderr, "iscsimuxctl: %s: nobody reads it any "
			    "more\n", c->name);
			return false;
		} else if (n > 0) {
			return true;
		}
	}
}

static bool
write_all(struct copy *c, const char *buf, size_t len)
{
	ssize_t n;

	while (len > 0) {
		if (!wait_for(c, true))
			return false;
		n = write(c->out, buf, len < c->out_max ? len : c->out_max);
		if (n == -1 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (n == -1) {
			fprintf(stderr, "iscsimuxctl: %s: %s\n", c->name,
			    strerror(errno));
			return false;
		}
		buf += n;
		len -= (size_t)n;
	}
	return true;
}

/* Copy to the end of the stream. */
static bool
copy(struct copy *c)
{
	static char buf[65536];
	ssize_t n;

	do {
		if (!wait_for(c, false))
			return false;
		n = recv(c->in, buf, sizeof(buf), MSG_DONTWAIT);
		if (n > 0 && !write_all(c, buf, (size_t)n))
			return false;
	} while (n > 0 || (n == -1 && (errno == EAGAIN || errno == EINTR)));
	if (!c->stopped)
		fputs("iscsimuxctl: the daemon ended the trace\n", stderr);
	return c->stopped;
}

/* Open the output; false with a message if it can not be. */
static bool
open_output(struct copy *c)
{
	struct stat st;

	c->name = c->how->file;
	if (c->name == NULL || strcmp(c->name, "-") == 0) {
		c->name = "standard output";
		c->out = STDOUT_FILENO;
	} else {
		c->out = open(c->name, O_WRONLY | O_CREAT | O_TRUNC |
		    O_CLOEXEC, 0600);
	}
	if (c->out == -1 || fstat(c->out, &st) == -1) {
		fprintf(stderr, "iscsimuxctl: %s: %s\n", c->name,
		    strerror(errno));
		return false;
	}
	/* A pipe with room takes this much at once. */
	c->out_max = S_ISREG(st.st_mode) ? SIZE_MAX : PIPE_BUF;
	return true;
}

static long long
counted(const struct copy *c, const char *name)
{
	return json_integer_value(json_object_get(c->answer.result, name));
}

int
ctl_trace(const struct ctl_trace *how)
{
	struct copy c = { .how = how };
	int status;

	if (!open_output(&c))
		return CTL_EXIT_FAILED;
	catch_signals(&c);
	status = start(&c);
	if (status != CTL_EXIT_OK)
		return status;
	status = copy(&c) ? CTL_EXIT_OK : CTL_EXIT_FAILED;
	if (close(c.out) == -1 && status == CTL_EXIT_OK) {
		fprintf(stderr, "iscsimuxctl: %s: %s\n", c.name,
		    strerror(errno));
		status = CTL_EXIT_FAILED;
	}
	if (c.stopped && c.answer.result != NULL)
		fprintf(stderr, "%lld packets, %lld dropped\n",
		    counted(&c, "packets"), counted(&c, "dropped"));
	rpcclient_clear(&c.answer);
	return status;
}
