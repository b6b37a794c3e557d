/* SPDX-License-Identifier: ISC */
/*
 * What a pump tells the trace and static probes of each PDU, in the moment
 * when it was received or sent and before its owner may change it.
 */
#include "config.h"

#include "daemon/conn.h"
#include "daemon/pump_internal.h"
#include "daemon/trace_probe.h"
#include "daemon/worker.h"

static void
tell(struct pump *p, struct trace_pdu *pdu)
{
	pdu->conn = p->conn;
	if (p->ops->who != NULL)
		p->ops->who(p->arg, trace_itt(pdu->bhs, pdu->data),
		    &pdu->client);
	trace_pdu(p->worker->trace, &p->trace, pdu);
}

void
pump_trace_received(struct pump *p, const struct rxpdu *pdu)
{
	uint32_t dsl = iscsi_dsl(pdu->bhs);

	TRACE_PROBE_RECEIVE(conn_label(p->conn), pdu->bhs);
	if (!trace_wants(p->worker->trace, pdu->bhs))
		return;
	tell(p, &(struct trace_pdu){
		.bhs = pdu->bhs, .ahs = pdu->ahs, .data = pdu->data,
		.header_digest = pdu->header_digest, .tail = p->parser.tail,
		.tail_len = iscsi_pad(dsl) +
		    (pdu->data_digest != NULL ? CRC32C_SIZE : 0),
	});
}

void
pump_trace_sent(struct pump *p, const struct txpdu *pdu)
{
	uint32_t dsl = iscsi_dsl(pdu->bhs);

	TRACE_PROBE_SEND(conn_label(p->conn), pdu->bhs);
	if (!trace_wants(p->worker->trace, pdu->bhs))
		return;
	tell(p, &(struct trace_pdu){
		.sent = true,
		.bhs = pdu->bhs, .ahs = pdu->ahs.ptr, .data = &pdu->data,
		.header_digest = pdu->framing.header_digest ?
		    pdu->trailer.header_digest : NULL,
		.tail = pdu->trailer.tail,
		.tail_len = iscsi_pad(dsl) +
		    (dsl > 0 && pdu->framing.data_digest ? CRC32C_SIZE : 0),
	});
}
