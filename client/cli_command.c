/* SPDX-License-Identifier: ISC */
/*
 * Single commands: sent, waited for, and sent again while that makes sense.
 * It knows no SCSI command, only how they end.
 */
#include "config.h"

#include <sys/param.h>

#include <errno.h>
#include <string.h>

#include "client/cli_scsi.h"

#define RETRY_PAUSE	50	/* ms, when the target is busy */
#define AGAIN_MAX	16u	/* unit attentions of one command in a row */

void
cli_answered(struct iscsimux *h, void *cookie,
    const struct iscsimux_result *result)
{
	struct cli_answer *a = cookie;

	(void)h;
	a->done = true;
	a->result = *result;
	a->result.sense_len = MIN(result->sense_len, sizeof(a->sense));
	if (a->result.sense_len > 0)
		memcpy(a->sense, result->sense, a->result.sense_len);
	strlcpy(a->text, result->text, sizeof(a->text));
	a->result.sense = a->result.sense_len > 0 ? a->sense : NULL;
	a->result.text = a->text;
}

void
cli_await(struct cli *c, struct cli_answer *a, int64_t until)
{
	while (!a->done && cli_now() < until && c->interrupts == 0)
		cli_step(c, NULL, until);
	if (!a->done)
		iscsimux_disconnect(c->h);
}

static enum cli_status
execute_once(struct cli *c, const struct iscsimux_scsi *scsi,
    struct cli_answer *answer)
{
	int r;

	memset(answer, 0, sizeof(*answer));
	r = iscsimux_execute(c->h, scsi, cli_answered, answer, NULL);
	if (r == -ENOTCONN)
		return cli_fail_closed(c);
	if (r != 0)
		return cli_fail(c, CLI_FAILED, "%s", iscsimux_strerror(r));
	cli_await(c, answer, cli_now() + c->opt.timeout + CLI_GRACE);
	return c->interrupts > 0 ? cli_fail_interrupted(c) : CLI_OK;
}

enum cli_status
cli_execute(struct cli *c, const struct iscsimux_scsi *scsi,
    struct cli_answer *answer)
{
	int64_t until = cli_now() + c->opt.timeout;
	enum cli_status status;
	unsigned again = 0;

	for (;;) {
		status = execute_once(c, scsi, answer);
		if (status != CLI_OK)
			return status;
		switch (scsi_judge(&answer->result, false)) {
		case SCSI_AGAIN:
			if (++again == AGAIN_MAX)
				return CLI_OK;
			break;
		case SCSI_LATER:
			if (cli_now() >= until ||
			    !cli_pause(c, cli_now() + RETRY_PAUSE))
				return CLI_OK;
			break;
		case SCSI_DOWN:
			status = cli_recover(c, until);
			if (status != CLI_OK)
				return c->interrupts > 0 ?
				    cli_fail_interrupted(c) : status;
			break;
		default:
			return CLI_OK;
		}
	}
}

enum cli_status
cli_command(struct cli *c, const struct iscsimux_scsi *scsi,
    struct cli_answer *answer)
{
	enum cli_status status = cli_execute(c, scsi, answer);

	if (status == CLI_OK && !iscsimux_result_good(&answer->result))
		return cli_bad(c, &answer->result);
	return status;
}
