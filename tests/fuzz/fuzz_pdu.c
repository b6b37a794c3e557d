/* SPDX-License-Identifier: ISC */
/*
 * Fuzzes the PDU parser: any stream, cut in any way, must give the same PDUs
 * and the same error.  Byte 0 chooses the framing and the sender, byte 1 how
 * the stream is cut; the rest is the stream.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "proto/pdu.h"
#include "tests/fuzz/fuzz.h"

/* What a walk over the stream saw, without where the pieces were cut. */
struct walk {
	uint32_t	crc;	/* of headers and data, in order */
	size_t		pdus;
	size_t		bytes;
	enum pdu_error	error;
	bool		boundary;
};

static void
note(struct walk *w, const void *p, size_t len)
{
	w->crc = crc32c_update(w->crc, p, len);
	w->bytes += len;
}

/* One piece; false after an error. */
static bool
feed(struct pdu_parser *p, struct walk *w, const uint8_t *buf, size_t len)
{
	struct pdu_event ev;
	size_t used;

	do {
		used = pdu_parser_feed(p, buf, len, &ev);
		fuzz_require(used <= len);
		switch (ev.kind) {
		case PDU_EV_MORE:
			fuzz_require(used == len);
			break;
		case PDU_EV_HEADER:
			fuzz_require(p->framing.max_dsl == 0 ||
			    iscsi_dsl(p->bhs) <= p->framing.max_dsl);
			note(w, p->bhs, ISCSI_BHS_LEN);
			note(w, p->ahs, iscsi_ahs_len(p->bhs));
			break;
		case PDU_EV_DATA:
			fuzz_require(ev.len > 0 && ev.data >= buf &&
			    ev.data + ev.len <= buf + used);
			note(w, ev.data, ev.len);
			break;
		case PDU_EV_END:
			w->pdus++;
			break;
		case PDU_EV_ERROR:
			w->error = pdu_parser_error(p);
			fuzz_require(used == 0 && w->error != PDU_OK);
			return false;
		}
		buf += used;
		len -= used;
	} while (ev.kind != PDU_EV_MORE);
	return true;
}

static struct walk
walk(const struct pdu_framing *f, enum pdu_sender sender, const uint8_t *buf,
    size_t len, size_t step)
{
	struct walk w = { .crc = CRC32C_INIT };
	struct pdu_parser p;
	size_t n, pos = 0;

	pdu_parser_init(&p, sender, f);
	while (pos < len) {
		n = len - pos < step ? len - pos : step;
		if (!feed(&p, &w, buf + pos, n))
			break;
		pos += n;
	}
	w.boundary = pdu_parser_at_boundary(&p);
	return w;
}

int
LLVMFuzzerTestOneInput(const uint8_t *buf, size_t len)
{
	struct pdu_framing f;
	struct walk whole, pieces;
	enum pdu_sender sender;

	if (len < 2)
		return 0;
	f.header_digest = (buf[0] & 1) != 0;
	f.data_digest = (buf[0] & 2) != 0;
	f.order = buf[0] & 4 ? CRC32C_BIG : CRC32C_LITTLE;
	f.max_dsl = buf[0] & 8 ? 0 : 64;
	sender = (enum pdu_sender)((buf[0] >> 4) % 3);
	whole = walk(&f, sender, buf + 2, len - 2, len);
	pieces = walk(&f, sender, buf + 2, len - 2, (size_t)buf[1] % 61 + 1);
	fuzz_require(whole.crc == pieces.crc);
	fuzz_require(whole.bytes == pieces.bytes);
	fuzz_require(whole.pdus == pieces.pdus);
	fuzz_require(whole.error == pieces.error);
	fuzz_require(whole.boundary == pieces.boundary);
	return 0;
}
