#!/bin/sh
# SPDX-License-Identifier: ISC
#
# Fails when a file includes a header of a layer above its own.
#
#   check_layers.sh [SRCDIR]   says each upward include; exit 1 if there is one
#   check_layers.sh            under make check: the same and a self test, TAP
#
# A new module of daemon/ gets its rank in the table below.

set -u

# daemon/, lowest layer first: rank, module (a shell pattern, or one file of
# it; the first row that matches counts), and after it the modules of the same
# rank that it may include, * for all. Anything of a lower rank may always be
# included. worker.h only lists pointers, worker.c makes what they point to.
ranks() {
	cat <<-'TABLE'
	0  worker.h
	1  log
	1  loop       log
	1  stats      log
	1  quota      log stats
	1  ittmap
	1  trim       loop
	1  pool*      log stats pool*
	1  slices     pool*
	1  secret
	1  chap       secret
	1  sense      pool
	1  hdrring
	1  conf       log secret
	1  config_*   log conf config_* secret chap
	2  resolve
	2  discover_found pool
	2  fault*     fault*
	2  conn*      resolve fault conn*
	2  trace*     conn trace*
	3  pump*      pump*
	4  router
	4  backoff
	4  raw_router
	5  sn
	5  login*     *
	5  task       *
	5  r2t        *
	5  abort      *
	5  discover   *
	5  attachment *
	5  gap        *
	5  keepalive  *
	5  async      *
	5  negotiate  *
	5  guard      *
	5  orphan     *
	5  raw*       *
	5  session*   *
	6  access
	6  outq       *
	6  client*    *
	7  listener*  *
	7  control*   *
	7  rpc        *
	8  worker
	8  daemon*    *
	9  main
	TABLE
}

# Which folders a folder may include; daemon/ has ranks besides.
folders() {
	cat <<-'TABLE'
	proto  proto
	daemon proto daemon
	client proto client
	TABLE
}

# Prints one line for each offence in the tree $1.
offences() {
	( cd "$1" && find proto daemon client -name '*.[ch]' 2>/dev/null |
	    LC_ALL=C sort | while read -r file; do
		sed -n 's/^[[:blank:]]*#[[:blank:]]*include[[:blank:]]*\([<"][^>"]*\).*/\1/p' \
		    "$file" | sed "s|^|$file |"
		echo "$file -"
	done ) | RANKS=$(ranks) FOLDERS=$(folders) awk -v top="$1" '
	function glob(pattern) {
		gsub(/\./, "\\.", pattern)
		gsub(/\*/, ".*", pattern)
		return "^" pattern "$"
	}
	function module_of(path) {
		sub(/.*\//, "", path)
		sub(/\.[ch]$/, "", path)
		return path
	}
	# The row of the table for a file, 0 if none.
	function row(path,    i, file, module) {
		file = path
		sub(/.*\//, "", file)
		module = module_of(path)
		for (i = 1; i <= rows; i++)
			if (file == name[i] || module ~ glob(name[i]))
				return i
		return 0
	}
	function listed(word, list,    i, n, words) {
		n = split(list, words, " ")
		for (i = 1; i <= n; i++)
			if (word ~ glob(words[i]))
				return 1
		return 0
	}
	function check_rank(file, included,    m, i, a, b) {
		m = module_of(file)
		i = module_of(included)
		a = row(file)
		b = row(included)
		if (m == i || a == 0 || b == 0 || rank[b] < rank[a])
			return
		if (rank[b] == rank[a] && listed(i, peers[a]))
			return
		printf "%s (rank %d) must not include \"%s\" (rank %d)\n",
		    file, rank[a], included, rank[b]
	}
	BEGIN {
		rows = split(ENVIRON["RANKS"], lines, "\n")
		for (i = 1; i <= rows; i++) {
			n = split(lines[i], w, " ")
			rank[i] = w[1] + 0
			name[i] = w[2]
			peers[i] = ""
			for (j = 3; j <= n; j++)
				peers[i] = peers[i] " " w[j]
		}
		n = split(ENVIRON["FOLDERS"], lines, "\n")
		for (i = 1; i <= n; i++) {
			split(lines[i], w, " ")
			may[w[1]] = lines[i]
			sub(/^[^ ]+ */, "", may[w[1]])
		}
	}
	{
		file = $1
		folder = file
		sub(/\/.*/, "", folder)
		if ($2 == "-") {
			if (folder == "daemon" && row(file) == 0)
				printf "%s: no rank: add \"%s\" to the " \
				    "table in tests/check_layers.sh\n",
				    file, module_of(file)
			next
		}
		quote = substr($2, 1, 1)
		path = substr($2, 2)
		if (path ~ /(^|\/)\.\.\//) {
			printf "%s includes \"%s\": name headers from the " \
			    "top of the tree\n", file, path
			next
		}
		if (path !~ /\// && path != "config.h" && quote == "\"") {
			dir = file
			sub(/\/[^\/]*$/, "", dir)
			path = dir "/" path
		}
		target = path
		if (!sub(/\/.*/, "", target) ||
		    target !~ /^(proto|daemon|client|tests)$/)
			next
		if (!listed(target, may[folder])) {
			printf "%s must not include \"%s\": %s/ may use %s\n",
			    file, path, folder, may[folder]
			next
		}
		if (folder == "daemon" && target == "daemon")
			check_rank(file, path)
	}'
}

# --- self test: a tree with one offence of each kind, and one without.

scratch=
trap 'rm -rf "$scratch"' EXIT
trap 'exit 1' HUP INT TERM
count=0

# expect NAME FILE INCLUDE WANTED: FILE includes INCLUDE; what is said must
# match the basic regular expression WANTED, or be nothing if that is empty.
expect() {
	rm -rf "$scratch/tree"
	mkdir -p "$scratch/tree/proto" "$scratch/tree/daemon" \
	    "$scratch/tree/client"
	printf '%s\n' "$3" >"$scratch/tree/$2"
	said=$(offences "$scratch/tree")
	count=$((count + 1))
	if { [ -z "$4" ] && [ -z "$said" ]; } ||
	    { [ -n "$4" ] && printf '%s\n' "$said" | grep -q "$4"; }; then
		echo "ok $count - $1"
	else
		echo "not ok $count - $1"
		echo "# said: $said"
	fi
}

self_test() {
	scratch=$(mktemp -d) || exit 99
	expect 'proto may not include daemon' proto/pdu.c \
	    '#include "daemon/log.h"' 'proto/pdu.c must not include'
	expect 'proto may not include client' proto/pdu.h \
	    '#include <client/iscsimux.h>' 'proto/pdu.h must not include'
	expect 'client may not include daemon' client/iscsimux.c \
	    '#  include "daemon/router.h"' 'client/iscsimux.c must not include'
	expect 'daemon may not include client' daemon/main.c \
	    '#include "client/iscsimux.h"' 'daemon/main.c must not include'
	expect 'a lower rank may not include a higher one' daemon/router.c \
	    '#include "daemon/session.h"' 'rank 4.*rank 5'
	expect 'nor by a name without folder' daemon/pump.h \
	    '#include "client_read.h"' 'rank 3.*rank 6'
	expect 'the same rank only where listed' daemon/log.c \
	    '#include "daemon/pool.h"' 'rank 1.*rank 1'
	expect 'a module without a rank' daemon/surprise.c \
	    '#include <stdio.h>' 'no rank: add "surprise"'
	expect 'a path with ..' client/iscsimux.c \
	    '#include "../daemon/log.h"' 'from the top of the tree'
	expect 'downward is right' daemon/client_read.c \
	    '#include "daemon/guard.h"' ''
	expect 'proto is below all' daemon/log.c '#include "proto/iscsi.h"' ''
	expect 'peers of a group see each other' daemon/session.c \
	    '#include "daemon/session_fsm.h"' ''
	expect 'all may include the list of pointers' daemon/log.c \
	    '#include "daemon/worker.h"' ''
	expect 'but worker.c is high' daemon/worker.c \
	    '#include "daemon/session.h"' ''
	expect 'worker.h is not' daemon/worker.h '#include "daemon/log.h"' \
	    'rank 0.*rank 1'
	expect 'a listed pair of one rank' daemon/pool.c \
	    '#include "daemon/stats.h"' ''
	expect 'its own header and config.h' daemon/log.c \
	    '#include "config.h"
#include "daemon/log.h"' ''
}

case ${1-} in
-h|--help)
	sed -n '4,9s/^# \{0,1\}//p' "$0"
	exit 0
	;;
'')
	said=$(offences "${top_srcdir:-$(dirname "$0")/..}")
	echo 1..18
	count=1
	if [ -z "$said" ]; then
		echo 'ok 1 - no include goes upward'
	else
		echo 'not ok 1 - no include goes upward'
		printf '%s\n' "$said" | sed 's/^/# /'
	fi
	self_test
	;;
*)
	said=$(offences "$1")
	[ -z "$said" ] && exit 0
	printf '%s\n' "$said" >&2
	exit 1
	;;
esac
