/* SPDX-License-Identifier: ISC */
/*
 * Discovery sessions (daemon/discover.h) against a scripted target.
 */
#include "config.h"

#include "tests/unit/discover_fixture.h"

/* The whole of it, with an answer that is cut where no pair ends. */
START_TEST(test_whole)
{
	start_for(PATIENCE);
	take_connection();
	wire(ISCSI_OP_LOGIN_REQ);
	/* An ISID at random (RFC 7143 section 11.12.5). */
	ck_assert_uint_eq(fx.bhs[ISCSI_OFF_ISID], 0x80);
	ck_assert(asked("SessionType=Discovery"));
	ck_assert(asked("InitiatorName=iqn.2026-01.org.example:host"));
	ck_assert_ptr_null(memmem(fx.data, fx.len, "TargetName", 10));
	answer_login("TargetPortalGroupTag=1\nAuthMethod=None\n");
	wire(ISCSI_OP_LOGIN_REQ);
	ck_assert(asked("HeaderDigest=None"));
	ck_assert(asked("DataDigest=None"));
	answer_login("HeaderDigest=None\nDataDigest=None\n");

	wire(ISCSI_OP_TEXT_REQ);
	ck_assert_uint_eq(fx.bhs[ISCSI_OFF_FLAGS], FINAL);
	ck_assert_uint_eq(iscsi_ttt(fx.bhs), RSV);
	ck_assert_uint_eq(fx.len, sizeof("SendTargets=All"));
	ck_assert(asked("SendTargets=All"));
	answer_text(ISCSI_TEXT_CONTINUE, 0x1234, "TargetName=iqn.a\nTargetA");
	for (int i = 0; i < 2; i++) {
		uint32_t ttt = i == 0 ? 0x1234 : 0x5678;

		wire(ISCSI_OP_TEXT_REQ);
		ck_assert_uint_eq(fx.bhs[ISCSI_OFF_FLAGS], FINAL);
		ck_assert_uint_eq(iscsi_itt(fx.bhs), 1);
		ck_assert_uint_eq(iscsi_ttt(fx.bhs), ttt);
		ck_assert_uint_eq(iscsi_lun(fx.bhs),
		    UINT64_C(0x0102030405060708));
		ck_assert_uint_eq(fx.len, 0);
		ck_assert_uint_eq(get_be32(fx.bhs + ISCSI_OFF_EXPSTATSN),
		    fx.statsn);
		/* The second is whole, and yet not the last. */
		if (i == 0)
			answer_text(0, 0x5678, "ddress=192.0.2.1:860,1\n");
	}
	/* With F the TTT means nothing. */
	answer_text(FINAL, 0x9999, "TargetAddress=[2001:db8::1],2\n"
	    "TargetName=iqn.b\n");

	wire(ISCSI_OP_LOGOUT_REQ);
	ck_assert_uint_eq(fx.bhs[ISCSI_OFF_FLAGS], FINAL | 0);
	ck_assert_uint_eq(fx.told, 0);
	answer_logout(0);
	until_told();
	ck_assert_str_eq(fx.error, "");
	ck_assert_uint_eq(fx.count, 3);
	found(0, "iqn.a", "192.0.2.1:860", 1);
	found(1, "iqn.a", "[2001:db8::1]:3260", 2);
	/* Without an address: where it was found. */
	found(2, "iqn.b", fx.portal, -1);
	ck_assert(!read_pdu());
}
END_TEST

START_TEST(test_nothing_there)
{
	start_for(PATIENCE);
	log_in();
	answer_text(FINAL, RSV, "");
	wire(ISCSI_OP_LOGOUT_REQ);
	answer_logout(0);
	until_told();
	ck_assert_str_eq(fx.error, "");
	ck_assert_uint_eq(fx.count, 0);
}
END_TEST

/* No NOP-Out is ever sent, not even in answer (RFC 7143 section 7.4.3). */
START_TEST(test_pings_let_pass)
{
	start_for(PATIENCE);
	log_in();
	put_be32(header(ISCSI_OP_NOP_IN, FINAL, RSV) + ISCSI_OFF_TTT, 5);
	say(header(ISCSI_OP_NOP_IN, FINAL, RSV), "", 0);
	say(header(ISCSI_OP_ASYNC, FINAL, RSV), "", 0);
	fx.statsn++;
	answer_text(FINAL, RSV, "TargetName=iqn.a\nTargetAddress=h:1,1\n");
	wire(ISCSI_OP_LOGOUT_REQ);
	answer_logout(0);
	until_told();
	found(0, "iqn.a", "h:1", 1);
}
END_TEST

/* Keys that do not matter here are answered so by some targets. */
START_TEST(test_irrelevant)
{
	start_for(PATIENCE);
	take_connection();
	wire(ISCSI_OP_LOGIN_REQ);
	answer_login("AuthMethod=None\n");
	wire(ISCSI_OP_LOGIN_REQ);
	answer_login("HeaderDigest=Irrelevant\nDataDigest=Irrelevant\n"
	    "DefaultTime2Wait=Irrelevant\nDefaultTime2Retain=Irrelevant\n"
	    "MaxConnections=Irrelevant\nInitialR2T=Irrelevant\n"
	    "MaxBurstLength=Irrelevant\nErrorRecoveryLevel=Irrelevant\n");
	wire(ISCSI_OP_TEXT_REQ);
	answer_text(FINAL, RSV, "TargetName=iqn.a\nTargetAddress=h:1,1\n");
	wire(ISCSI_OP_LOGOUT_REQ);
	answer_logout(0);
	until_told();
	ck_assert_uint_eq(fx.count, 1);
}
END_TEST

/* A digest that nobody offered ends it, it is never switched on. */
START_TEST(test_digest_forced)
{
	start_for(PATIENCE);
	take_connection();
	wire(ISCSI_OP_LOGIN_REQ);
	answer_login("AuthMethod=None\n");
	wire(ISCSI_OP_LOGIN_REQ);
	answer_login("HeaderDigest=CRC32C\nDataDigest=None\n");
	failed("HeaderDigest=CRC32C");
}
END_TEST

/* A target that hangs up in place of the Logout Response did its work. */
START_TEST(test_no_logout_response)
{
	start_for(PATIENCE);
	log_in();
	answer_text(FINAL, RSV, "TargetName=iqn.a\nTargetAddress=h:1,1\n");
	wire(ISCSI_OP_LOGOUT_REQ);
	if (_i == 0) {
		close(fx.peer);
		fx.peer = -1;
	} else {
		answer_logout(1);
	}
	until_told();
	ck_assert_str_eq(fx.error, "");
	ck_assert_uint_eq(fx.count, 1);
}
END_TEST

/* --- what goes wrong */

static void
wrong_reject(void)
{
	uint8_t *bhs = header(ISCSI_OP_REJECT, FINAL, RSV);

	bhs[ISCSI_OFF_RESPONSE] = 0x04;
	say(bhs, (const char *)fx.bhs, ISCSI_BHS_LEN);
}

static void
wrong_itt(void)
{
	put_be32(fx.bhs + ISCSI_OFF_ITT, 77);
	answer_text(FINAL, RSV, "TargetName=iqn.a\n");
}

static void
wrong_bits(void)
{
	answer_text(FINAL | ISCSI_TEXT_CONTINUE, 5, "TargetName=iqn.a\n");
}

static void
wrong_ttt(void)
{
	answer_text(0, RSV, "TargetName=iqn.a\n");
}

static void
wrong_opcode(void)
{
	say(header(ISCSI_OP_TMF_RSP, FINAL, iscsi_itt(fx.bhs)), "", 0);
}

static void
wrong_logout(void)
{
	answer_logout(0);
}

static void
wrong_statsn(void)
{
	fx.statsn += 2;
	answer_text(FINAL, RSV, "TargetName=iqn.a\n");
}

static void
wrong_text(void)
{
	answer_text(FINAL, RSV, "TargetName=iqn.a\nTargetAddress=h:x\n");
}

static void
wrong_refused(void)
{
	answer_text(FINAL, RSV, "SendTargets=Reject\n");
}

static void
wrong_twice(void)
{
	answer_text(0, 5, "TargetName=iqn.a\n");
	answer_text(0, 6, "TargetAddress=h:1,1\n");
}

static void
wrong_length(void)
{
	static char data[40000];

	memset(data, 'x', sizeof(data) - 1);
	answer_text(0, 5, data);
}

static void
wrong_end(void)
{
	close(fx.peer);
	fx.peer = -1;
}

static const struct {
	void		(*answer)(void);
	const char	*words;
} wrongs[] = {
	{ wrong_reject, "rejected the Text Request: protocol error" },
	{ wrong_itt, "Initiator Task Tag 0x0000004d" },
	{ wrong_bits, "both F and C" },
	{ wrong_ttt, "reserved Target Transfer Tag" },
	{ wrong_opcode, "Task Management" },
	{ wrong_logout, "logged us out" },
	{ wrong_statsn, "StatSN" },
	{ wrong_text, "TargetAddress=h:x" },
	{ wrong_refused, "SendTargets=Reject" },
	{ wrong_twice, "not sent yet" },
	{ wrong_length, "DataSegmentLength" },
	{ wrong_end, "" },
};

START_TEST(test_wrong)
{
	start_for(PATIENCE);
	log_in();
	wrongs[_i].answer();
	failed(wrongs[_i].words);
	ck_assert_str_ne(fx.error, "");
}
END_TEST

/* An answer without an end is cut off at a bound. */
START_TEST(test_too_long)
{
	static char filler[32001];
	size_t sent = 0;

	memset(filler, 'x', 32000);
	start_for(PATIENCE);
	log_in();
	do {
		answer_text(ISCSI_TEXT_CONTINUE, 5, filler);
		sent += 32000;
		if (sent <= DISCOVER_TEXT_MAX)
			wire(ISCSI_OP_TEXT_REQ);
	} while (sent <= DISCOVER_TEXT_MAX);
	failed("longer than 1048576 bytes");
}
END_TEST

START_TEST(test_too_many)
{
	static char text[32001];
	size_t addresses = 0, n = 0;

	start_for(PATIENCE);
	log_in();
	strlcpy(text, "TargetName=iqn.a\n", sizeof(text));
	while (addresses <= DISCOVER_RECORDS_MAX) {
		while (n < 1000) {
			strlcat(text, "TargetAddress=h\n", sizeof(text));
			n++;
		}
		addresses += n;
		n = 0;
		answer_text(addresses > DISCOVER_RECORDS_MAX ? FINAL : 0, 5,
		    text);
		if (addresses <= DISCOVER_RECORDS_MAX)
			wire(ISCSI_OP_TEXT_REQ);
		text[0] = '\0';
	}
	failed("more than 8192 addresses");
}
END_TEST

/* --- time */

static const char *const waits[] = { "Login Response", "Text Response" };
/* The second has a login before it, which a busy machine may take long for. */
static const uint32_t deadlines[] = { 50, 1000 };

/* Silence ends at the deadline, which covers everything. */
START_TEST(test_deadline)
{
	start_for(deadlines[_i]);
	take_connection();
	if (_i > 0) {
		wire(ISCSI_OP_LOGIN_REQ);
		answer_login("AuthMethod=None\n");
		wire(ISCSI_OP_LOGIN_REQ);
		answer_login("");
	}
	failed(waits[_i]);
	ck_assert(strstr(fx.error, "timed out") != NULL);
}
END_TEST

/* A target that talks without end is not life enough. */
START_TEST(test_deadline_while_busy)
{
	start_for(100);
	log_in();
	while (fx.told == 0) {
		answer_text(0, 5, "");
		if (!read_pdu())
			break;
	}
	failed("timed out");
}
END_TEST

/* The deadline is that of the Logout, too; it spoils nothing any more. */
START_TEST(test_deadline_of_logout)
{
	uint64_t begin;

	start_for(1000);
	begin = loop_now(fx.w->loop);
	log_in();
	answer_text(FINAL, RSV, "TargetName=iqn.a\nTargetAddress=h:1,1\n");
	wire(ISCSI_OP_LOGOUT_REQ);
	until_told();
	ck_assert_str_eq(fx.error, "");
	ck_assert_uint_eq(fx.count, 1);
	ck_assert_uint_lt(loop_now(fx.w->loop), begin + DISCOVER_LOGOUT_MS);
}
END_TEST

/* --- authentication */

static struct config_chap chap;
static struct config_chap_rules rules;

/* Begin with CHAP, up to what it offers. */
static void
start_chap(bool listed)
{
	static char user[] = "seeker";
	struct discover_wanted wanted = { .host = "127.0.0.1",
	    .port = fx.port, .timeout_ms = PATIENCE, .chap = &chap,
	    .chap_rules = &rules };

	chap = (struct config_chap){ .user = user,
	    .secret = { 12, "twelve bytes" } };
	rules = (struct config_chap_rules){ 4, { 8, 7, 6, 5 },
	    .listed = listed, .allow_md5 = true, .required = true };
	fx.d = discover_start(fx.w, &wanted, &ops, &fx);
	ck_assert_ptr_nonnull(fx.d);
}

/* Answer a Login Request without the end of the stage. */
static void
answer_part(const char *lines)
{
	fx.bhs[ISCSI_OFF_FLAGS] = 0;
	answer_login(lines);
}

static void
until_offer(const char *offer)
{
	take_connection();
	wire(ISCSI_OP_LOGIN_REQ);
	ck_assert(asked("AuthMethod=CHAP"));
	answer_part("AuthMethod=CHAP\n");
	wire(ISCSI_OP_LOGIN_REQ);
	ck_assert_msg(asked(offer), "no %s", offer);
}

static void
refuse(void)
{
	uint8_t *bhs = header(ISCSI_OP_LOGIN_RSP, 0, iscsi_itt(fx.bhs));

	bhs[ISCSI_OFF_LOGIN_STATUS] = 2;
	bhs[ISCSI_OFF_LOGIN_STATUS + 1] = 1;
	say(bhs, "", 0);
}

/* MD5 alone is tried once, and only where no list is configured. */
START_TEST(test_md5_alone)
{
	bool listed = _i == 0;

	start_chap(listed);
	until_offer("CHAP_A=8,7,6,5");
	refuse();
	if (!listed) {
		until_offer("CHAP_A=5");
		refuse();
	}
	failed("0x0201");
	ck_assert_int_eq(accept(fx.listener, NULL, NULL), -1);
}
END_TEST

/* A challenge that a login of a session waits for is answered nowhere. */
START_TEST(test_reflected)
{
	struct chap_challenge c = { .outstanding = false };
	struct text_writer w;
	char lines[256];

	ck_assert_int_eq(chap_challenge_begin(fx.w->challenges, &c), 0);
	text_writer_init(&w, lines, sizeof(lines));
	text_put(&w, "CHAP_A", "7");
	text_put(&w, "CHAP_I", "1");
	text_put_binary(&w, "CHAP_C", c.bytes, sizeof(c.bytes));
	for (size_t i = 0; i < w.len; i++)
		if (lines[i] == '\0')
			lines[i] = '\n';
	lines[w.len] = '\0';
	start_chap(true);
	until_offer("CHAP_A=8,7,6,5");
	answer_part(lines);
	failed("our own challenges back");
	ck_assert(!read_pdu());
	chap_challenge_end(&c);
}
END_TEST

/* --- redirections */

/* Class 1: elsewhere, which is the same place again. */
static void
redirect(const char *address)
{
	uint8_t *bhs = header(ISCSI_OP_LOGIN_RSP, 0, iscsi_itt(fx.bhs));
	char text[300];

	bhs[ISCSI_OFF_LOGIN_STATUS] = 1;
	bhs[ISCSI_OFF_LOGIN_STATUS + 1] = 1;
	snprintf(text, sizeof(text), "TargetAddress=%s\n", address);
	say(bhs, text, strlen(text));
}

static void
redirect_home(void)
{
	char address[32];

	snprintf(address, sizeof(address), "127.0.0.1:%u", fx.port);
	redirect(address);
}

START_TEST(test_redirect)
{
	start_for(PATIENCE);
	take_connection();
	wire(ISCSI_OP_LOGIN_REQ);
	redirect_home();
	log_in();
	answer_text(FINAL, RSV, "TargetName=iqn.a\n");
	wire(ISCSI_OP_LOGOUT_REQ);
	answer_logout(0);
	until_told();
	ck_assert_uint_eq(fx.hops, 1);
	found(0, "iqn.a", fx.portal, -1);
}
END_TEST

START_TEST(test_redirect_loop)
{
	start_for(PATIENCE);
	for (unsigned i = 0; i <= DISCOVER_HOPS_MAX; i++) {
		take_connection();
		wire(ISCSI_OP_LOGIN_REQ);
		redirect_home();
	}
	failed("more than 8 redirections");
}
END_TEST

START_TEST(test_refused)
{
	start_for(PATIENCE);
	take_connection();
	wire(ISCSI_OP_LOGIN_REQ);
	refuse();
	failed("0x0201");
}
END_TEST

/* --- beginning and end */

START_TEST(test_nobody_there)
{
	close(fx.listener);
	fx.listener = socket(AF_INET, SOCK_STREAM, 0);
	start_for(PATIENCE);
	failed("refused");
}
END_TEST

START_TEST(test_no_name)
{
	struct discover_wanted wanted = { .host = "127.0.0.1", .port = 1,
	    .timeout_ms = 1000 };

	fx.config.initiator_name = NULL;
	ck_assert_ptr_null(discover_start(fx.w, &wanted, &ops, &fx));
	ck_assert_int_eq(errno, EDESTADDRREQ);
}
END_TEST

/* Cancelled at any point it closes the connection and tells nobody. */
START_TEST(test_cancel)
{
	start_for(PATIENCE);
	if (_i > 0)
		take_connection();
	if (_i > 1)
		wire(ISCSI_OP_LOGIN_REQ);
	if (_i > 2) {
		answer_login("AuthMethod=None\n");
		wire(ISCSI_OP_LOGIN_REQ);
		answer_login("");
		wire(ISCSI_OP_TEXT_REQ);
	}
	if (_i > 3) {
		answer_text(FINAL, RSV, "TargetName=iqn.a\n");
		wire(ISCSI_OP_LOGOUT_REQ);
	}
	discover_cancel(fx.d);
	fx.d = NULL;
	if (_i > 0)
		ck_assert(!read_pdu() || !read_pdu());
	turn();
	ck_assert_uint_eq(fx.told, 0);
}
END_TEST

#define COUNT(a) ((int)(sizeof(a) / sizeof((a)[0])))

int
main(void)
{
	Suite *suite = suite_create("discover");
	TCase *tc = tcase_create("core");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, test_whole);
	tcase_add_test(tc, test_nothing_there);
	tcase_add_test(tc, test_pings_let_pass);
	tcase_add_test(tc, test_irrelevant);
	tcase_add_test(tc, test_digest_forced);
	tcase_add_loop_test(tc, test_no_logout_response, 0, 2);
	tcase_add_loop_test(tc, test_wrong, 0, COUNT(wrongs));
	tcase_add_test(tc, test_too_long);
	tcase_add_test(tc, test_too_many);
	tcase_add_loop_test(tc, test_deadline, 0, 2);
	tcase_add_test(tc, test_deadline_while_busy);
	tcase_add_test(tc, test_deadline_of_logout);
	tcase_add_loop_test(tc, test_md5_alone, 0, 2);
	tcase_add_test(tc, test_reflected);
	tcase_add_test(tc, test_redirect);
	tcase_add_test(tc, test_redirect_loop);
	tcase_add_test(tc, test_refused);
	tcase_add_test(tc, test_nobody_there);
	tcase_add_test(tc, test_no_name);
	tcase_add_loop_test(tc, test_cancel, 0, 5);
	suite_add_tcase(suite, tc);
	return unit_run(suite);
}
