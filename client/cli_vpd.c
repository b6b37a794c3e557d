/* SPDX-License-Identifier: ISC */
/*
 * VPD pages in words (SPC-4 section 7.8, SBC-3 section 6.5); those unknown
 * here in hexadecimal.  It sends nothing.
 */
#include "config.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <scsi/sg_lib.h>

#include "client/cli_scsi.h"
#include "client/table.h"
#include "proto/bytes.h"

#define HEADER	4u

static const char *
page_name(uint8_t code)
{
	switch (code) {
	case 0x00:
		return "supported VPD pages";
	case 0x80:
		return "unit serial number";
	case 0x83:
		return "device identification";
	case 0x86:
		return "extended INQUIRY data";
	case 0xb0:
		return "block limits";
	case 0xb1:
		return "block device characteristics";
	case 0xb2:
		return "logical block provisioning";
	default:
		return "";
	}
}

static bool
print_supported(struct cli *c, const uint8_t *d, size_t len)
{
	json_t *list = json_array();

	for (size_t i = 0; i < len; i++) {
		if (c->report != NULL)
			json_array_append_new(list, json_integer(d[i]));
		else
			printf("0x%02x  %s\n", d[i], page_name(d[i]));
	}
	if (c->report != NULL)
		json_object_set(c->report, "pages", list);
	json_decref(list);
	return true;
}

static bool
print_serial(struct cli *c, const uint8_t *d, size_t len)
{
	char text[256];

	if (len >= sizeof(text))
		return false;
	cli_ascii(d, len, text);
	if (c->report != NULL)
		json_object_set_new(c->report, "serial", json_string(text));
	else
		puts(text);
	return true;
}

static json_t *
designator_report(const uint8_t *d, size_t len, unsigned type,
    unsigned code_set)
{
	const char *name = sg_get_desig_type_str((int)type);
	const char *association = sg_get_desig_assoc_str(d[1] >> 4 & 3);
	json_t *js = json_pack("{s:i, s:s, s:s, s:o}", "type", (int)type,
	    "type_name", name != NULL ? name : "reserved", "association",
	    association != NULL ? association : "reserved", "hex",
	    cli_hex(d + 4, len));
	char text[256];

	if (code_set != 1 && len < sizeof(text)) {
		cli_ascii(d + 4, len, text);
		json_object_set_new(js, "text", json_string(text));
	}
	return js;
}

static bool
print_identification(struct cli *c, const uint8_t *d, size_t len)
{
	json_t *list = json_array();
	char text[2048];
	int off = -1;

	while (sg_vpd_dev_id_iter(d, (int)len, &off, -1, -1, -1) == 0) {
		const uint8_t *one = d + off;

		/* The iterator looks at headers only. */
		if (one[3] + 4u > len - (size_t)off)
			break;
		if (c->report != NULL) {
			json_array_append_new(list, designator_report(one,
			    one[3], one[1] & 0x0f, one[0] & 0x0f));
			continue;
		}
		if (sg_get_designation_descriptor_str("", one, one[3] + 4,
		    true, false, sizeof(text), text) > 0)
			fputs(text, stdout);
	}
	if (c->report != NULL)
		json_object_set(c->report, "designators", list);
	json_decref(list);
	return true;
}

/* A number of a page: its offset behind the header and its bytes. */
struct field {
	const char	*name;		/* in the report */
	const char	*words;
	uint8_t		 off;
	uint8_t		 bytes;
};

static uint64_t
field_value(const struct field *f, const uint8_t *d)
{
	uint64_t value = 0;

	for (unsigned i = 0; i < f->bytes; i++)
		value = value << 8 | d[f->off + i];
	return value;
}

static bool
print_fields(struct cli *c, const struct field *fields, size_t n,
    const uint8_t *d, size_t len)
{
	struct table *t = c->report == NULL ? cli_pairs() : NULL;
	size_t shown = 0;

	for (size_t i = 0; i < n; i++) {
		const struct field *f = &fields[i];

		if ((size_t)f->off + f->bytes > len)
			continue;
		shown++;
		if (c->report != NULL)
			json_object_set_new(c->report, f->name, json_integer(
			    (json_int_t)field_value(f, d)));
		else
			cli_pair(t, f->words, "%" PRIu64, field_value(f, d));
	}
	if (c->report == NULL && shown > 0)
		(void)cli_table(c, t);
	else
		table_free(t);
	return shown > 0;
}

static bool
print_limits(struct cli *c, const uint8_t *d, size_t len)
{
	static const struct field fields[] = {
		{ "compare_and_write_max",
		    "COMPARE AND WRITE, at most (blocks)", 1, 1 },
		{ "transfer_granularity", "transfer, best multiple of (blocks)",
		    2, 2 },
		{ "transfer_max", "transfer, at most (blocks)", 4, 4 },
		{ "transfer_best", "transfer, best (blocks)", 8, 4 },
		{ "prefetch_max", "prefetch, at most (blocks)", 12, 4 },
		{ "unmap_max", "UNMAP, at most (blocks)", 16, 4 },
		{ "unmap_descriptors_max", "UNMAP, at most (descriptors)", 20,
		    4 },
		{ "unmap_granularity", "UNMAP, best multiple of (blocks)", 24,
		    4 },
		{ "write_same_max", "WRITE SAME, at most (blocks)", 32, 8 },
	};

	return print_fields(c, fields, sizeof(fields) / sizeof(fields[0]), d,
	    len);
}

static bool
print_characteristics(struct cli *c, const uint8_t *d, size_t len)
{
	static const struct field fields[] = {
		{ "rotation_rate", "rotation rate (1: none)", 0, 2 },
		{ "product_type", "product type", 2, 1 },
	};

	return print_fields(c, fields, sizeof(fields) / sizeof(fields[0]), d,
	    len);
}

static bool
print_provisioning(struct cli *c, const uint8_t *d, size_t len)
{
	static const struct {
		const char	*name;
		uint8_t		 bit;
		const char	*words;
	} bits[] = {
		{ "unmap", 0x80, "UNMAP" },
		{ "write_same_16", 0x40, "WRITE SAME(16) unmaps" },
		{ "write_same_10", 0x20, "WRITE SAME(10) unmaps" },
	};
	struct table *t;

	if (len < 2)
		return false;
	t = c->report == NULL ? cli_pairs() : NULL;
	for (size_t i = 0; i < sizeof(bits) / sizeof(bits[0]); i++) {
		bool set = (d[1] & bits[i].bit) != 0;

		if (c->report != NULL)
			json_object_set_new(c->report, bits[i].name,
			    json_boolean(set));
		else
			cli_pair(t, bits[i].words, "%s", set ? "yes" : "no");
	}
	if (c->report == NULL)
		(void)cli_table(c, t);
	return true;
}

/* What follows the header; false if it is too short or not known. */
static bool
print_page(struct cli *c, uint8_t code, const uint8_t *d, size_t len)
{
	switch (code) {
	case 0x00:
		return print_supported(c, d, len);
	case 0x80:
		return print_serial(c, d, len);
	case 0x83:
		return print_identification(c, d, len);
	case 0xb0:
		return print_limits(c, d, len);
	case 0xb1:
		return print_characteristics(c, d, len);
	case 0xb2:
		return print_provisioning(c, d, len);
	default:
		return false;
	}
}

enum cli_status
cli_vpd(struct cli *c, const uint8_t *page, size_t len)
{
	if (c->report != NULL)
		json_object_update_new(c->report, json_pack("{s:i, s:s, s:o}",
		    "page", page[1], "name", page_name(page[1]), "hex",
		    cli_hex(page, len)));
	if (!print_page(c, page[1], page + HEADER, len - HEADER) &&
	    c->report == NULL)
		cli_hexdump(page, len);
	return CLI_OK;
}
