/* SPDX-License-Identifier: ISC */
/*
 * The full feature phase: the PDU being received, and what the modules of its
 * opcodes share.
 */
#ifndef TARGET_FFP_H
#define TARGET_FFP_H

#include <sys/queue.h>

#include <stdbool.h>
#include <stdint.h>

#include "proto/iscsi.h"

struct conn;
struct task;

/* A PDU behind a gap in CmdSN, or data of a command there. */
struct deferred {
	STAILQ_ENTRY(deferred)	link;
	uint8_t			bhs[ISCSI_BHS_LEN];
	uint32_t		len;
	uint8_t			data[];
};
STAILQ_HEAD(deferred_list, deferred);

/* The PDU that is being received. */
struct rx {
	const uint8_t	*bhs;
	uint8_t		*dst;		/* where data goes; the rest is lost */
	uint32_t	 room;
	uint8_t		*owned;		/* freed at its end */
	struct task	*task;
	bool		 rejected;	/* by order of a test */
	int		(*end)(struct conn *);
};

/* A text that is sent in pieces (C bit). */
struct text_out {
	char		*buf;
	uint32_t	 len;
	uint32_t	 pos;
	uint32_t	 itt;
	uint32_t	 ttt;
};

struct ping {
	bool		outstanding;
	uint32_t	ttt;
	uint64_t	lun;
};

/*
 * A header has come (c->rx.bhs): 0, or negative and the connection is closed.
 * Sets in c->rx where data goes and what to do at the PDU's end.  All
 * functions named *_header do the same for their opcode.
 */
int ffp_header(struct conn *c);

/* The PDU has come to its end; 0 or negative as above. */
int ffp_end(struct conn *c);

/* Raise MaxCmdSN as far as free slots allow. */
void ffp_open_window(struct conn *c);

/* Reject the PDU being received (RFC 7143 section 11.17). */
void ffp_reject(struct conn *c, uint8_t reason);

/* nop.c: NOP-Out (11.18) and Logout Request (11.14). */
int nop_out_header(struct conn *c);
int logout_header(struct conn *c);

/*
 * Queue a NOP-In that the initiator did not ask for (11.19); `ttt`
 * ISCSI_TAG_NONE asks for no answer.  `lun` is the field of 8 bytes.
 */
void nop_in_send(struct conn *c, uint32_t ttt, uint64_t lun);

/* Queue an Asynchronous Message with its three parameters (11.9). */
void async_send(struct conn *c, uint8_t event, uint16_t p1, uint16_t p2,
    uint16_t p3);

/* text.c: Text Request (11.10). */
int text_header(struct conn *c);

#endif
