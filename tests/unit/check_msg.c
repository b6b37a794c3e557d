/* SPDX-License-Identifier: ISC */
/*
 * The payloads of frames.  Each message has its bytes written out here; and
 * the worked example of PROTOCOL.md is read from that file and compared, so
 * that document and code cannot drift apart.
 */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/frame.h"
#include "proto/msg.h"
#include "tests/unit/unit.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static const struct msg_hello hello = { 1, 1, 0, "demo" };
static const struct msg_welcome welcome = { 1, 0, FRAME_PAYLOAD_MAX,
    FRAME_DATA_MAX, 1024, "iscsimuxd 0.1.0" };
static const struct msg_attach attach = { 0, 0, 30000, 0x7f, "disk" };
static const struct msg_attached attached = { MSG_SESSION_UP, MSG_ACCESS_ALL,
    1024, 0x4000000, 0x1000000, { 1, MSG_PARAM_INITIAL_R2T |
    MSG_PARAM_IMMEDIATE_DATA, 8192, 262144, 262144, 65536, 1 } };
static const struct msg_cancel cancel = { MSG_CANCEL_ITT, 0xfffffffe };
static const struct msg_outcome outcome = { MSG_OUTCOME_ABORTED,
    MSG_OUTCOME_F_NOT_SENT, 0xff, MSG_R_CANCELLED, 0x01020304, "gone" };
static const struct msg_error error = { MSG_R_NO_SUCH_TASK, FRAME_CANCEL,
    "no" };
static const struct msg_event event = { MSG_EVENT_UNIT_ATTENTION, 2,
    UINT64_C(0x0001000000000000), 0x2900, { 3, 4, 5, 6, 7, 8, 9 }, "UA", 0, 0 };
static const struct msg_goodbye goodbye = { MSG_R_SHUTDOWN, "bye" };
static const struct msg_listing_entry listing[] = {
	{ MSG_SESSION_UP, MSG_LISTING_SHARED, MSG_ACCESS_ALL, "disk",
	    "iqn.x" },
	{ MSG_SESSION_DOWN, 0, 0, "b", "" },
};

static const uint8_t hello_bytes[] = {
	0x69, 0x4d, 0x55, 0x58, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0,
	4, 'd', 'e', 'm', 'o',
};
static const uint8_t welcome_bytes[] = {
	0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0x08, 0x2c, 0, 4, 0, 0,
	0, 0, 4, 0, 15, 'i', 's', 'c', 's', 'i', 'm', 'u', 'x', 'd', ' ',
	'0', '.', '1', '.', '0',
};
static const uint8_t attach_bytes[] = {
	0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x75, 0x30, 0, 0, 0, 0x7f,
	4, 'd', 'i', 's', 'k',
};
static const uint8_t attached_bytes[] = {
	3, 0, 0, 0, 0x1f, 0, 0, 4, 0, 0, 0, 0, 0, 4, 0, 0, 0,
	0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 3, 0, 0, 0x20, 0,
	0, 4, 0, 0, 0, 4, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1,
};
static const uint8_t cancel_bytes[] = {
	1, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xfe,
};
static const uint8_t outcome_bytes[] = {
	4, 1, 0xff, 0, 21, 1, 2, 3, 4, 4, 'g', 'o', 'n', 'e',
};
static const uint8_t error_bytes[] = { 0, 12, 0, 4, 2, 'n', 'o' };
static const uint8_t event_bytes[] = {
	4, 0, 0, 0, 2, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0x29, 0,
	0, 0, 0, 3, 0, 0, 0, 4, 0, 0, 0, 5, 0, 0, 0, 6, 0, 0, 0, 7,
	0, 0, 0, 8, 0, 0, 0, 9, 2, 'U', 'A',
};
static const uint8_t goodbye_bytes[] = { 0, 25, 3, 'b', 'y', 'e' };
static const uint8_t listing_bytes[] = {
	0, 2, 3, 1, 0, 0, 0, 0x1f, 4, 'd', 'i', 's', 'k',
	5, 'i', 'q', 'n', '.', 'x', 0, 0, 0, 0, 0, 0, 1, 'b', 0,
};

/*
 * The codecs behind one type, so that every test runs over all of them.
 * A decoder's result is encoded again: that compares all fields.
 */
#define CODEC(name)							\
	static int							\
	name##_out(uint8_t *buf, size_t size)				\
	{								\
		return msg_##name##_encode(&name, buf, size);		\
	}								\
	static int							\
	name##_in(const uint8_t *buf, size_t len, uint8_t *again)	\
	{								\
		struct msg_##name m;					\
		int rc = msg_##name##_decode(buf, len, &m);		\
									\
		if (rc == 0)						\
			rc = msg_##name##_encode(&m, again, 4096);	\
		return rc;						\
	}

CODEC(hello)
CODEC(welcome)
CODEC(attach)
CODEC(attached)
CODEC(cancel)
CODEC(outcome)
CODEC(error)
CODEC(event)
CODEC(goodbye)

static const struct codec {
	const char	*name;
	const uint8_t	*bytes;
	size_t		 len;
	/* Where its string begins, with the length byte, and the room. */
	size_t		 string;
	size_t		 string_max;
	int		(*out)(uint8_t *, size_t);
	int		(*in)(const uint8_t *, size_t, uint8_t *);
} codecs[] = {
#define ROW(name, string, max)						\
	{ #name, name##_bytes, sizeof(name##_bytes), string, max,	\
	    name##_out, name##_in }
	ROW(hello, 16, 63),
	ROW(welcome, 22, 63),
	ROW(attach, 16, 223),
	ROW(attached, 0, 0),
	ROW(cancel, 0, 0),
	ROW(outcome, 9, 255),
	ROW(error, 4, 255),
	ROW(event, 45, 255),
	ROW(goodbye, 2, 255),
};

START_TEST(literal_bytes)
{
	const struct codec *c = &codecs[_i];
	uint8_t buf[4096];

	ck_assert_int_eq(c->out(buf, sizeof(buf)), (int)c->len);
	ck_assert_mem_eq(buf, c->bytes, c->len);
	ck_assert_int_eq(c->in(c->bytes, c->len, buf), (int)c->len);
	ck_assert_mem_eq(buf, c->bytes, c->len);
}
END_TEST

/* No room: -ENOBUFS, and no byte beyond the buffer. */
START_TEST(no_room)
{
	const struct codec *c = &codecs[_i];
	uint8_t buf[4096];
	size_t size;

	for (size = 0; size < c->len; size++) {
		memset(buf, 0xee, sizeof(buf));
		ck_assert_int_eq(c->out(buf, size), -ENOBUFS);
		ck_assert_uint_eq(buf[size], 0xee);
	}
	ck_assert_int_eq(c->out(buf, c->len), (int)c->len);
}
END_TEST

START_TEST(too_short)
{
	const struct codec *c = &codecs[_i];
	uint8_t again[4096];
	uint8_t *exact;
	size_t len;

	for (len = 0; len < c->len; len++) {
		/* Exactly so long, for the sanitizer to see a byte too far. */
		exact = malloc(len + 1);
		ck_assert_ptr_nonnull(exact);
		memcpy(exact + 1, c->bytes, len);
		ck_assert_int_eq(c->in(exact + 1, len, again), -EBADMSG);
		free(exact);
	}
}
END_TEST

/* What may follow the fields. */
START_TEST(trailing_bytes)
{
	static const struct {
		uint8_t	bytes[16];
		size_t	len;
		bool	ok;
	} tails[] = {
		{ { 0 }, 1, false },
		{ { 0x80, 0 }, 2, false },
		{ { 0x80, 0, 0 }, 3, false },
		{ { 0x80, 0, 0, 0 }, 4, true },
		{ { 0x80, 0, 0, 1 }, 4, false },
		{ { 0x80, 0, 0, 1, 7 }, 5, true },
		{ { 0xff, 0xff, 0, 1, 7, 0x80, 1, 0, 0 }, 9, true },
		{ { 0xff, 0xff, 0xff, 0xff, 7 }, 5, false },
		{ { 0x00, 1, 0, 4, 0, 0, 0, 1 }, 8, false },
		{ { 0x7f, 0xff, 0, 0 }, 4, false },
		{ { 0x80, 0, 0, 0, 0x7f, 0xff, 0, 0 }, 8, false },
	};
	const struct codec *c = &codecs[_i];
	uint8_t buf[4096], again[4096];
	size_t i;

	for (i = 0; i < COUNT(tails); i++) {
		memcpy(buf, c->bytes, c->len);
		memcpy(buf + c->len, tails[i].bytes, tails[i].len);
		ck_assert_int_eq(c->in(buf, c->len + tails[i].len, again),
		    tails[i].ok ? (int)c->len : -EBADMSG);
	}
}
END_TEST

/* Strings as they come from the other side. */
static const struct {
	const char	*bytes;
	bool		 ok;
} strings[] = {
	{ "", true }, { "plain", true }, { " ~", true },
	{ "\x1f", false }, { "a\nb", false }, { "\x1b[2J", false },
	{ "\x7f", false }, { "a\tb", false },
	{ "\xc3\xa4", true }, { "\xe2\x82\xac", true },
	{ "\xf0\x9f\x92\xbe", true }, { "\xf4\x8f\xbf\xbf", true },
	{ "\xc2\xa0", true }, { "\xc2\x9b", false }, { "\xc2\x80", false },
	{ "\x80", false }, { "\xc3", false }, { "a\xc3", false },
	{ "\xc3(", false }, { "\xc0\xaf", false }, { "\xc1\xbf", false },
	{ "\xe0\x9f\xbf", false }, { "\xed\xa0\x80", false },
	{ "\xed\x9f\xbf", true }, { "\xf0\x8f\xbf\xbf", false },
	{ "\xf4\x90\x80\x80", false }, { "\xf5\x80\x80\x80", false },
	{ "\xe2\x82", false }, { "\xff", false },
};

START_TEST(strings_in)
{
	const struct codec *c = &codecs[_i];
	uint8_t buf[4096], again[4096];
	size_t i, len;

	if (c->string == 0)
		return;
	memcpy(buf, c->bytes, c->string);
	for (i = 0; i < COUNT(strings); i++) {
		len = strlen(strings[i].bytes);
		buf[c->string] = (uint8_t)len;
		memcpy(buf + c->string + 1, strings[i].bytes, len);
		ck_assert_int_eq(c->in(buf, c->string + 1 + len, again),
		    strings[i].ok ? (int)(c->string + 1 + len) : -EBADMSG);
	}
	memcpy(buf + c->string, "\3a\0b", 4);
	ck_assert_int_eq(c->in(buf, c->string + 4, again), -EBADMSG);
}
END_TEST

START_TEST(string_lengths)
{
	const struct codec *c = &codecs[_i];
	uint8_t buf[4096], again[4096];
	size_t len;

	if (c->string == 0)
		return;
	memcpy(buf, c->bytes, c->string);
	memset(buf + c->string + 1, 'x', 255);
	for (len = 0; len <= 255; len++) {
		buf[c->string] = (uint8_t)len;
		ck_assert_int_eq(c->in(buf, c->string + 1 + len, again),
		    len <= c->string_max ? (int)(c->string + 1 + len) :
		    -EBADMSG);
	}
}
END_TEST

/* What an encoder is given always comes out such that a decoder takes it. */
START_TEST(strings_out)
{
	struct msg_error m = { 1, 2, "a\nb\x1b\xff\xc3\xa4\xe2\x82" };
	struct msg_error back;
	uint8_t buf[300];
	int len;

	len = msg_error_encode(&m, buf, sizeof(buf));
	ck_assert_int_gt(len, 0);
	ck_assert_int_eq(msg_error_decode(buf, (size_t)len, &back), 0);
	ck_assert_str_eq(back.text, "a?b??\xc3\xa4??");

	/* A character that does not fit stays out whole. */
	memset(m.text, 'x', MSG_TEXT_MAX);
	m.text[MSG_TEXT_MAX] = '\0';
	len = msg_error_encode(&m, buf, sizeof(buf));
	ck_assert_int_eq(len, 5 + MSG_TEXT_MAX);
	ck_assert_int_eq(msg_error_decode(buf, (size_t)len, &back), 0);
	ck_assert_str_eq(back.text, m.text);
}
END_TEST

START_TEST(bad_fields)
{
	uint8_t buf[64];
	struct msg_hello h;
	struct msg_attach a;
	struct msg_cancel c;

	memcpy(buf, hello_bytes, sizeof(hello_bytes));
	buf[3] ^= 1;
	ck_assert_int_eq(msg_hello_decode(buf, sizeof(hello_bytes), &h),
	    -EBADMSG);
	buf[3] ^= 1;
	buf[5] = 2;
	ck_assert_int_eq(msg_hello_decode(buf, sizeof(hello_bytes), &h),
	    -EBADMSG);
	buf[7] = 9;
	ck_assert_int_eq(msg_hello_decode(buf, sizeof(hello_bytes), &h), 0);
	ck_assert_uint_eq(h.version_min, 2);
	ck_assert_uint_eq(h.version_max, 9);

	memcpy(buf, attach_bytes, sizeof(attach_bytes));
	buf[3] = 0x20;
	ck_assert_int_eq(msg_attach_decode(buf, sizeof(attach_bytes), &a),
	    -EBADMSG);
	buf[3] = 0x1f;
	buf[7] = 0x03;
	ck_assert_int_eq(msg_attach_decode(buf, sizeof(attach_bytes), &a), 0);
	ck_assert_uint_eq(a.flags, MSG_ATTACH_EXCLUSIVE | MSG_ATTACH_HOLD);
	buf[7] = 0x04;
	ck_assert_int_eq(msg_attach_decode(buf, sizeof(attach_bytes), &a),
	    -EBADMSG);
	buf[7] = 0;
	memset(buf + 12, 0xff, 4);
	ck_assert_int_eq(msg_attach_decode(buf, sizeof(attach_bytes), &a), 0);

	memcpy(buf, cancel_bytes, sizeof(cancel_bytes));
	buf[4] = 1;
	ck_assert_int_eq(msg_cancel_decode(buf, 9, &c), -EBADMSG);
	buf[0] = 0;
	ck_assert_int_eq(msg_cancel_decode(buf, 9, &c), 0);
	ck_assert_uint_eq(c.value, UINT64_C(0x1fffffffe));
	buf[0] = 2;
	ck_assert_int_eq(msg_cancel_decode(buf, 9, &c), -EBADMSG);
}
END_TEST

START_TEST(listing_codec)
{
	struct msg_listing_entry e;
	uint8_t buf[4096];
	size_t taken, pos = 0;

	ck_assert_int_eq(msg_listing_encode(listing, 2, buf, sizeof(buf),
	    &taken), (int)sizeof(listing_bytes));
	ck_assert_uint_eq(taken, 2);
	ck_assert_mem_eq(buf, listing_bytes, sizeof(listing_bytes));
	ck_assert_int_eq(msg_listing_next(buf, sizeof(listing_bytes), &pos,
	    &e), 1);
	ck_assert_str_eq(e.session, "disk");
	ck_assert_str_eq(e.target, "iqn.x");
	ck_assert_uint_eq(e.state, MSG_SESSION_UP);
	ck_assert_uint_eq(e.access, MSG_ACCESS_ALL);
	ck_assert_int_eq(msg_listing_next(buf, sizeof(listing_bytes), &pos,
	    &e), 1);
	ck_assert_str_eq(e.session, "b");
	ck_assert_int_eq(msg_listing_next(buf, sizeof(listing_bytes), &pos,
	    &e), 0);
	ck_assert_int_eq(msg_listing_encode(NULL, 0, buf, sizeof(buf),
	    &taken), 2);
	pos = 0;
	ck_assert_int_eq(msg_listing_next(buf, 2, &pos, &e), 0);
}
END_TEST

START_TEST(listing_too_long)
{
	static struct msg_listing_entry many[100];
	struct msg_listing_entry e;
	uint8_t buf[4096];
	size_t done, taken, pos, seen = 0;
	int len;

	for (done = 0; done < COUNT(many); done++) {
		(void)snprintf(many[done].session, sizeof(many[0].session),
		    "s%zu", done);
		memset(many[done].target, 't', MSG_TARGET_MAX);
	}
	for (done = 0; done < COUNT(many); done += taken) {
		len = msg_listing_encode(many + done, COUNT(many) - done, buf,
		    sizeof(buf), &taken);
		ck_assert_int_gt(len, 2);
		ck_assert_uint_gt(taken, 0);
		for (pos = 0; msg_listing_next(buf, (size_t)len, &pos, &e) ==
		    1; seen++)
			ck_assert_str_eq(e.session, many[seen].session);
	}
	ck_assert_uint_eq(seen, COUNT(many));
	ck_assert_int_eq(msg_listing_encode(many, 1, buf, 100, &taken),
	    -ENOBUFS);
	ck_assert_int_eq(msg_listing_encode(many, 1, buf, 1, &taken),
	    -ENOBUFS);
}
END_TEST

START_TEST(listing_bad)
{
	struct msg_listing_entry e;
	uint8_t buf[64];
	size_t len, pos;
	int rc;

	memcpy(buf, listing_bytes, sizeof(listing_bytes));
	for (len = 0; len < sizeof(listing_bytes); len++) {
		pos = 0;
		while ((rc = msg_listing_next(buf, len, &pos, &e)) == 1)
			;
		ck_assert_int_eq(rc, -EBADMSG);
	}
	buf[1] = 1;
	pos = 0;
	ck_assert_int_eq(msg_listing_next(buf, len, &pos, &e), 1);
	ck_assert_int_eq(msg_listing_next(buf, len, &pos, &e), -EBADMSG);
}
END_TEST

START_TEST(submit_tlvs)
{
	static const struct {
		uint8_t		bytes[20];
		size_t		len;
		int		rc;
		uint32_t	deadline;
	} cases[] = {
		{ { 0 }, 0, 0, 77 },
		{ { 0, 1, 0, 4, 0, 0, 0x27, 0x10 }, 8, 0, 10000 },
		{ { 0, 1, 0, 4, 0, 0, 0, 0 }, 8, 0, 0 },
		{ { 0x80, 9, 0, 1, 5, 0, 1, 0, 4, 0, 0, 0, 1 }, 13, 0, 1 },
		{ { 0, 1, 0, 4, 0, 0, 0 }, 7, -EBADMSG, 77 },
		{ { 0, 1, 0, 3, 0, 0, 0 }, 7, -EBADMSG, 77 },
		{ { 0, 1, 0, 5, 0, 0, 0, 0, 0 }, 9, -EBADMSG, 77 },
		{ { 0, 2, 0, 0 }, 4, -EBADMSG, 77 },
		{ { 0, 2, 0, 1, 4 }, 5, -EBADMSG, 77 },
		{ { 0, 3, 0, 1, 0 }, 5, -EBADMSG, 77 },
		{ { 0, 5, 0, 0 }, 4, -EBADMSG, 77 },
		{ { 0, 1, 0, 4, 0, 0, 0, 1, 0, 1, 0, 4, 0, 0, 0, 2 }, 16,
		    -EBADMSG, 77 },
		{ { 0, 1, 0, 4, 0, 0, 0, 1, 0 }, 9, -EBADMSG, 77 },
	};
	struct msg_submit_options o = { .deadline = 10000 };
	uint8_t buf[8];
	size_t i;

	ck_assert_int_eq(msg_submit_tlv_encode(&o, true, buf, 8), 8);
	ck_assert_mem_eq(buf, cases[1].bytes, 8);
	ck_assert_int_eq(msg_submit_tlv_encode(&o, true, buf, 7), -ENOBUFS);
	ck_assert_int_eq(msg_submit_tlv_encode(&o, false, buf, 0), 0);
	for (i = 0; i < COUNT(cases); i++) {
		o.deadline = 77;
		ck_assert_int_eq(msg_submit_tlv_decode(cases[i].bytes,
		    cases[i].len, &o), cases[i].rc);
		ck_assert_uint_eq(o.deadline, cases[i].deadline);
	}
}
END_TEST

START_TEST(no_fields)
{
	ck_assert_int_eq(msg_tlv_check(NULL, 0), 0);
	ck_assert_int_eq(msg_tlv_check((const uint8_t *)"\x80\0\0\0", 4), 0);
	ck_assert_int_eq(msg_tlv_check((const uint8_t *)"\0\0\0\0", 4),
	    -EBADMSG);
	ck_assert_int_eq(msg_tlv_check((const uint8_t *)"x", 1), -EBADMSG);
}
END_TEST

START_TEST(names)
{
	unsigned i;

	for (i = 0; i <= 35; i++)
		ck_assert_int_eq(strcmp(msg_reason_name(i), "unknown") == 0,
		    i > 34);
	for (i = 0; i <= 6; i++)
		ck_assert_int_eq(strcmp(msg_outcome_name(i), "unknown") == 0,
		    i == 0 || i == 6 || i == MSG_OUTCOME_UNKNOWN);
	for (i = 0; i <= 9; i++)
		ck_assert_int_eq(strcmp(msg_event_name(i), "unknown") == 0,
		    i == 9);
	for (i = 0; i <= 5; i++)
		ck_assert_int_eq(strcmp(msg_state_name(i), "unknown") == 0,
		    i == 5);
	ck_assert_str_eq(msg_reason_name(MSG_R_QUOTA), "over-quota");
	ck_assert_str_eq(msg_outcome_name(MSG_OUTCOME_NOT_SENT), "not-sent");
	ck_assert_str_eq(msg_event_name(MSG_EVENT_LOST), "events-lost");
	ck_assert_str_eq(msg_state_name(MSG_SESSION_UP), "up");
}
END_TEST

/* SPC-4 TEST UNIT READY to LUN 1 as the client submits it, and GOOD. */
static const uint8_t test_unit_ready[48] = {
	0x01, 0x81, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1,
};
static const uint8_t good[48] = {
	0x21, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1,
	0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 4, 0, 0, 0, 0x43,
};

static size_t
put_frame(uint8_t *to, uint16_t type, uint64_t cookie, const void *payload,
    size_t len)
{
	struct frame_header h = { (uint32_t)len, type, 0, cookie };

	frame_header_put(to, &h);
	memcpy(to + FRAME_HEADER_LEN, payload, len);
	return FRAME_HEADER_LEN + len;
}

static size_t
make_example(uint8_t *to)
{
	size_t n = 0;

	n += put_frame(to + n, FRAME_HELLO, 1, hello_bytes,
	    sizeof(hello_bytes));
	n += put_frame(to + n, FRAME_WELCOME, 1, welcome_bytes,
	    sizeof(welcome_bytes));
	n += put_frame(to + n, FRAME_ATTACH, 2, attach_bytes,
	    sizeof(attach_bytes));
	n += put_frame(to + n, FRAME_ATTACHED, 2, attached_bytes,
	    sizeof(attached_bytes));
	n += put_frame(to + n, FRAME_SUBMIT, 3, test_unit_ready, 48);
	n += put_frame(to + n, FRAME_PDU, 3, good, 48);
	return n;
}

/*
 * The bytes of a line of the document's example: four spaces, then pairs of
 * hexadecimal digits up to a '|' or the end of the line.
 */
static size_t
hex_line(const char *line, uint8_t *to)
{
	size_t n = 0;
	unsigned byte;
	int used;

	if (strncmp(line, "    ", 4) != 0)
		return 0;
	line += 4;
	while (sscanf(line, "%2x%n", &byte, &used) == 1 && used == 2) {
		to[n++] = (uint8_t)byte;
		line += used + strspn(line + used, " ");
	}
	return *line == '|' || *line == '\n' ? n : 0;
}

START_TEST(worked_example)
{
	uint8_t want[1024], got[1024], row[256];
	size_t n = make_example(want), have = 0, len;
	bool inside = false;
	char line[512];
	FILE *f;

	f = fopen(PROTOCOL_MD, "r");
	ck_assert_msg(f != NULL, "%s: %s", PROTOCOL_MD, strerror(errno));
	while (fgets(line, sizeof(line), f) != NULL) {
		if (line[0] == '#')
			inside = strstr(line, "Worked example") != NULL;
		len = inside ? hex_line(line, row) : 0;
		ck_assert_uint_le(len, sizeof(got) - have);
		memcpy(got + have, row, len);
		have += len;
	}
	(void)fclose(f);
	ck_assert_uint_eq(have, n);
	ck_assert_mem_eq(got, want, n);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("msg");
	TCase *tc = tcase_create("msg");
	int n = (int)COUNT(codecs);

	tcase_add_loop_test(tc, literal_bytes, 0, n);
	tcase_add_loop_test(tc, no_room, 0, n);
	tcase_add_loop_test(tc, too_short, 0, n);
	tcase_add_loop_test(tc, trailing_bytes, 0, n);
	tcase_add_loop_test(tc, strings_in, 0, n);
	tcase_add_loop_test(tc, string_lengths, 0, n);
	tcase_add_test(tc, strings_out);
	tcase_add_test(tc, bad_fields);
	tcase_add_test(tc, listing_codec);
	tcase_add_test(tc, listing_too_long);
	tcase_add_test(tc, listing_bad);
	tcase_add_test(tc, submit_tlvs);
	tcase_add_test(tc, no_fields);
	tcase_add_test(tc, names);
	tcase_add_test(tc, worked_example);
	suite_add_tcase(suite, tc);
	return unit_run(suite);
}
