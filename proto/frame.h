/* SPDX-License-Identifier: ISC */
/*
 * The frames of the data socket (PROTOCOL.md): a fixed 16-byte header in
 * network byte order, then a payload.  This file owns the header, the
 * incremental frame parser, and the assembly of a PDU from one or more
 * frames; msg.h owns the payloads of all other frames.  No I/O, no
 * allocation.
 */
#ifndef PROTO_FRAME_H
#define PROTO_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/iscsi.h"

#define FRAME_HEADER_LEN	16

/* Limits in bytes. */
#define FRAME_PAYLOAD_SMALL	4096u		/* before WELCOME; with an fd */
#define FRAME_DATA_MAX		(256u * 1024)	/* of a data segment, a frame */
#define FRAME_TLV_MAX		1024u		/* all TLVs of one frame */
#define FRAME_PAYLOAD_MAX						\
	(ISCSI_BHS_LEN + ISCSI_AHS_MAX + FRAME_DATA_MAX + FRAME_TLV_MAX)

/*
 * Frame types.  Requests of a client lie below 0x40, the daemon's frames from
 * 0x40 to 0x7f; a receiver may ignore types from 0x80 that it does not know.
 * 0x10 to 0x1f and from 0x50 on are those of raw connections.
 */
#define FRAME_TYPES(X)							\
	X(HELLO, 0x01)							\
	X(ATTACH, 0x02)							\
	X(SUBMIT, 0x03)							\
	X(CANCEL, 0x04)							\
	X(LIST, 0x05)							\
	X(PING, 0x06)							\
	X(OPEN, 0x10)							\
	X(ADOPT, 0x11)							\
	X(SET, 0x12)							\
	X(GET, 0x13)							\
	X(EXPORT, 0x14)							\
	X(SHARE, 0x15)							\
	X(UNSHARE, 0x16)						\
	X(CLOSE, 0x17)							\
	X(WELCOME, 0x41)						\
	X(ATTACHED, 0x42)						\
	X(PDU, 0x43)							\
	X(OUTCOME, 0x44)						\
	X(OK, 0x45)							\
	X(ERROR, 0x46)							\
	X(LISTING, 0x47)						\
	X(PONG, 0x48)							\
	X(EVENT, 0x49)							\
	X(GOODBYE, 0x4a)						\
	X(STATE, 0x50)							\
	X(EXPORTED, 0x51)						\
	X(TAG, 0x52)

enum frame_type {
#define X(name, value) FRAME_##name = value,
	FRAME_TYPES(X)
#undef X
	FRAME_IGNORABLE = 0x80
};

enum frame_flag {
	FRAME_F_MORE = 0x0001,		/* more fragments of the PDU follow */
	FRAME_F_VOID = 0x0002,		/* last fragment: forget the PDU */
	FRAME_F_FD = 0x0004,		/* a file descriptor travels with it */
	FRAME_F_FATAL = 0x0008,		/* ERROR: the connection ends */
	FRAME_F_SYNTHETIC = 0x0010,	/* PDU: made by the daemon itself */
	FRAME_F_UNMATCHED = 0x0020,	/* PDU: nobody registered for it */
	FRAME_F_TLV = 0x0040		/* SUBMIT, PDU: TLVs follow the data */
};

struct frame_header {
	uint32_t	len;		/* payload bytes */
	uint16_t	type;
	uint16_t	flags;
	uint64_t	cookie;
};

/* Encode `h` into the FRAME_HEADER_LEN bytes at `wire`. */
void frame_header_put(uint8_t *wire, const struct frame_header *h);

/* Decode the FRAME_HEADER_LEN bytes at `wire`; nothing is checked. */
void frame_header_get(const uint8_t *wire, struct frame_header *h);

/* The type's name, "unknown" for others; never NULL. */
const char *frame_type_name(uint16_t type);

/* The flags that a frame of this type may carry; 0 for unknown types too. */
uint16_t frame_flags_allowed(uint16_t type);

enum frame_event_kind {
	FRAME_EV_MORE,		/* all input used; feed more */
	FRAME_EV_HEADER,	/* parser->header is complete */
	FRAME_EV_PAYLOAD,	/* a piece of the payload */
	FRAME_EV_END,		/* the frame is complete */
	FRAME_EV_TOO_LONG	/* header.len above the limit; stream is lost */
};

struct frame_event {
	enum frame_event_kind	 kind;
	const uint8_t		*data;	/* FRAME_EV_PAYLOAD: inside the input */
	size_t			 len;
};

/* Embedded in its owner; members but `header` are private. */
struct frame_parser {
	struct frame_header	header;	/* valid from HEADER to END */
	uint32_t		limit;
	uint32_t		left;
	uint8_t			state;
	uint8_t			have;
	uint8_t			wire[FRAME_HEADER_LEN];
};

/* Start at a frame boundary; payloads above `limit` bytes are an error. */
void frame_parser_init(struct frame_parser *p, uint32_t limit);

/* Change the limit for the frames that follow. */
void frame_parser_set_limit(struct frame_parser *p, uint32_t limit);

/*
 * Take up to `len` bytes from `buf`, report one event, return the number of
 * bytes used.  HEADER and END may use no byte; call again until MORE.  After
 * TOO_LONG every call reports it again.
 */
size_t frame_parser_feed(struct frame_parser *p, const uint8_t *buf,
    size_t len, struct frame_event *ev);

/* True if a part of a frame's header is there and the rest is not. */
bool frame_parser_in_header(const struct frame_parser *p);

/* True if no byte of a frame is pending. */
bool frame_parser_at_boundary(const struct frame_parser *p);

enum frame_pdu_kind {
	FRAME_PDU_MORE,		/* all input used */
	FRAME_PDU_HEAD,		/* BHS and AHS are complete */
	FRAME_PDU_DATA,		/* a piece of the data segment */
	FRAME_PDU_TLV,		/* a piece of the TLVs */
	FRAME_PDU_BAD		/* more bytes than the BHS announces */
};

struct frame_pdu_event {
	enum frame_pdu_kind	 kind;
	const uint8_t		*data;
	size_t			 len;
};

/*
 * A PDU on its way through SUBMIT or PDU frames: BHS, AHS, data segment
 * without padding or digest, and, with flag TLV on the last frame, TLVs.
 */
struct frame_pdu {
	uint8_t		bhs[ISCSI_BHS_LEN];
	uint8_t		ahs[ISCSI_AHS_MAX];
	uint32_t	have;		/* bytes seen, of all parts */
	uint32_t	head;		/* BHS and AHS, known after the BHS */
	uint32_t	total;		/* without TLVs */
	uint32_t	frame_data;	/* data bytes in the current frame */
	bool		tlv;		/* current frame has flag TLV */
};

/* Expect the first frame of a PDU. */
void frame_pdu_init(struct frame_pdu *a);

/* A frame with these flags begins. */
void frame_pdu_begin(struct frame_pdu *a, uint16_t flags);

/* Take payload bytes; one event a call, as frame_parser_feed() does. */
size_t frame_pdu_feed(struct frame_pdu *a, const uint8_t *buf, size_t len,
    struct frame_pdu_event *ev);

/*
 * The frame ended.  Returns 0 if the PDU is complete (or void), 1 if more
 * frames must follow, -EBADMSG if the lengths disagree: a first frame without
 * a whole header, a last frame without all data, MORE on a frame that
 * completes the PDU, more than FRAME_DATA_MAX bytes of data, a fragment
 * without data.
 */
int frame_pdu_end(struct frame_pdu *a, uint16_t flags);

#endif
