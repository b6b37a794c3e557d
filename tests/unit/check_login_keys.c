/* SPDX-License-Identifier: ISC */
/*
 * The keys of the login phase (daemon/login.h): what each answer, refusal or
 * silence of the target leads to.
 */
#include "config.h"

#include <stdio.h>
#include <string.h>

#include "tests/unit/login_script.h"
#include "tests/unit/unit.h"

START_TEST(test_good_login)
{
	ck_assert_int_eq(run_but(NULL), LOGIN_DONE);
	ck_assert_str_eq(described(), "hd=0 dd=0 send=16384 recv=262144 "
	    "max_burst=262144 first_burst=65536 r2t=1 conn=1 t2w=2 t2r=20 "
	    "erl=0 initial_r2t=1 immediate=1 pdu_order=1 seq_order=1 "
	    "level=1 tsih=18193 tpgt=1/1 alias=.");
	ck_assert_uint_eq(login_status(login), 0);
	/* The machine is at its end and stays there. */
	ck_assert_int_eq(answer(OP_END, "Nonsense"), LOGIN_DONE);
	ck_assert_uint_eq(login_result(login)->tsih, TSIH);
}
END_TEST

/* One line of the target each, and what it leads to. */
START_TEST(test_answers)
{
	static const struct {
		const char *line;
		const char *result;
	} rows[] = {
		{ "HeaderDigest=CRC32C", "hd=1 dd=0" },
		{ "DataDigest=CRC32C", "hd=0 dd=1" },
		{ "HeaderDigest=Irrelevant", "hd=0 " },
		{ "MaxRecvDataSegmentLength=512", "send=512 recv=262144" },
		{ "MaxRecvDataSegmentLength=16777215", "send=16777215 " },
		{ "MaxRecvDataSegmentLength=0x10000", "send=65536 " },
		{ "MaxBurstLength=1048576", "max_burst=1048576 " },
		{ "MaxBurstLength=0x20000", "max_burst=131072 " },
		{ "MaxBurstLength=0X20000", "max_burst=131072 " },
		{ "MaxBurstLength=65536", "max_burst=65536 " },
		{ "FirstBurstLength=131072", "first_burst=131072 " },
		{ "FirstBurstLength=512", "first_burst=512 " },
		{ "DefaultTime2Wait=3600", "t2w=3600 " },
		{ "DefaultTime2Wait=0xE10", "t2w=3600 " },
		{ "DefaultTime2Retain=0", "t2r=0 " },
		{ "DefaultTime2Retain=0x0", "t2r=0 " },
		{ "MaxOutstandingR2T=16", "r2t=16 " },
		{ "InitialR2T=No", "initial_r2t=0 " },
		{ "InitialR2T=Yes", "initial_r2t=1 " },
		{ "ImmediateData=No", "immediate=0 " },
		{ "TargetAlias=the disk", "alias=the disk." },
		{ "TargetAddress=192.0.2.1:3260,1", "tpgt=1/1" },
		{ "TargetPortalGroupTag=0xffff", "tpgt=65535/1" },
		{ "TargetPortalGroupTag=0", "tpgt=0/1" },
		{ "TargetPortalGroupTag=Irrelevant", "tpgt=1/1" },
		/* Reject and Irrelevant leave a key at its default. */
		{ "MaxConnections=Reject", "conn=1 " },
		{ "InitialR2T=Reject", "initial_r2t=1 " },
		{ "InitialR2T=Irrelevant", "initial_r2t=1 " },
		{ "ImmediateData=Reject", "immediate=1 " },
		{ "MaxRecvDataSegmentLength=Reject", "send=8192 " },
		{ "MaxRecvDataSegmentLength=Irrelevant", "send=8192 " },
		{ "MaxRecvDataSegmentLength=NotUnderstood", "send=8192 " },
		{ "MaxBurstLength=Reject", "max_burst=262144 " },
		{ "FirstBurstLength=Irrelevant", "first_burst=65536 " },
		{ "DefaultTime2Wait=Reject", "t2w=2 " },
		{ "DefaultTime2Retain=Irrelevant", "t2r=20 " },
		{ "MaxOutstandingR2T=Reject", "r2t=1 " },
		{ "DataPDUInOrder=Reject", "pdu_order=1 " },
		{ "DataSequenceInOrder=Irrelevant", "seq_order=1 " },
		{ "ErrorRecoveryLevel=Reject", "erl=0 " },
		/* Not answered at all. */
		{ "HeaderDigest", "hd=0 " },
		{ "MaxConnections", "conn=1 " },
		{ "InitialR2T", "initial_r2t=1 " },
		{ "ImmediateData", "immediate=1 " },
		{ "MaxRecvDataSegmentLength", "send=8192 " },
		{ "MaxBurstLength", "max_burst=262144 " },
		{ "FirstBurstLength", "first_burst=65536 " },
		{ "DefaultTime2Wait", "t2w=2 " },
		{ "DefaultTime2Retain", "t2r=20 " },
		{ "MaxOutstandingR2T", "r2t=1 " },
		{ "DataPDUInOrder", "pdu_order=1 " },
		{ "DataSequenceInOrder", "seq_order=1 " },
		{ "ErrorRecoveryLevel", "erl=0 " },
		/* Too late to be answered. */
		{ "X-org.example.late=1", "tsih=18193" },
		{ "TaskReporting=RFC3720", "tsih=18193" },
	};
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		enum login_verdict verdict = run_but(rows[i].line);

		ck_assert_msg(verdict == LOGIN_DONE, "%s: %s", rows[i].line,
		    login_error(login));
		assert_has(described(), rows[i].result, rows[i].line);
	}
}
END_TEST

/* Each refusal of each key that is offered, numbers included. */
START_TEST(test_refusals)
{
	static const char *const keys[] = { "HeaderDigest", "DataDigest",
	    "MaxRecvDataSegmentLength", "MaxConnections", "InitialR2T",
	    "ImmediateData", "MaxBurstLength", "FirstBurstLength",
	    "DefaultTime2Wait", "DefaultTime2Retain", "MaxOutstandingR2T",
	    "DataPDUInOrder", "DataSequenceInOrder", "ErrorRecoveryLevel" };
	char line[80];

	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		snprintf(line, sizeof(line), "%s=Irrelevant", keys[i]);
		ck_assert_int_eq(run_but(line), LOGIN_DONE);
		/* A rejected list leaves nothing that both would take. */
		snprintf(line, sizeof(line), "%s=Reject", keys[i]);
		ck_assert_int_eq(run_but(line), i < 2 ? LOGIN_FAILED :
		    LOGIN_DONE);
		/* A declaration is not answered, so that is none. */
		snprintf(line, sizeof(line), "%s=NotUnderstood", keys[i]);
		ck_assert_int_eq(run_but(line), i == 2 ? LOGIN_DONE :
		    LOGIN_FAILED);
	}
}
END_TEST

/* Answers that no honest negotiation of our offer can give. */
START_TEST(test_bad_answers)
{
	static const struct {
		const char *line;
		const char *words;
	} rows[] = {
		{ "HeaderDigest=CRC32", "target chose HeaderDigest=CRC32, "
		    "but we offered only CRC32C,None" },
		{ "HeaderDigest=CRC32C,None", "target chose HeaderDigest="
		    "CRC32C,None, but we offered" },
		{ "DataDigest=", "target chose DataDigest=, but" },
		{ "DataDigest=none", "target chose DataDigest=none, but" },
		{ "HeaderDigest=Reject", "target rejected "
		    "HeaderDigest=CRC32C,None" },
		{ "DataDigest=Reject", "target rejected "
		    "DataDigest=None,CRC32C" },
		{ "HeaderDigest=NotUnderstood", "target sent "
		    "HeaderDigest=NotUnderstood, a key that RFC 7143" },
		{ "MaxBurstLength=NotUnderstood", "target sent "
		    "MaxBurstLength=NotUnderstood, a key that RFC 7143" },
		{ "InitialR2T=NotUnderstood", "a key that RFC 7143" },
		{ "MaxConnections=2", "target answered MaxConnections=2, but "
		    "we offered 1" },
		{ "MaxConnections=0", "target sent MaxConnections=0, which "
		    "is no number from 1 to 65535" },
		{ "InitialR2T=yes", "target sent InitialR2T=yes, which is "
		    "neither Yes nor No" },
		{ "InitialR2T=1", "neither Yes nor No" },
		{ "ImmediateData=", "neither Yes nor No" },
		{ "MaxRecvDataSegmentLength=511", "no number from 512 to "
		    "16777215" },
		{ "MaxRecvDataSegmentLength=16777216", "no number from" },
		{ "MaxRecvDataSegmentLength=0x1000000", "no number from" },
		{ "MaxRecvDataSegmentLength=18446744073709552128",
		    "no number from" },
		{ "MaxRecvDataSegmentLength=big", "target sent "
		    "MaxRecvDataSegmentLength=big, which is no number" },
		{ "MaxBurstLength=1048577", "target answered MaxBurstLength="
		    "1048577, but we offered 1048576" },
		{ "MaxBurstLength=511", "no number from 512" },
		{ "MaxBurstLength=-1", "no number from" },
		{ "MaxBurstLength=", "no number from" },
		{ "MaxBurstLength=0x", "no number from" },
		{ "MaxBurstLength=65536K", "no number from" },
		{ "MaxBurstLength= 65536", "no number from" },
		{ "FirstBurstLength=131073", "target answered "
		    "FirstBurstLength=131073, but we offered 131072" },
		{ "MaxBurstLength=32768", "FirstBurstLength 65536 of the "
		    "target is greater than its MaxBurstLength 32768" },
		{ "DefaultTime2Wait=1", "target answered DefaultTime2Wait=1, "
		    "but we offered 2" },
		{ "DefaultTime2Wait=3601", "no number from 0 to 3600" },
		{ "DefaultTime2Retain=21", "target answered "
		    "DefaultTime2Retain=21, but we offered 20" },
		{ "DefaultTime2Retain=Yes", "no number from" },
		{ "MaxOutstandingR2T=17", "target answered "
		    "MaxOutstandingR2T=17, but we offered 16" },
		{ "MaxOutstandingR2T=0", "no number from 1 to 65535" },
		{ "DataPDUInOrder=No", "target sent DataPDUInOrder=No, the "
		    "contrary of which we required" },
		{ "DataSequenceInOrder=No", "target sent "
		    "DataSequenceInOrder=No, the contrary" },
		{ "ErrorRecoveryLevel=1", "target answered "
		    "ErrorRecoveryLevel=1, but we offered 0" },
		{ "ErrorRecoveryLevel=3", "no number from 0 to 2" },
		{ "TargetPortalGroupTag=65536", "target sent "
		    "TargetPortalGroupTag=65536, which is no number" },
		{ "AuthMethod=None", "target negotiated AuthMethod twice" },
	};
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		assert_failed(run_but(rows[i].line), rows[i].words,
		    rows[i].line);
}
END_TEST

/* InitialR2T=Yes and ImmediateData=No allow only themselves. */
START_TEST(test_boolean_functions)
{
	wanted.initial_r2t = true;
	wanted.immediate_data = false;
	assert_failed(run_but("ImmediateData=Yes"), "target sent "
	    "ImmediateData=Yes, the contrary of which we required", "AND");
	/* An answer that cannot change the offer may be left out. */
	ck_assert_int_eq(run_but("ImmediateData"), LOGIN_DONE);
	assert_has(described(), "initial_r2t=1 immediate=0", "left out");

	wanted.immediate_data = true;
	assert_failed(run_but("InitialR2T=No"), "target sent InitialR2T=No, "
	    "the contrary of which we required", "OR");
	ck_assert_int_eq(run_but("InitialR2T"), LOGIN_DONE);
	assert_has(described(), "initial_r2t=1 immediate=1", "left out");
}
END_TEST

/* An unanswered number is never taken beyond our own offer. */
START_TEST(test_unanswered_within_offer)
{
	wanted.max_burst = 16384;
	wanted.first_burst = 8192;
	wanted.time2wait = 30;
	wanted.time2retain = 0;
	begin_operational();
	ck_assert_int_eq(answer(OP_END, ""), LOGIN_DONE);
	assert_has(described(), "hd=0 dd=0 send=8192 recv=262144 "
	    "max_burst=16384 first_burst=8192 r2t=1 conn=1 t2w=30 t2r=0 erl=0 "
	    "initial_r2t=1 immediate=1 pdu_order=1 seq_order=1", "empty");
}
END_TEST

/* A rejected number keeps its default, even one that we did not offer. */
START_TEST(test_reject_keeps_default)
{
	wanted.max_burst = 65536;
	wanted.first_burst = 65536;
	ck_assert_int_eq(run_but("MaxBurstLength=Reject"), LOGIN_DONE);
	assert_has(described(), "max_burst=262144 first_burst=65536", "");
}
END_TEST

/* Without unsolicited data FirstBurstLength is irrelevant and cannot harm. */
START_TEST(test_first_burst_irrelevant)
{
	wanted.initial_r2t = true;
	wanted.immediate_data = false;
	begin_operational();
	ck_assert_int_eq(answer(OP_END, "InitialR2T=Yes\nImmediateData=No\n"
	    "MaxBurstLength=32768\nFirstBurstLength=65536\n"), LOGIN_DONE);
	assert_has(described(), "max_burst=32768 first_burst=32768", "");

	/* A default above MaxBurstLength is no claim of the target. */
	wanted.immediate_data = true;
	begin_operational();
	ck_assert_int_eq(answer(OP_END, "InitialR2T=Yes\nImmediateData=Yes\n"
	    "MaxBurstLength=32768\nFirstBurstLength=Irrelevant\n"),
	    LOGIN_DONE);
	assert_has(described(), "max_burst=32768 first_burst=32768", "");
}
END_TEST

/* A digest without alternative: nothing but CRC32C will do. */
START_TEST(test_digest_required)
{
	static const struct {
		const char *line;
		const char *words;
	} rows[] = {
		{ "HeaderDigest=None", "target chose HeaderDigest=None, but "
		    "we offered only CRC32C" },
		{ "HeaderDigest=Reject", "target rejected "
		    "HeaderDigest=CRC32C" },
		{ "HeaderDigest=Irrelevant", "target did not agree to "
		    "HeaderDigest=CRC32C" },
		{ "HeaderDigest", "target did not agree to "
		    "HeaderDigest=CRC32C" },
	};
	size_t i;

	wanted.header_digest[1] = LOGIN_DIGEST_END;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		assert_failed(run_but(rows[i].line), rows[i].words,
		    rows[i].line);
	ck_assert_int_eq(run_but("HeaderDigest=CRC32C"), LOGIN_DONE);
	ck_assert(login_result(login)->header_digest);
	ck_assert(!login_result(login)->data_digest);
}
END_TEST

/* istgt with required digests: Reject to None, status 0, and on it goes. */
START_TEST(test_digest_rejected_with_success)
{
	wanted.header_digest[0] = LOGIN_DIGEST_NONE;
	wanted.header_digest[1] = LOGIN_DIGEST_END;
	assert_failed(run_but("HeaderDigest=Reject"), "target rejected "
	    "HeaderDigest=None", "istgt");
}
END_TEST

START_TEST(test_auth_method)
{
	static const struct {
		const char *text;
		const char *words;	/* NULL: goes on */
	} rows[] = {
		{ "AuthMethod=None\n", NULL },
		{ "AuthMethod=Irrelevant\n", NULL },
		{ "", NULL },
		{ "AuthMethod=CHAP\n", "target wants CHAP, which is not "
		    "configured" },
		{ "AuthMethod=Reject\n", "target rejected AuthMethod=None"
		    ": it wants authentication, which is not configured" },
		{ "AuthMethod=KRB5\n", "target chose AuthMethod=KRB5, but we "
		    "offered only None" },
		{ "AuthMethod=CHAP,None\n", "target chose AuthMethod="
		    "CHAP,None, but" },
		{ "AuthMethod=NotUnderstood\n", "a key that RFC 7143" },
	};
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint8_t flags = i % 2 ? SEC : SEC_END;

		begin();
		ask();
		if (rows[i].words != NULL) {
			assert_failed(answer(flags, rows[i].text),
			    rows[i].words, rows[i].text);
			continue;
		}
		ck_assert_int_eq(answer(SEC_END, rows[i].text), LOGIN_SEND);
		ask();
		ck_assert_int_eq(answer(OP_END, good_but(NULL)), LOGIN_DONE);
	}
}
END_TEST

/* Level 2 comes only of an offer and an answer that both say so. */
START_TEST(test_protocol_level)
{
	static const struct {
		uint32_t wanted;
		const char *line;
		const char *result;	/* NULL: the login fails */
	} rows[] = {
		{ 0, NULL, "level=1 " },
		{ 1, NULL, "level=1 " },
		{ 1, "iSCSIProtocolLevel=2", "level=1 " },
		{ 2, NULL, "level=1 " },
		{ 2, "iSCSIProtocolLevel=2", "level=2 " },
		{ 2, "iSCSIProtocolLevel=0x2", "level=2 " },
		{ 2, "iSCSIProtocolLevel=31", "level=2 " },
		{ 2, "iSCSIProtocolLevel=1", "level=1 " },
		{ 2, "iSCSIProtocolLevel=0", "level=0 " },
		{ 2, "iSCSIProtocolLevel=Reject", "level=1 " },
		{ 2, "iSCSIProtocolLevel=Irrelevant", "level=1 " },
		{ 2, "iSCSIProtocolLevel=NotUnderstood", "level=1 " },
		{ 2, "iSCSIProtocolLevel=32", NULL },
		{ 2, "iSCSIProtocolLevel=two", NULL },
		{ 2, "iSCSIProtocolLevel=", NULL },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const char *row = rows[i].line != NULL ? rows[i].line : "none";
		enum login_verdict verdict;

		wanted.protocol_level = rows[i].wanted;
		verdict = run_but(rows[i].line);
		ck_assert_msg(said_lines("iSCSIProtocolLevel=2\n") ==
		    (rows[i].wanted == 2), "%s: %s", row, said);
		ck_assert_uint_eq(said_lines("iSCSIProtocolLevel="),
		    rows[i].wanted == 2);
		if (rows[i].result == NULL) {
			assert_failed(verdict, "no number from 0 to 31", row);
			continue;
		}
		ck_assert_int_eq(verdict, LOGIN_DONE);
		assert_has(described(), rows[i].result, row);
	}
}
END_TEST

/* A target without portal group tag, as some are. */
START_TEST(test_no_portal_group_tag)
{
	begin();
	ask();
	ck_assert_int_eq(answer(SEC_END, "AuthMethod=None\n"), LOGIN_SEND);
	ask();
	ck_assert_int_eq(answer(OP_END, good_but(NULL)), LOGIN_DONE);
	ck_assert(!login_result(login)->have_tpgt);
}
END_TEST

/* The longest alias there is, and a longer one. */
START_TEST(test_target_alias_is_bounded)
{
	char line[600];

	memset(line, 'a', sizeof(line));
	memcpy(line, "TargetAlias=", 12);
	line[599] = '\0';
	ck_assert_int_eq(run_but(line), LOGIN_DONE);
	ck_assert_uint_eq(strlen(login_result(login)->target_alias), 255);
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
add_keys(Suite *suite)
{
	TCase *tcase = add_case(suite, "keys");

	tcase_add_test(tcase, test_good_login);
	tcase_add_test(tcase, test_answers);
	tcase_add_test(tcase, test_refusals);
	tcase_add_test(tcase, test_bad_answers);
	tcase_add_test(tcase, test_boolean_functions);
	tcase_add_test(tcase, test_unanswered_within_offer);
	tcase_add_test(tcase, test_reject_keeps_default);
	tcase_add_test(tcase, test_first_burst_irrelevant);
	tcase_add_test(tcase, test_digest_required);
	tcase_add_test(tcase, test_digest_rejected_with_success);
	tcase_add_test(tcase, test_auth_method);
	tcase_add_test(tcase, test_protocol_level);
	tcase_add_test(tcase, test_target_alias_is_bounded);
	tcase_add_test(tcase, test_no_portal_group_tag);
}

int
main(void)
{
	Suite *suite = suite_create("login_keys");

	add_keys(suite);
	return unit_run(suite);
}
