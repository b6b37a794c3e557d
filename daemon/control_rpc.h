/* SPDX-License-Identifier: ISC */
/*
 * JSON-RPC 2.0 over lines: one request in, one answer out, driven by a table
 * of methods.  Bytes in and bytes out; no socket.
 */
#ifndef DAEMON_CONTROL_RPC_H
#define DAEMON_CONTROL_RPC_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

enum rpc_code {
	RPC_E_PARSE = -32700,
	RPC_E_REQUEST = -32600,
	RPC_E_METHOD = -32601,
	RPC_E_PARAMS = -32602,
	RPC_E_INTERNAL = -32603,
	/* The daemon's own. */
	RPC_E_NOT_PERMITTED = -32000,
	RPC_E_BUSY = -32001,
	RPC_E_NO_SUCH_SESSION = -32002,
	RPC_E_EXISTS = -32003,
	RPC_E_CONFIG = -32004,
	RPC_E_TARGET = -32005
};

/* No error, but the code of rpc_later(). */
#define RPC_LATER	1

/* An error object; `field` is data.field, "" for none; `errors`, a reference,
 * is data.errors, NULL for none. */
struct rpc_error {
	int	code;
	char	message[256];
	char	field[64];
	json_t	*errors;
};

/* A parameter; tables end with a NULL name; JSON_TRUE is true or false. */
struct rpc_param {
	const char	*name;
	json_type	 type;
	bool		 required;
};

/*
 * Do what a method says.  `params` is an object that matches the method's
 * table.  Returns the result, a new reference, or NULL with `err` filled; a
 * code of 0 stands for lack of memory.
 */
typedef json_t *rpc_handler(void *ctx, const json_t *params,
    struct rpc_error *err);

struct rpc_method {
	const char		*name;
	rpc_handler		*handler;
	const struct rpc_param	*params;
	unsigned		 fds;	/* descriptors that come with it */
};

/*
 * Serve the `len` bytes at `line`, which hold no newline, with one of the `n`
 * methods.  `nfds` descriptors came along; a method that does not want so
 * many is not called.  Returns 0 and in `*answer` the answer with its newline and a NUL,
 * which the caller frees, NULL if none is due (a notification); or -ENOMEM; or
 * RPC_LATER if the handler returned rpc_later(), and in `*id` a reference to
 * what rpc_answer_line() needs, NULL if no answer is due.
 */
int rpc_serve(const struct rpc_method *methods, size_t n, void *ctx,
    const char *line, size_t len, unsigned nfds, char **answer, json_t **id);

/* For a handler to return whose answer comes in a later turn. */
json_t *rpc_later(struct rpc_error *err);

/*
 * The answer to the request with this id: `result`, which is taken over, or
 * where that is NULL the error.  NULL without memory.
 */
char *rpc_answer_line(json_t *id, json_t *result, const struct rpc_error *err);

/* An error answer to nobody's request in particular; NULL without memory. */
char *rpc_error_line(int code, const char *message);

/* Fill `err`; `field` may be NULL.  Returns NULL for handlers to return. */
json_t *rpc_fail(struct rpc_error *err, int code, const char *field,
    const char *fmt, ...) __attribute__((format(printf, 4, 5)));

#endif
