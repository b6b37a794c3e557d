/* SPDX-License-Identifier: ISC */
/*
 * iscsimux: the user's program.  Reads the command line, runs one command and
 * prints its report.  What commands do is known to their own files.
 */
#include "config.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/cli.h"
#include "client/cli_options.h"

enum needs {
	NEEDS_NOTHING,
	NEEDS_PORTAL,
	NEEDS_SESSION,
	NEEDS_LUN,		/* SESSION[/LUN] */
	NEEDS_FILE,		/* SESSION[/LUN] [FILE] */
	NEEDS_PDU		/* SESSION[/LUN] WORD... */
};

struct command {
	const char	*name;
	enum needs	 needs;
	const char	*allowed;	/* options beside the common ones */
	enum cli_status	(*run)(struct cli *c);
	const char	*arguments;
	const char	*help;
};

static const struct command commands[] = {
	{ "list", NEEDS_NOTHING, "", cli_list, "",
	    "Lists the sessions that you may use.\n" },
	{ "wait", NEEDS_SESSION, "", cli_wait, "SESSION",
	    "Waits until a session is up.\n" },
	{ "ping", NEEDS_SESSION, "cis", cli_ping, "SESSION",
	    "Sends NOP-Outs to the target and times the answers.\n\n"
	    "  -c, --count N          so many; 0: until interrupted "
	    "(default: 4)\n"
	    "  -i, --interval SECONDS from one to the next (default: 1)\n"
	    "  -s, --size BYTES       of data in each (default: 56)\n" },
	{ "inquiry", NEEDS_LUN, "px", cli_inquiry, "SESSION[/LUN]",
	    "Asks a logical unit what it is.\n\n"
	    "  -p, --vpd PAGE         a page of vital product data: a "
	    "number, or pages,\n"
	    "                         serial, id, limits, characteristics, "
	    "provisioning\n"
	    "  -x, --hex              print the bytes\n" },
	{ "luns", NEEDS_SESSION, "", cli_luns, "SESSION",
	    "Lists the logical units of the target.\n" },
	{ "capacity", NEEDS_LUN, "", cli_capacity, "SESSION[/LUN]",
	    "Shows capacity and block length.\n" },
	{ "read", NEEDS_FILE, "olbq", cli_read, "SESSION[/LUN] [FILE]",
	    "Reads blocks to FILE, or to standard output.\n\n"
	    "  -o, --offset BYTES     where to begin (default: 0)\n"
	    "  -l, --length BYTES     how much (default: to the end)\n"
	    CLI_TRANSFER_HELP },
	{ "write", NEEDS_FILE, "olbqw", cli_write, "SESSION[/LUN] [FILE]",
	    "Writes blocks from FILE, or from standard input.\n\n"
	    "  -o, --offset BYTES     where to begin (default: 0)\n"
	    "  -l, --length BYTES     how much (default: all of the input)\n"
	    "  -w, --verify           read each block back and compare\n"
	    CLI_TRANSFER_HELP },
	{ "abort", NEEDS_LUN, "CK", cli_abort, "SESSION/LUN",
	    "Ends all tasks of this initiator on a logical unit, other "
	    "clients' too.\n\n"
	    "  -C, --clear-aca        end an ACA condition instead (CLEAR "
	    "ACA)\n"
	    "  -K, --clear-task-set   CLEAR TASK SET: maybe other "
	    "initiators' tasks, too\n" },
	{ "reset", NEEDS_LUN, "T", cli_reset, "SESSION[/LUN]",
	    "Resets a logical unit, for all clients and initiators.\n\n"
	    "  -T, --target warm|cold the whole target instead; cold also "
	    "ends its\n"
	    "                         connections\n"
	    "               nexus     what this session has at the target (I_T "
	    "NEXUS\n"
	    "                         RESET, RFC 7144)\n" },
	{ "query", NEEDS_LUN, "E", cli_query, "SESSION/LUN",
	    "Asks whether the session has a task on a logical unit (RFC "
	    "7144).\n\n"
	    "  -E, --event            or a unit attention (QUERY ASYNCHRONOUS "
	    "EVENT)\n" },
	{ "submit", NEEDS_PDU, "", cli_submit, "SESSION[/LUN] PDU...",
	    "Sends one PDU and shows what comes back, field by field.\n\n"
	    "A PDU is its bytes in hexadecimal, or its name and fields, as "
	    "in\n\n"
	    "  iscsimux submit disk1/0 scsi-command read edtl=36 "
	    "cdb=120000002400\n\n"
	    "iscsimux(1) has all names.\n" },
	{ "discover", NEEDS_PORTAL, "La", cli_discover, "PORTAL",
	    "Asks a portal which targets it knows; for admins.\n\n"
	    "  -L, --login            add a session for each of them\n"
	    "  -a, --credentials NAME log in with the discovery-chap-* keys of "
	    "this session\n\n"
	    "-S is the daemon's control socket here (ISCSIMUX_CONTROL, or\n"
	    ISCSIMUX_RUNDIR "/control.sock).\n" },
	{ "raw", NEEDS_NOTHING, "PfA", cli_raw, "",
	    "Opens a connection to a target and speaks iSCSI as a script "
	    "says.\n\n"
	    "  -P, --portal HOST:PORT the target\n"
	    "  -f, --script FILE      PDUs and commands; - is standard input "
	    "(default)\n"
	    "  -A, --adopt-fd N       give the daemon this TCP socket "
	    "instead\n\n"
	    "iscsimux(1) describes the script.\n" },
};
#define NCOMMANDS	(sizeof(commands) / sizeof(commands[0]))

static const char common_help[] =
    "  -j, --json             print the result as JSON\n"
    "  -S, --socket PATH      the daemon's data socket (ISCSIMUX_SOCKET, or\n"
    "                         " ISCSIMUX_RUNDIR "/data.sock)\n"
    "  -t, --timeout SECONDS  wait so long for the session, and for each\n"
    "                         answer (default: 30)\n"
    "  -v, --verbose          show each PDU and event on standard error\n"
    "  -h, --help             print this; after a command, more about it\n"
    "  -V, --version          print the version\n"
    "\n"
    "Exit status: 0 done, 1 failed, 2 usage, 3 daemon not reachable or not\n"
    "permitted, 4 nobody knows whether it was done.\n";

static void
help(const struct command *one)
{
	if (one != NULL) {
		printf("usage: iscsimux %s [OPTION]...%s%s\n\n%s\n%s",
		    one->name, *one->arguments != '\0' ? " " : "",
		    one->arguments, one->help, common_help);
		return;
	}
	puts("usage: iscsimux COMMAND [OPTION]... [SESSION[/LUN]] [FILE]\n\n"
	    "Uses an iSCSI session that iscsimuxd holds and shares.\n");
	for (size_t i = 0; i < NCOMMANDS; i++)
		printf("  %-8s %-22s %.*s\n", commands[i].name,
		    commands[i].arguments,
		    (int)strcspn(commands[i].help, "\n"), commands[i].help);
	printf("\n%s", common_help);
}

static enum cli_status
usage_error(const char *fmt, const char *what)
{
	fputs("iscsimux: ", stderr);
	fprintf(stderr, "%s%s\n", fmt, what);
	fputs("Try 'iscsimux --help'.\n", stderr);
	return CLI_USAGE;
}

static const struct command *
find_command(const char *name)
{
	for (size_t i = 0; i < NCOMMANDS; i++) {
		if (strcmp(commands[i].name, name) == 0)
			return &commands[i];
	}
	return NULL;
}

/* SESSION or SESSION/LUN; an iSCSI name has colons, too. */
static enum cli_status
take_session(struct cli *c, const char *arg, enum needs needs)
{
	size_t len = strcspn(arg, "/");

	if (len == 0 || len > ISCSIMUX_TARGET_MAX || strspn(arg, "ABCDEFGHIJKLM"
	    "NOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-:") != len)
		return usage_error("this is no name of a session or target: ",
		    arg);
	memcpy(c->session, arg, len);
	c->session[len] = '\0';
	if (arg[len] == '\0')
		return CLI_OK;
	if (needs == NEEDS_SESSION)
		return usage_error("this command takes no LUN: ", arg);
	if (!cli_parse_lun(arg + len + 1, &c->lun))
		return usage_error("a LUN is a number up to 16383: ", arg);
	c->lun_given = true;
	return CLI_OK;
}

static enum cli_status
take_arguments(struct cli *c, const struct command *cmd, int argc,
    char **argv)
{
	int most = cmd->needs == NEEDS_NOTHING ? 0 :
	    cmd->needs == NEEDS_FILE ? 2 :
	    cmd->needs == NEEDS_PDU ? INT_MAX : 1;

	if (argc > most)
		return usage_error("unexpected argument: ", argv[most]);
	c->file = argc == 2 ? argv[1] : "-";
	c->argc = argc - 1;
	c->argv = argv + 1;
	if (most == 0)
		return CLI_OK;
	if (argc == 0 && cmd->needs == NEEDS_PORTAL)
		return usage_error("which portal? iscsimux discover "
		    "HOST:PORT", "");
	if (argc == 0)
		return usage_error("which session? iscsimux list shows "
		    "them: iscsimux ", cmd->name);
	if (cmd->needs == NEEDS_PORTAL) {
		c->opt.portal = argv[0];
		return CLI_OK;
	}
	return take_session(c, argv[0], cmd->needs);
}

/* Everything may be buffered still: only a flush tells of a full disk. */
static enum cli_status
finish(struct cli *c, enum cli_status status)
{
	FILE *to = c->data_on_stdout ? stderr : stdout;

	if (c->report != NULL) {
		(void)json_dumpf(c->report, to, JSON_INDENT(2) |
		    JSON_ENSURE_ASCII | JSON_REAL_PRECISION(6));
		putc('\n', to);
	}
	if (fflush(stdout) == 0 && ferror(stdout) == 0)
		return status;
	fprintf(stderr, "iscsimux: cannot write: %s\n", strerror(errno));
	return status != CLI_OK ? status : CLI_FAILED;
}

static enum cli_status
run(struct cli *c, const struct command *cmd)
{
	enum cli_status status;

	if (c->opt.json) {
		c->report = json_object();
		if (*c->session != '\0')
			json_object_set_new(c->report, "session",
			    json_string(c->session));
		if (cmd->needs >= NEEDS_LUN)
			json_object_set_new(c->report, "lun",
			    json_integer(c->lun));
	}
	status = cli_init(c);
	if (status == CLI_OK)
		status = cmd->run(c);
	status = finish(c, status);
	cli_deinit(c);
	json_decref(c->report);
	return status;
}

int
main(int argc, char **argv)
{
	struct cli c = { .signals = -1 };
	const struct command *cmd = NULL;
	char given[32];
	enum cli_status status;

	switch (cli_options(&c.opt, argc, argv, given, sizeof(given))) {
	case CLI_OPTIONS_BAD:
		return CLI_USAGE;
	case CLI_OPTIONS_VERSION:
		puts("iscsimux " PACKAGE_VERSION);
		return finish(&c, CLI_OK);
	case CLI_OPTIONS_HELP:
		help(optind < argc ? find_command(argv[optind]) : NULL);
		return finish(&c, CLI_OK);
	case CLI_OPTIONS_OK:
		break;
	}
	if (optind == argc)
		return usage_error("which command?", "");
	cmd = find_command(argv[optind]);
	if (cmd == NULL)
		return usage_error("there is no such command: ",
		    argv[optind]);
	if (given[strspn(given, cmd->allowed)] != '\0')
		return usage_error(cli_option_name(
		    given[strspn(given, cmd->allowed)]),
		    " does not go with this command");
	c.command = cmd->name;
	status = take_arguments(&c, cmd, argc - optind - 1,
	    argv + optind + 1);
	return status == CLI_OK ? run(&c, cmd) : status;
}
