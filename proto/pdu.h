/* SPDX-License-Identifier: ISC */
/*
 * PDU framing (RFC 7143 section 11.1) without any I/O: an incremental parser
 * that takes the byte stream in whatever pieces it arrives, and a serializer
 * that turns a PDU into iovecs.  The parser never allocates and never looks
 * at a byte twice; data segments are reported as pieces of the caller's own
 * buffer, so nothing is copied but the header.
 */
#ifndef PROTO_PDU_H
#define PROTO_PDU_H

#include <sys/uio.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/crc32c.h"
#include "proto/iscsi.h"

/* How PDUs are framed in one direction of one connection. */
struct pdu_framing {
	bool			header_digest;
	bool			data_digest;
	enum crc32c_order	order;
	/*
	 * Largest DataSegmentLength accepted, in bytes; 0 only where the caller
	 * really wants no limit but the 24 bits of the field.
	 */
	uint32_t		max_dsl;
};

enum pdu_error {
	PDU_OK = 0,
	PDU_E_DSL,		/* DataSegmentLength above the limit */
	PDU_E_AHS,		/* an initiator's: ill-formed or not allowed */
	PDU_E_OPCODE,		/* reserved opcode, or the other side's */
	PDU_E_HEADER_DIGEST,
	PDU_E_DATA_DIGEST
};

enum pdu_event_kind {
	PDU_EV_MORE,	/* all input used; feed more */
	PDU_EV_HEADER,	/* header complete, verified and within the limits */
	PDU_EV_DATA,	/* a piece of the data segment */
	PDU_EV_END,	/* the PDU is complete and its digests are right */
	PDU_EV_ERROR	/* see pdu_parser_error(); the stream is lost */
};

/* What one call of pdu_parser_feed() found. */
struct pdu_event {
	enum pdu_event_kind	 kind;
	const uint8_t		*data;	/* PDU_EV_DATA: inside the input */
	size_t			 len;	/* PDU_EV_DATA: without padding */
};

/* Who the parser's bytes come from: it decides which opcodes are legal. */
enum pdu_sender {
	PDU_FROM_TARGET,
	PDU_FROM_INITIATOR,
	PDU_FROM_ANYONE		/* no check of opcode and AHS */
};

/* What may come before and after the data segment, in bytes. */
#define PDU_HEAD_MAX	(ISCSI_BHS_LEN + ISCSI_AHS_MAX + CRC32C_SIZE)
#define PDU_TAIL_MAX	(3 + CRC32C_SIZE)	/* padding, then data digest */

/* Embedded in its owner; the members below the header are private. */
struct pdu_parser {
	/* Valid from PDU_EV_HEADER until the first feed after PDU_EV_END. */
	uint8_t			bhs[ISCSI_BHS_LEN];
	uint8_t			ahs[ISCSI_AHS_MAX];

	/* As received; see pdu_parser_header_digest() and what follows it. */
	uint8_t			header_digest[CRC32C_SIZE];
	uint8_t			tail[PDU_TAIL_MAX];

	struct pdu_framing	framing;
	struct pdu_framing	next_framing;
	enum pdu_sender		sender;
	uint8_t			state;
	enum pdu_error		error;
	uint32_t		have;		/* bytes of the current part */
	uint32_t		need;		/* length of the current part */
	uint32_t		crc;
};

/*
 * Start at a PDU boundary with the given framing, which is copied.
 */
void pdu_parser_init(struct pdu_parser *p, enum pdu_sender sender,
    const struct pdu_framing *framing);

/*
 * Change the framing from the first byte of the next PDU on: after the final
 * Login Response both directions switch at that byte (RFC 7143 section
 * 11.13.5, 13.1).  Call it at PDU_EV_END at the latest.
 */
void pdu_parser_set_framing(struct pdu_parser *p,
    const struct pdu_framing *framing);

/*
 * Take up to `len` bytes from `buf`, report one event, return the number of
 * bytes used.  PDU_EV_HEADER and PDU_EV_END may use no byte; call again until
 * PDU_EV_MORE.  The length fields are checked as soon as the header is
 * complete, and with a header digest only after it has been verified.  The
 * data digest covers the padding as received (RFC 7143 section 11.2.3).
 * After PDU_EV_ERROR every further call reports the same error and uses no
 * byte.
 */
size_t pdu_parser_feed(struct pdu_parser *p, const uint8_t *buf, size_t len,
    struct pdu_event *ev);

/* The error of a PDU_EV_ERROR; PDU_OK otherwise. */
enum pdu_error pdu_parser_error(const struct pdu_parser *p);

/* True if the stream may end here: no byte of a PDU is pending. */
bool pdu_parser_at_boundary(const struct pdu_parser *p);

/*
 * The digests of the PDU that PDU_EV_END told of, as they were received, or
 * NULL where its framing has none or there was no data segment.  Valid until
 * the next feed.  What bhs says of the lengths must not have been rewritten.
 */
const uint8_t *pdu_parser_header_digest(const struct pdu_parser *p);
const uint8_t *pdu_parser_data_digest(const struct pdu_parser *p);

/* The bytes of an incomplete PDU that a parser keeps, as received. */
struct pdu_pending {
	uint8_t	head[PDU_HEAD_MAX];	/* BHS, AHS, header digest */
	size_t	head_len;
	uint8_t	tail[PDU_TAIL_MAX];	/* padding, data digest */
	size_t	tail_len;
};

/*
 * What was fed since the last PDU_EV_END is head, then the pieces of all
 * PDU_EV_DATA since, which the caller has, then tail: a new parser that is
 * fed with these goes on where this one stands.  Both are empty at a boundary
 * and after PDU_EV_ERROR.
 */
void pdu_parser_pending(const struct pdu_parser *p, struct pdu_pending *out);

/* The error in words; never NULL. */
const char *pdu_error_name(enum pdu_error error);

/* Most iovecs that pdu_serialize() adds besides the caller's data pieces. */
#define PDU_IOV_OVERHEAD 4

/*
 * Room for what the serializer adds to a PDU; must live as long as the iovecs
 * are in use.
 */
struct pdu_trailer {
	uint8_t	header_digest[CRC32C_SIZE];
	uint8_t	tail[PDU_TAIL_MAX];
};

/* Digest words to be sent whatever the right ones are. */
struct pdu_own_digests {
	bool	header, data;		/* which are given */
	uint8_t	header_word[CRC32C_SIZE];	/* as on the wire */
	uint8_t	data_word[CRC32C_SIZE];
};

/*
 * Lay out one PDU as iovecs: BHS, AHS, header digest, `ndata` pieces of the
 * data segment, padding of zeroes, data digest.  `ahs` may be NULL when the
 * BHS says TotalAHSLength 0.  The BHS's lengths must agree with what is given
 * and digests are computed over the bytes as they are now: stamp first.
 * Fills at most `ndata` + PDU_IOV_OVERHEAD entries of `iov` and returns their
 * number, or -EINVAL if the lengths disagree, or -ENOBUFS if `iovmax` is too
 * small.  `*total` receives the PDU's length on the wire in bytes.
 */
int pdu_serialize(const uint8_t *bhs, const uint8_t *ahs,
    const struct iovec *data, size_t ndata, const struct pdu_framing *framing,
    struct pdu_trailer *trailer, struct iovec *iov, size_t iovmax,
    size_t *total);

/*
 * Put words of the caller's own in place of the digests of a PDU that
 * pdu_serialize() has laid out with `trailer`.  A digest that the framing
 * does not have is not sent, given or not.
 */
void pdu_put_own_digests(const struct pdu_own_digests *own,
    const uint8_t *bhs, struct pdu_trailer *trailer);

#endif
