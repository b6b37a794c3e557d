/* SPDX-License-Identifier: ISC */
/*
 * libiscsimux: how requests about raw connections end when the daemon dies,
 * at every byte of its answer, and their blocking forms.
 */
#include "config.h"

#include <sys/socket.h>

#include <errno.h>
#include <string.h>

#include "tests/unit/lib_op_fixture.h"

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
	ck_assert_uint_eq(told.state.params.cmdsn, 6);
	ck_assert_str_eq(told.state.peer, "[::1]:3260");
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
	Suite *s = suite_create("lib_op_end");
	TCase *tc = tcase_create("sync");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, test_sync_in_callback);
	tcase_add_test(tc, test_sync_timeout);
	tcase_add_test(tc, test_sync);
	suite_add_tcase(s, tc);
	tc = tcase_create("death");
	tcase_add_loop_test(tc, test_death_at_every_byte, 0, 6);
	tcase_set_timeout(tc, 60);
	suite_add_tcase(s, tc);
	return unit_run(s);
}
