/* SPDX-License-Identifier: ISC */
/*
 * Values that are numbers with a unit or words of a fixed set: text to field.
 * Pure functions; they know the ranges of the key table, nothing else.
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/config_priv.h"

struct value_unit {
	const char	*name;
	uint64_t	 factor;
};

/* The largest first; a size may have none. */
static const struct value_unit value_sizes[] = {
	{ "G", 1ull << 30 }, { "M", 1ull << 20 }, { "K", 1ull << 10 },
	{ "", 1 }, { NULL, 0 }
};

/* A time without a unit would be a guess. */
static const struct value_unit value_times[] = {
	{ "m", 60000 }, { "s", 1000 }, { "ms", 1 }, { NULL, 0 }
};

static const struct value_unit value_counts[] = {
	{ "", 1 }, { NULL, 0 }
};

/*
 * Parse digits and a unit.  Returns 0, -EINVAL if `text` is none, or -ERANGE
 * if it does not fit 64 bits.
 */
static int
value_parse(const char *text, const struct value_unit *units, uint64_t *out)
{
	size_t digits = strspn(text, "0123456789");
	unsigned long long n;
	uint64_t product;

	while (units->name != NULL && strcmp(units->name, text + digits) != 0)
		units++;
	if (digits == 0 || units->name == NULL)
		return -EINVAL;
	errno = 0;
	n = strtoull(text, NULL, 10);
	if (errno == ERANGE ||
	    __builtin_mul_overflow(n, units->factor, &product))
		return -ERANGE;
	*out = product;
	return 0;
}

/* The shortest way to write `n`: the largest unit that divides it. */
static const char *
value_print(uint64_t n, const struct value_unit *units, char *buf, size_t size)
{
	while (units[1].name != NULL &&
	    (n < units->factor || n % units->factor != 0))
		units++;
	snprintf(buf, size, "%llu%s",
	    (unsigned long long)(n / units->factor), units->name);
	return buf;
}

const char *
config_size_text(uint64_t bytes, char *buf, size_t size)
{
	return value_print(bytes, value_sizes, buf, size);
}

const char *
config_time_text(uint64_t ms, char *buf, size_t size)
{
	if (ms == 0)
		strlcpy(buf, "0s", size);
	else
		value_print(ms, value_times, buf, size);
	return buf;
}

/* Parse a number within `min` and `max`.  Returns false, with the error
 * recorded, if it is none; `how` says how to write one. */
static bool
value_number(struct config_load *ld, const struct config_key *key,
    const struct config_value *v, const struct value_unit *units,
    uint64_t scale, const char *how, uint64_t *out)
{
	char lo[32], hi[32];
	int error;

	error = value_parse(v->text, units, out);
	if (error == -EINVAL) {
		config_fail(ld, &v->at, key->name, "'%.80s' is not %s",
		    v->text, how);
		return false;
	}
	if (error == 0 && *out >= key->min * scale && *out <= key->max * scale)
		return true;
	if (units == value_times) {
		config_time_text(key->min * scale, lo, sizeof(lo));
		config_time_text(key->max * scale, hi, sizeof(hi));
	} else {
		value_print(key->min, units, lo, sizeof(lo));
		value_print(key->max, units, hi, sizeof(hi));
	}
	config_fail(ld, &v->at, key->name, "'%.80s' is out of range: "
	    "write %s to %s", v->text, lo, hi);
	return false;
}

void
config_set_count(struct config_load *ld, const struct config_key *key,
    const struct config_value *v, size_t n, void *field)
{
	uint64_t number;

	(void)n;
	if (value_number(ld, key, v, value_counts, 1,
	    "a number: write decimal digits", &number))
		*(uint32_t *)field = (uint32_t)number;
}

#define VALUE_SIZE_HOW \
	"a size: write bytes as digits, or with K, M or G after them"
#define VALUE_TIME_HOW "a time: write digits and ms, s or m after them"

void
config_set_size(struct config_load *ld, const struct config_key *key,
    const struct config_value *v, size_t n, void *field)
{
	uint64_t number;

	(void)n;
	if (value_number(ld, key, v, value_sizes, 1, VALUE_SIZE_HOW, &number))
		*(uint64_t *)field = number;
}

void
config_set_size32(struct config_load *ld, const struct config_key *key,
    const struct config_value *v, size_t n, void *field)
{
	uint64_t number;

	(void)n;
	if (value_number(ld, key, v, value_sizes, 1, VALUE_SIZE_HOW, &number))
		*(uint32_t *)field = (uint32_t)number;
}

void
config_set_time(struct config_load *ld, const struct config_key *key,
    const struct config_value *v, size_t n, void *field)
{
	uint64_t number;

	(void)n;
	if (value_number(ld, key, v, value_times, 1, VALUE_TIME_HOW, &number))
		*(uint32_t *)field = (uint32_t)number;
}

void
config_set_seconds(struct config_load *ld, const struct config_key *key,
    const struct config_value *v, size_t n, void *field)
{
	uint64_t number;

	(void)n;
	if (!value_number(ld, key, v, value_times, 1000, VALUE_TIME_HOW,
	    &number))
		return;
	if (number % 1000 != 0)
		config_fail(ld, &v->at, key->name, "'%.80s' is not whole "
		    "seconds, which is all that iSCSI can say", v->text);
	*(uint32_t *)field = (uint32_t)(number / 1000);
}

void
config_set_mode(struct config_load *ld, const struct config_key *key,
    const struct config_value *v, size_t n, void *field)
{
	size_t len = strlen(v->text);
	unsigned long mode;

	(void)n;
	mode = strtoul(v->text, NULL, 8);
	if (len < 3 || len > 4 || strspn(v->text, "01234567") != len ||
	    mode < key->min || mode > key->max)
		config_fail(ld, &v->at, key->name, "'%.80s' is not a mode: "
		    "write 3 or 4 octal digits, 0000 to %04lo", v->text,
		    (unsigned long)key->max);
	else
		*(uint32_t *)field = (uint32_t)mode;
}

void
config_set_bool(struct config_load *ld, const struct config_key *key,
    const struct config_value *v, size_t n, void *field)
{
	bool yes = strcmp(v->text, "yes") == 0;

	(void)n;
	if (!yes && strcmp(v->text, "no") != 0)
		config_fail(ld, &v->at, key->name,
		    "'%.80s' is neither yes nor no", v->text);
	*(bool *)field = yes;
}

void
config_set_level(struct config_load *ld, const struct config_key *key,
    const struct config_value *v, size_t n, void *field)
{
	(void)n;
	if (log_level_parse(v->text, field) != 0)
		config_fail(ld, &v->at, key->name, "'%.80s' is no log level: "
		    "write error, warning, info or debug", v->text);
}

void
config_set_order(struct config_load *ld, const struct config_key *key,
    const struct config_value *v, size_t n, void *field)
{
	bool big = strcmp(v->text, "big") == 0;

	(void)n;
	if (!big && strcmp(v->text, "little") != 0)
		config_fail(ld, &v->at, key->name,
		    "'%.80s' is neither little nor big", v->text);
	*(bool *)field = big;
}

void
config_set_async_logout(struct config_load *ld, const struct config_key *key,
    const struct config_value *v, size_t n, void *field)
{
	bool drop = strcmp(v->text, "drop") == 0;

	(void)n;
	if (!drop && strcmp(v->text, "logout") != 0)
		config_fail(ld, &v->at, key->name,
		    "'%.80s' is neither logout nor drop", v->text);
	*(bool *)field = drop;
}

void
config_set_startup(struct config_load *ld, const struct config_key *key,
    const struct config_value *v, size_t n, void *field)
{
	bool manual = strcmp(v->text, "manual") == 0;

	(void)n;
	if (!manual && strcmp(v->text, "automatic") != 0)
		config_fail(ld, &v->at, key->name,
		    "'%.80s' is neither automatic nor manual", v->text);
	*(bool *)field = manual;
}

void
config_set_tpgt(struct config_load *ld, const struct config_key *key,
    const struct config_value *v, size_t n, void *field)
{
	struct config_session *s = field;
	uint32_t number = 0;

	config_set_count(ld, key, v, n, &number);
	s->tpgt = (uint16_t)number;
	s->tpgt_set = true;
}

void
config_set_digests(struct config_load *ld, const struct config_key *key,
    const struct config_value *v, size_t n, void *field)
{
	struct config_digests *d = field;
	enum config_digest digest;

	for (size_t i = 0; i < n; i++) {
		if (strcmp(v[i].text, "CRC32C") == 0) {
			digest = CONFIG_DIGEST_CRC32C;
		} else if (strcmp(v[i].text, "None") == 0) {
			digest = CONFIG_DIGEST_NONE;
		} else {
			config_fail(ld, &v[i].at, key->name, "'%.80s' is no "
			    "digest: write CRC32C, None or "
			    "{ CRC32C, None }", v[i].text);
			continue;
		}
		if (d->count == CONFIG_DIGESTS_MAX ||
		    (d->count == 1 && d->list[0] == digest))
			config_fail(ld, &v[i].at, key->name,
			    "'%s' is repeated: remove it", v[i].text);
		else
			d->list[d->count++] = digest;
	}
}
