/* SPDX-License-Identifier: ISC */
/*
 * PDUs as text: each PDU of RFC 7143 has its bytes written out here with a
 * value of its own in each field, what is printed is read as the same bytes
 * again, and errors say where they are.
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/iscsimux_raw.h"
#include "client/pdu_text.h"
#include "proto/iscsi.h"
#include "tests/unit/unit.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define WORDS	64

/* Words of a text of one line. */
static int
split(const char *text, struct pdu_word *words, struct pdu_error *e)
{
	const char *p = text;
	unsigned line = 1;

	return pdu_split(&p, text + strlen(text), &line, words, WORDS, e);
}

static bool
lookup(void *arg, const char *name, size_t len, uint64_t *value)
{
	(void)arg;
	if (len != 3 || memcmp(name, "ttt", 3) != 0)
		return false;
	*value = 0x1234;
	return true;
}

static void
parse(const char *text, struct pdu_text *t)
{
	struct pdu_word words[WORDS];
	struct pdu_error e;
	int n = split(text, words, &e);

	ck_assert_int_gt(n, 0);
	if (pdu_parse(words, (size_t)n, lookup, NULL, t, &e) != 0)
		ck_abort_msg("%s: column %u: %s", text, e.column, e.text);
}

static void
from_hex(const char *text, uint8_t *out, size_t len)
{
	size_t i;
	unsigned byte;
	int n;

	for (i = 0; i < len; i++) {
		ck_assert_int_eq(sscanf(text, " %2x%n", &byte, &n), 1);
		text += n;
		out[i] = (uint8_t)byte;
	}
	ck_assert_uint_eq(strspn(text, " "), strlen(text));
}

/* RFC 7143 sections 11.3 to 11.18, byte by byte. */
static const struct {
	const char	*text;
	const char	*bytes;
} vectors[] = {
	{ "nop-out", "00800000 00000000 00000000 00000000 "
	    "00000000 ffffffff 00000000 00000000 "
	    "00000000 00000000 00000000 00000000" },
	{ "nop-out immediate final=0 lun=0x0102030405060708 itt=0x11121314 "
	    "ttt=0x21222324 cmdsn=0x31323334 expstatsn=0x41424344 "
	    "data=01:02:03",
	    "40000000 00000003 01020304 05060708 "
	    "11121314 21222324 31323334 41424344 "
	    "00000000 00000000 00000000 00000000" },
	{ "scsi-command read attr=1 lun=5 itt=2 edtl=36 cmdsn=3 expstatsn=4 "
	    "cdb=12:00:00:00:24:00",
	    "01c10000 00000000 00050000 00000000 "
	    "00000002 00000024 00000003 00000004 "
	    "12000000 24000000 00000000 00000000" },
	{ "scsi-command immediate write final=0 attr=7 lun=256 "
	    "ahs=00:05:02:00:00:00:02:00 data=ff "
	    "cdb=0102030405060708090a0b0c0d0e0f10",
	    "41270000 02000001 41000000 00000000 "
	    "00000000 00000000 00000000 00000000 "
	    "01020304 05060708 090a0b0c 0d0e0f10" },
	{ "task-management-request immediate function=1 lun=1 itt=2 rtt=3 "
	    "cmdsn=4 expstatsn=5 refcmdsn=6 expdatasn=7",
	    "42810000 00000000 00010000 00000000 "
	    "00000002 00000003 00000004 00000005 "
	    "00000006 00000007 00000000 00000000" },
	{ "task-management-request final=0 function=127",
	    "027f0000 00000000 00000000 00000000 "
	    "00000000 ffffffff 00000000 00000000 "
	    "00000000 00000000 00000000 00000000" },
	{ "login-request transit csg=0 nsg=1 isid=80:00:00:01:00:02 cmdsn=1 "
	    "itt=1 text=\"A=b\" text=C=d",
	    "43810000 00000008 80000001 00020000 "
	    "00000001 00000000 00000001 00000000 "
	    "00000000 00000000 00000000 00000000" },
	{ "login-request immediate=0 continue csg=3 version-max=1 "
	    "version-min=2 isid=010203040506 tsih=0x0708 cid=0x1112 itt=3 "
	    "cmdsn=4 expstatsn=5",
	    "034c0102 00000000 01020304 05060708 "
	    "00000003 11120000 00000004 00000005 "
	    "00000000 00000000 00000000 00000000" },
	{ "text-request immediate continue final=0 lun=1 itt=2 ttt=3 cmdsn=4 "
	    "expstatsn=5", "44400000 00000000 00010000 00000000 "
	    "00000002 00000003 00000004 00000005 "
	    "00000000 00000000 00000000 00000000" },
	{ "scsi-data-out lun=1 itt=2 ttt=3 expstatsn=5 datasn=6 "
	    "buffer-offset=7", "05800000 00000000 00010000 00000000 "
	    "00000002 00000003 00000000 00000005 "
	    "00000000 00000006 00000007 00000000" },
	{ "logout-request reason-code=1 itt=2 cid=3 cmdsn=4 expstatsn=5",
	    "06810000 00000000 00000000 00000000 "
	    "00000002 00030000 00000004 00000005 "
	    "00000000 00000000 00000000 00000000" },
	{ "snack-request type=3 lun=1 itt=2 ttt=3 expstatsn=5 begrun=6 "
	    "runlength=7", "10830000 00000000 00010000 00000000 "
	    "00000002 00000003 00000000 00000005 "
	    "00000000 00000000 00000006 00000007" },
	{ "nop-in lun=1 itt=2 ttt=3 statsn=4 expcmdsn=5 maxcmdsn=6",
	    "20800000 00000000 00010000 00000000 "
	    "00000002 00000003 00000004 00000005 "
	    "00000006 00000000 00000000 00000000" },
	{ "scsi-response overflow response=1 status=2 itt=3 snack-tag=4 "
	    "statsn=5 expcmdsn=6 maxcmdsn=7 expdatasn=8 "
	    "bidi-residual-count=9 residual-count=10",
	    "21840102 00000000 00000000 00000000 "
	    "00000003 00000004 00000005 00000006 "
	    "00000007 00000008 00000009 0000000a" },
	{ "scsi-response underflow bidi-overflow bidi-underflow",
	    "219a0000 00000000 00000000 00000000 "
	    "00000000 00000000 00000000 00000000 "
	    "00000000 00000000 00000000 00000000" },
	{ "task-management-response response=255 itt=3 statsn=5 expcmdsn=6 "
	    "maxcmdsn=7", "2280ff00 00000000 00000000 00000000 "
	    "00000003 00000000 00000005 00000006 "
	    "00000007 00000000 00000000 00000000" },
	{ "login-response transit continue csg=1 nsg=3 version-max=1 "
	    "version-active=2 isid=010203040506 tsih=7 itt=3 statsn=5 "
	    "expcmdsn=6 maxcmdsn=7 status-class=2 status-detail=8",
	    "23c70102 00000000 01020304 05060007 "
	    "00000003 00000000 00000005 00000006 "
	    "00000007 02080000 00000000 00000000" },
	{ "text-response final continue lun=1 itt=2 ttt=3 statsn=4 "
	    "expcmdsn=5 maxcmdsn=6", "24c00000 00000000 00010000 00000000 "
	    "00000002 00000003 00000004 00000005 "
	    "00000006 00000000 00000000 00000000" },
	{ "scsi-data-in final acknowledge overflow status-bit status=8 lun=1 "
	    "itt=2 ttt=3 statsn=4 expcmdsn=5 maxcmdsn=6 datasn=7 "
	    "buffer-offset=8 residual-count=9",
	    "25c50008 00000000 00010000 00000000 "
	    "00000002 00000003 00000004 00000005 "
	    "00000006 00000007 00000008 00000009" },
	{ "scsi-data-in underflow", "25020000 00000000 00000000 00000000 "
	    "00000000 00000000 00000000 00000000 "
	    "00000000 00000000 00000000 00000000" },
	{ "logout-response response=1 itt=2 statsn=4 expcmdsn=5 maxcmdsn=6 "
	    "time2wait=7 time2retain=8",
	    "26800100 00000000 00000000 00000000 "
	    "00000002 00000000 00000004 00000005 "
	    "00000006 00000000 00070008 00000000" },
	{ "r2t lun=1 itt=2 ttt=3 statsn=4 expcmdsn=5 maxcmdsn=6 r2tsn=7 "
	    "buffer-offset=8 desired-data-transfer-length=9",
	    "31800000 00000000 00010000 00000000 "
	    "00000002 00000003 00000004 00000005 "
	    "00000006 00000007 00000008 00000009" },
	{ "asynchronous-message lun=1 itt=0xffffffff statsn=4 expcmdsn=5 "
	    "maxcmdsn=6 asyncevent=7 asyncvcode=8 parameter1=9 "
	    "parameter2=10 parameter3=11",
	    "32800000 00000000 00010000 00000000 "
	    "ffffffff 00000000 00000004 00000005 "
	    "00000006 07080009 000a000b 00000000" },
	{ "reject reason=9 itt=0xffffffff statsn=4 expcmdsn=5 maxcmdsn=6 "
	    "datasn=7", "3f800900 00000000 00000000 00000000 "
	    "ffffffff 00000000 00000004 00000005 "
	    "00000006 00000007 00000000 00000000" },
	{ "pdu opcode=0x1c final lun=1 itt=2 byte2=0xee byte47=1",
	    "1c80ee00 00000000 00010000 00000000 "
	    "00000002 00000000 00000000 00000000 "
	    "00000000 00000000 00000000 00000001" },
	/* Lengths may be lies. */
	{ "nop-out total-ahs-length=9 data-segment-length=0x010203 data=01",
	    "00800000 09010203 00000000 00000000 "
	    "00000000 ffffffff 00000000 00000000 "
	    "00000000 00000000 00000000 00000000" },
	{ "nop-out ttt=$ttt byte0=0xc0", "c0800000 00000000 00000000 00000000 "
	    "00000000 00001234 00000000 00000000 "
	    "00000000 00000000 00000000 00000000" },
};

START_TEST(test_vectors)
{
	uint8_t wanted[PDU_TEXT_BHS];
	struct pdu_text t;

	from_hex(vectors[_i].bytes, wanted, sizeof(wanted));
	parse(vectors[_i].text, &t);
	ck_assert_mem_eq(t.bhs, wanted, sizeof(wanted));
	pdu_text_free(&t);
}
END_TEST

/* Printed, read, and printed again. */
static void
round_trip(const uint8_t *bhs, const uint8_t *ahs, const uint8_t *data,
    size_t len, const struct iscsimux_digests *d)
{
	struct pdu_text t;
	char *text = NULL, *again = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	pdu_print(f, bhs, ahs, data, len, d);
	ck_assert_int_eq(fclose(f), 0);
	ck_assert_ptr_null(strchr(text, '\n'));
	parse(text, &t);
	ck_assert_mem_eq(t.bhs, bhs, PDU_TEXT_BHS);
	ck_assert_uint_eq(t.ahs_len, bhs[4] * 4u);
	ck_assert_mem_eq(t.ahs, ahs, t.ahs_len);
	ck_assert_uint_eq(t.data_len, len);
	if (len > 0)
		ck_assert_mem_eq(t.data, data, len);
	ck_assert(t.digests.header == d->header && t.digests.data == d->data);
	ck_assert_mem_eq(t.digests.header_word, d->header_word, 4);
	ck_assert_mem_eq(t.digests.data_word, d->data_word, 4);
	f = open_memstream(&again, &size);
	pdu_print(f, t.bhs, t.ahs, t.data, t.data_len, &t.digests);
	ck_assert_int_eq(fclose(f), 0);
	ck_assert_str_eq(text, again);
	pdu_text_free(&t);
	free(text);
	free(again);
}

/* Every opcode there is and is not, with any bytes. */
START_TEST(test_round_trip)
{
	struct iscsimux_digests d = { true, false, { 1, 2, 3, 4 }, { 0 } };
	uint8_t bhs[PDU_TEXT_BHS], ahs[PDU_TEXT_AHS], data[64];
	unsigned round, i;

	srandom((unsigned)_i + 1);
	for (round = 0; round < 50; round++) {
		for (i = 0; i < sizeof(bhs); i++)
			bhs[i] = (uint8_t)random();
		for (i = 0; i < sizeof(ahs); i++)
			ahs[i] = (uint8_t)random();
		for (i = 0; i < sizeof(data); i++)
			data[i] = (uint8_t)random();
		bhs[0] = (uint8_t)((bhs[0] & 0xc0) | _i);
		bhs[4] = (uint8_t)(round % 4);
		round_trip(bhs, ahs, data, round, &d);
		d.data = !d.data;
	}
	memset(bhs, 0, sizeof(bhs));
	bhs[0] = (uint8_t)_i;
	memset(&d, 0, sizeof(d));
	round_trip(bhs, ahs, data, 0, &d);
}
END_TEST

/* A field that is not set where its type wants it is told. */
START_TEST(test_all_fields_once)
{
	const struct pdu_type *t = pdu_type_at((size_t)_i);
	uint8_t zero[PDU_TEXT_BHS] = { 0 }, bhs[PDU_TEXT_BHS], used[48] = { 0 };
	size_t i, j;

	ck_assert_ptr_nonnull(t);
	ck_assert_ptr_eq(pdu_type_named(t->name, strlen(t->name)), t);
	for (i = 0; i < t->n; i++) {
		const struct pdu_field *f = &t->fields[i];

		if (f->kind == PDU_BYTES && f->bits > 64)
			continue;
		memset(bhs, 0, sizeof(bhs));
		pdu_put(bhs, f, pdu_field_max(f));
		ck_assert_uint_eq(pdu_get(bhs, f), pdu_field_max(f));
		ck_assert_mem_ne(bhs, zero, sizeof(bhs));
		/* No two share a bit, and nobody has a reserved one. */
		for (j = 0; j < sizeof(bhs); j++) {
			ck_assert_uint_eq(used[j] & bhs[j], 0);
			used[j] |= bhs[j];
			ck_assert_uint_eq(bhs[j] &
			    pdu_reserved_bits(t, (unsigned)j), 0);
		}
		memset(bhs, 0xff, sizeof(bhs));
		pdu_put(bhs, f, 0);
		ck_assert_uint_eq(pdu_get(bhs, f), 0);
	}
}
END_TEST

START_TEST(test_data)
{
	char path[] = "/tmp/check_pdu_text.XXXXXX", line[128];
	struct pdu_text t;
	int fd = mkstemp(path);

	ck_assert_int_ne(fd, -1);
	ck_assert_int_eq(write(fd, "file\0", 5), 5);
	close(fd);
	snprintf(line, sizeof(line), "nop-out data=\"a b#\\\"\\\\\\n\\x00\\0\" "
	    "data=0102 data=@%s data=", path);
	parse(line, &t);
	unlink(path);
	ck_assert_uint_eq(t.data_len, 9 + 2 + 5);
	ck_assert_mem_eq(t.data, "a b#\"\\\n\0\0\1\2file\0", 16);
	ck_assert_uint_eq(iscsi_dsl(t.bhs), 16);
	pdu_text_free(&t);
	parse("text-request text=\"a=b c\" text=d=e", &t);
	ck_assert_uint_eq(t.data_len, 10);
	ck_assert_mem_eq(t.data, "a=b c\0d=e", 10);
	pdu_text_free(&t);
}
END_TEST

/* What the caller may fill in. */
START_TEST(test_not_given)
{
	struct pdu_text t;

	parse("scsi-command cdb=00", &t);
	ck_assert(t.no_lun && t.no_itt && t.no_cmdsn && t.no_expstatsn);
	ck_assert_int_eq(t.expect, ISCSIMUX_EXPECT_DEFAULT);
	pdu_text_free(&t);
	parse("scsi-command cmdsn=auto expstatsn=auto itt=auto lun=0", &t);
	ck_assert(!t.no_lun && t.no_itt && t.no_cmdsn && t.no_expstatsn);
	pdu_text_free(&t);
	parse("scsi-command cmdsn=0 expstatsn=0 itt=0 expect=none", &t);
	ck_assert(t.no_lun && !t.no_itt && !t.no_cmdsn && !t.no_expstatsn);
	ck_assert_int_eq(t.expect, ISCSIMUX_EXPECT_NONE);
	pdu_text_free(&t);
	parse("login-request expect=one", &t);
	ck_assert(!t.no_lun && t.no_itt);
	ck_assert_int_eq(t.expect, ISCSIMUX_EXPECT_ONE);
	pdu_text_free(&t);
	/* Hexadecimal bytes are as they are. */
	parse("0180000000000002 0000000000000000 "
	    "00000002000000240000000300000004 12:00:00:00:24:00:00:00:00:00:00:00:00:00:00:00 abcd", &t);
	ck_assert(!t.no_lun && !t.no_itt && !t.no_cmdsn && !t.no_expstatsn);
	ck_assert_uint_eq(t.data_len, 2);
	ck_assert_uint_eq(t.bhs[32], 0x12);
	ck_assert_mem_eq(t.data, "\xab\xcd", 2);
	pdu_text_free(&t);
}
END_TEST

static const struct {
	const char	*text;
	unsigned	column;
	const char	*says;
} wrong[] = {
	{ "scsi-comand", 1, "there is no PDU called 'scsi-comand'" },
	{ "  xyz a=b", 3, "there is no PDU called 'xyz'" },
	{ "nop-out lum=1", 9, "nop-out has no field 'lum'" },
	{ "nop-out cdb=00", 9, "nop-out has no field 'cdb'" },
	{ "nop-out itt", 9, "itt wants a value" },
	{ "nop-out itt=", 13, "itt wants a number up to 4294967295, not ''" },
	{ "nop-out itt=4294967296", 13, "itt wants a number up to 429496729" },
	{ "nop-out itt=-1", 13, "itt wants a number" },
	{ "nop-out itt=0x", 13, "itt wants a number" },
	{ "nop-out itt=0xg", 13, "itt wants a number" },
	{ "nop-out itt=1 \t itt=2", 17, "itt is given twice" },
	{ "nop-out final=2", 15, "final wants a number up to 1, not '2'" },
	{ "login-request csg=4", 19, "csg wants a number up to 3" },
	{ "nop-out lun=16384", 13, "lun wants a number up to 16383" },
	{ "nop-out lun=0x123456789abcdefg", 13, "lun wants" },
	{ "login-request isid=0102030405", 20, "isid wants 6 hexadecimal" },
	{ "login-request isid=", 20, "isid wants 6 hexadecimal" },
	{ "scsi-command cdb=0", 18, "cdb wants 16 hexadecimal bytes or less" },
	{ "scsi-command cdb=00:", 18, "cdb wants" },
	{ "scsi-command cdb=0102030405060708090a0b0c0d0e0f1011", 18,
	    "cdb wants" },
	{ "nop-out data=xy", 14, "data wants \"TEXT\", @FILE or" },
	{ "nop-out data", 9, "nop-out has no field 'data'" },
	{ "nop-out data=\"a\\q\"", 16, "within quotation marks there is" },
	{ "nop-out data=\"abc", 14, "this quotation mark is not closed" },
	{ "nop-out data=@/nonexistent/x", 15, "/nonexistent/x: No such file" },
	{ "scsi-command ahs=00", 14, "an AHS has a multiple of 4 bytes" },
	{ "nop-out header-digest=010203", 23, "header-digest wants 4 hex" },
	{ "nop-out data-digest=zz", 21, "data-digest wants 4 hex" },
	{ "nop-out expect=two", 16, "expect wants none, one or many" },
	{ "nop-out byte48=1", 9, "nop-out has no field 'byte48'" },
	{ "nop-out byte1=256", 15, "byte1 wants a number up to 255" },
	{ "nop-out itt=$foo", 13, "no PDU with a field foo has come" },
	{ "login-request isid=$ttt", 20, "no $NAME can stand here" },
	{ "login-request cid=$ttt tsih=$statsn", 29, "no PDU with a field" },
	{ "nop-out immediate=$ttt", 19, "0x1234 does not fit into immediate" },
	{ "00", 1, "1 bytes, where a BHS has 48" },
	{ "00 zz", 4, "neither a PDU's name nor hexadecimal bytes: 'zz'" },
};

START_TEST(test_errors)
{
	struct pdu_word words[WORDS];
	struct pdu_error e;
	struct pdu_text t;
	int n = split(wrong[_i].text, words, &e);

	if (n >= 0)
		ck_assert_int_eq(pdu_parse(words, (size_t)n, lookup, NULL, &t,
		    &e), -1);
	ck_assert_msg(strncmp(e.text, wrong[_i].says,
	    strlen(wrong[_i].says)) == 0, "%s: %s", wrong[_i].text, e.text);
	ck_assert_uint_eq(e.line, 1);
	ck_assert_uint_eq(e.column, wrong[_i].column);
}
END_TEST

/* Lines, comments, continuations, and where words begin. */
START_TEST(test_words)
{
	static const char text[] = "# nothing\n\n a  b=\"x # y\"#z\t c # rest\n"
	    "d \\\n  e\\\n\tf\r\ng \\\r\n h";
	static const struct {
		const char	*word;
		unsigned	line, column;
	} wanted[] = {
		{ "a", 3, 2 }, { "b=\"x # y\"#z", 3, 5 }, { "c", 3, 18 },
		{ "d", 4, 1 }, { "e", 5, 3 }, { "f", 6, 2 },
		{ "g", 7, 1 }, { "h", 8, 2 },
	};
	static const int counts[] = { 0, 0, 3, 3, 2 };
	const char *p = text, *end = text + sizeof(text) - 1;
	struct pdu_word words[WORDS];
	struct pdu_error e;
	unsigned line = 1;
	size_t seen = 0, i;
	int n, j;

	for (i = 0; i < COUNT(counts); i++) {
		n = pdu_split(&p, end, &line, words, WORDS, &e);
		ck_assert_int_eq(n, counts[i]);
		for (j = 0; j < n; j++, seen++) {
			ck_assert(pdu_word_is(&words[j], wanted[seen].word));
			ck_assert_uint_eq(words[j].line, wanted[seen].line);
			ck_assert_uint_eq(words[j].column,
			    wanted[seen].column);
		}
	}
	ck_assert_ptr_eq(p, end);
	ck_assert_int_eq(pdu_split(&p, end, &line, words, WORDS, &e), 0);
	p = "a b c";
	line = 1;
	ck_assert_int_eq(pdu_split(&p, p + 5, &line, words, 2, &e), -1);
	ck_assert_uint_eq(e.column, 5);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("pdu_text");
	TCase *tc = tcase_create("pdu_text");
	int types = 0;

	while (pdu_type_at((size_t)types) != NULL)
		types++;
	tcase_add_loop_test(tc, test_vectors, 0, (int)COUNT(vectors));
	tcase_add_loop_test(tc, test_round_trip, 0, 64);
	tcase_add_loop_test(tc, test_all_fields_once, 0, types);
	tcase_add_test(tc, test_data);
	tcase_add_test(tc, test_not_given);
	tcase_add_loop_test(tc, test_errors, 0, (int)COUNT(wrong));
	tcase_add_test(tc, test_words);
	suite_add_tcase(s, tc);
	return unit_run(s);
}
