/* SPDX-License-Identifier: ISC */
/*
 * PDUs as a pcapng stream: little-endian blocks, one interface for each
 * connection, one packet for each PDU.  A packet is the PDU as on the wire
 * behind tags that name Wireshark's dissector and both ends of the connection
 * (link type 252, "exported PDU"), so no TCP has to be made up.
 */
#include "config.h"

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "daemon/pool.h"
#include "daemon/trace_priv.h"
#include "proto/crc32c.h"
#include "proto/iscsi.h"

enum {
	BLOCK_SECTION = 0x0a0d0d0a,
	BLOCK_INTERFACE = 1,
	BLOCK_STATISTICS = 5,
	BLOCK_PACKET = 6
};

/* Options; their numbers depend on the block. */
enum {
	OPT_END = 0,
	OPT_COMMENT = 1,
	SHB_USERAPPL = 4,
	IDB_NAME = 2,
	IDB_TSRESOL = 9,
	EPB_FLAGS = 2,
	EPB_DROPCOUNT = 4,
	ISB_IFRECV = 4,
	ISB_IFDROP = 5
};

/* Tags in front of the PDU, big-endian. */
enum {
	TAG_END = 0,
	TAG_DISSECTOR = 12,
	TAG_IPV4_SRC = 20,	/* and 21, the destination */
	TAG_IPV6_SRC = 22,	/* and 23 */
	TAG_PORT_TYPE = 24,
	TAG_PORT_SRC = 25,	/* and 26 */
	PORT_TYPE_TCP = 2
};

#define LINKTYPE_UPPER_PDU	252
#define FLAG_INBOUND		1
#define FLAG_OUTBOUND		2
#define SECONDS_BY_1E_MINUS	9	/* nanoseconds */

/* Room kept for the end of a stream: what it takes for each interface. */
#define INTERFACE_BLOCK_MAX	128
#define STATISTICS_BLOCK_MAX	64
#define END_MAX	((INTERFACE_BLOCK_MAX + STATISTICS_BLOCK_MAX) * \
	PCAPNG_INTERFACES_MAX)

/* Everything of a block but the PDU: it is put together here. */
struct piece {
	uint8_t	buf[512];
	size_t	len;
};

/* Where a packet is written, and how much of it. */
struct cut {
	struct trace_sink	*sink;
	size_t			 left;
};

static void
put_le32(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)v;
	p[1] = (uint8_t)(v >> 8);
	p[2] = (uint8_t)(v >> 16);
	p[3] = (uint8_t)(v >> 24);
}

static void
add_le16(struct piece *b, uint16_t v)
{
	b->buf[b->len++] = (uint8_t)v;
	b->buf[b->len++] = (uint8_t)(v >> 8);
}

static void
add_le32(struct piece *b, uint32_t v)
{
	put_le32(b->buf + b->len, v);
	b->len += 4;
}

/* A 64-bit time: its halves come high one first, each little-endian. */
static void
add_time(struct piece *b, uint64_t ns)
{
	add_le32(b, (uint32_t)(ns >> 32));
	add_le32(b, (uint32_t)ns);
}

static void
add_padded(struct piece *b, const void *value, size_t len)
{
	memcpy(b->buf + b->len, value, len);
	memset(b->buf + b->len + len, 0, 3);
	b->len += len + iscsi_pad((uint32_t)len);
}

static void
add_option(struct piece *b, uint16_t code, const void *value, uint16_t len)
{
	add_le16(b, code);
	add_le16(b, len);
	add_padded(b, value, len);
}

static void
add_option_u64(struct piece *b, uint16_t code, uint64_t v)
{
	add_le16(b, code);
	add_le16(b, 8);
	add_le32(b, (uint32_t)v);
	add_le32(b, (uint32_t)(v >> 32));
}

static void
add_tag(struct piece *b, uint16_t tag, const void *value, uint16_t len)
{
	put_be16(b->buf + b->len, tag);
	put_be16(b->buf + b->len + 2, (uint16_t)(len + iscsi_pad(len)));
	b->len += 4;
	add_padded(b, value, len);
}

static void
add_tag_u32(struct piece *b, uint16_t tag, uint32_t v)
{
	uint8_t value[4];

	put_be32(value, v);
	add_tag(b, tag, value, sizeof(value));
}

/* A block begins with its type and length and ends with its length. */
static void
block_begin(struct piece *b, uint32_t type)
{
	b->len = 0;
	add_le32(b, type);
	add_le32(b, 0);
}

static void
block_end(struct piece *b, struct trace_sink *sink)
{
	add_le32(b, 0);
	put_le32(b->buf + 4, (uint32_t)b->len);
	put_le32(b->buf + b->len - 4, (uint32_t)b->len);
	trace_sink_put(sink, b->buf, b->len);
}

void
pcapng_start(struct pcapng *p)
{
	static const char name[] = PACKAGE_NAME " " PACKAGE_VERSION;
	struct piece b;

	block_begin(&b, BLOCK_SECTION);
	add_le32(&b, 0x1a2b3c4d);
	add_le16(&b, 1);		/* version 1.0 */
	add_le16(&b, 0);
	add_le32(&b, UINT32_MAX);	/* length of the section: unknown */
	add_le32(&b, UINT32_MAX);
	add_option(&b, SHB_USERAPPL, name, sizeof(name) - 1);
	add_option(&b, OPT_END, "", 0);
	block_end(&b, p->sink);
}

/* --- interfaces --- */

ssize_t
pcapng_interface(struct pcapng *p, const char *name)
{
	struct pcapng_interface *grown;

	if (p->ninterfaces == PCAPNG_INTERFACES_MAX - 1)
		name = "other connections";
	for (size_t i = 0; i < p->ninterfaces; i++) {
		if (strcmp(p->interface[i].name, name) == 0)
			return (ssize_t)i;
	}
	if (p->ninterfaces == PCAPNG_INTERFACES_MAX)
		return PCAPNG_INTERFACES_MAX - 1;
	grown = reallocarray(p->interface, p->ninterfaces + 1,
	    sizeof(*grown));
	if (grown == NULL)
		return -1;
	p->interface = grown;
	grown += p->ninterfaces;
	*grown = (struct pcapng_interface){ .described = false };
	strlcpy(grown->name, name, sizeof(grown->name));
	return (ssize_t)p->ninterfaces++;
}

static void
describe(struct pcapng *p, struct pcapng_interface *i)
{
	static const uint8_t resolution = SECONDS_BY_1E_MINUS;
	struct piece b;

	if (i->described)
		return;
	block_begin(&b, BLOCK_INTERFACE);
	add_le16(&b, LINKTYPE_UPPER_PDU);
	add_le16(&b, 0);
	add_le32(&b, 0);		/* no limit of length */
	if (i->name[0] != '\0')
		add_option(&b, IDB_NAME, i->name, (uint16_t)strlen(i->name));
	add_option(&b, IDB_TSRESOL, &resolution, 1);
	add_option(&b, OPT_END, "", 0);
	block_end(&b, p->sink);
	i->described = true;
	i->id = p->ndescribed++;
}

void
pcapng_end(struct pcapng *p, uint64_t now)
{
	struct piece b;

	for (size_t i = 0; i < p->ninterfaces; i++) {
		struct pcapng_interface *each = &p->interface[i];

		describe(p, each);
		block_begin(&b, BLOCK_STATISTICS);
		add_le32(&b, each->id);
		add_time(&b, now);
		add_option_u64(&b, ISB_IFRECV, each->packets + each->dropped);
		add_option_u64(&b, ISB_IFDROP, each->dropped);
		add_option(&b, OPT_END, "", 0);
		block_end(&b, p->sink);
	}
}

void
pcapng_deinit(struct pcapng *p)
{
	free(p->interface);
	p->interface = NULL;
	p->ninterfaces = 0;
}

/* --- a packet --- */

static void
add_ends(struct piece *b, const struct sockaddr_storage *src,
    const struct sockaddr_storage *dst)
{
	const struct sockaddr_in *in[2] = { (const void *)src,
	    (const void *)dst };
	const struct sockaddr_in6 *in6[2] = { (const void *)src,
	    (const void *)dst };
	uint32_t port[2];

	if (src->ss_family != dst->ss_family)
		return;
	for (uint16_t i = 0; i < 2; i++) {
		if (src->ss_family == AF_INET) {
			add_tag(b, (uint16_t)(TAG_IPV4_SRC + i),
			    &in[i]->sin_addr, 4);
			port[i] = ntohs(in[i]->sin_port);
		} else if (src->ss_family == AF_INET6) {
			add_tag(b, (uint16_t)(TAG_IPV6_SRC + i),
			    &in6[i]->sin6_addr, 16);
			port[i] = ntohs(in6[i]->sin6_port);
		} else {
			return;
		}
	}
	add_tag_u32(b, TAG_PORT_TYPE, PORT_TYPE_TCP);
	add_tag_u32(b, TAG_PORT_SRC, port[0]);
	add_tag_u32(b, TAG_PORT_SRC + 1, port[1]);
}

static void
add_tags(struct piece *b, const struct trace_pdu *pdu)
{
	const struct sockaddr_storage *local = conn_local_addr(pdu->conn);
	const struct sockaddr_storage *peer = conn_peer_addr(pdu->conn);

	b->len = 0;
	add_tag(b, TAG_DISSECTOR, "iscsi", 5);
	if (pdu->sent)
		add_ends(b, local, peer);
	else
		add_ends(b, peer, local);
	add_tag(b, TAG_END, "", 0);
}

/* The length of the UTF-8 sequence at `p`, 0 if it is none to be shown. */
static size_t
utf8_len(const unsigned char *p)
{
	static const uint32_t least[] = { 0, 0x20, 0x80, 0x800, 0x10000 };
	size_t len = *p < 0x80 ? 1 : *p >= 0xf0 ? 4 : *p >= 0xe0 ? 3 : 2;
	uint32_t c = len == 1 ? *p : *p & (0x7fu >> len);

	if ((*p >= 0x80 && *p < 0xc0) || *p >= 0xf8)
		return 0;
	for (size_t i = 1; i < len; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (p[i] & 0x3fu);
	}
	if (c < least[len] || (c >= 0x7f && c < 0xa0) || c > 0x10ffff ||
	    (c >= 0xd800 && c < 0xe000))
		return 0;
	return len;
}

/* Copy a name as printable UTF-8. */
static void
copy_name(char *to, const char *from, size_t size)
{
	size_t at = 0, len;

	while (*from != '\0' && at + 4 < size) {
		len = utf8_len((const unsigned char *)from);
		if (len == 0)
			to[at++] = '?';
		else
			memcpy(to + at, from, len);
		at += len;
		from += len == 0 ? 1 : len;
	}
	to[at] = '\0';
}

static void
add_options(struct piece *b, const struct trace_pdu *pdu, uint64_t lost)
{
	char name[128], comment[192];
	uint8_t flags[4];

	b->len = 0;
	if (pdu->client.name != NULL) {
		copy_name(name, pdu->client.name, sizeof(name));
		snprintf(comment, sizeof(comment), "client %s (pid %ld)", name,
		    (long)pdu->client.pid);
		add_option(b, OPT_COMMENT, comment, (uint16_t)strlen(comment));
	}
	put_le32(flags, pdu->sent ? FLAG_OUTBOUND : FLAG_INBOUND);
	add_option(b, EPB_FLAGS, flags, sizeof(flags));
	if (lost > 0)
		add_option_u64(b, EPB_DROPCOUNT, lost);
	add_option(b, OPT_END, "", 0);
}

static void
write_cut(struct cut *c, const void *buf, size_t len)
{
	if (len > c->left)
		len = c->left;
	trace_sink_put(c->sink, buf, len);
	c->left -= len;
}

/* As it is, or with its secrets masked; returns how many bytes were. */
static size_t
write_data(struct cut *c, const struct slices *data,
    const struct trace_mask *mask)
{
	const struct slice *slice;
	struct trace_mask m = { 0 };
	uint8_t masked[1024];
	size_t hidden = 0, part;

	if (mask != NULL)
		m = *mask;
	STAILQ_FOREACH(slice, &data->list, link) {
		if (mask == NULL) {
			write_cut(c, slice->ptr, slice->len);
			continue;
		}
		for (size_t at = 0; at < slice->len; at += part) {
			part = slice->len - at < sizeof(masked) ?
			    slice->len - at : sizeof(masked);
			hidden += trace_mask_text(&m, slice->ptr + at, masked,
			    part);
			write_cut(c, masked, part);
		}
	}
	return hidden;
}

/* The digest of a short secret would tell it. */
static void
write_tail(struct cut *c, const struct trace_pdu *pdu, bool hide)
{
	uint32_t pad = iscsi_pad(iscsi_dsl(pdu->bhs));

	if (!hide || pdu->tail_len <= pad) {
		write_cut(c, pdu->tail, pdu->tail_len);
		return;
	}
	write_cut(c, pdu->tail, pad);
	write_cut(c, "xxxx", CRC32C_SIZE);
}

static void
write_pdu(struct cut *c, const struct trace_pdu *pdu,
    const struct trace_mask *mask)
{
	bool hidden;

	write_cut(c, pdu->bhs, ISCSI_BHS_LEN);
	write_cut(c, pdu->ahs, iscsi_ahs_len(pdu->bhs));
	if (pdu->header_digest != NULL)
		write_cut(c, pdu->header_digest, CRC32C_SIZE);
	hidden = c->left > 0 && write_data(c, pdu->data, mask) > 0;
	write_tail(c, pdu, hidden);
}

void
pcapng_packet(struct pcapng *p, size_t at, uint64_t now,
    const struct trace_pdu *pdu, const struct trace_mask *mask)
{
	struct pcapng_interface *i = &p->interface[at];
	size_t header = ISCSI_BHS_LEN + iscsi_ahs_len(pdu->bhs) +
	    (pdu->header_digest != NULL ? CRC32C_SIZE : 0);
	struct piece tags, opts, b;
	size_t origlen, caplen, len;
	struct cut c;

	add_tags(&tags, pdu);
	add_options(&opts, pdu, i->lost);
	origlen = tags.len + header + pdu->data->len + pdu->tail_len;
	caplen = p->headers ? tags.len + header : origlen;
	if (caplen > TRACE_CAPLEN_MAX)
		caplen = TRACE_CAPLEN_MAX;
	len = 28 + caplen + iscsi_pad((uint32_t)caplen) + opts.len + 4;
	if (trace_sink_room(p->sink) < len + INTERFACE_BLOCK_MAX + END_MAX) {
		i->dropped++;
		i->lost++;
		p->dropped++;
		return;
	}
	describe(p, i);
	block_begin(&b, BLOCK_PACKET);
	put_le32(b.buf + 4, (uint32_t)len);
	add_le32(&b, i->id);
	add_time(&b, now);
	add_le32(&b, (uint32_t)caplen);
	add_le32(&b, (uint32_t)origlen);
	trace_sink_put(p->sink, b.buf, b.len);
	trace_sink_put(p->sink, tags.buf, tags.len);
	c = (struct cut){ p->sink, caplen - tags.len };
	write_pdu(&c, pdu, mask);
	memset(b.buf, 0, 4);
	trace_sink_put(p->sink, b.buf, iscsi_pad((uint32_t)caplen));
	add_le32(&opts, (uint32_t)len);
	trace_sink_put(p->sink, opts.buf, opts.len);
	i->lost = 0;
	i->packets++;
	p->packets++;
}
