/* SPDX-License-Identifier: ISC */
/*
 * Payloads of the frames of raw connections (PROTOCOL.md section 17): plain
 * structures on this side, bytes on the other, by the rules of msg.h.
 */
#ifndef PROTO_MSG_RAW_H
#define PROTO_MSG_RAW_H

#include <stddef.h>
#include <stdint.h>

#include "proto/msg.h"

#define MSG_PORTAL_MAX	255	/* bytes of HOST:PORT */
#define MSG_ADDRESS_MAX	127	/* bytes of ADDRESS:PORT */

/* Bytes of a stream that travel with an ADOPT or EXPORTED in all. */
#define MSG_UNREAD_MAX	(17u * 1024 * 1024)

enum msg_raw_phase {
	MSG_RAW_LOGIN = 0,		/* login not begun, or under way */
	MSG_RAW_FULL_FEATURE = 1
};

enum msg_raw_flag {
	/* SET, and told by STATE. */
	MSG_RAW_HEADER_DIGEST = 0x0001,
	MSG_RAW_DATA_DIGEST = 0x0002,
	MSG_RAW_BIG_ENDIAN = 0x0004,	/* byte order of digests */
	MSG_RAW_MANUAL = 0x0008,	/* digests = manual */
	MSG_RAW_SHOW_DIGESTS = 0x0010,
	MSG_RAW_UNCHECKED = 0x0020,
	/* Told by STATE only, or given with ADOPT. */
	MSG_RAW_INITIAL_R2T = 0x0100,
	MSG_RAW_IMMEDIATE_DATA = 0x0200,
	MSG_RAW_DISCOVERY = 0x0400,	/* a discovery session */
	MSG_RAW_NUMBERS = 0x0800,	/* the sequence numbers are known */
	MSG_RAW_ADOPTED = 0x1000,	/* its socket was adopted */
	/* SET: which of the other fields are given. */
	MSG_RAW_SET_RECV_DSL = 0x10000,
	MSG_RAW_SET_SEND_DSL = 0x20000,
	MSG_RAW_SET_READ_DEADLINE = 0x40000,
	MSG_RAW_SET_WRITE_DEADLINE = 0x80000
};

/* The flags that SET may change. */
#define MSG_RAW_SETTABLE	0x003fu
/* What may stand in the mask of SET. */
#define MSG_RAW_SET_MASK	(MSG_RAW_SETTABLE | 0xf0000u)
/* The flags that ADOPT may give. */
#define MSG_RAW_ADOPTABLE	0x0f3fu

/*
 * What is known of a raw connection.  Lengths in bytes; 0 where nothing was
 * negotiated, and in recv_dsl and send_dsl: no limit.
 */
struct msg_raw_params {
	uint8_t		phase;		/* enum msg_raw_phase */
	uint32_t	flags;		/* enum msg_raw_flag */
	uint32_t	recv_dsl;	/* the initiator's MaxRecvDataSegmentLength */
	uint32_t	send_dsl;	/* the target's */
	uint32_t	max_burst;
	uint32_t	first_burst;
	uint32_t	max_r2t;	/* MaxOutstandingR2T */
	uint32_t	cmdsn;		/* of the next request */
	uint32_t	exp_cmdsn;
	uint32_t	max_cmdsn;
	uint32_t	exp_statsn;
	uint8_t		isid[6];
	uint16_t	tsih;
	char		target[MSG_TARGET_MAX + 1];	/* its name, or "" */
};

struct msg_open {
	uint32_t	timeout;	/* look-up and connect, ms; 0: 10 s */
	uint32_t	deadline;	/* default of a task, ms; 0 = none */
	uint32_t	events;		/* mask, as in ATTACH */
	char		portal[MSG_PORTAL_MAX + 1];
};

/* The fields of the first ADOPT frame; bytes of the stream follow. */
struct msg_adopt {
	uint32_t		deadline;
	uint32_t		events;
	struct msg_raw_params	params;
	uint32_t		unread;		/* bytes of the stream in all */
};

struct msg_set {
	uint32_t	mask;		/* enum msg_raw_flag: what is given */
	uint32_t	flags;
	uint32_t	recv_dsl;
	uint32_t	send_dsl;
	uint32_t	read_deadline;	/* ms from now; 0 = none */
	uint32_t	write_deadline;
};

struct msg_share {
	char		session[MSG_NAME_MAX + 1];
};

struct msg_state {
	struct msg_raw_params	params;
	uint32_t		read_deadline;	/* ms left; 0 = none */
	uint32_t		write_deadline;
	uint64_t		bytes_in, bytes_out;
	uint64_t		pdus_in, pdus_out;
	uint32_t		pending;	/* tasks somebody waits for */
	uint32_t		live;		/* tasks the target may answer */
	uint64_t		unsent;		/* bytes of PDUs accepted */
	char			local[MSG_ADDRESS_MAX + 1];
	char			peer[MSG_ADDRESS_MAX + 1];
};

/* The fields of the first EXPORTED frame; bytes of the stream follow. */
struct msg_exported {
	struct msg_raw_params	params;
	uint32_t		unread;
};

struct msg_tag {
	uint32_t	itt;
};

/*
 * As in msg.h.  The decoders of ADOPT and EXPORTED return the length of the
 * fields, behind which the bytes of the stream begin, or -EBADMSG.
 */
int msg_open_encode(const struct msg_open *m, uint8_t *buf, size_t size);
int msg_open_decode(const uint8_t *buf, size_t len, struct msg_open *m);
int msg_adopt_encode(const struct msg_adopt *m, uint8_t *buf, size_t size);
int msg_adopt_decode(const uint8_t *buf, size_t len, struct msg_adopt *m);
int msg_set_encode(const struct msg_set *m, uint8_t *buf, size_t size);
int msg_set_decode(const uint8_t *buf, size_t len, struct msg_set *m);
int msg_share_encode(const struct msg_share *m, uint8_t *buf, size_t size);
int msg_share_decode(const uint8_t *buf, size_t len, struct msg_share *m);
int msg_state_encode(const struct msg_state *m, uint8_t *buf, size_t size);
int msg_state_decode(const uint8_t *buf, size_t len, struct msg_state *m);
int msg_exported_encode(const struct msg_exported *m, uint8_t *buf,
    size_t size);
int msg_exported_decode(const uint8_t *buf, size_t len,
    struct msg_exported *m);
int msg_tag_encode(const struct msg_tag *m, uint8_t *buf, size_t size);
int msg_tag_decode(const uint8_t *buf, size_t len, struct msg_tag *m);

#endif
