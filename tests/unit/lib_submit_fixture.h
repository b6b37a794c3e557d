/* SPDX-License-Identifier: ISC */
/*
 * A raw connection of libiscsimux on which up to MANY PDUs are submitted, and
 * how each was answered.
 */
#ifndef ISCSIMUX_TESTS_LIB_SUBMIT_FIXTURE_H
#define ISCSIMUX_TESTS_LIB_SUBMIT_FIXTURE_H

#include <string.h>

#include "tests/unit/fakedaemon.h"
#include "tests/unit/unit.h"

#define MANY	3

static struct fake f;

/* The answers of one PDU, in the order in which they came. */
struct got {
	unsigned	pdus, ends, errors, tags;
	uint32_t	itt;
	struct iscsimux_answer last;
	char		text[MSG_TEXT_MAX + 1];
	uint8_t		bhs[ISCSI_BHS_LEN];
	struct iscsimux_digests digests;
};

static struct got got[MANY];

static void
on_answer(struct iscsimux *h, void *cookie, const struct iscsimux_answer *a)
{
	struct got *g = cookie;

	(void)h;
	ck_assert_uint_eq(g->ends, 0);
	g->last = *a;
	strlcpy(g->text, a->text, sizeof(g->text));
	if (a->pdu != NULL) {
		memcpy(g->bhs, a->pdu->bhs, sizeof(g->bhs));
		g->digests = a->pdu->digests;
	}
	switch (a->kind) {
	case ISCSIMUX_ANSWER_PDU:
		g->pdus++;
		break;
	case ISCSIMUX_ANSWER_FINAL:
	case ISCSIMUX_ANSWER_OUTCOME:
		g->ends++;
		break;
	case ISCSIMUX_ANSWER_ERROR:
		g->errors++;
		break;
	case ISCSIMUX_ANSWER_TAG:
		/* Before anything else of the task. */
		ck_assert_uint_eq(g->pdus + g->errors + g->tags, 0);
		g->tags++;
		g->itt = a->itt;
		break;
	}
}

static void
setup(void)
{
	memset(got, 0, sizeof(got));
	fake_raw(&f);
}

static void
teardown(void)
{
	fake_close(&f);
}

/* A PDU with bytes that are not zero in every field. */
static void
make_bhs(uint8_t *bhs, uint8_t opcode)
{
	fake_pattern(bhs, ISCSI_BHS_LEN, 0x31);
	bhs[ISCSI_OFF_OPCODE] = opcode;
	bhs[ISCSI_OFF_AHS] = 0;
	iscsi_set_dsl(bhs, 0);
}

static int
submit(unsigned i, uint8_t opcode, const struct iscsimux_submit_raw *o,
    uint64_t *id)
{
	uint8_t bhs[ISCSI_BHS_LEN];
	const struct iscsimux_pdu pdu = { .bhs = bhs };

	make_bhs(bhs, opcode);
	return iscsimux_submit_raw(f.h, &pdu, o, on_answer, &got[i], id);
}

static const struct iscsimux_submit_raw none = {
	.expect = ISCSIMUX_EXPECT_NONE
};
static const struct iscsimux_submit_raw one = {
	.expect = ISCSIMUX_EXPECT_ONE
};

#endif
