#!/bin/bash
# SPDX-License-Identifier: ISC
#
# Shows four processes sharing one iSCSI session. Installs what is missing on
# Debian 12, builds, and cleans up behind itself.
#
#   ./demo.sh     against a target in RAM that it starts itself
#   ./demo.sh --portal HOST:PORT --target IQN --lun N [--allow-write]
#                 against your own target: only reads. With --allow-write it
#                 overwrites an area at the end of the LUN, and says which
#                 bytes; whatever was there is lost.
#   ./demo.sh --help
#
# Environment:
#   BUILD_DIR     where it is built (default: build, beside this file)
#   NO_COLOR      no colours on a terminal, either
#
# Exit status: 0 all data were the same, 1 failure, 2 wrong usage, or packages
# are missing that it may not install.

set -u
top=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=tests/lib/setup.sh
. "$top/tests/lib/setup.sh"

clients=4
mib=1048576

usage() {
	sed -n '4,20s/^# \{0,1\}//p' "$0"
}

# wrong MESSAGE: ends with a word about the options.
wrong() {
	echo "demo.sh: $1 (./demo.sh --help tells more)" >&2
	exit 2
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
		if [ $# -lt 2 ] || [ -z "$2" ]; then
			wrong "$1 needs a value"
		fi
		printf -v "${1#--}" %s "$2"
		shift
		;;
	*)
		wrong "what is '$1'?"
		;;
	esac
	shift
done
case ${portal:+p}${target:+t}${lun:+l} in
ptl)
	case $lun in
	*[!0-9]*) wrong "--lun is a number, not '$lun'" ;;
	esac
	case $portal$target in
	*[\"\\]*) wrong "no quotes in --portal and --target" ;;
	esac
	;;
'')
	[ -z "$allow_write" ] || wrong "--allow-write goes with --portal"
	;;
*)
	wrong "--portal, --target and --lun go together"
	;;
esac

# shellcheck disable=SC2086 # package names are words
setup_install $setup_packages_build $setup_packages_demo
mkdir -p "$LOG_DIR"
echo "building"
if ! { setup_configured demo && setup_make demo all \
    tests/target/iscsimux-target; } >"$LOG_DIR/demo-build.log" 2>&1 \
    </dev/null; then
	tail -n 20 "$LOG_DIR/demo-build.log" >&2
	echo "demo.sh: the build failed: $LOG_DIR/demo-build.log" >&2
	exit 1
fi

# Everything that runs in the background is stopped, last first, at the end.
scratch=$(mktemp -d) || exit 1
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

# finished PID: waits for it; its status.
finished() {
	wait "$1"
	local status=$?
	pids=${pids/"$1 "/}
	return "$status"
}

# again PID: waits a moment; fails when PID has ended, or after 20 s.
tries=1000
again() {
	kill -0 "$1" 2>/dev/null || return
	sleep 0.02
	[ $((tries -= 1)) -gt 0 ]
}

# --- words

bold='' dim='' good='' bad='' plain=''
if [ -t 1 ] && [ -z "${NO_COLOR-}" ] && [ "${TERM-dumb}" != dumb ]; then
	bold=$'\e[1m' dim=$'\e[2m' good=$'\e[32m' bad=$'\e[31m' plain=$'\e[0m'
fi

step=0
say() {
	step=$((step + 1))
	printf '\n%s%d  %s%s\n' "$bold" "$step" "$1" "$plain"
	shift
	[ $# -eq 0 ] || printf '   %s\n' "$@"
}

# Prints what a command says, below its command line.
show() {
	printf '   %s$ %s%s\n' "$dim" "$1" "$plain"
	sed 's/^/   /'
}

# die MESSAGE [FILE]: the end, with what a file says.
die() {
	printf '%s✗ %s%s\n' "$bad" "$1" "$plain" >&2
	[ $# -lt 2 ] || tail -n 15 "$2" | sed 's/^/    | /' >&2
	exit 1
}

# number FILE KEY: a number in a JSON object.
number() {
	sed -n "s/^ *\"$2\": \([0-9][-+.e0-9]*\),*$/\1/p" "$1"
}

# in_mib BYTES: as text.
in_mib() {
	if [ $(($1 % mib)) -eq 0 ]; then
		echo "$(($1 / mib)) MiB"
	else
		echo "$1 bytes"
	fi
}

now() {
	local ns
	ns=$(date +%s%N)
	echo $((ns / 1000000))
}

started=$(now)
bin=$BUILD_DIR/demo
export ISCSIMUX_SOCKET=$scratch/data.sock
export ISCSIMUX_CONTROL=$scratch/control.sock
iscsimux() {
	"$bin/client/iscsimux" "$@"
}
iscsimuxctl() {
	"$bin/client/iscsimuxctl" "$@"
}

# --- the target

# ram_start: our own target; sets portal, target, lun.
ram_start() {
	tries=1000
	background "$scratch/target.log" \
	    "$bin/tests/target/iscsimux-target" --size 320M \
	    --control "$scratch/target.sock"
	local pid=$!
	while ! portal=$(sed -n 's/^listening on //p' "$scratch/target.log") ||
	    [ -z "$portal" ]; do
		again "$pid" || die "the target did not start" \
		    "$scratch/target.log"
	done
	target=iqn.2026-01.org.example:ram
	lun=0
}

# ram_sessions: how many sessions our target counts.
ram_sessions() {
	python3 - "$scratch/target.sock" <<-'END'
	import json, socket, sys
	with socket.socket(socket.AF_UNIX) as control:
	    control.connect(sys.argv[1])
	    control.sendall(b"sessions\n")
	    print(json.loads(control.makefile().readline())["count"])
	END
}

echo
echo "${bold}iscsimuxd: $clients processes, one iSCSI session$plain"
own=
write=yes
if [ -n "$portal" ]; then
	own=yes
	write=$allow_write
	say "The target is yours" "$target at $portal, LUN $lun"
else
	ram_start
	say "A target" "iscsimux-target, a disk of 320 MiB in RAM, at $portal"
fi

# --- the daemon

{
	echo "daemon {"
	echo "    data-socket = \"$ISCSIMUX_SOCKET\""
	echo "    control-socket = \"$ISCSIMUX_CONTROL\""
	[ "$(id -u)" -ne 0 ] || echo "    user = root"
	if [ -z "$own" ] ||
	    ! grep -qs '^InitiatorName=' /etc/iscsi/initiatorname.iscsi; then
		echo "    initiator-name = \"iqn.2026-01.org.example:demo\""
	fi
	echo "}"
	echo "session demo {"
	echo "    portal = \"$portal\""
	echo "    target = \"$target\""
	echo "}"
} >"$scratch/iscsimuxd.conf"
background "$scratch/daemon.log" "$bin/daemon/iscsimuxd" \
    -c "$scratch/iscsimuxd.conf"
daemon=$!
tries=1000
until [ -S "$ISCSIMUX_SOCKET" ] && iscsimuxctl info >/dev/null 2>&1; do
	again "$daemon" || die "the daemon did not start" \
	    "$scratch/daemon.log"
done
iscsimux wait demo --timeout 10 >"$scratch/wait" 2>&1 ||
    die "the session did not come up" "$scratch/wait"
say "The daemon has logged in to it, once"
iscsimuxctl session list | show "iscsimuxctl session list"
iscsimux --json capacity "demo/$lun" >"$scratch/capacity" \
    2>"$scratch/error" ||
    die "LUN $lun does not tell its capacity" "$scratch/error"
size=$(number "$scratch/capacity" bytes)
block=$(number "$scratch/capacity" block_length)
if [ -z "$size" ] || [ -z "$block" ]; then
	die "LUN $lun has no capacity" "$scratch/capacity"
fi

# Each client's part: at most 64 MiB; of a disk that is not ours at most a
# thirty-second when it is written to, and whole MiB where there are any.
share=$clients
[ -z "$own$allow_write" ] || [ -z "$write" ] || share=32
part=$((size / share))
[ "$part" -le $((64 * mib)) ] || part=$((64 * mib))
if [ "$part" -ge "$mib" ]; then
	part=$((part / mib * mib))
else
	part=$((part / block * block))
fi
[ "$part" -gt 0 ] || die "LUN $lun is too small: $size bytes"
first=0
if [ -n "$own" ] && [ -n "$write" ]; then
	first=$((size - clients * part))
	printf '\n%s!  These bytes of LUN %s are overwritten: %s to %s, ' \
	    "$bad$bold" "$lun" "$first" "$((size - 1))"
	printf 'the last %s of %s.\n   What was there is lost.%s\n' \
	    "$(in_mib $((clients * part)))" "$(in_mib "$size")" "$plain"
fi

# --- the clients

# transfer read|write NAME: all clients at the same time; client I uses
# $scratch/NAME.I. While they run, a look at them is kept in $scratch/clients.
transfer() {
	local verb=$1 name=$2 i pid most=0 n start
	local -a running=()
	: >"$scratch/clients"
	start=$(now)
	for ((i = 1; i <= clients; i++)); do
		background "$scratch/$verb.$name.$i.json" \
		    "$bin/client/iscsimux" --json "$verb" "demo/$lun" \
		    "$scratch/$name.$i" --length "$part" \
		    --offset "$((first + (i - 1) * part))"
		running+=($!)
	done
	while kill -0 "${running[@]}" 2>/dev/null; do
		iscsimuxctl client list demo >"$scratch/look" 2>/dev/null ||
		    break
		n=$(grep -c "iscsimux-$verb" "$scratch/look")
		[ "$n" -gt "$most" ] || continue
		most=$n
		cp "$scratch/look" "$scratch/clients"
		[ -n "$own" ] || counted=$(ram_sessions)
	done
	for ((i = 1; i <= clients; i++)); do
		finished "${running[i - 1]}" ||
		    die "client $i could not $verb" \
		    "$scratch/$verb.$name.$i.json"
	done
	elapsed=$(($(now) - start))
}

counted=
before='read'
if [ -n "$write" ]; then
	before='write'
	for ((i = 1; i <= clients; i++)); do
		head -c "$part" /dev/urandom >"$scratch/data.$i"
	done
	say "$clients processes write, each $(in_mib "$part") of random data" \
	    "iscsimux write demo/$lun FILE --offset ... --length $part"
else
	say "$clients processes read, each $(in_mib "$part") of its own place" \
	    "iscsimux read demo/$lun FILE --offset ... --length $part"
fi
transfer "$before" data
before_ms=$elapsed
if [ -s "$scratch/clients" ]; then
	echo "   While they were at it:"
	show "iscsimuxctl client list" <"$scratch/clients"
fi
if [ -n "$counted" ]; then
	printf '   The target says that it has %s%s session%s%s.\n' "$bold" \
	    "$counted" "$([ "$counted" -eq 1 ] || echo s)" "$plain"
elif [ -n "$own" ]; then
	printf '   Ask your target: it has %sone session%s of this host, %s\n' \
	    "$bold" "$plain" "from $(iscsimuxctl -j session show demo |
	    sed -n 's/^ *"local": "\(.*\)",*$/\1/p')."
fi

if [ -n "$write" ]; then
	say "They read it back"
else
	say "They read the same once more"
fi
transfer read copy

# --- the result

# row WHO BYTES RATE RATE MARK
row() {
	printf '   %-8s %10s %13s %13s   %s\n' "$@"
}

rate() {
	awk -v bytes="$1" -v ms="$2" 'BEGIN {
	    printf "%.0f MiB/s", bytes / 1048576 / (ms > 0 ? ms / 1000 : 1) }'
}

# client_rate FILE: from what iscsimux has measured.
client_rate() {
	awk -v rate="$(number "$1" bytes_per_second)" \
	    'BEGIN { printf "%.0f MiB/s", rate / 1048576 }'
}

say "Was it the same?"
if [ -n "$write" ]; then
	row client bytes written "read back" ''
else
	row client bytes read "once more" ''
fi
differ=0
for ((i = 1; i <= clients; i++)); do
	if cmp -s "$scratch/data.$i" "$scratch/copy.$i"; then
		mark="$good✓ the same$plain"
	else
		mark="$bad✗ different$plain"
		differ=$((differ + 1))
	fi
	row "$i" "$(in_mib "$part")" \
	    "$(client_rate "$scratch/$before.data.$i.json")" \
	    "$(client_rate "$scratch/read.copy.$i.json")" "$mark"
done
all=$((clients * part))
row together "$(in_mib "$all")" "$(rate "$all" "$before_ms")" \
    "$(rate "$all" "$elapsed")" ''
[ "$differ" -eq 0 ] || die "$differ of $clients got other data back" \
    "$scratch/daemon.log"
[ "${counted:-1}" -eq 1 ] || die "the target counted $counted sessions"
lost=$(iscsimuxctl -j session show demo)
case $lost in
*'"generation": 1,'*) ;;
*) die "the session was lost in between" "$scratch/daemon.log" ;;
esac

# The daemon logs out before the target goes.
kill -TERM "$daemon"
finished "$daemon" || die "the daemon did not end well" "$scratch/daemon.log"
grep -q "logged out" "$scratch/daemon.log" ||
    die "the daemon did not log out" "$scratch/daemon.log"
took=$(($(now) - started))
printf '\n%s✓ %d processes, one session, all data the same%s (%d.%d s)\n' \
    "$good$bold" "$clients" "$plain" $((took / 1000)) $((took % 1000 / 100))
