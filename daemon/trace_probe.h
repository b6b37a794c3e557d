/* SPDX-License-Identifier: ISC */
/*
 * Static probes (USDT) that tracers such as bpftrace and SystemTap attach to:
 * iscsimuxd:pdu__send and iscsimuxd:pdu__receive, with the label of the
 * connection, opcode, Initiator Task Tag, sequence number (bytes 24 to 27 of
 * the BHS: CmdSN or StatSN) and DataSegmentLength.  One instruction that does
 * nothing while nobody is attached.
 */
#ifndef DAEMON_TRACE_PROBE_H
#define DAEMON_TRACE_PROBE_H

#include "proto/iscsi.h"

#ifdef HAVE_SDT
#include <sys/sdt.h>

#define TRACE_PROBE(name, label, bhs)					\
	DTRACE_PROBE5(iscsimuxd, name, label, iscsi_opcode(bhs),	\
	    iscsi_itt(bhs), get_be32((bhs) + ISCSI_OFF_CMDSN),		\
	    iscsi_dsl(bhs))
#else
#define TRACE_PROBE(name, label, bhs)	((void)0)
#endif

#define TRACE_PROBE_SEND(label, bhs)	TRACE_PROBE(pdu__send, label, bhs)
#define TRACE_PROBE_RECEIVE(label, bhs)	TRACE_PROBE(pdu__receive, label, bhs)

#endif
