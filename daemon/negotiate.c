/* SPDX-License-Identifier: ISC */
/*
 * The Text Request that a target asks for by Asynchronous Message 4 (RFC 7143
 * sections 6.4 and 11.9.1).  It is empty, for the daemon has no wish: the
 * target may say what it has to say.  Names, and what vendors have added, end
 * here.  What would change a limit of the session does not, nor does silence:
 * then the session logs out and in again, and the login negotiates it all.
 */
#include "config.h"

#include <string.h>

#include "daemon/session_internal.h"
#include "proto/iscsi.h"
#include "proto/text.h"

/* Text of a target that is looked at, in one response. */
#define TEXT_MAX	1024
/* What any target takes in one PDU (RFC 7143 section 13.12). */
#define ANSWER_MAX	512
#define ROUNDS_MAX	8

static void
give_up(struct session *s, const char *why)
{
	session_relogin(s, s->negotiate_rest, why);
}

/* A Text Request will go out, or one is open: it will do as well. */
static bool
is_pending(const struct session *s)
{
	const struct task *t;

	if (s->text != NULL && (s->text->kind == TASK_NEGOTIATE ||
	    s->text->state == TASK_SENT))
		return true;
	TAILQ_FOREACH(t, &s->textq, queue_link) {
		if (t->kind == TASK_NEGOTIATE)
			return true;
	}
	return false;
}

/*
 * Half of the time is the target's.  The other half is for what the clients
 * have open, should a Logout be needed.  A target that lets the daemon wait
 * for longer than abort-timeout does not mean to answer.
 */
static uint32_t
answer_time(const struct session *s, uint32_t within_ms)
{
	uint32_t limit = s->worker->config->limits.abort_timeout;

	return within_ms / 2 < limit ? within_ms / 2 : limit;
}

void
negotiate_begin(struct session *s, uint32_t within_ms, const char *why)
{
	uint8_t bhs[ISCSI_BHS_LEN] = {
		[ISCSI_OFF_OPCODE] = ISCSI_OP_TEXT_REQ,
		[ISCSI_OFF_FLAGS] = ISCSI_FLAG_FINAL,
	};
	uint32_t ms = answer_time(s, within_ms);
	struct task *t;

	if (s->phase != SESSION_UP || is_pending(s))
		return;
	if (ms == 0) {
		session_relogin(s, within_ms, why);
		return;
	}
	put_be32(bhs + ISCSI_OFF_TTT, ISCSI_TAG_NONE);
	t = session_tx_daemon(s, TASK_NEGOTIATE, bhs, &s->textq);
	if (t == NULL)
		return;
	s->negotiate_rest = within_ms - ms;
	task_set_deadline(t, ms);
}

/* Keys that begin so are not of any RFC (RFC 7143 section 6.1). */
static bool
is_extension(const struct text_pair *pair)
{
	return *pair->key == 'X';
}

/*
 * One pair of the target's, and what is to be answered.  False if the session
 * can not agree to it as it is.
 */
static bool
take_pair(const struct session *s, const struct text_pair *pair,
    struct text_writer *answer)
{
	char key[TEXT_KEY_MAX + 1];
	uint64_t length;

	if (is_extension(pair)) {
		memcpy(key, pair->key, pair->key_len);
		key[pair->key_len] = '\0';
		text_put(answer, key, "NotUnderstood");
		return true;
	}
	if (text_key_is(pair, "MaxRecvDataSegmentLength"))
		return text_number(pair, UINT32_MAX, &length) == 0 &&
		    length == s->params.send_dsl;
	return text_key_is(pair, "TargetAlias");
}

/* NULL if the response is agreed to, else why it is not. */
static const char *
take_text(const struct session *s, const struct rxpdu *pdu,
    struct text_writer *answer)
{
	char text[TEXT_MAX];
	size_t len = slices_copy(pdu->data, text, sizeof(text));
	enum text_error error;
	struct text_reader reader;
	struct text_pair pair;

	if (len < pdu->data->len ||
	    (pdu->bhs[ISCSI_OFF_FLAGS] & ISCSI_TEXT_CONTINUE) != 0)
		return "the target has too much to negotiate";
	text_reader_init(&reader, text, len);
	while ((error = text_next(&reader, &pair)) == TEXT_OK) {
		if (!take_pair(s, &pair, answer))
			return "the target wants to negotiate what only a "
			    "login can";
	}
	if (error != TEXT_END)
		return text_error_name(error);
	return answer->overflow ? "the target has too much to negotiate" :
	    NULL;
}

/* The target waits for the next request of the exchange. */
static void
go_on(struct task *t, const struct rxpdu *pdu, const struct text_writer *text)
{
	struct session *s = t->session;
	struct txpdu *next = txpdu_new(s->worker);

	if (next == NULL || (text->len > 0 && slices_add_copy(s->worker->pool,
	    &next->data, text->buf, (uint32_t)text->len) != 0)) {
		txpdu_free(s->worker, next);
		session_fail(s, "no memory for a Text Request");
		return;
	}
	next->bhs[ISCSI_OFF_OPCODE] = ISCSI_OP_TEXT_REQ;
	next->bhs[ISCSI_OFF_FLAGS] = ISCSI_FLAG_FINAL;
	iscsi_set_dsl(next->bhs, (uint32_t)text->len);
	put_be64(next->bhs + ISCSI_OFF_LUN, iscsi_lun(pdu->bhs));
	put_be32(next->bhs + ISCSI_OFF_TTT, iscsi_ttt(pdu->bhs));
	t->pdu = next;
	session_tx_request(t);
}

static void
over(struct task *t, const char *why)
{
	struct session *s = t->session;

	task_free(t);
	if (why != NULL)
		give_up(s, why);
	else
		log_info(s->log, "session %s: nothing needed to be "
		    "negotiated", s->config->name);
}

void
negotiate_response(struct task *t, const struct rxpdu *pdu)
{
	struct session *s = t->session;
	bool final = iscsi_is_final(pdu->bhs);
	char buf[ANSWER_MAX];
	struct text_writer answer;
	const char *why;

	/* The next request may wait for the window.  With F=1 the tag says
	 * nothing, as for clients' Text. */
	if (t->pdu != NULL ||
	    (!final && iscsi_ttt(pdu->bhs) == ISCSI_TAG_NONE)) {
		session_fail(s, "the target sent a Text Response that nobody "
		    "asked for, or that leads nowhere");
		return;
	}
	text_writer_init(&answer, buf, sizeof(buf));
	why = take_text(s, pdu, &answer);
	if (why == NULL && ++t->rx_pdus > ROUNDS_MAX)
		why = "the target has too much to negotiate";
	/* Behind a Logout nothing is requested. */
	if (why != NULL || final || s->phase != SESSION_UP)
		over(t, why);
	else
		go_on(t, pdu, &answer);
}

void
negotiate_rejected(struct task *t)
{
	over(t, "the target rejected the Text Request that it asked for");
}

/* What still comes of it is stale; a Logout need not wait for that. */
void
negotiate_overdue(struct task *t)
{
	t->answered = true;
	give_up(t->session, "no answer to the Text Request that the target "
	    "asked for");
}
