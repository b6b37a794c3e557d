/* SPDX-License-Identifier: ISC */
/*
 * Commands about sessions: list, wait, ping.  No SCSI here.
 */
#include "config.h"

#include <sys/param.h>

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/cli_scsi.h"
#include "client/table.h"

/* --- list --- */

static const struct {
	uint32_t	 bit;
	const char	*name;
} accesses[] = {
	{ ISCSIMUX_ACCESS_READ, "read" },
	{ ISCSIMUX_ACCESS_WRITE, "write" },
	{ ISCSIMUX_ACCESS_MANAGE, "manage" },
	{ ISCSIMUX_ACCESS_RESET, "reset" },
	{ ISCSIMUX_ACCESS_TASK_ATTRIBUTES, "task-attributes" },
};
#define NACCESSES	(sizeof(accesses) / sizeof(accesses[0]))

struct listing {
	struct cli	*c;
	struct table	*table;
	bool		 done;
	int		 error;
	size_t		 n;
};

static void
list_row(struct table *t, const struct iscsimux_listing *e)
{
	char access[64] = "";
	size_t all = 0;

	for (size_t i = 0; i < NACCESSES; i++) {
		if ((e->access & accesses[i].bit) == 0)
			continue;
		all++;
		if (*access != '\0')
			strlcat(access, ",", sizeof(access));
		strlcat(access, accesses[i].name, sizeof(access));
	}
	table_text(t, TABLE_PLAIN, e->session);
	table_text(t, e->state == ISCSIMUX_SESSION_UP ? TABLE_GOOD :
	    e->state == ISCSIMUX_SESSION_DOWN ? TABLE_BAD : TABLE_BUSY,
	    iscsimux_state_name(e->state));
	table_text(t, TABLE_PLAIN, all == NACCESSES ? "all" : access);
	table_text(t, TABLE_PLAIN, e->adopted ? "adopted" : e->shared ?
	    "shared" : "daemon");
	table_text(t, TABLE_PLAIN, e->target);
}

static void
list_report(struct cli *c, const struct iscsimux_listing *e)
{
	json_t *access = json_array();

	for (size_t i = 0; i < NACCESSES; i++) {
		if ((e->access & accesses[i].bit) != 0)
			json_array_append_new(access,
			    json_string(accesses[i].name));
	}
	json_array_append_new(json_object_get(c->report, "sessions"),
	    json_pack("{s:s, s:s, s:o, s:b, s:b, s:s}", "session", e->session,
	    "state", iscsimux_state_name(e->state), "access", access,
	    "shared", e->shared, "adopted", e->adopted, "target",
	    e->target));
}

static void
on_list(struct iscsimux *h, void *cookie, int error,
    const struct iscsimux_listing *entries, size_t n)
{
	struct listing *l = cookie;

	(void)h;
	l->done = true;
	l->error = error;
	l->n = n;
	for (size_t i = 0; i < n; i++) {
		if (l->c->report != NULL)
			list_report(l->c, &entries[i]);
		else if (l->table != NULL)
			list_row(l->table, &entries[i]);
	}
}

/* Wait for the LISTING; CLI_OK, or told. */
static enum cli_status
list_wait(struct cli *c, struct listing *l)
{
	int64_t until = cli_now() + c->opt.timeout;
	int r = iscsimux_list(c->h, on_list, l);

	if (r != 0)
		return cli_fail(c, CLI_FAILED, "%s", iscsimux_strerror(r));
	while (!l->done && cli_now() < until && c->interrupts == 0)
		cli_step(c, NULL, until);
	if (c->interrupts > 0)
		return cli_fail_interrupted(c);
	if (l->error != 0)
		return cli_fail_closed(c);
	if (!l->done)
		return cli_fail(c, CLI_UNREACHABLE, "iscsimuxd at %s did not "
		    "answer within %g s", c->opt.socket,
		    (double)c->opt.timeout / 1000);
	return CLI_OK;
}

enum cli_status
cli_list(struct cli *c)
{
	static const struct table_column columns[] = { { "SESSION", false },
		{ "STATE", false }, { "ACCESS", false }, { "MADE BY", false },
		{ "TARGET", false } };
	struct listing l = { .c = c, .table = table_new(columns, 5) };
	enum cli_status status;

	if (c->report != NULL)
		json_object_set_new(c->report, "sessions", json_array());
	status = cli_connect(c);
	if (status == CLI_OK)
		status = list_wait(c, &l);
	if (!l.done && status == CLI_OK)
		status = CLI_FAILED;
	/* An open request must not outlive what its cookie points to. */
	iscsimux_disconnect(c->h);
	if (status != CLI_OK || c->report != NULL || l.n == 0) {
		table_free(l.table);
		if (status == CLI_OK && c->report == NULL)
			cli_note("there is no session that you may use");
		return status;
	}
	return cli_table(c, l.table);
}

/* --- wait --- */

enum cli_status
cli_wait(struct cli *c)
{
	const struct iscsimux_session *s;
	enum cli_status status = cli_open(c);

	if (status != CLI_OK)
		return status;
	s = iscsimux_session(c->h);
	if (c->report == NULL) {
		printf("session %s is up\n", c->session);
		return CLI_OK;
	}
	json_object_set_new(c->report, "state",
	    json_string(iscsimux_state_name(s->state)));
	json_object_set_new(c->report, "generation",
	    json_integer(s->generation));
	return CLI_OK;
}

/* --- ping --- */

struct ping {
	struct cli	*c;
	uint8_t		*data;
	uint8_t		*reply;
	uint32_t	 sent;
	uint32_t	 received;
	double		 least, most, sum;	/* ms */
};

static void
ping_reply(struct ping *p, double rtt)
{
	struct cli *c = p->c;

	p->least = p->received == 0 ? rtt : MIN(p->least, rtt);
	p->most = MAX(p->most, rtt);
	p->sum += rtt;
	p->received++;
	if (c->report == NULL) {
		printf("%" PRIu32 " bytes from %s: seq=%" PRIu32
		    " time=%.3f ms\n", c->opt.size, c->session, p->sent, rtt);
		fflush(stdout);
	} else {
		json_array_append_new(json_object_get(c->report, "replies"),
		    json_pack("{s:I, s:f}", "seq", (json_int_t)p->sent,
		    "rtt_ms", rtt));
	}
}

/* One NOP-Out and its NOP-In; false if there is no point in another. */
static bool
ping_once(struct ping *p)
{
	struct cli *c = p->c;
	struct cli_answer a = { .done = false };
	int64_t limit = cli_now() + c->opt.timeout + CLI_GRACE;
	double start = cli_seconds();
	char why[CLI_TEXT_MAX];
	int r;

	p->sent++;
	for (uint32_t i = 0; i < c->opt.size; i++)
		p->data[i] = (uint8_t)(i + p->sent);
	r = iscsimux_nop(c->h, p->data, c->opt.size, p->reply, c->opt.size, 0,
	    cli_answered, &a, NULL);
	if (r != 0) {
		(void)cli_fail(c, CLI_FAILED, "%s", r == -EMSGSIZE ?
		    "--size is more than the target takes in one PDU" :
		    iscsimux_strerror(r));
		return false;
	}
	while (!a.done && cli_now() < limit && c->interrupts == 0)
		cli_step(c, NULL, limit);
	if (!a.done) {
		iscsimux_disconnect(c->h);
		p->sent -= c->interrupts > 0;
		return false;
	}
	if (a.result.outcome != ISCSIMUX_COMPLETED) {
		scsi_explain(&a.result, why, sizeof(why));
		(void)cli_fail(c, CLI_FAILED, "seq=%" PRIu32 ": %s", p->sent,
		    why);
	} else if (a.result.transferred != c->opt.size ||
	    memcmp(p->data, p->reply, c->opt.size) != 0) {
		(void)cli_fail(c, CLI_FAILED, "seq=%" PRIu32 ": the target "
		    "returned other data than it got", p->sent);
	} else {
		ping_reply(p, (cli_seconds() - start) * 1000);
	}
	return !c->closed;
}

static void
ping_summary(struct ping *p)
{
	struct cli *c = p->c;
	double mean = p->received > 0 ? p->sum / p->received : 0;

	if (c->report != NULL) {
		json_object_set_new(c->report, "sent", json_integer(p->sent));
		json_object_set_new(c->report, "received",
		    json_integer(p->received));
		if (p->received > 0)
			json_object_set_new(c->report, "rtt_ms",
			    json_pack("{s:f, s:f, s:f}", "min", p->least,
			    "avg", mean, "max", p->most));
		return;
	}
	printf("--- %s: %" PRIu32 " sent, %" PRIu32 " received\n", c->session,
	    p->sent, p->received);
	if (p->received > 0)
		printf("rtt min/avg/max = %.3f/%.3f/%.3f ms\n", p->least,
		    mean, p->most);
}

static enum cli_status
ping_run(struct ping *p)
{
	struct cli *c = p->c;
	int64_t next = cli_now();

	if (c->report != NULL)
		json_object_set_new(c->report, "replies", json_array());
	while (ping_once(p) && (c->opt.count == 0 ||
	    p->sent < c->opt.count)) {
		next += c->opt.interval;
		while (cli_now() < next && c->interrupts == 0)
			cli_step(c, NULL, next);
		if (c->interrupts > 0)
			break;
	}
	ping_summary(p);
	if (c->closed)
		return cli_fail_closed(c);
	return p->received == p->sent && p->sent > 0 ? CLI_OK : CLI_FAILED;
}

enum cli_status
cli_ping(struct cli *c)
{
	struct ping p = { .c = c };
	enum cli_status status;

	p.data = calloc(1, c->opt.size + 1u);
	p.reply = calloc(1, c->opt.size + 1u);
	if (p.data == NULL || p.reply == NULL)
		status = cli_fail(c, CLI_FAILED, "out of memory");
	else
		status = cli_open(c);
	if (status == CLI_OK)
		status = ping_run(&p);
	free(p.data);
	free(p.reply);
	return status;
}
