/* SPDX-License-Identifier: ISC */
/*
 * libiscsimux against a played daemon: the connection's life, attaching,
 * events, PING, LIST, quotas, names.
 */
#include "config.h"

#include <sys/socket.h>

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/fakedaemon.h"
#include "tests/unit/unit.h"

static struct fake f;
static const uint8_t test_unit_ready[6];

static int
execute(struct fake_end *e, uint64_t *id)
{
	const struct iscsimux_scsi s = {
		.lun = { 0, 1 },
		.cdb = test_unit_ready,
		.cdb_len = sizeof(test_unit_ready),
	};

	return iscsimux_execute(f.h, &s, fake_done, e, id);
}

START_TEST(test_hello)
{
	struct msg_hello m;

	fake_open(&f);
	ck_assert_int_eq(iscsimux_events(f.h), POLLIN | POLLOUT);
	ck_assert_int_eq(iscsimux_set_name(f.h, "tester"), 0);
	fake_want(&f, FRAME_HELLO);
	ck_assert_int_eq(msg_hello_decode(f.frame.payload, f.frame.h.len, &m),
	    0);
	ck_assert_str_eq(m.name, "tester");
	ck_assert_uint_eq(m.version_min, 1);
	ck_assert_uint_eq(m.version_max, 1);
	ck_assert_str_eq(iscsimux_daemon(f.h), "");
	fake_welcome(&f);
	ck_assert_str_eq(iscsimux_daemon(f.h), "fake 1.0");
	ck_assert_int_eq(iscsimux_events(f.h), POLLIN);
	fake_close(&f);
}
END_TEST

START_TEST(test_attach_fields)
{
	struct iscsimux_attach o = {
		.session = "disk",
		.access = ISCSIMUX_ACCESS_READ,
		.exclusive = true,
		.deadline_ms = 1500,
		.events = 1 << ISCSIMUX_EVENT_ASYNC,
	};
	struct msg_attach m;

	fake_open(&f);
	ck_assert_ptr_null(iscsimux_session(f.h));
	ck_assert_int_eq(iscsimux_attach(f.h, &o), 0);
	ck_assert_int_eq(iscsimux_attach(f.h, &o), -EALREADY);
	fake_want(&f, FRAME_HELLO);
	ck_assert(!fake_next(&f));	/* nothing more before WELCOME */
	fake_welcome(&f);
	fake_want(&f, FRAME_ATTACH);
	ck_assert_int_eq(msg_attach_decode(f.frame.payload, f.frame.h.len,
	    &m), 0);
	ck_assert_str_eq(m.session, "disk");
	ck_assert_uint_eq(m.access, MSG_ACCESS_READ);
	ck_assert_uint_eq(m.flags, MSG_ATTACH_EXCLUSIVE);
	ck_assert_uint_eq(m.deadline, 1500);
	ck_assert_uint_eq(m.events, 0x0f);	/* up, down, parameters too */
	ck_assert_int_eq(iscsimux_attach(f.h, &o), -EALREADY);
	fake_attached(&f, &(struct msg_params){ .generation = 7,
	    .flags = MSG_PARAM_INITIAL_R2T | MSG_PARAM_DATA_DIGEST,
	    .send_dsl = 1, .recv_dsl = 2, .max_burst = 3, .first_burst = 4,
	    .max_r2t = 5 }, 9);
	ck_assert_uint_eq(f.news.attached, 1);
	ck_assert_uint_eq(f.news.session.generation, 7);
	ck_assert(f.news.session.initial_r2t);
	ck_assert(!f.news.session.immediate_data);
	ck_assert(f.news.session.data_digest);
	ck_assert(!f.news.session.header_digest);
	ck_assert_uint_eq(f.news.session.send_dsl, 1);
	ck_assert_uint_eq(f.news.session.recv_dsl, 2);
	ck_assert_uint_eq(f.news.session.max_burst, 3);
	ck_assert_uint_eq(f.news.session.first_burst, 4);
	ck_assert_uint_eq(f.news.session.max_r2t, 5);
	ck_assert_uint_eq(f.news.session.tasks_max, 9);
	ck_assert_int_eq(f.news.session.state, ISCSIMUX_SESSION_UP);
	ck_assert_int_eq(iscsimux_attach(f.h, &o), -EISCONN);
	fake_close(&f);
}
END_TEST

START_TEST(test_attach_refused)
{
	const struct iscsimux_attach o = { .session = "gone" };
	struct fake_end e = { 0 };

	fake_open(&f);
	ck_assert_int_eq(execute(&e, NULL), -ENOTCONN);
	ck_assert_int_eq(iscsimux_attach(f.h, &o), 0);
	fake_want(&f, FRAME_HELLO);
	fake_welcome(&f);
	fake_want(&f, FRAME_ATTACH);
	fake_error(&f, f.frame.h.cookie, MSG_R_NO_SUCH_SESSION, FRAME_ATTACH,
	    "no session \"gone\"");
	ck_assert_uint_eq(f.news.attached, 1);
	ck_assert_int_eq(f.news.attach_error, -ENOENT);
	ck_assert_str_eq(iscsimux_error_text(f.h), "no session \"gone\"");
	ck_assert_int_eq(iscsimux_error_reason(f.h),
	    ISCSIMUX_R_NO_SUCH_SESSION);
	ck_assert_int_eq(execute(&e, NULL), -ENOTCONN);
	/* The connection is as good as before. */
	ck_assert_int_eq(iscsimux_attach(f.h, &o), 0);
	fake_want(&f, FRAME_ATTACH);
	fake_attached(&f, &(struct msg_params){ 0 }, 1);
	ck_assert_int_eq(f.news.attach_error, 0);
	ck_assert_int_eq(execute(&e, NULL), 0);
	fake_close(&f);
	ck_assert_uint_eq(e.count, 1);
}
END_TEST

START_TEST(test_attach_bad_options)
{
	char longname[ISCSIMUX_TARGET_MAX + 2];

	fake_open(&f);
	memset(longname, 'a', sizeof(longname) - 1);
	longname[sizeof(longname) - 1] = '\0';
	ck_assert_int_eq(iscsimux_attach(f.h,
	    &(struct iscsimux_attach){ .session = NULL }), -EINVAL);
	ck_assert_int_eq(iscsimux_attach(f.h,
	    &(struct iscsimux_attach){ .session = "" }), -EINVAL);
	ck_assert_int_eq(iscsimux_attach(f.h,
	    &(struct iscsimux_attach){ .session = longname }), -EINVAL);
	ck_assert_int_eq(iscsimux_attach(f.h, &(struct iscsimux_attach){
	    .session = "a", .access = 0x20 }), -EINVAL);
	longname[ISCSIMUX_NAME_MAX + 1] = '\0';
	ck_assert_int_eq(iscsimux_set_name(f.h, longname), -EINVAL);
	ck_assert_int_eq(iscsimux_set_name(f.h, "a\nb"), -EINVAL);
	fake_close(&f);
}
END_TEST

static void
send_event(uint8_t kind, const struct msg_params *params, const char *text)
{
	struct msg_event m = { .kind = kind, .count = 3, .code = 0x2900,
	    .lun = UINT64_C(0x0001000000000000) };
	uint8_t buf[512];
	int n;

	if (params != NULL)
		m.params = *params;
	strlcpy(m.text, text, sizeof(m.text));
	n = msg_event_encode(&m, buf, sizeof(buf));
	ck_assert_int_gt(n, 0);
	fake_frame(&f, FRAME_EVENT, 0, 0, buf, (size_t)n);
}

START_TEST(test_events)
{
	struct msg_params p = fake_params();

	fake_attach(&f, &p);
	send_event(MSG_EVENT_UNIT_ATTENTION, NULL, "power on");
	ck_assert_uint_eq(f.news.events, 1);
	ck_assert_int_eq(f.news.event.kind, ISCSIMUX_EVENT_UNIT_ATTENTION);
	ck_assert_uint_eq(f.news.event.count, 3);
	ck_assert_uint_eq(f.news.event.code, 0x2900);
	ck_assert_uint_eq(f.news.event.lun[1], 1);
	ck_assert_str_eq(f.news.text, "power on");
	send_event(MSG_EVENT_SESSION_DOWN, NULL, "connection reset");
	ck_assert_int_eq(iscsimux_session(f.h)->state, ISCSIMUX_SESSION_DOWN);
	ck_assert_uint_eq(iscsimux_session(f.h)->generation, 1);
	p.generation = 2;
	p.send_dsl = 512;
	send_event(MSG_EVENT_SESSION_UP, &p, "");
	ck_assert_int_eq(iscsimux_session(f.h)->state, ISCSIMUX_SESSION_UP);
	ck_assert_uint_eq(iscsimux_session(f.h)->generation, 2);
	ck_assert_uint_eq(iscsimux_session(f.h)->send_dsl, 512);
	ck_assert_uint_eq(f.news.events, 3);
	fake_close(&f);
}
END_TEST

/* Up and down are asked for always, but told only to who asked. */
START_TEST(test_events_not_wanted)
{
	const struct iscsimux_attach o = { .session = "disk" };
	struct msg_params p = fake_params();

	fake_open(&f);
	ck_assert_int_eq(iscsimux_attach(f.h, &o), 0);
	fake_want(&f, FRAME_HELLO);
	fake_welcome(&f);
	fake_want(&f, FRAME_ATTACH);
	fake_attached(&f, &p, 1);
	p.generation = 5;
	send_event(MSG_EVENT_SESSION_UP, &p, "");
	ck_assert_uint_eq(f.news.events, 0);
	ck_assert_uint_eq(iscsimux_session(f.h)->generation, 5);
	fake_close(&f);
}
END_TEST

START_TEST(test_ping)
{
	struct msg_params p = fake_params();
	struct fake_end e = { 0 }, many[20] = { { 0 } };
	unsigned i, ok = 0;

	fake_attach(&f, &p);
	ck_assert_int_eq(iscsimux_ping(f.h, fake_done, &e), 0);
	fake_want(&f, FRAME_PING);
	ck_assert_uint_eq(e.count, 0);
	fake_frame(&f, FRAME_PONG, 0, f.frame.h.cookie, NULL, 0);
	ck_assert_uint_eq(e.count, 1);
	ck_assert_int_eq(e.r.outcome, ISCSIMUX_COMPLETED);
	/* A second PONG for it finds nothing. */
	fake_frame(&f, FRAME_PONG, 0, f.frame.h.cookie, NULL, 0);
	ck_assert_uint_eq(e.count, 1);
	for (i = 0; i < 20; i++)
		if (iscsimux_ping(f.h, fake_done, &many[i]) == 0)
			ok++;
		else
			ck_assert_int_eq(iscsimux_ping(f.h, fake_done,
			    &many[i]), -EAGAIN);
	ck_assert_uint_eq(ok, 16);
	fake_close(&f);
	for (i = 0; i < 20; i++)
		ck_assert_uint_eq(many[i].count, i < 16 ? 1 : 0);
}
END_TEST

struct list_end {
	unsigned	count;
	int		error;
	size_t		n;
	char		first[64], last[64];
};

static void
list_done(struct iscsimux *h, void *cookie, int error,
    const struct iscsimux_listing *entries, size_t n)
{
	struct list_end *e = cookie;

	(void)h;
	e->count++;
	e->error = error;
	e->n = n;
	if (n > 0) {
		strlcpy(e->first, entries[0].session, sizeof(e->first));
		strlcpy(e->last, entries[n - 1].session, sizeof(e->last));
		ck_assert_str_eq(entries[0].target, "iqn.2026-01.test:a");
		ck_assert_uint_eq(entries[0].access, 3);
		ck_assert_int_eq(entries[0].state, ISCSIMUX_SESSION_LOGIN);
		ck_assert(entries[0].shared && entries[0].adopted);
		ck_assert(entries[1].shared && !entries[1].adopted);
	}
}

START_TEST(test_list)
{
	struct msg_listing_entry m[2] = {
		{ .state = MSG_SESSION_LOGIN, .access = 3, .session = "a",
		    .flags = MSG_LISTING_SHARED | MSG_LISTING_ADOPTED,
		    .target = "iqn.2026-01.test:a" },
		{ .session = "b", .flags = MSG_LISTING_SHARED,
		    .target = "iqn.2026-01.test:b" },
	};
	struct list_end e = { 0 }, lost = { 0 };
	uint8_t buf[MSG_PAYLOAD_MAX];
	size_t taken;
	int n, i;

	fake_open(&f);
	ck_assert_int_eq(iscsimux_list(f.h, list_done, &e), 0);
	fake_want(&f, FRAME_HELLO);
	fake_welcome(&f);
	fake_want(&f, FRAME_LIST);
	n = msg_listing_encode(m, 2, buf, sizeof(buf), &taken);
	ck_assert_int_gt(n, 0);
	for (i = 0; i < 20; i++)
		fake_frame(&f, FRAME_LISTING, FRAME_F_MORE, f.frame.h.cookie,
		    buf, (size_t)n);
	ck_assert_uint_eq(e.count, 0);
	fake_frame(&f, FRAME_LISTING, 0, f.frame.h.cookie, buf, (size_t)n);
	ck_assert_uint_eq(e.count, 1);
	ck_assert_int_eq(e.error, 0);
	ck_assert_uint_eq(e.n, 42);
	ck_assert_str_eq(e.first, "a");
	ck_assert_str_eq(e.last, "b");
	ck_assert_int_eq(iscsimux_list(f.h, list_done, &lost), 0);
	fake_die(&f);
	fake_turn(&f);
	ck_assert_uint_eq(lost.count, 1);
	ck_assert_int_eq(lost.error, -ECONNRESET);
	fake_close(&f);
}
END_TEST

START_TEST(test_quota)
{
	struct msg_params p = fake_params();
	struct fake_end e[FAKE_TASKS_MAX + 1] = { { 0 } };
	uint8_t rsp[ISCSI_BHS_LEN];
	unsigned i;

	fake_attach(&f, &p);
	for (i = 0; i < FAKE_TASKS_MAX; i++)
		ck_assert_int_eq(execute(&e[i], NULL), 0);
	ck_assert_int_eq(execute(&e[i], NULL), -EAGAIN);
	fake_want(&f, FRAME_SUBMIT);
	fake_response(rsp, f.frame.bhs, 0);
	fake_pdu(&f, f.frame.h.cookie, rsp, NULL, 0);
	ck_assert_uint_eq(e[0].count, 1);
	ck_assert_int_eq(execute(&e[i], NULL), 0);
	fake_close(&f);
	for (i = 0; i <= FAKE_TASKS_MAX; i++)
		ck_assert_uint_eq(e[i].count, 1);
}
END_TEST

/* Bytes count too: 64 MiB in are what fakedaemon.c allows. */
START_TEST(test_quota_bytes)
{
	static uint8_t buf[1];
	struct iscsimux_scsi s = {
		.cdb = test_unit_ready,
		.cdb_len = 6,
		.direction = ISCSIMUX_DATA_IN,
		.data = buf,
	};
	struct msg_params p = fake_params();
	struct fake_end e[4] = { { 0 } };
	uint8_t rsp[ISCSI_BHS_LEN];

	fake_attach(&f, &p);
	s.data_len = 40u << 20;
	ck_assert_int_eq(iscsimux_execute(f.h, &s, fake_done, &e[0], NULL), 0);
	ck_assert_int_eq(iscsimux_execute(f.h, &s, fake_done, &e[1], NULL),
	    -EAGAIN);
	s.data_len = 20u << 20;
	ck_assert_int_eq(iscsimux_execute(f.h, &s, fake_done, &e[1], NULL), 0);
	/* What the first took is free when it has ended. */
	fake_want(&f, FRAME_SUBMIT);
	fake_response(rsp, f.frame.bhs, 0);
	fake_pdu(&f, f.frame.h.cookie, rsp, NULL, 0);
	ck_assert_uint_eq(e[0].count, 1);
	s.data_len = 40u << 20;
	ck_assert_int_eq(iscsimux_execute(f.h, &s, fake_done, &e[0], NULL), 0);
	iscsimux_disconnect(f.h);
	fake_close(&f);
	/* Too much for the quota alone: the daemon's to refuse. */
	fake_attach(&f, &p);
	s.data_len = 100u << 20;
	ck_assert_int_eq(iscsimux_execute(f.h, &s, fake_done, &e[2], NULL), 0);
	ck_assert_int_eq(iscsimux_execute(f.h, &s, fake_done, &e[3], NULL),
	    -EAGAIN);
	fake_close(&f);
}
END_TEST

START_TEST(test_unsolicited)
{
	const uint8_t bhs[ISCSI_BHS_LEN] = { ISCSI_OP_ASYNC, 0x80, 0, 0, 0,
	    0, 0, 4 };
	struct msg_params p = fake_params();
	uint8_t buf[256];
	size_t n;

	fake_attach(&f, &p);
	fake_pdu(&f, 0, bhs, "abcd", 4);
	ck_assert_uint_eq(f.news.pdus, 1);
	n = fake_encode(buf, FRAME_PDU, FRAME_F_MORE, 0, bhs, "ab", 2);
	fake_bytes(&f, buf, n);
	fake_frame(&f, FRAME_PDU, 0, 0, "cd", 2);
	ck_assert_uint_eq(f.news.pdus, 2);
	fake_bytes(&f, buf, n);
	fake_frame(&f, FRAME_PDU, FRAME_F_VOID, 0, NULL, 0);
	ck_assert_uint_eq(f.news.pdus, 2);
	fake_pdu(&f, 0, bhs, "abcd", 4);
	ck_assert_uint_eq(f.news.pdus, 3);
	fake_close(&f);
}
END_TEST

START_TEST(test_words)
{
	uint8_t lun[8];

	ck_assert_str_eq(iscsimux_outcome_name(ISCSIMUX_NOT_SENT), "not-sent");
	ck_assert_str_eq(iscsimux_outcome_name(ISCSIMUX_COMPLETED),
	    "completed");
	ck_assert_str_eq(iscsimux_outcome_name(ISCSIMUX_FAILED), "failed");
	ck_assert_str_eq(iscsimux_outcome_name((enum iscsimux_outcome)99),
	    "unknown");
	ck_assert_str_eq(iscsimux_reason_name(ISCSIMUX_R_QUOTA), "over-quota");
	ck_assert_str_eq(iscsimux_opcode_name(0x41), "SCSI Command");
	ck_assert_str_eq(iscsimux_strerror(-ENOENT), strerror(ENOENT));
	ck_assert_str_eq(iscsimux_strerror(123456), "unknown error");
	ck_assert_int_eq(iscsimux_lun(5, lun), 0);
	ck_assert_mem_eq(lun, "\0\5\0\0\0\0\0\0", 8);
	ck_assert_int_eq(iscsimux_lun(0x1234, lun), 0);
	ck_assert_mem_eq(lun, "\x52\x34\0\0\0\0\0\0", 8);
	ck_assert_int_eq(iscsimux_lun(0x4000, lun), -ERANGE);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("lib");
	TCase *tc = tcase_create("connection");

	tcase_add_test(tc, test_hello);
	tcase_add_test(tc, test_attach_fields);
	tcase_add_test(tc, test_attach_refused);
	tcase_add_test(tc, test_attach_bad_options);
	tcase_add_test(tc, test_events);
	tcase_add_test(tc, test_events_not_wanted);
	tcase_add_test(tc, test_ping);
	tcase_add_test(tc, test_list);
	tcase_add_test(tc, test_quota);
	tcase_add_test(tc, test_quota_bytes);
	tcase_add_test(tc, test_unsolicited);
	tcase_add_test(tc, test_words);
	suite_add_tcase(s, tc);
	return unit_run(s);
}
