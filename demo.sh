#!/bin/bash
# SPDX-License-Identifier: ISC
#
# Shows four processes sharing one iSCSI session. Installs what is missing on
# Debian 12, builds, and cleans up behind itself.
#
#   ./demo.sh     against a target in RAM that it starts itself
#   ./demo.sh --portal HOST:PORT --target IQN --lun N [--allow-write]
#                 against your own target; only reads, unless allowed to write
#
# Environment:
#   BUILD_DIR     where it is built (default: build, beside this file)

set -u
top=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=tests/lib/setup.sh
. "$top/tests/lib/setup.sh"

usage() {
	sed -n '4,13s/^# \{0,1\}//p' "$0"
}

portal=
target=
lun=
allow_write=
while [ $# -gt 0 ]; do
	case $1 in
	-h|--help)
		usage
		exit 0
		;;
	--allow-write)
		allow_write=yes
		;;
	--portal|--target|--lun)
		if [ $# -lt 2 ]; then
			usage >&2
			exit 2
		fi
		printf -v "${1#--}" %s "$2"
		shift
		;;
	*)
		usage >&2
		exit 2
		;;
	esac
	shift
done
case ${portal:+p}${target:+t}${lun:+l} in
''|ptl)
	;;
*)
	echo "demo.sh: --portal, --target and --lun go together" >&2
	exit 2
	;;
esac

# shellcheck disable=SC2086 # package names are words
setup_install $setup_packages_build $setup_packages_demo
mkdir -p "$LOG_DIR"
echo "building"
if ! { setup_configured demo && setup_make demo all; } \
    >"$LOG_DIR/demo-build.log" 2>&1 </dev/null; then
	tail -n 20 "$LOG_DIR/demo-build.log" >&2
	echo "demo.sh: the build failed: $LOG_DIR/demo-build.log" >&2
	exit 1
fi

# Everything that runs in the background is stopped, last first, at the end.
scratch=$(mktemp -d)
pids=
cleanup() {
	local pid
	trap '' HUP INT TERM
	for pid in $pids; do
		kill -TERM "$pid" 2>/dev/null
		wait "$pid" 2>/dev/null
	done
	rm -rf "$scratch"
}
trap cleanup EXIT
trap 'exit 130' HUP INT TERM

# background LOG COMMAND...: starts it; its pid is in $!.
background() {
	local log=$1
	shift
	"$@" >"$log" 2>&1 </dev/null &
	pids="$! $pids"
}
