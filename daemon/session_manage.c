/* SPDX-License-Identifier: ISC */
/*
 * What an admin changes about a session that exists: its configuration, and
 * that one that was stopped may run again.  When and why is the daemon's
 * business.
 */
#include "config.h"

#include <string.h>

#include "daemon/session_internal.h"

bool
session_stopping(const struct session *s)
{
	return s->stopping || s->freed;
}

uint32_t
session_task_count(const struct session *s)
{
	return router_count(s->router);
}

bool
session_idle(const struct session *s)
{
	return s->phase == SESSION_IDLE && !session_stopping(s);
}

void
session_isid(const struct session *s, uint8_t *isid)
{
	memcpy(isid, s->isid, sizeof(s->isid));
}

void
session_set_config(struct session *s, struct config_session *config)
{
	struct config_session *old = s->config;

	s->config = config_session_ref(config);
	config_session_unref(old);
	session_login_anew(s);
	if (s->phase == SESSION_IDLE)
		session_make_isid(s);
}

void
session_reopen(struct session *s)
{
	/* They would find themselves elsewhere when it logs in again. */
	if (s->shared && !s->recovers)
		session_remove_clients(s, "the session that was shared under "
		    "this name is logged out");
	s->shared = s->adopted = s->stopping = false;
	/* What a target taught belongs to where the session was. */
	s->redirect.hops = s->redirect.proved = 0;
	s->md5 = SESSION_MD5_NOT_ALONE;
	s->retry_at_once = s->refused = false;
	*s->initiator = *s->target = '\0';
	session_make_isid(s);
}
