#!/bin/sh
# SPDX-License-Identifier: ISC
#
# Prints how large files and functions are, against the budget: a .c file 300
# lines wanted and 600 at most, a header 120, a function 25 wanted and 80 at
# most. It never fails: what is over is for a reviewer to think about.
#
#   sizes.sh [SRCDIR]

case ${1-} in
-h|--help)
	sed -n '4,8s/^# \{0,1\}//p' "$0"
	exit 0
	;;
esac
cd "${1:-$(dirname "$0")/..}" || exit

# KNF: a function starts at a { in column 1 and ends at a } in column 1.
# shellcheck disable=SC2016 # $1 is awk's
measure='
FNR == 1 { name = "" }
/^[A-Za-z_][A-Za-z0-9_]*\(/ {
	name = $0
	sub(/\(.*/, "", name)
	first = FNR
}
/^START_TEST\(/ {
	name = $0
	gsub(/^START_TEST\(|\).*/, "", name)
}
/^[A-Za-z_#].*;[[:blank:]]*$/ { name = "" }
/^\{/ { inside = name != "" }
/^\}/ {
	if (inside)
		print "function", FNR - first + 1, FILENAME ":" first, name
	inside = 0
	name = ""
}
{ lines[FILENAME] = FNR }
END {
	for (file in lines)
		print file ~ /h$/ ? "header" : "file", lines[file], file
}'

# report KIND WANTED MOST: the numbers of one kind, then each that is over.
report() {
	awk -v kind="$1" '$1 == kind' "$sizes" | sort -k2,2n |
	    awk -v kind="$1" -v wanted="$2" -v most="$3" '
	{ size[NR] = $2; what[NR] = $3 " " $4; over += $2 > wanted }
	END {
		if (NR == 0)
			exit
		printf "  %ss: %d, median %d, p90 %d, largest %d", kind, NR,
		    size[int((NR + 1) / 2)], size[int(NR * 0.9 + 0.99)],
		    size[NR]
		printf "; %d over %d\n", over, wanted
		for (i = NR; i > 0 && size[i] > most; i--)
			printf "    over %d: %4d %s\n", most, size[i], what[i]
	}'
}

sizes=$(mktemp) || exit
trap 'rm -f "$sizes"' EXIT
for folder in proto daemon client tests; do
	find "$folder" -name '*.[ch]' -exec awk "$measure" {} + >"$sizes"
	[ -s "$sizes" ] || continue
	echo "$folder"
	report file 300 600
	report header 120 120
	report function 25 80
done
