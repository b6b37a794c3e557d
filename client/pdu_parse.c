/* SPDX-License-Identifier: ISC */
/*
 * Words to a PDU.  Every error says at which line and column, and what should
 * have been there.
 */
#include "config.h"

#include <sys/param.h>
#include <sys/stat.h>

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/iscsimux_raw.h"
#include "client/pdu_text.h"
#include "proto/iscsi.h"

#define FIELDS_MAX	32u
#define SHOWN		40	/* characters of a word in a message */

/* A PDU being read. */
struct parse {
	struct pdu_text		*out;
	struct pdu_error	*e;
	pdu_lookup_fn		*lookup;
	void			*arg;
	bool			 seen[FIELDS_MAX];
	const struct pdu_word	*word;		/* the present one */
	const char		*value;		/* behind its =, or NULL */
	size_t			 len;
};

/* Say what is wrong at `p`, inside the present word. */
static int bad(struct parse *c, const char *p, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

static int
bad(struct parse *c, const char *p, const char *fmt, ...)
{
	va_list ap;

	c->e->line = c->word->line;
	c->e->column = c->word->column + (unsigned)(p - c->word->p);
	va_start(ap, fmt);
	vsnprintf(c->e->text, sizeof(c->e->text), fmt, ap);
	va_end(ap);
	return -1;
}

static int
bad_value(struct parse *c, const char *wanted)
{
	return bad(c, c->value, "%.*s wants %s, not '%.*s'",
	    (int)(c->value - c->word->p) - 1, c->word->p, wanted,
	    (int)MIN(c->len, SHOWN), c->value);
}

/* --- values --- */

static int
digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* A number, decimal or 0x, of at most `max`. */
static bool
number(const char *p, size_t len, uint64_t max, uint64_t *out)
{
	unsigned base = 10;
	uint64_t n = 0;
	int d;

	if (len > 2 && p[0] == '0' && (p[1] == 'x' || p[1] == 'X')) {
		base = 16;
		p += 2;
		len -= 2;
	}
	if (len == 0)
		return false;
	for (; len > 0; p++, len--) {
		d = digit(*p);
		if (d < 0 || (unsigned)d >= base ||
		    n > (max - (unsigned)d) / base || (unsigned)d > max)
			return false;
		n = n * base + (unsigned)d;
	}
	*out = n;
	return true;
}

/* Hexadecimal pairs, a colon between them allowed; bytes, or -1. */
static int64_t
hex(const char *p, size_t len, uint8_t *out, size_t size)
{
	const char *end = p + len;
	size_t n = 0;

	while (p < end) {
		if (end - p < 2 || digit(p[0]) < 0 || digit(p[1]) < 0 ||
		    n == size)
			return -1;
		out[n++] = (uint8_t)(digit(p[0]) << 4 | digit(p[1]));
		p += 2;
		if (p < end && *p == ':' && ++p == end)
			return -1;
	}
	return (int64_t)n;
}

static int
add_data(struct parse *c, const uint8_t *bytes, size_t len)
{
	struct pdu_text *t = c->out;
	uint8_t *grown;

	if (len > ISCSI_DSL_MAX - t->data_len)
		return bad(c, c->word->p, "more than %u bytes of data",
		    ISCSI_DSL_MAX);
	if (len == 0)
		return 0;
	grown = realloc(t->data, t->data_len + len);
	if (grown == NULL)
		return bad(c, c->word->p, "out of memory");
	memcpy(grown + t->data_len, bytes, len);
	t->data = grown;
	t->data_len += len;
	return 0;
}

/* One character of a quoted text, from `*p`; -1 if it is no escape. */
static int
unescape(const char **p, const char *end)
{
	static const char from[] = "nrt0\\\"", to[] = "\n\r\t\0\\\"";
	const char *found;

	if (**p != '\\')
		return (uint8_t)*(*p)++;
	if (++*p == end)
		return -1;
	if (**p == 'x') {
		if (end - *p < 3 || digit((*p)[1]) < 0 || digit((*p)[2]) < 0)
			return -1;
		*p += 3;
		return digit((*p)[-2]) << 4 | digit((*p)[-1]);
	}
	found = strchr(from, **p);
	if (found == NULL || *found == '\0')
		return -1;
	++*p;
	return (uint8_t)to[found - from];
}

/* Text in quotation marks. */
static int
add_quoted(struct parse *c)
{
	const char *p = c->value + 1, *end = c->value + c->len - 1;
	uint8_t *text = malloc(c->len);
	size_t n = 0;
	int ch, r;

	if (text == NULL)
		return bad(c, c->value, "out of memory");
	while (p < end) {
		const char *at = p;

		ch = *p == '"' ? -1 : unescape(&p, end);
		if (ch == -1) {
			free(text);
			return bad(c, at, "within quotation marks there is "
			    "\\n \\r \\t \\0 \\xNN \\\\ and \\\"");
		}
		text[n++] = (uint8_t)ch;
	}
	r = add_data(c, text, n);
	free(text);
	return r;
}

static bool
is_quoted(const struct parse *c)
{
	return c->len >= 2 && c->value[0] == '"' &&
	    c->value[c->len - 1] == '"';
}

static int
add_file(struct parse *c)
{
	char path[PATH_MAX], buf[65536];
	ssize_t n = 1;
	int fd, r = 0;

	if (c->len - 1 >= sizeof(path))
		return bad_value(c, "@FILE");
	memcpy(path, c->value + 1, c->len - 1);
	path[c->len - 1] = '\0';
	fd = open(path, O_RDONLY | O_CLOEXEC);
	while (fd != -1 && r == 0 && (n = read(fd, buf, sizeof(buf))) > 0)
		r = add_data(c, (uint8_t *)buf, (size_t)n);
	if (fd == -1 || n == -1)
		r = bad(c, c->value + 1, "%s: %s", path, strerror(errno));
	if (fd != -1)
		close(fd);
	return r;
}

static int
add_hex(struct parse *c)
{
	uint8_t *bytes = malloc(c->len / 2 + 1);
	int64_t n;
	int r;

	if (bytes == NULL)
		return bad(c, c->value, "out of memory");
	n = hex(c->value, c->len, bytes, c->len / 2 + 1);
	r = n < 0 ? bad_value(c, "\"TEXT\", @FILE or hexadecimal bytes") :
	    add_data(c, bytes, (size_t)n);
	free(bytes);
	return r;
}

/* --- words that are no fields --- */

static int
take_data(struct parse *c)
{
	if (is_quoted(c))
		return add_quoted(c);
	return c->len > 0 && c->value[0] == '@' ? add_file(c) : add_hex(c);
}

static int
take_text(struct parse *c)
{
	int r = is_quoted(c) ? add_quoted(c) :
	    add_data(c, (const uint8_t *)c->value, c->len);

	return r == 0 ? add_data(c, (const uint8_t *)"", 1) : r;
}

static int
take_ahs(struct parse *c)
{
	struct pdu_text *t = c->out;
	int64_t n = hex(c->value, c->len, t->ahs + t->ahs_len,
	    sizeof(t->ahs) - t->ahs_len);

	if (n < 0)
		return bad_value(c, "hexadecimal bytes, 1020 at most");
	t->ahs_len += (size_t)n;
	return 0;
}

static int
take_header_digest(struct parse *c)
{
	struct iscsimux_digests *d = &c->out->digests;

	d->header = true;
	return hex(c->value, c->len, d->header_word, 4) == 4 ? 0 :
	    bad_value(c, "4 hexadecimal bytes");
}

static int
take_data_digest(struct parse *c)
{
	struct iscsimux_digests *d = &c->out->digests;

	d->data = true;
	return hex(c->value, c->len, d->data_word, 4) == 4 ? 0 :
	    bad_value(c, "4 hexadecimal bytes");
}

static int
take_expect(struct parse *c)
{
	static const char *const names[] = { "none", "one", "many" };
	size_t i;

	for (i = 0; i < 3; i++)
		if (strlen(names[i]) == c->len &&
		    memcmp(names[i], c->value, c->len) == 0) {
			c->out->expect = (int)i + ISCSIMUX_EXPECT_NONE;
			return 0;
		}
	return bad_value(c, "none, one or many");
}

static const struct {
	const char	*name;
	int		(*take)(struct parse *c);
} others[] = {
	{ "data", take_data },
	{ "text", take_text },
	{ "ahs", take_ahs },
	{ "header-digest", take_header_digest },
	{ "data-digest", take_data_digest },
	{ "expect", take_expect },
};

/* byte0 to byte47: the whole byte. */
static int
take_byte(struct parse *c, size_t name_len)
{
	uint64_t i, value;

	if (name_len < 5 || memcmp(c->word->p, "byte", 4) != 0 ||
	    !number(c->word->p + 4, name_len - 4, PDU_TEXT_BHS - 1, &i))
		return 1;
	if (!number(c->value, c->len, 0xff, &value))
		return bad_value(c, "a number up to 255");
	c->out->bhs[i] = (uint8_t)value;
	return 0;
}

/* --- fields --- */

/* True if the field was left to the caller to fill in. */
static bool
is_auto(struct parse *c, const struct pdu_field *f)
{
	return c->len == 4 && memcmp(c->value, "auto", 4) == 0 &&
	    (f->given == PDU_COUNTED || strcmp(f->name, "itt") == 0);
}

static void
given(struct pdu_text *t, const struct pdu_field *f, bool missing)
{
	if (strcmp(f->name, "lun") == 0)
		t->no_lun = missing;
	else if (strcmp(f->name, "itt") == 0)
		t->no_itt = missing;
	else if (strcmp(f->name, "cmdsn") == 0)
		t->no_cmdsn = missing;
	else if (strcmp(f->name, "expstatsn") == 0)
		t->no_expstatsn = missing;
}

static int
take_lun(struct parse *c, const struct pdu_field *f)
{
	uint8_t *to = c->out->bhs + f->byte;
	uint64_t n;

	/* All 16 digits: the bytes as they are. */
	if (c->len == 18 && number(c->value, c->len, UINT64_MAX, &n)) {
		pdu_put(c->out->bhs, f, n);
		return 0;
	}
	if (!number(c->value, c->len, 0x3fff, &n) ||
	    iscsimux_lun((unsigned)n, to) != 0)
		return bad_value(c, "a number up to 16383, or 0x and 16 "
		    "digits");
	return 0;
}

static int
take_bytes(struct parse *c, const struct pdu_field *f)
{
	char wanted[64];
	uint8_t bytes[16] = { 0 };
	size_t size = f->bits / 8u;
	int64_t n = hex(c->value, c->len, bytes, size);

	/* A CDB may be shorter than its field. */
	if (n <= 0 || (size < sizeof(bytes) && (size_t)n != size)) {
		snprintf(wanted, sizeof(wanted), "%zu hexadecimal bytes%s",
		    size, size == sizeof(bytes) ? " or less" : "");
		return bad_value(c, wanted);
	}
	memcpy(c->out->bhs + f->byte, bytes, size);
	return 0;
}

/* $NAME: the value of that field in what came last. */
static int
take_reference(struct parse *c, const struct pdu_field *f)
{
	uint64_t n;

	if (f->kind == PDU_BYTES || c->lookup == NULL)
		return bad(c, c->value, "no $NAME can stand here");
	if (!c->lookup(c->arg, c->value + 1, c->len - 1, &n))
		return bad(c, c->value, "no PDU with a field %.*s has come",
		    (int)MIN(c->len - 1, SHOWN), c->value + 1);
	if (n > pdu_field_max(f))
		return bad(c, c->value, "0x%" PRIx64 " does not fit into %s",
		    n, f->name);
	pdu_put(c->out->bhs, f, n);
	return 0;
}

static int
take_number(struct parse *c, const struct pdu_field *f)
{
	char wanted[64];
	uint64_t n;

	if (!number(c->value, c->len, pdu_field_max(f), &n)) {
		snprintf(wanted, sizeof(wanted), "a number up to %" PRIu64,
		    pdu_field_max(f));
		return bad_value(c, wanted);
	}
	pdu_put(c->out->bhs, f, n);
	return 0;
}

static int
take_field(struct parse *c, const struct pdu_field *f)
{
	size_t i = (size_t)(f - c->out->type->fields);

	if (c->seen[i])
		return bad(c, c->word->p, "%s is given twice", f->name);
	c->seen[i] = true;
	if (c->value == NULL) {
		if (f->kind != PDU_FLAG)
			return bad(c, c->word->p, "%s wants a value: %s=...",
			    f->name, f->name);
		pdu_put(c->out->bhs, f, 1);
		return 0;
	}
	if (is_auto(c, f))
		return 0;
	given(c->out, f, false);
	if (c->len > 1 && c->value[0] == '$')
		return take_reference(c, f);
	if (f->kind == PDU_LUN)
		return take_lun(c, f);
	return f->kind == PDU_BYTES ? take_bytes(c, f) : take_number(c, f);
}

/* --- the PDU --- */

static int
take_word(struct parse *c, const struct pdu_word *w)
{
	const char *eq = memchr(w->p, '=', w->len);
	size_t name_len = eq != NULL ? (size_t)(eq - w->p) : w->len;
	const struct pdu_field *f;
	size_t i;
	int r;

	c->word = w;
	c->value = eq != NULL ? eq + 1 : NULL;
	c->len = eq != NULL ? w->len - name_len - 1 : 0;
	f = pdu_field_named(c->out->type, w->p, name_len);
	if (f != NULL)
		return take_field(c, f);
	if (c->value != NULL) {
		for (i = 0; i < sizeof(others) / sizeof(others[0]); i++)
			if (strlen(others[i].name) == name_len &&
			    memcmp(others[i].name, w->p, name_len) == 0)
				return others[i].take(c);
		r = take_byte(c, name_len);
		if (r <= 0)
			return r;
	}
	return bad(c, w->p, "%s has no field '%.*s'", c->out->type->name,
	    (int)MIN(name_len, SHOWN), w->p);
}

/* Lengths that were not given are those that are there. */
static int
finish(struct parse *c)
{
	struct pdu_text *t = c->out;
	const struct pdu_field *f;
	size_t i;

	if (t->ahs_len % 4 != 0)
		return bad(c, c->word->p, "an AHS has a multiple of 4 bytes "
		    "(RFC 7143 section 11.2.2), this has %zu", t->ahs_len);
	for (i = 0; i < t->type->n; i++) {
		f = &t->type->fields[i];
		if (f->given != PDU_LENGTH || c->seen[i])
			continue;
		pdu_put(t->bhs, f, f->byte == ISCSI_OFF_AHS ? t->ahs_len / 4 :
		    t->data_len);
	}
	return 0;
}

/* Hexadecimal words: BHS, AHS, data. */
static int
take_hex(struct parse *c, const struct pdu_word *words, size_t n)
{
	struct pdu_text *t = c->out;
	size_t i, head = PDU_TEXT_BHS, total = 0;
	int r = 0;

	for (i = 0; i < n && r == 0; i++) {
		c->word = &words[i];
		c->value = words[i].p;
		c->len = words[i].len;
		r = add_hex(c);
	}
	if (r != 0)
		return bad(c, c->word->p, "neither a PDU's name nor "
		    "hexadecimal bytes: '%.*s'", (int)MIN(c->len, SHOWN),
		    c->word->p);
	if (t->data_len >= PDU_TEXT_BHS) {
		head += iscsi_ahs_len(t->data);
		total = head + iscsi_dsl(t->data);
	}
	if (t->data_len < PDU_TEXT_BHS || t->data_len != total) {
		c->word = words;
		return bad(c, words->p, "%zu bytes, where a BHS has 48 and "
		    "this PDU %zu by its lengths", t->data_len,
		    MAX(total, PDU_TEXT_BHS));
	}
	memcpy(t->bhs, t->data, PDU_TEXT_BHS);
	t->ahs_len = head - PDU_TEXT_BHS;
	memcpy(t->ahs, t->data + PDU_TEXT_BHS, t->ahs_len);
	t->data_len -= head;
	memmove(t->data, t->data + head, t->data_len);
	t->type = pdu_type_of(t->bhs[0]);
	return 0;
}

static bool
looks_hex(const struct pdu_word *w)
{
	size_t i;

	for (i = 0; i < w->len; i++)
		if (digit(w->p[i]) < 0 && w->p[i] != ':')
			return false;
	return w->len >= 2;
}

static int
take_words(struct parse *c, const struct pdu_word *words, size_t n)
{
	struct pdu_text *t = c->out;
	size_t i;

	t->type = pdu_type_named(words->p, words->len);
	if (t->type == NULL && looks_hex(words))
		return take_hex(c, words, n);
	c->word = words;
	if (t->type == NULL)
		return bad(c, words->p, "there is no PDU called '%.*s'",
		    (int)MIN(words->len, SHOWN), words->p);
	pdu_init_header(t->bhs, t->type);
	for (i = 0; i < t->type->n; i++)
		given(t, &t->type->fields[i], true);
	for (i = 1; i < n; i++)
		if (take_word(c, &words[i]) != 0)
			return -1;
	return finish(c);
}

int
pdu_parse(const struct pdu_word *words, size_t n, pdu_lookup_fn *lookup,
    void *arg, struct pdu_text *out, struct pdu_error *e)
{
	struct parse c = { .out = out, .e = e, .lookup = lookup, .arg = arg };
	int r;

	memset(out, 0, sizeof(*out));
	r = take_words(&c, words, n);
	if (r != 0)
		pdu_text_free(out);
	return r;
}

void
pdu_text_free(struct pdu_text *t)
{
	free(t->data);
	t->data = NULL;
	t->data_len = 0;
}
