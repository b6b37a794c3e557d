/* SPDX-License-Identifier: ISC */
/*
 * A PDU as iovecs, with padding and digests.  It stamps nothing and copies
 * nothing: sequence numbers and tags are the business of who calls it, data
 * stay where they are.
 */
#include "config.h"

#include <errno.h>
#include <string.h>

#include "proto/pdu.h"

/* The iovecs under construction. */
struct layout {
	struct iovec	*iov;
	size_t		 max;
	size_t		 n;
	size_t		 total;
	bool		 full;
};

static void
layout_add(struct layout *l, const void *base, size_t len)
{
	if (len == 0)
		return;
	if (l->n == l->max) {
		l->full = true;
		return;
	}
	/* An iovec has no const; nobody writes through these. */
	l->iov[l->n].iov_base = (void *)(uintptr_t)base;
	l->iov[l->n].iov_len = len;
	l->n++;
	l->total += len;
}

/* True if the pieces of data are together as long as the BHS says. */
static bool
data_agrees(const uint8_t *bhs, const struct iovec *data, size_t ndata)
{
	size_t left = iscsi_dsl(bhs);
	size_t i;

	for (i = 0; i < ndata; i++) {
		if (data[i].iov_len > left)
			return false;
		left -= data[i].iov_len;
	}
	return left == 0;
}

static uint32_t
header_crc(const uint8_t *bhs, const uint8_t *ahs)
{
	uint32_t crc = crc32c_update(CRC32C_INIT, bhs, ISCSI_BHS_LEN);

	if (iscsi_ahs_len(bhs) > 0)
		crc = crc32c_update(crc, ahs, iscsi_ahs_len(bhs));
	return crc32c_final(crc);
}

/* Fill in padding and data digest; returns their length. */
static size_t
make_tail(const uint8_t *bhs, const struct iovec *data, size_t ndata,
    const struct pdu_framing *framing, struct pdu_trailer *trailer)
{
	size_t pad = iscsi_pad(iscsi_dsl(bhs));
	uint32_t crc = CRC32C_INIT;
	size_t i;

	memset(trailer->tail, 0, pad);
	if (!framing->data_digest || iscsi_dsl(bhs) == 0)
		return pad;
	for (i = 0; i < ndata; i++)
		crc = crc32c_update(crc, data[i].iov_base, data[i].iov_len);
	crc = crc32c_update(crc, trailer->tail, pad);
	crc32c_put(trailer->tail + pad, crc32c_final(crc), framing->order);
	return pad + CRC32C_SIZE;
}

int
pdu_serialize(const uint8_t *bhs, const uint8_t *ahs,
    const struct iovec *data, size_t ndata, const struct pdu_framing *framing,
    struct pdu_trailer *trailer, struct iovec *iov, size_t iovmax,
    size_t *total)
{
	struct layout l = { .iov = iov, .max = iovmax };
	size_t ahs_len = iscsi_ahs_len(bhs);
	size_t i;

	if ((ahs_len > 0 && ahs == NULL) || !data_agrees(bhs, data, ndata))
		return -EINVAL;
	layout_add(&l, bhs, ISCSI_BHS_LEN);
	layout_add(&l, ahs, ahs_len);
	if (framing->header_digest) {
		crc32c_put(trailer->header_digest, header_crc(bhs, ahs),
		    framing->order);
		layout_add(&l, trailer->header_digest, CRC32C_SIZE);
	}
	for (i = 0; i < ndata; i++)
		layout_add(&l, data[i].iov_base, data[i].iov_len);
	layout_add(&l, trailer->tail,
	    make_tail(bhs, data, ndata, framing, trailer));
	if (l.full)
		return -ENOBUFS;
	*total = l.total;
	return (int)l.n;
}

void
pdu_put_own_digests(const struct pdu_own_digests *own, const uint8_t *bhs,
    struct pdu_trailer *trailer)
{
	if (own->header)
		memcpy(trailer->header_digest, own->header_word, CRC32C_SIZE);
	if (own->data)
		memcpy(trailer->tail + iscsi_pad(iscsi_dsl(bhs)),
		    own->data_word, CRC32C_SIZE);
}
