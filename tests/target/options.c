/* SPDX-License-Identifier: ISC */
/*
 * The command line of the RAM target.
 */
#include "config.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/iscsi.h"
#include "tests/target/options.h"

static const char help[] =
"usage: iscsimux-target [OPTION]...\n"
"An iSCSI target whose disks are memory, for the tests and benchmarks of\n"
"iscsimuxd. It is no product: no persistence, secrets on the command line,\n"
"and it closes a connection at the first mistake of the initiator.\n"
"\n"
"  --portal ADDR:PORT      listen there, repeatable; [::1]:0 and port 0 work\n"
"                          (default 127.0.0.1:0)\n"
"  --target-name IQN       (default iqn.2026-01.org.example:ram)\n"
"  --luns N                disks, LUN 0 to N-1 (default 1)\n"
"  --size BYTES            of each, K, M, G, T allowed (default 64M)\n"
"  --block-size N          512 or 4096 (default 512)\n"
"  --initial-r2t yes|no    what to negotiate (default no)\n"
"  --immediate-data yes|no (default yes)\n"
"  --max-recv-dsl BYTES    MaxRecvDataSegmentLength (default 256K)\n"
"  --max-burst BYTES       MaxBurstLength (default 1M)\n"
"  --first-burst BYTES     FirstBurstLength (default 256K)\n"
"  --max-outstanding-r2t N 1 to 16 (default 4)\n"
"  --protocol-level N      iSCSIProtocolLevel, 1 or 2 (default 1); 2 for the\n"
"                          task management functions of RFC 7144\n"
"  --header-digest WHAT    none, crc32c (demanded) or any (default any)\n"
"  --data-digest WHAT      the same\n"
"  --queue-depth N         commands of one session (default 256)\n"
"  --phase-collapse yes|no status in the last Data-In (default yes)\n"
"  --text-split BYTES      data in one text PDU at most (default 8K)\n"
"  --text-whole            do not cut pairs: F=0 and C=0 instead of C=1\n"
"  --advertise NAME[=ADDRESS]\n"
"                          name this to SendTargets, too; repeatable, an\n"
"                          ADDRESS as in TargetAddress\n"
"  --first-statsn N        of each connection\n"
"  --chap-user NAME        demand CHAP of initiators: this name\n"
"  --chap-secret TEXT      and this secret\n"
"  --chap-own-user NAME    who the target says it is when it is asked\n"
"  --chap-own-secret TEXT  and proves to be (default: it cannot)\n"
"  --chap-algorithms LIST  what is taken: 5 MD5, 6 SHA-1, 7 SHA-256,\n"
"                          8 SHA3-256 (default 5,6,7,8)\n"
"  --lenient               let pass what known initiators do wrong: ExpStatSN\n"
"                          and CmdSN of immediate PDUs, tags and LUNs of NOP\n"
"                          and task management\n"
"  --control PATH          a socket for orders: a command a line, JSON back;\n"
"                          the command help lists them\n"
"SIGUSR1 prints the counters on standard error.\n";

enum option_id {
	OPT_PORTAL = 256, OPT_TARGET_NAME, OPT_LUNS, OPT_SIZE, OPT_BLOCK_SIZE,
	OPT_INITIAL_R2T, OPT_IMMEDIATE_DATA, OPT_MAX_RECV_DSL, OPT_MAX_BURST,
	OPT_FIRST_BURST, OPT_MAX_R2T, OPT_PROTOCOL_LEVEL, OPT_HEADER_DIGEST,
	OPT_DATA_DIGEST,
	OPT_QUEUE_DEPTH, OPT_PHASE_COLLAPSE, OPT_TEXT_SPLIT, OPT_TEXT_WHOLE,
	OPT_ADVERTISE, OPT_FIRST_STATSN,
	OPT_CHAP_USER, OPT_CHAP_SECRET, OPT_CHAP_OWN_USER,
	OPT_CHAP_OWN_SECRET, OPT_CHAP_ALGORITHMS,
	OPT_LENIENT, OPT_CONTROL, OPT_HELP
};

static const struct option longopts[] = {
	{ "portal", required_argument, NULL, OPT_PORTAL },
	{ "target-name", required_argument, NULL, OPT_TARGET_NAME },
	{ "luns", required_argument, NULL, OPT_LUNS },
	{ "size", required_argument, NULL, OPT_SIZE },
	{ "block-size", required_argument, NULL, OPT_BLOCK_SIZE },
	{ "initial-r2t", required_argument, NULL, OPT_INITIAL_R2T },
	{ "immediate-data", required_argument, NULL, OPT_IMMEDIATE_DATA },
	{ "max-recv-dsl", required_argument, NULL, OPT_MAX_RECV_DSL },
	{ "max-burst", required_argument, NULL, OPT_MAX_BURST },
	{ "first-burst", required_argument, NULL, OPT_FIRST_BURST },
	{ "max-outstanding-r2t", required_argument, NULL, OPT_MAX_R2T },
	{ "protocol-level", required_argument, NULL, OPT_PROTOCOL_LEVEL },
	{ "header-digest", required_argument, NULL, OPT_HEADER_DIGEST },
	{ "data-digest", required_argument, NULL, OPT_DATA_DIGEST },
	{ "queue-depth", required_argument, NULL, OPT_QUEUE_DEPTH },
	{ "phase-collapse", required_argument, NULL, OPT_PHASE_COLLAPSE },
	{ "text-split", required_argument, NULL, OPT_TEXT_SPLIT },
	{ "text-whole", no_argument, NULL, OPT_TEXT_WHOLE },
	{ "advertise", required_argument, NULL, OPT_ADVERTISE },
	{ "first-statsn", required_argument, NULL, OPT_FIRST_STATSN },
	{ "chap-user", required_argument, NULL, OPT_CHAP_USER },
	{ "chap-secret", required_argument, NULL, OPT_CHAP_SECRET },
	{ "chap-own-user", required_argument, NULL, OPT_CHAP_OWN_USER },
	{ "chap-own-secret", required_argument, NULL, OPT_CHAP_OWN_SECRET },
	{ "chap-algorithms", required_argument, NULL, OPT_CHAP_ALGORITHMS },
	{ "lenient", no_argument, NULL, OPT_LENIENT },
	{ "control", required_argument, NULL, OPT_CONTROL },
	{ "help", no_argument, NULL, OPT_HELP },
	{ NULL, 0, NULL, 0 }
};

static void
options_default(struct options *o)
{
	memset(o, 0, sizeof(*o));
	o->target_name = "iqn.2026-01.org.example:ram";
	o->luns = 1;
	o->size = 64u << 20;
	o->block_size = 512;
	o->immediate_data = true;
	o->max_recv_dsl = 256u << 10;
	o->max_burst = 1u << 20;
	o->first_burst = 256u << 10;
	o->max_r2t = 4;
	o->protocol_level = ISCSI_LEVEL_RFC7143;
	o->header_digest = DIGEST_ANY;
	o->data_digest = DIGEST_ANY;
	o->queue_depth = 256;
	o->phase_collapse = true;
	o->text_split = 8192;
	o->first_statsn = UINT32_C(0x00c0ffee);
	o->chap_secret = "";
	o->chap_own_user = "";
	o->chap_algorithms = "5,6,7,8";
}

/* A size with a suffix; false if it is none or out of range. */
static bool
parse_size(const char *arg, uint64_t least, uint64_t most, uint64_t *out)
{
	static const char suffixes[] = "KMGT";
	const char *suffix;
	char *end;
	unsigned shift = 0;
	uint64_t n = strtoull(arg, &end, 0);

	if (end == arg || *arg == '-')
		return false;
	if (*end != '\0' && (suffix = strchr(suffixes, *end)) != NULL) {
		shift = 10 * (unsigned)(suffix - suffixes + 1);
		end++;
	}
	if (*end != '\0' || n > most >> shift || n << shift < least)
		return false;
	*out = n << shift;
	return true;
}

static bool
parse_u32(const char *arg, uint32_t least, uint32_t most, uint32_t *out)
{
	uint64_t n;

	if (!parse_size(arg, least, most, &n))
		return false;
	*out = (uint32_t)n;
	return true;
}

static bool
parse_bool(const char *arg, bool *out)
{
	*out = strcmp(arg, "yes") == 0;
	return *out || strcmp(arg, "no") == 0;
}

static bool
parse_digest(const char *arg, enum digest_policy *out)
{
	if (strcmp(arg, "none") == 0)
		*out = DIGEST_NONE;
	else if (strcmp(arg, "any") == 0)
		*out = DIGEST_ANY;
	else if (strcmp(arg, "crc32c") == 0)
		*out = DIGEST_CRC32C;
	else
		return false;
	return true;
}

static bool
parse_portal(struct options *o, const char *arg)
{
	if (o->nportals == OPTIONS_PORTALS_MAX)
		return false;
	o->portals[o->nportals++] = arg;
	return true;
}

static bool
parse_advertised(struct options *o, const char *arg)
{
	size_t len = strcspn(arg, "=");

	if (o->nadvertised == OPTIONS_ADVERTISED_MAX || len == 0 ||
	    len > ISCSI_NAME_MAX)
		return false;
	o->advertised[o->nadvertised++] = arg;
	return true;
}

static bool
parse_text(const char *arg, const char **out)
{
	*out = arg;
	return strlen(arg) <= OPTIONS_SECRET_MAX;
}

/* One option; false if its argument is wrong. */
static bool
take(struct options *o, int id, const char *arg)
{
	switch (id) {
	case OPT_PORTAL:
		return parse_portal(o, arg);
	case OPT_TARGET_NAME:
		o->target_name = arg;
		return strlen(arg) <= ISCSI_NAME_MAX;
	case OPT_LUNS:
		return parse_u32(arg, 1, OPTIONS_LUNS_MAX, &o->luns);
	case OPT_SIZE:
		return parse_size(arg, 4096, UINT64_C(1) << 46, &o->size);
	case OPT_BLOCK_SIZE:
		return parse_u32(arg, 512, 4096, &o->block_size) &&
		    (o->block_size == 512 || o->block_size == 4096);
	case OPT_INITIAL_R2T:
		return parse_bool(arg, &o->initial_r2t);
	case OPT_IMMEDIATE_DATA:
		return parse_bool(arg, &o->immediate_data);
	case OPT_MAX_RECV_DSL:
		return parse_u32(arg, 512, ISCSI_DSL_MAX, &o->max_recv_dsl);
	case OPT_MAX_BURST:
		return parse_u32(arg, 512, ISCSI_DSL_MAX, &o->max_burst);
	case OPT_FIRST_BURST:
		return parse_u32(arg, 512, ISCSI_DSL_MAX, &o->first_burst);
	case OPT_MAX_R2T:
		return parse_u32(arg, 1, 16, &o->max_r2t);
	case OPT_PROTOCOL_LEVEL:
		return parse_u32(arg, ISCSI_LEVEL_RFC7143, ISCSI_LEVEL_RFC7144,
		    &o->protocol_level);
	case OPT_HEADER_DIGEST:
		return parse_digest(arg, &o->header_digest);
	case OPT_DATA_DIGEST:
		return parse_digest(arg, &o->data_digest);
	case OPT_QUEUE_DEPTH:
		return parse_u32(arg, 1, 65536, &o->queue_depth);
	case OPT_PHASE_COLLAPSE:
		return parse_bool(arg, &o->phase_collapse);
	case OPT_TEXT_SPLIT:
		return parse_u32(arg, 1, 8192, &o->text_split);
	case OPT_TEXT_WHOLE:
		o->text_whole = true;
		return true;
	case OPT_ADVERTISE:
		return parse_advertised(o, arg);
	case OPT_FIRST_STATSN:
		return parse_u32(arg, 0, UINT32_MAX, &o->first_statsn);
	case OPT_CHAP_USER:
		return parse_text(arg, &o->chap_user);
	case OPT_CHAP_SECRET:
		return parse_text(arg, &o->chap_secret);
	case OPT_CHAP_OWN_USER:
		return parse_text(arg, &o->chap_own_user);
	case OPT_CHAP_OWN_SECRET:
		return parse_text(arg, &o->chap_own_secret);
	case OPT_CHAP_ALGORITHMS:
		return parse_text(arg, &o->chap_algorithms);
	case OPT_LENIENT:
		o->lenient = true;
		return true;
	case OPT_CONTROL:
		o->control = arg;
		return true;
	default:
		return false;
	}
}

int
options_read(struct options *o, int argc, char **argv)
{
	int index = 0;
	int id;

	options_default(o);
	while ((id = getopt_long(argc, argv, "", longopts, &index)) != -1) {
		if (id == OPT_HELP) {
			(void)fputs(help, stdout);
			return 0;
		}
		if (id == '?')
			return 2;
		if (!take(o, id, optarg)) {
			(void)fprintf(stderr, "iscsimux-target: --%s: "
			    "bad value '%s'\n", longopts[index].name, optarg);
			return 2;
		}
	}
	if (optind < argc) {
		(void)fprintf(stderr, "iscsimux-target: what is '%s'?\n",
		    argv[optind]);
		return 2;
	}
	if (o->first_burst > o->max_burst)
		o->first_burst = o->max_burst;
	if (o->nportals == 0)
		o->portals[o->nportals++] = "127.0.0.1:0";
	return -1;
}
