/* SPDX-License-Identifier: ISC */
/*
 * What a test can tell the target to do, and ask of it.
 */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/target/conn.h"
#include "tests/target/ctl.h"

#define WORDS_MAX 8

/* The words of a line; missing ones are "". */
struct words {
	const char	*w[WORDS_MAX];
	unsigned	 n;
};

struct command {
	const char	*name;
	const char	*usage;
	unsigned	 least;		/* words after the name */
	json_t		*(*run)(struct target *, const struct words *,
			    unsigned *pings);
};

static json_t *
ok(void)
{
	return json_pack("{s:b}", "ok", 1);
}

static json_t *
failed(const char *why)
{
	return json_pack("{s:b, s:s}", "ok", 0, "error", why);
}

/* A number in any base of C; `most` if it is none or larger. */
static unsigned long
number(const char *word, unsigned long most)
{
	char *end;
	unsigned long n;

	errno = 0;
	n = strtoul(word, &end, 0);
	return *word == '\0' || *end != '\0' || errno != 0 || n > most ?
	    most : n;
}

json_t *
ctl_counters(const struct target *t)
{
	json_t *all = json_object();

#define X(name) (void)json_object_set_new(all, #name,			\
	    json_integer((json_int_t)t->counters.name));
	TARGET_COUNTERS(X)
#undef X
	(void)json_object_set_new(all, "last_error",
	    json_string(t->last_error));
	(void)json_object_set_new(all, "ok", json_true());
	return all;
}

static json_t *
run_counters(struct target *t, const struct words *w, unsigned *pings)
{
	(void)w;
	(void)pings;
	return ctl_counters(t);
}

/* How often each opcode came or went, by its number in hexadecimal. */
static json_t *
opcode_counts(const uint64_t *counts)
{
	json_t *all = json_object();
	char name[8];
	int i;

	for (i = 0; i <= ISCSI_OP_MASK; i++) {
		if (counts[i] == 0)
			continue;
		(void)snprintf(name, sizeof(name), "%02x", i);
		(void)json_object_set_new(all, name,
		    json_integer((json_int_t)counts[i]));
	}
	return all;
}

static json_t *
session_json(const struct conn *c)
{
	const struct params *p = &c->params;
	const struct task *k;
	json_int_t tasks = 0;

	TAILQ_FOREACH(k, &c->tasks, link)
		tasks++;
	return json_pack("{s:I, s:s, s:s, s:i, s:b, s:I, s:I, s:I, s:I, "
	    "s:b, s:b, s:b, s:b, s:I, s:I, s:I, s:I, s:o, s:o}",
	    "id", (json_int_t)c->id, "peer", c->peer, "initiator", c->name,
	    "tsih", (int)c->tsih, "discovery", (int)c->discovery,
	    "tasks", tasks, "exp_cmdsn", (json_int_t)c->exp_cmdsn,
	    "max_cmdsn", (json_int_t)c->max_cmdsn,
	    "statsn", (json_int_t)c->statsn,
	    "header_digest", (int)p->header_digest,
	    "data_digest", (int)p->data_digest,
	    "initial_r2t", (int)p->initial_r2t,
	    "immediate_data", (int)p->immediate_data,
	    "max_recv_dsl", (json_int_t)p->max_recv_dsl,
	    "max_burst", (json_int_t)p->max_burst,
	    "first_burst", (json_int_t)p->first_burst,
	    "acked_statsn", (json_int_t)c->acked_statsn,
	    "pdus_in", opcode_counts(c->pdus_in),
	    "pdus_out", opcode_counts(c->pdus_out));
}

static json_t *
run_sessions(struct target *t, const struct words *w, unsigned *pings)
{
	json_t *list = json_array();
	const struct conn *c;

	(void)w;
	(void)pings;
	TAILQ_FOREACH(c, &t->conns, link)
		if (c->phase == CONN_FULL)
			(void)json_array_append_new(list, session_json(c));
	return json_pack("{s:b, s:i, s:o}", "ok", 1, "count",
	    (int)json_array_size(list), "sessions", list);
}

static json_t *
run_hold(struct target *t, const struct words *w, unsigned *pings)
{
	static const struct {
		const char	*name;
		unsigned	 hold;
	} what[] = {
		{ "reads", HOLD_READS }, { "writes", HOLD_WRITES },
		{ "r2t", HOLD_R2T }, { "none", HOLD_NONE },
		{ "all", HOLD_READS | HOLD_WRITES | HOLD_OTHERS },
	};
	size_t i;

	(void)pings;
	for (i = 0; i < sizeof(what) / sizeof(what[0]); i++) {
		if (strcmp(w->w[1], what[i].name) != 0)
			continue;
		if (what[i].hold == HOLD_NONE)
			t->manners.hold = HOLD_NONE;
		t->manners.hold |= what[i].hold;
		return ok();
	}
	return failed("hold what?");
}

static json_t *
run_release(struct target *t, const struct words *w, unsigned *pings)
{
	struct conn *c;

	(void)w;
	(void)pings;
	t->manners.hold = HOLD_NONE;
	TAILQ_FOREACH(c, &t->conns, link)
		cmd_release(c);
	return ok();
}

static json_t *
run_drop(struct target *t, const struct words *w, unsigned *pings)
{
	struct conn *c;
	int n = 0;

	(void)w;
	(void)pings;
	while ((c = TAILQ_FIRST(&t->conns)) != NULL) {
		conn_close(c);
		n++;
	}
	return json_pack("{s:b, s:i}", "ok", 1, "dropped", n);
}

static json_t *
run_refuse_login(struct target *t, const struct words *w, unsigned *pings)
{
	(void)pings;
	t->manners.refuse_login = strcmp(w->w[1], "no") != 0;
	t->manners.refuse_class = (uint8_t)number(w->w[1], 0xff);
	t->manners.refuse_detail = (uint8_t)number(w->w[2], 0xff);
	return ok();
}

static json_t *
run_ping(struct target *t, const struct words *w, unsigned *pings)
{
	uint64_t lun = strtoull(w->w[1], NULL, 16);
	struct conn *c;

	*pings = 0;
	TAILQ_FOREACH(c, &t->conns, link) {
		if (c->phase != CONN_FULL || c->discovery)
			continue;
		if (c->ping.outstanding)
			return failed("a ping is unanswered");
		c->ping.outstanding = true;
		c->ping.ttt = c->next_ttt++;
		c->ping.lun = lun;
		nop_in_send(c, c->ping.ttt, lun);
		++*pings;
	}
	return *pings > 0 ? NULL : failed("no session");
}

static json_t *
run_async(struct target *t, const struct words *w, unsigned *pings)
{
	struct conn *c;
	int n = 0;

	(void)pings;
	TAILQ_FOREACH(c, &t->conns, link) {
		if (c->phase != CONN_FULL)
			continue;
		async_send(c, (uint8_t)number(w->w[1], 0xff),
		    (uint16_t)number(w->w[2], 0xffff),
		    (uint16_t)number(w->w[3], 0xffff),
		    (uint16_t)number(w->w[4], 0xffff));
		n++;
	}
	return json_pack("{s:b, s:i}", "ok", 1, "sent", n);
}

static json_t *
run_reject_next(struct target *t, const struct words *w, unsigned *pings)
{
	(void)pings;
	t->manners.reject = true;
	t->manners.reject_opcode = (uint8_t)number(w->w[1], ISCSI_OP_MASK);
	t->manners.reject_reason = (uint8_t)number(w->w[2], 0xff);
	t->manners.reject_gap = strcmp(w->w[3], "gap") == 0;
	return ok();
}

static json_t *
run_ua(struct target *t, const struct words *w, unsigned *pings)
{
	unsigned long lun = number(w->w[1], OPTIONS_LUNS_MAX);
	struct conn *c;

	(void)pings;
	if (lun >= t->options.luns)
		return failed("no such LUN");
	TAILQ_FOREACH(c, &t->conns, link)
		c->ua[lun] = (uint16_t)(number(w->w[2], 0xff) << 8 |
		    number(w->w[3], 0xff));
	return ok();
}

/* Tell the new MaxCmdSN to initiators that wait for one. */
static json_t *
run_window(struct target *t, const struct words *w, unsigned *pings)
{
	struct conn *c;

	(void)pings;
	t->queue_depth = (uint32_t)number(w->w[1], 65536);
	TAILQ_FOREACH(c, &t->conns, link)
		if (c->phase == CONN_FULL && !c->discovery)
			nop_in_send(c, ISCSI_TAG_NONE, 0);
	return ok();
}

static json_t *
run_fault(struct target *t, const struct words *w, unsigned *pings)
{
	(void)pings;
	if (strcmp(w->w[1], "drop-after") != 0)
		return failed("fault drop-after BYTES");
	t->manners.drop_left = strtoull(w->w[2], NULL, 0);
	t->manners.drop = t->manners.drop_left > 0;
	return ok();
}

static json_t *
run_corrupt(struct target *t, const struct words *w, unsigned *pings)
{
	(void)pings;
	if (strcmp(w->w[1], "header") == 0)
		t->manners.corrupt_header = true;
	else if (strcmp(w->w[1], "data") == 0)
		t->manners.corrupt_data = true;
	else
		return failed("corrupt header|data");
	return ok();
}

static json_t *
run_stall(struct target *t, const struct words *w, unsigned *pings)
{
	(void)pings;
	t->manners.stall = strcmp(w->w[1], "on") == 0;
	return ok();
}

static json_t *
run_wrong_itt(struct target *t, const struct words *w, unsigned *pings)
{
	(void)w;
	(void)pings;
	t->manners.wrong_itt = true;
	return ok();
}

static const struct command commands[] = {
	{ "counters", "", 0, run_counters },
	{ "sessions", "", 0, run_sessions },
	{ "hold", "reads|writes|all|r2t|none", 1, run_hold },
	{ "release", "", 0, run_release },
	{ "drop", "", 0, run_drop },
	{ "refuse-login", "CLASS DETAIL, or no", 1, run_refuse_login },
	{ "ping", "[LUN, 16 hexadecimal digits]", 0, run_ping },
	{ "async", "EVENT P1 P2 P3", 1, run_async },
	{ "reject-next", "OPCODE REASON consume|gap", 3, run_reject_next },
	{ "ua", "LUN ASC ASCQ", 3, run_ua },
	{ "window", "N", 1, run_window },
	{ "fault", "drop-after BYTES", 2, run_fault },
	{ "corrupt", "header|data", 1, run_corrupt },
	{ "stall", "on|off", 1, run_stall },
	{ "wrong-itt", "", 0, run_wrong_itt },
};

#define NCOMMANDS (sizeof(commands) / sizeof(commands[0]))

static json_t *
help(void)
{
	json_t *all = json_object();
	size_t i;

	for (i = 0; i < NCOMMANDS; i++)
		(void)json_object_set_new(all, commands[i].name,
		    json_string(commands[i].usage));
	return json_pack("{s:b, s:o}", "ok", 1, "commands", all);
}

json_t *
ctl_command(struct target *t, char *line, unsigned *pings)
{
	struct words words = { .n = 0 };
	char *save = NULL;
	char *w;
	size_t i;

	for (i = 0; i < WORDS_MAX; i++)
		words.w[i] = "";
	for (w = strtok_r(line, " \t", &save); w != NULL && words.n < WORDS_MAX;
	    w = strtok_r(NULL, " \t", &save))
		words.w[words.n++] = w;
	if (strcmp(words.w[0], "help") == 0)
		return help();
	for (i = 0; i < NCOMMANDS; i++) {
		if (strcmp(words.w[0], commands[i].name) != 0)
			continue;
		if (words.n < commands[i].least + 1)
			return failed(commands[i].usage);
		return commands[i].run(t, &words, pings);
	}
	return failed("unknown command");
}
