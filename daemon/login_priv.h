/* SPDX-License-Identifier: ISC */
/*
 * What the files of the login machine share: login.c drives the stages and
 * knows PDUs, login_keys.c knows keys and values, login_take.c judges what the
 * target says of them, login_text.c carries text across PDUs, login_redirect.c
 * reads where it has moved, login_auth.c does CHAP.  Besides them only
 * loginwatch.c may include this, for the table of keys.
 */
#ifndef DAEMON_LOGIN_PRIV_H
#define DAEMON_LOGIN_PRIV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/chap.h"
#include "daemon/login.h"
#include "proto/iscsi.h"
#include "proto/text.h"

#define LOGIN_TEXT_MAX	65536	/* bytes of one text sequence, each way */
#define LOGIN_PAIRS_MAX	512	/* pairs in one text sequence */
#define LOGIN_LIST_MAX	16	/* bytes of an offered list, NUL included */

/* The positive return value of the functions below: the login has failed. */
enum { LOGIN_E_FAILED = 1 };

/* Why a login failed, in printable ASCII. */
struct login_why {
	char	text[512];
};

/* Format the reason; always returns LOGIN_E_FAILED. */
int login_fail(struct login_why *why, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/*
 * Text on its way: `in` is put together from the PDUs of one sequence of the
 * target (C bit), `out` is cut into the PDUs of one of ours.
 */
struct login_text {
	size_t			in_len;
	size_t			out_sent;
	struct text_writer	out;
	char			in_buf[LOGIN_TEXT_MAX];
	char			out_buf[LOGIN_TEXT_MAX];
};

void login_text_init(struct login_text *t);

/* Add the data segment of a PDU to `in`; fails beyond LOGIN_TEXT_MAX. */
int login_text_append(struct login_text *t, const uint8_t *data, size_t len,
    struct login_why *why);

/*
 * Check all of `in`: it must consist of pairs, not too many, and no key may
 * come twice in a sequence (RFC 7143 section 6.2).
 */
int login_text_check(const struct login_text *t, struct login_why *why);

/*
 * Move the next part of `out`, at most `size` bytes, to `data` and return its
 * length; after the last part `out` is empty and ready for new text.
 */
size_t login_text_cut(struct login_text *t, uint8_t *data, size_t size);

/* True if a part of `out` is still to be sent. */
bool login_text_pending(const struct login_text *t);

/*
 * Read where the target has moved from the `len` bytes of text that came with
 * `status`, whose name is `name`.  Fills `*r` if there is an address that can
 * be used; `usable` says so.  Always a failure, told in `why`.
 */
int login_redirect_read(struct login_redirect *r, bool *usable,
    uint16_t status, const char *name, const uint8_t *data, size_t len,
    struct login_why *why);

/*
 * The negotiated keys of a normal session (RFC 7143 section 13).
 *
 *   X(ID, name, kind, stage, default, least, greatest)
 *
 * `stage` is where we offer it, unless the target has proposed it before.
 */
#define LOGIN_KEY_TABLE(X)						\
	X(AUTH_METHOD, "AuthMethod", LIST, SECURITY, 0, 0, 0)		\
	X(HEADER_DIGEST, "HeaderDigest", LIST, OPERATIONAL, 0, 0, 1)	\
	X(DATA_DIGEST, "DataDigest", LIST, OPERATIONAL, 0, 0, 1)	\
	X(MAX_CONNECTIONS, "MaxConnections", MIN, OPERATIONAL,		\
	    1, 1, 65535)						\
	X(INITIAL_R2T, "InitialR2T", OR, OPERATIONAL, 1, 0, 1)		\
	X(IMMEDIATE_DATA, "ImmediateData", AND, OPERATIONAL, 1, 0, 1)	\
	X(MAX_RECV_DSL, "MaxRecvDataSegmentLength", DECLARED,		\
	    OPERATIONAL, 8192, 512, ISCSI_DSL_MAX)			\
	X(MAX_BURST, "MaxBurstLength", MIN, OPERATIONAL,		\
	    262144, 512, ISCSI_DSL_MAX)					\
	X(FIRST_BURST, "FirstBurstLength", MIN, OPERATIONAL,		\
	    65536, 512, ISCSI_DSL_MAX)					\
	X(TIME2WAIT, "DefaultTime2Wait", MAX, OPERATIONAL, 2, 0, 3600)	\
	X(TIME2RETAIN, "DefaultTime2Retain", MIN, OPERATIONAL,		\
	    20, 0, 3600)						\
	X(MAX_OUTSTANDING_R2T, "MaxOutstandingR2T", MIN, OPERATIONAL,	\
	    1, 1, 65535)						\
	X(DATA_PDU_IN_ORDER, "DataPDUInOrder", OR, OPERATIONAL, 1, 0, 1) \
	X(DATA_SEQUENCE_IN_ORDER, "DataSequenceInOrder", OR,		\
	    OPERATIONAL, 1, 0, 1)					\
	X(ERROR_RECOVERY_LEVEL, "ErrorRecoveryLevel", MIN, OPERATIONAL,	\
	    0, 0, 2)							\
	X(PROTOCOL_LEVEL, "iSCSIProtocolLevel", MIN, OPERATIONAL,	\
	    ISCSI_LEVEL_RFC7143, 0, 31)

enum login_key {
#define X(id, name, kind, stage, def, least, greatest) LOGIN_KEY_##id,
	LOGIN_KEY_TABLE(X)
#undef X
	LOGIN_KEYS
};

enum login_kind {
	LOGIN_KIND_LIST,	/* one item of our list */
	LOGIN_KIND_MIN,
	LOGIN_KIND_MAX,
	LOGIN_KIND_AND,
	LOGIN_KIND_OR,
	LOGIN_KIND_DECLARED	/* each side says its own */
};

struct login_key_rule {
	const char		*name;
	enum login_kind		 kind;
	enum iscsi_stage	 stage;
	uint32_t		 def;
	uint32_t		 least;
	uint32_t		 greatest;
};

extern const struct login_key_rule login_key_rules[LOGIN_KEYS];

static inline bool
login_key_is_boolean(enum login_key id)
{
	return login_key_rules[id].kind == LOGIN_KIND_AND ||
	    login_key_rules[id].kind == LOGIN_KIND_OR;
}

/* The result function of a number or boolean, of both sides' values. */
uint32_t login_key_combine(enum login_key id, uint32_t a, uint32_t b);

/* Read a number or boolean; false if the pair has none within its range. */
bool login_key_read(enum login_key id, const struct text_pair *pair,
    uint32_t *out);

/* True for the answers that are no value (RFC 7143 section 6.2). */
bool login_is_refusal(const struct text_pair *pair);

/* Write a number or boolean as its kind wants. */
void login_key_put(struct text_writer *w, enum login_key id, uint32_t value);

enum login_key_state {
	LOGIN_KEY_UNTOUCHED = 0,
	LOGIN_KEY_OFFERED,	/* waits for the target's answer */
	LOGIN_KEY_DEFAULTED,	/* answered Irrelevant or Reject */
	LOGIN_KEY_SETTLED
};

/* Booleans are 0 and 1; of a list, 0 is None and 1 is the other one. */
struct login_keys {
	enum login_key_state	state[LOGIN_KEYS];
	bool			discovery;
	bool			tpgt_set;	/* it must be want_tpgt */
	uint16_t		want_tpgt;
	uint32_t		offer[LOGIN_KEYS];
	uint32_t		value[LOGIN_KEYS];
	char			list[LOGIN_KEYS][LOGIN_LIST_MAX];
	uint16_t		tpgt;
	bool			have_tpgt;
	char			target_alias[256];
};

/* What will be offered, brought into the range that each key allows. */
void login_keys_init(struct login_keys *k, const struct login_wanted *wanted);

/*
 * Does a discovery session negotiate it (RFC 7143 section 13)?  The others are
 * not offered there, for some targets refuse or misread them.
 */
bool login_key_in_discovery(enum login_key id);

/* Offer the keys of a stage that nobody has touched yet. */
void login_keys_offer(struct login_keys *k, enum iscsi_stage stage,
    struct text_writer *w);

/*
 * Take one pair of the target: an answer to our offer, a declaration, or a
 * proposal, whose answer goes to `answers`.
 */
int login_keys_take(struct login_keys *k, const struct text_pair *pair,
    struct text_writer *answers, struct login_why *why);

/*
 * Conclude: keys without an answer get their default as far as our offer
 * allows it, and values must fit each other.  Fills all of `result` but the
 * TSIH.
 */
int login_keys_finish(struct login_keys *k, struct login_result *result,
    struct login_why *why);

/* The keys of CHAP (RFC 7143 section 12.1.3). */
enum login_chap_key {
	LOGIN_CHAP_A,
	LOGIN_CHAP_I,
	LOGIN_CHAP_C,
	LOGIN_CHAP_N,
	LOGIN_CHAP_R,
	LOGIN_CHAP_KEYS
};

enum login_auth_state {
	LOGIN_AUTH_METHOD,	/* the answer to AuthMethod is due */
	LOGIN_AUTH_CHALLENGE,	/* CHAP_A is said, the challenge is due */
	LOGIN_AUTH_PEER,	/* ours is said, the target's name is due */
	LOGIN_AUTH_DONE		/* nothing to do, or nothing left */
};

/* The authentication of one login, both ways. */
struct login_auth {
	enum login_auth_state	 state;
	bool			 mutual;
	bool			 fallback;	/* MD5 alone may be tried */
	bool			 deceived;	/* it answers with what is ours */
	unsigned		 count;
	uint8_t			 list[CONFIG_CHAP_ALGORITHMS];	/* offered */
	unsigned		 algorithm;	/* chosen; 0: not yet */
	char			 user[CONFIG_CHAP_NAME_MAX + 1];
	char			 peer_user[CONFIG_CHAP_NAME_MAX + 1];
	struct secret		 secret;
	struct secret		 peer_secret;
	struct chap_challenges	*challenges;
	struct chap_challenge	 ours;
	/* What came in one text: the values stay where they are. */
	bool			 have[LOGIN_CHAP_KEYS];
	struct text_pair	 pair[LOGIN_CHAP_KEYS];
};

/*
 * Start with what is wanted, and write what AuthMethod offers to the
 * LOGIN_LIST_MAX bytes at `methods`.
 */
void login_auth_init(struct login_auth *a, const struct login_wanted *wanted,
    char *methods);

/* Wipe the secrets; our challenge is no longer outstanding. */
void login_auth_free(struct login_auth *a);

/* Take a pair if it is one of CHAP's; else false. */
bool login_auth_take(struct login_auth *a, const struct text_pair *pair);

/*
 * Act on the CHAP keys of a whole text, which is still there, and on the
 * answer to AuthMethod in `keys`.  What is to be said goes to `out`.
 */
int login_auth_step(struct login_auth *a, const struct login_keys *keys,
    struct text_writer *out, struct login_why *why);

/* May we ask for the next stage? */
bool login_auth_may_end(const struct login_auth *a);

/*
 * The target ends the security stage: is everything proved?  From now on it
 * is too late for AuthMethod (RFC 7143 section 12.1).
 */
int login_auth_end(struct login_auth *a, struct login_keys *keys,
    struct login_why *why);

#endif
