/* SPDX-License-Identifier: ISC */
/*
 * The secrets in the text of a login, byte by byte.
 */
#include "config.h"

#include "daemon/trace_mask.h"
#include "proto/iscsi.h"

enum mask_state {
	MASK_KEY,	/* all bytes of the key so far fit */
	MASK_OTHER,	/* nothing to hide before the next NUL */
	MASK_SECRET	/* everything is hidden before the next NUL */
};

/* "CHAP_C=" and "CHAP_R=" differ at this byte. */
static const char key[] = "CHAP_*=";
#define KEY_LEN		(sizeof(key) - 1)

static bool
fits(uint8_t at, uint8_t byte)
{
	if (key[at] == '*')
		return byte == 'C' || byte == 'R';
	return byte == (uint8_t)key[at];
}

size_t
trace_mask_text(struct trace_mask *m, const uint8_t *in, uint8_t *out,
    size_t len)
{
	size_t hidden = 0;

	for (size_t i = 0; i < len; i++) {
		bool hide = m->state == MASK_SECRET && in[i] != '\0';

		if (out != NULL)
			out[i] = hide ? 'x' : in[i];
		hidden += hide;
		if (in[i] == '\0')
			*m = (struct trace_mask){ .state = MASK_KEY };
		else if (m->state != MASK_KEY)
			continue;
		else if (!fits(m->matched, in[i]))
			m->state = MASK_OTHER;
		else if (++m->matched == KEY_LEN)
			m->state = MASK_SECRET;
	}
	return hidden;
}

void
trace_mask_pdu_end(struct trace_mask *m, const uint8_t *bhs)
{
	if ((bhs[ISCSI_OFF_FLAGS] & ISCSI_TEXT_CONTINUE) == 0)
		*m = (struct trace_mask){ .state = MASK_KEY };
}
