/* SPDX-License-Identifier: ISC */
/*
 * Text Requests in the full feature phase: SendTargets (RFC 7143 appendix C)
 * and MaxRecvDataSegmentLength.  One exchange at a time (section 11.10).
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/text.h"
#include "tests/target/alloc.h"
#include "tests/target/conn.h"

#define TEXT_REPLY_MIN 8192u

static void
text_forget(struct conn *c)
{
	free(c->text.buf);
	free(c->text_in);
	c->text.buf = NULL;
	c->text_in = NULL;
	c->text_in_len = 0;
}

/* A Text Response; TTT ffffffff ends the exchange. */
static struct out *
text_response(struct conn *c, uint32_t itt, uint32_t ttt)
{
	struct out *o = out_new(c, ISCSI_OP_TEXT_RSP);

	put_be32(o->bhs + ISCSI_OFF_ITT, itt);
	put_be32(o->bhs + ISCSI_OFF_TTT, ttt);
	if (ttt != ISCSI_TAG_NONE)
		o->bhs[ISCSI_OFF_FLAGS] = 0;
	return o;
}

/* How much of the first `n` bytes of what is left are whole pairs; all of them
 * if no pair is whole. */
static uint32_t
whole_pairs(const struct conn *c, uint32_t n)
{
	uint32_t len = n;

	while (len > 0 && c->text.buf[c->text.pos + len - 1] != '\0')
		len--;
	return len > 0 ? len : n;
}

static void
text_send(struct conn *c)
{
	bool cut = true;
	uint32_t most = c->target->options.text_split;
	uint32_t n = c->text.len - c->text.pos;
	bool more;
	struct out *o;

	if (most > c->params.max_recv_dsl)
		most = c->params.max_recv_dsl;
	more = n > most;
	if (more)
		n = most;
	if (more && c->target->options.text_whole) {
		n = whole_pairs(c, most);
		cut = c->text.buf[c->text.pos + n - 1] != '\0';
	}
	o = text_response(c, c->text.itt, more ? c->text.ttt : ISCSI_TAG_NONE);
	if (more && cut)
		o->bhs[ISCSI_OFF_FLAGS] = ISCSI_TEXT_CONTINUE;
	out_copy(o, c->text.buf + c->text.pos, n);
	c->text.pos += n;
	out_queue(c, o, SN_CONSUME);
	if (!more)
		text_forget(c);
}

/* Where a portal can be reached; one bound to every address is reached where
 * this connection is. */
static void
put_address(struct conn *c, const struct portal *p, struct text_writer *w)
{
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);
	char value[80];
	char here[64];

	(void)snprintf(here, sizeof(here), "%s", p->name);
	if ((strncmp(p->name, "0.0.0.0:", 8) == 0 ||
	    strncmp(p->name, "[::]:", 5) == 0) &&
	    getsockname(c->source.fd, (struct sockaddr *)&ss, &len) == 0)
		portal_format((struct sockaddr *)&ss, len, here, sizeof(here));
	(void)snprintf(value, sizeof(value), "%s,1", here);
	text_put(w, "TargetAddress", value);
}

/*
 * What the command line adds.  Addresses of the same target follow its name,
 * and those of ours come right behind its own.
 */
static void
put_advertised(struct conn *c, struct text_writer *w)
{
	const struct options *o = &c->target->options;
	char name[ISCSI_NAME_MAX + 1], last[ISCSI_NAME_MAX + 1];
	const char *address;
	unsigned i;

	(void)snprintf(last, sizeof(last), "%s", o->target_name);
	for (i = 0; i < o->nadvertised; i++) {
		address = strchr(o->advertised[i], '=');
		(void)snprintf(name, sizeof(name), "%.*s",
		    (int)strcspn(o->advertised[i], "="), o->advertised[i]);
		if (address == NULL || strcmp(name, last) != 0)
			text_put(w, "TargetName", name);
		if (address != NULL)
			text_put(w, "TargetAddress", address + 1);
		(void)snprintf(last, sizeof(last), "%s", name);
	}
}

static void
send_targets(struct conn *c, const struct text_pair *pair,
    struct text_writer *w)
{
	const char *name = c->target->options.target_name;
	unsigned i;

	if (text_value_is(pair, "All") ? !c->discovery :
	    pair->value_len > 0 && !text_value_is(pair, name)) {
		text_put(w, "SendTargets", "Reject");
		return;
	}
	text_put(w, "TargetName", name);
	for (i = 0; i < c->target->nportals; i++)
		put_address(c, &c->target->portals[i], w);
	if (text_value_is(pair, "All"))
		put_advertised(c, w);
}

/* Room for every answer there can be. */
static size_t
reply_size(const struct conn *c)
{
	const struct options *o = &c->target->options;
	size_t size = TEXT_REPLY_MIN;
	unsigned i;

	for (i = 0; i < o->nadvertised; i++)
		size += strlen(o->advertised[i]) +
		    sizeof("TargetName=") + sizeof("TargetAddress=");
	return size;
}

static int
text_take(struct conn *c, const struct text_pair *pair, struct text_writer *w)
{
	char name[TEXT_KEY_MAX + 1];
	uint64_t value;

	if (text_key_is(pair, "SendTargets")) {
		send_targets(c, pair, w);
	} else if (text_key_is(pair, "MaxRecvDataSegmentLength")) {
		if (text_number(pair, ISCSI_DSL_MAX, &value) < 0 || value < 512)
			return conn_protocol_error(c,
			    "MaxRecvDataSegmentLength=%s", pair->value);
		c->params.max_recv_dsl = (uint32_t)value;
	} else {
		(void)snprintf(name, sizeof(name), "%.*s", (int)pair->key_len,
		    pair->key);
		text_put(w, name, "Reject");
	}
	return 0;
}

/* The initiator's text is complete. */
static int
text_answer(struct conn *c, uint32_t itt)
{
	struct text_reader r;
	struct text_writer w;
	struct text_pair pair;
	size_t size = reply_size(c);
	enum text_error e;

	c->text.buf = xalloc(size);
	c->text.itt = itt;
	c->text.ttt = c->next_ttt++;
	c->text.pos = 0;
	text_writer_init(&w, c->text.buf, size);
	text_reader_init(&r, c->text_in, c->text_in_len);
	while ((e = text_next(&r, &pair)) == TEXT_OK)
		if (text_take(c, &pair, &w) < 0)
			return -1;
	if (e != TEXT_END || w.overflow)
		return conn_protocol_error(c, "Text Request: %s",
		    text_error_name(e));
	c->text.len = (uint32_t)w.len;
	text_send(c);
	return 0;
}

static int
text_end(struct conn *c)
{
	const uint8_t *bhs = c->rx.bhs;
	uint32_t itt = iscsi_itt(bhs);

	c->text_in_len += iscsi_dsl(bhs);
	if (c->text.buf != NULL) {
		text_send(c);
		return 0;
	}
	if (!(bhs[ISCSI_OFF_FLAGS] & ISCSI_FLAG_FINAL)) {
		c->text.itt = itt;
		out_queue(c, text_response(c, itt, c->text.ttt), SN_CONSUME);
		return 0;
	}
	return text_answer(c, itt);
}

int
text_header(struct conn *c)
{
	const uint8_t *bhs = c->rx.bhs;
	uint8_t flags = bhs[ISCSI_OFF_FLAGS];
	uint32_t ttt = iscsi_ttt(bhs);
	bool open = c->text_in != NULL;

	if ((flags & ISCSI_FLAG_FINAL) && (flags & ISCSI_TEXT_CONTINUE))
		return conn_protocol_error(c, "Text Request with F and C");
	if (ttt == ISCSI_TAG_NONE) {
		/* Starts anew whatever was going on (section 11.10.4). */
		text_forget(c);
		c->text_in = xalloc(CONN_TEXT_MAX);
		c->text.ttt = c->next_ttt++;
		c->target->counters.texts++;
	} else if (!open || ttt != c->text.ttt || iscsi_itt(bhs) !=
	    c->text.itt) {
		return conn_protocol_error(c, "Text Request continues nothing: "
		    "ITT %08x TTT %08x", iscsi_itt(bhs), ttt);
	}
	if (c->text.buf != NULL && iscsi_dsl(bhs) > 0)
		return conn_protocol_error(c,
		    "Text Request with text answers the C bit");
	if (iscsi_dsl(bhs) > CONN_TEXT_MAX - c->text_in_len)
		return conn_protocol_error(c, "text is too long");
	c->rx.dst = (uint8_t *)c->text_in + c->text_in_len;
	c->rx.room = iscsi_dsl(bhs);
	c->rx.end = text_end;
	return 0;
}
