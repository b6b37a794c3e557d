/* SPDX-License-Identifier: ISC */
/*
 * Received PDUs, field by field: for people by the names that the notation
 * takes, with words and a hexdump behind #; for programs as JSON.
 */
#include "config.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "client/cli_pdu.h"
#include "proto/iscsi.h"

#define WORDS_COLUMN	36

static const uint8_t *
data_of(const struct iscsimux_pdu *pdu, size_t *len)
{
	*len = pdu->ndata > 0 ? pdu->data[0].iov_len : 0;
	return *len > 0 ? pdu->data[0].iov_base : NULL;
}

/* --- for people --- */

static void
show_word(const char *word, const char *meaning)
{
	if (*word == '\0')
		return;
	if (*meaning != '\0')
		printf("    %-*s # %s\n", WORDS_COLUMN - 4, word, meaning);
	else
		printf("    %s\n", word);
}

static void
show_bytes(const char *name, const uint8_t *p, size_t len)
{
	printf("    %s=", name);
	for (size_t i = 0; i < len; i++)
		printf("%s%02x", i > 0 ? ":" : "", p[i]);
	putchar('\n');
}

static void
show_fields(const uint8_t *bhs)
{
	const struct pdu_type *t = pdu_type_of(iscsi_opcode(bhs));
	char word[PDU_FIELD_TEXT], meaning[128];

	for (size_t i = 0; i < t->n; i++)
		show_word(pdu_field_text(&t->fields[i], bhs, word,
		    sizeof(word)), cli_pdu_words(bhs, &t->fields[i], meaning,
		    sizeof(meaning)));
	for (unsigned i = 0; i < PDU_TEXT_BHS; i++) {
		if ((bhs[i] & pdu_reserved_bits(t, i)) == 0)
			continue;
		snprintf(word, sizeof(word), "byte%u=0x%02x", i, bhs[i]);
		show_word(word, "reserved bits");
	}
}

static void
show_data(const uint8_t *bhs, const uint8_t *data, size_t len)
{
	const uint8_t *end = data + len;
	char sense[CLI_TEXT_MAX];
	size_t n;

	if (pdu_is_text(bhs, data, len)) {
		for (; data < end; data += n + 1) {
			n = strlen((const char *)data);
			fputs("    ", stdout);
			pdu_print_quoted(stdout, "text", data, n);
			putchar('\n');
		}
		return;
	}
	if (cli_pdu_sense(bhs, data, len, sense, sizeof(sense)))
		printf("    # sense: %s\n", sense);
	for (size_t i = 0; i < len; i += 16) {
		fputs("    # ", stdout);
		cli_hexline(data, len, i);
	}
}

static void
show_text(const struct iscsimux_pdu *pdu, unsigned line, const char *remark)
{
	const struct iscsimux_digests *d = &pdu->digests;
	const uint8_t *data;
	size_t len;

	data = data_of(pdu, &len);
	printf("%s", pdu_type_of(iscsi_opcode(pdu->bhs))->name);
	if (remark != NULL)
		printf(" # %s", remark);
	else if (line > 0)
		printf(" # answers line %u", line);
	putchar('\n');
	show_fields(pdu->bhs);
	if (pdu->ahs != NULL)
		show_bytes("ahs", pdu->ahs, iscsi_ahs_len(pdu->bhs));
	if (d->header)
		show_bytes("header-digest", d->header_word, 4);
	if (d->data)
		show_bytes("data-digest", d->data_word, 4);
	if (len > 0)
		show_data(pdu->bhs, data, len);
	fflush(stdout);
}

/* --- for programs --- */

static json_t *
field_value(const struct pdu_field *f, const uint8_t *bhs)
{
	char word[PDU_FIELD_TEXT];

	switch (f->kind) {
	case PDU_FLAG:
		return json_boolean(pdu_get(bhs, f) != 0);
	case PDU_BYTES:
		return cli_hex(bhs + f->byte, f->bits / 8u);
	case PDU_LUN:
		/* A number, or 0x and the bytes. */
		pdu_field_text(f, bhs, word, sizeof(word));
		return json_string(strchr(word, '=') + 1);
	default:
		return json_integer((json_int_t)pdu_get(bhs, f));
	}
}

static void
report_fields(json_t *js, const uint8_t *bhs)
{
	const struct pdu_type *t = pdu_type_of(iscsi_opcode(bhs));
	json_t *fields = json_object(), *words = json_object();
	char buf[128], name[16];
	const char *text;

	for (size_t i = 0; i < t->n; i++) {
		const struct pdu_field *f = &t->fields[i];

		json_object_set_new(fields, f->name, field_value(f, bhs));
		text = cli_pdu_words(bhs, f, buf, sizeof(buf));
		if (*text != '\0')
			json_object_set_new(words, f->name,
			    json_string(text));
	}
	for (unsigned i = 0; i < PDU_TEXT_BHS; i++) {
		if ((bhs[i] & pdu_reserved_bits(t, i)) == 0)
			continue;
		snprintf(name, sizeof(name), "byte%u", i);
		json_object_set_new(fields, name, json_integer(bhs[i]));
	}
	json_object_set_new(js, "fields", fields);
	json_object_set_new(js, "words", words);
}

static void
report_data(json_t *js, const uint8_t *bhs, const uint8_t *data, size_t len)
{
	const char *p = (const char *)data, *end = p + len;
	char sense[CLI_TEXT_MAX];
	json_t *text;

	json_object_set_new(js, "data", cli_hex(data, len));
	if (cli_pdu_sense(bhs, data, len, sense, sizeof(sense)))
		json_object_set_new(js, "sense", json_string(sense));
	if (!pdu_is_text(bhs, data, len))
		return;
	text = json_array();
	for (; p < end; p += strlen(p) + 1)
		json_array_append_new(text, json_string(p));
	json_object_set_new(js, "text", text);
}

static json_t *
report_entry(struct cli *c, unsigned line)
{
	json_t *js = json_object(), *all = json_object_get(c->report, "pdus");

	if (all == NULL) {
		all = json_array();
		json_object_set_new(c->report, "pdus", all);
	}
	json_array_append_new(all, js);
	if (line > 0)
		json_object_set_new(js, "answers_line", json_integer(line));
	return js;
}

static void
report_pdu(struct cli *c, const struct iscsimux_pdu *pdu, unsigned line,
    const char *remark)
{
	const struct iscsimux_digests *d = &pdu->digests;
	json_t *js = report_entry(c, line);
	const uint8_t *data;
	size_t len;

	json_object_set_new(js, "pdu",
	    json_string(pdu_type_of(iscsi_opcode(pdu->bhs))->name));
	if (remark != NULL)
		json_object_set_new(js, "remark", json_string(remark));
	report_fields(js, pdu->bhs);
	if (pdu->ahs != NULL)
		json_object_set_new(js, "ahs", cli_hex(pdu->ahs,
		    iscsi_ahs_len(pdu->bhs)));
	if (d->header)
		json_object_set_new(js, "header_digest",
		    cli_hex(d->header_word, 4));
	if (d->data)
		json_object_set_new(js, "data_digest",
		    cli_hex(d->data_word, 4));
	data = data_of(pdu, &len);
	if (len > 0)
		report_data(js, pdu->bhs, data, len);
}

void
cli_pdu_show(struct cli *c, const struct iscsimux_pdu *pdu, unsigned line,
    const char *remark)
{
	if (c->report != NULL)
		report_pdu(c, pdu, line, remark);
	else
		show_text(pdu, line, remark);
}

void
cli_pdu_show_end(struct cli *c, const struct iscsimux_answer *a,
    unsigned line)
{
	const char *text = *a->text != '\0' ? a->text :
	    iscsimux_reason_name(a->reason);
	json_t *js;

	if (c->report == NULL) {
		printf("# ");
		if (line > 0)
			printf("line %u: ", line);
		printf("%s%s: %s\n", iscsimux_outcome_name(a->outcome),
		    a->not_sent ? ", not sent" : "", text);
		fflush(stdout);
		return;
	}
	js = report_entry(c, line);
	json_object_set_new(js, "outcome",
	    json_string(iscsimux_outcome_name(a->outcome)));
	json_object_set_new(js, "reason",
	    json_string(iscsimux_reason_name(a->reason)));
	json_object_set_new(js, "message", json_string(text));
	json_object_set_new(js, "not_sent", json_boolean(a->not_sent));
}
