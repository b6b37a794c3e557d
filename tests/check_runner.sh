#!/bin/sh
# SPDX-License-Identifier: ISC
#
# The runner must count what it is told and miss nothing: small programs with
# a known result each, as TAP.

set -u
runner=${top_srcdir:-$(dirname "$0")/..}/tests/lib/runner.py
python=${PYTHON:-python3}
if ! command -v "$python" >/dev/null; then
	echo '1..0 # SKIP no python3'
	exit 0
fi
scratch=$(mktemp -d) || exit 99
trap 'rm -rf "$scratch"' EXIT
trap 'exit 1' HUP INT TERM
count=0

# expect NAME WANTED SCRIPT: the sum that the runner prints for SCRIPT.
expect() {
	count=$((count + 1))
	printf '%s\n' "$3" >"$scratch/t.sh"
	said=$("$python" "$runner" --logs "$scratch/logs" --timeout 2 \
	    "$scratch/t.sh")
	status=$?
	case $2 in
	*' 0 failed'*) wanted_status=0 ;;
	*) wanted_status=1 ;;
	esac
	if [ "$(printf '%s\n' "$said" | tail -n 1)" = "$2" ] &&
	    [ "$status" -eq "$wanted_status" ]; then
		echo "ok $count - $1"
	else
		echo "not ok $count - $1"
		printf '%s\n' "$said" "status $status" | sed 's/^/# /'
	fi
}

echo 1..14
expect 'two points passed' '2 passed, 0 failed, 0 skipped' \
    'echo 1..2; echo ok 1; echo "ok 2 - with a name"'
expect 'the plan may come last' '1 passed, 0 failed, 0 skipped' \
    'echo ok 1; echo 1..1'
expect 'one failed' '1 passed, 1 failed, 0 skipped' \
    'echo 1..2; echo ok 1; echo not ok 2; exit 1'
expect 'one skipped' '1 passed, 0 failed, 1 skipped' \
    'echo 1..2; echo ok 1; echo "ok 2 # SKIP why"'
expect 'all skipped' '0 passed, 0 failed, 1 skipped' \
    'echo "1..0 # SKIP why"'
expect 'a point is missing' '1 passed, 1 failed, 0 skipped' \
    'echo 1..2; echo ok 1'
expect 'a point too many' '2 passed, 1 failed, 0 skipped' \
    'echo 1..1; echo ok 1; echo ok 2'
expect 'no plan' '1 passed, 1 failed, 0 skipped' 'echo ok 1'
expect 'all ok but the exit status' '1 passed, 1 failed, 0 skipped' \
    'echo 1..1; echo ok 1; exit 3'
expect 'a script without TAP' '1 passed, 0 failed, 0 skipped' 'exit 0'
expect 'a script that crashes' '0 passed, 1 failed, 0 skipped' \
    'kill -SEGV $$'
expect 'a script that hangs' '1 passed, 1 failed, 0 skipped' \
    'echo 1..2; echo ok 1; exec sleep 60'
expect 'a process left behind' '1 passed, 1 failed, 0 skipped' \
    'setsid sleep 60 & echo ok 1; echo 1..1'

count=$((count + 1))
printf '%s\n' 'echo 1..2; echo ok 1; echo "not ok 2 - b"; echo "# why"; exit 1' \
    >"$scratch/t.sh"
"$python" "$runner" --logs "$scratch/logs" --sum "$scratch/sum" --label some \
    "$scratch/t.sh" >/dev/null
if sed -n '2s/.*\(not ok 2 - b: why\)$/\1/p' "$scratch/sum" | grep -q .; then
	echo "ok $count - the file of sums names what failed"
else
	echo "not ok $count - the file of sums names what failed"
	sed 's/^/# /' "$scratch/sum"
fi
