# SPDX-License-Identifier: ISC
# shellcheck shell=bash disable=SC2034
#
# What test.sh and demo.sh share: installing what is missing on Debian, and
# building into folders below $BUILD_DIR. To be sourced by bash, with $top set
# to the top of the source tree. Needs nothing but bash and what is essential
# on Debian, as it runs before anything is installed.

BUILD_DIR=${BUILD_DIR:-$top/build}
case $BUILD_DIR in
/*) ;;
*) BUILD_DIR=$PWD/$BUILD_DIR ;;
esac
LOG_DIR=$BUILD_DIR/logs
# Half of what a test does is waiting.
JOBS=${JOBS:-$(($(nproc) + 1))}

# Packages by what they are for.
setup_packages_build="autoconf automake libtool pkg-config make gcc libc6-dev
    libevent-dev libbsd-dev check libisal-dev libjansson-dev libconfuse-dev
    libssl-dev libsgutils2-dev libsystemd-dev"
setup_packages_demo="python3"
setup_packages_test="python3 git clang valgrind libiscsi-dev libiscsi-bin
    tshark tgt istgt xz-utils
    systemtap-sdt-dev binutils"

# setup_missing PACKAGE...: prints those that are not installed.
setup_missing() {
	local package
	for package; do
		dpkg-query -W -f '${db:Status-Status}\n' "$package" 2>/dev/null |
		    grep -qx installed || printf '%s ' "$package"
	done
}

# setup_install PACKAGE...: installs those that are missing, or says how and
# ends the script with status 2. No service of the machine is started.
setup_install() {
	local missing as_root=
	if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null
	then
		echo "not a Debian system: install by hand what configure misses" >&2
		return 0
	fi
	missing=$(setup_missing "$@")
	missing=${missing% }
	[ -n "$missing" ] || return 0
	if [ "$(id -u)" -ne 0 ]; then
		if command -v sudo >/dev/null && { sudo -n true 2>/dev/null ||
		    { [ -t 0 ] && sudo -v; }; }; then
			as_root=sudo
		else
			echo "These packages are missing; run as root:" >&2
			echo "apt-get update && apt-get install -y $missing" >&2
			exit 2
		fi
	fi
	echo "installing $missing"
	mkdir -p "$LOG_DIR"
	# shellcheck disable=SC2086 # package names are words
	if ! $as_root bash "$top/tests/lib/apt.sh" $missing \
	    >"$LOG_DIR/apt.log" 2>&1 </dev/null; then
		tail -n 20 "$LOG_DIR/apt.log" >&2
		echo "installation failed; the whole log: $LOG_DIR/apt.log" >&2
		exit 2
	fi
}

# setup_configured FOLDER ARGUMENT...: configures $BUILD_DIR/FOLDER, if it is
# not yet so configured, making ./configure first where that is needed.
setup_configured() {
	local dir=$BUILD_DIR/$1 want
	shift
	if [ ! -x "$top/configure" ] || [ -n "$(find "$top" -maxdepth 3 \
	    \( -name '*.am' -o -name configure.ac \) \
	    -newer "$top/configure")" ]; then
		(cd "$top" && ./autogen.sh && touch configure) || return
	fi
	want=$(printf '%q ' "$top/configure" "$@")
	mkdir -p "$dir" || return
	[ -f "$dir/Makefile" ] && [ "$(cat "$dir/configured" 2>/dev/null)" = \
	    "$want" ] && return
	rm -f "$dir/configured"
	(cd "$dir" && "$top/configure" "$@") || return
	printf '%s\n' "$want" >"$dir/configured"
}

# setup_make FOLDER ARGUMENT...: runs make there, on every processor.
setup_make() {
	local dir=$BUILD_DIR/$1
	shift
	make -C "$dir" -j"$JOBS" --no-print-directory "$@"
}
