/* SPDX-License-Identifier: ISC */
/*
 * libiscsimux: requests about raw connections that carry no descriptor.  Each
 * call, what the daemon sees of it, and each answer.
 */
#include "config.h"

#include <errno.h>
#include <string.h>

#include "tests/unit/lib_op_fixture.h"

START_TEST(test_open)
{
	struct msg_open m;

	ready();
	ck_assert(!iscsimux_is_raw(f.h));
	ck_assert_int_eq(iscsimux_open(f.h, &open_options, fake_status,
	    &done), 0);
	fake_want(&f, FRAME_OPEN);
	ck_assert_uint_eq(f.frame.h.flags, 0);
	ck_assert_int_eq(msg_open_decode(f.frame.payload, f.frame.h.len, &m),
	    0);
	ck_assert_str_eq(m.portal, "target.example:3261");
	ck_assert_uint_eq(m.timeout, 1500);
	ck_assert_uint_eq(m.deadline, 30000);
	ck_assert_uint_eq(m.events & 1u << ISCSIMUX_EVENT_UNSOLICITED,
	    1u << ISCSIMUX_EVENT_UNSOLICITED);
	ck_assert_uint_eq(m.events & 1u << ISCSIMUX_EVENT_ASYNC, 0);
	ck_assert_uint_eq(done.count, 0);
	ck_assert(!iscsimux_is_raw(f.h));
	fake_ok(&f, f.frame.h.cookie);
	ck_assert_uint_eq(done.count, 1);
	ck_assert_int_eq(done.error, 0);
	ck_assert(iscsimux_is_raw(f.h));
	ck_assert_ptr_null(iscsimux_session(f.h));
	fake_close(&f);
}
END_TEST

/* Before WELCOME it is only queued. */
START_TEST(test_open_early)
{
	memset(&done, 0, sizeof(done));
	fake_open(&f);
	f.features = MSG_FEATURE_RAW;
	ck_assert_int_eq(iscsimux_open(f.h, &open_options, fake_status,
	    &done), 0);
	fake_want(&f, FRAME_HELLO);
	ck_assert(!fake_next(&f));
	f.frame.h.cookie = 1;
	fake_welcome(&f);
	fake_want(&f, FRAME_OPEN);
	fake_close(&f);
	ck_assert_uint_eq(done.count, 1);
}
END_TEST

/* A daemon that has none: told at once, or at WELCOME. */
START_TEST(test_open_unsupported)
{
	const struct iscsimux_attach o = { .session = "disk" };

	memset(&done, 0, sizeof(done));
	fake_open(&f);
	ck_assert_int_eq(iscsimux_open(f.h, &open_options, fake_status,
	    &done), 0);
	fake_want(&f, FRAME_HELLO);
	fake_welcome(&f);
	ck_assert_uint_eq(done.count, 1);
	ck_assert_int_eq(done.error, -EOPNOTSUPP);
	ck_assert_str_eq(done.text, "this daemon has no raw connections");
	ck_assert(!fake_next(&f));
	ck_assert_int_eq(iscsimux_open(f.h, &open_options, fake_status,
	    &done), -EOPNOTSUPP);
	/* The rest is as ever. */
	ck_assert_int_eq(iscsimux_attach(f.h, &o), 0);
	fake_want(&f, FRAME_ATTACH);
	fake_close(&f);
	ck_assert_uint_eq(done.count, 1);
}
END_TEST

static const struct {
	uint16_t	reason;
	int		error;
} refusals[] = {
	{ MSG_R_CONNECT, -EHOSTUNREACH },
	{ MSG_R_NOT_PERMITTED, -EACCES },
	{ MSG_R_BAD_FIELD, -EINVAL },
	{ MSG_R_BAD_STATE, -EBADFD },
	{ MSG_R_BAD_FD, -ENOTSOCK },
	{ MSG_R_BUSY, -EBUSY },
	{ MSG_R_INTERNAL, -EPROTO },
	{ MSG_R_NONE, -EPROTO },
};

START_TEST(test_refused)
{
	ready();
	ck_assert_int_eq(iscsimux_open(f.h, &open_options, fake_status,
	    &done), 0);
	fake_want(&f, FRAME_OPEN);
	fake_error(&f, f.frame.h.cookie, refusals[_i].reason, FRAME_OPEN,
	    "because");
	ck_assert_uint_eq(done.count, 1);
	ck_assert_int_eq(done.error, refusals[_i].error);
	ck_assert_str_eq(done.text, "because");
	ck_assert_int_eq((int)iscsimux_error_reason(f.h),
	    (int)refusals[_i].reason);
	ck_assert(!iscsimux_is_raw(f.h));
	/* It may try again. */
	ck_assert_int_eq(iscsimux_open(f.h, &open_options, fake_status,
	    &done), 0);
	fake_want(&f, FRAME_OPEN);
	fake_ok(&f, f.frame.h.cookie);
	ck_assert(iscsimux_is_raw(f.h));
	fake_close(&f);
}
END_TEST

START_TEST(test_bad_arguments)
{
	char portal[ISCSIMUX_PORTAL_MAX + 2];
	struct iscsimux_open o = open_options;
	struct iscsimux_set s = { .mask = ISCSIMUX_RAW_MANUAL };

	ready();
	memset(portal, 'x', sizeof(portal));
	portal[sizeof(portal) - 1] = '\0';
	ck_assert_int_eq(iscsimux_open(f.h, &o, NULL, NULL), -EINVAL);
	o.portal = NULL;
	ck_assert_int_eq(iscsimux_open(f.h, &o, fake_status, NULL), -EINVAL);
	o.portal = "";
	ck_assert_int_eq(iscsimux_open(f.h, &o, fake_status, NULL), -EINVAL);
	o.portal = portal;
	ck_assert_int_eq(iscsimux_open(f.h, &o, fake_status, NULL), -EINVAL);
	o.portal = "a\nb";
	ck_assert_int_eq(iscsimux_open(f.h, &o, fake_status, NULL), -EINVAL);
	o.portal = "a";
	o.events = 0x200;
	ck_assert_int_eq(iscsimux_open(f.h, &o, fake_status, NULL), -EINVAL);
	fake_close(&f);
	fake_raw(&f);
	s.flags = ISCSIMUX_RAW_HEADER_DIGEST;	/* not in the mask */
	ck_assert_int_eq(iscsimux_set(f.h, &s, fake_status, NULL), -EINVAL);
	s.flags = 0;
	s.mask = ISCSIMUX_RAW_ADOPTED;
	ck_assert_int_eq(iscsimux_set(f.h, &s, fake_status, NULL), -EINVAL);
	s.mask = ISCSIMUX_SET_RECV_DSL;
	s.recv_dsl = 1u << 24;
	ck_assert_int_eq(iscsimux_set(f.h, &s, fake_status, NULL), -EINVAL);
	ck_assert_int_eq(iscsimux_share(f.h, "", fake_status, NULL), -EINVAL);
	ck_assert_int_eq(iscsimux_share(f.h, portal, fake_status, NULL),
	    -EINVAL);
	ck_assert_int_eq(iscsimux_get_state(f.h, NULL, NULL), -EINVAL);
	ck_assert_int_eq(iscsimux_unshare(f.h, NULL, NULL), -EINVAL);
	ck_assert_int_eq(iscsimux_export(f.h, NULL, NULL), -EINVAL);
	ck_assert_int_eq(iscsimux_close_raw(f.h, NULL, NULL), -EINVAL);
	ck_assert(!fake_next(&f));
	fake_close(&f);
}
END_TEST

/* What is to be asked when. */
START_TEST(test_wrong_state)
{
	const struct iscsimux_attach a = { .session = "disk" };
	const struct iscsimux_set s = { .mask = 0 };
	struct msg_params p = fake_params();

	ready();
	ck_assert_int_eq(iscsimux_set(f.h, &s, fake_status, &done), -ENOTCONN);
	ck_assert_int_eq(iscsimux_share(f.h, "x", fake_status, &done),
	    -ENOTCONN);
	ck_assert_int_eq(iscsimux_close_raw(f.h, fake_status, &done),
	    -ENOTCONN);
	ck_assert_int_eq(iscsimux_get_state(f.h, on_state, &told), -ENOTCONN);
	ck_assert_int_eq(iscsimux_unshare(f.h, on_state, &told), -ENOTCONN);
	ck_assert_int_eq(iscsimux_open(f.h, &open_options, fake_status,
	    &done), 0);
	ck_assert_int_eq(iscsimux_open(f.h, &open_options, fake_status,
	    &done), -EBUSY);
	ck_assert_int_eq(iscsimux_attach(f.h, &a), -EALREADY);
	fake_want(&f, FRAME_OPEN);
	fake_ok(&f, f.frame.h.cookie);
	ck_assert_int_eq(iscsimux_open(f.h, &open_options, fake_status,
	    &done), -EISCONN);
	ck_assert_int_eq(iscsimux_attach(f.h, &a), -EISCONN);
	ck_assert_int_eq(iscsimux_unshare(f.h, on_state, &told), -ENOTCONN);
	iscsimux_disconnect(f.h);
	ck_assert_int_eq(iscsimux_set(f.h, &s, fake_status, &done), -ENOTCONN);
	fake_close(&f);
	fake_attach(&f, &p);
	ck_assert_int_eq(iscsimux_open(f.h, &open_options, fake_status,
	    &done), -EOPNOTSUPP);
	fake_close(&f);
	fake_open(&f);
	ck_assert_int_eq(iscsimux_attach(f.h, &a), 0);
	ck_assert_int_eq(iscsimux_open(f.h, &open_options, fake_status,
	    &done), -EALREADY);
	fake_close(&f);
}
END_TEST

START_TEST(test_set)
{
	const struct iscsimux_set s = {
		.mask = ISCSIMUX_RAW_HEADER_DIGEST | ISCSIMUX_RAW_DATA_DIGEST |
		    ISCSIMUX_RAW_BIG_ENDIAN | ISCSIMUX_SET_RECV_DSL |
		    ISCSIMUX_SET_WRITE_DEADLINE,
		.flags = ISCSIMUX_RAW_DATA_DIGEST | ISCSIMUX_RAW_BIG_ENDIAN,
		.recv_dsl = 65536,
		.write_deadline_ms = 250,
	};
	struct msg_set m;

	ck_assert_int_eq(iscsimux_set(f.h, &s, fake_status, &done), 0);
	fake_want(&f, FRAME_SET);
	ck_assert_int_eq(msg_set_decode(f.frame.payload, f.frame.h.len, &m),
	    0);
	ck_assert_uint_eq(m.mask, s.mask);
	ck_assert_uint_eq(m.flags, s.flags);
	ck_assert_uint_eq(m.recv_dsl, 65536);
	ck_assert_uint_eq(m.send_dsl, 0);
	ck_assert_uint_eq(m.read_deadline, 0);
	ck_assert_uint_eq(m.write_deadline, 250);
	fake_ok(&f, f.frame.h.cookie);
	ck_assert_uint_eq(done.count, 1);
	ck_assert_int_eq(done.error, 0);
	ck_assert_int_eq(iscsimux_set(f.h, &s, fake_status, &done), 0);
	fake_want(&f, FRAME_SET);
	fake_error(&f, f.frame.h.cookie, MSG_R_NOT_PERMITTED, FRAME_SET, "no");
	ck_assert_uint_eq(done.count, 2);
	ck_assert_int_eq(done.error, -EACCES);
	ck_assert(iscsimux_is_raw(f.h));
}
END_TEST

static void
check_state(void)
{
	const struct iscsimux_raw_state *s = &told.state;
	const struct iscsimux_raw_params *p = &s->params;

	ck_assert(p->full_feature);
	ck_assert_uint_eq(p->flags, ISCSIMUX_RAW_DATA_DIGEST |
	    ISCSIMUX_RAW_NUMBERS);
	ck_assert_uint_eq(p->recv_dsl, 1);
	ck_assert_uint_eq(p->send_dsl, 2);
	ck_assert_uint_eq(p->max_burst, 3);
	ck_assert_uint_eq(p->first_burst, 4);
	ck_assert_uint_eq(p->max_r2t, 5);
	ck_assert_uint_eq(p->cmdsn, 6);
	ck_assert_uint_eq(p->exp_cmdsn, 7);
	ck_assert_uint_eq(p->max_cmdsn, 8);
	ck_assert_uint_eq(p->exp_statsn, 9);
	ck_assert_mem_eq(p->isid, "\1\2\3\4\5\6", 6);
	ck_assert_uint_eq(p->tsih, 10);
	ck_assert_str_eq(p->target, "iqn.x");
	ck_assert_uint_eq(s->read_deadline_ms, 11);
	ck_assert_uint_eq(s->write_deadline_ms, 12);
	ck_assert_uint_eq(s->bytes_in, 13);
	ck_assert_uint_eq(s->bytes_out, 14);
	ck_assert_uint_eq(s->pdus_in, 15);
	ck_assert_uint_eq(s->pdus_out, 16);
	ck_assert_uint_eq(s->pending, 17);
	ck_assert_uint_eq(s->live, 18);
	ck_assert_uint_eq(s->unsent, 19);
	ck_assert_str_eq(s->local, "1.2.3.4:5");
	ck_assert_str_eq(s->peer, "[::1]:3260");
}

START_TEST(test_get_state)
{
	ck_assert_int_eq(iscsimux_get_state(f.h, on_state, &told), 0);
	fake_want(&f, FRAME_GET);
	ck_assert_uint_eq(f.frame.h.len, 0);
	fake_state(&f, f.frame.h.cookie, &wire_state);
	ck_assert_uint_eq(told.count, 1);
	ck_assert_int_eq(told.error, 0);
	check_state();
	/* A second STATE answers nothing. */
	fake_state(&f, f.frame.h.cookie, &wire_state);
	ck_assert_uint_eq(told.count, 1);
	ck_assert_int_eq(iscsimux_get_state(f.h, on_state, &told), 0);
	fake_want(&f, FRAME_GET);
	fake_error(&f, f.frame.h.cookie, MSG_R_BAD_STATE, FRAME_GET, "closed");
	ck_assert_uint_eq(told.count, 2);
	ck_assert_int_eq(told.error, -EBADFD);
}
END_TEST

START_TEST(test_limit)
{
	int i, r = 0;

	for (i = 0; i < 16; i++)
		r |= iscsimux_get_state(f.h, on_state, &told);
	ck_assert_int_eq(r, 0);
	ck_assert_int_eq(iscsimux_get_state(f.h, on_state, &told), -EAGAIN);
	for (i = 0; i < 16; i++) {
		fake_want(&f, FRAME_GET);
		fake_state(&f, f.frame.h.cookie, &wire_state);
	}
	ck_assert_uint_eq(told.count, 16);
	ck_assert_int_eq(iscsimux_get_state(f.h, on_state, &told), 0);
}
END_TEST

START_TEST(test_close)
{
	ck_assert_int_eq(iscsimux_close_raw(f.h, fake_status, &done), 0);
	ck_assert_int_eq(iscsimux_get_state(f.h, on_state, &told), -EBUSY);
	ck_assert_int_eq(iscsimux_close_raw(f.h, fake_status, &done), -EBUSY);
	fake_want(&f, FRAME_CLOSE);
	fake_event_closed(&f, 0, "closed by the client", 10, 20);
	ck_assert_uint_eq(f.news.events, 1);
	ck_assert_int_eq((int)f.news.event.kind, ISCSIMUX_EVENT_CLOSED);
	ck_assert_uint_eq(done.count, 0);
	fake_ok(&f, f.frame.h.cookie);
	ck_assert_uint_eq(done.count, 1);
	ck_assert_int_eq(done.error, 0);
	ck_assert(!iscsimux_is_raw(f.h));
	/* The next one. */
	ck_assert_int_eq(iscsimux_open(f.h, &open_options, fake_status,
	    &done), 0);
	fake_want(&f, FRAME_OPEN);
}
END_TEST

/* It ended by itself while CLOSE was on its way: closed is closed. */
START_TEST(test_close_late)
{
	ck_assert_int_eq(iscsimux_close_raw(f.h, fake_status, &done), 0);
	fake_want(&f, FRAME_CLOSE);
	fake_event_closed(&f, ECONNRESET, "", 0, 0);
	fake_error(&f, f.frame.h.cookie, MSG_R_BAD_STATE, FRAME_CLOSE, "gone");
	ck_assert_uint_eq(done.count, 1);
	ck_assert_int_eq(done.error, 0);
}
END_TEST

/* The event is told whether asked for or not, with all that it says. */
START_TEST(test_event_closed)
{
	ready();
	ck_assert_int_eq(iscsimux_open(f.h, &open_options, fake_status,
	    &done), 0);
	fake_want(&f, FRAME_OPEN);
	fake_ok(&f, f.frame.h.cookie);
	fake_event_closed(&f, EBADMSG, "data digest", 1234567890123, 77);
	ck_assert_uint_eq(f.news.events, 1);
	ck_assert_int_eq((int)f.news.event.kind, ISCSIMUX_EVENT_CLOSED);
	ck_assert_uint_eq(f.news.event.code, EBADMSG);
	ck_assert_str_eq(f.news.text, "data digest");
	ck_assert_uint_eq(f.news.event.bytes_in, 1234567890123);
	ck_assert_uint_eq(f.news.event.bytes_out, 77);
	ck_assert(!iscsimux_is_raw(f.h));
	ck_assert_int_eq(iscsimux_get_state(f.h, on_state, &told), -ENOTCONN);
	/* A second one tells of nothing. */
	fake_event_closed(&f, EIO, "", 0, 0);
	ck_assert_uint_eq(f.news.events, 1);
	fake_close(&f);
}
END_TEST

/* After it the handle is as if it had attached. */
START_TEST(test_share)
{
	const struct iscsimux_session *s;
	struct fake_end end = { 0 };

	share();
	ck_assert_uint_eq(f.news.attached, 0);
	ck_assert(!iscsimux_is_raw(f.h));
	s = iscsimux_session(f.h);
	ck_assert_ptr_nonnull(s);
	ck_assert_uint_eq(s->send_dsl, 1024);
	ck_assert_int_eq((int)s->state, ISCSIMUX_SESSION_UP);
	ck_assert_int_eq(iscsimux_nop(f.h, "ab", 2, NULL, 0, 0, fake_done,
	    &end, NULL), 0);
	fake_want(&f, FRAME_SUBMIT);
	/* No TLV of raw connections. */
	ck_assert_uint_eq(f.frame.h.flags, 0);
	fake_close(&f);
	ck_assert_uint_eq(end.count, 1);
	fake_raw(&f);
}
END_TEST

START_TEST(test_share_refused)
{
	ck_assert_int_eq(iscsimux_share(f.h, "mine", fake_status, &done), 0);
	fake_want(&f, FRAME_SHARE);
	fake_error(&f, f.frame.h.cookie, MSG_R_BUSY, FRAME_SHARE,
	    "there is a session of that name");
	ck_assert_int_eq(done.error, -EBUSY);
	ck_assert(iscsimux_is_raw(f.h));
	ck_assert_int_eq(iscsimux_get_state(f.h, on_state, &told), 0);
}
END_TEST

START_TEST(test_unshare)
{
	share();
	ck_assert_int_eq(iscsimux_unshare(f.h, on_state, &told), 0);
	fake_want(&f, FRAME_UNSHARE);
	fake_error(&f, f.frame.h.cookie, MSG_R_BUSY, FRAME_UNSHARE, "");
	ck_assert_int_eq(told.error, -EBUSY);
	ck_assert_ptr_nonnull(iscsimux_session(f.h));
	ck_assert_int_eq(iscsimux_unshare(f.h, on_state, &told), 0);
	fake_want(&f, FRAME_UNSHARE);
	fake_state(&f, f.frame.h.cookie, &wire_state);
	ck_assert_uint_eq(told.count, 2);
	ck_assert_int_eq(told.error, 0);
	check_state();
	ck_assert(iscsimux_is_raw(f.h));
	ck_assert_ptr_null(iscsimux_session(f.h));
}
END_TEST

/* The session of a SHARE has events as any other. */
START_TEST(test_shared_events)
{
	struct msg_event m = { .kind = MSG_EVENT_SESSION_DOWN, .count = 1 };
	uint8_t buf[128];
	int n;

	share();
	n = msg_event_encode(&m, buf, sizeof(buf));
	fake_frame(&f, FRAME_EVENT, 0, 0, buf, (size_t)n);
	ck_assert_int_eq((int)iscsimux_session(f.h)->state,
	    ISCSIMUX_SESSION_DOWN);
	ck_assert_uint_eq(f.news.events, 1);
}
END_TEST

/* An answer of the wrong kind is no answer. */
START_TEST(test_wrong_answer)
{
	ck_assert_int_eq(iscsimux_get_state(f.h, on_state, &told), 0);
	fake_want(&f, FRAME_GET);
	if (_i == 0)
		fake_ok(&f, f.frame.h.cookie);
	else if (_i == 1)
		fake_frame(&f, FRAME_STATE, 0, f.frame.h.cookie, "x", 1);
	else
		fake_frame(&f, FRAME_TAG, 0, f.frame.h.cookie, "x", 1);
	ck_assert_int_eq(f.news.close_error, -EPROTO);
	ck_assert_uint_eq(told.count, 1);
	ck_assert_int_eq(told.error, -ECONNRESET);
	fake_close(&f);
	fake_raw(&f);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("lib_op");
	TCase *tc = tcase_create("raw");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, test_set);
	tcase_add_test(tc, test_get_state);
	tcase_add_test(tc, test_limit);
	tcase_add_test(tc, test_close);
	tcase_add_test(tc, test_close_late);
	tcase_add_test(tc, test_share);
	tcase_add_test(tc, test_share_refused);
	tcase_add_test(tc, test_unshare);
	tcase_add_test(tc, test_shared_events);
	tcase_add_loop_test(tc, test_wrong_answer, 0, 3);
	suite_add_tcase(s, tc);
	tc = tcase_create("open");
	tcase_add_test(tc, test_open);
	tcase_add_test(tc, test_open_early);
	tcase_add_test(tc, test_open_unsupported);
	tcase_add_loop_test(tc, test_refused, 0,
	    (int)(sizeof(refusals) / sizeof(refusals[0])));
	tcase_add_test(tc, test_bad_arguments);
	tcase_add_test(tc, test_wrong_state);
	tcase_add_test(tc, test_event_closed);
	suite_add_tcase(s, tc);
	return unit_run(s);
}
