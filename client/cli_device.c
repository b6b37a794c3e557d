/* SPDX-License-Identifier: ISC */
/*
 * Commands about logical units: inquiry, luns, capacity.
 */
#include "config.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <scsi/sg_lib.h>

#include "client/cli_scsi.h"
#include "client/table.h"
#include "proto/bytes.h"

#define INQUIRY_SHORT	36u		/* what every device has */
#define INQUIRY_LEN	96u
#define PAGE_LEN	4096u
#define LUNS_LEN	(8u + 8 * 256)	/* asked for at first */
#define LUNS_MAX	(8u + 8 * 65536)

/* --- inquiry --- */

static void
print_standard(struct cli *c, const uint8_t *d, size_t len)
{
	struct table *t;
	char type[64], vendor[9], product[17], revision[5];

	sg_get_pdt_str(d[0] & 0x1f, sizeof(type), type);
	cli_ascii(d + 8, 8, vendor);
	cli_ascii(d + 16, 16, product);
	cli_ascii(d + 32, 4, revision);
	if (c->report != NULL) {
		json_object_update_new(c->report, json_pack("{s:i, s:i, s:s, "
		    "s:b, s:i, s:s, s:s, s:s, s:o}",
		    "qualifier", d[0] >> 5, "device_type", d[0] & 0x1f,
		    "device_type_name", type, "removable",
		    (d[1] & 0x80) != 0, "version", d[2], "vendor", vendor,
		    "product", product, "revision", revision, "hex",
		    cli_hex(d, len)));
		return;
	}
	t = cli_pairs();
	cli_pair(t, "device type", "%s", type);
	if (d[0] >> 5 != 0)
		cli_pair(t, "qualifier", "%s", d[0] >> 5 == 3 ?
		    "no such logical unit" : "not connected");
	cli_pair(t, "vendor", "%s", vendor);
	cli_pair(t, "product", "%s", product);
	cli_pair(t, "revision", "%s", revision);
	cli_pair(t, "SPC version", "%u", d[2]);
	cli_pair(t, "removable", "%s", (d[1] & 0x80) != 0 ? "yes" : "no");
	(void)cli_table(c, t);
}

static enum cli_status
show_inquiry(struct cli *c, const uint8_t *data, size_t len)
{
	size_t need = c->opt.page < 0 ? INQUIRY_SHORT : 4;

	if (len < need)
		return cli_fail(c, CLI_FAILED,
		    "the target's answer to INQUIRY is too short");
	if (c->opt.page >= 0 && data[1] != c->opt.page)
		return cli_fail(c, CLI_FAILED, "the target answered with VPD "
		    "page 0x%02x", data[1]);
	if (c->opt.hex && c->report == NULL)
		cli_hexdump(data, len);
	else if (c->opt.page < 0)
		print_standard(c, data, len);
	else
		return cli_vpd(c, data, len);
	return CLI_OK;
}

enum cli_status
cli_inquiry(struct cli *c)
{
	uint8_t data[PAGE_LEN] = { 0 };
	uint16_t want = c->opt.page < 0 ? INQUIRY_LEN : PAGE_LEN;
	struct scsi_command m;
	struct cli_answer a;
	enum cli_status status = cli_open(c);
	size_t len;

	if (status != CLI_OK)
		return status;
	scsi_inquiry(&m, c, c->opt.page, data, want);
	status = cli_command(c, &m.scsi, &a);
	if (status != CLI_OK)
		return status;
	/* The data tell their own length; a target may send more. */
	len = a.result.transferred;
	if (len >= 5) {
		size_t said = c->opt.page < 0 ? data[4] + 5u :
		    get_be16(data + 2) + 4u;

		if (said < len)
			len = said;
	}
	return show_inquiry(c, data, len);
}

/* --- luns --- */

static const char *
lun_method(const uint8_t *lun)
{
	switch (lun[0] >> 6) {
	case 0:
		return "peripheral";
	case 1:
		return "flat space";
	case 2:
		return "logical unit";
	default:
		return "extended";
	}
}

/* The number that names it on our command line, or -1. */
static int
lun_number(const uint8_t *lun)
{
	static const uint8_t zero[6];
	uint8_t same[8];
	unsigned number = (lun[0] & 0x3fu) << 8 | lun[1];

	if (memcmp(lun + 2, zero, sizeof(zero)) != 0 || lun[0] >> 6 > 1)
		return -1;
	/* Another encoding of the same number is another LUN to some. */
	if (iscsimux_lun(number, same) != 0 || memcmp(same, lun, 8) != 0)
		return -1;
	return (int)number;
}

static void
print_luns(struct cli *c, const uint8_t *list, size_t n)
{
	static const struct table_column columns[] = { { "LUN", true },
		{ "ADDRESSING", false }, { "BYTES", false } };
	struct table *t = c->report == NULL ? table_new(columns, 3) : NULL;
	json_t *luns = json_array();

	for (size_t i = 0; i < n; i++, list += 8) {
		int number = lun_number(list);

		if (c->report != NULL) {
			json_array_append_new(luns, json_pack("{s:o, s:s, "
			    "s:o}", "lun", number >= 0 ? json_integer(number) :
			    json_null(), "addressing", lun_method(list),
			    "bytes", cli_hex(list, 8)));
		} else if (t != NULL) {
			if (number >= 0)
				table_printf(t, TABLE_PLAIN, "%d", number);
			else
				table_text(t, TABLE_PLAIN, "-");
			table_text(t, TABLE_PLAIN, lun_method(list));
			table_printf(t, TABLE_PLAIN, "%016" PRIx64,
			    get_be64(list));
		}
	}
	if (c->report != NULL) {
		json_object_set(c->report, "luns", luns);
	} else if (n == 0) {
		cli_note("the target has no logical unit");
		table_free(t);
	} else {
		(void)cli_table(c, t);
	}
	json_decref(luns);
}

/* Ask with a buffer of `size`; `*list` has what came, for the caller. */
static enum cli_status
report_luns(struct cli *c, size_t size, uint8_t **list, size_t *len)
{
	struct scsi_command m;
	struct cli_answer a;
	enum cli_status status;

	free(*list);
	*list = calloc(1, size);
	if (*list == NULL)
		return cli_fail(c, CLI_FAILED, "out of memory");
	scsi_report_luns(&m, *list, (uint32_t)size);
	status = cli_command(c, &m.scsi, &a);
	if (status != CLI_OK)
		return status;
	if (a.result.transferred < 8)
		return cli_fail(c, CLI_FAILED,
		    "the target's answer to REPORT LUNS is too short");
	*len = a.result.transferred;
	return CLI_OK;
}

enum cli_status
cli_luns(struct cli *c)
{
	enum cli_status status = cli_open(c);
	uint8_t *list = NULL;
	size_t len = 0, want;

	if (status == CLI_OK)
		status = report_luns(c, LUNS_LEN, &list, &len);
	if (status == CLI_OK) {
		want = (size_t)get_be32(list) + 8;
		if (want > LUNS_MAX)
			status = cli_fail(c, CLI_FAILED, "the target reports "
			    "%zu bytes of LUNs, which is too many", want - 8);
		else if (want > LUNS_LEN)
			status = report_luns(c, want, &list, &len);
		if (status == CLI_OK && want < len)
			len = want;
	}
	if (status == CLI_OK)
		print_luns(c, list + 8, (len - 8) / 8);
	free(list);
	return status;
}

/* --- capacity --- */

static void
report_capacity(struct cli *c, const struct scsi_capacity *k)
{
	json_object_update_new(c->report, json_pack("{s:I, s:I, s:I}",
	    "blocks", (json_int_t)k->blocks, "block_length",
	    (json_int_t)k->block_len, "bytes",
	    (json_int_t)(k->blocks * k->block_len)));
	if (!k->long_form)
		return;
	json_object_update_new(c->report, json_pack("{s:I, s:i, s:b, s:b, "
	    "s:b}", "physical_block_length", (json_int_t)k->physical_len,
	    "lowest_aligned_lba", k->lowest_aligned, "protection",
	    k->protection, "provisioning", k->provisioning, "reads_zeros",
	    k->reads_zeros));
}

enum cli_status
cli_capacity(struct cli *c)
{
	struct scsi_capacity k;
	struct table *t;
	char size[24];
	enum cli_status status = cli_open(c);

	if (status == CLI_OK)
		status = scsi_capacity(c, &k);
	if (status != CLI_OK)
		return status;
	if (c->report != NULL) {
		report_capacity(c, &k);
		return CLI_OK;
	}
	t = cli_pairs();
	cli_pair(t, "capacity", "%s (%" PRIu64 " bytes)",
	    cli_size(k.blocks * k.block_len, size, sizeof(size)),
	    k.blocks * k.block_len);
	cli_pair(t, "blocks", "%" PRIu64, k.blocks);
	cli_pair(t, "block length", "%" PRIu32 " bytes", k.block_len);
	if (k.long_form) {
		cli_pair(t, "physical block", "%" PRIu32 " bytes, the first "
		    "at LBA %u", k.physical_len, k.lowest_aligned);
		cli_pair(t, "protection", "%s", k.protection ? "yes" : "no");
		cli_pair(t, "provisioning", "%s", !k.provisioning ? "full" :
		    k.reads_zeros ? "thin, unmapped blocks read as zeros" :
		    "thin");
	}
	return cli_table(c, t);
}
