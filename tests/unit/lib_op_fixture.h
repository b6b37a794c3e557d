/* SPDX-License-Identifier: ISC */
/*
 * A raw connection of libiscsimux about which the daemon is asked, and what
 * the last answer was.
 */
#ifndef ISCSIMUX_TESTS_LIB_OP_FIXTURE_H
#define ISCSIMUX_TESTS_LIB_OP_FIXTURE_H

#include <errno.h>
#include <string.h>

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

#endif
