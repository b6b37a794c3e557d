/* SPDX-License-Identifier: ISC */
/*
 * fault.set, fault.list and fault.clear: parameters to a struct fault_spec,
 * and the table of faults to JSON.  It knows sessions by name only.
 */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "daemon/conf.h"
#include "daemon/control_priv.h"
#include "daemon/fault.h"
#include "daemon/log.h"
#include "daemon/session.h"
#include "daemon/worker.h"

#define COUNT(array)	(sizeof(array) / sizeof((array)[0]))

/* What JSON carries without loss in every language. */
#define AFTER_MAX	(1ll << 53)
#define BYTES_MAX	(16ll * 1024 * 1024)
#define MS_MAX		3600000ll
#define MASK_ALL	0xffu

const struct rpc_param control_fault_set_params[] = {
	{ "connection", JSON_STRING, true },
	{ "direction", JSON_STRING, true },
	{ "kind", JSON_STRING, true },
	{ "id", JSON_STRING, false },
	{ "errno", JSON_STRING, false },
	{ "mask", JSON_INTEGER, false },
	{ "bytes", JSON_INTEGER, false },
	{ "ms", JSON_INTEGER, false },
	{ "after", JSON_INTEGER, false },
	{ "from_now", JSON_TRUE, false },
	{ "repeat", JSON_TRUE, false },
	{ NULL, 0, false }
};

const struct rpc_param control_fault_list_params[] = {
	{ "connection", JSON_STRING, false },
	{ NULL, 0, false }
};

const struct rpc_param control_fault_clear_params[] = {
	{ "connection", JSON_STRING, false },
	{ "id", JSON_STRING, false },
	{ NULL, 0, false }
};

/* Parameters that go with one kind alone. */
static const struct {
	const char	*name;
	enum fault_kind	 kind;
	bool		 required;
} of_kind[] = {
	{ "errno", FAULT_ERRNO, true },
	{ "mask", FAULT_CORRUPT, false },
	{ "bytes", FAULT_SHORT, true },
	{ "ms", FAULT_DELAY, true },
};

/* Each taker below returns false with `err` filled. */
struct request {
	struct worker		*w;
	const json_t		*params;
	struct rpc_error	*err;
};

static const char *
text_of(const struct request *rq, const char *name)
{
	return json_string_value(json_object_get(rq->params, name));
}

/*
 * Whether a connection can be named so: a session, or one that lives.  The
 * parameter may be left out where that means all.
 */
static bool
connection_exists(const struct request *rq)
{
	const char *name = text_of(rq, "connection");

	if (name == NULL || session_find(rq->w, name) != NULL ||
	    (*name != '\0' && fault_label_lives(rq->w->faults, name)))
		return true;
	rpc_fail(rq->err, RPC_E_PARAMS, "connection", "there is no session "
	    "and no raw connection \"%s\"", name);
	return false;
}

static bool
take_names(const struct request *rq, struct fault_spec *spec)
{
	const char *dir = text_of(rq, "direction"), *kind = text_of(rq, "kind");
	const char *name = text_of(rq, "connection");

	if (!connection_exists(rq))
		return false;
	if (!fault_dir_parse(dir, &spec->dir)) {
		rpc_fail(rq->err, RPC_E_PARAMS, "direction", "direction \"%s\" "
		    "is neither read nor write", dir);
		return false;
	}
	if (!fault_kind_parse(kind, &spec->kind)) {
		rpc_fail(rq->err, RPC_E_PARAMS, "kind", "\"%s\" is no kind of "
		    "fault: errno, close, corrupt, short, delay or stall",
		    kind);
		return false;
	}
	strlcpy(spec->label, name, sizeof(spec->label));
	/* Only a session connects again under its name. */
	spec->lasting = session_find(rq->w, name) != NULL;
	return true;
}

/* The name of the fault; direction and kind if it is not given one. */
static bool
take_id(const struct request *rq, struct fault_spec *spec)
{
	static const char set[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	    "abcdefghijklmnopqrstuvwxyz0123456789._-";
	const char *id = text_of(rq, "id");

	if (id == NULL) {
		snprintf(spec->id, sizeof(spec->id), "%s-%s",
		    fault_dir_name(spec->dir), fault_kind_name(spec->kind));
		return true;
	}
	if (*id == '\0' || id[strspn(id, set)] != '\0' ||
	    strlcpy(spec->id, id, sizeof(spec->id)) >= sizeof(spec->id)) {
		rpc_fail(rq->err, RPC_E_PARAMS, "id", "an id has 1 to %d of "
		    "A-Z a-z 0-9 . _ -", FAULT_ID_MAX);
		return false;
	}
	return true;
}

/* What goes with the kind is there, and what does not is not. */
static bool
check_kind(const struct request *rq, enum fault_kind kind)
{
	for (size_t i = 0; i < COUNT(of_kind); i++) {
		bool given = json_object_get(rq->params, of_kind[i].name) !=
		    NULL;

		if (given && of_kind[i].kind != kind) {
			rpc_fail(rq->err, RPC_E_PARAMS, of_kind[i].name,
			    "\"%s\" goes with the kind %s only",
			    of_kind[i].name, fault_kind_name(of_kind[i].kind));
			return false;
		}
		if (!given && of_kind[i].kind == kind && of_kind[i].required) {
			rpc_fail(rq->err, RPC_E_PARAMS, of_kind[i].name,
			    "the kind %s needs \"%s\"", fault_kind_name(kind),
			    of_kind[i].name);
			return false;
		}
	}
	return true;
}

/* A number, or `*out` as it is where it is not given. */
static bool
take_number(const struct request *rq, const char *name, json_int_t min,
    json_int_t max, json_int_t *out)
{
	const json_t *js = json_object_get(rq->params, name);

	if (js == NULL)
		return true;
	*out = json_integer_value(js);
	if (*out >= min && *out <= max)
		return true;
	rpc_fail(rq->err, RPC_E_PARAMS, name, "\"%s\" must be from %"
	    JSON_INTEGER_FORMAT " to %" JSON_INTEGER_FORMAT, name, min, max);
	return false;
}

static bool
take_numbers(const struct request *rq, struct fault_spec *spec)
{
	json_int_t after = 0, bytes = 0, ms = 0, mask = MASK_ALL;

	if (!take_number(rq, "after", 0, AFTER_MAX, &after) ||
	    !take_number(rq, "bytes", 1, BYTES_MAX, &bytes) ||
	    !take_number(rq, "ms", 1, MS_MAX, &ms) ||
	    !take_number(rq, "mask", 1, MASK_ALL, &mask))
		return false;
	spec->after = (uint64_t)after;
	spec->bytes = (size_t)bytes;
	spec->ms = (uint32_t)ms;
	spec->mask = (uint8_t)mask;
	return true;
}

static bool
take_rest(const struct request *rq, struct fault_spec *spec)
{
	const char *name = text_of(rq, "errno");

	spec->from_now = json_is_true(json_object_get(rq->params, "from_now"));
	spec->repeat = json_is_true(json_object_get(rq->params, "repeat"));
	if (spec->repeat && (spec->kind == FAULT_SHORT ||
	    spec->kind == FAULT_DELAY || spec->kind == FAULT_STALL)) {
		rpc_fail(rq->err, RPC_E_PARAMS, "repeat", "the kind %s holds "
		    "until it is cleared and can not repeat",
		    fault_kind_name(spec->kind));
		return false;
	}
	if (name != NULL && !fault_errno_parse(name, &spec->error)) {
		rpc_fail(rq->err, RPC_E_PARAMS, "errno", "\"%s\" is no error "
		    "that a TCP socket fails with, as ECONNRESET or ETIMEDOUT "
		    "are", name);
		return false;
	}
	return true;
}

static json_t *
cannot_set(struct rpc_error *err, int error)
{
	switch (error) {
	case -ENOSPC:
		return rpc_fail(err, RPC_E_BUSY, "connection", "a connection "
		    "has at most %u faults: clear one", FAULTS_LABEL_MAX);
	case -EDQUOT:
		return rpc_fail(err, RPC_E_BUSY, NULL, "there are at most %u "
		    "faults: clear some", FAULTS_MAX);
	default:
		return NULL;
	}
}

json_t *
control_fault_set(void *ctx, const json_t *params, struct rpc_error *err)
{
	const struct control_call *call = ctx;
	struct worker *w = call->control->w;
	const struct request rq = { w, params, err };
	struct fault_spec spec = { .label = "" };
	bool replaced;
	int error;

	if (!w->config->allow_fault_injection)
		return rpc_fail(err, RPC_E_NOT_PERMITTED, NULL, "faults are "
		    "not allowed here: write \"allow-fault-injection = yes\" "
		    "in the daemon block of the configuration and reload "
		    "it");
	if (!take_names(&rq, &spec) || !take_id(&rq, &spec) ||
	    !check_kind(&rq, spec.kind) || !take_numbers(&rq, &spec) ||
	    !take_rest(&rq, &spec))
		return NULL;
	error = fault_set(w->faults, &spec, &replaced);
	if (error != 0)
		return cannot_set(err, error);
	log_info(w->log, "%s: fault %s of %s set", call->who, spec.id,
	    spec.label);
	return json_pack("{s:s, s:s, s:b}", "connection", spec.label, "id",
	    spec.id, "replaced", replaced);
}

/* The parameter of a kind, where it has one. */
static int
add_of_kind(json_t *js, const struct fault_spec *spec)
{
	switch (spec->kind) {
	case FAULT_ERRNO:
		return json_object_set_new(js, "errno",
		    json_string(fault_errno_name(spec->error)));
	case FAULT_CORRUPT:
		return json_object_set_new(js, "mask",
		    json_integer(spec->mask));
	case FAULT_SHORT:
		return json_object_set_new(js, "bytes",
		    json_integer((json_int_t)spec->bytes));
	case FAULT_DELAY:
		return json_object_set_new(js, "ms", json_integer(spec->ms));
	default:
		return 0;
	}
}

static json_t *
number_or_null(bool there, uint64_t n)
{
	return there ? json_integer((json_int_t)n) : json_null();
}

/* Append a fault to the list in the array `arg`, which may be NULL. */
static void
list_fault(const struct fault_info *info, void *arg)
{
	json_t **list = arg;
	const struct fault_spec *spec = info->spec;
	json_t *js = json_pack("{s:s, s:s, s:s, s:s, s:I, s:b, s:b, s:I, s:b,"
	    "s:o, s:o}", "connection", spec->label, "id", spec->id,
	    "direction", fault_dir_name(spec->dir),
	    "kind", fault_kind_name(spec->kind),
	    "after", (json_int_t)spec->after, "from_now", spec->from_now,
	    "repeat", spec->repeat, "fired", (json_int_t)info->fired,
	    "spent", info->spent,
	    "at", number_or_null(info->live, info->at),
	    "passed", number_or_null(info->live, info->moved));

	if (js == NULL || add_of_kind(js, spec) != 0 ||
	    json_array_append(*list, js) != 0) {
		json_decref(*list);
		*list = NULL;
	}
	json_decref(js);
}

json_t *
control_fault_list(void *ctx, const json_t *params, struct rpc_error *err)
{
	struct worker *w = ((struct control_call *)ctx)->control->w;
	const struct request rq = { w, params, err };
	json_t *list, *js;

	if (!connection_exists(&rq))
		return NULL;
	list = json_array();
	fault_each(w->faults, text_of(&rq, "connection"), list_fault, &list);
	js = json_object();
	if (json_object_set_new(js, "faults", list) == 0)
		return js;
	json_decref(js);
	return NULL;
}

json_t *
control_fault_clear(void *ctx, const json_t *params, struct rpc_error *err)
{
	const struct control_call *call = ctx;
	struct worker *w = call->control->w;
	const struct request rq = { w, params, err };
	const char *name = text_of(&rq, "connection"), *id = text_of(&rq, "id");
	unsigned n;

	if (!connection_exists(&rq))
		return NULL;
	if (id != NULL && name == NULL)
		return rpc_fail(err, RPC_E_PARAMS, "connection",
		    "an id needs the \"connection\" that it belongs to");
	n = fault_clear(w->faults, name, id);
	if (n == 0 && id != NULL)
		return rpc_fail(err, RPC_E_PARAMS, "id",
		    "%s has no fault \"%s\"", name, id);
	if (n > 0)
		log_info(w->log, "%s: %u faults%s%s cleared", call->who, n,
		    name != NULL ? " of " : "", name != NULL ? name : "");
	return json_pack("{s:i}", "cleared", (int)n);
}
