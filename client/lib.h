/* SPDX-License-Identifier: ISC */
/*
 * Inside libiscsimux: the handle, its requests and the functions that its
 * files call of each other.  From the socket upward: lib_out.c and lib_in.c
 * (frames), lib_slot.c (requests), lib_task.c, lib_write.c, lib_raw.c,
 * lib_query.c, lib_op.c and lib_export.c (what requests do), lib.c (the
 * connection's life), lib_sync.c and lib_op_sync.c (blocking forms).  Nothing
 * here is exported.
 */
#ifndef CLIENT_LIB_H
#define CLIENT_LIB_H

#include <sys/queue.h>
#include <sys/types.h>
#include <sys/uio.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client/iscsimux.h"
#include "client/iscsimux_raw.h"
#include "proto/frame.h"
#include "proto/iscsi.h"
#include "proto/msg.h"
#include "proto/msg_raw.h"

/* Sizes in bytes unless said otherwise. */
#define LIB_RX_SIZE	(256u * 1024)	/* receive buffer */
#define LIB_RX_PEEK	4096u		/* read beyond data that go straight
					   into a caller's buffer */
#define LIB_DIRECT_MIN	8192u		/* data worth receiving in place */
#define LIB_BIG_MIN	65536u		/* data worth reading little before */
#define LIB_STAGE_SIZE	(64u * 1024)	/* headers on their way out */
#define LIB_SEGS	256u		/* iovecs of one sendmsg */
#define LIB_BATCH	(1024u * 1024)	/* prepared at most for one sendmsg */
#define LIB_COPY_MAX	512u		/* data copied rather than gathered */
#define LIB_TURN_BYTES	(4u * 1024 * 1024)	/* moved by one service */
#define LIB_SLOT_CHUNK	64u		/* requests made room for at a time */
#define LIB_SLOTS_MAX	65000u		/* tasks; an index has 16 bits */
#define LIB_QUERIES_MAX	16u		/* open PINGs and LISTs */
#define LIB_MORE_MAX	64u		/* PDUs of submit_more in a task */
#define LIB_LISTING_MAX	65536u		/* entries of a LISTING */
#define LIB_KEEP_MAX	(256u * 1024)	/* larger receive buffers are freed */
#define LIB_DSL_DEFAULT	8192u		/* before the first login */
#define LIB_FENCE_MAX	16u		/* PDUs with no PING behind */
#define LIB_FDS_MAX	4u		/* descriptors of one recvmsg */
#define LIB_OP_MAX	512u		/* fields of a request of lib_op.c */

/* The library's own Initiator Task Tags have this bit set. */
#define LIB_ITT_BIT	UINT32_C(0x80000000)

/* The caller's callback ended the connection or the handle: touch nothing. */
#define LIB_GONE	1

/* Memory of the caller's that data come from or go to. */
struct lib_buffer {
	struct iovec		 one;
	const struct iovec	*iov;	/* &one, or the caller's array */
	size_t			 niov;
	uint32_t		 len;
	size_t			 hint;	/* piece that was used last and */
	uint32_t		 hint_off;	/* where it begins */
};

enum lib_part_kind {
	LIB_PART_PDU,		/* one PDU as it is, perhaps in fragments */
	LIB_PART_BURST		/* Data-Outs for an R2T or unsolicited */
};

/* Something that a request has to send. */
struct lib_part {
	STAILQ_ENTRY(lib_part)	 entry;
	uint8_t			 kind;
	bool			 begun;
	bool			 timed;		/* deadline is to be sent */
	struct msg_submit_options options;
	uint8_t			 bhs[ISCSI_BHS_LEN];
	uint8_t			*ahs;		/* owned, or NULL */
	struct lib_buffer	 own;		/* of a PDU of submit_more */
	struct lib_buffer	*data;
	uint32_t		 next;		/* offset into data */
	uint32_t		 end;
	uint32_t		 data_sn;
};

enum lib_rx_mode {
	LIB_RX_SKIP,		/* nobody wants the data */
	LIB_RX_STORE,		/* to be looked at when complete */
	LIB_RX_PLACE		/* into the caller's buffer at `offset` */
};

/* A PDU that is being received. */
struct lib_pdu {
	struct frame_pdu	 pdu;
	SLIST_ENTRY(lib_pdu)	 entry;		/* while unused */
	uint8_t			 mode;
	bool			 head;		/* BHS and AHS are complete */
	uint32_t		 have;		/* data bytes seen */
	uint32_t		 offset;
	const uint8_t		*view;		/* the data where they lie */
	uint8_t			*store;		/* or their copy */
	size_t			 store_size;
	struct msg_digests	 digests;
	size_t			 tlv_len;
	uint8_t			 tlv[FRAME_TLV_MAX];
};

enum lib_slot_kind {
	LIB_FREE,
	LIB_VOID,		/* ended; what is begun is still to be ended */
	LIB_EXECUTE,
	LIB_NOP,
	LIB_MANAGE,
	LIB_RAW,
	LIB_PING,
	LIB_LIST,
	LIB_OP			/* of lib_op.c */
};

/* A request about the raw connection. */
struct lib_op {
	uint16_t		 type;		/* of its frame */
	int			 fd;		/* to send, or received; -1 */
	struct msg_raw_params	 params;	/* EXPORT: as received */
	uint8_t			*unread;	/* EXPORT: owned */
	uint32_t		 unread_len;
	uint32_t		 have;		/* bytes of it so far */
	iscsimux_status_fn	*status;	/* one of the three */
	iscsimux_state_fn	*state;
	iscsimux_export_fn	*exported;
	size_t			 len;
	uint8_t			 payload[LIB_OP_MAX];
};

/* What a request takes of inbound_max and outbound_max, in bytes. */
struct lib_charge {
	uint64_t		 in;
	uint64_t		 out;
};

/* One request. */
struct lib_slot {
	TAILQ_ENTRY(lib_slot)	 entry;		/* of free or open */
	TAILQ_ENTRY(lib_slot)	 sendq_entry;
	uint32_t		 index;
	uint32_t		 gen;
	uint8_t			 kind;
	uint8_t			 direction;	/* LIB_EXECUTE */
	bool			 queued;	/* on the send queue */
	bool			 started;	/* `start` is valid */
	bool			 continued;	/* a further PDU has left */
	bool			 raw;		/* on the raw connection */
	bool			 tagless;	/* its tag is to be chosen */
	uint8_t			 expect;	/* enum msg_expect, if raw */
	bool			 fenced;	/* all sent; waits for a PONG */
	bool			 half_more;	/* LIB_VOID: of a further PDU */
	uint64_t		 fence;		/* the PONG's number */
	bool			 cancel;
	bool			 cancel_sent;
	bool			 failed;	/* ends as ISCSIMUX_FAILED */
	uint8_t			 response;	/* of that failure */
	uint16_t		 reason;
	char			*why;		/* owned, or NULL */
	uint64_t		 start;		/* of its frames in `made` */
	uint64_t		 ref_end;	/* of the last byte taken from
						   the caller's memory */
	uint32_t		 itt;
	uint8_t			 opcode;	/* of the PDU that opened it */
	uint8_t			 lun[8];
	uint32_t		 nparts;
	STAILQ_HEAD(, lib_part)	 parts;
	struct lib_part		 first;
	struct lib_buffer	 buf;
	uint32_t		 got;		/* data bytes received */
	struct lib_charge	 charge;
	struct lib_pdu		*saved;		/* a fragmented PDU */
	iscsimux_done_fn	*done;
	iscsimux_answer_fn	*answer;
	iscsimux_list_fn	*list;
	void			*cookie;
	struct iscsimux_listing	*listing;
	size_t			 nlisting;
	size_t			 listing_size;	/* entries there is room for */
	struct lib_op		*op;		/* LIB_OP */
};

TAILQ_HEAD(lib_slots, lib_slot);
SLIST_HEAD(lib_pdus, lib_pdu);
STAILQ_HEAD(lib_parts, lib_part);

/* Bytes that are ready to be sent. */
struct lib_seg {
	const uint8_t	*ptr;
	size_t		 len;
	struct lib_slot	*slot;		/* whose caller owns them, or NULL */
	uint8_t		*owned;		/* to be freed when sent */
	bool		 alone;		/* wants a sendmsg of its own, */
	int		 fd;		/* with this one; -1 once it is gone */
};

struct lib_out {
	struct lib_slots sendq;
	struct lib_slots fenced;	/* sent, oldest first */
	unsigned	 unfenced;	/* of them with no PING behind */
	uint64_t	 fence;		/* number of the next PING */
	struct lib_seg	 seg[LIB_SEGS];
	unsigned	 first, nseg;	/* seg[first] to seg[nseg - 1] */
	size_t		 stage_len;
	uint64_t	 made;		/* bytes of the stream prepared */
	uint64_t	 sent;		/* and taken by the kernel */
	int		 error;		/* of sendmsg; nothing more is sent */
	uint8_t		 stage[LIB_STAGE_SIZE];
};

struct lib_in {
	struct frame_parser parser;
	struct lib_slot	*slot;		/* of the current PDU frame */
	struct lib_pdu	*pdu;		/* NULL: it is skipped */
	struct lib_pdu	 current;	/* of a PDU in one frame */
	struct lib_pdu	 stray;		/* of fragments with cookie 0 */
	bool		 stray_open;
	bool		 in_payload;	/* of the current frame */
	unsigned	 nfds;		/* received, not yet taken */
	int		 fds[LIB_FDS_MAX];
	int		 frame_fd;	/* of the current frame, or -1 */
	bool		 drained;	/* nothing was left to receive */
	uint32_t	 left;		/* payload bytes of this frame */
	bool		 big;		/* the last PDU was: read little
					   before its data */
	size_t		 msg_len;
	uint8_t		 msg[MSG_PAYLOAD_MAX];
	uint8_t		 buf[LIB_RX_SIZE];
};

enum lib_state {
	LIB_CLOSED,
	LIB_HELLO,		/* waiting for WELCOME */
	LIB_READY,
	LIB_ATTACHING,		/* waiting for ATTACHED */
	LIB_ATTACHED,
	LIB_ON_RAW		/* there is a raw connection */
};

struct iscsimux {
	int			 fd;
	enum lib_state		 state;
	unsigned		 depth;		/* calls that may call back */
	int			 calls;		/* callbacks of this service */
	uint32_t		 conn;		/* counts connections */
	bool			 dying;
	bool			 draining;	/* completing the requests of
						   a closed connection */
	bool			 hello_wanted;
	bool			 attach_wanted;	/* asked for, not sent */

	struct iscsimux_callbacks cb;
	void			*arg;
	iscsimux_trace_fn	*trace;
	void			*trace_arg;

	char			 name[MSG_NAME_MAX + 1];
	char			 daemon[MSG_NAME_MAX + 1];
	struct msg_attach	 attach;
	uint32_t		 events;	/* kinds the caller wants */
	struct iscsimux_session	 session;
	uint32_t		 data_max;	/* bytes of data in a frame */
	uint32_t		 tasks_max;	/* of a raw connection */
	uint64_t		 features;	/* common to both sides */
	struct lib_slot		*move;		/* LIB_OP that opens, closes,
						   shares, ... or NULL */

	uint16_t		 reason;
	bool			 told;		/* text says why it ends */
	int			 attach_error;
	char			 text[MSG_TEXT_MAX + 1];

	struct lib_slot		**chunk;	/* of LIB_SLOT_CHUNK slots */
	size_t			 nchunk;
	struct lib_slots	 free;
	struct lib_slots	 open;
	uint32_t		 ntasks;
	uint32_t		 nqueries;
	struct lib_charge	 charged;
	struct lib_parts	 free_parts;
	struct lib_pdus		 free_pdus;

	uint8_t			*sync_sense;	/* of the last execute_sync */
	char			*sync_text;
	uint8_t			*sync_unread;	/* of the last export_sync */

	struct lib_out		 out;
	struct lib_in		 in;
};

/* lib.c */

/* Keep `reason` and `text` (or its name) for iscsimux_error_text(). */
void lib_set_error(struct iscsimux *h, unsigned reason, const char *text);

/* The errno, negative, that is nearest to an enum msg_reason. */
int lib_reason_errno(unsigned reason);

/* The same for what ends the connection. */
void lib_set_fatal(struct iscsimux *h, unsigned reason, const char *text);

/*
 * True if the connection numbered `conn` is still that of a living handle;
 * to be asked after each callback.
 */
bool lib_alive(const struct iscsimux *h, uint32_t conn);

/* Callbacks follow; the handle is not freed before lib_leave(). */
void lib_enter(struct iscsimux *h);

/* True if the handle has been freed. */
bool lib_leave(struct iscsimux *h);

/* End the connection and all requests; no on_closed. */
void lib_close(struct iscsimux *h);

/* lib_slot.c */

/*
 * Take a slot for a request of this kind and put it on the open list.
 * Returns NULL with `*error` -ENOTCONN, -EAGAIN, -ESHUTDOWN or -ENOMEM.
 */
struct lib_slot *lib_slot_take(struct iscsimux *h, enum lib_slot_kind kind,
    struct lib_charge charge, int *error);

/* Give a slot back with all it owns; it must have left the send queue. */
void lib_slot_release(struct iscsimux *h, struct lib_slot *slot);

/* The open slot of a cookie, or NULL. */
struct lib_slot *lib_slot_find(struct iscsimux *h, uint64_t cookie);

/* The cookie of a slot, which is the request's id. */
uint64_t lib_slot_cookie(const struct lib_slot *slot);

/* No slot has these. */
#define LIB_COOKIE_HELLO 1u
#define LIB_COOKIE_ATTACH 2u
#define LIB_COOKIE_FENCE 3u

/* The cookie that its CANCEL bears, and the way back. */
#define LIB_COOKIE_CANCEL UINT64_C(0x80000000)

/* The same for the further PDUs of a task on a raw connection. */
#define LIB_COOKIE_MORE	UINT64_C(0x40000000)

bool lib_is_task(const struct lib_slot *slot);

/*
 * End an open request of any kind but LIB_LIST and LIB_RAW: release the slot,
 * then call back.  `result` may not point into the slot.
 */
void lib_slot_done(struct iscsimux *h, struct lib_slot *slot,
    const struct iscsimux_result *result);

/* The slot of a PDU that has been voided is free now. */
void lib_slot_void_done(struct iscsimux *h, struct lib_slot *slot);

/* End a request without an answer of the target: any kind. */
void lib_slot_outcome(struct iscsimux *h, struct lib_slot *slot,
    const struct msg_outcome *outcome);

/* The connection is gone: end all that is open. */
void lib_slot_drain(struct iscsimux *h);

/* Free all memory of slots, parts and PDUs. */
void lib_slot_free_all(struct iscsimux *h);

/* A part for the slot's send queue, or NULL; the slot's first is `first`. */
struct lib_part *lib_part_new(struct iscsimux *h);
void lib_part_add(struct iscsimux *h, struct lib_slot *slot,
    struct lib_part *part);
void lib_part_drop(struct iscsimux *h, struct lib_slot *slot,
    struct lib_part *part);

/* Describe the caller's memory; `len` is checked by the caller. */
void lib_buffer_set(struct lib_buffer *b, void *data, uint32_t len);
void lib_buffer_set_iov(struct lib_buffer *b, const struct iovec *iov,
    size_t niov, uint32_t len);

/* The piece at `off` < b->len: its address, and in `*n` its bytes. */
uint8_t *lib_buffer_at(struct lib_buffer *b, uint32_t off, size_t *n);

/* lib_out.c */

void lib_out_reset(struct iscsimux *h);
void lib_out_queue(struct iscsimux *h, struct lib_slot *slot);
void lib_out_queue_first(struct iscsimux *h, struct lib_slot *slot);
void lib_out_unqueue(struct iscsimux *h, struct lib_slot *slot);

/* True if something waits to be sent. */
bool lib_out_wanted(const struct iscsimux *h);

/* Send as far as the socket takes it; errors go to out.error. */
void lib_out_flush(struct iscsimux *h);

/* Copy what is still to be sent from the memory of the slot's caller. */
int lib_out_detach(struct iscsimux *h, struct lib_slot *slot);

/* lib_frame.c: what lib_out.c asks for, one frame at a time. */

/*
 * Prepare one frame of the slot that heads the send queue, or of the
 * connection itself.  Returns false if there is nothing or no room.
 */
bool lib_frame_make(struct iscsimux *h);

/* True if one more frame of any size may be staged. */
bool lib_out_room(struct iscsimux *h);

/* Take `len` staged bytes, after lib_out_room(). */
uint8_t *lib_out_stage(struct iscsimux *h, size_t len);

/* The same for a frame that `fd` travels with, which is closed then. */
uint8_t *lib_out_stage_fd(struct iscsimux *h, size_t len, int fd);

/* A PDU that nothing answers is staged: a PING shall follow it. */
void lib_out_fence(struct iscsimux *h, struct lib_slot *slot);

/* Gather `len` bytes of `data` from `off`; false if there is no memory. */
bool lib_out_gather(struct iscsimux *h, struct lib_slot *slot,
    struct lib_buffer *data, uint32_t off, uint32_t len);

/* lib_in.c */

void lib_in_reset(struct iscsimux *h);

/* Close the descriptors that nobody has taken. */
void lib_in_close_fds(struct iscsimux *h);

/* Receive and handle a turn's worth.  0, LIB_GONE or a negative errno. */
int lib_in_run(struct iscsimux *h);

/* lib_msg.c: a whole frame other than PDU.  As lib_in_run(). */
int lib_msg_handle(struct iscsimux *h, const struct frame_header *f,
    const uint8_t *payload);

/* lib_rx.c: PDU frames.  As lib_in_run(). */
int lib_rx_begin(struct iscsimux *h, const struct frame_header *f);
int lib_rx_bytes(struct iscsimux *h, const uint8_t *buf, size_t len);
int lib_rx_end(struct iscsimux *h, const struct frame_header *f);

/* lib_task.c */

/* The header of a PDU for this task is complete: what about its data? */
void lib_task_head(struct iscsimux *h, struct lib_slot *slot,
    struct lib_pdu *p);

/* The PDU is complete. */
void lib_task_pdu(struct iscsimux *h, struct lib_slot *slot,
    struct lib_pdu *p);

/* End the task as failed: cancelled now, called back when it has ended. */
void lib_task_fail(struct iscsimux *h, struct lib_slot *slot, unsigned reason,
    uint8_t response, const char *text);

/* An ERROR for a PDU of this task other than its first. */
void lib_task_error(struct iscsimux *h, struct lib_slot *slot,
    const struct msg_error *e);

/*
 * True if this Reject ends the task that `opcode` opened: its embedded header
 * is that of the request itself (RFC 7143 section 7.3).
 */
bool lib_reject_ends(uint8_t opcode, const uint8_t *data, uint32_t len);

/*
 * What the daemon will charge for a task that expects `in` bytes and sends
 * `out` without being asked, as PROTOCOL.md section 13 counts; rather more.
 */
struct lib_charge lib_charge_of(const struct iscsimux *h, uint64_t in,
    uint64_t out);

/* lib_write.c */

/* Bytes that a write of `len` sends without being asked. */
uint32_t lib_write_window(const struct iscsimux *h, uint32_t len);

/* Fill in the command's immediate data, F bit and unsolicited burst. */
int lib_write_plan(struct iscsimux *h, struct lib_slot *slot);

/* Queue the answer to an R2T. */
void lib_write_r2t(struct iscsimux *h, struct lib_slot *slot,
    const uint8_t *bhs);

/* The next Data-Out of a burst: fills in `bhs`, returns its data's length. */
uint32_t lib_write_next(struct iscsimux *h, struct lib_part *part,
    uint8_t *bhs);

/* lib_raw.c */
void lib_raw_pdu(struct iscsimux *h, struct lib_slot *slot, struct lib_pdu *p,
    bool synthetic);
void lib_raw_error(struct iscsimux *h, struct lib_slot *slot,
    const struct msg_error *e);

/* The data of a received PDU. */
const uint8_t *lib_pdu_data(const struct lib_pdu *p);

/* A received PDU as the public structure; `iov` holds its data. */
void lib_pdu_public(const struct lib_pdu *p, struct iovec *iov,
    struct iscsimux_pdu *out);


/* PONG number `n`: the PDUs before that PING are accepted.  As lib_in_run(). */
int lib_raw_fence(struct iscsimux *h, uint64_t n);

/* TAG for this task. */
void lib_raw_tag(struct iscsimux *h, struct lib_slot *slot, uint32_t itt);

/*
 * The raw connection has ended: what was not sent for it never will be.  As
 * lib_in_run().
 */
int lib_raw_ended(struct iscsimux *h);

/* lib_query.c */
int lib_query_listing(struct iscsimux *h, struct lib_slot *slot,
    const struct frame_header *f, const uint8_t *payload);

/* lib_op.c */

/* The open request of this cookie if it is one of `type`, or NULL. */
struct lib_slot *lib_op_find(struct iscsimux *h, uint64_t cookie,
    uint16_t type);

/* Its answer has come.  As lib_in_run(). */
int lib_op_ok(struct iscsimux *h, struct lib_slot *slot);
int lib_op_shared(struct iscsimux *h, struct lib_slot *slot);
int lib_op_error(struct iscsimux *h, struct lib_slot *slot,
    const struct msg_error *e);
int lib_op_state(struct iscsimux *h, struct lib_slot *slot,
    const uint8_t *payload, size_t len);

/* The daemon has no raw connections: end all.  As lib_in_run(). */
int lib_op_unsupported(struct iscsimux *h);

/* End a request with a negative errno: release the slot, then call back. */
void lib_op_fail(struct iscsimux *h, struct lib_slot *slot, int error);

/* Prepare its frame, or the next one; true if that was the last. */
bool lib_op_make(struct iscsimux *h, struct lib_slot *slot);

/* Free what a request owns. */
void lib_op_free(struct lib_op *op);

/* Between the wire's structure and the public one. */
void lib_op_params(const struct msg_raw_params *m,
    struct iscsimux_raw_params *out);

/* lib_export.c: EXPORTED frames.  As lib_in_run(). */
int lib_export_begin(struct iscsimux *h, const struct frame_header *f);
int lib_export_bytes(struct iscsimux *h, const uint8_t *buf, size_t len);
int lib_export_end(struct iscsimux *h, const struct frame_header *f);

/* lib_frame.c: the header of a frame into FRAME_HEADER_LEN bytes. */
void lib_frame_header(uint8_t *wire, uint16_t type, uint16_t flags,
    uint64_t cookie, size_t len);

/* lib_sync.c: the point of time to give up at; INT64_MAX for none. */
int64_t lib_sync_end(int timeout_ms);

/*
 * One poll and one service.  Returns what iscsimux_service() does,
 * -ETIMEDOUT, or -EINTR.
 */
int lib_sync_step(struct iscsimux *h, int64_t end);

#endif
