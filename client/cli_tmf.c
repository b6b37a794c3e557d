/* SPDX-License-Identifier: ISC */
/*
 * Commands of task management: abort, reset and query.  Each sends one function,
 * once, and tells what the target says to it.
 */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "client/cli_scsi.h"
#include "proto/iscsi.h"

/*
 * The function was not answered.  One that was sent may have been carried out
 * all the same.
 */
static enum cli_status
unanswered(struct cli *c, const char *name, const struct iscsimux_result *r)
{
	enum cli_status status = CLI_FAILED;
	char why[CLI_TEXT_MAX];

	if (r->outcome == ISCSIMUX_REFUSED &&
	    r->reason == ISCSIMUX_R_NOT_PERMITTED)
		status = CLI_UNREACHABLE;
	else if (r->outcome == ISCSIMUX_UNKNOWN ||
	    (r->outcome == ISCSIMUX_TIMED_OUT && !r->not_sent))
		status = CLI_UNKNOWN;
	scsi_explain(r, why, sizeof(why));
	return cli_fail(c, status, "%s: %s", name, why);
}

/* The target did what it was asked; to a query both are an answer. */
static bool
is_done(enum iscsimux_tmf function, uint8_t response)
{
	return response == 0 || (response == ISCSI_TMF_SUCCEEDED &&
	    (function == ISCSIMUX_TMF_QUERY_TASK_SET ||
	    function == ISCSIMUX_TMF_QUERY_ASYNC_EVENT));
}

static enum cli_status
show(struct cli *c, enum iscsimux_tmf function,
    const struct iscsimux_result *r)
{
	const char *name = iscsi_tmf_name((uint8_t)function);
	const char *said = iscsi_tmf_response_name(r->response);

	if (r->outcome != ISCSIMUX_COMPLETED)
		return unanswered(c, name, r);
	if (c->report != NULL)
		json_object_update_new(c->report, json_pack("{s:s, s:i, s:s}",
		    "function", name, "response", r->response,
		    "response_name", said));
	if (!is_done(function, r->response))
		return cli_fail(c, CLI_FAILED, "%s: %s", name, said);
	if (c->report == NULL)
		printf("%s: %s\n", name, said);
	return CLI_OK;
}

static enum cli_status
manage(struct cli *c, enum iscsimux_tmf function, bool target)
{
	struct iscsimux_management m = {
		.function = function, .deadline_ms = c->opt.timeout,
	};
	const char *name = iscsi_tmf_name((uint8_t)function);
	struct cli_answer a = { .done = false };
	enum cli_status status;
	int r;

	if (!target && !c->lun_given)
		return cli_fail(c, CLI_USAGE, "which LUN? %s is about the "
		    "tasks of all clients there: write %s/LUN", name,
		    c->session);
	if (target && c->lun_given)
		return cli_fail(c, CLI_USAGE, "%s is for all LUNs: write %s",
		    name, c->session);
	(void)iscsimux_lun(c->lun, m.lun);
	status = cli_open(c);
	if (status != CLI_OK)
		return status;
	r = iscsimux_manage(c->h, &m, cli_answered, &a, NULL);
	if (r == -ENOTCONN)
		return cli_fail_closed(c);
	if (r != 0)
		return cli_fail(c, CLI_FAILED, "%s", iscsimux_strerror(r));
	cli_await(c, &a, cli_now() + c->opt.timeout + CLI_GRACE);
	if (c->interrupts > 0)
		return cli_fail_interrupted(c);
	return show(c, function, &a.result);
}

enum cli_status
cli_abort(struct cli *c)
{
	if (c->opt.clear_task_set && c->opt.clear_aca)
		return cli_fail(c, CLI_USAGE,
		    "--clear-task-set and --clear-aca exclude each other");
	return manage(c, c->opt.clear_aca ? ISCSIMUX_TMF_CLEAR_ACA :
	    c->opt.clear_task_set ? ISCSIMUX_TMF_CLEAR_TASK_SET :
	    ISCSIMUX_TMF_ABORT_TASK_SET, false);
}

enum cli_status
cli_reset(struct cli *c)
{
	switch (c->opt.target) {
	case CLI_TARGET_WARM:
		return manage(c, ISCSIMUX_TMF_TARGET_WARM_RESET, true);
	case CLI_TARGET_COLD:
		return manage(c, ISCSIMUX_TMF_TARGET_COLD_RESET, true);
	case CLI_TARGET_NEXUS:
		return manage(c, ISCSIMUX_TMF_NEXUS_RESET, true);
	default:
		return manage(c, ISCSIMUX_TMF_LUN_RESET, false);
	}
}

enum cli_status
cli_query(struct cli *c)
{
	return manage(c, c->opt.event ? ISCSIMUX_TMF_QUERY_ASYNC_EVENT :
	    ISCSIMUX_TMF_QUERY_TASK_SET, false);
}
