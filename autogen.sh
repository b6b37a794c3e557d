#!/bin/sh
# SPDX-License-Identifier: ISC
# Makes ./configure from configure.ac; needed once after a clone.
set -e
cd "$(dirname "$0")"
for tool in autoreconf automake libtoolize pkg-config; do
	command -v "$tool" >/dev/null && continue
	echo "$0: $tool is missing. On Debian:" \
	    "apt-get install autoconf automake libtool pkg-config" >&2
	exit 1
done
mkdir -p m4 build-aux
exec autoreconf --install --warnings=all "$@"
