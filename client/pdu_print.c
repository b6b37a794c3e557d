/* SPDX-License-Identifier: ISC */
/*
 * A PDU to words.  What pdu_parse() makes of them are the same bytes.
 */
#include "config.h"

#include <inttypes.h>
#include <string.h>

#include "client/pdu_text.h"
#include "proto/iscsi.h"

static void
print_hex(FILE *to, const uint8_t *p, size_t len)
{
	size_t i;

	for (i = 0; i < len; i++)
		fprintf(to, "%s%02x", i > 0 ? ":" : "", p[i]);
}

static void
lun_text(const uint8_t *lun, char *buf, size_t size)
{
	unsigned number = (lun[0] & 0x3fu) << 8 | lun[1];
	uint8_t same[8];

	if (iscsimux_lun(number, same) == 0 && memcmp(lun, same, 8) == 0)
		snprintf(buf, size, "%u", number);
	else
		snprintf(buf, size, "0x%016" PRIx64, get_be64(lun));
}

static void
bytes_text(const uint8_t *p, size_t len, char *buf, size_t size)
{
	size_t i, used = 0;

	for (i = 0; i < len && used + 4 < size; i++) {
		snprintf(buf + used, size - used, "%s%02x", i > 0 ? ":" : "",
		    p[i]);
		used = strlen(buf);
	}
}

const char *
pdu_field_text(const struct pdu_field *f, const uint8_t *bhs, char *buf,
    size_t size)
{
	size_t used;

	if (f->kind == PDU_FLAG) {
		bool set = pdu_get(bhs, f) != 0;

		snprintf(buf, size, "%s%s", set || f->given == PDU_ONES ?
		    f->name : "", !set && f->given == PDU_ONES ? "=0" : "");
		return buf;
	}
	snprintf(buf, size, "%s=", f->name);
	used = strlen(buf);
	if (f->kind == PDU_LUN)
		lun_text(bhs + f->byte, buf + used, size - used);
	else if (f->kind == PDU_BYTES)
		bytes_text(bhs + f->byte, f->bits / 8u, buf + used,
		    size - used);
	else if (f->kind == PDU_HEX)
		snprintf(buf + used, size - used, "0x%0*" PRIx64,
		    (f->bits + 3) / 4, pdu_get(bhs, f));
	else
		snprintf(buf + used, size - used, "%" PRIu64,
		    pdu_get(bhs, f));
	return buf;
}

bool
pdu_is_text(const uint8_t *bhs, const uint8_t *data, size_t len)
{
	size_t i;

	switch (iscsi_opcode(bhs)) {
	case ISCSI_OP_LOGIN_REQ:
	case ISCSI_OP_LOGIN_RSP:
	case ISCSI_OP_TEXT_REQ:
	case ISCSI_OP_TEXT_RSP:
		break;
	default:
		return false;
	}
	for (i = 0; i < len; i++)
		if (data[i] != '\0' && (data[i] < ' ' || data[i] > '~'))
			return false;
	return len > 0 && data[len - 1] == '\0';
}

void
pdu_print_quoted(FILE *to, const char *name, const uint8_t *p, size_t len)
{
	size_t i;

	fprintf(to, "%s=\"", name);
	for (i = 0; i < len; i++) {
		if (p[i] == '"' || p[i] == '\\')
			fprintf(to, "\\%c", p[i]);
		else if (p[i] < ' ' || p[i] > '~')
			fprintf(to, "\\x%02x", p[i]);
		else
			putc(p[i], to);
	}
	putc('"', to);
}

static void
print_data(FILE *to, const uint8_t *bhs, const uint8_t *data, size_t len)
{
	const uint8_t *end = data + len;
	size_t n;

	if (len == 0)
		return;
	if (!pdu_is_text(bhs, data, len)) {
		fputs(" data=", to);
		print_hex(to, data, len);
		return;
	}
	for (; data < end; data += n + 1) {
		n = strlen((const char *)data);
		putc(' ', to);
		pdu_print_quoted(to, "text", data, n);
	}
}

void
pdu_print(FILE *to, const uint8_t *bhs, const uint8_t *ahs,
    const uint8_t *data, size_t len, const struct iscsimux_digests *digests)
{
	const struct pdu_type *t = pdu_type_of(iscsi_opcode(bhs));
	char buf[PDU_FIELD_TEXT];
	unsigned i;

	fputs(t->name, to);
	for (size_t j = 0; j < t->n; j++) {
		pdu_field_text(&t->fields[j], bhs, buf, sizeof(buf));
		if (*buf != '\0')
			fprintf(to, " %s", buf);
	}
	for (i = 0; i < PDU_TEXT_BHS; i++)
		if ((bhs[i] & pdu_reserved_bits(t, i)) != 0)
			fprintf(to, " byte%u=0x%02x", i, bhs[i]);
	if (iscsi_ahs_len(bhs) > 0 && ahs != NULL) {
		fputs(" ahs=", to);
		print_hex(to, ahs, iscsi_ahs_len(bhs));
	}
	print_data(to, bhs, data, len);
	if (digests->header) {
		fputs(" header-digest=", to);
		print_hex(to, digests->header_word, 4);
	}
	if (digests->data) {
		fputs(" data-digest=", to);
		print_hex(to, digests->data_word, 4);
	}
}
