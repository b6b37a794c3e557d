/* SPDX-License-Identifier: ISC */
/*
 * iscsimuxd: reads the command line, then hands over to daemon.c.
 */
#include "config.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "daemon/daemon.h"

enum {
	OPT_CONTROL_SOCKET = 256,
	OPT_CHECK_CONFIG
};

static const struct option options[] = {
	{ "check-config", optional_argument, NULL, OPT_CHECK_CONFIG },
	{ "config", required_argument, NULL, 'c' },
	{ "control-socket", required_argument, NULL, OPT_CONTROL_SOCKET },
	{ "data-socket", required_argument, NULL, 'S' },
	{ "debug", no_argument, NULL, 'd' },
	{ "foreground", no_argument, NULL, 'f' },
	{ "help", no_argument, NULL, 'h' },
	{ "pidfile", required_argument, NULL, 'p' },
	{ "user", required_argument, NULL, 'u' },
	{ "version", no_argument, NULL, 'V' },
	{ NULL, 0, NULL, 0 }
};

struct arguments {
	struct daemon_options	 daemon;
	bool			 check;
	const char		*check_path;
};

static void
usage(FILE *to)
{
	fputs("usage: iscsimuxd [-dfhV] [-c FILE] [-p FILE] [-S PATH] "
	    "[-u USER]\n"
	    "                 [--control-socket PATH]\n"
	    "       iscsimuxd --check-config [FILE]\n"
	    "\n"
	    "Holds iSCSI sessions and lets many processes share them.\n"
	    "\n"
	    "  -c, --config FILE          configuration (default: "
	    ISCSIMUX_CONFDIR "/iscsimuxd.conf)\n"
	    "      --check-config [FILE]  check it, say what is wrong, "
	    "and exit\n"
	    "      --control-socket PATH  instead of control-socket\n"
	    "  -d, --debug                log everything\n"
	    "  -f, --foreground           stay in the foreground (always "
	    "so)\n"
	    "  -h, --help                 print this\n"
	    "  -p, --pidfile FILE         write the process id there\n"
	    "  -S, --data-socket PATH     instead of data-socket\n"
	    "  -u, --user USER            run as USER when started as root\n"
	    "  -V, --version              print the version\n"
	    "\n"
	    "Exit status: 0 stopped as asked, 1 failure, 2 usage or "
	    "configuration,\n"
	    "3 another daemon is running.\n", to);
}

static int
usage_error(const char *what, const char *arg)
{
	if (what != NULL)
		fprintf(stderr, "iscsimuxd: %s%s\n", what, arg);
	fputs("Try 'iscsimuxd --help'.\n", stderr);
	return DAEMON_EXIT_CONFIG;
}

/* Returns -1 to go on, or the status to exit with. */
static int
take_option(int c, struct arguments *args)
{
	switch (c) {
	case 'c':
		args->daemon.config_path = optarg;
		return -1;
	case 'd':
		args->daemon.debug = true;
		return -1;
	case 'f':
		return -1;
	case 'p':
		args->daemon.pidfile = optarg;
		return -1;
	case 'S':
		args->daemon.data_socket = optarg;
		return -1;
	case 'u':
		args->daemon.user = optarg;
		return -1;
	case OPT_CONTROL_SOCKET:
		args->daemon.control_socket = optarg;
		return -1;
	case OPT_CHECK_CONFIG:
		args->check = true;
		args->check_path = optarg;
		return -1;
	case 'h':
		usage(stdout);
		return DAEMON_EXIT_OK;
	case 'V':
		puts("iscsimuxd " PACKAGE_VERSION);
		return DAEMON_EXIT_OK;
	default:
		return usage_error(NULL, NULL);
	}
}

static int
run(int argc, char **argv, struct arguments *args)
{
	const char *extra = optind < argc ? argv[optind] : NULL;

	/* --check-config FILE is what people type. */
	if (args->check && args->check_path == NULL && extra != NULL) {
		args->check_path = extra;
		extra = ++optind < argc ? argv[optind] : NULL;
	}
	if (extra != NULL)
		return usage_error("unexpected argument: ", extra);
	if (!args->check)
		return (int)daemon_run(&args->daemon);
	return (int)daemon_check(args->check_path != NULL ?
	    args->check_path : args->daemon.config_path);
}

int
main(int argc, char **argv)
{
	struct arguments args;
	int c, status;

	memset(&args, 0, sizeof(args));
	while ((c = getopt_long(argc, argv, "c:dfhp:S:u:V", options,
	    NULL)) != -1) {
		status = take_option(c, &args);
		if (status != -1)
			return status;
	}
	return run(argc, argv, &args);
}
