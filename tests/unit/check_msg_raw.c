/* SPDX-License-Identifier: ISC */
/*
 * The payloads of raw connections: each message has its bytes written out
 * here, is cut at every byte, and has every field wrong once.
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "proto/iscsi.h"
#include "proto/msg_raw.h"
#include "tests/unit/unit.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

#define PARAMS(given)							\
	{ MSG_RAW_FULL_FEATURE, given, 262144, 8192, 65536, 4096, 3,	\
	    0x11121314, 0x21222324, 0x31323334, 0x41424344,		\
	    { 0x80, 1, 2, 3, 4, 5 }, 0x5152, "iqn.x" }
#define PARAMS_BYTES(flag_hi, flag_lo)					\
	1, 0, 0, flag_hi, flag_lo, 0, 4, 0, 0, 0, 0, 0x20, 0,		\
	0, 1, 0, 0, 0, 0, 0x10, 0, 0, 0, 0, 3,				\
	0x11, 0x12, 0x13, 0x14, 0x21, 0x22, 0x23, 0x24,			\
	0x31, 0x32, 0x33, 0x34, 0x41, 0x42, 0x43, 0x44,			\
	0x80, 1, 2, 3, 4, 5, 0x51, 0x52, 5, 'i', 'q', 'n', '.', 'x'

/* Offsets inside of the parameters. */
enum {
	P_PHASE = 0, P_FLAGS = 1, P_RECV_DSL = 5, P_SEND_DSL = 9,
	P_MAX_BURST = 13, P_FIRST_BURST = 17, P_MAX_R2T = 21, P_TARGET = 49
};

static const struct msg_open open_ = { 5000, 30000, 0x1ff, "[::1]:3260" };
static const struct msg_adopt adopt = { 7, 0x80, PARAMS(0x0f3f), 3 };
static const struct msg_set set = { 0xf0003, 2, 4096, 0xffffff, 9, 0x01020304 };
static const struct msg_share share = { "disk" };
static const struct msg_state state = { PARAMS(0x1f3f), 1, 2, 3,
    UINT64_C(0x0405060708090a0b), 5, 6, 7, 8, 9, "a:1", "b:2" };
static const struct msg_exported exported = { PARAMS(0x0001), 3 };
static const struct msg_tag tag = { 0x01020304 };

static const uint8_t open_bytes[] = {
	0, 0, 0x13, 0x88, 0, 0, 0x75, 0x30, 0, 0, 1, 0xff,
	10, '[', ':', ':', '1', ']', ':', '3', '2', '6', '0',
};
static const uint8_t adopt_bytes[] = {
	0, 0, 0, 7, 0, 0, 0, 0x80, PARAMS_BYTES(0x0f, 0x3f), 0, 0, 0, 3,
};
static const uint8_t set_bytes[] = {
	0, 0x0f, 0, 3, 0, 0, 0, 2, 0, 0, 0x10, 0, 0, 0xff, 0xff, 0xff,
	0, 0, 0, 9, 1, 2, 3, 4,
};
static const uint8_t share_bytes[] = { 4, 'd', 'i', 's', 'k' };
static const uint8_t state_bytes[] = {
	PARAMS_BYTES(0x1f, 0x3f), 0, 0, 0, 1, 0, 0, 0, 2,
	0, 0, 0, 0, 0, 0, 0, 3, 4, 5, 6, 7, 8, 9, 10, 11,
	0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 6,
	0, 0, 0, 7, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 9,
	3, 'a', ':', '1', 3, 'b', ':', '2',
};
static const uint8_t exported_bytes[] = {
	PARAMS_BYTES(0, 1), 0, 0, 0, 3,
};
static const uint8_t tag_bytes[] = { 1, 2, 3, 4 };

#define CODEC(name, value)						\
	static int							\
	name##_out(uint8_t *buf, size_t size)				\
	{								\
		return msg_##name##_encode(&value, buf, size);		\
	}								\
	static int							\
	name##_in(const uint8_t *buf, size_t len, uint8_t *again)	\
	{								\
		struct msg_##name m;					\
		int rc = msg_##name##_decode(buf, len, &m);		\
									\
		if (rc >= 0)						\
			rc = msg_##name##_encode(&m, again, 4096);	\
		return rc;						\
	}

CODEC(open, open_)
CODEC(adopt, adopt)
CODEC(set, set)
CODEC(share, share)
CODEC(state, state)
CODEC(exported, exported)
CODEC(tag, tag)

static const struct codec {
	const uint8_t	*bytes;
	size_t		 len;
	bool		 stream;	/* bytes follow, no TLVs */
	int		(*out)(uint8_t *, size_t);
	int		(*in)(const uint8_t *, size_t, uint8_t *);
} codecs[] = {
#define ROW(name, stream)						\
	{ name##_bytes, sizeof(name##_bytes), stream, name##_out, name##_in }
	ROW(open, false), ROW(adopt, true), ROW(set, false),
	ROW(share, false), ROW(state, false), ROW(exported, true),
	ROW(tag, false),
};

START_TEST(literal_bytes)
{
	const struct codec *c = &codecs[_i];
	uint8_t buf[4096];

	ck_assert_int_eq(c->out(buf, sizeof(buf)), (int)c->len);
	ck_assert_mem_eq(buf, c->bytes, c->len);
	memset(buf, 0, sizeof(buf));
	ck_assert_int_eq(c->in(c->bytes, c->len, buf), (int)c->len);
	ck_assert_mem_eq(buf, c->bytes, c->len);
}
END_TEST

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

/* TLVs that may be ignored, or bytes of the stream, and nothing else. */
START_TEST(trailing_bytes)
{
	static const uint8_t tlv[] = { 0x80, 0, 0, 1, 7 };
	static const uint8_t known[] = { 0, 1, 0, 0 };
	const struct codec *c = &codecs[_i];
	uint8_t buf[4096], again[4096];

	memcpy(buf, c->bytes, c->len);
	memcpy(buf + c->len, tlv, sizeof(tlv));
	if (c->stream) {
		ck_assert_int_eq(c->in(buf, c->len + 3, again), (int)c->len);
		ck_assert_int_eq(c->in(buf, c->len + 4, again), -EBADMSG);
		return;
	}
	ck_assert_int_eq(c->in(buf, c->len + 5, again), (int)c->len);
	ck_assert_int_eq(c->in(buf, c->len + 4, again), -EBADMSG);
	memcpy(buf + c->len, known, sizeof(known));
	ck_assert_int_eq(c->in(buf, c->len + 4, again), -EBADMSG);
}
END_TEST

/* A field of the parameters with a value of `width` bytes. */
static const struct bad_param {
	size_t		off;
	unsigned	width;
	uint32_t	good, bad;
} bad_params[] = {
	{ P_PHASE, 1, 0, 2 },
	{ P_RECV_DSL, 4, ISCSI_DSL_MAX, ISCSI_DSL_MAX + 1 },
	{ P_SEND_DSL, 4, ISCSI_DSL_MAX, ISCSI_DSL_MAX + 1 },
	{ P_MAX_BURST, 4, ISCSI_DSL_MAX, ISCSI_DSL_MAX + 1 },
	{ P_FIRST_BURST, 4, ISCSI_DSL_MAX, ISCSI_DSL_MAX + 1 },
	{ P_MAX_R2T, 4, UINT16_MAX, UINT16_MAX + 1 },
	{ P_TARGET + 1, 1, 'I', '\n' },
};

START_TEST(bad_parameters)
{
	static const size_t at[] = { 8, 0, 0 };
	static const struct codec *with[] = { &codecs[1], &codecs[4],
		&codecs[5] };
	const struct bad_param *b = &bad_params[_i];
	uint8_t buf[4096], again[4096];
	size_t i;

	for (i = 0; i < COUNT(with); i++) {
		uint8_t *p = buf + at[i] + b->off;

		memcpy(buf, with[i]->bytes, with[i]->len);
		if (b->width == 1)
			*p = (uint8_t)b->good;
		else
			put_be32(p, b->good);
		ck_assert_int_eq(with[i]->in(buf, with[i]->len, again),
		    (int)with[i]->len);
		ck_assert_mem_eq(buf, again, with[i]->len);
		if (b->width == 1)
			*p = (uint8_t)b->bad;
		else
			put_be32(p, b->bad);
		ck_assert_int_eq(with[i]->in(buf, with[i]->len, again),
		    -EBADMSG);
	}
}
END_TEST

/* ADOPT gives no flag that the daemon itself has to know. */
START_TEST(adopt_flags)
{
	uint8_t buf[sizeof(adopt_bytes)];
	struct msg_adopt m;
	unsigned bit;

	for (bit = 0; bit < 32; bit++) {
		memcpy(buf, adopt_bytes, sizeof(buf));
		put_be32(buf + 8 + P_FLAGS, 1u << bit);
		ck_assert_int_eq(msg_adopt_decode(buf, sizeof(buf), &m),
		    (0x0f3fu >> bit & 1) != 0 ? (int)sizeof(buf) : -EBADMSG);
	}
}
END_TEST

START_TEST(unread_limit)
{
	uint8_t buf[sizeof(adopt_bytes)];
	struct msg_exported e;
	struct msg_adopt a;

	memcpy(buf, adopt_bytes, sizeof(buf));
	put_be32(buf + sizeof(buf) - 4, 17825792);
	ck_assert_int_eq(msg_adopt_decode(buf, sizeof(buf), &a),
	    (int)sizeof(buf));
	ck_assert_uint_eq(a.unread, 17825792);
	put_be32(buf + sizeof(buf) - 4, 17825793);
	ck_assert_int_eq(msg_adopt_decode(buf, sizeof(buf), &a), -EBADMSG);
	memcpy(buf, exported_bytes, sizeof(exported_bytes));
	put_be32(buf + sizeof(exported_bytes) - 4, 17825793);
	ck_assert_int_eq(msg_exported_decode(buf, sizeof(exported_bytes), &e),
	    -EBADMSG);
}
END_TEST

/* A flag needs its bit in the mask, and the mask has known bits only. */
START_TEST(set_masks)
{
	uint8_t buf[sizeof(set_bytes)];
	struct msg_set m;
	unsigned bit;

	for (bit = 0; bit < 32; bit++) {
		bool in_mask = (0xf003fu >> bit & 1) != 0;
		bool flag = bit < 6;

		memset(buf, 0, sizeof(buf));
		put_be32(buf, 1u << bit);
		ck_assert_int_eq(msg_set_decode(buf, sizeof(buf), &m),
		    in_mask ? 0 : -EBADMSG);
		put_be32(buf + 4, 1u << bit);
		ck_assert_int_eq(msg_set_decode(buf, sizeof(buf), &m),
		    flag ? 0 : -EBADMSG);
		put_be32(buf, 0);
		ck_assert_int_eq(msg_set_decode(buf, sizeof(buf), &m),
		    -EBADMSG);
	}
	memset(buf, 0, sizeof(buf));
	put_be32(buf + 8, ISCSI_DSL_MAX + 1);
	ck_assert_int_eq(msg_set_decode(buf, sizeof(buf), &m), -EBADMSG);
	put_be32(buf + 8, 0);
	put_be32(buf + 12, ISCSI_DSL_MAX + 1);
	ck_assert_int_eq(msg_set_decode(buf, sizeof(buf), &m), -EBADMSG);
}
END_TEST

/* The longest of everything fits into a frame with a descriptor. */
START_TEST(longest)
{
	static struct msg_adopt a = { .unread = MSG_UNREAD_MAX };
	static struct msg_state s;
	static struct msg_open o;
	uint8_t buf[512];

	memset(a.params.target, 'x', MSG_TARGET_MAX);
	memset(s.params.target, 'x', MSG_TARGET_MAX);
	memset(s.local, 'x', MSG_ADDRESS_MAX);
	memset(s.peer, 'x', MSG_ADDRESS_MAX);
	memset(o.portal, 'x', MSG_PORTAL_MAX);
	ck_assert_int_gt(msg_adopt_encode(&a, buf, sizeof(buf)), 0);
	ck_assert_int_gt(msg_open_encode(&o, buf, sizeof(buf)), 0);
	ck_assert_int_eq(msg_state_encode(&s, buf, sizeof(buf)), -ENOBUFS);
}
END_TEST

/* What may follow the data of a SUBMIT on a raw connection. */
START_TEST(submit_options)
{
	static const struct msg_submit_options all = {
		.deadline = 5,
		.expect = MSG_EXPECT_ONE,
		.free_itt = true,
		.digests = { true, false, { 1, 2, 3, 4 }, { 0 } },
	};
	static const uint8_t bytes[] = {
		0, 1, 0, 4, 0, 0, 0, 5, 0, 2, 0, 1, 2, 0, 3, 0, 0,
		0, 4, 0, 9, 1, 1, 2, 3, 4, 0, 0, 0, 0,
	};
	struct msg_submit_options back = { 0 };
	uint8_t buf[MSG_SUBMIT_TLV_MAX], bad[sizeof(bytes)];
	size_t len;

	ck_assert_int_eq(msg_submit_tlv_encode(&all, true, buf, sizeof(buf)),
	    (int)sizeof(bytes));
	ck_assert_mem_eq(buf, bytes, sizeof(bytes));
	for (len = 0; len < sizeof(bytes); len++)
		ck_assert_int_eq(msg_submit_tlv_decode(bytes, len, &back),
		    len == 0 || len == 8 || len == 13 || len == 17 ? 0 :
		    -EBADMSG);
	memset(&back, 0, sizeof(back));
	ck_assert_int_eq(msg_submit_tlv_decode(bytes, sizeof(bytes), &back),
	    0);
	ck_assert_uint_eq(back.deadline, 5);
	ck_assert_uint_eq(back.expect, MSG_EXPECT_ONE);
	ck_assert(back.free_itt);
	ck_assert(back.digests.header && !back.digests.data);
	ck_assert_mem_eq(back.digests.header_word, "\1\2\3\4", 4);
	memcpy(bad, bytes, sizeof(bad));
	bad[12] = 0;			/* no such expectation */
	ck_assert_int_eq(msg_submit_tlv_decode(bad, sizeof(bad), &back),
	    -EBADMSG);
	bad[12] = 4;
	ck_assert_int_eq(msg_submit_tlv_decode(bad, sizeof(bad), &back),
	    -EBADMSG);
	bad[12] = 3;
	bad[21] = 4;			/* no such digest */
	ck_assert_int_eq(msg_submit_tlv_decode(bad, sizeof(bad), &back),
	    -EBADMSG);
}
END_TEST

/* The digests behind a PDU. */
START_TEST(pdu_digests)
{
	static const uint8_t bytes[] = {
		0x80, 0, 0, 1, 9, 0, 4, 0, 9, 3, 1, 2, 3, 4, 5, 6, 7, 8,
	};
	struct msg_digests d = { false, false, { 0 }, { 0 } };
	uint8_t buf[16];
	size_t len;

	ck_assert_int_eq(msg_pdu_tlv_decode(bytes, sizeof(bytes), &d), 0);
	ck_assert(d.header && d.data);
	ck_assert_mem_eq(d.data_word, "\5\6\7\x8", 4);
	ck_assert_int_eq(msg_pdu_tlv_encode(&d, buf, sizeof(buf)), 13);
	ck_assert_mem_eq(buf, bytes + 5, 13);
	for (len = 1; len < sizeof(bytes); len++)
		ck_assert_int_eq(msg_pdu_tlv_decode(bytes, len, &d),
		    len == 5 ? 0 : -EBADMSG);
	ck_assert_int_eq(msg_pdu_tlv_decode((const uint8_t *)"\0\1\0\4\0\0\0\1",
	    8, &d), -EBADMSG);
}
END_TEST

/* EVENT closed has byte counts, and is the only one. */
START_TEST(event_closed)
{
	struct msg_event m = { .kind = MSG_EVENT_CLOSED, .count = 1,
	    .code = 104, .text = "reset", .bytes_in = 5,
	    .bytes_out = UINT64_C(0x0102030405060708) };
	static const uint8_t tlv[] = {
		0, 5, 0, 16, 0, 0, 0, 0, 0, 0, 0, 5, 1, 2, 3, 4, 5, 6, 7, 8,
	};
	struct msg_event back;
	uint8_t buf[256];
	int len = msg_event_encode(&m, buf, sizeof(buf));

	ck_assert_int_eq(len, 45 + 6 + (int)sizeof(tlv));
	ck_assert_mem_eq(buf + 51, tlv, sizeof(tlv));
	ck_assert_int_eq(msg_event_decode(buf, (size_t)len, &back), 0);
	ck_assert_uint_eq(back.bytes_in, 5);
	ck_assert_uint_eq(back.bytes_out, m.bytes_out);
	ck_assert_str_eq(back.text, "reset");
	ck_assert_uint_eq(back.code, 104);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("msg_raw");
	TCase *tc = tcase_create("msg_raw");

	tcase_add_loop_test(tc, literal_bytes, 0, (int)COUNT(codecs));
	tcase_add_loop_test(tc, no_room, 0, (int)COUNT(codecs));
	tcase_add_loop_test(tc, too_short, 0, (int)COUNT(codecs));
	tcase_add_loop_test(tc, trailing_bytes, 0, (int)COUNT(codecs));
	tcase_add_loop_test(tc, bad_parameters, 0, (int)COUNT(bad_params));
	tcase_add_test(tc, adopt_flags);
	tcase_add_test(tc, unread_limit);
	tcase_add_test(tc, set_masks);
	tcase_add_test(tc, longest);
	tcase_add_test(tc, submit_options);
	tcase_add_test(tc, pdu_digests);
	tcase_add_test(tc, event_closed);
	suite_add_tcase(s, tc);
	return unit_run(s);
}
