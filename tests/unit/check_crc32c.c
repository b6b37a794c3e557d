/* SPDX-License-Identifier: ISC */
/*
 * CRC32C against known answers: RFC 7143 appendix A.4 and values computed
 * bit by bit here, so that ISA-L has a witness.
 */
#include "config.h"

#include <string.h>

#include "proto/crc32c.h"
#include "tests/unit/unit.h"

/* The definition, one bit at a time (RFC 7143 section 13.1). */
static uint32_t
bitwise(const uint8_t *p, size_t len)
{
	uint32_t crc = 0xffffffff;
	size_t i;
	int bit;

	for (i = 0; i < len; i++) {
		crc ^= p[i];
		for (bit = 0; bit < 8; bit++)
			crc = (crc >> 1) ^ ((crc & 1) ? 0x82f63b78 : 0);
	}
	return ~crc;
}

static void
fill(uint8_t *p, size_t len, int first, int step)
{
	size_t i;

	for (i = 0; i < len; i++)
		p[i] = (uint8_t)(first + (int)i * step);
}

static void
check_digest(const void *buf, size_t len, const char *wire_bytes)
{
	uint8_t wire[CRC32C_SIZE];

	crc32c_put(wire, crc32c(buf, len), CRC32C_LITTLE);
	ck_assert_mem_eq(wire, wire_bytes, CRC32C_SIZE);
	ck_assert_uint_eq(crc32c_get(wire, CRC32C_LITTLE), crc32c(buf, len));
}

START_TEST(patterns)
{
	uint8_t buf[32];

	fill(buf, sizeof(buf), 0, 0);
	check_digest(buf, sizeof(buf), "\xaa\x36\x91\x8a");
	fill(buf, sizeof(buf), 0xff, 0);
	check_digest(buf, sizeof(buf), "\x43\xab\xa8\x62");
	fill(buf, sizeof(buf), 0, 1);
	check_digest(buf, sizeof(buf), "\x4e\x79\xdd\x46");
	fill(buf, sizeof(buf), 0x1f, -1);
	check_digest(buf, sizeof(buf), "\x5c\xdb\x3f\x11");
	check_digest("123456789", 9, "\x83\x92\x06\xe3");
	ck_assert_uint_eq(crc32c("123456789", 9), 0xe3069283);
}
END_TEST

START_TEST(read10_header)
{
	static const uint8_t bhs[48] = {
		0x01, 0xc0, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
		0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
		0x14, 0x00, 0x00, 0x00, 0x00, 0x00, 0x04, 0x00,
		0x00, 0x00, 0x00, 0x14, 0x00, 0x00, 0x00, 0x18,
		0x28, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
		0x02, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
	};

	check_digest(bhs, sizeof(bhs), "\x56\x3a\x96\xd9");
}
END_TEST

START_TEST(padding_and_ahs)
{
	static const uint8_t header[56] = {
		0x01, 0xe0, 0x00, 0x00, 0x02, 0x00, 0x00, 0x00,
		0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
		0x14, 0x00, 0x00, 0x00, 0x00, 0x00, 0x04, 0x00,
		0x00, 0x00, 0x00, 0x14, 0x00, 0x00, 0x00, 0x18,
		0x28, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
		0x02, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
		0x00, 0x05, 0x02, 0x00, 0x00, 0x00, 0x02, 0x00,
	};

	check_digest("abc\0", 4, "\x4c\x0e\x94\x34");
	check_digest("abc\xff", 4, "\x1d\x5d\xe9\x99");
	check_digest("abc", 3, "\xb7\x3f\x4b\x36");
	check_digest(header, sizeof(header), "\x2d\xa1\x31\x5d");
}
END_TEST

START_TEST(byte_orders)
{
	uint8_t wire[CRC32C_SIZE];

	crc32c_put(wire, 0x8a9136aa, CRC32C_LITTLE);
	ck_assert_mem_eq(wire, "\xaa\x36\x91\x8a", CRC32C_SIZE);
	ck_assert_uint_eq(crc32c_get(wire, CRC32C_LITTLE), 0x8a9136aa);
	crc32c_put(wire, 0x8a9136aa, CRC32C_BIG);
	ck_assert_mem_eq(wire, "\x8a\x91\x36\xaa", CRC32C_SIZE);
	ck_assert_uint_eq(crc32c_get(wire, CRC32C_BIG), 0x8a9136aa);
}
END_TEST

START_TEST(lengths_and_pieces)
{
	uint8_t buf[300];
	size_t len, cut;
	uint32_t crc, want;

	fill(buf, sizeof(buf), 7, 13);
	for (len = 0; len <= sizeof(buf); len++) {
		want = bitwise(buf, len);
		ck_assert_uint_eq(crc32c(buf, len), want);
		cut = len / 3;
		crc = crc32c_update(CRC32C_INIT, buf, cut);
		crc = crc32c_update(crc, buf + cut, len - cut);
		ck_assert_uint_eq(crc32c_final(crc), want);
	}
	for (cut = 0; cut < 16; cut++)
		ck_assert_uint_eq(crc32c(buf + cut, 256),
		    bitwise(buf + cut, 256));
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("crc32c");
	TCase *tc = tcase_create("crc32c");

	tcase_add_test(tc, patterns);
	tcase_add_test(tc, read10_header);
	tcase_add_test(tc, padding_and_ahs);
	tcase_add_test(tc, byte_orders);
	tcase_add_test(tc, lengths_and_pieces);
	suite_add_tcase(suite, tc);
	return unit_run(suite);
}
