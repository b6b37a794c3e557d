/* SPDX-License-Identifier: ISC */
/*
 * Fuzzes the PDU parser: any stream, cut in any way, must give the same PDUs
 * and the same error, keep what it says it keeps, and be what the serializer
 * writes.  Byte 0 chooses framing and sender, byte 1 how the stream is cut,
 * byte 2 the framing from the second PDU on; the rest is the stream.
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "proto/pdu.h"
#include "tests/fuzz/fuzz.h"

#define HEAD_LEN	3

/* Bits of bytes 0 and 2; bits 4 to 7 of byte 0 are the sender. */
#define F_HEADER_DIGEST	0x01
#define F_DATA_DIGEST	0x02
#define F_BIG_ENDIAN	0x04
#define F_UNLIMITED	0x08
#define F_SWITCH	0x80	/* byte 2: there is a new framing */

struct walk {
	struct pdu_parser	 parser;
	struct pdu_framing	 next;
	bool			 switches;
	/* The stream, where the current PDU starts, and the data of it. */
	const uint8_t		*base;
	size_t			 start;
	size_t			 at;
	size_t			 data_len;
	/* What came out, without where the pieces were cut. */
	uint32_t		 crc;
	size_t			 bytes;
	size_t			 pdus;
	enum pdu_error		 error;
};

static void
note(struct walk *w, const void *p, size_t len)
{
	w->crc = crc32c_update(w->crc, p, len);
	w->bytes += len;
}

/* What the parser keeps, with the data, is what it was fed. */
static void
check_pending(const struct walk *w)
{
	const uint8_t *pdu = w->base + w->start;
	size_t len = w->at - w->start;
	struct pdu_pending kept;

	pdu_parser_pending(&w->parser, &kept);
	fuzz_require(kept.head_len + w->data_len + kept.tail_len == len);
	fuzz_require(memcmp(kept.head, pdu, kept.head_len) == 0);
	fuzz_require(memcmp(kept.tail, pdu + len - kept.tail_len,
	    kept.tail_len) == 0);
	fuzz_require(pdu_parser_at_boundary(&w->parser) == (len == 0));
}

static void
flatten(uint8_t *to, const struct iovec *iov, int n)
{
	int i;

	for (i = 0; i < n; i++) {
		memcpy(to, iov[i].iov_base, iov[i].iov_len);
		to += iov[i].iov_len;
	}
}

/*
 * The serializer writes the PDU that was read, `len` bytes at `wire`: with
 * its own digests where the padding was of zeroes, and with those received
 * always, but for the padding.
 */
static void
compare(const struct pdu_parser *p, const uint8_t *wire, size_t len,
    struct pdu_trailer *trailer, const struct iovec *iov, int n)
{
	static const uint8_t zeroes[3];
	const uint8_t *header = pdu_parser_header_digest(p);
	const uint8_t *data = pdu_parser_data_digest(p);
	size_t pad = iscsi_pad(iscsi_dsl(p->bhs));
	size_t pad_at = len - pad - (data != NULL ? CRC32C_SIZE : 0);
	struct pdu_own_digests own = { header != NULL, data != NULL,
	    { 0 }, { 0 } };
	uint8_t *flat = malloc(len);

	fuzz_require(flat != NULL);
	flatten(flat, iov, n);
	fuzz_require(memcmp(flat, wire, pad_at) == 0);
	if (memcmp(wire + pad_at, zeroes, pad) == 0)
		fuzz_require(memcmp(flat, wire, len) == 0);
	if (header != NULL)
		memcpy(own.header_word, header, CRC32C_SIZE);
	if (data != NULL)
		memcpy(own.data_word, data, CRC32C_SIZE);
	pdu_put_own_digests(&own, p->bhs, trailer);
	flatten(flat, iov, n);
	memcpy(flat + pad_at, wire + pad_at, pad);
	fuzz_require(memcmp(flat, wire, len) == 0);
	free(flat);
}

static void
check_serialized(const struct walk *w)
{
	const struct pdu_parser *p = &w->parser;
	const uint8_t *wire = w->base + w->start;
	size_t head = ISCSI_BHS_LEN + iscsi_ahs_len(p->bhs) +
	    (p->framing.header_digest ? CRC32C_SIZE : 0);
	struct iovec iov[1 + PDU_IOV_OVERHEAD];
	struct pdu_trailer trailer;
	struct iovec data;
	size_t total;
	int n;

	/* An iovec has no const; nobody writes through this one. */
	data.iov_base = (void *)(uintptr_t)(wire + head);
	data.iov_len = w->data_len;
	n = pdu_serialize(p->bhs, p->ahs, &data, 1, &p->framing, &trailer,
	    iov, 1 + PDU_IOV_OVERHEAD, &total);
	fuzz_require(n > 0 && total == w->at - w->start);
	compare(p, wire, total, &trailer, iov, n);
	fuzz_require(pdu_serialize(p->bhs, p->ahs, &data, 1, &p->framing,
	    &trailer, iov, (size_t)n - 1, &total) == -ENOBUFS);
	data.iov_len++;
	fuzz_require(pdu_serialize(p->bhs, p->ahs, &data, 1, &p->framing,
	    &trailer, iov, 1 + PDU_IOV_OVERHEAD, &total) == -EINVAL);
}

static void
header(struct walk *w)
{
	const struct pdu_parser *p = &w->parser;

	fuzz_require(p->framing.max_dsl == 0 ||
	    iscsi_dsl(p->bhs) <= p->framing.max_dsl);
	note(w, p->bhs, ISCSI_BHS_LEN);
	note(w, p->ahs, iscsi_ahs_len(p->bhs));
}

static void
end(struct walk *w)
{
	check_serialized(w);
	w->start = w->at;
	w->data_len = 0;
	if (w->pdus++ == 0 && w->switches)
		pdu_parser_set_framing(&w->parser, &w->next);
}

static void
error(struct walk *w)
{
	struct pdu_pending kept;

	w->error = pdu_parser_error(&w->parser);
	fuzz_require(w->error != PDU_OK);
	fuzz_require(strcmp(pdu_error_name(w->error), "unknown error") != 0);
	pdu_parser_pending(&w->parser, &kept);
	fuzz_require(kept.head_len + kept.tail_len == 0);
}

/* One piece; false after an error. */
static bool
feed(struct walk *w, const uint8_t *buf, size_t len)
{
	struct pdu_event ev;
	size_t used;

	do {
		used = pdu_parser_feed(&w->parser, buf, len, &ev);
		fuzz_require(used <= len);
		w->at += used;
		switch (ev.kind) {
		case PDU_EV_MORE:
			fuzz_require(used == len);
			break;
		case PDU_EV_HEADER:
			header(w);
			break;
		case PDU_EV_DATA:
			fuzz_require(ev.len > 0 && ev.data >= buf &&
			    ev.data + ev.len <= buf + used);
			note(w, ev.data, ev.len);
			w->data_len += ev.len;
			break;
		case PDU_EV_END:
			end(w);
			break;
		case PDU_EV_ERROR:
			fuzz_require(used == 0);
			error(w);
			return false;
		}
		check_pending(w);
		buf += used;
		len -= used;
	} while (ev.kind != PDU_EV_MORE);
	return true;
}

static struct pdu_framing
framing(uint8_t bits)
{
	struct pdu_framing f = {
		.header_digest = (bits & F_HEADER_DIGEST) != 0,
		.data_digest = (bits & F_DATA_DIGEST) != 0,
		.order = bits & F_BIG_ENDIAN ? CRC32C_BIG : CRC32C_LITTLE,
		.max_dsl = bits & F_UNLIMITED ? 0 : 64,
	};

	return f;
}

static void
walk(struct walk *w, const uint8_t *buf, size_t len, size_t step)
{
	struct pdu_framing first = framing(buf[0]);
	size_t n, pos;

	memset(w, 0, sizeof(*w));
	w->crc = CRC32C_INIT;
	w->base = buf + HEAD_LEN;
	w->next = framing(buf[2]);
	w->switches = (buf[2] & F_SWITCH) != 0;
	pdu_parser_init(&w->parser, (enum pdu_sender)((buf[0] >> 4) % 3),
	    &first);
	for (pos = 0; pos < len - HEAD_LEN; pos += n) {
		n = len - HEAD_LEN - pos;
		if (n > step)
			n = step;
		if (!feed(w, w->base + pos, n))
			return;
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *buf, size_t len)
{
	static struct walk whole, pieces;

	if (len < HEAD_LEN)
		return 0;
	walk(&whole, buf, len, len);
	walk(&pieces, buf, len, (size_t)buf[1] % 61 + 1);
	fuzz_require(whole.crc == pieces.crc);
	fuzz_require(whole.bytes == pieces.bytes);
	fuzz_require(whole.pdus == pieces.pdus);
	fuzz_require(whole.error == pieces.error);
	fuzz_require(pdu_parser_at_boundary(&whole.parser) ==
	    pdu_parser_at_boundary(&pieces.parser));
	return 0;
}
