/* SPDX-License-Identifier: ISC */
/*
 * iscsimuxctl: the admin's program.  Turns words into one call of the control
 * socket and its answer into a table or JSON.  It knows no socket
 * (rpcclient.c) and no layout (ctl_print.c).
 */
#include "config.h"

#include <errno.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/ctl_exit.h"
#include "client/ctl_fault.h"
#include "client/ctl_print.h"
#include "client/ctl_session.h"
#include "client/ctl_trace.h"
#include "client/rpcclient.h"

#define DEFAULT_SOCKET	ISCSIMUX_RUNDIR "/control.sock"
#define TIMEOUT_DEFAULT	10000u		/* ms */
#define TIMEOUT_MAX	3600.0		/* s */

/*
 * A command; the words `noun verb`, or `noun` alone if `verb` is NULL.  Its
 * arguments are at most one, `param`, or what `words` makes of them.
 */
struct command {
	const char	*noun;
	const char	*verb;
	const char	*method;	/* NULL: the first argument names it */
	const char	*param;		/* what the argument is, or NULL */
	bool		 needed;	/* the argument */
	ctl_print	*print;		/* NULL: it is a trace */
	ctl_words	*words;
	bool		 comes_up;	/* a session, later: takes --wait */
};

static ctl_words drain_words;

static const struct command commands[] = {
	{ "call", .needed = true, .print = ctl_print_json },
	{ "client", "list", "client.list", .param = "session",
	    .print = ctl_print_clients },
	{ "discover", NULL, "session.discover", .param = "portal",
	    .needed = true, .print = ctl_print_targets },
	{ "drain", NULL, "daemon.drain", .print = ctl_print_drain,
	    .words = drain_words },
	{ "fault", "clear", "fault.clear", .print = ctl_print_cleared,
	    .words = ctl_fault_clear },
	{ "fault", "list", "fault.list", .param = "connection",
	    .print = ctl_print_faults },
	{ "fault", "set", "fault.set", .print = ctl_print_fault_set,
	    .words = ctl_fault_set },
	{ "info", NULL, "daemon.info", .print = ctl_print_info },
	{ "log", NULL, "log.set", .param = "level", .needed = true,
	    .print = ctl_print_log },
	{ "reconnect", NULL, "session.reconnect", .param = "session",
	    .needed = true, .print = ctl_print_managed, .comes_up = true },
	{ "reload", NULL, "config.reload", .print = ctl_print_reload },
	{ "session", "add", "session.add", .print = ctl_print_managed,
	    .words = ctl_session_add, .comes_up = true },
	{ "session", "list", "session.list", .print = ctl_print_sessions },
	{ "session", "login", "session.login", .param = "session",
	    .needed = true, .print = ctl_print_managed, .comes_up = true },
	{ "session", "logout", "session.logout", .param = "session",
	    .needed = true, .print = ctl_print_managed },
	{ "session", "remove", "session.remove", .param = "session",
	    .needed = true, .print = ctl_print_managed },
	{ "session", "show", "session.show", .param = "session",
	    .needed = true, .print = ctl_print_session },
	{ "stats", NULL, "stats.get", .param = "session",
	    .print = ctl_print_stats },
	{ "stop", NULL, "daemon.stop", .print = ctl_print_stop },
	{ "trace", "list", "trace.list", .print = ctl_print_traces },
	{ "trace", NULL, "trace.start", .print = NULL },
};

struct arguments {
	const char	*socket;
	uint32_t	 timeout;	/* ms */
	bool		 json;
	bool		 wait;		/* until the session is up */
	/* For trace alone. */
	const char	*file;
	const char	*session;
	bool		 headers;
};

static const struct option options[] = {
	{ "headers", no_argument, NULL, 'H' },
	{ "help", no_argument, NULL, 'h' },
	{ "json", no_argument, NULL, 'j' },
	{ "session", required_argument, NULL, 's' },
	{ "socket", required_argument, NULL, 'S' },
	{ "timeout", required_argument, NULL, 't' },
	{ "version", no_argument, NULL, 'V' },
	{ "wait", no_argument, NULL, 'W' },
	{ "write", required_argument, NULL, 'w' },
	{ NULL, 0, NULL, 0 }
};

static void
usage(FILE *to)
{
	fputs("usage: iscsimuxctl [-jhV] [-S PATH] [-t SECONDS] COMMAND\n"
	    "\n"
	    "Asks a running iscsimuxd and tells it what to do.\n"
	    "\n"
	    "  info                  version, limits, sockets\n"
	    "  stop                  end it: Logout of all sessions\n"
	    "  drain [SECONDS]       the same when open tasks have ended\n"
	    "  session list          all sessions and their state\n"
	    "  session show NAME     one session in full\n"
	    "  session add NAME KEY=VALUE...\n"
	    "                        a new one, until the daemon ends\n"
	    "  session login NAME    begin to log in one that is stopped or "
	    "given up\n"
	    "  session logout NAME   log out and stay so; clients stay\n"
	    "  session remove NAME   log out and forget it\n"
	    "  reload                read the configuration again\n"
	    "  discover PORTAL       ask a portal for its targets\n"
	    "  reconnect NAME        connect a session that waits at once\n"
	    "  client list [NAME]    connected clients, of one session\n"
	    "  stats [NAME]          counters, of one session\n"
	    "  log LEVEL             error, warning, info or debug\n"
	    "  trace [-w FILE]       write every PDU as pcapng until Ctrl-C\n"
	    "  trace list            running traces\n"
	    "  fault set CONNECTION read|write KIND [WHERE...]\n"
	    "                        break a connection on purpose; KIND: "
	    "errno=NAME,\n"
	    "                        close, corrupt[=MASK], short=BYTES, "
	    "delay=MS, stall;\n"
	    "                        WHERE: after=BYTES, from-now, repeat, "
	    "id=NAME\n"
	    "  fault list [CONNECTION]\n"
	    "  fault clear [CONNECTION [ID]]\n"
	    "  call METHOD [JSON]    any method, with an object as "
	    "parameters\n"
	    "\n"
	    "  -j, --json            print the result as JSON\n"
	    "  -S, --socket PATH     control socket (ISCSIMUX_CONTROL, "
	    "or\n"
	    "                        " DEFAULT_SOCKET ")\n"
	    "  -t, --timeout SECONDS wait so long for an answer "
	    "(default: 10)\n"
	    "  -W, --wait            session add, session login, reconnect: "
	    "until it is up\n"
	    "                        or has failed, -t at the most\n"
	    "  -w, --write FILE      trace: to this file (default, and -: "
	    "standard output)\n"
	    "  -s, --session NAME    trace: this session alone\n"
	    "      --headers         trace: without data; session show: the "
	    "latest\n"
	    "                        PDU headers\n"
	    "  -h, --help            print this\n"
	    "  -V, --version         print the version\n"
	    "\n"
	    "Exit status: 0 done, 1 the daemon refused, 2 usage, 3 daemon "
	    "not reachable\nor not permitted.\n", to);
}

static int
usage_error(const char *what, const char *arg)
{
	if (what != NULL)
		fprintf(stderr, "iscsimuxctl: %s%s\n", what, arg);
	fputs("Try 'iscsimuxctl --help'.\n", stderr);
	return CTL_EXIT_USAGE;
}

static bool
parse_timeout(const char *text, uint32_t *ms)
{
	double seconds;
	char *end;

	errno = 0;
	seconds = strtod(text, &end);
	if (end == text || *end != '\0' || errno != 0 ||
	    !(seconds >= 0.001 && seconds <= TIMEOUT_MAX))
		return false;
	*ms = (uint32_t)(seconds * 1000);
	return true;
}

/* drain [SECONDS] */
static json_t *
drain_words(int argc, char **argv, const char **what, const char **arg)
{
	uint32_t ms;

	if (argc == 0)
		return json_object();
	*arg = argc > 1 ? argv[1] : argv[0];
	*what = argc > 1 ? "unexpected argument: " : "no time in seconds: ";
	if (argc > 1 || !parse_timeout(argv[0], &ms))
		return NULL;
	return json_pack("{s:I}", "timeout_ms", (json_int_t)ms);
}

/* The command that the words name, and how many words that took. */
static const struct command *
find_command(int argc, char **argv, int *used)
{
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		const struct command *c = &commands[i];

		*used = c->verb == NULL ? 1 : 2;
		if (argc >= *used && strcmp(argv[0], c->noun) == 0 &&
		    (c->verb == NULL || strcmp(argv[1], c->verb) == 0))
			return c;
	}
	return NULL;
}

static bool
use_colours(void)
{
	const char *term = getenv("TERM"), *none = getenv("NO_COLOR");

	return isatty(STDOUT_FILENO) && term != NULL &&
	    strcmp(term, "dumb") != 0 && (none == NULL || *none == '\0');
}

/* Everything may be buffered still: only a flush tells of a full disk. */
static int
finish_output(int rc)
{
	if (rc == 0 && fflush(stdout) == 0 && ferror(stdout) == 0)
		return CTL_EXIT_OK;
	fprintf(stderr, "iscsimuxctl: cannot write: %s\n", strerror(errno));
	return CTL_EXIT_FAILED;
}

/* Say what came of a call, once that is known in full. */
static int
report(const struct arguments *args, const struct command *c, json_t *result,
    const json_t *params)
{
	int status;

	if (args->wait) {
		status = ctl_session_wait(args->socket, args->timeout,
		    json_string_value(json_object_get(params, "session")));
		if (status != CTL_EXIT_OK)
			return status;
		json_object_set_new(result, "state", json_string("up"));
	}
	return finish_output(args->json ? ctl_print_json(result, false) :
	    c->print(result, use_colours()));
}

static int
call(const struct arguments *args, const struct command *c,
    const char *method, json_t *params)
{
	struct rpcclient_answer answer;
	enum rpcclient_end end;
	int status;

	end = rpcclient_call(args->socket, args->timeout, method, params,
	    -1, &answer);
	status = ctl_exit_status(end);
	if (end != RPCCLIENT_OK) {
		fprintf(stderr, "iscsimuxctl: %s\n", answer.message);
		if (args->json && answer.error != NULL)
			(void)finish_output(ctl_print_json(answer.error,
			    false));
	} else {
		status = report(args, c, answer.result, params);
	}
	rpcclient_clear(&answer);
	return status;
}

/* call METHOD [JSON] */
static int
call_raw(const struct arguments *args, const struct command *c, int argc,
    char **argv)
{
	json_t *params = NULL;
	json_error_t where;
	int status;

	if (argc > 2)
		return usage_error("unexpected argument: ", argv[2]);
	if (argc == 2) {
		params = json_loads(argv[1], JSON_REJECT_DUPLICATES, &where);
		if (params == NULL)
			return usage_error("the parameters are no valid "
			    "JSON: ", where.text);
	}
	status = call(args, c, argv[0], params);
	json_decref(params);
	return status;
}

static int
call_command(const struct arguments *args, const struct command *c, int argc,
    char **argv)
{
	json_t *params = NULL;
	int status;

	if (argc > (c->param != NULL ? 1 : 0))
		return usage_error("unexpected argument: ",
		    argv[c->param != NULL ? 1 : 0]);
	if (argc == 1) {
		params = args->headers ? json_pack("{s:s, s:b}", c->param,
		    argv[0], "headers", true) :
		    json_pack("{s:s}", c->param, argv[0]);
		if (params == NULL)
			return usage_error("no UTF-8: ", c->param);
	}
	status = call(args, c, c->method, params);
	json_decref(params);
	return status;
}

static bool
for_trace(const struct arguments *args)
{
	return args->file != NULL || args->session != NULL || args->headers;
}

/* `session show` knows one option of a trace. */
static bool
shows_headers(const struct arguments *args, const struct command *c)
{
	return args->headers && args->file == NULL && args->session == NULL &&
	    c->print == ctl_print_session;
}

static int
call_trace(const struct arguments *args)
{
	const struct ctl_trace how = {
		.socket = args->socket, .timeout = args->timeout,
		.file = args->file, .session = args->session,
		.headers = args->headers,
	};
	bool to_stdout = args->file == NULL || strcmp(args->file, "-") == 0;

	if (to_stdout && isatty(STDOUT_FILENO))
		return usage_error("a trace is not for a terminal: name a "
		    "file with -w, or say\n  iscsimuxctl trace | wireshark "
		    "-k -i -", "");
	return ctl_trace(&how);
}

/* A command whose words have a grammar of their own. */
static int
call_words(const struct arguments *args, const struct command *c, int argc,
    char **argv)
{
	const char *what = "out of memory", *arg = "";
	json_t *params = c->words(argc, argv, &what, &arg);
	int status;

	if (params == NULL)
		return usage_error(what, arg);
	status = call(args, c, c->method, params);
	json_decref(params);
	return status;
}

static int
run(const struct arguments *args, int argc, char **argv)
{
	const struct command *c;
	int used;

	if (argc == 0)
		return usage_error("which command?", "");
	c = find_command(argc, argv, &used);
	if (c == NULL)
		return usage_error("there is no such command: ", argv[0]);
	argc -= used;
	argv += used;
	if (args->wait && !c->comes_up)
		return usage_error("-W is for session add, session login and "
		    "reconnect", "");
	if (for_trace(args) && c->print != NULL && !shows_headers(args, c))
		return usage_error("-w, -s and --headers are for trace alone, "
		    "but for\n  iscsimuxctl session show --headers NAME", "");
	if (c->words != NULL)
		return call_words(args, c, argc, argv);
	if (c->needed && argc == 0)
		return usage_error("missing: ",
		    c->param != NULL ? c->param : "method");
	if (c->method == NULL)
		return call_raw(args, c, argc, argv);
	if (c->print == NULL)
		return argc == 0 ? call_trace(args) :
		    usage_error("unexpected argument: ", argv[0]);
	return call_command(args, c, argc, argv);
}

int
main(int argc, char **argv)
{
	struct arguments args = { .timeout = TIMEOUT_DEFAULT };
	int c;

	args.socket = getenv("ISCSIMUX_CONTROL");
	if (args.socket == NULL || *args.socket == '\0')
		args.socket = DEFAULT_SOCKET;
	while ((c = getopt_long(argc, argv, "hjs:S:t:VWw:", options,
	    NULL)) != -1) {
		switch (c) {
		case 'h':
			usage(stdout);
			return finish_output(0);
		case 'H':
			args.headers = true;
			break;
		case 'j':
			args.json = true;
			break;
		case 's':
			args.session = optarg;
			break;
		case 'S':
			args.socket = optarg;
			break;
		case 't':
			if (!parse_timeout(optarg, &args.timeout))
				return usage_error("no time in seconds: ",
				    optarg);
			break;
		case 'V':
			puts("iscsimuxctl " PACKAGE_VERSION);
			return finish_output(0);
		case 'W':
			args.wait = true;
			break;
		case 'w':
			args.file = optarg;
			break;
		default:
			return usage_error(NULL, NULL);
		}
	}
	return run(&args, argc - optind, argv + optind);
}
