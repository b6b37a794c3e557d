/* SPDX-License-Identifier: ISC */
/*
 * The options of the command line and the numbers in it.
 */
#ifndef CLIENT_CLI_OPTIONS_H
#define CLIENT_CLI_OPTIONS_H

#include "client/cli.h"

#define CLI_TRANSFER_HELP						\
	"  -b, --chunk BYTES      in one command (default: 64K)\n"	\
	"  -q, --queue-depth N    commands at a time (default: 32)\n"	\
	"\nBytes may have K, M, G or T after them (1024).\n"

enum cli_options_end {
	CLI_OPTIONS_OK,
	CLI_OPTIONS_HELP,
	CLI_OPTIONS_VERSION,
	CLI_OPTIONS_BAD		/* told */
};

/*
 * Read all options; optind is the first argument afterwards.  `given` gets
 * the letters of those that not every command has.
 */
enum cli_options_end cli_options(struct cli_options *o, int argc,
    char **argv, char *given, size_t size);

/* "--offset" for 'o'. */
const char *cli_option_name(int letter);

/* A decimal LUN up to 16383. */
bool cli_parse_lun(const char *text, unsigned *lun);

#endif
