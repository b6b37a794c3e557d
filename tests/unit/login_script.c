/* SPDX-License-Identifier: ISC */
/*
 * The scripted target of the login tests; see login_script.h.  It calls
 * daemon/login.h as a session would.
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/text.h"
#include "tests/unit/login_script.h"
#include "tests/unit/unit.h"

/* What a target with every default answers to the offers of setup(). */
static const char *const good[] = {
	"HeaderDigest=None",
	"DataDigest=None",
	"MaxConnections=1",
	"InitialR2T=Yes",
	"ImmediateData=Yes",
	"MaxRecvDataSegmentLength=16384",
	"MaxBurstLength=262144",
	"FirstBurstLength=65536",
	"DefaultTime2Wait=2",
	"DefaultTime2Retain=20",
	"MaxOutstandingR2T=1",
	"DataPDUInOrder=Yes",
	"DataSequenceInOrder=Yes",
	"ErrorRecoveryLevel=0",
};

#define N_GOOD	(sizeof(good) / sizeof(good[0]))

struct login_wanted wanted;
struct login *login;
uint8_t req[ISCSI_BHS_LEN];
static uint8_t req_data[ISCSI_LOGIN_DSL_MAX];
size_t req_len;
uint8_t rsp[ISCSI_BHS_LEN];
uint32_t statsn;
static uint32_t expstatsn;	/* that the next request must carry */
char said[131072];

void
setup(void)
{
	static const uint8_t isid[6] = { 0x80, 1, 2, 3, 4, 5 };

	memset(&wanted, 0, sizeof(wanted));
	wanted.initiator_name = "iqn.2026-01.org.example:host";
	wanted.target_name = "iqn.2026-01.org.example:disk";
	memcpy(wanted.isid, isid, sizeof(isid));
	wanted.cmdsn = CMDSN;
	wanted.cid = CID;
	wanted.header_digest[0] = LOGIN_DIGEST_CRC32C;
	wanted.header_digest[1] = LOGIN_DIGEST_NONE;
	wanted.data_digest[0] = LOGIN_DIGEST_NONE;
	wanted.data_digest[1] = LOGIN_DIGEST_CRC32C;
	wanted.max_recv_dsl = 262144;
	wanted.max_burst = 1048576;
	wanted.first_burst = 131072;
	wanted.max_outstanding_r2t = 16;
	wanted.time2wait = 2;
	wanted.time2retain = 20;
	wanted.initial_r2t = false;
	wanted.immediate_data = true;
	login = NULL;
}

void
teardown(void)
{
	login_free(login);
	login = NULL;
}

void
begin(void)
{
	login_free(login);
	login = login_new(&wanted);
	ck_assert_ptr_nonnull(login);
	statsn = UINT32_C(0xfffffffd);	/* wraps within a login */
	expstatsn = 0;
	said[0] = '\0';
}

void
ask(void)
{
	size_t i, at = strlen(said);

	memset(req, 0xa5, sizeof(req));
	login_request(login, req, req_data);
	req_len = iscsi_dsl(req);
	ck_assert_uint_eq(req[0], 0x43);
	ck_assert_uint_eq(req[1] & 0x30, 0);
	ck_assert((req[1] & (T | C)) != (T | C));
	ck_assert_uint_eq(req[2], 0);
	ck_assert_uint_eq(req[3], 0);
	ck_assert_uint_eq(req[4], 0);
	ck_assert_uint_le(req_len, ISCSI_LOGIN_DSL_MAX);
	ck_assert_mem_eq(req + 8, wanted.isid, 6);
	ck_assert_uint_eq(get_be16(req + 14), 0);
	ck_assert_uint_eq(get_be32(req + 16), 0);
	ck_assert_uint_eq(get_be16(req + 20), CID);
	ck_assert_uint_eq(get_be16(req + 22), 0);
	ck_assert_uint_eq(get_be32(req + 24), CMDSN);
	ck_assert_uint_eq(get_be32(req + 28), expstatsn);
	for (i = 32; i < ISCSI_BHS_LEN; i++)
		ck_assert_uint_eq(req[i], 0);
	ck_assert_uint_lt(at + req_len, sizeof(said));
	for (i = 0; i < req_len; i++)
		said[at + i] = req_data[i] == 0 ? '\n' : (char)req_data[i];
	said[at + req_len] = '\0';
}

void
make_rsp(uint8_t flags)
{
	memset(rsp, 0, sizeof(rsp));
	rsp[0] = ISCSI_OP_LOGIN_RSP;
	rsp[1] = flags;
	memcpy(rsp + 8, wanted.isid, 6);
	if (flags == OP_END)
		put_be16(rsp + 14, TSIH);
	put_be32(rsp + ISCSI_OFF_STATSN, statsn);
	put_be32(rsp + ISCSI_OFF_EXPCMDSN, CMDSN);
	put_be32(rsp + ISCSI_OFF_MAXCMDSN, CMDSN);
}

enum login_verdict
deliver_len(const char *lines, size_t len)
{
	enum login_verdict verdict;
	char *text = malloc(len + 1);
	size_t i;

	ck_assert_ptr_nonnull(text);
	for (i = 0; i < len; i++)
		text[i] = lines[i] == '\n' ? '\0' : lines[i];
	iscsi_set_dsl(rsp, (uint32_t)len);
	expstatsn = ++statsn;
	verdict = login_response(login, rsp, (uint8_t *)text, len);
	free(text);
	ck_assert_int_eq(login_error(login)[0] != '\0',
	    verdict == LOGIN_FAILED);
	return verdict;
}

enum login_verdict
deliver(const char *lines)
{
	return deliver_len(lines, strlen(lines));
}

enum login_verdict
answer(uint8_t flags, const char *lines)
{
	make_rsp(flags);
	return deliver(lines);
}

const char *
good_but(const char *line)
{
	static char out[131072];
	size_t key_len = line == NULL ? 0 : strcspn(line, "=");
	bool placed = line == NULL || line[key_len] == '\0';
	size_t i;

	out[0] = '\0';
	for (i = 0; i < N_GOOD; i++) {
		const char *put = good[i];

		if (line != NULL && strcspn(put, "=") == key_len &&
		    strncmp(put, line, key_len) == 0) {
			if (line[key_len] == '\0')
				continue;
			put = line;
			placed = true;
		}
		strcat(strcat(out, put), "\n");
	}
	if (!placed)
		strcat(strcat(out, line), "\n");
	return out;
}

void
begin_operational(void)
{
	begin();
	ask();
	ck_assert_int_eq(answer(SEC_END, SEC_GOOD), LOGIN_SEND);
	ask();
	ck_assert_uint_eq(req[1], OP_END);
}

enum login_verdict
run_but(const char *line)
{
	begin_operational();
	return answer(OP_END, good_but(line));
}

const char *
described(void)
{
	static char text[1024];
	const struct login_result *r = login_result(login);

	(void)snprintf(text, sizeof(text), "hd=%d dd=%d send=%u recv=%u "
	    "max_burst=%u first_burst=%u r2t=%u conn=%u t2w=%u t2r=%u erl=%u "
	    "initial_r2t=%d immediate=%d pdu_order=%d seq_order=%d level=%u "
	    "tsih=%u "
	    "tpgt=%u/%d alias=%s.", r->header_digest, r->data_digest,
	    r->send_dsl, r->recv_dsl, r->max_burst, r->first_burst,
	    r->max_outstanding_r2t, r->max_connections, r->time2wait,
	    r->time2retain, r->error_recovery_level, r->initial_r2t,
	    r->immediate_data, r->data_pdu_in_order,
	    r->data_sequence_in_order, r->protocol_level, r->tsih, r->tpgt,
	    r->have_tpgt, r->target_alias);
	return text;
}

void
assert_has(const char *text, const char *part, const char *row)
{
	ck_assert_msg(strstr(text, part) != NULL, "%s: \"%s\" is not in "
	    "\"%s\"", row, part, text);
}

void
assert_failed(enum login_verdict verdict, const char *words, const char *row)
{
	struct login_result zero;

	memset(&zero, 0, sizeof(zero));
	ck_assert_msg(verdict == LOGIN_FAILED, "%s: verdict %d", row, verdict);
	assert_has(login_error(login), words, row);
	ck_assert_uint_eq(login_status(login), 0);
	ck_assert_mem_eq(login_result(login), &zero, sizeof(zero));
}

unsigned
said_lines(const char *start)
{
	const char *p = said;
	unsigned n = 0;

	while (*p != '\0') {
		n += strncmp(p, start, strlen(start)) == 0;
		p += strcspn(p, "\n");
		p += *p == '\n';
	}
	return n;
}
