/* SPDX-License-Identifier: ISC */
/*
 * The daemon and the session: connecting, attaching, waiting until the
 * session is up.  All waiting of the program is cli_step().  It knows no
 * command and prints nothing but why it failed.
 */
#include "config.h"

#include <sys/param.h>
#include <sys/signalfd.h>

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "client/cli.h"

#define BACKLOG_PAUSE	10	/* ms, when the daemon's queue is full */
#define REDIAL_PAUSE	200	/* ms, when there is no daemon any more */
#define PATIENCE	1000	/* ms, before a note says what is waited for */

int64_t
cli_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

double
cli_seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* --- what the library tells --- */

static void
on_attached(struct iscsimux *h, void *arg, int error,
    const struct iscsimux_session *session)
{
	struct cli *c = arg;

	(void)session;
	c->attached = true;
	c->attach_error = error;
	strlcpy(c->why, error == 0 ? "" : iscsimux_error_text(h),
	    sizeof(c->why));
}

static void
on_event(struct iscsimux *h, void *arg, const struct iscsimux_event *e)
{
	struct cli *c = arg;

	(void)h;
	if (e->kind == ISCSIMUX_EVENT_CLOSED && c->on_ended != NULL)
		c->on_ended(c, e);
	if (e->kind == ISCSIMUX_EVENT_SESSION_DOWN)
		strlcpy(c->why, e->text, sizeof(c->why));
	if (c->opt.verbose)
		cli_note("event %s%s%s", iscsimux_event_name(e->kind),
		    *e->text != '\0' ? ": " : "", e->text);
}

static void
on_pdu(struct iscsimux *h, void *arg, const struct iscsimux_pdu *pdu)
{
	struct cli *c = arg;

	(void)h;
	if (c->on_pdu != NULL)
		c->on_pdu(c, pdu);
}

static void
on_closed(struct iscsimux *h, void *arg, int error, const char *text)
{
	struct cli *c = arg;

	(void)h;
	c->closed = true;
	c->attach_error = error;
	strlcpy(c->why, text, sizeof(c->why));
}

/* --- waiting --- */

static void
take_signals(struct cli *c)
{
	struct signalfd_siginfo info;

	while (read(c->signals, &info, sizeof(info)) == sizeof(info))
		c->interrupts++;
}

void
cli_step(struct cli *c, struct pollfd *more, int64_t until)
{
	struct pollfd fds[3] = {
		{ .fd = c->signals, .events = POLLIN },
		{ .fd = -1 },
		{ .fd = -1 },
	};
	int64_t left;

	(void)iscsimux_flush(c->h);
	fds[1].fd = iscsimux_fd(c->h);
	fds[1].events = iscsimux_events(c->h);
	if (more != NULL) {
		more->revents = 0;
		fds[2] = *more;
	}
	left = MAX(until - cli_now(), 0);
	if (poll(fds, 3, (int)MIN(left, INT32_MAX)) <= 0)
		return;
	if (fds[0].revents != 0)
		take_signals(c);
	if (more != NULL)
		more->revents = fds[2].revents;
	if (fds[1].revents != 0)
		(void)iscsimux_service(c->h, fds[1].revents);
}

bool
cli_pause(struct cli *c, int64_t until)
{
	while (cli_now() < until && c->interrupts == 0)
		cli_step(c, NULL, until);
	return c->interrupts == 0;
}

/* --- the daemon --- */

enum cli_status
cli_init(struct cli *c)
{
	static const struct iscsimux_callbacks callbacks = {
		.on_attached = on_attached,
		.on_event = on_event,
		.on_pdu = on_pdu,
		.on_closed = on_closed,
	};
	char name[ISCSIMUX_NAME_MAX + 1];
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	signal(SIGPIPE, SIG_IGN);
	if (sigprocmask(SIG_BLOCK, &set, NULL) == -1)
		return cli_fail(c, CLI_FAILED, "sigprocmask: %s",
		    strerror(errno));
	c->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (c->signals == -1)
		return cli_fail(c, CLI_FAILED, "signalfd: %s",
		    strerror(errno));
	c->h = iscsimux_new(&callbacks, c);
	if (c->h == NULL)
		return cli_fail(c, CLI_FAILED, "out of memory");
	snprintf(name, sizeof(name), "iscsimux-%s", c->command);
	(void)iscsimux_set_name(c->h, name);
	if (c->opt.verbose)
		cli_trace(c->h);
	return CLI_OK;
}

void
cli_deinit(struct cli *c)
{
	iscsimux_free(c->h);
	if (c->signals != -1)
		close(c->signals);
}

static int
dial(struct cli *c, int64_t until)
{
	int r;

	c->closed = false;
	c->attached = false;
	c->attach_error = 0;
	while ((r = iscsimux_connect(c->h, c->opt.socket)) == -EAGAIN &&
	    cli_now() < until &&
	    cli_pause(c, MIN(until, cli_now() + BACKLOG_PAUSE)))
		continue;
	return r;
}

static enum cli_status
fail_dial(struct cli *c, int error)
{
	switch (error) {
	case -ENOENT:
	case -ECONNREFUSED:
		return cli_fail(c, CLI_UNREACHABLE, "iscsimuxd is not "
		    "running: %s at %s. Start it, or name its data socket "
		    "with -S or ISCSIMUX_SOCKET.", error == -ENOENT ?
		    "there is no socket" : "nobody listens", c->opt.socket);
	case -EACCES:
	case -EPERM:
		return cli_fail(c, CLI_UNREACHABLE, "no permission to use "
		    "%s: only its owner and its group may.", c->opt.socket);
	default:
		return cli_fail(c, CLI_UNREACHABLE, "cannot connect to %s: %s",
		    c->opt.socket, iscsimux_strerror(error));
	}
}

enum cli_status
cli_connect(struct cli *c)
{
	int r = dial(c, cli_now() + c->opt.timeout);

	return r == 0 ? CLI_OK : fail_dial(c, r);
}

enum cli_status
cli_fail_interrupted(struct cli *c)
{
	return cli_fail(c, CLI_FAILED, "interrupted");
}

enum cli_status
cli_fail_closed(struct cli *c)
{
	return cli_fail(c, CLI_UNREACHABLE, "iscsimuxd at %s: %s",
	    c->opt.socket, c->why);
}

static enum cli_status
fail_attach(struct cli *c)
{
	return cli_fail(c, c->attach_error == -EACCES ? CLI_UNREACHABLE :
	    CLI_FAILED, "session %s: %s", c->session, c->why);
}

/*
 * Attach over a connection just made.  CLI_OK, or told unless interrupted or
 * closed by the daemon.
 */
static enum cli_status
attach(struct cli *c, int64_t until)
{
	const struct iscsimux_attach how = {
		.session = c->session,
		.deadline_ms = c->opt.timeout,
		.events = c->opt.verbose ?
		    ISCSIMUX_EVENTS_ALL & ~(1u << ISCSIMUX_EVENT_UNSOLICITED) :
		    1u << ISCSIMUX_EVENT_SESSION_UP |
		    1u << ISCSIMUX_EVENT_SESSION_DOWN,
	};
	int r = iscsimux_attach(c->h, &how);

	if (r != 0)
		return cli_fail(c, CLI_FAILED, "session %s: %s", c->session,
		    iscsimux_strerror(r));
	while (!c->attached && !c->closed && cli_now() < until &&
	    c->interrupts == 0)
		cli_step(c, NULL, until);
	if (c->closed)
		return CLI_UNREACHABLE;
	if (c->interrupts > 0)
		return CLI_FAILED;
	if (!c->attached)
		return cli_fail(c, CLI_UNREACHABLE, "iscsimuxd at %s did not "
		    "answer within %g s", c->opt.socket,
		    (double)c->opt.timeout / 1000);
	return c->attach_error == 0 ? CLI_OK : fail_attach(c);
}

/* --- the session --- */

bool
cli_is_up(const struct cli *c)
{
	const struct iscsimux_session *s = iscsimux_session(c->h);

	return s != NULL && s->state == ISCSIMUX_SESSION_UP;
}

/*
 * Why the session is down, from the outcome of a request that cannot leave:
 * the only place where the daemon says what its last attempt failed of.
 */
static void
ask_why(struct cli *c)
{
	static const char known[] = "the session is down: ";
	struct cli_answer a = { .done = false };
	const char *text = a.text;

	if (iscsimux_nop(c->h, NULL, 0, NULL, 0, 0, cli_answered, &a,
	    NULL) != 0)
		return;
	cli_await(c, &a, cli_now() + PATIENCE);
	if (!a.done || a.result.outcome != ISCSIMUX_NOT_SENT)
		return;
	if (strncmp(text, known, sizeof(known) - 1) == 0)
		text += sizeof(known) - 1;
	if (*text != '\0')
		strlcpy(c->why, text, sizeof(c->why));
}

static enum cli_status
fail_down(struct cli *c)
{
	if (*c->why == '\0')
		strlcpy(c->why, "the session is down", sizeof(c->why));
	return cli_fail(c, CLI_FAILED, "session %s did not come up within "
	    "%g s: %s", c->session, (double)c->opt.timeout / 1000, c->why);
}

/* Wait for the attached session; says after a while what for. */
static enum cli_status
wait_up(struct cli *c, int64_t until)
{
	int64_t patience = cli_now() + PATIENCE;
	bool said = false;

	while (!cli_is_up(c)) {
		if (c->closed)
			return CLI_UNREACHABLE;
		if (c->interrupts > 0)
			return CLI_FAILED;
		if (cli_now() >= until) {
			ask_why(c);
			return cli_is_up(c) ? CLI_OK : fail_down(c);
		}
		if (!said && cli_now() >= patience) {
			said = true;
			ask_why(c);
			cli_note("session %s: %s; waiting", c->session,
			    *c->why != '\0' ? c->why : "not up");
			continue;
		}
		cli_step(c, NULL, said ? until : MIN(until, patience));
	}
	return CLI_OK;
}

/* A daemon that was stopped or crashed may be started again. */
static bool
may_return(const struct cli *c)
{
	enum iscsimux_reason reason = iscsimux_error_reason(c->h);

	return reason == ISCSIMUX_R_NONE || reason == ISCSIMUX_R_SHUTDOWN ||
	    reason == ISCSIMUX_R_CONNECTION_LOST;
}

/* Connect and attach again, if need be, and wait; one attempt. */
static enum cli_status
recover_once(struct cli *c, int64_t until)
{
	enum cli_status status = CLI_OK;
	int r;

	if (iscsimux_fd(c->h) == -1) {
		r = dial(c, until);
		if (r != 0 && cli_now() >= until)
			return fail_dial(c, r);
		if (r != 0) {
			c->closed = true;
			return CLI_UNREACHABLE;
		}
		status = attach(c, until);
	}
	return status == CLI_OK ? wait_up(c, until) : status;
}

enum cli_status
cli_recover(struct cli *c, int64_t until)
{
	enum cli_status status;

	while (c->interrupts == 0) {
		status = recover_once(c, until);
		if (!c->closed)
			return status;
		if (cli_now() >= until || !may_return(c))
			return cli_fail_closed(c);
		(void)cli_pause(c, MIN(until, cli_now() + REDIAL_PAUSE));
	}
	return CLI_FAILED;
}

enum cli_status
cli_open(struct cli *c)
{
	int64_t until = cli_now() + c->opt.timeout;
	enum cli_status status;

	status = cli_connect(c);
	if (status == CLI_OK)
		status = attach(c, until);
	if (status == CLI_OK)
		status = wait_up(c, until);
	if (c->closed)
		return cli_fail_closed(c);
	if (status != CLI_OK && c->interrupts > 0)
		return cli_fail_interrupted(c);
	return status;
}
