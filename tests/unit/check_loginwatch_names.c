/* SPDX-License-Identifier: ISC */
/*
 * Whom a client's own login names (daemon/loginwatch.h): the PDU that would
 * reinstate a session is found however its names are cut.
 */
#include "config.h"

#include <string.h>
#include <time.h>

#include "tests/unit/loginwatch_fixture.h"
#include "tests/unit/unit.h"

/* One request with this text, and whether it names our nexus. */
static const struct {
	const char *text;
	bool named;
} named_rows[] = {
	{ NAMES, true },
	{ "SessionType=Normal\n" NAMES "AuthMethod=None\n", true },
	{ "TargetName=" DISK "\nInitiatorName=" HOST "\n", true },
	{ "InitiatorName=IQN.2004-10.COM.EXAMPLE:HOST1\n"
	    "TargetName=iqn.2004-10.com.example:Disk1\n", true },
	{ "initiatorname=" HOST "\nTARGETNAME=" DISK "\n", true },
	{ "\n\nInitiatorName=" HOST "\n\nrubbish\nTargetName=" DISK "\n",
	    true },
	/* Any of several. */
	{ "InitiatorName=x\nTargetName=y\n" NAMES, true },
	{ NAMES "InitiatorName=x\nTargetName=y\n", true },
	/* Without the last NUL. */
	{ "InitiatorName=" HOST "\nTargetName=" DISK, true },
	{ "", false },
	{ "InitiatorName=" HOST "\n", false },
	{ "TargetName=" DISK "\n", false },
	{ "InitiatorName=" HOST "0\nTargetName=" DISK "\n", false },
	{ "InitiatorName=" HOST "\nTargetName=" DISK "0\n", false },
	{ "InitiatorName=iqn.2004-10.com.example:host\nTargetName=" DISK
	    "\n", false },
	{ "InitiatorName=" HOST "\nTargetName=\n", false },
	{ "InitiatorName=" DISK "\nTargetName=" HOST "\n", false },
	{ "InitiatorName=" HOST "\nX-TargetName=" DISK "\n", false },
	{ "InitiatorName=" HOST " TargetName=" DISK "\n", false },
};

START_TEST(test_names)
{
	const char *text = named_rows[_i].text;

	ck_assert_msg(names(OP_END, text) == named_rows[_i].named, "%s",
	    text);
	/* Asking leaves nothing behind. */
	ck_assert(!names(OP_END, ""));
}
END_TEST

START_TEST(test_names_need_isid)
{
	const struct loginwatch_nexus other = { HOST, DISK, other_isid };

	ck_assert(!names_len(&other, OP_END, NAMES, strlen(NAMES)));
	/* Whatever the TSIH. */
	make_bhs(ISCSI_OP_LOGIN_REQ | ISCSI_IMMEDIATE, OP_END);
	put_be16(bhs + ISCSI_OFF_TSIH, 0x4711);
	ck_assert(loginwatch_names(lw, bhs, to_wire(NAMES, strlen(NAMES)),
	    strlen(NAMES), &ours));
	/* One ISID in the first PDU, another in the one with the names. */
	make_bhs(ISCSI_OP_LOGIN_REQ | ISCSI_IMMEDIATE, OPER | C);
	memcpy(bhs + ISCSI_OFF_ISID, other_isid, sizeof(other_isid));
	loginwatch_request(lw, bhs, NULL, 0);
	ck_assert(names_len(&other, OP_END, NAMES, strlen(NAMES)));
	ck_assert(names(OP_END, NAMES));
}
END_TEST

/* So many ISIDs that not all are kept. */
START_TEST(test_many_isids)
{
	static const uint8_t never[6] = { 0x40 };
	const struct loginwatch_nexus unseen = { HOST, DISK, never };

	for (uint8_t i = 0; i < 5; i++) {
		ck_assert(!names_len(&unseen, OP_END, NAMES, strlen(NAMES)));
		make_bhs(ISCSI_OP_LOGIN_REQ | ISCSI_IMMEDIATE, OPER | C);
		bhs[ISCSI_OFF_ISID + 5] = 0x80 + i;
		loginwatch_request(lw, bhs, NULL, 0);
	}
	ck_assert(names_len(&unseen, OP_END, NAMES, strlen(NAMES)));
	ck_assert(!names_len(&unseen, OP_END, "", 0));
}
END_TEST

static const char both[] = NAMES;

/*
 * Names in two PDUs, cut at every byte, with C and, against the rules, without
 * it: the PDU that completes them is the one that is found.
 */
START_TEST(test_names_every_cut)
{
	size_t len = strlen(both);

	for (size_t i = 0; i < len; i++) {
		again();
		ck_assert_msg(!names_len(&ours, OPER | C, both, i), "%zu", i);
		say_len(OPER | C, both, i);
		ck_assert_msg(names(OP_END, both + i), "%zu", i);

		again();
		/* Without C the text ends here, with its NUL or without. */
		ck_assert_msg(names_len(&ours, OPER, both, i) ==
		    (i == len - 1), "%zu", i);
		say_len(OPER, both, i);
		ck_assert_msg(names(OP_END, both + i), "%zu", i);
	}
}
END_TEST

/* One byte in each PDU. */
START_TEST(test_names_byte_by_byte)
{
	size_t len = strlen(both);

	for (uint8_t flags = OPER; flags <= (OPER | C); flags += C) {
		again();
		for (size_t i = 0; i < len - 2; i++) {
			ck_assert(!names_len(&ours, flags, both + i, 1));
			say_len(flags, both + i, 1);
		}
		ck_assert(names_len(&ours, flags, both + len - 2, 2));
	}
}
END_TEST

/* A longer name is never taken for ours, wherever it is cut with C. */
START_TEST(test_longer_name_every_cut)
{
	static const char text[] = "InitiatorName=" HOST "0\nTargetName=" DISK
	    "\n";

	for (size_t i = 0; i < sizeof(text); i++) {
		again();
		ck_assert(!names_len(&ours, OPER | C, text, i));
		say_len(OPER | C, text, i);
		ck_assert_msg(!names(OP_END, text + i), "%zu", i);
	}
}
END_TEST

/* Each name in an exchange of its own, after a failure, and after the end. */
START_TEST(test_names_far_apart)
{
	say(OPER, "InitiatorName=" HOST "\n");
	ck_assert_int_eq(hear(OPER, ""), LOGINWATCH_GOES_ON);
	say(OPER, "X-a=1\n");
	ck_assert(names(OPER, "TargetName=" DISK "\n"));
	make_bhs(ISCSI_OP_LOGIN_RSP, 0);
	bhs[ISCSI_OFF_LOGIN_STATUS] = 2;
	ck_assert_int_eq(loginwatch_response(lw, bhs, NULL, 0),
	    LOGINWATCH_FAILED);
	ck_assert(names(OPER, "TargetName=" DISK "\n"));
	ck_assert_int_eq(hear(OP_END, ""), LOGINWATCH_DONE);
	say(OPER, "TargetName=" DISK "\n");
	ck_assert(names(OPER, ""));
}
END_TEST

/* A text too long to be kept may have named anybody. */
START_TEST(test_names_overflow)
{
	const struct loginwatch_nexus other = { HOST, DISK, other_isid };

	say(OPER, long_line(LOGINWATCH_TEXT_MAX - 1));
	ck_assert(!names(OPER, ""));
	ck_assert(names(OPER, "x"));
	/* It was only asked about. */
	ck_assert(!names(OPER | C, ""));
	say(OPER, "x");
	ck_assert(names(OPER, ""));
	ck_assert(!names_len(&other, OPER, NAMES, strlen(NAMES)));
}
END_TEST

/*
 * Bytes that stand for the ends of PDUs, sent by the client in great number:
 * to look for names takes time in proportion to the text, not to its square.
 */
START_TEST(test_names_boundaries)
{
	static char text[LOGINWATCH_TEXT_MAX - 1024];
	clock_t begin;

	memset(text, '\1', sizeof(text));
	say_len(OPER | C, text, sizeof(text));
	begin = clock();
	ck_assert(!names(OPER | C, ""));
	ck_assert_int_lt(clock() - begin, CLOCKS_PER_SEC / 4);
	ck_assert(names(OP_END, "\n" NAMES));
	ck_assert(names(OP_END, "\1\1Initiator\1Name=" HOST "\1\n"
	    "TargetName=" DISK "\n"));
}
END_TEST

static void
add_naming(Suite *suite)
{
	TCase *tcase = add_case(suite, "naming");

	tcase_add_loop_test(tcase, test_names, 0, COUNT(named_rows));
	tcase_add_test(tcase, test_names_need_isid);
	tcase_add_test(tcase, test_many_isids);
	tcase_add_test(tcase, test_names_every_cut);
	tcase_add_test(tcase, test_names_byte_by_byte);
	tcase_add_test(tcase, test_longer_name_every_cut);
	tcase_add_test(tcase, test_names_far_apart);
	tcase_add_test(tcase, test_names_overflow);
	tcase_add_test(tcase, test_names_boundaries);
}

int
main(void)
{
	Suite *suite = suite_create("loginwatch_names");

	add_naming(suite);
	return unit_run(suite);
}
