/* SPDX-License-Identifier: ISC */
/*
 * Collects the text of an answer to SendTargets and reads it when it is whole.
 * It calls proto/sendtargets and slices, and must never know where the text
 * came from.
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/discover_found.h"

void
discover_found_free(struct discover_found *f)
{
	free(f->text);
	free(f->records);
	*f = (struct discover_found){ .text = NULL };
}

static bool
no_memory(char why[DISCOVER_WHY_MAX])
{
	strlcpy(why, "out of memory", DISCOVER_WHY_MAX);
	return false;
}

bool
discover_found_text(struct discover_found *f, const struct slices *data,
    char why[DISCOVER_WHY_MAX])
{
	size_t need = f->text_len + data->len;
	size_t size = f->text_size == 0 ? 4096 : f->text_size;
	char *grown;

	if (need > DISCOVER_TEXT_MAX) {
		snprintf(why, DISCOVER_WHY_MAX, "the target's answer is longer "
		    "than %u bytes", DISCOVER_TEXT_MAX);
		return false;
	}
	while (size < need)
		size *= 2;
	if (size > f->text_size) {
		grown = realloc(f->text, size);
		if (grown == NULL)
			return no_memory(why);
		f->text = grown;
		f->text_size = size;
	}
	f->text_len += slices_copy(data, f->text + f->text_len, data->len);
	return true;
}

static bool
add_record(struct discover_found *f, const struct sendtargets_record *record,
    const struct sendtargets_record *here, char why[DISCOVER_WHY_MAX])
{
	struct sendtargets_record *grown;
	size_t size = f->size == 0 ? 16 : f->size * 2;

	if (f->count == DISCOVER_RECORDS_MAX) {
		snprintf(why, DISCOVER_WHY_MAX, "the target has more than %u "
		    "addresses", DISCOVER_RECORDS_MAX);
		return false;
	}
	if (f->count == f->size) {
		grown = reallocarray(f->records, size, sizeof(*grown));
		if (grown == NULL)
			return no_memory(why);
		f->records = grown;
		f->size = size;
	}
	f->records[f->count] = *record;
	if (record->host[0] == '\0') {
		memcpy(f->records[f->count].host, here->host,
		    sizeof(here->host));
		f->records[f->count].port = here->port;
	}
	f->count++;
	return true;
}

bool
discover_found_read(struct discover_found *f,
    const struct sendtargets_record *here, char why[DISCOVER_WHY_MAX])
{
	struct sendtargets_record record;
	enum sendtargets_status status;
	struct sendtargets st;

	sendtargets_init(&st, f->text, f->text_len);
	while ((status = sendtargets_next(&st, &record)) ==
	    SENDTARGETS_RECORD) {
		if (!add_record(f, &record, here, why))
			return false;
	}
	if (status == SENDTARGETS_ERROR)
		strlcpy(why, sendtargets_error(&st), DISCOVER_WHY_MAX);
	return status == SENDTARGETS_END;
}
