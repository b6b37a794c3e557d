/* SPDX-License-Identifier: ISC */
/*
 * The watcher of a client's own login (daemon/loginwatch.h): what it learns,
 * however the text is cut.
 */
#include "config.h"

#include <stdio.h>
#include <string.h>

#include "tests/unit/loginwatch_fixture.h"
#include "tests/unit/unit.h"

static const char *
described(void)
{
	static char text[1024];
	const struct loginwatch_result *r = loginwatch_result(lw);

	snprintf(text, sizeof(text), "hd=%d dd=%d recv=%u send=%u "
	    "max_burst=%u first_burst=%u r2t=%u initial_r2t=%d immediate=%d "
	    "erl=%u level=%u conn=%u discovery=%d ignored=%u over=%d "
	    "initiator=%s target=%s.",
	    r->header_digest, r->data_digest, r->recv_dsl, r->send_dsl,
	    r->max_burst, r->first_burst, r->max_outstanding_r2t,
	    r->initial_r2t, r->immediate_data, r->error_recovery_level,
	    r->protocol_level, r->max_connections, r->discovery, r->ignored,
	    r->overflow, r->initiator_name, r->target_name);
	return text;
}

static void
assert_has(const char *part, const char *what)
{
	ck_assert_msg(strstr(described(), part) != NULL, "%s: no \"%s\" in "
	    "\"%s\"", what, part, described());
}

#define DEFAULTS "hd=0 dd=0 recv=8192 send=8192 max_burst=262144 " \
	"first_burst=65536 r2t=1 initial_r2t=1 immediate=1 erl=0 level=1 " \
	"conn=1 discovery=0 ignored=0 over=0 "

static const char asked[] = NAMES "SessionType=Normal\nAuthMethod=None\n"
    "HeaderDigest=CRC32C,None\nDataDigest=None,CRC32C\n"
    "MaxRecvDataSegmentLength=262144\nInitialR2T=No\nImmediateData=No\n"
    "MaxBurstLength=1048576\nFirstBurstLength=131072\n"
    "MaxOutstandingR2T=16\nErrorRecoveryLevel=2\nMaxConnections=8\n"
    "X-org.example.vendor=1\n";
static const char answered[] = "TargetPortalGroupTag=1\nAuthMethod=None\n"
    "HeaderDigest=CRC32C\nDataDigest=CRC32C\n"
    "MaxRecvDataSegmentLength=0x10000\nInitialR2T=No\nImmediateData=No\n"
    "MaxBurstLength=524288\nFirstBurstLength=65536\n"
    "MaxOutstandingR2T=4\nErrorRecoveryLevel=1\nMaxConnections=2\n"
    "X-org.example.vendor=NotUnderstood\n";
#define AGREED "hd=1 dd=1 recv=262144 send=65536 max_burst=524288 " \
	"first_burst=65536 r2t=4 initial_r2t=0 immediate=0 erl=1 level=1 " \
	"conn=2 discovery=0 ignored=0 over=0 initiator=" HOST " target=" DISK \
	"."

/* Before the end nothing holds, and without any text the defaults do. */
START_TEST(test_defaults)
{
	ck_assert_str_eq(described(), DEFAULTS "initiator= target=.");
	say(OP_END, asked);
	ck_assert_str_eq(described(), DEFAULTS "initiator= target=.");
	again();
	say(OP_END, "");
	ck_assert_int_eq(hear(OP_END, ""), LOGINWATCH_DONE);
	ck_assert_str_eq(described(), DEFAULTS "initiator= target=.");
}
END_TEST

START_TEST(test_one_exchange)
{
	const struct loginwatch_result *r = loginwatch_result(lw);

	say(OP_END, asked);
	ck_assert_int_eq(hear(OP_END, answered), LOGINWATCH_DONE);
	ck_assert_str_eq(described(), AGREED);
	ck_assert_mem_eq(r->isid, isid, sizeof(isid));
	ck_assert_uint_eq(r->cid, 0x1122);
	ck_assert_uint_eq(r->cmdsn, 0xfffffffe);
	ck_assert_uint_eq(r->tsih, 0x4711);
	ck_assert_uint_eq(r->statsn, 0x01020304);
	ck_assert_uint_eq(r->expcmdsn, 0x11121314);
	ck_assert_uint_eq(r->maxcmdsn, 0x21222324);
	/* It is at its end and stays there. */
	say(OP_END, "MaxRecvDataSegmentLength=512\n");
	make_bhs(ISCSI_OP_LOGIN_RSP, OPER);
	bhs[ISCSI_OFF_LOGIN_STATUS] = 2;
	ck_assert_int_eq(loginwatch_response(lw, bhs, NULL, 0),
	    LOGINWATCH_DONE);
	ck_assert_str_eq(described(), AGREED);
}
END_TEST

/* The stages, each with keys of its own; only the last PDU is the end. */
START_TEST(test_stages)
{
	say(SEC_END, NAMES "AuthMethod=CHAP\n");
	ck_assert_int_eq(hear(0, "AuthMethod=CHAP\n"), LOGINWATCH_GOES_ON);
	say(SEC_END, "CHAP_A=5\n");
	ck_assert_int_eq(hear(SEC_END, ""), LOGINWATCH_GOES_ON);
	say(OPER, "DataDigest=CRC32C\n");
	ck_assert_int_eq(hear(OPER, "DataDigest=CRC32C\n"),
	    LOGINWATCH_GOES_ON);
	/* A next stage without T says nothing. */
	ck_assert_int_eq(hear(OPER | 3, ""), LOGINWATCH_GOES_ON);
	ck_assert(!loginwatch_result(lw)->data_digest);
	say(OP_END, "");
	ck_assert_int_eq(hear(OP_END, ""), LOGINWATCH_DONE);
	assert_has("hd=0 dd=1 recv=8192", "stages");
	ck_assert_uint_eq(loginwatch_result(lw)->ignored, 0);
}
END_TEST

/* Straight from the first stage to the last. */
START_TEST(test_first_stage_only)
{
	say(T | 3, asked);
	ck_assert_int_eq(hear(T | 3, answered), LOGINWATCH_DONE);
	ck_assert_str_eq(described(), AGREED);
}
END_TEST

/* What is asked, what is answered, and what becomes of it. */
static const struct {
	const char *ask;
	const char *answer;
	const char *result;
} rows[] = {
	/* The answer decides, not what was offered. */
	{ "HeaderDigest=CRC32C,None\n", "HeaderDigest=None\n", "hd=0 dd=0" },
	{ "HeaderDigest=None,CRC32C\n", "HeaderDigest=CRC32C\n", "hd=1 dd=0" },
	{ "DataDigest=CRC32C\n", "DataDigest=CRC32C\n", "hd=0 dd=1" },
	{ "DataDigest=CRC32C\n", "DataDigest=None\n", "hd=0 dd=0" },
	{ "DataDigest=CRC32C\n", "", "dd=0" },
	{ "DataDigest=CRC32C\n", "DataDigest=Reject\n", "dd=0" },
	{ "DataDigest=CRC32C\n", "DataDigest=Irrelevant\n", "dd=0" },
	{ "DataDigest=CRC32C\n", "DataDigest=NotUnderstood\n", "dd=0" },
	{ "DataDigest=CRC32C\n", "DataDigest=CRC32C,None\n", "dd=0" },
	{ "DataDigest=CRC32C\n", "DataDigest=crc32c\n", "dd=0" },
	{ "DataDigest=CRC32C\n", "DataDigest=CRC32\n", "dd=0" },
	{ "", "DataDigest=CRC32C\n", "dd=0" },
	{ "MaxBurstLength=65536\n", "MaxBurstLength=32768\n",
	    "max_burst=32768 first_burst=32768" },
	{ "MaxBurstLength=65536\n", "", "max_burst=65536" },
	{ "MaxBurstLength=1048576\n", "", "max_burst=262144" },
	{ "MaxBurstLength=65536\n", "MaxBurstLength=Reject\n",
	    "max_burst=262144" },
	{ "MaxBurstLength=65536\n", "MaxBurstLength=None\n",
	    "max_burst=65536" },
	{ "MaxBurstLength=0x8000\n", "MaxBurstLength=0X4000\n",
	    "max_burst=16384" },
	{ "FirstBurstLength=512\n", "FirstBurstLength=Irrelevant\n",
	    "first_burst=65536" },
	{ "ImmediateData=No\n", "", "immediate=0" },
	{ "ImmediateData=Yes\n", "ImmediateData=No\n", "immediate=0" },
	{ "ImmediateData=No\n", "ImmediateData=Reject\n", "immediate=1" },
	{ "InitialR2T=No\n", "", "initial_r2t=1" },
	{ "InitialR2T=No\n", "InitialR2T=No\n", "initial_r2t=0" },
	{ "InitialR2T=No\n", "InitialR2T=Yes\n", "initial_r2t=1" },
	{ "InitialR2T=No\n", "InitialR2T=no\n", "initial_r2t=1" },
	{ "ErrorRecoveryLevel=2\n", "", "erl=0" },
	{ "ErrorRecoveryLevel=2\n", "ErrorRecoveryLevel=2\n", "erl=2" },
	{ "iSCSIProtocolLevel=2\n", "", "level=1" },
	{ "iSCSIProtocolLevel=2\n", "iSCSIProtocolLevel=2\n", "level=2" },
	{ "iSCSIProtocolLevel=2\n", "iSCSIProtocolLevel=1\n", "level=1" },
	{ "iSCSIProtocolLevel=2\n", "iSCSIProtocolLevel=NotUnderstood\n",
	    "level=1" },
	{ "MaxConnections=4\n", "MaxConnections=3\n", "conn=3" },
	{ "SessionType=Discovery\n", "", "discovery=1" },
	{ "SessionType=Normal\n", "", "discovery=0 ignored=0" },
	{ "SessionType=discovery\n", "", "discovery=0 ignored=1" },
	{ "", "SessionType=Discovery\n", "discovery=0" },
	/* Declarations, in each direction. */
	{ "MaxRecvDataSegmentLength=512\n", "", "recv=512 send=8192" },
	{ "", "MaxRecvDataSegmentLength=512\n", "recv=8192 send=512" },
	{ "MaxRecvDataSegmentLength=262144\n",
	    "MaxRecvDataSegmentLength=65536\n", "recv=262144 send=65536" },
	{ "MaxRecvDataSegmentLength=65536\n",
	    "MaxRecvDataSegmentLength=16777215\n", "recv=65536 send=16777215" },
	{ "MaxRecvDataSegmentLength=65536\n",
	    "MaxRecvDataSegmentLength=Irrelevant\n",
	    "recv=65536 send=8192" },
	{ "MaxRecvDataSegmentLength=511\n",
	    "MaxRecvDataSegmentLength=16777216\n", "recv=8192 send=8192" },
	/* Twice: the first word of each side counts. */
	{ "MaxRecvDataSegmentLength=512\nMaxRecvDataSegmentLength=1024\n",
	    "", "recv=512 " },
	{ "DataDigest=None\nDataDigest=CRC32C\n", "DataDigest=CRC32C\n",
	    "dd=1 " },
	{ "DataDigest=CRC32C\n", "DataDigest=None\nDataDigest=CRC32C\n",
	    "dd=0 " },
	{ "DataDigest=CRC32C\n", "DataDigest=Reject\nDataDigest=CRC32C\n",
	    "dd=0 " },
	{ "InitiatorName=" HOST "\nInitiatorName=x\n", "",
	    "initiator=" HOST " " },
	/* What is not understood is left out, and the rest is not. */
	{ "MaxRecvDataSegmentLength\nDataDigest=CRC32C\n",
	    "=\n\n\nDataDigest=CRC32C\n", "dd=1 recv=8192" },
	{ "A b=1\nDataDigest=CRC32C\n", "No pair\nDataDigest=CRC32C\nEnd",
	    "dd=1 " },
	{ "datadigest=CRC32C\n", "datadigest=CRC32C\n", "dd=0 " },
	{ "DataDigest=CRC32C\n", "DataDigest=CRC32C", "dd=0 " },
	{ "MaxBurstLength=99999999999999999999\n", "MaxBurstLength=-1\n",
	    "max_burst=262144 " },
};

START_TEST(test_rows)
{
	say(OP_END, rows[_i].ask);
	ck_assert_int_eq(hear(OP_END, rows[_i].answer), LOGINWATCH_DONE);
	assert_has(rows[_i].result, rows[_i].answer);
}
END_TEST

START_TEST(test_what_is_counted)
{
	say(OP_END, "no pair\nSessionType=Odd\nMaxBurstLength=1\nX-y=1\n"
	    "InitialR2T=No\nInitialR2T=No\n=\n");
	ck_assert_int_eq(hear(OP_END, "InitialR2T=Maybe\nunfinished"),
	    LOGINWATCH_DONE);
	ck_assert_uint_eq(loginwatch_result(lw)->ignored, 7);
}
END_TEST

/* A target proposes, and what the initiator answers to that is the result. */
START_TEST(test_target_proposes)
{
	say(OPER, NAMES);
	ck_assert_int_eq(hear(OPER, "HeaderDigest=CRC32C,None\n"
	    "DataDigest=CRC32C\nMaxBurstLength=65536\nImmediateData=No\n"
	    "MaxRecvDataSegmentLength=4096\nMaxOutstandingR2T=8\n"
	    "InitialR2T=No\n"), LOGINWATCH_GOES_ON);
	say(OP_END, "HeaderDigest=CRC32C\nDataDigest=None\n"
	    "MaxBurstLength=16384\nMaxOutstandingR2T=Reject\n"
	    "InitialR2T=No\n");
	ck_assert_int_eq(hear(OP_END, "DataDigest=CRC32C\n"),
	    LOGINWATCH_DONE);
	/* Too late, and settled. */
	ck_assert_str_eq(described(), "hd=1 dd=0 recv=8192 send=4096 "
	    "max_burst=16384 first_burst=16384 r2t=1 initial_r2t=0 "
	    "immediate=0 erl=0 level=1 conn=1 discovery=0 ignored=1 over=0 "
	    "initiator=" HOST " target=" DISK ".");
}
END_TEST

/* A proposal that came with the final response was never answered. */
START_TEST(test_target_proposes_too_late)
{
	say(OP_END, "");
	ck_assert_int_eq(hear(OP_END, "HeaderDigest=CRC32C\n"
	    "DataDigest=CRC32C\nErrorRecoveryLevel=2\n"), LOGINWATCH_DONE);
	assert_has("hd=0 dd=0 ", "digests");
	assert_has("erl=0 ", "level");
}
END_TEST

START_TEST(test_names_too_long)
{
	char line[ISCSI_NAME_MAX + 32];

	snprintf(line, sizeof(line), "TargetName=%0*d\n", ISCSI_NAME_MAX, 0);
	say(OP_END, line);
	ck_assert_int_eq(hear(OP_END, ""), LOGINWATCH_DONE);
	ck_assert_uint_eq(strlen(loginwatch_result(lw)->target_name),
	    ISCSI_NAME_MAX);
	again();
	snprintf(line, sizeof(line), "TargetName=%0*d\n", ISCSI_NAME_MAX + 1,
	    0);
	say(OP_END, line);
	ck_assert_int_eq(hear(OP_END, ""), LOGINWATCH_DONE);
	assert_has("ignored=1 over=0 initiator= target=.", "too long");
}
END_TEST

/* Text in two PDUs, cut at every byte, in each direction. */
START_TEST(test_every_cut)
{
	for (size_t i = 0; i < sizeof(asked); i++) {
		again();
		say_len(OPER | C, asked, i);
		ck_assert_int_eq(hear(OPER, ""), LOGINWATCH_GOES_ON);
		say(OP_END, asked + i);
		ck_assert_int_eq(hear(OP_END, answered), LOGINWATCH_DONE);
		ck_assert_str_eq(described(), AGREED);
	}
	for (size_t i = 0; i < sizeof(answered); i++) {
		again();
		say(OPER, asked);
		ck_assert_int_eq(hear_len(OPER | C, answered, i),
		    LOGINWATCH_GOES_ON);
		say(OP_END, "");
		ck_assert_int_eq(hear(OP_END, answered + i),
		    LOGINWATCH_DONE);
		ck_assert_str_eq(described(), AGREED);
	}
}
END_TEST

/* And in PDUs of one size, from one byte on. */
START_TEST(test_every_size)
{
	size_t len = strlen(asked), rsp_len = strlen(answered), n;

	for (size_t size = 1; size <= len; size++) {
		again();
		for (n = 0; n + size < len; n += size) {
			say_len(OPER | C, asked + n, size);
			ck_assert_int_eq(hear(OPER, ""), LOGINWATCH_GOES_ON);
		}
		say(OP_END, asked + n);
		for (n = 0; n + size < rsp_len; n += size) {
			ck_assert_int_eq(hear_len(OPER | C, answered + n,
			    size), LOGINWATCH_GOES_ON);
			say(OP_END, "");
		}
		ck_assert_int_eq(hear(OP_END, answered + n),
		    LOGINWATCH_DONE);
		ck_assert_str_eq(described(), AGREED);
	}
}
END_TEST

/* C together with T is wrong, yet the login ends there. */
START_TEST(test_end_with_c)
{
	say(OP_END, asked);
	ck_assert_int_eq(hear(OP_END | C, answered), LOGINWATCH_DONE);
	ck_assert_str_eq(described(), AGREED);
}
END_TEST

/* A refusal, or a redirection, leaves nothing; another login may follow. */
START_TEST(test_failed_status)
{
	for (uint8_t class = 1; class < 4; class++) {
		again();
		say(OPER, "DataDigest=CRC32C\n"
		    "MaxRecvDataSegmentLength=512\n");
		ck_assert_int_eq(hear(OPER, "DataDigest=CRC32C\n"
		    "MaxRecvDataSegmentLength=512\n"), LOGINWATCH_GOES_ON);
		say(OP_END, "HeaderDigest=CRC32C\n");
		make_bhs(ISCSI_OP_LOGIN_RSP, OP_END);
		bhs[ISCSI_OFF_LOGIN_STATUS] = class;
		bhs[ISCSI_OFF_LOGIN_STATUS + 1] = 1;
		ck_assert_int_eq(loginwatch_response(lw, bhs,
		    to_wire("HeaderDigest=CRC32C\n", 20), 20),
		    LOGINWATCH_FAILED);
		ck_assert_str_eq(described(), DEFAULTS "initiator= target=.");
		say(OP_END, "");
		ck_assert_int_eq(hear(OP_END, ""), LOGINWATCH_DONE);
		ck_assert_str_eq(described(), DEFAULTS "initiator= target=.");
	}
}
END_TEST

/* Other PDUs say nothing, even with flags like those of the end. */
START_TEST(test_other_opcodes)
{
	static const uint8_t opcodes[] = { ISCSI_OP_NOP_IN, ISCSI_OP_TEXT_RSP,
	    ISCSI_OP_REJECT, ISCSI_OP_DATA_IN, ISCSI_OP_ASYNC };

	for (size_t i = 0; i < sizeof(opcodes); i++) {
		make_bhs(opcodes[i], OP_END);
		ck_assert_int_eq(loginwatch_response(lw, bhs,
		    to_wire(answered, sizeof(answered)), sizeof(answered)),
		    LOGINWATCH_GOES_ON);
	}
	make_bhs(ISCSI_OP_TEXT_REQ, 0x80);
	loginwatch_request(lw, bhs, to_wire(asked, sizeof(asked)),
	    sizeof(asked));
	ck_assert(!loginwatch_names(lw, bhs, to_wire(NAMES, strlen(NAMES)),
	    strlen(NAMES), &ours));
	ck_assert_int_eq(hear(OP_END, answered), LOGINWATCH_DONE);
	assert_has("hd=0 dd=0 recv=8192 send=65536", "after others");
	assert_has("initiator= target=.", "after others");
}
END_TEST

/* As much text as is allowed in a sequence, and a byte more, by each side. */
START_TEST(test_overflow)
{
	static const char digest[] = "DataDigest=CRC32C\n";
	const size_t room = LOGINWATCH_TEXT_MAX - strlen(digest);

	for (int more = 0; more < 2; more++) {
		again();
		say(OPER | C, digest);
		say(OP_END, long_line(room + (size_t)more));
		ck_assert_int_eq(hear(OP_END, digest), LOGINWATCH_DONE);
		assert_has(more ? "dd=0 " : "dd=1 ", "request");
		assert_has(more ? "over=1 " : "over=0 ", "request");
		ck_assert_uint_eq(loginwatch_result(lw)->tsih, 0x4711);

		again();
		say(OP_END, digest);
		ck_assert_int_eq(hear(OPER | C, digest), LOGINWATCH_GOES_ON);
		ck_assert_int_eq(hear(OP_END,
		    long_line(room + (size_t)more)), LOGINWATCH_DONE);
		assert_has(more ? "dd=0 " : "dd=1 ", "response");
		assert_has(more ? "over=1 " : "over=0 ", "response");
	}
}
END_TEST

/* The limit is one of each sequence, not of the login. */
START_TEST(test_long_but_no_overflow)
{
	for (int i = 0; i < 4; i++) {
		say(OPER, long_line(LOGINWATCH_TEXT_MAX));
		ck_assert_int_eq(hear(OPER, long_line(LOGINWATCH_TEXT_MAX)),
		    LOGINWATCH_GOES_ON);
	}
	say(OP_END, asked);
	ck_assert_int_eq(hear(OP_END, answered), LOGINWATCH_DONE);
	assert_has("hd=1 dd=1 recv=262144 send=65536", "four texts");
	assert_has("over=0", "four texts");
}
END_TEST

/* After a failure the overflow is over too. */
START_TEST(test_overflow_forgotten)
{
	say(OPER | C, "x");
	say(OP_END, long_line(LOGINWATCH_TEXT_MAX));
	make_bhs(ISCSI_OP_LOGIN_RSP, 0);
	bhs[ISCSI_OFF_LOGIN_STATUS] = 3;
	ck_assert_int_eq(loginwatch_response(lw, bhs, NULL, 0),
	    LOGINWATCH_FAILED);
	say(OP_END, asked);
	ck_assert_int_eq(hear(OP_END, answered), LOGINWATCH_DONE);
	ck_assert_str_eq(described(), AGREED);
}
END_TEST

static uint32_t seed;

static uint32_t
any(uint32_t below)
{
	seed = seed * 1664525 + 1013904223;
	return (seed >> 8) % below;
}

/* Any piece of sensible text, or any bytes. */
static size_t
any_text(char *buf, size_t size)
{
	static const char *const pieces[] = { NAMES, asked, answered,
	    "InitiatorName=", "DataDigest=", "CRC32C", "None", "\n", "=", ",",
	    "MaxRecvDataSegmentLength=", "0x", "99999999999", "Reject",
	    "Irrelevant", "\1", "TargetName=", HOST, DISK, "Yes", "No" };
	size_t len = 0, n;

	while (any(6) != 0) {
		const char *piece = pieces[any(sizeof(pieces) /
		    sizeof(pieces[0]))];

		n = strlen(piece);
		if (any(8) == 0)
			n = any((uint32_t)n + 1);
		if (n > size - len)
			break;
		memcpy(buf + len, piece, n);
		len += n;
	}
	for (n = any(4) == 0 ? any(20) : 0; n > 0 && len > 0; n--)
		buf[any((uint32_t)len)] = (char)any(256);
	return len;
}

static void
check_invariants(void)
{
	const struct loginwatch_result *r = loginwatch_result(lw);

	ck_assert(!r->overflow || (!r->header_digest && !r->data_digest));
	ck_assert_uint_ge(r->recv_dsl, 512);
	ck_assert_uint_le(r->recv_dsl, ISCSI_DSL_MAX);
	ck_assert_uint_ge(r->send_dsl, 512);
	ck_assert_uint_le(r->send_dsl, ISCSI_DSL_MAX);
	ck_assert_uint_le(r->first_burst, r->max_burst);
	ck_assert_uint_le(r->error_recovery_level, 2);
	ck_assert_uint_le(strlen(r->initiator_name), ISCSI_NAME_MAX);
	ck_assert_uint_le(strlen(r->target_name), ISCSI_NAME_MAX);
}

/* Nothing that either side may send does harm. */
START_TEST(test_any_bytes)
{
	static char text[16384];
	size_t len;

	seed = 20251123;
	for (int i = 0; i < 20000; i++) {
		if (any(12) == 0)
			again();
		len = any_text(text, sizeof(text));
		if (any(2) == 0) {
			(void)names_len(&ours, (uint8_t)any(256), text, len);
			say_len((uint8_t)any(256), text, len);
		} else {
			(void)hear_len((uint8_t)any(256), text, len);
		}
		check_invariants();
	}
}
END_TEST

static void
add_learning(Suite *suite)
{
	TCase *tcase = add_case(suite, "learning");

	tcase_add_test(tcase, test_defaults);
	tcase_add_test(tcase, test_one_exchange);
	tcase_add_test(tcase, test_stages);
	tcase_add_test(tcase, test_first_stage_only);
	tcase_add_loop_test(tcase, test_rows, 0, COUNT(rows));
	tcase_add_test(tcase, test_what_is_counted);
	tcase_add_test(tcase, test_target_proposes);
	tcase_add_test(tcase, test_target_proposes_too_late);
	tcase_add_test(tcase, test_names_too_long);
	tcase_add_test(tcase, test_every_cut);
	tcase_add_test(tcase, test_every_size);
	tcase_add_test(tcase, test_end_with_c);
	tcase_add_test(tcase, test_failed_status);
	tcase_add_test(tcase, test_other_opcodes);
	tcase_add_test(tcase, test_overflow);
	tcase_add_test(tcase, test_long_but_no_overflow);
	tcase_add_test(tcase, test_overflow_forgotten);
	tcase_add_test(tcase, test_any_bytes);
}

int
main(void)
{
	Suite *suite = suite_create("loginwatch");

	add_learning(suite);
	return unit_run(suite);
}
