/* SPDX-License-Identifier: ISC */
/*
 * Fuzzes iSCSI text: every pair that is read must read the same after the
 * writer wrote it, and nothing is read beyond the text's end.
 */
#include "config.h"

#include <errno.h>
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

static void
interpret(const struct text_pair *pair)
{
	uint64_t value = 0;
	bool yes = false;
	int rc;

	rc = text_number(pair, 16777215, &value);
	fuzz_require(rc == 0 || rc == -EINVAL || rc == -ERANGE);
	fuzz_require(value <= 16777215);
	rc = text_boolean(pair, &yes);
	fuzz_require(rc == 0 || rc == -EINVAL);
	(void)text_list_has(pair->value, "CRC32C");
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
		write_and_read(&pair);
	}
	fuzz_require(text_next(&r, &pair) == error);
	return 0;
}
