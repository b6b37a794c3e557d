/* SPDX-License-Identifier: ISC */
/*
 * What happens before the event loop exists: configuration and command line
 * are merged, the sockets opened, privileges given up.  All of it may block.
 */
#include "config.h"

#include <sys/resource.h>

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/conf.h"
#include "daemon/daemon_priv.h"
#include "daemon/listener.h"
#include "daemon/log.h"

#define CONTROL_MODE	0600

const char *
daemon_config_path(const char *path)
{
	return path != NULL ? path : ISCSIMUX_CONFDIR "/iscsimuxd.conf";
}

static enum daemon_exit
load(struct daemon *d, const char *path)
{
	struct config_errors errs;

	memset(&errs, 0, sizeof(errs));
	if (config_load(path, &d->config, &errs) == 0) {
		config_errors_clear(&errs);
		return DAEMON_EXIT_OK;
	}
	for (size_t i = 0; i < errs.count; i++)
		log_error(d->log, "%s", errs.text[i]);
	if (errs.total > errs.count)
		log_error(d->log, "and %zu more errors",
		    errs.total - errs.count);
	config_errors_clear(&errs);
	return DAEMON_EXIT_CONFIG;
}

/* Replace a text of the configuration if the command line has one. */
static bool
override(char **field, const char *value)
{
	char *copy;

	if (value == NULL)
		return true;
	copy = strdup(value);
	if (copy == NULL)
		return false;
	free(*field);
	*field = copy;
	return true;
}

static void
override_user(struct config *cfg)
{
	const struct passwd *pw = getpwnam(cfg->user);

	cfg->uid = pw != NULL ? pw->pw_uid : CONFIG_NO_ID;
	cfg->gid = pw != NULL ? pw->pw_gid : CONFIG_NO_ID;
}

enum daemon_exit
daemon_configure(struct daemon *d, const struct daemon_options *opt)
{
	struct config *cfg;
	enum daemon_exit rc;

	rc = load(d, opt->config_path);
	if (rc != DAEMON_EXIT_OK)
		return rc;
	cfg = d->config;
	if (!override(&cfg->data_socket, opt->data_socket) ||
	    !override(&cfg->control_socket, opt->control_socket) ||
	    !override(&cfg->user, opt->user)) {
		log_error(d->log, "out of memory");
		return DAEMON_EXIT_FAILURE;
	}
	d->config_given = opt->config_path != NULL;
	d->given_data_socket = opt->data_socket != NULL;
	d->given_control_socket = opt->control_socket != NULL;
	d->given_user = opt->user != NULL;
	d->debug = opt->debug;
	if (opt->user != NULL)
		override_user(cfg);
	log_set_level(d->log, opt->debug ? LOG_LEVEL_DEBUG : cfg->log_level);
	if (strcmp(cfg->data_socket, cfg->control_socket) == 0) {
		log_error(d->log, "data socket and control socket are both "
		    "%s: they must differ", cfg->data_socket);
		return DAEMON_EXIT_CONFIG;
	}
	if (geteuid() == 0 && cfg->uid == CONFIG_NO_ID) {
		log_error(d->log, "the user \"%s\" to run as does not exist: "
		    "create it, name another one with \"user\", or say "
		    "\"user = root\"", cfg->user);
		return DAEMON_EXIT_CONFIG;
	}
	return DAEMON_EXIT_OK;
}

/* True if this process may give a file of its own to the group. */
static bool
may_give_to(gid_t gid)
{
	gid_t *groups;
	bool found = false;
	int n;

	if (geteuid() == 0 || gid == getegid())
		return true;
	n = getgroups(0, NULL);
	groups = n > 0 ? calloc((size_t)n, sizeof(*groups)) : NULL;
	if (groups == NULL)
		return false;
	n = getgroups(n, groups);
	for (int i = 0; i < n && !found; i++)
		found = groups[i] == gid;
	free(groups);
	return found;
}

/* The group of the data socket; without it the daemon is of less use, but
 * not of none. */
static gid_t
data_gid(const struct daemon *d)
{
	const struct config *cfg = d->config;

	if (cfg->data_socket_gid == CONFIG_NO_ID)
		log_warn(d->log, "socket %s: the group \"%s\" does not exist, "
		    "so its members cannot connect", cfg->data_socket,
		    cfg->data_socket_group);
	else if (!may_give_to(cfg->data_socket_gid))
		log_warn(d->log, "socket %s: this user is not in the group "
		    "\"%s\", so the socket keeps its own", cfg->data_socket,
		    cfg->data_socket_group);
	else
		return cfg->data_socket_gid;
	return (gid_t)-1;
}

static enum daemon_exit
open_socket(struct daemon *d, const struct listener_where *where,
    struct listener_socket **out)
{
	char why[LISTENER_WHY_MAX];
	int rc;

	rc = listener_open(where, out, why, sizeof(why));
	if (rc == 0)
		return DAEMON_EXIT_OK;
	log_error(d->log, "%s", why);
	return rc == LISTENER_E_IN_USE ? DAEMON_EXIT_RUNNING :
	    DAEMON_EXIT_FAILURE;
}

enum daemon_exit
daemon_open_sockets(struct daemon *d)
{
	const struct config *cfg = d->config;
	const uid_t uid = geteuid() == 0 ? cfg->uid : (uid_t)-1;
	struct listener_where control = { cfg->control_socket, CONTROL_MODE,
	    uid, (gid_t)-1 };
	struct listener_where data = { cfg->data_socket,
	    cfg->data_socket_mode, uid, (gid_t)-1 };
	struct listener_inherited given;
	char why[LISTENER_WHY_MAX];
	enum daemon_exit rc = DAEMON_EXIT_OK;

	if (listener_inherit(&given, why, sizeof(why)) < 0) {
		log_error(d->log, "%s", why);
		return DAEMON_EXIT_FAILURE;
	}
	d->data_socket = given.data;
	d->control_socket = given.control;
	d->given_data_socket |= given.data != NULL;
	d->given_control_socket |= given.control != NULL;
	/* The control socket first: who finds it in use leaves all alone. */
	if (d->control_socket == NULL)
		rc = open_socket(d, &control, &d->control_socket);
	if (rc == DAEMON_EXIT_OK && d->data_socket == NULL) {
		data.gid = data_gid(d);
		rc = open_socket(d, &data, &d->data_socket);
	}
	if (rc != DAEMON_EXIT_OK)
		return rc;
	if (!override(&d->config->data_socket,
	    listener_socket_path(d->data_socket)) ||
	    !override(&d->config->control_socket,
	    listener_socket_path(d->control_socket))) {
		log_error(d->log, "out of memory");
		return DAEMON_EXIT_FAILURE;
	}
	return DAEMON_EXIT_OK;
}

enum daemon_exit
daemon_drop_privileges(struct daemon *d)
{
	const struct config *cfg = d->config;

	if (geteuid() != 0)
		return DAEMON_EXIT_OK;
	if (cfg->uid == 0) {
		log_warn(d->log, "running as root, as \"user = %s\" says",
		    cfg->user);
		return DAEMON_EXIT_OK;
	}
	if (initgroups(cfg->user, cfg->gid) == -1 ||
	    setresgid(cfg->gid, cfg->gid, cfg->gid) == -1 ||
	    setresuid(cfg->uid, cfg->uid, cfg->uid) == -1) {
		log_error(d->log, "cannot become the user \"%s\": %s",
		    cfg->user, strerror(errno));
		return DAEMON_EXIT_FAILURE;
	}
	if (setuid(0) == 0) {
		log_error(d->log, "could become root again after giving it "
		    "up: refusing to run");
		return DAEMON_EXIT_FAILURE;
	}
	return DAEMON_EXIT_OK;
}

void
daemon_raise_limits(struct daemon *d)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 &&
	    limit.rlim_cur < limit.rlim_max) {
		limit.rlim_cur = limit.rlim_max;
		if (setrlimit(RLIMIT_NOFILE, &limit) == -1)
			log_debug(d->log, "cannot raise the limit of open "
			    "files: %s", strerror(errno));
	}
}
