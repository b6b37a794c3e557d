/* SPDX-License-Identifier: ISC */
/*
 * libiscsimux: requests about raw connections that carry no descriptor.  Each
 * call, what the daemon sees of it, each answer, and its end by the death of
 * the daemon at every byte.
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
static struct fake_status done;

/* iscsimux_state_fn. */
static struct {
	unsigned			count;
	int				error;
	struct iscsimux_raw_state	state;
} told;

static void
on_state(struct iscsimux *h, void *cookie, int error,
    const struct iscsimux_raw_state *state)
{
	ck_assert_ptr_eq(cookie, &told);
	ck_assert_ptr_eq(h, f.h);
	ck_assert((state != NULL) == (error == 0));
	told.count++;
	told.error = error;
	if (state != NULL)
		told.state = *state;
}

static void
setup(void)
{
	memset(&done, 0, sizeof(done));
	memset(&told, 0, sizeof(told));
	fake_raw(&f);
}

static void
teardown(void)
{
	fake_close(&f);
}

static const struct iscsimux_open open_options = {
	.portal = "target.example:3261",
	.timeout_ms = 1500,
	.deadline_ms = 30000,
	.events = 1u << ISCSIMUX_EVENT_UNSOLICITED,
};

static void
ready(void)
{
	memset(&done, 0, sizeof(done));
	fake_ready(&f);
}

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

static const struct msg_state wire_state = {
	.params = {
		.phase = MSG_RAW_FULL_FEATURE,
		.flags = MSG_RAW_DATA_DIGEST | MSG_RAW_NUMBERS,
		.recv_dsl = 1, .send_dsl = 2, .max_burst = 3,
		.first_burst = 4, .max_r2t = 5, .cmdsn = 6, .exp_cmdsn = 7,
		.max_cmdsn = 8, .exp_statsn = 9,
		.isid = { 1, 2, 3, 4, 5, 6 }, .tsih = 10, .target = "iqn.x",
	},
	.read_deadline = 11, .write_deadline = 12, .bytes_in = 13,
	.bytes_out = 14, .pdus_in = 15, .pdus_out = 16, .pending = 17,
	.live = 18, .unsent = 19, .local = "1.2.3.4:5", .peer = "[::1]:3260",
};

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

static void
share(void)
{
	struct msg_params p = fake_params();
	struct msg_share m;

	ck_assert_int_eq(iscsimux_share(f.h, "mine", fake_status, &done), 0);
	ck_assert_int_eq(iscsimux_get_state(f.h, on_state, &told), -EBUSY);
	fake_want(&f, FRAME_SHARE);
	ck_assert_int_eq(msg_share_decode(f.frame.payload, f.frame.h.len, &m),
	    0);
	ck_assert_str_eq(m.session, "mine");
	ck_assert_ptr_null(iscsimux_session(f.h));
	fake_attached(&f, &p, FAKE_TASKS_MAX);
	ck_assert_uint_eq(done.count, 1);
	ck_assert_int_eq(done.error, 0);
}

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

/* LISTING tells what came of a SHARE. */
static struct iscsimux_listing entry[2];

static void
on_list(struct iscsimux *h, void *cookie, int error,
    const struct iscsimux_listing *entries, size_t n)
{
	(void)h;
	ck_assert_ptr_null(cookie);
	ck_assert_int_eq(error, 0);
	ck_assert_uint_eq(n, 2);
	memcpy(entry, entries, sizeof(entry));
}

START_TEST(test_listing)
{
	static const struct msg_listing_entry m[2] = {
		{ MSG_SESSION_UP, MSG_LISTING_SHARED | MSG_LISTING_ADOPTED, 1,
		    "a", "iqn.a" },
		{ MSG_SESSION_UP, 0, 1, "b", "iqn.b" },
	};
	uint8_t buf[256];
	size_t taken;
	int n;

	ck_assert_int_eq(iscsimux_list(f.h, on_list, NULL), 0);
	fake_want(&f, FRAME_LIST);
	n = msg_listing_encode(m, 2, buf, sizeof(buf), &taken);
	fake_frame(&f, FRAME_LISTING, 0, f.frame.h.cookie, buf, (size_t)n);
	ck_assert(entry[0].shared && entry[0].adopted);
	ck_assert(!entry[1].shared && !entry[1].adopted);
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

/* The daemon dies at every byte of what it answers to each request. */
static size_t
answer_of(unsigned what, uint64_t cookie, uint8_t *out)
{
	const struct msg_attached attached = { .state = MSG_SESSION_UP,
	    .params = fake_params() };
	uint8_t payload[1024];
	uint16_t type = FRAME_OK;
	int n = 0;

	if (what == 2 || what == 4) {
		type = FRAME_STATE;
		n = msg_state_encode(&wire_state, payload, sizeof(payload));
	} else if (what == 3) {
		type = FRAME_ATTACHED;
		n = msg_attached_encode(&attached, payload, sizeof(payload));
	}
	ck_assert_int_ge(n, 0);
	return fake_encode(out, type, 0, cookie, NULL, payload, (size_t)n);
}

static void
ask(unsigned what)
{
	const struct iscsimux_set s = { .mask = ISCSIMUX_RAW_MANUAL };

	if (what == 0)
		ready();
	else
		setup();
	if (what == 4)
		share();
	memset(&done, 0, sizeof(done));
	switch (what) {
	case 0:
		ck_assert_int_eq(iscsimux_open(f.h, &open_options,
		    fake_status, &done), 0);
		break;
	case 1:
		ck_assert_int_eq(iscsimux_set(f.h, &s, fake_status, &done), 0);
		break;
	case 2:
		ck_assert_int_eq(iscsimux_get_state(f.h, on_state, &told), 0);
		break;
	case 3:
		ck_assert_int_eq(iscsimux_share(f.h, "x", fake_status, &done),
		    0);
		break;
	case 4:
		ck_assert_int_eq(iscsimux_unshare(f.h, on_state, &told), 0);
		break;
	default:
		ck_assert_int_eq(iscsimux_close_raw(f.h, fake_status, &done),
		    0);
	}
}

START_TEST(test_death_at_every_byte)
{
	uint8_t stream[2048];
	size_t len = 1, cut;
	unsigned i;

	for (cut = 0; cut <= len; cut++) {
		memset(&told, 0, sizeof(told));
		ask((unsigned)_i);
		ck_assert(fake_next(&f));
		len = answer_of((unsigned)_i, f.frame.h.cookie, stream);
		/* A byte at a time, too. */
		for (i = 0; i < cut; i++)
			fake_bytes(&f, stream + i, 1);
		fake_die(&f);
		fake_turn(&f);
		ck_assert_uint_eq(f.news.closed, 1);
		ck_assert_uint_eq(done.count + told.count, 1);
		ck_assert_int_eq(done.error + told.error, cut == len ? 0 :
		    -ECONNRESET);
		ck_assert(!iscsimux_is_raw(f.h));
		ck_assert_ptr_null(iscsimux_session(f.h));
		fake_close(&f);
		ck_assert_uint_eq(done.count + told.count, 1);
	}
}
END_TEST

/* Blocking forms: refused in a callback, and over when time is. */
static void
sync_in_callback(struct iscsimux *h, void *cookie, int error)
{
	struct iscsimux_raw_state state;
	struct iscsimux_exported e;
	const struct iscsimux_adopt a = { .fd = 0 };
	const struct iscsimux_set s = { .mask = 0 };

	(void)error;
	*(unsigned *)cookie += 1;
	ck_assert_int_eq(iscsimux_open_sync(h, &open_options, 1), -EDEADLK);
	ck_assert_int_eq(iscsimux_adopt_sync(h, &a, 1), -EDEADLK);
	ck_assert_int_eq(iscsimux_set_sync(h, &s, 1), -EDEADLK);
	ck_assert_int_eq(iscsimux_get_state_sync(h, 1, &state), -EDEADLK);
	ck_assert_int_eq(iscsimux_export_sync(h, 1, &e), -EDEADLK);
	ck_assert_int_eq(iscsimux_share_sync(h, "x", 1), -EDEADLK);
	ck_assert_int_eq(iscsimux_unshare_sync(h, 1, &state), -EDEADLK);
	ck_assert_int_eq(iscsimux_close_raw_sync(h, 1), -EDEADLK);
}

START_TEST(test_sync_in_callback)
{
	const struct iscsimux_set s = { .mask = 0 };
	unsigned count = 0;

	ck_assert_int_eq(iscsimux_set(f.h, &s, sync_in_callback, &count), 0);
	fake_want(&f, FRAME_SET);
	fake_ok(&f, f.frame.h.cookie);
	ck_assert_uint_eq(count, 1);
}
END_TEST

START_TEST(test_sync_timeout)
{
	struct iscsimux_raw_state state;

	ck_assert_int_eq(iscsimux_get_state_sync(f.h, 10, &state), -ETIMEDOUT);
	ck_assert_int_eq(iscsimux_fd(f.h), -1);
	ck_assert_str_eq(iscsimux_error_text(f.h),
	    "the daemon did not answer in time");
	ck_assert_uint_eq(f.news.closed, 0);
}
END_TEST

/* The answer is there before it waits. */
static void
answer_ahead(uint16_t type, const void *payload, size_t len, uint64_t cookie)
{
	uint8_t frame[2048];
	size_t n = fake_encode(frame, type, 0, cookie, NULL, payload, len);

	ck_assert_int_eq(send(f.fd, frame, n, 0), (ssize_t)n);
}

START_TEST(test_sync)
{
	const struct msg_attached m = { .state = MSG_SESSION_UP };
	const struct iscsimux_set s = { .mask = ISCSIMUX_RAW_MANUAL };
	struct iscsimux_raw_state state;
	uint8_t buf[1024];
	uint64_t next;
	int n;

	/* Slots are taken in turn: learn the next cookie. */
	ck_assert_int_eq(iscsimux_set(f.h, &s, fake_status, &done), 0);
	fake_want(&f, FRAME_SET);
	next = f.frame.h.cookie;
	fake_ok(&f, next);
	answer_ahead(FRAME_OK, NULL, 0, ++next);
	ck_assert_int_eq(iscsimux_set_sync(f.h, &s, 1000), 0);
	n = msg_state_encode(&wire_state, buf, sizeof(buf));
	answer_ahead(FRAME_STATE, buf, (size_t)n, ++next);
	ck_assert_int_eq(iscsimux_get_state_sync(f.h, 1000, &told.state), 0);
	check_state();
	n = msg_attached_encode(&m, buf, sizeof(buf));
	answer_ahead(FRAME_ATTACHED, buf, (size_t)n, ++next);
	ck_assert_int_eq(iscsimux_share_sync(f.h, "x", 1000), 0);
	n = msg_state_encode(&wire_state, buf, sizeof(buf));
	answer_ahead(FRAME_STATE, buf, (size_t)n, ++next);
	ck_assert_int_eq(iscsimux_unshare_sync(f.h, 1000, &state), 0);
	answer_ahead(FRAME_OK, NULL, 0, ++next);
	ck_assert_int_eq(iscsimux_close_raw_sync(f.h, 1000), 0);
	answer_ahead(FRAME_OK, NULL, 0, ++next);
	ck_assert_int_eq(iscsimux_open_sync(f.h, &open_options, 1000), 0);
	ck_assert(iscsimux_is_raw(f.h));
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
	tcase_add_test(tc, test_listing);
	tcase_add_loop_test(tc, test_wrong_answer, 0, 3);
	tcase_add_test(tc, test_sync_in_callback);
	tcase_add_test(tc, test_sync_timeout);
	tcase_add_test(tc, test_sync);
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
	tcase_add_loop_test(tc, test_death_at_every_byte, 0, 6);
	tcase_set_timeout(tc, 60);
	suite_add_tcase(s, tc);
	return unit_run(s);
}
