/* SPDX-License-Identifier: ISC */
/*
 * iscsimux submit: one PDU on a shared session, and each PDU that comes back,
 * field by field.
 */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/cli_pdu.h"
#include "client/cli_scsi.h"
#include "proto/iscsi.h"

#define SUBMIT_WORDS	256u

struct submission {
	struct cli	*c;
	bool		 done;
	enum cli_status	 status;
	uint64_t	 id;
	bool		 asked;		/* the target wants data */
};

/* A SCSI status, or another code of failure; told if it is one. */
static enum cli_status
judge_scsi(struct cli *c, const uint8_t *bhs, const uint8_t *data, size_t len)
{
	struct iscsimux_result r = { .text = "" };

	if (iscsi_opcode(bhs) == ISCSI_OP_SCSI_RSP &&
	    bhs[ISCSI_OFF_RESPONSE] != 0)
		return cli_fail(c, CLI_FAILED, "the target answered with "
		    "Response 0x%02x", bhs[ISCSI_OFF_RESPONSE]);
	r.status = bhs[ISCSI_OFF_STATUS];
	if (r.status == SCSI_GOOD)
		return CLI_OK;
	if (iscsi_opcode(bhs) == ISCSI_OP_SCSI_RSP && len > 2) {
		r.sense = data + 2;
		r.sense_len = get_be16(data);
		if (r.sense_len > len - 2)
			r.sense_len = len - 2;
	}
	return cli_bad(c, &r);
}

static enum cli_status
judge(struct cli *c, const struct iscsimux_pdu *pdu)
{
	const uint8_t *bhs = pdu->bhs;

	switch (iscsi_opcode(bhs)) {
	case ISCSI_OP_SCSI_RSP:
	case ISCSI_OP_DATA_IN:
		return judge_scsi(c, bhs, pdu->ndata > 0 ?
		    pdu->data[0].iov_base : NULL, pdu->ndata > 0 ?
		    pdu->data[0].iov_len : 0);
	case ISCSI_OP_TMF_RSP:
		if (bhs[ISCSI_OFF_RESPONSE] == 0)
			return CLI_OK;
		return cli_fail(c, CLI_FAILED, "%s", iscsi_tmf_response_name(
		    bhs[ISCSI_OFF_RESPONSE]));
	case ISCSI_OP_REJECT:
		return cli_fail(c, CLI_FAILED, "rejected: %s",
		    iscsi_reject_reason_name(bhs[ISCSI_OFF_RESPONSE]));
	default:
		return CLI_OK;
	}
}

static enum cli_status
judge_outcome(struct submission *s, const struct iscsimux_answer *a)
{
	if (s->asked)
		return cli_fail(s->c, CLI_FAILED, "the target asks for data, "
		    "which one PDU can not bring: see iscsimux raw");
	return cli_fail(s->c, a->outcome == ISCSIMUX_UNKNOWN ? CLI_UNKNOWN :
	    CLI_FAILED, "%s: %s", iscsimux_outcome_name(a->outcome),
	    *a->text != '\0' ? a->text : iscsimux_reason_name(a->reason));
}

static void
on_answer(struct iscsimux *h, void *cookie, const struct iscsimux_answer *a)
{
	struct submission *s = cookie;

	if (a->pdu != NULL)
		cli_pdu_show(s->c, a->pdu, 0, a->synthetic ?
		    "made by the daemon" : NULL);
	if (a->kind == ISCSIMUX_ANSWER_PDU &&
	    iscsi_opcode(a->pdu->bhs) == ISCSI_OP_R2T) {
		s->asked = true;
		(void)iscsimux_cancel(h, s->id);
	}
	if (a->kind != ISCSIMUX_ANSWER_FINAL &&
	    a->kind != ISCSIMUX_ANSWER_OUTCOME)
		return;
	s->done = true;
	if (a->kind == ISCSIMUX_ANSWER_FINAL) {
		s->status = judge(s->c, a->pdu);
		return;
	}
	if (s->c->report != NULL)
		cli_pdu_show_end(s->c, a, 0);
	s->status = judge_outcome(s, a);
}

/* The arguments are words of one line. */
static char *
join(const struct cli *c)
{
	size_t size = 1;
	char *line;
	int i;

	for (i = 0; i < c->argc; i++)
		size += strlen(c->argv[i]) + 1;
	line = calloc(1, size);
	for (i = 0; line != NULL && i < c->argc; i++) {
		if (i > 0)
			strlcat(line, " ", size);
		strlcat(line, c->argv[i], size);
	}
	return line;
}

static enum cli_status
parse(struct cli *c, const char *line, struct pdu_text *t)
{
	const char *p = line, *end = line + strlen(line);
	struct pdu_word words[SUBMIT_WORDS];
	struct pdu_error e;
	unsigned number = 1;
	int n;

	n = pdu_split(&p, end, &number, words, SUBMIT_WORDS, &e);
	if (n == 0)
		return cli_fail(c, CLI_USAGE, "which PDU?");
	if (n > 0 && p < end)
		return cli_fail(c, CLI_USAGE, "submit takes one PDU, in one "
		    "line");
	if (n < 0 || pdu_parse(words, (size_t)n, NULL, NULL, t, &e) != 0)
		return cli_fail(c, CLI_USAGE, "column %u of '%s': %s",
		    e.column, line, e.text);
	if (t->no_lun)
		(void)iscsimux_lun(c->lun, t->bhs + ISCSI_OFF_LUN);
	return CLI_OK;
}

static enum cli_status
submit(struct cli *c, const struct pdu_text *t)
{
	const struct iovec iov = { t->data, t->data_len };
	const struct iscsimux_pdu pdu = {
		.bhs = t->bhs,
		.ahs = t->ahs_len > 0 ? t->ahs : NULL,
		.data = &iov,
		.ndata = t->data_len > 0 ? 1 : 0,
		.digests = t->digests,
	};
	struct submission s = { .c = c };
	int64_t until;
	int r;

	r = iscsimux_submit(c->h, &pdu, t->no_itt ? ISCSIMUX_ASSIGN_ITT : 0,
	    0, on_answer, &s, &s.id);
	if (r == -EINVAL)
		return cli_fail(c, CLI_USAGE, "the lengths in the header are "
		    "not those of the PDU, or it has digests, which need a "
		    "raw connection");
	if (r != 0)
		return cli_fail(c, CLI_FAILED, "%s", iscsimux_strerror(r));
	until = cli_now() + c->opt.timeout + CLI_GRACE;
	while (!s.done && cli_now() < until && c->interrupts == 0)
		cli_step(c, NULL, until);
	if (s.done)
		return s.status;
	iscsimux_disconnect(c->h);
	return c->interrupts > 0 ? cli_fail_interrupted(c) : s.status;
}

enum cli_status
cli_submit(struct cli *c)
{
	enum cli_status status;
	struct pdu_text t;
	char *line = join(c);

	if (line == NULL)
		return cli_fail(c, CLI_FAILED, "out of memory");
	status = parse(c, line, &t);
	if (status == CLI_OK) {
		status = cli_open(c);
		if (status == CLI_OK)
			status = submit(c, &t);
		pdu_text_free(&t);
	}
	free(line);
	return status;
}
