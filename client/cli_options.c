/* SPDX-License-Identifier: ISC */
/*
 * Reads the options of the command line.  It knows their ranges and defaults
 * and no command.
 */
#include "config.h"

#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/cli_options.h"

#define TIMEOUT_MAX	86400.0		/* s */
#define CHUNK_MAX	(16u << 20)	/* bytes */
#define DEPTH_MAX	1024
#define MEMORY_MAX	(1u << 30)	/* bytes of all chunks */
#define PING_SIZE_MAX	(256u << 10)	/* bytes */
#define LUN_MAX		16383

/* Those up to the empty name are for every command. */
static const struct option options[] = {
	{ "help", no_argument, NULL, 'h' },
	{ "json", no_argument, NULL, 'j' },
	{ "socket", required_argument, NULL, 'S' },
	{ "timeout", required_argument, NULL, 't' },
	{ "verbose", no_argument, NULL, 'v' },
	{ "version", no_argument, NULL, 'V' },
	{ "adopt-fd", required_argument, NULL, 'A' },
	{ "chunk", required_argument, NULL, 'b' },
	{ "clear-aca", no_argument, NULL, 'C' },
	{ "event", no_argument, NULL, 'E' },
	{ "clear-task-set", no_argument, NULL, 'K' },
	{ "count", required_argument, NULL, 'c' },
	{ "credentials", required_argument, NULL, 'a' },
	{ "hex", no_argument, NULL, 'x' },
	{ "interval", required_argument, NULL, 'i' },
	{ "length", required_argument, NULL, 'l' },
	{ "login", no_argument, NULL, 'L' },
	{ "offset", required_argument, NULL, 'o' },
	{ "portal", required_argument, NULL, 'P' },
	{ "queue-depth", required_argument, NULL, 'q' },
	{ "script", required_argument, NULL, 'f' },
	{ "size", required_argument, NULL, 's' },
	{ "target", required_argument, NULL, 'T' },
	{ "verify", no_argument, NULL, 'w' },
	{ "vpd", required_argument, NULL, 'p' },
	{ NULL, 0, NULL, 0 }
};

static const struct {
	const char	*name;
	int		 code;
} pages[] = {
	{ "pages", 0x00 }, { "serial", 0x80 }, { "id", 0x83 },
	{ "limits", 0xb0 }, { "characteristics", 0xb1 },
	{ "provisioning", 0xb2 },
};

const char *
cli_option_name(int letter)
{
	static const char *const names[] = { ['b'] = "--chunk",
		['c'] = "--count", ['i'] = "--interval", ['l'] = "--length",
		['o'] = "--offset", ['p'] = "--vpd", ['q'] = "--queue-depth",
		['s'] = "--size", ['w'] = "--verify", ['x'] = "--hex",
		['A'] = "--adopt-fd", ['P'] = "--portal",
		['f'] = "--script", ['a'] = "--credentials",
		['L'] = "--login", ['C'] = "--clear-aca",
		['K'] = "--clear-task-set", ['T'] = "--target",
		['E'] = "--event" };

	return names[letter];
}

/* Seconds into milliseconds. */
static bool
parse_time(const char *text, double least, uint32_t *ms)
{
	double seconds;
	char *end;

	errno = 0;
	seconds = strtod(text, &end);
	if (end == text || *end != '\0' || errno != 0 ||
	    !(seconds >= least && seconds <= TIMEOUT_MAX))
		return false;
	*ms = (uint32_t)(seconds * 1000 + 0.5);
	return true;
}

/* Decimal digits, and then perhaps one letter for a power of 1024. */
static bool
parse_bytes(const char *text, uint64_t least, uint64_t most, uint64_t *out)
{
	static const char suffixes[] = "KMGT";
	const char *suffix;
	unsigned shift = 0;
	uint64_t n;
	char *end;

	if (!isdigit((unsigned char)*text))
		return false;
	errno = 0;
	n = strtoull(text, &end, 10);
	if (*end != '\0') {
		suffix = strchr(suffixes, toupper((unsigned char)*end));
		if (suffix == NULL || end[1] != '\0')
			return false;
		shift = 10 * (unsigned)(suffix - suffixes + 1);
	}
	if (errno != 0 || n > most >> shift || n << shift < least)
		return false;
	*out = n << shift;
	return true;
}

static bool
parse_bytes_32(const char *text, uint32_t least, uint32_t most,
    uint32_t *out)
{
	uint64_t n;

	if (!parse_bytes(text, least, most, &n))
		return false;
	*out = (uint32_t)n;
	return true;
}

static bool
parse_number(const char *text, long long least, long long most, uint32_t *out)
{
	const char *error;
	long long n = strtonum(text, least, most, &error);

	if (error != NULL || !isdigit((unsigned char)*text))
		return false;
	*out = (uint32_t)n;
	return true;
}

static bool
parse_page(const char *text, int *page)
{
	unsigned long n;
	char *end;

	for (size_t i = 0; i < sizeof(pages) / sizeof(pages[0]); i++) {
		if (strcmp(pages[i].name, text) == 0) {
			*page = pages[i].code;
			return true;
		}
	}
	if (!isdigit((unsigned char)*text))
		return false;
	errno = 0;
	n = strtoul(text, &end, 0);
	if (*end != '\0' || errno != 0 || n > 0xff)
		return false;
	*page = (int)n;
	return true;
}

static bool
parse_target(const char *text, enum cli_target *target)
{
	if (strcmp(text, "warm") == 0)
		*target = CLI_TARGET_WARM;
	else if (strcmp(text, "cold") == 0)
		*target = CLI_TARGET_COLD;
	else if (strcmp(text, "nexus") == 0)
		*target = CLI_TARGET_NEXUS;
	else
		return false;
	return true;
}

bool
cli_parse_lun(const char *text, unsigned *lun)
{
	uint32_t n;

	if (!parse_number(text, 0, LUN_MAX, &n))
		return false;
	*lun = n;
	return true;
}

/* An option with a value; NULL, or what the value should have been. */
static const char *
take_value(struct cli_options *o, int letter, const char *value)
{
	uint32_t n;

	switch (letter) {
	case 'A':
		return parse_number(value, 0, INT32_MAX, &n) &&
		    (o->adopt_fd = (int)n) >= 0 ? NULL :
		    "the number of a descriptor";
	case 'b':
		return parse_bytes_32(value, 1, CHUNK_MAX, &o->chunk) ? NULL :
		    "bytes, at most 16M";
	case 'c':
		return parse_number(value, 0, 1000000000, &o->count) ? NULL :
		    "a number";
	case 'a':
		o->credentials = value;
		return *value != '\0' ? NULL : "the name of a session";
	case 'f':
		o->script = value;
		return *value != '\0' ? NULL : "a file, or -";
	case 'i':
		return parse_time(value, 0, &o->interval) ? NULL :
		    "seconds";
	case 'l':
		o->length_given = true;
		return parse_bytes(value, 0, INT64_MAX, &o->length) ? NULL :
		    "bytes, K, M, G or T after them";
	case 'o':
		return parse_bytes(value, 0, INT64_MAX, &o->offset) ? NULL :
		    "bytes, K, M, G or T after them";
	case 'p':
		return parse_page(value, &o->page) ? NULL :
		    "a number up to 255 or a name that --help lists";
	case 'P':
		o->portal = value;
		return *value != '\0' ? NULL : "HOST:PORT";
	case 'q':
		return parse_number(value, 1, DEPTH_MAX, &o->depth) ? NULL :
		    "a number from 1 to 1024";
	case 's':
		return parse_bytes_32(value, 0, PING_SIZE_MAX, &o->size) ?
		    NULL : "bytes, at most 256K";
	case 'T':
		return parse_target(value, &o->target) ? NULL :
		    "warm, cold or nexus";
	case 'S':
		o->socket = value;
		o->socket_given = true;
		return *value != '\0' ? NULL : "a path";
	default:
		return parse_time(value, 0.001, &o->timeout) ? NULL :
		    "seconds, from 0.001 to 86400";
	}
}

static void
take_switch(struct cli_options *o, int letter)
{
	switch (letter) {
	case 'j':
		o->json = true;
		break;
	case 'L':
		o->login = true;
		break;
	case 'v':
		o->verbose = true;
		break;
	case 'w':
		o->verify = true;
		break;
	case 'x':
		o->hex = true;
		break;
	case 'C':
		o->clear_aca = true;
		break;
	case 'E':
		o->event = true;
		break;
	case 'K':
		o->clear_task_set = true;
		break;
	}
}

static enum cli_options_end
bad(const char *what, int letter, const char *value)
{
	const char *name = letter == 'S' ? "--socket" : letter == 't' ?
	    "--timeout" : cli_option_name(letter);

	fprintf(stderr, "iscsimux: %s wants %s, not '%s'\n"
	    "Try 'iscsimux --help'.\n", name, what, value);
	return CLI_OPTIONS_BAD;
}

static void
set_defaults(struct cli_options *o)
{
	*o = (struct cli_options){
		.socket = iscsimux_default_path(),
		.timeout = 30000,
		.count = 4,
		.interval = 1000,
		.size = 56,
		.page = -1,
		.chunk = 64u << 10,
		.depth = 32,
		.script = "-",
		.adopt_fd = -1,
	};
}

enum cli_options_end
cli_options(struct cli_options *o, int argc, char **argv, char *given,
    size_t size)
{
	enum cli_options_end end = CLI_OPTIONS_OK;
	const char *wanted;
	size_t n = 0;
	int letter;

	set_defaults(o);
	while ((letter = getopt_long(argc, argv, "a:A:b:c:CEf:hi:jKl:Lo:p:P:q:"
	    "s:S:t:T:vVwx", options, NULL)) != -1) {
		/* The rest is still to be put behind the options. */
		if (letter == 'h' || letter == 'V') {
			end = letter == 'h' ? CLI_OPTIONS_HELP :
			    CLI_OPTIONS_VERSION;
			continue;
		}
		if (letter == '?') {
			fputs("Try 'iscsimux --help'.\n", stderr);
			return CLI_OPTIONS_BAD;
		}
		if (strchr("jStv", letter) == NULL && n + 1 < size)
			given[n++] = (char)letter;
		if (optarg == NULL)
			take_switch(o, letter);
		else if ((wanted = take_value(o, letter, optarg)) != NULL)
			return bad(wanted, letter, optarg);
	}
	given[n] = '\0';
	if ((uint64_t)o->chunk * o->depth > MEMORY_MAX) {
		fputs("iscsimux: --chunk times --queue-depth is more than "
		    "1G\n", stderr);
		return CLI_OPTIONS_BAD;
	}
	return end;
}
