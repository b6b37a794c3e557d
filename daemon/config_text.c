/* SPDX-License-Identifier: ISC */
/*
 * Values that are names and addresses: iSCSI names (RFC 7143 section 4.2.7),
 * portals, ISIDs, socket paths.  Pure functions; no name is looked up here.
 */
#include "config.h"

#include <sys/un.h>

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/config_priv.h"

#define TEXT_LETTERS	"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
#define TEXT_DIGITS	"0123456789"
#define TEXT_HEX	TEXT_DIGITS "abcdefABCDEF"
#define TEXT_HOST_MAX	253	/* bytes of a DNS name */

static bool
text_is_hex(const char *text, size_t len)
{
	return strlen(text) == len && strspn(text, TEXT_HEX) == len;
}

/* iqn.YYYY-MM.AUTHORITY[:ANYTHING] (RFC 7143 section 4.2.7.4). */
static bool
text_is_iqn(const char *name)
{
	int month;

	name += strlen("iqn.");
	if (strspn(name, TEXT_DIGITS) != 4 || name[4] != '-' ||
	    strspn(name + 5, TEXT_DIGITS) != 2 || name[7] != '.')
		return false;
	month = (name[5] - '0') * 10 + name[6] - '0';
	return month >= 1 && month <= 12 && name[8] != '\0' && name[8] != ':';
}

const char *
config_iscsi_name_check(const char *name)
{
	static const char legal[] = TEXT_LETTERS TEXT_DIGITS "._:-";
	size_t len = strlen(name);

	if (len > CONFIG_ISCSI_NAME_MAX)
		return "an iSCSI name has at most 223 bytes";
	if (strspn(name, legal) != len)
		return "an iSCSI name has only letters, digits and . - : _";
	if (strncmp(name, "iqn.", 4) == 0)
		return text_is_iqn(name) ? NULL :
		    "an iqn name is iqn.YYYY-MM.DOMAIN or "
		    "iqn.YYYY-MM.DOMAIN:NAME";
	if (strncmp(name, "eui.", 4) == 0)
		return text_is_hex(name + 4, 16) ? NULL :
		    "an eui name is eui. and 16 hexadecimal digits";
	if (strncmp(name, "naa.", 4) == 0)
		return text_is_hex(name + 4, 16) || text_is_hex(name + 4, 32) ?
		    NULL : "a naa name is naa. and 16 or 32 hexadecimal digits";
	return "an iSCSI name begins with iqn., eui. or naa.";
}

/* The name is kept even if it is wrong, so that nobody finds it missing. */
void
config_set_name(struct config_load *ld, const struct config_key *key,
    const struct config_value *v, size_t n, void *field)
{
	const char *wrong = config_iscsi_name_check(v->text);

	(void)n;
	if (wrong != NULL)
		config_fail(ld, &v->at, key->name,
		    "'%.80s' is no iSCSI name: %s", v->text, wrong);
	*(char **)field = config_strdup(ld, v->text);
}

void
config_set_alias(struct config_load *ld, const struct config_key *key,
    const struct config_value *v, size_t n, void *field)
{
	(void)n;
	/* RFC 7143 section 13.7: a local-name-value, at most 255 bytes. */
	if (v->text[0] == '\0' || strlen(v->text) > 255)
		config_fail(ld, &v->at, key->name,
		    "an alias has 1 to 255 bytes: change it");
	*(char **)field = config_strdup(ld, v->text);
}

void
config_set_socket(struct config_load *ld, const struct config_key *key,
    const struct config_value *v, size_t n, void *field)
{
	const struct sockaddr_un *un = NULL;

	(void)n;
	if (v->text[0] != '/' || strlen(v->text) >= sizeof(un->sun_path))
		config_fail(ld, &v->at, key->name, "'%.120s' is no path for a "
		    "socket: write an absolute path of at most %zu bytes",
		    v->text, sizeof(un->sun_path) - 1);
	*(char **)field = config_strdup(ld, v->text);
}

/* Is `host` an IPv6 address, perhaps with a zone? */
static bool
text_is_ipv6(const char *host)
{
	char address[INET6_ADDRSTRLEN];
	struct in6_addr in6;
	size_t len = strcspn(host, "%");

	if (len >= sizeof(address) || (host[len] == '%' &&
	    (host[len + 1] == '\0' || strlen(host + len) > 16)))
		return false;
	memcpy(address, host, len);
	address[len] = '\0';
	return inet_pton(AF_INET6, address, &in6) == 1;
}

/* Digits and dots only has to be an address, not a name. */
static bool
text_is_host(const char *host)
{
	static const char legal[] = TEXT_LETTERS TEXT_DIGITS ".-_";
	size_t len = strlen(host);
	struct in_addr in;

	if (len == 0 || len > TEXT_HOST_MAX || strspn(host, legal) != len ||
	    host[0] == '-' || host[0] == '.')
		return false;
	return strspn(host, TEXT_DIGITS ".") != len ||
	    inet_pton(AF_INET, host, &in) == 1;
}

/* Parse what is after the host: nothing, or a colon and a port. */
static const char *
text_port(const char *text, uint16_t *port)
{
	size_t len;
	unsigned long n;

	*port = CONFIG_PORT_DEFAULT;
	if (*text == '\0')
		return NULL;
	len = strspn(text + 1, TEXT_DIGITS);
	n = strtoul(text + 1, NULL, 10);
	if (*text != ':' || len == 0 || len > 5 || text[1 + len] != '\0' ||
	    n == 0 || n > UINT16_MAX)
		return "after the host comes nothing or ':' and a port, "
		    "1 to 65535";
	*port = (uint16_t)n;
	return NULL;
}

const char *
config_portal_parse(const char *text, char *host, uint16_t *port)
{
	bool ipv6 = text[0] == '[';
	size_t len = strcspn(text + ipv6, ipv6 ? "]" : ":");

	memcpy(host, text + ipv6, len);
	host[len] = '\0';
	text += ipv6 + len;
	if (!ipv6)
		return strchr(text, ':') != strrchr(text, ':') ?
		    "an IPv6 address goes in [brackets]" :
		    !text_is_host(host) ? "the host is neither an IPv4 "
		    "address nor a name" : text_port(text, port);
	if (*text != ']' || !text_is_ipv6(host))
		return "in the [brackets] is no IPv6 address";
	return text_port(text + 1, port);
}

static void
text_portal(struct config_load *ld, const struct config_key *key,
    const struct config_value *v, struct config_portal *portal)
{
	const char *wrong;

	portal->text = config_strdup(ld, v->text);
	portal->host = config_strdup(ld, v->text);
	if (portal->host == NULL)
		return;
	wrong = config_portal_parse(v->text, portal->host, &portal->port);
	if (wrong != NULL)
		config_fail(ld, &v->at, key->name, "'%.80s' is no portal: %s "
		    "(HOST, HOST:PORT or [IPV6]:PORT)", v->text, wrong);
}

/* Of the portals before the i-th, whether one is the same. */
static bool
text_portal_repeated(const struct config_session *s, size_t i)
{
	const struct config_portal *portal = config_session_portal(s, i), *p;

	for (size_t j = 0; j < i; j++) {
		p = config_session_portal(s, j);
		if (p->host != NULL && portal->host != NULL &&
		    p->port == portal->port &&
		    strcasecmp(p->host, portal->host) == 0)
			return true;
	}
	return false;
}

void
config_set_portal(struct config_load *ld, const struct config_key *key,
    const struct config_value *v, size_t n, void *field)
{
	struct config_session *s = field;

	if (n > CONFIG_PORTALS_MAX) {
		config_fail(ld, &v->at, key->name, "%zu portals: write %d at "
		    "most", n, CONFIG_PORTALS_MAX);
		n = CONFIG_PORTALS_MAX;
	}
	text_portal(ld, key, &v[0], &s->portal);
	if (n == 1)
		return;
	s->more_portals = calloc(n - 1, sizeof(*s->more_portals));
	if (s->more_portals == NULL) {
		config_fail_memory(ld);
		return;
	}
	for (size_t i = 1; i < n; i++) {
		text_portal(ld, key, &v[i], &s->more_portals[i - 1]);
		s->more_count++;
		if (text_portal_repeated(s, i))
			config_fail(ld, &v[i].at, key->name,
			    "'%.80s' is repeated: remove it", v[i].text);
	}
}

/* No bit behind the prefix is set. */
static bool
text_is_network(const struct config_portal_rule *rule)
{
	for (unsigned bit = rule->prefix; bit < (rule->ipv6 ? 128u : 32u);
	    bit++)
		if ((rule->address[bit / 8] >> (7 - bit % 8) & 1) != 0)
			return false;
	return true;
}

/* An IPv4 address in IPv6's clothes: it is IPv4 that will be spoken. */
static void
text_unmap(struct config_portal_rule *rule)
{
	static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };

	if (!rule->ipv6 || rule->prefix < 96 ||
	    memcmp(rule->address, mapped, sizeof(mapped)) != 0)
		return;
	memmove(rule->address, rule->address + 12, 4);
	memset(rule->address + 4, 0, 12);
	rule->prefix -= 96;
	rule->ipv6 = false;
}

/* Parse "/PREFIX", if it is there.  Returns what follows it, or NULL. */
static const char *
text_prefix(const char *text, struct config_portal_rule *rule)
{
	size_t len;

	rule->prefix = rule->ipv6 ? 128 : 32;
	if (*text != '/')
		return text;
	text++;
	len = strspn(text, TEXT_DIGITS);
	if (len == 0 || len > 3 || strtoul(text, NULL, 10) > rule->prefix)
		return NULL;
	rule->prefix = (unsigned)strtoul(text, NULL, 10);
	return text + len;
}

/* Parse ADDRESS[/PREFIX][:PORT].  Returns NULL, or what is wrong. */
static const char *
text_portal_rule(const char *text, struct config_portal_rule *rule)
{
	bool ipv6 = text[0] == '[';
	size_t len = strcspn(text + ipv6, ipv6 ? "]" : "/:");
	char address[INET6_ADDRSTRLEN] = "";

	rule->ipv6 = ipv6;
	if (len < sizeof(address))
		memcpy(address, text + ipv6, len);
	text += ipv6 + len;
	if (inet_pton(ipv6 ? AF_INET6 : AF_INET, address,
	    rule->address) != 1 || (ipv6 && *text++ != ']'))
		return "it begins with an IPv4 address, or with an IPv6 "
		    "address in [brackets]; names are not looked up";
	text = text_prefix(text, rule);
	if (text == NULL)
		return "after '/' come at most as many bits as the address "
		    "has";
	if (!text_is_network(rule))
		return "behind the prefix the address has only zero bits";
	text_unmap(rule);
	if (strcmp(text, ":*") == 0) {
		rule->port = 0;
		return NULL;
	}
	return text_port(text, &rule->port) == NULL ? NULL : "at the end "
	    "comes nothing, or ':' and a port, 1 to 65535, or ':*'";
}

void
config_set_portals(struct config_load *ld, const struct config_key *key,
    const struct config_value *v, size_t n, void *field)
{
	struct config_raw *raw = field;
	const char *wrong;

	raw->portals = calloc(n, sizeof(*raw->portals));
	if (raw->portals == NULL) {
		config_fail_memory(ld);
		return;
	}
	for (; raw->portal_count < n; raw->portal_count++) {
		const struct config_value *one = &v[raw->portal_count];

		wrong = text_portal_rule(one->text,
		    &raw->portals[raw->portal_count]);
		if (wrong != NULL)
			config_fail(ld, &one->at, key->name, "'%.80s' is no "
			    "range of portals: %s (write ADDRESS, "
			    "ADDRESS/PREFIX:PORT or [IPV6]/PREFIX:PORT)",
			    one->text, wrong);
	}
}

void
config_set_isid(struct config_load *ld, const struct config_key *key,
    const struct config_value *v, size_t n, void *field)
{
	struct config_session *s = field;
	const char *text = v->text;
	char byte[3] = "";

	(void)n;
	if (strncmp(text, "0x", 2) == 0)
		text += 2;
	if (!text_is_hex(text, 2 * CONFIG_ISID_LEN)) {
		config_fail(ld, &v->at, key->name, "'%.80s' is no ISID: write "
		    "12 hexadecimal digits", v->text);
		return;
	}
	for (size_t i = 0; i < CONFIG_ISID_LEN; i++) {
		memcpy(byte, text + 2 * i, 2);
		s->isid[i] = (uint8_t)strtoul(byte, NULL, 16);
	}
	/* RFC 7143 section 11.12.5: T is the two highest bits, 3 reserved. */
	if (s->isid[0] >> 6 == 3)
		config_fail(ld, &v->at, key->name, "'%.80s' has a reserved "
		    "type: the first digit is 0 to b, 8 for a random ISID",
		    v->text);
	s->isid_set = true;
}
