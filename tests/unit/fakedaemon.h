/* SPDX-License-Identifier: ISC */
/*
 * The daemon's end of a data socket, played by a unit test of libiscsimux: a
 * handle over one end of a socket pair, and functions that read and write
 * frames at the other.  One thread runs both, so nothing waits for time.
 */
#ifndef ISCSIMUX_TESTS_FAKEDAEMON_H
#define ISCSIMUX_TESTS_FAKEDAEMON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client/iscsimux.h"
#include "client/iscsimux_raw.h"
#include "proto/frame.h"
#include "proto/iscsi.h"
#include "proto/msg.h"
#include "proto/msg_raw.h"

#define FAKE_TASKS_MAX	8u

/* A frame as the client sent it. */
struct fake_frame {
	struct frame_header	h;
	uint8_t			payload[FRAME_PAYLOAD_MAX];
	const uint8_t		*bhs;		/* of a SUBMIT with one */
	const uint8_t		*data;
	uint32_t		dsl;		/* data bytes in this frame */
};

/* What the handle called back. */
struct fake_news {
	unsigned	attached, events, pdus, closed;
	int		attach_error, close_error;
	struct iscsimux_session session;
	struct iscsimux_event	event;
	char		text[MSG_TEXT_MAX + 1];
	bool		free_in_closed;
	bool		unmatched;	/* the last of on_pdu */
	struct iscsimux_digests digests;
};

struct fake {
	struct iscsimux	*h;
	int		 fd;		/* the daemon's end, -1 if closed */
	uint64_t	 features;	/* that WELCOME agrees to */
	int		 sent_fd;	/* last that the client sent, -1 */
	struct fake_news news;
	struct fake_frame frame;	/* the last that fake_next() read */
};

/* How requests ended; one for each. */
struct fake_end {
	unsigned	count;
	struct iscsimux_result r;
	uint8_t		sense[256];
	char		text[MSG_TEXT_MAX + 1];
	void		(*hook)(struct iscsimux *h, struct fake_end *e);
	void		*arg;
};

/* Parameters that most tests use: everything allowed, small limits. */
struct msg_params fake_params(void);

/* A handle whose connection waits for HELLO to be read. */
void fake_open(struct fake *f);

/* HELLO, WELCOME, ATTACH, ATTACHED. */
void fake_attach(struct fake *f, const struct msg_params *params);

/* HELLO, WELCOME with raw connections. */
void fake_ready(struct fake *f);

/* The same, OPEN, OK; events are all asked for. */
void fake_raw(struct fake *f);

/* OK, STATE, EVENT closed. */
void fake_ok(struct fake *f, uint64_t cookie);
void fake_state(struct fake *f, uint64_t cookie, const struct msg_state *m);
void fake_event_closed(struct fake *f, uint32_t error, const char *text,
    uint64_t in, uint64_t out);

/* PONG to the PING that the client sends behind PDUs without an answer. */
void fake_fence(struct fake *f);

/* A frame with a descriptor on its first byte; no turn follows. */
void fake_send_fd(struct fake *f, uint16_t type, uint16_t flags,
    uint64_t cookie, const void *payload, size_t len, int fd);

/* How many descriptors this process has open. */
unsigned fake_count_fds(void);

/* iscsimux_status_fn with a struct fake_status as cookie. */
struct fake_status {
	unsigned	count;
	int		error;
	char		text[MSG_TEXT_MAX + 1];
};
void fake_status(struct iscsimux *h, void *cookie, int error);

/* Free the handle and close. */
void fake_close(struct fake *f);

/* Close the daemon's end only. */
void fake_die(struct fake *f);

/* Let the handle do all that it can do now. */
void fake_turn(struct fake *f);

/* The next frame of the client into f->frame; false if there is none. */
bool fake_next(struct fake *f);

/* It must be there and have this type. */
void fake_want(struct fake *f, uint16_t type);

/* Send bytes, a frame, a PDU frame; then a turn. */
void fake_bytes(struct fake *f, const void *buf, size_t len);
void fake_frame(struct fake *f, uint16_t type, uint16_t flags,
    uint64_t cookie, const void *payload, size_t len);
void fake_pdu(struct fake *f, uint64_t cookie, const uint8_t *bhs,
    const void *data, size_t len);

/* The same without the turn; returns the length at `buf`. */
size_t fake_encode(uint8_t *buf, uint16_t type, uint16_t flags,
    uint64_t cookie, const void *bhs, const void *data, size_t len);

/* WELCOME, ATTACHED, OUTCOME, ERROR. */
void fake_welcome(struct fake *f);
void fake_attached(struct fake *f, const struct msg_params *params,
    uint32_t tasks_max);
void fake_outcome(struct fake *f, uint64_t cookie, uint8_t outcome,
    uint16_t reason, const char *text);
void fake_error(struct fake *f, uint64_t cookie, uint16_t reason,
    uint16_t type, const char *text);

/* Answers of a target; `itt` is taken from the request in `bhs`. */
void fake_data_in(uint8_t *out, const uint8_t *request, uint32_t offset,
    uint32_t len);
void fake_response(uint8_t *out, const uint8_t *request, uint8_t status);
void fake_r2t(uint8_t *out, const uint8_t *request, uint32_t ttt,
    uint32_t offset, uint32_t len);

/* iscsimux_done_fn with a struct fake_end as cookie. */
void fake_done(struct iscsimux *h, void *cookie,
    const struct iscsimux_result *r);

/* Fill with bytes that tell their offset. */
void fake_pattern(uint8_t *buf, size_t len, uint32_t seed);

#endif
