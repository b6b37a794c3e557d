/* SPDX-License-Identifier: ISC */
/*
 * What the command line of the RAM target says.  Read once, constant after.
 */
#ifndef TARGET_OPTIONS_H
#define TARGET_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#define OPTIONS_PORTALS_MAX	16
#define OPTIONS_LUNS_MAX	256u
#define OPTIONS_ADVERTISED_MAX	1024
#define OPTIONS_SECRET_MAX	255u	/* bytes */

enum digest_policy {
	DIGEST_NONE,		/* only None is accepted */
	DIGEST_ANY,		/* the initiator's preference decides */
	DIGEST_CRC32C		/* a login without CRC32C is refused */
};

/* Lengths in bytes; names as the keys of RFC 7143 section 13. */
struct options {
	const char		*portals[OPTIONS_PORTALS_MAX];
	unsigned		 nportals;
	const char		*target_name;
	const char		*control;	/* path, NULL: none */
	uint32_t		 luns;
	uint64_t		 size;		/* of each LUN */
	uint32_t		 block_size;
	bool			 initial_r2t;
	bool			 immediate_data;
	uint32_t		 max_recv_dsl;
	uint32_t		 max_burst;
	uint32_t		 first_burst;
	uint32_t		 max_r2t;	/* MaxOutstandingR2T */
	uint32_t		 protocol_level;
	enum digest_policy	 header_digest;
	enum digest_policy	 data_digest;
	uint32_t		 queue_depth;	/* commands of one session */
	bool			 phase_collapse;
	bool			 lenient;	/* tolerate known initiators */
	uint32_t		 text_split;	/* data bytes of a text PDU */
	bool			 text_whole;	/* pairs are not cut */
	uint32_t		 first_statsn;
	/* NAME or NAME=ADDRESS, for SendTargets beside what is there. */
	const char		*advertised[OPTIONS_ADVERTISED_MAX];
	unsigned		 nadvertised;
	const char		*chap_user;	/* NULL: no authentication */
	const char		*chap_secret;
	const char		*chap_own_user;
	const char		*chap_own_secret;	/* NULL: one way only */
	const char		*chap_algorithms;	/* numbers, a list */
};

/*
 * Fill `o` from the command line.  Returns -1 to go on, or the status to exit
 * with after everything has been said.
 */
int options_read(struct options *o, int argc, char **argv);

#endif
