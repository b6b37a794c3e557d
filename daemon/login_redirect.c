/* SPDX-License-Identifier: ISC */
/*
 * Reads where a target says it has moved (RFC 7143 section 13.8).  It knows
 * the text of one response and follows nothing.
 */
#include "config.h"

#include <string.h>

#include "daemon/login_priv.h"

#define STATUS_MOVED_PERMANENTLY	0x0102

/* Copy a value of less than `size` bytes. */
static bool
take_value(const struct text_pair *pair, char *out, size_t size)
{
	if (pair->value_len >= size)
		return false;
	memcpy(out, pair->value, pair->value_len + 1);
	return true;
}

/*
 * There is no portal group tag in this address, by the RFC, but some targets
 * send the form that SendTargets has: "host:port,tag".
 */
static const char *
parse_address(struct login_redirect *r)
{
	char portal[LOGIN_ADDRESS_MAX + 1];
	char *tag;

	memcpy(portal, r->address, sizeof(portal));
	tag = strrchr(portal, ',');
	if (tag != NULL && tag[1] != '\0' &&
	    tag[1 + strspn(tag + 1, "0123456789")] == '\0')
		*tag = '\0';
	return config_portal_parse(portal, r->host, &r->port);
}

/* A name that is none is worse than no name. */
static bool
take_target(struct login_redirect *r, const struct text_pair *pair)
{
	return take_value(pair, r->target, sizeof(r->target)) &&
	    config_iscsi_name_check(r->target) == NULL;
}

int
login_redirect_read(struct login_redirect *r, bool *usable, uint16_t status,
    const char *name, const uint8_t *data, size_t len, struct login_why *why)
{
	struct text_reader reader;
	struct text_pair pair;
	const char *wrong;
	bool target_ok = true;

	text_reader_init(&reader, data, len);
	while (text_next(&reader, &pair) == TEXT_OK) {
		if (text_key_is(&pair, "TargetAddress") &&
		    !take_value(&pair, r->address, sizeof(r->address)))
			return login_fail(why, "%s (login status 0x%04x), but "
			    "the TargetAddress is too long", name, status);
		if (text_key_is(&pair, "TargetName"))
			target_ok = take_target(r, &pair);
	}
	if (r->address[0] == '\0')
		return login_fail(why, "%s (login status 0x%04x), but no "
		    "TargetAddress is given", name, status);
	wrong = parse_address(r);
	if (wrong == NULL && !target_ok)
		wrong = "the TargetName there is no iSCSI name";
	r->permanent = status == STATUS_MOVED_PERMANENTLY;
	*usable = wrong == NULL;
	return login_fail(why, "%s to %s (login status 0x%04x)%s%s", name,
	    r->address, status, wrong != NULL ? ", which is of no use: " : "",
	    wrong != NULL ? wrong : "");
}
