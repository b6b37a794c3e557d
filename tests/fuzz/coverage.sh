#!/bin/sh
# SPDX-License-Identifier: ISC
#
# Fails when the stored inputs of a fuzz target, each run once and as it is,
# reach less than 80 % of the lines of the code that the target is for, or
# are not those that make_corpus.py writes.
#
#   coverage.sh [SRCDIR]   builds with --enable-gcov in a folder of its own
#
# Prints TAP, a line for each target. Environment:
#   TMPDIR    where it builds
#   JOBS      processes of make (default: processors)
#   PYTHON    for make_corpus.py (default: python3)

set -u
least=80

src=$(cd "${1:-$(dirname "$0")/../..}" && pwd) || exit 2
build=$(mktemp -d) || exit 2
trap 'rm -rf "$build"' EXIT
trap 'exit 130' HUP INT TERM
failed=0
number=0

# result STATUS TEXT
result() {
	number=$((number + 1))
	if [ "$1" -eq 0 ]; then
		echo "ok $number - $2"
	else
		echo "not ok $number - $2"
		failed=1
	fi
}

# quietly COMMAND...: its output only if it fails.
quietly() {
	"$@" >"$build/log" 2>&1 || {
		sed 's/^/# /' "$build/log"
		return 1
	}
}

# reached SOURCE...: percent of the lines of all of them.
reached() {
	for file; do
		gcov -n -o proto/.libs "$src/$file" 2>/dev/null
	done | awk -v wanted=" $* " '
	/^File / {
		name = $0
		sub(/^File .*\/proto\//, "proto/", name)
		sub(/.$/, "", name)
		counts = index(wanted, " " name " ")
	}
	/^Lines executed:/ && counts {
		split($0, part, /[:%]| of /)
		lines += part[4]
		run += part[2] * part[4] / 100
		counts = 0
	}
	END { printf "%d\n", lines ? 100 * run / lines : 0 }'
}

# check NAME SOURCE...
check() {
	name=$1
	shift
	find . -name '*.gcda' -exec rm -f {} +
	quietly "tests/fuzz/replay_$name" --as-is || {
		result 1 "$name: the stored inputs pass"
		return
	}
	percent=$(reached "$@")
	[ "$percent" -ge "$least" ]
	result $? "$name: its inputs reach $percent % of $*"
}

quietly "${PYTHON:-python3}" "$src/tests/fuzz/make_corpus.py" --check
result $? "the inputs are as make_corpus.py writes them"
cd "$build" || exit 2
if ! quietly "$src/configure" -q --enable-gcov CC="${CC:-gcc}" ||
    ! quietly make -s -j "${JOBS:-$(nproc)}" tests/fuzz/replay_pdu \
    tests/fuzz/replay_frame tests/fuzz/replay_sendtargets \
    tests/fuzz/replay_text; then
	echo "Bail out! it does not build"
	exit 1
fi
check pdu proto/pdu.c proto/pdu_serialize.c
check frame proto/frame.c proto/msg.c proto/msg_raw.c proto/msg_tlv.c \
    proto/wire.c
check text proto/text.c
check sendtargets proto/sendtargets.c
echo "1..$number"
exit "$failed"
