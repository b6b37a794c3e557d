/* SPDX-License-Identifier: ISC */
/*
 * The table of a session's life against a second one: a grid with a word for
 * every pair of phase and event, written from the manual and not from the
 * daemon's rows.  A pair without a word fails.
 */
#include "config.h"

#include <stdbool.h>
#include <stddef.h>

#include "daemon/session_fsm.h"
#include "tests/unit/unit.h"

#define N SESSION_DO_NOTHING
#define STAYS(phase)	{ SESSION_##phase, N, true }
#define TO(phase, what)	{ SESSION_##phase, SESSION_DO_##what, true }
#define FREED		TO(IDLE, CLOSE)

struct expected {
	enum session_phase	 next;
	enum session_action	 action;
	bool			 given;
};

/* In the order of the events' names below. */
static const enum session_happening order[] = {
	SESSION_EV_START, SESSION_EV_STOP, SESSION_EV_FREE,
	SESSION_EV_CONNECTED, SESSION_EV_LOGGED_IN, SESSION_EV_FAILED,
	SESSION_EV_SETTLED, SESSION_EV_SPENT, SESSION_EV_TIMER,
	SESSION_EV_RELOGIN, SESSION_EV_DRAINED, SESSION_EV_LOGGED_OUT,
	SESSION_EV_RECONNECT, SESSION_EV_SHARED, SESSION_EV_UNSHARED,
};

#define COLUMNS (sizeof(order) / sizeof(order[0]))

static const struct {
	enum session_phase	 phase;
	struct expected		 col[COLUMNS];
} grid[] = {
	{ SESSION_IDLE, {
		TO(CONNECTING, CONNECT), TO(IDLE, STOPPED), FREED,
		STAYS(IDLE), STAYS(IDLE), STAYS(IDLE),
		STAYS(IDLE), STAYS(IDLE), STAYS(IDLE),
		STAYS(IDLE), STAYS(IDLE), STAYS(IDLE),
		STAYS(IDLE), { SESSION_UP, N, true }, STAYS(IDLE),
	} },
	{ SESSION_WAITING, {
		STAYS(WAITING), TO(IDLE, STOPPED), FREED,
		STAYS(WAITING), STAYS(WAITING), STAYS(WAITING),
		STAYS(WAITING), STAYS(WAITING), TO(CONNECTING, CONNECT),
		STAYS(WAITING), STAYS(WAITING), STAYS(WAITING),
		TO(CONNECTING, CONNECT), STAYS(WAITING), STAYS(WAITING),
	} },
	{ SESSION_HALTED, {
		STAYS(HALTED), TO(IDLE, STOPPED), FREED,
		STAYS(HALTED), STAYS(HALTED), STAYS(HALTED),
		STAYS(HALTED), STAYS(HALTED), STAYS(HALTED),
		STAYS(HALTED), STAYS(HALTED), STAYS(HALTED),
		TO(CONNECTING, CONNECT), STAYS(HALTED), STAYS(HALTED),
	} },
	{ SESSION_CONNECTING, {
		STAYS(CONNECTING), TO(IDLE, STOPPED), FREED,
		TO(LOGGING_IN, LOGIN), STAYS(CONNECTING), TO(FAILED, FAIL),
		STAYS(CONNECTING), STAYS(CONNECTING), STAYS(CONNECTING),
		STAYS(CONNECTING), STAYS(CONNECTING), STAYS(CONNECTING),
		STAYS(CONNECTING), STAYS(CONNECTING), STAYS(CONNECTING),
	} },
	{ SESSION_LOGGING_IN, {
		STAYS(LOGGING_IN), TO(IDLE, STOPPED), FREED,
		STAYS(LOGGING_IN), TO(UP, ENTER), TO(FAILED, FAIL),
		STAYS(LOGGING_IN), STAYS(LOGGING_IN), TO(FAILED, FAIL),
		STAYS(LOGGING_IN), STAYS(LOGGING_IN), STAYS(LOGGING_IN),
		STAYS(LOGGING_IN), STAYS(LOGGING_IN), STAYS(LOGGING_IN),
	} },
	{ SESSION_UP, {
		STAYS(UP), TO(LOGGING_OUT, LOGOUT), FREED,
		STAYS(UP), STAYS(UP), TO(FAILED, FAIL),
		STAYS(UP), STAYS(UP), STAYS(UP),
		TO(DRAINING, DRAIN), STAYS(UP), STAYS(UP),
		STAYS(UP), STAYS(UP), { SESSION_IDLE, N, true },
	} },
	{ SESSION_DRAINING, {
		STAYS(DRAINING), TO(LOGGING_OUT, LOGOUT), FREED,
		STAYS(DRAINING), STAYS(DRAINING), TO(FAILED, FAIL),
		STAYS(DRAINING), STAYS(DRAINING), TO(LEAVING, LEAVE),
		STAYS(DRAINING), TO(LEAVING, LEAVE), STAYS(DRAINING),
		STAYS(DRAINING), STAYS(DRAINING), STAYS(DRAINING),
	} },
	{ SESSION_LEAVING, {
		STAYS(LEAVING), TO(LOGGING_OUT, END_TASKS), FREED,
		STAYS(LEAVING), STAYS(LEAVING), TO(FAILED, FAIL),
		STAYS(LEAVING), STAYS(LEAVING), TO(FAILED, FAIL),
		STAYS(LEAVING), STAYS(LEAVING), TO(FAILED, FAIL),
		STAYS(LEAVING), STAYS(LEAVING), STAYS(LEAVING),
	} },
	{ SESSION_LOGGING_OUT, {
		STAYS(LOGGING_OUT), STAYS(LOGGING_OUT), FREED,
		STAYS(LOGGING_OUT), STAYS(LOGGING_OUT), TO(ENDING, FAIL),
		STAYS(LOGGING_OUT), STAYS(LOGGING_OUT), TO(IDLE, STOPPED),
		STAYS(LOGGING_OUT), STAYS(LOGGING_OUT), TO(IDLE, STOPPED),
		STAYS(LOGGING_OUT), STAYS(LOGGING_OUT), STAYS(LOGGING_OUT),
	} },
	{ SESSION_FAILED, {
		STAYS(FAILED), { SESSION_ENDING, N, true }, FREED,
		STAYS(FAILED), STAYS(FAILED), STAYS(FAILED),
		TO(WAITING, WAIT), TO(HALTED, HALT), STAYS(FAILED),
		STAYS(FAILED), STAYS(FAILED), STAYS(FAILED),
		STAYS(FAILED), STAYS(FAILED), STAYS(FAILED),
	} },
	{ SESSION_ENDING, {
		STAYS(ENDING), STAYS(ENDING), FREED,
		STAYS(ENDING), STAYS(ENDING), STAYS(ENDING),
		TO(IDLE, STOPPED), TO(IDLE, STOPPED), STAYS(ENDING),
		STAYS(ENDING), STAYS(ENDING), STAYS(ENDING),
		STAYS(ENDING), STAYS(ENDING), STAYS(ENDING),
	} },
};

/* What stands for this pair, or NULL. */
static const struct expected *
expected(unsigned phase, unsigned ev)
{
	for (size_t i = 0; i < sizeof(grid) / sizeof(grid[0]); i++) {
		if (grid[i].phase != phase)
			continue;
		for (size_t j = 0; j < COLUMNS; j++) {
			if (order[j] == ev && grid[i].col[j].given)
				return &grid[i].col[j];
		}
	}
	return NULL;
}

START_TEST(every_pair)
{
	for (unsigned p = 0; p < SESSION_PHASES; p++) {
		for (unsigned e = 0; e < SESSION_EVENTS; e++) {
			const struct expected *want = expected(p, e);
			struct session_step is = session_fsm_step(p, e);

			ck_assert_msg(want != NULL, "no word for %s, %s",
			    session_phase_name(p), session_happening_name(e));
			ck_assert_msg(is.next == want->next &&
			    is.action == want->action,
			    "%s, %s: %s with action %d, not %s with %d",
			    session_phase_name(p), session_happening_name(e),
			    session_phase_name(is.next), is.action,
			    session_phase_name(want->next), want->action);
		}
	}
}
END_TEST

/* From everywhere there is a way up, and every Logout and login has an end. */
START_TEST(nothing_is_stuck)
{
	unsigned reached = 1u << SESSION_UP, before = 0;

	while (before != reached) {
		before = reached;
		for (unsigned p = 0; p < SESSION_PHASES; p++) {
			for (unsigned e = 0; e < SESSION_EVENTS; e++) {
				if (e == SESSION_EV_FREE ||
				    e == SESSION_EV_SHARED)
					continue;
				if ((before & 1u <<
				    session_fsm_step(p, e).next) != 0)
					reached |= 1u << p;
			}
		}
	}
	ck_assert_uint_eq(reached, (1u << SESSION_PHASES) - 1);
	for (unsigned p = 0; p < SESSION_PHASES; p++) {
		if (p == SESSION_WAITING || p == SESSION_LOGGING_IN ||
		    p == SESSION_DRAINING || p == SESSION_LEAVING ||
		    p == SESSION_LOGGING_OUT)
			ck_assert_uint_ne(session_fsm_step(p,
			    SESSION_EV_TIMER).next, p);
	}
}
END_TEST

START_TEST(names)
{
	for (unsigned p = 0; p < SESSION_PHASES; p++)
		ck_assert_ptr_nonnull(session_phase_name(p));
	for (unsigned e = 0; e < SESSION_EVENTS; e++)
		ck_assert_ptr_nonnull(session_happening_name(e));
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("session: the table of its life");
	TCase *tc = tcase_create("table");

	tcase_add_test(tc, every_pair);
	tcase_add_test(tc, nothing_is_stuck);
	tcase_add_test(tc, names);
	suite_add_tcase(suite, tc);
	return unit_run(suite);
}
