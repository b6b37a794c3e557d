/* SPDX-License-Identifier: ISC */
/*
 * What the files of a client share among themselves:
 *
 *	client.c	its life: reading, writing, time-outs, the end
 *	client_frames.c	small frames of sessions, and every reply
 *	client_raw.c	frames of raw connections
 *	client_submit.c	a PDU from its SUBMIT frames to the session
 *	client_fds.c	descriptors that come along
 *	client_news.c	what the session says: PDUs, outcomes, events
 *	outq.c		what waits to be written
 *
 * Nothing outside of these files includes this header.
 */
#ifndef DAEMON_CLIENT_INTERNAL_H
#define DAEMON_CLIENT_INTERNAL_H

#include <sys/queue.h>
#include <sys/socket.h>

#include <stdbool.h>
#include <stdint.h>

#include "daemon/client.h"
#include "daemon/conf.h"
#include "daemon/log.h"
#include "daemon/loop.h"
#include "daemon/outq.h"
#include "daemon/pump.h"
#include "daemon/raw.h"
#include "daemon/session.h"
#include "daemon/worker.h"
#include "proto/frame.h"
#include "proto/msg.h"

/* Replies that no task's charge covers, in bytes; above, stop reading. */
#define CLIENT_REPLY_MAX	(64 * 1024)
/* Frames of one client in one turn: the other clients have theirs, too. */
#define CLIENT_FRAMES_TURN 256
/* PDUs of which some fragments are still to come. */
#define CLIENT_PARTIAL_MAX	64
#define CLIENT_PING_MAX		64
/* Pending events, one for each kind and LUN. */
#define CLIENT_EVENTS_MAX	32
/* Bytes of unsolicited PDUs of a session that may wait. */
#define CLIENT_STRAY_MAX	(64 * 1024)
/* Descriptors that came and belong to frames still to be parsed. */
#define CLIENT_FDS_MAX		8
/* Milliseconds for a raw connection to be made, unless OPEN says. */
#define CLIENT_OPEN_TIMEOUT	10000
/* Milliseconds that GOODBYE may take to leave. */
#define CLIENT_LINGER_MS	1000

enum client_state {
	CLIENT_HELLO,		/* waits for HELLO */
	CLIENT_READY,		/* WELCOME was sent */
	CLIENT_ATTACHED,	/* to a session, or has a raw connection */
	CLIENT_CLOSING,		/* GOODBYE is on its way */
	CLIENT_DEAD
};

/* A PDU on its way in through SUBMIT frames. */
struct incoming {
	TAILQ_ENTRY(incoming)	 link;
	struct frame_pdu	 frames;
	struct txpdu		*pdu;
	uint64_t		 cookie;
	uint64_t		 charged;	/* outbound bytes, of fragments */
	struct msg_submit_options options;
	uint8_t			 tlv[FRAME_TLV_MAX];
	uint32_t		 tlv_len;
	bool			 discard;	/* refused: swallow the rest */
};

/* An ADOPT of which some frames are still to come. */
struct adopting {
	uint64_t		 cookie;
	struct msg_adopt	 adopt;
	int			 fd;
	struct slices		 unread;
	uint64_t		 charged;	/* inbound bytes */
	bool			 discard;	/* refused: swallow the rest */
};

struct client {
	TAILQ_ENTRY(client)	 link;
	struct worker		*worker;
	struct log		*log;
	uint64_t		 id;
	int			 fd;
	struct peer		 peer;
	enum client_state	 state;
	void			(*on_gone)(void *);
	void			*on_gone_arg;
	char			 name[MSG_NAME_MAX + 1];
	char			 label[MSG_NAME_MAX + 64];	/* for the log */
	uint64_t		 features;	/* agreed */

	struct loop_io		*io;
	struct loop_timer	*timer;		/* hello, stall, linger */
	struct loop_job		 flush_job;
	struct loop_job		 resume_job;
	struct loop_job		 reap_job;

	/* Reading: a slab, parsed up to `in_pos`. */
	struct slab		*in;
	uint32_t		 in_pos;
	struct slab		*pack;		/* data of short PDUs */
	struct frame_parser	 parser;
	int			 fds[CLIENT_FDS_MAX];	/* oldest first */
	uint32_t		 nfds;
	bool			 skip;		/* of the current frame */
	bool			 paused;
	uint8_t			*payload;	/* of the current small frame */
	uint32_t		 payload_len;
	struct incoming		*current;	/* of the current SUBMIT */
	TAILQ_HEAD(, incoming)	 partial;
	uint32_t		 npartial;

	struct outq		 out;
	bool			 blocked;
	struct quota		*quota;
	struct attachment	*attachment;
	struct session		*session;
	struct raw		*raw;
	uint64_t		 raw_cookie;	/* of an OPEN or SHARE */
	uint16_t		 raw_request;	/* that type, or 0 */
	struct adopting		*adopting;

	struct msg_event	*events;	/* NULL until the first */
	uint32_t		 nevents;
	uint32_t		 lost_events;

	uint64_t		 frames_in;
	uint64_t		 bytes_in;
	uint64_t		 refused;
	uint64_t		 errors;
};

/* client.c */
void client_kick(struct client *c);
bool client_dead(const struct client *c);
void client_fatal(struct client *c, uint16_t reason, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void client_doom(struct client *c, const char *why);

/* What to do with a whole frame of a type. */
struct client_handler {
	uint16_t	 type;
	void		(*end)(struct client *, const uint8_t *, uint32_t);
};

/* client_frames.c */
void client_frame_begin(struct client *c);
void client_frame_payload(struct client *c, struct slab *slab,
    const uint8_t *data, uint32_t len);
void client_frame_end(struct client *c);
void client_error(struct client *c, uint64_t cookie, uint16_t type,
    uint16_t reason, const char *fmt, ...)
    __attribute__((format(printf, 5, 6)));
void client_reply(struct client *c, uint16_t type, uint16_t flags,
    uint64_t cookie, const uint8_t *payload, int len);
void client_refuse(struct client *c, uint16_t reason, const char *text);
void client_bad_payload(struct client *c);
void client_send_attached(struct client *c, uint64_t cookie);
struct session *client_find_session(struct client *c, const char *name,
    uint32_t *access);

/* Why nothing new may begin; with MSG_R_SHUTDOWN. */
#define CLIENT_DRAINING	"the daemon is draining: nothing new may begin"

/* client_submit.c */
void client_submit_begin(struct client *c);
void client_submit_payload(struct client *c, struct slab *slab,
    const uint8_t *data, uint32_t len);
void client_submit_end(struct client *c);
void client_submit_clear(struct client *c);

/* client_raw.c */
void client_raw_clear(struct client *c);
void client_adopt_begin(struct client *c);
void client_adopt_payload(struct client *c, const uint8_t *data,
    uint32_t len);
void client_adopt_end(struct client *c);
extern const struct client_handler client_raw_handlers[];
extern const size_t client_raw_handler_count;

/* client_fds.c */
void client_fds_receive(struct client *c, struct msghdr *msg);
void client_fds_check(struct client *c);
int client_fds_take(struct client *c);
void client_fds_close(struct client *c);

/* client_news.c */
extern const struct attachment_ops client_attachment_ops;
bool client_news_flush(struct client *c);

#endif
