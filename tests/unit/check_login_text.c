/* SPDX-License-Identifier: ISC */
/*
 * The text of the login phase (daemon/login.h): cut anywhere, damaged, without
 * end, and with keys that the target brings up by itself.
 */
#include "config.h"

#include <stdio.h>
#include <string.h>

#include "tests/unit/login_script.h"
#include "tests/unit/unit.h"

START_TEST(test_malformed_text)
{
	static const struct {
		const char *text;
		const char *words;
	} rows[] = {
		{ "MaxBurstLength=512", "login text of the target: last "
		    "pair is not terminated" },
		{ "MaxBurstLength\n", "pair without '='" },
		{ "=512\n", "bad key" },
		{ "Max Burst=512\n", "bad key" },
		{ "A1234567890123456789012345678901234567890123456789"
		    "12345678901234=1\n", "bad key" },
	};
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		begin_operational();
		assert_failed(answer(OP_END, rows[i].text), rows[i].words,
		    rows[i].text);
	}
	/* Runs of NULs are no pair. */
	begin_operational();
	ck_assert_int_eq(answer(OP_END, "\n\nInitialR2T=Yes\n\n\n"),
	    LOGIN_DONE);
}
END_TEST

/* The target quotes nothing into our log but printable ASCII. */
START_TEST(test_error_is_printable)
{
	const char *p;

	begin_operational();
	assert_failed(answer(OP_END, "MaxBurstLength=\x1b[31m\xff\x80\t\r\n"),
	    "target sent MaxBurstLength=?[31m????", "escape");
	for (p = login_error(login); *p != '\0'; p++)
		ck_assert(*p >= 0x20 && *p <= 0x7e);
}
END_TEST

START_TEST(test_error_is_bounded)
{
	static char line[6000];

	memcpy(line, "MaxBurstLength=", 15);
	memset(line + 15, '9', sizeof(line) - 17);
	line[sizeof(line) - 2] = '\n';
	begin_operational();
	assert_failed(answer(OP_END, line), "which is no number", "long");
	ck_assert_uint_lt(strlen(login_error(login)), 200);
}
END_TEST

/*
 * The target's text in two PDUs, cut at every byte: we answer the first with
 * an empty request, and the result is the same.  Some targets keep T for the
 * last part, which is fine, as our text had asked for it.
 */
START_TEST(test_target_splits_anywhere)
{
	char text[1024];
	size_t len, cut;

	strcpy(text, good_but("X-org.example.color=blue"));
	len = strlen(text);
	for (cut = 1; cut <= len; cut++) {
		begin_operational();
		said[0] = '\0';
		make_rsp(OPER | C);
		ck_assert_int_eq(deliver_len(text, cut), LOGIN_SEND);
		ask();
		ck_assert_uint_eq(req_len, 0);
		ck_assert_uint_eq(req[1], OPER);
		if (cut % 2) {
			make_rsp(OP_END);
			ck_assert_int_eq(deliver_len(text + cut, len - cut),
			    LOGIN_DONE);
		} else {
			make_rsp(OPER);
			ck_assert_int_eq(deliver_len(text + cut, len - cut),
			    LOGIN_SEND);
			ask();
			ck_assert_uint_eq(req[1], OP_END);
			ck_assert_str_eq(said,
			    "X-org.example.color=NotUnderstood\n");
			ck_assert_int_eq(answer(OP_END, ""), LOGIN_DONE);
		}
		assert_has(described(), "send=16384 recv=262144 "
		    "max_burst=262144 first_burst=65536", "cut");
	}
}
END_TEST

/* One byte in each PDU; such parts are not counted as exchanges. */
START_TEST(test_target_splits_every_byte)
{
	const char *text = good_but(NULL);
	size_t len = strlen(text);
	size_t i;

	begin_operational();
	for (i = 0; i < len - 1; i++) {
		make_rsp(OPER | C);
		ck_assert_int_eq(deliver_len(text + i, 1), LOGIN_SEND);
		ask();
		ck_assert_uint_eq(req_len, 0);
	}
	make_rsp(OPER);
	ck_assert_int_eq(deliver_len(text + i, 1), LOGIN_SEND);
	ask();
	ck_assert_int_eq(answer(OP_END, ""), LOGIN_DONE);
	assert_has(described(), "max_burst=262144 ", "");
}
END_TEST

START_TEST(test_split_in_security_stage)
{
	begin();
	ask();
	ck_assert_int_eq(answer(SEC | C, "AuthMeth"), LOGIN_SEND);
	ask();
	ck_assert_uint_eq(req_len, 0);
	ck_assert_uint_eq(req[1], SEC);
	ck_assert_int_eq(answer(SEC, "od=None\n"), LOGIN_SEND);
	ask();
	ck_assert_uint_eq(req[1], SEC_END);
	ck_assert_int_eq(answer(SEC_END, ""), LOGIN_SEND);
	ask();
	ck_assert_int_eq(answer(OP_END, good_but(NULL)), LOGIN_DONE);
}
END_TEST

START_TEST(test_continue_bit_misused)
{
	begin_operational();
	assert_failed(answer(OP_END | C, "InitialR2T=Yes\n"),
	    "Login Response with both T and C", "T and C");
	begin_operational();
	assert_failed(answer(OPER | C, ""), "target announced more text but "
	    "sent none", "empty");
}
END_TEST

/* A text of 64 KiB is taken, one byte more is not. */
START_TEST(test_target_text_is_bounded)
{
	static char part[8192];
	int i, more;

	for (more = 0; more < 2; more++) {
		begin_operational();
		memset(part, 'v', sizeof(part));
		memcpy(part, "X-a=", 4);
		for (i = 0; i < 8; i++) {
			/* One pair in each PDU: no value is too long. */
			part[0] = (char)('A' + i);
			part[sizeof(part) - 1] = '\n';
			make_rsp(OPER | C);
			ck_assert_int_eq(deliver_len(part, sizeof(part)),
			    LOGIN_SEND);
			ask();
		}
		if (more) {
			assert_failed(answer(OPER, "\n"), "target sent more "
			    "than 65536 bytes of login text", "more");
			break;
		}
		said[0] = '\0';
		ck_assert_int_eq(answer(OPER, ""), LOGIN_SEND);
		ask();
		ck_assert_uint_eq(said_lines(""), 8);
		ck_assert_uint_eq(said_lines("H-a=NotUnderstood\n"), 1);
	}
}
END_TEST

START_TEST(test_target_keys_are_bounded)
{
	static char text[8192];
	int n, i;

	for (n = 512; n <= 513; n++) {
		text[0] = '\0';
		for (i = 0; i < n; i++)
			(void)sprintf(text + strlen(text), "X-%d=\n", i);
		begin_operational();
		if (n == 512) {
			ck_assert_int_eq(answer(OPER, text), LOGIN_SEND);
			continue;
		}
		assert_failed(answer(OPER, text), "target sent more than 512 "
		    "keys at once", "513");
	}
}
END_TEST

/* Let the target propose so much that our answers need several PDUs. */
static void
provoke(void)
{
	static char text[32768];
	size_t cut;
	int i;

	text[0] = '\0';
	for (i = 0; i < 500; i++)
		(void)sprintf(text + strlen(text), "X-org.example.key-number-"
		    "%d=1\n", i);
	begin_operational();
	said[0] = '\0';
	for (cut = 0; strlen(text + cut) > 8000; cut += 8000) {
		make_rsp(OPER | C);
		ck_assert_int_eq(deliver_len(text + cut, 8000), LOGIN_SEND);
		ask();
		ck_assert_uint_eq(req_len, 0);
	}
	ck_assert_int_eq(answer(OPER, text + cut), LOGIN_SEND);
}

/* More than 8192 bytes of ours: parts with C, each answered by nothing. */
START_TEST(test_our_text_is_split)
{
	char line[80];
	int i, parts = 0;

	provoke();
	for (ask(); req[1] & C; ask()) {
		ck_assert_uint_eq(req[1], OPER | C);
		ck_assert_uint_eq(req_len, ISCSI_LOGIN_DSL_MAX);
		ck_assert_int_eq(answer(OPER, ""), LOGIN_SEND);
		parts++;
	}
	ck_assert_int_ge(parts, 2);
	ck_assert_uint_eq(req[1], OP_END);
	ck_assert_uint_eq(said_lines(""), 500);
	for (i = 0; i < 500; i++) {
		(void)sprintf(line, "X-org.example.key-number-%d="
		    "NotUnderstood\n", i);
		ck_assert_uint_eq(said_lines(line), 1);
	}
	ck_assert_int_eq(answer(OP_END, good_but(NULL)), LOGIN_DONE);
}
END_TEST

START_TEST(test_our_text_is_interrupted)
{
	provoke();
	ask();
	assert_failed(answer(OPER, "InitialR2T=Yes\n"), "target answered "
	    "before our text was complete", "text");
	provoke();
	ask();
	assert_failed(answer(OPER | C, ""), "target answered before our text "
	    "was complete", "C");
	provoke();
	ask();
	assert_failed(answer(OP_END, ""), "target left the stage without "
	    "being asked", "T");
}
END_TEST

/*
 * Logins with bytes of the target changed at random: each ends, and a failure
 * has its words (see deliver_len()).  The sanitizers look on.
 */
START_TEST(test_random_damage)
{
	static const uint8_t flags[] = { OP_END, OP_END, OPER, OPER | C };
	char text[1024];
	uint32_t x = 12345;
	int i, j, ends[3] = { 0 };

	for (i = 0; i < 20000; i++) {
		enum login_verdict verdict = LOGIN_SEND;

		begin_operational();
		while (verdict == LOGIN_SEND) {
			strcpy(text, good_but(NULL));
			for (j = 0; j < i % 4; j++) {
				x = x * 1664525 + 1013904223;
				text[(x >> 8) % strlen(text)] =
				    "=\n,0x9NY"[x >> 29];
			}
			x = x * 1664525 + 1013904223;
			make_rsp(flags[x >> 30]);
			verdict = deliver(text);
			if (verdict == LOGIN_SEND)
				ask();
		}
		ends[verdict]++;
	}
	ck_assert_int_gt(ends[LOGIN_DONE], 0);
	ck_assert_int_gt(ends[LOGIN_FAILED], 0);
}
END_TEST

/* The target proposes keys before we do; we answer and do not offer them. */
START_TEST(test_proposals)
{
	static const struct {
		const char *text;	/* of the target, in the first stage */
		const char *answer;	/* of ours */
		const char *result;
	} rows[] = {
		{ "HeaderDigest=None,CRC32C\n", "HeaderDigest=None\n", "hd=0" },
		{ "HeaderDigest=X-a,CRC32C,None\n", "HeaderDigest=CRC32C\n",
		    "hd=1" },
		{ "HeaderDigest=X-org.example.a-digest-with-a-long-name,None"
		    "\n", "HeaderDigest=None\n", "hd=0" },
		{ "DataDigest=CRC32C\n", "DataDigest=CRC32C\n", "dd=1" },
		{ "MaxConnections=8\n", "MaxConnections=1\n", "conn=1" },
		{ "InitialR2T=No\n", "InitialR2T=No\n", "initial_r2t=0" },
		{ "InitialR2T=Yes\n", "InitialR2T=Yes\n", "initial_r2t=1" },
		{ "ImmediateData=No\n", "ImmediateData=No\n", "immediate=0" },
		{ "ImmediateData=Yes\n", "ImmediateData=Yes\n",
		    "immediate=1" },
		{ "MaxBurstLength=16777215\n", "MaxBurstLength=1048576\n",
		    "max_burst=1048576" },
		{ "MaxBurstLength=0x20000\n", "MaxBurstLength=131072\n",
		    "max_burst=131072" },
		{ "FirstBurstLength=512\n", "FirstBurstLength=512\n",
		    "first_burst=512" },
		{ "DefaultTime2Wait=0\n", "DefaultTime2Wait=2\n", "t2w=2" },
		{ "DefaultTime2Wait=60\n", "DefaultTime2Wait=60\n", "t2w=60" },
		{ "DefaultTime2Retain=60\n", "DefaultTime2Retain=20\n",
		    "t2r=20" },
		{ "MaxOutstandingR2T=65535\n", "MaxOutstandingR2T=16\n",
		    "r2t=16" },
		{ "DataPDUInOrder=No\n", "DataPDUInOrder=Yes\n",
		    "pdu_order=1" },
		{ "ErrorRecoveryLevel=2\n", "ErrorRecoveryLevel=0\n",
		    "erl=0" },
	};
	char line[80];
	size_t i;
	int t;

	/* With T the answer goes into the next stage, else it stays. */
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		for (t = 0; t < 2; t++) {
			begin();
			ask();
			said[0] = '\0';
			ck_assert_int_eq(answer(t ? SEC_END : SEC,
			    rows[i].text), LOGIN_SEND);
			ask();
			ck_assert_msg(strncmp(said, rows[i].answer,
			    strlen(rows[i].answer)) == 0, "%s: %s",
			    rows[i].text, said);
			if (!t) {
				ck_assert_str_eq(said, rows[i].answer);
				ck_assert_uint_eq(req[1], SEC_END);
				ck_assert_int_eq(answer(SEC_END, ""),
				    LOGIN_SEND);
				ask();
			}
			(void)snprintf(line, sizeof(line), "%.*s",
			    (int)strcspn(rows[i].answer, "="),
			    rows[i].answer);
			ck_assert_msg(said_lines(line) == 1, "%s: %s", line,
			    said);
			ck_assert_int_eq(answer(OP_END, good_but(line)),
			    LOGIN_DONE);
			assert_has(described(), rows[i].result, rows[i].text);
		}
}
END_TEST

START_TEST(test_bad_proposals)
{
	static const struct {
		const char *text;
		const char *words;
	} rows[] = {
		{ "HeaderDigest=X-a,CRC32D\n", "target offers only "
		    "HeaderDigest=X-a,CRC32D, we want CRC32C,None" },
		{ "DataDigest=\n", "target offers only DataDigest=, we want" },
		{ "MaxBurstLength=511\n", "no number from" },
		{ "InitialR2T=maybe\n", "neither Yes nor No" },
		{ "InitialR2T=Reject\n", "neither Yes nor No" },
		{ "ErrorRecoveryLevel=9\n", "no number from 0 to 2" },
	};
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		begin();
		ask();
		assert_failed(answer(SEC, rows[i].text), rows[i].words,
		    rows[i].text);
	}
}
END_TEST

/* The target's own MaxRecvDataSegmentLength does not stand for ours. */
START_TEST(test_declaration_before_ours)
{
	begin();
	ask();
	ck_assert_int_eq(answer(SEC_END,
	    "MaxRecvDataSegmentLength=65536\nAuthMethod=None\n"), LOGIN_SEND);
	ask();
	ck_assert_uint_eq(said_lines("MaxRecvDataSegmentLength=262144\n"), 1);
	ck_assert_int_eq(answer(OP_END, good_but("MaxRecvDataSegmentLength")),
	    LOGIN_DONE);
	assert_has(described(), "send=65536 recv=262144", "");
}
END_TEST

/* Keys that are none of ours, before the end of the login. */
START_TEST(test_foreign_keys)
{
	static const struct {
		const char *text;
		const char *answer;
	} rows[] = {
		{ "X-org.example.color=blue\n",
		    "X-org.example.color=NotUnderstood\n" },
		{ "X#NodeArchitecture=x\n",
		    "X#NodeArchitecture=NotUnderstood\n" },
		{ "iSCSIProtocolLevel=2\n", "iSCSIProtocolLevel=1\n" },
		{ "iSCSIProtocolLevel=0x0\n", "iSCSIProtocolLevel=0\n" },
		{ "iSCSIProtocolLevel=32\n", "iSCSIProtocolLevel=Reject\n" },
		{ "maxburstlength=512\n", "maxburstlength=NotUnderstood\n" },
		{ "TaskReporting=FastAbort,RFC3720\n",
		    "TaskReporting=RFC3720\n" },
		{ "TaskReporting=FastAbort\n", "TaskReporting=Reject\n" },
		{ "OFMarker=Yes\n", "OFMarker=Reject\n" },
		{ "IFMarker=No\n", "IFMarker=Reject\n" },
		{ "OFMarkInt=1~4\n", "OFMarkInt=Reject\n" },
		{ "IFMarkInt=1~4\n", "IFMarkInt=Reject\n" },
		{ "SendTargets=All\n", "SendTargets=Reject\n" },
		{ "A=1\nB=2\n", "A=NotUnderstood\nB=NotUnderstood\n" },
		/* Declarations, and answers to nothing. */
		{ "TargetAlias=disk\nTargetAddress=192.0.2.1:3260\n", "" },
		{ "TargetName=iqn.2026-01.org.example:disk\n", "" },
		{ "InitiatorName=iqn.2026-01.org.example:host\n", "" },
		{ "SessionType=Normal\n", "" },
		{ "X-a=NotUnderstood\nX-b=Reject\nX-c=Irrelevant\n", "" },
	};
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		begin_operational();
		said[0] = '\0';
		ck_assert_int_eq(answer(OPER, rows[i].text), LOGIN_SEND);
		ask();
		ck_assert_uint_eq(req[1], OP_END);
		ck_assert_str_eq(said, rows[i].answer);
		ck_assert_int_eq(answer(OP_END, good_but(NULL)), LOGIN_DONE);
	}
}
END_TEST

START_TEST(test_key_twice)
{
	begin_operational();
	assert_failed(answer(OPER, "MaxBurstLength=512\nMaxBurstLength=512\n"),
	    "target sent MaxBurstLength twice", "one PDU");
	begin_operational();
	assert_failed(answer(OPER, "X-a=1\nX-b=1\nX-a=1\n"),
	    "target sent X-a twice", "unknown");
	/* In two PDUs of one sequence. */
	begin_operational();
	ck_assert_int_eq(answer(OPER | C, "InitialR2T=Yes\nMaxB"), LOGIN_SEND);
	ask();
	assert_failed(answer(OPER, "urstLength=512\nInitialR2T=Yes\n"),
	    "target sent InitialR2T twice", "C bit");
	/* In two sequences: a key is negotiated once in a login. */
	begin_operational();
	ck_assert_int_eq(answer(OPER, "MaxBurstLength=512\n"), LOGIN_SEND);
	ask();
	assert_failed(answer(OPER, "MaxBurstLength=512\n"),
	    "target negotiated MaxBurstLength twice", "two sequences");
	begin_operational();
	ck_assert_int_eq(answer(OPER, "MaxBurstLength=Reject\n"), LOGIN_SEND);
	ask();
	assert_failed(answer(OPER, "MaxBurstLength=512\n"),
	    "target negotiated MaxBurstLength twice", "after Reject");
}
END_TEST

/* The target proposes the level itself, before we have offered ours. */
START_TEST(test_protocol_level_proposed)
{
	static const struct {
		const char *text;
		const char *answer;
		const char *level;
	} rows[] = {
		{ "iSCSIProtocolLevel=2\n", "iSCSIProtocolLevel=2\n",
		    "level=2 " },
		{ "iSCSIProtocolLevel=31\n", "iSCSIProtocolLevel=2\n",
		    "level=2 " },
		{ "iSCSIProtocolLevel=1\n", "iSCSIProtocolLevel=1\n",
		    "level=1 " },
	};

	wanted.protocol_level = 2;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		begin();
		ask();
		ck_assert_int_eq(answer(SEC, rows[i].text), LOGIN_SEND);
		said[0] = '\0';
		ask();
		ck_assert_str_eq(said, rows[i].answer);
		ck_assert_int_eq(answer(SEC_END, SEC_GOOD), LOGIN_SEND);
		ask();
		ck_assert_uint_eq(said_lines("iSCSIProtocolLevel="), 1);
		ck_assert_int_eq(answer(OP_END, good_but(NULL)), LOGIN_DONE);
		assert_has(described(), rows[i].level, rows[i].text);
	}
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
add_proposals(Suite *suite)
{
	TCase *tcase = add_case(suite, "proposals");

	tcase_add_test(tcase, test_proposals);
	tcase_add_test(tcase, test_bad_proposals);
	tcase_add_test(tcase, test_declaration_before_ours);
	tcase_add_test(tcase, test_foreign_keys);
	tcase_add_test(tcase, test_key_twice);
	tcase_add_test(tcase, test_protocol_level_proposed);
}

static void
add_text(Suite *suite)
{
	TCase *tcase = add_case(suite, "text");

	tcase_add_test(tcase, test_malformed_text);
	tcase_add_test(tcase, test_error_is_printable);
	tcase_add_test(tcase, test_error_is_bounded);
	tcase_add_test(tcase, test_target_splits_anywhere);
	tcase_add_test(tcase, test_target_splits_every_byte);
	tcase_add_test(tcase, test_split_in_security_stage);
	tcase_add_test(tcase, test_continue_bit_misused);
	tcase_add_test(tcase, test_target_text_is_bounded);
	tcase_add_test(tcase, test_target_keys_are_bounded);
	tcase_add_test(tcase, test_our_text_is_split);
	tcase_add_test(tcase, test_our_text_is_interrupted);
	tcase_add_test(tcase, test_random_damage);
}

int
main(void)
{
	Suite *suite = suite_create("login_text");

	add_proposals(suite);
	add_text(suite);
	return unit_run(suite);
}
