/* SPDX-License-Identifier: ISC */
/*
 * CHAP within the login phase (daemon/login.h), against a scripted target
 * that knows both secrets.
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/chap.h"
#include "daemon/login_priv.h"
#include "proto/text.h"
#include "tests/unit/login_script.h"
#include "tests/unit/unit.h"

/* The known answer of id 7, this secret and this challenge. */
#define SECRET		"secretsecret12"
#define CHALLENGE	"000102030405060708090a0b0c0d0e0f"
#define SHA3_ANSWER	"472595c8fc50e25270bf354715bc521b" \
			"f1653c7e321a62bbb0ffeb5588d61df9"
#define SHA256_ANSWER	"a0a042f9422600a942224f51b622b57b" \
			"4212324375e7726dcff1d877044e09cd"
#define SHA1_ANSWER	"bfafd5f1ddf08efeacfa0eddf119e8701b74a930"
#define MD5_ANSWER	"d2ad9b553183668fa064205c85779b04"
#define ASK(a)		"CHAP_A=" a "\nCHAP_I=7\nCHAP_C=0x" CHALLENGE "\n"

#define PEER_SECRET	"the target's own"

static struct config_chap chap;
static struct config_chap_rules rules;
static char user[] = "host1";
static char peer_user[] = "disk1";

static void
set_secret(struct secret *secret, const char *text)
{
	secret->len = strlen(text);
	memcpy(secret->bytes, text, secret->len);
}

static void
setup_chap(void)
{
	setup();
	chap = (struct config_chap){ .user = user };
	set_secret(&chap.secret, SECRET);
	rules = (struct config_chap_rules){ 4, { 8, 7, 6, 5 },
	    .allow_md5 = true, .required = true };
	wanted.chap = &chap;
	wanted.chap_rules = &rules;
	wanted.challenges = chap_challenges_new();
}

static void
teardown_chap(void)
{
	teardown();
	chap_challenges_free(wanted.challenges);
}

/* Up to the request with CHAP_A, which is checked. */
static void
begin_chap(const char *list)
{
	char line[32];

	begin();
	ask();
	ck_assert_uint_eq(req[1], SEC_END);
	ck_assert_uint_eq(said_lines("AuthMethod=CHAP\n"), 1);
	ck_assert_uint_eq(said_lines("CHAP_"), 0);
	ck_assert_int_eq(answer(SEC, "TargetPortalGroupTag=1\n"
	    "AuthMethod=CHAP\n"), LOGIN_SEND);
	said[0] = '\0';
	ask();
	ck_assert_uint_eq(req[1], SEC);
	snprintf(line, sizeof(line), "CHAP_A=%s\n", list);
	ck_assert_str_eq(said, line);
}

/* One way with each algorithm: literal requests. */
START_TEST(one_way)
{
	static const struct {
		const char *ask;
		const char *answer;
	} rows[] = {
		{ ASK("8"), SHA3_ANSWER }, { ASK("7"), SHA256_ANSWER },
		{ ASK("6"), SHA1_ANSWER }, { ASK("5"), MD5_ANSWER },
		/* Other ways to write the same. */
		{ "CHAP_C=0bAAECAwQFBgcICQoLDA0ODw==\nCHAP_I=0x7\n"
		    "CHAP_A=0x05\n", MD5_ANSWER },
	};
	char line[160];

	begin_chap("8,7,6,5");
	ck_assert_int_eq(answer(SEC, rows[_i].ask), LOGIN_SEND);
	said[0] = '\0';
	ask();
	ck_assert_uint_eq(req[1], SEC_END);
	snprintf(line, sizeof(line), "CHAP_N=host1\nCHAP_R=0x%s\n",
	    rows[_i].answer);
	ck_assert_str_eq(said, line);
	ck_assert_int_eq(answer(SEC_END, ""), LOGIN_SEND);
	ask();
	ck_assert_uint_eq(req[1], OP_END);
	ck_assert_int_eq(answer(OP_END, good_but(NULL)), LOGIN_DONE);
}
END_TEST

/* A target may take its time: empty responses, T only at the end. */
START_TEST(slow_target)
{
	begin_chap("8,7,6,5");
	ck_assert_int_eq(answer(SEC, ""), LOGIN_SEND);
	ask();
	ck_assert_uint_eq(req[1], SEC);
	ck_assert_uint_eq(req_len, 0);
	ck_assert_int_eq(answer(SEC, ASK("8")), LOGIN_SEND);
	ask();
	ck_assert_int_eq(answer(SEC, ""), LOGIN_SEND);
	ask();
	ck_assert_uint_eq(req[1], SEC_END);
	ck_assert_uint_eq(req_len, 0);
	ck_assert_int_eq(answer(SEC_END, ""), LOGIN_SEND);
	ask();
	ck_assert_int_eq(answer(OP_END, good_but(NULL)), LOGIN_DONE);
}
END_TEST

/* What a target may not send instead of a challenge. */
START_TEST(bad_challenges)
{
	static const struct {
		const char *text;
		const char *words;
	} rows[] = {
		{ "CHAP_A=4\nCHAP_I=7\nCHAP_C=0x00\n", "target chose CHAP_A=4"
		    ", but we offered only 8,7,6,5" },
		{ "CHAP_A=0\nCHAP_I=7\nCHAP_C=0x00\n", "chose CHAP_A=0" },
		{ "CHAP_A=256\nCHAP_I=7\nCHAP_C=0x00\n", "chose CHAP_A=256" },
		{ "CHAP_A=261\nCHAP_I=7\nCHAP_C=0x00\n", "chose CHAP_A=261" },
		{ "CHAP_A=8,7\nCHAP_I=7\nCHAP_C=0x00\n", "chose CHAP_A=8,7" },
		{ "CHAP_A=Reject\n", "target rejected CHAP_A=8,7,6,5" },
		{ "CHAP_A=5\nCHAP_C=0x00\n", "did not send CHAP_I" },
		{ "CHAP_A=5\nCHAP_I=7\n", "did not send CHAP_C" },
		{ "CHAP_A=5\nCHAP_I=256\nCHAP_C=0x00\n", "target sent "
		    "CHAP_I=256, which is no number from 0 to 255" },
		{ "CHAP_A=5\nCHAP_I=-1\nCHAP_C=0x00\n", "CHAP_I=-1" },
		{ "CHAP_A=5\nCHAP_I=\nCHAP_C=0x00\n", "CHAP_I=, which" },
		{ "CHAP_A=5\nCHAP_I=7\nCHAP_C=0x\n", "a CHAP_C that is no" },
		{ "CHAP_A=5\nCHAP_I=7\nCHAP_C=00\n", "a CHAP_C that is no" },
		{ "CHAP_A=5\nCHAP_I=7\nCHAP_C=0xg0\n", "CHAP_C that is no" },
		{ "CHAP_A=5\nCHAP_I=7\nCHAP_C=0b*\n", "CHAP_C that is no" },
		{ "CHAP_A=5\nCHAP_I=7\nCHAP_C=0x00\nCHAP_N=x\n",
		    "target sent CHAP_N, which is not due" },
		{ "CHAP_A=5\nCHAP_I=7\nCHAP_C=0x00\nCHAP_R=0x1\n",
		    "target sent CHAP_R, which is not due" },
		{ "CHAP_A=5\nCHAP_A=5\nCHAP_I=7\nCHAP_C=0x00\n",
		    "target sent CHAP_A twice" },
	};
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		begin_chap("8,7,6,5");
		assert_failed(answer(SEC, rows[i].text), rows[i].words,
		    rows[i].text);
	}
	/* The first text is too early for any of them. */
	begin();
	ask();
	assert_failed(answer(SEC, "AuthMethod=CHAP\n" ASK("5")),
	    "target sent CHAP_A, which is not due", "early");
	/* And after the end it is too late. */
	begin_chap("8,7,6,5");
	ck_assert_int_eq(answer(SEC, ASK("8")), LOGIN_SEND);
	ask();
	ck_assert_int_eq(answer(SEC_END, ""), LOGIN_SEND);
	ask();
	assert_failed(answer(OPER, ASK("8")), "target sent CHAP_A, which is "
	    "not due", "late");
}
END_TEST

/* A challenge of 1 to 1024 bytes, which are 2 KiB of digits; id 0 to 255. */
START_TEST(challenge_lengths)
{
	static char text[4096];
	static const struct {
		size_t digits;
		bool good;
	} rows[] = {
		{ 1, true }, { 2, true }, { 2047, true }, { 2048, true },
		{ 2049, false }, { 2050, false },
	};
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		snprintf(text, sizeof(text), "CHAP_A=5\nCHAP_I=%d\nCHAP_C="
		    "0x%0*d\n", i % 2 ? 255 : 0, (int)rows[i].digits, 1);
		begin_chap("8,7,6,5");
		if (rows[i].good)
			ck_assert_int_eq(answer(SEC, text), LOGIN_SEND);
		else
			assert_failed(answer(SEC, text), "no binary value of "
			    "1 to 1024 bytes", "length");
	}
}
END_TEST

/* The target must not leave the stage before we are through. */
START_TEST(early_end)
{
	begin();
	ask();
	assert_failed(answer(SEC_END, "AuthMethod=CHAP\n"), "target ended the "
	    "security stage without AuthMethod=CHAP", "method");
	begin();
	ask();
	assert_failed(answer(SEC_END, ""), "without AuthMethod=CHAP",
	    "silence");
	begin_chap("8,7,6,5");
	assert_failed(answer(SEC_END, ASK("8")), "target left the stage "
	    "without being asked", "challenge");
	begin();
	ask();
	assert_failed(answer(SEC_END, "AuthMethod=None\n"), "target chose "
	    "AuthMethod=None, but we offered only CHAP", "None");
	begin();
	ask();
	assert_failed(answer(SEC_END, "AuthMethod=Reject\n"), "target "
	    "rejected AuthMethod=CHAP: it does not do CHAP", "Reject");
}
END_TEST

/* Where CHAP is not required, None comes first in the list. */
START_TEST(optional)
{
	rules.required = false;
	begin();
	ask();
	ck_assert_uint_eq(said_lines("AuthMethod=None,CHAP\n"), 1);
	ck_assert_int_eq(answer(SEC_END, SEC_GOOD), LOGIN_SEND);
	ask();
	ck_assert_int_eq(answer(OP_END, good_but(NULL)), LOGIN_DONE);
	begin();
	ask();
	ck_assert_int_eq(answer(SEC_END, ""), LOGIN_SEND);
	begin();
	ask();
	assert_failed(answer(SEC_END, "AuthMethod=CHAP\n"), "without "
	    "AuthMethod=None,CHAP", "CHAP");
	begin();
	ask();
	ck_assert_int_eq(answer(SEC, "AuthMethod=CHAP\n"), LOGIN_SEND);
	ask();
	ck_assert_uint_eq(said_lines("CHAP_A=8,7,6,5\n"), 1);
	/* If the target has to prove itself, None will not do. */
	set_secret(&chap.peer_secret, PEER_SECRET);
	begin();
	ask();
	ck_assert_uint_eq(said_lines("AuthMethod=CHAP\n"), 1);
}
END_TEST

/* AuthMethod belongs to the security stage: after that nobody asks us. */
START_TEST(late_method)
{
	static const char *const first[] = { "", "AuthMethod=Irrelevant\n" };

	rules.required = false;
	for (size_t i = 0; i < sizeof(first) / sizeof(first[0]); i++) {
		begin();
		ask();
		ck_assert_int_eq(answer(SEC_END, first[i]), LOGIN_SEND);
		ask();
		assert_failed(answer(OPER, "AuthMethod=CHAP\n"), "negotiated "
		    "AuthMethod twice", first[i]);
	}
}
END_TEST

/* What is offered, and whether MD5 alone is worth another login. */
START_TEST(md5_alone)
{
	begin();
	ask();
	ck_assert(!login_wants_md5(login));
	begin_chap("8,7,6,5");
	ck_assert(login_wants_md5(login));
	assert_failed(answer(SEC, "CHAP_A=Reject\n"), "rejected", "Reject");
	ck_assert(login_wants_md5(login));
	begin_chap("8,7,6,5");
	ck_assert_int_eq(answer(SEC, ASK("7")), LOGIN_SEND);
	ask();
	make_rsp(SEC);
	put_be16(rsp + ISCSI_OFF_LOGIN_STATUS, 0x0201);
	ck_assert_int_eq(deliver(""), LOGIN_FAILED);
	ck_assert(login_wants_md5(login));
	/* It was MD5 already. */
	begin_chap("8,7,6,5");
	ck_assert_int_eq(answer(SEC, ASK("5")), LOGIN_SEND);
	ck_assert(!login_wants_md5(login));
	/* Authentication is over. */
	begin_chap("8,7,6,5");
	ck_assert_int_eq(answer(SEC, ASK("8")), LOGIN_SEND);
	ask();
	ck_assert_int_eq(answer(SEC_END, ""), LOGIN_SEND);
	ck_assert(!login_wants_md5(login));
	/* That is the other login. */
	wanted.md5_only = true;
	begin_chap("5");
	assert_failed(answer(SEC, ASK("8")), "but we offered only 5", "8");
	ck_assert(!login_wants_md5(login));
	ck_assert(login_failed_in_chap(login));
	wanted.md5_only = false;
	rules.listed = true;
	begin_chap("8,7,6,5");
	ck_assert(!login_wants_md5(login));
	rules = (struct config_chap_rules){ 3, { 8, 7, 6 },
	    .required = true };
	begin_chap("8,7,6");
	ck_assert(!login_wants_md5(login));
}
END_TEST

/* Failures that another algorithm cannot mend. */
START_TEST(md5_no_help)
{
	static const uint16_t status[] = { 0x0101, 0x0102, 0x0300, 0x0301,
	    0x0302 };

	for (size_t i = 0; i < sizeof(status) / sizeof(status[0]); i++) {
		begin_chap("8,7,6,5");
		make_rsp(SEC);
		put_be16(rsp + ISCSI_OFF_LOGIN_STATUS, status[i]);
		ck_assert_int_eq(deliver("TargetAddress=192.0.2.1\n"),
		    LOGIN_FAILED);
		ck_assert_msg(!login_failed_in_chap(login) &&
		    !login_wants_md5(login), "status 0x%04x", status[i]);
	}
	/* The target let us off. */
	rules.required = false;
	begin();
	ask();
	ck_assert_int_eq(answer(SEC, "AuthMethod=None\n"), LOGIN_SEND);
	ck_assert(!login_wants_md5(login));
}
END_TEST

/* What follows `key` in what the initiator said last. */
static const char *
said_value(const char *key, char *out, size_t size)
{
	const char *p = strstr(said, key);
	size_t len;

	ck_assert_ptr_nonnull(p);
	p += strlen(key);
	len = strcspn(p, "\n");
	ck_assert_uint_lt(len, size);
	memcpy(out, p, len);
	out[len] = '\0';
	return out;
}

/* The initiator's challenge, as it was said. */
static size_t
said_challenge(uint8_t *id, uint8_t *bytes, size_t size)
{
	char text[256];
	struct text_pair pair = { "", 0, text, 0 };
	size_t len;

	*id = (uint8_t)atoi(said_value("CHAP_I=", text, sizeof(text)));
	said_value("CHAP_C=", text, sizeof(text));
	pair.value_len = strlen(text);
	ck_assert_int_eq(text_binary(&pair, bytes, size, &len), 0);
	return len;
}

/* The answer of somebody with `secret` to what the initiator asked. */
static const char *
peer_answer(const char *name, const char *secret, size_t cut)
{
	static char text[512];
	struct secret s;
	uint8_t id, bytes[64], hash[CHAP_HASH_MAX];
	size_t len = said_challenge(&id, bytes, sizeof(bytes));
	struct text_writer w;

	ck_assert_uint_gt(len, 16);
	set_secret(&s, secret);
	ck_assert_int_eq(chap_response(CHAP_SHA256, id, &s, bytes, len,
	    hash), 0);
	text_writer_init(&w, text, sizeof(text));
	text_put(&w, "CHAP_N", name);
	text_put_binary(&w, "CHAP_R", hash, 32 - cut);
	for (size_t i = 0; i < w.len; i++)
		if (text[i] == '\0')
			text[i] = '\n';
	text[w.len] = '\0';
	return text;
}

/* Up to the request with our own challenge. */
static void
begin_mutual(void)
{
	set_secret(&chap.peer_secret, PEER_SECRET);
	begin_chap("8,7,6,5");
	ck_assert_int_eq(answer(SEC, ASK("7")), LOGIN_SEND);
	said[0] = '\0';
	ask();
	ck_assert_uint_eq(req[1], SEC_END);
	ck_assert_uint_eq(said_lines("CHAP_N=host1\n"), 1);
	ck_assert_uint_eq(said_lines("CHAP_R=0x" SHA256_ANSWER "\n"), 1);
	ck_assert_uint_eq(said_lines(""), 4);
}

START_TEST(mutual)
{
	begin_mutual();
	ck_assert_int_eq(answer(SEC_END, peer_answer("any", PEER_SECRET, 0)),
	    LOGIN_SEND);
	ask();
	ck_assert_uint_eq(req[1], OP_END);
	ck_assert_int_eq(answer(OP_END, good_but(NULL)), LOGIN_DONE);
	/* Without T it is the same, one exchange later. */
	chap.peer_user = peer_user;
	begin_mutual();
	ck_assert_int_eq(answer(SEC, peer_answer(peer_user, PEER_SECRET, 0)),
	    LOGIN_SEND);
	ask();
	ck_assert_uint_eq(req[1], SEC_END);
	ck_assert_int_eq(answer(SEC_END, ""), LOGIN_SEND);
}
END_TEST

START_TEST(bad_peers)
{
	const char *text;

	begin_mutual();
	assert_failed(answer(SEC_END, ""), "did not send CHAP_N", "nothing");
	begin_mutual();
	assert_failed(answer(SEC_END, "CHAP_N=disk1\n"), "did not send CHAP_R",
	    "no response");
	begin_mutual();
	text = strchr(peer_answer("any", PEER_SECRET, 0), '\n') + 1;
	assert_failed(answer(SEC_END, text), "did not send CHAP_N", "no name");
	begin_mutual();
	assert_failed(answer(SEC_END, peer_answer("any", "a wrong secret",
	    0)), "target could not authenticate itself: its CHAP_R is wrong",
	    "wrong");
	ck_assert(login_wants_md5(login));
	begin_mutual();
	assert_failed(answer(SEC_END, peer_answer("any", SECRET, 0)),
	    "target authenticates itself with our own secret", "own");
	ck_assert(!login_wants_md5(login));
	ck_assert(login_failed_in_chap(login));
	begin_mutual();
	assert_failed(answer(SEC_END, peer_answer("any", PEER_SECRET, 1)),
	    "target sent a CHAP_R of 31 bytes, not the 32 of SHA256", "short");
	begin_mutual();
	assert_failed(answer(SEC_END, "CHAP_N=disk1\nCHAP_R=5\n"),
	    "a CHAP_R that is no binary value", "no value");
	begin_mutual();
	assert_failed(answer(SEC_END, "CHAP_N=disk1\nCHAP_R=0x0\nCHAP_I=1\n"),
	    "target sent CHAP_I, which is not due", "more");
	chap.peer_user = peer_user;
	begin_mutual();
	assert_failed(answer(SEC_END, peer_answer("disk2", PEER_SECRET, 0)),
	    "target calls itself disk2 by CHAP, but disk1 is configured",
	    "name");
}
END_TEST

/* Ours is new each time, and comes back to us on no connection. */
START_TEST(reflection)
{
	struct login *first;
	char challenge[128], other[128], text[256];

	begin_mutual();
	said_value("CHAP_C=", challenge, sizeof(challenge));
	first = login;
	login = NULL;
	begin_chap("8,7,6,5");
	snprintf(text, sizeof(text), "CHAP_A=7\nCHAP_I=1\nCHAP_C=%s\n",
	    challenge);
	assert_failed(answer(SEC, text), "target sent one of our own "
	    "challenges back", "reflected");
	ck_assert(!login_wants_md5(login));
	ck_assert(login_failed_in_chap(login));
	/* The other login has ended: it helps nobody any more. */
	login_free(first);
	begin_chap("8,7,6,5");
	ck_assert_int_eq(answer(SEC, text), LOGIN_SEND);
	said[0] = '\0';
	ask();
	said_value("CHAP_C=", other, sizeof(other));
	ck_assert_str_ne(challenge, other);
}
END_TEST

/* No secret stays in memory when a login has ended. */
START_TEST(wiped)
{
	static const struct secret none;
	struct login_auth auth;
	char methods[LOGIN_LIST_MAX];

	set_secret(&chap.peer_secret, PEER_SECRET);
	login_auth_init(&auth, &wanted, methods);
	ck_assert(secret_equal(&auth.secret, &chap.secret));
	ck_assert(secret_equal(&auth.peer_secret, &chap.peer_secret));
	login_auth_free(&auth);
	ck_assert_mem_eq(&auth.secret, &none, sizeof(none));
	ck_assert_mem_eq(&auth.peer_secret, &none, sizeof(none));
}
END_TEST

/* 20 KB in the security stage, each way. */
START_TEST(long_text)
{
	static char text[20480];
	static char name[20000];
	size_t len;

	memset(name, 'n', sizeof(name) - 1);
	wanted.initiator_alias = name;
	begin();
	ask();
	ck_assert_uint_eq(req[1], C | SEC);
	ck_assert_int_eq(answer(SEC, ""), LOGIN_SEND);
	ask();
	ck_assert_int_eq(answer(SEC, ""), LOGIN_SEND);
	ask();
	ck_assert_uint_eq(req[1], SEC_END);
	ck_assert_int_eq(answer(SEC, "AuthMethod=CHAP\n"), LOGIN_SEND);
	ask();
	len = (size_t)snprintf(text, sizeof(text), "%s", ASK("8"));
	for (unsigned i = 0; i < 5; i++)
		len += (size_t)snprintf(text + len, sizeof(text) - len,
		    "X-org.example.%u=%04000d\n", i, 0);
	for (size_t at = 0; at < len; at += 8000) {
		size_t n = len - at < 8000 ? len - at : 8000;

		make_rsp(at + n < len ? C | SEC : SEC);
		ck_assert_int_eq(deliver_len(text + at, n), LOGIN_SEND);
		ask();
	}
	ck_assert_uint_eq(said_lines("CHAP_R=0x" SHA3_ANSWER "\n"), 1);
	ck_assert_uint_eq(said_lines("X-org.example."), 5);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("login_chap");
	TCase *tcase = tcase_create("login_chap");

	tcase_add_checked_fixture(tcase, setup_chap, teardown_chap);
	tcase_add_loop_test(tcase, one_way, 0, 5);
	tcase_add_test(tcase, slow_target);
	tcase_add_test(tcase, bad_challenges);
	tcase_add_test(tcase, challenge_lengths);
	tcase_add_test(tcase, early_end);
	tcase_add_test(tcase, optional);
	tcase_add_test(tcase, late_method);
	tcase_add_test(tcase, md5_alone);
	tcase_add_test(tcase, md5_no_help);
	tcase_add_test(tcase, mutual);
	tcase_add_test(tcase, bad_peers);
	tcase_add_test(tcase, reflection);
	tcase_add_test(tcase, wiped);
	tcase_add_test(tcase, long_text);
	suite_add_tcase(suite, tcase);
	return unit_run(suite);
}
