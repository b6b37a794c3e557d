/* SPDX-License-Identifier: ISC */
/*
 * The streams of a worker and who is told of a PDU: the debug log, and each
 * stream that wants its connection.
 */
#include "config.h"

#include <sys/socket.h>

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "daemon/log.h"
#include "daemon/loop.h"
#include "daemon/pool.h"
#include "daemon/trace.h"
#include "daemon/trace_priv.h"
#include "proto/iscsi.h"

/* One stream. */
struct tracer {
	struct trace	*trace;
	size_t		 slot;		/* in trace->tracer */
	uint64_t	 id;
	bool		 all;		/* connections */
	bool		 stopped;
	char		 session[CONN_LABEL_MAX + 1];
	struct pcapng	 pcapng;
	struct loop_job	 reap;
};

struct trace {
	struct loop	*loop;
	struct log	*log;
	struct tracer	*tracer[TRACE_MAX];	/* NULL: free */
	uint32_t	 running;		/* not stopped */
	uint64_t	 last_id;
	uint64_t	 packets, dropped;	/* of streams that ended */
};

struct trace *
trace_new(struct loop *loop, struct log *log)
{
	struct trace *t = calloc(1, sizeof(*t));

	if (t == NULL)
		return NULL;
	t->loop = loop;
	t->log = log;
	return t;
}

/* Nanoseconds since 1970. */
static uint64_t
wall_clock(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

/* --- streams --- */

static void
reap(void *arg)
{
	struct tracer *tr = arg;

	pcapng_deinit(&tr->pcapng);
	free(tr);
}

/* Write no more packets. */
static void
stop(struct tracer *tr)
{
	if (tr->stopped)
		return;
	tr->stopped = true;
	tr->trace->running--;
	pcapng_end(&tr->pcapng, wall_clock());
}

/* The sink is closed or about to be. */
static void
retire(struct tracer *tr)
{
	struct trace *t = tr->trace;
	size_t unread = trace_sink_unread(tr->pcapng.sink);

	if (!tr->stopped) {
		tr->stopped = true;
		t->running--;
	}
	t->tracer[tr->slot] = NULL;
	t->packets += tr->pcapng.packets;
	t->dropped += tr->pcapng.dropped;
	log_info(t->log, "trace %" PRIu64 ": ended: %" PRIu64 " packets, %"
	    PRIu64 " dropped, %zu bytes not read", tr->id,
	    tr->pcapng.packets, tr->pcapng.dropped, unread);
	loop_reap(t->loop, &tr->reap);
}

static void
on_end(void *arg)
{
	retire(arg);
}

void
trace_free(struct trace *t)
{
	if (t == NULL)
		return;
	for (size_t i = 0; i < TRACE_MAX; i++) {
		struct tracer *tr = t->tracer[i];

		if (tr == NULL)
			continue;
		stop(tr);
		trace_sink_close(tr->pcapng.sink);
		retire(tr);
	}
	free(t);
}

/* 0 if `fd` is a connected UNIX stream socket, else -EINVAL. */
static int
check_fd(int fd)
{
	struct sockaddr_storage sa;
	socklen_t len = sizeof(sa), size = sizeof(int);
	int domain, type;

	if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) == -1 ||
	    getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == -1 ||
	    domain != AF_UNIX || type != SOCK_STREAM ||
	    getpeername(fd, (struct sockaddr *)&sa, &len) == -1)
		return -EINVAL;
	return 0;
}

static struct tracer *
tracer_new(struct trace *t, size_t slot, int fd)
{
	struct tracer *tr = calloc(1, sizeof(*tr));

	if (tr == NULL)
		return NULL;
	tr->trace = t;
	tr->slot = slot;
	loop_job_init(&tr->reap, reap, tr);
	tr->pcapng.sink = trace_sink_new(t->loop, fd, TRACE_BUFFER, on_end,
	    tr);
	if (tr->pcapng.sink == NULL) {
		free(tr);
		return NULL;
	}
	tr->id = ++t->last_id;
	return tr;
}

int
trace_start(struct trace *t, int fd, const char *session, bool headers,
    uint64_t *id)
{
	struct tracer *tr;
	size_t slot = 0;

	if (check_fd(fd) != 0)
		return -EINVAL;
	while (slot < TRACE_MAX && t->tracer[slot] != NULL)
		slot++;
	if (slot == TRACE_MAX)
		return -EBUSY;
	tr = tracer_new(t, slot, fd);
	if (tr == NULL)
		return -ENOMEM;
	tr->all = session == NULL;
	if (session != NULL)
		strlcpy(tr->session, session, sizeof(tr->session));
	tr->pcapng.headers = headers;
	pcapng_start(&tr->pcapng);
	t->tracer[slot] = tr;
	t->running++;
	*id = tr->id;
	log_info(t->log, "trace %" PRIu64 ": started: %s%s", tr->id,
	    tr->all ? "all connections" : tr->session,
	    headers ? ", headers only" : "");
	return 0;
}

static void
info_get(const struct tracer *tr, struct trace_info *out)
{
	*out = (struct trace_info){
		.id = tr->id,
		.session = tr->all ? NULL : tr->session,
		.headers = tr->pcapng.headers,
		.stopped = tr->stopped,
		.packets = tr->pcapng.packets,
		.dropped = tr->pcapng.dropped,
		.unread = trace_sink_unread(tr->pcapng.sink),
	};
}

int
trace_stop(struct trace *t, uint64_t id, struct trace_info *out)
{
	for (size_t i = 0; i < TRACE_MAX; i++) {
		struct tracer *tr = t->tracer[i];

		if (tr == NULL || tr->id != id)
			continue;
		if (!tr->stopped) {
			stop(tr);
			trace_sink_finish(tr->pcapng.sink, TRACE_DRAIN_MS);
		}
		info_get(tr, out);
		return 0;
	}
	return -ENOENT;
}

void
trace_each(const struct trace *t,
    void (*fn)(const struct trace_info *info, void *ctx), void *ctx)
{
	struct trace_info info;

	for (size_t i = 0; i < TRACE_MAX; i++) {
		if (t->tracer[i] == NULL)
			continue;
		info_get(t->tracer[i], &info);
		fn(&info, ctx);
	}
}

void
trace_stats_get(const struct trace *t, struct trace_stats *out)
{
	*out = (struct trace_stats){ .running = t->running,
	    .packets = t->packets, .dropped = t->dropped };
	for (size_t i = 0; i < TRACE_MAX; i++) {
		if (t->tracer[i] == NULL)
			continue;
		out->packets += t->tracer[i]->pcapng.packets;
		out->dropped += t->tracer[i]->pcapng.dropped;
	}
}

/* --- PDUs --- */

static bool
is_login(const uint8_t *bhs)
{
	return iscsi_opcode(bhs) == ISCSI_OP_LOGIN_REQ ||
	    iscsi_opcode(bhs) == ISCSI_OP_LOGIN_RSP;
}

bool
trace_wants(const struct trace *t, const uint8_t *bhs)
{
	return t->running > 0 || log_enabled(t->log, LOG_LEVEL_DEBUG) ||
	    is_login(bhs);
}

uint32_t
trace_itt(const uint8_t *bhs, const struct slices *data)
{
	uint8_t rejected[ISCSI_BHS_LEN];

	if (iscsi_opcode(bhs) == ISCSI_OP_REJECT &&
	    slices_copy(data, rejected, sizeof(rejected)) == sizeof(rejected))
		return iscsi_itt(rejected);
	return iscsi_itt(bhs);
}

/* The sequence number that this opcode has, "" for none. */
static const char *
number_text(const uint8_t *bhs, char *buf, size_t size)
{
	uint8_t opcode = iscsi_opcode(bhs);
	bool data_in = opcode == ISCSI_OP_DATA_IN;

	if ((iscsi_opcode_traits(opcode) & ISCSI_T_CMDSN) != 0)
		snprintf(buf, size, ", CmdSN %" PRIu32,
		    get_be32(bhs + ISCSI_OFF_CMDSN));
	else if (iscsi_from_target(opcode) &&
	    (!data_in || iscsi_consumes_statsn(bhs)))
		snprintf(buf, size, ", StatSN %" PRIu32,
		    get_be32(bhs + ISCSI_OFF_STATSN));
	else
		buf[0] = '\0';
	return buf;
}

static void
log_pdu(struct trace *t, const struct trace_pdu *pdu)
{
	char number[32], client[128] = "";

	if (!log_enabled(t->log, LOG_LEVEL_DEBUG))
		return;
	if (pdu->client.name != NULL)
		snprintf(client, sizeof(client), ", client %s (pid %ld)",
		    pdu->client.name, (long)pdu->client.pid);
	log_debug(t->log, "%s: %s %s, ITT 0x%08" PRIx32 "%s, %" PRIu32
	    " bytes%s", conn_label(pdu->conn), pdu->sent ? "sent" : "received",
	    iscsi_opcode_name(iscsi_opcode(pdu->bhs)), iscsi_itt(pdu->bhs),
	    number_text(pdu->bhs, number, sizeof(number)),
	    iscsi_dsl(pdu->bhs), client);
}

static void
write_pdu(struct tracer *tr, struct trace_conn *tc, uint64_t now,
    const struct trace_pdu *pdu)
{
	const char *label = conn_label(pdu->conn);
	ssize_t at;

	if (!tr->all && strcmp(tr->session, label) != 0)
		return;
	if (tc->seen[tr->slot].id != tr->id) {
		at = pcapng_interface(&tr->pcapng, label);
		if (at == -1) {
			tr->pcapng.dropped++;
			return;
		}
		tc->seen[tr->slot].id = tr->id;
		tc->seen[tr->slot].at = (size_t)at;
	}
	pcapng_packet(&tr->pcapng, tc->seen[tr->slot].at, now, pdu,
	    is_login(pdu->bhs) ? &tc->mask[pdu->sent] : NULL);
}

static void
advance_mask(struct trace_mask *m, const struct trace_pdu *pdu)
{
	const struct slice *slice;

	STAILQ_FOREACH(slice, &pdu->data->list, link)
		trace_mask_text(m, slice->ptr, NULL, slice->len);
	trace_mask_pdu_end(m, pdu->bhs);
}

void
trace_pdu(struct trace *t, struct trace_conn *tc, const struct trace_pdu *pdu)
{
	uint64_t now = t->running > 0 ? wall_clock() : 0;

	log_pdu(t, pdu);
	for (size_t i = 0; t->running > 0 && i < TRACE_MAX; i++) {
		if (t->tracer[i] != NULL && !t->tracer[i]->stopped)
			write_pdu(t->tracer[i], tc, now, pdu);
	}
	if (is_login(pdu->bhs))
		advance_mask(&tc->mask[pdu->sent], pdu);
}
