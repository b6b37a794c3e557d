/* SPDX-License-Identifier: ISC */
/*
 * Sessions that a client's raw connection became, and the way back.  Such a
 * session has its connection before its first client and ends with the last;
 * it logs in again only as a configured session would that has the same
 * target and portal, for the daemon's secrets are not the client's to use.
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/conn.h"
#include "daemon/session_internal.h"
#include "proto/iscsi.h"

/* Of a session without a configuration, in ms. */
#define SHARED_LOGOUT_TIMEOUT	5000
#define SHARED_TEXT_TIMEOUT	30000

/* One rule: the owner may do all. */
static struct config_access *
make_access(uid_t uid)
{
	struct config_access *access = calloc(1, sizeof(*access));
	uint32_t *list = calloc(1, sizeof(*list));

	if (access == NULL || list == NULL) {
		free(access);
		free(list);
		return NULL;
	}
	*list = uid;
	*access = (struct config_access){
		.users = { .count = 1, .list = list }, .allow = MSG_ACCESS_ALL,
	};
	return access;
}

static struct config_session *
make_config(const struct session_shared *what)
{
	struct config_session *c = calloc(1, sizeof(*c));

	if (c == NULL)
		return NULL;
	c->origin = CONFIG_SHARED;
	c->name = strdup(what->name);
	c->portal.text = strdup(conn_peer(pump_conn(what->pump)));
	c->portal.host = strdup(conn_peer(pump_conn(what->pump)));
	c->target = strdup(what->params->target);
	c->logout_timeout = SHARED_LOGOUT_TIMEOUT;
	c->text_timeout = SHARED_TEXT_TIMEOUT;
	c->access = make_access(what->uid);
	c->access_count = c->access != NULL ? 1 : 0;
	if (c->name != NULL && c->portal.text != NULL &&
	    c->portal.host != NULL && c->target != NULL && c->access != NULL)
		return c;
	config_session_unref(c);
	return NULL;
}

/* It ends with its last client. */
static bool
is_ad_hoc(const struct session *s)
{
	return s->config->origin == CONFIG_SHARED;
}

bool
session_name_free(struct worker *w, const char *name, struct refusal *why)
{
	const struct session *s = session_find(w, name);

	if (*name == '\0' || name[strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	    "abcdefghijklmnopqrstuvwxyz0123456789._-")] != '\0')
		return guard_no(why, MSG_R_BAD_FIELD, "a session's name has "
		    "letters, digits and ._- only");
	if (s == NULL || (s->config->manual && s->phase == SESSION_IDLE &&
	    !s->stopping && !s->freed && s->nattachments == 0))
		return true;
	return guard_no(why, MSG_R_BUSY, "the name %s is in use", name);
}

static bool
is_portal(const struct config_portal *portal,
    const struct session_shared *what)
{
	char address[MSG_ADDRESS_MAX + 1];

	if (portal->port == what->port &&
	    strcasecmp(portal->host, what->host) == 0)
		return true;
	snprintf(address, sizeof(address), strchr(portal->host, ':') != NULL ?
	    "[%s]:%u" : "%s:%u", portal->host, (unsigned)portal->port);
	return strcasecmp(address, conn_peer(pump_conn(what->pump))) == 0;
}

/* True if the configured session would connect to where this one is. */
static bool
same_place(const struct session *s, const struct session_shared *what)
{
	const struct config_portal *p;

	if (strcasecmp(s->config->target, what->params->target) != 0)
		return false;
	for (size_t i = 0; (p = config_session_portal(s->config, i)) != NULL;
	    i++) {
		if (is_portal(p, what))
			return true;
	}
	return false;
}

static uint32_t
or_default(uint32_t value, uint32_t otherwise)
{
	return value != 0 ? value : otherwise;
}

/* What was not negotiated has the default of RFC 7143 section 13. */
static void
take_params(struct session *s, const struct session_shared *what)
{
	const struct msg_raw_params *p = what->params;
	uint32_t flags = 0;

	if ((p->flags & MSG_RAW_INITIAL_R2T) != 0)
		flags |= MSG_PARAM_INITIAL_R2T;
	if ((p->flags & MSG_RAW_IMMEDIATE_DATA) != 0)
		flags |= MSG_PARAM_IMMEDIATE_DATA;
	if ((p->flags & MSG_RAW_HEADER_DIGEST) != 0)
		flags |= MSG_PARAM_HEADER_DIGEST;
	if ((p->flags & MSG_RAW_DATA_DIGEST) != 0)
		flags |= MSG_PARAM_DATA_DIGEST;
	s->params = (struct msg_params){
		.generation = s->params.generation + 1,
		.flags = flags,
		.send_dsl = or_default(p->send_dsl, ISCSI_LOGIN_DSL_MAX),
		.recv_dsl = or_default(p->recv_dsl, ISCSI_DSL_MAX),
		.max_burst = or_default(p->max_burst, 262144),
		.first_burst = or_default(p->first_burst, 65536),
		.max_r2t = or_default(p->max_r2t, 1),
	};
	sn_resume(&s->sn, p->cmdsn, p->exp_cmdsn, p->max_cmdsn,
	    p->exp_statsn);
	s->raw_flags = p->flags & (MSG_RAW_BIG_ENDIAN | MSG_RAW_MANUAL |
	    MSG_RAW_SHOW_DIGESTS | MSG_RAW_UNCHECKED);
	s->tsih = p->tsih;
	s->protocol_level = what->protocol_level;
	s->time2wait = 2;
	memcpy(s->isid, p->isid, sizeof(s->isid));
}

/* The named session, with a configuration of its own if there is no other. */
static struct session *
find_or_make(struct worker *w, const struct session_shared *what,
    struct refusal *why)
{
	struct session *s = session_find(w, what->name);
	struct config_session *config;

	if (s != NULL)
		return s;
	config = make_config(what);
	s = config == NULL ? NULL : session_new(w, config);
	config_session_unref(config);
	if (s == NULL) {
		guard_no(why, MSG_R_INTERNAL, "out of memory");
		return NULL;
	}
	return s;
}

struct session *
session_share(struct worker *w, const struct session_shared *what,
    struct refusal *why)
{
	struct session *s;

	if (!session_name_free(w, what->name, why))
		return NULL;
	s = find_or_make(w, what, why);
	if (s == NULL)
		return NULL;
	s->shared = true;
	s->adopted = what->adopted;
	s->recovers = !is_ad_hoc(s) && same_place(s, what);
	strlcpy(s->initiator, what->initiator, sizeof(s->initiator));
	strlcpy(s->target, what->params->target, sizeof(s->target));
	take_params(s, what);
	s->pump = what->pump;
	pump_set_owner(s->pump, &session_pump_ops, s);
	conn_set_label(pump_conn(s->pump), s->config->name);
	session_step(s, SESSION_EV_SHARED);
	s->up_since = loop_now(w->loop);
	keepalive_start(s);
	s->last_error[0] = '\0';
	log_info(s->log, "session %s: shared by uid %ld: %s at %s%s",
	    s->config->name, (long)what->uid, what->params->target,
	    conn_peer(pump_conn(s->pump)),
	    s->adopted ? ", on an adopted socket" : "");
	return s;
}

/* The last client has gone and the Logout is done. */
static void
ended(void *arg)
{
	struct session *s = arg;

	if (is_ad_hoc(s)) {
		session_free(s, "its last client has gone");
		return;
	}
	session_reopen(s);
}

void
session_share_end(struct session *s)
{
	if (s->stopping || s->freed)
		return;
	log_info(s->log, "session %s: its last client has gone",
	    s->config->name);
	session_stop(s, ended, s);
}

/* Nothing is outstanding that the raw connection would not know of. */
static bool
is_idle(const struct session *s)
{
	return s->phase == SESSION_UP && !s->stopping &&
	    s->nattachments == 1 && router_count(s->router) == 0 &&
	    s->nanswers == 0 && pump_unsent(s->pump) == 0;
}

static void
tell_params(const struct session *s, struct msg_raw_params *out)
{
	*out = (struct msg_raw_params){
		.phase = MSG_RAW_FULL_FEATURE,
		.flags = MSG_RAW_NUMBERS,
		.recv_dsl = s->params.recv_dsl,
		.send_dsl = s->params.send_dsl,
		.max_burst = s->params.max_burst,
		.first_burst = s->params.first_burst,
		.max_r2t = s->params.max_r2t,
		.cmdsn = s->sn.cmdsn,
		.exp_cmdsn = s->sn.expcmdsn,
		.max_cmdsn = s->sn.maxcmdsn,
		.exp_statsn = s->sn.expstatsn,
		.tsih = s->tsih,
	};
	if ((s->params.flags & MSG_PARAM_INITIAL_R2T) != 0)
		out->flags |= MSG_RAW_INITIAL_R2T;
	if ((s->params.flags & MSG_PARAM_IMMEDIATE_DATA) != 0)
		out->flags |= MSG_RAW_IMMEDIATE_DATA;
	if ((s->params.flags & MSG_PARAM_HEADER_DIGEST) != 0)
		out->flags |= MSG_RAW_HEADER_DIGEST;
	if ((s->params.flags & MSG_PARAM_DATA_DIGEST) != 0)
		out->flags |= MSG_RAW_DATA_DIGEST;
	if (s->adopted)
		out->flags |= MSG_RAW_ADOPTED;
	out->flags |= s->raw_flags;
	memcpy(out->isid, s->isid, sizeof(out->isid));
	strlcpy(out->target, session_target(s), sizeof(out->target));
}

struct pump *
session_unshare(struct attachment *a, struct msg_raw_params *out,
    char *initiator, struct refusal *why)
{
	struct session *s = a->session;
	struct pump *pump = s->pump;

	if (!s->shared) {
		guard_no(why, MSG_R_BAD_STATE, "the session was not made by "
		    "SHARE");
		return NULL;
	}
	if (!is_idle(s)) {
		guard_no(why, MSG_R_BUSY, s->nattachments > 1 ?
		    "other clients are attached" : s->phase != SESSION_UP ?
		    "the session is down" :
		    "a task is open or a byte is not sent yet");
		return NULL;
	}
	tell_params(s, out);
	strlcpy(initiator, s->initiator, ISCSI_NAME_MAX + 1);
	s->pump = NULL;
	s->shared = s->adopted = false;
	s->up_since = 0;
	session_step(s, SESSION_EV_UNSHARED);
	loop_timer_clear(s->timer);
	loop_timer_clear(s->ack_timer);
	session_detach(a);
	router_reset(s->router);
	if (is_ad_hoc(s))
		session_free(s, "it was unshared");
	*s->initiator = *s->target = '\0';
	session_make_isid(s);
	return pump;
}

const char *
session_target(const struct session *s)
{
	return *s->target != '\0' ? s->target : s->config->target;
}

bool
session_nexus(const struct session *s, struct loginwatch_nexus *out)
{
	const char *own = s->worker->config->initiator_name;

	*out = (struct loginwatch_nexus){
		.target = session_target(s),
		.isid = s->isid,
	};
	if (*s->initiator != '\0')
		out->initiator = s->initiator;
	else if (*s->target == '\0')
		out->initiator = own != NULL ? own : "";
	/* Else somebody else has logged in, under a name of his own. */
	return s->phase != SESSION_IDLE &&
	    (out->initiator == NULL || *out->initiator != '\0');
}

uint32_t
session_protocol_level(const struct session *s)
{
	return s->protocol_level;
}

struct pump *
session_pump(const struct session *s)
{
	return s->pump;
}

uint8_t
session_flags(const struct session *s)
{
	uint8_t flags = 0;

	if (s->shared)
		flags |= MSG_LISTING_SHARED;
	if (s->adopted)
		flags |= MSG_LISTING_ADOPTED;
	return flags;
}
