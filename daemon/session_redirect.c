/* SPDX-License-Identifier: ISC */
/*
 * Where a target sends the login to (RFC 7143 section 11.13.5): a chain of
 * hops that begins at a portal of the session.  Nobody has authenticated the
 * target that says so, so a hop is an address to connect to and nothing else:
 * the names and secrets stay those of the configuration.
 */
#include "config.h"

#include <string.h>

#include "daemon/session_internal.h"

static void
forget(struct session *s, unsigned hops)
{
	if (hops < s->redirect.hops)
		s->redirect.hops = hops;
	if (hops < s->redirect.proved)
		s->redirect.proved = hops;
}

/* True if the chain has been there. */
static bool
is_known(struct session *s, const struct login_redirect *r)
{
	const struct config_portal *p = session_portal(s);

	if (p->port == r->port && strcasecmp(p->host, r->host) == 0)
		return true;
	for (unsigned i = 0; i < s->redirect.hops; i++) {
		const struct redirect_hop *hop = &s->redirect.hop[i];

		if (hop->port == r->port &&
		    strcasecmp(hop->host, r->host) == 0)
			return true;
	}
	return false;
}

/*
 * A login is redirected to an address and never to another target: the status
 * says that the name which was asked for has moved, and a target declares
 * TargetName only to SendTargets (RFC 7143 sections 11.13.5 and 13.4).
 */
static void
note_name(struct session *s, const struct login_redirect *r)
{
	if (*r->target != '\0' &&
	    strcasecmp(r->target, s->config->target) != 0)
		log_warn(s->log, "session %s: redirected with TargetName=%s, "
		    "which is not followed: the login goes on for %s",
		    s->config->name, r->target, s->config->target);
}

void
session_redirected(struct session *s, const struct login_redirect *r)
{
	struct session_redirect *chain = &s->redirect;
	struct redirect_hop *hop;
	bool known;

	if (chain->portal != s->portal)
		forget(s, 0);
	known = is_known(s, r);
	if (known || chain->hops == SESSION_HOPS_MAX) {
		forget(s, 0);
		session_fail(s, known ? "redirected in a circle, to %s" :
		    "redirected too often, at last to %s", r->address);
		return;
	}
	chain->portal = s->portal;
	hop = &chain->hop[chain->hops++];
	hop->port = r->port;
	hop->permanent = r->permanent;
	strlcpy(hop->host, r->host, sizeof(hop->host));
	strlcpy(hop->address, r->address, sizeof(hop->address));
	s->retry_at_once = true;
	note_name(s, r);
	session_fail(s, "redirected to %s%s", r->address,
	    r->permanent ? ", for ever" : "");
}

const struct redirect_hop *
session_redirect_hop(const struct session *s)
{
	const struct session_redirect *chain = &s->redirect;

	return chain->hops > 0 && chain->portal == s->portal ?
	    &chain->hop[chain->hops - 1] : NULL;
}

void
session_redirect_proved(struct session *s)
{
	if (session_redirect_hop(s) != NULL)
		s->redirect.proved = s->redirect.hops;
}

void
session_redirect_info(const struct session *s, struct session_info *out)
{
	const struct redirect_hop *last = session_redirect_hop(s);

	out->redirect = last != NULL ? last->address : "";
	out->redirects = last != NULL ? s->redirect.hops : 0;
	for (unsigned i = 0; i < out->redirects; i++)
		out->hop[i] = (struct session_hop){
			.address = s->redirect.hop[i].address,
			.permanent = s->redirect.hop[i].permanent,
		};
}

/*
 * What nobody has vouched for must not keep the session from its portal for
 * ever: "permanently" counts where a login has gone well.
 */
void
session_redirect_undo(struct session *s)
{
	unsigned i = 0;

	while (i < s->redirect.proved && s->redirect.hop[i].permanent)
		i++;
	forget(s, i);
}
