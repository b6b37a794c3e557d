/* SPDX-License-Identifier: ISC */
/*
 * What the tests of the PDU parser share: streams put together byte by byte,
 * without the serializer, and a record of what the parser made of them.
 */
#ifndef ISCSIMUX_TESTS_PDU_STREAM_H
#define ISCSIMUX_TESTS_PDU_STREAM_H

#include <check.h>

#include "proto/pdu.h"

#define STREAM_MAX	4096
#define PDUS_MAX	64

/* A byte stream under construction. */
struct stream {
	uint8_t	buf[STREAM_MAX];
	size_t	len;
};

/* One PDU as it went in or came out; the data of all pieces put together. */
struct record {
	uint8_t	bhs[ISCSI_BHS_LEN];
	uint8_t	ahs[ISCSI_AHS_MAX];
	uint8_t	data[64];
	size_t	data_len;
	bool	ended;
};

struct records {
	struct record	pdu[PDUS_MAX];
	size_t		n;
	enum pdu_error	error;
	const struct pdu_framing *at_end;	/* framing to set at an END */
};

/* A PDU to put on a stream. */
struct spec {
	uint8_t		opcode;
	uint8_t		ahs_words;
	uint32_t	dsl;
	uint8_t		pad;
};

/* A framing with digests in the RFC's byte order. */
struct pdu_framing framing(bool header, bool data, uint32_t max_dsl);

/* A PDU as `spec` says, filled in a way that depends on its number. */
void make_record(struct record *r, const struct spec *spec, unsigned number);

/* Append a PDU, padded with the byte `pad`. */
void put_pdu(struct stream *s, const struct record *r, uint8_t pad,
    const struct pdu_framing *f);

/*
 * Feed one piece to the last drop; what comes out is added to `out`.  Stops
 * at an error, which must then be reported again.
 */
void feed(struct pdu_parser *p, const uint8_t *buf, size_t len,
    struct records *out);

/* Feed the whole stream to a new parser; `out` is cleared first. */
void parse(const struct stream *s, enum pdu_sender sender,
    const struct pdu_framing *f, struct records *out);

/* Fail unless exactly the `n` PDUs at `want` came out, and no error. */
void same_records(const struct records *got, const struct record *want,
    size_t n);

/*
 * The serializer's bytes, the data given in two pieces; returns what it
 * returned.
 */
int serialize(const struct record *r, const struct pdu_framing *f,
    struct stream *s);

/* The same with digest words of the caller's own. */
int serialize_own(const struct record *r, const struct pdu_framing *f,
    const struct pdu_own_digests *own, struct stream *s);

/* The tests of what the parser keeps. */
TCase *pdu_kept_tests(void);

/* The tests of what the parser must refuse or let pass. */
TCase *pdu_check_tests(void);

#endif
