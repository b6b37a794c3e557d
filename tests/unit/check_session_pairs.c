/* SPDX-License-Identifier: ISC */
/*
 * Every event in every phase of a live session that has a task at the target
 * and one that is not sent: where it comes to rest, how the tasks end, and
 * what their client is told.  The grid is written from the manual; a pair
 * without a word in it fails.  What the table of the daemon says by itself is
 * check_session_fsm.c's subject.
 */
#include "config.h"

#include "tests/unit/session_fixture.h"

/* What becomes of a task. */
enum end {
	NONE,			/* there is none: it could not be submitted */
	OPEN,			/* it is still there */
	ANSWERED,
	LOST_UNKNOWN,
	LOST_NOT_SENT,
	STOPPED_UNKNOWN,
	STOPPED_NOT_SENT
};

struct expected {
	enum session_phase	 rest;
	enum end		 sent;
	enum end		 queued;
	unsigned		 downs;		/* EVENTs, since the start */
	unsigned		 ups;
	bool			 elsewhere;	/* shown by another program */
	bool			 given;
};

#define RESTS(phase, sent, queued, downs, ups) \
	{ SESSION_##phase, sent, queued, downs, ups, false, true }
/* Not up yet: no task, nothing to tell. */
#define COMES(phase)	RESTS(phase, NONE, NONE, 0, 0)
#define ELSEWHERE(phase) \
	{ SESSION_##phase, NONE, NONE, 0, 0, true, true }
/* It was up. */
#define WORKS(phase)	RESTS(phase, OPEN, OPEN, 0, 0)
#define FALLS(phase)	RESTS(phase, LOST_UNKNOWN, LOST_NOT_SENT, 1, 0)
#define REMOVED		RESTS(IDLE, LOST_UNKNOWN, LOST_NOT_SENT, 0, 0)
#define STOPS(phase)	RESTS(phase, STOPPED_UNKNOWN, STOPPED_NOT_SENT, 1, 0)

static const struct expected grid[SESSION_PHASES][SESSION_EVENTS] = {
	[SESSION_IDLE] = {
		[SESSION_EV_START] = COMES(LOGGING_IN),
		[SESSION_EV_STOP] = COMES(IDLE),
		[SESSION_EV_FREE] = COMES(IDLE),
		[SESSION_EV_CONNECTED] = COMES(IDLE),
		[SESSION_EV_LOGGED_IN] = COMES(IDLE),
		[SESSION_EV_FAILED] = COMES(IDLE),
		[SESSION_EV_SETTLED] = COMES(IDLE),
		[SESSION_EV_SPENT] = COMES(IDLE),
		[SESSION_EV_TIMER] = COMES(IDLE),
		[SESSION_EV_RELOGIN] = COMES(IDLE),
		[SESSION_EV_DRAINED] = COMES(IDLE),
		[SESSION_EV_LOGGED_OUT] = COMES(IDLE),
		[SESSION_EV_RECONNECT] = COMES(IDLE),
		[SESSION_EV_SHARED] = ELSEWHERE(UP),	/* check_raw_share */
		[SESSION_EV_UNSHARED] = COMES(IDLE),
	},
	/* The tasks ended when the connection was lost. */
	[SESSION_WAITING] = {
		[SESSION_EV_START] = FALLS(WAITING),
		[SESSION_EV_STOP] = FALLS(IDLE),
		[SESSION_EV_FREE] = FALLS(IDLE),
		[SESSION_EV_CONNECTED] = FALLS(WAITING),
		[SESSION_EV_LOGGED_IN] = FALLS(WAITING),
		[SESSION_EV_FAILED] = FALLS(WAITING),
		[SESSION_EV_SETTLED] = FALLS(WAITING),
		[SESSION_EV_SPENT] = FALLS(WAITING),
		[SESSION_EV_TIMER] = FALLS(LOGGING_IN),
		[SESSION_EV_RELOGIN] = FALLS(WAITING),
		[SESSION_EV_DRAINED] = FALLS(WAITING),
		[SESSION_EV_LOGGED_OUT] = FALLS(WAITING),
		[SESSION_EV_RECONNECT] = FALLS(LOGGING_IN),
		[SESSION_EV_SHARED] = FALLS(WAITING),
		[SESSION_EV_UNSHARED] = FALLS(WAITING),
	},
	[SESSION_HALTED] = {
		[SESSION_EV_START] = COMES(LOGGING_IN),
		[SESSION_EV_STOP] = COMES(IDLE),
		[SESSION_EV_FREE] = COMES(IDLE),
		[SESSION_EV_CONNECTED] = COMES(HALTED),
		[SESSION_EV_LOGGED_IN] = COMES(HALTED),
		[SESSION_EV_FAILED] = COMES(HALTED),
		[SESSION_EV_SETTLED] = COMES(HALTED),
		[SESSION_EV_SPENT] = COMES(HALTED),
		[SESSION_EV_TIMER] = COMES(HALTED),
		[SESSION_EV_RELOGIN] = COMES(HALTED),
		[SESSION_EV_DRAINED] = COMES(HALTED),
		[SESSION_EV_LOGGED_OUT] = COMES(HALTED),
		[SESSION_EV_RECONNECT] = COMES(LOGGING_IN),
		[SESSION_EV_SHARED] = COMES(HALTED),
		[SESSION_EV_UNSHARED] = COMES(HALTED),
	},
	/* The kernel connects in any case. */
	[SESSION_CONNECTING] = {
		[SESSION_EV_START] = COMES(LOGGING_IN),
		[SESSION_EV_STOP] = COMES(IDLE),
		[SESSION_EV_FREE] = COMES(IDLE),
		[SESSION_EV_CONNECTED] = COMES(LOGGING_IN),
		[SESSION_EV_LOGGED_IN] = COMES(LOGGING_IN),
		[SESSION_EV_FAILED] = COMES(WAITING),
		[SESSION_EV_SETTLED] = COMES(LOGGING_IN),
		[SESSION_EV_SPENT] = COMES(LOGGING_IN),
		[SESSION_EV_TIMER] = COMES(LOGGING_IN),
		[SESSION_EV_RELOGIN] = COMES(LOGGING_IN),
		[SESSION_EV_DRAINED] = COMES(LOGGING_IN),
		[SESSION_EV_LOGGED_OUT] = COMES(LOGGING_IN),
		[SESSION_EV_RECONNECT] = COMES(LOGGING_IN),
		[SESSION_EV_SHARED] = COMES(LOGGING_IN),
		[SESSION_EV_UNSHARED] = COMES(LOGGING_IN),
	},
	[SESSION_LOGGING_IN] = {
		[SESSION_EV_START] = COMES(LOGGING_IN),
		[SESSION_EV_STOP] = COMES(IDLE),
		[SESSION_EV_FREE] = COMES(IDLE),
		[SESSION_EV_CONNECTED] = COMES(LOGGING_IN),
		[SESSION_EV_LOGGED_IN] = RESTS(UP, NONE, NONE, 0, 1),
		[SESSION_EV_FAILED] = COMES(WAITING),
		[SESSION_EV_SETTLED] = COMES(LOGGING_IN),
		[SESSION_EV_SPENT] = COMES(LOGGING_IN),
		[SESSION_EV_TIMER] = COMES(WAITING),
		[SESSION_EV_RELOGIN] = COMES(LOGGING_IN),
		[SESSION_EV_DRAINED] = COMES(LOGGING_IN),
		[SESSION_EV_LOGGED_OUT] = COMES(LOGGING_IN),
		[SESSION_EV_RECONNECT] = COMES(LOGGING_IN),
		[SESSION_EV_SHARED] = COMES(LOGGING_IN),
		[SESSION_EV_UNSHARED] = COMES(LOGGING_IN),
	},
	[SESSION_UP] = {
		[SESSION_EV_START] = WORKS(UP),
		[SESSION_EV_STOP] = STOPS(LOGGING_OUT),
		[SESSION_EV_FREE] = REMOVED,
		[SESSION_EV_CONNECTED] = WORKS(UP),
		[SESSION_EV_LOGGED_IN] = WORKS(UP),
		[SESSION_EV_FAILED] = FALLS(WAITING),
		[SESSION_EV_SETTLED] = WORKS(UP),
		[SESSION_EV_SPENT] = WORKS(UP),
		[SESSION_EV_TIMER] = WORKS(UP),
		[SESSION_EV_RELOGIN] = WORKS(DRAINING),
		[SESSION_EV_DRAINED] = WORKS(UP),
		[SESSION_EV_LOGGED_OUT] = WORKS(UP),
		[SESSION_EV_RECONNECT] = WORKS(UP),
		[SESSION_EV_SHARED] = WORKS(UP),
		[SESSION_EV_UNSHARED] = ELSEWHERE(IDLE), /* check_raw_share */
	},
	[SESSION_DRAINING] = {
		[SESSION_EV_START] = WORKS(DRAINING),
		[SESSION_EV_STOP] = STOPS(LOGGING_OUT),
		[SESSION_EV_FREE] = REMOVED,
		[SESSION_EV_CONNECTED] = WORKS(DRAINING),
		[SESSION_EV_LOGGED_IN] = WORKS(DRAINING),
		[SESSION_EV_FAILED] = FALLS(WAITING),
		[SESSION_EV_SETTLED] = WORKS(DRAINING),
		[SESSION_EV_SPENT] = WORKS(DRAINING),
		[SESSION_EV_TIMER] = WORKS(LEAVING),
		[SESSION_EV_RELOGIN] = WORKS(DRAINING),
		[SESSION_EV_DRAINED] = RESTS(LEAVING, ANSWERED, OPEN, 0, 0),
		[SESSION_EV_LOGGED_OUT] = WORKS(DRAINING),
		[SESSION_EV_RECONNECT] = WORKS(DRAINING),
		[SESSION_EV_SHARED] = WORKS(DRAINING),
		[SESSION_EV_UNSHARED] = WORKS(DRAINING),
	},
	/* A logout that was meant is followed by a login without a pause. */
	[SESSION_LEAVING] = {
		[SESSION_EV_START] = WORKS(LEAVING),
		[SESSION_EV_STOP] = STOPS(LOGGING_OUT),
		[SESSION_EV_FREE] = REMOVED,
		[SESSION_EV_CONNECTED] = WORKS(LEAVING),
		[SESSION_EV_LOGGED_IN] = WORKS(LEAVING),
		[SESSION_EV_FAILED] = FALLS(WAITING),
		[SESSION_EV_SETTLED] = WORKS(LEAVING),
		[SESSION_EV_SPENT] = WORKS(LEAVING),
		[SESSION_EV_TIMER] = FALLS(LOGGING_IN),
		[SESSION_EV_RELOGIN] = WORKS(LEAVING),
		[SESSION_EV_DRAINED] = WORKS(LEAVING),
		[SESSION_EV_LOGGED_OUT] = FALLS(LOGGING_IN),
		[SESSION_EV_RECONNECT] = WORKS(LEAVING),
		[SESSION_EV_SHARED] = WORKS(LEAVING),
		[SESSION_EV_UNSHARED] = WORKS(LEAVING),
	},
	/* The tasks ended when it was stopped. */
	[SESSION_LOGGING_OUT] = {
		[SESSION_EV_START] = STOPS(LOGGING_OUT),
		[SESSION_EV_STOP] = STOPS(LOGGING_OUT),
		[SESSION_EV_FREE] = STOPS(IDLE),
		[SESSION_EV_CONNECTED] = STOPS(LOGGING_OUT),
		[SESSION_EV_LOGGED_IN] = STOPS(LOGGING_OUT),
		[SESSION_EV_FAILED] = STOPS(IDLE),
		[SESSION_EV_SETTLED] = STOPS(LOGGING_OUT),
		[SESSION_EV_SPENT] = STOPS(LOGGING_OUT),
		[SESSION_EV_TIMER] = STOPS(IDLE),
		[SESSION_EV_RELOGIN] = STOPS(LOGGING_OUT),
		[SESSION_EV_DRAINED] = STOPS(LOGGING_OUT),
		[SESSION_EV_LOGGED_OUT] = STOPS(IDLE),
		[SESSION_EV_RECONNECT] = STOPS(LOGGING_OUT),
		[SESSION_EV_SHARED] = STOPS(LOGGING_OUT),
		[SESSION_EV_UNSHARED] = STOPS(LOGGING_OUT),
	},
	/* These two last to the end of the turn. */
	[SESSION_FAILED] = {
		[SESSION_EV_START] = FALLS(WAITING),
		[SESSION_EV_STOP] = FALLS(IDLE),
		[SESSION_EV_FREE] = REMOVED,
		[SESSION_EV_CONNECTED] = FALLS(WAITING),
		[SESSION_EV_LOGGED_IN] = FALLS(WAITING),
		[SESSION_EV_FAILED] = FALLS(WAITING),
		[SESSION_EV_SETTLED] = FALLS(WAITING),
		[SESSION_EV_SPENT] = FALLS(HALTED),
		[SESSION_EV_TIMER] = FALLS(WAITING),
		[SESSION_EV_RELOGIN] = FALLS(WAITING),
		[SESSION_EV_DRAINED] = FALLS(WAITING),
		[SESSION_EV_LOGGED_OUT] = FALLS(WAITING),
		[SESSION_EV_RECONNECT] = FALLS(WAITING),
		[SESSION_EV_SHARED] = FALLS(WAITING),
		[SESSION_EV_UNSHARED] = FALLS(WAITING),
	},
	[SESSION_ENDING] = {
		[SESSION_EV_START] = STOPS(IDLE),
		[SESSION_EV_STOP] = STOPS(IDLE),
		[SESSION_EV_FREE] = STOPS(IDLE),
		[SESSION_EV_CONNECTED] = STOPS(IDLE),
		[SESSION_EV_LOGGED_IN] = STOPS(IDLE),
		[SESSION_EV_FAILED] = STOPS(IDLE),
		[SESSION_EV_SETTLED] = STOPS(IDLE),
		[SESSION_EV_SPENT] = STOPS(IDLE),
		[SESSION_EV_TIMER] = STOPS(IDLE),
		[SESSION_EV_RELOGIN] = STOPS(IDLE),
		[SESSION_EV_DRAINED] = STOPS(IDLE),
		[SESSION_EV_LOGGED_OUT] = STOPS(IDLE),
		[SESSION_EV_RECONNECT] = STOPS(IDLE),
		[SESSION_EV_SHARED] = STOPS(IDLE),
		[SESSION_EV_UNSHARED] = STOPS(IDLE),
	},
};

#define SENT	1	/* cookies and client's tags */
#define QUEUED	2

static struct sclient *a;
static uint32_t sent_itt, logout_itt;	/* on the wire */
static unsigned stops;			/* that were reported */

/* --- into a phase --- */

static void
on_stopped(void *arg)
{
	(void)arg;
	stops++;
}

static void
up_with_tasks(void)
{
	fx.window = 1;
	fx_up();
	fx.hold_window = true;
	a = fx_attach();
	accepted(a, command(READ_F, SENT, 0), 0, SENT);
	sent_itt = iscsi_itt(wire(ISCSI_OP_SCSI_CMD)->bhs);
	accepted(a, command(READ_F, QUEUED, 0), 0, QUEUED);
}

static void
logout_on_wire(void)
{
	logout_itt = iscsi_itt(wire(ISCSI_OP_LOGOUT_REQ)->bhs);
}

static void
not_up(enum session_phase phase)
{
	fx_new();
	a = fx_attach();
	if (phase == SESSION_IDLE)
		return;
	session_start(fx.s);
	if (phase == SESSION_CONNECTING)
		return;
	UNTIL(fx.s->phase == SESSION_LOGGING_IN);
	if (phase == SESSION_HALTED) {
		fx.sconf.reconnect_limit = 1;
		session_fail(fx.s, "the only attempt");
		UNTIL(fx.s->phase == SESSION_HALTED);
		fx.sconf.reconnect_limit = 0;
	}
}

static void
set_up(enum session_phase phase)
{
	fx.sconf.reconnect_interval = fx.sconf.reconnect_max = 3600000;
	stops = 0;
	if (phase == SESSION_IDLE || phase == SESSION_HALTED ||
	    phase == SESSION_CONNECTING || phase == SESSION_LOGGING_IN) {
		not_up(phase);
	} else {
		up_with_tasks();
		if (phase == SESSION_WAITING) {
			hang_up();
			UNTIL(fx.s->phase == SESSION_WAITING);
		} else if (phase == SESSION_FAILED) {
			session_fail(fx.s, "lost");
		} else if (phase == SESSION_DRAINING ||
		    phase == SESSION_LEAVING) {
			session_relogin(fx.s, 3600000, "why");
		} else if (phase == SESSION_LOGGING_OUT ||
		    phase == SESSION_ENDING) {
			session_stop(fx.s, on_stopped, NULL);
			logout_on_wire();
		}
		if (phase == SESSION_LEAVING) {
			session_timer_due(fx.s);
			logout_on_wire();
		} else if (phase == SESSION_ENDING) {
			session_fail(fx.s, "lost");
		}
	}
	ck_assert_int_eq(fx.s->phase, phase);
	if (phase != SESSION_UP)
		ck_assert_int_eq(submit(a, command(READ_F, 3, 0), 0, 3),
		    SUBMIT_NOT_SENT);
}

/* --- what happens --- */

static void
fail_to_the_last(void)
{
	fx.sconf.reconnect_limit = 1;
	fx.s->backoff.attempts = 1;
}

/* The way that brings it about where it means something, or the table's. */
static void
happen(enum session_phase phase, enum session_happening ev)
{
	switch (ev) {
	case SESSION_EV_START:
		session_start(fx.s);
		break;
	case SESSION_EV_STOP:
		session_stop(fx.s, on_stopped, NULL);
		break;
	case SESSION_EV_FREE:
		session_free(fx.s, "it is removed");
		fx.s = NULL;
		break;
	case SESSION_EV_LOGGED_IN:
		if (phase == SESSION_LOGGING_IN)
			fx_log_in();
		else
			session_step(fx.s, ev);
		break;
	case SESSION_EV_FAILED:
		session_fail(fx.s, "it broke");
		break;
	case SESSION_EV_SPENT:
		if (phase == SESSION_FAILED || phase == SESSION_ENDING)
			fail_to_the_last();
		else
			session_step(fx.s, ev);
		break;
	case SESSION_EV_SETTLED:
		if (phase != SESSION_FAILED && phase != SESSION_ENDING)
			session_step(fx.s, ev);
		break;
	case SESSION_EV_TIMER:
		session_timer_due(fx.s);
		break;
	case SESSION_EV_RELOGIN:
		session_relogin(fx.s, 3600000, "why");
		break;
	case SESSION_EV_DRAINED:
		if (phase == SESSION_DRAINING)
			say_good(sent_itt);
		else
			session_drain(fx.s);
		break;
	case SESSION_EV_LOGGED_OUT:
		if (phase == SESSION_LEAVING || phase == SESSION_LOGGING_OUT)
			say_status(from_target(ISCSI_OP_LOGOUT_RSP,
			    ISCSI_FLAG_FINAL, logout_itt), NULL, 0);
		else
			session_step(fx.s, ev);
		break;
	case SESSION_EV_RECONNECT:
		(void)session_reconnect(fx.s);
		break;
	case SESSION_EV_CONNECTED:
		if (phase == SESSION_CONNECTING)
			break;
		/* FALLTHROUGH */
	default:
		session_step(fx.s, ev);
		break;
	}
}

/* --- what came of it --- */

static enum end
end_of(uint64_t cookie)
{
	enum end end = OPEN;
	unsigned ends = 0;

	for (unsigned i = 0; i < a->nnews; i++) {
		const struct news *n = &a->news[i];
		bool unknown = n->outcome.outcome == MSG_OUTCOME_UNKNOWN;

		if (n->cookie != cookie)
			continue;
		ends++;
		if (n->kind == NEWS_PDU)
			end = ANSWERED;
		else if (n->outcome.reason == MSG_R_CONNECTION_LOST)
			end = unknown ? LOST_UNKNOWN : LOST_NOT_SENT;
		else
			end = unknown ? STOPPED_UNKNOWN : STOPPED_NOT_SENT;
		if (n->kind == NEWS_OUTCOME)
			ck_assert(unknown || n->outcome.outcome ==
			    MSG_OUTCOME_NOT_SENT);
	}
	ck_assert_uint_le(ends, 1);
	return end;
}

static unsigned
events(unsigned kind)
{
	unsigned count = 0;

	for (unsigned i = 0; i < a->nnews; i++)
		count += a->news[i].kind == NEWS_EVENT &&
		    a->news[i].event.kind == kind;
	return count;
}

static enum session_phase
phase_now(void)
{
	return fx.s == NULL ? SESSION_IDLE : fx.s->phase;
}

static void
come_to_rest(enum session_phase rest)
{
	for (unsigned i = 0; i < 2000 && phase_now() != rest; i++)
		ck_assert_int_eq(loop_turn(fx.worker->loop, 1), 0);
	for (unsigned i = 0; i < 5; i++)
		turn();
	ck_assert_msg(phase_now() == rest, "it is %s, not %s",
	    session_phase_name(phase_now()), session_phase_name(rest));
}

static void
compare(const struct expected *want, enum session_phase phase,
    enum session_happening ev)
{
	bool tasks = want->sent != NONE;

	ck_assert_msg((!tasks || (end_of(SENT) == want->sent &&
	    end_of(QUEUED) == want->queued)) &&
	    events(MSG_EVENT_SESSION_DOWN) == want->downs &&
	    events(MSG_EVENT_SESSION_UP) == want->ups,
	    "%s, %s: ends %d and %d, %u down, %u up",
	    session_phase_name(phase), session_happening_name(ev),
	    end_of(SENT), end_of(QUEUED), events(MSG_EVENT_SESSION_DOWN),
	    events(MSG_EVENT_SESSION_UP));
}

/* Whatever was open ends with the session, and nothing ends twice. */
static void
all_ends(bool tasks)
{
	if (fx.s != NULL)
		session_free(fx.s, "the test ends");
	fx.s = NULL;
	turn();
	ck_assert_int_eq(end_of(SENT) != OPEN, tasks);
	ck_assert_int_eq(end_of(QUEUED) != OPEN, tasks);
	ck_assert_int_eq(end_of(3), OPEN);
}

START_TEST(pair)
{
	enum session_phase phase = (unsigned)_i / SESSION_EVENTS;
	enum session_happening ev = (unsigned)_i % SESSION_EVENTS;
	const struct expected *want = &grid[phase][ev];

	ck_assert_msg(want->given, "no word for %s, %s",
	    session_phase_name(phase), session_happening_name(ev));
	if (want->elsewhere) {
		ck_assert_int_eq(session_fsm_step(phase, ev).next, want->rest);
		return;
	}
	set_up(phase);
	happen(phase, ev);
	come_to_rest(want->rest);
	compare(want, phase, ev);
	/* Who asked for a stop is told, once, when it has stopped. */
	ck_assert_uint_eq(stops, fx.s != NULL && fx.s->stopping &&
	    want->rest == SESSION_IDLE);
	all_ends(want->sent != NONE);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("session: phases, events and outcomes");
	TCase *tc = tcase_create("pairs");

	tcase_add_checked_fixture(tc, fx_setup, fx_teardown);
	tcase_add_loop_test(tc, pair, 0, SESSION_PHASES * SESSION_EVENTS);
	suite_add_tcase(suite, tc);
	return unit_run(suite);
}
