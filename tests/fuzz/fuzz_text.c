/* SPDX-License-Identifier: ISC */
/*
 * Fuzzes iSCSI text: every pair, number, boolean and binary value that is read
 * must read the same after the writer wrote it, and nothing is read beyond the
 * text's end or written beyond the room there is.
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "proto/text.h"
#include "tests/fuzz/fuzz.h"

static void
write_and_read(const struct text_pair *pair)
{
	static char buf[TEXT_KEY_MAX + TEXT_VALUE_MAX + 2];
	char key[TEXT_KEY_MAX + 1];
	struct text_writer w;
	struct text_reader r;
	struct text_pair again;

	memcpy(key, pair->key, pair->key_len);
	key[pair->key_len] = '\0';
	text_writer_init(&w, buf, sizeof(buf));
	text_put(&w, key, pair->value);
	fuzz_require(!w.overflow);
	text_reader_init(&r, buf, w.len);
	fuzz_require(text_next(&r, &again) == TEXT_OK);
	fuzz_require(text_key_is(&again, key));
	fuzz_require(text_value_is(&again, pair->value));
	fuzz_require(text_next(&r, &again) == TEXT_END);
}

/* Read the one pair that was written. */
static void
read_one(const struct text_writer *w, struct text_pair *pair)
{
	struct text_reader r;

	fuzz_require(!w->overflow);
	text_reader_init(&r, w->buf, w->len);
	fuzz_require(text_next(&r, pair) == TEXT_OK);
}

static void
interpret(const struct text_pair *pair)
{
	uint64_t value = 0, same = 0;
	bool yes = false, again = false;
	struct text_pair written;
	struct text_writer w;
	char buf[64];
	int rc;

	rc = text_number(pair, 16777215, &value);
	fuzz_require(rc == 0 || rc == -EINVAL || rc == -ERANGE);
	fuzz_require(value <= 16777215);
	text_writer_init(&w, buf, sizeof(buf));
	text_put_number(&w, "N", value);
	read_one(&w, &written);
	fuzz_require(text_number(&written, value, &same) == 0 &&
	    same == value);
	rc = text_boolean(pair, &yes);
	fuzz_require(rc == 0 || rc == -EINVAL);
	text_writer_init(&w, buf, sizeof(buf));
	text_put_boolean(&w, "B", yes);
	read_one(&w, &written);
	fuzz_require(text_boolean(&written, &again) == 0 && again == yes);
	(void)text_list_has(pair->value, "CRC32C");
}

/* Read a binary value into `size` bytes, which end where memory does. */
static void
binary(const struct text_pair *pair, size_t size)
{
	static char buf[2 * TEXT_VALUE_MAX + 16];
	uint8_t *bytes = malloc(size), *again = malloc(size);
	struct text_pair written;
	struct text_writer w;
	size_t len = 0, same = 0;
	int rc;

	fuzz_require(bytes != NULL && again != NULL);
	rc = text_binary(pair, bytes, size, &len);
	fuzz_require(rc == 0 || rc == -EINVAL || rc == -ERANGE);
	if (rc == 0) {
		fuzz_require(len > 0 && len <= size);
		text_writer_init(&w, buf, sizeof(buf));
		text_put_binary(&w, "B", bytes, len);
		read_one(&w, &written);
		fuzz_require(text_binary(&written, again, len, &same) == 0);
		fuzz_require(same == len && memcmp(bytes, again, len) == 0);
	}
	free(bytes);
	free(again);
}

int
LLVMFuzzerTestOneInput(const uint8_t *buf, size_t len)
{
	struct text_reader r;
	struct text_pair pair;
	enum text_error error;

	text_reader_init(&r, buf, len);
	while ((error = text_next(&r, &pair)) == TEXT_OK) {
		fuzz_require(pair.key >= (const char *)buf);
		fuzz_require(pair.value + pair.value_len <
		    (const char *)buf + len);
		interpret(&pair);
		binary(&pair, 1);
		binary(&pair, 3);
		binary(&pair, 1024);
		write_and_read(&pair);
	}
	fuzz_require(*text_error_name(error) != '\0');
	fuzz_require(text_next(&r, &pair) == error);
	return 0;
}
