/* SPDX-License-Identifier: ISC */
/*
 * Structures of the daemon as JSON, for control_methods.c.  It calls jansson
 * and the getters of what it describes, and decides nothing.
 *
 * Setters are not checked one by one: jansson refuses a NULL object or value,
 * so each function collects the results and drops all on the first failure.
 */
#include "config.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/client.h"
#include "daemon/conf.h"
#include "daemon/control_priv.h"
#include "daemon/loop.h"
#include "daemon/hdrring.h"
#include "daemon/pool.h"
#include "daemon/session.h"
#include "daemon/trace.h"
#include "daemon/worker.h"
#include "proto/msg.h"

/* An object under construction. */
struct build {
	json_t	*js;
	int	 rc;
};

static void
add(struct build *b, const char *key, json_t *value)
{
	b->rc |= json_object_set_new(b->js, key, value);
}

static void
add_text(struct build *b, const char *key, const char *text)
{
	add(b, key, control_json_text(text));
}

static void
add_num(struct build *b, const char *key, uint64_t n)
{
	add(b, key, json_integer((json_int_t)n));
}

static void
add_bool(struct build *b, const char *key, bool on)
{
	add(b, key, json_boolean(on));
}

static json_t *
finish(struct build *b)
{
	if (b->rc == 0)
		return b->js;
	json_decref(b->js);
	return NULL;
}

/* Bytes that are not UTF-8 come out as \xNN, so that nothing is lost. */
json_t *
control_json_text(const char *text)
{
	json_t *js = json_string(text);
	size_t at = 0;
	char *copy;

	if (js != NULL)
		return js;
	copy = calloc(strlen(text) + 1, 4);
	if (copy == NULL)
		return NULL;
	for (const unsigned char *p = (const unsigned char *)text;
	    *p != '\0'; p++) {
		if (*p < 0x80)
			copy[at++] = (char)*p;
		else
			at += (size_t)snprintf(copy + at, 5, "\\x%02x", *p);
	}
	js = json_string(copy);
	free(copy);
	return js;
}

/* Where the login was sent to, hop by hop. */
static json_t *
hops_json(const struct session_info *info)
{
	json_t *list = json_array();

	for (unsigned i = 0; list != NULL && i < info->redirects; i++) {
		struct build b = { json_object(), 0 };

		add_text(&b, "address", info->hop[i].address);
		add_bool(&b, "permanent", info->hop[i].permanent);
		if (json_array_append_new(list, finish(&b)) != 0) {
			json_decref(list);
			return NULL;
		}
	}
	return list;
}

static void
add_session_basics(struct build *b, const struct session_info *info)
{
	add_text(b, "name", info->name);
	add_text(b, "target", info->target);
	add_text(b, "portal", info->portal);
	add_text(b, "redirect", info->redirect);
	add_num(b, "redirects", info->redirects);
	add(b, "redirect_chain", hops_json(info));
	add_text(b, "state", info->state);
	add_bool(b, "up", info->up);
	add_num(b, "up_ms", info->up_ms);
	add_text(b, "last_error", info->last_error);
	add_num(b, "next_try_ms", info->next_try_ms);
	add_num(b, "attempts", info->attempts);
	add_bool(b, "given_up", info->given_up);
	add_num(b, "clients", info->clients);
	add_num(b, "tasks", info->tasks);
	add_num(b, "orphans", info->orphans);
}

json_t *
control_json_session(const struct session_info *info)
{
	struct build b = { json_object(), 0 };

	add_session_basics(&b, info);
	return finish(&b);
}

/* Negotiated values (RFC 7143 section 13); null before the first login. */
static json_t *
params_json(const struct session_info *info)
{
	const struct msg_params *p = &info->params;
	struct build b;

	if (p->generation == 0)
		return json_null();
	b = (struct build){ json_object(), 0 };
	add_num(&b, "generation", p->generation);
	add_text(&b, "header_digest",
	    p->flags & MSG_PARAM_HEADER_DIGEST ? "CRC32C" : "None");
	add_text(&b, "data_digest",
	    p->flags & MSG_PARAM_DATA_DIGEST ? "CRC32C" : "None");
	add_bool(&b, "initial_r2t", p->flags & MSG_PARAM_INITIAL_R2T);
	add_bool(&b, "immediate_data", p->flags & MSG_PARAM_IMMEDIATE_DATA);
	add_num(&b, "target_max_recv_data_segment_length", p->send_dsl);
	add_num(&b, "max_recv_data_segment_length", p->recv_dsl);
	add_num(&b, "max_burst_length", p->max_burst);
	add_num(&b, "first_burst_length", p->first_burst);
	add_num(&b, "max_outstanding_r2t", p->max_r2t);
	add_num(&b, "protocol_level", info->protocol_level);
	return finish(&b);
}

json_t *
control_json_session_full(const struct session_info *info)
{
	struct build b = { json_object(), 0 };
	char isid[13];

	add_session_basics(&b, info);
	add_text(&b, "peer", info->peer);
	add_text(&b, "local", info->local);
	add_num(&b, "window", info->window);
	snprintf(isid, sizeof(isid), "%02x%02x%02x%02x%02x%02x",
	    info->isid[0], info->isid[1], info->isid[2], info->isid[3],
	    info->isid[4], info->isid[5]);
	add_text(&b, "isid", isid);
	add_num(&b, "tsih", info->tsih);
	add(&b, "negotiated", params_json(info));
	return finish(&b);
}

static json_t *
header_json(const struct hdrring_entry *e)
{
	struct build b = { json_object(), 0 };
	uint8_t opcode = iscsi_opcode(e->bhs);
	char hex[2 * ISCSI_BHS_LEN + 1];

	for (size_t i = 0; i < ISCSI_BHS_LEN; i++)
		snprintf(hex + 2 * i, 3, "%02x", e->bhs[i]);
	add_num(&b, "time_us", e->time_us);
	add_text(&b, "direction", e->sent ? "sent" : "received");
	add_text(&b, "pdu", iscsi_opcode_name(opcode));
	add(&b, "itt", json_sprintf("0x%08x", iscsi_itt(e->bhs)));
	if (hdrring_has_number(e))
		add_num(&b, e->sent ? "cmdsn" : "statsn",
		    get_be32(e->bhs + ISCSI_OFF_CMDSN));
	add_num(&b, "length", iscsi_dsl(e->bhs));
	add_text(&b, "bhs", hex);
	return finish(&b);
}

json_t *
control_json_headers(const struct hdrring *ring)
{
	json_t *list = json_array();
	int rc = 0;

	for (size_t i = 0; i < hdrring_count(ring); i++)
		rc |= json_array_append_new(list,
		    header_json(hdrring_at(ring, i)));
	if (rc == 0)
		return list;
	json_decref(list);
	return NULL;
}

static json_t *
outcomes_json(const uint64_t *counts)
{
	struct build b = { json_object(), 0 };

	add_num(&b, "final-pdu", counts[0]);
	for (unsigned i = MSG_OUTCOME_REFUSED; i <= MSG_OUTCOME_TIMED_OUT; i++)
		add_num(&b, msg_outcome_name(i), counts[i]);
	return finish(&b);
}

json_t *
control_json_session_stats(const struct session_stats *s)
{
	struct build b = { json_object(), 0 };

	add_num(&b, "logins", s->logins);
	add_num(&b, "login_failures", s->login_failures);
	add_num(&b, "downs", s->downs);
	add_num(&b, "pdus_in", s->pdus_in);
	add_num(&b, "pdus_out", s->pdus_out);
	add_num(&b, "bytes_in", s->bytes_in);
	add_num(&b, "bytes_out", s->bytes_out);
	add_num(&b, "recv_calls", s->recv_calls);
	add_num(&b, "send_calls", s->send_calls);
	add_num(&b, "tasks_opened", s->tasks_opened);
	add(&b, "outcomes", outcomes_json(s->outcomes));
	add_num(&b, "refused_data", s->refused_data);
	add_num(&b, "orphans", s->orphans);
	add_num(&b, "aborts_sent", s->aborts_sent);
	add_num(&b, "stale_pdus", s->stale_pdus);
	add_num(&b, "pings_answered", s->pings_answered);
	add_num(&b, "pings_sent", s->pings_sent);
	add_num(&b, "async_messages", s->async_messages);
	add_num(&b, "async_unknown", s->async_unknown);
	add_num(&b, "rejects", s->rejects);
	add_num(&b, "plugs", s->plugs);
	add_num(&b, "ignored_data", s->ignored_data);
	return finish(&b);
}

json_t *
control_json_client(const struct client_info *info)
{
	struct build b = { json_object(), 0 };

	add_num(&b, "id", info->id);
	add_text(&b, "name", info->name);
	add_text(&b, "session", info->session);
	add_text(&b, "raw", info->raw);
	add_text(&b, "raw_peer", info->raw_peer);
	add_num(&b, "unwanted_pdus", info->unwanted);
	add_num(&b, "uid", info->uid);
	add_num(&b, "pid", (uint64_t)info->pid);
	add_num(&b, "tasks", info->tasks);
	add_num(&b, "inbound_bytes", info->used.in);
	add_num(&b, "outbound_bytes", info->used.out);
	add_num(&b, "frames_in", info->frames_in);
	add_num(&b, "frames_out", info->frames_out);
	add_num(&b, "bytes_in", info->bytes_in);
	add_num(&b, "bytes_out", info->bytes_out);
	add_num(&b, "refused", info->refused);
	add_num(&b, "errors", info->errors);
	add_bool(&b, "paused", info->paused);
	return finish(&b);
}

json_t *
control_json_trace(const struct trace_info *info)
{
	struct build b = { json_object(), 0 };

	add_num(&b, "id", info->id);
	add(&b, "session", info->session == NULL ? json_null() :
	    control_json_text(info->session));
	add_bool(&b, "headers", info->headers);
	add_bool(&b, "stopped", info->stopped);
	add_num(&b, "packets", info->packets);
	add_num(&b, "dropped", info->dropped);
	add_num(&b, "unread_bytes", info->unread);
	return finish(&b);
}

static json_t *
trace_json(const struct trace *t)
{
	struct build b = { json_object(), 0 };
	struct trace_stats s;

	trace_stats_get(t, &s);
	add_num(&b, "running", s.running);
	add_num(&b, "packets", s.packets);
	add_num(&b, "dropped", s.dropped);
	return finish(&b);
}

static json_t *
pool_json(const struct pool_stats *s)
{
	static const char *const class_names[POOL_CLASSES] = { "4k", "64k",
	    "16m" };
	struct build b = { json_object(), 0 };

	for (unsigned i = 0; i < POOL_CLASSES; i++) {
		struct build c = { json_object(), 0 };

		add_num(&c, "hits", s->hits[i]);
		add_num(&c, "misses", s->misses[i]);
		add_num(&c, "out", s->out[i]);
		add_num(&c, "kept", s->kept[i]);
		add(&b, class_names[i], finish(&c));
	}
	add_num(&b, "bytes_out", s->bytes_out);
	add_num(&b, "bytes_kept", s->bytes_kept);
	add_num(&b, "slices_out", s->slices_out);
	add_num(&b, "slices_kept", s->slices_kept);
	add_num(&b, "trims", s->trims);
	add_num(&b, "bytes_trimmed", s->bytes_trimmed);
	return finish(&b);
}

json_t *
control_json_worker(struct worker *w)
{
	struct build b = { json_object(), 0 };
	struct pool_stats pool;

	pool_stats_get(w->pool, &pool);
	add_num(&b, "turns", loop_turns(w->loop));
	add_num(&b, "clients", w->nclients);
	add_num(&b, "pdus_queued", w->txpdus_out);
	add_num(&b, "pdus_kept", w->nfree_txpdus);
	add_num(&b, "messages_queued", w->outmsgs_out);
	add_num(&b, "messages_kept", w->nfree_outmsgs);
	add(&b, "trace", trace_json(w->trace));
	add(&b, "pool", pool_json(&pool));
	return finish(&b);
}

json_t *
control_json_limits(const struct worker *w)
{
	const struct config_limits *l = &w->config->limits;
	struct build b = { json_object(), 0 };

	add_num(&b, "max_clients", l->max_clients);
	add_num(&b, "client_tasks", l->client_tasks);
	add_num(&b, "client_inbound_bytes", l->client_inbound);
	add_num(&b, "client_outbound_bytes", l->client_outbound);
	add_num(&b, "uid_factor", l->uid_factor);
	add_num(&b, "hello_timeout_ms", l->hello_timeout);
	add_num(&b, "client_stall_timeout_ms", l->client_stall_timeout);
	add_num(&b, "abort_timeout_ms", l->abort_timeout);
	add_num(&b, "r2t_timeout_ms", l->r2t_timeout);
	return finish(&b);
}
