/* SPDX-License-Identifier: ISC */
/*
 * iscsimux raw: a raw connection from its opening to its end, PDUs out and
 * in, and the numbers that follow from them.  The script is cli_script.c's,
 * commands in it are cli_raw_commands.c's.
 */
#include "config.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/cli_raw.h"
#include "proto/iscsi.h"

/* --- messages --- */

static void
worsen(struct raw *r, enum cli_status status)
{
	if (r->status == CLI_OK || status == CLI_UNKNOWN)
		r->status = status;
}

enum cli_status
raw_bad(struct raw *r, const struct pdu_word *w, const char *fmt, ...)
{
	char text[CLI_TEXT_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return cli_fail(r->c, CLI_USAGE, "%s:%u:%u: %s", r->script.name,
	    w != NULL ? w->line : r->line, w != NULL ? w->column : 1, text);
}

enum cli_status
raw_fail(struct raw *r, enum cli_status status, const char *fmt, ...)
{
	char text[CLI_TEXT_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return cli_fail(r->c, status, "%s:%u: %s", r->script.name, r->line,
	    text);
}

/* --- what comes in --- */

/* Keep what later lines may refer to. */
static void
remember(struct raw *r, const uint8_t *bhs)
{
	uint8_t opcode = iscsi_opcode(bhs);

	memcpy(r->last[opcode], bhs, PDU_TEXT_BHS);
	r->stamp[opcode] = ++r->received;
	r->unseen[opcode]++;
	if (iscsi_consumes_statsn(bhs))
		r->expstatsn = get_be32(bhs + ISCSI_OFF_STATSN) + 1;
}

/* $NAME: the field in the PDU that came last and has it. */
static bool
find_value(void *arg, const char *name, size_t len, uint64_t *value)
{
	const struct raw *r = arg;
	const struct pdu_field *f;
	uint64_t newest = 0;

	*value = 0;
	if (r->dry)
		return true;
	for (uint8_t i = 0; i < RAW_OPCODES; i++) {
		f = pdu_field_named(pdu_type_of(i), name, len);
		if (f == NULL || r->stamp[i] <= newest || f->bits > 64)
			continue;
		newest = r->stamp[i];
		*value = pdu_get(r->last[i], f);
	}
	return newest > 0;
}

static void
on_pdu(struct cli *c, const struct iscsimux_pdu *pdu)
{
	remember(c->raw, pdu->bhs);
	cli_pdu_show(c, pdu, 0, pdu->unmatched ? "nobody waits for it" :
	    "unsolicited");
}

static void
on_ended(struct cli *c, const struct iscsimux_event *e)
{
	struct raw *r = c->raw;

	r->ended = true;
	strlcpy(r->why, *e->text != '\0' ? e->text :
	    e->code != 0 ? strerror((int)e->code) : "closed", sizeof(r->why));
	if (c->report == NULL) {
		printf("# closed: %s; %" PRIu64 " bytes in, %" PRIu64
		    " out\n", r->why, e->bytes_in, e->bytes_out);
		fflush(stdout);
		return;
	}
	json_object_set_new(c->report, "closed", json_pack("{s:i, s:s, s:I, "
	    "s:I}", "errno", (int)e->code, "message", r->why, "bytes_in",
	    (json_int_t)e->bytes_in, "bytes_out", (json_int_t)e->bytes_out));
}

/* --- tasks --- */

static void
task_free(struct raw_task *t)
{
	struct raw_task *of, *next;

	/* PDUs that belong to it are read until it ends, too. */
	for (of = LIST_FIRST(&t->r->tasks); of != NULL; of = next) {
		next = LIST_NEXT(of, entry);
		if (of->parent != t)
			continue;
		LIST_REMOVE(of, entry);
		pdu_text_free(&of->pdu);
		free(of);
	}
	LIST_REMOVE(t, entry);
	if (t->waits)
		t->r->waiting--;
	pdu_text_free(&t->pdu);
	free(t);
}

static struct raw_task *
task_find(struct raw *r, uint32_t itt)
{
	struct raw_task *t;

	LIST_FOREACH(t, &r->tasks, entry)
		if (t->waits && t->itt == itt)
			return t;
	return NULL;
}

static void
show_tag(struct raw_task *t)
{
	if (t->r->c->report == NULL) {
		printf("# line %u: itt=0x%08" PRIx32 "\n", t->line, t->itt);
		fflush(stdout);
	}
}

static void
on_outcome(struct raw_task *t, const struct iscsimux_answer *a)
{
	/* That a PDU which nothing answers was accepted is no news. */
	if (a->outcome == ISCSIMUX_COMPLETED)
		return;
	cli_pdu_show_end(t->r->c, a, t->line);
	worsen(t->r, a->outcome == ISCSIMUX_UNKNOWN ? CLI_UNKNOWN :
	    CLI_FAILED);
}

static void
on_answer(struct iscsimux *h, void *cookie, const struct iscsimux_answer *a)
{
	struct raw_task *t = cookie;
	struct raw *r = t->r;

	(void)h;
	if (a->pdu != NULL) {
		remember(r, a->pdu->bhs);
		cli_pdu_show(r->c, a->pdu, t->line, a->synthetic ?
		    "made by the daemon" : NULL);
	}
	switch (a->kind) {
	case ISCSIMUX_ANSWER_PDU:
		break;
	case ISCSIMUX_ANSWER_TAG:
		t->itt = a->itt;
		show_tag(t);
		break;
	case ISCSIMUX_ANSWER_ERROR:
		cli_pdu_show_end(r->c, a, t->line);
		worsen(r, CLI_FAILED);
		break;
	case ISCSIMUX_ANSWER_OUTCOME:
		on_outcome(t, a);
		task_free(t);
		break;
	case ISCSIMUX_ANSWER_FINAL:
		task_free(t);
		break;
	}
}

/* --- what goes out --- */

/* Fill in the numbers that were not given, and count on. */
static void
number_pdu(struct raw *r, struct pdu_text *p)
{
	uint8_t opcode = iscsi_opcode(p->bhs);

	if (p->no_cmdsn)
		put_be32(p->bhs + ISCSI_OFF_CMDSN, r->shared ? 0 : r->cmdsn);
	if (p->no_expstatsn)
		put_be32(p->bhs + ISCSI_OFF_EXPSTATSN,
		    r->shared ? 0 : r->expstatsn);
	if ((iscsi_opcode_traits(opcode) & ISCSI_T_CMDSN) == 0)
		return;
	r->cmdsn = get_be32(p->bhs + ISCSI_OFF_CMDSN);
	if (!iscsi_is_immediate(p->bhs) && opcode != ISCSI_OP_LOGIN_REQ)
		r->cmdsn++;
}

/* What to wait for where neither PDU nor script says it. */
static int
expectation(struct raw *r, const struct pdu_text *p, bool fresh)
{
	uint8_t opcode = iscsi_opcode(p->bhs);
	uint32_t itt = iscsi_itt(p->bhs);

	if (p->expect != ISCSIMUX_EXPECT_DEFAULT)
		return p->expect;
	if (r->expect != ISCSIMUX_EXPECT_DEFAULT)
		return r->expect;
	if ((iscsi_opcode_traits(opcode) & ISCSI_T_OPENS) == 0)
		return ISCSIMUX_EXPECT_NONE;
	if (fresh)
		return ISCSIMUX_EXPECT_MANY;
	return itt == ISCSI_TAG_NONE || task_find(r, itt) != NULL ?
	    ISCSIMUX_EXPECT_NONE : ISCSIMUX_EXPECT_MANY;
}

/* On a session: a request of its own, or a PDU of an open one. */
static int
submit_shared(struct raw *r, struct raw_task *t,
    const struct iscsimux_pdu *pdu)
{
	unsigned flags = t->pdu.no_itt ? ISCSIMUX_ASSIGN_ITT : 0;

	t->parent = t->pdu.no_itt ? NULL : task_find(r, t->itt);
	if (t->parent != NULL)
		return iscsimux_submit_more(r->c->h, t->parent->id, pdu, 0);
	t->waits = true;
	return iscsimux_submit(r->c->h, pdu, flags, 0, on_answer, t, &t->id);
}

static int
submit(struct raw *r, struct raw_task *t)
{
	bool opens = (iscsi_opcode_traits(iscsi_opcode(t->pdu.bhs)) &
	    ISCSI_T_OPENS) != 0;
	struct iscsimux_submit_raw o = { .free_itt = t->pdu.no_itt && opens };
	const struct iscsimux_pdu pdu = {
		.bhs = t->pdu.bhs,
		.ahs = t->pdu.ahs_len > 0 ? t->pdu.ahs : NULL,
		.data = &t->iov,
		.ndata = t->pdu.data_len > 0 ? 1 : 0,
		.digests = t->pdu.digests,
	};

	t->iov.iov_base = t->pdu.data;
	t->iov.iov_len = t->pdu.data_len;
	t->itt = iscsi_itt(t->pdu.bhs);
	if (r->shared)
		return submit_shared(r, t, &pdu);
	o.expect = (enum iscsimux_expect)expectation(r, &t->pdu, o.free_itt);
	t->waits = o.expect != ISCSIMUX_EXPECT_NONE;
	/* Until the daemon has told it, no other may seem to be the same. */
	if (o.free_itt)
		t->itt = ISCSI_TAG_NONE;
	return iscsimux_submit_raw(r->c->h, &pdu, &o, on_answer, t, &t->id);
}

static enum cli_status
fail_submit(struct raw *r, int error)
{
	if (error == -EINVAL)
		return raw_fail(r, CLI_FAILED, "the lengths in the header "
		    "are not those of the PDU");
	if (error == -ENOTCONN)
		return raw_fail(r, CLI_FAILED, "there is no connection: %s",
		    r->ended ? r->why : r->c->why);
	return raw_fail(r, CLI_FAILED, "%s", iscsimux_strerror(error));
}

enum cli_status
raw_send(struct raw *r, const struct pdu_word *words, size_t n)
{
	struct raw_task *t = calloc(1, sizeof(*t));
	struct pdu_error e;
	int error;

	if (t == NULL)
		return raw_fail(r, CLI_FAILED, "out of memory");
	if (pdu_parse(words, n, find_value, r, &t->pdu, &e) != 0) {
		free(t);
		return cli_fail(r->c, CLI_USAGE, "%s:%u:%u: %s",
		    r->script.name, e.line, e.column, e.text);
	}
	if (r->dry) {
		pdu_text_free(&t->pdu);
		free(t);
		return CLI_OK;
	}
	t->r = r;
	t->line = r->line;
	number_pdu(r, &t->pdu);
	error = submit(r, t);
	if (error != 0) {
		pdu_text_free(&t->pdu);
		free(t);
		return fail_submit(r, error);
	}
	LIST_INSERT_HEAD(&r->tasks, t, entry);
	if (t->waits)
		r->waiting++;
	return CLI_OK;
}

/* --- requests about the connection --- */

void
raw_answered(struct iscsimux *h, void *cookie, int error)
{
	struct raw_status *s = cookie;

	(void)h;
	s->done = true;
	s->error = error;
}

void
raw_state_answered(struct iscsimux *h, void *cookie, int error,
    const struct iscsimux_raw_state *state)
{
	struct raw_status *s = cookie;

	raw_answered(h, cookie, error);
	if (state != NULL)
		s->state = *state;
}

enum cli_status
raw_finish(struct raw *r, const char *what, int error, struct raw_status *s)
{
	struct cli *c = r->c;
	int64_t until = cli_now() + c->opt.timeout + CLI_GRACE;

	while (error == 0 && !s->done && c->interrupts == 0 &&
	    cli_now() < until)
		cli_step(c, NULL, until);
	if (error != 0)
		return raw_fail(r, CLI_FAILED, "%s: %s", what,
		    iscsimux_strerror(error));
	if (!s->done) {
		/* It must not outlive what its cookie points to. */
		iscsimux_disconnect(c->h);
		return c->interrupts > 0 ? cli_fail_interrupted(c) :
		    raw_fail(r, CLI_UNREACHABLE, "%s: the daemon does not "
		    "answer", what);
	}
	if (c->closed)
		return cli_fail_closed(c);
	if (s->error == 0)
		return CLI_OK;
	return raw_fail(r, s->error == -EACCES ? CLI_UNREACHABLE :
	    CLI_FAILED, "%s: %s", what, iscsimux_error_text(c->h));
}

static enum cli_status
open_connection(struct raw *r)
{
	struct cli *c = r->c;
	const struct iscsimux_open o = {
		.portal = c->opt.portal,
		.timeout_ms = c->opt.timeout,
		.deadline_ms = c->opt.timeout,
		.events = ISCSIMUX_EVENTS_ALL,
	};
	const struct iscsimux_adopt a = {
		.fd = c->opt.adopt_fd,
		.deadline_ms = c->opt.timeout,
		.events = ISCSIMUX_EVENTS_ALL,
	};
	struct raw_status s = { .done = false };

	if (c->opt.portal != NULL)
		return raw_finish(r, c->opt.portal, iscsimux_open(c->h, &o,
		    raw_answered, &s), &s);
	return raw_finish(r, "adopt", iscsimux_adopt(c->h, &a, raw_answered,
	    &s), &s);
}

static enum cli_status
run(struct raw *r)
{
	enum cli_status status;

	if (!r->script.stream) {
		r->dry = true;
		status = raw_run(r);
		r->dry = false;
		if (status != CLI_OK)
			return status;
	}
	status = cli_connect(r->c);
	if (status == CLI_OK)
		status = open_connection(r);
	if (status == CLI_OK)
		status = raw_run(r);
	return status != CLI_OK ? status : r->status;
}

enum cli_status
cli_raw(struct cli *c)
{
	struct raw *r;
	enum cli_status status;

	if ((c->opt.portal == NULL) == (c->opt.adopt_fd == -1))
		return cli_fail(c, CLI_USAGE, "raw wants --portal HOST:PORT, "
		    "or --adopt-fd");
	r = calloc(1, sizeof(*r));
	if (r == NULL)
		return cli_fail(c, CLI_FAILED, "out of memory");
	r->c = c;
	r->cmdsn = 1;
	LIST_INIT(&r->tasks);
	c->raw = r;
	c->on_pdu = on_pdu;
	c->on_ended = on_ended;
	status = raw_script_open(r, c->opt.script);
	if (status == CLI_OK)
		status = run(r);
	/* Tasks that are open end now, and free what is theirs. */
	c->on_pdu = NULL;
	c->on_ended = NULL;
	iscsimux_disconnect(c->h);
	if (status == CLI_OK)
		status = r->status;
	raw_script_close(r);
	free(r);
	c->raw = NULL;
	return status;
}
