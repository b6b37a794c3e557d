/* SPDX-License-Identifier: ISC */
/*
 * The login phase (daemon/login.h): what is offered, the stages, the fields of
 * Login Responses, and status.
 */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "tests/unit/login_script.h"
#include "tests/unit/unit.h"

/* Ten exchanges in a row are fine, sixteen are the end. */
START_TEST(test_exchanges)
{
	int i;

	begin();
	for (i = 0; i < 5; i++) {
		ask();
		ck_assert_uint_eq(req[1], SEC_END);
		ck_assert_int_eq(answer(SEC, ""), LOGIN_SEND);
	}
	ask();
	ck_assert_int_eq(answer(SEC_END, SEC_GOOD), LOGIN_SEND);
	for (i = 0; i < 9; i++) {
		ask();
		ck_assert_uint_eq(req[1], OP_END);
		ck_assert_int_eq(answer(OPER, ""), LOGIN_SEND);
	}
	ask();
	ck_assert_int_eq(answer(OP_END, good_but(NULL)), LOGIN_DONE);

	begin();
	for (i = 0; i < 15; i++) {
		ask();
		ck_assert_int_eq(answer(SEC, ""), LOGIN_SEND);
	}
	ask();
	assert_failed(answer(SEC, ""), "no end of the login after 16 "
	    "exchanges", "16");
}
END_TEST

/* Every status in words; an unknown detail is known by its class. */
START_TEST(test_status)
{
	static const struct {
		uint16_t status;
		const char *words;
	} rows[] = {
		{ 0x0200, "initiator error" },
		{ 0x0201, "authentication failure" },
		{ 0x0202, "authorization failure" },
		{ 0x0203, "target not found" },
		{ 0x0204, "target removed" },
		{ 0x0205, "unsupported version" },
		{ 0x0206, "too many connections" },
		{ 0x0207, "missing parameter" },
		{ 0x0208, "cannot include in session" },
		{ 0x0209, "session type not supported" },
		{ 0x020a, "session does not exist" },
		{ 0x020b, "invalid request during login" },
		{ 0x02ee, "initiator error, unknown detail" },
		{ 0x0300, "target error" },
		{ 0x0301, "service unavailable" },
		{ 0x0302, "out of resources" },
		{ 0x03ee, "target error, unknown detail" },
		{ 0x0901, "unknown status class" },
	};
	char number[32];
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		begin();
		ask();
		/* With a failure, T and the numbers mean nothing. */
		make_rsp(0);
		put_be16(rsp + ISCSI_OFF_LOGIN_STATUS, rows[i].status);
		put_be32(rsp + ISCSI_OFF_STATSN, 0);
		ck_assert_int_eq(deliver("half a pa"), LOGIN_FAILED);
		ck_assert_uint_eq(login_status(login), rows[i].status);
		assert_has(login_error(login), "target refused the login: ",
		    rows[i].words);
		assert_has(login_error(login), rows[i].words, rows[i].words);
		(void)snprintf(number, sizeof(number),
		    "(login status 0x%04x)", rows[i].status);
		assert_has(login_error(login), number, rows[i].words);
		ck_assert_uint_eq(login_result(login)->tsih, 0);
	}
	/* Class 0 is success, whatever the detail. */
	begin_operational();
	make_rsp(OP_END);
	put_be16(rsp + ISCSI_OFF_LOGIN_STATUS, 0x0007);
	ck_assert_int_eq(deliver(good_but(NULL)), LOGIN_DONE);
	ck_assert_uint_eq(login_status(login), 0);
}
END_TEST

START_TEST(test_status_in_operational_stage)
{
	begin_operational();
	make_rsp(OP_END);
	put_be16(rsp + ISCSI_OFF_LOGIN_STATUS, 0x0300);
	ck_assert_int_eq(deliver(good_but(NULL)), LOGIN_FAILED);
	ck_assert_uint_eq(login_status(login), 0x0300);
	ck_assert_uint_eq(login_result(login)->max_burst, 0);
	/* The failure is the last word. */
	ck_assert_int_eq(answer(OP_END, good_but(NULL)), LOGIN_FAILED);
	ck_assert_uint_eq(login_status(login), 0x0300);
}
END_TEST

/* A discovery session offers what belongs there, and no digest. */
START_TEST(test_discovery)
{
	wanted.discovery = true;
	wanted.target_name = NULL;
	begin();
	ask();
	ck_assert_str_eq(said, "InitiatorName=iqn.2026-01.org.example:host\n"
	    "SessionType=Discovery\nAuthMethod=None\n");
	ck_assert_int_eq(answer(SEC_END, "AuthMethod=None\n"), LOGIN_SEND);
	said[0] = '\0';
	ask();
	ck_assert_str_eq(said, "HeaderDigest=None\nDataDigest=None\n"
	    "MaxRecvDataSegmentLength=262144\nDefaultTime2Wait=2\n"
	    "DefaultTime2Retain=20\n");
	/* What does not belong there is irrelevant, whoever proposes it. */
	ck_assert_int_eq(answer(OPER, "HeaderDigest=None\nDataDigest=None\n"
	    "MaxBurstLength=512\nInitialR2T=No\n"), LOGIN_SEND);
	said[0] = '\0';
	ask();
	ck_assert_str_eq(said, "MaxBurstLength=Irrelevant\n"
	    "InitialR2T=Irrelevant\n");
	ck_assert_int_eq(answer(OP_END, ""), LOGIN_DONE);
	ck_assert(!login_result(login)->header_digest);
	ck_assert_uint_eq(login_result(login)->error_recovery_level, 0);
}
END_TEST

/* A normal session has a target; a discovery session may name one. */
START_TEST(test_target_name)
{
	wanted.discovery = true;
	begin();
	ask();
	ck_assert_uint_eq(said_lines("TargetName="), 1);
	wanted.discovery = false;
	wanted.target_name = NULL;
	ck_assert_ptr_null(login_new(&wanted));
	ck_assert_int_eq(errno, EINVAL);
}
END_TEST

/* The portal group that is configured, and no other. */
START_TEST(test_portal_group)
{
	wanted.tpgt_set = true;
	wanted.tpgt = 1;
	ck_assert_int_eq(run_but(NULL), LOGIN_DONE);
	begin();
	ask();
	assert_failed(answer(SEC_END, "TargetPortalGroupTag=2\n"
	    "AuthMethod=None\n"), "target has TargetPortalGroupTag=2, but 1 "
	    "is configured", "2");
	begin();
	ask();
	ck_assert_int_eq(answer(SEC_END, "AuthMethod=None\n"), LOGIN_SEND);
	ask();
	assert_failed(answer(OP_END, good_but(NULL)), "target did not say its "
	    "TargetPortalGroupTag, which is configured to be 1", "none");
}
END_TEST

/* Every field of a Login Response that we rely on. */
START_TEST(test_response_fields)
{
	static const struct {
		size_t offset;
		uint8_t value;
		const char *words;
	} rows[] = {
		{ 0, ISCSI_OP_SCSI_RSP, "target sent opcode 0x21 (SCSI "
		    "Response) during login" },
		{ 0, ISCSI_OP_NOP_IN, "opcode 0x20 (NOP-In)" },
		{ 0, ISCSI_OP_LOGIN_REQ, "opcode 0x03 (Login Request)" },
		{ 0, 0x3c, "opcode 0x3c (unknown)" },
		{ 1, T | SEC | 1, "Login Response for stage 0 in stage 1" },
		{ 1, T | 0x0c | 3, "Login Response for stage 3 in stage 1" },
		{ 1, T | OPER | 1, "target went to stage 1 instead of 3" },
		{ 1, T | OPER | 0, "target went to stage 0 instead of 3" },
		{ 1, T | OPER | 2, "target went to stage 2 instead of 3" },
		{ 3, 1, "target wants protocol version 0x01" },
		{ 19, 1, "wrong Initiator Task Tag 0x00000001" },
		{ 16, 0xff, "wrong Initiator Task Tag 0xff000000" },
	};
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		begin_operational();
		make_rsp(OP_END);
		rsp[rows[i].offset] = rows[i].value;
		assert_failed(deliver(good_but(NULL)), rows[i].words,
		    rows[i].words);
	}
	/* Bits 6 and 7 of byte 0 say nothing in a response. */
	begin_operational();
	make_rsp(OP_END);
	rsp[0] |= 0xc0;
	ck_assert_int_eq(deliver(good_but(NULL)), LOGIN_DONE);
}
END_TEST

/* We ask for the operational stage; no target may skip it. */
START_TEST(test_stage_skipped)
{
	begin();
	ask();
	assert_failed(answer(T | SEC | 3, SEC_GOOD), "target went to stage 3 "
	    "instead of 1", "3");
	begin();
	ask();
	assert_failed(answer(T | SEC | 0, SEC_GOOD), "target went to stage 0 "
	    "instead of 1", "0");
}
END_TEST

START_TEST(test_tsih_required)
{
	begin_operational();
	make_rsp(OP_END);
	put_be16(rsp + ISCSI_OFF_TSIH, 0);
	assert_failed(deliver(good_but(NULL)), "target gave the new session "
	    "no TSIH", "");
}
END_TEST

START_TEST(test_reject)
{
	begin();
	ask();
	make_rsp(0x80);
	rsp[0] = ISCSI_OP_REJECT;
	rsp[2] = 0x04;
	put_be32(rsp + ISCSI_OFF_ITT, ISCSI_TAG_NONE);
	assert_failed(deliver(""), "target rejected the login: protocol "
	    "error", "reject");
}
END_TEST

START_TEST(test_response_too_long)
{
	static char text[8194];

	memset(text, 'v', sizeof(text) - 1);
	memcpy(text, "X-a=", 4);
	text[8191] = '\n';
	begin_operational();
	make_rsp(OPER);
	ck_assert_int_eq(deliver_len(text, 8192), LOGIN_SEND);
	begin_operational();
	make_rsp(OPER);
	assert_failed(deliver_len(text, 8193), "Login Response of 8193 "
	    "bytes, more than 8192", "8193");
}
END_TEST

/* StatSN is not judged during login, only followed. */
START_TEST(test_statsn_is_followed)
{
	begin();
	ask();
	ck_assert_int_eq(answer(SEC_END, SEC_GOOD), LOGIN_SEND);
	statsn = 777;
	ask();
	ck_assert_int_eq(answer(OPER, good_but(NULL)), LOGIN_SEND);
	ask();
	ck_assert_uint_eq(get_be32(req + ISCSI_OFF_EXPSTATSN), 778);
	ck_assert_int_eq(answer(OP_END, ""), LOGIN_DONE);
}
END_TEST

START_TEST(test_first_request)
{
	begin();
	ask();
	ck_assert_uint_eq(req[1], SEC_END);
	ck_assert_str_eq(said,
	    "InitiatorName=iqn.2026-01.org.example:host\n"
	    "TargetName=iqn.2026-01.org.example:disk\n"
	    "SessionType=Normal\n"
	    "AuthMethod=None\n");
}
END_TEST

START_TEST(test_initiator_alias)
{
	wanted.initiator_alias = "host seven";
	begin();
	ask();
	ck_assert_uint_eq(said_lines("InitiatorAlias=host seven\n"), 1);
}
END_TEST

/* The operational request, literally, with the wanted values. */
START_TEST(test_operational_request)
{
	begin_operational();
	ck_assert_str_eq(strstr(said, "HeaderDigest"),
	    "HeaderDigest=CRC32C,None\n"
	    "DataDigest=None,CRC32C\n"
	    "MaxConnections=1\n"
	    "InitialR2T=No\n"
	    "ImmediateData=Yes\n"
	    "MaxRecvDataSegmentLength=262144\n"
	    "MaxBurstLength=1048576\n"
	    "FirstBurstLength=131072\n"
	    "DefaultTime2Wait=2\n"
	    "DefaultTime2Retain=20\n"
	    "MaxOutstandingR2T=16\n"
	    "DataPDUInOrder=Yes\n"
	    "DataSequenceInOrder=Yes\n"
	    "ErrorRecoveryLevel=0\n");
}
END_TEST

/* Strings are copied: the caller's may go at once. */
START_TEST(test_wanted_is_copied)
{
	char name[] = "iqn.2026-01.org.example:gone";

	wanted.initiator_name = name;
	begin();
	memset(name, 'x', sizeof(name) - 1);
	ask();
	ck_assert_uint_eq(said_lines(
	    "InitiatorName=iqn.2026-01.org.example:gone\n"), 1);
}
END_TEST

/* All keys of a session, each once in the whole login; no others. */
START_TEST(test_every_key_once)
{
	static const char *const keys[] = { "InitiatorName", "InitiatorAlias",
	    "TargetName", "SessionType", "AuthMethod", "HeaderDigest",
	    "DataDigest", "MaxConnections", "InitialR2T", "ImmediateData",
	    "MaxRecvDataSegmentLength", "MaxBurstLength", "FirstBurstLength",
	    "DefaultTime2Wait", "DefaultTime2Retain", "MaxOutstandingR2T",
	    "DataPDUInOrder", "DataSequenceInOrder", "ErrorRecoveryLevel" };
	char start[80];
	size_t i;

	wanted.initiator_alias = "alias";
	begin();
	/* Several exchanges in each stage must not repeat any. */
	ask();
	ck_assert_int_eq(answer(SEC, ""), LOGIN_SEND);
	ask();
	ck_assert_uint_eq(req_len, 0);
	ck_assert_int_eq(answer(SEC_END, SEC_GOOD), LOGIN_SEND);
	ask();
	ck_assert_int_eq(answer(OPER, good_but(NULL)), LOGIN_SEND);
	ask();
	ck_assert_uint_eq(req_len, 0);
	ck_assert_int_eq(answer(OP_END, ""), LOGIN_DONE);
	for (i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		(void)snprintf(start, sizeof(start), "%s=", keys[i]);
		ck_assert_msg(said_lines(start) == 1, "%s: %u times", keys[i],
		    said_lines(start));
	}
	ck_assert_uint_eq(said_lines(""), sizeof(keys) / sizeof(keys[0]));
}
END_TEST

START_TEST(test_digest_order)
{
	static const struct {
		enum login_digest list[3];
		const char *text;
	} rows[] = {
		{ { LOGIN_DIGEST_CRC32C, LOGIN_DIGEST_NONE },
		    "HeaderDigest=CRC32C,None\n" },
		{ { LOGIN_DIGEST_NONE, LOGIN_DIGEST_CRC32C },
		    "HeaderDigest=None,CRC32C\n" },
		{ { LOGIN_DIGEST_CRC32C }, "HeaderDigest=CRC32C\n" },
		{ { LOGIN_DIGEST_NONE }, "HeaderDigest=None\n" },
		{ { LOGIN_DIGEST_END }, "HeaderDigest=None\n" },
		{ { LOGIN_DIGEST_CRC32C, LOGIN_DIGEST_CRC32C,
		    LOGIN_DIGEST_NONE }, "HeaderDigest=CRC32C,None\n" },
	};
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		memcpy(wanted.header_digest, rows[i].list,
		    sizeof(rows[i].list));
		begin_operational();
		ck_assert_msg(said_lines(rows[i].text) == 1, "%s: %s",
		    rows[i].text, said);
	}
}
END_TEST

/* Values out of a key's range are never sent, relevant or not. */
START_TEST(test_offers_are_legal)
{
	wanted.max_recv_dsl = 0;
	wanted.max_burst = 0x1000000;
	wanted.first_burst = UINT32_MAX;
	wanted.time2wait = 5000;
	wanted.time2retain = 3601;
	wanted.max_outstanding_r2t = 0;
	begin_operational();
	ck_assert_uint_eq(said_lines("MaxRecvDataSegmentLength=512\n"), 1);
	ck_assert_uint_eq(said_lines("MaxBurstLength=16777215\n"), 1);
	ck_assert_uint_eq(said_lines("FirstBurstLength=16777215\n"), 1);
	ck_assert_uint_eq(said_lines("DefaultTime2Wait=3600\n"), 1);
	ck_assert_uint_eq(said_lines("DefaultTime2Retain=3600\n"), 1);
	ck_assert_uint_eq(said_lines("MaxOutstandingR2T=1\n"), 1);
	wanted.max_burst = 65536;
	wanted.first_burst = 131072;
	wanted.max_outstanding_r2t = 70000;
	begin_operational();
	ck_assert_uint_eq(said_lines("FirstBurstLength=65536\n"), 1);
	ck_assert_uint_eq(said_lines("MaxOutstandingR2T=65535\n"), 1);
}
END_TEST

START_TEST(test_names_too_long)
{
	static char name[70000];

	memset(name, 'a', sizeof(name) - 1);
	wanted.target_name = name;
	ck_assert_ptr_null(login_new(&wanted));
	ck_assert_int_eq(errno, EINVAL);
}
END_TEST

static TCase *
add_case(Suite *suite, const char *name)
{
	TCase *tcase = tcase_create(name);

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_set_timeout(tcase, 60);
	suite_add_tcase(suite, tcase);
	return tcase;
}

static void
add_offers(Suite *suite)
{
	TCase *tcase = add_case(suite, "offers");

	tcase_add_test(tcase, test_first_request);
	tcase_add_test(tcase, test_initiator_alias);
	tcase_add_test(tcase, test_operational_request);
	tcase_add_test(tcase, test_wanted_is_copied);
	tcase_add_test(tcase, test_every_key_once);
	tcase_add_test(tcase, test_digest_order);
	tcase_add_test(tcase, test_offers_are_legal);
	tcase_add_test(tcase, test_names_too_long);
	tcase_add_test(tcase, test_discovery);
	tcase_add_test(tcase, test_target_name);
}

static void
add_responses(Suite *suite)
{
	TCase *tcase = add_case(suite, "responses");

	tcase_add_test(tcase, test_exchanges);
	tcase_add_test(tcase, test_status);
	tcase_add_test(tcase, test_status_in_operational_stage);
	tcase_add_test(tcase, test_portal_group);
	tcase_add_test(tcase, test_response_fields);
	tcase_add_test(tcase, test_stage_skipped);
	tcase_add_test(tcase, test_tsih_required);
	tcase_add_test(tcase, test_reject);
	tcase_add_test(tcase, test_response_too_long);
	tcase_add_test(tcase, test_statsn_is_followed);
}

int
main(void)
{
	Suite *suite = suite_create("login");

	add_offers(suite);
	add_responses(suite);
	return unit_run(suite);
}
