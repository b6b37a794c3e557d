/* SPDX-License-Identifier: ISC */
/*
 * Streams of PDUs and the record of a parse.  It must not use the serializer
 * to build a stream: the two are tested against each other.
 */
#include "config.h"

#include <string.h>

#include "tests/unit/pdu_stream.h"

struct pdu_framing
framing(bool header, bool data, uint32_t max_dsl)
{
	struct pdu_framing f = {
		.header_digest = header,
		.data_digest = data,
		.order = CRC32C_LITTLE,
		.max_dsl = max_dsl,
	};

	return f;
}

static void
put(struct stream *s, const void *p, size_t len)
{
	ck_assert_uint_le(len, STREAM_MAX - s->len);
	if (len > 0)
		memcpy(s->buf + s->len, p, len);
	s->len += len;
}

static void
put_digest(struct stream *s, size_t from, enum crc32c_order order)
{
	uint8_t wire[CRC32C_SIZE];

	crc32c_put(wire, crc32c(s->buf + from, s->len - from), order);
	put(s, wire, sizeof(wire));
}

void
make_record(struct record *r, const struct spec *spec, unsigned number)
{
	size_t i;

	memset(r, 0, sizeof(*r));
	for (i = 0; i < ISCSI_BHS_LEN; i++)
		r->bhs[i] = (uint8_t)(number * 7 + i);
	r->bhs[0] = spec->opcode;
	r->bhs[4] = spec->ahs_words;
	iscsi_set_dsl(r->bhs, spec->dsl);
	for (i = 0; i < (size_t)spec->ahs_words * 4; i++)
		r->ahs[i] = (uint8_t)(i % 8 == 1 ? 5 : 0);
	for (i = 0; i < spec->dsl; i++)
		r->data[i] = (uint8_t)(number + i * 3);
	r->data_len = spec->dsl;
	r->ended = true;
}

void
put_pdu(struct stream *s, const struct record *r, uint8_t pad,
    const struct pdu_framing *f)
{
	static const size_t pads[4] = { 0, 3, 2, 1 };
	uint8_t padding[3] = { pad, pad, pad };
	size_t from = s->len;

	put(s, r->bhs, ISCSI_BHS_LEN);
	put(s, r->ahs, (size_t)r->bhs[4] * 4);
	if (f->header_digest)
		put_digest(s, from, f->order);
	from = s->len;
	put(s, r->data, r->data_len);
	put(s, padding, pads[r->data_len % 4]);
	if (f->data_digest && r->data_len > 0)
		put_digest(s, from, f->order);
}

void
feed(struct pdu_parser *p, const uint8_t *buf, size_t len,
    struct records *out)
{
	struct pdu_event ev;
	struct record *r;
	size_t used;

	for (;;) {
		used = pdu_parser_feed(p, buf, len, &ev);
		if (used > len)
			ck_abort_msg("used %zu of %zu bytes", used, len);
		r = &out->pdu[out->n > 0 ? out->n - 1 : 0];
		switch (ev.kind) {
		case PDU_EV_MORE:
			if (used != len)
				ck_abort_msg("MORE left %zu bytes", len - used);
			return;
		case PDU_EV_HEADER:
			if (out->n == PDUS_MAX)
				ck_abort_msg("too many PDUs");
			r = &out->pdu[out->n++];
			memset(r, 0, sizeof(*r));
			memcpy(r->bhs, p->bhs, sizeof(r->bhs));
			memcpy(r->ahs, p->ahs, iscsi_ahs_len(p->bhs));
			break;
		case PDU_EV_DATA:
			if (ev.data < buf || ev.data + ev.len > buf + used ||
			    ev.len == 0 ||
			    ev.len > sizeof(r->data) - r->data_len)
				ck_abort_msg("bad data piece");
			memcpy(r->data + r->data_len, ev.data, ev.len);
			r->data_len += ev.len;
			break;
		case PDU_EV_END:
			r->ended = true;
			if (out->at_end != NULL)
				pdu_parser_set_framing(p, out->at_end);
			break;
		case PDU_EV_ERROR:
			out->error = pdu_parser_error(p);
			ck_assert_uint_eq(used, 0);
			ck_assert_uint_eq(pdu_parser_feed(p, buf, len, &ev), 0);
			ck_assert_int_eq(ev.kind, PDU_EV_ERROR);
			ck_assert(!pdu_parser_at_boundary(p));
			return;
		}
		buf += used;
		len -= used;
	}
}

static void
same_record(const struct record *a, const struct record *b)
{
	if (memcmp(a->bhs, b->bhs, ISCSI_BHS_LEN) != 0)
		ck_abort_msg("BHS differs");
	if (memcmp(a->ahs, b->ahs, iscsi_ahs_len(a->bhs)) != 0)
		ck_abort_msg("AHS differs");
	if (a->data_len != b->data_len ||
	    memcmp(a->data, b->data, a->data_len) != 0)
		ck_abort_msg("data differ");
	if (a->ended != b->ended)
		ck_abort_msg("END differs");
}

void
same_records(const struct records *got, const struct record *want, size_t n)
{
	size_t i;

	if (got->error != PDU_OK)
		ck_abort_msg("error: %s", pdu_error_name(got->error));
	if (got->n != n)
		ck_abort_msg("%zu PDUs instead of %zu", got->n, n);
	for (i = 0; i < n; i++)
		same_record(&got->pdu[i], &want[i]);
}

void
parse(const struct stream *s, enum pdu_sender sender,
    const struct pdu_framing *f, struct records *out)
{
	struct pdu_parser p;

	memset(out, 0, sizeof(*out));
	pdu_parser_init(&p, sender, f);
	feed(&p, s->buf, s->len, out);
}

static void
flatten(struct stream *s, const struct iovec *iov, int n)
{
	int i;

	s->len = 0;
	for (i = 0; i < n; i++)
		put(s, iov[i].iov_base, iov[i].iov_len);
}

int
serialize(const struct record *r, const struct pdu_framing *f,
    struct stream *s)
{
	static const struct pdu_own_digests none;

	return serialize_own(r, f, &none, s);
}

int
serialize_own(const struct record *r, const struct pdu_framing *f,
    const struct pdu_own_digests *own, struct stream *s)
{
	struct pdu_trailer trailer;
	struct iovec data[2], iov[2 + PDU_IOV_OVERHEAD];
	uint8_t copy[sizeof(r->data)];
	size_t total = 0;
	int n;

	memcpy(copy, r->data, sizeof(copy));
	data[0].iov_base = copy;
	data[0].iov_len = r->data_len / 2;
	data[1].iov_base = copy + r->data_len / 2;
	data[1].iov_len = r->data_len - r->data_len / 2;
	memset(&trailer, 0xee, sizeof(trailer));
	n = pdu_serialize(r->bhs, iscsi_ahs_len(r->bhs) > 0 ? r->ahs : NULL,
	    data, 2, f, &trailer, iov, 2 + PDU_IOV_OVERHEAD, &total);
	if (n < 0)
		return n;
	pdu_put_own_digests(own, r->bhs, &trailer);
	flatten(s, iov, n);
	ck_assert_uint_eq(s->len, total);
	return n;
}
