/* SPDX-License-Identifier: ISC */
/*
 * The life of a session as a table: what a session in this phase does when
 * that happens.  Pure: it knows no connection, no timer and no task, only the
 * names of what is to be done; session_life.c does it.
 */
#ifndef DAEMON_SESSION_FSM_H
#define DAEMON_SESSION_FSM_H

enum session_phase {
	SESSION_IDLE,		/* not started, or stopped */
	SESSION_WAITING,	/* down; the retry timer runs */
	SESSION_HALTED,		/* down; only a command tries again */
	SESSION_CONNECTING,
	SESSION_LOGGING_IN,
	SESSION_UP,
	SESSION_DRAINING,	/* to log in anew: no new requests */
	SESSION_LEAVING,	/* to log in anew: the Logout is on its way */
	SESSION_LOGGING_OUT,	/* to stop: the Logout is on its way */
	SESSION_FAILED,		/* lost in this turn; SETTLED or SPENT follows */
	SESSION_ENDING,		/* the same, and it is to stop */
	SESSION_PHASES
};

enum session_happening {
	SESSION_EV_START,	/* it is to run */
	SESSION_EV_STOP,	/* it is to end for good */
	SESSION_EV_FREE,	/* it is removed at once */
	SESSION_EV_CONNECTED,
	SESSION_EV_LOGGED_IN,
	SESSION_EV_FAILED,	/* the connection is lost or has to go */
	SESSION_EV_SETTLED,	/* after a failure: it tries again later */
	SESSION_EV_SPENT,	/* after a failure: it does not */
	SESSION_EV_TIMER,	/* the timer of this phase */
	SESSION_EV_RELOGIN,	/* it is to log out and in again */
	SESSION_EV_DRAINED,	/* the target has no request any more */
	SESSION_EV_LOGGED_OUT,	/* the target answered the Logout Request */
	SESSION_EV_RECONNECT,	/* an admin says: try now */
	SESSION_EV_SHARED,	/* it is given a connection that is logged in */
	SESSION_EV_UNSHARED,	/* that connection is taken back */
	SESSION_EVENTS
};

enum session_action {
	SESSION_DO_NOTHING,
	SESSION_DO_CONNECT,
	SESSION_DO_LOGIN,	/* the first Login Request */
	SESSION_DO_ENTER,	/* put into force what was negotiated */
	SESSION_DO_FAIL,	/* read and write no more, settle later */
	SESSION_DO_WAIT,	/* set the retry timer */
	SESSION_DO_HALT,	/* there is no next try */
	SESSION_DO_DRAIN,	/* let the tasks at the target end */
	SESSION_DO_LEAVE,	/* send the Logout Request */
	SESSION_DO_LOGOUT,	/* end the clients' tasks, and the same */
	SESSION_DO_END_TASKS,	/* the Logout Request was sent before */
	SESSION_DO_STOPPED,	/* all is over: say so */
	SESSION_DO_CLOSE	/* drop the connection, end all tasks */
};

struct session_step {
	enum session_phase	 next;
	enum session_action	 action;
};

/*
 * What follows when `ev` happens in `phase`.  What means nothing in a phase
 * leaves it as it is, with SESSION_DO_NOTHING.
 */
struct session_step session_fsm_step(enum session_phase phase,
    enum session_happening ev);

/* Names of both, for the log. */
const char *session_phase_name(enum session_phase phase);
const char *session_happening_name(enum session_happening ev);

#endif
