/* SPDX-License-Identifier: ISC */
/*
 * Reads the answer to SendTargets: which pairs open a record, which belong to
 * it, and what an address looks like.  It calls proto/text and the C library
 * and must never know a PDU.
 */
#include "config.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "proto/sendtargets.h"

#define VALUE_SHOWN	96	/* bytes of a target's value in a message */

void
sendtargets_init(struct sendtargets *st, const void *text, size_t len)
{
	memset(st, 0, sizeof(*st));
	text_reader_init(&st->reader, text, len);
}

const char *
sendtargets_error(const struct sendtargets *st)
{
	return st->error;
}

static enum sendtargets_status fail(struct sendtargets *st, const char *fmt,
    ...) __attribute__((format(printf, 2, 3)));

static enum sendtargets_status
fail(struct sendtargets *st, const char *fmt, ...)
{
	va_list ap;

	st->failed = true;
	va_start(ap, fmt);
	vsnprintf(st->error, sizeof(st->error), fmt, ap);
	va_end(ap);
	for (char *p = st->error; *p != '\0'; p++)
		if (*p < 0x20 || *p > 0x7e)
			*p = '?';
	return SENDTARGETS_ERROR;
}

/* --- addresses --- */

/* Copy the host; NULL, or what is wrong with it. */
static const char *
take_host(const char *host, size_t len, bool brackets,
    struct sendtargets_record *record)
{
	if (len == 0)
		return "it has no host";
	if (len > SENDTARGETS_HOST_MAX)
		return "its host is longer than 255 bytes";
	for (size_t i = 0; i < len; i++)
		if (host[i] <= ' ' || host[i] > '~' ||
		    strchr("[],/\\\"'", host[i]) != NULL)
			return "its host has a character that no host has";
	if (brackets && memchr(host, ':', len) == NULL)
		return "what is in brackets is no IPv6 address";
	memcpy(record->host, host, len);
	record->host[len] = '\0';
	return NULL;
}

/* A number of `len` digits up to 65535; false if it is none. */
static bool
take_number(const char *digits, size_t len, uint16_t *out)
{
	uint32_t n = 0;

	if (len == 0 || len > 5)
		return false;
	for (size_t i = 0; i < len; i++) {
		if (digits[i] < '0' || digits[i] > '9')
			return false;
		n = n * 10 + (uint32_t)(digits[i] - '0');
	}
	if (n > UINT16_MAX)
		return false;
	*out = (uint16_t)n;
	return true;
}

/* A portal group tag, a number in the notations of RFC 7143 section 6.1. */
static bool
take_group(const char *text, struct sendtargets_record *record)
{
	struct text_pair pair = { .value = text, .value_len = strlen(text) };
	uint64_t n;

	if (text_number(&pair, UINT16_MAX, &n) != 0)
		return false;
	record->tpgt = (uint16_t)n;
	record->have_tpgt = true;
	return true;
}

const char *
sendtargets_address(const char *text, struct sendtargets_record *record)
{
	bool brackets = *text == '[';
	const char *host = text + brackets, *rest, *why;
	size_t port_len;

	record->port = ISCSI_PORT;
	record->tpgt = 0;
	record->have_tpgt = false;
	record->host[0] = '\0';
	rest = host + strcspn(host, brackets ? "]" : ":,");
	if (brackets && *rest != ']')
		return "its bracket is not closed";
	why = take_host(host, (size_t)(rest - host), brackets, record);
	if (why != NULL)
		return why;
	rest += brackets;
	if (*rest == ':') {
		rest++;
		port_len = strcspn(rest, ",");
		if (memchr(rest, ':', port_len) != NULL)
			return "an IPv6 address must be in brackets";
		if (!take_number(rest, port_len, &record->port) ||
		    record->port == 0)
			return "its port is no number from 1 to 65535";
		rest += port_len;
	}
	if (*rest == '\0')
		return NULL;
	if (*rest != ',')
		return "it is not host[:port][,group]";
	return take_group(rest + 1, record) ? NULL :
	    "its portal group tag is no number up to 65535";
}

void
sendtargets_portal(const struct sendtargets_record *record,
    char buf[SENDTARGETS_PORTAL_SIZE])
{
	bool brackets = strchr(record->host, ':') != NULL;

	snprintf(buf, SENDTARGETS_PORTAL_SIZE, "%s%s%s:%u",
	    brackets ? "[" : "", record->host, brackets ? "]" : "",
	    record->port);
}

/* --- records --- */

static bool
is_name(const struct text_pair *pair)
{
	if (pair->value_len == 0 || pair->value_len > ISCSI_NAME_MAX)
		return false;
	for (size_t i = 0; i < pair->value_len; i++) {
		unsigned char c = (unsigned char)pair->value[i];

		/* Names may be UTF-8 (RFC 7143 section 4.2.7.1). */
		if (c <= ' ' || c == 0x7f)
			return false;
	}
	return true;
}

/* The target that was read last had no address: it is where we are. */
static enum sendtargets_status
yield_alone(struct sendtargets *st, struct sendtargets_record *record)
{
	*record = (struct sendtargets_record){ .port = ISCSI_PORT };
	memcpy(record->target, st->target, sizeof(record->target));
	st->alone = false;
	return SENDTARGETS_RECORD;
}

static enum sendtargets_status
yield_address(struct sendtargets *st, const struct text_pair *pair,
    struct sendtargets_record *record)
{
	const char *why;

	if (st->target[0] == '\0')
		return fail(st, "the target sent a TargetAddress before any "
		    "TargetName");
	memcpy(record->target, st->target, sizeof(record->target));
	why = sendtargets_address(pair->value, record);
	if (why != NULL)
		return fail(st, "the target sent TargetAddress=%.*s for "
		    "%.*s: %s", VALUE_SHOWN, pair->value, VALUE_SHOWN / 2,
		    st->target, why);
	st->alone = false;
	return SENDTARGETS_RECORD;
}

/* True if a record came of the pair, or an error; the status is `*status`. */
static bool
take_pair(struct sendtargets *st, const struct text_pair *pair,
    struct sendtargets_record *record, enum sendtargets_status *status)
{
	if (text_key_is(pair, "TargetAddress")) {
		*status = yield_address(st, pair, record);
		return true;
	}
	if (text_key_is(pair, "SendTargets")) {
		*status = fail(st, "the target answered SendTargets=%.*s",
		    VALUE_SHOWN, pair->value);
		return true;
	}
	if (!text_key_is(pair, "TargetName"))
		return false;
	if (!is_name(pair)) {
		*status = fail(st, "the target sent TargetName=%.*s, which is "
		    "no iSCSI name", VALUE_SHOWN, pair->value);
		return true;
	}
	memcpy(st->target, pair->value, pair->value_len + 1);
	st->alone = true;
	return false;
}

enum sendtargets_status
sendtargets_next(struct sendtargets *st, struct sendtargets_record *record)
{
	enum sendtargets_status status;
	struct text_reader before;
	struct text_pair pair;
	enum text_error error;

	if (st->failed)
		return SENDTARGETS_ERROR;
	for (;;) {
		before = st->reader;
		error = text_next(&st->reader, &pair);
		if (error == TEXT_END && !st->alone)
			return SENDTARGETS_END;
		if (st->alone && (error == TEXT_END || (error == TEXT_OK &&
		    text_key_is(&pair, "TargetName")))) {
			st->reader = before;
			return yield_alone(st, record);
		}
		if (error != TEXT_OK)
			return fail(st, "the target sent malformed text: %s",
			    text_error_name(error));
		if (take_pair(st, &pair, record, &status))
			return status;
	}
}
