/* SPDX-License-Identifier: ISC */
/*
 * Lines of a script of iscsimux raw that are no PDUs: set, get, expect, wait,
 * share, unshare, close.
 */
#include "config.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/cli_raw.h"
#include "proto/iscsi.h"

#define SECONDS_MAX	86400.0

/* --- words --- */

/* Seconds with a fraction, as milliseconds. */
static bool
take_seconds(const char *p, size_t len, uint32_t *ms)
{
	char text[32], *end;
	double seconds;

	if (len == 0 || len >= sizeof(text))
		return false;
	memcpy(text, p, len);
	text[len] = '\0';
	seconds = strtod(text, &end);
	if (*end != '\0' || !(seconds >= 0 && seconds <= SECONDS_MAX))
		return false;
	*ms = (uint32_t)(seconds * 1000 + 0.5);
	return true;
}

static bool
take_length(const char *p, size_t len, uint32_t *out)
{
	char text[16], *end;
	unsigned long n;

	if (len == 0 || len >= sizeof(text) || p[0] < '0' || p[0] > '9')
		return false;
	memcpy(text, p, len);
	text[len] = '\0';
	n = strtoul(text, &end, strncmp(text, "0x", 2) == 0 ? 16 : 10);
	if (*end != '\0' || n > ISCSI_DSL_MAX)
		return false;
	*out = (uint32_t)n;
	return true;
}

/* --- set --- */

static const struct {
	const char	*name;
	uint32_t	 bit;
} settings[] = {
	{ "header-digest", ISCSIMUX_RAW_HEADER_DIGEST },
	{ "data-digest", ISCSIMUX_RAW_DATA_DIGEST },
	{ "big-endian", ISCSIMUX_RAW_BIG_ENDIAN },
	{ "manual", ISCSIMUX_RAW_MANUAL },
	{ "show-digests", ISCSIMUX_RAW_SHOW_DIGESTS },
	{ "unchecked", ISCSIMUX_RAW_UNCHECKED },
	{ "recv-dsl", ISCSIMUX_SET_RECV_DSL },
	{ "send-dsl", ISCSIMUX_SET_SEND_DSL },
	{ "read-deadline", ISCSIMUX_SET_READ_DEADLINE },
	{ "write-deadline", ISCSIMUX_SET_WRITE_DEADLINE },
};
#define NSETTINGS	(sizeof(settings) / sizeof(settings[0]))

/* One word of set; NULL, or what is wrong with it. */
static const char *
take_setting(const struct pdu_word *w, struct iscsimux_set *set)
{
	const char *eq = memchr(w->p, '=', w->len), *value;
	size_t name_len = eq != NULL ? (size_t)(eq - w->p) : w->len, len, i;

	for (i = 0; i < NSETTINGS; i++)
		if (strlen(settings[i].name) == name_len &&
		    memcmp(settings[i].name, w->p, name_len) == 0)
			break;
	if (i == NSETTINGS)
		return "there is no such setting";
	value = eq != NULL ? eq + 1 : "1";
	len = eq != NULL ? w->len - name_len - 1 : 1;
	set->mask |= settings[i].bit;
	switch (settings[i].bit) {
	case ISCSIMUX_SET_RECV_DSL:
		return eq != NULL && take_length(value, len, &set->recv_dsl) ?
		    NULL : "a length is a number up to 16777215";
	case ISCSIMUX_SET_SEND_DSL:
		return eq != NULL && take_length(value, len, &set->send_dsl) ?
		    NULL : "a length is a number up to 16777215";
	case ISCSIMUX_SET_READ_DEADLINE:
		return eq != NULL && take_seconds(value, len,
		    &set->read_deadline_ms) ? NULL :
		    "a deadline is seconds, 0 for none";
	case ISCSIMUX_SET_WRITE_DEADLINE:
		return eq != NULL && take_seconds(value, len,
		    &set->write_deadline_ms) ? NULL :
		    "a deadline is seconds, 0 for none";
	default:
		if (len != 1 || (*value != '0' && *value != '1'))
			return "this is 0 or 1";
		if (*value == '1')
			set->flags |= settings[i].bit;
		return NULL;
	}
}

static enum cli_status
run_set(struct raw *r, const struct pdu_word *words, size_t n)
{
	struct iscsimux_set set = { .mask = 0 };
	struct raw_status s = { .done = false };
	const char *wrong;

	if (n == 1)
		return raw_bad(r, words, "set what?");
	for (size_t i = 1; i < n; i++) {
		wrong = take_setting(&words[i], &set);
		if (wrong != NULL)
			return raw_bad(r, &words[i], "%s: '%.*s'", wrong,
			    (int)words[i].len, words[i].p);
	}
	if (r->dry)
		return CLI_OK;
	return raw_finish(r, "set", iscsimux_set(r->c->h, &set, raw_answered,
	    &s), &s);
}

/* --- get --- */

static void
show_number(struct cli *c, json_t *js, const char *name, uint64_t value)
{
	if (c->report != NULL)
		json_object_set_new(js, name, json_integer((json_int_t)value));
	else
		printf("    %s=%" PRIu64 "\n", name, value);
}

static void
show_string(struct cli *c, json_t *js, const char *name, const char *text)
{
	if (c->report != NULL)
		json_object_set_new(js, name, json_string(text));
	else
		printf("    %s=%s\n", name, text);
}

static void
show_state(struct raw *r, const struct iscsimux_raw_state *s)
{
	const struct iscsimux_raw_params *p = &s->params;
	struct cli *c = r->c;
	json_t *js = json_object();
	char isid[24];

	if (c->report == NULL)
		puts("# state");
	show_string(c, js, "phase", p->full_feature ? "full-feature" :
	    "login");
	for (size_t i = 0; i < NSETTINGS; i++)
		if (settings[i].bit <= ISCSIMUX_RAW_UNCHECKED)
			show_number(c, js, settings[i].name,
			    (p->flags & settings[i].bit) != 0);
	show_number(c, js, "initial-r2t",
	    (p->flags & ISCSIMUX_RAW_INITIAL_R2T) != 0);
	show_number(c, js, "immediate-data",
	    (p->flags & ISCSIMUX_RAW_IMMEDIATE_DATA) != 0);
	show_number(c, js, "discovery",
	    (p->flags & ISCSIMUX_RAW_DISCOVERY) != 0);
	show_number(c, js, "adopted",
	    (p->flags & ISCSIMUX_RAW_ADOPTED) != 0);
	show_number(c, js, "recv-dsl", p->recv_dsl);
	show_number(c, js, "send-dsl", p->send_dsl);
	show_number(c, js, "max-burst", p->max_burst);
	show_number(c, js, "first-burst", p->first_burst);
	show_number(c, js, "max-r2t", p->max_r2t);
	if ((p->flags & ISCSIMUX_RAW_NUMBERS) != 0) {
		show_number(c, js, "cmdsn", p->cmdsn);
		show_number(c, js, "expcmdsn", p->exp_cmdsn);
		show_number(c, js, "maxcmdsn", p->max_cmdsn);
		show_number(c, js, "expstatsn", p->exp_statsn);
	}
	snprintf(isid, sizeof(isid), "%02x:%02x:%02x:%02x:%02x:%02x",
	    p->isid[0], p->isid[1], p->isid[2], p->isid[3], p->isid[4],
	    p->isid[5]);
	show_string(c, js, "isid", isid);
	show_number(c, js, "tsih", p->tsih);
	show_string(c, js, "target", p->target);
	show_number(c, js, "read-deadline-ms", s->read_deadline_ms);
	show_number(c, js, "write-deadline-ms", s->write_deadline_ms);
	show_number(c, js, "bytes-in", s->bytes_in);
	show_number(c, js, "bytes-out", s->bytes_out);
	show_number(c, js, "pdus-in", s->pdus_in);
	show_number(c, js, "pdus-out", s->pdus_out);
	show_number(c, js, "pending", s->pending);
	show_number(c, js, "live", s->live);
	show_number(c, js, "unsent", s->unsent);
	show_string(c, js, "local", s->local);
	show_string(c, js, "peer", s->peer);
	if (c->report != NULL) {
		if (json_object_get(c->report, "states") == NULL)
			json_object_set_new(c->report, "states",
			    json_array());
		json_array_append(json_object_get(c->report, "states"), js);
	} else
		fflush(stdout);
	json_decref(js);
}

static enum cli_status
run_get(struct raw *r, const struct pdu_word *words, size_t n)
{
	struct raw_status s = { .done = false };
	enum cli_status status;

	if (n > 1)
		return raw_bad(r, &words[1], "get has no words behind it");
	if (r->dry)
		return CLI_OK;
	status = raw_finish(r, "get", iscsimux_get_state(r->c->h,
	    raw_state_answered, &s), &s);
	if (status == CLI_OK)
		show_state(r, &s.state);
	return status;
}

/* --- share, unshare, close --- */

static enum cli_status
run_share(struct raw *r, const struct pdu_word *words, size_t n)
{
	struct raw_status s = { .done = false };
	char name[ISCSIMUX_NAME_MAX + 1];
	enum cli_status status;

	if (n != 2)
		return raw_bad(r, words, "share wants a name");
	if (words[1].len > ISCSIMUX_NAME_MAX)
		return raw_bad(r, &words[1], "a name has at most %d bytes",
		    ISCSIMUX_NAME_MAX);
	if (r->dry)
		return CLI_OK;
	memcpy(name, words[1].p, words[1].len);
	name[words[1].len] = '\0';
	status = raw_finish(r, "share", iscsimux_share(r->c->h, name,
	    raw_answered, &s), &s);
	if (status != CLI_OK)
		return status;
	r->shared = true;
	if (r->c->report == NULL) {
		printf("# shared as %s\n", name);
		fflush(stdout);
	}
	return CLI_OK;
}

static enum cli_status
run_unshare(struct raw *r, const struct pdu_word *words, size_t n)
{
	struct raw_status s = { .done = false };
	enum cli_status status;

	if (n > 1)
		return raw_bad(r, &words[1], "unshare has no words behind it");
	if (r->dry)
		return CLI_OK;
	status = raw_finish(r, "unshare", iscsimux_unshare(r->c->h,
	    raw_state_answered, &s), &s);
	if (status != CLI_OK)
		return status;
	r->shared = false;
	r->cmdsn = s.state.params.cmdsn;
	r->expstatsn = s.state.params.exp_statsn;
	show_state(r, &s.state);
	return CLI_OK;
}

static enum cli_status
run_close(struct raw *r, const struct pdu_word *words, size_t n)
{
	struct raw_status s = { .done = false };

	if (n > 1)
		return raw_bad(r, &words[1], "close has no words behind it");
	if (r->dry)
		return CLI_OK;
	return raw_finish(r, "close", iscsimux_close_raw(r->c->h,
	    raw_answered, &s), &s);
}

/* --- expect --- */

static enum cli_status
run_expect(struct raw *r, const struct pdu_word *words, size_t n)
{
	static const char *const names[] = { "auto", "none", "one", "many" };

	for (int i = 0; n == 2 && i < 4; i++)
		if (pdu_word_is(&words[1], names[i])) {
			r->expect = i;
			return CLI_OK;
		}
	return raw_bad(r, &words[n > 1 ? 1 : 0],
	    "expect wants auto, none, one or many");
}

/* --- wait --- */

enum raw_event {
	WAIT_TASKS,
	WAIT_CLOSED,
	WAIT_SIGNAL,
	WAIT_PDU
};

static bool
has_happened(struct raw *r, enum raw_event what, uint8_t opcode)
{
	switch (what) {
	case WAIT_TASKS:
		return LIST_EMPTY(&r->tasks);
	case WAIT_CLOSED:
		return r->ended;
	case WAIT_SIGNAL:
		return r->c->interrupts > 0;
	default:
		return r->unseen[opcode] > 0;
	}
}

/* Can it still happen? */
static bool
is_over(const struct raw *r, enum raw_event what)
{
	if (r->c->closed || (r->c->interrupts > 0 && what != WAIT_SIGNAL))
		return true;
	return what == WAIT_PDU && r->ended && LIST_EMPTY(&r->tasks);
}

static enum cli_status
wait_for(struct raw *r, enum raw_event what, uint8_t opcode, int64_t until)
{
	struct cli *c = r->c;

	while (!has_happened(r, what, opcode) && !is_over(r, what) &&
	    cli_now() < until)
		cli_step(c, NULL, until);
	if (has_happened(r, what, opcode))
		return CLI_OK;
	if (c->closed)
		return cli_fail_closed(c);
	if (c->interrupts > 0)
		return cli_fail_interrupted(c);
	if (r->ended)
		return raw_fail(r, CLI_FAILED, "the connection has ended: %s",
		    r->why);
	return raw_fail(r, CLI_FAILED, "waited in vain");
}

enum cli_status
raw_wait_tasks(struct raw *r, int64_t until)
{
	return wait_for(r, WAIT_TASKS, 0, until);
}

/* What a word of wait names; false if nothing. */
static bool
take_event(const struct pdu_word *w, enum raw_event *what, uint8_t *opcode)
{
	const struct pdu_type *t = pdu_type_named(w->p, w->len);

	if (pdu_word_is(w, "tasks"))
		*what = WAIT_TASKS;
	else if (pdu_word_is(w, "closed"))
		*what = WAIT_CLOSED;
	else if (pdu_word_is(w, "signal"))
		*what = WAIT_SIGNAL;
	else if (t != NULL && iscsi_from_target(t->opcode)) {
		*what = WAIT_PDU;
		*opcode = t->opcode;
	} else
		return false;
	return true;
}

static enum cli_status
run_wait(struct raw *r, const struct pdu_word *words, size_t n)
{
	enum raw_event what = WAIT_TASKS;
	uint32_t ms = r->c->opt.timeout;
	enum cli_status status;
	bool timed = false;
	uint8_t opcode = 0;
	size_t i = 1;

	if (i < n && take_event(&words[i], &what, &opcode))
		i++;
	if (i < n && take_seconds(words[i].p, words[i].len, &ms)) {
		timed = true;
		i++;
	}
	if (i < n)
		return raw_bad(r, &words[i], "wait wants tasks, closed, "
		    "signal or the name of a PDU of the target, and then "
		    "seconds, not '%.*s'", (int)words[i].len, words[i].p);
	if (r->dry)
		return CLI_OK;
	status = wait_for(r, what, opcode, what == WAIT_SIGNAL && !timed ?
	    INT64_MAX : cli_now() + ms);
	if (status == CLI_OK && what == WAIT_PDU)
		r->unseen[opcode]--;
	if (status == CLI_OK && what == WAIT_SIGNAL)
		r->c->interrupts = 0;
	return status;
}

static const struct {
	const char	*name;
	enum cli_status	(*run)(struct raw *r, const struct pdu_word *words,
			    size_t n);
} commands[] = {
	{ "close", run_close },
	{ "expect", run_expect },
	{ "get", run_get },
	{ "set", run_set },
	{ "share", run_share },
	{ "unshare", run_unshare },
	{ "wait", run_wait },
};

bool
raw_command(struct raw *r, const struct pdu_word *words, size_t n,
    enum cli_status *status)
{
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		if (!pdu_word_is(&words[0], commands[i].name))
			continue;
		*status = commands[i].run(r, words, n);
		return true;
	}
	return false;
}
