/* SPDX-License-Identifier: ISC */
/*
 * --check-config: reads the configuration as a start would, and looks whether
 * what it names exists.  Touches no socket of the daemon.
 */
#include "config.h"

#include <sys/socket.h>

#include <netdb.h>
#include <stdio.h>
#include <string.h>

#include "daemon/conf.h"
#include "daemon/daemon.h"
#include "daemon/daemon_priv.h"

static void
warn_portal(const struct config_session *s, const struct config_portal *p)
{
	const struct addrinfo hints = { .ai_socktype = SOCK_STREAM };
	struct addrinfo *found = NULL;
	int rc;

	rc = getaddrinfo(p->host, NULL, &hints, &found);
	if (rc != 0)
		fprintf(stderr, "warning: session %s: portal %s cannot be "
		    "resolved: %s\n", s->name, p->text,
		    gai_strerror(rc));
	else
		freeaddrinfo(found);
}

static void
warn_portals(const struct config_session *s)
{
	const struct config_portal *p;

	for (size_t i = 0; (p = config_session_portal(s, i)) != NULL; i++)
		warn_portal(s, p);
}

static void
warn_all(const struct config *cfg)
{
	if (cfg->uid == CONFIG_NO_ID)
		fprintf(stderr, "warning: the user \"%s\" does not exist, so "
		    "iscsimuxd cannot be started as root\n", cfg->user);
	if (cfg->data_socket_gid == CONFIG_NO_ID)
		fprintf(stderr, "warning: the group \"%s\" of the data socket "
		    "does not exist\n", cfg->data_socket_group);
	for (size_t i = 0; i < cfg->session_count; i++) {
		if (cfg->sessions[i]->access_count == 0)
			fprintf(stderr, "warning: session %s has no access "
			    "rule: only root and the daemon's own user may "
			    "use it\n", cfg->sessions[i]->name);
		warn_portals(cfg->sessions[i]);
	}
}

enum daemon_exit
daemon_check(const char *path)
{
	struct config_errors errs;
	struct config *cfg = NULL;
	enum daemon_exit rc = DAEMON_EXIT_OK;

	memset(&errs, 0, sizeof(errs));
	if (config_load(path, &cfg, &errs) < 0)
		rc = DAEMON_EXIT_CONFIG;
	for (size_t i = 0; i < errs.count; i++)
		fprintf(stderr, "%s\n", errs.text[i]);
	if (errs.total > errs.count)
		fprintf(stderr, "and %zu more errors\n",
		    errs.total - errs.count);
	config_errors_clear(&errs);
	if (rc != DAEMON_EXIT_OK)
		return rc;
	warn_all(cfg);
	printf("%s: ok, %zu session%s\n", daemon_config_path(path),
	    cfg->session_count, cfg->session_count == 1 ? "" : "s");
	config_free(cfg);
	return DAEMON_EXIT_OK;
}
