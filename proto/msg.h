/* SPDX-License-Identifier: ISC */
/*
 * Payloads of the data socket's frames other than SUBMIT and PDU, as
 * PROTOCOL.md draws them: plain structures on this side, bytes on the other.
 * Decoders accept unknown TLVs that may be ignored and refuse all other
 * surprises; encoders never write past their buffer.  No I/O, no allocation:
 * decoded strings are copied into the structure, NUL-terminated.
 */
#ifndef PROTO_MSG_H
#define PROTO_MSG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MSG_MAGIC		UINT32_C(0x694d5558)	/* "iMUX" */
#define MSG_VERSION		1u
#define MSG_NAME_MAX		63	/* bytes of a session or client name */
#define MSG_TEXT_MAX		255	/* bytes of a text for people */
#define MSG_TARGET_MAX		223	/* bytes of an iSCSI name */

/* Every encoded payload of this file fits into this many bytes. */
#define MSG_PAYLOAD_MAX		4096u

#define MSG_PING_MAX		64	/* bytes of a PING or PONG */

/*
 * TLV: type 16 bits, length 16 bits, value.  Types with the top bit set may
 * be ignored by a receiver that does not know them; others are an error.
 */
#define MSG_TLV_IGNORABLE	0x8000u
#define MSG_TLV_DEADLINE	0x0001u	/* SUBMIT: u32, ms; 0 = none */
#define MSG_TLV_EXPECT		0x0002u	/* SUBMIT: u8, enum msg_expect */
#define MSG_TLV_FREE_ITT	0x0003u	/* SUBMIT: empty */
#define MSG_TLV_DIGESTS		0x0004u	/* SUBMIT, PDU: struct msg_digests */
#define MSG_TLV_BYTES		0x0005u	/* EVENT closed: u64 in, u64 out */

/* Optional features of HELLO and WELCOME. */
#define MSG_FEATURE_RAW		UINT64_C(0x1)	/* raw connections */

/* HELLO.  Never changes, whatever the version. */
struct msg_hello {
	uint16_t	version_min;
	uint16_t	version_max;
	uint64_t	features;
	char		name[MSG_NAME_MAX + 1];
};

struct msg_welcome {
	uint16_t	version;
	uint64_t	features;		/* common to both */
	uint32_t	payload_max;		/* bytes of a frame's payload */
	uint32_t	data_max;		/* bytes of data in one frame */
	uint32_t	tasks_max;		/* open tasks of this client */
	char		daemon[MSG_NAME_MAX + 1];	/* name and version */
};

/* Access levels; this version tells only RESET apart from the others. */
enum msg_access {
	MSG_ACCESS_READ = 0x01,
	MSG_ACCESS_WRITE = 0x02,
	MSG_ACCESS_MANAGE = 0x04,
	MSG_ACCESS_RESET = 0x08,
	MSG_ACCESS_TASK_ATTRIBUTES = 0x10,
	MSG_ACCESS_ALL = 0x1f
};

enum msg_attach_flag {
	MSG_ATTACH_EXCLUSIVE = 0x01,
	MSG_ATTACH_HOLD = 0x02
};

struct msg_attach {
	uint32_t	access;		/* wanted; 0: all that is granted */
	uint32_t	flags;
	uint32_t	deadline;	/* default of a task, ms; 0 = none */
	uint32_t	events;		/* mask: 1 << enum msg_event_kind */
	char		session[MSG_TARGET_MAX + 1];	/* or its target */
};

enum msg_session_state {
	MSG_SESSION_DOWN = 0,
	MSG_SESSION_CONNECTING = 1,
	MSG_SESSION_LOGIN = 2,
	MSG_SESSION_UP = 3,
	MSG_SESSION_LOGOUT = 4
};

enum msg_params_flag {
	MSG_PARAM_INITIAL_R2T = 0x01,
	MSG_PARAM_IMMEDIATE_DATA = 0x02,
	MSG_PARAM_HEADER_DIGEST = 0x04,
	MSG_PARAM_DATA_DIGEST = 0x08
};

/* Negotiated values of a session; lengths in bytes (RFC 7143 section 13). */
struct msg_params {
	uint32_t	generation;	/* counts successful logins */
	uint32_t	flags;
	uint32_t	send_dsl;	/* target's MaxRecvDataSegmentLength */
	uint32_t	recv_dsl;	/* ours */
	uint32_t	max_burst;
	uint32_t	first_burst;
	uint32_t	max_r2t;	/* MaxOutstandingR2T */
};

struct msg_attached {
	uint8_t			state;		/* enum msg_session_state */
	uint32_t		access;		/* granted */
	uint32_t		tasks_max;
	uint64_t		inbound_max;	/* bytes */
	uint64_t		outbound_max;	/* bytes */
	struct msg_params	params;		/* zero until the first login */
};

enum msg_cancel_by {
	MSG_CANCEL_COOKIE = 0,
	MSG_CANCEL_ITT = 1
};

struct msg_cancel {
	uint8_t		by;
	uint64_t	value;		/* cookie of the SUBMIT, or ITT */
};

/* How a task ended without a final PDU. */
#define MSG_OUTCOMES(X)							\
	X(REFUSED, 1, "refused")					\
	X(NOT_SENT, 2, "not-sent")					\
	X(UNKNOWN, 3, "unknown")					\
	X(ABORTED, 4, "aborted")					\
	X(TIMED_OUT, 5, "timed-out")

enum msg_outcome_code {
#define X(name, value, text) MSG_OUTCOME_##name = value,
	MSG_OUTCOMES(X)
#undef X
};

/* Why; shared by OUTCOME, ERROR and GOODBYE. */
#define MSG_REASONS(X)							\
	X(NONE, 0, "none")						\
	X(BAD_FRAME, 1, "bad-frame")					\
	X(BAD_TYPE, 2, "unknown-type")					\
	X(BAD_FLAGS, 3, "bad-flags")					\
	X(BAD_PAYLOAD, 4, "bad-payload")				\
	X(TOO_LONG, 5, "too-long")					\
	X(BAD_FD, 6, "bad-fd")						\
	X(BAD_VERSION, 7, "no-common-version")				\
	X(NOT_HELLO, 8, "hello-expected")				\
	X(BAD_STATE, 9, "wrong-state")					\
	X(NO_SUCH_SESSION, 10, "no-such-session")			\
	X(NOT_PERMITTED, 11, "not-permitted")				\
	X(NO_SUCH_TASK, 12, "no-such-task")				\
	X(BAD_OPCODE, 13, "opcode-not-allowed")				\
	X(BAD_LENGTH, 14, "lengths-disagree")				\
	X(BAD_ITT, 15, "bad-initiator-task-tag")			\
	X(BAD_TAG, 16, "bad-target-transfer-tag")			\
	X(BAD_FIELD, 17, "bad-field")					\
	X(DATA_LIMIT, 18, "data-limit")					\
	X(QUOTA, 19, "over-quota")					\
	X(SESSION_DOWN, 20, "session-down")				\
	X(CANCELLED, 21, "cancelled")					\
	X(DEADLINE, 22, "deadline")					\
	X(RESET, 23, "reset-by-another-client")				\
	X(CONNECTION_LOST, 24, "connection-lost")			\
	X(SHUTDOWN, 25, "shutting-down")				\
	X(HELLO_TIMEOUT, 26, "hello-timeout")				\
	X(STALLED, 27, "client-stalled")				\
	X(KICKED, 28, "removed-by-admin")				\
	X(R2T_TIMEOUT, 29, "no-data-for-r2t")				\
	X(NOT_SUPPORTED, 30, "not-supported")				\
	X(BUSY, 31, "busy")						\
	X(INTERNAL, 32, "internal-error")				\
	X(CONNECT, 33, "connect-failed")				\
	X(REINSTATE, 34, "would-reinstate")

enum msg_reason {
#define X(name, value, text) MSG_R_##name = value,
	MSG_REASONS(X)
#undef X
};

enum msg_outcome_flag {
	MSG_OUTCOME_F_NOT_SENT = 0x01	/* aborted or timed out before a byte
					   of the request was sent */
};

/* TMF response field when the daemon saw none. */
#define MSG_TMF_NO_RESPONSE 0xffu

struct msg_outcome {
	uint8_t		outcome;	/* enum msg_outcome_code */
	uint8_t		flags;
	uint8_t		tmf_response;	/* of the daemon's ABORT TASK */
	uint16_t	reason;		/* enum msg_reason */
	uint32_t	itt;		/* the client's */
	char		text[MSG_TEXT_MAX + 1];
};

struct msg_error {
	uint16_t	reason;		/* enum msg_reason */
	uint16_t	frame_type;	/* of the frame at fault */
	char		text[MSG_TEXT_MAX + 1];
};

enum msg_event_kind {
	MSG_EVENT_SESSION_UP = 0,	/* params hold the new values */
	MSG_EVENT_SESSION_DOWN = 1,
	MSG_EVENT_PARAMETERS = 2,
	MSG_EVENT_ASYNC = 3,		/* Async Message; code = AsyncEvent */
	MSG_EVENT_UNIT_ATTENTION = 4,	/* code = ASC << 8 | ASCQ */
	MSG_EVENT_RESET = 5,		/* code = TMF function */
	MSG_EVENT_LOST = 6,		/* count = events not delivered */
	MSG_EVENT_CLOSED = 7,		/* raw: code = errno, or 0 */
	/*
	 * Never an EVENT frame: this bit of the mask asks for the PDUs with the
	 * reserved Initiator Task Tag, which come as PDU frames.
	 */
	MSG_EVENT_UNSOLICITED = 8,
	MSG_EVENT_KINDS = 9
};

struct msg_event {
	uint8_t			kind;
	uint32_t		count;		/* of merged ones, from 1 */
	uint64_t		lun;		/* as in the BHS; 0 if none */
	uint32_t		code;
	struct msg_params	params;		/* kinds 0 and 2, else zero */
	char			text[MSG_TEXT_MAX + 1];
	uint64_t		bytes_in;	/* kind 7, else zero */
	uint64_t		bytes_out;
};

enum msg_listing_flag {
	MSG_LISTING_SHARED = 0x01,	/* made by SHARE */
	MSG_LISTING_ADOPTED = 0x02	/* and its socket was adopted */
};

/* One entry of a LISTING. */
struct msg_listing_entry {
	uint8_t		state;		/* enum msg_session_state */
	uint8_t		flags;		/* enum msg_listing_flag */
	uint32_t	access;		/* what the client would be granted */
	char		session[MSG_NAME_MAX + 1];
	char		target[MSG_TARGET_MAX + 1];
};

struct msg_goodbye {
	uint16_t	reason;		/* enum msg_reason */
	char		text[MSG_TEXT_MAX + 1];
};

/*
 * Encoders write the payload to the `size` bytes at `buf` and return its
 * length, or -ENOBUFS.  Texts too long for their field are cut, and bytes
 * that a decoder would refuse become '?'.
 * Decoders read a whole payload and return 0, or -EBADMSG if it is too short,
 * has bytes left over that are no TLV, a string that is not UTF-8 or has a
 * control character inside, or a TLV that must not be ignored.
 */
int msg_hello_encode(const struct msg_hello *m, uint8_t *buf, size_t size);
int msg_hello_decode(const uint8_t *buf, size_t len, struct msg_hello *m);
int msg_welcome_encode(const struct msg_welcome *m, uint8_t *buf, size_t size);
int msg_welcome_decode(const uint8_t *buf, size_t len, struct msg_welcome *m);
int msg_attach_encode(const struct msg_attach *m, uint8_t *buf, size_t size);
int msg_attach_decode(const uint8_t *buf, size_t len, struct msg_attach *m);
int msg_attached_encode(const struct msg_attached *m, uint8_t *buf,
    size_t size);
int msg_attached_decode(const uint8_t *buf, size_t len,
    struct msg_attached *m);
int msg_cancel_encode(const struct msg_cancel *m, uint8_t *buf, size_t size);
int msg_cancel_decode(const uint8_t *buf, size_t len, struct msg_cancel *m);
int msg_outcome_encode(const struct msg_outcome *m, uint8_t *buf, size_t size);
int msg_outcome_decode(const uint8_t *buf, size_t len, struct msg_outcome *m);
int msg_error_encode(const struct msg_error *m, uint8_t *buf, size_t size);
int msg_error_decode(const uint8_t *buf, size_t len, struct msg_error *m);
int msg_event_encode(const struct msg_event *m, uint8_t *buf, size_t size);
int msg_event_decode(const uint8_t *buf, size_t len, struct msg_event *m);
int msg_goodbye_encode(const struct msg_goodbye *m, uint8_t *buf, size_t size);
int msg_goodbye_decode(const uint8_t *buf, size_t len, struct msg_goodbye *m);

/*
 * LISTING: a 16-bit count and as many entries.  A listing too long for one
 * frame travels as several, flag MORE on all but the last.  The encoder takes
 * as many of the `n` entries as fit into `size` bytes, stores their number in
 * `*taken` and returns the length.  The decoder is called with the payload
 * and walks it: `*pos` is 0 at first; returns 1 and an entry, 0 at the end,
 * -EBADMSG.
 */
int msg_listing_encode(const struct msg_listing_entry *entries, size_t n,
    uint8_t *buf, size_t size, size_t *taken);
int msg_listing_next(const uint8_t *buf, size_t len, size_t *pos,
    struct msg_listing_entry *entry);

/* Which responses a SUBMIT on a raw connection waits for. */
enum msg_expect {
	MSG_EXPECT_AUTO = 0,	/* not in the TLV: many if it opens a task */
	MSG_EXPECT_NONE = 1,
	MSG_EXPECT_ONE = 2,	/* the first PDU with its tag, whatever it is */
	MSG_EXPECT_MANY = 3	/* all up to the last of the task */
};

/* Digest words in the order of their bytes on the wire. */
struct msg_digests {
	bool		header;		/* header_word is given */
	bool		data;
	uint8_t		header_word[4];
	uint8_t		data_word[4];
};

/* The TLVs of a SUBMIT; all but the deadline are for raw connections. */
struct msg_submit_options {
	uint32_t		deadline;	/* ms; 0 = none */
	uint8_t			expect;		/* enum msg_expect */
	bool			free_itt;	/* the daemon chooses the tag */
	struct msg_digests	digests;
};

/* Longest encoding of all of them. */
#define MSG_SUBMIT_TLV_MAX	64

/*
 * Encode writes the deadline if `with_deadline`, the others if they are not
 * zero; returns the length or -ENOBUFS.  Decode leaves in `*o` what is not
 * given; 0 or -EBADMSG.
 */
int msg_submit_tlv_encode(const struct msg_submit_options *o,
    bool with_deadline, uint8_t *buf, size_t size);
int msg_submit_tlv_decode(const uint8_t *buf, size_t len,
    struct msg_submit_options *o);

/* The TLVs of a PDU: the digests as received.  As above. */
int msg_pdu_tlv_encode(const struct msg_digests *d, uint8_t *buf, size_t size);
int msg_pdu_tlv_decode(const uint8_t *buf, size_t len, struct msg_digests *d);

/*
 * The payload of OK, LIST, GET and the like, and any other that has no fields: nothing but
 * TLVs that may be ignored.  Returns 0 or -EBADMSG.
 */
int msg_tlv_check(const uint8_t *buf, size_t len);

/* Names for people and programs; "unknown" for other values; never NULL. */
const char *msg_outcome_name(unsigned outcome);
const char *msg_reason_name(unsigned reason);
const char *msg_event_name(unsigned kind);
const char *msg_state_name(unsigned state);

#endif
