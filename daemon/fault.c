/* SPDX-License-Identifier: ISC */
/*
 * The table of faults: set, replaced, cleared, listed, and their names.  What
 * they do to bytes is fault_port.c's.
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/fault_internal.h"

#define COUNT(array)	(sizeof(array) / sizeof((array)[0]))

static const char *const dir_names[FAULT_DIRS] = {
	[FAULT_READ] = "read",
	[FAULT_WRITE] = "write",
};

static const char *const kind_names[FAULT_KINDS] = {
	[FAULT_ERRNO] = "errno",
	[FAULT_CLOSE] = "close",
	[FAULT_CORRUPT] = "corrupt",
	[FAULT_SHORT] = "short",
	[FAULT_DELAY] = "delay",
	[FAULT_STALL] = "stall",
};

/* EAGAIN and EINTR are no failures, and so not here. */
static const struct {
	const char	*name;
	int		 error;
} errnos[] = {
	{ "EACCES", EACCES },
	{ "EBADF", EBADF },
	{ "ECONNABORTED", ECONNABORTED },
	{ "ECONNREFUSED", ECONNREFUSED },
	{ "ECONNRESET", ECONNRESET },
	{ "EHOSTDOWN", EHOSTDOWN },
	{ "EHOSTUNREACH", EHOSTUNREACH },
	{ "EINVAL", EINVAL },
	{ "EIO", EIO },
	{ "ENETDOWN", ENETDOWN },
	{ "ENETRESET", ENETRESET },
	{ "ENETUNREACH", ENETUNREACH },
	{ "ENOBUFS", ENOBUFS },
	{ "ENOMEM", ENOMEM },
	{ "ENOTCONN", ENOTCONN },
	{ "EPERM", EPERM },
	{ "EPIPE", EPIPE },
	{ "EPROTO", EPROTO },
	{ "ESHUTDOWN", ESHUTDOWN },
	{ "ETIMEDOUT", ETIMEDOUT },
};

/* --- names --- */

bool
fault_dir_parse(const char *name, enum fault_dir *out)
{
	for (unsigned i = 0; i < FAULT_DIRS; i++) {
		if (strcmp(dir_names[i], name) == 0) {
			*out = (enum fault_dir)i;
			return true;
		}
	}
	return false;
}

bool
fault_kind_parse(const char *name, enum fault_kind *out)
{
	for (unsigned i = 0; i < FAULT_KINDS; i++) {
		if (strcmp(kind_names[i], name) == 0) {
			*out = (enum fault_kind)i;
			return true;
		}
	}
	return false;
}

bool
fault_errno_parse(const char *name, int *out)
{
	for (size_t i = 0; i < COUNT(errnos); i++) {
		if (strcmp(errnos[i].name, name) == 0) {
			*out = errnos[i].error;
			return true;
		}
	}
	return false;
}

const char *
fault_dir_name(enum fault_dir dir)
{
	return dir_names[dir];
}

const char *
fault_kind_name(enum fault_kind kind)
{
	return kind_names[kind];
}

const char *
fault_errno_name(int error)
{
	for (size_t i = 0; i < COUNT(errnos); i++) {
		if (errnos[i].error == error)
			return errnos[i].name;
	}
	return "?";
}

/* --- the table --- */

struct faults *
faults_new(struct loop *loop)
{
	struct faults *f = calloc(1, sizeof(*f));

	if (f == NULL)
		return NULL;
	f->loop = loop;
	TAILQ_INIT(&f->groups);
	TAILQ_INIT(&f->ports);
	return f;
}

void
faults_free(struct faults *f)
{
	if (f == NULL)
		return;
	(void)fault_clear(f, NULL, NULL);
	free(f);
}

struct fault_group *
fault_group_find(const struct faults *f, const char *label)
{
	struct fault_group *group;

	TAILQ_FOREACH(group, &f->groups, link) {
		if (strcmp(group->label, label) == 0)
			return group;
	}
	return NULL;
}

/* The group of a label, made if there is none; NULL on lack of memory. */
static struct fault_group *
group_get(struct faults *f, const char *label)
{
	struct fault_group *group = fault_group_find(f, label);

	if (group != NULL)
		return group;
	group = calloc(1, sizeof(*group));
	if (group == NULL)
		return NULL;
	strlcpy(group->label, label, sizeof(group->label));
	TAILQ_INIT(&group->list);
	TAILQ_INSERT_TAIL(&f->groups, group, link);
	return group;
}

static void
group_put(struct faults *f, struct fault_group *group)
{
	if (group->count > 0)
		return;
	TAILQ_REMOVE(&f->groups, group, link);
	free(group);
}

static struct fault *
fault_find(const struct fault_group *group, const char *id)
{
	struct fault *fault;

	TAILQ_FOREACH(fault, &group->list, link) {
		if (strcmp(fault->spec.id, id) == 0)
			return fault;
	}
	return NULL;
}

static void
fault_drop(struct faults *f, struct fault_group *group, struct fault *fault)
{
	TAILQ_REMOVE(&group->list, fault, link);
	group->count--;
	f->count--;
	if (!fault->spent)
		group->armed--;
	free(fault);
}

/* The ports of a label look again at what is set for them. */
static void
label_changed(struct faults *f, const char *label)
{
	struct fault_port *p;

	TAILQ_FOREACH(p, &f->ports, link) {
		if (p->label != NULL && strcmp(p->label, label) == 0)
			fault_port_changed(p);
	}
}

/* The port that lives under a label: the newest, if there are several. */
static const struct fault_port *
live_port(const struct faults *f, const char *label)
{
	const struct fault_port *p;

	TAILQ_FOREACH_REVERSE(p, &f->ports, fault_ports, link) {
		if (p->label != NULL && strcmp(p->label, label) == 0)
			return p;
	}
	return NULL;
}

bool
fault_label_lives(const struct faults *f, const char *label)
{
	return live_port(f, label) != NULL;
}

/* Drop the oldest spent fault of a group; false if there is none. */
static bool
drop_spent(struct faults *f, struct fault_group *group)
{
	struct fault *fault;

	TAILQ_FOREACH(fault, &group->list, link) {
		if (fault->spent) {
			fault_drop(f, group, fault);
			return true;
		}
	}
	return false;
}

/* Make room for one more fault in a group.  Returns 0 or what stands in the
 * way, as fault_set() does. */
static int
make_room(struct faults *f, struct fault_group *group)
{
	if (group->count >= FAULTS_LABEL_MAX && !drop_spent(f, group))
		return -ENOSPC;
	if (f->count >= FAULTS_MAX && !drop_spent(f, group))
		return -EDQUOT;
	return 0;
}

static void
fault_add(struct faults *f, struct fault_group *group, struct fault *fault,
    const struct fault_spec *spec)
{
	const struct fault_port *p = live_port(f, spec->label);

	fault->spec = *spec;
	if (spec->from_now && p != NULL) {
		fault->serial = p->serial;
		fault->base = *p->side[spec->dir].moved;
	}
	TAILQ_INSERT_TAIL(&group->list, fault, link);
	group->count++;
	group->armed++;
	f->count++;
}

int
fault_set(struct faults *f, const struct fault_spec *spec, bool *replaced)
{
	struct fault_group *group = group_get(f, spec->label);
	struct fault *fault = calloc(1, sizeof(*fault)), *old = NULL;
	int error = 0;

	if (group == NULL || fault == NULL)
		error = -ENOMEM;
	else
		old = fault_find(group, spec->id);
	if (error == 0 && old == NULL)
		error = make_room(f, group);
	if (error != 0) {
		free(fault);
		if (group != NULL)
			group_put(f, group);
		return error;
	}
	*replaced = old != NULL;
	if (old != NULL)
		fault_drop(f, group, old);
	fault_add(f, group, fault, spec);
	label_changed(f, spec->label);
	return 0;
}

void
fault_spend(struct faults *f, struct fault_group *group, struct fault *fault)
{
	struct fault_port *p;

	fault->spent = true;
	if (--group->armed > 0)
		return;
	TAILQ_FOREACH(p, &f->ports, link) {
		if (p->active == group)
			p->active = NULL;
	}
}

/* Drop those of a group that `id` names, all if it is NULL. */
static unsigned
group_clear(struct faults *f, struct fault_group *group, const char *id)
{
	struct fault *fault, *next;
	unsigned n = 0;

	TAILQ_FOREACH_SAFE(fault, &group->list, link, next) {
		if (id != NULL && strcmp(fault->spec.id, id) != 0)
			continue;
		fault_drop(f, group, fault);
		n++;
	}
	return n;
}

unsigned
fault_clear(struct faults *f, const char *label, const char *id)
{
	struct fault_group *group, *next;
	unsigned n, all = 0;

	TAILQ_FOREACH_SAFE(group, &f->groups, link, next) {
		if (label != NULL && strcmp(group->label, label) != 0)
			continue;
		n = group_clear(f, group, id);
		if (n > 0)
			label_changed(f, group->label);
		group_put(f, group);
		all += n;
	}
	return all;
}

void
fault_label_gone(struct faults *f, const char *label)
{
	struct fault_group *group = fault_group_find(f, label);
	struct fault *fault, *next;

	if (group == NULL || live_port(f, label) != NULL)
		return;
	TAILQ_FOREACH_SAFE(fault, &group->list, link, next) {
		if (!fault->spec.lasting)
			fault_drop(f, group, fault);
	}
	group_put(f, group);
}

uint64_t
fault_position(const struct fault *fault, const struct fault_port *p)
{
	uint64_t base = fault->serial == p->serial ? fault->base : 0;

	return base + fault->spec.after;
}

void
fault_each(const struct faults *f, const char *label,
    void (*fn)(const struct fault_info *info, void *arg), void *arg)
{
	const struct fault_group *group;
	const struct fault_port *p;
	const struct fault *fault;

	TAILQ_FOREACH(group, &f->groups, link) {
		if (label != NULL && strcmp(group->label, label) != 0)
			continue;
		p = live_port(f, group->label);
		TAILQ_FOREACH(fault, &group->list, link) {
			struct fault_info info = {
				.spec = &fault->spec, .fired = fault->fired,
				.spent = fault->spent, .live = p != NULL,
			};

			if (p != NULL) {
				info.moved = *p->side[fault->spec.dir].moved;
				info.at = fault_position(fault, p);
			}
			fn(&info, arg);
		}
	}
}
