/* SPDX-License-Identifier: ISC */
/*
 * PDUs on the screen and in reports, for the commands submit and raw.
 */
#ifndef CLIENT_CLI_PDU_H
#define CLIENT_CLI_PDU_H

#include "client/cli.h"
#include "client/iscsimux_raw.h"
#include "client/pdu_text.h"

/* What the value of a field means, "" if it has no words; maybe in `buf`. */
const char *cli_pdu_words(const uint8_t *bhs, const struct pdu_field *f,
    char *buf, size_t size);

/* The sense data of a SCSI Response or Asynchronous Message in words. */
bool cli_pdu_sense(const uint8_t *bhs, const uint8_t *data, size_t len,
    char *buf, size_t size);

/*
 * Print a received PDU field by field, or add it to the array "pdus" of the
 * report.  `line` is that of the PDU that it answers, 0 for none; `remark`
 * ("unmatched", ...) may be NULL.
 */
void cli_pdu_show(struct cli *c, const struct iscsimux_pdu *pdu,
    unsigned line, const char *remark);

/* The same for how a PDU ended otherwise. */
void cli_pdu_show_end(struct cli *c, const struct iscsimux_answer *a,
    unsigned line);

#endif
