/* SPDX-License-Identifier: ISC */
/*
 * The table of a session's life.  A pair that has no row means nothing: late
 * news of a connection that is given up, a command that is obeyed already.
 */
#include "config.h"

#include <stddef.h>

#include "daemon/session_fsm.h"

#define IN(phase)	(1u << SESSION_##phase)
#define DOWN		(IN(IDLE) | IN(WAITING) | IN(HALTED))
#define COMING		(IN(CONNECTING) | IN(LOGGING_IN))
#define GOING		(IN(DRAINING) | IN(LEAVING))
#define ANY		((1u << SESSION_PHASES) - 1)
#define ROW(phases, ev, phase, action) \
	{ (phases), SESSION_EV_##ev, { SESSION_##phase, SESSION_DO_##action } }

static const struct {
	unsigned		 phases;	/* mask */
	enum session_happening	 ev;
	struct session_step	 step;
} rows[] = {
	ROW(IN(IDLE), START, CONNECTING, CONNECT),
	ROW(IN(WAITING) | IN(HALTED), RECONNECT, CONNECTING, CONNECT),
	ROW(IN(WAITING), TIMER, CONNECTING, CONNECT),
	ROW(IN(CONNECTING), CONNECTED, LOGGING_IN, LOGIN),
	ROW(IN(LOGGING_IN), LOGGED_IN, UP, ENTER),
	ROW(IN(LOGGING_IN), TIMER, FAILED, FAIL),

	ROW(COMING | IN(UP) | GOING, FAILED, FAILED, FAIL),
	ROW(IN(FAILED), SETTLED, WAITING, WAIT),
	ROW(IN(FAILED), SPENT, HALTED, HALT),

	/* RFC 7143 section 11.14: nothing may follow the Logout Request. */
	ROW(IN(UP), RELOGIN, DRAINING, DRAIN),
	ROW(IN(DRAINING), DRAINED, LEAVING, LEAVE),
	ROW(IN(DRAINING), TIMER, LEAVING, LEAVE),
	ROW(IN(LEAVING), LOGGED_OUT, FAILED, FAIL),
	ROW(IN(LEAVING), TIMER, FAILED, FAIL),

	ROW(DOWN | COMING, STOP, IDLE, STOPPED),
	ROW(IN(UP) | IN(DRAINING), STOP, LOGGING_OUT, LOGOUT),
	ROW(IN(LEAVING), STOP, LOGGING_OUT, END_TASKS),
	ROW(IN(LOGGING_OUT), LOGGED_OUT, IDLE, STOPPED),
	ROW(IN(LOGGING_OUT), TIMER, IDLE, STOPPED),
	ROW(IN(LOGGING_OUT), FAILED, ENDING, FAIL),
	ROW(IN(FAILED), STOP, ENDING, NOTHING),
	ROW(IN(ENDING), SETTLED, IDLE, STOPPED),
	ROW(IN(ENDING), SPENT, IDLE, STOPPED),
	ROW(ANY, FREE, IDLE, CLOSE),

	ROW(IN(IDLE), SHARED, UP, NOTHING),
	ROW(IN(UP), UNSHARED, IDLE, NOTHING),
};

struct session_step
session_fsm_step(enum session_phase phase, enum session_happening ev)
{
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (rows[i].ev == ev && (rows[i].phases & 1u << phase) != 0)
			return rows[i].step;
	}
	return (struct session_step){ phase, SESSION_DO_NOTHING };
}

const char *
session_phase_name(enum session_phase phase)
{
	static const char *const names[SESSION_PHASES] = {
		[SESSION_IDLE] = "stopped",
		[SESSION_WAITING] = "down",
		[SESSION_HALTED] = "halted",
		[SESSION_CONNECTING] = "connecting",
		[SESSION_LOGGING_IN] = "login",
		[SESSION_UP] = "up",
		[SESSION_DRAINING] = "draining",
		[SESSION_LEAVING] = "leaving",
		[SESSION_LOGGING_OUT] = "logout",
		[SESSION_FAILED] = "failed",
		[SESSION_ENDING] = "ending",
	};

	return names[phase];
}

const char *
session_happening_name(enum session_happening ev)
{
	static const char *const names[SESSION_EVENTS] = {
		[SESSION_EV_START] = "start",
		[SESSION_EV_STOP] = "stop",
		[SESSION_EV_FREE] = "free",
		[SESSION_EV_CONNECTED] = "connected",
		[SESSION_EV_LOGGED_IN] = "logged in",
		[SESSION_EV_FAILED] = "failed",
		[SESSION_EV_SETTLED] = "settled",
		[SESSION_EV_SPENT] = "spent",
		[SESSION_EV_TIMER] = "timer",
		[SESSION_EV_RELOGIN] = "relogin",
		[SESSION_EV_DRAINED] = "drained",
		[SESSION_EV_LOGGED_OUT] = "logged out",
		[SESSION_EV_RECONNECT] = "reconnect",
		[SESSION_EV_SHARED] = "shared",
		[SESSION_EV_UNSHARED] = "unshared",
	};

	return names[ev];
}
