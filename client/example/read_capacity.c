/* SPDX-License-Identifier: ISC */
/*
 * libiscsimux in a poll loop: asks LUN 0 for its name and size at a time.
 *
 *	cc read_capacity.c $(pkg-config --cflags --libs libiscsimux) &&
 *	    ./a.out SESSION
 */
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>

#include <iscsimux.h>

/* Buffers must live until the request is completed: here, all the time. */
struct app {
	uint8_t	inquiry[36], capacity[32];
	int	open;		/* requests not yet completed */
	int	failed, over;
};

static uint64_t
big_endian(const uint8_t *p, int n)
{
	return n == 0 ? 0 : big_endian(p, n - 1) << 8 | p[n - 1];
}

/* Every accepted request ends once.  First ask how, then for the status. */
static int
good(struct app *app, const char *what, const struct iscsimux_result *r)
{
	app->open--;
	app->over = app->open == 0;
	if (iscsimux_result_good(r))
		return 1;
	if (r->outcome == ISCSIMUX_COMPLETED)
		fprintf(stderr, "%s: SCSI status 0x%02x\n", what, r->status);
	else
		fprintf(stderr, "%s: %s: %s\n", what,
		    iscsimux_outcome_name(r->outcome), r->text);
	app->failed = 1;
	return 0;
}

static void
on_inquiry(struct iscsimux *h, void *cookie, const struct iscsimux_result *r)
{
	struct app *app = cookie;

	(void)h;
	/* A device may send less than was asked for. */
	if (good(app, "INQUIRY", r) && r->transferred == sizeof(app->inquiry))
		printf("%.8s %.16s\n", app->inquiry + 8, app->inquiry + 16);
}

static void
on_capacity(struct iscsimux *h, void *cookie, const struct iscsimux_result *r)
{
	struct app *app = cookie;

	(void)h;
	if (good(app, "READ CAPACITY(16)", r) && r->transferred >= 12)
		printf("%" PRIu64 " blocks of %" PRIu64 " bytes\n",
		    big_endian(app->capacity, 8) + 1,
		    big_endian(app->capacity + 8, 4));
}

/* The answer to iscsimux_attach(): only now can requests be made. */
static void
on_attached(struct iscsimux *h, void *arg, int error,
    const struct iscsimux_session *session)
{
	static const uint8_t inquiry[6] = { 0x12, 0, 0, 0, 36 };
	static const uint8_t capacity[16] = { 0x9e, 0x10, [13] = 32 };
	struct app *app = arg;
	struct iscsimux_scsi s = { .cdb = inquiry, .cdb_len = sizeof(inquiry),
	    .direction = ISCSIMUX_DATA_IN, .data = app->inquiry,
	    .data_len = sizeof(app->inquiry), .deadline_ms = 10000 };

	(void)session;
	if (error != 0)
		fprintf(stderr, "attach: %s\n", iscsimux_error_text(h));
	else if (iscsimux_execute(h, &s, on_inquiry, app, NULL) == 0)
		app->open++;
	s.cdb = capacity;
	s.cdb_len = sizeof(capacity);
	s.data = app->capacity;
	s.data_len = sizeof(app->capacity);
	if (iscsimux_execute(h, &s, on_capacity, app, NULL) == 0)
		app->open++;	/* queued; the loop sends both at once */
	app->failed = app->open < 2;
	app->over = app->open == 0;
}

int
main(int argc, char **argv)
{
	const struct iscsimux_callbacks cb = { .on_attached = on_attached };
	struct iscsimux_attach attach = { .session = argv[1] };
	struct app app = { .over = 0 };
	struct iscsimux *h = argc == 2 ? iscsimux_new(&cb, &app) : NULL;
	struct pollfd p;
	int r;

	if (h == NULL) {
		fprintf(stderr, "usage: read_capacity SESSION\n");
		return 2;
	}
	r = iscsimux_connect(h, NULL);		/* the default socket */
	if (r == 0)
		r = iscsimux_attach(h, &attach);
	while (r >= 0 && !app.over) {
		p.fd = iscsimux_fd(h);
		p.events = iscsimux_events(h);	/* ask before each poll */
		r = poll(&p, 1, -1) == 1 ? iscsimux_service(h, p.revents) : 0;
	}
	if (r < 0)	/* not there, or gone; requests have ended before */
		fprintf(stderr, "iscsimuxd: %s\n", iscsimux_error_text(h));
	iscsimux_free(h);
	return r < 0 || app.failed;
}
