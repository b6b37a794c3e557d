#!/bin/bash
# SPDX-License-Identifier: ISC
#
# Proves that tests can fail: applies each patch of tests/mutants, a deliberate
# bug, to a copy of the source, and demands that the test it names fails.
#
#   check_mutants.sh [SRCDIR]
#
# A patch NN-name.patch applies with patch -p1. Before its diff it says what is
# wrong, and in a line of its own which test must notice:
#
#   Test: unit/check_router
#   Test: integration/share.py function...
#
# Every test is first run without any patch and must pass. It ends with a line
# `N killed, N survived, N broken`, broken being a patch that does not apply or
# build, or whose test does not pass without it; the status is 0 only if all
# were killed. Environment:
#   MUTANTS   a shell pattern of the names to try (default: all)
#   TMPDIR    where the copy goes
#   JOBS      processes of make (default: processors)

set -u
# Many mutants hang their test; libcheck need not wait as long as for others.
export CK_TIMEOUT_MULTIPLIER=${CK_TIMEOUT_MULTIPLIER:-0.5}
case ${1-} in
-h|--help)
	sed -n '4,23s/^# \{0,1\}//p' "$0"
	exit 0
	;;
esac

src=$(cd "${1:-${top_srcdir:-$(dirname "$0")/..}}" && pwd) || exit 2
jobs=${JOBS:-$(nproc)}
scratch=$(mktemp -d) || exit 2
child=
stop() {
	[ -z "$child" ] || kill -TERM -- "-$child" 2>/dev/null
	exit 130
}
trap 'rm -rf "$scratch"' EXIT
trap stop HUP INT TERM
set -m

# run COMMAND...: in a process group of its own, output to $scratch/log.
run() {
	local status
	"$@" >"$scratch/log" 2>&1 </dev/null &
	child=$!
	wait "$child"
	status=$?
	child=
	return "$status"
}

copy_source() {
	mkdir "$scratch/src" "$scratch/build" || return
	if [ -e "$src/.git" ]; then
		(cd "$src" && git ls-files -z --cached --others \
		    --exclude-standard |
		    xargs -0 sh -c 'ls -d -- "$@" 2>/dev/null' sh |
		    tar -cf - -T -) | tar -xf - -C "$scratch/src"
	else
		tar -C "$src" --exclude=./build -cf - . |
		    tar -xf - -C "$scratch/src"
	fi
}

configure_copy() {
	cd "$scratch/src" && ./autogen.sh && cd "$scratch/build" &&
	    ../src/configure --disable-shared --enable-static \
	    CFLAGS=-O0
}

# compile TEST: what it runs.
compile() {
	case $1 in
	tests/unit/*) make -C "$scratch/build" -j"$jobs" "${1%% *}" ;;
	*) make -C "$scratch/build" -j"$jobs" integration-programs ;;
	esac
}

# The program and arguments of a patch's test, from the top of the tree.
test_of() {
	sed -n '/^\(diff\|---\|Index:\)/q
		s/^Test: *//p' "$1" | head -n 1 | sed 's|^tests/||; s|^|tests/|'
}

# run_test TEST: 0 if it passes.
run_test() {
	run make -C "$scratch/build" run-test TEST="$1" \
	    RUNNER_FLAGS=--timeout=120
}

# passes_unpatched TEST: whether it does; each is run once.
declare -A unpatched
passes_unpatched() {
	if [ -z "${unpatched[$1]-}" ]; then
		unpatched[$1]=no
		if run compile "$1" && run_test "$1" &&
		    grep -q '^[1-9][0-9]* passed, 0 failed' "$scratch/log"; then
			unpatched[$1]=yes
		else
			show_log "without a patch, $1 must pass and run a test"
		fi
	fi
	[ "${unpatched[$1]}" = yes ]
}

show_log() {
	echo "    $1:"
	tail -n 25 "$scratch/log" | sed 's/^/    | /'
}

killed=0 survived=0 broken=0
verdict() {
	printf '%-9s %-40s %s (%d s)\n' "$1" "$2" "${3#tests/}" \
	    $((SECONDS - start))
}

# try PATCH: decides about one mutant and takes it back.
try() {
	local patch=$1 name test verdict=broken
	name=$(basename "$patch" .patch)
	test=$(test_of "$patch")
	start=$SECONDS
	if [ -z "$test" ]; then
		echo "    $patch has no line 'Test: ...' before its diff"
	elif ! passes_unpatched "$test"; then
		:
	elif ! run patch -d "$scratch/src" -p1 -f -F1 --dry-run -i "$patch"
	then
		show_log "the patch does not apply"
	else
		patch -d "$scratch/src" -p1 -f -F1 -s -i "$patch"
		if ! run compile "$test"; then
			show_log "the patched source does not build"
		elif run_test "$test"; then
			verdict=survived
		else
			verdict=killed
		fi
		patch -d "$scratch/src" -p1 -f -F1 -s -R -i "$patch"
	fi
	find "$scratch/src" -name '*.orig' -delete
	verdict "$verdict" "$name" "$test"
	eval "$verdict=\$(($verdict + 1))"
}

if ! copy_source || ! run configure_copy; then
	show_log "the source can not be configured"
	exit 1
fi
for patch in "$src"/tests/mutants/${MUTANTS:-*}; do
	case $patch in
	*.patch) [ -f "$patch" ] && try "$patch" ;;
	*) [ -f "$patch.patch" ] && try "$patch.patch" ;;
	esac
done
echo "$killed killed, $survived survived, $broken broken"
[ "$killed" -gt 0 ] && [ $((survived + broken)) -eq 0 ]
