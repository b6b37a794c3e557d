/* SPDX-License-Identifier: ISC */
/*
 * The configuration as the daemon uses it: iscsimuxd.conf(5) read, checked
 * and turned into natural units.  Pure: reads files and the user database,
 * changes nothing.  The header is called conf.h because config.h is
 * autoconf's.
 *
 * Not thread-safe: one load at a time in a process (libconfuse's scanner and
 * getpwnam(3) have static state).  May block for as long as local files and the
 * user database take: a reload is the one time when the loop waits for that.
 */
#ifndef DAEMON_CONF_H
#define DAEMON_CONF_H

#include <sys/types.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/log.h"
#include "daemon/secret.h"

#define CONFIG_ERRORS_MAX	20	/* errors kept; all are counted */
#define CONFIG_NAME_MAX		63	/* bytes of a session's name */
#define CONFIG_ISCSI_NAME_MAX	223	/* bytes, RFC 7143 section 4.2.7.1 */
#define CONFIG_ISID_LEN		6	/* bytes, RFC 7143 section 11.12.5 */
#define CONFIG_DIGESTS_MAX	2
#define CONFIG_PORT_DEFAULT	3260
#define CONFIG_SESSIONS_MAX	1024
#define CONFIG_CHAP_NAME_MAX	255	/* bytes, RFC 7143 section 6.1 */
#define CONFIG_CHAP_ALGORITHMS	4	/* that there are */

#define CONFIG_NO_ID		((uint32_t)-1)	/* no such uid or gid */

enum config_digest {
	CONFIG_DIGEST_NONE = 0,
	CONFIG_DIGEST_CRC32C
};

/* Digests to offer, the preferred one first. */
struct config_digests {
	unsigned		 count;		/* 1 or 2 */
	enum config_digest	 list[CONFIG_DIGESTS_MAX];
};

/*
 * Who we are to a target, and who it must be to us, by CHAP (RFC 7143 section
 * 12.1).  A name is NULL where none is configured; without `user` there is no
 * CHAP, without `peer_secret_file` the target need not answer for itself.
 * The secrets were read together with the configuration.
 */
struct config_chap {
	char		*user;
	char		*secret_file;
	char		*peer_user;	/* or NULL: any */
	char		*peer_secret_file;
	struct secret	 secret;
	struct secret	 peer_secret;
};

/* How CHAP is done, in normal and in discovery sessions. */
struct config_chap_rules {
	unsigned	 count;		/* not 0 */
	uint8_t		 list[CONFIG_CHAP_ALGORITHMS];	/* enum chap_algorithm */
	bool		 listed;	/* by chap-algorithms, not by default */
	bool		 allow_md5;
	bool		 allow_short;	/* secrets below 96 bits */
	bool		 required;	/* else AuthMethod None will do */
};

/* Where a target listens. */
struct config_portal {
	char		*text;		/* as written, for messages */
	char		*host;		/* name or address, no brackets */
	uint16_t	 port;		/* host byte order */
};

/* Ids of users or groups, in the order written, none twice. */
struct config_ids {
	size_t		 count;
	uint32_t	*list;
};

/*
 * One access rule.  A client matches if its uid is in `users` or one of its
 * groups is in `groups`; at least one of the two is not empty.
 */
struct config_access {
	struct config_ids	 users;
	struct config_ids	 groups;
	uint32_t		 allow;		/* enum msg_access, combined */
};

/*
 * Addresses and ports to which raw connections may go.  An IPv4 address that
 * is written as an IPv6 one (::ffff:0:0/96) is kept as IPv4.
 */
struct config_portal_rule {
	bool		 ipv6;
	uint8_t		 address[16];	/* 4 of IPv4; 0 beyond the prefix */
	unsigned	 prefix;	/* bits */
	uint16_t	 port;		/* host byte order; 0: any */
};

/*
 * One raw block: who, as in an access rule, may have raw connections to
 * which portals.
 */
struct config_raw {
	struct config_ids	 users;
	struct config_ids	 groups;
	size_t			 portal_count;	/* not 0 */
	struct config_portal_rule *portals;
	bool			 unchecked;	/* without the checks */
};

/* Who made a session known. */
enum config_origin {
	CONFIG_FROM_FILE = 0,
	CONFIG_ADDED,		/* session.add */
	CONFIG_SHARED		/* a client's raw connection */
};

/*
 * One session block.  The configuration has one reference to it, and so has
 * each session that was made of it: a block outlives the configuration that
 * it came with as long as somebody uses it.
 */
struct config_session {
	unsigned		 refs;		/* beyond the first */
	enum config_origin	 origin;
	char			*name;		/* [A-Za-z0-9._-]{1,63} */
	struct config_portal	 portal;	/* the first to try */
	size_t			 more_count;
	struct config_portal	*more_portals;	/* the others, in order */
	char			*target;	/* iSCSI name */
	bool			 manual;	/* not started by itself */
	bool			 isid_set;
	uint8_t			 isid[CONFIG_ISID_LEN];	/* wire order */
	uint32_t		 connect_timeout;	/* ms */
	uint32_t		 login_timeout;		/* ms */
	uint32_t		 logout_timeout;	/* ms */
	/* Pauses in ms, the first and the longest; attempts, 0: for ever. */
	uint32_t		 reconnect_interval;
	uint32_t		 reconnect_max;
	uint32_t		 reconnect_limit;
	uint32_t		 recovery_timeout;
	struct config_digests	 header_digest;
	struct config_digests	 data_digest;
	bool			 digest_big_endian;	/* else little */
	/* Bytes; the first burst is not longer than the burst. */
	uint32_t		 max_recv_data_segment_length;
	uint32_t		 max_burst_length;
	uint32_t		 first_burst_length;
	bool			 initial_r2t;
	bool			 immediate_data;
	uint32_t		 max_outstanding_r2t;
	uint32_t		 protocol_level;
	uint32_t		 default_time2wait;	/* s */
	uint32_t		 default_time2retain;	/* s */
	uint32_t		 login_pdu_timeout;	/* ms */
	bool			 tpgt_set;
	uint16_t		 tpgt;		/* TargetPortalGroupTag */
	struct config_chap	 chap;
	struct config_chap	 discovery_chap;
	struct config_chap_rules chap_rules;
	uint32_t		 keepalive_interval;	/* ms; 0: never */
	uint32_t		 keepalive_timeout;	/* ms */
	bool			 async_logout_drop;	/* else log out */
	bool			 fast_abort;	/* no data behind a TMF */
	uint32_t		 text_timeout;		/* ms */
	size_t			 access_count;	/* 0: only root, us */
	struct config_access	*access;
};

/* What clients may use up and how long things may take. */
struct config_limits {
	uint32_t	 max_clients;		/* of the daemon */
	uint32_t	 client_tasks;		/* open tasks of one client */
	uint64_t	 client_inbound;	/* bytes charged, from target */
	uint64_t	 client_outbound;	/* bytes charged, to target */
	uint32_t	 uid_factor;		/* a uid: so many clients */
	uint32_t	 hello_timeout;		/* ms */
	uint32_t	 client_stall_timeout;	/* ms */
	uint32_t	 abort_timeout;		/* ms */
	uint32_t	 r2t_timeout;		/* ms */
};

struct config {
	char			*user;	/* to become when started as root */
	uint32_t		 uid;		/* of it, or CONFIG_NO_ID */
	uint32_t		 gid;		/* its primary group, same */
	char			*data_socket;		/* path */
	uint32_t		 data_socket_mode;	/* mode bits */
	char			*data_socket_group;
	uint32_t		 data_socket_gid;	/* or CONFIG_NO_ID */
	char			*control_socket;	/* path */
	char			*initiator_name;	/* NULL: none found */
	char			*initiator_alias;	/* or NULL */
	enum log_level		 log_level;
	bool			 allow_fault_injection;
	uint32_t		 drain_timeout;		/* ms */
	struct config_limits	 limits;
	size_t			 session_count;
	struct config_session	**sessions;	/* in the order written */
	size_t			 raw_count;	/* 0: only root, us */
	struct config_raw	*raw;		/* in the order written */
};

/* The first errors of a load, each "FILE:LINE: KEY: what and what to do". */
struct config_errors {
	size_t	 total;				/* all, kept or not */
	size_t	 count;				/* kept */
	char	*text[CONFIG_ERRORS_MAX];
	char	 key[64];	/* of the first error; "" if it has none */
};

/* Which files a load reads; all strings stay the caller's. */
struct config_files {
	const char	*main;		/* conf.d is beside it */
	bool		 main_optional;	/* need not exist */
	const char	*initiator;	/* fallback for initiator-name */
	const char	*initiator_known;	/* if that is not readable */
};

/*
 * Read `path`, or where it is NULL the default file, which need not exist.
 * Then every *.conf in the conf.d beside it, sorted.  Returns 0 and the
 * configuration in `*out`, which the caller frees; or -EINVAL if anything is
 * wrong, -ENOMEM if memory ran out, with the reasons added to `errs`.
 * CONFIG_NO_ID stands for a user or group that is missing but was not named:
 * the default ones need not exist on every machine.
 */
int config_load(const char *path, struct config **out,
    struct config_errors *errs);

/* As config_load(), with every place given. */
int config_load_files(const struct config_files *files, struct config **out,
    struct config_errors *errs);

/*
 * Load what `running` was loaded from once more.  An initiator name that may
 * not be read any more, because privileges were given up, is taken from there.
 */
int config_load_again(const char *path, bool optional,
    const struct config *running, struct config **out,
    struct config_errors *errs);

/* Call `fn` for each key of the daemon block that differs, and with "raw" if
 * raw blocks do; `restart` tells that it is not to be changed while the daemon
 * runs. */
void config_daemon_compare(const struct config *a, const struct config *b,
    void (*fn)(void *ctx, const char *key, bool restart), void *ctx);

/* Exchange what `restart` is told of, so that `config` has what runs. */
void config_keep(struct config *config, struct config *running);

/* Free a configuration; NULL is allowed. */
void config_free(struct config *cfg);

/* One more reference to a block; returns it. */
struct config_session *config_session_ref(struct config_session *s);

/* Give a reference back; the last one frees it.  NULL is allowed. */
void config_session_unref(struct config_session *s);

/* A key and its values as they would stand in the file, without quotes. */
struct config_setting {
	const char		*key;
	const char *const	*values;
	size_t			 count;
	bool			 list;		/* were written as a list */
};

struct config_settings {
	size_t				 count;
	const struct config_setting	*list;
};

/* What a session block of the file says, from elsewhere. */
struct config_draft {
	const char			*name;
	struct config_settings		 keys;
	size_t				 access_count;
	const struct config_settings	*access;	/* access blocks */
};

/*
 * Make a session block, with one reference, of what stays the caller's; all
 * rules of the file hold.  Returns as config_load(); errors begin with the
 * key.  May block like a load where users and groups are named, not numbered.
 */
int config_session_make(const struct config_draft *draft,
    struct config_session **out, struct config_errors *errs);

/* Free the kept errors and count from zero again; start with one full of
 * zeros. */
void config_errors_clear(struct config_errors *errs);

/* What differs between two session blocks; origin and references do not. */
enum config_difference {
	CONFIG_EQUAL,
	CONFIG_ACCESS_DIFFERS,		/* nothing but access rules */
	CONFIG_DIFFERENT
};

enum config_difference config_session_compare(const struct config_session *a,
    const struct config_session *b);

/* The session called `name`, owned by the configuration, or NULL. */
const struct config_session *config_session_find(const struct config *cfg,
    const char *name);

/* A session's portal by its place in the list, from 0; NULL behind the last. */
const struct config_portal *config_session_portal(
    const struct config_session *s, size_t i);

/*
 * Split HOST[:PORT] or [IPV6][:PORT]; `host` is as large as `text`.  Returns
 * NULL, or what is wrong in words.
 */
const char *config_portal_parse(const char *text, char *host, uint16_t *port);

/*
 * Check an iSCSI name (RFC 7143 section 4.2.7): iqn., eui. or naa., at most
 * 223 bytes.  Returns NULL if it is one, else what is wrong in words.
 */
const char *config_iscsi_name_check(const char *name);

#endif /* DAEMON_CONF_H */
