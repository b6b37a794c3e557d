/* SPDX-License-Identifier: ISC */
/*
 * Fuzzes answers to SendTargets: the walk ends, every record is within its
 * bounds, and its portal reads the same after it was written.
 */
#include "config.h"

#include <string.h>

#include "proto/sendtargets.h"
#include "tests/fuzz/fuzz.h"

static void
write_and_read(const struct sendtargets_record *record)
{
	char portal[SENDTARGETS_PORTAL_SIZE];
	struct sendtargets_record again;

	sendtargets_portal(record, portal);
	if (record->host[0] == '\0') {
		fuzz_require(!record->have_tpgt);
		fuzz_require(record->port == ISCSI_PORT);
		return;
	}
	fuzz_require(record->port != 0);
	fuzz_require(sendtargets_address(portal, &again) == NULL);
	fuzz_require(strcmp(again.host, record->host) == 0);
	fuzz_require(again.port == record->port && !again.have_tpgt);
}

int
LLVMFuzzerTestOneInput(const uint8_t *buf, size_t len)
{
	struct sendtargets_record record;
	enum sendtargets_status status;
	struct sendtargets st;
	size_t count = 0;

	sendtargets_init(&st, buf, len);
	while ((status = sendtargets_next(&st, &record)) ==
	    SENDTARGETS_RECORD) {
		/* A record costs a pair, and a pair is longer than this. */
		fuzz_require(++count <= len);
		fuzz_require(record.target[0] != '\0');
		fuzz_require(strlen(record.target) <= ISCSI_NAME_MAX);
		fuzz_require(strlen(record.host) <= SENDTARGETS_HOST_MAX);
		write_and_read(&record);
	}
	fuzz_require((status == SENDTARGETS_ERROR) ==
	    (*sendtargets_error(&st) != '\0'));
	for (const char *p = sendtargets_error(&st); *p != '\0'; p++)
		fuzz_require(*p >= 0x20 && *p < 0x7f);
	fuzz_require(sendtargets_next(&st, &record) == status);
	return 0;
}
