#!/bin/bash
# SPDX-License-Identifier: ISC
#
# Installs what is missing, builds, and runs every test.
#
#   ./test.sh          all unit and integration tests: native, with the
#                      sanitizers at a quarter of their size, and with the
#                      daemon under valgrind at a small part of it; at most
#                      25 minutes on two processors
#   ./test.sh --full   the same with all of them at full size, and make
#                      distcheck, check-fuzz-coverage and check-mutants
#   ./test.sh --only NAME...
#                      only these: native clang asan valgrind distcheck
#                      coverage mutants
#
# It ends with a line `N passed, N failed, N skipped`; the status is 0 if none
# failed, 1 if one did, 2 if something to run them is missing. Environment:
#   BUILD_DIR        where builds and logs go (default: build, beside this file)
#   JOBS             how much runs at the same time (default: one more than
#                    processors)
#   VALGRIND_SCALE   share of their size that tests have under valgrind
#                    (default: 0.05)
#   ASAN_SCALE       the same with the sanitizers (default: 0.25)

set -u
top=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=tests/lib/setup.sh
. "$top/tests/lib/setup.sh"

usage() {
	sed -n '4,23s/^# \{0,1\}//p' "$0"
}

# --- running things so that they end with us

id=$$.$(date +%s%N)
export ISCSIMUX_TEST_RUN=$id
child=

stop() {
	trap '' HUP INT TERM
	if [ -n "$child" ]; then
		kill -TERM -- "-$child" 2>/dev/null
		wait "$child" 2>/dev/null
	fi
	leftovers 5 >/dev/null
	exit 130
}
trap stop HUP INT TERM
set -m

# run COMMAND...: runs it in the background, in a process group of its own, and
# waits, so that a signal to this script is acted upon at once.
run() {
	local status
	"$@" </dev/null &
	child=$!
	wait "$child"
	status=$?
	child=
	return "$status"
}

# Prints every process that this run has started and that lives; all have its
# id in their environment.
alive() {
	local proc
	for proc in /proc/[0-9]*; do
		grep -qzsxF "ISCSIMUX_TEST_RUN=$id" "$proc/environ" || continue
		case $(sed -n 's/^State:[[:blank:]]*\(.\).*/\1/p' \
		    "$proc/status" 2>/dev/null) in
		''|Z|X) continue ;;
		esac
		echo "${proc#/proc/} $(tr '\0' ' ' <"$proc/cmdline")"
	done 2>/dev/null
}

# leftovers SECONDS: prints what still lives after that time, and kills it.
leftovers() {
	local tenths=$(($1 * 10)) left pid
	while left=$(alive) && [ -n "$left" ] && [ "$tenths" -gt 0 ]; do
		sleep 0.1
		tenths=$((tenths - 1))
	done
	[ -n "$left" ] || return 0
	printf '%s\n' "$left"
	alive | while read -r pid _; do
		kill -KILL "$pid" 2>/dev/null
	done
}

# --- counting

# count PASSED FAILED SKIPPED [WHAT FAILED]
count() {
	echo "$*" >>"$sums"
}

# step NAME COMMAND...: runs it as one test with a log of its own.
step() {
	local name=$1 start=$SECONDS log=$LOG_DIR/${1// /-}.log
	shift
	if run "$@" >"$log" 2>&1; then
		printf '%-45s ok   (%d s)\n' "$name" $((SECONDS - start))
		count 1 0 0
		return 0
	fi
	printf '%-45s FAIL (%d s)\n' "$name" $((SECONDS - start))
	echo "    the end of $log:"
	tail -n 40 "$log" | sed 's/^/    | /'
	count 0 1 0 "$name"
	return 1
}

# suite FOLDER LABEL TARGET [FLAGS]: runs the runner through make. It prints
# what happens and adds to the sums; a make that fails otherwise counts, too.
suite() {
	local log=$LOG_DIR/$2-$3.log before after
	before=$(wc -l <"$sums")
	run setup_make "$1" -s "$3" RUNNER_FLAGS="--label=$2 --sum=$sums \
	    --logs=$LOG_DIR --jobs=$JOBS ${4-}" 2>"$log"
	after=$(wc -l <"$sums")
	if [ "$before" -eq "$after" ]; then
		echo "$2 $3 could not be run, the end of $log:"
		tail -n 20 "$log" | sed 's/^/    | /'
		count 0 1 0 "$2 $3"
	fi
}

# --- the flavours

# build FOLDER ARGUMENT...: builds it once a run.
declare -A built
build() {
	local folder=$1
	shift
	if [ -z "${built[$folder]-}" ]; then
		step "build $folder" build_one "$folder" "$@"
		built[$folder]=$?
	fi
	return "${built[$folder]}"
}

build_one() {
	local folder=$1
	shift
	setup_configured "$folder" "$@" &&
	    setup_make "$folder" WERROR=-Werror check-programs
}

# libcheck lets a test take 4 s, which is too little beside other work.
do_native() {
	build native || return
	local -x CK_TIMEOUT_MULTIPLIER=5
	suite native native check-unit
	suite native native check-integration
}

do_clang() {
	build clang CC=clang
}

do_asan() {
	build asan --enable-sanitizers || return
	local -x CK_TIMEOUT_MULTIPLIER=5 TEST_TIMEOUT_FACTOR=3
	local -x TEST_SCALE=$asan_scale
	local -x ASAN_OPTIONS=detect_leaks=1:exitcode=99
	local -x UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1:exitcode=99
	local -x LSAN_OPTIONS=exitcode=99
	suite asan asan check-compiled
	suite asan asan check-integration
}

do_valgrind() {
	local command="valgrind -q --error-exitcode=99 --leak-check=full"
	command="$command --errors-for-leak-kinds=definite,indirect"
	command="$command --show-leak-kinds=definite,indirect --num-callers=30"
	[ ! -f "$top/tests/valgrind.supp" ] ||
	    command="$command --suppressions=$top/tests/valgrind.supp"
	build native || return
	local -x CK_FORK=no CK_TIMEOUT_MULTIPLIER=30 TEST_TIMEOUT_FACTOR=10
	local -x TEST_SCALE=$valgrind_scale VALGRIND=$command
	suite native valgrind check-compiled "--valgrind --timeout=1200"
	suite native valgrind check-integration --timeout=1800
}

do_distcheck() {
	build native || return
	local -x CK_TIMEOUT_MULTIPLIER=5
	step distcheck setup_make native distcheck
}

do_coverage() {
	build native || return
	step coverage setup_make native check-fuzz-coverage
}

do_mutants() {
	build native || return
	local log=$LOG_DIR/mutants.log start=$SECONDS killed others
	run setup_make native check-mutants >"$log" 2>&1
	killed=$(sed -n 's/^\([0-9]*\) killed, .*/\1/p' "$log")
	others=$(sed -n 's/.* killed, \([0-9]*\) survived, \([0-9]*\) broken.*/\1 \2/p' \
	    "$log" | awk '{ print $1 + $2 }')
	if [ -z "$killed" ]; then
		killed=0
		others=1
	fi
	printf '%-45s %s, %s not (%d s)\n' mutants "$killed killed" \
	    "${others:-0}" $((SECONDS - start))
	if [ "${others:-0}" -ne 0 ]; then
		tail -n 40 "$log" | sed 's/^/    | /'
	fi
	count "$killed" "${others:-0}" 0 \
	    "$([ "${others:-0}" -eq 0 ] || echo "mutants: $others")"
}

# --- the command line

flavours="native clang asan valgrind"
valgrind_scale=${VALGRIND_SCALE:-0.05}
asan_scale=${ASAN_SCALE:-0.25}
case ${1-} in
'')
	;;
-h|--help)
	usage
	exit 0
	;;
--full)
	flavours="$flavours distcheck coverage mutants"
	valgrind_scale=1
	asan_scale=1
	;;
--only)
	shift
	flavours=$*
	;;
*)
	usage >&2
	exit 2
	;;
esac
for flavour in $flavours; do
	if ! declare -F "do_$flavour" >/dev/null; then
		echo "$0: there is no $flavour" >&2
		exit 2
	fi
done

# shellcheck disable=SC2086 # package names are words
setup_install $setup_packages_build $setup_packages_test
mkdir -p "$LOG_DIR"
sums=$LOG_DIR/sums.$$
: >"$sums"
for flavour in $flavours; do
	"do_$flavour"
done

left=$(leftovers 2)
if [ -n "$left" ]; then
	echo "processes of these tests were still alive, and are killed now:"
	printf '%s\n' "$left" | sed 's/^/    /'
	count 0 1 0 "processes were left"
fi
echo "$((SECONDS / 60)) min $((SECONDS % 60)) s, logs in $LOG_DIR"
read -r passed failed skipped <<<"$(awk '{ p += $1; f += $2; s += $3 }
    END { print p + 0, f + 0, s + 0 }' "$sums")"
# A long log is often cut; this stands at its end.
sed -n 's/^[0-9]* [0-9]* [0-9]* \(..*\)/failed: \1/p' "$sums"
rm -f "$sums"
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
