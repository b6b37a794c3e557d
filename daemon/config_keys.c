/* SPDX-License-Identifier: ISC */
/*
 * The table of every key: block, type, field, range, default.  The manual
 * page and the example follow it; a unit test compares all three.
 */
#include "config.h"

#include <assert.h>
#include <string.h>

#include "daemon/config_priv.h"
#include "proto/iscsi.h"

#define KIB		1024ull
#define MIB		(1024 * KIB)
#define GIB		(1024 * MIB)
#define SECONDS		1000ull		/* ms */
#define HOUR		(3600 * SECONDS)

/* RFC 7143 sections 13.12 to 13.14: what these lengths may be. */
#define DSL_MIN		512ull
#define DSL_MAX		((1ull << 24) - 1)

#define DAEMON(name, set, field, ...) \
	{ .block = CONFIG_BLOCK_DAEMON, (name), (set), \
	.offset = offsetof(struct config, field), __VA_ARGS__ }
#define SESSION(name, set, field, ...) \
	{ .block = CONFIG_BLOCK_SESSION, (name), (set), \
	.offset = offsetof(struct config_session, field), __VA_ARGS__ }
#define ACCESS(name, set, field, ...) \
	{ .block = CONFIG_BLOCK_ACCESS, (name), (set), \
	.offset = offsetof(struct config_access, field), __VA_ARGS__ }
#define RAW(name, set, field, ...) \
	{ .block = CONFIG_BLOCK_RAW, (name), (set), \
	.offset = offsetof(struct config_raw, field), __VA_ARGS__ }
#define RANGE(lo, hi, text)	.min = (lo), .max = (hi), .def = (text)

const struct config_key config_keys[] = {
	/* The setters of user, data-socket-group, portal, isid, portals and
	 * target-portal-group-tag fill several fields and get the whole
	 * struct. */
	{ CONFIG_BLOCK_DAEMON, "user", config_set_user, .def = "iscsimuxd",
	    .restart = true },
	DAEMON("data-socket", config_set_socket, data_socket,
	    .def = ISCSIMUX_RUNDIR "/data.sock", .restart = true),
	DAEMON("data-socket-mode", config_set_mode, data_socket_mode,
	    RANGE(0, 0777, "0660"), .restart = true),
	{ CONFIG_BLOCK_DAEMON, "data-socket-group", config_set_group,
	    .def = "iscsimux", .restart = true },
	DAEMON("control-socket", config_set_socket, control_socket,
	    .def = ISCSIMUX_RUNDIR "/control.sock", .restart = true),
	DAEMON("initiator-name", config_set_name, initiator_name, .def = NULL,
	    .restart = true),
	DAEMON("initiator-alias", config_set_alias, initiator_alias,
	    .def = NULL),
	DAEMON("log-level", config_set_level, log_level, .def = "info"),
	DAEMON("allow-fault-injection", config_set_bool,
	    allow_fault_injection, .def = "no"),
	DAEMON("max-clients", config_set_count, limits.max_clients,
	    RANGE(1, 65536, "1024")),
	DAEMON("client-tasks", config_set_count, limits.client_tasks,
	    RANGE(1, 65536, "1024")),
	DAEMON("client-inbound", config_set_size, limits.client_inbound,
	    RANGE(64 * KIB, 16 * GIB, "64M")),
	DAEMON("client-outbound", config_set_size, limits.client_outbound,
	    RANGE(64 * KIB, 16 * GIB, "16M")),
	DAEMON("uid-factor", config_set_count, limits.uid_factor,
	    RANGE(1, 1024, "4")),
	DAEMON("hello-timeout", config_set_time, limits.hello_timeout,
	    RANGE(100, HOUR, "5s")),
	DAEMON("client-stall-timeout", config_set_time,
	    limits.client_stall_timeout, RANGE(100, HOUR, "30s")),
	DAEMON("drain-timeout", config_set_time, drain_timeout,
	    RANGE(0, HOUR, "5s")),
	DAEMON("abort-timeout", config_set_time, limits.abort_timeout,
	    RANGE(100, HOUR, "15s")),
	DAEMON("r2t-timeout", config_set_time, limits.r2t_timeout,
	    RANGE(100, HOUR, "30s")),

	{ CONFIG_BLOCK_SESSION, "portal", config_set_portal, .list = true,
	    .required = true },
	SESSION("target", config_set_name, target, .required = true),
	{ CONFIG_BLOCK_SESSION, "isid", config_set_isid, .def = NULL },
	SESSION("startup", config_set_startup, manual, .def = "automatic"),
	SESSION("connect-timeout", config_set_time, connect_timeout,
	    RANGE(100, HOUR, "10s")),
	SESSION("login-timeout", config_set_time, login_timeout,
	    RANGE(100, HOUR, "15s")),
	SESSION("logout-timeout", config_set_time, logout_timeout,
	    RANGE(100, HOUR, "5s")),
	SESSION("reconnect-interval", config_set_time, reconnect_interval,
	    RANGE(0, HOUR, "2s")),
	SESSION("reconnect-max", config_set_time, reconnect_max,
	    RANGE(0, 24 * HOUR, "60s")),
	SESSION("reconnect-limit", config_set_count, reconnect_limit,
	    RANGE(0, 1000000, "0")),
	SESSION("recovery-timeout", config_set_time, recovery_timeout,
	    RANGE(0, 24 * HOUR, "120s")),
	SESSION("header-digest", config_set_digests, header_digest,
	    .def = "None", .list = true),
	SESSION("data-digest", config_set_digests, data_digest,
	    .def = "None", .list = true),
	SESSION("digest-byte-order", config_set_order, digest_big_endian,
	    .def = "little"),
	SESSION("max-recv-data-segment-length", config_set_size32,
	    max_recv_data_segment_length, RANGE(DSL_MIN, DSL_MAX, "256K")),
	SESSION("max-burst-length", config_set_size32, max_burst_length,
	    RANGE(DSL_MIN, DSL_MAX, "256K")),
	SESSION("first-burst-length", config_set_size32, first_burst_length,
	    RANGE(DSL_MIN, DSL_MAX, "64K")),
	SESSION("initial-r2t", config_set_bool, initial_r2t, .def = "no"),
	SESSION("immediate-data", config_set_bool, immediate_data,
	    .def = "yes"),
	SESSION("max-outstanding-r2t", config_set_count, max_outstanding_r2t,
	    RANGE(1, 16, "1")),
	SESSION("default-time2wait", config_set_seconds, default_time2wait,
	    RANGE(0, 3600, "2s")),
	SESSION("default-time2retain", config_set_seconds,
	    default_time2retain, RANGE(0, 3600, "0s")),
	SESSION("protocol-level", config_set_count, protocol_level,
	    RANGE(ISCSI_LEVEL_RFC7143, ISCSI_LEVEL_RFC7144, "1")),

	SESSION("login-pdu-timeout", config_set_time, login_pdu_timeout,
	    RANGE(100, HOUR, "10s")),
	{ CONFIG_BLOCK_SESSION, "target-portal-group-tag", config_set_tpgt,
	    .max = UINT16_MAX },
	SESSION("chap-user", config_set_chap_name, chap.user),
	SESSION("chap-secret-file", config_set_secret_file, chap.secret_file),
	SESSION("chap-peer-user", config_set_chap_name, chap.peer_user),
	SESSION("chap-peer-secret-file", config_set_secret_file,
	    chap.peer_secret_file),
	SESSION("discovery-chap-user", config_set_chap_name,
	    discovery_chap.user),
	SESSION("discovery-chap-secret-file", config_set_secret_file,
	    discovery_chap.secret_file),
	SESSION("discovery-chap-peer-user", config_set_chap_name,
	    discovery_chap.peer_user),
	SESSION("discovery-chap-peer-secret-file", config_set_secret_file,
	    discovery_chap.peer_secret_file),
	SESSION("chap-algorithms", config_set_algorithms, chap_rules,
	    .list = true),
	SESSION("chap-allow-md5", config_set_bool, chap_rules.allow_md5,
	    .def = "yes"),
	SESSION("chap-allow-short-secrets", config_set_bool,
	    chap_rules.allow_short, .def = "no"),
	SESSION("chap-required", config_set_bool, chap_rules.required,
	    .def = "yes"),

	SESSION("keepalive-interval", config_set_time, keepalive_interval,
	    RANGE(0, HOUR, "10s")),
	SESSION("keepalive-timeout", config_set_time, keepalive_timeout,
	    RANGE(100, HOUR, "10s")),
	SESSION("async-logout", config_set_async_logout, async_logout_drop,
	    .def = "logout"),
	SESSION("fast-abort", config_set_bool, fast_abort, .def = "no"),

	SESSION("text-timeout", config_set_time, text_timeout,
	    RANGE(100, HOUR, "30s")),

	ACCESS("users", config_set_users, users, .list = true),
	ACCESS("groups", config_set_groups, groups, .list = true),
	ACCESS("allow", config_set_allow, allow, .list = true,
	    .required = true),
	{ CONFIG_BLOCK_ACCESS, "luns", config_set_luns, .list = true },

	RAW("users", config_set_users, users, .list = true),
	RAW("groups", config_set_groups, groups, .list = true),
	{ CONFIG_BLOCK_RAW, "portals", config_set_portals, .list = true,
	    .required = true },
	RAW("unchecked", config_set_bool, unchecked, .def = "no"),
};

const size_t config_key_count = sizeof(config_keys) / sizeof(config_keys[0]);

static_assert(sizeof(config_keys) / sizeof(config_keys[0]) <= CONFIG_KEYS_MAX,
    "CONFIG_KEYS_MAX is too small for the table");

const struct config_key *
config_key_find(enum config_block block, const char *name)
{
	for (size_t i = 0; i < config_key_count; i++)
		if (config_keys[i].block == block &&
		    strcmp(config_keys[i].name, name) == 0)
			return &config_keys[i];
	return NULL;
}

const char *
config_block_name(enum config_block block)
{
	static const char *const names[CONFIG_BLOCKS] = {
		[CONFIG_BLOCK_NONE] = "",
		[CONFIG_BLOCK_DAEMON] = "daemon",
		[CONFIG_BLOCK_SESSION] = "session",
		[CONFIG_BLOCK_ACCESS] = "access",
		[CONFIG_BLOCK_RAW] = "raw",
	};

	return names[block];
}
