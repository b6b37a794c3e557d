/* SPDX-License-Identifier: ISC */
/*
 * What a target may send for a task, PDU by PDU: DataSN, R2TSN, Buffer Offset
 * and ExpDataSN (RFC 7143 sections 7.9, 11.4.8, 11.7, 11.8).
 */
#include "config.h"

#include "tests/unit/session_fixture.h"

#define F ISCSI_FLAG_FINAL

static struct sclient *c;
static uint32_t itt;

static void
open_task(uint8_t flags, uint32_t client_itt)
{
	accepted(c, command(flags, client_itt, 4096), 0, client_itt);
	itt = iscsi_itt(wire(ISCSI_OP_SCSI_CMD)->bhs);
}

static void
up_with(uint8_t flags)
{
	fx_up();
	c = fx_attach();
	open_task(flags, 5);
}

/* A SCSI Response, of a command that was completed or was not. */
static void
say_response(uint8_t code, uint32_t expdatasn)
{
	uint8_t *bhs = from_target(ISCSI_OP_SCSI_RSP, F, itt);

	bhs[ISCSI_OFF_RESPONSE] = code;
	put_be32(bhs + ISCSI_OFF_EXPDATASN, expdatasn);
	say_status(bhs, NULL, 0);
}

static void
took(unsigned npdus)
{
	for (unsigned i = 0; i < npdus; i++)
		news(c, NEWS_PDU, 5);
	ck_assert_int_eq(fx.s->phase, SESSION_UP);
}

/* Nothing of the wrong PDU was told, and the task has its one outcome. */
static void
lost_after(unsigned npdus)
{
	for (unsigned i = 0; i < npdus; i++)
		news(c, NEWS_PDU, 5);
	news(c, NEWS_EVENT, 0);
	outcome(c, 5, MSG_OUTCOME_UNKNOWN, MSG_R_CONNECTION_LOST);
	no_news(c);
}

/* --- Data-In */

START_TEST(data_in_order)
{
	up_with(READ_F);
	say_data(itt, 0, 1, 1024);
	say_data(itt, F, 2, 1000);
	/* It has no place when it has no data. */
	progress_of(itt)->offset = 0;
	say_data(itt, 0, 0, 0);
	progress_of(itt)->offset = 2024;
	say_data(itt, F | ISCSI_DATAIN_STATUS, 3, 2072);
	took(4);
	ck_assert_uint_eq(c->news[c->nread - 1].charge.tasks, 1);
}
END_TEST

/* Each task counts by itself. */
START_TEST(tasks_interleaved)
{
	uint32_t first;

	up_with(READ_F);
	first = itt;
	open_task(READ_F, 6);
	for (unsigned i = 0; i < 4; i++) {
		say_data(first, i == 3 ? F | ISCSI_DATAIN_STATUS : 0, 1, 1024);
		news(c, NEWS_PDU, 5);
		say_data(itt, i == 3 ? F | ISCSI_DATAIN_STATUS : 0, 2, 1024);
		news(c, NEWS_PDU, 6);
	}
	ck_assert_int_eq(fx.s->phase, SESSION_UP);
}
END_TEST

static const struct {
	uint32_t datasn, offset, len;
	const char *why;
} wrong_data[] = {
	{ 3, 1024, 512, "DataSN of a Data-In is 3, expected 2: a PDU was lost" },
	{ 1, 1024, 512, "DataSN of a Data-In is 1, expected 2" },
	{ 0, 0, 512, "DataSN of a Data-In is 0, expected 2" },
	{ 3, 1024, 0, "DataSN of a Data-In is 3, expected 2" },
	{ 2, 1536, 512, "Buffer Offset of a Data-In is 1536, expected 1024: a "
	    "PDU was lost" },
	{ 2, 512, 512, "Buffer Offset of a Data-In is 512, expected 1024" },
	{ 2, 0, 512, "Buffer Offset of a Data-In is 0, expected 1024" },
};

START_TEST(data_out_of_order)
{
	up_with(READ_F);
	say_data(itt, 0, 0, 512);
	say_data(itt, 0, 0, 512);
	progress_of(itt)->datasn = wrong_data[_i].datasn;
	progress_of(itt)->offset = wrong_data[_i].offset;
	say_data(itt, 0, 0, wrong_data[_i].len);
	LOST(wrong_data[_i].why);
	lost_after(2);
}
END_TEST

/* An orphan's data are thrown away, but they are counted. */
START_TEST(data_of_an_orphan)
{
	up_with(READ_F);
	say_data(itt, 0, 0, 512);
	fx_die(c);
	wire(ISCSI_OP_TMF_REQ);
	say_data(itt, 0, 0, 512);
	ck_assert_int_eq(fx.s->phase, SESSION_UP);
	progress_of(itt)->datasn++;
	say_data(itt, 0, 0, 512);
	LOST("DataSN of a Data-In is 3, expected 2");
}
END_TEST

/* Whoever logged in may have agreed on any order, but not of the numbers. */
START_TEST(order_of_a_shared_connection)
{
	up_with(READ_F);
	fx.s->shared = true;
	progress_of(itt)->offset = 2048;
	say_data(itt, 0, 0, 512);
	progress_of(itt)->offset = 0;
	say_data(itt, 0, 0, 512);
	took(2);
	fx.s->shared = _i == 0;
	if (_i == 0)
		progress_of(itt)->datasn++;
	progress_of(itt)->offset = 512;
	say_data(itt, 0, 0, 512);
	LOST(_i == 0 ? "DataSN of a Data-In is 3, expected 2" :
	    "Buffer Offset of a Data-In is 512, expected 1024");
	fx.s->shared = false;
}
END_TEST

/* --- ExpDataSN */

static const struct {
	unsigned count;		/* Data-Ins, or R2Ts, before it */
	uint8_t code;
	uint32_t expdatasn;
	bool good;
} responses[] = {
	{ 0, 0, 0, true },
	{ 2, 0, 2, true },
	{ 2, 0, 0, true },		/* not filled in */
	{ 2, 0, 1, false },
	{ 2, 0, 3, false },
	{ 0, 0, 1, false },
	{ 2, 1, 7, true },		/* target failure: not valid */
};
#define NRESPONSES ((int)(sizeof(responses) / sizeof(responses[0])))

START_TEST(expdatasn)
{
	unsigned i = (unsigned)_i / 2;
	bool writes = _i % 2 == 1;
	char why[80];

	up_with(writes ? WRITE_F : READ_F);
	for (uint32_t n = 0; n < responses[i].count; n++) {
		if (writes)
			say_r2t(itt, n, n * 512, 512);
		else
			say_data(itt, 0, 0, 512);
	}
	say_response(responses[i].code, responses[i].expdatasn);
	if (responses[i].good) {
		took(responses[i].count + 1);
		ck_assert_uint_eq(c->news[c->nread - 1].charge.tasks, 1);
		return;
	}
	snprintf(why, sizeof(why), "ExpDataSN of a SCSI Response is %u, "
	    "expected %u: a PDU was lost", responses[i].expdatasn,
	    responses[i].count);
	LOST(why);
	lost_after(responses[i].count);
}
END_TEST

/* --- R2T */

static const struct {
	uint32_t r2tsn, offset;
	const char *why;
} wrong_r2ts[] = {
	{ 3, 1024, "R2TSN of an R2T is 3, expected 2: a PDU was lost" },
	{ 1, 1024, "R2TSN of an R2T is 1, expected 2" },
	{ 0, 1024, "R2TSN of an R2T is 0, expected 2" },
	{ 2, 1023, "R2T for 512 bytes at 1023 that it may not send" },
	{ 2, 512, "R2T for 512 bytes at 512 that it may not send" },
	{ 2, 0, "R2T for 512 bytes at 0 that it may not send" },
};

START_TEST(r2ts_out_of_order)
{
	up_with(WRITE_F);
	say_r2t(itt, 1, 0, 512);
	say_r2t(itt, 2, 512, 512);
	progress_of(itt)->r2tsn = wrong_r2ts[_i].r2tsn;
	say_r2t(itt, 3, wrong_r2ts[_i].offset, 512);
	LOST(wrong_r2ts[_i].why);
	lost_after(2);
}
END_TEST

/* A shared connection's R2Ts may go back, but none may be left out. */
START_TEST(r2ts_of_a_shared_connection)
{
	up_with(WRITE_F);
	fx.s->shared = true;
	say_r2t(itt, 1, 2048, 512);
	say_r2t(itt, 2, 0, 512);
	took(2);
	progress_of(itt)->r2tsn++;
	say_r2t(itt, 3, 512, 512);
	LOST("R2TSN of an R2T is 3, expected 2");
	fx.s->shared = false;
}
END_TEST

/* What the daemon cut short may be asked for again. */
START_TEST(r2t_of_a_cancelled_write)
{
	up_with(WRITE_F);
	say_r2t(itt, 1, 0, 4096);
	took(1);
	ck_assert(session_cancel(c->a, MSG_CANCEL_ITT, 5));
	wire(ISCSI_OP_TMF_REQ);
	wire(ISCSI_OP_DATA_OUT);
	say_r2t(itt, 2, 0, 4096);
	wire(ISCSI_OP_DATA_OUT);
	ck_assert_uint_eq(iscsi_ttt(fx.got.bhs), 2);
	ck_assert_int_eq(fx.s->phase, SESSION_UP);
}
END_TEST

static void
add_tests(TCase *tc)
{
	tcase_add_test(tc, data_in_order);
	tcase_add_test(tc, tasks_interleaved);
	tcase_add_loop_test(tc, data_out_of_order, 0,
	    sizeof(wrong_data) / sizeof(wrong_data[0]));
	tcase_add_test(tc, data_of_an_orphan);
	tcase_add_loop_test(tc, order_of_a_shared_connection, 0, 2);
	tcase_add_loop_test(tc, expdatasn, 0, 2 * NRESPONSES);
	tcase_add_loop_test(tc, r2ts_out_of_order, 0,
	    sizeof(wrong_r2ts) / sizeof(wrong_r2ts[0]));
	tcase_add_test(tc, r2ts_of_a_shared_connection);
	tcase_add_test(tc, r2t_of_a_cancelled_write);
}

int
main(void)
{
	Suite *s = suite_create("session: what a target may send for a task");
	TCase *tc = tcase_create("intake");

	tcase_add_checked_fixture(tc, fx_setup, fx_teardown);
	tcase_set_timeout(tc, 30);
	add_tests(tc);
	suite_add_tcase(s, tc);
	return unit_run(s);
}
