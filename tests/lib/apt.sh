#!/bin/bash
# SPDX-License-Identifier: ISC
#
# Installs Debian packages, as root, without starting a service or having one
# start at the next boot: apt.sh PACKAGE...

set -eu

policy=/usr/sbin/policy-rc.d
saved=$policy.before-iscsimuxd-tests
ours='# iscsimuxd tests: nothing is started while their packages are installed'

# dpkg's maintainer scripts ask policy-rc.d before they start a service; 101
# says no. The one that is there comes back however this ends.
restore() {
	if grep -qsF "$ours" "$policy"; then
		rm -f "$policy"
	fi
	if [ -e "$saved" ]; then
		mv "$saved" "$policy"
	fi
}

guard() {
	restore
	if [ -x "$policy" ]; then
		local answer=0
		"$policy" tgt start >/dev/null 2>&1 || answer=$?
		[ "$answer" -ne 101 ] || return 0
		mv "$policy" "$saved"
	fi
	printf '#!/bin/sh\n%s\nexit 101\n' "$ours" >"$policy"
	chmod 755 "$policy"
}

# Targets are for the tests alone: one that was not there before does not
# become a service of this machine.
disable_new() {
	local service
	for service in "$@"; do
		[ -e "/etc/init.d/$service" ] || continue
		deb-systemd-helper disable "$service.service" || true
		update-rc.d "$service" disable || true
	done
}

new=
for service in tgt istgt; do
	case " $* " in
	*" $service "*) new="$new $service" ;;
	esac
done

trap restore EXIT
trap 'exit 1' HUP INT TERM
guard
export DEBIAN_FRONTEND=noninteractive
apt-get -q -o DPkg::Lock::Timeout=300 update
apt-get -q -y -o DPkg::Lock::Timeout=300 --no-install-recommends install "$@"
# shellcheck disable=SC2086 # names of services are words
disable_new $new
